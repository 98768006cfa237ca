/*
 * Semaphores: units taken, waited for and given back, in the order of coming; the gap in which a
 * unit already belongs to one who did not run yet, where everything else may happen; bounded ones;
 * units held for a part of a coroutine (cora_with); limits on time; semaphores that are closed, of
 * other loops and threads; very many who wait.
 *
 * What holds for callbacks and for tasks alike is told once (BOTH) and tested with each.
 */
#include "helpers.h"

#include <pthread.h>
#include <stdlib.h>

/* ---- helpers ---- */

/* A semaphore as cora_semaphore_print writes it; until the next call. */
static const char *semaphore_text(cora_semaphore semaphore)
{
    static char text[200];
    int length = cora_semaphore_print(semaphore, text, sizeof text);
    CHECK_INT(length, strlen(text));
    return text;
}

/* Takes a unit, which must be there. */
static void take(cora_semaphore semaphore)
{
    CHECK(!cora_semaphore_locked(semaphore));
    CHECK(!cora_is_null(
        cora_when_done(cora_semaphore_acquire(semaphore), cora_partial(nothing_done))));
}

static void release(cora_semaphore semaphore, int times)
{
    while (times-- > 0)
        CHECK_INT(cora_semaphore_release(semaphore), 0);
}

static cora_future begin(enum style style, cora_loop loop, cora_semaphore semaphore,
                         struct notes *notes, const char *word)
{
    return begin_awaiting(style, loop, cora_semaphore_acquire(semaphore), notes, word);
}

/* Three that wait, and no unit is there: a, b, c. */
struct three {
    cora_loop loop;
    cora_semaphore semaphore;
    struct notes notes;
    cora_future a, b, c;
};

static void three_wait(struct three *three, enum style style)
{
    *three = (struct three){ .loop = current_loop_new() };
    three->semaphore = cora_semaphore_new(three->loop, 0);
    three->a = begin(style, three->loop, three->semaphore, &three->notes, "a");
    three->b = begin(style, three->loop, three->semaphore, &three->notes, "b");
    three->c = begin(style, three->loop, three->semaphore, &three->notes, "c");
    tick(three->loop);
    CHECK_TEXT(semaphore_text(three->semaphore), "<Semaphore [locked, waiters:3]>");
}

/* ---- taken and given back ---- */

struct bridge {
    cora_semaphore toll;
    int carts, most;
    struct notes notes;
};

static void on_far_bank(cora_args bound)
{
    struct bridge *bridge = cora_arg(bound, 0, struct bridge *);
    bridge->carts--;
    CHECK_INT(cora_semaphore_release(bridge->toll), 0);
}

static void on_bridge(cora_args bound, cora_future done)
{
    struct bridge *bridge = cora_arg(bound, 0, struct bridge *);
    CHECK(cora_equal(cora_result(done), cora_int(true)));
    add_note(&bridge->notes, cora_arg_text(bound, 1));
    if (++bridge->carts > bridge->most)
        bridge->most = bridge->carts;
    cora_call_later(cora_running_loop(), 1, cora_partial(on_far_bank, bridge));
}

TEST(two_at_a_time, "callbacks take two units in turn: two at a time, in the order of coming")
{
    static const char *const carts[] = { "a", "b", "c", "d", "e" };
    cora_loop loop = current_loop_new();
    struct bridge bridge = { .toll = cora_semaphore_new(loop, 2) };
    for (int i = 0; i < 5; i++)
        cora_when_done(cora_semaphore_acquire(bridge.toll),
                       cora_partial(on_bridge, &bridge, carts[i]));
    run_for(loop, 0.5);
    CHECK_TEXT(bridge.notes.text, "a b");
    run_for(loop, 1);
    CHECK_TEXT(bridge.notes.text, "a b c d");
    run_for(loop, 2);
    CHECK_TEXT(bridge.notes.text, "a b c d e");
    CHECK_INT(bridge.most, 2);
    CHECK_TEXT(semaphore_text(bridge.toll), "<Semaphore [unlocked, value:2]>");
    CHECK_INT(cora_live(loop), 1);
    CHECK_INT(cora_semaphore_close(bridge.toll), 0);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

TEST(taken_at_once, "a unit that is there is taken in the very call, and the callback runs next "
                    "tick")
{
    cora_loop loop = current_loop_new();
    cora_semaphore semaphore = cora_semaphore_new(loop, 1);
    struct notes notes = { "" };
    cora_when_done(cora_semaphore_acquire(semaphore), cora_partial(note_ended, &notes, "a"));
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [locked]>");
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "a");
    current_loop_end(loop);
}

static cora_next took_at_once(cora_coro self)
{
    CHECK(cora_equal(cora_got(self), cora_int(true)));
    add_note(AWAITER(self)->notes, "taken");
    return cora_return_nothing(self);
}

static cora_next take_at_once(cora_coro self)
{
    cora_call_soon(cora_running_loop(), cora_partial(note, AWAITER(self)->notes, "next tick"));
    return cora_await(self, AWAITER(self)->what, took_at_once);
}

TEST(without_a_tick, "a step that awaits a unit that is there goes on in the same tick, with true")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_semaphore semaphore = cora_semaphore_new(loop, 1);
    cora_run_until_complete(loop, cora_coroutine(take_at_once, struct awaiter, .notes = &notes,
                                                 .what = cora_semaphore_acquire(semaphore)));
    CHECK_TEXT(notes.text, "taken next tick");
    end(loop);
}

TEST(release_no_waiters, "a unit that is given back with nobody waiting is there at once",
     "test_locks.SemaphoreTests.test_release_no_waiters")
{
    cora_loop loop = current_loop_new();
    cora_semaphore semaphore = cora_semaphore_new(loop, 1);
    take(semaphore);
    CHECK(cora_semaphore_locked(semaphore));
    CHECK_INT(cora_semaphore_release(semaphore), 0);
    CHECK(!cora_semaphore_locked(semaphore));
    current_loop_end(loop);
}

TEST(initial_value_zero, "a semaphore may begin without a unit: it reads locked",
     "test_locks.SemaphoreTests.test_initial_value_zero")
{
    cora_loop loop = current_loop_new();
    cora_semaphore semaphore = cora_semaphore_new(loop, 0);
    CHECK(!cora_is_null(semaphore));
    CHECK(cora_semaphore_locked(semaphore));
    current_loop_end(loop);
}

