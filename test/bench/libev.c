/* libev as a peer, used as its manual and its best users do.
 *
 * How it works: libev has no call_soon.  W1 is a ring drained in a prepare watcher; an idle watcher
 * is active while the ring holds calls, so that libev polls without sleeping between two ticks.
 * W5 is one ev_timer per timer in an array.  W6 is the same with a count for the gather; each
 * sleeper reads the clock, as a sleep does in the other subjects; so is W6t, since there are no
 * tasks.  W11 is a mailbox and one ev_async, which compresses its wake-ups. */
#include "bench.h"
#include "mailbox.h"
#include "ring.h"

#include <ev.h>

static struct ev_loop *loop;

static void open_loop(void)
{
    loop = ev_loop_new(EVFLAG_AUTO);
    if (loop == NULL)
        bench_fail("cannot make a loop");
}

/* W1: a ring, a prepare and an idle watcher. */

static struct ring ring;
static ev_prepare drain;
static ev_idle busy;
static size_t left; /* calls still to be queued */

static void call_soon(void (*function)(void *), void *argument)
{
    if (ring_is_empty(&ring)) {
        ev_idle_start(loop, &busy);
        ev_prepare_start(loop, &drain);
    }
    ring_push(&ring, function, argument);
}

/* call_soon from the last call of a tick finds the ring empty and starts watchers that are
 * already active, which libev ignores. */
static void drain_ring(struct ev_loop *unused, ev_prepare *watcher, int events)
{
    (void)unused, (void)watcher, (void)events;
    ring_run_tick(&ring);
    if (ring_is_empty(&ring)) {
        ev_idle_stop(loop, &busy);
        ev_prepare_stop(loop, &drain);
    }
}

static void stay_awake(struct ev_loop *unused, ev_idle *watcher, int events)
{
    (void)unused, (void)watcher, (void)events;
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
    ev_run(loop, 0);
    bench_end(phase, n);
}

static void w1_setup(size_t n)
{
    (void)n;
    open_loop();
    ev_prepare_init(&drain, drain_ring);
    ev_idle_init(&busy, stay_awake);
    ev_set_priority(&drain, EV_MINPRI);
    ev_set_priority(&busy, EV_MINPRI);
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
    ev_loop_destroy(loop);
}

/* W5: ev_timer. */

static struct bench_timers plan;
static ev_timer *timers;
static size_t fired;

static void fire(struct ev_loop *unused, ev_timer *timer, int events)
{
    (void)unused, (void)timer, (void)events;
    fired++;
}

static void w5_setup(size_t n)
{
    open_loop();
    bench_timers_plan(&plan, n);
    timers = bench_array(n, sizeof *timers);
    for (size_t i = 0; i < n; i++)
        ev_init(&timers[i], fire);
}

static void w5_round(size_t n)
{
    fired = 0;
    ev_now_update(loop);

    bench_begin();
    for (size_t i = 0; i < n; i++) {
        ev_timer_set(&timers[i], plan.delay[i], 0.0);
        ev_timer_start(loop, &timers[i]);
    }
    bench_end("W5.start", n);

    bench_begin();
    for (size_t i = 0; i < plan.cancelled; i++)
        ev_timer_stop(loop, &timers[plan.order[i]]);
    bench_end("W5.cancel", plan.cancelled);

    bench_timers_sleep();
    bench_begin();
    ev_run(loop, 0);
    bench_end("W5.fire", fired);
    bench_timers_check(&plan, fired);
}

static void w5_close(void)
{
    bench_timers_free(&plan);
    free(timers);
    ev_loop_destroy(loop);
}

/* W6: ev_timers and a count, which is also the limit for sleepers. */

static void wake_up(struct ev_loop *unused, ev_timer *timer, int events)
{
    (void)unused, (void)timer, (void)events;
    fired++;
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
    ev_timer *sleepers = bench_array(n, sizeof *sleepers);
    for (size_t i = 0; i < n; i++) {
        ev_now_update(loop);
        ev_timer_init(&sleepers[i], wake_up, BENCH_NAP, 0.0);
        ev_timer_start(loop, &sleepers[i]);
    }
    ev_run(loop, 0);
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

static void w6_close(void)
{
    ev_loop_destroy(loop);
}

/* W11: a mailbox and an ev_async. */

static struct mailbox box;
static ev_async wake;

static void receive(void *unused)
{
    (void)unused;
    if (bench_received())
        ev_break(loop, EVBREAK_ALL);
}

static void run_mailbox(struct ev_loop *unused, ev_async *watcher, int events)
{
    (void)unused, (void)watcher, (void)events;
    mailbox_run(&box);
}

static void send_one(size_t i)
{
    (void)i;
    if (mailbox_put(&box, receive, NULL))
        ev_async_send(loop, &wake);
}

static void w11_setup(size_t n)
{
    open_loop();
    mailbox_open(&box, n);
    ev_async_init(&wake, run_mailbox);
    ev_async_start(loop, &wake);
}

static void w11_round(size_t n)
{
    bench_sender_start(n, send_one);
    ev_run(loop, 0);
    bench_sender_join();
}

static void w11_close(void)
{
    ev_async_stop(loop, &wake);
    mailbox_close(&box);
    ev_loop_destroy(loop);
}

/* W12: W1a with one call. */

static void w12_round(size_t n)
{
    chains("W12", n, 1);
}

int main(int argc, char **argv)
{
    static const struct bench_workload table[] = {
        { "W1a", w1_setup, w1a_round, w1_close }, { "W1b", w1_setup, w1b_round, w1_close },
        { "W5", w5_setup, w5_round, w5_close },   { "W6", w6_setup, w6_round, w6_close },
        { "W6t", w6_setup, w6t_round, w6_close }, { "W11", w11_setup, w11_round, w11_close },
        { "W12", w1_setup, w12_round, NULL },     { 0 },
    };
    return bench_main(argc, argv, "libev", table);
}
