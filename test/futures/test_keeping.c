/*
 * Who keeps a future, and what becomes of it when nobody does: an error that nobody has read is
 * reported once, and the handle is stale. Futures of main(), of callbacks, of a host's own
 * watchers; keep and release; how long what was read can be looked at.
 */
#include "helpers.h"

#include <ev.h>
#include <sys/mman.h>

/* The future that a callback made last. */
static cora_future made;

static void complete_made(cora_args bound)
{
    (void)bound;
    made = cora_future_new(cora_running_loop());
    cora_set_result(made, cora_int(5));
    CHECK_INT(cora_as_int(cora_result(made)), 5);
}

static void complete_argument(cora_args bound)
{
    cora_set_result(cora_arg_future(bound, 0), cora_int(1));
}

/* ---- errors that nobody read ---- */

/* Makes a future in a callback, as most are, and fails it. */
static void fail_made(cora_args bound)
{
    (void)bound;
    made = cora_future_new(cora_running_loop());
    cora_set_exception(made, cora_error(CORA_EVALUE, "unread"));
}

TEST(unread_is_reported,
     "an error that nobody read is reported once, with the place of creation, when its future is "
     "given back",
     "test_futures.BaseFutureTests.test_future_exception_never_retrieved")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    collect_reports(loop, &reports);
    run_in(loop, cora_partial(fail_made));
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Future exception was never retrieved");
    CHECK_TEXT(reports.error, "ValueError: unread");
    CHECK_TEXT(reports.object, "<Future finished exception=ValueError: unread>");
    CHECK_TEXT(reports.place.function, "fail_made");
    CHECK_TEXT(reports.place.file, __FILE__);
    CHECK(cora_same(reports.future, made));
    ticks(loop, 2);
    cora_loop_close(loop);
    CHECK_INT(reports.count, 1);
}

TEST(unread_in_debug_mode, "in debug mode the report's object tells the place of creation, too",
     "test_futures.BaseFutureTests.test_future_exception_never_retrieved_debug")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    collect_reports(loop, &reports);
    cora_set_debug(loop, true);
    run_in(loop, cora_partial(fail_made));
    ticks(loop, 2);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Future exception was never retrieved");
    CHECK(strstr(reports.object, "exception=ValueError: unread created at "));
    CHECK(strstr(reports.object, __FILE__));
    cora_loop_close(loop);
    CHECK_INT(reports.count, 1);
}

/* What a run writes to stderr, where the default handler reports to. */
static const char *standard_error(cora_loop loop, cora_callback callback)
{
    static char text[2000];
    int file = memfd_create("stderr", MFD_CLOEXEC), outer = dup(STDERR_FILENO);
    memset(text, 0, sizeof text);
    dup2(file, STDERR_FILENO);
    run_in(loop, callback);
    fflush(stderr);
    dup2(outer, STDERR_FILENO);
    CHECK(pread(file, text, sizeof text - 1, 0) >= 0);
    close(outer);
    close(file);
    return text;
}

TEST(unread_without_handler, "without a handler an unread error is written to stderr",
     "test_futures.BaseFutureTests.test_tb_logger_exception_unretrieved")
{
    cora_loop loop = cora_loop_new(NULL);
    const char *text = standard_error(loop, cora_partial(fail_made));
    CHECK_INT(strncmp(text, "Future exception was never retrieved\n", 37), 0);
    CHECK(strstr(text, "\n  exception: ValueError: unread\n"));
    CHECK(strstr(text, "\n  created: in fail_made ("));
    cora_loop_close(loop);
}

static void abandon(cora_args bound)
{
    (void)bound;
    made = cora_future_new(cora_running_loop());
}

TEST(pending_is_not_reported, "a future that nobody completes is nothing to report",
     "test_futures.BaseFutureTests.test_tb_logger_abandoned")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    collect_reports(loop, &reports);
    run_in(loop, cora_partial(abandon));
    ticks(loop, 2);
    CHECK_INT(cora_live(loop), 1);
    cora_loop_close(loop);
    CHECK_INT(reports.count, 0);
}

static void fail_and_cancel(cora_args bound)
{
    fail_made(bound);
    CHECK(!cora_cancel(made));
}

TEST(cancelled_is_not_reported, "who cancels a future that failed already does not want its error",
     "test_futures.BaseFutureTests.test_tb_logger_not_called_after_cancel",
     "test_futures.BaseFutureTests.test_log_traceback")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    collect_reports(loop, &reports);
    run_in(loop, cora_partial(fail_and_cancel));
    cora_loop_close(loop);
    CHECK_INT(reports.count, 0);
}

static void set_without_reading(cora_args bound)
{
    (void)bound;
    cora_set_result(cora_future_new(cora_running_loop()), cora_int(42));
}

