/*
 * Where the errors of callbacks go: once to the loop's exception handler, with all that is known;
 * to stderr without one, or when the handler fails itself.
 */
#include "harness.h"

#include <cora.h>
#include <errno.h>
#include <ev.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void nothing(cora_args bound)
{
    (void)bound;
}

static void count(cora_args bound)
{
    ++*cora_arg(bound, 0, int *);
}

static void failing(cora_args bound)
{
    (void)bound;
    cora_fail(cora_error(CORA_EVALUE, "wrong"));
}

static void tick(cora_loop loop)
{
    cora_stop(loop);
    CHECK_INT(cora_run_forever(loop), 0);
}

static void count_drop(void *pointer)
{
    ++*(int *)pointer;
}

static const cora_type counted = { "counted", count_drop, NULL, 0 };

/* In main() a value made here lives until the next run: of any loop. */
static void forget_temporaries(void)
{
    cora_loop other = cora_loop_new(NULL);
    tick(other);
    cora_loop_close(other);
}

/* ---- what is written to stderr ---- */

struct capture {
    int outer, file;
    char text[4096];
};

static void capture_start(struct capture *capture)
{
    memset(capture, 0, sizeof *capture);
    capture->file = memfd_create("stderr", MFD_CLOEXEC);
    capture->outer = dup(STDERR_FILENO);
    dup2(capture->file, STDERR_FILENO);
}

static void capture_end(struct capture *capture)
{
    fflush(stderr);
    dup2(capture->outer, STDERR_FILENO);
    close(capture->outer);
    CHECK(pread(capture->file, capture->text, sizeof capture->text - 1, 0) >= 0);
    close(capture->file);
}

TEST(default_handler,
     "without a handler a failing callback of any kind is written to stderr, with its name, and "
     "the loop goes on",
     "test_base_events.BaseEventLoopTests.test_default_exc_handler_callback")
{
    cora_loop loop = cora_loop_new(NULL);
    struct capture capture;
    char expected[1000];
    int runs = 0, line = __LINE__;
    cora_call_soon(loop, cora_partial(failing, 3, "x"));
    cora_call_later(loop, 0, cora_partial(failing));
    cora_call_soon(loop, cora_partial(count, &runs));
    capture_start(&capture);
    tick(loop);
    capture_end(&capture);
    snprintf(expected, sizeof expected,
             "Exception in callback failing(3, \"x\")\n"
             "  exception: ValueError: wrong\n"
             "  object: <Handle failing(3, \"x\")>\n"
             "  created: in %s (%s:%d)\n"
             "Exception in callback failing()\n"
             "  exception: ValueError: wrong\n"
             "  object: <TimerHandle failing()>\n"
             "  created: in %s (%s:%d)\n",
             __func__, __FILE__, line + 1, __func__, __FILE__, line + 2);
    CHECK_TEXT(capture.text, expected);
    CHECK_INT(runs, 1);
    cora_loop_close(loop);
}

TEST(default_handler_alone,
     "the default handler writes what the report has, and what led to the error")
{
    struct capture capture;
    cora_value deep = cora_error(-ENOENT, "%s", "config");
    struct cora_report report = { .exception =
                                      cora_error_from(deep, CORA_ERUNTIME, "cannot start") };
    capture_start(&capture);
    cora_default_exception_handler((cora_loop){ 0 }, &report);
    capture_end(&capture);
    CHECK_TEXT(capture.text,
               "Unhandled exception in event loop\n"
               "  exception: RuntimeError: cannot start\n"
               "  caused by: FileNotFoundError: [Errno 2] No such file or directory: config\n");
}

TEST(no_loop, "a report for the null handle, or a closed loop, goes to the default handler")
{
    cora_loop loop = cora_loop_new(NULL);
    struct cora_report report = { .message = "nobody there" };
    struct capture capture;
    cora_loop_close(loop);
    capture_start(&capture);
    cora_call_exception_handler((cora_loop){ 0 }, &report);
    cora_call_exception_handler(loop, &report);
    capture_end(&capture);
    CHECK_TEXT(capture.text, "nobody there\nnobody there\n");
}

/* ---- a handler of the program's ---- */

struct reports {
    int count;
    int code;
    char message[200], error[200], object[200], handle[200];
    struct cora_place place;
    bool running;
};

