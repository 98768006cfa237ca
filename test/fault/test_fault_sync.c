/*
 * Memory runs out where tasks wait for each other: locks, events, semaphores, conditions, barriers,
 * and objects and operations of a program's own. What is a scene and how it is played: stage.h.
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

/* ---- semaphores ---- */

static int units;

/* Whoever took a unit has given it back. */
static void look_at_toll(void)
{
    char text[100], expected[100];
    if (cora_is_null(on.semaphore))
        return;
    snprintf(expected, sizeof expected, "<BoundedSemaphore [unlocked, value:%d]>", units);
    cora_semaphore_print(on.semaphore, text, sizeof text);
    CHECK_TEXT(text, expected);
}

static bool toll_made(int count)
{
    units = count;
    on.semaphore = cora_bounded_semaphore_new(on.loop, count);
    on.look = look_at_toll;
    return !cora_is_null(on.semaphore);
}

static void on_toll(cora_args bound, cora_future done)
{
    (void)bound;
    if (tells_of_memory(cora_result(done)))
        on.out_of_memory = true;
    else
        cora_semaphore_release(on.semaphore);
    on.counter++;
}

static cora_next called_toll(cora_coro self)
{
    if (!toll_made(2))
        return cora_raise(self, cora_last_error());
    for (int i = 0; i < 5; i++)
        NEED(cora_when_done(cora_semaphore_acquire(on.semaphore), cora_partial(on_toll)));
    return cora_await(self, cora_sleep(0.1), counted);
}

SCENE(semaphore_calls_back, "a semaphore calls each of those back who want a unit", called_toll,
      "5")

static cora_next on_bridge(cora_coro self)
{
    return cora_await(self, cora_sleep_result(0.1, cora_text("over")), cora_return_got);
}

static cora_next pays(cora_coro self)
{
    return cora_with(self, cora_semaphore_acquire(on.semaphore), on_bridge);
}

static cora_next awaited_toll(cora_coro self)
{
    if (!toll_made(2))
        return cora_raise(self, cora_last_error());
    cora_coro coros[5] = { new_worker(pays), new_worker(pays), new_worker(pays),
                           cora_coroutine(pays), new_worker(pays) };
    cora_future all = cora_gather(on.loop, coros, 5);
    NEED(all);
    return through(self, cora_awaitable_of(all), end_so);
}

SCENE(semaphore_is_waited_for, "no unit is lost, whoever of those fails who wait for one",
      awaited_toll, "[\"over\", \"over\", \"over\", \"over\", \"over\"]")

static cora_next give_unit_back(cora_coro self)
{
    if (on.late)
        cora_semaphore_release(on.semaphore);
    on.late = false;
    return cora_go_on(self);
}

/* The first was given the unit, and does not know yet. */
static cora_next first_cancelled(cora_coro self)
{
    on.late = false;
    CHECK_INT(cora_semaphore_release(on.semaphore), 0);
    cora_cancel(on.futures[0]);
    return cora_await(self, cora_gather(on.loop, on.futures, 3, .return_exceptions = true), end_so);
}

static cora_next has_the_unit(cora_coro self)
{
    on.late = true; /* it is the scene's, until that is over */
    if (cora_finally(self, give_unit_back) < 0) {
        cora_semaphore_release(on.semaphore);
        return cora_raise(self, cora_last_error());
    }
    for (int i = 0; i < 3; i++) {
        on.futures[i] = cora_create_task(on.loop, new_worker(pays));
        NEED(on.futures[i]);
    }
    return through(self, cora_sleep(0.05), first_cancelled);
}

static cora_next handed_over_toll(cora_coro self)
{
    if (!toll_made(1))
        return cora_raise(self, cora_last_error());
    return cora_await(self, cora_semaphore_acquire(on.semaphore), has_the_unit);
}

SCENE(semaphore_unit_is_passed_on, "a unit that a cancelled waiter was given goes to the next",
      handed_over_toll, "[CancelledError, \"over\", \"over\"]")

static cora_next released_too_often(cora_coro self)
{
    if (!toll_made(1))
        return cora_raise(self, cora_last_error());
    CHECK(cora_semaphore_release(on.semaphore) < 0);
    CHECK(!cora_semaphore_locked(on.semaphore));
    cora_value error = cora_last_error();
    return cora_error_is(error, CORA_EVALUE) ? cora_return(self, cora_static("refused"))
                                             : cora_raise(self, error);
}

SCENE(semaphore_is_released_too_often, "a unit too much is refused, also without memory to say so",
      released_too_often, "\"refused\"")

/* ---- conditions ---- */

static cora_next shut_condition(cora_coro self)
{
    cora_condition_close(on.condition);
    return cora_go_on(self);
}

/* Whoever waits ends when the scene does; the lock is the scene's, or the condition's own. */
static bool condition_made(cora_coro self)
{
    if (!on.scene->which) {
        on.condition = cora_condition_new(on.loop);
    } else {
        on.lock = cora_lock_new(on.loop);
        on.condition = cora_is_null(on.lock) ? (cora_condition){ 0 } : cora_condition_of(on.lock);
    }
    return !cora_is_null(on.condition) && cora_finally(self, shut_condition) == 0;
}

