/*
 * Work in an executor as futures of a loop, and what other threads give a loop to do.
 */
#include "coroutines.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a shipyard ---- */

static cora_value sum(cora_args bound)
{
    return cora_int(cora_arg_int(bound, 0) + cora_arg_int(bound, 1));
}

static cora_value thread_of(cora_args bound)
{
    (void)bound;
    return cora_int((int64_t)pthread_self());
}

static cora_value fail_test(cora_args bound)
{
    (void)bound;
    return cora_error(CORA_ERUNTIME, "test");
}

static cora_value count_up(cora_args bound)
{
    return cora_int(atomic_fetch_add((atomic_int *)cora_arg_pointer(bound, 0), 1));
}

/* A gate that work waits at. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static bool gate_is_open;
static int at_gate;

static cora_value pass_gate(cora_args bound)
{
    pthread_mutex_lock(&lock);
    at_gate++;
    pthread_cond_broadcast(&moved);
    while (!gate_is_open)
        pthread_cond_wait(&moved, &lock);
    pthread_mutex_unlock(&lock);
    return cora_int(bound.count > 0 ? cora_arg_int(bound, 0) : 7);
}

static void gate_set(bool open)
{
    pthread_mutex_lock(&lock);
    gate_is_open = open;
    pthread_cond_broadcast(&moved);
    pthread_mutex_unlock(&lock);
}

static void wait_at_gate(int many)
{
    pthread_mutex_lock(&lock);
    while (at_gate < many)
        pthread_cond_wait(&moved, &lock);
    pthread_mutex_unlock(&lock);
}

static void gate_shut(void)
{
    gate_set(false);
    at_gate = 0;
}

static cora_executor pool_of(int workers)
{
    return cora_thread_pool_new(&(struct cora_thread_pool_options){ .max_workers = workers });
}

static const cora_executor its_default = { 0 };

/* ---- run_in_executor ---- */

TEST(done, "work in an executor is a future: its callback gets what the work has given",
     "test_events.EventLoopTestsMixin.test_run_in_executor")
{
    struct notes notes = { "" };
    cora_loop loop = cora_loop_new(NULL);
    cora_future job = cora_run_in_executor(loop, its_default, cora_partial(sum, 40, 2));
    cora_add_done_callback(job, cora_partial(note_outcome, &notes));
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, job)), 42);
    CHECK_TEXT(notes.text, "42");
    cora_loop_close(loop);
}

TEST(other_thread, "the work is done in another thread",
     "test_events.EventLoopTestsMixin.test_run_in_executor")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future job = cora_run_in_executor(loop, its_default, cora_partial(thread_of));
    CHECK(cora_as_int(cora_run_until_complete(loop, job)) != (int64_t)pthread_self());
    cora_loop_close(loop);
}

TEST(fails, "work that gives an error fails its future")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future job = cora_run_in_executor(loop, its_default, cora_partial(fail_test));
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, job)), CORA_ERUNTIME);
    cora_loop_close(loop);
}

TEST(cancel_waiting, "a cancelled future is cancelled at once, and its work is never done")
{
    gate_shut();
    atomic_int built = 0;
    cora_loop loop = cora_loop_new(NULL);
    cora_executor yard = pool_of(1);
    cora_future first = cora_run_in_executor(loop, yard, cora_partial(pass_gate));
    cora_future second = cora_run_in_executor(loop, yard, cora_partial(count_up, &built));
    wait_at_gate(1);
    CHECK(cora_cancel(second));
    CHECK(cora_cancelled(second));
    ticks(loop, 1);
    gate_set(true);
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, first)), 7);
    cora_executor_shutdown(yard);
    CHECK_INT(built, 0);
    cora_loop_close(loop);
}

TEST(cancel_running, "the loop may be closed while cancelled work runs",
     "test_events.EventLoopTestsMixin.test_run_in_executor_cancel")
{
    gate_shut();
    cora_loop loop = cora_loop_new(NULL);
    cora_executor yard = pool_of(1);
    cora_set_default_executor(loop, yard);
    cora_future job = cora_run_in_executor(loop, its_default, cora_partial(pass_gate));
    wait_at_gate(1);
    cora_cancel(job);
    CHECK(
        !cora_is_error(cora_run_until_complete(loop, cora_shutdown_default_executor(loop, 0.001))));
    cora_loop_close(loop);
    gate_set(true);
    cora_executor_shutdown(yard);
    harness_threads_end();
}

TEST(refused, "what cannot be submitted gives a null future, and the error says why")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_executor yard = pool_of(1);
    cora_executor_shutdown(yard);
    size_t live = cora_live(loop);
    CHECK(cora_is_null(cora_run_in_executor(loop, yard, cora_partial(sum, 1, 2))));
    CHECK_INT(cora_last_error_code(), CORA_ERUNTIME);
    CHECK_INT(cora_live(loop), live);
    cora_loop_close(loop);
    CHECK(cora_is_null(cora_run_in_executor(loop, its_default, cora_partial(sum, 1, 2))));
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
}

