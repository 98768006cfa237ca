/*
 * Memory runs out, and threads cannot be started, where work is given to executors: each allocation
 * in turn, in the loop's thread and in the workers. What was promised is told all the same: an
 * outcome, or a MemoryError; what could not be begun is refused. Nothing is expected behind.
 */
#include "calls.h"
#include "failing.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>

static bool is_short(cora_value error)
{
    return cora_error_code(error) == CORA_EMEMORY;
}

/* What was refused was refused for want of memory, or as the initializer had none. */
static bool was_refused(bool null)
{
    int code = cora_last_error_code();
    CHECK(!null || code == CORA_EMEMORY || code == CORA_EBROKENTHREADPOOL);
    return null;
}

static cora_value bake(cora_args bound)
{
    return cora_textf("%s of %s", cora_arg_text(bound, 0), cora_arg_text(bound, 1));
}

static cora_value begin(cora_args bound)
{
    (void)bound;
    return cora_text("an oven of each thread's own, so warm that it is no small text any more");
}

/* The texts are long, so that no block of a thread's own is large enough for them. */
static char flour[6000];

static void check_loaf(cora_value outcome)
{
    bool broken = cora_error_code(outcome) == CORA_EBROKENTHREADPOOL;
    CHECK(broken || is_short(outcome) || strncmp(cora_as_text(outcome), "loaf of ", 8) == 0);
}

static int expected;

static void on_loaf(cora_args bound, cora_value outcome)
{
    (void)bound;
    check_loaf(outcome);
    if (--expected == 0)
        cora_stop(cora_running_loop());
}

static void on_future(cora_args bound, cora_future done)
{
    on_loaf(bound, cora_result(done));
}

static void expect(bool null)
{
    expected += !was_refused(null);
}

static cora_next baked(cora_coro self)
{
    return cora_return(self, cora_got(self));
}

static cora_next bakes(cora_coro self)
{
    return cora_await(self, cora_to_thread(cora_partial(bake, "loaf", flour)), baked);
}

/* Waits for what was promised. */
static void run(cora_loop loop)
{
    if (expected > 0)
        CHECK_INT(cora_run_forever(loop), 0);
}

/* The callback's form, a future, an operation, a wrapped thread future. */
static void bake_in_loop(cora_loop loop, cora_executor bakery)
{
    cora_future job;
    expected = 0;
    cora_work work = cora_partial(bake, "loaf", flour);
    expect(cora_is_null(cora_call_in_executor(loop, bakery, work, cora_partial(on_loaf, flour))));
    expect(cora_is_null(job = cora_run_in_executor(loop, bakery, work)));
    if (!cora_is_null(job))
        expected -= was_refused(cora_add_done_callback(job, cora_partial(on_future)) < 0);
    expect(cora_is_null(cora_when_done(cora_to_thread(work), cora_partial(on_future))));
    cora_thread_future promised = cora_executor_submit(bakery, work);
    if (!was_refused(cora_is_null(promised))) {
        cora_future wrapped = cora_wrap_future(loop, promised);
        expect(cora_is_null(wrapped));
        if (!cora_is_null(wrapped))
            expected -= was_refused(cora_add_done_callback(wrapped, cora_partial(on_future)) < 0);
        cora_thread_future_release(promised);
    }
    run(loop);
}

static void on_asked(cora_args bound, cora_thread_future done)
{
    check_loaf(cora_thread_future_result(done, 0));
    cora_stop(cora_arg_loop(bound, 0));
}

/* A coroutine that another thread might have asked for. */
static void bake_asked(cora_loop loop)
{
    cora_thread_future asked = cora_run_coroutine_threadsafe(loop, cora_coroutine(bakes));
    if (was_refused(cora_is_null(asked)))
        return;
    if (!was_refused(cora_thread_future_add_done_callback(asked, cora_partial(on_asked, loop)) < 0))
        CHECK_INT(cora_run_forever(loop), 0);
    else
        cora_thread_future_cancel(asked);
    cora_thread_future_release(asked);
}

static void hear(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)bound, (void)loop;
    CHECK(is_short(report->exception));
}

