/*
 * Gather, wait and shield over tasks and coroutines; over plain futures they are in test_gather.c,
 * test_wait.c and test_shield.c. First what a gather of coroutines comes to, then the same
 * coroutine twice, arrays with what cannot be gathered, cancelling a gather of tasks; then waits
 * for tasks in virtual time; then shields around tasks.
 */
#include "helpers.h"

#include <math.h>

/* ---- helpers ---- */

/* The locals of the coroutines here; each uses what it needs. */
struct job {
    struct notes *notes;
    cora_future futures[2];
    cora_future *ret_task;
    const char *word;
    double seconds;
    int *counter;
    int number;
};

#define JOB(self) cora_locals(self, struct job)

/* Ends a test: no coroutine may be left. */
static void end(cora_loop loop)
{
    virtual_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
}

/* Whether the last call that failed did so with this code, and these words in its message. */
static bool refused(int code, const char *words)
{
    cora_value error = cora_last_error();
    return cora_error_code(error) == code && strstr(cora_error_message(error), words) != NULL;
}

static cora_value failure(const char *text)
{
    return cora_error(CORA_EEXCEPTION, "%s", text);
}

static cora_next give_got(cora_coro self)
{
    return cora_return(self, cora_got(self));
}

static cora_next give_word(cora_coro self)
{
    if (JOB(self)->counter)
        ++*JOB(self)->counter;
    return cora_return(self, JOB(self)->word);
}

static cora_next give_number(cora_coro self)
{
    return cora_return(self, JOB(self)->number);
}

static cora_next never(cora_coro self)
{
    harness_fail(__FILE__, __LINE__, "a step that must not run");
    return cora_return(self, cora_nothing());
}

static cora_next await_future(cora_coro self)
{
    return cora_await(self, JOB(self)->futures[0], give_got);
}

static cora_next await_in_vain(cora_coro self)
{
    return cora_await(self, JOB(self)->futures[0], never);
}

static cora_next nap(cora_coro self)
{
    return cora_await(self, cora_sleep(JOB(self)->seconds), give_number);
}

static cora_next raise_spilled(cora_coro self)
{
    return cora_raise(self, failure("spilled"));
}

static cora_next nap_and_fail(cora_coro self)
{
    return cora_await(self, cora_sleep(JOB(self)->seconds), raise_spilled);
}

/* A coroutine that returns a word; one that awaits a future. */
static cora_coro saying(const char *word)
{
    return cora_coroutine(give_word, struct job, .word = word);
}

static cora_coro waiting_for(cora_future future)
{
    return cora_coroutine(await_future, struct job, .futures = { future });
}

/* Futures, and coroutines that await one each. */
static void make_waiting(cora_loop loop, cora_future *ret_futures, cora_coro *ret_coros, int count)
{
    make_futures(loop, ret_futures, count);
    for (int i = 0; i < count; i++)
        ret_coros[i] = waiting_for(ret_futures[i]);
}

static cora_future napping(cora_loop loop, double seconds)
{
    return cora_create_task(loop, cora_coroutine(nap, struct job, .seconds = seconds));
}

static cora_future failing_after(cora_loop loop, double seconds)
{
    return cora_create_task(loop, cora_coroutine(nap_and_fail, struct job, .seconds = seconds));
}

/* ---- what comes out of a gather of coroutines ---- */

/* b, then a, then c; the gather is done with the last. */
static void check_success(cora_loop loop, cora_future *f, cora_future all)
{
    int calls = 0;
    cora_add_done_callback(all, cora_partial(count_done, &calls));
    cora_set_result(f[1], cora_from(1));
    ticks(loop, 6);
    cora_set_result(f[0], cora_from(2));
    ticks(loop, 6);
    CHECK(!cora_done(all));
    CHECK_INT(calls, 0);
    cora_set_result(f[2], cora_from(3));
    ticks(loop, 6);
    CHECK_INT(calls, 1);
    CHECK_TEXT(outcome(all), "[2, 1, 3]");
}

TEST(success, "coroutines become tasks; their results are in the order of the arguments",
     "test_tasks.CoroutineGatherTests.test_success")
{
    cora_loop loop = virtual_loop_new();
    cora_future f[3];
    cora_coro coros[3];
    make_waiting(loop, f, coros, 3);
    cora_future all = cora_gather(loop, coros, 3);
    CHECK_INT(cora_list_size(cora_all_tasks(loop)), 3);
    check_success(loop, f, all);
    make_waiting(loop, f, coros, 3);
    check_success(loop, f, cora_gather(loop, coros, 3, .return_exceptions = false));
    end(loop);
}

TEST(success_with_exceptions, "return_exceptions changes nothing where all succeed",
     "test_tasks.CoroutineGatherTests.test_result_exception_success")
{
    cora_loop loop = virtual_loop_new();
    cora_future f[3];
    cora_coro coros[3];
    make_waiting(loop, f, coros, 3);
    check_success(loop, f, cora_gather(loop, coros, 3, .return_exceptions = true));
    end(loop);
}

