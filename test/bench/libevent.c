/* libevent as a peer.
 *
 * How it works: its fastest "call soon" is event_active, which puts an event straight on the queue
 * of active ones.  Left alone, libevent runs what callbacks activate in the same pass and never
 * polls; so W1 caps the callbacks between two polls, as its manual offers: at 64 in W1a, the bound
 * to which our loop may skip polls, and at one tick in W1b.  W5 is one event per timer in an array,
 * assigned once.  Outside of a callback libevent asks the system for the time with each event_add,
 * so W5 runs in a callback, where it uses its cached time as the other libraries do.  W11 is a
 * mailbox and one event that the other thread activates. */
#include "bench.h"
#include "mailbox.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/thread.h>
#include <sys/time.h>

static struct event_base *base;

/* max_callbacks: how many callbacks may run between two polls; -1 for any number. */
static void open_base(int max_callbacks)
{
    struct event_config *config = event_config_new();

    if (config == NULL)
        bench_fail("out of memory");
    if (max_callbacks > 0)
        event_config_set_max_dispatch_interval(config, NULL, max_callbacks, 0);
    base = event_base_new_with_config(config);
    event_config_free(config);
    if (base == NULL)
        bench_fail("cannot make an event base");
}

/* W1: event_active. */

static struct event callbacks[BENCH_TICK];
static size_t left; /* calls still to be queued */

static void again(evutil_socket_t fd, short what, void *argument)
{
    (void)fd, (void)what;
    if (left == 0)
        return;
    left--;
    event_active(argument, EV_TIMEOUT, 1);
}

static void chains(const char *phase, size_t n, size_t width)
{
    left = n - width;
    bench_begin();
    for (size_t i = 0; i < width; i++)
        event_active(&callbacks[i], EV_TIMEOUT, 1);
    event_base_dispatch(base);
    bench_end(phase, n);
}

static void assign_callbacks(void)
{
    for (size_t i = 0; i < BENCH_TICK; i++)
        event_assign(&callbacks[i], base, -1, 0, again, &callbacks[i]);
}

static void w1a_setup(size_t n)
{
    (void)n;
    open_base(64);
    assign_callbacks();
}

static void w1a_round(size_t n)
{
    chains("W1a", n, 1);
}

static void w1b_setup(size_t n)
{
    (void)n;
    open_base(BENCH_TICK);
    assign_callbacks();
}

static void w1b_round(size_t n)
{
    chains("W1b", n, BENCH_TICK);
}

static void close_base(void)
{
    event_base_free(base);
}

/* W5: events with a time-out. */

static struct bench_timers plan;
static struct timeval *delays; /* the plan's, in libevent's unit */
static struct event *timers;
static struct event stage; /* its callback starts and cancels the timers */
static size_t fired;

static void fire(evutil_socket_t fd, short what, void *unused)
{
    (void)fd, (void)what, (void)unused;
    fired++;
}

/* The base fires the rest as soon as this callback has returned. */
static void start_and_cancel(evutil_socket_t fd, short what, void *unused)
{
    (void)fd, (void)what, (void)unused;
    bench_begin();
    for (size_t i = 0; i < plan.n; i++)
        event_add(&timers[i], &delays[i]);
    bench_end("W5.start", plan.n);

    bench_begin();
    for (size_t i = 0; i < plan.cancelled; i++)
        event_del(&timers[plan.order[i]]);
    bench_end("W5.cancel", plan.cancelled);

    bench_timers_sleep();
    event_base_update_cache_time(base); /* else the base sleeps by its old time */
    bench_begin();
}

static void w5_setup(size_t n)
{
    open_base(-1);
    bench_timers_plan(&plan, n);
    delays = bench_array(n, sizeof *delays);
    timers = bench_array(n, sizeof *timers);
    for (size_t i = 0; i < n; i++) {
        delays[i].tv_sec = 1;
        delays[i].tv_usec = (suseconds_t)((plan.delay[i] - 1.0) * 1e6);
        evtimer_assign(&timers[i], base, fire, NULL);
    }
    event_assign(&stage, base, -1, 0, start_and_cancel, NULL);
}

static void w5_round(size_t n)
{
    (void)n;
    fired = 0;
    event_active(&stage, EV_TIMEOUT, 1);
    event_base_dispatch(base);
    bench_end("W5.fire", fired);
    bench_timers_check(&plan, fired);
}

static void w5_close(void)
{
    bench_timers_free(&plan);
    free(delays);
    free(timers);
    close_base();
}

/* W11: a mailbox and event_active, with libevent's locks on. */

static struct mailbox box;
static struct event wake;

static void receive(void *unused)
{
    (void)unused;
    if (bench_received())
        event_base_loopbreak(base);
}

static void run_mailbox(evutil_socket_t fd, short what, void *unused)
{
    (void)fd, (void)what, (void)unused;
    mailbox_run(&box);
}

static void send_one(size_t i)
{
    (void)i;
    if (mailbox_put(&box, receive, NULL))
        event_active(&wake, EV_TIMEOUT, 1);
}

static void w11_setup(size_t n)
{
    if (evthread_use_pthreads() != 0)
        bench_fail("no threads");
    open_base(-1);
    mailbox_open(&box, n);
    event_assign(&wake, base, -1, 0, run_mailbox, NULL);
}

static void w11_round(size_t n)
{
    bench_sender_start(n, send_one);
    event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY);
    bench_sender_join();
}

static void w11_close(void)
{
    mailbox_close(&box);
    close_base();
}

/* W12: W1a with one call. */

static void w12_setup(size_t n)
{
    (void)n;
    open_base(-1);
    event_assign(&callbacks[0], base, -1, 0, again, &callbacks[0]);
}

static void w12_round(size_t n)
{
    chains("W12", n, 1);
}

int main(int argc, char **argv)
{
    static const struct bench_workload table[] = {
        { "W1a", w1a_setup, w1a_round, close_base }, { "W1b", w1b_setup, w1b_round, close_base },
        { "W5", w5_setup, w5_round, w5_close },      { "W11", w11_setup, w11_round, w11_close },
        { "W12", w12_setup, w12_round, NULL },       { 0 },
    };
    return bench_main(argc, argv, "libevent", table);
}
