/*
 * Callbacks at a time: never early, in the order of their deadlines, equal ones in the order of
 * arming. Time is virtual: it stands still while code runs, and jumps where the loop would sleep. A
 * jump may end a millisecond and a bit after its deadline, as epoll and poll count in milliseconds.
 */
#include "harness.h"

#include <cora.h>
#include <cora/virtual_clock.h>
#include <ev.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define START 1000.0
#define LATE 0.0021 /* seconds that a back end may be late by */

static cora_loop loop_new(void)
{
    cora_virtual_clock_start(START);
    return cora_loop_new(NULL);
}

static void loop_end(cora_loop loop)
{
    cora_loop_close(loop);
    cora_virtual_clock_stop();
}

static void tick(cora_loop loop)
{
    cora_stop(loop);
    CHECK_INT(cora_run_forever(loop), 0);
}

static void stop(cora_args bound)
{
    (void)bound;
    cora_stop(cora_running_loop());
}

/* Runs everything that is due within so many seconds. */
static void run_for(cora_loop loop, double seconds)
{
    cora_call_later(loop, seconds, cora_partial(stop));
    CHECK_INT(cora_run_forever(loop), 0);
}

static void count(cora_args bound)
{
    ++*cora_arg(bound, 0, int *);
}

static void nothing(cora_args bound)
{
    (void)bound;
}

struct notes {
    char text[64];
    size_t length;
};

static void note(cora_args bound)
{
    struct notes *notes = cora_arg(bound, 0, struct notes *);
    if (notes->length < sizeof notes->text - 1)
        notes->text[notes->length++] = (char)cora_arg_int(bound, 1);
}

static void take_time(cora_args bound)
{
    *cora_arg(bound, 0, double *) = cora_time(cora_running_loop());
}

static void count_drop(void *pointer)
{
    ++*(int *)pointer;
}

static const cora_type counted = { "counted", count_drop, NULL, 0 };

/* In main() a value made here lives until the next run: of any loop. */
static void forget_temporaries(void)
{
    cora_loop other = cora_loop_new(NULL);
    tick(other);
    cora_loop_close(other);
}

/* ---- one timer ---- */

static void check_argument(cora_args bound)
{
    CHECK_TEXT(cora_arg_text(bound, 0), "argument");
    ++*cora_arg(bound, 1, int *);
    cora_stop(cora_running_loop());
}

TEST(call_later_runs_once,
     "a callback 0.1 s ahead runs once, with its argument, when that time is over",
     "test_events.EventLoopTestsMixin.test_call_later")
{
    cora_loop loop = loop_new();
    int runs = 0;
    cora_call_later(loop, 0.1, cora_partial(check_argument, "argument", &runs));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK(cora_time(loop) >= START + 0.1);
    CHECK(cora_time(loop) <= START + 0.1 + LATE);
    run_for(loop, 1);
    CHECK_INT(runs, 1);
    loop_end(loop);
}

TEST(call_later_gives_timer,
     "call_later gives a handle that is scheduled, not queued: ticks before its time do not run it",
     "test_base_events.BaseEventLoopTests.test_call_later")
{
    cora_loop loop = loop_new();
    int runs = 0;
    cora_handle timer = cora_call_later(loop, 10, cora_partial(count, &runs));
    CHECK(!cora_is_null(timer));
    CHECK_INT(cora_live(loop), 1);
    for (int i = 0; i < 10; i++)
        tick(loop);
    CHECK_INT(runs, 0);
    CHECK_INT(cora_live(loop), 1);
    loop_end(loop);
}

TEST(call_at_is_never_early, "a callback at a time on the loop's own clock does not run before it",
     "test_base_events.BaseEventLoopTests.test_time_and_call_at")
{
    cora_loop loop = loop_new();
    double when = cora_time(loop) + 0.1, ran = 0;
    cora_call_at(loop, when, cora_partial(take_time, &ran));
    run_for(loop, 1);
    CHECK(ran >= when);
    CHECK(ran <= when + LATE);
    loop_end(loop);
}

