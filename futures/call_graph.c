/*
 * How it works: nothing is recorded while tasks run. Who awaits a future is in its done-callbacks:
 * some functions of the library's own stand for a task (struct awaiter). The graph is gone through
 * with a stack of our own, as it may be deep; the futures on the way down are marked, so that a
 * circle ends.
 */
#include "call_graph.h"

#include "private_coroutine.h"

#include <stdio.h>
#include <stdlib.h>

/* A graph may grow with the number of ways through it: what is beyond is left out. */
#define NODES_MAX 100000

/* Memory that grows: this is for looking at a program, not for running it. */
struct growing {
    void *items;
    size_t count, room, size;
};

struct capture {
    struct growing nodes, frames, waiting, path;
    int limit;
    bool failed;
};

struct waiting_node {
    cora_future future;
    size_t depth;
};

/* Room for one more, which is not initialised; NULL without memory. */
static void *add(struct capture *capture, struct growing *list)
{
    if (list->count == list->room) {
        size_t room = list->room * 2 + 16;
        void *items = capture->failed ? NULL : realloc(list->items, room * list->size);
        if (!items) {
            capture->failed = true;
            return NULL;
        }
        list->items = items;
        list->room = room;
    }
    return (char *)list->items + list->count++ * list->size;
}

/* ---- one node ---- */

/* The innermost of its coroutines, or NULL. */
static const struct coroutine *innermost(struct task *task)
{
    if (future_is_done(&task->future))
        return NULL;
    for (const struct step_run *run = run_first(); run; run = run_next(run))
        if (run->task == task)
            return run->top;
    return task->as.top;
}

/* Adds the frames of a task, the innermost first; as many as are wanted. */
static size_t add_frames(struct capture *capture, struct task *task)
{
    size_t all = 0, skipped = 0, count = 0;
    for (const struct coroutine *coro = innermost(task); coro; coro = coro->up)
        all++;
    if (capture->limit < 0 && all > (size_t) - (int64_t)capture->limit)
        skipped = all - (size_t) - (int64_t)capture->limit;
    size_t wanted = capture->limit >= 0 && all > (size_t)capture->limit ? (size_t)capture->limit
                                                                        : all - skipped;
    for (const struct coroutine *coro = innermost(task); coro && count < wanted; coro = coro->up) {
        if (skipped > 0) {
            skipped--;
            continue;
        }
        struct cora_frame *frame = add(capture, &capture->frames);
        if (!frame)
            return count;
        const struct cora_place *where = coro->where ? coro->where : coro->place;
        *frame = (struct cora_frame){ coro->place->name, where->file, where->line };
        count++;
    }
    return count;
}

/* The task that this done-callback stands for; null: none. */
static cora_future callback_task(struct slot *slot)
{
    static const struct awaiter *const awaiters[] = {
        &task_awaiter,   &gather_awaiter, &wait_awaiter,
        &shield_awaiter, &group_awaiter,  &race_awaiter,
    };
    const struct callback *callback = slot_callback(slot);
    for (size_t i = 0; i < sizeof awaiters / sizeof *awaiters; i++)
        if (callback->function == awaiters[i]->callback)
            return awaiters[i]->find(callback_args(slot, callback));
    return (cora_future){ 0 };
}

static void add_waiting(struct capture *capture, cora_future future, size_t depth)
{
    struct waiting_node *waiting =
        capture->waiting.count < NODES_MAX ? add(capture, &capture->waiting) : NULL;
    if (waiting)
        *waiting = (struct waiting_node){ future, depth };
}

/* A task that awaits it, once: it may in several ways. */
static void add_awaiter(struct capture *capture, struct slot *callback, size_t depth)
{
    struct future *future = future_find(callback_task(callback));
    if (!future || !is_task(future) || task_of(future)->flags & TASK_LISTED)
        return;
    task_of(future)->flags |= TASK_LISTED;
    add_waiting(capture, future_handle(future), depth);
}

/* Lets the tasks that await a future be next, the first registered first. */
static void add_awaiters(struct capture *capture, struct future *future, size_t depth)
{
    size_t begin = capture->waiting.count;
    struct slot *last = future_has(future, FUTURE_FURTHER) ? future->more.further : NULL;
    if (future_has(future, FUTURE_CALLBACK))
        add_awaiter(capture, &future->slot, depth);
    for (struct slot *slot = last ? last->next : NULL; slot;
         slot = slot == last ? NULL : slot->next)
        add_awaiter(capture, slot, depth);
    struct waiting_node *list = capture->waiting.items;
    for (size_t i = begin; i < capture->waiting.count; i++)
        task_of(future_find(list[i].future))->flags &= ~(uint32_t)TASK_LISTED;
    for (size_t end = capture->waiting.count; begin + 1 < end; begin++) { /* it is a stack */
        struct waiting_node one = list[begin];
        list[begin] = list[--end];
        list[end] = one;
    }
}

/* ---- the graph ---- */

/* Leaves the futures on the path below this depth. */
static void leave_to(struct capture *capture, size_t depth)
{
    struct future **path = capture->path.items;
    while (capture->path.count > depth)
        future_unmark(path[--capture->path.count], FUTURE_VISITED);
}

