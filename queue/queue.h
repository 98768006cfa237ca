/*
 * queue.h: items that go from task to task, the first in first out.
 *
 *     cora_queue orders = cora_queue_new(loop, 10);                          // at most ten in it
 *
 *     cora_when_done(cora_queue_get(orders), cora_partial(on_order, loom));  // callback style
 *     cora_when_done(cora_queue_put(orders, cora_from(ms)), cora_partial(on_put));
 *
 *     return cora_await(self, cora_queue_get(orders), got_order);            // in a step
 *
 *     open --cora_queue_shutdown--> shut down, what is in it can be got --> shut down, empty
 *
 * A put waits while the queue is full, a get while it is empty. A put wakes one that waits to get,
 * and promises nothing: if another takes the item before that one runs, it waits again, behind the
 * others. No item is lost, and nobody waits while one is there for it. Items are values: the queue
 * adds a reference; drops what is in it when it is closed or shut down at once. An item that is an
 * error comes out as the error of the get. For tasks of one loop, not for threads. asyncio: Queue.
 */
#ifndef CORA_QUEUE_H
#define CORA_QUEUE_H

#include <cora/operation.h>

CORA_BEGIN

/*
 * An empty one, for at most so many items; 0: any number, as far as memory goes. Yours to close, at
 * the latest with its loop. Null as cora_future_new. lifo_queue.h and priority_queue.h make queues
 * that give their items in another order; all that is here is the same for them.
 */
#define cora_queue_new(loop, maxsize) cora_queue_new_at(loop, maxsize, CORA_PLACE("queue"))
CORA_API cora_queue cora_queue_new_at(cora_loop loop, size_t maxsize,
                                      const struct cora_place *place);

/* Closes it, and drops its items: those that wait end with a StaleHandle error. 0 or a code. */
CORA_API int cora_queue_close(cora_queue queue);

/*
 * Puts an item in; ends with nothing; without waiting if there is room. Adds a reference. A
 * QueueShutDown error if it is shut down, also meanwhile. If cancelled: the item is not put. A
 * RuntimeError if it must wait in another loop than the queue's. asyncio: Queue.put.
 */
CORA_API extern const struct cora_operation cora_queue_put_operation;

static inline cora_awaitable cora_queue_put(cora_queue queue, cora_value item)
{
    cora_awaitable put = { &cora_queue_put_operation, cora_from_queue(queue), 0, 0, 0, item };
    return put;
}

/*
 * Takes an item out, and ends with it; without waiting if there is one. A QueueShutDown error if
 * there is none and it is shut down, also meanwhile. If cancelled: nothing is taken. A RuntimeError
 * as of cora_queue_put. asyncio: Queue.get.
 */
CORA_API extern const struct cora_operation cora_queue_get_operation;

static inline cora_awaitable cora_queue_get(cora_queue queue)
{
    cora_awaitable get = {
        &cora_queue_get_operation, cora_from_queue(queue), 0, 0, 0, cora_nothing()
    };
    return get;
}

/*
 * The same without ever waiting. 0, or a code: CORA_EQUEUEFULL, CORA_EQUEUESHUTDOWN, CORA_EMEMORY,
 * CORA_ESTALE, ... The item, a temporary, or an error: QueueEmpty, QueueShutDown, StaleHandle, ...
 * asyncio: Queue.put_nowait, get_nowait.
 */
CORA_API int cora_queue_put_nowait(cora_queue queue, cora_value item);
CORA_API cora_value cora_queue_get_nowait(cora_queue queue);

/*
 * Says that an item that was got is done with. 0; CORA_EVALUE if that was said of all that were
 * put. asyncio: Queue.task_done.
 */
CORA_API int cora_queue_task_done(cora_queue queue);

/*
 * Ends with nothing when that was said of all items that were put; without waiting if it was. If
 * cancelled: nothing else happens. A StaleHandle error if the queue is closed meanwhile; a
 * RuntimeError as of cora_queue_put. asyncio: Queue.join.
 */
CORA_API extern const struct cora_operation cora_queue_join_operation;

static inline cora_awaitable cora_queue_join(cora_queue queue)
{
    cora_awaitable join = {
        &cora_queue_join_operation, cora_from_queue(queue), 0, 0, 0, cora_nothing()
    };
    return join;
}

/*
 * Nothing more is put in: every put fails with QueueShutDown, also those that wait; a get does when
 * there is no item left. At once (immediate): the items are dropped, and count as done with. 0;
 * CORA_ESTALE, CORA_EWRONGTHREAD, ... asyncio: Queue.shutdown.
 */
CORA_API int cora_queue_shutdown(cora_queue queue, bool immediate);

/*
 * How many items are in it; how many may be, 0: any number; whether there is none; whether there
 * are as many as may be. Of one that is closed: as if it were empty. asyncio: Queue.qsize, maxsize,
 * empty, full.
 */
CORA_API size_t cora_queue_qsize(cora_queue queue);
CORA_API size_t cora_queue_maxsize(cora_queue queue);
CORA_API bool cora_queue_empty(cora_queue queue);
CORA_API bool cora_queue_full(cora_queue queue);

/* Writes it for a person to read: <Queue maxsize=2 _queue=[3, 1] tasks=2>. As snprintf. */
CORA_API int cora_queue_print(cora_queue queue, char *buffer, size_t size);

CORA_END
#endif
