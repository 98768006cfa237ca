/*
 * Task groups: tasks that begin and end together. First how one is used; then what becomes of the
 * others, and of the parent, when one of them fails, when the parent fails, and when it is
 * cancelled; errors that leave the run; groups in groups; how often the parent counts as cancelled;
 * which tasks a group takes; wrong use; what it prints; how many ticks it takes; and last whose it
 * is, and that it holds nothing for long.
 *
 * Most tests run twice: with tasks that begin in the next tick, and with eager ones.
 */
#include "coroutines.h"

#include <ev.h>
#include <math.h>
#include <pthread.h>

/* ---- helpers ---- */

/* What the coroutines of a test share. */
struct scene {
    cora_loop loop;
    bool eager;
    cora_task_group group, outer; /* what in_group and in_outer enter */
    cora_step body, outer_body;   /* the step in each */
    cora_future tasks[16];        /* children, kept */
    int count;
    cora_future parent;
    unsigned cancelling;
    int number;
    bool after; /* whether what comes after the group has run */
    struct notes notes;
    int now, before, ended; /* ticks */
};

#define SCENE(self) (*cora_locals(self, struct scene *))

static struct scene scene_new(bool eager)
{
    struct scene scene = { .loop = virtual_loop_new(), .eager = eager };
    if (eager)
        CHECK_INT(cora_set_task_factory(scene.loop, cora_partial(cora_eager_task_factory)), 0);
    scene.group = cora_task_group_new(scene.loop);
    scene.outer = cora_task_group_new(scene.loop);
    return scene;
}

static void scene_end(struct scene *scene)
{
    while (scene->count > 0)
        CHECK_INT(cora_release(scene->tasks[--scene->count]), 0);
    end(scene->loop);
}

/*
 * The scenes of a test that runs twice: first with tasks that begin in the next tick, then with
 * eager ones. Nothing may be reported in them.
 */
static bool next_scene(struct scene **scene)
{
    static struct scene both;
    static struct reports reports;
    bool eager = *scene != NULL;
    if (eager) {
        scene_end(*scene);
        CHECK_TEXT(reports.message, "");
    }
    if (eager && both.eager)
        return false;
    both = scene_new(eager);
    collect_reports(both.loop, &reports);
    *scene = &both;
    return true;
}

/* Writes what something has come to: nothing, a value, the name of an error, {those of a group}. */
static void tell(struct notes *notes, cora_value outcome)
{
    size_t count = cora_list_size(cora_exceptions(outcome));
    char text[100];
    if (count > 0) {
        add_note(notes, "{");
        for (size_t i = 0; i < count; i++)
            tell(notes, cora_list_at(cora_exceptions(outcome), i));
        add_note(notes, "}");
    } else if (cora_is_error(outcome)) {
        add_note(notes, cora_error_name(cora_error_code(outcome)));
    } else if (cora_is_nothing(outcome)) {
        add_note(notes, "nothing");
    } else {
        cora_print(outcome, text, sizeof text);
        add_note(notes, text);
    }
}

static const char *told(cora_value outcome)
{
    static struct notes notes;
    notes.text[0] = '\0';
    tell(&notes, outcome);
    return notes.text;
}

static cora_coro coro_of(struct scene *scene, cora_step step)
{
    return cora_coroutine(step, struct scene *, scene);
}

static const char *run_scene(struct scene *scene, cora_step step)
{
    return told(cora_run_until_complete(scene->loop, coro_of(scene, step)));
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

/* ---- what runs in a group ---- */

/* A child, or what a parent does in its group. */
struct part {
    double seconds; /* sleeps so long */
    int fails;      /* then fails with this code; 0: returns number */
    int answers;    /* if cancelled, fails with this code; 0: with Cancelled */
    double cleanup; /* and takes so long for that */
    int number;
    int *counter; /* of cancellations, each of which counts so much */
    int weight;
};

#define PART(self) cora_locals(self, struct part)
#define part(...) cora_coroutine(play, struct part, __VA_ARGS__)

static cora_next answer(cora_coro self)
{
    int code = PART(self)->answers ? PART(self)->answers : CORA_ECANCELLED;
    return cora_raise(self, cora_error(code, "an answer"));
}

static cora_next played(cora_coro self)
{
    struct part *part = PART(self);
    if (!cora_is_nothing(cora_caught(self))) {
        if (part->counter)
            *part->counter += part->weight;
        return part->cleanup > 0 ? cora_await(self, cora_sleep(part->cleanup), answer)
                                 : answer(self);
    }
    if (part->fails)
        return cora_raise(self, cora_error(part->fails, "a failure"));
    return cora_return(self, part->number);
}

static cora_next play(cora_coro self)
{
    return cora_try(self, cora_sleep(PART(self)->seconds), played);
}

/* Parts that sleep and return a number; that fail after a while; that fail when cancelled. */
static cora_coro nap(double seconds, int number)
{
    return part(.seconds = seconds, .number = number);
}

static cora_coro crash(double seconds, int code)
{
    return part(.seconds = seconds, .fails = code);
}

static cora_coro crash_if_cancelled(int code)
{
    return part(.seconds = 10, .answers = code);
}

static cora_next fail_at_once(cora_coro self)
{
    return cora_raise(self, spilled());
}

static cora_next at_once(cora_coro self)
{
    return cora_return(self, 7);
}

/* A task of the group, which can be read until the test ends. */
static cora_future child(struct scene *scene, cora_coro coro)
{
    cora_future task = cora_task_group_create_task(scene->group, coro);
    CHECK(!cora_is_null(task));
    return scene->tasks[scene->count++] = cora_keep(task);
}

/* ---- parents ---- */

/* async with group: body */
static cora_next in_group(cora_coro self)
{
    return cora_with(self, cora_task_group_enter(SCENE(self)->group), SCENE(self)->body);
}

static cora_next after_group(cora_coro self)
{
    SCENE(self)->after = true;
    return cora_return(self, cora_nothing());
}

static cora_next group_and_after(cora_coro self)
{
    return cora_await(self, coro_of(SCENE(self), in_group), after_group);
}

/* Runs a parent that enters the group, and does this in it. */
static const char *grouped(struct scene *scene, cora_step body)
{
    scene->body = body;
    return run_scene(scene, group_and_after);
}

/* The same as a task, which has run for so many seconds. */
static cora_future parent_in(struct scene *scene, double seconds, cora_step body)
{
    scene->body = body;
    cora_future parent = cora_create_task(scene->loop, coro_of(scene, group_and_after));
    run_for(scene->loop, seconds);
    CHECK(!cora_done(parent));
    return parent;
}

/* What it comes to when it is cancelled. */
static const char *cancelled(cora_loop loop, cora_future task)
{
    CHECK(cora_cancel(task));
    return told(cora_run_until_complete(loop, task));
}

/* async with outer: outer_body, which goes on with await_group */
static cora_next await_group(cora_coro self)
{
    return cora_await(self, coro_of(SCENE(self), in_group), cora_return_got);
}

static cora_next in_outer(cora_coro self)
{
    struct scene *scene = SCENE(self);
    return cora_with(self, cora_task_group_enter(scene->outer),
                     scene->outer_body ? scene->outer_body : await_group);
}

/* A body that does nothing, and one that sleeps for long. */
static cora_next no_body(cora_coro self)
{
    return cora_return(self, cora_nothing());
}

static cora_next sleep_in_body(cora_coro self)
{
    return cora_await(self, part(.seconds = 10, .counter = &SCENE(self)->number, .weight = 10),
                      cora_return_got);
}

/* ---- how it is used ---- */

struct news {
    cora_task_group group;
    struct notes *notes;
};

struct paper {
    struct notes *notes;
    const char *name;
    double seconds;
};

static cora_next paper_read(cora_coro self)
{
    const struct paper *paper = cora_locals(self, struct paper);
    add_note(paper->notes, paper->name);
    return cora_return(self, cora_nothing());
}

static cora_next read_paper(cora_coro self)
{
    return cora_await(self, cora_sleep(cora_locals(self, struct paper)->seconds), paper_read);
}

static cora_next begin_news(cora_coro self)
{
    struct news *news = cora_locals(self, struct news);
    cora_task_group_spawn(news->group,
                          cora_coroutine(read_paper, struct paper, news->notes, "Times", 2));
    cora_task_group_spawn(news->group,
                          cora_coroutine(read_paper, struct paper, news->notes, "Herald", 1));
    return cora_return(self, "read");
}

static cora_next gather_news(cora_coro self)
{
    struct news *news = cora_locals(self, struct news);
    news->group = cora_task_group_new(cora_running_loop());
    return cora_with(self, cora_task_group_enter(news->group), begin_news);
}

TEST(usage, "a coroutine that has entered a group ends when all tasks of the group have")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { .text = "" };
    CHECK_TEXT(ran(loop, cora_coroutine(gather_news, struct news, .notes = &notes)), "\"read\"");
    CHECK_TEXT(notes.text, "Herald Times");
    CHECK_REAL(cora_time(loop), START + 2, LATE);
    end(loop);
}

