/*
 * How it works: as asyncio's: each future has a done-callback that puts it into a queue, which has
 * room for all; who asks for the next takes it from there, or waits in a list. When the time is
 * over, null handles stand for those that are left.
 */
#include "as_completed.h"

#include "private_coroutine.h"

#include "reactor/timer.h"

const cora_type cora_type_completions = { "completions", NULL, NULL, KIND_HANDLE };

struct entry {
    cora_future future; /* kept */
    cora_future done;   /* the queue's item at this place */
    bool completed;     /* its callback has run, or was removed */
};

struct completions {
    cora_completions own;
    cora_handle timer; /* null: none */
    struct entry *entries;
    size_t room, count;
    size_t pending;       /* whose callback did not run */
    size_t left;          /* not asked for yet */
    size_t taken, queued; /* of the queue */
    struct cora_waiters waiters;
};

static void disarm(struct completions *all)
{
    if (!cora_is_null(all->timer))
        cora_handle_cancel(all->timer);
    all->timer = (cora_handle){ 0 };
}

static void on_completed(cora_args bound, cora_future done);

/* Takes the callbacks of those that are left back. */
static void unregister(struct completions *all)
{
    for (size_t i = 0; i < all->count; i++) {
        if (!all->entries[i].completed)
            cora_remove_done_callback(all->entries[i].future,
                                      cora_partial(on_completed, all->own, i));
        all->entries[i].completed = true;
    }
}

static void completions_close(void *memory)
{
    struct completions *all = memory;
    disarm(all);
    unregister(all);
    cora_waiters_close(&all->waiters);
    for (size_t i = 0; i < all->count; i++)
        future_let_go(all->entries[i].future);
    if (all->entries)
        block_put(all->entries, all->room * sizeof *all->entries);
}

static const struct cora_object_type completions_type = { "as_completed",
                                                          sizeof(struct completions),
                                                          completions_close };

static struct completions *completions_get(cora_completions handle)
{
    return cora_object_get(handle.bits, &completions_type);
}

int cora_completions_close(cora_completions handle)
{
    return object_close_held(handle.bits, &completions_type);
}

size_t cora_completions_left(cora_completions handle)
{
    struct completions *all = completions_get(handle);
    return all ? all->left : 0;
}

/* ---- the queue ---- */

static void wake_next(struct completions *all)
{
    for (struct cora_waiter *first; (first = all->waiters.first);) {
        cora_waiters_remove(first);
        if (cora_waiter_wake(first))
            return;
    }
}

static void put(struct completions *all, cora_future done)
{
    all->entries[all->queued++].done = done;
    wake_next(all);
}

static void on_completed(cora_args bound, cora_future done)
{
    struct completions *all = completions_get(cora_arg_completions(bound, 0));
    struct entry *entry = all ? &all->entries[cora_arg_int(bound, 1)] : NULL;
    if (!entry || entry->completed)
        return; /* the time was over first */
    entry->completed = true;
    if (--all->pending == 0)
        disarm(all);
    put(all, done);
}

static void on_timeout(cora_args bound)
{
    cora_completions handle = cora_arg_completions(bound, 0);
    struct completions *all = completions_get(handle);
    all->timer = (cora_handle){ 0 };
    unregister(all);
    for (; all->pending > 0; all->pending--)
        put(all, (cora_future){ 0 });
}

/* ---- making one ---- */

/* Whether the coroutine that this is was among those before. */
static bool was_before(const cora_awaitable *items, size_t i)
{
    for (size_t before = 0; before < i; before++)
        if (items[before].operation == items[i].operation &&
            cora_equal(items[before].value, items[i].value))
            return true;
    return false;
}

