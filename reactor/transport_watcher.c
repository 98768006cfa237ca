/*
 * How it works: the record of a transport's descriptor has the transport's slot as both reader and
 * writer, and what it waits for. What is ready is noted in the slot, which is queued once.
 */
#include "private_transport.h"
#include "private_watcher.h"

void transport_collect(struct loop *loop, struct slot *slot, int events)
{
    uint32_t before = slot->as.events;
    slot->as.events = before | (uint32_t)events | OBJECT_QUEUED;
    if (!(before & OBJECT_QUEUED))
        descriptor_queue(loop, slot);
}

int transport_claim(struct loop *loop, int number, struct slot *transport)
{
    int code = descriptor_check(loop, number);
    struct descriptor *descriptor = code == 0 ? descriptor_get(loop, number) : NULL;
    if (!descriptor)
        return cora_last_error_code();
    if (descriptor_refuse(descriptor) < 0)
        return CORA_ERUNTIME;
    if (descriptor->reader || descriptor->writer)
        return fail(CORA_ERUNTIME, "File descriptor %d is watched already", number);
    descriptor->is_transport = true;
    descriptor->reader = descriptor->writer = transport;
    descriptor->events = 0;
    return 0;
}

void transport_watch(struct loop *loop, int number, int events)
{
    struct descriptor *descriptor = descriptor_at(loop, (size_t)number);
    if (!descriptor || !descriptor->is_transport)
        return;
    descriptor->events = (uint8_t)events;
    descriptor->reader->as.events &= (uint32_t)events | ~(uint32_t)(EV_READ | EV_WRITE);
    descriptor_update(loop, descriptor, false);
}

void transport_unwatch(struct loop *loop, int number)
{
    struct descriptor *descriptor = descriptor_at(loop, (size_t)number);
    if (!descriptor || !descriptor->is_transport)
        return;
    transport_watch(loop, number, 0);
    descriptor->is_transport = false;
    descriptor->reader = descriptor->writer = NULL;
}
