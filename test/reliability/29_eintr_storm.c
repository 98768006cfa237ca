/*
 * Check 29: an alarm every millisecond, whose handler does not let system calls go on by themselves
 * (no SA_RESTART), while a hundred thousand operations are done on sockets: not one of them ends
 * with an error, nothing is lost, and no timer runs too early.
 */
#include "harness.h"

#include <cora.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define OPERATIONS 100000

static volatile sig_atomic_t alarms;

static void on_alarm(int number)
{
    (void)number;
    alarms++;
}

static void storm_begin(void)
{
    const struct sigaction action = { .sa_handler = on_alarm };
    const int period = harness_under_valgrind() ? 50000 : 1000; /* or it comes to nothing else */
    const struct itimerval often = { { 0, period }, { 0, period } };
    alarms = 0;
    CHECK_INT(sigaction(SIGALRM, &action, NULL), 0);
    CHECK_INT(setitimer(ITIMER_REAL, &often, NULL), 0);
}

/* There were some; a few rounds in valgrind may be over before. */
static void storm_end(void)
{
    const struct itimerval never = { { 0, 0 }, { 0, 0 } };
    CHECK_INT(setitimer(ITIMER_REAL, &never, NULL), 0);
    CHECK(alarms > 0 || harness_under_valgrind());
}

static cora_loop loop_new(void)
{
    cora_loop loop = cora_loop_new(NULL);
    cora_set_current_loop(loop);
    return loop;
}

static void loop_end(cora_loop loop)
{
    cora_set_current_loop((cora_loop){ 0 });
    CHECK_INT(cora_loop_close(loop), 0);
}

static void pair_new(int *ret_ends)
{
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ret_ends), 0);
}

/* ---- two that toss a ball with operations on sockets ---- */

struct tossing {
    cora_loop loop;
    int left; /* operations */
};

struct player {
    struct tossing *tossing;
    int socket;
};

static void caught(cora_args bound, cora_future done);

static void tossed(cora_args bound, cora_future done)
{
    struct player *player = cora_arg(bound, 0, struct player *);
    CHECK(cora_is_nothing(cora_result(done)));
    cora_when_done(cora_sock_recv(player->socket, 16), cora_partial(caught, player));
}

static void toss(struct player *player)
{
    player->tossing->left--;
    cora_when_done(cora_sock_sendall(player->socket, "ball", 4), cora_partial(tossed, player));
}

static void caught(cora_args bound, cora_future done)
{
    struct player *player = cora_arg(bound, 0, struct player *);
    size_t size;
    const void *bytes = cora_as_bytes(cora_result(done), &size);
    CHECK_INT(size, 4);
    CHECK_INT(memcmp(bytes, "ball", 4), 0);
    if (--player->tossing->left <= 0)
        cora_stop(player->tossing->loop);
    else
        toss(player);
}

TEST_WITH_LIMIT(60, sockets, "operations on sockets do not see interruptions")
{
    struct tossing tossing = { .loop = loop_new(), .left = harness_scale(OPERATIONS) };
    int ends[2];
    pair_new(ends);
    struct player one = { &tossing, ends[0] }, other = { &tossing, ends[1] };
    storm_begin();
    cora_when_done(cora_sock_recv(other.socket, 16), cora_partial(caught, &other));
    toss(&one);
    CHECK_INT(cora_run_forever(tossing.loop), 0);
    storm_end();
    CHECK(tossing.left <= 0);
    loop_end(tossing.loop);
    close(ends[0]);
    close(ends[1]);
}

/* ---- the same with transports ---- */

static void came(void *self, cora_transport transport, const void *bytes, size_t size)
{
    struct tossing *tossing = self;
    CHECK_INT(size, 4);
    CHECK_INT(memcmp(bytes, "ball", 4), 0);
    if (--tossing->left <= 0)
        cora_stop(tossing->loop);
    else
        CHECK_INT(cora_transport_write(transport, bytes, size), 0);
    tossing->left--;
}

static void lost(void *self, cora_transport transport, cora_value error)
{
    (void)self, (void)transport;
    CHECK(cora_is_nothing(error));
}

static cora_protocol player_new(cora_args bound)
{
    static const struct cora_protocol_type type = { .name = "Player",
                                                    .data_received = came,
                                                    .connection_lost = lost };
    return (cora_protocol){ &type, cora_arg(bound, 0, struct tossing *) };
}

static void stop(cora_args bound)
{
    cora_stop(cora_arg_loop(bound, 0));
}

TEST_WITH_LIMIT(60, transports, "transports do not see interruptions")
{
    struct tossing tossing = { .loop = loop_new(), .left = harness_scale(OPERATIONS) };
    int ends[2];
    pair_new(ends);
    cora_transport one =
        cora_connect_accepted_socket(tossing.loop, ends[0], cora_partial(player_new, &tossing));
    cora_transport other =
        cora_connect_accepted_socket(tossing.loop, ends[1], cora_partial(player_new, &tossing));
    storm_begin();
    CHECK_INT(cora_transport_write(one, "ball", 4), 0);
    CHECK_INT(cora_run_forever(tossing.loop), 0);
    cora_transport_close(one);
    cora_transport_close(other);
    cora_call_later(tossing.loop, 0.01, cora_partial(stop, tossing.loop));
    CHECK_INT(cora_run_forever(tossing.loop), 0);
    storm_end();
    CHECK(tossing.left <= 0);
    loop_end(tossing.loop);
}

