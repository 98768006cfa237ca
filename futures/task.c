/*
 * How it works: a task is a future with a longer slot. Its own slot is queued for the first step,
 * and after a bare yield; what it awaits has a done-callback that is the task's wake-up, so that it
 * goes on at its place among the callbacks of that future, as in asyncio. Of an operation that the
 * coroutine started itself the wake-up is called right where that ends.
 *
 * A cancel goes by the walk of gather's cancels: a task's one child is what it awaits. If that
 * could not be cancelled, the task must be: Cancelled is raised when it goes on.
 *
 * An operation of operation.h that it awaits has no future: it is the task's own slot that is
 * queued when the operation is woken, or cancelled; and the outcome goes into the coroutine.
 *
 * While a step runs the task's context variables are the thread's.
 */
#include "task.h"

#include "private_coroutine.h"

#include "reactor/timer.h"

#include <stdio.h>

static atomic_uint names; /* Task-N */

static const struct operation task_operation;

/* ---- finding one ---- */

/* The task of this handle; NULL, and the error is set. */
struct task *task_get(cora_future handle)
{
    struct future *future = future_get(handle);
    if (future && !is_task(future)) {
        fail(CORA_ETYPE, "a task was expected: the future made in %s (%s:%d) is none",
             future->place->function, future->place->file, future->place->line);
        return NULL;
    }
    return future ? task_of(future) : NULL;
}

/* ---- its end ---- */

/* The coroutine has returned; one that was cancelled meanwhile is cancelled all the same. */
static void task_returned(struct loop *loop, struct task *task, cora_value value)
{
    if (CORA_LIKELY(!(task->flags & TASK_MUST_CANCEL))) {
        future_finish(loop, &task->future, FUTURE_FINISHED, value);
        return;
    }
    struct cora_counted *cancelled = task_take_cancelled(task);
    cora_value error = cancelled ? counted_value(cancelled) : cora_copy(cancelled_error());
    future_finish(loop, &task->future, FUTURE_CANCELLED, error);
    cora_drop(value);
}

static void task_raised(struct loop *loop, struct task *task, cora_value error)
{
    bool cancelled = cora_error_code(error) == CORA_ECANCELLED;
    task->flags &= ~(uint32_t)(TASK_MUST_CANCEL | TASK_ERROR); /* their error goes with the state */
    if (CORA_UNLIKELY(error_is_fatal(error)) && !(task->flags & TASK_EAGER))
        loop_fail(loop, error); /* of an eager task it fails who makes it */
    future_finish(loop, &task->future, cancelled ? FUTURE_CANCELLED : FUTURE_FAILED, error);
}

/* ---- waiting ---- */

static void task_wakeup(cora_args bound, cora_future done);

static const struct cora_place wakeup_place = { "Task.task_wakeup", __FILE__, __LINE__,
                                                "cora_await" };

/* Goes on in the next tick, with this error. */
static void task_raise_later(struct loop *loop, struct task *task, cora_value error)
{
    struct cora_counted *before = task_take_cancelled(task);
    task->future.as.state.cancelled = cora_copy(error).as.counted;
    task->flags |= TASK_ERROR;
    future_wake(loop, &task->future);
    if (before)
        counted_drop(before);
}

/* Ends its sleep: Cancelled is raised in the next tick. The error is the given one, or its own. */
static void sleep_cancel(struct loop *loop, struct task *task, struct cora_counted *cancelled)
{
    cora_handle_cancel((cora_handle){ task->as.top->awaited });
    task->as.top->awaited = 0;
    struct cora_counted *own = task_take_cancelled(task);
    if (!cancelled)
        cancelled = own ? own : cancelled_error().as.counted;
    task->flags &= ~(uint32_t)TASK_SLEEPING;
    task_raise_later(loop, task, counted_value(cancelled));
    if (own)
        counted_drop(own);
}

/* Why it cannot await this: itself, or a future of another loop. */
static __attribute__((cold)) cora_value await_error(struct task *task, struct future *future)
{
    char what[300];
    cora_future_print(future_handle(&task->future), what, sizeof what);
    if (future == &task->future)
        return cora_error(CORA_ERUNTIME, "Task cannot await on itself: %s", what);
    return cora_error(CORA_ERUNTIME,
                      "Task %s got a future attached to a different loop, made in %s (%s:%d)", what,
                      future->place->function, future->place->file, future->place->line);
}

/* The wake-up runs in no context of its own: the task has one. */
static __attribute__((noinline)) bool add_wakeup_slow(struct loop *loop, struct task *task,
                                                      struct future *future)
{
    cora_value bound = cora_from_future(future_handle(&task->future));
    struct cora_partial partial = { (cora_function)task_wakeup, &wakeup_place, &bound, 1, 1, NULL };
    struct cora_counted *context = cora_thread.context;
    cora_thread.context = NULL;
    bool added = future_add_callback(loop, future, &partial);
    cora_thread.context = context;
    return added;
}

