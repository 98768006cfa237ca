/*
 * Locks: taken, waited for and given back, in the order of coming; the gap between a release and
 * the run of who was woken, where everything else may happen; locks held for a part of a coroutine
 * (cora_with); locks that are closed, of other loops and threads; very many who wait.
 *
 * What holds for callbacks and for tasks alike is told once (BOTH) and tested with each.
 */
#include "helpers.h"

#include <pthread.h>
#include <stdlib.h>

/* ---- helpers ---- */

/* A lock that is held, by nobody in particular. */
static cora_lock held_new(cora_loop loop)
{
    cora_lock lock = cora_lock_new(loop);
    CHECK(!cora_is_null(lock));
    cora_when_done(cora_lock_acquire(lock), cora_partial(nothing_done));
    CHECK(cora_lock_locked(lock));
    tick(loop);
    return lock;
}

/* A lock as cora_lock_print writes it; until the next call. */
static const char *lock_text(cora_lock lock)
{
    static char text[200];
    int length = cora_lock_print(lock, text, sizeof text);
    CHECK_INT(length, strlen(text));
    return text;
}

/* A coroutine that takes a lock and tells; it does not give it back. */
struct taker {
    struct notes *notes;
    cora_lock lock, other;
    const char *word;
    cora_future until; /* null: it does not wait with the lock held */
};

#define TAKER(self) cora_locals(self, struct taker)

static cora_next took(cora_coro self)
{
    struct taker *taker = TAKER(self);
    bool failed = !cora_is_nothing(cora_caught(self));
    note_end(taker->notes, taker->word, failed ? cora_caught(self) : cora_got(self));
    return failed ? cora_raise(self, cora_caught(self)) : cora_return(self, cora_got(self));
}

static cora_next take(cora_coro self)
{
    return cora_try(self, cora_lock_acquire(TAKER(self)->lock), took);
}

/* Begins to take a lock. The future is kept: until the loop is closed it can be read. */
static cora_future begin(enum style style, cora_loop loop, cora_lock lock, struct notes *notes,
                         const char *word)
{
    if (style == CALLBACKS)
        return cora_keep(
            cora_when_done(cora_lock_acquire(lock), cora_partial(note_ended, notes, word)));
    return cora_create_task(
        loop, cora_coroutine(take, struct taker, .notes = notes, .lock = lock, .word = word));
}

/* Three that wait for a held lock: a, b, c. */
struct three {
    cora_loop loop;
    cora_lock lock;
    struct notes notes;
    cora_future a, b, c;
};

static void three_wait(struct three *three, enum style style)
{
    *three = (struct three){ .loop = current_loop_new() };
    three->lock = held_new(three->loop);
    three->a = begin(style, three->loop, three->lock, &three->notes, "a");
    three->b = begin(style, three->loop, three->lock, &three->notes, "b");
    three->c = begin(style, three->loop, three->lock, &three->notes, "c");
    tick(three->loop);
    CHECK_TEXT(lock_text(three->lock), "<Lock [locked, waiters:3]>");
}

/* ---- taken and given back ---- */

struct jar {
    cora_lock lid;
    int spoons, most;
    struct notes notes;
};

static void on_eaten(cora_args bound)
{
    struct jar *jar = cora_arg(bound, 0, struct jar *);
    jar->spoons--;
    CHECK_INT(cora_lock_release(jar->lid), 0);
}

static void on_held(cora_args bound, cora_future done)
{
    struct jar *jar = cora_arg(bound, 0, struct jar *);
    CHECK(cora_equal(cora_result(done), cora_int(true)));
    add_note(&jar->notes, cora_arg_text(bound, 1));
    if (++jar->spoons > jar->most)
        jar->most = jar->spoons;
    cora_call_later(cora_running_loop(), 1, cora_partial(on_eaten, jar));
}

TEST(one_at_a_time, "callbacks take the lock in turn: one at a time, in the order of coming")
{
    cora_loop loop = current_loop_new();
    struct jar jar = { .lid = cora_lock_new(loop) };
    cora_when_done(cora_lock_acquire(jar.lid), cora_partial(on_held, &jar, "a"));
    cora_when_done(cora_lock_acquire(jar.lid), cora_partial(on_held, &jar, "b"));
    cora_when_done(cora_lock_acquire(jar.lid), cora_partial(on_held, &jar, "c"));
    run_for(loop, 2.5);
    CHECK_TEXT(jar.notes.text, "a b c");
    CHECK_INT(jar.most, 1);
    run_for(loop, 1);
    CHECK(!cora_lock_locked(jar.lid));
    CHECK_INT(cora_live(loop), 1);
    CHECK_INT(cora_lock_close(jar.lid), 0);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

TEST(taken_at_once,
     "a lock that is free is taken in the very call, and the callback runs next tick")
{
    cora_loop loop = current_loop_new();
    cora_lock lock = cora_lock_new(loop);
    struct notes notes = { "" };
    CHECK(!cora_lock_locked(lock));
    cora_when_done(cora_lock_acquire(lock), cora_partial(note_ended, &notes, "a"));
    CHECK(cora_lock_locked(lock));
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "a");
    current_loop_end(loop);
}

static cora_next took_at_once(cora_coro self)
{
    CHECK(cora_equal(cora_got(self), cora_int(true)));
    add_note(TAKER(self)->notes, "taken");
    CHECK_INT(cora_lock_release(TAKER(self)->lock), 0);
    return cora_return_nothing(self);
}

static cora_next take_at_once(cora_coro self)
{
    cora_call_soon(cora_running_loop(), cora_partial(note, TAKER(self)->notes, "next tick"));
    return cora_await(self, cora_lock_acquire(TAKER(self)->lock), took_at_once);
}

TEST(without_a_tick, "a step that awaits a free lock goes on in the same tick, with true")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_lock lock = cora_lock_new(loop);
    cora_run_until_complete(
        loop, cora_coroutine(take_at_once, struct taker, .notes = &notes, .lock = lock));
    CHECK_TEXT(notes.text, "taken next tick");
    end(loop);
}

