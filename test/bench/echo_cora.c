/* Cora's echo and HTTP servers, as a program of its users would be written.
 *
 * How it works: in the forms echo and http a protocol writes to its transport in data_received; the
 * echo needs nothing for a connection, the other one where it is in a line.  In streams and
 * http-streams a task for each connection reads from a stream reader, writes and drains, as
 * asyncio's does. */
#include "echo.h"

#include <cora.h>
#include <unistd.h>

static _Noreturn void give_up(const char *what, cora_value error)
{
    fprintf(stderr, "%s: %s\n", what, cora_error_message(error));
    exit(2);
}

/* Protocols. */

static void echo_received(void *self, cora_transport transport, const void *bytes, size_t size)
{
    (void)self;
    cora_transport_write(transport, bytes, size);
}

static cora_protocol make_echo(cora_args bound)
{
    static const struct cora_protocol_type type = { .name = "Echo",
                                                    .data_received = echo_received };
    (void)bound;
    return (cora_protocol){ &type, NULL };
}

static void pages_received(void *self, cora_transport transport, const void *bytes, size_t size)
{
    size_t requests = echo_requests(self, bytes, size);
    while (requests-- > 0)
        cora_transport_write(transport, ECHO_PAGE, sizeof ECHO_PAGE - 1);
}

static cora_protocol make_pages(cora_args bound)
{
    static const struct cora_protocol_type type = { .name = "Pages",
                                                    .data_received = pages_received,
                                                    .drop = free };
    size_t *line = calloc(1, sizeof *line);

    (void)bound;
    return (cora_protocol){ line == NULL ? NULL : &type, line };
}

/* Streams. */

struct client {
    cora_stream_reader reader;
    cora_stream_writer writer;
};

static cora_next hang_up(cora_coro self)
{
    cora_stream_close(cora_locals(self, struct client)->writer);
    return cora_return(self, cora_nothing());
}

static cora_next echo_read(cora_coro self);

static cora_next echo_got(cora_coro self)
{
    cora_stream_writer writer = cora_locals(self, struct client)->writer;
    size_t size;
    const void *bytes = cora_as_bytes(cora_got(self), &size);

    if (size == 0)
        return hang_up(self);
    cora_stream_write(writer, bytes, size);
    return cora_await(self, cora_stream_drain(writer), echo_read);
}

static cora_next echo_read(cora_coro self)
{
    struct client *client = cora_locals(self, struct client);
    return cora_await(self, cora_stream_read(client->reader, ECHO_READ), echo_got);
}

static cora_coro serve_echo(cora_args bound, cora_stream_reader reader, cora_stream_writer writer)
{
    (void)bound;
    return cora_coroutine(echo_read, struct client, reader, writer);
}

static cora_next pages_read(cora_coro self);

static cora_next pages_got(cora_coro self)
{
    cora_stream_writer writer = cora_locals(self, struct client)->writer;

    if (cora_is_error(cora_caught(self)))
        return hang_up(self);
    cora_stream_write(writer, ECHO_PAGE, sizeof ECHO_PAGE - 1);
    return cora_await(self, cora_stream_drain(writer), pages_read);
}

static cora_next pages_read(cora_coro self)
{
    struct client *client = cora_locals(self, struct client);
    return cora_try(self, cora_stream_readuntil(client->reader, cora_static("\r\n\r\n")),
                    pages_got);
}

static cora_coro serve_pages(cora_args bound, cora_stream_reader reader, cora_stream_writer writer)
{
    (void)bound;
    return cora_coroutine(pages_read, struct client, reader, writer);
}

/* The server. */

static void on_listening(cora_args bound, cora_value outcome)
{
    (void)bound;
    if (cora_is_error(outcome))
        give_up("cora_listen", outcome);
    echo_ready(cora_server_socket(cora_as_server(outcome), 0));
}

static void on_serving(cora_args bound, cora_future done)
{
    on_listening(bound, cora_result(done));
}

int main(int argc, char **argv)
{
    const struct cora_server_options options = { .host = "127.0.0.1", .backlog = ECHO_BACKLOG };
    cora_loop loop = cora_loop_new(NULL);

    cora_set_current_loop(loop);
    if (echo_form(argc, argv, "echo"))
        cora_listen(loop, &options, cora_partial(make_echo), cora_partial(on_listening));
    else if (echo_form(argc, argv, "http"))
        cora_listen(loop, &options, cora_partial(make_pages), cora_partial(on_listening));
    else if (echo_form(argc, argv, "streams"))
        cora_when_done(cora_start_server(&options, 0, cora_partial(serve_echo)),
                       cora_partial(on_serving));
    else if (echo_form(argc, argv, "http-streams"))
        cora_when_done(cora_start_server(&options, 0, cora_partial(serve_pages)),
                       cora_partial(on_serving));
    else
        echo_usage("echo http streams http-streams");
    cora_run_forever(loop);
    return 0;
}