static void take_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    struct reports *reports = cora_arg(bound, 0, struct reports *);
    reports->count++;
    reports->code = cora_error_code(report->exception);
    snprintf(reports->message, sizeof reports->message, "%s", report->message);
    snprintf(reports->error, sizeof reports->error, "%s", cora_error_message(report->exception));
    snprintf(reports->object, sizeof reports->object, "%s", report->object ? report->object : "");
    cora_handle_print(report->handle, reports->handle, sizeof reports->handle);
    if (report->place)
        reports->place = *report->place;
    reports->running = cora_same(cora_running_loop(), loop);
}

TEST(callback_that_fails,
     "a failing callback is reported once, with a message that names it, its error, its handle and "
     "its place",
     "test_events.HandleTests.test_callback_with_exception")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports = { .count = 0 };
    cora_set_exception_handler(loop, cora_partial(take_report, &reports));
    cora_call_soon(loop, cora_partial(failing, "bell", 3));
    int line = __LINE__ - 1;
    tick(loop);
    tick(loop);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Exception in callback failing(\"bell\", 3)");
    CHECK_INT(reports.code, CORA_EVALUE);
    CHECK_TEXT(reports.error, "wrong");
    CHECK_TEXT(reports.object, "<Handle failing(\"bell\", 3)>");
    CHECK_TEXT(reports.handle, reports.object);
    CHECK_INT(reports.place.line, line);
    CHECK_TEXT(reports.place.function, __func__);
    CHECK(reports.running);
    cora_loop_close(loop);
}

static void fail_twice(cora_args bound)
{
    (void)bound;
    cora_fail(cora_error(CORA_EVALUE, "first"));
    cora_fail(cora_error(CORA_ELOOKUP, "second"));
}

TEST(last_failure_counts, "of several failures of one callback the last is reported")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports = { .count = 0 };
    cora_set_exception_handler(loop, cora_partial(take_report, &reports));
    cora_call_soon(loop, cora_partial(fail_twice));
    tick(loop);
    CHECK_INT(reports.count, 1);
    CHECK_INT(reports.code, CORA_ELOOKUP);
    CHECK_TEXT(reports.error, "second");
    cora_loop_close(loop);
}

static void fail_with_a_number(cora_args bound)
{
    (void)bound;
    cora_fail(cora_int(3));
}

TEST(failure_that_is_no_error, "failing with a value that is no error is a TypeError")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports = { .count = 0 };
    cora_set_exception_handler(loop, cora_partial(take_report, &reports));
    cora_call_soon(loop, cora_partial(fail_with_a_number));
    tick(loop);
    CHECK_INT(reports.code, CORA_ETYPE);
    cora_loop_close(loop);
}

TEST(failure_outside_of_callbacks, "outside of a callback cora_fail only sets the last error")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports = { .count = 0 };
    cora_set_exception_handler(loop, cora_partial(take_report, &reports));
    cora_fail(cora_error(CORA_EVALUE, "outside"));
    CHECK_TEXT(cora_error_message(cora_last_error()), "outside");
    cora_call_soon(loop, cora_partial(nothing));
    tick(loop);
    CHECK_INT(reports.count, 0);
    cora_loop_close(loop);
}

static void check_arguments_alive(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)loop, (void)report;
    CHECK_INT(*cora_arg(bound, 0, int *), 0);
    ++*cora_arg(bound, 1, int *);
}

TEST(arguments_outlive_the_report, "the failed callback's arguments are dropped after the report")
{
    cora_loop loop = cora_loop_new(NULL);
    int drops = 0, reports = 0;
    cora_set_exception_handler(loop, cora_partial(check_arguments_alive, &drops, &reports));
    cora_call_soon(loop, cora_partial(failing, cora_own(&drops, &counted)));
    tick(loop);
    CHECK_INT(reports, 1);
    CHECK_INT(drops, 1);
    cora_loop_close(loop);
}

static void fail_fatally(cora_args bound)
{
    (void)bound;
    cora_fail(cora_error(CORA_ESYSTEMEXIT, "leave"));
}

TEST(fatal_errors_are_not_reported,
     "errors that leave the run are the run's result, and reported to nobody")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports = { .count = 0 };
    cora_set_exception_handler(loop, cora_partial(take_report, &reports));
    cora_call_soon(loop, cora_partial(fail_fatally));
    CHECK_INT(cora_run_forever(loop), CORA_ESYSTEMEXIT);
    CHECK_INT(reports.count, 0);
    cora_loop_close(loop);
}

static void pass_on(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)bound;
    cora_default_exception_handler(loop, report);
}

