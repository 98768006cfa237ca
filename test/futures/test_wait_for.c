/*
 * Waiting for one thing, but not for ever. First the callback style; then what is waited for: a
 * future, a task, a coroutine, an operation, and a shield that keeps it from being cancelled; what
 * a cancelled one may answer; who waits is cancelled himself; both at once; no time at all; what it
 * is given that is wrong; how many ticks it takes; and last that nothing is left behind.
 */
#include "coroutines.h"

#include <ev.h>
#include <math.h>
#include <pthread.h>

/* ---- helpers ---- */

/* What something has come to: "nothing", a value, or the name of an error. */
static const char *came_of(cora_value outcome)
{
    static char text[200];
    if (cora_is_error(outcome))
        return cora_error_name(cora_error_code(outcome));
    if (cora_is_nothing(outcome))
        return "nothing";
    cora_print(outcome, text, sizeof text);
    return text;
}

static const char *run(cora_loop loop, cora_awaitable awaitable)
{
    return came_of(cora_run_until_complete(loop, awaitable));
}

/* A done-callback, bound to a struct notes *. */
static void note_result(cora_args bound, cora_future done)
{
    add_note(cora_arg(bound, 0, struct notes *), came_of(cora_result(done)));
}

/* What is waited for: it sleeps so many seconds, and notes what becomes of it. */
struct work {
    struct notes *notes;
    double seconds, cleanup;
    cora_future *ret_task; /* in which it runs */
    int *drops;
    double until;
};

#define WORK(self) cora_locals(self, struct work)

static void drop_work(void *locals)
{
    const struct work *work = locals;
    if (work->drops)
        ++*work->drops;
}

/* A coroutine that begins with this step. */
#define working(step, ...) cora_coroutine_owning(step, drop_work, struct work, __VA_ARGS__)

static cora_next cleaned(cora_coro self)
{
    add_note(WORK(self)->notes, "cleaned");
    return cora_go_on(self);
}

static cora_next clean_up(cora_coro self)
{
    if (WORK(self)->cleanup > 0)
        return cora_await(self, cora_sleep(WORK(self)->cleanup), cleaned);
    return cleaned(self);
}

static cora_next return_done(cora_coro self)
{
    return cora_return(self, "done");
}

/* Sleeps, and cleans up in any case, which may take its time. */
static cora_next work_and_clean(cora_coro self)
{
    struct work *work = WORK(self);
    add_note(work->notes, "begun");
    if (work->ret_task)
        *work->ret_task = cora_current_task(cora_running_loop());
    CHECK_INT(cora_finally(self, clean_up), 0);
    return cora_await(self, cora_sleep(work->seconds), return_done);
}

/* Sleeps until its time has come, however often it is cancelled. */
static cora_next sleep_stubbornly(cora_coro self)
{
    double left = WORK(self)->until - cora_time(cora_running_loop());
    if (left > 0)
        return cora_try(self, cora_sleep(left), sleep_stubbornly);
    add_note(WORK(self)->notes, "ended");
    return cora_return(self, cora_nothing());
}

static cora_next stubborn(cora_coro self)
{
    WORK(self)->until = cora_time(cora_running_loop()) + WORK(self)->seconds;
    return sleep_stubbornly(self);
}

static cora_next give_42(cora_coro self)
{
    add_note(WORK(self)->notes, came_of(cora_caught(self)));
    return cora_return(self, 42);
}

/* Answers its cancellation with a value; with an error. */
static cora_next answer_42(cora_coro self)
{
    return cora_try(self, cora_sleep(WORK(self)->seconds), give_42);
}

static cora_next raise_spilled(cora_coro self)
{
    return cora_raise(self, spilled());
}

static cora_next answer_error(cora_coro self)
{
    return cora_try(self, cora_sleep(WORK(self)->seconds), raise_spilled);
}

/* Waits for a future that nobody completes. */
static cora_next block(cora_coro self)
{
    return cora_await(self, cora_future_new(cora_running_loop()), cora_return_got);
}

static cora_next at_once(cora_coro self)
{
    return cora_return(self, "done");
}

/* A callback, bound to a future. */
static void complete(cora_args bound)
{
    CHECK_INT(cora_set_result(cora_arg_future(bound, 0), cora_static("ok")), 0);
}

static void cancel(cora_args bound)
{
    CHECK(cora_cancel(cora_arg_future(bound, 0)));
}

/* ---- the callback style ---- */

struct page {
    cora_future future, waiting;
    struct notes notes;
};

static void ask(cora_args bound)
{
    struct page *page = cora_arg(bound, 0, struct page *);
    page->waiting =
        cora_when_done(cora_wait_for(page->future, 2.5), cora_partial(note_result, &page->notes));
    CHECK(!cora_is_null(page->waiting));
    CHECK_TEXT(page->notes.text, "");
}

TEST(callback, "a callback gets the value of a future that is done in time")
{
    cora_loop loop = virtual_loop_new();
    struct page page = { .future = cora_future_new(loop) };
    cora_call_soon(loop, cora_partial(ask, &page));
    cora_call_later(loop, 1, cora_partial(complete, page.future));
    run_for(loop, 5);
    CHECK_TEXT(page.notes.text, "\"ok\"");
    end(loop);
}

TEST(callback_times_out, "or a TimeoutError, and the future is cancelled")
{
    cora_loop loop = virtual_loop_new();
    struct page page = { .future = cora_future_new(loop) };
    cora_call_soon(loop, cora_partial(ask, &page));
    run_for(loop, 2.4);
    CHECK_TEXT(page.notes.text, "");
    run_for(loop, 0.2);
    CHECK_TEXT(page.notes.text, "TimeoutError");
    CHECK(cora_cancelled(page.future));
    end(loop);
}

