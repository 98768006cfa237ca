/*
 * Steps, drop functions and callbacks that do anything, in the middle of everything.
 *
 * One task goes through many moments: its steps, those of a coroutine that it awaits and of its
 * finally, the drop functions of its locals, of what it holds, gets and returns, its done-callback,
 * and the exception handler. In one of these the program cancels, closes, releases, makes and
 * prints tasks, runs the host, detaches the guest loop, or puts another in its place, which takes
 * the same memory. Each test is one moment, with all these acts in turn, and with all ways in which
 * the task may end. Then tasks that await each other in a circle, and loops that are closed in the
 * middle.
 */
#include "helpers.h"

#include <ev.h>

#define HELD 10

enum moment {
    FIRST_STEP,
    SECOND_STEP,
    LAST_STEP,
    INNER_STEP,
    INNER_LAST_STEP,
    BY_HAND,
    FINALLY,
    FINALLY_LAST,
    LOCALS_DROPPED,
    INNER_LOCALS_DROPPED,
    TEMPORARY_DROPPED,
    HELD_DROPPED,
    GOT_DROPPED,
    RESULT_DROPPED,
    ERROR_TAKEN,
    CONTEXT_DROPPED,
    ARGUMENT_DROPPED,
    DONE_CALLBACK,
    REPORT,
    FACTORY,
    MOMENTS
};

enum ending { RETURNS, RAISES, IS_CANCELLED, IS_DETACHED, ENDINGS };

struct scene;

/* A value that tells when it is dropped. */
struct trap {
    struct scene *scene;
    enum moment moment;
    int made, dropped;
};

struct scene {
    struct ev_loop *host;
    cora_loop loop, next; /* next takes the loop's place, if the act is to replace it */
    cora_future held[HELD];
    cora_future task, future, bystanders[4];
    struct trap traps[MOMENTS];
    enum moment moment;
    enum ending ending;
    int acts, locals_made, locals_dropped;
    bool acting;
    void (*act)(struct scene *scene);
};

/* ---- the acts ---- */

static void act_cancel(struct scene *scene)
{
    cora_cancel_with(scene->task, "by an act");
}

static void act_cancel_all(struct scene *scene)
{
    cora_value list = cora_all_tasks(scene->loop);
    for (size_t i = cora_is_error(list) ? 0 : cora_list_size(list); i > 0; i--)
        cora_cancel(cora_as_future(cora_list_at(list, i - 1)));
    cora_cancel(scene->bystanders[3]);
}

static void act_cancel_and_uncancel(struct scene *scene)
{
    cora_cancel(scene->task);
    cora_cancel(scene->task);
    cora_uncancel(scene->task);
    cora_uncancel(scene->task);
}

static void act_complete(struct scene *scene)
{
    cora_set_result(scene->future, cora_text("by an act"));
    cora_set_result(scene->task, cora_text("refused"));
}

static void act_release(struct scene *scene)
{
    cora_release(scene->task);
    cora_release(scene->bystanders[0]);
    cora_release(scene->future);
}

static void act_keep(struct scene *scene)
{
    if (!cora_is_null(cora_keep(scene->task)))
        cora_release(scene->task);
}

static void act_close_coroutine(struct scene *scene)
{
    cora_coro_close(cora_get_coro(scene->task));
    cora_send(cora_get_coro(scene->task), cora_nothing(), NULL);
    cora_throw(cora_get_coro(scene->bystanders[0]), cora_error(CORA_EVALUE, "x"), NULL);
}

static cora_next nothing_at_all(cora_coro self)
{
    return cora_return(self, cora_nothing());
}

static void act_make(struct scene *scene)
{
    for (int i = 0; i < 50; i++) {
        cora_future task = cora_create_task(scene->loop, cora_coroutine(nothing_at_all));
        if (i % 3 == 0)
            cora_cancel(task);
        cora_spawn(scene->loop, cora_sleep_result(i % 2, cora_text("made")), .name = "made");
        cora_coroutine(nothing_at_all); /* and never awaited */
    }
}

