/*
 * Check 13: a callback that is added to a future that is done runs in the next tick, always: never
 * inside the call that adds it, never a tick later, never twice. The futures are done in every way
 * there is.
 */
#include "harness.h"
#include "virtual_clock.h"

#include <cora.h>

#define BATCH 100

static cora_loop loop;
static int tick, added, ran;
static bool inside;

static void late_one(cora_args bound, cora_future done)
{
    CHECK(!inside);
    CHECK(cora_done(done));
    CHECK_INT(cora_arg_int(bound, 0), ran++); /* in the order added, each once */
    CHECK_INT(cora_arg_int(bound, 1), tick - 1);
}

enum { RESULT, ERROR, CANCELLED, OPERATION, WAIT, GATHER, GATHERED, SHIELDED, WAYS };

static cora_future ways[WAYS];

/* Each in main(), so that it is held. */
static void make_ways(void)
{
    cora_value error = cora_error(CORA_EEXCEPTION, "done");
    for (int i = 0; i < WAYS; i++)
        ways[i] = cora_future_new(loop);
    cora_set_result(ways[RESULT], cora_text("done"));
    cora_set_exception(ways[ERROR], error);
    cora_cancel(ways[CANCELLED]);
    ways[OPERATION] = cora_ensure_future(loop, cora_sleep(0));
    ways[WAIT] = cora_ensure_future(loop, cora_wait(ways, 3, 0, CORA_ALL_COMPLETED));
    ways[GATHER] = cora_gather(loop, ways, 1); /* done at once */
    ways[SHIELDED] = cora_shield(loop, ways[GATHERED]);
    cora_future all = cora_gather(loop, &ways[GATHERED], 1);
    cora_set_result(ways[GATHERED], cora_text("gathered"));
    ways[GATHERED] = all;
    for (int i = 0; i < 5; i++) {
        cora_stop(loop);
        CHECK_INT(cora_run_forever(loop), 0);
    }
    for (int i = 0; i < WAYS; i++)
        CHECK(cora_done(ways[i]));
    cora_exception(ways[ERROR]);
}

/* First in its tick; adds a batch, for the next. */
static void add_batch(cora_args bound)
{
    int wanted = (int)cora_arg_int(bound, 0);
    tick++;
    if (added < wanted)
        cora_call_soon(loop, cora_partial(add_batch, wanted));
    else
        cora_stop(loop);
    for (int i = 0; i < BATCH && added < wanted; i++, added++) {
        cora_future one = i % 3 ? ways[added % WAYS] : cora_future_new(loop);
        inside = true;
        if (i % 3 == 0)
            CHECK_INT(cora_set_result(one, cora_from(added)), 0);
        if (i % 2)
            CHECK_INT(cora_add_done_callback(one, cora_partial(late_one, added, tick)), 0);
        else
            CHECK(cora_same(cora_when_done(one, cora_partial(late_one, added, tick)), one));
        inside = false;
    }
}

static void add_all(int wanted)
{
    tick = added = ran = 0;
    make_ways();
    cora_call_soon(loop, cora_partial(add_batch, wanted));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(ran, wanted);
    CHECK_INT(added, wanted);
    cora_loop_close(loop);
}

TEST_WITH_LIMIT(60, already_done, "a hundred thousand callbacks on done futures run a tick later")
{
    loop = cora_loop_new(NULL);
    add_all(harness_scale(100000));
}

TEST_WITH_LIMIT(60, already_done_in_debug_mode, "in debug mode, too")
{
    loop = cora_loop_new(&(struct cora_loop_options){ .debug = true });
    CHECK_INT(cora_set_slow_callback_duration(loop, 1000), 0);
    add_all(harness_scale(100000));
}
