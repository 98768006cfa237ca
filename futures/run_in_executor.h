/*
 * run_in_executor.h: work in an executor as a future of a loop, and what other threads give a loop
 * to do.
 *
 *     cora_when_done(cora_run_in_executor(loop, bakery, cora_partial(bake, "rye", 2)),
 *                    cora_partial(on_baked));
 *     cora_await(self, cora_to_thread(cora_partial(bake, "rye", 2)), baked);
 *
 * Without a future, with a callback alone: cora_call_in_executor.
 */
#ifndef CORA_RUN_IN_EXECUTOR_H
#define CORA_RUN_IN_EXECUTOR_H

#include "task.h"
#include "wait.h"

#include <cora/executor.h>

CORA_BEGIN

/* ---- from a loop to other threads ---- */

/*
 * Gives an executor work, now, and gives the future of its outcome. A null executor is the loop's
 * default one. If cancelled: it is cancelled at once, and the work is not done unless it has begun;
 * what comes of work that has begun is dropped. Null if it cannot: as cora_call_in_executor.
 * asyncio: loop.run_in_executor.
 */
#define cora_run_in_executor(loop, executor, work)                                                 \
    cora_run_in_executor_at(loop, executor, work, CORA_PLACE("cora_run_in_executor"))
CORA_API cora_future cora_run_in_executor_at(cora_loop loop, cora_executor executor, cora_work work,
                                             const struct cora_place *place);

/*
 * Does work in the running loop's default executor, in a copy of the context that is current in
 * this call; begins when it is awaited. Ends with the work's value or error. If cancelled: as
 * cora_run_in_executor. asyncio: to_thread.
 */
CORA_API cora_awaitable cora_to_thread(cora_work work);

/*
 * Shuts the loop's default executor down, and ends when it has ended, or after so many seconds
 * (INFINITY: never): then that is reported to the exception handler, and the workers end by
 * themselves. No default work is taken from now on. If cancelled: that stays so. A ValueError for
 * NaN. asyncio: loop.shutdown_default_executor.
 */
CORA_API cora_awaitable cora_shutdown_default_executor(cora_loop loop, double timeout);

/* ---- from other threads to a loop ---- */

/*
 * Runs this coroutine, or operation, as a task of the loop, and gives what will come of it, to be
 * released (thread_future.h). Cancelling that cancels the task. A task that cannot be made, or is
 * dropped as its loop is closed, ends it with an error; the former is also reported to the loop's
 * exception handler.
 *
 * Null, and the coroutine is closed: a RuntimeError for a closed loop, a TypeError for a future or
 * a generator, and for a coroutine that was started or made in another thread a RuntimeError. Any
 * thread. asyncio: run_coroutine_threadsafe.
 */
#define cora_run_coroutine_threadsafe(loop, awaitable)                                             \
    cora_run_coroutine_threadsafe_at(loop, cora_awaitable_of(awaitable),                           \
                                     CORA_PLACE("cora_run_coroutine_threadsafe"))
CORA_API cora_thread_future cora_run_coroutine_threadsafe_at(cora_loop loop,
                                                             cora_awaitable awaitable,
                                                             const struct cora_place *place);

/*
 * A future of the loop that is done as this thread future is. Cancelling it cancels that one, if it
 * is not running. A null loop is the running one, or the thread's current one: a RuntimeError if
 * there is none. Null also as cora_future_new, and for a stale one. asyncio: wrap_future.
 */
#define cora_wrap_future(loop, future)                                                             \
    cora_wrap_future_at(loop, future, CORA_PLACE("cora_wrap_future"))
CORA_API cora_future cora_wrap_future_at(cora_loop loop, cora_thread_future future,
                                         const struct cora_place *place);

/*
 * Waits in this thread, as long as so many seconds (INFINITY: for ever), for some of many thread
 * futures. A list of two lists, a temporary: those that are done, and the others, in the order of
 * the array, each once. A cancelled one counts as done when its executor knows that it is
 * (cora_thread_future_set_running_or_notify_cancel). A ValueError for NaN. Any thread. asyncio:
 * concurrent.futures.wait.
 */
CORA_API cora_value cora_thread_futures_wait(const cora_thread_future *futures, size_t count,
                                             double timeout, enum cora_return_when return_when);

CORA_END
#endif
