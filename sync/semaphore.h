/*
 * semaphore.h: so many at a time: a number of units that tasks take and give back.
 *
 *     cora_when_done(cora_semaphore_acquire(toll), cora_partial(roll, cart));    // callback style
 *     ...
 *     cora_semaphore_release(toll);
 *
 *     return cora_with(self, cora_semaphore_acquire(toll), roll);    // until the coroutine ends
 *
 *     value 2 --acquire--> 1 --acquire--> 0: locked --release--> 1
 *
 * Who comes first is first served: with somebody waiting there is no unit for a newcomer, whatever
 * the value is. A release gives its unit to the first that waits, in that very call: until that one
 * runs nobody else can take it. For tasks of one loop, not for threads. asyncio: Semaphore,
 * BoundedSemaphore.
 */
#ifndef CORA_SEMAPHORE_H
#define CORA_SEMAPHORE_H

#include <cora/operation.h>

CORA_BEGIN

/*
 * One with so many units: 0 and more, else a ValueError. Of a bounded one there are never more:
 * releasing what nobody has taken fails. Yours to close, at the latest with its loop. Null as
 * cora_future_new.
 */
#define cora_semaphore_new(loop, value)                                                            \
    cora_semaphore_new_at(loop, value, false, CORA_PLACE("semaphore"))
#define cora_bounded_semaphore_new(loop, value)                                                    \
    cora_semaphore_new_at(loop, value, true, CORA_PLACE("semaphore"))
CORA_API cora_semaphore cora_semaphore_new_at(cora_loop loop, int64_t value, bool bounded,
                                              const struct cora_place *place);

/* Closes it: those that wait end with a StaleHandle error. 0 or a code. */
CORA_API int cora_semaphore_close(cora_semaphore semaphore);

/*
 * Takes a unit: ends with true; without waiting if there is one and nobody is before. If cancelled:
 * none is taken; one that it was given already goes to the next. A RuntimeError if it must wait in
 * another loop than the semaphore's. asyncio: Semaphore.acquire, async with.
 */
CORA_API extern const struct cora_operation cora_semaphore_acquire_operation;

static inline cora_awaitable cora_semaphore_acquire(cora_semaphore semaphore)
{
    cora_awaitable acquire = {
        &cora_semaphore_acquire_operation, cora_from_semaphore(semaphore), 0, 0, 0, cora_nothing()
    };
    return acquire;
}

/*
 * Gives a unit back, to who waits first. 0; CORA_EVALUE if a bounded one has them all; CORA_ESTALE,
 * CORA_EWRONGTHREAD, ... asyncio: Semaphore.release.
 */
CORA_API int cora_semaphore_release(cora_semaphore semaphore);

/* Whether taking one would have to wait; false of one that is closed. asyncio: Semaphore.locked. */
CORA_API bool cora_semaphore_locked(cora_semaphore semaphore);

/* Writes it for a person to read: <Semaphore [unlocked, value:2]>. As snprintf. */
CORA_API int cora_semaphore_print(cora_semaphore semaphore, char *buffer, size_t size);

CORA_END
#endif