TEST(timer_when, "a timer tells the time that it was given", "test_events.TimerTests.test_when")
{
    cora_loop loop = loop_new();
    cora_handle at = cora_call_at(loop, 1234.5, cora_partial(nothing));
    cora_handle later = cora_call_later(loop, 0.25, cora_partial(nothing));
    cora_handle never = cora_call_at(loop, (double)INFINITY, cora_partial(nothing));
    CHECK_REAL(cora_handle_when(at), 1234.5, 0);
    CHECK_REAL(cora_handle_when(later), START + 0.25, 0);
    CHECK(isinf(cora_handle_when(never)));
    loop_end(loop);
}

TEST(timer_cancel,
     "a timer reads not cancelled, then cancelled, and its arguments are dropped by the cancel",
     "test_events.TimerTests.test_timer")
{
    cora_loop loop = loop_new();
    int drops = 0;
    cora_handle timer = cora_call_later(loop, 1, cora_partial(nothing, cora_own(&drops, &counted)));
    forget_temporaries();
    CHECK(!cora_handle_cancelled(timer));
    CHECK(cora_handle_cancel(timer));
    CHECK(cora_handle_cancelled(timer));
    CHECK_INT(drops, 1);
    CHECK(!cora_handle_cancel(timer));
    run_for(loop, 2);
    CHECK_INT(drops, 1);
    loop_end(loop);
}

TEST(cancelled_timer_keeps_its_time,
     "a cancelled timer still tells its time while it reads cancelled")
{
    cora_loop loop = loop_new();
    cora_handle timer = cora_call_at(loop, 1234.5, cora_partial(nothing));
    cora_handle due = cora_call_at(loop, 900, cora_partial(nothing));
    cora_handle_cancel(timer);
    cora_handle_cancel(due);
    CHECK_REAL(cora_handle_when(timer), 1234.5, 0);
    CHECK_REAL(cora_handle_when(due), 900, 0);
    loop_end(loop);
}

/* ---- delays of every size ---- */

TEST(negative_delays,
     "delays of -1 and then -2 both run in the next tick, in the order of their times",
     "test_base_events.BaseEventLoopTests.test_call_later_negative_delays")
{
    cora_loop loop = loop_new();
    struct notes notes = { "", 0 };
    cora_call_later(loop, -1, cora_partial(note, &notes, 'a'));
    cora_call_later(loop, -2, cora_partial(note, &notes, 'b'));
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "ba");
    loop_end(loop);
}

TEST(due_at_once, "delays of zero, less, and minus infinity, and times gone by, run in the next "
                  "tick, never inside the call")
{
    const double delays[] = { 0, -0.0, -1e-9, -2, -1e18, (double)-INFINITY };
    for (size_t i = 0; i < sizeof delays / sizeof *delays; i++) {
        cora_loop loop = loop_new();
        int runs = 0;
        cora_call_later(loop, delays[i], cora_partial(count, &runs));
        cora_call_at(loop, cora_time(loop) + delays[i], cora_partial(count, &runs));
        CHECK_INT(runs, 0);
        tick(loop);
        CHECK_INT(runs, 2);
        CHECK_INT(cora_live(loop), 0);
        loop_end(loop);
    }
}

TEST(tiny_delay, "a delay of a nanosecond is over soon, and not early")
{
    cora_loop loop = loop_new();
    double ran = 0;
    cora_call_later(loop, 1e-9, cora_partial(take_time, &ran));
    run_for(loop, 0.01);
    CHECK(ran >= START + 1e-9);
    CHECK(ran <= START + LATE);
    loop_end(loop);
}

TEST(never_due, "delays of 1e18 seconds and of infinity never fire, and do not keep the loop busy")
{
    cora_loop loop = loop_new();
    int runs = 0;
    cora_call_later(loop, 1e18, cora_partial(count, &runs));
    cora_call_later(loop, (double)INFINITY, cora_partial(count, &runs));
    cora_call_at(loop, 1e300, cora_partial(count, &runs));
    cora_handle last = cora_call_at(loop, (double)INFINITY, cora_partial(count, &runs));
    run_for(loop, 600);
    CHECK(cora_virtual_clock_jumps() < 30);
    CHECK_INT(runs, 0);
    CHECK_INT(cora_live(loop), 4);
    CHECK(cora_handle_cancel(last));
    CHECK_INT(cora_live(loop), 3);
    loop_end(loop);
    CHECK_INT(runs, 0);
}

