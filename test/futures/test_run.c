/*
 * Running a loop until something is done: the usual way for main() to wait. What it gives, when it
 * returns, what it refuses, and how long the outcome and its future are there afterwards.
 */
#include "helpers.h"

#include <ev.h>
#include <pthread.h>
#include <sys/wait.h>

/* ---- outcomes ---- */

TEST(sleep, "run_until_complete of a sleep returns when that time is over",
     "test_events.EventLoopTestsMixin.test_run_until_complete")
{
    cora_loop loop = virtual_loop_new();
    double before = cora_time(loop);
    CHECK(cora_is_nothing(cora_run_until_complete(loop, cora_sleep(0.1))));
    CHECK(cora_time(loop) >= before + 0.1);
    CHECK(cora_time(loop) <= before + 0.1 + LATE);
    CHECK(!cora_is_running(loop));
    virtual_loop_end(loop);
}

static void complete(cora_args bound)
{
    cora_set_result(cora_arg_future(bound, 0), cora_arg_value(bound, 1));
}

static void fail_future(cora_args bound)
{
    cora_set_exception(cora_arg_future(bound, 0), cora_error(CORA_ELOOKUP, "lost"));
}

static void cancel(cora_args bound)
{
    cora_cancel_with(cora_arg_future(bound, 0), "enough");
}

TEST(value, "it gives the value of a future")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_call_later(loop, 1, cora_partial(complete, future, "page"));
    CHECK_TEXT(cora_as_text(cora_run_until_complete(loop, future)), "page");
    virtual_loop_end(loop);
}

TEST(error, "it gives the error of a future that failed, which is read thereby")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    struct reports reports;
    collect_reports(loop, &reports);
    cora_call_later(loop, 1, cora_partial(fail_future, future));
    cora_value outcome = cora_run_until_complete(loop, future);
    CHECK_INT(cora_error_code(outcome), CORA_ELOOKUP);
    CHECK_TEXT(cora_error_message(outcome), "lost");
    virtual_loop_end(loop);
    CHECK_INT(reports.count, 0);
}

TEST(cancelled, "it gives the Cancelled error of a future that was cancelled, with its message")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_call_later(loop, 1, cora_partial(cancel, future));
    cora_value outcome = cora_run_until_complete(loop, future);
    CHECK_INT(cora_error_code(outcome), CORA_ECANCELLED);
    CHECK_TEXT(cora_error_message(outcome), "enough");
    CHECK(cora_cancelled(future));
    virtual_loop_end(loop);
}

TEST(operation_that_fails, "it gives the error of an operation that cannot be")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_value outcome = cora_run_until_complete(loop, cora_sleep(0.0 / 0.0));
    CHECK_INT(cora_error_code(outcome), CORA_EVALUE);
    virtual_loop_end(loop);
    CHECK_INT(reports.count, 0);
}

/* ---- when it returns ---- */

TEST(done_already, "a future that is done takes one tick: what is queued by now runs, and no more")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    struct notes notes = { "" };
    cora_set_result(future, cora_int(3));
    cora_call_soon(loop, cora_partial(note, &notes, "before"));
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, future)), 3);
    CHECK_TEXT(notes.text, "before");
    cora_loop_close(loop);
}

static void complete_and_queue(cora_args bound)
{
    struct notes *notes = cora_arg(bound, 1, struct notes *);
    cora_loop loop = cora_running_loop();
    cora_set_result(cora_arg_future(bound, 0), cora_int(3));
    add_note(notes, "completed");
    cora_call_soon(loop, cora_partial(note, notes, "behind"));
}

static void note_and_queue_more(cora_args bound, cora_future done)
{
    note_done(bound, done);
    cora_call_soon(cora_running_loop(),
                   cora_partial(note, cora_arg(bound, 0, struct notes *), "more"));
}

TEST(
    last_tick,
    "the run ends with the tick after completion: callbacks queued in between run, in their order, "
    "and what those queue waits for the next run")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    struct notes notes = { "" };
    cora_add_done_callback(future, cora_partial(note_and_queue_more, &notes, "done"));
    cora_call_soon(loop, cora_partial(complete_and_queue, future, &notes));
    cora_run_until_complete(loop, future);
    CHECK_TEXT(notes.text, "completed done behind");
    tick(loop);
    CHECK_TEXT(notes.text, "completed done behind more");
    cora_loop_close(loop);
}

static void count_ticks(cora_args bound)
{
    ++*cora_arg(bound, 0, int *);
    cora_call_soon(cora_running_loop(), cora_partial(count_ticks, cora_arg(bound, 0, int *)));
}