/* The usual case: it is the future's first callback. */
static inline bool add_wakeup(struct loop *loop, struct task *task, struct future *future)
{
    if (CORA_UNLIKELY(future_has(future, FUTURE_CALLBACK | FUTURE_FURTHER | FUTURE_FINISHED)))
        return add_wakeup_slow(loop, task, future);
    struct callback *callback = &future->callback;
    callback->function = (cora_function)task_wakeup;
    callback->place = &wakeup_place;
    callback->arguments.inline_values[0] = cora_from_future(future_handle(&task->future));
    future->slot.flags = 0;
    future->slot.count = 1;
    future_mark(future, FUTURE_CALLBACK);
    return true;
}

static void cancel_awaited(struct task *task, struct future *future)
{
    cora_value cancelled = cancelled_error();
    struct cora_counted *given = task->future.as.state.cancelled;
    if (given)
        cancelled = counted_value(given);
    if (!future_cancel(future, cancelled))
        return;
    task_take_cancelled(task);
    if (given)
        counted_drop(given);
}

/* Its coroutine awaits this pending future. */
static void task_suspend(struct loop *loop, struct task *task, struct future *future)
{
    if (CORA_UNLIKELY(future == &task->future || future_loop(future) != loop)) {
        future_mark(future, FUTURE_BLOCKED);
        hold_made(task->as.top, future->slot.bits); /* if it was made just now */
        task_raise_later(loop, task, await_error(task, future));
        return;
    }
    if (CORA_UNLIKELY(!add_wakeup(loop, task, future))) {
        hold_made(task->as.top, future->slot.bits);
        task_raise_later(loop, task, memory_error());
        return;
    }
    future_given_up(task->as.top, future);
    if (future_has(future, FUTURE_AWAITED) &&
        future->callback.function == (cora_function)task_wakeup)
        future_mark(future, FUTURE_DIRECT); /* else the program has registered before */
    task->flags |= TASK_SUSPENDED;
    if (CORA_UNLIKELY(task->flags & TASK_MUST_CANCEL))
        cancel_awaited(task, future);
}

/* ---- an operation of its own ---- */

/* It is over. False if the loop was closed meanwhile. */
static bool operation_gives_back(struct task *task)
{
    if (!waiter_give_back(task_waiter(task)))
        return false;
    task->future.as.state.as.pointer = task;
    task->flags &= ~(uint32_t)TASK_OPERATING;
    return true;
}

int task_begin_operation(struct loop *loop, struct task *task, const cora_awaitable *what)
{
    task->flags |= TASK_OPERATING;
    int code = waiter_new(loop, &task->future, what);
    if (CORA_LIKELY(code >= 0))
        return 0;
    if (task->future.as.state.as.pointer == task) {
        task->flags &= ~(uint32_t)TASK_OPERATING; /* it was not even made */
        return code;
    }
    cora_value error = cora_copy(cora_last_error());
    operation_gives_back(task);
    fail_with(error);
    cora_drop(error);
    return code;
}

void task_abandon_operation(struct task *task)
{
    struct cora_waiter *waiter = task_waiter(task);
    if (CORA_UNLIKELY(waiter->busy)) {
        future_mark(&task->future, FUTURE_ASKED); /* its own function awaits something */
        return;
    }
    future_unmark(&task->future, FUTURE_ASKED);
    if (waiter_abandon(waiter))
        operation_gives_back(task);
}

/* Its loop is being closed. */
static void operation_close(struct task *task)
{
    struct cora_waiter *waiter = task_waiter(task);
    task->future.as.state.as.pointer = task;
    task->flags &= ~(uint32_t)TASK_OPERATING;
    waiter->gone = true;
    if (!waiter->busy)
        waiter_give_back(waiter);
}

/* The task was cancelled: the operation, which waits, is. */
static inline void operation_asks(struct task *task)
{
    task->flags &= ~(uint32_t)TASK_MUST_CANCEL;
    future_mark(&task->future, FUTURE_ASKED);
}

/* Its coroutine awaits it. */
static inline void task_operates(struct loop *loop, struct task *task)
{
    if (CORA_UNLIKELY(task->flags & TASK_MUST_CANCEL))
        operation_asks(task);
    if (CORA_UNLIKELY(task_waiter(task)->woken || future_has(&task->future, FUTURE_ASKED)))
        future_wake(loop, &task->future);
}

/* It waits again; it may be cancelled with an error that it was given before. */
static __attribute__((noinline)) void operation_waits(struct loop *loop, struct task *task,
                                                      struct cora_counted *cancelled)
{
    struct cora_waiter *waiter = task_waiter(task);
    waiter->woken = false;
    if (!(task->flags & TASK_MUST_CANCEL)) {
        task->future.as.state.cancelled = cancelled;
        cancelled = NULL;
        if (waiter->again)
            cora_waiter_wake(waiter);
    }
    task_operates(loop, task);
    if (cancelled)
        counted_drop(cancelled);
}

/* ---- sleeping ---- */

/* Its timer has fired: as the future of asyncio's sleep, which wakes the task a tick later. */
static void task_slept(cora_args bound)
{
    struct task *task = task_of(future_of(slot_at(bound.values[0].as.handle)));
    task->flags &= ~(uint32_t)TASK_SLEEPING;
    task->as.top->awaited = 0;
    future_wake(future_loop(&task->future), &task->future);
}

