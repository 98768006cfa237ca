/*
 * How it works: a timer is an ev_timer in a slot. libev counts from its own clock, which stands
 * still while callbacks run; so the delay that libev is told is the deadline minus libev's clock.
 * That clock is learnt from a probe, a timer far away whose remaining time libev tells, once in an
 * iteration, and checked with each start: a timer that was set to another time than wanted shows
 * that the clock has moved (a host may update it at any time), and is set again.
 *
 * What libev fires is collected with its deadline and order of arming, and sorted if it did not
 * come sorted: libev's heap leaves the order of equal deadlines open. A timer that is due when it
 * is armed does not go to libev, which fires only what lies in its past, but is collected in the
 * next tick.
 */
#include "timer.h"

#include "private.h"

#include <float.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

_Static_assert(sizeof(struct timer_slot) == 64, "a timer fits into a cache line");
_Static_assert(sizeof(struct callback) <= 64, "and its callback into another");

#define NEVER 1e9 /* seconds from now: such a timer never fires */
#define ROUNDING (4 * DBL_EPSILON)
#define TOLERANCE 1e-7 /* seconds: libev's rounding is far below, a moved clock above */

double clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double cora_time(cora_loop loop)
{
    (void)loop;
    return clock_now();
}

/* The deadline lives where libev has room for a pointer of ours. */
double timer_when(const struct timer_slot *timer)
{
    double when;
    _Static_assert(sizeof when <= sizeof timer_watcher(timer)->data,
                   "a deadline fits into a pointer");
    memcpy(&when, &timer_watcher(timer)->data, sizeof when);
    return when;
}

static void timer_set_when(struct timer_slot *timer, double when)
{
    memcpy(&timer_watcher(timer)->data, &when, sizeof when);
}

/*
 * Whether one fires before the other: by deadline, equal ones in the order of arming. The order may
 * wrap around between timers of equal deadlines, so it is their distance that counts.
 */
static bool timer_before(const struct timer_slot *one, const struct timer_slot *other)
{
    double a = timer_when(one), b = timer_when(other);
    return a != b ? a < b : (int32_t)(one->as.slot.as.order - other->as.slot.as.order) < 0;
}

/* ---- collecting ---- */

static void timer_collect(struct loop *loop, struct timer_slot *timer)
{
    if (!loop->collected_timers.head)
        loop->timers_sorted = true;
    else if (timer_before(timer, (struct timer_slot *)loop->last_timer))
        loop->timers_sorted = false;
    loop->last_timer = &timer->as.slot;
    loop->skips_left = 0;
    queue_append(&loop->collected_timers, &timer->as.slot);
}

static void on_timer(struct ev_loop *ev, ev_timer *watcher, int events)
{
    struct timer_slot *timer =
        (void *)((char *)watcher - offsetof(struct timer_slot, as.libev.watcher));
    struct loop *loop = slot_owner(&timer->as.slot);
    (void)ev, (void)events;
    loop->armed--;
    loop->earliest = loop->armed ? timer_when(timer) : INFINITY;
    timer->as.slot.state = SLOT_QUEUED;
    __builtin_prefetch(timer_callback(timer)); /* for the tick that follows */
    timer_collect(loop, timer);
}

/* Merges two sorted lists. */
static struct slot *timers_merge(struct slot *one, struct slot *other)
{
    struct slot *merged = NULL, **end = &merged;
    while (one && other) {
        bool second = timer_before((struct timer_slot *)other, (struct timer_slot *)one);
        struct slot **next = second ? &other : &one;
        *end = *next;
        end = &(*next)->next;
        *next = (*next)->next;
    }
    *end = one ? one : other;
    return merged;
}

/* Takes the first of a list, sorted: merge sort, in a depth of count's logarithm. */
static struct slot *timers_sort(struct slot **list, size_t count)
{
    if (count > 1) {
        struct slot *first = timers_sort(list, count / 2);
        return timers_merge(first, timers_sort(list, count - count / 2));
    }
    struct slot *only = *list;
    *list = only->next;
    only->next = NULL;
    return only;
}

/* Queues what libev fired and what was due when it was armed, cancelled or not. */
void timers_collect(struct loop *loop)
{
    struct queue *collected = &loop->collected_timers;
    struct slot *due = loop->due.head;
    queue_clear(&loop->due);
    for (struct slot *next; due; due = next) {
        next = due->next;
        timer_collect(loop, (struct timer_slot *)due);
    }
    if (collected->head && !loop->timers_sorted) {
        size_t count = 0;
        for (struct slot *slot = collected->head; slot; slot = slot->next)
            count++;
        collected->head = timers_sort(&collected->head, count);
        collected->end = &collected->head;
        while (*collected->end)
            collected->end = &(*collected->end)->next;
    }
    queue_join(&loop->ready, collected);
}

