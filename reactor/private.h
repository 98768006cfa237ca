/*
 * private.h (private): the loop's own structure, and what the sources of reactor/ share.
 *
 * The way of a callback: registered (callback_store fills a slot), then in a list: libev's timers,
 * or a descriptor's or signal's watcher, whose callbacks only *collect*, or at once the ready
 * queue. The tick (ready.c) puts what was collected into asyncio's order behind the ready queue,
 * and runs what is there by then.
 */
#ifndef CORA_PRIVATE_H
#define CORA_PRIVATE_H

#include "callback.h"
#include "exception_handler.h"
#include "loop.h"
#include "private_value.h"
#include "ready.h"
#include "slot.h"
#include "thread.h"

#include <ev.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#if !EV_MULTIPLICITY || !EV_IDLE_ENABLE || !EV_CHECK_ENABLE || !EV_PREPARE_ENABLE ||               \
    !EV_ASYNC_ENABLE || !EV_SIGNAL_ENABLE || !EV_FORK_ENABLE || !EV_CLEANUP_ENABLE ||              \
    !EV_CHILD_ENABLE
#error "Cora needs a libev with EV_MULTIPLICITY and all kinds of watchers but stat and embed"
#endif

/* ---- callbacks in slots ---- */

#define INLINE_ARGUMENTS 2

/* slot.flags; none of them: plain arguments, runs once */
#define CALLBACK_DROPS 1      /* something to drop: counted arguments, an array, a context */
#define CALLBACK_ARRAY 2      /* more arguments than fit: in a block of their own */
#define CALLBACK_CONTEXT 4    /* has a context */
#define CALLBACK_IN_CONTEXT 8 /* runs in this very context, not in a copy */
#define CALLBACK_PERSISTS 16  /* reader, writer, signal handler: runs many times */
#define CALLBACK_OUTCOME 32   /* its last argument is the outcome: outcome.h */
#define CALLBACK_AWAY 64      /* slot.next: the errand that will bring it (executor.c) */

struct callback {
    cora_function function;
    const struct cora_place *place;
    struct cora_counted *context; /* a context, or a copy's variables; counted; NULL: none set */
    union {
        cora_value inline_values[INLINE_ARGUMENTS];
        cora_value *array;
    } arguments; /* counted; slot.count of them */
};

struct ready_slot {
    struct slot slot;
    struct callback callback;
};

/*
 * A timer in one cache line: starting, sifting and cancelling a million of them is bound by memory.
 * libev's watcher has nothing to say while the slot is in a list, so its first two words, which
 * libev keeps at 0 then and ev_init sets, share their place with the list's link. Its data pointer,
 * free for us, holds the deadline's bits (timer_when). The callback is in the other half of the
 * chunk.
 */
struct timer_slot {
    union {
        struct slot slot;
        struct {
            char head[offsetof(struct slot, next)];
            ev_timer watcher;
        } libev;
    } as;
};

/* A further done-callback of a future; the first one is in the future itself (futures/). */
struct done_slot {
    struct slot slot;
    struct callback callback;
    cora_future future;
};

/* Seconds to the timer that tells libev's clock: rarely due, and as exact as the clock itself. */
#define PROBE_DISTANCE 1024.

#define timer_watcher(timer) (&(timer)->as.libev.watcher)

static inline struct callback *timer_callback(struct timer_slot *timer)
{
    return (struct callback *)(void *)((char *)timer + TIMER_COLD);
}

/*
 * Stores function and arguments, adding references; sets the slot's flags and count. False without
 * memory, and nothing is held.
 */
bool callback_store_slow(struct slot *slot, struct callback *callback,
                         const struct cora_partial *partial);

/* Whether storing needs no reference and no memory, and so cannot fail. */
static inline bool partial_is_plain(const struct cora_partial *partial)
{
    return CORA_LIKELY(partial->plain && partial->function && !cora_thread.context);
}

/*
 * Word by word: the caller has just written the value as two words, and a wider read would have to
 * wait for both to leave the store buffer.
 */