static void task_sleep(struct loop *loop, struct task *task, double until)
{
    if (until == 0) {
        future_wake(loop, &task->future);
        return;
    }
    struct cora_counted *context = cora_thread.context;
    cora_thread.context = NULL; /* the task has its own */
    cora_handle timer = cora_call_at(loop_handle(loop), until,
                                     cora_partial(task_slept, future_handle(&task->future)));
    cora_thread.context = context;
    if (CORA_UNLIKELY(cora_is_null(timer))) {
        task_raise_later(loop, task, cora_last_error());
        return;
    }
    task->as.top->awaited = timer.bits;
    task->flags |= TASK_SLEEPING;
    if (CORA_UNLIKELY(task->flags & TASK_MUST_CANCEL))
        sleep_cancel(loop, task, NULL);
}

static void task_yielded(struct loop *loop, struct task *task, cora_value value)
{
    if (CORA_LIKELY(cora_is_nothing(value))) {
        future_wake(loop, &task->future);
        return;
    }
    char text[200];
    cora_print(value, text, sizeof text);
    task_raise_later(loop, task, cora_error(CORA_ERUNTIME, "Task got bad yield: %s", text));
    cora_drop(value);
}

/* ---- its context ---- */

struct scope {
    struct cora_counted *context, *holder; /* of the thread, before */
    struct cora_counted *own;              /* the context that it runs in itself, or NULL */
};

static struct scope scope_enter(struct task *task)
{
    struct thread *thread = &cora_thread;
    struct scope scope = { thread->context, thread->holder, NULL };
    thread->holder = NULL;
    if (CORA_LIKELY(!(task->flags & TASK_IN_CONTEXT))) {
        thread->context = task->context; /* lent */
        task->context = NULL;
        return scope;
    }
    scope.own = thread->holder = task->context;
    thread->context = context_variables(scope.own);
    if (thread->context)
        counted_keep(thread->context);
    counted_keep(scope.own);
    return scope;
}

/* The task is NULL if it is gone. */
static void scope_leave(struct scope scope, struct task *task)
{
    struct thread *thread = &cora_thread;
    struct cora_counted *variables = thread->context;
    thread->context = scope.context;
    thread->holder = scope.holder;
    if (CORA_UNLIKELY(scope.own != NULL)) {
        context_store(scope.own, variables);
        counted_drop(scope.own);
    } else if (CORA_LIKELY(task != NULL)) {
        task->context = variables;
    } else if (variables) {
        counted_drop(variables);
    }
}

/* ---- going on ---- */

/* What is raised in place of what came; the flag is taken. */
static struct result task_input(struct task *task, struct result input)
{
    bool cancels = task->flags & TASK_MUST_CANCEL;
    struct cora_counted *error = task_take_cancelled(task);
    if (cancels && input.raised && cora_error_code(input.value) == CORA_ECANCELLED) {
        if (error)
            counted_drop(error);
        return input;
    }
    cora_drop(input.value);
    return (struct result){ error ? counted_value(error) : cora_copy(cancelled_error()), true };
}

/* Its coroutine has gone as far as it goes. */
static inline void task_driven(struct loop *loop, struct task *task, enum drive_end end,
                               struct step_run *run)
{
    task->flags &= ~(uint32_t)TASK_RUNNING;
    if (CORA_LIKELY(run->top != NULL))
        task->as.top = run->top; /* else the place is there already */
    if (CORA_LIKELY(end == DRIVE_AWAITS))
        task_suspend(loop, task, run->future);
    else if (CORA_LIKELY(end == DRIVE_OPERATES))
        task_operates(loop, task);
    else if (end == DRIVE_SLEEPS)
        task_sleep(loop, task, run->outcome.as.real);
    else if (end == DRIVE_YIELDED)
        task_yielded(loop, task, run->outcome);
    else if (end == DRIVE_RETURNED)
        task_returned(loop, task, run->outcome);
    else
        task_raised(loop, task, run->outcome);
}

/* With context variables, of the task or of who runs it. */
static __attribute__((noinline)) enum drive_end drive_in_context(struct step_run *run,
                                                                 struct task *task)
{
    struct scope scope = scope_enter(task);
    run_enter(run, task->as.top, task, run->loop);
    enum drive_end end = coroutine_drive(run);
    run_settle(run);
    scope_leave(scope, run->task); /* a drop function may close the loop, which must find the run */
    run_unlink(run);
    return end;
}

/* The first variables that it has set are its own. */
static __attribute__((noinline)) void keep_variables(struct task *task)
{
    scope_leave((struct scope){ NULL, NULL, NULL }, task);
}

/*
 * Drives its coroutine as far as it goes, with run->got. The last thing to do with a task. What an
 * operation has ended with just now is what comes, though the task was cancelled while it did.
 */
