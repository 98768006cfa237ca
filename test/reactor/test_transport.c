/*
 * Transports: when they start and read, how they write, keep and flush, and how they end. The other
 * end is a plain descriptor that the test plays; failing system calls are made by peers that reset
 * or do not read, else by send, sendmsg and recv of network_helpers.h. What protocols may do in
 * their callbacks is in test_protocol.c.
 */
#include "network_helpers.h"

#include <pthread.h>
#include <sys/uio.h>

#define IDLE "read=polling write=<idle, bufsize=0>"

/* Nothing is sent by now, so that all that is written is kept. */
static void clog_writes(int descriptor)
{
    faults_on(descriptor);
    faults.send_error = EAGAIN;
}

static int write_text(cora_transport transport, const char *text)
{
    return cora_transport_write(transport, text, strlen(text));
}

static void write_crates(struct keeper *keeper)
{
    CHECK_INT(write_text(keeper->transport, "crates"), 0);
}

/* ---- how they start ---- */

TEST(made_in_next_tick, "connection_made comes in the next tick, not inside the call")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_connect(loop, &keeper, pair.near);
    CHECK_TEXT(keeper.log, "");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "made");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(made_has_the_handle, "connection_made gets the handle that the making returned")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_connect(loop, &keeper, pair.near);
    cora_transport made = keeper.transport;
    keeper.transport = (cora_transport){ 0 };
    run_tick(loop);
    CHECK(cora_same(keeper.transport, made));
    cora_loop_close(loop);
    close(pair.far);
}

TEST(made_before_data, "connection_made comes before data that has been there for long")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    put(pair.far, "mail");
    keeper_connect(loop, &keeper, pair.near);
    run_tick(loop);
    CHECK_TEXT(keeper.log, "made");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "made data:mail");
    cora_loop_close(loop);
    close(pair.far);
}

static void on_outcome(cora_args bound, cora_value outcome)
{
    struct keeper *keeper = cora_arg(bound, 0, struct keeper *);
    bool is_it = cora_same(cora_as_transport(outcome), keeper->transport);
    keeper_note(keeper, is_it ? "connected" : "failed");
}

static void connect_socket(cora_loop loop, struct keeper *keeper, int socket)
{
    keeper->loop = loop;
    keeper->connector =
        cora_connect(loop, &(struct cora_connect_options){ .socket = socket },
                     cora_partial(keeper_new, keeper), cora_partial(on_outcome, keeper));
    CHECK(!cora_is_null(keeper->connector));
}

TEST(made_before_outcome,
     "who connects is told after connection_made, with the transport, and before data",
     "test_selector_events.SelectorSocketTransportTests.test_ctor_with_waiter")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    put(pair.far, "mail");
    connect_socket(loop, &keeper, pair.near);
    run_tick(loop);
    CHECK_TEXT(keeper.log, "made");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "made connected data:mail");
    cora_loop_close(loop);
    close(pair.far);
}

static void cancel_connect(struct keeper *keeper)
{
    CHECK(cora_connector_cancel(keeper->connector));
}

TEST(cancelled_connect_is_aborted,
     "a connect that is cancelled in connection_made ends with connection_lost, and tells nobody")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .when = MADE, .act = cancel_connect };
    connect_socket(loop, &keeper, pair.near);
    run_ticks(loop, 3);
    CHECK_TEXT(keeper.log, "made lost");
    CHECK_INT(keeper.dropped, 1);
    cora_loop_close(loop);
    close(pair.far);
}

TEST(paused_when_made, "pausing in connection_made: nothing is read until reading is resumed",
     "test_selector_events.SelectorSocketTransportTests.test_pause_reading_connection_made")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .when = MADE, .act = pause_own };
    put(pair.far, "mail");
    keeper_connect(loop, &keeper, pair.near);
    run_ticks(loop, 3);
    CHECK_TEXT(keeper.log, "made");
    CHECK_TEXT(state_of(keeper.transport), "read=idle write=<idle, bufsize=0>");
    CHECK_INT(cora_transport_resume_reading(keeper.transport), 0);
    run_tick(loop);
    CHECK_TEXT(keeper.log, "made data:mail");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(closed_when_made, "closing in connection_made: nothing is read, connection_lost follows")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .when = MADE, .act = close_own };
    put(pair.far, "mail");
    keeper_connect(loop, &keeper, pair.near);
    run_ticks(loop, 3);
    CHECK_TEXT(keeper.log, "made lost");
    cora_loop_close(loop);
    close(pair.far);
}

static void write_and_close(struct keeper *keeper)
{
    write_crates(keeper);
    close_own(keeper);
}

TEST(closing_when_made, "writing and closing in connection_made: it is sent, and nothing is read")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .when = MADE, .act = write_and_close };
    put(pair.far, "mail");
    keeper_connect(loop, &keeper, pair.near);
    clog_writes(pair.near);
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "made");
    CHECK_INT(faults.recvs, 0);
    faults_end();
    run_tick(loop);
    CHECK_TEXT(keeper.log, "made lost");
    CHECK_TEXT(take(pair.far), "crates");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(closed_before_made, "one that is closed at once gets connection_made, then connection_lost")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_connect(loop, &keeper, pair.near);
    close_own(&keeper);
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "made lost");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(aborted_before_made, "one that is aborted at once gets connection_made, then connection_lost")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_connect(loop, &keeper, pair.near);
    abort_own(&keeper);
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "made lost");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(writes_before_made, "what is written before connection_made is sent")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_connect(loop, &keeper, pair.near);
    write_crates(&keeper);
    run_tick(loop);
    CHECK_TEXT(take(pair.far), "crates");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(sockets_get_ready, "the socket is made non-blocking and is not inherited")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = tcp_pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    CHECK(fcntl(pair.near, F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(pair.near, F_GETFD) & FD_CLOEXEC);
    cora_loop_close(loop);
    close(pair.far);
}

static int has_nodelay(int descriptor)
{
    int value = -1;
    socklen_t size = sizeof value;
    CHECK_INT(getsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &value, &size), 0);
    return value != 0;
}

TEST(tcp_does_not_wait, "TCP_NODELAY is off on a new socket, and on once it is a connection's",
     "test_base_events.TestSelectorUtils.test_set_nodelay")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = tcp_pair_new();
    struct keeper keeper = { .loop = loop };
    CHECK_INT(has_nodelay(pair.near), 0);
    keeper_connect(loop, &keeper, pair.near);
    CHECK_INT(has_nodelay(pair.near), 1);
    cora_loop_close(loop);
    close(pair.far);
}

TEST(refuses_other_sockets, "a datagram socket is a ValueError, and stays the caller's")
{
    cora_loop loop = cora_loop_new(NULL);
    struct keeper keeper = { .loop = loop };
    int datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    cora_transport made =
        cora_connect_accepted_socket(loop, datagrams, cora_partial(keeper_new, &keeper));
    CHECK(cora_is_null(made));
    CHECK_INT(cora_last_error_code(), CORA_EVALUE);
    CHECK(is_open(datagrams));
    CHECK_INT(keeper.dropped, 0);
    close(datagrams);
    cora_loop_close(loop);
}

TEST(refuses_closed_sockets, "a descriptor that is none is an OSError, a file too")
{
    cora_loop loop = cora_loop_new(NULL);
    struct keeper keeper = { .loop = loop };
    int file = open("/dev/null", O_RDWR | O_CLOEXEC);
    CHECK(cora_is_null(cora_connect_accepted_socket(loop, -1, cora_partial(keeper_new, &keeper))));
    CHECK_INT(cora_last_error_code(), -EBADF);
    CHECK(
        cora_is_null(cora_connect_accepted_socket(loop, file, cora_partial(keeper_new, &keeper))));
    CHECK_INT(cora_last_error_code(), -ENOTSOCK);
    close(file);
    cora_loop_close(loop);
}

TEST(refuses_a_closed_loop, "a closed loop makes no connection, and the socket stays open")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    cora_loop_close(loop);
    CHECK(cora_is_null(
        cora_connect_accepted_socket(loop, pair.near, cora_partial(keeper_new, &keeper))));
    CHECK_INT(cora_last_error_code(), CORA_ERUNTIME);
    CHECK(is_open(pair.near));
    close(pair.near);
    close(pair.far);
}

TEST(refuses_a_descriptor_twice,
     "a descriptor that a live connection has cannot become that of another one",
     "test_selector_events.BaseSelectorEventLoopTests.test_make_socket_transport")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop }, second = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    cora_transport made =
        cora_connect_accepted_socket(loop, pair.near, cora_partial(keeper_new, &second));
    CHECK(cora_is_null(made));
    CHECK_INT(cora_last_error_code(), CORA_ERUNTIME);
    put(pair.far, "mail");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "data:mail");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(refuses_a_descriptor_twice_before_made,
     "that is so before connection_made, too, when nothing is watched yet")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop }, second = { .loop = loop };
    keeper_connect(loop, &keeper, pair.near);
    cora_transport made =
        cora_connect_accepted_socket(loop, pair.near, cora_partial(keeper_new, &second));
    CHECK(cora_is_null(made));
    CHECK_INT(cora_last_error_code(), CORA_ERUNTIME);
    cora_loop_close(loop);
    close(pair.far);
}

TEST(takes_a_number_again, "a number that was closed may be the next connection's at once")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop }, second = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    abort_own(&keeper);
    run_tick(loop);
    CHECK(!is_open(pair.near));
    struct pair again = pair_new();
    CHECK_INT(again.near, pair.near);
    put(again.far, "mail");
    keeper_connect(loop, &second, again.near);
    run_ticks(loop, 2);
    CHECK_TEXT(second.log, "made data:mail");
    CHECK_TEXT(keeper.log, "lost");
    cora_loop_close(loop);
    close(pair.far);
    close(again.far);
}

/* ---- reading ---- */

TEST(reads_once_in_a_tick, "one recv of up to 256 KiB each time the socket is readable",
     "test_selector_events.SelectorSocketTransportTests.test_read_ready")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    faults_on(pair.near);
    put(pair.far, "mail");
    run_tick(loop);
    CHECK_INT(faults.recvs, 1);
    CHECK_INT(faults.recv_size, 256 * 1024);
    CHECK_TEXT(keeper.log, "data:mail");
    run_tick(loop);
    CHECK_INT(faults.recvs, 1);
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(reads_all_that_is_there, "what has come in several pieces is one piece of data")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    put(pair.far, "letters ");
    put(pair.far, "cards");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "data:letters cards");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(reads_then_ends, "data that came before the end is told before the end, in a tick of its own")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    put(pair.far, "mail");
    close(pair.far);
    run_tick(loop);
    CHECK_TEXT(keeper.log, "data:mail");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "data:mail eof");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "data:mail eof lost");
    cora_loop_close(loop);
}