TEST(values_are_not_reported, "a value that nobody reads is nothing to report",
     "test_futures.BaseFutureTests.test_tb_logger_result_unretrieved")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    collect_reports(loop, &reports);
    run_in(loop, cora_partial(set_without_reading));
    cora_loop_close(loop);
    CHECK_INT(reports.count, 0);
}

TEST(read_values_are_not_reported, "a value that was read is nothing to report",
     "test_futures.BaseFutureTests.test_tb_logger_result_retrieved")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    collect_reports(loop, &reports);
    run_in(loop, cora_partial(complete_made));
    cora_loop_close(loop);
    CHECK_INT(reports.count, 0);
}

static void fail_and_read_exception(cora_args bound)
{
    fail_made(bound);
    CHECK_INT(cora_error_code(cora_exception(made)), CORA_EVALUE);
}

TEST(read_as_exception, "an error that was read through cora_exception is not reported",
     "test_futures.BaseFutureTests.test_tb_logger_exception_retrieved")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    collect_reports(loop, &reports);
    run_in(loop, cora_partial(fail_and_read_exception));
    cora_loop_close(loop);
    CHECK_INT(reports.count, 0);
}

static void fail_and_read_result(cora_args bound)
{
    fail_made(bound);
    CHECK_INT(cora_error_code(cora_result(made)), CORA_EVALUE);
}

TEST(read_as_result, "an error that was read through cora_result is not reported",
     "test_futures.BaseFutureTests.test_tb_logger_exception_result_retrieved")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    collect_reports(loop, &reports);
    run_in(loop, cora_partial(fail_and_read_result));
    cora_loop_close(loop);
    CHECK_INT(reports.count, 0);
}

TEST(asking_is_not_reading, "done, cancelled, printing and a callback that does not look leave an "
                            "error unread")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    struct reports reports;
    collect_reports(loop, &reports);
    cora_add_done_callback(future, cora_partial(nothing_done));
    cora_set_exception(future, cora_error(CORA_EVALUE, "unread"));
    CHECK(cora_done(future));
    CHECK(!cora_cancelled(future));
    printed(future);
    tick(loop);
    CHECK_INT(reports.count, 0);
    cora_loop_close(loop);
    CHECK_INT(reports.count, 1);
    CHECK(cora_same(reports.future, future));
}

TEST(unread_at_release, "the error of a future of main() is reported in the run after its release")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    struct reports reports;
    collect_reports(loop, &reports);
    cora_set_exception(future, cora_error(CORA_EVALUE, "unread"));
    ticks(loop, 3);
    CHECK_INT(reports.count, 0);
    cora_release(future);
    CHECK_INT(reports.count, 0);
    tick(loop);
    CHECK_INT(reports.count, 1);
    cora_loop_close(loop);
    CHECK_INT(reports.count, 1);
}

static void note_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)loop;
    add_note(cora_arg(bound, 0, struct notes *), cora_error_message(report->exception));
}

static void fail_two(cora_args bound)
{
    struct notes *notes = cora_arg(bound, 0, struct notes *);
    cora_future future = cora_future_new(cora_running_loop());
    cora_set_exception(cora_future_new(cora_running_loop()), cora_error(CORA_EVALUE, "silent"));
    cora_add_done_callback(future, cora_partial(note_done, notes, "callback"));
    cora_set_exception(future, cora_error(CORA_EVALUE, "heard"));
    add_note(notes, "end");
}

TEST(unread_after_callbacks,
     "the report comes when the callback that failed the future has returned, or when the future's "
     "callbacks have run")
{
    cora_loop loop = cora_loop_new(NULL);
    struct notes notes = { "" };
    cora_set_exception_handler(loop, cora_partial(note_report, &notes));
    run_in(loop, cora_partial(fail_two, &notes));
    CHECK_TEXT(notes.text, "end silent");
    tick(loop);
    CHECK_TEXT(notes.text, "end silent callback heard");
    cora_loop_close(loop);
}

static void keep_reported(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)loop;
    ++*cora_arg(bound, 0, int *);
    CHECK(!cora_is_null(cora_keep(report->future)));
    CHECK_INT(cora_error_code(cora_result(report->future)), CORA_EVALUE);
}

TEST(reported_future_is_kept, "the handler may read the future of a report, and keep it")
{
    cora_loop loop = cora_loop_new(NULL);
    int reports = 0;
    cora_set_exception_handler(loop, cora_partial(keep_reported, &reports));
    run_in(loop, cora_partial(fail_made));
    CHECK_INT(reports, 1);
    ticks(loop, 2);
    CHECK_INT(cora_error_code(cora_result(made)), CORA_EVALUE);
    CHECK_INT(cora_release(made), 0);
    tick(loop);
    CHECK_INT(cora_error_code(cora_result(made)), CORA_ESTALE);
    CHECK_INT(reports, 1);
    cora_loop_close(loop);
}

