/*
 * How it works: an operation of operation.h that must wait is a future whose state is the waiter,
 * in a block: the future is what is queued when it is woken. Waking and cancelling are the future's
 * own; the waiter only remembers which of them was first.
 *
 * One that a task awaits has no future of its own: its waiter is the state of the task, which is
 * queued, and goes on with the outcome (task.c).
 */
#include "operation.h"

#include "private_coroutine.h"

#include <stdio.h>

static struct cora_waiter *waiter_of(const struct future *future)
{
    return future_is_done(future) ? future->more.block : future->as.state.as.pointer;
}

static size_t waiter_size(const struct cora_operation *operation)
{
    return operation->size ? operation->size : sizeof(struct cora_waiter);
}

/* ---- lists ---- */

void cora_waiters_append(struct cora_waiters *list, struct cora_waiter *waiter)
{
    cora_waiters_remove(waiter);
    waiter->list = list;
    waiter->next = NULL;
    waiter->previous = list->last;
    if (list->last)
        list->last->next = waiter;
    else
        list->first = waiter;
    list->last = waiter;
}

void cora_waiters_remove(struct cora_waiter *waiter)
{
    struct cora_waiters *list = waiter->list;
    if (!list)
        return;
    if (waiter->next)
        waiter->next->previous = waiter->previous;
    else
        list->last = waiter->previous;
    if (waiter->previous)
        waiter->previous->next = waiter->next;
    else
        list->first = waiter->next;
    waiter->list = NULL;
}

enum cora_waiter_state cora_waiter_state(const struct cora_waiter *waiter)
{
    if (waiter->woken)
        return CORA_WAITER_WOKEN;
    bool waits = waiter->busy || future_phase(waiter->future) == FUTURE_PENDING;
    bool asked = future_has(waiter->future, FUTURE_ASKED);
    return waits && !asked ? CORA_WAITER_WAITING : CORA_WAITER_CANCELLED;
}

/* A task whose step runs is queued when that has returned. */
static bool is_running_task(const struct future *future)
{
    return is_task(future) && task_of_const(future)->flags & TASK_RUNNING;
}

bool cora_waiter_wake(struct cora_waiter *waiter)
{
    if (waiter->busy)
        waiter->again = true;
    if (waiter->woken || future_phase(waiter->future) != FUTURE_PENDING ||
        future_has(waiter->future, FUTURE_ASKED))
        return false;
    waiter->woken = true;
    if (!is_running_task(waiter->future))
        future_wake(future_loop(waiter->future), waiter->future);
    return true;
}

size_t cora_waiters_wake_first(struct cora_waiters *list, size_t count)
{
    size_t woken = 0;
    for (struct cora_waiter *waiter = list->first; waiter && woken < count; waiter = waiter->next)
        woken += cora_waiter_wake(waiter);
    return woken;
}

void cora_waiters_wake(struct cora_waiters *list)
{
    cora_waiters_wake_first(list, SIZE_MAX);
}

void cora_waiters_close(struct cora_waiters *list)
{
    cora_waiters_wake(list);
    while (list->first)
        cora_waiters_remove(list->first);
}

size_t cora_waiters_count(const struct cora_waiters *list)
{
    size_t count = 0;
    for (const struct cora_waiter *waiter = list->first; waiter; waiter = waiter->next)
        count++;
    return count;
}

int cora_waiters_print(const struct cora_waiters *list, char *buffer, size_t size)
{
    size_t count = cora_waiters_count(list);
    return count ? snprintf(buffer, size, ", waiters:%zu", count)
                 : snprintf(buffer, size, "%s", "");
}

/* ---- the operation behind the future ---- */

/* A thing of another loop cannot be waited for in this one. */
static bool is_of_loop(struct loop *loop, const cora_awaitable *what)
{
    if (!value_is_handle(what->value) || CORA_LIKELY(owner_of(what->value.as.handle) == loop))
        return true;
    const struct slot *slot = slot_at(what->value.as.handle);
    return !slot || slot->kind != SLOT_OBJECT;
}

