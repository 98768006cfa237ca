/* The echo server on libevent's bufferevents, its form for programs that do not want to read and
 * write by themselves.
 *
 * How it works: the read callback moves the input buffer to the end of the output buffer, which
 * copies nothing; libevent writes it when the socket is writable.  A high-water mark on the output
 * is not needed, as a client waits for its answer. */
#include "echo.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

static void on_read(struct bufferevent *connection, void *unused)
{
    (void)unused;
    bufferevent_write_buffer(connection, bufferevent_get_input(connection));
}

static void on_event(struct bufferevent *connection, short events, void *unused)
{
    (void)unused;
    if (events & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
        bufferevent_free(connection);
}

static void on_connection(struct evconnlistener *listener, evutil_socket_t descriptor,
                          struct sockaddr *address, int size, void *base)
{
    int one = 1;

    (void)listener, (void)address, (void)size;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct bufferevent *connection =
        bufferevent_socket_new(base, descriptor, BEV_OPT_CLOSE_ON_FREE);
    if (connection == NULL)
        echo_fail("bufferevent_socket_new");
    bufferevent_setcb(connection, on_read, NULL, on_event, NULL);
    bufferevent_enable(connection, EV_READ | EV_WRITE);
}

int main(int argc, char **argv)
{
    struct event_base *base = event_base_new();
    int descriptor = echo_listen();

    if (!echo_form(argc, argv, "echo"))
        echo_usage("echo");
    if (base == NULL ||
        evconnlistener_new(base, on_connection, base, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC,
                           0, descriptor) == NULL)
        echo_fail("evconnlistener_new");
    echo_ready(descriptor);
    return event_base_dispatch(base);
}
