/*
 * Debug mode: switched on and off, by options, call or environment; slow callbacks are reported;
 * places of creation are always recorded; stale uses say more.
 */
#include "harness.h"

#include <cora.h>
#include <cora/virtual_clock.h>
#include <ev.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void nothing(cora_args bound)
{
    (void)bound;
}

static void tick(cora_loop loop)
{
    cora_stop(loop);
    CHECK_INT(cora_run_forever(loop), 0);
}

/* What the exception handler was told. */
struct reports {
    int count;
    char messages[8][200];
    struct cora_place places[8];
};

static void take_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    struct reports *reports = cora_arg(bound, 0, struct reports *);
    int i = reports->count++;
    (void)loop;
    CHECK(i < 8);
    snprintf(reports->messages[i], sizeof reports->messages[i], "%s",
             report->message ? report->message : "");
    if (report->place)
        reports->places[i] = *report->place;
}

static cora_loop reporting_loop(bool debug, struct reports *reports)
{
    cora_loop loop = cora_loop_new(&(struct cora_loop_options){ .debug = debug });
    memset(reports, 0, sizeof *reports);
    cora_set_exception_handler(loop, cora_partial(take_report, reports));
    return loop;
}

/* ---- on and off ---- */

TEST(set_debug, "debug mode is off at first, can be switched on and off, and read back",
     "test_base_events.BaseEventLoopTests.test_set_debug")
{
    cora_loop loop = cora_loop_new(NULL);
    CHECK_INT(cora_set_debug(loop, true), 0);
    CHECK(cora_get_debug(loop));
    CHECK_INT(cora_set_debug(loop, false), 0);
    CHECK(!cora_get_debug(loop));
    cora_loop_close(loop);
}

TEST(debug_option, "a loop's options switch debug mode on, a guest's too")
{
    struct cora_loop_options options = { .debug = true };
    struct ev_loop *host = ev_loop_new(EVFLAG_AUTO);
    cora_loop loop = cora_loop_new(&options), guest = cora_loop_attach(host, &options);
    CHECK(cora_get_debug(loop));
    CHECK(cora_get_debug(guest));
    cora_loop_close(loop);
    cora_loop_detach(guest);
    ev_loop_destroy(host);
}

/* Whether a new loop, or guest, is in debug mode while this is all of the environment. */
static bool debug_with(char *variable, bool guest)
{
    char *only[2] = { variable, NULL }, **outer = environ;
    struct ev_loop *host = guest ? ev_loop_new(EVFLAG_AUTO) : NULL;
    environ = only;
    cora_loop loop = guest ? cora_loop_attach(host, NULL) : cora_loop_new(NULL);
    environ = outer;
    bool debug = cora_get_debug(loop);
    if (guest) {
        cora_loop_detach(loop);
        ev_loop_destroy(host);
    } else {
        cora_loop_close(loop);
    }
    return debug;
}

TEST(debug_by_environment,
     "CORA_DEBUG=1 switches debug mode on when a loop is made; a guest reads no environment",
     "test_base_events.BaseEventLoopTests.test_env_var_debug")
{
    char on[] = "CORA_DEBUG=1", off[] = "CORA_DEBUG=0", empty[] = "CORA_DEBUG=";
    CHECK(debug_with(on, false));
    CHECK(!debug_with(off, false));
    CHECK(!debug_with(empty, false));
    CHECK(!debug_with(NULL, false));
    CHECK(!debug_with(on, true));
}

/* ---- slow callbacks ---- */

static void take(cora_args bound)
{
    cora_virtual_clock_advance(cora_arg_real(bound, 0));
}

TEST(slow_callback,
     "in debug mode a callback that takes slow_callback_duration or longer is reported with its "
     "name, arguments, duration and place; quicker ones are not",
     "test_base_events.BaseEventLoopWithSelectorTests.test_log_slow_callbacks")
{
    struct reports reports;
    cora_virtual_clock_start(1000);
    cora_loop loop = reporting_loop(true, &reports);
    CHECK_REAL(cora_get_slow_callback_duration(loop), 0.1, 0);
    cora_call_soon(loop, cora_partial(take, 0.09));
    tick(loop);
    CHECK_INT(reports.count, 0);
    cora_call_soon(loop, cora_partial(take, 0.25));
    int line = __LINE__ - 1;
    tick(loop);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.messages[0], "Executing take(0.25) took 0.250 seconds");
    CHECK_INT(reports.places[0].line, line);
    cora_loop_close(loop);
    cora_virtual_clock_stop();
}