TEST(ticks_of_an_operation,
     "an operation starts in the first tick; one that needs a tick ends in the second, and the run "
     "with the third, as a task's")
{
    cora_loop loop = cora_loop_new(NULL);
    int count = 0;
    cora_call_soon(loop, cora_partial(count_ticks, &count));
    cora_run_until_complete(loop, cora_sleep(0));
    CHECK_INT(count, 3);
    cora_loop_close(loop);
}

TEST(again, "a future may be run for again, until another run has begun")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    cora_set_result(future, cora_int(3));
    for (int i = 0; i < 5; i++)
        CHECK_INT(cora_as_int(cora_run_until_complete(loop, future)), 3);
    tick(loop);
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, future)), CORA_ESTALE);
    cora_loop_close(loop);
}

TEST(one_after_the_other, "one run after the other goes on where the last one stopped")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_call_later(loop, 0.15, cora_partial(note, &notes, "timer"));
    cora_run_until_complete(loop, cora_sleep(0.1));
    CHECK_TEXT(notes.text, "");
    cora_run_until_complete(loop, cora_sleep(0.1));
    CHECK_TEXT(notes.text, "timer");
    virtual_loop_end(loop);
}

/* ---- stopped, interrupted ---- */

TEST(stopped,
     "a loop that is stopped before the future is done says so, and the future is as it was",
     "test_events.EventLoopTestsMixin.test_run_until_complete_stopped")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    char text[100];
    cora_call_soon(loop, cora_partial(stop));
    cora_value outcome = cora_run_until_complete(loop, future);
    CHECK_INT(cora_error_code(outcome), CORA_ERUNTIME);
    CHECK_TEXT(cora_error_message(outcome), "Event loop stopped before Future completed.");
    CHECK(!cora_done(future));
    cora_future_print(future, text, sizeof text);
    CHECK_TEXT(text, "<Future pending>");
    cora_call_later(loop, 1, cora_partial(complete, future, 5));
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, future)), 5);
    virtual_loop_end(loop);
}

TEST(stopped_before, "a stop before the run lets it do one tick")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop), done = cora_future_new(loop);
    int runs = 0;
    cora_set_result(done, cora_int(4));
    cora_call_soon(loop, cora_partial(count, &runs));
    cora_stop(loop);
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, future)), CORA_ERUNTIME);
    CHECK_INT(runs, 1);
    cora_stop(loop);
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, done)), 4);
    virtual_loop_end(loop);
}

TEST(stopped_operation, "an operation that a stop has cut short runs on in the next run")
{
    cora_loop loop = virtual_loop_new();
    cora_call_later(loop, 0.1, cora_partial(stop));
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, cora_sleep(1))), CORA_ERUNTIME);
    CHECK_INT(cora_live(loop), 2); /* the sleep and its timer */
    run_for(loop, 2);
    CHECK_INT(cora_live(loop), 0);
    virtual_loop_end(loop);
}

static void complete_and_stop(cora_args bound)
{
    complete(bound);
    stop(bound);
}

TEST(stopped_when_done, "a stop in the tick in which the future is done does not hide its outcome")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_call_soon(loop, cora_partial(complete_and_stop, future, "page"));
    CHECK_TEXT(cora_as_text(cora_run_until_complete(loop, future)), "page");
    virtual_loop_end(loop);
}

static void interrupt(cora_args bound)
{
    (void)bound;
    cora_fail(cora_error(CORA_EKEYBOARDINTERRUPT, "now"));
}

TEST(interrupted, "a KeyboardInterrupt in a callback is what the run gives; the future is pending")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    int runs = 0;
    cora_call_soon(loop, cora_partial(interrupt));
    cora_call_soon(loop, cora_partial(count, &runs));
    cora_value outcome = cora_run_until_complete(loop, future);
    CHECK_INT(cora_error_code(outcome), CORA_EKEYBOARDINTERRUPT);
    CHECK_TEXT(cora_error_message(outcome), "now");
    CHECK(!cora_done(future));
    CHECK_INT(runs, 0);
    tick(loop);
    CHECK_INT(runs, 1);
    virtual_loop_end(loop);
}

static void interrupt_done(cora_args bound, cora_future done)
{
    (void)done;
    interrupt(bound);
}

