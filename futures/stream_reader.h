/*
 * stream_reader.h: reads from a connection by bytes, lines and separators.
 *
 *     cora_when_done(cora_stream_readline(reader), cora_partial(on_line, guest));  // callback style
 *     return cora_await(self, cora_stream_readline(reader), got_line);             // in a step
 *
 * What arrives is kept until it is read; at more than twice the limit the connection is paused,
 * until no more than the limit is left. One read may wait at a time. What is read is a value of
 * bytes; at the end it is of size 0. Readers come from cora_open_connection and cora_start_server
 * (stream.h), together with their writers; when the writer was closed and the connection is over,
 * the handle is stale, and reads as at its end. asyncio: StreamReader.
 */
#ifndef CORA_STREAM_READER_H
#define CORA_STREAM_READER_H

#include <cora/operation.h>

CORA_BEGIN

/* Bytes that a line may have, unless another limit is asked for. */
#define CORA_STREAM_LIMIT ((size_t)65536)

/*
 * One without a connection, fed by hand. Null: a ValueError for a limit of 0; as cora_future_new.
 * Yours to close, at the latest with its loop: that is its end for a read that waits; in the next
 * tick the handle is stale. One with a connection is closed with its writer. 0 or a code.
 */
#define cora_stream_reader_new(loop, limit)                                                        \
    cora_stream_reader_new_at(loop, limit, CORA_PLACE("stream reader"))
CORA_API cora_stream_reader cora_stream_reader_new_at(cora_loop loop, size_t limit,
                                                      const struct cora_place *place);
CORA_API int cora_stream_reader_close(cora_stream_reader reader);

/*
 * Appends bytes (a copy); says that no more will come; fails the read that waits and all later ones
 * with this error. 0; CORA_ERUNTIME for bytes after the end; CORA_ETYPE for what is no error;
 * CORA_EMEMORY, CORA_ESTALE. asyncio: feed_data, feed_eof, set_exception.
 */
CORA_API int cora_stream_feed_data(cora_stream_reader reader, const void *bytes, size_t size);
CORA_API int cora_stream_feed_eof(cora_stream_reader reader);
CORA_API int cora_stream_set_exception(cora_stream_reader reader, cora_value error);

/*
 * The error that was set, also by the end of the connection, or nothing. Whether the end was fed,
 * and all is read.
 */
CORA_API cora_value cora_stream_exception(cora_stream_reader reader);
CORA_API bool cora_stream_at_eof(cora_stream_reader reader);

/*
 * Each of these waits if it must; a RuntimeError if another read waits. If cancelled: nothing is
 * taken. All fail with the error that was set, also if bytes are there.
 *
 * read: at least one byte, at most size; what is there, without waiting for more. With size -1 all
 * until the end. asyncio: read.
 */
CORA_API extern const struct cora_operation cora_stream_read_operation;
CORA_API extern const struct cora_operation cora_stream_readexactly_operation;
CORA_API extern const struct cora_operation cora_stream_readline_operation;
CORA_API extern const struct cora_operation cora_stream_next_line_operation;
CORA_API extern const struct cora_operation cora_stream_readuntil_operation;

static inline cora_awaitable cora_stream_read(cora_stream_reader reader, int64_t size)
{
    cora_awaitable read = { &cora_stream_read_operation,
                            cora_from_stream_reader(reader),
                            0,
                            0,
                            0,
                            cora_int(size) };
    return read;
}

/*
 * Just so many bytes. If the end comes before: an IncompleteReadError with what there was
 * (cora_incomplete_partial), which is read by that; a ValueError for less than 0. asyncio:
 * readexactly.
 */
static inline cora_awaitable cora_stream_readexactly(cora_stream_reader reader, int64_t size)
{
    cora_awaitable read = { &cora_stream_readexactly_operation,
                            cora_from_stream_reader(reader),
                            0,
                            0,
                            0,
                            cora_int(size) };
    return read;
}

/*
 * A line with its newline; the last one may lack it; at the end 0 bytes. A line of more than the
 * limit is a ValueError, and is dropped; all that is there if its newline is not. asyncio:
 * readline. next_line is the same for a loop over all lines: a StopAsyncIteration at the end.
 */
static inline cora_awaitable cora_stream_readline(cora_stream_reader reader)
{
    cora_awaitable read = { &cora_stream_readline_operation,
                            cora_from_stream_reader(reader),
                            0,
                            0,
                            0,
                            cora_nothing() };
    return read;
}

static inline cora_awaitable cora_stream_next_line(cora_stream_reader reader)
{
    cora_awaitable read = { &cora_stream_next_line_operation,
                            cora_from_stream_reader(reader),
                            0,
                            0,
                            0,
                            cora_nothing() };
    return read;
}

/*
 * All through a separator, a text or bytes, or a list of several: the one that ends first counts,
 * of two that end there the shorter one. If it begins behind the limit, or is not within it: a
 * LimitOverrunError (cora_overrun_consumed), and what is there stays. If the end comes before: an
 * IncompleteReadError, as of readexactly. A ValueError for no or an empty separator. asyncio:
 * readuntil.
 */
static inline cora_awaitable cora_stream_readuntil(cora_stream_reader reader, cora_value separator)
{
    cora_awaitable read = { &cora_stream_readuntil_operation,
                            cora_from_stream_reader(reader),
                            0,
                            0,
                            0,
                            separator };
    return read;
}

/* Of an IncompleteReadError: the bytes that there were; how many were asked for, or nothing. */
static inline cora_value cora_incomplete_partial(cora_value error)
{
    return cora_list_at(cora_error_details(error), 0);
}

static inline cora_value cora_incomplete_expected(cora_value error)
{
    return cora_list_at(cora_error_details(error), 1);
}

/* Of a LimitOverrunError: how many bytes to be read are no separator. */
static inline long long cora_overrun_consumed(cora_value error)
{
    return cora_as_int(cora_list_at(cora_error_details(error), 0));
}

/* Writes it for a person to read: <StreamReader 5 bytes eof limit=3>. As snprintf. */
CORA_API int cora_stream_reader_print(cora_stream_reader reader, char *buffer, size_t size);

CORA_END
#endif