static inline void value_copy_plain(cora_value *to, const cora_value *from)
{
    to->type = from->type;
    to->as.integer = from->as.integer;
}

static inline void callback_store_plain(struct slot *slot, struct callback *callback,
                                        const struct cora_partial *partial)
{
    callback->function = partial->function;
    callback->place = partial->place;
    slot->flags = 0;
    slot->count = (uint8_t)partial->count;
    if (partial->count > 0)
        value_copy_plain(&callback->arguments.inline_values[0], &partial->arguments[0]);
    if (partial->count > 1)
        value_copy_plain(&callback->arguments.inline_values[1], &partial->arguments[1]);
}

static inline bool callback_store(struct slot *slot, struct callback *callback,
                                  const struct cora_partial *partial)
{
    if (!partial_is_plain(partial))
        return callback_store_slow(slot, callback, partial);
    callback_store_plain(slot, callback, partial);
    return true;
}

/* Drops arguments and context, once. */
void callback_drop_slow(struct slot *slot, struct callback *callback);

static inline void callback_drop(struct slot *slot, struct callback *callback)
{
    if (CORA_UNLIKELY(slot->flags & CALLBACK_DROPS))
        callback_drop_slow(slot, callback);
}

static inline cora_args callback_args(const struct slot *slot, const struct callback *callback)
{
    cora_args bound = { slot->flags & CALLBACK_ARRAY ? callback->arguments.array
                                                     : callback->arguments.inline_values,
                        slot->count };
    return bound;
}

/* The future that a done-callback's slot belongs to; null for other slots. */
static inline cora_future slot_future(const struct slot *slot)
{
    if (slot->kind < SLOT_DONE)
        return (cora_future){ 0 };
    return slot->kind == SLOT_DONE ? ((const struct done_slot *)slot)->future
                                   : (cora_future){ slot->bits };
}

/* Calls it; a done-callback with its future. */
static inline void callback_invoke(const struct slot *slot, const struct callback *callback)
{
    cora_args bound = callback_args(slot, callback);
    if (slot->kind >= SLOT_DONE) {
        ((cora_done_function)callback->function)(bound, slot_future(slot));
    } else if (CORA_UNLIKELY(slot->flags & CALLBACK_OUTCOME)) {
        bound.count--;
        ((cora_outcome_function)callback->function)(bound, bound.values[bound.count]);
    } else {
        ((cora_callback_function)callback->function)(bound);
    }
}

/* on_ring("bell", 3): as snprintf. */
int callback_print(const struct slot *slot, const struct callback *callback, char *buffer,
                   size_t size);

/*
 * What another thread sends to a loop: a part of a structure of the sender's, so that sending needs
 * no memory. It arrives once, in the loop's thread, in a tick; or, without a loop, when the loop is
 * closed before.
 */
struct letter {
    struct slot slot;                                          /* in no pool */
    void (*arrived)(struct loop *loop, struct letter *letter); /* NULL: the loop is closed */
};

/* ---- lists of slots ---- */

/* First in, first out. Empty: end is &head. */
struct queue {
    struct slot *head, **end;
};

static inline void queue_clear(struct queue *queue)
{
    queue->head = NULL;
    queue->end = &queue->head;
}

static inline void queue_append(struct queue *queue, struct slot *slot)
{
    slot->next = NULL;
    *queue->end = slot;
    queue->end = &slot->next;
}

/* Moves all of the one behind the other. */
static inline void queue_join(struct queue *queue, struct queue *more)
{
    if (!more->head)
        return;
    *queue->end = more->head;
    queue->end = more->end;
    queue_clear(more);
}

/* ---- the loop ---- */

/* Why an object is queued (slot.as.events), besides EV_READ and EV_WRITE. */
#define OBJECT_QUEUED 0x100 /* it is in a list */
#define OBJECT_STARTS 0x200
#define OBJECT_ENDS 0x400
#define OBJECT_LEFT 0x800 /* its EV_WRITE is left of an earlier run: before what is new */

