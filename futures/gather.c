/*
 * How it works: each child gets one done-callback, bound to the gather and the child's position,
 * that puts its outcome into the list which will be the result. A child that is in the array again
 * is found by the callback that it got last, without a table; its place in the list then names the
 * first one. Children that are done already are taken at the end, as asyncio does.
 *
 * The children are not kept: a position is filled when its child's callback runs. When the gather
 * is done by the first failure, its memory goes, and later children find nothing to do.
 */
#include "gather.h"

#include "private_future.h"

struct gather {
    struct cancel_walk walk;
    cora_value list; /* counted; of nothing, to be filled */
    size_t count;
    size_t unfinished; /* children whose callback did not run yet */
    bool return_exceptions;
    bool cancelled;      /* asked to end */
    bool last_cancelled; /* the last child was: its message is that of the whole */
    cora_future children[];
};

/* A place in the list that is to be the same as an earlier one. */
static const cora_type same_as = { "same", NULL, NULL, KIND_INT };

static size_t gather_size(size_t count)
{
    return sizeof(struct gather) + count * sizeof(cora_future);
}

static struct gather *gather_of(struct future *outer)
{
    return outer->as.state.as.pointer;
}

static void gather_drop(struct loop *loop, struct future *before)
{
    struct gather *gather = gather_of(before);
    cora_value list = gather->list;
    (void)loop;
    block_put(gather, gather_size(gather->count));
    cora_drop(list);
}

static struct cancel_walk *gather_walk(struct future *outer)
{
    return &gather_of(outer)->walk;
}

static struct future *gather_next_child(struct future *outer, size_t position, bool *ret_more)
{
    struct gather *gather = gather_of(outer);
    *ret_more = position < gather->count;
    return *ret_more ? future_find(gather->children[position]) : NULL;
}

static bool gather_asked(struct future *outer, bool any)
{
    gather_of(outer)->cancelled |= any;
    return any;
}

static const struct cora_operation gather_operation = {
    .name = "_GatheringFuture",
    .drop = gather_drop,
    .walk = gather_walk,
    .next_child = gather_next_child,
    .asked = gather_asked,
};

/* All children are done. */
static void gather_end(struct loop *loop, struct future *outer)
{
    struct gather *gather = gather_of(outer);
    cora_value list = gather->list, *values = list_values(list);
    for (size_t i = 0; i < gather->count; i++)
        if (values[i].type == &same_as)
            values[i] = cora_copy(values[values[i].as.integer]);
    if (gather->cancelled) {
        cora_value error = cancelled_error();
        if (gather->last_cancelled)
            error = values[gather->count - 1];
        future_finish(loop, outer, FUTURE_FAILED, cora_copy(error));
        return;
    }
    gather->list = cora_nothing();
    future_finish(loop, outer, FUTURE_FINISHED, list);
}

/* Takes the outcome of a child that is done. */
static void gather_take(struct loop *loop, struct future *outer, size_t position,
                        struct future *child)
{
    struct gather *gather = gather_of(outer);
    enum future_phase phase = future_phase(child);
    cora_value outcome = cora_copy(future_read(child)), *values = list_values(gather->list);
    if (phase != FUTURE_FINISHED && !gather->return_exceptions) {
        future_finish(loop, outer, FUTURE_FAILED, outcome);
        return;
    }
    values[position] = outcome;
    size_t last = gather->count - 1;
    if (values[last].type == &same_as)
        last = (size_t)values[last].as.integer;
    if (position == last)
        gather->last_cancelled = phase == FUTURE_CANCELLED;
    if (--gather->unfinished == 0)
        gather_end(loop, outer);
}

static void gather_child_done(cora_args bound, cora_future done)
{
    struct future *outer = future_find(cora_arg_future(bound, 0)), *child = future_find(done);
    if (!outer || future_is_done(outer))
        future_read(child);
    else
        gather_take(future_loop(outer), outer, (size_t)cora_arg_int(bound, 1), child);
}

/* ---- making one ---- */