TEST(one_exception,
     "the first that fails ends it with that very error; what the others do later changes nothing",
     "test_tasks.CoroutineGatherTests.test_one_exception")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future f[5];
    cora_coro coros[5];
    int calls = 0;
    make_waiting(loop, f, coros, 5);
    cora_future all = cora_gather(loop, coros, 5);
    cora_value error = cora_copy(failure("b"));
    cora_add_done_callback(all, cora_partial(count_done, &calls));
    tick(loop);
    cora_set_result(f[0], cora_from(1));
    cora_set_exception(f[1], error);
    ticks(loop, 6);
    CHECK(cora_equal(cora_exception(all), error)); /* errors: the same object */
    CHECK_INT(calls, 1);
    CHECK_INT(cora_set_result(f[2], cora_from(3)), 0);
    CHECK(cora_cancel(f[3]));
    CHECK_INT(cora_set_exception(f[4], failure("e")), 0);
    ticks(loop, 6);
    CHECK(cora_equal(cora_exception(all), error));
    CHECK_INT(calls, 1);
    cora_drop(error);
    end(loop);
    CHECK_INT(reports.count, 0);
}

TEST(return_exceptions, "with return_exceptions errors are values of the list, the very objects",
     "test_tasks.CoroutineGatherTests.test_return_exceptions")
{
    cora_loop loop = virtual_loop_new();
    cora_future f[4];
    cora_coro coros[4];
    int calls = 0;
    make_waiting(loop, f, coros, 4);
    cora_future all = cora_gather(loop, coros, 4, .return_exceptions = true);
    cora_add_done_callback(all, cora_partial(count_done, &calls));
    cora_value first = cora_copy(failure("c")), second = cora_copy(failure("d"));
    tick(loop);
    cora_set_result(f[1], cora_from(1));
    cora_set_exception(f[2], first);
    cora_set_result(f[0], cora_from(3));
    ticks(loop, 6);
    CHECK(!cora_done(all));
    cora_set_exception(f[3], second);
    ticks(loop, 6);
    CHECK_INT(calls, 1);
    CHECK_TEXT(outcome(all), "[3, 1, Exception: c, Exception: d]");
    CHECK(cora_equal(cora_list_at(cora_result(all), 2), first));
    CHECK(cora_equal(cora_list_at(cora_result(all), 3), second));
    cora_drop(first);
    cora_drop(second);
    end(loop);
}

static cora_next fail_after_future(cora_coro self)
{
    return cora_raise(self, cora_error(CORA_ERUNTIME, "%s", JOB(self)->word));
}

static cora_next await_and_fail(cora_coro self)
{
    return cora_await(self, JOB(self)->futures[0], fail_after_future);
}

static cora_next gather_failing(cora_coro self)
{
    cora_coro coros[2];
    for (int i = 0; i < 2; i++)
        coros[i] = cora_coroutine(await_and_fail, struct job, .futures = { JOB(self)->futures[i] },
                                  .word = i == 0 ? "first" : "second");
    return cora_await(self, cora_gather(cora_running_loop(), coros, 2), never);
}

TEST(late_exception, "an error of a child that fails when the gather has failed counts as read",
     "test_tasks.CoroutineGatherTests.test_exception_marking")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future f[2];
    make_futures(loop, f, 2);
    cora_future task = cora_create_task(
        loop, cora_coroutine(gather_failing, struct job, .futures = { f[0], f[1] }));
    ticks(loop, 2);
    cora_set_result(f[0], cora_nothing());
    ticks(loop, 2);
    cora_set_result(f[1], cora_nothing());
    ticks(loop, 2);
    CHECK_TEXT(outcome(task), "RuntimeError: first");
    end(loop);
    CHECK_INT(reports.count, 0);
}

TEST(start_in_order, "the children begin in the next tick, in the order of the array")
{
    cora_loop loop = virtual_loop_new();
    char text[40];
    cora_coro coros[3];
    const char *words[] = { "one", "two", "three" };
    int begun = 0;
    for (int i = 0; i < 3; i++)
        coros[i] = cora_coroutine(give_word, struct job, .word = words[i], .counter = &begun);
    cora_future all = cora_gather(loop, coros, 3);
    cora_value list = cora_all_tasks(loop);
    for (size_t i = 0; i < 3; i++)
        CHECK(cora_same(cora_get_coro(cora_as_future(cora_list_at(list, i))), coros[i]));
    CHECK_INT(begun, 0);
    tick(loop);
    CHECK_INT(begun, 3);
    tick(loop);
    cora_print(cora_result(all), text, sizeof text);
    CHECK_TEXT(text, "[\"one\", \"two\", \"three\"]");
    end(loop);
}

TEST(mixed, "tasks, futures, coroutines and operations are gathered as awaitables")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_set_result(future, cora_int(1));
    cora_awaitable items[] = {
        cora_awaitable_of(future),
        cora_awaitable_of(cora_create_task(loop, saying("task"))),
        cora_awaitable_of(saying("coroutine")),
        cora_sleep_result(1, cora_int(4)),
    };
    cora_future all = cora_gather(loop, items, 4);
    cora_run_until_complete(loop, all);
    CHECK_TEXT(outcome(all), "[1, \"task\", \"coroutine\", 4]");
    end(loop);
}