struct sum {
    cora_task_group group;
    cora_future one, two;
};

static cora_next add(cora_coro self)
{
    const struct sum *sum = cora_locals(self, struct sum);
    return cora_return(self,
                       cora_as_int(cora_result(sum->one)) + cora_as_int(cora_result(sum->two)));
}

static cora_next begin_sum(cora_coro self)
{
    struct sum *sum = cora_locals(self, struct sum);
    sum->one = cora_task_group_create_task(sum->group, nap(2, 42));
    sum->two = cora_task_group_create_task(sum->group, nap(1, 11));
    return cora_await(self, cora_task_group_exit(sum->group, cora_nothing()), add);
}

static cora_next sum_up(cora_coro self)
{
    struct sum *sum = cora_locals(self, struct sum);
    sum->group = cora_task_group_new(cora_running_loop());
    return cora_await(self, cora_task_group_enter(sum->group), begin_sum);
}

TEST(left_by_hand, "one that leaves the group by hand goes on when all have ended, and reads them")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(ran(loop, cora_coroutine(sum_up, struct sum, .group = { 0 })), "53");
    end(loop);
}

static cora_next two_naps(cora_coro self)
{
    child(SCENE(self), nap(0.1, 42));
    child(SCENE(self), nap(0.2, 11));
    return cora_return(self, cora_nothing());
}

TEST(waits_for_all, "leaving the group waits for all, whose results can be read then",
     "test_taskgroups.TestTaskGroup.test_taskgroup_01")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, two_naps), "nothing");
        CHECK_TEXT(outcome(scene->tasks[0]), "42");
        CHECK_TEXT(outcome(scene->tasks[1]), "11");
        CHECK(scene->after);
        CHECK_REAL(cora_time(scene->loop), START + 0.2, LATE);
    }
}

static cora_next add_second(cora_coro self)
{
    CHECK(cora_done(SCENE(self)->tasks[0]));
    child(SCENE(self), nap(0.2, 11));
    return cora_return(self, cora_nothing());
}

static cora_next add_first(cora_coro self)
{
    child(SCENE(self), nap(0.1, 42));
    return cora_await(self, cora_sleep(0.15), add_second);
}

TEST(one_after_the_other, "a task may be added when another one has ended already",
     "test_taskgroups.TestTaskGroup.test_taskgroup_02")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, add_first), "nothing");
        CHECK_TEXT(outcome(scene->tasks[0]), "42");
        CHECK_TEXT(outcome(scene->tasks[1]), "11");
        CHECK_REAL(cora_time(scene->loop), START + 0.35, 2 * LATE);
    }
}

static cora_next cancel_first(cora_coro self)
{
    CHECK(cora_cancel(SCENE(self)->tasks[0]));
    child(SCENE(self), nap(0.2, 11));
    return cora_return(self, cora_nothing());
}

static cora_next add_long_one(cora_coro self)
{
    child(SCENE(self), nap(1, 42));
    return cora_await(self, cora_sleep(0.15), cancel_first);
}

TEST(cancelled_child, "a task that is cancelled is no failure",
     "test_taskgroups.TestTaskGroup.test_taskgroup_03")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, add_long_one), "nothing");
        CHECK(cora_cancelled(scene->tasks[0]));
        CHECK_TEXT(outcome(scene->tasks[1]), "11");
        CHECK_REAL(cora_time(scene->loop), START + 0.35, 2 * LATE);
    }
}

TEST(no_tasks, "a group without tasks is nothing to wait for")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, no_body), "nothing");
        CHECK_REAL(cora_time(scene->loop), START, 0.001);
    }
}

/* ---- a task fails ---- */

static cora_next one_fails(cora_coro self)
{
    struct scene *scene = SCENE(self);
    child(scene, crash(0.1, CORA_EVALUE));
    child(scene, part(.seconds = 1, .counter = &scene->number, .weight = 1));
    return cora_return(self, cora_nothing());
}

TEST(failed_child, "when one fails, the others are cancelled, and the parent ends with that",
     "test_taskgroups.TestTaskGroup.test_taskgroup_04")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, one_fails), "{ ValueError }");
        CHECK(cora_cancelled(scene->tasks[1]));
        CHECK_INT(scene->number, 1);
        CHECK(!scene->after);
        CHECK_REAL(cora_time(scene->loop), START + 0.1, LATE);
    }
}

static cora_next three_fail(cora_coro self)
{
    struct scene *scene = SCENE(self);
    for (int i = 0; i < 3; i++)
        child(scene, crash(0.1, CORA_EVALUE));
    child(scene, part(.seconds = 5, .counter = &scene->number, .weight = 1));
    return sleep_in_body(self);
}

TEST(failed_children, "the parent is cancelled, too, and no Cancelled is among the errors",
     "test_taskgroups.TestTaskGroup.test_cancel_children_on_child_error")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        scene->body = three_fail;
        cora_value error = cora_run_until_complete(scene->loop, coro_of(scene, group_and_after));
        size_t count = cora_list_size(cora_exceptions(error));
        CHECK(count >= 1 && count <= 3);
        for (size_t i = 0; i < count; i++)
            CHECK(cora_error_is(cora_list_at(cora_exceptions(error), i), CORA_EVALUE));
        CHECK_INT(scene->number, 11);
        CHECK(!scene->after);
    }
}

TEST(group_of_errors, "the error is an ExceptionGroup that keeps those of the tasks")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        scene->body = one_fails;
        cora_value error = cora_run_until_complete(scene->loop, coro_of(scene, in_group));
        CHECK_INT(cora_error_code(error), CORA_EEXCEPTIONGROUP);
        CHECK(says(error, "unhandled errors in a TaskGroup"));
        CHECK_TEXT(cora_error_message(cora_list_at(cora_exceptions(error), 0)), "a failure");
    }
}

static cora_next fail_in_turn(cora_coro self)
{
    struct scene *scene = SCENE(self);
    child(scene, part(.seconds = 10, .answers = CORA_EKEY, .cleanup = 2));
    child(scene, part(.seconds = 10, .answers = CORA_ETYPE, .cleanup = 1));
    child(scene, crash(0.1, CORA_EVALUE));
    return cora_await(self, part(.seconds = 10, .answers = CORA_ELOOKUP), cora_return_got);
}

TEST(order_of_errors, "the errors are in the order in which the tasks have failed, the "
                      "parent's own is the last")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, fail_in_turn), "{ ValueError TypeError KeyError LookupError }");
    }
}

static cora_next fail_and_answer(cora_coro self)
{
    child(SCENE(self), crash(0.1, CORA_EVALUE));
    return cora_await(self, crash_if_cancelled(CORA_EKEY), cora_return_got);
}

TEST(parent_answers, "an error with which the parent answers its cancellation is one of them",
     "test_taskgroups.TestTaskGroup.test_taskgroup_19")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, fail_and_answer), "{ ValueError KeyError }");
    }
}

static cora_next hold_database(cora_coro self)
{
    CHECK_INT(cora_finally(self, fail_at_once), 0);
    child(SCENE(self), crash(0, CORA_EVALUE));
    return cora_await(self, cora_sleep(1), cora_return_nothing);
}

static cora_next await_database(cora_coro self)
{
    return cora_await(self, coro_of(SCENE(self), hold_database), cora_return_got);
}

static cora_next handle(cora_coro self)
{
    struct scene *scene = SCENE(self);
    scene->cancelling = cora_cancelling(current_task());
    tell(&scene->notes, cora_caught(self));
    return cora_return(self, cora_nothing());
}

/* try: async with group: body, except: handle */
static cora_next try_group(cora_coro self)
{
    return cora_try(self, coro_of(SCENE(self), in_group), handle);
}

TEST(release_fails, "also one of what it releases in its clean-up",
     "test_taskgroups.TestTaskGroup.test_taskgroup_context_manager_exit_raises")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        scene->body = await_database;
        CHECK_TEXT(run_scene(scene, try_group), "nothing");
        CHECK_TEXT(scene->notes.text, "{ ValueError ValueError }");
        CHECK_INT(scene->cancelling, 0);
    }
}