/*
 * While one of its functions runs the future cannot be woken: that would queue what ends just then.
 * It is noted instead.
 */
static void waiter_enter(struct cora_waiter *waiter)
{
    waiter->busy = true;
    waiter->again = false;
    future_set_phase(waiter->future, FUTURE_WOKEN);
}

/* It is over, but for its memory. */
static void waiter_end(struct cora_waiter *waiter)
{
    cora_waiters_remove(waiter);
    if (!waiter->operation->drop)
        return;
    waiter->busy = true;
    waiter->operation->drop(waiter);
    waiter->busy = false;
}

/* It has returned: false if its loop was closed meanwhile. */
static bool waiter_leave(struct cora_waiter *waiter)
{
    waiter->busy = false;
    if (!waiter->gone) {
        future_set_phase(waiter->future, FUTURE_PENDING);
        return true;
    }
    waiter_end(waiter);
    block_put(waiter, waiter_size(waiter->operation));
    return false;
}

/* It waits, unless it was woken or cancelled in the middle. */
static void waiter_waits(struct loop *loop, struct cora_waiter *waiter)
{
    waiter->woken = false;
    if (waiter->again)
        cora_waiter_wake(waiter);
    if (future_has(waiter->future, FUTURE_ASKED))
        future_wake(loop, waiter->future);
}

int waiter_new(struct loop *loop, struct future *future, const cora_awaitable *what)
{
    if (!is_of_loop(loop, what))
        return fail(CORA_ERUNTIME, "the %s is bound to a different event loop",
                    what->value.type->name);
    size_t size = waiter_size(what->operation);
    struct cora_waiter *waiter = block_get(size);
    if (!waiter)
        return fail_with(memory_error());
    waiter->next = waiter->previous = NULL;
    waiter->list = NULL;
    value_copy_plain(&waiter->value, &what->value);
    waiter->operation = what->operation;
    waiter->future = future;
    waiter->woken = waiter->gone = false;
    if (size > sizeof *waiter)
        memset(waiter + 1, 0, size - sizeof *waiter);
    future->as.state.as.pointer = waiter;
    waiter_enter(waiter);
    int code = what->operation->start(waiter, what);
    if (!waiter_leave(waiter))
        return 0;
    if (CORA_UNLIKELY(waiter->again) && code >= 0)
        cora_waiter_wake(waiter);
    return code;
}

void waiter_begin(struct loop *loop, struct future *future, const cora_awaitable *what)
{
    if (waiter_new(loop, future, what) < 0)
        operation_fail(loop, future, cora_last_error());
    else if (CORA_UNLIKELY(future_has(future, FUTURE_ASKED)))
        future_wake(loop, future);
}

/* One whose future somebody has already: cancelling it is only noted while now runs. */
static void waiter_start_later(struct loop *loop, struct future *future, const cora_awaitable *what)
{
    cora_value outcome = cora_nothing();
    future_set_phase(future, FUTURE_WOKEN);
    bool ends = what->operation->now && what->operation->now(what, &outcome);
    if (future_is_done(future))
        return; /* its loop was closed */
    future_set_phase(future, FUTURE_PENDING);
    if (ends)
        operation_end(loop, future, outcome);
    else
        waiter_begin(loop, future, what);
}

bool waiter_go_on(struct cora_waiter *waiter, bool cancelled, enum cora_resumed *ret_how,
                  cora_value *ret_outcome)
{
    *ret_outcome = cora_nothing();
    waiter_enter(waiter);
    *ret_how = waiter->operation->resume(waiter, cancelled, ret_outcome);
    if (!waiter_leave(waiter)) {
        if (*ret_how == RESUMED_GIVES)
            cora_drop(*ret_outcome);
        return false;
    }
    if (CORA_UNLIKELY(cora_thread.attention) && !cora_is_nothing(cora_thread.failure)) {
        if (*ret_how == RESUMED_GIVES)
            cora_drop(*ret_outcome);
        *ret_outcome = cora_temporary(cora_thread.failure); /* it is what it ends with */
        cora_thread.failure = cora_nothing();
        *ret_how = CORA_ENDS;
    }
    return true;
}