TEST(negative, "a semaphore with less than no unit is a ValueError, bounded or not",
     "test_locks.SemaphoreTests.test_semaphore_value")
{
    cora_loop loop = current_loop_new();
    CHECK(cora_is_null(cora_semaphore_new(loop, -1)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EVALUE);
    CHECK_TEXT(cora_error_message(cora_last_error()), "Semaphore initial value must be >= 0");
    CHECK(cora_is_null(cora_bounded_semaphore_new(loop, INT64_MIN)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EVALUE);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

TEST(more_than_at_first, "more units may be given back than there were at first")
{
    cora_loop loop = current_loop_new();
    cora_semaphore semaphore = cora_semaphore_new(loop, 1);
    release(semaphore, 2);
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [unlocked, value:3]>");
    for (int i = 0; i < 3; i++)
        take(semaphore);
    CHECK(cora_semaphore_locked(semaphore));
    current_loop_end(loop);
}

TEST(very_many_units, "a semaphore counts as far as an int64_t does, and then a release is a "
                      "ValueError")
{
    cora_loop loop = current_loop_new();
    cora_semaphore semaphore = cora_semaphore_new(loop, INT64_MAX);
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [unlocked, value:9223372036854775807]>");
    CHECK_INT(cora_semaphore_release(semaphore), CORA_EVALUE);
    take(semaphore);
    CHECK_INT(cora_semaphore_release(semaphore), 0);
    current_loop_end(loop);
}

TEST(repr, "a semaphore prints its value, or that it is locked, and how many wait",
     "test_locks.SemaphoreTests.test_repr")
{
    cora_loop loop = current_loop_new();
    cora_semaphore semaphore = cora_semaphore_new(loop, 1);
    struct notes notes = { "" };
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [unlocked, value:1]>");
    begin(CALLBACKS, loop, semaphore, &notes, "a");
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [locked]>");
    begin(CALLBACKS, loop, semaphore, &notes, "b");
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [locked, waiters:1]>");
    begin(CALLBACKS, loop, semaphore, &notes, "c");
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [locked, waiters:2]>");
    release(semaphore, 3);
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [locked, waiters:2]>");
    tick(loop);
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [unlocked, value:1]>");
    current_loop_end(loop);
}

TEST(print_is_cut, "a semaphore's text is cut to the buffer's size, and its whole length told")
{
    cora_loop loop = current_loop_new();
    cora_semaphore semaphore = cora_bounded_semaphore_new(loop, 12);
    int whole = (int)strlen("<BoundedSemaphore [unlocked, value:12]>");
    char text[9];
    CHECK_INT(cora_semaphore_print(semaphore, text, sizeof text), whole);
    CHECK_TEXT(text, "<Bounded");
    CHECK_INT(cora_semaphore_print(semaphore, NULL, 0), whole);
    current_loop_end(loop);
}

BOTH(in_order, "each release lets one in, the next tick, in the order of coming")
{
    struct three three;
    three_wait(&three, style);
    release(three.semaphore, 1);
    CHECK_TEXT(three.notes.text, "");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a");
    release(three.semaphore, 2);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a b c");
    CHECK(cora_equal(cora_result(three.b), cora_int(true)));
    CHECK_TEXT(semaphore_text(three.semaphore), "<Semaphore [locked]>");
    end_silently(three.loop);
}

TEST(ready_made, "taking a unit may be given to whatever takes operations: task, gather, run")
{
    cora_loop loop = current_loop_new();
    cora_semaphore semaphore = cora_semaphore_new(loop, 2);
    cora_awaitable both[2] = { cora_semaphore_acquire(semaphore),
                               cora_semaphore_acquire(semaphore) };
    cora_value taken = cora_run_until_complete(loop, cora_gather(loop, both, 2));
    CHECK_INT(cora_list_size(taken), 2);
    CHECK(cora_equal(cora_list_at(taken, 1), cora_int(true)));
    CHECK(cora_semaphore_locked(semaphore));
    cora_future task = cora_create_task(loop, cora_semaphore_acquire(semaphore));
    tick(loop);
    CHECK(!cora_done(task));
    release(semaphore, 1);
    CHECK(cora_equal(cora_run_until_complete(loop, task), cora_int(true)));
    release(semaphore, 1);
    CHECK(cora_equal(cora_run_until_complete(loop, cora_semaphore_acquire(semaphore)),
                     cora_int(true)));
    current_loop_end(loop);
}

TEST(does_nothing_yet, "the operation does nothing before it is started")
{
    cora_loop loop = current_loop_new();
    cora_semaphore semaphore = cora_semaphore_new(loop, 1);
    cora_awaitable acquire = cora_semaphore_acquire(semaphore);
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [unlocked, value:1]>");
    CHECK_INT(cora_live(loop), 1);
    cora_semaphore_close(semaphore);
    cora_future late = cora_keep(cora_when_done(acquire, cora_partial(nothing_done)));
    tick(loop);
    CHECK(is_error(late, CORA_ESTALE));
    current_loop_end(loop);
}

TEST(starts_a_tick_later,
     "cora_ensure_future takes a unit in the next tick; cancelled before, never")
{
    cora_loop loop = current_loop_new();
    cora_semaphore semaphore = cora_semaphore_new(loop, 2);
    cora_future one = cora_ensure_future(loop, cora_semaphore_acquire(semaphore));
    cora_future other = cora_ensure_future(loop, cora_semaphore_acquire(semaphore));
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [unlocked, value:2]>");
    CHECK(cora_cancel(one));
    tick(loop);
    CHECK(cora_cancelled(one));
    CHECK(cora_done(other));
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [unlocked, value:1]>");
    current_loop_end(loop);
}

TEST(cancelled_too_late, "a future that has its unit cannot be cancelled any more")
{
    cora_loop loop = current_loop_new();
    cora_semaphore semaphore = cora_semaphore_new(loop, 1);
    struct notes notes = { "" };
    cora_future future = begin(CALLBACKS, loop, semaphore, &notes, "a");
    CHECK(!cora_cancel(future));
    tick(loop);
    CHECK_TEXT(notes.text, "a");
    CHECK(cora_semaphore_locked(semaphore));
    current_loop_end(loop);
}

static void on_first_plank(cora_args bound, cora_future done)
{
    struct bridge *bridge = cora_arg(bound, 0, struct bridge *);
    CHECK(cora_done(done));
    cora_when_done(cora_semaphore_acquire(bridge->toll),
                   cora_partial(note_ended, &bridge->notes, "second"));
    cora_when_done(cora_semaphore_acquire(bridge->toll),
                   cora_partial(note_ended, &bridge->notes, "third"));
}

TEST(taken_in_callback, "who has a unit may ask for more in its callback: one that is there is "
                        "taken in the call")
{
    cora_loop loop = current_loop_new();
    struct bridge bridge = { .toll = cora_semaphore_new(loop, 2) };
    cora_when_done(cora_semaphore_acquire(bridge.toll), cora_partial(on_first_plank, &bridge));
    tick(loop);
    CHECK_TEXT(semaphore_text(bridge.toll), "<Semaphore [locked, waiters:1]>");
    tick(loop);
    CHECK_TEXT(bridge.notes.text, "second");
    release(bridge.toll, 1);
    tick(loop);
    CHECK_TEXT(bridge.notes.text, "second third");
    current_loop_end(loop);
}

static void give_and_take(cora_args bound, cora_future done)
{
    struct bridge *bridge = cora_arg(bound, 0, struct bridge *);
    CHECK(cora_done(done));
    CHECK_INT(cora_semaphore_release(bridge->toll), 0);
    cora_when_done(cora_semaphore_acquire(bridge->toll),
                   cora_partial(note_ended, &bridge->notes, "again"));
}

TEST(released_in_callback, "who gives back in a callback and takes again comes after who waits")
{
    cora_loop loop = current_loop_new();
    struct bridge bridge = { .toll = cora_semaphore_new(loop, 1) };
    cora_when_done(cora_semaphore_acquire(bridge.toll), cora_partial(give_and_take, &bridge));
    begin(CALLBACKS, loop, bridge.toll, &bridge.notes, "other");
    ticks(loop, 2);
    CHECK_TEXT(bridge.notes.text, "other");
    release(bridge.toll, 1);
    tick(loop);
    CHECK_TEXT(bridge.notes.text, "other again");
    current_loop_end(loop);
}

/* ---- the order ---- */

/* A coroutine that takes a unit twice, and tells. */
struct rower {
    struct notes *notes;
    cora_semaphore semaphore;
    int name, rounds;
};

#define ROWER(self) cora_locals(self, struct rower)

static cora_next row(cora_coro self);

static cora_next rowed(cora_coro self)
{
    struct rower *rower = ROWER(self);
    CHECK_INT(cora_semaphore_release(rower->semaphore), 0);
    return rower->rounds == 2 ? cora_return_nothing(self) : row(self);
}

static cora_next on_board(cora_coro self)
{
    struct rower *rower = ROWER(self);
    char word[20];
    snprintf(word, sizeof word, "%d.%d", rower->name, ++rower->rounds);
    add_note(rower->notes, word);
    return cora_await(self, cora_sleep(0.01), rowed);
}

static cora_next row(cora_coro self)
{
    return cora_await(self, cora_semaphore_acquire(ROWER(self)->semaphore), on_board);
}

TEST(fifo_order, "who gives back and takes again at once goes to the back",
     "test_locks.SemaphoreTests.test_acquire_fifo_order")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_semaphore semaphore = cora_semaphore_new(loop, 1);
    cora_future tasks[3];
    for (int i = 0; i < 3; i++)
        tasks[i] = cora_create_task(loop, cora_coroutine(row, struct rower, .notes = &notes,
                                                         .semaphore = semaphore, .name = i + 1));
    run_for(loop, 1);
    CHECK_TEXT(notes.text, "1.1 2.1 3.1 1.2 2.2 3.2");
    for (int i = 0; i < 3; i++)
        CHECK(cora_done(tasks[i]));
    end(loop);
}

static cora_next took_two(cora_coro self)
{
    struct awaiter *awaiter = AWAITER(self);
    add_note(awaiter->notes, "2");
    CHECK_INT(cora_semaphore_release(cora_as_semaphore(awaiter->what.value)), 0);
    awaiter->word = "4";
    return awaiter_begins(self);
}

static cora_next take_two(cora_coro self)
{
    return cora_await(self, AWAITER(self)->what, took_two);
}

TEST(fifo_order_2, "who gives one back more than it took does not overtake who waits",
     "test_locks.SemaphoreTests.test_acquire_fifo_order_2")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_semaphore semaphore = cora_semaphore_new(loop, 1);
    begin(TASKS, loop, semaphore, &notes, "1");
    cora_create_task(loop, cora_coroutine(take_two, struct awaiter, .notes = &notes,
                                          .what = cora_semaphore_acquire(semaphore)));
    begin(TASKS, loop, semaphore, &notes, "3");
    tick(loop);
    CHECK_TEXT(notes.text, "1");
    release(semaphore, 2);
    ticks(loop, 3);
    CHECK_TEXT(notes.text, "1 2 3 4");
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [locked]>");
    current_loop_end(loop);
}

BOTH(fifo_order_3, "of three that wait the first leaves: the others get in, in their order",
     "test_locks.SemaphoreTests.test_acquire_fifo_order_3")
{
    struct three three;
    three_wait(&three, style);
    CHECK(cora_cancel(three.a));
    tick(three.loop);
    release(three.semaphore, 2);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError b c");
    end_silently(three.loop);
}

struct regatta {
    cora_semaphore semaphore;
    struct notes notes;
};

#define REGATTA(self) (*cora_locals(self, struct regatta *))

static cora_next fourth_runs(cora_coro self)
{
    add_note(&REGATTA(self)->notes, "4");
    return cora_return_nothing(self);
}

static cora_next first_took(cora_coro self)
{
    struct regatta *regatta = REGATTA(self);
    CHECK_TEXT(semaphore_text(regatta->semaphore), "<Semaphore [locked, waiters:2]>");
    cora_spawn(cora_running_loop(), cora_coroutine(fourth_runs, struct regatta *, regatta));
    add_note(&regatta->notes, "1");
    return cora_return_nothing(self);
}

static cora_next first_takes(cora_coro self)
{
    return cora_await(self, cora_semaphore_acquire(REGATTA(self)->semaphore), first_took);
}

static cora_next second_took(cora_coro self)
{
    add_note(&REGATTA(self)->notes, "2");
    return cora_return_nothing(self);
}

static cora_next second_releases(cora_coro self)
{
    struct regatta *regatta = REGATTA(self);
    release(regatta->semaphore, 3);
    CHECK(cora_semaphore_locked(regatta->semaphore));
    return cora_await(self, cora_semaphore_acquire(regatta->semaphore), second_took);
}

static cora_next third_took(cora_coro self)
{
    struct regatta *regatta = REGATTA(self);
    CHECK(cora_semaphore_locked(regatta->semaphore));
    add_note(&regatta->notes, "3");
    return cora_return_nothing(self);
}

static cora_next third_takes(cora_coro self)
{
    return cora_await(self, cora_semaphore_acquire(REGATTA(self)->semaphore), third_took);
}

TEST(fifo_order_4,
     "who was woken wakes all that queued though there were units, before what it "
     "begins itself",
     "test_locks.SemaphoreTests.test_acquire_fifo_order_4")
{
    cora_loop loop = virtual_loop_new();
    struct regatta regatta = { .semaphore = cora_semaphore_new(loop, 0) };
    cora_spawn(loop, cora_coroutine(first_takes, struct regatta *, &regatta));
    cora_spawn(loop, cora_coroutine(second_releases, struct regatta *, &regatta));
    cora_spawn(loop, cora_coroutine(third_takes, struct regatta *, &regatta));
    tick(loop);
    CHECK_TEXT(semaphore_text(regatta.semaphore), "<Semaphore [locked, waiters:3]>");
    ticks(loop, 3);
    CHECK_TEXT(regatta.notes.text, "1 2 3 4");
    CHECK_TEXT(semaphore_text(regatta.semaphore), "<Semaphore [locked]>");
    end(loop);
}

/* ---- cancelled while waiting ---- */

BOTH(acquire_cancel, "who is cancelled while waiting takes no unit, and the others move up",
     "test_locks.SemaphoreTests.test_acquire_cancel")
{
    struct three three;
    three_wait(&three, style);
    CHECK(cora_cancel(three.b));
    CHECK_TEXT(three.notes.text, "");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "b:CancelledError");
    CHECK(cora_cancelled(three.b));
    CHECK_TEXT(semaphore_text(three.semaphore), "<Semaphore [locked, waiters:2]>");
    release(three.semaphore, 3);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "b:CancelledError a c");
    CHECK_TEXT(semaphore_text(three.semaphore), "<Semaphore [unlocked, value:1]>");
    end_silently(three.loop);
}

