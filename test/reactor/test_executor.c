/*
 * Executors: work is done in threads of a pool, and its outcome comes back to a loop, or to any
 * thread. How a pool is used with futures is in test/futures/test_executor.c.
 */
#include "harness.h"

#include <cora.h>

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a bakery ---- */

static cora_value bake(cora_args bound)
{
    return cora_textf("%lld %s", cora_arg_int(bound, 1), cora_arg_text(bound, 0));
}

static cora_value burn(cora_args bound)
{
    (void)bound;
    return cora_error(CORA_EVALUE, "all black");
}

static cora_value number(cora_args bound)
{
    return cora_int(cora_arg_int(bound, 0));
}

static cora_value count(cora_args bound)
{
    atomic_fetch_add((atomic_int *)cora_arg_pointer(bound, 0), 1);
    return cora_nothing();
}

static cora_value thread_of(cora_args bound)
{
    (void)bound;
    return cora_int((int64_t)pthread_self());
}

static cora_value name_of(cora_args bound)
{
    char name[16];
    (void)bound;
    pthread_getname_np(pthread_self(), name, sizeof name);
    return cora_text(name);
}

/* A gate that work waits at. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static bool gate_is_open;
static int at_gate, passed;

static cora_value pass_gate(cora_args bound)
{
    (void)bound;
    pthread_mutex_lock(&lock);
    at_gate++;
    pthread_cond_broadcast(&moved);
    while (!gate_is_open)
        pthread_cond_wait(&moved, &lock);
    passed++;
    pthread_mutex_unlock(&lock);
    return cora_int(7);
}

static void gate_open(void)
{
    pthread_mutex_lock(&lock);
    gate_is_open = true;
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

/* Tests may share a process. */
static void gate_shut(void)
{
    gate_is_open = false;
    at_gate = passed = 0;
}

static cora_executor pool_of(int workers)
{
    return cora_thread_pool_new(&(struct cora_thread_pool_options){ .max_workers = workers });
}

/* ---- for a loop ---- */

static char told[200];
static int times_told;

static void on_told(cora_args bound, cora_value outcome)
{
    cora_loop loop = cora_running_loop();
    times_told++;
    if (cora_is_error(outcome))
        snprintf(told, sizeof told, "%s: %s", cora_error_name(cora_error_code(outcome)),
                 cora_error_message(outcome));
    else
        cora_print(outcome, told, sizeof told);
    if (bound.count > 0 && --*cora_arg(bound, 0, int *) > 0)
        return;
    cora_stop(loop);
}

static void stop(cora_args bound)
{
    cora_stop(cora_arg_loop(bound, 0));
}

/* Turns the loop a few times. */
static void turn(cora_loop loop)
{
    for (int i = 0; i < 3; i++) {
        cora_call_soon(loop, cora_partial(stop, loop));
        CHECK_INT(cora_run_forever(loop), 0);
    }
}

TEST(call, "work is done in a thread, and the loop calls back with its value",
     "test_events.EventLoopTestsMixin.test_run_in_executor",
     "test_concurrent_futures.ExecutorTest.test_submit")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_executor bakery = cora_thread_pool_new(NULL);
    cora_handle loaf =
        cora_call_in_executor(loop, bakery, cora_partial(bake, "loaves", 2), cora_partial(on_told));
    CHECK(!cora_is_null(loaf));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_TEXT(told, "\"2 loaves\"");
    CHECK_INT(times_told, 1);
    CHECK(!cora_handle_cancel(loaf));
    CHECK_INT(cora_executor_shutdown(bakery), 0);
    CHECK_INT(cora_loop_close(loop), 0);
}

TEST(call_fails, "an error that work gives is the outcome")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_executor bakery = cora_thread_pool_new(NULL);
    cora_call_in_executor(loop, bakery, cora_partial(burn), cora_partial(on_told));
    cora_run_forever(loop);
    CHECK_TEXT(told, "ValueError: all black");
    cora_executor_shutdown(bakery);
    cora_loop_close(loop);
}

static cora_value misread(cora_args bound)
{
    return cora_int(cora_arg_int(bound, 0));
}

TEST(work_fails, "what work fails with is the outcome, whatever it returns")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_executor bakery = cora_thread_pool_new(NULL);
    cora_call_in_executor(loop, bakery, cora_partial(misread, "rye"), cora_partial(on_told));
    cora_run_forever(loop);
    CHECK(strncmp(told, "TypeError", 9) == 0);
    cora_executor_shutdown(bakery);
    cora_loop_close(loop);
}

static void on_thread(cora_args bound, cora_value outcome)
{
    *cora_arg(bound, 0, int64_t *) = cora_as_int(outcome);
    cora_stop(cora_running_loop());
}

TEST(default_executor, "work for no executor is done in the loop's own, which is made then",
     "test_events.EventLoopTestsMixin.test_run_in_executor")
{
    int64_t thread = 0;
    cora_loop loop = cora_loop_new(NULL);
    cora_call_in_executor(loop, (cora_executor){ 0 }, cora_partial(thread_of),
                          cora_partial(on_thread, &thread));
    cora_run_forever(loop);
    CHECK(thread != 0);
    CHECK(thread != (int64_t)pthread_self());
    cora_loop_close(loop);
}

