/*
 * The call graph: who waits for whom. A graph is written here as one line for each node, "the task:
 * its frames", behind as many dots as it is deep; the innermost frame first. First what await,
 * gather, shield, wait, groups, limits on time and races leave in it; then the current task, limits
 * on frames and circles; what is printed; and last wrong use, and large graphs.
 */
#include "coroutines.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#define NEVER ((double)INFINITY)

/* ---- helpers ---- */

/* Until the next call. */
static const char *drawn(const struct cora_call_graph *graph)
{
    static char text[4000];
    size_t length = 0;
    text[0] = '\0';
    for (size_t i = 0; graph && i < graph->count; i++) {
        const struct cora_call_graph_node *node = &graph->nodes[i];
        length += (size_t)snprintf(
            text + length, sizeof text - length, "%.*s%s:", (int)node->depth, "..........",
            cora_is_task(node->future) ? cora_get_name(node->future) : "Future");
        for (size_t j = 0; j < node->frame_count; j++)
            length +=
                (size_t)snprintf(text + length, sizeof text - length, " %s", node->frames[j].name);
        length += (size_t)snprintf(text + length, sizeof text - length, "\n");
    }
    return text;
}

/* The graph of a future; of a null one that of the current task. */
static const char *graph_of(cora_future future, int limit)
{
    struct cora_call_graph *graph = cora_capture_call_graph(future, limit);
    const char *text = drawn(graph);
    cora_call_graph_free(graph);
    return text;
}

/* The same from a callback that is bound to a future and to where it writes. */
struct drawing {
    char text[4000];
};

static void draw(cora_args bound)
{
    strcpy(cora_arg(bound, 1, struct drawing *)->text,
           graph_of(cora_arg_future(bound, 0), CORA_ALL_FRAMES));
}

static const cora_future none = { 0 };

/* What most coroutines here share: where they draw to, and what they await. */
struct scene {
    char *text;
    cora_future future;
    cora_task_group group;
    int number;
};

#define SCENE(self) cora_locals(self, struct scene)

#define acting(step, buffer, awaited)                                                              \
    cora_coroutine(step, struct scene, .text = (buffer), .future = (awaited))

/* Awaits a future; for tasks that are there to wait. */
static cora_next waits(cora_coro self)
{
    return cora_await(self, SCENE(self)->future, cora_return_nothing);
}

/* Draws its own task's graph, a call deeper than its coroutine. */
static void draw_own(cora_coro self)
{
    strcpy(SCENE(self)->text, graph_of(none, CORA_ALL_FRAMES));
}

static cora_next deep(cora_coro self)
{
    draw_own(self);
    return cora_return_nothing(self);
}

/* Runs it in a task with the name main; what was drawn is in the text then. */
static void run_main(cora_loop loop, cora_coro coro)
{
    cora_future task = cora_create_task(loop, coro, .name = "main");
    cora_value outcome = cora_run_until_complete(loop, task);
    CHECK(cora_is_nothing(outcome));
}

/* ---- who awaits ---- */

TEST(as_a_callback, "a callback finds the task that awaits a future, and the tasks that await that")
{
    cora_loop loop = virtual_loop_new();
    struct drawing drawing;
    cora_future future = cora_future_new(loop);
    cora_future reader = cora_create_task(loop, acting(waits, NULL, future), .name = "reader");
    cora_create_task(loop, acting(waits, NULL, reader), .name = "boss");
    tick(loop);
    run_in(loop, cora_partial(draw, future, &drawing));
    CHECK_TEXT(drawing.text, "Future:\n.reader: waits\n..boss: waits\n");
    cora_set_result(future, cora_nothing());
    ticks(loop, 3);
    end(loop);
}

static cora_next c1(cora_coro self)
{
    return cora_await(self, acting(deep, SCENE(self)->text, none), cora_return_nothing);
}

static cora_next c2(cora_coro self)
{
    cora_future task = cora_create_task(cora_running_loop(), acting(c1, SCENE(self)->text, none),
                                        .name = "there there");
    return cora_await(self, task, cora_return_nothing);
}

static cora_next main_of_task(cora_coro self)
{
    return cora_await(self, acting(c2, SCENE(self)->text, none), cora_return_nothing);
}

TEST(task, "a task that is awaited: its coroutines, and those of the task that awaits it",
     "test_graph.CallStackTestBase.test_stack_task")
{
    cora_loop loop = virtual_loop_new();
    char text[4000] = "";
    run_main(loop, acting(main_of_task, text, none));
    CHECK_TEXT(text, "there there: deep c1\n.main: c2 main_of_task\n");
    end(loop);
}

