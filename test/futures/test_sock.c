/*
 * Operations on plain sockets: recv, recv_into, sendall, connect and accept; first as callbacks,
 * then in steps. What is there is taken in the very call; what is not is waited for, and nothing is
 * taken before the operation ends: so one that is cancelled has lost nothing. Each waits as the
 * socket's reader or writer, and leaves no other's behind.
 *
 * Where ticks are counted the sockets are a pair of this machine's own, which the kernel serves
 * inside the calls; where there are addresses they are of the loopback device.
 */
#include "coroutines.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#define MEGABYTE 1000000

/* ---- sockets ---- */

/* A connected pair: the loop has the near end, the test plays the far one. */
struct pair {
    int near, far;
};

static struct pair pair_new(void)
{
    int ends[2];
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    return (struct pair){ ends[0], ends[1] };
}

static void pair_close(struct pair pair)
{
    close(pair.near);
    close(pair.far);
}

static void put(int socket, const char *text)
{
    CHECK_INT(write(socket, text, strlen(text)), (ssize_t)strlen(text));
}

/* What can be read now, until the next call. */
static const char *take(int socket)
{
    static char text[200];
    ssize_t length = read(socket, text, sizeof text - 1);
    text[length > 0 ? length : 0] = 0;
    return text;
}

/* Sends blanks until there is not even room for one. */
static void fill(int socket)
{
    static const char blanks[4096] = { 0 };
    for (size_t size = sizeof blanks; size > 0; size /= 2)
        while (write(socket, blanks, size) > 0)
            ;
}

static void drain(int socket)
{
    char bytes[4096];
    while (read(socket, bytes, sizeof bytes) > 0)
        ;
}

/* A TCP socket, and an address of the loopback device: port 0 is any. */
static int tcp_new(void)
{
    int made = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(made >= 0);
    return made;
}

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static struct sockaddr_in address_of(int socket)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    CHECK_INT(getsockname(socket, (struct sockaddr *)&address, &size), 0);
    return address;
}

/* One that has an address, and does not listen yet; one that listens. */
static int bound_new(void)
{
    int made = tcp_new();
    struct sockaddr_in address = loopback(0);
    CHECK_INT(bind(made, (struct sockaddr *)&address, sizeof address), 0);
    return made;
}

static int listener_new(void)
{
    int made = bound_new();
    CHECK_INT(listen(made, 8), 0);
    return made;
}

/* To where this socket is bound. */
static cora_awaitable connecting(int socket, int listener)
{
    struct sockaddr_in address = address_of(listener);
    return cora_sock_connect(socket, (struct sockaddr *)&address, sizeof address);
}

/* Waits for the kernel, not for the loop. */
static void wait_for(int socket, short events)
{
    struct pollfd poll_of = { .fd = socket, .events = events };
    CHECK_INT(poll(&poll_of, 1, -1), 1);
}

/* Connects without the loop. */
static void connect_plainly(int socket, int listener)
{
    struct sockaddr_in address = address_of(listener);
    int code = connect(socket, (struct sockaddr *)&address, sizeof address);
    CHECK(code == 0 || errno == EINPROGRESS);
    wait_for(socket, POLLOUT);
    CHECK_INT(connect(socket, (struct sockaddr *)&address, sizeof address), 0);
}

/* A connected TCP pair. */
static struct pair tcp_pair(void)
{
    int listener = listener_new();
    struct pair pair = { .near = tcp_new() };
    connect_plainly(pair.near, listener);
    wait_for(listener, POLLIN);
    pair.far = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    CHECK(pair.far >= 0);
    close(listener);
    return pair;
}

static void set_blocking(int socket)
{
    CHECK_INT(fcntl(socket, F_SETFL, 0), 0);
}

/* ---- what is common ---- */

static void begin(cora_awaitable operation, struct notes *notes)
{
    CHECK(!cora_is_null(cora_when_done(operation, cora_partial(note_outcome, notes))));
}

/* What an operation comes to, as cora_print writes it. */
static const char *came(cora_loop loop, cora_awaitable operation)
{
    static char text[300];
    cora_print(cora_run_until_complete(loop, operation), text, sizeof text);
    return text;
}

/* Whether the socket has a reader, or a writer; it has none then. */
static bool had_watcher(cora_loop loop, int socket)
{
    bool reader = cora_remove_reader(loop, socket), writer = cora_remove_writer(loop, socket);
    return reader || writer;
}

/* ---- recv ---- */

TEST(recv_at_once, "bytes that are there are taken in the very call; the callback runs next tick")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    put(pair.far, "tide tables");
    begin(cora_sock_recv(pair.near, 100), &notes);
    CHECK_TEXT(take(pair.near), "");
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "b\"tide tables\"");
    pair_close(pair);
    current_loop_end(loop);
}

TEST(recv_waits, "recv waits for bytes, and calls back a tick after the one that has seen them")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    begin(cora_sock_recv(pair.near, 100), &notes);
    ticks(loop, 3);
    put(pair.far, "ebb");
    tick(loop);
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "b\"ebb\"");
    pair_close(pair);
    current_loop_end(loop);
}

TEST(recv_size, "recv gives at most so many bytes, and the rest next time")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    put(pair.far, "port and starboard");
    begin(cora_sock_recv(pair.near, 4), &notes);
    begin(cora_sock_recv(pair.near, 5), &notes);
    begin(cora_sock_recv(pair.near, 100), &notes);
    tick(loop);
    CHECK_TEXT(notes.text, "b\"port\" b\" and \" b\"starboard\"");
    pair_close(pair);
    current_loop_end(loop);
}

TEST(recv_nothing, "recv of no bytes does not wait for any")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    char none[1];
    begin(cora_sock_recv(pair.near, 0), &notes);
    begin(cora_sock_recv_into(pair.near, none, 0), &notes);
    tick(loop);
    CHECK_TEXT(notes.text, "b\"\" 0");
    pair_close(pair);
    current_loop_end(loop);
}

TEST(recv_any_size, "the size may be beyond all memory: only what comes is held")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    put(pair.far, "gulls");
    CHECK_TEXT(came(loop, cora_sock_recv(pair.near, SIZE_MAX)), "b\"gulls\"");
    pair_close(pair);
    current_loop_end(loop);
}

TEST(recv_end, "at the end recv gives no bytes, each time")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    begin(cora_sock_recv(pair.near, 100), &notes);
    tick(loop);
    close(pair.far);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "b\"\"");
    begin(cora_sock_recv(pair.near, 100), &notes);
    tick(loop);
    CHECK_TEXT(notes.text, "b\"\" b\"\"");
    close(pair.near);
    current_loop_end(loop);
}

