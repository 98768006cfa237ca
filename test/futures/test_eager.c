/*
 * Eager start: a task whose first step runs inside the call that makes it. First from a callback
 * and from a step, per task and with the ready-made factory; which task is the current one
 * meanwhile, which there are, names and contexts; how such a first step may end; cancelling; starts
 * in the middle of each other, up to a thousand; and what a first step may do to its loop.
 */
#include "coroutines.h"

#include <ev.h>
#include <pthread.h>

/* ---- helpers ---- */

static cora_future current(void)
{
    return cora_current_task(cora_running_loop());
}

/* A task of the running loop that starts at once. */
static cora_future start(cora_coro coro)
{
    return cora_create_task(cora_running_loop(), coro, .eager_start = 1);
}

static void start_eagerly(cora_loop loop)
{
    CHECK_INT(cora_set_task_factory(loop, cora_partial(cora_eager_task_factory)), 0);
}

/* A loop whose tasks start at once. */
static cora_loop eager_loop_new(void)
{
    cora_loop loop = virtual_loop_new();
    start_eagerly(loop);
    return loop;
}

static cora_coro giving(int number)
{
    return cora_coroutine(give_number, struct job, .number = number);
}

/* What a first step notes, and waits for: "began", and when that is done "went on". */
struct walk {
    struct notes *notes;
    cora_future future;
    cora_future *ret_task; /* the current task of the first step */
};

#define WALK(self) cora_locals(self, struct walk)

static cora_next walked(cora_coro self)
{
    add_note(WALK(self)->notes, "went-on");
    return cora_return(self, 5);
}

static cora_next walk(cora_coro self)
{
    struct walk *walk = WALK(self);
    add_note(walk->notes, "began");
    if (walk->ret_task)
        *walk->ret_task = current();
    if (cora_is_null(walk->future))
        return walked(self);
    return cora_await(self, walk->future, walked);
}

static cora_coro walking(struct notes *notes, cora_future until)
{
    return cora_coroutine(walk, struct walk, .notes = notes, .future = until);
}

/* ---- in a callback and in a step ---- */

static void walk_in_a_callback(cora_args bound)
{
    struct notes *notes = cora_arg(bound, 0, struct notes *);
    add_note(notes, "<");
    cora_future task = start(walking(notes, cora_arg_future(bound, 1)));
    add_note(notes, ">");
    CHECK(!cora_done(task));
    CHECK(cora_is_null(current()));
    cora_add_done_callback(task, cora_partial(note_outcome, notes));
}

TEST(in_a_callback, "the first step runs inside the call that makes the task, up to where it waits")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future until = cora_future_new(loop);
    cora_call_soon(loop, cora_partial(walk_in_a_callback, &notes, until));
    cora_call_soon(loop, cora_partial(note, &notes, "next"));
    tick(loop);
    CHECK_TEXT(notes.text, "< began > next");
    cora_set_result(until, cora_nothing());
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "< began > next went-on 5");
    end(loop);
}

static void finish_in_a_callback(cora_args bound)
{
    struct notes *notes = cora_arg(bound, 0, struct notes *);
    cora_future task = start(walking(notes, (cora_future){ 0 }));
    CHECK(cora_done(task));
    CHECK_TEXT(outcome(task), "5");
    cora_add_done_callback(task, cora_partial(note_outcome, notes));
    add_note(notes, ">");
}

TEST(done_at_once, "one that need not wait is done then; its callbacks run in the next tick")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    run_in(loop, cora_partial(finish_in_a_callback, &notes));
    CHECK_TEXT(notes.text, "began went-on >");
    tick(loop);
    CHECK_TEXT(notes.text, "began went-on > 5");
    end(loop);
}

/* What the tests of names look at. */
struct named {
    char *ret_name;
    int eager_start;
    bool done;
};

static cora_next note_name(cora_coro self)
{
    snprintf(cora_locals(self, struct named)->ret_name, 20, "%s", cora_get_name(current()));
    return cora_return_nothing(self);
}

static cora_next make_named(cora_coro self)
{
    struct named *named = cora_locals(self, struct named);
    cora_future task = cora_create_task(
        cora_running_loop(), cora_coroutine(note_name, struct named, .ret_name = named->ret_name),
        .name = "example", .eager_start = named->eager_start);
    CHECK_INT(cora_done(task), named->done);
    CHECK_TEXT(named->ret_name, named->done ? "example" : "");
    return cora_await(self, task, cora_return_nothing);
}

static void check_named(cora_loop loop, int eager_start, bool done)
{
    char name[20] = "";
    cora_coro root = cora_coroutine(make_named, struct named, name, eager_start, done);
    CHECK(cora_is_nothing(cora_run_until_complete(loop, root)));
    CHECK_TEXT(name, "example");
}

TEST(per_task,
     "with the default factory .eager_start starts that one task; it has its name by then",
     "test_eager_task_factory.DefaultTaskFactoryEagerStart.test_eager_start_true_with_default_"
     "factory")
{
    cora_loop loop = virtual_loop_new();
    check_named(loop, 1, true);
    end(loop);
}

TEST(not_per_task, "with -1, or without it, its first step runs in the next tick, as ever",
     "test_tasks.BaseTaskTests.test_eager_start_false")
{
    cora_loop loop = virtual_loop_new();
    check_named(loop, -1, false);
    check_named(loop, 0, false);
    end(loop);
}

TEST(not_with_the_factory, "with the eager factory -1 still is the next tick",
     "test_eager_task_factory.EagerTaskFactoryLoopTests.test_eager_start_false")
{
    cora_loop loop = eager_loop_new();
    check_named(loop, -1, false);
    end(loop);
}

TEST(name, "with the eager factory a first step finds the name that the task was given",
     "test_eager_task_factory.CEagerTaskFactoryLoopTests.test_name")
{
    cora_loop loop = eager_loop_new();
    check_named(loop, 0, true);
    check_named(loop, 1, true);
    end(loop);
}

/* ---- the factory ---- */

static cora_next run_one(cora_coro self)
{
    cora_future task = cora_create_task(cora_running_loop(), giving(3));
    CHECK(cora_is_task(task));
    return cora_await(self, task, cora_return_got);
}

TEST(factory, "with the eager factory cora_create_task gives a task as any other, to be awaited",
     "test_eager_task_factory.EagerTaskFactoryLoopTests.test_eager_task_factory_set")
{
    cora_loop loop = eager_loop_new();
    CHECK_TEXT(ran(loop, cora_coroutine(run_one)), "3");
    end(loop);
}

static cora_next complete_future(cora_coro self)
{
    cora_set_result(JOB(self)->future, cora_chars("message"));
    return cora_return_nothing(self);
}

static cora_next got_in_the_same_step(cora_coro self)
{
    CHECK_INT(*JOB(self)->counter, 0);
    return cora_return(self, cora_got(self));
}

static cora_next await_what_it_set(cora_coro self)
{
    struct job *job = JOB(self);
    job->future = cora_future_new(cora_running_loop());
    cora_call_soon(cora_running_loop(), cora_partial(count, job->counter));
    cora_future task = cora_create_task(
        cora_running_loop(), cora_coroutine(complete_future, struct job, .future = job->future));
    CHECK(cora_done(task));
    return cora_await(self, job->future, got_in_the_same_step);
}

