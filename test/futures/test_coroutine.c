/*
 * Coroutines: chains of step callbacks. First the same work as a callback and as steps; then what
 * a step may await, how errors go through, what it may return, and wrong use, which must be an
 * error and nothing worse. Then cora_finally, and what a coroutine owns: its locals, values that it
 * holds, futures and coroutines made in its steps; one that is never awaited is reported once.
 * Last threads, chains of a hundred thousand, and how one prints. Generators: test_generator.c.
 */
#include "coroutines.h"

#include <math.h>
#include <pthread.h>

/* ---- a callback, and the same as steps ---- */

static void on_whistle(cora_args bound, cora_future done)
{
    (void)done;
    *cora_arg(bound, 1, long long *) = cora_arg_int(bound, 0) * 250;
}

TEST(callback, "three cups as a callback: when the kettle whistles, it finds their number bound")
{
    cora_loop loop = current_loop_new();
    long long poured = 0;
    cora_when_done(cora_sleep(3), cora_partial(on_whistle, 3, &poured));
    run_for(loop, 4);
    CHECK_INT(poured, 750);
    current_loop_end(loop);
}

struct brew {
    int cups;
};

static cora_next whistled(cora_coro self)
{
    struct brew *brew = cora_locals(self, struct brew);
    return cora_return(self, brew->cups * 250);
}

static cora_next brew(cora_coro self)
{
    return cora_await(self, cora_sleep(3), whistled);
}

TEST(steps, "three cups as steps: the first ends where it waits, the next one goes on there")
{
    cora_loop loop = virtual_loop_new();
    cora_value poured = cora_run_until_complete(loop, cora_coroutine(brew, struct brew, .cups = 3));
    CHECK_INT(cora_as_int(poured), 750);
    CHECK_REAL(cora_time(loop), START + 3, LATE);
    end(loop);
}

static cora_next count_runs(cora_coro self)
{
    ++*JOB(self)->counter;
    return cora_return(self, cora_nothing());
}

TEST(nothing_before, "a coroutine object does nothing until somebody awaits it or a task drives it")
{
    cora_loop loop = virtual_loop_new();
    int runs = 0;
    cora_coro coro = cora_coroutine(count_runs, struct job, .counter = &runs);
    CHECK_INT(cora_coro_state(coro), CORA_CORO_CREATED);
    cora_future task = cora_create_task(loop, coro);
    CHECK_INT(runs, 0);
    tick(loop);
    CHECK_INT(runs, 1);
    CHECK(cora_done(task));
    end(loop);
}

static cora_next sum_up(cora_coro self)
{
    struct job *job = JOB(self);
    job->number += (int)cora_as_int(cora_got(self));
    return cora_return(self, job->number);
}

static cora_next second_part(cora_coro self)
{
    struct job *job = JOB(self);
    job->number = (int)cora_as_int(cora_got(self));
    return cora_await(self, cora_coroutine(give_number, struct job, .number = 1000), sum_up);
}

static cora_next two_parts(cora_coro self)
{
    return cora_await(self, cora_coroutine(give_number, struct job, .number = 42), second_part);
}

TEST(basics, "what two coroutines return, one after the other, is added up in the locals",
     "test_tasks.BaseTaskTests.test_task_basics")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, cora_coroutine(two_parts, struct job)), "1042");
    end(loop);
}

static cora_next spam(cora_coro self)
{
    return cora_return(self, "spam");
}

static cora_next await_spam(cora_coro self)
{
    return cora_await(self, cora_coroutine(spam), cora_return_got);
}

TEST(debug_mode, "a coroutine that awaits another gives its value on, in debug mode too",
     "test_pep492.CoroutineTests.test_async_def_coroutines")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, cora_coroutine(await_spam)), "\"spam\"");
    cora_set_debug(loop, true);
    CHECK_TEXT(ran(loop, cora_coroutine(await_spam)), "\"spam\"");
    end(loop);
}

/* ---- awaiting futures ---- */

TEST(await_pending, "what awaits a pending future goes on in the tick after it is done")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_future task = cora_create_task(loop, waiting_for(future));
    ticks(loop, 3);
    CHECK(!cora_done(task));
    cora_set_result(future, cora_int(5));
    CHECK(!cora_done(task));
    tick(loop);
    CHECK_TEXT(outcome(task), "5");
    end(loop);
}

TEST(await_done, "a future that is done is awaited without leaving: in the same tick")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_set_result(future, cora_int(5));
    cora_future task = cora_create_task(loop, waiting_for(future));
    tick(loop);
    CHECK_TEXT(outcome(task), "5");
    end(loop);
}

static cora_next again(cora_coro self)
{
    struct job *job = JOB(self);
    cora_call_soon(job->loop, cora_partial(note, job->notes, "tick"));
    return cora_await(self, job->future, cora_return_got);
}

static cora_next await_twice(cora_coro self)
{
    return cora_await(self, JOB(self)->future, again);
}

TEST(await_twice, "the second await of a future that somebody keeps gives the value again, at once",
     "test_futures.BaseFutureTests.test_yield_from_twice")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future future = cora_future_new(loop);
    cora_future task =
        cora_create_task(loop, cora_coroutine(await_twice, struct job, .future = future,
                                              .loop = loop, .notes = &notes));
    tick(loop);
    CHECK(!cora_done(task));
    cora_set_result(future, cora_int(42));
    tick(loop);
    CHECK_TEXT(outcome(task), "42");
    CHECK_TEXT(notes.text, "");
    end(loop);
}

TEST(await_failed, "a future that failed ends the coroutine that awaits it, with that very error")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future future = cora_future_new(loop);
    cora_future task = cora_create_task(loop, waiting_for(future));
    cora_value error = cora_copy(cora_error(CORA_EVALUE, "cold"));
    tick(loop);
    cora_set_exception(future, error);
    tick(loop);
    CHECK(cora_equal(cora_exception(task), error));
    cora_drop(error);
    end(loop);
    CHECK_INT(reports.count, 0); /* an awaited error counts as read */
}

TEST(await_failed_already, "one that has failed already does that in the same tick")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_set_exception(future, cora_error(CORA_EVALUE, "cold"));
    cora_future task = cora_create_task(loop, waiting_for(future));
    tick(loop);
    CHECK(is_error(task, CORA_EVALUE));
    end(loop);
}

TEST(await_cancelled, "a future that is cancelled raises Cancelled, with its message")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_future task = cora_create_task(loop, waiting_for(future));
    tick(loop);
    cora_cancel_with(future, "rained off");
    tick(loop);
    CHECK(cora_cancelled(task));
    CHECK_TEXT(outcome(task), "CancelledError: rained off");
    end(loop);
}

TEST(await_cancelled_already, "one that was cancelled already does that in the same tick")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_cancel(future);
    cora_future task = cora_create_task(loop, waiting_for(future));
    tick(loop);
    CHECK(cora_cancelled(task));
    end(loop);
}

TEST(await_stale, "a stale future raises StaleHandle, at once")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_set_result(future, cora_int(1));
    cora_release(future);
    tick(loop);
    cora_future task = cora_create_task(loop, waiting_for(future));
    tick(loop);
    CHECK(is_error(task, CORA_ESTALE));
    end(loop);
}

TEST(await_null, "a null future raises the error of reading it, at once")
{
    cora_loop loop = virtual_loop_new();
    cora_future null = { 0 };
    int code = cora_error_code(cora_result(null));
    cora_future task = cora_create_task(loop, waiting_for(null));
    tick(loop);
    CHECK_INT(cora_error_code(cora_exception(task)), code);
    end(loop);
}

TEST(await_other_loop, "a pending future of another loop raises a RuntimeError, a tick later")
{
    cora_loop loop = virtual_loop_new(), foreign = cora_loop_new(NULL);
    cora_future task = cora_create_task(loop, waiting_for(cora_future_new(foreign)));
    tick(loop);
    CHECK(!cora_done(task));
    tick(loop);
    CHECK(is_error(task, CORA_ERUNTIME));
    CHECK(says(cora_exception(task), "attached to a different loop"));
    cora_loop_close(foreign);
    end(loop);
}

TEST(await_other_loop_done, "one of another loop that is done already gives its value, as asyncio")
{
    cora_loop loop = virtual_loop_new(), foreign = cora_loop_new(NULL);
    cora_future future = cora_future_new(foreign);
    cora_set_result(future, cora_int(5));
    CHECK_TEXT(ran(loop, waiting_for(future)), "5");
    cora_loop_close(foreign);
    end(loop);
}

static cora_next await_own_task(cora_coro self)
{
    return cora_await(self, cora_current_task(cora_running_loop()), cora_return_got);
}

TEST(await_own_task, "its own task raises a RuntimeError, a tick later")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(await_own_task));
    tick(loop);
    CHECK(!cora_done(task));
    tick(loop);
    CHECK(is_error(task, CORA_ERUNTIME));
    CHECK(says(cora_exception(task), "Task cannot await on itself"));
    end(loop);
}

static cora_next try_own_task(cora_coro self)
{
    return cora_try(self, cora_current_task(cora_running_loop()), give_caught);
}

TEST(try_own_task, "what is wrong with the awaitable is caught like any other error")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(try_own_task));
    ticks(loop, 2);
    CHECK_INT(cora_error_code(cora_result(task)), CORA_ERUNTIME);
    CHECK(cora_is_nothing(cora_exception(task)));
    end(loop);
}

TEST(cancel_awaiting, "a cancel goes to what is awaited, and Cancelled is raised when that has "
                      "ended")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_future task = cora_create_task(loop, waiting_for(future));
    tick(loop);
    CHECK(cora_cancel_with(task, "closing time"));
    CHECK(cora_cancelled(future));
    CHECK(!cora_done(task));
    tick(loop);
    CHECK(cora_cancelled(task));
    CHECK_TEXT(outcome(task), "CancelledError: closing time");
    end(loop);
}

static cora_next end_slowly(cora_coro self)
{
    CHECK(cora_error_is(cora_caught(self), CORA_ECANCELLED));
    return cora_await(self, cora_sleep(5), cora_return_nothing);
}

static cora_next be_slow_to_end(cora_coro self)
{
    return cora_try(self, cora_sleep(1000), end_slowly);
}

static cora_next give_time_of_cancel(cora_coro self)
{
    return cora_return(self, cora_time(cora_running_loop()) - START);
}

static cora_next await_slow_task(cora_coro self)
{
    cora_future task = cora_create_task(cora_running_loop(), cora_coroutine(be_slow_to_end));
    return cora_try(self, task, give_time_of_cancel);
}

TEST(cancel_awaiting_task, "what takes its time to end is waited for, and here has taken no notice")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(await_slow_task));
    ticks(loop, 2);
    CHECK(cora_cancel(task));
    cora_value time = cora_run_until_complete(loop, task);
    CHECK_REAL(cora_as_real(time), 5, LATE);
    end(loop);
}

TEST(cancel_own_awaiting, "Cancelled may be caught, and the coroutine goes on")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(
        loop, cora_coroutine(try_future, struct job, .future = cora_future_new(loop)));
    tick(loop);
    cora_cancel(task);
    tick(loop);
    CHECK(!cora_cancelled(task));
    CHECK_TEXT(outcome(task), "CancelledError");
    end(loop);
}

static cora_next count_up(cora_coro self)
{
    struct job *job = JOB(self);
    if (++job->number == 100000)
        return cora_return(self, job->number);
    return cora_await(self, job->future, count_up);
}

TEST(loop_of_steps, "a step that names itself as the next is a loop; done futures take it no ticks")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_set_result(future, cora_nothing());
    cora_future task =
        cora_create_task(loop, cora_coroutine(count_up, struct job, .future = future));
    tick(loop);
    CHECK_TEXT(outcome(task), "100000");
    end(loop);
}

static cora_next go_to_other_step(cora_coro self)
{
    JOB(self)->number++;
    return give_number(self);
}

TEST(step_calls_step, "a step may return what another step of the coroutine returns")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, cora_coroutine(go_to_other_step, struct job, .number = 6)), "7");
    end(loop);
}

static cora_next look_at_got(cora_coro self)
{
    CHECK(cora_is_nothing(cora_got(self)));
    CHECK(cora_is_nothing(cora_caught(self)));
    return cora_return(self, 1);
}

TEST(first_step_got_nothing, "in a first step nothing was got, and nothing caught")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, cora_coroutine(look_at_got)), "1");
    end(loop);
}

/* ---- awaiting operations ---- */

TEST(await_sleep, "an operation starts where it is awaited, and its outcome goes on with the step")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, cora_coroutine(await_sleep)), "\"awake\"");
    CHECK_REAL(cora_time(loop), START + 1.5, LATE);
    end(loop);
}