TEST(recv_reset, "a recv that waits fails with what the system says of the connection")
{
    cora_loop loop = current_loop_new();
    struct pair pair = tcp_pair();
    const struct linger at_once = { 1, 0 };
    cora_future waiting =
        cora_keep(cora_when_done(cora_sock_recv(pair.near, 100), cora_partial(nothing_done)));
    tick(loop);
    CHECK_INT(setsockopt(pair.far, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    close(pair.far);
    CHECK_TEXT(came(loop, cora_awaitable_of(waiting)),
               "ConnectionResetError: [Errno 104] Connection reset by peer");
    CHECK(!had_watcher(loop, pair.near));
    cora_release(waiting);
    close(pair.near);
    current_loop_end(loop);
}

TEST(recv_into, "recv_into gives how many bytes it has put into the program's memory, and keeps "
                "within it")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    char memory[] = "..........";
    begin(cora_sock_recv_into(pair.near, memory + 2, 4), &notes);
    tick(loop);
    put(pair.far, "lobster");
    ticks(loop, 2);
    CHECK_TEXT(memory, "..lobs....");
    begin(cora_sock_recv_into(pair.near, memory, 10), &notes);
    tick(loop);
    CHECK_TEXT(memory, "terobs....");
    CHECK_TEXT(notes.text, "4 3");
    pair_close(pair);
    current_loop_end(loop);
}

TEST(recv_of_pipe, "what is no socket is refused, in the system's words")
{
    cora_loop loop = current_loop_new();
    int ends[2];
    CHECK_INT(pipe2(ends, O_NONBLOCK), 0);
    CHECK_TEXT(came(loop, cora_sock_recv(ends[0], 10)),
               "OSError: [Errno 88] Socket operation on non-socket");
    close(ends[0]);
    close(ends[1]);
    current_loop_end(loop);
}

/* ---- sendall ---- */

TEST(sendall_at_once, "what there is room for is sent in the very call; the callback runs next "
                      "tick")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    begin(cora_sock_sendall(pair.near, "heave ho", 8), &notes);
    CHECK_TEXT(take(pair.far), "heave ho");
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "None");
    pair_close(pair);
    current_loop_end(loop);
}

TEST(sendall_waits, "sendall waits for room, and calls back a tick after the one that has seen it")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    fill(pair.near);
    begin(cora_sock_sendall(pair.near, "ahoy", 4), &notes);
    ticks(loop, 3);
    drain(pair.far);
    tick(loop);
    CHECK_TEXT(take(pair.far), "ahoy");
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "None");
    pair_close(pair);
    current_loop_end(loop);
}

TEST(sendall_copies, "the bytes are copied in the call: also what starts or sends later")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    char bytes[] = "mast";
    cora_future later = cora_ensure_future(loop, cora_sock_sendall(pair.near, bytes, 4));
    memcpy(bytes, "....", 4);
    tick(loop);
    CHECK_TEXT(take(pair.far), "mast");
    fill(pair.near);
    memcpy(bytes, "keel", 4);
    cora_when_done(cora_sock_sendall(pair.near, bytes, 4), cora_partial(nothing_done));
    memcpy(bytes, "....", 4);
    drain(pair.far);
    ticks(loop, 2);
    CHECK_TEXT(take(pair.far), "keel");
    cora_release(later);
    pair_close(pair);
    current_loop_end(loop);
}

TEST(sendall_nothing, "sendall of no bytes need not wait for room")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    fill(pair.near);
    begin(cora_sock_sendall(pair.near, NULL, 0), &notes);
    tick(loop);
    CHECK_TEXT(notes.text, "None");
    pair_close(pair);
    current_loop_end(loop);
}

TEST(sendall_twice, "one awaitable may be given twice: it is sent twice")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    cora_awaitable sending = cora_sock_sendall(pair.near, "row ", 4);
    begin(sending, &notes);
    begin(sending, &notes);
    tick(loop);
    CHECK_TEXT(take(pair.far), "row row ");
    CHECK_TEXT(notes.text, "None None");
    pair_close(pair);
    current_loop_end(loop);
}

/* Bytes of which each tells its place. */
static unsigned char byte_at(size_t place)
{
    return (unsigned char)(place * 31 + place / 251);
}

static unsigned char *cargo_new(size_t size)
{
    unsigned char *bytes = malloc(size);
    CHECK(bytes != NULL);
    for (size_t i = 0; i < size; i++)
        bytes[i] = byte_at(i);
    return bytes;
}

static bool is_cargo(const unsigned char *bytes, size_t from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != byte_at(from + i))
            return false;
    return true;
}

TEST(sendall_in_parts, "with hardly any room bytes go in many parts, none lost, in order, and "
                       "sendall ends after the last")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    const int least = 1;
    const size_t size = 50000;
    unsigned char *cargo = cargo_new(size), bytes[700];
    struct notes notes = { "" };
    size_t taken = 0;
    int parts = 0;
    CHECK_INT(setsockopt(pair.near, SOL_SOCKET, SO_SNDBUF, &least, sizeof least), 0);
    begin(cora_sock_sendall(pair.near, cargo, size), &notes);
    free(cargo);
    for (ssize_t length; taken < size; parts++, taken += (size_t)length) {
        tick(loop);
        length = read(pair.far, bytes, sizeof bytes);
        CHECK(length > 0);
        CHECK(is_cargo(bytes, taken, (size_t)length));
    }
    CHECK(parts > 20);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "None");
    CHECK(!had_watcher(loop, pair.near));
    pair_close(pair);
    current_loop_end(loop);
}

TEST(sendall_to_dead, "sending to a closed peer is a broken pipe, and no signal")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    signal(SIGPIPE, SIG_DFL);
    close(pair.far);
    CHECK_TEXT(came(loop, cora_sock_sendall(pair.near, "x", 1)),
               "BrokenPipeError: [Errno 32] Broken pipe");
    close(pair.near);
    current_loop_end(loop);
}

TEST(sendall_peer_dies, "a peer that closes while sendall waits ends it with a broken pipe, and no "
                        "signal")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    signal(SIGPIPE, SIG_DFL);
    fill(pair.near);
    begin(cora_sock_sendall(pair.near, "x", 1), &notes);
    tick(loop);
    close(pair.far);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "BrokenPipeError: [Errno 32] Broken pipe");
    CHECK(!had_watcher(loop, pair.near));
    close(pair.near);
    current_loop_end(loop);
}

/* ---- connect and accept ---- */

/* Where a connection was accepted; the callbacks of a quay where ships call. */
struct quay {
    cora_loop loop;
    int listener, ship, berth; /* the berth is the accepted socket */
    char host[40];
    long long port;
    int left; /* operations */
};

static void one_done(struct quay *quay)
{
    if (--quay->left == 0)
        cora_stop(quay->loop);
}

static void on_berth(cora_args bound, cora_future done)
{
    struct quay *quay = cora_arg(bound, 0, struct quay *);
    cora_value connection = cora_result(done), peer = cora_list_at(connection, 1);
    quay->berth = (int)cora_as_int(cora_list_at(connection, 0));
    snprintf(quay->host, sizeof quay->host, "%s", cora_as_text(cora_list_at(peer, 0)));
    quay->port = cora_as_int(cora_list_at(peer, 1));
    one_done(quay);
}

static void on_ship(cora_args bound, cora_future done)
{
    CHECK(cora_is_nothing(cora_result(done)));
    one_done(cora_arg(bound, 0, struct quay *));
}

static struct quay quay_new(cora_loop loop)
{
    return (struct quay){ .loop = loop, .listener = listener_new(), .ship = tcp_new(), .left = 2 };
}

static void quay_close(struct quay *quay)
{
    close(quay->listener);
    close(quay->ship);
    close(quay->berth);
}

