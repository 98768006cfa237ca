/*
 * The instructions of time limits and groups of tasks, which are blocks, of wait_for, and of
 * as_completed.
 *
 * A Cora object that is made in a coroutine's step is closed when that coroutine ends. In the
 * language a limit can be asked for its state as long as the program runs, and by everybody: so all
 * of them are made by the keeper, a generator that lives as long as the machine and gives a new one
 * whenever it is asked to.
 *
 * The names of limits and groups may mean something new by the time a block is left, so a level of
 * the coroutine remembers what it has entered.
 */
#include "oracle.h"

#include <math.h>

/* ---- the keeper ---- */

/* What is sent is a limit's seconds, or nothing for a group. */
static cora_next keep(cora_coro self)
{
    struct machine *machine = *cora_locals(self, struct machine *);
    cora_value seconds = cora_got(self);
    if (cora_is_nothing(seconds))
        return cora_yield(self, cora_task_group_new(machine->loop), keep);
    return cora_yield(self, cora_timeout_new(machine->loop, cora_as_real(seconds)), keep);
}

static cora_next keeper(cora_coro self)
{
    return cora_yield(self, cora_nothing(), keep);
}

void scopes_start(struct machine *machine)
{
    machine->keeper = cora_generator(keeper, struct machine *, machine);
    if (cora_send(machine->keeper, cora_nothing(), NULL) != 1)
        give_up("nobody keeps limits and groups");
}

void scopes_end(struct machine *machine)
{
    if (cora_coro_close(machine->keeper) != 0)
        give_up("limits and groups are kept for ever");
}

static cora_value scope_new(struct machine *machine, cora_value seconds)
{
    cora_value scope;
    if (cora_send(machine->keeper, seconds, &scope) != 1)
        give_up("no new limit or group");
    return scope;
}

/* ---- blocks ---- */

/* The line of a block that is left. */
static void note_end(struct flow *flow, const struct instruction *block, cora_value value)
{
    note(flow->machine, cora_as_text(cora_textf("end %s", block->text)), value);
}

/* It has been entered, or could not be. */
static void entered(struct flow *flow, cora_value got)
{
    const struct instruction *block = flow->waiting;
    if (cora_is_error(got)) {
        note_end(flow, block, got);
        flow_set_outcome(flow, RAISING, got);
        return;
    }
    flow_enter(flow, block, block->body);
    flow->levels[flow->depth - 1].entered = got;
}

/* The error that a level is left with, or nothing. */
static cora_value error_under_way(const struct flow *flow)
{
    return flow->outcome.way == RAISING ? flow->outcome.value : cora_nothing();
}

/* A level has been left: with an error or without one, whatever was under way before. */
static void left(struct flow *flow, cora_value error, cora_value value)
{
    const struct instruction *block = flow->levels[--flow->depth].block;
    if (cora_is_error(error))
        flow_set_outcome(flow, RAISING, error);
    else if (flow->outcome.way == RAISING)
        flow->outcome.way = GOING_ON;
    note_end(flow, block, cora_is_error(error) ? error : value);
}

/* ---- timeout ---- */

static void enter_timeout(struct flow *flow, const struct instruction *self)
{
    struct machine *machine = flow->machine;
    const struct operand *limit = &self->operands[1];
    double seconds = limit->given ? trace_delay(machine, limit->number) : INFINITY;
    cora_value timeout = scope_new(machine, cora_real(seconds));
    self->operands[0].name->object = timeout;
    flow->waiting = self;
    flow_await(flow, cora_timeout_enter(cora_as_timeout(timeout)), entered);
}

static void left_timeout(struct flow *flow, cora_value got)
{
    cora_value timeout = flow->levels[flow->depth - 1].entered;
    left(flow, got, truth(cora_timeout_expired(cora_as_timeout(timeout))));
}

static void leave_timeout(struct flow *flow, struct level *level)
{
    cora_timeout timeout = cora_as_timeout(level->entered);
    flow_await(flow, cora_timeout_exit(timeout, error_under_way(flow)), left_timeout);
}

/* The limit of the first operand; false: there is none. */
static bool timeout_of(const struct instruction *self, cora_timeout *ret_timeout)
{
    cora_value timeout = self->operands[0].name->object;
    if (cora_is_nothing(timeout))
        return false;
    *ret_timeout = cora_as_timeout(timeout);
    return true;
}

static cora_value act_reschedule(struct machine *machine, const struct instruction *self)
{
    const struct operand *limit = &self->operands[1];
    cora_timeout timeout;
    if (!timeout_of(self, &timeout))
        return error_new("NameError");
    double delay = limit->given ? trace_delay(machine, limit->number) : INFINITY;
    return from_code(cora_timeout_reschedule(timeout, cora_time(machine->loop) + delay));
}