static inline __attribute__((always_inline)) void task_go_on(struct loop *loop, struct task *task,
                                                             struct step_run *run, bool ended_now)
{
    enum drive_end end;
    if (CORA_UNLIKELY(task->flags & (TASK_MUST_CANCEL | TASK_ERROR)) && !ended_now)
        run->got = task_input(task, run->got);
    task->flags = (task->flags & ~(uint32_t)TASK_SUSPENDED) | TASK_RUNNING;
    if (CORA_UNLIKELY(task->context || cora_thread.context || cora_thread.holder)) {
        run->loop = loop;
        end = drive_in_context(run, task);
    } else {
        run_enter(run, task->as.top, task, loop);
        end = coroutine_drive(run);
        run_leave(run);
        if (CORA_UNLIKELY(cora_thread.context != NULL))
            keep_variables(run->task);
    }
    if (CORA_UNLIKELY(run->closed))
        cora_drop(run->outcome);
    else
        task_driven(loop, task, end, run);
}

/* What it awaits is done. */
static void task_wakeup(cora_args bound, cora_future done)
{
    struct future *future = future_of(slot_at(done.bits)); /* as it calls back, it is there */
    struct task *task = task_of(future_of(slot_at(bound.values[0].as.handle)));
    struct step_run run;
    bool ended_now = future_has(future, FUTURE_DIRECT);
    if (CORA_LIKELY(future->slot.as.future == FUTURE_FINISHED)) {
        value_copy_plain(&run.got.value, &future->as.outcome);
        run.got.raised = false;
    } else {
        run.got = future_take_slow(task->as.top, future);
    }
    task_go_on(future_loop(future), task, &run, ended_now);
}

/* What its operation ends with, counted. */
static inline struct result operation_result(enum cora_resumed how, cora_value outcome,
                                             struct cora_counted *cancelled)
{
    if (CORA_LIKELY(how == RESUMED_GIVES))
        return (struct result){ outcome, false };
    if (how == CORA_ENDS_CANCELLED)
        outcome = cancelled ? counted_value(cancelled) : cancelled_error();
    cora_value kept;
    if (CORA_UNLIKELY(!value_keep(outcome, &kept)))
        kept = cora_copy(memory_error());
    return (struct result){ kept, cora_is_error(kept) };
}

/*
 * Its operation was woken, or is cancelled. If both, in this order, it is cancelled: it gives back
 * what it was given.
 */
static __attribute__((noinline)) void task_operated(struct loop *loop, struct task *task)
{
    struct step_run run;
    enum cora_resumed how;
    if (CORA_UNLIKELY(task->flags & TASK_MUST_CANCEL))
        operation_asks(task);
    bool asked = future_has(&task->future, FUTURE_ASKED);
    struct cora_counted *cancelled = task->future.as.state.cancelled;
    future_unmark(&task->future, FUTURE_ASKED);
    task->future.as.state.cancelled = NULL;
    bool there = waiter_go_on(task_waiter(task), asked, &how, &run.got.value);
    if (there && how == CORA_WAITS) {
        operation_waits(loop, task, cancelled);
        return;
    }
    if (there) {
        run.got = operation_result(how, run.got.value, cancelled);
        there = operation_gives_back(task);
        if (there)
            task_go_on(loop, task, &run, true);
        else
            cora_drop(run.got.value);
    }
    if (cancelled)
        counted_drop(cancelled);
}

static cora_future woken_task(cora_args bound)
{
    return cora_arg_future(bound, 0);
}

const struct awaiter task_awaiter = { (cora_function)task_wakeup, woken_task };

/* Its first step, or after a yield. */
static __attribute__((noinline)) void task_begin(struct loop *loop, struct task *task)
{
    struct step_run run;
    run.got = (struct result){ cora_nothing(), false };
    task_go_on(loop, task, &run, false);
}

/* It was woken: by its operation, or for its first step, or after a yield. */
static inline void task_woken(struct loop *loop, struct task *task)
{
    if (CORA_LIKELY(task->flags & TASK_OPERATING))
        task_operated(loop, task);
    else
        task_begin(loop, task);
}

/* Debug mode: with a look at the clock, as for callbacks; a wake-up is one. */
static __attribute__((noinline)) void task_go_on_timed(struct loop *loop, struct task *task)
{
    char text[500], message[560];
    double before = clock_now();
    const struct cora_place *place = task->future.place;
    task_woken(loop, task);
    double seconds = clock_now() - before;
    if (seconds < loop->slow_callback_duration || !loop->ev)
        return;
    cora_future_print(future_handle(&task->future), text, sizeof text);
    snprintf(message, sizeof message, "Executing %s took %.3f seconds", text, seconds);
    report_plain(loop, message, cora_nothing(), place);
}

static void task_resume(struct loop *loop, struct future *future)
{
    struct task *task = task_of(future);
    if (CORA_UNLIKELY(loop->debug))
        task_go_on_timed(loop, task);
    else
        task_woken(loop, task);
}

/* ---- cancelling ---- */

static struct cancel_walk *task_walk(struct future *future)
{
    return &task_of(future)->walk;
}

/* What it awaits, if cancelling that can do anything yet. */
static struct future *task_next_child(struct future *future, size_t position)
{
    struct task *task = task_of(future);
    if (position > 0 || !(task->flags & TASK_SUSPENDED))
        return NULL;
    struct future *awaited = future_find((cora_future){ task->as.top->awaited });
    bool woken =
        awaited && future_has(awaited, FUTURE_DIRECT) && future_phase(awaited) != FUTURE_PENDING;
    return woken ? NULL : awaited;
}

