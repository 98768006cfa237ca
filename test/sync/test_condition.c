/*
 * Conditions: waits that give the lock back and have it again when they end, however that is; the
 * two gaps, after a notify and after a release, where everything else may happen; predicates, which
 * may do anything, too; locks that several conditions share; conditions, locks and loops that are
 * closed; other loops and threads; very many who wait.
 *
 * What holds for callbacks and for tasks alike is told once (BOTH) and tested with each.
 */
#include "helpers.h"

#include <ev.h>
#include <pthread.h>

/* ---- helpers ---- */

/* A condition as cora_condition_print writes it; until the next call. */
static const char *condition_text(cora_condition condition)
{
    static char text[200];
    int length = cora_condition_print(condition, text, sizeof text);
    CHECK_INT(length, strlen(text));
    return text;
}

/* How many wait for a condition's lock, to go on: as the lock prints it. */
static const char *lock_text(cora_condition condition)
{
    static char text[200];
    cora_lock_print(cora_condition_lock(condition), text, sizeof text);
    return text;
}

/* Takes the lock, which must be free. */
static void grab(cora_condition condition)
{
    CHECK(!cora_condition_locked(condition));
    CHECK(!cora_is_null(
        cora_when_done(cora_condition_acquire(condition), cora_partial(nothing_done))));
    CHECK(cora_condition_locked(condition));
}

static void release(cora_condition condition)
{
    CHECK_INT(cora_condition_release(condition), 0);
}

/* With the lock, for a moment: those that are notified go on in the next tick. */
static void notify(cora_condition condition, size_t count)
{
    grab(condition);
    CHECK_INT(cora_condition_notify(condition, count), 0);
    release(condition);
}

static cora_next takes_lock(cora_coro self)
{
    cora_condition condition = cora_as_condition(AWAITER(self)->what.value);
    return cora_await(self, cora_condition_acquire(condition), awaiter_begins);
}

/* Takes the lock, and begins a wait of the condition's; does not release it when that has ended. */
static cora_future begin(enum style style, cora_loop loop, cora_awaitable wait, struct notes *notes,
                         const char *word)
{
    if (style == TASKS)
        return cora_create_task(loop, cora_coroutine(takes_lock, struct awaiter, .notes = notes,
                                                     .what = wait, .word = word));
    grab(cora_as_condition(wait.value));
    return begin_awaiting(CALLBACKS, loop, wait, notes, word);
}

/* Three that wait; the lock is free: a, b, c. */
struct three {
    cora_loop loop;
    cora_condition condition;
    struct notes notes;
    cora_future a, b, c;
};

static void three_wait(struct three *three, enum style style)
{
    *three = (struct three){ .loop = current_loop_new() };
    three->condition = cora_condition_new(three->loop);
    cora_awaitable wait = cora_condition_wait(three->condition);
    three->a = begin(style, three->loop, wait, &three->notes, "a");
    three->b = begin(style, three->loop, wait, &three->notes, "b");
    three->c = begin(style, three->loop, wait, &three->notes, "c");
    tick(three->loop);
    CHECK_TEXT(condition_text(three->condition), "<Condition [unlocked, waiters:3]>");
}

/* Three that were notified, and wait for the lock, which somebody holds. */
static void three_want_lock(struct three *three, enum style style)
{
    three_wait(three, style);
    grab(three->condition);
    CHECK_INT(cora_condition_notify_all(three->condition), 0);
    tick(three->loop);
    CHECK_TEXT(condition_text(three->condition), "<Condition [locked]>");
    CHECK_TEXT(lock_text(three->condition), "<Lock [locked, waiters:3]>");
}

/* ---- notified ---- */

struct hall {
    cora_condition bell;
    int dishes;
    int asked; /* the predicate, so often */
    struct notes notes;
};

static cora_value has_dishes(cora_value argument)
{
    struct hall *hall = cora_as_pointer(argument);
    hall->asked++;
    return cora_from(hall->dishes > 0);
}

static void on_served(cora_args bound, cora_future done)
{
    struct hall *hall = cora_arg(bound, 0, struct hall *);
    CHECK(cora_equal(cora_result(done), cora_int(true)));
    hall->dishes--;
    add_note(&hall->notes, cora_arg_text(bound, 1));
    CHECK_INT(cora_condition_release(hall->bell), 0);
}

static void on_seated(cora_args bound, cora_future done)
{
    struct hall *hall = cora_arg(bound, 0, struct hall *);
    CHECK(cora_equal(cora_result(done), cora_int(true)));
    cora_when_done(cora_condition_wait_for(hall->bell, has_dishes, cora_from(hall)),
                   cora_partial(on_served, hall, cora_arg_text(bound, 1)));
}

static void on_cooked(cora_args bound, cora_future done)
{
    struct hall *hall = cora_arg(bound, 0, struct hall *);
    CHECK(cora_done(done));
    hall->dishes++;
    CHECK_INT(cora_condition_notify(hall->bell, 1), 0);
    CHECK_INT(cora_condition_release(hall->bell), 0);
}

static void cook(cora_args bound)
{
    struct hall *hall = cora_arg(bound, 0, struct hall *);
    cora_when_done(cora_condition_acquire(hall->bell), cora_partial(on_cooked, hall));
}

TEST(served_in_turn, "callbacks wait for what others bring, and are served in the order of coming")
{
    static const char *const guests[] = { "a", "b", "c" };
    cora_loop loop = current_loop_new();
    struct hall hall = { .bell = cora_condition_new(loop) };
    for (int i = 0; i < 3; i++) {
        cora_when_done(cora_condition_acquire(hall.bell),
                       cora_partial(on_seated, &hall, guests[i]));
        cora_call_later(loop, i + 1, cora_partial(cook, &hall));
    }
    run_for(loop, 0.5);
    CHECK_TEXT(condition_text(hall.bell), "<Condition [unlocked, waiters:3]>");
    run_for(loop, 1);
    CHECK_TEXT(hall.notes.text, "a");
    run_for(loop, 2);
    CHECK_TEXT(hall.notes.text, "a b c");
    CHECK_INT(hall.dishes, 0);
    CHECK_INT(hall.asked, 6);
    CHECK_TEXT(condition_text(hall.bell), "<Condition [unlocked]>");
    CHECK_INT(cora_live(loop), 2);
    CHECK_INT(cora_condition_close(hall.bell), 0);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

TEST(gives_lock_back, "a wait gives the lock back in the very call")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    struct notes notes = { "" };
    grab(condition);
    begin_awaiting(CALLBACKS, loop, cora_condition_wait(condition), &notes, "a");
    CHECK_TEXT(condition_text(condition), "<Condition [unlocked, waiters:1]>");
    ticks(loop, 3);
    CHECK_TEXT(notes.text, "");
    current_loop_end(loop);
}

BOTH(lock_given_on, "the lock that a wait gives back goes to who waits for it")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    struct notes notes = { "" };
    grab(condition);
    begin_awaiting(style, loop, cora_condition_acquire(condition), &notes, "next");
    tick(loop);
    begin_awaiting(CALLBACKS, loop, cora_condition_wait(condition), &notes, "a");
    CHECK(!cora_condition_locked(condition));
    tick(loop);
    CHECK_TEXT(notes.text, "next");
    CHECK(cora_condition_locked(condition));
    current_loop_end(loop);
}

BOTH(wait, "who is notified goes on when the lock is released, one after the other, and has it",
     "test_locks.ConditionTests.test_wait")
{
    struct three three;
    three_wait(&three, style);
    grab(three.condition);
    CHECK_INT(cora_condition_notify(three.condition, 1), 0);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "");
    CHECK(cora_condition_locked(three.condition));
    release(three.condition);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a");
    CHECK(cora_condition_locked(three.condition));
    CHECK_INT(cora_condition_notify(three.condition, 2), 0);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a");
    release(three.condition);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a b");
    CHECK(cora_condition_locked(three.condition));
    release(three.condition);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a b c");
    CHECK_TEXT(condition_text(three.condition), "<Condition [locked]>");
    CHECK(cora_equal(cora_result(three.c), cora_int(true)));
    end_silently(three.loop);
}

static cora_next release_after(cora_coro self)
{
    struct awaiter *awaiter = AWAITER(self);
    note_end(awaiter->notes, awaiter->word, cora_got(self));
    CHECK_INT(cora_condition_release(cora_as_condition(awaiter->what.value)), 0);
    return cora_return(self, cora_got(self));
}

static cora_next wait_and_release(cora_coro self)
{
    return cora_await(self, AWAITER(self)->what, release_after);
}

static cora_next lock_wait_release(cora_coro self)
{
    cora_condition condition = cora_as_condition(AWAITER(self)->what.value);
    return cora_await(self, cora_condition_acquire(condition), wait_and_release);
}

/* A task that takes the lock, begins a wait, and gives the lock back when that has ended. */
static cora_future waiter_task(cora_loop loop, cora_awaitable wait, struct notes *notes,
                               const char *word)
{
    return cora_create_task(loop, cora_coroutine(lock_wait_release, struct awaiter, .notes = notes,
                                                 .what = wait, .word = word));
}

TEST(notify_all, "all that are notified go on in one tick, if each releases the lock in turn",
     "test_locks.ConditionTests.test_notify_all")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    struct notes notes = { "" };
    cora_future one = waiter_task(loop, cora_condition_wait(condition), &notes, "1");
    cora_future two = waiter_task(loop, cora_condition_wait(condition), &notes, "2");
    tick(loop);
    grab(condition);
    CHECK_INT(cora_condition_notify_all(condition), 0);
    release(condition);
    tick(loop);
    CHECK_TEXT(notes.text, "1 2");
    CHECK(cora_equal(cora_result(one), cora_int(true)));
    CHECK(cora_equal(cora_result(two), cora_int(true)));
    CHECK_TEXT(condition_text(condition), "<Condition [unlocked]>");
    current_loop_end(loop);
}

TEST(notify_more, "more may be notified than wait; those that were already do not count")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    struct notes notes = { "" };
    static const char *const words[] = { "1", "2", "3" };
    for (int i = 0; i < 3; i++)
        waiter_task(loop, cora_condition_wait(condition), &notes, words[i]);
    tick(loop);
    notify(condition, 1);
    tick(loop);
    CHECK_TEXT(notes.text, "1");
    grab(condition);
    CHECK_INT(cora_condition_notify(condition, 1), 0);
    CHECK_INT(cora_condition_notify(condition, 2048), 0);
    release(condition);
    tick(loop);
    CHECK_TEXT(notes.text, "1 2 3");
    current_loop_end(loop);
}

BOTH(notify_twice, "two notifications of one are for two, also before the first has run")
{
    struct three three;
    three_wait(&three, style);
    grab(three.condition);
    CHECK_INT(cora_condition_notify(three.condition, 1), 0);
    CHECK_INT(cora_condition_notify(three.condition, 1), 0);
    release(three.condition);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a");
    CHECK_TEXT(lock_text(three.condition), "<Lock [locked, waiters:1]>");
    CHECK_TEXT(condition_text(three.condition), "<Condition [locked, waiters:1]>");
    end_silently(three.loop);
}

BOTH(notify_none, "to notify nobody wakes nobody")
{
    struct three three;
    three_wait(&three, style);
    notify(three.condition, 0);
    ticks(three.loop, 2);
    CHECK_TEXT(three.notes.text, "");
    CHECK_TEXT(condition_text(three.condition), "<Condition [unlocked, waiters:3]>");
    end_silently(three.loop);
}

TEST(notify_before, "a notification is not kept: who waits afterwards is not woken by it")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    struct notes notes = { "" };
    notify(condition, 1);
    begin(CALLBACKS, loop, cora_condition_wait(condition), &notes, "a");
    ticks(loop, 3);
    CHECK_TEXT(notes.text, "");
    current_loop_end(loop);
}

