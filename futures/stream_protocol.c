/*
 * How it works: a stream's connection knows it by its handle's bits, so that a stream that is gone
 * is never touched. Its memory stays while anybody waits at it; once the program has closed it and
 * the connection is over it is looked at again in the next tick, so that who closes can still wait
 * for the end in the same step.
 */
#include "private_stream.h"

/* Asyncio's warning for a writer that nobody closed. */
static __attribute__((cold)) void report_unclosed(struct loop *loop, const struct stream *stream)
{
    struct cora_report report = { .message = "unclosed stream",
                                  .transport = stream->transport,
                                  .protocol = stream_protocol_type.name,
                                  .place = object_with(stream)->place };
    loop_report(loop, &report);
}

/* It is given back, or its loop is closed. */
static void stream_closed(void *memory)
{
    struct stream *stream = memory;
    struct loop *loop = slot_owner(&object_with(stream)->slot);
    struct stream_buffer *buffer = stream->buffer;
    struct cora_counted *error = stream->error, *lost = stream->lost;
    void *server = stream->server;
    if (loop->debug && stream->state == STREAM_CONNECTED && !stream->closed)
        report_unclosed(loop, stream);
    if (buffer)
        stream_buffer_free(buffer);
    if (error)
        counted_drop(error);
    if (lost)
        counted_drop(lost);
    if (server)
        stream_server_release(server);
}

const struct cora_object_type stream_type = { "stream", sizeof(struct stream), stream_closed };

__attribute__((cold)) bool stream_was_closed(uint64_t bits)
{
    cora_value before = cora_copy(cora_last_error());
    bool closed =
        !cora_object_get(bits, &stream_type) && bits && cora_last_error_code() == CORA_ESTALE;
    if (closed)
        fail_with(before);
    cora_drop(before);
    return closed;
}

uint64_t stream_new(cora_loop loop, size_t limit, const struct cora_place *place)
{
    if (limit == 0) {
        fail(CORA_EVALUE, "Limit cannot be <= 0");
        return 0;
    }
    uint64_t bits = cora_object_new_at(loop, &stream_type, place);
    if (bits)
        stream_find(bits)->limit = limit;
    return bits;
}

/* ---- closing ---- */

static void on_leave(cora_args bound)
{
    struct stream *stream = stream_find(cora_arg_stream_reader(bound, 0).bits);
    if (!stream)
        return;
    stream->leaves = false;
    if (stream_is_over(stream) && stream->waiting == 0)
        cora_object_close(stream_bits(stream), &stream_type);
}

void stream_leave(struct stream *stream)
{
    struct loop *loop = slot_owner(&object_with(stream)->slot);
    cora_stream_reader itself = { stream_bits(stream) };
    if (!stream->closed || !stream_is_over(stream) || stream->waiting > 0 || stream->leaves ||
        !loop->ev)
        return;
    stream->leaves = true;
    if (cora_is_null(cora_call_soon(loop_handle(loop), cora_partial(on_leave, itself))))
        cora_object_close(itself.bits, &stream_type); /* without memory it does not wait */
}

int stream_close(uint64_t bits)
{
    struct stream *stream = stream_find(bits);
    if (!stream)
        return stream_was_closed(bits) ? 0 : cora_last_error_code();
    bool was_closed = stream->closed;
    stream->closed = true;
    if (stream->state == STREAM_CONNECTED)
        return cora_transport_close(stream->transport);
    if (stream->state == STREAM_UNCONNECTED && !was_closed) {
        stream_feed_end(stream);
        stream_wake_all(stream);
    }
    stream_leave(stream);
    return 0;
}

/* ---- what the connection tells ---- */

static struct stream *stream_of(void *self)
{
    return stream_find((uint64_t)(uintptr_t)self);
}

static void stream_connection_made(void *self, cora_transport transport)
{
    struct stream *stream = stream_of(self);
    if (!stream || stream->closed)
        cora_transport_close(transport);
    if (!stream)
        return;
    stream->transport = transport;
    stream->state = STREAM_CONNECTED;
    if (stream->server)
        stream_connected(stream, stream_bits(stream));
}

static void stream_data_received(void *self, cora_transport transport, const void *bytes,
                                 size_t size)
{
    struct stream *stream = stream_of(self);
    (void)transport;
    if (CORA_UNLIKELY(stream && stream_feed(stream, bytes, size) < 0))
        cora_fail(cora_last_error());
}

/* The connection stays for writing. */
static bool stream_eof_received(void *self, cora_transport transport)
{
    struct stream *stream = stream_of(self);
    (void)transport;
    if (stream)
        stream_feed_end(stream);
    return stream;
}

static void stream_connection_lost(void *self, cora_transport transport, cora_value error)
{
    struct stream *stream = stream_of(self);
    (void)transport;
    if (!stream || stream->state == STREAM_LOST)
        return;
    stream->transport = (cora_transport){ 0 };
    stream->state = STREAM_LOST;
    if (cora_is_error(error)) {
        counted_keep(error.as.counted);
        stream->lost = error.as.counted;
        stream_set_error(stream, error);
    } else {
        stream_feed_end(stream);
    }
    stream_wake_all(stream);
    stream_leave(stream);
}

static void stream_pause_writing(void *self, cora_transport transport)
{
    struct stream *stream = stream_of(self);
    (void)transport;
    if (stream)
        stream->writing_paused = true;
}

static void stream_resumes_writing(void *self, cora_transport transport)
{
    struct stream *stream = stream_of(self);
    (void)transport;
    if (stream)
        stream_resume_writing(stream);
}

/* There never was a connection: nobody has its handles. */
static void stream_dropped(void *self)
{
    struct stream *stream = stream_of(self);
    if (stream && stream->state == STREAM_UNCONNECTED && stream->waiting == 0)
        cora_object_close(stream_bits(stream), &stream_type);
}

const struct cora_protocol_type stream_protocol_type = {
    .name = "StreamReaderProtocol",
    .connection_made = stream_connection_made,
    .data_received = stream_data_received,
    .eof_received = stream_eof_received,
    .connection_lost = stream_connection_lost,
    .pause_writing = stream_pause_writing,
    .resume_writing = stream_resumes_writing,
    .drop = stream_dropped,
};
