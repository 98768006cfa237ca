/*
 * Protocols: what they are told and in which order, what becomes of a callback that fails, of one
 * that is replaced, and of a connection that is ended, from anywhere, inside each of them. The
 * system's side of a connection is in test_transport.c, buffers are in test_buffered_protocol.c.
 */
#include "network_helpers.h"

static int write_text(cora_transport transport, const char *text)
{
    return cora_transport_write(transport, text, strlen(text));
}

/* ---- what may be left out ---- */

static const struct cora_protocol_type silent_type = { .name = "Silent" };

static cora_protocol silent_new(cora_args bound)
{
    (void)bound;
    return (cora_protocol){ &silent_type, NULL };
}

TEST(all_may_be_left_out, "a protocol without any callback lets everything happen",
     "test_protocols.ProtocolsAbsTests.test_base_protocol",
     "test_protocols.ProtocolsAbsTests.test_protocol")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct reports reports = { .count = 0 };
    reports_to(loop, &reports);
    cora_transport transport =
        cora_connect_accepted_socket(loop, pair.near, cora_partial(silent_new));
    run_tick(loop);
    CHECK_INT(cora_transport_set_write_buffer_limits(transport, 0, 0), 0);
    put(pair.far, "mail");
    run_tick(loop);
    faults_on(pair.near);
    faults.send_error = EAGAIN;
    CHECK_INT(write_text(transport, "crates"), 0);
    faults_end();
    run_tick(loop);
    CHECK_TEXT(take(pair.far), "crates");
    CHECK(!cora_transport_is_closing(transport));
    CHECK_INT(cora_transport_close(transport), 0);
    run_tick(loop);
    CHECK_TEXT(take(pair.far), "end");
    CHECK_INT(reports.count, 0);
    cora_loop_close(loop);
    close(pair.far);
}

TEST(no_eof_received_closes, "without eof_received the peer's end closes the connection",
     "test_protocols.ProtocolsAbsTests.test_protocol")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    cora_transport transport =
        cora_connect_accepted_socket(loop, pair.near, cora_partial(silent_new));
    run_tick(loop);
    shutdown(pair.far, SHUT_WR);
    run_ticks(loop, 2);
    CHECK(cora_is_null(cora_transport_loop(transport)));
    CHECK_TEXT(take(pair.far), "end");
    cora_loop_close(loop);
    close(pair.far);
}

/* ---- the factory ---- */

static cora_protocol nothing_new(cora_args bound)
{
    ++*cora_arg(bound, 0, int *);
    return (cora_protocol){ NULL, NULL };
}

TEST(factory_that_makes_none, "a factory that makes no protocol is a RuntimeError, asked once; the "
                              "socket stays the caller's")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    size_t before = cora_live(loop);
    int asked = 0;
    CHECK(cora_is_null(
        cora_connect_accepted_socket(loop, pair.near, cora_partial(nothing_new, &asked))));
    CHECK_INT(cora_last_error_code(), CORA_ERUNTIME);
    CHECK_INT(asked, 1);
    CHECK(is_open(pair.near));
    CHECK_INT(cora_live(loop), before);
    cora_loop_close(loop);
    close(pair.near);
    close(pair.far);
}

static cora_protocol failing_new(cora_args bound)
{
    cora_fail(cora_error(CORA_EEXCEPTION, "no keeper for hire"));
    return (cora_protocol){ &keeper_type, cora_arg(bound, 0, struct keeper *) };
}

TEST(factory_that_fails, "the error of a factory is the call's; what it made is dropped, once")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    struct reports reports = { .count = 0 };
    reports_to(loop, &reports);
    CHECK(cora_is_null(
        cora_connect_accepted_socket(loop, pair.near, cora_partial(failing_new, &keeper))));
    CHECK_INT(cora_last_error_code(), CORA_EEXCEPTION);
    CHECK_TEXT(cora_error_message(cora_last_error()), "no keeper for hire");
    CHECK_INT(keeper.dropped, 1);
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "");
    CHECK_INT(reports.count, 0);
    CHECK(is_open(pair.near));
    cora_loop_close(loop);
    close(pair.near);
    close(pair.far);
}

static void note_drop(void *pointer)
{
    ++*(int *)pointer;
}

static const cora_type counted = { "counted", note_drop, NULL, 0 };

static cora_protocol keeper_new_with_more(cora_args bound)
{
    return keeper_new(bound);
}

TEST(factory_arguments, "what a factory is bound to is dropped when the connection is made")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    int dropped = 0;
    CHECK(!cora_is_null(cora_connect_accepted_socket(
        loop, pair.near,
        cora_partial(keeper_new_with_more, &keeper, cora_own(&dropped, &counted)))));
    run_tick(loop);
    CHECK_INT(dropped, 1);
    cora_loop_close(loop);
    close(pair.far);
}

static cora_protocol close_loop_and_make(cora_args bound)
{
    struct keeper *keeper = cora_arg(bound, 0, struct keeper *);
    CHECK_INT(cora_loop_close(keeper->loop), 0);
    return keeper_new(bound);
}

TEST(factory_that_closes_the_loop, "a factory may close its loop: there is no connection then")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    CHECK(cora_is_null(
        cora_connect_accepted_socket(loop, pair.near, cora_partial(close_loop_and_make, &keeper))));
    CHECK_INT(keeper.dropped, 1);
    CHECK(is_open(pair.near));
    close(pair.near);
    close(pair.far);
}

TEST(factory_that_closes_the_loop_fails, "the null handle of that stands for an error")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    cora_set_last_error(cora_error(CORA_EKEY, "no such pier"));
    CHECK(cora_is_null(
        cora_connect_accepted_socket(loop, pair.near, cora_partial(close_loop_and_make, &keeper))));
    CHECK(cora_last_error_code() != CORA_EKEY);
    CHECK(cora_last_error_code() < 0);
    close(pair.near);
    close(pair.far);
}

TEST(factory_and_drop_fail, "the error of a factory stays the call's when the drop fails, too")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_will_fail(&keeper, DROPPED, CORA_EVALUE);
    CHECK(cora_is_null(
        cora_connect_accepted_socket(loop, pair.near, cora_partial(failing_new, &keeper))));
    CHECK_INT(keeper.dropped, 1);
    CHECK_INT(cora_last_error_code(), CORA_EEXCEPTION);
    cora_loop_close(loop);
    close(pair.near);
    close(pair.far);
}

/* ---- the order of everything ---- */

TEST(a_whole_life, "made, data, pause, resume, end of the peer's, lost: each once, then the drop")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .keeps_open = true };
    keeper_connect(loop, &keeper, pair.near);
    run_tick(loop);
    CHECK_INT(cora_transport_set_write_buffer_limits(keeper.transport, 0, 0), 0);
    put(pair.far, "mail");
    run_tick(loop);
    faults_on(pair.near);
    faults.send_error = EAGAIN;
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    faults_end();
    run_tick(loop);
    shutdown(pair.far, SHUT_WR);
    run_tick(loop);
    CHECK_INT(cora_transport_close(keeper.transport), 0);
    CHECK_INT(keeper.dropped, 0);
    run_tick(loop);
    CHECK_TEXT(keeper.log, "made data:mail pause resume eof lost");
    CHECK_INT(keeper.dropped, 1);
    cora_loop_close(loop);
    CHECK_INT(keeper.dropped, 1);
    close(pair.far);
}

