/*
 * How it works: tasks are found by going through their pool. Memory has no order of creation, so
 * each carries a number, by which they are sorted: a merge sort of a list that runs through the
 * tasks themselves, and needs no memory.
 */
#include "task.h"

#include "private_coroutine.h"

#include "reactor/context.h"

#include <stdio.h>

/* ---- what is asked of one ---- */

struct coroutine *task_root(const struct task *task)
{
    struct slot *slot = slot_at(task->coro.bits);
    bool lives = slot_is(slot, task->coro.bits) && slot_state(slot) == SLOT_WAITING;
    return lives && !future_is_done(&task->future) ? coroutine_of(slot) : NULL;
}

bool cora_is_task(cora_future handle)
{
    struct future *future = future_find(handle);
    return future && is_task(future);
}

const char *task_name(const struct task *task, char *buffer, size_t size)
{
    if (task->name)
        return cora_as_text(counted_value(task->name));
    snprintf(buffer, size, "Task-%u", (unsigned)task->number);
    return buffer;
}

const char *cora_get_name(cora_future handle)
{
    char buffer[40];
    struct task *task = task_get(handle);
    cora_value name = task ? cora_text(task_name(task, buffer, sizeof buffer)) : cora_static("");
    if (cora_is_error(name))
        fail_with(name);
    return cora_is_error(name) ? "" : cora_as_text(name);
}

int cora_set_name(cora_future handle, const char *name)
{
    struct task *task = task_get(handle);
    cora_value kept;
    if (!task)
        return cora_last_error_code();
    if (!value_keep(cora_chars(name), &kept))
        return fail_with(memory_error());
    struct cora_counted *before = task->name;
    task->name = kept.as.counted;
    if (before)
        counted_drop(before);
    return 0;
}

cora_coro cora_get_coro(cora_future handle)
{
    struct task *task = task_get(handle);
    return task ? task->coro : (cora_coro){ 0 };
}

cora_value cora_get_context(cora_future handle)
{
    struct task *task = task_get(handle);
    if (!task)
        return error_again(cora_last_error());
    if (task->flags & TASK_IN_CONTEXT)
        return counted_value(task->context);
    struct cora_counted *current = cora_thread.context;
    if (!(task->flags & TASK_RUNNING))
        cora_thread.context = task->context;
    cora_value copy = cora_copy_context();
    cora_thread.context = current;
    return copy;
}

size_t cora_get_stack(cora_future handle, struct cora_frame *ret_frames, size_t room)
{
    struct task *task = task_get(handle);
    const struct coroutine *root = task ? task_root(task) : NULL;
    if (root && room > 0) {
        const struct cora_place *where = root->where ? root->where : root->place;
        ret_frames[0] = (struct cora_frame){ root->place->name, where->file, where->line };
    }
    return root != NULL;
}

int cora_print_stack(cora_future handle, char *buffer, size_t size)
{
    struct cora_frame frame;
    char text[600];
    cora_future_print(handle, text, sizeof text);
    if (cora_get_stack(handle, &frame, 1) == 0)
        return snprintf(buffer, size, "No stack for %s\n", text);
    return snprintf(buffer, size,
                    "Stack for %s (most recent call last):\n  File \"%s\", line %d, in %s\n", text,
                    frame.file, frame.line, frame.name);
}

/* ---- printing ---- */

/* name='Task-1' coro=<brew() running at tea.c:12> wait_for=<Future pending ...> */
int task_describe(const struct future *future, char *buffer, size_t size)
{
    static _Thread_local bool nested; /* what a task awaits may await it in turn */
    const struct task *task = task_of_const(future);
    const struct coroutine *root = task_root(task);
    char name[40], awaited[300] = "";
    if (nested)
        return snprintf(buffer, size, " name='%s' ...", task_name(task, name, sizeof name));
    if (task->flags & TASK_SUSPENDED && root) {
        nested = true;
        size_t length = (size_t)snprintf(awaited, sizeof awaited, " wait_for=");
        future_print(future_of(slot_at(task->as.top->awaited)), awaited + length,
                     sizeof awaited - length);
        nested = false;
    }
    if (task->flags & TASK_OPERATING && root)
        snprintf(awaited, sizeof awaited, " wait_for=<%s pending>",
                 task_waiter(task)->operation->name);
    if (task->flags & TASK_SLEEPING)
        snprintf(awaited, sizeof awaited, " wait_for=<sleep pending>");
    if (!root)
        return snprintf(buffer, size, " name='%s' coro=<%s() done, created at %s:%d>",
                        task_name(task, name, sizeof name), task->as.place->name,
                        task->as.place->file, task->as.place->line);
    const struct cora_place *where = root->where ? root->where : root->place;
    return snprintf(buffer, size, " name='%s' coro=<%s() running at %s:%d>%s",
                    task_name(task, name, sizeof name), root->place->name, where->file, where->line,
                    awaited);
}

/* ---- all of them ---- */

/* The list that task_list makes: pool_visit passes nothing on. */
static _Thread_local struct task *listed;

static void list_task(struct slot *slot)
{
    struct task *task = task_of(future_of(slot));
    if (future_is_done(&task->future))
        return;
    task->walk.up = listed ? &listed->future : NULL;
    listed = task;
}

static struct task *tasks_merge(struct task *one, struct task *other)
{
    struct task *first = NULL, *last = NULL;
    while (one || other) {
        bool take = !other || (one && (int32_t)(one->order - other->order) < 0);
        struct task *task = take ? one : other;
        if (take)
            one = next_task(one);
        else
            other = next_task(other);
        if (last)
            last->walk.up = &task->future;
        else
            first = task;
        last = task;
    }
    if (last)
        last->walk.up = NULL;
    return first;
}

struct task *task_list(struct pool *pool)
{
    struct task *sorted[40] = { NULL }, *all = NULL; /* by powers of two */
    listed = NULL;
    pool_visit(pool, list_task);
    for (struct task *task = listed, *next; task; task = next) {
        next = next_task(task);
        task->walk.up = NULL;
        size_t i = 0;
        for (; sorted[i]; i++) {
            task = tasks_merge(sorted[i], task);
            sorted[i] = NULL;
        }
        sorted[i] = task;
    }
    for (size_t i = 0; i < sizeof sorted / sizeof *sorted; i++)
        all = tasks_merge(sorted[i], all);
    return all;
}

cora_value cora_all_tasks(cora_loop handle)
{
    struct loop *loop = loop_get(handle);
    if (!loop)
        return error_again(cora_last_error());
    cora_value list = list_new(loop->tasks.live);
    if (cora_is_error(list))
        return list;
    for (struct task *task = task_list(&loop->tasks); task; task = next_task(task))
        list_add(list, cora_from_future(future_handle(&task->future)));
    return counted_temporary(list.as.counted);
}

cora_future cora_current_task(cora_loop handle)
{
    struct loop *loop = loop_get(handle);
    bool ours = loop && !loop_forked(loop);
    for (struct step_run *run = ours ? run_first() : NULL; run; run = run_next(run))
        if (run->task && run->loop == loop)
            return future_handle(&run->task->future);
    return (cora_future){ 0 };
}
