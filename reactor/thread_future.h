/*
 * thread_future.h: a result that is not there yet, for threads that have no loop.
 *
 * Any thread may ask it, wait for it, cancel it and complete it. An executor gives one for each
 * piece of work (executor.h); a program may make its own.
 *
 *     cora_thread_future bread = cora_executor_submit(bakery, cora_partial(bake, "rye", 2));
 *     cora_value loaf = cora_thread_future_result(bread, 2.5);    // waits, as long as that
 *     cora_thread_future_release(bread);
 *
 *     pending --a worker takes it--> running --ends--> finished, with a value or an error
 *        '--cora_thread_future_cancel--> cancelled
 *
 * Where a loop is, wait in the loop instead: cora_wrap_future (futures/) makes a loop's future of
 * one, and waiting here would stop the loop.
 *
 * Who makes one keeps it, until cora_thread_future_release; afterwards, unless somebody else keeps
 * it, it is given back as soon as it is done, and its handle is stale then: it counts as done, and
 * reading it gives a StaleHandle error. All functions here are for any thread. asyncio:
 * concurrent.futures.Future.
 */
#ifndef CORA_THREAD_FUTURE_H
#define CORA_THREAD_FUTURE_H

#include "callback.h"

CORA_BEGIN

/* A pending one, to be completed by the program. Null without memory. */
#define cora_thread_future_new() cora_thread_future_new_at(CORA_PLACE("thread future"))
CORA_API cora_thread_future cora_thread_future_new_at(const struct cora_place *place);

/*
 * Keeps it for one more, and gives the handle back; null if it is stale. Gives that back again: 0,
 * CORA_ESTALE. What is released while it is pending goes on: work that was submitted is done.
 */
CORA_API cora_thread_future cora_thread_future_keep(cora_thread_future future);
CORA_API int cora_thread_future_release(cora_thread_future future);

/* ---- completing ---- */

/*
 * Who does the work says that it begins now: from here it cannot be cancelled. False: it was
 * cancelled, and the work is not to be done; this also lets those know who wait for several. A
 * RuntimeError, and false, if it runs or is finished already. asyncio:
 * set_running_or_notify_cancel.
 */
CORA_API bool cora_thread_future_set_running_or_notify_cancel(cora_thread_future future);

/*
 * Finishes it with a value, or an error; adds a reference. 0; CORA_EINVALIDSTATE if it is finished
 * or cancelled; CORA_ETYPE for an exception that is no error. asyncio: set_result, set_exception.
 */
CORA_API int cora_thread_future_set_result(cora_thread_future future, cora_value result);
CORA_API int cora_thread_future_set_exception(cora_thread_future future, cora_value error);

/*
 * Cancels it, if it is not running or finished: work that waits for a worker is not done, and its
 * bound arguments are dropped now. Whether it is cancelled now: true also a second time. asyncio:
 * cancel.
 */
CORA_API bool cora_thread_future_cancel(cora_thread_future future);

/* ---- asking ---- */

/* Whether it is running, cancelled; finished or cancelled. asyncio: running, cancelled, done. */
CORA_API bool cora_thread_future_running(cora_thread_future future);
CORA_API bool cora_thread_future_cancelled(cora_thread_future future);
CORA_API bool cora_thread_future_done(cora_thread_future future);

/*
 * Its value, or its error: what it failed with, Cancelled; a TimeoutError if it is not done within
 * so many seconds (0: does not wait; INFINITY: waits for ever). A temporary of this thread.
 * asyncio: result.
 */
CORA_API cora_value cora_thread_future_result(cora_thread_future future, double timeout);

/* The same, but nothing for a value. asyncio: exception. */
CORA_API cora_value cora_thread_future_exception(cora_thread_future future, double timeout);

/*
 * Writes it for a person to read: <ThreadFuture running>, <ThreadFuture finished result=4>. As
 * snprintf.
 */
CORA_API int cora_thread_future_print(cora_thread_future future, char *buffer, size_t size);

/* ---- done-callbacks ---- */

/*
 * Calls back when it is finished or cancelled, in the thread that does that, in the order added; if
 * it is already, now, inside this call. The future is the last argument. What a callback fails with
 * (cora_fail) is reported to the default exception handler, and the others are called all the same.
 * 0; CORA_ESTALE, CORA_EMEMORY, and then the arguments are dropped. asyncio: add_done_callback.
 */
CORA_API int cora_thread_future_add_done_callback(cora_thread_future future,
                                                  cora_thread_done_callback callback);

CORA_END
#endif