TEST(closed, "a closed loop runs nothing, and takes neither callbacks nor tasks nor work",
     "test_events.EventLoopTestsMixin.test_close")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    cora_loop_close(loop);
    CHECK_INT(cora_run_forever(loop), CORA_ERUNTIME);
    CHECK(cora_error_is(cora_run_until_complete(loop, future), CORA_ERUNTIME));
    CHECK(cora_is_null(cora_call_soon(loop, cora_partial(nothing))));
    CHECK(cora_is_null(cora_call_soon_threadsafe(loop, cora_partial(nothing))));
    CHECK(cora_is_null(cora_call_later(loop, 1, cora_partial(nothing))));
    CHECK(cora_is_null(cora_call_at(loop, 1, cora_partial(nothing))));
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
    CHECK(cora_is_null(cora_create_task(loop, cora_sleep(0))));
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
    CHECK(cora_add_signal_handler(loop, SIGUSR1, cora_partial(nothing)) < 0);
    CHECK(cora_is_null(cora_run_in_executor(loop, its_default, cora_partial(sum, 1, 2))));
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
}

/* ---- to_thread ---- */

static cora_next gives(cora_coro self)
{
    return cora_return(self, cora_got(self));
}

static cora_next sums_elsewhere(cora_coro self)
{
    return cora_await(self, cora_to_thread(cora_partial(sum, 40, 2)), gives);
}

TEST(to_thread_callback, "work in a thread calls back when it is done")
{
    struct notes notes = { "" };
    cora_loop loop = cora_loop_new(NULL);
    cora_set_current_loop(loop);
    cora_future job =
        cora_when_done(cora_to_thread(cora_partial(sum, 1, 2)), cora_partial(note_outcome, &notes));
    cora_run_until_complete(loop, job);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "3");
    cora_set_current_loop((cora_loop){ 0 });
    cora_loop_close(loop);
}

TEST(to_thread, "a coroutine awaits work in a thread, and goes on with what it gives",
     "test_threads.ToThreadTests.test_to_thread")
{
    CHECK_INT(cora_as_int(cora_run(cora_coroutine(sums_elsewhere))), 42);
}

static cora_next fails_elsewhere(cora_coro self)
{
    return cora_await(self, cora_to_thread(cora_partial(fail_test)), gives);
}

TEST(to_thread_fails, "an error of work in a thread is raised where it is awaited",
     "test_threads.ToThreadTests.test_to_thread_exception")
{
    cora_value outcome = cora_run(cora_coroutine(fails_elsewhere));
    CHECK_INT(cora_error_code(outcome), CORA_ERUNTIME);
    CHECK_TEXT(cora_error_message(outcome), "test");
}

TEST(to_thread_once, "awaited work in a thread is done once",
     "test_threads.ToThreadTests.test_to_thread_once")
{
    atomic_int built = 0;
    CHECK_INT(cora_as_int(cora_run(cora_to_thread(cora_partial(count_up, &built)))), 0);
    CHECK_INT(built, 1);
}

struct yard {
    atomic_int *built;
};

static cora_next builds_ten(cora_coro self)
{
    struct yard *yard = cora_locals(self, struct yard);
    cora_awaitable jobs[10];
    for (int i = 0; i < 10; i++)
        jobs[i] = cora_to_thread(cora_partial(count_up, yard->built));
    return cora_await(self, cora_gather(cora_running_loop(), jobs, 10), cora_return_nothing);
}

TEST(to_thread_many, "ten pieces of work that are gathered are done ten times",
     "test_threads.ToThreadTests.test_to_thread_concurrent")
{
    atomic_int built = 0;
    CHECK(!cora_is_error(cora_run(cora_coroutine(builds_ten, struct yard, .built = &built))));
    CHECK_INT(built, 10);
}

static const cora_variable captain = { "captain", { 0 } };

static cora_value captain_of(cora_args bound)
{
    (void)bound;
    cora_value found = cora_context_get(&captain);
    cora_context_set(&captain, cora_static("somebody else"));
    return found;
}

static cora_next asks_elsewhere(cora_coro self)
{
    cora_context_set(&captain, cora_static("parrot"));
    return cora_await(self, cora_to_thread(cora_partial(captain_of)), gives);
}

TEST(to_thread_context, "work in a thread sees the variables of who awaits it",
     "test_threads.ToThreadTests.test_to_thread_contextvars")
{
    CHECK_TEXT(cora_as_text(cora_run(cora_coroutine(asks_elsewhere))), "parrot");
}

static cora_next asks_pool(cora_coro self)
{
    cora_context_set(&captain, cora_static("parrot"));
    return cora_await(
        self, cora_run_in_executor(cora_running_loop(), its_default, cora_partial(captain_of)),
        gives);
}

TEST(executor_context, "work that is given to an executor itself sees none")
{
    CHECK(cora_is_nothing(cora_run(cora_coroutine(asks_pool))));
}

