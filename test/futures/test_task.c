/*
 * Tasks: a coroutine that a loop drives, and the future of its outcome. First how one is made and
 * ends, and what is no coroutine; then sleeps in tasks; names; which task is the current one, and
 * which there are; the stack; the task factory; what a task prints; and last what is reported:
 * errors that nobody read, and tasks that are pending when their loop is closed.
 */
#include "helpers.h"

#include <ev.h>
#include <math.h>
#include <pthread.h>

/* ---- helpers ---- */

/* The locals of the coroutines here; each uses what it needs. */
struct job {
    struct notes *notes;
    cora_future future, other;
    cora_future *ret_task;
    const char *word;
    int number;
};

#define JOB(self) cora_locals(self, struct job)

/* Ends a test: no coroutine may be left. */
static void end(cora_loop loop)
{
    virtual_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
}

/* Whether the last call that failed did so with this code, and these words in its message. */
static bool refused(int code, const char *words)
{
    cora_value error = cora_last_error();
    return cora_error_code(error) == code && strstr(cora_error_message(error), words) != NULL;
}

static bool has(const char *text, const char *words)
{
    return strstr(text, words) != NULL;
}

/* Whether it has ended, and well. */
static bool ended(cora_future task)
{
    return cora_done(task) && cora_is_nothing(cora_exception(task));
}

/* How many done-callbacks a future prints. */
static int callbacks_of(cora_future future)
{
    const char *text = strstr(printed(future), "cb=[");
    int count = 0;
    for (; text && *text && *text != ']'; text++)
        count += *text == '(';
    return count;
}

static cora_future current_task(void)
{
    return cora_current_task(cora_running_loop());
}

/* Steps. */
static cora_next give_nothing(cora_coro self)
{
    return cora_return(self, cora_nothing());
}

static cora_next give_got(cora_coro self)
{
    return cora_return(self, cora_got(self));
}

static cora_next give_number(cora_coro self)
{
    return cora_return(self, JOB(self)->number);
}

static cora_next note_word(cora_coro self)
{
    add_note(JOB(self)->notes, JOB(self)->word);
    return cora_return(self, cora_nothing());
}

static cora_next await_future(cora_coro self)
{
    return cora_await(self, JOB(self)->future, give_got);
}

static cora_next raise_value_error(cora_coro self)
{
    return cora_raise(self, cora_error(CORA_EVALUE, "spilled"));
}

static cora_next sleep_long(cora_coro self)
{
    return cora_await(self, cora_sleep(10), give_number);
}

static cora_next yield_once(cora_coro self)
{
    return cora_yield(self, cora_nothing(), give_number);
}

/* A coroutine that returns a number; one that awaits a future and returns what it got. */
static cora_coro giving(int number)
{
    return cora_coroutine(give_number, struct job, .number = number);
}

static cora_coro waiting_for(cora_future future)
{
    return cora_coroutine(await_future, struct job, .future = future);
}

/* ---- from its making to its end ---- */

TEST(life, "a task belongs to the loop that it was made for, and has what its coroutine returns",
     "test_tasks.BaseTaskTests.test_task_class")
{
    cora_loop loop = virtual_loop_new(), other = cora_loop_new(NULL);
    cora_future task = cora_create_task(loop, giving(7));
    CHECK(!cora_done(task));
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, task)), 7);
    CHECK(cora_done(task));
    CHECK_TEXT(outcome(task), "7");
    CHECK(cora_same(cora_future_loop(task), loop));
    task = cora_create_task(other, giving(8));
    CHECK_INT(cora_as_int(cora_run_until_complete(other, task)), 8);
    CHECK(cora_same(cora_future_loop(task), other));
    cora_loop_close(other);
    end(loop);
}

TEST(first_step, "its first step runs in the next tick, between what was queued before and after")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_call_soon(loop, cora_partial(note, &notes, "before"));
    cora_future task = cora_create_task(
        loop, cora_coroutine(note_word, struct job, .notes = &notes, .word = "step"));
    cora_call_soon(loop, cora_partial(note, &notes, "after"));
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "before step after");
    CHECK(cora_done(task));
    end(loop);
}

TEST(two_of_one_kind, "of one step any number of tasks may be made, each on its own",
     "test_tasks.BaseTaskTests.test_create_task_with_async_function")
{
    cora_loop loop = virtual_loop_new();
    cora_future one = cora_create_task(loop, giving(1)), other = cora_create_task(loop, giving(2));
    CHECK(!cora_same(one, other));
    tick(loop);
    CHECK_TEXT(outcome(one), "1");
    CHECK_TEXT(outcome(other), "2");
    end(loop);
}

TEST(generator_coroutine, "a task can also be made of a generator that was made awaitable",
     "test_tasks.BaseTaskTests.test_create_task_with_asynclike_function")
{
    cora_loop loop = virtual_loop_new();
    for (int i = 0; i < 2; i++) {
        cora_future task = cora_create_task(
            loop, cora_generator_coroutine(cora_generator(give_number, struct job, .number = 42)));
        CHECK(!cora_done(task));
        tick(loop);
        CHECK_TEXT(outcome(task), "42");
        task = cora_create_task(
            loop, cora_generator_coroutine(cora_generator(yield_once, struct job, .number = 43)));
        tick(loop);
        CHECK(!cora_done(task));
        tick(loop);
        CHECK_TEXT(outcome(task), "43");
    }
    end(loop);
}

TEST(of_an_operation, "a task of an operation is a task: it has a name and a coroutine around it",
     "test_tasks.BaseTaskTests.test_ensure_future_task_awaitable")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_sleep_result(0, cora_text("ok")), .name = "nap");
    CHECK(cora_is_task(task));
    CHECK_TEXT(cora_get_name(task), "nap");
    CHECK_INT(cora_coro_state(cora_get_coro(task)), CORA_CORO_CREATED);
    CHECK_INT(cora_list_size(cora_all_tasks(loop)), 1);
    tick(loop);
    CHECK_INT(cora_coro_state(cora_get_coro(task)), CORA_CORO_SUSPENDED);
    tick(loop);
    CHECK_TEXT(outcome(task), "\"ok\"");
    CHECK_INT(cora_coro_state(cora_get_coro(task)), CORA_CORO_CLOSED);
    end(loop);
}

TEST(array_of_an_operation, "what an operation borrows need only live until its task is made")
{
    cora_loop loop = virtual_loop_new();
    cora_future futures[2];
    make_futures(loop, futures, 2);
    cora_future kept[2] = { futures[0], futures[1] };
    cora_future task =
        cora_create_task(loop, cora_wait(futures, 2, INFINITY, CORA_FIRST_COMPLETED));
    futures[0] = futures[1] = (cora_future){ 0 };
    ticks(loop, 2);
    cora_set_result(kept[1], cora_int(1));
    ticks(loop, 2);
    CHECK(cora_same(cora_as_future(cora_list_at(cora_list_at(cora_result(task), 0), 0)), kept[1]));
    end(loop);
}

static cora_next return_future(cora_coro self)
{
    return cora_return(self, JOB(self)->future);
}

static cora_next complete_future(cora_coro self)
{
    CHECK_INT(cora_set_result(JOB(self)->future, cora_text("later")), 0);
    return cora_return(self, cora_nothing());
}

TEST(returned_future, "a future that the coroutine returns is the task's result: nobody awaits it",
     "test_tasks.BaseTaskTests.test_coroutine_non_gen_function_return_future")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_future task =
        cora_create_task(loop, cora_coroutine(return_future, struct job, .future = future));
    cora_future other =
        cora_create_task(loop, cora_coroutine(complete_future, struct job, .future = future));
    tick(loop);
    CHECK(cora_done(task));
    CHECK(cora_same(cora_as_future(cora_result(task)), future));
    CHECK_TEXT(outcome(future), "\"later\"");
    CHECK(cora_is_nothing(cora_result(other)));
    end(loop);
}

static cora_next take_drink(cora_coro self)
{
    CHECK_TEXT(cora_as_text(cora_got(self)), "tea");
    return cora_return(self, cora_nothing());
}

static cora_next order_drink(cora_coro self)
{
    return cora_await(self, JOB(self)->future, take_drink);
}

TEST(awaits_a_future,
     "what it awaits has a done-callback by the end of the step, and its next step "
     "gets the result",
     "test_tasks.BaseTaskTests.test_step_result_future")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_future task =
        cora_create_task(loop, cora_coroutine(order_drink, struct job, .future = future));
    tick(loop);
    CHECK_INT(callbacks_of(future), 1);
    cora_set_result(future, cora_text("tea"));
    ticks(loop, 2);
    CHECK(cora_done(task));
    CHECK(cora_is_nothing(cora_result(task)));
    end(loop);
}