/* A chain of coroutines with a plain call at its end. */
static cora_next c4(cora_coro self)
{
    draw_own(self);
    return cora_return_nothing(self);
}

static cora_next c4_slept(cora_coro self)
{
    return cora_await(self, acting(c4, SCENE(self)->text, none), cora_return_nothing);
}

static cora_next c3(cora_coro self)
{
    return cora_await(self, cora_sleep(0), c4_slept);
}

static cora_next c2_root(cora_coro self)
{
    return cora_await(self, acting(c3, SCENE(self)->text, none), cora_return_nothing);
}

static cora_next sub_main(cora_coro self)
{
    return cora_await(self, SCENE(self)->future, cora_return_nothing);
}

static cora_next spawn_all(cora_coro self)
{
    struct scene *scene = SCENE(self);
    cora_future task = cora_task_group_create_task(scene->group, acting(c2_root, scene->text, none),
                                                   .name = "c2_root");
    cora_task_group_spawn(scene->group, acting(sub_main, scene->text, task), .name = "sub_main_1");
    cora_task_group_spawn(scene->group, acting(sub_main, scene->text, task), .name = "sub_main_2");
    return cora_return_nothing(self);
}

static cora_next main_of_group(cora_coro self)
{
    struct scene *scene = SCENE(self);
    scene->group = cora_task_group_new(cora_running_loop());
    return cora_with(self, cora_task_group_enter(scene->group), spawn_all);
}

/* A part of a drawn graph is there so often. */
static int times(const char *text, const char *part)
{
    int count = 0;
    for (; (text = strstr(text, part)); text += strlen(part))
        count++;
    return count;
}

TEST(task_group, "the tasks of a group are awaited by the task that waits in it, and one by others",
     "test_graph.CallStackTestBase.test_stack_tgroup")
{
    cora_loop loop = virtual_loop_new();
    char text[4000] = "";
    run_main(loop, acting(main_of_group, text, none));
    CHECK(strstr(text, "c2_root: c4 c3 c2_root\n") == text);
    CHECK_INT(times(text, "\n"), 6);
    CHECK_INT(times(text, "\n.main: "), 1);
    CHECK_INT(times(text, "\n.sub_main_1: sub_main\n..main: "), 1);
    CHECK_INT(times(text, "\n.sub_main_2: sub_main\n..main: "), 1);
    CHECK_INT(times(text, " main_of_group\n"), 3);
    end(loop);
}

static cora_next child_of_group(cora_coro self)
{
    draw_own(self);
    return cora_return_nothing(self);
}

static cora_next await_child(cora_coro self)
{
    struct scene *scene = SCENE(self);
    return cora_await(self,
                      cora_task_group_create_task(
                          scene->group, acting(child_of_group, scene->text, none), .name = "child"),
                      cora_return_nothing);
}

static cora_next main_awaits_child(cora_coro self)
{
    struct scene *scene = SCENE(self);
    scene->group = cora_task_group_new(cora_running_loop());
    return cora_with(self, cora_task_group_enter(scene->group), await_child);
}

TEST(awaits_twice, "a task that awaits one in two ways, as its group's and itself, comes once")
{
    cora_loop loop = virtual_loop_new();
    char text[4000] = "";
    run_main(loop, acting(main_awaits_child, text, none));
    CHECK_TEXT(text, "child: child_of_group\n.main: main_awaits_child\n");
    end(loop);
}

static cora_next gathered_deep(cora_coro self)
{
    return cora_await(self, acting(deep, SCENE(self)->text, none), cora_return_nothing);
}

static cora_next yield_first(cora_coro self)
{
    return cora_await(self, cora_sleep(0), gathered_deep);
}

static cora_next gathered(cora_coro self)
{
    return cora_await(self, cora_sleep(0), yield_first);
}

static cora_next main_of_gather(cora_coro self)
{
    cora_coro coros[2] = { acting(gathered, SCENE(self)->text, none), cora_coroutine(await_sleep) };
    return cora_await(self, cora_gather(cora_running_loop(), coros, 2), cora_return_nothing);
}

/* What comes behind the first line. */
static const char *behind_first(const char *text)
{
    const char *line = strchr(text, '\n');
    return line ? line + 1 : "";
}

TEST(gather,
     "what is given to a gather is awaited by the task that calls it: the gather is no node",
     "test_graph.CallStackTestBase.test_stack_gather")
{
    cora_loop loop = virtual_loop_new();
    char text[4000] = "";
    run_main(loop, acting(main_of_gather, text, none));
    CHECK(strstr(text, ": deep gathered\n") != NULL);
    CHECK_TEXT(behind_first(text), ".main: main_of_gather\n");
    end(loop);
}

