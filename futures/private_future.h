/*
 * private_future.h (private): the memory of a future, and what the sources of futures/ share.
 *
 * A future's slot holds its first done-callback and is itself what is queued for it, so that
 * completing never allocates. Two words are the outcome, once there is one; before, they are what
 * its operation needs. Further done-callbacks have slots of their own and each counts as a
 * reference.
 */
#ifndef CORA_PRIVATE_FUTURE_H
#define CORA_PRIVATE_FUTURE_H

#include "operation.h"

#include "reactor/private.h"

/*
 * slot.as.future is a phase and marks. They are read and written as one word, so that the usual
 * case of each function is one comparison.
 */
struct future;

enum future_phase {
    FUTURE_PENDING,
    FUTURE_STARTING,     /* its operation starts in the next tick: queued */
    FUTURE_WOKEN,        /* its operation has what it waited for, or is cancelled: queued */
    FUTURE_FINISHED = 4, /* this and all after: done */
    FUTURE_FAILED,
    FUTURE_CANCELLED,
    FUTURE_PHASES = 7, /* the bits of a phase */
};

#define FUTURE_CALLBACK 0x8    /* the first done-callback is stored, and was not called yet */
#define FUTURE_FURTHER 0x10    /* there are further callbacks, which are not queued yet */
#define FUTURE_HELD 0x20       /* made outside of a run: kept until it is released */
#define FUTURE_KEPT 0x40       /* keeps is not 0 */
#define FUTURE_REFERENCED 0x80 /* references is not 0 */
#define FUTURE_UNREAD 0x100    /* failed, and nobody has read the error */
#define FUTURE_GARBAGE 0x200   /* in the loop's list of garbage */
#define FUTURE_OPERATION 0x400 /* not a plain future */
#define FUTURE_DIRECT 0x800    /* cora_when_done: the first callback runs when it resumes */
#define FUTURE_ASKED 0x1000    /* the operation is asked to end: cancelled */
#define FUTURE_STORED 0x2000   /* the operation's state holds an awaitable, in a block */
#define FUTURE_VISITED 0x4000  /* an array is being gone through that it is in */
#define FUTURE_COUNTED 0x8000  /* the outcome has a reference to be dropped */
#define FUTURE_QUIET 0x10000   /* the first callback's place is a struct quiet_place */
#define FUTURE_STEP 0x20000    /* made in a coroutine's step, and not awaited or read yet */
#define FUTURE_BLOCKED 0x80000 /* was awaited where it cannot be: as CPython, nobody else can */
#define FUTURE_AWAITED 0x40000 /* made by a coroutine's await: ends for it alone */

/* Somebody keeps it, though it is done. */
#define FUTURE_KEEPERS ((uint32_t)(FUTURE_HELD | FUTURE_KEPT | FUTURE_REFERENCED | FUTURE_STEP))

/*
 * The place of a callback of the library's own, which only counts as a rule: it may do that when
 * the future is completed, and need not be queued. Returns whether that was all.
 */
struct quiet_place {
    struct cora_place place;
    bool (*counts)(struct loop *loop, struct future *done, cora_future bound);
};

/* A done-callback of the library's by which a task awaits the future, and which task that is. */
struct awaiter {
    cora_function callback;
    cora_future (*find)(cora_args bound); /* null: none */
};
extern const struct awaiter gather_awaiter, wait_awaiter, shield_awaiter, group_awaiter,
    race_awaiter, task_awaiter;

/* What an operation needs while its future is pending. */
struct operation_state {
    union {
        void *pointer;
        double number;
        cora_handle handle;
    } as;
    struct cora_counted *cancelled; /* the Cancelled error to end with; counted; NULL: none given */
};

struct future {
    struct slot slot;                  /* flags and count are the first callback's */
    struct callback callback;          /* the first */
    const struct operation *operation; /* NULL: a plain future */
    union {
        cora_value outcome; /* done: result or error, counted */
        struct operation_state state;
    } as;
    const struct cora_place *place;
    uint32_t keeps;      /* cora_keep's, if FUTURE_KEPT */
    uint32_t references; /* the library's own, if FUTURE_REFERENCED */
    union {
        struct slot *further; /* further callbacks: the last one of a ring, if FUTURE_FURTHER */
        void *block;          /* done: the pointer that was its operation's state, for its free */
    } more;
};

/* The ways through what a composite future stands for, so that a cancel does not recurse. */
struct cancel_walk {
    struct future *up;    /* the composite that this one is being cancelled for */
    size_t position : 63; /* of the next child */
    size_t any : 1;       /* a child was pending */
};