TEST(reads_before_writes, "in a tick in which a connection can do both it reads, then it writes")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    CHECK_INT(cora_transport_set_write_buffer_limits(keeper.transport, 0, 0), 0);
    faults_on(pair.near);
    faults.send_error = EAGAIN;
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    faults_end();
    put(pair.far, "mail");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "pause data:mail resume");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(slow_callbacks_are_told, "debug mode tells of a data_received that takes long")
{
    cora_loop loop = cora_loop_new(&(struct cora_loop_options){ .debug = true });
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    struct reports reports = { .count = 0 };
    keeper_open(loop, &keeper, pair.near);
    reports_to(loop, &reports);
    CHECK_INT(cora_set_slow_callback_duration(loop, 0), 0);
    put(pair.far, "mail");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "data:mail");
    CHECK_INT(reports.count, 1);
    cora_loop_close(loop);
    close(pair.far);
}

TEST(slow_ends_are_told, "debug mode tells of a connection_lost that takes long")
{
    cora_loop loop = cora_loop_new(&(struct cora_loop_options){ .debug = true });
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    struct reports reports = { .count = 0 };
    keeper_open(loop, &keeper, pair.near);
    reports_to(loop, &reports);
    CHECK_INT(cora_set_slow_callback_duration(loop, 0), 0);
    abort_own(&keeper);
    run_tick(loop);
    CHECK_TEXT(keeper.log, "lost");
    CHECK_INT(reports.count, 1);
    cora_loop_close(loop);
    close(pair.far);
}

static const cora_variable pier = { "pier", { 0 } };

static void set_pier(struct keeper *keeper)
{
    (void)keeper;
    CHECK_INT(cora_context_set(&pier, cora_int(3)), 0);
}

static void begin_debug(struct keeper *keeper)
{
    cora_set_debug(keeper->loop, true);
}

TEST(debug_begins_inside, "a data_received that begins debug mode has not taken long")
{
    for (int with_variables = 0; with_variables < 2; with_variables++) {
        cora_loop loop = cora_loop_new(NULL);
        struct pair pair = pair_new();
        struct keeper keeper = { .loop = loop };
        struct reports reports = { .count = 0 };
        reports_to(loop, &reports);
        keeper_open(loop, &keeper, pair.near);
        CHECK_INT(cora_set_slow_callback_duration(loop, 100), 0);
        keeper_will(&keeper, DATA, with_variables ? set_pier : NULL);
        put(pair.far, "mail");
        run_tick(loop);
        keeper_will(&keeper, DATA, begin_debug);
        put(pair.far, "cards");
        run_tick(loop);
        CHECK_TEXT(keeper.log, "data:mail data:cards");
        CHECK_INT(reports.count, 0);
        cora_loop_close(loop);
        close(pair.far);
    }
}

/* ---- callbacks that fail ---- */

/* How a connection goes on whose keeper fails on an occasion, and what is reported. */
struct failed {
    char log[800];
    struct reports reports;
    int dropped;
    bool open; /* its socket, in the end */
};

/* So that there are occasions of buffers for those who ask for them. */
static void give_buffer(struct keeper *keeper, enum occasion occasion)
{
    static char room[8];
    if (occasion != GET_BUFFER && occasion != UPDATED)
        return;
    keeper->buffer = room;
    keeper->buffer_size = sizeof room;
}

/* A life in which everything happens: see a_whole_life. Nothing is expected of the calls. */
static void live(cora_loop loop, struct keeper *keeper, struct pair pair)
{
    keeper_connect(loop, keeper, pair.near);
    run_tick(loop);
    cora_transport_set_write_buffer_limits(keeper->transport, 0, 0);
    put(pair.far, "mail");
    run_ticks(loop, 2);
    faults_on(pair.near);
    faults.send_error = EAGAIN;
    write_text(keeper->transport, "crates");
    faults_end();
    run_ticks(loop, 2);
    shutdown(pair.far, SHUT_WR);
    run_ticks(loop, 2);
    cora_transport_close(keeper->transport);
    run_ticks(loop, 2);
}

static struct failed fail_on(enum occasion occasion, int code)
{
    struct failed failed = { .dropped = 0 };
    struct keeper keeper = { .keeps_open = true };
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    give_buffer(&keeper, occasion);
    reports_to(loop, &failed.reports);
    keeper_will_fail(&keeper, occasion, code);
    live(loop, &keeper, pair);
    snprintf(failed.log, sizeof failed.log, "%s", keeper.log);
    failed.dropped = keeper.dropped;
    failed.open = is_open(pair.near);
    cora_loop_close(loop);
    close(pair.far);
    return failed;
}

TEST(failing_made, "a failing connection_made is reported; the connection goes on")
{
    struct failed failed = fail_on(MADE, CORA_EEXCEPTION);
    CHECK_TEXT(failed.log, "made data:mail pause resume eof lost");
    CHECK_INT(failed.reports.count, 1);
    CHECK_TEXT(failed.reports.exception, "Exception: the crane broke");
    CHECK_TEXT(failed.reports.protocol, "Keeper");
    CHECK(!cora_is_null(failed.reports.transport));
}

TEST(failing_made_of_the_system, "connection_made that fails with an OSError is reported, too")
{
    struct failed failed = fail_on(MADE, -EPIPE);
    CHECK_TEXT(failed.log, "made data:mail pause resume eof lost");
    CHECK_INT(failed.reports.count, 1);
    CHECK_INT(failed.reports.code, -EPIPE);
}

TEST(failing_data, "a failing data_received is reported, and ends the connection with its error")
{
    struct failed failed = fail_on(DATA, CORA_EVALUE);
    CHECK_TEXT(failed.log, "made data:mail lost:ValueError");
    CHECK_INT(failed.reports.count, 1);
    CHECK_TEXT(failed.reports.message, "Fatal error: protocol.data_received() call failed.");
    CHECK_TEXT(failed.reports.protocol, "Keeper");
}

TEST(failing_data_of_the_system,
     "data_received that fails with an OSError ends the connection with "
     "it, and is not reported")
{
    struct failed failed = fail_on(DATA, -ECONNRESET);
    CHECK_TEXT(failed.log, "made data:mail lost:ConnectionResetError");
    CHECK_INT(failed.reports.count, 0);
}

TEST(failing_data_of_time, "a TimeoutError is an OSError: it ends the connection quietly")
{
    struct failed failed = fail_on(DATA, CORA_ETIMEOUT);
    CHECK_TEXT(failed.log, "made data:mail lost:TimeoutError");
    CHECK_INT(failed.reports.count, 0);
}

TEST(failing_data_cancelled, "a CancelledError is reported, and ends the connection")
{
    struct failed failed = fail_on(DATA, CORA_ECANCELLED);
    CHECK_TEXT(failed.log, "made data:mail lost:CancelledError");
    CHECK_INT(failed.reports.count, 1);
}

TEST(failing_eof, "a failing eof_received is reported, and ends the connection with its error, "
                  "whatever it returns")
{
    struct failed failed = fail_on(ENDED, CORA_EEXCEPTION);
    CHECK_TEXT(failed.log, "made data:mail pause resume eof lost:Exception");
    CHECK_INT(failed.reports.count, 1);
    CHECK_TEXT(failed.reports.message, "Fatal error: protocol.eof_received() call failed.");
}

TEST(failing_eof_of_the_system, "eof_received that fails with an OSError is not reported")
{
    struct failed failed = fail_on(ENDED, -EIO);
    CHECK_TEXT(failed.log, "made data:mail pause resume eof lost:OSError");
    CHECK_INT(failed.reports.count, 0);
}

