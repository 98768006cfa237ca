/*
 * stream.h: connections as a reader and a writer.
 *
 *     static void serve(cora_args bound, cora_stream_reader reader, cora_stream_writer writer)
 *     {
 *         cora_when_done(cora_stream_readline(reader), cora_partial(on_line, writer));
 *     }
 *     ...
 *     cora_when_done(cora_start_server(&(struct cora_server_options){ .port = 8080 }, 0,
 *                                      cora_partial(serve)), cora_partial(on_listening));
 *
 *     cora_await(self, cora_open_connection(&(struct cora_connect_options){
 *                          .host = "example.org", .port = 80 }, 0), connected);
 *     ... struct cora_streams streams = cora_as_streams(cora_got(self));
 */
#ifndef CORA_STREAM_H
#define CORA_STREAM_H

#include <cora/connection.h>
#include <cora/stream_reader.h>
#include <cora/stream_writer.h>

CORA_BEGIN

struct cora_streams {
    cora_stream_reader reader;
    cora_stream_writer writer;
};

/* The two of what cora_open_connection ends with; null and a TypeError of any other value. */
CORA_API struct cora_streams cora_as_streams(cora_value value);

/*
 * Connects as cora_create_connection does, with its options and errors, and ends with a pair for
 * cora_as_streams. The limit is the reader's; 0: CORA_STREAM_LIMIT. If cancelled: as that. asyncio:
 * open_connection.
 */
#define cora_open_connection(...)                                                                  \
    cora_open_connection_at(CORA_PLACE("cora_open_connection"), __VA_ARGS__)
CORA_API cora_awaitable cora_open_connection_at(const struct cora_place *place,
                                                const struct cora_connect_options *options,
                                                size_t limit);

/*
 * One end of a pipe: as cora_connect_read_pipe, cora_connect_write_pipe, with a pair for
 * cora_as_streams. Of what is read from, the writer closes it and is good for nothing else; the
 * reader of what is written to is at its end when the other side is gone. If cancelled: as those.
 * asyncio: connect_read_pipe with a StreamReaderProtocol, connect_write_pipe and a StreamWriter.
 */
#define cora_open_read_pipe(...)                                                                   \
    cora_open_read_pipe_at(CORA_PLACE("cora_open_read_pipe"), __VA_ARGS__)
#define cora_open_write_pipe(...)                                                                  \
    cora_open_write_pipe_at(CORA_PLACE("cora_open_write_pipe"), __VA_ARGS__)
CORA_API cora_awaitable cora_open_read_pipe_at(const struct cora_place *place, int pipe,
                                               size_t limit);
CORA_API cora_awaitable cora_open_write_pipe_at(const struct cora_place *place, int pipe);

/*
 * Listens as cora_create_server does, and ends with the server. Each connection is served by this
 * callback, which keeps nothing of the server's waiting; or by a coroutine that it makes, as a
 * task: one that fails is reported, and its connection closed; one that is cancelled, too, without
 * a report. Who serves closes the writer. asyncio: start_server.
 */
CORA_API cora_awaitable cora_start_server(const struct cora_server_options *options, size_t limit,
                                          cora_client_callback client);

CORA_END
#endif
