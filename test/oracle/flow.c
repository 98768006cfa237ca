/*
 * How it works: a coroutine of the language is a Cora coroutine with two steps. The first one and
 * the one after each await both go on with the instructions until one has something to await.
 *
 * The locals hold where it is: a stack of levels, one for the body and one for each block that it
 * is in, and the outcome under way, which leaves one level after the other until a block stops it.
 * Every await is a cora_try, so that errors become outcomes here and the language's own try
 * decides.
 */
#include "oracle.h"

void flow_enter(struct flow *flow, const struct instruction *block, const struct instruction *body)
{
    flow->levels[flow->depth++] = (struct level){ .block = block, .next = body };
}

void flow_set_outcome(struct flow *flow, enum way way, cora_value value)
{
    flow->outcome = (struct outcome){ way, cora_hold(flow->self, value) };
}

void flow_await(struct flow *flow, cora_awaitable awaitable,
                void (*then)(struct flow *flow, cora_value got))
{
    flow->awaited = awaitable;
    flow->then = then;
}

/* ---- instructions ---- */

/* An awaiting instruction is over. */
static void on_awaited(struct flow *flow, cora_value got)
{
    const struct instruction *instruction = flow->waiting;
    const struct operation *operation = instruction->operation;
    if (cora_is_error(got))
        flow_set_outcome(flow, RAISING, got);
    else if (operation->show)
        got = operation->show(flow->machine, got);
    note(flow->machine, instruction->text, got);
}

static void start(struct flow *flow, const struct instruction *instruction)
{
    cora_awaitable awaitable;
    cora_value error = instruction->operation->start(flow->machine, instruction, &awaitable);
    flow->waiting = instruction;
    if (cora_is_error(error))
        note(flow->machine, instruction->text, error);
    else
        flow_await(flow, awaitable, on_awaited);
}

static void execute(struct flow *flow, const struct instruction *instruction)
{
    const struct operation *operation = instruction->operation;
    if (operation->act)
        note(flow->machine, instruction->text, operation->act(flow->machine, instruction));
    else if (operation->start)
        start(flow, instruction);
    else
        operation->enter(flow, instruction);
}

/* ---- the coroutine ---- */

static cora_next resumed(cora_coro self);

static void leave(struct flow *flow, struct level *level)
{
    if (level->block)
        level->block->operation->leave(flow, level);
    else
        flow->depth--;
}

static cora_next ended(const struct flow *flow)
{
    struct outcome outcome = flow->outcome;
    if (outcome.way == RAISING)
        return cora_raise(flow->self, outcome.value);
    return cora_return(flow->self, outcome.way == RETURNING ? outcome.value : cora_nothing());
}

static cora_next proceed(struct flow *flow)
{
    while (flow->depth > 0 && !flow->then) {
        struct level *level = &flow->levels[flow->depth - 1];
        const struct instruction *next = level->next;
        if (flow->outcome.way != GOING_ON || !next) {
            leave(flow, level);
        } else {
            level->next = next->next;
            execute(flow, next);
        }
    }
    return flow->then ? cora_try(flow->self, flow->awaited, resumed) : ended(flow);
}

static cora_next resumed(cora_coro self)
{
    struct flow *flow = cora_locals(self, struct flow);
    void (*then)(struct flow *, cora_value) = flow->then;
    flow->then = NULL;
    then(flow, cora_got(self));
    return proceed(flow);
}

static cora_next started(cora_coro self)
{
    struct flow *flow = cora_locals(self, struct flow);
    flow->self = self;
    note(flow->machine, flow->definition->text, cora_nothing());
    flow_enter(flow, NULL, flow->definition->body);
    return proceed(flow);
}

cora_coro flow_new(struct machine *machine, struct definition *definition, struct name *wanted)
{
    return cora_coroutine(started, struct flow, .machine = machine, .definition = definition,
                          .wanted = wanted);
}

/* ---- callbacks ---- */

bool run_in_callback(struct machine *machine, const struct instruction *body)
{
    for (const struct instruction *at = body; at; at = at->next) {
        const struct operation *operation = at->operation;
        if (operation->act)
            note(machine, at->text, operation->act(machine, at));
        else if (!operation->in_callback(machine, at))
            return false;
    }
    return true;
}

void fired(struct machine *machine, const char *words, const char *tag, cora_value value)
{
    const struct name *name = name_find(machine->program, tag);
    note(machine, words, value);
    if (name)
        run_in_callback(machine, name->definition->body);
}
