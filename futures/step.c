/*
 * How it works: what a step asks for is noted in its coroutine (what to await, which step next) and
 * in the step_run; the cora_next that it returns only says which note counts. So a step that asks
 * twice, or for another coroutine, is found out. The drive then goes on by itself, into coroutines
 * and out of them again, as long as nothing has to be waited for: a loop, so that a million nested
 * coroutines take no stack.
 *
 * What a step leaves behind is settled when it has returned, as after a callback: its failure is
 * raised in the coroutine, temporaries are dropped, coroutines that it made and gave to nobody are
 * the coroutine's.
 */
#include "private_coroutine.h"
#include "sleep.h"

/* ---- what a step asks for ---- */

/* The coroutine if it is the one whose step runs; NULL, and the error is set. */
struct coroutine *coroutine_stepping(cora_coro self)
{
    struct step_run *run = cora_thread.run;
    if (CORA_LIKELY(run && run->bits == self.bits))
        return run->top;
    fail(CORA_ERUNTIME, "only the running step of a coroutine can say what it does next");
    return NULL;
}

/* Notes what is asked for; what was before in this step is forgotten. */
static cora_next ask(enum next what)
{
    struct step_run *run = cora_thread.run;
    run->asked = ((run->asked & ~NEXT_KIND) + NEXT_NUMBER) | what;
    return (cora_next){ run->asked };
}

static __attribute__((noinline)) cora_next ask_with_slow(enum next what, cora_value value)
{
    struct step_run *run = cora_thread.run;
    cora_value before = run->outcome, kept;
    if (!value_keep(value, &kept)) {
        kept = memory_error();
        what = NEXT_RAISE;
    }
    run->outcome = kept;
    if (!cora_is_plain(before))
        cora_temporary(before); /* asked twice */
    return ask(what);
}

static inline cora_next ask_with(enum next what, cora_value value)
{
    struct step_run *run = cora_thread.run;
    if (CORA_UNLIKELY(!cora_is_plain(value) || !cora_is_nothing(run->outcome)))
        return ask_with_slow(what, value);
    value_copy_plain(&run->outcome, &value);
    return ask(what);
}

static cora_next nothing_next(void)
{
    return (cora_next){ NEXT_NOTHING };
}

/* Where the coroutine waits, and how it goes on. */
static void suspend_at(struct coroutine *coro, uint64_t awaited, cora_step step, bool caught,
                       const struct cora_place *place)
{
    coro->awaited = awaited;
    coro->step = step;
    coro->where = place;
    coro->slot.flags =
        caught ? coro->slot.flags | CORO_CATCHES : coro->slot.flags & (uint8_t)~CORO_CATCHES;
}

cora_next cora_await_future(cora_coro self, cora_future future, cora_step step, bool caught,
                            const struct cora_place *place)
{
    struct coroutine *coro = coroutine_stepping(self);
    if (!coro)
        return nothing_next();
    suspend_at(coro, future.bits, step, caught, place);
    return ask(NEXT_FUTURE);
}

cora_next cora_yield_from_at(cora_coro self, cora_coro inner, cora_step step, bool caught,
                             const struct cora_place *place)
{
    struct coroutine *coro = coroutine_stepping(self);
    if (!coro)
        return nothing_next();
    suspend_at(coro, inner.bits, step, caught, place);
    return ask(NEXT_DELEGATE);
}

cora_next cora_await_coro(cora_coro self, cora_coro inner, cora_step step, bool caught,
                          const struct cora_place *place)
{
    struct coroutine *coro = coroutine_stepping(self);
    if (!coro)
        return nothing_next();
    suspend_at(coro, inner.bits, step, caught, place);
    return ask(NEXT_COROUTINE);
}

/* An operation that the step has begun and then does not await is cancelled. */
static __attribute__((noinline)) void operation_over(struct step_run *run, uint64_t awaited)
{
    uint64_t begun = run->operation;
    run->operation = 0;
    if (run->task && run->task->flags & TASK_OPERATING && awaited != OWN_OPERATION)
        task_abandon_operation(run->task);
    if (begun == OWN_OPERATION || begun == awaited)
        return;
    struct future *future = future_find((cora_future){ begun });
    if (!future)
        return;
    future_abandon(future);
    future_taken(future_loop(future), future);
}

