/*
 * How it works: each child gets one done-callback, bound to the gather, that counts. A child that
 * is in the array again is found by the callback that it got last, without a table. Children that
 * are done already count when they are added; the gather ends when all are there, as asyncio's. The
 * last one lets all outcomes be put into the list, in the order of the array, which is how they lie
 * in memory as a rule.
 *
 * The children are referenced until the gather's future is given back: what it was made of stays
 * readable as long as itself.
 */
#include "gather.h"

#include "private_coroutine.h"

struct gather {
    struct cancel_walk walk;
    cora_future caller; /* the task that has called for it, or null: the children's call graph */
    cora_value list;    /* counted; empty until the end */
    size_t unfinished;  /* children whose callback did not run yet; one more while it is built */
    size_t loud;        /* of those, such that cannot count when they are done; one more, too */
    bool return_exceptions;
    bool cancelled;        /* asked to end */
    bool building;         /* children are added, which may run the program's code */
    struct future *failed; /* meanwhile: what it is to fail with; NULL: nothing */
    size_t room;           /* of the array */
    size_t count;
    struct future *children[]; /* referenced */
};

static size_t gather_size(size_t count)
{
    return sizeof(struct gather) + count * sizeof(struct future *);
}

static struct gather *gather_of(struct future *outer)
{
    return outer->as.state.as.pointer;
}

static void gather_drop(struct loop *loop, struct future *before)
{
    if (cora_same(loop->counting, future_handle(before)))
        loop->counting = (cora_future){ 0 };
}

static void gather_free(struct loop *loop, void *block)
{
    struct gather *gather = block;
    cora_value list = gather->list;
    for (size_t i = 0; i < gather->count && loop->ev; i++)
        future_unreference_now(loop, gather->children[i]);
    block_put(gather, gather_size(gather->room));
    cora_drop(list);
}

static struct cancel_walk *gather_walk(struct future *outer)
{
    return &gather_of(outer)->walk;
}

static struct future *gather_next_child(struct future *outer, size_t position)
{
    struct gather *gather = gather_of(outer);
    return position < gather->count ? gather->children[position] : NULL;
}

static bool gather_asked(struct future *outer, bool any, cora_value cancelled)
{
    (void)cancelled;
    gather_of(outer)->cancelled |= any;
    return any;
}

static void gather_taken(struct loop *loop, struct future *outer)
{
    const struct gather *gather = outer->more.block;
    for (size_t i = 0; i < gather->count; i++)
        future_taken(loop, gather->children[i]);
}

static const struct operation gather_operation = {
    .name = "_GatheringFuture",
    .drop = gather_drop,
    .free = gather_free,
    .walk = gather_walk,
    .next_child = gather_next_child,
    .asked = gather_asked,
    .taken = gather_taken,
};

/* All children are done. After a cancel it has failed in any case, with what the last one says. */
static void gather_end(struct loop *loop, struct future *outer)
{
    struct gather *gather = gather_of(outer);
    cora_value list = gather->list, error = cancelled_error();
    for (size_t i = 0; i < gather->count; i++)
        list_add(list, cora_copy(future_read(gather->children[i])));
    if (!gather->cancelled) {
        gather->list = cora_nothing();
        future_finish(loop, outer, FUTURE_FINISHED, list);
        return;
    }
    struct future *last = gather->children[gather->count - 1];
    if (future_phase(last) == FUTURE_CANCELLED)
        error = last->as.outcome;
    future_finish(loop, outer, FUTURE_FAILED, cora_copy(error));
}

/* Counts a child that is done, while the outer future is not. */
static void gather_count(struct loop *loop, struct future *outer, struct future *child)
{
    struct gather *gather = gather_of(outer);
    bool fails = future_phase(child) != FUTURE_FINISHED && !gather->return_exceptions;
    if (fails && gather->building) {
        future_read(child);
        gather->failed = gather->failed ? gather->failed : child;
    } else if (fails) {
        future_finish(loop, outer, FUTURE_FAILED, cora_copy(future_read(child)));
    } else if (--gather->unfinished == 0) {
        gather_end(loop, outer);
    }
}