TEST(end_closes, "the peer's end is eof_received, and closes if that returns false",
     "test_selector_events.SelectorSocketTransportTests.test_read_ready_eof")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    shutdown(pair.far, SHUT_WR);
    run_tick(loop);
    CHECK_TEXT(keeper.log, "eof");
    CHECK(cora_transport_is_closing(keeper.transport));
    run_tick(loop);
    CHECK_TEXT(keeper.log, "eof lost");
    CHECK_TEXT(take(pair.far), "end");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(end_keeps_open, "if eof_received returns true, the connection stays open for writing",
     "test_selector_events.SelectorSocketTransportTests.test_read_ready_eof_keep_open")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .keeps_open = true };
    keeper_open(loop, &keeper, pair.near);
    shutdown(pair.far, SHUT_WR);
    run_ticks(loop, 3);
    CHECK_TEXT(keeper.log, "eof");
    CHECK(!cora_transport_is_closing(keeper.transport));
    CHECK_TEXT(state_of(keeper.transport), "read=idle write=<idle, bufsize=0>");
    write_crates(&keeper);
    CHECK_TEXT(take(pair.far), "crates");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(end_flushes, "the peer's end closes after all that was written has been sent")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    clog_writes(pair.near);
    write_crates(&keeper);
    shutdown(pair.far, SHUT_WR);
    run_ticks(loop, 3);
    CHECK_TEXT(keeper.log, "eof");
    faults_end();
    run_tick(loop);
    CHECK_TEXT(keeper.log, "eof lost");
    CHECK_TEXT(take(pair.far), "crates");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(read_would_block, "a read that would block changes nothing",
     "test_selector_events.SelectorSocketTransportTests.test_read_ready_tryagain")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    put(pair.far, "mail");
    faults_on(pair.near);
    faults.recv_error = EAGAIN;
    run_ticks(loop, 2);
    CHECK_INT(faults.recvs, 2);
    CHECK_TEXT(keeper.log, "");
    CHECK_TEXT(state_of(keeper.transport), IDLE);
    faults_end();
    run_tick(loop);
    CHECK_TEXT(keeper.log, "data:mail");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(read_interrupted, "a read that a signal interrupts changes nothing",
     "test_selector_events.SelectorSocketTransportTests.test_read_ready_tryagain_interrupted")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    put(pair.far, "mail");
    faults_on(pair.near);
    faults.recv_error = EINTR;
    run_tick(loop);
    CHECK_INT(faults.recvs, 1);
    CHECK_TEXT(keeper.log, "");
    faults_end();
    run_tick(loop);
    CHECK_TEXT(keeper.log, "data:mail");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(read_reset, "a reset is told by connection_lost, and is not reported",
     "test_selector_events.SelectorSocketTransportTests.test_read_ready_conn_reset")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = tcp_pair_new();
    struct keeper keeper = { .loop = loop };
    struct reports reports = { .count = 0 };
    reports_to(loop, &reports);
    keeper_open(loop, &keeper, pair.near);
    reset(pair.far);
    RUN_UNTIL(loop, keeper.lost);
    CHECK_TEXT(keeper.log, "lost:ConnectionResetError");
    CHECK_INT(reports.count, 0);
    CHECK(!is_open(pair.near));
    cora_loop_close(loop);
}

TEST(read_fails, "any other error of the system's on reading ends the connection with it",
     "test_selector_events.SelectorSocketTransportTests.test_read_ready_err")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    struct reports reports = { .count = 0 };
    reports_to(loop, &reports);
    keeper_open(loop, &keeper, pair.near);
    put(pair.far, "mail");
    faults_on(pair.near);
    faults.recv_error = EACCES;
    run_tick(loop);
    CHECK(cora_transport_is_closing(keeper.transport));
    CHECK_TEXT(keeper.log, "");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "lost:PermissionError");
    CHECK_INT(faults.recvs, 1);
    CHECK_INT(reports.count, 0);
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(pauses_and_resumes, "pausing and resuming may be repeated without effect; is_reading follows",
     "test_selector_events.SelectorSocketTransportTests.test_pause_resume_reading")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    cora_transport transport = keeper.transport;
    CHECK(cora_transport_is_reading(transport));
    for (int i = 0; i < 2; i++) {
        CHECK_INT(cora_transport_pause_reading(transport), 0);
        CHECK(!cora_transport_is_reading(transport));
        CHECK_TEXT(state_of(transport), "read=idle write=<idle, bufsize=0>");
    }
    put(pair.far, "mail");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "");
    for (int i = 0; i < 2; i++) {
        CHECK_INT(cora_transport_resume_reading(transport), 0);
        CHECK(cora_transport_is_reading(transport));
        CHECK_TEXT(state_of(transport), IDLE);
    }
    run_tick(loop);
    CHECK_TEXT(keeper.log, "data:mail");
    close_own(&keeper);
    CHECK(!cora_transport_is_reading(transport));
    CHECK_INT(cora_transport_pause_reading(transport), 0);
    CHECK_INT(cora_transport_resume_reading(transport), 0);
    CHECK(!cora_transport_is_reading(transport));
    cora_loop_close(loop);
    close(pair.far);
}

TEST(closing_never_reads, "one that is closing does not read again, also if it is resumed",
     "test_selector_events.SelectorTransportTests.test__add_reader")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    clog_writes(pair.near);
    write_crates(&keeper);
    CHECK_INT(cora_transport_pause_reading(keeper.transport), 0);
    close_own(&keeper);
    CHECK_INT(cora_transport_resume_reading(keeper.transport), 0);
    put(pair.far, "mail");
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "");
    CHECK_INT(faults.recvs, 0);
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

/* Runs a step on a keeper when its reader is queued behind in the same tick. */
static void act_now(cora_args bound)
{
    struct keeper *keeper = cora_arg(bound, 0, struct keeper *);
    keeper->act(keeper);
}

/* What a connection is told whose data is queued when this is done to it. */
static const char *after_queued_read(void (*act)(struct keeper *keeper))
{
    static char log[800];
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .act = act };
    keeper_open(loop, &keeper, pair.near);
    put(pair.far, "mail");
    cora_call_soon(loop, cora_partial(act_now, &keeper));
    run_ticks(loop, 3);
    snprintf(log, sizeof log, "%s", keeper.log);
    cora_loop_close(loop);
    close(pair.far);
    return log;
}

TEST(no_data_after_close, "one that is queued to read and closed earlier in the tick gets no data")
{
    CHECK_TEXT(after_queued_read(close_own), "lost");
}

TEST(no_data_after_abort, "one that is queued to read and aborted earlier in the tick gets no data")
{
    CHECK_TEXT(after_queued_read(abort_own), "lost");
}

TEST(no_data_while_paused, "one that is queued to read and paused earlier in the tick gets no data")
{
    CHECK_TEXT(after_queued_read(pause_own), "");
}

/* The other connection's handle is its sibling's. */
TEST(sibling_closes_before_data,
     "of two connections that are readable, the first may close the second, which gets no data")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair one = pair_new(), two = pair_new();
    struct keeper first = { .loop = loop }, second = { .loop = loop };
    keeper_open(loop, &first, one.near);
    keeper_open(loop, &second, two.near);
    first.other = &second;
    second.other = &first;
    keeper_will(&first, DATA, close_other);
    keeper_will(&second, DATA, close_other);
    put(one.far, "mail");
    put(two.far, "mail");
    run_ticks(loop, 3);
    bool first_was_first = first.received > 0;
    CHECK_TEXT(first_was_first ? first.log : second.log, "data:mail");
    CHECK_TEXT(first_was_first ? second.log : first.log, "lost");
    cora_loop_close(loop);
    close(one.far);
    close(two.far);
}

TEST(reads_into_one_room, "two connections that are readable in one tick get what is theirs")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair one = pair_new(), two = pair_new();
    struct keeper first = { .loop = loop }, second = { .loop = loop };
    keeper_open(loop, &first, one.near);
    keeper_open(loop, &second, two.near);
    put(one.far, "letters");
    put(two.far, "cards");
    run_tick(loop);
    CHECK_TEXT(first.log, "data:letters");
    CHECK_TEXT(second.log, "data:cards");
    cora_loop_close(loop);
    close(one.far);
    close(two.far);
}

/* ---- writing at once ---- */

TEST(write_sends_at_once, "with nothing kept a write sends within the call, and nothing is polled",
     "test_selector_events.SelectorSocketTransportTests.test_write")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    CHECK_TEXT(take(pair.far), "crates");
    CHECK_INT(cora_transport_get_write_buffer_size(keeper.transport), 0);
    CHECK_TEXT(state_of(keeper.transport), IDLE);
    cora_loop_close(loop);
    close(pair.far);
}

