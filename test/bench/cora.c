/* Cora itself, as a program of its users would be written.
 *
 * How it works: every call has its handle, a bound argument and can be cancelled.  The futures of
 * W2, W3, W4 and W6 are made in callbacks or steps, so that they go by themselves when they have
 * been used.  W3 is one task, whose step makes a future and a callback that completes it, and
 * awaits it; in W3n the step awaits a new coroutine, which returns its argument.  W6t gathers
 * coroutines, of which the gather makes tasks; W6 gathers the sleeps alone.  In W9a1 and W9a the
 * callback of a put makes the next put, and so do gets; W9at is two tasks.  W9b and W9c await the
 * lock in steps that each task runs through again; in W9c it awaits a sleep of zero, too.  W5
 * starts timers by call_at, as libev's ev_timer_start does not read the clock either; W5.later is
 * the same by call_later, which does.  Handles that are to be cancelled are at hand in that order,
 * as a program has them in the record of what it gives up. */
#include "bench.h"

#include <cora.h>
#include <stdlib.h>

static cora_loop loop;

static void open_loop(void)
{
    loop = cora_loop_new(NULL);
    if (cora_is_null(loop))
        bench_fail("cannot make a loop");
}

static void close_loop(void)
{
    cora_loop_close(loop);
}

static void stop(cora_args bound)
{
    (void)bound;
    cora_stop(loop);
}

/* W1: callbacks that schedule themselves again. */

static size_t left, running; /* calls still to be queued; chains that have not ended */

static void again(cora_args bound)
{
    size_t *more = cora_arg(bound, 0, size_t *);
    if (*more > 0) {
        --*more;
        cora_call_soon(loop, cora_partial(again, more));
    } else if (--running == 0) {
        cora_stop(loop);
    }
}

static void chains(const char *phase, size_t n, size_t width)
{
    left = n - width;
    running = width;
    bench_begin();
    for (size_t i = 0; i < width; i++)
        cora_call_soon(loop, cora_partial(again, &left));
    cora_run_forever(loop);
    bench_end(phase, n);
}

static void w1_setup(size_t n)
{
    (void)n;
    open_loop();
}

static void w1a_round(size_t n)
{
    chains("W1a", n, 1);
}

static void w1b_round(size_t n)
{
    chains("W1b", n, BENCH_TICK);
}

/* W2: futures whose callback makes the next. */

static void make_future(size_t *more);

static void on_done(cora_args bound, cora_future done)
{
    size_t *more = cora_arg(bound, 0, size_t *);
    (void)done;
    if (*more > 0) {
        --*more;
        make_future(more);
    } else if (--running == 0) {
        cora_stop(loop);
    }
}

static void make_future(size_t *more)
{
    cora_future future = cora_future_new(loop);
    cora_add_done_callback(future, cora_partial(on_done, more));
    cora_set_result(future, cora_int(1));
}

static void make_first(cora_args bound)
{
    (void)bound;
    for (size_t i = 0; i < running; i++)
        make_future(&left);
}

static void futures(const char *phase, size_t n, size_t width)
{
    left = n - width;
    running = width;
    bench_begin();
    cora_call_soon(loop, cora_partial(make_first));
    cora_run_forever(loop);
    bench_end(phase, n);
}

static void w2a_round(size_t n)
{
    futures("W2a", n, 1);
}

static void w2b_round(size_t n)
{
    futures("W2b", n, BENCH_TICK);
}

static void w2n_round(size_t n)
{
    futures("W2n", n, n);
}

/* W3: a task that awaits one thing after the other; what it gets counts down. */

struct chain {
    size_t left;
};

static void complete(cora_args bound)
{
    cora_set_result(cora_arg_future(bound, 0), cora_int(1));
}

static cora_next completed(cora_coro self);

static cora_next await_future(cora_coro self)
{
    if (cora_locals(self, struct chain)->left == 0)
        return cora_return(self, cora_nothing());
    cora_future future = cora_future_new(loop);
    cora_call_soon(loop, cora_partial(complete, future));
    return cora_await(self, future, completed);
}

