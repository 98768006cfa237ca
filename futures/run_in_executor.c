/*
 * How it works: work for a loop has a callback of its own (cora_call_in_executor), which completes
 * a future, or wakes an operation that is awaited. A done-callback of the future cancels the work
 * when the future was cancelled, a tick later, as asyncio's chain does.
 *
 * What crosses from a thread future to a loop, or back, has a block with the letters in it that may
 * be needed, so that nothing that was promised can fail for want of memory. Such a block has two
 * owners: the loop's side, as a value that a done-callback is bound to, and that is dropped however
 * the loop's side ends; and the thread future, until that is done.
 */
#include "run_in_executor.h"

#include "private_coroutine.h"

#include "reactor/context.h"
#include "reactor/private_thread_future.h"
#include "reactor/timer.h"

#include <stdio.h>
#include <stdlib.h>

/* Completes a future of a loop, if it is pending still. */
static void future_complete(cora_future handle, cora_value outcome)
{
    struct future *future = future_find(handle);
    if (future && future_phase(future) == FUTURE_PENDING)
        operation_end(future_loop(future), future, outcome);
}

/* ---- work as a future ---- */

static void on_outcome(cora_args bound, cora_value outcome)
{
    future_complete(cora_arg_future(bound, 0), outcome);
}

/* The future is done: if it was cancelled, so is the work. */
static void on_over(cora_args bound, cora_future done)
{
    if (cora_cancelled(done))
        cora_handle_cancel(cora_arg_handle(bound, 0));
}

cora_future cora_run_in_executor_at(cora_loop handle, cora_executor executor, cora_work work,
                                    const struct cora_place *place)
{
    const cora_future none = { 0 };
    struct loop *loop = loop_get(handle);
    struct future *future = loop ? future_new(loop, NULL, place) : NULL;
    if (!future)
        return none;
    cora_future promised = future_handle(future);
    cora_handle told =
        call_in_executor(loop, executor, work, false, cora_partial(on_outcome, promised));
    if (cora_is_null(told)) {
        if (future_find(promised))
            future_undo(loop, future);
        return none;
    }
    cora_done_callback over = cora_partial(on_over, told);
    if (!future_add_callback(loop, future, over.partial)) {
        future_undo(loop, future);
        cora_handle_cancel(told);
        return none;
    }
    future_hold(loop, future);
    return promised;
}

/* ---- work as an operation ---- */

/* The work as it was given, with its arguments and context. */
static void stored_work_drop(void *pointer)
{
    work_drop(pointer);
    block_put(pointer, sizeof(struct work));
}

static const cora_type stored_work_type = { "work", stored_work_drop, NULL, 0 };

struct thread_waiter {
    struct cora_waiter waiter;
    cora_handle told;   /* of the callback that wakes it */
    cora_value outcome; /* counted */
};

static void on_thread_told(cora_args bound, cora_value outcome)
{
    struct thread_waiter *waiter = cora_arg(bound, 0, struct thread_waiter *);
    if (!value_keep(outcome, &waiter->outcome))
        waiter->outcome = cora_copy(memory_error());
    cora_waiter_wake(&waiter->waiter);
}

static int to_thread_start(struct cora_waiter *base, const cora_awaitable *what)
{
    struct thread_waiter *waiter = (struct thread_waiter *)base;
    const struct work *stored = cora_as_pointer(what->value);
    cora_args bound = work_args(stored);
    struct cora_partial partial = { stored->callback.function,
                                    stored->callback.place,
                                    bound.values,
                                    (uint32_t)bound.count,
                                    0,
                                    NULL };
    struct cora_counted *current = cora_thread.context;
    cora_thread.context = stored->slot.flags & CALLBACK_CONTEXT ? stored->callback.context : NULL;
    waiter->told =
        call_in_executor(future_loop(base->future), (cora_executor){ 0 }, (cora_work){ &partial },
                         true, cora_partial(on_thread_told, waiter));
    cora_thread.context = current;
    return cora_is_null(waiter->told) ? cora_last_error_code() : 0;
}