static void listen_to_reported(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)loop;
    cora_add_done_callback(report->future,
                           cora_partial(note_outcome, cora_arg(bound, 0, struct notes *)));
}

TEST(reported_future_calls_back, "the handler may add a callback to the future of a report")
{
    cora_loop loop = cora_loop_new(NULL);
    struct notes notes = { "" };
    cora_set_exception_handler(loop, cora_partial(listen_to_reported, &notes));
    run_in(loop, cora_partial(fail_made));
    tick(loop);
    CHECK_TEXT(notes.text, "ValueError: unread");
    CHECK_INT(cora_error_code(cora_result(made)), CORA_ESTALE);
    cora_loop_close(loop);
}

/* ---- who keeps a future ---- */

static void check_stale(cora_args bound)
{
    (void)bound;
    CHECK_INT(cora_error_code(cora_result(made)), CORA_ESTALE);
}

static void make_and_complete(cora_args bound)
{
    complete_made(bound);
    cora_call_soon(cora_running_loop(), cora_partial(check_stale));
    CHECK_INT(cora_as_int(cora_result(made)), 5);
}

TEST(made_in_a_callback, "a future that a callback makes and completes is its own until it returns")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_call_soon(loop, cora_partial(make_and_complete));
    cora_call_soon(loop, cora_partial(check_stale));
    ticks(loop, 2);
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}

static void make_with_callbacks(cora_args bound)
{
    struct notes *notes = cora_arg(bound, 0, struct notes *);
    made = cora_future_new(cora_running_loop());
    cora_add_done_callback(made, cora_partial(note_outcome, notes));
    cora_add_done_callback(made, cora_partial(note_outcome, notes));
}

TEST(until_the_callbacks_have_run,
     "a future that a callback made is there until its callbacks have "
     "run")
{
    cora_loop loop = cora_loop_new(NULL);
    struct notes notes = { "" };
    run_in(loop, cora_partial(make_with_callbacks, &notes));
    ticks(loop, 5);
    cora_set_result(made, cora_int(6));
    CHECK_INT(cora_as_int(cora_result(made)), 6);
    tick(loop);
    CHECK_TEXT(notes.text, "6 6");
    CHECK_INT(cora_error_code(cora_result(made)), CORA_ESTALE);
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}

static void complete_and_listen_late(cora_args bound)
{
    complete_made(bound);
    cora_add_done_callback(made, cora_partial(note_outcome, cora_arg(bound, 0, struct notes *)));
}

/* Makes one future, in whatever kind of callback this is called in. */
static void make_one(cora_args bound)
{
    cora_future *future = cora_arg(bound, 0, cora_future *);
    *future = cora_future_new(cora_running_loop());
    cora_set_result(*future, cora_textf("page %d", 1));
    CHECK_TEXT(cora_as_text(cora_result(*future)), "page 1");
}

static void make_one_done(cora_args bound, cora_future done)
{
    (void)done;
    make_one(bound);
}

static void make_one_in_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)loop, (void)report;
    make_one(bound);
}

static void make_one_dropped(void *pointer)
{
    cora_future *future = pointer;
    *future = cora_future_new(cora_running_loop());
    cora_set_result(*future, cora_int(1));
}

static const cora_type making = { "making", make_one_dropped, NULL, 0 };

TEST(made_in_any_callback,
     "what a timer, a reader, a done-callback, one from another thread, an exception handler or a "
     "drop function in a tick makes and completes is given back in that tick")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop), one[6] = { { 0 } };
    int ends[2];
    CHECK_INT(pipe(ends), 0);
    CHECK_INT(write(ends[1], "x", 1), 1);
    cora_call_later(loop, 0, cora_partial(make_one, &one[0]));
    cora_add_reader(loop, ends[0], cora_partial(make_one, &one[1]));
    cora_add_done_callback(future, cora_partial(make_one_done, &one[2]));
    cora_set_result(future, cora_int(1));
    cora_call_soon_threadsafe(loop, cora_partial(make_one, &one[3]));
    cora_set_exception_handler(loop, cora_partial(make_one_in_report, &one[4]));
    cora_call_soon(loop, cora_partial(failing));
    cora_call_soon(loop, cora_partial(nothing, cora_own(&one[5], &making)));
    cora_drop_temporaries();
    tick(loop);
    cora_remove_reader(loop, ends[0]);
    for (int i = 0; i < 6; i++) {
        CHECK(!cora_is_null(one[i]));
        CHECK_INT(cora_error_code(cora_result(one[i])), CORA_ESTALE);
    }
    CHECK_INT(cora_live(loop), 1);
    close(ends[0]);
    close(ends[1]);
    cora_loop_close(loop);
}