/* The future of one of the items, kept; null without an error for a coroutine that was before. */
static cora_future item_future(struct loop *loop, const cora_awaitable *items, size_t i,
                               const struct cora_place *place, bool *ret_failed)
{
    const cora_awaitable *what = &items[i];
    const struct operation *operation = what->operation ? operation_of(what) : NULL;
    struct future *future = operation && operation->existing ? operation->existing(what) : NULL;
    bool started = operation && operation->make && !future &&
                   !cora_is_null(cora_as_coro(what->value)) &&
                   cora_coro_state(cora_as_coro(what->value)) != CORA_CORO_CREATED;
    if (started && was_before(items, i))
        return (cora_future){ 0 };
    if (!future)
        future = awaitable_future(loop, what, place);
    *ret_failed = !future || !loop->ev;
    return *ret_failed ? (cora_future){ 0 } : cora_keep(future_handle(future));
}

/* Leaves each future once. False if one is gone: a task factory has released it. */
static bool merge(struct completions *all)
{
    size_t count = 0;
    bool gone = false;
    for (size_t i = 0; i < all->count; i++) {
        struct future *future = future_get(all->entries[i].future);
        gone |= !future;
        if (future && future_has(future, FUTURE_VISITED)) {
            cora_release(all->entries[i].future);
        } else {
            if (future)
                future_mark(future, FUTURE_VISITED);
            all->entries[count++] = all->entries[i];
        }
    }
    all->count = count;
    for (size_t i = 0; i < count; i++) {
        struct future *future = future_find(all->entries[i].future);
        if (future)
            future_unmark(future, FUTURE_VISITED);
    }
    return !gone;
}

/* Keeps the futures of all items. False if one cannot be had. */
static bool collect(struct loop *loop, struct completions *all, const cora_awaitable *items,
                    size_t count, const struct cora_place *place)
{
    bool failed = false;
    for (size_t i = 0; i < count && !failed; i++) {
        cora_future future = item_future(loop, items, i, place, &failed);
        if (!cora_is_null(future))
            all->entries[all->count++] = (struct entry){ .future = future };
    }
    return !failed && merge(all);
}

/* Begins: a callback for each, and the timer. False without memory. */
static bool begin(cora_loop loop, struct completions *all, double timeout)
{
    for (; all->pending < all->count; all->pending++)
        if (cora_add_done_callback(all->entries[all->pending].future,
                                   cora_partial(on_completed, all->own, all->pending)) < 0)
            return false;
    if (all->count > 0 && timeout != INFINITY)
        all->timer = cora_call_later(loop, timeout, cora_partial(on_timeout, all->own));
    all->left = all->count;
    return all->count == 0 || timeout == INFINITY || !cora_is_null(all->timer);
}

/* Closes what could not begin; the thread's last error stays. */
static void give_up(cora_completions handle)
{
    cora_value error = cora_copy(cora_last_error());
    cora_object_close(handle.bits, &completions_type);
    fail_with(error);
    cora_drop(error);
}

cora_completions cora_as_completed_awaitables(cora_loop loop, const cora_awaitable *items,
                                              size_t count, double timeout,
                                              const struct cora_place *place)
{
    cora_completions none = { 0 };
    struct loop *inside = loop_get(loop);
    if (inside && isnan(timeout))
        fail(CORA_EVALUE, "Invalid timeout: NaN (not a number)");
    if (!inside || isnan(timeout))
        return none;
    cora_completions handle = { cora_object_new_at(loop, &completions_type, place) };
    struct completions *all = cora_is_null(handle) ? NULL : completions_get(handle);
    if (!all)
        return none;
    size_t size = count * sizeof(struct entry);
    struct entry *entries =
        count > 0 && count < SIZE_MAX / sizeof *entries ? block_get(size) : NULL;
    if (count > 0 && !entries) {
        cora_object_close(handle.bits, &completions_type);
        fail_with(memory_error());
        return none;
    }
    loop_hold(inside); /* a task factory may close it */
    *all = (struct completions){ .own = handle, .entries = entries, .room = count };
    bool begun = collect(inside, all, items, count, place) && begin(loop, all, timeout);
    if (!inside->ev)
        fail(CORA_ERUNTIME, "Event loop is closed");
    else if (begun)
        object_hold(handle.bits, &completions_type);
    else
        give_up(handle);
    loop_unhold(inside);
    return begun ? handle : none;
}

