/*
 * Memory runs out in a part of a coroutine that has a limit or tasks of its own: time-outs,
 * cora_wait_for, task groups. What is a scene and how it is played: stage.h.
 */
#include "stage.h"

/* ---- time-outs ---- */

static cora_next enter_limit(cora_coro self, cora_step step)
{
    on.limit = cora_timeout_new(on.loop, on.scene->seconds);
    NEED(on.limit);
    return cora_with(self, cora_timeout_enter(on.limit), step);
}

static cora_next in_time(cora_coro self)
{
    return enter_limit(self, nap);
}

static cora_next too_long(cora_coro self)
{
    return enter_limit(self, long_nap);
}

static cora_next limited_nap(cora_coro self)
{
    return through(self, cora_awaitable_of(new_worker(in_time)), end_so);
}

static cora_next limited_long_nap(cora_coro self)
{
    return through(self, cora_awaitable_of(new_worker(too_long)), end_late);
}

SCENE(timeout_in_time, "what is done in time is not disturbed by its limit", limited_nap, "\"nap\"",
      5)
SCENE(timeout_without_end, "a limit that is none does not disturb", limited_nap, "\"nap\"",
      INFINITY)
SCENE(timeout_over, "what is not done in time ends", limited_long_nap, "\"late\"", 0.1)
SCENE(timeout_of_nothing, "what has no time ends at once", limited_long_nap, "\"late\"", 0)

static cora_next reschedule(cora_coro self, double seconds, cora_awaitable what, cora_step step)
{
    if (cora_timeout_reschedule(on.limit, cora_time(on.loop) + seconds) < 0)
        return cora_raise(self, cora_last_error());
    return cora_await(self, what, step);
}

static cora_next shortened(cora_coro self)
{
    return reschedule(self, 0.1, cora_sleep(LONG), cora_return_got);
}

static cora_next prolonged(cora_coro self)
{
    return reschedule(self, 5, cora_sleep(1), shortened);
}

static cora_next two_limits(cora_coro self)
{
    return enter_limit(self, prolonged);
}

static cora_next rescheduled(cora_coro self)
{
    return through(self, cora_awaitable_of(new_worker(two_limits)), end_late);
}

SCENE(timeout_rescheduled, "a limit can be moved, there and back", rescheduled, "\"late\"", 0.1)

static cora_next left_by_hand(cora_coro self)
{
    return cora_try(self, cora_timeout_exit(on.limit, cora_caught(self)), end_late);
}

static cora_next entered_by_hand(cora_coro self)
{
    return cora_try(self, cora_sleep(LONG), left_by_hand);
}

static cora_next by_hand(cora_coro self)
{
    on.limit = cora_timeout_new(on.loop, 0.1);
    NEED(on.limit);
    return cora_await(self, cora_timeout_enter(on.limit), entered_by_hand);
}

static cora_next limit_by_hand(cora_coro self)
{
    return through(self, cora_awaitable_of(new_worker(by_hand)), end_so);
}

SCENE(timeout_by_hand, "a limit can be entered and left by hand", limit_by_hand, "\"late\"")

/* ---- wait_for ---- */

enum subject { DONE_FUTURE, FUTURE, COROUTINE, OPERATION, LOCK };

static void deliver(cora_args bound)
{
    (void)bound;
    if (!cora_done(on.future))
        cora_set_result(on.future, cora_static("set"));
}

static cora_next wait_for(cora_coro self, bool in_time)
{
    if (cora_finally(self, cancel_future) < 0)
        return cora_raise(self, cora_last_error());
    double seconds = on.scene->seconds;
    cora_awaitable what = cora_sleep_result(in_time ? 0.1 : LONG, cora_static("nap"));
    switch ((enum subject)on.scene->which) {
    case DONE_FUTURE:
    case FUTURE:
        on.future = cora_future_new(on.loop);
        NEED(on.future);
        /* so that what waits for it adds a further one, which needs memory */
        if (cora_add_done_callback(on.future, cora_partial(idle_done)) < 0)
            return cora_raise(self, cora_last_error());
        if (on.scene->which == DONE_FUTURE)
            cora_set_result(on.future, cora_static("set"));
        else if (in_time)
            NEED(cora_call_later(on.loop, 0.1, cora_partial(deliver)));
        what = cora_awaitable_of(on.future);
        break;
    case COROUTINE: {
        cora_coro coro = new_worker(in_time ? nap : long_nap);
        NEED(coro);
        what = cora_awaitable_of(coro);
        break;
    }
    case LOCK:
        on.lock = cora_lock_new(on.loop);
        NEED(on.lock);
        what = cora_lock_acquire(on.lock);
        break;
    case OPERATION:
        break;
    }
    return through(self, cora_wait_for(what, seconds), end_late);
}

