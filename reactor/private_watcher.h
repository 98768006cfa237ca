/*
 * private_watcher.h (private): the record of a descriptor, for its watchers or its transport.
 */
#ifndef CORA_PRIVATE_WATCHER_H
#define CORA_PRIVATE_WATCHER_H

#include "private.h"

struct descriptor {
    ev_io watcher;                /* its data is the loop */
    struct slot *reader, *writer; /* a transport is both; its events say what it waits for */
    uint8_t events;
    bool is_transport;
    bool unchecked;
    struct descriptor *next_unchecked;
};

#define DESCRIPTOR_GROUP 64

/* What somebody waits for. */
static inline int events_wanted(const struct descriptor *descriptor)
{
    if (descriptor->is_transport)
        return descriptor->events;
    return (descriptor->reader ? EV_READ : 0) | (descriptor->writer ? EV_WRITE : 0);
}

/* The record of this number; NULL: there is none. */
static inline struct descriptor *descriptor_at(const struct loop *loop, size_t number)
{
    if (number >= loop->descriptor_room || !loop->descriptors[number / DESCRIPTOR_GROUP])
        return NULL;
    struct descriptor *descriptor =
        &loop->descriptors[number / DESCRIPTOR_GROUP][number % DESCRIPTOR_GROUP];
    return descriptor->watcher.data ? descriptor : NULL;
}

/* The handle of the reader or writer that a number has now; null: none. */
static inline cora_handle watcher_handle(const struct loop *loop, int number, int event)
{
    const struct descriptor *descriptor = descriptor_at(loop, (size_t)number);
    const struct slot *slot = NULL;
    if (descriptor && !descriptor->is_transport)
        slot = event == EV_READ ? descriptor->reader : descriptor->writer;
    return (cora_handle){ slot ? slot->bits : 0 };
}

/* Queues what an event has found, in the order of events. */
void descriptor_queue(struct loop *loop, struct slot *slot);

/* Whether this number can be watched in this loop, but for being open: 0 or a code. */
int descriptor_check(const struct loop *loop, int number);

/* A code if it is a transport's, else 0. */
int descriptor_refuse(const struct descriptor *descriptor);

/* The record of this number, made if there is none; NULL without memory, and the error is set. */
struct descriptor *descriptor_get(struct loop *loop, int number);

/* Tells libev what is watched; again: also if that is the same, as the number may be another's. */
void descriptor_update(struct loop *loop, struct descriptor *descriptor, bool again);

#endif