/* A step that gathers, and awaits something else meanwhile. */
static cora_next gather_and_wait(cora_coro self)
{
    struct scene *scene = SCENE(self);
    cora_future all = cora_gather(cora_running_loop(), &scene->future, 1);
    CHECK(!cora_is_null(all));
    return cora_await(self, cora_sleep(3), cora_return_nothing);
}

TEST(gather_not_awaited, "also while that task awaits something else; the gather that main() calls "
                         "has nobody")
{
    cora_loop loop = virtual_loop_new();
    cora_future futures[2];
    make_futures(loop, futures, 2);
    cora_gather(loop, &futures[1], 1);
    cora_future task =
        cora_create_task(loop, acting(gather_and_wait, NULL, futures[0]), .name = "main");
    tick(loop);
    CHECK_TEXT(graph_of(futures[0], CORA_ALL_FRAMES), "Future:\n.main: gather_and_wait\n");
    CHECK_TEXT(graph_of(futures[1], CORA_ALL_FRAMES), "Future:\n");
    cora_cancel(task);
    tick(loop);
    CHECK_TEXT(graph_of(futures[0], CORA_ALL_FRAMES), "Future:\n.main:\n");
    end(loop);
}

static cora_next wait_for_all(cora_coro self)
{
    struct scene *scene = SCENE(self);
    cora_future both[2] = { scene->future, scene->future };
    return cora_await(self, cora_gather(cora_running_loop(), both, 2), cora_return_nothing);
}

TEST(gather_itself,
     "the future of a gather is awaited by the task that awaits it; its member, given "
     "twice, once")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop), all = cora_gather(loop, &future, 1);
    cora_create_task(loop, acting(waits, NULL, all), .name = "waiter");
    cora_create_task(loop, acting(wait_for_all, NULL, future), .name = "gatherer");
    tick(loop);
    CHECK_TEXT(graph_of(all, CORA_ALL_FRAMES), "Future:\n.waiter: waits\n");
    CHECK_TEXT(graph_of(future, CORA_ALL_FRAMES), "Future:\n.gatherer: wait_for_all\n");
    cora_set_result(future, cora_nothing());
    ticks(loop, 3);
    end(loop);
}

static cora_next main_of_shield(cora_coro self)
{
    cora_coro inner = acting(gathered, SCENE(self)->text, none);
    return cora_await(self, cora_shield(cora_running_loop(), inner), cora_return_nothing);
}

TEST(shield, "what is shielded is awaited by the task that shields it: the shield is no node",
     "test_graph.CallStackTestBase.test_stack_shield")
{
    cora_loop loop = virtual_loop_new();
    char text[4000] = "";
    run_main(loop, acting(main_of_shield, text, none));
    CHECK(strstr(text, ": deep gathered\n") != NULL);
    CHECK_TEXT(behind_first(text), ".main: main_of_shield\n");
    end(loop);
}

static cora_next in_the_limit(cora_coro self)
{
    cora_coro inner = acting(gathered, SCENE(self)->text, none);
    return cora_await(self, cora_shield(cora_running_loop(), inner), cora_return_nothing);
}

static cora_next main_of_timeout(cora_coro self)
{
    return cora_with(self, cora_timeout_enter(cora_timeout_new(cora_running_loop(), 1)),
                     in_the_limit);
}

TEST(timeout, "a time limit around it leaves no frame of its own",
     "test_graph.CallStackTestBase.test_stack_timeout")
{
    cora_loop loop = virtual_loop_new();
    char text[4000] = "";
    run_main(loop, acting(main_of_timeout, text, none));
    CHECK(strstr(text, ": deep gathered\n") != NULL);
    CHECK_TEXT(behind_first(text), ".main: main_of_timeout\n");
    end(loop);
}

/* Waits for two tasks, one tick at a time, until both are done. */
struct waiting {
    char *text;
    cora_future tasks[2];
};

static cora_next wait_for_both(cora_coro self);

static cora_next some_are_done(cora_coro self)
{
    struct waiting *waiting = cora_locals(self, struct waiting);
    if (cora_list_size(cora_list_at(cora_got(self), 1)) > 0)
        return wait_for_both(self);
    cora_release(waiting->tasks[0]);
    cora_release(waiting->tasks[1]);
    return cora_return_nothing(self);
}

static cora_next wait_for_both(cora_coro self)
{
    struct waiting *waiting = cora_locals(self, struct waiting);
    return cora_await(self, cora_wait(waiting->tasks, 2, 1, CORA_FIRST_COMPLETED), some_are_done);
}

