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

/* ---- what a step asks for ---- */

/* The coroutine if it is the one whose step runs; NULL, and the error is set. */
static struct coroutine *running(cora_coro self)
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
    cora_thread.run->asked = what;
    return (cora_next){ what };
}

static cora_next ask_with(enum next what, cora_value value)
{
    struct step_run *run = cora_thread.run;
    cora_value before = run->outcome, kept;
    if (CORA_UNLIKELY(!value_is_plain(value)) && !value_keep(value, &kept)) {
        value = memory_error();
        what = NEXT_RAISE;
    } else if (!value_is_plain(value)) {
        value = kept;
    }
    run->outcome = value;
    if (CORA_UNLIKELY(!value_is_plain(before)))
        value_drop_later(before); /* asked twice */
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
    struct coroutine *coro = running(self);
    if (!coro)
        return nothing_next();
    suspend_at(coro, future.bits, step, caught, place);
    return ask(NEXT_FUTURE);
}

cora_next cora_yield_from_at(cora_coro self, cora_coro inner, cora_step step, bool caught,
                             const struct cora_place *place)
{
    struct coroutine *coro = running(self);
    if (!coro)
        return nothing_next();
    suspend_at(coro, inner.bits, step, caught, place);
    return ask(NEXT_COROUTINE);
}

cora_next cora_await_coro(cora_coro self, cora_coro inner, cora_step step, bool caught,
                          const struct cora_place *place)
{
    struct coroutine *coro = running(self), *awaited = coroutine_find(inner);
    if (!coro)
        return nothing_next();
    suspend_at(coro, inner.bits, step, caught, place);
    if (CORA_UNLIKELY(!awaited || awaited->slot.flags & CORO_TAKEN ||
                      coroutine_kind(awaited) == CORA_GENERATOR))
        return ask_with(NEXT_ERROR, coroutine_check(awaited, inner));
    return ask(NEXT_COROUTINE);
}

/* Starts an operation, whose future ends for this await alone. */
static cora_next await_operation(struct coroutine *coro, const cora_awaitable *what, cora_step step,
                                 bool caught, const struct cora_place *place)
{
    suspend_at(coro, 0, step, caught, place);
    cora_loop current = cora_current_loop();
    struct loop *loop = cora_is_null(current) ? NULL : loop_get(current);
    struct future *future = loop ? future_new(loop, what->operation, place) : NULL;
    if (!future)
        return ask_with(NEXT_ERROR, error_again(cora_last_error()));
    coro->awaited = future->slot.bits;
    future_mark(future, FUTURE_AWAITED);
    what->operation->start(loop, future, what);
    return ask(NEXT_FUTURE);
}

cora_next cora_await_awaitable(cora_coro self, cora_awaitable what, cora_step step, bool caught,
                               const struct cora_place *place)
{
    struct coroutine *coro = running(self);
    if (!coro)
        return nothing_next();
    if (!what.operation)
        return cora_await_future(self, cora_as_future(what.value), step, caught, place);
    if (what.operation->make)
        return cora_await_coro(self, cora_as_coro(what.value), step, caught, place);
    return await_operation(coro, &what, step, caught, place);
}

cora_next cora_yield_at(cora_coro self, cora_value value, cora_step step, bool caught,
                        const struct cora_place *place)
{
    struct coroutine *coro = running(self);
    if (!coro)
        return nothing_next();
    suspend_at(coro, 0, step, caught, place);
    return ask_with(NEXT_YIELD, value);
}

cora_next cora_return_value(cora_coro self, cora_value value)
{
    return running(self) ? ask_with(NEXT_RETURN, value) : nothing_next();
}

cora_next cora_raise(cora_coro self, cora_value error)
{
    if (!running(self))
        return nothing_next();
    if (!cora_is_error(error))
        error = cora_error(CORA_ETYPE, "exceptions must be errors: cora_raise wants one");
    return ask_with(NEXT_RAISE, error);
}

cora_next cora_go_on(cora_coro self)
{
    return running(self) ? ask(NEXT_GO_ON) : nothing_next();
}

