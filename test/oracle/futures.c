/*
 * The instructions of futures, callbacks, the loop, counters and context variables.
 */
#include "oracle.h"

static const struct operand *operand_at(const struct instruction *self, size_t index)
{
    return &self->operands[index];
}

/* Its first operand's future, or the error that there is none. */
static cora_value future_of(const struct machine *machine, const struct instruction *self,
                            cora_future *ret_future)
{
    if (operand_future(machine, operand_at(self, 0), ret_future))
        return cora_nothing();
    return error_new("NameError");
}

/* ---- futures ---- */

static cora_value act_set(struct machine *machine, const struct instruction *self)
{
    cora_future future;
    operand_future(machine, operand_at(self, 0), &future);
    return from_code(cora_set_result(future, cora_int(operand_at(self, 1)->number)));
}

static cora_value act_fail(struct machine *machine, const struct instruction *self)
{
    cora_future future;
    operand_future(machine, operand_at(self, 0), &future);
    return from_code(cora_set_exception(future, error_new(operand_at(self, 1)->word)));
}

static cora_value act_cancel(struct machine *machine, const struct instruction *self)
{
    cora_future future;
    cora_value error = future_of(machine, self, &future);
    return cora_is_error(error) ? error : truth(cora_cancel(future));
}

static cora_value act_state(struct machine *machine, const struct instruction *self)
{
    cora_future future;
    cora_value error = future_of(machine, self, &future);
    return cora_is_error(error) ? error : future_state(future);
}

static cora_value start_await(struct machine *machine, const struct instruction *self,
                              cora_awaitable *ret_awaitable)
{
    if (operand_awaitable(machine, operand_at(self, 0), ret_awaitable))
        return cora_nothing();
    return error_new("NameError");
}

/* ---- done-callbacks: equal if the tag is, and the value where there is one ---- */

static void on_done(cora_args bound, cora_future done)
{
    struct machine *machine = cora_arg(bound, 0, struct machine *);
    const char *tag = cora_arg_text(bound, 1);
    const char *name = object_name(machine, done);
    fired(machine, cora_as_text(cora_textf("fired %s %s", tag, name)), tag, future_state(done));
}

static void on_done_arg(cora_args bound, cora_future done)
{
    struct machine *machine = cora_arg(bound, 0, struct machine *);
    const char *tag = cora_arg_text(bound, 1);
    long long number = cora_arg_int(bound, 2);
    const char *name = object_name(machine, done);
    cora_value words = cora_textf("fired %s %lld %s", tag, number, name);
    fired(machine, cora_as_text(words), tag, future_state(done));
}

static cora_value act_cb(struct machine *machine, const struct instruction *self)
{
    cora_future future;
    cora_value error = future_of(machine, self, &future);
    const char *tag = operand_at(self, 1)->word;
    if (cora_is_error(error))
        return error;
    return from_code(cora_add_done_callback(future, cora_partial(on_done, machine, tag)));
}

static cora_value act_uncb(struct machine *machine, const struct instruction *self)
{
    cora_future future;
    cora_value error = future_of(machine, self, &future);
    const char *tag = operand_at(self, 1)->word;
    if (cora_is_error(error))
        return error;
    return cora_from(cora_remove_done_callback(future, cora_partial(on_done, machine, tag)));
}

static cora_value act_cbarg(struct machine *machine, const struct instruction *self)
{
    cora_future future;
    cora_value error = future_of(machine, self, &future);
    const char *tag = operand_at(self, 1)->word;
    int64_t number = operand_at(self, 2)->number;
    if (cora_is_error(error))
        return error;
    return from_code(
        cora_add_done_callback(future, cora_partial(on_done_arg, machine, tag, number)));
}

static cora_value act_uncbarg(struct machine *machine, const struct instruction *self)
{
    cora_future future;
    cora_value error = future_of(machine, self, &future);
    const char *tag = operand_at(self, 1)->word;
    int64_t number = operand_at(self, 2)->number;
    if (cora_is_error(error))
        return error;
    return cora_from(
        cora_remove_done_callback(future, cora_partial(on_done_arg, machine, tag, number)));
}

/* ---- the loop ---- */

static void on_called(cora_args bound)
{
    struct machine *machine = cora_arg(bound, 0, struct machine *);
    const char *tag = cora_arg_text(bound, 1);
    fired(machine, cora_as_text(cora_textf("fired %s", tag)), tag, cora_nothing());
}

