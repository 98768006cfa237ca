/*
 * How it works: registering copies a partial into the slot of what it is registered with; up to two
 * arguments stay in the slot, more go into a block. A flag says whether anything must be dropped
 * later, so that numbers and pointers cost nothing to give back.
 */
#include "callback.h"

#include "private.h"

#include <stdio.h>

#define ARRAY_SIZE(count) ((count) * sizeof(cora_value))

/* Keeps the arguments; a flag for each that must be dropped. */
static bool values_store(struct slot *slot, cora_value *values, const cora_value *arguments,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (CORA_LIKELY(cora_is_plain(arguments[i]))) {
            values[i] = arguments[i];
            continue;
        }
        if (!value_keep(arguments[i], &values[i])) {
            while (i-- > 0)
                cora_drop(values[i]);
            return false;
        }
        slot->flags |= CALLBACK_DROPS;
    }
    return true;
}

/* More arguments than fit into the slot. */
static bool array_store(struct slot *slot, struct callback *callback,
                        const struct cora_partial *partial)
{
    cora_value *array = block_get(ARRAY_SIZE(partial->count));
    if (!array)
        return false;
    if (!values_store(slot, array, partial->arguments, partial->count)) {
        block_put(array, ARRAY_SIZE(partial->count));
        return false;
    }
    callback->arguments.array = array;
    slot->flags |= CALLBACK_DROPS | CALLBACK_ARRAY;
    return true;
}

bool callback_store_slow(struct slot *slot, struct callback *callback,
                         const struct cora_partial *partial)
{
    callback->function = partial->function;
    callback->place = partial->place;
    slot->flags = 0;
    slot->count = (uint8_t)partial->count;
    bool stored = partial->count <= INLINE_ARGUMENTS
                      ? values_store(slot, callback->arguments.inline_values, partial->arguments,
                                     partial->count)
                      : array_store(slot, callback, partial);
    if (!stored)
        fail_with(memory_error());
    else if (partial->context || cora_thread.context)
        context_snapshot(slot, callback, partial);
    return stored;
}

void callback_drop_slow(struct slot *slot, struct callback *callback)
{
    cora_args bound = callback_args(slot, callback);
    uint8_t flags = slot->flags;
    struct cora_counted *context = flags & CALLBACK_CONTEXT ? callback->context : NULL;
    cora_value values[INLINE_ARGUMENTS];
    if (!(flags & CALLBACK_ARRAY))
        for (size_t i = 0; i < bound.count; i++)
            values[i] = bound.values[i];
    slot->flags = flags & CALLBACK_PERSISTS;
    slot->count = 0;
    /* From here the slot is not looked at: a drop function may do anything. */
    for (size_t i = 0; i < bound.count; i++)
        cora_drop(flags & CALLBACK_ARRAY ? bound.values[i] : values[i]);
    if (flags & CALLBACK_ARRAY)
        block_put((void *)(uintptr_t)bound.values, ARRAY_SIZE(bound.count));
    if (context)
        counted_drop(context);
}

int callback_print(const struct slot *slot, const struct callback *callback, char *buffer,
                   size_t size)
{
    cora_args bound = callback_args(slot, callback);
    size_t length = 0;
    int more = snprintf(buffer, size, "%s(", callback->place->name);
    for (size_t i = 0; more >= 0 && i < bound.count; i++) {
        length += (size_t)more;
        if (i > 0 && length < size)
            snprintf(buffer + length, size - length, ", ");
        length += i > 0 ? 2 : 0;
        more = cora_print(bound.values[i], length < size ? buffer + length : NULL,
                          length < size ? size - length : 0);
    }
    length += more > 0 ? (size_t)more : 0;
    if (length < size)
        snprintf(buffer + length, size - length, ")");
    return (int)length + 1;
}

/* ---- reading bound arguments ---- */

cora_value cora_arg_value(cora_args bound, size_t index)
{
    if (index < bound.count)
        return bound.values[index];
    cora_fail(cora_error(CORA_ETYPE, "argument %zu of a callback that is bound to %zu", index,
                         bound.count));
    return cora_nothing();
}