/* One of operation.h, that a task awaits: it is the task's own. */
static cora_next await_own(struct step_run *run, const cora_awaitable *what)
{
    run->operation = OWN_OPERATION;
    if (CORA_LIKELY(task_begin_operation(run->loop, run->task, what) == 0))
        return ask(NEXT_OPERATION);
    run->operation = 0;
    return ask_with(NEXT_ERROR, error_again(cora_last_error()));
}

/* Starts an operation. By hand it has a future, which ends for this await alone. */
static cora_next await_operation(struct coroutine *coro, const cora_awaitable *what)
{
    struct step_run *run = cora_thread.run;
    const struct operation *operation = operation_of(what);
    struct loop *loop = cora_thread.running;
    if (CORA_UNLIKELY(run->operation != 0))
        operation_over(run, 0);
    bool is_own = operation == &waiter_operation && run->task && loop == run->loop && loop->ev;
    if (CORA_LIKELY(is_own) && CORA_LIKELY(!(run->task->flags & TASK_OPERATING)))
        return await_own(run, what);
    if (CORA_UNLIKELY(!loop || !loop->ev)) {
        cora_loop current = cora_current_loop();
        loop = cora_is_null(current) ? NULL : loop_get(current);
    }
    struct future *future = loop ? future_new(loop, operation, coro->where) : NULL;
    if (!future)
        return ask_with(NEXT_ERROR, error_again(cora_last_error()));
    coro->awaited = future->slot.bits;
    future_mark(future, FUTURE_AWAITED);
    future_hold_in_step(future); /* it may end at once */
    run->operation = coro->awaited;
    if (operation == &waiter_operation)
        waiter_begin(loop, future, what); /* it cannot end now: that was asked */
    else
        operation->start(loop, future, what);
    return ask(NEXT_FUTURE);
}

/* What is not there already: the coroutine is set to wait for it. */
static __attribute__((noinline)) cora_next await_other(struct coroutine *coro,
                                                       const cora_awaitable *what)
{
    if (!what->operation || operation_of(what)->make) {
        coro->awaited =
            what->operation ? cora_as_coro(what->value).bits : cora_as_future(what->value).bits;
        return ask(what->operation ? NEXT_COROUTINE : NEXT_FUTURE);
    }
    return await_operation(coro, what);
}

cora_next cora_await_operation(cora_coro self, const cora_awaitable *what, cora_step step,
                               bool caught, const struct cora_place *place)
{
    struct coroutine *coro = coroutine_stepping(self);
    if (CORA_UNLIKELY(!coro))
        return nothing_next();
    const struct cora_operation *operation = what->operation;
    if (CORA_UNLIKELY(cora_thread.attention) && !cora_is_nothing(cora_thread.failure))
        return ask_with(NEXT_RAISE, cora_thread.failure); /* the step has failed: nothing begins */
    suspend_at(coro, 0, step, caught, place);
    if (operation && operation->now) {
        cora_value outcome = cora_nothing();
        if (operation->now(what, &outcome))
            return ask_with(outcome.type == &cora_type_error ? NEXT_ERROR : NEXT_VALUE, outcome);
    } else if (operation == &cora_sleep_operation && cora_thread.run->task && !what->value.type &&
               !isnan(what->number)) {
        double until = what->number > 0 ? clock_now() + what->number : 0;
        return ask_with(NEXT_SLEEP, cora_real(until));
    }
    return await_other(coro, what);
}

cora_next cora_yield_at(cora_coro self, cora_value value, cora_step step, bool caught,
                        const struct cora_place *place)
{
    struct coroutine *coro = coroutine_stepping(self);
    if (!coro)
        return nothing_next();
    suspend_at(coro, 0, step, caught, place);
    return ask_with(NEXT_YIELD, value);
}

/* The usual case: a plain value, and nothing else was asked for before. */
cora_next cora_return_value(cora_coro self, cora_value value)
{
    struct step_run *run = cora_thread.run;
    if (CORA_UNLIKELY(!run || run->bits != self.bits) || !cora_is_plain(value) ||
        !cora_is_nothing(run->outcome))
        return coroutine_stepping(self) ? ask_with(NEXT_RETURN, value) : nothing_next();
    run->outcome = value;
    run->asked = ((run->asked & ~NEXT_KIND) + NEXT_NUMBER) | NEXT_RETURN;
    return (cora_next){ run->asked };
}

cora_next cora_return_got(cora_coro self)
{
    return cora_return_value(self, cora_got(self));
}