TEST(failing_pause, "a failing pause_writing is reported with transport and protocol, and ends "
                    "nothing")
{
    struct failed failed = fail_on(PAUSED, CORA_EEXCEPTION);
    CHECK_TEXT(failed.log, "made data:mail pause resume eof lost");
    CHECK_INT(failed.reports.count, 1);
    CHECK_TEXT(failed.reports.message, "protocol.pause_writing() failed");
    CHECK_TEXT(failed.reports.protocol, "Keeper");
    CHECK(!cora_is_null(failed.reports.transport));
}

TEST(failing_resume, "a failing resume_writing is reported, and ends nothing")
{
    struct failed failed = fail_on(RESUMED, CORA_EEXCEPTION);
    CHECK_TEXT(failed.log, "made data:mail pause resume eof lost");
    CHECK_INT(failed.reports.count, 1);
    CHECK_TEXT(failed.reports.message, "protocol.resume_writing() failed");
}

TEST(failing_flow_of_the_system, "pause_writing that fails with an OSError is reported, too")
{
    struct failed failed = fail_on(PAUSED, -EIO);
    CHECK_TEXT(failed.log, "made data:mail pause resume eof lost");
    CHECK_INT(failed.reports.count, 1);
}

TEST(failing_lost, "a failing connection_lost is reported; the socket is closed and the protocol "
                   "dropped all the same")
{
    struct failed failed = fail_on(LOST, CORA_EEXCEPTION);
    CHECK_TEXT(failed.log, "made data:mail pause resume eof lost");
    CHECK_INT(failed.reports.count, 1);
    CHECK(!failed.open);
    CHECK_INT(failed.dropped, 1);
}

TEST(failing_drop, "a failing drop is reported; the socket is closed all the same")
{
    struct failed failed = fail_on(DROPPED, CORA_EEXCEPTION);
    CHECK_TEXT(failed.log, "made data:mail pause resume eof lost");
    CHECK_INT(failed.reports.count, 1);
    CHECK(!failed.open);
    CHECK_INT(failed.dropped, 1);
}

TEST(failing_drop_of_another,
     "a drop that fails ends nothing: who reads behind it in that tick goes on")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair one = pair_new(), two = pair_new();
    struct keeper keeper = { .loop = loop }, second = { .loop = loop };
    struct reports reports = { .count = 0 };
    reports_to(loop, &reports);
    keeper_open(loop, &keeper, one.near);
    keeper_open(loop, &second, two.near);
    keeper_will_fail(&keeper, DROPPED, CORA_EVALUE);
    abort_own(&keeper);
    put(two.far, "mail");
    run_ticks(loop, 3);
    CHECK_TEXT(keeper.log, "lost");
    CHECK_TEXT(second.log, "data:mail");
    CHECK_INT(reports.count, 1);
    cora_loop_close(loop);
    close(one.far);
    close(two.far);
}

static void fail_in_drop(void *pointer)
{
    (void)pointer;
    cora_fail(cora_error(CORA_EVALUE, "the crane broke"));
}

static const cora_type failing = { "failing", fail_in_drop, NULL, 0 };

static void nothing(cora_args bound)
{
    (void)bound;
}

TEST(failing_drop_of_a_reader,
     "what a lost reader is bound to may fail to drop: who reads in that tick goes on")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair one = pair_new(), two = pair_new();
    struct keeper keeper = { .loop = loop };
    struct reports reports = { .count = 0 };
    reports_to(loop, &reports);
    keeper_open(loop, &keeper, two.near);
    CHECK_INT(cora_add_reader(loop, one.near, cora_partial(nothing, cora_own(&one, &failing))), 0);
    cora_drop_temporaries();
    close(one.near);
    put(two.far, "mail");
    run_ticks(loop, 4);
    CHECK_TEXT(keeper.log, "data:mail");
    CHECK(reports.count >= 1);
    cora_loop_close(loop);
    close(one.far);
    close(two.far);
}

TEST(failures_are_dropped_once, "whatever fails, the protocol is dropped once in the end")
{
    for (enum occasion occasion = MADE; occasion <= DROPPED; occasion++)
        CHECK_INT(fail_on(occasion, CORA_EEXCEPTION).dropped, 1);
}

TEST(default_report, "without a handler the failure is written with message, error and protocol")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    char text[1000] = "";
    int errors[2], kept = dup(2);
    CHECK_INT(pipe(errors), 0);
    keeper_will_fail(&keeper, DATA, CORA_EEXCEPTION);
    keeper_open(loop, &keeper, pair.near);
    put(pair.far, "mail");
    dup2(errors[1], 2);
    run_tick(loop);
    dup2(kept, 2);
    CHECK(read(errors[0], text, sizeof text - 1) > 0);
    CHECK(strstr(text, "Fatal error: protocol.data_received() call failed."));
    CHECK(strstr(text, "Exception: the crane broke"));
    CHECK(strstr(text, "protocol: Keeper"));
    CHECK(strstr(text, "<Transport fd="));
    close(errors[0]);
    close(errors[1]);
    close(kept);
    cora_loop_close(loop);
    close(pair.far);
}

static void fail_and_close(struct keeper *keeper)
{
    cora_fail(cora_error(CORA_EEXCEPTION, "the crane broke"));
    close_own(keeper);
}

TEST(fails_and_closes, "a callback that closes and fails is reported; it ends as it was closed")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .when = DATA, .act = fail_and_close };
    struct reports reports = { .count = 0 };
    reports_to(loop, &reports);
    keeper_open(loop, &keeper, pair.near);
    put(pair.far, "mail");
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "data:mail lost");
    CHECK_INT(reports.count, 1);
    cora_loop_close(loop);
    close(pair.far);
}

/* A handler that ends what it is told of. */
static void abort_reported(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)bound, (void)loop;
    CHECK_INT(cora_transport_abort(report->transport), 0);
}

TEST(handler_aborts, "an exception handler may abort the connection that it is told of: the "
                     "first end counts")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    CHECK_INT(cora_set_exception_handler(loop, cora_partial(abort_reported)), 0);
    keeper_will_fail(&keeper, DATA, CORA_EEXCEPTION);
    keeper_open(loop, &keeper, pair.near);
    put(pair.far, "mail");
    run_ticks(loop, 3);
    CHECK_TEXT(keeper.log, "data:mail lost");
    cora_loop_close(loop);
    close(pair.far);
}

static void write_and_fail(struct keeper *keeper)
{
    keeper_will_fail(keeper, PAUSED, CORA_EVALUE);
    CHECK_INT(write_text(keeper->transport, "crates"), 0);
}

TEST(failing_pause_is_not_the_writers, "a pause_writing that fails inside data_received is "
                                       "reported, and does not fail that")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .when = DATA, .act = write_and_fail };
    struct reports reports = { .count = 0 };
    reports_to(loop, &reports);
    keeper_open(loop, &keeper, pair.near);
    CHECK_INT(cora_transport_set_write_buffer_limits(keeper.transport, 0, 0), 0);
    faults_on(pair.near);
    faults.send_error = EAGAIN;
    put(pair.far, "mail");
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "data:mail pause");
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "protocol.pause_writing() failed");
    CHECK(!cora_transport_is_closing(keeper.transport));
    faults_end();
    cora_loop_close(loop);
    close(pair.far);
}

/* ---- errors that leave the run ---- */

