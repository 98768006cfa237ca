/*
 * Check 26: two hundred peers that send one byte a second, and never a whole line, at a server that
 * gives each connection a deadline: all are closed in time, and a normal client beside them gets
 * its answers quickly.
 *
 * The clock is virtual: a minute of dripping takes no time, and how late a deadline is does not
 * depend on the machine. The normal client's latency counts by processor time.
 */
#include "peers.h"

#include <cora/virtual_clock.h>

#define DRIPS 200
#define DEADLINE 30.0
#define LATEST 1.0 /* seconds after the deadline */
#define DRIP_PERIOD 1.0
#define PING_PERIOD 0.01
#define QUICK 0.05 /* seconds, for 99 % of the answers */
#define SPARE 64

struct desk {
    cora_loop loop;
    int drips[DRIPS];
    int dripping; /* connections of drips that are left */
    double worst; /* the longest life of one of them */
    int client;   /* the normal one */
    double asked;
    struct latencies answers;
};

/* A connection of the server's. */
struct caller {
    struct desk *desk;
    cora_transport transport;
    cora_handle deadline; /* that of the line which is not complete */
    double since;
    bool complete; /* it has sent a line */
};

static void hang_up(cora_args bound)
{
    cora_transport_abort(cora_arg_transport(bound, 0));
}

static void wait_for_line(struct caller *caller)
{
    caller->since = cora_time(caller->desk->loop);
    caller->deadline =
        cora_call_later(caller->desk->loop, DEADLINE, cora_partial(hang_up, caller->transport));
}

static void caller_made(void *self, cora_transport transport)
{
    struct caller *caller = self;
    caller->transport = transport;
    wait_for_line(caller);
}

/* A whole line is answered, and gives the next one its own deadline. */
static void caller_received(void *self, cora_transport transport, const void *bytes, size_t size)
{
    struct caller *caller = self;
    if (!memchr(bytes, '\n', size))
        return;
    caller->complete = true;
    cora_transport_write(transport, "yes\n", 4);
    cora_handle_cancel(caller->deadline);
    wait_for_line(caller);
}

static void caller_lost(void *self, cora_transport transport, cora_value error)
{
    struct caller *caller = self;
    struct desk *desk = caller->desk;
    double life = cora_time(desk->loop) - caller->since;
    (void)transport;
    CHECK(!cora_is_error(error));
    cora_handle_cancel(caller->deadline);
    if (caller->complete)
        return;
    CHECK(life >= DEADLINE);
    desk->worst = life > desk->worst ? life : desk->worst;
    if (--desk->dripping == 0)
        cora_stop(desk->loop);
}

static const struct cora_protocol_type caller_type = { .name = "Caller",
                                                       .connection_made = caller_made,
                                                       .data_received = caller_received,
                                                       .connection_lost = caller_lost,
                                                       .drop = free };

static cora_protocol make_caller(cora_args bound)
{
    struct caller *caller = calloc(1, sizeof *caller);
    CHECK(caller != NULL);
    caller->desk = cora_arg(bound, 0, struct desk *);
    return (cora_protocol){ &caller_type, caller };
}

/* ---- the peers ---- */

static void drip(cora_args bound)
{
    struct desk *desk = cora_arg(bound, 0, struct desk *);
    for (int i = 0; i < DRIPS; i++)
        send(desk->drips[i], "y", 1, MSG_NOSIGNAL); /* fails when the server has hung up */
    cora_call_later(desk->loop, DRIP_PERIOD, cora_partial(drip, desk));
}

static void ask(cora_args bound)
{
    struct desk *desk = cora_arg(bound, 0, struct desk *);
    desk->asked = harness_processor_time();
    CHECK_INT(send(desk->client, "open?\n", 6, MSG_NOSIGNAL), 6);
}

static void on_answer(cora_args bound)
{
    struct desk *desk = cora_arg(bound, 0, struct desk *);
    char answer[8];
    CHECK_INT(recv(desk->client, answer, sizeof answer, MSG_DONTWAIT), 4);
    latencies_add(&desk->answers, harness_processor_time() - desk->asked);
    cora_call_later(desk->loop, PING_PERIOD, cora_partial(ask, desk));
}

TEST_WITH_LIMIT(60, slowloris,
                "two hundred dripping peers are closed at their deadline, and delay nobody else")
{
    static struct desk desk;
    peers_need_descriptors(2 * DRIPS + SPARE);
    peers_need_backlog(2 * DRIPS);
    cora_virtual_clock_start(1000);
    desk = (struct desk){ .loop = cora_loop_new(NULL), .dripping = DRIPS };
    int port =
        cora_server_port(peers_serve(desk.loop, 2 * DRIPS, cora_partial(make_caller, &desk)));
    for (int i = 0; i < DRIPS; i++)
        desk.drips[i] = peers_connect(port);
    desk.client = peers_connect(port);
    cora_add_reader(desk.loop, desk.client, cora_partial(on_answer, &desk));
    cora_call_soon(desk.loop, cora_partial(ask, &desk));
    cora_call_soon(desk.loop, cora_partial(drip, &desk));
    CHECK_INT(cora_run_forever(desk.loop), 0);
    CHECK(desk.worst <= DEADLINE + LATEST);
    CHECK(desk.answers.count >= (size_t)(DEADLINE / PING_PERIOD) / 2);
    CHECK(latencies_p99(&desk.answers) < QUICK);
    cora_remove_reader(desk.loop, desk.client);
    cora_loop_close(desk.loop);
    for (int i = 0; i < DRIPS; i++)
        close(desk.drips[i]);
    close(desk.client);
    latencies_free(&desk.answers);
    cora_virtual_clock_stop();
}