static enum cora_resumed to_thread_resume(struct cora_waiter *base, bool cancelled,
                                          cora_value *ret_outcome)
{
    struct thread_waiter *waiter = (struct thread_waiter *)base;
    if (cancelled)
        return CORA_ENDS_CANCELLED;
    *ret_outcome = waiter->outcome;
    return CORA_ENDS;
}

static void to_thread_drop(struct cora_waiter *base)
{
    struct thread_waiter *waiter = (struct thread_waiter *)base;
    cora_value outcome = waiter->outcome;
    cora_handle told = waiter->told;
    bool gone = base->gone;
    waiter->outcome = cora_nothing();
    if (!gone && !cora_is_null(told)) {
        cora_value last = cora_copy(cora_last_error());
        cora_handle_cancel(told);
        fail_with(last);
        cora_drop(last);
    }
    cora_drop(outcome);
}

cora_awaitable cora_to_thread(cora_work work)
{
    static const struct cora_operation operation = {
        .name = "to_thread",
        .start = to_thread_start,
        .resume = to_thread_resume,
        .size = sizeof(struct thread_waiter),
        .drop = to_thread_drop,
    };
    struct work *stored = block_get(sizeof *stored);
    if (!stored)
        return cora_ready(memory_error());
    if (!work_init(stored, work)) {
        block_put(stored, sizeof *stored);
        return cora_ready(error_again(cora_last_error()));
    }
    work_take_context(stored);
    cora_value value = cora_own(stored, &stored_work_type);
    if (cora_is_error(value))
        return cora_ready(value);
    return (cora_awaitable){ .operation = &operation, .value = value };
}

/* ---- the end of the default executor ---- */

struct ended_waiter {
    struct cora_waiter waiter;
    cora_handle ended, timer;
    bool in_time;
    double timeout;
};

static void on_ended(cora_args bound, cora_value outcome)
{
    struct ended_waiter *waiter = cora_arg(bound, 0, struct ended_waiter *);
    (void)outcome;
    waiter->in_time = true;
    cora_waiter_wake(&waiter->waiter);
}

static void on_timeout(cora_args bound)
{
    cora_waiter_wake(&cora_arg(bound, 0, struct ended_waiter *)->waiter);
}

static bool shutdown_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    struct loop *loop = loop_get(cora_as_loop(what->value));
    *ret_outcome = cora_nothing();
    if (!loop)
        *ret_outcome = cora_last_error();
    else if (isnan(what->number))
        *ret_outcome = cora_error(CORA_EVALUE, "Invalid time-out: NaN (not a number)");
    else
        loop->default_is_shut = true;
    return !loop || isnan(what->number) || cora_is_null(loop->default_executor);
}

static int shutdown_start(struct cora_waiter *base, const cora_awaitable *what)
{
    struct ended_waiter *waiter = (struct ended_waiter *)base;
    struct loop *loop = future_loop(base->future);
    cora_executor executor = loop->default_executor;
    waiter->timeout = what->number;
    waiter->ended = executor_call_when_ended(loop, executor, cora_partial(on_ended, waiter));
    if (cora_is_null(waiter->ended))
        return cora_last_error_code();
    if (what->number < INFINITY) {
        waiter->timer = cora_call_later(loop_handle(loop), what->number > 0 ? what->number : 0,
                                        cora_partial(on_timeout, waiter));
        if (cora_is_null(waiter->timer))
            return cora_last_error_code();
    }
    return cora_executor_shutdown(executor, .no_wait = true);
}

static enum cora_resumed shutdown_resume(struct cora_waiter *base, bool cancelled,
                                         cora_value *ret_outcome)
{
    const struct ended_waiter *waiter = (struct ended_waiter *)base;
    char message[120];
    (void)ret_outcome;
    if (cancelled)
        return CORA_ENDS_CANCELLED;
    if (waiter->in_time)
        return CORA_ENDS;
    snprintf(message, sizeof message,
             "The executor did not finish joining its threads within %g seconds", waiter->timeout);
    report_plain(future_loop(base->future), message, cora_nothing(), NULL);
    return CORA_ENDS;
}