static cora_value act_expired(struct machine *machine, const struct instruction *self)
{
    cora_timeout timeout;
    (void)machine;
    if (!timeout_of(self, &timeout))
        return error_new("NameError");
    return truth(cora_timeout_expired(timeout));
}

static cora_value act_when(struct machine *machine, const struct instruction *self)
{
    cora_timeout timeout;
    if (!timeout_of(self, &timeout))
        return error_new("NameError");
    double when = cora_timeout_when(timeout);
    return when == INFINITY ? cora_nothing() : cora_int(trace_ms(machine, when));
}

/* ---- taskgroup ---- */

static void enter_taskgroup(struct flow *flow, const struct instruction *self)
{
    cora_value group = scope_new(flow->machine, cora_nothing());
    self->operands[0].name->object = group;
    flow->waiting = self;
    flow_await(flow, cora_task_group_enter(cora_as_task_group(group)), entered);
}

static void left_taskgroup(struct flow *flow, cora_value got)
{
    left(flow, got, cora_nothing());
}

static void leave_taskgroup(struct flow *flow, struct level *level)
{
    cora_task_group group = cora_as_task_group(level->entered);
    flow_await(flow, cora_task_group_exit(group, error_under_way(flow)), left_taskgroup);
}

/* ---- wait_for ---- */

static cora_value start_wait_for(struct machine *machine, const struct instruction *self,
                                 cora_awaitable *ret_awaitable)
{
    const struct operand *limit = &self->operands[1];
    cora_awaitable what;
    if (!operand_awaitable(machine, &self->operands[0], &what))
        return error_new("NameError");
    *ret_awaitable =
        cora_wait_for(what, limit->given ? trace_delay(machine, limit->number) : INFINITY);
    return cora_nothing();
}

/* ---- as_completed ---- */

/* The futures of a list, each once, and of those that are done the first only. */
static size_t arriving(struct machine *machine, const struct instruction *self,
                       cora_future *ret_futures)
{
    size_t count = 0;
    bool finished = false;
    for (size_t i = 1; i < self->count; i++) {
        cora_future future;
        bool fits = operand_future(machine, &self->operands[i], &future);
        for (size_t j = 0; fits && j < count; j++)
            fits = !cora_same(ret_futures[j], future);
        if (!fits || (finished && cora_done(future)))
            continue;
        finished |= cora_done(future);
        ret_futures[count++] = future;
    }
    return count;
}

static void arrived(struct flow *flow, cora_value got)
{
    struct machine *machine = flow->machine;
    if (cora_error_is(got, CORA_ESTOPASYNCITERATION)) {
        note(machine, flow->waiting->text, cora_int(flow->seen));
    } else if (cora_is_error(got)) {
        note(machine, flow->waiting->text, got);
        flow_set_outcome(flow, RAISING, got);
    } else {
        cora_future done = cora_as_future(got);
        cora_value words = cora_textf("completed %s", object_name(machine, done));
        note(machine, cora_as_text(words), cora_result(done));
        flow->seen++;
        flow_await(flow, cora_completions_next(flow->arrivals), arrived);
    }
}

static void enter_as_completed(struct flow *flow, const struct instruction *self)
{
    struct machine *machine = flow->machine;
    const struct operand *limit = &self->operands[0];
    cora_future futures[WORDS_MAX];
    size_t count = arriving(machine, self, futures);
    double timeout = limit->given ? trace_delay(machine, limit->number) : INFINITY;
    flow->arrivals = cora_as_completed(machine->loop, futures, count, timeout);
    flow->seen = 0;
    flow->waiting = self;
    flow_await(flow, cora_completions_next(flow->arrivals), arrived);
}

const struct operation scope_operations[] = {
    { .name = "timeout",
      .signature = ">Mo",
      .kind = OPERATION_BLOCK,
      .enter = enter_timeout,
      .leave = leave_timeout },
    { .name = "reschedule", .signature = "Mo", .act = act_reschedule },
    { .name = "expired", .signature = "M", .act = act_expired },
    { .name = "when", .signature = "M", .act = act_when },
    { .name = "taskgroup",
      .signature = ">G",
      .kind = OPERATION_BLOCK,
      .enter = enter_taskgroup,
      .leave = leave_taskgroup },
    { .name = "wait_for", .signature = "ao", .kind = OPERATION_AWAITING, .start = start_wait_for },
    { .name = "as_completed",
      .signature = "oA*",
      .kind = OPERATION_AWAITING,
      .enter = enter_as_completed },
    { 0 },
};