TEST(nan_is_refused,
     "a delay or time that is NaN is refused with a ValueError, and the arguments are dropped")
{
    cora_loop loop = loop_new();
    int drops = 0;
    CHECK(cora_is_null(
        cora_call_later(loop, (double)NAN, cora_partial(nothing, cora_own(&drops, &counted)))));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EVALUE);
    CHECK_TEXT(cora_error_message(cora_last_error()), "the delay must not be NaN");
    CHECK(cora_is_null(
        cora_call_at(loop, (double)NAN, cora_partial(nothing, cora_own(&drops, &counted)))));
    CHECK_TEXT(cora_error_message(cora_last_error()), "the time must not be NaN");
    forget_temporaries();
    CHECK_INT(drops, 2);
    CHECK_INT(cora_live(loop), 0);
    loop_end(loop);
}

TEST(refused_when_closed,
     "a closed loop refuses timers with a RuntimeError, and their arguments are dropped")
{
    cora_loop loop = loop_new();
    int drops = 0;
    cora_loop_close(loop);
    CHECK(
        cora_is_null(cora_call_later(loop, 1, cora_partial(nothing, cora_own(&drops, &counted)))));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ERUNTIME);
    CHECK(cora_is_null(cora_call_at(loop, 1, cora_partial(nothing, cora_own(&drops, &counted)))));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ERUNTIME);
    forget_temporaries();
    CHECK_INT(drops, 2);
    cora_virtual_clock_stop();
}

TEST(close_drops_timers,
     "closing the loop drops timers without running them: armed, due, never due")
{
    cora_loop loop = loop_new();
    int drops = 0, runs = 0;
    const double delays[] = { 10, 0, -1, (double)INFINITY, 1e-9 };
    for (size_t i = 0; i < 5; i++)
        cora_call_later(loop, delays[i], cora_partial(count, &runs, cora_own(&drops, &counted)));
    forget_temporaries();
    cora_loop_close(loop);
    CHECK_INT(drops, 5);
    CHECK_INT(runs, 0);
    cora_virtual_clock_stop();
}

/* ---- order ---- */

TEST(timers_after_call_soon,
     "in a tick, callbacks queued before come first, then timers by deadline")
{
    cora_loop loop = loop_new();
    struct notes notes = { "", 0 };
    cora_call_later(loop, 0, cora_partial(note, &notes, 'd'));
    cora_call_later(loop, -1, cora_partial(note, &notes, 'c'));
    cora_call_soon(loop, cora_partial(note, &notes, 'a'));
    cora_call_soon(loop, cora_partial(note, &notes, 'b'));
    tick(loop);
    CHECK_TEXT(notes.text, "abcd");
    loop_end(loop);
}

TEST(order_of_deadlines,
     "timers compare by their deadlines alone: neither arguments nor the order of arming count "
     "where deadlines differ",
     "test_events.TimerTests.test_timer_comparison")
{
    cora_loop loop = loop_new();
    struct notes notes = { "", 0 };
    cora_call_at(loop, START + 3, cora_partial(note, &notes, 'c'));
    cora_call_at(loop, START + 1, cora_partial(note, &notes, 'a'));
    cora_call_at(loop, START + 4, cora_partial(note, &notes, 'd'));
    cora_call_at(loop, START + 2, cora_partial(note, &notes, 'b'));
    cora_call_at(loop, START + 2, cora_partial(note, &notes, 'B'));
    run_for(loop, 10);
    CHECK_TEXT(notes.text, "abBcd");
    loop_end(loop);
}

TEST(late_batch_is_sorted,
     "timers whose times all passed while a callback was busy run by deadline")
{
    cora_loop loop = loop_new();
    struct notes notes = { "", 0 };
    cora_call_at(loop, START + 0.3, cora_partial(note, &notes, 'c'));
    cora_call_at(loop, START + 0.1, cora_partial(note, &notes, 'a'));
    cora_call_at(loop, START + 0.2, cora_partial(note, &notes, 'b'));
    cora_virtual_clock_advance(1);
    cora_call_at(loop, START + 0.15, cora_partial(note, &notes, 'x'));
    tick(loop);
    CHECK_TEXT(notes.text, "axbc");
    loop_end(loop);
}

struct expected {
    int next, wrong;
};

static void in_order(cora_args bound)
{
    struct expected *expected = cora_arg(bound, 0, struct expected *);
    if (cora_arg_int(bound, 1) != expected->next++)
        expected->wrong++;
}

