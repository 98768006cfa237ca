/*
 * executor.h: workers that do what would block a loop.
 *
 * Work is a function that gives a value or an error, and its bound arguments:
 *
 *     static cora_value bake(cora_args bound)    // in a thread of the pool's
 *     {
 *         if (!oven_is_hot())
 *             return cora_error(CORA_EVALUE, "no %s today", cora_arg_text(bound, 0));
 *         return cora_textf("%lld loaves", cora_arg_int(bound, 1));
 *     }
 *     ...
 *     cora_call_in_executor(loop, bakery, cora_partial(bake, "rye", 2), cora_partial(on_baked));
 *
 * There are two kinds of executors: pools of threads, here, and of processes (process_pool.h). Both
 * are used by the same functions. Work waits, first in first out, until a worker is free.
 *
 *     submitted --> waiting --> running --> its outcome is told
 *                      '--cancelled: never done
 *
 * Work runs outside of any loop, without a context. What it gives is kept for it: a temporary is
 * good enough. What it fails with (cora_fail) is its outcome, too. Values that go in and out cross
 * threads, as they may; a pointer's memory is the program's to guard. Threads of a pool block
 * all signals, and are batch threads (SCHED_BATCH): they do not interrupt who gives them work.
 *
 * An executor is of no loop: any thread may submit and shut down. It works until it is shut down,
 * and its handle is good until then and its workers have ended. A program that ends does not wait:
 * shut down what must be finished.
 *
 * In a forked child a pool of threads begins anew, without a thread, and work that it had been
 * given fails there with BrokenThreadPool: a loop's in cora_after_fork; a thread future's also when
 * that, or any other, is asked or waited for. Work that forks goes on in the child, too; when it
 * returns there its thread ends, and with it the child if it has no other. asyncio:
 * concurrent.futures.Executor.
 */
#ifndef CORA_EXECUTOR_H
#define CORA_EXECUTOR_H

#include "loop.h"
#include "thread_future.h"

CORA_BEGIN

/* ---- a pool of threads ---- */

struct cora_thread_pool_options {
    int max_workers;                /* 0: min(32, processors that may be used + 4) */
    const char *thread_name_prefix; /* NULL: "cora-pool"; the threads are PREFIX_0, PREFIX_1, ...;
                                     * cut to what threads may have. Copied */
    cora_work initializer;          /* each thread does it first; none by default. Copied */
    size_t max_waiting; /* so much work may wait, besides what runs; more is refused. 0: any */
};

/*
 * A pool of threads, which are started when work finds none idle. NULL for the default options.
 * Null without memory; a ValueError for a negative max_workers.
 *
 * If an initializer gives an error the pool is broken: the error is reported to the default
 * exception handler, what waits fails with BrokenThreadPool, and so does what is submitted later.
 * asyncio: ThreadPoolExecutor.
 */
CORA_API cora_executor cora_thread_pool_new(const struct cora_thread_pool_options *options);

/* ---- any executor ---- */

/*
 * Gives it work, and calls back in the loop with its outcome: a value, or an error. The handle
 * cancels until the callback is called: then that is never called, and the work is not done unless
 * it has begun. Work that has begun goes on, and what comes of it is dropped; so it is when the
 * loop is closed, which does not wait for it. A null executor is the loop's default one.
 *
 * The work's bound arguments are dropped in the loop's thread, before the callback is called; by a
 * worker if the loop is closed by then.
 *
 * Null if it cannot, and then both callbacks' arguments are dropped: as cora_call_soon; a
 * RuntimeError after the shutdown; QueueFull if too much is waiting; BrokenThreadPool,
 * BrokenProcessPool; the system's error if no thread can be started.
 */
CORA_API cora_handle cora_call_in_executor(cora_loop loop, cora_executor executor, cora_work work,
                                           cora_outcome_callback callback);

/*
 * Gives it work, and gives what will come of it, for all threads; to be released. Null if it
 * cannot: see above. The work's bound arguments are dropped before the future is done. asyncio:
 * submit. Any thread.
 */
CORA_API cora_thread_future cora_executor_submit(cora_executor executor, cora_work work);

struct cora_shutdown_options {
    bool no_wait;        /* returns at once: the workers end by themselves */
    bool cancel_futures; /* what waits is cancelled; without it, it is still done */
    bool cora_unused;
};

/*
 * Takes no more work; waits until all that it was given is done and the workers have ended; but for
 * itself, when called in one of them. A second time it waits again, if there is anything to wait
 * for. 0, also for one that is stale. Options: .no_wait, .cancel_futures. asyncio:
 * shutdown(wait, cancel_futures). Any thread.
 */
#define cora_executor_shutdown(...) CORA_EXECUTOR_SHUTDOWN(__VA_ARGS__, .cora_unused = false)
CORA_API int cora_executor_shutdown_at(cora_executor executor,
                                       const struct cora_shutdown_options *options);

/* ---- a loop's default executor ---- */

/*
 * Makes it the loop's default executor, instead of a pool of threads that is made when it is first
 * needed; the one before is left alone. 0; CORA_ETYPE for one that is no pool of threads;
 * CORA_ERUNTIME for one that is shut down, CORA_EWRONGTHREAD. When the loop is closed its default
 * executor is shut down, without waiting. asyncio: loop.set_default_executor.
 */
CORA_API int cora_set_default_executor(cora_loop loop, cora_executor executor);

CORA_END

#ifndef __cplusplus
#define CORA_EXECUTOR_SHUTDOWN(executor, ...)                                                      \
    cora_executor_shutdown_at(executor, &(struct cora_shutdown_options){ __VA_ARGS__ })
#else
/* C++: the options are a struct of the caller's */
#undef cora_executor_shutdown
static inline int
cora_executor_shutdown(cora_executor executor,
                       const cora_shutdown_options &options = cora_shutdown_options())
{
    return cora_executor_shutdown_at(executor, &options);
}
#endif

#endif
