/*
 * gather.h: one future for many: their results in one list.
 *
 *     cora_future pages[3] = { ... };
 *     cora_future all = cora_gather(loop, pages, 3);
 *     cora_future tolerant = cora_gather(loop, pages, 3, .return_exceptions = true);
 *     cora_awaitable naps[2] = { cora_sleep(1), cora_sleep(2) };
 *     cora_run_until_complete(loop, cora_gather(loop, naps, 2));
 */
#ifndef CORA_GATHER_H
#define CORA_GATHER_H

#include "awaitable.h"

CORA_BEGIN

struct cora_gather_options {
    bool return_exceptions; /* errors and cancellations are values of the list, too */
    bool cora_unused;
};

/*
 * A future that is done when all of these are: its result is the list of theirs, in the order of
 * the arguments. The array is copied; the same future, or coroutine, may be in it twice. Operations
 * start in the next tick; coroutines become tasks (task.h).
 *
 * The futures are kept until this one is given back, so that they can be read together with it.
 *
 * Without return_exceptions the first of them that fails or is cancelled ends it with that error
 * (it is then not cancelled itself: it failed with a Cancelled error); the others go on.
 *
 * If cancelled: each of them is, and it is done when they are; whether one could be. Of none, or of
 * such that are all done, it is done at once. Null if it cannot: a ValueError for futures of
 * another loop, a StaleHandle for a stale one, as cora_future_new; operations that were started
 * then run on. asyncio: gather.
 */
#define cora_gather(...) CORA_GATHER(__VA_ARGS__, .cora_unused = false)

CORA_API cora_future cora_gather_futures(cora_loop loop, const cora_future *futures, size_t count,
                                         const struct cora_gather_options *options,
                                         const struct cora_place *place);
CORA_API cora_future cora_gather_awaitables(cora_loop loop, const cora_awaitable *awaitables,
                                            size_t count, const struct cora_gather_options *options,
                                            const struct cora_place *place);
CORA_API cora_future cora_gather_coros(cora_loop loop, const cora_coro *coros, size_t count,
                                       const struct cora_gather_options *options,
                                       const struct cora_place *place);

CORA_END

#ifndef __cplusplus
/* clang-format off: it knows no _Generic */
#define CORA_GATHER(loop, items, count, ...)                                                       \
    _Generic((items),                                                                              \
        cora_future *: cora_gather_futures,                                                        \
        const cora_future *: cora_gather_futures,                                                  \
        cora_coro *: cora_gather_coros,                                                            \
        const cora_coro *: cora_gather_coros,                                                      \
        cora_awaitable *: cora_gather_awaitables,                                                  \
        const cora_awaitable *: cora_gather_awaitables)(                                           \
        loop, items, count, &(struct cora_gather_options){ __VA_ARGS__ },                          \
        CORA_PLACE("cora_gather"))
/* clang-format on */
#else
/* C++: the options are a struct of the caller's: cora_gather(loop, items, count, options) */
#undef cora_gather
static inline cora_future cora_gather(cora_loop loop, const cora_future *items, size_t count,
                                      const cora_gather_options &options = cora_gather_options())
{
    return cora_gather_futures(loop, items, count, &options, CORA_PLACE("cora_gather"));
}
static inline cora_future cora_gather(cora_loop loop, const cora_awaitable *items, size_t count,
                                      const cora_gather_options &options = cora_gather_options())
{
    return cora_gather_awaitables(loop, items, count, &options, CORA_PLACE("cora_gather"));
}
static inline cora_future cora_gather(cora_loop loop, const cora_coro *items, size_t count,
                                      const cora_gather_options &options = cora_gather_options())
{
    return cora_gather_coros(loop, items, count, &options, CORA_PLACE("cora_gather"));
}
#endif

#endif
