/*
 * How it works: as asyncio's Timeout, on the public interface: entering remembers the task and how
 * often it was cancelled by then, a timer cancels it, and leaving takes that one cancel back. Only
 * if none is left beyond those at the beginning was the Cancelled of its own making.
 */
#include "timeout.h"

#include "private_coroutine.h"

#include "reactor/timer.h"

#include <stdio.h>

const cora_type cora_type_timeout = { "timeout", NULL, NULL, KIND_HANDLE };

struct timeout {
    enum timeout_state { CREATED, ACTIVE, EXPIRING, EXPIRED, FINISHED } state;
    unsigned cancelling; /* of the task, when it was entered */
    cora_future task;
    cora_handle handle; /* what expires it; null: none */
    double when;
    cora_loop loop;
};

static const char *const states[] = {
    [CREATED] = "created", [ACTIVE] = "active",     [EXPIRING] = "expiring",
    [EXPIRED] = "expired", [FINISHED] = "finished",
};

static void disarm(struct timeout *timeout)
{
    if (!cora_is_null(timeout->handle))
        cora_handle_cancel(timeout->handle);
    timeout->handle = (cora_handle){ 0 };
}

static void timeout_close(void *memory)
{
    disarm(memory);
}

static const struct cora_object_type timeout_type = { "timeout", sizeof(struct timeout),
                                                      timeout_close };

static struct timeout *timeout_get(cora_timeout handle)
{
    return cora_object_get(handle.bits, &timeout_type);
}

cora_timeout cora_timeout_until_at(cora_loop loop, double when, const struct cora_place *place)
{
    cora_timeout none = { 0 };
    if (isnan(when)) {
        fail(CORA_EVALUE, "Invalid timeout: NaN (not a number)");
        return none;
    }
    cora_timeout handle = { cora_object_new_at(loop, &timeout_type, place) };
    struct timeout *timeout = cora_is_null(handle) ? NULL : timeout_get(handle);
    if (!timeout)
        return none;
    timeout->when = when;
    timeout->loop = loop;
    object_hold(handle.bits, &timeout_type);
    return handle;
}

cora_timeout cora_timeout_new_at(cora_loop loop, double seconds, const struct cora_place *place)
{
    return cora_timeout_until_at(loop, cora_time(loop) + seconds, place);
}

int cora_timeout_close(cora_timeout timeout)
{
    return object_close_held(timeout.bits, &timeout_type);
}

#define wrong(timeout, ...) cora_error_code(cora_object_error(timeout, CORA_ERUNTIME, __VA_ARGS__))

/* ---- the time ---- */

static void expire(cora_args bound)
{
    struct timeout *timeout = timeout_get(cora_arg_timeout(bound, 0));
    timeout->handle = (cora_handle){ 0 };
    timeout->state = EXPIRING;
    cora_cancel(timeout->task);
}

/* Arms it for this time, in the place of another. 0 or a code, and then it is as before. */
static int arm(cora_timeout handle, struct timeout *timeout, double when)
{
    cora_callback callback = cora_partial(expire, handle);
    cora_handle armed = { 0 };
    if (when <= cora_time(timeout->loop))
        armed = cora_call_soon(timeout->loop, callback);
    else if (when != INFINITY)
        armed = cora_call_at(timeout->loop, when, callback);
    if (cora_is_null(armed) && when != INFINITY)
        return cora_last_error_code();
    disarm(timeout);
    timeout->handle = armed;
    timeout->when = when;
    return 0;
}

int cora_timeout_reschedule(cora_timeout handle, double when)
{
    struct timeout *timeout = timeout_get(handle);
    if (!timeout)
        return cora_last_error_code();
    if (timeout->state == CREATED)
        return wrong(timeout, "Timeout has not been entered: cora_with does that");
    if (timeout->state != ACTIVE)
        return wrong(timeout, "Cannot change state of %s Timeout", states[timeout->state]);
    if (isnan(when))
        return fail(CORA_EVALUE, "Invalid timeout: NaN (not a number)");
    return arm(handle, timeout, when);
}

/* ---- entering and leaving ---- */

/* Enters it. 0 or a code. */
static int enter(cora_timeout handle)
{
    struct timeout *timeout = timeout_get(handle);
    if (!timeout)
        return cora_last_error_code();
    if (timeout->state != CREATED)
        return wrong(timeout, "Timeout has already been entered: make a new one for each use");
    cora_future task = cora_current_task(timeout->loop);
    if (cora_is_null(task))
        return wrong(timeout,
                     "Timeout should be used inside a task: enter it in a step that a task runs");
    timeout->state = ACTIVE;
    timeout->task = task;
    timeout->cancelling = cora_cancelling(task);
    int code = arm(handle, timeout, timeout->when);
    if (code < 0)
        timeout->state = CREATED;
    return code;
}

static bool enter_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    *ret_outcome = enter(cora_as_timeout(what->value)) < 0 ? cora_last_error() : what->value;
    return true;
}

/* What is raised when it is left with this error. */
static cora_value leave(struct timeout *timeout, cora_value error)
{
    disarm(timeout);
    if (timeout->state == ACTIVE) {
        timeout->state = FINISHED;
        return error;
    }
    timeout->state = EXPIRED;
    if (cora_uncancel(timeout->task) <= timeout->cancelling &&
        cora_error_code(error) == CORA_ECANCELLED)
        return cora_error_from(error, CORA_ETIMEOUT, NULL);
    return error;
}

cora_awaitable cora_timeout_exit(cora_timeout handle, cora_value error)
{
    struct timeout *timeout = timeout_get(handle);
    if (!timeout)
        return cora_ready(error_again(cora_last_error()));
    if (timeout->state != ACTIVE && timeout->state != EXPIRING) {
        wrong(timeout, "Cannot leave a Timeout that is %s", states[timeout->state]);
        return cora_ready(error_again(cora_last_error()));
    }
    return cora_ready(leave(timeout, error));
}

/* One that is closed, or left already, has nothing to say any more. */
static cora_awaitable timeout_leave(cora_value entered, cora_value error)
{
    struct timeout *timeout = timeout_get(cora_as_timeout(entered));
    bool inside = timeout && (timeout->state == ACTIVE || timeout->state == EXPIRING);
    return cora_ready(inside ? leave(timeout, error) : error);
}

static const struct cora_operation timeout_enter = {
    .name = "timeout",
    .now = enter_now,
    .leave = timeout_leave,
};

cora_awaitable cora_timeout_enter(cora_timeout timeout)
{
    return (cora_awaitable){ .operation = &timeout_enter, .value = cora_from(timeout) };
}

/* ---- looking at one ---- */

double cora_timeout_when(cora_timeout handle)
{
    struct timeout *timeout = timeout_get(handle);
    return timeout ? timeout->when : (double)NAN;
}

bool cora_timeout_expired(cora_timeout handle)
{
    struct timeout *timeout = timeout_get(handle);
    return timeout && (timeout->state == EXPIRING || timeout->state == EXPIRED);
}

int cora_timeout_print(cora_timeout handle, char *buffer, size_t size)
{
    struct timeout *timeout = timeout_get(handle);
    char when[40] = "";
    if (!timeout)
        return snprintf(buffer, size, "<Timeout #%llx>", (unsigned long long)handle.bits);
    if (timeout->state == ACTIVE && timeout->when == INFINITY)
        snprintf(when, sizeof when, " when=None");
    else if (timeout->state == ACTIVE)
        snprintf(when, sizeof when, " when=%.3f", timeout->when);
    return snprintf(buffer, size, "<Timeout [%s]%s>", states[timeout->state], when);
}
