/*
 * Time limits: what a coroutine does in one must be done in time. First how one is used; then when
 * its time is over, and what becomes of errors and cancellations that meet it; limits within
 * limits; setting another time; wrong use; what it prints; how many ticks it takes; and last whose
 * it is: closed with its coroutine, by its maker, or with its loop.
 */
#include "coroutines.h"

#include <ev.h>
#include <math.h>
#include <pthread.h>

/* ---- helpers ---- */

/* What the coroutines of a test share. */
struct scene {
    cora_loop loop;
    cora_timeout limit, outer; /* what timed and timed_twice enter */
    cora_step body;            /* the step in it; NULL: sleep_on */
    double seconds;            /* how long that sleeps */
    cora_future task;
    cora_task_group group;
    unsigned cancelling;
    struct notes notes;
    int now, before, after; /* ticks */
};

#define SCENE(self) (*cora_locals(self, struct scene *))

/* A loop with a limit of so many seconds, for a sleep of so many. */
static struct scene scene_new(double limit, double seconds)
{
    struct scene scene = { .loop = virtual_loop_new(), .seconds = seconds };
    scene.limit = cora_timeout_new(scene.loop, limit);
    return scene;
}

static cora_coro coro_of(struct scene *scene, cora_step step)
{
    return cora_coroutine(step, struct scene *, scene);
}

/* What something has come to: "nothing", a value, or the name of an error. */
static const char *came_of(cora_value outcome)
{
    static char text[200];
    if (cora_is_error(outcome))
        return cora_error_name(cora_error_code(outcome));
    if (cora_is_nothing(outcome))
        return "nothing";
    cora_print(outcome, text, sizeof text);
    return text;
}

static const char *run_scene(struct scene *scene, cora_step step)
{
    return came_of(cora_run_until_complete(scene->loop, coro_of(scene, step)));
}

/* A task that begins with this step, and where it is after so many seconds. */
static cora_future started(struct scene *scene, cora_step step, double seconds)
{
    cora_future task = cora_create_task(scene->loop, coro_of(scene, step));
    run_for(scene->loop, seconds);
    return task;
}

static const char *limit_printed(cora_timeout limit)
{
    static char text[200];
    int length = cora_timeout_print(limit, text, sizeof text);
    CHECK_INT(length, strlen(text));
    return text;
}

/* Whether the last call that failed did so with this code, and these words in its message. */
static bool refused(int code, const char *words)
{
    return cora_error_code(cora_last_error()) == code && says(cora_last_error(), words);
}

static cora_future current_task(void)
{
    return cora_current_task(cora_running_loop());
}

/* Steps. */
static cora_next sleep_on(cora_coro self)
{
    return cora_await(self, cora_sleep(SCENE(self)->seconds), cora_return_nothing);
}

/* async with limit: body */
static cora_next timed(cora_coro self)
{
    struct scene *scene = SCENE(self);
    return cora_with(self, cora_timeout_enter(scene->limit), scene->body ? scene->body : sleep_on);
}

static cora_next note_caught(cora_coro self)
{
    add_note(&SCENE(self)->notes, came_of(cora_caught(self)));
    if (cora_is_error(cora_caught(self)))
        return cora_raise(self, cora_caught(self));
    return cora_return(self, cora_nothing());
}

/* The same sleep, and a word about how it ended. */
static cora_next sleep_and_note(cora_coro self)
{
    return cora_try(self, cora_sleep(SCENE(self)->seconds), note_caught);
}

static cora_next swallow(cora_coro self)
{
    add_note(&SCENE(self)->notes, came_of(cora_caught(self)));
    SCENE(self)->cancelling = cora_cancelling(current_task());
    return cora_return(self, cora_nothing());
}

static cora_next sleep_and_swallow(cora_coro self)
{
    return cora_try(self, cora_sleep(SCENE(self)->seconds), swallow);
}

/* try: the coroutine timed, except: note it */
static cora_next try_timed(cora_coro self)
{
    return cora_try(self, coro_of(SCENE(self), timed), swallow);
}

/* async with outer: async with limit: body, and a word between the two */
static cora_next await_timed(cora_coro self)
{
    return cora_try(self, coro_of(SCENE(self), timed), note_caught);
}

static cora_next timed_twice(cora_coro self)
{
    return cora_with(self, cora_timeout_enter(SCENE(self)->outer), await_timed);
}

/* ---- how it is used ---- */

struct fetch {
    cora_timeout limit;
    double seconds;
};

static cora_next fetched(cora_coro self)
{
    return cora_return(self, "page");
}

static cora_next connect_to(cora_coro self)
{
    return cora_await(self, cora_sleep(cora_locals(self, struct fetch)->seconds), fetched);
}

static cora_next fetch(cora_coro self)
{
    struct fetch *fetch = cora_locals(self, struct fetch);
    fetch->limit = cora_timeout_new(cora_running_loop(), 2.5);
    return cora_with(self, cora_timeout_enter(fetch->limit), connect_to);
}

TEST(usage, "a coroutine that has entered a limit ends in time, or with a TimeoutError")
{
    cora_loop loop = virtual_loop_new();
    cora_coro quick = cora_coroutine(fetch, struct fetch, .seconds = 1);
    CHECK_TEXT(ran(loop, quick), "\"page\"");
    double begun = cora_time(loop);
    cora_coro slow = cora_coroutine(fetch, struct fetch, .seconds = 100);
    CHECK_TEXT(came_of(cora_run_until_complete(loop, slow)), "TimeoutError");
    CHECK_REAL(cora_time(loop), begun + 2.5, LATE);
    end(loop);
}

struct visit {
    cora_timeout limit;
    struct notes *notes;
};

static cora_next visit_ended(cora_coro self)
{
    add_note(cora_locals(self, struct visit)->notes, "after");
    return cora_return(self, cora_nothing());
}

static cora_next left_limit(cora_coro self)
{
    add_note(cora_locals(self, struct visit)->notes, came_of(cora_caught(self)));
    return cora_await(self, cora_sleep(10), visit_ended);
}

static cora_next leave_limit(cora_coro self)
{
    struct visit *visit = cora_locals(self, struct visit);
    add_note(visit->notes, came_of(cora_caught(self)));
    return cora_try(self, cora_timeout_exit(visit->limit, cora_caught(self)), left_limit);
}

static cora_next sleep_in_limit(cora_coro self)
{
    return cora_try(self, cora_sleep(5), leave_limit);
}

static cora_next visit(cora_coro self)
{
    struct visit *visit = cora_locals(self, struct visit);
    visit->limit = cora_timeout_new(cora_running_loop(), 2);
    return cora_await(self, cora_timeout_enter(visit->limit), sleep_in_limit);
}

TEST(part_of_a_coroutine, "one that is entered and left by hand limits what is between the two")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { .text = "" };
    cora_coro coro = cora_coroutine(visit, struct visit, .notes = &notes);
    CHECK_TEXT(came_of(cora_run_until_complete(loop, coro)), "nothing");
    CHECK_TEXT(notes.text, "CancelledError TimeoutError after");
    CHECK_REAL(cora_time(loop), START + 12, 2 * LATE);
    end(loop);
}

/* ---- when the time is over ---- */