static void act_print(struct scene *scene)
{
    char text[2000];
    cora_value list = cora_all_tasks(scene->loop);
    for (size_t i = 0; !cora_is_error(list) && i < cora_list_size(list); i++) {
        cora_future task = cora_as_future(cora_list_at(list, i));
        cora_future_print(task, text, sizeof text);
        cora_print_stack(task, text, sizeof text);
        cora_set_name(task, "renamed");
        cora_get_context(task);
    }
    cora_future_print(scene->task, text, sizeof text);
    cora_future_print(scene->future, text, sizeof text);
}

static void act_fail(struct scene *scene)
{
    (void)scene;
    cora_fail(cora_error(CORA_EVALUE, "by an act"));
}

static void act_exit(struct scene *scene)
{
    (void)scene;
    cora_fail(cora_error(CORA_ESYSTEMEXIT, "by an act"));
}

static void act_close_loop(struct scene *scene)
{
    CHECK(cora_loop_close(scene->loop) < 0 || cora_is_closed(scene->loop));
}

static void act_run_host(struct scene *scene)
{
    ev_run(scene->host, EVRUN_NOWAIT);
    ev_run(scene->host, EVRUN_NOWAIT);
}

static void act_reset_factory(struct scene *scene)
{
    cora_reset_task_factory(scene->loop);
    cora_reset_exception_handler(scene->loop);
}

static void act_detach(struct scene *scene)
{
    cora_loop_detach(scene->loop);
}

/* The new loop's futures and tasks take the memory of the old one's. */
static void act_replace(struct scene *scene)
{
    cora_loop_detach(scene->loop);
    scene->next = cora_loop_attach(scene->host, NULL);
    for (int i = 0; i < HELD; i++) {
        if (i % 2) {
            scene->held[i] = cora_keep(cora_create_task(scene->next, cora_sleep(1000)));
        } else {
            scene->held[i] = cora_keep(cora_future_new(scene->next));
            cora_set_result(scene->held[i], cora_int(i));
        }
    }
}

static void (*const acts[])(struct scene *scene) = {
    act_cancel,  act_cancel_all, act_cancel_and_uncancel, act_complete, act_release,
    act_keep,    act_make,       act_close_coroutine,     act_print,    act_fail,
    act_exit,    act_close_loop, act_reset_factory,       act_run_host, act_detach,
    act_replace,
};

#define ACTS (sizeof acts / sizeof *acts)

/* ---- the moments ---- */

/* The act is done the first time that its moment has come. */
static void at(struct scene *scene, enum moment moment)
{
    if (scene->moment != moment || scene->acting)
        return;
    scene->acting = true;
    scene->acts++;
    scene->act(scene);
}

static void trap_drop(void *pointer)
{
    struct trap *trap = pointer;
    trap->dropped++;
    at(trap->scene, trap->moment);
}

static const cora_type trap_type = { "trap", trap_drop, NULL, 0 };

static cora_value trap_new(struct scene *scene, enum moment moment)
{
    struct trap *trap = &scene->traps[moment];
    *trap = (struct trap){ scene, moment, trap->made + 1, trap->dropped };
    return cora_own(trap, &trap_type);
}

/* ---- the task ---- */

struct part {
    struct scene *scene;
    enum moment dropped;
};

#define SCENE(self) (cora_locals(self, struct part)->scene)

static void part_drop(void *locals)
{
    struct part *part = locals;
    part->scene->locals_dropped++;
    at(part->scene, part->dropped);
}

static cora_coro part_new(struct scene *scene, cora_step step, enum moment dropped)
{
    scene->locals_made++;
    return cora_coroutine_owning(step, part_drop, struct part, .scene = scene, .dropped = dropped);
}

static cora_next finally_last(cora_coro self)
{
    at(SCENE(self), FINALLY_LAST);
    return cora_go_on(self);
}

static cora_next finally_step(cora_coro self)
{
    at(SCENE(self), FINALLY);
    return cora_try(self, cora_sleep(0), finally_last);
}

