/*
 * How it works: an outcome callback is stored with one more argument than it is bound to, which
 * becomes the outcome. So it is queued, printed and dropped as any other, and telling needs no
 * memory.
 */
#include "outcome.h"

bool hook_store(struct loop *loop, struct hook *hook, cora_outcome_callback callback)
{
    const struct cora_partial *bound = callback.partial;
    cora_value arguments[CORA_ARGUMENTS_MAX + 1];
    struct cora_partial partial = *bound;
    for (size_t i = 0; i < bound->count; i++)
        arguments[i] = bound->arguments[i];
    arguments[bound->count] = cora_nothing();
    partial.arguments = arguments;
    partial.count = bound->count + 1;
    partial.plain &= partial.count <= INLINE_ARGUMENTS;
    *hook = (struct hook){ .slot = handle_new(&loop->handles, &partial) };
    if (hook->slot)
        hook->slot->flags |= CALLBACK_OUTCOME;
    return hook->slot;
}

cora_handle hook_tell(struct loop *loop, struct hook *hook, cora_value outcome)
{
    struct hook told = *hook;
    *hook = (struct hook){ 0 };
    if (told.function)
        told.function(told.owner, outcome);
    if (!told.slot)
        return (cora_handle){ 0 };
    struct callback *callback = slot_callback(told.slot);
    cora_value *last =
        (cora_value *)(uintptr_t)&callback_args(told.slot, callback).values[told.slot->count - 1];
    if (!value_keep(outcome, last))
        *last = memory_error();
    if (!cora_is_plain(*last))
        told.slot->flags |= CALLBACK_DROPS;
    if (shared_waiting(loop))
        shared_take(loop);
    told.slot->state = SLOT_QUEUED;
    queue_append(&loop->ready, told.slot);
    loop_wake(loop);
    return (cora_handle){ told.slot->bits };
}

void hook_drop(struct loop *loop, struct hook *hook)
{
    struct hook dropped = *hook;
    *hook = (struct hook){ 0 };
    if (dropped.slot && loop->ev)
        handle_remove(loop, dropped.slot); /* else it is dropped with the loop's other handles */
}