TEST(equal_deadlines_are_first_in_first_out,
     "of 1000 timers of one deadline, armed by call_at and by call_later among others, each runs "
     "in the order of arming")
{
    cora_loop loop = loop_new();
    struct expected expected = { 0, 0 };
    int others = 0;
    srand(1);
    for (int i = 0; i < 1000;) {
        int kind = rand() % 3;
        if (kind == 0)
            cora_call_at(loop, START + 5, cora_partial(in_order, &expected, i++));
        else if (kind == 1)
            cora_call_later(loop, 5, cora_partial(in_order, &expected, i++));
        else
            cora_call_later(loop, 5 * (rand() % 7) / 3.0 + 0.1, cora_partial(count, &others));
    }
    run_for(loop, 20);
    CHECK_INT(expected.next, 1000);
    CHECK_INT(expected.wrong, 0);
    CHECK_INT(cora_live(loop), 0);
    loop_end(loop);
}

TEST(equal_deadlines_in_the_past,
     "equal deadlines that have passed run in the order of arming, too, with those that libev had")
{
    cora_loop loop = loop_new();
    struct expected expected = { 0, 0 };
    for (int i = 0; i < 500; i++)
        cora_call_at(loop, START + 1, cora_partial(in_order, &expected, i));
    cora_virtual_clock_advance(2);
    for (int i = 500; i < 1000; i++)
        cora_call_later(loop, -1, cora_partial(in_order, &expected, i));
    tick(loop);
    CHECK_INT(expected.next, 1000);
    CHECK_INT(expected.wrong, 0);
    loop_end(loop);
}

struct schedule {
    double last;
    double earliest, latest; /* of a run before, and after, its deadline */
    int runs, disorder;
};

static void check_schedule(cora_args bound)
{
    struct schedule *schedule = cora_arg(bound, 0, struct schedule *);
    double when = cora_arg_real(bound, 1);
    double after = cora_time(cora_running_loop()) - when;
    if (after < schedule->earliest)
        schedule->earliest = after;
    if (after > schedule->latest)
        schedule->latest = after;
    if (when < schedule->last)
        schedule->disorder++;
    schedule->last = when;
    if (++schedule->runs % 10 == 0)
        cora_virtual_clock_advance(0.005); /* a busy callback */
}

TEST(random_deadlines,
     "10000 random timers among busy callbacks run by deadline, never early and soon after")
{
    cora_loop loop = loop_new();
    struct schedule schedule = { 0, 0, 0, 0, 0 };
    int all = harness_scale(10000);
    srand(2);
    for (int i = 0; i < all; i++) {
        double when = START + 100.0 * rand() / RAND_MAX;
        cora_call_at(loop, when, cora_partial(check_schedule, &schedule, when));
    }
    run_for(loop, 200);
    CHECK_INT(schedule.runs, all);
    CHECK_INT(schedule.disorder, 0);
    CHECK(schedule.earliest >= 0);
    CHECK(schedule.latest < 0.1);
    loop_end(loop);
}

/* ---- a clock that has gone on while code ran ---- */

struct arming {
    double busy, delay;
    double armed, ran;
    cora_loop *loop;
};

static void ran(cora_args bound)
{
    cora_arg(bound, 0, struct arming *)->ran = cora_time(cora_running_loop());
    cora_stop(cora_running_loop());
}

static void be_busy_and_arm(cora_args bound)
{
    struct arming *arming = cora_arg(bound, 0, struct arming *);
    cora_loop loop = cora_running_loop();
    cora_virtual_clock_advance(arming->busy);
    arming->armed = cora_time(loop);
    cora_call_later(loop, arming->delay, cora_partial(ran, arming));
}

TEST(busy_callback_then_call_later,
     "a delay counts from the call, however long the callback took before")
{
    const double busy[] = { 0, 0.01, 0.09, 0.2, 30 };
    for (size_t i = 0; i < sizeof busy / sizeof *busy; i++) {
        cora_loop loop = loop_new();
        struct arming arming = { busy[i], 0.1, 0, 0, NULL };
        cora_call_soon(loop, cora_partial(be_busy_and_arm, &arming));
        CHECK_INT(cora_run_forever(loop), 0);
        CHECK(arming.ran >= arming.armed + 0.1);
        CHECK(arming.ran <= arming.armed + 0.1 + LATE);
        loop_end(loop);
    }
}

