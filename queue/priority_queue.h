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
 * Which of two items comes first: the one if it is less than 0, the other if more. It is called
 * while the queue is being changed: using that queue fails there, with a RuntimeError. What it
 * fails with is what the put or get fails with, but the item is put, or taken, all the same. It may
 * run outside of the task that puts or gets.
 */
typedef int (*cora_compare)(cora_value one, cora_value other);

/* As cora_queue_new; a TypeError for a function that is NULL. */
#define cora_priority_queue_new(loop, maxsize, compare)                                            \
    cora_priority_queue_new_at(loop, maxsize, compare, CORA_PLACE("queue"))
CORA_API cora_queue cora_priority_queue_new_at(cora_loop loop, size_t maxsize, cora_compare compare,
                                               const struct cora_place *place);

CORA_END
#endif
