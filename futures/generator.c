/*
 * How it works: a coroutine driven by hand is the outermost of its chain; between the sends it
 * remembers the innermost. What that awaits is its value to the sender, and is referenced until the
 * next send.
 */
#include "private_coroutine.h"

/* The innermost, to go on with; NULL if this one cannot be driven, and *ret is set. */
static struct coroutine *hand_check(cora_coro handle, struct result input, cora_value *ret,
                                    int *ret_code)
{
    struct coroutine *coro = coroutine_find(handle);
    cora_value error;
    if (!coro) {
        if (generator_has_ended(handle)) {
            *ret = input.raised ? input.value : cora_nothing();
            *ret_code = input.raised ? cora_error_code(input.value) : 0;
            return NULL;
        }
        error = coroutine_refuse(handle);
    } else if (coro->slot.flags & CORO_TAKEN && !cora_is_nothing(error = taken_error(coro))) {
        cora_drop(cora_nothing());
    } else if (!(coro->slot.flags & CORO_STARTED) && !input.raised &&
               !cora_is_nothing(input.value)) {
        error = coroutine_error(coro, CORA_ETYPE,
                                "can't send non-None value to a just-started coroutine");
    } else {
        return coro;
    }
    *ret = error;
    *ret_code = cora_error_code(error);
    return NULL;
}

void hand_resume(struct coroutine *top, struct result *input)
{
    struct future *future = top->awaited ? future_find((cora_future){ top->awaited }) : NULL;
    if (!top->awaited)
        return;
    if (future && future_is_done(future) && !input->raised) {
        cora_drop(input->value);
        *input = future_take(top, future);
    } else if (!input->raised) {
        cora_drop(input->value);
        cora_value error = cora_error(CORA_ERUNTIME, "await wasn't used with future: what the "
                                                     "coroutine awaits is not done");
        *input = (struct result){
            cora_copy(future ? error : future_refuse((cora_future){ top->awaited })), true
        };
    }
    if (!future)
        return;
    bool awaited = future_has(future, FUTURE_AWAITED);
    if (awaited && input->raised && future_phase(future) == FUTURE_FINISHED)
        with_entered_in_vain(top);
    if (!future_is_done(future) && awaited)
        future_abandon(future);
    future_unreference(future_loop(future), future);
}

/* Drives it as far as it goes: as cora_send returns. */
static int hand_drive(struct coroutine *root, struct result input, cora_value *ret)
{
    struct coroutine *top = root->slot.flags & CORO_BY_HAND && root->up ? root->up : root;
    if (!(root->slot.flags & CORO_BY_HAND)) {
        coroutine_take(root);
        root->slot.flags |= CORO_BY_HAND;
    }
    root->up = NULL;
    hand_resume(top, &input);
    struct step_run run;
    run_enter(&run, top, NULL, cora_thread.running);
    run.got = input;
    if (input.raised && cora_error_code(input.value) == CORA_EGENERATOREXIT)
        run.exits = top;
    enum drive_end end = coroutine_drive(&run);
    if (end == DRIVE_AWAITS || end == DRIVE_YIELDED)
        root->up = run.top == root ? NULL : run.top;
    if (end == DRIVE_AWAITS) {
        future_given_up(run.top, run.future);
        future_reference(run.future);
        run.outcome = cora_from_future(future_handle(run.future));
    }
    run_leave(&run);
    *ret = run.outcome;
    cora_temporary(run.outcome);
    return end == DRIVE_RAISED ? cora_error_code(run.outcome) : end != DRIVE_RETURNED;
}

static int hand(cora_coro handle, struct result input, cora_value *ret)
{
    int code;
    cora_value unwanted;
    ret = ret ? ret : &unwanted;
    struct coroutine *root = hand_check(handle, input, ret, &code);
    if (!root)
        return code;
    if (!value_keep(input.value, &input.value)) {
        *ret = memory_error();
        return fail_with(memory_error());
    }
    code = hand_drive(root, input, ret);
    return code < 0 ? fail_with(*ret) : code;
}

int cora_send(cora_coro coro, cora_value value, cora_value *ret)
{
    return hand(coro, (struct result){ value, false }, ret);
}

int cora_throw(cora_coro coro, cora_value error, cora_value *ret)
{
    if (!cora_is_error(error)) {
        error = cora_error(CORA_ETYPE, "exceptions must be errors: cora_throw wants one");
        if (ret)
            *ret = error;
        return fail_with(error);
    }
    return hand(coro, (struct result){ error, true }, ret);
}

int cora_coro_close(cora_coro handle)
{
    struct coroutine *coro = coroutine_find(handle);
    struct slot *slot = slot_at(handle.bits);
    if (!coro && slot && slot->kind == SLOT_COROUTINE &&
        (!slot_is(slot, handle.bits) || slot_state(slot) != SLOT_WAITING))
        return 0; /* it has ended */
    if (coro && !(coro->slot.flags & CORO_TAKEN)) {
        coroutine_close_unstarted(coro);
        return 0;
    }
    cora_value value;
    int code = cora_throw(handle, cora_error(CORA_EGENERATOREXIT, NULL), &value);
    if (code > 0)
        return fail(CORA_ERUNTIME, "%s ignored GeneratorExit",
                    coroutine_kind_name(coroutine_kind(coro)));
    return code == CORA_EGENERATOREXIT ? 0 : code;
}
