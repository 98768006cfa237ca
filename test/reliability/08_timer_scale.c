/*
 * Check 8: a million timers, added, cancelled and fired: the second and the third time they need no
 * memory that the first did not.
 */
#include "harness.h"
#include "virtual_clock.h"

#include <cora.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define NOISE 1024 /* KiB that may come and go beside the timers */

static int fired;

static void fire(cora_args bound)
{
    (void)bound;
    fired++;
}

static void stop(cora_args bound)
{
    cora_stop(cora_arg_loop(bound, 0));
}

/* Resident memory in KiB. */
static long resident(void)
{
    long size = 0, pages = 0;
    FILE *statm = fopen("/proc/self/statm", "re");
    CHECK(statm && fscanf(statm, "%ld %ld", &size, &pages) == 2);
    fclose(statm);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Adds them all, cancels every second one, lets the others fire. */
static void round_trip(cora_loop loop, cora_handle *handles, int count)
{
    fired = 0;
    for (int i = 0; i < count; i++) {
        double delay = (double)((unsigned)i * 2654435761u % 100000) * 1e-4;
        handles[i] = cora_call_later(loop, delay, cora_partial(fire));
    }
    for (int i = 0; i < count; i += 2)
        CHECK(cora_handle_cancel(handles[i]));
    cora_call_later(loop, 20.0, cora_partial(stop, loop));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(fired, count / 2);
    CHECK_INT(cora_live(loop), 0);
}

/* Sanitizers keep freed memory, and valgrind memory of its own. */
static void check_growth(long first, long third)
{
    if (!harness_sanitized() && !harness_under_valgrind())
        CHECK(third - first <= NOISE);
}

TEST_WITH_LIMIT(60, one_loop, "a million timers, three times, need the memory of the first time")
{
    int count = harness_scale(1000000);
    cora_handle *handles = malloc((size_t)count * sizeof *handles);
    cora_virtual_clock_start(1000.0);
    cora_loop loop = cora_loop_new(NULL);
    round_trip(loop, handles, count);
    long first = resident();
    round_trip(loop, handles, count);
    round_trip(loop, handles, count);
    check_growth(first, resident());
    cora_loop_close(loop);
    free(handles);
}

TEST_WITH_LIMIT(60, a_loop_each, "so do three loops, one after the other")
{
    int count = harness_scale(1000000);
    cora_handle *handles = malloc((size_t)count * sizeof *handles);
    long first = 0;
    cora_virtual_clock_start(1000.0);
    for (int i = 0; i < 3; i++) {
        cora_loop loop = cora_loop_new(NULL);
        round_trip(loop, handles, count);
        first = i == 0 ? resident() : first;
        if (i == 2)
            check_growth(first, resident());
        cora_loop_close(loop);
    }
    free(handles);
}
