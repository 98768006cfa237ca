/*
 * condition.h: waiting, with a lock given back meanwhile, until somebody says that things changed.
 *
 *     return cora_with(self, cora_condition_acquire(bell), seated);         // takes the lock
 *     ...
 *     return cora_await(self, cora_condition_wait(bell), served);           // in seated
 *     return cora_await(self, cora_condition_wait_for(bell, has_dishes, cora_from(table)), served);
 *
 *     cora_condition_notify(bell, 1);                                       // who has the lock
 *
 * A wait gives the lock back, and has it again when it ends, however that is. A notify only says
 * so: nobody goes on before the lock is released, and then one after the other, in the order of
 * coming. Others may have been there before: look again, as cora_condition_wait_for does. For tasks
 * of one loop, not for threads. asyncio: Condition.
 */
#ifndef CORA_CONDITION_H
#define CORA_CONDITION_H

#include "lock.h"

CORA_BEGIN

/*
 * One with a lock of its own, which is closed with it; one with a lock of yours, perhaps that of
 * other conditions, too, to be closed after them. Yours to close, at the latest with its loop. Null
 * as cora_future_new.
 */
#define cora_condition_new(loop) cora_condition_new_at(loop, CORA_PLACE("condition"))
#define cora_condition_of(lock) cora_condition_of_at(lock, CORA_PLACE("condition"))
CORA_API cora_condition cora_condition_new_at(cora_loop loop, const struct cora_place *place);
CORA_API cora_condition cora_condition_of_at(cora_lock lock, const struct cora_place *place);

/* Closes it: those that wait take the lock, and end with a StaleHandle error. 0 or a code. */
CORA_API int cora_condition_close(cora_condition condition);

/* Its lock: that you gave, or its own. Null as cora_future_loop. */
CORA_API cora_lock cora_condition_lock(cora_condition condition);

/* Its lock's functions. asyncio: Condition.acquire, async with, release, locked. */
static inline cora_awaitable cora_condition_acquire(cora_condition condition)
{
    return cora_lock_acquire(cora_condition_lock(condition));
}

static inline int cora_condition_release(cora_condition condition)
{
    return cora_lock_release(cora_condition_lock(condition));
}

static inline bool cora_condition_locked(cora_condition condition)
{
    return cora_lock_locked(cora_condition_lock(condition));
}

/*
 * Gives the lock back, waits until it is notified, takes the lock, and ends with true. A
 * RuntimeError if nobody holds the lock. If cancelled: it takes the lock, too, before it ends; if
 * it is cancelled again while it waits for that, it ends with the last Cancelled. Another waiter is
 * notified in its place. asyncio: Condition.wait.
 */
CORA_API extern const struct cora_operation cora_condition_wait_operation;

static inline cora_awaitable cora_condition_wait(cora_condition condition)
{
    cora_awaitable wait = {
        &cora_condition_wait_operation, cora_from_condition(condition), 0, 0, 0, cora_nothing()
    };
    return wait;
}

/*
 * What is waited for: no is 0, 0.0, false, nothing and a NULL pointer; yes is any other value,
 * which the wait ends with; an error ends the wait with it. Gets the wait's argument, in the task
 * that waits.
 */
typedef cora_value (*cora_predicate)(cora_value argument);

/*
 * Waits as often as the predicate says no; without waiting, and without the lock, if it says yes at
 * once. Adds a reference to the argument. Otherwise as cora_condition_wait. It is a coroutine: to
 * be given to somebody in the callback that made it. A null one, and a TypeError, for a predicate
 * that is NULL. asyncio: Condition.wait_for.
 */
#define cora_condition_wait_for(condition, predicate, argument)                                    \
    cora_condition_wait_for_at(condition, predicate, argument, CORA_PLACE("wait_for"))
CORA_API cora_awaitable cora_condition_wait_for_at(cora_condition condition,
                                                   cora_predicate predicate, cora_value argument,
                                                   const struct cora_place *place);

/*
 * Wakes the first so many that wait; all of them. They go on when the lock is released. 0;
 * CORA_ERUNTIME if nobody holds the lock; CORA_ESTALE, also if that is closed; ... asyncio:
 * Condition.notify, notify_all.
 */
CORA_API int cora_condition_notify(cora_condition condition, size_t count);
CORA_API int cora_condition_notify_all(cora_condition condition);

/* Writes it for a person to read: <Condition [locked, waiters:2]>. As snprintf. */
CORA_API int cora_condition_print(cora_condition condition, char *buffer, size_t size);

CORA_END
#endif
