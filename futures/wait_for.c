/*
 * How it works: as asyncio's: a coroutine that enters a time limit and awaits in it. Without any
 * time to wait it makes a future of what is awaited, cancels that, and waits until it has ended.
 */
#include "wait_for.h"

#include "private_coroutine.h"

struct waiting {
    struct stored stored;
    double seconds;
    cora_future future, waiter; /* without time: what is cancelled, and what tells its end */
};

/* ---- in time ---- */

static cora_next limited(cora_coro self)
{
    struct waiting *waiting = cora_locals(self, struct waiting);
    return cora_await(self, waiting->stored.what, cora_return_got);
}

/* ---- without time ---- */

static void on_end(cora_args bound, cora_future done)
{
    cora_future waiter = cora_arg_future(bound, 0);
    (void)done;
    if (!cora_done(waiter))
        cora_set_result(waiter, cora_nothing());
}

static cora_next unregister(cora_coro self)
{
    struct waiting *waiting = cora_locals(self, struct waiting);
    cora_remove_done_callback(waiting->future, cora_partial(on_end, waiting->waiter));
    return cora_go_on(self);
}

/* Its outcome. */
static cora_next outcome(cora_coro self, cora_future future)
{
    cora_value error = cora_exception(future);
    return cora_is_nothing(error) ? cora_return(self, cora_result(future))
                                  : cora_raise(self, error);
}

static cora_next ended(cora_coro self)
{
    cora_future future = cora_locals(self, struct waiting)->future;
    cora_value error = cora_exception(future);
    if (cora_error_code(error) == CORA_ECANCELLED)
        return cora_raise(self, cora_error_from(error, CORA_ETIMEOUT, NULL));
    return outcome(self, future);
}

static cora_next cancel_now(cora_coro self, struct waiting *waiting, cora_loop loop)
{
    cora_future future = cora_ensure_future(loop, waiting->stored.what);
    if (cora_is_null(future))
        return cora_raise(self, cora_last_error());
    if (cora_done(future))
        return outcome(self, future);
    waiting->future = future;
    waiting->waiter = cora_future_new(loop);
    if (cora_is_null(waiting->waiter) || cora_finally(self, unregister) < 0 ||
        cora_add_done_callback(future, cora_partial(on_end, waiting->waiter)) < 0) {
        cora_cancel(future);
        cora_cancel(waiting->waiter);
        return cora_raise(self, memory_error());
    }
    cora_cancel(future);
    return cora_await(self, waiting->waiter, ended);
}

/* ---- both ---- */

static cora_next begin(cora_coro self)
{
    struct waiting *waiting = cora_locals(self, struct waiting);
    cora_loop loop = cora_current_loop();
    if (waiting->seconds <= 0)
        return cancel_now(self, waiting, loop);
    cora_timeout limit = cora_timeout_new(loop, waiting->seconds);
    if (cora_is_null(limit))
        return cora_raise(self, cora_last_error());
    return cora_with(self, cora_timeout_enter(limit), limited);
}

cora_awaitable cora_wait_for_at(cora_awaitable what, double seconds, const struct cora_place *place)
{
    struct waiting waiting = { .seconds = seconds };
    cora_coro none = { 0 };
    if (!stored_keep(&waiting.stored, what))
        return cora_awaitable_of(none);
    cora_coro coro =
        cora_coro_new(CORA_COROUTINE, begin, &waiting, sizeof waiting, stored_drop, place);
    if (!cora_is_null(coro) && what.operation && operation_of(&what)->make &&
        cora_is_error(cora_hold(coro, what.value))) {
        cora_coro_close(coro);
        fail_with(memory_error());
        coro = none; /* awaiting it tells */
    }
    return cora_awaitable_of(coro);
}