TEST(cancel_message, "who is cancelled with a message ends with it")
{
    struct three three;
    three_wait(&three, CALLBACKS);
    cora_cancel_with(three.a, "fog");
    tick(three.loop);
    CHECK_TEXT(outcome(three.a), "CancelledError: fog");
    end_silently(three.loop);
}

BOTH(acquire_hang, "a release skips one that was cancelled in the same turn",
     "test_locks.SemaphoreTests.test_acquire_hang")
{
    struct three three;
    three_wait(&three, style);
    CHECK(cora_cancel(three.a));
    release(three.semaphore, 1);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError b");
    CHECK(cora_semaphore_locked(three.semaphore));
    CHECK_TEXT(semaphore_text(three.semaphore), "<Semaphore [locked, waiters:1]>");
    end_silently(three.loop);
}

struct crossing {
    cora_semaphore semaphore;
    cora_future other;
};

static cora_next cancel_other(cora_coro self)
{
    CHECK(cora_cancel(cora_locals(self, struct crossing)->other));
    return cora_go_on(self);
}

static cora_next wait_a_tick(cora_coro self)
{
    return cora_await(self, cora_sleep(0), cora_return_nothing);
}

static cora_next cross(cora_coro self)
{
    cora_finally(self, cancel_other); /* runs when the unit is given back */
    return cora_with(self, cora_semaphore_acquire(cora_locals(self, struct crossing)->semaphore),
                     wait_a_tick);
}