TEST(write_leaves_bytes_alone, "a write does not change the caller's bytes, sent or kept",
     "test_selector_events.SelectorSocketTransportTests.test_write_bytearray")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    char bytes[] = "crates";
    keeper_open(loop, &keeper, pair.near);
    faults_on(pair.near);
    faults.send_most = 2;
    CHECK_INT(cora_transport_write(keeper.transport, bytes, 6), 0);
    run_ticks(loop, 3);
    CHECK_TEXT(bytes, "crates");
    CHECK_TEXT(take(pair.far), "crates");
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(write_of_nothing, "a write of no bytes does nothing")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    faults_on(pair.near);
    CHECK_INT(cora_transport_write(keeper.transport, NULL, 0), 0);
    CHECK_INT(cora_transport_writelines(keeper.transport, NULL, 0), 0);
    CHECK_INT(faults.sends + faults.sendmsgs, 0);
    CHECK_TEXT(state_of(keeper.transport), IDLE);
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(write_partial, "what a write could not send is kept, and sent when the socket takes it",
     "test_selector_events.SelectorSocketTransportTests.test_write_partial",
     "test_selector_events.SelectorSocketTransportTests.test_write_ready")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    faults_on(pair.near);
    faults.send_most = 2;
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    CHECK_INT(faults.sends, 1);
    CHECK_TEXT(take(pair.far), "cr");
    CHECK_INT(cora_transport_get_write_buffer_size(keeper.transport), 4);
    CHECK_TEXT(state_of(keeper.transport), "read=polling write=<polling, bufsize=4>");
    faults.send_most = -1;
    run_tick(loop);
    CHECK_TEXT(take(pair.far), "ates");
    CHECK_TEXT(state_of(keeper.transport), IDLE);
    int calls = faults.sendmsgs;
    run_tick(loop);
    CHECK_INT(faults.sendmsgs, calls);
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(write_partial_copies, "what is kept is a copy: the caller may use its bytes for others",
     "test_selector_events.SelectorSocketTransportTests.test_write_partial_bytearray")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    char bytes[] = "crates";
    keeper_open(loop, &keeper, pair.near);
    faults_on(pair.near);
    faults.send_most = 2;
    CHECK_INT(cora_transport_write(keeper.transport, bytes, 6), 0);
    memset(bytes, 'x', 6);
    run_ticks(loop, 2);
    CHECK_TEXT(take(pair.far), "crates");
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(write_takes_none, "a send of 0 bytes keeps everything, and polls",
     "test_selector_events.SelectorSocketTransportTests.test_write_partial_none")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    faults_on(pair.near);
    faults.send_most = 0;
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    CHECK_TEXT(state_of(keeper.transport), "read=polling write=<polling, bufsize=6>");
    faults_end();
    run_tick(loop);
    CHECK_TEXT(take(pair.far), "crates");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(write_would_block, "a send that would block keeps everything, and is not an error")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    clog_writes(pair.near);
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    CHECK_TEXT(state_of(keeper.transport), "read=polling write=<polling, bufsize=6>");
    faults_end();
    run_tick(loop);
    CHECK_TEXT(take(pair.far), "crates");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(write_too_much, "more bytes than there can be are refused, and the connection goes on")
{
    static const size_t sizes[] = { SIZE_MAX, SIZE_MAX - 1, (size_t)PTRDIFF_MAX + 1 };
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
        cora_loop loop = cora_loop_new(NULL);
        struct pair pair = pair_new();
        struct keeper keeper = { .loop = loop };
        keeper_open(loop, &keeper, pair.near);
        if (i % 2)
            clog_writes(pair.near);
        CHECK(cora_transport_write(keeper.transport, "crates", sizes[i / 2]) < 0);
        CHECK(!cora_transport_is_closing(keeper.transport));
        CHECK_INT(cora_transport_get_write_buffer_size(keeper.transport), 0);
        faults_end();
        CHECK_INT(write_text(keeper.transport, "crates"), 0);
        CHECK_TEXT(take(pair.far), "crates");
        cora_loop_close(loop);
        close(pair.far);
    }
}

TEST(write_interrupted, "a send that a signal interrupts keeps everything, and is not an error")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    faults_on(pair.near);
    faults.send_error = EINTR;
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    run_tick(loop);
    CHECK_INT(faults.sendmsgs, 1);
    CHECK_TEXT(state_of(keeper.transport), "read=polling write=<polling, bufsize=6>");
    faults_end();
    run_tick(loop);
    CHECK_TEXT(take(pair.far), "crates");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(write_appends, "with something kept a write only appends, and sends nothing",
     "test_selector_events.SelectorSocketTransportTests.test_write_buffer")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    clog_writes(pair.near);
    CHECK_INT(write_text(keeper.transport, "crates "), 0);
    faults_on(pair.near);
    CHECK_INT(write_text(keeper.transport, "and sacks"), 0);
    CHECK_INT(faults.sends + faults.sendmsgs, 0);
    CHECK_INT(cora_transport_get_write_buffer_size(keeper.transport), 16);
    run_tick(loop);
    CHECK_TEXT(take(pair.far), "crates and sacks");
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(write_fails,
     "a failing send ends the connection; later writes are dropped without a send, "
     "and from the fifth on they are reported",
     "test_selector_events.SelectorSocketTransportTests.test_write_exception")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    struct reports reports = { .count = 0 };
    reports_to(loop, &reports);
    keeper_open(loop, &keeper, pair.near);
    close(pair.far);
    faults_on(pair.near);
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    CHECK_INT(faults.sends, 1);
    CHECK(cora_transport_is_closing(keeper.transport));
    CHECK_INT(cora_transport_get_write_buffer_size(keeper.transport), 0);
    for (int i = 1; i <= 4; i++)
        CHECK_INT(write_text(keeper.transport, "crates"), 0);
    CHECK_INT(reports.count, 0);
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "socket.send() raised exception.");
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    CHECK_INT(reports.count, 2);
    CHECK_INT(faults.sends, 1);
    CHECK_TEXT(keeper.log, "");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "lost:BrokenPipeError");
    faults_end();
    cora_loop_close(loop);
}

TEST(empty_writes_do_not_count, "a write of no bytes to one that is lost is not counted")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    struct reports reports = { .count = 0 };
    reports_to(loop, &reports);
    keeper_open(loop, &keeper, pair.near);
    abort_own(&keeper);
    for (int i = 0; i < 8; i++) {
        CHECK_INT(cora_transport_write(keeper.transport, "", 0), 0);
        CHECK_INT(cora_transport_writelines(keeper.transport, NULL, 0), 0);
    }
    CHECK_INT(reports.count, 0);
    cora_loop_close(loop);
    close(pair.far);
}

TEST(writes_after_close_are_dropped,
     "after close with nothing kept, writes are dropped and counted")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    struct reports reports = { .count = 0 };
    reports_to(loop, &reports);
    keeper_open(loop, &keeper, pair.near);
    close_own(&keeper);
    for (int i = 1; i <= 4; i++)
        CHECK_INT(write_text(keeper.transport, "crates"), 0);
    CHECK_INT(reports.count, 0);
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    CHECK_INT(reports.count, 1);
    CHECK(cora_same(reports.transport, keeper.transport));
    run_tick(loop);
    CHECK_TEXT(take(pair.far), "end");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(writes_while_closing_are_sent, "after close with something kept, writes are sent, too")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    clog_writes(pair.near);
    CHECK_INT(write_text(keeper.transport, "crates "), 0);
    close_own(&keeper);
    CHECK_INT(write_text(keeper.transport, "and sacks"), 0);
    faults_end();
    run_tick(loop);
    CHECK_TEXT(take(pair.far), "crates and sacks");
    CHECK_TEXT(keeper.log, "lost");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(no_signal_of_a_lost_peer, "writing to a peer that has gone raises no SIGPIPE, in any way")
{
    cora_loop loop = cora_loop_new(NULL);
    struct keeper keepers[2] = { { .loop = loop }, { .loop = loop } };
    struct iovec chunk = { (char[]){ "sacks" }, 5 };
    for (int i = 0; i < 2; i++) {
        struct pair pair = pair_new();
        keeper_open(loop, &keepers[i], pair.near);
        close(pair.far);
        if (i == 0)
            CHECK_INT(write_text(keepers[i].transport, "crates"), 0);
        else
            CHECK_INT(cora_transport_writelines(keepers[i].transport, &chunk, 1), 0);
    }
    run_tick(loop);
    CHECK_TEXT(keepers[0].log, "lost:BrokenPipeError");
    CHECK_TEXT(keepers[1].log, "lost:BrokenPipeError");
    cora_loop_close(loop);
}

/* ---- sending what is kept ---- */

/* A connection with "crates" kept. */
static void open_with_crates(cora_loop loop, struct keeper *keeper, int socket)
{
    keeper_open(loop, keeper, socket);
    clog_writes(socket);
    CHECK_INT(write_text(keeper->transport, "crates"), 0);
    faults_on(socket);
}

TEST(flush_partial, "a flush that takes part keeps the rest, and polls on",
     "test_selector_events.SelectorSocketTransportTests.test_write_ready_partial",
     "test_selector_events.SelectorSocketTransportTests.test_write_sendmsg_partial")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    open_with_crates(loop, &keeper, pair.near);
    faults.send_most = 2;
    run_tick(loop);
    CHECK_TEXT(take(pair.far), "cr");
    CHECK_TEXT(state_of(keeper.transport), "read=polling write=<polling, bufsize=4>");
    run_tick(loop);
    CHECK_TEXT(take(pair.far), "at");
    run_tick(loop);
    CHECK_TEXT(take(pair.far), "es");
    CHECK_TEXT(state_of(keeper.transport), IDLE);
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(flush_takes_none, "a flush that takes 0 bytes keeps everything, and polls on",
     "test_selector_events.SelectorSocketTransportTests.test_write_ready_partial_none")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    open_with_crates(loop, &keeper, pair.near);
    faults.send_most = 0;
    run_ticks(loop, 2);
    CHECK_INT(faults.sendmsgs, 2);
    CHECK_TEXT(state_of(keeper.transport), "read=polling write=<polling, bufsize=6>");
    faults_end();
    run_tick(loop);
    CHECK_TEXT(take(pair.far), "crates");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(flush_would_block, "a flush that would block keeps everything, and polls on",
     "test_selector_events.SelectorSocketTransportTests.test_write_ready_tryagain")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    open_with_crates(loop, &keeper, pair.near);
    faults.send_error = EAGAIN;
    run_ticks(loop, 2);
    CHECK_INT(faults.sendmsgs, 2);
    CHECK_TEXT(state_of(keeper.transport), "read=polling write=<polling, bufsize=6>");
    faults_end();
    run_tick(loop);
    CHECK_TEXT(take(pair.far), "crates");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(flush_fails, "a flush that fails ends the connection with that error, and drops what is kept",
     "test_selector_events.SelectorSocketTransportTests.test_write_ready_exception",
     "test_selector_events.SelectorSocketTransportTests.test_write_sendmsg_OSError")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    struct reports reports = { .count = 0 };
    reports_to(loop, &reports);
    open_with_crates(loop, &keeper, pair.near);
    faults.send_error = ECONNRESET;
    run_tick(loop);
    CHECK_INT(faults.sendmsgs, 1);
    CHECK_INT(cora_transport_get_write_buffer_size(keeper.transport), 0);
    CHECK(cora_transport_is_closing(keeper.transport));
    CHECK_TEXT(keeper.log, "");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "lost:ConnectionResetError");
    CHECK_INT(faults.sendmsgs, 1);
    CHECK_INT(reports.count, 0);
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(flush_closing,
     "the last byte of one that is closing: connection_lost at once, then the socket",
     "test_selector_events.SelectorSocketTransportTests.test_write_ready_closing",
     "test_selector_events.SelectorTransportTests.test_close_write_buffer")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    open_with_crates(loop, &keeper, pair.near);
    faults.send_most = 3;
    close_own(&keeper);
    CHECK(!cora_transport_is_reading(keeper.transport));
    run_tick(loop);
    CHECK_TEXT(keeper.log, "");
    CHECK(is_open(pair.near));
    run_tick(loop);
    CHECK_TEXT(keeper.log, "lost");
    CHECK(!is_open(pair.near));
    CHECK_TEXT(take(pair.far), "crates");
    CHECK_TEXT(take(pair.far), "end");
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(flush_no_data, "writing no bytes while something is kept sends nothing",
     "test_selector_events.SelectorSocketTransportTests.test_write_sendmsg_no_data")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    open_with_crates(loop, &keeper, pair.near);
    CHECK_INT(cora_transport_write(keeper.transport, "", 0), 0);
    CHECK_INT(faults.sends + faults.sendmsgs, 0);
    CHECK_TEXT(state_of(keeper.transport), "read=polling write=<polling, bufsize=6>");
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

