/*
 * Memory runs out around many tasks: as_completed, the staggered race, tasks that start at once,
 * the call graph, groups of errors. What is a scene and how it is played: stage.h.
 */
#include "stage.h"

/* ---- as_completed ---- */

enum items { FUTURES_SET, COROS, OPERATIONS };

static void deliver(cora_args bound)
{
    cora_future future = cora_arg_future(bound, 0);
    if (!cora_done(future))
        cora_set_result(future, cora_static("set"));
}

static cora_next nap_longer(cora_coro self)
{
    return cora_await(self, cora_sleep_result(0.2, cora_text("nap")), cora_return_got);
}

static cora_next nap_longest(cora_coro self)
{
    return cora_await(self, cora_sleep_result(0.3, cora_text("nap")), cora_return_got);
}

/* False if it cannot be had. */
static bool arrivals_made(void)
{
    double timeout = on.scene->seconds;
    cora_awaitable naps[4] = { cora_sleep(0.2), cora_sleep(0.1), cora_sleep(0.3), cora_sleep(0) };
    if (on.scene->which == OPERATIONS) {
        on.arrivals = cora_as_completed(on.loop, naps, 3, timeout);
    } else if (on.scene->which == COROS) {
        cora_coro coros[3] = { new_worker(nap_longer), new_worker(nap), new_worker(nap_longest) };
        on.arrivals = cora_as_completed(on.loop, coros, 3, timeout);
    } else {
        for (int i = 0; i < 3; i++) {
            cora_future future = on.futures[i] = cora_future_new(on.loop);
            cora_callback callback = cora_partial(deliver, future);
            /* what as_completed adds is a further one then, which needs memory */
            if (cora_add_done_callback(future, cora_partial(idle_done)) < 0 ||
                cora_is_null(cora_call_later(on.loop, 0.3 - 0.1 * i, callback)))
                return false;
        }
        on.arrivals = cora_as_completed(on.loop, on.futures, 3, timeout);
    }
    return !cora_is_null(on.arrivals);
}

/* A future that nobody is left to complete. */
static cora_next complete_all(cora_coro self)
{
    for (int i = 0; i < 3; i++)
        if (on.scene->which == FUTURES_SET)
            cora_cancel(on.futures[i]);
    return cora_go_on(self);
}

/* 10 for each that has arrived, 1 for each that is too late. */
static cora_next sum(cora_coro self)
{
    return cora_return(self, 10 * on.counter + on.late);
}

static cora_next meet(cora_coro self);

static cora_next met(cora_coro self)
{
    cora_value error = cora_caught(self);
    if (cora_error_is(error, CORA_ETIMEOUT))
        on.late++;
    else if (cora_is_error(error))
        return cora_raise(self, error);
    else
        on.counter++;
    return meet(self);
}

static cora_next met_result(cora_coro self)
{
    return met(self);
}

static cora_next met_next(cora_coro self)
{
    cora_future future =
        cora_is_error(cora_caught(self)) ? (cora_future){ 0 } : cora_as_future(cora_got(self));
    if (!cora_is_null(future)) {
        CHECK(cora_done(future));
        if (cora_is_error(cora_exception(future)))
            return cora_raise(self, cora_exception(future));
    }
    return met(self);
}

static bool meets_next;

static cora_next meet(cora_coro self)
{
    if (cora_completions_left(on.arrivals) == 0)
        return sum(self);
    return meets_next ? through(self, cora_completions_next(on.arrivals), met_next)
                      : through(self, cora_completions_result(on.arrivals), met_result);
}

static cora_next begin_to_meet(cora_coro self, bool next)
{
    meets_next = next;
    if (cora_finally(self, complete_all) < 0 || !arrivals_made())
        return cora_raise(self, cora_last_error());
    return meet(self);
}

static cora_next meet_results(cora_coro self)
{
    return begin_to_meet(self, false);
}

static cora_next meet_futures(cora_coro self)
{
    return begin_to_meet(self, true);
}

#define MET "all that come are met"
SCENE(results_of_futures, MET ": futures", meet_results, "30", INFINITY, FUTURES_SET)
SCENE(results_of_coroutines, MET ": coroutines", meet_results, "30", INFINITY, COROS)
SCENE(results_of_operations, MET ": operations", meet_results, "30", INFINITY, OPERATIONS)
SCENE(nexts_of_futures, MET ": futures themselves", meet_futures, "30", INFINITY, FUTURES_SET)
SCENE(nexts_of_coroutines, MET ": tasks themselves", meet_futures, "30", 5, COROS)
SCENE(nexts_of_operations, MET ": operations' futures", meet_futures, "30", 5, OPERATIONS)

