/*
 * How it works: the outer future and the inner one have a done-callback each that is bound to the
 * other. When the outer one is done first, cancelled as a rule, the inner one's is replaced by one
 * that reports its error; one is enough for any number of shields.
 */
#include "shield.h"

#include "private_coroutine.h"

#include <stdio.h>

/* The inner one is done, and nobody waits for it any more. */
static void shield_report(cora_args bound, cora_future done)
{
    (void)bound;
    cora_value error = cora_exception(done);
    if (cora_cancelled(done) || cora_is_nothing(error))
        return;
    char message[120], text[400];
    snprintf(message, sizeof message, "%s exception in shielded future",
             cora_error_name(cora_error_code(error)));
    cora_future_print(done, text, sizeof text);
    struct future *inner = future_find(done);
    struct cora_report report = { .message = message,
                                  .exception = error,
                                  .future = done,
                                  .object = text,
                                  .place = inner->place };
    loop_report(future_loop(inner), &report);
}

static void shield_outer_done(cora_args bound, cora_future outer)
{
    cora_future inner = cora_arg_future(bound, 0);
    if (cora_done(inner))
        return;
    cora_remove_done_callback(inner, cora_partial(cora_copy_outcome, outer));
    cora_remove_done_callback(inner, cora_partial(shield_report));
    cora_add_done_callback(inner, cora_partial(shield_report));
}

/* The task that has called for the shield whose outer future is bound. */
static cora_future shield_caller(cora_args bound)
{
    struct future *outer = future_find(cora_arg_future(bound, 0));
    if (!outer || !future_has(outer, FUTURE_CALLBACK) ||
        outer->callback.function != (cora_function)shield_outer_done)
        return (cora_future){ 0 };
    return cora_arg_future(callback_args(&outer->slot, &outer->callback), 1);
}

const struct awaiter shield_awaiter = { (cora_function)cora_copy_outcome, shield_caller };

cora_future cora_shield_at(cora_loop handle, cora_awaitable what, const struct cora_place *place)
{
    const cora_future none = { 0 };
    struct loop *loop = loop_get(handle);
    struct future *inner = loop ? awaitable_future(loop, &what, place) : NULL;
    if (!inner)
        return none;
    if (future_is_done(inner))
        return future_handle(inner);
    struct future *outer = future_new(loop, NULL, place);
    if (!outer)
        return none;
    cora_done_callback copy = cora_partial(cora_copy_outcome, future_handle(outer));
    if (future_add_callback(loop, inner, copy.partial) &&
        future_add_callback(
            loop, outer,
            cora_partial(shield_outer_done, future_handle(inner), run_current_task()).partial)) {
        future_hold(loop, outer);
        return future_handle(outer);
    }
    cora_remove_done_callback(future_handle(inner), copy);
    future_undo(loop, outer);
    return none;
}