BOTH(barging, "who takes the lock in the gap after the notify is before who was notified")
{
    struct three three;
    three_wait(&three, style);
    notify(three.condition, 1);
    grab(three.condition);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "");
    CHECK_TEXT(lock_text(three.condition), "<Lock [locked, waiters:1]>");
    release(three.condition);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a");
    end_silently(three.loop);
}

BOTH(behind_others, "who was notified queues for the lock behind those that wait for it")
{
    struct three three;
    three_wait(&three, style);
    grab(three.condition);
    begin_awaiting(style, three.loop, cora_condition_acquire(three.condition), &three.notes,
                   "other");
    tick(three.loop);
    CHECK_INT(cora_condition_notify(three.condition, 1), 0);
    release(three.condition);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "other");
    release(three.condition);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "other a");
    end_silently(three.loop);
}

BOTH(waits_again, "who goes on and waits again comes after the others")
{
    struct three three;
    three_wait(&three, style);
    notify(three.condition, 1);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a");
    begin_awaiting(CALLBACKS, three.loop, cora_condition_wait(three.condition), &three.notes,
                   "again");
    notify(three.condition, 3);
    for (int i = 0; i < 3; i++) {
        tick(three.loop);
        release(three.condition);
    }
    CHECK_TEXT(three.notes.text, "a b c again");
    end_silently(three.loop);
}

/* ---- without the lock ---- */

/* Whether the last error has this code and begins so. */
static bool last_error_begins(int code, const char *words)
{
    return cora_error_code(cora_last_error()) == code &&
           strncmp(cora_error_message(cora_last_error()), words, strlen(words)) == 0;
}

BOTH(wait_unacquired, "to wait when nobody holds the lock is a RuntimeError",
     "test_locks.ConditionTests.test_wait_unacquired")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    struct notes notes = { "" };
    cora_future wait = begin_awaiting(style, loop, cora_condition_wait(condition), &notes, "a");
    tick(loop);
    CHECK_TEXT(notes.text, "a:RuntimeError");
    CHECK(is_error(wait, CORA_ERUNTIME));
    CHECK(says(cora_exception(wait), "cannot wait on un-acquired lock (condition made in "));
    CHECK_TEXT(condition_text(condition), "<Condition [unlocked]>");
    current_loop_end(loop);
}

TEST(notify_unacquired, "to notify when nobody holds the lock is a RuntimeError, and wakes nobody",
     "test_locks.ConditionTests.test_notify_unacquired")
{
    struct three three;
    three_wait(&three, CALLBACKS);
    CHECK_INT(cora_condition_notify(three.condition, 1), CORA_ERUNTIME);
    CHECK(last_error_begins(CORA_ERUNTIME, "cannot notify on un-acquired lock (condition made in "
                                           "three_wait, "));
    ticks(three.loop, 2);
    CHECK_TEXT(three.notes.text, "");
    end_silently(three.loop);
}

TEST(notify_all_unacquired, "so is to notify all",
     "test_locks.ConditionTests.test_notify_all_unacquired")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    CHECK_INT(cora_condition_notify_all(condition), CORA_ERUNTIME);
    CHECK(last_error_begins(CORA_ERUNTIME, "cannot notify on un-acquired lock"));
    current_loop_end(loop);
}

TEST(release_unacquired, "to release what nobody holds is the RuntimeError of the lock")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    CHECK_INT(cora_condition_release(condition), CORA_ERUNTIME);
    CHECK(last_error_begins(CORA_ERUNTIME, "Lock is not acquired. (lock made in "
                                           "test_release_unacquired, "));
    current_loop_end(loop);
}

/* ---- printed ---- */

TEST(repr, "a condition prints whether its lock is held, and how many wait",
     "test_locks.ConditionTests.test_repr")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    struct notes notes = { "" };
    CHECK_TEXT(condition_text(condition), "<Condition [unlocked]>");
    grab(condition);
    CHECK_TEXT(condition_text(condition), "<Condition [locked]>");
    begin_awaiting(CALLBACKS, loop, cora_condition_wait(condition), &notes, "a");
    CHECK_TEXT(condition_text(condition), "<Condition [unlocked, waiters:1]>");
    begin(CALLBACKS, loop, cora_condition_wait(condition), &notes, "b");
    grab(condition);
    CHECK_TEXT(condition_text(condition), "<Condition [locked, waiters:2]>");
    cora_condition_notify(condition, 1);
    CHECK_TEXT(condition_text(condition), "<Condition [locked, waiters:2]>");
    tick(loop);
    CHECK_TEXT(condition_text(condition), "<Condition [locked, waiters:1]>");
    current_loop_end(loop);
}

TEST(print_is_cut, "a condition's text is cut to the buffer's size, and its whole length told")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    char text[6];
    CHECK_INT(cora_condition_print(condition, text, sizeof text), strlen("<Condition [unlocked]>"));
    CHECK_TEXT(text, "<Cond");
    CHECK_INT(cora_condition_print(condition, NULL, 0), strlen("<Condition [unlocked]>"));
    current_loop_end(loop);
}

/* ---- the lock ---- */

TEST(context_manager, "cora_with holds the lock inside, and gives it back when the coroutine ends",
     "test_locks.ConditionTests.test_context_manager")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_condition condition = cora_condition_new(loop);
    cora_future until = cora_future_new(loop);
    CHECK(!cora_condition_locked(condition));
    cora_future task = task_entering(loop, cora_condition_acquire(condition), &notes, "in", until);
    tick(loop);
    CHECK(cora_condition_locked(condition));
    cora_set_result(until, cora_int(7));
    tick(loop);
    CHECK_TEXT(outcome(task), "7");
    CHECK(!cora_condition_locked(condition));
    end(loop);
}

static cora_next wait_inside(cora_coro self)
{
    return cora_await(self, AWAITER(self)->what, awaiter_is_inside);
}

static cora_next with_and_wait(cora_coro self)
{
    cora_condition condition = cora_as_condition(AWAITER(self)->what.value);
    return cora_with(self, cora_condition_acquire(condition), wait_inside);
}

/* async with condition: await the wait; note word; await until */
static cora_future task_waiting_inside(cora_loop loop, cora_awaitable wait, struct notes *notes,
                                       const char *word, cora_future until)
{
    return cora_create_task(loop, cora_coroutine(with_and_wait, struct awaiter, .notes = notes,
                                                 .what = wait, .word = word, .until = until));
}

TEST(with_wait, "a wait inside of cora_with gives the lock back meanwhile, and it is left in the "
                "end")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_condition condition = cora_condition_new(loop);
    cora_future until = cora_future_new(loop);
    cora_future task =
        task_waiting_inside(loop, cora_condition_wait(condition), &notes, "in", until);
    tick(loop);
    notify(condition, 1);
    tick(loop);
    CHECK_TEXT(notes.text, "in");
    CHECK(cora_condition_locked(condition));
    cora_set_exception(until, spilled());
    tick(loop);
    CHECK_TEXT(outcome(task), "ValueError: spilled");
    CHECK(!cora_condition_locked(condition));
    current_loop_end(loop);
}

TEST(with_wait_cancelled, "cancelled in such a wait, the coroutine has the lock again to leave it")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_condition condition = cora_condition_new(loop);
    cora_future task =
        task_waiting_inside(loop, cora_condition_wait(condition), &notes, "in", (cora_future){ 0 });
    tick(loop);
    grab(condition);
    cora_cancel_with(task, "closing time");
    ticks(loop, 2);
    CHECK(!cora_done(task));
    release(condition);
    tick(loop);
    CHECK_TEXT(outcome(task), "CancelledError: closing time");
    CHECK_TEXT(condition_text(condition), "<Condition [unlocked]>");
    CHECK_TEXT(notes.text, "");
    current_loop_end(loop);
}

TEST(explicit_lock, "a condition of a lock of yours and that lock are held and free together",
     "test_locks.ConditionTests.test_explicit_lock")
{
    cora_loop loop = current_loop_new();
    cora_lock lock = cora_lock_new(loop);
    cora_condition condition = cora_condition_of(lock), own = cora_condition_new(loop);
    CHECK(cora_same(cora_condition_lock(condition), lock));
    CHECK(!cora_is_null(cora_condition_lock(own)));
    CHECK(!cora_lock_locked(lock));
    grab(condition);
    CHECK(cora_lock_locked(lock));
    CHECK_INT(cora_lock_release(lock), 0);
    CHECK(!cora_condition_locked(condition));
    cora_when_done(cora_lock_acquire(lock), cora_partial(nothing_done));
    CHECK(cora_condition_locked(condition));
    CHECK_INT(cora_condition_release(condition), 0);
    CHECK(!cora_lock_locked(lock));
    CHECK(!cora_condition_locked(own));
    current_loop_end(loop);
}

TEST(locked_before, "a condition may be made of a lock that is held")
{
    cora_loop loop = current_loop_new();
    cora_lock lock = cora_lock_new(loop);
    cora_when_done(cora_lock_acquire(lock), cora_partial(nothing_done));
    cora_condition condition = cora_condition_of(lock);
    CHECK_TEXT(condition_text(condition), "<Condition [locked]>");
    CHECK_INT(cora_condition_notify(condition, 1), 0);
    current_loop_end(loop);
}

BOTH(two_of_one_lock, "two conditions of one lock: each wakes its own, and they have the lock in "
                      "turn")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_lock lock = cora_lock_new(loop);
    cora_condition full = cora_condition_of(lock), empty = cora_condition_of(lock);
    begin(style, loop, cora_condition_wait(full), &notes, "full");
    begin(style, loop, cora_condition_wait(empty), &notes, "empty");
    begin(style, loop, cora_condition_wait(full), &notes, "full2");
    tick(loop);
    CHECK_TEXT(condition_text(full), "<Condition [unlocked, waiters:2]>");
    CHECK_TEXT(condition_text(empty), "<Condition [unlocked, waiters:1]>");
    notify(empty, 8);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "empty");
    CHECK_TEXT(condition_text(full), "<Condition [locked, waiters:2]>");
    CHECK_INT(cora_condition_notify(full, 1), 0);
    release(empty);
    tick(loop);
    CHECK_TEXT(notes.text, "empty full");
    CHECK_TEXT(condition_text(full), "<Condition [locked, waiters:1]>");
    end_silently(loop);
}

BOTH(cancel_does_not_cross, "a cancelled wait notifies another of its own condition only")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_lock lock = cora_lock_new(loop);
    cora_condition one = cora_condition_of(lock), other = cora_condition_of(lock);
    cora_future a = begin(style, loop, cora_condition_wait(one), &notes, "a");
    begin(style, loop, cora_condition_wait(other), &notes, "b");
    tick(loop);
    cora_cancel(a);
    tick(loop);
    CHECK_TEXT(notes.text, "a:CancelledError");
    cora_lock_release(lock);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "a:CancelledError");
    CHECK_TEXT(condition_text(other), "<Condition [unlocked, waiters:1]>");
    end_silently(loop);
}

/* ---- cancelled ---- */

BOTH(wait_cancel, "who is cancelled while waiting ends with the lock held, and waits no more",
     "test_locks.ConditionTests.test_wait_cancel")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    struct notes notes = { "" };
    cora_future a = begin(style, loop, cora_condition_wait(condition), &notes, "a");
    tick(loop);
    CHECK(cora_cancel_with(a, "supper"));
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "a:CancelledError");
    CHECK_TEXT(outcome(a), "CancelledError: supper");
    CHECK_TEXT(condition_text(condition), "<Condition [locked]>");
    end_silently(loop);
}

