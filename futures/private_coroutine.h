/*
 * private_coroutine.h (private): the memory of coroutines and tasks, and how steps are run.
 *
 * A coroutine that awaits another is suspended below it: they form a chain of frames, innermost on
 * top. Whoever drives the chain (a task, or cora_send) makes a step_run on the C stack, and resumes
 * the innermost; the drive goes from step to step, into coroutines and out of them again, without
 * recursion, until one has to wait, yields, or the outermost has ended.
 */
#ifndef CORA_PRIVATE_COROUTINE_H
#define CORA_PRIVATE_COROUTINE_H

#include "private_future.h"

#include "reactor/object.h"
#include "task.h"

#define LOCALS_INLINE 40

/* In the handle of a generator: it is known as one when its slot is somebody else's. */
#define GENERATOR_BIT ((uint64_t)1 << 30)
_Static_assert(CHUNK_LIMIT <= 1u << 18, "a handle has two bits to spare");

/* slot.flags of a coroutine */
#define CORO_STARTED 1
#define CORO_HELD 2     /* another coroutine holds it: up */
#define CORO_CATCHES 4  /* what it waits at is a cora_try */
#define CORO_TAKEN 8    /* somebody awaits or drives it */
#define CORO_LISTED 16  /* in the thread's list of those just made */
#define CORO_DEAD 32    /* has ended, but is in that list still */
#define CORO_BY_HAND 64 /* cora_send drives it */
#define CORO_OWNS 128   /* its locals have a drop function */

struct coroutine {
    struct slot slot;     /* count: its kind; next: in the list of those just made */
    cora_step step;       /* the next one */
    struct coroutine *up; /* who awaits or holds it; outermost and by hand: the innermost or NULL */
    uint64_t awaited;     /* the future, coroutine or timer that it asked for; 0: none */
    struct extra *extras; /* what it holds, and its finally steps; NULL: nothing */
    struct held_futures *held;       /* NULL: none */
    _Atomic(struct thread *) thread; /* whose it is */
    const struct cora_place *place;  /* where it was made */
    union {
        char bytes[LOCALS_INLINE]; /* with a drop function in the last 8, if it owns */
        struct locals_block *block;
    } locals;
    const struct cora_place *where; /* the await that it was last at; NULL: none yet */
};

/* Locals that do not fit. */
struct locals_block {
    void (*drop)(void *locals); /* NULL: none */
    size_t size;                /* of the whole */
    char bytes[];
};

/* Something that a coroutine holds until it ends. */
struct extra {
    struct extra *next;
    enum extra_kind {
        EXTRA_VALUE,
        EXTRA_COROUTINE,       /* made in a step, and given to nobody yet */
        EXTRA_FINALLY,         /* a step to come */
        EXTRA_FINALLY_RUNNING, /* the value, or error, goes on when it has run */
        EXTRA_ENTERING,        /* cora_with: its operation is awaited, then the step runs */
        EXTRA_LEAVE,           /* what was entered: the operation's value, to be left */
        EXTRA_OBJECT,          /* its handle's bits: to be closed */
    } kind;
    bool raised;
    bool quiet; /* a coroutine that need not be awaited */
    cora_step step;
    union {
        const struct cora_operation *operation;
        const struct cora_object_type *type;
    } as;
    cora_value value; /* counted */
};

/* Futures made in its steps: those still marked FUTURE_STEP are held. */
struct held_futures {
    uint32_t room, count;
    uint64_t bits[];
};

/* What a step asked for, in cora_next and step_run. */
enum next {
    NEXT_NOTHING,
    NEXT_FUTURE,
    NEXT_COROUTINE,
    NEXT_DELEGATE, /* the same for a generator */
    NEXT_YIELD,
    NEXT_SLEEP,     /* the outcome says until when; 0: for a tick */
    NEXT_OPERATION, /* the task's own */
    NEXT_RETURN,
    NEXT_RAISE,
    NEXT_VALUE, /* what it asked for is there already */
    NEXT_ERROR, /* what it asked for cannot be had: raised at that await */
    NEXT_GO_ON,
};

#define NEXT_KIND 0xfu    /* the bits of enum next in cora_next and run->asked */
#define NEXT_NUMBER 0x10u /* counts the asks */

/* A value, or an error that was raised; counted, and its holder's. */
struct result {
    cora_value value;
    bool raised;
};

