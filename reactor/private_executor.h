/*
 * private_executor.h (private): what the kinds of executors have in common, and what each is.
 *
 * Work is a function with its bound arguments, in a structure of its owner's: a job of a loop's, a
 * thread future. It belongs to the executor from the submit that has worked until work_finish, or
 * until a cancel has taken it back. A kind is a table of functions: threads are in executor.c.
 *
 *     submit --> waiting --> work_begins --> work_finish: its owner's
 *                   |            '--false: it was cancelled: work_finish all the same
 *                   '--cancel gives true: its owner's
 *
 * All that an executor has been given, and not told the end of, is in a list of its: what a fork
 * finds there is lost in the child, wherever the parent's threads had it. So done() takes it out in
 * one step with what makes its end known, as a fork sees it: between work_leave and work_left.
 */
#ifndef CORA_PRIVATE_EXECUTOR_H
#define CORA_PRIVATE_EXECUTOR_H

#include "executor.h"
#include "private.h"
#include "thread_pool.h"

struct work {
    struct job job;                        /* first: the executor's, to queue it */
    struct slot slot;                      /* flags and count of the callback; in no pool */
    struct callback callback;              /* the function and its arguments, counted */
    cora_value outcome;                    /* counted, from work_finish on */
    struct work *next_given, **link_given; /* in that list; link NULL: in none */
    int broken;                            /* the code of its error if it is lost in a fork */

    /*
     * A worker takes it, and will do it: false if it was cancelled meanwhile. NULL: always true.
     * And what takes it back when its outcome is there: the last thing, as it may free it. Both may
     * be called in any thread.
     */
    bool (*begins)(struct work *work);
    void (*done)(struct work *work);
};

/* Stores the function and its arguments. False without memory, and the error is set. */
bool work_init(struct work *work, cora_work what);

/* Gives it a copy of the current context. */
void work_take_context(struct work *work);

/* Drops function and arguments, once. */
void work_drop(struct work *work);

/*
 * In done(): its end is known between these two, which call nothing that takes long: a fork waits.
 * The work may be gone by the second.
 */
void work_leave(struct work *work);
void work_left(void);

/* In a child that is to share nothing: what was lost is not told there. */
void executors_forget(void);

/* From now on forks find executors and thread futures in order. As forks_prepare. */
int executors_prepare_forks(void);

/*
 * In a forked child: finishes what was lost, but for other loops'. For who asks or
 * waits: costs nothing where there is nothing.
 */
extern atomic_bool any_work_lost;
void lost_work_finish(cora_loop loop);
static inline void lost_work_settle(void)
{
    if (CORA_UNLIKELY(atomic_load_explicit(&any_work_lost, memory_order_relaxed)))
        lost_work_finish((cora_loop){ 0 });
}

/* Its function's name, for messages; its arguments. */
static inline const char *work_name(const struct work *work)
{
    return work->callback.place->name;
}

static inline cora_args work_args(const struct work *work)
{
    return callback_args(&work->slot, &work->callback);
}

static inline bool work_begins(struct work *work)
{
    return !work->begins || work->begins(work);
}

/* Calls its function in this thread: its value or error, counted, to be handed to work_finish. */
cora_value work_call(struct work *work);

/*
 * It has this outcome, counted: takes the reference over. Cancelled if that is the Cancelled error
 * (cancelled_error()). Any thread; no lock of the executor's may be held: callbacks may run in it.
 */
static inline void work_finish(struct work *work, cora_value outcome)
{
    work->outcome = outcome;
    work->done(work);
}

struct executor;

/* The error of what is submitted after a shutdown. Its code. */
int executor_shut_error(void);

/* The processors that this process may use. */
unsigned processors_usable(void);

/*
 * Gives work to an executor: 0, or a code, and then it is the caller's. Takes it back, if nobody
 * has begun it: whether it could.
 */
int executor_give(cora_executor executor, struct work *work);
bool executor_take_back(cora_executor executor, struct work *work);

/* What a kind of executors does. No lock is held when these are called, but for the forks'. */
struct executor_kind {
    const char *name; /* "ThreadPoolExecutor" */

    /*
     * Takes the work. 0; or a code, and the error is set: nothing is taken. May come after a
     * shutdown in another thread: executor_shut_error.
     */
    int (*submit)(void *pool, struct work *work);

    /*
     * Takes work back that nobody has begun. Whether it could: else it will be finished, or is.
     */
    bool (*cancel)(void *pool, struct work *work);

    /*
     * Takes no more work. Does not wait. What waits is still done, or, if cancel, is
     * finished with Cancelled. May be called again. When all is done, and only the ends of threads
     * or processes remain, the kind calls executor_ended, once; that may be in here.
     */
    void (*shutdown)(void *pool, bool cancel);

    /* Waits for that, and for those ends; after shutdown, perhaps in several threads. */
    void (*join)(void *pool);

    /* After executor_ended, when nobody is in a call: frees the pool. It may wait for those ends.
     */
    void (*free)(void *pool);

    /*
     * Around a fork: takes and gives its locks; in the child it makes itself new, has no work, and
     * tells whether it is shut down: then it has ended, and calls nobody for that. All may be NULL.
     */
    void (*before_fork)(void *pool);
    void (*after_fork)(void *pool);
    bool (*in_child)(void *pool);
    int broken; /* the code of the error for work that was lost in a fork */
};

/*
 * An executor of this kind; null without memory or if forks cannot be prepared for, and the error
 * is set, and the pool is still the caller's. The pool is told who it is for executor_ended.
 */
cora_executor executor_new(const struct executor_kind *kind, void *pool,
                           struct executor **ret_executor);

/* All that a shutdown has waited for is done. Any thread. */
void executor_ended(struct executor *executor);

/*
 * The pool of an executor of this kind, held until executor_leave; NULL if it is stale or of
 * another kind, and the error is set. For functions of one kind alone.
 */
void *executor_enter(cora_executor handle, const struct executor_kind *kind,
                     struct executor **ret_executor);
void executor_leave(struct executor *executor);

/* ---- for futures/ ---- */

/* As cora_call_in_executor; in_context: the work has a copy of the current context. */
cora_handle call_in_executor(struct loop *loop, cora_executor executor, cora_work work,
                             bool in_context, cora_outcome_callback callback);

/*
 * Calls back in the loop when this executor, which is shut down, has ended; null if it cannot. Then
 * waiting for it (executor_join) is short.
 */
cora_handle executor_call_when_ended(struct loop *loop, cora_executor executor,
                                     cora_outcome_callback callback);

#endif
