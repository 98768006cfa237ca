/*
 * Check 19: a host that has signals, children, hooks and user data of its own in its ev_loop keeps
 * them when Cora is a guest there, and its ev_run returns when only Cora's infrastructure is left.
 */
#include "harness.h"

#include <cora.h>
#include <ev.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* The host, with what its own watchers have seen. */
struct host {
    struct ev_loop *ev;
    ev_signal interrupt;
    ev_child child;
    ev_timer timer;
    int interrupts, child_status, timeouts, rounds;
};

static void on_interrupt(struct ev_loop *ev, ev_signal *watcher, int events)
{
    struct host *host = watcher->data;
    (void)events;
    host->interrupts++;
    ev_signal_stop(ev, watcher);
}

static void on_child(struct ev_loop *ev, ev_child *watcher, int events)
{
    struct host *host = watcher->data;
    (void)events;
    host->child_status = watcher->rstatus;
    ev_child_stop(ev, watcher);
}

static void on_timeout(struct ev_loop *ev, ev_timer *watcher, int events)
{
    struct host *host = watcher->data;
    (void)ev, (void)events;
    host->timeouts++;
}

static void invoke_pending(struct ev_loop *ev)
{
    struct host *host = ev_userdata(ev);
    host->rounds++;
    ev_invoke_pending(ev);
}

static pid_t child_start(void)
{
    pid_t process = fork();
    CHECK(process >= 0);
    if (process == 0)
        _exit(3);
    return process;
}

static void host_start(struct host *host)
{
    host->ev = ev_default_loop(EVFLAG_NOENV);
    CHECK(host->ev != NULL);
    ev_set_userdata(host->ev, host);
    ev_set_invoke_pending_cb(host->ev, invoke_pending);
    ev_signal_init(&host->interrupt, on_interrupt, SIGINT);
    ev_child_init(&host->child, on_child, child_start(), 0);
    ev_timer_init(&host->timer, on_timeout, 0.02, 0.);
    host->interrupt.data = host->child.data = host->timer.data = host;
    ev_signal_start(host->ev, &host->interrupt);
    ev_child_start(host->ev, &host->child);
    ev_timer_start(host->ev, &host->timer);
}

/* What the guest's callbacks are bound to. */
struct guest {
    cora_loop loop;
    int ends[2];
    int soon, timers, reads;
};

static void on_soon(cora_args bound)
{
    cora_arg(bound, 0, struct guest *)->soon++;
}

static void on_timer(cora_args bound)
{
    struct guest *guest = cora_arg(bound, 0, struct guest *);
    guest->timers++;
    CHECK_INT(write(guest->ends[1], "x", 1), 1);
}

static void on_readable(cora_args bound)
{
    struct guest *guest = cora_arg(bound, 0, struct guest *);
    guest->reads++;
    CHECK(cora_remove_reader(guest->loop, guest->ends[0]));
}

static void guest_start(struct guest *guest, struct host *host)
{
    CHECK_INT(pipe(guest->ends), 0);
    guest->loop = cora_loop_attach(host->ev, NULL);
    cora_call_soon(guest->loop, cora_partial(on_soon, guest));
    cora_call_later(guest->loop, 0.01, cora_partial(on_timer, guest));
    CHECK_INT(cora_add_reader(guest->loop, guest->ends[0], cora_partial(on_readable, guest)), 0);
}

TEST_WITH_LIMIT(30, foreign_loop,
                "a host keeps its signals, children, hooks and user data, and its ev_run returns")
{
    struct host host = { .child_status = -1 };
    struct guest guest = { 0 };
    host_start(&host);
    guest_start(&guest, &host);
    raise(SIGINT);

    CHECK_INT(ev_run(host.ev, 0), 0); /* returns: nothing is left to wait for */

    CHECK_INT(guest.soon, 1);
    CHECK_INT(guest.timers, 1);
    CHECK_INT(guest.reads, 1);
    CHECK_INT(host.interrupts, 1);
    CHECK_INT(host.timeouts, 1);
    CHECK(WIFEXITED(host.child_status));
    CHECK_INT(WEXITSTATUS(host.child_status), 3);
    CHECK(host.rounds > 0);
    CHECK(ev_userdata(host.ev) == &host);
    CHECK_INT(ev_run(host.ev, 0), 0); /* at once */
    CHECK_INT(cora_loop_detach(guest.loop), 0);
    CHECK_INT(ev_run(host.ev, EVRUN_NOWAIT), 0);
    ev_loop_destroy(host.ev);
    close(guest.ends[0]);
    close(guest.ends[1]);
}

TEST(host_keeps_alive, "a guest neither adds to what keeps its host alive nor takes from it")
{
    struct host host = { .ev = ev_loop_new(EVFLAG_NOENV) };
    ev_timer_init(&host.timer, on_timeout, 1000., 0.);
    ev_timer_start(host.ev, &host.timer);
    CHECK(ev_run(host.ev, EVRUN_NOWAIT) != 0);
    cora_loop loop = cora_loop_attach(host.ev, NULL);
    CHECK(ev_run(host.ev, EVRUN_NOWAIT) != 0);
    ev_timer_stop(host.ev, &host.timer);
    CHECK_INT(ev_run(host.ev, EVRUN_NOWAIT), 0);
    cora_handle handle = cora_call_later(loop, 1000., cora_partial(on_soon, &host));
    CHECK(ev_run(host.ev, EVRUN_NOWAIT) != 0);
    CHECK(cora_handle_cancel(handle));
    CHECK_INT(ev_run(host.ev, EVRUN_NOWAIT), 0);
    CHECK_INT(cora_loop_detach(loop), 0);
    CHECK_INT(ev_run(host.ev, EVRUN_NOWAIT), 0);
    ev_loop_destroy(host.ev);
}
