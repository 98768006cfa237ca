/*
 * interleavings.h (private): runs something in all orders of small events, each order from the
 * start: what may happen next is asked after every step. The tests that include it say what the
 * events are; how many orders they have run is printed by their program at its end.
 */
#ifndef INTERLEAVINGS_H
#define INTERLEAVINGS_H

#include "test/futures/coroutines.h"

#include <stdlib.h>
#include <sys/mman.h>

#define STEPS 8

/* What happens in them. Events are numbers from 0 to 31. */
struct orders {
    const char *(*setting)(void); /* what is the same in all of them: for messages */
    const char *(*name)(int event);
    void (*begin)(void);
    unsigned (*valid)(void); /* what may happen next, as bits */
    void (*step)(int event); /* it happens; it is the last one of the order already */
    void (*end)(void);
};

/* The order that runs. */
static struct {
    const struct orders *kind;
    int events[STEPS];
    int length;
} order;

static inline const char *describe_order(void)
{
    static char text[400];
    int length = snprintf(text, sizeof text, "%s", order.kind->setting());
    for (int i = 0; i < order.length; i++)
        length += snprintf(text + length, sizeof text - (size_t)length, "%s %s", i ? "," : ":",
                           order.kind->name(order.events[i]));
    return text;
}

/* A check that tells the order. */
#define HOLDS(condition)                                                                           \
    ((condition) ? (void)0                                                                         \
                 : harness_fail(__FILE__, __LINE__, "%s does not hold (%s)", #condition,           \
                                describe_order()))

static inline void order_step(int event)
{
    order.events[order.length++] = event;
    order.kind->step(event);
}

/* Runs all orders of so many steps; how many there were. */
static inline long run_orders(const struct orders *kind, int steps)
{
    int sequence[STEPS];
    unsigned left[STEPS]; /* what is to be tried at this step */
    int known = 0;
    long orders = 0;
    order.kind = kind;
    do {
        order.length = 0;
        kind->begin();
        for (int i = 0; i < known; i++)
            order_step(sequence[i]);
        for (; known < steps; known++) {
            left[known] = kind->valid();
            if (!left[known])
                break;
            sequence[known] = __builtin_ctz(left[known]);
            left[known] &= left[known] - 1;
            order_step(sequence[known]);
        }
        kind->end();
        orders++;
        while (known > 0 && !left[known - 1])
            known--;
        if (known > 0) {
            sequence[known - 1] = __builtin_ctz(left[known - 1]);
            left[known - 1] &= left[known - 1] - 1;
        }
    } while (known > 0);
    return orders;
}

/* How many orders the tests have run: written by their processes, printed by the first one. */
static struct shared {
    pid_t printer;
    long orders;
} * shared;

static inline void count_orders(long orders)
{
    __atomic_add_fetch(&shared->orders, orders, __ATOMIC_RELAXED);
    printf("%ld orders\n", orders);
}

static void print_orders(void)
{
    if (getpid() == shared->printer && shared->orders > 0)
        printf("# %ld orders\n", shared->orders);
}

__attribute__((constructor)) static void share(void)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        abort();
    shared->printer = getpid();
    atexit(print_orders);
}

#endif