static void waiter_resume(struct loop *loop, struct future *future)
{
    struct cora_waiter *waiter = waiter_of(future);
    bool cancelled = future_has(future, FUTURE_ASKED);
    enum cora_resumed how;
    cora_value outcome;
    future_unmark(future, FUTURE_ASKED);
    if (!waiter_go_on(waiter, cancelled, &how, &outcome))
        return;
    if (how == RESUMED_GIVES)
        future_finish(loop, future, FUTURE_FINISHED, outcome);
    else if (how == CORA_ENDS_CANCELLED)
        operation_cancelled(loop, future);
    else if (how == CORA_ENDS)
        operation_end(loop, future, outcome);
    else
        waiter_waits(loop, waiter);
}

bool waiter_abandon(struct cora_waiter *waiter)
{
    cora_value outcome = cora_nothing();
    waiter_enter(waiter);
    if (waiter->operation->resume(waiter, true, &outcome) == RESUMED_GIVES)
        cora_drop(outcome);
    return waiter_leave(waiter);
}

bool waiter_give_back(struct cora_waiter *waiter)
{
    if (!waiter->gone)
        future_set_phase(waiter->future, FUTURE_WOKEN); /* it cannot be woken any more */
    waiter_end(waiter);
    bool there = !waiter->gone;
    if (there)
        future_set_phase(waiter->future, FUTURE_PENDING);
    block_put(waiter, waiter_size(waiter->operation));
    return there;
}

/*
 * It is over in this very call, as if Cancelled was raised in it: what its coroutine does next may
 * rely on that. One that would wait even so does not.
 */
void future_abandon(struct future *future)
{
    if (future_is_done(future))
        return;
    struct cora_waiter *waiter =
        future->operation == &waiter_operation ? future->as.state.as.pointer : NULL;
    if (!waiter || waiter->busy || future_phase(future) == FUTURE_STARTING) {
        future_cancel(future, cancelled_error());
        return;
    }
    if (future_phase(future) == FUTURE_WOKEN)
        future_mark(future, FUTURE_DIRECT); /* it is queued: its callbacks run then */
    if (waiter_abandon(waiter))
        operation_cancelled(future_loop(future), future);
}

static void waiter_drop(struct loop *loop, struct future *before)
{
    struct cora_waiter *waiter = before->as.state.as.pointer;
    (void)loop;
    if (!waiter || waiter->busy)
        return; /* it never waited; or its function ends it when it returns */
    waiter_end(waiter);
    if (waiter->gone)
        block_put(waiter, waiter_size(waiter->operation));
}

static void waiter_free(struct loop *loop, void *block)
{
    struct cora_waiter *waiter = block;
    (void)loop;
    waiter->gone = true;
    if (!waiter->busy)
        block_put(waiter, waiter_size(waiter->operation));
}

static const char *waiter_name(const struct future *future)
{
    const struct cora_waiter *waiter = waiter_of(future);
    if (future_has(future, FUTURE_STORED))
        return ((const cora_awaitable *)future->as.state.as.pointer)->operation->name;
    return waiter ? waiter->operation->name : "operation";
}

const struct operation waiter_operation = {
    .name = "operation",
    .start = waiter_start_later,
    .resume = waiter_resume,
    .drop = waiter_drop,
    .free = waiter_free,
    .name_of = waiter_name,
};

/* ---- what is there already ---- */

static bool ready_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    *ret_outcome = what->value;
    return true;
}

cora_awaitable cora_ready(cora_value outcome)
{
    static const struct cora_operation ready = { .name = "ready", .now = ready_now };
    return (cora_awaitable){ .operation = &ready, .value = outcome };
}