TEST(expires, "what takes longer ends with a TimeoutError when the time is over",
     "test_timeouts.TimeoutTests.test_timeout_basic")
{
    struct scene scene = scene_new(0.01, 10);
    CHECK_TEXT(run_scene(&scene, timed), "TimeoutError");
    CHECK(cora_timeout_expired(scene.limit));
    CHECK_REAL(cora_time(scene.loop), START + 0.01, LATE);
    end(scene.loop);
}

TEST(cancelled_inside, "what is in the limit is cancelled; outside that is a TimeoutError",
     "test_timeouts.TimeoutTests.test_waiter_cancelled")
{
    struct scene scene = scene_new(0.01, 10);
    scene.body = sleep_and_note;
    CHECK_TEXT(run_scene(&scene, timed), "TimeoutError");
    CHECK_TEXT(scene.notes.text, "CancelledError");
    end(scene.loop);
}

TEST(in_time, "what is done in time ends as it would without a limit",
     "test_timeouts.TimeoutTests.test_timeout_not_called")
{
    struct scene scene = scene_new(10, 0.01);
    CHECK_TEXT(run_scene(&scene, timed), "nothing");
    CHECK(!cora_timeout_expired(scene.limit));
    CHECK(cora_timeout_when(scene.limit) > cora_time(scene.loop));
    CHECK_REAL(cora_timeout_when(scene.limit), START + 10, 0.001);
    end(scene.loop);
}

TEST(no_limit, "with INFINITY there is no limit",
     "test_timeouts.TimeoutTests.test_timeout_disabled")
{
    struct scene scene = scene_new(INFINITY, 100);
    CHECK_TEXT(run_scene(&scene, timed), "nothing");
    CHECK(!cora_timeout_expired(scene.limit));
    CHECK(cora_timeout_when(scene.limit) == INFINITY);
    end(scene.loop);
}

TEST(no_time, "nor with a time that never comes",
     "test_timeouts.TimeoutTests.test_timeout_at_disabled")
{
    struct scene scene = scene_new(1, 100);
    cora_timeout_close(scene.limit);
    scene.limit = cora_timeout_until(scene.loop, INFINITY);
    CHECK_TEXT(run_scene(&scene, timed), "nothing");
    CHECK(!cora_timeout_expired(scene.limit));
    CHECK(cora_timeout_when(scene.limit) == INFINITY);
    end(scene.loop);
}

TEST(until, "a limit may also be a time of the loop's clock")
{
    struct scene scene = scene_new(1, 100);
    cora_timeout_close(scene.limit);
    scene.limit = cora_timeout_until(scene.loop, START + 7);
    CHECK_REAL(cora_timeout_when(scene.limit), START + 7, 0);
    CHECK_TEXT(run_scene(&scene, timed), "TimeoutError");
    CHECK_REAL(cora_time(scene.loop), START + 7, LATE);
    CHECK_REAL(cora_timeout_when(scene.limit), START + 7, 0);
    end(scene.loop);
}

TEST(no_seconds, "a limit of no time is over in the next tick",
     "test_timeouts.TimeoutTests.test_timeout_zero")
{
    struct scene scene = scene_new(10, 10);
    cora_timeout_close(scene.limit);
    double before = cora_time(scene.loop);
    scene.limit = cora_timeout_new(scene.loop, 0);
    CHECK_TEXT(run_scene(&scene, timed), "TimeoutError");
    CHECK(cora_timeout_expired(scene.limit));
    CHECK(before <= cora_timeout_when(scene.limit));
    CHECK(cora_timeout_when(scene.limit) <= cora_time(scene.loop));
    end(scene.loop);
}

TEST(no_seconds_for_no_sleep, "so that it also meets a sleep of no time",
     "test_timeouts.TimeoutTests.test_timeout_zero_sleep_zero")
{
    struct scene scene = scene_new(0, 0);
    CHECK_TEXT(run_scene(&scene, timed), "TimeoutError");
    CHECK(cora_timeout_expired(scene.limit));
    CHECK(cora_timeout_when(scene.limit) <= cora_time(scene.loop));
    end(scene.loop);
}

TEST(past, "and so does one of a time that has passed",
     "test_timeouts.TimeoutTests.test_timeout_in_the_past_sleep_zero")
{
    struct scene scene = scene_new(-11, 0);
    double before = cora_time(scene.loop);
    CHECK_TEXT(run_scene(&scene, timed), "TimeoutError");
    CHECK(cora_timeout_expired(scene.limit));
    CHECK(cora_timeout_when(scene.limit) <= before);
    end(scene.loop);
}

static cora_next return_seven(cora_coro self)
{
    return cora_return(self, 7);
}

static cora_next await_no_wait(cora_coro self)
{
    cora_future done = cora_future_new(cora_running_loop());
    cora_set_result(done, cora_nothing());
    return cora_await(self, done, return_seven);
}

TEST(never_waits, "what does not wait is done in time, even if that has passed")
{
    struct scene scene = scene_new(-11, 0);
    scene.body = await_no_wait;
    CHECK_TEXT(run_scene(&scene, timed), "7");
    CHECK(!cora_timeout_expired(scene.limit));
    end(scene.loop);
}

TEST(entered_late, "the time counts from when it is made, not from when it is entered")
{
    struct scene scene = scene_new(5, 10);
    run_for(scene.loop, 3);
    CHECK_TEXT(run_scene(&scene, timed), "TimeoutError");
    CHECK_REAL(cora_time(scene.loop), START + 5, LATE);
    end(scene.loop);
}

static cora_next await_task(cora_coro self)
{
    return cora_await(self, SCENE(self)->task, cora_return_got);
}

TEST(awaited_task, "a task that is awaited in it is cancelled, too, and has ended by then")
{
    struct scene scene = scene_new(1, 10);
    scene.task = cora_create_task(scene.loop, coro_of(&scene, sleep_and_note));
    scene.body = await_task;
    CHECK_TEXT(run_scene(&scene, timed), "TimeoutError");
    CHECK(cora_cancelled(scene.task));
    CHECK_TEXT(scene.notes.text, "CancelledError");
    end(scene.loop);
}

TEST(who_enters, "the task that enters it is cancelled, whoever has made it")
{
    struct scene scene = scene_new(1, 2);
    cora_future other = cora_create_task(scene.loop, coro_of(&scene, sleep_on));
    cora_future task = cora_create_task(scene.loop, coro_of(&scene, timed));
    run_for(scene.loop, 5);
    CHECK_TEXT(came_of(cora_result(task)), "TimeoutError");
    CHECK_TEXT(came_of(cora_result(other)), "nothing");
    end(scene.loop);
}

static void start_eagerly(cora_args bound)
{
    struct scene *scene = cora_arg(bound, 0, struct scene *);
    scene->task = cora_create_task(scene->loop, coro_of(scene, timed), .eager_start = 1);
    CHECK_TEXT(limit_printed(scene->limit), "<Timeout [active] when=1001.000>");
}

TEST(eager, "a task that begins at once may enter it in its first step")
{
    struct scene scene = scene_new(1, 2);
    cora_timeout_close(scene.limit);
    scene.limit = cora_timeout_until(scene.loop, START + 1);
    run_in(scene.loop, cora_partial(start_eagerly, &scene));
    CHECK_TEXT(came_of(cora_run_until_complete(scene.loop, scene.task)), "TimeoutError");
    end(scene.loop);
}

