/*
 * task.h: a task drives a coroutine, and is the future of its outcome.
 *
 *     cora_future slow = cora_create_task(loop, cora_coroutine(leg, struct leg, .port = "Mull"));
 *     cora_add_done_callback(slow, cora_partial(on_moored));
 *
 * A task is a cora_future like any other: cora_cancel, cora_result, cora_add_done_callback, gather
 * and wait take it. Its first step runs in the next tick, and each further one when what it awaits
 * is done. The functions here fail on futures that are no tasks.
 *
 * Cancelling asks: what the task awaits is cancelled, and Cancelled raised at that await; the
 * coroutine may clean up, or refuse. It is done when the coroutine has ended. asyncio: Task.
 */
#ifndef CORA_TASK_H
#define CORA_TASK_H

#include "coroutine.h"
#include "gather.h"

CORA_BEGIN

struct cora_task_options {
    const char *name;   /* copied; NULL: Task-1, Task-2, ... in the order of creation */
    cora_value context; /* run in this context itself (context.h); nothing: in a copy */
    int eager_start;    /* 1: its first step runs in this call; -1: in the next tick; 0: as the
                           loop's task factory says, in the next tick if there is none */
    const struct cora_place *place; /* where it was asked for: set for a task factory */
    bool cora_unused;
};

/*
 * Makes a task of a coroutine, or of an operation (cora_sleep, ...), which starts in the next tick.
 * Of a coroutine made a task of before, awaited or ended: null and a RuntimeError; of a future or a
 * generator: a TypeError. Null also as cora_future_new; then the coroutine is closed. The task is
 * kept as futures are (future.h). Options: .name, .context, .eager_start. asyncio: create_task.
 *
 * With .eager_start it runs up to where it first waits before this returns, if the loop is running;
 * it may be done then. Where there is little stack left, as first steps start each other, it starts
 * in the next tick. A KeyboardInterrupt or SystemExit of that first step fails the caller's step or
 * callback, and this gives null.
 *
 * cora_spawn: the same for a task that nobody wants to know of again. 0 or a code.
 */
#define cora_create_task(loop, ...) CORA_CREATE_TASK(loop, __VA_ARGS__, .cora_unused = false)
#define cora_spawn(loop, ...) CORA_SPAWN(loop, __VA_ARGS__, .cora_unused = false)

CORA_API cora_future cora_create_task_at(cora_loop loop, cora_awaitable awaitable,
                                         const struct cora_task_options *options,
                                         const struct cora_place *place);
CORA_API int cora_spawn_at(cora_loop loop, cora_awaitable awaitable,
                           const struct cora_task_options *options, const struct cora_place *place);

/* Whether it is a task, pending or done. asyncio: isinstance(x, Task). */
CORA_API bool cora_is_task(cora_future future);

/*
 * Its name, "" for what is no task: borrowed until the running callback or step returns, in main()
 * until the next run. Setting copies; 0, CORA_ETYPE, CORA_EMEMORY, ... asyncio: get_name, set_name.
 */
CORA_API const char *cora_get_name(cora_future task);
CORA_API int cora_set_name(cora_future task, const char *name);

/*
 * How often it was cancelled, less the calls of cora_uncancel: not reset when Cancelled was raised.
 * cora_uncancel takes one back, and gives what is left; at 0 a Cancelled that was not raised yet
 * will not be. 0 for what is no task. asyncio: cancelling, uncancel.
 */
CORA_API unsigned cora_cancelling(cora_future task);
CORA_API unsigned cora_uncancel(cora_future task);

/*
 * The task whose step is running in this loop, or null; null in a forked child that has not called
 * cora_after_fork. cora_all_tasks: those that are not done, as a list in the order of creation, a
 * temporary; an error without memory. asyncio: current_task, all_tasks.
 */
CORA_API cora_future cora_current_task(cora_loop loop);
CORA_API cora_value cora_all_tasks(cora_loop loop);

/*
 * Its coroutine, which is stale when the task is done, null if it is no task; its context, the very
 * one that it was made with, else a copy of how it is now. asyncio: get_coro, get_context.
 */
CORA_API cora_coro cora_get_coro(cora_future task);
CORA_API cora_value cora_get_context(cora_future task);

/* Where a coroutine is. Static texts. */
struct cora_frame {
    const char *name; /* the coroutine's: that of its first step */
    const char *file;
    int line; /* of the await that it is suspended at, or was last */
};

/*
 * The frames of a task's coroutine, as far as there is room; how many there are: one for a task
 * that is not done, none for one that is. What it awaits in turn is the call graph's. asyncio:
 * get_stack.
 */
CORA_API size_t cora_get_stack(cora_future task, struct cora_frame *ret_frames, size_t room);

/* Writes that stack for a person to read. As snprintf. asyncio: print_stack. */
CORA_API int cora_print_stack(cora_future task, char *buffer, size_t size);

/*
 * Sets what makes the loop's tasks from now on: for cora_create_task and for coroutines that are
 * given to gather, shield, cora_ensure_future or a run. It gets the loop, the coroutine and the
 * options, and gives a task: as a rule, what cora_task_new does with the same, and options->place.
 * 0 or a code.
 * cora_reset_task_factory brings the default back. asyncio: set_task_factory.
 */
CORA_API int cora_set_task_factory(cora_loop loop, cora_task_factory factory);
CORA_API int cora_reset_task_factory(cora_loop loop);

/*
 * A ready-made factory: tasks start at once, unless .eager_start is -1. asyncio:
 * eager_task_factory.
 *
 *     cora_set_task_factory(loop, cora_partial(cora_eager_task_factory));
 */
CORA_API cora_future cora_eager_task_factory(cora_args bound, cora_loop loop, cora_coro coro,
                                             const struct cora_task_options *options);

/*
 * For a task factory: a task of this coroutine, which nobody keeps. Null and an error as
 * cora_create_task, but then the coroutine is as it was. The place is where it was asked for.
 */
CORA_API cora_future cora_task_new(cora_loop loop, cora_coro coro,
                                   const struct cora_task_options *options,
                                   const struct cora_place *place);

CORA_END

#ifndef __cplusplus
#define CORA_CREATE_TASK(loop, awaitable, ...)                                                     \
    cora_create_task_at(loop, cora_awaitable_of(awaitable),                                        \
                        &(struct cora_task_options){ __VA_ARGS__ }, CORA_PLACE("task"))
#define CORA_SPAWN(loop, awaitable, ...)                                                           \
    cora_spawn_at(loop, cora_awaitable_of(awaitable), &(struct cora_task_options){ __VA_ARGS__ },  \
                  CORA_PLACE("task"))
#else
/* C++: the options are a struct of the caller's: cora_create_task(loop, coro, options) */
#undef cora_create_task
#undef cora_spawn
template <class Awaitable>
static inline cora_future cora_create_task(cora_loop loop, Awaitable awaitable,
                                           const cora_task_options &options = cora_task_options())
{
    return cora_create_task_at(loop, cora_awaitable_of(awaitable), &options, CORA_PLACE("task"));
}
template <class Awaitable>
static inline int cora_spawn(cora_loop loop, Awaitable awaitable,
                             const cora_task_options &options = cora_task_options())
{
    return cora_spawn_at(loop, cora_awaitable_of(awaitable), &options, CORA_PLACE("task"));
}
#endif

#endif
