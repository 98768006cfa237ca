/*
 * staggered.h: tries one way after the other, and takes the first that leads to a result.
 *
 *     cora_coro ways[2] = { cora_coroutine(connect, struct connect, v6),
 *                           cora_coroutine(connect, struct connect, v4) };
 *     cora_when_done(cora_staggered_race(ways, 2, 0.25), cora_partial(on_connected));
 */
#ifndef CORA_STAGGERED_H
#define CORA_STAGGERED_H

#include "wait_for.h"

CORA_BEGIN

/*
 * Runs the first coroutine in a task of its own, and the next one when the one before has failed,
 * or after so many seconds (INFINITY: only then; NaN: a ValueError). The first that returns wins:
 * the others are cancelled, and it ends when all have ended; those that were not begun are closed.
 * Ends with a list of three: the winner's result and its index, or nothing twice; and a list that
 * has, for each that was begun, the error that it failed with, nothing for the winner.
 *
 * If cancelled: all are, and it ends with Cancelled when they have ended. The array is copied; this
 * is a coroutine itself, and theirs is who awaits it: to be given to somebody in the callback that
 * made it. asyncio: staggered.staggered_race.
 */
#define cora_staggered_race(coros, count, delay)                                                   \
    cora_staggered_race_at(coros, count, delay, CORA_PLACE("staggered_race"))
CORA_API cora_awaitable cora_staggered_race_at(const cora_coro *coros, size_t count, double delay,
                                               const struct cora_place *place);

CORA_END
#endif