static void *run_elsewhere(void *argument)
{
    struct scene *scene = argument;
    add_note(&scene->notes, run_scene(scene, timed));
    cora_loop_close(scene->loop);
    return NULL;
}

TEST(run_in_a_thread, "the loop may be run in another thread than the limit was made in")
{
    struct scene scene = scene_new(1, 10);
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, run_elsewhere, &scene), 0);
    pthread_join(thread, NULL);
    CHECK_TEXT(scene.notes.text, "TimeoutError");
    CHECK(cora_is_closed(scene.loop));
    cora_virtual_clock_stop();
}

/* ---- errors and cancellations that meet it ---- */

static cora_next raise_spilled(cora_coro self)
{
    return cora_raise(self, spilled());
}

TEST(error_inside, "another error passes as it is",
     "test_timeouts.TimeoutTests.test_foreign_exception_passed")
{
    struct scene scene = scene_new(0.01, 10);
    scene.body = raise_spilled;
    CHECK_TEXT(run_scene(&scene, timed), "ValueError");
    CHECK(!cora_timeout_expired(scene.limit));
    end(scene.loop);
}

static cora_next sleep_and_spill(cora_coro self)
{
    return cora_try(self, cora_sleep(SCENE(self)->seconds), raise_spilled);
}

TEST(error_in_cleanup, "also one that answers the cancellation when the time is over",
     "test_timeouts.TimeoutTests.test_foreign_exception_on_timeout")
{
    struct scene scene = scene_new(0.01, 10);
    scene.body = sleep_and_spill;
    CHECK_TEXT(run_scene(&scene, timed), "ValueError");
    CHECK(cora_timeout_expired(scene.limit));
    end(scene.loop);
}

static cora_next cancel_itself(cora_coro self)
{
    CHECK(cora_cancel(current_task()));
    return sleep_on(self);
}

TEST(cancelled_by_another, "a cancellation that is not its own is no TimeoutError",
     "test_timeouts.TimeoutTests.test_foreign_cancel_doesnt_timeout_if_not_expired")
{
    struct scene scene = scene_new(10, 20);
    scene.body = cancel_itself;
    CHECK_TEXT(run_scene(&scene, timed), "CancelledError");
    CHECK(!cora_timeout_expired(scene.limit));
    end(scene.loop);
}

TEST(task_that_swallows, "a task that takes the TimeoutError is not cancelled",
     "test_timeouts.TimeoutTests.test_outer_task_is_not_cancelled")
{
    struct scene scene = scene_new(0.001, 10);
    cora_future task = started(&scene, try_timed, 1);
    CHECK(cora_done(task));
    CHECK(!cora_cancelled(task));
    CHECK_TEXT(scene.notes.text, "TimeoutError");
    CHECK_INT(scene.cancelling, 0);
    end(scene.loop);
}

static cora_next timed_after_cancellation(cora_coro self)
{
    CHECK_INT(cora_cancelling(current_task()), 1);
    return cora_await(self, coro_of(SCENE(self), timed), cora_return_nothing);
}

static cora_next cancel_and_swallow(cora_coro self)
{
    cora_cancel(current_task());
    return cora_try(self, cora_sleep(0), timed_after_cancellation);
}

TEST(after_cancellation, "it is the same in a task that was cancelled, and refused, before",
     "test_timeouts.TimeoutTests.test_timeout_after_cancellation")
{
    struct scene scene = scene_new(0, 1);
    CHECK_TEXT(run_scene(&scene, cancel_and_swallow), "TimeoutError");
    end(scene.loop);
}

TEST(cancelled_twice, "such a task that is cancelled again in the limit ends cancelled",
     "test_timeouts.TimeoutTests.test_cancel_in_timeout_after_cancellation")
{
    struct scene scene = scene_new(1, 2);
    scene.body = cancel_itself;
    CHECK_TEXT(run_scene(&scene, cancel_and_swallow), "CancelledError");
    end(scene.loop);
}

static cora_next sleep_again(cora_coro self)
{
    cora_cancel(current_task());
    return sleep_on(self);
}

static cora_next sleep_and_cancel(cora_coro self)
{
    return cora_try(self, cora_sleep(SCENE(self)->seconds), sleep_again);
}

TEST(cancelled_in_cleanup, "who is cancelled by somebody else, too, ends cancelled")
{
    struct scene scene = scene_new(1, 2);
    scene.body = sleep_and_cancel;
    cora_future task = started(&scene, timed, 5);
    CHECK(cora_cancelled(task));
    CHECK(cora_timeout_expired(scene.limit));
    CHECK_INT(cora_cancelling(task), 1);
    end(scene.loop);
}

TEST(cancelled_with_a_message, "and the message of the cancellation is kept")
{
    struct scene scene = scene_new(10, 20);
    cora_future task = started(&scene, timed, 1);
    CHECK(cora_cancel_with(task, "enough"));
    cora_value error = cora_run_until_complete(scene.loop, task);
    CHECK_INT(cora_error_code(error), CORA_ECANCELLED);
    CHECK_TEXT(cora_error_message(error), "enough");
    end(scene.loop);
}

static void cancel_task(cora_args bound)
{
    CHECK(cora_cancel(cora_arg_future(bound, 0)));
}

TEST(cancelled_together, "also if that is in the very tick in which the time is over")
{
    for (int later = 0; later < 2; later++) {
        struct scene scene = scene_new(1, 2);
        double when = cora_timeout_when(scene.limit);
        cora_future task = cora_create_task(scene.loop, coro_of(&scene, timed));
        if (later)
            tick(scene.loop);
        cora_call_at(scene.loop, when, cora_partial(cancel_task, task));
        run_for(scene.loop, 1.5);
        CHECK(cora_cancelled(task));
        CHECK(cora_timeout_expired(scene.limit));
        end(scene.loop);
    }
}

TEST(swallowed, "who swallows the cancellation meets no TimeoutError, and owes nothing")
{
    struct scene scene = scene_new(1, 10);
    scene.body = sleep_and_swallow;
    cora_future task = started(&scene, timed, 2);
    CHECK_TEXT(came_of(cora_result(task)), "nothing");
    CHECK_TEXT(scene.notes.text, "CancelledError");
    CHECK_INT(scene.cancelling, 1);
    CHECK_INT(cora_cancelling(task), 0);
    CHECK(cora_timeout_expired(scene.limit));
    end(scene.loop);
}

TEST(cause, "the TimeoutError names the cancellation as its cause",
     "test_timeouts.TimeoutTests.test_timeout_exception_cause")
{
    struct scene scene = scene_new(0.01, 10);
    cora_value error = cora_run_until_complete(scene.loop, coro_of(&scene, timed));
    CHECK(cora_error_is(error, CORA_ETIMEOUT));
    CHECK_INT(cora_error_code(cora_error_cause(error)), CORA_ECANCELLED);
    end(scene.loop);
}

/* ---- limits within limits ---- */

