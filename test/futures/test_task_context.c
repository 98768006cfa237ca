/*
 * Context variables in tasks: a task runs in a copy of the context that it was made in, all its
 * steps in that one, or in a context that it is given, itself. First what a task sees and what
 * others see of it; then contexts of choice; then what is called from a task: callbacks,
 * operations, children; last the exception handler, which runs in the context of what failed.
 */
#include "helpers.h"

#include <math.h>

/* ---- helpers ---- */

static const cora_variable variable = { "test_task_context",
                                        { &cora_type_static, { .chars = "nope" } } };

static void set(const char *word)
{
    CHECK_INT(cora_context_set(&variable, cora_text(word)), 0);
}

static const char *get(void)
{
    return cora_as_text(cora_context_get(&variable));
}

static const char *get_in(cora_value context)
{
    return cora_as_text(cora_context_value(context, &variable));
}

/* The locals of the coroutines here; each uses what it needs. */
struct job {
    struct notes *notes;
    cora_future future;
    cora_value context; /* held */
    cora_step step;
    const char *word;
    int number, naps;
};

#define JOB(self) cora_locals(self, struct job)

/* Ends a test: no coroutine may be left. */
static void end(cora_loop loop)
{
    virtual_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
}

static bool ended(cora_future task)
{
    return cora_done(task) && cora_is_nothing(cora_exception(task));
}

static cora_next give_got(cora_coro self)
{
    return cora_return(self, cora_got(self));
}

static cora_next give_nothing(cora_coro self)
{
    return cora_return(self, cora_nothing());
}

/* Reads the variable, into the task's result. */
static cora_next give_variable(cora_coro self)
{
    return cora_return(self, cora_context_get(&variable));
}

static cora_next set_word(cora_coro self)
{
    set(JOB(self)->word);
    return cora_return(self, cora_nothing());
}

static cora_next set_after_a_tick(cora_coro self)
{
    return cora_await(self, cora_sleep(0), set_word);
}

static void set_something_else(cora_args bound, cora_future done)
{
    (void)bound, (void)done;
    set("something else");
}

static void complete(cora_args bound)
{
    CHECK_INT(cora_set_result(cora_arg_future(bound, 0), cora_nothing()), 0);
}

/* ---- a copy of the maker's ---- */

static cora_next subtask_woke(cora_coro self)
{
    CHECK_TEXT(get(), "nope");
    set("something else");
    return cora_return(self, cora_nothing());
}

static cora_next subtask(cora_coro self)
{
    CHECK_TEXT(get(), "nope");
    return cora_await(self, cora_sleep(0.01), subtask_woke);
}

static cora_next main_awaited(cora_coro self)
{
    CHECK_TEXT(get(), "yes");
    return cora_return(self, 1);
}

static cora_next main_task(cora_coro self)
{
    CHECK_TEXT(get(), "nope");
    cora_future task = cora_create_task(cora_running_loop(), cora_coroutine(subtask));
    set("yes");
    CHECK_TEXT(get(), "yes");
    return cora_await(self, task, main_awaited);
}

TEST(copied,
     "a task has a copy of the context that it was made in; what is set later, in either, "
     "the other does not see",
     "test_tasks.BaseTaskTests.test_context_1")
{
    cora_loop loop = virtual_loop_new();
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, cora_coroutine(main_task))), 1);
    CHECK_TEXT(get(), "nope");
    end(loop);
}

static cora_next napped(cora_coro self);

static cora_next begin_round(cora_coro self);

/* After each nap: what was set before it is still there. */
static cora_next nap(cora_coro self)
{
    struct job *job = JOB(self);
    char word[20];
    if (job->naps == 3)
        return ++job->number == 2 ? cora_return(self, cora_nothing()) : begin_round(self);
    snprintf(word, sizeof word, "nap-%d-%d", job->number, job->naps);
    set(word);
    return cora_await(self, cora_sleep(0.001), napped);
}

static cora_next napped(cora_coro self)
{
    struct job *job = JOB(self);
    char word[20];
    snprintf(word, sizeof word, "nap-%d-%d", job->number, job->naps++);
    CHECK_TEXT(get(), word);
    return nap(self);
}

static cora_next future_came(cora_coro self)
{
    char word[20];
    snprintf(word, sizeof word, "yes-%d", JOB(self)->number);
    CHECK_TEXT(get(), word);
    JOB(self)->naps = 0;
    return nap(self);
}