/* What a kind of future does; those of plain operations are tasks in miniature. */
struct operation {
    const char *name; /* for cora_future_print */

    /* Starts. Ends it with future_finish, or sees to it that future_wake is called. */
    void (*start)(struct loop *loop, struct future *future, const cora_awaitable *what);

    /* Goes on after future_wake, or with FUTURE_ASKED after a cancel: ends it, or waits again. */
    void (*resume)(struct loop *loop, struct future *future);

    /* Copies what the awaitable borrows, to start later; false without memory. NULL: nothing. */
    bool (*keep)(cora_awaitable *what);
    void (*unkeep)(cora_awaitable *what);

    /* Drops the state that a future had before it was done; a copy of it. NULL: nothing to drop. */
    void (*drop)(struct loop *loop, struct future *before);

    /*
     * Frees the block that the state points to: the future is given back, or its loop is closed (ev
     * is NULL). NULL: the state is no block.
     */
    void (*free)(struct loop *loop, void *block);

    /* A composite: its children to cancel, and what came of that. NULL for an operation. */
    struct cancel_walk *(*walk)(struct future *future);
    struct future *(*next_child)(struct future *future, size_t position); /* NULL: no more */
    bool (*asked)(struct future *future, bool any, cora_value cancelled);

    /* A coroutine took its outcome: what was given to it, and made in a step, need not be held. */
    void (*taken)(struct loop *loop, struct future *future);

    /* Its name, if that depends. */
    const char *(*name_of)(const struct future *future);

    /* Writes what it stands for into its printed form. */
    int (*describe)(const struct future *future, char *buffer, size_t size);

    /* A task: reports, in its context. */
    void (*report)(struct loop *loop, struct future *future, const struct cora_report *report);

    /*
     * An awaitable that is no operation: makes its future; gives the one that it has already, if
     * any; is told that this is a gather's or a run's, which alone know of it; and its
     * cora_when_done.
     */
    struct future *(*make)(struct loop *loop, const cora_awaitable *what,
                           const struct cora_place *place);
    struct future *(*existing)(const cora_awaitable *what);
    void (*adopt)(struct future *future);
    cora_future (*when_done)(struct loop *loop, const cora_awaitable *what,
                             cora_done_callback callback, const struct cora_place *place);
};

/* Queues a slot behind what is queued, by other threads too. */
static inline void slot_queue(struct loop *loop, struct slot *slot)
{
    slot->state = SLOT_QUEUED;
    ready_append(loop, slot);
}

static inline struct future *future_of(struct slot *slot)
{
    return (struct future *)slot;
}

static inline enum future_phase future_phase(const struct future *future)
{
    return (enum future_phase)(future->slot.as.future & FUTURE_PHASES);
}

static inline void future_set_phase(struct future *future, enum future_phase phase)
{
    future->slot.as.future = (future->slot.as.future & ~(uint32_t)FUTURE_PHASES) | phase;
}

static inline bool future_is_done(const struct future *future)
{
    return future->slot.as.future & FUTURE_FINISHED;
}

static inline bool future_has(const struct future *future, uint32_t marks)
{
    return future->slot.as.future & marks;
}

static inline void future_mark(struct future *future, uint32_t marks)
{
    future->slot.as.future |= marks;
}

static inline void future_unmark(struct future *future, uint32_t marks)
{
    future->slot.as.future &= ~marks;
}

static inline cora_future future_handle(const struct future *future)
{
    return (cora_future){ future->slot.bits };
}

static inline struct loop *future_loop(const struct future *future)
{
    return slot_owner(&future->slot);
}

/*
 * The future that a handle names, if its loop is open and this thread's. It may be given back
 * already: that is enough for who then looks for a pending one, as what is given back was done.
 */
static inline struct future *future_find_used(cora_future handle, struct loop **ret_loop)
{
    struct chunk_entry *entry = chunk_entry(handle.bits);
    struct loop *loop = atomic_load_explicit(&entry->owner, memory_order_relaxed);
    if (CORA_UNLIKELY(!loop) ||
        CORA_UNLIKELY(atomic_load_explicit(&loop->thread, memory_order_relaxed) != &cora_thread))
        return NULL;
    char *chunk = (char *)atomic_load_explicit(&entry->chunk, memory_order_relaxed);
    struct slot *slot = (struct slot *)(void *)(chunk + (handle.bits & 0xfff) * 16);
    if (CORA_UNLIKELY(slot->bits != handle.bits || slot->kind < SLOT_FUTURE))
        return NULL;
    *ret_loop = loop;
    return future_of(slot);
}

