/*
 * stream_writer.h: writes to a connection, and waits until its peer keeps up.
 *
 *     cora_stream_write(writer, "hello\n", 6);
 *     cora_when_done(cora_stream_drain(writer), cora_partial(on_sent, guest));   // callback style
 *     return cora_await(self, cora_stream_drain(writer), sent);                  // in a step
 *
 * Writing never waits, and is never refused; drain is where a peer that does not read slows its
 * writer down, and where a lost connection shows. Yours to close, at the latest with its loop. When
 * it was closed and the connection is over, and nobody waits for that, the handle is stale: it
 * counts as closed; writing to it does nothing. asyncio: StreamWriter.
 */
#ifndef CORA_STREAM_WRITER_H
#define CORA_STREAM_WRITER_H

#include <cora/operation.h>
#include <cora/transport.h>

CORA_BEGIN

/*
 * Sends these bytes, or keeps a copy until they can be sent. 0, also when the connection is lost or
 * closing; CORA_ERUNTIME after write_eof; CORA_EMEMORY, and the connection ends. writef is
 * printf-like. asyncio: write, writelines.
 */
CORA_API int cora_stream_write(cora_stream_writer writer, const void *bytes, size_t size);
CORA_API int cora_stream_writelines(cora_stream_writer writer, const struct iovec *chunks,
                                    size_t count);
CORA_API int cora_stream_writef(cora_stream_writer writer, const char *format, ...)
    CORA_PRINTF(2, 3);

/* As cora_transport_write_eof. */
CORA_API int cora_stream_write_eof(cora_stream_writer writer);
CORA_API bool cora_stream_can_write_eof(cora_stream_writer writer);

/*
 * Ends with nothing when what waits to be sent is no more than the low-water mark, after it was
 * more than the high one; without waiting if it was not. The reader's error if it has one. Of a
 * connection that is closing it gives the loop a turn first; a ConnectionResetError if that is over
 * then. One that waits when the connection is lost ends with the error that ended it, or nothing.
 * If cancelled: nothing else happens. Any number may wait. asyncio: drain.
 */
CORA_API extern const struct cora_operation cora_stream_drain_operation;

static inline cora_awaitable cora_stream_drain(cora_stream_writer writer)
{
    cora_awaitable drain = {
        &cora_stream_drain_operation, cora_from_stream_writer(writer), 0, 0, 0, cora_nothing()
    };
    return drain;
}

/* Closes the connection when what is written has been sent. 0 or a code. asyncio: close. */
CORA_API int cora_stream_close(cora_stream_writer writer);
CORA_API bool cora_stream_is_closing(cora_stream_writer writer);

/*
 * Ends with nothing when the connection is over, or fails with what ended it; at once when it is,
 * and with nothing if the handle is stale. If cancelled: nothing else happens. asyncio:
 * wait_closed.
 */
CORA_API extern const struct cora_operation cora_stream_wait_closed_operation;

static inline cora_awaitable cora_stream_wait_closed(cora_stream_writer writer)
{
    cora_awaitable wait = {
        &cora_stream_wait_closed_operation, cora_from_stream_writer(writer), 0, 0, 0, cora_nothing()
    };
    return wait;
}

/*
 * The connection: its marks, names, abort; its protocol is the stream's, not to be replaced. Null
 * when it is over. asyncio: transport.
 */
CORA_API cora_transport cora_stream_transport(cora_stream_writer writer);

/* As cora_transport_get_extra_info; of one that is over, otherwise. */
CORA_API cora_value cora_stream_get_extra_info(cora_stream_writer writer, const char *name,
                                               cora_value otherwise);

/* Writes it for a person to read: <StreamWriter transport=<Transport ...>>. As snprintf. */
CORA_API int cora_stream_writer_print(cora_stream_writer writer, char *buffer, size_t size);

CORA_END
#endif