/* What a run returns in which this occasion is an interrupt; the connection's log after it. */
static int interrupt_on(enum occasion occasion, char *ret_log, size_t size)
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .keeps_open = true };
    struct reports reports = { .count = 0 };
    give_buffer(&keeper, occasion);
    reports_to(loop, &reports);
    keeper_will_fail(&keeper, occasion, CORA_EKEYBOARDINTERRUPT);
    keeper_connect(loop, &keeper, pair.near);
    CHECK_INT(cora_transport_set_write_buffer_limits(keeper.transport, 0, 0), 0);
    faults_on(pair.near);
    faults.send_error = EAGAIN;
    CHECK_INT(write_text(keeper.transport, occasion == PAUSED ? "" : "crates"), 0);
    put(pair.far, "mail");
    shutdown(pair.far, SHUT_WR);
    int code = 0, codes = 0;
    for (int i = 0; i < 6; i++) {
        if (i == 2)
            faults_end();
        if (i == 4)
            cora_transport_close(keeper.transport);
        CHECK_INT(cora_stop(loop), 0);
        int now = cora_run_forever(loop);
        code = now < 0 ? now : code;
        codes += now < 0;
    }
    CHECK_INT(codes, 1);
    CHECK_INT(reports.count, 0);
    CHECK_INT(keeper.lost, 1);
    CHECK_INT(keeper.dropped, 1);
    snprintf(ret_log, size, "%s", keeper.log);
    cora_loop_close(loop);
    close(pair.far);
    return code;
}

TEST(interrupt_in_callbacks, "a KeyboardInterrupt in a callback leaves the run, is not reported, "
                             "and ends nothing")
{
    static const enum occasion occasions[] = { MADE, DATA, RESUMED, LOST };
    char log[800];
    for (size_t i = 0; i < sizeof occasions / sizeof *occasions; i++) {
        CHECK_INT(interrupt_on(occasions[i], log, sizeof log), CORA_EKEYBOARDINTERRUPT);
        CHECK_TEXT(log, occasions[i] == DATA ? "pause made data:mail resume eof lost"
                                             : "pause made data:mail eof resume lost");
    }
}

TEST(interrupt_in_eof, "a KeyboardInterrupt in eof_received leaves the run; the end is told again")
{
    char log[800];
    CHECK_INT(interrupt_on(ENDED, log, sizeof log), CORA_EKEYBOARDINTERRUPT);
    CHECK_TEXT(log, "pause made data:mail eof resume eof lost");
}

static void interrupt(struct keeper *keeper)
{
    (void)keeper;
    cora_fail(cora_error(CORA_EKEYBOARDINTERRUPT, NULL));
}

TEST(interrupt_leaves_writing, "after an interrupt in data_received the rest waits for the next "
                               "run, what is to be written, too")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    keeper_will(&keeper, DATA, interrupt);
    CHECK_INT(cora_transport_set_write_buffer_limits(keeper.transport, 0, 0), 0);
    faults_on(pair.near);
    faults.send_error = EAGAIN;
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    faults_end();
    put(pair.far, "mail");
    CHECK_INT(cora_run_forever(loop), CORA_EKEYBOARDINTERRUPT);
    CHECK_TEXT(keeper.log, "pause data:mail");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "pause data:mail resume");
    cora_loop_close(loop);
    close(pair.far);
}

static void run_inside_and_interrupt(struct keeper *keeper)
{
    ev_run(cora_loop_ev(keeper->loop), EVRUN_NOWAIT);
    interrupt(keeper);
}

TEST(
    interrupt_after_a_run_inside,
    "after an interrupt in a data_received that has polled inside, what is to be written waits for "
    "the next run, once")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair one = pair_new(), two = pair_new();
    struct keeper keeper = { .loop = loop }, second = { .loop = loop };
    keeper_open(loop, &keeper, one.near);
    keeper_open(loop, &second, two.near);
    keeper_will(&keeper, DATA, run_inside_and_interrupt);
    CHECK_INT(cora_transport_set_write_buffer_limits(keeper.transport, 0, 0), 0);
    faults_on(one.near);
    faults.send_error = EAGAIN;
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    faults_end();
    put(one.far, "mail");
    CHECK_INT(cora_run_forever(loop), CORA_EKEYBOARDINTERRUPT);
    put(two.far, "sacks");
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "pause data:mail resume");
    CHECK_TEXT(second.log, "data:sacks");
    CHECK_TEXT(take(one.far), "crates");
    cora_loop_close(loop);
    close(one.far);
    close(two.far);
}

/* The buffer is there only the second time. */
static void interrupt_without_buffer(struct keeper *keeper)
{
    interrupt(keeper);
    keeper->buffer_size = 0;
}

TEST(interrupt_without_buffer, "a get_buffer that is interrupted need not give a buffer")
{
    char room[8];
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .buffer = room };
    struct reports reports = { .count = 0 };
    reports_to(loop, &reports);
    keeper_open(loop, &keeper, pair.near);
    keeper_will(&keeper, GET_BUFFER, interrupt_without_buffer);
    put(pair.far, "mail");
    CHECK_INT(cora_run_forever(loop), CORA_EKEYBOARDINTERRUPT);
    keeper.buffer_size = sizeof room;
    run_tick(loop);
    CHECK_TEXT(keeper.log, "get:0 get:0 got:mail");
    CHECK_INT(reports.count, 0);
    cora_loop_close(loop);
    close(pair.far);
}

TEST(interrupt_in_buffers, "a KeyboardInterrupt in get_buffer leaves the run; it is asked again")
{
    char log[800];
    CHECK_INT(interrupt_on(GET_BUFFER, log, sizeof log), CORA_EKEYBOARDINTERRUPT);
    CHECK_TEXT(log, "pause made get:0 resume get:0 got:mail get:0 eof lost");
}

/* ---- another protocol ---- */

static cora_protocol protocol_of(struct keeper *keeper)
{
    return (cora_protocol){ &keeper_type, keeper };
}

static void hand_over(struct keeper *keeper)
{
    struct keeper *other = keeper->other;
    other->transport = keeper->transport;
    CHECK_INT(cora_transport_set_protocol(keeper->transport, protocol_of(other)), 0);
}

/* Who is told what when the protocol is replaced on this occasion. */
static void replace_on(enum occasion occasion, const char *log, const char *other_log)
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper other = { .keeps_open = true };
    struct keeper keeper = {
        .keeps_open = true, .when = occasion, .act = hand_over, .other = &other
    };
    live(loop, &keeper, pair);
    CHECK_TEXT(keeper.log, log);
    CHECK_TEXT(other.log, other_log);
    CHECK_INT(keeper.dropped, 0);
    CHECK_INT(other.dropped, 1);
    cora_loop_close(loop);
    close(pair.far);
}

TEST(replaced_in_made,
     "a protocol that is replaced in connection_made is told nothing more, and is "
     "not dropped; the other one is")
{
    replace_on(MADE, "made", "data:mail pause resume eof lost");
}

TEST(replaced_in_data, "a protocol may be replaced in data_received")
{
    replace_on(DATA, "made data:mail", "pause resume eof lost");
}

TEST(replaced_in_pause, "a protocol may be replaced in pause_writing: the other one is resumed")
{
    replace_on(PAUSED, "made data:mail pause", "resume eof lost");
}

TEST(replaced_in_resume, "a protocol may be replaced in resume_writing")
{
    replace_on(RESUMED, "made data:mail pause resume", "eof lost");
}