TEST(completes_a_future,
     "a future that the first step has completed is awaited without leaving, then",
     "test_eager_task_factory.EagerTaskFactoryLoopTests.test_await_future_during_eager_step")
{
    cora_loop loop = eager_loop_new();
    int calls = 0;
    CHECK_TEXT(ran(loop, cora_coroutine(await_what_it_set, struct job, .counter = &calls)),
               "\"message\"");
    end(loop);
}

static cora_next give_hello(cora_coro self)
{
    return cora_return(self, "hello");
}

static cora_next complete_eagerly(cora_coro self)
{
    cora_future task = cora_create_task(cora_running_loop(), cora_coroutine(give_hello));
    CHECK(cora_done(task));
    CHECK_TEXT(outcome(task), "\"hello\"");
    cora_keep(task);
    return cora_await(self, task, cora_return_got);
}

TEST(completes, "a task that need not wait is done when it is made; awaiting it gives its result",
     "test_eager_task_factory.EagerTaskFactoryLoopTests.test_eager_completion")
{
    cora_loop loop = eager_loop_new();
    CHECK_TEXT(ran(loop, cora_coroutine(complete_eagerly)), "\"hello\"");
    end(loop);
}

struct blocked {
    cora_future task;
};

static cora_next check_blocked(cora_coro self)
{
    CHECK(cora_done(cora_locals(self, struct blocked)->task));
    return cora_return(self, cora_got(self));
}

static cora_next block_eagerly(cora_coro self)
{
    struct blocked *blocked = cora_locals(self, struct blocked);
    blocked->task = cora_create_task(cora_running_loop(), cora_coroutine(await_sleep));
    CHECK(!cora_done(blocked->task));
    return cora_await(self, blocked->task, check_blocked);
}

TEST(blocks, "one that waits is not done when it is made, and goes on as every task",
     "test_eager_task_factory.EagerTaskFactoryLoopTests.test_block_after_eager_step")
{
    cora_loop loop = eager_loop_new();
    CHECK_TEXT(ran(loop, cora_coroutine(block_eagerly, struct blocked)), "\"awake\"");
    CHECK_REAL(cora_time(loop), START + 1.5, LATE);
    end(loop);
}

static cora_next yield_twice(cora_coro self)
{
    if (++*JOB(self)->counter < 3)
        return cora_yield(self, cora_nothing(), yield_twice);
    return cora_return(self, 3);
}

static void start_yielding(cora_args bound)
{
    int *steps = cora_arg(bound, 0, int *);
    cora_future task = start(cora_coroutine(yield_twice, struct job, .counter = steps));
    CHECK_INT(*steps, 1);
    CHECK(!cora_done(task));
}

TEST(yields, "a yield ends the eager part: each further step takes a tick")
{
    cora_loop loop = virtual_loop_new();
    int steps = 0;
    run_in(loop, cora_partial(start_yielding, &steps));
    tick(loop);
    CHECK_INT(steps, 2);
    tick(loop);
    CHECK_INT(steps, 3);
    end(loop);
}

static void spawn_two(cora_args bound)
{
    struct notes *notes = cora_arg(bound, 0, struct notes *);
    cora_loop loop = cora_running_loop();
    CHECK_INT(cora_spawn(loop, walking(notes, (cora_future){ 0 }), .eager_start = 1), 0);
    CHECK_INT(cora_spawn(loop, walking(notes, cora_arg_future(bound, 1)), .eager_start = 1), 0);
    CHECK_TEXT(notes->text, "began went-on began");
}

TEST(spawn, "so do those of cora_spawn; nothing of them is left when they have ended")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future until = cora_future_new(loop);
    run_in(loop, cora_partial(spawn_two, &notes, until));
    cora_set_result(until, cora_nothing());
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "began went-on began went-on");
    cora_release(until);
    tick(loop);
    CHECK_INT(cora_live(loop), 0);
    end(loop);
}

static void start_operations(cora_args bound)
{
    (void)bound;
    cora_loop loop = cora_running_loop();
    cora_future ready = cora_create_task(loop, cora_ready(cora_int(4)), .eager_start = 1);
    CHECK(cora_done(ready));
    CHECK_TEXT(outcome(ready), "4");
    cora_future later = cora_create_task(loop, cora_ready(cora_int(4)));
    CHECK(!cora_done(later));
    cora_future sleep = cora_create_task(loop, cora_sleep(1), .eager_start = 1);
    CHECK(!cora_done(sleep));
}

TEST(operations, "a task of an operation may start at once, too")
{
    cora_loop loop = virtual_loop_new();
    run_in(loop, cora_partial(start_operations));
    run_for(loop, 2);
    end(loop);
}

static void gather_eagerly(cora_args bound)
{
    struct notes *notes = cora_arg(bound, 0, struct notes *);
    cora_loop loop = cora_running_loop();
    cora_coro coros[2] = { giving(1), giving(2) };
    cora_future all = cora_gather(loop, coros, 2);
    CHECK(cora_done(all));
    CHECK_TEXT(outcome(all), "[1, 2]");
    cora_future shielded = cora_shield(loop, giving(3));
    CHECK(cora_done(shielded) && cora_is_task(shielded));
    CHECK_TEXT(outcome(shielded), "3");
    cora_future ensured = cora_ensure_future(loop, giving(4));
    CHECK_TEXT(outcome(ensured), "4");
    add_note(notes, "all");
}

TEST(given_coroutines, "with the eager factory the coroutines that are given to gather, shield and "
                       "ensure_future start at once, too, and those are done if these are")
{
    cora_loop loop = eager_loop_new();
    struct notes notes = { "" };
    run_in(loop, cora_partial(gather_eagerly, &notes));
    CHECK_TEXT(notes.text, "all");
    end(loop);
}

static void when_done_starts_now(cora_args bound)
{
    struct notes *notes = cora_arg(bound, 0, struct notes *);
    cora_when_done(walking(notes, (cora_future){ 0 }), cora_partial(note_outcome, notes));
    add_note(notes, ">");
}

TEST(when_done, "cora_when_done starts a coroutine now, and never calls back inside the call")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    run_in(loop, cora_partial(when_done_starts_now, &notes));
    CHECK_TEXT(notes.text, "began went-on >");
    tick(loop);
    CHECK_TEXT(notes.text, "began went-on > 5");
    end(loop);
}

static cora_future wrapping_factory(cora_args bound, cora_loop loop, cora_coro coro,
                                    const struct cora_task_options *options)
{
    add_note(cora_arg(bound, 0, struct notes *), options->name ? options->name : "?");
    return cora_eager_task_factory(bound, loop, coro, options);
}

static void make_by_wrapper(cora_args bound)
{
    (void)bound;
    cora_future task = cora_create_task(cora_running_loop(), giving(1), .name = "mine");
    CHECK(cora_done(task));
    CHECK_TEXT(cora_get_name(task), "mine");
    char expected[200];
    snprintf(expected, sizeof expected,
             "<Task finished name='mine' coro=<give_number() done, created at %s:", __FILE__);
    CHECK(strncmp(printed(task), expected, strlen(expected)) == 0);
}

