/*
 * Check 7: every number is a time. Those that are over fire in the next tick, those too far away
 * never and without keeping the loop busy, NaN is refused.
 */
#include "harness.h"
#include "virtual_clock.h"

#include <cora.h>
#include <ev.h>

#include <float.h>
#include <math.h>

static void count(cora_args bound)
{
    ++*cora_arg(bound, 0, int *);
}

static void stop(cora_args bound)
{
    cora_stop(cora_arg_loop(bound, 0));
}

static void run_for(cora_loop loop, double seconds)
{
    cora_call_later(loop, seconds, cora_partial(stop, loop));
    CHECK_INT(cora_run_forever(loop), 0);
}

/* One tick. */
static void run_once(cora_loop loop)
{
    cora_stop(loop);
    CHECK_INT(cora_run_forever(loop), 0);
}

TEST(over, "a delay of zero or less, or a time that is over, fires in the next tick, once")
{
    static const double delays[] = { 0., -0., -1e-9, -1., -1e18, -DBL_MAX, -(double)INFINITY };
    cora_virtual_clock_start(1000.0);
    cora_loop loop = cora_loop_new(NULL);
    int counted = 0, expected = 0;
    for (size_t i = 0; i < sizeof delays / sizeof delays[0]; i++, expected += 2) {
        cora_call_later(loop, delays[i], cora_partial(count, &counted));
        cora_call_at(loop, cora_time(loop) + delays[i], cora_partial(count, &counted));
        CHECK_INT(counted, expected);
        run_once(loop);
        CHECK_INT(counted, expected + 2);
    }
    run_for(loop, 1.0);
    CHECK_INT(counted, expected);
    cora_loop_close(loop);
}

TEST(tiny, "a delay of a nanosecond, or of the smallest number, fires within a millisecond")
{
    cora_virtual_clock_start(1000.0);
    cora_loop loop = cora_loop_new(NULL);
    int counted = 0;
    cora_call_later(loop, 1e-9, cora_partial(count, &counted));
    cora_call_later(loop, DBL_MIN, cora_partial(count, &counted));
    run_for(loop, 0.002);
    CHECK_INT(counted, 2);
    cora_loop_close(loop);
}

TEST(never, "a delay of 1e18 seconds, or an infinite one, never fires, and costs no wake-up")
{
    static const double delays[] = { 1e10, 1e18, DBL_MAX, (double)INFINITY };
    cora_virtual_clock_start(1000.0);
    cora_loop loop = cora_loop_new(NULL);
    cora_handle handles[8];
    int counted = 0;
    for (size_t i = 0; i < 4; i++) {
        handles[2 * i] = cora_call_later(loop, delays[i], cora_partial(count, &counted));
        handles[2 * i + 1] = cora_call_at(loop, delays[i], cora_partial(count, &counted));
        CHECK(cora_handle_when(handles[2 * i]) >= delays[i]);
        CHECK(cora_handle_when(handles[2 * i + 1]) == delays[i]);
    }
    unsigned before = ev_iteration(cora_loop_ev(loop));
    run_for(loop, 600.0);
    CHECK(ev_iteration(cora_loop_ev(loop)) - before < 25); /* libev itself wakes once a minute */
    CHECK_INT(counted, 0);
    for (size_t i = 0; i < 8; i++)
        CHECK(cora_handle_cancel(handles[i]));
    cora_loop_close(loop);
}

TEST(not_a_number, "NaN is a ValueError")
{
    cora_loop loop = cora_loop_new(NULL);
    int counted = 0;
    CHECK(cora_is_null(cora_call_later(loop, (double)NAN, cora_partial(count, &counted))));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EVALUE);
    CHECK(cora_is_null(cora_call_at(loop, (double)NAN, cora_partial(count, &counted))));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EVALUE);
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}