/* What transports add to a loop, so that a program without them links nothing of them. */
struct transport_layer {
    void (*collect)(struct loop *loop, struct slot *slot, int events); /* it is ready for these */
    void (*run)(struct loop *loop, struct slot *slot);  /* one from the ready queue */
    void (*lost)(struct loop *loop, struct slot *slot); /* its descriptor is not valid any more */
    void (*close)(struct loop *loop);                   /* frees what all of them share */
};

/* What child processes add to a loop, so that a program without them links nothing of them. */
struct child_layer {
    void (*stop)(struct loop *loop);       /* the loop is being closed, libev is there still */
    void (*after_fork)(struct loop *loop); /* in a process that was forked */
};

/* What futures/ adds to a loop, so that a program without futures links nothing of them. */
struct future_layer {
    void (*run)(struct loop *loop, struct slot *slot); /* one from the ready queue */
    void (*collect)(struct loop *loop);                /* gives back the garbage */
    void (*close)(struct loop *loop);                  /* drops what all of them hold */
};

struct errand;
typedef void (*after_fork_function)(cora_loop loop);

/* What executors add to a loop. */
struct executor_layer {
    struct errand *(*recall)(struct loop *loop, struct slot *slot); /* to be freed, or NULL */
    void (*free)(struct errand *errand);
    void (*close)(struct loop *loop); /* shuts the default executor down */
};

/* What executors add to cora_after_fork, whether or not the loop has used one; NULL: nothing. */
extern _Atomic(after_fork_function) after_fork_of_executors;

enum loop_state {
    LOOP_IDLE,
    LOOP_RUNNING, /* in cora_run_forever; a guest: in a tick */
    LOOP_CLOSED,
};

/* What other threads may touch, under the lock. */
struct shared {
    pthread_mutex_t lock;
    pthread_cond_t finished; /* a shared callback has run, and somebody waits for that */
    struct queue queue;      /* call_soon_threadsafe */
    struct pool pool;
    struct queue used; /* slots that have run, for the pool: the loop's thread's, until given */
    size_t used_count;
    atomic_bool waiting;            /* the queue has something: read without the lock */
    _Atomic(struct slot *) running; /* the shared callback that runs, or ran last in this tick */
    atomic_uint waiters;            /* threads that wait for finished */
    bool held;                      /* over a fork; under loops_lock */
    atomic_uint waking;             /* threads that wake the loop, without the lock */
    bool open;
};

struct loop {
    struct slot slot;
    _Atomic(struct thread *) thread; /* whose it is; NULL: closed */
    atomic_int state;                /* enum loop_state */
    atomic_bool guest;
    struct ev_loop *ev; /* NULL: closed. From here to shared: only for the loop's thread */
    bool in_tick;
    unsigned busy;    /* functions on the stack that go on with the loop: it is given back after */
    unsigned awaited; /* answers of other threads: each holds a reference of libev's */
    bool idle_active;
    bool awake;       /* in a tick, idle active, or closed: nobody needs to wake it */
    bool interrupted; /* the tick ends now: a fatal error, or closed */
    bool stopping;    /* the run ends with the tick */
    bool debug;
    bool poll_every_tick;
    bool is_select;     /* refuses descriptors beyond FD_SETSIZE */
    bool clock_known;   /* libev_clock is the iteration's */
    bool timers_sorted; /* the collected timers came in order */
    bool fork_reported; /* this process is a child without cora_after_fork, and that was said */

    struct queue ready;
    struct queue collected_descriptors, collected_timers;
    struct slot *last_timer; /* of the collected ones */
    struct queue collected_signals;
    struct queue due; /* timers armed when they were due already: collected in the next tick */