/* ---- which loop ---- */

TEST(without_loop, "without a running or current loop a gather of coroutines is null",
     "test_tasks.CoroutineGatherTests.test_constructor_without_loop")
{
    cora_coro coros[2] = { saying("a"), saying("b") };
    cora_loop loop = cora_current_loop();
    CHECK(refused(CORA_ERUNTIME, "no current event loop"));
    CHECK(cora_is_null(cora_gather(loop, coros, 2)));
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
    for (int i = 0; i < 2; i++)
        CHECK_INT(cora_coro_close(coros[i]), 0);
    end(virtual_loop_new());
}

static cora_next gather_in_a_step(cora_coro self)
{
    cora_coro coros[2] = { saying("a"), saying("b") };
    cora_future all = cora_gather(cora_running_loop(), coros, 2);
    CHECK(cora_same(cora_future_loop(all), cora_running_loop()));
    return cora_await(self, all, give_got);
}

TEST(in_a_step, "in a step the gather is of the running loop",
     "test_tasks.CoroutineGatherTests.test_constructor_use_running_loop")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(gather_in_a_step));
    cora_run_until_complete(loop, task);
    CHECK_TEXT(outcome(task), "[\"a\", \"b\"]");
    end(loop);
}

TEST(with_current_loop, "with a loop that is set for the thread it is of that",
     "test_tasks.CoroutineGatherTests.test_constructor_use_global_loop")
{
    cora_loop loop = current_loop_new();
    cora_coro coros[2] = { saying("a"), saying("b") };
    cora_future all = cora_gather(cora_current_loop(), coros, 2);
    CHECK(cora_same(cora_future_loop(all), loop));
    cora_run_until_complete(loop, all);
    CHECK_TEXT(outcome(all), "[\"a\", \"b\"]");
    current_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
}

/* Whether a new loop's gather tells where it was created while this is all of the environment. */
static bool debug_with(char *variable)
{
    char *only[2] = { variable, NULL }, **outer_environ = environ;
    environ = only;
    cora_loop loop = virtual_loop_new();
    environ = outer_environ;
    cora_coro coro = saying("a");
    cora_future all = cora_gather(loop, &coro, 1);
    bool told = strstr(printed(all), "created at") != NULL;
    CHECK_INT(cora_get_debug(loop), told);
    cora_run_until_complete(loop, all);
    end(loop);
    return told;
}

TEST(debug_by_environment, "the environment switches debug mode on when a loop is made, if at all",
     "test_tasks.CoroutineGatherTests.test_env_var_debug")
{
    char on[] = "CORA_DEBUG=1", empty[] = "CORA_DEBUG=";
    CHECK(debug_with(on));
    CHECK(!debug_with(empty));
    CHECK(!debug_with(NULL));
}

/* ---- the same one twice ---- */

TEST(duplicates,
     "a coroutine that is in the array several times runs once, and its result is at "
     "each place",
     "test_tasks.CoroutineGatherTests.test_duplicate_coroutines")
{
    cora_loop loop = virtual_loop_new();
    int begun = 0;
    cora_coro c = cora_coroutine(give_word, struct job, .word = "abc", .counter = &begun);
    cora_coro d = saying("def");
    cora_future all = cora_gather(loop, ((cora_coro[]){ c, c, d, c }), 4);
    CHECK_INT(cora_list_size(cora_all_tasks(loop)), 2);
    cora_run_until_complete(loop, all);
    CHECK_TEXT(outcome(all), "[\"abc\", \"abc\", \"def\", \"abc\"]");
    CHECK_INT(begun, 1);
    end(loop);
}

TEST(duplicate_awaitables, "so it is among awaitables")
{
    cora_loop loop = virtual_loop_new();
    int begun = 0;
    cora_coro c = cora_coroutine(give_word, struct job, .word = "abc", .counter = &begun);
    cora_awaitable items[] = { cora_awaitable_of(c), cora_sleep_result(0, cora_int(1)),
                               cora_awaitable_of(c) };
    cora_future all = cora_gather(loop, items, 3);
    cora_run_until_complete(loop, all);
    CHECK_TEXT(outcome(all), "[\"abc\", 1, \"abc\"]");
    CHECK_INT(begun, 1);
    end(loop);
}

TEST(many_duplicates, "a thousand coroutines, each of them a hundred times, are a thousand tasks")
{
    enum { COUNT = 1000, TIMES = 100 };
    cora_loop loop = virtual_loop_new();
    static cora_coro coros[COUNT * TIMES];
    int begun = 0;
    for (int i = 0; i < COUNT; i++)
        coros[i] = cora_coroutine(give_word, struct job, .word = "x", .counter = &begun);
    for (int i = COUNT; i < COUNT * TIMES; i++)
        coros[i] = coros[(i * 7) % COUNT];
    cora_value list = cora_run_until_complete(loop, cora_gather(loop, coros, COUNT * TIMES));
    CHECK_INT(cora_list_size(list), COUNT * TIMES);
    CHECK_INT(begun, COUNT);
    end(loop);
}

