/*
 * How it works: each of the futures gets a done-callback, bound to the operation, which counts;
 * when enough are done, or the timer fires, the operation wakes. What is done by the time it
 * resumes, a tick later, makes the result.
 *
 * The futures are referenced from the start until the result is given back, so that whoever gets it
 * can read them: they are the values in its two lists.
 */
#include "wait.h"

#include "private_future.h"

#include "reactor/timer.h"

struct wait {
    cora_handle timer;
    size_t unfinished;
    enum cora_return_when return_when;
    size_t room; /* of the array */
    size_t count;
    struct future *futures[]; /* each once, referenced */
};

static size_t wait_size(size_t count)
{
    return sizeof(struct wait) + count * sizeof(struct future *);
}

static struct wait *wait_of(struct future *future)
{
    return future->as.state.as.pointer;
}

static void wait_over(struct future *future)
{
    struct wait *wait = wait_of(future);
    if (!cora_is_null(wait->timer))
        cora_handle_cancel(wait->timer);
    wait->timer = (cora_handle){ 0 };
    future_wake(future_loop(future), future);
}

static void wait_timed_out(cora_args bound)
{
    struct future *future = future_find(cora_arg_future(bound, 0));
    if (!future)
        return;
    wait_of(future)->timer = (cora_handle){ 0 };
    wait_over(future);
}

/* An error that is not cancellation; looking at it is reading it. */
static bool has_failed(struct future *future)
{
    if (future_phase(future) == FUTURE_CANCELLED)
        return false;
    future_read(future);
    return future_phase(future) == FUTURE_FAILED;
}

/* As in asyncio, also for one that was done before the operation, but is told after it. */
static void wait_one_done(cora_args bound, cora_future done)
{
    struct future *future = future_find(cora_arg_future(bound, 0));
    bool late = future_is_done(future);
    struct wait *wait = late ? future->more.block : wait_of(future);
    bool enough = --wait->unfinished == 0 || wait->return_when == CORA_FIRST_COMPLETED ||
                  (wait->return_when == CORA_FIRST_EXCEPTION && has_failed(future_find(done)));
    if (late)
        future_unreference(future_loop(future), future);
    else if (enough)
        wait_over(future);
}

/* The task that awaits the wait which is bound: its first callback wakes it. */
static cora_future waiting_task(cora_args bound)
{
    struct future *future = future_find(cora_arg_future(bound, 0));
    if (!future || !future_has(future, FUTURE_AWAITED) || !future_has(future, FUTURE_CALLBACK))
        return (cora_future){ 0 };
    return cora_arg_future(callback_args(&future->slot, &future->callback), 0);
}

const struct awaiter wait_awaiter = { (cora_function)wait_one_done, waiting_task };

/* Takes back what was registered; those that are told late reference the operation until then. */
static void wait_unregister(struct future *future)
{
    struct wait *wait = wait_of(future);
    size_t counted = wait->count - wait->unfinished, done = 0;
    for (size_t i = 0; i < wait->count; i++) {
        done += future_is_done(wait->futures[i]);
        cora_remove_done_callback(future_handle(wait->futures[i]),
                                  cora_partial(wait_one_done, future_handle(future)));
    }
    for (; counted < done; counted++)
        future_reference(future);
}

/* ---- starting ---- */

/* What is wrong with the arguments; nothing if they are right. */
static cora_value wait_check(struct loop *loop, const cora_awaitable *what)
{
    const cora_future *futures = what->value.as.pointer;
    if (what->count == 0)
        return cora_error(CORA_EVALUE, "Set of Tasks/Futures is empty.");
    if (what->option < CORA_ALL_COMPLETED || what->option > CORA_FIRST_EXCEPTION)
        return cora_error(CORA_EVALUE, "Invalid return_when value: %d", what->option);
    if (what->value.type == &cora_type_coro)
        return cora_error(CORA_ETYPE, "Passing coroutines is forbidden, use tasks explicitly: "
                                      "cora_wait of what cora_create_task(loop, coroutine) gives");
    if (isnan(what->number))
        return cora_error(CORA_EVALUE, "Invalid timeout: NaN (not a number)");
    for (size_t i = 0; i < what->count; i++)
        if (!future_given(loop, futures[i]))
            return cora_last_error();
    return cora_nothing();
}

/* Registers with each of the futures once. False without memory. */
static bool wait_register(struct loop *loop, struct future *future, const cora_awaitable *what)
{
    struct wait *wait = wait_of(future);
    const cora_future *futures = what->value.as.pointer;
    bool added = true;
    for (size_t i = 0; i < what->count && added; i++) {
        struct future *one = future_find(futures[i]);
        if (future_has(one, FUTURE_VISITED))
            continue;
        added = future_add_callback(loop, one,
                                    cora_partial(wait_one_done, future_handle(future)).partial);
        if (!added)
            break;
        future_mark(one, FUTURE_VISITED);
        future_reference(one);
        wait->futures[wait->count++] = one;
        wait->unfinished++;
    }
    for (size_t i = 0; i < wait->count; i++)
        future_unmark(wait->futures[i], FUTURE_VISITED);
    return added;
}