cora_next cora_return_nothing(cora_coro self)
{
    return cora_return_value(self, cora_nothing());
}

cora_next cora_raise(cora_coro self, cora_value error)
{
    if (!coroutine_stepping(self))
        return nothing_next();
    if (!cora_is_error(error))
        error = cora_error(CORA_ETYPE, "exceptions must be errors: cora_raise wants one");
    return ask_with(NEXT_RAISE, error);
}

cora_next cora_go_on(cora_coro self)
{
    return coroutine_stepping(self) ? ask(NEXT_GO_ON) : nothing_next();
}

int cora_finally(cora_coro self, cora_step step)
{
    struct coroutine *coro = coroutine_stepping(self);
    if (!coro)
        return CORA_ERUNTIME;
    if (!step)
        return fail(CORA_ETYPE, "the step of cora_finally is NULL");
    struct extra *extra = extra_new(coro, EXTRA_FINALLY);
    if (!extra)
        return fail_with(memory_error());
    extra->step = step;
    return 0;
}

cora_value cora_hold(cora_coro self, cora_value value)
{
    struct coroutine *coro = coroutine_find(self);
    cora_value kept;
    if (!coro)
        return coroutine_refuse(self);
    if (value.type == &cora_type_coro) {
        struct coroutine *made = coroutine_find(cora_as_coro(value));
        cora_value error = cora_nothing();
        if (made && !(made->slot.flags & CORO_TAKEN))
            error = coroutine_adopt(coro, made);
        return cora_is_nothing(error) ? value : error;
    }
    if (!value_keep(value, &kept))
        return memory_error();
    struct extra *extra = cora_is_plain(kept) ? NULL : extra_new(coro, EXTRA_VALUE);
    if (extra) {
        extra->value = kept;
    } else if (!cora_is_plain(kept)) {
        cora_drop(kept);
        fail_with(memory_error());
        return memory_error();
    }
    return kept;
}

/* ---- what a step finds ---- */

cora_value cora_got(cora_coro self)
{
    struct step_run *run = cora_thread.run;
    return run && run->bits == self.bits ? run->got.value : cora_nothing();
}

cora_value cora_caught(cora_coro self)
{
    struct step_run *run = cora_thread.run;
    return run && run->bits == self.bits && run->got.raised ? run->got.value : cora_nothing();
}

static __attribute__((noinline)) void *locals_slow(cora_coro self, size_t size)
{
    struct step_run *run = cora_thread.run;
    struct coroutine *coro = run && run->bits == self.bits ? run->top : coroutine_find(self);
    if (!coro) {
        coroutine_refuse(self);
        return NULL;
    }
    if (coro->slot.as.size == size)
        return locals_bytes(coro);
    cora_fail(cora_error(CORA_ETYPE,
                         "the locals of %s have %u bytes, and were read as a type of %zu",
                         coro->place->name, (unsigned)coro->slot.as.size, size));
    return NULL;
}

/* The usual case: in its step, of a size that fits into the coroutine. */
void *cora_locals_of(cora_coro self, size_t size)
{
    struct step_run *run = cora_thread.run;
    if (CORA_UNLIKELY(!run || run->bits != self.bits) ||
        CORA_UNLIKELY(run->top->slot.as.size != size) ||
        size > LOCALS_INLINE - sizeof(void (*)(void *)))
        return locals_slow(self, size);
    return run->top->locals.bytes;
}

/* ---- the drive ---- */

/* The outer one's own: put aside. */
void run_save(struct step_run *run)
{
    struct thread *thread = &cora_thread;
    run->saved = true;
    run->temporaries = thread->temporaries;
    run->failure = thread->failure;
    run->made_outside = thread->made;
    run->attention = thread->attention;
    thread->temporaries = NULL;
    thread->failure = cora_nothing();
    thread->made = NULL;
    thread->attention = false;
}

/* What a drop function failed with: no step is to blame. */
static void report_drop_failure(struct loop *loop)
{
    cora_value failure = cora_thread.failure;
    cora_thread.failure = cora_nothing();
    if (cora_is_nothing(failure))
        return;
    if (loop && loop->ev && error_is_fatal(failure))
        loop_fail(loop, failure);
    else
        report_plain(loop, "Exception in a drop function", failure, NULL);
    cora_drop(failure);
}

