/*
 * The instructions that move between others: return, raise, reraise, repeat and try.
 *
 * How a try works: its level runs the body, then perhaps a handler, then the final part. Whatever
 * leaves the body or the handler waits behind the final part, and goes on when that is over, unless
 * the final part raises something else.
 */
#include "oracle.h"

#include <string.h>

/* ---- return and raise ---- */

static void enter_return(struct flow *flow, const struct instruction *self)
{
    cora_value value = cora_nothing();
    if (self->count > 0)
        value = cora_int(self->operands[0].number);
    note(flow->machine, self->text, value);
    flow_set_outcome(flow, RETURNING, value);
}

static void enter_raise(struct flow *flow, const struct instruction *self)
{
    cora_value error = error_new(self->operands[0].word);
    note(flow->machine, self->text, error);
    flow_set_outcome(flow, RAISING, error);
}

static bool raise_in_callback(struct machine *machine, const struct instruction *self)
{
    cora_value error = error_new(self->operands[0].word);
    note(machine, self->text, error);
    cora_fail(error);
    return false;
}

/* The innermost handler that runs: a try whose final part runs is not in its handler any more. */
static void enter_reraise(struct flow *flow, const struct instruction *self)
{
    int at = flow->depth - 1;
    while (flow->levels[at].phase != TRY_HANDLER)
        at--;
    note(flow->machine, self->text, flow->levels[at].handled);
    flow_set_outcome(flow, RAISING, flow->levels[at].handled);
}

/* ---- repeat ---- */

static void enter_repeat(struct flow *flow, const struct instruction *self)
{
    int64_t rounds = self->operands[0].number;
    if (rounds <= 0)
        return;
    flow_enter(flow, self, self->body);
    flow->levels[flow->depth - 1].rounds = rounds - 1;
}

static void leave_repeat(struct flow *flow, struct level *level)
{
    if (flow->outcome.way == GOING_ON && level->rounds-- > 0)
        level->next = level->block->body;
    else
        flow->depth--;
}

static bool repeat_in_callback(struct machine *machine, const struct instruction *self)
{
    bool goes_on = true;
    for (int64_t i = 0; goes_on && i < self->operands[0].number; i++)
        goes_on = run_in_callback(machine, self->body);
    return goes_on;
}

/* ---- try ---- */

static void enter_try(struct flow *flow, const struct instruction *self)
{
    flow_enter(flow, self, self->body);
}

static bool matches(const char *kind, cora_value error)
{
    if (strcmp(kind, "any") == 0)
        return true;
    if (strcmp(kind, "exception") == 0)
        return !cora_error_is(error, CORA_ECANCELLED);
    return strcmp(kind, error_class(error)) == 0;
}

/* Whether a handler takes the error that leaves the body; it runs then. */
static bool try_handle(struct flow *flow, struct level *level)
{
    const struct handler *handler = level->block->handlers;
    cora_value error = flow->outcome.value;
    if (flow->outcome.way != RAISING)
        return false;
    while (handler && !matches(handler->kind, error))
        handler = handler->next;
    if (!handler)
        return false;
    note(flow->machine, handler->text, error_text(error));
    level->phase = TRY_HANDLER;
    level->next = handler->body;
    level->handled = error;
    flow->outcome.way = GOING_ON;
    return true;
}

static void leave_try(struct flow *flow, struct level *level)
{
    if (level->phase == TRY_BODY && try_handle(flow, level))
        return;
    if (level->phase == TRY_FINALLY) {
        flow->depth--;
        if (flow->outcome.way == GOING_ON)
            flow->outcome = level->behind;
        return;
    }
    level->phase = TRY_FINALLY;
    level->next = level->block->final;
    level->behind = flow->outcome;
    flow->outcome.way = GOING_ON;
}

const struct operation block_operations[] = {
    { .name = "return", .signature = "i?", .kind = OPERATION_CONTROL, .enter = enter_return },
    { .name = "raise",
      .signature = "e",
      .kind = OPERATION_CONTROL,
      .enter = enter_raise,
      .in_callback = raise_in_callback },
    { .name = "reraise", .signature = "", .kind = OPERATION_CONTROL, .enter = enter_reraise },
    { .name = "repeat",
      .signature = "i",
      .kind = OPERATION_BLOCK,
      .enter = enter_repeat,
      .leave = leave_repeat,
      .in_callback = repeat_in_callback },
    { .name = "try",
      .signature = "",
      .kind = OPERATION_BLOCK,
      .enter = enter_try,
      .leave = leave_try },
    { 0 },
};