TEST(acquire_no_hang, "a unit that was handed to one that is cancelled then is not lost",
     "test_locks.SemaphoreTests.test_acquire_no_hang")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_semaphore semaphore = cora_semaphore_new(loop, 1);
    cora_coro coro = cora_coroutine(cross, struct crossing, .semaphore = semaphore);
    struct crossing *crossing = cora_locals(coro, struct crossing);
    cora_future one = cora_create_task(loop, coro);
    cora_future two = crossing->other =
        task_entering(loop, cora_semaphore_acquire(semaphore), &notes, "in", (cora_future){ 0 });
    ticks(loop, 3);
    CHECK(cora_done(one) && cora_is_nothing(cora_exception(one)));
    CHECK(cora_cancelled(two));
    CHECK_TEXT(notes.text, "");
    cora_awaitable limited = cora_wait_for(cora_semaphore_acquire(semaphore), 1);
    CHECK(cora_equal(cora_run_until_complete(loop, limited), cora_int(true)));
    current_loop_end(loop);
}

/* ---- the gap ---- */

BOTH(handed_over, "a release with somebody waiting hands its unit over: it reads locked all along")
{
    struct three three;
    three_wait(&three, style);
    release(three.semaphore, 1);
    CHECK(cora_semaphore_locked(three.semaphore));
    CHECK_TEXT(semaphore_text(three.semaphore), "<Semaphore [locked, waiters:3]>");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a");
    CHECK_TEXT(semaphore_text(three.semaphore), "<Semaphore [locked, waiters:2]>");
    end_silently(three.loop);
}

BOTH(locked_with_units, "with more units than wait it reads locked until the last of them has run")
{
    struct three three;
    three_wait(&three, style);
    release(three.semaphore, 5);
    CHECK(cora_semaphore_locked(three.semaphore));
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a b c");
    CHECK_TEXT(semaphore_text(three.semaphore), "<Semaphore [unlocked, value:2]>");
    end_silently(three.loop);
}

TEST(newcomer_in_gap, "a newcomer queues though there is a unit, if somebody was there before")
{
    struct three three;
    three_wait(&three, CALLBACKS);
    release(three.semaphore, 4);
    begin(CALLBACKS, three.loop, three.semaphore, &three.notes, "d");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a b c");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a b c d");
    CHECK_TEXT(semaphore_text(three.semaphore), "<Semaphore [locked]>");
    end_silently(three.loop);
}

BOTH(cancelled_in_gap, "who has been given a unit and is cancelled before running gives it on")
{
    struct three three;
    three_wait(&three, style);
    release(three.semaphore, 1);
    CHECK(cora_cancel(three.a));
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError");
    CHECK_TEXT(semaphore_text(three.semaphore), "<Semaphore [locked, waiters:2]>");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError b");
    CHECK_TEXT(semaphore_text(three.semaphore), "<Semaphore [locked, waiters:1]>");
    end_silently(three.loop);
}

BOTH(two_cancelled_in_gap, "also past another that was cancelled in the same turn")
{
    struct three three;
    three_wait(&three, style);
    release(three.semaphore, 1);
    cora_cancel(three.b);
    cora_cancel(three.a);
    ticks(three.loop, 2);
    CHECK_TEXT(three.notes.text, "a:CancelledError b:CancelledError c");
    CHECK_TEXT(semaphore_text(three.semaphore), "<Semaphore [locked]>");
    end_silently(three.loop);
}

BOTH(both_units_given_on, "two that have been given units and are cancelled both give theirs on")
{
    struct three three;
    three_wait(&three, style);
    release(three.semaphore, 2);
    cora_cancel(three.a);
    cora_cancel(three.b);
    ticks(three.loop, 2);
    CHECK_TEXT(three.notes.text, "a:CancelledError b:CancelledError c");
    CHECK_TEXT(semaphore_text(three.semaphore), "<Semaphore [unlocked, value:1]>");
    end_silently(three.loop);
}

BOTH(given_on_and_cancelled, "each one that is given the unit may be cancelled in turn: it is back")
{
    struct three three;
    three_wait(&three, style);
    release(three.semaphore, 1);
    cora_cancel(three.a);
    tick(three.loop);
    cora_cancel(three.b);
    tick(three.loop);
    cora_cancel(three.c);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError b:CancelledError c:CancelledError");
    CHECK_TEXT(semaphore_text(three.semaphore), "<Semaphore [unlocked, value:1]>");
    end_silently(three.loop);
}

BOTH(all_cancelled, "if all that wait are cancelled, a unit is there for a newcomer at once")
{
    struct three three;
    three_wait(&three, style);
    cora_cancel(three.a);
    cora_cancel(three.b);
    cora_cancel(three.c);
    release(three.semaphore, 1);
    CHECK_TEXT(semaphore_text(three.semaphore), "<Semaphore [unlocked, value:1, waiters:3]>");
    take(three.semaphore);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError b:CancelledError c:CancelledError");
    CHECK_TEXT(semaphore_text(three.semaphore), "<Semaphore [locked]>");
    end_silently(three.loop);
}

BOTH(given_is_not_cancelled, "who was given a unit and cancelled then still counts: newcomers "
                             "queue, and have it")
{
    struct three three;
    three_wait(&three, style);
    cora_cancel(three.b);
    cora_cancel(three.c);
    release(three.semaphore, 2);
    cora_cancel(three.a);
    CHECK(cora_semaphore_locked(three.semaphore));
    cora_future d = begin(CALLBACKS, three.loop, three.semaphore, &three.notes, "d");
    CHECK(!cora_done(d));
    ticks(three.loop, 2);
    CHECK(cora_cancelled(three.a) && cora_cancelled(three.b) && cora_cancelled(three.c));
    CHECK(cora_done(d));
    CHECK_TEXT(semaphore_text(three.semaphore), "<Semaphore [unlocked, value:1]>");
    end_silently(three.loop);
}

TEST(uncancelled_in_gap, "a task whose cancel is taken back in the gap has its unit")
{
    struct three three;
    three_wait(&three, TASKS);
    release(three.semaphore, 1);
    cora_cancel(three.a);
    CHECK_INT(cora_uncancel(three.a), 0);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a");
    CHECK_TEXT(semaphore_text(three.semaphore), "<Semaphore [locked, waiters:2]>");
    end_silently(three.loop);
}

TEST(uncancelled_too_late, "a task that was cancelled before the release is, also if taken back")
{
    struct three three;
    three_wait(&three, TASKS);
    cora_cancel(three.a);
    CHECK_INT(cora_uncancel(three.a), 0);
    release(three.semaphore, 1);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError b");
    end_silently(three.loop);
}

BOTH(cancelled_twice_in_gap, "who is cancelled twice in the gap gives one unit on")
{
    struct three three;
    three_wait(&three, style);
    release(three.semaphore, 1);
    CHECK(cora_cancel(three.a));
    cora_cancel(three.a);
    ticks(three.loop, 3);
    CHECK_TEXT(three.notes.text, "a:CancelledError b");
    CHECK_TEXT(semaphore_text(three.semaphore), "<Semaphore [locked, waiters:1]>");
    end_silently(three.loop);
}

TEST(gather_in_gap, "a gather that is cancelled in the gap gives the unit on")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_semaphore semaphore = cora_semaphore_new(loop, 0);
    cora_awaitable acquire = cora_semaphore_acquire(semaphore);
    cora_future all = cora_gather(loop, &acquire, 1);
    tick(loop);
    begin(CALLBACKS, loop, semaphore, &notes, "b");
    release(semaphore, 1);
    CHECK(cora_cancel(all));
    ticks(loop, 3);
    CHECK(is_error(all, CORA_ECANCELLED));
    CHECK_TEXT(notes.text, "b");
    current_loop_end(loop);
}

struct squall {
    cora_semaphore semaphore;
    cora_future victim;
    struct notes notes;
};

static void cancel_the_next(cora_args bound, cora_future done)
{
    struct squall *squall = cora_arg(bound, 0, struct squall *);
    CHECK(cora_done(done));
    CHECK(cora_cancel(squall->victim));
}

