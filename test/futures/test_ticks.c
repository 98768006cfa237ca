/*
 * How many ticks an await takes, from the step that awaits to the one that goes on: the very
 * numbers of CPython's loop. A counter that queues itself again is the first callback of each
 * tick, and so numbers them. Each number is measured with a poll in each tick, as in CPython, and
 * with polls left out, as is usual in Cora: they are the same.
 */
#include "helpers.h"

#include <math.h>

/* ---- measuring ---- */

/* What a measured coroutine needs, and finds out. */
struct probe {
    cora_loop loop, foreign;
    cora_future done, pending, task; /* a done future, a pending one, the measured task */
    int now;                         /* the number of the tick */
    int before, after;               /* the ticks of the await, or cancel, and of the next step */
    int reached;                     /* the tick in which something else happened */
    int number;
};

#define PROBE(self) (*cora_locals(self, struct probe *))

static void count_tick(cora_args bound)
{
    struct probe *probe = cora_arg(bound, 0, struct probe *);
    probe->now++;
    cora_call_soon(probe->loop, cora_partial(count_tick, probe));
}

static void measure(struct probe *probe, cora_step step, bool poll_every_tick)
{
    cora_virtual_clock_start(START);
    struct cora_loop_options options = { .poll_every_tick = poll_every_tick };
    *probe = (struct probe){ .loop = cora_loop_new(&options), .foreign = cora_loop_new(NULL) };
    cora_set_current_loop(probe->loop);
    probe->done = cora_future_new(probe->loop);
    cora_set_result(probe->done, cora_int(1));
    probe->pending = cora_future_new(probe->loop);
    cora_call_soon(probe->loop, cora_partial(count_tick, probe));
    cora_future task = probe->task =
        cora_create_task(probe->loop, cora_coroutine(step, struct probe *, probe));
    cora_run_until_complete(probe->loop, task);
    CHECK(cora_is_nothing(cora_exception(task)));
    CHECK(probe->before > 0 && probe->after >= probe->before);
    if (cora_cancel(probe->pending))
        ticks(probe->loop, 5);
    current_loop_end(probe->loop);
    cora_loop_close(probe->foreign);
    CHECK_INT(cora_live_coroutines(), 0);
}

/* The ticks that a coroutine notes which begins with this step. */
static int ticks_of(cora_step step)
{
    struct probe probe;
    measure(&probe, step, true);
    int number = probe.after - probe.before;
    measure(&probe, step, false);
    CHECK_INT(probe.after - probe.before, number);
    return number;
}

static cora_next after(cora_coro self)
{
    PROBE(self)->after = PROBE(self)->now;
    return cora_return(self, cora_nothing());
}

static void before(cora_coro self)
{
    PROBE(self)->before = PROBE(self)->now;
}

static cora_next empty(cora_coro self)
{
    return cora_return(self, cora_nothing());
}

/* ---- futures, and coroutines ---- */

static cora_next await_done(cora_coro self)
{
    before(self);
    return cora_await(self, PROBE(self)->done, after);
}

TEST(done_future, "a done future takes no tick")
{
    CHECK_INT(ticks_of(await_done), 0);
}

static void complete(cora_args bound)
{
    CHECK_INT(cora_set_result(cora_arg_future(bound, 0), cora_nothing()), 0);
}

static cora_next await_completed(cora_coro self)
{
    cora_future future = cora_future_new(PROBE(self)->loop);
    cora_call_soon(PROBE(self)->loop, cora_partial(complete, future));
    before(self);
    return cora_await(self, future, after);
}

TEST(future_set_by_a_callback, "a future that a callback completes which was queued before: 2")
{
    CHECK_INT(ticks_of(await_completed), 2);
}

static cora_next await_inner(cora_coro self)
{
    before(self);
    return cora_await(self, cora_coroutine(empty), after);
}

TEST(coroutine, "a coroutine that does not wait takes no tick")
{
    CHECK_INT(ticks_of(await_inner), 0);
}

static cora_next sleep_inside(cora_coro self)
{
    return cora_await(self, cora_sleep(0), empty);
}

static cora_next await_inner_sleep(cora_coro self)
{
    before(self);
    return cora_await(self, cora_coroutine(sleep_inside), after);
}