TEST(replaced_in_eof, "a protocol may be replaced in eof_received")
{
    replace_on(ENDED, "made data:mail pause resume eof", "lost");
}

TEST(replaced_in_lost, "a protocol that is replaced in connection_lost is not dropped")
{
    replace_on(LOST, "made data:mail pause resume eof lost", "");
}

TEST(replaced_from_outside, "a protocol that is replaced while data waits: the other one gets it")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper other = { .keeps_open = true }, keeper = { .other = &other };
    keeper_open(loop, &keeper, pair.near);
    put(pair.far, "mail");
    hand_over(&keeper);
    CHECK(cora_transport_get_protocol(keeper.transport).self == &other);
    CHECK(cora_transport_get_protocol(keeper.transport).type == &keeper_type);
    run_tick(loop);
    CHECK_TEXT(keeper.log, "");
    CHECK_TEXT(other.log, "data:mail");
    cora_loop_close(loop);
    CHECK_INT(keeper.dropped, 0);
    CHECK_INT(other.dropped, 1);
    close(pair.far);
}

TEST(replaced_by_none, "a protocol without a type is a TypeError, and nothing changes")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    CHECK_INT(cora_transport_set_protocol(keeper.transport, (cora_protocol){ NULL, &keeper }),
              CORA_ETYPE);
    put(pair.far, "mail");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "data:mail");
    cora_loop_close(loop);
    close(pair.far);
}

/* Gives its memory away as soon as another one has taken over. */
static void hand_over_and_forget(struct keeper *keeper)
{
    hand_over(keeper);
    struct keeper *heap = keeper;
    memset(heap->log, 0, sizeof heap->log);
    free(heap);
}

static void hand_over_data(void *self, cora_transport transport, const void *bytes, size_t size)
{
    struct keeper *keeper = self;
    (void)bytes, (void)size;
    keeper->transport = transport;
    hand_over_and_forget(keeper);
}

static const struct cora_protocol_type handing_type = { .name = "Handing",
                                                        .data_received = hand_over_data };

static cora_protocol handing_new(cora_args bound)
{
    return (cora_protocol){ &handing_type, cora_arg(bound, 0, struct keeper *) };
}

TEST(replaced_and_freed, "a protocol that is replaced in its callback may be freed there")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper other = { .keeps_open = true }, *keeper = calloc(1, sizeof *keeper);
    keeper->other = &other;
    CHECK(!cora_is_null(
        cora_connect_accepted_socket(loop, pair.near, cora_partial(handing_new, keeper))));
    run_tick(loop);
    put(pair.far, "mail");
    run_tick(loop);
    put(pair.far, "cards");
    run_tick(loop);
    CHECK_TEXT(other.log, "data:cards");
    cora_loop_close(loop);
    close(pair.far);
}

/* ---- variables ---- */

static const cora_variable harbour = { "harbour", { 0 } };

static void note_harbour(struct keeper *keeper)
{
    cora_value name = cora_context_get(&harbour);
    keeper_note(keeper, "%s", cora_is_nothing(name) ? "nowhere" : cora_as_text(name));
}

static void set_harbour(struct keeper *keeper)
{
    note_harbour(keeper);
    CHECK_INT(cora_context_set(&harbour, cora_static("Bremen")), 0);
}

TEST(variables_of_the_maker, "connection_made, data_received and eof_received see the variables as "
                             "they were when the connection was made")
{
    static const enum occasion occasions[] = { MADE, DATA, ENDED };
    for (size_t i = 0; i < sizeof occasions / sizeof *occasions; i++) {
        cora_loop loop = cora_loop_new(NULL);
        struct pair pair = pair_new();
        struct keeper keeper = { .when = occasions[i], .act = note_harbour };
        CHECK_INT(cora_context_set(&harbour, cora_static("Antwerp")), 0);
        keeper_connect(loop, &keeper, pair.near);
        CHECK_INT(cora_context_set(&harbour, cora_nothing()), 0);
        run_tick(loop);
        put(pair.far, "mail");
        close(pair.far);
        run_ticks(loop, 3);
        if (!strstr(keeper.log, " Antwerp"))
            CHECK_TEXT(keeper.log, "... Antwerp ...");
        cora_loop_close(loop);
    }
}

TEST(variables_of_made, "what connection_made sets is not seen by data_received")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .when = MADE, .act = set_harbour };
    keeper_connect(loop, &keeper, pair.near);
    run_tick(loop);
    keeper_will(&keeper, DATA, note_harbour);
    put(pair.far, "mail");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "made nowhere data:mail nowhere");
    cora_loop_close(loop);
    close(pair.far);
}

static void close_from_dover(cora_args bound)
{
    CHECK_INT(cora_context_set(&harbour, cora_static("Dover")), 0);
    close_own(cora_arg(bound, 0, struct keeper *));
}

TEST(variables_of_the_closer, "connection_lost sees the variables of who closed")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    keeper_will(&keeper, LOST, note_harbour);
    cora_call_soon(loop, cora_partial(close_from_dover, &keeper));
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "lost Dover");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(variables_are_kept, "what data_received sets is seen by the next data_received, and by no "
                         "other callback and no other connection")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair one = pair_new(), two = pair_new();
    struct keeper keeper = { .loop = loop }, second = { .loop = loop };
    keeper_open(loop, &keeper, one.near);
    keeper_open(loop, &second, two.near);
    keeper_will(&keeper, DATA, set_harbour);
    put(one.far, "mail");
    run_tick(loop);
    keeper_will(&keeper, DATA, note_harbour);
    keeper_will(&second, DATA, note_harbour);
    put(one.far, "cards");
    put(two.far, "sacks");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "data:mail nowhere data:cards Bremen");
    CHECK_TEXT(second.log, "data:sacks nowhere");
    CHECK(cora_is_nothing(cora_context_get(&harbour)));
    cora_loop_close(loop);
    close(one.far);
    close(two.far);
}

TEST(variables_of_a_closer_without,
     "connection_lost sees none if who closed had none, whatever data_received has set")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    keeper_will(&keeper, DATA, set_harbour);
    put(pair.far, "mail");
    run_tick(loop);
    keeper_will(&keeper, LOST, note_harbour);
    close_own(&keeper);
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "data:mail nowhere lost nowhere");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(variables_of_a_drop, "what a protocol's drop sets is not seen by who reads behind it")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair one = pair_new(), two = pair_new();
    struct keeper keeper = { .loop = loop }, second = { .loop = loop };
    keeper_open(loop, &keeper, one.near);
    keeper_open(loop, &second, two.near);
    keeper_will(&keeper, DROPPED, set_harbour);
    keeper_will(&second, DATA, note_harbour);
    abort_own(&keeper);
    put(two.far, "mail");
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "lost nowhere");
    CHECK_TEXT(second.log, "data:mail nowhere");
    cora_loop_close(loop);
    close(one.far);
    close(two.far);
}

static void note_harbour_soon(cora_args bound)
{
    note_harbour(cora_arg(bound, 0, struct keeper *));
}

static void call_with_harbour(struct keeper *keeper)
{
    CHECK_INT(cora_context_set(&harbour, cora_static("Bremen")), 0);
    cora_call_soon(keeper->loop, cora_partial(note_harbour_soon, keeper));
    CHECK_INT(cora_context_set(&harbour, cora_static("Calais")), 0);
}