TEST(release_no_waiters, "a lock that is released with nobody waiting is free at once",
     "test_locks.LockTests.test_release_no_waiters")
{
    cora_loop loop = current_loop_new();
    cora_lock lock = held_new(loop);
    CHECK(cora_lock_locked(lock));
    CHECK_INT(cora_lock_release(lock), 0);
    CHECK(!cora_lock_locked(lock));
    current_loop_end(loop);
}

TEST(release_not_acquired, "to release a lock that nobody holds is a RuntimeError",
     "test_locks.LockTests.test_release_not_acquired")
{
    cora_loop loop = current_loop_new();
    cora_lock lock = cora_lock_new(loop);
    CHECK_INT(cora_lock_release(lock), CORA_ERUNTIME);
    CHECK(strstr(cora_error_message(cora_last_error()), "Lock is not acquired. (lock made in ") ==
          cora_error_message(cora_last_error()));
    CHECK(!cora_lock_locked(lock));
    current_loop_end(loop);
}

TEST(repr, "a lock prints whether it is held, and how many wait", "test_locks.LockTests.test_repr")
{
    cora_loop loop = current_loop_new();
    cora_lock lock = cora_lock_new(loop);
    struct notes notes = { "" };
    CHECK_TEXT(lock_text(lock), "<Lock [unlocked]>");
    begin(CALLBACKS, loop, lock, &notes, "a");
    CHECK_TEXT(lock_text(lock), "<Lock [locked]>");
    begin(CALLBACKS, loop, lock, &notes, "b");
    CHECK_TEXT(lock_text(lock), "<Lock [locked, waiters:1]>");
    begin(CALLBACKS, loop, lock, &notes, "c");
    CHECK_TEXT(lock_text(lock), "<Lock [locked, waiters:2]>");
    cora_lock_release(lock);
    CHECK_TEXT(lock_text(lock), "<Lock [unlocked, waiters:2]>");
    current_loop_end(loop);
}

TEST(print_is_cut, "a lock's text is cut to the buffer's size, and its whole length told")
{
    cora_loop loop = current_loop_new();
    cora_lock lock = cora_lock_new(loop);
    char text[6];
    CHECK_INT(cora_lock_print(lock, text, sizeof text), strlen("<Lock [unlocked]>"));
    CHECK_TEXT(text, "<Lock");
    CHECK_INT(cora_lock_print(lock, NULL, 0), strlen("<Lock [unlocked]>"));
    current_loop_end(loop);
}

TEST(acquire, "each release lets one in, the next tick, in the order of coming",
     "test_locks.LockTests.test_acquire")
{
    cora_loop loop = current_loop_new();
    cora_lock lock = held_new(loop);
    struct notes notes = { "" };
    cora_future one = begin(TASKS, loop, lock, &notes, "1");
    cora_future two = begin(TASKS, loop, lock, &notes, "2");
    tick(loop);
    CHECK_TEXT(notes.text, "");
    cora_lock_release(lock);
    tick(loop);
    CHECK_TEXT(notes.text, "1");
    tick(loop);
    CHECK_TEXT(notes.text, "1");
    cora_future three = begin(TASKS, loop, lock, &notes, "3");
    cora_lock_release(lock);
    tick(loop);
    CHECK_TEXT(notes.text, "1 2");
    cora_lock_release(lock);
    tick(loop);
    CHECK_TEXT(notes.text, "1 2 3");
    CHECK(cora_equal(cora_result(one), cora_int(true)));
    CHECK(cora_equal(cora_result(two), cora_int(true)));
    CHECK(cora_equal(cora_result(three), cora_int(true)));
    current_loop_end(loop);
}

TEST(no_owner, "who did not take the lock may release it, and it is not re-entrant")
{
    cora_loop loop = current_loop_new();
    cora_lock lock = cora_lock_new(loop);
    struct notes notes = { "" };
    begin(TASKS, loop, lock, &notes, "a");
    tick(loop);
    begin(TASKS, loop, lock, &notes, "again");
    ticks(loop, 3);
    CHECK_TEXT(notes.text, "a");
    CHECK_INT(cora_lock_release(lock), 0);
    tick(loop);
    CHECK_TEXT(notes.text, "a again");
    current_loop_end(loop);
}

TEST(ready_made, "taking a lock may be given to whatever takes operations: task, gather, run")
{
    cora_loop loop = current_loop_new();
    cora_lock locks[2] = { cora_lock_new(loop), cora_lock_new(loop) };
    cora_awaitable both[2] = { cora_lock_acquire(locks[0]), cora_lock_acquire(locks[1]) };
    cora_value taken = cora_run_until_complete(loop, cora_gather(loop, both, 2));
    CHECK_INT(cora_list_size(taken), 2);
    CHECK(cora_equal(cora_list_at(taken, 1), cora_int(true)));
    CHECK(cora_lock_locked(locks[0]) && cora_lock_locked(locks[1]));
    cora_lock_release(locks[0]);
    CHECK(cora_equal(cora_run_until_complete(loop, cora_lock_acquire(locks[0])), cora_int(true)));
    cora_future task = cora_create_task(loop, cora_lock_acquire(locks[1]));
    cora_lock_release(locks[1]);
    CHECK(cora_equal(cora_run_until_complete(loop, task), cora_int(true)));
    current_loop_end(loop);
}

TEST(does_nothing_yet, "the operation does nothing before it is started")
{
    cora_loop loop = current_loop_new();
    cora_lock lock = cora_lock_new(loop);
    cora_awaitable acquire = cora_lock_acquire(lock);
    CHECK(!cora_lock_locked(lock));
    CHECK_INT(cora_live(loop), 1);
    cora_lock_close(lock);
    cora_future late = cora_keep(cora_when_done(acquire, cora_partial(nothing_done)));
    tick(loop);
    CHECK(is_error(late, CORA_ESTALE));
    current_loop_end(loop);
}