BOTH(cancelled_and_locked, "also if it must wait for the lock: it ends when it has it")
{
    struct three three;
    three_wait(&three, style);
    grab(three.condition);
    CHECK(cora_cancel(three.b));
    ticks(three.loop, 3);
    CHECK_TEXT(three.notes.text, "");
    CHECK(!cora_done(three.b));
    CHECK_TEXT(condition_text(three.condition), "<Condition [locked, waiters:2]>");
    CHECK_TEXT(lock_text(three.condition), "<Lock [locked, waiters:1]>");
    release(three.condition);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "b:CancelledError");
    CHECK(cora_cancelled(three.b));
    CHECK(cora_condition_locked(three.condition));
    end_silently(three.loop);
}

BOTH(cancel_notifies, "a wait that is cancelled without being notified notifies another")
{
    struct three three;
    three_wait(&three, style);
    cora_cancel(three.a);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError");
    tick(three.loop);
    CHECK_TEXT(lock_text(three.condition), "<Lock [locked, waiters:1]>");
    release(three.condition);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError b");
    CHECK_TEXT(condition_text(three.condition), "<Condition [locked, waiters:1]>");
    end_silently(three.loop);
}

BOTH(wait_cancel_after_notify,
     "who is cancelled while it wants the lock has it first, and ends "
     "cancelled then",
     "test_locks.ConditionTests.test_wait_cancel_after_notify")
{
    struct three three;
    three_want_lock(&three, style);
    CHECK(cora_cancel(three.a));
    ticks(three.loop, 2);
    CHECK_TEXT(three.notes.text, "");
    for (int i = 0; i < 3; i++) {
        release(three.condition);
        tick(three.loop);
    }
    CHECK_TEXT(three.notes.text, "b c a:CancelledError");
    CHECK(cora_cancelled(three.a));
    CHECK(cora_condition_locked(three.condition));
    end_silently(three.loop);
}

BOTH(last_cancel, "of several cancellations while it wants the lock the last one is raised")
{
    static const char *const messages[] = { "one", "two", "three" };
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    struct notes notes = { "" };
    cora_future a = begin(style, loop, cora_condition_wait(condition), &notes, "a");
    tick(loop);
    grab(condition);
    for (int i = 0; i < 3; i++) {
        CHECK(cora_cancel_with(a, messages[i]));
        tick(loop);
        CHECK(!cora_done(a));
    }
    release(condition);
    tick(loop);
    CHECK_TEXT(outcome(a), "CancelledError: three");
    CHECK(cora_condition_locked(condition));
    end_silently(loop);
}

BOTH(cancelled_in_notify_gap, "who is notified and cancelled before running has the lock, too, and "
                              "another is notified")
{
    struct three three;
    three_wait(&three, style);
    notify(three.condition, 1);
    CHECK(cora_cancel(three.a));
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError");
    CHECK(cora_condition_locked(three.condition));
    tick(three.loop);
    release(three.condition);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError b");
    CHECK_TEXT(condition_text(three.condition), "<Condition [locked, waiters:1]>");
    end_silently(three.loop);
}

BOTH(cancelled_then_notified, "a notification does not go to one that was cancelled in the same "
                              "turn")
{
    struct three three;
    three_wait(&three, style);
    CHECK(cora_cancel(three.a));
    grab(three.condition);
    CHECK_INT(cora_condition_notify(three.condition, 1), 0);
    tick(three.loop);
    CHECK_TEXT(lock_text(three.condition), "<Lock [locked, waiters:2]>");
    CHECK_TEXT(condition_text(three.condition), "<Condition [locked, waiters:1]>");
    for (int i = 0; i < 3; i++) {
        release(three.condition);
        tick(three.loop);
    }
    CHECK_TEXT(three.notes.text, "a:CancelledError b c"); /* c: in the place of a */
    end_silently(three.loop);
}

BOTH(cancelled_in_lock_gap, "who has been let in and is cancelled before running lets the next in, "
                            "and queues again")
{
    struct three three;
    three_want_lock(&three, style);
    release(three.condition);
    CHECK(cora_cancel_with(three.a, "late"));
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "b");
    CHECK_TEXT(lock_text(three.condition), "<Lock [locked, waiters:2]>");
    release(three.condition);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "b c");
    release(three.condition);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "b c a:CancelledError");
    CHECK_TEXT(outcome(three.a), "CancelledError: late");
    end_silently(three.loop);
}

BOTH(alone_in_lock_gap, "if nobody else wants the lock it has it at once, and ends cancelled")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    struct notes notes = { "" };
    cora_future a = begin(style, loop, cora_condition_wait(condition), &notes, "a");
    tick(loop);
    grab(condition);
    cora_condition_notify(condition, 1);
    tick(loop);
    release(condition);
    CHECK(cora_cancel(a));
    tick(loop);
    CHECK_TEXT(notes.text, "a:CancelledError");
    CHECK_TEXT(lock_text(condition), "<Lock [locked]>");
    end_silently(loop);
}

BOTH(all_cancelled, "if all are cancelled, each has the lock in turn before it ends")
{
    struct three three;
    three_want_lock(&three, style);
    cora_cancel(three.a);
    cora_cancel(three.b);
    cora_cancel(three.c);
    tick(three.loop);
    CHECK_TEXT(lock_text(three.condition), "<Lock [locked, waiters:3]>");
    for (int i = 0; i < 3; i++) {
        release(three.condition);
        tick(three.loop);
    }
    CHECK_TEXT(three.notes.text, "a:CancelledError b:CancelledError c:CancelledError");
    CHECK_TEXT(lock_text(three.condition), "<Lock [locked]>");
    end_silently(three.loop);
}

TEST(cancelled_twice, "a task that is cancelled twice before it runs ends with the first message: "
                      "that is one cancellation")
{
    struct three three;
    three_wait(&three, TASKS);
    grab(three.condition);
    cora_cancel_with(three.a, "one");
    cora_cancel_with(three.a, "two");
    cora_cancel_with(three.b, "other");
    tick(three.loop);
    release(three.condition);
    tick(three.loop);
    CHECK_TEXT(outcome(three.a), "CancelledError: one");
    CHECK_INT(cora_cancelling(three.a), 2);
    CHECK(!cora_done(three.b));
    end_silently(three.loop);
}

TEST(cancelled_twice_in_gap, "a task that is cancelled twice in the gap ends with the last message")
{
    struct three three;
    three_wait(&three, TASKS);
    notify(three.condition, 1);
    cora_cancel_with(three.a, "one");
    cora_cancel_with(three.a, "two");
    tick(three.loop);
    CHECK_TEXT(outcome(three.a), "CancelledError: two");
    CHECK(cora_condition_locked(three.condition));
    end_silently(three.loop);
}

TEST(uncancelled_in_notify_gap, "a task whose cancel is taken back in the gap after the notify "
                                "goes on")
{
    struct three three;
    three_wait(&three, TASKS);
    notify(three.condition, 1);
    cora_cancel(three.a);
    CHECK_INT(cora_uncancel(three.a), 0);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a");
    CHECK_TEXT(condition_text(three.condition), "<Condition [locked, waiters:2]>");
    end_silently(three.loop);
}

TEST(uncancelled_in_lock_gap, "so does one in the gap after the release")
{
    struct three three;
    three_want_lock(&three, TASKS);
    release(three.condition);
    cora_cancel(three.a);
    CHECK_INT(cora_uncancel(three.a), 0);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a");
    CHECK_TEXT(lock_text(three.condition), "<Lock [locked, waiters:2]>");
    end_silently(three.loop);
}

TEST(uncancelled_too_late,
     "a cancel that is taken back while the task waits for the lock is raised "
     "all the same")
{
    struct three three;
    three_want_lock(&three, TASKS);
    cora_cancel_with(three.c, "gone");
    tick(three.loop);
    CHECK_INT(cora_cancelling(three.c), 1);
    CHECK_INT(cora_uncancel(three.c), 0);
    for (int i = 0; i < 3; i++) {
        release(three.condition);
        tick(three.loop);
    }
    CHECK_TEXT(three.notes.text, "a b c:CancelledError");
    CHECK_INT(cora_cancelling(three.c), 0);
    CHECK_TEXT(outcome(three.c), "CancelledError: gone");
    end_silently(three.loop);
}

static cora_next slept(cora_coro self)
{
    add_note(AWAITER(self)->notes, "slept");
    return cora_return(self, (int)cora_cancelling(cora_current_task(cora_running_loop())));
}

static cora_next sleep_after(cora_coro self)
{
    struct awaiter *awaiter = AWAITER(self);
    note_end(awaiter->notes, awaiter->word, cora_caught(self));
    return cora_await(self, cora_sleep(1), slept);
}

static cora_next survive(cora_coro self)
{
    return cora_try(self, AWAITER(self)->what, sleep_after);
}

TEST(cancels_are_counted, "all cancellations are counted, those that were put off, too; none is "
                          "raised twice")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    struct notes notes = { "" };
    grab(condition);
    cora_future task =
        cora_create_task(loop, cora_coroutine(survive, struct awaiter, .notes = &notes, .word = "a",
                                              .what = cora_condition_wait(condition)));
    tick(loop);
    grab(condition);
    for (int i = 0; i < 3; i++) {
        CHECK(cora_cancel(task));
        tick(loop);
    }
    release(condition);
    run_for(loop, 2);
    CHECK_TEXT(notes.text, "a:CancelledError slept");
    CHECK_TEXT(outcome(task), "3");
    current_loop_end(loop);
}

TEST(gather_cancelled, "a gather of waits that is cancelled ends when each has had the lock")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    grab(condition);
    cora_awaitable wait = cora_condition_wait(condition);
    cora_future all = cora_gather(loop, &wait, 1);
    tick(loop);
    grab(condition);
    CHECK(cora_cancel(all));
    ticks(loop, 3);
    CHECK(!cora_done(all));
    release(condition);
    ticks(loop, 2);
    CHECK(is_error(all, CORA_ECANCELLED));
    CHECK(cora_condition_locked(condition));
    current_loop_end(loop);
}

/* What a kitchen has, and how many eat of it: a consumer of each turn. */
static cora_value has_dishes_or_ends(cora_value argument)
{
    return cora_from(((struct hall *)cora_as_pointer(argument))->dishes != 0);
}

#define HALL(self) (*cora_locals(self, struct hall *))

static cora_next eat_on(cora_coro self);

static cora_next ate(cora_coro self)
{
    struct hall *hall = HALL(self);
    if (hall->dishes < 0)
        return cora_return_nothing(self);
    hall->dishes--;
    return eat_on(self);
}

static cora_next eat_on(cora_coro self)
{
    struct hall *hall = HALL(self);
    return cora_await(
        self, cora_condition_wait_for(hall->bell, has_dishes_or_ends, cora_from(hall)), ate);
}

static cora_next eat(cora_coro self)
{
    return cora_with(self, cora_condition_acquire(HALL(self)->bell), eat_on);
}

static cora_value is_eaten(cora_value argument)
{
    return cora_from(((struct hall *)cora_as_pointer(argument))->dishes == 0);
}

/* One dish, one notification, and the one that is notified is cancelled after so many ticks. */
static void cancel_consumer(int after)
{
    cora_loop loop = current_loop_new();
    struct hall hall = { .bell = cora_condition_new(loop) };
    cora_future consumers[2];
    for (int i = 0; i < 2; i++)
        consumers[i] = cora_create_task(loop, cora_coroutine(eat, struct hall *, &hall));
    tick(loop);
    grab(hall.bell);
    hall.dishes = 1;
    CHECK_INT(cora_condition_notify(hall.bell, 1), 0);
    ticks(loop, after);
    CHECK(cora_cancel(consumers[0]));
    cora_awaitable eaten = cora_condition_wait_for(hall.bell, is_eaten, cora_from(&hall));
    cora_value outcome = cora_run_until_complete(loop, cora_wait_for(eaten, 0.01));
    CHECK(cora_equal(outcome, cora_int(true)) || cora_error_is(outcome, CORA_ETIMEOUT));
    CHECK_INT(hall.dishes, 0);
    CHECK(cora_cancelled(consumers[0]));
    CHECK(cora_condition_locked(hall.bell));
    hall.dishes = -1;
    CHECK_INT(cora_condition_notify_all(hall.bell), 0);
    release(hall.bell);
    CHECK(cora_is_nothing(cora_run_until_complete(loop, consumers[1])));
    CHECK_TEXT(condition_text(hall.bell), "<Condition [unlocked]>");
    current_loop_end(loop);
}