static cora_next completed(cora_coro self)
{
    cora_locals(self, struct chain)->left -= (size_t)cora_as_int(cora_got(self));
    return await_future(self);
}

struct nested {
    int64_t value;
};

static cora_next nested(cora_coro self)
{
    return cora_return(self, cora_locals(self, struct nested)->value);
}

static cora_next nested_ended(cora_coro self);

static cora_next await_nested(cora_coro self)
{
    if (cora_locals(self, struct chain)->left == 0)
        return cora_return(self, cora_nothing());
    return cora_await(self, cora_coroutine(nested, struct nested, .value = 1), nested_ended);
}

static cora_next nested_ended(cora_coro self)
{
    cora_locals(self, struct chain)->left -= (size_t)cora_as_int(cora_got(self));
    return await_nested(self);
}

static void run_task(cora_coro coro)
{
    if (cora_is_error(cora_run_until_complete(loop, coro)))
        bench_fail("a task failed");
}

static void w3_round(size_t n)
{
    bench_begin();
    run_task(cora_coroutine(await_future, struct chain, .left = n));
    bench_end("W3", n);
}

static void w3n_round(size_t n)
{
    bench_begin();
    run_task(cora_coroutine(await_nested, struct chain, .left = n));
    bench_end("W3n", n);
}

/* W4: gather. */

static size_t *order;
static size_t gathers; /* still to be made */

static void gather_all(cora_args bound);

static void on_gathered(cora_args bound, cora_future all)
{
    long long n = cora_arg_int(bound, 0);
    if (cora_as_int(cora_list_at(cora_result(all), (size_t)n - 1)) != n - 1)
        bench_fail("a wrong result");
    if (--gathers > 0)
        cora_call_soon(loop, cora_partial(gather_all, n));
    else
        cora_stop(loop);
}

static void gather_all(cora_args bound)
{
    size_t n = (size_t)cora_arg_int(bound, 0);
    cora_future *children = bench_array(n, sizeof *children);

    for (size_t i = 0; i < n; i++)
        children[i] = cora_future_new(loop);
    cora_add_done_callback(cora_gather(loop, children, n), cora_partial(on_gathered, n));
    for (size_t i = 0; i < n; i++)
        cora_set_result(children[order[i]], cora_int((int64_t)order[i]));
    free(children);
}

static void w4_setup(size_t n)
{
    open_loop();
    order = bench_order(n);
}

static void w4_round(size_t n)
{
    gathers = bench_gathers(n);
    bench_memory_begin();
    bench_begin();
    cora_call_soon(loop, cora_partial(gather_all, n));
    cora_run_forever(loop);
    bench_end("W4", bench_gathers(n) * n);
    bench_memory_end("W4.bytes", n);
}

static void w4_close(void)
{
    free(order);
    close_loop();
}

/* W5: timers. */

static struct bench_timers plan;
static cora_handle *timers;
static size_t fired;

static void fire(cora_args bound)
{
    ++*cora_arg(bound, 0, size_t *);
    if (fired == plan.n - plan.cancelled)
        cora_stop(loop);
}

static void w5_setup(size_t n)
{
    open_loop();
    bench_timers_plan(&plan, n);
    timers = bench_array(n, sizeof *timers);
}

static void cancel_most(void)
{
    cora_handle *first = bench_array(plan.cancelled, sizeof *first);
    for (size_t i = 0; i < plan.cancelled; i++)
        first[i] = timers[plan.order[i]];

    bench_begin();
    for (size_t i = 0; i < plan.cancelled; i++)
        cora_handle_cancel(first[i]);
    bench_end("W5.cancel", plan.cancelled);
    free(first);
}

/* One tick in which what was cancelled is settled. */
static void one_tick(void)
{
    cora_call_soon(loop, cora_partial(stop));
    cora_run_forever(loop);
}