TEST(callback_of_a_done_one, "also of one that is done already, and never inside the call")
{
    cora_loop loop = virtual_loop_new();
    struct page page = { .future = cora_future_new(loop) };
    cora_set_result(page.future, cora_int(7));
    run_in(loop, cora_partial(ask, &page));
    ticks(loop, 2);
    CHECK_TEXT(page.notes.text, "7");
    end(loop);
}

TEST(callback_cancelled, "cancelling what cora_when_done gives cancels what is waited for, too")
{
    cora_loop loop = virtual_loop_new();
    struct page page = { .future = cora_future_new(loop) };
    run_in(loop, cora_partial(ask, &page));
    CHECK(cora_cancel(page.waiting));
    run_for(loop, 1);
    CHECK_TEXT(page.notes.text, "CancelledError");
    CHECK(cora_cancelled(page.future));
    end(loop);
}

static void ask_for_work(cora_args bound)
{
    struct page *page = cora_arg(bound, 0, struct page *);
    cora_coro coro = working(work_and_clean, &page->notes, .seconds = 5);
    cora_when_done(cora_wait_for(coro, 2.5), cora_partial(note_result, &page->notes));
    CHECK_TEXT(page->notes.text, "begun");
}

TEST(callback_of_a_coroutine, "a coroutine begins in the call, and has cleaned up by then")
{
    cora_loop loop = virtual_loop_new();
    struct page page = { .notes.text = "" };
    cora_call_soon(loop, cora_partial(ask_for_work, &page));
    run_for(loop, 5);
    CHECK_TEXT(page.notes.text, "begun cleaned TimeoutError");
    end(loop);
}

TEST(callback_in_main, "main() may wait so, too")
{
    cora_loop loop = current_loop_new();
    struct page page = { .future = cora_future_new(loop) };
    cora_when_done(cora_wait_for(page.future, 2.5), cora_partial(note_result, &page.notes));
    run_for(loop, 3);
    CHECK_TEXT(page.notes.text, "TimeoutError");
    current_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(of_operations, "it is given to a gather, a shield or a task, as anything that is awaited")
{
    cora_loop loop = virtual_loop_new();
    cora_future futures[3];
    make_futures(loop, futures, 3);
    cora_awaitable waits[2] = { cora_wait_for(futures[0], 1), cora_wait_for(futures[1], 1) };
    cora_future all = cora_gather(loop, waits, 2, .return_exceptions = true);
    cora_future shield = cora_shield(loop, cora_wait_for(futures[2], 1));
    cora_call_later(loop, 0.5, cora_partial(complete, futures[1]));
    run_for(loop, 2);
    CHECK_TEXT(came_of(cora_list_at(cora_result(all), 0)), "TimeoutError");
    CHECK_TEXT(came_of(cora_list_at(cora_result(all), 1)), "\"ok\"");
    CHECK_TEXT(came_of(cora_result(shield)), "TimeoutError");
    CHECK_TEXT(run(loop, cora_wait_for(futures[1], 1)), "\"ok\"");
    end(loop);
}

/* ---- what is waited for ---- */

TEST(task, "a task that is not done in time is cancelled, and has ended by then",
     "test_waitfor.AsyncioWaitForTest.test_wait_for")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { .text = "" };
    cora_future task = cora_create_task(loop, working(work_and_clean, &notes, .seconds = 300));
    CHECK_TEXT(run(loop, cora_wait_for(task, 0.1)), "TimeoutError");
    CHECK(cora_done(task));
    CHECK(cora_cancelled(task));
    CHECK_TEXT(notes.text, "begun cleaned");
    CHECK_REAL(cora_time(loop), START + 0.1, LATE);
    end(loop);
}

TEST(no_limit, "with INFINITY it waits as long as it takes",
     "test_waitfor.AsyncioWaitForTest.test_wait_for_blocking")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(run(loop, cora_wait_for(cora_coroutine(at_once), INFINITY)), "\"done\"");
    struct notes notes = { .text = "" };
    cora_coro coro = working(work_and_clean, &notes, .seconds = 3000);
    CHECK_TEXT(run(loop, cora_wait_for(coro, INFINITY)), "\"done\"");
    CHECK_REAL(cora_time(loop), START + 3000, LATE);
    end(loop);
}

TEST(in_time, "a future that is done in time gives its value",
     "test_waitfor.AsyncioWaitForTest.test_wait_for_race_condition")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_call_later(loop, 0.1, cora_partial(complete, future));
    CHECK_TEXT(run(loop, cora_wait_for(future, 0.2)), "\"ok\"");
    future = cora_future_new(loop);
    cora_call_soon(loop, cora_partial(complete, future));
    CHECK_TEXT(run(loop, cora_wait_for(future, 0.2)), "\"ok\"");
    end(loop);
}

TEST(error, "or its error")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_set_exception(future, spilled());
    CHECK_TEXT(run(loop, cora_wait_for(future, 0.2)), "ValueError");
    CHECK_TEXT(run(loop, cora_wait_for(cora_coroutine(raise_value_error), 1)), "ValueError");
    end(loop);
}

TEST(cancelled_by_another, "one that somebody else cancels gives Cancelled, and no TimeoutError")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_call_later(loop, 0.1, cora_partial(cancel, future));
    CHECK_TEXT(run(loop, cora_wait_for(future, 0.2)), "CancelledError");
    end(loop);
}

struct caller {
    cora_future task, inner;
    struct notes notes;
};

#define CALLER(self) (*cora_locals(self, struct caller *))

