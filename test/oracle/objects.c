/*
 * How it works: a name is bound to its latest object, as a value; a struct object remembers every
 * future that has a name of its own, and keeps it, because Cora gives a finished one back when
 * nobody does.
 *
 * Tasks are made in several places (spawn, gather, shield), but all of them by the loop's task
 * factory. It finds the wanted name in the locals of the coroutine.
 */
#include "oracle.h"

#include <stdlib.h>
#include <string.h>

/* ---- objects ---- */

/* The name of the next object that is called so. */
static const char *next_name(struct machine *machine, struct name *name)
{
    if (++name->uses == 1)
        return name->text;
    return program_printf(machine->program, "%s#%u", name->text, name->uses);
}

static size_t object_add(struct machine *machine, const char *name, cora_future future,
                         bool is_task)
{
    machine->objects = array_grow(machine->objects, machine->object_count, &machine->object_room,
                                  sizeof *machine->objects);
    machine->objects[machine->object_count] = (struct object){ name, future, is_task };
    return machine->object_count++;
}

static const struct object *object_find(const struct machine *machine, cora_future future)
{
    for (size_t i = 0; i < machine->object_count; i++)
        if (cora_same(machine->objects[i].future, future))
            return &machine->objects[i];
    return NULL;
}

const char *object_name(const struct machine *machine, cora_future future)
{
    const struct object *object = object_find(machine, future);
    return object ? object->name : "?";
}

/* shield gives back a future that is done: it keeps its name. */
cora_value object_called(struct machine *machine, struct name *name, cora_future future)
{
    if (cora_is_null(future))
        return cora_last_error();
    const char *text = next_name(machine, name);
    if (!object_find(machine, future))
        object_add(machine, text, cora_keep(future), false);
    name->object = cora_from_future(future);
    return cora_nothing();
}

/* A task is counted before its first step, which may run inside of the call that makes it. */
static cora_future make_task(cora_args bound, cora_loop loop, cora_coro coro,
                             const struct cora_task_options *options)
{
    struct machine *machine = cora_arg(bound, 0, struct machine *);
    const struct flow *flow = cora_locals(coro, struct flow);
    const char *name = next_name(machine, flow->wanted);
    size_t index = object_add(machine, name, (cora_future){ 0 }, true);
    struct cora_task_options named = { .name = name };
    if (options)
        named.context = options->context, named.eager_start = options->eager_start;
    cora_future task = cora_task_new(loop, coro, &named, CORA_PLACE("task"));
    machine->objects[index].future = cora_keep(task);
    return task;
}

int objects_set_factory(struct machine *machine)
{
    return cora_set_task_factory(machine->loop, cora_partial(make_task, machine));
}

void objects_release(struct machine *machine)
{
    scopes_end(machine);
    for (size_t i = 0; i < machine->object_count; i++)
        if (cora_release(machine->objects[i].future) != 0)
            give_up("what was kept is gone");
    free(machine->objects);
    free(machine->deadlines);
}

/* ---- what operands mean ---- */

bool operand_future(const struct machine *machine, const struct operand *operand,
                    cora_future *ret_future)
{
    *ret_future = (cora_future){ 0 };
    if (operand->name == machine->program->self)
        *ret_future = cora_current_task(machine->loop);
    else if (!cora_is_nothing(operand->name->object))
        *ret_future = cora_as_future(operand->name->object);
    return !cora_is_null(*ret_future);
}

bool operand_awaitable(struct machine *machine, const struct operand *operand,
                       cora_awaitable *ret_awaitable)
{
    cora_future future = { 0 };
    if (operand->fresh) {
        struct definition *definition = operand->name->definition;
        *ret_awaitable = cora_awaitable_of(flow_new(machine, definition, definition->fresh));
        return true;
    }
    bool found = operand_future(machine, operand, &future);
    *ret_awaitable = cora_awaitable_of(future);
    return found;
}

size_t operand_list(struct machine *machine, const struct instruction *instruction, size_t first,
                    cora_awaitable *ret_awaitables)
{
    size_t count = 0;
    for (size_t i = first; i < instruction->count; i++)
        count += operand_awaitable(machine, &instruction->operands[i], &ret_awaitables[count]);
    return count;
}

/* ---- declared objects ---- */

/* One made before the run is kept until it is released, as any other is. */
static cora_value future_make(struct machine *machine, const struct declaration *declaration)
{
    cora_future future = cora_future_new(machine->loop);
    object_add(machine, next_name(machine, declaration->name), future, false);
    return cora_from_future(future);
}

static cora_value future_final(cora_value object)
{
    return future_state(cora_as_future(object));
}

static cora_value counter_make(struct machine *machine, const struct declaration *declaration)
{
    (void)machine, (void)declaration;
    return cora_int(0);
}

static const struct declared kinds[] = {
    { "future", KIND_FUTURE, "", future_make, future_final },
    { "counter", KIND_COUNTER, "", counter_make, cora_from_value },
    { "lock", KIND_LOCK, "", lock_make, lock_final },
    { "event", KIND_EVENT, "", event_make, event_final },
    { "semaphore", KIND_SEMAPHORE, "i", semaphore_make, semaphore_final },
    { "bounded_semaphore", KIND_SEMAPHORE, "i", bounded_semaphore_make, semaphore_final },
    { "condition", KIND_CONDITION, "l?", condition_make, condition_final },
    { "barrier", KIND_BARRIER, "i", barrier_make, barrier_final },
    { "queue", KIND_QUEUE, "i", queue_make, queue_final },
    { "lifo_queue", KIND_QUEUE, "i", lifo_queue_make, queue_final },
    { "priority_queue", KIND_QUEUE, "i", priority_queue_make, queue_final },
};

const struct declared *declared_find(const char *keyword)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].keyword, keyword) == 0)
            return &kinds[i];
    return NULL;
}

void objects_declare(struct machine *machine)
{
    const struct declaration *declaration = machine->program->declarations;
    scopes_start(machine);
    for (; declaration; declaration = declaration->next)
        declaration->name->object = declaration->declared->make(machine, declaration);
}