TEST(set_default, "a pool of the program's own becomes the loop's default executor",
     "test_base_events.BaseEventLoopTests.test_set_default_executor")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_executor bakery = cora_thread_pool_new(
        &(struct cora_thread_pool_options){ .thread_name_prefix = "bakery", .max_workers = 1 });
    CHECK_INT(cora_set_default_executor(loop, bakery), 0);
    cora_call_in_executor(loop, (cora_executor){ 0 }, cora_partial(name_of), cora_partial(on_told));
    cora_run_forever(loop);
    CHECK_TEXT(told, "\"bakery_0\"");
    cora_loop_close(loop);
    CHECK(cora_is_null(cora_executor_submit(bakery, cora_partial(name_of))));
    CHECK_INT(cora_executor_shutdown(bakery), 0);
}

TEST(set_default_error,
     "what is no pool of threads, or is shut down, cannot be the default executor")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_executor bakery = pool_of(1);
    cora_executor_shutdown(bakery);
    CHECK_INT(cora_set_default_executor(loop, bakery), CORA_ERUNTIME);
    CHECK(cora_set_default_executor(loop, (cora_executor){ 0 }) < 0);
    cora_loop_close(loop);
}

TEST(call_order, "what comes of work is told in the order in which it ends")
{
    int left = 100, before;
    cora_loop loop = cora_loop_new(NULL);
    cora_executor bakery = pool_of(1);
    for (int i = 0; i < 100; i++)
        cora_call_in_executor(loop, bakery, cora_partial(number, i), cora_partial(on_told, &left));
    before = times_told;
    cora_run_forever(loop);
    CHECK_INT(times_told - before, 100);
    CHECK_TEXT(told, "99");
    cora_executor_shutdown(bakery);
    cora_loop_close(loop);
}

TEST(cancel_waiting, "work that waits and is cancelled is never done, and nobody is told")
{
    gate_shut();
    atomic_int loaves = 0;
    cora_loop loop = cora_loop_new(NULL);
    cora_executor bakery = pool_of(1);
    cora_call_in_executor(loop, bakery, cora_partial(pass_gate), cora_partial(on_told));
    wait_at_gate(1);
    size_t live = cora_live(loop);
    cora_handle second =
        cora_call_in_executor(loop, bakery, cora_partial(count, &loaves), cora_partial(on_told));
    CHECK(cora_handle_cancel(second));
    CHECK(cora_handle_cancelled(second));
    CHECK(!cora_handle_cancel(second));
    CHECK_INT(cora_live(loop), live);
    gate_open();
    cora_run_forever(loop);
    CHECK_TEXT(told, "7");
    cora_executor_shutdown(bakery);
    CHECK_INT(loaves, 0);
    cora_loop_close(loop);
}

static atomic_int crumbs;

static void crumb_drop(void *pointer)
{
    (void)pointer;
    atomic_fetch_add(&crumbs, 1);
}

static const cora_type crumb_type = { "crumb", crumb_drop, NULL, 0 };

static cora_value crumble(cora_args bound)
{
    pass_gate(bound);
    return cora_own(&crumbs, &crumb_type);
}

TEST(cancel_running, "cancelled work that runs goes on, and what comes of it is dropped, once")
{
    gate_shut();
    crumbs = 0;
    cora_loop loop = cora_loop_new(NULL);
    cora_executor bakery = pool_of(1);
    cora_handle loaf =
        cora_call_in_executor(loop, bakery, cora_partial(crumble), cora_partial(on_told));
    wait_at_gate(1);
    int before = times_told;
    CHECK(cora_handle_cancel(loaf));
    gate_open();
    cora_executor_shutdown(bakery);
    CHECK_INT(passed, 1);
    turn(loop);
    CHECK_INT(times_told, before);
    CHECK_INT(crumbs, 1);
    cora_loop_close(loop);
}

TEST(cancel_late, "work that has ended can be cancelled until its callback is called")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_executor bakery = pool_of(1);
    crumbs = 0;
    gate_open();
    cora_handle loaf =
        cora_call_in_executor(loop, bakery, cora_partial(crumble), cora_partial(on_told));
    int before = times_told;
    cora_executor_shutdown(bakery);
    CHECK(cora_handle_cancel(loaf));
    turn(loop);
    CHECK_INT(times_told, before);
    CHECK_INT(crumbs, 1);
    cora_loop_close(loop);
}

TEST(closed_loop, "work that ends when its loop is closed already touches nothing of it",
     "test_events.EventLoopTestsMixin.test_run_in_executor_cancel")
{
    gate_shut();
    crumbs = 0;
    cora_loop loop = cora_loop_new(NULL);
    cora_executor bakery = pool_of(2);
    int before = times_told;
    cora_call_in_executor(loop, bakery, cora_partial(crumble), cora_partial(on_told));
    cora_handle cancelled =
        cora_call_in_executor(loop, bakery, cora_partial(crumble), cora_partial(on_told));
    wait_at_gate(2);
    CHECK(cora_handle_cancel(cancelled));
    cora_loop_close(loop);
    cora_loop other = cora_loop_new(NULL); /* in the memory of the first */
    gate_open();
    cora_executor_shutdown(bakery);
    CHECK_INT(crumbs, 2);
    turn(other);
    CHECK_INT(times_told, before);
    cora_loop_close(other);
}

TEST(closed_loop_sent, "an outcome that was on its way when the loop is closed is dropped")
{
    crumbs = 0;
    gate_open();
    cora_loop loop = cora_loop_new(NULL);
    cora_executor bakery = pool_of(1);
    cora_call_in_executor(loop, bakery, cora_partial(crumble), cora_partial(on_told));
    cora_executor_shutdown(bakery);
    cora_loop_close(loop);
    CHECK_INT(crumbs, 1);
}

static cora_loop closes;

static void close_drop(void *pointer)
{
    (void)pointer;
    cora_stop(closes);
    cora_call_soon(closes, cora_partial(stop, closes));
    atomic_fetch_add(&crumbs, 1);
}

