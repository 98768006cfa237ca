/*
 * Check 24: five thousand connections, in bursts that fill the listener's queue: none is lost, and
 * those that wait are accepted at most backlog + 1 in a turn.
 */
#include "peers.h"

#include <ev.h>
#include <sys/wait.h>

#define BACKLOG 128
#define CONNECTIONS 5000
#define WAITING 400 /* connections that are there at once */
#define SPARE 64

struct gate {
    cora_loop loop;
    int wanted;
    int accepted;
    int lost;
    unsigned turn;  /* the iteration in which the last one was accepted */
    int turn_count; /* those accepted in it */
    int most;       /* of all turns */
};

static void pass_lost(void *self, cora_transport transport, cora_value error)
{
    struct gate *gate = self;
    (void)transport;
    CHECK(!cora_is_error(error));
    if (++gate->lost == gate->wanted)
        cora_stop(gate->loop);
}

static const struct cora_protocol_type pass_type = { .name = "Pass",
                                                     .data_received = peers_echo_received,
                                                     .connection_lost = pass_lost };

static cora_protocol make_pass(cora_args bound)
{
    struct gate *gate = cora_arg(bound, 0, struct gate *);
    unsigned turn = ev_iteration(cora_loop_ev(gate->loop));
    gate->accepted++;
    gate->turn_count = turn == gate->turn ? gate->turn_count + 1 : 1;
    gate->turn = turn;
    gate->most = gate->turn_count > gate->most ? gate->turn_count : gate->most;
    return (cora_protocol){ &pass_type, gate };
}

/* A queue for more than are accepted in a turn: the system lets a listener change it. */
TEST(accept_cap, "of four hundred waiting connections 129 are accepted in a turn, with backlog 128",
     "test_selector_events.BaseSelectorEventLoopTests.test_accept_connection_multiple")
{
    static int peers[WAITING];
    struct gate gate = { .wanted = WAITING };
    peers_need_descriptors(2 * WAITING + SPARE);
    peers_need_backlog(2 * WAITING);
    gate.loop = cora_loop_new(&(struct cora_loop_options){ .poll_every_tick = true });
    cora_server server = peers_serve(gate.loop, BACKLOG, cora_partial(make_pass, &gate));
    CHECK_INT(listen(cora_server_socket(server, 0), 2 * WAITING), 0);
    for (int i = 0; i < WAITING; i++)
        peers[i] = peers_connect(cora_server_port(server));
    peers_run_ticks(gate.loop, 2 + WAITING / BACKLOG);
    CHECK_INT(gate.most, BACKLOG + 1);
    CHECK_INT(gate.accepted, WAITING);
    for (int i = 0; i < WAITING; i++)
        close(peers[i]);
    CHECK_INT(cora_run_forever(gate.loop), 0);
    cora_loop_close(gate.loop);
}

/* The clients, in a process of their own: each asks, gets its answer, and leaves. */
static void visit(int port, int visits)
{
    int burst[BACKLOG], answer;
    while (visits > 0) {
        int count = visits < BACKLOG ? visits : BACKLOG;
        for (int i = 0; i < count; i++)
            burst[i] = peers_connect(port);
        for (int i = 0; i < count; i++)
            CHECK_INT(send(burst[i], &i, sizeof i, MSG_NOSIGNAL), sizeof i);
        for (int i = 0; i < count; i++) {
            CHECK_INT(recv(burst[i], &answer, sizeof answer, MSG_WAITALL), sizeof answer);
            CHECK_INT(answer, i);
            close(burst[i]);
        }
        visits -= count;
    }
}

TEST_WITH_LIMIT(60, accept_all, "of five thousand connections in bursts of 128 none is lost")
{
    struct gate gate = { .loop = cora_loop_new(NULL), .wanted = harness_scale(CONNECTIONS) };
    int status = -1;
    peers_need_descriptors(2 * BACKLOG + SPARE);
    cora_server server = peers_serve(gate.loop, BACKLOG, cora_partial(make_pass, &gate));
    int port = cora_server_port(server);
    pid_t clients = fork();
    CHECK(clients >= 0);
    if (clients == 0) {
        visit(port, gate.wanted);
        _exit(0);
    }
    CHECK_INT(cora_run_forever(gate.loop), 0);
    CHECK_INT(waitpid(clients, &status, 0), clients);
    CHECK_INT(status, 0);
    CHECK_INT(gate.accepted, gate.wanted);
    CHECK(gate.most <= BACKLOG + 1);
    CHECK_INT(cora_server_clients(server), 0);
    cora_loop_close(gate.loop);
}