TEST(starts_a_tick_later,
     "cora_ensure_future takes the lock in the next tick; cancelled before, never")
{
    cora_loop loop = current_loop_new();
    cora_lock lock = cora_lock_new(loop);
    cora_future one = cora_ensure_future(loop, cora_lock_acquire(lock));
    cora_future other = cora_ensure_future(loop, cora_lock_acquire(lock));
    CHECK(!cora_lock_locked(lock));
    CHECK(cora_cancel(one));
    tick(loop);
    CHECK(cora_cancelled(one));
    CHECK(cora_done(other));
    CHECK(cora_lock_locked(lock));
    current_loop_end(loop);
}

TEST(cancelled_too_late, "a future that has the lock cannot be cancelled any more")
{
    cora_loop loop = current_loop_new();
    cora_lock lock = cora_lock_new(loop);
    struct notes notes = { "" };
    cora_future future = begin(CALLBACKS, loop, lock, &notes, "a");
    CHECK(!cora_cancel(future));
    tick(loop);
    CHECK_TEXT(notes.text, "a");
    CHECK(cora_lock_locked(lock));
    current_loop_end(loop);
}

BOTH(never_begun, "who is cancelled while waiting does not take the lock, and the others move up")
{
    struct three three;
    three_wait(&three, style);
    CHECK(cora_cancel(three.b));
    CHECK_TEXT(three.notes.text, "");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "b:CancelledError");
    CHECK_TEXT(lock_text(three.lock), "<Lock [locked, waiters:2]>");
    CHECK(cora_cancelled(three.b));
    for (int i = 0; i < 2; i++) {
        cora_lock_release(three.lock);
        tick(three.loop);
    }
    CHECK_TEXT(three.notes.text, "b:CancelledError a c");
    end_silently(three.loop);
}

TEST(cancel_message, "who is cancelled with a message ends with it")
{
    struct three three;
    three_wait(&three, CALLBACKS);
    cora_cancel_with(three.a, "supper");
    tick(three.loop);
    CHECK_TEXT(outcome(three.a), "CancelledError: supper");
    end_silently(three.loop);
}

/* ---- the gap ---- */

BOTH(reads_unlocked, "between the release and the run of who is woken the lock reads unlocked")
{
    struct three three;
    three_wait(&three, style);
    CHECK_INT(cora_lock_release(three.lock), 0);
    CHECK(!cora_lock_locked(three.lock));
    CHECK_TEXT(lock_text(three.lock), "<Lock [unlocked, waiters:3]>");
    tick(three.loop);
    CHECK_TEXT(lock_text(three.lock), "<Lock [locked, waiters:2]>");
    CHECK_TEXT(three.notes.text, "a");
    end_silently(three.loop);
}

BOTH(released_in_gap, "a second release in the gap is a RuntimeError, and lets nobody else in")
{
    struct three three;
    three_wait(&three, style);
    CHECK_INT(cora_lock_release(three.lock), 0);
    CHECK_INT(cora_lock_release(three.lock), CORA_ERUNTIME);
    ticks(three.loop, 3);
    CHECK_TEXT(three.notes.text, "a");
    end_silently(three.loop);
}

BOTH(newcomer_in_gap, "in the gap a newcomer finds an unlocked lock, and queues all the same")
{
    struct three three;
    three_wait(&three, style);
    cora_future newcomer = begin(style, three.loop, three.lock, &three.notes, "d");
    cora_lock_release(three.lock);
    begin(style, three.loop, three.lock, &three.notes, "e");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a");
    CHECK(!cora_done(newcomer));
    for (int i = 0; i < 4; i++) {
        cora_lock_release(three.lock);
        tick(three.loop);
    }
    CHECK_TEXT(three.notes.text, "a b c d e");
    end_silently(three.loop);
}

BOTH(cancelled_in_gap, "who was woken and is cancelled before running passes the lock on")
{
    struct three three;
    three_wait(&three, style);
    cora_lock_release(three.lock);
    CHECK(cora_cancel(three.a));
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError");
    CHECK(!cora_lock_locked(three.lock));
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError b");
    CHECK_TEXT(lock_text(three.lock), "<Lock [locked, waiters:1]>");
    end_silently(three.loop);
}

BOTH(cancelled_then_released, "who is cancelled and would be woken in the same turn passes it on")
{
    struct three three;
    three_wait(&three, style);
    CHECK(cora_cancel(three.a));
    CHECK_INT(cora_lock_release(three.lock), 0);
    ticks(three.loop, 2);
    CHECK_TEXT(three.notes.text, "a:CancelledError b");
    end_silently(three.loop);
}

BOTH(two_cancelled_in_gap, "also when the one it is passed on to was cancelled in the same turn")
{
    struct three three;
    three_wait(&three, style);
    cora_lock_release(three.lock);
    cora_cancel(three.b);
    cora_cancel(three.a);
    ticks(three.loop, 2);
    CHECK(cora_cancelled(three.a) && cora_cancelled(three.b));
    CHECK(!cora_cancelled(three.c) && cora_lock_locked(three.lock));
    CHECK(strstr(three.notes.text, " c") != NULL);
    end_silently(three.loop);
}

BOTH(passed_on_and_cancelled, "each one that is passed the lock may be cancelled in turn")
{
    struct three three;
    three_wait(&three, style);
    cora_lock_release(three.lock);
    cora_cancel(three.a);
    tick(three.loop);
    cora_cancel(three.b);
    tick(three.loop);
    cora_cancel(three.c);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError b:CancelledError c:CancelledError");
    CHECK_TEXT(lock_text(three.lock), "<Lock [unlocked]>");
    end_silently(three.loop);
}

BOTH(all_cancelled, "a lock whose waiting ones are all cancelled is free for a newcomer at once")
{
    struct three three;
    three_wait(&three, style);
    cora_cancel(three.a);
    cora_cancel(three.b);
    cora_cancel(three.c);
    cora_lock_release(three.lock);
    cora_when_done(cora_lock_acquire(three.lock), cora_partial(note_ended, &three.notes, "d"));
    CHECK(cora_lock_locked(three.lock));
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:CancelledError b:CancelledError c:CancelledError d");
    CHECK_TEXT(lock_text(three.lock), "<Lock [locked]>");
    end_silently(three.loop);
}

