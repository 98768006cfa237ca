/*
 * Check 30: four states of a connection, and two ways in which its peer ends it: connection_lost
 * comes exactly once, with the error that the system tells, and the protocol is dropped once.
 *
 * What the peer does has arrived when its call returns, so each test is one story without waiting;
 * after the end it runs some more ticks, in which nothing may come.
 *
 * A peer that closes with unread bytes sends a reset. One that has half closed and then goes is
 * only met by writing, as nobody reads any more; the system then says EPIPE.
 */
#include "peers.h"

#define TICKS 50
#define BUFFERS 16384
#define MUCH ((size_t)1 << 20) /* more than all buffers together */

struct line {
    cora_loop loop;
    cora_transport transport;
    int peer;
    bool keeps_half_open;
    int eofs;
    int losses;
    int drops;
    int error; /* of connection_lost; 0: none */
};

static void line_made(void *self, cora_transport transport)
{
    struct line *line = self;
    line->transport = transport;
}

static bool line_eof(void *self, cora_transport transport)
{
    struct line *line = self;
    (void)transport;
    CHECK_INT(line->losses, 0);
    line->eofs++;
    return line->keeps_half_open;
}

static void line_lost(void *self, cora_transport transport, cora_value error)
{
    struct line *line = self;
    (void)transport;
    CHECK_INT(line->drops, 0);
    line->losses++;
    line->error = cora_is_error(error) ? -cora_error_code(error) : 0;
}

static void line_drop(void *self)
{
    struct line *line = self;
    CHECK_INT(line->losses, 1);
    line->drops++;
}

static const struct cora_protocol_type line_type = { .name = "Line",
                                                     .connection_made = line_made,
                                                     .eof_received = line_eof,
                                                     .connection_lost = line_lost,
                                                     .drop = line_drop };

static cora_protocol make_line(cora_args bound)
{
    return (cora_protocol){ &line_type, cora_arg(bound, 0, struct line *) };
}

/* A connection on which nothing has been said. */
static struct line *line_start(bool keeps_half_open)
{
    static struct line line;
    int ours;
    line = (struct line){ .keeps_half_open = keeps_half_open };
    line.loop = cora_loop_new(&(struct cora_loop_options){ .poll_every_tick = true });
    peers_pair(BUFFERS, &ours, &line.peer);
    cora_connect_accepted_socket(line.loop, ours, cora_partial(make_line, &line));
    peers_run_ticks(line.loop, 2);
    CHECK(!cora_is_null(line.transport));
    return &line;
}

/* More than goes out waits to be sent. */
static void write_much(struct line *line)
{
    static char bytes[MUCH];
    CHECK_INT(cora_transport_write(line->transport, bytes, sizeof bytes), 0);
    CHECK(cora_transport_get_write_buffer_size(line->transport) > 0);
}

/* It is over with this error, and all is told that there is to tell. */
static void check_lost(struct line *line, int eofs, int error)
{
    peers_run_ticks(line->loop, TICKS);
    CHECK_INT(line->losses, 1);
    CHECK_INT(line->error, error);
    CHECK_INT(line->eofs, eofs);
    CHECK_INT(line->drops, 1);
    CHECK_INT(cora_transport_write(line->transport, "?", 1), CORA_ESTALE);
    CHECK_INT(cora_live(line->loop), 0);
    cora_loop_close(line->loop);
    CHECK_INT(line->losses, 1);
    CHECK_INT(line->drops, 1);
}

TEST(open_and_close, "the peer of an open connection closes: connection_lost without an error")
{
    struct line *line = line_start(false);
    CHECK_INT(close(line->peer), 0);
    check_lost(line, 1, 0);
}

TEST(open_and_reset, "the peer of an open connection resets it: ECONNRESET")
{
    struct line *line = line_start(false);
    peers_close_with_reset(line->peer);
    check_lost(line, 0, ECONNRESET);
}

/* The peer has half closed, and still gets what is written. */
static struct line *line_with_peer_half_closed(void)
{
    struct line *line = line_start(true);
    char answer;
    CHECK_INT(shutdown(line->peer, SHUT_WR), 0);
    peers_run_ticks(line->loop, TICKS);
    CHECK_INT(line->eofs, 1);
    CHECK_INT(line->losses, 0);
    CHECK_INT(cora_transport_write(line->transport, "!", 1), 0);
    CHECK_INT(recv(line->peer, &answer, 1, 0), 1);
    return line;
}

TEST(half_closed_and_close, "a peer that half closed, then closed, is missed by writing: EPIPE")
{
    struct line *line = line_with_peer_half_closed();
    CHECK_INT(close(line->peer), 0);
    CHECK_INT(cora_transport_write(line->transport, "a", 1), 0); /* answered by a reset */
    peers_run_ticks(line->loop, TICKS);
    CHECK_INT(line->losses, 0);
    CHECK_INT(cora_transport_write(line->transport, "b", 1), 0);
    CHECK_INT(line->losses, 0); /* never inside the call */
    check_lost(line, 1, EPIPE);
}

TEST(half_closed_and_reset, "a peer that half closed, then reset, is missed by writing: EPIPE")
{
    struct line *line = line_with_peer_half_closed();
    peers_close_with_reset(line->peer);
    peers_run_ticks(line->loop, TICKS);
    CHECK_INT(line->losses, 0);
    CHECK_INT(cora_transport_write(line->transport, "a", 1), 0);
    CHECK_INT(line->losses, 0);
    check_lost(line, 1, EPIPE);
}

/* We have half closed: the peer has seen the end. */
static struct line *line_half_closed_by_us(void)
{
    struct line *line = line_start(false);
    char answer;
    CHECK_INT(cora_transport_write_eof(line->transport), 0);
    peers_run_ticks(line->loop, TICKS);
    CHECK_INT(recv(line->peer, &answer, 1, 0), 0);
    CHECK_INT(line->losses, 0);
    return line;
}

TEST(write_eof_and_close, "after our write_eof the peer closes: connection_lost without an error")
{
    struct line *line = line_half_closed_by_us();
    CHECK_INT(close(line->peer), 0);
    check_lost(line, 1, 0);
}

TEST(write_eof_and_reset, "after our write_eof the peer resets: ECONNRESET")
{
    struct line *line = line_half_closed_by_us();
    peers_close_with_reset(line->peer);
    check_lost(line, 0, ECONNRESET);
}

TEST(writing_and_close, "the peer closes and has not read what is being written: ECONNRESET")
{
    struct line *line = line_start(false);
    write_much(line);
    CHECK_INT(close(line->peer), 0);
    check_lost(line, 0, ECONNRESET);
}

TEST(writing_and_reset, "the peer resets while much is being written: ECONNRESET")
{
    struct line *line = line_start(false);
    write_much(line);
    peers_close_with_reset(line->peer);
    check_lost(line, 0, ECONNRESET);
}
