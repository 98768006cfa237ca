/*
 * event.h: a flag that tasks wait for: when it is set, all go on.
 *
 *     cora_when_done(cora_event_wait(wind), cora_partial(on_wind, crew));    // callback style
 *     return cora_await(self, cora_event_wait(wind), hoist);                 // in a step
 *     ...
 *     cora_event_set(wind);
 *
 *     unset --cora_event_set--> set --cora_event_clear--> unset
 *
 * Who waits is woken in the order of coming, and goes on also if the flag was cleared since. For
 * tasks of one loop, not for threads. asyncio: Event.
 */
#ifndef CORA_EVENT_H
#define CORA_EVENT_H

#include <cora/operation.h>

CORA_BEGIN

/* One that is unset; yours to close, at the latest with its loop. Null as cora_future_new. */
#define cora_event_new(loop) cora_event_new_at(loop, CORA_PLACE("event"))
CORA_API cora_event cora_event_new_at(cora_loop loop, const struct cora_place *place);

/* Closes it: those that wait end with a StaleHandle error. 0 or a code. */
CORA_API int cora_event_close(cora_event event);

/*
 * Ends with true when it is set; without waiting if it is. If cancelled: nothing else happens. A
 * RuntimeError if it must wait in another loop than the event's. asyncio: Event.wait.
 */
CORA_API extern const struct cora_operation cora_event_wait_operation;

static inline cora_awaitable cora_event_wait(cora_event event)
{
    cora_awaitable wait = {
        &cora_event_wait_operation, cora_from_event(event), 0, 0, 0, cora_nothing()
    };
    return wait;
}

/* Sets it, and wakes all that wait; sets it back. 0; CORA_ESTALE, CORA_EWRONGTHREAD, ... */
CORA_API int cora_event_set(cora_event event);
CORA_API int cora_event_clear(cora_event event);

CORA_API bool cora_event_is_set(cora_event event);

/* Writes it for a person to read: <Event [unset, waiters:2]>. As snprintf. */
CORA_API int cora_event_print(cora_event event, char *buffer, size_t size);

CORA_END
#endif