static cora_next wait_for_nap(cora_coro self)
{
    return wait_for(self, true);
}

static cora_next wait_for_long_nap(cora_coro self)
{
    return wait_for(self, false);
}

#define IN_TIME "wait_for of what is done in time gives its value"
SCENE(wait_for_future, IN_TIME ": a future", wait_for_nap, "\"set\"", 5, FUTURE)
SCENE(wait_for_done, IN_TIME ": a done future", wait_for_nap, "\"set\"", 5, DONE_FUTURE)
SCENE(wait_for_coroutine, IN_TIME ": a coroutine", wait_for_nap, "\"nap\"", 5, COROUTINE)
SCENE(wait_for_operation, IN_TIME ": an operation", wait_for_nap, "\"nap\"", 5, OPERATION)

#define TOO_LATE "wait_for of what is not done in time cancels it"
SCENE(late_future, TOO_LATE ": a future", wait_for_long_nap, "\"late\"", 0.1, FUTURE)
SCENE(late_coroutine, TOO_LATE ": a coroutine", wait_for_long_nap, "\"late\"", 0.1, COROUTINE)
SCENE(late_operation, TOO_LATE ": an operation", wait_for_long_nap, "\"late\"", 0.1, OPERATION)

#define NO_TIME "wait_for with no time cancels what is not done"
SCENE(no_time_future, NO_TIME ": a future", wait_for_long_nap, "\"late\"", 0, FUTURE)
SCENE(no_time_done, NO_TIME ": not a done future", wait_for_nap, "\"set\"", 0, DONE_FUTURE)
SCENE(no_time_coroutine, NO_TIME ": a coroutine", wait_for_long_nap, "\"late\"", 0, COROUTINE)
SCENE(no_time_operation, NO_TIME ": an operation", wait_for_long_nap, "\"late\"", 0, OPERATION)

/* A lock that is acquired is the scene's, which gives it back. */
static cora_next release_lock(cora_coro self)
{
    if (cora_lock_locked(on.lock))
        cora_lock_release(on.lock);
    return cora_go_on(self);
}

static cora_next wait_for_lock(cora_coro self)
{
    if (cora_finally(self, release_lock) < 0)
        return cora_raise(self, cora_last_error());
    return wait_for_nap(self);
}

SCENE(wait_for_free_lock, IN_TIME ": a lock", wait_for_lock, "1", 5, LOCK)

/* ---- task groups ---- */

static cora_next enter_group(cora_coro self, cora_step step)
{
    on.group = cora_task_group_new(on.loop);
    NEED(on.group);
    return cora_with(self, cora_task_group_enter(on.group), step);
}

/* A task of the group; true if there is one. */
static bool add_task(cora_step step)
{
    return !cora_is_null(cora_task_group_create_task(on.group, new_worker(step), .name = "child"));
}

static bool add_tasks(cora_step one, cora_step two)
{
    return add_task(one) && add_task(two) &&
           cora_task_group_spawn(on.group, cora_sleep_result(0.2, cora_text("spawned"))) == 0;
}

#define ADD_TASKS(one, two)                                                                        \
    do {                                                                                           \
        if (!add_tasks(one, two))                                                                  \
            return cora_raise(self, cora_last_error());                                            \
    } while (0)

/* Ends with the number of errors if they are those that are raised in this file. */
static cora_next end_with_errors(cora_coro self)
{
    cora_value error = cora_caught(self), errors = cora_exceptions(error);
    if (!cora_is_error(error) || cora_error_code(error) != CORA_EEXCEPTIONGROUP)
        return end_so(self);
    for (size_t i = 0; i < cora_list_size(errors); i++)
        if (cora_error_code(cora_list_at(errors, i)) != CORA_EVALUE)
            return end_so(self);
    CHECK_INT(cora_cancelling(cora_current_task(on.loop)), 0);
    return cora_return(self, cora_list_size(errors));
}