/* Drops what was left behind, and what the drop functions leave in turn. */
static void drop_left(struct step_run *run, struct coroutine *coro)
{
    struct thread *thread = &cora_thread;
    struct loop *loop = run->loop;
    bool collects = loop && loop->ev && !run->outer && run->task &&
                    !(run->task->flags & TASK_EAGER); /* who made it may look at the garbage */
    do {
        if (thread->made)
            made_sweep(loop, coro);
        thread_drop_temporaries();
        if (collects && loop->ev && loop->garbage.head)
            loop->future_layer->collect(loop);
        report_drop_failure(loop);
    } while (thread->temporaries || thread->made);
    thread->attention = loop && loop->garbage.head;
}

/* The step has returned: its failure is the coroutine's; what else it left behind goes. */
static cora_value step_settle(struct step_run *run, struct coroutine *coro)
{
    cora_value failure = cora_thread.failure;
    cora_thread.failure = cora_nothing();
    drop_left(run, coro);
    return failure;
}

/* The drive is over: settles what the last drop functions left, and restores the outer one's. */
void run_settle(struct step_run *run)
{
    struct thread *thread = &cora_thread;
    report_drop_failure(run->loop);
    drop_left(run, NULL);
    thread->attention |= thread->context != NULL;
    if (!run->saved)
        return;
    thread->temporaries = run->temporaries;
    thread->failure = run->failure;
    thread->made = run->made_outside;
    thread->attention |= run->attention;
}

/* A step that returned something else than it asked for last. */
static __attribute__((cold)) enum next step_wrong(struct step_run *run, struct coroutine *coro)
{
    const struct cora_place *place = coro->where ? coro->where : coro->place;
    cora_drop(run->outcome);
    run->outcome = cora_copy(cora_error(
        CORA_ERUNTIME,
        "the step of %s after %s:%d did not return what it asked for last: a step returns what "
        "cora_await, cora_return or another of them has given it",
        coro->place->name, place->file, place->line));
    return NEXT_RAISE;
}

/* A coroutine that the step has made and awaits is out of the thread's list, unless it fails. */
static void inner_unlist(struct step_run *run, struct coroutine *coro)
{
    struct coroutine *made = cora_thread.made;
    run->inner = NULL;
    if (!made || made->slot.bits != coro->awaited ||
        made->slot.flags & (CORO_TAKEN | CORO_HELD | CORO_DEAD))
        return;
    run->inner = made;
    cora_thread.made = coroutine_of(made->slot.next);
    made->slot.flags &= (uint8_t)~CORO_LISTED;
}

/* Whether nobody has taken it, or closed it, since: a drop function may have. */
static bool inner_is_free(const struct step_run *run, const struct coroutine *coro)
{
    const struct coroutine *inner = run->inner;
    return inner && inner->slot.bits == coro->awaited && inner->slot.state == SLOT_WAITING &&
           !(inner->slot.flags & (CORO_TAKEN | CORO_HELD | CORO_DEAD));
}

static void inner_relist(struct step_run *run, struct coroutine *coro)
{
    struct coroutine *inner = run->inner;
    if (!inner_is_free(run, coro))
        return;
    inner->slot.next = (struct slot *)cora_thread.made;
    inner->slot.flags |= CORO_LISTED;
    cora_thread.made = inner;
    drop_left(run, coro);
}

/* What the step has left behind. What it asked for, unless it has failed. */
static __attribute__((noinline)) enum next step_left(struct step_run *run, struct coroutine *coro,
                                                     enum next asked)
{
    /* It may be garbage, if the step has read it. */
    struct future *awaited =
        asked == NEXT_FUTURE ? future_find((cora_future){ coro->awaited }) : NULL;
    struct loop *loop = awaited ? future_loop(awaited) : NULL;
    if (awaited)
        future_reference(awaited);
    cora_value failure = step_settle(run, coro);
    if (awaited && loop->ev)
        future_unreference(loop, awaited);
    if (cora_is_nothing(failure))
        return asked;
    cora_drop(run->outcome);
    run->outcome = failure;
    if ((asked == NEXT_COROUTINE || asked == NEXT_DELEGATE) && run->inner)
        inner_relist(run, coro);
    return NEXT_RAISE;
}