static cora_next swallow_in_body(cora_coro self)
{
    child(SCENE(self), crash(0.1, CORA_EVALUE));
    return cora_try(self, cora_sleep(10), cora_return_nothing);
}

TEST(parent_swallows, "a parent that swallows its cancellation does not swallow the error")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, swallow_in_body), "{ ValueError }");
        CHECK(!scene->after);
    }
}

static cora_next fail_beside_cleanup(cora_coro self)
{
    struct scene *scene = SCENE(self);
    child(scene, crash(0.1, CORA_EVALUE));
    child(scene, nap(10, 1));
    return cora_await(self, part(.seconds = 10, .cleanup = 5), cora_return_got);
}

TEST(cancelled_at_once, "the others are cancelled at once, not when the parent has cleaned up")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        cora_future parent = parent_in(scene, 1, fail_beside_cleanup);
        CHECK(cora_cancelled(scene->tasks[1]));
        CHECK_TEXT(told(cora_run_until_complete(scene->loop, parent)), "{ ValueError }");
        CHECK_REAL(cora_time(scene->loop), START + 5.1, 2 * LATE);
    }
}

/* ---- the parent fails ---- */

static cora_next fail_later(cora_coro self)
{
    child(SCENE(self), nap(5, 1));
    child(SCENE(self), nap(5, 1));
    return cora_await(self, crash(0.1, CORA_EKEY), cora_return_got);
}

TEST(failing_parent, "when the parent fails, the tasks are cancelled",
     "test_taskgroups.TestTaskGroup.test_taskgroup_09")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, fail_later), "{ KeyError }");
        CHECK(cora_cancelled(scene->tasks[0]));
        CHECK(cora_cancelled(scene->tasks[1]));
    }
}

static cora_next fail_soon(cora_coro self)
{
    child(SCENE(self), nap(1, 1));
    child(SCENE(self), nap(1, 1));
    return cora_raise(self, cora_error(CORA_EKEY, "at once"));
}

TEST(failing_parent_at_once, "also before they have run",
     "test_taskgroups.TestTaskGroup.test_taskgroup_10")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, fail_soon), "{ KeyError }");
        CHECK(cora_cancelled(scene->tasks[0]));
        CHECK(cora_cancelled(scene->tasks[1]));
    }
}

/* ---- the parent is cancelled ---- */

static cora_next five_naps(cora_coro self)
{
    struct scene *scene = SCENE(self);
    for (int i = 0; i < 5; i++)
        child(scene, part(.seconds = 10, .counter = &scene->number, .weight = 1));
    return sleep_in_body(self);
}

TEST(cancelled_parent, "when the parent is cancelled, each task is, once",
     "test_taskgroups.TestTaskGroup.test_taskgroup_07")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        cora_future parent = parent_in(scene, 0.1, five_naps);
        CHECK_TEXT(cancelled(scene->loop, parent), "CancelledError");
        CHECK(cora_cancelled(parent));
        CHECK_INT(scene->number, 15);
    }
}

static cora_next five_crash(cora_coro self)
{
    for (int i = 0; i < 5; i++)
        child(SCENE(self), crash_if_cancelled(CORA_EVALUE));
    return sleep_in_body(self);
}

TEST(errors_come_first, "if they fail then, the parent ends with that, and not with Cancelled",
     "test_taskgroups.TestTaskGroup.test_taskgroup_08")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        cora_future parent = parent_in(scene, 0.1, five_crash);
        CHECK_TEXT(cancelled(scene->loop, parent),
                   "{ ValueError ValueError ValueError ValueError ValueError }");
        CHECK(!cora_cancelled(parent));
    }
}

static cora_next crash_and_clean(cora_coro self)
{
    child(SCENE(self), crash(0.3, CORA_EVALUE));
    return cora_await(self, part(.seconds = 10, .cleanup = 0.5), cora_return_got);
}

TEST(fails_while_cleaning, "also if one fails while the parent cleans up",
     "test_taskgroups.TestTaskGroup.test_taskgroup_15")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        cora_future parent = parent_in(scene, 0.1, crash_and_clean);
        CHECK_TEXT(cancelled(scene->loop, parent), "{ ValueError }");
    }
}

static cora_next await_nested(cora_coro self)
{
    cora_future nested = cora_create_task(cora_running_loop(), coro_of(SCENE(self), in_group));
    return cora_await(self, nested, cora_return_got);
}

TEST(fails_while_cleaning_inside, "also if the parent is a task that the cancelled one awaits",
     "test_taskgroups.TestTaskGroup.test_taskgroup_16")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        scene->body = crash_and_clean;
        cora_future runner = cora_create_task(scene->loop, coro_of(scene, await_nested));
        run_for(scene->loop, 0.1);
        CHECK(!cora_done(runner));
        CHECK_TEXT(cancelled(scene->loop, runner), "{ ValueError }");
    }
}

TEST(cancelled_without_tasks, "in a group without tasks it just ends cancelled",
     "test_taskgroups.TestTaskGroup.test_taskgroup_17")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        cora_future parent = parent_in(scene, 0.1, sleep_in_body);
        CHECK_TEXT(cancelled(scene->loop, parent), "CancelledError");
        CHECK_INT(scene->number, 10);
    }
}

static cora_next answer_in_body(cora_coro self)
{
    return cora_await(self, crash_if_cancelled(CORA_EKEY), cora_return_got);
}

TEST(answered, "an error with which it answers comes in a group, too",
     "test_taskgroups.TestTaskGroup.test_taskgroup_18")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        cora_future parent = parent_in(scene, 0.1, answer_in_body);
        CHECK_TEXT(cancelled(scene->loop, parent), "{ KeyError }");
    }
}

static cora_next two_long_naps(cora_coro self)
{
    child(SCENE(self), nap(10, 1));
    child(SCENE(self), nap(10, 1));
    return cora_return(self, cora_nothing());
}

TEST(cancelled_at_the_end, "it may be cancelled while it waits for the tasks",
     "test_taskgroups.TestTaskGroup.test_taskgroup_22")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        cora_future parent = parent_in(scene, 0.05, two_long_naps);
        CHECK_TEXT(cancelled(scene->loop, parent), "CancelledError");
        CHECK(cora_cancelled(scene->tasks[0]));
        CHECK(cora_cancelled(scene->tasks[1]));
    }
}

static cora_next nap_and_sleep(cora_coro self)
{
    child(SCENE(self), nap(10, 1));
    return cora_await(self, cora_sleep(10), cora_return_nothing);
}

TEST(cancelled_with_a_message, "the message of the cancellation is kept")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        cora_step bodies[2] = { nap_and_sleep, two_long_naps };
        for (int i = 0; i < 2; i++) {
            scene->group = cora_task_group_new(scene->loop);
            cora_future parent = parent_in(scene, 0.1, bodies[i]);
            CHECK(cora_cancel_with(parent, "enough"));
            cora_value error = cora_run_until_complete(scene->loop, parent);
            CHECK_INT(cora_error_code(error), CORA_ECANCELLED);
            CHECK_TEXT(cora_error_message(error), "enough");
        }
    }
}

static void cancel_first_child(cora_args bound)
{
    CHECK(cora_cancel(cora_arg(bound, 0, struct scene *)->tasks[0]));
}

static cora_next await_first_child(cora_coro self)
{
    struct scene *scene = SCENE(self);
    child(scene, nap(10, 1));
    child(scene, nap(10, 1));
    cora_call_later(scene->loop, 1, cora_partial(cancel_first_child, scene));
    return cora_await(self, scene->tasks[0], cora_return_got);
}

TEST(awaits_a_cancelled_child, "a parent that awaits a task that somebody cancels ends cancelled, "
                               "and the others are")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        cora_future parent = parent_in(scene, 0.5, await_first_child);
        CHECK_TEXT(told(cora_run_until_complete(scene->loop, parent)), "CancelledError");
        CHECK(cora_cancelled(parent));
        CHECK_INT(cora_cancelling(parent), 0);
        CHECK(cora_cancelled(scene->tasks[1]));
    }
}

static cora_next long_cleanup(cora_coro self)
{
    struct scene *scene = SCENE(self);
    child(scene, part(.seconds = 10, .cleanup = 2, .counter = &scene->number, .weight = 1));
    return cora_return(self, cora_nothing());
}

TEST(cancelled_again, "cancelled again, it still waits for them, and they are not cancelled "
                      "again")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        cora_future parent = parent_in(scene, 1, long_cleanup);
        for (int i = 0; i < 3; i++) {
            CHECK(cora_cancel(parent));
            run_for(scene->loop, 0.5);
            CHECK(!cora_done(parent));
        }
        CHECK_TEXT(told(cora_run_until_complete(scene->loop, parent)), "CancelledError");
        CHECK_INT(scene->number, 1);
        CHECK_INT(cora_cancelling(scene->tasks[0]), 1);
        CHECK_INT(cora_cancelling(parent), 3);
        CHECK_REAL(cora_time(scene->loop), START + 3, 5 * LATE);
    }
}

