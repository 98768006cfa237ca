/* The echo and HTTP server on libuv, as its fastest users write one.
 *
 * How it works: one uv_tcp_t a connection.  Its reads go into one buffer that all connections
 * share, which is safe because libuv calls back before it reads again.  The answer goes out by
 * uv_try_write; only what that does not take is copied and given to uv_write, and reading stops
 * until it is sent. */
#include "echo.h"

#include <uv.h>

struct connection {
    uv_tcp_t socket;
    size_t line; /* of the HTTP request that is being read */
};

/* A write that has to wait. */
struct late {
    uv_write_t request;
    char data[];
};

static char buffer[ECHO_READ];
static bool http;

static void forget(uv_handle_t *handle)
{
    free(handle);
}

static void hang_up(uv_stream_t *stream)
{
    if (!uv_is_closing((uv_handle_t *)stream))
        uv_close((uv_handle_t *)stream, forget);
}

static void lend_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buffer)
{
    (void)handle, (void)suggested;
    *ret_buffer = uv_buf_init(buffer, sizeof buffer);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *data);

static void on_written(uv_write_t *request, int status)
{
    uv_stream_t *stream = request->handle;

    free(request);
    if (status < 0)
        hang_up(stream);
    else if (uv_stream_get_write_queue_size(stream) == 0 && !uv_is_closing((uv_handle_t *)stream))
        uv_read_start(stream, lend_buffer, on_read);
}

/* Sends now what goes and leaves the rest to libuv. */
static void answer(uv_stream_t *stream, const char *data, size_t size)
{
    uv_buf_t all = { .base = (char *)(uintptr_t)data, .len = size };
    int sent = uv_try_write(stream, &all, 1);

    if (sent == (int)size)
        return;
    if (sent < 0 && sent != UV_EAGAIN) {
        hang_up(stream);
        return;
    }
    size_t done = sent > 0 ? (size_t)sent : 0;
    struct late *late = malloc(sizeof *late + size - done);
    if (late == NULL)
        echo_fail("malloc");
    memcpy(late->data, data + done, size - done);
    uv_buf_t rest = uv_buf_init(late->data, (unsigned)(size - done));
    uv_read_stop(stream);
    uv_write(&late->request, stream, &rest, 1, on_written);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *data)
{
    struct connection *connection = (struct connection *)(void *)stream;

    if (size < 0) {
        hang_up(stream);
        return;
    }
    if (!http) {
        if (size > 0)
            answer(stream, data->base, (size_t)size);
        return;
    }
    size_t requests = echo_requests(&connection->line, data->base, (size_t)size);
    while (requests-- > 0 && !uv_is_closing((uv_handle_t *)stream))
        answer(stream, ECHO_PAGE, sizeof ECHO_PAGE - 1);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct connection *connection = calloc(1, sizeof *connection);

    if (status < 0 || connection == NULL)
        echo_fail("listen");
    uv_tcp_init(listener->loop, &connection->socket);
    if (uv_accept(listener, (uv_stream_t *)&connection->socket) != 0)
        echo_fail("uv_accept");
    uv_tcp_nodelay(&connection->socket, 1);
    uv_read_start((uv_stream_t *)&connection->socket, lend_buffer, on_read);
}

int main(int argc, char **argv)
{
    uv_loop_t loop;
    uv_tcp_t listener;
    int descriptor = echo_listen();

    http = echo_form(argc, argv, "http");
    if (!http && !echo_form(argc, argv, "echo"))
        echo_usage("echo http");
    if (uv_loop_init(&loop) != 0 || uv_tcp_init(&loop, &listener) != 0 ||
        uv_tcp_open(&listener, descriptor) != 0 ||
        uv_listen((uv_stream_t *)&listener, ECHO_BACKLOG, on_connection) != 0)
        echo_fail("uv_listen");
    echo_ready(descriptor);
    return uv_run(&loop, UV_RUN_DEFAULT);
}