TEST(late_callbacks_keep_it, "a callback that is added to a done future keeps it until it has run")
{
    cora_loop loop = cora_loop_new(NULL);
    struct notes notes = { "" };
    run_in(loop, cora_partial(complete_and_listen_late, &notes));
    CHECK_INT(cora_as_int(cora_result(made)), 5);
    tick(loop);
    CHECK_TEXT(notes.text, "5");
    CHECK_INT(cora_error_code(cora_result(made)), CORA_ESTALE);
    cora_loop_close(loop);
}

static void remove_and_check(cora_args bound)
{
    CHECK_INT(cora_remove_done_callback(
                  made, cora_partial(note_outcome, cora_arg(bound, 0, struct notes *))),
              2);
    cora_set_result(made, cora_int(1));
    CHECK_INT(cora_as_int(cora_result(made)), 1);
}

TEST(without_callbacks, "a future whose callbacks were all removed goes with the callback that "
                        "completes it")
{
    cora_loop loop = cora_loop_new(NULL);
    struct notes notes = { "" };
    run_in(loop, cora_partial(make_with_callbacks, &notes));
    run_in(loop, cora_partial(remove_and_check, &notes));
    CHECK_INT(cora_error_code(cora_result(made)), CORA_ESTALE);
    CHECK_TEXT(notes.text, "");
    cora_loop_close(loop);
}

static void keep_made(cora_args bound)
{
    complete_made(bound);
    CHECK(cora_same(cora_keep(made), made));
    CHECK(cora_same(cora_keep(made), made));
}

static void release_made(cora_args bound)
{
    (void)bound;
    CHECK_INT(cora_release(made), 0);
    CHECK_INT(cora_as_int(cora_result(made)), 5);
}

TEST(keep, "a kept future stays until it was released as often, and the callback has returned")
{
    cora_loop loop = cora_loop_new(NULL);
    run_in(loop, cora_partial(keep_made));
    ticks(loop, 3);
    CHECK_INT(cora_as_int(cora_result(made)), 5);
    run_in(loop, cora_partial(release_made));
    CHECK_INT(cora_as_int(cora_result(made)), 5);
    CHECK_INT(cora_live(loop), 1);
    run_in(loop, cora_partial(release_made));
    CHECK_INT(cora_error_code(cora_result(made)), CORA_ESTALE);
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}

TEST(released_outside, "a release outside of callbacks leaves the future until the next run begins")
{
    cora_loop loop = cora_loop_new(NULL);
    run_in(loop, cora_partial(keep_made));
    CHECK_INT(cora_release(made), 0);
    CHECK_INT(cora_release(made), 0);
    CHECK_INT(cora_as_int(cora_result(made)), 5);
    CHECK_INT(cora_live(loop), 0);
    run_in(loop, cora_partial(check_stale));
    cora_loop_close(loop);
}

static void read_and_release(cora_args bound)
{
    int *drops = cora_arg(bound, 0, int *);
    CHECK(cora_as_pointer(cora_result(made)) == drops);
    CHECK_INT(cora_release(made), 0);
    CHECK_INT(*drops, 0);
}

TEST(read_in_a_callback, "what a callback has read stays until it returns, also after the release")
{
    cora_loop loop = cora_loop_new(NULL);
    int drops = 0;
    made = cora_future_new(loop);
    cora_set_result(made, cora_own(&drops, &counted));
    cora_drop_temporaries();
    run_in(loop, cora_partial(read_and_release, &drops));
    CHECK_INT(drops, 1);
    cora_loop_close(loop);
}

TEST(kept_again, "a future that was released can be kept again until it is given back")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    cora_set_result(future, cora_int(3));
    for (int i = 0; i < 3; i++) {
        CHECK_INT(cora_release(future), 0);
        CHECK(cora_same(cora_keep(future), future));
        tick(loop);
        CHECK_INT(cora_as_int(cora_result(future)), 3);
    }
    cora_loop_close(loop);
}

TEST(pending_released, "a pending future that is released stays until it is done")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    int runs = 0;
    CHECK_INT(cora_release(future), 0);
    ticks(loop, 3);
    CHECK(!cora_done(future));
    cora_add_done_callback(future, cora_partial(count_done, &runs));
    CHECK_INT(cora_set_result(future, cora_int(3)), 0);
    CHECK_INT(cora_as_int(cora_result(future)), 3);
    tick(loop);
    CHECK_INT(runs, 1);
    CHECK_INT(cora_error_code(cora_result(future)), CORA_ESTALE);
    cora_loop_close(loop);
}