/* Connects and accepts at the same time. */
static void quay_meet(struct quay *quay)
{
    cora_when_done(cora_sock_accept(quay->listener), cora_partial(on_berth, quay));
    cora_when_done(connecting(quay->ship, quay->listener), cora_partial(on_ship, quay));
    CHECK_INT(cora_run_forever(quay->loop), 0);
    CHECK_INT(quay->left, 0);
}

TEST(accept,
     "accept gives a socket and the peer's address: connected, non-blocking, not for other "
     "programs",
     "test_sock_lowlevel.BaseSockTestsMixin.test_sock_accept")
{
    cora_loop loop = current_loop_new();
    struct quay quay = quay_new(loop);
    quay_meet(&quay);
    CHECK_TEXT(quay.host, "127.0.0.1");
    CHECK_INT(quay.port, ntohs(address_of(quay.ship).sin_port));
    CHECK(fcntl(quay.berth, F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(quay.berth, F_GETFD) & FD_CLOEXEC);
    put(quay.ship, "moored");
    CHECK_TEXT(came(loop, cora_sock_recv(quay.berth, 10)), "b\"moored\"");
    quay_close(&quay);
    current_loop_end(loop);
}

TEST(accept_at_once, "a connection that is there is accepted in the very call")
{
    cora_loop loop = current_loop_new();
    struct quay quay = quay_new(loop);
    CHECK_TEXT(came(loop, connecting(quay.ship, quay.listener)), "None");
    cora_when_done(cora_sock_accept(quay.listener), cora_partial(on_berth, &quay));
    CHECK_INT(accept4(quay.listener, NULL, NULL, 0), -1);
    tick(loop);
    CHECK_INT(quay.left, 1);
    quay_close(&quay);
    current_loop_end(loop);
}

TEST(connect_leaves_nothing, "connect and accept leave no reader and no writer behind")
{
    cora_loop loop = current_loop_new();
    struct quay quay = quay_new(loop);
    quay_meet(&quay);
    CHECK(!had_watcher(loop, quay.ship));
    CHECK(!had_watcher(loop, quay.listener));
    quay_close(&quay);
    current_loop_end(loop);
}

TEST(connect_refused,
     "connecting to where nobody listens is refused, and the error names the "
     "address",
     "test_sock_lowlevel.BaseSockTestsMixin.test_sock_client_fail")
{
    cora_loop loop = current_loop_new();
    int ship = tcp_new(), deserted = bound_new();
    char expected[200];
    snprintf(expected, sizeof expected,
             "ConnectionRefusedError: [Errno 111] Connection refused: Connect call failed "
             "('127.0.0.1', %d)",
             ntohs(address_of(deserted).sin_port));
    CHECK_TEXT(came(loop, connecting(ship, deserted)), expected);
    CHECK(!had_watcher(loop, ship));
    close(ship);
    close(deserted);
    current_loop_end(loop);
}

TEST(connect_refused_v6, "an address of IPv6 is named with its flow and scope")
{
    cora_loop loop = current_loop_new();
    struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
    socklen_t size = sizeof address;
    int ship = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int deserted = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
    char expected[200];
    if (ship < 0 || bind(deserted, (struct sockaddr *)&address, size) < 0)
        SKIP("no IPv6 here");
    CHECK_INT(getsockname(deserted, (struct sockaddr *)&address, &size), 0);
    snprintf(expected, sizeof expected,
             "ConnectionRefusedError: [Errno 111] Connection refused: Connect call failed "
             "('::1', %d, 0, 0)",
             ntohs(address.sin6_port));
    CHECK_TEXT(came(loop, cora_sock_connect(ship, (struct sockaddr *)&address, size)), expected);
    close(ship);
    close(deserted);
    current_loop_end(loop);
}

TEST(connect_twice, "a socket that is connected is not connected again")
{
    cora_loop loop = current_loop_new();
    int listener = listener_new(), ship = tcp_new();
    connect_plainly(ship, listener);
    cora_value again = cora_run_until_complete(loop, connecting(ship, listener));
    CHECK_INT(cora_error_code(again), -EISCONN);
    close(listener);
    close(ship);
    current_loop_end(loop);
}

TEST(connect_copies, "the address is copied in the call")
{
    cora_loop loop = current_loop_new();
    struct quay quay = quay_new(loop);
    struct sockaddr_in address = address_of(quay.listener);
    cora_awaitable connect_now =
        cora_sock_connect(quay.ship, (struct sockaddr *)&address, sizeof address);
    memset(&address, 0, sizeof address);
    CHECK_TEXT(came(loop, connect_now), "None");
    close(quay.listener);
    close(quay.ship);
    current_loop_end(loop);
}

TEST(connect_bad_address, "an address of no bytes, and one that is too long, are errors of the "
                          "system's")
{
    cora_loop loop = current_loop_new();
    int ship = tcp_new();
    char bytes[300] = { 0 };
    CHECK_TEXT(came(loop, cora_sock_connect(ship, NULL, 0)),
               "OSError: [Errno 22] Invalid argument: Connect call failed");
    CHECK_TEXT(came(loop, cora_sock_connect(ship, (struct sockaddr *)(void *)bytes, sizeof bytes)),
               "OSError: [Errno 22] Invalid argument: Connect call failed");
    close(ship);
    current_loop_end(loop);
}

TEST(connect_other_family, "an address of another family than IP is given to the system as it is",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_connection_bluetooth")
{
    cora_loop loop = current_loop_new();
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    socklen_t size = sizeof(sa_family_t);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int ship = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK_INT(bind(listener, (struct sockaddr *)&address, size), 0); /* the kernel makes a name */
    CHECK_INT(listen(listener, 1), 0);
    size = sizeof address;
    CHECK_INT(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    CHECK_TEXT(came(loop, cora_sock_connect(ship, (struct sockaddr *)&address, size)), "None");
    close(listener);
    close(ship);
    current_loop_end(loop);
}

TEST(connect_no_room, "where a listener of this machine's own has no room for another, connect "
                      "fails and does not pretend")
{
    cora_loop loop = current_loop_new();
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    socklen_t size = sizeof(sa_family_t);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), ships[2];
    CHECK_INT(bind(listener, (struct sockaddr *)&address, size), 0);
    CHECK_INT(listen(listener, 0), 0);
    size = sizeof address;
    CHECK_INT(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    for (int i = 0; i < 2; i++)
        ships[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK_TEXT(came(loop, cora_sock_connect(ships[0], (struct sockaddr *)&address, size)), "None");
    cora_value second = cora_run_until_complete(
        loop, cora_sock_connect(ships[1], (struct sockaddr *)&address, size));
    CHECK_INT(cora_error_code(second), -EAGAIN);
    close(listener);
    close(ships[0]);
    close(ships[1]);
    current_loop_end(loop);
}

TEST(accept_times_out,
     "an accept that runs out of time has taken nothing: when the listener is "
     "closed, who connects is refused",
     "test_sock_lowlevel.BaseSockTestsMixin.test_cancel_sock_accept")
{
    cora_loop loop = current_loop_new();
    int listener = listener_new(), ship = tcp_new();
    struct sockaddr_in address = address_of(listener);
    cora_value late = cora_run_until_complete(loop, cora_wait_for(cora_sock_accept(listener), 0.1));
    CHECK_INT(cora_error_code(late), CORA_ETIMEOUT);
    CHECK_REAL(cora_time(loop), START + 0.1, LATE);
    CHECK(!had_watcher(loop, listener));
    close(listener);
    cora_value refused = cora_run_until_complete(
        loop, cora_sock_connect(ship, (struct sockaddr *)&address, sizeof address));
    CHECK_INT(cora_error_code(refused), -ECONNREFUSED);
    close(ship);
    current_loop_end(loop);
}

TEST(accept_of_no_listener, "accepting where nobody listens is an error of the system's")
{
    cora_loop loop = current_loop_new();
    int idle = bound_new();
    CHECK_TEXT(came(loop, cora_sock_accept(idle)), "OSError: [Errno 22] Invalid argument");
    close(idle);
    current_loop_end(loop);
}

/* ---- descriptors that will not do ---- */

TEST(closed_descriptor, "a descriptor that is none is an OSError of each operation")
{
    cora_loop loop = current_loop_new();
    const struct sockaddr_in address = loopback(9);
    struct pair pair = pair_new();
    char memory[1];
    pair_close(pair);
    const int wrong[] = { -1, pair.near, 1 << 30 };
    for (size_t i = 0; i < 3; i++) {
        const cora_awaitable tries[] = {
            cora_sock_recv(wrong[i], 1),
            cora_sock_recv_into(wrong[i], memory, 1),
            cora_sock_sendall(wrong[i], "x", 1),
            cora_sock_connect(wrong[i], (const struct sockaddr *)&address, sizeof address),
            cora_sock_accept(wrong[i]),
        };
        cora_future futures[5];
        for (size_t j = 0; j < 5; j++)
            futures[j] = cora_keep(cora_when_done(tries[j], cora_partial(nothing_done)));
        tick(loop);
        for (size_t j = 0; j < 5; j++) {
            CHECK_INT(cora_error_code(cora_exception(futures[j])), -EBADF);
            cora_release(futures[j]);
        }
    }
    current_loop_end(loop);
}

TEST(refuses_blocking, "in debug mode sockets that would block are refused by each operation",
     "test_sock_lowlevel.BaseSockTestsMixin.test_sock_client_ops")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    int listener = listener_new();
    const struct sockaddr_in address = address_of(listener);
    struct notes notes = { "" };
    char memory[4];
    cora_set_debug(loop, true);
    set_blocking(pair.near);
    set_blocking(listener);
    put(pair.far, "x");
    begin(cora_sock_recv(pair.near, 1), &notes);
    begin(cora_sock_recv_into(pair.near, memory, 1), &notes);
    begin(cora_sock_sendall(pair.near, "x", 1), &notes);
    begin(cora_sock_connect(pair.near, (const struct sockaddr *)&address, sizeof address), &notes);
    begin(cora_sock_accept(listener), &notes);
    tick(loop);
#define REFUSED "ValueError: the socket must be non-blocking"
    CHECK_TEXT(notes.text, REFUSED " " REFUSED " " REFUSED " " REFUSED " " REFUSED);
    CHECK_TEXT(take(pair.near), "x");
    pair_close(pair);
    close(listener);
    current_loop_end(loop);
}

TEST(blocking_never_blocks, "without debug mode a socket that would block does not block recv and "
                            "sendall")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    fill(pair.near);
    set_blocking(pair.near);
    begin(cora_sock_sendall(pair.near, "x", 1), &notes);
    begin(cora_sock_recv(pair.near, 1), &notes);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "");
    put(pair.far, "y");
    drain(pair.far);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "b\"y\" None");
    pair_close(pair);
    current_loop_end(loop);
}