static cora_next sleep_and_compute(cora_coro self)
{
    cora_next next = cora_await(self, cora_sleep_result(2, cora_int(5)), cora_return_got);
    cora_virtual_clock_advance(1);
    return next;
}

static cora_next bare_sleep_and_compute(cora_coro self)
{
    cora_next next = cora_await(self, cora_sleep(2), cora_return_nothing);
    cora_virtual_clock_advance(1);
    return next;
}

TEST(await_starts_now, "it starts in the call, not when the step returns")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, cora_coroutine(sleep_and_compute)), "5");
    CHECK_REAL(cora_time(loop), START + 2, LATE);
    ran(loop, cora_coroutine(bare_sleep_and_compute));
    CHECK_REAL(cora_time(loop), START + 4, 2 * LATE);
    end(loop);
}

static cora_next await_zero_sleep(cora_coro self)
{
    return cora_await(self, cora_sleep(0), cora_return_nothing);
}

TEST(await_zero_sleep, "a sleep of no time takes one tick")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(await_zero_sleep));
    tick(loop);
    CHECK(!cora_done(task));
    tick(loop);
    CHECK(cora_done(task));
    end(loop);
}

static cora_next await_sleep_nan(cora_coro self)
{
    return cora_await(self, cora_sleep((double)NAN), cora_return_got);
}

TEST(await_wrong_operation, "what is wrong with an operation's arguments is raised at the await")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(await_sleep_nan));
    ticks(loop, 2);
    CHECK(is_error(task, CORA_EVALUE));
    end(loop);
}

static cora_next tell_waited(cora_coro self)
{
    return cora_return(self, (long)cora_list_size(cora_list_at(cora_got(self), 0)));
}

static cora_next await_array(cora_coro self)
{
    struct job *job = JOB(self);
    cora_future both[2] = { job->future, job->other };
    return cora_await(self, cora_wait(both, 2, INFINITY, CORA_ALL_COMPLETED), tell_waited);
}

TEST(await_array_on_stack, "what an operation borrows need only live until the await returns")
{
    cora_loop loop = virtual_loop_new();
    cora_future both[2];
    make_futures(loop, both, 2);
    cora_future task = cora_create_task(
        loop, cora_coroutine(await_array, struct job, .future = both[0], .other = both[1]));
    tick(loop);
    cora_set_result(both[0], cora_int(1));
    cora_set_result(both[1], cora_int(2));
    ticks(loop, 2);
    CHECK_TEXT(outcome(task), "2");
    end(loop);
}

TEST(cancel_sleep, "a cancelled sleep leaves nothing in the loop")
{
    cora_loop loop = virtual_loop_new();
    size_t before = cora_live(loop);
    cora_spawn(loop, cora_coroutine(await_sleep));
    tick(loop);
    CHECK_INT(cora_list_size(cora_all_tasks(loop)), 1);
    cora_cancel(cora_as_future(cora_list_at(cora_all_tasks(loop), 0)));
    ticks(loop, 3);
    CHECK_INT(cora_live(loop), before);
    end(loop);
}

/* What is awaited as a cora_awaitable, whatever it is. */
struct anything {
    cora_awaitable what;
};

static cora_next await_anything(cora_coro self)
{
    return cora_await(self, cora_locals(self, struct anything)->what, cora_return_got);
}

TEST(await_awaitable, "an awaitable of a future is awaited as the future")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_set_result(future, cora_int(5));
    cora_future task = cora_create_task(
        loop, cora_coroutine(await_anything, struct anything, .what = cora_awaitable_of(future)));
    tick(loop);
    CHECK_TEXT(outcome(task), "5");
    end(loop);
}

static cora_next await_awaitable_of_coroutine(cora_coro self)
{
    cora_awaitable what = cora_awaitable_of(cora_coroutine(give_number, struct job, .number = 6));
    return cora_await(self, what, cora_return_got);
}

TEST(await_awaitable_of_coroutine, "an awaitable of a coroutine is awaited in place, too")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(await_awaitable_of_coroutine));
    tick(loop);
    CHECK_TEXT(outcome(task), "6");
    CHECK_INT(cora_list_size(cora_all_tasks(loop)), 0);
    end(loop);
}

/* ---- awaiting coroutines ---- */

TEST(await_coroutine_at_once, "a coroutine that need not wait ends in the step that awaits it")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, awaiting(give_number));
    tick(loop);
    CHECK_TEXT(outcome(task), "6");
    end(loop);
}

TEST(await_coroutine_suspended, "one that waits suspends those that await it; all go on together")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_future task =
        cora_create_task(loop, cora_coroutine(await_waiting, struct job, .future = future));
    ticks(loop, 2);
    CHECK(!cora_done(task));
    CHECK_INT(cora_live_coroutines(), 2);
    cora_set_result(future, cora_int(5));
    tick(loop);
    CHECK_TEXT(outcome(task), "5");
    end(loop);
}

TEST(error_through_await, "an error of the inner coroutine ends the outer one, too")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, awaiting(raise_value_error));
    tick(loop);
    CHECK(is_error(task, CORA_EVALUE));
    end(loop);
}

TEST(error_caught, "cora_try catches an error of the inner coroutine")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, trying(raise_value_error));
    tick(loop);
    CHECK(cora_is_nothing(cora_exception(task)));
    CHECK_TEXT(outcome(task), "ValueError: spilled");
    end(loop);
}

TEST(cancel_nested, "a cancel reaches the innermost first: a future there, then all that await it")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_future task =
        cora_create_task(loop, cora_coroutine(await_waiting, struct job, .future = future));
    tick(loop);
    cora_cancel(task);
    CHECK(cora_cancelled(future));
    tick(loop);
    CHECK(cora_cancelled(task));
    end(loop);
}

static cora_next await_null_coro(cora_coro self)
{
    return cora_await(self, (cora_coro){ 0 }, cora_return_got);
}

TEST(await_null_coroutine, "a null coroutine raises an error, at once")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(await_null_coro));
    tick(loop);
    CHECK(cora_is_error(cora_exception(task)));
    end(loop);
}

static cora_next await_without_step(cora_coro self)
{
    return cora_await(self, cora_coroutine(JOB(self)->step), cora_return_got); /* which is NULL */
}

TEST(await_without_step, "one that could not be made raises the error that made it null: without a "
                         "step it is a TypeError")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(await_without_step, struct job));
    tick(loop);
    CHECK(is_error(task, CORA_ETYPE));
    end(loop);
}

/* ---- coroutines that are passed on ---- */

static cora_next await_given(cora_coro self)
{
    return cora_await(self, JOB(self)->coro, cora_return_got);
}

static cora_coro number(int value)
{
    return cora_coroutine(give_number, struct job, .number = value);
}

/* outer(inner()) */
static cora_coro outer_of(cora_coro inner)
{
    cora_coro outer = cora_coroutine(await_given, struct job, .coro = inner);
    cora_value held = cora_hold(outer, cora_from(inner));
    CHECK(cora_same(cora_as_coro(held), inner));
    return outer;
}

TEST(outer_of_inner, "a coroutine that is passed to another, and held by it, can be awaited by it")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    CHECK_TEXT(ran(loop, outer_of(number(6))), "6");
    CHECK_TEXT(ran(loop, outer_of(outer_of(outer_of(number(7))))), "7");
    CHECK_INT(reports.count, 0);
    end(loop);
}

static void start_outer(cora_args bound)
{
    cora_future task = cora_create_task(cora_running_loop(), outer_of(number(6)));
    *cora_arg(bound, 0, cora_future *) = cora_keep(task);
}

TEST(outer_of_inner_in_callback, "in a callback, too")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = { 0 };
    run_in(loop, cora_partial(start_outer, &task));
    tick(loop);
    CHECK_TEXT(outcome(task), "6");
    cora_release(task);
    end(loop);
}

static cora_next start_outer_later(cora_coro self)
{
    cora_future task = cora_create_task(cora_running_loop(), outer_of(JOB(self)->coro));
    return cora_return(self, cora_keep(task));
}

static cora_next make_inner_first(cora_coro self)
{
    JOB(self)->coro = number(6);
    return cora_await(self, cora_sleep(1), start_outer_later);
}

TEST(outer_of_inner_in_step,
     "also in a later step than the one that it was made in, whose coroutine "
     "may end then")
{
    cora_loop loop = virtual_loop_new();
    cora_future task =
        cora_as_future(cora_run_until_complete(loop, cora_coroutine(make_inner_first, struct job)));
    ticks(loop, 2);
    CHECK_TEXT(outcome(task), "6");
    cora_release(task);
    end(loop);
}

struct ten {
    cora_coro coros[10];
};

static cora_next gather_ten(cora_coro self)
{
    struct ten *ten = cora_locals(self, struct ten);
    return cora_await(self, cora_gather(cora_running_loop(), ten->coros, 10), cora_return_got);
}

TEST(outer_of_ten, "there may be many of them")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_coro outer = cora_coroutine(gather_ten, struct ten);
    for (int i = 0; i < 10; i++) {
        cora_coro inner = number(i);
        cora_locals(outer, struct ten)->coros[i] = inner;
        cora_hold(outer, cora_from(inner));
    }
    CHECK_TEXT(ran(loop, outer), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]");
    CHECK_INT(reports.count, 0);
    end(loop);
}

static cora_next sleep_then_await_given(cora_coro self)
{
    return cora_await(self, cora_sleep(60), await_given);
}

TEST(held_by_two, "the last one that holds it is the owner")
{
    cora_loop loop = virtual_loop_new();
    cora_coro inner = number(6), first = number(5);
    cora_coro second = cora_coroutine(sleep_then_await_given, struct job, .coro = inner);
    cora_hold(first, cora_from(inner));
    cora_hold(second, cora_from(inner));
    cora_future task = cora_create_task(loop, second);
    CHECK_TEXT(ran(loop, first), "5");
    CHECK_INT(cora_coro_state(inner), CORA_CORO_CREATED);
    CHECK_TEXT((cora_run_until_complete(loop, task), outcome(task)), "6");
    end(loop);
}

static cora_next hold_given(cora_coro self)
{
    cora_hold(self, cora_from(JOB(self)->coro));
    return cora_yield(self, 1, await_given);
}

TEST(held_in_a_drive, "one that was made outside may be held by the step that is driven by hand")
{
    cora_coro inner = number(6);
    cora_coro holding = cora_generator(hold_given, struct job, .coro = inner);
    cora_value value;
    CHECK_INT(cora_send(holding, cora_nothing(), &value), 1);
    cora_drop_temporaries();
    CHECK_INT(cora_coro_state(inner), CORA_CORO_CREATED);
    CHECK_INT(cora_send(holding, cora_nothing(), &value), 0);
    CHECK_INT(cora_as_int(value), 6);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(held_by_itself, "one that is told to hold itself is nobody's as before")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_coro coro = number(6);
    cora_hold(coro, cora_from(coro));
    tick(loop);
    CHECK_INT(reports.count, 1);
    end(loop);
}

static cora_next return_coroutine(cora_coro self)
{
    return cora_return(self, number(6));
}

static cora_next return_what_is_returned(cora_coro self)
{
    return cora_await(self, cora_coroutine(return_coroutine), cora_return_got);
}

static cora_next await_got_later(cora_coro self)
{
    JOB(self)->coro = cora_as_coro(cora_got(self));
    return cora_await(self, cora_sleep(1), await_given);
}

static cora_next await_returned(cora_coro self)
{
    return cora_await(self, cora_coroutine(return_what_is_returned), await_got_later);
}

TEST(returned_coroutine, "a coroutine that is returned is who awaits it's: await (await f())")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    CHECK_TEXT(ran(loop, cora_coroutine(await_returned, struct job)), "6");
    CHECK_INT(reports.count, 0);
    end(loop);
}

static cora_next ignore_returned(cora_coro self)
{
    return cora_await(self, cora_coroutine(return_coroutine), cora_return_nothing);
}

TEST(returned_coroutine_forgotten, "and reported when that ends, if it is not awaited")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_run_until_complete(loop, cora_coroutine(ignore_returned));
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "coroutine 'give_number' was never awaited");
    end(loop);
}

/* ---- errors ---- */

static void check_caught(const char *expected, const char *caught, cora_value got)
{
    char text[200];
    cora_print(got, text, sizeof text);
    CHECK_TEXT(text, expected);
    CHECK_TEXT(caught, expected);
}

static cora_next look_at_error(cora_coro self)
{
    char caught[200];
    cora_print(cora_caught(self), caught, sizeof caught);
    check_caught("ValueError: cold", caught, cora_got(self));
    return cora_return(self, 1);
}

static cora_next try_and_look(cora_coro self)
{
    return cora_try(self, JOB(self)->future, look_at_error);
}

