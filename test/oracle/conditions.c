/*
 * The instructions of conditions and barriers. Those that have to do with a condition's lock are in
 * sync.c.
 */
#include "oracle.h"

/* ---- conditions ---- */

static cora_condition condition_of(const struct instruction *self)
{
    return cora_as_condition(self->operands[0].name->object);
}

static cora_value act_notify(struct machine *machine, const struct instruction *self)
{
    (void)machine;
    return from_code(cora_condition_notify(condition_of(self), (size_t)self->operands[1].number));
}

static cora_value act_notify_all(struct machine *machine, const struct instruction *self)
{
    (void)machine;
    return from_code(cora_condition_notify_all(condition_of(self)));
}

static cora_value start_cond_wait(struct machine *machine, const struct instruction *self,
                                  cora_awaitable *ret_awaitable)
{
    (void)machine;
    *ret_awaitable = cora_condition_wait(condition_of(self));
    return cora_nothing();
}

/* Whether a counter has come far enough. What it gets is the machine and the instruction. */
static cora_value predicate(cora_value argument)
{
    struct machine *machine = cora_as_pointer(cora_list_at(argument, 0));
    const struct instruction *self = cora_as_pointer(cora_list_at(argument, 1));
    const struct operand *counter = &self->operands[1], *least = &self->operands[2];
    bool enough = cora_as_int(counter->name->object) >= least->number;
    cora_value words = cora_textf("predicate %s %s", counter->word, least->word);
    note(machine, cora_as_text(words), truth(enough));
    return cora_from(enough);
}

static cora_value start_cond_wait_for(struct machine *machine, const struct instruction *self,
                                      cora_awaitable *ret_awaitable)
{
    cora_value both[] = { cora_from(machine), cora_from(self) };
    *ret_awaitable = cora_condition_wait_for(condition_of(self), predicate, cora_list(both, 2));
    return cora_nothing();
}

cora_value condition_make(struct machine *machine, const struct declaration *declaration)
{
    const struct operand *lock = &declaration->operands[0];
    if (!lock->given)
        return cora_from(cora_condition_new(machine->loop));
    return cora_from(cora_condition_of(cora_as_lock(lock->name->object)));
}

cora_value condition_final(cora_value object)
{
    return cora_static(cora_condition_locked(cora_as_condition(object)) ? "locked" : "unlocked");
}

/* ---- barriers ---- */

static cora_barrier barrier_of(const struct instruction *self)
{
    return cora_as_barrier(self->operands[0].name->object);
}

static const char *broken(cora_barrier barrier)
{
    return cora_as_text(truth(cora_barrier_broken(barrier)));
}

static cora_value act_barrier_state(struct machine *machine, const struct instruction *self)
{
    cora_barrier barrier = barrier_of(self);
    (void)machine;
    return cora_textf("%d %s", (int)cora_barrier_n_waiting(barrier), broken(barrier));
}

static cora_value start_barrier_wait(struct machine *machine, const struct instruction *self,
                                     cora_awaitable *ret_awaitable)
{
    (void)machine;
    *ret_awaitable = cora_barrier_wait(barrier_of(self));
    return cora_nothing();
}

/* These two never wait, so here they are simply called. */
static cora_value act_barrier_reset(struct machine *machine, const struct instruction *self)
{
    (void)machine;
    return from_code(cora_barrier_reset(barrier_of(self)));
}

static cora_value act_barrier_abort(struct machine *machine, const struct instruction *self)
{
    (void)machine;
    return from_code(cora_barrier_abort(barrier_of(self)));
}

cora_value barrier_make(struct machine *machine, const struct declaration *declaration)
{
    return cora_from(cora_barrier_new(machine->loop, declaration->operands[0].number));
}

cora_value barrier_final(cora_value object)
{
    cora_barrier barrier = cora_as_barrier(object);
    return cora_textf("waiting %d broken %s", (int)cora_barrier_n_waiting(barrier),
                      broken(barrier));
}

const struct operation condition_operations[] = {
    { .name = "notify", .signature = "di", .act = act_notify },
    { .name = "notify_all", .signature = "d", .act = act_notify_all },
    { .name = "cond_wait",
      .signature = "d",
      .kind = OPERATION_AWAITING,
      .start = start_cond_wait,
      .show = show_truth },
    { .name = "cond_wait_for",
      .signature = "dni",
      .kind = OPERATION_AWAITING,
      .start = start_cond_wait_for,
      .show = show_truth },
    { .name = "barrier_state", .signature = "b", .act = act_barrier_state },
    { .name = "barrier_wait",
      .signature = "b",
      .kind = OPERATION_AWAITING,
      .start = start_barrier_wait },
    { .name = "barrier_reset",
      .signature = "b",
      .kind = OPERATION_AWAITING,
      .act = act_barrier_reset },
    { .name = "barrier_abort",
      .signature = "b",
      .kind = OPERATION_AWAITING,
      .act = act_barrier_abort },
    { 0 },
};