TEST(beyond_select, "a socket that the back end cannot watch fails when it would be waited for")
{
    cora_virtual_clock_start(START);
    cora_loop loop = cora_loop_new(&(struct cora_loop_options){ .backend = "select" });
    struct pair pair = pair_new();
    struct rlimit limit;
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int high = fcntl(pair.near, F_DUPFD, FD_SETSIZE + 3);
    if (high < 0)
        SKIP("not so many descriptors here");
    put(pair.far, "near");
    CHECK_TEXT(came(loop, cora_sock_recv(high, 4)), "b\"near\"");
    cora_value refused = cora_run_until_complete(loop, cora_sock_recv(high, 4));
    CHECK_INT(cora_error_code(refused), CORA_EVALUE);
    close(high);
    pair_close(pair);
    virtual_loop_end(loop);
}

static cora_protocol silent_new(cora_args bound)
{
    static const struct cora_protocol_type silent = { .name = "Silent" };
    (void)bound;
    return (cora_protocol){ &silent, NULL };
}

TEST(of_transport, "nothing can wait for the socket of a transport, and that is not disturbed")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    cora_transport transport =
        cora_connect_accepted_socket(loop, pair.near, cora_partial(silent_new));
    ticks(loop, 2);
    cora_value refused = cora_run_until_complete(loop, cora_sock_recv(pair.near, 1));
    CHECK_INT(cora_error_code(refused), CORA_ERUNTIME);
    CHECK(says(refused, "is used by"));
    fill(pair.near);
    refused = cora_run_until_complete(loop, cora_sock_sendall(pair.near, "x", 1));
    CHECK_INT(cora_error_code(refused), CORA_ERUNTIME);
    CHECK(cora_transport_is_reading(transport));
    cora_transport_abort(transport);
    ticks(loop, 2);
    close(pair.far);
    current_loop_end(loop);
}

/* ---- cancelled ---- */

static void cancel(cora_args bound)
{
    CHECK(cora_cancel(cora_arg_future(bound, 0)));
}

TEST(prompt_cancellation,
     "a recv that is cancelled ends next tick, and its registration is gone, "
     "though no bytes ever come",
     "test_events.EventLoopTestsMixin.test_prompt_cancellation")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    cora_future waiting =
        cora_when_done(cora_sock_recv(pair.near, 1024), cora_partial(note_outcome, &notes));
    tick(loop);
    run_in(loop, cora_partial(cancel, waiting));
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "CancelledError");
    CHECK(!had_watcher(loop, pair.near));
    pair_close(pair);
    current_loop_end(loop);
}

TEST(each_cancelled, "each operation that waits is ended by a cancel, and leaves no registration")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    int listener = listener_new(), ship = tcp_new();
    char memory[10];
    fill(pair.near);
    for (int i = 0; i < 5; i++) {
        struct notes notes = { "" };
        cora_awaitable operation = i == 0   ? cora_sock_recv(pair.near, 10)
                                   : i == 1 ? cora_sock_recv_into(pair.near, memory, 10)
                                   : i == 2 ? cora_sock_sendall(pair.near, "x", 1)
                                   : i == 3 ? cora_sock_accept(listener)
                                            : connecting(ship, listener);
        cora_future waiting = cora_when_done(operation, cora_partial(note_outcome, &notes));
        CHECK(cora_cancel(waiting));
        tick(loop);
        CHECK_TEXT(notes.text, "CancelledError");
        CHECK(!had_watcher(loop, pair.near));
        CHECK(!had_watcher(loop, listener));
        CHECK(!had_watcher(loop, ship));
    }
    pair_close(pair);
    close(listener);
    close(ship);
    current_loop_end(loop);
}

