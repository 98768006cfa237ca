/* A first-in first-out ring of calls, each a function and its argument.
 *
 * This is the queue a programmer writes by hand: the limit runs it bare, and libev and libuv,
 * which have no queue of their own for "call this soon", get it as their users would write it.
 * head and tail only grow; the slot is the count modulo the size, a power of two. */
#ifndef CORA_BENCH_RING_H
#define CORA_BENCH_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include "bench.h"

struct call {
    void (*function)(void *argument);
    void *argument;
};

struct ring {
    struct call *calls;
    size_t size; /* 0 or a power of two */
    size_t head; /* the next to run */
    size_t tail; /* the next to be written */
};

static inline bool ring_is_empty(const struct ring *ring)
{
    return ring->head == ring->tail;
}

static inline void ring_grow(struct ring *ring)
{
    size_t size = ring->size == 0 ? 1024 : 2 * ring->size;
    struct call *calls = bench_array(size, sizeof *calls);

    for (size_t i = ring->head; i != ring->tail; i++)
        calls[i & (size - 1)] = ring->calls[i & (ring->size - 1)];
    free(ring->calls);
    ring->calls = calls;
    ring->size = size;
}

static inline void ring_push(struct ring *ring, void (*function)(void *), void *argument)
{
    if (ring->tail - ring->head == ring->size)
        ring_grow(ring);
    ring->calls[ring->tail++ & (ring->size - 1)] = (struct call){ function, argument };
}

/* Runs the oldest call.  It leaves the ring first, since it may push and so move the ring. */
static inline void ring_run_one(struct ring *ring)
{
    struct call call = ring->calls[ring->head++ & (ring->size - 1)];
    call.function(call.argument);
}

/* Runs what is queued now, not what these calls add. */
static inline void ring_run_tick(struct ring *ring)
{
    for (size_t end = ring->tail; ring->head != end;)
        ring_run_one(ring);
}

#endif