static cora_next call_work(cora_coro self)
{
    struct caller *caller = CALLER(self);
    caller->task = cora_current_task(cora_running_loop());
    cora_coro coro =
        working(work_and_clean, &caller->notes, .seconds = 1, .ret_task = &caller->inner);
    return cora_await(self, cora_wait_for(coro, 5), cora_return_got);
}

TEST(in_the_same_task, "a coroutine runs in the task that waits for it")
{
    cora_loop loop = virtual_loop_new();
    struct caller caller = { .notes.text = "" };
    CHECK_TEXT(ran(loop, cora_coroutine(call_work, struct caller *, &caller)), "\"done\"");
    CHECK(!cora_is_null(caller.task));
    CHECK(cora_same(caller.task, caller.inner));
    end(loop);
}

TEST(operation, "an operation may be waited for: a sleep, a wait, another cora_wait_for")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(run(loop, cora_wait_for(cora_sleep_result(1, cora_int(5)), 2)), "5");
    CHECK_TEXT(run(loop, cora_wait_for(cora_sleep(2), 1)), "TimeoutError");
    cora_future future = cora_future_new(loop);
    CHECK_TEXT(run(loop, cora_wait_for(cora_wait(&future, 1, 9, CORA_ALL_COMPLETED), 1)),
               "TimeoutError");
    CHECK(!cora_done(future));
    double begun = cora_time(loop);
    cora_awaitable inner = cora_wait_for(future, 3);
    CHECK_TEXT(run(loop, cora_wait_for(cora_wait_for(inner, 1), 2)), "TimeoutError");
    CHECK_REAL(cora_time(loop), begun + 1, LATE);
    CHECK(cora_cancelled(future));
    end(loop);
}

TEST(gather, "a gather that is not done in time is cancelled with all that is in it")
{
    cora_loop loop = virtual_loop_new();
    cora_future futures[2];
    make_futures(loop, futures, 2);
    CHECK_TEXT(run(loop, cora_wait_for(cora_gather(loop, futures, 2), 1)), "TimeoutError");
    CHECK(cora_cancelled(futures[0]));
    CHECK(cora_cancelled(futures[1]));
    end(loop);
}

/* ---- a shield ---- */

TEST(shield_no_time, "a shielded task goes on when the time is over, even at once",
     "test_waitfor.WaitForShieldTests.test_zero_timeout")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { .text = "" };
    cora_future task = cora_create_task(loop, working(work_and_clean, &notes, .seconds = 0.01));
    cora_future shield = cora_keep(cora_shield(loop, task));
    CHECK_TEXT(run(loop, cora_wait_for(shield, 0)), "TimeoutError");
    CHECK(!cora_done(task));
    CHECK(cora_cancelled(shield));
    run_for(loop, 0.1);
    CHECK(cora_done(task));
    CHECK_TEXT(came_of(cora_result(task)), "\"done\"");
    CHECK_INT(cora_release(shield), 0);
    end(loop);
}

TEST(shield_no_limit, "and without a limit it ends as it would",
     "test_waitfor.WaitForShieldTests.test_none_timeout")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { .text = "" };
    cora_future task = cora_create_task(loop, working(work_and_clean, &notes, .seconds = 0.1));
    CHECK_TEXT(run(loop, cora_wait_for(cora_shield(loop, task), INFINITY)), "\"done\"");
    CHECK(cora_done(task));
    CHECK_REAL(cora_time(loop), START + 0.1, LATE);
    end(loop);
}

TEST(shield, "it is neither done nor cancelled then, and ends later",
     "test_waitfor.WaitForShieldTests.test_shielded_timeout")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { .text = "" };
    cora_future task = cora_create_task(loop, working(work_and_clean, &notes, .seconds = 0.1));
    CHECK_TEXT(run(loop, cora_wait_for(cora_shield(loop, task), 0.01)), "TimeoutError");
    CHECK(!cora_done(task));
    CHECK(!cora_cancelled(task));
    CHECK_TEXT(run(loop, cora_awaitable_of(task)), "\"done\"");
    end(loop);
}

/* ---- what a cancelled one answers ---- */

TEST(swallowed, "one that answers its cancellation with a value gives that, and no TimeoutError",
     "test_waitfor.AsyncioWaitForTest.test_wait_for_cancellation_race_condition",
     "test_waitfor.AsyncioWaitForTest.test_wait_for_cancel_suppressed")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { .text = "" };
    cora_coro coro = working(answer_42, &notes, .seconds = 1);
    CHECK_TEXT(run(loop, cora_wait_for(coro, 0.01)), "42");
    CHECK_TEXT(notes.text, "CancelledError");
    cora_future task = cora_create_task(loop, working(answer_42, &notes, .seconds = 10));
    CHECK_TEXT(run(loop, cora_wait_for(task, 0.1)), "42");
    end(loop);
}

TEST(answered_with_an_error, "one that answers it with an error gives that",
     "test_waitfor.AsyncioWaitForTest.test_wait_for_reraises_exception_during_cancellation")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future task = cora_create_task(loop, working(answer_error, NULL, .seconds = 0.2));
    CHECK_TEXT(run(loop, cora_wait_for(task, 0.001)), "ValueError");
    cora_coro coro = working(answer_error, NULL, .seconds = 0.2);
    CHECK_TEXT(run(loop, cora_wait_for(coro, 0.001)), "ValueError");
    CHECK_INT(cora_release(task), 0);
    tick(loop);
    CHECK_INT(reports.count, 0);
    end(loop);
}