static void wait_start(struct loop *loop, struct future *future, const cora_awaitable *what)
{
    cora_value wrong = wait_check(loop, what);
    struct wait *wait = NULL;
    if (cora_is_nothing(wrong) && !(wait = block_get(wait_size(what->count))))
        wrong = memory_error();
    if (!cora_is_nothing(wrong)) {
        operation_fail(loop, future, wrong);
        return;
    }
    *wait =
        (struct wait){ .return_when = (enum cora_return_when)what->option, .room = what->count };
    future->as.state.as.pointer = wait;
    bool timed = what->number < INFINITY;
    if (timed)
        wait->timer = cora_call_later(loop_handle(loop), what->number,
                                      cora_partial(wait_timed_out, future_handle(future)));
    if ((!timed || !cora_is_null(wait->timer)) && wait_register(loop, future, what))
        return;
    wait_unregister(future);
    operation_fail(loop, future, memory_error());
}

/* ---- ending ---- */

/* The two lists; an error without memory. */
static cora_value wait_result(const struct wait *wait)
{
    size_t counts[2] = { 0, 0 };
    for (size_t i = 0; i < wait->count; i++)
        counts[!future_is_done(wait->futures[i])]++;
    cora_value result = list_new(2), lists[2] = { list_new(counts[0]), list_new(counts[1]) };
    if (cora_is_error(result) || cora_is_error(lists[0]) || cora_is_error(lists[1])) {
        cora_drop(result);
        cora_drop(lists[0]);
        cora_drop(lists[1]);
        return memory_error();
    }
    for (size_t i = 0; i < wait->count; i++)
        list_add(lists[!future_is_done(wait->futures[i])],
                 cora_from_future(future_handle(wait->futures[i])));
    list_add(result, lists[0]);
    list_add(result, lists[1]);
    return result;
}

static void wait_resume(struct loop *loop, struct future *future)
{
    wait_unregister(future);
    if (future_has(future, FUTURE_ASKED)) {
        operation_cancelled(loop, future);
        return;
    }
    cora_value result = wait_result(wait_of(future));
    if (cora_is_error(result))
        operation_fail(loop, future, result);
    else
        future_finish(loop, future, FUTURE_FINISHED, result);
}

static void wait_drop(struct loop *loop, struct future *before)
{
    struct wait *wait = wait_of(before);
    if (wait && loop->ev && !cora_is_null(wait->timer))
        cora_handle_cancel(wait->timer);
}

static void wait_free(struct loop *loop, void *block)
{
    struct wait *wait = block;
    for (size_t i = 0; i < wait->count && loop->ev; i++)
        future_unreference_now(loop, wait->futures[i]);
    block_put(wait, wait_size(wait->room));
}

/* ---- the awaitable ---- */

/* Copies the array, which is borrowed. */
static bool wait_keep(cora_awaitable *what)
{
    size_t size = what->count * sizeof(cora_future);
    if (size == 0 || what->value.type == &cora_type_coro)
        return true;
    void *copy = block_get(size);
    if (copy)
        memcpy(copy, what->value.as.pointer, size);
    what->value = cora_pointer(copy);
    return copy != NULL;
}

static void wait_unkeep(cora_awaitable *what)
{
    if (what->count > 0 && what->value.type != &cora_type_coro)
        block_put(what->value.as.pointer, what->count * sizeof(cora_future));
}

/* Those that are not done are still held: they will be waited for again. */
static void wait_taken(struct loop *loop, struct future *future)
{
    const struct wait *wait = future->more.block;
    for (size_t i = 0; wait && i < wait->count; i++)
        if (future_is_done(wait->futures[i]))
            future_taken(loop, wait->futures[i]);
}

static const struct operation wait_operation = {
    .name = "wait",
    .start = wait_start,
    .resume = wait_resume,
    .keep = wait_keep,
    .unkeep = wait_unkeep,
    .drop = wait_drop,
    .free = wait_free,
    .taken = wait_taken,
};

static const struct cora_operation wait_awaitable = { .name = "wait", .own = &wait_operation };

cora_awaitable cora_wait_futures(const cora_future *futures, size_t count, double timeout,
                                 enum cora_return_when return_when)
{
    cora_awaitable wait = { .operation = &wait_awaitable,
                            .value = cora_pointer(futures),
                            .number = timeout,
                            .count = count,
                            .option = (int)return_when };
    return wait;
}

/* They are not looked at: the first, or none, stands for all. */
cora_awaitable cora_wait_coros(const cora_coro *coros, size_t count, double timeout,
                               enum cora_return_when return_when)
{
    cora_awaitable wait = cora_wait_futures(NULL, count, timeout, return_when);
    wait.value = cora_from_coro(count > 0 ? coros[0] : (cora_coro){ 0 });
    return wait;
}