TEST(try_error, "after cora_try an error is what was got and what was caught")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_set_exception(future, cora_error(CORA_EVALUE, "cold"));
    CHECK_TEXT(ran(loop, cora_coroutine(try_and_look, struct job, .future = future)), "1");
    end(loop);
}

static cora_next look_at_value(cora_coro self)
{
    CHECK(cora_is_nothing(cora_caught(self)));
    return cora_return(self, cora_got(self));
}

static cora_next try_value(cora_coro self)
{
    return cora_try(self, JOB(self)->future, look_at_value);
}

TEST(try_value, "after cora_try of what went well, the value is got and nothing is caught")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_set_result(future, cora_int(5));
    CHECK_TEXT(ran(loop, cora_coroutine(try_value, struct job, .future = future)), "5");
    end(loop);
}

TEST(error_as_value, "an error that is a future's value is a value: not raised, and not caught")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_set_result(future, cora_error(CORA_ELOOKUP, "a value"));
    cora_future awaiting = cora_create_task(loop, waiting_for(future));
    cora_future trying =
        cora_create_task(loop, cora_coroutine(try_value, struct job, .future = future));
    tick(loop);
    CHECK(cora_is_nothing(cora_exception(awaiting)));
    CHECK_TEXT(outcome(awaiting), "LookupError: a value");
    CHECK(cora_is_nothing(cora_exception(trying)));
    CHECK_TEXT(outcome(trying), "LookupError: a value");
    end(loop);
}

static cora_next return_error(cora_coro self)
{
    return cora_return(self, cora_error(CORA_ELOOKUP, "a value"));
}

TEST(error_returned, "an error that is returned is a value: the coroutine has not failed")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(return_error));
    tick(loop);
    CHECK(cora_is_nothing(cora_exception(task)));
    CHECK_TEXT(outcome(task), "LookupError: a value");
    CHECK_TEXT(ran(loop, trying(return_error)), "-1");
    end(loop);
}

static cora_next nothing_caught_any_more(cora_coro self)
{
    CHECK(cora_is_nothing(cora_caught(self)));
    return cora_return(self, cora_got(self));
}

static cora_next await_after_catching(cora_coro self)
{
    CHECK(cora_is_error(cora_caught(self)));
    return cora_await(self, JOB(self)->other, nothing_caught_any_more);
}

static cora_next catch_then_await(cora_coro self)
{
    return cora_try(self, JOB(self)->future, await_after_catching);
}

TEST(caught_is_over, "what was caught is over with the step that caught it")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop), other = cora_future_new(loop);
    cora_set_exception(future, cora_error(CORA_EVALUE, "cold"));
    cora_set_result(other, cora_int(5));
    CHECK_TEXT(
        ran(loop, cora_coroutine(catch_then_await, struct job, .future = future, .other = other)),
        "5");
    end(loop);
}

static cora_next raise_caught(cora_coro self)
{
    return cora_raise(self, cora_error_from(cora_caught(self), CORA_ERUNTIME, "no tea"));
}

static cora_next try_then_raise(cora_coro self)
{
    return cora_try(self, cora_coroutine(raise_value_error), raise_caught);
}

TEST(raise_from, "an error that was caught may be the cause of the one that is raised")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(try_then_raise));
    tick(loop);
    CHECK(is_error(task, CORA_ERUNTIME));
    CHECK_INT(cora_error_code(cora_error_cause(cora_exception(task))), CORA_EVALUE);
    end(loop);
}

static cora_next raise_cancelled(cora_coro self)
{
    return cora_raise(self, cora_error(CORA_ECANCELLED, "enough"));
}

TEST(raise_cancelled, "Cancelled is raised as any other error; the task is cancelled then")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(raise_cancelled));
    tick(loop);
    CHECK(cora_cancelled(task));
    CHECK_TEXT(outcome(task), "CancelledError: enough");
    end(loop);
}

static cora_next raise_number(cora_coro self)
{
    return cora_raise(self, cora_int(5));
}

TEST(raise_no_error, "to raise what is no error is a TypeError")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(raise_number));
    tick(loop);
    CHECK(is_error(task, CORA_ETYPE));
    end(loop);
}

TEST(fail_in_a_step, "cora_fail in a step raises in the coroutine, whatever the step returns")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future task = cora_create_task(loop, cora_coroutine(fail_and_return));
    tick(loop);
    CHECK(is_error(task, CORA_EVALUE));
    end(loop);
    CHECK_INT(reports.count, 0);
}

TEST(fail_is_caught, "a failure of an inner step is caught by whoever awaits it with cora_try")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, trying(fail_and_return)), "ValueError: burnt");
    end(loop);
}

static cora_next fail_twice(cora_coro self)
{
    cora_fail(cora_error(CORA_EVALUE, "burnt"));
    cora_fail(cora_error(CORA_ELOOKUP, "no milk"));
    return cora_return(self, 5);
}

TEST(fail_twice, "of several failures in a step the last is raised")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, cora_coroutine(fail_twice)), "LookupError: no milk");
    end(loop);
}

static cora_next fail_and_wait(cora_coro self)
{
    cora_fail(cora_error(CORA_EVALUE, "burnt"));
    return cora_await(self, cora_wait(&JOB(self)->future, 1, INFINITY, CORA_ALL_COMPLETED),
                      cora_return_nothing);
}

TEST(fail_and_await, "a step that failed awaits nothing: the operation that it began is no more")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    size_t before = cora_live(loop);
    CHECK_TEXT(ran(loop, cora_coroutine(fail_and_wait, struct job, .future = future)),
               "ValueError: burnt");
    ticks(loop, 3);
    CHECK_INT(cora_live(loop), before);
    end(loop);
}

static cora_next fail_and_await_inner(cora_coro self)
{
    cora_fail(cora_error(CORA_EVALUE, "burnt"));
    return cora_await(
        self,
        cora_coroutine_owning(give_number, drop_job, struct job, .counter = JOB(self)->counter),
        cora_return_nothing);
}

TEST(fail_and_await_inner, "a coroutine that it was to await never begins: it is never awaited")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    int drops = 0;
    collect_reports(loop, &reports);
    CHECK_TEXT(ran(loop, cora_coroutine(fail_and_await_inner, struct job, .counter = &drops)),
               "ValueError: burnt");
    CHECK_INT(drops, 1);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "coroutine 'give_number' was never awaited");
    end(loop);
}

static cora_next read_wrong_type(cora_coro self)
{
    return cora_return(self, cora_as_int(cora_text("five")));
}

TEST(wrong_type, "reading a value as the wrong type in a step raises a TypeError there")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(read_wrong_type));
    tick(loop);
    CHECK(is_error(task, CORA_ETYPE));
    end(loop);
}

/* ---- returning ---- */

static cora_next return_int(cora_coro self)
{
    return cora_return(self, 42);
}

static cora_next return_real(cora_coro self)
{
    return cora_return(self, 1.5);
}

static cora_next return_chars(cora_coro self)
{
    char text[] = "Earl Grey";
    cora_next next = cora_return(self, text);
    memset(text, 'x', sizeof text - 1);
    return next;
}

static cora_next return_list(cora_coro self)
{
    cora_value values[3] = { cora_int(1), cora_text("two"), cora_nothing() };
    return cora_return(self, cora_list(values, 3));
}

static cora_next return_truth(cora_coro self)
{
    return cora_return(self, 2 > 1);
}

TEST(return_values, "a coroutine returns numbers, texts (which are copied), lists and nothing")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, cora_coroutine(return_int)), "42");
    CHECK_TEXT(ran(loop, cora_coroutine(return_real)), "1.5");
    CHECK_TEXT(ran(loop, cora_coroutine(return_chars)), "\"Earl Grey\"");
    CHECK_TEXT(ran(loop, cora_coroutine(return_truth)), "1");
    CHECK(cora_is_nothing(cora_run_until_complete(loop, cora_coroutine(cora_return_nothing))));
    cora_value list = cora_run_until_complete(loop, cora_coroutine(return_list));
    CHECK_INT(cora_list_size(list), 3);
    CHECK_TEXT(cora_as_text(cora_list_at(list, 1)), "two");
    end(loop);
}

static cora_next nothing_then_number(cora_coro self)
{
    cora_finally(self, cora_return_nothing);
    return cora_return(self, 5);
}

TEST(ready_made_steps, "cora_return_got ends with what was awaited, of a first step nothing; "
                       "cora_return_nothing ends with nothing, in clean-up too")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_set_result(future, cora_int(5));
    CHECK_TEXT(ran(loop, waiting_for(future)), "5");
    CHECK(cora_is_nothing(cora_run_until_complete(loop, cora_coroutine(cora_return_got))));
    CHECK(cora_is_nothing(cora_run_until_complete(loop, cora_coroutine(cora_return_nothing))));
    CHECK(cora_is_nothing(cora_run_until_complete(loop, cora_coroutine(nothing_then_number))));
    end(loop);
}

static cora_next return_future(cora_coro self)
{
    return cora_return(self, JOB(self)->future);
}

TEST(return_future, "a future that is returned is a value: nobody awaits it")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_future task =
        cora_create_task(loop, cora_coroutine(return_future, struct job, .future = future));
    tick(loop);
    CHECK(cora_same(cora_as_future(cora_result(task)), future));
    CHECK(!cora_done(future));
    end(loop);
}

static cora_next return_counted(cora_coro self)
{
    return cora_return(self, cora_own(JOB(self)->counter, &counted));
}

static cora_next await_counted(cora_coro self)
{
    struct job *job = JOB(self);
    return cora_await(self, cora_coroutine(return_counted, struct job, .counter = job->counter),
                      cora_return_got);
}

TEST(return_counted, "a value that goes through many hands is dropped once, with the last of them")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    cora_future task =
        cora_create_task(loop, cora_coroutine(await_counted, struct job, .counter = &drops));
    ticks(loop, 3);
    CHECK_INT(drops, 0);
    CHECK(cora_as_pointer(cora_result(task)) == &drops);
    cora_release(task);
    tick(loop);
    CHECK_INT(drops, 1);
    end(loop);
    CHECK_INT(drops, 1);
}

static cora_next ignore_counted(cora_coro self)
{
    struct job *job = JOB(self);
    return cora_await(self, cora_coroutine(return_counted, struct job, .counter = job->counter),
                      give_number);
}

TEST(return_ignored, "a value that nobody looks at is dropped when the step has returned")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    cora_future task =
        cora_create_task(loop, cora_coroutine(ignore_counted, struct job, .counter = &drops));
    tick(loop);
    CHECK(cora_done(task));
    CHECK_INT(drops, 1);
    end(loop);
    CHECK_INT(drops, 1);
}

/* ---- wrong use ---- */

static cora_next return_zeros(cora_coro self)
{
    (void)self;
    return (cora_next){ 0 };
}

TEST(zeroed_next, "a step that returns what no call has given it raises a RuntimeError")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(return_zeros));
    tick(loop);
    CHECK(is_error(task, CORA_ERUNTIME));
    CHECK(says(cora_exception(task), "return_zeros"));
    end(loop);
}

static cora_next stored_next;

static cora_next return_stored(cora_coro self)
{
    (void)self;
    return stored_next;
}

static cora_next store_next(cora_coro self)
{
    return stored_next = cora_await(self, JOB(self)->future, return_stored);
}

TEST(next_of_before, "what an earlier step was given is no answer in a later one")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_set_result(future, cora_int(5));
    cora_future task =
        cora_create_task(loop, cora_coroutine(store_next, struct job, .future = future));
    tick(loop);
    CHECK(is_error(task, CORA_ERUNTIME));
    end(loop);
}

static cora_next ask_twice(cora_coro self)
{
    cora_next first = cora_return(self, cora_own(JOB(self)->counter, &counted));
    (void)first;
    return cora_await(self, JOB(self)->future, cora_return_got);
}

TEST(ask_twice, "of what a step asks for the last counts; a value asked for before is dropped")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    int drops = 0;
    cora_future task = cora_create_task(
        loop, cora_coroutine(ask_twice, struct job, .future = future, .counter = &drops));
    tick(loop);
    CHECK(!cora_done(task));
    CHECK_INT(drops, 1);
    cora_set_result(future, cora_int(5));
    tick(loop);
    CHECK_TEXT(outcome(task), "5");
    end(loop);
}

static cora_next return_twice(cora_coro self)
{
    cora_next first = cora_return(self, cora_own(JOB(self)->counter, &counted));
    (void)first;
    return cora_return(self, cora_text("the second"));
}

TEST(return_twice, "also if it returns twice")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    CHECK_TEXT(ran(loop, cora_coroutine(return_twice, struct job, .counter = &drops)),
               "\"the second\"");
    CHECK_INT(drops, 1);
    end(loop);
}