static cora_next last_step(cora_coro self)
{
    struct scene *scene = SCENE(self);
    at(scene, LAST_STEP);
    if (scene->ending == RAISES)
        return cora_raise(self, cora_error_from(cora_caught(self), CORA_EVALUE, "at the end"));
    if (scene->ending == IS_CANCELLED && cora_is_error(cora_caught(self)))
        return cora_raise(self, cora_caught(self));
    return cora_return(self, trap_new(scene, RESULT_DROPPED));
}

static cora_next second_step(cora_coro self);

static cora_next inner_last_step(cora_coro self)
{
    struct scene *scene = SCENE(self);
    at(scene, INNER_LAST_STEP);
    return cora_return(self, trap_new(scene, GOT_DROPPED));
}

static cora_next inner_step(cora_coro self)
{
    at(SCENE(self), INNER_STEP);
    return cora_await(self, cora_sleep(0), inner_last_step);
}

static cora_next by_hand(cora_coro self)
{
    at(SCENE(self), BY_HAND);
    return cora_yield(self, 1, nothing_at_all);
}

static cora_next after_inner(cora_coro self)
{
    struct scene *scene = SCENE(self);
    trap_new(scene, TEMPORARY_DROPPED);
    cora_coro hand = part_new(scene, by_hand, MOMENTS);
    cora_send(hand, cora_nothing(), NULL);
    cora_coro_close(hand);
    cora_future failing = cora_future_new(scene->loop);
    cora_set_exception(failing, cora_error_from(trap_new(scene, ERROR_TAKEN), CORA_EVALUE, "x"));
    return cora_try(self, failing, second_step);
}

static cora_next second_step(cora_coro self)
{
    at(SCENE(self), SECOND_STEP);
    return cora_try(self, SCENE(self)->future, last_step);
}

static cora_next first_step(cora_coro self)
{
    struct scene *scene = SCENE(self);
    cora_finally(self, finally_step);
    cora_hold(self, trap_new(scene, HELD_DROPPED));
    at(scene, FIRST_STEP);
    return cora_await(self, part_new(scene, inner_step, INNER_LOCALS_DROPPED), after_inner);
}

static void done_callback(cora_args bound, cora_future done)
{
    struct scene *scene = cora_arg(bound, 0, struct scene *);
    CHECK(cora_done(done));
    at(scene, DONE_CALLBACK);
    CHECK_TEXT(cora_arg_text(bound, 1), "still there");
}

static void handler(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    struct scene *scene = cora_arg(bound, 0, struct scene *);
    (void)loop;
    CHECK(report->message != NULL);
    if (!cora_is_null(report->future) && cora_same(report->future, scene->task))
        at(scene, REPORT);
}

static cora_future factory(cora_args bound, cora_loop loop, cora_coro coro,
                           const struct cora_task_options *options)
{
    struct scene *scene = cora_arg(bound, 0, struct scene *);
    at(scene, FACTORY);
    return cora_task_new(loop, coro, options, CORA_PLACE("made"));
}

/* ---- the play ---- */

struct bystander {
    cora_future future;
};

static cora_next bystander_step(cora_coro self)
{
    return cora_await(self, cora_locals(self, struct bystander)->future, nothing_at_all);
}

static cora_future bystander_new(cora_loop loop, cora_future future)
{
    return cora_create_task(loop, cora_coroutine(bystander_step, struct bystander, future));
}

