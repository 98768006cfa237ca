/*
 * Check 4: a loop with a thousand connections on which nothing happens sleeps: it wakes less than
 * five times in a second, and takes less than half a percent of the processor.
 */
#include "peers.h"

#include <ev.h>

#define PARKED 1000
#define BATCH 100
#define SECONDS 1.0
#define SPARE 64 /* descriptors besides the connections */

struct quay {
    cora_loop loop;
    int peers[PARKED];
    int moored; /* connections that the server has */
    int wanted;
};

static void boat_made(void *self, cora_transport transport)
{
    struct quay *quay = self;
    (void)transport;
    if (++quay->moored == quay->wanted)
        cora_stop(quay->loop);
}

static const struct cora_protocol_type boat_type = { .name = "Boat",
                                                     .connection_made = boat_made,
                                                     .data_received = peers_echo_received };

static cora_protocol make_boat(cora_args bound)
{
    return (cora_protocol){ &boat_type, cora_arg(bound, 0, struct quay *) };
}

static void stop(cora_args bound)
{
    cora_stop(cora_arg_loop(bound, 0));
}

/* Each batch fits into the listener's queue. */
static void moor(struct quay *quay, int port)
{
    while (quay->moored < PARKED) {
        quay->wanted = quay->moored + BATCH;
        for (int i = quay->moored; i < quay->wanted; i++)
            quay->peers[i] = peers_connect(port);
        CHECK_INT(cora_run_forever(quay->loop), 0);
    }
}

static void check_echo(struct quay *quay, int i)
{
    char answer;
    CHECK_INT(send(quay->peers[i], "o", 1, MSG_NOSIGNAL), 1);
    peers_run_ticks(quay->loop, 200);
    CHECK_INT(recv(quay->peers[i], &answer, 1, MSG_DONTWAIT), 1);
}

TEST_WITH_LIMIT(60, idle_cost,
                "a thousand parked connections wake the loop less than five times in a second")
{
    static struct quay quay;
    peers_need_descriptors(2 * PARKED + SPARE);
    quay.loop = cora_loop_new(NULL);
    moor(&quay, cora_server_port(peers_serve(quay.loop, BATCH, cora_partial(make_boat, &quay))));
    cora_call_later(quay.loop, SECONDS, cora_partial(stop, quay.loop));
    unsigned polls = ev_iteration(cora_loop_ev(quay.loop));
    double started = harness_processor_time();
    CHECK_INT(cora_run_forever(quay.loop), 0);
    double took = harness_processor_time() - started;
    CHECK(ev_iteration(cora_loop_ev(quay.loop)) - polls < 5);
    CHECK(took < (harness_under_valgrind() || harness_sanitized() ? 0.05 : 0.005) * SECONDS);
    check_echo(&quay, 0); /* and they live */
    check_echo(&quay, PARKED - 1);
    cora_loop_close(quay.loop);
    for (int i = 0; i < PARKED; i++)
        close(quay.peers[i]);
}