/* The same if it is not given back. */
static inline struct future *future_find(cora_future handle)
{
    struct loop *loop;
    struct future *future = future_find_used(handle, &loop);
    if (CORA_UNLIKELY(!future || future->slot.state == SLOT_FREE ||
                      future->slot.state == SLOT_CANCELLED))
        return NULL;
    return future;
}

/* Why this thing is null: the error of the call that could not make it. A temporary. */
cora_value null_error(const char *what);

/* The error of a handle that is not found: a temporary, and the thread's last error. */
cora_value future_refuse(cora_future handle);

/* Releases what the library has kept with cora_keep, if it is there still. */
static inline void future_let_go(cora_future handle)
{
    if (future_find(handle))
        cora_release(handle);
}

/* The same with future_find; NULL, and the error is set. */
static inline struct future *future_get(cora_future handle)
{
    struct future *future = future_find(handle);
    if (CORA_UNLIKELY(!future))
        future_refuse(handle);
    return future;
}

/* What a slot just taken becomes: a pending one. */
static inline void future_init(struct future *future, const struct operation *operation,
                               const struct cora_place *place)
{
    future->slot.as.future = operation ? FUTURE_OPERATION : FUTURE_PENDING;
    future->slot.flags = future->slot.count = 0;
    future->operation = operation;
    future->as.state.as.pointer = NULL;
    future->as.state.cancelled = NULL;
    future->place = place;
}

/* A pending future; NULL without memory, and the error is set. */
struct future *future_new(struct loop *loop, const struct operation *operation,
                          const struct cora_place *place);

/* The same of a plain one, where every instruction counts. */
static inline struct future *future_new_fast(struct loop *loop, const struct cora_place *place)
{
    struct future *future = future_of(pool_take_fast(&loop->futures));
    if (CORA_UNLIKELY(!future))
        return future_new(loop, NULL, place);
    future_init(future, NULL, place);
    return future;
}

/* Holds it for the coroutine whose step runs. False if none does. */
bool future_hold_in_step(struct future *future);

/* Holds it for the program, which gets the handle: made in a step, or while no run is on. */
static inline void future_hold(struct loop *loop, struct future *future)
{
    if (CORA_UNLIKELY(cora_thread.run != NULL) && future_hold_in_step(future))
        return;
    if (cora_thread.running != loop && ev_depth(loop->ev) == 0)
        future_mark(future, FUTURE_HELD);
}

/*
 * Gives a pending one its outcome, taking over the reference, and queues its callbacks. Drop
 * functions may run in it: the last thing to do.
 */
void future_finish(struct loop *loop, struct future *future, enum future_phase phase,
                   cora_value outcome);

/* Adds a done-callback; false without memory, and the error is set. */
bool future_add_callback(struct loop *loop, struct future *future,
                         const struct cora_partial *partial);

/* The first one of a future just made, where every instruction counts. */
static inline bool future_add_first(struct loop *loop, struct future *future,
                                    const struct cora_partial *partial)
{
    if (CORA_UNLIKELY(!partial_is_plain(partial)))
        return future_add_callback(loop, future, partial);
    callback_store_plain(&future->slot, &future->callback, partial);
    future_mark(future, FUTURE_CALLBACK);
    return true;
}

/* The done-callback added last that was not queued yet; NULL: none. */
const struct callback *future_last_callback(const struct future *future);

/* Cancels with this error. Whether it was pending. */
bool future_cancel(struct future *future, cora_value cancelled);

static inline void future_reference(struct future *future)
{
    future->references = future_has(future, FUTURE_REFERENCED) ? future->references + 1 : 1;
    future_mark(future, FUTURE_REFERENCED);
}

/* As cora_future_print, also while its loop is being closed. */
int future_print(const struct future *future, char *buffer, size_t size);

/* Gives it back, if nobody keeps it, when nothing of the program's runs any more. */
void future_discard(struct loop *loop, struct future *future);

/* It was awaited or read: the coroutine that made it need not hold it any more. */
void future_taken(struct loop *loop, struct future *future);

/* Gives one reference back; the future, if nobody keeps it, when nothing of the program's runs. */
void future_unreference(struct loop *loop, struct future *future);

/* The same when nothing does. The loop may be closed afterwards. */
void future_unreference_now(struct loop *loop, struct future *future);

/* The outcome as a value, and nobody needs to be told of an error in it any more. Borrowed. */
static inline cora_value future_read(struct future *future)
{
    future_unmark(future, FUTURE_UNREAD);
    return future->as.outcome;
}