static void update_clock_and_arm(cora_args bound)
{
    struct arming *arming = cora_arg(bound, 0, struct arming *);
    cora_loop loop = cora_running_loop();
    cora_call_later(loop, 50, cora_partial(nothing)); /* the loop looks at libev's clock now */
    cora_virtual_clock_advance(arming->busy);
    ev_now_update(cora_loop_ev(loop));
    arming->armed = cora_time(loop);
    cora_call_at(loop, arming->armed + arming->delay, cora_partial(ran, arming));
}

TEST(clock_updated_by_others,
     "a timer is exact also when somebody updated libev's clock since the loop looked at it")
{
    cora_loop loop = loop_new();
    struct arming arming = { 0.3, 0.1, 0, 0, NULL };
    cora_call_soon(loop, cora_partial(update_clock_and_arm, &arming));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK(arming.ran >= arming.armed + 0.1);
    CHECK(arming.ran <= arming.armed + 0.1 + LATE);
    loop_end(loop);
}

static void nest_and_arm(cora_args bound)
{
    struct arming *arming = cora_arg(bound, 0, struct arming *);
    cora_loop loop = cora_running_loop();
    cora_call_later(loop, 50, cora_partial(nothing));
    cora_virtual_clock_advance(arming->busy);
    ev_run(cora_loop_ev(loop), EVRUN_NOWAIT);
    arming->armed = cora_time(loop);
    cora_call_later(loop, arming->delay, cora_partial(ran, arming));
}

TEST(nested_run_between, "a timer is exact also after a nested ev_run inside the callback")
{
    cora_loop loop = loop_new();
    struct arming arming = { 0.3, 0.1, 0, 0, NULL };
    cora_call_soon(loop, cora_partial(nest_and_arm, &arming));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK(arming.ran >= arming.armed + 0.1);
    CHECK(arming.ran <= arming.armed + 0.1 + LATE);
    loop_end(loop);
}

TEST(time_between_runs, "time that passes between two runs is counted, and not twice")
{
    cora_loop loop = loop_new();
    double ran_at = 0;
    cora_call_later(loop, 1, cora_partial(take_time, &ran_at));
    tick(loop);
    cora_virtual_clock_advance(0.5);
    tick(loop);
    CHECK_REAL(ran_at, 0, 0);
    run_for(loop, 2);
    CHECK(ran_at >= START + 1);
    CHECK(ran_at <= START + 1 + LATE);
    loop_end(loop);
}

TEST(wall_clock_steps, "a wall clock that is set forward or back by a day moves no timer")
{
    const double steps[] = { 86400, -86400 };
    for (int i = 0; i < 2; i++) {
        cora_loop loop = loop_new();
        double ran_at = 0;
        cora_call_later(loop, 5, cora_partial(take_time, &ran_at));
        run_for(loop, 1);
        cora_virtual_clock_step_wall(steps[i]);
        run_for(loop, 10);
        CHECK(ran_at >= START + 5);
        CHECK(ran_at <= START + 5.1);
        loop_end(loop);
    }
}

/* ---- cancelling ---- */

TEST(cancelled_head_wakes_nobody,
     "with a cancelled timer of 5 s and a live one of 10 s, the loop sleeps for 10 s at once",
     "test_base_events.BaseEventLoopTests.test__run_once")
{
    cora_loop loop = loop_new();
    cora_handle early = cora_call_later(loop, 5, cora_partial(nothing));
    cora_call_later(loop, 10, cora_partial(stop));
    cora_handle_cancel(early);
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(cora_virtual_clock_jumps(), 1);
    CHECK(cora_time(loop) >= START + 10);
    loop_end(loop);
}

TEST(cancelled_timers_are_gone,
     "cancelled timers leave nothing behind, wherever their deadlines lie: no threshold needs to "
     "be passed",
     "test_base_events.BaseEventLoopTests.test__run_once_cancelled_event_cleanup")
{
    cora_loop loop = loop_new();
    cora_handle timers[500];
    for (int i = 0; i < 500; i++)
        timers[i] = cora_call_later(loop, 1 + i % 50, cora_partial(nothing));
    for (int i = 0; i < 500; i++)
        if (i != 249)
            CHECK(cora_handle_cancel(timers[i]));
    CHECK_INT(cora_live(loop), 1);
    cora_call_later(loop, 60, cora_partial(stop));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(cora_virtual_clock_jumps(), 2);
    CHECK_INT(cora_live(loop), 0);
    loop_end(loop);
}

