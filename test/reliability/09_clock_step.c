/*
 * Check 9: somebody sets the wall clock a day forward or back while timers are pending: none is
 * early, none more than a second late.
 *
 * The steps are those of the virtual clock, in the functions that libev itself calls. (libfaketime
 * cannot reach a program that links the virtual clock, whose functions come first.)
 */
#include "harness.h"
#include "virtual_clock.h"

#include <cora.h>

#include <math.h>

#define DAY 86400.0
#define TIMERS 600

static int fired;
static double earliest, latest;

static void fire(cora_args bound)
{
    double late = cora_virtual_clock_now() - cora_arg_real(bound, 0);
    earliest = fmin(earliest, late);
    latest = fmax(latest, late);
    fired++;
}

/* Arguments: seconds. */
static void step(cora_args bound)
{
    cora_virtual_clock_step_wall(cora_arg_real(bound, 0));
}

/* Libev learns of a step in a poll, too: so it also happens outside of callbacks. */
static void stop_and_step(cora_args bound)
{
    cora_stop(cora_arg_loop(bound, 0));
}

static void arm(cora_loop loop)
{
    for (int i = 0; i < TIMERS; i++) {
        double delay = i * 0.1;
        cora_call_later(loop, delay, cora_partial(fire, cora_virtual_clock_now() + delay));
    }
}

static void check_step(double seconds)
{
    cora_virtual_clock_start(10 * DAY);
    cora_loop loop = cora_loop_new(NULL);
    fired = 0;
    earliest = latest = 0;
    arm(loop);
    cora_call_later(loop, 10.03, cora_partial(step, seconds));
    cora_call_later(loop, 30.03, cora_partial(stop_and_step, loop));
    CHECK_INT(cora_run_forever(loop), 0);
    cora_virtual_clock_step_wall(seconds);
    arm(loop);
    cora_call_later(loop, 70.0, cora_partial(stop_and_step, loop));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(fired, 2 * TIMERS);
    CHECK(earliest >= 0);
    CHECK(latest <= 1);
    cora_loop_close(loop);
    cora_virtual_clock_stop();
}

TEST(forward, "no timer is early or late when the wall clock is set a day forward")
{
    check_step(DAY);
}

TEST(back, "nor when it is set a day back")
{
    check_step(-DAY);
}