TEST(cancelled_recv_in_the_gap, "a recv that is cancelled after its bytes were seen has taken none")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    cora_future waiting =
        cora_when_done(cora_sock_recv(pair.near, 10), cora_partial(note_outcome, &notes));
    put(pair.far, "letter");
    tick(loop);
    CHECK(cora_cancel(waiting));
    tick(loop);
    CHECK_TEXT(notes.text, "CancelledError");
    CHECK_TEXT(take(pair.near), "letter");
    pair_close(pair);
    current_loop_end(loop);
}

TEST(cancelled_recv_into_in_the_gap, "a cancelled recv_into has not touched the program's memory")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    char memory[] = "....";
    cora_future waiting =
        cora_when_done(cora_sock_recv_into(pair.near, memory, 4), cora_partial(nothing_done));
    put(pair.far, "rope");
    tick(loop);
    CHECK(cora_cancel(waiting));
    ticks(loop, 2);
    CHECK_TEXT(memory, "....");
    CHECK_TEXT(take(pair.near), "rope");
    pair_close(pair);
    current_loop_end(loop);
}

TEST(cancelled_accept_in_the_gap, "an accept that is cancelled after a connection was seen leaves "
                                  "it for the next")
{
    cora_loop loop = current_loop_new();
    struct quay quay = quay_new(loop);
    struct notes notes = { "" };
    cora_future waiting =
        cora_when_done(cora_sock_accept(quay.listener), cora_partial(note_outcome, &notes));
    connect_plainly(quay.ship, quay.listener);
    wait_for(quay.listener, POLLIN);
    tick(loop);
    CHECK(cora_cancel(waiting));
    tick(loop);
    CHECK_TEXT(notes.text, "CancelledError");
    quay.berth = accept4(quay.listener, NULL, NULL, 0);
    CHECK(quay.berth >= 0);
    quay_close(&quay);
    current_loop_end(loop);
}

TEST(cancelled_connect_in_the_gap,
     "a connect that is cancelled after its end was seen has not asked "
     "for it: the next one gets it")
{
    cora_loop loop = current_loop_new();
    int ship = tcp_new(), deserted = bound_new();
    struct notes notes = { "" };
    cora_future waiting =
        cora_when_done(connecting(ship, deserted), cora_partial(note_outcome, &notes));
    wait_for(ship, POLLOUT);
    tick(loop);
    CHECK(cora_cancel(waiting));
    tick(loop);
    CHECK_TEXT(notes.text, "CancelledError");
    cora_value again = cora_run_until_complete(loop, connecting(ship, deserted));
    CHECK_INT(cora_error_code(again), -ECONNREFUSED);
    close(ship);
    close(deserted);
    current_loop_end(loop);
}

TEST(cancelled_sendall_in_the_gap, "a sendall that is cancelled after the last byte was sent is "
                                   "cancelled all the same")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    fill(pair.near);
    cora_future waiting =
        cora_when_done(cora_sock_sendall(pair.near, "x", 1), cora_partial(note_outcome, &notes));
    drain(pair.far);
    tick(loop);
    CHECK_TEXT(take(pair.far), "x");
    CHECK(cora_cancel(waiting));
    tick(loop);
    CHECK_TEXT(notes.text, "CancelledError");
    CHECK(!had_watcher(loop, pair.near));
    pair_close(pair);
    current_loop_end(loop);
}

TEST(cancelled_sendall_sends_no_more, "a sendall sends nothing when it is cancelled in the tick in "
                                      "which there is room again")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    fill(pair.near);
    cora_future waiting =
        cora_when_done(cora_sock_sendall(pair.near, "x", 1), cora_partial(nothing_done));
    tick(loop);
    drain(pair.far);
    run_in(loop, cora_partial(cancel, waiting));
    tick(loop);
    CHECK_TEXT(take(pair.far), "");
    pair_close(pair);
    current_loop_end(loop);
}

TEST(connect_again,
     "a connect that was cancelled before anybody listened can be begun again on the "
     "same socket",
     "test_sock_lowlevel.BaseSockTestsMixin.test_sock_client_connect_racing")
{
    cora_loop loop = current_loop_new();
    int ship = tcp_new(), listener = bound_new();
    struct notes notes = { "" };
    cora_future waiting =
        cora_when_done(connecting(ship, listener), cora_partial(note_outcome, &notes));
    CHECK(cora_cancel(waiting));
    tick(loop);
    CHECK_TEXT(notes.text, "CancelledError");
    CHECK_INT(listen(listener, 1), 0);
    cora_value again = cora_run_until_complete(loop, connecting(ship, listener));
    if (cora_error_code(again) == -ECONNREFUSED) /* what came of the first one is told first */
        again = cora_run_until_complete(loop, connecting(ship, listener));
    CHECK(cora_is_nothing(again));
    close(ship);
    close(listener);
    current_loop_end(loop);
}

TEST(connect_goes_on, "a connect that was cancelled goes on, and the next one ends with it",
     "test_sock_lowlevel.BaseSockTestsMixin.test_sock_client_connect_racing")
{
    cora_loop loop = current_loop_new();
    struct quay quay = quay_new(loop);
    CHECK(cora_cancel(
        cora_when_done(connecting(quay.ship, quay.listener), cora_partial(nothing_done))));
    CHECK_TEXT(came(loop, connecting(quay.ship, quay.listener)), "None");
    quay.berth = accept4(quay.listener, NULL, NULL, 0);
    CHECK(quay.berth >= 0);
    tick(loop);
    CHECK(!had_watcher(loop, quay.ship));
    quay_close(&quay);
    current_loop_end(loop);
}

TEST(connect_under_way, "a connect on a socket that connects already waits for that")
{
    cora_loop loop = current_loop_new();
    int listener = bound_new(), ships[] = { tcp_new(), tcp_new() };
    struct notes notes = { "" };
    CHECK_INT(listen(listener, 0), 0);
    connect_plainly(ships[0], listener); /* there is room for one */
    cora_future first =
        cora_when_done(connecting(ships[1], listener), cora_partial(note_outcome, &notes));
    cora_future second =
        cora_when_done(connecting(ships[1], listener), cora_partial(note_outcome, &notes));
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "");
    CHECK(cora_cancel(first));
    CHECK(cora_cancel(second));
    tick(loop);
    CHECK_TEXT(notes.text, "CancelledError CancelledError");
    close(listener);
    close(ships[0]);
    close(ships[1]);
    current_loop_end(loop);
}

/* ---- several on one socket ---- */

TEST(racing_recv, "a recv that begins before a cancelled one's clean-up keeps its registration",
     "test_sock_lowlevel.BaseSockTestsMixin.test_sock_client_racing")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    cora_future first =
        cora_when_done(cora_sock_recv(pair.near, 100), cora_partial(note_outcome, &notes));
    tick(loop);
    CHECK(cora_cancel(first));
    begin(cora_sock_recv(pair.near, 100), &notes);
    tick(loop);
    CHECK_TEXT(notes.text, "CancelledError");
    put(pair.far, "200 OK");
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "CancelledError b\"200 OK\"");
    CHECK(!had_watcher(loop, pair.near));
    pair_close(pair);
    current_loop_end(loop);
}