BOTH(woken_is_not_cancelled, "who was woken first and cancelled then still counts: newcomers queue")
{
    struct three three;
    three_wait(&three, style);
    cora_cancel(three.b);
    cora_cancel(three.c);
    cora_lock_release(three.lock);
    cora_cancel(three.a);
    begin(CALLBACKS, three.loop, three.lock, &three.notes, "d");
    CHECK(!cora_lock_locked(three.lock));
    ticks(three.loop, 2);
    CHECK(cora_cancelled(three.a));
    CHECK(cora_lock_locked(three.lock));
    CHECK(strstr(three.notes.text, " d") != NULL);
    end_silently(three.loop);
}

TEST(uncancelled_in_gap, "a task whose cancel is taken back in the gap has the lock")
{
    struct three three;
    three_wait(&three, TASKS);
    cora_lock_release(three.lock);
    cora_cancel(three.a);
    CHECK_INT(cora_uncancel(three.a), 0);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a");
    CHECK(cora_lock_locked(three.lock));
    end_silently(three.loop);
}

TEST(uncancelled_too_late, "a task that was cancelled before it was woken is, also if taken back")
{
    struct three three;
    three_wait(&three, TASKS);
    cora_cancel(three.a);
    CHECK_INT(cora_uncancel(three.a), 0);
    cora_lock_release(three.lock);
    ticks(three.loop, 2);
    CHECK_TEXT(three.notes.text, "a:CancelledError b");
    end_silently(three.loop);
}

TEST(cancelled_twice_in_gap, "who is cancelled twice in the gap passes the lock on once")
{
    struct three three;
    three_wait(&three, TASKS);
    cora_lock_release(three.lock);
    CHECK(cora_cancel(three.a));
    CHECK(cora_cancel(three.a));
    ticks(three.loop, 3);
    CHECK_TEXT(three.notes.text, "a:CancelledError b");
    end_silently(three.loop);
}

TEST(gather_in_gap, "a gather that is cancelled in the gap passes the lock on")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_lock lock = held_new(loop);
    cora_awaitable acquire = cora_lock_acquire(lock);
    cora_future all = cora_gather(loop, &acquire, 1);
    tick(loop);
    begin(CALLBACKS, loop, lock, &notes, "b");
    cora_lock_release(lock);
    CHECK(cora_cancel(all));
    ticks(loop, 3);
    CHECK(is_error(all, CORA_ECANCELLED));
    CHECK_TEXT(notes.text, "b");
    current_loop_end(loop);
}

static void release_and_take(cora_args bound, cora_future done)
{
    struct jar *jar = cora_arg(bound, 0, struct jar *);
    CHECK(cora_done(done));
    CHECK_INT(cora_lock_release(jar->lid), 0);
    cora_when_done(cora_lock_acquire(jar->lid), cora_partial(note_ended, &jar->notes, "again"));
}

TEST(released_in_callback, "who releases in a callback and takes it again comes after who waits")
{
    cora_loop loop = current_loop_new();
    struct jar jar = { .lid = cora_lock_new(loop) };
    cora_when_done(cora_lock_acquire(jar.lid), cora_partial(release_and_take, &jar));
    begin(CALLBACKS, loop, jar.lid, &jar.notes, "other");
    tick(loop);
    CHECK_TEXT(jar.notes.text, "");
    tick(loop);
    CHECK_TEXT(jar.notes.text, "other");
    cora_lock_release(jar.lid);
    tick(loop);
    CHECK_TEXT(jar.notes.text, "other again");
    current_loop_end(loop);
}

static cora_next let_go(cora_coro self)
{
    return cora_return_nothing(self);
}

static cora_next hold_until(cora_coro self)
{
    struct taker *taker = TAKER(self);
    add_note(taker->notes, taker->word);
    if (cora_is_null(taker->until))
        return let_go(self);
    return cora_await(self, taker->until, let_go);
}

/* async with lock: await until */
static cora_next lock_it(cora_coro self)
{
    return cora_with(self, cora_lock_acquire(TAKER(self)->lock), hold_until);
}

static cora_future task_with(cora_loop loop, cora_lock lock, struct notes *notes, const char *word,
                             cora_future until)
{
    return cora_create_task(loop, cora_coroutine(lock_it, struct taker, .notes = notes,
                                                 .lock = lock, .word = word, .until = until));
}

TEST(cancel_race, "a release skips a waiting one that was cancelled in the same turn",
     "test_locks.LockTests.test_cancel_race")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_lock lock = cora_lock_new(loop);
    cora_future until = cora_future_new(loop);
    cora_future a = task_with(loop, lock, &notes, "a", until);
    tick(loop);
    CHECK(cora_lock_locked(lock));
    cora_future b = task_with(loop, lock, &notes, "b", (cora_future){ 0 });
    tick(loop);
    CHECK_TEXT(lock_text(lock), "<Lock [locked, waiters:1]>");
    cora_future c = task_with(loop, lock, &notes, "c", (cora_future){ 0 });
    tick(loop);
    CHECK_TEXT(lock_text(lock), "<Lock [locked, waiters:2]>");
    cora_set_result(until, cora_nothing());
    cora_cancel(b);
    tick(loop);
    CHECK(!cora_lock_locked(lock));
    CHECK(cora_done(a));
    CHECK(cora_cancelled(b));
    cora_run_until_complete(loop, c);
    CHECK_TEXT(notes.text, "a c");
    CHECK(cora_is_nothing(cora_exception(a)) && cora_is_nothing(cora_exception(c)));
    cora_set_current_loop((cora_loop){ 0 });
    end(loop);
}

static void cancel_and_release(cora_args bound)
{
    struct three *three = cora_arg(bound, 0, struct three *);
    CHECK(cora_cancel(three->a));
    CHECK_INT(cora_lock_release(three->lock), 0);
}

