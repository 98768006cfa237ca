/*
 * Check 23: a hundred clients at a server that has no descriptors for all of them. It does not
 * spin: it says so once a second, sleeps meanwhile, and serves all when descriptors return.
 *
 * The clients' sockets are in the same process, but above the limit, which only counts for new
 * ones. They connect before the limit falls: the listener keeps those that nobody accepts.
 */
#include "peers.h"

#define CLIENTS 100
#define LIMIT 64        /* descriptors that the server may have */
#define CLIENT_FROM 200 /* the clients' descriptors are above */
#define STORM 2.5       /* seconds without descriptors */
#define MOST_REPORTS 3  /* at 0, 1 and 2 seconds */

struct storm {
    cora_loop loop;
    int clients[CLIENTS];
    int made;
    int lost;
    int reports;
    double started;
};

static void guest_made(void *self, cora_transport transport)
{
    struct storm *storm = self;
    (void)transport;
    storm->made++;
}

static void guest_lost(void *self, cora_transport transport, cora_value error)
{
    struct storm *storm = self;
    (void)transport;
    CHECK(!cora_is_error(error));
    if (++storm->lost == CLIENTS)
        cora_stop(storm->loop);
}

static const struct cora_protocol_type guest_type = { .name = "Guest",
                                                      .connection_made = guest_made,
                                                      .data_received = peers_echo_received,
                                                      .connection_lost = guest_lost };

static cora_protocol make_guest(cora_args bound)
{
    return (cora_protocol){ &guest_type, cora_arg(bound, 0, struct storm *) };
}

static void on_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    struct storm *storm = cora_arg(bound, 0, struct storm *);
    double now = cora_time(loop);
    CHECK_TEXT(report->message, "socket.accept() out of system resource");
    CHECK_INT(cora_error_code(report->exception), -EMFILE);
    CHECK(now - storm->started >= storm->reports); /* a second is never shorter */
    storm->reports++;
}

static void stop(cora_args bound)
{
    cora_stop(cora_arg_loop(bound, 0));
}

static void limit_descriptors(rlim_t count)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = count;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* Each has said something, and waits for the echo. */
static void clients_connect(struct storm *storm, int port)
{
    for (int i = 0; i < CLIENTS; i++) {
        int low = peers_connect(port);
        storm->clients[i] = fcntl(low, F_DUPFD_CLOEXEC, CLIENT_FROM);
        CHECK(storm->clients[i] >= CLIENT_FROM);
        close(low);
        CHECK_INT(send(storm->clients[i], "x", 1, MSG_NOSIGNAL), 1);
        CHECK_INT(shutdown(storm->clients[i], SHUT_WR), 0);
    }
}

/* Whether each has its echo, and then the end; closes them. */
static void clients_leave(struct storm *storm)
{
    char answer[2];
    for (int i = 0; i < CLIENTS; i++) {
        CHECK_INT(recv(storm->clients[i], answer, 2, MSG_WAITALL), 1);
        CHECK_INT(answer[0], 'x');
        close(storm->clients[i]);
    }
}

/* A loop whose server has a hundred clients, and descriptors for some; or for none, as all below
 * the limit are taken. */
static void storm_start(struct storm *storm)
{
    if (harness_under_valgrind())
        SKIP("valgrind keeps the limit itself: it accepts a connection, and closes it");
    peers_need_descriptors(CLIENT_FROM + CLIENTS + LIMIT);
    *storm = (struct storm){ .loop = cora_loop_new(NULL) };
    cora_set_exception_handler(storm->loop, cora_partial(on_report, storm));
    cora_server server = peers_serve(storm->loop, 2 * CLIENTS, cora_partial(make_guest, storm));
    clients_connect(storm, cora_server_port(server));
    limit_descriptors(LIMIT);
    storm->started = cora_time(storm->loop);
}

static int take_all_descriptors(int taken[LIMIT])
{
    int count = 0, descriptor;
    while ((descriptor = dup(STDOUT_FILENO)) >= 0)
        taken[count++] = descriptor;
    CHECK_INT(errno, EMFILE);
    return count;
}

TEST_WITH_LIMIT(30, descriptors_run_out,
                "a server without descriptors reports it once a second, and sleeps meanwhile",
                "test_base_events.BaseEventLoopWithSelectorTests.test_accept_connection_exception")
{
    static struct storm storm;
    int taken[LIMIT];
    storm_start(&storm);
    int count = take_all_descriptors(taken);
    double started = harness_processor_time();
    cora_call_later(storm.loop, STORM, cora_partial(stop, storm.loop));
    CHECK_INT(cora_run_forever(storm.loop), 0);
    double took = harness_processor_time() - started;
    CHECK(storm.reports >= 1);
    CHECK(storm.reports <= MOST_REPORTS);
    CHECK_INT(storm.made, 0);
    CHECK(took < (harness_sanitized() ? 0.5 : 0.05) * STORM);
    while (count > 0)
        close(taken[--count]);
    limit_descriptors(CLIENT_FROM);
    CHECK_INT(cora_run_forever(storm.loop), 0); /* until all are lost */
    CHECK_INT(storm.made, CLIENTS);
    clients_leave(&storm);
    cora_loop_close(storm.loop);
}

TEST_WITH_LIMIT(30, descriptors_are_used_again,
                "a server with descriptors for half of its clients serves all, one half at a time")
{
    static struct storm storm;
    storm_start(&storm);
    CHECK_INT(cora_run_forever(storm.loop), 0);
    CHECK(storm.reports >= 1);
    CHECK_INT(storm.made, CLIENTS);
    CHECK_INT(storm.lost, CLIENTS);
    limit_descriptors(CLIENT_FROM);
    clients_leave(&storm);
    cora_loop_close(storm.loop);
}
