/*
 * Check 6: a timer is never early, however long callbacks keep libev's clock standing.
 *
 * Once with real time, where the rounding of real clocks shows; once with virtual time, where
 * deadlines and the clock meet exactly.
 */
#include "harness.h"
#include "virtual_clock.h"

#include <cora.h>

#include <stdlib.h>

#define TIMERS 10000

static int left;
static double earliest; /* the smallest of fired - asked */

static void busy(double seconds)
{
    double end = cora_time((cora_loop){ 0 }) + seconds;
    if (cora_virtual_clock_now() > 0)
        cora_virtual_clock_advance(seconds);
    else
        while (cora_time((cora_loop){ 0 }) < end)
            ;
}

static void fire(cora_args bound);

static double some_seconds(int most)
{
    return rand() % 1000 * 1e-6 * most; /* steps, so that deadlines coincide */
}

static void arm(cora_loop loop)
{
    double asked = cora_time(loop) + some_seconds(300);
    if (left-- <= 0)
        return;
    if (rand() % 2)
        cora_call_at(loop, asked, cora_partial(fire, loop, asked));
    else
        cora_call_later(loop, asked - cora_time(loop), cora_partial(fire, loop, asked));
}

static void fire(cora_args bound)
{
    cora_loop loop = cora_arg_loop(bound, 0);
    double late = cora_time(loop) - cora_arg_real(bound, 1);
    if (late < earliest)
        earliest = late;
    if (rand() % 4 == 0)
        busy(some_seconds(1) / 4);
    arm(loop);
    if (cora_live(loop) == 1) /* this one */
        cora_stop(loop);
}

static void check_never_early(int count)
{
    cora_loop loop = cora_loop_new(NULL);
    srand(6);
    left = count;
    earliest = 1;
    for (int i = 0; i < count / 4 + 1; i++)
        arm(loop);
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK(earliest >= 0);
    cora_loop_close(loop);
}

TEST_WITH_LIMIT(60, never_early, "none of ten thousand timers among busy callbacks is early")
{
    check_never_early(harness_scale(TIMERS));
}

TEST_WITH_LIMIT(60, never_early_virtually, "nor where the clock meets deadlines exactly")
{
    cora_virtual_clock_start(1000.0);
    check_never_early(harness_scale(TIMERS));
}