static cora_next rest_again(cora_coro self)
{
    return cora_await(self, cora_sleep(0), cora_return_nothing);
}

static cora_next rest(cora_coro self)
{
    return cora_await(self, cora_sleep(0), rest_again);
}

static cora_next main_of_wait(cora_coro self)
{
    struct waiting *waiting = cora_locals(self, struct waiting);
    cora_loop loop = cora_running_loop();
    waiting->tasks[0] = cora_create_task(loop, acting(gathered, waiting->text, none));
    waiting->tasks[1] = cora_create_task(loop, cora_coroutine(rest));
    cora_keep(waiting->tasks[0]);
    cora_keep(waiting->tasks[1]);
    return wait_for_both(self);
}

TEST(wait, "what is waited for is awaited by the task that waits",
     "test_graph.CallStackTestBase.test_stack_wait")
{
    cora_loop loop = virtual_loop_new();
    char text[4000] = "";
    run_main(loop, cora_coroutine(main_of_wait, struct waiting, .text = text));
    CHECK(strstr(text, ": deep gathered\n") != NULL);
    CHECK(strncmp(behind_first(text), ".main: ", 7) == 0);
    CHECK_INT(times(text, "\n"), 2);
    CHECK_INT(times(text, " main_of_wait\n"), 1);
    end(loop);
}

static cora_next a2(cora_coro self)
{
    return cora_await(self, SCENE(self)->future, cora_return_nothing);
}

static cora_next a1(cora_coro self)
{
    return cora_await(self, acting(a2, NULL, SCENE(self)->future), cora_return_nothing);
}

static cora_next b1(cora_coro self)
{
    return cora_await(self, SCENE(self)->future, cora_return_nothing);
}

static cora_next spawn_a_and_b(cora_coro self)
{
    struct scene *scene = SCENE(self);
    cora_task_group_spawn(scene->group, acting(a1, NULL, scene->future), .name = "A");
    cora_task_group_spawn(scene->group, acting(b1, NULL, scene->future), .name = "B");
    return cora_return_nothing(self);
}

static cora_next main_of_future(cora_coro self)
{
    struct scene *scene = SCENE(self);
    scene->group = cora_task_group_new(cora_running_loop());
    return cora_with(self, cora_task_group_enter(scene->group), spawn_a_and_b);
}

TEST(future, "a plain future has no stack; two tasks await it, and their group's parent those",
     "test_graph.CallStackTestBase.test_stack_future")
{
    cora_loop loop = virtual_loop_new();
    char text[4000];
    cora_future future = cora_future_new(loop);
    cora_future task = cora_create_task(loop, acting(main_of_future, NULL, future), .name = "main");
    ticks(loop, 5);
    strcpy(text, graph_of(future, CORA_ALL_FRAMES));
    CHECK(strstr(text, "Future:\n") == text);
    CHECK_INT(times(text, "\n"), 5);
    CHECK_INT(times(text, "\n.A: a2 a1\n..main: "), 1);
    CHECK_INT(times(text, "\n.B: b1\n..main: "), 1);
    CHECK(cora_print_call_graph(future, CORA_ALL_FRAMES, text, sizeof text) > 0);
    CHECK(strstr(text, "* Future(id=") == text);
    cora_set_result(future, cora_nothing());
    CHECK(cora_is_nothing(cora_run_until_complete(loop, task)));
    end(loop);
}

static cora_next race_it(cora_coro self)
{
    cora_coro way = acting(waits, NULL, SCENE(self)->future);
    return cora_await(self, cora_staggered_race(&way, 1, NEVER), cora_return_nothing);
}

static cora_next race_outer(cora_coro self)
{
    return cora_await(self, acting(race_it, NULL, SCENE(self)->future), cora_return_nothing);
}

TEST(staggered_race, "those that race are awaited by the task that lets them")
{
    cora_loop loop = virtual_loop_new();
    char text[4000];
    cora_future future = cora_future_new(loop);
    cora_create_task(loop, acting(race_outer, NULL, future), .name = "main");
    ticks(loop, 5);
    strcpy(text, graph_of(future, CORA_ALL_FRAMES));
    CHECK_INT(times(text, "\n"), 3);
    CHECK_INT(times(text, ": waits"), 1);
    CHECK_INT(times(text, "\n..main: "), 1);
    CHECK_INT(times(text, " race_it race_outer\n"), 1);
    cora_set_result(future, cora_nothing());
    ticks(loop, 5);
    end(loop);
}

static cora_next limited(cora_coro self)
{
    return cora_await(self, cora_wait_for(SCENE(self)->future, 100), cora_return_nothing);
}