/* ---- what cannot be gathered ---- */

/* A gather of a coroutine and this one: refused. The first has become a task all the same. */
static void check_refused(cora_coro wrong, int code)
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    int begun = 0;
    collect_reports(loop, &reports);
    cora_coro good = cora_coroutine(give_word, struct job, .word = "x", .counter = &begun);
    CHECK(cora_is_null(cora_gather(loop, ((cora_coro[]){ good, wrong }), 2)));
    CHECK_INT(cora_error_code(cora_last_error()), code);
    CHECK_INT(cora_list_size(cora_all_tasks(loop)), 1);
    tick(loop);
    CHECK_INT(begun, 1);
    ticks(loop, 2);
    CHECK_INT(cora_list_size(cora_all_tasks(loop)), 0);
    cora_coro_close(wrong);
    end(loop);
    CHECK_INT(reports.count, 0);
}

TEST(null_coroutine, "a null coroutine in the array is a TypeError; tasks that were made run on",
     "test_tasks.CoroutineGatherTests.test_issue46672")
{
    check_refused(cora_coroutine(NULL), CORA_ETYPE);
}

TEST(generator, "a generator is a TypeError")
{
    check_refused(cora_generator(give_number, struct job), CORA_ETYPE);
}

TEST(ended_coroutine, "a coroutine that has ended is a RuntimeError")
{
    cora_coro ended = saying("x");
    CHECK_INT(cora_coro_close(ended), 0);
    check_refused(ended, CORA_ERUNTIME);
}

static cora_next suspended(cora_coro self)
{
    return cora_yield(self, 1, give_number);
}

TEST(driven_coroutine, "a coroutine that was sent to is a RuntimeError")
{
    cora_coro driven = cora_generator_coroutine(cora_generator(suspended, struct job));
    cora_value ret = cora_nothing();
    CHECK_INT(cora_send(driven, cora_nothing(), &ret), 1);
    check_refused(driven, CORA_ERUNTIME);
}

TEST(coroutine_of_a_task, "a coroutine whose task has begun is a RuntimeError")
{
    cora_loop loop = virtual_loop_new();
    cora_coro coro = cora_coroutine(nap, struct job, .seconds = 1, .number = 5);
    cora_future task = cora_create_task(loop, coro);
    tick(loop);
    CHECK(cora_is_null(cora_gather(loop, &coro, 1)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ERUNTIME);
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, task)), 5);
    end(loop);
}

/* ---- cancelling ---- */

static cora_next gather_and_await(cora_coro self)
{
    struct job *job = JOB(self);
    cora_coro coros[2];
    for (int i = 0; i < 2; i++)
        coros[i] = cora_coroutine(await_in_vain, struct job, .futures = { job->futures[0] });
    *job->ret_task = cora_keep(cora_gather(cora_running_loop(), coros, 2));
    return cora_await(self, *job->ret_task, never);
}

TEST(cancel_broadcast,
     "a cancel of the task that awaits a gather cancels the children, what they "
     "await, the gather and then the task",
     "test_tasks.CoroutineGatherTests.test_cancellation_broadcast")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop), all = { 0 }, children[2];
    cora_future task =
        cora_create_task(loop, cora_coroutine(gather_and_await, struct job, .futures = { future },
                                              .ret_task = &all));
    ticks(loop, 2);
    cora_value list = cora_all_tasks(loop);
    for (size_t i = 0; i < 2; i++)
        children[i] = cora_keep(cora_as_future(cora_list_at(list, i + 1)));
    CHECK(cora_cancel(task));
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, task)), CORA_ECANCELLED);
    CHECK(!cora_cancel(all));
    CHECK(cora_cancelled(future));
    for (int i = 0; i < 2; i++) {
        CHECK(cora_cancelled(children[i]));
        CHECK_INT(cora_cancelling(children[i]), 1);
        CHECK_INT(cora_release(children[i]), 0);
    }
    CHECK_INT(cora_release(all), 0);
    end(loop);
}

struct attempt {
    cora_future all;
    int cancels;
    bool any;
};

static void cancel_all(cora_args bound, cora_future done)
{
    struct attempt *attempt = cora_arg(bound, 0, struct attempt *);
    (void)done;
    attempt->cancels++;
    attempt->any = cora_cancel(attempt->all);
}

TEST(cancel_too_late,
     "a gather whose children are all done cannot be cancelled, and has its result",
     "test_tasks.BaseTaskTests.test_cancel_gather_1")
{
    cora_loop loop = virtual_loop_new();
    struct attempt attempt = { .any = true };
    cora_future future = cora_future_new(loop), child = cora_create_task(loop, waiting_for(future));
    attempt.all = cora_gather(loop, &child, 1);
    tick(loop);
    cora_add_done_callback(future, cora_partial(cancel_all, &attempt));
    cora_set_result(future, cora_int(42));
    CHECK(!cora_done(attempt.all));
    cora_run_until_complete(loop, attempt.all);
    CHECK_INT(attempt.cancels, 1);
    CHECK(!attempt.any);
    CHECK(!cora_cancelled(attempt.all));
    CHECK_TEXT(outcome(attempt.all), "[42]");
    end(loop);
}