TEST(sleeping_coroutine, "a coroutine takes as many as what it waits for")
{
    CHECK_INT(ticks_of(await_inner_sleep), 1);
}

static cora_next yield_nothing(cora_coro self)
{
    before(self);
    return cora_yield(self, cora_nothing(), after);
}

TEST(bare_yield, "a bare yield takes 1")
{
    CHECK_INT(ticks_of(yield_nothing), 1);
}

static cora_next yield_something(cora_coro self)
{
    before(self);
    return cora_try_yield(self, 5, after);
}

TEST(bad_yield, "the error of a yield with a value comes 1 tick later")
{
    CHECK_INT(ticks_of(yield_something), 1);
}

static cora_next await_itself(cora_coro self)
{
    before(self);
    return cora_try(self, cora_current_task(PROBE(self)->loop), after);
}

TEST(own_task, "so does that of an await of its own task")
{
    CHECK_INT(ticks_of(await_itself), 1);
}

static cora_next await_foreign(cora_coro self)
{
    before(self);
    return cora_try(self, cora_future_new(PROBE(self)->foreign), after);
}

TEST(foreign_future, "and that of a future of another loop")
{
    CHECK_INT(ticks_of(await_foreign), 1);
}

/* ---- sleep ---- */

static cora_next sleep_zero(cora_coro self)
{
    before(self);
    return cora_await(self, cora_sleep(0), after);
}

static cora_next sleep_zero_with_result(cora_coro self)
{
    before(self);
    return cora_await(self, cora_sleep_result(-1, cora_int(1)), after);
}

TEST(sleep_zero, "a sleep of no time takes 1, with a result, too")
{
    CHECK_INT(ticks_of(sleep_zero), 1);
    CHECK_INT(ticks_of(sleep_zero_with_result), 1);
}

static void note_tick(cora_args bound)
{
    struct probe *probe = cora_arg(bound, 0, struct probe *);
    probe->before = probe->now;
}

static cora_next sleep_a_second(cora_coro self)
{
    struct probe *probe = PROBE(self);
    double due = cora_time(probe->loop) + 0.001;
    cora_call_at(probe->loop, due, cora_partial(note_tick, probe));
    return cora_await(self, cora_sleep(due - cora_time(probe->loop)), after);
}

TEST(sleep, "a sleep ends 1 tick after that in which its time has come")
{
    CHECK_INT(ticks_of(sleep_a_second), 1);
}

/* ---- tasks ---- */

static cora_next await_task(cora_coro self)
{
    before(self);
    return cora_await(self, cora_create_task(PROBE(self)->loop, cora_coroutine(empty)), after);
}

TEST(task, "a task that does not wait takes 2")
{
    CHECK_INT(ticks_of(await_task), 2);
}

static cora_next await_later(cora_coro self)
{
    before(self);
    return cora_await(self, PROBE(self)->task, after);
}

static cora_next make_task_and_sleep(cora_coro self)
{
    PROBE(self)->task = cora_create_task(PROBE(self)->loop, cora_coroutine(empty));
    return cora_await(self, cora_sleep(0), await_later);
}

TEST(done_task, "a task that is done already takes none")
{
    CHECK_INT(ticks_of(make_task_and_sleep), 0);
}

static cora_next await_task_of_an_operation(cora_coro self)
{
    before(self);
    return cora_await(self, cora_create_task(PROBE(self)->loop, cora_sleep(0)), after);
}

static cora_next await_ensured(cora_coro self)
{
    before(self);
    return cora_await(self, cora_ensure_future(PROBE(self)->loop, cora_sleep(0)), after);
}

TEST(task_of_a_sleep, "a task of a sleep of no time takes 3, and ensure_future is the same")
{
    CHECK_INT(ticks_of(await_task_of_an_operation), 3);
    CHECK_INT(ticks_of(await_ensured), 3);
}

static cora_next await_ensured_coroutine(cora_coro self)
{
    before(self);
    return cora_await(self, cora_ensure_future(PROBE(self)->loop, cora_coroutine(empty)), after);
}

TEST(ensured_coroutine, "ensure_future of a coroutine that does not wait takes 2, as its task")
{
    CHECK_INT(ticks_of(await_ensured_coroutine), 2);
}

/* ---- gather and shield ---- */

