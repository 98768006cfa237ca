/*
 * How it works: a transport is an object that is queued itself: to start, when its descriptor is
 * ready, and to end. One readiness is one read, into a buffer that all of a loop share. A write
 * goes out at once if nothing waits to be sent; what is left is kept in chunks, which are sent when
 * the descriptor is writable. Whatever adds to what is kept, or sends of it, ends with
 * transport_account, which tells the protocol to pause and to resume.
 *
 * Protocol callbacks may do anything: the transport's memory stays while one runs (hold), and who
 * goes on looks whether it is there.
 */
#include "transport.h"

#include "private_transport.h"
#include "resolver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define READ_SIZE ((size_t)256 * 1024)
#define HIGH_WATER (64 * 1024)
#define DROPPED_WRITES 5                               /* this many are not reported */
#define CHUNK_ROOM (4096 - sizeof(struct write_chunk)) /* a block of a thread's cache */
#define CHUNKS_AT_ONCE 64

/* Bytes that wait to be sent, in the order of writing. */
struct write_chunk {
    struct write_chunk *next;
    size_t start, end, room;
    char bytes[];
};

struct write_buffer {
    struct write_chunk *first, *last;
    size_t size; /* of all of them */
};

static void transport_closed(void *memory);

static const struct cora_object_type transport_type = { "transport", sizeof(struct transport),
                                                        transport_closed };

static inline struct transport *transport_get(cora_transport handle, struct loop **ret_loop)
{
    struct object *object = object_find(handle.bits, &transport_type);
    if (CORA_UNLIKELY(!object)) {
        cora_object_get(handle.bits, &transport_type); /* sets the error */
        return NULL;
    }
    *ret_loop = owner_of(handle.bits);
    return transport_in(object);
}

static cora_transport transport_handle(const struct transport *transport)
{
    return (cora_transport){ transport_object(transport)->slot.bits };
}

static bool is(const struct transport *transport, unsigned flags)
{
    return transport->flags & flags;
}

static void mark(struct transport *transport, unsigned flags)
{
    transport->flags = (uint16_t)(transport->flags | flags);
}

static void unmark(struct transport *transport, unsigned flags)
{
    transport->flags = (uint16_t)(transport->flags & ~flags);
}

/* ---- calling the protocol ---- */

void transport_report(struct loop *loop, const struct transport *transport, const char *message,
                      cora_value error)
{
    char text[200];
    cora_transport_print(transport_handle(transport), text, sizeof text);
    struct cora_report report = { .message = message,
                                  .exception = error,
                                  .transport = transport_handle(transport),
                                  .protocol = transport->protocol.type->name,
                                  .object = text,
                                  .place = transport_object(transport)->place };
    loop_report(loop, &report);
}

cora_value take_failure(struct loop *loop)
{
    cora_value failure = cora_thread.failure;
    if (CORA_LIKELY(cora_is_nothing(failure)))
        return failure;
    cora_thread.failure = cora_nothing();
    if (!error_is_fatal(failure))
        return failure;
    loop_fail(loop, failure);
    cora_drop(failure);
    return cora_nothing();
}

/* Whether the transport is still there, after something of the program's has run. */
static bool is_there(const struct loop *loop, const struct transport *transport)
{
    return loop->ev && !is(transport, TRANSPORT_GONE);
}

/* The error of a callback: reported, unless it is the system's, and then the end of it. */
static __attribute__((cold)) void transport_fatal(struct loop *loop, struct transport *transport,
                                                  cora_value error, const char *message)
{
    if (!cora_error_is(error, CORA_EOS))
        transport_report(loop, transport, message, error);
    if (is_there(loop, transport))
        transport_force_close(loop, transport, error);
}

/* The system, or memory, does not let it read, or write. */
static __attribute__((cold)) void transport_failed(struct loop *loop, struct transport *transport,
                                                   const char *what, cora_value error)
{
    char message[80];
    snprintf(message, sizeof message, "Fatal %s error on %s", what, transport->kind->name);
    transport_fatal(loop, transport, error, message);
}

/*
 * Around what may call the program, also inside each other: meanwhile the transport's memory and
 * its protocol stay, whatever becomes of them. Whether it was held before.
 */
static bool hold(struct transport *transport)
{
    bool before = is(transport, TRANSPORT_HELD);
    mark(transport, TRANSPORT_HELD);
    return before;
}

static void unhold(struct loop *loop, struct transport *transport, bool before)
{
    if (CORA_UNLIKELY(before))
        return;
    unmark(transport, TRANSPORT_HELD);
    if (CORA_LIKELY(!is(transport, TRANSPORT_GONE)))
        return;
    protocol_drop(transport->protocol);
    object_free(loop, transport_object(transport));
}

/* A callback that is told what arrives has failed: the end of a socket's transport. */
static __attribute__((cold)) void receiving_failed(struct loop *loop, struct transport *transport,
                                                   const char *callback, cora_value failure)
{
    char message[80];
    bool goes_on = transport->kind->ways == READS_ONLY;
    snprintf(message, sizeof message,
             goes_on ? "Exception in callback %s()" : "Fatal error: protocol.%s() call failed.",
             callback);
    if (goes_on)
        transport_report(loop, transport, message, failure);
    else
        transport_fatal(loop, transport, failure, message);
}

/* After a callback of the protocol's that is called by the loop. */
static void callback_returned(struct loop *loop, struct transport *transport, const char *callback)
{
    if (CORA_LIKELY(!cora_thread.attention))
        return;
    cora_value failure = take_failure(loop);
    if (!cora_is_nothing(failure) && is_there(loop, transport))
        receiving_failed(loop, transport, callback, failure);
    cora_drop(failure);
}