BOTH(cancel_release_race, "of two that wait behind a cancelled one a release lets in the next only",
     "test_locks.LockTests.test_cancel_release_race")
{
    struct three three;
    three_wait(&three, style);
    cora_call_soon(three.loop, cora_partial(cancel_and_release, &three));
    ticks(three.loop, 5);
    CHECK_TEXT(three.notes.text, "a:CancelledError b");
    CHECK(cora_cancelled(three.a) && cora_done(three.b) && !cora_done(three.c));
    cora_cancel(three.c);
    tick(three.loop);
    CHECK(cora_cancelled(three.c));
    CHECK(cora_lock_locked(three.lock));
    end_silently(three.loop);
}

TEST(finished_waiter_cancelled,
     "a wake-up is not lost when the first was cancelled in the same turn",
     "test_locks.LockTests.test_finished_waiter_cancelled")
{
    cora_loop loop = current_loop_new();
    cora_lock lock = held_new(loop);
    cora_future b = cora_create_task(loop, cora_lock_acquire(lock));
    tick(loop);
    CHECK_TEXT(lock_text(lock), "<Lock [locked, waiters:1]>");
    cora_future c = cora_create_task(loop, cora_lock_acquire(lock));
    cora_cancel(b);
    cora_lock_release(lock);
    tick(loop);
    CHECK(cora_lock_locked(lock));
    CHECK(cora_cancelled(b));
    CHECK(cora_equal(cora_run_until_complete(loop, c), cora_int(true)));
    current_loop_end(loop);
}

/* ---- held for a part of a coroutine ---- */

TEST(with_returns, "cora_with holds the lock inside, and gives it back when the coroutine returns",
     "test_locks.LockTests.test_context_manager")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_lock lock = cora_lock_new(loop);
    cora_future until = cora_future_new(loop);
    cora_future task = task_with(loop, lock, &notes, "in", until);
    ticks(loop, 3);
    CHECK(cora_lock_locked(lock));
    cora_set_result(until, cora_nothing());
    tick(loop);
    CHECK(cora_done(task));
    CHECK(!cora_lock_locked(lock));
    CHECK_TEXT(notes.text, "in");
    end(loop);
}

TEST(with_raises, "the lock is free when the coroutine has raised, and the error goes on",
     "test_locks.LockTests.test_context_manager")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_lock lock = cora_lock_new(loop);
    cora_future until = cora_future_new(loop);
    cora_future task = task_with(loop, lock, &notes, "in", until);
    tick(loop);
    cora_set_exception(until, spilled());
    tick(loop);
    CHECK_TEXT(outcome(task), "ValueError: spilled");
    CHECK(!cora_lock_locked(lock));
    end(loop);
}

TEST(with_cancelled, "the lock is free when the coroutine was cancelled inside")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_lock lock = cora_lock_new(loop);
    cora_future task = task_with(loop, lock, &notes, "in", cora_future_new(loop));
    tick(loop);
    cora_cancel(task);
    CHECK(cora_lock_locked(lock));
    tick(loop);
    CHECK(cora_cancelled(task));
    CHECK(!cora_lock_locked(lock));
    end(loop);
}

TEST(with_lets_in, "leaving the lock wakes who waits")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_lock lock = cora_lock_new(loop);
    cora_future until = cora_future_new(loop);
    task_with(loop, lock, &notes, "a", until);
    task_with(loop, lock, &notes, "b", (cora_future){ 0 });
    task_with(loop, lock, &notes, "c", (cora_future){ 0 });
    ticks(loop, 3);
    cora_set_result(until, cora_nothing());
    tick(loop);
    CHECK_TEXT(notes.text, "a");
    tick(loop);
    CHECK_TEXT(notes.text, "a b");
    tick(loop);
    CHECK_TEXT(notes.text, "a b c");
    CHECK(!cora_lock_locked(lock));
    end(loop);
}

TEST(with_cancelled_before, "who is cancelled while waiting for the lock does not give it back")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_lock lock = held_new(loop);
    cora_future task = task_with(loop, lock, &notes, "in", (cora_future){ 0 });
    tick(loop);
    cora_cancel(task);
    tick(loop);
    CHECK(cora_cancelled(task));
    CHECK(cora_lock_locked(lock));
    CHECK_TEXT(notes.text, "");
    cora_set_current_loop((cora_loop){ 0 });
    end(loop);
}

TEST(with_cancelled_in_gap, "who is cancelled in the gap does not run inside, and passes it on")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_lock lock = held_new(loop);
    cora_future one = task_with(loop, lock, &notes, "one", (cora_future){ 0 });
    task_with(loop, lock, &notes, "other", cora_future_new(loop));
    tick(loop);
    cora_lock_release(lock);
    cora_cancel(one);
    ticks(loop, 2);
    CHECK(cora_cancelled(one));
    CHECK_TEXT(notes.text, "other");
    CHECK(cora_lock_locked(lock));
    struct reports reports;
    collect_reports(loop, &reports);
    cora_set_current_loop((cora_loop){ 0 });
    end(loop);
}

TEST(with_closed_by_hand, "the lock is free when the coroutine was closed inside")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_lock lock = cora_lock_new(loop);
    cora_coro coro = cora_coroutine(lock_it, struct taker, .notes = &notes, .lock = lock,
                                    .word = "in", .until = cora_future_new(loop));
    CHECK_INT(cora_send(coro, cora_nothing(), NULL), 1);
    CHECK(cora_lock_locked(lock));
    CHECK_INT(cora_coro_close(coro), 0);
    CHECK(!cora_lock_locked(lock));
    cora_set_current_loop((cora_loop){ 0 });
    end(loop);
}

TEST(with_loop_closed, "the lock, of another loop, is free when the coroutine's loop was closed")
{
    cora_loop other = virtual_loop_new(), loop = cora_loop_new(NULL);
    struct notes notes = { "" };
    struct reports reports;
    cora_lock lock = cora_lock_new(other);
    collect_reports(loop, &reports);
    task_with(loop, lock, &notes, "in", cora_future_new(loop));
    tick(loop);
    CHECK(cora_lock_locked(lock));
    cora_loop_close(loop);
    CHECK(!cora_lock_locked(lock));
    end(other);
}

