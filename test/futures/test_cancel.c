/*
 * Cancelling tasks: a cancel asks, and the coroutine answers. First tasks in each state in which a
 * cancel may meet them: not begun, waiting, running, woken but not gone on yet; then coroutines
 * that catch it, refuse it, clean up or fail; tasks that wait for tasks; messages; and last the
 * count of cancels, and what cora_uncancel takes back.
 */
#include "helpers.h"

#include <math.h>

/* ---- helpers ---- */

/* The locals of the coroutines here; each uses what it needs. */
struct job {
    struct notes *notes;
    cora_future futures[3];
    cora_future *ret_task;
    int *counter;
    double seconds;
    int number;
};

#define JOB(self) cora_locals(self, struct job)

/* Ends a test: no coroutine may be left. */
static void end(cora_loop loop)
{
    virtual_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
}

static bool has(const char *text, const char *words)
{
    return strstr(text, words) != NULL;
}

static cora_future current_task(void)
{
    return cora_current_task(cora_running_loop());
}

/* Last steps: with what was got; with a word in the notes; with what was caught as a text. */
static cora_next give_got(cora_coro self)
{
    return cora_return(self, cora_got(self));
}

static cora_next never(cora_coro self)
{
    harness_fail(__FILE__, __LINE__, "a step that must not run");
    return cora_return(self, cora_nothing());
}

static cora_next give_caught(cora_coro self)
{
    char text[200];
    cora_print(cora_caught(self), text, sizeof text);
    return cora_return(self, text);
}

/* First steps: what is waited for must not come. */
static cora_next await_future(cora_coro self)
{
    return cora_await(self, JOB(self)->futures[0], give_got);
}

static cora_next await_in_vain(cora_coro self)
{
    return cora_await(self, JOB(self)->futures[0], never);
}

static cora_next try_future(cora_coro self)
{
    return cora_try(self, JOB(self)->futures[0], give_caught);
}

static cora_next sleep_in_vain(cora_coro self)
{
    return cora_await(self, cora_sleep(JOB(self)->seconds), never);
}

/* Tasks of these. */
static cora_future awaiting(cora_loop loop, cora_future future)
{
    return cora_create_task(loop, cora_coroutine(await_future, struct job, .futures = { future }));
}

static cora_future in_vain(cora_loop loop, cora_future future)
{
    return cora_create_task(loop, cora_coroutine(await_in_vain, struct job, .futures = { future }));
}

static cora_future trying(cora_loop loop, cora_future future)
{
    return cora_create_task(loop, cora_coroutine(try_future, struct job, .futures = { future }));
}

static cora_future sleeping(cora_loop loop, double seconds)
{
    return cora_create_task(loop, cora_coroutine(sleep_in_vain, struct job, .seconds = seconds));
}

/* ---- before the first step ---- */

struct owner {
    int *drops;
};

static void count_owner(void *locals)
{
    ++*((struct owner *)locals)->drops;
}

TEST(not_started, "a task that is cancelled before its first step never begins; its locals go")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    cora_future task = cora_create_task(
        loop, cora_coroutine_owning(never, count_owner, struct owner, .drops = &drops));
    CHECK(cora_cancel(task));
    CHECK(!cora_done(task)); /* it was asked */
    CHECK_INT(drops, 0);
    tick(loop);
    CHECK(cora_cancelled(task));
    CHECK_INT(drops, 1);
    CHECK_INT(cora_cancelling(task), 1);
    end(loop);
}

TEST(not_started_operation, "an operation never starts then")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_sleep(5));
    CHECK(cora_cancel(task));
    tick(loop);
    CHECK(cora_cancelled(task));
    CHECK_INT(cora_live(loop), 1); /* the task alone */
    end(loop);
}

static cora_next finally_never(cora_coro self)
{
    harness_fail(__FILE__, __LINE__, "a finally of a step that has not run");
    return cora_go_on(self);
}

static cora_next never_with_finally(cora_coro self)
{
    cora_finally(self, finally_never);
    return never(self);
}

TEST(not_started_has_no_finally, "what the first step would register does not run either")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(never_with_finally));
    cora_cancel(task);
    tick(loop);
    CHECK(cora_cancelled(task));
    end(loop);
}

static cora_next read_cancelled_child(cora_coro self)
{
    cora_future child = JOB(self)->futures[0];
    CHECK(cora_done(child));
    CHECK_INT(cora_error_code(cora_exception(child)), CORA_ECANCELLED);
    return cora_return(self, cora_error_message(cora_exception(child)));
}

static cora_next cancel_before_the_start(cora_coro self)
{
    struct job *job = JOB(self);
    job->futures[0] = cora_create_task(cora_running_loop(), cora_coroutine(never));
    cora_cancel_with(job->futures[0], "my message");
    return cora_await(self, cora_wait(job->futures, 1, INFINITY, CORA_ALL_COMPLETED),
                      read_cancelled_child);
}

TEST(message_before_the_start, "a child that is cancelled before it begins has the message",
     "test_tasks.BaseTaskTests.test_cancel_with_message_before_starting_task")
{
    cora_loop loop = virtual_loop_new();
    cora_value value =
        cora_run_until_complete(loop, cora_coroutine(cancel_before_the_start, struct job));
    CHECK_TEXT(cora_as_text(value), "my message");
    end(loop);
}

TEST(cancelling, "cancelling counts the cancels, and the task prints that it is being cancelled",
     "test_tasks.BaseTaskTests.test_cancelling")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = sleeping(loop, 10);
    CHECK_INT(cora_cancelling(task), 0);
    CHECK(!has(printed(task), " cancelling "));
    CHECK(cora_cancel(task));
    CHECK_INT(cora_cancelling(task), 1);
    CHECK(has(printed(task), "cancelling "));
    CHECK(cora_cancel(task));
    CHECK_INT(cora_cancelling(task), 2);
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, task)), CORA_ECANCELLED);
    end(loop);
}

/* ---- while it waits ---- */

struct seen {
    size_t live;
    double now;
};

static void look_and_cancel(cora_args bound)
{
    struct seen *seen = cora_arg(bound, 0, struct seen *);
    seen->live = cora_live(cora_running_loop());
    CHECK(cora_cancel(cora_arg_future(bound, 1)));
}