static cora_next begin_round(cora_coro self)
{
    char word[20];
    cora_loop loop = cora_running_loop();
    cora_future future = cora_future_new(loop);
    snprintf(word, sizeof word, "yes-%d", JOB(self)->number);
    cora_add_done_callback(future, cora_partial(set_something_else));
    set(word);
    cora_call_soon(loop, cora_partial(complete, future));
    return cora_await(self, future, future_came);
}

TEST(one_for_all_steps, "all steps of a task run in its context, whatever callbacks set meanwhile",
     "test_tasks.BaseTaskTests.test_context_2")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(begin_round, struct job));
    cora_run_until_complete(loop, task);
    CHECK(ended(task));
    CHECK_TEXT(get(), "nope");
    end(loop);
}

TEST(at_its_creation, "what counts is the context when it was made, not when it begins")
{
    cora_loop loop = virtual_loop_new();
    set("before");
    cora_future task = cora_create_task(loop, cora_coroutine(give_variable));
    set("after");
    tick(loop);
    CHECK_TEXT(outcome(task), "\"before\"");
    CHECK_TEXT(get(), "after");
    set("nope");
    end(loop);
}

TEST(made_without_variables, "a task made where no variable is set sees none that is set later")
{
    cora_loop loop = virtual_loop_new();
    CHECK_INT(cora_context_set(&variable, cora_nothing()), 0);
    cora_future first = cora_create_task(loop, cora_coroutine(give_variable));
    set("later");
    cora_future second = cora_create_task(loop, cora_coroutine(give_variable));
    tick(loop);
    CHECK(cora_is_nothing(cora_result(first)));
    CHECK_TEXT(outcome(second), "\"later\"");
    CHECK_TEXT(get(), "later");
    end(loop);
}

static cora_next look_and_go_on(cora_coro self)
{
    struct job *job = JOB(self);
    add_note(job->notes, get());
    if (job->number-- == 0)
        return cora_return(self, cora_nothing());
    set(job->word);
    return cora_await(self, cora_sleep(0), look_and_go_on);
}

TEST(taking_turns, "tasks that take turns keep their values apart")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    const char *words[] = { "a", "b", "c" };
    for (int i = 0; i < 3; i++)
        cora_spawn(loop, cora_coroutine(look_and_go_on, struct job, .notes = &notes,
                                        .word = words[i], .number = 2));
    ticks(loop, 3);
    CHECK_TEXT(notes.text, "nope nope nope a b c a b c");
    CHECK_TEXT(get(), "nope");
    end(loop);
}

TEST(tasks_beside_callbacks, "callbacks between the steps of a task do not see what it has set")
{
    cora_loop loop = virtual_loop_new();
    cora_spawn(loop, cora_coroutine(set_word, struct job, .word = "the task's"));
    CHECK_TEXT(get(), "nope");
    tick(loop);
    CHECK_TEXT(get(), "nope");
    cora_future task = cora_create_task(loop, cora_coroutine(give_variable));
    tick(loop);
    CHECK_TEXT(outcome(task), "\"nope\"");
    end(loop);
}

/* ---- nested coroutines ---- */

static cora_next after_inner(cora_coro self)
{
    CHECK_TEXT(get(), "inner");
    return cora_return(self, cora_nothing());
}

static cora_next await_inner(cora_coro self)
{
    set("outer");
    return cora_await(self, cora_coroutine(JOB(self)->step, struct job, .word = "inner"),
                      after_inner);
}

TEST(nested, "a coroutine that is awaited runs in the context of the task: what it sets stays")
{
    cora_loop loop = virtual_loop_new();
    cora_step steps[] = { set_word, set_after_a_tick };
    for (int i = 0; i < 2; i++) {
        cora_future task =
            cora_create_task(loop, cora_coroutine(await_inner, struct job, .step = steps[i]));
        cora_run_until_complete(loop, task);
        CHECK(ended(task));
    }
    end(loop);
}

static cora_next look_in_finally(cora_coro self)
{
    add_note(JOB(self)->notes, get());
    return cora_go_on(self);
}

static cora_next sleep_with_finally(cora_coro self)
{
    set(JOB(self)->word);
    cora_finally(self, look_in_finally);
    return cora_await(self, cora_sleep(10), give_nothing);
}