static const cora_type close_type = { "closer", close_drop, NULL, 0 };

TEST(arguments, "the arguments of work are dropped in the loop's thread, before the callback")
{
    crumbs = 0;
    cora_loop loop = closes = cora_loop_new(NULL);
    cora_executor bakery = pool_of(1);
    cora_call_in_executor(loop, bakery, cora_partial(name_of, cora_own(&crumbs, &close_type)),
                          cora_partial(on_told));
    cora_drop_temporaries();
    CHECK_INT(crumbs, 0);
    cora_run_forever(loop);
    CHECK_INT(crumbs, 1);
    cora_executor_shutdown(bakery);
    cora_loop_close(loop);
}

static cora_value give_back(cora_args bound)
{
    return cora_arg_value(bound, 0);
}

TEST(values, "lists, texts and errors go to a thread and come back")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_executor bakery = pool_of(1);
    cora_value parts[] = { cora_text("rye"), cora_bytes("abc", 3), cora_int(4), cora_real(2.5) };
    cora_call_in_executor(loop, bakery, cora_partial(give_back, cora_list(parts, 4)),
                          cora_partial(on_told));
    cora_run_forever(loop);
    CHECK_TEXT(told, "[\"rye\", b\"abc\", 4, 2.5]");
    cora_executor_shutdown(bakery);
    cora_loop_close(loop);
}

TEST(refused,
     "work for a closed loop, a null executor that could not be made, or no function is refused")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_executor bakery = pool_of(1), none = pool_of(-1);
    cora_work_function no_work = NULL;
    CHECK(cora_is_null(none));
    CHECK_INT(cora_last_error_code(), CORA_EVALUE);
    CHECK(cora_is_null(
        cora_call_in_executor(loop, bakery, cora_partial(no_work), cora_partial(on_told))));
    CHECK_INT(cora_last_error_code(), CORA_ETYPE);
    cora_loop_close(loop);
    CHECK(cora_is_null(
        cora_call_in_executor(loop, bakery, cora_partial(name_of), cora_partial(on_told))));
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
    cora_executor_shutdown(bakery);
}

/* ---- for threads ---- */

TEST(submit, "submitted work gives a future that any thread may wait for",
     "test_concurrent_futures.ExecutorTest.test_submit")
{
    cora_executor bakery = pool_of(2);
    cora_thread_future loaf = cora_executor_submit(bakery, cora_partial(bake, "loaves", 3));
    CHECK_TEXT(cora_as_text(cora_thread_future_result(loaf, INFINITY)), "3 loaves");
    CHECK(cora_thread_future_done(loaf));
    CHECK_INT(cora_thread_future_release(loaf), 0);
    CHECK_INT(cora_executor_shutdown(bakery), 0);
}

TEST(submit_order, "results of much work are read in the order of submitting: a map",
     "test_concurrent_futures.ExecutorTest.test_map",
     "test_concurrent_futures.ThreadPoolExecutorTest.test_map_submits_without_iteration")
{
    cora_executor bakery = pool_of(4);
    cora_thread_future loaves[40];
    for (int i = 0; i < 40; i++)
        loaves[i] = cora_executor_submit(bakery, cora_partial(number, i));
    cora_executor_shutdown(bakery);
    for (int i = 0; i < 40; i++) {
        CHECK_INT(cora_as_int(cora_thread_future_result(loaves[i], 0)), i);
        cora_thread_future_release(loaves[i]);
    }
}

TEST(empty_error, "an error without a message is an error",
     "test_concurrent_futures.ExecutorTest.test_swallows_falsey_exceptions")
{
    cora_executor bakery = pool_of(1);
    cora_thread_future future =
        cora_executor_submit(bakery, cora_partial(give_back, cora_error(CORA_EEXCEPTION, NULL)));
    CHECK(cora_is_error(cora_thread_future_exception(future, INFINITY)));
    cora_thread_future_release(future);
    cora_executor_shutdown(bakery);
}

TEST(no_stale_references, "function and arguments of work are given back when it has ended",
     "test_concurrent_futures.ExecutorTest.test_no_stale_references")
{
    crumbs = 0;
    cora_executor bakery = pool_of(1);
    cora_thread_future future =
        cora_executor_submit(bakery, cora_partial(name_of, cora_own(&crumbs, &crumb_type)));
    cora_drop_temporaries();
    cora_thread_future_result(future, INFINITY);
    CHECK_INT(crumbs, 1);
    cora_thread_future_release(future);
    cora_executor_shutdown(bakery);
}

TEST(released, "work goes on though its future was released")
{
    atomic_int loaves = 0;
    cora_executor bakery = pool_of(1);
    cora_thread_future_release(cora_executor_submit(bakery, cora_partial(count, &loaves)));
    cora_executor_shutdown(bakery);
    CHECK_INT(loaves, 1);
}

TEST(max_workers, "a negative count of workers is a ValueError; 0 stands for the usual count",
     "test_concurrent_futures.ExecutorTest.test_max_workers_negative")
{
    CHECK(cora_is_null(pool_of(-1)));
    CHECK_INT(cora_last_error_code(), CORA_EVALUE);
}

static int usual_workers(void)
{
    cpu_set_t set;
    CHECK_INT(sched_getaffinity(0, sizeof set, &set), 0);
    return CPU_COUNT(&set) + 4 < 32 ? CPU_COUNT(&set) + 4 : 32;
}