TEST(to_thread_cancel, "a task that is cancelled while its work runs ends, and the work goes on")
{
    gate_shut();
    cora_loop loop = cora_loop_new(NULL);
    cora_executor yard = pool_of(1);
    cora_set_default_executor(loop, yard);
    cora_set_current_loop(loop);
    cora_future job = cora_ensure_future(loop, cora_to_thread(cora_partial(pass_gate)));
    ticks(loop, 1);
    wait_at_gate(1);
    cora_cancel(job);
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, job)), CORA_ECANCELLED);
    gate_set(true);
    cora_executor_shutdown(yard);
    ticks(loop, 2);
    cora_set_current_loop((cora_loop){ 0 });
    cora_loop_close(loop);
}

TEST(to_thread_unused, "work that is never awaited is never done, and its arguments are dropped")
{
    int dropped = 0;
    cora_to_thread(cora_partial(count_up, cora_own(&dropped, &counted)));
    cora_drop_temporaries();
    CHECK_INT(dropped, 1);
}

/* ---- the end of the default executor ---- */

TEST(shutdown, "a shutdown of the default executor ends when its work is done; more is refused")
{
    atomic_int built = 0;
    cora_loop loop = cora_loop_new(NULL);
    for (int i = 0; i < 20; i++)
        cora_run_in_executor(loop, its_default, cora_partial(count_up, &built));
    CHECK(cora_is_nothing(
        cora_run_until_complete(loop, cora_shutdown_default_executor(loop, INFINITY))));
    CHECK_INT(built, 20);
    CHECK(cora_is_null(cora_run_in_executor(loop, its_default, cora_partial(sum, 1, 2))));
    CHECK_INT(cora_last_error_code(), CORA_ERUNTIME);
    CHECK(cora_is_nothing(
        cora_run_until_complete(loop, cora_shutdown_default_executor(loop, INFINITY))));
    cora_loop_close(loop);
}

TEST(shutdown_unused, "a default executor that was never needed is shut down at once")
{
    cora_loop loop = cora_loop_new(NULL);
    CHECK(cora_is_nothing(
        cora_run_until_complete(loop, cora_shutdown_default_executor(loop, INFINITY))));
    CHECK_INT(cora_error_code(
                  cora_run_until_complete(loop, cora_shutdown_default_executor(loop, (double)NAN))),
              CORA_EVALUE);
    cora_loop_close(loop);
}

TEST(shutdown_timeout, "a shutdown whose time is over is reported, and the work goes on",
     "test_base_events.BaseEventLoopTests.test_shutdown_default_executor_timeout")
{
    gate_shut();
    struct reports reports;
    cora_loop loop = cora_loop_new(NULL);
    cora_executor yard = pool_of(1);
    cora_set_default_executor(loop, yard);
    collect_reports(loop, &reports);
    cora_run_in_executor(loop, its_default, cora_partial(pass_gate));
    wait_at_gate(1);
    CHECK(
        cora_is_nothing(cora_run_until_complete(loop, cora_shutdown_default_executor(loop, 0.01))));
    CHECK_INT(reports.count, 1);
    CHECK(strstr(reports.message, "within 0.01 seconds") != NULL);
    gate_set(true);
    cora_executor_shutdown(yard);
    harness_threads_end();
    cora_loop_close(loop);
}

TEST(shutdown_timeout_below_zero, "a time-out below zero is over at once, however far below")
{
    gate_shut();
    struct reports reports;
    cora_loop loop = cora_loop_new(NULL);
    cora_executor yard = pool_of(1);
    cora_set_default_executor(loop, yard);
    collect_reports(loop, &reports);
    cora_run_in_executor(loop, its_default, cora_partial(pass_gate));
    wait_at_gate(1);
    cora_run_until_complete(loop, cora_shutdown_default_executor(loop, -1));
    cora_run_until_complete(loop, cora_shutdown_default_executor(loop, -INFINITY));
    CHECK_INT(reports.count, 2);
    gate_set(true);
    cora_executor_shutdown(yard);
    harness_threads_end();
    cora_loop_close(loop);
}

static cora_next leaves_work(cora_coro self)
{
    struct yard *yard = cora_locals(self, struct yard);
    for (int i = 0; i < 20; i++)
        cora_run_in_executor(cora_running_loop(), its_default, cora_partial(count_up, yard->built));
    return cora_return_nothing(self);
}

TEST(run_waits, "a run ends when the work of its default executor has ended")
{
    atomic_int built = 0;
    cora_run(cora_coroutine(leaves_work, struct yard, .built = &built));
    CHECK_INT(built, 20);
}

/* ---- wrap_future ---- */

TEST(wrap, "a thread future is wrapped into a loop's future, which is done as that is",
     "test_futures.BaseFutureTests.test_wrap_future")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_executor yard = pool_of(1);
    cora_thread_future job = cora_executor_submit(yard, cora_partial(thread_of));
    cora_future wrapped = cora_wrap_future(loop, job);
    cora_value thread = cora_run_until_complete(loop, wrapped);
    CHECK(cora_as_int(thread) == cora_as_int(cora_thread_future_result(job, 0)));
    CHECK(cora_as_int(thread) != (int64_t)pthread_self());
    cora_thread_future_release(job);
    cora_executor_shutdown(yard);
    cora_loop_close(loop);
}

