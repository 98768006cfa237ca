/*
 * Events: set, waited for, cleared; the gap between a set and the run of who was woken; events that
 * are closed, of other loops and threads; ten thousand who wait for one.
 *
 * What holds for callbacks and for tasks alike is told once (BOTH) and tested with each.
 */
#include "helpers.h"

#include <pthread.h>

/* ---- helpers ---- */

/* An event as cora_event_print writes it; until the next call. */
static const char *event_text(cora_event event)
{
    static char text[200];
    int length = cora_event_print(event, text, sizeof text);
    CHECK_INT(length, strlen(text));
    return text;
}

/* A coroutine that waits for an event, and tells. */
struct sailor {
    struct notes *notes;
    cora_event event;
    const char *word;
};

#define SAILOR(self) cora_locals(self, struct sailor)

static cora_next waited(cora_coro self)
{
    struct sailor *sailor = SAILOR(self);
    bool failed = !cora_is_nothing(cora_caught(self));
    note_end(sailor->notes, sailor->word, failed ? cora_caught(self) : cora_got(self));
    return failed ? cora_raise(self, cora_caught(self)) : cora_return(self, cora_got(self));
}

static cora_next wait_for_event(cora_coro self)
{
    return cora_try(self, cora_event_wait(SAILOR(self)->event), waited);
}

/* Begins to wait. The future is kept: until the loop is closed it can be read. */
static cora_future begin(enum style style, cora_loop loop, cora_event event, struct notes *notes,
                         const char *word)
{
    if (style == CALLBACKS)
        return cora_keep(
            cora_when_done(cora_event_wait(event), cora_partial(note_ended, notes, word)));
    return cora_create_task(loop, cora_coroutine(wait_for_event, struct sailor, .notes = notes,
                                                 .event = event, .word = word));
}

/* Three that wait for an event: a, b, c. */
struct three {
    cora_loop loop;
    cora_event event;
    struct notes notes;
    cora_future a, b, c;
};

static void three_wait(struct three *three, enum style style)
{
    *three = (struct three){ .loop = current_loop_new() };
    three->event = cora_event_new(three->loop);
    three->a = begin(style, three->loop, three->event, &three->notes, "a");
    three->b = begin(style, three->loop, three->event, &three->notes, "b");
    three->c = begin(style, three->loop, three->event, &three->notes, "c");
    tick(three->loop);
    CHECK_TEXT(event_text(three->event), "<Event [unset, waiters:3]>");
}

/* ---- set and waited for ---- */

struct crew {
    cora_event wind;
    struct notes notes;
};

static void on_wind(cora_args bound, cora_future done)
{
    struct crew *crew = cora_arg(bound, 0, struct crew *);
    CHECK(cora_equal(cora_result(done), cora_int(true)));
    add_note(&crew->notes, cora_arg_text(bound, 1));
}

static void blow(cora_args bound)
{
    CHECK_INT(cora_event_set(cora_arg_event(bound, 0)), 0);
}