static cora_next look_at_callbacks(cora_coro self)
{
    JOB(self)->number = callbacks_of(current_task());
    return cora_await(self, JOB(self)->future, give_got);
}

static void count_and_complete(cora_args bound)
{
    cora_future future = cora_arg_future(bound, 0), task = cora_arg_future(bound, 1);
    CHECK_INT(callbacks_of(future), 1);
    CHECK_INT(callbacks_of(task), 1); /* the run's */
    CHECK_INT(cora_set_result(future, cora_text("spam")), 0);
}

TEST(one_callback_each,
     "a task adds one done-callback to what it awaits, and a run one to the task",
     "test_tasks.add_subclass_tests.test_subclasses_ctask_cfuture")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    cora_future task =
        cora_create_task(loop, cora_coroutine(look_at_callbacks, struct job, .future = future));
    CHECK_INT(callbacks_of(task), 0);
    cora_call_soon(loop, cora_partial(count_and_complete, future, task));
    CHECK_TEXT(cora_as_text(cora_run_until_complete(loop, task)), "spam");
    CHECK_INT(callbacks_of(task), 0);
    end(loop);
}

static cora_next make_bare(cora_coro self)
{
    cora_future task = cora_create_task(cora_running_loop(), giving(1));
    CHECK(cora_same(cora_future_loop(task), cora_current_loop()));
    return cora_await(self, task, give_got);
}

TEST(made_in_a_step, "a step may make a task of the running loop, and await it",
     "test_tasks.BaseTaskTests.test_bare_create_task")
{
    cora_loop loop = virtual_loop_new();
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, cora_coroutine(make_bare))), 1);
    end(loop);
}

static cora_next make_named(cora_coro self)
{
    cora_future task =
        cora_create_task(cora_running_loop(), cora_coroutine(give_nothing), .name = "No-op");
    CHECK_TEXT(cora_get_name(task), "No-op");
    return cora_await(self, task, give_got);
}

TEST(named_in_a_step, "a task has its name at once, before its coroutine has begun",
     "test_tasks.BaseTaskTests.test_bare_create_named_task")
{
    cora_loop loop = virtual_loop_new();
    cora_value got = cora_run_until_complete(loop, cora_coroutine(make_named));
    CHECK(cora_is_nothing(got));
    end(loop);
}

static cora_next nap_and_stop(cora_coro self)
{
    struct job *job = JOB(self);
    if (++job->number == 3)
        cora_stop(cora_running_loop());
    return cora_await(self, cora_sleep(0.1), nap_and_stop);
}

TEST(stopped_run, "a run that is stopped before its task is done says so; the task can go on",
     "test_tasks.BaseTaskTests.test_stop_while_run_in_complete")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(nap_and_stop, struct job));
    cora_value value = cora_run_until_complete(loop, task);
    CHECK_INT(cora_error_code(value), CORA_ERUNTIME);
    CHECK_TEXT(cora_error_message(value), "Event loop stopped before Future completed.");
    CHECK(!cora_done(task));
    CHECK_INT(cora_locals(cora_get_coro(task), struct job)->number, 3); /* two naps are over */
    CHECK_REAL(cora_time(loop), START + 0.2, LATE);
    CHECK_INT(cora_live(loop), 2); /* the task, and the timer of the third */
    CHECK(cora_cancel(task));
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, task)), CORA_ECANCELLED);
    end(loop);
}

static cora_next await_itself(cora_coro self)
{
    return cora_await(self, current_task(), give_got);
}

TEST(awaits_itself, "a task that awaits itself fails with a RuntimeError, which its next step gets",
     "test_tasks.BaseTaskTests.test_task_awaits_on_itself")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(await_itself), .name = "ouroboros");
    cora_value error = cora_run_until_complete(loop, task);
    CHECK_INT(cora_error_code(error), CORA_ERUNTIME);
    CHECK(has(cora_error_message(error), "Task cannot await on itself: <Task pending name='ouro"));
    end(loop);
}

static cora_next raise_exit(cora_coro self)
{
    return cora_raise(self, cora_error(JOB(self)->number, "enough"));
}

TEST(fatal, "a task that raises SystemExit or KeyboardInterrupt fails with it, and leaves the run")
{
    const int codes[] = { CORA_ESYSTEMEXIT, CORA_EKEYBOARDINTERRUPT };
    for (int i = 0; i < 2; i++) {
        cora_loop loop = virtual_loop_new();
        struct notes notes = { "" };
        cora_future task =
            cora_create_task(loop, cora_coroutine(raise_exit, struct job, .number = codes[i]));
        cora_call_soon(loop, cora_partial(note, &notes, "next run"));
        CHECK_INT(cora_run_forever(loop), codes[i]);
        CHECK(is_error(task, codes[i]));
        CHECK_TEXT(notes.text, "");
        tick(loop);
        CHECK_TEXT(notes.text, "next run");
        end(loop);
    }
}

TEST(fatal_in_a_run,
     "a run until such a task is complete gives its error, which counts as read, and "
     "leaves nothing behind")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_value error = cora_run_until_complete(
        loop, cora_coroutine(raise_exit, struct job, .number = CORA_ESYSTEMEXIT));
    CHECK_INT(cora_error_code(error), CORA_ESYSTEMEXIT);
    CHECK_TEXT(cora_error_message(error), "enough");
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, giving(5))), 5);
    tick(loop);
    CHECK_INT(cora_live(loop), 0);
    end(loop);
    CHECK_INT(reports.count, 0);
}

struct family {
    cora_future children[2];
};

static cora_next read_children(cora_coro self)
{
    struct family *family = cora_locals(self, struct family);
    CHECK_INT(cora_error_code(cora_result(family->children[0])), CORA_ESTALE);
    CHECK_TEXT(outcome(family->children[1]), "2");
    return cora_return(self, family->children[1]);
}

static cora_next first_child_came(cora_coro self)
{
    CHECK_INT(cora_as_int(cora_got(self)), 1);
    return cora_await(self, cora_sleep(1), read_children);
}

static cora_next await_first_child(cora_coro self)
{
    return cora_await(self, cora_locals(self, struct family)->children[0], first_child_came);
}

static cora_next make_children(cora_coro self)
{
    struct family *family = cora_locals(self, struct family);
    for (int i = 0; i < 2; i++)
        family->children[i] = cora_create_task(cora_running_loop(), giving(i + 1));
    return cora_await(self, cora_sleep(1), await_first_child);
}

TEST(kept_by_its_maker,
     "a task made in a step is the coroutine's until that has awaited it, or ends")
{
    cora_loop loop = virtual_loop_new();
    cora_value value = cora_run_until_complete(loop, cora_coroutine(make_children, struct family));
    CHECK_INT(cora_error_code(cora_result(cora_as_future(value))), CORA_ESTALE);
    end(loop);
}

TEST(spawn, "a task that nobody wants to know of again runs all the same, and is then gone")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    CHECK_INT(
        cora_spawn(loop, cora_coroutine(note_word, struct job, .notes = &notes, .word = "ran")), 0);
    CHECK_INT(cora_spawn(loop, cora_sleep(1), .name = "nap"), 0);
    CHECK_INT(cora_list_size(cora_all_tasks(loop)), 2);
    tick(loop);
    CHECK_TEXT(notes.text, "ran");
    CHECK_INT(cora_list_size(cora_all_tasks(loop)), 1);
    run_for(loop, 2);
    CHECK_INT(cora_live(loop), 0);
    end(loop);
}

TEST(kept_as_futures, "a task of main()'s stays until it is released, and its handle is stale then")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, giving(1));
    ticks(loop, 5);
    CHECK_TEXT(outcome(task), "1");
    CHECK_INT(cora_release(task), 0);
    tick(loop);
    CHECK_INT(cora_error_code(cora_result(task)), CORA_ESTALE);
    CHECK(!cora_is_task(task));
    CHECK_INT(cora_live(loop), 0);
    end(loop);
}

TEST(is_task, "a task is a task, pending or done; futures, gathers and operations are none")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, giving(1)), future = cora_future_new(loop);
    CHECK(cora_is_task(task));
    tick(loop);
    CHECK(cora_is_task(task));
    CHECK(!cora_is_task(future));
    CHECK(!cora_is_task(cora_gather(loop, &future, 1)));
    CHECK(!cora_is_task(cora_ensure_future(loop, cora_sleep(0))));
    CHECK(!cora_is_task((cora_future){ 0 }));
    end(loop);
}

