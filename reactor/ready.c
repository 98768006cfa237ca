/*
 * How it works: the ready queue is an intrusive list of slots, so that queueing what exists never
 * allocates. The tick runs in a check watcher of the lowest priority: libev has polled, and the
 * watcher callbacks of that iteration have collected what is ready. It joins
 *
 *     other threads' and earlier call_soon | descriptors | timers by deadline | signals
 *
 * and runs exactly what is queued by then. If something is left for the next tick, an idle watcher
 * of the lowest priority keeps libev from sleeping. A tick of one callback may be followed by the
 * next without a poll, within the bound of may_skip_poll.
 *
 * A slot's life: pool_take -> WAITING -> QUEUED -> RUNNING -> pool_give. A cancelled one that is in
 * a list stays there, without its arguments, until it is met.
 */
#include "ready.h"

#include "private.h"

#include <stdio.h>

#define SKIPS_MAX 63 /* 64 ticks in a row */
#define TICKS_BETWEEN_CLOCKS 8
#define SECONDS_BETWEEN_POLLS 100e-6

/* ---- registering ---- */

/* The whole of call_soon; cora_call_soon is its usual case. */
static cora_handle call_soon_slow(cora_loop handle, cora_callback callback)
{
    struct loop *loop = loop_get(handle);
    if (loop && shared_waiting(loop))
        shared_take(loop);
    struct slot *slot = loop ? handle_new(&loop->handles, callback.partial) : NULL;
    if (!slot)
        return (cora_handle){ 0 };
    slot->state = SLOT_QUEUED;
    queue_append(&loop->ready, slot);
    loop_wake(loop);
    return (cora_handle){ slot->bits };
}

/*
 * The usual case calls nothing: in a callback of this loop, with plain arguments and a slot at
 * hand. Everything else goes the long way round.
 */
cora_handle cora_call_soon(cora_loop handle, cora_callback callback)
{
    if (CORA_UNLIKELY(handle.bits != cora_thread.running_bits))
        return call_soon_slow(handle, callback);
    struct loop *loop = cora_thread.running;
    if (CORA_UNLIKELY(shared_waiting(loop) || !loop->awake || !partial_is_plain(callback.partial)))
        return call_soon_slow(handle, callback);
    struct slot *slot = pool_take_fast(&loop->handles);
    if (CORA_UNLIKELY(!slot))
        return call_soon_slow(handle, callback);
    callback_store_plain(slot, &((struct ready_slot *)slot)->callback, callback.partial);
    slot->state = SLOT_QUEUED;
    queue_append(&loop->ready, slot);
    return (cora_handle){ slot->bits };
}

/* ---- running ---- */

/* Takes the failure of the callback that has just returned, and reports it. */
void callback_failed(struct loop *loop, struct slot *slot)
{
    struct thread *thread = &cora_thread;
    cora_value failure = thread->failure;
    if (CORA_LIKELY(cora_is_nothing(failure)))
        return;
    thread->failure = cora_nothing();
    if (error_is_fatal(failure))
        loop_fail(loop, failure);
    else
        report_callback(loop, slot, failure);
    cora_drop(failure);
}

/*
 * Drops what is left behind when nothing of the program's runs: temporaries, variables that were
 * set, and the failures of the drop functions that run for that, which may leave something behind
 * in turn.
 */
void settle(struct loop *loop)
{
    struct thread *thread = &cora_thread;
    while (CORA_UNLIKELY(thread->attention)) {
        struct cora_counted *variables = thread->context;
        thread->attention = false;
        thread->context = NULL;
        if (variables)
            counted_drop(variables);
        thread_drop_temporaries();
        cora_value failure = thread->failure;
        thread->failure = cora_nothing();
        if (error_is_fatal(failure))
            loop_fail(loop, failure);
        else if (!cora_is_nothing(failure))
            report_plain(loop, "Exception in a drop function", failure, NULL);
        cora_drop(failure);
        if (loop->garbage.head)
            loop->future_layer->collect(loop);
        thread_sweep(loop);
    }
}