TEST(callbacks, "callbacks that wait for an event all run when it is set, in the order of coming")
{
    cora_loop loop = current_loop_new();
    struct crew crew = { .wind = cora_event_new(loop) };
    cora_when_done(cora_event_wait(crew.wind), cora_partial(on_wind, &crew, "jib"));
    cora_when_done(cora_event_wait(crew.wind), cora_partial(on_wind, &crew, "main"));
    cora_call_later(loop, 5, cora_partial(blow, crew.wind));
    run_for(loop, 4.9);
    CHECK_TEXT(crew.notes.text, "");
    run_for(loop, 0.2);
    CHECK_TEXT(crew.notes.text, "jib main");
    CHECK_INT(cora_live(loop), 1);
    CHECK_INT(cora_event_close(crew.wind), 0);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

TEST(repr, "an event prints whether it is set, and how many wait",
     "test_locks.EventTests.test_repr")
{
    cora_loop loop = current_loop_new();
    cora_event event = cora_event_new(loop);
    struct notes notes = { "" };
    CHECK_TEXT(event_text(event), "<Event [unset]>");
    cora_event_set(event);
    CHECK_TEXT(event_text(event), "<Event [set]>");
    cora_event_clear(event);
    begin(CALLBACKS, loop, event, &notes, "a");
    CHECK_TEXT(event_text(event), "<Event [unset, waiters:1]>");
    begin(CALLBACKS, loop, event, &notes, "b");
    CHECK_TEXT(event_text(event), "<Event [unset, waiters:2]>");
    cora_event_set(event);
    CHECK_TEXT(event_text(event), "<Event [set, waiters:2]>");
    current_loop_end(loop);
}

TEST(print_is_cut, "an event's text is cut to the buffer's size, and its whole length told")
{
    cora_loop loop = current_loop_new();
    cora_event event = cora_event_new(loop);
    char text[7];
    CHECK_INT(cora_event_print(event, text, sizeof text), strlen("<Event [unset]>"));
    CHECK_TEXT(text, "<Event");
    CHECK_INT(cora_event_print(event, NULL, 0), strlen("<Event [unset]>"));
    current_loop_end(loop);
}

TEST(wait, "who finds the flag set in its first step goes on before those that were woken",
     "test_locks.EventTests.test_wait")
{
    cora_loop loop = current_loop_new();
    cora_event event = cora_event_new(loop);
    struct notes notes = { "" };
    CHECK(!cora_event_is_set(event));
    cora_future one = begin(TASKS, loop, event, &notes, "1");
    cora_future two = begin(TASKS, loop, event, &notes, "2");
    tick(loop);
    CHECK_TEXT(notes.text, "");
    cora_future three = begin(TASKS, loop, event, &notes, "3");
    cora_event_set(event);
    tick(loop);
    CHECK_TEXT(notes.text, "3 1 2");
    CHECK(cora_done(one) && cora_done(two) && cora_done(three));
    CHECK(cora_is_nothing(cora_exception(one)));
    current_loop_end(loop);
}

TEST(wait_on_set, "to wait for an event that is set ends at once, with true",
     "test_locks.EventTests.test_wait_on_set")
{
    cora_loop loop = current_loop_new();
    cora_event event = cora_event_new(loop);
    cora_event_set(event);
    cora_future future =
        cora_keep(cora_when_done(cora_event_wait(event), cora_partial(nothing_done)));
    CHECK(cora_done(future));
    CHECK(cora_equal(cora_result(future), cora_int(true)));
    CHECK_TEXT(event_text(event), "<Event [set]>");
    current_loop_end(loop);
}

static cora_next wait_at_once(cora_coro self)
{
    cora_call_soon(cora_running_loop(), cora_partial(note, SAILOR(self)->notes, "next tick"));
    return wait_for_event(self);
}

TEST(without_a_tick, "a step that awaits an event that is set goes on in the same tick")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_event event = cora_event_new(loop);
    cora_event_set(event);
    cora_run_until_complete(loop, cora_coroutine(wait_at_once, struct sailor, .notes = &notes,
                                                 .event = event, .word = "on"));
    CHECK_TEXT(notes.text, "on next tick");
    end(loop);
}

static void cancel_future(cora_args bound)
{
    CHECK(cora_cancel(cora_arg_future(bound, 0)));
}

TEST(wait_cancel, "who is cancelled while waiting is, and has left the event",
     "test_locks.EventTests.test_wait_cancel")
{
    cora_loop loop = current_loop_new();
    cora_event event = cora_event_new(loop);
    cora_future wait = cora_create_task(loop, cora_event_wait(event));
    cora_call_soon(loop, cora_partial(cancel_future, wait));
    CHECK(cora_error_is(cora_run_until_complete(loop, wait), CORA_ECANCELLED));
    CHECK_TEXT(event_text(event), "<Event [unset]>");
    current_loop_end(loop);
}

TEST(clear, "an event is unset at first, set by set, and unset by clear",
     "test_locks.EventTests.test_clear")
{
    cora_loop loop = current_loop_new();
    cora_event event = cora_event_new(loop);
    CHECK(!cora_event_is_set(event));
    CHECK_INT(cora_event_set(event), 0);
    CHECK(cora_event_is_set(event));
    CHECK_INT(cora_event_clear(event), 0);
    CHECK(!cora_event_is_set(event));
    current_loop_end(loop);
}

TEST(set_twice, "to set what is set, or to clear what is unset, does nothing")
{
    cora_loop loop = current_loop_new();
    cora_event event = cora_event_new(loop);
    CHECK_INT(cora_event_clear(event), 0);
    CHECK(!cora_event_is_set(event));
    CHECK_INT(cora_event_set(event), 0);
    CHECK_INT(cora_event_set(event), 0);
    CHECK(cora_event_is_set(event));
    current_loop_end(loop);
}