/* ---- watching ---- */

/* Waits for what its flags say. */
static void transport_update(struct loop *loop, struct transport *transport)
{
    int events = (is(transport, TRANSPORT_READS) ? EV_READ : 0) |
                 (is(transport, TRANSPORT_WRITES) ? EV_WRITE : 0);
    if (loop->ev)
        transport_watch(loop, transport->descriptor, events);
}

/* One that only writes is told that its peer is gone, also while it sends the rest. */
static bool may_read(const struct transport *transport)
{
    if (transport->kind->ways == WRITES_ONLY)
        return transport->kind->readable && transport->dropped == 0;
    return !is(transport, TRANSPORT_CLOSING | TRANSPORT_PAUSED);
}

static void start_reading(struct loop *loop, struct transport *transport)
{
    if (!may_read(transport) || is(transport, TRANSPORT_READS))
        return;
    mark(transport, TRANSPORT_READS);
    transport_update(loop, transport);
}

static void stop_reading(struct loop *loop, struct transport *transport)
{
    if (!is(transport, TRANSPORT_READS))
        return;
    unmark(transport, TRANSPORT_READS);
    transport_update(loop, transport);
}

static void wait_to_write(struct loop *loop, struct transport *transport, bool wait)
{
    if (is(transport, TRANSPORT_WRITES) == wait)
        return;
    if (wait)
        mark(transport, TRANSPORT_WRITES);
    else
        unmark(transport, TRANSPORT_WRITES);
    transport_update(loop, transport);
}

/* ---- what is kept to be sent ---- */

static struct write_buffer *buffer_of(const struct transport *transport)
{
    return is(transport, TRANSPORT_AWAITED | TRANSPORT_ENDS) ? NULL : transport->as.buffer;
}

size_t transport_buffered(const struct transport *transport)
{
    const struct write_buffer *buffer = buffer_of(transport);
    return buffer ? buffer->size : 0;
}

static void chunk_free(struct write_chunk *chunk)
{
    block_put(chunk, sizeof *chunk + chunk->room);
}

static void buffer_drop(struct transport *transport)
{
    struct write_buffer *buffer = buffer_of(transport);
    if (!buffer)
        return;
    transport->as.buffer = NULL;
    for (struct write_chunk *chunk = buffer->first, *next; chunk; chunk = next) {
        next = chunk->next;
        chunk_free(chunk);
    }
    block_put(buffer, sizeof *buffer);
}

/* Appends a copy: first into what room the last chunk has. False without memory. */
static bool buffer_add(struct transport *transport, const char *bytes, size_t size)
{
    struct write_buffer *buffer = transport->as.buffer;
    if (!buffer) {
        buffer = block_get(sizeof *buffer);
        if (!buffer)
            return false;
        *buffer = (struct write_buffer){ 0 };
        transport->as.buffer = buffer;
    }
    struct write_chunk *last = buffer->last;
    size_t fits = last ? last->room - last->end : 0;
    fits = fits < size ? fits : size;
    size_t rest = size - fits, room = rest < CHUNK_ROOM ? CHUNK_ROOM : rest;
    struct write_chunk *chunk = NULL;
    if (rest > 0) {
        chunk = room <= SIZE_MAX / 2 ? block_get(sizeof *chunk + room) : NULL;
        if (!chunk)
            return false;
        *chunk = (struct write_chunk){ .end = rest, .room = room };
        memcpy(chunk->bytes, bytes + fits, rest);
    }
    if (fits > 0) {
        memcpy(last->bytes + last->end, bytes, fits);
        last->end += fits;
    }
    if (chunk && last)
        last->next = chunk;
    else if (chunk)
        buffer->first = chunk;
    if (chunk)
        buffer->last = chunk;
    buffer->size += size;
    return true;
}

/* So many have been sent. */
static void buffer_take(struct transport *transport, size_t size)
{
    struct write_buffer *buffer = transport->as.buffer;
    buffer->size -= size;
    if (buffer->size == 0) {
        buffer_drop(transport);
        return;
    }
    while (size > 0) {
        struct write_chunk *chunk = buffer->first;
        size_t here = chunk->end - chunk->start;
        if (size < here) {
            chunk->start += size;
            return;
        }
        size -= here;
        buffer->first = chunk->next;
        chunk_free(chunk);
    }
}

/* ---- flow control ---- */

/* pause_writing, resume_writing: a failure is only reported. */
static void tell_flow(struct loop *loop, struct transport *transport,
                      void (*callback)(void *self, cora_transport transport), const char *message)
{
    cora_value outer = cora_thread.failure;
    if (!callback)
        return;
    cora_thread.failure = cora_nothing();
    bool before = hold(transport);
    cora_thread.depth++; /* also when it is called outside of a run */
    callback(transport->protocol.self, transport_handle(transport));
    cora_thread.depth--;
    cora_value failure = take_failure(loop);
    if (!cora_is_nothing(failure) && is_there(loop, transport))
        transport_report(loop, transport, message, failure);
    unhold(loop, transport, before);
    cora_drop(failure);
    cora_thread.failure = outer;
}

/*
 * Every way of writing ends here: tells the protocol when there is too much to be sent, and when it
 * is little again. The callbacks may write, close and abort.
 */