static cora_next ask_twice_for_first(cora_coro self)
{
    cora_next first = cora_return(self, cora_own(JOB(self)->counter, &counted));
    cora_next second = cora_await(self, JOB(self)->future, cora_return_got);
    (void)second;
    return first;
}

TEST(ask_twice_for_first, "a step that does not return what it asked for last raises a "
                          "RuntimeError")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    cora_future task =
        cora_create_task(loop, cora_coroutine(ask_twice_for_first, struct job,
                                              .future = cora_future_new(loop), .counter = &drops));
    tick(loop);
    CHECK(is_error(task, CORA_ERUNTIME));
    CHECK_INT(drops, 1);
    end(loop);
}

static cora_next await_two_for_first(cora_coro self)
{
    struct job *job = JOB(self);
    cora_next first = cora_await(self, job->future, cora_return_got);
    cora_next second = cora_await(self, job->other, cora_return_got);
    (void)second;
    return first;
}

TEST(await_two_for_first, "that is found out also if both were of the same kind")
{
    cora_loop loop = virtual_loop_new();
    cora_future both[2];
    make_futures(loop, both, 2);
    cora_future task = cora_create_task(
        loop, cora_coroutine(await_two_for_first, struct job, .future = both[0], .other = both[1]));
    tick(loop);
    CHECK(is_error(task, CORA_ERUNTIME));
    end(loop);
}

static cora_next sleep_twice(cora_coro self)
{
    cora_next first = cora_await(self, cora_sleep_result(60, cora_int(1)), cora_return_nothing);
    (void)first;
    return cora_await(self, cora_sleep(1), cora_return_nothing);
}

TEST(sleep_twice, "an operation that a step began, and then asked for another, is no more")
{
    cora_loop loop = virtual_loop_new();
    size_t before = cora_live(loop);
    ran(loop, cora_coroutine(sleep_twice));
    ticks(loop, 3);
    CHECK_INT(cora_live(loop), before);
    end(loop);
}

static cora_next answer_for_other(cora_coro self)
{
    struct job *job = JOB(self);
    cora_next next = cora_return(job->coro, 7);
    job->number = cora_error_code(cora_last_error());
    CHECK_INT(job->number, CORA_ERUNTIME);
    return next;
}

TEST(other_handle, "a step cannot answer for another coroutine: that goes on undisturbed")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_coro other = waiting_for(future);
    cora_future task = cora_create_task(loop, other);
    tick(loop);
    cora_future wrong =
        cora_create_task(loop, cora_coroutine(answer_for_other, struct job, .coro = other));
    tick(loop);
    CHECK(is_error(wrong, CORA_ERUNTIME));
    cora_set_result(future, cora_int(5));
    tick(loop);
    CHECK_TEXT(outcome(task), "5");
    end(loop);
}

/* Nothing may come of a handle whose step does not run. */
static void check_no_step(cora_coro self)
{
    cora_future null = { 0 };
    cora_next next[] = {
        cora_await(self, null, cora_return_got),
        cora_await(self, cora_sleep(1), cora_return_got),
        cora_await(self, self, cora_return_got),
        cora_yield(self, 1, cora_return_got),
        cora_yield_from(self, self, cora_return_got),
        cora_return(self, 5),
        cora_raise(self, cora_error(-1, NULL)),
        cora_go_on(self),
    };
    for (size_t i = 0; i < sizeof next / sizeof *next; i++)
        CHECK_INT(next[i].what, 0);
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ERUNTIME);
    CHECK_INT(cora_finally(self, cora_return_got), CORA_ERUNTIME);
    CHECK(cora_is_nothing(cora_got(self)));
    CHECK(cora_is_nothing(cora_caught(self)));
}

TEST(handle_while_suspended, "outside of its steps a coroutine cannot be told what it does next")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_coro coro = waiting_for(future);
    cora_future task = cora_create_task(loop, coro);
    tick(loop);
    check_no_step(coro);
    cora_set_result(future, cora_int(5));
    tick(loop);
    CHECK_TEXT(outcome(task), "5");
    end(loop);
}

TEST(handle_after_the_end, "after the end its handle is stale: every call on it is an error")
{
    cora_loop loop = virtual_loop_new();
    cora_coro coro = cora_coroutine(give_number, struct job, .number = 6);
    CHECK_TEXT(ran(loop, coro), "6");
    check_no_step(coro);
    CHECK(!JOB(coro));
    CHECK(cora_is_error(cora_hold(coro, cora_int(5))));
    CHECK_INT(cora_coro_state(coro), CORA_CORO_CLOSED);
    CHECK_INT(cora_coro_close(coro), 0);
    end(loop);
}

TEST(handle_of_another_kind, "what is no coroutine's handle is refused as a stale one")
{
    cora_loop loop = virtual_loop_new();
    cora_coro wrong = { cora_future_new(loop).bits };
    check_no_step(wrong);
    CHECK(!JOB(wrong));
    CHECK(cora_is_error(cora_hold(wrong, cora_int(5))));
    CHECK_INT(cora_coro_state(wrong), CORA_CORO_CLOSED);
    CHECK_INT(cora_send(wrong, cora_nothing(), NULL), CORA_ESTALE);
    CHECK(cora_coro_close(wrong) < 0);
    CHECK(cora_is_null(cora_create_task(loop, wrong)));
    end(loop);
}

TEST(null_handle, "every call on a null handle is an error, too")
{
    cora_loop loop = virtual_loop_new();
    cora_coro null = { 0 };
    check_no_step(null);
    CHECK(!JOB(null));
    CHECK(cora_is_error(cora_hold(null, cora_int(5))));
    CHECK_INT(cora_coro_state(null), CORA_CORO_CLOSED);
    CHECK(cora_send(null, cora_nothing(), NULL) < 0);
    CHECK(cora_throw(null, cora_error(CORA_EVALUE, NULL), NULL) < 0);
    CHECK(cora_coro_close(null) < 0);
    CHECK(cora_is_null(cora_generator_coroutine(null)));
    end(loop);
}

/* ---- finally ---- */

static cora_next note_second(cora_coro self)
{
    add_note(JOB(self)->notes, "second");
    return cora_go_on(self);
}

/* Registers both, and goes on as the job says: to a step, or to wait for its future. */
static cora_next clean_up_twice(cora_coro self)
{
    struct job *job = JOB(self);
    CHECK_INT(cora_finally(self, note_first), 0);
    CHECK_INT(cora_finally(self, note_second), 0);
    return job->step ? job->step(self) : cora_await(self, job->future, cora_return_got);
}

TEST(finally_on_return, "clean-up runs when the coroutine returns, the one registered last first; "
                        "then its value goes on")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    CHECK_TEXT(ran(loop, cora_coroutine(clean_up_twice, struct job, .notes = &notes,
                                        .step = give_number, .number = 6)),
               "6");
    CHECK_TEXT(notes.text, "second first");
    end(loop);
}

TEST(finally_on_raise, "clean-up runs when the coroutine raises; then its error goes on")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future task =
        cora_create_task(loop, cora_coroutine(clean_up_twice, struct job, .notes = &notes,
                                              .step = raise_value_error));
    tick(loop);
    CHECK(is_error(task, CORA_EVALUE));
    CHECK_TEXT(notes.text, "second first");
    end(loop);
}

TEST(finally_on_error, "clean-up runs when an awaited error ends the coroutine")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future future = cora_future_new(loop);
    cora_future task = cora_create_task(
        loop, cora_coroutine(clean_up_twice, struct job, .notes = &notes, .future = future));
    tick(loop);
    CHECK_TEXT(notes.text, "");
    cora_set_exception(future, cora_error(CORA_EVALUE, "cold"));
    tick(loop);
    CHECK(is_error(task, CORA_EVALUE));
    CHECK_TEXT(notes.text, "second first");
    end(loop);
}

TEST(finally_on_cancel, "clean-up runs when the coroutine is cancelled; it is cancelled then")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future task =
        cora_create_task(loop, cora_coroutine(clean_up_twice, struct job, .notes = &notes,
                                              .future = cora_future_new(loop)));
    tick(loop);
    cora_cancel_with(task, "closing time");
    tick(loop);
    CHECK_TEXT(outcome(task), "CancelledError: closing time");
    CHECK_TEXT(notes.text, "second first");
    end(loop);
}

TEST(finally_on_close, "clean-up runs when a coroutine that was driven by hand is closed")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_coro coro = cora_coroutine(clean_up_twice, struct job, .notes = &notes,
                                    .future = cora_future_new(loop));
    CHECK_INT(cora_send(coro, cora_nothing(), NULL), 1);
    CHECK_INT(cora_coro_close(coro), 0);
    CHECK_TEXT(notes.text, "second first");
    end(loop);
}

TEST(finally_on_loop_close, "clean-up runs when the loop is closed while the coroutine waits")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    struct reports reports;
    collect_reports(loop, &reports);
    cora_spawn(loop, cora_coroutine(clean_up_twice, struct job, .notes = &notes,
                                    .future = cora_future_new(loop)));
    tick(loop);
    end(loop);
    CHECK_TEXT(notes.text, "second first");
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Task was destroyed but it is pending!");
}

static cora_next finally_of_nothing(cora_coro self)
{
    CHECK_INT(cora_finally(self, JOB(self)->step), CORA_ETYPE);
    return cora_return(self, 5);
}

static cora_next raise_at_close(cora_coro self)
{
    cora_finally(self, raise_value_error);
    return cora_await(self, JOB(self)->future, cora_return_got);
}

TEST(finally_raises_at_loop_close, "an error of the clean-up is reported then: nobody else gets it")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_spawn(loop, cora_coroutine(raise_at_close, struct job, .future = cora_future_new(loop)));
    tick(loop);
    end(loop);
    CHECK_INT(reports.count, 2); /* the task's first */
    CHECK_TEXT(reports.error, "ValueError: spilled");
}

TEST(finally_without_step, "clean-up that is no step is refused")
{
    cora_loop loop = virtual_loop_new();
    cora_coro coro = cora_coroutine(finally_of_nothing, struct job);
    CHECK_TEXT(ran(loop, coro), "5");
    end(loop);
}

TEST(finally_not_begun, "what never began has no clean-up: it was not registered")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future task =
        cora_create_task(loop, cora_coroutine(clean_up_twice, struct job, .notes = &notes));
    cora_cancel(task);
    tick(loop);
    CHECK(cora_cancelled(task));
    CHECK_TEXT(notes.text, "");
    end(loop);
}

static cora_next clean_up_done(cora_coro self)
{
    add_note(JOB(self)->notes, "swept");
    return cora_go_on(self);
}

static cora_next clean_up_slowly(cora_coro self)
{
    return cora_await(self, cora_sleep(2), clean_up_done);
}

static cora_next with_slow_clean_up(cora_coro self)
{
    struct job *job = JOB(self);
    cora_finally(self, clean_up_slowly);
    return job->step ? job->step(self) : cora_await(self, job->future, cora_return_got);
}

TEST(finally_awaits, "clean-up may await: the outcome goes on when it has ended")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    CHECK_TEXT(ran(loop, cora_coroutine(with_slow_clean_up, struct job, .notes = &notes,
                                        .step = give_number, .number = 6)),
               "6");
    CHECK_REAL(cora_time(loop), START + 2, LATE);
    CHECK_TEXT(notes.text, "swept");
    end(loop);
}

TEST(finally_awaits_when_cancelled, "also after a cancel, which asks only once")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future task =
        cora_create_task(loop, cora_coroutine(with_slow_clean_up, struct job, .notes = &notes,
                                              .future = cora_future_new(loop)));
    tick(loop);
    cora_cancel(task);
    CHECK_TEXT((cora_run_until_complete(loop, task), outcome(task)), "CancelledError");
    CHECK_REAL(cora_time(loop), START + 2, LATE);
    CHECK_TEXT(notes.text, "swept");
    end(loop);
}

TEST(finally_awaits_at_loop_close, "when the loop is closed nobody waits: clean-up ends there, and "
                                   "the coroutine with it")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    struct reports reports;
    int drops = 0;
    collect_reports(loop, &reports);
    cora_spawn(loop,
               cora_coroutine_owning(with_slow_clean_up, drop_job, struct job, .notes = &notes,
                                     .future = cora_future_new(loop), .counter = &drops));
    tick(loop);
    end(loop);
    CHECK_TEXT(notes.text, "");
    CHECK_INT(drops, 1);
}

static cora_next clean_up_cancelled(cora_coro self)
{
    cora_finally(self, note_first);
    cora_finally(self, clean_up_slowly);
    return give_number(self);
}

