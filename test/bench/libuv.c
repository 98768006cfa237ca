/* libuv as a peer, used as uvloop and node do.
 *
 * How it works: libuv has no call_soon.  W1 is a ring drained in an idle handle, which makes libuv
 * poll without sleeping while it is active; uvloop's call_soon is built the same way.  W5 is one
 * uv_timer_t per timer in an array, initialised once and started again in each round, as libuv's
 * users do, since closing a handle takes a trip through the loop; libuv counts in whole
 * milliseconds.  W6 is one such timer a sleeper, which reads the clock, and a count for the gather;
 * so is W6t, since there are no tasks.  W11 is a mailbox and one uv_async_t, which compresses its
 * wake-ups. */
#include "bench.h"
#include "mailbox.h"
#include "ring.h"

#include <uv.h>

static uv_loop_t loop;

static void open_loop(void)
{
    if (uv_loop_init(&loop) != 0)
        bench_fail("cannot make a loop");
}

static void close_loop(void)
{
    uv_run(&loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&loop) != 0)
        bench_fail("the loop still has handles");
}

/* W1: a ring and an idle handle. */

static struct ring ring;
static uv_idle_t drain;
static size_t left; /* calls still to be queued */

static void drain_ring(uv_idle_t *unused)
{
    (void)unused;
    ring_run_tick(&ring);
    if (ring_is_empty(&ring))
        uv_idle_stop(&drain);
}

/* Starting an active handle does nothing. */
static void call_soon(void (*function)(void *), void *argument)
{
    if (ring_is_empty(&ring))
        uv_idle_start(&drain, drain_ring);
    ring_push(&ring, function, argument);
}

static void again(void *unused)
{
    if (left == 0)
        return;
    left--;
    call_soon(again, unused);
}

static void chains(const char *phase, size_t n, size_t width)
{
    left = n - width;
    bench_begin();
    for (size_t i = 0; i < width; i++)
        call_soon(again, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    bench_end(phase, n);
}

static void w1_setup(size_t n)
{
    (void)n;
    open_loop();
    uv_idle_init(&loop, &drain);
}

static void w1a_round(size_t n)
{
    chains("W1a", n, 1);
}

static void w1b_round(size_t n)
{
    chains("W1b", n, BENCH_TICK);
}

static void w1_close(void)
{
    free(ring.calls);
    uv_close((uv_handle_t *)&drain, NULL);
    close_loop();
}

/* W5: uv_timer_t. */

static struct bench_timers plan;
static uv_timer_t *timers;
static size_t fired;

static void fire(uv_timer_t *unused)
{
    (void)unused;
    fired++;
}

static void w5_setup(size_t n)
{
    open_loop();
    bench_timers_plan(&plan, n);
    timers = bench_array(n, sizeof *timers);
    for (size_t i = 0; i < n; i++)
        uv_timer_init(&loop, &timers[i]);
}

static void w5_round(size_t n)
{
    fired = 0;
    uv_update_time(&loop);

    bench_begin();
    for (size_t i = 0; i < n; i++)
        uv_timer_start(&timers[i], fire, (uint64_t)(plan.delay[i] * 1e3), 0);
    bench_end("W5.start", n);

    bench_begin();
    for (size_t i = 0; i < plan.cancelled; i++)
        uv_timer_stop(&timers[plan.order[i]]);
    bench_end("W5.cancel", plan.cancelled);

    bench_timers_sleep();
    bench_begin();
    uv_run(&loop, UV_RUN_DEFAULT);
    bench_end("W5.fire", fired);
    bench_timers_check(&plan, fired);
}

static void w5_close(void)
{
    for (size_t i = 0; i < plan.n; i++)
        uv_close((uv_handle_t *)&timers[i], NULL);
    close_loop();
    bench_timers_free(&plan);
    free(timers);
}

/* W6: uv_timer_t and a count. */

static void wake_up(uv_timer_t *timer)
{
    fired++;
    uv_close((uv_handle_t *)timer, NULL);
}

static void w6_setup(size_t n)
{
    (void)n;
    open_loop();
}

static void sleepers_round(const char *phase, const char *bytes, size_t n)
{
    fired = 0;
    bench_memory_begin();
    bench_begin();
    uv_timer_t *sleepers = bench_array(n, sizeof *sleepers);
    for (size_t i = 0; i < n; i++) {
        uv_update_time(&loop);
        uv_timer_init(&loop, &sleepers[i]);
        uv_timer_start(&sleepers[i], wake_up, BENCH_NAP * 1000, 0);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    free(sleepers);
    bench_end_cpu(phase, fired);
    bench_memory_end(bytes, n);
}

static void w6_round(size_t n)
{
    sleepers_round("W6", "W6.bytes", n);
}

static void w6t_round(size_t n)
{
    sleepers_round("W6t", "W6t.bytes", n);
}

/* W10: uv_queue_work, whose pool has four threads. */

static uv_work_t jobs[BENCH_IN_FLIGHT];
static size_t to_submit, to_arrive;

static void work(uv_work_t *job)
{
    job->data = (char *)job->data + 1;
}

static void worked(uv_work_t *job, int status)
{
    (void)status;
    if (to_submit > 0) {
        to_submit--;
        uv_queue_work(&loop, job, work, worked);
    }
    if (--to_arrive == 0)
        uv_stop(&loop);
}

static void w10_setup(size_t n)
{
    (void)n;
    open_loop();
    bench_core_stay();
}

static void w10_many(const char *phase, size_t n, size_t in_flight)
{
    to_submit = n - in_flight;
    to_arrive = n;
    bench_begin();
    for (size_t i = 0; i < in_flight; i++)
        uv_queue_work(&loop, &jobs[i], work, worked);
    uv_run(&loop, UV_RUN_DEFAULT);
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
    bench_core_leave();
    close_loop();
}

/* W11: a mailbox and a uv_async_t. */

static struct mailbox box;
static uv_async_t wake;

static void receive(void *unused)
{
    (void)unused;
    if (bench_received())
        uv_stop(&loop);
}

static void run_mailbox(uv_async_t *unused)
{
    (void)unused;
    mailbox_run(&box);
}

static void send_one(size_t i)
{
    (void)i;
    if (mailbox_put(&box, receive, NULL))
        uv_async_send(&wake);
}

static void w11_setup(size_t n)
{
    open_loop();
    mailbox_open(&box, n);
    uv_async_init(&loop, &wake, run_mailbox);
}

static void w11_round(size_t n)
{
    bench_sender_start(n, send_one);
    uv_run(&loop, UV_RUN_DEFAULT);
    bench_sender_join();
}

static void w11_close(void)
{
    uv_close((uv_handle_t *)&wake, NULL);
    close_loop();
    mailbox_close(&box);
}

/* W12: W1a with one call. */

static void w12_round(size_t n)
{
    chains("W12", n, 1);
}

int main(int argc, char **argv)
{
    static const struct bench_workload table[] = {
        { "W1a", w1_setup, w1a_round, w1_close },     { "W1b", w1_setup, w1b_round, w1_close },
        { "W5", w5_setup, w5_round, w5_close },       { "W6", w6_setup, w6_round, close_loop },
        { "W6t", w6_setup, w6t_round, close_loop },   { "W11", w11_setup, w11_round, w11_close },
        { "W12", w1_setup, w12_round, NULL },         { "W10a", w10_setup, w10a_round, w10_close },
        { "W10b", w10_setup, w10b_round, w10_close }, { 0 },
    };
    return bench_main(argc, argv, "libuv", table);
}
