/*
 * How it works: what is being entered is noted in the coroutine before its operation is awaited, as
 * something that is left when the coroutine ends; a step of ours between the two makes the note
 * good. Leaving is a finally step like a program's own, which awaits what the operation gives it.
 */
#include "private_coroutine.h"

/*
 * The coroutine has what it entered: the note, which is the last one whose step did not run yet, is
 * good.
 */
static cora_next with_entered(cora_coro self)
{
    struct coroutine *coro = coroutine_find(self);
    struct extra *extra = coro->extras;
    while ((extra->kind != EXTRA_ENTERING && extra->kind != EXTRA_LEAVE) || !extra->step)
        extra = extra->next;
    cora_step step = extra->step;
    extra->kind = EXTRA_LEAVE;
    extra->step = NULL;
    return step(self);
}

cora_next cora_with_at(cora_coro self, cora_awaitable what, cora_step step,
                       const struct cora_place *place)
{
    struct coroutine *coro = coroutine_stepping(self);
    if (!step)
        return cora_raise(self, cora_error(CORA_ETYPE, "the step of cora_with is NULL"));
    if (!coro || !what.operation || !what.operation->leave)
        return cora_raise(self,
                          cora_error(CORA_ETYPE, "there is nothing to leave of what cora_with "
                                                 "was given: it wants an operation such as "
                                                 "cora_lock_acquire"));
    struct extra *extra = extra_new(coro, EXTRA_ENTERING);
    if (!extra || !value_keep(what.value, &extra->value))
        return cora_raise(self, memory_error());
    extra->step = step;
    extra->as.operation = what.operation;
    cora_next next = cora_await_awaitable(self, what, with_entered, false, place);
    if ((next.what & NEXT_KIND) == NEXT_VALUE)
        extra->kind = EXTRA_LEAVE; /* entered, whatever the step returns */
    return next;
}

void with_entered_in_vain(struct coroutine *coro)
{
    struct extra *extra = coro->extras;
    if (coro->step != with_entered)
        return; /* what it awaits is no entering, whatever failed to be entered before */
    while (extra && extra->kind != EXTRA_ENTERING)
        extra = extra->next;
    if (!extra)
        return;
    extra->kind = EXTRA_LEAVE;
    extra->step = NULL;
}

static cora_next with_left(cora_coro self)
{
    cora_value error = cora_caught(self);
    return cora_is_nothing(error) ? cora_go_on(self) : cora_raise(self, error);
}

cora_next with_leave(cora_coro self)
{
    const struct extra *extra = coroutine_find(self)->extras;
    while (extra->kind != EXTRA_FINALLY_RUNNING)
        extra = extra->next;
    cora_awaitable left = extra->as.operation->leave(cora_got(self), cora_raised(self));
    return cora_try(self, left, with_left);
}

cora_value cora_raised(cora_coro self)
{
    struct coroutine *coro = coroutine_stepping(self);
    const struct extra *extra = coro ? coro->extras : NULL;
    while (extra && extra->kind != EXTRA_FINALLY_RUNNING)
        extra = extra->next;
    return extra && extra->raised ? extra->value : cora_nothing();
}

/* ---- objects for a part of a coroutine ---- */

/* A note to be used again, of those made last: its object was closed elsewhere. Or a new one. */
static struct extra *note_new(struct coroutine *coro)
{
    struct extra *extra = coro->extras;
    for (int i = 0; extra && i < 8; i++, extra = extra->next)
        if (extra->kind == EXTRA_OBJECT && !object_is_there((uint64_t)extra->value.as.integer))
            return extra;
    return extra_new(coro, EXTRA_OBJECT);
}

void object_hold(uint64_t bits, const struct cora_object_type *type)
{
    struct step_run *run = cora_thread.run;
    struct extra *extra = bits && run && run->bits != NO_STEP ? note_new(run->top) : NULL;
    if (!extra)
        return; /* made outside of a step; without memory its loop has it */
    extra->value = cora_int((int64_t)bits);
    extra->as.type = type;
}

int object_close_held(uint64_t bits, const struct cora_object_type *type)
{
    struct step_run *run = cora_thread.run;
    struct extra **place = run && run->bits != NO_STEP ? &run->top->extras : NULL;
    while (place && *place &&
           ((*place)->kind != EXTRA_OBJECT || (uint64_t)(*place)->value.as.integer != bits))
        place = &(*place)->next;
    struct extra *extra = place ? *place : NULL;
    if (extra) {
        *place = extra->next;
        block_put(extra, sizeof *extra);
    }
    return cora_object_close(bits, type);
}