TEST(nested, "of two with one deadline the outer one gives the TimeoutError",
     "test_timeouts.TimeoutTests.test_nested_timeouts")
{
    struct scene scene = scene_new(0.1, 10);
    scene.outer = cora_timeout_until(scene.loop, cora_timeout_when(scene.limit));
    CHECK_TEXT(run_scene(&scene, timed_twice), "TimeoutError");
    CHECK_TEXT(scene.notes.text, "CancelledError");
    CHECK(cora_timeout_expired(scene.limit));
    CHECK(cora_timeout_expired(scene.outer));
    end(scene.loop);
}

TEST(inner_first, "of two with different ones it is the first that is over")
{
    struct scene scene = scene_new(1, 10);
    scene.outer = cora_timeout_new(scene.loop, 2);
    CHECK_TEXT(run_scene(&scene, timed_twice), "TimeoutError");
    CHECK_TEXT(scene.notes.text, "TimeoutError");
    CHECK(cora_timeout_expired(scene.limit));
    CHECK(!cora_timeout_expired(scene.outer));
    end(scene.loop);
}

TEST(outer_first, "also when that is the outer one")
{
    struct scene scene = scene_new(2, 10);
    scene.outer = cora_timeout_new(scene.loop, 1);
    CHECK_TEXT(run_scene(&scene, timed_twice), "TimeoutError");
    CHECK_TEXT(scene.notes.text, "CancelledError");
    CHECK(!cora_timeout_expired(scene.limit));
    CHECK(cora_timeout_expired(scene.outer));
    end(scene.loop);
}

static cora_next compute(cora_coro self)
{
    cora_virtual_clock_advance(0.1);
    return sleep_on(self);
}

/* Takes a TimeoutError, and nothing else. */
static cora_next sleep_long(cora_coro self)
{
    add_note(&SCENE(self)->notes, came_of(cora_caught(self)));
    if (!cora_error_is(cora_caught(self), CORA_ETIMEOUT))
        return cora_raise(self, cora_caught(self));
    return cora_await(self, cora_sleep(10), cora_return_nothing);
}

static cora_next take_timeout(cora_coro self)
{
    return cora_try(self, coro_of(SCENE(self), timed), sleep_long);
}

static cora_next busy(cora_coro self)
{
    return cora_with(self, cora_timeout_enter(SCENE(self)->outer), take_timeout);
}

static const char *busy_in(double outer)
{
    static struct notes notes;
    struct scene scene = scene_new(0.01, 1);
    scene.outer = cora_timeout_new(scene.loop, outer);
    scene.body = compute;
    CHECK_TEXT(run_scene(&scene, busy), "TimeoutError");
    CHECK(cora_time(scene.loop) < START + 1);
    CHECK(cora_timeout_expired(scene.limit));
    CHECK(cora_timeout_expired(scene.outer));
    end(scene.loop);
    notes = scene.notes;
    return notes.text;
}

TEST(nested_and_busy, "after a long computation each of two gives its own TimeoutError",
     "test_timeouts.TimeoutTests.test_nested_timeouts_loop_busy")
{
    CHECK_TEXT(busy_in(0.15), "TimeoutError");
}

TEST(nested_and_both_over, "if both are over by then, the outer one alone does",
     "test_timeouts.TimeoutTests.test_nested_timeouts_loop_busy")
{
    CHECK_TEXT(busy_in(0.099), "CancelledError");
}

static cora_next inner_in_cleanup(cora_coro self)
{
    return cora_try(self, cora_sleep(10), note_caught);
}

static cora_next with_inner(cora_coro self)
{
    cora_timeout limit = cora_timeout_new(cora_running_loop(), 0.01);
    return cora_with(self, cora_timeout_enter(limit), inner_in_cleanup);
}

static cora_next cleaned_up(cora_coro self)
{
    add_note(&SCENE(self)->notes, came_of(cora_caught(self)));
    return cora_go_on(self);
}

static cora_next clean_up(cora_coro self)
{
    return cora_try(self, coro_of(SCENE(self), with_inner), cleaned_up);
}

static cora_next sleep_with_cleanup(cora_coro self)
{
    CHECK_INT(cora_finally(self, clean_up), 0);
    return cora_await(self, cora_sleep(1), cora_return_nothing);
}

TEST(nested_in_finally, "the clean-up of a limit whose time is over may have a limit itself",
     "test_timeouts.TimeoutTests.test_nested_timeout_in_finally")
{
    struct scene scene = scene_new(0.01, 1);
    scene.body = sleep_with_cleanup;
    cora_value error = cora_run_until_complete(scene.loop, coro_of(&scene, timed));
    CHECK_TEXT(came_of(error), "TimeoutError");
    CHECK_INT(cora_error_code(cora_error_cause(error)), CORA_ECANCELLED);
    CHECK_TEXT(scene.notes.text, "CancelledError TimeoutError");
    CHECK_REAL(cora_time(scene.loop), START + 0.02, 2 * LATE);
    end(scene.loop);
}

static cora_next group_child_spills(cora_coro self)
{
    return cora_try(self, cora_sleep(2), raise_spilled);
}

static cora_next sleep_in_finally(cora_coro self)
{
    return cora_await(self, cora_sleep(1), cora_go_on);
}

static cora_next group_body(cora_coro self)
{
    CHECK_INT(cora_finally(self, sleep_in_finally), 0);
    return cora_raise(self, cora_error(CORA_EKEY, "of the body"));
}

static cora_next spawn_and_fail(cora_coro self)
{
    struct scene *scene = SCENE(self);
    CHECK_INT(cora_task_group_spawn(scene->group, coro_of(scene, group_child_spills)), 0);
    return group_body(self);
}

static cora_next grouped(cora_coro self)
{
    SCENE(self)->group = cora_task_group_new(cora_running_loop());
    return cora_with(self, cora_task_group_enter(SCENE(self)->group), spawn_and_fail);
}

static cora_next await_grouped(cora_coro self)
{
    return cora_await(self, coro_of(SCENE(self), grouped), cora_return_got);
}

TEST(around_a_group, "around a task group: errors of its tasks come out, and no TimeoutError",
     "test_timeouts.TimeoutTests.test_timeout_taskgroup")
{
    struct scene scene = scene_new(0.01, 1);
    scene.body = await_grouped;
    cora_value error = cora_run_until_complete(scene.loop, coro_of(&scene, timed));
    CHECK_TEXT(came_of(error), "ExceptionGroup");
    CHECK_INT(cora_list_size(cora_exceptions(error)), 1);
    CHECK_TEXT(came_of(cora_list_at(cora_exceptions(error), 0)), "ValueError");
    CHECK(cora_timeout_expired(scene.limit));
    end(scene.loop);
}

static cora_next spawn_sleeper(cora_coro self)
{
    CHECK_INT(cora_task_group_spawn(SCENE(self)->group, coro_of(SCENE(self), sleep_and_note)), 0);
    return cora_return(self, cora_nothing());
}

static cora_next in_group(cora_coro self)
{
    SCENE(self)->group = cora_task_group_new(cora_running_loop());
    return cora_with(self, cora_task_group_enter(SCENE(self)->group), spawn_sleeper);
}

static cora_next await_in_group(cora_coro self)
{
    return cora_await(self, coro_of(SCENE(self), in_group), cora_return_got);
}