static cora_next crash_at_the_end(cora_coro self)
{
    child(SCENE(self), crash_if_cancelled(CORA_EVALUE));
    return cora_return(self, cora_nothing());
}

TEST(cancelled_at_the_end_and_failed, "errors come first then, too")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        cora_future parent = parent_in(scene, 0.05, crash_at_the_end);
        CHECK_TEXT(cancelled(scene->loop, parent), "{ ValueError }");
        CHECK_INT(cora_cancelling(parent), 1);
    }
}

/* ---- errors that leave the run, and others that are no Exceptions ---- */

static cora_next catch_group(cora_coro self)
{
    return cora_try(self, coro_of(SCENE(self), in_group), give_caught);
}

static cora_next interrupt_in_body(cora_coro self)
{
    child(SCENE(self), crash(0.1, CORA_EVALUE));
    return cora_await(self, crash_if_cancelled(CORA_EKEYBOARDINTERRUPT), cora_return_got);
}

TEST(interrupted_parent, "a KeyboardInterrupt of the parent comes as it is",
     "test_taskgroups.TestTaskGroup.test_taskgroup_20")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        scene->body = interrupt_in_body;
        CHECK_TEXT(run_scene(scene, catch_group), "KeyboardInterrupt");
    }
}

static cora_next leave_in_body(cora_coro self)
{
    child(SCENE(self), crash(0.1, CORA_EVALUE));
    return cora_await(self, crash_if_cancelled(CORA_EGENERATOREXIT), cora_return_got);
}

TEST(generator_exit_of_the_parent, "any other error that is no Exception comes in the group",
     "test_taskgroups.TestTaskGroup.test_taskgroup_20a")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, leave_in_body), "{ ValueError GeneratorExit }");
    }
}

static cora_next leaving_child(cora_coro self)
{
    child(SCENE(self), crash(0.1, CORA_EGENERATOREXIT));
    return cora_await(self, crash_if_cancelled(CORA_EKEY), cora_return_got);
}

TEST(generator_exit_of_a_child, "also that of a task",
     "test_taskgroups.TestTaskGroup.test_taskgroup_21a")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, leaving_child), "{ GeneratorExit KeyError }");
    }
}

static cora_next exit_in_child(cora_coro self)
{
    child(SCENE(self), crash(0.1, CORA_ESYSTEMEXIT));
    child(SCENE(self), crash_if_cancelled(CORA_EVALUE));
    return cora_return(self, cora_nothing());
}

TEST(interrupted_child, "a SystemExit of a task leaves the run; in the next one the group "
                        "ends with it as it is, and drops the other errors")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        scene->body = exit_in_child;
        cora_future parent = cora_create_task(scene->loop, coro_of(scene, catch_group));
        CHECK_TEXT(told(cora_run_until_complete(scene->loop, parent)), "SystemExit");
        CHECK(!cora_done(parent));
        CHECK_TEXT(told(cora_run_until_complete(scene->loop, parent)), "SystemExit");
        CHECK(cora_done(parent));
        CHECK_TEXT(told(cora_result(scene->tasks[1])), "ValueError");
    }
}

/* ---- groups in groups ---- */

TEST(nested, "a group's error is one of the group around it",
     "test_taskgroups.TestTaskGroup.test_taskgroup_11")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        scene->body = five_crash;
        cora_future runner = cora_create_task(scene->loop, coro_of(scene, in_outer));
        run_for(scene->loop, 0.1);
        CHECK_TEXT(cancelled(scene->loop, runner),
                   "{ { ValueError ValueError ValueError ValueError ValueError } }");
    }
}

static cora_next spawn_in_outer(cora_coro self)
{
    CHECK_INT(cora_task_group_spawn(SCENE(self)->outer, cora_sleep(10)), 0);
    return await_group(self);
}

TEST(nested_with_a_task, "also if that has a task of its own",
     "test_taskgroups.TestTaskGroup.test_taskgroup_12")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        scene->body = five_crash;
        scene->outer_body = spawn_in_outer;
        cora_future runner = cora_create_task(scene->loop, coro_of(scene, in_outer));
        run_for(scene->loop, 0.1);
        CHECK_TEXT(cancelled(scene->loop, runner),
                   "{ { ValueError ValueError ValueError ValueError ValueError } }");
    }
}

static cora_next crash_in_outer(cora_coro self)
{
    CHECK_INT(cora_task_group_spawn(SCENE(self)->outer, crash(0.1, CORA_EVALUE)), 0);
    return await_group(self);
}

static cora_next crash_late(cora_coro self)
{
    child(SCENE(self), crash(10, CORA_EKEY));
    return cora_return(self, cora_nothing());
}

TEST(outer_fails, "when a task of the outer one fails, those of the inner one are cancelled",
     "test_taskgroups.TestTaskGroup.test_taskgroup_13")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        scene->body = crash_late;
        scene->outer_body = crash_in_outer;
        CHECK_TEXT(run_scene(scene, in_outer), "{ ValueError }");
        CHECK(cora_cancelled(scene->tasks[0]));
        CHECK_REAL(cora_time(scene->loop), START + 0.1, LATE);
    }
}

static cora_next crash_soon(cora_coro self)
{
    child(SCENE(self), crash(0.1, CORA_EKEY));
    return cora_return(self, cora_nothing());
}

TEST(inner_fails, "when one of the inner one fails, those of the outer one are")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        scene->body = crash_soon;
        scene->outer_body = spawn_in_outer;
        CHECK_TEXT(run_scene(scene, in_outer), "{ { KeyError } }");
        CHECK_REAL(cora_time(scene->loop), START + 0.1, LATE);
    }
}

/* ---- how often the parent counts as cancelled ---- */

TEST(cancelling, "when the error is handled, the cancellation by the group is taken back",
     "test_taskgroups.TestTaskGroup.test_cancelling_level_preserved")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        scene->body = crash_soon;
        CHECK_TEXT(run_scene(scene, try_group), "nothing");
        CHECK_TEXT(scene->notes.text, "{ KeyError }");
        CHECK_INT(scene->cancelling, 0);
    }
}

static cora_next fail_in_both(cora_coro self)
{
    child(SCENE(self), crash(0, CORA_EKEY));
    CHECK_INT(cora_task_group_spawn(SCENE(self)->outer, crash(0, CORA_EVALUE)), 0);
    return cora_return(self, cora_nothing());
}

static cora_next handle_between(cora_coro self)
{
    struct scene *scene = SCENE(self);
    tell(&scene->notes, cora_caught(self));
    CHECK_INT(cora_cancelling(current_task()), 1);
    return cora_return(self, cora_nothing());
}

static cora_next try_group_between(cora_coro self)
{
    return cora_try(self, coro_of(SCENE(self), in_group), handle_between);
}

static cora_next try_outer(cora_coro self)
{
    return cora_try(self, coro_of(SCENE(self), in_outer), handle);
}

TEST(cancelling_nested, "between two groups that have both failed it counts once",
     "test_taskgroups.TestTaskGroup.test_nested_groups_both_cancelled")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        scene->body = fail_in_both;
        scene->outer_body = try_group_between;
        CHECK_TEXT(run_scene(scene, try_outer), "nothing");
        CHECK_TEXT(scene->notes.text, "{ KeyError } { ValueError }");
        CHECK_INT(scene->cancelling, 0);
    }
}

static void cancel_parent(cora_args bound)
{
    struct scene *scene = cora_arg(bound, 0, struct scene *);
    CHECK_INT(cora_cancelling(scene->parent), 0);
    CHECK(cora_cancel(scene->parent));
    CHECK_INT(cora_cancelling(scene->parent), 1);
}

static cora_next have_parent_cancelled(cora_coro self)
{
    cora_call_soon(cora_running_loop(), cora_partial(cancel_parent, SCENE(self)));
    return cora_await(self, cora_sleep(0), fail_at_once);
}

static cora_next cancelled_from_outside(cora_coro self)
{
    child(SCENE(self), coro_of(SCENE(self), have_parent_cancelled));
    return sleep_in_body(self);
}

static cora_next sleep_after_group(cora_coro self)
{
    struct scene *scene = SCENE(self);
    scene->cancelling = cora_cancelling(current_task());
    tell(&scene->notes, cora_caught(self));
    return cora_await(self, cora_sleep(1), after_group);
}