TEST(finally, "a finally runs in the context of the task, too")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future task = cora_create_task(
        loop, cora_coroutine(sleep_with_finally, struct job, .notes = &notes, .word = "task"));
    tick(loop);
    cora_cancel(task);
    tick(loop);
    CHECK_TEXT(notes.text, "task");
    end(loop);
}

/* ---- a context of choice ---- */

static cora_next second_is_over(cora_coro self)
{
    CHECK_TEXT(get_in(JOB(self)->context), "2");
    CHECK_TEXT(get(), "nope");
    return cora_return(self, cora_nothing());
}

static cora_future task_in(cora_coro self, const char *word, bool constructor)
{
    cora_loop loop = cora_running_loop();
    cora_coro coro = cora_coroutine(set_after_a_tick, struct job, .word = word);
    struct cora_task_options options = { .context = JOB(self)->context };
    return constructor ? cora_task_new(loop, coro, &options, CORA_PLACE("constructed"))
                       : cora_create_task(loop, coro, .context = JOB(self)->context);
}

static cora_next first_is_over(cora_coro self)
{
    CHECK_TEXT(get_in(JOB(self)->context), "1");
    return cora_await(self, task_in(self, "2", JOB(self)->number), second_is_over);
}

static cora_next give_own_context(cora_coro self)
{
    JOB(self)->context = cora_hold(self, cora_copy_context());
    CHECK_TEXT(get_in(JOB(self)->context), "nope");
    return cora_await(self, task_in(self, "1", JOB(self)->number), first_is_over);
}

TEST(of_choice_constructed, "a task that is constructed with a context runs in that itself",
     "test_tasks.BaseTaskTests.test_context_4")
{
    cora_loop loop = virtual_loop_new();
    cora_coro coro = cora_coroutine(give_own_context, struct job, .number = true);
    cora_value value = cora_run_until_complete(loop, coro);
    CHECK(cora_is_nothing(value));
    end(loop);
}

TEST(of_choice, "a task that is created with the option .context runs in that context itself",
     "test_tasks.BaseTaskTests.test_context_6")
{
    cora_loop loop = virtual_loop_new();
    cora_coro coro = cora_coroutine(give_own_context, struct job, .number = false);
    cora_value value = cora_run_until_complete(loop, coro);
    CHECK(cora_is_nothing(value));
    end(loop);
}

static cora_next pass_the_ball(cora_coro self)
{
    struct job *job = JOB(self);
    add_note(job->notes, get());
    set(job->word);
    if (job->number-- == 0)
        return cora_return(self, cora_nothing());
    return cora_await(self, cora_sleep(0), pass_the_ball);
}

TEST(shared, "two tasks in one context see what the other one sets")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_value context = cora_copy(cora_copy_context());
    const char *words[] = { "ping", "pong" };
    for (int i = 0; i < 2; i++)
        cora_spawn(loop,
                   cora_coroutine(pass_the_ball, struct job, .notes = &notes, .word = words[i],
                                  .number = 1),
                   .context = context);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "nope ping pong ping");
    CHECK_TEXT(get_in(context), "pong");
    CHECK_TEXT(get(), "nope");
    cora_drop(context);
    end(loop);
}

TEST(get_context,
     "get_context gives the very context that the task was made with, also when it is "
     "done",
     "test_tasks.BaseTaskTests.test_get_context")
{
    cora_loop loop = virtual_loop_new();
    cora_value context = cora_copy(cora_copy_context());
    cora_future task = cora_create_task(
        loop, cora_coroutine(set_after_a_tick, struct job, .word = "set"), .context = context);
    CHECK(cora_equal(cora_get_context(task), context)); /* contexts are equal by identity */
    CHECK(!cora_equal(cora_get_context(task), cora_copy_context()));
    ticks(loop, 2);
    CHECK(cora_done(task));
    CHECK(cora_equal(cora_get_context(task), context));
    CHECK_TEXT(get_in(cora_get_context(task)), "set");
    cora_drop(context);
    end(loop);
}