TEST(wrapped_factory, "a factory of one's own may pass on to the eager one")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_set_task_factory(loop, cora_partial(wrapping_factory, &notes));
    run_in(loop, cora_partial(make_by_wrapper));
    CHECK_TEXT(notes.text, "mine");
    end(loop);
}

static cora_future refused_factory(cora_args bound, cora_loop loop, cora_coro coro,
                                   const struct cora_task_options *options)
{
    (void)options;
    return cora_eager_task_factory(bound, loop, coro, NULL);
}

static void make_without_options(cora_args bound)
{
    cora_future task = cora_create_task(cora_running_loop(), giving(1), .name = "lost");
    CHECK(cora_done(task));
    CHECK(strcmp(cora_get_name(task), "lost") != 0);
    CHECK(strlen(printed(task)) > 10);
    ++*cora_arg(bound, 0, int *);
}

TEST(factory_without_options, "the eager factory takes no options, too: those are the defaults")
{
    cora_loop loop = virtual_loop_new();
    int calls = 0;
    cora_set_task_factory(loop, cora_partial(refused_factory));
    run_in(loop, cora_partial(make_without_options, &calls));
    CHECK_INT(calls, 1);
    end(loop);
}

/* ---- where the loop does not run ---- */

TEST(outside_of_a_run, "where the loop does not run it is scheduled, as without")
{
    cora_loop loop = eager_loop_new();
    struct notes notes = { "" };
    cora_future none = { 0 };
    cora_future by_factory = cora_create_task(loop, walking(&notes, none));
    cora_future by_option = cora_create_task(loop, walking(&notes, none), .eager_start = 1);
    CHECK_TEXT(notes.text, "");
    CHECK(!cora_done(by_factory) && !cora_done(by_option));
    tick(loop);
    CHECK_TEXT(notes.text, "began went-on began went-on");
    CHECK(cora_done(by_factory) && cora_done(by_option));
    end(loop);
}

static void make_in_another_loop(cora_args bound)
{
    struct notes *notes = cora_arg(bound, 0, struct notes *);
    cora_loop other = cora_arg_loop(bound, 1);
    cora_create_task(other, walking(notes, (cora_future){ 0 }), .eager_start = 1);
    CHECK_TEXT(notes->text, "");
}

TEST(in_another_loop, "of another loop than the one that runs: that loop's next tick")
{
    cora_loop loop = virtual_loop_new(), other = cora_loop_new(NULL);
    struct notes notes = { "" };
    run_in(loop, cora_partial(make_in_another_loop, &notes, other));
    tick(loop);
    CHECK_TEXT(notes.text, "");
    tick(other);
    CHECK_TEXT(notes.text, "began went-on");
    cora_loop_close(other);
    end(loop);
}

struct visit {
    cora_loop loop;
    int code, drops;
};

static void *visit_from_another_thread(void *argument)
{
    struct visit *visit = argument;
    CHECK(cora_is_null(cora_create_task(
        visit->loop, owning(give_number, &visit->drops, (cora_future){ 0 }), .eager_start = 1)));
    visit->code = cora_error_code(cora_last_error());
    CHECK_INT(cora_live_coroutines(), 0);
    return NULL;
}

TEST(in_another_thread, "another thread's loop refuses it: it never begins, and is closed")
{
    struct visit visit = { .loop = virtual_loop_new() };
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, visit_from_another_thread, &visit), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(visit.code, CORA_EWRONGTHREAD);
    CHECK_INT(visit.drops, 1);
    end(visit.loop);
}

