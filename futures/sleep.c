/*
 * How it works: a timer wakes the operation; without a delay it is woken at once, which takes a
 * tick. The state is the timer's handle; or, if there is a result to remember, the stored
 * awaitable, and the handle is in there.
 */
#include "sleep.h"

#include "private_future.h"

#include "reactor/timer.h"

static cora_handle *sleep_timer(struct future *future)
{
    if (!future_has(future, FUTURE_STORED))
        return &future->as.state.as.handle;
    cora_awaitable *stored = future->as.state.as.pointer;
    return (cora_handle *)(void *)&stored->count;
}
_Static_assert(sizeof(size_t) == sizeof(cora_handle), "a handle fits into a stored count");

static void sleep_over(cora_args bound)
{
    struct future *future = future_find(cora_arg_future(bound, 0));
    if (!future)
        return;
    *sleep_timer(future) = (cora_handle){ 0 };
    future_wake(future_loop(future), future);
}

static void sleep_start(struct loop *loop, struct future *future, const cora_awaitable *what)
{
    if (isnan(what->number)) {
        operation_fail(loop, future, cora_error(CORA_EVALUE, "Invalid delay: NaN (not a number)"));
    } else if (what->value.type && !awaitable_store(future, what)) {
        operation_fail(loop, future, memory_error());
    } else if (what->number <= 0) {
        *sleep_timer(future) = (cora_handle){ 0 };
        future_wake(loop, future);
    } else {
        cora_handle timer = cora_call_later(loop_handle(loop), what->number,
                                            cora_partial(sleep_over, future_handle(future)));
        *sleep_timer(future) = timer;
        if (cora_is_null(timer))
            operation_fail(loop, future, cora_last_error());
    }
}

static void sleep_resume(struct loop *loop, struct future *future)
{
    const cora_awaitable *stored = future->as.state.as.pointer;
    if (future_has(future, FUTURE_ASKED))
        operation_cancelled(loop, future);
    else if (future_has(future, FUTURE_STORED))
        future_finish(loop, future, FUTURE_FINISHED, cora_copy(stored->value));
    else
        future_finish(loop, future, FUTURE_FINISHED, cora_nothing());
}

static void sleep_drop(struct loop *loop, struct future *before)
{
    cora_handle timer = *sleep_timer(before);
    if (!cora_is_null(timer) && loop->ev)
        cora_handle_cancel(timer);
}

static const struct operation sleep_operation = {
    .name = "sleep",
    .start = sleep_start,
    .resume = sleep_resume,
    .drop = sleep_drop,
};

const struct cora_operation cora_sleep_operation = { .name = "sleep", .own = &sleep_operation };

cora_awaitable cora_sleep_result(double seconds, cora_value result)
{
    cora_awaitable sleep = { .operation = &cora_sleep_operation,
                             .value = result,
                             .number = seconds };
    return sleep;
}