static void shutdown_drop(struct cora_waiter *base)
{
    const struct ended_waiter *waiter = (struct ended_waiter *)base;
    cora_handle handles[] = { waiter->ended, waiter->timer };
    bool gone = base->gone;
    cora_value last = cora_copy(cora_last_error());
    for (size_t i = 0; !gone && i < 2; i++)
        if (!cora_is_null(handles[i]))
            cora_handle_cancel(handles[i]);
    fail_with(last);
    cora_drop(last);
}

cora_awaitable cora_shutdown_default_executor(cora_loop loop, double timeout)
{
    static const struct cora_operation operation = {
        .name = "shutdown_default_executor",
        .now = shutdown_now,
        .start = shutdown_start,
        .resume = shutdown_resume,
        .size = sizeof(struct ended_waiter),
        .drop = shutdown_drop,
    };
    return (cora_awaitable){ .operation = &operation,
                             .value = cora_from_loop(loop),
                             .number = timeout };
}

/* ---- between a loop's future and a thread future ---- */

/* Either a task that a thread has asked for, or a future that stands for a thread future. */
struct link {
    atomic_uint owners; /* the loop's side, the thread future's, a letter on its way */
    cora_loop loop;
    cora_future inside;         /* of the loop: the task, the future; only for the loop's thread */
    cora_thread_future outside; /* kept until the loop's side is over */
    struct thread_done done;
    struct letter letter;         /* to the loop: begin, be cancelled; or: it is done */
    cora_value own;               /* what the loop's side is bound to, until it is; counted */
    cora_awaitable what;          /* to become the task, until it does; kept */
    struct cora_counted *context; /* for the task, until it is made; counted */
    bool told;                    /* the thread future has its outcome, or nobody wants it */
    const struct cora_place *place;
};

static void link_leave(struct link *link)
{
    if (atomic_fetch_sub_explicit(&link->owners, 1, memory_order_acq_rel) == 1)
        free(link);
}

static struct link *link_of(const struct thread_done *done)
{
    return (struct link *)(void *)((char *)(uintptr_t)done - offsetof(struct link, done));
}

/*
 * A link, with its loop's side in link->own, which this type drops; NULL without memory. Takes over
 * one reference to the thread future.
 */
static struct link *link_new(cora_loop loop, cora_thread_future outside, const cora_type *type,
                             const struct cora_place *place)
{
    struct link *link = malloc(sizeof *link);
    if (!link) {
        cora_thread_future_release(outside);
        fail_with(memory_error());
        return NULL;
    }
    *link = (struct link){ .loop = loop, .outside = outside, .place = place };
    atomic_init(&link->owners, 1);
    struct cora_counted *own = owned_new(link, type);
    if (!own) {
        cora_thread_future_release(outside);
        free(link);
        fail_with(memory_error());
        return NULL;
    }
    link->own = counted_value(own);
    return link;
}

/* Lets it know when the thread future is done, which may be now. */
static void link_watch(struct link *link,
                       void (*done)(struct thread_done *done, const cora_thread_future *future))
{
    link->done.call = done;
    atomic_fetch_add_explicit(&link->owners, 1, memory_order_relaxed);
    if (!thread_future_add(link->outside, &link->done))
        link_leave(link);
}

/* The loop's side is over. */
static void link_end(struct link *link)
{
    if (thread_future_remove(link->outside, &link->done))
        link_leave(link);
    cora_thread_future_release(link->outside);
    link_leave(link);
}

/* ---- a thread future in a loop ---- */

static void wrapped_drop(void *pointer)
{
    link_end(pointer);
}

static const cora_type wrapped_type = { "wrapped future", wrapped_drop, NULL, 0 };

static void on_wrapped_arrived(struct loop *loop, struct letter *letter)
{
    struct link *link = (struct link *)(void *)((char *)letter - offsetof(struct link, letter));
    if (loop && future_find(link->inside) && !cora_done(link->inside))
        future_complete(link->inside, cora_thread_future_result(link->outside, 0));
    link_leave(link);
}

/* The thread future is done. */
static void on_source_done(struct thread_done *done, const cora_thread_future *future)
{
    struct link *link = link_of(done);
    (void)future;
    if (!letter_send(link->loop, &link->letter))
        link_leave(link);
}