static void make_in_a_closed_loop(cora_args bound)
{
    int *drops = cora_arg(bound, 0, int *);
    CHECK(cora_is_null(cora_create_task(cora_arg_loop(bound, 1),
                                        owning(give_number, drops, (cora_future){ 0 }),
                                        .eager_start = 1)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ERUNTIME);
    CHECK_INT(*drops, 1);
}

TEST(in_a_closed_loop, "a closed loop refuses it as well")
{
    cora_loop loop = virtual_loop_new(), closed = cora_loop_new(NULL);
    int drops = 0;
    cora_loop_close(closed);
    run_in(loop, cora_partial(make_in_a_closed_loop, &drops, closed));
    CHECK_INT(drops, 1);
    end(loop);
}

/* A timer of the host's own makes a task of the guest's. */
struct host {
    ev_timer timer;
    cora_loop guest;
    struct notes notes;
    bool running;
};

static void host_makes_a_task(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct host *host = timer->data;
    (void)ev, (void)events;
    host->running = cora_is_running(host->guest);
    cora_create_task(host->guest, walking(&host->notes, (cora_future){ 0 }), .eager_start = 1);
    CHECK_TEXT(host->notes.text, host->running ? "began went-on" : "");
}

TEST(in_the_host, "in a callback of the host's it starts at once if the guest counts as running")
{
    struct ev_loop *ev = ev_loop_new(EVFLAG_NOENV);
    struct host host = { .guest = cora_loop_attach(ev, NULL) };
    ev_timer_init(&host.timer, host_makes_a_task, 0.0, 0.0);
    host.timer.data = &host;
    ev_timer_start(ev, &host.timer);
    ev_run(ev, 0);
    CHECK_TEXT(host.notes.text, "began went-on");
    cora_loop_detach(host.guest);
    ev_loop_destroy(ev);
    CHECK_INT(cora_live_coroutines(), 0);
}

static void make_in_a_guest(cora_args bound)
{
    struct notes *notes = cora_arg(bound, 0, struct notes *);
    cora_future task = start(walking(notes, (cora_future){ 0 }));
    CHECK(cora_done(task));
}

TEST(in_a_guest, "in a callback of a guest it starts at once")
{
    struct ev_loop *ev = ev_loop_new(EVFLAG_NOENV);
    cora_loop guest = cora_loop_attach(ev, NULL);
    struct notes notes = { "" };
    cora_call_soon(guest, cora_partial(make_in_a_guest, &notes));
    ev_run(ev, 0);
    CHECK_TEXT(notes.text, "began went-on");
    cora_loop_detach(guest);
    ev_loop_destroy(ev);
    CHECK_INT(cora_live_coroutines(), 0);
}

/* ---- which task it is ---- */

/* The current tasks that a first step and the step after it see. */
struct seen {
    cora_future first, second;
};

static cora_next see_again(cora_coro self)
{
    (*cora_locals(self, struct seen *))->second = current();
    return cora_return_nothing(self);
}

static cora_next see(cora_coro self)
{
    (*cora_locals(self, struct seen *))->first = current();
    return cora_await(self, cora_sleep(0.1), see_again);
}

struct watching {
    struct seen seen;
    cora_future task;
};

static cora_next check_seen(cora_coro self)
{
    struct watching *watching = cora_locals(self, struct watching);
    CHECK(cora_same(watching->seen.second, watching->task));
    return cora_return_nothing(self);
}

static cora_next watch_current(cora_coro self)
{
    struct watching *watching = cora_locals(self, struct watching);
    cora_future own = current();
    watching->task =
        cora_create_task(cora_running_loop(), cora_coroutine(see, struct seen *, &watching->seen));
    CHECK(cora_same(watching->seen.first, watching->task));
    CHECK(!cora_same(watching->task, own));
    CHECK(cora_same(current(), own));
    return cora_await(self, watching->task, check_seen);
}

TEST(current_task,
     "in its first step the task is the current one, and afterwards its maker is again",
     "test_eager_task_factory.EagerTaskFactoryLoopTests.test_current_task")
{
    cora_loop loop = eager_loop_new();
    CHECK(cora_is_nothing(
        cora_run_until_complete(loop, cora_coroutine(watch_current, struct watching))));
    end(loop);
}

struct levels {
    int level;
    cora_future *tasks; /* the current tasks, by level */
};

static cora_next go_deeper(cora_coro self)
{
    struct levels *levels = cora_locals(self, struct levels);
    cora_future own = current();
    levels->tasks[levels->level] = own;
    if (levels->level > 0) {
        cora_future inner =
            start(cora_coroutine(go_deeper, struct levels, levels->level - 1, levels->tasks));
        CHECK(cora_same(inner, levels->tasks[levels->level - 1]));
        CHECK(cora_same(current(), own));
        cora_future failed = start(cora_coroutine(raise_value_error));
        CHECK(is_error(failed, CORA_EVALUE));
        CHECK(cora_same(current(), own));
    }
    return cora_return(self, levels->level);
}

static void start_levels(cora_args bound)
{
    cora_future *tasks = cora_arg(bound, 0, cora_future *);
    CHECK(cora_is_null(current()));
    cora_future task = start(cora_coroutine(go_deeper, struct levels, 5, tasks));
    CHECK(cora_is_null(current()));
    CHECK_TEXT(outcome(task), "5");
}

TEST(current_task_nested,
     "each first step in another swaps the current task in, and out again; in a "
     "callback it is none again",
     "test_eager_task_factory.CEagerTaskFactoryLoopTests.test_issue105987")
{
    cora_loop loop = virtual_loop_new();
    cora_future tasks[6] = { { 0 } };
    run_in(loop, cora_partial(start_levels, tasks));
    for (int i = 0; i < 5; i++)
        CHECK(!cora_is_null(tasks[i]) && !cora_same(tasks[i], tasks[i + 1]));
    end(loop);
}

static bool among_all(cora_future task)
{
    cora_value all = cora_all_tasks(cora_running_loop());
    bool found = false;
    for (size_t i = 0; i < cora_list_size(all); i++)
        found |= cora_same(cora_as_future(cora_list_at(all, i)), task);
    return found;
}

static cora_next check_among_all(cora_coro self)
{
    CHECK(among_all(current()));
    return cora_return_nothing(self);
}

static cora_next all_of_one_done(cora_coro self)
{
    cora_future task = cora_create_task(cora_running_loop(), cora_coroutine(check_among_all));
    CHECK(cora_is_nothing(cora_result(task)));
    CHECK(!among_all(task));
    return cora_return_nothing(self);
}

TEST(all_tasks_done, "in its first step it is among all tasks, and not any more when that ended it",
     "test_eager_task_factory.EagerTaskFactoryLoopTests.test_all_tasks_with_eager_completion")
{
    cora_loop loop = eager_loop_new();
    CHECK(cora_is_nothing(cora_run_until_complete(loop, cora_coroutine(all_of_one_done))));
    end(loop);
}

struct blocking {
    cora_future over, task, *ret_over;
};

static cora_next tell_over(cora_coro self)
{
    cora_set_result(cora_locals(self, struct blocking)->over, cora_nothing());
    return cora_return_nothing(self);
}

static cora_next check_and_block(cora_coro self)
{
    CHECK(among_all(current()));
    return cora_await(self, cora_sleep(0), tell_over);
}

static cora_next not_among_all(cora_coro self)
{
    CHECK(!among_all(cora_locals(self, struct blocking)->task));
    return cora_return_nothing(self);
}

static cora_next all_of_one_blocking(cora_coro self)
{
    struct blocking *blocking = cora_locals(self, struct blocking);
    blocking->over = cora_future_new(cora_running_loop());
    blocking->task =
        cora_create_task(cora_running_loop(),
                         cora_coroutine(check_and_block, struct blocking, .over = blocking->over));
    CHECK(among_all(blocking->task));
    return cora_await(self, blocking->over, not_among_all);
}

TEST(all_tasks_blocking, "one that waits is among all tasks until it ends",
     "test_eager_task_factory.EagerTaskFactoryLoopTests.test_all_tasks_with_blocking")
{
    cora_loop loop = eager_loop_new();
    CHECK(cora_is_nothing(
        cora_run_until_complete(loop, cora_coroutine(all_of_one_blocking, struct blocking))));
    end(loop);
}

static void check_given_back(cora_args bound)
{
    int *drops = cora_arg(bound, 0, int *);
    cora_future task = start(owning(give_number, drops, (cora_future){ 0 }));
    CHECK_INT(*drops, 1);
    CHECK(cora_coro_state(cora_get_coro(task)) == CORA_CORO_CLOSED);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(given_back, "the coroutine of one that is done at once, and its locals, are given back then",
     "test_eager_task_factory.CEagerTaskFactoryLoopTests.test_issue122332")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    run_in(loop, cora_partial(check_given_back, &drops));
    CHECK_INT(drops, 1);
    end(loop);
}

/* ---- contexts ---- */

static const cora_variable variable = { "variable", { 0 } };

static long long variable_now(void)
{
    return cora_as_int(cora_context_get(&variable));
}

static cora_next set_three(cora_coro self)
{
    CHECK_INT(variable_now(), 2);
    cora_context_set(&variable, cora_int(3));
    return cora_return_nothing(self);
}

static cora_next set_two(cora_coro self)
{
    CHECK_INT(variable_now(), 1);
    cora_context_set(&variable, cora_int(2));
    return cora_await(self, cora_sleep(0.1), set_three);
}

static cora_next still_one(cora_coro self)
{
    CHECK_INT(variable_now(), 1);
    return cora_return_nothing(self);
}

static cora_next set_one(cora_coro self)
{
    cora_context_set(&variable, cora_int(1));
    cora_future task = cora_create_task(cora_running_loop(), cora_coroutine(set_two));
    CHECK_INT(variable_now(), 1);
    return cora_await(self, task, still_one);
}

TEST(context, "a first step runs in the task's own copy of the context, and so do the others",
     "test_eager_task_factory.EagerTaskFactoryLoopTests.test_context_vars")
{
    cora_loop loop = eager_loop_new();
    CHECK(cora_is_nothing(cora_run_until_complete(loop, cora_coroutine(set_one))));
    end(loop);
}

static cora_next set_nine(cora_coro self)
{
    cora_context_set(&variable, cora_int(variable_now() + 4));
    return cora_return_nothing(self);
}

static void start_in_context(cora_args bound)
{
    cora_value context = cora_arg_value(bound, 0);
    cora_future task = cora_create_task(cora_running_loop(), cora_coroutine(set_nine),
                                        .context = context, .eager_start = 1);
    CHECK(cora_done(task));
    CHECK_INT(cora_as_int(cora_context_value(context, &variable)), 9);
    CHECK_INT(variable_now(), 6);
}

TEST(context_of_choice, "with .context it runs in that one itself, and its maker's stays as it is")
{
    cora_loop loop = virtual_loop_new();
    cora_context_set(&variable, cora_int(5));
    cora_value context = cora_copy(cora_copy_context());
    cora_context_set(&variable, cora_int(6));
    run_in(loop, cora_partial(start_in_context, context));
    CHECK_INT(cora_as_int(cora_context_value(context, &variable)), 9);
    cora_drop(context);
    cora_context_set(&variable, cora_nothing());
    end(loop);
}

/* ---- how a first step may end ---- */

static void start_raising(cora_args bound)
{
    struct notes *notes = cora_arg(bound, 0, struct notes *);
    cora_future task = start(cora_coroutine(raise_value_error));
    CHECK(!cora_is_null(task));
    CHECK(cora_done(task));
    cora_add_done_callback(task, cora_partial(note_outcome, notes));
    add_note(notes, "goes on");
}

TEST(raises, "an error of the first step is the task's: its maker goes on")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    struct reports reports;
    collect_reports(loop, &reports);
    run_in(loop, cora_partial(start_raising, &notes));
    tick(loop);
    CHECK_TEXT(notes.text, "goes on ValueError: spilled");
    end(loop);
    CHECK_INT(reports.count, 0);
}