#define LOAD 5000

/* Two loads that are kept in two chunks, of letters a and b. */
static void open_with_loads(cora_loop loop, struct keeper *keeper, int socket)
{
    static char one[LOAD], two[LOAD];
    memset(one, 'a', LOAD);
    memset(two, 'b', LOAD);
    keeper_open(loop, keeper, socket);
    clog_writes(socket);
    CHECK_INT(cora_transport_write(keeper->transport, one, LOAD), 0);
    CHECK_INT(cora_transport_write(keeper->transport, two, LOAD), 0);
    faults_on(socket);
}

/* How many bytes of this letter come next. */
static size_t take_letters(int descriptor, char letter, size_t most)
{
    size_t count = 0;
    for (char byte; count < most && recv(descriptor, &byte, 1, 0) == 1; count++)
        CHECK_INT(byte, letter);
    return count;
}

TEST(flush_full, "two chunks that are kept are sent by one gathered write",
     "test_selector_events.SelectorSocketTransportTests.test_write_sendmsg_full")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    open_with_loads(loop, &keeper, pair.near);
    run_tick(loop);
    CHECK_INT(faults.sendmsgs, 1);
    CHECK_INT(faults.chunks, 2);
    CHECK_TEXT(state_of(keeper.transport), IDLE);
    CHECK_INT(take_letters(pair.far, 'a', LOAD), LOAD);
    CHECK_INT(take_letters(pair.far, 'b', LOAD), LOAD);
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(flush_half, "of two chunks 2 bytes are sent: the tail of the first and the second are kept",
     "test_selector_events.SelectorSocketTransportTests.test_write_sendmsg_half_buffer")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    open_with_loads(loop, &keeper, pair.near);
    faults.send_most = 2;
    run_tick(loop);
    CHECK_INT(cora_transport_get_write_buffer_size(keeper.transport), 2 * LOAD - 2);
    CHECK_TEXT(take(pair.far), "aa");
    faults.send_most = -1;
    run_tick(loop);
    CHECK_INT(take_letters(pair.far, 'a', LOAD - 2), LOAD - 2);
    CHECK_INT(take_letters(pair.far, 'b', LOAD), LOAD);
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(flush_across, "a flush that ends within the second chunk keeps exactly its rest")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    open_with_loads(loop, &keeper, pair.near);
    faults.send_most = LOAD + 7;
    run_tick(loop);
    CHECK_INT(cora_transport_get_write_buffer_size(keeper.transport), LOAD - 7);
    run_tick(loop);
    CHECK_TEXT(state_of(keeper.transport), IDLE);
    CHECK_INT(take_letters(pair.far, 'a', LOAD), LOAD);
    CHECK_INT(take_letters(pair.far, 'b', 2 * LOAD), LOAD);
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

/* What is sent when there is much of it: every byte tells its place. */
static char byte_at(size_t place)
{
    return (char)(place * 2654435761u >> 13);
}

/* Reads all that has come; checks that it is what comes next. */
static void take_in_order(int descriptor, size_t *place)
{
    char block[5000];
    for (ssize_t length; (length = read(descriptor, block, sizeof block)) > 0;)
        for (ssize_t i = 0; i < length; i++)
            if (block[i] != byte_at((*place)++))
                CHECK_INT(*place - 1, -1);
}

TEST(much_through_a_narrow_pipe, "a megabyte in writes of all sizes arrives in order, through a "
                                 "socket that takes little at a time")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = tcp_pair_new();
    struct keeper keeper = { .loop = loop };
    const size_t all = 1 << 20;
    char *bytes = malloc(all);
    for (size_t i = 0; i < all; i++)
        bytes[i] = byte_at(i);
    make_narrow(pair.near);
    keeper_open(loop, &keeper, pair.near);
    size_t written = 0, taken = 0;
    for (size_t size = 1; written < all; size = size * 3 % 30011 + 1) {
        size = size < all - written ? size : all - written;
        CHECK_INT(cora_transport_write(keeper.transport, bytes + written, size), 0);
        written += size;
    }
    memset(bytes, 0, all);
    free(bytes);
    CHECK(cora_transport_get_write_buffer_size(keeper.transport) > 0);
    close_own(&keeper);
    for (; taken < all; take_in_order(pair.far, &taken))
        run_tick(loop);
    RUN_UNTIL(loop, keeper.lost);
    CHECK_INT(taken, all);
    CHECK_TEXT(keeper.log, "pause resume lost");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(many_chunks, "more chunks are kept than one gathered write takes: all arrive in order")
{
    enum { COUNT = 100, SIZE = 4099 };
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    size_t taken = 0;
    keeper_open(loop, &keeper, pair.near);
    clog_writes(pair.near);
    for (size_t i = 0; i < COUNT; i++) {
        char chunk[SIZE];
        for (size_t k = 0; k < SIZE; k++)
            chunk[k] = byte_at(i * SIZE + k);
        CHECK_INT(cora_transport_write(keeper.transport, chunk, SIZE), 0);
    }
    faults_end();
    for (; taken < (size_t)COUNT * SIZE; take_in_order(pair.far, &taken))
        run_tick(loop);
    CHECK_INT(taken, COUNT * SIZE);
    CHECK_TEXT(state_of(keeper.transport), IDLE);
    cora_loop_close(loop);
    close(pair.far);
}

/* ---- writelines ---- */

static struct iovec line(const char *text)
{
    return (struct iovec){ (char *)(uintptr_t)text, strlen(text) };
}

static int write_three_lines(cora_transport transport)
{
    struct iovec lines[] = { line("letters "), line(""), line("and cards") };
    return cora_transport_writelines(transport, lines, 3);
}

TEST(lines_are_joined, "writelines sends all chunks in their order",
     "test_transports.TransportTests.test_writelines")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    CHECK_INT(write_three_lines(keeper.transport), 0);
    CHECK_TEXT(take(pair.far), "letters and cards");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(lines_go_at_once, "writelines sends at once, with one gathered write; then nothing is polled",
     "test_selector_events.SelectorSocketTransportTests.test_writelines_send_full")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    faults_on(pair.near);
    CHECK_INT(write_three_lines(keeper.transport), 0);
    CHECK_INT(faults.sendmsgs, 1);
    CHECK_TEXT(state_of(keeper.transport), IDLE);
    run_tick(loop);
    CHECK_INT(faults.sendmsgs, 1);
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(lines_partial,
     "writelines keeps what could not be sent, from the middle of a chunk, and polls",
     "test_selector_events.SelectorSocketTransportTests.test_writelines_sendmsg_partial",
     "test_selector_events.SelectorSocketTransportTests.test_writelines_send_partial")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    faults_on(pair.near);
    faults.send_most = 10;
    CHECK_INT(write_three_lines(keeper.transport), 0);
    CHECK_TEXT(take(pair.far), "letters an");
    CHECK_TEXT(state_of(keeper.transport), "read=polling write=<polling, bufsize=7>");
    faults_end();
    run_tick(loop);
    CHECK_TEXT(take(pair.far), "d cards");
    CHECK_TEXT(state_of(keeper.transport), IDLE);
    cora_loop_close(loop);
    close(pair.far);
}

TEST(lines_would_block, "writelines that can send nothing keeps copies of all chunks")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    char words[] = "letters and cards";
    struct iovec lines[] = { { words, 8 }, { words + 8, 9 } };
    keeper_open(loop, &keeper, pair.near);
    clog_writes(pair.near);
    CHECK_INT(cora_transport_writelines(keeper.transport, lines, 2), 0);
    memset(words, 'x', sizeof words - 1);
    faults_end();
    run_tick(loop);
    CHECK_TEXT(take(pair.far), "letters and cards");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(lines_append, "writelines goes behind what is kept")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    open_with_crates(loop, &keeper, pair.near);
    CHECK_INT(write_three_lines(keeper.transport), 0);
    run_tick(loop);
    CHECK_TEXT(take(pair.far), "cratesletters and cards");
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(lines_pause, "writelines that leaves more than the high-water mark pauses the protocol, once",
     "test_selector_events.SelectorSocketTransportTests.test_writelines_pauses_protocol")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    CHECK_INT(cora_transport_set_write_buffer_limits(keeper.transport, 16, CORA_LIMIT_NONE), 0);
    clog_writes(pair.near);
    CHECK_INT(write_three_lines(keeper.transport), 0);
    CHECK_TEXT(keeper.log, "pause");
    CHECK_INT(write_three_lines(keeper.transport), 0);
    CHECK_TEXT(keeper.log, "pause");
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(lines_of_more_than_one_call, "writelines of more chunks than one call of the system's takes")
{
    enum { COUNT = 3000 };
    static struct iovec lines[COUNT];
    static char bytes[COUNT];
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    size_t taken = 0;
    for (size_t i = 0; i < COUNT; i++) {
        bytes[i] = byte_at(i);
        lines[i] = (struct iovec){ &bytes[i], 1 };
    }
    keeper_open(loop, &keeper, pair.near);
    CHECK_INT(cora_transport_writelines(keeper.transport, lines, COUNT), 0);
    run_ticks(loop, 2);
    take_in_order(pair.far, &taken);
    CHECK_INT(taken, COUNT);
    CHECK_TEXT(state_of(keeper.transport), IDLE);
    cora_loop_close(loop);
    close(pair.far);
}

