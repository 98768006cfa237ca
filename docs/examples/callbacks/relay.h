/*
 * relay.h: joins two connections: what comes from one is sent to the other.
 *
 * Each end stops reading while the other one cannot send, so that a fast sender waits for a slow
 * receiver, and no memory is taken. An end that has said all is kept until the other one has, too.
 * When nothing has come for some seconds, both are aborted.
 */
#ifndef EXAMPLES_RELAY_H
#define EXAMPLES_RELAY_H

#include <cora.h>

#include <stdlib.h>

struct relay;

struct relay_end {
    struct relay *relay;
    struct relay_end *other;
    cora_transport transport;
    bool ended; /* it sends nothing more */
};

struct relay {
    struct relay_end ends[2];
    int joined;        /* ends that are not lost */
    double idle, used; /* the limit in seconds; when bytes came last */
    cora_handle deadline;
};

static inline void relay_data(void *self, cora_transport transport, const void *bytes, size_t size)
{
    struct relay_end *end = self;
    end->relay->used = cora_time(cora_transport_loop(transport));
    cora_transport_write(end->other->transport, bytes, size);
}

static inline bool relay_eof(void *self, cora_transport transport)
{
    struct relay_end *end = self;
    (void)transport;
    end->ended = true;
    cora_transport_write_eof(end->other->transport);
    return !end->other->ended;
}

static inline void relay_stop(void *self, cora_transport transport)
{
    (void)transport;
    cora_transport_pause_reading(((struct relay_end *)self)->other->transport);
}

static inline void relay_go_on(void *self, cora_transport transport)
{
    (void)transport;
    cora_transport_resume_reading(((struct relay_end *)self)->other->transport);
}

static inline void relay_lost(void *self, cora_transport transport, cora_value error)
{
    (void)transport, (void)error;
    cora_transport_close(((struct relay_end *)self)->other->transport);
}

static inline void relay_drop(void *self)
{
    struct relay *relay = ((struct relay_end *)self)->relay;
    if (--relay->joined > 0)
        return;
    cora_handle_cancel(relay->deadline);
    free(relay);
}

static const struct cora_protocol_type relay_type = {
    .name = "Relay",
    .data_received = relay_data,
    .eof_received = relay_eof,
    .pause_writing = relay_stop,
    .resume_writing = relay_go_on,
    .connection_lost = relay_lost,
    .drop = relay_drop,
};

static inline void relay_on_deadline(cora_args bound)
{
    struct relay *relay = cora_arg(bound, 0, struct relay *);
    double left = relay->used + relay->idle - cora_time(cora_running_loop());
    if (left > 0)
        relay->deadline =
            cora_call_later(cora_running_loop(), left, cora_partial(relay_on_deadline, relay));
    for (int i = 0; i < 2 && left <= 0; i++)
        cora_transport_abort(relay->ends[i].transport);
}

/*
 * Joins these two; their protocols so far are the caller's again. Without memory it aborts both,
 * tells their protocols so, and gives false.
 */
static inline bool relay_begin(cora_transport one, cora_transport other, double idle)
{
    cora_loop loop = cora_transport_loop(one);
    struct relay *relay = calloc(1, sizeof *relay);
    if (!relay) {
        cora_transport_abort(one);
        cora_transport_abort(other);
        return false;
    }
    *relay = (struct relay){ .joined = 2, .idle = idle, .used = cora_time(loop) };
    relay->ends[0] = (struct relay_end){ relay, &relay->ends[1], one, false };
    relay->ends[1] = (struct relay_end){ relay, &relay->ends[0], other, false };
    relay->deadline = cora_call_later(loop, idle, cora_partial(relay_on_deadline, relay));
    cora_transport_set_protocol(one, (cora_protocol){ &relay_type, &relay->ends[0] });
    cora_transport_set_protocol(other, (cora_protocol){ &relay_type, &relay->ends[1] });
    return true;
}

#endif