/* Takes one of what there is, if that is so long; the argument must be there each time. */
static cora_value has_dish(cora_value argument)
{
    CHECK_TEXT(cora_as_text(argument), "a dish that is steaming hot");
    if (on.counter == 0)
        return cora_nothing();
    on.counter--;
    return cora_textf("dish %d", on.counter);
}

static cora_next waits_for_dish(cora_coro self)
{
    return cora_await(
        self,
        cora_condition_wait_for(on.condition, has_dish, cora_chars("a dish that is steaming hot")),
        cora_return_got);
}

static cora_next eats(cora_coro self)
{
    return cora_with(self, cora_condition_acquire(on.condition), waits_for_dish);
}

static cora_next waits_once(cora_coro self)
{
    return cora_await(self, cora_condition_wait(on.condition), cora_return_got);
}

static cora_next listens(cora_coro self)
{
    return cora_with(self, cora_condition_acquire(on.condition), waits_once);
}

static cora_next ring_for_all(cora_coro self)
{
    on.counter = 3;
    CHECK_INT(cora_condition_notify_all(on.condition), 0);
    return cora_return_nothing(self);
}

static cora_next cooks(cora_coro self)
{
    return cora_with(self, cora_condition_acquire(on.condition), ring_for_all);
}

static cora_next cooked(cora_coro self)
{
    cora_value error = cora_caught(self);
    if (cora_is_error(error))
        return cora_raise(self, error);
    return through(self, cora_awaitable_of(on.future), end_so);
}

static cora_next cook(cora_coro self)
{
    return through(self, cora_awaitable_of(new_worker(cooks)), cooked);
}

static cora_next awaited_condition(cora_coro self)
{
    if (!condition_made(self))
        return cora_raise(self, cora_last_error());
    cora_coro coros[4] = { new_worker(eats), new_worker(eats), new_worker(eats),
                           new_worker(listens) };
    on.future = cora_gather(on.loop, coros, 4);
    NEED(on.future);
    return cora_await(self, cora_sleep(0.1), cook);
}

SCENE(condition_is_waited_for, "who waits for a condition has its lock again, or hears why not",
      awaited_condition, "[\"dish 2\", \"dish 1\", \"dish 0\", 1]")
SCENE(condition_of_lock_is_waited_for, "the same with a lock that was there before",
      awaited_condition, "[\"dish 2\", \"dish 1\", \"dish 0\", 1]", .which = 1)

static cora_next ring_once(cora_coro self)
{
    on.counter = 2;
    CHECK_INT(cora_condition_notify(on.condition, 1), 0);
    cora_cancel(on.futures[0]);
    return cora_return_nothing(self);
}

static cora_next ring(cora_coro self)
{
    return cora_with(self, cora_condition_acquire(on.condition), ring_once);
}

static cora_next ring_again(cora_coro self)
{
    CHECK_INT(cora_condition_notify(on.condition, 1), 0);
    return cora_return_nothing(self);
}

static cora_next rings_again(cora_coro self)
{
    return cora_with(self, cora_condition_acquire(on.condition), ring_again);
}

static cora_next rung_again(cora_coro self)
{
    cora_value error = cora_caught(self);
    if (cora_is_error(error))
        return cora_raise(self, error);
    return cora_await(self, cora_gather(on.loop, on.futures, 3, .return_exceptions = true), end_so);
}

/* The second was notified in the place of the first; the third is by this. */
static cora_next rung(cora_coro self)
{
    cora_value error = cora_caught(self);
    if (cora_is_error(error))
        return cora_raise(self, error);
    return cora_try(self, new_worker(rings_again), rung_again);
}

static cora_next ring_bell(cora_coro self)
{
    return cora_try(self, new_worker(ring), rung);
}

static cora_next cancelled_eater(cora_coro self)
{
    if (!condition_made(self))
        return cora_raise(self, cora_last_error());
    for (int i = 0; i < 3; i++) {
        on.futures[i] = cora_create_task(on.loop, new_worker(eats));
        NEED(on.futures[i]);
    }
    return through(self, cora_sleep(0.05), ring_bell);
}

SCENE(condition_notifies_another, "a cancelled waiter lets another one be notified",
      cancelled_eater, "[CancelledError, \"dish 1\", \"dish 0\"]", .which = 1)

static void release_bell(cora_args bound)
{
    (void)bound;
    cora_condition_release(on.condition);
}

static void on_dish(cora_args bound, cora_future done)
{
    (void)bound;
    cora_value dish = cora_result(done);
    if (tells_of_memory(dish))
        on.out_of_memory = true;
    else if (!cora_is_error(dish))
        on.late++;
    if (cora_condition_locked(on.condition))
        release_bell(bound);
}

/* It has the lock, and waits for a dish. */
static void on_bell(cora_args bound, cora_future done)
{
    (void)bound;
    if (tells_of_memory(cora_result(done))) {
        on.out_of_memory = true;
        return;
    }
    cora_awaitable dish =
        cora_condition_wait_for(on.condition, has_dish, cora_chars("a dish that is steaming hot"));
    if (cora_is_null(cora_when_done(dish, cora_partial(on_dish)))) {
        on.out_of_memory |= tells_of_memory(cora_last_error());
        release_bell(bound);
    }
}