/* Whether what is raised next is a Cancelled. */
static bool has_cancelled(const struct task *task)
{
    struct cora_counted *error = task->future.as.state.cancelled;
    return error && cora_error_code(counted_value(error)) == CORA_ECANCELLED;
}

/* Whether it waits with one, whose error may be state.cancelled. */
static bool has_operation(const struct task *task)
{
    return (task->flags & (TASK_OPERATING | TASK_RUNNING)) == TASK_OPERATING;
}

/*
 * What it awaits is cancelled, if it waits. If it was woken, or runs, the task must be cancelled
 * when that goes on, or ends. Cancels that come together are one, with the first one's error.
 */
static bool operation_asked(struct task *task, cora_value cancelled)
{
    struct future *future = &task->future;
    struct cora_waiter *waiter = task_waiter(task);
    if (waiter->busy)
        return false;
    if (future_has(future, FUTURE_ASKED))
        return true;
    if (waiter->woken)
        return false;
    counted_keep(cancelled.as.counted);
    future_ask(future, cancelled.as.counted);
    future_wake(future_loop(future), future);
    return true;
}

static bool task_asked(struct future *future, bool any, cora_value cancelled)
{
    struct task *task = task_of(future);
    task->cancelling++;
    if (any)
        return true;
    if (task->flags & TASK_SLEEPING) {
        sleep_cancel(future_loop(future), task, cancelled.as.counted);
        return true;
    }
    if (task->flags & TASK_ERROR && has_cancelled(task))
        return true; /* what it awaited is cancelled */
    if (has_operation(task) && operation_asked(task, cancelled))
        return true;
    uint32_t error = task->flags & TASK_ERROR;
    bool returns = error || (has_operation(task) && !(task->flags & TASK_MUST_CANCEL));
    struct cora_counted *before = task_take_cancelled(task);
    if (returns && before) /* if this cancel is taken back */
        cancelled = cora_error_from(counted_value(before), CORA_ECANCELLED, "%s",
                                    cora_error_message(cancelled));
    counted_keep(cancelled.as.counted);
    task->future.as.state.cancelled = cancelled.as.counted;
    task->flags |= TASK_MUST_CANCEL | error;
    if (before)
        counted_drop(before);
    return true;
}

/* The Cancelled that was to be raised next is not: but what was to be before. */
static void task_not_asked(struct task *task)
{
    uint32_t error = task->flags & TASK_ERROR;
    struct cora_counted *cancelled = task_take_cancelled(task);
    cora_value before =
        error || has_operation(task) ? cora_error_cause(counted_value(cancelled)) : cora_nothing();
    if (!cora_is_nothing(before)) {
        task->future.as.state.cancelled = cora_copy(before).as.counted;
        task->flags |= error;
    }
    if (cancelled)
        counted_drop(cancelled);
}

unsigned cora_cancelling(cora_future handle)
{
    struct task *task = task_get(handle);
    return task ? task->cancelling : 0;
}

unsigned cora_uncancel(cora_future handle)
{
    struct task *task = task_get(handle);
    if (!task || task->cancelling == 0)
        return 0;
    if (--task->cancelling == 0 && task->flags & TASK_MUST_CANCEL)
        task_not_asked(task);
    return task->cancelling;
}

/* ---- giving back, and closing ---- */

static void task_free(struct loop *loop, void *block)
{
    struct task *task = block;
    slot_show(&task->future.slot, sizeof *task); /* it was given back just now */
    struct cora_counted *name = task->name, *context = task->context;
    (void)loop;
    task->name = task->context = NULL;
    if (name)
        counted_drop(name);
    if (context)
        counted_drop(context);
}

/* In its context. */
static __attribute__((cold)) void task_report(struct loop *loop, struct future *future,
                                              const struct cora_report *report)
{
    struct task *task = task_of(future);
    struct thread *thread = &cora_thread;
    struct cora_counted *context = thread->context, *holder = thread->holder,
                        *own = task->flags & TASK_IN_CONTEXT ? task->context : NULL;
    thread->context = own ? context_variables(own) : task->context;
    thread->holder = own;
    if (thread->context)
        counted_keep(thread->context);
    if (own)
        counted_keep(own);
    loop_report(loop, report);
    struct cora_counted *variables = thread->context;
    thread->context = context;
    thread->holder = holder;
    if (own) {
        context_store(own, variables);
        counted_drop(own);
    } else if (variables) {
        counted_drop(variables);
    }
}

static __attribute__((cold)) void report_destroyed(struct loop *loop, struct task *task)
{
    char text[600];
    if (task->flags & TASK_QUIET)
        return;
    cora_value nothing = cora_nothing();
    task->future.operation->describe(&task->future, text, sizeof text);
    char object[640];
    snprintf(object, sizeof object, "<Task pending%s>", text);
    struct cora_report report = { .message = "Task was destroyed but it is pending!",
                                  .exception = nothing,
                                  .future = future_handle(&task->future),
                                  .object = object,
                                  .place = task->future.place };
    task_report(loop, &task->future, &report);
}

/* The run that drives it; NULL if none does. */
static struct step_run *task_run(const struct task *task)
{
    struct step_run *run = run_first();
    while (run && run->task != task)
        run = run_next(run);
    return run;
}