/* What the callback left behind: its failure, variables it set, temporaries. */
void after_callback(struct loop *loop, struct slot *slot, struct callback *callback)
{
    struct thread *thread = &cora_thread;
    callback_failed(loop, slot);
    bool first = (slot->flags & (CALLBACK_PERSISTS | CALLBACK_CONTEXT)) == CALLBACK_PERSISTS;
    if (thread->context && first) {
        callback->context = thread->context;
        slot->flags |= CALLBACK_CONTEXT | CALLBACK_DROPS;
        thread->context = NULL;
    }
    settle(loop);
}

/* All but the usual case of slot_run. Debug mode looks at the clock. */
void callback_call(struct loop *loop, struct slot *slot, struct callback *callback)
{
    bool debug = loop->debug;
    double before = debug ? clock_now() : 0;
    if (CORA_UNLIKELY(slot->flags & CALLBACK_CONTEXT))
        context_run(loop, slot, callback);
    else
        callback_invoke(slot, callback);
    double seconds = debug ? clock_now() - before : 0;
    if (!debug || seconds < loop->slow_callback_duration)
        return;
    char object[200], message[260];
    callback_print(slot, callback, object, sizeof object);
    snprintf(message, sizeof message, "Executing %s took %.3f seconds", object, seconds);
    report_plain(loop, message, cora_nothing(), callback->place);
}

/* A reader, writer or signal handler: stays, unless it was removed meanwhile. */
static void persistent_run(struct loop *loop, struct slot *slot)
{
    stored_enter(slot);
    slot_run(loop, slot, slot_callback(slot));
    stored_leave(loop, slot);
}

/* Runs, or gives back, a slot that was taken from the queue. */
static void any_run(struct loop *loop, struct slot *slot)
{
    if (slot->kind == SLOT_LETTER) {
        ((struct letter *)slot)->arrived(loop, (struct letter *)slot);
    } else if (slot_state(slot) == SLOT_CANCELLED) {
        callback_drop(slot, slot_callback(slot)); /* debug mode's text */
        pool_give_cancelled(slot_pool(loop, slot), slot);
    } else if (slot->flags & CALLBACK_PERSISTS) {
        persistent_run(loop, slot);
    } else {
        slot->state = SLOT_RUNNING;
        slot_run(loop, slot, slot_callback(slot));
        callback_drop(slot, slot_callback(slot));
        handle_free(loop, slot);
    }
    tick_settle(loop);
}

/* The usual ones: call_soon, or a timer, with plain arguments, outside of debug mode. */
static inline bool slot_is_simple(const struct loop *loop, const struct slot *slot,
                                  enum slot_kind kind)
{
    return slot->kind == kind && slot_state(slot) == SLOT_QUEUED && slot->flags == 0 &&
           !loop->debug;
}

static inline void simple_run(struct loop *loop, struct slot *slot, struct callback *callback,
                              struct pool *pool)
{
    slot->state = SLOT_RUNNING;
    cora_args bound = { callback->arguments.inline_values, slot->count };
    ((cora_callback_function)callback->function)(bound);
    if (CORA_UNLIKELY(cora_thread.attention))
        after_callback(loop, slot, callback);
    pool_give(pool, slot);
}

/* Runs one that was taken from the queue, whatever it is. */
static inline __attribute__((always_inline)) void slot_dispatch(struct loop *loop,
                                                                struct slot *slot)
{
    if (CORA_LIKELY(slot_is_simple(loop, slot, SLOT_READY)))
        simple_run(loop, slot, &((struct ready_slot *)slot)->callback, &loop->handles);
    else if (slot->kind >= SLOT_DONE)
        loop->future_layer->run(loop, slot);
    else if (slot->kind == SLOT_OBJECT)
        loop->transport_layer->run(loop, slot);
    else if (slot_is_simple(loop, slot, SLOT_TIMER))
        simple_run(loop, slot, timer_callback((struct timer_slot *)slot), &loop->timers);
    else if (slot->kind == SLOT_SHARED)
        shared_run(loop, slot);
    else
        any_run(loop, slot);
}

/*
 * Runs what is queued now. An interrupted tick leaves the rest at the front of the queue, unless
 * the loop was closed, which has dropped it. Returns how many there were.
 */