TEST(cancelled_by_a_neighbour, "the first of those that were given units may cancel the next, "
                               "whose unit goes to the third")
{
    cora_loop loop = current_loop_new();
    struct squall squall = { .semaphore = cora_semaphore_new(loop, 0) };
    cora_when_done(cora_semaphore_acquire(squall.semaphore),
                   cora_partial(cancel_the_next, &squall));
    squall.victim = begin(CALLBACKS, loop, squall.semaphore, &squall.notes, "victim");
    begin(CALLBACKS, loop, squall.semaphore, &squall.notes, "third");
    release(squall.semaphore, 2);
    ticks(loop, 2);
    CHECK_TEXT(squall.notes.text, "victim:CancelledError third");
    CHECK_TEXT(semaphore_text(squall.semaphore), "<Semaphore [locked]>");
    current_loop_end(loop);
}

/* ---- bounded ---- */

TEST(bounded, "to give back what nobody has taken of a bounded one is a ValueError, and changes "
              "nothing")
{
    cora_loop loop = current_loop_new();
    cora_semaphore semaphore = cora_bounded_semaphore_new(loop, 1);
    const char *words = "BoundedSemaphore released too many times (semaphore made in test_bounded";
    take(semaphore);
    CHECK_INT(cora_semaphore_release(semaphore), 0);
    CHECK_INT(cora_semaphore_release(semaphore), CORA_EVALUE);
    CHECK(strstr(cora_error_message(cora_last_error()), words) ==
          cora_error_message(cora_last_error()));
    CHECK_TEXT(semaphore_text(semaphore), "<BoundedSemaphore [unlocked, value:1]>");
    current_loop_end(loop);
}

TEST(bounded_by_zero, "a bounded one without a unit stays without")
{
    cora_loop loop = current_loop_new();
    cora_semaphore semaphore = cora_bounded_semaphore_new(loop, 0);
    struct notes notes = { "" };
    begin(CALLBACKS, loop, semaphore, &notes, "a");
    CHECK_INT(cora_semaphore_release(semaphore), CORA_EVALUE);
    tick(loop);
    CHECK_TEXT(notes.text, "");
    CHECK_TEXT(semaphore_text(semaphore), "<BoundedSemaphore [locked, waiters:1]>");
    current_loop_end(loop);
}

BOTH(bounded_in_gap, "a bounded one has all its units again when the one that got one is cancelled")
{
    cora_loop loop = current_loop_new();
    cora_semaphore semaphore = cora_bounded_semaphore_new(loop, 1);
    struct notes notes = { "" };
    take(semaphore);
    cora_future a = begin(style, loop, semaphore, &notes, "a");
    tick(loop);
    release(semaphore, 1);
    CHECK(cora_cancel(a));
    tick(loop);
    CHECK_TEXT(notes.text, "a:CancelledError");
    CHECK_TEXT(semaphore_text(semaphore), "<BoundedSemaphore [unlocked, value:1]>");
    CHECK_INT(cora_semaphore_release(semaphore), CORA_EVALUE);
    end_silently(loop);
}

/* ---- limits on time ---- */

TEST(wait_for_too_late, "a limit ends the waiting with a TimeoutError: no unit is taken by it")
{
    cora_loop loop = current_loop_new();
    cora_semaphore semaphore = cora_semaphore_new(loop, 0);
    struct notes notes = { "" };
    cora_when_done(cora_wait_for(cora_semaphore_acquire(semaphore), 2),
                   cora_partial(note_ended, &notes, "a"));
    run_for(loop, 1.9);
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [locked, waiters:1]>");
    CHECK_TEXT(notes.text, "");
    run_for(loop, 0.2);
    CHECK_TEXT(notes.text, "a:TimeoutError");
    release(semaphore, 1);
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [unlocked, value:1]>");
    current_loop_end(loop);
}

static void release_one(cora_args bound)
{
    CHECK_INT(cora_semaphore_release(cora_arg_semaphore(bound, 0)), 0);
}

TEST(wait_for_in_time, "a unit that comes in time is taken, and the limit is over")
{
    cora_loop loop = current_loop_new();
    cora_semaphore semaphore = cora_semaphore_new(loop, 0);
    cora_call_later(loop, 1, cora_partial(release_one, semaphore));
    cora_value taken =
        cora_run_until_complete(loop, cora_wait_for(cora_semaphore_acquire(semaphore), 2));
    CHECK(cora_equal(taken, cora_int(true)));
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [locked]>");
    CHECK_REAL(cora_time(loop), START + 1, LATE);
    current_loop_end(loop);
}

static void release_then_cancel(cora_args bound)
{
    struct three *three = cora_arg(bound, 0, struct three *);
    CHECK_INT(cora_semaphore_release(three->semaphore), 0);
    CHECK(cora_cancel(three->a));
}

TEST(wait_for_in_gap, "a limited waiting that is cancelled in the gap gives the unit back")
{
    struct three three = { .loop = current_loop_new() };
    three.semaphore = cora_semaphore_new(three.loop, 0);
    three.a =
        cora_create_task(three.loop, cora_wait_for(cora_semaphore_acquire(three.semaphore), 2));
    cora_call_later(three.loop, 1, cora_partial(release_then_cancel, &three));
    run_for(three.loop, 1.5);
    CHECK(cora_cancelled(three.a));
    CHECK_TEXT(semaphore_text(three.semaphore), "<Semaphore [unlocked, value:1]>");
    current_loop_end(three.loop);
}

static cora_next limit(cora_coro self)
{
    cora_timeout timeout = cora_timeout_new(cora_running_loop(), 2);
    return cora_with(self, cora_timeout_enter(timeout), awaiter_enters);
}

TEST(timeout_inside, "a unit that is held when a limit is over is given back")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_semaphore semaphore = cora_semaphore_new(loop, 1);
    cora_future task =
        cora_create_task(loop, cora_coroutine(limit, struct awaiter, .notes = &notes, .word = "in",
                                              .what = cora_semaphore_acquire(semaphore),
                                              .until = cora_future_new(loop)));
    run_for(loop, 1.9);
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [locked]>");
    run_for(loop, 0.2);
    CHECK(is_error(task, CORA_ETIMEOUT));
    CHECK_TEXT(notes.text, "in");
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [unlocked, value:1]>");
    end(loop);
}

/* ---- held for a part of a coroutine ---- */

TEST(with_returns, "cora_with holds a unit inside, and gives it back when the coroutine returns")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_semaphore semaphore = cora_bounded_semaphore_new(loop, 1);
    cora_future until = cora_future_new(loop);
    cora_future task = task_entering(loop, cora_semaphore_acquire(semaphore), &notes, "in", until);
    ticks(loop, 3);
    CHECK(cora_semaphore_locked(semaphore));
    cora_set_result(until, cora_int(7));
    tick(loop);
    CHECK_TEXT(outcome(task), "7");
    CHECK_TEXT(semaphore_text(semaphore), "<BoundedSemaphore [unlocked, value:1]>");
    end(loop);
}

TEST(with_raises, "the unit is back when the coroutine has raised, and the error goes on")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_semaphore semaphore = cora_bounded_semaphore_new(loop, 1);
    cora_future until = cora_future_new(loop);
    cora_future task = task_entering(loop, cora_semaphore_acquire(semaphore), &notes, "in", until);
    tick(loop);
    cora_set_exception(until, spilled());
    tick(loop);
    CHECK_TEXT(outcome(task), "ValueError: spilled");
    CHECK(!cora_semaphore_locked(semaphore));
    end(loop);
}