TEST(with_own_loop_closed, "a loop may be closed while a lock of its own is held and waited for")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    struct reports reports;
    cora_lock lock = cora_lock_new(loop);
    collect_reports(loop, &reports);
    task_with(loop, lock, &notes, "in", cora_future_new(loop));
    task_with(loop, lock, &notes, "waits", (cora_future){ 0 });
    tick(loop);
    CHECK_TEXT(lock_text(lock), "<Lock [locked, waiters:1]>");
    end(loop);
    CHECK_TEXT(notes.text, "in");
    CHECK(!cora_lock_locked(lock));
}

TEST(with_released_inside, "who has released the lock inside ends with the RuntimeError of leaving")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_lock lock = cora_lock_new(loop);
    cora_future until = cora_future_new(loop);
    cora_future task = task_with(loop, lock, &notes, "in", until);
    tick(loop);
    cora_lock_release(lock);
    cora_set_exception(until, spilled());
    tick(loop);
    CHECK(is_error(task, CORA_ERUNTIME));
    end(loop);
}

TEST(with_closed_inside, "of a lock that was closed inside there is nothing to leave: the outcome "
                         "goes on")
{
    cora_loop loop = virtual_loop_new();
    for (int failing = 0; failing < 2; failing++) {
        struct notes notes = { "" };
        cora_lock lock = cora_lock_new(loop);
        cora_future until = cora_future_new(loop);
        cora_future task = task_with(loop, lock, &notes, "in", until);
        tick(loop);
        cora_lock_close(lock);
        if (failing)
            cora_set_exception(until, spilled());
        else
            cora_set_result(until, cora_nothing());
        tick(loop);
        CHECK(cora_done(task));
        CHECK_TEXT(failing ? outcome(task) : "", failing ? "ValueError: spilled" : "");
        CHECK(failing || cora_is_nothing(cora_exception(task)));
    }
    end(loop);
}

TEST(with_stale, "cora_with on a stale lock ends the coroutine; the step does not run")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_lock lock = cora_lock_new(loop);
    cora_lock_close(lock);
    cora_future task = task_with(loop, lock, &notes, "in", (cora_future){ 0 });
    tick(loop);
    CHECK(is_error(task, CORA_ESTALE));
    CHECK_TEXT(notes.text, "");
    end(loop);
}

/* Notes which of the two locks are held. */
static cora_next note_locks(cora_coro self)
{
    struct taker *taker = TAKER(self);
    bool lock = cora_lock_locked(taker->lock), other = cora_lock_locked(taker->other);
    add_note(taker->notes, lock && other ? "both" : lock ? "first" : other ? "second" : "none");
    return cora_go_on(self);
}

static cora_next with_both(cora_coro self)
{
    cora_finally(self, note_locks);
    return cora_await(self, TAKER(self)->until, cora_return_got);
}

static cora_next with_first(cora_coro self)
{
    cora_finally(self, note_locks);
    return cora_with(self, cora_lock_acquire(TAKER(self)->other), with_both);
}

static cora_next with_two(cora_coro self)
{
    cora_finally(self, note_locks);
    return cora_with(self, cora_lock_acquire(TAKER(self)->lock), with_first);
}

TEST(with_in_turn, "what is entered last is left first, in turn with the steps of cora_finally")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future until = cora_future_new(loop);
    cora_future task = cora_create_task(
        loop, cora_coroutine(with_two, struct taker, .notes = &notes, .until = until,
                             .lock = cora_lock_new(loop), .other = cora_lock_new(loop)));
    tick(loop);
    CHECK_TEXT(notes.text, "");
    cora_set_result(until, cora_int(7));
    tick(loop);
    CHECK_TEXT(notes.text, "both first none");
    CHECK_TEXT(outcome(task), "7");
    end(loop);
}

TEST(with_second_cancelled, "cancelled while waiting for the second lock, the first is given back")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_lock lock = cora_lock_new(loop), other = held_new(loop);
    cora_future task =
        cora_create_task(loop, cora_coroutine(with_two, struct taker, .notes = &notes, .lock = lock,
                                              .other = other, .until = cora_future_new(loop)));
    tick(loop);
    CHECK(cora_lock_locked(lock));
    cora_cancel(task);
    tick(loop);
    CHECK(cora_cancelled(task));
    CHECK_TEXT(notes.text, "both second");
    CHECK(!cora_lock_locked(lock) && cora_lock_locked(other));
    cora_set_current_loop((cora_loop){ 0 });
    end(loop);
}

static cora_next after_inner(cora_coro self)
{
    struct taker *taker = TAKER(self);
    add_note(taker->notes, cora_lock_locked(taker->lock) ? "held" : "free");
    return cora_return_nothing(self);
}

static cora_next call_inner(cora_coro self)
{
    struct taker *taker = TAKER(self);
    return cora_try(self,
                    cora_coroutine(lock_it, struct taker, .notes = taker->notes,
                                   .lock = taker->lock, .word = "in", .until = taker->until),
                    after_inner);
}

TEST(with_inner, "a coroutine that is awaited gives its lock back before who awaits it goes on")
{
    cora_loop loop = virtual_loop_new();
    for (int failing = 0; failing < 2; failing++) {
        struct notes notes = { "" };
        cora_lock lock = cora_lock_new(loop);
        cora_future until = cora_future_new(loop);
        cora_future task =
            cora_create_task(loop, cora_coroutine(call_inner, struct taker, .notes = &notes,
                                                  .lock = lock, .until = until));
        tick(loop);
        CHECK(cora_lock_locked(lock));
        if (failing)
            cora_set_exception(until, spilled());
        else
            cora_set_result(until, cora_nothing());
        tick(loop);
        CHECK(cora_done(task));
        CHECK_TEXT(notes.text, "in free");
    }
    end(loop);
}

/* ---- closed ---- */

