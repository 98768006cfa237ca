/*
 * task_group.h: tasks that begin and end together.
 *
 *     static cora_next gather_news(cora_coro self)     // async with asyncio.TaskGroup() as group:
 *     {
 *         struct news *news = cora_locals(self, struct news);
 *         news->group = cora_task_group_new(cora_running_loop());
 *         return cora_with(self, cora_task_group_enter(news->group), begin);
 *     }
 *
 *     static cora_next begin(cora_coro self)
 *     {
 *         struct news *news = cora_locals(self, struct news);
 *         cora_task_group_spawn(news->group, cora_coroutine(read_paper));
 *         cora_task_group_spawn(news->group, cora_coroutine(hear_radio));
 *         return cora_return_nothing(self);      // ends when both have ended
 *     }
 *
 * The coroutine that has entered a group does not end before all tasks of the group have. When one
 * of them fails, the others are cancelled, and the coroutine, too; then it ends with an
 * ExceptionGroup of all that failed (cora_exceptions). When the coroutine itself fails or is
 * cancelled, the tasks are cancelled, too. A task that is cancelled is no failure.
 *
 *     created --enter--> active --exit--> waiting for its tasks --> ended
 *
 * One that is made in a coroutine's step is closed when that coroutine has ended; any other by its
 * maker, at the latest with its loop. asyncio: TaskGroup.
 */
#ifndef CORA_TASK_GROUP_H
#define CORA_TASK_GROUP_H

#include "task.h"

CORA_BEGIN

/* A group without tasks. Null as cora_future_new. */
#define cora_task_group_new(loop) cora_task_group_new_at(loop, CORA_PLACE("task group"))
CORA_API cora_task_group cora_task_group_new_at(cora_loop loop, const struct cora_place *place);

/* Closes it, whatever its state: its tasks run on, and are nobody's. 0 or a code. */
CORA_API int cora_task_group_close(cora_task_group group);

/*
 * Enters it: the task that awaits this is its parent; never waits. A RuntimeError outside of a
 * task, and if it was entered before. asyncio: async with.
 */
CORA_API cora_awaitable cora_task_group_enter(cora_task_group group);

/*
 * Leaves it, with the error that is under way (cora_caught), or nothing. Ends when all its tasks
 * have: with nothing; with an ExceptionGroup; with Cancelled if the parent was cancelled and none
 * failed; with a KeyboardInterrupt or SystemExit as it is. cora_with does this at the coroutine's
 * end. If cancelled: the tasks are cancelled, and it still waits for them. If the group is closed
 * meanwhile: a StaleHandle error. This is a coroutine: to
 * be given to somebody in the step that made it.
 */
CORA_API cora_awaitable cora_task_group_exit(cora_task_group group, cora_value error);

/*
 * Makes a task that the group waits for, as cora_create_task, with its options. Null and a
 * RuntimeError if the group was not entered, has ended or is being aborted, and then the coroutine
 * is closed. A task whose first step, an eager one, closes the group is given all the same, and is
 * nobody's. cora_task_group_spawn: the same for a task that nobody wants to know of again; 0 or a
 * code. asyncio: TaskGroup.create_task.
 */
#define cora_task_group_create_task(group, ...)                                                    \
    CORA_TASK_GROUP_CREATE_TASK(group, __VA_ARGS__, .cora_unused = false)
#define cora_task_group_spawn(group, ...)                                                          \
    CORA_TASK_GROUP_SPAWN(group, __VA_ARGS__, .cora_unused = false)

CORA_API cora_future cora_task_group_create_task_at(cora_task_group group, cora_awaitable awaitable,
                                                    const struct cora_task_options *options,
                                                    const struct cora_place *place);
CORA_API int cora_task_group_spawn_at(cora_task_group group, cora_awaitable awaitable,
                                      const struct cora_task_options *options,
                                      const struct cora_place *place);

/* How many tasks it waits for: one that has ended counts until the tick after. */
CORA_API size_t cora_task_group_size(cora_task_group group);

/* Writes it for a person to read: <TaskGroup tasks=3 errors=1 cancelling>. As snprintf. */
CORA_API int cora_task_group_print(cora_task_group group, char *buffer, size_t size);

CORA_END

#ifndef __cplusplus
#define CORA_TASK_GROUP_CREATE_TASK(group, awaitable, ...)                                         \
    cora_task_group_create_task_at(group, cora_awaitable_of(awaitable),                            \
                                   &(struct cora_task_options){ __VA_ARGS__ }, CORA_PLACE("task"))
#define CORA_TASK_GROUP_SPAWN(group, awaitable, ...)                                               \
    cora_task_group_spawn_at(group, cora_awaitable_of(awaitable),                                  \
                             &(struct cora_task_options){ __VA_ARGS__ }, CORA_PLACE("task"))
#else
/* C++: the options are a struct of the caller's */
#undef cora_task_group_create_task
#undef cora_task_group_spawn
template <class Awaitable>
static inline cora_future
cora_task_group_create_task(cora_task_group group, Awaitable awaitable,
                            const cora_task_options &options = cora_task_options())
{
    return cora_task_group_create_task_at(group, cora_awaitable_of(awaitable), &options,
                                          CORA_PLACE("task"));
}
template <class Awaitable>
static inline int cora_task_group_spawn(cora_task_group group, Awaitable awaitable,
                                        const cora_task_options &options = cora_task_options())
{
    return cora_task_group_spawn_at(group, cora_awaitable_of(awaitable), &options,
                                    CORA_PLACE("task"));
}
#endif

#endif
