/*
 * Check 18: a loop that is closed with everything alive in it, a great deal of it, is closed within
 * a second, leaves nothing behind, and the host's ev_loop is as it was: what ev_run says there is
 * the same before and after.
 */
#include "harness.h"
#include "virtual_clock.h"

#include <cora.h>
#include <ev.h>

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define PIPES 50
#define LONGEST 1.0

static int made, dropped, ran, reports;
static int pipes[PIPES][2];

static void token_drop(void *unused)
{
    (void)unused;
    dropped++;
}

static const cora_type token_type = { "token", token_drop, NULL, 0 };

/* What everything is bound to, so that it is seen to be dropped. */
static cora_value token(void)
{
    made++;
    return cora_own(&dropped, &token_type);
}

static void never(cora_args bound)
{
    (void)bound;
    ran++;
}

static void never_done(cora_args bound, cora_future done)
{
    (void)bound, (void)done;
    ran++;
}

static void count_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)bound, (void)loop;
    CHECK_TEXT(report->message, "Future exception was never retrieved");
    reports++;
}

static void *queue_from_thread(void *argument)
{
    cora_loop loop = *(cora_loop *)argument;
    for (int i = 0; i < 100; i++)
        cora_call_soon_threadsafe(loop, cora_partial(never, token(), i, "three", "four"));
    cora_drop_temporaries();
    return NULL;
}