TEST(with_cancelled, "the unit is back when the coroutine was cancelled inside")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_semaphore semaphore = cora_semaphore_new(loop, 1);
    cora_future task =
        task_entering(loop, cora_semaphore_acquire(semaphore), &notes, "in", cora_future_new(loop));
    tick(loop);
    cora_cancel(task);
    CHECK(cora_semaphore_locked(semaphore));
    tick(loop);
    CHECK(cora_cancelled(task));
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [unlocked, value:1]>");
    end(loop);
}

TEST(with_cancelled_before, "who is cancelled while waiting for a unit gives none back")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_semaphore semaphore = cora_semaphore_new(loop, 0);
    cora_future task =
        task_entering(loop, cora_semaphore_acquire(semaphore), &notes, "in", (cora_future){ 0 });
    tick(loop);
    cora_cancel(task);
    tick(loop);
    CHECK(cora_cancelled(task));
    CHECK_TEXT(notes.text, "");
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [locked]>");
    end(loop);
}

TEST(with_cancelled_in_gap, "who is cancelled in the gap does not run inside, and gives one on")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_semaphore semaphore = cora_semaphore_new(loop, 0);
    cora_future until = cora_future_new(loop);
    cora_future one =
        task_entering(loop, cora_semaphore_acquire(semaphore), &notes, "one", (cora_future){ 0 });
    task_entering(loop, cora_semaphore_acquire(semaphore), &notes, "other", until);
    tick(loop);
    release(semaphore, 1);
    cora_cancel(one);
    ticks(loop, 2);
    CHECK(cora_cancelled(one));
    CHECK_TEXT(notes.text, "other");
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [locked]>");
    cora_set_result(until, cora_nothing());
    tick(loop);
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [unlocked, value:1]>");
    end(loop);
}

TEST(with_lets_in, "leaving hands the unit to who waits")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_semaphore semaphore = cora_bounded_semaphore_new(loop, 1);
    cora_awaitable acquire = cora_semaphore_acquire(semaphore);
    cora_future until = cora_future_new(loop);
    task_entering(loop, acquire, &notes, "a", until);
    task_entering(loop, acquire, &notes, "b", (cora_future){ 0 });
    task_entering(loop, acquire, &notes, "c", (cora_future){ 0 });
    ticks(loop, 3);
    cora_set_result(until, cora_nothing());
    tick(loop);
    CHECK_TEXT(notes.text, "a");
    tick(loop);
    CHECK_TEXT(notes.text, "a b");
    tick(loop);
    CHECK_TEXT(notes.text, "a b c");
    CHECK_TEXT(semaphore_text(semaphore), "<BoundedSemaphore [unlocked, value:1]>");
    end(loop);
}

TEST(with_closed_by_hand, "the unit is back when the coroutine was closed inside")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_semaphore semaphore = cora_semaphore_new(loop, 1);
    cora_coro coro =
        entering(cora_semaphore_acquire(semaphore), &notes, "in", cora_future_new(loop));
    CHECK_INT(cora_send(coro, cora_nothing(), NULL), 1);
    CHECK(cora_semaphore_locked(semaphore));
    CHECK_INT(cora_coro_close(coro), 0);
    CHECK(!cora_semaphore_locked(semaphore));
    cora_set_current_loop((cora_loop){ 0 });
    end(loop);
}

TEST(with_loop_closed, "a unit of another loop's is back when the coroutine's loop was closed")
{
    cora_loop other = virtual_loop_new(), loop = cora_loop_new(NULL);
    struct notes notes = { "" };
    struct reports reports;
    cora_semaphore semaphore = cora_semaphore_new(other, 1);
    collect_reports(loop, &reports);
    task_entering(loop, cora_semaphore_acquire(semaphore), &notes, "in", cora_future_new(loop));
    tick(loop);
    CHECK(cora_semaphore_locked(semaphore));
    cora_loop_close(loop);
    CHECK(!cora_semaphore_locked(semaphore));
    end(other);
}

TEST(with_own_loop_closed, "a loop may be closed while a unit of its own is held and waited for")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    struct reports reports;
    cora_semaphore semaphore = cora_semaphore_new(loop, 1);
    cora_awaitable acquire = cora_semaphore_acquire(semaphore);
    collect_reports(loop, &reports);
    task_entering(loop, acquire, &notes, "in", cora_future_new(loop));
    task_entering(loop, acquire, &notes, "waits", (cora_future){ 0 });
    tick(loop);
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [locked, waiters:1]>");
    end(loop);
    CHECK_TEXT(notes.text, "in");
    CHECK(!cora_semaphore_locked(semaphore));
}

TEST(with_released_inside, "who has given its unit back inside ends with the ValueError of leaving "
                           "a bounded one")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_semaphore semaphore = cora_bounded_semaphore_new(loop, 1);
    cora_future until = cora_future_new(loop);
    cora_future task = task_entering(loop, cora_semaphore_acquire(semaphore), &notes, "in", until);
    tick(loop);
    release(semaphore, 1);
    cora_set_exception(until, cora_error(CORA_ERUNTIME, "capsized"));
    tick(loop);
    CHECK(is_error(task, CORA_EVALUE));
    CHECK(says(cora_exception(task), "BoundedSemaphore released too many times"));
    end(loop);
}

TEST(with_closed_inside, "of a semaphore that was closed inside there is nothing to leave: the "
                         "outcome goes on")
{
    cora_loop loop = virtual_loop_new();
    for (int failing = 0; failing < 2; failing++) {
        struct notes notes = { "" };
        cora_semaphore semaphore = cora_semaphore_new(loop, 1);
        cora_future until = cora_future_new(loop);
        cora_future task =
            task_entering(loop, cora_semaphore_acquire(semaphore), &notes, "in", until);
        tick(loop);
        cora_semaphore_close(semaphore);
        if (failing)
            cora_set_exception(until, spilled());
        else
            cora_set_result(until, cora_int(7));
        tick(loop);
        CHECK_TEXT(outcome(task), failing ? "ValueError: spilled" : "7");
    }
    end(loop);
}

TEST(with_stale, "cora_with on a stale semaphore ends the coroutine; the step does not run")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_semaphore semaphore = cora_semaphore_new(loop, 1);
    cora_semaphore_close(semaphore);
    cora_future task =
        task_entering(loop, cora_semaphore_acquire(semaphore), &notes, "in", (cora_future){ 0 });
    tick(loop);
    CHECK(is_error(task, CORA_ESTALE));
    CHECK_TEXT(notes.text, "");
    end(loop);
}

/* ---- any of those that are held ---- */

/* What can be taken with cora_with, and its question. */
struct held {
    cora_awaitable acquire;
    cora_lock lock; /* null: a semaphore */
    cora_semaphore semaphore;
};

#define HELD(self) cora_locals(self, struct held)

static bool is_locked(const struct held *held)
{
    return cora_is_null(held->lock) ? cora_semaphore_locked(held->semaphore)
                                    : cora_lock_locked(held->lock);
}

static cora_next slept_inside(cora_coro self)
{
    return cora_return(self, is_locked(HELD(self)) ? "held" : "lost");
}

static cora_next sleep_inside(cora_coro self)
{
    CHECK(is_locked(HELD(self)));
    return cora_await(self, cora_sleep(0.01), slept_inside);
}

static cora_next enter_held(cora_coro self)
{
    CHECK(!is_locked(HELD(self)));
    return cora_with(self, HELD(self)->acquire, sleep_inside);
}

static cora_next sleep_before(cora_coro self)
{
    return cora_await(self, cora_sleep(0.01), enter_held);
}