static cora_next try_group_and_sleep(cora_coro self)
{
    return cora_try(self, coro_of(SCENE(self), in_group), sleep_after_group);
}

TEST(failed_and_cancelled,
     "a parent that was cancelled by another, too, is told so at its "
     "next await",
     "test_taskgroups.TestTaskGroup.test_error_and_cancel")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        scene->body = cancelled_from_outside;
        scene->parent = cora_create_task(scene->loop, coro_of(scene, try_group_and_sleep));
        CHECK_TEXT(told(cora_run_until_complete(scene->loop, scene->parent)), "CancelledError");
        CHECK_TEXT(scene->notes.text, "{ ValueError }");
        CHECK_INT(scene->cancelling, 1);
        CHECK_INT(cora_cancelling(scene->parent), 1);
        CHECK(cora_cancelled(scene->parent));
        CHECK(!scene->after);
        CHECK_INT(scene->number, 10);
    }
}

static cora_next fail_first_step(cora_coro self)
{
    child(SCENE(self), coro_of(SCENE(self), fail_at_once));
    return cora_return(self, cora_nothing());
}

static cora_next rest_after_group(cora_coro self)
{
    tell(&SCENE(self)->notes, cora_caught(self));
    return cora_await(self, cora_sleep(0), after_group);
}

static cora_next try_group_and_rest(cora_coro self)
{
    return cora_try(self, coro_of(SCENE(self), in_group), rest_after_group);
}

TEST(no_leak, "no cancellation is left behind for what comes after the group",
     "test_taskgroups.TestTaskGroup.test_cancellation_does_not_leak_out_of_tg")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        scene->body = fail_first_step;
        CHECK_TEXT(run_scene(scene, try_group_and_rest), "nothing");
        CHECK_TEXT(scene->notes.text, "{ ValueError }");
        CHECK(scene->after);
    }
}

/* ---- which tasks it takes ---- */

static cora_next spawn_one(cora_coro self)
{
    struct scene *scene = SCENE(self);
    if (scene->number == 6)
        CHECK(cora_task_group_size(scene->group) < 5);
    if (scene->number++ == 10)
        return cora_await(self, cora_sleep(1.25), no_body);
    CHECK_INT(cora_task_group_spawn(scene->group, nap(0.3, 1)), 0);
    return cora_await(self, cora_sleep(0.1), spawn_one);
}

static cora_next note_size(cora_coro self)
{
    add_note(&SCENE(self)->notes, cora_task_group_size(SCENE(self)->group) ? "tasks" : "none");
    return cora_go_on(self);
}

static cora_next spawn_ten(cora_coro self)
{
    CHECK_INT(cora_finally(self, note_size), 0);
    return cora_await(self, cora_sleep(0.1), spawn_one);
}

TEST(ended_tasks, "tasks that have ended are the group's no more",
     "test_taskgroups.TestTaskGroup.test_taskgroup_23")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, spawn_ten), "nothing");
        CHECK_TEXT(scene->notes.text, "none");
    }
}

static cora_next hydra(cora_coro self);

static cora_next two_heads(cora_coro self)
{
    struct scene *scene = SCENE(self);
    for (int i = 0; i < 2; i++)
        CHECK_INT(cora_task_group_spawn(scene->group, coro_of(scene, hydra)), 0);
    scene->number++;
    return cora_return(self, cora_nothing());
}

static cora_next hydra(cora_coro self)
{
    return cora_await(self, cora_sleep(0.01), two_heads);
}

static cora_next hercules(cora_coro self)
{
    if (SCENE(self)->number < 10)
        return cora_await(self, cora_sleep(0.015), hercules);
    return cora_raise(self, cora_error(CORA_EKEY, "the sword"));
}

static cora_next fight(cora_coro self)
{
    struct scene *scene = SCENE(self);
    CHECK_INT(cora_task_group_spawn(scene->group, coro_of(scene, hydra)), 0);
    CHECK_INT(cora_task_group_spawn(scene->group, coro_of(scene, hercules)), 0);
    return cora_return(self, cora_nothing());
}

TEST(tasks_of_tasks, "tasks may add tasks; after a failure none of them runs on to do so",
     "test_taskgroups.TestTaskGroup.test_taskgroup_25")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, fight), "{ KeyError }");
        CHECK(scene->number >= 10);
    }
}

static cora_next named(cora_coro self)
{
    cora_future task = cora_task_group_create_task(SCENE(self)->group, nap(0.1, 1), .name = "yolo");
    CHECK_TEXT(cora_get_name(task), "yolo");
    return cora_return(self, cora_nothing());
}

TEST(name, "a task of a group may have a name",
     "test_taskgroups.TestTaskGroup.test_taskgroup_task_name")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, named), "nothing");
    }
}

static const cora_variable variable = { "variable", { 0 } };

struct setting {
    struct scene *scene;
    cora_value context;
    int number;
};

static cora_next set_variable(cora_coro self)
{
    CHECK_INT(cora_context_set(&variable, cora_int(cora_locals(self, struct setting)->number)), 0);
    return cora_return(self, cora_nothing());
}

static cora_next set_next(cora_coro self)
{
    struct setting *setting = cora_locals(self, struct setting);
    if (setting->number > 0)
        CHECK_INT(cora_as_int(cora_context_value(setting->context, &variable)), setting->number);
    if (setting->number++ == 2)
        return cora_return(self, cora_nothing());
    cora_coro coro = cora_coroutine(set_variable, struct setting, .number = setting->number);
    cora_future task =
        cora_task_group_create_task(setting->scene->group, coro, .context = setting->context);
    return cora_await(self, task, set_next);
}

static cora_next set_in_context(cora_coro self)
{
    struct setting setting = { .scene = SCENE(self), .context = cora_copy_context() };
    CHECK(cora_is_nothing(cora_context_value(setting.context, &variable)));
    cora_coro coro = cora_coroutine(set_next, struct setting, SCENE(self), setting.context, 0);
    cora_hold(coro, setting.context);
    return cora_await(self, coro, cora_return_nothing);
}

TEST(context, "or a context to run in", "test_taskgroups.TestTaskGroup.test_taskgroup_task_context")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, set_in_context), "nothing");
    }
}

static cora_next add_too_late(cora_coro self)
{
    struct scene *scene = SCENE(self);
    cora_coro late =
        cora_coroutine_owning(fail_at_once, drop_job, struct job, .counter = &scene->number);
    CHECK(cora_is_null(cora_task_group_create_task(scene->group, late)));
    CHECK(refused(CORA_ERUNTIME, "is shutting down"));
    CHECK_INT(scene->number, 1);
    CHECK_INT(cora_coro_state(late), CORA_CORO_CLOSED);
    return cora_return(self, cora_nothing());
}

static cora_next sleep_and_add(cora_coro self)
{
    return cora_try(self, cora_sleep(1), add_too_late);
}

static cora_next fail_and_add(cora_coro self)
{
    child(SCENE(self), crash(0.001, CORA_EKEY));
    child(SCENE(self), coro_of(SCENE(self), sleep_and_add));
    return cora_return(self, cora_nothing());
}

TEST(no_tasks_after_a_failure, "after a failure it takes no more tasks, and closes them",
     "test_taskgroups.TestTaskGroup.test_taskgroup_no_create_task_after_failure")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, fail_and_add), "{ KeyError }");
        CHECK_TEXT(told(cora_result(scene->tasks[1])), "nothing");
        CHECK_INT(scene->number, 1);
    }
}

static cora_next add_another(cora_coro self)
{
    child(SCENE(self), nap(0.1, 5));
    return cora_return(self, cora_nothing());
}

static cora_next sleep_and_add_another(cora_coro self)
{
    return cora_await(self, cora_sleep(0.1), add_another);
}

static cora_next child_that_adds(cora_coro self)
{
    child(SCENE(self), coro_of(SCENE(self), sleep_and_add_another));
    return cora_return(self, cora_nothing());
}

TEST(while_it_waits, "while the parent waits for the tasks, more may be added")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, child_that_adds), "nothing");
        CHECK_TEXT(outcome(scene->tasks[1]), "5");
        CHECK_REAL(cora_time(scene->loop), START + 0.2, 2 * LATE);
    }
}

static void add_from_callback(cora_args bound)
{
    child(cora_arg(bound, 0, struct scene *), nap(0.1, 5));
}

static cora_next have_one_added(cora_coro self)
{
    cora_call_later(cora_running_loop(), 0.1, cora_partial(add_from_callback, SCENE(self)));
    return cora_await(self, cora_sleep(0.15), no_body);
}