#define NO_STEP UINT64_MAX       /* no handle, not even the null one */
#define OWN_OPERATION UINT64_MAX /* one that has no future: the task is TASK_OPERATING */

/* One drive of a chain of coroutines. */
struct step_run {
    struct step_run *outer;  /* in the middle of which it runs */
    struct step_run *beyond; /* the next further out, around a nested tick, if there is no outer */
    struct coroutine *top;
    struct task *task; /* NULL: by hand, or the loop was closed */
    struct loop *loop; /* the task's; NULL: by hand, outside of a run */
    struct result got; /* what goes into the next step; taken by it */

    uint64_t bits; /* the coroutine whose step runs; NO_STEP */

    /* These are all 0 at first, and so they are set at once. */
    uint64_t operation;      /* the future of one that the step has begun, OWN_OPERATION; 0: none */
    struct future *made;     /* the first future that the step has made and not given up; or NULL */
    struct coroutine *exits; /* GeneratorExit was raised in it from outside; NULL: in none */
    cora_value outcome;      /* what the step returns, raises or yields; counted */
    uint32_t asked;          /* enum next, and above it the number of the ask */
    bool closed;             /* the task is gone: everything ends */
    bool saved;              /* the thread had something of the outer's, which is at the end here */

    struct future *future;   /* what it awaits, at the end */
    struct coroutine *inner; /* what it awaits, if that was made just now */
    struct cora_counted *temporaries;
    cora_value failure;
    struct coroutine *made_outside;
    bool attention;
};

enum drive_end {
    DRIVE_RETURNED,
    DRIVE_RAISED,
    DRIVE_AWAITS,
    DRIVE_OPERATES,
    DRIVE_YIELDED,
    DRIVE_SLEEPS,
};

struct task {
    struct future future;
    union {
        struct coroutine *top;          /* the innermost of its coroutines, while it is pending */
        const struct cora_place *place; /* its coroutine has ended: where that was made */
    } as;
    cora_coro coro;               /* the outermost */
    struct cora_counted *name;    /* a text; NULL: the number */
    uint32_t number;              /* of its name */
    uint32_t order;               /* of creation, in its loop; wraps */
    struct cora_counted *context; /* its variables, or the context of TASK_IN_CONTEXT; or NULL */
    struct cancel_walk walk;
    uint32_t cancelling;
    uint32_t flags;
};

#define TASK_SUSPENDED 1   /* its wake-up is a callback of what the innermost coroutine awaits */
#define TASK_MUST_CANCEL 2 /* Cancelled is raised next; state.cancelled is its error, or NULL */
#define TASK_ERROR 4       /* state.cancelled is another error, which is raised next */
#define TASK_RUNNING 8     /* a step_run is its */
#define TASK_IN_CONTEXT 16 /* runs in this very context */
#define TASK_QUIET 32      /* nobody needs to be told if it is destroyed */
#define TASK_SLEEPING 64   /* the innermost coroutine awaits a timer, which wakes the task */
#define TASK_EAGER 128     /* its first step runs in the call that made it */
#define TASK_LISTED 256    /* a call graph is being made that it is in */

/*
 * The innermost coroutine awaits an operation of operation.h, or its step has begun one: the waiter
 * is the state, in place of the task. FUTURE_ASKED: it ends with state.cancelled.
 */
#define TASK_OPERATING 512

static inline struct task *task_of(struct future *future)
{
    return (struct task *)future;
}

/* What it awaits with, if it is TASK_OPERATING. */
static inline struct cora_waiter *task_waiter(const struct task *task)
{
    return task->future.as.state.as.pointer;
}

/* The error that is raised next, which is taken from it; NULL: none given. */
static inline struct cora_counted *task_take_cancelled(struct task *task)
{
    struct cora_counted *error = task->future.as.state.cancelled;
    task->future.as.state.cancelled = NULL;
    task->flags &= ~(uint32_t)(TASK_MUST_CANCEL | TASK_ERROR);
    return error;
}

static inline const struct task *task_of_const(const struct future *future)
{
    return (const struct task *)future;
}

static inline bool is_task(const struct future *future)
{
    return future->slot.kind == SLOT_TASK;
}

static inline struct coroutine *coroutine_of(struct slot *slot)
{
    return (struct coroutine *)slot;
}

static inline cora_coro coroutine_handle(const struct coroutine *coro)
{
    return (cora_coro){ coro->slot.bits };
}