TEST(variables_are_handed_on, "what data_received queues sees the variables of that moment")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    keeper_will(&keeper, DATA, call_with_harbour);
    put(pair.far, "mail");
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "data:mail Bremen");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(variables_of_the_writer, "pause_writing runs in the variables of who writes")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    CHECK_INT(cora_transport_set_write_buffer_limits(keeper.transport, 0, 0), 0);
    keeper_will(&keeper, PAUSED, note_harbour);
    CHECK_INT(cora_context_set(&harbour, cora_static("Dover")), 0);
    faults_on(pair.near);
    faults.send_error = EAGAIN;
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    faults_end();
    CHECK_TEXT(keeper.log, "pause Dover");
    CHECK_INT(cora_context_set(&harbour, cora_nothing()), 0);
    cora_loop_close(loop);
    close(pair.far);
}

/* ---- everything inside everything ---- */

static const char *const names[] = {
    [MADE] = "connection_made",  [DATA] = "data_received",     [ENDED] = "eof_received",
    [LOST] = "connection_lost",  [PAUSED] = "pause_writing",   [RESUMED] = "resume_writing",
    [GET_BUFFER] = "get_buffer", [UPDATED] = "buffer_updated", [DROPPED] = "drop",
};

/* Two ends of a connection, both in one guest loop. */
struct scene {
    struct ev_loop *host;
    cora_loop loop;
    struct keeper one, other;
};

static void scene_ticks(struct scene *scene)
{
    for (int i = 0; i < 4; i++)
        ev_run(scene->host, EVRUN_NOWAIT);
}

/* Everything that can happen to "one" happens, unless it has ended before. */
static void scene_play(struct scene *scene)
{
    struct keeper *one = &scene->one, *other = &scene->other;
    struct pair pair = pair_new();
    one->loop = other->loop = scene->loop;
    one->keeps_open = other->keeps_open = true;
    one->other = other;
    other->other = one;
    keeper_connect(scene->loop, one, pair.near);
    keeper_connect(scene->loop, other, pair.far);
    scene_ticks(scene);
    write_text(other->transport, "mail");
    scene_ticks(scene);
    cora_transport_set_write_buffer_limits(one->transport, 0, 0);
    faults_on(cora_transport_socket(one->transport));
    faults.send_error = EAGAIN;
    write_text(one->transport, "crates");
    faults_end();
    scene_ticks(scene);
    cora_transport_write_eof(other->transport);
    scene_ticks(scene);
    cora_transport_close(one->transport);
    scene_ticks(scene);
    cora_transport_close(other->transport);
    scene_ticks(scene);
}

static bool ended_well(const struct keeper *keeper, bool loop_is_closed)
{
    bool told = loop_is_closed ? keeper->lost <= keeper->made : keeper->lost == keeper->made;
    return told && keeper->made <= 1 && keeper->dropped == 1;
}

/* On each occasion, one after the other, the act is done; then both ends have ended well. */
static void on_each_occasion(void (*act)(struct keeper *keeper))
{
    for (enum occasion occasion = MADE; occasion <= DROPPED; occasion++) {
        struct scene scene = { .host = host_new() };
        scene.loop = cora_loop_attach(scene.host, NULL);
        give_buffer(&scene.one, occasion);
        keeper_will(&scene.one, occasion, act);
        scene_play(&scene);
        bool is_closed = cora_is_closed(scene.loop);
        if (scene.one.when != NEVER)
            CHECK_TEXT("did not happen", names[occasion]);
        if (!ended_well(&scene.one, is_closed))
            CHECK_TEXT(scene.one.log, names[occasion]);
        if (!ended_well(&scene.other, is_closed))
            CHECK_TEXT(scene.other.log, names[occasion]);
        if (!is_closed)
            CHECK_INT(cora_loop_detach(scene.loop), 0);
        CHECK_INT(scene.one.dropped, 1);
        CHECK_INT(scene.other.dropped, 1);
        ev_loop_destroy(scene.host);
    }
}

TEST(closes_in_each, "in every callback the connection may be closed")
{
    on_each_occasion(close_own);
}

TEST(aborts_in_each, "in every callback the connection may be aborted")
{
    on_each_occasion(abort_own);
}

TEST(closes_peer_in_each, "in every callback the other end may be closed")
{
    on_each_occasion(close_other);
}

TEST(aborts_peer_in_each, "in every callback the other end may be aborted")
{
    on_each_occasion(abort_other);
}

static void detach(struct keeper *keeper)
{
    CHECK_INT(cora_loop_detach(keeper->loop), 0);
}

TEST(detaches_in_each, "in every callback the guest may leave its host; nothing is told any more")
{
    on_each_occasion(detach);
}

static void detach_and_note_drops(struct keeper *keeper)
{
    detach(keeper);
    keeper_note(keeper, "%d", keeper->dropped);
}

TEST(dropped_after_its_callback,
     "a protocol whose callback leaves the host is dropped when that has "
     "returned, so that it can be used until then")
{
    static const enum occasion occasions[] = { MADE, DATA, PAUSED, RESUMED, ENDED, LOST };
    for (size_t i = 0; i < sizeof occasions / sizeof *occasions; i++) {
        struct scene scene = { .host = host_new() };
        scene.loop = cora_loop_attach(scene.host, NULL);
        keeper_will(&scene.one, occasions[i], detach_and_note_drops);
        scene_play(&scene);
        size_t length = strlen(scene.one.log);
        if (scene.one.log[length - 1] != '0')
            CHECK_TEXT(scene.one.log, names[occasions[i]]);
        CHECK_INT(scene.one.dropped, 1);
        ev_loop_destroy(scene.host);
    }
}

/* A value whose drop leaves the host; once, when its loop has been written into it. */
static void leave_in_drop(void *pointer)
{
    cora_loop *loop = pointer, left = *loop;
    *loop = (cora_loop){ 0 };
    if (!cora_is_null(left))
        CHECK_INT(cora_loop_detach(left), 0);
}

static const cora_type leaving = { "leaving", leave_in_drop, NULL, 0 };
static cora_loop left_in_drop;

static void set_leaving(struct keeper *keeper)
{
    (void)keeper;
    CHECK_INT(cora_context_set(&harbour, cora_own(&left_in_drop, &leaving)), 0);
}

static void set_calais(struct keeper *keeper)
{
    (void)keeper;
    CHECK_INT(cora_context_set(&harbour, cora_static("Calais")), 0);
}

static void set_calais_soon(struct keeper *keeper)
{
    keeper_will(keeper, DATA, set_calais);
    write_text(keeper->other->transport, "cards");
}

/* The two are connected; both have a variable whose drop leaves the host while this is done. */
static void leave_while(void (*act)(struct keeper *keeper))
{
    struct scene scene = { .host = host_new() };
    struct keeper *one = &scene.one, *other = &scene.other;
    struct pair pair = pair_new();
    scene.loop = one->loop = other->loop = cora_loop_attach(scene.host, NULL);
    one->other = other;
    other->other = one;
    keeper_connect(scene.loop, one, pair.near);
    keeper_connect(scene.loop, other, pair.far);
    scene_ticks(&scene);
    keeper_will(one, DATA, set_leaving);
    write_text(other->transport, "mail");
    keeper_will(other, DATA, set_leaving);
    write_text(one->transport, "mail");
    scene_ticks(&scene);
    left_in_drop = scene.loop;
    act(one);
    scene_ticks(&scene);
    CHECK(cora_is_null(left_in_drop));
    CHECK_INT(one->dropped, 1);
    CHECK_INT(other->dropped, 1);
    ev_loop_destroy(scene.host);
}

