/*
 * Check 15: a cancel and a result meet in the same tick, a hundred thousand times, in any order and
 * from anywhere: the future ends in one of the two ways, as the calls have said, and calls back
 * once. The seed is fixed, and time is virtual: a failure comes again.
 */
#include "harness.h"
#include "virtual_clock.h"

#include <cora.h>

#include <math.h>
#include <stdlib.h>

#define BATCH 64

/* What the race is about: a future that has it, or one that waits for one that has. */
enum kind { PLAIN, CHAINED, SLEEP, WAIT, GATHER, TOLERANT_GATHER, SHIELD, KINDS };

enum end { NONE, FINISHED, FAILED, CANCELLED };

struct race {
    enum kind kind;
    cora_future future, inner;
    int cancels, results; /* calls that have said that they worked */
    int calls;
    enum end end;
};

static struct race *races;
static int made, wanted;
static int ends[KINDS][CANCELLED + 1]; /* how often each has ended how */
static uint64_t random_state;

static int below(int limit)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int)((random_state >> 33) % (uint64_t)limit);
}

static struct race *race_of(cora_args bound)
{
    return &races[cora_arg_int(bound, 0)];
}

static void on_end(cora_args bound, cora_future done)
{
    struct race *race = race_of(bound);
    race->calls++;
    CHECK(cora_done(done));
    CHECK(!cora_cancel(done));
    CHECK(cora_set_result(done, cora_nothing()) < 0);
    cora_value error = cora_exception(done);
    if (cora_cancelled(done))
        race->end = CANCELLED;
    else if (cora_is_error(error))
        race->end = FAILED;
    else
        race->end = FINISHED;
    if (race->end == FAILED) /* a gather whose member was cancelled, or an error */
        CHECK_INT(cora_error_code(error), race->cancels ? CORA_ECANCELLED : CORA_EEXCEPTION);
}

/* ---- the two who meet ---- */

static void give_cancel(cora_args bound)
{
    struct race *race = race_of(bound);
    race->cancels += cora_cancel(race->future);
}

static void give_result(cora_args bound)
{
    struct race *race = race_of(bound);
    cora_future future = race->kind == PLAIN ? race->future : race->inner;
    int code = race->kind != WAIT && below(4) == 0
                   ? cora_set_exception(future, cora_error(CORA_EEXCEPTION, "%d", made))
                   : cora_set_result(future, cora_textf("%d", made));
    race->results += code == 0;
}

/* Arguments: the race, whether to cancel, and in how many ticks: by the queue, or a timer. */
static void arrive(cora_args bound)
{
    cora_loop loop = cora_running_loop();
    long long number = cora_arg_int(bound, 0), cancels = cora_arg_int(bound, 1);
    long long left = cora_arg_int(bound, 2);
    int path = below(3);
    if (left == 0 && cancels)
        give_cancel(bound);
    else if (left == 0 && races[number].kind != SLEEP)
        give_result(bound);
    else if (left > 0 && path == 0)
        cora_call_later(loop, 0, cora_partial(arrive, number, cancels, left - 1));
    else if (left > 0 && path == 1)
        cora_call_soon(loop, cora_partial(arrive, number, cancels, left - 1));
    else if (left > 0)
        cora_call_soon_threadsafe(loop, cora_partial(arrive, number, cancels, left - 1));
}

/* ---- a race ---- */

