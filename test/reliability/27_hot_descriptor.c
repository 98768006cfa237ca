/*
 * Check 27: a connection that always has something to read does not keep others from their turn.
 *
 * A child sends as fast as it can, so that a server which read until nothing is there would hardly
 * come to an end. The pingers' latency counts by the processor time of the loop's process.
 */
#include "peers.h"

#include <ev.h>
#include <signal.h>
#include <sys/wait.h>

#define PINGERS 50
#define PINGS 100  /* of each */
#define QUICK 0.02 /* seconds of processor time, for 99 % of the pings */
#define MOST_READ 262144
#define READS 1000
#define SPARE 64

struct harbour {
    cora_loop loop;
    pid_t hose;         /* the child */
    bool is_first_made; /* the connection of the hose comes first */
    long reads;         /* of the hose */
    size_t largest;
    unsigned turn;   /* in which the last of them was */
    bool read_twice; /* in one turn */
    int pinging;     /* pingers that are left */
    struct latencies pings;
};

struct pinger {
    struct harbour *harbour;
    int left;
    double started;
};

/* ---- the hose ---- */

static pid_t hose_start(int port)
{
    static char water[1 << 20];
    pid_t child = fork();
    CHECK(child >= 0);
    if (child > 0)
        return child;
    int hose = peers_connect(port);
    while (send(hose, water, sizeof water, MSG_NOSIGNAL) > 0)
        continue;
    _exit(0);
}

static void hose_end(pid_t child)
{
    CHECK_INT(kill(child, SIGKILL), 0);
    CHECK_INT(waitpid(child, NULL, 0), child);
}

static void hose_received(void *self, cora_transport transport, const void *bytes, size_t size)
{
    struct harbour *harbour = self;
    unsigned turn = ev_iteration(cora_loop_ev(harbour->loop));
    (void)transport;
    (void)bytes;
    harbour->read_twice |= harbour->reads > 0 && turn == harbour->turn;
    harbour->turn = turn;
    harbour->largest = size > harbour->largest ? size : harbour->largest;
    if (++harbour->reads == READS && harbour->pinging == 0)
        cora_stop(harbour->loop);
}

static const struct cora_protocol_type hose_type = { .name = "Hose",
                                                     .data_received = hose_received };

/* The hose connects first, all others get echoes. */
static cora_protocol make_berth(cora_args bound)
{
    struct harbour *harbour = cora_arg(bound, 0, struct harbour *);
    if (harbour->is_first_made)
        return (cora_protocol){ &peers_echo_type, NULL };
    harbour->is_first_made = true;
    cora_stop(harbour->loop);
    return (cora_protocol){ &hose_type, harbour };
}

/* A loop with a server and a hose that is connected; the server's port. */
static int harbour_start(struct harbour *harbour)
{
    peers_need_descriptors(2 * PINGERS + SPARE);
    *harbour = (struct harbour){ .loop = cora_loop_new(NULL) };
    int port = cora_server_port(peers_serve(harbour->loop, 0, cora_partial(make_berth, harbour)));
    harbour->hose = hose_start(port);
    CHECK_INT(cora_run_forever(harbour->loop), 0);
    return port;
}

/* ---- the pingers ---- */

static void ping(struct pinger *pinger, cora_transport transport)
{
    pinger->started = harness_processor_time();
    CHECK_INT(cora_transport_write(transport, "p", 1), 0);
}

static void pinger_made(void *self, cora_transport transport)
{
    ping(self, transport);
}

static void pinger_received(void *self, cora_transport transport, const void *bytes, size_t size)
{
    struct pinger *pinger = self;
    (void)bytes;
    CHECK_INT(size, 1);
    latencies_add(&pinger->harbour->pings, harness_processor_time() - pinger->started);
    if (--pinger->left > 0)
        ping(pinger, transport);
    else if (--pinger->harbour->pinging == 0)
        cora_stop(pinger->harbour->loop);
}

static const struct cora_protocol_type pinger_type = { .name = "Pinger",
                                                       .connection_made = pinger_made,
                                                       .data_received = pinger_received };

static cora_protocol make_pinger(cora_args bound)
{
    return (cora_protocol){ &pinger_type, cora_arg(bound, 0, struct pinger *) };
}

static void on_connected(cora_args bound, cora_value outcome)
{
    (void)bound;
    CHECK(!cora_is_error(outcome));
}

TEST_WITH_LIMIT(60, hot_reads, "a connection is read once in a turn, and at most 256 KiB")
{
    struct harbour harbour;
    harbour_start(&harbour);
    CHECK_INT(cora_run_forever(harbour.loop), 0);
    CHECK_INT(harbour.reads, READS);
    CHECK(!harbour.read_twice);
    CHECK(harbour.largest <= MOST_READ);
    hose_end(harbour.hose);
    cora_loop_close(harbour.loop);
}

TEST_WITH_LIMIT(60, hot_pings,
                "beside a connection that always sends, 99 % of the pings of fifty take 20 ms")
{
    struct harbour harbour;
    static struct pinger pingers[PINGERS];
    int port = harbour_start(&harbour);
    harbour.pinging = PINGERS;
    for (int i = 0; i < PINGERS; i++) {
        pingers[i] = (struct pinger){ .harbour = &harbour, .left = harness_scale(PINGS) };
        cora_connect(harbour.loop,
                     &(struct cora_connect_options){ .host = "127.0.0.1", .port = port },
                     cora_partial(make_pinger, &pingers[i]), cora_partial(on_connected));
    }
    CHECK_INT(cora_run_forever(harbour.loop), 0);
    CHECK(harbour.reads > 0);
    CHECK_INT(harbour.pings.count, PINGERS * harness_scale(PINGS));
    CHECK(latencies_p99(&harbour.pings) < (harness_under_valgrind() ? 50 * QUICK : QUICK));
    hose_end(harbour.hose);
    cora_loop_close(harbour.loop);
    latencies_free(&harbour.pings);
}