static void w5_later(size_t n)
{
    bench_begin();
    for (size_t i = 0; i < n; i++)
        timers[i] = cora_call_later(loop, plan.delay[i], cora_partial(fire, &fired));
    bench_end("W5.later", n);
    for (size_t i = 0; i < n; i++)
        cora_handle_cancel(timers[i]);
    one_tick();
}

static void w5_round(size_t n)
{
    w5_later(n);
    fired = 0;
    double now = cora_time(loop);

    bench_begin();
    for (size_t i = 0; i < n; i++)
        timers[i] = cora_call_at(loop, now + plan.delay[i], cora_partial(fire, &fired));
    bench_end("W5.start", n);

    cancel_most();

    bench_timers_sleep();
    bench_begin();
    cora_run_forever(loop);
    bench_end("W5.fire", fired);
    bench_timers_check(&plan, fired);
}

static void w5_close(void)
{
    bench_timers_free(&plan);
    free(timers);
    close_loop();
}

/* W6: sleepers. */

static void on_awake(cora_args bound, cora_future all)
{
    if (cora_list_size(cora_result(all)) != (size_t)cora_arg_int(bound, 0))
        bench_fail("a wrong number of sleepers");
    cora_stop(loop);
}

static void sleep_all(cora_args bound)
{
    size_t n = (size_t)cora_arg_int(bound, 0);
    cora_awaitable *sleepers = bench_array(n, sizeof *sleepers);

    for (size_t i = 0; i < n; i++)
        sleepers[i] = cora_sleep(BENCH_NAP);
    cora_add_done_callback(cora_gather(loop, sleepers, n), cora_partial(on_awake, n));
    free(sleepers);
}

static void w6_round(size_t n)
{
    bench_memory_begin();
    bench_begin();
    cora_call_soon(loop, cora_partial(sleep_all, n));
    cora_run_forever(loop);
    bench_end_cpu("W6", n);
    bench_memory_end("W6.bytes", n);
}

/* W6t: sleepers in tasks of their own. */

struct night {
    size_t sleepers;
};

static cora_next woke_up(cora_coro self)
{
    return cora_return(self, cora_nothing());
}

static cora_next nap(cora_coro self)
{
    return cora_await(self, cora_sleep(BENCH_NAP), woke_up);
}

static cora_next all_woke_up(cora_coro self)
{
    if (cora_list_size(cora_got(self)) != cora_locals(self, struct night)->sleepers)
        bench_fail("a wrong number of sleepers");
    return cora_return(self, cora_nothing());
}

static cora_next nap_all(cora_coro self)
{
    size_t n = cora_locals(self, struct night)->sleepers;
    cora_coro *sleepers = bench_array(n, sizeof *sleepers);

    for (size_t i = 0; i < n; i++)
        sleepers[i] = cora_coroutine(nap);
    cora_future all = cora_gather(loop, sleepers, n);
    free(sleepers);
    return cora_await(self, all, all_woke_up);
}

static void w6t_round(size_t n)
{
    bench_memory_begin();
    bench_begin();
    run_task(cora_coroutine(nap_all, struct night, .sleepers = n));
    bench_end_cpu("W6t", n);
    bench_memory_end("W6t.bytes", n);
}

/* W9a: items that go through a queue, with callbacks: many at a time; in W9a1 one. */

static cora_queue queue;
static size_t total;           /* items of a round */
static size_t put, asked, got; /* how many puts and gets were started, and how many have come out */

static void check_item(cora_value item)
{
    if (cora_as_int(item) != (long long)got++)
        bench_fail("a wrong item");
}

static void put_next(void);
static void get_next(void);

static void on_put(cora_args bound, cora_future done)
{
    (void)bound;
    (void)done;
    if (put < total)
        put_next();
}

static void on_got(cora_args bound, cora_future done)
{
    (void)bound;
    check_item(cora_result(done));
    if (asked < total)
        get_next();
    else if (got == total)
        cora_stop(loop);
}

