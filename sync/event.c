/*
 * How it works: as asyncio's Event. Setting it wakes all waiters; they are in the list until they
 * run, and then it does not matter any more whether the flag is set.
 */
#include "event.h"

#include <cora/object.h>
#include <stdio.h>

struct event {
    bool set;
    struct cora_waiters waiters;
};

static void event_close(void *memory)
{
    struct event *event = memory;
    cora_waiters_close(&event->waiters);
}

static const struct cora_object_type event_type = { "event", sizeof(struct event), event_close };

static struct event *event_get(cora_event handle)
{
    return cora_object_get(handle.bits, &event_type);
}

cora_event cora_event_new_at(cora_loop loop, const struct cora_place *place)
{
    return (cora_event){ cora_object_new_at(loop, &event_type, place) };
}

int cora_event_close(cora_event event)
{
    return cora_object_close(event.bits, &event_type);
}

/* ---- wait ---- */

static bool wait_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    struct event *event = event_get((cora_event){ what->value.as.handle });
    *ret_outcome = event ? cora_int(true) : cora_last_error();
    return !event || event->set;
}

static int wait_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    struct event *event = event_get((cora_event){ what->value.as.handle });
    cora_waiters_append(&event->waiters, waiter);
    return 0;
}

static enum cora_resumed wait_resume(struct cora_waiter *waiter, bool cancelled,
                                     cora_value *ret_outcome)
{
    bool closed = !waiter->list;
    cora_waiters_remove(waiter);
    if (cancelled)
        return CORA_ENDS_CANCELLED;
    if (closed)
        event_get((cora_event){ waiter->value.as.handle }); /* sets the error */
    *ret_outcome = closed ? cora_last_error() : cora_int(true);
    return CORA_ENDS;
}

const struct cora_operation cora_event_wait_operation = {
    .name = "wait",
    .now = wait_now,
    .start = wait_start,
    .resume = wait_resume,
};

/* ---- the flag ---- */

int cora_event_set(cora_event handle)
{
    struct event *event = event_get(handle);
    if (!event)
        return cora_last_error_code();
    if (!event->set)
        cora_waiters_wake(&event->waiters);
    event->set = true;
    return 0;
}

int cora_event_clear(cora_event handle)
{
    struct event *event = event_get(handle);
    if (!event)
        return cora_last_error_code();
    event->set = false;
    return 0;
}

bool cora_event_is_set(cora_event handle)
{
    struct event *event = event_get(handle);
    return event && event->set;
}

int cora_event_print(cora_event handle, char *buffer, size_t size)
{
    struct event *event = event_get(handle);
    char waiters[40];
    if (!event)
        return snprintf(buffer, size, "<Event #%llx>", (unsigned long long)handle.bits);
    cora_waiters_print(&event->waiters, waiters, sizeof waiters);
    return snprintf(buffer, size, "<Event [%s%s]>", event->set ? "set" : "unset", waiters);
}