static void on_wrapper_over(cora_args bound, cora_future done)
{
    if (cora_cancelled(done))
        cora_thread_future_cancel(((struct link *)cora_arg_pointer(bound, 0))->outside);
}

cora_future cora_wrap_future_at(cora_loop handle, cora_thread_future source,
                                const struct cora_place *place)
{
    const cora_future none = { 0 };
    if (cora_is_null(handle) && cora_is_null(handle = cora_current_loop()))
        return none;
    struct loop *loop = loop_get(handle);
    if (!loop || cora_is_null(cora_thread_future_keep(source)))
        return none;
    struct link *link = link_new(handle, source, &wrapped_type, place);
    if (!link)
        return none;
    cora_value own = link->own;
    struct future *future = future_new(loop, NULL, place);
    cora_done_callback over = cora_partial(on_wrapper_over, own);
    if (future && !future_add_callback(loop, future, over.partial)) {
        future_undo(loop, future);
        future = NULL;
    }
    if (future) {
        future_hold(loop, future);
        link->inside = future_handle(future);
        letter_init(&link->letter, on_wrapped_arrived);
        link_watch(link, on_source_done);
    }
    cora_drop(own);
    return future ? future_handle(future) : none;
}

/* ---- a coroutine of another thread's in a loop ---- */

/* What was to become a task has not. */
static void what_drop(struct link *link)
{
    cora_awaitable what = link->what;
    struct cora_counted *context = link->context;
    link->what = (cora_awaitable){ 0 };
    link->context = NULL;
    if (!what.operation)
        return;
    coroutine_receive(what);
    awaitable_close(what);
    awaitable_drop(&what);
    if (context)
        counted_drop(context);
}

/* The thread future gets this outcome, unless it is cancelled. */
static void tell_outside(struct link *link, cora_value outcome)
{
    link->told = true;
    cora_value last = cora_copy(cora_last_error());
    if (cora_error_code(outcome) == CORA_ECANCELLED)
        cora_thread_future_cancel(link->outside);
    if (!cora_thread_future_set_running_or_notify_cancel(link->outside))
        fail_with(last);
    else if (cora_is_error(outcome))
        cora_thread_future_set_exception(link->outside, outcome);
    else
        cora_thread_future_set_result(link->outside, outcome);
    cora_drop(last);
}

/* The loop's side is over; without having told anything, if the loop was closed. */
static void asked_drop(void *pointer)
{
    struct link *link = pointer;
    what_drop(link);
    if (!link->told)
        tell_outside(link, cora_error(CORA_ERUNTIME, "Event loop is closed"));
    link_end(link);
}

static const cora_type asked_type = { "asked task", asked_drop, NULL, 0 };

static void on_task_over(cora_args bound, cora_future task)
{
    tell_outside(cora_arg_pointer(bound, 0), cora_result(task));
}

static void on_cancel_arrived(struct loop *loop, struct letter *letter)
{
    struct link *link = (struct link *)(void *)((char *)letter - offsetof(struct link, letter));
    if (loop)
        cora_cancel(link->inside);
    link_leave(link);
}

/* The thread future is done: if it was cancelled, so is the task; at once in its own thread. */
static void on_asked_done(struct thread_done *done, const cora_thread_future *future)
{
    struct link *link = link_of(done);
    bool cancelled = future && cora_thread_future_cancelled(*future);
    if (cancelled && cora_thread.running_bits != link->loop.bits) {
        letter_init(&link->letter, on_cancel_arrived); /* the first one has arrived */
        if (letter_send(link->loop, &link->letter))
            return;
    } else if (cancelled) {
        cora_cancel(link->inside);
    }
    link_leave(link);
}

/* Makes the task, in the context of who has asked. Null, and the error is set. */
static cora_future link_task(struct link *link)
{
    struct cora_counted *outer = cora_thread.context;
    cora_awaitable what = link->what;
    coroutine_receive(what);
    cora_thread.context = link->context;
    cora_future task = task_create(link->loop, what, NULL, link->place);
    cora_thread.context = outer;
    link->what.operation = NULL;
    awaitable_drop(&what);
    if (link->context)
        counted_drop(link->context);
    link->context = NULL;
    return task;
}