TEST(async_with, "lock, condition and both semaphores are held inside cora_with, and no longer",
     "test_pep492.LockTests.test_context_manager_async_with")
{
    cora_loop loop = virtual_loop_new();
    cora_lock lock = cora_lock_new(loop);
    cora_condition condition = cora_condition_new(loop);
    cora_semaphore one = cora_semaphore_new(loop, 1), other = cora_bounded_semaphore_new(loop, 1);
    struct held all[] = {
        { .acquire = cora_lock_acquire(lock), .lock = lock },
        { .acquire = cora_condition_acquire(condition), .lock = cora_condition_lock(condition) },
        { .acquire = cora_semaphore_acquire(one), .semaphore = one },
        { .acquire = cora_semaphore_acquire(other), .semaphore = other },
    };
    for (int i = 0; i < 4; i++) {
        CHECK_TEXT(ran(loop, cora_coroutine(sleep_before, struct held, .acquire = all[i].acquire,
                                            .lock = all[i].lock, .semaphore = all[i].semaphore)),
                   "\"held\"");
        CHECK(!is_locked(&all[i]));
    }
    end(loop);
}

/* ---- closed ---- */

BOTH(closed, "those that wait for a semaphore that is closed end with a StaleHandle error, a tick "
             "later")
{
    struct three three;
    three_wait(&three, style);
    CHECK_INT(cora_semaphore_close(three.semaphore), 0);
    CHECK_TEXT(three.notes.text, "");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:StaleHandle b:StaleHandle c:StaleHandle");
    CHECK(is_error(three.a, CORA_ESTALE));
    CHECK(says(cora_exception(three.a), "semaphore"));
    cora_exception(three.b), cora_exception(three.c);
    end_silently(three.loop);
}

BOTH(closed_in_gap, "also who was given a unit already does not get it of one that is closed")
{
    struct three three;
    three_wait(&three, style);
    release(three.semaphore, 1);
    cora_semaphore_close(three.semaphore);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:StaleHandle b:StaleHandle c:StaleHandle");
    cora_exception(three.a), cora_exception(three.b), cora_exception(three.c);
    end_silently(three.loop);
}

BOTH(closed_and_cancelled,
     "who is cancelled in the turn in which the semaphore is closed is cancelled")
{
    struct three three;
    three_wait(&three, style);
    cora_cancel(three.a);
    cora_semaphore_close(three.semaphore);
    CHECK(cora_cancel(three.b));
    tick(three.loop);
    CHECK(cora_cancelled(three.a));
    CHECK(cora_cancelled(three.b));
    CHECK(is_error(three.c, CORA_ESTALE));
    end_silently(three.loop);
}

BOTH(closed_when_giving_on, "a semaphore that is closed while a unit is given on does no harm")
{
    struct three three;
    three_wait(&three, style);
    release(three.semaphore, 1);
    cora_cancel(three.a);
    cora_semaphore_close(three.semaphore);
    ticks(three.loop, 2);
    CHECK_TEXT(three.notes.text, "a:CancelledError b:StaleHandle c:StaleHandle");
    cora_exception(three.b), cora_exception(three.c);
    end_silently(three.loop);
}

static void close_semaphore(cora_args bound, cora_future done)
{
    (void)done;
    CHECK_INT(cora_semaphore_close(cora_arg_semaphore(bound, 0)), 0);
}

TEST(closed_by_a_waiting_one, "who was waiting may close the semaphore as soon as it has its unit")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_semaphore semaphore = cora_semaphore_new(loop, 0);
    cora_when_done(cora_semaphore_acquire(semaphore), cora_partial(close_semaphore, semaphore));
    begin(CALLBACKS, loop, semaphore, &notes, "b");
    release(semaphore, 2);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "b:StaleHandle");
    current_loop_end(loop);
}

BOTH(loop_closed, "a loop that is closed takes those with it that wait for its semaphores")
{
    struct three three;
    three_wait(&three, style);
    release(three.semaphore, 2);
    cora_cancel(three.a);
    end_silently(three.loop);
    CHECK_INT(cora_semaphore_release(three.semaphore), CORA_ESTALE);
}

TEST(stale, "of a semaphore that is closed nothing is left but a handle that is stale")
{
    cora_loop loop = current_loop_new();
    cora_semaphore semaphore = cora_semaphore_new(loop, 1);
    CHECK_INT(cora_semaphore_close(semaphore), 0);
    CHECK_INT(cora_semaphore_close(semaphore), 0);
    CHECK_INT(cora_semaphore_release(semaphore), CORA_ESTALE);
    CHECK(!cora_semaphore_locked(semaphore));
    CHECK(is_error(
        cora_keep(cora_when_done(cora_semaphore_acquire(semaphore), cora_partial(nothing_done))),
        CORA_ESTALE));
    CHECK(strncmp(semaphore_text(semaphore), "<Semaphore #", 12) == 0);
    for (int i = 0; i < 100; i++)
        CHECK(!cora_same(cora_semaphore_new(loop, 1), semaphore));
    CHECK_INT(cora_semaphore_release(semaphore), CORA_ESTALE);
    current_loop_end(loop);
}

TEST(null, "a null semaphore fails what is done with it, with the error that made it null")
{
    cora_loop loop = current_loop_new();
    cora_semaphore semaphore = cora_semaphore_new(loop, -3);
    CHECK(cora_is_null(semaphore));
    CHECK_INT(cora_semaphore_release(semaphore), CORA_EVALUE);
    CHECK_INT(cora_semaphore_close(semaphore), CORA_EVALUE);
    CHECK(!cora_semaphore_locked(semaphore));
    CHECK(strstr(semaphore_text(semaphore), "Semaphore") != NULL);
    CHECK(is_error(
        cora_keep(cora_when_done(cora_semaphore_acquire(semaphore), cora_partial(nothing_done))),
        CORA_EVALUE));
    current_loop_end(loop);
}

TEST(not_made, "a semaphore cannot be made in a loop that is closed, or null")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_loop_close(loop);
    CHECK(cora_is_null(cora_semaphore_new(loop, 1)));
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
    CHECK(cora_is_null(cora_bounded_semaphore_new((cora_loop){ 0 }, 1)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ESTALE);
}

TEST(not_a_lock, "a semaphore's handle is a semaphore's alone, also when it was passed as a value")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_semaphore semaphore = cora_semaphore_new(loop, 1);
    CHECK(cora_same(cora_as_semaphore(cora_from(semaphore)), semaphore));
    CHECK(cora_is_null(cora_as_lock(cora_from(semaphore))));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
    CHECK_INT(cora_lock_release((cora_lock){ semaphore.bits }), CORA_ETYPE);
    CHECK(says(cora_last_error(), "got a semaphore made in test_not_a_lock"));
    CHECK(cora_equal(cora_from(semaphore), cora_from(semaphore)));
    CHECK(!cora_equal(cora_from(semaphore), cora_from(cora_semaphore_new(loop, 1))));
    cora_loop_close(loop);
}

TEST(a_lock, "a handle of something else is a TypeError, which tells what it is")
{
    cora_loop loop = current_loop_new();
    cora_semaphore lock = { cora_lock_new(loop).bits };
    CHECK_INT(cora_semaphore_release(lock), CORA_ETYPE);
    CHECK_INT(cora_semaphore_close(lock), CORA_ETYPE);
    CHECK(!cora_semaphore_locked(lock));
    cora_future future =
        cora_keep(cora_when_done(cora_semaphore_acquire(lock), cora_partial(nothing_done)));
    CHECK(is_error(future, CORA_ETYPE));
    CHECK(says(cora_exception(future), "a semaphore was expected, got a lock made in test_a_lock"));
    current_loop_end(loop);
}

/* ---- other loops, other threads ---- */