TEST(
    interrupted_in_a_done_callback,
    "a KeyboardInterrupt in a done-callback leaves the run; the next callbacks run in the next one")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    int drops = 0, runs = 0;
    cora_add_done_callback(future, cora_partial(count_done, &runs));
    cora_add_done_callback(future, cora_partial(interrupt_done, cora_own(&drops, &counted)));
    cora_add_done_callback(future, cora_partial(count_done, &runs));
    cora_set_result(future, cora_int(1));
    cora_value outcome = cora_run_until_complete(loop, cora_sleep(1));
    CHECK_INT(cora_error_code(outcome), CORA_EKEYBOARDINTERRUPT);
    CHECK_INT(runs, 1);
    CHECK_INT(drops, 1);
    tick(loop);
    CHECK_INT(runs, 2);
    CHECK_INT(cora_as_int(cora_result(future)), 1);
    cora_loop_close(loop);
}

TEST(not_cut_short, "after a run that was interrupted, the future's end does not stop a later run",
     "test_base_events.BaseEventLoopTests.test_run_until_complete_loop_orphan_future_close_loop")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_call_soon(loop, cora_partial(interrupt));
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, future)), CORA_EKEYBOARDINTERRUPT);
    cora_call_later(loop, 0.1, cora_partial(complete, future, 1));
    CHECK(cora_is_nothing(cora_run_until_complete(loop, cora_sleep(1))));
    CHECK_INT(cora_as_int(cora_result(future)), 1);
    virtual_loop_end(loop);
}

/* As a task that fails with a KeyboardInterrupt: its error leaves the run, too. */
static void fail_fatally(cora_args bound)
{
    cora_value error = cora_error(CORA_EKEYBOARDINTERRUPT, "now");
    cora_set_exception(cora_arg_future(bound, 0), error);
    cora_fail(error);
}

TEST(fatal_outcome,
     "a future that failed with the very error that leaves the run stops no later run",
     "test_base_events.BaseEventLoopTests.test_run_until_complete_baseexception")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    struct notes notes = { "" };
    cora_call_soon(loop, cora_partial(fail_fatally, future));
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, future)), CORA_EKEYBOARDINTERRUPT);
    CHECK_INT(cora_error_code(cora_result(future)), CORA_EKEYBOARDINTERRUPT);
    cora_call_later(loop, 0.5, cora_partial(note, &notes, "timer"));
    cora_call_later(loop, 1, cora_partial(stop));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_TEXT(notes.text, "timer");
    virtual_loop_end(loop);
}

static void complete_and_interrupt(cora_args bound)
{
    complete(bound);
    interrupt(bound);
}

TEST(interrupted_at_the_end, "a fatal error wins over an outcome that is there, which can be read")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_call_soon(loop, cora_partial(complete_and_interrupt, future, 1));
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, future)), CORA_EKEYBOARDINTERRUPT);
    CHECK_INT(cora_as_int(cora_result(future)), 1);
    virtual_loop_end(loop);
}

static void stop_and_interrupt(cora_args bound)
{
    stop(bound);
    interrupt(bound);
}

TEST(stopped_and_interrupted, "a stop in a run that is interrupted is over with that run")
{
    cora_loop loop = virtual_loop_new();
    cora_call_soon(loop, cora_partial(stop_and_interrupt));
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, cora_sleep(1))),
              CORA_EKEYBOARDINTERRUPT);
    CHECK(cora_is_nothing(cora_run_until_complete(loop, cora_sleep(1))));
    virtual_loop_end(loop);
}

TEST(system_exit, "a SystemExit leaves the run in the same way")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_set_exception(future, cora_error(CORA_ESYSTEMEXIT, "leave"));
    /* A future that has it fails with it, and stops nothing, as in asyncio. */
    cora_call_later(loop, 1, cora_partial(stop));
    double before = cora_time(loop);
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, future)), CORA_ESYSTEMEXIT);
    CHECK(cora_time(loop) >= before + 1);
    virtual_loop_end(loop);
}

static void fail_and_interrupt(cora_args bound)
{
    fail_future(bound);
    interrupt(bound);
}

TEST(interrupted_unread, "a fatal error leaves the future's own error unread: it is reported later")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    struct reports reports;
    collect_reports(loop, &reports);
    cora_call_soon(loop, cora_partial(fail_and_interrupt, future));
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, future)), CORA_EKEYBOARDINTERRUPT);
    virtual_loop_end(loop);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.error, "LookupError: lost");
}

/* ---- what is refused ---- */

