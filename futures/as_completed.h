/*
 * as_completed.h: meets futures in the order in which they are done.
 *
 *     cora_completions arrivals = cora_as_completed(loop, runners, 4, INFINITY);
 *     while (cora_completions_left(arrivals) > 0)                            // callback style
 *         cora_when_done(cora_completions_result(arrivals), cora_partial(on_arrival, board));
 *
 *     return cora_await(self, cora_completions_next(arrivals), arrived);     // in a step, and in
 *     cora_future runner = cora_as_future(cora_got(self));                   // the one after it
 */
#ifndef CORA_AS_COMPLETED_H
#define CORA_AS_COMPLETED_H

#include "task.h"

CORA_BEGIN

/*
 * Those that are done are met first; from then on each as it is done. Futures, operations (which
 * start in the next tick) or coroutines (which become tasks); the same one twice counts once. After
 * so many seconds (INFINITY: never) those that are left are met as a TimeoutError each; they are
 * not cancelled. Null as cora_gather, and a ValueError for NaN. The futures are kept until it is
 * closed: with the coroutine in whose step it was made; any other by its maker, at the latest with
 * its loop. asyncio: as_completed.
 */
#define cora_as_completed(loop, items, count, timeout)                                             \
    CORA_AS_COMPLETED(items)(loop, items, count, timeout, CORA_PLACE("as_completed"))
CORA_API cora_completions cora_as_completed_futures(cora_loop loop, const cora_future *futures,
                                                    size_t count, double timeout,
                                                    const struct cora_place *place);
CORA_API cora_completions cora_as_completed_awaitables(cora_loop loop,
                                                       const cora_awaitable *awaitables,
                                                       size_t count, double timeout,
                                                       const struct cora_place *place);
CORA_API cora_completions cora_as_completed_coros(cora_loop loop, const cora_coro *coros,
                                                  size_t count, double timeout,
                                                  const struct cora_place *place);

/* Closes it; those that wait end with a StaleHandle error, what it waited for runs on. */
CORA_API int cora_completions_close(cora_completions completions);

/*
 * How many are still to be asked for with the two below: a cora_completions_result counts when it
 * is made, a cora_completions_next when it starts.
 */
CORA_API size_t cora_completions_left(cora_completions completions);

/*
 * The next one that is done: cora_completions_next ends with that very future, which is done;
 * cora_completions_result with its outcome. Who waits first gets the first. When none is left to be
 * asked for: StopAsyncIteration; when the time is over: a TimeoutError. If cancelled: the next
 * waiter gets what this one would have. asyncio: async for x in as_completed(...); for x in ...:
 * await x.
 */
CORA_API cora_awaitable cora_completions_next(cora_completions completions);
CORA_API cora_awaitable cora_completions_result(cora_completions completions);

CORA_END

#ifndef __cplusplus
/* clang-format off: it knows no _Generic */
#define CORA_AS_COMPLETED(items)                                                                   \
    _Generic((items),                                                                              \
        cora_awaitable *: cora_as_completed_awaitables,                                            \
        const cora_awaitable *: cora_as_completed_awaitables,                                      \
        cora_coro *: cora_as_completed_coros,                                                      \
        const cora_coro *: cora_as_completed_coros,                                                \
        default: cora_as_completed_futures)
/* clang-format on */
#else
#undef cora_as_completed
static inline cora_completions cora_as_completed(cora_loop loop, const cora_future *futures,
                                                 size_t count, double timeout)
{
    return cora_as_completed_futures(loop, futures, count, timeout, CORA_PLACE("as_completed"));
}
static inline cora_completions cora_as_completed(cora_loop loop, const cora_awaitable *awaitables,
                                                 size_t count, double timeout)
{
    return cora_as_completed_awaitables(loop, awaitables, count, timeout,
                                        CORA_PLACE("as_completed"));
}
static inline cora_completions cora_as_completed(cora_loop loop, const cora_coro *coros,
                                                 size_t count, double timeout)
{
    return cora_as_completed_coros(loop, coros, count, timeout, CORA_PLACE("as_completed"));
}
#endif

#endif