TEST(get_context_of_a_copy, "without that it is a copy of how the task's context is now")
{
    cora_loop loop = virtual_loop_new();
    set("before");
    cora_future task =
        cora_create_task(loop, cora_coroutine(set_after_a_tick, struct job, .word = "set"));
    set("nope");
    CHECK_TEXT(get_in(cora_get_context(task)), "before");
    ticks(loop, 2);
    CHECK_TEXT(get_in(cora_get_context(task)), "set");
    CHECK_TEXT(get(), "nope");
    end(loop);
}

static cora_next get_own_context(cora_coro self)
{
    set("own");
    return cora_return(self, get_in(cora_get_context(cora_current_task(cora_running_loop()))));
}

TEST(get_context_in_a_step, "in its step this is the current context, of its own or of choice")
{
    cora_loop loop = virtual_loop_new();
    cora_value context = cora_copy(cora_copy_context());
    cora_future task = cora_create_task(loop, cora_coroutine(get_own_context));
    cora_future in = cora_create_task(loop, cora_coroutine(get_own_context), .context = context);
    tick(loop);
    CHECK_TEXT(outcome(task), "\"own\"");
    CHECK_TEXT(outcome(in), "\"own\"");
    CHECK_TEXT(get_in(context), "own");
    cora_drop(context);
    end(loop);
}

TEST(context_is_kept, "a task keeps the values in its context as long as it is there")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    CHECK_INT(cora_context_set(&variable, cora_own(&drops, &counted)), 0);
    cora_future task =
        cora_create_task(loop, cora_coroutine(set_after_a_tick, struct job, .word = "another"));
    set("nope");
    cora_drop_temporaries();
    tick(loop);
    CHECK_INT(drops, 0);
    tick(loop);
    CHECK_INT(drops, 1); /* it has set another */
    CHECK(cora_done(task));
    end(loop);
}

TEST(context_is_dropped, "it lets them go with itself, or with its loop")
{
    for (int closed = 0; closed < 2; closed++) {
        cora_loop loop = virtual_loop_new();
        struct reports reports;
        int drops = 0;
        collect_reports(loop, &reports);
        CHECK_INT(cora_context_set(&variable, cora_own(&drops, &counted)), 0);
        CHECK_INT(cora_spawn(loop, cora_sleep(1)), 0);
        cora_future task = cora_create_task(loop, cora_coroutine(give_nothing));
        set("nope");
        cora_drop_temporaries();
        tick(loop);
        CHECK_INT(cora_release(task), 0);
        ticks(loop, 2);
        CHECK_INT(drops, 0); /* the sleeper has it */
        if (!closed)
            run_for(loop, 2);
        CHECK_INT(drops, !closed);
        end(loop);
        CHECK_INT(drops, 1);
    }
}

/* ---- what a task calls ---- */

static void note_variable(cora_args bound)
{
    add_note(cora_arg(bound, 0, struct notes *), get());
    set("a callback's");
}

static void note_variable_done(cora_args bound, cora_future done)
{
    CHECK(cora_done(done));
    note_variable(bound);
}

static cora_next call_around(cora_coro self)
{
    struct job *job = JOB(self);
    cora_loop loop = cora_running_loop();
    set("task");
    cora_call_soon(loop, cora_partial(note_variable, job->notes));
    cora_call_later(loop, 0.1, cora_partial(note_variable, job->notes));
    cora_add_done_callback(job->future, cora_partial(note_variable_done, job->notes));
    cora_when_done(cora_sleep(0), cora_partial(note_variable_done, job->notes));
    set("later");
    return cora_await(self, cora_sleep(1), give_variable);
}

TEST(callbacks, "callbacks that a step registers run in copies of the task's context of that time")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future future = cora_future_new(loop);
    cora_future task = cora_create_task(
        loop, cora_coroutine(call_around, struct job, .notes = &notes, .future = future));
    tick(loop);
    cora_set_result(future, cora_nothing());
    cora_run_until_complete(loop, task);
    CHECK_TEXT(notes.text, "task task task task");
    CHECK_TEXT(outcome(task), "\"later\"");
    end(loop);
}

static cora_next gather_children(cora_coro self)
{
    cora_coro coros[3];
    set("at the gather");
    for (int i = 0; i < 3; i++)
        coros[i] = i == 1 ? cora_coroutine(set_word, struct job, .word = "a child's")
                          : cora_coroutine(give_variable);
    cora_future all = cora_gather(cora_running_loop(), coros, 3);
    set("after it");
    return cora_await(self, all, give_got);
}