TEST(slow_timer_and_descriptor,
     "timers, readers and callbacks from other threads are reported when they are slow, too")
{
    struct reports reports;
    int ends[2];
    cora_virtual_clock_start(1000);
    cora_loop loop = reporting_loop(true, &reports);
    CHECK_INT(pipe(ends), 0);
    CHECK_INT(write(ends[1], "x", 1), 1);
    cora_call_soon_threadsafe(loop, cora_partial(take, 1.5));
    cora_add_reader(loop, ends[0], cora_partial(take, 2.5));
    cora_call_later(loop, 0, cora_partial(take, 3.5));
    tick(loop);
    CHECK_INT(reports.count, 3);
    CHECK_TEXT(reports.messages[0], "Executing take(1.5) took 1.500 seconds");
    CHECK_TEXT(reports.messages[1], "Executing take(2.5) took 2.500 seconds");
    CHECK_TEXT(reports.messages[2], "Executing take(3.5) took 3.500 seconds");
    cora_remove_reader(loop, ends[0]);
    close(ends[0]);
    close(ends[1]);
    cora_loop_close(loop);
    cora_virtual_clock_stop();
}

TEST(slow_callback_duration, "what counts as slow can be set, per loop; a negative number or NaN "
                             "is a ValueError and changes nothing")
{
    struct reports reports;
    cora_virtual_clock_start(1000);
    cora_loop loop = reporting_loop(true, &reports);
    CHECK_INT(cora_set_slow_callback_duration(loop, 5), 0);
    CHECK_REAL(cora_get_slow_callback_duration(loop), 5, 0);
    CHECK_INT(cora_set_slow_callback_duration(loop, -1), CORA_EVALUE);
    CHECK_INT(cora_set_slow_callback_duration(loop, (double)NAN), CORA_EVALUE);
    CHECK_REAL(cora_get_slow_callback_duration(loop), 5, 0);
    cora_call_soon(loop, cora_partial(take, 4.5));
    tick(loop);
    CHECK_INT(reports.count, 0);
    cora_call_soon(loop, cora_partial(take, 5.0));
    tick(loop);
    CHECK_INT(reports.count, 1);
    cora_set_slow_callback_duration(loop, 0);
    cora_call_soon(loop, cora_partial(nothing));
    tick(loop);
    CHECK_INT(reports.count, 2);
    CHECK_TEXT(reports.messages[1], "Executing nothing() took 0.000 seconds");
    cora_loop_close(loop);
    cora_virtual_clock_stop();
}

TEST(slow_without_debug, "without debug mode nobody looks at how long a callback takes")
{
    struct reports reports;
    cora_virtual_clock_start(1000);
    cora_loop loop = reporting_loop(false, &reports);
    cora_call_soon(loop, cora_partial(take, 60.0));
    tick(loop);
    CHECK_INT(reports.count, 0);
    cora_loop_close(loop);
    cora_virtual_clock_stop();
}

static void take_and_fail(cora_args bound)
{
    take(bound);
    cora_fail(cora_error(CORA_EVALUE, "slow and wrong"));
}

TEST(slow_and_failing,
     "a callback that is slow and fails is reported for both, and its failure is kept")
{
    struct reports reports;
    cora_virtual_clock_start(1000);
    cora_loop loop = reporting_loop(true, &reports);
    cora_call_soon(loop, cora_partial(take_and_fail, 0.5));
    tick(loop);
    CHECK_INT(reports.count, 2);
    CHECK_TEXT(reports.messages[0], "Executing take_and_fail(0.5) took 0.500 seconds");
    CHECK_TEXT(reports.messages[1], "Exception in callback take_and_fail(0.5)");
    cora_loop_close(loop);
    cora_virtual_clock_stop();
}

