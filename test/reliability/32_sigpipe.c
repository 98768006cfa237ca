/*
 * Check 32: with the default disposition of SIGPIPE, which ends the process, writing to a peer that
 * is gone is an error of the operation or of the connection, and the process lives: over TCP and
 * over a pair of this machine's own, by each way to write that there is.
 *
 * A test that is ended by the signal is told as such by the harness.
 */
#include "harness.h"

#include <cora.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- dead peers ---- */

struct pair {
    int near, far;
};

static struct pair local_pair(void)
{
    int ends[2];
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    return (struct pair){ ends[0], ends[1] };
}

static struct pair tcp_pair(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct pair pair = { .near = socket(AF_INET, SOCK_STREAM, 0) };
    CHECK_INT(bind(listener, (struct sockaddr *)&address, size), 0);
    CHECK_INT(listen(listener, 1), 0);
    CHECK_INT(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    CHECK_INT(connect(pair.near, (struct sockaddr *)&address, size), 0);
    pair.far = accept(listener, NULL, NULL);
    CHECK(pair.far >= 0);
    CHECK_INT(close(listener), 0);
    return pair;
}

/* How a peer dies: it closes with nothing unread, or is reset; both are known here then. */
enum death {
    CLOSES,
    RESETS,
    DEATHS,
};

static void peer_dies(struct pair pair, enum death death)
{
    const struct linger at_once = { 1, 0 };
    struct pollfd end = { .fd = pair.near, .events = POLLIN };
    if (death == RESETS)
        setsockopt(pair.far, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    CHECK_INT(close(pair.far), 0);
    CHECK_INT(poll(&end, 1, -1), 1);
}

static cora_loop loop_new(void)
{
    cora_loop loop = cora_loop_new(NULL);
    CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    cora_set_current_loop(loop);
    return loop;
}

static void loop_end(cora_loop loop)
{
    cora_set_current_loop((cora_loop){ 0 });
    CHECK_INT(cora_loop_close(loop), 0);
}

static bool is_of_dead_peer(int code)
{
    return code == -EPIPE || code == -ECONNRESET;
}

/* ---- operations on sockets ---- */

TEST(sendall, "sendall to a dead peer ends with an error, again and again")
{
    for (int i = 0; i < 2 * DEATHS; i++) {
        cora_loop loop = loop_new();
        struct pair pair = i < DEATHS ? local_pair() : tcp_pair();
        int code = 0;
        peer_dies(pair, (enum death)(i % DEATHS));
        for (int tries = 0; tries < 20 && !is_of_dead_peer(code); tries++)
            code = cora_error_code(
                cora_run_until_complete(loop, cora_sock_sendall(pair.near, "x", 1)));
        CHECK(is_of_dead_peer(code));
        code = cora_error_code(cora_run_until_complete(loop, cora_sock_sendall(pair.near, "x", 1)));
        CHECK_INT(code, -EPIPE);
        close(pair.near);
        loop_end(loop);
    }
}

TEST(sendall_that_waits, "a sendall that waits for room when its peer dies ends with an error")
{
    static const char bytes[1 << 23];
    for (int i = 0; i < 2 * DEATHS; i++) {
        cora_loop loop = loop_new();
        struct pair pair = i < DEATHS ? local_pair() : tcp_pair();
        cora_future waiting =
            cora_ensure_future(loop, cora_sock_sendall(pair.near, bytes, sizeof bytes));
        cora_stop(loop);
        CHECK_INT(cora_run_forever(loop), 0);
        CHECK(!cora_done(waiting));
        peer_dies(pair, (enum death)(i % DEATHS));
        CHECK(is_of_dead_peer(cora_error_code(cora_run_until_complete(loop, waiting))));
        close(pair.near);
        loop_end(loop);
    }
}

/* ---- transports ---- */

struct ship {
    cora_loop loop;
    cora_transport transport;
    int lost;
    int code; /* of what it was lost with */
};

static void on_made(void *self, cora_transport transport)
{
    ((struct ship *)self)->transport = transport;
    CHECK_INT(cora_transport_pause_reading(transport), 0); /* else it would see the end first */
}

static void on_lost(void *self, cora_transport transport, cora_value error)
{
    struct ship *ship = self;
    (void)transport;
    ship->lost++;
    ship->code = cora_error_code(error);
    cora_stop(ship->loop);
}

static cora_protocol ship_new(cora_args bound)
{
    static const struct cora_protocol_type type = { .name = "Ship",
                                                    .connection_made = on_made,
                                                    .connection_lost = on_lost };
    return (cora_protocol){ &type, cora_arg(bound, 0, struct ship *) };
}

/* Each way to write; what it says is no matter: the connection ends with the error. */
static void write_alone(cora_transport transport)
{
    cora_transport_write(transport, "x", 1);
}

static void write_lines(cora_transport transport)
{
    char text[] = "xyz";
    const struct iovec chunks[] = { { text, 1 }, { text + 1, 2 } };
    cora_transport_writelines(transport, chunks, 2);
}

static void write_and_close(cora_transport transport)
{
    cora_transport_write(transport, "x", 1);
    cora_transport_write(transport, "y", 1);
    cora_transport_write_eof(transport);
    cora_transport_close(transport);
}

static void (*const writes[])(cora_transport transport) = { write_alone, write_lines,
                                                            write_and_close };
#define WRITES (sizeof writes / sizeof *writes)

/* What is written goes on until the connection has noticed. */
static void keep_writing(cora_args bound)
{
    struct ship *ship = cora_arg(bound, 0, struct ship *);
    if (ship->lost || cora_transport_is_closing(ship->transport))
        return;
    writes[cora_arg_int(bound, 1)](ship->transport);
    cora_call_later(ship->loop, 0.001, cora_partial(keep_writing, ship, cora_arg_int(bound, 1)));
}

TEST(transports, "writing to a dead peer loses the connection, once, and nothing more")
{
    for (size_t i = 0; i < 2 * DEATHS * WRITES; i++) {
        struct ship ship = { .loop = loop_new() };
        struct pair pair = i < DEATHS * WRITES ? local_pair() : tcp_pair();
        CHECK(!cora_is_null(
            cora_connect_accepted_socket(ship.loop, pair.near, cora_partial(ship_new, &ship))));
        cora_stop(ship.loop);
        CHECK_INT(cora_run_forever(ship.loop), 0);
        peer_dies(pair, (enum death)(i % DEATHS));
        cora_call_soon(ship.loop, cora_partial(keep_writing, &ship, i / DEATHS % WRITES));
        CHECK_INT(cora_run_forever(ship.loop), 0);
        CHECK_INT(ship.lost, 1);
        if (writes[i / DEATHS % WRITES] != write_and_close)
            CHECK(is_of_dead_peer(ship.code));
        CHECK_INT(cora_transport_write(ship.transport, "x", 1), CORA_ESTALE);
        loop_end(ship.loop);
    }
}

TEST(transport_with_buffer, "a connection whose buffer waits for room is lost when its peer dies")
{
    static const char bytes[1 << 23];
    for (int i = 0; i < 2 * DEATHS; i++) {
        struct ship ship = { .loop = loop_new() };
        struct pair pair = i < DEATHS ? local_pair() : tcp_pair();
        CHECK(!cora_is_null(
            cora_connect_accepted_socket(ship.loop, pair.near, cora_partial(ship_new, &ship))));
        cora_stop(ship.loop);
        CHECK_INT(cora_run_forever(ship.loop), 0);
        CHECK_INT(cora_transport_write(ship.transport, bytes, sizeof bytes), 0);
        CHECK(cora_transport_get_write_buffer_size(ship.transport) > 0);
        peer_dies(pair, (enum death)(i % DEATHS));
        CHECK_INT(cora_run_forever(ship.loop), 0);
        CHECK_INT(ship.lost, 1);
        CHECK(is_of_dead_peer(ship.code));
        loop_end(ship.loop);
    }
}
