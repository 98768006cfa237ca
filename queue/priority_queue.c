/*
 * How it works: the entries are a heap: none goes before the one at half its index. Each item has a
 * number, in the order of the puts; equal ones go by it.
 */
#include "priority_queue.h"

#include "private_queue.h"

struct entry {
    cora_value item;
    uint64_t number;
};

/* The program's function may close the queue: its memory is kept until that has returned. */
static bool goes_before(struct queue *queue, const struct entry *one, const struct entry *other)
{
    queue->compares = true;
    int order = queue->compare(one->item, other->item);
    queue->compares = false;
    return order ? order < 0 : one->number < other->number;
}

static void priority_push(struct queue *queue, cora_value item)
{
    struct entry *heap = (struct entry *)(void *)queue->entries;
    struct entry entry = { item, queue->number++ };
    size_t at = queue->count++;
    for (; at > 0 && goes_before(queue, &entry, &heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = entry;
}

static cora_value priority_pop(struct queue *queue)
{
    struct entry *heap = (struct entry *)(void *)queue->entries;
    struct entry first = heap[0], last = heap[--queue->count];
    size_t at = 0, count = queue->count;
    for (size_t child = 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && goes_before(queue, &heap[child + 1], &heap[child]))
            child++;
        if (!goes_before(queue, &heap[child], &last))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return first.item;
}

static const struct queue_kind priority_kind = { "PriorityQueue", sizeof(struct entry),
                                                 priority_push, priority_pop };

cora_queue cora_priority_queue_new_at(cora_loop loop, size_t maxsize, cora_compare compare,
                                      const struct cora_place *place)
{
    if (compare)
        return queue_new(loop, &priority_kind, maxsize, compare, place);
    cora_set_last_error(cora_error(CORA_ETYPE, "the compare function of a queue is NULL"));
    return (cora_queue){ 0 };
}
