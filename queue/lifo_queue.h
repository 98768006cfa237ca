/*
 * lifo_queue.h: a queue that gives its items the other way round: the last in first out.
 *
 *     cora_queue plates = cora_lifo_queue_new(loop, 0);
 *
 * All else is queue.h. asyncio: LifoQueue.
 */
#ifndef CORA_LIFO_QUEUE_H
#define CORA_LIFO_QUEUE_H

#include "queue.h"

CORA_BEGIN

/* As cora_queue_new. */
#define cora_lifo_queue_new(loop, maxsize)                                                         \
    cora_lifo_queue_new_at(loop, maxsize, CORA_PLACE("queue"))
CORA_API cora_queue cora_lifo_queue_new_at(cora_loop loop, size_t maxsize,
                                           const struct cora_place *place);

CORA_END
#endif