TEST(clear_with_waiters, "set, cleared and set twice in one turn: who waits is woken, and once",
     "test_locks.EventTests.test_clear_with_waiters")
{
    cora_loop loop = current_loop_new();
    cora_event event = cora_event_new(loop);
    struct notes notes = { "" };
    cora_future task = begin(TASKS, loop, event, &notes, "1");
    tick(loop);
    CHECK_TEXT(notes.text, "");
    cora_event_set(event);
    cora_event_clear(event);
    CHECK(!cora_event_is_set(event));
    cora_event_set(event);
    cora_event_set(event);
    CHECK_TEXT(event_text(event), "<Event [set, waiters:1]>");
    tick(loop);
    CHECK_TEXT(notes.text, "1");
    CHECK_TEXT(event_text(event), "<Event [set]>");
    CHECK(cora_done(task));
    CHECK(cora_equal(cora_result(task), cora_int(true)));
    current_loop_end(loop);
}

BOTH(all_go_on, "all that wait go on in the tick after the set, in the order of coming")
{
    struct three three;
    three_wait(&three, style);
    cora_event_set(three.event);
    CHECK_TEXT(three.notes.text, "");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a b c");
    CHECK_TEXT(event_text(three.event), "<Event [set]>");
    end_silently(three.loop);
}

BOTH(used_again, "an event that was cleared is waited for again")
{
    struct three three;
    three_wait(&three, style);
    cora_event_set(three.event);
    tick(three.loop);
    cora_event_clear(three.event);
    begin(style, three.loop, three.event, &three.notes, "d");
    ticks(three.loop, 3);
    CHECK_TEXT(three.notes.text, "a b c");
    cora_event_set(three.event);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a b c d");
    end_silently(three.loop);
}

BOTH(one_cancelled, "who is cancelled while waiting ends so, and the others wait on")
{
    struct three three;
    three_wait(&three, style);
    CHECK(cora_cancel(three.b));
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "b:CancelledError");
    CHECK_TEXT(event_text(three.event), "<Event [unset, waiters:2]>");
    cora_event_set(three.event);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "b:CancelledError a c");
    end_silently(three.loop);
}

TEST(ready_made, "waiting may be given to whatever takes operations: task, gather, run")
{
    cora_loop loop = current_loop_new();
    cora_event events[2] = { cora_event_new(loop), cora_event_new(loop) };
    cora_awaitable both[2] = { cora_event_wait(events[0]), cora_event_wait(events[1]) };
    cora_future all = cora_gather(loop, both, 2);
    cora_call_later(loop, 1, cora_partial(blow, events[1]));
    cora_call_later(loop, 2, cora_partial(blow, events[0]));
    CHECK_INT(cora_list_size(cora_run_until_complete(loop, all)), 2);
    CHECK(cora_equal(cora_run_until_complete(loop, cora_event_wait(events[0])), cora_int(true)));
    current_loop_end(loop);
}

static cora_next with_event(cora_coro self)
{
    return cora_with(self, cora_event_wait(SAILOR(self)->event), wait_for_event);
}

TEST(with, "there is nothing to leave of an event: cora_with is a TypeError")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_event event = cora_event_new(loop);
    cora_future task = cora_create_task(
        loop, cora_coroutine(with_event, struct sailor, .notes = &notes, .event = event));
    tick(loop);
    CHECK(is_error(task, CORA_ETYPE));
    CHECK_TEXT(notes.text, "");
    end(loop);
}

/* ---- the gap ---- */

BOTH(stay_in_queue, "those that were woken leave the event when they run, not before")
{
    struct three three;
    three_wait(&three, style);
    cora_event_set(three.event);
    CHECK_TEXT(event_text(three.event), "<Event [set, waiters:3]>");
    tick(three.loop);
    CHECK_TEXT(event_text(three.event), "<Event [set]>");
    end_silently(three.loop);
}

BOTH(cleared_in_gap, "who was woken goes on with true, also if the event was cleared since")
{
    struct three three;
    three_wait(&three, style);
    cora_event_set(three.event);
    cora_event_clear(three.event);
    begin(style, three.loop, three.event, &three.notes, "d");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a b c");
    CHECK_TEXT(event_text(three.event), "<Event [unset, waiters:1]>");
    end_silently(three.loop);
}