TEST(wrap_no_loop, "without a loop, running or current, wrapping is a RuntimeError",
     "test_futures.BaseFutureTests.test_wrap_future_without_loop")
{
    cora_thread_future job = cora_thread_future_new();
    CHECK(cora_is_null(cora_wrap_future((cora_loop){ 0 }, job)));
    CHECK_INT(cora_last_error_code(), CORA_ERUNTIME);
    CHECK(strstr(cora_error_message(cora_last_error()), "no current event loop") != NULL);
    cora_thread_future_release(job);
}

struct wrapping {
    cora_thread_future job;
    cora_loop loop;
};

static cora_next wraps(cora_coro self)
{
    struct wrapping *wrapping = cora_locals(self, struct wrapping);
    cora_future wrapped = cora_wrap_future((cora_loop){ 0 }, wrapping->job);
    CHECK(cora_same(cora_future_loop(wrapped), wrapping->loop));
    return cora_return_nothing(self);
}

TEST(wrap_running, "in a task a thread future is wrapped for the loop that runs it",
     "test_futures.BaseFutureTests.test_wrap_future_use_running_loop")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_thread_future job = cora_thread_future_new();
    cora_run_until_complete(loop, cora_coroutine(wraps, struct wrapping, .job = job, .loop = loop));
    cora_loop_close(loop);
    cora_thread_future_release(job);
}

TEST(wrap_current, "outside of a run it is wrapped for the thread's current loop",
     "test_futures.BaseFutureTests.test_wrap_future_use_global_loop")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_thread_future job = cora_thread_future_new();
    cora_set_current_loop(loop);
    CHECK(cora_same(cora_future_loop(cora_wrap_future((cora_loop){ 0 }, job)), loop));
    cora_set_current_loop((cora_loop){ 0 });
    cora_loop_close(loop);
    cora_thread_future_release(job);
}

TEST(wrap_cancel, "cancelling the wrapping future cancels the thread future",
     "test_futures.BaseFutureTests.test_wrap_future_cancel")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_thread_future job = cora_thread_future_new();
    cora_future wrapped = cora_wrap_future(loop, job);
    cora_cancel(wrapped);
    ticks(loop, 2);
    CHECK(cora_thread_future_cancelled(job));
    CHECK(cora_cancelled(wrapped));
    cora_thread_future_release(job);
    cora_loop_close(loop);
}

TEST(wrap_cancel_late,
     "one that has its result already keeps it when the wrapping future is cancelled",
     "test_futures.BaseFutureTests.test_wrap_future_cancel2")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_thread_future job = cora_thread_future_new();
    cora_future wrapped = cora_wrap_future(loop, job);
    cora_thread_future_set_result(job, cora_int(42));
    cora_cancel(wrapped);
    ticks(loop, 2);
    CHECK_INT(cora_as_int(cora_thread_future_result(job, 0)), 42);
    CHECK(cora_cancelled(wrapped));
    cora_thread_future_release(job);
    cora_loop_close(loop);
}

TEST(wrap_cancelled, "a thread future that is cancelled cancels the wrapping one")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_thread_future job = cora_thread_future_new();
    cora_future wrapped = cora_wrap_future(loop, job);
    cora_thread_future_cancel(job);
    cora_thread_future_release(job);
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, wrapped)), CORA_ECANCELLED);
    cora_loop_close(loop);
}

TEST(wrap_closed, "a loop that is closed forgets what it has wrapped, done or not")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_thread_future job = cora_thread_future_new(), late = cora_thread_future_new();
    cora_wrap_future(loop, job);
    cora_wrap_future(loop, late);
    cora_thread_future_set_result(job, cora_text("docked"));
    cora_loop_close(loop);
    cora_thread_future_set_result(late, cora_text("docked"));
    cora_thread_future_release(job);
    cora_thread_future_release(late);
}

/* ---- run_coroutine_threadsafe ---- */

struct adding {
    int a, b;
    bool fails, cancels;
};

static cora_next adds(cora_coro self)
{
    struct adding *adding = cora_locals(self, struct adding);
    return adding->fails ? cora_raise(self, cora_error(CORA_EVALUE, "Fail!"))
                         : cora_return(self, adding->a + adding->b);
}

static cora_next waits_long(cora_coro self)
{
    return cora_await(self, cora_sleep(10), cora_return_nothing);
}

static cora_next begins(cora_coro self)
{
    struct adding *adding = cora_locals(self, struct adding);
    if (adding->cancels) {
        cora_cancel(cora_current_task(cora_running_loop()));
        return waits_long(self);
    }
    return cora_await(self, cora_sleep(0.001), adds);
}