TEST(children, "the children of a gather have copies of the context of its call, each one")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(gather_children));
    cora_run_until_complete(loop, task);
    CHECK_TEXT(outcome(task), "[\"at the gather\", None, \"at the gather\"]");
    end(loop);
}

TEST(done_callback_of_a_task,
     "what a task has set, its done-callbacks do not see: theirs is a copy "
     "of where they were added")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future task =
        cora_create_task(loop, cora_coroutine(set_word, struct job, .word = "the task's"));
    cora_add_done_callback(task, cora_partial(note_variable_done, &notes));
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "nope");
    CHECK_TEXT(get(), "nope");
    end(loop);
}

static cora_future factory(cora_args bound, cora_loop loop, cora_coro coro,
                           const struct cora_task_options *options)
{
    add_note(cora_arg(bound, 0, struct notes *), get());
    return cora_task_new(loop, coro, options, CORA_PLACE("made"));
}

TEST(factory, "the task factory runs in the context of who makes the task, and passes one on")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    set("when it is set");
    cora_set_task_factory(loop, cora_partial(factory, &notes));
    set("maker");
    cora_value context = cora_copy(cora_copy_context());
    set("another");
    cora_future task = cora_create_task(loop, cora_coroutine(give_variable));
    cora_future in = cora_create_task(loop, cora_coroutine(give_variable), .context = context);
    set("nope");
    tick(loop);
    CHECK_TEXT(notes.text, "another another");
    CHECK_TEXT(outcome(task), "\"another\"");
    CHECK_TEXT(outcome(in), "\"maker\"");
    cora_drop(context);
    end(loop);
}

/* ---- the exception handler ---- */

static void note_context_of_report(cora_args bound, cora_loop loop,
                                   const struct cora_report *report)
{
    (void)loop;
    CHECK(report->message != NULL);
    add_note(cora_arg(bound, 0, struct notes *), get());
    set("a handler's");
}

static cora_next raise_error(cora_coro self)
{
    return cora_raise(self, cora_error(CORA_EVALUE, "wrong"));
}

static cora_next set_and_fail(cora_coro self)
{
    set(JOB(self)->word);
    return cora_await(self, cora_sleep(0), raise_error);
}

TEST(handler_of_an_unread_error,
     "the handler that is told of an error that nobody read runs in the "
     "task's context",
     "test_futures2.FutureTests.test_task_exc_handler_correct_context")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_set_exception_handler(loop, cora_partial(note_context_of_report, &notes));
    CHECK_INT(cora_spawn(loop, cora_coroutine(set_and_fail, struct job, .word = "bar")), 0);
    ticks(loop, 3);
    CHECK_TEXT(notes.text, "bar");
    CHECK_TEXT(get(), "nope");
    end(loop);
}

TEST(handler_of_a_context_of_choice, "of a context of choice that is the context itself")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_value context = cora_copy(cora_copy_context());
    cora_set_exception_handler(loop, cora_partial(note_context_of_report, &notes));
    cora_spawn(loop, cora_coroutine(set_and_fail, struct job, .word = "bar"), .context = context);
    ticks(loop, 3);
    CHECK_TEXT(notes.text, "bar");
    CHECK_TEXT(get_in(context), "a handler's");
    CHECK_TEXT(get(), "nope");
    cora_drop(context);
    end(loop);
}

TEST(handler_of_a_destroyed_task, "so it is when tasks are pending as their loop is closed")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_value context = cora_copy(cora_copy_context());
    cora_set_exception_handler(loop, cora_partial(note_context_of_report, &notes));
    cora_spawn(loop, cora_coroutine(look_and_go_on, struct job, .notes = &notes, .word = "a",
                                    .number = 9));
    cora_spawn(
        loop, cora_coroutine(look_and_go_on, struct job, .notes = &notes, .word = "b", .number = 9),
        .context = context);
    cora_spawn(loop, cora_coroutine(give_nothing));
    ticks(loop, 1);
    set("closer's");
    cora_spawn(loop, cora_coroutine(give_nothing)); /* has not started */
    set("nope");
    end(loop);
    CHECK_TEXT(notes.text, "nope nope a b closer's");
    CHECK_TEXT(get_in(context), "a handler's");
    CHECK_TEXT(get(), "nope");
    cora_drop(context);
}