TEST(stubborn, "it comes back when that has ended, however long it refuses to",
     "test_waitfor.AsyncioWaitForTest.test_asyncio_wait_for_timeout")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { .text = "" };
    cora_coro coro = working(stubborn, &notes, .seconds = 0.2);
    CHECK_TEXT(run(loop, cora_wait_for(coro, 0.1)), "nothing");
    CHECK_TEXT(notes.text, "ended");
    CHECK_REAL(cora_time(loop), START + 0.2, LATE);
    end(loop);
}

TEST(long_cleanup, "a clean-up that takes its time is waited for",
     "test_waitfor.AsyncioWaitForTest.test_wait_for_waits_for_task_cancellation")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { .text = "" };
    cora_future task =
        cora_create_task(loop, working(work_and_clean, &notes, .seconds = 10, .cleanup = 1));
    cora_value error = cora_run_until_complete(loop, cora_wait_for(task, 0.1));
    CHECK(cora_error_is(error, CORA_ETIMEOUT));
    CHECK_INT(cora_error_code(cora_error_cause(error)), CORA_ECANCELLED);
    CHECK_TEXT(notes.text, "begun cleaned");
    CHECK_REAL(cora_time(loop), START + 1.1, 2 * LATE);
    end(loop);
}

TEST(long_cleanup_no_time, "also when there was no time at all",
     "test_waitfor.AsyncioWaitForTest.test_wait_for_waits_for_task_cancellation_w_timeout_0")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { .text = "" };
    cora_future task =
        cora_create_task(loop, working(work_and_clean, &notes, .seconds = 10, .cleanup = 1));
    run_for(loop, 0.1);
    cora_value error = cora_run_until_complete(loop, cora_wait_for(task, 0));
    CHECK(cora_error_is(error, CORA_ETIMEOUT));
    CHECK_INT(cora_error_code(cora_error_cause(error)), CORA_ECANCELLED);
    CHECK_TEXT(notes.text, "begun cleaned");
    CHECK_REAL(cora_time(loop), START + 1.1, 2 * LATE);
    end(loop);
}

/* ---- who waits is cancelled ---- */

TEST(cancel_stubborn, "who is cancelled while he waits is done when what he waits for has ended",
     "test_waitfor.AsyncioWaitForTest.test_asyncio_wait_for_cancelled")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { .text = "" };
    cora_coro coro = working(stubborn, &notes, .seconds = 0.2);
    cora_future task = cora_create_task(loop, cora_wait_for(coro, 0.4));
    tick(loop);
    CHECK(cora_cancel(task));
    cora_run_until_complete(loop, task);
    CHECK_TEXT(notes.text, "ended");
    CHECK_REAL(cora_time(loop), START + 0.2, LATE);
    end(loop);
}

static void cancel_waiting(double seconds)
{
    cora_loop loop = virtual_loop_new();
    cora_future inner = cora_create_task(loop, cora_coroutine(block));
    cora_future task = cora_create_task(loop, cora_wait_for(inner, seconds));
    cora_call_soon(loop, cora_partial(cancel, task));
    CHECK_TEXT(run(loop, cora_awaitable_of(task)), "CancelledError");
    CHECK(cora_cancelled(task));
    CHECK(cora_cancelled(inner));
    end(loop);
}

TEST(cancel_no_limit, "what he waits for is cancelled, too, without a limit",
     "test_waitfor.AsyncioWaitForTest.test_cancel_blocking_wait_for")
{
    cancel_waiting(INFINITY);
}

TEST(cancel_limit, "and with one", "test_waitfor.AsyncioWaitForTest.test_cancel_wait_for")
{
    cancel_waiting(60);
}

TEST(cancel_with_a_message, "the message of the cancellation is kept")
{
    cora_loop loop = virtual_loop_new();
    cora_future inner = cora_create_task(loop, cora_coroutine(block));
    cora_future task = cora_create_task(loop, cora_wait_for(inner, 60));
    run_for(loop, 1);
    CHECK(cora_cancel_with(task, "enough"));
    cora_value error = cora_run_until_complete(loop, task);
    CHECK_INT(cora_error_code(error), CORA_ECANCELLED);
    CHECK_TEXT(cora_error_message(error), "enough");
    end(loop);
}

TEST(cancel_swallowed, "if that answers with a value, he gets it and goes on")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { .text = "" };
    cora_coro coro = working(answer_42, &notes, .seconds = 10);
    cora_future task = cora_create_task(loop, cora_wait_for(coro, 60));
    run_for(loop, 1);
    CHECK(cora_cancel(task));
    CHECK_TEXT(run(loop, cora_awaitable_of(task)), "42");
    CHECK_INT(cora_cancelling(task), 1);
    end(loop);
}

TEST(cancel_before_start, "cancelled before it begins, it leaves a future alone")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_future task = cora_create_task(loop, cora_wait_for(future, 1));
    CHECK(cora_cancel(task));
    CHECK_TEXT(run(loop, cora_awaitable_of(task)), "CancelledError");
    CHECK(!cora_done(future));
    end(loop);
}

TEST(cancel_coroutine_before_start, "and a coroutine never begins; what it owns is given back")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { .text = "" };
    int drops = 0;
    cora_coro coro = working(work_and_clean, &notes, .drops = &drops);
    cora_future task = cora_create_task(loop, cora_wait_for(coro, 1));
    CHECK(cora_cancel(task));
    CHECK_TEXT(run(loop, cora_awaitable_of(task)), "CancelledError");
    CHECK_TEXT(notes.text, "");
    CHECK_INT(drops, 1);
    end(loop);
}

/* ---- both at once ---- */

struct outer {
    cora_future inner;
    bool *reached_end;
};