static cora_next make_one_that_raises(cora_coro self)
{
    cora_future task = cora_create_task(cora_running_loop(), cora_coroutine(JOB(self)->step));
    CHECK(is_error(task, CORA_EVALUE));
    return cora_return(self, 8);
}

TEST(raises_in_a_step, "also if the maker is a step; so is one that has failed (cora_fail)")
{
    cora_loop loop = eager_loop_new();
    CHECK_TEXT(
        ran(loop, cora_coroutine(make_one_that_raises, struct job, .step = raise_value_error)),
        "8");
    CHECK_TEXT(ran(loop, cora_coroutine(make_one_that_raises, struct job, .step = fail_and_return)),
               "8");
    end(loop);
}

static void spawn_raising(cora_args bound)
{
    (void)bound;
    CHECK_INT(cora_spawn(cora_running_loop(), cora_coroutine(raise_value_error), .eager_start = 1),
              0);
}

TEST(raises_unread, "an error that nobody reads is reported once, as of every task")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    run_in(loop, cora_partial(spawn_raising));
    ticks(loop, 2);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Task exception was never retrieved");
    CHECK_TEXT(reports.error, "ValueError: spilled");
    end(loop);
    CHECK_INT(reports.count, 1);
}

static cora_next raise_cancelled(cora_coro self)
{
    return cora_raise(self, cora_error(CORA_ECANCELLED, "not today"));
}

static void start_cancelled(cora_args bound)
{
    cora_future task = start(cora_coroutine(raise_cancelled));
    CHECK(cora_cancelled(task));
    CHECK_TEXT(outcome(task), "CancelledError: not today");
    ++*cora_arg(bound, 0, int *);
}

TEST(raises_cancelled, "a first step that raises Cancelled: the task is cancelled")
{
    cora_loop loop = virtual_loop_new();
    int calls = 0;
    run_in(loop, cora_partial(start_cancelled, &calls));
    CHECK_INT(calls, 1);
    end(loop);
}

static cora_next raise_interrupt(cora_coro self)
{
    return cora_raise(self, cora_error(JOB(self)->number, "now"));
}

static cora_coro interrupting(int code)
{
    return cora_coroutine(raise_interrupt, struct job, .number = code);
}

static void start_interrupt(cora_args bound)
{
    struct notes *notes = cora_arg(bound, 0, struct notes *);
    start(interrupting((int)cora_arg_int(bound, 1)));
    add_note(notes, "started");
}

TEST(interrupts,
     "a KeyboardInterrupt or SystemExit of the first step fails the callback that makes "
     "the task, too: the run is left")
{
    static const int codes[] = { CORA_EKEYBOARDINTERRUPT, CORA_ESYSTEMEXIT };
    for (int i = 0; i < 2; i++) {
        cora_loop loop = virtual_loop_new();
        struct notes notes = { "" };
        struct reports reports;
        collect_reports(loop, &reports);
        cora_call_soon(loop, cora_partial(start_interrupt, &notes, codes[i]));
        cora_call_soon(loop, cora_partial(note, &notes, "next"));
        cora_stop(loop);
        CHECK_INT(cora_run_forever(loop), codes[i]);
        CHECK_TEXT(notes.text, "started");
        tick(loop);
        CHECK_TEXT(notes.text, "started next");
        end(loop);
        CHECK_INT(reports.count, 1); /* nobody has read it of the task */
        CHECK_TEXT(reports.message, "Task exception was never retrieved");
    }
}

static cora_next start_interrupt_in_a_step(cora_coro self)
{
    start(interrupting(CORA_EKEYBOARDINTERRUPT));
    return cora_await(self, cora_sleep(1), cora_return_nothing);
}

TEST(interrupts_a_step, "in a step it fails the maker's task with that, and leaves the run")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(start_interrupt_in_a_step));
    cora_stop(loop);
    CHECK_INT(cora_run_forever(loop), CORA_EKEYBOARDINTERRUPT);
    CHECK(is_error(task, CORA_EKEYBOARDINTERRUPT));
    tick(loop);
    end(loop);
}

static cora_next interrupt_in_an_inner_step(cora_coro self)
{
    start(cora_coroutine(start_interrupt_in_a_step));
    return cora_await(self, cora_sleep(1), cora_return_nothing);
}

TEST(interrupts_nested, "through first steps in each other it fails all of them")
{
    cora_loop loop = virtual_loop_new();
    cora_value ended = cora_run_until_complete(loop, cora_coroutine(interrupt_in_an_inner_step));
    CHECK_INT(cora_error_code(ended), CORA_EKEYBOARDINTERRUPT);
    tick(loop);
    end(loop);
}

/* ---- cancelling ---- */

static cora_next got_seven(cora_coro self)
{
    CHECK_INT(cora_as_int(cora_got(self)), 7);
    return cora_return_nothing(self);
}

static cora_next cancel_a_done_one(cora_coro self)
{
    cora_future task = cora_create_task(cora_running_loop(), giving(7));
    CHECK(!cora_cancel(task));
    CHECK(!cora_cancelled(task));
    return cora_await(self, task, got_seven);
}

TEST(cancel_done, "to cancel one that was done at once has no effect",
     "test_eager_task_factory.EagerTaskFactoryLoopTests.test_cancellation_after_eager_completion")
{
    cora_loop loop = eager_loop_new();
    CHECK(cora_is_nothing(cora_run_until_complete(loop, cora_coroutine(cancel_a_done_one))));
    end(loop);
}

static cora_next check_caught(cora_coro self)
{
    CHECK_INT(cora_error_code(cora_caught(self)), CORA_ECANCELLED);
    CHECK_TEXT(cora_error_message(cora_caught(self)), "test message");
    return cora_return_nothing(self);
}