TEST(no_task, "what only tasks have is refused for other futures, null and stale ones")
{
    cora_loop loop = virtual_loop_new();
    struct cora_frame frame = { NULL, NULL, -1 };
    cora_future none[3] = { cora_future_new(loop), { 0 }, cora_future_new(loop) };
    const int codes[3] = { CORA_ETYPE, 0, CORA_ESTALE };
    cora_cancel(none[2]);
    cora_release(none[2]);
    tick(loop);
    for (int i = 0; i < 3; i++) {
        int code = codes[i] ? codes[i] : cora_error_code(cora_result(none[i]));
        CHECK_TEXT(cora_get_name(none[i]), "");
        CHECK_INT(cora_error_code(cora_last_error()), code);
        CHECK_INT(cora_set_name(none[i], "name"), code);
        CHECK_INT(cora_cancelling(none[i]), 0);
        CHECK_INT(cora_uncancel(none[i]), 0);
        CHECK(cora_is_null(cora_get_coro(none[i])));
        CHECK_INT(cora_error_code(cora_get_context(none[i])), code);
        CHECK_INT(cora_get_stack(none[i], &frame, 1), 0);
        CHECK_INT(frame.line, -1);
    }
    end(loop);
}

/* ---- what no task can be made of ---- */

TEST(no_coroutine, "of a null coroutine, a generator or a future no task can be made: a TypeError",
     "test_tasks.BaseTaskTests.test_create_task_with_noncoroutine")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    for (int i = 0; i < 2; i++) {
        CHECK(cora_is_null(cora_create_task(loop, cora_coroutine(NULL))));
        CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
        CHECK(cora_is_null(cora_create_task(loop, cora_generator(give_nothing))));
        CHECK(refused(CORA_ETYPE, "give_nothing"));
        CHECK(cora_is_null(cora_create_task(loop, cora_future_new(loop))));
        CHECK(refused(CORA_ETYPE, "coroutine was expected"));
        CHECK_INT(cora_spawn(loop, cora_future_new(loop)), CORA_ETYPE);
    }
    CHECK_INT(cora_list_size(cora_all_tasks(loop)), 0);
    tick(loop);
    end(loop);
    CHECK_INT(reports.count, 0);
}

TEST(coroutine_of_another, "of a coroutine that has a task, or has ended, no second can be made")
{
    cora_loop loop = virtual_loop_new();
    cora_coro coro = giving(1);
    cora_future task = cora_create_task(loop, coro);
    CHECK(cora_is_null(cora_create_task(loop, coro)));
    CHECK(refused(CORA_ERUNTIME, "awaited already"));
    tick(loop);
    CHECK_TEXT(outcome(task), "1");
    CHECK(cora_is_null(cora_create_task(loop, coro)));
    CHECK(refused(CORA_ERUNTIME, "already awaited"));
    cora_coro closed = giving(2);
    CHECK_INT(cora_coro_close(closed), 0);
    CHECK(cora_is_null(cora_create_task(loop, closed)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ERUNTIME);
    end(loop);
}

struct owner {
    int *drops;
    cora_future future;
};

static void count_owner(void *locals)
{
    ++*((struct owner *)locals)->drops;
}

static cora_next owner_waits(cora_coro self)
{
    return cora_await(self, cora_locals(self, struct owner)->future, give_nothing);
}

static cora_coro owning(int *drops, cora_future future)
{
    return cora_coroutine_owning(owner_waits, count_owner, struct owner, .drops = drops,
                                 .future = future);
}

TEST(closed_loop,
     "in a closed loop, or of none, no task can be made: the coroutine is closed, and "
     "nothing reported",
     "test_tasks.BaseTaskTests.test_error_in_call_soon")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    int drops = 0;
    collect_reports(loop, &reports);
    CHECK(cora_is_null(cora_create_task((cora_loop){ 0 }, owning(&drops, (cora_future){ 0 }))));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ESTALE);
    CHECK_INT(drops, 1);
    cora_loop_close(loop);
    CHECK(cora_is_null(cora_create_task(loop, owning(&drops, (cora_future){ 0 }))));
    CHECK(refused(CORA_ERUNTIME, "Event loop is closed"));
    CHECK_INT(drops, 2);
    CHECK_INT(cora_spawn(loop, owning(&drops, (cora_future){ 0 })), CORA_ERUNTIME);
    CHECK_INT(drops, 3);
    CHECK(cora_is_error(cora_all_tasks(loop)));
    end(loop);
    CHECK_INT(reports.count, 0);
}

TEST(wrong_context, "the option .context wants a context: else a TypeError, and the coroutine is "
                    "closed")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    cora_coro coro = owning(&drops, (cora_future){ 0 });
    CHECK(cora_is_null(cora_create_task(loop, coro, .context = cora_int(1))));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
    CHECK_INT(drops, 1);
    end(loop);
}

struct visit {
    cora_loop loop;
    cora_future task;
    cora_coro coro;
};

static bool wrong_thread(void)
{
    return cora_error_code(cora_last_error()) == CORA_EWRONGTHREAD;
}

static void *visit_from_another_thread(void *argument)
{
    struct visit *visit = argument;
    struct cora_frame frame;
    CHECK(cora_is_null(cora_create_task(visit->loop, giving(1))));
    CHECK(wrong_thread());
    CHECK_INT(cora_spawn(visit->loop, giving(1)), CORA_EWRONGTHREAD);
    CHECK(!cora_cancel(visit->task));
    CHECK_INT(cora_cancelling(visit->task), 0);
    CHECK_TEXT(cora_get_name(visit->task), "");
    CHECK(wrong_thread());
    CHECK_INT(cora_set_name(visit->task, "theirs"), CORA_EWRONGTHREAD);
    CHECK(cora_is_null(cora_get_coro(visit->task)));
    CHECK_INT(cora_get_stack(visit->task, &frame, 1), 0);
    CHECK_INT(cora_error_code(cora_all_tasks(visit->loop)), CORA_EWRONGTHREAD);
    CHECK(cora_is_null(cora_current_task(visit->loop)));
    CHECK_INT(cora_reset_task_factory(visit->loop), CORA_EWRONGTHREAD);
    cora_loop own = cora_loop_new(NULL);
    CHECK(cora_is_null(cora_create_task(own, visit->coro)));
    CHECK(wrong_thread());
    cora_loop_close(own);
    CHECK_INT(cora_live_coroutines(), 0);
    return NULL;
}

TEST(another_thread, "tasks, and coroutines, belong to a thread: another one is refused all of it")
{
    struct visit visit = { .loop = virtual_loop_new(), .coro = giving(2) };
    pthread_t thread;
    visit.task = cora_create_task(visit.loop, giving(1), .name = "ours");
    CHECK_INT(pthread_create(&thread, NULL, visit_from_another_thread, &visit), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_TEXT(cora_get_name(visit.task), "ours");
    CHECK_INT(cora_as_int(cora_run_until_complete(visit.loop, visit.coro)), 2);
    CHECK_TEXT(outcome(visit.task), "1");
    end(visit.loop);
}

/* ---- ensure_future ---- */

static cora_next ensure_in_a_step(cora_coro self)
{
    cora_future task = cora_ensure_future(cora_current_loop(), giving(3));
    CHECK(cora_is_task(task));
    CHECK(cora_same(cora_future_loop(task), cora_running_loop()));
    return cora_await(self, task, give_got);
}

TEST(ensure_future, "ensure_future makes a task of a coroutine, in the loop that it is given",
     "test_tasks.BaseTaskTests.test_ensure_future_coroutine")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_ensure_future(loop, giving(1));
    CHECK(cora_is_task(task));
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, task)), 1);
    CHECK(cora_is_null(cora_current_loop()));
    CHECK(refused(CORA_ERUNTIME, "no current event loop"));
    CHECK(cora_is_null(cora_ensure_future(cora_current_loop(), giving(1))));
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, cora_coroutine(ensure_in_a_step))), 3);
    cora_set_current_loop(loop);
    task = cora_ensure_future(cora_current_loop(), giving(2));
    CHECK(cora_same(cora_future_loop(task), loop));
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, task)), 2);
    current_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(ensure_future_of_a_task, "of a task ensure_future gives that task")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, giving(1));
    CHECK(cora_same(cora_ensure_future(loop, task), task));
    tick(loop);
    CHECK(cora_same(cora_ensure_future(loop, task), task));
    end(loop);
}

TEST(ensure_future_of_an_operation, "of an operation it gives a future with what that comes to",
     "test_tasks.BaseTaskTests.test_ensure_future_awaitable")
{
    cora_loop loop = virtual_loop_new();
    cora_awaitable nap = cora_sleep_result(1, cora_text("awake"));
    cora_value value = cora_run_until_complete(loop, cora_ensure_future(loop, nap));
    CHECK_TEXT(cora_as_text(value), "awake");
    end(loop);
}