static void cancel(cora_args bound)
{
    *cora_arg(bound, 1, int *) += cora_handle_cancel(*cora_arg(bound, 0, cora_handle *)) ? 1 : 100;
}

TEST(cancel_of_itself, "a timer that runs is too late to cancel")
{
    cora_loop loop = loop_new();
    cora_handle self = { 0 };
    int cancelled = 0;
    self = cora_call_later(loop, 1, cora_partial(cancel, &self, &cancelled));
    run_for(loop, 2);
    CHECK_INT(cancelled, 100);
    CHECK_INT(cora_live(loop), 0);
    loop_end(loop);
}

TEST(cancel_of_a_due_sibling,
     "a timer may cancel another that is due in the same tick, which is dropped once and does not "
     "run",
     "test_base_events.BaseEventLoopTests.test__add_callback_cancelled_handle")
{
    cora_loop loop = loop_new();
    cora_handle other = { 0 };
    int cancelled = 0, runs = 0, drops = 0;
    cora_call_later(loop, 1, cora_partial(cancel, &other, &cancelled));
    other = cora_call_later(loop, 1, cora_partial(count, &runs, cora_own(&drops, &counted)));
    run_for(loop, 2);
    CHECK_INT(cancelled, 1);
    CHECK_INT(runs, 0);
    CHECK_INT(drops, 1);
    CHECK_INT(cora_live(loop), 0);
    loop_end(loop);
}

TEST(cancel_of_a_waiting_sibling, "a call_soon callback may cancel a timer that fires in its tick")
{
    cora_loop loop = loop_new();
    cora_handle timers[3] = { { 0 }, { 0 }, { 0 } };
    int cancelled = 0, runs = 0;
    for (int i = 0; i < 3; i++)
        cora_call_soon(loop, cora_partial(cancel, &timers[i], &cancelled));
    timers[0] = cora_call_later(loop, 0, cora_partial(count, &runs));
    timers[1] = cora_call_later(loop, 0.5, cora_partial(count, &runs));
    timers[2] = cora_call_later(loop, 100, cora_partial(count, &runs));
    cora_virtual_clock_advance(1);
    tick(loop);
    CHECK_INT(cancelled, 3);
    CHECK_INT(runs, 0);
    CHECK_INT(cora_live(loop), 0);
    loop_end(loop);
}

TEST(due_timer_moves_to_the_ready_queue,
     "a timer whose time has come is queued once and runs in that tick; later ones stay where they "
     "are",
     "test_base_events.BaseEventLoopTests.test__add_callback_handle")
{
    cora_loop loop = loop_new();
    int due = 0, later = 0;
    cora_call_later(loop, 1, cora_partial(count, &due));
    cora_call_later(loop, 3, cora_partial(count, &later));
    cora_virtual_clock_advance(2);
    tick(loop);
    CHECK_INT(due, 1);
    CHECK_INT(later, 0);
    CHECK_INT(cora_live(loop), 1);
    tick(loop);
    CHECK_INT(due, 1);
    loop_end(loop);
}

/* A watcher of the program's own that cancels a timer in the iteration in which it fires. */
struct interloper {
    cora_handle victim;
    int cancelled;
    ev_timer timer;
    ev_check check;
};

static void on_raw_timer(struct ev_loop *ev, ev_timer *watcher, int events)
{
    struct interloper *interloper = watcher->data;
    (void)ev, (void)events;
    interloper->cancelled += cora_handle_cancel(interloper->victim);
}