static void run_nested(cora_args bound)
{
    cora_loop other = cora_arg_loop(bound, 0);
    struct notes *notes = cora_arg(bound, 1, struct notes *);
    size_t live = cora_live(cora_running_loop());
    cora_value outcome = cora_run_until_complete(other, cora_sleep(0));
    CHECK_INT(cora_error_code(outcome), CORA_ERUNTIME);
    add_note(notes, cora_error_message(outcome));
    CHECK_INT(cora_run_forever(other), CORA_ERUNTIME);
    CHECK_INT(cora_live(cora_running_loop()), live);
    CHECK(cora_is_running(cora_running_loop()));
}

TEST(nested, "inside of a callback neither its loop nor another can be run; nothing is started",
     "test_events.EventLoopTestsMixin.test_run_until_complete_nesting")
{
    cora_loop loop = cora_loop_new(NULL), other = cora_loop_new(NULL);
    struct notes own = { "" }, others = { "" };
    cora_call_soon(loop, cora_partial(run_nested, loop, &own));
    cora_call_soon(loop, cora_partial(run_nested, other, &others));
    CHECK(cora_is_nothing(cora_run_until_complete(loop, cora_sleep(0))));
    CHECK_TEXT(own.text, "This event loop is already running");
    CHECK_TEXT(others.text, "Cannot run the event loop while another loop is running");
    CHECK(cora_is_nothing(cora_run_until_complete(other, cora_sleep(0))));
    cora_loop_close(other);
    cora_loop_close(loop);
}

TEST(future_of_another_loop, "a future of another loop is refused with a ValueError",
     "test_base_events.BaseEventLoopTests.test_run_until_complete_loop")
{
    cora_loop loop = cora_loop_new(NULL), other = cora_loop_new(NULL);
    cora_future future = cora_future_new(other);
    int runs = 0;
    cora_set_result(future, cora_int(1));
    cora_call_soon(loop, cora_partial(count, &runs));
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, future)), CORA_EVALUE);
    CHECK_INT(runs, 0);
    CHECK(!cora_is_running(loop));
    CHECK_INT(cora_as_int(cora_run_until_complete(other, future)), 1);
    cora_loop_close(other);
    cora_loop_close(loop);
}

TEST(refused_stop, "a run that is refused leaves an earlier stop as it is")
{
    cora_loop loop = virtual_loop_new(), other = cora_loop_new(NULL);
    cora_future future = cora_future_new(other);
    cora_stop(loop);
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, future)), CORA_EVALUE);
    cora_call_later(loop, 10, cora_partial(stop));
    double before = cora_time(loop);
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_REAL(cora_time(loop), before, 1);
    cora_loop_close(other);
    virtual_loop_end(loop);
}

TEST(closed_loop, "a closed loop runs nothing, and starts nothing")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    int drops = 0;
    cora_loop_close(loop);
    cora_value outcome =
        cora_run_until_complete(loop, cora_sleep_result(0, cora_own(&drops, &counted)));
    CHECK_INT(cora_error_code(outcome), CORA_ERUNTIME);
    CHECK_TEXT(cora_error_message(outcome), "Event loop is closed");
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, future)), CORA_ERUNTIME);
    cora_drop_temporaries();
    CHECK_INT(drops, 1);
}

TEST(null_handles, "a null loop, a null future and a stale one are refused with their errors")
{
    cora_loop loop = cora_loop_new(NULL), closed = cora_loop_new(NULL);
    CHECK_INT(cora_error_code(cora_run_until_complete((cora_loop){ 0 }, cora_sleep(0))),
              CORA_ESTALE);
    cora_loop_close(closed);
    cora_future null = cora_future_new(closed);
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, null)), CORA_ERUNTIME);
    cora_future stale = cora_future_new(loop);
    cora_set_result(stale, cora_int(1));
    cora_release(stale);
    tick(loop);
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, stale)), CORA_ESTALE);
    CHECK(!cora_is_running(loop));
    cora_loop_close(loop);
}

TEST(guest, "a guest is run by its host only")
{
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    cora_loop loop = cora_loop_attach(host, NULL);
    cora_future future = cora_future_new(loop);
    cora_set_result(future, cora_int(1));
    cora_value outcome = cora_run_until_complete(loop, future);
    CHECK_INT(cora_error_code(outcome), CORA_ERUNTIME);
    CHECK_TEXT(cora_error_message(outcome), "the loop belongs to its host, who runs and stops it");
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, cora_sleep(0))), CORA_ERUNTIME);
    CHECK_INT(cora_live(loop), 1);
    cora_loop_detach(loop);
    ev_loop_destroy(host);
}

struct visitor {
    cora_loop loop;
    cora_future future;
};

