/*
 * How it works: as asyncio's TaskGroup. Each task has a note, bound to its done-callback: while it
 * runs the note is in the list of tasks, if it fails in the list of errors, so that a failure needs
 * no memory. The first failure cancels the others and the parent; leaving takes that cancel back.
 *
 * Leaving is a coroutine like a program's own, which waits on a future until the last task has
 * ended, as often as it is cancelled meanwhile.
 */
#include "task_group.h"

#include "private_coroutine.h"

#include <stdio.h>

const cora_type cora_type_task_group = { "task group", NULL, NULL, KIND_HANDLE };

/* Of one task. */
struct note {
    struct note *next, *previous;
    cora_future task;
    cora_value error; /* it has failed: counted */
};

struct notes {
    struct note *first, *last;
};

struct group {
    bool entered, exiting, aborting;
    bool parent_cancelled; /* the parent was cancelled by the group, and that is not taken back */
    cora_future parent;
    cora_future completed; /* who leaves waits for this; null: nobody does */
    size_t count;          /* of tasks */
    struct notes tasks, errors;
    cora_loop loop;
};

static void notes_append(struct notes *notes, struct note *note)
{
    note->next = NULL;
    note->previous = notes->last;
    if (notes->last)
        notes->last->next = note;
    else
        notes->first = note;
    notes->last = note;
}

static void notes_remove(struct notes *notes, struct note *note)
{
    if (note->next)
        note->next->previous = note->previous;
    else
        notes->last = note->previous;
    if (note->previous)
        note->previous->next = note->next;
    else
        notes->first = note->next;
}

static void notes_free(struct notes *notes)
{
    for (struct note *note = notes->first, *next; note; note = next) {
        next = note->next;
        cora_temporary(note->error);
        block_put(note, sizeof *note);
    }
    *notes = (struct notes){ NULL, NULL };
}

/* Who leaves it finds it gone. */
static void group_close(void *memory)
{
    struct group *group = memory;
    notes_free(&group->tasks);
    notes_free(&group->errors);
    if (!cora_is_null(group->completed) && !cora_done(group->completed))
        cora_set_result(group->completed, cora_nothing());
}

static const struct cora_object_type group_type = { "task group", sizeof(struct group),
                                                    group_close };

static struct group *group_get(cora_task_group handle)
{
    return cora_object_get(handle.bits, &group_type);
}

cora_task_group cora_task_group_new_at(cora_loop loop, const struct cora_place *place)
{
    cora_task_group handle = { cora_object_new_at(loop, &group_type, place) };
    if (cora_is_null(handle))
        return handle;
    group_get(handle)->loop = loop;
    object_hold(handle.bits, &group_type);
    return handle;
}

int cora_task_group_close(cora_task_group group)
{
    return object_close_held(group.bits, &group_type);
}

/* ---- its tasks ---- */

/* Cancels all that are not done. */
static void group_abort(cora_task_group handle, struct group *group)
{
    group->aborting = true;
    for (struct note *note = group->tasks.first, *next; note; note = next) {
        next = note->next;
        if (!cora_done(note->task))
            cora_cancel(note->task);
        if (group_get(handle) != group)
            return;
    }
}

static void report_late(cora_future parent, cora_future task, cora_value error)
{
    char message[700], text[300], parent_text[300];
    struct future *future = future_find(task);
    cora_future_print(task, text, sizeof text);
    cora_future_print(parent, parent_text, sizeof parent_text);
    snprintf(message, sizeof message,
             "Task %s has errored out but its parent task %s is already completed", text,
             parent_text);
    struct cora_report report = { .message = message,
                                  .exception = error,
                                  .future = task,
                                  .object = text,
                                  .place = future->place };
    loop_report(future_loop(future), &report);
}

static void group_task_done(cora_args bound, cora_future task)
{
    cora_task_group handle = cora_arg_task_group(bound, 0);
    struct note *note = cora_arg(bound, 1, struct note *);
    struct group *group = group_get(handle);
    if (!group)
        return; /* closed, and the note with it */
    notes_remove(&group->tasks, note);
    group->count--;
    if (group->count == 0 && !cora_is_null(group->completed) && !cora_done(group->completed))
        cora_set_result(group->completed, cora_nothing());
    cora_value error = cora_exception(task);
    if (cora_cancelled(task) || cora_is_nothing(error)) {
        block_put(note, sizeof *note);
        return;
    }
    note->error = cora_copy(error);
    notes_append(&group->errors, note);
    if (cora_done(group->parent)) {
        report_late(group->parent, task, error);
    } else if (!group->aborting && !group->parent_cancelled) {
        group->parent_cancelled = true;
        group_abort(handle, group);
        if (group_get(handle) == group)
            cora_cancel(group->parent);
    }
}

/* The task whose tasks those are that have this done-callback. */
static cora_future group_parent(cora_args bound)
{
    struct group *group = group_get(cora_arg_task_group(bound, 0));
    return group ? group->parent : (cora_future){ 0 };
}