TEST(handler_passes_on, "a handler may pass a report on to the default one")
{
    cora_loop loop = cora_loop_new(NULL);
    struct cora_report report = { .message = "passed on" };
    struct capture capture;
    cora_set_exception_handler(loop, cora_partial(pass_on));
    capture_start(&capture);
    cora_call_exception_handler(loop, &report);
    capture_end(&capture);
    CHECK_TEXT(capture.text, "passed on\n");
    cora_loop_close(loop);
}

static void queue_another(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)report;
    cora_call_soon(loop, cora_partial(count, cora_arg(bound, 0, int *)));
}

TEST(handler_queues, "a handler may queue callbacks, in a run and outside of one")
{
    cora_loop loop = cora_loop_new(NULL);
    int runs = 0;
    cora_set_exception_handler(loop, cora_partial(queue_another, &runs));
    cora_call_soon(loop, cora_partial(failing));
    tick(loop);
    CHECK_INT(runs, 0);
    tick(loop);
    CHECK_INT(runs, 1);
    cora_call_exception_handler(loop, &(struct cora_report){ .message = "x" });
    tick(loop);
    CHECK_INT(runs, 2);
    cora_loop_close(loop);
}

/* ---- setting, replacing, resetting ---- */

TEST(reset, "after a reset the default handler is back, and the handler's arguments are dropped")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports = { .count = 0 };
    struct capture capture;
    int drops = 0;
    cora_set_exception_handler(loop,
                               cora_partial(take_report, &reports, cora_own(&drops, &counted)));
    forget_temporaries();
    CHECK_INT(cora_reset_exception_handler(loop), 0);
    CHECK_INT(drops, 1);
    CHECK_INT(cora_reset_exception_handler(loop), 0);
    cora_call_soon(loop, cora_partial(failing));
    capture_start(&capture);
    tick(loop);
    capture_end(&capture);
    CHECK_INT(reports.count, 0);
    CHECK(strstr(capture.text, "Exception in callback failing()"));
    cora_loop_close(loop);
    CHECK_INT(drops, 1);
}

TEST(replaced, "a new handler takes the place of the old one, whose arguments are dropped")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports old = { .count = 0 }, new = { .count = 0 };
    int drops[2] = { 0, 0 };
    cora_set_exception_handler(loop,
                               cora_partial(take_report, &old, cora_own(&drops[0], &counted)));
    forget_temporaries();
    cora_set_exception_handler(loop,
                               cora_partial(take_report, &new, cora_own(&drops[1], &counted)));
    CHECK_INT(drops[0], 1);
    cora_call_soon(loop, cora_partial(failing));
    tick(loop);
    CHECK_INT(old.count, 0);
    CHECK_INT(new.count, 1);
    CHECK_INT(drops[1], 0);
    cora_loop_close(loop);
    CHECK_INT(drops[1], 1);
}

TEST(handler_refused, "a closed loop refuses a handler, whose arguments are dropped")
{
    cora_loop loop = cora_loop_new(NULL);
    int drops = 0;
    cora_loop_close(loop);
    CHECK_INT(cora_set_exception_handler(
                  loop, cora_partial(take_report, NULL, cora_own(&drops, &counted))),
              CORA_ERUNTIME);
    forget_temporaries();
    CHECK_INT(drops, 1);
}

static void replace_itself(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    int *drops = cora_arg(bound, 1, int *);
    (void)report;
    cora_set_exception_handler(loop,
                               cora_partial(take_report, cora_arg(bound, 0, struct reports *)));
    CHECK_INT(*drops, 0);
}

TEST(replaced_while_it_runs, "a handler may replace itself; its arguments live until it returns")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports = { .count = 0 };
    int drops = 0;
    cora_set_exception_handler(loop,
                               cora_partial(replace_itself, &reports, cora_own(&drops, &counted)));
    cora_call_soon(loop, cora_partial(failing));
    tick(loop);
    CHECK_INT(drops, 1);
    CHECK_INT(reports.count, 0);
    cora_call_soon(loop, cora_partial(failing));
    tick(loop);
    CHECK_INT(reports.count, 1);
    cora_loop_close(loop);
    CHECK_INT(drops, 1);
}

static void reset_itself(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)report;
    cora_reset_exception_handler(loop);
    ++*cora_arg(bound, 0, int *);
}