static inline enum cora_coro_kind coroutine_kind(const struct coroutine *coro)
{
    return (enum cora_coro_kind)coro->slot.count;
}

const char *coroutine_kind_name(enum cora_coro_kind kind);

/* All drives of this thread, from the innermost; also those around a nested tick. */
static inline struct step_run *run_first(void)
{
    return cora_thread.run ? cora_thread.run : cora_thread.outer_run;
}

static inline struct step_run *run_next(const struct step_run *run)
{
    return run->outer ? run->outer : run->beyond;
}

/* The task whose step runs, or null. */
static inline cora_future run_current_task(void)
{
    const struct step_run *run = cora_thread.run;
    return (cora_future){ run && run->task ? run->task->future.slot.bits : 0 };
}

/* ---- coroutine.c ---- */

/* The coroutine of this handle if it is this thread's and has not ended; else NULL. */
struct coroutine *coroutine_find(cora_coro handle);

/* Whether it names a generator that has ended. */
bool generator_has_ended(cora_coro handle);

/* The error of a handle that is not found; one that names the coroutine. As temporaries. */
cora_value coroutine_refuse(cora_coro handle);
cora_value coroutine_error(const struct coroutine *coro, int code, const char *what);

/* Why it cannot be awaited, driven or made a task of: a temporary. Nothing if it can. */
cora_value coroutine_check(struct coroutine *coro, cora_coro handle);

/* Somebody awaits or drives it. */
void coroutine_take(struct coroutine *coro);

char *locals_bytes(struct coroutine *coro);

/* The coroutine whose step runs if this is its handle; NULL, and the error is set. */
struct coroutine *coroutine_stepping(cora_coro self);

/* with.c: the finally step that leaves what was entered; what it entered is in cora_got. */
cora_next with_leave(cora_coro self);

/* What its operation has entered is to be left, though its step will not run. */
void with_entered_in_vain(struct coroutine *coro);

static inline bool object_is_there(uint64_t bits)
{
    const struct slot *slot = slot_at(bits);
    return slot_is(slot, bits) && slot->state == SLOT_WAITING && owner_of(bits) &&
           owner_of(bits)->ev;
}

/* An object made in a step is the coroutine's, which closes it; closed before, it is not. */
void object_hold(uint64_t bits, const struct cora_object_type *type);
int object_close_held(uint64_t bits, const struct cora_object_type *type);

/* Something more that it holds; NULL without memory. The first of a kind, taken out; NULL: none. */
struct extra *extra_new(struct coroutine *coro, enum extra_kind kind);
struct extra *extra_take(struct coroutine *coro, enum extra_kind kind);

/* The same for what is to be done next when it ends: a finally step, or something to leave. */
struct extra *extra_take_ending(struct coroutine *coro);

/* A coroutine that it holds is somebody else's now. False if it holds none such. */
bool extra_forget(struct coroutine *coro, const struct coroutine *made);

/*
 * One that nobody has taken is held by this coroutine now, to be awaited by it. Nothing, or an
 * error: a MemoryError, or a RuntimeError if it holds this one itself.
 */
cora_value coroutine_adopt(struct coroutine *coro, struct coroutine *made);

/* It is over: everything that it holds goes back, and its locals. */
void coroutine_end(struct coroutine *coro);

/* Goes through the coroutines just made: those of a step are its coroutine's, the owner's. */
void made_sweep(struct loop *loop, struct coroutine *owner);

/* ---- step.c ---- */

/* Whether its step runs, or one that it waits for. */
bool coroutine_is_running(const struct coroutine *wanted);

/* Why one that somebody has taken cannot be gone on with; nothing if it can: it is driven by hand.
 */
cora_value taken_error(const struct coroutine *coro);

/*
 * Begins and ends a drive; in between, coroutine_drive goes as far as it can: from run->got to
 * run->outcome, or to run->future, which is pending.
 */
void run_save(struct step_run *run);
void run_settle(struct step_run *run);
enum drive_end coroutine_drive(struct step_run *run);

static inline void run_enter(struct step_run *run, struct coroutine *top, struct task *task,
                             struct loop *loop)
{
    struct thread *thread = &cora_thread;
    run->outer = thread->run;
    run->beyond = thread->outer_run;
    run->top = top;
    run->task = task;
    run->loop = loop;
    run->bits = NO_STEP;
    memset(&run->operation, 0,
           offsetof(struct step_run, future) - offsetof(struct step_run, operation));
    if (CORA_UNLIKELY(thread->attention || thread->made))
        run_save(run);
    thread->run = run;
    thread->depth++;
}