static void race_start(cora_loop loop, int number, double seconds)
{
    struct race *race = &races[number];
    cora_awaitable what = { 0 };
    race->inner =
        race->kind == PLAIN || race->kind == SLEEP ? (cora_future){ 0 } : cora_future_new(loop);
    switch (race->kind) {
    case PLAIN:
        race->future = cora_future_new(loop);
        break;
    case CHAINED:
        race->future = cora_future_new(loop);
        cora_add_done_callback(race->inner, cora_partial(cora_copy_outcome, race->future));
        break;
    case SLEEP:
        what = cora_sleep(seconds);
        break;
    case WAIT:
        what =
            cora_wait(&race->inner, 1, below(2) ? seconds : (double)INFINITY, CORA_FIRST_COMPLETED);
        break;
    case GATHER:
        race->future = cora_gather(loop, &race->inner, 1);
        break;
    case TOLERANT_GATHER:
        race->future = cora_gather(loop, ((cora_future[]){ race->inner, race->inner }), 2,
                                   .return_exceptions = true);
        break;
    case SHIELD:
    case KINDS:
        race->future = cora_shield(loop, race->inner);
        break;
    }
    if (!what.operation)
        cora_add_done_callback(race->future, cora_partial(on_end, number));
    else if (below(2))
        race->future = cora_when_done(what, cora_partial(on_end, number));
    else
        cora_add_done_callback(race->future = cora_ensure_future(loop, what),
                               cora_partial(on_end, number));
    CHECK(!cora_is_null(race->future));
}

/* Starts some, that all meet their ends a while later. */
static void start_some(cora_args bound)
{
    cora_loop loop = cora_running_loop();
    double seconds = 0.01, when = cora_time(loop) + seconds;
    (void)bound;
    for (int i = 0; i < BATCH && made < wanted; i++, made++) {
        races[made].kind = (enum kind)below(KINDS);
        int first = below(2);
        bool before = below(2);
        int ticks[2] = { below(3), below(3) };
        if (before)
            cora_call_at(loop, when, cora_partial(arrive, made, first, ticks[0]));
        race_start(loop, made, seconds);
        if (!before)
            cora_call_at(loop, when, cora_partial(arrive, made, first, ticks[0]));
        cora_call_at(loop, when, cora_partial(arrive, made, !first, ticks[1]));
    }
    if (made < wanted)
        cora_call_at(loop, when + below(2) * seconds, cora_partial(start_some));
    else
        cora_call_at(loop, when + 2 * seconds, cora_partial(start_some));
    if (made == wanted && cora_live(loop) <= 2)
        cora_stop(loop);
}

static void check_race(const struct race *race)
{
    CHECK_INT(race->calls, 1);
    CHECK(race->cancels <= 1 || race->kind == SLEEP || race->kind == WAIT);
    ends[race->kind][race->end]++;
    switch (race->kind) {
    case PLAIN: /* whoever came first */
        CHECK_INT(race->cancels + race->results, 1);
        CHECK((race->end == CANCELLED) == (race->cancels == 1));
        break;
    case CHAINED:
    case SHIELD:
    case SLEEP:
    case WAIT:
        CHECK((race->end == CANCELLED) == (race->cancels > 0));
        break;
    case GATHER:
    case TOLERANT_GATHER: /* the members are cancelled, and then it has failed */
    case KINDS:
        CHECK(race->end != CANCELLED);
        CHECK_INT(race->cancels + race->results, 1);
        break;
    }
}

/* An error came too late to be of interest to anybody; nothing else is to be told. */
static void ignore_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)bound, (void)loop;
    CHECK_INT(cora_error_code(report->exception), CORA_EEXCEPTION);
}

TEST_WITH_LIMIT(60, cancel_versus_result,
                "a hundred thousand futures that are cancelled and completed in one tick end once")
{
    cora_virtual_clock_start(1000.0);
    cora_loop loop = cora_loop_new(NULL);
    random_state = 15;
    wanted = harness_scale(100000);
    races = calloc((size_t)wanted, sizeof *races);
    cora_set_exception_handler(loop, cora_partial(ignore_report));
    cora_call_soon(loop, cora_partial(start_some));
    CHECK_INT(cora_run_forever(loop), 0);
    for (int i = 0; i < wanted; i++)
        check_race(&races[i]);
    if (wanted >= 1000)
        for (int i = 0; i < KINDS; i++)
            CHECK(ends[i][FINISHED] > 0 && ends[i][i < GATHER || i == SHIELD ? CANCELLED : FAILED]);
    cora_loop_close(loop);
    free(races);
}