static size_t queue_run(struct loop *loop)
{
    size_t count = 0;
    struct slot *slot = loop->ready.head, **end = loop->ready.end;
    queue_clear(&loop->ready);
    while (slot) {
        struct slot *next = slot->next;
        __builtin_prefetch(next);
        count++;
        slot_dispatch(loop, slot);
        slot = next;
        if (CORA_UNLIKELY(loop->interrupted))
            break;
    }
    if (CORA_UNLIKELY(slot))
        shared_rest(loop);
    if (slot && !loop->ev) {
        list_drop(slot);
    } else if (slot) {
        *end = loop->ready.head;
        if (!loop->ready.head)
            loop->ready.end = end;
        loop->ready.head = slot;
    }
    return count;
}

/* ---- the tick ---- */

/* asyncio's order: earlier call_soon, descriptors, timers, and last signals. */
static void collected_join(struct loop *loop)
{
    queue_join(&loop->ready, &loop->collected_descriptors);
    if (loop->collected_timers.head || loop->due.head)
        timers_collect(loop);
    queue_join(&loop->ready, &loop->collected_signals);
}

/* A nested ev_run of the host's collects, too. */
static bool loop_has_collected(const struct loop *loop)
{
    return loop->has_lost || loop->due.head || loop->collected_descriptors.head ||
           loop->collected_timers.head || loop->collected_signals.head;
}

/*
 * A poll may be skipped only while the tick just run had one callback, nothing is collected and no
 * timer is due; 64 times in a row at most, with a look at the clock every eighth time, and not when
 * 100 microseconds have passed. Whatever wants a poll earlier (a timer due at once, something
 * collected by a nested ev_run, a stop) sets skips_left to 0.
 */
static bool may_skip_poll(struct loop *loop, size_t ran)
{
    if (ran != 1 || loop->skips_left == 0 || !loop->ready.head)
        return false;
    unsigned left = loop->skips_left--;
    if (left % TICKS_BETWEEN_CLOCKS != SKIPS_MAX % TICKS_BETWEEN_CLOCKS)
        return true;
    double now = clock_now();
    if (left == SKIPS_MAX)
        loop->poll_time = now;
    return now < loop->poll_time + SECONDS_BETWEEN_POLLS && now < loop->earliest;
}

/* A tick without a poll, of one callback as a rule. */
static size_t tick_run(struct loop *loop)
{
    struct slot *slot = loop->ready.head;
    if (slot->next)
        return queue_run(loop);
    queue_clear(&loop->ready);
    slot_dispatch(loop, slot);
    return 1;
}

/* The tick after the poll, and those without one. */
static void ticks_run(struct loop *loop)
{
    loop->skips_left = loop->poll_every_tick || loop->stopping ? 0 : SKIPS_MAX;
    shared_take(loop);
    if (CORA_UNLIKELY(loop->has_lost)) {
        watchers_tell_lost(loop);
        settle(loop);
    }
    if (!loop->ev)
        return;
    collected_join(loop);
    size_t ran = queue_run(loop);
    while (may_skip_poll(loop, ran)) {
        if (shared_waiting(loop))
            shared_take(loop);
        ran = tick_run(loop);
    }
    pool_settle(&loop->handles);
    pool_settle(&loop->timers);
}

static void tick_end(struct loop *loop)
{
    bool more = loop->ready.head || loop_has_collected(loop);
    if (more && !loop->idle_active) {
        loop_start_idle(loop);
    } else if (!more && loop->idle_active) {
        ev_idle_stop(loop->ev, &loop->idle);
        loop->idle_active = false;
    }
    if (!loop->guest && (loop->stopping || loop->interrupted))
        ev_break(loop->ev, EVBREAK_ONE);
}

/* What outlives a tick in a thread: another loop's callback may be running further out. */
struct outer {
    struct loop *running;
    uint64_t running_bits;
    struct cora_counted *context, *holder, *temporaries;
    struct step_run *run, *outer_run;
    struct coroutine *made;
    cora_value failure;
};

static struct outer thread_enter(struct loop *loop)
{
    struct thread *thread = &cora_thread;
    if (thread->depth == 0) {
        thread_drop_temporaries();
        thread_sweep(loop);
    }
    thread->depth++;
    struct outer outer = { thread->running,   thread->running_bits, thread->context,
                           thread->holder,    thread->temporaries,  thread->run,
                           thread->outer_run, thread->made,         thread->failure };
    thread->running = loop;
    thread->running_bits = loop->ev ? loop->slot.bits : NO_LOOP_RUNS;
    thread->context = thread->holder = thread->temporaries = NULL;
    if (thread->run)
        thread->outer_run = thread->run;
    thread->run = NULL;
    thread->made = NULL;
    thread->failure = cora_nothing();
    thread->attention = false;
    return outer;
}