/* Work in a pool: asks the loop to add, and waits for so long. */
static cora_value asks_loop(cora_args bound)
{
    int flags = (int)cora_arg_int(bound, 1);
    double timeout = cora_arg_real(bound, 2);
    cora_thread_future asked = cora_run_coroutine_threadsafe(
        cora_arg_loop(bound, 0), cora_coroutine(begins, struct adding, .a = 1, .b = 2,
                                                .fails = flags & 1, .cancels = flags & 2));
    if (cora_is_null(asked))
        return cora_last_error();
    cora_value outcome = cora_thread_future_result(asked, timeout);
    if (cora_error_code(outcome) == CORA_ETIMEOUT) {
        CHECK(cora_thread_future_cancel(asked));
        CHECK(cora_thread_future_cancelled(asked));
    }
    CHECK(cora_thread_future_done(asked));
    cora_thread_future_release(asked);
    return outcome;
}

TEST(threadsafe, "a thread lets a loop run a coroutine, and waits for what it gives",
     "test_tasks.RunCoroutineThreadsafeTests.test_run_coroutine_threadsafe")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future asks =
        cora_run_in_executor(loop, its_default, cora_partial(asks_loop, loop, 0, (double)INFINITY));
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, asks)), 3);
    cora_loop_close(loop);
}

TEST(threadsafe_fails, "what the coroutine fails with comes to the thread",
     "test_free_threading.TestFreeThreading.test_run_coroutine_threadsafe_exception")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future asks[10];
    for (int i = 0; i < 10; i++)
        asks[i] = cora_run_in_executor(loop, its_default,
                                       cora_partial(asks_loop, loop, 1, (double)INFINITY));
    cora_value all =
        cora_run_until_complete(loop, cora_gather(loop, asks, 10, .return_exceptions = true));
    CHECK_INT(cora_list_size(all), 10);
    for (size_t i = 0; i < 10; i++) {
        CHECK_INT(cora_error_code(cora_list_at(all, i)), CORA_EVALUE);
        CHECK_TEXT(cora_error_message(cora_list_at(all, i)), "Fail!");
    }
    cora_loop_close(loop);
}

TEST(threadsafe_timeout, "a thread that waits no longer cancels the task",
     "test_tasks.RunCoroutineThreadsafeTests.test_run_coroutine_threadsafe_with_timeout")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future asks =
        cora_run_in_executor(loop, its_default, cora_partial(asks_loop, loop, 0, 0.0));
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, asks)), CORA_ETIMEOUT);
    ticks(loop, 3);
    CHECK_INT(cora_list_size(cora_all_tasks(loop)), 0);
    cora_loop_close(loop);
}

TEST(threadsafe_cancelled, "a coroutine that is cancelled ends the thread's wait with Cancelled",
     "test_tasks.RunCoroutineThreadsafeTests.test_run_coroutine_threadsafe_task_cancelled")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future asks =
        cora_run_in_executor(loop, its_default, cora_partial(asks_loop, loop, 2, (double)INFINITY));
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, asks)), CORA_ECANCELLED);
    cora_loop_close(loop);
}

static cora_future no_task(cora_args bound, cora_loop loop, cora_coro coro,
                           const struct cora_task_options *options)
{
    (void)bound, (void)loop, (void)coro, (void)options;
    cora_set_last_error(cora_error(CORA_ELOOKUP, "no berth"));
    return (cora_future){ 0 };
}

TEST(threadsafe_factory,
     "a task that cannot be made fails the thread's future, and is reported once",
     "test_tasks.RunCoroutineThreadsafeTests.test_run_coroutine_threadsafe_task_factory_exception")
{
    struct reports reports;
    cora_loop loop = cora_loop_new(NULL);
    collect_reports(loop, &reports);
    cora_set_task_factory(loop, cora_partial(no_task));
    cora_future asks =
        cora_run_in_executor(loop, its_default, cora_partial(asks_loop, loop, 0, (double)INFINITY));
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, asks)), CORA_ELOOKUP);
    CHECK_INT(reports.count, 1);
    CHECK_INT(reports.code, CORA_ELOOKUP);
    cora_loop_close(loop);
}

struct asking {
    cora_thread_future asked;
};

static cora_next cancels_asked(cora_coro self)
{
    struct asking *asking = cora_locals(self, struct asking);
    CHECK(cora_thread_future_cancel(asking->asked));
    return cora_await(self, cora_sleep(0), cora_return_nothing);
}

static cora_next asks_itself(cora_coro self)
{
    struct asking *asking = cora_locals(self, struct asking);
    cora_thread_future asked =
        cora_run_coroutine_threadsafe(cora_running_loop(), cora_coroutine(waits_long));
    asking->asked = cora_thread_future_keep(asked);
    return cora_await(self, cora_sleep(0), cancels_asked);
}

static void drop_asking(void *locals)
{
    struct asking *asking = locals;
    CHECK(cora_thread_future_cancelled(asking->asked));
    cora_thread_future_release(asking->asked);
    cora_thread_future_release(asking->asked);
}

