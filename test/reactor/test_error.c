/*
 * Errors: their names, what they are kinds of, their texts and causes, the last error of a thread,
 * and how a callback fails with one.
 */
#include "harness.h"

#include <cora.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* ---- helpers ---- */

static void run_tick(cora_loop loop)
{
    CHECK_INT(cora_stop(loop), 0);
    CHECK_INT(cora_run_forever(loop), 0);
}

struct reports {
    int count;
    char message[200];
    char exception[200];
    char cause[200];
};

static void keep_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    struct reports *reports = cora_arg(bound, 0, struct reports *);
    (void)loop;
    reports->count++;
    strncpy(reports->message, report->message, sizeof reports->message - 1);
    cora_print(report->exception, reports->exception, sizeof reports->exception);
    cora_print(cora_error_cause(report->exception), reports->cause, sizeof reports->cause);
}

/* What is reported for a callback that fails; run() is queued with the argument. */
static struct reports reports_of(cora_callback_function run, cora_value argument)
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports = { .count = 0 };
    cora_set_exception_handler(loop, cora_partial(keep_report, &reports));
    cora_call_soon(loop, cora_partial(run, argument));
    run_tick(loop);
    cora_loop_close(loop);
    return reports;
}

/* ---- names and kinds ---- */

TEST(names, "every code has the name of Python's exception")
{
    static const struct {
        int code;
        const char *name;
    } names[] = {
        { CORA_ECANCELLED, "CancelledError" },
        { CORA_EINVALIDSTATE, "InvalidStateError" },
        { CORA_ETIMEOUT, "TimeoutError" },
        { CORA_ERUNTIME, "RuntimeError" },
        { CORA_EVALUE, "ValueError" },
        { CORA_ETYPE, "TypeError" },
        { CORA_EMEMORY, "MemoryError" },
        { CORA_ELOOKUP, "LookupError" },
        { CORA_ESTALE, "StaleHandle" },
        { CORA_EWRONGTHREAD, "WrongThread" },
        { CORA_EKEYBOARDINTERRUPT, "KeyboardInterrupt" },
        { CORA_ESYSTEMEXIT, "SystemExit" },
        { CORA_EOS, "OSError" },
        { CORA_EEXCEPTION, "Exception" },
        { -EAGAIN, "BlockingIOError" },
        { -EWOULDBLOCK, "BlockingIOError" },
        { -EALREADY, "BlockingIOError" },
        { -EINPROGRESS, "BlockingIOError" },
        { -ECHILD, "ChildProcessError" },
        { -EPIPE, "BrokenPipeError" },
        { -ESHUTDOWN, "BrokenPipeError" },
        { -ECONNABORTED, "ConnectionAbortedError" },
        { -ECONNREFUSED, "ConnectionRefusedError" },
        { -ECONNRESET, "ConnectionResetError" },
        { -EEXIST, "FileExistsError" },
        { -ENOENT, "FileNotFoundError" },
        { -EINTR, "InterruptedError" },
        { -EISDIR, "IsADirectoryError" },
        { -ENOTDIR, "NotADirectoryError" },
        { -EACCES, "PermissionError" },
        { -EPERM, "PermissionError" },
        { -ESRCH, "ProcessLookupError" },
        { -ETIMEDOUT, "TimeoutError" },
        { -EBADF, "OSError" },
        { -1234, "OSError" },
        { -20000, "Exception" },
        { 5, "Exception" },
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        CHECK_TEXT(cora_error_name(names[i].code), names[i].name);
}

TEST(kinds, "an error is one of its code and of what that is a kind of")
{
    cora_value stale = cora_error(CORA_ESTALE, "gone"), refused = cora_error(-ECONNREFUSED, "no");
    CHECK(cora_error_is(stale, CORA_ESTALE));
    CHECK(cora_error_is(stale, CORA_ERUNTIME));
    CHECK(!cora_error_is(stale, CORA_EOS));
    CHECK(cora_error_is(cora_error(CORA_EWRONGTHREAD, "no"), CORA_ERUNTIME));
    CHECK(!cora_error_is(cora_error(CORA_ERUNTIME, "no"), CORA_ESTALE));
    CHECK(cora_error_is(refused, -ECONNREFUSED));
    CHECK(cora_error_is(refused, CORA_EOS));
    CHECK(!cora_error_is(refused, -ECONNRESET));
    CHECK(cora_error_is(cora_error(-1234, "no"), CORA_EOS));
}

TEST(time_out_kinds, "ETIMEDOUT is a TimeoutError, and that an OSError, as in Python")
{
    CHECK(cora_error_is(cora_error(-ETIMEDOUT, "late"), CORA_ETIMEOUT));
    CHECK(cora_error_is(cora_error(-ETIMEDOUT, "late"), CORA_EOS));
    CHECK(cora_error_is(cora_error(CORA_ETIMEOUT, "late"), CORA_EOS));
    CHECK(!cora_error_is(cora_error(CORA_ETIMEOUT, "late"), -ETIMEDOUT));
}

TEST(no_error_is_of_no_kind, "what is no error has no code, message, cause or kind")
{
    cora_value values[] = { cora_nothing(), cora_int(CORA_EVALUE), cora_text("ValueError") };
    for (size_t i = 0; i < 3; i++) {
        CHECK(!cora_is_error(values[i]));
        CHECK_INT(cora_error_code(values[i]), 0);
        CHECK_TEXT(cora_error_message(values[i]), "");
        CHECK(cora_is_nothing(cora_error_cause(values[i])));
        CHECK(!cora_error_is(values[i], CORA_EVALUE));
        CHECK(!cora_error_is(values[i], 0));
    }
}

/* ---- texts and causes ---- */

TEST(message, "an error carries its code and a printf-like message")
{
    cora_value error = cora_error(CORA_EVALUE, "%s must be below %d", "x", 5);
    CHECK(cora_is_error(error));
    CHECK_INT(cora_error_code(error), CORA_EVALUE);
    CHECK_TEXT(cora_error_message(error), "x must be below 5");
}

TEST(system_s_words, "an errno's error says its number and the system's words, as OSError does")
{
    CHECK_TEXT(cora_error_message(cora_error(-ENOENT, "%s", "/no/where")),
               "[Errno 2] No such file or directory: /no/where");
    CHECK_TEXT(cora_error_message(cora_error(-ENOENT, "%s", "")),
               "[Errno 2] No such file or directory");
}

TEST(long_message, "a message may be of any length")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_value error = cora_error(CORA_EVALUE, "%05000d", 7);
    CHECK_INT(strlen(cora_error_message(error)), 5000);
    CHECK_INT(cora_error_message(error)[4999], '7');
    run_tick(loop); /* ends the temporary */
    cora_loop_close(loop);
}

