/*
 * Sleeping, as something to wait for, in virtual time. A jump may end a millisecond and a bit after
 * its deadline (LATE), as epoll and poll count in milliseconds.
 */
#include "helpers.h"

#include <math.h>

static void take_time(cora_args bound, cora_future done)
{
    CHECK(cora_is_nothing(cora_result(done)));
    *cora_arg(bound, 0, double *) = cora_time(cora_running_loop());
    cora_stop(cora_running_loop());
}

TEST(sleep, "a sleep calls back after so many seconds, with nothing as result")
{
    cora_loop loop = current_loop_new();
    double woken = 0;
    cora_when_done(cora_sleep(0.5), cora_partial(take_time, &woken));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK(woken >= START + 0.5);
    CHECK(woken <= START + 0.5 + LATE);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

TEST(result, "a sleep passes its result through, of any kind")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    int drops = 0;
    cora_when_done(cora_sleep_result(1, cora_int(4)), cora_partial(note_outcome, &notes));
    cora_when_done(cora_sleep_result(2, cora_textf("%s", "text")),
                   cora_partial(note_outcome, &notes));
    cora_when_done(cora_sleep_result(3, cora_error(CORA_ELOOKUP, "a value")),
                   cora_partial(note_outcome, &notes));
    cora_when_done(cora_sleep_result(0, cora_real(0.5)), cora_partial(note_outcome, &notes));
    cora_when_done(cora_sleep_result(4, cora_own(&drops, &counted)), cora_partial(nothing_done));
    cora_drop_temporaries();
    run_for(loop, 3.5);
    CHECK_TEXT(notes.text, "0.5 4 \"text\" LookupError: a value");
    CHECK_INT(drops, 0);
    run_for(loop, 1);
    CHECK_INT(drops, 1);
    current_loop_end(loop);
}

TEST(error_as_result, "an error that is a sleep's result is a value: nobody must read it")
{
    cora_loop loop = current_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_when_done(cora_sleep_result(0, cora_error(CORA_ELOOKUP, "a value")),
                   cora_partial(nothing_done));
    tick(loop);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
    CHECK_INT(reports.count, 0);
}

TEST(no_delay, "a delay of 0 and less takes one tick, and no timer")
{
    static const double delays[] = { 0, -0.0, -1, -1e300, -(double)INFINITY };
    cora_loop loop = current_loop_new();
    for (size_t i = 0; i < sizeof delays / sizeof *delays; i++) {
        int runs = 0;
        cora_when_done(cora_sleep(delays[i]), cora_partial(count_done, &runs));
        cora_when_done(cora_sleep_result(delays[i], cora_text("x")),
                       cora_partial(count_done, &runs));
        CHECK_INT(cora_live(loop), 2);
        CHECK_INT(runs, 0);
        tick(loop);
        CHECK_INT(runs, 2);
        CHECK_INT(cora_live(loop), 0);
        CHECK_REAL(cora_time(loop), START, 0.001);
    }
    current_loop_end(loop);
}

TEST(no_delay_keeps_order, "sleeps without a delay go on in the order of their starts, among other "
                           "callbacks")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_when_done(cora_sleep(0), cora_partial(note_done, &notes, "a"));
    cora_call_soon(loop, cora_partial(note, &notes, "b"));
    cora_when_done(cora_sleep(-5), cora_partial(note_done, &notes, "c"));
    cora_call_soon(loop, cora_partial(note, &notes, "d"));
    tick(loop);
    CHECK_TEXT(notes.text, "a b c d");
    current_loop_end(loop);
}

TEST(tiny_delay, "the smallest delay above 0 is a timer")
{
    cora_loop loop = current_loop_new();
    int runs = 0;
    cora_when_done(cora_sleep(5e-324), cora_partial(count_done, &runs));
    CHECK_INT(cora_live(loop), 2);
    ticks(loop, 3);
    CHECK_INT(runs, 1);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

TEST(nan, "a sleep of NaN seconds fails with a ValueError")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_when_done(cora_sleep((double)NAN), cora_partial(note_outcome, &notes));
    cora_when_done(cora_sleep_result(-(double)NAN, cora_text("x")),
                   cora_partial(note_outcome, &notes));
    ticks(loop, 1);
    CHECK_TEXT(notes.text, "ValueError: Invalid delay: NaN (not a number) "
                           "ValueError: Invalid delay: NaN (not a number)");
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

TEST(infinity, "an infinite sleep does not end, but can be cancelled")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_future future =
        cora_when_done(cora_sleep((double)INFINITY), cora_partial(note_outcome, &notes));
    run_for(loop, 3600);
    CHECK_TEXT(notes.text, "");
    CHECK(cora_cancel(future));
    tick(loop);
    CHECK_TEXT(notes.text, "CancelledError");
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

static void note_and_queue(cora_args bound)
{
    note(bound);
    cora_call_soon(cora_running_loop(),
                   cora_partial(note, cora_arg(bound, 0, struct notes *), "queued"));
}

TEST(goes_on_a_tick_after_its_timer,
     "when its time is over a sleep's timer wakes it, and it calls back in the tick after")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    double when = cora_time(loop) + 0.1;
    cora_call_at(loop, when, cora_partial(note_and_queue, &notes, "before"));
    cora_when_done(cora_sleep(when - cora_time(loop)), cora_partial(note_done, &notes, "awake"));
    cora_call_at(loop, when, cora_partial(note, &notes, "after"));
    run_for(loop, 1);
    CHECK_TEXT(notes.text, "before after queued awake");
    current_loop_end(loop);
}