TEST(sleeping, "a task that sleeps is woken by a cancel, without waiting for its time",
     "test_tasks.BaseTaskTests.test_cancel")
{
    cora_loop loop = virtual_loop_new();
    struct seen seen = { 0, 0 };
    cora_future task = sleeping(loop, 10);
    cora_call_soon(loop, cora_partial(look_and_cancel, &seen, task));
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, task)), CORA_ECANCELLED);
    CHECK(seen.live >= 2); /* its timer was made */
    CHECK_REAL(cora_time(loop), START, LATE);
    CHECK(cora_done(task));
    CHECK(cora_cancelled(task));
    CHECK(!cora_cancel(task));
    end(loop);
}

TEST(sleep_cancel, "its timer is gone with the cancel",
     "test_tasks.BaseTaskTests.test_sleep_cancel")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = sleeping(loop, 10);
    ticks(loop, 2);
    CHECK_INT(cora_live(loop), 2); /* the task and its timer */
    CHECK(cora_cancel(task));
    ticks(loop, 2);
    CHECK_INT(cora_live(loop), 1);
    end(loop);
}

static cora_next nap_done(cora_coro self)
{
    CHECK(cora_error_is(cora_caught(self), CORA_ECANCELLED));
    return cora_await(self, cora_sleep_result(2, cora_int(7)), give_got);
}

static cora_next nap(cora_coro self)
{
    return cora_try(self, cora_sleep(10), nap_done);
}

TEST(sleep_again, "a task that caught the cancel of a sleep may sleep again")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(nap));
    tick(loop);
    cora_cancel(task);
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, task)), 7);
    CHECK_REAL(cora_time(loop), START + 2, LATE);
    CHECK_INT(cora_cancelling(task), 1);
    end(loop);
}

TEST(waiting_for_a_future,
     "a plain future that it awaits is cancelled at once, the task a tick "
     "later",
     "test_tasks.BaseTaskTests.test_task_cancel_waiter_future")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop), task = in_vain(loop, future);
    ticks(loop, 2);
    CHECK(has(printed(task), "wait_for=<Future pending"));
    CHECK(cora_cancel(task));
    CHECK(cora_cancelled(future));
    CHECK(!cora_done(task));
    tick(loop);
    CHECK(cora_cancelled(task));
    CHECK(!has(printed(task), "wait_for"));
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, task)), CORA_ECANCELLED);
    end(loop);
}

TEST(future_cancelled, "a task whose future is cancelled by others is cancelled, with a count of 0",
     "test_tasks.BaseTaskTests.test_cancel_inner_future")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop), task = in_vain(loop, future);
    ticks(loop, 2);
    CHECK(cora_cancel(future));
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, task)), CORA_ECANCELLED);
    CHECK(cora_cancelled(future));
    CHECK(cora_cancelled(task));
    CHECK_INT(cora_cancelling(task), 0);
    end(loop);
}

static cora_next count_cancelled(cora_coro self)
{
    CHECK(cora_error_is(cora_caught(self), CORA_ECANCELLED));
    ++*JOB(self)->counter;
    return cora_raise(self, cora_caught(self));
}

static cora_next try_and_count(cora_coro self)
{
    return cora_try(self, JOB(self)->futures[0], count_cancelled);
}

TEST(both_cancelled, "of a cancel of the future and one of the task the coroutine sees one",
     "test_tasks.BaseTaskTests.test_cancel_both_task_and_inner_future")
{
    for (int task_first = 0; task_first < 2; task_first++) {
        cora_loop loop = virtual_loop_new();
        int caught = 0;
        cora_future future = cora_future_new(loop);
        cora_future task =
            cora_create_task(loop, cora_coroutine(try_and_count, struct job, .futures = { future },
                                                  .counter = &caught));
        ticks(loop, 2);
        CHECK(cora_cancel(task_first ? task : future));
        CHECK(cora_cancel(task_first ? future : task) == !task_first);
        CHECK_INT(cora_error_code(cora_run_until_complete(loop, task)), CORA_ECANCELLED);
        CHECK_INT(caught, 1);
        CHECK(cora_cancelled(future));
        CHECK(cora_cancelled(task));
        CHECK_INT(cora_cancelling(task), 1);
        end(loop);
    }
}

TEST(shared_future, "two tasks that await one future are both cancelled with it, but one was asked")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_future task = in_vain(loop, future), other = in_vain(loop, future);
    tick(loop);
    CHECK(cora_cancel(task));
    tick(loop);
    CHECK(cora_cancelled(task));
    CHECK(cora_cancelled(other));
    CHECK_INT(cora_cancelling(task), 1);
    CHECK_INT(cora_cancelling(other), 0);
    end(loop);
}

static cora_next await_shielded(cora_coro self)
{
    cora_future shield = cora_shield(cora_running_loop(), JOB(self)->futures[0]);
    return cora_await(self, shield, never);
}

TEST(shielded_future, "a shared future is shielded: then the others are left alone")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop), other = awaiting(loop, future);
    cora_future task =
        cora_create_task(loop, cora_coroutine(await_shielded, struct job, .futures = { future }));
    tick(loop);
    CHECK(cora_cancel(task));
    tick(loop);
    CHECK(cora_cancelled(task));
    CHECK(!cora_done(future));
    cora_set_result(future, cora_int(3));
    tick(loop);
    CHECK_TEXT(outcome(other), "3");
    end(loop);
}

static cora_next wait_in_vain(cora_coro self)
{
    return cora_await(self, cora_wait(JOB(self)->futures, 2, 5, CORA_FIRST_COMPLETED), never);
}

TEST(waiting_for_an_operation, "an operation that it awaits ends, with what that had made")
{
    cora_loop loop = virtual_loop_new();
    cora_future f[2];
    make_futures(loop, f, 2);
    cora_future task =
        cora_create_task(loop, cora_coroutine(wait_in_vain, struct job, .futures = { f[0], f[1] }));
    size_t before = cora_live(loop);
    tick(loop);
    CHECK(cora_live(loop) > before);
    CHECK(cora_cancel(task));
    CHECK(!cora_done(f[0]) && !cora_done(f[1]));
    ticks(loop, 2);
    CHECK(cora_cancelled(task));
    CHECK_INT(cora_live(loop), before);
    CHECK(!has(printed(f[0]), "cb="));
    end(loop);
}

/* ---- the coroutine that runs ---- */

static cora_next cancelled_itself(cora_coro self)
{
    harness_fail(__FILE__, __LINE__, "woken by a sleep that was cancelled");
    return cora_return(self, 12);
}