static void transport_account(struct loop *loop, struct transport *transport)
{
    size_t size = transport_buffered(transport);
    if (size > transport->high && !is(transport, TRANSPORT_FULL)) {
        mark(transport, TRANSPORT_FULL);
        tell_flow(loop, transport, transport->protocol.type->pause_writing,
                  "protocol.pause_writing() failed");
    } else if (size <= transport->low && is(transport, TRANSPORT_FULL)) {
        unmark(transport, TRANSPORT_FULL);
        tell_flow(loop, transport, transport->protocol.type->resume_writing,
                  "protocol.resume_writing() failed");
    }
}

/* ---- the end ---- */

static void transport_queue(struct loop *loop, struct transport *transport, uint32_t event)
{
    struct slot *slot = &transport_object(transport)->slot;
    slot->as.events |= event | OBJECT_QUEUED;
    ready_append(loop, slot);
}

/*
 * The end comes behind what is queued by now, also if the transport is in a list further ahead, and
 * in the context of who closes it.
 */
static void on_end(cora_args bound);

static void queue_end(struct loop *loop, struct transport *transport)
{
    struct slot *slot = &transport_object(transport)->slot;
    if (!(slot->as.events & OBJECT_QUEUED) && !cora_thread.context) {
        transport_queue(loop, transport, OBJECT_ENDS);
        return;
    }
    slot->as.events &= ~(uint32_t)(EV_READ | EV_WRITE);
    cora_handle queued =
        cora_call_soon(loop_handle(loop), cora_partial(on_end, transport_handle(transport)));
    if (cora_is_null(queued) && !(slot->as.events & OBJECT_QUEUED))
        transport_queue(loop, transport, OBJECT_ENDS);
    else if (cora_is_null(queued))
        slot->as.events |= OBJECT_ENDS; /* without memory it comes as soon as that is met */
}

/* connection_lost is to come, with this error or nothing. */
static void end_with(struct loop *loop, struct transport *transport, cora_value error)
{
    buffer_drop(transport);
    unmark(transport, TRANSPORT_AWAITED);
    mark(transport, TRANSPORT_ENDS);
    cora_value kept = cora_nothing();
    if (cora_is_error(error) && !value_keep(error, &kept))
        kept = memory_error();
    transport->as.error = cora_is_error(kept) ? kept.as.counted : NULL;
    queue_end(loop, transport);
}

void transport_force_close(struct loop *loop, struct transport *transport, cora_value error)
{
    if (transport->dropped > 0)
        return;
    buffer_drop(transport);
    mark(transport, TRANSPORT_CLOSING);
    unmark(transport, TRANSPORT_READS | TRANSPORT_WRITES);
    transport_update(loop, transport);
    transport->dropped = 1;
    end_with(loop, transport, error);
}

void transport_close(struct loop *loop, struct transport *transport)
{
    if (is(transport, TRANSPORT_CLOSING))
        return;
    bool only_writes = transport->kind->ways == WRITES_ONLY;
    mark(transport, TRANSPORT_CLOSING | (only_writes ? TRANSPORT_EOF : 0));
    if (!only_writes)
        stop_reading(loop, transport);
    if (transport_buffered(transport) > 0 || transport->dropped > 0)
        return;
    transport->dropped = 1;
    stop_reading(loop, transport);
    wait_to_write(loop, transport, false);
    end_with(loop, transport, cora_nothing());
}

/* Gives back what it holds. Whoever runs in the middle finds it closed. */
static void transport_free(struct loop *loop, struct transport *transport)
{
    struct server *server = transport->server;
    struct cora_counted *error = is(transport, TRANSPORT_ENDS) ? transport->as.error : NULL;
    struct cora_counted *context = transport->context;
    struct address *peer = transport->peer;
    buffer_drop(transport);
    mark(transport, TRANSPORT_GONE | TRANSPORT_CLOSING);
    transport->as.error = NULL;
    transport->context = NULL;
    transport->peer = NULL;
    transport->server = NULL;
    if (loop->ev)
        transport_unwatch(loop, transport->descriptor);
    close(transport->descriptor);
    if (peer)
        block_put(peer, sizeof *peer + peer->size);
    if (server)
        server_detach(loop, server, transport);
    if (!is(transport, TRANSPORT_HELD))
        protocol_drop(transport->protocol);
    if (error)
        counted_drop(error);
    if (context)
        counted_drop(context);
}

/* The object's own close: with its loop, as nothing else closes it. */
static void transport_closed(void *memory)
{
    struct transport *transport = memory;
    struct loop *loop = slot_owner(&transport_object(transport)->slot);
    if (!is(transport, TRANSPORT_GONE))
        transport_free(loop, transport);
}

/* Debug mode: a part that took long, as of any callback. */
static __attribute__((cold)) void tell_slow(struct loop *loop, const struct transport *transport,
                                            double seconds)
{
    char message[120];
    if (seconds < loop->slow_callback_duration)
        return;
    snprintf(message, sizeof message, "Executing a callback of protocol %s took %.3f seconds",
             transport->protocol.type->name ? transport->protocol.type->name : "?", seconds);
    transport_report(loop, transport, message, cora_nothing());
}

/* Calls eof_received of one that ends with it, whatever it answers. Whether the end may go on. */
static __attribute__((cold)) bool tell_end(struct loop *loop, struct transport *transport)
{
    unmark(transport, TRANSPORT_AT_END);
    if (transport->protocol.type->eof_received)
        transport->protocol.type->eof_received(transport->protocol.self,
                                               transport_handle(transport));
    cora_value failure = take_failure(loop);
    if (!cora_is_nothing(failure) && loop->ev)
        transport_report(loop, transport, "Exception in callback eof_received()", failure);
    cora_drop(failure);
    bool goes_on = is_there(loop, transport) && !loop->interrupted;
    if (!goes_on && is_there(loop, transport))
        queue_end(loop, transport); /* in the next run */
    return goes_on;
}