static cora_next gather_a_nap(cora_coro self)
{
    cora_coro coro = cora_coroutine(nap, struct job, .seconds = 0.05);
    cora_future all = cora_gather(cora_running_loop(), &coro, 1, .return_exceptions = true);
    return cora_await(self, all, gather_a_nap);
}

static void cancel_with(cora_args bound)
{
    CHECK(cora_cancel_with(cora_arg_future(bound, 0), cora_arg(bound, 1, const char *)));
}

TEST(cancel_with_message,
     "Cancelled is raised where the gather is awaited, with the message, also with "
     "return_exceptions",
     "test_tasks.BaseTaskTests.test_cancel_gather_2")
{
    static const char *const messages[] = { NULL, "my message", "5" };
    for (size_t i = 0; i < 3; i++) {
        cora_loop loop = virtual_loop_new();
        cora_future task = cora_create_task(loop, cora_coroutine(gather_a_nap, struct job));
        cora_call_later(loop, 0.22, cora_partial(cancel_with, task, (const void *)messages[i]));
        cora_value error = cora_run_until_complete(loop, task);
        CHECK_INT(cora_error_code(error), CORA_ECANCELLED);
        CHECK_TEXT(cora_error_message(error), messages[i] ? messages[i] : "");
        CHECK(cora_cancelled(task));
        CHECK_REAL(cora_time(loop), START + 0.22, LATE);
        end(loop);
    }
}

TEST(cancel_duplicates, "a task that is in the array twice is asked twice")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop), child = cora_create_task(loop, waiting_for(future));
    cora_future all = cora_gather(loop, ((cora_future[]){ child, child }), 2);
    tick(loop);
    CHECK(cora_cancel(all));
    CHECK_INT(cora_cancelling(child), 2);
    cora_run_until_complete(loop, all);
    CHECK(cora_cancelled(child));
    CHECK(is_error(all, CORA_ECANCELLED));
    end(loop);
}

TEST(cancel_before_the_start, "cancelled before its children begin, none of them does")
{
    cora_loop loop = virtual_loop_new();
    cora_coro coros[2] = { cora_coroutine(never), cora_coroutine(never) };
    cora_future all = cora_gather(loop, coros, 2);
    CHECK(cora_cancel(all));
    ticks(loop, 2);
    CHECK(is_error(all, CORA_ECANCELLED));
    end(loop);
}

static cora_next swallow(cora_coro self)
{
    return cora_return(self, JOB(self)->word);
}

static cora_next try_future(cora_coro self)
{
    return cora_try(self, JOB(self)->futures[0], swallow);
}

TEST(cancel_swallowed, "a gather that was cancelled fails with Cancelled, also if all its children "
                       "refused")
{
    for (int tolerant = 0; tolerant < 2; tolerant++) {
        cora_loop loop = virtual_loop_new();
        cora_future future = cora_future_new(loop), children[2];
        for (int i = 0; i < 2; i++)
            children[i] = cora_create_task(
                loop, cora_coroutine(try_future, struct job, .futures = { future }, .word = "no"));
        cora_future all = cora_gather(loop, children, 2, .return_exceptions = tolerant);
        tick(loop);
        CHECK(cora_cancel(all));
        ticks(loop, 2);
        CHECK(cora_done(all));
        CHECK(!cora_cancelled(all)); /* it failed with a Cancelled error */
        CHECK(is_error(all, CORA_ECANCELLED));
        CHECK_TEXT(outcome(children[0]), "\"no\"");
        CHECK_TEXT(outcome(children[1]), "\"no\"");
        end(loop);
    }
}

static cora_next wait_longer(cora_coro self)
{
    return cora_await(self, cora_sleep(3), swallow);
}

static cora_next try_and_clean_up(cora_coro self)
{
    return cora_try(self, JOB(self)->futures[0], wait_longer);
}

TEST(cancel_waits_for_all, "with return_exceptions a cancelled gather is done when all have ended")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop), children[2];
    children[0] = cora_create_task(loop, waiting_for(future));
    children[1] = cora_create_task(
        loop, cora_coroutine(try_and_clean_up, struct job, .futures = { future }, .word = "late"));
    cora_future all = cora_gather(loop, children, 2, .return_exceptions = true);
    tick(loop);
    CHECK(cora_cancel_with(all, "enough"));
    ticks(loop, 5);
    CHECK(cora_cancelled(children[0]));
    CHECK(!cora_done(all));
    cora_run_until_complete(loop, all);
    CHECK_REAL(cora_time(loop), START + 3, LATE);
    CHECK_TEXT(outcome(children[1]), "\"late\"");
    CHECK(is_error(all, CORA_ECANCELLED));
    end(loop);
}

