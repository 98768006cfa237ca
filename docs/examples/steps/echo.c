/*
 * echo: sends back what it gets, in steps.
 *
 *     echo [PORT]
 *
 * Each connection is a task: it reads, writes, and waits until its peer keeps up. SIGINT and
 * SIGTERM close the connections; each task then reads the end, and ends by itself.
 */
#include "../serve.h"

/* ---- a connection ---- */

struct visit {
    cora_stream_reader reader;
    cora_stream_writer writer;
};

static cora_next hang_up(cora_coro self)
{
    cora_stream_close(cora_locals(self, struct visit)->writer);
    return cora_go_on(self);
}

static cora_next listen_on(cora_coro self);

static cora_next heard(cora_coro self)
{
    const struct visit *visit = cora_locals(self, struct visit);
    size_t size;
    const void *bytes = cora_as_bytes(cora_got(self), &size);
    if (size == 0)
        return cora_return_nothing(self);
    cora_stream_write(visit->writer, bytes, size);
    return cora_await(self, cora_stream_drain(visit->writer), listen_on);
}

static cora_next listen_on(cora_coro self)
{
    return cora_await(self, cora_stream_read(cora_locals(self, struct visit)->reader, 65536),
                      heard);
}

static cora_next echo(cora_coro self)
{
    cora_finally(self, hang_up);
    return listen_on(self);
}

static cora_coro echo_new(cora_args bound, cora_stream_reader reader, cora_stream_writer writer)
{
    (void)bound;
    return cora_coroutine(echo, struct visit, reader, writer);
}

/* ---- the server ---- */

static cora_next listening(cora_coro self)
{
    cora_server server = cora_as_server(cora_got(self));
    serve_started(server);
    return cora_await(self, cora_server_wait_closed(server), cora_return_nothing);
}

static cora_next echo_server(cora_coro self)
{
    struct cora_server_options here = { .host = "127.0.0.1", .port = *cora_locals(self, int) };
    return cora_await(self, cora_start_server(&here, 0, cora_partial(echo_new)), listening);
}

int main(int argc, char **argv)
{
    static const char usage[] = "echo [PORT]\nSends back what it gets on 127.0.0.1.";
    int port, status = serve_arguments(argc, argv, usage, &port, NULL);
    if (status >= 0)
        return status;
    cora_value outcome = cora_run(cora_coroutine(echo_server, int, port));
    if (cora_is_error(outcome))
        fprintf(stderr, "%s\n", cora_error_message(outcome));
    return cora_is_error(outcome);
}
