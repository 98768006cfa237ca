/*
 * Check 21: ev_run inside of callbacks, the host's and Cora's: nothing crashes, runs or is lost
 * twice, and cora_run_forever answers RuntimeError.
 */
#include "harness.h"

#include <cora.h>
#include <ev.h>

#include <string.h>

static char order[64];

static void note(cora_args bound)
{
    strcat(order, cora_arg_text(bound, 0));
}

static void stop(cora_args bound)
{
    cora_stop(cora_arg_loop(bound, 0));
}

static void run_again(cora_args bound)
{
    CHECK_INT(cora_run_forever(cora_arg_loop(bound, 0)), CORA_ERUNTIME);
    CHECK_INT(cora_run_forever(cora_arg_loop(bound, 1)), CORA_ERUNTIME);
    CHECK_INT(cora_loop_close(cora_arg_loop(bound, 0)), CORA_ERUNTIME);
}

TEST(own_loop, "a loop cannot be run inside of its run, nor can another one")
{
    cora_loop loop = cora_loop_new(NULL), other = cora_loop_new(NULL);
    *order = 0;
    cora_call_soon(loop, cora_partial(run_again, loop, other));
    cora_call_soon(loop, cora_partial(note, "after"));
    cora_call_soon(loop, cora_partial(stop, loop));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_TEXT(order, "after");
    CHECK_INT(cora_loop_close(loop), 0);
    CHECK_INT(cora_loop_close(other), 0);
}

/* Arguments: the host, how to run it, the guest. */
static void run_host(cora_args bound)
{
    struct ev_loop *ev = cora_arg(bound, 0, struct ev_loop *);
    cora_loop guest = cora_arg_loop(bound, 2);
    strcat(order, "(");
    cora_call_soon(guest, cora_partial(note, "later "));
    ev_run(ev, (int)cora_arg_int(bound, 1));
    CHECK_INT(cora_run_forever(guest), CORA_ERUNTIME);
    CHECK_INT(cora_stop(guest), CORA_ERUNTIME);
    strcat(order, ") ");
}

static void wake(struct ev_loop *ev, ev_timer *watcher, int events)
{
    (void)ev, (void)watcher, (void)events;
}

TEST(nested_by_callback, "what a guest has queued waits while its callback runs the host's ev_loop")
{
    static const int flags[] = { EVRUN_NOWAIT, EVRUN_ONCE };
    struct ev_loop *ev = ev_loop_new(EVFLAG_NOENV);
    cora_loop guest = cora_loop_attach(ev, NULL);
    for (int i = 0; i < 2; i++) {
        ev_timer timer;
        ev_timer_init(&timer, wake, 0.001, 0.001); /* so that EVRUN_ONCE comes back */
        ev_timer_start(ev, &timer);
        *order = 0;
        cora_call_soon(guest, cora_partial(note, "first "));
        cora_call_soon(guest, cora_partial(run_host, ev, flags[i], guest));
        cora_call_soon(guest, cora_partial(note, "second "));
        while (!strstr(order, "later"))
            ev_run(ev, EVRUN_ONCE);
        CHECK_TEXT(order, "first () second later ");
        ev_timer_stop(ev, &timer);
    }
    CHECK_INT(cora_loop_detach(guest), 0);
    ev_loop_destroy(ev);
}

/* The host's own timer runs the loop inside of itself. */
static void run_inside(struct ev_loop *ev, ev_timer *watcher, int events)
{
    cora_loop guest = { *(uint64_t *)watcher->data };
    (void)events;
    cora_call_soon(guest, cora_partial(note, "inside "));
    ev_run(ev, EVRUN_ONCE);
    strcat(order, "back ");
}

TEST(nested_by_host, "a guest's callbacks run in an ev_run that a host's callback makes")
{
    struct ev_loop *ev = ev_loop_new(EVFLAG_NOENV);
    cora_loop guest = cora_loop_attach(ev, NULL);
    ev_timer timer;
    ev_timer_init(&timer, run_inside, 0.001, 0.);
    *order = 0;
    timer.data = &guest.bits;
    ev_timer_start(ev, &timer);
    ev_run(ev, 0);
    CHECK_TEXT(order, "inside back ");
    CHECK_INT(cora_loop_detach(guest), 0);
    ev_loop_destroy(ev);
}

/* Arguments: depth, host, guest. */
static void dive(cora_args bound)
{
    int depth = (int)cora_arg_int(bound, 0);
    struct ev_loop *ev = cora_arg(bound, 1, struct ev_loop *);
    cora_loop guest = cora_arg_loop(bound, 2), inner = cora_loop_attach(ev, NULL);
    if (depth == 0)
        return;
    cora_call_soon(inner, cora_partial(dive, depth - 1, ev, inner));
    ev_run(ev, EVRUN_NOWAIT);
    ev_run(ev, EVRUN_NOWAIT);
    CHECK_INT(cora_live(inner), 0);
    CHECK_INT(cora_loop_detach(inner), 0);
    CHECK_INT(cora_loop_detach(guest), 0); /* itself, as deep as it is */
}

TEST(nested_deeply, "guests run inside each other's callbacks, and leave from there")
{
    struct ev_loop *ev = ev_loop_new(EVFLAG_NOENV);
    cora_loop guest = cora_loop_attach(ev, NULL);
    cora_call_soon(guest, cora_partial(dive, 10, ev, guest));
    ev_run(ev, EVRUN_NOWAIT);
    CHECK(cora_is_closed(guest));
    ev_loop_destroy(ev);
}