static cora_next cancel_itself_and_sleep(cora_coro self)
{
    CHECK(cora_cancel(current_task()));
    CHECK_INT(cora_cancelling(current_task()), 1);
    CHECK(has(printed(current_task()), "<Task cancelling"));
    return cora_await(self, cora_sleep(100), cancelled_itself);
}

TEST(current_task, "a running task that cancels itself is cancelled where it next waits, at once",
     "test_tasks.BaseTaskTests.test_cancel_current_task")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(cancel_itself_and_sleep));
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, task)), CORA_ECANCELLED);
    CHECK(cora_cancelled(task));
    CHECK(!cora_cancel(task));
    CHECK_REAL(cora_time(loop), START, LATE);
    end(loop);
}

static cora_next cancel_itself_and_return(cora_coro self)
{
    CHECK(cora_cancel(current_task()));
    return cora_return(self, cora_own(JOB(self)->counter, &counted));
}

TEST(at_the_end,
     "one that cancels itself in its last step is cancelled; what it returns is dropped",
     "test_tasks.BaseTaskTests.test_cancel_at_end")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    cora_future task = cora_create_task(
        loop, cora_coroutine(cancel_itself_and_return, struct job, .counter = &drops));
    tick(loop);
    CHECK_INT(drops, 1);
    CHECK(cora_cancelled(task));
    CHECK(!cora_cancel(task));
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, task)), CORA_ECANCELLED);
    end(loop);
}

static cora_next cancel_itself_and_raise(cora_coro self)
{
    CHECK(cora_cancel(current_task()));
    return cora_raise(self, cora_error(CORA_EVALUE, "instead"));
}

TEST(error_at_the_end, "one that cancels itself and raises another error has failed with that")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(cancel_itself_and_raise));
    tick(loop);
    CHECK(!cora_cancelled(task));
    CHECK_TEXT(outcome(task), "ValueError: instead");
    CHECK_INT(cora_cancelling(task), 1);
    end(loop);
}

static cora_next after_a_done_one(cora_coro self)
{
    CHECK_INT(cora_as_int(cora_got(self)), 5);
    add_note(JOB(self)->notes, "went on");
    return cora_try(self, cora_sleep(10), give_caught);
}

static cora_next cancel_itself_and_go_on(cora_coro self)
{
    CHECK(cora_cancel_with(current_task(), "now"));
    return cora_await(self, JOB(self)->futures[0], after_a_done_one);
}

TEST(await_of_a_done_future, "what does not wait is not interrupted: a future that is done gives "
                             "its value, and the next await is cancelled")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future future = cora_future_new(loop);
    cora_set_result(future, cora_int(5));
    cora_future task =
        cora_create_task(loop, cora_coroutine(cancel_itself_and_go_on, struct job,
                                              .futures = { future }, .notes = &notes));
    tick(loop);
    CHECK_TEXT(notes.text, "went on");
    CHECK(!cora_done(task));
    tick(loop);
    CHECK_TEXT(outcome(task), "\"CancelledError: now\"");
    end(loop);
}

static cora_next cancel_itself_and_await(cora_coro self)
{
    struct job *job = JOB(self);
    CHECK(cora_cancel_with(current_task(), "first"));
    CHECK(cora_cancel_with(current_task(), "last"));
    return cora_try(self, job->futures[0], give_caught);
}

TEST(await_of_a_pending_future, "a pending one is cancelled when it is awaited, with the last "
                                "message")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_future task = cora_create_task(
        loop, cora_coroutine(cancel_itself_and_await, struct job, .futures = { future }));
    tick(loop);
    CHECK(cora_cancelled(future));
    CHECK_TEXT(outcome(future), "CancelledError: last");
    tick(loop);
    CHECK_TEXT(outcome(task), "\"CancelledError: last\"");
    CHECK_INT(cora_cancelling(task), 2);
    end(loop);
}

static cora_next cancel_itself_and_yield(cora_coro self)
{
    CHECK(cora_cancel_with(current_task(), "now"));
    return cora_try_yield(self, cora_nothing(), give_caught);
}

static cora_next cancel_itself_and_sleep_zero(cora_coro self)
{
    CHECK(cora_cancel_with(current_task(), "now"));
    return cora_try(self, cora_sleep(0), give_caught);
}

TEST(yield, "one that lets others run for a tick finds Cancelled when it goes on")
{
    cora_loop loop = virtual_loop_new();
    cora_future yields = cora_create_task(loop, cora_coroutine(cancel_itself_and_yield));
    cora_future sleeps = cora_create_task(loop, cora_coroutine(cancel_itself_and_sleep_zero));
    tick(loop);
    CHECK(!cora_done(yields));
    tick(loop);
    CHECK_TEXT(outcome(yields), "\"CancelledError: now\"");
    CHECK_TEXT(outcome(sleeps), "\"CancelledError: now\"");
    end(loop);
}

static cora_next raise_cancelled(cora_coro self)
{
    return cora_raise(self, cora_error(CORA_ECANCELLED, "own will"));
}

TEST(raised, "a coroutine that raises Cancelled by itself cancels its task: nobody asked for it")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(raise_cancelled));
    tick(loop);
    CHECK(cora_cancelled(task));
    CHECK_TEXT(outcome(task), "CancelledError: own will");
    CHECK_INT(cora_cancelling(task), 0);
    end(loop);
}

/* ---- woken, and not gone on yet ---- */

TEST(woken_with_a_value, "cancelled when what it awaits has come, it does not see that; the future "
                         "keeps it")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop), task = in_vain(loop, future);
    cora_future caught = trying(loop, future);
    tick(loop);
    CHECK_INT(cora_set_result(future, cora_int(5)), 0);
    CHECK(cora_cancel(task));
    CHECK(cora_cancel_with(caught, "too late"));
    tick(loop);
    CHECK(cora_cancelled(task));
    CHECK_TEXT(outcome(caught), "\"CancelledError: too late\"");
    CHECK_TEXT(outcome(future), "5");
    end(loop);
}

TEST(woken_with_an_error, "so it is with an error, which counts as read")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future future = cora_future_new(loop), task = trying(loop, future);
    tick(loop);
    CHECK_INT(cora_set_exception(future, cora_error(CORA_EVALUE, "cold")), 0);
    CHECK(cora_cancel(task));
    tick(loop);
    CHECK_TEXT(outcome(task), "\"CancelledError\"");
    end(loop);
    CHECK_INT(reports.count, 0);
}