/* Runs one step, with run->got. What it asks for; run->outcome goes with it. */
static inline enum next step_call(struct step_run *run, struct coroutine *coro)
{
    cora_value got;
    value_copy_plain(&got, &run->got.value);
    run->asked &= ~NEXT_KIND;
    run->bits = coro->slot.bits;
    coro->slot.flags = (uint8_t)((coro->slot.flags | CORO_STARTED) & ~CORO_CATCHES);
    atomic_store_explicit(&coro->thread, &cora_thread, memory_order_relaxed);
    cora_next next = coro->step(coroutine_handle(coro));
    enum next asked = (enum next)(run->asked & NEXT_KIND);
    run->bits = NO_STEP;
    if (CORA_UNLIKELY(next.what != run->asked || asked == NEXT_NOTHING))
        asked = step_wrong(run, coro);
    if (asked == NEXT_COROUTINE || asked == NEXT_DELEGATE)
        inner_unlist(run, coro);
    if (run->made && CORA_UNLIKELY(asked != NEXT_FUTURE || run->made->slot.bits != coro->awaited)) {
        hold_made(coro, run->made->slot.bits);
        run->made = NULL;
    }
    if (CORA_UNLIKELY(!cora_is_plain(got)))
        cora_drop(got);
    if (CORA_UNLIKELY(cora_thread.attention || cora_thread.made))
        asked = step_left(run, coro, asked);
    uint64_t awaits = asked == NEXT_OPERATION ? OWN_OPERATION
                      : asked == NEXT_FUTURE  ? coro->awaited
                                              : 0;
    if (CORA_LIKELY(run->operation == 0))
        return asked;
    if (CORA_LIKELY(run->operation == awaits))
        run->operation = 0;
    else
        operation_over(run, awaits);
    return asked;
}

/* Whether its step runs, or one that it waits for. */
bool coroutine_is_running(const struct coroutine *wanted)
{
    for (const struct step_run *run = run_first(); run; run = run_next(run))
        for (const struct coroutine *coro = run->top; coro; coro = coro->up)
            if (coro == wanted)
                return true;
    return false;
}

cora_value taken_error(const struct coroutine *coro)
{
    if (coroutine_is_running(coro))
        return coroutine_error(coro, CORA_EVALUE, "generator already executing");
    if (!(coro->slot.flags & CORO_BY_HAND))
        return coroutine_error(coro, CORA_ERUNTIME, "coroutine is being awaited already");
    return cora_nothing();
}

/* Why the step cannot await this; nothing if it can. */
static cora_value inner_error(const struct coroutine *inner, cora_coro handle, enum next asked)
{
    if (!inner)
        return coroutine_refuse(handle);
    if (asked == NEXT_COROUTINE && coroutine_kind(inner) == CORA_GENERATOR)
        return coroutine_error(inner, CORA_ETYPE, "a generator can't be awaited");
    return inner->slot.flags & CORO_TAKEN ? taken_error(inner) : cora_nothing();
}

/* Goes into the coroutine that the step asked for, or raises why it cannot. */
static void enter_inner(struct step_run *run, struct coroutine *coro, enum next asked)
{
    cora_coro handle = { coro->awaited };
    if (CORA_UNLIKELY(!inner_is_free(run, coro)))
        run->inner = NULL;
    struct coroutine *inner = run->inner ? run->inner : coroutine_find(handle), *innermost = inner;
    run->got = (struct result){ cora_nothing(), false };
    if (CORA_UNLIKELY(!inner && asked == NEXT_DELEGATE && generator_has_ended(handle)))
        return; /* it gives nothing more */
    if (CORA_UNLIKELY(!run->inner || coroutine_kind(inner) == CORA_GENERATOR)) {
        cora_value error = inner_error(inner, handle, asked);
        if (!cora_is_nothing(error)) {
            run->got = (struct result){ cora_copy(error), true };
            if (run->inner)
                inner_relist(run, coro);
            return;
        }
        if (inner->slot.flags & CORO_BY_HAND && inner->up)
            innermost = inner->up; /* a generator that was sent to before */
        hand_resume(innermost, &run->got);
    }
    if (CORA_UNLIKELY(!run->inner))
        coroutine_take(inner);
    inner->slot.flags = (uint8_t)((inner->slot.flags | CORO_TAKEN) & ~CORO_BY_HAND);
    inner->up = coro;
    run->top = innermost;
}

/* Gets the outcome of what the step asked for, which cannot be waited for. */
static void future_outcome(struct step_run *run, struct coroutine *coro, struct future *future)
{
    if (CORA_LIKELY(future && future_is_done(future))) {
        run->got = future_take(coro, future);
        return;
    }
    cora_value error = future ? cora_error(CORA_ERUNTIME, "await wasn't used with future")
                              : future_refuse((cora_future){ coro->awaited });
    run->got = (struct result){ cora_copy(error), true };
}