TEST(cancel_of_a_child, "a child that is cancelled by itself fails the gather; the awaiting task "
                        "is cancelled by that, though nobody asked it")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop), all = { 0 };
    cora_future task =
        cora_create_task(loop, cora_coroutine(gather_and_await, struct job, .futures = { future },
                                              .ret_task = &all));
    ticks(loop, 2);
    cora_future child = cora_as_future(cora_list_at(cora_all_tasks(loop), 1));
    CHECK(cora_cancel_with(child, "alone"));
    ticks(loop, 4);
    CHECK(!cora_cancelled(all));
    CHECK(cora_cancelled(task));
    CHECK_TEXT(outcome(task), "CancelledError: alone");
    CHECK_INT(cora_cancelling(task), 0);
    CHECK_INT(cora_release(all), 0);
    end(loop);
}

TEST(children_are_readable, "a child keeps its outcome as long as the gather is there")
{
    cora_loop loop = virtual_loop_new();
    cora_future children[2] = { napping(loop, 1), failing_after(loop, 2) };
    cora_future all = cora_gather(loop, children, 2, .return_exceptions = true);
    cora_run_until_complete(loop, all);
    CHECK_TEXT(outcome(all), "[0, Exception: spilled]");
    CHECK_TEXT(outcome(children[0]), "0");
    CHECK_TEXT(outcome(children[1]), "Exception: spilled");
    end(loop);
}

/* ---- wait ---- */

/* A task that waits for two tasks and gives what that comes to. */
struct waiting {
    cora_future tasks[2];
    double timeout;
    enum cora_return_when rule;
};

static cora_next wait_for_tasks(cora_coro self)
{
    struct waiting *waiting = cora_locals(self, struct waiting);
    return cora_await(self, cora_wait(waiting->tasks, 2, waiting->timeout, waiting->rule),
                      give_got);
}

static cora_future wait_task(cora_loop loop, cora_future b, cora_future a, double timeout,
                             enum cora_return_when rule)
{
    return cora_create_task(loop, cora_coroutine(wait_for_tasks, struct waiting, .tasks = { b, a },
                                                 .timeout = timeout, .rule = rule));
}

/* Whether a wait came to these; a null future is none. */
static bool came_to(cora_value lists, cora_future done, cora_future pending)
{
    cora_value d = cora_list_at(lists, 0), p = cora_list_at(lists, 1);
    return cora_list_size(d) == (cora_is_null(done) ? 0 : 1) &&
           cora_list_size(p) == (cora_is_null(pending) ? 0 : 1) &&
           (cora_is_null(done) || cora_same(cora_as_future(cora_list_at(d, 0)), done)) &&
           (cora_is_null(pending) || cora_same(cora_as_future(cora_list_at(p, 0)), pending));
}

TEST(wait_first_completed,
     "FIRST_COMPLETED: the first ends it; the other goes on, for a later wait",
     "test_tasks.BaseTaskTests.test_wait_first_completed")
{
    cora_loop loop = virtual_loop_new();
    cora_future a = napping(loop, 10), b = napping(loop, 0.1);
    cora_value lists =
        cora_run_until_complete(loop, wait_task(loop, b, a, INFINITY, CORA_FIRST_COMPLETED));
    CHECK(came_to(lists, b, a));
    CHECK(!cora_done(a));
    CHECK_TEXT(outcome(b), "0");
    CHECK_REAL(cora_time(loop), START + 0.1, LATE);
    lists = cora_run_until_complete(loop, wait_task(loop, b, a, INFINITY, CORA_ALL_COMPLETED));
    CHECK_INT(cora_list_size(cora_list_at(lists, 0)), 2);
    CHECK(!cora_cancelled(a));
    end(loop);
}

static cora_next sleep_zero_again(cora_coro self)
{
    if (JOB(self)->number-- == 0)
        return cora_return(self, cora_nothing());
    return cora_await(self, cora_sleep(0), sleep_zero_again);
}

static cora_future yielding(cora_loop loop, int times)
{
    return cora_create_task(loop, cora_coroutine(sleep_zero_again, struct job, .number = times));
}

TEST(wait_really_done, "done is what is done when the waiting task goes on, not what woke it",
     "test_tasks.BaseTaskTests.test_wait_really_done")
{
    cora_loop loop = virtual_loop_new();
    cora_future a = yielding(loop, 1), b = yielding(loop, 2);
    cora_value lists =
        cora_run_until_complete(loop, wait_task(loop, b, a, INFINITY, CORA_FIRST_COMPLETED));
    CHECK_INT(cora_list_size(cora_list_at(lists, 0)), 2);
    CHECK_INT(cora_list_size(cora_list_at(lists, 1)), 0);
    end(loop);
}

TEST(wait_first_exception, "FIRST_EXCEPTION: the first that fails ends it",
     "test_tasks.BaseTaskTests.test_wait_first_exception_in_wait")
{
    cora_loop loop = virtual_loop_new();
    cora_future a = napping(loop, 10), b = failing_after(loop, 0.01);
    cora_value lists =
        cora_run_until_complete(loop, wait_task(loop, b, a, INFINITY, CORA_FIRST_EXCEPTION));
    CHECK(came_to(lists, b, a));
    CHECK_REAL(cora_time(loop), START + 0.01, LATE);
    cora_cancel(a);
    ticks(loop, 2);
    end(loop);
}