TEST(wait_for, "wait_for awaits in the task itself: its frame is the innermost")
{
    cora_loop loop = virtual_loop_new();
    char text[4000];
    cora_future future = cora_future_new(loop);
    cora_create_task(loop, acting(limited, NULL, future), .name = "main");
    ticks(loop, 3);
    strcpy(text, graph_of(future, CORA_ALL_FRAMES));
    CHECK_INT(times(text, "\n"), 2);
    CHECK_INT(times(text, "\n.main: "), 1);
    CHECK_INT(times(text, " limited\n"), 1);
    cora_set_result(future, cora_nothing());
    ticks(loop, 3);
    end(loop);
}

TEST(callbacks, "what awaits it as callbacks is nobody's: it is not in the graph")
{
    cora_loop loop = current_loop_new();
    cora_future future = cora_future_new(loop), other = cora_future_new(loop);
    cora_add_done_callback(future, cora_partial(nothing_done));
    cora_add_done_callback(future, cora_partial(cora_copy_outcome, other));
    cora_when_done(cora_wait(&future, 1, 5, CORA_ALL_COMPLETED), cora_partial(nothing_done));
    cora_create_task(loop, acting(waits, NULL, future), .name = "main");
    tick(loop);
    CHECK_TEXT(graph_of(future, CORA_ALL_FRAMES), "Future:\n.main: waits\n");
    current_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(done, "one that is done is awaited by nobody any more, and has no frames")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_future inner = cora_create_task(loop, acting(waits, NULL, future), .name = "inner");
    cora_create_task(loop, acting(waits, NULL, inner), .name = "outer");
    tick(loop);
    CHECK_TEXT(graph_of(inner, CORA_ALL_FRAMES), "inner: waits\n.outer: waits\n");
    cora_set_result(future, cora_nothing());
    ticks(loop, 3);
    CHECK_TEXT(graph_of(inner, CORA_ALL_FRAMES), "inner:\n");
    CHECK_TEXT(graph_of(future, CORA_ALL_FRAMES), "Future:\n");
    end(loop);
}

TEST(not_begun, "a task that has not begun has the frame of its coroutine")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, acting(waits, NULL, none), .name = "new");
    CHECK_TEXT(graph_of(task, CORA_ALL_FRAMES), "new: waits\n");
    cora_cancel(task);
    tick(loop);
    end(loop);
}

/* ---- frames ---- */

static cora_next third(cora_coro self)
{
    return cora_await(self, SCENE(self)->future, cora_return_nothing);
}

static cora_next second(cora_coro self)
{
    return cora_await(self, acting(third, NULL, SCENE(self)->future), cora_return_nothing);
}

static cora_next first(cora_coro self)
{
    return cora_await(self, acting(second, NULL, SCENE(self)->future), cora_return_nothing);
}

TEST(limit, "a limit leaves so many of the innermost frames; a negative one of the outermost ones")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_future task = cora_create_task(loop, acting(first, NULL, future), .name = "main");
    tick(loop);
    CHECK_TEXT(graph_of(task, CORA_ALL_FRAMES), "main: third second first\n");
    CHECK_TEXT(graph_of(task, 3), "main: third second first\n");
    CHECK_TEXT(graph_of(task, 2), "main: third second\n");
    CHECK_TEXT(graph_of(task, 1), "main: third\n");
    CHECK_TEXT(graph_of(task, 0), "main:\n");
    CHECK_TEXT(graph_of(task, -1), "main: first\n");
    CHECK_TEXT(graph_of(task, -2), "main: second first\n");
    CHECK_TEXT(graph_of(task, -5), "main: third second first\n");
    CHECK_TEXT(graph_of(task, INT_MIN), "main: third second first\n");
    CHECK_TEXT(graph_of(future, 1), "Future:\n.main: third\n"); /* of each stack */
    CHECK_TEXT(graph_of(future, 0), "Future:\n.main:\n");
    cora_set_result(future, cora_nothing());
    tick(loop);
    end(loop);
}

static int third_line, second_line;

static cora_next third_here(cora_coro self)
{
    third_line = __LINE__ + 1;
    return cora_await(self, SCENE(self)->future, cora_return_nothing);
}

static cora_next second_here(cora_coro self)
{
    cora_coro inner = acting(third_here, NULL, SCENE(self)->future);
    second_line = __LINE__ + 1;
    return cora_await(self, inner, cora_return_nothing);
}