static void put_next(void)
{
    cora_when_done(cora_queue_put(queue, cora_from(put++)), cora_partial(on_put));
}

static void get_next(void)
{
    asked++;
    cora_when_done(cora_queue_get(queue), cora_partial(on_got));
}

/* The puts are first, and as many as the gets: nobody waits. */
static void start_chains(cora_args bound)
{
    long long width = cora_arg_int(bound, 0);
    for (long long i = 0; i < width; i++)
        put_next();
    for (long long i = 0; i < width; i++)
        get_next();
}

static void queue_chains(const char *phase, size_t n, size_t width)
{
    total = n;
    put = asked = got = 0;
    bench_begin();
    cora_call_soon(loop, cora_partial(start_chains, width));
    cora_run_forever(loop);
    bench_end(phase, n);
    if (got != n)
        bench_fail("items are missing");
}

static void w9a_setup(size_t n)
{
    (void)n;
    open_loop();
    queue = cora_queue_new(loop, BENCH_QUEUE);
    if (cora_is_null(queue))
        bench_fail("cannot make a queue");
}

static void w9a1_round(size_t n)
{
    queue_chains("W9a1", n, 1);
}

static void w9a_round(size_t n)
{
    queue_chains("W9a", n, BENCH_QUEUE);
}

static void w9a_close(void)
{
    cora_queue_close(queue);
    close_loop();
}

/* W9at: the same in two tasks. */

static cora_next produce(cora_coro self)
{
    if (put == total)
        return cora_return(self, cora_nothing());
    return cora_await(self, cora_queue_put(queue, cora_from(put++)), produce);
}

static cora_next consumed(cora_coro self);

static cora_next consume(cora_coro self)
{
    return cora_await(self, cora_queue_get(queue), consumed);
}

static cora_next consumed(cora_coro self)
{
    check_item(cora_got(self));
    return got == total ? cora_return(self, cora_nothing()) : consume(self);
}

static cora_next work(cora_coro self)
{
    cora_coro workers[] = { cora_coroutine(produce), cora_coroutine(consume) };
    return cora_await(self, cora_gather(loop, workers, 2), cora_return_nothing);
}

static void w9at_round(size_t n)
{
    total = n;
    put = got = 0;
    bench_begin();
    run_task(cora_coroutine(work));
    bench_end("W9at", n);
}

/* W9b, W9c: tasks that take a lock and give it back, again and again. */

static cora_lock lock;

struct locker {
    size_t left;    /* turns to be taken */
    cora_step held; /* what goes on when the lock is held */
};

struct lockers {
    size_t turns; /* of each */
};

static cora_next take_lock(cora_coro self)
{
    struct locker *locker = cora_locals(self, struct locker);
    if (locker->left-- == 0)
        return cora_return(self, cora_nothing());
    return cora_await(self, cora_lock_acquire(lock), locker->held);
}

static cora_next give_back(cora_coro self)
{
    if (cora_lock_release(lock) < 0)
        bench_fail("a lock was not held");
    return take_lock(self);
}

static cora_next yield_once(cora_coro self)
{
    return cora_await(self, cora_sleep(0), give_back);
}

static cora_next lock_all(cora_coro self)
{
    size_t turns = cora_locals(self, struct lockers)->turns;
    cora_coro lockers[BENCH_LOCKERS];

    for (size_t i = 0; i < BENCH_LOCKERS; i++)
        lockers[i] = cora_coroutine(take_lock, struct locker, turns, yield_once);
    return cora_await(self, cora_gather(loop, lockers, BENCH_LOCKERS), cora_return_nothing);
}

static void w9_setup(size_t n)
{
    (void)n;
    open_loop();
    lock = cora_lock_new(loop);
    if (cora_is_null(lock))
        bench_fail("cannot make a lock");
}