TEST(lines_fail, "writelines whose send fails ends the connection with that error")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    faults_on(pair.near);
    faults.send_error = EPIPE;
    CHECK_INT(write_three_lines(keeper.transport), 0);
    CHECK_INT(cora_transport_get_write_buffer_size(keeper.transport), 0);
    faults_end();
    run_tick(loop);
    CHECK_TEXT(keeper.log, "lost:BrokenPipeError");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(lines_after_loss,
     "writelines of one that is lost keeps nothing and polls nothing, before "
     "connection_lost and after it",
     "test_selector_events.SelectorSocketTransportTests.test_writelines_after_connection_lost")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    abort_own(&keeper);
    faults_on(pair.near);
    CHECK_INT(write_three_lines(keeper.transport), 0);
    CHECK_INT(cora_transport_get_write_buffer_size(keeper.transport), 0);
    run_tick(loop);
    CHECK_TEXT(keeper.log, "lost");
    CHECK_INT(write_three_lines(keeper.transport), CORA_ESTALE);
    CHECK_INT(cora_transport_get_write_buffer_size(keeper.transport), 0);
    run_tick(loop);
    CHECK_INT(faults.sends + faults.sendmsgs, 0);
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

/* ---- write_eof ---- */

TEST(eof_shuts_down, "write_eof shuts the sending side down, once; the connection goes on reading",
     "test_selector_events.SelectorSocketTransportTests.test_write_eof")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    CHECK(cora_transport_can_write_eof(keeper.transport));
    CHECK_INT(cora_transport_write_eof(keeper.transport), 0);
    CHECK_TEXT(take(pair.far), "end");
    CHECK_INT(cora_transport_write_eof(keeper.transport), 0);
    put(pair.far, "mail");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "data:mail");
    CHECK(!cora_transport_is_closing(keeper.transport));
    cora_loop_close(loop);
    close(pair.far);
}

TEST(eof_waits, "write_eof with something kept shuts down when that is sent",
     "test_selector_events.SelectorSocketTransportTests.test_write_eof_buffer")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    open_with_crates(loop, &keeper, pair.near);
    faults.send_most = 3;
    CHECK_INT(cora_transport_write_eof(keeper.transport), 0);
    CHECK_TEXT(take(pair.far), "");
    run_tick(loop);
    CHECK_TEXT(take(pair.far), "cra");
    CHECK_TEXT(take(pair.far), "");
    run_tick(loop);
    CHECK_TEXT(take(pair.far), "tes");
    CHECK_TEXT(take(pair.far), "end");
    CHECK_TEXT(state_of(keeper.transport), IDLE);
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(eof_refuses_writes, "writes after write_eof are RuntimeErrors; the connection goes on")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    CHECK_INT(cora_transport_write_eof(keeper.transport), 0);
    CHECK_INT(write_text(keeper.transport, "crates"), CORA_ERUNTIME);
    CHECK_TEXT(cora_error_message(cora_last_error()), "Cannot call write() after write_eof()");
    CHECK_INT(write_three_lines(keeper.transport), CORA_ERUNTIME);
    CHECK_TEXT(cora_error_message(cora_last_error()), "Cannot call writelines() after write_eof()");
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(eof_of_a_closing_one, "write_eof of one that is closing does nothing: it sends and closes")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    open_with_crates(loop, &keeper, pair.near);
    close_own(&keeper);
    CHECK_INT(cora_transport_write_eof(keeper.transport), 0);
    CHECK_INT(write_text(keeper.transport, " and sacks"), 0);
    run_tick(loop);
    CHECK_TEXT(take(pair.far), "crates and sacks");
    CHECK_TEXT(keeper.log, "lost");
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(eof_then_close, "close after write_eof with something kept sends it, then connection_lost")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    open_with_crates(loop, &keeper, pair.near);
    CHECK_INT(cora_transport_write_eof(keeper.transport), 0);
    close_own(&keeper);
    run_tick(loop);
    CHECK_TEXT(take(pair.far), "crates");
    CHECK_TEXT(keeper.log, "lost");
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

/* ---- flow control ---- */

/* The marks as "low high". */
static const char *marks(cora_transport transport)
{
    static char text[60];
    size_t low = 0, high = 0;
    CHECK_INT(cora_transport_get_write_buffer_limits(transport, &low, &high), 0);
    snprintf(text, sizeof text, "%zu %zu", low, high);
    return text;
}

TEST(marks_by_default, "the marks are 16 and 64 KiB; only low: high is four times that; only high: "
                       "low is a quarter")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    cora_transport transport = keeper.transport;
    CHECK_TEXT(marks(transport), "16384 65536");
    CHECK_INT(cora_transport_set_write_buffer_limits(transport, CORA_LIMIT_NONE, 100), 0);
    CHECK_TEXT(marks(transport), "100 400");
    CHECK_INT(cora_transport_set_write_buffer_limits(transport, 1000, CORA_LIMIT_NONE), 0);
    CHECK_TEXT(marks(transport), "250 1000");
    CHECK_INT(cora_transport_set_write_buffer_limits(transport, 0, CORA_LIMIT_NONE), 0);
    CHECK_TEXT(marks(transport), "0 0");
    CHECK_INT(cora_transport_set_write_buffer_limits(transport, CORA_LIMIT_NONE, CORA_LIMIT_NONE),
              0);
    CHECK_TEXT(marks(transport), "16384 65536");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(marks_pause_at_once,
     "with 512 bytes kept: high below low is refused, 1024 does not pause, 256 pauses at once",
     "test_transports.TransportTests.test_flowcontrol_mixin_set_write_limits")
{
    static const char load[512];
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    clog_writes(pair.near);
    CHECK_INT(cora_transport_write(keeper.transport, load, 512), 0);
    CHECK_INT(cora_transport_set_write_buffer_limits(keeper.transport, 0, 1), CORA_EVALUE);
    CHECK_TEXT(marks(keeper.transport), "16384 65536");
    CHECK_INT(cora_transport_set_write_buffer_limits(keeper.transport, 1024, 128), 0);
    CHECK_TEXT(keeper.log, "");
    CHECK_INT(cora_transport_set_write_buffer_limits(keeper.transport, 256, 128), 0);
    CHECK_TEXT(keeper.log, "pause");
    CHECK_TEXT(marks(keeper.transport), "128 256");
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(marks_too_large, "marks of 4 GiB and more are refused, also when only low is given")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    cora_transport transport = keeper.transport;
    CHECK_INT(cora_transport_set_write_buffer_limits(transport, (size_t)1 << 32, 1), CORA_EVALUE);
    CHECK_INT(cora_transport_set_write_buffer_limits(transport, CORA_LIMIT_NONE, (size_t)1 << 30),
              CORA_EVALUE);
    CHECK_INT(cora_transport_set_write_buffer_limits(transport, CORA_LIMIT_NONE, SIZE_MAX - 1),
              CORA_EVALUE);
    CHECK_TEXT(marks(transport), "16384 65536");
    CHECK_INT(cora_transport_set_write_buffer_limits(transport, UINT32_MAX, UINT32_MAX), 0);
    CHECK_TEXT(marks(transport), "4294967295 4294967295");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(marks_are_exact,
     "at the high mark it does not pause, above it does; at the low mark it resumes")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    CHECK_INT(cora_transport_set_write_buffer_limits(keeper.transport, 6, 2), 0);
    clog_writes(pair.near);
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    CHECK_TEXT(keeper.log, "");
    CHECK_INT(write_text(keeper.transport, "!"), 0);
    CHECK_TEXT(keeper.log, "pause");
    faults_on(pair.near);
    faults.send_most = 4;
    run_tick(loop);
    CHECK_INT(cora_transport_get_write_buffer_size(keeper.transport), 3);
    CHECK_TEXT(keeper.log, "pause");
    faults.send_most = 1;
    run_tick(loop);
    CHECK_TEXT(keeper.log, "pause resume");
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(high_mark_of_nothing, "with marks of 0 every kept byte pauses, and the last one sent resumes")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    CHECK_INT(cora_transport_set_write_buffer_limits(keeper.transport, 0, 0), 0);
    CHECK_INT(write_text(keeper.transport, "sent at once"), 0);
    CHECK_TEXT(keeper.log, "");
    faults_on(pair.near);
    faults.send_most = 2;
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    CHECK_TEXT(keeper.log, "pause");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "pause");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "pause resume");
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(pause_and_resume_in_turn, "however much is written and whatever marks are set meanwhile, "
                               "pause and resume come strictly in turn")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    cora_transport transport = keeper.transport;
    clog_writes(pair.near);
    CHECK_INT(cora_transport_set_write_buffer_limits(transport, 4, 1), 0);
    CHECK_INT(write_text(transport, "crates"), 0);
    CHECK_INT(write_text(transport, "crates"), 0);
    CHECK_INT(cora_transport_set_write_buffer_limits(transport, 3, 1), 0);
    CHECK_INT(cora_transport_set_write_buffer_limits(transport, 1000, 500), 0);
    CHECK_INT(cora_transport_set_write_buffer_limits(transport, 4, 1), 0);
    CHECK_TEXT(keeper.log, "pause");
    faults_end();
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "pause resume");
    clog_writes(pair.near);
    CHECK_INT(write_text(transport, "crates"), 0);
    CHECK_TEXT(keeper.log, "pause resume pause");
    faults_end();
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "pause resume pause resume");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(raised_marks_do_not_resume, "raising the marks resumes nobody: sending does")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    CHECK_INT(cora_transport_set_write_buffer_limits(keeper.transport, 4, 1), 0);
    clog_writes(pair.near);
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    CHECK_INT(cora_transport_set_write_buffer_limits(keeper.transport, 1000, 500), 0);
    CHECK_TEXT(keeper.log, "pause");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "pause");
    faults_on(pair.near);
    faults.send_most = 1;
    run_tick(loop);
    CHECK_TEXT(keeper.log, "pause resume");
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(pauses_inside_the_write, "pause_writing comes inside the write, resume_writing from the loop")
{
    static const char load[65536 + 1];
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    clog_writes(pair.near);
    CHECK_INT(cora_transport_write(keeper.transport, load, 65536), 0);
    CHECK_TEXT(keeper.log, "");
    CHECK_INT(cora_transport_write(keeper.transport, load, 1), 0);
    CHECK_TEXT(keeper.log, "pause");
    faults_end();
    size_t taken = drain(pair.far);
    CHECK_TEXT(keeper.log, "pause");
    for (; taken < sizeof load; taken += drain(pair.far))
        run_tick(loop);
    CHECK_TEXT(keeper.log, "pause resume");
    cora_loop_close(loop);
    close(pair.far);
}

static void write_from_pause(struct keeper *keeper)
{
    CHECK_INT(write_text(keeper->transport, "more"), 0);
    keeper_note(keeper, "%zu", cora_transport_get_write_buffer_size(keeper->transport));
}

