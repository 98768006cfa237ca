/*
 * wait.h: waits for some of many futures, and tells which are done.
 *
 *     cora_when_done(cora_wait(pages, 3, 2.5, CORA_FIRST_COMPLETED), cora_partial(on_some, job));
 *     ...
 *     cora_value done = cora_list_at(cora_result(waited), 0), pending = cora_list_at(..., 1);
 *     cora_future first = cora_as_future(cora_list_at(done, 0));
 */
#ifndef CORA_WAIT_H
#define CORA_WAIT_H

#include "awaitable.h"

CORA_BEGIN

enum cora_return_when {
    CORA_ALL_COMPLETED,
    CORA_FIRST_COMPLETED,
    CORA_FIRST_EXCEPTION, /* the first that fails, which a cancelled one does not; else all */
};

/*
 * Ends when enough of these futures are done, or after so many seconds (INFINITY: never), with a
 * list of two lists: the done ones and those still pending, in the order of the array, each once.
 * They are kept until the future of this operation is given back.
 *
 * It never fails because of them, cancels none, and a time-out is no error. Also if all are done,
 * it ends two ticks later. If cancelled: they run on. Its own errors: a ValueError for an empty
 * array, an unknown rule, NaN or a future of another loop; a StaleHandle. The array is borrowed
 * until the operation starts, or is given to cora_ensure_future or another that starts it later.
 * asyncio: wait.
 */
#define cora_wait(items, count, timeout, return_when)                                              \
    CORA_WAIT(items)(items, count, timeout, return_when)

CORA_API cora_awaitable cora_wait_futures(const cora_future *futures, size_t count, double timeout,
                                          enum cora_return_when return_when);

/* Of bare coroutines: a TypeError that says what to write instead, as in asyncio. */
CORA_API cora_awaitable cora_wait_coros(const cora_coro *coros, size_t count, double timeout,
                                        enum cora_return_when return_when);

CORA_END

#ifndef __cplusplus
/* clang-format off: it knows no _Generic */
#define CORA_WAIT(items)                                                                           \
    _Generic((items),                                                                              \
        cora_coro *: cora_wait_coros,                                                              \
        const cora_coro *: cora_wait_coros,                                                        \
        default: cora_wait_futures)
/* clang-format on */
#else
#undef cora_wait
static inline cora_awaitable cora_wait(const cora_future *futures, size_t count, double timeout,
                                       enum cora_return_when return_when)
{
    return cora_wait_futures(futures, count, timeout, return_when);
}
static inline cora_awaitable cora_wait(const cora_coro *coros, size_t count, double timeout,
                                       enum cora_return_when return_when)
{
    return cora_wait_coros(coros, count, timeout, return_when);
}
#endif

#endif