static cora_next cancel_a_blocked_one(cora_coro self)
{
    cora_future task = cora_create_task(cora_running_loop(), cora_coroutine(await_sleep));
    CHECK(!cora_done(task));
    CHECK(cora_cancel_with(task, "test message"));
    CHECK_INT(cora_cancelling(task), 1);
    CHECK(!cora_done(task));
    return cora_try(self, task, check_caught);
}

TEST(cancel_blocked, "one that waits is cancelled where it waits, with the message",
     "test_eager_task_factory.EagerTaskFactoryLoopTests.test_cancellation_after_eager_step_blocks")
{
    cora_loop loop = eager_loop_new();
    CHECK(cora_is_nothing(cora_run_until_complete(loop, cora_coroutine(cancel_a_blocked_one))));
    CHECK_REAL(cora_time(loop), START, LATE);
    end(loop);
}

static cora_next cancel_self_and_wait(cora_coro self)
{
    CHECK(cora_cancel(current()));
    return cora_await(self, JOB(self)->future, cora_return_nothing);
}

static cora_next cancel_self_and_return(cora_coro self)
{
    CHECK(cora_cancel(current()));
    return cora_return(self, 7);
}

static void start_self_cancelling(cora_args bound)
{
    cora_future future = cora_arg_future(bound, 0), *tasks = cora_arg(bound, 1, cora_future *);
    tasks[0] = cora_keep(start(cora_coroutine(cancel_self_and_wait, struct job, .future = future)));
    tasks[1] = cora_keep(start(cora_coroutine(cancel_self_and_return)));
    CHECK(cora_cancelled(future));
    CHECK(!cora_done(tasks[0]));
    CHECK(cora_cancelled(tasks[1]));
}

TEST(cancel_self, "one that cancels itself in its first step is cancelled where it waits, or ends")
{
    cora_loop loop = virtual_loop_new();
    cora_future tasks[2], future = cora_keep(cora_future_new(loop));
    run_in(loop, cora_partial(start_self_cancelling, future, tasks));
    tick(loop);
    CHECK(cora_cancelled(tasks[0]));
    cora_release(tasks[0]);
    cora_release(tasks[1]);
    cora_release(future);
    end(loop);
}

static cora_next cancel_other(cora_coro self)
{
    CHECK(cora_cancel(JOB(self)->future));
    return cora_return_nothing(self);
}

static cora_next make_one_that_cancels(cora_coro self)
{
    start(cora_coroutine(cancel_other, struct job, .future = current()));
    CHECK_INT(cora_cancelling(current()), 1);
    add_note(JOB(self)->notes, "goes on");
    return cora_await(self, cora_sleep(10), cora_return_nothing);
}

TEST(cancel_maker, "its maker, which runs, can be cancelled by a first step: where it next waits")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future task =
        cora_create_task(loop, cora_coroutine(make_one_that_cancels, struct job, .notes = &notes));
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "goes on");
    CHECK(cora_cancelled(task));
    end(loop);
}

static cora_next await_own_task(cora_coro self)
{
    return cora_await(self, current(), cora_return_nothing);
}

static void start_awaiting_itself(cora_args bound)
{
    *cora_arg(bound, 0, cora_future *) = cora_keep(start(cora_coroutine(await_own_task)));
}

TEST(awaits_itself, "one that awaits itself in its first step gets a RuntimeError a tick later")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = { 0 };
    run_in(loop, cora_partial(start_awaiting_itself, &task));
    CHECK(!cora_done(task));
    tick(loop);
    CHECK(is_error(task, CORA_ERUNTIME));
    CHECK(says(cora_exception(task), "Task cannot await on itself"));
    cora_release(task);
    end(loop);
}

static cora_next await_maker(cora_coro self)
{
    return cora_await(self, JOB(self)->future, cora_return_got);
}

static cora_next make_one_that_awaits_it(cora_coro self)
{
    JOB(self)->other = start(cora_coroutine(await_maker, struct job, .future = current()));
    *JOB(self)->counter = !cora_done(JOB(self)->other);
    cora_add_done_callback(JOB(self)->other, cora_partial(note_outcome, JOB(self)->notes));
    return cora_return(self, 6);
}

TEST(awaits_its_maker, "a first step may await the task that makes it, and gets its result")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    int waited = 0;
    cora_create_task(loop, cora_coroutine(make_one_that_awaits_it, struct job, .notes = &notes,
                                          .counter = &waited));
    ticks(loop, 4);
    CHECK_INT(waited, 1);
    CHECK_TEXT(notes.text, "6");
    end(loop);
}

/* ---- starts in each other ---- */

/* How many tasks a factory makes, and how many of them did not start at once. */
struct census {
    int made, scheduled, begun;
};

static cora_future count_eager(cora_args bound, cora_loop loop, cora_coro coro,
                               const struct cora_task_options *options)
{
    struct census *census = cora_arg(bound, 0, struct census *);
    int begun = census->begun;
    census->made++;
    cora_future task = cora_eager_task_factory(bound, loop, coro, options);
    census->scheduled += census->begun == begun;
    return task;
}

static cora_future count_scheduled(cora_args bound, cora_loop loop, cora_coro coro,
                                   const struct cora_task_options *options)
{
    struct census *census = cora_arg(bound, 0, struct census *);
    int begun = census->begun;
    census->made++;
    cora_future task = cora_task_new(loop, coro, options, CORA_PLACE("counted"));
    census->scheduled += census->begun == begun;
    return task;
}

/* A node of a tree of tasks: below it there are so many more levels. */
struct node {
    struct census *census;
    int levels;
    cora_task_group group;
};

#define NODE(self) cora_locals(self, struct node)
#define CHILDREN 5

static cora_next gather_children(cora_coro self)
{
    struct node *node = NODE(self);
    cora_coro children[CHILDREN];
    node->census->begun++;
    if (node->levels == 0)
        return cora_return_nothing(self);
    for (int i = 0; i < CHILDREN; i++)
        children[i] = cora_coroutine(gather_children, struct node, .census = node->census,
                                     .levels = node->levels - 1);
    return cora_await(self, cora_gather(cora_running_loop(), children, CHILDREN),
                      cora_return_nothing);
}

static cora_next group_children(cora_coro self);

static cora_next spawn_children(cora_coro self)
{
    struct node *node = NODE(self);
    for (int i = 0; i < CHILDREN; i++)
        CHECK_INT(cora_task_group_spawn(node->group, cora_coroutine(group_children, struct node,
                                                                    .census = node->census,
                                                                    .levels = node->levels - 1)),
                  0);
    return cora_return_nothing(self);
}

static cora_next group_children(cora_coro self)
{
    struct node *node = NODE(self);
    node->census->begun++;
    if (node->levels == 0)
        return cora_return_nothing(self);
    node->group = cora_task_group_new(cora_running_loop());
    return cora_with(self, cora_task_group_enter(node->group), spawn_children);
}

static struct census census_of(cora_step tree, bool eager)
{
    cora_loop loop = virtual_loop_new();
    struct census census = { 0 };
    if (eager)
        cora_set_task_factory(loop, cora_partial(count_eager, &census));
    else
        cora_set_task_factory(loop, cora_partial(count_scheduled, &census));
    cora_value ended = cora_run_until_complete(
        loop, cora_coroutine(tree, struct node, .census = &census, .levels = 4));
    CHECK(cora_is_nothing(ended));
    end(loop);
    CHECK_INT(census.begun, 781);
    return census;
}

