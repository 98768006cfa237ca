/* The echo and HTTP server on bare libev: what ours is measured against.
 *
 * How it works: one ev_io a connection.  Its callback reads once into a buffer that all connections
 * share and sends the answer at once; only what the socket does not take is copied, and then the
 * watcher waits for writability instead of reading on.  */
#include "echo.h"

#include <errno.h>
#include <ev.h>

struct connection {
    ev_io watcher;
    size_t line; /* of the HTTP request that is being read */
    struct echo_rest rest;
};

static char buffer[ECHO_READ];
static bool http;

static void hang_up(struct ev_loop *loop, struct connection *connection)
{
    ev_io_stop(loop, &connection->watcher);
    close(connection->watcher.fd);
    free(connection->rest.data);
    free(connection);
}

static void wait_for(struct ev_loop *loop, ev_io *watcher, int events)
{
    ev_io_stop(loop, watcher);
    ev_io_modify(watcher, events);
    ev_io_start(loop, watcher);
}

/* Sends now what goes and keeps the rest.  False when the connection is lost. */
static bool answer(struct ev_loop *loop, struct connection *connection, const char *data,
                   size_t size)
{
    ssize_t sent = 0;

    if (connection->rest.size == 0) {
        sent = send(connection->watcher.fd, data, size, MSG_NOSIGNAL);
        if (sent == (ssize_t)size)
            return true;
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        if (sent < 0)
            sent = 0;
        wait_for(loop, &connection->watcher, EV_WRITE);
    }
    echo_rest_add(&connection->rest, data + sent, size - (size_t)sent);
    return true;
}

static void flush(struct ev_loop *loop, struct connection *connection)
{
    struct echo_rest *rest = &connection->rest;
    ssize_t sent = send(connection->watcher.fd, rest->data, rest->size, MSG_NOSIGNAL);

    if (sent < 0) {
        if (errno != EAGAIN && errno != EINTR)
            hang_up(loop, connection);
        return;
    }
    echo_rest_take(rest, (size_t)sent);
    if (rest->size == 0)
        wait_for(loop, &connection->watcher, EV_READ);
}

static void on_ready(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct connection *connection = (struct connection *)(void *)watcher;
    bool good = true;

    if (events & EV_WRITE) {
        flush(loop, connection);
        return;
    }
    ssize_t size = recv(watcher->fd, buffer, sizeof buffer, 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size <= 0) {
        hang_up(loop, connection);
        return;
    }
    if (http) {
        size_t requests = echo_requests(&connection->line, buffer, (size_t)size);
        while (good && requests-- > 0)
            good = answer(loop, connection, ECHO_PAGE, sizeof ECHO_PAGE - 1);
    } else {
        good = answer(loop, connection, buffer, (size_t)size);
    }
    if (!good)
        hang_up(loop, connection);
}

static void on_connection(struct ev_loop *loop, ev_io *watcher, int events)
{
    int descriptor;

    (void)events;
    while ((descriptor = echo_accept(watcher->fd)) >= 0) {
        struct connection *connection = calloc(1, sizeof *connection);
        if (connection == NULL)
            echo_fail("calloc");
        ev_io_init(&connection->watcher, on_ready, descriptor, EV_READ);
        ev_io_start(loop, &connection->watcher);
    }
}

int main(int argc, char **argv)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    ev_io listener;

    http = echo_form(argc, argv, "http");
    if (!http && !echo_form(argc, argv, "echo"))
        echo_usage("echo http");
    if (loop == NULL)
        echo_fail("ev_loop_new");
    ev_io_init(&listener, on_connection, echo_listen(), EV_READ);
    ev_io_start(loop, &listener);
    echo_ready(listener.fd);
    ev_run(loop, 0);
    return 0;
}