static void bake_all(void)
{
    cora_loop loop = cora_loop_new(NULL);
    if (was_refused(cora_is_null(loop)))
        return;
    cora_set_current_loop(loop);
    cora_set_exception_handler(loop, cora_partial(hear));
    cora_executor bakery = cora_thread_pool_new(&(struct cora_thread_pool_options){
        .max_workers = 2, .initializer = cora_partial(begin, flour) });
    if (!was_refused(cora_is_null(bakery))) {
        bake_in_loop(loop, bakery);
        bake_asked(loop);
        cora_executor_shutdown(bakery);
    }
    cora_value ended =
        cora_run_until_complete(loop, cora_shutdown_default_executor(loop, INFINITY));
    CHECK(is_short(ended) || cora_is_nothing(ended));
    cora_loop_close(loop);
    cora_set_current_loop((cora_loop){ 0 });
}

/* Plays it with each allocation failing in turn; all: with all that come after it, too. */
static void play(bool all)
{
    memset(flour, 'f', sizeof flour - 1);
    for (long number = 0;; number++) {
        if (all)
            fail_allocations(number);
        else
            fail_allocation(number);
        bake_all();
        let_all_succeed();
        cora_drop_temporaries();
        if (allocated <= number)
            return;
    }
}

TEST_WITH_LIMIT(60, one_allocation, "each allocation fails once: work is done, or refused")
{
    play(false);
}

TEST_WITH_LIMIT(60, no_more, "memory runs out for good: what was promised is told all the same")
{
    play(true);
}

TEST(no_thread, "without a thread work is refused with the system's error; later it is done")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_executor bakery = cora_thread_pool_new(NULL);
    for (int way = 0; way < ways_of(PTHREAD_CREATE); way++) {
        fail_call_of(PTHREAD_CREATE, 0, way);
        CHECK(cora_is_null(cora_executor_submit(bakery, cora_partial(bake, "loaf", "rye"))));
        CHECK_INT(cora_last_error_code(), -call_table[PTHREAD_CREATE].ways[way]);
        fail_call_of(PTHREAD_CREATE, 0, way);
        CHECK(cora_is_null(cora_call_in_executor(loop, bakery, cora_partial(bake, "loaf", "rye"),
                                                 cora_partial(on_loaf))));
        let_all_calls_succeed();
    }
    expected = 1;
    cora_call_in_executor(loop, bakery, cora_partial(bake, "loaf", "rye"), cora_partial(on_loaf));
    CHECK_INT(cora_run_forever(loop), 0);
    cora_executor_shutdown(bakery);
    cora_loop_close(loop);
}

static cora_value wait_here(cora_args bound)
{
    return cora_thread_future_result(cora_arg_thread_future(bound, 0), INFINITY);
}

TEST(no_second_thread, "without a second thread work waits for the first")
{
    cora_executor bakery = cora_thread_pool_new(NULL);
    cora_thread_future gate = cora_thread_future_new();
    cora_thread_future first = cora_executor_submit(bakery, cora_partial(wait_here, gate));
    while (!cora_thread_future_running(first))
        sched_yield();
    fail_call_of(PTHREAD_CREATE, 0, 0);
    cora_thread_future second = cora_executor_submit(bakery, cora_partial(bake, "loaf", "rye"));
    let_all_calls_succeed();
    CHECK(!cora_is_null(second));
    cora_thread_future_set_result(gate, cora_nothing());
    CHECK_TEXT(cora_as_text(cora_thread_future_result(second, INFINITY)), "loaf of rye");
    cora_executor_shutdown(bakery);
    cora_thread_future_release(gate);
    cora_thread_future_release(first);
    cora_thread_future_release(second);
}

#define MANY 20000

TEST(no_room, "without room for handles thread futures are refused, until one is given back")
{
    static cora_thread_future futures[MANY];
    int count = 1;
    futures[0] = cora_thread_future_new(); /* there is a mapping at least */
    mappings_refused = true;
    while (count < MANY && !cora_is_null(futures[count] = cora_thread_future_new()))
        count++;
    CHECK(count < MANY);
    CHECK_INT(cora_last_error_code(), CORA_EMEMORY);
    cora_thread_future_release(futures[--count]);
    CHECK(!cora_is_null(futures[count++] = cora_thread_future_new()));
    mappings_refused = false;
    for (int i = 0; i < count; i++)
        cora_thread_future_release(futures[i]);
}