/* Binds the handle, if it has a name. */
static cora_value handle_called(const struct instruction *self, size_t index, cora_handle handle)
{
    if (cora_is_null(handle))
        return cora_last_error();
    if (index < self->count)
        operand_at(self, index)->name->object = cora_from_handle(handle);
    return cora_nothing();
}

static cora_value act_soon(struct machine *machine, const struct instruction *self)
{
    const char *tag = operand_at(self, 0)->word;
    cora_handle handle = cora_call_soon(machine->loop, cora_partial(on_called, machine, tag));
    return handle_called(self, 1, handle);
}

static cora_value act_later(struct machine *machine, const struct instruction *self)
{
    double delay = trace_delay(machine, operand_at(self, 0)->number);
    const char *tag = operand_at(self, 1)->word;
    cora_handle handle =
        cora_call_later(machine->loop, delay, cora_partial(on_called, machine, tag));
    return handle_called(self, 2, handle);
}

/* One that has run is stale by now, and there is nothing to cancel, which is all right. */
static cora_value act_cancel_handle(struct machine *machine, const struct instruction *self)
{
    cora_value handle = operand_at(self, 0)->name->object;
    (void)machine;
    if (cora_is_nothing(handle))
        return error_new("NameError");
    cora_handle_cancel(cora_as_handle(handle));
    return cora_nothing();
}

static cora_value start_yield(struct machine *machine, const struct instruction *self,
                              cora_awaitable *ret_awaitable)
{
    (void)machine, (void)self;
    *ret_awaitable = cora_sleep(0);
    return cora_nothing();
}

static cora_value start_sleep(struct machine *machine, const struct instruction *self,
                              cora_awaitable *ret_awaitable)
{
    *ret_awaitable = cora_sleep(trace_delay(machine, operand_at(self, 0)->number));
    return cora_nothing();
}

/* ---- counters and context variables ---- */

static cora_value act_log(struct machine *machine, const struct instruction *self)
{
    (void)machine, (void)self;
    return cora_nothing();
}

static cora_value act_inc(struct machine *machine, const struct instruction *self)
{
    cora_value *number = &operand_at(self, 0)->name->object;
    (void)machine;
    *number = cora_int(cora_as_int(*number) + (self->count > 1 ? operand_at(self, 1)->number : 1));
    return *number;
}

static cora_value act_ctx_set(struct machine *machine, const struct instruction *self)
{
    const cora_variable *variable = &operand_at(self, 0)->name->variable;
    (void)machine;
    return from_code(cora_context_set(variable, cora_int(operand_at(self, 1)->number)));
}

static cora_value act_ctx_get(struct machine *machine, const struct instruction *self)
{
    (void)machine;
    return cora_context_get(&operand_at(self, 0)->name->variable);
}

const struct operation future_operations[] = {
    { .name = "set", .signature = "Fi", .act = act_set },
    { .name = "fail", .signature = "Fe", .act = act_fail },
    { .name = "cancel", .signature = "A", .act = act_cancel },
    { .name = "state", .signature = "A", .act = act_state },
    { .name = "await", .signature = "A", .kind = OPERATION_AWAITING, .start = start_await },
    { .name = "cb", .signature = "Ak", .act = act_cb },
    { .name = "uncb", .signature = "Ak", .act = act_uncb },
    { .name = "cbarg", .signature = "Aki", .act = act_cbarg },
    { .name = "uncbarg", .signature = "Aki", .act = act_uncbarg },
    { .name = "soon", .signature = "k>H?", .act = act_soon },
    { .name = "later", .signature = "ik>H", .act = act_later },
    { .name = "cancel_handle", .signature = "H", .act = act_cancel_handle },
    { .name = "yield", .signature = "", .kind = OPERATION_AWAITING, .start = start_yield },
    { .name = "sleep", .signature = "i", .kind = OPERATION_AWAITING, .start = start_sleep },
    { .name = "log", .signature = "w", .act = act_log },
    { .name = "inc", .signature = "ni?", .act = act_inc },
    { .name = "ctx_set", .signature = "Vi", .act = act_ctx_set },
    { .name = "ctx_get", .signature = "V", .act = act_ctx_get },
    { 0 },
};