/* Calls connection_lost, then all is over. */
static void transport_end(struct loop *loop, struct transport *transport)
{
    if (CORA_UNLIKELY(is(transport, TRANSPORT_AT_END)) && !tell_end(loop, transport))
        return;
    struct object *object = transport_object(transport);
    cora_value error = transport->as.error ? counted_value(transport->as.error) : cora_nothing();
    double began = loop->debug ? clock_now() : 0;
    if (transport->protocol.type->connection_lost)
        transport->protocol.type->connection_lost(transport->protocol.self,
                                                  transport_handle(transport), error);
    if (CORA_UNLIKELY(began > 0) && is_there(loop, transport))
        tell_slow(loop, transport, clock_now() - began);
    cora_value failure = take_failure(loop);
    if (!cora_is_nothing(failure) && loop->ev)
        transport_report(loop, transport, "Exception in callback connection_lost()", failure);
    cora_drop(failure);
    if (!loop->ev)
        return; /* closed, and so is this */
    object->slot.state = SLOT_CANCELLED;
    transport_free(loop, transport);
}

/* Runs in the context of who has closed it. */
static void on_end(cora_args bound)
{
    struct loop *loop;
    struct transport *transport = transport_get(cora_arg_transport(bound, 0), &loop);
    if (!transport || !is(transport, TRANSPORT_ENDS))
        return;
    loop_hold(loop);
    bool before = hold(transport);
    transport_end(loop, transport);
    unhold(loop, transport, before);
    loop_unhold(loop);
}

/* ---- starting ---- */

static void transport_start(struct loop *loop, struct transport *transport)
{
    struct starter *starter = is(transport, TRANSPORT_AWAITED) ? transport->as.starter : NULL;
    if (starter) {
        starter->starting = true;
        unmark(transport, TRANSPORT_AWAITED);
        transport->as.buffer = NULL;
    }
    mark(transport, TRANSPORT_STARTED);
    if (transport->protocol.type->connection_made)
        transport->protocol.type->connection_made(transport->protocol.self,
                                                  transport_handle(transport));
    cora_value failure = take_failure(loop);
    if (!cora_is_nothing(failure) && loop->ev)
        transport_report(loop, transport, "Exception in callback connection_made()", failure);
    cora_drop(failure);
    if (is_there(loop, transport))
        start_reading(loop, transport);
    if (starter)
        starter->started(starter, loop, transport_object(transport));
}

/* ---- reading ---- */

static void on_eof(struct loop *loop, struct transport *transport)
{
    const struct cora_protocol_type *type = transport->protocol.type;
    bool keep = type->eof_received &&
                type->eof_received(transport->protocol.self, transport_handle(transport));
    if (CORA_UNLIKELY(cora_thread.attention) && !cora_is_nothing(cora_thread.failure))
        callback_returned(loop, transport, "eof_received");
    else if (is_there(loop, transport) && keep)
        stop_reading(loop, transport);
    else if (is_there(loop, transport))
        transport_close(loop, transport);
}

/* What a read has come to when it brought nothing. */
static void read_nothing(struct loop *loop, struct transport *transport, ssize_t count, int error)
{
    const struct transport_kind *kind = transport->kind;
    if (count == 0 && kind->ended)
        kind->ended(loop, transport);
    else if (count == 0)
        on_eof(loop, transport);
    else if (!would_block(error) && kind->read_failed)
        kind->read_failed(loop, transport, error);
    else if (!would_block(error))
        transport_failed(loop, transport, "read", cora_error(-error, NULL));
}

/* Into the protocol's own buffer. */
static void read_buffered(struct loop *loop, struct transport *transport)
{
    const struct cora_protocol_type *type = transport->protocol.type;
    size_t size = 0;
    void *buffer =
        type->get_buffer(transport->protocol.self, transport_handle(transport), 0, &size);
    cora_value failure = take_failure(loop);
    if (cora_is_nothing(failure) && (!buffer || size == 0) && !loop->interrupted)
        failure = cora_copy(cora_error(CORA_ERUNTIME, "get_buffer() returned an empty buffer"));
    if (!is_there(loop, transport) || loop->interrupted) {
        cora_drop(failure);
        return;
    }
    if (!cora_is_nothing(failure)) {
        transport_fatal(loop, transport, failure,
                        "Fatal error: protocol.get_buffer() call failed.");
        cora_drop(failure);
        return;
    }
    if (is(transport, TRANSPORT_CLOSING))
        return;
    type = transport->protocol.type; /* it may be another now */
    ssize_t count = transport->kind->read(transport->descriptor, buffer, size);
    if (count <= 0) {
        read_nothing(loop, transport, count, errno);
        return;
    }
    if (type->buffer_updated)
        type->buffer_updated(transport->protocol.self, transport_handle(transport), (size_t)count);
    callback_returned(loop, transport, "buffer_updated");
}

/* One read of what is there. */
static inline void read_ready(struct loop *loop, struct transport *transport)
{
    const struct cora_protocol_type *type = transport->protocol.type;
    if (transport->dropped > 0)
        return;
    if (CORA_UNLIKELY(transport->kind->readable != NULL)) {
        transport->kind->readable(loop, transport);
        return;
    }
    if (type->get_buffer) {
        read_buffered(loop, transport);
        return;
    }
    char *buffer = loop->read_buffer; /* not to be had by a tick inside the callback */
    loop->read_buffer = NULL;
    if (CORA_UNLIKELY(!buffer) && !(buffer = malloc(READ_SIZE))) {
        transport_failed(loop, transport, "read", memory_error());
        return;
    }
    ssize_t count = transport->kind->read(transport->descriptor, buffer, READ_SIZE);
    if (CORA_UNLIKELY(count <= 0)) {
        read_nothing(loop, transport, count, errno);
    } else {
        if (type->data_received)
            type->data_received(transport->protocol.self, transport_handle(transport), buffer,
                                (size_t)count);
        callback_returned(loop, transport, "data_received");
    }
    if (CORA_LIKELY(loop->ev && !loop->read_buffer))
        loop->read_buffer = buffer;
    else
        free(buffer);
}