TEST(threadsafe_own, "in the loop's own thread the cancel cancels the task directly",
     "test_tasks.RunCoroutineThreadsafeTests.test_run_coroutine_threadsafe_and_cancel")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_run_until_complete(
        loop, cora_coroutine_owning(asks_itself, drop_asking, struct asking, .asked = { 0 }));
    CHECK_INT(cora_list_size(cora_all_tasks(loop)), 0);
    cora_loop_close(loop);
}

TEST(threadsafe_operation, "an operation is run as a coroutine is; a future is refused")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_thread_future asked = cora_run_coroutine_threadsafe(loop, cora_sleep(0));
    CHECK(cora_is_null(cora_run_coroutine_threadsafe(loop, cora_future_new(loop))));
    CHECK_INT(cora_last_error_code(), CORA_ETYPE);
    ticks(loop, 5);
    CHECK(cora_is_nothing(cora_thread_future_result(asked, 0)));
    cora_thread_future_release(asked);
    cora_loop_close(loop);
}

TEST(threadsafe_closed, "a loop that is closed refuses; one that closes ends what it was asked for")
{
    int dropped = 0;
    cora_loop loop = cora_loop_new(NULL);
    cora_thread_future early = cora_run_coroutine_threadsafe(loop, cora_coroutine(waits_long));
    ticks(loop, 2);
    cora_thread_future late = cora_run_coroutine_threadsafe(loop, cora_coroutine(waits_long));
    struct reports reports;
    collect_reports(loop, &reports);
    cora_loop_close(loop);
    CHECK(cora_error_is(cora_thread_future_exception(early, 0), CORA_ERUNTIME) ||
          cora_thread_future_cancelled(early));
    CHECK(cora_error_is(cora_thread_future_exception(late, 0), CORA_ERUNTIME));
    CHECK(cora_is_null(cora_run_coroutine_threadsafe(
        loop, cora_coroutine_owning(cancels_asked, drop_job, struct job, .counter = &dropped))));
    CHECK_INT(cora_last_error_code(), CORA_ERUNTIME);
    CHECK_INT(dropped, 1);
    CHECK_INT(cora_live_coroutines(), 0);
    cora_thread_future_release(early);
    cora_thread_future_release(late);
}

/* ---- many loops ---- */

struct crew {
    cora_future signal;
    int step;
};

static cora_next waits_for_signal(cora_coro self)
{
    return cora_await(self, cora_locals(self, struct crew)->signal, cora_return_nothing);
}

static cora_next counts_crew(cora_coro self)
{
    struct crew *crew = cora_locals(self, struct crew);
    cora_loop loop = cora_running_loop();
    cora_value all = cora_all_tasks(loop);
    CHECK_INT(cora_list_size(all), 101);
    for (size_t i = 0; i < 101; i++) {
        cora_future task = cora_as_future(cora_list_at(all, i));
        CHECK(!cora_done(task));
        CHECK(cora_same(cora_future_loop(task), loop));
    }
    cora_set_result(crew->signal, cora_nothing());
    return cora_return_nothing(self);
}

static cora_next calls_crew(cora_coro self)
{
    struct crew *crew = cora_locals(self, struct crew);
    cora_loop loop = cora_running_loop();
    crew->signal = cora_keep(cora_future_new(loop));
    for (int i = 0; i < 100; i++)
        cora_spawn(loop, cora_coroutine(waits_for_signal, struct crew, .signal = crew->signal));
    return cora_await(self, cora_sleep(0), counts_crew);
}

static void *run_crew(void *unused)
{
    CHECK(!cora_is_error(cora_run(cora_coroutine(calls_crew, struct crew, .step = 0))));
    return unused;
}

TEST(many_loops, "ten threads with loops of their own see their own tasks, and no others",
     "test_free_threading.TestFreeThreading.test_all_tasks_race")
{
    pthread_t threads[10];
    for (int i = 0; i < 10; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, run_crew, NULL), 0);
    for (int i = 0; i < 10; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
}

/* ---- waiting for several thread futures ---- */

/* How many are done and not, when enough of them are. */
static int done_count, other_count;

static void wait_for(cora_thread_future *futures, size_t count, double timeout,
                     enum cora_return_when when)
{
    cora_value lists = cora_thread_futures_wait(futures, count, timeout, when);
    CHECK_INT(cora_list_size(lists), 2);
    done_count = (int)cora_list_size(cora_list_at(lists, 0));
    other_count = (int)cora_list_size(cora_list_at(lists, 1));
}

static void release(cora_thread_future *futures, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cora_thread_future_release(futures[i]);
}

TEST(wait_twice, "a thread future that is waited for twice is in the list once",
     "test_concurrent_futures.WaitTests.test_20369")
{
    cora_thread_future ship = cora_thread_future_new();
    cora_thread_future_set_result(ship, cora_int(1));
    wait_for((cora_thread_future[]){ ship, ship }, 2, INFINITY, CORA_ALL_COMPLETED);
    CHECK_INT(done_count, 1);
    CHECK_INT(other_count, 0);
    cora_thread_future_release(ship);
}

