/*
 * The instructions of locks, events and semaphores. What is acquired and released may also be a
 * condition: that is, its lock.
 */
#include "oracle.h"

static const struct name *first_name(const struct instruction *self)
{
    return self->operands[0].name;
}

/* ---- acquire and release: locks, semaphores and conditions ---- */

static cora_awaitable acquire(const struct name *name)
{
    if (name->kind == KIND_SEMAPHORE)
        return cora_semaphore_acquire(cora_as_semaphore(name->object));
    if (name->kind == KIND_CONDITION)
        return cora_condition_acquire(cora_as_condition(name->object));
    return cora_lock_acquire(cora_as_lock(name->object));
}

static cora_value release(const struct name *name)
{
    if (name->kind == KIND_SEMAPHORE)
        return from_code(cora_semaphore_release(cora_as_semaphore(name->object)));
    if (name->kind == KIND_CONDITION)
        return from_code(cora_condition_release(cora_as_condition(name->object)));
    return from_code(cora_lock_release(cora_as_lock(name->object)));
}

static bool is_locked(const struct name *name)
{
    if (name->kind == KIND_SEMAPHORE)
        return cora_semaphore_locked(cora_as_semaphore(name->object));
    if (name->kind == KIND_CONDITION)
        return cora_condition_locked(cora_as_condition(name->object));
    return cora_lock_locked(cora_as_lock(name->object));
}

static cora_value act_release(struct machine *machine, const struct instruction *self)
{
    (void)machine;
    return release(first_name(self));
}

static cora_value act_locked(struct machine *machine, const struct instruction *self)
{
    (void)machine;
    return truth(is_locked(first_name(self)));
}

static cora_value start_acquire(struct machine *machine, const struct instruction *self,
                                cora_awaitable *ret_awaitable)
{
    (void)machine;
    *ret_awaitable = acquire(first_name(self));
    return cora_nothing();
}

static void acquired(struct flow *flow, cora_value got)
{
    const struct instruction *block = flow->waiting;
    note(flow->machine, block->text, cora_is_error(got) ? got : cora_nothing());
    if (cora_is_error(got))
        flow_set_outcome(flow, RAISING, got);
    else
        flow_enter(flow, block, block->body);
}

static void enter_with(struct flow *flow, const struct instruction *self)
{
    flow->waiting = self;
    flow_await(flow, acquire(first_name(self)), acquired);
}

/* An error of the release takes the place of what was under way. */
static void leave_with(struct flow *flow, struct level *level)
{
    const struct instruction *block = level->block;
    cora_value error = release(first_name(block));
    if (cora_is_error(error))
        flow_set_outcome(flow, RAISING, error);
    else if (flow->outcome.way == RAISING)
        error = flow->outcome.value;
    flow->depth--;
    note(flow->machine, cora_as_text(cora_textf("end %s", block->text)), error);
}

/* ---- locks and semaphores ---- */

cora_value lock_make(struct machine *machine, const struct declaration *declaration)
{
    (void)declaration;
    return cora_from(cora_lock_new(machine->loop));
}

cora_value lock_final(cora_value object)
{
    return cora_static(cora_lock_locked(cora_as_lock(object)) ? "locked" : "unlocked");
}

cora_value semaphore_make(struct machine *machine, const struct declaration *declaration)
{
    return cora_from(cora_semaphore_new(machine->loop, declaration->operands[0].number));
}

cora_value bounded_semaphore_make(struct machine *machine, const struct declaration *declaration)
{
    return cora_from(cora_bounded_semaphore_new(machine->loop, declaration->operands[0].number));
}

static void on_unit(cora_args bound, cora_future done)
{
    (void)bound, (void)done;
}

/* How many units can be taken without waiting: that is found out by taking them. */
cora_value semaphore_final(cora_value object)
{
    cora_semaphore semaphore = cora_as_semaphore(object);
    int permits = 0;
    for (; !cora_semaphore_locked(semaphore); permits++)
        cora_when_done(cora_semaphore_acquire(semaphore), cora_partial(on_unit));
    return cora_textf("permits %d", permits);
}

/* ---- events ---- */

static cora_event event_of(const struct instruction *self)
{
    return cora_as_event(first_name(self)->object);
}

static cora_value act_event_set(struct machine *machine, const struct instruction *self)
{
    (void)machine;
    return from_code(cora_event_set(event_of(self)));
}

static cora_value act_event_clear(struct machine *machine, const struct instruction *self)
{
    (void)machine;
    return from_code(cora_event_clear(event_of(self)));
}

static cora_value act_is_set(struct machine *machine, const struct instruction *self)
{
    (void)machine;
    return truth(cora_event_is_set(event_of(self)));
}

static cora_value start_event_wait(struct machine *machine, const struct instruction *self,
                                   cora_awaitable *ret_awaitable)
{
    (void)machine;
    *ret_awaitable = cora_event_wait(event_of(self));
    return cora_nothing();
}

cora_value event_make(struct machine *machine, const struct declaration *declaration)
{
    (void)declaration;
    return cora_from(cora_event_new(machine->loop));
}

cora_value event_final(cora_value object)
{
    return cora_static(cora_event_is_set(cora_as_event(object)) ? "set" : "unset");
}

const struct operation sync_operations[] = {
    { .name = "release", .signature = "x", .act = act_release },
    { .name = "locked", .signature = "x", .act = act_locked },
    { .name = "acquire",
      .signature = "x",
      .kind = OPERATION_AWAITING,
      .start = start_acquire,
      .show = show_truth },
    { .name = "with",
      .signature = "x",
      .kind = OPERATION_BLOCK,
      .enter = enter_with,
      .leave = leave_with },
    { .name = "event_set", .signature = "v", .act = act_event_set },
    { .name = "event_clear", .signature = "v", .act = act_event_clear },
    { .name = "is_set", .signature = "v", .act = act_is_set },
    { .name = "event_wait",
      .signature = "v",
      .kind = OPERATION_AWAITING,
      .start = start_event_wait,
      .show = show_truth },
    { 0 },
};