TEST(writes_in_pause, "pause_writing may write: that is kept, and it is not paused again")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    CHECK_INT(cora_transport_set_write_buffer_limits(keeper.transport, 4, 1), 0);
    clog_writes(pair.near);
    keeper_will(&keeper, PAUSED, write_from_pause);
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    CHECK_TEXT(keeper.log, "pause 10");
    faults_end();
    run_tick(loop);
    CHECK_TEXT(keeper.log, "pause 10 resume");
    CHECK_TEXT(take(pair.far), "cratesmore");
    cora_loop_close(loop);
    close(pair.far);
}

/* As much as is too much again, while nothing is sent. */
static void write_too_much(struct keeper *keeper)
{
    faults.send_error = EAGAIN;
    CHECK_INT(write_text(keeper->transport, "sacks"), 0);
}

TEST(writes_in_resume, "resume_writing may write so much that it is paused again at once")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .when = RESUMED, .act = write_too_much };
    keeper_connect(loop, &keeper, pair.near);
    CHECK_INT(cora_transport_set_write_buffer_limits(keeper.transport, 4, 1), 0);
    run_tick(loop);
    clog_writes(pair.near);
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    faults_on(pair.near);
    run_tick(loop);
    CHECK_TEXT(keeper.log, "made pause resume pause");
    CHECK_TEXT(state_of(keeper.transport), "read=polling write=<polling, bufsize=5>");
    faults_end();
    run_tick(loop);
    CHECK_TEXT(take(pair.far), "cratessacks");
    CHECK_TEXT(keeper.log, "made pause resume pause resume");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(resume_writes_while_closing,
     "what resume_writing writes while a closing one is flushed is sent before connection_lost",
     "test_selector_events.SelectorSocketTransportTests.test_write_buffer_after_close")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .when = RESUMED, .act = write_too_much };
    keeper_connect(loop, &keeper, pair.near);
    CHECK_INT(cora_transport_set_write_buffer_limits(keeper.transport, 4, 0), 0);
    run_tick(loop);
    clog_writes(pair.near);
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    close_own(&keeper);
    faults_on(pair.near);
    run_tick(loop);
    CHECK_TEXT(keeper.log, "made pause resume pause");
    CHECK(is_open(pair.near));
    faults_end();
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "made pause resume pause resume lost");
    CHECK_TEXT(take(pair.far), "cratessacks");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(closes_in_resume,
     "closing in resume_writing when all is sent: nothing is polled, one "
     "connection_lost in the next tick",
     "test_selector_events.SelectorSocketTransportTests.test_transport_close_remove_writer")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .when = RESUMED, .act = close_own };
    keeper_connect(loop, &keeper, pair.near);
    CHECK_INT(cora_transport_set_write_buffer_limits(keeper.transport, 4, 0), 0);
    run_tick(loop);
    clog_writes(pair.near);
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    faults_on(pair.near);
    run_tick(loop);
    CHECK_TEXT(keeper.log, "made pause resume");
    CHECK(is_open(pair.near));
    run_tick(loop);
    CHECK_TEXT(keeper.log, "made pause resume lost");
    CHECK_INT(faults.sendmsgs, 1);
    CHECK(!is_open(pair.near));
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(aborts_in_pause, "aborting in pause_writing: the write drops what it kept, and returns 0")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .when = PAUSED, .act = abort_own };
    keeper_connect(loop, &keeper, pair.near);
    CHECK_INT(cora_transport_set_write_buffer_limits(keeper.transport, 4, 0), 0);
    run_tick(loop);
    clog_writes(pair.near);
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    CHECK_INT(cora_transport_get_write_buffer_size(keeper.transport), 0);
    faults_on(pair.near);
    run_ticks(loop, 2);
    CHECK_INT(faults.sends + faults.sendmsgs, 0);
    CHECK_TEXT(keeper.log, "made pause lost");
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(no_resume_after_abort, "one that was paused and is aborted is not resumed any more")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    CHECK_INT(cora_transport_set_write_buffer_limits(keeper.transport, 4, 0), 0);
    clog_writes(pair.near);
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    faults_end();
    abort_own(&keeper);
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "pause lost");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(memory_is_bounded_by_the_reader,
     "a peer that never reads: what is written is kept, and all of "
     "it is counted")
{
    static const char load[10000];
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    clog_writes(pair.near);
    for (int i = 0; i < 100; i++)
        CHECK_INT(cora_transport_write(keeper.transport, load, sizeof load), 0);
    CHECK_INT(cora_transport_get_write_buffer_size(keeper.transport), 100 * sizeof load);
    CHECK_TEXT(keeper.log, "pause");
    abort_own(&keeper);
    CHECK_INT(cora_transport_get_write_buffer_size(keeper.transport), 0);
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

/* ---- the end ---- */

TEST(close_tells_later,
     "close stops reading, is closing at once, and connection_lost comes in the "
     "next tick, once, however often it is called",
     "test_selector_events.SelectorTransportTests.test_close")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    put(pair.far, "mail");
    close_own(&keeper);
    CHECK(cora_transport_is_closing(keeper.transport));
    close_own(&keeper);
    CHECK_TEXT(keeper.log, "");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "lost");
    close_own(&keeper);
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "lost");
    cora_loop_close(loop);
    close(pair.far);
}

/* What is told, and the words that are queued before and after the end begins. */
static const char *order_of_end(void (*end)(struct keeper *keeper))
{
    static char log[800];
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    cora_call_soon(loop, cora_partial(note_word, &keeper, "before"));
    end(&keeper);
    cora_call_soon(loop, cora_partial(note_word, &keeper, "after"));
    run_tick(loop);
    snprintf(log, sizeof log, "%s", keeper.log);
    cora_loop_close(loop);
    close(pair.far);
    return log;
}

TEST(close_in_order, "connection_lost of a close comes behind what was queued before it")
{
    CHECK_TEXT(order_of_end(close_own), "before lost after");
}

TEST(abort_in_order, "connection_lost of an abort comes behind what was queued before it")
{
    CHECK_TEXT(order_of_end(abort_own), "before lost after");
}

static void note_and_close(struct keeper *keeper)
{
    note_soon(keeper);
    close_own(keeper);
    note_soon(keeper);
}

TEST(close_in_data_in_order,
     "closing in data_received: connection_lost comes in the next tick, behind what was queued")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .when = DATA, .act = note_and_close };
    keeper_open(loop, &keeper, pair.near);
    put(pair.far, "mail");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "data:mail");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "data:mail soon lost soon");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(close_in_made_in_order,
     "closing in connection_made: connection_lost comes in the next tick, behind what was queued")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .when = MADE, .act = note_and_close };
    keeper_connect(loop, &keeper, pair.near);
    run_tick(loop);
    CHECK_TEXT(keeper.log, "made");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "made soon lost soon");
    cora_loop_close(loop);
    close(pair.far);
}

static void note_from_lost(struct keeper *keeper)
{
    note_soon(keeper);
    keeper_note(keeper, is_open(cora_transport_socket(keeper->transport)) ? "open" : "shut");
}

TEST(lost_then_socket,
     "connection_lost gets no error, then the socket is closed, then the handle "
     "is stale and the protocol dropped",
     "test_selector_events.SelectorTransportTests.test_connection_lost")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .when = LOST, .act = note_from_lost };
    keeper_open(loop, &keeper, pair.near);
    close_own(&keeper);
    run_tick(loop);
    CHECK_TEXT(keeper.log, "lost open");
    CHECK(!is_open(pair.near));
    CHECK(cora_is_null(cora_transport_loop(keeper.transport)));
    CHECK_INT(keeper.dropped, 1);
    cora_loop_close(loop);
    close(pair.far);
}

TEST(writes_in_lost, "what connection_lost writes is dropped, after a close and after a flush")
{
    for (int flushes = 0; flushes < 2; flushes++) {
        cora_loop loop = cora_loop_new(NULL);
        struct pair pair = pair_new();
        struct keeper keeper = { .when = LOST, .act = write_crates };
        keeper_open(loop, &keeper, pair.near);
        clog_writes(pair.near);
        if (flushes)
            CHECK_INT(write_text(keeper.transport, "sacks"), 0);
        faults_end();
        close_own(&keeper);
        run_ticks(loop, 2);
        CHECK_TEXT(keeper.log, "lost");
        CHECK_TEXT(take(pair.far), flushes ? "sacks" : "end");
        CHECK_TEXT(take(pair.far), "end");
        cora_loop_close(loop);
        close(pair.far);
    }
}

TEST(lost_with_error, "connection_lost gets the error that has ended the connection")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    faults_on(pair.near);
    faults.send_error = ENETDOWN;
    write_crates(&keeper);
    faults_end();
    run_tick(loop);
    CHECK_TEXT(keeper.log, "lost:OSError");
    CHECK(!is_open(pair.near));
    cora_loop_close(loop);
    close(pair.far);
}

TEST(abort_drops, "abort drops what is kept, and ends the connection without an error",
     "test_selector_events.SelectorTransportTests.test_abort")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    open_with_crates(loop, &keeper, pair.near);
    abort_own(&keeper);
    CHECK_INT(cora_transport_get_write_buffer_size(keeper.transport), 0);
    CHECK(cora_transport_is_closing(keeper.transport));
    run_tick(loop);
    CHECK_TEXT(keeper.log, "lost");
    CHECK_INT(faults.sends + faults.sendmsgs, 0);
    CHECK_TEXT(take(pair.far), "end");
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(abort_twice, "abort empties what is kept and stops reading and writing; again does nothing",
     "test_selector_events.SelectorTransportTests.test_force_close")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    open_with_crates(loop, &keeper, pair.near);
    put(pair.far, "mail");
    abort_own(&keeper);
    abort_own(&keeper);
    run_ticks(loop, 3);
    CHECK_TEXT(keeper.log, "lost");
    CHECK_INT(faults.sends + faults.sendmsgs + faults.recvs, 0);
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(abort_while_closing, "abort of one that is closing drops what is kept; one connection_lost")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    open_with_crates(loop, &keeper, pair.near);
    close_own(&keeper);
    abort_own(&keeper);
    run_ticks(loop, 3);
    CHECK_TEXT(keeper.log, "lost");
    CHECK_TEXT(take(pair.far), "end");
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(first_error_counts, "close and abort after an error leave the error what connection_lost gets")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    close(pair.far);
    write_crates(&keeper);
    close_own(&keeper);
    abort_own(&keeper);
    run_ticks(loop, 3);
    CHECK_TEXT(keeper.log, "lost:BrokenPipeError");
    cora_loop_close(loop);
}