TEST(woken_by_a_task, "a task that it awaited keeps its value, too")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop), inner = awaiting(loop, future);
    cora_future outer = in_vain(loop, inner);
    tick(loop);
    cora_set_result(future, cora_int(5));
    tick(loop);
    CHECK_TEXT(outcome(inner), "5");
    CHECK(!cora_done(outer));
    CHECK(cora_cancel(outer));
    CHECK_INT(cora_cancelling(inner), 0);
    tick(loop);
    CHECK(cora_cancelled(outer));
    CHECK_TEXT(outcome(inner), "5");
    end(loop);
}

static cora_next twelve(cora_coro self)
{
    return cora_return(self, 12);
}

static cora_next second_nap(cora_coro self)
{
    return cora_await(self, cora_sleep(0), twelve);
}

static cora_next two_naps(cora_coro self)
{
    return cora_await(self, cora_sleep(0), second_nap);
}

TEST(queued_after_a_yield, "cancelled when it is queued for its last step, it does not take that",
     "test_tasks.BaseTaskTests.test_cancel_yield")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(two_naps));
    ticks(loop, 2);
    CHECK(cora_cancel(task));
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, task)), CORA_ECANCELLED);
    CHECK(cora_done(task));
    CHECK(cora_cancelled(task));
    CHECK(!cora_cancel(task));
    end(loop);
}

static void cancel_when_due(cora_args bound)
{
    CHECK(cora_cancel_with(cora_arg_future(bound, 0), "just then"));
}

static cora_next nap_for_one(cora_coro self)
{
    return cora_try(self, cora_sleep(1), give_caught);
}

TEST(after_its_time, "a sleep whose time has come can be cancelled until the task goes on")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(nap_for_one));
    tick(loop);
    cora_call_at(loop, cora_time(loop) + 1, cora_partial(cancel_when_due, task)); /* after it */
    cora_run_until_complete(loop, task);
    CHECK_TEXT(outcome(task), "\"CancelledError: just then\"");
    CHECK_REAL(cora_time(loop), START + 1, LATE);
    end(loop);
}

static cora_next wait_for_one(cora_coro self)
{
    return cora_try(self, cora_wait(JOB(self)->futures, 1, 5, CORA_ALL_COMPLETED), give_caught);
}

TEST(operation_in_the_gap, "so can a wait whose futures are done; what it held is given back")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_future task =
        cora_create_task(loop, cora_coroutine(wait_for_one, struct job, .futures = { future }));
    size_t before = cora_live(loop);
    tick(loop);
    cora_set_result(future, cora_int(1));
    tick(loop);
    CHECK(!cora_done(task));
    CHECK(cora_cancel(task));
    tick(loop);
    CHECK_TEXT(outcome(task), "\"CancelledError\"");
    tick(loop);
    CHECK_INT(cora_live(loop), before);
    end(loop);
}

TEST(sleep_cancelled_twice, "of two cancels of a sleep the first is raised, also if both are taken "
                            "back: the sleep has ended")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(nap_for_one));
    tick(loop);
    CHECK(cora_cancel_with(task, "first"));
    CHECK(cora_cancel_with(task, "second"));
    CHECK_INT(cora_cancelling(task), 2);
    CHECK_INT(cora_uncancel(task), 1);
    CHECK_INT(cora_uncancel(task), 0);
    tick(loop);
    CHECK_TEXT(outcome(task), "\"CancelledError: first\"");
    end(loop);
}

static cora_next try_itself(cora_coro self)
{
    return cora_try(self, current_task(), give_caught);
}

static cora_next yield_something(cora_coro self)
{
    return cora_try_yield(self, 5, give_caught);
}

TEST(instead_of_an_error, "a cancel takes the place of an error that is to be raised, and gives it "
                          "back if it is taken back")
{
    cora_loop loop = virtual_loop_new();
    cora_step steps[] = { try_itself, yield_something };
    for (int i = 0; i < 2; i++) {
        cora_future cancelled = cora_create_task(loop, cora_coroutine(steps[i]));
        cora_future taken_back = cora_create_task(loop, cora_coroutine(steps[i]));
        tick(loop);
        CHECK(cora_cancel(cancelled));
        CHECK(cora_cancel(taken_back));
        CHECK_INT(cora_uncancel(taken_back), 0);
        tick(loop);
        CHECK_TEXT(outcome(cancelled), "\"CancelledError\"");
        CHECK(has(outcome(taken_back), "RuntimeError: Task"));
    }
    end(loop);
}

/* ---- what a coroutine makes of it ---- */

static cora_next caught_second(cora_coro self)
{
    if (!cora_error_is(cora_caught(self), CORA_ECANCELLED))
        return never(self);
    return cora_return(self, 42);
}

static cora_next try_second(cora_coro self)
{
    return cora_try(self, JOB(self)->futures[1], caught_second);
}

static cora_next await_then_try(cora_coro self)
{
    return cora_await(self, JOB(self)->futures[0], try_second);
}

TEST(catching, "a coroutine that catches Cancelled and returns has not been cancelled",
     "test_tasks.BaseTaskTests.test_cancel_task_catching")
{
    cora_loop loop = virtual_loop_new();
    cora_future f[2];
    make_futures(loop, f, 2);
    cora_future task = cora_create_task(
        loop, cora_coroutine(await_then_try, struct job, .futures = { f[0], f[1] }));
    ticks(loop, 2);
    CHECK(has(printed(f[0]), "cb=["));
    cora_set_result(f[0], cora_nothing());
    ticks(loop, 2);
    CHECK(has(printed(f[1]), "cb=["));
    CHECK(cora_cancel(task));
    CHECK(cora_cancelled(f[1]));
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, task)), 42);
    CHECK(!cora_cancelled(task));
    CHECK_INT(cora_cancelling(task), 1);
    end(loop);
}

static cora_next await_third(cora_coro self)
{
    CHECK(cora_error_is(cora_caught(self), CORA_ECANCELLED));
    return cora_await(self, JOB(self)->futures[2], give_got);
}

static cora_next ignore_second(cora_coro self)
{
    return cora_try(self, JOB(self)->futures[1], await_third);
}

static cora_next await_then_ignore(cora_coro self)
{
    return cora_await(self, JOB(self)->futures[0], ignore_second);
}