/* Submits work that waits, and gives how many threads there are then for it. */
static int threads_for(cora_executor executor, int jobs, int most)
{
    int before = harness_threads();
    gate_shut();
    for (int i = 0; i < jobs; i++)
        cora_thread_future_release(cora_executor_submit(executor, cora_partial(pass_gate)));
    wait_at_gate(jobs < most ? jobs : most);
    int threads = harness_threads() - before;
    gate_open();
    cora_executor_shutdown(executor);
    return threads;
}

TEST(usual_workers, "a pool has min(32, processors + 4) workers if nobody says otherwise",
     "test_concurrent_futures.ThreadPoolExecutorTest.test_default_workers")
{
    CHECK_INT(threads_for(cora_thread_pool_new(NULL), 40, usual_workers()), usual_workers());
}

TEST(saturation, "sixty blocked jobs start no more than the four threads of a pool of four",
     "test_concurrent_futures.ThreadPoolExecutorTest.test_saturation")
{
    CHECK_INT(threads_for(pool_of(4), 60, 4), 4);
}

TEST(idle_first, "an idle thread is taken before a new one is started",
     "test_concurrent_futures.ThreadPoolExecutorTest.test_idle_thread_reuse")
{
    cora_executor bakery = pool_of(4);
    int64_t threads[3];
    for (int i = 0; i < 3; i++) {
        cora_thread_future future = cora_executor_submit(bakery, cora_partial(thread_of));
        threads[i] = cora_as_int(cora_thread_future_result(future, INFINITY));
        cora_thread_future_release(future);
    }
    CHECK(threads[0] == threads[1] && threads[1] == threads[2]);
    cora_executor_shutdown(bakery);
}

TEST(names, "threads are named by the prefix, an underscore and a number from 0",
     "test_concurrent_futures.ThreadPoolShutdownTest.test_thread_names_assigned")
{
    cora_executor bakery = cora_thread_pool_new(&(struct cora_thread_pool_options){
        .thread_name_prefix = "the bakery at the harbour", .max_workers = 2 });
    cora_thread_future future = cora_executor_submit(bakery, cora_partial(name_of));
    CHECK_TEXT(cora_as_text(cora_thread_future_result(future, INFINITY)), "the bakery at_0");
    cora_thread_future_release(future);
    cora_executor_shutdown(bakery);
}

static cora_value signals_of(cora_args bound)
{
    sigset_t blocked;
    (void)bound;
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    return cora_int(sigismember(&blocked, SIGINT) && sigismember(&blocked, SIGCHLD));
}

TEST(signals, "threads of a pool block all signals")
{
    cora_executor bakery = pool_of(1);
    cora_thread_future future = cora_executor_submit(bakery, cora_partial(signals_of));
    CHECK_INT(cora_as_int(cora_thread_future_result(future, INFINITY)), 1);
    cora_thread_future_release(future);
    cora_executor_shutdown(bakery);
}

TEST(bounded, "a pool with a bound refuses work beyond it, as full, and takes more when it is not")
{
    gate_shut();
    cora_executor bakery = cora_thread_pool_new(
        &(struct cora_thread_pool_options){ .max_workers = 1, .max_waiting = 2 });
    cora_thread_future futures[3];
    futures[0] = cora_executor_submit(bakery, cora_partial(pass_gate));
    wait_at_gate(1);
    for (int i = 1; i < 3; i++)
        futures[i] = cora_executor_submit(bakery, cora_partial(number, i));
    CHECK(cora_is_null(cora_executor_submit(bakery, cora_partial(number, 3))));
    CHECK_INT(cora_last_error_code(), CORA_EQUEUEFULL);
    CHECK(cora_thread_future_cancel(futures[2]));
    cora_thread_future_release(futures[2]);
    futures[2] = cora_executor_submit(bakery, cora_partial(number, 3));
    gate_open();
    CHECK_INT(cora_as_int(cora_thread_future_result(futures[2], INFINITY)), 3);
    for (int i = 0; i < 3; i++)
        cora_thread_future_release(futures[i]);
    cora_executor_shutdown(bakery);
}

/* ---- initializers ---- */

TEST(initializer, "the initializer runs once in each thread, before its first work",
     "test_concurrent_futures.InitializerMixin.test_initializer")
{
    gate_shut();
    atomic_int begun = 0;
    cora_executor bakery = cora_thread_pool_new(&(struct cora_thread_pool_options){
        .max_workers = 2, .initializer = cora_partial(count, &begun) });
    cora_thread_future futures[5];
    for (int i = 0; i < 5; i++)
        futures[i] = cora_executor_submit(bakery, cora_partial(pass_gate));
    wait_at_gate(2);
    CHECK_INT(begun, 2);
    gate_open();
    cora_executor_shutdown(bakery);
    for (int i = 0; i < 5; i++)
        cora_thread_future_release(futures[i]);
    CHECK_INT(begun, 2);
}

static cora_value fail_at_gate(cora_args bound)
{
    pass_gate(bound);
    return cora_error(CORA_EEXCEPTION, "no flour");
}

TEST(initializer_shutdown, "a shutdown that does not wait does not wait for an initializer, either")
{
    gate_shut();
    cora_executor bakery = cora_thread_pool_new(&(struct cora_thread_pool_options){
        .max_workers = 1, .initializer = cora_partial(pass_gate) });
    cora_thread_future loaf = cora_executor_submit(bakery, cora_partial(bake, "loaves", 3));
    wait_at_gate(1);
    CHECK_INT(cora_executor_shutdown(bakery, .no_wait = true, .cancel_futures = true), 0);
    CHECK(cora_thread_future_cancelled(loaf));
    gate_open();
    cora_thread_future_release(loaf);
    harness_threads_end();
}

static atomic_int begun;

static cora_value second_waits(cora_args bound)
{
    return atomic_fetch_add(&begun, 1) == 1 ? pass_gate(bound) : cora_nothing();
}