/* What its finally step that has run makes of the outcome. */
static enum next finally_over(struct step_run *run, struct coroutine *coro, enum next asked)
{
    struct extra *extra = coro->extras ? extra_take(coro, EXTRA_FINALLY_RUNNING) : NULL;
    if (!extra && asked != NEXT_GO_ON)
        return asked;
    if (asked == NEXT_GO_ON)
        cora_drop(run->outcome);
    if (!extra) {
        run->outcome =
            cora_copy(coroutine_error(coro, CORA_ERUNTIME, "cora_go_on outside of a finally step"));
        return NEXT_RAISE;
    }
    cora_value aside = extra->value;
    bool raised = extra->raised;
    block_put(extra, sizeof *extra);
    if (asked != NEXT_GO_ON) {
        cora_drop(aside);
        return asked;
    }
    run->outcome = aside;
    return raised ? NEXT_RAISE : NEXT_RETURN;
}

/* Puts the outcome aside for a finally step, if there is one left. */
static bool finally_next(struct step_run *run, struct coroutine *coro, enum next asked)
{
    struct extra *extra = coro->extras ? extra_take_ending(coro) : NULL;
    if (!extra)
        return false;
    bool leaves = extra->kind == EXTRA_LEAVE;
    run->got = (struct result){ extra->value, false };
    extra->kind = EXTRA_FINALLY_RUNNING;
    extra->value = run->outcome;
    extra->raised = asked == NEXT_RAISE;
    extra->next = coro->extras;
    coro->extras = extra;
    coro->step = leaves ? with_leave : extra->step;
    run->outcome = cora_nothing();
    return true;
}

/* What was asked before, in the same step, and then not returned. */
static inline void forget_outcome(struct step_run *run)
{
    if (CORA_LIKELY(cora_is_nothing(run->outcome)))
        return;
    cora_drop(run->outcome);
    run->outcome = cora_nothing();
}

/* What GeneratorExit was raised in has ended: it is raised in who awaits that, too. */
static enum next exit_outer(struct step_run *run, enum next asked)
{
    run->exits = run->top;
    if (asked == NEXT_RAISE && cora_error_code(run->outcome) != CORA_EGENERATOREXIT)
        return asked;
    cora_drop(run->outcome);
    run->outcome = generator_exit();
    return NEXT_RAISE;
}

/*
 * It goes on all the same: it is abandoned, and who awaits it gets a RuntimeError. False if that is
 * nobody: then who has raised GeneratorExit looks at it.
 */
static bool exit_ignored(struct step_run *run, struct future *awaited)
{
    struct coroutine *ignoring = run->exits, *top = run->top;
    if (CORA_LIKELY(!ignoring) || !ignoring->up)
        return false;
    if (awaited) {
        future_given_up(top, awaited);
        if (future_has(awaited, FUTURE_AWAITED))
            future_abandon(awaited);
    }
    run->top = run->exits = ignoring->up;
    ignoring->up = NULL;
    cora_value error = coroutine_error(ignoring, CORA_ERUNTIME, "generator ignored GeneratorExit");
    run->got = (struct result){ cora_copy(error), true };
    forget_outcome(run);
    coroutine_abandon(run->loop, top);
    return true;
}

/* A coroutine that it has made, and returns, is now who awaits it's. */
static void pass_on(struct coroutine *coro, cora_coro handle)
{
    struct coroutine *made = coroutine_find(handle);
    if (made && made->slot.flags & CORO_HELD && made->up == coro)
        (void)coroutine_adopt(coro->up, made); /* without memory it ends with this one */
}

/*
 * The coroutine ends with the outcome. If it has a finally step left, that is next; else it goes,
 * and who awaits it gets the outcome. False if that is nobody: the drive is over.
 */