TEST(cancel_between_libev_and_the_tick,
     "a timer that libev has fired, but whose callback libev has not called yet, can be cancelled")
{
    cora_loop loop = loop_new();
    struct ev_loop *ev = cora_loop_ev(loop);
    struct interloper interloper = { .cancelled = 0 };
    int runs = 0, drops = 0;
    interloper.victim =
        cora_call_later(loop, 1, cora_partial(count, &runs, cora_own(&drops, &counted)));
    ev_timer_init(&interloper.timer, on_raw_timer, 1., 0.);
    ev_set_priority(&interloper.timer, EV_MAXPRI);
    interloper.timer.data = &interloper;
    ev_timer_start(ev, &interloper.timer);
    forget_temporaries();
    cora_virtual_clock_advance(2);
    tick(loop);
    CHECK_INT(interloper.cancelled, 1);
    CHECK_INT(runs, 0);
    CHECK_INT(drops, 1);
    CHECK_INT(cora_live(loop), 0);
    run_for(loop, 5);
    CHECK_INT(runs, 0);
    loop_end(loop);
}

static void on_raw_check(struct ev_loop *ev, ev_check *watcher, int events)
{
    struct interloper *interloper = watcher->data;
    (void)ev, (void)events;
    interloper->cancelled += cora_handle_cancel(interloper->victim);
}

TEST(cancel_between_collecting_and_the_tick,
     "a timer that is collected for the tick, but not queued yet, can be cancelled")
{
    cora_loop loop = loop_new();
    struct ev_loop *ev = cora_loop_ev(loop);
    struct interloper interloper = { .cancelled = 0 };
    struct notes notes = { "", 0 };
    int runs = 0, drops = 0;
    interloper.victim =
        cora_call_later(loop, 1, cora_partial(count, &runs, cora_own(&drops, &counted)));
    cora_call_later(loop, 1.5, cora_partial(note, &notes, 'b'));
    cora_call_later(loop, 0.5, cora_partial(note, &notes, 'a'));
    ev_check_init(&interloper.check, on_raw_check);
    ev_set_priority(&interloper.check, EV_MINPRI + 1);
    interloper.check.data = &interloper;
    ev_check_start(ev, &interloper.check);
    forget_temporaries();
    cora_virtual_clock_advance(2);
    tick(loop);
    CHECK_INT(interloper.cancelled, 1);
    CHECK_INT(runs, 0);
    CHECK_INT(drops, 1);
    CHECK_TEXT(notes.text, "ab");
    CHECK_INT(cora_live(loop), 0);
    ev_check_stop(ev, &interloper.check);
    loop_end(loop);
}

static void on_raw_timer_arms(struct ev_loop *ev, ev_timer *watcher, int events)
{
    struct arming *arming = watcher->data;
    cora_loop loop = *arming->loop;
    (void)ev, (void)events;
    arming->armed = cora_time(loop);
    cora_call_later(loop, arming->delay, cora_partial(ran, arming));
}

TEST(armed_by_a_watcher,
     "a timer armed by a watcher of the program's own, between two ticks, is exact")
{
    cora_loop loop = loop_new();
    struct arming arming = { 0, 0.1, 0, 0, &loop };
    ev_timer watcher;
    cora_call_later(loop, 50, cora_partial(nothing));
    tick(loop); /* the loop has looked at libev's clock, which then goes on */
    ev_timer_init(&watcher, on_raw_timer_arms, 1., 0.);
    watcher.data = &arming;
    ev_timer_start(cora_loop_ev(loop), &watcher);
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK(arming.armed >= START + 1);
    CHECK(arming.ran >= arming.armed + 0.1);
    CHECK(arming.ran <= arming.armed + 0.1 + LATE);
    loop_end(loop);
}

struct dropper {
    cora_loop loop;
    cora_handle self, other;
    bool cancelled_self, cancelled_other;
    int drops, runs;
};

static void drop_and_cancel(void *pointer)
{
    struct dropper *dropper = pointer;
    dropper->drops++;
    dropper->cancelled_self = cora_handle_cancel(dropper->self);
    dropper->cancelled_other = cora_handle_cancel(dropper->other);
    cora_call_later(dropper->loop, 0, cora_partial(count, &dropper->runs));
}

static const cora_type dropping = { "dropping", drop_and_cancel, NULL, 0 };