TEST(places, "each frame tells the file, and the line of the await where it is")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_future task = cora_create_task(loop, acting(second_here, NULL, future));
    tick(loop);
    struct cora_call_graph *graph = cora_capture_call_graph(task, CORA_ALL_FRAMES);
    CHECK_INT(graph->count, 1);
    CHECK(cora_same(graph->nodes[0].future, task));
    CHECK_INT(graph->nodes[0].frame_count, 2);
    const struct cora_frame *frames = graph->nodes[0].frames;
    CHECK_TEXT(frames[0].name, "third_here");
    CHECK_TEXT(frames[0].file, __FILE__);
    CHECK_INT(frames[0].line, third_line);
    CHECK_TEXT(frames[1].name, "second_here");
    CHECK_INT(frames[1].line, second_line);
    cora_call_graph_free(graph);
    end(loop);
}

/* ---- the current task ---- */

static cora_next draw_at_once(cora_coro self)
{
    char by_handle[4000];
    draw_own(self);
    strcpy(by_handle, graph_of(cora_current_task(cora_running_loop()), CORA_ALL_FRAMES));
    CHECK_TEXT(by_handle, SCENE(self)->text);
    return cora_return_nothing(self);
}

static cora_next own_outer(cora_coro self)
{
    return cora_await(self, acting(draw_at_once, SCENE(self)->text, none), cora_return_nothing);
}

TEST(current,
     "of a null future it is the graph of the current task: the step that runs is innermost")
{
    cora_loop loop = virtual_loop_new();
    char text[4000] = "";
    run_main(loop, acting(own_outer, text, none));
    CHECK_TEXT(text, "main: draw_at_once own_outer\n");
    end(loop);
}

static void draw_in_a_callback(cora_args bound)
{
    CHECK(!cora_capture_call_graph(none, CORA_ALL_FRAMES));
    ++*cora_arg(bound, 0, int *);
}

TEST(no_current, "in a callback there is no current task: NULL, and no error; to print it, nothing")
{
    cora_loop loop = virtual_loop_new();
    int calls = 0;
    struct reports reports;
    collect_reports(loop, &reports);
    run_in(loop, cora_partial(draw_in_a_callback, &calls));
    CHECK_INT(calls, 1);
    CHECK_INT(reports.count, 0);
    end(loop);
}

static void print_in_a_callback(cora_args bound)
{
    char text[100] = "before";
    *cora_arg(bound, 0, int *) = cora_print_call_graph(none, CORA_ALL_FRAMES, text, sizeof text);
    CHECK_TEXT(text, "");
}

TEST(print_no_current, "also printed: an empty text")
{
    cora_loop loop = virtual_loop_new();
    int length = 9;
    run_in(loop, cora_partial(print_in_a_callback, &length));
    CHECK_INT(length, 0);
    end(loop);
}

TEST(outside_of_a_run,
     "outside of a run the current task's is a RuntimeError, and a future's is there")
{
    cora_loop loop = virtual_loop_new();
    char text[100];
    cora_future future = cora_future_new(loop);
    CHECK(!cora_capture_call_graph(none, CORA_ALL_FRAMES));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ERUNTIME);
    CHECK_INT(cora_print_call_graph(none, CORA_ALL_FRAMES, text, sizeof text), CORA_ERUNTIME);
    CHECK_TEXT(graph_of(future, CORA_ALL_FRAMES), "Future:\n");
    end(loop);
}

/* A task that starts at once draws the one that makes it, whose step runs, too. */
static cora_next draw_maker(cora_coro self)
{
    struct scene *scene = SCENE(self);
    char own[4000];
    strcpy(own, graph_of(none, CORA_ALL_FRAMES));
    strcpy(scene->text, own);
    strcat(scene->text, graph_of(scene->future, CORA_ALL_FRAMES));
    return cora_return_nothing(self);
}

static cora_next make_eagerly(cora_coro self)
{
    cora_loop loop = cora_running_loop();
    cora_create_task(loop, acting(draw_maker, SCENE(self)->text, cora_current_task(loop)),
                     .name = "eager", .eager_start = 1);
    return cora_return_nothing(self);
}

static cora_next outer_of_eager(cora_coro self)
{
    return cora_await(self, acting(make_eagerly, SCENE(self)->text, none), cora_return_nothing);
}

TEST(eager, "in a first step that runs at once the current task is that one; its maker runs, too")
{
    cora_loop loop = virtual_loop_new();
    char text[4000] = "";
    run_main(loop, acting(outer_of_eager, text, none));
    CHECK_TEXT(text, "eager: draw_maker\nmain: make_eagerly outer_of_eager\n");
    end(loop);
}

/* ---- circles, and ways that meet again ---- */

struct pair {
    cora_future *other;
};

static cora_next await_other(cora_coro self)
{
    return cora_await(self, *cora_locals(self, struct pair)->other, cora_return_nothing);
}

