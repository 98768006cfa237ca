/*
 * How it works: a callback is bound to a token, and mostly to more. When it runs it says so to the
 * token, looks whether it is its turn, and acts.
 */
#include "fuzz.h"

#include <inttypes.h>
#include <string.h>
#include <virtual_clock.h>

/* ---- being called ---- */

void callback_begin(void)
{
    if (!me->may_run)
        broken("a callback is called inside a call that runs no loop");
    me->may_run = false;
    me->runs++;
    me->callbacks++;
}

void callback_end(void)
{
    me->callbacks--;
    me->may_run = true;
}

/* What is queued runs in the order of queueing; the callbacks of one future share a number. */
void check_order(cora_loop loop, uint64_t order)
{
    struct seat *seat = seat_of(loop);
    if (!seat || order == 0)
        return;
    if (order < seat->ran)
        broken("callbacks change places: %" PRIu64 " after %" PRIu64, order, seat->ran);
    seat->ran = order;
}

static void check_turn(uint64_t token)
{
    const struct detail *detail = token_detail(token);
    cora_loop loop = { detail->loop };
    check_order(loop, detail->order);
    if (!isnan(detail->when) && cora_time(loop) < detail->when)
        broken("a timer is early by %g", detail->when - cora_time(loop));
}

static void look_at_arguments(cora_args bound)
{
    void *pointer = NULL;
    if (cora_get_pointer(CALL(cora_arg_value(bound, 0)), &pointer) == 0) {
        uint64_t token = (uintptr_t)pointer;
        token_ran(token);
        if (me->id == 0 && (token & 1) == 0)
            check_turn(token);
    }
    if (rarely(20))
        read_value(CALL(cora_arg_value(bound, below(10))));
}

/* Any callback: its first argument is its token. */
void on_call(cora_args bound)
{
    callback_begin();
    look_at_arguments(bound);
    if (rarely(3000))
        cora_virtual_clock_advance(0.2);
    act_inside(2);
    callback_end();
}

/* Runs inside the call that reports. */
static void on_exception(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    me->callbacks++;
    look_at_arguments(bound);
    look_at_report(report);
    act_inside(2);
    if (rarely(50))
        CALL(cora_default_exception_handler(loop, report));
    print_value_somewhere(report->exception);
    me->callbacks--;
}

cora_value pick_context(void)
{
    return rarely(2) ? CALL(cora_copy_context()) : pick_value(1);
}

cora_callback in_some_context(cora_callback callback)
{
    return rarely(10) ? CALL(cora_in_context(pick_context(), callback)) : callback;
}

/* Makes a callback with some arguments, and has it registered. */
void offer(struct job *job, unsigned flags, void (*use)(struct job *, cora_callback))
{
    job->token = token_new(flags);
    cora_value token = token_value(job->token);
    unsigned form = below(8);
    if (form < 4)
        use(job, in_some_context(cora_partial(on_call, token)));
    else if (form < 6)
        use(job, in_some_context(cora_partial(on_call, token, pick_value(0))));
    else if (form < 7)
        use(job, in_some_context(cora_partial(on_call, token, pick_value(0), "text")));
    else
        use(job, in_some_context(cora_partial(on_call, token, 1, 2.5, pick_value(0), job->loop,
                                              pick_value(0), token, "text")));
}

/* ---- scheduling ---- */

static void use_call_soon(struct job *job, cora_callback callback)
{
    struct seat *seat = seat_of(job->loop);
    if (seat && job->token) {
        token_detail(job->token)->loop = job->loop.bits;
        token_detail(job->token)->order = ++seat->ordered;
    }
    cora_handle handle = CALL(cora_call_soon(job->loop, callback));
    if (!cora_is_null(handle))
        token_due(job->token, job->loop);
    if (me->id == 0)
        record_add(handle, job->token);
    else if (!cora_is_null(handle) && !cora_same(job->loop, (cora_loop){ known_loops[SEATS] }))
        broken("call_soon works from another thread");
}

void act_call_soon(void)
{
    struct job job = { .loop = pick_loop() };
    offer(&job, TOKEN_ONCE, use_call_soon);
}