static cora_next group_body(cora_coro self)
{
    ADD_TASKS(nap, nap);
    return cora_return(self, cora_static("all"));
}

static cora_next group(cora_coro self)
{
    return enter_group(self, group_body);
}

static cora_next whole_group(cora_coro self)
{
    return through(self, cora_awaitable_of(new_worker(group)), end_with_errors);
}

SCENE(group_ends, "a group ends when its tasks have ended", whole_group, "\"all\"")

static cora_next body_of_failing(cora_coro self)
{
    ADD_TASKS(spill_later, long_nap);
    return cora_await(self, cora_sleep(LONG), cora_return_got);
}

static cora_next failing_group(cora_coro self)
{
    return enter_group(self, body_of_failing);
}

static cora_next child_fails(cora_coro self)
{
    return through(self, cora_awaitable_of(new_worker(failing_group)), end_with_errors);
}

SCENE(group_child_fails, "a child that fails ends its group", child_fails, "1")

static cora_next body_of_two(cora_coro self)
{
    ADD_TASKS(spill_later, spill_later);
    return cora_return_nothing(self);
}

static cora_next group_of_two(cora_coro self)
{
    return enter_group(self, body_of_two);
}

static cora_next two_fail(cora_coro self)
{
    return through(self, cora_awaitable_of(new_worker(group_of_two)), end_with_errors);
}

SCENE(group_two_fail, "two children that fail are both told", two_fail, "2")

static cora_next body_fails(cora_coro self)
{
    ADD_TASKS(long_nap, nap);
    return cora_await(self, cora_sleep(0.05), spill);
}

static cora_next group_with_error(cora_coro self)
{
    return enter_group(self, body_fails);
}

static cora_next exit_with_error(cora_coro self)
{
    return through(self, cora_awaitable_of(new_worker(group_with_error)), end_with_errors);
}

SCENE(group_exit_with_error, "a group that is left with an error cancels its tasks",
      exit_with_error, "1")

static cora_next body_of_cancelled(cora_coro self)
{
    ADD_TASKS(long_nap, long_nap);
    return cora_await(self, cora_sleep(LONG), cora_return_got);
}

static cora_next cancelled_group(cora_coro self)
{
    return enter_group(self, body_of_cancelled);
}

static cora_next cancelled_so(cora_coro self)
{
    cora_value error = cora_caught(self);
    if (cora_error_code(error) != CORA_ECANCELLED)
        return end_so(self);
    return cora_return(self, cora_static("cancelled"));
}

static cora_next cancel_it(cora_coro self)
{
    cora_cancel_with(on.future, "from outside");
    return cora_try(self, on.future, cancelled_so);
}

static cora_next cancel_from_outside(cora_coro self)
{
    if (cora_finally(self, cancel_future) < 0)
        return cora_raise(self, cora_last_error());
    on.future = cora_create_task(on.loop, new_worker(cancelled_group));
    NEED(on.future);
    return through(self, cora_sleep(0.1), cancel_it);
}

SCENE(group_cancelled, "a group that is cancelled from outside cancels its tasks",
      cancel_from_outside, "\"cancelled\"")

static cora_next cancelled_early(cora_coro self)
{
    if (cora_finally(self, cancel_future) < 0)
        return cora_raise(self, cora_last_error());
    on.future = cora_create_task(on.loop, new_worker(cancelled_group));
    NEED(on.future);
    return through(self, cora_sleep(0), cancel_it);
}

SCENE(group_cancelled_early, "a group that has just begun is cancelled", cancelled_early,
      "\"cancelled\"")

/* A group within a limit, all at once. */
static cora_next group_in_limit(cora_coro self)
{
    return enter_limit(self, cancelled_group);
}

static cora_next limited_group(cora_coro self)
{
    return through(self, cora_awaitable_of(new_worker(group_in_limit)), end_late);
}

SCENE(group_in_timeout, "a limit ends the group that is in it", limited_group, "\"late\"", 0.1)