static cora_next gather_empty(cora_coro self)
{
    cora_coro coros[2] = { cora_coroutine(empty), cora_coroutine(empty) };
    before(self);
    return cora_await(self, cora_gather(PROBE(self)->loop, coros, 2), after);
}

TEST(gather, "a gather of coroutines that do not wait takes 3")
{
    CHECK_INT(ticks_of(gather_empty), 3);
}

static cora_next gather_sleeps(cora_coro self)
{
    cora_awaitable naps[2] = { cora_sleep(0), cora_sleep(0) };
    before(self);
    return cora_await(self, cora_gather(PROBE(self)->loop, naps, 2), after);
}

TEST(gather_of_sleeps, "one of sleeps of no time takes 4")
{
    CHECK_INT(ticks_of(gather_sleeps), 4);
}

static cora_next gather_completed(cora_coro self)
{
    cora_future futures[2];
    make_futures(PROBE(self)->loop, futures, 2);
    for (int i = 0; i < 2; i++)
        cora_call_soon(PROBE(self)->loop, cora_partial(complete, futures[i]));
    before(self);
    return cora_await(self, cora_gather(PROBE(self)->loop, futures, 2), after);
}

TEST(gather_of_futures, "one of futures that callbacks complete takes 3")
{
    CHECK_INT(ticks_of(gather_completed), 3);
}

static cora_next gather_failed(cora_coro self)
{
    cora_future futures[2] = { PROBE(self)->pending, cora_future_new(PROBE(self)->loop) };
    before(self);
    cora_set_exception(futures[1], cora_error(CORA_EVALUE, "wrong"));
    return cora_try(self, cora_gather(PROBE(self)->loop, futures, 2), after);
}

static cora_next gather_failing_soon(cora_coro self)
{
    cora_future futures[2] = { PROBE(self)->pending, cora_future_new(PROBE(self)->loop) };
    before(self);
    cora_future all = cora_gather(PROBE(self)->loop, futures, 2);
    cora_set_exception(futures[1], cora_error(CORA_EVALUE, "wrong"));
    return cora_try(self, all, after);
}

TEST(gather_failing, "an error ends it at once if it is there before, and in 2 ticks if it comes")
{
    CHECK_INT(ticks_of(gather_failed), 0);
    CHECK_INT(ticks_of(gather_failing_soon), 2);
}

static cora_next gather_done(cora_coro self)
{
    cora_future futures[2] = { PROBE(self)->done, PROBE(self)->done };
    before(self);
    return cora_await(self, cora_gather(PROBE(self)->loop, futures, 2), after);
}

static cora_next gather_none(cora_coro self)
{
    const cora_future *none = NULL;
    before(self);
    return cora_await(self, cora_gather(PROBE(self)->loop, none, 0), after);
}

TEST(gather_of_done_ones, "a gather of done futures, and of nothing, takes none")
{
    CHECK_INT(ticks_of(gather_done), 0);
    CHECK_INT(ticks_of(gather_none), 0);
}

static cora_next shield_empty(cora_coro self)
{
    before(self);
    return cora_await(self, cora_shield(PROBE(self)->loop, cora_coroutine(empty)), after);
}

static cora_next shield_done(cora_coro self)
{
    before(self);
    return cora_await(self, cora_shield(PROBE(self)->loop, PROBE(self)->done), after);
}

TEST(shield, "a shield of a coroutine that does not wait takes 3, of a done future none")
{
    CHECK_INT(ticks_of(shield_empty), 3);
    CHECK_INT(ticks_of(shield_done), 0);
}

/* ---- wait ---- */

static cora_next wait_done(cora_coro self)
{
    cora_future futures[2] = { PROBE(self)->done, PROBE(self)->done };
    before(self);
    return cora_await(self, cora_wait(futures, 2, INFINITY, CORA_ALL_COMPLETED), after);
}

TEST(wait_done, "a wait for done futures takes 2")
{
    CHECK_INT(ticks_of(wait_done), 2);
}

static cora_next wait_no_time(cora_coro self)
{
    before(self);
    return cora_await(self, cora_wait(&PROBE(self)->pending, 1, 0, CORA_ALL_COMPLETED), after);
}

static cora_next wait_negative_time(cora_coro self)
{
    before(self);
    return cora_await(self, cora_wait(&PROBE(self)->pending, 1, -1, CORA_FIRST_COMPLETED), after);
}

