/*
 * Check 12: deep waits take no stack: a chain of a million tasks that await each other, and a
 * million coroutines that await each other in one task. Each is run to its end, fails, and is
 * cancelled from its root, and is closed with its loop. All of it runs in a thread whose stack has
 * 64 KiB.
 */
#include "harness.h"

#include <cora.h>

#include <stdlib.h>

enum outcome { RESULT, ERROR, CANCELLED, OUTCOMES };

struct chain {
    cora_loop loop;
    cora_future future; /* what the innermost awaits */
    cora_future root;   /* the task that awaits all the others */
    int length;
    int begun, caught, ended, dropped;
    bool gathers; /* each task awaits a gather of the next */
    enum outcome outcome;
};

struct link {
    struct chain *chain;
    cora_future awaited; /* null: as many coroutines as are left, and then the future */
    int left;
};

static void link_drop(void *locals)
{
    ((struct link *)locals)->chain->dropped++;
}

static cora_coro link_new(struct chain *chain, cora_step step, cora_future awaited, int left)
{
    return cora_coroutine_owning(step, link_drop, struct link, .chain = chain, .awaited = awaited,
                                 .left = left);
}

/* Passes on what came: an error too. */
static cora_next link_done(cora_coro self)
{
    struct chain *chain = cora_locals(self, struct link)->chain;
    chain->ended++;
    if (cora_is_nothing(cora_caught(self)))
        return cora_return(self, cora_got(self));
    chain->caught++;
    return cora_raise(self, cora_caught(self));
}

static cora_next await_task(cora_coro self)
{
    struct link *link = cora_locals(self, struct link);
    link->chain->begun++;
    if (link->chain->gathers)
        return cora_try(self, cora_gather(link->chain->loop, &link->awaited, 1), link_done);
    return cora_try(self, link->awaited, link_done);
}

static cora_next await_coroutine(cora_coro self)
{
    struct link *link = cora_locals(self, struct link);
    link->chain->begun++;
    if (link->left == 0)
        return cora_try(self, link->chain->future, link_done);
    cora_coro inner = link_new(link->chain, await_coroutine, (cora_future){ 0 }, link->left - 1);
    return cora_try(self, inner, link_done);
}

/* In a callback, so that nothing but the loop keeps the tasks. */
static void make_tasks(cora_args bound)
{
    struct chain *chain = cora_arg(bound, 0, struct chain *);
    chain->root = chain->future;
    for (int i = 0; i < chain->length; i++) {
        chain->root = cora_create_task(chain->loop, link_new(chain, await_task, chain->root, 0));
        CHECK(!cora_is_null(chain->root));
    }
    cora_keep(chain->root);
}

static void make_coroutines(cora_args bound)
{
    struct chain *chain = cora_arg(bound, 0, struct chain *);
    cora_coro outermost = link_new(chain, await_coroutine, (cora_future){ 0 }, chain->length - 1);
    chain->root = cora_keep(cora_create_task(chain->loop, outermost));
}

static void ticks(cora_loop loop, int count)
{
    while (count-- > 0) {
        cora_stop(loop);
        CHECK_INT(cora_run_forever(loop), 0);
    }
}

/* A chain that has begun, and waits. */
static void chain_begin(struct chain *chain, cora_callback make)
{
    chain->loop = cora_loop_new(NULL);
    chain->length = harness_scale(1000000);
    chain->future = cora_future_new(chain->loop);
    cora_call_soon(chain->loop, make);
    ticks(chain->loop, 2);
    CHECK_INT(chain->begun, chain->length);
    CHECK_INT(chain->ended, 0);
}

static void chain_complete(struct chain *chain)
{
    if (chain->outcome == RESULT)
        CHECK_INT(cora_set_result(chain->future, cora_text("passed on")), 0);
    else if (chain->outcome == ERROR)
        CHECK_INT(cora_set_exception(chain->future, cora_error(CORA_EEXCEPTION, "passed on")), 0);
    else
        CHECK(cora_cancel_with(chain->root, "passed on"));
}