static void on_asked_arrived(struct loop *loop, struct letter *letter)
{
    struct link *link = (struct link *)(void *)((char *)letter - offsetof(struct link, letter));
    cora_value own = link->own;
    link->own = cora_nothing();
    cora_future task = loop ? link_task(link) : (cora_future){ 0 };
    if (loop &&
        (cora_is_null(task) || cora_add_done_callback(task, cora_partial(on_task_over, own)) < 0)) {
        cora_value error = error_again(cora_last_error());
        tell_outside(link, error);
        report_plain(loop, "Exception in callback run_coroutine_threadsafe()", error, link->place);
    } else if (loop) {
        link->inside = task;
        link_watch(link, on_asked_done);
    }
    cora_drop(own);
}

/* A future or a generator is refused, as in asyncio. */
static bool is_asked_for(const cora_awaitable *what)
{
    if (what->operation && coroutine_send(*what))
        return true;
    if (!what->operation)
        fail(CORA_ETYPE, "A coroutine object is required");
    return false;
}

/* The link of a thread future just made to what is to become its task; NULL without memory. */
static struct link *link_asked(cora_loop loop, cora_thread_future asked, cora_awaitable what,
                               const struct cora_place *place)
{
    cora_awaitable kept;
    if (!awaitable_keep(&kept, &what)) {
        fail_with(memory_error());
        return NULL;
    }
    struct link *link = link_new(loop, cora_thread_future_keep(asked), &asked_type, place);
    if (!link) {
        awaitable_drop(&kept);
        return NULL;
    }
    link->what = kept;
    link->context = cora_thread.context;
    if (link->context)
        counted_keep(link->context);
    letter_init(&link->letter, on_asked_arrived);
    return link;
}

cora_thread_future cora_run_coroutine_threadsafe_at(cora_loop loop, cora_awaitable what,
                                                    const struct cora_place *place)
{
    const cora_thread_future none = { 0 };
    if (!is_asked_for(&what))
        return none;
    cora_thread_future asked = cora_thread_future_new_at(place);
    struct link *link = cora_is_null(asked) ? NULL : link_asked(loop, asked, what, place);
    if (link && letter_send(loop, &link->letter))
        return asked;
    if (link) {
        fail(CORA_ERUNTIME, "Event loop is closed");
        link->told = true;
        cora_drop(link->own);
    } else {
        coroutine_receive(what);
        awaitable_close(what);
    }
    if (!cora_is_null(asked))
        cora_thread_future_release(asked);
    return none;
}

/* ---- waiting for several ---- */

/* Adds each to one of two lists, once: it may be done while this goes on. */
static void lists_fill(cora_value done, cora_value others, const cora_thread_future *futures,
                       size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t before = 0;
        while (!cora_same(futures[before], futures[i]))
            before++;
        if (before < i)
            continue;
        bool over = thread_futures_wait(&futures[i], 1, 0, THREAD_WAIT_ALL) == 1;
        list_add(over ? done : others, cora_from_thread_future(futures[i]));
    }
}

cora_value cora_thread_futures_wait(const cora_thread_future *futures, size_t count, double timeout,
                                    enum cora_return_when return_when)
{
    static const enum thread_wait waits[] = {
        [CORA_ALL_COMPLETED] = THREAD_WAIT_ALL,
        [CORA_FIRST_COMPLETED] = THREAD_WAIT_FIRST,
        [CORA_FIRST_EXCEPTION] = THREAD_WAIT_FAILURE,
    };
    if (isnan(timeout) || return_when > CORA_FIRST_EXCEPTION)
        return cora_error(CORA_EVALUE, "a time-out that is not a number, or an unknown rule");
    thread_futures_wait(futures, count, timeout, waits[return_when]);
    cora_value lists[] = { cora_temporary(list_new(count)), cora_temporary(list_new(count)) };
    for (size_t i = 0; i < 2; i++)
        if (cora_is_error(lists[i]))
            return lists[i];
    lists_fill(lists[0], lists[1], futures, count);
    return cora_list(lists, 2);
}
