/*
 * Memory runs out where tasks wait for each other: locks, events, and objects and operations of a
 * program's own. What is a scene and how it is played: stage.h.
 */
#include "stage.h"

/* ---- locks ---- */

static cora_next held(cora_coro self)
{
    return cora_await(self, cora_sleep_result(0.1, cora_text("held")), cora_return_got);
}

static cora_next takes(cora_coro self)
{
    return cora_with(self, cora_lock_acquire(on.lock), held);
}

static cora_next free_lock(cora_coro self)
{
    on.lock = cora_lock_new(on.loop);
    NEED(on.lock);
    return through(self, cora_awaitable_of(new_worker(takes)), end_so);
}

SCENE(lock_is_free, "a free lock is held until the coroutine ends, or not at all", free_lock,
      "\"held\"")

static cora_next awaited_lock(cora_coro self)
{
    on.lock = cora_lock_new(on.loop);
    NEED(on.lock);
    cora_coro coros[4] = { new_worker(takes), new_worker(takes), cora_coroutine(takes),
                           new_worker(takes) };
    cora_future all = cora_gather(on.loop, coros, 4);
    NEED(all);
    return through(self, cora_awaitable_of(all), end_so);
}

SCENE(lock_is_waited_for, "those who wait for a lock get it in turn, also after one that fails",
      awaited_lock, "[\"held\", \"held\", \"held\", \"held\"]")

static cora_next second_cancelled(cora_coro self)
{
    cora_cancel(on.futures[1]);
    return cora_await(self, cora_gather(on.loop, on.futures, 3, .return_exceptions = true), end_so);
}

static cora_next cancelled_waiter(cora_coro self)
{
    on.lock = cora_lock_new(on.loop);
    NEED(on.lock);
    for (int i = 0; i < 3; i++) {
        on.futures[i] = cora_create_task(on.loop, new_worker(takes));
        NEED(on.futures[i]);
    }
    return through(self, cora_sleep(0.05), second_cancelled);
}

SCENE(lock_waiter_is_cancelled, "a cancelled waiter leaves the lock to the next", cancelled_waiter,
      "[\"held\", CancelledError, \"held\"]")

static void on_held(cora_args bound, cora_future done)
{
    (void)bound;
    if (tells_of_memory(cora_result(done)))
        on.out_of_memory = true;
    else
        cora_lock_release(on.lock);
    on.counter++;
}

static cora_next counted(cora_coro self)
{
    return cora_return(self, on.counter);
}

static cora_next called_lock(cora_coro self)
{
    on.lock = cora_lock_new(on.loop);
    NEED(on.lock);
    for (int i = 0; i < 5; i++)
        NEED(cora_when_done(cora_lock_acquire(on.lock), cora_partial(on_held)));
    return cora_await(self, cora_sleep(0.1), counted);
}

SCENE(lock_calls_back, "a lock calls each of those back who want it", called_lock, "5")

/* ---- events ---- */

static cora_next shut_event(cora_coro self)
{
    cora_event_close(on.event);
    return cora_go_on(self);
}

/* Whoever waits ends when the scene does. */
static bool event_made(cora_coro self)
{
    on.event = cora_event_new(on.loop);
    return !cora_is_null(on.event) && cora_finally(self, shut_event) == 0;
}

static cora_next waits(cora_coro self)
{
    return cora_await(self, cora_event_wait(on.event), cora_return_got);
}

static cora_next set_event(cora_coro self)
{
    cora_event_set(on.event);
    return through(self, cora_awaitable_of(on.future), end_so);
}

static cora_next awaited_event(cora_coro self)
{
    if (!event_made(self))
        return cora_raise(self, cora_last_error());
    cora_awaitable items[9];
    for (int i = 0; i < 9; i++)
        items[i] = i % 2 ? cora_awaitable_of(new_worker(waits)) : cora_event_wait(on.event);
    on.future = cora_gather(on.loop, items, 9);
    NEED(on.future);
    return cora_await(self, cora_sleep(0.1), set_event);
}