TEST(cancel_in_finally, "cancelled in its clean-up, it ends with Cancelled, and the rest of the "
                        "clean-up runs")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future task =
        cora_create_task(loop, cora_coroutine(clean_up_cancelled, struct job, .notes = &notes));
    tick(loop);
    cora_cancel(task);
    ticks(loop, 2);
    CHECK(cora_cancelled(task));
    CHECK_TEXT(notes.text, "first");
    end(loop);
}

static cora_next return_in_finally(cora_coro self)
{
    cora_finally(self, give_number);
    return cora_await(self, JOB(self)->future, cora_return_got);
}

TEST(finally_returns, "clean-up that returns puts its value in the place of an error")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_set_exception(future, cora_error(CORA_EVALUE, "cold"));
    CHECK_TEXT(
        ran(loop, cora_coroutine(return_in_finally, struct job, .number = 6, .future = future)),
        "6");
    end(loop);
}

TEST(finally_swallows_cancel, "and in the place of a cancellation: the task is not cancelled")
{
    cora_loop loop = virtual_loop_new();
    cora_future task =
        cora_create_task(loop, cora_coroutine(return_in_finally, struct job, .number = 6,
                                              .future = cora_future_new(loop)));
    tick(loop);
    cora_cancel(task);
    tick(loop);
    CHECK(!cora_cancelled(task));
    CHECK_TEXT(outcome(task), "6");
    end(loop);
}

static cora_next raise_in_finally(cora_coro self)
{
    cora_finally(self, note_first);
    cora_finally(self, raise_value_error);
    return cora_return(self, cora_own(JOB(self)->counter, &counted));
}

TEST(finally_raises, "clean-up that raises puts its error in the place of the value, which is "
                     "dropped; the rest of it runs")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    int drops = 0;
    cora_future task = cora_create_task(
        loop, cora_coroutine(raise_in_finally, struct job, .notes = &notes, .counter = &drops));
    tick(loop);
    CHECK(is_error(task, CORA_EVALUE));
    CHECK_TEXT(notes.text, "first");
    CHECK_INT(drops, 1);
    end(loop);
}

static cora_next one_more(cora_coro self)
{
    add_note(JOB(self)->notes, "more");
    CHECK_INT(cora_finally(self, note_second), 0);
    return cora_go_on(self);
}

static cora_next finally_in_finally(cora_coro self)
{
    cora_finally(self, note_first);
    cora_finally(self, one_more);
    return give_number(self);
}

TEST(finally_in_finally, "clean-up may register more of it, which runs next")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    CHECK_TEXT(
        ran(loop, cora_coroutine(finally_in_finally, struct job, .number = 6, .notes = &notes)),
        "6");
    CHECK_TEXT(notes.text, "more second first");
    end(loop);
}

static cora_next catch_and_go_on(cora_coro self)
{
    CHECK(cora_error_is(cora_caught(self), CORA_EVALUE));
    return cora_go_on(self);
}

static cora_next try_in_finally_step(cora_coro self)
{
    return cora_try(self, cora_coroutine(raise_value_error), catch_and_go_on);
}

static cora_next try_in_finally(cora_coro self)
{
    cora_finally(self, try_in_finally_step);
    return give_number(self);
}

TEST(finally_catches, "an error that clean-up catches itself changes nothing of the outcome")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, cora_coroutine(try_in_finally, struct job, .number = 6)), "6");
    end(loop);
}

static cora_next finally_got(cora_coro self)
{
    CHECK(cora_is_nothing(cora_got(self)));
    CHECK(cora_is_nothing(cora_caught(self)));
    return cora_go_on(self);
}

static cora_next look_in_finally(cora_coro self)
{
    cora_finally(self, finally_got);
    return raise_value_error(self);
}

TEST(finally_got_nothing, "clean-up finds nothing got and nothing caught: no await led to it")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, cora_coroutine(look_in_finally, struct job)), "ValueError: spilled");
    end(loop);
}

static cora_next await_cleaned_up(cora_coro self)
{
    struct job *job = JOB(self);
    cora_finally(self, note_first);
    return cora_await(
        self,
        cora_coroutine(clean_up_twice, struct job, .notes = job->notes, .future = job->future),
        cora_return_got);
}

TEST(finally_inner_first, "the inner coroutine's clean-up runs before that of who awaits it")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future task =
        cora_create_task(loop, cora_coroutine(await_cleaned_up, struct job, .notes = &notes,
                                              .future = cora_future_new(loop)));
    tick(loop);
    cora_cancel(task);
    tick(loop);
    CHECK(cora_cancelled(task));
    CHECK_TEXT(notes.text, "second first first");
    end(loop);
}

TEST(go_on_elsewhere, "cora_go_on outside of clean-up raises a RuntimeError")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(
        loop, cora_coroutine(note_first, struct job, .notes = &(struct notes){ "" }));
    tick(loop);
    CHECK(is_error(task, CORA_ERUNTIME));
    end(loop);
}

/* ---- locals ---- */

struct tea {
    const char *kind;
    int cups;
    double sugar;
    char note[8];
};

static cora_next tell_tea(cora_coro self)
{
    struct tea *tea = cora_locals(self, struct tea);
    return cora_return(self, cora_textf("%s %d %g %s", tea->kind ? tea->kind : "none", tea->cups,
                                        tea->sugar, tea->note));
}

TEST(locals_copied, "the locals are what the initialisers made, whatever becomes of that later")
{
    cora_loop loop = virtual_loop_new();
    int cups = 3;
    cora_future task = cora_create_task(
        loop, cora_coroutine(tell_tea, struct tea, .kind = "Assam", .cups = cups, .note = "hot"));
    cups = 4;
    tick(loop);
    CHECK_TEXT(outcome(task), "\"Assam 3 0 hot\"");
    CHECK_INT(cups, 4);
    end(loop);
}

TEST(locals_zeroed, "what is not initialised is zero; with the type alone all is")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, cora_coroutine(tell_tea, struct tea)), "\"none 0 0 \"");
    end(loop);
}

TEST(locals_in_order, "initialisers without names are in the order of the struct")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, cora_coroutine(tell_tea, struct tea, "Assam", 3, 1.5, "hot")),
               "\"Assam 3 1.5 hot\"");
    end(loop);
}

struct many {
    int a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v;
};

static cora_next tell_many(cora_coro self)
{
    struct many *many = cora_locals(self, struct many);
    return cora_return(self, many->a + 10 * many->k + 100 * many->v);
}

TEST(locals_many, "there may be twenty-two initialisers")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, cora_coroutine(tell_many, struct many, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
                                        12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22)),
               "2311");
    end(loop);
}

static cora_next same_locals(cora_coro self)
{
    struct job *job = JOB(self);
    CHECK(job->counter == &job->number);
    return cora_return(self, ++job->number);
}

static cora_next change_locals(cora_coro self)
{
    struct job *job = JOB(self);
    job->counter = &job->number;
    job->number = 5;
    return cora_await(self, cora_sleep(0), same_locals);
}

TEST(locals_stay, "the locals stay where they are, and as they are, from step to step")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, cora_coroutine(change_locals, struct job)), "6");
    end(loop);
}

TEST(locals_from_outside, "the locals of a coroutine can be looked at from outside until it ends")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_coro coro = waiting_for(future);
    CHECK(cora_same(JOB(coro)->future, future));
    cora_spawn(loop, coro);
    tick(loop);
    CHECK(cora_same(JOB(coro)->future, future));
    cora_set_result(future, cora_int(1));
    tick(loop);
    CHECK(!JOB(coro));
    end(loop);
}

struct large {
    unsigned char bytes[4096];
    int *counter;
};

static bool large_is(const struct large *large, unsigned char first)
{
    bool same = true;
    for (size_t i = 0; i < sizeof large->bytes; i++)
        same = same && large->bytes[i] == (unsigned char)(first + i);
    return same;
}

static void large_drop(void *locals)
{
    struct large *large = locals;
    *large->counter += large_is(large, 100) ? 1 : 1000;
}

static cora_next large_later(cora_coro self)
{
    struct large *large = cora_locals(self, struct large);
    return cora_return(self, large_is(large, 100));
}

static cora_next large_first(cora_coro self)
{
    struct large *large = cora_locals(self, struct large);
    CHECK(large_is(large, 0));
    for (size_t i = 0; i < sizeof large->bytes; i++)
        large->bytes[i] = (unsigned char)(100 + i);
    return cora_await(self, cora_sleep(0), large_later);
}

TEST(locals_large, "locals of four kilobytes are copied, kept and dropped as small ones are")
{
    cora_loop loop = virtual_loop_new();
    static struct large given;
    int drops = 0;
    for (size_t i = 0; i < sizeof given.bytes; i++)
        given.bytes[i] = (unsigned char)i;
    given.counter = &drops;
    cora_coro coro = cora_coro_new(CORA_COROUTINE, large_first, &given, sizeof given, large_drop,
                                   CORA_PLACE("large"));
    CHECK_TEXT(ran(loop, coro), "1");
    CHECK_INT(drops, 1);
    end(loop);
}

/* From no locals to more than a coroutine has room for in itself. */
#define SIZES(x) x(1) x(7) x(8) x(31) x(32) x(33) x(39) x(40) x(41) x(48) x(64) x(200)

#define STRUCT_OF(size)                                                                            \
    struct bytes_##size {                                                                          \
        unsigned char first[size];                                                                 \
    };                                                                                             \
    static cora_next give_last_##size(cora_coro self)                                              \
    {                                                                                              \
        return cora_return(self, cora_locals(self, struct bytes_##size)->first[(size)-1]);         \
    }
SIZES(STRUCT_OF)

static int sized_drops;

static void count_sized(void *locals)
{
    sized_drops += ((unsigned char *)locals)[0] == 7;
}

#define CHECK_SIZE(size)                                                                           \
    {                                                                                              \
        struct bytes_##size bytes;                                                                 \
        memset(&bytes, 7, sizeof bytes);                                                           \
        CHECK_TEXT(ran(loop, cora_coro_new(CORA_COROUTINE, give_last_##size, &bytes, sizeof bytes, \
                                           NULL, CORA_PLACE("sized"))),                            \
                   "7");                                                                           \
        sized_drops = 0;                                                                           \
        CHECK_TEXT(ran(loop, cora_coro_new(CORA_COROUTINE, give_last_##size, &bytes, sizeof bytes, \
                                           count_sized, CORA_PLACE("sized"))),                     \
                   "7");                                                                           \
        CHECK_INT(sized_drops, 1);                                                                 \
    }

TEST(locals_of_sizes, "locals of any size are whole, with a drop function and without one")
{
    cora_loop loop = virtual_loop_new();
    SIZES(CHECK_SIZE)
    end(loop);
}

static cora_next locals_of_other_size(cora_coro self)
{
    CHECK(!cora_locals(self, struct tea));
    return cora_return(self, 5);
}

TEST(locals_wrong_size, "reading locals as a type of another size gives NULL, and raises a "
                        "TypeError when the step returns")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(locals_of_other_size, struct job));
    tick(loop);
    CHECK(is_error(task, CORA_ETYPE));
    CHECK(says(cora_exception(task), "locals_of_other_size"));
    task = cora_create_task(loop, cora_coroutine(locals_of_other_size));
    tick(loop);
    CHECK(is_error(task, CORA_ETYPE));
    end(loop);
}

/* ---- locals that own something ---- */

TEST(drop_on_return, "the drop function runs once when the coroutine has returned")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    cora_run_until_complete(loop, owning(give_number, &drops, cora_future_new(loop)));
    CHECK_INT(drops, 1);
    end(loop);
    CHECK_INT(drops, 1);
}

TEST(drop_on_raise, "the drop function runs once when the coroutine has raised")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    cora_run_until_complete(loop, owning(raise_value_error, &drops, cora_future_new(loop)));
    CHECK_INT(drops, 1);
    end(loop);
    CHECK_INT(drops, 1);
}

TEST(drop_on_cancel, "the drop function runs once when the coroutine was cancelled, with its end")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    cora_future task = cora_create_task(loop, owning(await_future, &drops, cora_future_new(loop)));
    tick(loop);
    cora_cancel(task);
    CHECK_INT(drops, 0);
    tick(loop);
    CHECK_INT(drops, 1);
    end(loop);
    CHECK_INT(drops, 1);
}

TEST(drop_on_cancel_before_start, "the drop function runs once when a task is cancelled before its "
                                  "coroutine began, which then never does")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    cora_future task = cora_create_task(loop, owning(await_future, &drops, (cora_future){ 0 }));
    cora_cancel(task);
    tick(loop);
    CHECK(cora_cancelled(task));
    CHECK_INT(drops, 1);
    end(loop);
    CHECK_INT(drops, 1);
}