TEST(ignoring, "one that ignores Cancelled and awaits something else goes on there undisturbed",
     "test_tasks.BaseTaskTests.test_cancel_task_ignoring")
{
    cora_loop loop = virtual_loop_new();
    cora_future f[3];
    make_futures(loop, f, 3);
    cora_future task = cora_create_task(
        loop, cora_coroutine(await_then_ignore, struct job, .futures = { f[0], f[1], f[2] }));
    ticks(loop, 2);
    cora_set_result(f[0], cora_nothing());
    ticks(loop, 2);
    CHECK(has(printed(task), "wait_for="));
    CHECK(cora_cancel(task));
    CHECK(cora_cancelled(f[1]));
    ticks(loop, 2);
    CHECK(has(printed(f[2]), "cb=["));
    cora_set_result(f[2], cora_int(42));
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, task)), 42);
    CHECK(!cora_cancelled(f[2]));
    CHECK(!cora_cancelled(task));
    end(loop);
}

static cora_next inner_passes_on(cora_coro self)
{
    CHECK(cora_error_is(cora_caught(self), CORA_ECANCELLED));
    add_note(JOB(self)->notes, "inner");
    return cora_raise(self, cora_caught(self));
}

static cora_next inner(cora_coro self)
{
    return cora_try(self, JOB(self)->futures[0], inner_passes_on);
}

static cora_next outer_swallows(cora_coro self)
{
    CHECK(cora_error_is(cora_caught(self), CORA_ECANCELLED));
    add_note(JOB(self)->notes, "outer");
    return cora_return(self, cora_nothing());
}

static cora_next outer(cora_coro self)
{
    struct job *job = JOB(self);
    return cora_try(
        self,
        cora_coroutine(inner, struct job, .notes = job->notes, .futures = { job->futures[0] }),
        outer_swallows);
}

TEST(nested, "of nested coroutines the innermost sees Cancelled first, then those that await it",
     "test_tasks.BaseTaskTests.test_yield_future_passes_cancel")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future future = cora_future_new(loop);
    cora_future task = cora_create_task(
        loop, cora_coroutine(outer, struct job, .notes = &notes, .futures = { future }));
    ticks(loop, 2);
    CHECK(cora_cancel(task));
    CHECK(cora_cancelled(future));
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "inner outer");
    CHECK(!cora_cancelled(task));
    CHECK(cora_is_nothing(cora_result(task)));
    end(loop);
}

static cora_next exit_instead(cora_coro self)
{
    CHECK(cora_error_is(cora_caught(self), CORA_ECANCELLED));
    return cora_raise(self, cora_error(CORA_ESYSTEMEXIT, "enough"));
}

static cora_next sleep_or_exit(cora_coro self)
{
    return cora_try(self, cora_sleep(10), exit_instead);
}

TEST(fatal, "one that answers with SystemExit has failed with that, and the run ends with it",
     "test_tasks.BaseTaskTests.test_baseexception_during_cancel")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(sleep_or_exit, struct job));
    tick(loop);
    CHECK(cora_cancel(task));
    CHECK(!cora_done(task));
    CHECK_INT(cora_run_forever(loop), CORA_ESYSTEMEXIT);
    CHECK(cora_done(task));
    CHECK(!cora_cancelled(task));
    CHECK(is_error(task, CORA_ESYSTEMEXIT));
    CHECK_TEXT(outcome(task), "SystemExit: enough");
    CHECK(cora_equal(cora_exception(task), cora_last_error())); /* the very error */
    end(loop);
}

static cora_next clean_up_done(cora_coro self)
{
    add_note(JOB(self)->notes, cora_is_nothing(cora_caught(self)) ? "cleaned" : "interrupted");
    return cora_go_on(self);
}

static cora_next clean_up(cora_coro self)
{
    add_note(JOB(self)->notes, "cleans");
    return cora_try(self, cora_sleep(1), clean_up_done);
}

static cora_next work(cora_coro self)
{
    cora_finally(self, clean_up);
    return cora_await(self, cora_sleep(10), never);
}

TEST(clean_up, "a finally may take its time; the task is cancelled when it is over")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future task = cora_create_task(loop, cora_coroutine(work, struct job, .notes = &notes));
    tick(loop);
    CHECK(cora_cancel_with(task, "closing time"));
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "cleans");
    CHECK(!cora_done(task));
    cora_run_until_complete(loop, task);
    CHECK_TEXT(notes.text, "cleans cleaned");
    CHECK(cora_cancelled(task));
    CHECK_TEXT(outcome(task), "CancelledError: closing time");
    CHECK_REAL(cora_time(loop), START + 1, LATE);
    end(loop);
}

TEST(clean_up_cancelled, "a second cancel interrupts the finally, which may catch it")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future task = cora_create_task(loop, cora_coroutine(work, struct job, .notes = &notes));
    tick(loop);
    CHECK(cora_cancel_with(task, "first"));
    ticks(loop, 2);
    CHECK(cora_cancel_with(task, "second"));
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "cleans interrupted");
    CHECK_TEXT(outcome(task), "CancelledError: first"); /* what was under way goes on */
    CHECK_INT(cora_cancelling(task), 2);
    end(loop);
}

static cora_next parent_fails(cora_coro self)
{
    cora_value caught = cora_caught(self);
    CHECK_TEXT(cora_error_message(caught), "msg");
    return cora_raise(self, cora_error_from(caught, CORA_EVALUE, "from a cancel"));
}

static void cancel_child(cora_args bound)
{
    cora_value list = cora_all_tasks(cora_running_loop());
    (void)bound;
    CHECK_INT(cora_list_size(list), 2);
    CHECK(cora_cancel_with(cora_as_future(cora_list_at(list, 1)), "msg"));
}

static cora_next parent_of_a_child(cora_coro self)
{
    cora_future child = cora_create_task(cora_running_loop(),
                                         cora_coroutine(sleep_in_vain, struct job, .seconds = 10));
    cora_call_soon(cora_running_loop(), cora_partial(cancel_child));
    return cora_try(self, child, parent_fails);
}

TEST(cause,
     "the message goes from the child that is cancelled to the parent that awaits it, whose "
     "own error may have the Cancelled as its cause",
     "test_tasks.BaseTaskTests.test_cancellation_exception_context")
{
    cora_loop loop = virtual_loop_new();
    cora_value error = cora_run_until_complete(loop, cora_coroutine(parent_of_a_child));
    CHECK_INT(cora_error_code(error), CORA_EVALUE);
    CHECK_INT(cora_error_code(cora_error_cause(error)), CORA_ECANCELLED);
    CHECK_TEXT(cora_error_message(cora_error_cause(error)), "msg");
    end(loop);
}