BOTH(closed, "those that wait for a lock that is closed end with a StaleHandle error, a tick later")
{
    struct three three;
    three_wait(&three, style);
    CHECK_INT(cora_lock_close(three.lock), 0);
    CHECK_TEXT(three.notes.text, "");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:StaleHandle b:StaleHandle c:StaleHandle");
    CHECK(is_error(three.a, CORA_ESTALE));
    CHECK(says(cora_exception(three.a), "lock"));
    cora_exception(three.b), cora_exception(three.c);
    end_silently(three.loop);
}

BOTH(closed_in_gap, "also who was woken already does not take a lock that is closed")
{
    struct three three;
    three_wait(&three, style);
    cora_lock_release(three.lock);
    cora_lock_close(three.lock);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:StaleHandle b:StaleHandle c:StaleHandle");
    cora_exception(three.a), cora_exception(three.b), cora_exception(three.c);
    end_silently(three.loop);
}

BOTH(closed_and_cancelled, "who is cancelled in the turn in which the lock is closed is cancelled")
{
    struct three three;
    three_wait(&three, style);
    cora_cancel(three.a);
    cora_lock_close(three.lock);
    CHECK(cora_cancel(three.b));
    tick(three.loop);
    CHECK(cora_cancelled(three.a));
    CHECK(cora_cancelled(three.b));
    CHECK(is_error(three.c, CORA_ESTALE));
    end_silently(three.loop);
}

BOTH(closed_when_passing_on, "a lock that is closed while it is being passed on does no harm")
{
    struct three three;
    three_wait(&three, style);
    cora_lock_release(three.lock);
    cora_cancel(three.a);
    cora_lock_close(three.lock);
    ticks(three.loop, 2);
    CHECK_TEXT(three.notes.text, "a:CancelledError b:StaleHandle c:StaleHandle");
    cora_exception(three.b), cora_exception(three.c);
    end_silently(three.loop);
}

static void close_lock(cora_args bound, cora_future done)
{
    (void)done;
    CHECK_INT(cora_lock_close(cora_arg_lock(bound, 0)), 0);
}

TEST(closed_by_a_waiting_one, "who was waiting may close the lock as soon as it has it")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_lock lock = held_new(loop);
    cora_when_done(cora_lock_acquire(lock), cora_partial(close_lock, lock));
    begin(CALLBACKS, loop, lock, &notes, "b");
    cora_lock_release(lock);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "b:StaleHandle");
    current_loop_end(loop);
}

TEST(loop_closed, "a loop that is closed takes those with it that wait for its locks")
{
    struct three three;
    three_wait(&three, CALLBACKS);
    cora_lock_release(three.lock);
    cora_cancel(three.a);
    end_silently(three.loop);
    CHECK_TEXT(three.notes.text, "");
    CHECK_INT(cora_lock_release(three.lock), CORA_ESTALE);
}

TEST(stale, "of a lock that is closed nothing is left but a handle that is stale")
{
    cora_loop loop = current_loop_new();
    cora_lock lock = held_new(loop);
    CHECK_INT(cora_lock_close(lock), 0);
    CHECK_INT(cora_lock_close(lock), 0);
    CHECK_INT(cora_lock_release(lock), CORA_ESTALE);
    CHECK(!cora_lock_locked(lock));
    CHECK(is_error(cora_keep(cora_when_done(cora_lock_acquire(lock), cora_partial(nothing_done))),
                   CORA_ESTALE));
    CHECK(strncmp(lock_text(lock), "<Lock #", 7) == 0);
    for (int i = 0; i < 100; i++)
        CHECK(!cora_same(cora_lock_new(loop), lock));
    CHECK_INT(cora_lock_release(lock), CORA_ESTALE);
    current_loop_end(loop);
}

TEST(null, "a null lock fails what is done with it")
{
    cora_loop loop = current_loop_new();
    cora_lock lock = { 0 };
    CHECK(cora_lock_release(lock) < 0);
    CHECK(!cora_lock_locked(lock));
    CHECK(strstr(lock_text(lock), "Lock") != NULL);
    CHECK(cora_is_error(cora_result(
        cora_keep(cora_when_done(cora_lock_acquire(lock), cora_partial(nothing_done))))));
    current_loop_end(loop);
}

TEST(not_made, "a lock cannot be made in a loop that is closed, or null")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_loop_close(loop);
    CHECK(cora_is_null(cora_lock_new(loop)));
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
    CHECK(cora_is_null(cora_lock_new((cora_loop){ 0 })));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ESTALE);
}

TEST(not_an_event, "a lock's handle is a lock's alone, also when it was passed as a value")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_lock lock = cora_lock_new(loop);
    CHECK(cora_same(cora_as_lock(cora_from(lock)), lock));
    CHECK(cora_is_null(cora_as_event(cora_from(lock))));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
    CHECK_INT(cora_event_set((cora_event){ lock.bits }), CORA_ETYPE);
    CHECK(cora_equal(cora_from(lock), cora_from(lock)));
    CHECK(!cora_equal(cora_from(lock), cora_from(cora_lock_new(loop))));
    cora_loop_close(loop);
}

/* ---- other loops, other threads ---- */

TEST(other_loop, "a lock of another loop is taken if it is free; to wait for it is a RuntimeError")
{
    cora_loop loop = current_loop_new(), other = cora_loop_new(NULL);
    struct notes notes = { "" };
    cora_lock lock = cora_lock_new(loop);
    cora_future one = begin(TASKS, other, lock, &notes, "one");
    tick(other);
    CHECK_TEXT(notes.text, "one");
    CHECK(cora_equal(cora_result(one), cora_int(true)));
    CHECK(cora_lock_locked(lock));
    cora_future two = begin(TASKS, other, lock, &notes, "two");
    tick(other);
    CHECK_TEXT(notes.text, "one two:RuntimeError");
    CHECK(is_error(two, CORA_ERUNTIME));
    CHECK(strstr(outcome(two), "is bound to a different event loop") != NULL);
    CHECK_TEXT(lock_text(lock), "<Lock [locked]>");
    cora_loop_close(other);
    current_loop_end(loop);
}