const struct awaiter group_awaiter = { (cora_function)group_task_done, group_parent };

/* Why it takes no tasks; NULL if it does. */
static const char *refusal(const struct group *group)
{
    if (!group->entered)
        return "has not been entered: create its tasks in the step that cora_with goes on with";
    if (group->exiting && group->count == 0)
        return "is finished: it takes tasks until it is left and all have ended";
    return group->aborting ? "is shutting down: its tasks are cancelled" : NULL;
}

static cora_future group_create(cora_task_group handle, cora_awaitable what, bool holds,
                                const struct cora_task_options *options,
                                const struct cora_place *place)
{
    cora_future task = { 0 };
    struct group *group = group_get(handle);
    if (group && refusal(group))
        cora_object_error(group, CORA_ERUNTIME, "TaskGroup %s", refusal(group));
    struct note *note = NULL;
    if (group && !refusal(group) && !(note = block_get(sizeof *note)))
        fail_with(memory_error());
    if (note)
        task = holds ? cora_create_task_at(group->loop, what, options, place)
                     : task_create(group->loop, what, options, place);
    else
        awaitable_close(what);
    if (cora_is_null(task) || (group = group_get(handle)) == NULL) {
        if (note)
            block_put(note, sizeof *note);
        return task; /* if its first step has closed the group, it is nobody's */
    }
    *note = (struct note){ .task = task };
    notes_append(&group->tasks, note);
    group->count++;
    if (cora_add_done_callback(task, cora_partial(group_task_done, handle, note)) == 0)
        return task;
    notes_remove(&group->tasks, note);
    group->count--;
    block_put(note, sizeof *note);
    cora_cancel(task); /* nobody would wait for it */
    return (cora_future){ 0 };
}

cora_future cora_task_group_create_task_at(cora_task_group group, cora_awaitable what,
                                           const struct cora_task_options *options,
                                           const struct cora_place *place)
{
    return group_create(group, what, true, options, place);
}

int cora_task_group_spawn_at(cora_task_group group, cora_awaitable what,
                             const struct cora_task_options *options,
                             const struct cora_place *place)
{
    cora_future task = group_create(group, what, false, options, place);
    return cora_is_null(task) ? cora_last_error_code() : 0;
}

/* ---- entering ---- */

static bool enter_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    struct group *group = group_get(cora_as_task_group(what->value));
    cora_future task = group ? cora_current_task(group->loop) : (cora_future){ 0 };
    *ret_outcome = what->value;
    if (!group)
        *ret_outcome = cora_last_error();
    else if (group->entered)
        *ret_outcome = cora_object_error(group, CORA_ERUNTIME,
                                         "TaskGroup has already been entered: make a new "
                                         "one for each use");
    else if (cora_is_null(task))
        *ret_outcome = cora_object_error(group, CORA_ERUNTIME,
                                         "TaskGroup cannot determine the parent task: enter "
                                         "it in a step that a task runs");
    if (cora_is_error(*ret_outcome))
        return true;
    group->entered = true;
    group->parent = task;
    return true;
}

/* One that is closed, or left already, has nothing to say any more. */
static cora_awaitable group_leave(cora_value entered, cora_value error)
{
    cora_task_group handle = cora_as_task_group(entered);
    struct group *group = group_get(handle);
    return group && !group->exiting ? cora_task_group_exit(handle, error) : cora_ready(error);
}

static const struct cora_operation group_enter = {
    .name = "task group",
    .now = enter_now,
    .leave = group_leave,
};

cora_awaitable cora_task_group_enter(cora_task_group group)
{
    return (cora_awaitable){ .operation = &group_enter, .value = cora_from(group) };
}

/* ---- leaving ---- */

struct leaving {
    cora_task_group group;
    cora_value error;     /* that the body ended with: counted */
    cora_value cancelled; /* to be raised at the end, if nothing has failed: counted */
    cora_value fatal;     /* to be raised in any case: counted */
};

static void leaving_drop(void *locals)
{
    struct leaving *leaving = locals;
    cora_drop(leaving->error);
    cora_drop(leaving->cancelled);
    cora_drop(leaving->fatal);
}

/* The first fatal error among those of the tasks. */
static void find_fatal(struct leaving *leaving, const struct group *group)
{
    for (const struct note *note = group->errors.first; note; note = note->next)
        if (cora_is_nothing(leaving->fatal) && error_is_fatal(note->error))
            leaving->fatal = cora_copy(note->error);
}

/* All errors in one; the body's own is the last. */
static cora_value group_error(const struct group *group, cora_value last)
{
    size_t count = 0, room = 1;
    for (const struct note *note = group->errors.first; note; note = note->next)
        room++;
    cora_value *errors = block_get(room * sizeof *errors);
    if (!errors)
        return memory_error();
    for (const struct note *note = group->errors.first; note; note = note->next)
        errors[count++] = note->error;
    if (!cora_is_nothing(last))
        errors[count++] = last;
    cora_value error = cora_exception_group(errors, count, "unhandled errors in a TaskGroup");
    block_put(errors, room * sizeof *errors);
    return error;
}