/* Closes a pending one. */
static void task_close(struct loop *loop, struct task *task)
{
    struct coroutine *top = task->as.top, *root = task_root(task);
    struct step_run *run = task->flags & TASK_RUNNING ? task_run(task) : NULL;
    if (root)
        task->as.place = root->place; /* others may print it still */
    if (task->flags & TASK_OPERATING)
        operation_close(task);
    future_close(&task->future.slot);
    if (run) {
        run->closed = true; /* its steps end when the running one returns */
        run->task = NULL;
    } else if (root) {
        coroutine_abandon(loop, top);
    }
}

static __attribute__((cold)) void tasks_close(struct loop *loop)
{
    struct task *first = task_list(&loop->tasks), *next;
    for (struct task *task = first; task; task = next_task(task))
        report_destroyed(loop, task);
    for (struct task *task = first; task; task = next) {
        next = next_task(task);
        task_close(loop, task);
    }
    pool_visit(&loop->tasks, future_close);
    future_layer.close(loop);
}

static const struct operation task_operation = {
    .name = "Task",
    .resume = task_resume,
    .free = task_free,
    .walk = task_walk,
    .next_child = task_next_child,
    .asked = task_asked,
    .describe = task_describe,
    .report = task_report,
};

/* ---- making one ---- */

/* The usual case: a task that was woken, and runs nothing else than its steps. */
static void task_layer_run(struct loop *loop, struct slot *slot)
{
    struct future *future = future_of(slot);
    if (CORA_UNLIKELY(slot->kind != SLOT_TASK || future_phase(future) != FUTURE_WOKEN)) {
        future_layer_run(loop, slot);
        return;
    }
    slot->state = SLOT_WAITING;
    future_set_phase(future, FUTURE_PENDING);
    task_resume(loop, future);
    tick_settle(loop);
}

static const struct future_layer task_layer = {
    .run = task_layer_run,
    .collect = future_layer_collect,
    .close = tasks_close,
};

static struct task *task_alloc(struct loop *loop)
{
    if (CORA_UNLIKELY(loop->future_layer != &task_layer)) {
        struct future *first = future_new(loop, NULL, &wakeup_place); /* sets up the pools */
        if (!first)
            return NULL;
        future_undo(loop, first);
        loop->future_layer = &task_layer;
        pool_init(&loop->tasks, loop, SLOT_TASK, sizeof(struct task));
    }
    struct task *task = task_of(future_of(pool_take(&loop->tasks)));
    if (!task)
        fail_with(memory_error());
    return task;
}

/* What a task's name and context are; false without memory. */
static bool task_set_up(struct task *task, const struct cora_task_options *options)
{
    cora_value name = cora_nothing(), context = options ? options->context : cora_nothing();
    if (options && options->name && !value_keep(cora_chars(options->name), &name))
        return false;
    task->name = name.as.counted;
    if (context.type == &cora_type_context) {
        task->context = context.as.counted;
        task->flags |= TASK_IN_CONTEXT;
    } else {
        task->context = cora_thread.context;
    }
    if (task->context)
        counted_keep(task->context);
    return true;
}

static struct task *task_new(struct loop *loop, struct coroutine *coro,
                             const struct cora_task_options *options,
                             const struct cora_place *place)
{
    struct task *task = task_alloc(loop);
    if (!task)
        return NULL;
    task->future.slot.as.future = FUTURE_OPERATION;
    task->future.slot.flags = task->future.slot.count = 0;
    task->future.operation = &task_operation;
    task->future.as.state.as.pointer = task; /* for task_free */
    task->future.as.state.cancelled = NULL;
    task->future.place = place;
    task->as.top = coro;
    task->coro = coroutine_handle(coro);
    task->flags = task->cancelling = 0;
    if (!task_set_up(task, options)) {
        future_undo(loop, &task->future);
        fail_with(memory_error());
        return NULL;
    }
    if (!task->name)
        task->number = atomic_fetch_add_explicit(&names, 1, memory_order_relaxed) + 1;
    task->order = loop->task_order++;
    coroutine_take(coro);
    coro->awaited = task->future.slot.bits; /* until it starts: for coroutine_existing */
    return task;
}

/*
 * Eager starts in the middle of each other take stack: so much must be left of it. Of a stack that
 * is not the thread's own nothing is known: there they may take so much.
 */
#define EAGER_STACK ((size_t)32 * 1024)
static _Thread_local const char *eager_end, *eager_top; /* no eager start below, or above */
static _Thread_local unsigned eager_depth;

/* Finds the part of the stack that this is in which eager starts may take. */
static __attribute__((noinline)) void eager_measure(const char *here)
{
    pthread_attr_t attributes;
    void *low = NULL;
    size_t size = 0;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        pthread_attr_getstack(&attributes, &low, &size);
        pthread_attr_destroy(&attributes);
    }
    bool known = here > (char *)low && here <= (char *)low + size;
    eager_end = known ? (char *)low + EAGER_STACK : here - EAGER_STACK;
    eager_top = known ? (char *)low + size : here;
}