/* ---- tasks that await tasks ---- */

/* A chain of tasks that await each other, the last of them a future; it has begun. */
#define CHAIN 4

struct chain {
    cora_loop loop;
    cora_future future, tasks[CHAIN]; /* the outermost first */
};

static struct chain chain_new(cora_step innermost)
{
    struct chain chain = { .loop = virtual_loop_new() };
    cora_future awaited = chain.future = cora_future_new(chain.loop);
    for (int i = CHAIN - 1; i >= 0; i--) {
        cora_step step = i == CHAIN - 1 ? innermost : await_future;
        chain.tasks[i] = awaited =
            cora_create_task(chain.loop, cora_coroutine(step, struct job, .futures = { awaited }));
    }
    tick(chain.loop);
    return chain;
}

TEST(chain, "of tasks that await each other the innermost ends first, each outer one a tick later")
{
    struct chain chain = chain_new(await_in_vain);
    CHECK(cora_cancel_with(chain.tasks[0], "all of you"));
    CHECK(cora_cancelled(chain.future));
    for (int i = 0; i < CHAIN; i++)
        CHECK_INT(cora_cancelling(chain.tasks[i]), 1);
    for (int done = CHAIN - 1; done >= 0; done--) {
        tick(chain.loop);
        for (int i = 0; i < CHAIN; i++)
            CHECK_INT(cora_done(chain.tasks[i]), i >= done);
    }
    for (int i = 0; i < CHAIN; i++) {
        CHECK(cora_cancelled(chain.tasks[i]));
        CHECK_TEXT(outcome(chain.tasks[i]), "CancelledError: all of you");
    }
    end(chain.loop);
}

TEST(chain_from_the_middle, "a cancel in the middle goes inward as a request, outward as an error")
{
    struct chain chain = chain_new(await_in_vain);
    CHECK(cora_cancel(chain.tasks[2]));
    ticks(chain.loop, CHAIN);
    for (int i = 0; i < CHAIN; i++) {
        CHECK(cora_cancelled(chain.tasks[i]));
        CHECK_INT(cora_cancelling(chain.tasks[i]), i >= 2);
    }
    end(chain.loop);
}

TEST(chain_from_its_future, "if the future is cancelled all are, and none was asked")
{
    struct chain chain = chain_new(await_in_vain);
    CHECK(cora_cancel(chain.future));
    ticks(chain.loop, CHAIN);
    for (int i = 0; i < CHAIN; i++) {
        CHECK(cora_cancelled(chain.tasks[i]));
        CHECK_INT(cora_cancelling(chain.tasks[i]), 0);
    }
    end(chain.loop);
}

TEST(chain_refused, "if the innermost refuses, the others get its value: none of them is cancelled")
{
    struct chain chain = chain_new(try_future);
    CHECK(cora_cancel_with(chain.tasks[0], "please"));
    ticks(chain.loop, CHAIN);
    for (int i = 0; i < CHAIN; i++) {
        CHECK(!cora_cancelled(chain.tasks[i]));
        CHECK_TEXT(outcome(chain.tasks[i]), "\"CancelledError: please\"");
        CHECK_INT(cora_cancelling(chain.tasks[i]), 1);
    }
    end(chain.loop);
}

static cora_next refuse_for_long(cora_coro self)
{
    return cora_try(self, cora_sleep(10), refuse_for_long);
}

TEST(chain_not_ended, "as long as the innermost does not end the outer ones wait; each cancel "
                      "reaches it")
{
    struct chain chain = chain_new(refuse_for_long);
    struct reports reports;
    collect_reports(chain.loop, &reports);
    for (unsigned i = 1; i <= 3; i++) {
        CHECK(cora_cancel(chain.tasks[0]));
        ticks(chain.loop, 5);
        for (int k = 0; k < CHAIN; k++) {
            CHECK(!cora_done(chain.tasks[k]));
            CHECK_INT(cora_cancelling(chain.tasks[k]), i);
        }
    }
    end(chain.loop);
    CHECK_INT(reports.count, CHAIN);
}

TEST(chain_cancelled_twice, "a second cancel in the same tick counts for each, and is merged")
{
    struct chain chain = chain_new(await_in_vain);
    CHECK(cora_cancel_with(chain.tasks[0], "first"));
    CHECK(cora_cancel_with(chain.tasks[0], "second"));
    ticks(chain.loop, CHAIN);
    for (int i = 0; i < CHAIN; i++) {
        CHECK(cora_cancelled(chain.tasks[i]));
        CHECK_TEXT(outcome(chain.tasks[i]), "CancelledError: first"); /* the future's */
        CHECK_INT(cora_cancelling(chain.tasks[i]), 2);
    }
    end(chain.loop);
}

TEST(chain_on_its_way, "a cancel of the outermost while the inner ones end finds them done, and "
                       "is merged with what comes")
{
    struct chain chain = chain_new(await_in_vain);
    cora_cancel_with(chain.tasks[CHAIN - 1], "inner");
    ticks(chain.loop, 2);
    CHECK(cora_done(chain.tasks[2]));
    CHECK(!cora_done(chain.tasks[1]));
    CHECK(cora_cancel_with(chain.tasks[0], "outer"));
    CHECK_INT(cora_cancelling(chain.tasks[1]), 1); /* it is queued, and was asked */
    CHECK_INT(cora_cancelling(chain.tasks[2]), 0);
    ticks(chain.loop, 2);
    CHECK_TEXT(outcome(chain.tasks[1]), "CancelledError: inner");
    CHECK_TEXT(outcome(chain.tasks[0]), "CancelledError: inner");
    end(chain.loop);
}

static cora_next cancel_itself_and_await_nested(cora_coro self)
{
    struct job *job = JOB(self);
    CHECK(cora_cancel(current_task()));
    CHECK(!cora_done(job->futures[1]));
    return cora_await(self, job->futures[1], never);
}

static cora_next start_nested(cora_coro self)
{
    struct job *job = JOB(self);
    cora_future nested =
        cora_create_task(cora_running_loop(),
                         cora_coroutine(await_in_vain, struct job, .futures = { job->futures[0] }));
    job->futures[1] = *job->ret_task = cora_keep(nested);
    return cora_await(self, cora_sleep(0), cancel_itself_and_await_nested);
}