TEST(reset_while_it_runs, "a handler may reset itself")
{
    cora_loop loop = cora_loop_new(NULL);
    struct capture capture;
    int reports = 0;
    cora_set_exception_handler(loop, cora_partial(reset_itself, &reports));
    cora_call_soon(loop, cora_partial(failing, 1));
    cora_call_soon(loop, cora_partial(failing, 2));
    capture_start(&capture);
    tick(loop);
    capture_end(&capture);
    CHECK_INT(reports, 1);
    CHECK(strstr(capture.text, "failing(2)"));
    CHECK(!strstr(capture.text, "failing(1)"));
    cora_loop_close(loop);
}

/* ---- a handler that fails ---- */

static void broken(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)loop, (void)report;
    ++*cora_arg(bound, 0, int *);
    cora_fail(cora_error(CORA_ELOOKUP, "handler is broken"));
}

TEST(handler_that_fails,
     "a handler that fails itself is written to stderr as an unhandled error in the exception "
     "handler, and the loop goes on",
     "test_base_events.BaseEventLoopTests.test_set_exc_handler_broken")
{
    cora_loop loop = cora_loop_new(NULL);
    struct capture capture;
    int reports = 0, runs = 0;
    cora_set_exception_handler(loop, cora_partial(broken, &reports));
    cora_call_soon(loop, cora_partial(failing));
    cora_call_soon(loop, cora_partial(count, &runs));
    capture_start(&capture);
    tick(loop);
    capture_end(&capture);
    CHECK_INT(reports, 1);
    CHECK_INT(runs, 1);
    CHECK_INT(strncmp(capture.text, "Unhandled error in exception handler\n", 37), 0);
    cora_loop_close(loop);
}

TEST(failed_handlers_report,
     "the default handler gets the error of the handler that failed, and the report that it failed "
     "on inside",
     "test_base_events.BaseEventLoopTests.test_default_exc_handler_broken")
{
    cora_loop loop = cora_loop_new(NULL);
    struct cora_report report = { .message = "the first report",
                                  .exception = cora_error(CORA_EVALUE, "the first error") };
    struct capture capture;
    int reports = 0;
    cora_set_exception_handler(loop, cora_partial(broken, &reports));
    capture_start(&capture);
    cora_call_exception_handler(loop, &report);
    capture_end(&capture);
    CHECK_TEXT(capture.text, "Unhandled error in exception handler\n"
                             "  exception: LookupError: handler is broken\n"
                             "    the first report\n"
                             "      exception: ValueError: the first error\n");
    cora_loop_close(loop);
}

static void report_again(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)report;
    ++*cora_arg(bound, 0, int *);
    cora_call_exception_handler(loop, &(struct cora_report){ .message = "inside the handler" });
}

TEST(report_inside_the_handler, "what a handler reports while it runs goes to the default handler")
{
    cora_loop loop = cora_loop_new(NULL);
    struct capture capture;
    int reports = 0;
    cora_set_exception_handler(loop, cora_partial(report_again, &reports));
    cora_call_soon(loop, cora_partial(failing));
    capture_start(&capture);
    tick(loop);
    capture_end(&capture);
    CHECK_INT(reports, 1);
    CHECK_TEXT(capture.text, "inside the handler\n");
    cora_loop_close(loop);
}

static void interrupt(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)bound, (void)loop, (void)report;
    cora_fail(cora_error(CORA_EKEYBOARDINTERRUPT, "in the handler"));
}

TEST(fatal_error_in_the_handler, "a KeyboardInterrupt in the handler leaves the run at once")
{
    cora_loop loop = cora_loop_new(NULL);
    int runs = 0;
    cora_set_exception_handler(loop, cora_partial(interrupt));
    cora_call_soon(loop, cora_partial(failing));
    cora_call_soon(loop, cora_partial(count, &runs));
    CHECK_INT(cora_run_forever(loop), CORA_EKEYBOARDINTERRUPT);
    CHECK_TEXT(cora_error_message(cora_last_error()), "in the handler");
    CHECK_INT(runs, 0);
    tick(loop);
    CHECK_INT(runs, 1);
    cora_loop_close(loop);
}

/* ---- the context ---- */

static const cora_variable request = { "request", { NULL, { 0 } } };

static void set_and_fail(cora_args bound)
{
    cora_context_set(&request, cora_arg_value(bound, 0));
    failing(bound);
}

static void take_request(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    int *requests = cora_arg(bound, 0, int *);
    (void)loop, (void)report;
    *requests = *requests * 10 + (int)cora_as_int(cora_context_get(&request));
}

