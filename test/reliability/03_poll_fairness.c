/*
 * Check 3: callbacks that queue themselves again and again leave the descriptors their turn: a
 * client beside them gets its echoes.
 *
 * Client and server are in the one loop. A loop that skipped polls for long would show in the
 * processor time of a round trip; one that never polled would not end.
 */
#include "peers.h"

struct ferry {
    cora_loop loop;
    cora_transport transport;
    struct latencies crossings;
    int left;
    double departed;
    double work;  /* processor time that each callback of the chain takes */
    long chained; /* callbacks of the chain */
};

static void chain(cora_args bound)
{
    struct ferry *ferry = cora_arg(bound, 0, struct ferry *);
    ferry->chained++;
    cora_call_soon(ferry->loop, cora_partial(chain, ferry));
    for (double end = harness_processor_time() + ferry->work;
         ferry->work > 0 && harness_processor_time() < end;)
        continue;
}

static void depart(struct ferry *ferry)
{
    ferry->departed = harness_processor_time();
    CHECK_INT(cora_transport_write(ferry->transport, "ahoy", 4), 0);
}

static void ferry_made(void *self, cora_transport transport)
{
    struct ferry *ferry = self;
    ferry->transport = transport;
    depart(ferry);
}

static void ferry_received(void *self, cora_transport transport, const void *bytes, size_t size)
{
    struct ferry *ferry = self;
    (void)bytes;
    CHECK_INT(size, 4);
    latencies_add(&ferry->crossings, harness_processor_time() - ferry->departed);
    if (--ferry->left > 0)
        depart(ferry);
    else
        cora_transport_close(transport);
}

static void ferry_lost(void *self, cora_transport transport, cora_value error)
{
    struct ferry *ferry = self;
    (void)transport;
    CHECK(!cora_is_error(error));
    cora_stop(ferry->loop);
}

static const struct cora_protocol_type ferry_type = { .name = "Ferry",
                                                      .connection_made = ferry_made,
                                                      .data_received = ferry_received,
                                                      .connection_lost = ferry_lost };

static cora_protocol make_ferry(cora_args bound)
{
    return (cora_protocol){ &ferry_type, cora_arg(bound, 0, struct ferry *) };
}

static void on_connected(cora_args bound, cora_value outcome)
{
    (void)bound;
    CHECK(!cora_is_error(outcome));
}

static void cross(int crossings, double work, double limit)
{
    struct ferry ferry = { .loop = cora_loop_new(NULL), .left = crossings, .work = work };
    cora_server server = peers_serve(ferry.loop, 0, cora_partial(peers_echo));
    cora_connect(
        ferry.loop,
        &(struct cora_connect_options){ .host = "127.0.0.1", .port = cora_server_port(server) },
        cora_partial(make_ferry, &ferry), cora_partial(on_connected));
    cora_call_soon(ferry.loop, cora_partial(chain, &ferry));
    CHECK_INT(cora_run_forever(ferry.loop), 0);
    CHECK_INT(ferry.crossings.count, crossings);
    CHECK(ferry.chained >= crossings);
    CHECK(latencies_p99(&ferry.crossings) < limit);
    cora_loop_close(ferry.loop);
    latencies_free(&ferry.crossings);
}

TEST_WITH_LIMIT(60, fair_to_descriptors,
                "beside a chain of short callbacks 99 % of the echoes come within 20 ms")
{
    cross(harness_scale(5000), 0, 0.02);
}

TEST_WITH_LIMIT(60, fair_between_slow_callbacks,
                "beside a chain of callbacks of 1 ms 99 % of the echoes come within 20 ms")
{
    if (harness_under_valgrind())
        SKIP("valgrind makes the round trip itself take so long");
    cross(100, 1e-3, 0.02);
}