TEST(racing_recv_into,
     "a recv_into that begins before a cancelled one's clean-up is not disturbed, "
     "and the other's memory stays as it is",
     "test_sock_lowlevel.BaseSockTestsMixin.test_sock_client_racing")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    char memory[] = "....", other[] = "....";
    struct notes notes = { "" };
    cora_future first = cora_when_done(cora_sock_recv_into(pair.near, memory, 4),
                                       cora_partial(note_outcome, &notes));
    tick(loop);
    CHECK(cora_cancel(first));
    begin(cora_sock_recv_into(pair.near, other, 4), &notes);
    tick(loop);
    put(pair.far, "200 OK");
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "CancelledError 4");
    CHECK_TEXT(memory, "....");
    CHECK_TEXT(other, "200 ");
    pair_close(pair);
    current_loop_end(loop);
}

TEST(racing_sendall,
     "a sendall that begins before a blocked, cancelled one's clean-up sends its "
     "bytes, and the other's are not sent",
     "test_sock_lowlevel.BaseSockTestsMixin.test_sock_client_racing")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    fill(pair.near);
    cora_future first = cora_when_done(cora_sock_sendall(pair.near, "hello", 5),
                                       cora_partial(note_outcome, &notes));
    tick(loop);
    CHECK(cora_cancel(first));
    begin(cora_sock_sendall(pair.near, "world", 5), &notes);
    tick(loop);
    drain(pair.far);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "CancelledError None");
    CHECK_TEXT(take(pair.far), "world");
    CHECK(!had_watcher(loop, pair.near));
    pair_close(pair);
    current_loop_end(loop);
}

TEST(replaced, "of two that wait the newer has the socket; the older waits until it is cancelled, "
               "and that takes nothing from the newer")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    cora_future older =
        cora_when_done(cora_sock_recv(pair.near, 3), cora_partial(note_outcome, &notes));
    begin(cora_sock_recv(pair.near, 3), &notes);
    put(pair.far, "newold");
    ticks(loop, 5);
    CHECK_TEXT(notes.text, "b\"new\"");
    begin(cora_sock_recv(pair.near, 3), &notes);
    begin(cora_sock_recv(pair.near, 3), &notes);
    CHECK(cora_cancel(older));
    tick(loop);
    CHECK_TEXT(notes.text, "b\"new\" b\"old\" CancelledError");
    put(pair.far, "end");
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "b\"new\" b\"old\" CancelledError b\"end\"");
    pair_close(pair);
    current_loop_end(loop);
}

TEST(overtaken, "one whose bytes are taken by another before it runs waits for the next")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    begin(cora_sock_recv(pair.near, 10), &notes);
    put(pair.far, "first");
    tick(loop);
    CHECK_TEXT(take(pair.near), "first");
    ticks(loop, 3);
    CHECK_TEXT(notes.text, "");
    put(pair.far, "second");
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "b\"second\"");
    pair_close(pair);
    current_loop_end(loop);
}

TEST(both_directions, "recv and sendall wait on one socket, and neither disturbs the other")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    fill(pair.near);
    begin(cora_sock_recv(pair.near, 10), &notes);
    begin(cora_sock_sendall(pair.near, "out", 3), &notes);
    tick(loop);
    drain(pair.far);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "None");
    put(pair.far, "in");
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "None b\"in\"");
    pair_close(pair);
    current_loop_end(loop);
}

TEST(programs_reader,
     "a reader of the program's that comes while recv waits is its own: the end of "
     "recv does not remove it")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    cora_future waiting =
        cora_when_done(cora_sock_recv(pair.near, 10), cora_partial(note_outcome, &notes));
    CHECK_INT(cora_add_reader(loop, pair.near, cora_partial(note, &notes, "reader")), 0);
    CHECK(cora_cancel(waiting));
    tick(loop);
    put(pair.far, "x");
    tick(loop);
    CHECK_TEXT(notes.text, "CancelledError reader");
    CHECK(cora_remove_reader(loop, pair.near));
    pair_close(pair);
    current_loop_end(loop);
}

TEST(replaces_reader,
     "recv that waits replaces the program's reader, and drops what it is bound to")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    int drops = 0;
    CHECK_INT(cora_add_reader(loop, pair.near, cora_partial(nothing, cora_own(&drops, &counted))),
              0);
    cora_drop_temporaries();
    begin(cora_sock_recv(pair.near, 10), &notes);
    CHECK_INT(drops, 1);
    put(pair.far, "x");
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "b\"x\"");
    CHECK(!had_watcher(loop, pair.near));
    pair_close(pair);
    current_loop_end(loop);
}

TEST(at_once_leaves_reader, "an operation that need not wait leaves the program's reader alone")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    CHECK_INT(cora_add_reader(loop, pair.near, cora_partial(nothing)), 0);
    put(pair.far, "x");
    begin(cora_sock_recv(pair.near, 10), &notes);
    tick(loop);
    CHECK_TEXT(notes.text, "b\"x\"");
    CHECK(cora_remove_reader(loop, pair.near));
    pair_close(pair);
    current_loop_end(loop);
}

/* ---- what a drop function may do in the middle ---- */

struct meddler {
    int socket;
    struct notes *notes;
    cora_loop loop; /* to be closed; null: no */
};

static void meddle(void *pointer)
{
    struct meddler *meddler = pointer;
    if (cora_is_null(meddler->loop))
        begin(cora_sock_recv(meddler->socket, 5), meddler->notes);
    else
        CHECK_INT(cora_loop_close(meddler->loop), 0);
}

static const cora_type meddling = { "meddler", meddle, NULL, 0 };

TEST(drop_begins_another, "a recv that a replaced reader's drop function begins is the older one")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    struct meddler meddler = { .socket = pair.near, .notes = &notes };
    CHECK_INT(
        cora_add_reader(loop, pair.near, cora_partial(nothing, cora_own(&meddler, &meddling))), 0);
    cora_drop_temporaries();
    cora_future newer =
        cora_when_done(cora_sock_recv(pair.near, 1), cora_partial(note_outcome, &notes));
    put(pair.far, "a");
    ticks(loop, 3);
    CHECK_TEXT(notes.text, "b\"a\"");
    CHECK(!cora_cancel(newer));
    CHECK(!had_watcher(loop, pair.near));
    pair_close(pair);
    current_loop_end(loop);
}

TEST(drop_closes_loop, "the loop may be closed while a recv begins, by a replaced reader's drop "
                       "function")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct meddler meddler = { .loop = loop };
    struct notes notes = { "" };
    CHECK_INT(
        cora_add_reader(loop, pair.near, cora_partial(nothing, cora_own(&meddler, &meddling))), 0);
    cora_drop_temporaries();
    cora_when_done(cora_sock_recv(pair.near, 1), cora_partial(note_outcome, &notes));
    CHECK(cora_is_closed(loop));
    CHECK_TEXT(notes.text, "");
    pair_close(pair);
    current_loop_end(loop);
}

/* ---- the end of the loop ---- */