TEST(drop_on_close, "the drop function runs once when the coroutine is closed, begun or not")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    CHECK_INT(cora_coro_close(owning(await_future, &drops, cora_future_new(loop))), 0);
    CHECK_INT(drops, 1);
    cora_coro coro = owning(await_future, &drops, cora_future_new(loop));
    CHECK_INT(cora_send(coro, cora_nothing(), NULL), 1);
    CHECK_INT(cora_coro_close(coro), 0);
    CHECK_INT(drops, 2);
    CHECK_INT(cora_coro_close(coro), 0);
    end(loop);
    CHECK_INT(drops, 2);
}

TEST(drop_unawaited, "the drop function runs once when the coroutine is never awaited")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    int drops = 0;
    collect_reports(loop, &reports);
    owning(await_future, &drops, cora_future_new(loop));
    CHECK_INT(drops, 0);
    tick(loop);
    CHECK_INT(drops, 1);
    end(loop);
    CHECK_INT(drops, 1);
}

TEST(drop_on_loop_close_before_start, "the drop function runs once when the loop is closed before "
                                      "the task began")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    int drops = 0;
    collect_reports(loop, &reports);
    cora_spawn(loop, owning(await_future, &drops, cora_future_new(loop)));
    end(loop);
    CHECK_INT(drops, 1);
    CHECK_INT(reports.count, 1);
}

static cora_next await_owning(cora_coro self)
{
    struct job *job = JOB(self);
    return cora_await(self, owning(await_future, job->counter, job->future), cora_return_got);
}

TEST(drop_on_loop_close, "the drop function of each runs once when the loop is closed while a "
                         "coroutine waits for another one")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    int drops = 0;
    collect_reports(loop, &reports);
    cora_spawn(loop, owning(await_owning, &drops, cora_future_new(loop)));
    tick(loop);
    CHECK_INT(drops, 0);
    end(loop);
    CHECK_INT(drops, 2);
    CHECK_INT(reports.count, 1);
}

static cora_next drop_with_the_next(cora_coro self)
{
    struct job *job = JOB(self);
    CHECK_INT(*job->counter, 1);
    return cora_return(self, 5);
}

static cora_next await_dropping(cora_coro self)
{
    struct job *job = JOB(self);
    return cora_await(self, owning(give_number, job->counter, job->future), drop_with_the_next);
}

TEST(drop_before_going_on, "the locals of a coroutine are gone before who awaits it goes on")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    CHECK_TEXT(ran(loop, cora_coroutine(await_dropping, struct job, .counter = &drops)), "5");
    CHECK_INT(drops, 1);
    end(loop);
}

TEST(drop_without_step, "without a step no coroutine is made: null, and what it was to own is "
                        "dropped at once")
{
    int drops = 0;
    cora_step none = NULL;
    CHECK(cora_is_null(
        cora_coroutine_owning(none, drop_job, struct job, .counter = &drops, .number = 6)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
    CHECK_INT(drops, 1);
}

struct owner {
    cora_value value; /* counted */
};

static void owner_drop(void *locals)
{
    cora_drop(((struct owner *)locals)->value);
}

static cora_next give_owned(cora_coro self)
{
    return cora_return(self, cora_locals(self, struct owner)->value);
}

TEST(return_what_locals_own, "a value that the locals own may be returned: the result has a "
                             "reference of its own")
{
    cora_loop loop = virtual_loop_new();
    cora_value text = cora_copy(cora_text("Darjeeling"));
    CHECK_TEXT(
        ran(loop, cora_coroutine_owning(give_owned, owner_drop, struct owner, .value = text)),
        "\"Darjeeling\"");
    end(loop);
}

struct closer {
    cora_loop loop;
    int *code;
};

static void drop_and_close(void *locals)
{
    struct closer *closer = locals;
    *closer->code = cora_loop_close(closer->loop);
}

TEST(drop_does_anything, "a drop function may do anything; what is not allowed there is refused")
{
    cora_loop loop = virtual_loop_new();
    int code = 0;
    cora_coro coro = cora_coroutine_owning(cora_return_nothing, drop_and_close, struct closer,
                                           .loop = loop, .code = &code);
    ran(loop, coro);
    CHECK_INT(code, CORA_ERUNTIME); /* it is running */
    end(loop);
}

static void drop_failing(void *locals)
{
    (void)locals;
    cora_fail(spilled());
}

TEST(drop_fails, "a drop function that fails is reported: the coroutine's outcome stays as it is")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    CHECK_TEXT(ran(loop, cora_coroutine_owning(give_number, drop_failing, struct job, .number = 6)),
               "6");
    CHECK_INT(reports.count, 1);
    CHECK_INT(reports.code, CORA_EVALUE);
    end(loop);
}

/* ---- cora_hold ---- */

struct holder {
    cora_value text;
    int *drops;
};

static cora_next read_held(cora_coro self)
{
    struct holder *holder = cora_locals(self, struct holder);
    CHECK_INT(*holder->drops, 0);
    return cora_return(self, holder->text);
}

static cora_next hold_two(cora_coro self)
{
    struct holder *holder = cora_locals(self, struct holder);
    char text[] = "with milk";
    holder->text = cora_hold(self, cora_from(text));
    cora_hold(self, cora_own(holder->drops, &counted));
    memset(text, 'x', sizeof text - 1);
    return cora_await(self, cora_sleep(1), read_held);
}

TEST(hold, "a held value lives until the coroutine ends, and is dropped once; a text is copied")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    cora_coro coro = cora_coroutine(hold_two, struct holder, .drops = &drops);
    CHECK_TEXT(ran(loop, coro), "\"with milk\"");
    CHECK_INT(drops, 1);
    end(loop);
    CHECK_INT(drops, 1);
}

static cora_next hold_and_wait(cora_coro self)
{
    struct job *job = JOB(self);
    cora_hold(self, cora_own(job->counter, &counted));
    return cora_await(self, job->future, cora_return_got);
}

TEST(hold_until_loop_close, "a held value is dropped once when the loop is closed")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    int drops = 0;
    collect_reports(loop, &reports);
    cora_spawn(loop, cora_coroutine(hold_and_wait, struct job, .counter = &drops,
                                    .future = cora_future_new(loop)));
    tick(loop);
    CHECK_INT(drops, 0);
    end(loop);
    CHECK_INT(drops, 1);
}

static cora_next hold_got(cora_coro self)
{
    struct job *job = JOB(self);
    cora_value held = cora_hold(self, cora_got(self));
    CHECK(cora_as_pointer(held) == job->counter);
    return cora_await(self, cora_sleep(1), cora_return_nothing);
}

static cora_next await_and_hold(cora_coro self)
{
    struct job *job = JOB(self);
    return cora_await(self, cora_coroutine(return_counted, struct job, .counter = job->counter),
                      hold_got);
}

TEST(hold_got, "what was got can be held for the steps to come")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    cora_spawn(loop, cora_coroutine(await_and_hold, struct job, .counter = &drops));
    ticks(loop, 2);
    CHECK_INT(drops, 0);
    run_for(loop, 2);
    CHECK_INT(drops, 1);
    end(loop);
}

TEST(hold_from_outside, "others may give a coroutine something to hold, before it begins too")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    cora_coro coro = cora_coroutine(give_number, struct job, .number = 6);
    cora_hold(coro, cora_own(&drops, &counted));
    cora_hold(coro, cora_int(5));
    cora_drop_temporaries();
    CHECK_INT(drops, 0);
    CHECK_TEXT(ran(loop, coro), "6");
    CHECK_INT(drops, 1);
    end(loop);
}

/* ---- futures made in a step ---- */

static cora_next then_await(cora_coro self)
{
    return cora_await(self, JOB(self)->future, cora_return_got);
}

static cora_next make_and_sleep(cora_coro self)
{
    struct job *job = JOB(self);
    job->future = cora_future_new(job->loop);
    cora_set_result(job->future, cora_int(5));
    return cora_await(self, cora_sleep(60), job->step);
}

static cora_coro making(cora_loop loop, cora_step then)
{
    return cora_coroutine(make_and_sleep, struct job, .loop = loop, .step = then);
}

TEST(future_of_a_step, "a future made in a step is kept, though it is done, until it is awaited")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, making(loop, then_await)), "5");
    end(loop);
}

static cora_next is_stale_now(cora_coro self)
{
    return cora_return(self, cora_error_code(cora_exception(JOB(self)->future)) == CORA_ESTALE);
}

static cora_next look_later(cora_coro self)
{
    return cora_await(self, cora_sleep(0), is_stale_now);
}

static cora_next await_then_look(cora_coro self)
{
    return cora_await(self, JOB(self)->future, look_later);
}

TEST(future_of_a_step_awaited, "once it was awaited it is given back")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, making(loop, await_then_look)), "1");
    end(loop);
}

static cora_next read_then_look(cora_coro self)
{
    CHECK_INT(cora_as_int(cora_result(JOB(self)->future)), 5);
    return cora_await(self, cora_sleep(0), is_stale_now);
}

TEST(future_of_a_step_read, "once it was read it is given back")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, making(loop, read_then_look)), "1");
    end(loop);
}

static cora_next give_future(cora_coro self)
{
    return cora_return(self, JOB(self)->future);
}

TEST(future_of_a_step_at_the_end, "what was neither awaited nor read is given back at the end")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_as_future(cora_run_until_complete(loop, making(loop, give_future)));
    tick(loop);
    CHECK_INT(cora_error_code(cora_exception(future)), CORA_ESTALE);
    end(loop);
}

static cora_next give_pending(cora_coro self)
{
    return cora_return(self, cora_future_new(cora_running_loop()));
}

TEST(pending_future_of_a_step,
     "a pending one is the loop's: it outlives the coroutine until it is done")
{
    cora_loop loop = virtual_loop_new();
    cora_future future =
        cora_as_future(cora_run_until_complete(loop, cora_coroutine(give_pending)));
    ticks(loop, 2);
    CHECK(!cora_done(future));
    CHECK_INT(cora_set_result(future, cora_int(5)), 0);
    ticks(loop, 2);
    CHECK_INT(cora_error_code(cora_exception(future)), CORA_ESTALE);
    end(loop);
}

static cora_next keep_future(cora_coro self)
{
    return cora_return(self, cora_keep(JOB(self)->future));
}

TEST(future_of_a_step_kept, "one that is kept as well outlives the coroutine")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_as_future(cora_run_until_complete(loop, making(loop, keep_future)));
    ticks(loop, 2);
    CHECK_TEXT(outcome(future), "5");
    CHECK_INT(cora_release(future), 0);
    end(loop);
}

static cora_next make_failed(cora_coro self)
{
    struct job *job = JOB(self);
    cora_set_exception(cora_future_new(job->loop), cora_error(CORA_EVALUE, "cold"));
    return cora_await(self, cora_sleep(60), cora_return_nothing);
}

TEST(future_of_a_step_failed, "an error that nobody read is reported when the coroutine has ended, "
                              "once")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_spawn(loop, cora_coroutine(make_failed, struct job, .loop = loop));
    run_for(loop, 59);
    CHECK_INT(reports.count, 0);
    run_for(loop, 2);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Future exception was never retrieved");
    end(loop);
    CHECK_INT(reports.count, 1);
}

#define MANY 100

struct collector {
    cora_loop loop;
    cora_future futures[MANY];
    int next, sum;
};

static cora_next collect_next(cora_coro self)
{
    struct collector *collector = cora_locals(self, struct collector);
    if (!cora_is_nothing(cora_got(self)))
        collector->sum += (int)cora_as_int(cora_got(self));
    if (collector->next == MANY)
        return cora_return(self, collector->sum);
    return cora_await(self, collector->futures[collector->next++], collect_next);
}

static void complete(cora_args bound)
{
    cora_set_result(cora_arg_future(bound, 0), cora_arg_value(bound, 1));
}

static cora_next make_many(cora_coro self)
{
    struct collector *collector = cora_locals(self, struct collector);
    for (int i = 0; i < MANY; i++) {
        collector->futures[i] = cora_future_new(collector->loop);
        cora_call_later(collector->loop, i % 7, cora_partial(complete, collector->futures[i], i));
    }
    return cora_await(self, cora_sleep(60), collect_next);
}

TEST(many_futures_of_a_step, "a hundred futures that were completed meanwhile are all there")
{
    cora_loop loop = virtual_loop_new();
    size_t before = cora_live(loop);
    CHECK_TEXT(ran(loop, cora_coroutine(make_many, struct collector, .loop = loop)), "4950");
    tick(loop);
    CHECK_INT(cora_live(loop), before);
    end(loop);
}

static cora_next hoard_futures(cora_coro self)
{
    struct job *job = JOB(self);
    for (int i = 0; i < 5000; i++)
        cora_set_result(cora_future_new(job->loop), cora_int(i));
    return cora_await(self, cora_sleep(1), cora_return_nothing);
}