TEST(wait_no_time, "a wait of no time takes 2")
{
    CHECK_INT(ticks_of(wait_no_time), 2);
    CHECK_INT(ticks_of(wait_negative_time), 2);
}

static cora_next wait_for_a_task(cora_coro self)
{
    cora_future task = cora_create_task(PROBE(self)->loop, cora_coroutine(empty));
    before(self);
    return cora_await(self, cora_wait(&task, 1, 5, CORA_FIRST_COMPLETED), after);
}

TEST(wait_for_a_task, "a wait for a task that does not wait takes 3")
{
    CHECK_INT(ticks_of(wait_for_a_task), 3);
}

static cora_next wait_for_nothing(cora_coro self)
{
    before(self);
    return cora_try(self, cora_wait((cora_future *)NULL, 0, 5, CORA_FIRST_COMPLETED), after);
}

TEST(wait_for_nothing, "the error of a wait for nothing takes none")
{
    CHECK_INT(ticks_of(wait_for_nothing), 0);
}

/* ---- cancelling ---- */

static void cancel_later(cora_args bound)
{
    struct probe *probe = cora_arg(bound, 0, struct probe *);
    if (++probe->number < 5) {
        cora_call_soon(probe->loop, cora_partial(cancel_later, probe));
        return;
    }
    probe->before = probe->now;
    CHECK(cora_cancel(probe->task));
}

/* Cancels the measured task in five ticks. */
static void cancel_soon(cora_coro self)
{
    cora_call_soon(PROBE(self)->loop, cora_partial(cancel_later, PROBE(self)));
}

static cora_next cancelled_future(cora_coro self)
{
    cancel_soon(self);
    return cora_try(self, PROBE(self)->pending, after);
}

static cora_next cancelled_sleep(cora_coro self)
{
    cancel_soon(self);
    return cora_try(self, cora_sleep(10), after);
}

static cora_next cancelled_wait(cora_coro self)
{
    cancel_soon(self);
    return cora_try(self, cora_wait(&PROBE(self)->pending, 1, 5, CORA_ALL_COMPLETED), after);
}

static cora_next cancelled_shield(cora_coro self)
{
    cancel_soon(self);
    return cora_try(self, cora_shield(PROBE(self)->loop, PROBE(self)->pending), after);
}

TEST(cancel, "a cancel takes 1, whether it awaits a future, a sleep, a wait or a shield")
{
    CHECK_INT(ticks_of(cancelled_future), 1);
    CHECK_INT(ticks_of(cancelled_sleep), 1);
    CHECK_INT(ticks_of(cancelled_wait), 1);
    CHECK_INT(ticks_of(cancelled_shield), 1);
}

static cora_next inner_cancelled(cora_coro self)
{
    PROBE(self)->reached = PROBE(self)->now;
    return cora_raise(self, cora_caught(self));
}

static cora_next inner_task(cora_coro self)
{
    return cora_try(self, PROBE(self)->pending, inner_cancelled);
}

static cora_next cancelled_task(cora_coro self)
{
    cancel_soon(self);
    cora_future inner = cora_create_task(PROBE(self)->loop,
                                         cora_coroutine(inner_task, struct probe *, PROBE(self)));
    return cora_try(self, inner, after);
}

TEST(cancel_task, "of a task that awaits a task: the inner one is reached in 1, the outer one in 2")
{
    struct probe probe;
    for (int poll = 0; poll < 2; poll++) {
        measure(&probe, cancelled_task, poll);
        CHECK_INT(probe.reached - probe.before, 1);
        CHECK_INT(probe.after - probe.before, 2);
    }
}

static cora_next cancelled_gather(cora_coro self)
{
    cancel_soon(self);
    cora_coro inner = cora_coroutine(inner_task, struct probe *, PROBE(self));
    return cora_try(self, cora_gather(PROBE(self)->loop, &inner, 1), after);
}

TEST(cancel_gather, "of a task that awaits a gather of one: the child in 1, the task in 3")
{
    struct probe probe;
    for (int poll = 0; poll < 2; poll++) {
        measure(&probe, cancelled_gather, poll);
        CHECK_INT(probe.reached - probe.before, 1);
        CHECK_INT(probe.after - probe.before, 3);
    }
}