TEST(released_too_often, "a release without a keep is reported, refused, and does nothing")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    collect_reports(loop, &reports);
    int line = __LINE__ + 1;
    cora_future future = cora_future_new(loop);
    CHECK_INT(cora_release(future), 0);
    CHECK_INT(reports.count, 0);
    CHECK_INT(cora_release(future), CORA_ERUNTIME);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.error, "RuntimeError: cora_release without a cora_keep");
    CHECK_INT(reports.place.line, line);
    CHECK(!cora_done(future));
    cora_keep(future);
    cora_set_result(future, cora_int(1));
    ticks(loop, 2);
    CHECK_INT(cora_as_int(cora_result(future)), 1);
    CHECK_INT(reports.count, 1);
    cora_loop_close(loop);
}

TEST(made_in_main, "a future that main() makes is there until it is released, run after run")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    int runs = 0;
    cora_add_done_callback(future, cora_partial(count_done, &runs));
    cora_call_soon(loop, cora_partial(complete_argument, future));
    ticks(loop, 10);
    CHECK_INT(runs, 1);
    CHECK_INT(cora_as_int(cora_result(future)), 1);
    CHECK_INT(cora_live(loop), 1);
    cora_release(future);
    tick(loop);
    CHECK_INT(cora_error_code(cora_result(future)), CORA_ESTALE);
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}

TEST(read_in_main, "what main() has read stays until its next run, whatever becomes of the future")
{
    cora_loop loop = cora_loop_new(NULL), other = cora_loop_new(NULL);
    cora_future released = cora_future_new(loop), closed = cora_future_new(loop),
                failed = cora_future_new(loop);
    cora_set_result(released, cora_textf("page %d", 1));
    cora_set_result(closed, cora_textf("page %d", 2));
    cora_set_exception(failed, cora_error(CORA_EVALUE, "page %d", 3));
    cora_drop_temporaries();
    const char *one = cora_as_text(cora_result(released)), *two = cora_as_text(cora_result(closed));
    cora_value three = cora_result(failed);
    cora_release(released);
    CHECK_TEXT(one, "page 1");
    cora_loop_close(loop);
    CHECK_TEXT(one, "page 1");
    CHECK_TEXT(two, "page 2");
    CHECK_TEXT(cora_error_message(three), "page 3");
    CHECK(cora_live_values() > 0);
    tick(other);
    cora_loop_close(other);
}

TEST(kept_read_in_main, "also what was kept, or has callbacks that have not run, when the loop is "
                        "closed")
{
    for (int kept = 0; kept < 2; kept++) {
        cora_loop loop = cora_loop_new(NULL);
        int drops = 0;
        run_in(loop, cora_partial(abandon)); /* made in a callback */
        if (kept)
            cora_keep(made);
        else
            cora_add_done_callback(made, cora_partial(nothing_done));
        cora_set_result(made, cora_own(&drops, &counted));
        cora_drop_temporaries();
        CHECK(cora_as_pointer(cora_result(made)) == &drops);
        cora_loop_close(loop);
        CHECK_INT(drops, 0);
        cora_drop_temporaries();
        CHECK_INT(drops, 1);
    }
}

TEST(temporaries_after_close, "cora_drop_temporaries drops what main() has read from a closed loop")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    int drops = 0;
    cora_set_result(future, cora_own(&drops, &counted));
    cora_drop_temporaries();
    cora_loop_close(loop);
    CHECK_INT(drops, 0);
    cora_drop_temporaries();
    CHECK_INT(drops, 1);
}

/* ---- a host's own callbacks ---- */

struct host {
    struct ev_loop *ev;
    cora_loop guest;
    ev_timer timer;
    int rounds, left, runs;
};

static void host_start(struct host *host, void (*callback)(struct ev_loop *, ev_timer *, int))
{
    host->ev = ev_loop_new(EVFLAG_NOENV);
    host->guest = cora_loop_attach(host->ev, NULL);
    ev_timer_init(&host->timer, callback, 0, 0);
    host->timer.data = host;
}

static void host_run(struct host *host)
{
    ev_timer_set(&host->timer, 0, 0);
    ev_timer_start(host->ev, &host->timer);
    ev_run(host->ev, 0);
}

static void host_end(struct host *host)
{
    cora_loop_detach(host->guest);
    ev_loop_destroy(host->ev);
}

static void host_completes(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct host *host = timer->data;
    (void)ev, (void)events;
    made = cora_future_new(host->guest);
    cora_set_result(made, cora_textf("page %d", ++host->rounds));
    CHECK_INT(strncmp(cora_as_text(cora_result(made)), "page ", 5), 0);
    cora_call_soon(host->guest, cora_partial(check_stale));
}