TEST(wait_first, "the first that is done ends the wait; one that is merely cancelled is not done",
     "test_concurrent_futures.WaitTests.test_first_completed")
{
    gate_shut();
    cora_executor yard = pool_of(2);
    cora_thread_future ships[] = { cora_executor_submit(yard, cora_partial(pass_gate)),
                                   cora_thread_future_new(),
                                   cora_executor_submit(yard, cora_partial(sum, 1, 2)) };
    cora_thread_future_cancel(ships[1]);
    wait_for(ships, 3, INFINITY, CORA_FIRST_COMPLETED);
    CHECK_INT(done_count, 1);
    CHECK(cora_thread_future_done(ships[2]));
    gate_set(true);
    cora_executor_shutdown(yard);
    release(ships, 3);
}

TEST(wait_first_already, "what is done already ends the wait at once",
     "test_concurrent_futures.WaitTests.test_first_completed_some_already_completed")
{
    cora_thread_future ships[] = { cora_thread_future_new(), cora_thread_future_new(),
                                   cora_thread_future_new() };
    cora_thread_future_set_result(ships[0], cora_int(1));
    cora_thread_future_cancel(ships[1]);
    CHECK(!cora_thread_future_set_running_or_notify_cancel(ships[1]));
    wait_for(ships, 3, INFINITY, CORA_FIRST_COMPLETED);
    CHECK_INT(done_count, 2);
    CHECK_INT(other_count, 1);
    release(ships, 3);
}

TEST(wait_failure, "the first failure ends the wait, and a success does not",
     "test_concurrent_futures.WaitTests.test_first_exception")
{
    gate_shut();
    cora_executor yard = pool_of(2);
    cora_thread_future ships[] = { cora_executor_submit(yard, cora_partial(pass_gate)),
                                   cora_executor_submit(yard, cora_partial(sum, 1, 2)),
                                   cora_executor_submit(yard, cora_partial(fail_test)) };
    wait_for(ships, 3, INFINITY, CORA_FIRST_EXCEPTION);
    CHECK_INT(done_count, 2);
    CHECK_INT(other_count, 1);
    gate_set(true);
    cora_executor_shutdown(yard);
    release(ships, 3);
}

TEST(wait_failure_already, "a failure among done, cancelled and running ones ends the wait at once",
     "test_concurrent_futures.WaitTests.test_first_exception_some_already_complete",
     "test_concurrent_futures.WaitTests.test_first_exception_one_already_failed")
{
    cora_thread_future ships[5];
    for (int i = 0; i < 5; i++)
        ships[i] = cora_thread_future_new();
    cora_thread_future_set_result(ships[0], cora_int(1));
    cora_thread_future_cancel(ships[1]);
    cora_thread_future_set_running_or_notify_cancel(ships[1]);
    cora_thread_future_cancel(ships[2]); /* nobody knows yet */
    cora_thread_future_set_exception(ships[3], cora_error(CORA_EVALUE, NULL));
    cora_thread_future_set_running_or_notify_cancel(ships[4]);
    wait_for(ships, 5, INFINITY, CORA_FIRST_EXCEPTION);
    CHECK_INT(done_count, 3);
    CHECK_INT(other_count, 2);
    release(ships, 5);
}

TEST(wait_all, "a wait for all ends when all are finished, failed or cancelled",
     "test_concurrent_futures.WaitTests.test_all_completed")
{
    gate_shut();
    cora_executor yard = pool_of(1);
    cora_thread_future ships[] = { cora_executor_submit(yard, cora_partial(pass_gate)),
                                   cora_executor_submit(yard, cora_partial(fail_test)),
                                   cora_executor_submit(yard, cora_partial(sum, 1, 2)) };
    wait_at_gate(1);
    cora_thread_future_cancel(ships[2]);
    gate_set(true);
    wait_for(ships, 3, INFINITY, CORA_ALL_COMPLETED);
    CHECK_INT(done_count, 3);
    cora_executor_shutdown(yard);
    release(ships, 3);
}

TEST(wait_timeout, "a wait with a time-out gives what is done by then",
     "test_concurrent_futures.WaitTests.test_timeout")
{
    cora_thread_future ships[] = { cora_thread_future_new(), cora_thread_future_new() };
    cora_thread_future_set_result(ships[0], cora_int(1));
    wait_for(ships, 2, 0.002, CORA_ALL_COMPLETED);
    CHECK_INT(done_count, 1);
    CHECK_INT(other_count, 1);
    release(ships, 2);
}

#define SHIPS 200

static void *finish_all(void *futures)
{
    for (int i = 0; i < SHIPS; i++)
        cora_thread_future_set_result(((cora_thread_future *)futures)[i], cora_int(i));
    return NULL;
}