TEST(drop_function_in_a_cancel,
     "a drop function that runs in the cancel of a timer may cancel others and arm new ones")
{
    struct dropper dropper = { .loop = loop_new() };
    int runs = 0;
    dropper.self =
        cora_call_later(dropper.loop, 1, cora_partial(nothing, cora_own(&dropper, &dropping)));
    dropper.other = cora_call_later(dropper.loop, 1, cora_partial(count, &runs));
    forget_temporaries();
    CHECK(cora_handle_cancel(dropper.self));
    CHECK_INT(dropper.drops, 1);
    CHECK(!dropper.cancelled_self);
    CHECK(dropper.cancelled_other);
    run_for(dropper.loop, 2);
    CHECK_INT(dropper.drops, 1);
    CHECK_INT(dropper.runs, 1);
    CHECK_INT(runs, 0);
    loop_end(dropper.loop);
}

TEST(drop_function_after_a_timer,
     "a drop function that runs after a timer has fired may cancel one of the same tick")
{
    struct dropper dropper = { .loop = loop_new() };
    int runs = 0;
    dropper.self =
        cora_call_later(dropper.loop, 1, cora_partial(nothing, cora_own(&dropper, &dropping)));
    dropper.other = cora_call_later(dropper.loop, 1, cora_partial(count, &runs));
    run_for(dropper.loop, 2);
    CHECK_INT(dropper.drops, 1);
    CHECK(!dropper.cancelled_self);
    CHECK(dropper.cancelled_other);
    CHECK_INT(dropper.runs, 1);
    CHECK_INT(runs, 0);
    loop_end(dropper.loop);
}

static void drop_and_close(void *pointer)
{
    struct dropper *dropper = pointer;
    dropper->drops++;
    cora_loop_close(dropper->loop);
}

static const cora_type closing = { "closing", drop_and_close, NULL, 0 };

TEST(drop_function_closes,
     "a drop function that runs in the cancel of a timer may close the idle loop")
{
    struct dropper dropper = { .loop = loop_new() };
    int runs = 0;
    dropper.self =
        cora_call_later(dropper.loop, 1, cora_partial(nothing, cora_own(&dropper, &closing)));
    cora_call_later(dropper.loop, 0, cora_partial(count, &runs));
    forget_temporaries();
    CHECK(cora_handle_cancel(dropper.self));
    CHECK(cora_is_closed(dropper.loop));
    CHECK_INT(dropper.drops, 1);
    CHECK(!cora_handle_cancel(dropper.self));
    cora_virtual_clock_stop();
}

/* ---- many ---- */

TEST(exactly_once,
     "of timers that are armed and cancelled at random, each runs once or is cancelled")
{
    enum { ALL = 2000 };
    cora_loop loop = loop_new();
    int runs[ALL] = { 0 }, drops[ALL] = { 0 };
    bool cancelled[ALL] = { false };
    cora_handle timers[ALL];
    srand(3);
    for (int i = 0; i < ALL; i++) {
        timers[i] = cora_call_later(loop, rand() % 100 / 10.0,
                                    cora_partial(count, &runs[i], cora_own(&drops[i], &counted)));
        int other = rand() % (i + 1);
        if (rand() % 3 == 0 && cora_handle_cancel(timers[other]))
            cancelled[other] = true;
        if (rand() % 20 == 0)
            run_for(loop, 0.1);
    }
    run_for(loop, 20);
    for (int i = 0; i < ALL; i++) {
        CHECK_INT(runs[i] + cancelled[i], 1);
        CHECK_INT(drops[i], 1);
    }
    CHECK_INT(cora_live(loop), 0);
    loop_end(loop);
}

static void rearm(cora_args bound)
{
    int *left = cora_arg(bound, 0, int *);
    if (--*left > 0)
        cora_call_later(cora_running_loop(), 0.001, cora_partial(rearm, left));
    else
        cora_stop(cora_running_loop());
}

TEST(rearmed_by_itself, "a timer that arms the next one goes on for as long as it does")
{
    cora_loop loop = loop_new();
    int left = 1000;
    cora_call_later(loop, 0.001, cora_partial(rearm, &left));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(left, 0);
    CHECK(cora_time(loop) >= START + 1);
    CHECK_INT(cora_live(loop), 0);
    loop_end(loop);
}

TEST(sleep_of_an_hour, "a timer of an hour fires after an hour")
{
    cora_loop loop = loop_new();
    double ran_at = 0;
    cora_call_later(loop, 3600, cora_partial(take_time, &ran_at));
    run_for(loop, 3601);
    CHECK(ran_at >= START + 3600);
    CHECK(ran_at <= START + 3600 + LATE);
    loop_end(loop);
}