BOTH(cancelled_in_gap, "who was woken and is cancelled before running is cancelled")
{
    struct three three;
    three_wait(&three, style);
    cora_event_set(three.event);
    CHECK(cora_cancel(three.b));
    tick(three.loop);
    CHECK(cora_cancelled(three.b));
    CHECK_TEXT(three.notes.text, "a b:CancelledError c");
    CHECK(cora_event_is_set(three.event));
    CHECK_TEXT(event_text(three.event), "<Event [set]>");
    end_silently(three.loop);
}

BOTH(cancelled_then_set, "who is cancelled and would be woken in the same turn is cancelled")
{
    struct three three;
    three_wait(&three, style);
    CHECK(cora_cancel(three.b));
    cora_event_set(three.event);
    tick(three.loop);
    CHECK(cora_cancelled(three.b));
    CHECK(!cora_cancelled(three.a) && !cora_cancelled(three.c));
    CHECK_TEXT(event_text(three.event), "<Event [set]>");
    end_silently(three.loop);
}

TEST(uncancelled_in_gap, "a task whose cancel is taken back in the gap goes on with true")
{
    struct three three;
    three_wait(&three, TASKS);
    cora_event_set(three.event);
    cora_cancel(three.a);
    CHECK_INT(cora_uncancel(three.a), 0);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a b c");
    end_silently(three.loop);
}

struct squall {
    cora_event event;
    cora_future victim;
    struct notes notes;
};

static void cancel_the_next(cora_args bound, cora_future done)
{
    struct squall *squall = cora_arg(bound, 0, struct squall *);
    CHECK(cora_done(done));
    CHECK(cora_cancel(squall->victim));
    CHECK_INT(cora_event_clear(squall->event), 0);
    cora_when_done(cora_event_wait(squall->event), cora_partial(note_ended, &squall->notes, "new"));
}

TEST(cancelled_by_a_neighbour,
     "the first of those that were woken may cancel the next, in its tick")
{
    cora_loop loop = current_loop_new();
    struct squall squall = { .event = cora_event_new(loop) };
    cora_when_done(cora_event_wait(squall.event), cora_partial(cancel_the_next, &squall));
    squall.victim = begin(CALLBACKS, loop, squall.event, &squall.notes, "victim");
    begin(CALLBACKS, loop, squall.event, &squall.notes, "third");
    cora_event_set(squall.event);
    tick(loop);
    CHECK_TEXT(squall.notes.text, "victim:CancelledError third");
    CHECK_TEXT(event_text(squall.event), "<Event [unset, waiters:1]>");
    current_loop_end(loop);
}

TEST(gather_in_gap, "a gather that is cancelled in the gap is")
{
    cora_loop loop = current_loop_new();
    cora_event event = cora_event_new(loop);
    cora_awaitable wait = cora_event_wait(event);
    cora_future all = cora_gather(loop, &wait, 1);
    tick(loop);
    cora_event_set(event);
    CHECK(cora_cancel(all));
    ticks(loop, 3);
    CHECK(is_error(all, CORA_ECANCELLED));
    current_loop_end(loop);
}

/* ---- closed ---- */

BOTH(closed,
     "those that wait for an event that is closed end with a StaleHandle error, a tick later")
{
    struct three three;
    three_wait(&three, style);
    CHECK_INT(cora_event_close(three.event), 0);
    CHECK_TEXT(three.notes.text, "");
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:StaleHandle b:StaleHandle c:StaleHandle");
    CHECK(is_error(three.a, CORA_ESTALE));
    CHECK(says(cora_exception(three.a), "event"));
    cora_exception(three.b), cora_exception(three.c);
    end_silently(three.loop);
}

BOTH(closed_and_cancelled, "who is cancelled in the turn in which the event is closed is cancelled")
{
    struct three three;
    three_wait(&three, style);
    cora_cancel(three.a);
    cora_event_close(three.event);
    CHECK(cora_cancel(three.b));
    tick(three.loop);
    CHECK(cora_cancelled(three.a));
    CHECK(cora_cancelled(three.b));
    CHECK(is_error(three.c, CORA_ESTALE));
    end_silently(three.loop);
}