TEST(wait_lists, "a thread future that is done just now is in one of the lists")
{
    for (int round = harness_scale(20); round > 0; round--) {
        cora_thread_future ships[SHIPS];
        pthread_t thread;
        size_t done = 0;
        for (int i = 0; i < SHIPS; i++)
            ships[i] = cora_thread_future_new();
        CHECK_INT(pthread_create(&thread, NULL, finish_all, ships), 0);
        while (done < SHIPS) {
            cora_value lists = cora_thread_futures_wait(ships, SHIPS, 0, CORA_ALL_COMPLETED);
            done = cora_list_size(cora_list_at(lists, 0));
            CHECK_INT(done + cora_list_size(cora_list_at(lists, 1)), SHIPS);
            cora_drop_temporaries();
        }
        CHECK_INT(pthread_join(thread, NULL), 0);
        for (int i = 0; i < SHIPS; i++)
            cora_thread_future_release(ships[i]);
    }
}

TEST(wait_race, "a hundred thread futures that are done together lose no wake-up",
     "test_concurrent_futures.ThreadPoolWaitTests.test_pending_calls_race")
{
    gate_shut();
    cora_executor yard = pool_of(100);
    cora_thread_future ships[100];
    for (int i = 0; i < 100; i++)
        ships[i] = cora_executor_submit(yard, cora_partial(pass_gate));
    wait_at_gate(100);
    gate_set(true);
    wait_for(ships, 100, INFINITY, CORA_ALL_COMPLETED);
    CHECK_INT(done_count, 100);
    release(ships, 100);
    cora_executor_shutdown(yard);
}

/* ---- forks ---- */

/* Forks; the status of the child, which does this. */
static int status_of_child(bool (*child_does)(cora_loop loop, cora_thread_future future),
                           cora_loop loop, cora_thread_future future)
{
    int status = -1;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(5);
        _exit(cora_after_fork(loop) == 0 && child_does(loop, future) ? 0 : 1);
    }
    CHECK_INT(waitpid(child, &status, 0), child);
    return status;
}

static bool wraps_lost(cora_loop loop, cora_thread_future future)
{
    return cora_error_is(cora_run_until_complete(loop, cora_wrap_future(loop, future)),
                         CORA_EBROKENTHREADPOOL);
}

static bool was_wrapped(cora_loop loop, cora_thread_future future)
{
    cora_run_until_complete(loop, cora_sleep(0));
    return cora_error_is(cora_thread_future_result(future, 0), CORA_EBROKENTHREADPOOL);
}

TEST(fork_wrapped, "in a forked child lost work is told to a loop that has not used an executor")
{
    gate_shut();
    cora_loop loop = cora_loop_new(NULL);
    cora_executor yard = pool_of(1);
    cora_thread_future job = cora_executor_submit(yard, cora_partial(pass_gate));
    wait_at_gate(1);
    CHECK_INT(status_of_child(wraps_lost, loop, job), 0);
    cora_future wrapped = cora_wrap_future(loop, job);
    CHECK_INT(status_of_child(was_wrapped, loop, job), 0);
    gate_set(true);
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, wrapped)), 7);
    cora_thread_future_release(job);
    cora_executor_shutdown(yard);
    cora_loop_close(loop);
}

static bool shuts_down_again(cora_loop loop, cora_thread_future unused)
{
    (void)unused;
    return cora_is_nothing(
        cora_run_until_complete(loop, cora_shutdown_default_executor(loop, INFINITY)));
}

TEST(fork_in_shutdown, "a default executor that was shut down before a fork has ended in the child")
{
    gate_shut();
    struct reports reports;
    cora_loop loop = cora_loop_new(NULL);
    collect_reports(loop, &reports);
    cora_run_in_executor(loop, its_default, cora_partial(pass_gate));
    wait_at_gate(1);
    cora_run_until_complete(loop, cora_shutdown_default_executor(loop, 0));
    CHECK_INT(status_of_child(shuts_down_again, loop, (cora_thread_future){ 0 }), 0);
    gate_set(true);
    CHECK(shuts_down_again(loop, (cora_thread_future){ 0 }));
    cora_loop_close(loop);
    harness_threads_end();
}

static void note_called(cora_args bound)
{
    *cora_arg(bound, 0, bool *) = true;
    cora_stop(cora_running_loop());
}

static void *call_soon(void *bound)
{
    cora_args *args = bound;
    cora_call_soon_threadsafe(cora_arg_loop(*args, 0),
                              cora_partial(note_called, cora_arg(*args, 1, bool *)));
    return NULL;
}

static bool *called;

static bool runs_queued(cora_loop loop, cora_thread_future unused)
{
    (void)unused;
    cora_run_forever(loop);
    return *called;
}

TEST(fork_queued, "what another thread has queued before a fork runs in the child as well")
{
    bool noted = false;
    pthread_t thread;
    cora_loop loop = cora_loop_new(NULL);
    cora_value values[] = { cora_from_loop(loop), cora_pointer(&noted) };
    cora_args args = { values, 2 };
    called = &noted;
    CHECK_INT(pthread_create(&thread, NULL, call_soon, &args), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(status_of_child(runs_queued, loop, (cora_thread_future){ 0 }), 0);
    CHECK(runs_queued(loop, (cora_thread_future){ 0 }));
    cora_loop_close(loop);
}