/* ---- writing ---- */

/* Sends what is kept, as much as goes. Whether a send has worked. */
static bool buffer_send(struct loop *loop, struct transport *transport)
{
    struct iovec chunks[CHUNKS_AT_ONCE];
    size_t count = 0;
    for (struct write_chunk *chunk = transport->as.buffer->first; chunk && count < CHUNKS_AT_ONCE;
         chunk = chunk->next)
        chunks[count++] = (struct iovec){ chunk->bytes + chunk->start, chunk->end - chunk->start };
    ssize_t sent = transport->kind->writev(transport->descriptor, chunks, count);
    if (sent < 0 && would_block(errno))
        return false;
    if (sent < 0) {
        transport_failed(loop, transport, "write", cora_error(-errno, NULL));
        return false;
    }
    if (sent > 0)
        buffer_take(transport, (size_t)sent);
    return true;
}

static void shut_down(struct loop *loop, struct transport *transport)
{
    if (transport->kind->shutdown(transport->descriptor) < 0 && errno != ENOTCONN)
        transport_failed(loop, transport, "write", cora_error(-errno, NULL));
}

static void write_ready(struct loop *loop, struct transport *transport)
{
    if (transport->dropped > 0 || !transport->as.buffer || !buffer_send(loop, transport))
        return;
    transport_account(loop, transport);
    if (!is_there(loop, transport) || transport->dropped > 0 || transport->as.buffer)
        return;
    wait_to_write(loop, transport, false);
    if (is(transport, TRANSPORT_CLOSING)) {
        stop_reading(loop, transport);
        transport->dropped = 1;
        mark(transport, TRANSPORT_ENDS);
        transport_end(loop, transport);
    } else if (is(transport, TRANSPORT_EOF)) {
        shut_down(loop, transport);
    }
}

/* Whether it may be written to. */
static inline bool may_write(const struct transport *transport, size_t size)
{
    return CORA_LIKELY(!is(transport, TRANSPORT_EOF | TRANSPORT_AWAITED) &&
                       transport->dropped == 0 && size - 1 < PTRDIFF_MAX);
}

/* Why not: 0 or a code. */
static __attribute__((cold)) int write_refused(struct loop *loop, struct transport *transport,
                                               const char *what, size_t size)
{
    enum transport_ways ways = transport->kind->ways;
    if (ways == READS_ONLY)
        return fail(CORA_ERUNTIME, "a %s cannot be written to", transport->kind->name);
    if (is(transport, TRANSPORT_EOF) && ways == BOTH_WAYS)
        return fail(CORA_ERUNTIME, "Cannot call %s() after write_eof()", what);
    if (size == 0 || (is(transport, TRANSPORT_EOF) && transport->dropped == 0))
        return 0; /* a pipe that is closing drops it */
    if (size > PTRDIFF_MAX)
        return fail(CORA_EVALUE, "%s: %zu are more than there can be", what, size);
    if (transport->dropped == 0)
        return fail(CORA_ERUNTIME, "the connection is not made yet");
    if (transport->dropped < UINT8_MAX)
        transport->dropped++;
    if (transport->dropped <= DROPPED_WRITES)
        return 0;
    loop_hold(loop);
    bool before = hold(transport);
    transport_report(loop, transport, transport->kind->too_late, cora_nothing());
    unhold(loop, transport, before);
    loop_unhold(loop);
    return 0;
}

/* Keeps what could not be sent. */
static int write_rest(struct loop *loop, struct transport *transport, const char *bytes,
                      size_t size)
{
    if (buffer_add(transport, bytes, size))
        return 0;
    transport_force_close(loop, transport, memory_error());
    return fail_with(memory_error());
}

/* What is kept now is sent when it can be; and the protocol is told if that is much. */
static void write_kept(struct loop *loop, struct transport *transport)
{
    loop_hold(loop);
    bool before = hold(transport);
    wait_to_write(loop, transport, true);
    if (transport->dropped == 0)
        transport_account(loop, transport);
    unhold(loop, transport, before);
    loop_unhold(loop);
}

static __attribute__((cold)) int write_failed(struct loop *loop, struct transport *transport,
                                              int error)
{
    loop_hold(loop);
    bool before = hold(transport);
    transport_failed(loop, transport, "write", cora_error(-error, NULL));
    unhold(loop, transport, before);
    loop_unhold(loop);
    return 0;
}

int cora_transport_write(cora_transport handle, const void *bytes, size_t size)
{
    struct loop *loop;
    struct transport *transport = transport_get(handle, &loop);
    if (CORA_UNLIKELY(!transport))
        return cora_last_error_code();
    if (CORA_UNLIKELY(!may_write(transport, size)))
        return write_refused(loop, transport, "write", size);
    size_t sent = 0;
    if (CORA_LIKELY(!transport->as.buffer)) {
        ssize_t count = transport->kind->write(transport->descriptor, bytes, size);
        if (CORA_LIKELY(count == (ssize_t)size))
            return 0;
        if (count < 0 && !would_block(errno))
            return write_failed(loop, transport, errno);
        sent = count > 0 ? (size_t)count : 0;
    }
    int code = write_rest(loop, transport, (const char *)bytes + sent, size - sent);
    if (code == 0)
        write_kept(loop, transport);
    return code;
}