TEST(from_a_callback, "a callback may add tasks, too")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, have_one_added), "nothing");
        CHECK_TEXT(outcome(scene->tasks[0]), "5");
        CHECK_REAL(cora_time(scene->loop), START + 0.2, 2 * LATE);
    }
}

static cora_next add_operation(cora_coro self)
{
    cora_awaitable sleep = cora_sleep_result(0.1, cora_int(8));
    cora_future task = cora_task_group_create_task(SCENE(self)->group, sleep);
    SCENE(self)->tasks[SCENE(self)->count++] = cora_keep(task);
    return cora_return(self, cora_nothing());
}

TEST(operation, "an operation may be a task of it")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, add_operation), "nothing");
        CHECK_TEXT(outcome(scene->tasks[0]), "8");
    }
}

static cora_next add_wait(cora_coro self)
{
    CHECK_INT(cora_task_group_spawn(SCENE(self)->group, cora_wait_for(cora_sleep(5), 1)), 0);
    return sleep_in_body(self);
}

TEST(wait_for, "so may a cora_wait_for, whose TimeoutError is an error as any other")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, add_wait), "{ TimeoutError }");
    }
}

static cora_next add_future(cora_coro self)
{
    cora_task_group group = SCENE(self)->group;
    cora_future future = cora_future_new(cora_running_loop());
    CHECK(cora_is_null(cora_task_group_create_task(group, future)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
    CHECK_INT(cora_task_group_spawn(group, cora_generator(add_up, struct job)), CORA_ETYPE);
    CHECK_INT(cora_task_group_size(group), 0);
    return cora_return(self, cora_nothing());
}

TEST(no_coroutine, "a future or a generator may not: a TypeError")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, add_future), "nothing");
    }
}

static cora_next spawn_in_ended(cora_coro self)
{
    struct scene *scene = SCENE(self);
    cora_coro late =
        cora_coroutine_owning(fail_at_once, drop_job, struct job, .counter = &scene->number);
    CHECK_INT(cora_task_group_spawn(scene->group, late), CORA_ERUNTIME);
    CHECK(refused(CORA_ERUNTIME, "is finished"));
    CHECK_INT(scene->number, 1);
    CHECK_INT(cora_coro_state(late), CORA_CORO_CLOSED);
    return cora_return(self, cora_nothing());
}

TEST(ended, "a group that has ended takes no tasks, and closes what it is given",
     "test_taskgroups.TestTaskGroup.test_taskgroup_finished",
     "test_taskgroups.TestTaskGroup.test_coro_closed_when_tg_closed")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, no_body), "nothing");
        CHECK_TEXT(run_scene(scene, spawn_in_ended), "nothing");
    }
}

static cora_next spawn_in_created(cora_coro self)
{
    struct scene *scene = SCENE(self);
    cora_coro early =
        cora_coroutine_owning(fail_at_once, drop_job, struct job, .counter = &scene->number);
    CHECK(cora_is_null(cora_task_group_create_task(scene->group, early)));
    CHECK(refused(CORA_ERUNTIME, "has not been entered"));
    CHECK(refused(CORA_ERUNTIME, "in the step that cora_with goes on with"));
    CHECK_INT(scene->number, 1);
    return cora_return(self, cora_nothing());
}

TEST(created, "nor does one that was not entered",
     "test_taskgroups.TestTaskGroup.test_taskgroup_not_entered")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(run_scene(scene, spawn_in_created), "nothing");
    }
}

/* ---- wrong use ---- */

static cora_next entered_before(cora_coro self)
{
    cora_value error = cora_caught(self);
    CHECK_INT(cora_error_code(error), CORA_ERUNTIME);
    CHECK(says(error, "has already been entered"));
    CHECK(says(error, "make a new one"));
    return cora_return(self, "refused");
}

static cora_next enter_again(cora_coro self)
{
    return cora_try(self, cora_task_group_enter(SCENE(self)->group), entered_before);
}

TEST(entered_twice, "it cannot be entered while it is active, and goes on as it was",
     "test_taskgroups.TestTaskGroup.test_taskgroup_already_entered")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        scene->body = enter_again;
        CHECK_TEXT(run_scene(scene, in_group), "\"refused\"");
    }
}

TEST(entered_after_its_end, "nor after it has ended",
     "test_taskgroups.TestTaskGroup.test_taskgroup_double_enter")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, no_body), "nothing");
        CHECK_TEXT(run_scene(scene, enter_again), "\"refused\"");
        cora_value error = cora_run_until_complete(scene->loop, coro_of(scene, in_group));
        CHECK_INT(cora_error_code(error), CORA_ERUNTIME);
        CHECK(says(error, "has already been entered"));
    }
}

static void enter_outside(cora_args bound)
{
    struct scene *scene = cora_arg(bound, 0, struct scene *);
    cora_when_done(cora_task_group_enter(scene->group), cora_partial(note_outcome, &scene->notes));
}

TEST(entered_outside, "it cannot be entered outside of a task",
     "test_taskgroups.TestTaskGroup.test_taskgroup_without_parent_task")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        cora_call_soon(scene->loop, cora_partial(enter_outside, scene));
        ticks(scene->loop, 3);
        CHECK(strstr(scene->notes.text, "RuntimeError: ") == scene->notes.text);
        CHECK(strstr(scene->notes.text, "cannot determine the parent task") != NULL);
        CHECK(strstr(scene->notes.text, "in a step that a task runs") != NULL);
        CHECK_TEXT(run_scene(scene, spawn_in_created), "nothing");
    }
}

static cora_next leave(cora_coro self)
{
    return cora_await(self, cora_task_group_exit(SCENE(self)->group, cora_nothing()),
                      cora_return_got);
}

static cora_next leave_twice(cora_coro self)
{
    return cora_await(self, cora_task_group_exit(SCENE(self)->group, cora_nothing()), leave);
}

static cora_next enter_and_leave_twice(cora_coro self)
{
    return cora_await(self, cora_task_group_enter(SCENE(self)->group), leave_twice);
}

TEST(left_without_entering, "leaving what is not active is a RuntimeError")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        cora_value error = cora_run_until_complete(scene->loop, coro_of(scene, leave));
        CHECK_INT(cora_error_code(error), CORA_ERUNTIME);
        CHECK(says(error, "has not been entered"));
        error = cora_run_until_complete(scene->loop, coro_of(scene, enter_and_leave_twice));
        CHECK_INT(cora_error_code(error), CORA_ERUNTIME);
        CHECK(says(error, "leave"));
    }
}

static cora_next give_spilled(cora_coro self)
{
    return cora_await(self, cora_task_group_exit(SCENE(self)->group, spilled()), cora_return_got);
}

static cora_next enter_and_give_spilled(cora_coro self)
{
    return cora_await(self, cora_task_group_enter(SCENE(self)->group), give_spilled);
}

TEST(left_with_an_error, "left by hand with an error, it ends with a group of that")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(run_scene(scene, enter_and_give_spilled), "{ ValueError }");
    }
}

static cora_next never_leave(cora_coro self)
{
    return cora_await(self, cora_task_group_enter(SCENE(self)->group), crash_soon);
}

TEST(never_left, "a task that fails when its parent is done, which has not left, is reported")
{
    struct scene scene = scene_new(false);
    struct reports reports;
    collect_reports(scene.loop, &reports);
    CHECK_TEXT(run_scene(&scene, never_leave), "nothing");
    run_for(scene.loop, 1);
    CHECK_INT(reports.count, 1);
    CHECK(strstr(reports.message, "has errored out but its parent task") != NULL);
    CHECK_INT(reports.code, CORA_EKEY);
    CHECK(cora_same(reports.future, scene.tasks[0]));
    scene_end(&scene);
}

