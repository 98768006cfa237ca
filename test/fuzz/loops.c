/*
 * How it works: loops of our own, and guests in raw ev_loops and in loops of our own, are made,
 * run, closed and destroyed. A run is guarded: a check watcher stops it after a few iterations.
 */
#include "fuzz.h"

#include <virtual_clock.h>

#define HOSTS 2

/* A raw ev_loop. */
struct host {
    struct ev_loop *ev;
    unsigned running; /* ev_run's, one inside the other */
};

static struct host hosts[HOSTS];
uint64_t loops_made;

/* ---- making and closing ---- */

static void seat_fill(struct seat *seat, cora_loop loop, bool guest)
{
    if (cora_is_null(loop))
        return;
    loops_made++;
    seat->loop = loop;
    seat->guest = guest;
    seat->forgets = !guest && rarely(2);
    seat->ordered = seat->ran = 0;
    atomic_store(&known_loops[seat - seats], loop.bits);
    if (!rarely(10))
        handler_set(loop);
}

static cora_loop loop_make(void)
{
    static const char *const backends[] = { "epoll", "epoll", "poll", "select", "nonsense", NULL };
    struct cora_loop_options options = { .backend = backends[below(6)],
                                         .debug = rarely(8),
                                         .poll_every_tick = rarely(4) };
    return CALL(cora_loop_new(rarely(2) ? NULL : &options));
}

static cora_loop loop_attach(void)
{
    struct cora_loop_options options = { .debug = rarely(8), .poll_every_tick = rarely(4) };
    struct ev_loop *ev = hosts[below(HOSTS)].ev;
    const struct seat *host = pick_seat();
    if (rarely(4) && !host->guest && !host->forgets) /* a guest's may just be being destroyed */
        ev = CALL(cora_loop_ev(host->loop));
    options.backend = rarely(20) ? "epoll" : NULL;
    return CALL(cora_loop_attach(ev, rarely(2) ? NULL : &options));
}

void close_loop(cora_loop loop)
{
    if (CALL(cora_loop_close(loop)) == CORA_ERUNTIME)
        CALL(cora_loop_detach(loop));
    if (CALL(cora_is_closed(loop)) && CALL(cora_live(loop)) != 0)
        broken("a closed loop has something alive");
}

/* Takes a seat again whose loop is closed. */
void act_make(void)
{
    struct seat *seat = pick_seat();
    if (!CALL(cora_is_closed(seat->loop)))
        return;
    bool guest = rarely(2);
    cora_loop loop = guest ? loop_attach() : loop_make();
    if (!cora_is_closed(seat->loop)) /* a drop function was quicker */
        close_loop(loop);
    else
        seat_fill(seat, loop, guest);
}

void act_close(void)
{
    if (rarely(actors[0].live_tokens > CROWDED ? 1 : 4))
        close_loop(rarely(10) ? pick_loop() : pick_seat()->loop);
}

/* ---- running ---- */

/* That libev does not sleep for long is its purpose; it also acts, as a host's callback may. */
static void on_time(struct ev_loop *ev, ev_timer *watcher, int events)
{
    (void)ev, (void)watcher, (void)events;
    if (rarely(4))
        act_inside(2);
}

/* Ends a run after a few iterations, whatever happens in it. */
struct guard {
    ev_check watcher;
    ev_timer timer; /* a wait is short: the virtual clock really waits in long ones */
    cora_loop loop;
    unsigned left;
};

static void on_guard(struct ev_loop *ev, ev_check *watcher, int events)
{
    struct guard *guard = (struct guard *)watcher;
    (void)events;
    if (cora_loop_ev(guard->loop) != ev)
        broken("a loop was closed in its run");
    if (guard->left-- == 0) {
        guard->left = 0;
        cora_stop(guard->loop);
    }
}

static void run_plainly(cora_loop loop)
{
    run_begin();
    int code = CALL(cora_run_forever(loop));
    run_end();
    if (code != 0 && code != CORA_ERUNTIME && code != CORA_EKEYBOARDINTERRUPT &&
        code != CORA_ESYSTEMEXIT)
        broken("a run ends with %d", code);
}

static void run_guarded(cora_loop loop, struct ev_loop *ev)
{
    struct guard guard = { .loop = loop, .left = below(10) };
    ev_check_init(&guard.watcher, on_guard);
    ev_timer_init(&guard.timer, on_time, 0.001, 0.001);
    ev_check_start(ev, &guard.watcher);
    ev_timer_start(ev, &guard.timer);
    if (rarely(3))
        run_until_something(loop, false);
    else
        run_plainly(loop);
    if (cora_loop_ev(loop) == ev) { /* else a drop function has closed it after the run */
        ev_check_stop(ev, &guard.watcher);
        ev_timer_stop(ev, &guard.timer);
    }
}

