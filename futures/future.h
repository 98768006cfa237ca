/*
 * future.h: a result that is not there yet.
 *
 *     cora_future page = cora_future_new(loop);
 *     cora_add_done_callback(page, cora_partial(on_page, url));
 *     ...
 *     cora_set_result(page, cora_text("<html>"));    // by whoever has it
 *
 * A future is completed once. Its done-callbacks then run from the loop, in the order added, each
 * in its context; never inside the call that completes it, or that adds them.
 *
 *     pending --cora_set_result, cora_set_exception--> finished
 *        '-----cora_cancel---------------------------> cancelled
 *
 * Who keeps it: a pending future is the loop's, whoever forgets it. A finished one made in a
 * callback is given back when its callbacks have run and the running callback has returned; to
 * store it for longer, keep it. One made outside of a run, in main(), stays until cora_release,
 * until the run after the one that returned its outcome, or until the loop is closed. Afterwards
 * its handle is stale: it counts as done, and reading it gives a StaleHandle error.
 *
 * A null future could not be made: it is not done, and reading it gives the error that made it
 * null, so that one check at the end is enough. asyncio: Future.
 */
#ifndef CORA_FUTURE_H
#define CORA_FUTURE_H

#include <cora/ready.h>

CORA_BEGIN

/*
 * A pending future of this loop. Null if it cannot be made: as cora_call_soon. In asyncio's words
 * loop.create_future; the loop that is running, or set for the thread, is cora_current_loop().
 */
#define cora_future_new(loop) cora_future_new_at(loop, CORA_PLACE("future"))
CORA_API cora_future cora_future_new_at(cora_loop loop, const struct cora_place *place);

/* ---- completing ---- */

/*
 * Completes it with a value, or fails it with an error; adds a reference. 0; CORA_EINVALIDSTATE if
 * it is done; CORA_ETYPE for an exception that is no error; CORA_ESTALE, CORA_EMEMORY, ... and then
 * it is as before. asyncio: set_result, set_exception.
 */
CORA_API int cora_set_result(cora_future future, cora_value result);
CORA_API int cora_set_exception(cora_future future, cora_value error);

/*
 * Cancels it, with a message for who reads it (NULL: none). Whether it was pending; false for a
 * stale one. A plain future is cancelled at once. One that stands for other work (an operation that
 * has been started, a gather) only asks that to end, and is done when it has. Also tells that an
 * error in it need not be reported. asyncio: cancel.
 */
CORA_API bool cora_cancel_with(cora_future future, const char *message);

static inline bool cora_cancel(cora_future future)
{
    return cora_cancel_with(future, NULL);
}

/*
 * Completes the first bound argument, a future, as the done one was: a ready-made done-callback, to
 * chain one to another. A destination that is cancelled, or was given back, stays as it is.
 *
 *     cora_add_done_callback(source, cora_partial(cora_copy_outcome, destination));
 */
CORA_API void cora_copy_outcome(cora_args bound, cora_future done);

/* ---- reading ---- */

/* Whether it has its outcome; whether that is the cancellation. asyncio: done, cancelled. */
CORA_API bool cora_done(cora_future future);
CORA_API bool cora_cancelled(cora_future future);

/*
 * Its value, or its error: what it failed with, Cancelled, InvalidState while it is pending.
 * Borrowed until the running callback returns, in main() until the next run. asyncio: result.
 */
CORA_API cora_value cora_result(cora_future future);

/* The same, but nothing for a value: cora_is_error tells. asyncio: exception. */
CORA_API cora_value cora_exception(cora_future future);

/* Its loop; null for one that is stale. asyncio: get_loop. */
CORA_API cora_loop cora_future_loop(cora_future future);

/*
 * Writes it for a person to read: <Future pending cb=[on_page("a")]>, <Future finished result=4>;
 * in debug mode also where it was created. As snprintf.
 */
CORA_API int cora_future_print(cora_future future, char *buffer, size_t size);

/* ---- done-callbacks ---- */

/*
 * Calls back when it is done, with the bound arguments first and the future last; in the next tick
 * if it is done already. 0; CORA_ESTALE, CORA_EMEMORY, ... and then the arguments are dropped.
 * asyncio: add_done_callback.
 */
CORA_API int cora_add_done_callback(cora_future future, cora_done_callback callback);

/*
 * Removes every done-callback that has this function and equal arguments (cora_equal); drops
 * theirs. How many there were: none once it is done. asyncio: remove_done_callback.
 */
CORA_API size_t cora_remove_done_callback(cora_future future, cora_done_callback callback);

/* ---- keeping ---- */

/*
 * Keeps it, also when it is done, until as many cora_release. Gives the handle back, so that it can
 * be kept where it is stored; null if it is stale.
 */
CORA_API cora_future cora_keep(cora_future future);

/*
 * Gives back what cora_keep, or main() or a coroutine's step by creating it, has kept: a done
 * future that nobody keeps is given back when the running callback has returned, outside of
 * callbacks when the next run begins. 0; CORA_ESTALE; CORA_ERUNTIME, which is reported, for a
 * release without a keep, and then it does nothing.
 */
CORA_API int cora_release(cora_future future);

CORA_END
#endif