static cora_value wait_for_second(cora_args bound)
{
    (void)bound;
    wait_at_gate(1);
    return cora_nothing();
}

TEST(initializer_slow, "an idle thread takes work while the initializer runs in another one")
{
    gate_shut();
    begun = 0;
    cora_executor bakery = cora_thread_pool_new(&(struct cora_thread_pool_options){
        .max_workers = 2, .initializer = cora_partial(second_waits) });
    cora_thread_future first = cora_executor_submit(bakery, cora_partial(wait_for_second));
    for (int i = 0; i < 50; i++) {
        cora_thread_future next = cora_executor_submit(bakery, cora_partial(number, i));
        CHECK_INT(cora_as_int(cora_thread_future_result(next, 5)), i);
        cora_thread_future_release(next);
    }
    gate_open();
    cora_thread_future_release(first);
    cora_executor_shutdown(bakery);
}

TEST(broken, "a failing initializer breaks the pool: what waits and what comes later fails",
     "test_concurrent_futures.FailingInitializerMixin.test_initializer")
{
    gate_shut();
    cora_executor bakery = cora_thread_pool_new(&(struct cora_thread_pool_options){
        .max_workers = 1, .initializer = cora_partial(fail_at_gate) });
    cora_thread_future loaf = cora_executor_submit(bakery, cora_partial(bake, "loaves", 1));
    wait_at_gate(1);
    gate_open();
    cora_value outcome = cora_thread_future_result(loaf, INFINITY);
    CHECK_INT(cora_error_code(outcome), CORA_EBROKENTHREADPOOL);
    CHECK(cora_error_is(outcome, CORA_EBROKENEXECUTOR));
    CHECK(cora_error_is(outcome, CORA_ERUNTIME));
    cora_thread_future_release(loaf);
    CHECK(cora_is_null(cora_executor_submit(bakery, cora_partial(bake, "loaves", 1))));
    CHECK_INT(cora_last_error_code(), CORA_EBROKENTHREADPOOL);
    cora_executor_shutdown(bakery);
}

/* ---- the end ---- */

TEST(shutdown, "after a shutdown work is refused with a RuntimeError",
     "test_concurrent_futures.ExecutorShutdownTest.test_run_after_shutdown")
{
    cora_executor bakery = pool_of(1);
    CHECK_INT(cora_executor_shutdown(bakery), 0);
    CHECK(cora_is_null(cora_executor_submit(bakery, cora_partial(bake, "loaves", 1))));
    CHECK_INT(cora_last_error_code(), CORA_ERUNTIME);
    CHECK_INT(cora_executor_shutdown(bakery), 0);
}

TEST(shutdown_waits, "a shutdown waits until all work is done and the threads have ended",
     "test_concurrent_futures.ExecutorShutdownTest.test_hang_issue12364",
     "test_concurrent_futures.ThreadPoolShutdownTest.test_context_manager_shutdown")
{
    atomic_int loaves = 0;
    int before = harness_threads();
    cora_executor bakery = pool_of(5);
    for (int i = 0; i < 50; i++)
        cora_thread_future_release(cora_executor_submit(bakery, cora_partial(count, &loaves)));
    cora_executor_shutdown(bakery);
    CHECK_INT(loaves, 50);
    CHECK_INT(harness_threads(), before);
}

TEST(shutdown_race, "a shutdown right after one job more than workers does not hang",
     "test_concurrent_futures.ExecutorTest.test_shutdown_race_issue12456")
{
    atomic_int loaves = 0;
    for (int round = 0; round < 20; round++) {
        cora_executor bakery = pool_of(4);
        for (int i = 0; i < 5; i++)
            cora_thread_future_release(cora_executor_submit(bakery, cora_partial(count, &loaves)));
        cora_executor_shutdown(bakery);
    }
    CHECK_INT(loaves, 100);
}

TEST(shutdown_no_wait, "a shutdown that does not wait returns at once, and the work is still done",
     "test_concurrent_futures.ThreadPoolShutdownTest.test_shutdown_no_wait",
     "test_concurrent_futures.ThreadPoolShutdownTest.test_del_shutdown",
     "test_concurrent_futures.ExecutorShutdownTest.test_hang_gh83386")
{
    gate_shut();
    cora_executor bakery = pool_of(1);
    cora_thread_future futures[2];
    for (int i = 0; i < 2; i++)
        futures[i] = cora_executor_submit(bakery, cora_partial(pass_gate));
    wait_at_gate(1);
    CHECK_INT(cora_executor_shutdown(bakery, .no_wait = true), 0);
    CHECK_INT(passed, 0);
    CHECK(cora_is_null(cora_executor_submit(bakery, cora_partial(bake, "loaves", 1))));
    gate_open();
    CHECK_INT(cora_executor_shutdown(bakery), 0); /* a second one waits */
    for (int i = 0; i < 2; i++) {
        CHECK_INT(cora_as_int(cora_thread_future_result(futures[i], INFINITY)), 7);
        cora_thread_future_release(futures[i]);
    }
    harness_threads_end();
}