static void chain_check(struct chain *chain)
{
    static const char *const texts[] = { "\"passed on\"", "Exception: passed on",
                                         "CancelledError: passed on" };
    char text[100];
    cora_print(cora_run_until_complete(chain->loop, chain->root), text, sizeof text);
    CHECK_TEXT(text, texts[chain->outcome]);
    CHECK(cora_cancelled(chain->root) == (chain->outcome == CANCELLED));
    CHECK(cora_cancelled(chain->future) == (chain->outcome == CANCELLED));
    CHECK_INT(chain->ended, chain->length);
    CHECK_INT(chain->caught, chain->outcome == RESULT ? 0 : chain->length);
    CHECK_INT(chain->dropped, chain->length);
    cora_release(chain->root);
    cora_release(chain->future);
    ticks(chain->loop, 2);
    CHECK_INT(cora_live(chain->loop), 0);
    CHECK_INT(cora_live_coroutines(), 0);
    CHECK_INT(cora_loop_close(chain->loop), 0);
}

/* ---- tasks ---- */

static void *run_tasks(void *unused)
{
    for (int i = 0; i < OUTCOMES; i++) {
        struct chain chain = { .outcome = (enum outcome)i };
        chain_begin(&chain, cora_partial(make_tasks, &chain));
        chain_complete(&chain);
        chain_check(&chain);
    }
    return unused;
}

TEST_WITH_LIMIT(120, tasks, "a million tasks that await each other end, fail and are cancelled")
{
    harness_in_small_stack(run_tasks);
}

static void *run_gathers(void *unused)
{
    for (int i = 0; i < OUTCOMES; i++) {
        struct chain chain = { .outcome = (enum outcome)i, .gathers = true };
        chain.loop = cora_loop_new(NULL);
        chain.length = harness_scale(100000);
        chain.future = cora_future_new(chain.loop);
        cora_call_soon(chain.loop, cora_partial(make_tasks, &chain));
        ticks(chain.loop, 2);
        chain_complete(&chain);
        cora_value value = cora_run_until_complete(chain.loop, chain.root);
        CHECK_INT(cora_is_error(value), i != RESULT);
        CHECK_INT(chain.ended, chain.length);
        CHECK_INT(chain.caught, i == RESULT ? 0 : chain.length);
        CHECK_INT(chain.dropped, chain.length);
        cora_release(chain.root);
        cora_release(chain.future);
        ticks(chain.loop, 2);
        CHECK_INT(cora_live(chain.loop), 0);
        CHECK_INT(cora_loop_close(chain.loop), 0);
    }
    return unused;
}

TEST_WITH_LIMIT(120, gathers, "a hundred thousand tasks that await gathers of each other, too")
{
    harness_in_small_stack(run_gathers);
}

/* Every task of a chain has been asked, also the innermost. */
static void *cancel_twice(void *unused)
{
    struct chain chain = { .outcome = CANCELLED };
    chain_begin(&chain, cora_partial(make_tasks, &chain));
    CHECK(cora_cancel_with(chain.root, "passed on"));
    CHECK(cora_cancel(chain.root));
    cora_value list = cora_all_tasks(chain.loop);
    CHECK_INT(cora_list_size(list), chain.length);
    for (size_t i = 0; i < (size_t)chain.length; i++)
        CHECK_INT(cora_cancelling(cora_as_future(cora_list_at(list, i))), 2);
    chain_check(&chain);
    return unused;
}

TEST_WITH_LIMIT(120, cancelled_twice, "each cancel of the root reaches each of a million tasks")
{
    harness_in_small_stack(cancel_twice);
}

/* ---- coroutines ---- */