static cora_next outer_ends(cora_coro self)
{
    *cora_locals(self, struct outer)->reached_end = true;
    return cora_return(self, cora_nothing());
}

static cora_next outer_sleeps(cora_coro self)
{
    return cora_await(self, cora_sleep(1), outer_ends);
}

static cora_next outer_waits(cora_coro self)
{
    return cora_await(self, cora_wait_for(cora_locals(self, struct outer)->inner, 100),
                      outer_sleeps);
}

TEST(cancel_when_done, "a cancellation that comes together with the value is not lost",
     "test_waitfor.AsyncioWaitForTest.test_wait_for_issue86296")
{
    cora_loop loop = virtual_loop_new();
    bool reached_end = false;
    cora_future inner = cora_create_task(loop, cora_coroutine(at_once));
    cora_future task =
        cora_create_task(loop, cora_coroutine(outer_waits, struct outer, inner, &reached_end));
    CHECK(!cora_done(task));
    tick(loop);
    CHECK(cora_cancel(task));
    CHECK_TEXT(run(loop, cora_awaitable_of(task)), "CancelledError");
    CHECK(cora_cancelled(task));
    CHECK_TEXT(came_of(cora_result(inner)), "\"done\"");
    CHECK(!reached_end);
    end(loop);
}

TEST(cancel_in_the_gap, "also one that comes when the value is there, and he has not run yet")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_future task = cora_create_task(loop, cora_wait_for(future, 100));
    tick(loop);
    cora_set_result(future, cora_int(5));
    CHECK(cora_cancel(task));
    CHECK_TEXT(run(loop, cora_awaitable_of(task)), "CancelledError");
    CHECK_TEXT(came_of(cora_result(future)), "5");
    end(loop);
}

TEST(done_when_over, "what is done in the very tick in which the time is over comes too late")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_future task = cora_create_task(loop, cora_wait_for(future, 1));
    cora_call_at(loop, START + 1, cora_partial(complete, future));
    tick(loop);
    cora_virtual_clock_advance(5); /* both are overdue */
    CHECK_TEXT(run(loop, cora_awaitable_of(task)), "TimeoutError");
    CHECK_TEXT(came_of(cora_result(future)), "\"ok\"");
    end(loop);
}

static void complete_late(cora_args bound)
{
    CHECK_INT(cora_set_result(cora_arg_future(bound, 0), cora_nothing()), CORA_EINVALIDSTATE);
}

TEST(done_after_it_is_over, "and after that it is cancelled already")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_future task = cora_create_task(loop, cora_wait_for(future, 1));
    cora_call_at(loop, START + 2, cora_partial(complete_late, future));
    tick(loop);
    cora_virtual_clock_advance(5);
    CHECK_TEXT(run(loop, cora_awaitable_of(task)), "TimeoutError");
    CHECK(cora_cancelled(future));
    end(loop);
}

/* ---- no time ---- */

TEST(no_time_done, "with 0 seconds, what is done gives its value at once",
     "test_waitfor.AsyncioWaitForTest.test_wait_for_timeout_less_then_0_or_0_future_done")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_set_result(future, cora_static("done"));
    CHECK_TEXT(run(loop, cora_wait_for(future, 0)), "\"done\"");
    CHECK(cora_done(future));
    CHECK_TEXT(run(loop, cora_wait_for(future, -1)), "\"done\"");
    end(loop);
}

TEST(no_time_coroutine, "a coroutine does not begin",
     "test_waitfor.AsyncioWaitForTest."
     "test_wait_for_timeout_less_then_0_or_0_coroutine_do_not_started")
{
    for (int seconds = 0; seconds >= -1; seconds--) {
        cora_loop loop = virtual_loop_new();
        struct notes notes = { .text = "" };
        int drops = 0;
        cora_coro coro = working(work_and_clean, &notes, .drops = &drops);
        CHECK_TEXT(run(loop, cora_wait_for(coro, seconds)), "TimeoutError");
        CHECK_TEXT(notes.text, "");
        CHECK_INT(drops, 1);
        CHECK_INT(cora_coro_state(coro), CORA_CORO_CLOSED);
        end(loop);
    }
}

TEST(no_time_task, "a task is cancelled at once, and has cleaned up by then",
     "test_waitfor.AsyncioWaitForTest.test_wait_for_timeout_less_then_0_or_0")
{
    for (int seconds = 0; seconds >= -1; seconds--) {
        cora_loop loop = virtual_loop_new();
        struct notes notes = { .text = "" };
        cora_future task = cora_create_task(loop, working(work_and_clean, &notes, .seconds = 10));
        tick(loop);
        CHECK_TEXT(notes.text, "begun");
        CHECK_TEXT(run(loop, cora_wait_for(task, seconds)), "TimeoutError");
        CHECK(cora_done(task));
        CHECK(cora_cancelled(task));
        CHECK_TEXT(notes.text, "begun cleaned");
        end(loop);
    }
}

TEST(no_time_operation, "and so is an operation, even one that takes no time")
{
    cora_loop loop = virtual_loop_new();
    size_t live = cora_live(loop);
    CHECK_TEXT(run(loop, cora_wait_for(cora_sleep(0), 0)), "TimeoutError");
    CHECK_TEXT(run(loop, cora_wait_for(cora_sleep(10), -3)), "TimeoutError");
    tick(loop);
    CHECK_INT(cora_live(loop), live);
    end(loop);
}

TEST(no_time_gather, "a gather is cancelled with all that is in it")
{
    cora_loop loop = virtual_loop_new();
    cora_future futures[2];
    make_futures(loop, futures, 2);
    CHECK_TEXT(run(loop, cora_wait_for(cora_gather(loop, futures, 2), 0)), "TimeoutError");
    CHECK(cora_cancelled(futures[0]));
    CHECK(cora_cancelled(futures[1]));
    end(loop);
}

