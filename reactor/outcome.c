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
    *hook = (struct hook){ .as.slot = handle_new(&loop->handles, &partial) };
    if (hook->as.slot)
        hook->as.slot->flags |= CALLBACK_OUTCOME;
    return hook->as.slot;
}

struct hook hook_function(void (*function)(void *owner, cora_value outcome), void *owner)
{
    struct hook hook = { .as.context = cora_thread.context, .function = function, .owner = owner };
    if (hook.as.context)
        counted_keep(hook.as.context);
    return hook;
}

/* Calls a function of the library's, with the variables of who has asked. */
static void function_tell(struct hook told, cora_value outcome)
{
    struct cora_counted *outer = cora_thread.context;
    cora_thread.context = told.as.context;
    told.function(told.owner, outcome);
    struct cora_counted *context = cora_thread.context;
    cora_thread.context = outer;
    if (context)
        counted_drop(context);
}

void outcome_store(struct slot *slot, cora_value outcome)
{
    cora_args bound = callback_args(slot, slot_callback(slot));
    cora_value *last = (cora_value *)(uintptr_t)&bound.values[bound.count - 1];
    if (!value_keep(outcome, last))
        *last = memory_error();
    if (!cora_is_plain(*last))
        slot->flags |= CALLBACK_DROPS;
}

cora_handle hook_tell(struct loop *loop, struct hook *hook, cora_value outcome)
{
    struct hook told = *hook;
    struct slot *slot = told.function ? NULL : told.as.slot;
    *hook = (struct hook){ 0 };
    if (told.function)
        function_tell(told, outcome);
    if (!slot)
        return (cora_handle){ 0 };
    outcome_store(slot, outcome);
    slot->state = SLOT_QUEUED;
    ready_append(loop, slot);
    return (cora_handle){ slot->bits };
}

void hook_drop(struct loop *loop, struct hook *hook)
{
    struct hook dropped = *hook;
    *hook = (struct hook){ 0 };
    if (dropped.function && dropped.as.context)
        counted_drop(dropped.as.context);
    else if (!dropped.function && dropped.as.slot && loop->ev)
        handle_remove(loop, dropped.as.slot); /* else it is dropped with the loop's other handles */
}