static void scene_start(struct scene *scene)
{
    static const cora_variable variable = { "trap", { NULL, { 0 } } };
    scene->host = ev_loop_new(EVFLAG_NOENV);
    scene->loop = cora_loop_attach(scene->host, NULL);
    cora_set_current_loop(scene->loop);
    cora_set_exception_handler(scene->loop, cora_partial(handler, scene));
    scene->future = cora_future_new(scene->loop);
    cora_set_task_factory(scene->loop, cora_partial(factory, scene));
    CHECK_INT(cora_context_set(&variable, trap_new(scene, CONTEXT_DROPPED)), 0);
    scene->task =
        cora_create_task(scene->loop, part_new(scene, first_step, LOCALS_DROPPED), .name = "main");
    CHECK_INT(cora_context_set(&variable, cora_nothing()), 0);
    cora_add_done_callback(scene->task,
                           cora_partial(done_callback, scene, cora_textf("still %s", "there"),
                                        trap_new(scene, ARGUMENT_DROPPED)));
    bool unread = scene->moment == REPORT && scene->ending == RAISES;
    scene->bystanders[0] = bystander_new(scene->loop, unread ? scene->future : scene->task);
    scene->bystanders[1] = bystander_new(scene->loop, scene->future);
    scene->bystanders[2] = cora_create_task(scene->loop, cora_sleep(1000));
    scene->bystanders[3] =
        cora_gather(scene->loop, scene->bystanders, 2, .return_exceptions = true);
    if (scene->ending != IS_DETACHED)
        cora_release(scene->task); /* pending, it is the loop's */
}

static void run_host(struct scene *scene, int times)
{
    cora_drop_temporaries();
    while (times-- > 0)
        ev_run(scene->host, EVRUN_NOWAIT);
}

static void scene_end(struct scene *scene)
{
    cora_loop_detach(scene->loop);
    cora_drop_temporaries();
    if (!cora_is_null(scene->next)) {
        run_host(scene, 3);
        for (int i = 0; i < HELD; i++)
            CHECK(i % 2 ? !cora_done(scene->held[i]) && !cora_is_null(cora_get_coro(scene->held[i]))
                        : cora_as_int(cora_result(scene->held[i])) == i);
        CHECK_INT(cora_live(scene->next), HELD + HELD / 2); /* and the timers of the sleeps */
        cora_set_exception_handler(scene->next, cora_partial(handler, scene));
        cora_loop_detach(scene->next);
    }
    cora_drop_temporaries();
    cora_set_current_loop((cora_loop){ 0 });
    ev_loop_destroy(scene->host);
    cora_loop_close(cora_loop_new(NULL)); /* coroutines that were made outside of runs go */
}

/* Each value was dropped as often as it was made. */
static void check_traps(const struct scene *scene)
{
    for (int i = 0; i < MOMENTS; i++)
        CHECK_INT(scene->traps[i].dropped, scene->traps[i].made);
    CHECK_INT(scene->locals_dropped, scene->locals_made);
    CHECK_INT(cora_live_coroutines(), 0);
}

/* One act in one moment; whether the moment has come. */
static bool play(enum moment moment, size_t act, enum ending ending)
{
    struct scene scene = { .moment = moment, .act = acts[act], .ending = ending };
    scene_start(&scene);
    run_host(&scene, 6);
    if (ending == IS_CANCELLED)
        cora_cancel(scene.task);
    else if (ending != IS_DETACHED)
        cora_set_result(scene.future, cora_int(1));
    if (ending != IS_DETACHED)
        run_host(&scene, 6);
    scene_end(&scene);
    check_traps(&scene);
    return scene.acts == 1;
}

/* All acts in one moment, with these ways to end. */
static void play_all(enum moment moment, unsigned endings)
{
    for (size_t act = 0; act < ACTS; act++)
        for (int ending = 0; ending < ENDINGS; ending++)
            CHECK_INT(play(moment, act, (enum ending)ending), endings >> ending & 1);
}

#define ALWAYS (1u << RETURNS | 1u << RAISES | 1u << IS_CANCELLED | 1u << IS_DETACHED)

TEST(first_step, "a first step")
{
    play_all(FIRST_STEP, ALWAYS);
}

TEST(second_step, "a step that goes on")
{
    play_all(SECOND_STEP, ALWAYS);
}

TEST(last_step, "the last step, which a destroyed task comes to as well: it catches GeneratorExit")
{
    play_all(LAST_STEP, ALWAYS);
}

TEST(inner_step, "the first step of a coroutine that is awaited")
{
    play_all(INNER_STEP, ALWAYS);
}

TEST(inner_last_step, "its last step")
{
    play_all(INNER_LAST_STEP, ALWAYS);
}