TEST(no_time_answers, "with 0 seconds, too, a task may answer with a value or an error")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { .text = "" };
    cora_future task = cora_create_task(loop, working(answer_42, &notes, .seconds = 10));
    tick(loop);
    CHECK_TEXT(run(loop, cora_wait_for(task, 0)), "42");
    task = cora_create_task(loop, working(answer_error, NULL, .seconds = 10));
    tick(loop);
    CHECK_TEXT(run(loop, cora_wait_for(task, 0)), "ValueError");
    end(loop);
}

TEST(no_time_failed, "and one that has failed gives its error")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_set_exception(future, spilled());
    CHECK_TEXT(run(loop, cora_wait_for(future, 0)), "ValueError");
    future = cora_future_new(loop);
    cora_cancel(future);
    CHECK_TEXT(run(loop, cora_wait_for(future, 0)), "CancelledError");
    end(loop);
}

TEST(no_time_cancelled, "who is cancelled while that cleans up does not wait for it any longer")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { .text = "" };
    cora_future inner =
        cora_create_task(loop, working(work_and_clean, &notes, .seconds = 10, .cleanup = 1));
    tick(loop);
    cora_future task = cora_create_task(loop, cora_wait_for(inner, 0));
    run_for(loop, 0.5);
    CHECK(!cora_done(task));
    CHECK(cora_cancel(task));
    CHECK_TEXT(run(loop, cora_awaitable_of(task)), "CancelledError");
    CHECK(!cora_done(inner));
    CHECK_TEXT(run(loop, cora_awaitable_of(inner)), "CancelledError");
    CHECK_TEXT(notes.text, "begun cleaned");
    CHECK_REAL(cora_time(loop), START + 1, 2 * LATE);
    end(loop);
}

/* ---- what is wrong ---- */

TEST(not_a_number, "NaN seconds are a ValueError, and a future is left alone")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    CHECK_TEXT(run(loop, cora_wait_for(future, NAN)), "ValueError");
    CHECK(!cora_done(future));
    end(loop);
}

TEST(not_a_number_coroutine, "a coroutine does not begin, and is closed")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { .text = "" };
    int drops = 0;
    cora_coro coro = working(work_and_clean, &notes, .drops = &drops);
    CHECK_TEXT(run(loop, cora_wait_for(coro, NAN)), "ValueError");
    CHECK_TEXT(notes.text, "");
    CHECK_INT(drops, 1);
    end(loop);
}

TEST(null_future, "a null future gives the error for which it could not be made")
{
    cora_loop loop = virtual_loop_new(), other = cora_loop_new(NULL);
    cora_future foreign = cora_future_new(other);
    cora_future null = cora_gather(loop, &foreign, 1);
    CHECK(cora_is_null(null));
    CHECK_TEXT(run(loop, cora_wait_for(null, 1)), "ValueError");
    CHECK_TEXT(run(loop, cora_wait_for(null, 0)), "ValueError");
    CHECK_TEXT(run(loop, cora_wait_for(null, INFINITY)), "ValueError");
    cora_loop_close(other);
    end(loop);
}

TEST(stale_future, "a stale one a StaleHandle")
{
    cora_loop loop = virtual_loop_new();
    cora_future stale = cora_future_new(loop);
    cora_set_result(stale, cora_int(1));
    CHECK_INT(cora_release(stale), 0);
    tick(loop);
    CHECK_TEXT(run(loop, cora_wait_for(stale, 1)), "StaleHandle");
    CHECK_TEXT(run(loop, cora_wait_for(stale, 0)), "StaleHandle");
    CHECK_TEXT(run(loop, cora_wait_for(stale, INFINITY)), "StaleHandle");
    end(loop);
}

TEST(ended_coroutine, "a coroutine that has ended before gives a RuntimeError")
{
    cora_loop loop = virtual_loop_new();
    cora_coro coro = cora_coroutine(at_once);
    run(loop, cora_awaitable_of(coro));
    cora_value error = cora_run_until_complete(loop, cora_wait_for(coro, 1));
    CHECK(cora_error_is(error, CORA_ERUNTIME));
    CHECK(says(error, "await"));
    end(loop);
}

TEST(given_twice, "what was awaited once cannot be awaited again: a RuntimeError")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_set_result(future, cora_int(5));
    cora_awaitable waiting = cora_wait_for(future, 1);
    CHECK_TEXT(run(loop, waiting), "5");
    CHECK_TEXT(run(loop, waiting), "RuntimeError");
    end(loop);
}

TEST(another_loop, "a future of another loop gives a RuntimeError that says so")
{
    cora_loop loop = virtual_loop_new(), other = cora_loop_new(NULL);
    cora_future foreign = cora_future_new(other);
    cora_value error = cora_run_until_complete(loop, cora_wait_for(foreign, 1));
    CHECK_INT(cora_error_code(error), CORA_ERUNTIME);
    CHECK(says(error, "different loop"));
    CHECK(!cora_done(foreign));
    cora_loop_close(other);
    end(loop);
}

static cora_next wait_for_itself(cora_coro self)
{
    return cora_await(self, cora_wait_for(cora_current_task(cora_running_loop()), 5),
                      cora_return_got);
}

TEST(own_task, "a task that waits for itself gets a RuntimeError")
{
    cora_loop loop = virtual_loop_new();
    cora_value error = cora_run_until_complete(loop, cora_coroutine(wait_for_itself));
    CHECK_INT(cora_error_code(error), CORA_ERUNTIME);
    CHECK(says(error, "itself"));
    end(loop);
}