/* As awaitables, in an array of its own. */
static cora_completions of_handles(cora_loop loop, const cora_future *futures,
                                   const cora_coro *coros, size_t count, double timeout,
                                   const struct cora_place *place)
{
    size_t size = (count + 1) * sizeof(cora_awaitable);
    cora_awaitable *items = count < SIZE_MAX / sizeof *items - 1 ? block_get(size) : NULL;
    if (!items) {
        fail_with(memory_error());
        return (cora_completions){ 0 };
    }
    for (size_t i = 0; i < count; i++)
        items[i] = futures ? cora_awaitable_of(futures[i]) : cora_awaitable_of(coros[i]);
    cora_completions all = cora_as_completed_awaitables(loop, items, count, timeout, place);
    block_put(items, size);
    return all;
}

cora_completions cora_as_completed_futures(cora_loop loop, const cora_future *futures, size_t count,
                                           double timeout, const struct cora_place *place)
{
    return of_handles(loop, futures, NULL, count, timeout, place);
}

cora_completions cora_as_completed_coros(cora_loop loop, const cora_coro *coros, size_t count,
                                         double timeout, const struct cora_place *place)
{
    return of_handles(loop, NULL, coros, count, timeout, place);
}

/* ---- asking for the next ---- */

static const struct cora_operation next_operation, result_operation;

/* The first of the queue: itself, or what came of it. */
static cora_value take(struct completions *all, const struct cora_operation *operation)
{
    cora_future done = all->entries[all->taken++].done;
    if (cora_is_null(done))
        return cora_error(CORA_ETIMEOUT, NULL);
    return operation == &next_operation ? cora_from_future(done) : cora_result(done);
}

static bool next_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    struct completions *all = completions_get(cora_as_completions(what->value));
    bool counts = what->operation == &next_operation; /* others were counted when they were made */
    if (!all) {
        *ret_outcome = cora_last_error();
        return true;
    }
    if (counts ? all->left == 0 : what->option) {
        *ret_outcome = cora_error(CORA_ESTOPASYNCITERATION, NULL);
        return true;
    }
    if (counts)
        all->left--;
    if (all->taken == all->queued)
        return false;
    *ret_outcome = take(all, what->operation);
    return true;
}

static int next_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    struct completions *all = completions_get(cora_as_completions(what->value));
    if (!all)
        return cora_last_error_code();
    cora_waiters_append(&all->waiters, waiter);
    return 0;
}

static enum cora_resumed next_resume(struct cora_waiter *waiter, bool cancelled,
                                     cora_value *ret_outcome)
{
    struct completions *all = completions_get(cora_as_completions(waiter->value));
    bool woken = cora_waiter_was_woken(waiter);
    cora_waiters_remove(waiter);
    if (cancelled) {
        if (all && woken && all->taken < all->queued)
            wake_next(all);
        return CORA_ENDS_CANCELLED;
    }
    if (all && all->taken == all->queued) {
        cora_waiters_append(&all->waiters, waiter);
        return CORA_WAITS;
    }
    *ret_outcome = all ? take(all, waiter->operation) : cora_last_error();
    return CORA_ENDS;
}

static const struct cora_operation next_operation = {
    .name = "next completion",
    .now = next_now,
    .start = next_start,
    .resume = next_resume,
};

static const struct cora_operation result_operation = {
    .name = "next completion",
    .now = next_now,
    .start = next_start,
    .resume = next_resume,
};

cora_awaitable cora_completions_next(cora_completions completions)
{
    return (cora_awaitable){ .operation = &next_operation, .value = cora_from(completions) };
}

cora_awaitable cora_completions_result(cora_completions handle)
{
    struct completions *all = completions_get(handle);
    bool none = all && all->left == 0;
    if (all && !none)
        all->left--;
    return (cora_awaitable){ .operation = &result_operation,
                             .value = cora_from(handle),
                             .option = none };
}