static cora_next all_called(cora_coro self)
{
    return cora_return(self, on.late);
}

/* Whoever holds the lock by now gives it back in its callback. */
static void on_cook(cora_args bound, cora_future done)
{
    if (tells_of_memory(cora_result(done))) {
        on.out_of_memory = true;
        return;
    }
    on.counter = 3;
    cora_condition_notify_all(on.condition);
    release_bell(bound);
}

static cora_next called_cook(cora_coro self)
{
    NEED(cora_when_done(cora_condition_acquire(on.condition), cora_partial(on_cook)));
    return cora_await(self, cora_sleep(0.1), all_called);
}

static cora_next called_condition(cora_coro self)
{
    if (!condition_made(self))
        return cora_raise(self, cora_last_error());
    for (int i = 0; i < 3; i++)
        NEED(cora_when_done(cora_condition_acquire(on.condition), cora_partial(on_bell)));
    return cora_await(self, cora_sleep(0.1), called_cook);
}

SCENE(condition_calls_back, "a condition calls each of those back who wait", called_condition, "3")

/* ---- barriers ---- */

static cora_next shut_barrier(cora_coro self)
{
    CHECK(cora_barrier_n_waiting(on.barrier) < 3);
    cora_barrier_close(on.barrier);
    return cora_go_on(self);
}

static bool barrier_made(cora_coro self)
{
    on.barrier = cora_barrier_new(on.loop, 3);
    return !cora_is_null(on.barrier) && cora_finally(self, shut_barrier) == 0;
}

static cora_next come_down(cora_coro self)
{
    cora_value error = cora_caught(self);
    if (cora_error_is(error, CORA_EBROKENBARRIER))
        return cora_return(self, cora_static("broken"));
    return end_so(self);
}

static cora_next climbs(cora_coro self)
{
    return cora_try(self, cora_barrier_wait(on.barrier), come_down);
}

static cora_next awaited_barrier(cora_coro self)
{
    if (!barrier_made(self))
        return cora_raise(self, cora_last_error());
    cora_awaitable items[6];
    for (int i = 0; i < 6; i++)
        items[i] = i % 2 ? cora_barrier_wait(on.barrier) : cora_awaitable_of(new_worker(climbs));
    cora_future all = cora_gather(on.loop, items, 6);
    NEED(all);
    return through(self, cora_awaitable_of(all), end_so);
}

SCENE(barrier_lets_through, "a barrier lets through those who could wait, or is closed for them",
      awaited_barrier, "[0, 1, 2, 0, 1, 2]")

static cora_next abort_barrier(cora_coro self)
{
    CHECK_INT(cora_barrier_abort(on.barrier), 0);
    return through(self, cora_awaitable_of(on.future), end_so);
}

static cora_next aborted_barrier(cora_coro self)
{
    if (!barrier_made(self))
        return cora_raise(self, cora_last_error());
    cora_coro coros[2] = { new_worker(climbs), new_worker(climbs) };
    on.future = cora_gather(on.loop, coros, 2);
    NEED(on.future);
    return cora_await(self, cora_sleep(0.1), abort_barrier);
}

SCENE(barrier_is_aborted, "those who wait at a barrier that is broken are told so, or why not",
      aborted_barrier, "[\"broken\", \"broken\"]")

/* The first leaves: two more are needed, and the first of these has the number that is free. */
static cora_next climber_cancelled(cora_coro self)
{
    cora_cancel(on.futures[0]);
    on.futures[2] = cora_create_task(on.loop, new_worker(climbs));
    NEED(on.futures[2]);
    if (cora_spawn(on.loop, new_worker(climbs)) < 0)
        return cora_raise(self, cora_last_error());
    return cora_await(self, cora_gather(on.loop, on.futures, 3, .return_exceptions = true), end_so);
}

/* If the last one cannot come the others wait for ever. */
static void give_up(cora_args bound)
{
    (void)bound;
    cora_barrier_close(on.barrier);
}

static cora_next cancelled_climber(cora_coro self)
{
    if (!barrier_made(self))
        return cora_raise(self, cora_last_error());
    NEED(cora_call_later(on.loop, 1, cora_partial(give_up)));
    for (int i = 0; i < 2; i++) {
        on.futures[i] = cora_create_task(on.loop, new_worker(climbs));
        NEED(on.futures[i]);
    }
    return through(self, cora_sleep(0.05), climber_cancelled);
}

SCENE(barrier_is_left, "one that is cancelled leaves a barrier to the others", cancelled_climber,
      "[CancelledError, 1, 1]")

static cora_next called_barrier(cora_coro self)
{
    if (!barrier_made(self))
        return cora_raise(self, cora_last_error());
    for (int i = 0; i < 6; i++)
        NEED(cora_when_done(cora_barrier_wait(on.barrier), cora_partial(on_event)));
    return cora_await(self, cora_sleep(0.1), counted);
}

SCENE(barrier_calls_back, "a barrier calls each of those back who come", called_barrier, "6")

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