/* ---- a great deal in one direction ---- */

#define PIECE 65536

struct flood {
    cora_loop loop;
    int from, to;
    int left; /* pieces */
    size_t sent, came;
    char piece[PIECE]; /* is sent again and again */
    char memory[4000];
};

static void flood_on(cora_args bound, cora_future done)
{
    struct flood *flood = cora_arg(bound, 0, struct flood *);
    CHECK(cora_is_nothing(cora_result(done)));
    flood->sent += PIECE;
    if (--flood->left > 0)
        cora_when_done(cora_sock_sendall(flood->from, flood->piece, PIECE),
                       cora_partial(flood_on, flood));
    else
        CHECK_INT(shutdown(flood->from, SHUT_WR), 0);
}

static void flood_came(cora_args bound, cora_future done)
{
    struct flood *flood = cora_arg(bound, 0, struct flood *);
    long long size = cora_as_int(cora_result(done));
    for (long long i = 0; i < size; i++)
        CHECK(flood->memory[i] == flood->piece[flood->came++ % PIECE]);
    if (size == 0)
        cora_stop(flood->loop);
    else
        cora_when_done(cora_sock_recv_into(flood->to, flood->memory, sizeof flood->memory),
                       cora_partial(flood_came, flood));
}

TEST_WITH_LIMIT(60, flood, "a flood in many parts loses nothing to interruptions")
{
    static struct flood flood;
    int ends[2];
    pair_new(ends);
    flood = (struct flood){
        .loop = loop_new(), .from = ends[0], .to = ends[1], .left = harness_scale(1000)
    };
    for (size_t i = 0; i < PIECE; i++)
        flood.piece[i] = (char)(i * 31 + i / 251);
    storm_begin();
    cora_when_done(cora_sock_sendall(flood.from, flood.piece, PIECE),
                   cora_partial(flood_on, &flood));
    cora_when_done(cora_sock_recv_into(flood.to, flood.memory, sizeof flood.memory),
                   cora_partial(flood_came, &flood));
    CHECK_INT(cora_run_forever(flood.loop), 0);
    storm_end();
    CHECK_INT(flood.came, flood.sent);
    CHECK_INT(flood.left, 0);
    loop_end(flood.loop);
    close(ends[0]);
    close(ends[1]);
}

/* ---- connections ---- */

struct ferry {
    cora_loop loop;
    int listener, left;
    int ship, berth; /* -1: not yet */
};

static void sail(struct ferry *ferry);

/* Both ends are there: the next crossing. */
static void arrived(struct ferry *ferry)
{
    const struct linger at_once = { 1, 0 }; /* no port is kept for later */
    if (ferry->berth < 0 || ferry->ship < 0)
        return;
    setsockopt(ferry->ship, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(ferry->ship);
    close(ferry->berth);
    if (--ferry->left > 0)
        sail(ferry);
    else
        cora_stop(ferry->loop);
}

static void accepted(cora_args bound, cora_future done)
{
    struct ferry *ferry = cora_arg(bound, 0, struct ferry *);
    ferry->berth = (int)cora_as_int(cora_list_at(cora_result(done), 0));
    CHECK(ferry->berth > 0);
    arrived(ferry);
}

static void connected(cora_args bound, cora_future done)
{
    struct ferry *ferry = cora_arg(bound, 0, struct ferry *);
    CHECK(cora_is_nothing(cora_result(done)));
    ferry->ship = (int)cora_arg_int(bound, 1);
    arrived(ferry);
}

static void sail(struct ferry *ferry)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    int ship = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK(ship >= 0);
    CHECK_INT(getsockname(ferry->listener, (struct sockaddr *)&address, &size), 0);
    ferry->ship = ferry->berth = -1;
    cora_when_done(cora_sock_accept(ferry->listener), cora_partial(accepted, ferry));
    cora_when_done(cora_sock_connect(ship, (struct sockaddr *)&address, size),
                   cora_partial(connected, ferry, ship));
}

TEST_WITH_LIMIT(60, connections, "connecting and accepting do not see interruptions")
{
    struct ferry ferry = { .loop = loop_new(), .left = harness_scale(5000) };
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    ferry.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK_INT(bind(ferry.listener, (struct sockaddr *)&address, sizeof address), 0);
    CHECK_INT(listen(ferry.listener, 8), 0);
    storm_begin();
    sail(&ferry);
    CHECK_INT(cora_run_forever(ferry.loop), 0);
    storm_end();
    loop_end(ferry.loop);
    close(ferry.listener);
}

/* ---- timers among them ---- */

struct clock {
    cora_loop loop;
    int left, early;
};

static void on_time(cora_args bound)
{
    struct clock *clock = cora_arg(bound, 0, struct clock *);
    double now = cora_time(clock->loop), asked = cora_arg_real(bound, 1);
    if (now < asked)
        clock->early++;
    if (--clock->left > 0)
        cora_call_later(clock->loop, 0.0015, cora_partial(on_time, clock, now + 0.0015));
    else
        cora_stop(clock->loop);
}

TEST_WITH_LIMIT(60, timers, "a wait that is interrupted does not end before its time")
{
    struct clock clock = { .loop = loop_new(), .left = 400 };
    storm_begin();
    cora_call_later(clock.loop, 0, cora_partial(on_time, &clock, 0.0));
    CHECK_INT(cora_run_forever(clock.loop), 0);
    storm_end();
    CHECK_INT(clock.early, 0);
    loop_end(clock.loop);
}