TEST(cancelled_wakeup,
     "one that is cancelled as soon as it is notified: another does what there "
     "is to do",
     "test_locks.ConditionTests.test_cancelled_wakeup")
{
    cancel_consumer(0);
}

TEST(cancelled_wakeup_relock, "also if it is cancelled while it waits for the lock",
     "test_locks.ConditionTests.test_cancelled_wakeup_relock")
{
    cancel_consumer(1);
}

/* ---- limits on time ---- */

static cora_next timed_out(cora_coro self)
{
    struct hall *hall = HALL(self);
    CHECK(cora_error_is(cora_caught(self), CORA_ETIMEOUT));
    CHECK(cora_condition_locked(hall->bell));
    return cora_return(self, "too late");
}

static cora_next wait_limited(cora_coro self)
{
    return cora_try(self, cora_wait_for(cora_condition_wait(HALL(self)->bell), 0.5), timed_out);
}

static cora_next dine(cora_coro self)
{
    return cora_with(self, cora_condition_acquire(HALL(self)->bell), wait_limited);
}

TEST(timeout_in_block,
     "a wait whose time is over has the lock again when the TimeoutError is there",
     "test_locks.ConditionTests.test_timeout_in_block")
{
    cora_loop loop = virtual_loop_new();
    struct hall hall = { .bell = cora_condition_new(loop) };
    CHECK_TEXT(ran(loop, cora_coroutine(dine, struct hall *, &hall)), "\"too late\"");
    CHECK_REAL(cora_time(loop), START + 0.5, LATE);
    CHECK_TEXT(condition_text(hall.bell), "<Condition [unlocked]>");
    end(loop);
}

TEST(timeout_callbacks, "in callbacks, too; and if it must wait for the lock, it ends after that")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    struct notes notes = { "" };
    grab(condition);
    cora_when_done(cora_wait_for(cora_condition_wait(condition), 2),
                   cora_partial(note_ended, &notes, "a"));
    tick(loop);
    grab(condition);
    run_for(loop, 5);
    CHECK_TEXT(notes.text, "");
    release(condition);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "a:TimeoutError");
    CHECK(cora_condition_locked(condition));
    current_loop_end(loop);
}

static void notify_later(cora_args bound)
{
    notify(cora_arg_condition(bound, 0), 1);
}

TEST(wait_for_in_time, "a wait that ends in time ends with its value")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    grab(condition);
    cora_call_later(loop, 1, cora_partial(notify_later, condition));
    cora_value done =
        cora_run_until_complete(loop, cora_wait_for(cora_condition_wait(condition), 2));
    CHECK(cora_equal(done, cora_int(true)));
    CHECK_REAL(cora_time(loop), START + 1, LATE);
    CHECK(cora_condition_locked(condition));
    current_loop_end(loop);
}

static cora_next limit_all(cora_coro self)
{
    cora_timeout timeout = cora_timeout_new(cora_running_loop(), 2);
    return cora_with(self, cora_timeout_enter(timeout), with_and_wait);
}

TEST(timeout_around, "a limit around the lock and the wait: the lock is free when it is over")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_condition condition = cora_condition_new(loop);
    cora_future task = cora_create_task(
        loop, cora_coroutine(limit_all, struct awaiter, .notes = &notes,
                             .what = cora_condition_wait(condition), .word = "in"));
    run_for(loop, 3);
    CHECK(is_error(task, CORA_ETIMEOUT));
    CHECK_TEXT(notes.text, "");
    CHECK_TEXT(condition_text(condition), "<Condition [unlocked]>");
    end(loop);
}

/* ---- predicates ---- */

/* A wait for a predicate, to be begun. */
struct asker {
    cora_condition condition;
    cora_predicate predicate;
    cora_value argument; /* borrowed: who begins it holds it */
    struct notes *notes;
    const char *word;
    bool without_lock;
    cora_future future; /* what came of it */
};

#define ASKER(self) cora_locals(self, struct asker)

static cora_awaitable asking(const struct asker *asker)
{
    return cora_condition_wait_for(asker->condition, asker->predicate, asker->argument);
}

static cora_next has_asked(cora_coro self)
{
    struct asker *asker = ASKER(self);
    bool failed = !cora_is_nothing(cora_caught(self));
    note_end(asker->notes, asker->word, failed ? cora_caught(self) : cora_got(self));
    return failed ? cora_raise(self, cora_caught(self)) : cora_return(self, cora_got(self));
}

static cora_next asks(cora_coro self)
{
    return cora_try(self, asking(ASKER(self)), has_asked);
}

static cora_next takes_lock_and_asks(cora_coro self)
{
    struct asker *asker = ASKER(self);
    if (asker->without_lock)
        return asks(self);
    return cora_await(self, cora_condition_acquire(asker->condition), asks);
}

static void ask_in_callback(cora_args bound)
{
    struct asker *asker = cora_arg(bound, 0, struct asker *);
    if (!asker->without_lock)
        grab(asker->condition);
    asker->future = cora_keep(
        cora_when_done(asking(asker), cora_partial(note_ended, asker->notes, asker->word)));
}

static cora_future asker_task(cora_loop loop, const struct asker *asker)
{
    cora_coro coro = cora_coroutine(takes_lock_and_asks, struct asker,
                                    .condition = asker->condition, .predicate = asker->predicate,
                                    .argument = asker->argument, .notes = asker->notes,
                                    .word = asker->word, .without_lock = asker->without_lock);
    cora_hold(coro, asker->argument);
    return cora_create_task(loop, coro);
}

/* Begins it, in a tick: with the lock, unless it is without; it does not release it in the end. */
static cora_future begin_asking(enum style style, cora_loop loop, struct asker asker)
{
    if (style == TASKS)
        asker.future = asker_task(loop, &asker);
    else
        cora_call_soon(loop, cora_partial(ask_in_callback, &asker, asker.argument));
    tick(loop);
    return asker.future;
}

/* What a predicate is asked about: it gives its answers in turn, the last one for ever. */
struct oracle {
    cora_condition condition;
    cora_lock lock;
    cora_loop loop;
    cora_future future;
    struct notes notes;
    cora_value answers[3]; /* plain ones */
    int asked;
    int act_at;                         /* the question at which it acts: 1, 2, ... */
    void (*act)(struct oracle *oracle); /* NULL: it does nothing */
    bool held;                          /* whether the lock was held at the last question */
};

static cora_value ask(cora_value argument)
{
    struct oracle *oracle = cora_as_pointer(argument);
    int asked = oracle->asked++;
    oracle->held = cora_condition_locked(oracle->condition);
    if (oracle->act && oracle->asked == oracle->act_at)
        oracle->act(oracle);
    return oracle->answers[asked < 2 ? asked : 2];
}

/* One that says no twice and yes then, of a condition of its own. */
static struct oracle oracle_new(cora_loop loop)
{
    struct oracle oracle = { .loop = loop, .condition = cora_condition_new(loop) };
    oracle.lock = cora_condition_lock(oracle.condition);
    oracle.answers[0] = oracle.answers[1] = cora_int(false);
    oracle.answers[2] = cora_int(true);
    return oracle;
}

static cora_future ask_oracle(enum style style, struct oracle *oracle)
{
    return begin_asking(style, oracle->loop,
                        (struct asker){ .condition = oracle->condition,
                                        .predicate = ask,
                                        .argument = cora_from(oracle),
                                        .notes = &oracle->notes,
                                        .word = "a" });
}

static cora_value nothing_ready(cora_value argument)
{
    (void)argument;
    return cora_int(false);
}

static cora_value as_it_is(cora_value argument)
{
    return argument;
}

BOTH(wait_for,
     "a notification while the predicate says no lets it wait on; at a yes it ends with "
     "the lock held",
     "test_locks.ConditionTests.test_wait_for")
{
    cora_loop loop = current_loop_new();
    struct oracle oracle = oracle_new(loop);
    cora_future wait = ask_oracle(style, &oracle);
    CHECK_INT(oracle.asked, 1);
    notify(oracle.condition, 1);
    tick(loop);
    CHECK_INT(oracle.asked, 2);
    CHECK(oracle.held);
    CHECK_TEXT(oracle.notes.text, "");
    CHECK_TEXT(condition_text(oracle.condition), "<Condition [unlocked, waiters:1]>");
    notify(oracle.condition, 1);
    tick(loop);
    CHECK_INT(oracle.asked, 3);
    CHECK(cora_condition_locked(oracle.condition));
    CHECK(cora_equal(cora_result(wait), cora_int(true)));
    tick(loop);
    CHECK_TEXT(oracle.notes.text, "a");
    current_loop_end(loop);
}

static cora_value three_dishes(cora_value argument)
{
    cora_value dishes[] = { cora_int(1), cora_int(2), argument };
    return cora_list(dishes, 3);
}

BOTH(wait_for_unacquired, "without the lock: a yes at once is the outcome, a no is a RuntimeError",
     "test_locks.ConditionTests.test_wait_for_unacquired")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    struct notes notes = { "" };
    cora_value list = cora_run_until_complete(
        loop, cora_condition_wait_for(condition, three_dishes, cora_int(3)));
    CHECK_INT(cora_list_size(list), 3);
    CHECK(cora_equal(cora_list_at(list, 2), cora_int(3)));
    cora_future wait = begin_asking(style, loop,
                                    (struct asker){ .condition = condition,
                                                    .predicate = nothing_ready,
                                                    .notes = &notes,
                                                    .word = "a",
                                                    .without_lock = true });
    tick(loop);
    CHECK_TEXT(notes.text, "a:RuntimeError");
    CHECK(says(cora_exception(wait), "cannot wait on un-acquired lock (condition made in "));
    current_loop_end(loop);
}

static void ask_with_lock(cora_args bound)
{
    struct oracle *oracle = cora_arg(bound, 0, struct oracle *);
    grab(oracle->condition);
    cora_when_done(cora_condition_wait_for(oracle->condition, ask, cora_from(oracle)),
                   cora_partial(note_ended, &oracle->notes, "a"));
    CHECK_INT(oracle->asked, 1);
    CHECK(cora_condition_locked(oracle->condition));
}

TEST(yes_at_once, "a callback that is told yes at once keeps the lock; the next tick calls back")
{
    cora_loop loop = current_loop_new();
    struct oracle oracle = oracle_new(loop);
    oracle.answers[0] = cora_int(true);
    run_in(loop, cora_partial(ask_with_lock, &oracle));
    CHECK_TEXT(oracle.notes.text, "");
    tick(loop);
    CHECK_TEXT(oracle.notes.text, "a");
    CHECK(cora_condition_locked(oracle.condition));
    CHECK_INT(oracle.asked, 1);
    current_loop_end(loop);
}

static cora_next asked_without_a_tick(cora_coro self)
{
    CHECK(cora_equal(cora_got(self), cora_int(true)));
    add_note(ASKER(self)->notes, "yes");
    return cora_return_nothing(self);
}

static cora_next ask_without_a_tick(cora_coro self)
{
    cora_call_soon(cora_running_loop(), cora_partial(note, ASKER(self)->notes, "next tick"));
    return cora_await(self, asking(ASKER(self)), asked_without_a_tick);
}