struct elsewhere {
    cora_future future;
    struct notes notes;
};

static void *wait_elsewhere(void *argument)
{
    struct elsewhere *elsewhere = argument;
    cora_loop loop = cora_loop_new(NULL);
    add_note(&elsewhere->notes, run(loop, cora_wait_for(elsewhere->future, 1)));
    add_note(&elsewhere->notes, run(loop, cora_wait_for(elsewhere->future, 0)));
    cora_loop_close(loop);
    return NULL;
}

TEST(another_thread, "a future of another thread gives a WrongThread, and is left alone")
{
    cora_loop loop = virtual_loop_new();
    struct elsewhere elsewhere = { .future = cora_future_new(loop) };
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, wait_elsewhere, &elsewhere), 0);
    pthread_join(thread, NULL);
    CHECK_TEXT(elsewhere.notes.text, "WrongThread WrongThread");
    CHECK(!cora_done(elsewhere.future));
    end(loop);
}

/* ---- ticks ---- */

struct probe {
    cora_loop loop;
    cora_future future, task;
    double seconds;
    int now, before, after;
};

#define PROBE(self) (*cora_locals(self, struct probe *))

static void count_tick(cora_args bound)
{
    struct probe *probe = cora_arg(bound, 0, struct probe *);
    probe->now++;
    cora_call_soon(probe->loop, cora_partial(count_tick, probe));
}

/* The ticks from before to after in a task that begins with this step. */
static int ticks_of(cora_step step, double seconds)
{
    int ticks[2];
    for (int poll = 0; poll < 2; poll++) {
        cora_virtual_clock_start(START);
        struct cora_loop_options options = { .poll_every_tick = poll };
        struct probe probe = { .loop = cora_loop_new(&options), .seconds = seconds };
        probe.future = cora_future_new(probe.loop);
        cora_call_soon(probe.loop, cora_partial(count_tick, &probe));
        probe.task = cora_create_task(probe.loop, cora_coroutine(step, struct probe *, &probe));
        cora_run_until_complete(probe.loop, probe.task);
        CHECK(probe.before > 0);
        CHECK(probe.after >= probe.before);
        ticks[poll] = probe.after - probe.before;
        end(probe.loop);
    }
    CHECK_INT(ticks[0], ticks[1]);
    return ticks[0];
}

static cora_next after(cora_coro self)
{
    PROBE(self)->after = PROBE(self)->now;
    return cora_return(self, cora_nothing());
}

static cora_next wait_from(cora_coro self, cora_awaitable awaitable)
{
    PROBE(self)->before = PROBE(self)->now;
    return cora_try(self, cora_wait_for(awaitable, PROBE(self)->seconds), after);
}

static cora_next ticks_done(cora_coro self)
{
    cora_set_result(PROBE(self)->future, cora_nothing());
    return wait_from(self, cora_awaitable_of(PROBE(self)->future));
}

static cora_next ticks_pending(cora_coro self)
{
    return wait_from(self, cora_awaitable_of(PROBE(self)->future));
}

static cora_next ticks_completed(cora_coro self)
{
    cora_call_soon(PROBE(self)->loop, cora_partial(complete, PROBE(self)->future));
    return wait_from(self, cora_awaitable_of(PROBE(self)->future));
}

static cora_next ticks_coroutine(cora_coro self)
{
    return wait_from(self, cora_awaitable_of(cora_coroutine(at_once)));
}

static cora_next ticks_task(cora_coro self)
{
    cora_future task = cora_create_task(PROBE(self)->loop, cora_coroutine(at_once));
    return wait_from(self, cora_awaitable_of(task));
}

static cora_next ticks_sleep(cora_coro self)
{
    return wait_from(self, cora_sleep(0));
}

static cora_next wait_for_blocked(cora_coro self)
{
    PROBE(self)->before = PROBE(self)->now;
    return cora_try(self, cora_wait_for(PROBE(self)->future, PROBE(self)->seconds), after);
}

static cora_next ticks_blocked(cora_coro self)
{
    PROBE(self)->future = cora_create_task(PROBE(self)->loop, cora_coroutine(block));
    return cora_await(self, cora_sleep(0), wait_for_blocked);
}

TEST(ticks_in_time, "it takes as many ticks as what it waits for")
{
    static const double seconds[] = { 1, INFINITY };
    for (int i = 0; i < 2; i++) {
        CHECK_INT(ticks_of(ticks_done, seconds[i]), 0);
        CHECK_INT(ticks_of(ticks_completed, seconds[i]), 2);
        CHECK_INT(ticks_of(ticks_coroutine, seconds[i]), 0);
        CHECK_INT(ticks_of(ticks_task, seconds[i]), 2);
        CHECK_INT(ticks_of(ticks_sleep, seconds[i]), 1);
    }
}

TEST(ticks_no_time,
     "without time: a done future none, a pending one 2, what has to end a tick more")
{
    CHECK_INT(ticks_of(ticks_done, 0), 0);
    CHECK_INT(ticks_of(ticks_pending, 0), 2);
    CHECK_INT(ticks_of(ticks_coroutine, 0), 3);
    CHECK_INT(ticks_of(ticks_task, 0), 3);
    CHECK_INT(ticks_of(ticks_sleep, 0), 3);
    CHECK_INT(ticks_of(ticks_blocked, 0), 3);
}

static void note_before(cora_args bound)
{
    struct probe *probe = cora_arg(bound, 0, struct probe *);
    probe->before = probe->now;
}