int cora_transport_writelines(cora_transport handle, const struct iovec *chunks, size_t count)
{
    struct loop *loop;
    struct transport *transport = transport_get(handle, &loop);
    if (!transport)
        return cora_last_error_code();
    if (!may_write(transport, count))
        return write_refused(loop, transport, "writelines", count);
    size_t sent = 0;
    int code;
    if (!transport->as.buffer && count > 0) {
        ssize_t now = transport->kind->writev(transport->descriptor, chunks,
                                              count < CHUNKS_AT_ONCE ? count : CHUNKS_AT_ONCE);
        if (now < 0 && !would_block(errno))
            return write_failed(loop, transport, errno);
        sent = now > 0 ? (size_t)now : 0;
    }
    for (size_t i = 0; i < count; i++) {
        size_t here = sent < chunks[i].iov_len ? sent : chunks[i].iov_len;
        sent -= here;
        if (here < chunks[i].iov_len &&
            (code = write_rest(loop, transport, (const char *)chunks[i].iov_base + here,
                               chunks[i].iov_len - here)) < 0)
            return code;
    }
    if (transport->as.buffer)
        write_kept(loop, transport);
    return 0;
}

/* One that only writes is closed by it. */
static bool can_write_eof(const struct transport *transport)
{
    return transport->kind->shutdown || transport->kind->ways == WRITES_ONLY;
}

int cora_transport_write_eof(cora_transport handle)
{
    struct loop *loop;
    struct transport *transport = transport_get(handle, &loop);
    if (!transport)
        return cora_last_error_code();
    if (!can_write_eof(transport))
        return fail(CORA_ERUNTIME, "a %s cannot be half closed", transport->kind->name);
    if (!transport->kind->shutdown) {
        transport_close(loop, transport);
        return 0;
    }
    if (is(transport, TRANSPORT_CLOSING | TRANSPORT_EOF))
        return 0;
    mark(transport, TRANSPORT_EOF);
    loop_hold(loop);
    bool before = hold(transport);
    if (transport_buffered(transport) == 0)
        shut_down(loop, transport);
    unhold(loop, transport, before);
    loop_unhold(loop);
    return 0;
}

bool cora_transport_can_write_eof(cora_transport handle)
{
    struct loop *loop;
    struct transport *transport = transport_get(handle, &loop);
    return transport && can_write_eof(transport);
}

/* ---- one that was queued ---- */

/*
 * Runs one part with the connection's own context variables: what reading sets stays, what
 * connection_made sets does not, as asyncio's handles have copies.
 */
static __attribute__((noinline)) void run_part_slow(struct loop *loop, struct transport *transport,
                                                    void (*part)(struct loop *loop,
                                                                 struct transport *transport))
{
    double began = loop->debug ? clock_now() : 0;
    if (transport->context) {
        cora_thread.context = transport->context;
        cora_thread.attention = true;
        if (part == transport_start)
            counted_keep(transport->context);
        else
            transport->context = NULL;
    }
    part(loop, transport);
    if (began > 0 && is_there(loop, transport))
        tell_slow(loop, transport, clock_now() - began);
}

/* What a part has left behind. */
static __attribute__((noinline)) void part_settle(struct loop *loop, struct transport *transport,
                                                  bool keeps_context)
{
    if (cora_thread.context && keeps_context && is_there(loop, transport) && !transport->context) {
        transport->context = cora_thread.context;
        cora_thread.context = NULL;
    }
    settle(loop);
}

static inline __attribute__((always_inline)) void
run_part(struct loop *loop, struct transport *transport,
         void (*part)(struct loop *loop, struct transport *transport))
{
    if (CORA_UNLIKELY(transport->context || loop->debug))
        run_part_slow(loop, transport, part);
    else
        part(loop, transport);
    if (CORA_UNLIKELY(cora_thread.attention))
        part_settle(loop, transport, part != transport_start);
}

/* Whether this is why it was queued; then that is done with. */
static bool take_event(struct slot *slot, uint32_t event)
{
    bool is_it = slot->as.events & event;
    slot->as.events &= ~event;
    return is_it;
}

/* Whether the next part may run: the loop is there, and the run goes on. */
static bool goes_on(const struct loop *loop, const struct slot *slot)
{
    return loop->ev && slot->state == SLOT_WAITING && CORA_LIKELY(!loop->interrupted);
}

/* The run has ended in one of its parts: what is found again is forgotten, the rest waits. */
static __attribute__((cold)) void leave_rest(struct loop *loop, struct transport *transport,
                                             bool ends)
{
    struct slot *slot = &transport_object(transport)->slot;
    uint32_t left = (slot->as.events & EV_WRITE ? OBJECT_LEFT : 0u) | (ends ? OBJECT_ENDS : 0u);
    slot->as.events &= ~(uint32_t)EV_READ;
    if (slot->as.events & OBJECT_QUEUED)
        slot->as.events |= left; /* by a tick inside */
    else if (left)
        transport_queue(loop, transport, left);
}