TEST(ensure_future_of_neither, "of zeros, a null coroutine or a generator it is null",
     "test_tasks.BaseTaskTests.test_ensure_future_neither")
{
    cora_loop loop = virtual_loop_new();
    cora_awaitable zeros = { 0 };
    CHECK(cora_is_null(cora_ensure_future(loop, zeros)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
    CHECK(cora_is_null(cora_ensure_future(loop, cora_coroutine(NULL))));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
    CHECK(cora_is_null(cora_ensure_future(loop, cora_generator(give_nothing))));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
    end(loop);
}

/* ---- sleeping ---- */

static cora_next sleep_again(cora_coro self)
{
    CHECK(cora_is_nothing(cora_got(self)));
    return cora_await(self, cora_sleep_result(0.05, cora_text("yeah")), give_got);
}

static cora_next sleep_twice(cora_coro self)
{
    return cora_await(self, cora_sleep(0.05), sleep_again);
}

TEST(sleep, "a task that sleeps twice takes as long as both, and has the result of the second",
     "test_tasks.BaseTaskTests.test_sleep")
{
    cora_loop loop = virtual_loop_new();
    cora_value value = cora_run_until_complete(loop, cora_coroutine(sleep_twice));
    CHECK_TEXT(cora_as_text(value), "yeah");
    CHECK_REAL(cora_time(loop), START + 0.1, 2 * LATE);
    CHECK(cora_virtual_clock_jumps() >= 2);
    end(loop);
}

static cora_next sleep_nan(cora_coro self)
{
    return cora_await(self, cora_sleep(NAN), give_nothing);
}

TEST(sleep_nan, "a sleep of NaN seconds fails the task with a ValueError, and makes no timer",
     "test_tasks.BaseTaskTests.test_sleep_when_delay_is_nan")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(sleep_nan));
    tick(loop);
    CHECK(is_error(task, CORA_EVALUE));
    CHECK_INT(cora_live(loop), 1); /* the task, which main() keeps */
    end(loop);
}

static cora_next slept_zero(cora_coro self)
{
    add_note(JOB(self)->notes, "slept");
    return cora_return(self, cora_got(self));
}

static cora_next sleep_zero(cora_coro self)
{
    struct job *job = JOB(self);
    cora_call_soon(cora_running_loop(), cora_partial(note, job->notes, "soon"));
    CHECK_TEXT(job->notes->text, "");
    return cora_await(self, cora_sleep_result(0, cora_int(10)), slept_zero);
}

TEST(sleep_zero, "a sleep of no time lets what was queued before run, and gives its result",
     "test_tasks.SleepTests.test_sleep_zero")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_coro coro = cora_coroutine(sleep_zero, struct job, .notes = &notes);
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, coro)), 10);
    CHECK_TEXT(notes.text, "soon slept");
    end(loop);
}

/* ---- names ---- */

TEST(names, "a task without a name is Task-N, in the order of creation over all loops",
     "test_tasks.BaseTaskTests.test_task_repr_autogenerated")
{
    cora_loop loop = virtual_loop_new(), other = cora_loop_new(NULL);
    cora_future tasks[4];
    int before = 0, number = 0;
    char text[600];
    tasks[0] = cora_create_task(loop, giving(1));
    tasks[1] = cora_create_task(loop, giving(1));
    cora_create_task(loop, giving(1), .name = "takes no number");
    tasks[2] = cora_create_task(other, giving(1));
    tasks[3] = cora_create_task(loop, giving(1));
    for (int i = 0; i < 4; i++) {
        CHECK_INT(sscanf(cora_get_name(tasks[i]), "Task-%d", &number), 1);
        CHECK(i == 0 || number == before + 1);
        before = number;
    }
    cora_future_print(tasks[0], text, sizeof text);
    CHECK(strcmp(printed(tasks[1]), text) != 0);
    cora_loop_close(other);
    end(loop);
}

TEST(number_as_name, "a name is a text, also if it looks like a number, and can be changed",
     "test_tasks.BaseTaskTests.test_task_set_name_pylong")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, giving(1), .name = "987654321");
    CHECK_TEXT(cora_get_name(task), "987654321");
    CHECK(has(printed(task), "name='987654321'"));
    CHECK_INT(cora_set_name(task, "123456789"), 0);
    CHECK_TEXT(cora_get_name(task), "123456789");
    tick(loop);
    CHECK_TEXT(cora_get_name(task), "123456789");
    CHECK_INT(cora_set_name(task, "afterwards"), 0);
    CHECK_TEXT(cora_get_name(task), "afterwards");
    end(loop);
}

TEST(name_is_copied, "a name is copied, of whatever length; what was read of it stays for a while",
     "test_base_events.BaseEventLoopTests.test_create_named_task_with_default_factory")
{
    cora_loop loop = virtual_loop_new();
    char name[300];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    cora_future task = cora_create_task(loop, giving(1), .name = name);
    name[0] = 'y';
    const char *read = cora_get_name(task);
    CHECK_INT(strlen(read), sizeof name - 1);
    CHECK(read[0] == 'x');
    CHECK_INT(cora_set_name(task, ""), 0);
    CHECK(read[0] == 'x'); /* borrowed until the next run */
    CHECK_TEXT(cora_get_name(task), "");
    end(loop);
}

/* ---- the current task ---- */

static cora_next check_current(cora_coro self)
{
    struct job *job = JOB(self);
    cora_loop loop = cora_running_loop();
    CHECK(cora_same(cora_current_task(loop), *job->ret_task));
    CHECK(cora_same(cora_current_task(cora_current_loop()), *job->ret_task));
    CHECK(cora_same(cora_current_task(cora_future_loop(*job->ret_task)), *job->ret_task));
    if (job->number-- == 0)
        return cora_return(self, cora_nothing());
    return cora_await(self, cora_sleep(job->number), check_current);
}

static void no_current_task(cora_args bound)
{
    cora_loop loop = cora_arg_loop(bound, 0);
    CHECK(cora_is_null(cora_current_task(loop)));
    CHECK(cora_same(cora_running_loop(), loop));
}

TEST(current_task, "in its steps, and there alone, a task is its loop's current one",
     "test_tasks.BaseTaskTests.test_current_task",
     "test_tasks.BaseCurrentLoopTests.test_current_task_with_implicit_loop",
     "test_tasks.BaseTaskIntrospectionTests.test__enter_task",
     "test_tasks.BaseTaskIntrospectionTests.test__leave_task")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = { 0 };
    CHECK(cora_is_null(cora_current_task(loop)));
    cora_call_soon(loop, cora_partial(no_current_task, loop));
    task = cora_create_task(
        loop, cora_coroutine(check_current, struct job, .ret_task = &task, .number = 3));
    CHECK(cora_is_null(cora_current_task(loop)));
    cora_call_soon(loop, cora_partial(no_current_task, loop));
    cora_value value = cora_run_until_complete(loop, task);
    CHECK(cora_is_nothing(value));
    CHECK(cora_is_null(cora_current_task(loop)));
    end(loop);
}

TEST(no_running_loop, "of a loop that does not run no task is current, which is no error",
     "test_tasks.BaseCurrentLoopTests.test_current_task_no_running_loop")
{
    cora_loop loop = virtual_loop_new();
    cora_value before = cora_copy(cora_last_error());
    cora_create_task(loop, giving(1));
    CHECK(cora_is_null(cora_current_task(loop)));
    CHECK(cora_equal(cora_last_error(), before));
    cora_drop(before);
    end(loop);
}

TEST(no_running_loop_named,
     "without a running loop there is no current task to ask for: a RuntimeError",
     "test_tasks.BaseCurrentLoopTests.test_current_task_no_running_loop_implicit")
{
    cora_loop loop = current_loop_new();
    CHECK(cora_is_null(cora_current_task(cora_running_loop())));
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
    CHECK(cora_is_null(cora_running_loop()));
    CHECK(refused(CORA_ERUNTIME, "no running event loop"));
    current_loop_end(loop);
}

/* Two tasks that await what the other one sets. */

static cora_next interleaved_end(cora_coro self)
{
    struct job *job = JOB(self);
    CHECK(cora_same(current_task(), *job->ret_task));
    if (job->number == 1)
        CHECK_INT(cora_set_result(job->other, cora_int(1)), 0);
    return cora_return(self, cora_nothing());
}

static cora_next interleaved(cora_coro self)
{
    struct job *job = JOB(self);
    CHECK(cora_same(current_task(), *job->ret_task));
    if (job->number == 2)
        CHECK_INT(cora_set_result(job->other, cora_int(1)), 0);
    return cora_await(self, job->future, interleaved_end);
}

