/*
 * protocol.h: what a connection's events are told to: a table of callbacks, and a pointer of yours.
 *
 *     static void echo(void *self, cora_transport transport, const void *bytes, size_t size)
 *     {
 *         cora_transport_write(transport, bytes, size);
 *     }
 *
 *     static const struct cora_protocol_type echo_type = { .name = "Echo", .data_received = echo };
 *
 *     static cora_protocol echo_new(cora_args bound)      // a factory: called for each connection
 *     {
 *         return (cora_protocol){ &echo_type, NULL };
 *     }
 *
 *     connection_made -> data_received* -> eof_received? -> connection_lost
 *
 * Every callback may be NULL, and then does nothing. All but the two of flow control and get_buffer
 * are called by the loop, never inside a call of yours; each may close, abort or free anything. One
 * that fails (cora_fail) is reported; what fails while it receives also closes its connection, with
 * that error. asyncio: Protocol, BufferedProtocol.
 */
#ifndef CORA_PROTOCOL_H
#define CORA_PROTOCOL_H

#include "callback.h"

CORA_BEGIN

/* Static: it must outlive its connections. */
struct cora_protocol_type {
    const char *name; /* in reports */

    /* The connection is there: keep its handle, to write to it. Before any other callback. */
    void (*connection_made)(void *self, cora_transport transport);

    /* What has arrived: borrowed until it returns, at most 256 KiB; never 0 bytes. */
    void (*data_received)(void *self, cora_transport transport, const void *bytes, size_t size);

    /*
     * Instead of data_received, if get_buffer is there: where the next bytes shall go, asked for
     * before each read (size_hint 0: any size); none, or of size 0, is a RuntimeError that closes
     * the connection. Then how many have arrived there.
     */
    void *(*get_buffer)(void *self, cora_transport transport, size_t size_hint, size_t *ret_size);
    void (*buffer_updated)(void *self, cora_transport transport, size_t size);

    /*
     * The peer sends nothing more. True: the connection stays open for writing. NULL as false: it
     * is closed, when what is written has been sent.
     */
    bool (*eof_received)(void *self, cora_transport transport);

    /*
     * It is over; with the error that ended it, or nothing if it was closed or aborted here, or by
     * the peer in good order. Exactly once if there was a connection_made; the last callback. The
     * handle is stale when it has returned.
     */
    void (*connection_lost)(void *self, cora_transport transport, cora_value error);

    /*
     * More is waiting to be sent than the high-water mark; no more than the low one. In turn,
     * inside the call that writes or sets limits, and from the loop. Failures are only reported.
     */
    void (*pause_writing)(void *self, cora_transport transport);
    void (*resume_writing)(void *self, cora_transport transport);

    /*
     * The connection lets go of self: after connection_lost; or without it, when there never was a
     * connection_made, or the loop is closed. Exactly once, unless cora_transport_set_protocol has
     * replaced it: then self is yours again.
     */
    void (*drop)(void *self);
};

typedef struct cora_protocol {
    const struct cora_protocol_type *type; /* NULL: a factory that cannot make one */
    void *self;
} cora_protocol;

CORA_END
#endif
