/*
 * structures.c: random calls on time limits, task groups, futures met as they are done, call graphs
 * and errors.
 */
#include "steps.h"

void act_timeout(void)
{
    char text[100];
    switch (below(9)) {
    case 0:
        keep_timeout(CALL(cora_timeout_new(pick_loop(), pick_seconds())));
        break;
    case 1:
        keep_timeout(CALL(cora_timeout_until(pick_loop(), 10 + pick_seconds())));
        break;
    case 2:
        CALL(cora_timeout_reschedule(pick_timeout(), cora_time(loops[0]) + pick_seconds()));
        break;
    case 3:
        CALL(cora_timeout_reschedule(pick_timeout(), pick_seconds()));
        break;
    case 4:
        CALL(cora_timeout_when(pick_timeout()));
        CALL(cora_timeout_expired(pick_timeout()));
        break;
    case 5:
        CALL(cora_timeout_print(pick_timeout(), text, below(sizeof text) + 1));
        break;
    case 6:
        keep_future(CALL(cora_when_done(cora_timeout_enter(pick_timeout()),
                                        cora_partial(on_done, pick_value()))));
        break;
    case 7:
        keep_future(CALL(cora_when_done(cora_timeout_exit(pick_timeout(), pick_value()),
                                        cora_partial(on_done))));
        break;
    default:
        CALL(cora_timeout_close(pick_timeout()));
        break;
    }
}

void act_group(void)
{
    char text[100];
    cora_task_group group = pick_group();
    switch (below(12)) {
    case 0:
        keep_group(CALL(cora_task_group_new(pick_loop())));
        break;
    case 1:
    case 2:
    case 3:
        CALL(cora_task_group_spawn(group, new_coro(), .eager_start = (int)below(3) - 1));
        break;
    case 4:
    case 5:
        keep_future(
            CALL(cora_task_group_create_task(group, new_coro(), .eager_start = (int)below(3) - 1)));
        break;
    case 6:
        keep_future(CALL(cora_task_group_create_task(group, new_operation(0), .name = "named")));
        break;
    case 7:
        keep_future(CALL(cora_task_group_create_task(group, pick_coro(), .context = pick_value())));
        break;
    case 8:
        CALL(cora_task_group_spawn(group, pick_future()));
        CALL(cora_task_group_size(group));
        break;
    case 9:
        CALL(cora_task_group_print(group, text, below(sizeof text) + 1));
        break;
    case 10:
        keep_future(CALL(cora_when_done(cora_task_group_exit(group, pick_value()),
                                        cora_partial(on_done, pick_value()))));
        break;
    default:
        CALL(cora_task_group_close(group));
        break;
    }
}

static void act_complete(void)
{
    cora_coro coros[3] = { new_coro(), pick_coro(), new_coro() };
    cora_future futures[3] = { pick_future(), pick_future(), pick_future() };
    cora_awaitable mixed[3] = { cora_awaitable_of(pick_future()), cora_awaitable_of(pick_coro()),
                                new_operation(0) };
    cora_loop loop = pick_loop();
    if (rarely(2))
        coros[2] = coros[0], futures[1] = futures[0];
    switch (below(3)) {
    case 0:
        keep_completions(CALL(cora_as_completed(loop, futures, below(4), pick_seconds())));
        break;
    case 1:
        keep_completions(CALL(cora_as_completed(loop, mixed, below(4), pick_seconds())));
        break;
    default:
        keep_completions(CALL(cora_as_completed(loop, coros, below(4), pick_seconds())));
        break;
    }
}

void act_completions(void)
{
    cora_completions completions = pick_completions();
    switch (below(6)) {
    case 0:
    case 1:
        act_complete();
        break;
    case 2:
        CALL(cora_completions_left(completions));
        break;
    case 3:
        keep_future(CALL(cora_when_done(cora_completions_next(completions),
                                        cora_partial(on_done, pick_value()))));
        break;
    case 4:
        for (size_t left = CALL(cora_completions_left(completions)); left > 0; left--)
            keep_future(
                CALL(cora_when_done(cora_completions_result(completions), cora_partial(on_done))));
        break;
    default:
        CALL(cora_completions_close(completions));
        break;
    }
}

/* ---- call graphs ---- */

static int pick_limit(void)
{
    static const int limits[] = { CORA_ALL_FRAMES, CORA_ALL_FRAMES, 1, 2, 0, -1, -2, INT_MIN };
    return limits[below(8)];
}

static void check_graph(const struct cora_call_graph *graph)
{
    if (graph->count == 0 || graph->nodes[0].depth != 0)
        broken("a call graph of", (long)graph->count, -1);
    for (size_t i = 0; i < graph->count; i++) {
        const struct cora_call_graph_node *node = &graph->nodes[i];
        if (i > 0 && (node->depth == 0 || node->depth > graph->nodes[i - 1].depth + 1))
            broken("a node of a call graph at", (long)i, (long)node->depth);
        for (size_t j = 0; j < node->frame_count; j++) {
            if (strlen(node->frames[j].name) + strlen(node->frames[j].file) == 0)
                broken("a frame without a name", (long)i, (long)j);
        }
    }
}

void act_graph(void)
{
    char text[2000];
    if (rarely(2)) {
        CALL(cora_print_call_graph(pick_future(), pick_limit(), text, below(sizeof text) + 1));
        return;
    }
    struct cora_call_graph *graph = CALL(cora_capture_call_graph(pick_future(), pick_limit()));
    if (!graph)
        return;
    check_graph(graph);
    act_nowhere(3);
    check_graph(graph);
    CALL(cora_call_graph_free(graph));
}

/* ---- errors ---- */

void act_error(cora_coro self)
{
    char text[200];
    cora_value error = rarely(3) ? cora_exception(pick_future()) : pick_error();
    switch (below(6)) {
    case 0: {
        cora_value list = CALL(cora_exceptions(error));
        for (size_t i = 0; i < cora_list_size(list); i++)
            CALL(cora_error_message(cora_list_at(list, i)));
        break;
    }
    case 1:
        CALL(cora_print(error, text, below(sizeof text) + 1));
        break;
    case 2:
        CALL(cora_error_cause(error));
        break;
    case 3:
        CALL(cora_set_exception(pick_future(), cora_exception_group(&error, 1, "one")));
        break;
    case 4:
        CALL(cora_hold(self, error));
        break;
    default:
        if (!honest_dropping)
            CALL(cora_fail(cora_last_error()));
        break;
    }
}
