/*
 * barrier.h: so many meet, and then all go on.
 *
 *     cora_when_done(cora_barrier_wait(summit), cora_partial(rest, climber));    // callback style
 *     return cora_await(self, cora_barrier_wait(summit), rest);                  // in a step
 *
 *     filling --the last one comes--> draining --the last one has left--> filling
 *     with somebody inside --reset--> resetting --the last one has left--> filling
 *     any --abort--> broken --reset--> filling, or resetting
 *
 * Who comes while it drains waits for the next round. One that is cancelled just leaves. For tasks
 * of one loop, not for threads. asyncio: Barrier.
 */
#ifndef CORA_BARRIER_H
#define CORA_BARRIER_H

#include <cora/operation.h>

CORA_BEGIN

/*
 * One for so many: 1 and more, else a ValueError. Yours to close, at the latest with its loop. Null
 * as cora_future_new.
 */
#define cora_barrier_new(loop, parties) cora_barrier_new_at(loop, parties, CORA_PLACE("barrier"))
CORA_API cora_barrier cora_barrier_new_at(cora_loop loop, int64_t parties,
                                          const struct cora_place *place);

/* Closes it: those that wait end with a StaleHandle error. 0 or a code. */
CORA_API int cora_barrier_close(cora_barrier barrier);

/*
 * Ends when as many are there as it is for, with its number in the order of coming, from 0: the
 * last one without waiting, and then the others in that order (its callback, as that of all that
 * need not wait, comes a tick later, behind theirs; once one was cancelled, numbers may repeat). A
 * BrokenBarrierError if it is broken, or reset meanwhile. If cancelled: it leaves. A RuntimeError
 * if it must wait in another loop than the barrier's. asyncio: Barrier.wait, async with.
 */
CORA_API extern const struct cora_operation cora_barrier_wait_operation;

static inline cora_awaitable cora_barrier_wait(cora_barrier barrier)
{
    cora_awaitable wait = {
        &cora_barrier_wait_operation, cora_from_barrier(barrier), 0, 0, 0, cora_nothing()
    };
    return wait;
}

/*
 * Makes it as new: those inside end with a BrokenBarrierError; those that wait for the next round
 * stay. Breaks it: all end with a BrokenBarrierError, and so do those that come, until a reset. 0;
 * CORA_ESTALE, CORA_EWRONGTHREAD, ... asyncio: Barrier.reset, abort; they never wait there either.
 */
CORA_API int cora_barrier_reset(cora_barrier barrier);
CORA_API int cora_barrier_abort(cora_barrier barrier);

/*
 * For how many it is; how many are inside while it fills, else 0; whether it is broken. 0 and false
 * of one that is closed. asyncio: Barrier.parties, n_waiting, broken.
 */
CORA_API int64_t cora_barrier_parties(cora_barrier barrier);
CORA_API int64_t cora_barrier_n_waiting(cora_barrier barrier);
CORA_API bool cora_barrier_broken(cora_barrier barrier);

/* Writes it for a person to read: <Barrier [filling, waiters:1/3]>. As snprintf. */
CORA_API int cora_barrier_print(cora_barrier barrier, char *buffer, size_t size);

CORA_END
#endif