TEST(interleaved, "tasks that take turns are each the current one in their own steps",
     "test_tasks.BaseTaskTests.test_current_task_with_interleaving_tasks")
{
    cora_loop loop = virtual_loop_new();
    cora_future futures[2], tasks[2];
    make_futures(loop, futures, 2);
    for (int i = 0; i < 2; i++)
        tasks[i] = cora_create_task(
            loop, cora_coroutine(interleaved, struct job, .future = futures[i],
                                 .other = futures[1 - i], .ret_task = &tasks[i], .number = i + 1));
    cora_run_until_complete(loop, cora_gather(loop, tasks, 2));
    CHECK(ended(tasks[0]) && ended(tasks[1]));
    CHECK(cora_is_null(cora_current_task(loop)));
    end(loop);
}

static cora_next inner_current(cora_coro self)
{
    CHECK(cora_same(current_task(), *JOB(self)->ret_task));
    return cora_await(self, cora_sleep(1), give_nothing);
}

static cora_next finally_current(cora_coro self)
{
    CHECK(cora_same(current_task(), *JOB(self)->ret_task));
    return cora_go_on(self);
}

static cora_next outer_current(cora_coro self)
{
    struct job *job = JOB(self);
    cora_finally(self, finally_current);
    return cora_await(
        self, cora_coroutine(inner_current, struct job, .ret_task = job->ret_task, .number = 1),
        give_nothing);
}

TEST(current_in_a_nested_coroutine,
     "in the coroutines that its own awaits, and in their finally, the task is current, too")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = { 0 };
    task = cora_create_task(loop, cora_coroutine(outer_current, struct job, .ret_task = &task));
    cora_run_until_complete(loop, task);
    CHECK(ended(task));
    end(loop);
}

static void no_current_done(cora_args bound, cora_future done)
{
    (void)done;
    ++*cora_arg(bound, 0, int *);
    CHECK(cora_is_null(current_task()));
}

TEST(current_in_a_done_callback, "in a task's done-callback no task is current any more")
{
    cora_loop loop = virtual_loop_new();
    int calls = 0;
    cora_future task = cora_create_task(loop, giving(1));
    cora_add_done_callback(task, cora_partial(no_current_done, &calls));
    ticks(loop, 2);
    CHECK_INT(calls, 1);
    end(loop);
}

/* A step in which the program drives another task's coroutine, or runs the loop. */
static cora_next drive_another(cora_coro self)
{
    struct job *job = JOB(self);
    cora_loop loop = cora_running_loop();
    cora_future own = current_task();
    CHECK_INT(cora_send(cora_get_coro(job->future), cora_nothing(), NULL), CORA_ERUNTIME);
    CHECK(cora_same(cora_current_task(loop), own));
    CHECK_INT(cora_run_forever(loop), CORA_ERUNTIME);
    CHECK(cora_same(cora_current_task(loop), own));
    return cora_return(self, 1);
}

TEST(one_at_a_time, "in a task's step no other task can be gone on with: the current one stays it",
     "test_tasks.BaseTaskIntrospectionTests.test__enter_task_failure")
{
    cora_loop loop = virtual_loop_new();
    cora_future other = cora_create_task(loop, cora_coroutine(sleep_long, struct job));
    cora_future task =
        cora_create_task(loop, cora_coroutine(drive_another, struct job, .future = other));
    ticks(loop, 2);
    CHECK_TEXT(outcome(task), "1");
    CHECK(!cora_done(other));
    cora_cancel(other);
    ticks(loop, 2);
    end(loop);
}

static cora_next look_by_hand(cora_coro self)
{
    CHECK(cora_same(current_task(), *JOB(self)->ret_task));
    return cora_return(self, 1);
}

static cora_next drive_by_hand(cora_coro self)
{
    cora_coro inner = cora_coroutine(look_by_hand, struct job, .ret_task = JOB(self)->ret_task);
    cora_value ret = cora_nothing();
    CHECK_INT(cora_send(inner, cora_nothing(), &ret), 0);
    CHECK_INT(cora_as_int(ret), 1);
    return cora_return(self, cora_nothing());
}

TEST(current_by_hand, "a coroutine that a step drives by hand runs in that step's task")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = { 0 };
    task = cora_create_task(loop, cora_coroutine(drive_by_hand, struct job, .ret_task = &task));
    tick(loop);
    CHECK(ended(task));
    end(loop);
}

static cora_next look_at_two_loops(cora_coro self)
{
    struct job *job = JOB(self);
    CHECK(cora_same(cora_current_task(cora_future_loop(*job->ret_task)), *job->ret_task));
    CHECK(cora_is_null(cora_current_task(cora_future_loop(job->future))));
    return cora_return(self, cora_nothing());
}

TEST(current_of_another_loop, "the current task is one loop's: another loop has none")
{
    cora_loop loop = virtual_loop_new(), other = cora_loop_new(NULL);
    cora_future task = { 0 };
    cora_future future = cora_future_new(other);
    task = cora_create_task(
        loop, cora_coroutine(look_at_two_loops, struct job, .ret_task = &task, .future = future));
    tick(loop);
    CHECK(ended(task));
    cora_loop_close(other);
    end(loop);
}

/* Two guests: a step of one's task runs the host of the other. */

struct guests {
    struct ev_loop *host;
    cora_loop inner;
    cora_future outer_task, inner_task;
    int looked;
};

static cora_next inner_guest(cora_coro self)
{
    struct guests *guests = *cora_locals(self, struct guests *);
    guests->looked++;
    CHECK(cora_same(cora_current_task(guests->inner), guests->inner_task));
    return cora_return(self, cora_nothing());
}

static cora_next outer_guest(cora_coro self)
{
    struct guests *guests = *cora_locals(self, struct guests *);
    for (int i = 0; i < 3; i++)
        ev_run(guests->host, EVRUN_NOWAIT);
    CHECK(cora_same(current_task(), guests->outer_task));
    CHECK(cora_is_null(cora_current_task(guests->inner)));
    return cora_return(self, cora_nothing());
}

TEST(current_of_two_guests, "where the host runs in the step of one guest's task, the other guest "
                            "has a current task of its own")
{
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV), *outer_host = ev_loop_new(EVFLAG_NOENV);
    struct guests guests = { .host = host }, *locals = &guests;
    cora_loop outer = cora_loop_attach(outer_host, NULL);
    guests.inner = cora_loop_attach(host, NULL);
    guests.inner_task =
        cora_create_task(guests.inner, cora_coroutine(inner_guest, struct guests *, locals));
    guests.outer_task =
        cora_create_task(outer, cora_coroutine(outer_guest, struct guests *, locals));
    for (int i = 0; i < 3; i++)
        ev_run(outer_host, EVRUN_NOWAIT);
    CHECK_INT(guests.looked, 1);
    CHECK(ended(guests.inner_task));
    CHECK(ended(guests.outer_task));
    cora_loop_detach(outer);
    cora_loop_detach(guests.inner);
    ev_loop_destroy(host);
    ev_loop_destroy(outer_host);
}

/* ---- all tasks ---- */

static bool in_list(cora_value list, size_t index, cora_future task)
{
    return cora_same(cora_as_future(cora_list_at(list, index)), task);
}

TEST(all_tasks, "all_tasks has the pending ones in the order of creation, whatever they wait for")
{
    cora_loop loop = virtual_loop_new(), other = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop), tasks[6];
    tasks[0] = cora_create_task(loop, waiting_for(future));
    tasks[1] = cora_create_task(loop, giving(1));
    tasks[2] = cora_create_task(loop, cora_coroutine(sleep_long, struct job));
    tasks[3] = cora_create_task(loop, waiting_for(tasks[0]));
    tick(loop);
    tasks[4] = cora_create_task(loop, cora_sleep(5));
    tasks[5] = cora_create_task(loop, cora_coroutine(sleep_long, struct job));
    cora_future elsewhere = cora_create_task(other, giving(1));
    cora_ensure_future(loop, cora_sleep(5)); /* an operation is no task */
    CHECK(cora_cancel(tasks[2]));
    cora_value list = cora_all_tasks(loop);
    CHECK_INT(cora_list_size(list), 5);
    CHECK(in_list(list, 0, tasks[0]));
    CHECK(in_list(list, 1, tasks[2]));
    CHECK(in_list(list, 2, tasks[3]));
    CHECK(in_list(list, 3, tasks[4]));
    CHECK(in_list(list, 4, tasks[5]));
    CHECK(in_list(cora_all_tasks(other), 0, elsewhere));
    cora_set_result(future, cora_int(1));
    cora_cancel(tasks[5]);
    cora_run_until_complete(loop, cora_gather(loop, tasks, 6, .return_exceptions = true));
    CHECK_INT(cora_list_size(cora_all_tasks(loop)), 0);
    tick(other);
    cora_loop_close(other);
    end(loop);
}