TEST(made_in_a_hosts_callback,
     "a future that a host's own callback makes is there until that callback has returned")
{
    struct host host = { .rounds = 0 };
    host_start(&host, host_completes);
    for (int i = 1; i <= 3; i++) {
        host_run(&host);
        CHECK_INT(host.rounds, i);
        CHECK_INT(cora_error_code(cora_result(made)), CORA_ESTALE);
        CHECK_INT(cora_live(host.guest), 0);
    }
    host_end(&host);
}

static void make_another(cora_args bound)
{
    cora_future another = cora_future_new(cora_running_loop());
    cora_set_result(another, cora_textf("page %d", (int)cora_arg_int(bound, 0)));
}

static void host_runs_inside(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct host *host = timer->data;
    (void)events;
    made = cora_future_new(host->guest);
    cora_set_result(made, cora_int(5));
    cora_call_soon(host->guest, cora_partial(make_another, 6));
    ev_run(ev, EVRUN_NOWAIT);
    CHECK_INT(cora_as_int(cora_result(made)), 5);
    host->rounds++;
}

TEST(host_runs_inside,
     "also if that callback runs the loop itself, and others leave futures behind")
{
    struct host host = { .rounds = 0 };
    host_start(&host, host_runs_inside);
    host_run(&host);
    CHECK_INT(host.rounds, 1);
    ev_run(host.ev, EVRUN_NOWAIT);
    CHECK_INT(cora_error_code(cora_result(made)), CORA_ESTALE);
    CHECK_INT(cora_live(host.guest), 0);
    host_end(&host);
}

static void run_host_inside(cora_args bound)
{
    cora_loop other = cora_arg_loop(bound, 0);
    made = cora_future_new(other);
    cora_set_result(made, cora_int(5));
    cora_call_soon(other, cora_partial(make_another, 6));
    ev_run(cora_loop_ev(other), EVRUN_NOWAIT);
    CHECK_INT(cora_as_int(cora_result(made)), 5);
}

TEST(guest_runs_inside, "the same with a callback of another guest that runs the host's loop")
{
    for (int swapped = 0; swapped < 2; swapped++) {
        struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
        cora_loop guests[2] = { cora_loop_attach(host, NULL), cora_loop_attach(host, NULL) };
        cora_call_soon(guests[swapped], cora_partial(run_host_inside, guests[!swapped]));
        ev_run(host, 0);
        ev_run(host, EVRUN_NOWAIT);
        CHECK_INT(cora_error_code(cora_result(made)), CORA_ESTALE);
        cora_loop_detach(guests[0]);
        cora_loop_detach(guests[1]);
        ev_loop_destroy(host);
    }
}

static void host_keeps(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct host *host = timer->data;
    (void)ev, (void)events;
    if (host->rounds++ == 0) {
        made = cora_keep(cora_future_new(host->guest));
        cora_add_done_callback(made, cora_partial(count_done, &host->runs));
        cora_set_result(made, cora_int(5));
        return;
    }
    CHECK_INT(host->runs, 1);
    CHECK_INT(cora_release(made), 0);
    CHECK_INT(cora_as_int(cora_result(made)), 5);
    cora_call_soon(host->guest, cora_partial(check_stale));
}

TEST(kept_by_a_host, "a future that a host's callback keeps is there for its next callback")
{
    struct host host = { .rounds = 0 };
    host_start(&host, host_keeps);
    host_run(&host);
    CHECK_INT(cora_as_int(cora_result(made)), 5);
    host_run(&host);
    CHECK_INT(host.rounds, 2);
    CHECK_INT(cora_live(host.guest), 0);
    host_end(&host);
}

static void host_fails(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct host *host = timer->data;
    (void)ev, (void)events;
    cora_set_exception(cora_future_new(host->guest), cora_error(CORA_EVALUE, "unread"));
    host->rounds++;
}

TEST(unread_in_a_hosts_callback, "an error of a future that a host's callback forgets is reported")
{
    struct host host = { .rounds = 0 };
    struct reports reports;
    host_start(&host, host_fails);
    collect_reports(host.guest, &reports);
    host_run(&host);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.place.function, "host_fails");
    host_end(&host);
    CHECK_INT(reports.count, 1);
}

static void fail_in_another(cora_args bound)
{
    made = cora_future_new(cora_arg_loop(bound, 0));
    cora_set_exception(made, cora_error(CORA_EVALUE, "unread"));
}