static cora_next cancel_and_sleep(cora_coro self)
{
    before(self);
    CHECK(cora_cancel(PROBE(self)->task));
    return cora_try(self, cora_sleep(10), after);
}

static cora_next cancel_and_sleep_zero(cora_coro self)
{
    before(self);
    CHECK(cora_cancel(PROBE(self)->task));
    return cora_try(self, cora_sleep(0), after);
}

static cora_next cancel_and_await(cora_coro self)
{
    before(self);
    CHECK(cora_cancel(PROBE(self)->task));
    return cora_try(self, PROBE(self)->pending, after);
}

static cora_next cancel_and_wait(cora_coro self)
{
    before(self);
    CHECK(cora_cancel(PROBE(self)->task));
    return cora_try(self, cora_wait(&PROBE(self)->pending, 1, 5, CORA_ALL_COMPLETED), after);
}

TEST(cancel_itself, "a task that cancels itself is reached 1 tick after it waits")
{
    CHECK_INT(ticks_of(cancel_and_sleep), 1);
    CHECK_INT(ticks_of(cancel_and_sleep_zero), 1);
    CHECK_INT(ticks_of(cancel_and_await), 1);
    CHECK_INT(ticks_of(cancel_and_wait), 1);
}

static cora_next cancel_and_await_done(cora_coro self)
{
    before(self);
    CHECK(cora_cancel(PROBE(self)->task));
    CHECK_INT(cora_uncancel(PROBE(self)->task), 0);
    return cora_await(self, PROBE(self)->done, after);
}

TEST(cancel_taken_back, "a cancel that was taken back takes none")
{
    CHECK_INT(ticks_of(cancel_and_await_done), 0);
}

static cora_next await_unstarted(cora_coro self)
{
    cora_future task = cora_create_task(PROBE(self)->loop, cora_coroutine(empty));
    before(self);
    CHECK(cora_cancel(task));
    return cora_try(self, task, after);
}

TEST(cancel_unstarted,
     "a task that is cancelled before it begins takes 2, as one that ends at once")
{
    CHECK_INT(ticks_of(await_unstarted), 2);
}

/* ---- runs, and order within a tick ---- */

static void last_tick(cora_args bound, cora_future done)
{
    struct probe *probe = cora_arg(bound, 0, struct probe *);
    CHECK(cora_done(done));
    probe->after = probe->now;
}

TEST(run, "a run ends with the tick after that in which its task is done")
{
    struct probe probe = { .loop = virtual_loop_new() };
    cora_call_soon(probe.loop, cora_partial(count_tick, &probe));
    cora_run_until_complete(probe.loop, cora_coroutine(empty));
    CHECK_INT(probe.now, 2);
    cora_future task = cora_create_task(probe.loop, cora_coroutine(empty));
    cora_add_done_callback(task, cora_partial(last_tick, &probe));
    cora_run_until_complete(probe.loop, task);
    CHECK_INT(probe.now, 4);
    CHECK_INT(probe.after, 4);
    virtual_loop_end(probe.loop);
}

struct runner {
    struct notes *notes;
    cora_future future;
    const char *word;
};

static cora_next note_word(cora_coro self)
{
    struct runner *runner = cora_locals(self, struct runner);
    add_note(runner->notes, runner->word);
    return cora_return(self, cora_nothing());
}

static cora_next await_and_note(cora_coro self)
{
    return cora_await(self, cora_locals(self, struct runner)->future, note_word);
}

TEST(order, "tasks go on at their places among the done-callbacks of what they await")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future future = cora_future_new(loop);
    const char *words[] = { "b", "d" };
    cora_add_done_callback(future, cora_partial(note_done, &notes, "a"));
    for (int i = 0; i < 2; i++) {
        cora_spawn(loop, cora_coroutine(await_and_note, struct runner, .notes = &notes,
                                        .future = future, .word = words[i]));
        tick(loop);
        cora_add_done_callback(future, cora_partial(note_done, &notes, i == 0 ? "c" : "e"));
    }
    cora_call_soon(loop, cora_partial(note, &notes, "queued before"));
    cora_set_result(future, cora_nothing());
    cora_call_soon(loop, cora_partial(note, &notes, "queued after"));
    tick(loop);
    CHECK_TEXT(notes.text, "queued before a b c d e queued after");
    virtual_loop_end(loop);
}