TEST(without_a_tick, "a step that is told yes at once goes on in the same tick")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_run_until_complete(loop,
                            cora_coroutine(ask_without_a_tick, struct asker, .notes = &notes,
                                           .condition = cora_condition_new(loop),
                                           .predicate = as_it_is, .argument = cora_int(true)));
    CHECK_TEXT(notes.text, "yes next tick");
    end(loop);
}

static cora_value text_at_second(cora_value argument)
{
    int *asked = cora_as_pointer(argument);
    return ++*asked < 2 ? cora_nothing() : cora_textf("dish number %d", *asked);
}

TEST(own_value, "the predicate's own value is the outcome: here a text that it makes")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    int asked = 0;
    grab(condition);
    cora_future wait = cora_create_task(
        loop, cora_condition_wait_for(condition, text_at_second, cora_from(&asked)));
    tick(loop);
    notify(condition, 1);
    tick(loop);
    CHECK_TEXT(outcome(wait), "\"dish number 2\"");
    current_loop_end(loop);
}

TEST(yes_and_no, "no is 0, 0.0, false, nothing and a NULL pointer; yes is any other value")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    int number = 0;
    cora_value text = cora_copy(cora_text(""));
    const cora_value no[] = { cora_int(0), cora_real(0.0), cora_int(false), cora_nothing(),
                              cora_pointer(NULL) };
    const cora_value yes[] = { cora_int(-1),        cora_real(0.5), cora_pointer(&number),
                               cora_static("text"), text,           cora_from(loop) };
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
        cora_value outcome =
            cora_run_until_complete(loop, cora_condition_wait_for(condition, as_it_is, no[i]));
        CHECK(cora_error_is(outcome, CORA_ERUNTIME)); /* it must wait: it has no lock */
    }
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        cora_value outcome =
            cora_run_until_complete(loop, cora_condition_wait_for(condition, as_it_is, yes[i]));
        CHECK(cora_equal(outcome, yes[i]));
    }
    cora_drop(text);
    current_loop_end(loop);
}

TEST(no_predicate, "without a predicate it is a TypeError")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    int drops = 0;
    grab(condition);
    cora_value outcome = cora_run_until_complete(
        loop, cora_condition_wait_for(condition, NULL, cora_own(&drops, &counted)));
    CHECK(cora_error_is(outcome, CORA_ETYPE));
    CHECK(cora_condition_locked(condition));
    cora_drop_temporaries();
    CHECK_INT(drops, 1);
    current_loop_end(loop);
}

TEST(raises_at_once, "an error that the predicate gives at once is the outcome, without waiting")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    grab(condition);
    cora_future wait =
        cora_create_task(loop, cora_condition_wait_for(condition, as_it_is, spilled()));
    tick(loop);
    CHECK_TEXT(outcome(wait), "ValueError: spilled");
    CHECK(cora_condition_locked(condition));
    current_loop_end(loop);
}

static cora_value spill_at_second(cora_value argument)
{
    return ++*(int *)cora_as_pointer(argument) < 2 ? cora_int(0) : spilled();
}

BOTH(raises_later, "one that it gives later, too, with the lock held; nobody else is notified")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    struct notes notes = { "" };
    int asked = 0;
    cora_future wait = begin_asking(style, loop,
                                    (struct asker){ .condition = condition,
                                                    .predicate = spill_at_second,
                                                    .argument = cora_from(&asked),
                                                    .notes = &notes,
                                                    .word = "a" });
    begin(style, loop, cora_condition_wait(condition), &notes, "b");
    tick(loop);
    notify(condition, 1);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "a:ValueError");
    CHECK_TEXT(outcome(wait), "ValueError: spilled");
    CHECK_TEXT(condition_text(condition), "<Condition [locked, waiters:1]>");
    release(condition);
    ticks(loop, 3);
    CHECK_TEXT(notes.text, "a:ValueError");
    end_silently(loop);
}

BOTH(re_acquire_message,
     "cancelled with a message while it wants the lock, it ends with that very "
     "message; the predicate is not asked",
     "test_locks.ConditionTests.test_cancelled_error_re_aquire")
{
    cora_loop loop = current_loop_new();
    struct oracle oracle = oracle_new(loop);
    cora_future wait = ask_oracle(style, &oracle);
    grab(oracle.condition);
    oracle.answers[1] = cora_int(true);
    cora_condition_notify(oracle.condition, 1);
    tick(loop);
    CHECK(cora_cancel_with(wait, "foo"));
    release(oracle.condition);
    tick(loop);
    CHECK_TEXT(outcome(wait), "CancelledError: foo");
    CHECK_INT(oracle.asked, 1);
    CHECK(cora_condition_locked(oracle.condition));
    end_silently(loop);
}

BOTH(waits_at_the_end, "who is told no waits behind the others again")
{
    cora_loop loop = current_loop_new();
    struct oracle oracle = oracle_new(loop);
    ask_oracle(style, &oracle);
    begin(style, loop, cora_condition_wait(oracle.condition), &oracle.notes, "b");
    tick(loop);
    notify(oracle.condition, 1);
    tick(loop);
    notify(oracle.condition, 1);
    tick(loop);
    CHECK_TEXT(oracle.notes.text, "b");
    CHECK_INT(oracle.asked, 2);
    end_silently(loop);
}

BOTH(many_noes, "a wait may be told no as often as one likes")
{
    cora_loop loop = current_loop_new();
    struct oracle oracle = oracle_new(loop);
    oracle.answers[2] = cora_int(0);
    ask_oracle(style, &oracle);
    for (int i = 0; i < 1000; i++) {
        notify(oracle.condition, 1);
        tick(loop);
    }
    CHECK_INT(oracle.asked, 1001);
    oracle.answers[2] = cora_int(1);
    notify(oracle.condition, 1);
    ticks(loop, 2);
    CHECK_TEXT(oracle.notes.text, "a");
    current_loop_end(loop);
}

static cora_value never(cora_value argument)
{
    CHECK(cora_as_pointer(argument) != NULL);
    return cora_int(0);
}

/* Waits in vain, with an argument that counts when it is dropped. */
static cora_future wait_in_vain(enum style style, cora_loop loop, cora_condition condition,
                                struct notes *notes, int *drops)
{
    cora_future wait = begin_asking(style, loop,
                                    (struct asker){ .condition = condition,
                                                    .predicate = never,
                                                    .argument = cora_own(drops, &counted),
                                                    .notes = notes,
                                                    .word = "a" });
    cora_drop_temporaries();
    CHECK(!cora_condition_locked(condition));
    CHECK_INT(*drops, 0);
    return wait;
}

BOTH(argument_is_kept, "the argument is kept while it waits, and given back when it has ended")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    struct notes notes = { "" };
    int drops = 0;
    cora_future wait = wait_in_vain(style, loop, condition, &notes, &drops);
    notify(condition, 1);
    tick(loop);
    CHECK_INT(drops, 0);
    cora_cancel(wait);
    tick(loop);
    CHECK(cora_cancelled(wait));
    CHECK_INT(drops, 1);
    end_silently(loop);
    CHECK_INT(drops, 1);
}

BOTH(argument_and_close, "also when the condition was closed, and with the loop")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_condition condition = cora_condition_new(loop), other = cora_condition_new(loop);
    int drops[2] = { 0 };
    wait_in_vain(style, loop, condition, &notes, &drops[0]);
    cora_future wait = wait_in_vain(style, loop, other, &notes, &drops[1]);
    cora_condition_close(other);
    tick(loop);
    CHECK(is_error(wait, CORA_ESTALE));
    CHECK_INT(drops[0], 0);
    CHECK_INT(drops[1], 1);
    end_silently(loop);
    CHECK_INT(drops[0], 1);
}

TEST(argument_unused, "also if it need not wait, cannot wait, or is cancelled before it begins")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    int drops[3] = { 0 };
    cora_when_done(cora_condition_wait_for(condition, as_it_is, cora_own(&drops[0], &counted)),
                   cora_partial(nothing_done));
    cora_when_done(cora_condition_wait_for(condition, never, cora_own(&drops[1], &counted)),
                   cora_partial(nothing_done));
    cora_cancel(cora_ensure_future(
        loop, cora_condition_wait_for(condition, never, cora_own(&drops[2], &counted))));
    ticks(loop, 3);
    cora_drop_temporaries();
    for (int i = 0; i < 3; i++)
        CHECK_INT(drops[i], 1);
    end_silently(loop);
}

/* ---- predicates that act ---- */

static void cancel_it(struct oracle *oracle)
{
    CHECK(cora_cancel_with(oracle->future, "own goal"));
}

BOTH(cancels_and_no, "a predicate that cancels the wait and says no: it ends cancelled, a tick "
                     "later")
{
    cora_loop loop = current_loop_new();
    struct oracle oracle = oracle_new(loop);
    oracle.act = cancel_it;
    oracle.act_at = 2;
    oracle.future = ask_oracle(style, &oracle);
    notify(oracle.condition, 1);
    tick(loop);
    CHECK(!cora_done(oracle.future));
    CHECK_TEXT(condition_text(oracle.condition), "<Condition [unlocked, waiters:1]>");
    tick(loop);
    CHECK_TEXT(outcome(oracle.future), "CancelledError: own goal");
    CHECK_TEXT(condition_text(oracle.condition), "<Condition [locked]>");
    CHECK_INT(oracle.asked, 2);
    end_silently(loop);
}

/* Begins to ask as a task, which the oracle knows from the first question on. */
static void ask_as_task(struct oracle *oracle)
{
    struct asker asker = { .condition = oracle->condition,
                           .predicate = ask,
                           .argument = cora_from(oracle),
                           .notes = &oracle->notes,
                           .word = "a" };
    oracle->future = asker_task(oracle->loop, &asker);
    tick(oracle->loop);
}

TEST(cancels_at_once_and_no, "also at the first question")
{
    cora_loop loop = current_loop_new();
    struct oracle oracle = oracle_new(loop);
    oracle.act = cancel_it;
    oracle.act_at = 1;
    ask_as_task(&oracle);
    CHECK_TEXT(condition_text(oracle.condition), "<Condition [unlocked, waiters:1]>");
    tick(loop);
    CHECK_TEXT(outcome(oracle.future), "CancelledError: own goal");
    CHECK(cora_condition_locked(oracle.condition));
    end_silently(loop);
}

TEST(cancels_and_yes, "a predicate that cancels the task and says yes: the wait ends with that, "
                      "the task is cancelled at its next await or its end")
{
    for (int at = 1; at <= 2; at++) {
        cora_loop loop = current_loop_new();
        struct oracle oracle = oracle_new(loop);
        oracle.act = cancel_it;
        oracle.act_at = at;
        oracle.answers[at - 1] = cora_int(true);
        ask_as_task(&oracle);
        if (at == 2)
            notify(oracle.condition, 1);
        tick(loop);
        CHECK_TEXT(oracle.notes.text, "a");
        CHECK_TEXT(outcome(oracle.future), "CancelledError: own goal");
        CHECK(cora_condition_locked(oracle.condition));
        end_silently(loop);
    }
}

/* An oracle that acts at a question and says this then; it is asked until it has acted. */
static cora_future act_at(enum style style, struct oracle *oracle, int at, bool yes,
                          void (*act)(struct oracle *oracle))
{
    oracle->act = act;
    oracle->act_at = at;
    oracle->answers[at - 1] = cora_int(yes);
    cora_future wait = ask_oracle(style, oracle);
    if (at == 2)
        notify(oracle->condition, 1);
    ticks(oracle->loop, 2);
    CHECK_INT(oracle->asked, at);
    return wait;
}

static void close_condition(struct oracle *oracle)
{
    CHECK_INT(cora_condition_close(oracle->condition), 0);
}