TEST(made_for_another_guest,
     "a future that a guest's callback makes for another guest of the same host is given back, and "
     "its error reported, without anything else to wake that one")
{
    for (int swapped = 0; swapped < 2; swapped++) {
        struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
        cora_loop guests[2] = { cora_loop_attach(host, NULL), cora_loop_attach(host, NULL) };
        struct reports reports;
        collect_reports(guests[swapped], &reports);
        cora_call_soon(guests[!swapped], cora_partial(fail_in_another, guests[swapped]));
        ev_run(host, 0);
        CHECK_INT(reports.count, 1);
        CHECK_INT(cora_error_code(cora_result(made)), CORA_ESTALE);
        cora_loop_detach(guests[0]);
        cora_loop_detach(guests[1]);
        ev_loop_destroy(host);
    }
}

TEST(made_before_the_host_runs,
     "what is made for a guest before its host runs is held, as in main()")
{
    struct host host = { .rounds = 0 };
    host_start(&host, host_completes);
    cora_future future = cora_future_new(host.guest);
    cora_set_result(future, cora_int(1));
    host_run(&host);
    CHECK_INT(cora_as_int(cora_result(future)), 1);
    CHECK_INT(cora_live(host.guest), 1);
    cora_release(future);
    host_run(&host);
    CHECK_INT(cora_error_code(cora_result(future)), CORA_ESTALE);
    host_end(&host);
}

/* A thousand futures that complete at once, of three kinds. */
static void host_makes_thousand(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct host *host = timer->data;
    (void)events;
    for (int i = 0; i < 1000; i++) {
        cora_future future = cora_future_new(host->guest);
        for (int j = 0; j < i % 3; j++)
            cora_add_done_callback(future, cora_partial(count_done, &host->runs));
        if (i % 4)
            cora_set_result(future, cora_int(i));
        else
            cora_set_result(future, cora_textf("page %d", i));
    }
    if (--host->left > 0) {
        ev_timer_set(timer, 0, 0);
        ev_timer_start(ev, timer);
    }
}

TEST_WITH_LIMIT(60, million_in_a_hosts_callback,
                "a million futures that a host's callbacks make, complete and forget are all given "
                "back, and a second million takes no memory")
{
    struct host host = { .left = harness_scale(1000) };
    int rounds = host.left;
    host_start(&host, host_makes_thousand);
    size_t live = cora_live(host.guest);
    host_run(&host);
    CHECK_INT(host.runs, rounds * 999);
    CHECK_INT(cora_live(host.guest), live);
    long bytes = resident_bytes();
    host.left = rounds;
    host_run(&host);
    CHECK_INT(host.runs, rounds * 1998);
    CHECK_INT(cora_live(host.guest), live);
    CHECK(resident_bytes() <= bytes + 64 * 1024);
    host_end(&host);
}

struct rounds {
    cora_loop loop;
    int left;
};

static void forget_thousand(cora_args bound)
{
    struct rounds *rounds = cora_arg(bound, 0, struct rounds *);
    for (int i = 0; i < 1000; i++)
        cora_set_result(cora_future_new(rounds->loop), cora_int(i));
    if (--rounds->left > 0)
        cora_call_soon(rounds->loop, cora_partial(forget_thousand, rounds));
    else
        cora_stop(rounds->loop);
}

TEST_WITH_LIMIT(60, million_in_callbacks,
                "a million futures that callbacks make, complete and forget leave nothing behind")
{
    struct rounds rounds = { .loop = cora_loop_new(NULL) };
    long bytes = 0;
    for (int round = 0; round < 2; round++) {
        rounds.left = harness_scale(1000);
        cora_call_soon(rounds.loop, cora_partial(forget_thousand, &rounds));
        CHECK_INT(cora_run_forever(rounds.loop), 0);
        CHECK_INT(cora_live(rounds.loop), 0);
        CHECK(round == 0 || resident_bytes() <= bytes + 64 * 1024);
        bytes = resident_bytes();
    }
    cora_loop_close(rounds.loop);
}

/* ---- detaching in the middle ---- */

static void detach_in_callback(cora_args bound, cora_future done)
{
    (void)done;
    CHECK_INT(cora_loop_detach(cora_running_loop()), 0);
    CHECK(cora_done(done));
    CHECK_INT(cora_error_code(cora_result(done)), CORA_ESTALE);
    CHECK_INT(*cora_arg(bound, 0, int *), 0);
    CHECK_TEXT(cora_arg_text(bound, 1), "still there");
}