TEST(flush_to_a_lost_peer, "closing with something kept, and the peer resets: its error, once")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = tcp_pair_new();
    struct keeper keeper = { .loop = loop };
    struct reports reports = { .count = 0 };
    reports_to(loop, &reports);
    open_with_crates(loop, &keeper, pair.near);
    faults.send_most = 0;
    close_own(&keeper);
    run_tick(loop);
    reset(pair.far);
    faults_end();
    RUN_UNTIL(loop, keeper.lost);
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "lost:ConnectionResetError");
    CHECK_INT(reports.count, 0);
    cora_loop_close(loop);
}

TEST(system_errors_are_quiet, "an error of the system's ends the connection, and is not reported",
     "test_selector_events.SelectorTransportTests.test_fatal_error")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    struct reports reports = { .count = 0 };
    reports_to(loop, &reports);
    keeper_will_fail(&keeper, DATA, -ENOTCONN);
    keeper_open(loop, &keeper, pair.near);
    put(pair.far, "mail");
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "data:mail lost:OSError");
    CHECK_INT(reports.count, 0);
    cora_loop_close(loop);
    close(pair.far);
}

TEST(other_errors_are_reported,
     "any other error is reported with transport and protocol, and ends the connection",
     "test_selector_events.SelectorTransportTests.test_fatal_error_custom_exception",
     "test_selector_events.SelectorSocketTransportTests.test_data_received_error")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    struct reports reports = { .count = 0 };
    char object[80];
    reports_to(loop, &reports);
    keeper_will_fail(&keeper, DATA, CORA_EEXCEPTION);
    keeper_open(loop, &keeper, pair.near);
    snprintf(object, sizeof object, "<Transport fd=%d %s>", pair.near, IDLE);
    put(pair.far, "mail");
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "data:mail lost:Exception");
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Fatal error: protocol.data_received() call failed.");
    CHECK_TEXT(reports.exception, "Exception: the crane broke");
    CHECK(cora_same(reports.transport, keeper.transport));
    CHECK_TEXT(reports.protocol, "Keeper");
    CHECK_TEXT(reports.object, object);
    cora_loop_close(loop);
    close(pair.far);
}

TEST(resets_in_all_directions, "a reset while it writes, reads, is paused or half closed: one "
                               "connection_lost with an error, nothing reported")
{
    for (int i = 0; i < 4; i++) {
        cora_loop loop = cora_loop_new(NULL);
        struct pair pair = tcp_pair_new();
        struct keeper keeper = { .loop = loop };
        struct reports reports = { .count = 0 };
        static const char load[1 << 18];
        reports_to(loop, &reports);
        make_narrow(pair.near);
        keeper_open(loop, &keeper, pair.near);
        if (i == 1 || i == 2)
            CHECK_INT(cora_transport_write(keeper.transport, load, sizeof load), 0);
        if (i == 2)
            pause_own(&keeper);
        if (i == 3)
            CHECK_INT(cora_transport_write_eof(keeper.transport), 0);
        reset(pair.far);
        RUN_UNTIL(loop, keeper.lost);
        run_ticks(loop, 2);
        CHECK_INT(keeper.lost, 1);
        CHECK(strstr(keeper.log, "lost:ConnectionResetError") ||
              strstr(keeper.log, "lost:BrokenPipeError"));
        CHECK_INT(reports.count, 0);
        cora_loop_close(loop);
    }
}

TEST(loop_closed_with_live_ones,
     "closing the loop closes the sockets and drops the protocols, without connection_lost")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pairs[4];
    struct keeper keepers[4];
    memset(keepers, 0, sizeof keepers);
    for (int i = 0; i < 4; i++) {
        pairs[i] = pair_new();
        keeper_connect(loop, &keepers[i], pairs[i].near);
        if (i < 3) /* the last one never starts */
            run_tick(loop);
    }
    clog_writes(pairs[1].near);
    write_crates(&keepers[1]);
    faults_end();
    close_own(&keepers[2]);
    CHECK_INT(cora_loop_close(loop), 0);
    for (int i = 0; i < 4; i++) {
        CHECK(!is_open(pairs[i].near));
        CHECK_INT(keepers[i].dropped, 1);
        CHECK_INT(keepers[i].lost, 0);
        close(pairs[i].far);
    }
}

TEST(print_after_loop_closed, "a transport can be printed after its loop was closed",
     "test_selector_events.BaseSelectorEventLoopTests.test_make_socket_transport")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    cora_loop_close(loop);
    CHECK_TEXT(state_of(keeper.transport), "<Transport closed>");
    close(pair.far);
}

TEST(prints_its_state, "a transport prints its descriptor, what it polls, and what it keeps")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    char text[100], expected[100];
    open_with_crates(loop, &keeper, pair.near);
    cora_transport_print(keeper.transport, text, sizeof text);
    snprintf(expected, sizeof expected, "<Transport fd=%d read=polling write=<polling, bufsize=6>>",
             pair.near);
    CHECK_TEXT(text, expected);
    CHECK_INT(cora_transport_print(keeper.transport, text, 5), strlen(expected));
    CHECK_TEXT(text, "<Tra");
    abort_own(&keeper);
    cora_transport_print(keeper.transport, text, sizeof text);
    snprintf(expected, sizeof expected, "<Transport closing fd=%d>", pair.near);
    CHECK_TEXT(text, expected);
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(leaves_nothing, "what a loop holds is the same before a connection and after it")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    size_t before = cora_live(loop);
    open_with_crates(loop, &keeper, pair.near);
    CHECK(cora_live(loop) > before);
    close_own(&keeper);
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "lost");
    CHECK_INT(cora_live(loop), before);
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(descriptor_closed_by_another, "a descriptor that was closed by others ends its connection, "
                                   "and that is reported")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    struct reports reports = { .count = 0 };
    reports_to(loop, &reports);
    keeper_connect(loop, &keeper, pair.near);
    close(pair.near);
    run_ticks(loop, 4);
    CHECK_TEXT(keeper.log, "made lost:OSError");
    CHECK_INT(keeper.dropped, 1);
    cora_loop_close(loop);
    close(pair.far);
}

/* ---- whose it is ---- */

static void touch(cora_args bound)
{
    (void)bound;
}

TEST(descriptor_is_its_own,
     "readers and writers of a connection's descriptor are refused, and none can be removed")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    CHECK_INT(cora_add_reader(loop, pair.near, cora_partial(touch)), CORA_ERUNTIME);
    CHECK_INT(cora_add_writer(loop, pair.near, cora_partial(touch)), CORA_ERUNTIME);
    CHECK(!cora_remove_reader(loop, pair.near));
    CHECK(!cora_remove_writer(loop, pair.near));
    put(pair.far, "mail");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "data:mail");
    cora_loop_close(loop);
    close(pair.far);
}

/* The codes of the four calls, each as the thread's last error. */
static void check_refused(cora_loop loop, int descriptor)
{
    CHECK_INT(cora_add_reader(loop, descriptor, cora_partial(touch)), CORA_ERUNTIME);
    CHECK_INT(cora_add_writer(loop, descriptor, cora_partial(touch)), CORA_ERUNTIME);
    cora_set_last_error(cora_nothing());
    CHECK(!cora_remove_reader(loop, descriptor));
    CHECK_INT(cora_last_error_code(), CORA_ERUNTIME);
    cora_set_last_error(cora_nothing());
    CHECK(!cora_remove_writer(loop, descriptor));
    CHECK_INT(cora_last_error_code(), CORA_ERUNTIME);
}

TEST(descriptor_is_its_own_always,
     "that is so before connection_made, while it is paused, and until connection_lost is over")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .when = MADE, .act = pause_own };
    keeper_connect(loop, &keeper, pair.near);
    check_refused(loop, pair.near);
    run_tick(loop);
    check_refused(loop, pair.near);
    close_own(&keeper);
    check_refused(loop, pair.near);
    run_tick(loop);
    CHECK_TEXT(keeper.log, "made lost");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(descriptor_is_free_again, "when the connection is over, its number can be watched")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    abort_own(&keeper);
    run_tick(loop);
    struct pair again = pair_new();
    CHECK_INT(again.near, pair.near);
    CHECK_INT(cora_add_reader(loop, again.near, cora_partial(touch)), 0);
    CHECK(cora_remove_reader(loop, again.near));
    cora_loop_close(loop);
    close(pair.far);
    close(again.near);
    close(again.far);
}

/* What every call says to a handle that is not good: all codes are the same. */
static void check_every_call(cora_transport transport, int code, int closing_code)
{
    struct iovec chunk = line("crates");
    size_t low = 7, high = 7;
    CHECK_INT(write_text(transport, "crates"), code);
    CHECK_INT(cora_last_error_code(), code);
    CHECK_INT(cora_transport_writelines(transport, &chunk, 1), code);
    CHECK_INT(cora_transport_write_eof(transport), code);
    CHECK(!cora_transport_can_write_eof(transport));
    CHECK_INT(cora_transport_set_write_buffer_limits(transport, 10, 1), code);
    CHECK_INT(cora_transport_get_write_buffer_limits(transport, &low, &high), code);
    CHECK_INT(low + high, 14);
    CHECK_INT(cora_transport_get_write_buffer_size(transport), 0);
    CHECK_INT(cora_transport_pause_reading(transport), code);
    CHECK_INT(cora_transport_resume_reading(transport), code);
    CHECK(!cora_transport_is_reading(transport));
    CHECK_INT(cora_transport_close(transport), closing_code);
    CHECK_INT(cora_transport_abort(transport), closing_code);
    CHECK(cora_transport_is_closing(transport));
    CHECK_INT(cora_transport_set_protocol(transport, (cora_protocol){ &keeper_type, NULL }), code);
    CHECK(cora_transport_get_protocol(transport).type == NULL);
    CHECK_INT(cora_as_int(cora_transport_get_extra_info(transport, "socket", cora_int(7))), 7);
    CHECK_INT(cora_transport_socket(transport), -1);
    CHECK(cora_is_null(cora_transport_loop(transport)));
    CHECK_TEXT(state_of(transport), "<Transport closed>");
}

TEST(stale_handles, "a handle is stale after connection_lost: every call says so, closing is 0")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    close_own(&keeper);
    run_tick(loop);
    check_every_call(keeper.transport, CORA_ESTALE, 0);
    cora_loop_close(loop);
    check_every_call(keeper.transport, CORA_ESTALE, 0);
    close(pair.far);
}