BOTH(closes_and_no, "a predicate that closes the condition and says no: the wait ends with a "
                    "StaleHandle error")
{
    for (int at = 1; at <= 2; at++) {
        cora_loop loop = current_loop_new();
        struct oracle oracle = oracle_new(loop);
        cora_future wait = act_at(style, &oracle, at, false, close_condition);
        CHECK_TEXT(oracle.notes.text, "a:StaleHandle");
        CHECK(says(cora_exception(wait), "condition"));
        end_silently(loop);
    }
}

BOTH(closes_and_yes, "one that closes it and says yes: the wait ends with that")
{
    for (int at = 1; at <= 2; at++) {
        cora_loop loop = current_loop_new();
        struct oracle oracle = oracle_new(loop);
        act_at(style, &oracle, at, true, close_condition);
        CHECK_TEXT(oracle.notes.text, "a");
        end_silently(loop);
    }
}

static void close_lock(struct oracle *oracle)
{
    CHECK_INT(cora_lock_close(oracle->lock), 0);
}

BOTH(closes_lock_and_no, "a predicate that closes the lock and says no: the wait ends with the "
                         "lock's StaleHandle error")
{
    for (int at = 1; at <= 2; at++) {
        cora_loop loop = current_loop_new();
        struct oracle oracle = oracle_new(loop);
        cora_future wait = act_at(style, &oracle, at, false, close_lock);
        CHECK_TEXT(oracle.notes.text, "a:StaleHandle");
        CHECK(says(cora_exception(wait), "the lock is stale"));
        CHECK_TEXT(condition_text(oracle.condition), "<Condition [unlocked]>");
        end_silently(loop);
    }
}

static void release_it(struct oracle *oracle)
{
    release(oracle->condition);
}

BOTH(releases_and_no, "a predicate that releases the lock and says no: there is nothing to give "
                      "back, a RuntimeError")
{
    for (int at = 1; at <= 2; at++) {
        cora_loop loop = current_loop_new();
        struct oracle oracle = oracle_new(loop);
        cora_future wait = act_at(style, &oracle, at, false, release_it);
        CHECK_TEXT(oracle.notes.text, "a:RuntimeError");
        CHECK(says(cora_exception(wait), "cannot wait on un-acquired lock"));
        CHECK_TEXT(condition_text(oracle.condition), "<Condition [unlocked]>");
        end_silently(loop);
    }
}

static void fail_it(struct oracle *oracle)
{
    (void)oracle;
    cora_fail(spilled());
}

BOTH(fails, "a predicate that fails with cora_fail: that is the outcome, whatever it says; it has "
            "the lock, and waits no more")
{
    for (int yes = 0; yes < 2; yes++) {
        for (int at = 1; at <= 2; at++) {
            cora_loop loop = current_loop_new();
            struct oracle oracle = oracle_new(loop);
            cora_future wait = act_at(style, &oracle, at, yes, fail_it);
            ticks(loop, 3);
            CHECK_TEXT(oracle.notes.text, "a:ValueError");
            CHECK_TEXT(outcome(wait), "ValueError: spilled");
            CHECK_TEXT(condition_text(oracle.condition), "<Condition [locked]>");
            end_silently(loop);
        }
    }
}

static void notify_all(struct oracle *oracle)
{
    CHECK_INT(cora_condition_notify_all(oracle->condition), 0);
}

BOTH(notifies_and_no, "a predicate that notifies all and says no wakes the others, not itself")
{
    cora_loop loop = current_loop_new();
    struct oracle oracle = oracle_new(loop);
    oracle.act = notify_all;
    oracle.act_at = 2;
    ask_oracle(style, &oracle);
    begin(style, loop, cora_condition_wait(oracle.condition), &oracle.notes, "b");
    tick(loop);
    notify(oracle.condition, 1);
    ticks(loop, 3);
    CHECK_TEXT(oracle.notes.text, "b");
    CHECK_INT(oracle.asked, 2);
    CHECK_TEXT(condition_text(oracle.condition), "<Condition [locked, waiters:1]>");
    end_silently(loop);
}

static void wait_for_another(struct oracle *oracle)
{
    cora_when_done(cora_condition_wait(oracle->condition),
                   cora_partial(note_ended, &oracle->notes, "inner"));
    CHECK(!cora_condition_locked(oracle->condition));
    grab(oracle->condition);
}

BOTH(waits_in_predicate, "a predicate may begin another wait, which comes before its own")
{
    cora_loop loop = current_loop_new();
    struct oracle oracle = oracle_new(loop);
    act_at(style, &oracle, 2, false, wait_for_another);
    CHECK_TEXT(condition_text(oracle.condition), "<Condition [unlocked, waiters:2]>");
    notify(oracle.condition, 2);
    tick(loop);
    CHECK_TEXT(oracle.notes.text, "inner");
    release(oracle.condition);
    ticks(loop, 2);
    CHECK_TEXT(oracle.notes.text, "inner a");
    end_silently(loop);
}

static void close_loop(struct oracle *oracle)
{
    CHECK_INT(cora_loop_close(oracle->loop), 0);
}

TEST(closes_loop, "driven by hand: a predicate may close the loop, whatever it says then")
{
    for (int yes = 0; yes < 2; yes++) {
        cora_loop loop = current_loop_new();
        struct oracle oracle = oracle_new(loop);
        oracle.act = close_loop;
        oracle.act_at = 1;
        oracle.answers[0] = cora_int(yes);
        grab(oracle.condition);
        cora_coro coro =
            cora_as_coro(cora_condition_wait_for(oracle.condition, ask, cora_from(&oracle)).value);
        cora_value ret = cora_nothing();
        int code = cora_send(coro, cora_nothing(), &ret);
        CHECK_INT(oracle.asked, 1);
        CHECK(code <= 0);
        cora_set_current_loop((cora_loop){ 0 });
        end(loop);
    }
}

static void detach_loop(struct oracle *oracle)
{
    CHECK_INT(cora_loop_detach(oracle->loop), 0);
}

BOTH(detaches_loop, "a predicate may detach the guest loop that asks it, whatever it says then")
{
    for (int yes = 0; yes < 2; yes++) {
        struct ev_loop *host = ev_loop_new(0);
        cora_loop guest = cora_loop_attach(host, NULL);
        struct reports reports;
        collect_reports(guest, &reports);
        cora_set_current_loop(guest);
        struct oracle oracle = oracle_new(guest);
        struct asker asker = { .condition = oracle.condition,
                               .predicate = ask,
                               .argument = cora_from(&oracle),
                               .notes = &oracle.notes,
                               .word = "a" };
        oracle.act = detach_loop;
        oracle.act_at = 2;
        oracle.answers[1] = cora_int(yes);
        if (style == TASKS)
            asker_task(guest, &asker);
        else
            cora_call_soon(guest, cora_partial(ask_in_callback, &asker, asker.argument));
        ev_run(host, EVRUN_NOWAIT);
        CHECK_INT(oracle.asked, 1);
        notify(oracle.condition, 1);
        for (int i = 0; i < 3; i++)
            ev_run(host, EVRUN_NOWAIT);
        CHECK_INT(oracle.asked, 2);
        CHECK_TEXT(oracle.notes.text, style == CALLBACKS ? "" : yes ? "a" : "a:GeneratorExit");
        CHECK_INT(cora_condition_notify(oracle.condition, 1), CORA_ESTALE);
        cora_set_current_loop((cora_loop){ 0 });
        ev_loop_destroy(host);
        CHECK_INT(cora_live_coroutines(), 0);
    }
}

static cora_value current_task_of(cora_value argument)
{
    struct oracle *oracle = cora_as_pointer(argument);
    oracle->asked++;
    oracle->future = cora_current_task(oracle->loop);
    return cora_int(oracle->asked > 2);
}

TEST(predicate_in_task, "the predicate of a task's wait is asked in that task, each time")
{
    cora_loop loop = current_loop_new();
    struct oracle oracle = oracle_new(loop);
    cora_future task = begin_asking(TASKS, loop,
                                    (struct asker){ .condition = oracle.condition,
                                                    .predicate = current_task_of,
                                                    .argument = cora_from(&oracle),
                                                    .notes = &oracle.notes,
                                                    .word = "a" });
    CHECK(cora_same(oracle.future, task));
    for (int i = 2; i <= 3; i++) {
        oracle.future = (cora_future){ 0 };
        notify(oracle.condition, 1);
        tick(loop);
        CHECK_INT(oracle.asked, i);
        CHECK(cora_same(oracle.future, task));
    }
    CHECK_TEXT(oracle.notes.text, "a");
    current_loop_end(loop);
}

/* ---- in callbacks ---- */

static void notify_and_wait(cora_args bound, cora_future done)
{
    struct hall *hall = cora_arg(bound, 0, struct hall *);
    CHECK(cora_done(done));
    add_note(&hall->notes, cora_arg_text(bound, 1));
    CHECK_INT(cora_condition_notify(hall->bell, 1), 0);
    cora_when_done(cora_condition_wait(hall->bell),
                   cora_partial(notify_and_wait, hall, cora_arg_text(bound, 1)));
}

TEST(in_turn, "two callbacks that notify each other and wait again take turns")
{
    cora_loop loop = current_loop_new();
    struct hall hall = { .bell = cora_condition_new(loop) };
    cora_when_done(cora_condition_acquire(hall.bell), cora_partial(notify_and_wait, &hall, "tick"));
    cora_when_done(cora_condition_acquire(hall.bell), cora_partial(notify_and_wait, &hall, "tock"));
    while (strlen(hall.notes.text) < 29)
        tick(loop);
    CHECK_TEXT(hall.notes.text, "tick tock tick tock tick tock");
    CHECK_TEXT(condition_text(hall.bell), "<Condition [unlocked, waiters:2]>");
    current_loop_end(loop);
}

static void cancel_the_next(cora_args bound, cora_future done)
{
    struct three *three = cora_arg(bound, 0, struct three *);
    CHECK(cora_done(done));
    CHECK(cora_cancel(three->b));
    release(three->condition);
}

TEST(cancelled_by_a_neighbour,
     "the first that goes on may cancel the next, which has the lock before it ends")
{
    struct three three = { .loop = current_loop_new() };
    three.condition = cora_condition_new(three.loop);
    cora_awaitable wait = cora_condition_wait(three.condition);
    grab(three.condition);
    cora_when_done(wait, cora_partial(cancel_the_next, &three));
    three.b = begin(CALLBACKS, three.loop, wait, &three.notes, "b");
    begin(CALLBACKS, three.loop, wait, &three.notes, "c");
    notify(three.condition, 3);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "b:CancelledError");
    CHECK_TEXT(lock_text(three.condition), "<Lock [locked, waiters:1]>");
    release(three.condition);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "b:CancelledError c");
    CHECK_TEXT(condition_text(three.condition), "<Condition [locked]>");
    current_loop_end(three.loop);
}

TEST(ready_made, "waiting may be given to whatever takes operations: task, gather, run")
{
    cora_loop loop = current_loop_new();
    cora_condition conditions[2] = { cora_condition_new(loop), cora_condition_new(loop) };
    cora_awaitable both[2] = { cora_condition_wait(conditions[0]),
                               cora_condition_wait(conditions[1]) };
    grab(conditions[0]);
    grab(conditions[1]);
    cora_future all = cora_gather(loop, both, 2);
    cora_call_later(loop, 1, cora_partial(notify_later, conditions[1]));
    cora_call_later(loop, 2, cora_partial(notify_later, conditions[0]));
    CHECK_INT(cora_list_size(cora_run_until_complete(loop, all)), 2);
    CHECK(cora_condition_locked(conditions[0]) && cora_condition_locked(conditions[1]));
    cora_call_later(loop, 1, cora_partial(notify_later, conditions[0]));
    CHECK(cora_equal(cora_run_until_complete(loop, both[0]), cora_int(true)));
    current_loop_end(loop);
}