static inline void run_unlink(struct step_run *run)
{
    cora_thread.depth--;
    cora_thread.run = run->outer;
}

static inline void run_leave(struct step_run *run)
{
    struct thread *thread = &cora_thread;
    if (CORA_UNLIKELY(thread->attention || thread->made || run->saved || thread->context))
        run_settle(run);
    run_unlink(run);
}

static inline cora_value generator_exit(void)
{
    return cora_copy(cora_error(CORA_EGENERATOREXIT, NULL));
}

/*
 * generator.c: what one driven by hand is suspended at is not referenced any longer; its outcome is
 * what it goes on with.
 */
void hand_resume(struct coroutine *top, struct result *input);

/* Raises GeneratorExit in a chain that nobody drives any more, and frees it in any case. */
void coroutine_abandon(struct loop *loop, struct coroutine *top);

/* Closes one that has not started, which is nobody's. */
void coroutine_close_unstarted(struct coroutine *coro);

/* ---- task.c, task_inspect.c ---- */

/* The task of this handle; NULL, and the error is set. */
struct task *task_get(cora_future handle);

/* Begins an operation of operation.h as its own. 0, or a code: the error is set. */
int task_begin_operation(struct loop *loop, struct task *task, const cora_awaitable *what);

/* Its step has begun one, and does not await it. */
void task_abandon_operation(struct task *task);

/* Its name: its own text, or in the buffer. */
const char *task_name(const struct task *task, char *buffer, size_t size);

/* A task's coroutine that it was made of; NULL if that has ended. */
struct coroutine *task_root(const struct task *task);

/* The pending tasks of a pool, linked by walk.up in the order of creation: no cancel is under way.
 */
struct task *task_list(struct pool *pool);

static inline struct task *next_task(struct task *task)
{
    return task_of(task->walk.up);
}

/* name='Task-1' coro=<brew() running at tea.c:12> wait_for=<Future pending ...> */
int task_describe(const struct future *future, char *buffer, size_t size);

/* A task of whatever can be awaited, a future too, which nobody keeps; null, and the error is set.
 */
cora_future task_of_any(cora_loop loop, cora_awaitable what,
                        const struct cora_task_options *options, const struct cora_place *place);

/* A task of a coroutine or operation, which nobody keeps; as cora_create_task. */
cora_future task_create(cora_loop loop, cora_awaitable what,
                        const struct cora_task_options *options, const struct cora_place *place);

/*
 * A coroutine that was made in this thread is for another one: false, and the error is set, if it
 * was started, or given to somebody. Until it is received, in a thread, nobody finds it. What is no
 * coroutine is left as it is.
 */
bool coroutine_send(cora_awaitable what);
void coroutine_receive(cora_awaitable what);

/* Closes the coroutine that this is, if nobody has it; the thread's last error stays. */
void awaitable_close(cora_awaitable what);

/*
 * An awaitable in the locals of a coroutine, which are dropped with stored_drop: a future is kept.
 * False without memory, and the error is set.
 */
struct stored {
    cora_awaitable what;
    bool keeps;
};
bool stored_keep(struct stored *stored, cora_awaitable what);
void stored_drop(void *locals);

/* The outcome of a done future, which is taken thereby. */
struct result future_take_slow(struct coroutine *coro, struct future *future);

static inline struct result future_take(struct coroutine *coro, struct future *future)
{
    struct result result;
    if (CORA_UNLIKELY(future->slot.as.future != FUTURE_FINISHED))
        return future_take_slow(coro, future);
    value_copy_plain(&result.value, &future->as.outcome);
    result.raised = false;
    return result;
}

/* A future that its coroutine awaits need not be held any more. */
static inline void future_given_up(struct coroutine *coro, struct future *future)
{
    struct held_futures *held = coro->held;
    if (CORA_UNLIKELY(held && held->count > 0 && held->bits[held->count - 1] == future->slot.bits))
        held->count--;
    future_unmark(future, FUTURE_STEP);
}

/* Lets a coroutine hold a future that was made in its step. */
void hold_made(struct coroutine *coro, uint64_t bits);

#endif