static bool has_stack(void)
{
    const char *here = __builtin_frame_address(0);
    if (eager_depth == 0 && (here <= eager_end || here > eager_top))
        eager_measure(here);
    return here > eager_end && here <= eager_top;
}

static bool starts_now(struct loop *loop, const struct cora_task_options *options)
{
    return options && options->eager_start > 0 && cora_thread.running == loop && has_stack();
}

/* Runs it up to where it first waits. Null, and the error is set, if that closed the loop. */
static cora_future task_start_now(struct loop *loop, struct task *task)
{
    cora_future handle = future_handle(&task->future);
    cora_value error = cora_nothing();
    loop_hold(loop);
    future_reference(&task->future);
    task->flags |= TASK_EAGER;
    eager_depth++;
    task_begin(loop, task);
    eager_depth--;
    task->flags &= ~(uint32_t)TASK_EAGER;
    if (!loop->ev) {
        fail(CORA_ERUNTIME, "Event loop is closed: by the first step of the task");
        handle.bits = 0;
    } else {
        if (future_phase(&task->future) == FUTURE_FAILED)
            error = task->future.as.outcome;
        if (error_is_fatal(error)) {
            cora_fail(error);
            handle.bits = 0;
        }
        future_unreference(loop, &task->future);
    }
    loop_unhold(loop);
    return handle;
}

cora_future cora_task_new(cora_loop handle, cora_coro coro_handle,
                          const struct cora_task_options *options, const struct cora_place *place)
{
    const cora_future none = { 0 };
    struct coroutine *coro = coroutine_find(coro_handle);
    struct loop *loop = loop_get(handle);
    if (options && !cora_is_nothing(options->context) &&
        options->context.type != &cora_type_context) {
        fail(CORA_ETYPE, "the option context wants a context");
        return none;
    }
    if (!loop || !cora_is_nothing(coroutine_check(coro, coro_handle)))
        return none;
    struct task *task = task_new(loop, coro, options, place);
    if (!task)
        return none;
    if (starts_now(loop, options))
        return task_start_now(loop, task);
    future_wake(loop, &task->future);
    return future_handle(&task->future);
}

cora_future cora_eager_task_factory(cora_args bound, cora_loop loop, cora_coro coro,
                                    const struct cora_task_options *options)
{
    struct cora_task_options eager = options ? *options : (struct cora_task_options){ 0 };
    (void)bound;
    if (eager.eager_start == 0)
        eager.eager_start = 1;
    return cora_task_new(loop, coro, &eager, eager.place ? eager.place : CORA_PLACE("task"));
}

void awaitable_close(cora_awaitable what)
{
    cora_coro handle = { what.operation && operation_of(&what)->make ? what.value.as.handle : 0 };
    struct coroutine *coro = cora_is_null(handle) ? NULL : coroutine_find(handle);
    if (!coro || !cora_is_nothing(coroutine_check(coro, handle)))
        return;
    cora_value error = cora_copy(cora_last_error());
    coroutine_close_unstarted(coro);
    fail_with(error);
    cora_drop(error);
}

/* By the loop's factory. A coroutine that nobody gets is closed. */
static cora_future task_make(cora_loop handle, cora_coro coro_handle,
                             const struct cora_task_options *options,
                             const struct cora_place *place)
{
    struct loop *loop = loop_get(handle);
    struct slot *factory = loop ? loop->task_factory : NULL;
    cora_future task = { 0 };
    if (factory) {
        struct callback *callback = slot_callback(factory);
        struct cora_task_options placed = options ? *options : (struct cora_task_options){ 0 };
        bool outermost = factory->state == SLOT_WAITING;
        cora_value before = cora_thread.last_error;
        cora_thread.last_error = cora_nothing(); /* to see whether it tells one */
        placed.place = place;
        factory->state = SLOT_RUNNING;
        loop_hold(loop); /* it may close it */
        task = ((cora_task_function)callback->function)(callback_args(factory, callback), handle,
                                                        coro_handle, &placed);
        if (cora_is_null(task) && cora_is_nothing(cora_last_error()))
            fail(CORA_ERUNTIME, "the task factory gave no task");
        if (cora_is_nothing(cora_thread.last_error))
            cora_thread.last_error = before;
        else
            cora_temporary(before);
        if (outermost && factory->state == SLOT_RUNNING) {
            factory->state = SLOT_WAITING;
        } else if (outermost) {
            callback_drop(factory, callback);
            handle_free(loop, factory);
        }
        loop_unhold(loop);
    } else {
        task = cora_task_new(handle, coro_handle, options, place);
    }
    if (cora_is_null(task))
        awaitable_close(cora_awaitable_of(coro_handle));
    return task;
}

/* ---- of an operation: a coroutine that awaits it ---- */

bool stored_keep(struct stored *stored, cora_awaitable what)
{
    if (!awaitable_keep(&stored->what, &what)) {
        fail_with(memory_error());
        return false;
    }
    stored->keeps = !what.operation && !cora_is_null(cora_keep(cora_as_future(what.value)));
    return true;
}

void stored_drop(void *locals)
{
    struct stored *stored = locals;
    if (stored->keeps)
        future_let_go(cora_as_future(stored->what.value));
    awaitable_drop(&stored->what);
}

