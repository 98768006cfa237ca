/*
 * The instructions of locks and events. Semaphores and conditions share some of them, and are not
 * there yet.
 */
#include "oracle.h"

static const struct name *first_name(const struct instruction *self)
{
    return self->operands[0].name;
}

/* An operation that ends with true. */
static cora_value show_truth(struct machine *machine, cora_value value)
{
    (void)machine;
    return truth(cora_as_int(value) != 0);
}

/* ---- locks ---- */

static cora_lock lock_of(const struct instruction *self)
{
    return cora_as_lock(first_name(self)->object);
}

static cora_value act_release(struct machine *machine, const struct instruction *self)
{
    (void)machine;
    return from_code(cora_lock_release(lock_of(self)));
}

static cora_value act_locked(struct machine *machine, const struct instruction *self)
{
    (void)machine;
    return truth(cora_lock_locked(lock_of(self)));
}

static cora_value start_acquire(struct machine *machine, const struct instruction *self,
                                cora_awaitable *ret_awaitable)
{
    (void)machine;
    *ret_awaitable = cora_lock_acquire(lock_of(self));
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
    flow_await(flow, cora_lock_acquire(lock_of(self)), acquired);
}

/* An error of the release takes the place of what was under way. */
static void leave_with(struct flow *flow, struct level *level)
{
    const struct instruction *block = level->block;
    cora_value error = from_code(cora_lock_release(lock_of(block)));
    if (cora_is_error(error))
        flow_set_outcome(flow, RAISING, error);
    else if (flow->outcome.way == RAISING)
        error = flow->outcome.value;
    flow->depth--;
    note(flow->machine, cora_as_text(cora_textf("end %s", block->text)), error);
}

cora_value lock_make(struct machine *machine, const struct declaration *declaration)
{
    (void)declaration;
    return cora_from(cora_lock_new(machine->loop));
}

cora_value lock_final(cora_value object)
{
    return cora_static(cora_lock_locked(cora_as_lock(object)) ? "locked" : "unlocked");
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
