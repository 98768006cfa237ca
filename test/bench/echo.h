/* What the servers of W7 and W8 in C have in common.
 *
 * A server is one process: `echo_SUBJECT echo`, or `http`, and for those who have a form with
 * readers and writers in tasks `streams` or `http-streams`.  It listens on the loopback address,
 * prints its port and its process on one line, and serves until a signal ends it.  It echoes what
 * comes, or answers each HTTP request with one page.  Who drives it and measures it is load.c; a
 * server counts and times nothing. */
#ifndef CORA_ECHO_H
#define CORA_ECHO_H

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a read takes at most, where the program chooses it: one buffer for all connections. */
#define ECHO_READ 65536

/* How many connections may wait to be accepted. */
#define ECHO_BACKLOG 1024

/* The answer to every HTTP request. */
#define ECHO_PAGE                                                                                  \
    "HTTP/1.1 200 OK\r\n"                                                                          \
    "Content-Type: text/plain\r\n"                                                                 \
    "Content-Length: 13\r\n"                                                                       \
    "\r\n"                                                                                         \
    "Hello, ferry\n"

static inline _Noreturn void echo_fail(const char *what)
{
    perror(what);
    exit(2);
}

/* Whether the command line asks for that form. */
static inline bool echo_form(int argc, char **argv, const char *form)
{
    return argc == 2 && strcmp(argv[1], form) == 0;
}

static inline _Noreturn void echo_usage(const char *forms)
{
    fprintf(stderr, "usage: one of %s\n", forms);
    exit(2);
}

/* Tells the load generator where the server is.  Descriptors that listen have one port each. */
static inline void echo_ready(int descriptor)
{
    struct sockaddr_in address = { 0 };
    socklen_t size = sizeof address;

    if (getsockname(descriptor, (struct sockaddr *)&address, &size) != 0)
        echo_fail("getsockname");
    printf("%d %d\n", ntohs(address.sin_port), (int)getpid());
    fflush(stdout);
}

/* A socket that listens on a free port of the loopback address and does not block. */
static inline int echo_listen(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, ECHO_BACKLOG) != 0)
        echo_fail("listen");
    return listener;
}

/* The next connection, or -1 when nobody waits. */
static inline int echo_accept(int listener)
{
    int one = 1;
    int connection = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (connection >= 0)
        setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return connection;
}

/* How many HTTP requests end in these bytes.  A request ends with an empty line; `line` counts the
 * bytes of the connection's line so far, so that a request may come in pieces. */
static inline size_t echo_requests(size_t *line, const char *data, size_t size)
{
    const char *end = data + size;
    size_t requests = 0;

    while (data < end) {
        const char *newline = memchr(data, '\n', (size_t)(end - data));
        if (newline == NULL) {
            *line += (size_t)(end - data);
            break;
        }
        *line += (size_t)(newline - data);
        requests += *line == 1; /* the carriage return */
        *line = 0;
        data = newline + 1;
    }
    return requests;
}

/* What could not be sent yet. */
struct echo_rest {
    char *data; /* NULL when there is none */
    size_t size;
};

static inline void echo_rest_add(struct echo_rest *rest, const char *data, size_t size)
{
    char *grown = realloc(rest->data, rest->size + size);

    if (grown == NULL)
        echo_fail("realloc");
    memcpy(grown + rest->size, data, size);
    rest->data = grown;
    rest->size += size;
}

/* Forgets the first bytes, which were sent. */
static inline void echo_rest_take(struct echo_rest *rest, size_t sent)
{
    rest->size -= sent;
    if (rest->size > 0) {
        memmove(rest->data, rest->data + sent, rest->size);
        return;
    }
    free(rest->data);
    rest->data = NULL;
}

#endif
