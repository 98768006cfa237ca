/*
 * The instructions of queues of all three kinds. Items are integers; the smaller one goes first.
 */
#include "oracle.h"

#include <string.h>

static cora_queue queue_of(const struct instruction *self)
{
    return cora_as_queue(self->operands[0].name->object);
}

static cora_value item_of(const struct instruction *self)
{
    return cora_int(self->operands[1].number);
}

/* ---- instructions ---- */

static cora_value act_put_nowait(struct machine *machine, const struct instruction *self)
{
    (void)machine;
    return from_code(cora_queue_put_nowait(queue_of(self), item_of(self)));
}

static cora_value act_get_nowait(struct machine *machine, const struct instruction *self)
{
    (void)machine;
    return cora_queue_get_nowait(queue_of(self));
}

static cora_value act_task_done(struct machine *machine, const struct instruction *self)
{
    (void)machine;
    return from_code(cora_queue_task_done(queue_of(self)));
}

static cora_value act_qsize(struct machine *machine, const struct instruction *self)
{
    (void)machine;
    return cora_from(cora_queue_qsize(queue_of(self)));
}

static cora_value act_shutdown(struct machine *machine, const struct instruction *self)
{
    bool immediate = self->count > 1 && strcmp(self->operands[1].word, "immediate") == 0;
    (void)machine;
    return from_code(cora_queue_shutdown(queue_of(self), immediate));
}

static cora_value start_put(struct machine *machine, const struct instruction *self,
                            cora_awaitable *ret_awaitable)
{
    (void)machine;
    *ret_awaitable = cora_queue_put(queue_of(self), item_of(self));
    return cora_nothing();
}

static cora_value start_get(struct machine *machine, const struct instruction *self,
                            cora_awaitable *ret_awaitable)
{
    (void)machine;
    *ret_awaitable = cora_queue_get(queue_of(self));
    return cora_nothing();
}

static cora_value start_join(struct machine *machine, const struct instruction *self,
                             cora_awaitable *ret_awaitable)
{
    (void)machine;
    *ret_awaitable = cora_queue_join(queue_of(self));
    return cora_nothing();
}

/* ---- declared queues ---- */

static size_t most_items(const struct declaration *declaration)
{
    return (size_t)declaration->operands[0].number;
}

cora_value queue_make(struct machine *machine, const struct declaration *declaration)
{
    return cora_from(cora_queue_new(machine->loop, most_items(declaration)));
}

cora_value lifo_queue_make(struct machine *machine, const struct declaration *declaration)
{
    return cora_from(cora_lifo_queue_new(machine->loop, most_items(declaration)));
}

static int by_number(cora_value one, cora_value other)
{
    long long first = cora_as_int(one), second = cora_as_int(other);
    return (first > second) - (first < second);
}

cora_value priority_queue_make(struct machine *machine, const struct declaration *declaration)
{
    return cora_from(cora_priority_queue_new(machine->loop, most_items(declaration), by_number));
}

/* Takes all items out: a text of those, and the error that came instead of one more. */
static cora_value drain(cora_queue queue, cora_value *ret_error)
{
    cora_value text = cora_static("");
    const char *space = "";
    cora_value item;
    while (item = cora_queue_get_nowait(queue), !cora_is_error(item)) {
        text = cora_textf("%s%s%lld", cora_as_text(text), space, cora_as_int(item));
        space = " ";
    }
    *ret_error = item;
    return text;
}

cora_value queue_final(cora_value object)
{
    cora_queue queue = cora_as_queue(object);
    cora_value error;
    int size = (int)cora_queue_qsize(queue), unfinished = 0;
    cora_value items = drain(queue, &error);
    const char *state = cora_error_is(error, CORA_EQUEUESHUTDOWN) ? "shutdown" : "open";
    while (cora_queue_task_done(queue) == 0)
        unfinished++;
    return cora_textf("size %d items [%s] unfinished %d %s", size, cora_as_text(items), unfinished,
                      state);
}

const struct operation queue_operations[] = {
    { .name = "put_nowait", .signature = "qi", .act = act_put_nowait },
    { .name = "get_nowait", .signature = "q", .act = act_get_nowait },
    { .name = "task_done", .signature = "q", .act = act_task_done },
    { .name = "qsize", .signature = "q", .act = act_qsize },
    { .name = "shutdown", .signature = "qw?", .act = act_shutdown },
    { .name = "put", .signature = "qi", .kind = OPERATION_AWAITING, .start = start_put },
    { .name = "get", .signature = "q", .kind = OPERATION_AWAITING, .start = start_get },
    { .name = "join", .signature = "q", .kind = OPERATION_AWAITING, .start = start_join },
    { 0 },
};