SCENE(event_is_waited_for, "an event that is set wakes all, or those that could wait",
      awaited_event, "[1, 1, 1, 1, 1, 1, 1, 1, 1]")

static void on_event(cora_args bound, cora_future done)
{
    (void)bound;
    if (tells_of_memory(cora_result(done)))
        on.out_of_memory = true;
    on.counter++;
}

static cora_next event_over(cora_coro self)
{
    return cora_await(self, cora_sleep(0.1), counted);
}

static cora_next set_called_event(cora_coro self)
{
    cora_event_set(on.event);
    return event_over(self);
}

static cora_next called_event(cora_coro self)
{
    if (!event_made(self))
        return cora_raise(self, cora_last_error());
    for (int i = 0; i < 9; i++)
        NEED(cora_when_done(cora_event_wait(on.event), cora_partial(on_event)));
    return cora_await(self, cora_sleep(0.1), set_called_event);
}

SCENE(event_calls_back, "an event calls each of those back who wait", called_event, "9")

/* ---- objects and operations of a program's own ---- */

struct gate {
    bool open;
    char *name;
    struct cora_waiters waiters;
};

/* A waiter with memory of its own, which its drop function gives back. */
struct walker {
    struct cora_waiter waiter;
    cora_value name;
};

static void gate_close(void *memory)
{
    struct gate *gate = memory;
    free(gate->name);
    cora_waiters_close(&gate->waiters);
    dropped++;
}

static const struct cora_object_type gate_type = { "gate", sizeof(struct gate), gate_close };

static struct gate *gate_of(cora_value value)
{
    return cora_object_get(cora_as_object(value), &gate_type);
}

static bool pass_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    struct gate *gate = gate_of(what->value);
    *ret_outcome = gate ? cora_static("through") : cora_last_error();
    return !gate || gate->open;
}

static int pass_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    struct walker *walker = (struct walker *)waiter;
    made++;
    walker->name = cora_copy(cora_textf("walker %d", ++on.counter));
    if (cora_is_error(walker->name))
        return cora_set_last_error(walker->name);
    cora_waiters_append(&gate_of(what->value)->waiters, waiter);
    return 0;
}

static enum cora_resumed pass_resume(struct cora_waiter *waiter, bool cancelled,
                                     cora_value *ret_outcome)
{
    cora_waiters_remove(waiter);
    *ret_outcome = ((struct walker *)waiter)->name;
    return cancelled ? CORA_ENDS_CANCELLED : CORA_ENDS;
}

static void pass_drop(struct cora_waiter *waiter)
{
    cora_drop(((struct walker *)waiter)->name);
    dropped++;
}

static cora_awaitable pass_leave(cora_value entered, cora_value error)
{
    struct gate *gate = gate_of(entered);
    if (gate)
        on.late++;
    return cora_ready(error);
}

static const struct cora_operation pass = {
    .name = "pass",
    .now = pass_now,
    .start = pass_start,
    .resume = pass_resume,
    .size = sizeof(struct walker),
    .drop = pass_drop,
    .leave = pass_leave,
};

static cora_awaitable gate_pass(void)
{
    return (cora_awaitable){ .operation = &pass, .value = cora_from_object(on.gate) };
}

static cora_next shut_gate(cora_coro self)
{
    cora_object_close(on.gate, &gate_type);
    return cora_go_on(self);
}

/* 0 or a code. */
static int gate_made(cora_coro self)
{
    on.gate = cora_object_new(on.loop, &gate_type);
    if (!on.gate)
        return cora_error_code(cora_last_error());
    made++;
    struct gate *gate = cora_object_get(on.gate, &gate_type);
    gate->name = malloc(10);
    int code = gate->name ? cora_finally(self, shut_gate) : CORA_EMEMORY;
    if (code < 0) {
        cora_object_close(on.gate, &gate_type);
        cora_set_last_error(cora_error(CORA_EMEMORY, NULL));
    }
    return code;
}

