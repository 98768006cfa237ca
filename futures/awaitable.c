/*
 * How it works: an operation that has been started is a future with a table of functions. Its start
 * registers somewhere (a timer, another future's callbacks) what will wake it; waking queues the
 * future's own slot; when that runs, in the next tick, its resume function looks how things are by
 * then, and ends it. A cancel wakes it, too, and leaves a mark. So the ticks, and what happens in
 * the gap between wake-up and resumption, are those of a task that awaits the operation.
 *
 * cora_when_done starts at once, and its callback runs right where the awaiting task would go on.
 * Everything else (cora_ensure_future, gather, ...) starts a tick later and calls back a tick after
 * the end, as a task would be between them. Until then the awaitable is stored: a number alone in
 * the future itself, anything more in a block.
 */
#include "awaitable.h"

#include "private_coroutine.h"
#include "sleep.h"

/* ---- storing an awaitable for the next tick ---- */

bool awaitable_keep(cora_awaitable *stored, const cora_awaitable *what)
{
    *stored = *what;
    if (!value_keep(what->value, &stored->value))
        return false;
    if (value_keep(what->argument, &stored->argument)) {
        if (!what->operation || !operation_of(what)->keep || operation_of(what)->keep(stored))
            return true;
        cora_drop(stored->argument);
    }
    cora_drop(stored->value);
    return false;
}

bool awaitable_store(struct future *future, const cora_awaitable *what)
{
    if (what->operation == &cora_sleep_operation && !what->value.type) {
        future->as.state.as.number = what->number;
        return true;
    }
    cora_awaitable *stored = block_get(sizeof *stored);
    if (stored) {
        if (awaitable_keep(stored, what)) {
            future->as.state.as.pointer = stored;
            future_mark(future, FUTURE_STORED);
            return true;
        }
        block_put(stored, sizeof *stored);
    }
    fail_with(memory_error());
    return false;
}

/* Takes it out again; what it holds is the caller's. */
static cora_awaitable awaitable_take(const struct future *future)
{
    cora_awaitable what = { .operation = &cora_sleep_operation };
    if (future_has(future, FUTURE_STORED)) {
        what = *(cora_awaitable *)future->as.state.as.pointer;
        block_put(future->as.state.as.pointer, sizeof what);
    } else {
        what.number = future->as.state.as.number;
    }
    return what;
}

void awaitable_drop(cora_awaitable *what)
{
    if (what->operation && operation_of(what)->unkeep)
        operation_of(what)->unkeep(what);
    cora_drop(what->value);
    cora_drop(what->argument);
}

/* ---- an operation's life ---- */

void operation_drop(struct loop *loop, struct future *before)
{
    if (!before->operation)
        return;
    struct cora_counted *cancelled = before->as.state.cancelled;
    if (before->operation->drop && future_phase(before) != FUTURE_STARTING)
        before->operation->drop(loop, before);
    if (future_has(before, FUTURE_STORED)) {
        cora_awaitable what = awaitable_take(before);
        awaitable_drop(&what);
    }
    if (cancelled)
        counted_drop(cancelled);
}

void operation_fail(struct loop *loop, struct future *future, cora_value error)
{
    future_finish(loop, future, FUTURE_FAILED, cora_copy(error));
}

void operation_end(struct loop *loop, struct future *future, cora_value outcome)
{
    cora_value kept;
    if (CORA_LIKELY(cora_is_plain(outcome))) {
        future_finish(loop, future, FUTURE_FINISHED, outcome);
        return;
    }
    if (!value_keep(outcome, &kept))
        kept = cora_copy(memory_error());
    enum future_phase phase = cora_is_error(kept) ? FUTURE_FAILED : FUTURE_FINISHED;
    if (cora_error_code(kept) == CORA_ECANCELLED)
        phase = FUTURE_CANCELLED;
    future_finish(loop, future, phase, kept);
}

void operation_cancelled(struct loop *loop, struct future *future)
{
    struct cora_counted *given = future->as.state.cancelled;
    cora_value cancelled = given ? counted_value(given) : cancelled_error();
    counted_keep(cancelled.as.counted);
    future_finish(loop, future, FUTURE_CANCELLED, cancelled);
}

void future_wake(struct loop *loop, struct future *future)
{
    if (future_phase(future) != FUTURE_PENDING)
        return;
    future_set_phase(future, FUTURE_WOKEN);
    slot_queue(loop, &future->slot);
}

/* Starts it, unless it was cancelled meanwhile. */
static void operation_start(struct loop *loop, struct future *future)
{
    cora_awaitable what = awaitable_take(future);
    future_set_phase(future, FUTURE_PENDING);
    future->as.state.as.pointer = NULL;
    future_unmark(future, FUTURE_STORED);
    if (future_has(future, FUTURE_ASKED))
        operation_cancelled(loop, future);
    else
        operation_of(&what)->start(loop, future, &what);
    awaitable_drop(&what);
}

