/*
 * How it works: as asyncio's Condition. A wait is in the condition's list, and then perhaps in its
 * lock's, with the same waiter; nothing ends it before it has the lock. What it ended with is noted
 * until then: the closing of the condition, or a cancellation, of which the last one is raised.
 */
#include "condition.h"

#include <cora/coroutine.h>
#include <cora/object.h>
#include <stdio.h>

#include "private_lock.h"

struct condition {
    cora_lock lock;
    bool own; /* the lock is its own */
    struct cora_waiters waiters;
};

/* One that waits. */
struct wait {
    struct cora_waiter waiter;
    cora_lock lock;
    bool acquires; /* it waits for the lock */
    bool cancelled;
};

static void condition_close(void *memory)
{
    struct condition *condition = memory;
    cora_waiters_close(&condition->waiters);
    if (condition->own)
        cora_lock_close(condition->lock);
}

static const struct cora_object_type condition_type = { "condition", sizeof(struct condition),
                                                        condition_close };

static struct condition *condition_get(cora_condition handle)
{
    return cora_object_get(handle.bits, &condition_type);
}

static cora_condition condition_new(cora_loop loop, cora_lock lock, bool own,
                                    const struct cora_place *place)
{
    cora_condition made = { cora_object_new_at(loop, &condition_type, place) };
    if (made.bits)
        *condition_get(made) = (struct condition){ .lock = lock, .own = own };
    else if (own)
        cora_lock_close(lock);
    return made;
}

cora_condition cora_condition_new_at(cora_loop loop, const struct cora_place *place)
{
    cora_lock lock = cora_lock_new_at(loop, place);
    return cora_is_null(lock) ? (cora_condition){ 0 } : condition_new(loop, lock, true, place);
}

cora_condition cora_condition_of_at(cora_lock lock, const struct cora_place *place)
{
    cora_loop loop = lock_loop(lock);
    return cora_is_null(loop) ? (cora_condition){ 0 } : condition_new(loop, lock, false, place);
}

int cora_condition_close(cora_condition condition)
{
    return cora_object_close(condition.bits, &condition_type);
}

cora_lock cora_condition_lock(cora_condition handle)
{
    struct condition *condition = condition_get(handle);
    return condition ? condition->lock : (cora_lock){ 0 };
}

/* ---- wait ---- */

/* It is there, and somebody holds its lock. 0, or a code. */
static int check(const struct condition *condition, const char *what)
{
    if (!condition || cora_is_null(lock_loop(condition->lock)))
        return cora_last_error_code();
    if (cora_lock_locked(condition->lock))
        return 0;
    return cora_error_code(
        cora_object_error(condition, CORA_ERUNTIME, "cannot %s on un-acquired lock", what));
}

static bool wait_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    if (check(condition_get((cora_condition){ what->value.as.handle }), "wait") == 0)
        return false;
    *ret_outcome = cora_last_error();
    return true;
}

/* Gives the lock back, and waits. */
static int wait_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    struct condition *condition = condition_get((cora_condition){ what->value.as.handle });
    ((struct wait *)waiter)->lock = condition->lock;
    cora_waiters_append(&condition->waiters, waiter);
    return cora_lock_release(condition->lock);
}

/* It has the lock, or that is closed, and then this is why. */
static enum cora_resumed wait_ends(struct wait *wait, cora_value *ret_outcome)
{
    struct condition *condition = condition_get((cora_condition){ wait->waiter.value.as.handle });
    if (!condition)
        *ret_outcome = cora_last_error();
    if (condition && (wait->cancelled || cora_is_error(*ret_outcome)))
        cora_waiters_wake_first(&condition->waiters, 1);
    return wait->cancelled ? CORA_ENDS_CANCELLED : CORA_ENDS;
}

static enum cora_resumed wait_resume(struct cora_waiter *waiter, bool cancelled,
                                     cora_value *ret_outcome)
{
    struct wait *wait = (struct wait *)waiter;
    enum cora_resumed how = CORA_ENDS_CANCELLED;
    wait->cancelled |= cancelled;
    if (wait->acquires)
        how = lock_resume(wait->lock, waiter, cancelled, ret_outcome);
    if (how == CORA_ENDS_CANCELLED) {
        cora_waiters_remove(waiter);
        wait->acquires = true;
        how = lock_acquire(wait->lock, waiter, ret_outcome);
    }
    return how == CORA_WAITS ? how : wait_ends(wait, ret_outcome);
}

const struct cora_operation cora_condition_wait_operation = {
    .name = "wait",
    .now = wait_now,
    .start = wait_start,
    .resume = wait_resume,
    .size = sizeof(struct wait),
};

/* ---- wait_for: a coroutine, as asyncio's ---- */

struct wait_for {
    cora_condition condition;
    cora_predicate predicate;
    cora_value argument;
};

static void wait_for_drop(void *locals)
{
    cora_drop(((struct wait_for *)locals)->argument);
}

static bool says_no(cora_value value)
{
    return cora_is_nothing(value) || (value.type == &cora_type_int && value.as.integer == 0) ||
           (value.type == &cora_type_real && value.as.real == 0) ||
           (value.type == &cora_type_pointer && !value.as.pointer);
}

static cora_next look(cora_coro self)
{
    struct wait_for *wait = cora_locals(self, struct wait_for);
    cora_value value = wait->predicate(wait->argument);
    if (cora_is_error(value))
        return cora_raise(self, value);
    return says_no(value) ? cora_await(self, cora_condition_wait(wait->condition), look)
                          : cora_return(self, value);
}

cora_awaitable cora_condition_wait_for_at(cora_condition condition, cora_predicate predicate,
                                          cora_value argument, const struct cora_place *place)
{
    struct wait_for wait = { condition, predicate, cora_copy(argument) };
    cora_coro coro = { 0 };
    if (!predicate)
        cora_set_last_error(cora_error(CORA_ETYPE, "the predicate of wait_for is NULL"));
    else if (cora_is_error(wait.argument) && !cora_is_error(argument))
        cora_set_last_error(wait.argument);
    else
        return cora_awaitable_of(
            cora_coro_new(CORA_COROUTINE, look, &wait, sizeof wait, wait_for_drop, place));
    cora_drop(wait.argument);
    return cora_awaitable_of(coro); /* awaiting it tells */
}

/* ---- notify ---- */

int cora_condition_notify(cora_condition handle, size_t count)
{
    struct condition *condition = condition_get(handle);
    int code = check(condition, "notify");
    if (code == 0)
        cora_waiters_wake_first(&condition->waiters, count);
    return code;
}

int cora_condition_notify_all(cora_condition condition)
{
    return cora_condition_notify(condition, SIZE_MAX);
}

int cora_condition_print(cora_condition handle, char *buffer, size_t size)
{
    struct condition *condition = condition_get(handle);
    char waiters[40];
    if (!condition)
        return snprintf(buffer, size, "<Condition #%llx>", (unsigned long long)handle.bits);
    cora_waiters_print(&condition->waiters, waiters, sizeof waiters);
    return snprintf(buffer, size, "<Condition [%s%s]>",
                    cora_lock_locked(condition->lock) ? "locked" : "unlocked", waiters);
}