static void *run_coroutines(void *unused)
{
    for (int i = 0; i < OUTCOMES; i++) {
        struct chain chain = { .outcome = (enum outcome)i };
        chain_begin(&chain, cora_partial(make_coroutines, &chain));
        chain_complete(&chain);
        chain_check(&chain);
    }
    return unused;
}

TEST_WITH_LIMIT(120, coroutines,
                "a million coroutines that await each other end, fail and are cancelled")
{
    harness_in_small_stack(run_coroutines);
}

/* The future is done before: nothing is ever suspended. */
static void *run_at_once(void *unused)
{
    struct chain chain = { .loop = cora_loop_new(NULL), .length = harness_scale(1000000) };
    chain.future = cora_future_new(chain.loop);
    CHECK_INT(cora_set_result(chain.future, cora_text("passed on")), 0);
    cora_call_soon(chain.loop, cora_partial(make_coroutines, &chain));
    ticks(chain.loop, 1);
    CHECK_INT(chain.begun, 0);
    ticks(chain.loop, 1);
    CHECK_INT(chain.ended, chain.length);
    chain_check(&chain);
    return unused;
}

TEST_WITH_LIMIT(120, at_once, "they may do so in one step, without ever having waited")
{
    harness_in_small_stack(run_at_once);
}

/* ---- driven by hand ---- */

static cora_coro by_hand(struct chain *chain, cora_value *ret)
{
    chain->loop = cora_loop_new(NULL);
    chain->length = harness_scale(1000000);
    chain->future = cora_future_new(chain->loop);
    cora_coro outermost = link_new(chain, await_coroutine, (cora_future){ 0 }, chain->length - 1);
    CHECK_INT(cora_send(outermost, cora_nothing(), ret), 1);
    CHECK(cora_same(cora_as_future(*ret), chain->future));
    return outermost;
}

static void *run_by_hand(void *unused)
{
    cora_value ret = cora_nothing();
    for (int i = 0; i < 3; i++) {
        struct chain chain = { .length = 0 };
        cora_coro coro = by_hand(&chain, &ret);
        if (i == 0) {
            CHECK_INT(cora_set_result(chain.future, cora_int(5)), 0);
            CHECK_INT(cora_send(coro, cora_nothing(), &ret), 0);
            CHECK_INT(cora_as_int(ret), 5);
        } else if (i == 1) {
            CHECK_INT(cora_throw(coro, cora_error(CORA_EVALUE, "thrown"), &ret), CORA_EVALUE);
        } else {
            CHECK_INT(cora_coro_close(coro), 0);
        }
        CHECK_INT(chain.caught, i == 0 ? 0 : chain.length);
        CHECK_INT(chain.dropped, chain.length);
        cora_loop_close(chain.loop);
        CHECK_INT(cora_live_coroutines(), 0);
    }
    return unused;
}

TEST_WITH_LIMIT(120, by_hand,
                "a million coroutines that are driven by hand end, are thrown to and "
                "closed")
{
    harness_in_small_stack(run_by_hand);
}

/* ---- closed ---- */

static void ignore_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)loop, (void)report;
    ++*cora_arg(bound, 0, int *);
}

static void *close_chains(void *unused)
{
    for (int i = 0; i < 3; i++) {
        struct chain chain = { .outcome = CANCELLED };
        int reports = 0;
        if (i == 0)
            chain_begin(&chain, cora_partial(make_tasks, &chain));
        else
            chain_begin(&chain, cora_partial(make_coroutines, &chain));
        cora_set_exception_handler(chain.loop, cora_partial(ignore_report, &reports));
        if (i == 2)
            chain_complete(&chain);
        CHECK_INT(cora_loop_close(chain.loop), 0);
        CHECK_INT(reports, i == 0 ? chain.length : 1);
        CHECK_INT(chain.dropped, chain.length);
        CHECK_INT(cora_live_coroutines(), 0);
    }
    return unused;
}

TEST_WITH_LIMIT(120, closed, "such chains are dropped with their loop, in the same stack")
{
    harness_in_small_stack(close_chains);
}