#define TIMED "those that do not come in time are told as such"
SCENE(late_futures, TIMED ": futures", meet_results, "12", 0.15, FUTURES_SET)
SCENE(late_coroutines, TIMED ": coroutines", meet_results, "12", 0.15, COROS)
SCENE(late_operations, TIMED ": operations", meet_futures, "12", 0.15, OPERATIONS)

static void on_arrival(cora_args bound, cora_future done)
{
    cora_value result = cora_result(done);
    (void)bound;
    on.out_of_memory |= tells_of_memory(result);
    if (cora_error_is(result, CORA_ETIMEOUT))
        on.late++;
    else
        on.counter++;
}

static cora_next call_arrivals(cora_coro self)
{
    if (cora_finally(self, complete_all) < 0 || !arrivals_made())
        return cora_raise(self, cora_last_error());
    while (cora_completions_left(on.arrivals) > 0)
        NEED(cora_when_done(cora_completions_result(on.arrivals), cora_partial(on_arrival)));
    return cora_await(self, cora_sleep(1), sum);
}

SCENE(arrivals_call_back, "each that comes calls back", call_arrivals, "30", INFINITY, COROS)
SCENE(late_arrivals_call_back, "each calls back, in time or not", call_arrivals, "12", 0.15,
      OPERATIONS)

/* ---- the staggered race ---- */

static cora_next race(cora_coro self, cora_step one, cora_step two, cora_step three)
{
    cora_coro ways[3] = { new_worker(one), new_worker(two), new_worker(three) };
    return through(self, cora_staggered_race(ways, 3, on.scene->seconds), end_so);
}

static cora_next first_wins(cora_coro self)
{
    return race(self, nap, spill, spill);
}

SCENE(race_first_wins, "the first way wins", first_wins, "[\"nap\", 0, [None]]", INFINITY)

/* In time, if it must win since memory has run out in another. */
static cora_next slow(cora_coro self)
{
    return cora_await(self, cora_sleep_result(20, cora_static("slow")), cora_return_got);
}

static cora_next second_wins(cora_coro self)
{
    return race(self, spill_later, nap, slow);
}

SCENE(race_second_wins, "the second way wins when the first has failed", second_wins,
      "[\"nap\", 1, [ValueError: spilled, None]]", INFINITY)

static cora_next overtaken(cora_coro self)
{
    return race(self, slow, nap, spill);
}

SCENE(race_overtaken, "a later way overtakes the first, which is cancelled", overtaken,
      "[\"nap\", 1, [CancelledError, None, ValueError: spilled]]", 0.05)

static cora_next none_wins(cora_coro self)
{
    return race(self, spill, spill_later, spill);
}

SCENE(race_without_winner, "if no way leads to a result, all errors are told", none_wins,
      "[None, None, [ValueError: spilled, ValueError: spilled, ValueError: spilled]]", 0.02)

static cora_next overtaken_alone(cora_coro self)
{
    cora_coro ways[3] = { new_worker(long_nap), new_worker(long_nap), new_worker(long_nap) };
    return cora_await(self, cora_staggered_race(ways, 3, 0.05), cora_return_got);
}

static cora_next race_cancelled(cora_coro self)
{
    cora_value error = cora_caught(self);
    if (cora_error_code(error) != CORA_ECANCELLED)
        return end_so(self);
    return cora_return(self, cora_static("cancelled"));
}

static cora_next cancel_race(cora_coro self)
{
    cora_cancel(on.future);
    return cora_try(self, on.future, race_cancelled);
}

static cora_next begin_race(cora_coro self)
{
    if (cora_finally(self, cancel_future) < 0)
        return cora_raise(self, cora_last_error());
    on.future = cora_create_task(on.loop, new_worker(overtaken_alone));
    NEED(on.future);
    return through(self, cora_sleep(0.08), cancel_race);
}

SCENE(race_is_cancelled, "a race that is cancelled cancels its ways", begin_race, "\"cancelled\"")

/* ---- tasks that start at once ---- */

static cora_next eager_leaf(cora_coro self)
{
    /* so that what waits for this task adds a further one, which needs memory */
    if (cora_add_done_callback(cora_current_task(on.loop), cora_partial(idle_done)) < 0)
        return cora_raise(self, cora_last_error());
    if (on.counter++ % 2)
        return cora_return(self, cora_textf("leaf %d", 7));
    return cora_await(self, cora_sleep_result(0.1, cora_text("leaf")), cora_return_got);
}