static void visit(struct capture *capture, struct future *future, size_t depth)
{
    struct cora_call_graph_node *node = add(capture, &capture->nodes);
    if (!node)
        return;
    *node = (struct cora_call_graph_node){ .future = future_handle(future), .depth = depth };
    if (is_task(future)) {
        size_t frames = add_frames(capture, task_of(future));
        node->frame_count = frames;
    }
    if (future_has(future, FUTURE_VISITED) || future_is_done(future))
        return;
    struct future **last = add(capture, &capture->path);
    if (!last)
        return;
    *last = future;
    future_mark(future, FUTURE_VISITED);
    add_awaiters(capture, future, depth + 1);
}

/* All in one piece of memory, for one free. */
static struct cora_call_graph *graph_new(const struct capture *capture)
{
    size_t nodes = capture->nodes.count * sizeof(struct cora_call_graph_node),
           frames = capture->frames.count * sizeof(struct cora_frame);
    struct cora_call_graph *graph = malloc(sizeof *graph + nodes + frames);
    if (!graph)
        return NULL;
    struct cora_call_graph_node *node = (struct cora_call_graph_node *)(graph + 1);
    struct cora_frame *frame = (struct cora_frame *)(void *)((char *)node + nodes);
    memcpy(node, capture->nodes.items, nodes);
    if (frames)
        memcpy(frame, capture->frames.items, frames);
    *graph = (struct cora_call_graph){ capture->nodes.count, node };
    for (size_t i = 0; i < graph->count; i++) {
        node[i].frames = frame;
        frame += node[i].frame_count;
    }
    return graph;
}

static struct cora_call_graph *graph_of(struct future *future, int limit)
{
    struct capture capture = {
        .nodes = { .size = sizeof(struct cora_call_graph_node) },
        .frames = { .size = sizeof(struct cora_frame) },
        .waiting = { .size = sizeof(struct waiting_node) },
        .path = { .size = sizeof(struct future *) },
        .limit = limit,
    };
    add_waiting(&capture, future_handle(future), 0);
    while (capture.waiting.count > 0 && capture.nodes.count < NODES_MAX && !capture.failed) {
        struct waiting_node next =
            ((struct waiting_node *)capture.waiting.items)[--capture.waiting.count];
        struct future *found = future_find(next.future);
        leave_to(&capture, next.depth);
        if (found)
            visit(&capture, found, next.depth);
    }
    leave_to(&capture, 0);
    struct cora_call_graph *graph = capture.failed ? NULL : graph_new(&capture);
    free(capture.nodes.items);
    free(capture.frames.items);
    free(capture.waiting.items);
    free(capture.path.items);
    if (!graph)
        fail_with(memory_error());
    return graph;
}

struct cora_call_graph *cora_capture_call_graph(cora_future handle, int limit)
{
    if (cora_is_null(handle)) {
        cora_loop loop = cora_running_loop();
        if (cora_is_null(loop))
            return NULL;
        handle = cora_current_task(loop);
        if (cora_is_null(handle))
            return NULL;
    }
    struct future *future = future_get(handle);
    return future ? graph_of(future, limit) : NULL;
}

void cora_call_graph_free(struct cora_call_graph *graph)
{
    free(graph);
}

/* ---- for a person to read ---- */

static void print_node(FILE *out, const struct cora_call_graph_node *node)
{
    int indent = (int)node->depth * 4;
    unsigned long long id = node->future.bits;
    const struct future *future = future_find(node->future);
    char name[40];
    if (future && is_task(future))
        fprintf(out, "%*s* Task(name='%s', id=0x%llx)\n", indent, "",
                task_name(task_of_const(future), name, sizeof name), id);
    else
        fprintf(out, "%*s* Future(id=0x%llx)\n", indent, "", id);
    if (node->frame_count > 0)
        fprintf(out, "%*s  + Call stack:\n", indent, "");
    for (size_t i = 0; i < node->frame_count; i++)
        fprintf(out, "%*s  |   File '%s', line %d, in async %s()\n", indent, "",
                node->frames[i].file, node->frames[i].line, node->frames[i].name);
}

int cora_print_call_graph(cora_future future, int limit, char *buffer, size_t size)
{
    char *text = NULL;
    size_t length = 0;
    struct cora_call_graph *graph = cora_capture_call_graph(future, limit);
    FILE *out = graph ? open_memstream(&text, &length) : NULL;
    if (size > 0)
        buffer[0] = 0;
    if (graph && !out) {
        cora_call_graph_free(graph);
        return fail_with(memory_error());
    }
    if (!graph)
        return cora_is_null(future) && !cora_is_null(cora_running_loop())
                   ? 0
                   : cora_last_error_code();
    for (size_t i = 0; i < graph->count; i++) {
        print_node(out, &graph->nodes[i]);
        if (i + 1 < graph->count && graph->nodes[i + 1].depth > graph->nodes[i].depth)
            fprintf(out, "%*s  + Awaited by:\n", (int)graph->nodes[i].depth * 4, "");
    }
    bool written = fclose(out) == 0 && text;
    cora_call_graph_free(graph);
    if (written)
        snprintf(buffer, size, "%s", text);
    free(text);
    if (!written)
        return fail_with(memory_error());
    return length > INT32_MAX ? INT32_MAX : (int)length;
}