TEST(other_loop_in_gap, "also in the gap: an unlocked lock that somebody waits for is not free")
{
    cora_loop loop = current_loop_new(), other = cora_loop_new(NULL);
    struct notes notes = { "" };
    cora_lock lock = held_new(loop);
    begin(CALLBACKS, loop, lock, &notes, "a");
    cora_lock_release(lock);
    begin(TASKS, other, lock, &notes, "b");
    tick(other);
    CHECK_TEXT(notes.text, "b:RuntimeError");
    tick(loop);
    CHECK_TEXT(notes.text, "b:RuntimeError a");
    struct reports reports;
    collect_reports(other, &reports);
    cora_loop_close(other);
    current_loop_end(loop);
}

struct stranger {
    cora_lock lock;
    cora_loop loop;
    int release, close, acquire, make;
    bool locked;
};

static void *come_from_elsewhere(void *argument)
{
    struct stranger *stranger = argument;
    cora_loop own = cora_loop_new(NULL);
    stranger->release = cora_lock_release(stranger->lock);
    stranger->close = cora_lock_close(stranger->lock);
    stranger->locked = cora_lock_locked(stranger->lock);
    stranger->acquire =
        cora_error_code(cora_run_until_complete(own, cora_lock_acquire(stranger->lock)));
    if (cora_is_null(cora_lock_new(stranger->loop)))
        stranger->make = cora_error_code(cora_last_error());
    cora_loop_close(own);
    return NULL;
}

TEST(other_thread, "a lock is its loop's thread's alone")
{
    cora_loop loop = current_loop_new();
    struct stranger stranger = { .lock = held_new(loop), .loop = loop };
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, come_from_elsewhere, &stranger), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(stranger.release, CORA_EWRONGTHREAD);
    CHECK_INT(stranger.close, CORA_EWRONGTHREAD);
    CHECK_INT(stranger.acquire, CORA_EWRONGTHREAD);
    CHECK_INT(stranger.make, CORA_EWRONGTHREAD);
    CHECK(!stranger.locked);
    CHECK_TEXT(lock_text(stranger.lock), "<Lock [locked]>");
    current_loop_end(loop);
}

/* ---- many ---- */

#define MANY 10000

static void release_next(cora_args bound, cora_future done)
{
    CHECK(cora_equal(cora_result(done), cora_int(true)));
    int *next = cora_arg(bound, 1, int *);
    CHECK_INT(*next, cora_arg_int(bound, 2));
    ++*next;
    CHECK_INT(cora_lock_release(cora_arg_lock(bound, 0)), 0);
}

TEST(many, "ten thousand take the lock in turn")
{
    cora_loop loop = current_loop_new();
    cora_lock lock = held_new(loop);
    int next = 0;
    for (int i = 0; i < MANY; i++)
        cora_when_done(cora_lock_acquire(lock), cora_partial(release_next, lock, &next, i));
    cora_lock_release(lock);
    ticks(loop, MANY);
    CHECK_INT(next, MANY);
    CHECK(!cora_lock_locked(lock));
    CHECK_INT(cora_live(loop), 1);
    current_loop_end(loop);
}

BOTH(many_cancelled, "of ten thousand that wait all but the last may be cancelled in one turn")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_lock lock = held_new(loop);
    cora_future *futures = malloc(MANY * sizeof *futures);
    CHECK(futures);
    for (int i = 0; i < MANY; i++)
        futures[i] = begin(style, loop, lock, &notes, i < MANY - 1 ? "" : "last");
    tick(loop);
    for (int i = 0; i < MANY - 1; i++)
        CHECK(cora_cancel(futures[i]));
    cora_lock_release(lock);
    ticks(loop, 2);
    CHECK(cora_equal(cora_result(futures[MANY - 1]), cora_int(true)));
    CHECK_TEXT(lock_text(lock), "<Lock [locked]>");
    free(futures);
    cora_set_current_loop((cora_loop){ 0 });
    end(loop);
}

static void count_stale(cora_args bound, cora_future done)
{
    CHECK(is_error(done, CORA_ESTALE));
    ++*cora_arg(bound, 0, int *);
}

TEST(many_closed, "ten thousand that wait for a lock that is closed end with an error")
{
    cora_loop loop = current_loop_new();
    cora_lock lock = held_new(loop);
    int ended = 0;
    for (int i = 0; i < MANY; i++)
        cora_when_done(cora_lock_acquire(lock), cora_partial(count_stale, &ended));
    cora_lock_close(lock);
    CHECK_INT(ended, 0);
    tick(loop);
    CHECK_INT(ended, MANY);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

/* ---- driven by hand ---- */

struct by_hand {
    cora_lock lock;
};

static cora_next take_by_hand(cora_coro self)
{
    return cora_with(self, cora_lock_acquire(cora_locals(self, struct by_hand)->lock),
                     cora_return_nothing);
}

/* A coroutine waits for a lock that is held, and is woken. */
static void take_and_release(cora_args bound)
{
    cora_lock lock = cora_arg_lock(bound, 0);
    cora_coro coro = cora_coroutine(take_by_hand, struct by_hand, .lock = lock);
    cora_when_done(cora_lock_acquire(lock), cora_partial(nothing_done));
    CHECK_INT(cora_send(coro, cora_nothing(), NULL), 1);
    CHECK_INT(cora_lock_release(lock), 0);
    *cora_arg(bound, 1, cora_coro *) = coro;
}

TEST(taken_and_not_sent_to,
     "by hand: what was taken for a coroutine that is closed then is released")
{
    cora_loop loop = virtual_loop_new();
    cora_lock lock = cora_lock_new(loop);
    cora_coro coro = { 0 };
    run_in(loop, cora_partial(take_and_release, lock, &coro));
    ticks(loop, 2);
    CHECK(cora_lock_locked(lock));
    CHECK_INT(cora_coro_close(coro), 0);
    CHECK(!cora_lock_locked(lock));
    cora_lock_close(lock);
    end(loop);
}
