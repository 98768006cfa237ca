/*
 * Check 2: a callback runs once, or its cancel says true; never both, never neither.
 *
 * Callbacks of all kinds are scheduled and cancelled at random, from outside and from each other.
 * The seed is fixed, and time is virtual: a failure comes again.
 */
#include "harness.h"
#include "virtual_clock.h"

#include <cora.h>

#include <stdlib.h>

struct entry {
    cora_handle handle;
    int runs, cancels;
};

static struct entry *entries;
static int entry_count, scheduled;
static uint64_t random_state;

static int below(int limit)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int)((random_state >> 33) % (uint64_t)limit);
}

static void run(cora_args bound);

static void schedule_one(cora_loop loop)
{
    int number = scheduled++;
    struct entry *entry = &entries[number];
    switch (below(4)) {
    case 0:
        entry->handle = cora_call_soon(loop, cora_partial(run, loop, number));
        break;
    case 1:
        entry->handle = cora_call_soon_threadsafe(loop, cora_partial(run, loop, number));
        break;
    case 2:
        entry->handle = cora_call_later(loop, below(1000) * 1e-5, cora_partial(run, loop, number));
        break;
    default: /* with arguments that must be dropped, in a time that is over */
        entry->handle = cora_call_at(loop, cora_time(loop) - below(3),
                                     cora_partial(run, loop, number, "three", "four"));
        break;
    }
    CHECK(!cora_is_null(entry->handle));
}

/* Cancels one of those scheduled last, or any. */
static void cancel_one(void)
{
    int late = scheduled < 50 ? scheduled : 50;
    int number = below(2) ? below(scheduled) : scheduled - 1 - below(late);
    if (cora_handle_cancel(entries[number].handle))
        entries[number].cancels++;
}

static void act(cora_loop loop, int most)
{
    for (int count = below(most + 1); count > 0; count--) {
        if (scheduled < entry_count)
            schedule_one(loop);
        if (below(2))
            cancel_one();
    }
}

static void run(cora_args bound)
{
    struct entry *entry = &entries[cora_arg_int(bound, 1)];
    CHECK_INT(entry->runs++, 0);
    CHECK_INT(entry->cancels, 0);
    CHECK(!cora_handle_cancel(entry->handle));
    act(cora_arg_loop(bound, 0), 3);
}

static void stop(cora_args bound)
{
    cora_stop(cora_arg_loop(bound, 0));
}

TEST_WITH_LIMIT(60, exactly_once,
                "a hundred thousand callbacks: each runs once, or was cancelled, never both")
{
    cora_virtual_clock_start(1000.0);
    cora_loop loop = cora_loop_new(NULL);
    int ran = 0, cancelled = 0;
    random_state = 2;
    entry_count = harness_scale(100000);
    entries = calloc((size_t)entry_count, sizeof *entries);
    while (scheduled < entry_count) {
        schedule_one(loop);
        act(loop, 20);
        cora_call_later(loop, 1e-3, cora_partial(stop, loop));
        CHECK_INT(cora_run_forever(loop), 0);
    }
    cora_call_later(loop, 1.0, cora_partial(stop, loop));
    CHECK_INT(cora_run_forever(loop), 0);
    for (int i = 0; i < entry_count; i++) {
        CHECK_INT(entries[i].runs + entries[i].cancels, 1);
        ran += entries[i].runs;
        cancelled += entries[i].cancels;
    }
    CHECK(ran > entry_count / 10 && cancelled > entry_count / 10);
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
    free(entries);
}
