/*
 * The instructions of tasks, and the direct await of a coroutine.
 */
#include "oracle.h"

static cora_value act_current(struct machine *machine, const struct instruction *self)
{
    cora_future task = cora_current_task(machine->loop);
    (void)self;
    return cora_is_null(task) ? cora_nothing() : cora_text(cora_get_name(task));
}

/* What makes tasks gives it its name (objects.c). */
static cora_value act_spawn(struct machine *machine, const struct instruction *self)
{
    struct name *name = self->operands[0].name;
    cora_coro coro = flow_new(machine, self->operands[1].name->definition, name);
    cora_future task = cora_create_task(machine->loop, coro);
    if (cora_is_null(task))
        return cora_last_error();
    name->object = cora_from_future(task);
    return cora_nothing();
}

static cora_value act_uncancel(struct machine *machine, const struct instruction *self)
{
    cora_future task;
    if (!operand_future(machine, &self->operands[0], &task))
        return error_new("NameError");
    return cora_from(cora_uncancel(task));
}

static cora_value act_cancelling(struct machine *machine, const struct instruction *self)
{
    cora_future task;
    if (!operand_future(machine, &self->operands[0], &task))
        return error_new("NameError");
    return cora_from(cora_cancelling(task));
}

static cora_value start_call(struct machine *machine, const struct instruction *self,
                             cora_awaitable *ret_awaitable)
{
    cora_coro coro = flow_new(machine, self->operands[0].name->definition, NULL);
    *ret_awaitable = cora_awaitable_of(coro);
    return cora_nothing();
}

const struct operation task_operations[] = {
    { .name = "current", .signature = "", .act = act_current },
    { .name = "spawn", .signature = ">Tc", .act = act_spawn },
    { .name = "uncancel", .signature = "T", .act = act_uncancel },
    { .name = "cancelling", .signature = "T", .act = act_cancelling },
    { .name = "call", .signature = "c", .kind = OPERATION_AWAITING, .start = start_call },
    { 0 },
};
