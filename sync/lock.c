/*
 * How it works: as asyncio's Lock. A release wakes the first waiter and no more; until that one has
 * run the lock is unlocked, but not free for who comes now: somebody waits. A waiter that is
 * cancelled and finds the lock unlocked wakes the next: it may have been the one that was woken.
 */
#include "private_lock.h"

#include <cora/object.h>
#include <stddef.h>
#include <stdio.h>

struct lock {
    bool locked;
    struct cora_waiters waiters;
};

static void lock_close(void *memory)
{
    struct lock *lock = memory;
    cora_waiters_close(&lock->waiters);
}

static const struct cora_object_type lock_type = { "lock", sizeof(struct lock), lock_close };

static struct lock *lock_get(cora_lock handle)
{
    return cora_object_get(handle.bits, &lock_type);
}

cora_lock cora_lock_new_at(cora_loop loop, const struct cora_place *place)
{
    return (cora_lock){ cora_object_new_at(loop, &lock_type, place) };
}

cora_loop lock_loop(cora_lock lock)
{
    return cora_object_loop(lock.bits, &lock_type);
}

int cora_lock_close(cora_lock lock)
{
    return cora_object_close(lock.bits, &lock_type);
}

/* ---- acquire ---- */

static bool all_are_cancelled(const struct lock *lock)
{
    const struct cora_waiter *waiter = lock->waiters.first;
    while (waiter && cora_waiter_state(waiter) == CORA_WAITER_CANCELLED)
        waiter = waiter->next;
    return !waiter;
}

/* Whether it need not wait, and then its outcome. */
static bool lock_take(cora_lock handle, cora_value *ret_outcome)
{
    struct lock *lock = lock_get(handle);
    if (!lock) {
        *ret_outcome = cora_last_error();
        return true;
    }
    if (lock->locked || !all_are_cancelled(lock))
        return false;
    lock->locked = true;
    *ret_outcome = cora_int(true);
    return true;
}

static bool acquire_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    return lock_take((cora_lock){ what->value.as.handle }, ret_outcome);
}

static int acquire_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    struct lock *lock = lock_get((cora_lock){ what->value.as.handle });
    cora_waiters_append(&lock->waiters, waiter);
    return 0;
}

enum cora_resumed lock_acquire(cora_lock handle, struct cora_waiter *waiter,
                               cora_value *ret_outcome)
{
    if (lock_take(handle, ret_outcome))
        return CORA_ENDS;
    cora_waiters_append(&lock_get(handle)->waiters, waiter);
    return CORA_WAITS;
}

/* The lock that it waits for; NULL, and the error is set, if that is closed. */
static struct lock *waited_for(cora_lock handle, const struct cora_waiter *waiter)
{
    if (!waiter->list)
        return lock_get(handle);
    return (struct lock *)(void *)((char *)waiter->list - offsetof(struct lock, waiters));
}

enum cora_resumed lock_resume(cora_lock handle, struct cora_waiter *waiter, bool cancelled,
                              cora_value *ret_outcome)
{
    struct lock *lock = waited_for(handle, waiter);
    cora_waiters_remove(waiter);
    if (cancelled) {
        if (lock && !lock->locked && lock->waiters.first)
            cora_waiter_wake(lock->waiters.first);
        return CORA_ENDS_CANCELLED;
    }
    *ret_outcome = lock ? cora_int(true) : cora_last_error();
    if (lock)
        lock->locked = true;
    return CORA_ENDS;
}

static enum cora_resumed acquire_resume(struct cora_waiter *waiter, bool cancelled,
                                        cora_value *ret_outcome)
{
    return lock_resume((cora_lock){ waiter->value.as.handle }, waiter, cancelled, ret_outcome);
}

/* Of a lock that is gone there is nothing to release. */
static cora_awaitable acquire_leave(cora_value entered, cora_value error)
{
    int code = cora_lock_release(cora_as_lock(entered));
    return cora_ready(code < 0 && code != CORA_ESTALE ? cora_last_error() : error);
}

const struct cora_operation cora_lock_acquire_operation = {
    .name = "acquire",
    .now = acquire_now,
    .start = acquire_start,
    .resume = acquire_resume,
    .leave = acquire_leave,
};

/* ---- release ---- */

int cora_lock_release(cora_lock handle)
{
    struct lock *lock = lock_get(handle);
    if (!lock)
        return cora_last_error_code();
    if (!lock->locked)
        return cora_error_code(cora_object_error(lock, CORA_ERUNTIME, "Lock is not acquired."));
    lock->locked = false;
    if (lock->waiters.first)
        cora_waiter_wake(lock->waiters.first);
    return 0;
}

bool cora_lock_locked(cora_lock handle)
{
    struct lock *lock = lock_get(handle);
    return lock && lock->locked;
}

int cora_lock_print(cora_lock handle, char *buffer, size_t size)
{
    struct lock *lock = lock_get(handle);
    char waiters[40];
    if (!lock)
        return snprintf(buffer, size, "<Lock #%llx>", (unsigned long long)handle.bits);
    cora_waiters_print(&lock->waiters, waiters, sizeof waiters);
    return snprintf(buffer, size, "<Lock [%s%s]>", lock->locked ? "locked" : "unlocked", waiters);
}