static void cancel_probe(cora_args bound)
{
    struct probe *probe = cora_arg(bound, 0, struct probe *);
    probe->before = probe->now;
    CHECK(cora_cancel(probe->task));
}

static cora_next ticks_over(cora_coro self)
{
    struct probe *probe = PROBE(self);
    double due = cora_time(probe->loop) + probe->seconds;
    cora_call_at(probe->loop, due, cora_partial(note_before, probe));
    return cora_try(self, cora_wait_for(probe->future, due - cora_time(probe->loop)), after);
}

static cora_next ticks_cancelled(cora_coro self)
{
    struct probe *probe = PROBE(self);
    cora_call_later(probe->loop, 0.001, cora_partial(cancel_probe, probe));
    return cora_try(self, cora_wait_for(probe->future, probe->seconds), after);
}

TEST(ticks_over, "when the time is over, and when who waits is cancelled, it ends 1 tick later")
{
    CHECK_INT(ticks_of(ticks_over, 0.001), 1);
    CHECK_INT(ticks_of(ticks_cancelled, 10), 1);
}

/* ---- nothing is left ---- */

static void forget(cora_args bound)
{
    cora_wait_for(working(work_and_clean, NULL, .drops = cora_arg(bound, 0, int *)), 1);
}

TEST(never_awaited, "one that is given to nobody is reported, and closes what it was to wait for")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    int drops = 0;
    run_in(loop, cora_partial(forget, &drops));
    CHECK_INT(drops, 1);
    CHECK_INT(cora_live_coroutines(), 0);
    CHECK(reports.count > 0);
    CHECK(strstr(reports.message, "was never awaited") != NULL);
    end(loop);
}

TEST(no_timer, "after it has ended no timer is left")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_future task = cora_create_task(loop, cora_wait_for(future, 1000));
    tick(loop);
    cora_set_result(future, cora_nothing());
    cora_run_until_complete(loop, task);
    CHECK_INT(cora_release(future), 0);
    tick(loop);
    CHECK_INT(cora_live(loop), 0);
    end(loop);
}

struct rounds {
    int left;
    size_t live;
};

static cora_next next_round(cora_coro self)
{
    struct rounds *rounds = cora_locals(self, struct rounds);
    if (--rounds->left == 0)
        return cora_return(self, cora_nothing());
    if (rounds->left == 990)
        rounds->live = cora_live(cora_running_loop());
    if (rounds->left < 990)
        CHECK_INT(cora_live(cora_running_loop()), rounds->live);
    if (rounds->left % 2)
        return cora_try(self, cora_wait_for(cora_sleep(10), 0.001), next_round);
    return cora_try(self, cora_wait_for(cora_coroutine(at_once), 5), next_round);
}

TEST(many, "a coroutine that waits so a thousand times holds nothing of it")
{
    cora_loop loop = virtual_loop_new();
    cora_coro coro = cora_coroutine(next_round, struct rounds, .left = 1000);
    CHECK_TEXT(run(loop, cora_awaitable_of(coro)), "nothing");
    end(loop);
}

/* A done-callback, bound to an int *. */
static void count_timeout(cora_args bound, cora_future done)
{
    *cora_arg(bound, 0, int *) += cora_error_is(cora_result(done), CORA_ETIMEOUT);
}

TEST(at_the_same_time, "a thousand that wait at the same time end each in its own time")
{
    cora_loop loop = current_loop_new();
    int ended = 0;
    for (int i = 0; i < 1000; i++)
        cora_when_done(cora_wait_for(cora_sleep(100), 1 + 0.01 * i),
                       cora_partial(count_timeout, &ended));
    run_for(loop, 5.995);
    CHECK_INT(ended, 500);
    run_for(loop, 20);
    CHECK_INT(ended, 1000);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

TEST(close_loop, "a loop may be closed while somebody waits")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    cora_create_task(loop, cora_wait_for(cora_future_new(loop), 5));
    cora_coro coro = working(stubborn, NULL, .seconds = 5, .drops = &drops);
    cora_create_task(loop, cora_wait_for(coro, 10));
    run_for(loop, 1);
    cora_coro unstarted = working(stubborn, NULL, .drops = &drops);
    cora_create_task(loop, cora_wait_for(unstarted, 10));
    end(loop);
    CHECK_INT(drops, 2);
}

TEST(guest, "in a guest it is the same, and keeps the host's loop alive until it ends")
{
    cora_virtual_clock_start(START);
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    cora_loop loop = cora_loop_attach(host, NULL);
    struct page page = { .future = cora_future_new(loop) };
    cora_call_soon(loop, cora_partial(ask, &page));
    ev_run(host, 0);
    CHECK_TEXT(page.notes.text, "TimeoutError");
    CHECK_REAL(cora_time(loop), START + 2.5, LATE);
    cora_loop_detach(loop);
    ev_loop_destroy(host);
    cora_virtual_clock_stop();
}

TEST(guest_detached, "a guest may leave its host while somebody waits")
{
    cora_virtual_clock_start(START);
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    cora_loop loop = cora_loop_attach(host, NULL);
    struct page page = { .future = cora_future_new(loop) };
    cora_call_soon(loop, cora_partial(ask, &page));
    cora_call_later(loop, 1, cora_partial(nothing));
    ev_run(host, EVRUN_NOWAIT);
    ev_run(host, EVRUN_ONCE);
    cora_loop_detach(loop);
    CHECK_TEXT(page.notes.text, "");
    CHECK_INT(cora_live_coroutines(), 0);
    ev_run(host, EVRUN_NOWAIT);
    ev_loop_destroy(host);
    cora_virtual_clock_stop();
}