TEST(closed_loop, "closing the loop while all of them wait leaves nothing behind, and calls nobody")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new(), quiet = pair_new();
    int listener = listener_new(), ship = tcp_new(), drops = 0;
    struct notes notes = { "" };
    char memory[4];
    fill(pair.near);
    begin(cora_sock_recv(quiet.near, 4), &notes);
    begin(cora_sock_recv_into(quiet.far, memory, 4), &notes);
    begin(cora_sock_sendall(pair.near, "x", 1), &notes);
    begin(cora_sock_accept(listener), &notes);
    cora_when_done(connecting(ship, listener),
                   cora_partial(nothing_done, cora_own(&drops, &counted)));
    CHECK_INT(cora_loop_close(loop), 0);
    cora_drop_temporaries();
    CHECK_INT(drops, 1);
    CHECK_TEXT(notes.text, "");
    pair_close(pair);
    pair_close(quiet);
    close(listener);
    close(ship);
    current_loop_end(loop);
}

TEST(closed_loop_in_the_gap, "closing the loop when an operation has what it waited for takes "
                             "nothing")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    begin(cora_sock_recv(pair.near, 10), &notes);
    put(pair.far, "cargo");
    tick(loop);
    CHECK_INT(cora_loop_close(loop), 0);
    CHECK_TEXT(notes.text, "");
    CHECK_TEXT(take(pair.near), "cargo");
    pair_close(pair);
    current_loop_end(loop);
}

TEST(as_guest, "in a guest of another's loop they work as well")
{
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    cora_loop loop = cora_loop_attach(host, NULL);
    struct pair pair = pair_new();
    struct notes notes = { "" };
    cora_set_current_loop(loop);
    begin(cora_sock_recv(pair.near, 10), &notes);
    put(pair.far, "pilot");
    ev_run(host, 0);
    CHECK_TEXT(notes.text, "b\"pilot\"");
    CHECK_INT(cora_loop_detach(loop), 0);
    ev_loop_destroy(host);
    pair_close(pair);
}

/* ---- whole conversations ---- */

/* Sends back whatever comes, until the end. */
struct echo {
    int socket;
    size_t echoed;
};

static void echo_sent(cora_args bound, cora_future done);

static void echo_came(cora_args bound, cora_future done)
{
    struct echo *echo = cora_arg(bound, 0, struct echo *);
    size_t size;
    const void *bytes = cora_as_bytes(cora_result(done), &size);
    echo->echoed += size;
    if (size > 0)
        cora_when_done(cora_sock_sendall(echo->socket, bytes, size), cora_partial(echo_sent, echo));
}

static void echo_sent(cora_args bound, cora_future done)
{
    struct echo *echo = cora_arg(bound, 0, struct echo *);
    CHECK(cora_is_nothing(cora_result(done)));
    cora_when_done(cora_sock_recv(echo->socket, 65536), cora_partial(echo_came, echo));
}

static void echo_begin(struct echo *echo)
{
    cora_when_done(cora_sock_recv(echo->socket, 65536), cora_partial(echo_came, echo));
}

/* What comes back: by recv, or into memory of its own. */
struct catch
{
    cora_loop loop;
    int socket;
    size_t caught;
    unsigned char memory[5000];
};

static void catch_bytes(struct catch *catch, const unsigned char *bytes, size_t size)
{
    CHECK(size > 0);
    CHECK(is_cargo(bytes, catch->caught, size));
    catch->caught += size;
    if (catch->caught == MEGABYTE)
        cora_stop(catch->loop);
}

static void on_caught(cora_args bound, cora_future done)
{
    struct catch *catch = cora_arg(bound, 0, struct catch *);
    size_t size;
    const void *bytes = cora_as_bytes(cora_result(done), &size);
    catch_bytes(catch, bytes, size);
    if (catch->caught < MEGABYTE)
        cora_when_done(cora_sock_recv(catch->socket, 5000), cora_partial(on_caught, catch));
}

static void on_caught_into(cora_args bound, cora_future done)
{
    struct catch *catch = cora_arg(bound, 0, struct catch *);
    catch_bytes(catch, catch->memory, (size_t)cora_as_int(cora_result(done)));
    if (catch->caught < MEGABYTE)
        cora_when_done(cora_sock_recv_into(catch->socket, catch->memory, sizeof catch->memory),
                       cora_partial(on_caught_into, catch));
}

/* A million bytes there and back. */
static void exchange(cora_loop loop, bool into)
{
    struct pair pair = tcp_pair();
    struct echo echo = { .socket = pair.far };
    struct catch catch = { .loop = loop, .socket = pair.near };
    struct notes notes = { "" };
    unsigned char *cargo = cargo_new(MEGABYTE);
    echo_begin(&echo);
    begin(cora_sock_sendall(pair.near, cargo, MEGABYTE), &notes);
    free(cargo);
    if (into)
        cora_when_done(cora_sock_recv_into(pair.near, catch.memory, sizeof catch.memory),
                       cora_partial(on_caught_into, &catch));
    else
        cora_when_done(cora_sock_recv(pair.near, 5000), cora_partial(on_caught, &catch));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(catch.caught, MEGABYTE);
    CHECK_INT(echo.echoed, MEGABYTE);
    CHECK_TEXT(notes.text, "None");
    close(pair.near);
    ticks(loop, 3); /* the echo sees the end */
    close(pair.far);
}

TEST(huge_content, "a million bytes sent while they come back by recv arrive all, and in order",
     "test_sock_lowlevel.BaseSockTestsMixin.test_huge_content")
{
    cora_loop loop = current_loop_new();
    exchange(loop, false);
    current_loop_end(loop);
}

TEST(huge_content_recv_into,
     "a million bytes sent while they come back by recv_into arrive all, and "
     "in order",
     "test_sock_lowlevel.BaseSockTestsMixin.test_huge_content_recvinto")
{
    cora_loop loop = current_loop_new();
    exchange(loop, true);
    current_loop_end(loop);
}

static void on_alarm(int number)
{
    (void)number;
}

TEST(interrupted, "signals in the middle of it all are not seen in any outcome")
{
    cora_loop loop = cora_loop_new(NULL);
    const struct sigaction action = { .sa_handler = on_alarm }; /* without SA_RESTART */
    const int period = harness_under_valgrind() ? 50000 : 500;  /* or it comes to nothing else */
    const struct itimerval often = { { 0, period }, { 0, period } }, never = { { 0, 0 }, { 0, 0 } };
    cora_set_current_loop(loop);
    CHECK_INT(sigaction(SIGALRM, &action, NULL), 0);
    CHECK_INT(setitimer(ITIMER_REAL, &often, NULL), 0);
    exchange(loop, false);
    exchange(loop, true);
    CHECK_INT(setitimer(ITIMER_REAL, &never, NULL), 0);
    cora_set_current_loop((cora_loop){ 0 });
    CHECK_INT(cora_loop_close(loop), 0);
}

/* A tiny server of pages: reads one request, answers, closes. */
struct page {
    cora_loop loop;
    int listener, client, server;
    char request[100], answer[200];
    char memory[64];
};

static void page_sent(cora_args bound, cora_future done)
{
    CHECK(cora_is_nothing(cora_result(done)));
    close(cora_arg(bound, 0, struct page *)->server);
}