static void fill_reactor(cora_loop loop, int count)
{
    pthread_t thread;
    for (int i = 0; i < count; i++) {
        cora_handle soon = cora_call_soon(loop, cora_partial(never, token()));
        cora_handle late = cora_call_later(loop, 1000. + i, cora_partial(never, token()));
        cora_call_later(loop, i % 2 ? (double)INFINITY : -1, cora_partial(never, token()));
        if (i % 3 == 0)
            CHECK(cora_handle_cancel(soon) && cora_handle_cancel(late));
    }
    for (int i = 0; i < PIPES; i++) {
        CHECK_INT(pipe(pipes[i]), 0);
        CHECK_INT(cora_add_reader(loop, pipes[i][0], cora_partial(never, token())), 0);
        CHECK_INT(cora_add_writer(loop, pipes[i][1], cora_partial(never, token())), 0);
    }
    CHECK_INT(cora_add_signal_handler(loop, SIGUSR1, cora_partial(never, token())), 0);
    CHECK_INT(cora_add_signal_handler(loop, SIGUSR2, cora_partial(never, token())), 0);
    raise(SIGUSR1);
    CHECK_INT(pthread_create(&thread, NULL, queue_from_thread, &loop), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
}

/* Futures in every state, and whatever may wait for them. */
static void fill_futures(cora_loop loop, int count)
{
    enum { PENDING, CHAINED, DONE, CANCELLED, STATES };
    for (int i = 0; i < count; i++) {
        cora_future f[STATES];
        for (int j = 0; j < STATES; j++) {
            f[j] = cora_future_new(loop);
            cora_add_done_callback(f[j], cora_partial(never_done, token()));
            cora_add_done_callback(f[j], cora_partial(never_done, token(), i, j));
        }
        cora_add_done_callback(f[CHAINED], cora_partial(cora_copy_outcome, f[PENDING]));
        cora_future shield = cora_shield(loop, f[PENDING]);
        cora_future all = cora_gather(loop, f, STATES, .return_exceptions = i % 2 == 0);
        cora_future outer = cora_gather(loop, ((cora_future[]){ all, shield, all }), 3);
        cora_awaitable items[3] = { cora_sleep(1), cora_sleep_result(1, token()),
                                    cora_wait(f, STATES, 1, CORA_FIRST_EXCEPTION) };
        cora_add_done_callback(outer, cora_partial(never_done, token()));
        cora_gather(loop, items, 3);
        cora_when_done(items[i % 3], cora_partial(never_done, token()));
        cora_when_done(items[2], cora_partial(never_done, token()));
        cora_ensure_future(loop, items[(i + 1) % 3]);
        cora_set_result(f[DONE], token());
        cora_cancel(f[CANCELLED]);
        if (i % 4 == 0)
            cora_cancel(outer);
        if (i % 5 == 0)
            cora_keep(f[PENDING]);
    }
    for (int i = 0; i < 10; i++) {
        cora_future lost = cora_future_new(loop);
        cora_set_exception(lost, cora_error(CORA_EEXCEPTION, "%d", i));
    }
}

static void fill(cora_loop loop)
{
    made = dropped = ran = reports = 0;
    cora_set_current_loop(loop);
    CHECK_INT(cora_set_exception_handler(loop, cora_partial(count_report, token())), 0);
    fill_reactor(loop, harness_scale(100000));
    fill_futures(loop, harness_scale(10000));
    cora_set_current_loop((cora_loop){ 0 });
    CHECK(cora_live(loop) > (size_t)harness_scale(100000));
    cora_drop_temporaries();
}

/* How long it took, without what checking takes that sanitizers and valgrind do. */
static void check_emptied(double seconds)
{
    cora_drop_temporaries();
    CHECK_INT(dropped, made);
    CHECK_INT(ran, 0);
    CHECK_INT(reports, 10);
    if (!harness_sanitized() && !harness_under_valgrind())
        CHECK(seconds < LONGEST);
    for (int i = 0; i < PIPES; i++)
        for (int j = 0; j < 2; j++)
            close(pipes[i][j]);
}

TEST_WITH_LIMIT(60, own_loop, "a loop of our own is closed within a second, and nothing is left")
{
    cora_loop loop = cora_loop_new(NULL);
    fill(loop);
    double before = harness_real_time();
    CHECK_INT(cora_loop_close(loop), 0);
    check_emptied(harness_real_time() - before);
    CHECK(signal(SIGUSR1, SIG_DFL) == SIG_DFL);
}

/* ---- a guest ---- */

struct host {
    struct ev_loop *ev;
    ev_timer timer;
    ev_idle idle;
    int fired;
};

static void on_timer(struct ev_loop *ev, ev_timer *timer, int events)
{
    (void)ev, (void)events;
    ++*(int *)timer->data;
}

static void host_start(struct host *host, bool busy)
{
    host->ev = ev_loop_new(EVFLAG_NOENV);
    CHECK(host->ev != NULL);
    ev_timer_init(&host->timer, on_timer, busy ? 0.01 : 1000, 0.);
    host->timer.data = &host->fired;
    if (busy)
        ev_timer_start(host->ev, &host->timer);
}

TEST_WITH_LIMIT(60, guest, "a guest leaves within a second, and the host counts what it had before")
{
    for (int busy = 0; busy < 2; busy++) {
        struct host host = { .fired = 0 };
        cora_virtual_clock_start(1000.0);
        host_start(&host, busy);
        int alive = ev_run(host.ev, EVRUN_NOWAIT);
        unsigned pending = ev_pending_count(host.ev);
        CHECK_INT(alive != 0, busy);
        cora_loop loop = cora_loop_attach(host.ev, NULL);
        fill(loop);
        double before = harness_real_time();
        CHECK_INT(cora_loop_detach(loop), 0);
        check_emptied(harness_real_time() - before);
        CHECK_INT(ev_pending_count(host.ev), pending);
        CHECK_INT(ev_run(host.ev, EVRUN_NOWAIT) != 0, alive != 0);
        CHECK_INT(ev_run(host.ev, 0), 0); /* its own timer, and then nothing keeps it */
        CHECK_INT(host.fired, busy);
        ev_loop_destroy(host.ev);
        cora_virtual_clock_stop();
    }
}

/* Detached where it hurts most: in the tick, with all the rest of the tick behind. */
static void detach(cora_args bound)
{
    CHECK_INT(cora_loop_detach(cora_arg_loop(bound, 0)), 0);
}

TEST_WITH_LIMIT(60, guest_in_its_tick, "a guest may leave in the first callback of such a tick")
{
    struct host host = { .fired = 0 };
    host_start(&host, false);
    cora_loop loop = cora_loop_attach(host.ev, NULL);
    cora_call_soon(loop, cora_partial(detach, loop));
    fill(loop);
    double before = harness_real_time();
    CHECK_INT(ev_run(host.ev, EVRUN_NOWAIT), 0);
    check_emptied(harness_real_time() - before);
    CHECK(cora_is_closed(loop));
    CHECK_INT(ev_run(host.ev, 0), 0);
    ev_loop_destroy(host.ev);
}

TEST_WITH_LIMIT(60, host_destroyed, "a host that destroys its ev_loop lets the guest go, likewise")
{
    struct host host = { .fired = 0 };
    host_start(&host, true);
    cora_loop loop = cora_loop_attach(host.ev, NULL);
    fill(loop);
    double before = harness_real_time();
    ev_loop_destroy(host.ev);
    check_emptied(harness_real_time() - before);
    CHECK(cora_is_closed(loop));
}