void act_run(void)
{
    const struct seat *seat = pick_seat();
    cora_loop loop = seat->loop;
    bool guest = seat->guest;
    if (rarely(4))
        CALL(cora_stop(loop));
    struct ev_loop *ev = CALL(cora_loop_ev(loop));
    if (ev && !guest && !cora_is_running(loop))
        run_guarded(loop, ev);
    else if (rarely(2))
        run_until_something(loop, false);
    else if (CALL(cora_run_forever(loop)) == 0)
        broken("a loop without an ev_loop, or that runs, was run");
}

/* Runs an ev_loop as its host does; the timer is the host's. */
static void run_by_hand(struct ev_loop *ev)
{
    ev_timer timer;
    ev_timer_init(&timer, on_time, 0.001, 0.001);
    ev_timer_start(ev, &timer);
    run_begin();
    ev_run(ev, rarely(2) ? EVRUN_ONCE : EVRUN_NOWAIT);
    run_end();
    ev_timer_stop(ev, &timer);
}

void act_run_host(void)
{
    struct host *host = &hosts[below(HOSTS)];
    if (!host->ev) {
        host->ev = ev_loop_new(EVFLAG_NOENV | (rarely(3) ? EVBACKEND_POLL : EVBACKEND_EPOLL));
        return;
    }
    host->running++;
    run_by_hand(host->ev);
    host->running--;
}

/* Destroys a host with its guests, unless it runs. */
static void host_destroy(struct host *host)
{
    struct ev_loop *ev = host->ev;
    if (!ev || host->running)
        return;
    host->ev = NULL; /* drop functions look here */
    ev_loop_destroy(ev);
}

bool hosts_destroy(void)
{
    bool any = false;
    for (unsigned i = 0; i < HOSTS; i++) {
        any |= hosts[i].ev != NULL;
        host_destroy(&hosts[i]);
    }
    return any;
}

void act_destroy_host(void)
{
    if (rarely(10))
        host_destroy(&hosts[below(HOSTS)]);
}

void act_settings(void)
{
    cora_loop loop = pick_loop();
    switch (below(6)) {
    case 0:
        CALL(cora_set_debug(loop, rarely(3)));
        break;
    case 1:
        CALL(cora_set_slow_callback_duration(loop, pick_seconds()));
        break;
    case 2:
        if (rarely(10))
            CALL(cora_reserve(loop, below(300), below(50)));
        break;
    case 3:
        CALL(cora_stop(loop));
        break;
    case 4:
        CALL(cora_after_fork(loop)); /* in the parent: nothing to do */
        break;
    default:
        CALL(cora_set_current_loop(loop));
        break;
    }
}

void ask_quietly(void)
{
    cora_future future = pick_future();
    cora_loop loop = pick_loop();
    CALL(cora_done(future));
    CALL(cora_cancelled(future));
    CALL(cora_live(loop));
    CALL(cora_time(loop));
    CALL(cora_is_error(CALL(cora_last_error())));
    CALL(cora_context_get(&variables[below(3)]));
}

void act_ask_loop(void)
{
    cora_loop loop = pick_loop();
    CALL(cora_is_running(loop));
    CALL(cora_is_closed(loop));
    CALL(cora_live(loop));
    CALL(cora_live_values());
    CALL(cora_get_debug(loop));
    CALL(cora_get_slow_callback_duration(loop));
    CALL(cora_running_loop());
    CALL(cora_current_loop());
}

/* ---- letting everything end ---- */

/* Runs a loop for some seconds, whoever's it is. */
static void run_on(struct seat *seat)
{
    struct ev_loop *ev = cora_loop_ev(seat->loop);
    if (seat->guest)
        cora_virtual_clock_advance(20);
    run_begin();
    if (!seat->guest)
        cora_run_until_complete(seat->loop, cora_sleep(20));
    for (int i = 0; i < 5 && cora_loop_ev(seat->loop) == ev; i++)
        ev_run(ev, EVRUN_NOWAIT);
    run_end();
}

/* Whether something is alive in some loop. */
static size_t count_live(void)
{
    size_t count = 0;
    for (unsigned i = 0; i < SEATS; i++)
        count += cora_is_closed(seats[i].loop) ? 0 : cora_live(seats[i].loop);
    return count;
}

/* Nothing acts any more; what was scheduled is due, and what was made is cancelled. */
void wind_down(void)
{
    me->depth = DEEPEST;
    for (unsigned rounds = 0;; rounds++) {
        if (!futures_end())
            break;
        for (unsigned i = 0; i < SEATS; i++)
            if (!cora_is_closed(seats[i].loop))
                run_on(&seats[i]);
        if (count_live() == 0)
            break;
        if (rounds == 200)
            broken("%zu are alive after all have ended", count_live());
    }
    me->depth = 0;
}