TEST(awaited_task, "one that cancels itself and then awaits a task asks that to end",
     "test_tasks.BaseTaskTests.test_cancel_awaited_task")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop), nested = { 0 };
    cora_future task = cora_create_task(
        loop, cora_coroutine(start_nested, struct job, .futures = { future }, .ret_task = &nested));
    ticks(loop, 2);
    CHECK(cora_cancelled(future));
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, task)), CORA_ECANCELLED);
    CHECK(cora_cancelled(task));
    CHECK(cora_cancelled(nested));
    CHECK_INT(cora_cancelling(nested), 1);
    CHECK_INT(cora_release(nested), 0);
    end(loop);
}

/* ---- messages ---- */

static cora_next read_child_result(cora_coro self)
{
    cora_value error = cora_result(JOB(self)->futures[0]);
    CHECK_INT(cora_error_code(error), CORA_ECANCELLED);
    return cora_raise(self, error);
}

static cora_next read_child_exception(cora_coro self)
{
    cora_value error = cora_exception(JOB(self)->futures[0]);
    CHECK_INT(cora_error_code(error), CORA_ECANCELLED);
    return cora_raise(self, error);
}

static const char *const messages[] = { NULL, "my message", "5", "" };

#define MESSAGES (sizeof messages / sizeof *messages)

static cora_next cancel_child_with(cora_coro self)
{
    struct job *job = JOB(self);
    bool result = job->number >= (int)MESSAGES;
    cora_cancel_with(job->futures[0], messages[job->number % (int)MESSAGES]);
    return cora_await(self, cora_wait(job->futures, 1, INFINITY, CORA_ALL_COMPLETED),
                      result ? read_child_result : read_child_exception);
}

static cora_next parent_of_a_sleeper(cora_coro self)
{
    struct job *job = JOB(self);
    job->futures[0] = cora_create_task(cora_running_loop(),
                                       cora_coroutine(sleep_in_vain, struct job, .seconds = 10));
    return cora_await(self, cora_sleep(0), cancel_child_with);
}

TEST(message, "the message of a cancel is in the error that is read of the task",
     "test_tasks.BaseTaskTests.test_cancel_with_message_then_future_result",
     "test_tasks.BaseTaskTests.test_cancel_with_message_then_future_exception")
{
    cora_loop loop = virtual_loop_new();
    for (int i = 0; i < 2 * (int)MESSAGES; i++) {
        const char *message = messages[i % (int)MESSAGES];
        cora_value error = cora_run_until_complete(
            loop, cora_coroutine(parent_of_a_sleeper, struct job, .number = i));
        CHECK_INT(cora_error_code(error), CORA_ECANCELLED);
        CHECK_TEXT(cora_error_message(error), message ? message : "");
    }
    end(loop);
}

TEST(last_message,
     "until Cancelled is raised the last cancel's message counts, none if it has none",
     "test_tasks.BaseTaskTests.test_task_cancel_message_setter")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = sleeping(loop, 10), other = sleeping(loop, 10);
    cora_cancel_with(task, "my message");
    cora_cancel_with(task, "new message");
    cora_cancel_with(other, "withdrawn");
    cora_cancel(other);
    tick(loop);
    CHECK_TEXT(outcome(task), "CancelledError: new message");
    CHECK_TEXT(outcome(other), "CancelledError");
    end(loop);
}

TEST(message_in_the_gap, "so it does for a task that is woken and has not gone on")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop), task = in_vain(loop, future);
    tick(loop);
    cora_set_result(future, cora_int(1));
    cora_cancel_with(task, "first");
    cora_cancel_with(task, "second");
    tick(loop);
    CHECK_TEXT(outcome(task), "CancelledError: second");
    end(loop);
}

static cora_next change_message(cora_coro self)
{
    CHECK_TEXT(cora_error_message(cora_caught(self)), "given");
    return cora_raise(self, cora_error(CORA_ECANCELLED, "changed"));
}

static cora_next try_and_change(cora_coro self)
{
    return cora_try(self, JOB(self)->futures[0], change_message);
}

TEST(message_changed, "the coroutine may raise another Cancelled, which is then read of the task")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_future task =
        cora_create_task(loop, cora_coroutine(try_and_change, struct job, .futures = { future }));
    tick(loop);
    cora_cancel_with(task, "given");
    tick(loop);
    CHECK(cora_cancelled(task));
    CHECK_TEXT(outcome(task), "CancelledError: changed");
    end(loop);
}

/* ---- counting, and taking back ---- */

static cora_next uncancelled(cora_coro self)
{
    CHECK(cora_error_is(cora_caught(self), CORA_ECANCELLED));
    CHECK_INT(cora_uncancel(current_task()), 0);
    return cora_await(self, cora_sleep(10), never);
}

static cora_next sleep_and_uncancel(cora_coro self)
{
    return cora_try(self, cora_sleep(10), uncancelled);
}

TEST(uncancel, "a coroutine that takes the cancel back goes on, and can be cancelled again",
     "test_tasks.BaseTaskTests.test_uncancel_basic")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(sleep_and_uncancel));
    run_for(loop, 0.01);
    CHECK(cora_cancel(task));
    CHECK(has(printed(task), "cancelling"));
    CHECK_INT(cora_cancelling(task), 1);
    CHECK(!cora_cancelled(task));
    CHECK(!cora_done(task));
    run_for(loop, 0.01);
    CHECK(!has(printed(task), "cancelling"));
    CHECK_INT(cora_cancelling(task), 0);
    CHECK(!cora_cancelled(task));
    CHECK(cora_cancel(task));
    CHECK_INT(cora_cancelling(task), 1);
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, task)), CORA_ECANCELLED);
    CHECK(cora_cancelled(task));
    CHECK(cora_done(task));
    CHECK_INT(cora_uncancel(task), 0);
    CHECK(cora_cancelled(task));
    CHECK(cora_done(task));
    end(loop);
}

/* A time-out by hand: a timer cancels the task, and what it has cancelled is taken back. */

struct scope {
    double timeout, nap;
    cora_handle timer;
    bool another_cancels, expired;
    bool timed_out, block_finished, outer_reached;
};

static void expire(cora_args bound)
{
    struct scope *scope = cora_arg(bound, 1, struct scope *);
    scope->expired = true;
    CHECK(cora_cancel(cora_arg_future(bound, 0)));
    if (scope->another_cancels)
        CHECK(cora_cancel(cora_arg_future(bound, 0)));
}