TEST(shutdown_cancels,
     "a shutdown that cancels lets what runs finish, and ends what waits as cancelled",
     "test_concurrent_futures.ExecutorShutdownTest.test_cancel_futures",
     "test_concurrent_futures.ThreadPoolShutdownTest.test_cancel_futures_wait_false")
{
    gate_shut();
    int cancelled = 0;
    cora_executor bakery = pool_of(5);
    cora_thread_future futures[50];
    for (int i = 0; i < 50; i++)
        futures[i] = cora_executor_submit(bakery, cora_partial(pass_gate));
    wait_at_gate(5);
    cora_executor_shutdown(bakery, .no_wait = true, .cancel_futures = true);
    gate_open();
    cora_executor_shutdown(bakery);
    for (int i = 0; i < 50; i++) {
        CHECK(cora_thread_future_done(futures[i]));
        if (cora_thread_future_cancelled(futures[i]))
            cancelled++;
        else
            CHECK_INT(cora_as_int(cora_thread_future_result(futures[i], 0)), 7);
        cora_thread_future_release(futures[i]);
    }
    CHECK_INT(cancelled, 45);
    harness_threads_end();
}

TEST(shutdown_cancels_call, "work for a loop that a shutdown cancels ends with Cancelled")
{
    gate_shut();
    cora_loop loop = cora_loop_new(NULL);
    cora_executor bakery = pool_of(1);
    cora_thread_future first = cora_executor_submit(bakery, cora_partial(pass_gate));
    wait_at_gate(1);
    cora_call_in_executor(loop, bakery, cora_partial(pass_gate), cora_partial(on_told));
    cora_executor_shutdown(bakery, .no_wait = true, .cancel_futures = true);
    cora_run_forever(loop);
    CHECK_TEXT(told, "CancelledError: ");
    gate_open();
    cora_executor_shutdown(bakery);
    harness_threads_end();
    cora_thread_future_release(first);
    cora_loop_close(loop);
}

TEST(cancelled_before_shutdown, "work that was cancelled just before does not let a shutdown hang",
     "test_concurrent_futures.ExecutorShutdownTest.test_hang_gh94440")
{
    cora_executor bakery = pool_of(1);
    cora_thread_future future = cora_executor_submit(bakery, cora_partial(name_of));
    cora_thread_future_cancel(future);
    cora_executor_shutdown(bakery);
    cora_thread_future_release(future);
}

static cora_value shut_own(cora_args bound)
{
    return cora_int(cora_executor_shutdown(cora_arg_executor(bound, 0)));
}

TEST(shutdown_inside, "a pool that one of its own workers shuts down does not wait for it")
{
    cora_executor bakery = pool_of(2);
    cora_thread_future future = cora_executor_submit(bakery, cora_partial(shut_own, bakery));
    CHECK_INT(cora_as_int(cora_thread_future_result(future, INFINITY)), 0);
    cora_executor_shutdown(bakery);
    cora_thread_future_release(future);
    harness_threads_end();
}

static cora_value submit_more(cora_args bound)
{
    cora_thread_future more = cora_executor_submit(cora_arg_executor(bound, 0),
                                                   cora_partial(count, cora_arg_pointer(bound, 1)));
    bool refused = cora_is_null(more);
    if (!refused)
        cora_thread_future_release(more);
    return cora_int(!refused);
}

static void *shut_and_wait(void *executor)
{
    cora_executor_shutdown(*(cora_executor *)executor);
    pthread_mutex_lock(&lock);
    int at_end = passed;
    pthread_mutex_unlock(&lock);
    return (void *)(intptr_t)at_end;
}

TEST(shutdown_by_successor,
     "a thread that has the number of an ended worker is none: it waits in a shutdown")
{
    gate_shut();
    cora_executor bakery = pool_of(2);
    cora_thread_future works[2];
    pthread_t thread;
    void *at_end;
    works[0] = cora_executor_submit(bakery, cora_partial(pass_gate));
    wait_at_gate(1);
    works[1] = cora_executor_submit(bakery, cora_partial(thread_of));
    pthread_t worker = (pthread_t)cora_as_int(cora_thread_future_result(works[1], 5));
    for (int i = 0; i < 1000 && harness_threads() > 2; i++) {
        cora_executor_shutdown(bakery, .no_wait = true);
        sched_yield(); /* the worker that has told its result may not be idle yet */
    }
    CHECK_INT(pthread_create(&thread, NULL, shut_and_wait, &bakery), 0);
    bool is_successor = pthread_equal(thread, worker);
    cora_thread_future never = cora_thread_future_new();
    cora_thread_future_result(never, 0.02);
    gate_open();
    CHECK_INT(pthread_join(thread, &at_end), 0);
    CHECK_INT((intptr_t)at_end, 1);
    cora_thread_future_release(never);
    for (int i = 0; i < 2; i++)
        cora_thread_future_release(works[i]);
    if (!is_successor)
        SKIP("the system gives numbers of threads anew later");
}

static pthread_barrier_t all;

static void drop_shuts_down(void *executor)
{
    pthread_barrier_wait(&all);
    cora_executor_shutdown(*(cora_executor *)executor, .no_wait = true);
}

static const cora_type closing_type = { .name = "key", .drop = drop_shuts_down };

TEST(shutdown_in_drops, "workers that shut their pool down in drop functions wait for nobody")
{
    gate_shut();
    pthread_barrier_init(&all, NULL, 3);
    cora_loop loop = cora_loop_new(NULL);
    cora_executor bakery = pool_of(3);
    for (int i = 0; i < 3; i++) {
        cora_value key = cora_own(&bakery, &closing_type);
        cora_call_in_executor(loop, bakery, cora_partial(pass_gate, key), cora_partial(on_told));
    }
    cora_drop_temporaries();
    wait_at_gate(3);
    cora_loop_close(loop);
    gate_open();
    cora_executor_shutdown(bakery);
    harness_threads_end();
    pthread_barrier_destroy(&all);
}