int cora_finally(cora_coro self, cora_step step)
{
    struct coroutine *coro = running(self);
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
    if (!value_keep(value, &kept))
        return memory_error();
    struct extra *extra = value_is_plain(kept) ? NULL : extra_new(coro, EXTRA_VALUE);
    if (extra) {
        extra->value = kept;
    } else if (!value_is_plain(kept)) {
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

void *cora_locals_of(cora_coro self, size_t size)
{
    struct step_run *run = cora_thread.run;
    struct coroutine *coro =
        CORA_LIKELY(run && run->bits == self.bits) ? run->top : coroutine_find(self);
    if (CORA_UNLIKELY(!coro)) {
        coroutine_refuse(self);
        return NULL;
    }
    if (CORA_LIKELY(coro->slot.as.size == size))
        return locals_bytes(coro);
    cora_fail(cora_error(CORA_ETYPE,
                         "the locals of %s have %u bytes, and were read as a type of %zu",
                         coro->place->name, (unsigned)coro->slot.as.size, size));
    return NULL;
}

/* ---- the drive ---- */

void run_enter(struct step_run *run, struct coroutine *top)
{
    struct thread *thread = &cora_thread;
    run->outer = thread->run;
    run->bits = 0;
    run->top = top;
    run->future = NULL;
    run->outcome = cora_nothing();
    run->closed = false;
    run->temporaries = thread->temporaries;
    run->failure = thread->failure;
    run->made = thread->made;
    run->attention = thread->attention;
    thread->temporaries = NULL;
    thread->failure = cora_nothing();
    thread->made = NULL;
    thread->attention = false;
    thread->run = run;
    thread->depth++;
}

/* What a drop function failed with: no step is to blame. */
static void report_drop_failure(struct loop *loop)
{
    cora_value failure = cora_thread.failure;
    cora_thread.failure = cora_nothing();
    if (cora_is_nothing(failure))
        return;
    struct cora_report report = { .message = "Exception in a drop function", .exception = failure };
    if (loop && error_is_fatal(failure))
        loop_fail(loop, failure);
    else if (loop && loop->ev)
        loop_report(loop, &report);
    else
        cora_default_exception_handler((cora_loop){ 0 }, &report);
    cora_drop(failure);
}

/* The step has returned: its failure is the coroutine's; what else it left behind goes. */
static cora_value step_settle(struct step_run *run, struct coroutine *coro)
{
    struct thread *thread = &cora_thread;
    cora_value failure = thread->failure;
    thread->failure = cora_nothing();
    thread->attention = false;
    if (thread->made)
        made_sweep(run->loop, coro);
    thread_drop_temporaries();
    struct loop *loop = run->loop;
    if (loop && loop->ev && loop->garbage.head && !run->outer && run->task)
        loop->future_layer->collect(loop);
    report_drop_failure(loop);
    while (thread->temporaries || thread->made) { /* of the drop functions, in turn */
        thread_drop_temporaries();
        made_sweep(loop, coro);
        report_drop_failure(loop);
    }
    return failure;
}

void run_leave(struct step_run *run)
{
    struct thread *thread = &cora_thread;
    while (CORA_UNLIKELY(thread->temporaries || thread->made ||
                         !cora_is_nothing(thread->failure))) { /* of the last drop functions */
        report_drop_failure(run->loop);
        step_settle(run, NULL);
    }
    thread->depth--;
    thread->run = run->outer;
    thread->temporaries = run->temporaries;
    thread->failure = run->failure;
    thread->made = run->made;
    struct loop *loop = thread->running;
    thread->attention |= run->attention || thread->context || (loop && loop->garbage.head);
}

/* What the step has asked for, if that is what it returned. */
static enum next step_asked(struct step_run *run, struct coroutine *coro, cora_next next)
{
    if (CORA_LIKELY(next.what == run->asked && next.what != NEXT_NOTHING))
        return run->asked;
    cora_drop(run->outcome);
    run->outcome = cora_copy(cora_error(
        CORA_ERUNTIME,
        "the step of %s before %s:%d did not return what it asked for last: a step returns what "
        "cora_await, cora_return or another of them has given it",
        coro->place->name, (coro->where ? coro->where : coro->place)->file,
        (coro->where ? coro->where : coro->place)->line));
    return NEXT_RAISE;
}

/* Runs one step. What it asks for; run->outcome goes with it. */
static enum next step_call(struct step_run *run, struct coroutine *coro, struct result input)
{
    struct thread *thread = &cora_thread;
    run->got = input;
    run->asked = NEXT_NOTHING;
    run->bits = coro->slot.bits;
    coro->slot.flags = (uint8_t)((coro->slot.flags | CORO_STARTED) & ~CORO_CATCHES);
    atomic_store_explicit(&coro->thread, thread, memory_order_relaxed);
    cora_next next = coro->step(coroutine_handle(coro));
    run->bits = 0;
    enum next asked = step_asked(run, coro, next);
    if (CORA_UNLIKELY(!value_is_plain(input.value)))
        cora_drop(input.value);
    if (CORA_UNLIKELY(thread->attention || thread->made)) {
        cora_value failure = step_settle(run, coro);
        if (!cora_is_nothing(failure)) {
            cora_drop(run->outcome);
            run->outcome = failure;
            asked = NEXT_RAISE;
        }
    }
    return asked;
}

/* Whether its step runs, or one that it waits for. */
bool coroutine_is_running(const struct coroutine *wanted)
{
    for (const struct step_run *run = cora_thread.run; run; run = run->outer)
        for (const struct coroutine *coro = run->top; coro; coro = coro->up)
            if (coro == wanted)
                return true;
    return false;
}

/* Why one that somebody has taken cannot be gone on with; nothing if it can: it is driven by hand.
 */
cora_value taken_error(const struct coroutine *coro)
{
    if (coroutine_is_running(coro))
        return coroutine_error(coro, CORA_EVALUE, "generator already executing");
    if (!(coro->slot.flags & CORO_BY_HAND))
        return coroutine_error(coro, CORA_ERUNTIME, "coroutine is being awaited already");
    return cora_nothing();
}

/* Goes into the coroutine that the step asked for, or says why it cannot. */
static struct result enter_inner(struct step_run *run, struct coroutine *coro)
{
    cora_coro handle = { coro->awaited };
    struct coroutine *inner = coroutine_find(handle), *innermost = inner;
    if (CORA_UNLIKELY(!inner || inner->slot.flags & CORO_TAKEN)) {
        cora_value error = inner ? taken_error(inner) : coroutine_refuse(handle);
        if (!cora_is_nothing(error))
            return (struct result){ cora_copy(error), true };
        innermost = inner->up ? inner->up : inner; /* a generator that was sent to before */
        inner->slot.flags &= (uint8_t)~CORO_BY_HAND;
    } else {
        coroutine_take(inner);
    }
    inner->up = coro;
    run->top = innermost;
    return (struct result){ cora_nothing(), false };
}

/* The outcome of the future that the step asked for; false if it is pending. */
static bool future_outcome(struct step_run *run, struct coroutine *coro, struct result *ret)
{
    cora_future handle = { coro->awaited };
    struct future *future = future_find(handle);
    if (CORA_UNLIKELY(!future)) {
        *ret = (struct result){ cora_copy(future_refuse(handle)), true };
        return true;
    }
    if (!future_is_done(future)) {
        run->future = future;
        return false;
    }
    *ret = future_take(coro, future);
    return true;
}

/*
 * The coroutine ends with this. If it has a finally step left, that is next, and this is put aside;
 * else the coroutine goes, and who awaits it gets this. Whether there is somebody to go on with.
 */
static bool coroutine_ends(struct step_run *run, enum next asked, struct result *result)
{
    struct coroutine *coro = run->top;
    struct extra *extra = coro->extras ? extra_take(coro, EXTRA_FINALLY_RUNNING) : NULL;
    if (extra) {
        struct result aside = { extra->value, extra->raised };
        block_put(extra, sizeof *extra);
        if (asked == NEXT_GO_ON)
            *result = aside;
        else
            cora_drop(aside.value);
    } else if (asked == NEXT_GO_ON) {
        cora_value error =
            coroutine_error(coro, CORA_ERUNTIME, "cora_go_on outside of a finally step");
        *result = (struct result){ cora_copy(error), true };
    }
    extra = coro->extras ? extra_take(coro, EXTRA_FINALLY) : NULL;
    if (extra) {
        extra->kind = EXTRA_FINALLY_RUNNING;
        extra->value = result->value;
        extra->raised = result->raised;
        extra->next = coro->extras;
        coro->extras = extra;
        coro->step = extra->step;
        *result = (struct result){ cora_nothing(), false };
        return true;
    }
    run->top = coro->up;
    coroutine_end(coro);
    if (CORA_UNLIKELY(!cora_is_nothing(cora_thread.failure)))
        report_drop_failure(run->loop);
    return run->top != NULL;
}

static struct result generator_exit(void)
{
    return (struct result){ cora_copy(cora_error(CORA_EGENERATOREXIT, NULL)), true };
}

enum drive_end coroutine_drive(struct step_run *run, struct result result, cora_value *ret_outcome)
{
    for (;;) {
        struct coroutine *coro = run->top;
        enum next asked = NEXT_RAISE;
        coro->awaited = 0;
        if (CORA_LIKELY(!result.raised || coro->slot.flags & CORO_CATCHES)) {
            asked = step_call(run, coro, result);
            result = (struct result){ run->outcome, asked != NEXT_RETURN };
            run->outcome = cora_nothing();
            if (CORA_UNLIKELY(run->closed && asked != NEXT_RETURN && asked != NEXT_RAISE &&
                              asked != NEXT_GO_ON)) {
                cora_drop(result.value);
                result = generator_exit(); /* there is nobody left to wait for anything */
                asked = NEXT_RAISE;
            }
        }
        switch (asked) {
        case NEXT_FUTURE:
            cora_drop(result.value);
            if (future_outcome(run, coro, &result))
                continue;
            return DRIVE_AWAITS;
        case NEXT_COROUTINE:
            cora_drop(result.value);
            result = enter_inner(run, coro);
            continue;
        case NEXT_YIELD:
            *ret_outcome = result.value;
            return DRIVE_YIELDED;
        case NEXT_ERROR:
            continue;
        case NEXT_RETURN:
        case NEXT_RAISE:
        case NEXT_GO_ON:
        case NEXT_NOTHING:
            break;
        }
        if (!coroutine_ends(run, asked, &result)) {
            *ret_outcome = result.value;
            return result.raised ? DRIVE_RAISED : DRIVE_RETURNED;
        }
    }
}

/* ---- abandoned ---- */

void coroutine_abandon(struct loop *loop, struct coroutine *top)
{
    struct step_run run = { .loop = loop };
    cora_value outcome;
    run_enter(&run, top);
    run.closed = true;
    enum drive_end end = coroutine_drive(&run, generator_exit(), &outcome);
    int code = cora_error_code(outcome);
    if (end == DRIVE_RAISED && code != CORA_EGENERATOREXIT && code != CORA_ECANCELLED)
        report_plain(loop, "Exception ignored in a coroutine that was closed", outcome, NULL);
    cora_drop(outcome);
    run_leave(&run);
}