static cora_next nap_left(cora_coro self)
{
    struct scope *scope = *cora_locals(self, struct scope *);
    cora_handle_cancel(scope->timer);
    scope->block_finished = cora_is_nothing(cora_caught(self));
    if (scope->expired && cora_uncancel(current_task()) == 0 && !scope->block_finished)
        return cora_raise(self, cora_error_from(cora_caught(self), CORA_ETIMEOUT, NULL));
    return scope->block_finished ? cora_return(self, cora_nothing())
                                 : cora_raise(self, cora_caught(self));
}

static cora_next nap_in_a_scope(cora_coro self)
{
    struct scope *scope = *cora_locals(self, struct scope *);
    scope->timer = cora_call_later(cora_running_loop(), scope->timeout,
                                   cora_partial(expire, current_task(), scope));
    return cora_try(self, cora_sleep(scope->nap), nap_left);
}

static cora_next outer_is_over(cora_coro self)
{
    struct scope *scope = *cora_locals(self, struct scope *);
    scope->outer_reached = true;
    return cora_return(self, cora_nothing());
}

static cora_next after_the_scope(cora_coro self)
{
    struct scope *scope = *cora_locals(self, struct scope *);
    scope->timed_out = cora_error_is(cora_caught(self), CORA_ETIMEOUT);
    CHECK(scope->timed_out || cora_is_nothing(cora_caught(self)));
    return cora_await(self, cora_sleep(0), outer_is_over);
}

static cora_next around_the_scope(cora_coro self)
{
    struct scope *scope = *cora_locals(self, struct scope *);
    return cora_try(self, cora_coroutine(nap_in_a_scope, struct scope *, scope), after_the_scope);
}

TEST(structured, "who cancels a task and takes that back can tell its own cancel from others'",
     "test_tasks.BaseTaskTests.test_uncancel_structured_blocks")
{
    for (int late = 0; late < 2; late++) {
        cora_loop loop = virtual_loop_new();
        struct scope scope = { .timeout = late ? 10 : 0.1, .nap = late ? 0 : 10 }, *locals = &scope;
        cora_future task =
            cora_create_task(loop, cora_coroutine(around_the_scope, struct scope *, locals));
        cora_value value = cora_run_until_complete(loop, task);
        CHECK(cora_is_nothing(value));
        CHECK_INT(scope.timed_out, !late);
        CHECK_INT(scope.block_finished, late);
        CHECK(scope.outer_reached);
        CHECK_INT(cora_cancelling(task), 0);
        CHECK_REAL(cora_time(loop), START + (late ? 0 : 0.1), LATE);
        end(loop);
    }
}

TEST(structured_and_cancelled, "if another cancelled it, too, the cancel is not swallowed")
{
    cora_loop loop = virtual_loop_new();
    struct scope scope = { .timeout = 0.1, .nap = 10, .another_cancels = true }, *locals = &scope;
    cora_future task =
        cora_create_task(loop, cora_coroutine(nap_in_a_scope, struct scope *, locals));
    cora_run_until_complete(loop, task);
    CHECK(scope.expired);
    CHECK(cora_cancelled(task));
    CHECK_INT(cora_cancelling(task), 1);
    end(loop);
}

TEST(uncancel_in_the_gap, "a cancel that was taken back before Cancelled was raised never happened",
     "test_tasks.BaseTaskTests.test_uncancel_resets_must_cancel")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop), task = awaiting(loop, future);
    tick(loop);
    cora_set_result(future, cora_int(42));
    CHECK(cora_cancel(task));
    CHECK_INT(cora_cancelling(task), 1);
    CHECK_INT(cora_uncancel(task), 0);
    CHECK_INT(cora_cancelling(task), 0);
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, task)), 42);
    end(loop);
}

TEST(uncancel_before_the_start, "that holds for a task that has not begun, and for one of two")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop), task = awaiting(loop, future);
    cora_future other = in_vain(loop, future);
    cora_set_result(future, cora_int(42));
    CHECK(cora_cancel(task));
    CHECK_INT(cora_uncancel(task), 0);
    CHECK(cora_cancel(other));
    CHECK(cora_cancel(other));
    CHECK_INT(cora_uncancel(other), 1);
    tick(loop);
    CHECK_TEXT(outcome(task), "42");
    CHECK(cora_cancelled(other));
    end(loop);
}

TEST(uncancel_too_late, "what it awaits stays cancelled: only the count goes back")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop), task = in_vain(loop, future);
    cora_future sleeper = sleeping(loop, 10);
    tick(loop);
    cora_cancel(task);
    cora_cancel(sleeper);
    CHECK_INT(cora_uncancel(task), 0);
    CHECK_INT(cora_uncancel(sleeper), 0);
    tick(loop);
    CHECK(cora_cancelled(task));
    CHECK(cora_cancelled(sleeper));
    CHECK_INT(cora_cancelling(task), 0);
    end(loop);
}

TEST(uncancel_after_the_end,
     "taking back the cancel of a task that has failed all the same changes "
     "its count alone")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(cancel_itself_and_raise, struct job));
    ticks(loop, 2);
    CHECK(is_error(task, CORA_EVALUE));
    CHECK_INT(cora_uncancel(task), 0);
    CHECK(is_error(task, CORA_EVALUE));
    end(loop);
}

TEST(uncancel_of_none, "without a cancel there is nothing to take back")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = sleeping(loop, 10);
    CHECK_INT(cora_uncancel(task), 0);
    CHECK_INT(cora_cancelling(task), 0);
    CHECK(cora_cancel(task));
    CHECK_INT(cora_cancelling(task), 1);
    tick(loop);
    CHECK(cora_cancelled(task));
    end(loop);
}

TEST(count_after_the_end, "the count is not reset by the cancel that it led to; a done task cannot "
                          "be cancelled, and counts no more")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = sleeping(loop, 10);
    tick(loop);
    cora_cancel(task);
    cora_cancel(task);
    tick(loop);
    CHECK(cora_cancelled(task));
    CHECK_INT(cora_cancelling(task), 2);
    CHECK(!cora_cancel(task));
    CHECK_INT(cora_cancelling(task), 2);
    CHECK_INT(cora_uncancel(task), 1);
    CHECK(cora_cancelled(task));
    end(loop);
}

TEST(null_and_stale, "null and stale tasks cannot be cancelled")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_sleep(0));
    ticks(loop, 2);
    cora_release(task);
    tick(loop);
    CHECK(!cora_cancel(task));
    CHECK(!cora_cancel((cora_future){ 0 }));
    CHECK_INT(cora_cancelling(task), 0);
    end(loop);
}