TEST(does_nothing_yet, "the operation does nothing before it is started")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    grab(condition);
    cora_awaitable wait = cora_condition_wait(condition);
    CHECK_TEXT(condition_text(condition), "<Condition [locked]>");
    cora_future one = cora_ensure_future(loop, wait), other = cora_ensure_future(loop, wait);
    CHECK(cora_condition_locked(condition));
    CHECK(cora_cancel(one));
    tick(loop);
    CHECK(cora_cancelled(one));
    CHECK(!cora_done(other));
    CHECK_TEXT(condition_text(condition), "<Condition [unlocked, waiters:1]>");
    current_loop_end(loop);
}

TEST(with, "there is nothing to leave of a wait: cora_with is a TypeError")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_condition condition = cora_condition_new(loop);
    grab(condition);
    cora_future task =
        task_entering(loop, cora_condition_wait(condition), &notes, "in", (cora_future){ 0 });
    tick(loop);
    CHECK(is_error(task, CORA_ETYPE));
    CHECK_TEXT(notes.text, "");
    CHECK(cora_condition_locked(condition));
    current_loop_end(loop);
}

/* ---- closed ---- */

BOTH(closed, "those that wait for a condition that is closed end with a StaleHandle error, a tick "
             "later")
{
    struct three three;
    three_wait(&three, style);
    CHECK_INT(cora_condition_close(three.condition), 0);
    CHECK_TEXT(three.notes.text, "");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:StaleHandle b:StaleHandle c:StaleHandle");
    CHECK(is_error(three.a, CORA_ESTALE));
    CHECK(says(cora_exception(three.a), "condition"));
    end_silently(three.loop);
}

BOTH(closed_lock_of_yours, "if the lock is yours, each of them has it before it ends")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_lock lock = cora_lock_new(loop);
    cora_condition condition = cora_condition_of(lock);
    cora_future a = begin(style, loop, cora_condition_wait(condition), &notes, "a");
    begin(style, loop, cora_condition_wait(condition), &notes, "b");
    tick(loop);
    grab(condition);
    CHECK_INT(cora_condition_close(condition), 0);
    CHECK(cora_lock_locked(lock));
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "");
    CHECK_INT(cora_lock_release(lock), 0);
    tick(loop);
    CHECK_TEXT(notes.text, "a:StaleHandle");
    CHECK(says(cora_exception(a), "condition"));
    CHECK(cora_lock_locked(lock));
    CHECK_INT(cora_lock_release(lock), 0);
    tick(loop);
    CHECK_TEXT(notes.text, "a:StaleHandle b:StaleHandle");
    CHECK(cora_lock_locked(lock));
    end_silently(loop);
}

BOTH(closed_and_cancelled, "who is cancelled in the turn in which the condition is closed is "
                           "cancelled")
{
    struct three three;
    three_wait(&three, style);
    cora_cancel(three.a);
    cora_condition_close(three.condition);
    CHECK(cora_cancel(three.b));
    tick(three.loop);
    CHECK(cora_cancelled(three.a));
    CHECK(cora_cancelled(three.b));
    CHECK(is_error(three.c, CORA_ESTALE));
    end_silently(three.loop);
}

BOTH(closed_when_wanting_lock, "those that want the lock already end with a StaleHandle error, too")
{
    struct three three;
    three_want_lock(&three, style);
    cora_cancel(three.b);
    CHECK_INT(cora_condition_close(three.condition), 0);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "b:CancelledError a:StaleHandle c:StaleHandle");
    CHECK(says(cora_exception(three.a), "condition"));
    end_silently(three.loop);
}

BOTH(closed_in_lock_gap, "also one that has been let in and did not run yet")
{
    struct three three;
    three_want_lock(&three, style);
    release(three.condition);
    CHECK_INT(cora_condition_close(three.condition), 0);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:StaleHandle b:StaleHandle c:StaleHandle");
    end_silently(three.loop);
}

BOTH(lock_closed_when_wanted,
     "those that want a lock that is closed end with its StaleHandle error")
{
    struct three three;
    three_want_lock(&three, style);
    CHECK_INT(cora_lock_close(cora_condition_lock(three.condition)), 0);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:StaleHandle b:StaleHandle c:StaleHandle");
    CHECK(says(cora_exception(three.a), "lock"));
    CHECK_TEXT(condition_text(three.condition), "<Condition [unlocked]>");
    end_silently(three.loop);
}

BOTH(lock_closed_passes_on, "and the others are notified in their place: they end so, too")
{
    struct three three;
    three_wait(&three, style);
    grab(three.condition);
    CHECK_INT(cora_condition_notify(three.condition, 1), 0);
    tick(three.loop);
    CHECK_TEXT(condition_text(three.condition), "<Condition [locked, waiters:2]>");
    CHECK_INT(cora_lock_close(cora_condition_lock(three.condition)), 0);
    ticks(three.loop, 3);
    CHECK_TEXT(three.notes.text, "a:StaleHandle b:StaleHandle c:StaleHandle");
    end_silently(three.loop);
}

BOTH(lock_closed, "of a condition whose lock is closed nobody is notified; cancelling ends a wait")
{
    struct three three;
    three_wait(&three, style);
    cora_lock lock = cora_condition_lock(three.condition);
    CHECK_INT(cora_lock_close(lock), 0);
    CHECK(cora_same(cora_condition_lock(three.condition), lock));
    CHECK(!cora_condition_locked(three.condition));
    CHECK_INT(cora_condition_notify(three.condition, 1), CORA_ESTALE);
    CHECK(says(cora_last_error(), "the lock is stale"));
    CHECK_INT(cora_condition_release(three.condition), CORA_ESTALE);
    CHECK_TEXT(condition_text(three.condition), "<Condition [unlocked, waiters:3]>");
    CHECK(cora_cancel(three.a));
    tick(three.loop);
    CHECK(cora_cancelled(three.a));
    CHECK_INT(cora_condition_close(three.condition), 0);
    ticks(three.loop, 2);
    CHECK(is_error(three.b, CORA_ESTALE) && is_error(three.c, CORA_ESTALE));
    end_silently(three.loop);
}

TEST(lock_stays, "a lock of yours is not closed with its condition; a condition's own is")
{
    cora_loop loop = current_loop_new();
    cora_lock lock = cora_lock_new(loop);
    cora_condition condition = cora_condition_of(lock), other = cora_condition_of(lock);
    cora_condition own = cora_condition_new(loop);
    cora_lock own_lock = cora_condition_lock(own);
    grab(condition);
    CHECK_INT(cora_condition_close(condition), 0);
    CHECK(cora_condition_locked(other));
    CHECK_INT(cora_lock_release(lock), 0);
    CHECK_INT(cora_condition_close(own), 0);
    CHECK_INT(cora_lock_close(own_lock), 0);
    CHECK_INT(cora_lock_release(own_lock), CORA_ESTALE);
    current_loop_end(loop);
}

static void close_it(cora_args bound, cora_future done)
{
    (void)done;
    CHECK_INT(cora_condition_close(cora_arg_condition(bound, 0)), 0);
}

TEST(closed_by_a_waiting_one, "who was waiting may close the condition as soon as it goes on")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_condition condition = cora_condition_new(loop);
    grab(condition);
    cora_when_done(cora_condition_wait(condition), cora_partial(close_it, condition));
    begin(CALLBACKS, loop, cora_condition_wait(condition), &notes, "b");
    notify(condition, 2);
    ticks(loop, 3);
    CHECK_TEXT(notes.text, "b:StaleHandle");
    current_loop_end(loop);
}

TEST(with_closed_inside, "of a condition that was closed inside there is nothing to leave: the "
                         "outcome goes on")
{
    cora_loop loop = virtual_loop_new();
    for (int failing = 0; failing < 2; failing++) {
        struct notes notes = { "" };
        cora_condition condition = cora_condition_new(loop);
        cora_future until = cora_future_new(loop);
        cora_future task =
            task_entering(loop, cora_condition_acquire(condition), &notes, "in", until);
        tick(loop);
        cora_condition_close(condition);
        if (failing)
            cora_set_exception(until, spilled());
        else
            cora_set_result(until, cora_int(7));
        tick(loop);
        CHECK_TEXT(outcome(task), failing ? "ValueError: spilled" : "7");
    }
    end(loop);
}

TEST(closed_while_waiting_inside, "a coroutine that waits inside when the condition is closed ends "
                                  "with that error alone")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_condition condition = cora_condition_new(loop);
    cora_future task =
        task_waiting_inside(loop, cora_condition_wait(condition), &notes, "in", (cora_future){ 0 });
    tick(loop);
    cora_condition_close(condition);
    tick(loop);
    CHECK(is_error(task, CORA_ESTALE));
    CHECK(says(cora_exception(task), "condition"));
    CHECK_TEXT(notes.text, "");
    end(loop);
}

BOTH(loop_closed, "a loop that is closed takes those with it that wait, and those that want the "
                  "lock")
{
    struct three three;
    three_wait(&three, style);
    notify(three.condition, 2);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a");
    CHECK_TEXT(lock_text(three.condition), "<Lock [locked, waiters:1]>");
    release(three.condition);
    cora_cancel(three.b);
    cora_cancel(three.c);
    end_silently(three.loop);
    CHECK_INT(cora_condition_notify(three.condition, 1), CORA_ESTALE);
}

/* All that is asked of this condition is refused with that code, and operations end with it. */
static void check_refused(cora_condition condition, int code)
{
    cora_awaitable operations[] = {
        cora_condition_acquire(condition),
        cora_condition_wait(condition),
        cora_condition_wait_for(condition, nothing_ready, cora_nothing()),
    };
    CHECK_INT(cora_condition_notify(condition, 1), code);
    CHECK_INT(cora_condition_notify_all(condition), code);
    CHECK_INT(cora_condition_release(condition), code);
    CHECK(!cora_condition_locked(condition));
    CHECK(cora_is_null(cora_condition_lock(condition)));
    CHECK_INT(cora_error_code(cora_last_error()), code);
    cora_future futures[3];
    for (int i = 0; i < 3; i++)
        futures[i] = cora_keep(cora_when_done(operations[i], cora_partial(nothing_done)));
    tick(cora_current_loop());
    for (int i = 0; i < 3; i++) {
        CHECK_INT(cora_error_code(cora_exception(futures[i])), code);
        if (code == CORA_ESTALE || code == CORA_ETYPE)
            CHECK(says(cora_exception(futures[i]), "condition"));
    }
}

/* ---- coroutines that are given up ---- */

static cora_next wait_by_hand(cora_coro self)
{
    return cora_await(self, cora_condition_wait(*cora_locals(self, cora_condition)),
                      cora_return_nothing);
}

static cora_next with_by_hand(cora_coro self)
{
    return cora_with(self, cora_condition_acquire(*cora_locals(self, cora_condition)),
                     wait_by_hand);
}

static cora_coro waiting_by_hand(cora_condition condition)
{
    cora_coro coro = cora_coroutine(with_by_hand, cora_condition, condition.bits);
    CHECK_INT(cora_send(coro, cora_nothing(), NULL), 1);
    CHECK(!cora_condition_locked(condition));
    return coro;
}

TEST(closed_by_hand,
     "a coroutine that is closed while it waits has the lock for what is left to do "
     "in it, and nobody has it afterwards")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    cora_coro coro = waiting_by_hand(condition);
    CHECK_INT(cora_coro_close(coro), 0);
    CHECK_TEXT(condition_text(condition), "<Condition [unlocked]>");
    ticks(loop, 3);
    CHECK_TEXT(condition_text(condition), "<Condition [unlocked]>");
    current_loop_end(loop);
}