/* What the loop's layer is, as long as it has no task; the closing of one future. */
extern const struct future_layer future_layer;
void future_layer_run(struct loop *loop, struct slot *slot);
void future_layer_collect(struct loop *loop);
void future_close(struct slot *slot);

/* ---- operation.c: those written on operation.h ---- */

extern const struct operation waiter_operation;

/*
 * How an operation of the library's own ends with a value, counted, whose reference it hands over:
 * that is no temporary, and so nothing is to be settled for it.
 */
#define RESUMED_GIVES ((enum cora_resumed)(CORA_WAITS + 1))

/* Ends one, of any kind, whose coroutine gives it up. */
void future_abandon(struct future *future);

/* Starts one that cannot end now. */
void waiter_begin(struct loop *loop, struct future *future, const cora_awaitable *what);

/*
 * The parts of one that a task awaits: it is the state of the task's own future. Starts it: 0, also
 * if its loop was closed in it; or a code, and the error is set: then it is to be given back if it
 * is there.
 */
int waiter_new(struct loop *loop, struct future *future, const cora_awaitable *what);

/* Calls its resume: how it goes on. False if its loop was closed meanwhile, and it is gone. */
bool waiter_go_on(struct cora_waiter *waiter, bool cancelled, enum cora_resumed *ret_how,
                  cora_value *ret_outcome);

/* Calls its resume as if Cancelled was raised in it; the same. It is to be given back then. */
bool waiter_abandon(struct cora_waiter *waiter);

/* It is over. False if its loop was closed meanwhile. */
bool waiter_give_back(struct cora_waiter *waiter);

/* What starts this awaitable. */
static inline const struct operation *operation_of(const cora_awaitable *what)
{
    return what->operation->own ? what->operation->own : &waiter_operation;
}

/* ---- awaitable.c: operations ---- */

/* Asks an operation to end with this Cancelled; takes over the reference. NULL: none given. */
void future_ask(struct future *future, struct cora_counted *cancelled);

/* The task that awaits it was cancelled since it was woken: that is to end the operation. */
void awaiting_task_asks(struct future *future);

/* The operation has what it waited for: it resumes in the next tick. Nothing if it had that. */
void future_wake(struct loop *loop, struct future *future);

/* End an operation from its start or resume function, as future_finish. */
void operation_fail(struct loop *loop, struct future *future, cora_value error);
void operation_end(struct loop *loop, struct future *future, cora_value outcome);
void operation_cancelled(struct loop *loop, struct future *future);

/* Starts, or resumes, what was queued for that. Whether its first callback is to be called now. */
bool operation_step(struct loop *loop, struct future *future);

/* Copies an awaitable: what it holds is kept, false without memory; and drops that again. */
bool awaitable_keep(cora_awaitable *stored, const cora_awaitable *what);
void awaitable_drop(cora_awaitable *what);

/*
 * Starts one of operation.c, for a plain future just made with a callback: it becomes an
 * operation's only if it must wait.
 */
static inline void waiter_start(struct loop *loop, struct future *future,
                                const cora_awaitable *what)
{
    cora_value outcome = cora_nothing();
    bool ends = what->operation->now && what->operation->now(what, &outcome);
    if (CORA_UNLIKELY(future_is_done(future)))
        return; /* its loop was closed */
    if (CORA_LIKELY(ends && cora_is_plain(outcome))) {
        future_mark(future, FUTURE_FINISHED);
        value_copy_plain(&future->as.outcome, &outcome);
        slot_queue(loop, &future->slot);
    } else if (ends) {
        operation_end(loop, future, outcome);
    } else {
        future->operation = &waiter_operation;
        future_mark(future, FUTURE_OPERATION);
        waiter_begin(loop, future, what);
    }
}

/*
 * Stores an awaitable in the state of its future, for later: a number alone as it is, anything more
 * in a block (FUTURE_STORED). False without memory, and the error is set.
 */
bool awaitable_store(struct future *future, const cora_awaitable *what);

/* Drops what the state of a pending operation held. */
void operation_drop(struct loop *loop, struct future *before);

/* Gives back a future that nobody has seen. */
void future_undo(struct loop *loop, struct future *future);

/* The future of this handle if it is of this loop; NULL, and the error is set. */
struct future *future_given(struct loop *loop, cora_future handle);

/* The future of an awaitable; an operation's is made, and starts in the next tick. */
struct future *awaitable_future(struct loop *loop, const cora_awaitable *what,
                                const struct cora_place *place);

#endif