static void use_threadsafe(struct job *job, cora_callback callback)
{
    shared_add(CALL(cora_call_soon_threadsafe(job->loop, callback)), job->token);
}

void act_threadsafe(void)
{
    struct job job = { .loop = pick_loop() };
    if (rarely(6))
        job.loop.bits = atomic_load(&known_loops[below(SEATS + 1)]);
    offer(&job, TOKEN_ONCE, use_threadsafe);
}

static void use_call_later(struct job *job, cora_callback callback)
{
    double asked = cora_time(job->loop) + job->seconds;
    cora_handle handle = CALL(cora_call_later(job->loop, job->seconds, callback));
    if (!cora_is_null(handle) && isnan(job->seconds))
        broken("call_later takes NaN");
    if (cora_is_null(handle) || me->id != 0)
        return;
    record_add(handle, job->token);
    double when = CALL(cora_handle_when(handle));
    if (!(when >= asked))
        broken("a timer is set to %g instead of %g", when, asked);
    if (job->token)
        *token_detail(job->token) = (struct detail){ job->loop.bits, 0, when };
    token_due(job->token, job->loop);
}

void act_call_later(void)
{
    struct job job = { .loop = pick_loop(), .seconds = pick_seconds() };
    offer(&job, TOKEN_ONCE, use_call_later);
}

static void use_call_at(struct job *job, cora_callback callback)
{
    cora_handle handle = CALL(cora_call_at(job->loop, job->seconds, callback));
    if (!cora_is_null(handle) && isnan(job->seconds))
        broken("call_at takes NaN");
    if (cora_is_null(handle) || me->id != 0)
        return;
    record_add(handle, job->token);
    if (CALL(cora_handle_when(handle)) != job->seconds)
        broken("a timer is set to %g instead of %g", cora_handle_when(handle), job->seconds);
    if (job->token)
        *token_detail(job->token) = (struct detail){ job->loop.bits, 0, job->seconds };
    token_due(job->token, job->loop);
}

void act_call_at(void)
{
    struct job job = { .loop = pick_loop() };
    job.seconds = rarely(4) ? pick_seconds() : cora_time(job.loop) + pick_seconds();
    offer(&job, TOKEN_ONCE, use_call_at);
}

/* Cancelling a shared callback waits while it runs, so the other thread's callbacks do not. */
static bool may_wait(void)
{
    return me->id == 0 || me->callbacks == 0;
}

void act_cancel(void)
{
    struct record record = me->id == 0 ? pick_record() : shared_pick();
    if (!may_wait())
        return;
    uint64_t outer = me->cancelling;
    me->cancelling = record.token;
    bool cancelled = CALL(cora_handle_cancel(record.handle));
    me->cancelling = outer;
    if (!cancelled)
        return;
    if (record.token)
        token_cancelled(record.token);
    if (CALL(cora_handle_cancel(record.handle)))
        broken("a handle is cancelled twice");
}

void act_ask_handle(void)
{
    struct record record = me->id == 0 ? pick_record() : shared_pick();
    char buffer[100];
    if (may_wait())
        CALL(cora_handle_cancelled(record.handle));
    CALL(cora_handle_when(record.handle));
    if (rarely(4)) {
        size_t size = below(sizeof buffer) + 1;
        CALL(cora_handle_print(record.handle, buffer, size));
        if (strlen(buffer) >= size)
            broken("cora_handle_print passes the end");
    }
}

/* ---- exception handlers ---- */

void handler_set(cora_loop loop)
{
    cora_value token = token_value(token_new(0));
    if (rarely(3))
        CALL(cora_set_exception_handler(loop, cora_partial(on_exception, token, "a", "b", "c")));
    else
        CALL(cora_set_exception_handler(loop, cora_partial(on_exception, token)));
}

void act_handler(void)
{
    cora_loop loop = pick_loop();
    struct cora_report report = { .message = rarely(2) ? "a report" : NULL,
                                  .exception = pick_value(0) };
    if (rarely(2))
        CALL(cora_call_exception_handler(loop, &report));
    else if (rarely(8))
        CALL(cora_reset_exception_handler(loop));
    else
        handler_set(loop);
}