TEST(all_tasks_leaves_out_done_ones, "a task that is done is not in it, kept or not",
     "test_tasks.BaseTaskIntrospectionTests.test__register_task_3",
     "test_tasks.BaseTaskIntrospectionTests.test__unregister_task")
{
    cora_loop loop = virtual_loop_new();
    CHECK_INT(cora_list_size(cora_all_tasks(loop)), 0);
    cora_future task = cora_keep(cora_create_task(loop, giving(1)));
    CHECK_INT(cora_list_size(cora_all_tasks(loop)), 1);
    CHECK(in_list(cora_all_tasks(loop), 0, task));
    tick(loop);
    CHECK(cora_done(task));
    CHECK_INT(cora_list_size(cora_all_tasks(loop)), 0);
    end(loop);
}

static cora_next look_at_all(cora_coro self)
{
    cora_value list = cora_all_tasks(cora_running_loop());
    CHECK_INT(cora_list_size(list), 1);
    CHECK(in_list(list, 0, current_task()));
    return cora_return(self, list);
}

TEST(all_tasks_in_a_step, "the running task is in it")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(look_at_all));
    tick(loop);
    CHECK(in_list(cora_result(task), 0, task));
    CHECK_INT(cora_list_size(cora_all_tasks(loop)), 0);
    end(loop);
}

TEST(all_tasks_in_order, "it is in order also when the memory of earlier tasks is used again")
{
    enum { COUNT = 500 };
    cora_loop loop = virtual_loop_new();
    static cora_future tasks[COUNT];
    cora_future last[COUNT / 2];
    for (int i = 0; i < COUNT; i++)
        tasks[i] = cora_create_task(loop, cora_sleep(i % 2 ? 100 : 1 + i));
    for (int i = 0; i < COUNT; i += 2)
        cora_cancel(tasks[i]);
    ticks(loop, 2);
    for (int i = 0; i < COUNT; i += 2)
        cora_release(tasks[(i * 7) % COUNT]);
    tick(loop);
    for (int i = 0; i < COUNT / 2; i++)
        last[i] = cora_create_task(loop, cora_sleep(100));
    cora_value list = cora_all_tasks(loop);
    CHECK_INT(cora_list_size(list), COUNT);
    for (size_t i = 0; i < COUNT / 2; i++) {
        CHECK(in_list(list, i, tasks[2 * i + 1]));
        CHECK(in_list(list, COUNT / 2 + i, last[i]));
    }
    run_for(loop, 101);
    CHECK_INT(cora_list_size(cora_all_tasks(loop)), 0);
    end(loop);
}

TEST(all_tasks_of_no_loop, "of a loop that is closed, or null, it is an error")
{
    cora_loop loop = virtual_loop_new();
    CHECK_INT(cora_error_code(cora_all_tasks((cora_loop){ 0 })), CORA_ESTALE);
    cora_loop_close(loop);
    CHECK_INT(cora_error_code(cora_all_tasks(loop)), CORA_ERUNTIME);
    end(loop);
}

/* ---- coroutine, context and stack ---- */

TEST(get_coro, "a task's coroutine is the one that it was made of; when it is done that is stale",
     "test_tasks.BaseTaskTests.test_get_coro")
{
    cora_loop loop = virtual_loop_new();
    cora_coro coro = cora_coroutine(sleep_long, struct job, .number = 5);
    cora_future task = cora_create_task(loop, coro);
    CHECK(cora_same(cora_get_coro(task), coro));
    tick(loop);
    CHECK(cora_same(cora_get_coro(task), coro));
    CHECK_INT(cora_coro_state(coro), CORA_CORO_SUSPENDED);
    cora_run_until_complete(loop, task);
    CHECK(cora_same(cora_get_coro(task), coro));
    CHECK_INT(cora_coro_state(cora_get_coro(task)), CORA_CORO_CLOSED);
    CHECK(cora_locals(coro, struct job) == NULL);
    end(loop);
}

static cora_next own_stack(cora_coro self)
{
    struct cora_frame frames[3];
    char text[1000];
    CHECK_INT(cora_get_stack(current_task(), frames, 3), 1);
    CHECK_TEXT(frames[0].name, "own_stack");
    CHECK_TEXT(frames[0].file, __FILE__);
    int length = cora_print_stack(current_task(), text, sizeof text);
    CHECK_INT(length, strlen(text));
    CHECK(has(text, "Stack for <Task pending"));
    CHECK(has(text, "coro=<own_stack() running"));
    CHECK(has(text, ", in own_stack\n"));
    return cora_return(self, cora_nothing());
}

TEST(get_stack, "in its step a task's stack is one frame, its coroutine's, and prints so",
     "test_tasks.BaseTaskTests.test_get_stack", "test_pep492.CoroutineTests.test_task_print_stack")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(own_stack));
    tick(loop);
    CHECK(ended(task));
    end(loop);
}

static cora_next await_inner(cora_coro self)
{
    return cora_await(self, waiting_for(JOB(self)->future), give_got);
}

TEST(stack_of_a_suspended_task,
     "a suspended task's frame is where its own coroutine awaits, not what that awaits")
{
    cora_loop loop = virtual_loop_new();
    struct cora_frame frame;
    cora_future future = cora_future_new(loop);
    cora_future task =
        cora_create_task(loop, cora_coroutine(await_inner, struct job, .future = future));
    int made = __LINE__ - 1;
    CHECK_INT(cora_get_stack(task, &frame, 1), 1);
    CHECK_TEXT(frame.name, "await_inner");
    CHECK_INT(frame.line, made);
    tick(loop);
    CHECK_INT(cora_get_stack(task, NULL, 0), 1);
    CHECK_INT(cora_get_stack(task, &frame, 1), 1);
    CHECK_TEXT(frame.name, "await_inner");
    CHECK(frame.line < made); /* of the await */
    cora_set_result(future, cora_int(1));
    tick(loop);
    end(loop);
}

TEST(stack_of_a_done_task, "a task that is done has no stack, and says so")
{
    cora_loop loop = virtual_loop_new();
    struct cora_frame frame = { NULL, NULL, -1 };
    char text[1000];
    cora_future task = cora_create_task(loop, giving(5));
    tick(loop);
    CHECK_INT(cora_get_stack(task, &frame, 1), 0);
    CHECK_INT(frame.line, -1);
    cora_print_stack(task, text, sizeof text);
    CHECK(strstr(text, "No stack for <Task finished") == text);
    end(loop);
}

/* ---- the task factory ---- */

static cora_future make_task(cora_args bound, cora_loop loop, cora_coro coro,
                             const struct cora_task_options *options)
{
    ++*cora_arg(bound, 0, int *);
    return cora_task_new(loop, coro, options, CORA_PLACE("made"));
}

static cora_next make_by_factory(cora_coro self)
{
    cora_future task = cora_create_task(cora_running_loop(), giving(4));
    return cora_await(self, task, give_got);
}

TEST(factory, "the task factory makes every task, until the default is brought back",
     "test_base_events.BaseEventLoopTests.test_set_task_factory")
{
    cora_loop loop = current_loop_new();
    int made = 0;
    cora_coro coros[2];
    CHECK_INT(cora_set_task_factory(loop, cora_partial(make_task, &made)), 0);
    cora_future task = cora_create_task(loop, giving(1));
    CHECK(cora_is_task(task));
    CHECK_INT(made, 1);
    CHECK_INT(cora_spawn(loop, cora_sleep(0)), 0);
    CHECK_INT(made, 2);
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, giving(2))), 2);
    CHECK_INT(made, 3);
    cora_run_until_complete(loop, cora_ensure_future(loop, giving(1)));
    CHECK_INT(made, 4);
    cora_run_until_complete(loop, cora_shield(loop, giving(1)));
    CHECK_INT(made, 5);
    for (int i = 0; i < 2; i++)
        coros[i] = giving(i);
    cora_run_until_complete(loop, cora_gather(loop, coros, 2));
    CHECK_INT(made, 7);
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, cora_coroutine(make_by_factory))), 4);
    CHECK_INT(made, 9);
    CHECK_INT(cora_reset_task_factory(loop), 0);
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, giving(5))), 5);
    CHECK_INT(made, 9);
    current_loop_end(loop);
}