TEST(around_a_slow_group, "when all of its tasks just end cancelled, there is a TimeoutError")
{
    struct scene scene = scene_new(1, 10);
    scene.body = await_in_group;
    CHECK_TEXT(run_scene(&scene, timed), "TimeoutError");
    CHECK_TEXT(scene.notes.text, "CancelledError");
    CHECK_REAL(cora_time(scene.loop), START + 1, LATE);
    end(scene.loop);
}

/* ---- setting another time ---- */

TEST(reschedule, "another time may be set from outside of the task, and none",
     "test_timeouts.TimeoutTests.test_reschedule")
{
    struct scene scene = scene_new(10, 100);
    cora_future task = started(&scene, timed, 1);
    CHECK_REAL(cora_timeout_when(scene.limit), START + 10, 0.001);
    CHECK_INT(cora_timeout_reschedule(scene.limit, START + 20), 0);
    CHECK_REAL(cora_timeout_when(scene.limit), START + 20, 0);
    CHECK_INT(cora_timeout_reschedule(scene.limit, INFINITY), 0);
    CHECK(cora_timeout_when(scene.limit) == INFINITY);
    run_for(scene.loop, 50);
    CHECK(!cora_done(task));
    cora_cancel(task);
    CHECK_TEXT(came_of(cora_run_until_complete(scene.loop, task)), "CancelledError");
    CHECK(!cora_timeout_expired(scene.limit));
    end(scene.loop);
}

TEST(reschedule_later, "after a later time was set the first one is nothing any more")
{
    struct scene scene = scene_new(10, 100);
    cora_future task = started(&scene, timed, 1);
    cora_timeout_reschedule(scene.limit, START + 20);
    run_for(scene.loop, 15);
    CHECK(!cora_done(task));
    CHECK_TEXT(came_of(cora_run_until_complete(scene.loop, task)), "TimeoutError");
    CHECK_REAL(cora_time(scene.loop), START + 20, LATE);
    end(scene.loop);
}

TEST(reschedule_earlier, "an earlier one may be set, and one that has passed")
{
    struct scene scene = scene_new(10, 100);
    cora_future task = started(&scene, timed, 1);
    cora_timeout_reschedule(scene.limit, START + 5);
    run_for(scene.loop, 2);
    CHECK(!cora_done(task));
    cora_timeout_reschedule(scene.limit, START - 5);
    CHECK(!cora_timeout_expired(scene.limit));
    tick(scene.loop);
    CHECK(cora_timeout_expired(scene.limit));
    CHECK(!cora_done(task));
    tick(scene.loop);
    CHECK_TEXT(came_of(cora_result(task)), "TimeoutError");
    end(scene.loop);
}

TEST(reschedule_from_none, "a limit may be set where there was none")
{
    struct scene scene = scene_new(INFINITY, 100);
    cora_future task = started(&scene, timed, 1);
    cora_timeout_reschedule(scene.limit, START + 5);
    CHECK_TEXT(came_of(cora_run_until_complete(scene.loop, task)), "TimeoutError");
    CHECK_REAL(cora_time(scene.loop), START + 5, LATE);
    end(scene.loop);
}

TEST(reschedule_back, "a limit that is over in the next tick may still be put off")
{
    struct scene scene = scene_new(10, 20);
    cora_future task = started(&scene, timed, 1);
    cora_timeout_reschedule(scene.limit, START);
    cora_timeout_reschedule(scene.limit, START + 30);
    CHECK_TEXT(came_of(cora_run_until_complete(scene.loop, task)), "nothing");
    CHECK(!cora_timeout_expired(scene.limit));
    end(scene.loop);
}

TEST(reschedule_often, "a limit that is put off ten thousand times holds no more than one timer")
{
    struct scene scene = scene_new(10, 20);
    cora_future task = started(&scene, timed, 1);
    size_t live = cora_live(scene.loop);
    for (int i = 0; i < 10000; i++)
        CHECK_INT(cora_timeout_reschedule(scene.limit, START + 20 + i), 0);
    tick(scene.loop);
    CHECK_INT(cora_live(scene.loop), live);
    CHECK_TEXT(came_of(cora_run_until_complete(scene.loop, task)), "nothing");
    end(scene.loop);
}

static cora_next reschedule_expiring(cora_coro self)
{
    struct scene *scene = SCENE(self);
    add_note(&scene->notes, came_of(cora_caught(self)));
    CHECK_INT(cora_timeout_reschedule(scene->limit, START + 100), CORA_ERUNTIME);
    CHECK(refused(CORA_ERUNTIME, "expiring"));
    return cora_return(self, cora_nothing());
}

static cora_next sleep_and_reschedule(cora_coro self)
{
    return cora_try(self, cora_sleep(SCENE(self)->seconds), reschedule_expiring);
}

TEST(reschedule_expiring, "when its time is over no other can be set",
     "test_timeouts.TimeoutTests.test_timeout_expiring")
{
    struct scene scene = scene_new(0.01, 10);
    scene.body = sleep_and_reschedule;
    CHECK_TEXT(run_scene(&scene, timed), "nothing");
    CHECK_TEXT(scene.notes.text, "CancelledError");
    CHECK(cora_timeout_expired(scene.limit));
    end(scene.loop);
}

TEST(reschedule_ended, "nor when it was left, and the error says which it is")
{
    struct scene scene = scene_new(1, 0.5);
    run_scene(&scene, timed);
    double when = cora_timeout_when(scene.limit);
    CHECK_INT(cora_timeout_reschedule(scene.limit, START + 100), CORA_ERUNTIME);
    CHECK(refused(CORA_ERUNTIME, "finished"));
    CHECK_REAL(cora_timeout_when(scene.limit), when, 0);
    cora_timeout late = scene.limit = cora_timeout_new(scene.loop, 0.1);
    run_scene(&scene, timed);
    CHECK_INT(cora_timeout_reschedule(late, START + 100), CORA_ERUNTIME);
    CHECK(refused(CORA_ERUNTIME, "expired"));
    end(scene.loop);
}

TEST(reschedule_created, "nor before it is entered",
     "test_timeouts.TimeoutTests.test_timeout_not_entered")
{
    struct scene scene = scene_new(1, 1);
    CHECK_INT(cora_timeout_reschedule(scene.limit, START + 2), CORA_ERUNTIME);
    CHECK(refused(CORA_ERUNTIME, "has not been entered"));
    CHECK_REAL(cora_timeout_when(scene.limit), START + 1, 0.001);
    end(scene.loop);
}