    struct pool handles, timers, futures, done_callbacks, tasks, objects;
    void (*objects_close)(struct loop *loop);      /* NULL: there never was an object */
    void (*lookups_after_fork)(struct loop *loop); /* NULL: nothing was ever looked up */
    const struct future_layer *future_layer;       /* NULL: there never was a future */
    const struct transport_layer *transport_layer; /* NULL: there never was a transport */
    const struct child_layer *child_layer;         /* NULL: there never was a child process */
    struct child *children;                        /* that are watched */
    const struct executor_layer *executor_layer;   /* NULL: nothing was ever done elsewhere */
    cora_executor default_executor;                /* null: not made yet */
    bool default_is_shut;                          /* it is not used any more */
    char *read_buffer; /* that transports read into, one after the other; NULL: in use, or none */
    struct queue garbage; /* done futures that nobody keeps, until nothing of the program's runs */
    size_t garbage_count;
    cora_future counting; /* the gather whose children were done last, while it is pending */
    struct gather *counting_gather;
    size_t armed;          /* timers in libev */
    double earliest;       /* no armed timer is due before */
    double libev_clock;    /* what ev_timer_start counts from */
    uint32_t arming_order; /* counts up */
    unsigned skips_left;   /* polls that may still be skipped; 0 also when something is collected */
    double poll_time;      /* when the first one was skipped */

    struct descriptor **descriptors; /* groups of them by number; NULL where nothing was watched */
    size_t descriptor_room;
    bool has_lost;                /* some were found closed, which is not told yet */
    struct descriptor *unchecked; /* changed since the last poll */
    struct signal_watch *signals;

    ev_check check;     /* the tick, after the poll */
    ev_idle idle;       /* active: do not sleep */
    ev_prepare prepare; /* active while descriptors are to be checked before the poll */
    ev_async async;     /* another thread queued something */
    ev_fork fork;       /* the host called ev_loop_fork in a child */
    ev_cleanup cleanup; /* the host destroys its loop */
    ev_timer probe;     /* a timer far away, which tells libev's clock */

    uint32_t process; /* whose loop it is: changes in a forked child */
    double slow_callback_duration;
    cora_value fatal;               /* KeyboardInterrupt, SystemExit: how the run ends; counted */
    struct slot *exception_handler; /* a ready slot, never queued; NULL: the default */
    struct slot *task_factory;      /* the same; NULL: cora_task_new */
    uint32_t task_order;            /* counts tasks */
    struct shared shared;
};

/* The loop of this handle, if it is this thread's and open; else NULL, and the error is set. */
struct loop *loop_get_slow(cora_loop handle);

static inline struct loop *loop_get(cora_loop handle)
{
    if (CORA_LIKELY(handle.bits == cora_thread.running_bits))
        return cora_thread.running;
    return loop_get_slow(handle);
}

/* Other threads read a loop's bits, too. */
static inline uint64_t loop_bits(const struct loop *loop)
{
    return __atomic_load_n(&loop->slot.bits, __ATOMIC_RELAXED);
}

static inline cora_loop loop_handle(const struct loop *loop)
{
    return (cora_loop){ loop_bits(loop) };
}

/* The loop's memory for a handle that other threads hold, open or not; NULL if it is no loop. */
static inline struct loop *loop_find(cora_loop handle)
{
    struct slot *slot = slot_at(handle.bits);
    return slot && slot->kind == SLOT_LOOP ? (struct loop *)slot : NULL;
}

/* Polls, and tells whether a signal is waiting for its handler. No callback runs. */
bool loop_has_signal(struct loop *loop);

/* Something will come from another thread: libev goes on until it has, or is not wanted. */
static inline void loop_await(struct loop *loop)
{
    loop->awaited++;
    ev_ref(loop->ev);
}

static inline void loop_awaited(struct loop *loop)
{
    if (!loop->ev)
        return;
    loop->awaited--;
    ev_unref(loop->ev);
}

/* Lets the next iteration of libev not sleep: there is something to do. */
void loop_start_idle(struct loop *loop);

static inline void loop_wake(struct loop *loop)
{
    if (CORA_UNLIKELY(!loop->awake))
        loop_start_idle(loop);
}

/*
 * A run: the loop becomes this thread's and is running (0, or a code and it is not); runs until it
 * is stopped; is idle again, with 0 or the code of the fatal error that ended it.
 */