TEST(leaves_when_aborted,
     "a variable of a connection that is aborted may leave the host when it is "
     "dropped")
{
    leave_while(abort_own);
}

TEST(leaves_when_closed, "so may one of a connection that is closed")
{
    leave_while(close_own);
}

TEST(leaves_when_set, "so may one that data_received replaces by another")
{
    leave_while(set_calais_soon);
}

static void abort_and_detach(struct keeper *keeper)
{
    abort_own(keeper);
    abort_other(keeper);
    detach(keeper);
}

TEST(aborts_and_detaches_in_each, "in every callback all may be aborted, and then left")
{
    on_each_occasion(abort_and_detach);
}

static void fail_and_detach(struct keeper *keeper)
{
    cora_fail(cora_error(CORA_EEXCEPTION, "the crane broke"));
    detach(keeper);
}

TEST(fails_and_detaches_in_each, "in every callback the guest may leave its host and fail")
{
    on_each_occasion(fail_and_detach);
}

static void use_all_calls(struct keeper *keeper)
{
    cora_transport transport = keeper->transport;
    struct iovec chunk = { (char[]){ "sacks" }, 5 };
    char text[100];
    cora_transport_pause_reading(transport);
    cora_transport_write(transport, "boxes", 5);
    cora_transport_writelines(transport, &chunk, 1);
    cora_transport_set_write_buffer_limits(transport, 1, 1);
    cora_transport_resume_reading(transport);
    cora_transport_print(transport, text, sizeof text);
    cora_transport_get_extra_info(transport, "sockname", cora_nothing());
    cora_transport_set_protocol(transport, cora_transport_get_protocol(transport));
    cora_transport_write_eof(transport);
}

TEST(uses_all_calls_in_each, "in every callback every call may be made, on a stale handle, too")
{
    on_each_occasion(use_all_calls);
}

static void close_and_use_all_calls(struct keeper *keeper)
{
    use_all_calls(keeper);
    close_own(keeper);
    use_all_calls(keeper);
    abort_own(keeper);
    use_all_calls(keeper);
}

TEST(ends_and_uses_all_calls_in_each, "in every callback it may be ended and used all the same")
{
    on_each_occasion(close_and_use_all_calls);
}

/* Other connections come and go in the same memory. */
static void make_others(struct keeper *keeper)
{
    for (int i = 0; i < 3; i++) {
        struct pair pair = pair_new();
        cora_transport made =
            cora_connect_accepted_socket(keeper->loop, pair.near, cora_partial(silent_new));
        CHECK(!cora_is_null(made));
        close(pair.far);
        if (i != 1)
            CHECK_INT(cora_transport_abort(made), 0);
    }
}

static void abort_and_make_others(struct keeper *keeper)
{
    abort_own(keeper);
    make_others(keeper);
    abort_other(keeper);
    make_others(keeper);
}

TEST(makes_others_in_each,
     "in every callback other connections may be made, in the place of old ones")
{
    on_each_occasion(abort_and_make_others);
}

static void run_host(struct keeper *keeper)
{
    ev_run(cora_loop_ev(keeper->loop), EVRUN_NOWAIT);
    abort_own(keeper);
    ev_run(cora_loop_ev(keeper->loop), EVRUN_NOWAIT);
}

TEST(runs_host_in_each, "in every callback the host may run its loop inside, and abort")
{
    on_each_occasion(run_host);
}

/* Lets it end inside, as far as a loop may run here. */
static void run_inside(struct keeper *keeper)
{
    abort_own(keeper);
    run_ticks(keeper->loop, 2);
    keeper_note(keeper, "ran");
}

TEST(runs_loop_in_pause, "a pause_writing that is called outside of a run may run the loop to the "
                         "end of the connection")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    keeper_will(&keeper, PAUSED, run_inside);
    CHECK_INT(cora_transport_set_write_buffer_limits(keeper.transport, 0, 0), 0);
    faults_on(pair.near);
    faults.send_error = EAGAIN;
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    faults_end();
    CHECK_TEXT(keeper.log, "pause lost ran");
    CHECK_INT(keeper.dropped, 1);
    cora_loop_close(loop);
    close(pair.far);
}

/* Bound to a keeper: it is collected inside, and then aborted. */
static void collect_and_abort(cora_args bound)
{
    struct keeper *keeper = cora_arg(bound, 0, struct keeper *);
    put((int)cora_arg_int(bound, 1), "mail");
    ev_run(cora_loop_ev(keeper->loop), EVRUN_NOWAIT);
    abort_own(keeper);
}

static void run_host_to_the_end(struct keeper *keeper)
{
    for (int i = 0; i < 5; i++)
        ev_run(cora_loop_ev(keeper->loop), EVRUN_NOWAIT);
    keeper_note(keeper, "ran");
}

TEST(ends_inside_a_write,
     "a write whose pause_writing runs the host while the connection ends gives it back once")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new(), one = pair_new(), two = pair_new();
    struct keeper keeper = { .loop = loop }, first = { .loop = loop }, second = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    CHECK_INT(cora_transport_set_write_buffer_limits(keeper.transport, 0, 0), 0);
    keeper_will(&keeper, PAUSED, run_host_to_the_end);
    cora_call_soon(loop, cora_partial(collect_and_abort, &keeper, pair.far));
    faults_on(pair.near);
    faults.send_error = EAGAIN;
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    faults_end();
    run_ticks(loop, 2);
    CHECK_INT(keeper.dropped, 1);
    keeper_connect(loop, &first, one.near);
    keeper_connect(loop, &second, two.near);
    CHECK_INT(cora_transport_socket(first.transport), one.near);
    CHECK_INT(cora_transport_socket(second.transport), two.near);
    run_ticks(loop, 2);
    CHECK_TEXT(first.log, "made");
    CHECK_TEXT(second.log, "made");
    cora_loop_close(loop);
    close(pair.far);
    close(one.far);
    close(two.far);
}

TEST(runs_loop_in_limits, "setting limits outside of a run may pause, and so run the loop inside")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_open(loop, &keeper, pair.near);
    faults_on(pair.near);
    faults.send_error = EAGAIN;
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    faults_end();
    keeper_will(&keeper, PAUSED, run_inside);
    CHECK_INT(cora_transport_set_write_buffer_limits(keeper.transport, 0, 0), 0);
    CHECK_TEXT(keeper.log, "pause lost ran");
    CHECK_INT(keeper.dropped, 1);
    cora_loop_close(loop);
    close(pair.far);
}

static void run_in_handler(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)report;
    if (!cora_is_running(loop)) {
        run_ticks(loop, 2);
        keeper_note(cora_arg(bound, 0, struct keeper *), "ran");
    }
}

TEST(handler_runs_loop, "a handler that is told of a dropped write outside of a run may run the "
                        "loop to the end of the connection")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    CHECK_INT(cora_set_exception_handler(loop, cora_partial(run_in_handler, &keeper)), 0);
    keeper_open(loop, &keeper, pair.near);
    abort_own(&keeper);
    for (int i = 0; i < 5; i++)
        CHECK_INT(write_text(keeper.transport, "crates"), 0);
    CHECK_TEXT(keeper.log, "lost ran");
    CHECK_INT(keeper.dropped, 1);
    cora_loop_close(loop);
    close(pair.far);
}

static void on_outcome(cora_args bound, cora_value outcome)
{
    keeper_note(cora_arg(bound, 0, struct keeper *),
                cora_is_error(outcome) ? "failed" : "connected");
}