TEST(by_hand, "a step of a coroutine that a step drives by hand")
{
    play_all(BY_HAND, ALWAYS);
}

TEST(finally, "a finally, also of a task that is destroyed")
{
    play_all(FINALLY, ALWAYS);
}

TEST(finally_last, "a finally that has waited")
{
    play_all(FINALLY_LAST, ALWAYS & ~(1u << IS_DETACHED));
}

TEST(locals, "the drop function of the task's locals")
{
    play_all(LOCALS_DROPPED, ALWAYS);
}

TEST(inner_locals, "the drop function of the locals of a coroutine that it has awaited")
{
    play_all(INNER_LOCALS_DROPPED, ALWAYS);
}

TEST(temporary, "a value that a step made and left")
{
    play_all(TEMPORARY_DROPPED, ALWAYS);
}

TEST(held, "a value that the coroutine held")
{
    play_all(HELD_DROPPED, ALWAYS);
}

TEST(got, "a value that a step got")
{
    play_all(GOT_DROPPED, ALWAYS);
}

TEST(error, "a value in an error that was caught")
{
    play_all(ERROR_TAKEN, ALWAYS);
}

TEST(result, "the result, when the task is given back")
{
    play_all(RESULT_DROPPED, 1u << RETURNS | 1u << IS_DETACHED);
}

TEST(context, "a value in its context, when the task is given back")
{
    play_all(CONTEXT_DROPPED, ALWAYS);
}

TEST(argument, "an argument of its done-callback")
{
    play_all(ARGUMENT_DROPPED, ALWAYS);
}

TEST(done_callback, "its done-callback")
{
    play_all(DONE_CALLBACK, ALWAYS & ~(1u << IS_DETACHED));
}

TEST(report, "the exception handler, told that it is destroyed, or that nobody read its error")
{
    play_all(REPORT, 1u << IS_DETACHED | 1u << RAISES);
}

TEST(factory, "the task factory")
{
    play_all(FACTORY, ALWAYS);
}

/* ---- a task in its own done-callback ---- */

static void cancel_done(cora_args bound, cora_future done)
{
    int *calls = cora_arg(bound, 0, int *);
    ++*calls;
    CHECK(!cora_cancel_with(done, "too late"));
    CHECK_INT(cora_cancelling(done), 0);
    CHECK_INT(cora_uncancel(done), 0);
    CHECK_INT(cora_as_int(cora_result(done)), 5);
}

static cora_next give_five(cora_coro self)
{
    return cora_return(self, 5);
}

TEST(cancelled_in_its_callback, "a task in its own done-callback is done: nothing to cancel")
{
    cora_loop loop = virtual_loop_new();
    int calls = 0;
    cora_future task = cora_create_task(loop, cora_coroutine(give_five));
    cora_add_done_callback(task, cora_partial(cancel_done, &calls));
    cora_release(task);
    ticks(loop, 3);
    CHECK_INT(calls, 1);
    CHECK_INT(cora_live(loop), 0);
    virtual_loop_end(loop);
}

/* ---- circles ---- */

struct link {
    cora_future *awaited;
};

static cora_next link_end(cora_coro self)
{
    return cora_is_error(cora_caught(self)) ? cora_raise(self, cora_caught(self))
                                            : cora_return(self, cora_got(self));
}

static cora_next link_step(cora_coro self)
{
    return cora_try(self, *cora_locals(self, struct link)->awaited, link_end);
}

static cora_next gather_link(cora_coro self)
{
    cora_future *awaited = cora_locals(self, struct link)->awaited;
    return cora_await(self, cora_gather(cora_running_loop(), awaited, 1), link_end);
}

static cora_next shield_link(cora_coro self)
{
    cora_future *awaited = cora_locals(self, struct link)->awaited;
    return cora_await(self, cora_shield(cora_running_loop(), *awaited), link_end);
}

static cora_next wait_link(cora_coro self)
{
    cora_future *awaited = cora_locals(self, struct link)->awaited;
    return cora_await(self, cora_wait(awaited, 1, 1000, CORA_ALL_COMPLETED), link_end);
}