static void thread_leave(struct outer outer)
{
    struct thread *thread = &cora_thread;
    thread->depth--;
    thread->running = outer.running;
    thread->running_bits =
        outer.running && !outer.running->ev ? NO_LOOP_RUNS : outer.running_bits; /* closed inside */
    thread->context = outer.context;
    thread->holder = outer.holder;
    thread->temporaries = outer.temporaries;
    thread->run = outer.run;
    thread->outer_run = outer.outer_run;
    thread->made = outer.made;
    thread->failure = outer.failure;
    thread->attention = outer.context || outer.temporaries || outer.made ||
                        !cora_is_nothing(outer.failure) ||
                        (outer.running && outer.running->garbage.head);
}

/* In a forked child the next poll would be the parent's, too: reports that once, and says so. */
static bool stop_if_forked(struct loop *loop)
{
    if (CORA_LIKELY(!loop_forked(loop)))
        return false;
    cora_value error = cora_error(CORA_ERUNTIME, "the process has forked: call cora_after_fork in "
                                                 "the child before its loop runs on");
    if (!loop->guest) {
        loop_fail(loop, error);
        ev_break(loop->ev, EVBREAK_ONE);
    } else if (!loop->fork_reported) {
        loop->fork_reported = true;
        report_plain(loop, "A guest loop stopped in a forked child", error, NULL);
    }
    return true;
}

/* A guest has no run of its own that a fatal error could leave. */
static void guest_leave(struct loop *loop)
{
    atomic_store_explicit(&loop->state, LOOP_IDLE, memory_order_relaxed);
    if (cora_is_nothing(loop->fatal))
        return;
    cora_value fatal = loop->fatal;
    loop->fatal = cora_nothing();
    loop->interrupted = false;
    report_plain(loop, "Fatal error in a callback of a guest loop", fatal, NULL);
    cora_drop(fatal);
}

/*
 * A guest of which nothing is wanted in this iteration of its host's: nothing is queued, left to be
 * given back, or to be looked at when the host's callback has returned.
 */
static bool is_quiet(struct loop *loop)
{
    return loop->guest && !loop->awake && !loop->idle_active && !loop->ready.head &&
           !loop_has_collected(loop) && !shared_waiting(loop) && !loop->shared.used.head &&
           !loop->garbage.head && !loop->handles.cancelled && !loop->timers.cancelled &&
           !cora_thread.attention && !cora_thread.made && cora_is_nothing(loop->fatal) &&
           !loop_forked(loop);
}

/* libev has polled, and everything is collected. */
void on_check(struct ev_loop *ev, ev_check *watcher, int events)
{
    struct loop *loop = watcher->data;
    (void)events;
    if (loop->in_tick) { /* an ev_run inside one of our callbacks: the outer tick goes on later */
        ev_idle_stop(ev, &loop->idle);
        loop->idle_active = false;
        return;
    }
    loop->clock_known = false;
    if (loop->guest)
        atomic_store_explicit(&loop->thread, &cora_thread, memory_order_relaxed);
    if (is_quiet(loop))
        return;
    if (loop->guest)
        atomic_store_explicit(&loop->state, LOOP_RUNNING, memory_order_relaxed);
    loop_hold(loop);
    struct outer outer = thread_enter(loop);
    loop->in_tick = loop->awake = true;
    struct queue outside; /* garbage of a callback that runs further out, around an ev_run */
    queue_clear(&outside);
    if (loop->garbage.head && ev_depth(ev) == 1 && cora_thread.depth == 1)
        loop->future_layer->collect(loop); /* the host's callback has returned */
    else
        queue_join(&outside, &loop->garbage);
    if (loop->ev && !stop_if_forked(loop))
        ticks_run(loop);
    if (loop->ev && loop->guest)
        guest_leave(loop);
    if (loop->ev && !stop_if_forked(loop))
        tick_end(loop);
    loop->in_tick = false;
    loop->awake = loop->idle_active;
    settle(loop);
    if (loop->ev)
        queue_join(&loop->garbage, &outside);
    thread_leave(outer);
    loop_unhold(loop);
}