static struct future *gather_new(struct loop *loop, size_t count, bool return_exceptions,
                                 const struct cora_place *place)
{
    cora_value list = list_new(count);
    bool small = !cora_is_error(list); /* and so the array of handles has a size, too */
    struct gather *gather = small ? block_get(gather_size(count)) : NULL;
    struct future *outer = gather ? future_new(loop, &gather_operation, place) : NULL;
    if (!outer) {
        if (gather)
            block_put(gather, gather_size(count));
        cora_drop(list);
        fail_with(memory_error());
        return NULL;
    }
    *gather = (struct gather){
        .list = list, .count = count, .unfinished = count, .return_exceptions = return_exceptions
    };
    outer->as.state.as.pointer = gather;
    return outer;
}

/* Registers with a child, or finds it registered already. False without memory. */
static bool gather_add(struct loop *loop, struct future *outer, size_t position,
                       struct future *child)
{
    struct gather *gather = gather_of(outer);
    gather->children[position] = future_handle(child);
    if (future_is_done(child))
        return true;
    const struct callback *last = future_last_callback(child);
    if (last && last->function == (cora_function)gather_child_done &&
        last->arguments.inline_values[0].as.handle == outer->slot.bits) {
        cora_value first = { &same_as, { last->arguments.inline_values[1].as.integer } };
        list_values(gather->list)[position] = first;
        gather->unfinished--;
        return true;
    }
    return future_add_callback(
        loop, child,
        cora_partial(gather_child_done, future_handle(outer), (long long)position).partial);
}

/* Takes back what was registered with the children before this position, and the gather. */
static void gather_undo(struct loop *loop, struct future *outer, size_t position)
{
    struct gather *gather = gather_of(outer);
    struct future before = *outer;
    while (position-- > 0)
        cora_remove_done_callback(
            gather->children[position],
            cora_partial(gather_child_done, future_handle(outer), (long long)position));
    future_undo(loop, outer);
    gather_drop(loop, &before);
}

/* Those that were done when the gather was made. */
static void gather_take_done(struct loop *loop, struct future *outer)
{
    size_t count = gather_of(outer)->count;
    for (size_t i = 0; i < count && !future_is_done(outer); i++) {
        struct gather *gather = gather_of(outer);
        struct future *child = future_find(gather->children[i]);
        if (future_is_done(child))
            gather_take(loop, outer, i, child);
    }
}

/* The usual checks of all futures come before the first is touched. */
static bool check_loops(struct loop *loop, const cora_awaitable *awaitables,
                        const cora_future *futures, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        cora_awaitable what = futures ? cora_awaitable_of(futures[i]) : awaitables[i];
        if (!what.operation && !awaitable_future(loop, &what, NULL))
            return false;
    }
    return true;
}

static cora_future gather(cora_loop handle, const cora_awaitable *awaitables,
                          const cora_future *futures, size_t count,
                          const struct cora_gather_options *options, const struct cora_place *place)
{
    const cora_future none = { 0 };
    struct loop *loop = loop_get(handle);
    if (!loop || !check_loops(loop, awaitables, futures, count))
        return none;
    struct future *outer = gather_new(loop, count, options && options->return_exceptions, place);
    for (size_t i = 0; outer && i < count; i++) {
        struct future *child =
            futures ? future_find(futures[i]) : awaitable_future(loop, &awaitables[i], place);
        if (child && gather_add(loop, outer, i, child))
            continue;
        gather_undo(loop, outer, i);
        outer = NULL;
    }
    if (!outer)
        return none;
    future_hold_outside(loop, outer);
    cora_future all = future_handle(outer);
    if (count == 0)
        gather_end(loop, outer);
    else
        gather_take_done(loop, outer);
    return all;
}

cora_future cora_gather_futures(cora_loop loop, const cora_future *futures, size_t count,
                                const struct cora_gather_options *options,
                                const struct cora_place *place)
{
    return gather(loop, NULL, futures, count, options, place);
}

cora_future cora_gather_awaitables(cora_loop loop, const cora_awaitable *awaitables, size_t count,
                                   const struct cora_gather_options *options,
                                   const struct cora_place *place)
{
    return gather(loop, awaitables, NULL, count, options, place);
}
