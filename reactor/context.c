/*
 * How it works: the variables of a context are an immutable counted array, so that a copy is one
 * reference. Setting one makes a new array (in place if nobody shares it). A context value is a
 * holder of such an array; the current context is the thread's array, and what a callback sets
 * lives there until it returns: then it is dropped, or goes back into the holder or the persistent
 * callback that it came from.
 */
#include "context.h"

#include "private.h"

struct binding {
    const cora_variable *variable;
    cora_value value; /* counted */
};

struct bindings {
    struct cora_counted head;
    size_t count;
    struct binding bindings[];
};

struct context {
    struct cora_counted head;
    struct cora_counted *bindings; /* counted; NULL: none set */
};

static const cora_type bindings_type = { "bindings", NULL, NULL, KIND_BINDINGS };
const cora_type cora_type_context = { "context", NULL, NULL, KIND_CONTEXT };

void bindings_free(struct cora_counted *counted)
{
    struct bindings *all = (struct bindings *)counted;
    for (size_t i = 0; i < all->count; i++)
        cora_drop(all->bindings[i].value);
}

void context_free(struct cora_counted *counted)
{
    struct cora_counted *bindings = ((struct context *)counted)->bindings;
    if (bindings)
        counted_drop(bindings);
}

static struct binding *bindings_find(struct cora_counted *counted, const cora_variable *variable)
{
    struct bindings *all = (struct bindings *)counted;
    for (size_t i = 0; all && i < all->count; i++)
        if (all->bindings[i].variable == variable)
            return &all->bindings[i];
    return NULL;
}

cora_value cora_context_get(const cora_variable *variable)
{
    struct binding *found = bindings_find(cora_thread.context, variable);
    return found ? found->value : variable->initial;
}

cora_value cora_context_value(cora_value context, const cora_variable *variable)
{
    if (context.type != &cora_type_context) {
        cora_fail(cora_error(CORA_ETYPE, "a value that is no context was read as one"));
        return cora_nothing();
    }
    bool current = context.as.counted == cora_thread.holder;
    struct binding *found = bindings_find(
        current ? cora_thread.context : ((struct context *)context.as.counted)->bindings, variable);
    return found ? found->value : variable->initial;
}

/* An array like this one, with room for one more. */
static struct bindings *bindings_copy(struct bindings *old)
{
    size_t count = old ? old->count : 0;
    struct bindings *all = (struct bindings *)counted_new(
        &bindings_type, sizeof *all + (count + 1) * sizeof(struct binding));
    if (!all)
        return NULL;
    all->count = count;
    for (size_t i = 0; i < count; i++) {
        all->bindings[i].variable = old->bindings[i].variable;
        if (!value_keep(old->bindings[i].value, &all->bindings[i].value))
            all->bindings[i].value = memory_error(); /* not reached: counted values only count */
    }
    return all;
}

int cora_context_set(const cora_variable *variable, cora_value value)
{
    cora_value kept;
    if (!value_keep(value, &kept))
        return fail_with(memory_error());
    struct bindings *old = (struct bindings *)cora_thread.context;
    struct binding *found = bindings_find(cora_thread.context, variable);
    bool alone = old && atomic_load_explicit(&old->head.references, memory_order_acquire) == 1;
    if (found && alone) {
        cora_value before = found->value;
        found->value = kept;
        cora_drop(before);
        return 0;
    }
    struct bindings *all = bindings_copy(old);
    if (!all) {
        cora_drop(kept);
        return fail_with(memory_error());
    }
    found = bindings_find(&all->head, variable);
    if (found) {
        cora_drop(found->value);
        found->value = kept;
    } else {
        all->bindings[all->count++] = (struct binding){ variable, kept };
    }
    cora_thread.context = &all->head;
    cora_thread.attention = true;
    if (old)
        counted_drop(&old->head);
    return 0;
}

cora_value cora_copy_context(void)
{
    struct context *context = (struct context *)counted_new(&cora_type_context, sizeof *context);
    if (!context)
        return memory_error();
    context->bindings = cora_thread.context;
    if (context->bindings)
        counted_keep(context->bindings);
    return counted_temporary(&context->head);
}

static void set_context(struct cora_partial *partial, cora_value context)
{
    if (context.type == &cora_type_context) {
        partial->context = context.as.counted;
        partial->plain = 0;
    } else {
        cora_fail(cora_error(CORA_ETYPE, "cora_in_context wants a context"));
    }
}

cora_callback cora_callback_in_context(cora_value context, cora_callback callback)
{
    set_context(callback.partial, context);
    return callback;
}

cora_done_callback cora_done_callback_in_context(cora_value context, cora_done_callback callback)
{
    set_context(callback.partial, context);
    return callback;
}

/* ---- for ready.c, and tasks ---- */

/* A context value's variables, borrowed; NULL: none set. */
struct cora_counted *context_variables(struct cora_counted *context)
{
    return ((struct context *)context)->bindings;
}

/* Sets them, taking over the reference. */
void context_store(struct cora_counted *context, struct cora_counted *variables)
{
    struct cora_counted *before = ((struct context *)context)->bindings;
    ((struct context *)context)->bindings = variables;
    if (before)
        counted_drop(before);
}

/* Gives a stored callback its context: the one asked for, or a copy of the current one. */
void context_snapshot(struct slot *slot, struct callback *callback,
                      const struct cora_partial *partial)
{
    callback->context = partial->context ? partial->context : cora_thread.context;
    counted_keep(callback->context);
    slot->flags |= CALLBACK_CONTEXT | CALLBACK_DROPS;
    if (partial->context)
        slot->flags |= CALLBACK_IN_CONTEXT;
}

/* Where a callback's variables stay between its runs; NULL: they are dropped when it returns. */
static struct cora_counted **context_home(struct slot *slot, struct callback *callback)
{
    if (slot->flags & CALLBACK_IN_CONTEXT)
        return &((struct context *)callback->context)->bindings;
    return slot->flags & CALLBACK_PERSISTS ? &callback->context : NULL;
}

void context_run(struct loop *loop, struct slot *slot, struct callback *callback)
{
    struct thread *thread = &cora_thread;
    struct cora_counted *outer = thread->context, *outer_holder = thread->holder, *holder = NULL;
    struct cora_counted **home = context_home(slot, callback);
    struct cora_counted *variables = home ? *home : callback->context;
    if (slot->flags & CALLBACK_IN_CONTEXT) {
        holder = callback->context; /* outlives what the callback may do to its own slot */
        counted_keep(holder);
    }
    if (variables)
        counted_keep(variables);
    thread->context = variables;
    thread->holder = holder;
    callback_invoke(slot, callback);
    callback_failed(loop, slot);
    variables = thread->context;
    thread->context = outer;
    thread->holder = outer_holder;
    if (home) {
        struct cora_counted *before = *home;
        *home = variables;
        variables = before;
    }
    if (variables)
        counted_drop(variables);
    if (holder)
        counted_drop(holder);
}