TEST(wait_with_exception, "a wait never fails because of what it waits for, also the second time",
     "test_tasks.BaseTaskTests.test_wait_with_exception")
{
    cora_loop loop = virtual_loop_new();
    cora_future a = napping(loop, 0.1), b = failing_after(loop, 0.15);
    for (int i = 0; i < 2; i++) {
        cora_value lists =
            cora_run_until_complete(loop, wait_task(loop, b, a, INFINITY, CORA_ALL_COMPLETED));
        CHECK_INT(cora_list_size(cora_list_at(lists, 0)), 2);
        CHECK_INT(cora_list_size(cora_list_at(lists, 1)), 0);
        CHECK(is_error(b, CORA_EEXCEPTION));
        CHECK(cora_is_nothing(cora_exception(a)));
        CHECK_REAL(cora_time(loop), START + 0.15, 2 * LATE);
    }
    end(loop);
}

TEST(wait_with_timeout, "a time-out is no error: what is done by then, and the others run on",
     "test_tasks.BaseTaskTests.test_wait_with_timeout")
{
    cora_loop loop = virtual_loop_new();
    cora_future a = napping(loop, 0.1), b = napping(loop, 0.15);
    cora_value lists =
        cora_run_until_complete(loop, wait_task(loop, b, a, 0.11, CORA_ALL_COMPLETED));
    CHECK(came_to(lists, a, b));
    CHECK_REAL(cora_time(loop), START + 0.11, 2 * LATE);
    cora_run_until_complete(loop, b);
    CHECK_TEXT(outcome(b), "0");
    end(loop);
}

TEST(wait_concurrent,
     "a task whose timer is due in the moment of the time-out, armed before it, is "
     "done",
     "test_tasks.BaseTaskTests.test_wait_concurrent_complete")
{
    cora_loop loop = virtual_loop_new();
    cora_future a = napping(loop, 0.1), b = napping(loop, 0.15);
    cora_value lists =
        cora_run_until_complete(loop, wait_task(loop, b, a, 0.1, CORA_ALL_COMPLETED));
    CHECK(came_to(lists, a, b));
    CHECK_REAL(cora_time(loop), START + 0.1, LATE);
    cora_run_until_complete(loop, b);
    end(loop);
}

static cora_next wait_for_fresh_ones(cora_coro self)
{
    cora_future tasks[10];
    for (int i = 0; i < 10; i++)
        tasks[i] = cora_create_task(cora_running_loop(), saying("x"));
    cora_next next = cora_await(self, cora_wait(tasks, 10, INFINITY, CORA_ALL_COMPLETED), give_got);
    memset(tasks, 0, sizeof tasks); /* it was copied */
    return next;
}

TEST(wait_for_ten, "ten tasks that a step has just made are waited for; the array is copied",
     "test_tasks.BaseTaskTests.test_wait_generator",
     "test_tasks.BaseTaskTests.test_wait_with_iterator_of_tasks")
{
    cora_loop loop = virtual_loop_new();
    cora_value lists = cora_run_until_complete(loop, cora_coroutine(wait_for_fresh_ones));
    CHECK_INT(cora_list_size(cora_list_at(lists, 0)), 10);
    CHECK_INT(cora_list_size(cora_list_at(lists, 1)), 0);
    end(loop);
}

TEST(wait_cancelled, "a cancel of the waiting task leaves the tasks alone that it waits for")
{
    cora_loop loop = virtual_loop_new();
    cora_future a = napping(loop, 1), b = napping(loop, 2);
    cora_future waiting = wait_task(loop, b, a, 5, CORA_ALL_COMPLETED);
    ticks(loop, 2);
    CHECK(cora_cancel(waiting));
    ticks(loop, 2);
    CHECK(cora_cancelled(waiting));
    CHECK_INT(cora_cancelling(a) + cora_cancelling(b), 0);
    run_for(loop, 3);
    CHECK_TEXT(outcome(b), "0");
    end(loop);
}

static cora_next wait_for_coroutines(cora_coro self)
{
    struct job *job = JOB(self);
    cora_coro coros[2] = { saying("a"), saying("b") };
    return cora_await(
        self, cora_wait(coros, (size_t)job->number, INFINITY, (enum cora_return_when)job->seconds),
        never);
}

TEST(wait_for_coroutines, "a wait for bare coroutines is a TypeError that tells what to write")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_value error =
        cora_run_until_complete(loop, cora_coroutine(wait_for_coroutines, struct job, .number = 2));
    CHECK_INT(cora_error_code(error), CORA_ETYPE);
    CHECK(strstr(cora_error_message(error), "cora_create_task") != NULL);
    CHECK_INT(reports.count, 2);
    CHECK_TEXT(reports.message, "coroutine 'give_word' was never awaited");
    end(loop);
}