TEST(not_a_number, "NaN is no time: a ValueError")
{
    struct scene scene = scene_new(10, 1);
    CHECK(cora_is_null(cora_timeout_new(scene.loop, NAN)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EVALUE);
    CHECK(cora_is_null(cora_timeout_until(scene.loop, NAN)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EVALUE);
    cora_future task = started(&scene, timed, 0.1);
    double when = cora_timeout_when(scene.limit);
    CHECK_INT(cora_timeout_reschedule(scene.limit, NAN), CORA_EVALUE);
    CHECK_REAL(cora_timeout_when(scene.limit), when, 0);
    CHECK_TEXT(came_of(cora_run_until_complete(scene.loop, task)), "nothing");
    end(scene.loop);
}

/* ---- wrong use ---- */

static cora_next entered_before(cora_coro self)
{
    cora_value error = cora_caught(self);
    CHECK_INT(cora_error_code(error), CORA_ERUNTIME);
    CHECK(says(error, "has already been entered"));
    CHECK(says(error, "make a new one"));
    add_note(&SCENE(self)->notes, "refused");
    return sleep_on(self);
}

static cora_next enter_again(cora_coro self)
{
    return cora_try(self, cora_timeout_enter(SCENE(self)->limit), entered_before);
}

TEST(entered_twice, "it cannot be entered while it is active, and goes on as it was",
     "test_timeouts.TimeoutTests.test_timeout_already_entered")
{
    struct scene scene = scene_new(1, 0.5);
    scene.body = enter_again;
    CHECK_TEXT(run_scene(&scene, timed), "nothing");
    CHECK_TEXT(scene.notes.text, "refused");
    CHECK(!cora_timeout_expired(scene.limit));
    end(scene.loop);
}

TEST(entered_after_its_end, "nor after it was left",
     "test_timeouts.TimeoutTests.test_timeout_double_enter")
{
    struct scene scene = scene_new(1, 0.5);
    CHECK_TEXT(run_scene(&scene, timed), "nothing");
    CHECK_TEXT(run_scene(&scene, enter_again), "nothing");
    CHECK_TEXT(scene.notes.text, "refused");
    cora_value error = cora_run_until_complete(scene.loop, coro_of(&scene, timed));
    CHECK_INT(cora_error_code(error), CORA_ERUNTIME);
    CHECK(says(error, "has already been entered"));
    end(scene.loop);
}

static void enter_outside(cora_args bound)
{
    struct scene *scene = cora_arg(bound, 0, struct scene *);
    cora_when_done(cora_timeout_enter(scene->limit), cora_partial(note_outcome, &scene->notes));
}

TEST(entered_outside, "it cannot be entered outside of a task",
     "test_timeouts.TimeoutTests.test_timeout_without_task")
{
    struct scene scene = scene_new(1, 0.5);
    cora_call_soon(scene.loop, cora_partial(enter_outside, &scene));
    ticks(scene.loop, 3);
    CHECK(strstr(scene.notes.text, "RuntimeError: ") == scene.notes.text);
    CHECK(strstr(scene.notes.text, "should be used inside a task") != NULL);
    CHECK(strstr(scene.notes.text, "in a step that a task runs") != NULL);
    CHECK_INT(cora_timeout_reschedule(scene.limit, START + 2), CORA_ERUNTIME);
    CHECK(refused(CORA_ERUNTIME, "has not been entered"));
    CHECK_TEXT(run_scene(&scene, timed), "nothing");
    end(scene.loop);
}

static cora_next enter_by_hand(cora_coro self)
{
    return cora_await(self, cora_timeout_enter(SCENE(self)->limit), cora_return_got);
}

TEST(driven_by_hand, "nor by a coroutine that is driven by hand")
{
    struct scene scene = scene_new(1, 0.5);
    cora_value ret;
    CHECK_INT(cora_send(coro_of(&scene, enter_by_hand), cora_nothing(), &ret), CORA_ERUNTIME);
    CHECK(says(ret, "task"));
    end(scene.loop);
}

static cora_next exit_limit(cora_coro self)
{
    return cora_await(self, cora_timeout_exit(SCENE(self)->limit, cora_nothing()), cora_return_got);
}

static cora_next exit_twice(cora_coro self)
{
    return cora_await(self, cora_timeout_exit(SCENE(self)->limit, cora_nothing()), exit_limit);
}

static cora_next enter_and_exit_twice(cora_coro self)
{
    return cora_await(self, cora_timeout_enter(SCENE(self)->limit), exit_twice);
}

TEST(left_without_entering, "leaving what is not active is a RuntimeError")
{
    struct scene scene = scene_new(1, 0.5);
    cora_value error = cora_run_until_complete(scene.loop, coro_of(&scene, exit_limit));
    CHECK_INT(cora_error_code(error), CORA_ERUNTIME);
    CHECK(says(error, "leave"));
    error = cora_run_until_complete(scene.loop, coro_of(&scene, enter_and_exit_twice));
    CHECK_INT(cora_error_code(error), CORA_ERUNTIME);
    CHECK(says(error, "finished"));
    end(scene.loop);
}

static cora_next exit_spilled(cora_coro self)
{
    return cora_try(self, cora_timeout_exit(SCENE(self)->limit, spilled()), give_caught);
}

static cora_next enter_and_exit_spilled(cora_coro self)
{
    return cora_await(self, cora_timeout_enter(SCENE(self)->limit), exit_spilled);
}

TEST(left_with_an_error, "leaving it ends with the error that is under way")
{
    struct scene scene = scene_new(1, 0.5);
    CHECK_TEXT(run_scene(&scene, enter_and_exit_spilled), "ValueError");
    CHECK(!cora_timeout_expired(scene.limit));
    end(scene.loop);
}

TEST(null_handle, "a null one gives the error for which it could not be made")
{
    struct scene scene = scene_new(1, 0.5);
    cora_timeout_close(scene.limit);
    cora_timeout null = scene.limit = cora_timeout_new(scene.loop, NAN);
    char text[100];
    CHECK(cora_is_null(null));
    CHECK(!cora_timeout_expired(null));
    CHECK(isnan(cora_timeout_when(null)));
    CHECK_INT(cora_timeout_reschedule(null, START + 1), CORA_EVALUE);
    CHECK(cora_timeout_print(null, text, sizeof text) > 0);
    CHECK_TEXT(run_scene(&scene, exit_limit), "ValueError");
    CHECK_TEXT(run_scene(&scene, timed), "ValueError");
    end(scene.loop);
}

TEST(stale_handle, "and on one that was closed, but closing it")
{
    struct scene scene = scene_new(1, 0.5);
    CHECK_INT(cora_timeout_close(scene.limit), 0);
    char text[100];
    CHECK(!cora_timeout_expired(scene.limit));
    CHECK(isnan(cora_timeout_when(scene.limit)));
    CHECK_INT(cora_timeout_reschedule(scene.limit, START + 1), CORA_ESTALE);
    CHECK(cora_timeout_print(scene.limit, text, sizeof text) > 0);
    CHECK_TEXT(run_scene(&scene, timed), "StaleHandle");
    CHECK_TEXT(run_scene(&scene, exit_limit), "StaleHandle");
    end(scene.loop);
}

static void *use_elsewhere(void *argument)
{
    struct scene *scene = argument;
    CHECK(!cora_timeout_expired(scene->limit));
    CHECK(isnan(cora_timeout_when(scene->limit)));
    CHECK_INT(cora_timeout_reschedule(scene->limit, START + 1), CORA_EWRONGTHREAD);
    CHECK_INT(cora_timeout_close(scene->limit), CORA_EWRONGTHREAD);
    CHECK(cora_is_null(cora_timeout_new(scene->loop, 1)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EWRONGTHREAD);
    cora_loop own = cora_loop_new(NULL);
    CHECK_TEXT(came_of(cora_run_until_complete(own, coro_of(scene, timed))), "WrongThread");
    cora_loop_close(own);
    return NULL;
}

TEST(another_thread, "and from another thread")
{
    struct scene scene = scene_new(1, 0.5);
    cora_future task = started(&scene, timed, 0.1);
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, use_elsewhere, &scene), 0);
    pthread_join(thread, NULL);
    CHECK_TEXT(came_of(cora_run_until_complete(scene.loop, task)), "nothing");
    end(scene.loop);
}

TEST(another_loop, "a limit of another loop cannot be entered")
{
    struct scene scene = scene_new(1, 0.5);
    cora_loop other = cora_loop_new(NULL);
    cora_value outcome = cora_run_until_complete(other, coro_of(&scene, timed));
    CHECK(cora_is_error(outcome));
    CHECK(cora_error_message(outcome)[0] != '\0');
    CHECK_TEXT(run_scene(&scene, timed), "nothing");
    cora_loop_close(other);
    end(scene.loop);
}

TEST(closed_loop, "where no future can be made no limit can be, for the same reason")
{
    struct scene scene = scene_new(1, 0.5);
    cora_loop none = { 0 };
    CHECK(cora_is_null(cora_future_new(none)));
    int code = cora_error_code(cora_last_error());
    CHECK(cora_is_null(cora_timeout_new(none, 1)));
    CHECK_INT(cora_error_code(cora_last_error()), code);
    cora_loop_close(scene.loop);
    CHECK(isnan(cora_timeout_when(scene.limit)));
    CHECK(cora_is_null(cora_future_new(scene.loop)));
    code = cora_error_code(cora_last_error());
    CHECK(cora_is_null(cora_timeout_new(scene.loop, 1)));
    CHECK_INT(cora_error_code(cora_last_error()), code);
    CHECK(cora_is_null(cora_timeout_until(scene.loop, INFINITY)));
    CHECK_INT(cora_error_code(cora_last_error()), code);
    cora_virtual_clock_stop();
}

/* ---- what it prints ---- */

TEST(print_active, "an active one prints when its time is over",
     "test_timeouts.TimeoutTests.test_repr_active")
{
    struct scene scene = scene_new(1, 0.5);
    cora_timeout_close(scene.limit);
    scene.limit = cora_timeout_until(scene.loop, START + 234.56789);
    CHECK_TEXT(limit_printed(scene.limit), "<Timeout [created]>");
    started(&scene, timed, 0.1);
    CHECK_TEXT(limit_printed(scene.limit), "<Timeout [active] when=1234.568>");
    char cut[10];
    CHECK_INT(cora_timeout_print(scene.limit, cut, sizeof cut),
              strlen("<Timeout [active] when=1234.568>"));
    CHECK_TEXT(cut, "<Timeout ");
    end(scene.loop);
}

TEST(print_expired, "one whose time was over prints that",
     "test_timeouts.TimeoutTests.test_repr_expired")
{
    struct scene scene = scene_new(0.01, 10);
    run_scene(&scene, timed);
    CHECK_TEXT(limit_printed(scene.limit), "<Timeout [expired]>");
    end(scene.loop);
}

TEST(print_finished, "and one that was left in time",
     "test_timeouts.TimeoutTests.test_repr_finished")
{
    struct scene scene = scene_new(10, 0.01);
    run_scene(&scene, timed);
    CHECK_TEXT(limit_printed(scene.limit), "<Timeout [finished]>");
    end(scene.loop);
}

static cora_next print_expiring(cora_coro self)
{
    add_note(&SCENE(self)->notes, limit_printed(SCENE(self)->limit));
    return cora_return(self, cora_nothing());
}

static cora_next sleep_and_print(cora_coro self)
{
    return cora_try(self, cora_sleep(SCENE(self)->seconds), print_expiring);
}

TEST(print_expiring, "and one whose time is over, and that was not left yet")
{
    struct scene scene = scene_new(0.01, 10);
    scene.body = sleep_and_print;
    run_scene(&scene, timed);
    CHECK_TEXT(scene.notes.text, "<Timeout [expiring]>");
    end(scene.loop);
}

/* ---- ticks ---- */

static void count_tick(cora_args bound)
{
    struct scene *scene = cora_arg(bound, 0, struct scene *);
    scene->now++;
    cora_call_soon(scene->loop, cora_partial(count_tick, scene));
}

static cora_next after(cora_coro self)
{
    SCENE(self)->after = SCENE(self)->now;
    return cora_return(self, cora_nothing());
}

static cora_next measured(cora_coro self)
{
    SCENE(self)->before = SCENE(self)->now;
    return cora_try(self, coro_of(SCENE(self), timed), after);
}

/* The ticks of a limit around a sleep, or around another body. */
static int ticks_of(double limit, double seconds, cora_step body)
{
    int ticks[2];
    for (int poll = 0; poll < 2; poll++) {
        cora_virtual_clock_start(START);
        struct cora_loop_options options = { .poll_every_tick = poll };
        struct scene scene = { .loop = cora_loop_new(&options), .seconds = seconds };
        scene.limit = cora_timeout_new(scene.loop, limit);
        scene.body = body;
        cora_call_soon(scene.loop, cora_partial(count_tick, &scene));
        run_scene(&scene, measured);
        ticks[poll] = scene.after - scene.before;
        end(scene.loop);
    }
    CHECK_INT(ticks[0], ticks[1]);
    return ticks[0];
}

TEST(ticks_of_nothing, "a limit takes no tick itself")
{
    CHECK_INT(ticks_of(10, 1, return_seven), 0);
    CHECK_INT(ticks_of(-1, 1, return_seven), 0);
    CHECK_INT(ticks_of(10, 0, NULL), 1);
}

TEST(ticks_of_no_time, "one of no time ends a sleep in 1")
{
    CHECK_INT(ticks_of(0, 0, NULL), 1);
    CHECK_INT(ticks_of(0, 10, NULL), 2);
    CHECK_INT(ticks_of(-11, 10, NULL), 2);
}

static void note_tick(cora_args bound)
{
    struct scene *scene = cora_arg(bound, 0, struct scene *);
    scene->before = scene->now;
}

static cora_next sleep_until_over(cora_coro self)
{
    struct scene *scene = SCENE(self);
    cora_call_at(scene->loop, cora_timeout_when(scene->limit), cora_partial(note_tick, scene));
    return sleep_on(self);
}

TEST(ticks_of_a_timeout, "the TimeoutError comes 1 tick after that in which the time is over")
{
    CHECK_INT(ticks_of(0.001, 10, sleep_until_over), 1);
}

/* ---- whose it is ---- */

static cora_next make_limit(cora_coro self)
{
    SCENE(self)->limit = cora_timeout_new(cora_running_loop(), 5);
    return sleep_on(self);
}

TEST(closed_with_its_coroutine, "one that is made in a step is closed when its coroutine has ended")
{
    struct scene scene = scene_new(1, 2);
    cora_timeout_close(scene.limit);
    size_t live = cora_live(scene.loop);
    cora_future task = started(&scene, make_limit, 1);
    CHECK(!isnan(cora_timeout_when(scene.limit)));
    cora_run_until_complete(scene.loop, task);
    CHECK(isnan(cora_timeout_when(scene.limit)));
    tick(scene.loop);
    CHECK_INT(cora_live(scene.loop), live);
    end(scene.loop);
}

static cora_next make_and_enter(cora_coro self)
{
    SCENE(self)->limit = cora_timeout_new(cora_running_loop(), 5);
    return cora_await(self, cora_timeout_enter(SCENE(self)->limit), sleep_on);
}

static cora_next note_expired(cora_coro self)
{
    add_note(&SCENE(self)->notes, limit_printed(SCENE(self)->limit));
    return cora_go_on(self);
}

static cora_next make_and_limit(cora_coro self)
{
    CHECK_INT(cora_finally(self, note_expired), 0);
    SCENE(self)->limit = cora_timeout_new(cora_running_loop(), 5);
    return cora_with(self, cora_timeout_enter(SCENE(self)->limit), sleep_on);
}

TEST(read_in_finally, "not before: the steps that run when it ends still find it, left by then")
{
    struct scene scene = scene_new(1, 10);
    cora_timeout_close(scene.limit);
    CHECK_TEXT(run_scene(&scene, make_and_limit), "TimeoutError");
    CHECK_TEXT(scene.notes.text, "<Timeout [expired]>");
    end(scene.loop);
}

TEST(never_left, "also if it was entered and never left: it has no one to cancel any more")
{
    struct scene scene = scene_new(1, 2);
    cora_timeout_close(scene.limit);
    cora_future task = started(&scene, make_and_enter, 3);
    CHECK_TEXT(came_of(cora_result(task)), "nothing");
    CHECK(isnan(cora_timeout_when(scene.limit)));
    run_for(scene.loop, 10);
    CHECK_INT(cora_cancelling(task), 0);
    end(scene.loop);
}

static cora_next enter_and_end(cora_coro self)
{
    return cora_await(self, cora_timeout_enter(SCENE(self)->limit), cora_return_nothing);
}

TEST(never_left_from_outside,
     "one of main()'s that is never left does nothing to a task that is done")
{
    struct scene scene = scene_new(5, 2);
    cora_future task = started(&scene, enter_and_end, 1);
    CHECK(cora_done(task));
    run_for(scene.loop, 10);
    CHECK(!cora_cancelled(task));
    end(scene.loop);
}

static void make_in_callback(cora_args bound)
{
    struct scene *scene = cora_arg(bound, 0, struct scene *);
    scene->limit = cora_timeout_new(cora_running_loop(), 5);
}

TEST(made_in_a_callback, "one that is made in a callback is its maker's, until he closes it")
{
    struct scene scene = scene_new(1, 2);
    cora_timeout_close(scene.limit);
    size_t live = cora_live(scene.loop);
    run_in(scene.loop, cora_partial(make_in_callback, &scene));
    ticks(scene.loop, 3);
    CHECK_TEXT(run_scene(&scene, timed), "nothing");
    CHECK(!isnan(cora_timeout_when(scene.limit)));
    CHECK_INT(cora_timeout_close(scene.limit), 0);
    tick(scene.loop);
    CHECK_INT(cora_live(scene.loop), live);
    end(scene.loop);
}

TEST(close_while_active, "closing it takes the limit away: its task is not cancelled any more")
{
    struct scene scene = scene_new(1, 10);
    cora_future task = started(&scene, make_and_enter, 1);
    CHECK_INT(cora_timeout_close(scene.limit), 0);
    CHECK_INT(cora_timeout_close(scene.limit), 0);
    CHECK_TEXT(came_of(cora_run_until_complete(scene.loop, task)), "nothing");
    CHECK_REAL(cora_time(scene.loop), START + 10, LATE);
    end(scene.loop);
}

TEST(close_while_expiring, "closed when its time is over, it leaves the task cancelled")
{
    struct scene scene = scene_new(1, 10);
    cora_future task = started(&scene, timed, 0.5);
    cora_timeout_reschedule(scene.limit, START);
    tick(scene.loop);
    CHECK(cora_timeout_expired(scene.limit));
    CHECK_INT(cora_timeout_close(scene.limit), 0);
    tick(scene.loop);
    CHECK(cora_done(task));
    CHECK(cora_is_error(cora_exception(task)));
    end(scene.loop);
}

TEST(close_loop_while_active, "a loop may be closed with a limit that is active")
{
    struct scene scene = scene_new(1, 10);
    started(&scene, timed, 0.5);
    started(&scene, make_and_enter, 0.1);
    end(scene.loop);
    CHECK(isnan(cora_timeout_when(scene.limit)));
}

TEST(close_coroutine, "a coroutine that is closed leaves its limit")
{
    struct scene scene = scene_new(1, 10);
    scene.body = sleep_and_note;
    cora_future task = started(&scene, timed, 0.5);
    cora_coro coro = cora_get_coro(task);
    CHECK_INT(cora_coro_state(coro), CORA_CORO_SUSPENDED);
    end(scene.loop);
    CHECK_INT(cora_coro_state(coro), CORA_CORO_CLOSED);
}

static cora_next one_more(cora_coro self)
{
    struct scene *scene = SCENE(self);
    if (++scene->now == 1000)
        return cora_return(self, cora_nothing());
    if (scene->now == 10)
        scene->before = (int)cora_live(scene->loop);
    if (scene->now > 10)
        CHECK_INT(cora_live(scene->loop), scene->before);
    return cora_await(self, cora_coroutine(fetch, struct fetch, .seconds = 0.001), one_more);
}

TEST(one_after_the_other,
     "a coroutine that sets a thousand limits, one after the other, holds none")
{
    struct scene scene = scene_new(1, 10);
    CHECK_TEXT(run_scene(&scene, one_more), "nothing");
    CHECK_INT(scene.now, 1000);
    end(scene.loop);
}

TEST(guest, "a guest's limits are the same, and keep the host's loop alive until they are over")
{
    cora_virtual_clock_start(START);
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    struct scene scene = { .loop = cora_loop_attach(host, NULL), .seconds = 10 };
    scene.limit = cora_timeout_new(scene.loop, 0.5);
    cora_spawn(scene.loop, coro_of(&scene, try_timed));
    ev_run(host, 0);
    CHECK_TEXT(scene.notes.text, "TimeoutError");
    CHECK_REAL(cora_time(scene.loop), START + 0.5, LATE);
    cora_loop_detach(scene.loop);
    ev_loop_destroy(host);
    cora_virtual_clock_stop();
}

TEST(guest_detached, "a guest may leave its host with a limit that is active")
{
    cora_virtual_clock_start(START);
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    struct scene scene = { .loop = cora_loop_attach(host, NULL), .seconds = 10 };
    scene.limit = cora_timeout_new(scene.loop, 0.125);
    cora_spawn(scene.loop, coro_of(&scene, timed));
    ev_run(host, EVRUN_NOWAIT);
    CHECK_TEXT(limit_printed(scene.limit), "<Timeout [active] when=1000.125>");
    cora_loop_detach(scene.loop);
    CHECK(isnan(cora_timeout_when(scene.limit)));
    CHECK_INT(cora_live_coroutines(), 0);
    ev_run(host, EVRUN_NOWAIT);
    ev_loop_destroy(host);
    cora_virtual_clock_stop();
}