TEST(submit_inside, "work may submit more work")
{
    atomic_int loaves = 0;
    cora_executor bakery = pool_of(1);
    cora_thread_future future =
        cora_executor_submit(bakery, cora_partial(submit_more, bakery, &loaves));
    CHECK_INT(cora_as_int(cora_thread_future_result(future, INFINITY)), 1);
    cora_thread_future_release(future);
    cora_executor_shutdown(bakery);
    CHECK_INT(loaves, 1);
}

/* ---- forks ---- */

/* Whether this runs with the thread sanitizer. */
#if defined __SANITIZE_THREAD__
#define THREADS_ARE_CHECKED 1
#elif defined __has_feature
#if __has_feature(thread_sanitizer)
#define THREADS_ARE_CHECKED 1
#endif
#endif
#ifndef THREADS_ARE_CHECKED
#define THREADS_ARE_CHECKED 0
#endif

/* Forks while one piece of work runs and another waits; the child does this with the loop. */
static void fork_with_work(bool (*child_does)(cora_loop loop, cora_executor bakery))
{
    if (harness_under_valgrind())
        SKIP("valgrind looks for leaks where a forked process ends, too");
    gate_shut();
    cora_loop loop = cora_loop_new(NULL);
    cora_executor bakery = pool_of(1);
    int left = 2, status;
    cora_call_in_executor(loop, bakery, cora_partial(pass_gate), cora_partial(on_told, &left));
    cora_call_in_executor(loop, bakery, cora_partial(bake, "loaves", 1),
                          cora_partial(on_told, &left));
    wait_at_gate(1);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(10);
        _exit(cora_after_fork(loop) == 0 && child_does(loop, bakery) ? 0 : 1);
    }
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
    gate_open();
    cora_run_forever(loop);
    CHECK_TEXT(told, "\"1 loaves\"");
    cora_executor_shutdown(bakery);
    cora_loop_close(loop);
}

static bool work_is_lost(cora_loop loop, cora_executor bakery)
{
    (void)bakery;
    cora_run_forever(loop);
    return times_told == 2 && strncmp(told, "BrokenThreadPool", 16) == 0;
}

TEST(fork, "in a forked child all work fails that the pool had, and in the parent it is done")
{
    fork_with_work(work_is_lost);
}

/* A process of a worker's own: how it ended. */
static cora_value fork_here(cora_args bound)
{
    int status = -1;
    (void)bound;
    pid_t child = fork();
    if (child == 0)
        exit(0);
    waitpid(child, &status, 0);
    return cora_int(status);
}

TEST(fork_inside, "a process that a worker forks ends without waiting for the parent's threads",
     "test_concurrent_futures.ThreadPoolExecutorTest.test_process_fork_from_a_threadpool")
{
    if (harness_under_valgrind())
        SKIP("valgrind looks for leaks where a forked process ends, too");
    cora_executor bakery = pool_of(2);
    cora_thread_future future = cora_executor_submit(bakery, cora_partial(fork_here));
    CHECK_INT(cora_as_int(cora_thread_future_result(future, INFINITY)), 0);
    cora_thread_future_release(future);
    cora_executor_shutdown(bakery);
}

static void *submits(void *argument)
{
    atomic_int loaves = 0;
    cora_executor bakery = *(cora_executor *)argument;
    cora_thread_future future;
    while (!cora_is_null(future = cora_executor_submit(bakery, cora_partial(count, &loaves)))) {
        cora_thread_future_result(future, INFINITY);
        cora_thread_future_release(future);
        cora_drop_temporaries();
    }
    return NULL;
}

TEST(fork_race, "a fork while other threads submit leaves the child with no lock that is held",
     "test_concurrent_futures.ThreadPoolExecutorTest.test_hang_global_shutdown_lock")
{
    pthread_t thread;
    cora_executor bakery = pool_of(2);
    CHECK_INT(pthread_create(&thread, NULL, submits, &bakery), 0);
    for (int i = 0; i < 20; i++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            alarm(10);
            cora_thread_future future = cora_thread_future_new();
            cora_thread_future_set_result(future, cora_int(1));
            cora_executor other = pool_of(1);
            _exit(cora_executor_shutdown(other) + cora_executor_shutdown(bakery));
        }
        CHECK_INT(waitpid(child, &status, 0), child);
        CHECK_INT(status, 0);
    }
    cora_executor_shutdown(bakery);
    CHECK_INT(pthread_join(thread, NULL), 0);
}

struct asking {
    cora_handle handle;
    atomic_bool enough;
};

static void never_run(cora_args bound)
{
    (void)bound;
    CHECK(false);
}

static void *asks(void *argument)
{
    struct asking *asking = argument;
    while (!asking->enough)
        cora_handle_cancelled(asking->handle);
    return NULL;
}

TEST(fork_in_a_child, "a forked child may fork, though it left alone a loop that another thread of "
                      "its parent was calling")
{
    if (harness_under_valgrind())
        SKIP("valgrind looks for leaks where a forked process ends, too");
    pthread_t thread;
    cora_loop loop = cora_loop_new(NULL);
    struct asking asking = { .handle = cora_call_soon_threadsafe(loop, cora_partial(never_run)) };
    CHECK_INT(pthread_create(&thread, NULL, asks, &asking), 0);
    for (int i = 0; i < 60; i++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            alarm(10);
            pool_of(1); /* from here forks are told */
            pid_t grandchild = fork();
            if (grandchild == 0)
                _exit(0);
            _exit(waitpid(grandchild, &status, 0) == grandchild ? status : 1);
        }
        CHECK_INT(waitpid(child, &status, 0), child);
        CHECK_INT(status, 0);
    }
    asking.enough = true;
    CHECK_INT(pthread_join(thread, NULL), 0);
    cora_loop_close(loop);
}