TEST(factory_gets_the_options, "the factory gets the options; what it makes has the name",
     "test_base_events.BaseEventLoopTests.test_create_named_task_with_custom_factory")
{
    cora_loop loop = virtual_loop_new();
    int made = 0;
    cora_set_task_factory(loop, cora_partial(make_task, &made));
    cora_future task = cora_create_task(loop, giving(1), .name = "test_task");
    CHECK_TEXT(cora_get_name(task), "test_task");
    CHECK_INT(made, 1);
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, task)), 1);
    end(loop);
}

TEST(factory_replaced, "a factory that is replaced drops its arguments; so does one when its loop "
                       "is closed")
{
    cora_loop loop = virtual_loop_new();
    int made = 0, drops = 0;
    cora_value value = cora_own(&drops, &counted);
    cora_set_task_factory(loop, cora_partial(make_task, &made, value));
    cora_set_task_factory(loop, cora_partial(make_task, &made, 1));
    cora_drop_temporaries();
    CHECK_INT(drops, 1);
    drops = 0;
    value = cora_own(&drops, &counted);
    cora_set_task_factory(loop, cora_partial(make_task, &made, value));
    cora_drop_temporaries();
    CHECK_INT(drops, 0);
    end(loop);
    CHECK_INT(drops, 1);
}

static cora_future refuse_task(cora_args bound, cora_loop loop, cora_coro coro,
                               const struct cora_task_options *options)
{
    (void)loop, (void)coro, (void)options;
    ++*cora_arg(bound, 0, int *);
    return (cora_future){ 0 };
}

TEST(factory_that_makes_none, "a factory that makes no task: null, and the coroutine is closed")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    int calls = 0, drops = 0;
    collect_reports(loop, &reports);
    cora_set_task_factory(loop, cora_partial(refuse_task, &calls));
    CHECK(cora_is_null(cora_create_task(loop, owning(&drops, (cora_future){ 0 }))));
    CHECK_INT(calls, 1);
    CHECK_INT(drops, 1);
    tick(loop);
    end(loop);
    CHECK_INT(reports.count, 0);
}

static cora_future remake_factory(cora_args bound, cora_loop loop, cora_coro coro,
                                  const struct cora_task_options *options)
{
    cora_reset_task_factory(loop);
    CHECK_TEXT(cora_arg_text(bound, 0), "still there");
    return cora_task_new(loop, coro, options, CORA_PLACE("made"));
}

TEST(factory_resets_itself, "a factory may bring the default back while it makes a task")
{
    cora_loop loop = virtual_loop_new();
    cora_set_task_factory(loop, cora_partial(remake_factory, cora_textf("still %s", "there")));
    cora_future task = cora_create_task(loop, giving(1)), next = cora_create_task(loop, giving(2));
    tick(loop);
    CHECK_TEXT(outcome(task), "1");
    CHECK_TEXT(outcome(next), "2");
    end(loop);
}

static cora_future detach_in_factory(cora_args bound, cora_loop loop, cora_coro coro,
                                     const struct cora_task_options *options)
{
    (void)bound, (void)coro, (void)options;
    CHECK_INT(cora_loop_detach(loop), 0);
    return (cora_future){ 0 };
}

TEST(factory_detaches,
     "a factory may detach its loop: no task is made, and the coroutine is closed")
{
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    cora_loop loop = cora_loop_attach(host, NULL);
    int drops = 0;
    cora_set_task_factory(loop, cora_partial(detach_in_factory));
    CHECK(cora_is_null(cora_create_task(loop, owning(&drops, (cora_future){ 0 }))));
    CHECK_INT(drops, 1);
    ev_loop_destroy(host);
    CHECK_INT(cora_live_coroutines(), 0);
}

/* ---- printing ---- */

TEST(print, "a task prints its state, name, coroutine and callbacks, and how it has ended",
     "test_tasks.BaseTaskTests.test_task_repr")
{
    cora_loop loop = virtual_loop_new();
    char expected[300];
    cora_future future = cora_future_new(loop);
    cora_future task = cora_create_task(loop, waiting_for(future), .name = "TestTask");
    cora_add_done_callback(task, cora_partial(nothing_done));
    int length =
        snprintf(expected, sizeof expected,
                 "<Task pending name='TestTask' coro=<await_future() running at %s:", __FILE__);
    CHECK(strncmp(printed(task), expected, (size_t)length) == 0);
    CHECK(has(printed(task), "> cb=[nothing_done()]>"));
    cora_cancel(task);
    CHECK(strstr(printed(task), "<Task cancelling name='TestTask'") == printed(task));
    CHECK(has(printed(task), "> cb=[nothing_done()]>"));
    CHECK(!cora_done(task));
    ticks(loop, 2);
    CHECK(strstr(printed(task), "<Task cancelled name='TestTask'") == printed(task));
    CHECK(has(printed(task), "await_future() done, "));
    CHECK(!has(printed(task), "cb="));
    task = cora_create_task(loop, giving(5), .name = "Five");
    tick(loop);
    CHECK(strstr(printed(task), "<Task finished name='Five'") == printed(task));
    CHECK(has(printed(task), "give_number() done, "));
    CHECK(has(printed(task), " result=5>"));
    task = cora_create_task(loop, cora_coroutine(raise_value_error), .name = "Failed");
    tick(loop);
    CHECK(has(printed(task), " exception=ValueError: spilled>"));
    end(loop);
}

TEST(print_wait_for, "a suspended task prints what it waits for",
     "test_tasks.BaseTaskTests.test_task_repr_wait_for")
{
    cora_loop loop = virtual_loop_new();
    char expected[600] = " wait_for=";
    cora_future future = cora_future_new(loop), task = cora_create_task(loop, waiting_for(future));
    tick(loop);
    cora_future_print(future, expected + strlen(expected), 500);
    CHECK(has(expected, "<Future pending cb=["));
    CHECK(has(printed(task), expected));
    cora_set_result(future, cora_int(1));
    tick(loop);
    CHECK(!has(printed(task), "wait_for="));
    CHECK_TEXT(outcome(task), "1");
    end(loop);
}

TEST(print_circle, "tasks that wait for each other print, and the print ends",
     "test_futures2.FutureReprTests.test_recursive_repr_for_pending_tasks")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future tasks[3];
    char text[20];
    for (int i = 0; i < 3; i++)
        tasks[i] = cora_create_task(loop, cora_coroutine(await_future, struct job));
    for (int i = 0; i < 3; i++)
        cora_locals(cora_get_coro(tasks[i]), struct job)->future = tasks[(i + 1) % 3];
    tick(loop);
    for (int i = 0; i < 3; i++) {
        CHECK(has(printed(tasks[i]), "wait_for=<Task pending name='Task-"));
        CHECK(has(printed(tasks[i]), "..."));
        CHECK(cora_future_print(tasks[i], text, sizeof text) > 100);
        CHECK_INT(strlen(text), sizeof text - 1);
    }
    end(loop);
    CHECK_INT(reports.count, 3);
}

static cora_next print_after_cancel(cora_coro self)
{
    cora_future task = current_task();
    CHECK(!has(printed(task), "cancelling"));
    cora_cancel(task);
    CHECK(has(printed(task), "<Task cancelling"));
    CHECK_INT(cora_uncancel(task), 0);
    CHECK(has(printed(task), "<Task pending"));
    return cora_return(self, 1);
}

TEST(print_cancelling, "the word cancelling is there as long as the count is above 0")
{
    cora_loop loop = virtual_loop_new();
    cora_future task = cora_create_task(loop, cora_coroutine(print_after_cancel));
    tick(loop);
    CHECK_TEXT(outcome(task), "1");
    end(loop);
}

/* ---- reports ---- */

TEST(never_retrieved, "an error of a task that nobody read is reported once, when it is given back",
     "test_base_events.BaseEventLoopTests.test_default_exc_handler_coro")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future task = cora_create_task(loop, cora_coroutine(raise_value_error), .name = "spiller");
    int made = __LINE__ - 1;
    tick(loop);
    CHECK_INT(reports.count, 0);
    CHECK_INT(cora_release(task), 0);
    tick(loop);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Task exception was never retrieved");
    CHECK_TEXT(reports.error, "ValueError: spilled");
    CHECK(cora_same(reports.future, task));
    CHECK(has(reports.object, "<Task finished name='spiller'"));
    CHECK_INT(reports.place.line, made);
    end(loop);
    CHECK_INT(reports.count, 1);
}