TEST(hoard_of_futures, "one that holds thousands of finished futures is told of in debug mode")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    size_t before = cora_live(loop);
    collect_reports(loop, &reports);
    ran(loop, cora_coroutine(hoard_futures, struct job, .loop = loop));
    CHECK_INT(reports.count, 0);
    cora_set_debug(loop, true);
    ran(loop, cora_coroutine(hoard_futures, struct job, .loop = loop));
    CHECK(reports.count > 0);
    CHECK(strstr(reports.message, "hoard_futures"));
    tick(loop);
    CHECK_INT(cora_live(loop), before);
    end(loop);
}

/* ---- a coroutine runs once ---- */

static cora_next await_same(cora_coro self)
{
    return cora_await(self, JOB(self)->coro, cora_return_got);
}

static cora_next await_then_same(cora_coro self)
{
    struct job *job = JOB(self);
    job->coro = cora_coroutine(give_number, struct job, .number = 6);
    return cora_await(self, job->coro, await_same);
}

TEST(awaited_again, "a coroutine that was awaited and has ended raises a RuntimeError")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(await_then_same, struct job));
    tick(loop);
    CHECK(is_error(task, CORA_ERUNTIME));
    CHECK(says(cora_exception(task), "cannot reuse already awaited coroutine"));
    end(loop);
}

TEST(awaited_by_two, "so does one that another task awaits, which gets its value all the same")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_coro coro = waiting_for(future);
    cora_future first = cora_create_task(loop, coro);
    tick(loop);
    cora_future second =
        cora_create_task(loop, cora_coroutine(await_same, struct job, .coro = coro));
    tick(loop);
    CHECK(is_error(second, CORA_ERUNTIME));
    CHECK(says(cora_exception(second), "coroutine is being awaited already"));
    cora_set_result(future, cora_int(5));
    tick(loop);
    CHECK_TEXT(outcome(first), "5");
    end(loop);
}

static cora_next await_self(cora_coro self)
{
    return cora_await(self, self, cora_return_got);
}

TEST(awaits_itself, "one that awaits itself raises a ValueError: it is running")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(await_self));
    tick(loop);
    CHECK(is_error(task, CORA_EVALUE));
    end(loop);
}

TEST(two_tasks, "one coroutine is of one task: a second is null, with a RuntimeError")
{
    cora_loop loop = virtual_loop_new();
    cora_coro coro = cora_coroutine(give_number, struct job, .number = 6);
    cora_future task = cora_create_task(loop, coro);
    CHECK(cora_is_null(cora_create_task(loop, coro)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ERUNTIME);
    tick(loop);
    CHECK_TEXT(outcome(task), "6");
    CHECK(cora_is_null(cora_create_task(loop, coro)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ERUNTIME);
    end(loop);
}

TEST(task_of_one_sent_to, "one that is driven by hand can be no task's any more")
{
    cora_loop loop = virtual_loop_new();
    cora_coro coro = waiting_for(cora_future_new(loop));
    CHECK_INT(cora_send(coro, cora_nothing(), NULL), 1);
    CHECK(cora_is_null(cora_create_task(loop, coro)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ERUNTIME);
    CHECK_INT(cora_coro_close(coro), 0);
    end(loop);
}

TEST(task_driven_by_hand, "one that a task drives cannot be sent to, thrown at or closed")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_coro coro = waiting_for(future);
    cora_future task = cora_create_task(loop, coro);
    tick(loop);
    CHECK_INT(cora_send(coro, cora_nothing(), NULL), CORA_ERUNTIME);
    CHECK_INT(cora_throw(coro, cora_error(CORA_EVALUE, NULL), NULL), CORA_ERUNTIME);
    CHECK_INT(cora_coro_close(coro), CORA_ERUNTIME);
    cora_set_result(future, cora_int(5));
    tick(loop);
    CHECK_TEXT(outcome(task), "5");
    end(loop);
}

/* ---- never awaited ---- */

static int forgotten_line;

static void forget(cora_args bound)
{
    int *drops = cora_arg(bound, 0, int *);
    forgotten_line = __LINE__ + 1;
    cora_coro coro = cora_coroutine_owning(brew, drop_job, struct job, .counter = drops);
    CHECK_INT(cora_coro_state(coro), CORA_CORO_CREATED);
}

static void check_forgotten(const struct reports *reports, const char *function)
{
    CHECK_INT(reports->count, 1);
    CHECK_TEXT(reports->message, "coroutine 'brew' was never awaited");
    CHECK_TEXT(reports->place.name, "brew");
    CHECK_TEXT(reports->place.file, __FILE__);
    CHECK_INT(reports->place.line, forgotten_line);
    CHECK_TEXT(reports->place.function, function);
}

TEST(forgotten_in_a_callback, "a coroutine that a callback made and gave to nobody is closed when "
                              "it returns, and reported once, with its place")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    int drops = 0;
    collect_reports(loop, &reports);
    run_in(loop, cora_partial(forget, &drops));
    check_forgotten(&reports, "forget");
    CHECK_INT(drops, 1);
    end(loop);
    CHECK_INT(reports.count, 1);
    CHECK_INT(drops, 1);
}

static cora_next forget_and_sleep(cora_coro self)
{
    struct job *job = JOB(self);
    forgotten_line = __LINE__ + 1;
    job->coro = cora_coroutine_owning(brew, drop_job, struct job, .counter = job->counter);
    return cora_await(self, cora_sleep(60), cora_return_nothing);
}

TEST(forgotten_in_a_step, "one made in a step is the coroutine's: closed and reported when that "
                          "ends")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    int drops = 0;
    collect_reports(loop, &reports);
    cora_spawn(loop, cora_coroutine(forget_and_sleep, struct job, .counter = &drops));
    run_for(loop, 59);
    CHECK_INT(reports.count, 0);
    CHECK_INT(drops, 0);
    run_for(loop, 2);
    check_forgotten(&reports, "forget_and_sleep");
    CHECK_INT(drops, 1);
    end(loop);
    CHECK_INT(reports.count, 1);
}

TEST(forgotten_in_a_step_at_loop_close, "also when it ends because the loop is closed")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    int drops = 0;
    collect_reports(loop, &reports);
    cora_future task =
        cora_create_task(loop, cora_coroutine(forget_and_sleep, struct job, .counter = &drops));
    tick(loop);
    CHECK(cora_cancel(task)); /* so that it ends quietly */
    ticks(loop, 3);
    check_forgotten(&reports, "forget_and_sleep");
    collect_reports(loop, &reports);
    cora_spawn(loop, cora_coroutine(forget_and_sleep, struct job, .counter = &drops));
    tick(loop);
    end(loop);
    CHECK_INT(reports.count, 2); /* the task's first */
    CHECK_TEXT(reports.message, "coroutine 'brew' was never awaited");
    CHECK_INT(drops, 2);
}

static cora_next make_for_later(cora_coro self)
{
    struct job *job = JOB(self);
    job->coro = cora_coroutine(give_number, struct job, .number = 6);
    return cora_await(self, cora_sleep(60), await_same);
}

TEST(awaited_in_a_later_step, "a coroutine made in one step may be awaited in a later one")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    CHECK_TEXT(ran(loop, cora_coroutine(make_for_later, struct job)), "6");
    end(loop);
    CHECK_INT(reports.count, 0);
}

TEST(forgotten_held, "one that another holds, and does not await, is reported when that has ended")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    int drops = 0;
    collect_reports(loop, &reports);
    cora_coro outer = number(6);
    forgotten_line = __LINE__ + 1;
    cora_coro inner = cora_coroutine_owning(brew, drop_job, struct job, .counter = &drops);
    cora_hold(outer, cora_from(inner));
    CHECK_TEXT(ran(loop, outer), "6");
    check_forgotten(&reports, "test_forgotten_held");
    CHECK_INT(drops, 1);
    end(loop);
}

TEST(forgotten_with_held, "if neither is awaited, both are reported")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    int drops = 0;
    collect_reports(loop, &reports);
    cora_coro inner = cora_coroutine_owning(brew, drop_job, struct job, .counter = &drops);
    cora_hold(number(6), cora_from(inner));
    tick(loop);
    CHECK_INT(reports.count, 2);
    CHECK_INT(drops, 1);
    end(loop);
}

static void drop_and_make(void *locals)
{
    drop_job(locals);
    cora_coroutine(brew, struct brew, .cups = 3);
}

TEST(forgotten_in_a_drop_function, "one that a drop function makes is reported, too")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    int drops = 0;
    collect_reports(loop, &reports);
    CHECK_TEXT(ran(loop, cora_coroutine_owning(give_number, drop_and_make, struct job, .number = 6,
                                               .counter = &drops)),
               "6");
    tick(loop);
    CHECK_INT(drops, 1);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "coroutine 'brew' was never awaited");
    end(loop);
}

TEST(forgotten_in_main, "one made in main() is closed, and reported, when the next run begins")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    int drops = 0;
    collect_reports(loop, &reports);
    forgotten_line = __LINE__ + 1;
    cora_coro coro = cora_coroutine_owning(brew, drop_job, struct job, .counter = &drops);
    CHECK_INT(cora_coro_state(coro), CORA_CORO_CREATED);
    CHECK_INT(reports.count, 0);
    tick(loop);
    check_forgotten(&reports, "test_forgotten_in_main");
    CHECK_INT(drops, 1);
    CHECK_INT(cora_coro_state(coro), CORA_CORO_CLOSED);
    end(loop);
    CHECK_INT(reports.count, 1);
}

TEST(forgotten_in_main_at_close, "or when a loop is closed, by the handler of that loop")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    int drops = 0;
    collect_reports(loop, &reports);
    forgotten_line = __LINE__ + 1;
    cora_coro coro = cora_coroutine_owning(brew, drop_job, struct job, .counter = &drops);
    CHECK_INT(cora_coro_state(coro), CORA_CORO_CREATED);
    end(loop);
    check_forgotten(&reports, "test_forgotten_in_main_at_close");
    CHECK_INT(drops, 1);
}

TEST(closed_is_not_reported, "one that was closed is not reported")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_coro_close(cora_coroutine(brew, struct brew, .cups = 3));
    tick(loop);
    end(loop);
    CHECK_INT(reports.count, 0);
}

TEST(generators_are_not_reported, "generators that nobody started are not reported, as in asyncio, "
                                  "but dropped")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    int drops = 0;
    collect_reports(loop, &reports);
    cora_generator_owning(give_number, drop_job, struct job, .counter = &drops);
    cora_generator_coroutine(
        cora_generator_owning(give_number, drop_job, struct job, .counter = &drops));
    tick(loop);
    CHECK_INT(drops, 2);
    end(loop);
    CHECK_INT(reports.count, 0);
}

TEST(forgotten_in_order, "several are reported in the order in which they were made")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_coroutine(brew, struct brew, .cups = 1);
    cora_coroutine(spam);
    tick(loop);
    CHECK_INT(reports.count, 2);
    CHECK_TEXT(reports.message, "coroutine 'spam' was never awaited");
    end(loop);
}

/* Runs a tick, which looks through the coroutines that were given to nobody. */
static void drop_and_tick(void *locals)
{
    struct job *job = locals;
    ++*job->counter;
    tick(job->loop);
}

TEST(swept_while_it_ends, "one whose drop function runs a loop is given back once")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    cora_coro first = cora_coroutine_owning(give_number, drop_and_tick, struct job, .loop = loop,
                                            .counter = &drops);
    cora_coro second = cora_coroutine(give_number, struct job, .number = 2);
    CHECK_INT(cora_coro_close(first), 0);
    CHECK_INT(drops, 1);
    CHECK_INT(cora_coro_state(second), CORA_CORO_CLOSED); /* main() gave it to nobody */
    cora_coro third = cora_coroutine(give_number, struct job, .number = 3),
              fourth = cora_coroutine(give_number, struct job, .number = 4);
    CHECK_INT(cora_coro_state(third), CORA_CORO_CREATED);
    CHECK_INT(cora_coro_close(fourth), 0);
    CHECK_TEXT(ran(loop, third), "3");
    end(loop);
}

/* ---- threads ---- */

static void *other_thread(void *given)
{
    cora_coro coro = *(cora_coro *)given;
    CHECK(!JOB(coro));
    CHECK_INT(cora_send(coro, cora_nothing(), NULL), CORA_EWRONGTHREAD);
    CHECK_INT(cora_throw(coro, spilled(), NULL), CORA_EWRONGTHREAD);
    CHECK_INT(cora_coro_close(coro), CORA_EWRONGTHREAD);
    CHECK(cora_is_error(cora_hold(coro, cora_int(1))));
    CHECK_INT(cora_live_coroutines(), 0);
    return NULL;
}