static void page_asked(cora_args bound, cora_future done)
{
    static const char answer[] = "HTTP/1.0 200 OK\r\n\r\nhigh water at noon";
    struct page *page = cora_arg(bound, 0, struct page *);
    size_t size;
    const void *bytes = cora_as_bytes(cora_result(done), &size);
    CHECK(size < sizeof page->request);
    memcpy(page->request, bytes, size);
    cora_when_done(cora_sock_sendall(page->server, answer, sizeof answer - 1),
                   cora_partial(page_sent, page));
}

static void page_accepted(cora_args bound, cora_future done)
{
    struct page *page = cora_arg(bound, 0, struct page *);
    page->server = (int)cora_as_int(cora_list_at(cora_result(done), 0));
    cora_when_done(cora_sock_recv(page->server, sizeof page->request - 1),
                   cora_partial(page_asked, page));
}

/* The head by recv, and what follows by recv_into. */
static void page_more(cora_args bound, cora_future done)
{
    struct page *page = cora_arg(bound, 0, struct page *);
    long long size = cora_as_int(cora_result(done));
    if (size == 0) {
        cora_stop(page->loop);
        return;
    }
    strncat(page->answer, page->memory, (size_t)size);
    cora_when_done(cora_sock_recv_into(page->client, page->memory, sizeof page->memory),
                   cora_partial(page_more, page));
}

static void page_began(cora_args bound, cora_future done)
{
    struct page *page = cora_arg(bound, 0, struct page *);
    size_t size;
    const char *bytes = cora_as_bytes(cora_result(done), &size);
    strncat(page->answer, bytes, size);
    cora_when_done(cora_sock_recv_into(page->client, page->memory, sizeof page->memory),
                   cora_partial(page_more, page));
}

static void page_request_sent(cora_args bound, cora_future done)
{
    struct page *page = cora_arg(bound, 0, struct page *);
    CHECK(cora_is_nothing(cora_result(done)));
    cora_when_done(cora_sock_recv(page->client, 15), cora_partial(page_began, page));
}

static void page_connected(cora_args bound, cora_future done)
{
    struct page *page = cora_arg(bound, 0, struct page *);
    CHECK(cora_is_nothing(cora_result(done)));
    cora_when_done(cora_sock_sendall(page->client, "GET / HTTP/1.0\r\n\r\n", 18),
                   cora_partial(page_request_sent, page));
}

TEST(client_ops, "connect, sendall, recv and recv_into fetch a page, also in debug mode",
     "test_sock_lowlevel.BaseSockTestsMixin.test_sock_client_ops")
{
    cora_loop loop = current_loop_new();
    struct page page = { .loop = loop, .listener = listener_new(), .client = tcp_new() };
    cora_set_debug(loop, true);
    cora_when_done(cora_sock_accept(page.listener), cora_partial(page_accepted, &page));
    cora_when_done(connecting(page.client, page.listener), cora_partial(page_connected, &page));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_TEXT(page.request, "GET / HTTP/1.0\r\n\r\n");
    CHECK_TEXT(page.answer, "HTTP/1.0 200 OK\r\n\r\nhigh water at noon");
    close(page.listener);
    close(page.client);
    current_loop_end(loop);
}

/* ---- in steps ---- */

/* A boat: a coroutine that receives, and notes what came when. */
struct boat {
    struct notes *notes;
    int socket;
};

static cora_next boat_came(cora_coro self)
{
    char text[100];
    cora_print(cora_got(self), text, sizeof text);
    add_note(cora_locals(self, struct boat)->notes, text);
    return cora_return_nothing(self);
}

static cora_next boat_recv(cora_coro self)
{
    struct boat *boat = cora_locals(self, struct boat);
    cora_call_soon(cora_running_loop(), cora_partial(note, boat->notes, "next tick"));
    return cora_await(self, cora_sock_recv(boat->socket, 10), boat_came);
}

static cora_coro boat_new(struct notes *notes, int socket)
{
    return cora_coroutine(boat_recv, struct boat, .notes = notes, .socket = socket);
}

TEST(step_at_once, "a step that awaits bytes that are there goes on in the same tick")
{
    cora_loop loop = virtual_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    put(pair.far, "here");
    CHECK_TEXT(ran(loop, boat_new(&notes, pair.near)), "None");
    CHECK_TEXT(notes.text, "b\"here\" next tick");
    pair_close(pair);
    end(loop);
}

static cora_next boat_send_all(cora_coro self)
{
    struct boat *boat = cora_locals(self, struct boat);
    cora_call_soon(cora_running_loop(), cora_partial(note, boat->notes, "next tick"));
    return cora_await(self, cora_sock_sendall(boat->socket, "over", 4), boat_came);
}

TEST(step_sends_at_once, "a step that awaits sending what there is room for goes on in the same "
                         "tick")
{
    cora_loop loop = virtual_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    cora_coro boat =
        cora_coroutine(boat_send_all, struct boat, .notes = &notes, .socket = pair.near);
    CHECK_TEXT(ran(loop, boat), "None");
    CHECK_TEXT(notes.text, "None next tick");
    pair_close(pair);
    end(loop);
}

TEST(step_waits, "a step that waits for bytes goes on a tick after they were seen")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    cora_future task = cora_create_task(loop, boat_new(&notes, pair.near));
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "next tick");
    put(pair.far, "there");
    tick(loop);
    CHECK_TEXT(notes.text, "next tick");
    tick(loop);
    CHECK_TEXT(notes.text, "next tick b\"there\"");
    cora_release(task);
    pair_close(pair);
    current_loop_end(loop);
}

TEST(step_cancelled, "a task that is cancelled while it waits for bytes, or when they were seen, "
                     "takes none")
{
    for (int seen = 0; seen < 2; seen++) {
        cora_loop loop = current_loop_new();
        struct pair pair = pair_new();
        struct notes notes = { "" };
        cora_future task = cora_create_task(loop, boat_new(&notes, pair.near));
        ticks(loop, 2);
        if (seen) {
            put(pair.far, "late");
            tick(loop);
        }
        CHECK(cora_cancel(task));
        ticks(loop, 2);
        CHECK(cora_cancelled(task));
        CHECK(!had_watcher(loop, pair.near));
        CHECK_TEXT(take(pair.near), seen ? "late" : "");
        cora_release(task);
        pair_close(pair);
        current_loop_end(loop);
    }
}

static cora_next boat_recv_only(cora_coro self)
{
    return cora_await(self, cora_sock_recv(cora_locals(self, struct boat)->socket, 10), boat_came);
}

TEST(step_closed, "closing a coroutine that waits for bytes ends the waiting in that very call")
{
    cora_loop loop = current_loop_new();
    struct pair pair = pair_new();
    struct notes notes = { "" };
    cora_coro boat =
        cora_coroutine(boat_recv_only, struct boat, .notes = &notes, .socket = pair.near);
    cora_value waited_for;
    CHECK_INT(cora_send(boat, cora_nothing(), &waited_for), 1);
    CHECK_INT(cora_coro_close(boat), 0);
    CHECK(!had_watcher(loop, pair.near));
    put(pair.far, "still here");
    ticks(loop, 2);
    CHECK_TEXT(take(pair.near), "still here");
    CHECK_TEXT(notes.text, "");
    pair_close(pair);
    current_loop_end(loop);
}