TEST(cause, "an error keeps the one that led to it, and that one its own")
{
    cora_value first = cora_error(-ENOENT, "config");
    cora_value second = cora_error_from(first, CORA_EVALUE, "no config");
    cora_value third = cora_copy(cora_error_from(second, CORA_ERUNTIME, "not started"));
    cora_loop loop = cora_loop_new(NULL);
    run_tick(loop); /* the third alone is kept, and with it the others */
    cora_loop_close(loop);
    CHECK_INT(cora_error_code(cora_error_cause(third)), CORA_EVALUE);
    CHECK_INT(cora_error_code(cora_error_cause(cora_error_cause(third))), -ENOENT);
    CHECK(cora_is_nothing(cora_error_cause(cora_error_cause(cora_error_cause(third)))));
    cora_drop(third);
}

TEST(no_cause, "an error without a cause has nothing for it")
{
    CHECK(cora_is_nothing(cora_error_cause(cora_error(CORA_EVALUE, "no"))));
    CHECK(cora_is_nothing(cora_error_cause(cora_error_from(cora_nothing(), CORA_EVALUE, "no"))));
}

/* ---- the last error ---- */

TEST(last_error, "a call that fails leaves its error behind; one that works leaves it alone")
{
    CHECK(cora_is_nothing(cora_last_error()));
    cora_loop loop = cora_loop_new(NULL);
    CHECK_INT(cora_add_reader(loop, -1, cora_partial(cora_keyboard_interrupt)), CORA_EVALUE);
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EVALUE);
    run_tick(loop);
    CHECK_TEXT(cora_error_message(cora_last_error()), "Invalid file descriptor: -1");
    cora_loop_close(loop);
    CHECK_INT(cora_stop(loop), CORA_ERUNTIME);
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ERUNTIME);
}