static cora_next stored_await(cora_coro self)
{
    struct stored *stored = cora_locals(self, struct stored);
    return cora_await(self, stored->what, cora_return_got);
}

/* A coroutine that awaits this; null without memory. */
static cora_coro coroutine_of_awaitable(cora_awaitable what, const struct cora_place *place)
{
    struct stored stored;
    if (!stored_keep(&stored, what))
        return (cora_coro){ 0 };
    return cora_coro_new(CORA_COROUTINE, stored_await, &stored, sizeof stored, stored_drop, place);
}

cora_future task_of_any(cora_loop loop, cora_awaitable what,
                        const struct cora_task_options *options, const struct cora_place *place)
{
    const cora_future none = { 0 };
    if (what.operation && operation_of(&what)->make)
        return task_make(loop, cora_as_coro(what.value), options, place);
    if (!loop_get(loop))
        return none;
    cora_coro coro = coroutine_of_awaitable(what, place);
    return cora_is_null(coro) ? none : task_make(loop, coro, options, place);
}

cora_future task_create(cora_loop loop, cora_awaitable what,
                        const struct cora_task_options *options, const struct cora_place *place)
{
    if (what.operation)
        return task_of_any(loop, what, options, place);
    fail(CORA_ETYPE, "a coroutine was expected, got a future: cora_ensure_future takes both");
    return (cora_future){ 0 };
}

cora_future cora_create_task_at(cora_loop loop, cora_awaitable what,
                                const struct cora_task_options *options,
                                const struct cora_place *place)
{
    cora_future task = task_create(loop, what, options, place);
    struct future *future = future_find(task);
    if (future)
        future_hold(future_loop(future), future);
    return task;
}

int cora_spawn_at(cora_loop loop, cora_awaitable what, const struct cora_task_options *options,
                  const struct cora_place *place)
{
    cora_future task = task_create(loop, what, options, place);
    return cora_is_null(task) ? cora_last_error_code() : 0;
}

/* ---- the factory ---- */

int cora_set_task_factory(cora_loop handle, cora_task_factory factory)
{
    struct loop *loop = loop_get(handle);
    struct slot *slot = loop ? handle_new_persistent(loop, factory.partial) : NULL;
    if (!slot)
        return cora_last_error_code();
    struct slot *old = loop->task_factory;
    loop->task_factory = slot;
    if (old)
        handle_remove(loop, old);
    return 0;
}

int cora_reset_task_factory(cora_loop handle)
{
    struct loop *loop = loop_get(handle);
    if (!loop)
        return cora_last_error_code();
    struct slot *old = loop->task_factory;
    loop->task_factory = NULL;
    if (old)
        handle_remove(loop, old);
    return 0;
}

/* ---- coroutines as awaitables ---- */

static struct future *coroutine_make(struct loop *loop, const cora_awaitable *what,
                                     const struct cora_place *place)
{
    cora_future task = task_make(loop_handle(loop), cora_as_coro(what->value), NULL, place);
    return cora_is_null(task) ? NULL : future_given(loop, task);
}

/* A task that starts now. */
static cora_future coroutine_when_done(struct loop *loop, const cora_awaitable *what,
                                       cora_done_callback callback, const struct cora_place *place)
{
    const struct cora_task_options options = { .eager_start = true };
    cora_future task = task_make(loop_handle(loop), cora_as_coro(what->value), &options, place);
    struct future *future = cora_is_null(task) ? NULL : future_given(loop, task);
    if (future && future_add_callback(loop, future, callback.partial))
        return task;
    if (future)
        future_cancel(future, cancelled_error()); /* nobody would learn of it */
    return (cora_future){ 0 };
}

/* The task that was made of it, if it is one that has not started. */
static struct future *coroutine_existing(const cora_awaitable *what)
{
    struct coroutine *coro = coroutine_find((cora_coro){ what->value.as.handle });
    if (!coro || coro->slot.flags & CORO_STARTED)
        return NULL;
    return future_find((cora_future){ coro->awaited });
}

static void task_adopt(struct future *future)
{
    if (is_task(future))
        task_of(future)->flags |= TASK_QUIET;
}

static const struct operation coroutine_operation = {
    .name = "coroutine",
    .make = coroutine_make,
    .existing = coroutine_existing,
    .when_done = coroutine_when_done,
    .adopt = task_adopt,
};

const struct cora_operation cora_coroutine_operation = {
    .name = "coroutine",
    .own = &coroutine_operation,
};

/* As awaitables, in an array of its own. */
cora_future cora_gather_coros(cora_loop loop, const cora_coro *coros, size_t count,
                              const struct cora_gather_options *options,
                              const struct cora_place *place)
{
    size_t size = (count + 1) * sizeof(cora_awaitable);
    cora_awaitable *awaitables = count < SIZE_MAX / sizeof *awaitables - 1 ? block_get(size) : NULL;
    if (!awaitables) {
        fail_with(memory_error());
        return (cora_future){ 0 };
    }
    for (size_t i = 0; i < count; i++)
        awaitables[i] = cora_awaitable_of_coro(coros[i]);
    cora_future all = cora_gather_awaitables(loop, awaitables, count, options, place);
    block_put(awaitables, size);
    return all;
}