static cora_next eager_branch(cora_coro self)
{
    cora_future leaves[3];
    for (int i = 0; i < 3; i++) {
        leaves[i] =
            cora_create_task(on.loop, new_worker(eager_leaf), .name = "leaf", .eager_start = 1);
        NEED(leaves[i]);
    }
    return cora_await(self, cora_gather(on.loop, leaves, 3), cora_return_got);
}

static cora_next eager_tree(cora_coro self)
{
    cora_future branch = cora_create_task(on.loop, new_worker(eager_branch), .eager_start = 1);
    NEED(branch);
    return through(self, cora_awaitable_of(branch), end_so);
}

SCENE(eager_by_option, "tasks that start at once end, or are not there", eager_tree,
      "[\"leaf\", \"leaf 7\", \"leaf\"]")

static cora_next reset_factory(cora_coro self)
{
    cora_reset_task_factory(on.loop);
    return cora_go_on(self);
}

static cora_next eager_end(cora_coro self)
{
    return end_so(self);
}

static cora_next eager_group_body(cora_coro self)
{
    cora_coro leaves[3] = { new_worker(eager_leaf), new_worker(eager_leaf),
                            new_worker(eager_leaf) };
    on.future = cora_gather(on.loop, leaves, 3);
    NEED(on.future);
    NEED(cora_task_group_create_task(on.group, new_worker(eager_leaf)));
    NEED(cora_task_group_create_task(on.group, new_worker(eager_leaf)));
    return cora_await(self, on.future, cora_return_got);
}

static cora_next eager_group(cora_coro self)
{
    on.group = cora_task_group_new(on.loop);
    NEED(on.group);
    return cora_with(self, cora_task_group_enter(on.group), eager_group_body);
}

static cora_next eager_factory(cora_coro self)
{
    if (cora_set_task_factory(on.loop, cora_partial(cora_eager_task_factory)) < 0 ||
        cora_finally(self, reset_factory) < 0)
        return cora_raise(self, cora_last_error());
    return through(self, cora_awaitable_of(new_worker(eager_group)), eager_end);
}

SCENE(eager_by_factory, "a factory's tasks start at once and end, or are not there", eager_factory,
      "[\"leaf\", \"leaf 7\", \"leaf\"]")

/* ---- the call graph ---- */

static cora_next capture(cora_coro self)
{
    char text[4000];
    struct cora_call_graph *graph = cora_capture_call_graph((cora_future){ 0 }, CORA_ALL_FRAMES);
    if (!graph)
        return cora_raise(self, cora_last_error());
    size_t count = graph->count;
    for (size_t i = 0; i < count; i++)
        CHECK_INT(graph->nodes[i].depth, i);
    cora_call_graph_free(graph);
    int length = cora_print_call_graph((cora_future){ 0 }, CORA_ALL_FRAMES, text, sizeof text);
    if (length < 0)
        return cora_raise(self, cora_last_error());
    CHECK_INT(length, strlen(text));
    return cora_return(self, count);
}

static cora_next gathers(cora_coro self)
{
    cora_coro coros[1] = { new_worker(capture) };
    return cora_await(self, cora_gather(on.loop, coros, 1), cora_return_got);
}

static cora_next graph(cora_coro self)
{
    cora_future task = cora_create_task(on.loop, new_worker(gathers));
    NEED(task);
    return cora_try(self, task, end_so);
}

SCENE(call_graph, "a call graph is whole, or it is none", graph, "[3]")

/* ---- groups of errors ---- */

static cora_next group_of_errors(cora_coro self)
{
    cora_value errors[3] = { cora_error(CORA_EVALUE, "one"), cora_error(CORA_ETYPE, "two"),
                             cora_error(CORA_EOS, "three") };
    cora_value group = cora_exception_group(errors, 3, "all wrong");
    cora_value outer = cora_exception_group(&group, 1, "outer");
    CHECK(cora_is_error(outer));
    if (tells_of_memory(outer))
        return cora_raise(self, outer);
    CHECK_INT(cora_list_size(cora_exceptions(outer)), 1);
    return cora_return(self, cora_list_size(cora_exceptions(group)));
}

static cora_next exceptions(cora_coro self)
{
    return through(self, cora_awaitable_of(new_worker(group_of_errors)), end_so);
}

SCENE(exception_group, "a group of errors has them all, or is a MemoryError", exceptions, "3")