#if !THREADS_ARE_CHECKED /* with which a forked child starts no threads */
static bool bakes_anew(cora_loop loop, cora_executor bakery)
{
    cora_run_forever(loop);
    cora_call_in_executor(loop, bakery, cora_partial(bake, "loaves", 5), cora_partial(on_told));
    cora_run_forever(loop);
    return strcmp(told, "\"5 loaves\"") == 0 && cora_executor_shutdown(bakery) == 0;
}

TEST(fork_anew, "in a forked child the pool begins anew")
{
    fork_with_work(bakes_anew);
}
#endif

static cora_value fork_and_return(cora_args bound)
{
    (void)bound;
    pid_t child = fork();
    if (child == 0)
        alarm(5);
    return cora_int(child);
}

TEST(fork_returns, "a process that work forks ends when the work returns there")
{
    if (harness_under_valgrind())
        SKIP("valgrind looks for leaks where a forked process ends, too");
    int status;
    cora_executor bakery = pool_of(1);
    cora_thread_future forked = cora_executor_submit(bakery, cora_partial(fork_and_return));
    pid_t child = (pid_t)cora_as_int(cora_thread_future_result(forked, INFINITY));
    CHECK(child > 0);
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
    cora_thread_future_release(forked);
    cora_executor_shutdown(bakery);
}

/* Forks; whether this holds in the child, which has ten seconds. */
static bool holds_in_child(bool (*child_does)(cora_executor bakery, cora_thread_future future),
                           cora_executor bakery, cora_thread_future future)
{
    int status = -1;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(5);
        _exit(child_does(bakery, future) ? 0 : 1);
    }
    CHECK_INT(waitpid(child, &status, 0), child);
    return status == 0;
}

static bool is_broken(cora_executor bakery, cora_thread_future future)
{
    cora_value result = cora_thread_future_result(future, INFINITY);
    return cora_error_code(result) == CORA_EBROKENTHREADPOOL && cora_executor_shutdown(bakery) == 0;
}

static void note_done(cora_args bound, cora_thread_future future)
{
    *cora_arg(bound, 0, bool *) = cora_thread_future_done(future);
}

static bool shutdown_tells(cora_executor bakery, cora_thread_future future)
{
    bool noted = false;
    cora_executor_shutdown(bakery);
    cora_thread_future_add_done_callback(future, cora_partial(note_done, &noted));
    return noted;
}

/* The future of work that waits at the gate. */
static cora_thread_future submit_gate(cora_executor bakery)
{
    gate_shut();
    cora_thread_future future = cora_executor_submit(bakery, cora_partial(pass_gate));
    wait_at_gate(1);
    return future;
}

TEST(fork_without_loop, "in a forked child without a loop, who waits for lost work gets its error")
{
    if (harness_under_valgrind())
        SKIP("valgrind looks for leaks where a forked process ends, too");
    cora_executor bakery = pool_of(1);
    cora_thread_future future = submit_gate(bakery);
    CHECK(holds_in_child(is_broken, bakery, future));
    CHECK(holds_in_child(shutdown_tells, bakery, future));
    gate_open();
    CHECK_INT(cora_as_int(cora_thread_future_result(future, INFINITY)), 7);
    cora_thread_future_release(future);
    cora_executor_shutdown(bakery);
}

static void drop_at_gate(void *unused)
{
    (void)unused;
    pass_gate((cora_args){ 0 });
}

static const cora_type slow_type = { .name = "sack", .drop = drop_at_gate };

TEST(fork_while_telling, "work that is just about to be told is lost in a forked child, too")
{
    if (harness_under_valgrind())
        SKIP("valgrind looks for leaks where a forked process ends, too");
    gate_shut();
    cora_executor bakery = pool_of(1);
    cora_thread_future future =
        cora_executor_submit(bakery, cora_partial(number, cora_int(7), cora_own(NULL, &slow_type)));
    cora_drop_temporaries();
    wait_at_gate(1);
    CHECK(holds_in_child(is_broken, bakery, future));
    gate_open();
    CHECK_INT(cora_as_int(cora_thread_future_result(future, INFINITY)), 7);
    cora_thread_future_release(future);
    cora_executor_shutdown(bakery);
}

#if !THREADS_ARE_CHECKED
static void *wait_for(void *future)
{
    cora_thread_future_result(*(cora_thread_future *)future, INFINITY);
    return NULL;
}

static bool waits_anew(cora_executor none, cora_thread_future unused)
{
    (void)none, (void)unused;
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        cora_thread_future future = cora_thread_future_new();
        if (pthread_create(&thread, NULL, wait_for, &future) != 0)
            return false;
        cora_thread_future_result(future, 0.002); /* the other one waits, too, by then */
        cora_thread_future_set_result(future, cora_int(i));
        pthread_join(thread, NULL);
        cora_thread_future_release(future);
    }
    return true;
}

TEST(fork_while_waiting, "threads of a forked child wait though others waited in the parent")
{
    if (harness_under_valgrind())
        SKIP("valgrind looks for leaks where a forked process ends, too");
    pthread_t threads[3];
    cora_thread_future future = cora_thread_future_new();
    for (int i = 0; i < 3; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, wait_for, &future), 0);
    cora_thread_future_result(future, 0.02);
    CHECK(holds_in_child(waits_anew, (cora_executor){ 0 }, future));
    cora_executor bakery = pool_of(1); /* from here on forks are prepared for */
    CHECK(holds_in_child(waits_anew, bakery, future));
    cora_thread_future_set_result(future, cora_nothing());
    for (int i = 0; i < 3; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    cora_thread_future_release(future);
    cora_executor_shutdown(bakery);
}
#endif
