/*
 * How it works: a done-callback stops the loop, a tick after completion, as in asyncio. The future
 * is referenced meanwhile; afterwards it is garbage, which the next run finds.
 */
#include "run.h"

#include "private_future.h"

/* A fatal error leaves the run by itself. */
static void run_over(cora_args bound, cora_future done)
{
    struct future *future = future_find(done);
    if (future_phase(future) == FUTURE_FAILED && error_is_fatal(future_read(future)))
        return;
    if (future_phase(future) != FUTURE_CANCELLED)
        future_read(future);
    cora_stop(cora_arg_loop(bound, 0));
}

/* How the run ended for this future, which is done or not. */
static cora_value run_outcome(struct future *future, int code)
{
    if (code < 0)
        return error_again(cora_last_error());
    if (future_is_done(future))
        return future_read(future);
    cora_value error = cora_error(CORA_ERUNTIME, "Event loop stopped before Future completed.");
    fail_with(error);
    return error;
}

cora_value cora_run_until_complete_at(cora_loop handle, cora_awaitable what,
                                      const struct cora_place *place)
{
    struct loop *loop;
    if (loop_enter(handle, &loop) < 0)
        return error_again(cora_last_error());
    struct future *future = awaitable_future(loop, &what, place);
    cora_done_callback over = cora_partial(run_over, handle);
    if (!future || !future_add_callback(loop, future, over.partial)) {
        loop_refuse(loop);
        return error_again(cora_last_error());
    }
    if (what.operation && operation_of(&what)->adopt)
        operation_of(&what)->adopt(future);
    future_reference(future);
    loop_run(loop);
    cora_value outcome = run_outcome(future, loop_leave(loop));
    if (what.operation)
        future_read(future); /* nobody else could */
    cora_remove_done_callback(future_handle(future), over);
    if (future_is_done(future))
        future_unmark(future, FUTURE_HELD); /* until the next run it is garbage */
    future_unreference(loop, future);
    return outcome;
}