/* What becomes of every call on a group that is not there. */
static void use_missing(struct scene *scene, cora_task_group group, const char *name)
{
    char text[100];
    scene->group = group;
    scene->body = no_body;
    cora_coro coro =
        cora_coroutine_owning(fail_at_once, drop_job, struct job, .counter = &scene->number);
    CHECK(cora_is_null(cora_task_group_create_task(group, coro)));
    CHECK_TEXT(cora_error_name(cora_error_code(cora_last_error())), name);
    CHECK_INT(scene->number, 1);
    CHECK_TEXT(cora_error_name(cora_task_group_spawn(group, nap(1, 1))), name);
    CHECK_INT(cora_task_group_size(group), 0);
    CHECK(cora_task_group_print(group, text, sizeof text) > 0);
    CHECK_TEXT(run_scene(scene, in_group), name);
    CHECK_TEXT(run_scene(scene, leave), name);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(null_handle, "a null one gives the error for which it could not be made")
{
    struct scene scene = scene_new(false);
    cora_loop closed = cora_loop_new(NULL);
    cora_loop_close(closed);
    CHECK(cora_is_null(cora_future_new(closed)));
    int code = cora_error_code(cora_last_error());
    cora_task_group null = cora_task_group_new(closed);
    CHECK(cora_is_null(null));
    CHECK_INT(cora_error_code(cora_last_error()), code);
    use_missing(&scene, null, cora_error_name(code));
    scene_end(&scene);
}

TEST(stale_handle, "one that was closed gives a StaleHandle")
{
    struct scene scene = scene_new(false);
    CHECK_INT(cora_task_group_close(scene.group), 0);
    CHECK_INT(cora_task_group_close(scene.group), 0);
    use_missing(&scene, scene.group, "StaleHandle");
    scene_end(&scene);
}

static void *use_elsewhere(void *argument)
{
    struct scene *scene = argument;
    struct scene own = { .loop = cora_loop_new(NULL) };
    CHECK_INT(cora_task_group_close(scene->group), CORA_EWRONGTHREAD);
    use_missing(&own, scene->group, "WrongThread");
    cora_loop_close(own.loop);
    return NULL;
}

TEST(another_thread, "one of another thread a WrongThread")
{
    struct scene scene = scene_new(false);
    cora_future parent = parent_in(&scene, 0.05, two_naps);
    CHECK_INT(cora_task_group_size(scene.group), 2);
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, use_elsewhere, &scene), 0);
    pthread_join(thread, NULL);
    CHECK_TEXT(told(cora_run_until_complete(scene.loop, parent)), "nothing");
    scene_end(&scene);
}

TEST(another_loop, "one of another loop cannot be entered")
{
    struct scene scene = scene_new(false);
    scene.body = no_body;
    cora_loop other = cora_loop_new(NULL);
    cora_value error = cora_run_until_complete(other, coro_of(&scene, in_group));
    CHECK(cora_error_is(error, CORA_ERUNTIME));
    CHECK_TEXT(grouped(&scene, no_body), "nothing");
    cora_loop_close(other);
    scene_end(&scene);
}

/* ---- what it prints ---- */

static const char *group_printed(cora_task_group group)
{
    static char text[200];
    int length = cora_task_group_print(group, text, sizeof text);
    CHECK_INT(length, strlen(text));
    return text;
}

static cora_next print_in_child(cora_coro self)
{
    add_note(&SCENE(self)->notes, group_printed(SCENE(self)->group));
    return cora_return(self, cora_nothing());
}

static cora_next sleep_and_print(cora_coro self)
{
    return cora_try(self, cora_sleep(1), print_in_child);
}

static cora_next print_group(cora_coro self)
{
    struct scene *scene = SCENE(self);
    CHECK_TEXT(group_printed(scene->group), "<TaskGroup entered>");
    child(scene, coro_of(scene, sleep_and_print));
    child(scene, crash(0.1, CORA_EKEY));
    CHECK_TEXT(group_printed(scene->group), "<TaskGroup tasks=2 entered>");
    return cora_return(self, cora_nothing());
}

TEST(print, "it prints how many tasks and errors it has, and whether it cancels them")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        char cut[6];
        CHECK_TEXT(group_printed(scene->group), "<TaskGroup>");
        CHECK_TEXT(grouped(scene, print_group), "{ KeyError }");
        CHECK_TEXT(scene->notes.text, "<TaskGroup tasks=1 errors=1 cancelling>");
        CHECK_INT(cora_task_group_print(scene->outer, cut, sizeof cut), strlen("<TaskGroup>"));
        CHECK_TEXT(cut, "<Task");
    }
}

/* ---- ticks ---- */

static void count_tick(cora_args bound)
{
    struct scene *scene = cora_arg(bound, 0, struct scene *);
    scene->now++;
    cora_call_soon(scene->loop, cora_partial(count_tick, scene));
}

static cora_next measured_after(cora_coro self)
{
    SCENE(self)->ended = SCENE(self)->now;
    return cora_return(self, cora_nothing());
}

static cora_next measured(cora_coro self)
{
    SCENE(self)->before = SCENE(self)->now;
    return cora_try(self, coro_of(SCENE(self), in_group), measured_after);
}

/* The ticks of a group that does this. */
static int ticks_of(cora_step body, bool eager)
{
    int ticks[2];
    for (int poll = 0; poll < 2; poll++) {
        struct cora_loop_options options = { .poll_every_tick = poll };
        cora_virtual_clock_start(START);
        struct scene scene = { .loop = cora_loop_new(&options), .body = body };
        if (eager)
            cora_set_task_factory(scene.loop, cora_partial(cora_eager_task_factory));
        scene.group = cora_task_group_new(scene.loop);
        cora_call_soon(scene.loop, cora_partial(count_tick, &scene));
        run_scene(&scene, measured);
        CHECK(scene.before > 0);
        ticks[poll] = scene.ended - scene.before;
        scene_end(&scene);
    }
    CHECK_INT(ticks[0], ticks[1]);
    return ticks[0];
}

static cora_next one_empty(cora_coro self)
{
    child(SCENE(self), cora_coroutine(at_once));
    return cora_return(self, cora_nothing());
}

static cora_next two_empty(cora_coro self)
{
    child(SCENE(self), cora_coroutine(at_once));
    return one_empty(self);
}

static cora_next one_failing(cora_coro self)
{
    child(SCENE(self), cora_coroutine(fail_at_once));
    return cora_return(self, cora_nothing());
}

static cora_next one_failing_and_sleep(cora_coro self)
{
    child(SCENE(self), cora_coroutine(fail_at_once));
    return sleep_in_body(self);
}

TEST(ticks_of_nothing, "a group without tasks takes no tick")
{
    CHECK_INT(ticks_of(no_body, false), 0);
}

TEST(ticks_of_a_task, "one whose tasks do not wait takes 3")
{
    CHECK_INT(ticks_of(one_empty, false), 3);
    CHECK_INT(ticks_of(two_empty, false), 3);
}

TEST(ticks_of_a_failure, "one with a task that fails takes 3, also if its parent waits")
{
    CHECK_INT(ticks_of(one_failing, false), 3);
    CHECK_INT(ticks_of(one_failing_and_sleep, false), 3);
}

TEST(ticks_of_eager_tasks, "with eager tasks each is 1 less")
{
    CHECK_INT(ticks_of(no_body, true), 0);
    CHECK_INT(ticks_of(one_empty, true), 2);
    CHECK_INT(ticks_of(one_failing, true), 2);
    CHECK_INT(ticks_of(one_failing_and_sleep, true), 2);
}

/* ---- whose it is ---- */

static cora_next make_group(cora_coro self)
{
    SCENE(self)->group = cora_task_group_new(cora_running_loop());
    SCENE(self)->body = two_long_naps;
    return in_group(self);
}

TEST(closed_with_its_coroutine, "one that is made in a step is closed when its coroutine has "
                                "ended")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        cora_task_group_close(scene->group);
        size_t live = cora_live(scene->loop);
        cora_future parent = cora_create_task(scene->loop, coro_of(scene, make_group));
        run_for(scene->loop, 1);
        CHECK_INT(cora_task_group_size(scene->group), 2);
        CHECK_TEXT(told(cora_run_until_complete(scene->loop, parent)), "nothing");
        CHECK_INT(cora_task_group_spawn(scene->group, nap(1, 1)), CORA_ESTALE);
        while (scene->count > 0)
            CHECK_INT(cora_release(scene->tasks[--scene->count]), 0);
        tick(scene->loop);
        CHECK_INT(cora_live(scene->loop), live);
    }
}

TEST(close_while_active, "closing it lets its tasks run on; nobody waits for them any more")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        cora_future parent = cora_create_task(scene->loop, coro_of(scene, group_and_after));
        scene->body = five_naps;
        run_for(scene->loop, 1);
        CHECK_INT(cora_task_group_close(scene->group), 0);
        run_for(scene->loop, 8.9);
        CHECK(!cora_done(parent)); /* it still sleeps itself */
        CHECK_TEXT(told(cora_run_until_complete(scene->loop, parent)), "nothing");
        run_for(scene->loop, 1);
        for (int i = 0; i < 5; i++)
            CHECK_TEXT(outcome(scene->tasks[i]), "0");
    }
}