TEST(order_of_deadlines, "sleeps end in the order of their deadlines, equal ones as they started")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_when_done(cora_sleep(0.3), cora_partial(note_done, &notes, "3"));
    cora_when_done(cora_sleep(0.1), cora_partial(note_done, &notes, "1a"));
    cora_when_done(cora_sleep(0.2), cora_partial(note_done, &notes, "2"));
    cora_when_done(cora_sleep(0.1), cora_partial(note_done, &notes, "1b"));
    run_for(loop, 1);
    CHECK_TEXT(notes.text, "1a 1b 2 3");
    current_loop_end(loop);
}

/* ---- cancelling ---- */

TEST(cancelled_while_it_waits,
     "a cancelled sleep calls back in the next tick, and its timer is gone")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_future future = cora_when_done(cora_sleep(5), cora_partial(note_outcome, &notes));
    run_for(loop, 1);
    CHECK_INT(cora_live(loop), 2);
    CHECK(cora_cancel(future));
    tick(loop);
    CHECK_TEXT(notes.text, "CancelledError");
    tick(loop);
    CHECK_INT(cora_live(loop), 0);
    run_for(loop, 10);
    CHECK_TEXT(notes.text, "CancelledError");
    current_loop_end(loop);
}

TEST(cancelled_without_delay, "a sleep without a delay can be cancelled until it calls back")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_future future = cora_when_done(cora_sleep(0), cora_partial(note_outcome, &notes));
    CHECK(cora_cancel(future));
    tick(loop);
    CHECK_TEXT(notes.text, "CancelledError");
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

static void cancel_argument(cora_args bound)
{
    cora_future future = cora_arg_future(bound, 0);
    CHECK(!cora_done(future));
    CHECK(cora_cancel_with(future, "too late?"));
    CHECK(!cora_done(future));
}

TEST(cancelled_in_the_gap,
     "a sleep that is cancelled when its timer has fired, but before it calls back, is cancelled: "
     "its result is dropped")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    int drops = 0;
    double when = cora_time(loop) + 0.1;
    cora_future future =
        cora_when_done(cora_sleep_result(when - cora_time(loop), cora_own(&drops, &counted)),
                       cora_partial(note_outcome, &notes));
    cora_call_at(loop, when, cora_partial(cancel_argument, future));
    cora_drop_temporaries();
    run_for(loop, 1);
    CHECK_TEXT(notes.text, "CancelledError: too late?");
    CHECK_INT(drops, 1);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

static void check_not_cancellable(cora_args bound, cora_future done)
{
    CHECK(cora_done(done));
    CHECK(!cora_cancel(done));
    CHECK(!cora_cancelled(done));
    ++*cora_arg(bound, 0, int *);
}

TEST(cancelled_in_its_callback, "in its callback a sleep is done, and there is nothing to cancel")
{
    cora_loop loop = current_loop_new();
    int runs = 0;
    cora_when_done(cora_sleep(0.1), cora_partial(check_not_cancellable, &runs));
    run_for(loop, 1);
    CHECK_INT(runs, 1);
    current_loop_end(loop);
}

TEST(cancelled_before_its_start, "a sleep that is cancelled before it starts makes no timer")
{
    cora_loop loop = current_loop_new();
    cora_future future = cora_ensure_future(loop, cora_sleep(5));
    CHECK(cora_cancel(future));
    tick(loop);
    CHECK(cora_cancelled(future));
    CHECK_INT(cora_live(loop), 1);
    current_loop_end(loop);
}

TEST(cancelled_between_start_and_end, "a started sleep is cancelled in each of its two states")
{
    cora_loop loop = current_loop_new();
    cora_future waiting = cora_ensure_future(loop, cora_sleep(5)),
                woken = cora_ensure_future(loop, cora_sleep(0));
    tick(loop); /* both start */
    CHECK(cora_cancel(waiting));
    CHECK(cora_cancel(woken));
    tick(loop);
    CHECK(cora_cancelled(waiting));
    CHECK(cora_cancelled(woken));
    tick(loop);
    CHECK_INT(cora_live(loop), 2);
    current_loop_end(loop);
}

/* ---- many ---- */

TEST(many, "ten thousand sleeps end in the order of their deadlines, and leave nothing behind")
{
    cora_loop loop = current_loop_new();
    int runs = 0, sleeps = harness_scale(10000);
    for (int i = 0; i < sleeps; i++)
        cora_when_done(cora_sleep((i * 7919 % 1000) / 100.0), cora_partial(count_done, &runs));
    run_for(loop, 11);
    CHECK_INT(runs, sleeps);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

TEST(reused, "an awaitable is a value: the same one may be started many times")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_awaitable nap = cora_sleep_result(0.1, cora_static("nap"));
    for (int i = 0; i < 3; i++)
        cora_when_done(nap, cora_partial(note_outcome, &notes));
    CHECK_TEXT(cora_as_text(cora_run_until_complete(loop, nap)), "nap");
    run_for(loop, 1);
    CHECK_TEXT(notes.text, "\"nap\" \"nap\" \"nap\"");
    current_loop_end(loop);
}