int loop_enter(cora_loop handle, struct loop **ret_loop);
void loop_run(struct loop *loop);
int loop_leave(struct loop *loop);
void loop_refuse(struct loop *loop); /* idle again without having run */

/* Leaves the tick, and the run, after a fatal error. */
void loop_fail(struct loop *loop, cora_value error);

/* The end of a close: pools and the loop's own slot go back. */
void loop_finish_close(struct loop *loop);

/* Around code that calls out and then goes on with the loop, which may be closed by then (ev is
 * NULL). */
static inline void loop_hold(struct loop *loop)
{
    loop->busy++;
}

static inline void loop_unhold(struct loop *loop)
{
    if (--loop->busy == 0 && !loop->ev)
        loop_finish_close(loop);
}

/* Whether this process is a child of the one that the loop lives in; one read, no system call. */
bool loop_forked(const struct loop *loop);

/*
 * In a child that is to share nothing with the program that forked it: all loops are closed, and
 * with them all that they hold is stale.
 */
void loops_forget(void);

/* ---- the parts of a loop, by file ---- */

/* ready.c */
void settle(struct loop *loop);
void callback_call(struct loop *loop, struct slot *slot, struct callback *callback);
void after_callback(struct loop *loop, struct slot *slot, struct callback *callback);

/* After a callback, when nothing of the program's runs: gives back what it left behind. */
static inline void tick_settle(struct loop *loop)
{
    if (CORA_UNLIKELY(cora_thread.attention))
        settle(loop);
}

void on_check(struct ev_loop *ev, ev_check *watcher, int events); /* the tick */
void callback_failed(struct loop *loop, struct slot *slot);

/* handle.c */
static inline struct callback *slot_callback(struct slot *slot)
{
    return slot->kind == SLOT_TIMER ? timer_callback((struct timer_slot *)slot)
                                    : &((struct ready_slot *)slot)->callback;
}

static inline struct pool *slot_pool(struct loop *loop, const struct slot *slot)
{
    switch ((enum slot_kind)slot->kind) {
    case SLOT_TIMER:
        return &loop->timers;
    case SLOT_TASK:
        return &loop->tasks;
    case SLOT_FUTURE:
        return &loop->futures;
    case SLOT_DONE:
        return &loop->done_callbacks;
    case SLOT_LOOP:
    case SLOT_READY:
    case SLOT_SHARED:
    case SLOT_LETTER:
    case SLOT_RUNNER:
    case SLOT_EXECUTOR:
    case SLOT_THREAD_FUTURE:
    case SLOT_OBJECT:
    case SLOT_COROUTINE:
    case SLOT_KINDS:
        break;
    }
    return &loop->handles;
}

/* Debug mode: what a late use would find in the slot is recognisable rubbish, but for the place. */
static inline void callback_poison(struct callback *callback)
{
    callback->function = NULL;
    memset(&callback->arguments, 0xdb, sizeof callback->arguments);
}

/* Gives a slot back whose callback is dropped. */
static inline void handle_free(struct loop *loop, struct slot *slot)
{
    if (CORA_UNLIKELY(loop->debug)) {
        callback_poison(slot_callback(slot));
        pool_give_kept(slot_pool(loop, slot), slot);
    } else {
        pool_give(slot_pool(loop, slot), slot);
    }
}

/* Runs the callback of a slot that is in no list. The loop may be closed when it returns. */
static inline void slot_run(struct loop *loop, struct slot *slot, struct callback *callback)
{
    if (CORA_LIKELY(slot->flags == 0 && !loop->debug))
        callback_invoke(slot, callback);
    else
        callback_call(loop, slot, callback);
    if (CORA_UNLIKELY(cora_thread.attention))
        after_callback(loop, slot, callback);
}

/*
 * Around a call of a stored callback that stays: it may be removed meanwhile, and is dropped when
 * it has returned.
 */
static inline void stored_enter(struct slot *slot)
{
    slot->state = SLOT_RUNNING;
}