TEST(close_and_fail, "then an error of one of them is reported when nobody reads it")
{
    struct scene scene = scene_new(false);
    struct reports reports;
    collect_reports(scene.loop, &reports);
    scene.body = crash_late;
    cora_future parent = cora_create_task(scene.loop, coro_of(&scene, in_group));
    run_for(scene.loop, 1);
    CHECK_INT(cora_task_group_close(scene.group), 0);
    run_for(scene.loop, 0.1);
    CHECK(cora_done(parent));
    CHECK(!cora_done(scene.tasks[0]));
    run_for(scene.loop, 20);
    CHECK(cora_done(scene.tasks[0]));
    cora_release(scene.tasks[0]);
    scene.count = 0;
    tick(scene.loop);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Task exception was never retrieved");
    scene_end(&scene);
}

TEST(close_while_leaving, "who waits for its tasks then ends at once, with a StaleHandle")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        cora_future parent = parent_in(scene, 1, two_long_naps);
        CHECK_INT(cora_task_group_close(scene->group), 0);
        ticks(scene->loop, 2);
        CHECK(cora_done(parent));
        CHECK_TEXT(told(cora_result(parent)), "StaleHandle");
        run_for(scene->loop, 10);
        CHECK_TEXT(outcome(scene->tasks[0]), "1");
    }
}

TEST(close_loop, "a loop may be closed with a group that is active")
{
    for (int eager = 0; eager < 2; eager++) {
        struct scene scene = scene_new(eager);
        parent_in(&scene, 1, five_crash);
        end(scene.loop);
        CHECK_INT(cora_task_group_size(scene.group), 0);
    }
}

TEST(close_loop_while_leaving, "and while a parent waits for the tasks, some of which have failed")
{
    for (int eager = 0; eager < 2; eager++) {
        struct scene scene = scene_new(eager);
        scene.body = fail_in_turn;
        parent_in(&scene, 0.5, fail_in_turn);
        end(scene.loop);
    }
}

static cora_next fail_beside_a_nap(cora_coro self)
{
    child(SCENE(self), crash(0, CORA_EVALUE));
    child(SCENE(self), nap(1, 5));
    return cora_return(self, cora_nothing());
}

TEST(close_in_the_gap, "closed when a task has failed, and before it was told, it cancels none")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        scene->body = fail_beside_a_nap;
        cora_future parent = cora_create_task(scene->loop, coro_of(scene, in_group));
        while (scene->count == 0 || !cora_done(scene->tasks[0]))
            tick(scene->loop);
        CHECK_INT(cora_task_group_close(scene->group), 0);
        CHECK_TEXT(told(cora_run_until_complete(scene->loop, parent)), "StaleHandle");
        run_for(scene->loop, 2);
        CHECK_TEXT(told(cora_result(scene->tasks[0])), "ValueError");
        CHECK_TEXT(outcome(scene->tasks[1]), "5");
    }
}

static cora_next close_group(cora_coro self)
{
    CHECK_INT(cora_task_group_close(SCENE(self)->group), 0);
    return cora_await(self, cora_sleep(1), at_once);
}

static cora_next spawn_closing(cora_coro self)
{
    child(SCENE(self), coro_of(SCENE(self), close_group));
    return cora_return(self, cora_nothing());
}

TEST(close_in_a_task, "a task may close it in its first step, also in the call that makes it")
{
    for (int eager = 0; eager < 2; eager++) {
        struct scene scene = scene_new(eager);
        scene.body = spawn_closing;
        CHECK_TEXT(run_scene(&scene, in_group), eager ? "nothing" : "StaleHandle");
        run_for(scene.loop, 2);
        CHECK_TEXT(outcome(scene.tasks[0]), "7");
        scene_end(&scene);
    }
}

#define MANY 1000

static cora_next spawn_many(cora_coro self)
{
    struct scene *scene = SCENE(self);
    for (int i = 0; i < MANY; i++)
        CHECK_INT(cora_task_group_spawn(scene->group, part(.seconds = 0.01 * i, .number = i,
                                                           .counter = &scene->number, .weight = 1)),
                  0);
    CHECK_INT(cora_task_group_size(scene->group), MANY);
    return cora_return(self, cora_nothing());
}

TEST(many, "a group of a thousand tasks ends when the last one has")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, spawn_many), "nothing");
        CHECK_INT(cora_task_group_size(scene->group), 0);
        CHECK_INT(scene->number, 0);
        CHECK_REAL(cora_time(scene->loop), START + 9.99, LATE);
    }
}

TEST(cancel_many, "a thousand are cancelled with their parent")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        cora_future parent = parent_in(scene, 4.995, spawn_many);
        size_t left = cora_task_group_size(scene->group);
        CHECK_INT(left, 500);
        CHECK_TEXT(cancelled(scene->loop, parent), "CancelledError");
        CHECK_INT(scene->number, left);
    }
}

static cora_next fail_many(cora_coro self)
{
    for (int i = 0; i < MANY; i++)
        CHECK_INT(cora_task_group_spawn(SCENE(self)->group, crash(1, CORA_EVALUE)), 0);
    return cora_return(self, cora_nothing());
}

TEST(many_errors, "a thousand that fail at the same time come in one group of errors")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        scene->body = fail_many;
        cora_value error = cora_run_until_complete(scene->loop, coro_of(scene, in_group));
        CHECK_INT(cora_list_size(cora_exceptions(error)), MANY);
    }
}

/* Rounds of a hundred short tasks, after each of which no more is alive than after the others. */
struct held {
    struct scene *scene;
    int round;
    size_t live, values, coroutines;
};

static cora_next next_round(cora_coro self)
{
    struct held *held = cora_locals(self, struct held);
    struct scene *scene = held->scene;
    CHECK_INT(cora_task_group_size(scene->group), 0);
    if (held->round == 2) {
        held->live = cora_live(scene->loop);
        held->values = cora_live_values();
        held->coroutines = cora_live_coroutines();
    }
    if (held->round > 2) {
        CHECK_INT(cora_live(scene->loop), held->live);
        CHECK_INT(cora_live_values(), held->values);
        CHECK_INT(cora_live_coroutines(), held->coroutines);
    }
    if (held->round++ == 50)
        return cora_return(self, cora_nothing());
    for (int i = 0; i < 100; i++)
        CHECK_INT(cora_task_group_spawn(scene->group, nap(0.01, i)), 0);
    return cora_await(self, cora_sleep(0.1), next_round);
}

static cora_next long_lived(cora_coro self)
{
    return cora_await(self, cora_coroutine(next_round, struct held, .scene = SCENE(self)),
                      cora_return_got);
}

TEST(long_lived, "a group that lives long holds nothing of the tasks that have ended")
{
    for (struct scene *scene = NULL; next_scene(&scene);) {
        CHECK_TEXT(grouped(scene, long_lived), "nothing");
    }
}

static void *run_elsewhere(void *argument)
{
    struct scene *scene = argument;
    add_note(&scene->notes, run_scene(scene, group_and_after));
    CHECK_INT(cora_live_coroutines(), 0);
    cora_loop_close(scene->loop);
    return NULL;
}

TEST(run_in_a_thread, "the loop may be run in another thread than the group was made in")
{
    struct scene scene = { .loop = virtual_loop_new(), .body = spawn_many };
    scene.group = cora_task_group_new(scene.loop);
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, run_elsewhere, &scene), 0);
    pthread_join(thread, NULL);
    CHECK_TEXT(scene.notes.text, "nothing");
    cora_virtual_clock_stop();
}

/* ---- guests ---- */

TEST(guest, "a guest's groups are the same, and keep the host's loop alive until they end")
{
    cora_virtual_clock_start(START);
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    struct scene scene = { .loop = cora_loop_attach(host, NULL), .body = one_fails };
    scene.group = cora_task_group_new(scene.loop);
    cora_spawn(scene.loop, coro_of(&scene, try_group));
    ev_run(host, 0);
    CHECK_TEXT(scene.notes.text, "{ ValueError }");
    CHECK(cora_cancelled(scene.tasks[1]));
    cora_loop_detach(scene.loop);
    ev_loop_destroy(host);
    cora_virtual_clock_stop();
}

TEST(guest_detached, "a guest may leave its host with a group that is active")
{
    cora_virtual_clock_start(START);
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    struct scene scene = { .loop = cora_loop_attach(host, NULL), .body = five_naps };
    scene.group = cora_task_group_new(scene.loop);
    cora_spawn(scene.loop, coro_of(&scene, in_group));
    ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(cora_task_group_size(scene.group), 5);
    cora_loop_detach(scene.loop);
    CHECK_INT(cora_task_group_size(scene.group), 0);
    CHECK_INT(cora_live_coroutines(), 0);
    ev_run(host, EVRUN_NOWAIT);
    ev_loop_destroy(host);
    cora_virtual_clock_stop();
}