/* A child is done; the outer future may be gone. */
static void gather_child(struct loop *loop, struct future *outer, struct future *child)
{
    if (CORA_LIKELY(outer && !future_is_done(outer)))
        gather_count(loop, outer, child);
    else
        future_read(child);
}

static void gather_child_done(cora_args bound, cora_future done)
{
    struct future *child = future_of(slot_at(done.bits)); /* as it calls back, it is there */
    struct future *outer = future_find(cora_arg_future(bound, 0));
    if (outer && !future_is_done(outer))
        gather_of(outer)->loud--;
    gather_child(future_loop(child), outer, child);
}

static cora_future gather_caller(cora_args bound)
{
    struct future *outer = future_find(cora_arg_future(bound, 0));
    return outer && !future_is_done(outer) ? gather_of(outer)->caller : (cora_future){ 0 };
}

const struct awaiter gather_awaiter = { (cora_function)gather_child_done, gather_caller };

/* Makes this gather the one whose children are being counted; NULL if it is done. */
static struct gather *gather_find(struct loop *loop, cora_future handle)
{
    struct slot *slot = slot_at(handle.bits);
    if (slot->bits != handle.bits || future_is_done(future_of(slot))) /* free ones were done */
        return NULL;
    loop->counting = handle;
    loop->counting_gather = gather_of(future_of(slot));
    return loop->counting_gather;
}

/*
 * A child is done; its callback would run in the next tick. Only the one that ends the gather needs
 * to, and those that are done while one that needs to waits in the queue: they come behind it. When
 * the others are counted nobody can tell. The gather is remembered from child to child, so
 * that the processor need not wait for a child's memory to find where to count, which is three
 * times as fast for a million of them in random order.
 */
static bool gather_counts(struct loop *loop, struct future *child, cora_future bound)
{
    struct gather *gather = loop->counting_gather;
    if (CORA_UNLIKELY(!cora_same(loop->counting, bound)) && !(gather = gather_find(loop, bound))) {
        future_read(child);
        return true;
    }
    if (CORA_UNLIKELY(gather->unfinished == 1 || gather->loud > 0 ||
                      future_phase(child) != FUTURE_FINISHED)) {
        gather->loud++;
        return false;
    }
    gather->unfinished--;
    return true;
}

static const struct quiet_place child_place = {
    { "gather", __FILE__, __LINE__, "cora_gather" },
    gather_counts,
};

/* ---- making one ---- */

static struct future *gather_new(struct loop *loop, size_t count, bool return_exceptions,
                                 const struct cora_place *place)
{
    cora_value list = list_new(count);
    bool small = !cora_is_error(list); /* and so the array of children has a size, too */
    struct gather *gather = small ? block_get(gather_size(count)) : NULL;
    struct future *outer = gather ? future_new(loop, &gather_operation, place) : NULL;
    if (!outer) {
        if (gather)
            block_put(gather, gather_size(count));
        cora_drop(list);
        fail_with(memory_error());
        return NULL;
    }
    *gather = (struct gather){ .caller = run_current_task(),
                               .list = list,
                               .unfinished = 1,
                               .loud = 1,
                               .building = true,
                               .room = count,
                               .return_exceptions = return_exceptions };
    outer->as.state.as.pointer = gather;
    return outer;
}

/* Whether this gather was the last to register with the child: it is in the array twice. */
static bool is_registered(struct future *outer, struct future *child)
{
    const struct callback *last = future_last_callback(child);
    return last && last->function == (cora_function)gather_child_done &&
           last->arguments.inline_values[0].as.handle == outer->slot.bits;
}

