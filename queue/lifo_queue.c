/* How it works: the entries are a stack, from the first on. */
#include "lifo_queue.h"

#include "private_queue.h"

static void lifo_push(struct queue *queue, cora_value item)
{
    ((cora_value *)(void *)queue->entries)[queue->count++] = item;
}

static cora_value lifo_pop(struct queue *queue)
{
    return ((cora_value *)(void *)queue->entries)[--queue->count];
}

static const struct queue_kind lifo_kind = { "LifoQueue", sizeof(cora_value), lifo_push, lifo_pop };

cora_queue cora_lifo_queue_new_at(cora_loop loop, size_t maxsize, const struct cora_place *place)
{
    return queue_new(loop, &lifo_kind, maxsize, NULL, place);
}
