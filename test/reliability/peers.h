/*
 * What the checks of connections have in common: the plain sockets of peers, a server in the test's
 * own loop, latencies, and a hash of bytes.
 *
 * Peers of one thread with the server are quick: what the loopback device carries has arrived when
 * the call returns. So a check may run so many ticks, where it would otherwise have to wait.
 *
 * Latencies count by the processor time of the process: they hold all that a loop does between a
 * question and its answer, and nothing of what the machine does for others.
 */
#ifndef PEERS_H
#define PEERS_H

#include "harness.h"

#include <cora.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- sockets ---- */

static inline struct sockaddr_in peers_address(int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* A stream socket with buffers of this size (0: the system's), not connected. */
static inline int peers_socket(int buffer_size)
{
    int one = 1, made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(made >= 0);
    setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (buffer_size > 0) {
        setsockopt(made, SOL_SOCKET, SO_SNDBUF, &buffer_size, sizeof buffer_size);
        setsockopt(made, SOL_SOCKET, SO_RCVBUF, &buffer_size, sizeof buffer_size);
    }
    return made;
}

/* A blocking socket, connected to a port. While the listener has room nobody need accept it. */
static inline int peers_connect(int port)
{
    struct sockaddr_in address = peers_address(port);
    int made = peers_socket(0);
    CHECK_INT(connect(made, (struct sockaddr *)&address, sizeof address), 0);
    return made;
}

/* Two connected sockets: ours, and the peer's, which blocks. */
static inline void peers_pair(int buffer_size, int *ret_ours, int *ret_peer)
{
    struct sockaddr_in address = peers_address(0);
    socklen_t size = sizeof address;
    int listener = peers_socket(buffer_size), peer = peers_socket(buffer_size);
    CHECK_INT(bind(listener, (struct sockaddr *)&address, size), 0);
    CHECK_INT(listen(listener, 1), 0);
    CHECK_INT(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    CHECK_INT(connect(peer, (struct sockaddr *)&address, size), 0);
    *ret_ours = accept(listener, NULL, NULL);
    CHECK(*ret_ours >= 0);
    *ret_peer = peer;
    close(listener);
}

static inline void peers_do_not_block(int descriptor)
{
    CHECK_INT(fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK), 0);
}

/* Lets close send a reset instead of an end. */
static inline void peers_close_with_reset(int descriptor)
{
    struct linger reset = { .l_onoff = 1 };
    CHECK_INT(setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    CHECK_INT(close(descriptor), 0);
}

/* Makes room for this many descriptors, or skips the test. */
static inline void peers_need_descriptors(size_t count)
{
    const char *backend = getenv("CORA_BACKEND");
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (backend && strcmp(backend, "select") == 0 && count > 1024)
        SKIP("select knows no descriptor above 1024, and this takes %zu", count);
    if (limit.rlim_max < count)
        SKIP("%zu descriptors are needed, and %zu are allowed", count, (size_t)limit.rlim_max);
    if (limit.rlim_cur < count) {
        limit.rlim_cur = count;
        CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
    }
}

/* Lets this many connections wait to be accepted, or skips the test. */
static inline void peers_need_backlog(int count)
{
    int most = 0;
    FILE *setting = fopen("/proc/sys/net/core/somaxconn", "r");
    if (!setting || fscanf(setting, "%d", &most) != 1 || most < count)
        SKIP("a queue for %d connections is needed, and %d is allowed", count, most);
    fclose(setting);
}

/* ---- servers ---- */

static inline void peers_listening(cora_args bound, cora_value outcome)
{
    CHECK(!cora_is_error(outcome));
    cora_stop(cora_arg_loop(bound, 0));
}

/* A server on a free port of the loopback address, which accepts from now on. */
static inline cora_server peers_serve(cora_loop loop, int backlog, cora_protocol_factory factory)
{
    cora_server server =
        cora_listen(loop, &(struct cora_server_options){ .host = "127.0.0.1", .backlog = backlog },
                    factory, cora_partial(peers_listening, loop));
    CHECK(!cora_is_null(server));
    CHECK_INT(cora_run_forever(loop), 0);
    return server;
}

static inline void peers_echo_received(void *self, cora_transport transport, const void *bytes,
                                       size_t size)
{
    (void)self;
    CHECK_INT(cora_transport_write(transport, bytes, size), 0);
}

static const struct cora_protocol_type peers_echo_type = { .name = "Echo",
                                                           .data_received = peers_echo_received };

static inline cora_protocol peers_echo(cora_args bound)
{
    (void)bound;
    return (cora_protocol){ &peers_echo_type, NULL };
}

/* Runs so many ticks, each with its poll if the loop polls in each. */
static inline void peers_tick(cora_args bound)
{
    cora_loop loop = cora_arg_loop(bound, 0);
    if (cora_arg_int(bound, 1) <= 1)
        cora_stop(loop);
    else
        cora_call_soon(loop, cora_partial(peers_tick, loop, cora_arg_int(bound, 1) - 1));
}

static inline void peers_run_ticks(cora_loop loop, int count)
{
    cora_call_soon(loop, cora_partial(peers_tick, loop, count));
    CHECK_INT(cora_run_forever(loop), 0);
}

/* ---- latencies ---- */

struct latencies {
    double *seconds;
    size_t count, room;
};

static inline void latencies_add(struct latencies *latencies, double seconds)
{
    if (latencies->count == latencies->room) {
        latencies->room = latencies->room ? 2 * latencies->room : 1024;
        latencies->seconds = realloc(latencies->seconds, latencies->room * sizeof(double));
        CHECK(latencies->seconds != NULL);
    }
    latencies->seconds[latencies->count++] = seconds;
}

static inline int latencies_compare(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

/* The one that 99 % do not pass. */
static inline double latencies_p99(struct latencies *latencies)
{
    CHECK(latencies->count > 0);
    qsort(latencies->seconds, latencies->count, sizeof(double), latencies_compare);
    return latencies->seconds[(latencies->count - 1) * 99 / 100];
}

static inline void latencies_free(struct latencies *latencies)
{
    free(latencies->seconds);
    *latencies = (struct latencies){ 0 };
}

/* ---- bytes ---- */

#define HASH_START 14695981039346656037u

/* FNV-1a. */
static inline uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ at[i]) * 1099511628211u;
    return hash;
}

/* The same bytes at the same place of each stream, of a period that divides no buffer's size. */
static inline void fill_bytes(unsigned char *bytes, size_t size, uint64_t place)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(((place + i) % 251) ^ ((place + i) / 65521));
}

#endif
