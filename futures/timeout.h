/*
 * timeout.h: a time limit for a part of a coroutine.
 *
 *     static cora_next fetch(cora_coro self)           // async with asyncio.timeout(2.5):
 *     {
 *         struct fetch *fetch = cora_locals(self, struct fetch);
 *         fetch->limit = cora_timeout_new(cora_running_loop(), 2.5);
 *         return cora_with(self, cora_timeout_enter(fetch->limit), connect);
 *     }
 *
 * All that the coroutine does from there on, to its end, must be done in time; else its task is
 * cancelled, and the coroutine ends with a TimeoutError where it would end with Cancelled. For the
 * limit of one thing that is awaited there is cora_wait_for (wait_for.h), which is also the
 * callback form.
 *
 *     created --enter--> active --exit----------------------------> finished
 *                           '--the time is over--> expiring --exit--> expired
 *
 * One that is made in a coroutine's step is closed when that coroutine has ended; any other by its
 * maker, at the latest with its loop. asyncio: Timeout.
 */
#ifndef CORA_TIMEOUT_H
#define CORA_TIMEOUT_H

#include "task.h"

CORA_BEGIN

/*
 * A limit of so many seconds from now, or until this time of the loop's clock; INFINITY: none. To
 * be entered. Null and a ValueError for NaN; null also as cora_future_new. asyncio: timeout,
 * timeout_at.
 */
#define cora_timeout_new(loop, seconds) cora_timeout_new_at(loop, seconds, CORA_PLACE("timeout"))
#define cora_timeout_until(loop, when) cora_timeout_until_at(loop, when, CORA_PLACE("timeout"))
CORA_API cora_timeout cora_timeout_new_at(cora_loop loop, double seconds,
                                          const struct cora_place *place);
CORA_API cora_timeout cora_timeout_until_at(cora_loop loop, double when,
                                            const struct cora_place *place);

/* Closes it, whatever its state: its task is not cancelled any more. 0 or a code. */
CORA_API int cora_timeout_close(cora_timeout timeout);

/*
 * Enters it, for the task that awaits this; never waits. When the time is over already, the task is
 * cancelled in the next tick. A RuntimeError outside of a task, and if it was entered before.
 * asyncio: async with.
 */
CORA_API cora_awaitable cora_timeout_enter(cora_timeout timeout);

/*
 * Leaves it, in this call, with the error that is under way (cora_caught), or nothing. What this
 * gives only tells the outcome, without waiting: that error, a TimeoutError in the place of the
 * Cancelled that it has caused itself, or nothing. cora_with does this at the coroutine's end. A
 * RuntimeError if it is not active.
 */
CORA_API cora_awaitable cora_timeout_exit(cora_timeout timeout, cora_value error);

/*
 * Sets another time, also from outside of the task; INFINITY: none. 0; CORA_ERUNTIME if it is not
 * active; CORA_EVALUE for NaN. asyncio: reschedule.
 */
CORA_API int cora_timeout_reschedule(cora_timeout timeout, double when);

/* The time on the loop's clock, also afterwards; INFINITY: none. NaN if it is stale. */
CORA_API double cora_timeout_when(cora_timeout timeout);

/* Whether the time was over before it was left. */
CORA_API bool cora_timeout_expired(cora_timeout timeout);

/* Writes it for a person to read: <Timeout [active] when=12.345>. As snprintf. */
CORA_API int cora_timeout_print(cora_timeout timeout, char *buffer, size_t size);

CORA_END
#endif