TEST(other_loop,
     "a unit of another loop's is taken if it is there; to wait for one is a RuntimeError")
{
    cora_loop loop = current_loop_new(), other = cora_loop_new(NULL);
    struct notes notes = { "" };
    cora_semaphore semaphore = cora_semaphore_new(loop, 1);
    begin(TASKS, other, semaphore, &notes, "one");
    tick(other);
    CHECK_TEXT(notes.text, "one");
    cora_future two = begin(TASKS, other, semaphore, &notes, "two");
    tick(other);
    CHECK_TEXT(notes.text, "one two:RuntimeError");
    CHECK(says(cora_exception(two), "semaphore is bound to a different event loop"));
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [locked]>");
    cora_loop_close(other);
    current_loop_end(loop);
}

TEST(other_loop_in_gap, "also if there is a unit, but somebody was there before")
{
    cora_loop loop = current_loop_new(), other = cora_loop_new(NULL);
    struct notes notes = { "" };
    cora_semaphore semaphore = cora_semaphore_new(loop, 0);
    begin(CALLBACKS, loop, semaphore, &notes, "a");
    release(semaphore, 2);
    cora_future b = begin(TASKS, other, semaphore, &notes, "b");
    tick(other);
    CHECK_TEXT(notes.text, "b:RuntimeError");
    CHECK(is_error(b, CORA_ERUNTIME));
    tick(loop);
    CHECK_TEXT(notes.text, "b:RuntimeError a");
    cora_loop_close(other);
    current_loop_end(loop);
}

struct stranger {
    cora_semaphore semaphore;
    cora_loop loop;
    int release, close, acquire, make;
    bool locked;
};

static void *come_from_elsewhere(void *argument)
{
    struct stranger *stranger = argument;
    cora_loop own = cora_loop_new(NULL);
    stranger->release = cora_semaphore_release(stranger->semaphore);
    stranger->close = cora_semaphore_close(stranger->semaphore);
    stranger->locked = cora_semaphore_locked(stranger->semaphore);
    stranger->acquire =
        cora_error_code(cora_run_until_complete(own, cora_semaphore_acquire(stranger->semaphore)));
    if (cora_is_null(cora_semaphore_new(stranger->loop, 1)))
        stranger->make = cora_error_code(cora_last_error());
    cora_loop_close(own);
    return NULL;
}

TEST(other_thread, "a semaphore is its loop's thread's alone")
{
    cora_loop loop = current_loop_new();
    struct stranger stranger = { .semaphore = cora_semaphore_new(loop, 0), .loop = loop };
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, come_from_elsewhere, &stranger), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(stranger.release, CORA_EWRONGTHREAD);
    CHECK_INT(stranger.close, CORA_EWRONGTHREAD);
    CHECK_INT(stranger.acquire, CORA_EWRONGTHREAD);
    CHECK_INT(stranger.make, CORA_EWRONGTHREAD);
    CHECK(!stranger.locked);
    CHECK_TEXT(semaphore_text(stranger.semaphore), "<Semaphore [locked]>");
    current_loop_end(loop);
}

/* ---- many ---- */

#define MANY 10000

static void hand_on(cora_args bound, cora_future done)
{
    CHECK(cora_equal(cora_result(done), cora_int(true)));
    int *next = cora_arg(bound, 1, int *);
    CHECK_INT(*next, cora_arg_int(bound, 2));
    ++*next;
    CHECK_INT(cora_semaphore_release(cora_arg_semaphore(bound, 0)), 0);
}

TEST(many, "ten thousand take three units in turn, in the order of coming")
{
    cora_loop loop = current_loop_new();
    cora_semaphore semaphore = cora_bounded_semaphore_new(loop, 3);
    int next = 0;
    for (int i = 0; i < MANY; i++)
        cora_when_done(cora_semaphore_acquire(semaphore),
                       cora_partial(hand_on, semaphore, &next, i));
    CHECK_TEXT(semaphore_text(semaphore), "<BoundedSemaphore [locked, waiters:9997]>");
    ticks(loop, MANY / 3 + 1);
    CHECK_INT(next, MANY);
    CHECK_TEXT(semaphore_text(semaphore), "<BoundedSemaphore [unlocked, value:3]>");
    CHECK_INT(cora_live(loop), 1);
    current_loop_end(loop);
}

static void goes_on_in_turn(cora_args bound, cora_future done)
{
    int *next = cora_arg(bound, 0, int *);
    CHECK(cora_equal(cora_result(done), cora_int(true)));
    CHECK_INT(*next, cora_arg_int(bound, 1));
    ++*next;
}

TEST(many_at_once, "ten thousand that are given units in one turn go on in one tick, in order")
{
    cora_loop loop = current_loop_new();
    cora_semaphore semaphore = cora_semaphore_new(loop, 0);
    int next = 0;
    for (int i = 0; i < MANY; i++)
        cora_when_done(cora_semaphore_acquire(semaphore), cora_partial(goes_on_in_turn, &next, i));
    for (int i = 0; i < MANY; i++)
        cora_semaphore_release(semaphore);
    CHECK_INT(next, 0);
    tick(loop);
    CHECK_INT(next, MANY);
    current_loop_end(loop);
}

BOTH(many_cancelled, "of ten thousand that wait all but the last may be cancelled in one turn")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_semaphore semaphore = cora_semaphore_new(loop, 0);
    cora_future *futures = malloc(MANY * sizeof *futures);
    CHECK(futures);
    for (int i = 0; i < MANY; i++)
        futures[i] = begin(style, loop, semaphore, &notes, i < MANY - 1 ? "" : "last");
    tick(loop);
    for (int i = 0; i < MANY - 1; i++)
        CHECK(cora_cancel(futures[i]));
    release(semaphore, 1);
    tick(loop);
    CHECK(cora_equal(cora_result(futures[MANY - 1]), cora_int(true)));
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [locked]>");
    free(futures);
    cora_set_current_loop((cora_loop){ 0 });
    end(loop);
}

static void count_stale(cora_args bound, cora_future done)
{
    CHECK(is_error(done, CORA_ESTALE));
    ++*cora_arg(bound, 0, int *);
}

TEST(many_closed, "ten thousand that wait for a semaphore that is closed end with an error")
{
    cora_loop loop = current_loop_new();
    cora_semaphore semaphore = cora_semaphore_new(loop, 0);
    int ended = 0;
    for (int i = 0; i < MANY; i++)
        cora_when_done(cora_semaphore_acquire(semaphore), cora_partial(count_stale, &ended));
    cora_semaphore_close(semaphore);
    CHECK_INT(ended, 0);
    tick(loop);
    CHECK_INT(ended, MANY);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

/* ---- driven by hand ---- */

/* A coroutine waits for a unit, and is given one. */
static void take_by_hand(cora_args bound)
{
    cora_semaphore semaphore = cora_arg_semaphore(bound, 0);
    cora_coro coro = entering(cora_semaphore_acquire(semaphore), cora_arg(bound, 2, struct notes *),
                              "in", (cora_future){ 0 });
    CHECK_INT(cora_send(coro, cora_nothing(), NULL), 1);
    CHECK_INT(cora_semaphore_release(semaphore), 0);
    *cora_arg(bound, 1, cora_coro *) = coro;
}

TEST(taken_and_not_sent_to,
     "by hand: a unit that was taken for a coroutine that is closed then is given back")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_semaphore semaphore = cora_semaphore_new(loop, 0);
    cora_coro coro = { 0 };
    run_in(loop, cora_partial(take_by_hand, semaphore, &coro, &notes));
    ticks(loop, 2);
    CHECK(cora_semaphore_locked(semaphore));
    CHECK_INT(cora_coro_close(coro), 0);
    CHECK_TEXT(semaphore_text(semaphore), "<Semaphore [unlocked, value:1]>");
    CHECK_TEXT(notes.text, "");
    end(loop);
}
