/*
 * awaitable.h: what can be waited for: a future, an operation that is not started yet, a coroutine.
 *
 * An operation (cora_sleep, cora_wait, ...) is a small value that says what to do. It holds nothing
 * and does nothing before it is given to one of these:
 *
 *     cora_when_done(cora_sleep(1.5), cora_partial(on_awake, bell));    // starts now, calls back
 *     cora_ensure_future(loop, cora_sleep(1.5));                        // starts in the next tick
 *     cora_gather(loop, items, count), cora_shield(...), cora_run_until_complete(...)
 *
 * A few do something in the very call that makes them, and say so: those that leave a scope, and
 * those that are coroutines (cora_wait_for). What an operation was given by pointer is borrowed
 * until it starts. A started operation stands behind a future.
 * Cancelling that asks the operation to end, which it does in the next tick, with Cancelled; also
 * in the gap when it has what it waited for and has not told yet: then that is given back.
 */
#ifndef CORA_AWAITABLE_H
#define CORA_AWAITABLE_H

#include "future.h"

CORA_BEGIN

struct cora_operation; /* what an operation does: operation.h */

typedef struct cora_awaitable {
    const struct cora_operation *operation; /* NULL: a future */
    cora_value value;                       /* the future, or the operation's argument */
    double number;                          /* other arguments */
    size_t count;
    int option;
    cora_value argument; /* one more, kept as the value is */
} cora_awaitable;

static inline cora_awaitable cora_awaitable_of_future(cora_future future)
{
    cora_awaitable awaitable = { NULL, cora_from_future(future), 0, 0, 0, cora_nothing() };
    return awaitable;
}

static inline cora_awaitable cora_awaitable_of_awaitable(cora_awaitable awaitable)
{
    return awaitable;
}

/* A coroutine (coroutine.h): given to one of the above, it becomes a task (task.h). */
CORA_API extern const struct cora_operation cora_coroutine_operation;

static inline cora_awaitable cora_awaitable_of_coro(cora_coro coro)
{
    cora_awaitable awaitable = {
        &cora_coroutine_operation, cora_from_coro(coro), 0, 0, 0, cora_nothing()
    };
    return awaitable;
}

/*
 * Starts it now, in the running loop or the thread's current one, and calls back with its outcome,
 * never inside this call. Gives the future behind it, which is the callback's last argument, too:
 * cancelling that cancels the operation, and the callback gets Cancelled. Of a future it is the
 * same as cora_add_done_callback, and gives that future. Null if it cannot: as cora_call_soon, and
 * then the arguments are dropped; what is wrong with the operation's own arguments is its outcome.
 * The future behind an operation is given back when its callbacks have run, unless it is kept.
 */
#define cora_when_done(awaitable, callback)                                                        \
    cora_when_done_at(cora_awaitable_of(awaitable), callback, CORA_PLACE("cora_when_done"))
CORA_API cora_future cora_when_done_start(const cora_awaitable *awaitable,
                                          cora_done_callback callback,
                                          const struct cora_place *place);

static inline cora_future cora_when_done_at(cora_awaitable awaitable, cora_done_callback callback,
                                            const struct cora_place *place)
{
    return cora_when_done_start(&awaitable, callback, place);
}

/*
 * The future of an awaitable: a future comes back as it is (a ValueError and null if it is of
 * another loop); an operation starts in the next tick, as a task would. Cancelled before that, it
 * never starts. asyncio: ensure_future.
 */
#define cora_ensure_future(loop, awaitable)                                                        \
    cora_ensure_future_at(loop, cora_awaitable_of(awaitable), CORA_PLACE("cora_ensure_future"))
CORA_API cora_future cora_ensure_future_at(cora_loop loop, cora_awaitable awaitable,
                                           const struct cora_place *place);

CORA_END

/* A future, operation or coroutine, as an awaitable. */
#ifndef __cplusplus
/* clang-format off: it knows no _Generic */
#define cora_awaitable_of(x)                                                                       \
    _Generic((x), cora_future                                                                      \
             : cora_awaitable_of_future, cora_coro                                                 \
             : cora_awaitable_of_coro, cora_awaitable                                              \
             : cora_awaitable_of_awaitable)(x)
/* clang-format on */
#else
static inline cora_awaitable cora_awaitable_of(cora_future future)
{
    return cora_awaitable_of_future(future);
}
static inline cora_awaitable cora_awaitable_of(cora_awaitable awaitable)
{
    return awaitable;
}
static inline cora_awaitable cora_awaitable_of(cora_coro coro)
{
    return cora_awaitable_of_coro(coro);
}
#endif

#endif