static void *run_elsewhere(void *pointer)
{
    struct visitor *visitor = pointer;
    CHECK_INT(cora_error_code(cora_result(visitor->future)), CORA_EWRONGTHREAD);
    CHECK_INT(cora_as_int(cora_run_until_complete(visitor->loop, visitor->future)), 5);
    CHECK_INT(cora_as_int(cora_result(visitor->future)), 5);
    return NULL;
}

TEST(other_thread, "another thread may run an idle loop, and has its futures from then on")
{
    struct visitor visitor = { .loop = cora_loop_new(NULL) };
    pthread_t thread;
    visitor.future = cora_keep(cora_future_new(visitor.loop));
    cora_call_later(visitor.loop, 0.001, cora_partial(complete, visitor.future, 5));
    CHECK_INT(pthread_create(&thread, NULL, run_elsewhere, &visitor), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(cora_error_code(cora_result(visitor.future)), CORA_EWRONGTHREAD);
    CHECK_INT(cora_as_int(cora_run_until_complete(visitor.loop, visitor.future)), 5);
    cora_loop_close(visitor.loop);
}

TEST(forked, "in a forked child futures go on after cora_after_fork, and the parent's are its own")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    int status = 0;
    cora_call_later(loop, 0.001, cora_partial(complete, future, 5));
    pid_t child = fork();
    if (child == 0) {
        CHECK_INT(cora_error_code(cora_run_until_complete(loop, future)), CORA_ERUNTIME);
        CHECK(!cora_done(future));
        CHECK_INT(cora_after_fork(loop), 0);
        CHECK_INT(cora_as_int(cora_run_until_complete(loop, future)), 5);
        CHECK(cora_is_nothing(cora_run_until_complete(loop, cora_sleep(0.001))));
        cora_loop_close(loop);
        _exit(7);
    }
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(WEXITSTATUS(status), 7);
    CHECK(!cora_done(future));
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, future)), 5);
    cora_loop_close(loop);
}

/* ---- how long the outcome and its future are there ---- */

TEST(until_the_next_run, "the future whose outcome was returned is there until the next run begins")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop), other = cora_future_new(loop);
    cora_set_result(future, cora_int(3));
    cora_set_result(other, cora_int(4));
    cora_run_until_complete(loop, future);
    CHECK_INT(cora_as_int(cora_result(future)), 3);
    CHECK_INT(cora_live(loop), 1);
    tick(loop);
    CHECK_INT(cora_error_code(cora_result(future)), CORA_ESTALE);
    CHECK_INT(cora_as_int(cora_result(other)), 4); /* this one was not returned */
    cora_loop_close(loop);
}

TEST(kept, "a future that is kept stays, also when its outcome was returned")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_keep(cora_future_new(loop));
    cora_set_result(future, cora_int(3));
    cora_run_until_complete(loop, future);
    ticks(loop, 3);
    CHECK_INT(cora_as_int(cora_result(future)), 3);
    CHECK_INT(cora_release(future), 0);
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}

TEST(released_before,
     "a future that was released before is there for the run, and its outcome after")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    cora_set_result(future, cora_textf("page %d", 1));
    cora_release(future);
    CHECK_TEXT(cora_as_text(cora_run_until_complete(loop, future)), "page 1");
    cora_loop_close(loop);
}

TEST(outcome_stays, "the outcome stays until the next run, also when the loop is closed meanwhile")
{
    cora_loop loop = cora_loop_new(NULL), other = cora_loop_new(NULL);
    int drops = 0;
    const char *text =
        cora_as_text(cora_run_until_complete(loop, cora_sleep_result(0, cora_textf("%d", 7))));
    CHECK_TEXT(text, "7");
    cora_loop_close(loop);
    CHECK_TEXT(text, "7");
    cora_run_until_complete(other, cora_sleep_result(0, cora_own(&drops, &counted)));
    cora_loop_close(other);
    CHECK_INT(drops, 0);
    cora_drop_temporaries();
    CHECK_INT(drops, 1);
}

TEST(outcome_is_dropped, "the outcome of an operation is dropped when the next run begins")
{
    cora_loop loop = cora_loop_new(NULL);
    int drops = 0;
    cora_value outcome =
        cora_run_until_complete(loop, cora_sleep_result(0, cora_own(&drops, &counted)));
    CHECK(cora_as_pointer(outcome) == &drops);
    cora_drop_temporaries();
    CHECK_INT(drops, 0);
    CHECK_INT(cora_live(loop), 0);
    tick(loop);
    CHECK_INT(drops, 1);
    cora_loop_close(loop);
    CHECK_INT(drops, 1);
}