TEST(circle, "tasks that await each other: the one asked for comes once more, with nothing below")
{
    cora_loop loop = virtual_loop_new();
    cora_future tasks[2];
    tasks[0] =
        cora_create_task(loop, cora_coroutine(await_other, struct pair, &tasks[1]), .name = "a");
    tasks[1] =
        cora_create_task(loop, cora_coroutine(await_other, struct pair, &tasks[0]), .name = "b");
    tick(loop);
    for (int i = 0; i < 2; i++) /* it leaves nothing behind */
        CHECK_TEXT(graph_of(tasks[0], CORA_ALL_FRAMES),
                   "a: await_other\n.b: await_other\n..a: await_other\n");
    CHECK_TEXT(graph_of(tasks[1], 0), "b:\n.a:\n..b:\n");
    struct reports reports;
    collect_reports(loop, &reports);
    end(loop);
}

TEST(meet_again, "two ways to one task: it comes in each of them, with all that is below")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop), tasks[2];
    tasks[0] = cora_create_task(loop, acting(waits, NULL, future), .name = "a");
    tasks[1] = cora_create_task(loop, acting(waits, NULL, future), .name = "b");
    struct waiting both = { .tasks = { tasks[0], tasks[1] } };
    cora_create_task(
        loop,
        cora_coroutine(wait_for_both, struct waiting, .tasks = { both.tasks[0], both.tasks[1] }),
        .name = "c");
    tick(loop);
    CHECK_TEXT(graph_of(future, 0), "Future:\n.a:\n..c:\n.b:\n..c:\n");
    end(loop);
}

TEST(order, "those that await one come in the order in which they began to")
{
    cora_loop loop = virtual_loop_new();
    static const char *const names[] = { "a", "b", "c", "d" };
    cora_future future = cora_future_new(loop);
    for (int i = 0; i < 4; i++)
        cora_create_task(loop, acting(waits, NULL, future), .name = names[i]);
    tick(loop);
    CHECK_TEXT(graph_of(future, 0), "Future:\n.a:\n.b:\n.c:\n.d:\n");
    end(loop);
}

/* ---- printing ---- */

TEST(print, "it prints each task with its name and handle, its stack, and who awaits it, indented")
{
    cora_loop loop = virtual_loop_new();
    char text[4000], expected[4000];
    cora_future future = cora_future_new(loop);
    cora_future task = cora_create_task(loop, acting(second_here, NULL, future), .name = "reader");
    cora_future boss = cora_create_task(loop, acting(third_here, NULL, task), .name = "boss");
    tick(loop);
    int length = cora_print_call_graph(future, CORA_ALL_FRAMES, text, sizeof text);
    snprintf(expected, sizeof expected,
             "* Future(id=0x%llx)\n"
             "  + Awaited by:\n"
             "    * Task(name='reader', id=0x%llx)\n"
             "      + Call stack:\n"
             "      |   File '%s', line %d, in async third_here()\n"
             "      |   File '%s', line %d, in async second_here()\n"
             "      + Awaited by:\n"
             "        * Task(name='boss', id=0x%llx)\n"
             "          + Call stack:\n"
             "          |   File '%s', line %d, in async third_here()\n",
             (unsigned long long)future.bits, (unsigned long long)task.bits, __FILE__, third_line,
             __FILE__, second_line, (unsigned long long)boss.bits, __FILE__, third_line);
    CHECK_TEXT(text, expected);
    CHECK_INT(length, strlen(expected));
    CHECK(cora_print_call_graph(future, 0, text, sizeof text) > 0);
    CHECK(strstr(text, "Call stack") == NULL);
    end(loop);
}

TEST(print_cut, "it is cut to the size of the buffer; the whole length comes back")
{
    cora_loop loop = virtual_loop_new();
    char text[4000], small[12] = "xxxxxxxxxxx";
    cora_future future = cora_future_new(loop);
    int length = cora_print_call_graph(future, CORA_ALL_FRAMES, text, sizeof text);
    CHECK_INT(cora_print_call_graph(future, CORA_ALL_FRAMES, small, sizeof small), length);
    CHECK_TEXT(small, "* Future(id");
    CHECK_INT(cora_print_call_graph(future, CORA_ALL_FRAMES, NULL, 0), length);
    end(loop);
}

static cora_next print_itself(cora_coro self)
{
    char text[1000];
    CHECK(cora_print_call_graph(none, CORA_ALL_FRAMES, text, sizeof text) > 0);
    CHECK(strstr(text, "* Task(name='main', id=0x") == text);
    CHECK(strstr(text, ", in async print_itself()\n") != NULL);
    return cora_return_nothing(self);
}