/* ---- arming ---- */

static void libev_clock_learn(struct loop *loop)
{
    loop->libev_clock = loop->probe.at - ev_timer_remaining(loop->ev, &loop->probe);
    loop->clock_known = true;
}

/* Starts libev's timer for this deadline. */
static void timer_start(struct loop *loop, struct timer_slot *timer, double when)
{
    ev_timer *watcher = timer_watcher(timer);
    if (CORA_UNLIKELY(!loop->clock_known))
        libev_clock_learn(loop);
    double later = (when + 2 * PROBE_DISTANCE) * ROUNDING; /* no rounding makes it early */
    ev_timer_set(watcher, when - loop->libev_clock + later, 0.);
    ev_timer_start(loop->ev, watcher);
    double error = watcher->at - when;
    if (CORA_UNLIKELY(error > TOLERANCE || error < -TOLERANCE)) {
        ev_timer_stop(loop->ev, watcher);
        libev_clock_learn(loop);
        ev_timer_set(watcher, when - loop->libev_clock + later, 0.);
        ev_timer_start(loop->ev, watcher);
    }
    loop->armed++;
    if (when < loop->earliest)
        loop->earliest = when;
}

/* Arms a timer; now: a time that has been reached for sure. */
static inline cora_handle timer_arm(struct loop *loop, double when, double now,
                                    cora_callback callback)
{
    struct timer_slot *timer = (struct timer_slot *)handle_new(&loop->timers, callback.partial);
    if (CORA_UNLIKELY(!timer))
        return (cora_handle){ 0 };
    ev_timer_init(timer_watcher(timer), on_timer, 0., 0.);
    timer->as.slot.as.order = loop->arming_order++;
    timer_set_when(timer, when);
    if (CORA_UNLIKELY(when <= now)) {
        timer->as.slot.state = SLOT_QUEUED;
        queue_append(&loop->due, &timer->as.slot);
        loop->skips_left = 0;
        loop_wake(loop);
    } else if (CORA_LIKELY(when < now + NEVER)) {
        timer_start(loop, timer, when);
    }
    return (cora_handle){ timer->as.slot.bits };
}

/* There is no such loop, which was told, or no such time. */
static cora_handle refuse(const struct loop *loop, const char *what)
{
    if (loop)
        fail(CORA_EVALUE, "%s must not be NaN", what);
    return (cora_handle){ 0 };
}

cora_handle cora_call_later(cora_loop handle, double delay, cora_callback callback)
{
    struct loop *loop = loop_get(handle);
    if (CORA_UNLIKELY(!loop || isnan(delay)))
        return refuse(loop, "the delay");
    double now = clock_now();
    return timer_arm(loop, now + delay, now, callback);
}

cora_handle cora_call_at(cora_loop handle, double when, cora_callback callback)
{
    struct loop *loop = loop_get(handle);
    if (CORA_UNLIKELY(!loop || isnan(when)))
        return refuse(loop, "the time");
    if (!loop->clock_known)
        libev_clock_learn(loop);
    return timer_arm(loop, when, loop->libev_clock, callback);
}

/* ---- closing and reserving ---- */

static void timer_close(struct slot *slot)
{
    if (slot->state == SLOT_WAITING)
        timer_cancel(slot_owner(slot), (struct timer_slot *)slot);
}

/* Takes all timers from libev; their callbacks are dropped with the loop's other handles. */
void timers_close(struct loop *loop)
{
    pool_visit(&loop->timers, timer_close);
}

/* Lets libev's heap, and its list of what is pending, grow to this many timers. */
int timers_reserve(struct loop *loop, size_t count)
{
    ev_timer *timers = calloc(count ? count : 1, sizeof *timers);
    if (!timers || !pool_reserve(&loop->timers, count)) {
        free(timers);
        return fail_with(memory_error());
    }
    for (size_t i = 0; i < count; i++) {
        ev_timer_init(&timers[i], on_timer, NEVER, 0.);
        ev_timer_start(loop->ev, &timers[i]);
        ev_feed_event(loop->ev, &timers[i], 0);
    }
    for (size_t i = count; i-- > 0;)
        ev_timer_stop(loop->ev, &timers[i]); /* it is not pending then, either */
    free(timers);
    return 0;
}
