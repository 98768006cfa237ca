/*
 * private_queue.h (private): how the kinds of queue differ: in what a put does with an item, and
 * which one a get takes.
 */
#ifndef CORA_PRIVATE_QUEUE_H
#define CORA_PRIVATE_QUEUE_H

#include "priority_queue.h"

struct queue;

struct queue_kind {
    const char *name;
    size_t entry; /* bytes of what an item is kept in: it begins with it, as a cora_value */

    /* Puts an item in: there is room for it. */
    void (*push)(struct queue *queue, cora_value item);

    /* Takes the next one out: there is one. */
    cora_value (*pop)(struct queue *queue);
};

struct queue {
    const struct queue_kind *kind;
    char *entries; /* a ring, or an array that begins at 0 */
    size_t first;
    size_t count;
    size_t room; /* for so many: 0 or a power of two */
    size_t maxsize;
    size_t unfinished; /* put, and not done with */
    struct cora_waiters getters, putters, joiners;
    bool is_shutdown;
    bool is_closed;
    bool compares;        /* its compare function runs: nothing of it may be touched */
    cora_compare compare; /* of a priority queue */
    uint64_t number;      /* of the item that is put next in it */
};

/* A new one of this kind. */
cora_queue queue_new(cora_loop loop, const struct queue_kind *kind, size_t maxsize,
                     cora_compare compare, const struct cora_place *place);

#endif