TEST(closed_by_hand_in_the_gap,
     "the same of one that was notified; another is notified in its place")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    cora_coro coro = waiting_by_hand(condition);
    struct notes notes = { "" };
    grab(condition);
    cora_when_done(cora_condition_wait(condition), cora_partial(note_done, &notes, "other"));
    notify(condition, 1);
    CHECK_INT(cora_coro_close(coro), 0);
    CHECK_TEXT(condition_text(condition), "<Condition [unlocked, waiters:1]>");
    ticks(loop, 3);
    CHECK_TEXT(notes.text, "other");
    CHECK(cora_condition_locked(condition));
    current_loop_end(loop);
}

TEST(thrown_into_by_hand, "an error that is thrown into one that waits finds it with the lock")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    cora_coro coro = waiting_by_hand(condition);
    CHECK_INT(cora_throw(coro, cora_error(CORA_EVALUE, "rain"), NULL), CORA_EVALUE);
    ticks(loop, 3);
    CHECK_TEXT(condition_text(condition), "<Condition [unlocked]>");
    current_loop_end(loop);
}

TEST(stale, "of a condition that is closed nothing is left but a handle that is stale")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    CHECK_INT(cora_condition_close(condition), 0);
    CHECK_INT(cora_condition_close(condition), 0);
    cora_set_last_error(cora_error(CORA_EEXCEPTION, "another error, of before"));
    check_refused(condition, CORA_ESTALE);
    CHECK(strncmp(condition_text(condition), "<Condition #", 12) == 0);
    for (int i = 0; i < 100; i++)
        CHECK(!cora_same(cora_condition_new(loop), condition));
    CHECK_INT(cora_condition_notify(condition, 1), CORA_ESTALE);
    current_loop_end(loop);
}

TEST(null, "a null condition fails what is done with it, with the error that made it null")
{
    cora_loop loop = current_loop_new(), closed = cora_loop_new(NULL);
    cora_loop_close(closed);
    cora_condition condition = cora_condition_new(closed);
    CHECK(cora_is_null(condition));
    check_refused(condition, CORA_ERUNTIME);
    CHECK_INT(cora_condition_close(condition), CORA_ERUNTIME);
    CHECK(strstr(condition_text(condition), "Condition") != NULL);
    current_loop_end(loop);
}

TEST(not_made,
     "a condition cannot be made in a loop that is closed, or null; nor of a lock that is")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_lock lock = cora_lock_new(loop);
    cora_lock_close(lock);
    CHECK(cora_is_null(cora_condition_of(lock)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ESTALE);
    CHECK(says(cora_last_error(), "lock"));
    CHECK_INT(cora_live(loop), 0);
    cora_event event = cora_event_new(loop);
    CHECK(cora_is_null(cora_condition_of((cora_lock){ event.bits })));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
    cora_loop_close(loop);
    CHECK(cora_is_null(cora_condition_new(loop)));
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
    CHECK(cora_is_null(cora_condition_new((cora_loop){ 0 })));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ESTALE);
    CHECK(cora_is_null(cora_condition_of((cora_lock){ 0 })));
}

TEST(not_a_lock, "a condition's handle is a condition's alone, also when it was passed as a value")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_condition condition = cora_condition_new(loop);
    CHECK(cora_same(cora_as_condition(cora_from(condition)), condition));
    CHECK(cora_is_null(cora_as_lock(cora_from(condition))));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
    CHECK_INT(cora_lock_release((cora_lock){ condition.bits }), CORA_ETYPE);
    CHECK(says(cora_last_error(), "got a condition made in test_not_a_lock"));
    CHECK(cora_equal(cora_from(condition), cora_from(condition)));
    CHECK(!cora_equal(cora_from(condition), cora_from(cora_condition_new(loop))));
    cora_loop_close(loop);
}

TEST(a_lock, "a handle of something else is a TypeError, which tells what it is")
{
    cora_loop loop = current_loop_new();
    cora_condition lock = { cora_lock_new(loop).bits };
    check_refused(lock, CORA_ETYPE);
    CHECK_INT(cora_condition_close(lock), CORA_ETYPE);
    CHECK(says(cora_last_error(), "a condition was expected, got a lock made in test_a_lock"));
    current_loop_end(loop);
}

/* ---- other loops, other threads ---- */

BOTH(ambiguous_loops,
     "in another loop the lock is taken if it is free; to wait for it, or for the "
     "condition, is a RuntimeError, and the lock stays as it is",
     "test_locks.ConditionTests.test_ambiguous_loops")
{
    cora_loop loop = current_loop_new(), other = cora_loop_new(NULL);
    struct notes notes = { "" };
    cora_condition condition = cora_condition_new(loop);
    cora_set_current_loop(other);
    begin_awaiting(style, other, cora_condition_acquire(condition), &notes, "lock");
    tick(other);
    CHECK_TEXT(notes.text, "lock");
    cora_future lock =
        begin_awaiting(style, other, cora_condition_acquire(condition), &notes, "lock");
    cora_future wait = begin_awaiting(style, other, cora_condition_wait(condition), &notes, "wait");
    tick(other);
    CHECK_TEXT(notes.text, "lock lock:RuntimeError wait:RuntimeError");
    CHECK(says(cora_exception(lock), "lock is bound to a different event loop"));
    CHECK(says(cora_exception(wait), "condition is bound to a different event loop"));
    CHECK_TEXT(condition_text(condition), "<Condition [locked]>");
    cora_set_current_loop(loop);
    cora_loop_close(other);
    current_loop_end(loop);
}

TEST(wait_for_other_loop, "a predicate that says yes at once is heard in every loop")
{
    cora_loop loop = current_loop_new(), other = cora_loop_new(NULL);
    cora_condition condition = cora_condition_new(loop);
    cora_value yes = cora_run_until_complete(
        other, cora_condition_wait_for(condition, as_it_is, cora_static("ready")));
    CHECK_TEXT(cora_as_text(yes), "ready");
    grab(condition);
    cora_value no = cora_run_until_complete(
        other, cora_condition_wait_for(condition, nothing_ready, cora_nothing()));
    CHECK(cora_error_is(no, CORA_ERUNTIME));
    CHECK(says(no, "condition is bound to a different event loop"));
    CHECK(cora_condition_locked(condition));
    cora_loop_close(other);
    current_loop_end(loop);
}

struct stranger {
    cora_condition condition;
    cora_lock lock;
    cora_loop loop;
    int notify, notify_all, close, wait, acquire, release, make, make_of;
    bool locked, has_lock;
};

static int code_of(bool failed)
{
    return failed ? cora_error_code(cora_last_error()) : 0;
}

static void *come_from_elsewhere(void *argument)
{
    struct stranger *stranger = argument;
    cora_condition condition = stranger->condition;
    cora_loop own = cora_loop_new(NULL);
    stranger->notify = cora_condition_notify(condition, 1);
    stranger->notify_all = cora_condition_notify_all(condition);
    stranger->close = cora_condition_close(condition);
    stranger->release = cora_condition_release(condition);
    stranger->locked = cora_condition_locked(condition);
    stranger->has_lock = !cora_is_null(cora_condition_lock(condition));
    stranger->wait = cora_error_code(cora_run_until_complete(own, cora_condition_wait(condition)));
    stranger->acquire =
        cora_error_code(cora_run_until_complete(own, cora_condition_acquire(condition)));
    stranger->make = code_of(cora_is_null(cora_condition_new(stranger->loop)));
    stranger->make_of = code_of(cora_is_null(cora_condition_of(stranger->lock)));
    cora_loop_close(own);
    return NULL;
}

TEST(other_thread, "a condition is its loop's thread's alone")
{
    cora_loop loop = current_loop_new();
    cora_lock lock = cora_lock_new(loop);
    struct stranger stranger = { .condition = cora_condition_of(lock), .lock = lock, .loop = loop };
    grab(stranger.condition);
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, come_from_elsewhere, &stranger), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(stranger.notify, CORA_EWRONGTHREAD);
    CHECK_INT(stranger.notify_all, CORA_EWRONGTHREAD);
    CHECK_INT(stranger.close, CORA_EWRONGTHREAD);
    CHECK_INT(stranger.release, CORA_EWRONGTHREAD);
    CHECK_INT(stranger.wait, CORA_EWRONGTHREAD);
    CHECK_INT(stranger.acquire, CORA_EWRONGTHREAD);
    CHECK_INT(stranger.make, CORA_EWRONGTHREAD);
    CHECK_INT(stranger.make_of, CORA_EWRONGTHREAD);
    CHECK(!stranger.locked);
    CHECK(!stranger.has_lock);
    CHECK_TEXT(condition_text(stranger.condition), "<Condition [locked]>");
    current_loop_end(loop);
}

TEST(notified_by_another_thread, "another thread notifies by a callback of the loop's")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_condition condition = cora_condition_new(loop);
    cora_set_current_loop(loop);
    grab(condition);
    cora_future wait =
        cora_keep(cora_when_done(cora_condition_wait(condition), cora_partial(nothing_done)));
    cora_call_soon_threadsafe(loop, cora_partial(notify_later, condition));
    CHECK(cora_equal(cora_run_until_complete(loop, wait), cora_int(true)));
    cora_set_current_loop((cora_loop){ 0 });
    cora_loop_close(loop);
}

/* ---- many ---- */

#define MANY 10000

static void release_next(cora_args bound, cora_future done)
{
    CHECK(cora_equal(cora_result(done), cora_int(true)));
    int *next = cora_arg(bound, 1, int *);
    CHECK_INT(*next, cora_arg_int(bound, 2));
    ++*next;
    CHECK_INT(cora_condition_release(cora_arg_condition(bound, 0)), 0);
}

TEST(many, "ten thousand that are notified have the lock in turn, in the order of coming")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    int next = 0;
    for (int i = 0; i < MANY; i++) {
        grab(condition);
        cora_when_done(cora_condition_wait(condition),
                       cora_partial(release_next, condition, &next, i));
    }
    CHECK_TEXT(condition_text(condition), "<Condition [unlocked, waiters:10000]>");
    grab(condition);
    CHECK_INT(cora_condition_notify_all(condition), 0);
    tick(loop);
    CHECK_INT(next, 0);
    CHECK_TEXT(lock_text(condition), "<Lock [locked, waiters:10000]>");
    release(condition);
    ticks(loop, MANY);
    CHECK_INT(next, MANY);
    CHECK_TEXT(condition_text(condition), "<Condition [unlocked]>");
    CHECK_INT(cora_live(loop), 2);
    current_loop_end(loop);
}

TEST(many_cancelled, "of ten thousand that wait every other may be cancelled: all have the lock")
{
    static cora_future tasks[MANY];
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    struct notes notes = { "" };
    for (int i = 0; i < MANY; i++)
        tasks[i] = task_waiting_inside(loop, cora_condition_wait(condition), &notes, "",
                                       (cora_future){ 0 });
    tick(loop);
    notify(condition, MANY);
    for (int i = 0; i < MANY; i += 2)
        CHECK(cora_cancel(tasks[i]));
    ticks(loop, 3);
    for (int i = 0; i < MANY; i++) {
        CHECK(cora_done(tasks[i]));
        CHECK_INT(cora_cancelled(tasks[i]), i % 2 == 0);
    }
    CHECK_TEXT(condition_text(condition), "<Condition [unlocked]>");
    CHECK_TEXT(lock_text(condition), "<Lock [unlocked]>");
    cora_set_current_loop((cora_loop){ 0 });
    end(loop);
}

static void count_stale(cora_args bound, cora_future done)
{
    CHECK(is_error(done, CORA_ESTALE));
    ++*cora_arg(bound, 0, int *);
}

TEST(many_closed, "ten thousand that wait for a condition that is closed end with an error")
{
    cora_loop loop = current_loop_new();
    cora_condition condition = cora_condition_new(loop);
    int ended = 0;
    for (int i = 0; i < MANY; i++) {
        grab(condition);
        cora_when_done(cora_condition_wait(condition), cora_partial(count_stale, &ended));
    }
    cora_condition_close(condition);
    tick(loop);
    CHECK_INT(ended, MANY);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}