BOTH(closed_in_gap,
     "also who was woken already ends with a StaleHandle error, if it did not run yet")
{
    struct three three;
    three_wait(&three, style);
    cora_event_set(three.event);
    cora_event_close(three.event);
    tick(three.loop);
    CHECK_TEXT(three.notes.text, "a:StaleHandle b:StaleHandle c:StaleHandle");
    cora_exception(three.a), cora_exception(three.b), cora_exception(three.c);
    end_silently(three.loop);
}

static void close_event(cora_args bound, cora_future done)
{
    (void)done;
    CHECK_INT(cora_event_close(cora_arg_event(bound, 0)), 0);
}

TEST(closed_by_a_waiting_one, "who was waiting may close the event as soon as it goes on")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_event event = cora_event_new(loop);
    cora_when_done(cora_event_wait(event), cora_partial(close_event, event));
    begin(CALLBACKS, loop, event, &notes, "b");
    cora_event_set(event);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "b:StaleHandle");
    CHECK_INT(cora_event_set(event), CORA_ESTALE);
    current_loop_end(loop);
}

TEST(loop_closed, "a loop that is closed takes those with it that wait for its events")
{
    struct three three;
    three_wait(&three, TASKS);
    begin(CALLBACKS, three.loop, three.event, &three.notes, "d");
    cora_event_set(three.event);
    cora_cancel(three.a);
    end_silently(three.loop);
    CHECK_INT(cora_event_set(three.event), CORA_ESTALE);
}

TEST(stale, "of an event that is closed nothing is left but a handle that is stale")
{
    cora_loop loop = current_loop_new();
    cora_event event = cora_event_new(loop);
    cora_event_set(event);
    CHECK_INT(cora_event_close(event), 0);
    CHECK_INT(cora_event_close(event), 0);
    CHECK_INT(cora_event_set(event), CORA_ESTALE);
    CHECK_INT(cora_event_clear(event), CORA_ESTALE);
    CHECK(!cora_event_is_set(event));
    CHECK(is_error(cora_keep(cora_when_done(cora_event_wait(event), cora_partial(nothing_done))),
                   CORA_ESTALE));
    CHECK(strncmp(event_text(event), "<Event #", 8) == 0);
    for (int i = 0; i < 100; i++)
        CHECK(!cora_same(cora_event_new(loop), event));
    CHECK_INT(cora_event_set(event), CORA_ESTALE);
    current_loop_end(loop);
}

TEST(null, "a null event fails what is done with it")
{
    cora_loop loop = current_loop_new();
    cora_event event = { 0 };
    CHECK(cora_event_set(event) < 0);
    CHECK(cora_event_clear(event) < 0);
    CHECK(!cora_event_is_set(event));
    CHECK(strstr(event_text(event), "Event") != NULL);
    CHECK(cora_is_error(cora_result(
        cora_keep(cora_when_done(cora_event_wait(event), cora_partial(nothing_done))))));
    current_loop_end(loop);
}

TEST(not_made, "an event cannot be made in a loop that is closed, or null")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_loop_close(loop);
    CHECK(cora_is_null(cora_event_new(loop)));
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
    CHECK(cora_is_null(cora_event_new((cora_loop){ 0 })));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ESTALE);
}

TEST(not_a_lock, "an event's handle is an event's alone, also when it was passed as a value")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_event event = cora_event_new(loop);
    CHECK(cora_same(cora_as_event(cora_from(event)), event));
    CHECK(cora_is_null(cora_as_lock(cora_from(event))));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
    CHECK_INT(cora_lock_release((cora_lock){ event.bits }), CORA_ETYPE);
    cora_loop_close(loop);
}

/* ---- other loops, other threads ---- */

TEST(other_loop,
     "an event of another loop is passed if it is set; to wait for it is a RuntimeError")
{
    cora_loop loop = current_loop_new(), other = cora_loop_new(NULL);
    struct notes notes = { "" };
    cora_event event = cora_event_new(loop);
    cora_event_set(event);
    begin(TASKS, other, event, &notes, "one");
    tick(other);
    CHECK_TEXT(notes.text, "one");
    cora_event_clear(event);
    cora_future two = begin(TASKS, other, event, &notes, "two");
    tick(other);
    CHECK_TEXT(notes.text, "one two:RuntimeError");
    CHECK(strstr(outcome(two), "is bound to a different event loop") != NULL);
    CHECK_TEXT(event_text(event), "<Event [unset]>");
    cora_loop_close(other);
    current_loop_end(loop);
}