/* Registers with a child that is pending. False without memory. */
static bool gather_register(struct loop *loop, struct future *outer, struct future *child)
{
    cora_done_callback done = cora_partial(gather_child_done, future_handle(outer));
    bool first = !future_last_callback(child);
    done.partial->place = &child_place.place;
    if (!future_add_callback(loop, child, done.partial))
        return false;
    if (first && !child->slot.flags) /* with a context there is something to drop */
        future_mark(child, FUTURE_QUIET);
    else
        gather_of(outer)->loud++;
    return true;
}

/*
 * Takes a child, and registers with it if it is pending; one that is done counts at once. False
 * without memory.
 */
static bool gather_add(struct loop *loop, struct future *outer, struct future *child)
{
    struct gather *gather = gather_of(outer);
    bool again = !future_is_done(child) && is_registered(outer, child);
    if (!future_is_done(child) && !again && !gather_register(loop, outer, child))
        return false;
    future_reference(child);
    gather->children[gather->count++] = child;
    if (!again)
        gather->unfinished++;
    if (future_is_done(child))
        gather_child(loop, outer, child);
    return true;
}

/* Takes back what was registered with the children so far, and the gather. */
static void gather_undo(struct loop *loop, struct future *outer)
{
    struct gather *gather = gather_of(outer);
    for (size_t i = 0; i < gather->count; i++)
        cora_remove_done_callback(future_handle(gather->children[i]),
                                  cora_partial(gather_child_done, future_handle(outer)));
    while (gather->count > 0)
        future_unreference(loop, gather->children[--gather->count]);
    future_undo(loop, outer);
    gather_free(loop, gather);
}

/* All children are there: what came of them so far counts. */
static void gather_built(struct loop *loop, struct future *outer)
{
    struct gather *gather = gather_of(outer);
    gather->building = false;
    gather->loud--;
    if (gather->failed)
        future_finish(loop, outer, FUTURE_FAILED, cora_copy(future_read(gather->failed)));
    else if (--gather->unfinished == 0)
        gather_end(loop, outer);
}

/* What is wrong with the futures is found before the first is touched. */
static bool check_futures(struct loop *loop, const cora_awaitable *awaitables,
                          const cora_future *futures, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (futures ? !future_given(loop, futures[i])
                    : !awaitables[i].operation &&
                          !future_given(loop, cora_as_future(awaitables[i].value)))
            return false;
    return true;
}

/* The future of an awaitable; of a coroutine that is in the array twice the same. */
static struct future *gather_awaitable(struct loop *loop, struct future *outer,
                                       const cora_awaitable *what, const struct cora_place *place)
{
    const struct operation *operation = what->operation ? operation_of(what) : NULL;
    struct future *child = operation && operation->existing ? operation->existing(what) : NULL;
    if (child && is_registered(outer, child))
        return child;
    child = awaitable_future(loop, what, place);
    if (child && operation && operation->adopt)
        operation->adopt(child);
    return child;
}

static cora_future gather(cora_loop handle, const cora_awaitable *awaitables,
                          const cora_future *futures, size_t count,
                          const struct cora_gather_options *options, const struct cora_place *place)
{
    const cora_future none = { 0 };
    struct loop *loop = loop_get(handle);
    if (!loop || !check_futures(loop, awaitables, futures, count))
        return none;
    struct future *outer = gather_new(loop, count, options && options->return_exceptions, place);
    loop_hold(loop); /* a task factory may close it, and then the gather is gone, too */
    bool added = outer != NULL;
    for (size_t i = 0; added && i < count; i++) {
        struct future *child = futures ? future_find(futures[i])
                                       : gather_awaitable(loop, outer, &awaitables[i], place);
        added = child && gather_add(loop, outer, child);
    }
    if (added) {
        future_hold(loop, outer);
        gather_built(loop, outer);
    } else if (outer && loop->ev) {
        gather_undo(loop, outer);
    }
    cora_future all = added ? future_handle(outer) : none;
    loop_unhold(loop);
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