/* Some tasks, each of which awaits the next, and the last one the first. */
static void make_circle(cora_loop loop, cora_future *tasks, int count, cora_step last)
{
    for (int i = 0; i < count; i++)
        tasks[i] = cora_create_task(loop, cora_coroutine(i == count - 1 ? last : link_step,
                                                         struct link, &tasks[(i + 1) % count]));
    ticks(loop, 3);
    for (int i = 0; i < count; i++)
        CHECK(!cora_done(tasks[i]));
}

TEST(circle,
     "tasks that await each other in a circle can be cancelled: the call ends, and the loop "
     "runs on")
{
    for (int length = 2; length <= 5; length++) {
        cora_loop loop = virtual_loop_new();
        struct reports reports;
        cora_future tasks[5];
        int calls = 0;
        collect_reports(loop, &reports);
        make_circle(loop, tasks, length, link_step);
        CHECK(cora_cancel(tasks[0]));
        CHECK(cora_cancel(tasks[length - 1]));
        for (int i = 0; i < length; i++)
            CHECK(cora_cancelling(tasks[i]) >= 1);
        cora_call_later(loop, 1, cora_partial(count, &calls));
        run_for(loop, 2);
        CHECK_INT(calls, 1);
        virtual_loop_end(loop);
        CHECK_INT(cora_live_coroutines(), 0);
    }
}

TEST(circle_through_a_gather, "so can a task that awaits a gather of itself")
{
    for (int length = 1; length <= 3; length++) {
        cora_loop loop = virtual_loop_new();
        struct reports reports;
        cora_future tasks[3];
        collect_reports(loop, &reports);
        make_circle(loop, tasks, length, gather_link);
        CHECK(cora_cancel(tasks[0]));
        run_for(loop, 2);
        for (int i = 0; i < length; i++)
            cora_cancel(tasks[i]);
        run_for(loop, 2);
        virtual_loop_end(loop);
        CHECK_INT(cora_live_coroutines(), 0);
    }
}

TEST(circle_with_a_way_out, "a circle through a shield or a wait ends with the cancel")
{
    cora_step steps[] = { shield_link, wait_link };
    for (int i = 0; i < 2; i++) {
        for (int length = 1; length <= 3; length++) {
            cora_loop loop = virtual_loop_new();
            cora_future tasks[3];
            make_circle(loop, tasks, length, steps[i]);
            CHECK(cora_cancel(tasks[0]));
            ticks(loop, 10);
            for (int k = 0; k < length; k++)
                CHECK(cora_cancelled(tasks[k]));
            virtual_loop_end(loop);
            CHECK_INT(cora_live_coroutines(), 0);
        }
    }
}

TEST(circle_broken, "a circle that is printed, and closed with its loop, does no harm")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    cora_future tasks[5];
    collect_reports(loop, &reports);
    make_circle(loop, tasks, 5, gather_link);
    for (int i = 0; i < 5; i++)
        CHECK(strstr(printed(tasks[i]), "pending") != NULL);
    virtual_loop_end(loop);
    CHECK_INT(reports.count, 5);
    CHECK_INT(cora_live_coroutines(), 0);
}

/* ---- loops of our own, closed in the middle ---- */

struct closing {
    cora_loop loop;
    int *drops;
    cora_future future;
};

static void drop_and_close(void *locals)
{
    struct closing *closing = locals;
    ++*closing->drops;
    cora_loop_close(closing->loop);
}

static cora_next wait_for_closing(cora_coro self)
{
    return cora_await(self, cora_locals(self, struct closing)->future, give_five);
}

static cora_next close_in_finally(cora_coro self)
{
    cora_loop_close(cora_locals(self, struct closing)->loop);
    return cora_go_on(self);
}

static cora_next finally_closes(cora_coro self)
{
    cora_finally(self, close_in_finally);
    return wait_for_closing(self);
}

static void close_in_handler(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    CHECK(strstr(report->message, "destroyed") != NULL);
    ++*cora_arg(bound, 0, int *);
    cora_loop_close(loop);
}