TEST(tree_of_groups, "without eager start groups of five tasks, four deep, are 781 scheduled tasks",
     "test_eager_task_factory.BaseNonEagerTaskFactoryTests.test_recursive_taskgroups")
{
    struct census census = census_of(group_children, false);
    CHECK_INT(census.made, 781);
    CHECK_INT(census.scheduled, 781);
}

TEST(tree_of_gathers, "so are gathers of five, four deep",
     "test_eager_task_factory.BaseNonEagerTaskFactoryTests.test_recursive_gather")
{
    struct census census = census_of(gather_children, false);
    CHECK_INT(census.made, 781);
    CHECK_INT(census.scheduled, 781);
}

TEST(eager_tree_of_groups,
     "with it all of them start at once, but for the root, which is made where "
     "the loop does not run",
     "test_eager_task_factory.BaseEagerTaskFactoryTests.test_recursive_taskgroups")
{
    struct census census = census_of(group_children, true);
    CHECK_INT(census.made, 781);
    CHECK_INT(census.scheduled, 1);
}

TEST(eager_tree_of_gathers, "also in gathers")
{
    struct census census = census_of(gather_children, true);
    CHECK_INT(census.made, 781);
    CHECK_INT(census.scheduled, 1);
}

/* A chain of coroutines that await each other, in one task. */
struct link {
    struct census *census;
    int left;
};

static cora_next add_one(cora_coro self)
{
    return cora_return(self, cora_as_int(cora_got(self)) + 1);
}

static cora_next await_chain(cora_coro self)
{
    struct link *link = cora_locals(self, struct link);
    link->census->begun++;
    if (link->left == 0)
        return cora_return(self, 0);
    return cora_await(self, cora_coroutine(await_chain, struct link, link->census, link->left - 1),
                      add_one);
}

TEST(awaitables_chain, "a chain of a hundred awaits is one task, however that is started",
     "test_eager_task_factory.BaseEagerTaskFactoryTests.test_awaitables_chain")
{
    cora_loop loop = virtual_loop_new();
    struct census census = { 0 };
    cora_set_task_factory(loop, cora_partial(count_eager, &census));
    CHECK_TEXT(ran(loop, cora_coroutine(await_chain, struct link, &census, 100)), "100");
    CHECK_INT(census.made, 1);
    end(loop);
}

/* Each starts the next one in its first step; how deep they are in each other is counted. */
struct dive {
    int *begun, *depth, *deepest;
    int left;
    cora_future inner;
};

static cora_next dive(cora_coro self)
{
    struct dive *own = cora_locals(self, struct dive);
    ++*own->begun;
    if (++*own->depth > *own->deepest)
        *own->deepest = *own->depth;
    if (own->left > 0)
        own->inner =
            start(cora_coroutine(dive, struct dive, .begun = own->begun, .depth = own->depth,
                                 .deepest = own->deepest, .left = own->left - 1));
    --*own->depth;
    if (own->left == 0)
        return cora_return(self, 0);
    return cora_await(self, own->inner, add_one);
}

/* Dives so deep in the callback or step that runs. */
static cora_coro diving(int levels, int *ret_begun, int *ret_deepest, int *depth)
{
    *ret_begun = *ret_deepest = *depth = 0;
    return cora_coroutine(dive, struct dive, .begun = ret_begun, .depth = depth,
                          .deepest = ret_deepest, .left = levels);
}

TEST(nested, "first steps may start each other: ten deep all of them begin in one call")
{
    cora_loop loop = virtual_loop_new();
    int begun, deepest, depth;
    cora_future task = cora_create_task(loop, diving(10, &begun, &deepest, &depth));
    tick(loop);
    CHECK_INT(begun, 11);
    CHECK_INT(deepest, 11);
    CHECK_TEXT(outcome(task), "10");
    end(loop);
}

/* Twice, as the first time must leave nothing behind. Gives how many were in each other. */
static int dive_twice(cora_loop loop, int levels)
{
    int begun, deepest, depth;
    for (int round = 0; round < 2; round++) {
        cora_value outcome =
            cora_run_until_complete(loop, diving(levels, &begun, &deepest, &depth));
        CHECK_INT(cora_as_int(outcome), levels);
        CHECK_INT(begun, levels + 1);
        CHECK(deepest > 1);
    }
    return deepest;
}

TEST(nested_deep,
     "where that would take too much stack they are scheduled instead; all come to their "
     "end")
{
    cora_loop loop = virtual_loop_new();
    int levels = harness_scale(50000);
    dive_twice(loop, 1000);
    CHECK(dive_twice(loop, levels) < levels || levels < 50000);
    end(loop);
}

static void *dive_deep(void *unused)
{
    (void)unused;
    cora_loop loop = cora_loop_new(NULL);
    CHECK(dive_twice(loop, 1000) < 1000);
    cora_loop_close(loop);
    CHECK_INT(cora_live_coroutines(), 0);
    return NULL;
}

TEST(nested_in_a_small_stack, "also in a thread that has little of it")
{
    harness_in_small_stack(dive_deep);
}

/* The same through cora_when_done and through a gather. */
static cora_next dive_by_gather(cora_coro self)
{
    struct dive *own = cora_locals(self, struct dive);
    ++*own->begun;
    if (own->left == 0)
        return cora_return_nothing(self);
    cora_coro inner =
        cora_coroutine(dive_by_gather, struct dive, .begun = own->begun, .left = own->left - 1);
    return cora_await(self, cora_gather(cora_running_loop(), &inner, 1), cora_return_nothing);
}

static cora_next dive_by_when_done(cora_coro self)
{
    struct dive *own = cora_locals(self, struct dive);
    ++*own->begun;
    if (own->left > 0)
        cora_when_done(cora_coroutine(dive_by_when_done, struct dive, .begun = own->begun,
                                      .left = own->left - 1),
                       cora_partial(nothing_done));
    return cora_return_nothing(self);
}

static void *dive_otherwise(void *unused)
{
    (void)unused;
    cora_loop loop = cora_loop_new(NULL);
    int begun = 0;
    start_eagerly(loop);
    cora_run_until_complete(
        loop, cora_coroutine(dive_by_gather, struct dive, .begun = &begun, .left = 1000));
    CHECK_INT(begun, 1001);
    cora_reset_task_factory(loop);
    begun = 0;
    cora_run_until_complete(
        loop, cora_coroutine(dive_by_when_done, struct dive, .begun = &begun, .left = 1000));
    for (int i = 0; i < 1000 && begun < 1001; i++)
        tick(loop);
    CHECK_INT(begun, 1001);
    tick(loop);
    cora_loop_close(loop);
    CHECK_INT(cora_live_coroutines(), 0);
    return NULL;
}

TEST(nested_otherwise, "so it is where gather or cora_when_done start them")
{
    harness_in_small_stack(dive_otherwise);
}

static void start_many(cora_args bound)
{
    int *calls = cora_arg(bound, 0, int *);
    for (int i = 0; i < 10000; i++) {
        cora_future task = start(i % 2 ? giving(i) : cora_coroutine(raise_cancelled));
        *calls += cora_done(task);
        cora_release(task);
    }
}

