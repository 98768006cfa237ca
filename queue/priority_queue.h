/*
 * priority_queue.h: a queue that gives the item first that goes before all others.
 *
 *     static int by_deadline(cora_value one, cora_value other)
 *     {
 *         const struct job *first = cora_as_pointer(one), *second = cora_as_pointer(other);
 *         return (first->deadline > second->deadline) - (first->deadline < second->deadline);
 *     }
 *     ...
 *     cora_queue jobs = cora_priority_queue_new(loop, 0, by_deadline);
 *
 * Of items that are equal the one that was put first comes first. All else is queue.h. asyncio:
 * PriorityQueue, which leaves open what equal items do.
 */
#ifndef CORA_PRIORITY_QUEUE_H
#define CORA_PRIORITY_QUEUE_H

#include "queue.h"

CORA_BEGIN

/*
 * Less than 0 if the one goes before the other, more than 0 if it goes behind it, 0 if they are
 * equal. Both are borrowed. It is called in the middle of a put or get: there it may close the
 * queue, but all else that it does with it fails with a RuntimeError. If it fails (cora_fail), so
 * does the callback, or the put or get that is awaited; the item is put, or taken, all the same. It
 * may run outside of the task that puts or gets.
 */
typedef int (*cora_compare)(cora_value one, cora_value other);

/* As cora_queue_new; a TypeError for a function that is NULL. */
#define cora_priority_queue_new(loop, maxsize, compare)                                            \
    cora_priority_queue_new_at(loop, maxsize, compare, CORA_PLACE("queue"))
CORA_API cora_queue cora_priority_queue_new_at(cora_loop loop, size_t maxsize, cora_compare compare,
                                               const struct cora_place *place);

CORA_END
#endif