static bool coroutine_ends(struct step_run *run, struct coroutine *coro, enum next *asked)
{
    if (CORA_UNLIKELY(coro->extras || *asked == NEXT_GO_ON)) {
        *asked = finally_over(run, coro, *asked);
        if (finally_next(run, coro, *asked))
            return true;
        if (run->outcome.type == &cora_type_coro && coro->up)
            pass_on(coro, cora_as_coro(run->outcome));
    }
    run->top = coro->up;
    if (!run->top && run->task)
        run->task->as.place = coro->place;
    coroutine_end(coro);
    if (CORA_UNLIKELY(!cora_is_nothing(cora_thread.failure)))
        report_drop_failure(run->loop);
    if (!run->top)
        return false;
    if (CORA_UNLIKELY(run->exits == coro))
        *asked = exit_outer(run, *asked);
    value_copy_plain(&run->got.value, &run->outcome);
    run->got.raised = *asked == NEXT_RAISE;
    run->outcome = cora_nothing();
    return true;
}

/* The task is gone: there is nobody left to wait for anything. */
static enum next step_closed(struct step_run *run, enum next asked)
{
    if (asked == NEXT_RETURN || asked == NEXT_RAISE || asked == NEXT_GO_ON)
        return asked;
    if ((asked == NEXT_COROUTINE || asked == NEXT_DELEGATE) && run->inner)
        inner_relist(run, run->top);
    cora_drop(run->outcome);
    run->outcome = generator_exit();
    return NEXT_RAISE;
}

/* It was told to go on with a step that is NULL. */
static __attribute__((cold)) enum next step_missing(struct step_run *run, struct coroutine *coro)
{
    cora_drop(run->got.value);
    run->outcome = cora_copy(cora_error(CORA_ETYPE, "the step %s is NULL (%s:%d)",
                                        coro->where->name, coro->where->file, coro->where->line));
    return NEXT_RAISE;
}

/* Runs a step, if the coroutine has one for what comes; else that goes through it. */
static inline enum next coroutine_goes_on(struct step_run *run, struct coroutine *coro)
{
    coro->awaited = 0;
    if (CORA_UNLIKELY(run->got.raised && !(coro->slot.flags & CORO_CATCHES))) {
        run->outcome = run->got.value;
        return NEXT_RAISE;
    }
    enum next asked = CORA_LIKELY(coro->step) ? step_call(run, coro) : step_missing(run, coro);
    return CORA_UNLIKELY(run->closed) ? step_closed(run, asked) : asked;
}

enum drive_end coroutine_drive(struct step_run *run)
{
    for (;;) {
        struct coroutine *coro = run->top;
        enum next asked = coroutine_goes_on(run, coro);
        if (asked == NEXT_VALUE || asked == NEXT_ERROR) {
            value_copy_plain(&run->got.value, &run->outcome);
            run->got.raised = asked == NEXT_ERROR;
            run->outcome = cora_nothing();
        } else if (asked == NEXT_FUTURE) {
            forget_outcome(run);
            run->future = run->made; /* as it is marked, it is there */
            run->made = NULL;
            if (!run->future)
                run->future = future_find((cora_future){ coro->awaited });
            if (CORA_UNLIKELY(!run->future ||
                              future_has(run->future, FUTURE_FINISHED | FUTURE_BLOCKED)))
                future_outcome(run, coro, run->future);
            else if (CORA_LIKELY(!run->exits) || !exit_ignored(run, run->future))
                return DRIVE_AWAITS;
        } else if (asked == NEXT_OPERATION) {
            forget_outcome(run);
            return DRIVE_OPERATES;
        } else if (asked == NEXT_COROUTINE || asked == NEXT_DELEGATE) {
            forget_outcome(run);
            enter_inner(run, coro, asked);
        } else if (asked == NEXT_YIELD) {
            if (!exit_ignored(run, NULL))
                return DRIVE_YIELDED;
        } else if (asked == NEXT_SLEEP) {
            return DRIVE_SLEEPS;
        } else if (!coroutine_ends(run, coro, &asked)) {
            return asked == NEXT_RAISE ? DRIVE_RAISED : DRIVE_RETURNED;
        }
    }
}

/* ---- abandoned ---- */

void coroutine_abandon(struct loop *loop, struct coroutine *top)
{
    struct step_run run;
    run_enter(&run, top, NULL, loop);
    run.closed = true;
    run.exits = top;
    run.got = (struct result){ generator_exit(), true };
    enum drive_end end = coroutine_drive(&run);
    int code = cora_error_code(run.outcome);
    if (end == DRIVE_RAISED && code != CORA_EGENERATOREXIT && code != CORA_ECANCELLED)
        report_plain(loop, "Exception ignored in a coroutine that was closed", run.outcome, NULL);
    cora_drop(run.outcome);
    run_leave(&run);
}