static void in_a_thread(void *(*function)(void *), void *given)
{
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, function, given), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
}

TEST(another_thread, "a coroutine is its thread's: in another one every call on it is an error")
{
    int counter = 0;
    cora_coro counting = cora_generator(count_on, struct job, .counter = &counter, .number = 1);
    in_a_thread(other_thread, &counting);
    CHECK_TEXT(next_of(counting), "yields 1");
    in_a_thread(other_thread, &counting);
    CHECK_TEXT(next_of(counting), "returns \"over\"");
}

static void *forget_in_thread(void *given)
{
    cora_coro coro = cora_coroutine_owning(brew, drop_job, struct job, .counter = given);
    CHECK_INT(cora_coro_state(coro), CORA_CORO_CREATED);
    return NULL;
}

TEST(forgotten_in_a_thread, "one that a thread without a loop made is dropped when that ends")
{
    int drops = 0;
    in_a_thread(forget_in_thread, &drops);
    CHECK_INT(drops, 1);
}

/* The loop is the thread's that runs it; before, only calls from any thread are allowed. */
static void *take_loop(void *given)
{
    cora_loop loop = *(cora_loop *)given;
    cora_call_soon_threadsafe(loop, cora_partial(stop));
    CHECK_INT(cora_run_forever(loop), 0);
    return NULL;
}

TEST(loop_in_another_thread,
     "the coroutines of a loop's tasks go with it to the thread that runs it, and back")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_future task = cora_create_task(loop, waiting_for(future));
    in_a_thread(take_loop, &loop);
    take_loop(&loop);
    CHECK(!cora_done(task));
    cora_set_result(future, cora_int(5));
    take_loop(&loop);
    CHECK_TEXT(outcome(task), "5");
    end(loop);
}

/* ---- long chains ---- */

static cora_next one_up(cora_coro self)
{
    return cora_return(self, cora_as_int(cora_got(self)) + 1);
}

/* So many coroutines, each awaited by the one before; the innermost goes on with the step. */
static cora_next descend(cora_coro self)
{
    struct job *job = JOB(self);
    if (job->number == 0)
        return job->step(self);
    cora_coro inner = cora_coroutine(descend, struct job, .number = job->number - 1,
                                     .step = job->step, .future = job->future);
    return cora_await(self, inner, one_up);
}

static cora_coro chain(cora_step step, cora_future future)
{
    return cora_coroutine(descend, struct job, .number = harness_scale(100000), .step = step,
                          .future = future);
}

static void *deep_return(void *unused)
{
    cora_loop loop = virtual_loop_new();
    cora_value value = cora_run_until_complete(loop, chain(give_number, (cora_future){ 0 }));
    CHECK_INT(cora_as_int(value), harness_scale(100000));
    end(loop);
    return unused;
}

TEST(deep_return, "a hundred thousand coroutines in each other return, in a small stack")
{
    harness_in_small_stack(deep_return);
}

static void *deep_raise(void *unused)
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, chain(raise_value_error, (cora_future){ 0 })), "ValueError: spilled");
    end(loop);
    return unused;
}

TEST(deep_raise, "they fail with the error of the innermost")
{
    harness_in_small_stack(deep_raise);
}

static void *deep_wait(void *unused)
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_future task = cora_create_task(loop, chain(await_future, future));
    tick(loop);
    CHECK_INT(cora_live_coroutines(), harness_scale(100000) + 1);
    cora_set_result(future, cora_int(5));
    tick(loop);
    CHECK_INT(cora_as_int(cora_result(task)), harness_scale(100000) + 5);
    end(loop);
    return unused;
}

TEST(deep_wait, "they wait, and go on together, in one tick")
{
    harness_in_small_stack(deep_wait);
}

static void *deep_cancel(void *unused)
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_future task = cora_create_task(loop, chain(await_future, future));
    tick(loop);
    cora_cancel(task);
    CHECK(cora_cancelled(future));
    tick(loop);
    CHECK(cora_cancelled(task));
    end(loop);
    return unused;
}

TEST(deep_cancel, "they are cancelled")
{
    harness_in_small_stack(deep_cancel);
}

static void *deep_loop_close(void *unused)
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_spawn(loop, chain(await_future, cora_future_new(loop)));
    tick(loop);
    end(loop);
    CHECK_INT(reports.count, 1);
    return unused;
}

TEST(deep_loop_close, "and all go with the loop that is closed")
{
    harness_in_small_stack(deep_loop_close);
}

static void *deep_by_hand(void *unused)
{
    int depth = harness_scale(100000);
    cora_coro coro = cora_generator(delegate_three, struct job, .number = depth);
    CHECK_TEXT(next_of(coro), "yields \"deep\"");
    CHECK_INT(cora_live_coroutines(), depth + 1);
    CHECK_TEXT(sent(coro, cora_int(5)), "returns 5");
    coro = cora_generator(delegate_three, struct job, .number = depth);
    CHECK_TEXT(next_of(coro), "yields \"deep\"");
    CHECK_INT(cora_coro_close(coro), 0);
    CHECK_INT(cora_live_coroutines(), 0);
    return unused;
}

TEST(deep_by_hand, "so may delegation be, by hand")
{
    harness_in_small_stack(deep_by_hand);
}

/* Coroutines made in each other's steps, each given to nobody. */
static cora_next hoard(cora_coro self)
{
    struct job *job = JOB(self);
    for (int i = 0; i < job->number; i++)
        cora_coroutine_owning(brew, drop_job, struct job, .counter = job->counter);
    return cora_return(self, 5);
}

TEST(many_forgotten, "a thousand that a step made and forgot are all reported, and dropped")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    int drops = 0;
    collect_reports(loop, &reports);
    CHECK_TEXT(ran(loop, cora_coroutine(hoard, struct job, .number = 1000, .counter = &drops)),
               "5");
    CHECK_INT(drops, 1000);
    CHECK_INT(reports.count, 1000);
    end(loop);
}

/* ---- looking at one ---- */

static cora_next look_at_state(cora_coro self)
{
    CHECK_INT(cora_coro_state(self), CORA_CORO_RUNNING);
    return cora_await(self, JOB(self)->future, cora_return_got);
}

TEST(states, "created, running in its step, suspended at an await, closed when it has ended")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_coro coro = cora_coroutine(look_at_state, struct job, .future = future);
    CHECK_INT(cora_coro_state(coro), CORA_CORO_CREATED);
    cora_spawn(loop, coro);
    CHECK_INT(cora_coro_state(coro), CORA_CORO_CREATED);
    tick(loop);
    CHECK_INT(cora_coro_state(coro), CORA_CORO_SUSPENDED);
    cora_set_result(future, cora_nothing());
    CHECK_INT(cora_coro_state(coro), CORA_CORO_SUSPENDED);
    tick(loop);
    CHECK_INT(cora_coro_state(coro), CORA_CORO_CLOSED);
    end(loop);
}

static cora_next look_at_outer(cora_coro self)
{
    return cora_return(self, (int)cora_coro_state(JOB(self)->coro));
}

static cora_next await_looking(cora_coro self)
{
    return cora_await(self, cora_coroutine(look_at_outer, struct job, .coro = self),
                      cora_return_got);
}

TEST(state_of_the_outer, "one that awaits a running one is running")
{
    cora_loop loop = virtual_loop_new();
    cora_value state = cora_run_until_complete(loop, cora_coroutine(await_looking));
    CHECK_INT(cora_as_int(state), CORA_CORO_RUNNING);
    end(loop);
}

TEST(state_of_the_inner, "one that is awaited and waits is suspended, as the one that awaits it")
{
    cora_loop loop = virtual_loop_new();
    cora_coro inner = waiting_for(cora_future_new(loop));
    cora_coro outer = cora_coroutine(await_same, struct job, .coro = inner);
    next_of(outer);
    CHECK_INT(cora_coro_state(inner), CORA_CORO_SUSPENDED);
    CHECK_INT(cora_coro_state(outer), CORA_CORO_SUSPENDED);
    CHECK_INT(cora_coro_close(outer), 0);
    CHECK_INT(cora_coro_state(inner), CORA_CORO_CLOSED);
    end(loop);
}

TEST(kinds, "a coroutine, a generator, or one that is both")
{
    cora_coro coroutine = cora_coroutine(cora_return_nothing),
              generator = cora_generator(cora_return_nothing);
    CHECK_INT(cora_coro_kind(coroutine), CORA_COROUTINE);
    CHECK_INT(cora_coro_kind(generator), CORA_GENERATOR);
    CHECK(cora_same(cora_generator_coroutine(generator), generator));
    CHECK_INT(cora_coro_kind(generator), CORA_GENERATOR_COROUTINE);
    CHECK(cora_same(cora_generator_coroutine(coroutine), coroutine));
    CHECK_INT(cora_coro_kind(coroutine), CORA_COROUTINE);
    CHECK_INT(cora_coro_close(coroutine), 0);
    CHECK_INT(cora_coro_close(generator), 0);
}

static int awaited_line;

static cora_next await_at_a_line(cora_coro self)
{
    awaited_line = __LINE__ + 1;
    return cora_await(self, JOB(self)->future, cora_return_got);
}

/* Checks how it prints: this kind, name and state, made or suspended at this line of this file. */
static void check_printed(cora_coro coro, const char *what, int line)
{
    char text[400], expected[400];
    int length = snprintf(expected, sizeof expected, "<%s at %s:%d>", what, __FILE__, line);
    CHECK_INT(cora_coro_print(coro, text, sizeof text), length);
    CHECK_TEXT(text, expected);
}

TEST(printing, "it prints as what it is, its first step's name, its state, and where it is")
{
    cora_loop loop = virtual_loop_new();
    struct job job = { .future = cora_future_new(loop) };
    int line = __LINE__ + 1;
    cora_coro coro = cora_coroutine(await_at_a_line, struct job, .future = job.future);
    check_printed(coro, "coroutine await_at_a_line created", line);
    next_of(coro);
    check_printed(coro, "coroutine await_at_a_line suspended", awaited_line);
    CHECK_INT(cora_coro_close(coro), 0);
    line = __LINE__ + 1;
    coro = cora_generator(add_up, struct job);
    check_printed(coro, "generator add_up created", line);
    CHECK_INT(cora_coro_close(coro), 0);
    end(loop);
}

static cora_next print_self(cora_coro self)
{
    char text[400];
    cora_coro_print(self, text, sizeof text);
    return cora_return(self, text);
}

TEST(printing_running, "also while it is running")
{
    cora_loop loop = virtual_loop_new();
    CHECK(strncmp(ran(loop, cora_coroutine(print_self)), "\"<coroutine print_self running at ",
                  34) == 0);
    end(loop);
}

TEST(printing_cut, "it is cut to the size of the buffer; the whole length comes back")
{
    char text[400], cut[8];
    cora_coro coro = cora_coroutine(cora_return_nothing);
    int length = cora_coro_print(coro, text, sizeof text);
    CHECK_INT(length, strlen(text));
    CHECK_INT(cora_coro_print(coro, cut, sizeof cut), length);
    CHECK_TEXT(cut, "<corout");
    CHECK_INT(cora_coro_print(coro, NULL, 0), length);
    CHECK_INT(cora_coro_close(coro), 0);
}

TEST(printing_closed, "a stale or null handle prints, too")
{
    char text[100];
    cora_coro coro = cora_coroutine(cora_return_nothing);
    CHECK_INT(cora_coro_close(coro), 0);
    CHECK(cora_coro_print(coro, text, sizeof text) > 0);
    CHECK_TEXT(text, "<coroutine closed>");
    CHECK(cora_coro_print((cora_coro){ 0 }, text, sizeof text) > 0);
    CHECK_TEXT(text, "<coroutine closed>");
}

TEST(live_coroutines, "cora_live_coroutines counts those that were made and not given back")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    CHECK_INT(cora_live_coroutines(), 0);
    cora_coro coro = waiting_for(future);
    CHECK_INT(cora_live_coroutines(), 1);
    cora_spawn(loop, coro);
    tick(loop);
    CHECK_INT(cora_live_coroutines(), 1);
    cora_set_result(future, cora_nothing());
    tick(loop);
    CHECK_INT(cora_live_coroutines(), 0);
    end(loop);
}

TEST(steady_memory, "a second run of the same load takes no more memory")
{
    cora_loop loop = virtual_loop_new();
    int load = harness_scale(20000);
    long resident = 0;
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < load; i++)
            cora_spawn(loop, cora_coroutine(two_parts, struct job));
        tick(loop);
        if (round == 1)
            resident = resident_bytes();
    }
    CHECK(resident_bytes() <= resident + 200000);
    end(loop);
}