struct stranger {
    cora_event event;
    cora_loop loop;
    int set, clear, close, wait, make;
    bool is_set;
};

static void *come_from_elsewhere(void *argument)
{
    struct stranger *stranger = argument;
    cora_loop own = cora_loop_new(NULL);
    stranger->set = cora_event_set(stranger->event);
    stranger->clear = cora_event_clear(stranger->event);
    stranger->close = cora_event_close(stranger->event);
    stranger->is_set = cora_event_is_set(stranger->event);
    stranger->wait =
        cora_error_code(cora_run_until_complete(own, cora_event_wait(stranger->event)));
    if (cora_is_null(cora_event_new(stranger->loop)))
        stranger->make = cora_error_code(cora_last_error());
    cora_loop_close(own);
    return NULL;
}

TEST(other_thread, "an event is its loop's thread's alone")
{
    cora_loop loop = current_loop_new();
    struct stranger stranger = { .event = cora_event_new(loop), .loop = loop };
    cora_event_set(stranger.event);
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, come_from_elsewhere, &stranger), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(stranger.set, CORA_EWRONGTHREAD);
    CHECK_INT(stranger.clear, CORA_EWRONGTHREAD);
    CHECK_INT(stranger.close, CORA_EWRONGTHREAD);
    CHECK_INT(stranger.wait, CORA_EWRONGTHREAD);
    CHECK_INT(stranger.make, CORA_EWRONGTHREAD);
    CHECK(!stranger.is_set);
    CHECK(cora_event_is_set(stranger.event));
    current_loop_end(loop);
}

TEST(set_by_another_thread, "another thread sets it by a callback of the loop's")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_event event = cora_event_new(loop);
    cora_call_soon_threadsafe(loop, cora_partial(blow, event));
    CHECK(cora_equal(cora_run_until_complete(loop, cora_event_wait(event)), cora_int(true)));
    cora_loop_close(loop);
}

/* ---- many ---- */

#define MANY 10000

static void in_order(cora_args bound, cora_future done)
{
    int *next = cora_arg(bound, 0, int *);
    CHECK(cora_equal(cora_result(done), cora_int(true)));
    CHECK_INT(*next, cora_arg_int(bound, 1));
    ++*next;
}

TEST(many, "ten thousand that wait for one event go on in one tick, in the order of coming")
{
    cora_loop loop = current_loop_new();
    cora_event event = cora_event_new(loop);
    int next = 0;
    for (int i = 0; i < MANY; i++)
        cora_when_done(cora_event_wait(event), cora_partial(in_order, &next, i));
    CHECK_TEXT(event_text(event), "<Event [unset, waiters:10000]>");
    cora_event_set(event);
    CHECK_INT(next, 0);
    tick(loop);
    CHECK_INT(next, MANY);
    CHECK_INT(cora_live(loop), 1);
    current_loop_end(loop);
}

TEST(many_tasks, "also ten thousand tasks, of which every other one was cancelled in the gap")
{
    static cora_future tasks[MANY];
    cora_loop loop = virtual_loop_new();
    cora_event event = cora_event_new(loop);
    for (int i = 0; i < MANY; i++)
        tasks[i] = cora_create_task(loop, cora_event_wait(event));
    tick(loop);
    cora_event_set(event);
    for (int i = 0; i < MANY; i += 2)
        CHECK(cora_cancel(tasks[i]));
    tick(loop);
    for (int i = 0; i < MANY; i++) {
        CHECK(cora_done(tasks[i]));
        CHECK_INT(cora_cancelled(tasks[i]), i % 2 == 0);
    }
    CHECK_TEXT(event_text(event), "<Event [set]>");
    end(loop);
}

static void count_stale(cora_args bound, cora_future done)
{
    CHECK(is_error(done, CORA_ESTALE));
    ++*cora_arg(bound, 0, int *);
}

TEST(many_closed, "ten thousand that wait for an event that is closed end with an error")
{
    cora_loop loop = current_loop_new();
    cora_event event = cora_event_new(loop);
    int ended = 0;
    for (int i = 0; i < MANY; i++)
        cora_when_done(cora_event_wait(event), cora_partial(count_stale, &ended));
    cora_event_close(event);
    tick(loop);
    CHECK_INT(ended, MANY);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}