static cora_next inside(cora_coro self)
{
    return cora_await(self, cora_sleep_result(0.1, cora_got(self)), cora_return_got);
}

static cora_next passes(cora_coro self)
{
    return cora_with(self, gate_pass(), inside);
}

static cora_next open_gate(cora_coro self)
{
    struct gate *gate = cora_object_get(on.gate, &gate_type);
    gate->open = true;
    cora_waiters_wake(&gate->waiters);
    return through(self, cora_awaitable_of(on.future), end_so);
}

static cora_next own_operation(cora_coro self)
{
    if (gate_made(self) < 0)
        return cora_raise(self, cora_last_error());
    cora_awaitable items[4] = { gate_pass(), cora_awaitable_of(new_worker(passes)), gate_pass(),
                                cora_awaitable_of(new_worker(passes)) };
    on.future = cora_gather(on.loop, items, 4);
    NEED(on.future);
    return cora_await(self, cora_sleep(0.1), open_gate);
}

SCENE(own_operation_waits, "a waiter of a program's own is dropped once, whatever fails",
      own_operation, "[\"walker 1\", \"walker 2\", \"walker 3\", \"walker 4\"]")

static void on_passed(cora_args bound, cora_future done)
{
    on.out_of_memory |= tells_of_memory(cora_result(done));
    on.late += (int)cora_arg_int(bound, 0);
}

static cora_next late_sum(cora_coro self)
{
    return cora_return(self, on.late);
}

static cora_next open_called_gate(cora_coro self)
{
    struct gate *gate = cora_object_get(on.gate, &gate_type);
    gate->open = true;
    cora_waiters_wake(&gate->waiters);
    NEED(cora_when_done(gate_pass(), cora_partial(on_passed, 1000)));
    return cora_await(self, cora_sleep(0.1), late_sum);
}

static cora_next called_operation(cora_coro self)
{
    if (gate_made(self) < 0)
        return cora_raise(self, cora_last_error());
    for (int i = 0, weight = 1; i < 3; i++, weight *= 10)
        NEED(cora_when_done(gate_pass(), cora_partial(on_passed, weight)));
    return cora_await(self, cora_sleep(0.1), open_called_gate);
}

SCENE(own_operation_calls_back, "an operation of a program's own calls each of those back",
      called_operation, "1111")

static cora_next closed_gate(cora_coro self)
{
    cora_value error = cora_caught(self);
    if (!cora_error_is(error, CORA_ESTALE))
        return end_so(self);
    return cora_return(self, cora_static("closed"));
}

static void close_gate(cora_args bound)
{
    (void)bound;
    cora_object_close(on.gate, &gate_type);
}

static enum cora_resumed look_resume(struct cora_waiter *waiter, bool cancelled,
                                     cora_value *ret_outcome)
{
    cora_waiters_remove(waiter);
    *ret_outcome = gate_of(waiter->value) ? cora_nothing() : cora_last_error();
    return cancelled ? CORA_ENDS_CANCELLED : CORA_ENDS;
}

static int look_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    cora_waiters_append(&gate_of(what->value)->waiters, waiter);
    return 0;
}

static cora_next own_object(cora_coro self)
{
    static const struct cora_operation look = { .name = "look",
                                                .start = look_start,
                                                .resume = look_resume };
    if (gate_made(self) < 0)
        return cora_raise(self, cora_last_error());
    NEED(cora_call_later(on.loop, 0.1, cora_partial(close_gate)));
    cora_awaitable what = { .operation = &look, .value = cora_from_object(on.gate) };
    return through(self, what, closed_gate);
}

SCENE(own_object_closes, "who waits for an object of a program's own hears that it is closed",
      own_object, "\"closed\"")