TEST(making_is_not_failing, "making an error is not failing with it")
{
    cora_error(CORA_EVALUE, "only made");
    CHECK(cora_is_nothing(cora_last_error()));
}

static void *fail_in_thread(void *nothing)
{
    CHECK(cora_is_nothing(cora_last_error()));
    cora_fail(cora_error(CORA_EVALUE, "in the thread"));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EVALUE);
    return nothing;
}

TEST(last_error_is_the_thread_s, "each thread has a last error of its own")
{
    pthread_t thread;
    cora_fail(cora_error(CORA_ETYPE, "here"));
    CHECK_INT(pthread_create(&thread, NULL, fail_in_thread, NULL), 0);
    pthread_join(thread, NULL);
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
}

/* ---- failing ---- */

static void fail_with_argument(cora_args bound)
{
    cora_fail(cora_arg_value(bound, 0));
}

TEST(fail_reports, "a callback that fails is reported with its name, arguments and error")
{
    cora_value error = cora_error_from(cora_error(-ENOENT, "x"), CORA_EVALUE, "no");
    struct reports reports = reports_of(fail_with_argument, error);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Exception in callback run(ValueError: no)");
    CHECK_TEXT(reports.exception, "ValueError: no");
    CHECK_TEXT(reports.cause, "FileNotFoundError: [Errno 2] No such file or directory: x");
}

static void fail_twice(cora_args bound)
{
    (void)bound;
    cora_fail(cora_error(CORA_EVALUE, "first"));
    cora_fail(cora_error(CORA_ETYPE, "second"));
}

TEST(later_failure_counts, "of two failures of one callback the later is reported, once")
{
    struct reports reports = reports_of(fail_twice, cora_nothing());
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.exception, "TypeError: second");
}

TEST(fail_wants_an_error, "failing with what is no error is a TypeError")
{
    struct reports reports = reports_of(fail_with_argument, cora_int(5));
    CHECK_INT(reports.count, 1);
    CHECK_INT(strncmp(reports.exception, "TypeError: ", 11), 0);
}

TEST(fail_outside_a_callback, "outside a callback cora_fail only sets the last error")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports = { .count = 0 };
    cora_set_exception_handler(loop, cora_partial(keep_report, &reports));
    cora_fail(cora_error(CORA_EVALUE, "no"));
    CHECK_TEXT(cora_error_message(cora_last_error()), "no");
    run_tick(loop);
    CHECK_INT(reports.count, 0);
    cora_loop_close(loop);
}

static void leave(cora_args bound)
{
    cora_fail(cora_error((int)cora_arg_int(bound, 0), "bye"));
}

TEST(fatal_errors_leave_the_run, "KeyboardInterrupt and SystemExit leave the run, unreported")
{
    static const int codes[] = { CORA_EKEYBOARDINTERRUPT, CORA_ESYSTEMEXIT };
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports = { .count = 0 };
    cora_set_exception_handler(loop, cora_partial(keep_report, &reports));
    for (int i = 0; i < 2; i++) {
        cora_call_soon(loop, cora_partial(leave, codes[i]));
        CHECK_INT(cora_run_forever(loop), codes[i]);
        CHECK_TEXT(cora_error_message(cora_last_error()), "bye");
    }
    CHECK_INT(reports.count, 0);
    cora_loop_close(loop);
}

TEST(last_error_survives_callbacks, "the last error of main() is what a callback's failure left")
{
    struct reports reports = reports_of(fail_twice, cora_nothing());
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(cora_error_message(cora_last_error()), "second");
}