static void transport_run(struct loop *loop, struct slot *slot)
{
    struct object *object = object_of(slot);
    struct transport *transport = transport_in(object);
    bool ends = slot->as.events & OBJECT_ENDS; /* one that comes now has a turn of its own */
    slot->as.events &= ~(uint32_t)(OBJECT_QUEUED | OBJECT_ENDS);
    if (CORA_UNLIKELY(slot->state != SLOT_WAITING)) {
        if (!is(transport, TRANSPORT_HELD))
            object_free(loop, object); /* it has ended since it was queued */
        return;
    }
    bool before = hold(transport);
    if (CORA_UNLIKELY(take_event(slot, OBJECT_STARTS)))
        run_part(loop, transport, transport_start);
    if (CORA_UNLIKELY(take_event(slot, OBJECT_LEFT)) && goes_on(loop, slot) &&
        take_event(slot, EV_WRITE))
        run_part(loop, transport, write_ready);
    if (goes_on(loop, slot) && take_event(slot, EV_READ))
        run_part(loop, transport, read_ready);
    if (goes_on(loop, slot) && take_event(slot, EV_WRITE))
        run_part(loop, transport, write_ready);
    if (CORA_UNLIKELY(ends) && goes_on(loop, slot))
        transport_end(loop, transport); /* who has closed it had no variables */
    else if (CORA_UNLIKELY(loop->interrupted) && loop->ev && slot->state == SLOT_WAITING)
        leave_rest(loop, transport, ends);
    unhold(loop, transport, before);
    tick_settle(loop); /* the protocol may have been dropped */
}

/* Its descriptor was closed by somebody else. */
static void transport_lost(struct loop *loop, struct slot *slot)
{
    struct transport *transport = transport_in(object_of(slot));
    bool before = hold(transport);
    cora_value error = cora_error(-EBADF, "descriptor %d of a transport was closed by another",
                                  transport->descriptor);
    transport_report(loop, transport, "A transport's descriptor is not valid", error);
    if (is_there(loop, transport))
        transport_force_close(loop, transport, error);
    unhold(loop, transport, before);
}

static void transports_close(struct loop *loop)
{
    free(loop->read_buffer);
    loop->read_buffer = NULL;
}

static const struct transport_layer transport_layer = { transport_collect, transport_run,
                                                        transport_lost, transports_close };

/* ---- making one ---- */

struct object *transport_new(struct loop *loop, const struct transport_kind *kind, int descriptor,
                             cora_protocol protocol, struct starter *starter,
                             const struct cora_place *place)
{
    loop->transport_layer = &transport_layer;
    uint64_t bits = cora_object_new_at(loop_handle(loop), &transport_type, place);
    if (!bits)
        return NULL;
    struct object *object = object_of(slot_at(bits));
    if (transport_claim(loop, descriptor, &object->slot) < 0) {
        pool_give(&loop->objects, &object->slot);
        return NULL;
    }
    struct transport *transport = transport_in(object);
    *transport = (struct transport){ .kind = kind,
                                     .protocol = protocol,
                                     .as.starter = starter,
                                     .flags = (starter ? TRANSPORT_AWAITED : 0) |
                                              (kind->ways == READS_ONLY ? TRANSPORT_EOF : 0),
                                     .high = HIGH_WATER,
                                     .low = HIGH_WATER / 4,
                                     .context = cora_thread.context,
                                     .descriptor = descriptor };
    if (transport->context)
        counted_keep(transport->context);
    transport_queue(loop, transport, OBJECT_STARTS);
    return object;
}

cora_protocol factory_call(struct loop *loop, struct slot *factory)
{
    struct callback *callback = slot_callback(factory);
    const char *name = callback->place->name;
    cora_value outer = cora_thread.failure;
    cora_thread.failure = cora_nothing();
    cora_thread.depth++; /* also when it is called outside of a run */
    stored_enter(factory);
    cora_protocol protocol =
        ((cora_protocol_function)callback->function)(callback_args(factory, callback));
    cora_thread.depth--;
    cora_value failure = cora_thread.failure;
    cora_thread.failure = outer;
    if (error_is_fatal(failure))
        loop_fail(loop, failure);
    stored_leave(loop, factory);
    if (cora_is_nothing(failure) && !protocol.type)
        fail(CORA_ERUNTIME, "the factory %s made no protocol", name);
    if (cora_is_nothing(failure))
        return protocol;
    protocol_drop(protocol); /* it may fail in turn */
    fail_with(failure);
    cora_drop(failure);
    return (cora_protocol){ 0 };
}

void protocol_drop(cora_protocol protocol)
{
    if (protocol.type && protocol.type->drop)
        protocol.type->drop(protocol.self);
}

int descriptor_prepare(int descriptor)
{
    int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0 || (!(flags & O_NONBLOCK) && fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) < 0))
        return -errno;
    return descriptor > STDERR_FILENO && fcntl(descriptor, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
}

/* ---- questions and settings ---- */

int cora_transport_set_write_buffer_limits(cora_transport handle, size_t high, size_t low)
{
    struct loop *loop;
    struct transport *transport = transport_get(handle, &loop);
    if (!transport)
        return cora_last_error_code();
    if (high == CORA_LIMIT_NONE)
        high = low == CORA_LIMIT_NONE ? HIGH_WATER : low <= UINT32_MAX / 4 ? 4 * low : SIZE_MAX;
    if (low == CORA_LIMIT_NONE)
        low = high / 4;
    if (high < low || high > UINT32_MAX)
        return fail(CORA_EVALUE, "high (%zu) must be >= low (%zu), and both less than 4 GiB", high,
                    low);
    transport->high = (uint32_t)high;
    transport->low = (uint32_t)low;
    loop_hold(loop);
    bool before = hold(transport);
    if (transport_buffered(transport) > transport->high)
        transport_account(loop, transport);
    unhold(loop, transport, before);
    loop_unhold(loop);
    return 0;
}