TEST(print_current, "a step prints the current task's")
{
    cora_loop loop = virtual_loop_new();
    run_main(loop, cora_coroutine(print_itself));
    end(loop);
}

/* ---- wrong use ---- */

static void finish_unkept(cora_args bound)
{
    cora_future future = cora_future_new(cora_running_loop());
    *cora_arg(bound, 0, cora_future *) = future;
    cora_set_result(future, cora_nothing());
}

TEST(stale, "the graph of a future that is stale is a StaleHandle error")
{
    cora_loop loop = virtual_loop_new();
    char text[100];
    cora_future future = none;
    run_in(loop, cora_partial(finish_unkept, &future));
    tick(loop);
    CHECK(!cora_capture_call_graph(future, CORA_ALL_FRAMES));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ESTALE);
    CHECK_INT(cora_print_call_graph(future, CORA_ALL_FRAMES, text, sizeof text), CORA_ESTALE);
    end(loop);
    CHECK(!cora_capture_call_graph(future, CORA_ALL_FRAMES));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ESTALE);
}

static void *visit_from_another_thread(void *argument)
{
    CHECK(!cora_capture_call_graph(*(cora_future *)argument, CORA_ALL_FRAMES));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EWRONGTHREAD);
    return NULL;
}

TEST(another_thread, "that of another thread's future a WrongThread")
{
    cora_loop loop = virtual_loop_new();
    pthread_t thread;
    cora_future future = cora_future_new(loop);
    CHECK_INT(pthread_create(&thread, NULL, visit_from_another_thread, &future), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    end(loop);
}

TEST(free_null, "to free no graph is nothing")
{
    cora_call_graph_free(NULL);
}

TEST(outlives,
     "a graph may be read when what it shows is gone: its handles are stale, its texts static")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_create_task(loop, acting(second_here, NULL, future), .name = "reader");
    tick(loop);
    struct cora_call_graph *graph = cora_capture_call_graph(future, CORA_ALL_FRAMES);
    end(loop);
    CHECK_INT(graph->count, 2);
    CHECK_TEXT(graph->nodes[1].frames[0].name, "third_here");
    CHECK(is_error(graph->nodes[1].future, CORA_ESTALE));
    cora_call_graph_free(graph);
}

/* ---- large ones ---- */

static cora_next deeper(cora_coro self)
{
    struct scene *scene = SCENE(self);
    if (scene->number == 0)
        return cora_await(self, scene->future, cora_return_nothing);
    return cora_await(
        self,
        cora_coroutine(deeper, struct scene, .future = scene->future, .number = scene->number - 1),
        cora_return_nothing);
}

static void *capture_deep(void *unused)
{
    (void)unused;
    int count = harness_scale(10000);
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop), last = future;
    for (int i = 0; i < count; i++) { /* tasks that await each other, one after the other */
        last = cora_create_task(loop, acting(waits, NULL, last));
        tick(loop);
    }
    struct cora_call_graph *graph = cora_capture_call_graph(future, CORA_ALL_FRAMES);
    CHECK_INT(graph->count, count + 1);
    CHECK_INT(graph->nodes[count].depth, count);
    CHECK(cora_same(graph->nodes[count].future, last));
    cora_call_graph_free(graph);
    cora_future task = cora_create_task(/* and one of many coroutines */
                                        loop, cora_coroutine(deeper, struct scene, .future = future,
                                                             .number = count - 1));
    tick(loop);
    graph = cora_capture_call_graph(task, CORA_ALL_FRAMES);
    CHECK_INT(graph->nodes[0].frame_count, count);
    cora_call_graph_free(graph);
    cora_loop_close(loop);
    return NULL;
}

TEST(deep, "ten thousand tasks in a row, or coroutines in each other, take no stack")
{
    harness_in_small_stack(capture_deep);
}

TEST(many_ways, "where the ways double at each level the graph comes to an end all the same")
{
    cora_loop loop = virtual_loop_new();
    cora_future level[2] = { cora_future_new(loop), cora_future_new(loop) };
    cora_future bottom = level[0];
    for (int i = 0; i < 40; i++) {
        cora_future next[2];
        for (int j = 0; j < 2; j++)
            next[j] = cora_create_task(loop, cora_coroutine(wait_for_both, struct waiting,
                                                            .tasks = { level[0], level[1] }));
        tick(loop);
        level[0] = next[0];
        level[1] = next[1];
    }
    struct cora_call_graph *graph = cora_capture_call_graph(bottom, 0);
    CHECK(graph && graph->count > 80);
    cora_call_graph_free(graph);
    end(loop);
}