/* ---- what outcomes may do when they are dropped ---- */

struct dropped {
    cora_loop loop;
    int drops, code;
};

static void drop_and_close(void *pointer)
{
    struct dropped *dropped = pointer;
    dropped->drops++;
    dropped->code = cora_loop_close(dropped->loop);
}

static const cora_type closing = { "closing", drop_and_close, NULL, 0 };

TEST(outcome_closes, "the outcome of the last run cannot close the loop that begins the next one")
{
    struct dropped dropped = { .loop = cora_loop_new(NULL) };
    cora_run_until_complete(dropped.loop, cora_sleep_result(0, cora_own(&dropped, &closing)));
    CHECK_INT(dropped.drops, 0);
    CHECK(cora_is_nothing(cora_run_until_complete(dropped.loop, cora_sleep(0))));
    CHECK_INT(dropped.drops, 1);
    CHECK_INT(dropped.code, CORA_ERUNTIME);
    cora_loop_close(dropped.loop);
}

static void drop_and_run(void *pointer)
{
    struct dropped *dropped = pointer;
    dropped->drops++;
    dropped->code = cora_error_code(cora_run_until_complete(dropped->loop, cora_sleep(0)));
}

static const cora_type running = { "running", drop_and_run, NULL, 0 };

TEST(outcome_runs, "a drop function in main() may run a loop; in a run it is refused")
{
    struct dropped dropped = { .loop = cora_loop_new(NULL) };
    cora_own(&dropped, &running);
    cora_drop_temporaries();
    CHECK_INT(dropped.drops, 1);
    CHECK_INT(dropped.code, 0);
    cora_own(&dropped, &running);
    CHECK(cora_is_nothing(cora_run_until_complete(dropped.loop, cora_sleep(0))));
    CHECK_INT(dropped.drops, 2);
    CHECK_INT(dropped.code, CORA_ERUNTIME);
    cora_loop_close(dropped.loop);
}

static cora_future held[10];

static void close_and_make(void *pointer)
{
    struct dropped *dropped = pointer;
    dropped->drops++;
    dropped->code = cora_loop_close(dropped->loop);
    dropped->loop = cora_loop_new(NULL);
    for (int i = 0; i < 10; i++) {
        held[i] = cora_future_new(dropped->loop);
        cora_set_result(held[i], cora_int(i));
    }
}

static const cora_type closing_and_making = { "closing and making", close_and_make, NULL, 0 };

TEST(old_error_closes,
     "an old error that a run replaces with its own may close the loop, and make another, when it "
     "is dropped")
{
    struct dropped dropped = { .loop = cora_loop_new(NULL) };
    cora_future future = cora_future_new(dropped.loop);
    cora_fail(cora_error_from(cora_own(&dropped, &closing_and_making), CORA_EVALUE, "old"));
    cora_drop_temporaries();
    cora_stop(dropped.loop);
    CHECK_INT(cora_error_code(cora_run_until_complete(dropped.loop, future)), CORA_ERUNTIME);
    cora_drop_temporaries();
    CHECK_INT(dropped.drops, 1);
    CHECK_INT(dropped.code, 0);
    ticks(dropped.loop, 2);
    for (int i = 0; i < 10; i++)
        CHECK_INT(cora_as_int(cora_result(held[i])), i);
    CHECK_INT(cora_live(dropped.loop), 10);
    cora_loop_close(dropped.loop);
}

/* ---- many ---- */

/* Half of them with a future of main()'s, half with an operation. */
static void run_often(cora_loop loop, int count)
{
    for (int i = 0; i < count; i++) {
        cora_future future = cora_future_new(loop);
        cora_set_result(future, cora_int(i));
        CHECK_INT(cora_as_int(cora_run_until_complete(loop, future)), i);
        CHECK(cora_is_nothing(cora_run_until_complete(loop, cora_sleep(0))));
    }
}

TEST_WITH_LIMIT(
    120, million_runs,
    "a million runs in main() leave nothing behind, and a second million takes no memory")
{
    cora_loop loop = cora_loop_new(NULL);
    size_t live = cora_live(loop);
    run_often(loop, harness_scale(500000));
    CHECK_INT(cora_live(loop), live);
    long bytes = resident_bytes();
    run_often(loop, harness_scale(500000));
    CHECK_INT(cora_live(loop), live);
    CHECK(resident_bytes() <= bytes + 64 * 1024);
    cora_loop_close(loop);
}