TEST(context_of_the_handler,
     "the handler runs in the context of the callback that failed, not in that in which it was set")
{
    cora_loop loop = cora_loop_new(NULL);
    int requests = 0;
    cora_context_set(&request, cora_int(9));
    cora_set_exception_handler(loop, cora_partial(take_request, &requests));
    cora_context_set(&request, cora_int(1));
    cora_call_soon(loop, cora_partial(failing));
    cora_call_soon(loop, cora_partial(set_and_fail, 2));
    cora_context_set(&request, cora_int(3));
    cora_call_later(loop, 0, cora_partial(failing));
    tick(loop);
    CHECK_INT(requests, 123);
    cora_loop_close(loop);
}

/* ---- closing and detaching ---- */

struct closer {
    cora_loop loop, next;
    int calls;
};

/* Closes the loop, and makes one that takes its memory. */
static void close_and_make(struct closer *closer)
{
    closer->calls++;
    CHECK_INT(cora_loop_close(closer->loop), 0);
    closer->next = cora_loop_new(NULL);
}

/* The new loop is whole: each of many callbacks has a slot of its own. */
static void check_next(struct closer *closer)
{
    int runs = 0;
    CHECK_INT(closer->calls, 1);
    for (int i = 0; i < 2000; i++)
        cora_call_soon(closer->next, cora_partial(count, &runs));
    CHECK_INT(cora_live(closer->next), 2000);
    tick(closer->next);
    CHECK_INT(runs, 2000);
    CHECK_INT(cora_live(closer->next), 0);
    cora_loop_close(closer->next);
}

static void drop_and_close(void *pointer)
{
    close_and_make(pointer);
}

static const cora_type closing = { "closing", drop_and_close, NULL, 0 };

TEST(reset_closes, "a drop function that runs in a reset may close the idle loop and make another")
{
    struct closer closer = { .loop = cora_loop_new(NULL) };
    cora_set_exception_handler(closer.loop,
                               cora_partial(take_report, NULL, cora_own(&closer, &closing)));
    forget_temporaries();
    CHECK_INT(cora_reset_exception_handler(closer.loop), 0);
    check_next(&closer);
}

TEST(replacing_closes, "a drop function that runs when its handler is replaced may close the idle "
                       "loop and make another")
{
    struct closer closer = { .loop = cora_loop_new(NULL) };
    struct reports reports = { .count = 0 };
    cora_set_exception_handler(closer.loop,
                               cora_partial(take_report, NULL, cora_own(&closer, &closing)));
    forget_temporaries();
    CHECK_INT(cora_set_exception_handler(closer.loop, cora_partial(take_report, &reports)), 0);
    check_next(&closer);
}

static void close_in_the_handler(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)loop, (void)report;
    close_and_make(cora_arg(bound, 0, struct closer *));
    CHECK_TEXT(cora_arg_text(bound, 1), "still there");
}

TEST(handler_closes,
     "a handler that is called outside of a run may close its loop and make another")
{
    struct closer closer = { .loop = cora_loop_new(NULL) };
    int drops = 0;
    cora_set_exception_handler(
        closer.loop,
        cora_partial(close_in_the_handler, &closer, "still there", cora_own(&drops, &counted)));
    forget_temporaries();
    cora_call_exception_handler(closer.loop, &(struct cora_report){ .message = "x" });
    CHECK_INT(drops, 1);
    check_next(&closer);
}

static void detach_in_the_handler(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    CHECK_INT(cora_loop_detach(loop), 0);
    CHECK_TEXT(cora_arg_text(bound, 0), "still there");
    CHECK(cora_is_error(report->exception));
}

TEST(handler_detaches, "the handler of a guest may detach it, in a tick, too")
{
    struct ev_loop *host = ev_loop_new(EVFLAG_AUTO);
    cora_loop guest = cora_loop_attach(host, NULL);
    int drops = 0, runs = 0;
    cora_set_exception_handler(
        guest, cora_partial(detach_in_the_handler, "still there", cora_own(&drops, &counted)));
    cora_call_soon(guest, cora_partial(failing));
    cora_call_soon(guest, cora_partial(count, &runs));
    ev_run(host, EVRUN_NOWAIT);
    CHECK(cora_is_closed(guest));
    CHECK_INT(drops, 1);
    CHECK_INT(runs, 0);
    ev_loop_destroy(host);
}