/*
 * The operation that a task awaits has what it waited for. If the task was cancelled since, that is
 * the operation's now: it gives back what it was given, and ends with it, or goes on all the same.
 * Cancels that come together are one, with the first one's error.
 */
void awaiting_task_asks(struct future *future)
{
    if (!future_has(future, FUTURE_DIRECT))
        return;
    struct slot *slot = slot_at(future->callback.arguments.inline_values[0].as.handle);
    struct task *task = task_of(future_of(slot));
    if (!(task->flags & TASK_MUST_CANCEL))
        return;
    struct cora_counted *cancelled = task_take_cancelled(task);
    if (!future_has(future, FUTURE_ASKED))
        future_ask(future, cancelled);
    else if (cancelled)
        counted_drop(cancelled);
}

bool operation_step(struct loop *loop, struct future *future)
{
    if (future_phase(future) == FUTURE_STARTING) {
        operation_start(loop, future);
    } else {
        if (future_has(future, FUTURE_AWAITED))
            awaiting_task_asks(future);
        future_set_phase(future, FUTURE_PENDING);
        future->operation->resume(loop, future);
    }
    return future_has(future, FUTURE_DIRECT) && future_is_done(future) &&
           future->slot.state == SLOT_WAITING; /* else a drop function has closed the loop */
}

/* ---- giving an awaitable to somebody ---- */

struct future *future_given(struct loop *loop, cora_future handle)
{
    struct future *future = future_get(handle);
    if (CORA_LIKELY(future && future_loop(future) == loop))
        return future;
    if (future)
        fail(CORA_EVALUE,
             "The future belongs to a different loop than the one specified as the loop argument: "
             "it was made in %s (%s:%d)",
             future->place->function, future->place->file, future->place->line);
    return NULL;
}

void future_undo(struct loop *loop, struct future *future)
{
    future_set_phase(future, FUTURE_CANCELLED); /* future_find_used finds nothing pending */
    handle_free(loop, &future->slot);
}

struct future *awaitable_future(struct loop *loop, const cora_awaitable *what,
                                const struct cora_place *place)
{
    if (!what->operation)
        return future_given(loop, cora_as_future(what->value));
    const struct operation *operation = operation_of(what);
    if (operation->make)
        return operation->make(loop, what, place);
    struct future *future = future_new(loop, operation, place);
    if (!future)
        return NULL;
    if (!awaitable_store(future, what)) {
        future_undo(loop, future);
        return NULL;
    }
    future_set_phase(future, FUTURE_STARTING);
    slot_queue(loop, &future->slot);
    return future;
}

cora_future cora_ensure_future_at(cora_loop handle, cora_awaitable what,
                                  const struct cora_place *place)
{
    struct loop *loop = loop_get(handle);
    struct future *future = loop ? awaitable_future(loop, &what, place) : NULL;
    if (!future)
        return (cora_future){ 0 };
    if (what.operation)
        future_hold(loop, future);
    return future_handle(future);
}

/* The loop that runs, or the thread's current one; NULL, and the error is set, if there is none. */
static __attribute__((noinline)) struct loop *loop_of_thread(void)
{
    cora_loop current = cora_current_loop();
    return cora_is_null(current) ? NULL : loop_get(current);
}

cora_future cora_when_done_start(const cora_awaitable *what, cora_done_callback callback,
                                 const struct cora_place *place)
{
    const cora_future none = { 0 };
    if (!what->operation) {
        cora_future itself = cora_as_future(what->value);
        return cora_add_done_callback(itself, callback) < 0 ? none : itself;
    }
    struct loop *loop = cora_thread.running;
    if (CORA_UNLIKELY(cora_thread.running_bits == NO_LOOP_RUNS) && !(loop = loop_of_thread()))
        return none;
    const struct operation *operation = operation_of(what);
    if (CORA_UNLIKELY(operation->when_done))
        return operation->when_done(loop, what, callback, place);
    struct future *future = future_new_fast(loop, place);
    if (CORA_UNLIKELY(!future))
        return none;
    if (CORA_UNLIKELY(!future_add_first(loop, future, callback.partial))) {
        future_undo(loop, future);
        return none;
    }
    cora_future handle = future_handle(future);
    loop_hold(loop);
    if (CORA_LIKELY(operation == &waiter_operation)) {
        waiter_start(loop, future, what);
    } else {
        future->operation = operation;
        future_mark(future, FUTURE_OPERATION);
        operation->start(loop, future, what);
    }
    if (!future_is_done(future) && future->slot.bits == handle.bits)
        future_mark(future, FUTURE_DIRECT);
    loop_unhold(loop);
    return handle;
}