int cora_transport_get_write_buffer_limits(cora_transport handle, size_t *ret_low, size_t *ret_high)
{
    struct loop *loop;
    struct transport *transport = transport_get(handle, &loop);
    if (!transport)
        return cora_last_error_code();
    *ret_low = transport->low;
    *ret_high = transport->high;
    return 0;
}

size_t cora_transport_get_write_buffer_size(cora_transport handle)
{
    struct loop *loop;
    struct transport *transport = transport_get(handle, &loop);
    return transport ? transport_buffered(transport) : 0;
}

/* One that can be read from; NULL, and the error is set. */
static struct transport *reading_get(cora_transport handle, struct loop **ret_loop)
{
    struct transport *transport = transport_get(handle, ret_loop);
    if (!transport || transport->kind->ways != WRITES_ONLY)
        return transport;
    fail(CORA_ERUNTIME, "a %s cannot be read from", transport->kind->name);
    return NULL;
}

int cora_transport_pause_reading(cora_transport handle)
{
    struct loop *loop;
    struct transport *transport = reading_get(handle, &loop);
    if (!transport)
        return cora_last_error_code();
    if (is(transport, TRANSPORT_CLOSING | TRANSPORT_PAUSED))
        return 0;
    mark(transport, TRANSPORT_PAUSED);
    stop_reading(loop, transport);
    return 0;
}

int cora_transport_resume_reading(cora_transport handle)
{
    struct loop *loop;
    struct transport *transport = reading_get(handle, &loop);
    if (!transport)
        return cora_last_error_code();
    if (is(transport, TRANSPORT_CLOSING) || !is(transport, TRANSPORT_PAUSED))
        return 0;
    unmark(transport, TRANSPORT_PAUSED);
    if (is(transport, TRANSPORT_STARTED))
        start_reading(loop, transport);
    return 0;
}

bool cora_transport_is_reading(cora_transport handle)
{
    struct loop *loop;
    struct transport *transport = transport_get(handle, &loop);
    return transport && transport->kind->ways != WRITES_ONLY &&
           !is(transport, TRANSPORT_CLOSING | TRANSPORT_PAUSED);
}

int cora_transport_close(cora_transport handle)
{
    struct loop *loop;
    struct transport *transport = transport_get(handle, &loop);
    if (!transport)
        return stale_code();
    transport_close(loop, transport);
    return 0;
}

int cora_transport_abort(cora_transport handle)
{
    struct loop *loop;
    struct transport *transport = transport_get(handle, &loop);
    if (!transport)
        return stale_code();
    transport_force_close(loop, transport, cora_nothing());
    return 0;
}

bool cora_transport_is_closing(cora_transport handle)
{
    struct loop *loop;
    struct transport *transport = transport_get(handle, &loop);
    return !transport || is(transport, TRANSPORT_CLOSING);
}

int cora_transport_set_protocol(cora_transport handle, cora_protocol protocol)
{
    struct loop *loop;
    struct transport *transport = transport_get(handle, &loop);
    if (!transport)
        return cora_last_error_code();
    if (!protocol.type)
        return fail(CORA_ETYPE, "a protocol without a type");
    transport->protocol = protocol;
    return 0;
}

cora_protocol cora_transport_get_protocol(cora_transport handle)
{
    struct loop *loop;
    struct transport *transport = transport_get(handle, &loop);
    return transport ? transport->protocol : (cora_protocol){ 0 };
}

cora_value cora_transport_get_extra_info(cora_transport handle, const char *name,
                                         cora_value otherwise)
{
    struct loop *loop;
    struct transport *transport = transport_get(handle, &loop);
    cora_value info = cora_nothing();
    if (transport && strcmp(name, transport->kind->descriptor) == 0)
        info = cora_int(transport->descriptor);
    else if (transport && strcmp(name, "peername") == 0 && transport->peer)
        info = cora_from_address((const struct sockaddr *)(const void *)transport->peer->bytes,
                                 transport->peer->size);
    else if (transport && transport->kind->info)
        info = transport->kind->info(transport->descriptor, name);
    return cora_is_nothing(info) ? otherwise : info;
}

int cora_transport_socket(cora_transport handle)
{
    struct loop *loop;
    struct transport *transport = transport_get(handle, &loop);
    return transport ? transport->descriptor : -1;
}

cora_loop cora_transport_loop(cora_transport transport)
{
    return cora_object_loop(transport.bits, &transport_type);
}

int cora_transport_print(cora_transport handle, char *buffer, size_t size)
{
    struct loop *loop;
    struct transport *transport = transport_get(handle, &loop);
    if (!transport)
        return snprintf(buffer, size, "<Transport closed>");
    const struct transport_kind *kind = transport->kind;
    const char *reads = is(transport, TRANSPORT_READS) ? "polling" : "idle";
    const char *writes = is(transport, TRANSPORT_WRITES) ? "polling" : "idle";
    int descriptor = transport->descriptor;
    if (is(transport, TRANSPORT_CLOSING))
        return snprintf(buffer, size, "<%s closing fd=%d>", kind->shown, descriptor);
    if (kind->ways == READS_ONLY)
        return snprintf(buffer, size, "<%s fd=%d %s>", kind->shown, descriptor, reads);
    if (kind->ways == WRITES_ONLY)
        return snprintf(buffer, size, "<%s fd=%d %s bufsize=%zu>", kind->shown, descriptor, writes,
                        transport_buffered(transport));
    return snprintf(buffer, size, "<%s fd=%d read=%s write=<%s, bufsize=%zu>>", kind->shown,
                    descriptor, reads, writes, transport_buffered(transport));
}