static void w9b_round(size_t n)
{
    bench_begin();
    run_task(cora_coroutine(take_lock, struct locker, n, give_back));
    bench_end("W9b", n);
}

static void w9c_round(size_t n)
{
    size_t turns = n / BENCH_LOCKERS;

    bench_begin();
    run_task(cora_coroutine(lock_all, struct lockers, turns));
    bench_end("W9c", turns * BENCH_LOCKERS);
}

static void w9_close(void)
{
    cora_lock_close(lock);
    close_loop();
}

/* W10: work in an executor, called back. */

static cora_executor executor;
static size_t to_submit, to_arrive;

static cora_value add_one(cora_args bound)
{
    return cora_int(cora_arg_int(bound, 0) + 1);
}

static void worked(cora_args bound, cora_value outcome)
{
    (void)bound, (void)outcome;
    if (to_submit > 0) {
        to_submit--;
        cora_call_in_executor(loop, executor, cora_partial(add_one, to_submit),
                              cora_partial(worked));
    }
    if (--to_arrive == 0)
        cora_stop(loop);
}

static void w10_setup(size_t n)
{
    w1_setup(n);
    bench_core_stay();
    executor =
        cora_thread_pool_new(&(struct cora_thread_pool_options){ .max_workers = BENCH_WORKERS });
}

static void w10_many(const char *phase, size_t n, size_t in_flight)
{
    to_submit = n - in_flight;
    to_arrive = n;
    bench_begin();
    for (size_t i = 0; i < in_flight; i++)
        cora_call_in_executor(loop, executor, cora_partial(add_one, i), cora_partial(worked));
    cora_run_forever(loop);
    bench_end(phase, n);
}

static void w10a_round(size_t n)
{
    w10_many("W10a", n, 1);
}

static void w10b_round(size_t n)
{
    w10_many("W10b", n, BENCH_IN_FLIGHT);
}

static void w10_close(void)
{
    cora_executor_shutdown(executor);
    bench_core_leave();
    close_loop();
}

/* W11: call_soon_threadsafe. */

static void receive(cora_args bound)
{
    (void)bound;
    if (bench_received())
        cora_stop(loop);
}

static void pass_on(size_t i)
{
    cora_call_soon_threadsafe(loop, cora_partial(receive, i));
}

static void w11_round(size_t n)
{
    bench_sender_start(n, pass_on);
    cora_run_forever(loop);
    bench_sender_join();
}

/* W12: a loop, one callback, the end. */

static void w12_round(size_t n)
{
    (void)n;
    open_loop();
    one_tick();
    close_loop();
}

int main(int argc, char **argv)
{
    static const struct bench_workload table[] = {
        { "W1a", w1_setup, w1a_round, close_loop },
        { "W1b", w1_setup, w1b_round, close_loop },
        { "W2a", w1_setup, w2a_round, close_loop },
        { "W2b", w1_setup, w2b_round, close_loop },
        { "W2n", w1_setup, w2n_round, close_loop },
        { "W3", w1_setup, w3_round, close_loop },
        { "W3n", w1_setup, w3n_round, close_loop },
        { "W4", w4_setup, w4_round, w4_close },
        { "W5", w5_setup, w5_round, w5_close },
        { "W6", w1_setup, w6_round, close_loop },
        { "W6t", w1_setup, w6t_round, close_loop },
        { "W9a1", w9a_setup, w9a1_round, w9a_close },
        { "W9a", w9a_setup, w9a_round, w9a_close },
        { "W9at", w9a_setup, w9at_round, w9a_close },
        { "W9b", w9_setup, w9b_round, w9_close },
        { "W9c", w9_setup, w9c_round, w9_close },
        { "W10a", w10_setup, w10a_round, w10_close },
        { "W10b", w10_setup, w10b_round, w10_close },
        { "W11", w1_setup, w11_round, close_loop },
        { "W12", NULL, w12_round, NULL },
        { NULL, NULL, NULL, NULL },
    };
    return bench_main(argc, argv, "cora", table);
}