TEST(closed_while_it_is_closed, "what is dropped, told or cleaned up while a loop is closed may "
                                "close it again")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0, reports = 0;
    cora_set_exception_handler(loop, cora_partial(close_in_handler, &reports));
    cora_future future = cora_future_new(loop);
    cora_step steps[] = { wait_for_closing, finally_closes, wait_for_closing };
    for (int i = 0; i < 3; i++)
        cora_create_task(loop, cora_coroutine_owning(steps[i], drop_and_close, struct closing, loop,
                                                     &drops, future));
    tick(loop);
    for (int i = 0; i < 3; i++) /* not begun */
        cora_create_task(loop, cora_coroutine_owning(steps[i], drop_and_close, struct closing, loop,
                                                     &drops, future));
    CHECK_INT(cora_loop_close(loop), 0);
    CHECK_INT(drops, 6);
    CHECK_INT(reports, 6);
    virtual_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(closed_while_it_runs, "in a step or a drop function of a running loop it is refused")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    cora_future future = cora_future_new(loop);
    cora_future task =
        cora_create_task(loop, cora_coroutine_owning(finally_closes, drop_and_close, struct closing,
                                                     loop, &drops, future));
    tick(loop);
    cora_cancel(task);
    ticks(loop, 2);
    CHECK(cora_cancelled(task));
    CHECK(!cora_is_closed(loop));
    CHECK_INT(drops, 1);
    virtual_loop_end(loop);
}

static cora_next close_by_hand(cora_coro self)
{
    struct closing *closing = cora_locals(self, struct closing);
    CHECK_INT(cora_loop_close(closing->loop), 0);
    return cora_try(self, closing->future, link_end);
}

TEST(closed_by_hand, "a coroutine that is driven outside of a run may close the loop; what it "
                     "awaits of that is stale then")
{
    cora_loop loop = current_loop_new();
    int drops = 0;
    cora_value ret = cora_nothing();
    cora_future future = cora_future_new(loop);
    cora_coro coro =
        cora_coroutine_owning(close_by_hand, drop_and_close, struct closing, loop, &drops, future);
    CHECK(cora_send(coro, cora_nothing(), &ret) < 0);
    CHECK_INT(cora_error_code(ret), CORA_ESTALE);
    CHECK_INT(drops, 1);
    CHECK(cora_is_closed(loop));
    current_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(closed_by_a_coroutine,
     "so may the finally and the drop function of one that is closed by hand")
{
    cora_loop loop = current_loop_new();
    int drops = 0;
    cora_value ret = cora_nothing();
    cora_future future = cora_future_new(loop);
    cora_coro coro =
        cora_coroutine_owning(finally_closes, drop_and_close, struct closing, loop, &drops, future);
    CHECK_INT(cora_send(coro, cora_nothing(), &ret), 1);
    CHECK(cora_same(cora_as_future(ret), future));
    CHECK_INT(cora_coro_close(coro), 0);
    CHECK(cora_is_closed(loop));
    CHECK_INT(drops, 1);
    current_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
}

static void stop_and_fail(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)report;
    ++*cora_arg(bound, 0, int *);
    cora_stop(loop);
    cora_fail(cora_error(CORA_ESYSTEMEXIT, "in the handler"));
}

static cora_next spill(cora_coro self)
{
    return cora_raise(self, cora_error(CORA_EVALUE, "spilled"));
}

TEST(handler_exits, "a handler that is told of a task may leave the run")
{
    cora_loop loop = virtual_loop_new();
    int calls = 0;
    cora_set_exception_handler(loop, cora_partial(stop_and_fail, &calls));
    cora_spawn(loop, cora_coroutine(spill));
    cora_spawn(loop, cora_coroutine(spill));
    CHECK_INT(cora_run_forever(loop), CORA_ESYSTEMEXIT);
    cora_reset_exception_handler(loop);
    ticks(loop, 2);
    CHECK_INT(cora_live(loop), 0);
    virtual_loop_end(loop);
}