TEST(stale_handles_of_a_closed_loop, "closing the loop makes the handles of live ones stale")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    cora_loop_close(loop);
    check_every_call(keeper.transport, CORA_ESTALE, 0);
    close(pair.far);
}

TEST(null_handles, "a null handle is refused by every call")
{
    cora_transport null = { 0 };
    cora_set_last_error(cora_nothing());
    check_every_call(null, CORA_EMEMORY, CORA_EMEMORY);
}

TEST(handles_of_other_things, "the handle of something else is a TypeError in every call")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_handle soon = cora_call_soon(loop, cora_partial(touch));
    check_every_call((cora_transport){ soon.bits }, CORA_ETYPE, CORA_ETYPE);
    run_tick(loop);
    cora_loop_close(loop);
}

static void *call_from_another_thread(void *argument)
{
    check_every_call(*(cora_transport *)argument, CORA_EWRONGTHREAD, CORA_EWRONGTHREAD);
    return NULL;
}

TEST(handles_of_other_threads, "a connection of another thread's loop is refused by every call")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    pthread_t thread;
    keeper_open(loop, &keeper, pair.near);
    CHECK_INT(pthread_create(&thread, NULL, call_from_another_thread, &keeper.transport), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    put(pair.far, "mail");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "data:mail");
    cora_loop_close(loop);
    close(pair.far);
}

static void *connect_from_another_thread(void *argument)
{
    struct keeper *keeper = argument;
    struct pair pair = pair_new();
    CHECK(cora_is_null(
        cora_connect_accepted_socket(keeper->loop, pair.near, cora_partial(keeper_new, keeper))));
    CHECK_INT(cora_last_error_code(), CORA_EWRONGTHREAD);
    CHECK(is_open(pair.near));
    close(pair.near);
    close(pair.far);
    return NULL;
}

TEST(loops_of_other_threads, "a connection cannot be made in a loop of another thread")
{
    cora_loop loop = cora_loop_new(NULL);
    struct keeper keeper = { .loop = loop };
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, connect_from_another_thread, &keeper), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(keeper.dropped, 0);
    cora_loop_close(loop);
}

static void write_to_the_other(struct keeper *keeper)
{
    CHECK_INT(write_text(keeper->other->transport, "sacks"), 0);
    CHECK_INT(cora_transport_close(keeper->other->transport), 0);
}

TEST(other_loops_of_the_thread,
     "a callback of one loop may use a connection of another loop of the same thread")
{
    cora_loop loop = cora_loop_new(NULL), second_loop = cora_loop_new(NULL);
    struct pair one = pair_new(), two = pair_new();
    struct keeper keeper = { .loop = loop }, second = { .loop = second_loop };
    keeper_open(loop, &keeper, one.near);
    keeper_open(second_loop, &second, two.near);
    CHECK(cora_same(cora_transport_loop(keeper.transport), loop));
    CHECK(cora_same(cora_transport_loop(second.transport), second_loop));
    keeper.other = &second;
    keeper_will(&keeper, DATA, write_to_the_other);
    put(one.far, "mail");
    run_ticks(loop, 2);
    CHECK_TEXT(take(two.far), "sacks");
    CHECK_TEXT(second.log, "");
    run_tick(second_loop);
    CHECK_TEXT(second.log, "lost");
    CHECK_TEXT(keeper.log, "data:mail");
    cora_loop_close(loop);
    cora_loop_close(second_loop);
    close(one.far);
    close(two.far);
}

/* ---- what is known of it ---- */

TEST(extra_info,
     "get_extra_info tells socket and addresses; what is not known is the last argument",
     "test_transports.TransportTests.test_get_extra_info")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = tcp_pair_new();
    struct keeper keeper = { .loop = loop };
    struct sockaddr_in own, peer;
    socklen_t size = sizeof own;
    CHECK_INT(getsockname(pair.near, (struct sockaddr *)(void *)&own, &size), 0);
    CHECK_INT(getpeername(pair.near, (struct sockaddr *)(void *)&peer, &size), 0);
    keeper_open(loop, &keeper, pair.near);
    cora_transport transport = keeper.transport;
    cora_value socket = cora_transport_get_extra_info(transport, "socket", cora_nothing());
    CHECK_INT(cora_as_int(socket), pair.near);
    CHECK_INT(cora_transport_socket(transport), pair.near);
    cora_value sockname = cora_transport_get_extra_info(transport, "sockname", cora_nothing());
    CHECK_TEXT(cora_as_text(cora_list_at(sockname, 0)), "127.0.0.1");
    CHECK_INT(cora_as_int(cora_list_at(sockname, 1)), ntohs(own.sin_port));
    cora_value peername = cora_transport_get_extra_info(transport, "peername", cora_nothing());
    CHECK_INT(cora_list_size(peername), 2);
    CHECK_INT(cora_as_int(cora_list_at(peername, 1)), ntohs(peer.sin_port));
    CHECK(cora_is_nothing(cora_transport_get_extra_info(transport, "weather", cora_nothing())));
    cora_value other = cora_transport_get_extra_info(transport, "weather", cora_static("rain"));
    CHECK_TEXT(cora_as_text(other), "rain");
    cora_loop_close(loop);
    close(pair.far);
}

static void note_peer(struct keeper *keeper)
{
    cora_value peer =
        cora_transport_get_extra_info(keeper->transport, "peername", cora_static("nobody"));
    char text[80];
    cora_print(peer, text, sizeof text);
    *strchrnul(text, ',') = 0;
    keeper_note(keeper, "%s", text);
}

TEST(peer_is_known_to_the_end, "connection_lost after a reset can still tell who the peer was")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = tcp_pair_new();
    struct keeper keeper = { .when = LOST, .act = note_peer };
    keeper_open(loop, &keeper, pair.near);
    reset(pair.far);
    RUN_UNTIL(loop, keeper.lost);
    CHECK_TEXT(keeper.log, "lost:ConnectionResetError [\"127.0.0.1\"");
    cora_loop_close(loop);
}

/* ---- as a guest ---- */

TEST(guest_serves, "in a guest a connection reads, writes, and ends while the host runs its loop")
{
    struct ev_loop *host = host_new();
    cora_loop loop = cora_loop_attach(host, NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .when = DATA, .act = write_crates };
    keeper_connect(loop, &keeper, pair.near);
    put(pair.far, "mail");
    for (int i = 0; i < 3; i++)
        ev_run(host, EVRUN_NOWAIT);
    CHECK_TEXT(keeper.log, "made data:mail");
    CHECK_TEXT(take(pair.far), "crates");
    close(pair.far);
    ev_run(host, 0);
    CHECK_TEXT(keeper.log, "made data:mail eof lost");
    CHECK_INT(cora_loop_detach(loop), 0);
    ev_loop_destroy(host);
}

TEST(guest_keeps_host_running,
     "an open connection keeps the host's ev_run going, a paused one that "
     "waits for nothing does not")
{
    struct ev_loop *host = host_new();
    cora_loop loop = cora_loop_attach(host, NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_connect(loop, &keeper, pair.near);
    CHECK(ev_run(host, EVRUN_NOWAIT) != 0);
    pause_own(&keeper);
    CHECK(ev_run(host, EVRUN_NOWAIT) == 0);
    CHECK_INT(cora_transport_resume_reading(keeper.transport), 0);
    CHECK(ev_run(host, EVRUN_NOWAIT) != 0);
    CHECK_INT(cora_loop_detach(loop), 0);
    ev_loop_destroy(host);
    close(pair.far);
}

TEST(guest_detached,
     "detaching closes the sockets and drops the protocols, without connection_lost")
{
    struct ev_loop *host = host_new();
    cora_loop loop = cora_loop_attach(host, NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_connect(loop, &keeper, pair.near);
    ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(cora_loop_detach(loop), 0);
    CHECK(!is_open(pair.near));
    CHECK_INT(keeper.dropped, 1);
    CHECK_TEXT(keeper.log, "made");
    ev_loop_destroy(host);
    close(pair.far);
}

TEST(guest_host_destroyed,
     "a host that destroys its loop closes the sockets and drops the protocols")
{
    struct ev_loop *host = host_new();
    cora_loop loop = cora_loop_attach(host, NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_connect(loop, &keeper, pair.near);
    ev_run(host, EVRUN_NOWAIT);
    ev_loop_destroy(host);
    CHECK(!is_open(pair.near));
    CHECK_INT(keeper.dropped, 1);
    CHECK_TEXT(keeper.log, "made");
    close(pair.far);
}

static void run_host_inside(struct keeper *keeper)
{
    ev_run(cora_loop_ev(keeper->loop), EVRUN_NOWAIT);
    keeper_note(keeper, "ran");
}

TEST(guest_runs_host_inside, "a host's ev_run inside data_received tells nobody else anything")
{
    struct ev_loop *host = host_new();
    cora_loop loop = cora_loop_attach(host, NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_connect(loop, &keeper, pair.near);
    ev_run(host, EVRUN_NOWAIT);
    keeper_will(&keeper, DATA, run_host_inside);
    put(pair.far, "mail");
    ev_run(host, EVRUN_NOWAIT);
    CHECK_TEXT(keeper.log, "made data:mail ran");
    put(pair.far, "cards");
    for (int i = 0; i < 2; i++)
        ev_run(host, EVRUN_NOWAIT);
    CHECK_TEXT(keeper.log, "made data:mail ran data:cards");
    CHECK_INT(cora_loop_detach(loop), 0);
    ev_loop_destroy(host);
    close(pair.far);
}

static void on_peer_timer(struct ev_loop *host, ev_timer *timer, int events)
{
    (void)host, (void)events;
    put(*(int *)timer->data, "mail");
}

TEST(sleeps_until_there_is_data, "an open connection does not keep the loop awake: it polls once, "
                                 "and sleeps until the peer sends")
{
    struct ev_loop *host = host_new();
    cora_loop loop = cora_loop_attach(host, NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .when = DATA, .act = close_own };
    ev_timer timer;
    ev_timer_init(&timer, on_peer_timer, 0.02, 0.);
    timer.data = &pair.far;
    ev_timer_start(host, &timer);
    keeper_connect(loop, &keeper, pair.near);
    ev_run(host, 0);
    CHECK_TEXT(keeper.log, "made data:mail lost");
    CHECK(ev_iteration(host) <= 8);
    CHECK_INT(cora_loop_detach(loop), 0);
    ev_loop_destroy(host);
    close(pair.far);
}
