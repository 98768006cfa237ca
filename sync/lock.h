/*
 * lock.h: one at a time: what tasks do with it held, no other task that takes it does meanwhile.
 *
 *     cora_when_done(cora_lock_acquire(lid), cora_partial(on_held, jar));    // callback style
 *     ...
 *     cora_lock_release(lid);
 *
 *     return cora_await(self, cora_lock_acquire(lid), held);     // in a step, to be released
 *     return cora_with(self, cora_lock_acquire(lid), held);      // until the coroutine ends
 *
 *     unlocked --cora_lock_acquire--> locked --cora_lock_release--> unlocked
 *
 * It is for tasks of one loop, not for threads. Who comes first is first served: with somebody
 * waiting, an unlocked lock is not free for a newcomer. A release does not hand the lock over: it
 * wakes the first, and the lock reads unlocked until that one runs. There is no owner; it is not
 * re-entrant. asyncio: Lock.
 */
#ifndef CORA_LOCK_H
#define CORA_LOCK_H

#include <cora/operation.h>

CORA_BEGIN

/* An unlocked one; yours to close, at the latest with its loop. Null as cora_future_new. */
#define cora_lock_new(loop) cora_lock_new_at(loop, CORA_PLACE("lock"))
CORA_API cora_lock cora_lock_new_at(cora_loop loop, const struct cora_place *place);

/* Closes it: those that wait end with a StaleHandle error. 0 or a code. */
CORA_API int cora_lock_close(cora_lock lock);

/*
 * Takes it: ends with true; without waiting if it is unlocked and nobody is before. If cancelled:
 * it is not taken; in the gap after a release the next one is woken. A RuntimeError if it must wait
 * in another loop than the lock's. asyncio: Lock.acquire, async with.
 */
CORA_API extern const struct cora_operation cora_lock_acquire_operation;

static inline cora_awaitable cora_lock_acquire(cora_lock lock)
{
    cora_awaitable acquire = {
        &cora_lock_acquire_operation, cora_from_lock(lock), 0, 0, 0, cora_nothing()
    };
    return acquire;
}

/*
 * Gives it back, and wakes who waits first. 0; CORA_ERUNTIME if it is not locked; CORA_ESTALE,
 * CORA_EWRONGTHREAD, ... asyncio: Lock.release.
 */
CORA_API int cora_lock_release(cora_lock lock);

/* Whether somebody holds it. */
CORA_API bool cora_lock_locked(cora_lock lock);

/* Writes it for a person to read: <Lock [locked, waiters:2]>. As snprintf. */
CORA_API int cora_lock_print(cora_lock lock, char *buffer, size_t size);

CORA_END
#endif