/* What is raised in the end; nothing: nothing. */
static cora_value verdict(struct leaving *leaving, struct group *group)
{
    cora_future parent = group->parent;
    find_fatal(leaving, group);
    if (!cora_is_nothing(leaving->fatal))
        return leaving->fatal;
    bool cancelled = !cora_is_nothing(leaving->cancelled);
    if (group->parent_cancelled && cora_uncancel(parent) == 0)
        cancelled = false;
    if (cancelled && !group->errors.first)
        return leaving->cancelled;
    cora_value last = leaving->error;
    if (cora_error_code(last) == CORA_ECANCELLED)
        last = cora_nothing();
    if (!group->errors.first && cora_is_nothing(last))
        return cora_nothing();
    if (cora_cancelling(parent) > 0) { /* by somebody else: its next await is to tell it */
        cora_uncancel(parent);
        cora_cancel(parent);
    }
    return group_error(group, last);
}

static cora_next all_done(cora_coro self, struct leaving *leaving, struct group *group)
{
    cora_value error = cora_hold(self, verdict(leaving, group));
    group = group_get(leaving->group);
    if (group) {
        group->parent = (cora_future){ 0 };
        notes_free(&group->errors);
    }
    return cora_is_nothing(error) ? cora_return_nothing(self) : cora_raise(self, error);
}

static cora_next wait_for_tasks(cora_coro self);

/* All have ended; or the parent was cancelled, which the first time cancels the tasks. */
static cora_next woken(cora_coro self)
{
    struct leaving *leaving = cora_locals(self, struct leaving);
    struct group *group = group_get(leaving->group);
    cora_value caught = cora_caught(self);
    if (!group)
        return cora_raise(self, cora_last_error());
    group->completed = (cora_future){ 0 };
    if (cora_error_code(caught) == CORA_ECANCELLED && !group->aborting) {
        cora_drop(leaving->cancelled);
        leaving->cancelled = cora_copy(caught);
        group_abort(leaving->group, group);
    } else if (cora_is_error(caught) && cora_error_code(caught) != CORA_ECANCELLED) {
        group_abort(leaving->group, group);
        return cora_raise(self, caught);
    }
    return wait_for_tasks(self);
}

static cora_next wait_for_tasks(cora_coro self)
{
    struct leaving *leaving = cora_locals(self, struct leaving);
    struct group *group = group_get(leaving->group);
    if (!group)
        return cora_raise(self, cora_last_error());
    if (group->count == 0)
        return all_done(self, leaving, group);
    group->completed = cora_future_new(group->loop);
    return cora_try(self, group->completed, woken);
}

static cora_next task_group_exit(cora_coro self)
{
    struct leaving *leaving = cora_locals(self, struct leaving);
    struct group *group = group_get(leaving->group);
    if (!group)
        return cora_raise(self, cora_last_error());
    if (!group->entered || group->exiting)
        return cora_raise(
            self, cora_object_error(group, CORA_ERUNTIME, "Cannot leave a TaskGroup that %s",
                                    group->entered ? "is left already" : "has not been entered"));
    group->exiting = true;
    find_fatal(leaving, group);
    if (cora_is_nothing(leaving->fatal) && error_is_fatal(leaving->error))
        leaving->fatal = cora_copy(leaving->error);
    if (cora_error_code(leaving->error) == CORA_ECANCELLED)
        leaving->cancelled = cora_copy(leaving->error);
    if (cora_is_error(leaving->error) && !group->aborting)
        group_abort(leaving->group, group);
    return wait_for_tasks(self);
}

cora_awaitable cora_task_group_exit(cora_task_group handle, cora_value error)
{
    cora_coro coro = cora_coroutine_owning(task_group_exit, leaving_drop, struct leaving,
                                           .group = handle, .error = cora_copy(error));
    struct group *group = cora_is_null(coro) ? group_get(handle) : NULL;
    if (group && group->entered) {
        group->exiting = true;
        group_abort(handle, group);
        fail_with(memory_error());
    }
    return cora_awaitable_of(coro);
}

/* ---- looking at one ---- */

size_t cora_task_group_size(cora_task_group handle)
{
    struct group *group = group_get(handle);
    return group ? group->count : 0;
}

int cora_task_group_print(cora_task_group handle, char *buffer, size_t size)
{
    struct group *group = group_get(handle);
    char tasks[40] = "", errors[40] = "";
    size_t failed = 0;
    if (!group)
        return snprintf(buffer, size, "<TaskGroup #%llx>", (unsigned long long)handle.bits);
    for (const struct note *note = group->errors.first; note; note = note->next)
        failed++;
    if (group->count > 0)
        snprintf(tasks, sizeof tasks, " tasks=%zu", group->count);
    if (failed > 0)
        snprintf(errors, sizeof errors, " errors=%zu", failed);
    return snprintf(buffer, size, "<TaskGroup%s%s%s>", tasks, errors,
                    group->aborting  ? " cancelling"
                    : group->entered ? " entered"
                                     : "");
}
