/*
 * The instructions that have to do with many awaitables, or with one behind another: gather, shield
 * and wait.
 */
#include "oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- gather and shield ---- */

static cora_value gather(struct machine *machine, const struct instruction *self, bool tolerant)
{
    cora_awaitable items[WORDS_MAX];
    size_t count = operand_list(machine, self, 1, items);
    cora_future future = cora_gather(machine->loop, items, count, .return_exceptions = tolerant);
    return object_called(machine, self->operands[0].name, future);
}

static cora_value act_gather(struct machine *machine, const struct instruction *self)
{
    return gather(machine, self, false);
}

static cora_value act_gather_r(struct machine *machine, const struct instruction *self)
{
    return gather(machine, self, true);
}

static cora_value act_shield(struct machine *machine, const struct instruction *self)
{
    cora_awaitable inner;
    if (!operand_awaitable(machine, &self->operands[1], &inner))
        return error_new("NameError");
    cora_future future = cora_shield(machine->loop, inner);
    return object_called(machine, self->operands[0].name, future);
}

/* ---- wait ---- */

static enum cora_return_when rule_of(const char *word)
{
    if (strcmp(word, "all") == 0)
        return CORA_ALL_COMPLETED;
    return strcmp(word, "first") == 0 ? CORA_FIRST_COMPLETED : CORA_FIRST_EXCEPTION;
}

static cora_value start_wait(struct machine *machine, const struct instruction *self,
                             cora_awaitable *ret_awaitable)
{
    cora_future *items = machine->waited;
    size_t count = 0;
    const struct operand *limit = &self->operands[1];
    double timeout = limit->given ? trace_delay(machine, limit->number) : INFINITY;
    for (size_t i = 2; i < self->count; i++)
        count += operand_future(machine, &self->operands[i], &items[count]);
    *ret_awaitable = cora_wait(items, count, timeout, rule_of(self->operands[0].word));
    return cora_nothing();
}

static int by_bytes(const void *one, const void *other)
{
    return strcmp(*(const char *const *)one, *(const char *const *)other);
}

/* The names of a set of futures, sorted. */
static cora_value set_text(const struct machine *machine, cora_value set)
{
    const char *names[WORDS_MAX];
    size_t count = cora_list_size(set);
    cora_value text = cora_static("");
    for (size_t i = 0; i < count; i++)
        names[i] = object_name(machine, cora_as_future(cora_list_at(set, i)));
    qsort(names, count, sizeof names[0], by_bytes);
    for (size_t i = 0; i < count; i++)
        text = cora_textf("%s%s%s", cora_as_text(text), i ? " " : "", names[i]);
    return text;
}

static cora_value show_wait(struct machine *machine, cora_value value)
{
    cora_value done = set_text(machine, cora_list_at(value, 0));
    cora_value pending = set_text(machine, cora_list_at(value, 1));
    return cora_textf("{%s} {%s}", cora_as_text(done), cora_as_text(pending));
}

const struct operation wait_operations[] = {
    { .name = "gather", .signature = ">Aa*", .act = act_gather },
    { .name = "gather_r", .signature = ">Aa*", .act = act_gather_r },
    { .name = "shield", .signature = ">Aa", .act = act_shield },
    { .name = "wait",
      .signature = "moA*",
      .kind = OPERATION_AWAITING,
      .start = start_wait,
      .show = show_wait },
    { 0 },
};