static void switch_debug(cora_args bound)
{
    cora_set_debug(cora_running_loop(), cora_arg_int(bound, 0) != 0);
}

TEST(switched_in_a_callback, "debug mode may be switched by a callback, and callbacks from before "
                             "the switch run and are given back well")
{
    struct reports reports;
    cora_virtual_clock_start(1000);
    cora_loop loop = reporting_loop(false, &reports);
    size_t before = cora_live(loop);
    for (int i = 0; i < 4; i++) {
        cora_call_soon(loop, cora_partial(switch_debug, i % 2));
        cora_call_later(loop, 0, cora_partial(nothing, "text"));
        cora_handle cancelled = cora_call_later(loop, 9, cora_partial(nothing, "text"));
        tick(loop);
        cora_call_soon(loop, cora_partial(switch_debug, (i + 1) % 2));
        cora_handle_cancel(cancelled);
        tick(loop);
    }
    CHECK_INT(cora_live(loop), before);
    CHECK_INT(reports.count, 0);
    cora_loop_close(loop);
    cora_virtual_clock_stop();
}

/* ---- places ---- */

static void failing(cora_args bound)
{
    (void)bound;
    cora_fail(cora_error(CORA_EVALUE, "wrong"));
}

TEST(places, "call_soon, its thread-safe form, call_later and call_at record the caller's place",
     "test_events.HandleTests.test_handle_source_traceback")
{
    struct reports reports;
    cora_loop loop = reporting_loop(true, &reports);
    int line = __LINE__;
    cora_call_soon_threadsafe(loop, cora_partial(failing));
    cora_call_soon(loop, cora_partial(failing));
    cora_call_at(loop, -2, cora_partial(failing));
    cora_call_later(loop, 0, cora_partial(failing));
    tick(loop);
    CHECK_INT(reports.count, 4);
    for (int i = 0; i < 4; i++) {
        CHECK_INT(reports.places[i].line, line + 1 + i);
        CHECK_TEXT(reports.places[i].file, __FILE__);
        CHECK_TEXT(reports.places[i].function, __func__);
        CHECK_TEXT(reports.places[i].name, "failing");
    }
    cora_loop_close(loop);
}

/* ---- many in debug mode ---- */

static void count(cora_args bound)
{
    ++*cora_arg(bound, 0, int *);
}

TEST(quarantine, "the slots that debug mode keeps from reuse come back into use in the end, and "
                 "none is used twice")
{
    cora_loop loop = cora_loop_new(&(struct cora_loop_options){ .debug = true });
    int runs = 0;
    for (int i = 0; i < 20; i++) {
        for (int j = 0; j < 1000; j++) {
            cora_call_soon(loop, cora_partial(count, &runs));
            cora_handle_cancel(cora_call_later(loop, 0, cora_partial(count, &runs, j)));
        }
        CHECK_INT(cora_live(loop), 2000);
        tick(loop);
        CHECK_INT(runs, (i + 1) * 1000);
        CHECK_INT(cora_live(loop), 0);
    }
    cora_loop_close(loop);
}

static void look_back(cora_args bound)
{
    const cora_value *before = cora_arg(bound, 0, const cora_value *);
    CHECK(before[0].type != &cora_type_int); /* poisoned: not what it was */
    cora_stop(cora_arg_loop(bound, 1));
}

static void remember(cora_args bound)
{
    *cora_arg(bound, 1, const cora_value **) = bound.values;
}

TEST(poisoned_slots,
     "in debug mode bound arguments that are looked at too late are rubbish, and the slot "
     "is not another callback's")
{
    cora_loop loop = cora_loop_new(&(struct cora_loop_options){ .debug = true });
    const cora_value *late = NULL;
    cora_call_soon(loop, cora_partial(remember, 7, &late));
    cora_stop(loop);
    CHECK_INT(cora_run_forever(loop), 0);
    cora_call_soon(loop, cora_partial(look_back, late, loop));
    CHECK_INT(cora_run_forever(loop), 0);
    cora_loop_close(loop);
}
