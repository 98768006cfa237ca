/*
 * Check 11: chains of futures take no stack: each done-callback completes the next one, ten million
 * times, or cora_copy_outcome has been registered with all of a million in advance. All of it runs
 * in a thread whose stack has 64 KiB.
 */
#include "harness.h"

#include <cora.h>

#include <stdlib.h>

/* ---- each completes the next ---- */

struct chain {
    int left;
    bool inside; /* of a call that completes or registers: no callback may run */
};

static void next_one(cora_args bound, cora_future done)
{
    struct chain *chain = cora_arg(bound, 0, struct chain *);
    cora_loop loop = cora_running_loop();
    CHECK(!chain->inside);
    CHECK_INT(cora_as_int(cora_result(done)), chain->left);
    if (--chain->left == 0) {
        cora_stop(loop);
        return;
    }
    cora_future next = cora_future_new(loop);
    chain->inside = true;
    if (chain->left % 2)
        CHECK_INT(cora_add_done_callback(next, cora_partial(next_one, chain)), 0);
    CHECK_INT(cora_set_result(next, cora_from(chain->left)), 0);
    if (chain->left % 2 == 0)
        CHECK_INT(cora_add_done_callback(next, cora_partial(next_one, chain)), 0);
    chain->inside = false;
}

static void *run_chain(void *unused)
{
    cora_loop loop = cora_loop_new(NULL);
    struct chain chain = { .left = harness_scale(10000000) };
    cora_future first = cora_future_new(loop);
    cora_add_done_callback(first, cora_partial(next_one, &chain));
    CHECK_INT(cora_set_result(first, cora_from(chain.left)), 0);
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(chain.left, 0);
    CHECK_INT(cora_release(first), 0);
    cora_stop(loop);
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(cora_live(loop), 0);
    CHECK_INT(cora_loop_close(loop), 0);
    return unused;
}

TEST_WITH_LIMIT(60, chain, "ten million done-callbacks complete the next one each, in 64 KiB")
{
    harness_in_small_stack(run_chain);
}

/* ---- registered in advance ---- */

enum outcome { RESULT, ERROR, CANCELLED, OUTCOMES };

struct line {
    int length;
    enum outcome outcome;
    cora_future first, last;
    int calls;
};

static void last_is_done(cora_args bound, cora_future done)
{
    struct line *line = cora_arg(bound, 0, struct line *);
    line->calls++;
    CHECK(cora_same(done, line->last));
    CHECK(cora_cancelled(done) == (line->outcome == CANCELLED));
    if (line->outcome == RESULT)
        CHECK_TEXT(cora_as_text(cora_result(done)), "passed on");
    else
        CHECK_INT(cora_error_code(cora_exception(done)),
                  line->outcome == ERROR ? CORA_EEXCEPTION : CORA_ECANCELLED);
    cora_stop(cora_running_loop());
}

static void line_up(cora_args bound)
{
    struct line *line = cora_arg(bound, 0, struct line *);
    cora_loop loop = cora_running_loop();
    line->first = line->last = cora_future_new(loop);
    for (int i = 1; i < line->length; i++) {
        cora_future next = cora_future_new(loop);
        CHECK_INT(cora_add_done_callback(line->last, cora_partial(cora_copy_outcome, next)), 0);
        line->last = next;
    }
    CHECK_INT(cora_add_done_callback(line->last, cora_partial(last_is_done, line)), 0);
    cora_stop(loop);
}

static void *run_lines(void *unused)
{
    cora_loop loop = cora_loop_new(NULL);
    for (int i = 0; i < OUTCOMES; i++) {
        struct line line = { .length = harness_scale(1000000), .outcome = (enum outcome)i };
        cora_call_soon(loop, cora_partial(line_up, &line));
        CHECK_INT(cora_run_forever(loop), 0);
        CHECK_INT(cora_live(loop), line.length);
        if (line.outcome == RESULT)
            cora_set_result(line.first, cora_text("passed on"));
        else if (line.outcome == ERROR)
            cora_set_exception(line.first, cora_error(CORA_EEXCEPTION, "passed on"));
        else
            CHECK(cora_cancel(line.first));
        CHECK_INT(line.calls, 0);
        CHECK_INT(cora_run_forever(loop), 0);
        CHECK_INT(line.calls, 1);
        CHECK_INT(cora_live(loop), 0);
    }
    CHECK_INT(cora_loop_close(loop), 0);
    return unused;
}

TEST_WITH_LIMIT(60, line, "a million futures that were chained in advance pass an outcome on")
{
    harness_in_small_stack(run_lines);
}

static void *close_line(void *unused)
{
    for (int begun = 0; begun < 2; begun++) {
        cora_loop loop = cora_loop_new(NULL);
        struct line line = { .length = harness_scale(1000000), .outcome = RESULT };
        cora_call_soon(loop, cora_partial(line_up, &line));
        CHECK_INT(cora_run_forever(loop), 0);
        if (begun)
            cora_set_result(line.first, cora_text("passed on"));
        for (int i = 0; i < 100; i++) {
            cora_stop(loop);
            CHECK_INT(cora_run_forever(loop), 0);
        }
        CHECK_INT(cora_loop_close(loop), 0);
        CHECK_INT(line.calls, 0);
    }
    return unused;
}

TEST_WITH_LIMIT(60, closed_line, "such a line is dropped with its loop, in the same stack")
{
    harness_in_small_stack(close_line);
}
