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

/* A name means this task from now on; the error of a null one. */
static cora_value bind_task(struct name *name, cora_future task)
{
    if (cora_is_null(task))
        return cora_last_error();
    name->object = cora_from_future(task);
    return cora_nothing();
}

/* What makes tasks gives it its name (objects.c). */
static cora_value spawn(struct machine *machine, const struct instruction *self, bool eager)
{
    struct name *name = self->operands[0].name;
    cora_coro coro = flow_new(machine, self->operands[1].name->definition, name);
    return bind_task(name, cora_create_task(machine->loop, coro, .eager_start = eager));
}

static cora_value act_spawn(struct machine *machine, const struct instruction *self)
{
    return spawn(machine, self, false);
}

static cora_value act_spawn_eager(struct machine *machine, const struct instruction *self)
{
    return spawn(machine, self, true);
}

/* The same in a group, which may refuse it. */
static cora_value group_spawn(struct machine *machine, const struct instruction *self, bool eager)
{
    cora_value group = self->operands[0].name->object;
    struct name *name = self->operands[1].name;
    if (cora_is_nothing(group))
        return error_new("NameError");
    cora_coro coro = flow_new(machine, self->operands[2].name->definition, name);
    return bind_task(
        name, cora_task_group_create_task(cora_as_task_group(group), coro, .eager_start = eager));
}

static cora_value act_gspawn(struct machine *machine, const struct instruction *self)
{
    return group_spawn(machine, self, false);
}

static cora_value act_gspawn_eager(struct machine *machine, const struct instruction *self)
{
    return group_spawn(machine, self, true);
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
    { .name = "spawn_eager", .signature = ">Tc", .act = act_spawn_eager },
    { .name = "gspawn", .signature = "G>Tc", .act = act_gspawn },
    { .name = "gspawn_eager", .signature = "G>Tc", .act = act_gspawn_eager },
    { .name = "uncancel", .signature = "T", .act = act_uncancel },
    { .name = "cancelling", .signature = "T", .act = act_cancelling },
    { .name = "call", .signature = "c", .kind = OPERATION_AWAITING, .start = start_call },
    { 0 },
};
