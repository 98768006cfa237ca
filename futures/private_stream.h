/*
 * private_stream.h (private): the memory of a stream, which is the reader and the writer: both
 * handles have the same bits.
 *
 *     unconnected --connection_made--> connected --connection_lost--> lost
 *          '------------- closed by the program, nobody waits at it: given back <---'
 *
 * It is an object; what it holds of what has arrived is a block, only while there is something.
 */
#ifndef CORA_PRIVATE_STREAM_H
#define CORA_PRIVATE_STREAM_H

#include "private_future.h"
#include "reactor/private_object.h"
#include "stream_reader.h"
#include "stream_writer.h"

/* What has arrived and was not read, from start to end: at least a byte. */
struct stream_buffer {
    size_t start, end, room;
    char bytes[];
};

enum stream_state {
    STREAM_UNCONNECTED, /* fed by hand; or the connection is not made yet */
    STREAM_CONNECTED,
    STREAM_LOST,
};

struct stream_read;

struct stream {
    cora_transport transport;     /* null unless it is connected */
    struct stream_buffer *buffer; /* NULL: nothing to be read */
    size_t limit;                 /* at least 1 */
    struct cora_counted *error;   /* what reads fail with, counted; NULL: none */
    struct cora_counted *lost;    /* what has ended the connection, counted; NULL: nothing wrong */
    struct stream_read *reading;  /* waits, and was not woken; NULL: none */
    struct cora_waiters waiters;  /* drains, and those that wait for the end of the connection */
    void *server;                 /* stream.c's; NULL: none */
    uint32_t waiting;             /* operations that wait at it, also those woken already */
    uint32_t takes;               /* counts up when something is taken out of the buffer */
    uint8_t state;                /* enum stream_state */
    bool at_end;                  /* nothing more arrives */
    bool reading_paused;          /* the transport, by the stream */
    bool writing_paused;          /* by the transport */
    bool closed;                  /* by the program */
    bool leaves;                  /* it is looked at in the next tick whether to give it back */
};
_Static_assert(sizeof(struct stream) <= CORA_OBJECT_SIZE, "in an object");

extern const struct cora_object_type stream_type;

/* The stream of a handle if it is there, and this thread's; else NULL. */
static inline struct stream *stream_find(uint64_t bits)
{
    struct object *object = object_find(bits, &stream_type);
    return CORA_LIKELY(object != NULL) ? (struct stream *)(void *)object->memory : NULL;
}

/* The same; NULL, and the error is set. */
static inline struct stream *stream_get(uint64_t bits)
{
    struct stream *stream = stream_find(bits);
    return CORA_LIKELY(stream != NULL) ? stream : cora_object_get(bits, &stream_type);
}

static inline uint64_t stream_bits(const struct stream *stream)
{
    return object_with(stream)->slot.bits;
}

/* The connection is over; of one without a connection: it was closed. */
static inline bool stream_is_over(const struct stream *stream)
{
    return stream->state == STREAM_LOST || (stream->state == STREAM_UNCONNECTED && stream->closed);
}

/* Whether what was not found was a stream, and is closed; else the error is set. */
bool stream_was_closed(uint64_t bits);

/* ---- its life: stream_protocol.c ---- */

/* A new one, without a connection: its bits; 0, and the error is set. */
uint64_t stream_new(cora_loop loop, size_t limit, const struct cora_place *place);

/* Closes reader and writer. 0, or a code. */
int stream_close(uint64_t bits);

/* Gives it back in the next tick, if it is closed and over, and nobody waits. */
void stream_leave(struct stream *stream);

/* An operation that has waited at this stream, if it is there still, ends. */
static inline void stream_waits_less(struct stream *stream)
{
    stream->waiting--;
    if (CORA_UNLIKELY(stream->closed))
        stream_leave(stream);
}

/* What a stream's connection calls: self is the stream's bits. Dropped without a connection, the
 * stream is given back. */
extern const struct cora_protocol_type stream_protocol_type;

static inline cora_protocol stream_protocol(uint64_t bits)
{
    return (cora_protocol){ &stream_protocol_type, (void *)(uintptr_t)bits };
}
_Static_assert(sizeof(void *) >= sizeof(uint64_t), "a handle in a pointer");

/* stream.c: a stream with a server has its connection. The last thing that is done with it. */
void stream_connected(struct stream *stream, uint64_t bits);
void stream_server_release(void *server); /* there never was a connection */

/* ---- what arrives: stream_reader.c ---- */

/* As cora_stream_feed_data, cora_stream_feed_eof, cora_stream_set_exception. */
int stream_feed(struct stream *stream, const void *bytes, size_t size);
void stream_feed_end(struct stream *stream);
void stream_set_error(struct stream *stream, cora_value error);

/* Frees what was not read. */
void stream_buffer_free(struct stream_buffer *buffer);

static inline size_t stream_buffered(const struct stream *stream)
{
    return stream->buffer ? stream->buffer->end - stream->buffer->start : 0;
}

/* ---- what is written: stream_writer.c ---- */

/* Writing may go on: wakes drains. */
void stream_resume_writing(struct stream *stream);

/* It is over: wakes all that wait for that, then drains. */
void stream_wake_all(struct stream *stream);

#endif