TEST(never_retrieved_of_a_spawned, "so is that of a spawned one, and of one that its maker forgot")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    CHECK_INT(cora_spawn(loop, cora_coroutine(raise_value_error), .name = "first"), 0);
    ticks(loop, 2);
    CHECK_INT(reports.count, 1);
    CHECK(has(reports.object, "name='first'"));
    cora_create_task(loop, cora_coroutine(raise_value_error), .name = "second");
    ticks(loop, 2);
    CHECK_INT(reports.count, 1);
    end(loop); /* main()'s stays until then */
    CHECK_INT(reports.count, 2);
    CHECK(has(reports.object, "name='second'"));
}

static cora_next await_failing(cora_coro self)
{
    cora_future task = cora_create_task(cora_running_loop(), cora_coroutine(raise_value_error));
    return cora_try(self, task, give_nothing);
}

TEST(awaited_is_retrieved, "an error that was awaited, read, or asked for counts as read")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_run_until_complete(loop, cora_coroutine(await_failing));
    cora_future tasks[3];
    for (int i = 0; i < 3; i++)
        tasks[i] = cora_create_task(loop, cora_coroutine(raise_value_error));
    tick(loop);
    CHECK_INT(cora_error_code(cora_result(tasks[0])), CORA_EVALUE);
    CHECK_INT(cora_error_code(cora_exception(tasks[1])), CORA_EVALUE);
    CHECK(!cora_cancel(tasks[2]));
    end(loop);
    CHECK_INT(reports.count, 0);
}

TEST(cancelled_is_not_reported, "a cancel of a failed task tells that its error need not be read",
     "test_tasks.BaseTaskTests.test_tb_logger_not_called_after_cancel")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future task = cora_create_task(loop, cora_coroutine(raise_value_error));
    run_for(loop, 0.05);
    CHECK(!cora_cancel(task));
    CHECK_INT(cora_release(task), 0);
    ticks(loop, 2);
    end(loop);
    CHECK_INT(reports.count, 0);
}

TEST(destroyed, "a task that is pending when its loop is closed is reported, with its place",
     "test_tasks.BaseTaskTests.test_log_destroyed_pending_task",
     "test_tasks.BaseTaskTests.test_task_source_traceback")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_set_debug(loop, true);
    cora_future task = cora_create_task(loop, waiting_for(cora_future_new(loop)), .name = "left");
    int made = __LINE__ - 1;
    char place[300];
    snprintf(place, sizeof place, "created at %s:%d", __FILE__, made);
    CHECK(has(printed(task), place));
    ticks(loop, 2);
    CHECK_INT(cora_list_size(cora_all_tasks(loop)), 1);
    CHECK(in_list(cora_all_tasks(loop), 0, task));
    CHECK_INT(reports.count, 0);
    virtual_loop_end(loop);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Task was destroyed but it is pending!");
    CHECK_INT(reports.code, 0);
    CHECK(cora_same(reports.future, task));
    CHECK(has(reports.object, "<Task pending name='left' coro=<await_future() running at "));
    CHECK(has(reports.object, "wait_for=<Future pending"));
    CHECK_TEXT(reports.place.file, __FILE__);
    CHECK_INT(reports.place.line, made);
    CHECK_TEXT(reports.place.function, "test_destroyed");
    CHECK_INT(cora_list_size(cora_all_tasks(loop)), 0);
    CHECK_INT(cora_live_coroutines(), 0);
}

static void note_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    struct notes *notes = cora_arg(bound, 0, struct notes *);
    char word[100], *name = strstr(report->object, "name='");
    (void)loop;
    CHECK_TEXT(report->message, "Task was destroyed but it is pending!");
    CHECK(name != NULL);
    snprintf(word, sizeof word, "%.1s", name + strlen("name='"));
    add_note(notes, word);
}

TEST(destroyed_in_order, "each of them is reported once, in the order of creation, whatever it "
                         "waits for; those that are done are not")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_set_exception_handler(loop, cora_partial(note_report, &notes));
    cora_future future = cora_future_new(loop);
    cora_create_task(loop, waiting_for(future), .name = "a");
    cora_create_task(loop, giving(1), .name = "done");
    cora_future b = cora_create_task(loop, cora_coroutine(sleep_long, struct job), .name = "b");
    cora_create_task(loop, waiting_for(b), .name = "c");
    cora_create_task(loop, cora_coroutine(await_inner, struct job, .future = b), .name = "d");
    cora_create_task(loop, cora_sleep(10), .name = "e");
    cora_create_task(loop, cora_wait(&b, 1, INFINITY, CORA_ALL_COMPLETED), .name = "f");
    tick(loop);
    cora_create_task(loop, cora_coroutine(yield_once, struct job), .name = "g");
    tick(loop);
    cora_create_task(loop, giving(1), .name = "h"); /* has not started */
    cora_set_result(future, cora_int(1));           /* a is queued */
    cora_cancel(b);
    end(loop);
    CHECK_TEXT(notes.text, "a b c d e f g h");
}

TEST(destroyed_adopted, "tasks that a run, a gather or a shield has made are not reported so")
{
    cora_loop loop = current_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_coro coros[2];
    for (int i = 0; i < 2; i++)
        coros[i] = cora_coroutine(sleep_long, struct job);
    cora_gather(loop, coros, 2);
    cora_call_soon(loop, cora_partial(stop));
    cora_value value = cora_run_until_complete(loop, cora_coroutine(sleep_long, struct job));
    CHECK_INT(cora_error_code(value), CORA_ERUNTIME);
    CHECK_INT(cora_list_size(cora_all_tasks(loop)), 3);
    current_loop_end(loop);
    CHECK_INT(reports.count, 0);
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(completed_from_outside, "nobody but its coroutine completes a task: a RuntimeError",
     "test_tasks.BaseTaskTests.test_task_set_methods")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future task = cora_create_task(loop, giving(42)), source = cora_future_new(loop);
    cora_add_done_callback(source, cora_partial(cora_copy_outcome, task));
    cora_set_result(source, cora_int(1));
    CHECK_INT(cora_set_result(task, cora_int(1)), CORA_ERUNTIME);
    CHECK(refused(CORA_ERUNTIME, "set_result"));
    CHECK_INT(cora_set_exception(task, cora_error(CORA_EVALUE, "x")), CORA_ERUNTIME);
    CHECK(refused(CORA_ERUNTIME, "set_exception"));
    CHECK(!cora_done(task));
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, task)), 42);
    CHECK_INT(cora_set_result(task, cora_int(1)), CORA_ERUNTIME); /* also when it is done */
    end(loop);
}

TEST(debug_of_one_loop, "debug mode is one loop's: where tasks of another were created is not told",
     "test_pep492.CoroutineTests.test_debug_mode_manages_coroutine_origin_tracking")
{
    cora_loop loop = virtual_loop_new(), other = cora_loop_new(NULL);
    cora_future debugged = cora_create_task(loop, giving(1));
    cora_future task = cora_create_task(other, giving(1));
    CHECK(!has(printed(debugged), "created at"));
    cora_set_debug(loop, true);
    CHECK(has(printed(debugged), "created at"));
    CHECK(!has(printed(task), "created at"));
    cora_run_until_complete(loop, debugged);
    CHECK(!cora_get_debug(other));
    CHECK(!has(printed(task), "created at"));
    cora_set_debug(loop, false);
    CHECK(!has(printed(cora_create_task(loop, giving(1))), "created at"));
    ticks(loop, 1);
    tick(other);
    cora_loop_close(other);
    end(loop);
}

/* ---- what a task has waited for ---- */

struct waits {
    cora_future futures[2];
};

static void set_both(cora_args bound)
{
    cora_set_result(cora_arg_future(bound, 0), cora_int(7));
    cora_set_result(cora_arg_future(bound, 1), cora_int(8));
}

static cora_next read_both(cora_coro self)
{
    cora_value done = cora_list_at(cora_got(self), 0);
    long long sum = 0;
    for (size_t i = 0; i < cora_list_size(done); i++)
        sum += cora_as_int(cora_result(cora_as_future(cora_list_at(done, i))));
    return cora_return(self, (int)sum);
}

static cora_next wait_for_both(cora_coro self)
{
    struct waits *waits = cora_locals(self, struct waits);
    for (int i = 0; i < 2; i++)
        waits->futures[i] = cora_future_new(cora_running_loop());
    cora_call_soon(cora_running_loop(),
                   cora_partial(set_both, waits->futures[0], waits->futures[1]));
    return cora_await(self, cora_wait(waits->futures, 2, INFINITY, CORA_ALL_COMPLETED), read_both);
}

TEST(waited_are_read, "futures that a task has waited for can be read in the step that gets them")
{
    cora_loop loop = virtual_loop_new();
    cora_value sum =
        cora_run_until_complete(loop, cora_coroutine(wait_for_both, struct waits, { { 0 } }));
    CHECK_INT(cora_as_int(sum), 15);
    end(loop);
}