TEST(wait_for_coroutines_wrong, "of none, or with an unknown rule, it is a ValueError before that")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_value error =
        cora_run_until_complete(loop, cora_coroutine(wait_for_coroutines, struct job, .number = 0));
    CHECK_INT(cora_error_code(error), CORA_EVALUE);
    error = cora_run_until_complete(
        loop, cora_coroutine(wait_for_coroutines, struct job, .number = 2, .seconds = 99));
    CHECK_INT(cora_error_code(error), CORA_EVALUE);
    CHECK_INT(reports.count, 4);
    end(loop);
}

static void count_type_error(cora_args bound, cora_future done)
{
    *cora_arg(bound, 0, int *) += is_error(done, CORA_ETYPE);
}

TEST(wait_for_coroutines_later, "so it is in a task of such a wait, and called back")
{
    cora_loop loop = current_loop_new();
    cora_coro coros[1] = { cora_coroutine(give_number, struct job) };
    cora_awaitable wait = cora_wait(coros, 1, INFINITY, CORA_ALL_COMPLETED);
    cora_future task = cora_create_task(loop, wait);
    cora_future ensured = cora_ensure_future(loop, wait);
    int failed = 0;
    cora_when_done(wait, cora_partial(count_type_error, &failed));
    CHECK_INT(cora_coro_close(coros[0]), 0);
    ticks(loop, 3);
    CHECK(is_error(task, CORA_ETYPE));
    CHECK(is_error(ensured, CORA_ETYPE));
    CHECK_INT(failed, 1);
    current_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
}

/* ---- shield ---- */

static cora_next inner_is_over(cora_coro self)
{
    ++*JOB(self)->counter;
    return cora_return(self, cora_nothing());
}

static cora_next inner(cora_coro self)
{
    return cora_await(self, JOB(self)->futures[0], inner_is_over);
}

static cora_next await_shield(cora_coro self)
{
    struct job *job = JOB(self);
    cora_coro shielded =
        cora_coroutine(inner, struct job, .futures = { job->futures[0] }, .counter = job->counter);
    return cora_await(self, cora_shield(cora_running_loop(), shielded), never);
}

TEST(shield_effect, "a cancel of the task that awaits a shield lets the coroutine in it run on",
     "test_tasks.BaseTaskTests.test_shield_effect")
{
    cora_loop loop = virtual_loop_new();
    int over = 0;
    cora_future future = cora_future_new(loop);
    cora_future task = cora_create_task(
        loop, cora_coroutine(await_shield, struct job, .futures = { future }, .counter = &over));
    ticks(loop, 2);
    CHECK(cora_cancel(task));
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, task)), CORA_ECANCELLED);
    CHECK(!cora_done(future));
    CHECK_INT(cora_set_result(future, cora_nothing()), 0);
    CHECK_INT(over, 0);
    tick(loop);
    CHECK_INT(over, 1);
    end(loop);
}

TEST(shield_without_loop, "without a running or current loop a shield of a coroutine is null",
     "test_tasks.BaseTaskTests.test_shield_coroutine_without_loop")
{
    cora_coro coro = cora_coroutine(never);
    cora_loop loop = cora_current_loop();
    CHECK(refused(CORA_ERUNTIME, "no current event loop"));
    CHECK(cora_is_null(cora_shield(loop, coro)));
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
    cora_coro_close(coro);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(shield_with_current_loop, "with a loop that is set for the thread it is of that",
     "test_tasks.BaseTaskTests.test_shield_coroutine_use_global_loop")
{
    cora_loop loop = current_loop_new();
    cora_future outer =
        cora_shield(cora_current_loop(), cora_coroutine(give_number, struct job, .number = 42));
    CHECK(cora_same(cora_future_loop(outer), loop));
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, outer)), 42);
    current_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(shield_of_a_done_task, "a task that is done comes back as it is")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, saying("x"));
    tick(loop);
    CHECK(cora_same(cora_shield(loop, task), task));
    end(loop);
}

TEST(shield_inner_cancelled, "a task that is cancelled cancels the shields around it")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = napping(loop, 10);
    cora_future outer = cora_shield(loop, task);
    tick(loop);
    CHECK(cora_cancel(task));
    ticks(loop, 2);
    CHECK(cora_cancelled(outer));
    end(loop);
}

TEST(
    shield_error_afterwards,
    "an error that the task has when its shield was cancelled is reported once, and counts as read")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future task = failing_after(loop, 1);
    CHECK(cora_cancel(cora_shield(loop, task)));
    CHECK(cora_cancel(cora_shield(loop, task)));
    run_for(loop, 2);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Exception exception in shielded future");
    CHECK(cora_same(reports.future, task));
    end(loop);
    CHECK_INT(reports.count, 1);
}

TEST(shield_destroyed,
     "a task that a shield or ensure_future has made is reported as destroyed; one "
     "of a gather is not")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_coro coro = cora_coroutine(nap, struct job, .seconds = 10);
    cora_gather(loop, &coro, 1);
    cora_shield(loop, cora_coroutine(nap, struct job, .seconds = 10));
    cora_ensure_future(loop, cora_coroutine(nap, struct job, .seconds = 10));
    tick(loop);
    end(loop);
    CHECK_INT(reports.count, 2);
    CHECK_TEXT(reports.message, "Task was destroyed but it is pending!");
}
