/* The echo and HTTP server with bare epoll: the least that the kernel asks for.
 *
 * How it works: level-triggered epoll, one read into a buffer that all connections share, and one
 * send of the answer.  A connection is its descriptor and what it still has to send, in an array
 * that grows with the descriptors.  No service, no timers, no loop for others: a bound. */
#include "echo.h"

#include <errno.h>
#include <sys/epoll.h>

struct connection {
    size_t line; /* of the HTTP request that is being read */
    struct echo_rest rest;
};

static char buffer[ECHO_READ];
static struct epoll_event events[1024];
static struct connection *connections; /* by descriptor */
static size_t capacity;
static int epoll;
static bool http;

static void watch(int operation, int descriptor, unsigned what)
{
    struct epoll_event event = { .events = what, .data.fd = descriptor };

    if (epoll_ctl(epoll, operation, descriptor, &event) != 0)
        echo_fail("epoll_ctl");
}

static void hang_up(int descriptor)
{
    free(connections[descriptor].rest.data);
    connections[descriptor] = (struct connection){ 0 };
    close(descriptor);
}

/* Sends now what goes and keeps the rest.  False when the connection is lost. */
static bool answer(int descriptor, const char *data, size_t size)
{
    struct echo_rest *rest = &connections[descriptor].rest;
    ssize_t sent = 0;

    if (rest->size == 0) {
        sent = send(descriptor, data, size, MSG_NOSIGNAL);
        if (sent == (ssize_t)size)
            return true;
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        if (sent < 0)
            sent = 0;
        watch(EPOLL_CTL_MOD, descriptor, EPOLLOUT);
    }
    echo_rest_add(rest, data + sent, size - (size_t)sent);
    return true;
}

static void flush(int descriptor)
{
    struct echo_rest *rest = &connections[descriptor].rest;
    ssize_t sent = send(descriptor, rest->data, rest->size, MSG_NOSIGNAL);

    if (sent < 0) {
        if (errno != EAGAIN && errno != EINTR)
            hang_up(descriptor);
        return;
    }
    echo_rest_take(rest, (size_t)sent);
    if (rest->size == 0)
        watch(EPOLL_CTL_MOD, descriptor, EPOLLIN);
}

static void receive(int descriptor)
{
    ssize_t size = recv(descriptor, buffer, sizeof buffer, 0);
    bool good = true;

    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size <= 0) {
        hang_up(descriptor);
        return;
    }
    if (http) {
        size_t requests = echo_requests(&connections[descriptor].line, buffer, (size_t)size);
        while (good && requests-- > 0)
            good = answer(descriptor, ECHO_PAGE, sizeof ECHO_PAGE - 1);
    } else {
        good = answer(descriptor, buffer, (size_t)size);
    }
    if (!good)
        hang_up(descriptor);
}

static void accept_all(int listener)
{
    int descriptor;

    while ((descriptor = echo_accept(listener)) >= 0) {
        size_t needed = (size_t)descriptor + 1;
        if (needed > capacity) {
            connections = realloc(connections, needed * 2 * sizeof *connections);
            if (connections == NULL)
                echo_fail("realloc");
            memset(connections + capacity, 0, (needed * 2 - capacity) * sizeof *connections);
            capacity = needed * 2;
        }
        watch(EPOLL_CTL_ADD, descriptor, EPOLLIN);
    }
}

int main(int argc, char **argv)
{
    int listener = echo_listen();

    http = echo_form(argc, argv, "http");
    if (!http && !echo_form(argc, argv, "echo"))
        echo_usage("echo http");
    epoll = epoll_create1(EPOLL_CLOEXEC);
    watch(EPOLL_CTL_ADD, listener, EPOLLIN);
    echo_ready(listener);
    for (;;) {
        int count = epoll_wait(epoll, events, sizeof events / sizeof *events, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                accept_all(listener);
            else if (events[i].events & EPOLLOUT)
                flush(events[i].data.fd);
            else
                receive(events[i].data.fd);
        }
    }
}