TEST(one_after_the_other, "ten thousand one after the other all start at once, also if they fail")
{
    cora_loop loop = virtual_loop_new();
    int calls = 0;
    struct reports reports;
    collect_reports(loop, &reports);
    run_in(loop, cora_partial(start_many, &calls));
    CHECK_INT(calls, 10000);
    tick(loop);
    CHECK_INT(cora_live(loop), 0);
    end(loop);
}

/* ---- what a first step may do to its loop ---- */

static cora_next detach_and_return(cora_coro self)
{
    CHECK_INT(cora_loop_detach(cora_running_loop()), 0);
    return cora_return(self, 7);
}

static cora_next detach_and_wait(cora_coro self)
{
    cora_loop_detach(cora_running_loop());
    return cora_await(self, JOB(self)->future, cora_return_nothing);
}

static cora_next detach_and_raise(cora_coro self)
{
    cora_loop_detach(cora_running_loop());
    return raise_value_error(self);
}

static cora_next detach_and_interrupt(cora_coro self)
{
    cora_loop_detach(cora_running_loop());
    return cora_raise(self, cora_error(CORA_EKEYBOARDINTERRUPT, "now"));
}

static const cora_step detaching[] = { detach_and_return, detach_and_wait, detach_and_raise,
                                       detach_and_interrupt };

struct scene {
    cora_step step;
    cora_loop guest;
    int calls;
};

static void start_detaching(cora_args bound)
{
    struct scene *scene = cora_arg(bound, 0, struct scene *);
    cora_future future = cora_future_new(scene->guest);
    cora_future task = start(cora_coroutine(scene->step, struct job, .future = future));
    CHECK(cora_is_closed(scene->guest));
    CHECK(cora_is_null(task) || is_error(task, CORA_ESTALE));
    scene->calls++;
}

TEST(detaches, "a first step may detach its guest loop: the callback that made it goes on")
{
    for (int i = 0; i < 4; i++) {
        struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
        struct scene scene = { .step = detaching[i], .guest = cora_loop_attach(host, NULL) };
        cora_call_soon(scene.guest, cora_partial(start_detaching, &scene));
        ev_run(host, 0);
        CHECK_INT(scene.calls, 1);
        ev_loop_destroy(host);
        CHECK_INT(cora_live_coroutines(), 0);
    }
}

static cora_next make_detaching(cora_coro self)
{
    struct scene *scene = *cora_locals(self, struct scene *);
    start(cora_coroutine(scene->step, struct job));
    CHECK(cora_is_closed(scene->guest));
    scene->calls++;
    return cora_return(self, 7);
}

TEST(detaches_in_a_step, "also if it was made in a step, or by a first step in its turn")
{
    for (int i = 0; i < 8; i++) {
        struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
        struct scene scene = { .step = detaching[i % 4], .guest = cora_loop_attach(host, NULL) };
        struct scene *scene_ = &scene;
        struct notes notes = { "" };
        if (i >= 4)
            start_eagerly(scene.guest);
        cora_when_done(cora_sleep(0), cora_partial(note_done, &notes, "never"));
        cora_create_task(scene.guest, cora_coroutine(make_detaching, struct scene *, scene_));
        ev_run(host, 0);
        CHECK_INT(scene.calls, 1);
        ev_loop_destroy(host);
        CHECK_INT(cora_live_coroutines(), 0);
    }
}

static cora_next close_and_run(cora_coro self)
{
    cora_loop loop = cora_running_loop();
    CHECK_INT(cora_loop_close(loop), CORA_ERUNTIME);
    CHECK_INT(cora_run_forever(loop), CORA_ERUNTIME);
    CHECK(cora_is_error(cora_run_until_complete(loop, cora_sleep(0))));
    return cora_return(self, 7);
}

static void start_closing(cora_args bound)
{
    cora_future task = start(cora_coroutine(close_and_run));
    CHECK_TEXT(outcome(task), "7");
    ++*cora_arg(bound, 0, int *);
}

TEST(closes, "it can neither close the loop that runs it, nor run it again")
{
    cora_loop loop = virtual_loop_new();
    int calls = 0;
    run_in(loop, cora_partial(start_closing, &calls));
    CHECK_INT(calls, 1);
    end(loop);
}

static cora_next stop_and_wait(cora_coro self)
{
    cora_stop(cora_running_loop());
    return cora_await(self, JOB(self)->future, cora_return_nothing);
}

static void start_stopping(cora_args bound)
{
    start(cora_coroutine(stop_and_wait, struct job, .future = cora_arg_future(bound, 0)));
}

TEST(loop_closed, "one that waits goes with its loop, as every task")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_call_soon(loop, cora_partial(start_stopping, cora_future_new(loop)));
    CHECK_INT(cora_run_forever(loop), 0);
    end(loop);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Task was destroyed but it is pending!");
}

static cora_next stop_being_eager(cora_coro self)
{
    cora_reset_task_factory(cora_running_loop());
    return cora_return(self, 7);
}

static void start_resetting(cora_args bound)
{
    cora_future task = cora_create_task(cora_running_loop(), cora_coroutine(stop_being_eager));
    CHECK_TEXT(outcome(task), "7");
    CHECK(!cora_done(cora_create_task(cora_running_loop(), giving(1))));
    ++*cora_arg(bound, 0, int *);
}

TEST(resets_the_factory, "a first step may take away the factory that has just made its task")
{
    cora_loop loop = eager_loop_new();
    int calls = 0;
    run_in(loop, cora_partial(start_resetting, &calls));
    CHECK_INT(calls, 1);
    tick(loop);
    end(loop);
}

static cora_next complete(cora_coro self)
{
    cora_set_result(JOB(self)->future, cora_int(1));
    return cora_return(self, 2);
}

static cora_next fail_it(cora_coro self)
{
    cora_set_exception(JOB(self)->future, cora_error(CORA_EKEY, "gone"));
    return cora_return(self, 2);
}

static void gather_completing(cora_args bound)
{
    cora_loop loop = cora_running_loop();
    cora_future first = cora_future_new(loop);
    bool fails = cora_arg_int(bound, 1);
    cora_awaitable items[] = {
        cora_awaitable_of(first),
        cora_awaitable_of(cora_coroutine(fails ? fail_it : complete, struct job, .future = first)),
    };
    cora_future all = cora_gather(loop, items, 2);
    CHECK(cora_done(first));
    CHECK(!cora_done(all));
    *cora_arg(bound, 0, cora_future *) = cora_keep(all);
}

TEST(completes_a_child, "a gather whose eager task completes another child counts it a tick later")
{
    for (int fails = 0; fails < 2; fails++) {
        cora_loop loop = eager_loop_new();
        cora_future all = { 0 };
        cora_call_soon(loop, cora_partial(gather_completing, &all, fails));
        tick(loop);
        CHECK(!cora_done(all));
        tick(loop);
        CHECK(cora_done(all));
        CHECK_TEXT(outcome(all), fails ? "KeyError: gone" : "[1, 2]");
        cora_release(all);
        end(loop);
    }
}