static inline void stored_leave(struct loop *loop, struct slot *slot)
{
    if (CORA_LIKELY(slot_state(slot) == SLOT_RUNNING)) {
        slot->state = SLOT_WAITING;
        return;
    }
    callback_drop(slot, slot_callback(slot));
    handle_free(loop, slot);
}

/* A slot with this callback stored; NULL without memory, and the error is set. */
struct slot *handle_new(struct pool *pool, const struct cora_partial *partial);

/* The same for a callback that runs many times. */
struct slot *handle_new_persistent(struct loop *loop, const struct cora_partial *partial);

/* Drops and gives back a slot that is in no list; one whose callback runs, when that returns. */
void handle_remove(struct loop *loop, struct slot *slot);

/* shared.c */
void shared_init(struct loop *loop);
void shared_take(struct loop *loop);
void shared_run(struct loop *loop, struct slot *slot);
void shared_rest(struct loop *loop); /* after a tick that was interrupted */
struct slot *shared_close(struct loop *loop);
void list_drop(struct slot *list);
bool shared_cancel(cora_handle handle);
bool shared_cancelled(cora_handle handle);

/* A letter to be sent. And sending it, from any thread: false if the loop is closed. */
static inline void letter_init(struct letter *letter,
                               void (*arrived)(struct loop *loop, struct letter *letter))
{
    *letter = (struct letter){ .slot = { .kind = SLOT_LETTER }, .arrived = arrived };
}
bool letter_send(cora_loop handle, struct letter *letter);

static inline bool shared_waiting(struct loop *loop)
{
    return CORA_UNLIKELY(atomic_load_explicit(&loop->shared.waiting, memory_order_relaxed));
}

/* Puts a slot behind what is ready, also by other threads. */
static inline void ready_append(struct loop *loop, struct slot *slot)
{
    if (shared_waiting(loop))
        shared_take(loop);
    queue_append(&loop->ready, slot);
    loop_wake(loop);
}

/* timer.c */
double clock_now(void);
double timer_when(const struct timer_slot *timer);
void timers_collect(struct loop *loop);
void timers_close(struct loop *loop);
int timers_reserve(struct loop *loop, size_t count);

/* Takes a waiting timer from libev, unless it is due never and was not started. */
static inline void timer_cancel(struct loop *loop, struct timer_slot *timer)
{
    ev_timer *watcher = timer_watcher(timer);
    if (!ev_is_active(watcher) && !ev_is_pending(watcher))
        return;
    ev_timer_stop(loop->ev, watcher);
    if (--loop->armed == 0)
        loop->earliest = INFINITY;
}

/*
 * transport_watcher.c. A transport's descriptor is its own from the claim until it is given up: its
 * slot is queued with what is ready of these events. The claim gives 0, or a code.
 */
int transport_claim(struct loop *loop, int number, struct slot *transport);
void transport_watch(struct loop *loop, int number, int events);
void transport_unwatch(struct loop *loop, int number);

void on_prepare(struct ev_loop *ev, ev_prepare *watcher, int events);
bool watcher_forget(struct loop *loop, const struct slot *slot);
void watchers_close(struct loop *loop);
void watchers_tell_lost(struct loop *loop);
int watchers_reserve(struct loop *loop, size_t count);

/* signal.c */
bool signal_forget(struct loop *loop, const struct slot *slot);
void signals_close(struct loop *loop);

/* context.c */
void context_run(struct loop *loop, struct slot *slot, struct callback *callback);
struct cora_counted *context_variables(struct cora_counted *context);
void context_store(struct cora_counted *context, struct cora_counted *variables);
void context_snapshot(struct slot *slot, struct callback *callback,
                      const struct cora_partial *partial);

/* exception_handler.c */
void loop_report(struct loop *loop, const struct cora_report *report);
void report_callback(struct loop *loop, struct slot *slot, cora_value error);
void report_plain(struct loop *loop, const char *message, cora_value error,
                  const struct cora_place *place);

#endif