static void cancel_connect(struct keeper *keeper)
{
    keeper_note(keeper, cora_connector_cancel(keeper->connector) ? "cancelled" : "late");
}

/* What is told when the connect is cancelled on this occasion; NEVER: before anything is told. */
static const char *cancelled_on(enum occasion occasion)
{
    static char log[800];
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { .loop = loop };
    keeper_will(&keeper, occasion, cancel_connect);
    keeper.connector =
        cora_connect(loop, &(struct cora_connect_options){ .socket = pair.near },
                     cora_partial(keeper_new, &keeper), cora_partial(on_outcome, &keeper));
    put(pair.far, "mail");
    if (occasion == NEVER)
        cancel_connect(&keeper);
    run_ticks(loop, 3);
    snprintf(log, sizeof log, "%s", keeper.log);
    cora_loop_close(loop);
    CHECK_INT(keeper.dropped, 1);
    close(pair.far);
    return log;
}

TEST(connect_cancelled_in_made, "a connect that is cancelled in connection_made tells nobody, and "
                                "its connection is lost")
{
    CHECK_TEXT(cancelled_on(MADE), "made cancelled lost");
}

TEST(connect_cancelled_in_data,
     "when there is data, who connects has been told: there is nothing to "
     "cancel")
{
    CHECK_TEXT(cancelled_on(DATA), "made connected data:mail late");
}

TEST(connect_cancelled_at_once,
     "a connect with a socket that is cancelled at once: connection_made "
     "is queued by then, and is followed by connection_lost")
{
    CHECK_TEXT(cancelled_on(NEVER), "cancelled made lost");
}

/* ---- connections of a server ---- */

static void on_listening(cora_args bound, cora_value outcome)
{
    *cora_arg(bound, 0, cora_server *) = cora_as_server(outcome);
}

/* A server on the loopback interface, and a client of it, which is a plain descriptor. */
static int serve(cora_loop loop, struct keeper *keeper)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int far = socket(AF_INET, SOCK_STREAM, 0);
    keeper->loop = loop;
    cora_listen(loop, &(struct cora_server_options){ .host = "127.0.0.1" },
                cora_partial(keeper_new, keeper), cora_partial(on_listening, &keeper->server));
    RUN_UNTIL(loop, !cora_is_null(keeper->server));
    address.sin_port = htons((uint16_t)cora_server_port(keeper->server));
    CHECK_INT(connect(far, (struct sockaddr *)(void *)&address, sizeof address), 0);
    CHECK_INT(fcntl(far, F_SETFL, O_NONBLOCK), 0);
    return far;
}

static void note_clients(struct keeper *keeper)
{
    keeper_note(keeper, "%zu", cora_server_clients(keeper->server));
}

TEST(server_counts_until_lost, "a server counts a connection until connection_lost has returned")
{
    cora_loop loop = cora_loop_new(NULL);
    struct keeper keeper = { .when = MADE, .act = note_clients };
    int far = serve(loop, &keeper);
    RUN_UNTIL(loop, keeper.made);
    keeper_will(&keeper, LOST, note_clients);
    CHECK_INT(cora_transport_close(keeper.transport), 0);
    run_tick(loop);
    CHECK_TEXT(keeper.log, "made 1 lost 1");
    CHECK_INT(cora_server_clients(keeper.server), 0);
    cora_loop_close(loop);
    close(far);
}

static void abort_clients(struct keeper *keeper)
{
    CHECK_INT(cora_server_abort_clients(keeper->server), 0);
}

static void close_clients(struct keeper *keeper)
{
    CHECK_INT(cora_server_close_clients(keeper->server), 0);
}

static void close_server(struct keeper *keeper)
{
    CHECK_INT(cora_server_close(keeper->server), 0);
}

static void end_server(struct keeper *keeper)
{
    close_server(keeper);
    abort_clients(keeper);
    close_own(keeper);
}

static void end_server_and_close_loop(struct keeper *keeper)
{
    end_server(keeper);
    cora_stop(keeper->loop);
}

/* On each occasion of a server's connection, one after the other, the act is done. */
static void on_each_of_servers(void (*act)(struct keeper *keeper))
{
    for (enum occasion occasion = MADE; occasion <= DROPPED; occasion++) {
        cora_loop loop = cora_loop_new(NULL);
        struct keeper keeper = { .when = occasion, .act = act, .keeps_open = true };
        give_buffer(&keeper, occasion);
        int far = serve(loop, &keeper);
        RUN_UNTIL(loop, keeper.made);
        put(far, "mail");
        RUN_UNTIL(loop, keeper.received || keeper.lost);
        cora_transport_set_write_buffer_limits(keeper.transport, 0, 0);
        faults_on(cora_transport_socket(keeper.transport));
        faults.send_error = EAGAIN;
        write_text(keeper.transport, "crates");
        faults_end();
        RUN_UNTIL(loop, strstr(keeper.log, "resume") || keeper.lost);
        shutdown(far, SHUT_WR);
        RUN_UNTIL(loop, strstr(keeper.log, "eof") || keeper.lost);
        cora_transport_close(keeper.transport);
        RUN_UNTIL(loop, keeper.dropped);
        if (keeper.when != NEVER || keeper.made != 1 || keeper.lost != 1)
            CHECK_TEXT(keeper.log, names[occasion]);
        CHECK_INT(cora_server_clients(keeper.server), 0);
        CHECK_INT(cora_loop_close(loop), 0);
        CHECK_INT(keeper.dropped, 1);
        close(far);
    }
}

TEST(server_aborts_in_each, "in every callback the server may abort its connections")
{
    on_each_of_servers(abort_clients);
}

TEST(server_closes_clients_in_each, "in every callback the server may close its connections")
{
    on_each_of_servers(close_clients);
}

TEST(server_closes_in_each, "in every callback the server may be closed; its connection goes on")
{
    on_each_of_servers(close_server);
}

TEST(server_ends_in_each, "in every callback the server may be closed and its connections ended")
{
    on_each_of_servers(end_server);
}

TEST(server_ends_and_stops_in_each,
     "in every callback the server may be ended and the loop stopped")
{
    on_each_of_servers(end_server_and_close_loop);
}

/* A value whose drop closes the loop, or tries to: inside a tick that is refused. */
static void close_in_drop(void *pointer)
{
    cora_loop *loop = pointer, closed = *loop;
    *loop = (cora_loop){ 0 };
    if (!cora_is_null(closed))
        cora_loop_close(closed);
}

static const cora_type closing = { "closing", close_in_drop, NULL, 0 };
static cora_loop closed_in_drop;

static void set_closing(struct keeper *keeper)
{
    (void)keeper;
    CHECK_INT(cora_context_set(&harbour, cora_own(&closed_in_drop, &closing)), 0);
}

TEST(server_aborts_variables, "a variable of a server's connection may try to close the loop when "
                              "it is dropped, while the server aborts its connections")
{
    cora_loop loop = cora_loop_new(NULL);
    struct keeper keeper = { .when = DATA, .act = set_closing };
    int far = serve(loop, &keeper);
    put(far, "mail");
    RUN_UNTIL(loop, keeper.received);
    closed_in_drop = loop;
    CHECK_INT(cora_server_abort_clients(keeper.server), 0);
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "made data:mail lost");
    CHECK(cora_is_null(closed_in_drop));
    CHECK_INT(keeper.dropped, 1);
    cora_loop_close(loop);
    close(far);
}