TEST(
    detached_in_a_callback,
    "a done-callback may detach its guest: its arguments live until it returns, and the others are "
    "dropped without a call")
{
    for (int before = 0; before < 2; before++) {
        struct host host = { .rounds = 0 };
        int drops[3] = { 0 }, runs = 0;
        host_start(&host, host_completes);
        cora_future future = cora_future_new(host.guest);
        if (before)
            cora_add_done_callback(
                future, cora_partial(nothing_done, "before", cora_own(&drops[0], &counted)));
        cora_add_done_callback(future, cora_partial(detach_in_callback, &drops[1], "still there",
                                                    cora_own(&drops[1], &counted)));
        cora_add_done_callback(future,
                               cora_partial(count_done, &runs, cora_own(&drops[2], &counted)));
        cora_set_result(future, cora_text("result"));
        ev_run(host.ev, EVRUN_NOWAIT);
        CHECK(cora_is_closed(host.guest));
        CHECK_INT(drops[0], before);
        CHECK_INT(drops[1], 1);
        CHECK_INT(drops[2], 1);
        CHECK_INT(runs, 0);
        host_end(&host);
    }
}

static void read_and_detach(cora_args bound, cora_future done)
{
    int *drops = cora_arg(bound, 0, int *);
    cora_future other = cora_arg_future(bound, 1);
    CHECK(cora_as_pointer(cora_result(done)) == drops);
    CHECK(cora_as_pointer(cora_result(other)) == drops);
    CHECK_INT(cora_loop_detach(cora_running_loop()), 0);
    CHECK_INT(*drops, 0);
}

TEST(read_before_detaching,
     "what a callback has read stays until it returns, also when it detaches the guest meanwhile")
{
    struct host host = { .rounds = 0 };
    int drops = 0;
    host_start(&host, host_completes);
    cora_future future = cora_future_new(host.guest), other = cora_future_new(host.guest);
    cora_add_done_callback(future, cora_partial(read_and_detach, &drops, other));
    cora_set_result(future, cora_own(&drops, &counted));
    cora_set_result(other, cora_own(&drops, &counted));
    cora_drop_temporaries();
    ev_run(host.ev, EVRUN_NOWAIT);
    CHECK_INT(drops, 2);
    host_end(&host);
}

static void detach_in_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    CHECK_INT(cora_loop_detach(loop), 0);
    CHECK_INT(cora_error_code(report->exception), CORA_EVALUE);
    ++*cora_arg(bound, 0, int *);
}

TEST(detached_in_a_report, "the handler that is told of an unread error may detach the guest")
{
    struct host host = { .rounds = 0 };
    int reports = 0;
    host_start(&host, host_fails);
    cora_set_exception_handler(host.guest, cora_partial(detach_in_report, &reports));
    cora_call_soon(host.guest, cora_partial(fail_made));
    cora_call_soon(host.guest, cora_partial(fail_made));
    ev_run(host.ev, EVRUN_NOWAIT);
    CHECK_INT(reports, 1);
    CHECK(cora_is_closed(host.guest));
    host_end(&host);
}

static void try_everything(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    ++*cora_arg(bound, 0, int *);
    CHECK(cora_done(report->future));
    CHECK(!cora_cancel(report->future));
    CHECK(cora_is_null(cora_keep(report->future)));
    CHECK_INT(cora_add_done_callback(report->future, cora_partial(nothing_done)), CORA_ESTALE);
    CHECK(cora_is_null(cora_future_new(loop)));
    CHECK_INT(cora_error_code(report->exception), CORA_EVALUE);
}

TEST(reported_in_a_close,
     "a handler that is told of unread errors while the loop is closed finds the futures stale")
{
    cora_loop loop = cora_loop_new(NULL);
    int reports = 0;
    cora_set_exception_handler(loop, cora_partial(try_everything, &reports));
    for (int i = 0; i < 3; i++)
        cora_set_exception(cora_future_new(loop), cora_error(CORA_EVALUE, "%d", i));
    CHECK_INT(cora_loop_close(loop), 0);
    CHECK_INT(reports, 3);
}

static cora_next read_and_await(cora_coro self)
{
    cora_future future = cora_future_new(cora_running_loop());
    cora_set_result(future, cora_text("in one step"));
    CHECK_TEXT(cora_as_text(cora_result(future)), "in one step");
    return cora_await(self, future, cora_return_got);
}

static cora_next read_and_await_all(cora_coro self)
{
    cora_future future = cora_future_new(cora_running_loop());
    cora_set_result(future, cora_text("of one"));
    cora_future all = cora_gather(cora_running_loop(), &future, 1);
    CHECK_INT((int64_t)cora_list_size(cora_result(all)), 1);
    return cora_await(self, all, cora_return_got);
}

TEST(read_and_awaited, "a future that a step has made, completed and read can be awaited by it, too")
{
    cora_loop loop = virtual_loop_new();
    cora_value outcome = cora_run_until_complete(loop, cora_coroutine(read_and_await));
    CHECK_TEXT(cora_as_text(outcome), "in one step");
    outcome = cora_run_until_complete(loop, cora_coroutine(read_and_await_all));
    CHECK_TEXT(cora_as_text(cora_list_at(outcome, 0)), "of one");
    virtual_loop_end(loop);
}
