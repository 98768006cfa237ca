/*
 * Runners: how a program begins and ends. First cora_run, with callbacks and with steps; then what
 * it does to the tasks that are left, runners that run one thing after the other, the current loop
 * and the context, what is refused; interrupts, which are real signals in real time; and last
 * cora_shutdown by itself, also for a guest that leaves its host.
 */
#include "helpers.h"

#include <ev.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

/* ---- helpers ---- */

/* The locals of most coroutines here; each uses what it needs. */
struct job {
    struct notes *notes;
    const char *name;
    cora_loop *loop;   /* where to tell in which loop it runs */
    cora_future *task; /* where to tell of another task; or the one to wait for */
    cora_future future;
    cora_runner runner;
    cora_step step; /* what another task does */
    double seconds;
    int *counter;
    int number;
};

#define JOB(self) cora_locals(self, struct job)

static void drop_job(void *locals)
{
    ++*((struct job *)locals)->counter;
}

/* A loop factory, its last loop, and what that loop's exception handler was told. */
static cora_loop made;
static int makings;
static struct reports reports;

static cora_loop make_loop(void)
{
    makings++;
    made = cora_loop_new(NULL);
    collect_reports(made, &reports);
    return made;
}

/* Begins a test: under the virtual clock, and nothing made yet. */
static void begin(void)
{
    cora_virtual_clock_start(START);
    made = (cora_loop){ 0 };
    makings = 0;
    memset(&reports, 0, sizeof reports);
}

static void end(void)
{
    cora_virtual_clock_stop();
    CHECK_INT(cora_live_coroutines(), 0);
    CHECK(cora_is_null(cora_current_loop())); /* no runner leaves one behind */
}

static double passed(void)
{
    return cora_virtual_clock_now() - START;
}

/* A value as cora_print writes it; until the next call. */
static const char *text_of(cora_value value)
{
    static char text[400];
    cora_print(value, text, sizeof text);
    return text;
}

static cora_next give_number(cora_coro self)
{
    return cora_return(self, JOB(self)->number);
}

static cora_next note_clean_up(cora_coro self)
{
    struct job *job = JOB(self);
    add_note(job->notes, job->name);
    return cora_go_on(self);
}

/* Waits; however it ends, the name of the job is noted then. */
static cora_next wait_and_note(cora_coro self)
{
    struct job *job = JOB(self);
    cora_finally(self, note_clean_up);
    return cora_await(self, cora_sleep(job->seconds), give_number);
}

static cora_next wait_long(cora_coro self)
{
    return cora_await(self, cora_sleep(1000), cora_return_nothing);
}

/* Starts a task that does the step, lets it begin, and returns the number. */
static cora_next leave_task(cora_coro self)
{
    struct job *job = JOB(self);
    cora_loop loop = cora_running_loop();
    *job->task = cora_create_task(loop, cora_coroutine(job->step, struct job, .notes = job->notes,
                                                       .name = "left", .seconds = 1000));
    cora_keep(*job->task);
    return cora_await(self, cora_sleep(0), give_number);
}

/* ---- cora_run ---- */

static void on_awake(cora_args bound, cora_future done)
{
    (void)done;
    cora_set_result(cora_arg_future(bound, 0), cora_textf("%s is up", cora_arg_text(bound, 1)));
}

TEST(with_callbacks, "a program of callbacks in a runner's loop: it runs until a future is done")
{
    begin();
    cora_runner runner = cora_runner_new(NULL);
    cora_loop loop = cora_runner_loop(runner);
    cora_future up = cora_future_new(loop);
    cora_when_done(cora_sleep(3), cora_partial(on_awake, up, "Ann"));
    CHECK_TEXT(cora_as_text(cora_runner_run(runner, up)), "Ann is up");
    CHECK_REAL(passed(), 3, LATE);
    CHECK_INT(cora_runner_close(runner), 0);
    CHECK(cora_is_closed(loop));
    end();
}

static cora_next tell_loop(cora_coro self)
{
    *JOB(self)->loop = cora_running_loop();
    return cora_await(self, cora_sleep(0), give_number);
}

TEST(run_return, "cora_run gives what the coroutine returns; the loop that it made is closed then",
     "test_runners.RunTests.test_asyncio_run_return")
{
    begin();
    cora_loop loop;
    cora_value value = cora_run(cora_coroutine(tell_loop, struct job, .loop = &loop, .number = 42));
    CHECK_INT(cora_as_int(value), 42);
    CHECK(!cora_is_null(loop));
    CHECK(cora_is_closed(loop));
    end();
}

static cora_next raise_spam(cora_coro self)
{
    return cora_raise(self, cora_error(CORA_EVALUE, "spam"));
}

static cora_next sleep_and_raise(cora_coro self)
{
    return cora_await(self, cora_sleep(0), raise_spam);
}

TEST(run_raises, "cora_run gives the error that the coroutine raises",
     "test_runners.RunTests.test_asyncio_run_raises")
{
    begin();
    CHECK_TEXT(text_of(cora_run(cora_coroutine(sleep_and_raise), .loop_factory = make_loop)),
               "ValueError: spam");
    CHECK(cora_is_closed(made));
    CHECK_INT(reports.count, 0);
    end();
}

static cora_next give_counted(cora_coro self)
{
    return cora_return(self, cora_own(JOB(self)->counter, &counted));
}

TEST(run_result_is_temporary, "what cora_run gives lives until the next run, though its loop is "
                              "closed; then it is dropped, once")
{
    begin();
    int drops = 0;
    cora_value value = cora_run(cora_coroutine(give_counted, struct job, .counter = &drops));
    CHECK_INT(drops, 0);
    CHECK(cora_as_pointer(value) == &drops);
    cora_run(cora_coroutine(cora_return_nothing));
    CHECK_INT(drops, 1);
    end();
    CHECK_INT(drops, 1);
}

TEST(run_operation, "cora_run takes an operation, too")
{
    begin();
    CHECK_INT(cora_as_int(cora_run(cora_sleep_result(2, cora_int(5)))), 5);
    CHECK_REAL(passed(), 2, LATE);
    end();
}

TEST(run_null, "a null coroutine cannot be run: an error, and no loop is left",
     "test_runners.RunTests.test_asyncio_run_only_coro")
{
    begin();
    cora_value outcome = cora_run((cora_coro){ 0 }, .loop_factory = make_loop);
    CHECK(cora_is_error(outcome));
    CHECK(cora_is_null(made) || cora_is_closed(made));
    cora_step none = NULL;
    CHECK(cora_is_error(cora_run(cora_coroutine(none), .loop_factory = make_loop)));
    CHECK(cora_is_null(made) || cora_is_closed(made));
    end();
}

TEST(run_generator, "a plain generator cannot be run: a TypeError, and it is dropped")
{
    begin();
    int drops = 0;
    cora_value outcome =
        cora_run(cora_generator_owning(give_number, drop_job, struct job, .counter = &drops),
                 .loop_factory = make_loop);
    CHECK_INT(cora_error_code(outcome), CORA_ETYPE);
    CHECK_INT(drops, 1);
    CHECK_INT(reports.count, 0);
    end();
}

static cora_next give_debug(cora_coro self)
{
    return cora_return(self, cora_get_debug(cora_running_loop()));
}

static char debug_on[] = "CORA_DEBUG=1", debug_off[] = "CORA_DEBUG=";

/* Whether a run with this option is in debug mode, while this is all of the environment. */
static bool debug_of_run(char *variable, int debug)
{
    char *only[2] = { variable, NULL }, **outer = environ;
    environ = only;
    cora_value is = cora_run(cora_coroutine(give_debug), .debug = debug);
    environ = outer;
    return cora_as_int(is);
}

TEST(run_debug,
     "the option debug sets debug mode, or takes it away; 0 leaves it as the loop is made",
     "test_runners.RunTests.test_asyncio_run_debug")
{
    begin();
    CHECK(!debug_of_run(debug_off, -1));
    CHECK(debug_of_run(debug_off, 1));
    CHECK(!debug_of_run(debug_off, 0));
    CHECK(!debug_of_run(debug_on, -1));
    CHECK(debug_of_run(debug_on, 1));
    CHECK(debug_of_run(debug_on, 0));
    end();
}

static cora_next run_inside(cora_coro self)
{
    cora_coro inner =
        cora_coroutine_owning(tell_loop, drop_job, struct job, .counter = JOB(self)->counter);
    cora_value outcome = cora_run(inner, .loop_factory = make_loop);
    CHECK_INT(cora_coro_state(inner), CORA_CORO_CLOSED);
    return cora_raise(self, outcome);
}

TEST(run_from_running_loop,
     "while a loop is running cora_run is refused, and the coroutine closed: "
     "it never ran",
     "test_runners.RunTests.test_asyncio_run_from_running_loop")
{
    begin();
    int drops = 0;
    cora_value outcome = cora_run(cora_coroutine(run_inside, struct job, .counter = &drops),
                                  .loop_factory = make_loop);
    CHECK_TEXT(text_of(outcome),
               "RuntimeError: asyncio.run() cannot be called from a running event loop");
    CHECK_INT(drops, 1);
    CHECK_INT(makings, 1);
    CHECK_INT(reports.count, 0);
    end();
}

static void run_in_callback(cora_args bound)
{
    cora_run(cora_coroutine_owning(tell_loop, drop_job, struct job,
                                   .counter = cora_arg(bound, 0, int *)));
    cora_stop(cora_running_loop());
}

TEST(run_from_callback, "the same in a callback; nothing is reported as never awaited")
{
    begin();
    int drops = 0;
    cora_loop loop = make_loop();
    cora_call_soon(loop, cora_partial(run_in_callback, &drops));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(drops, 1);
    CHECK_INT(reports.count, 0);
    cora_loop_close(loop);
    end();
}

static cora_next give_current_is_running(cora_coro self)
{
    return cora_return(self, cora_same(cora_current_loop(), cora_running_loop()));
}

TEST(run_sets_current_loop,
     "the loop that cora_run made is the thread's current one, until it is "
     "closed",
     "test_runners.RunTests.test_asyncio_run_set_event_loop")
{
    begin();
    CHECK(cora_is_null(cora_current_loop()));
    CHECK_INT(cora_as_int(cora_run(cora_coroutine(give_current_is_running))), true);
    CHECK(cora_is_null(cora_current_loop()));
    end();
}

TEST(run_loop_factory, "a loop factory is called once, and its loop is the one",
     "test_runners.RunTests.test_asyncio_run_loop_factory")
{
    begin();
    cora_loop loop;
    cora_value value = cora_run(cora_coroutine(tell_loop, struct job, .loop = &loop, .number = 42),
                                .loop_factory = make_loop);
    CHECK_INT(cora_as_int(value), 42);
    CHECK_INT(makings, 1);
    CHECK(cora_same(loop, made));
    CHECK(cora_is_closed(made));
    end();
}

static cora_loop make_default(void)
{
    return cora_loop_new(NULL);
}

static cora_next give_backend(cora_coro self)
{
    return cora_return(self, ev_backend(cora_loop_ev(cora_running_loop())));
}

TEST(run_default_loop, "the default constructor as the factory makes the default kind of loop",
     "test_runners.RunTests.test_loop_factory_default_event_loop")
{
    begin();
    long long by_default = cora_as_int(cora_run(cora_coroutine(give_backend)));
    cora_value backend = cora_run(cora_coroutine(give_backend), .loop_factory = make_default);
    CHECK_INT(cora_as_int(backend), by_default);
    CHECK(by_default != 0);
    end();
}

static cora_loop make_none(void)
{
    return cora_loop_new(&(struct cora_loop_options){ .backend = "none such" });
}

TEST(run_no_loop, "without a loop the outcome is why there is none, and the coroutine is closed")
{
    begin();
    int drops = 0;
    cora_value outcome =
        cora_run(cora_coroutine_owning(give_number, drop_job, struct job, .counter = &drops),
                 .loop_factory = make_none);
    CHECK_INT(cora_error_code(outcome), CORA_EVALUE);
    CHECK_INT(drops, 1);
    end();
}

static cora_next raise_cancelled(cora_coro self)
{
    return cora_raise(self, cora_error(CORA_ECANCELLED, "enough"));
}

TEST(run_cancelled, "a coroutine that ends with Cancelled gives that: nobody has interrupted it")
{
    begin();
    CHECK_TEXT(text_of(cora_run(cora_coroutine(raise_cancelled))), "CancelledError: enough");
    end();
}

static cora_next stop_and_wait(cora_coro self)
{
    cora_finally(self, note_clean_up);
    cora_stop(cora_running_loop());
    return cora_await(self, cora_sleep(1000), cora_return_nothing);
}

TEST(run_stopped, "a loop that is stopped leaves the run with a RuntimeError; the task is then "
                  "cancelled")
{
    begin();
    struct notes notes = { "" };
    cora_value outcome =
        cora_run(cora_coroutine(stop_and_wait, struct job, .notes = &notes, .name = "cleaned up"));
    CHECK_TEXT(text_of(outcome), "RuntimeError: Event loop stopped before Future completed.");
    CHECK_TEXT(notes.text, "cleaned up");
    CHECK_REAL(passed(), 0, LATE);
    end();
}

static cora_next exit_program(cora_coro self)
{
    return cora_raise(self, cora_error(CORA_ESYSTEMEXIT, "3"));
}

TEST(run_system_exit, "SystemExit leaves the run, and is its outcome; what is left is cleaned up")
{
    begin();
    CHECK_TEXT(text_of(cora_run(cora_coroutine(exit_program), .loop_factory = make_loop)),
               "SystemExit: 3");
    CHECK(cora_is_closed(made));
    end();
}

static void interrupt_by_failing(cora_args bound)
{
    (void)bound;
    cora_fail(cora_error(CORA_EKEYBOARDINTERRUPT, NULL));
}

static cora_next call_interrupting(cora_coro self)
{
    cora_finally(self, note_clean_up);
    cora_call_soon(cora_running_loop(), cora_partial(interrupt_by_failing));
    return cora_await(self, cora_sleep(1000), cora_return_nothing);
}

TEST(run_callback_interrupts, "KeyboardInterrupt from a callback leaves the run; the task is then "
                              "cancelled")
{
    begin();
    struct notes notes = { "" };
    cora_value outcome = cora_run(
        cora_coroutine(call_interrupting, struct job, .notes = &notes, .name = "cleaned up"));
    CHECK_INT(cora_error_code(outcome), CORA_EKEYBOARDINTERRUPT);
    CHECK_TEXT(notes.text, "cleaned up");
    end();
}

static int prints;

static int print_counting(const void *pointer, char *buffer, size_t size)
{
    (void)pointer;
    prints++;
    return snprintf(buffer, size, "result");
}

static void drop_nothing(void *pointer)
{
    (void)pointer;
}

static const cora_type printing = { "printing", drop_nothing, print_counting, 0 };

static cora_next give_printing(cora_coro self)
{
    return cora_return(self, cora_own(&prints, &printing));
}

TEST(run_prints_nothing, "a run never prints the result",
     "test_runners.RunnerTests.test_no_repr_is_call_on_the_task_result")
{
    begin();
    prints = 0;
    cora_runner runner = cora_runner_new(NULL);
    CHECK(!cora_is_error(cora_runner_run(runner, cora_coroutine(give_printing))));
    CHECK_INT(cora_runner_close(runner), 0);
    CHECK_INT(prints, 0);
    end();
}

/* ---- tasks that are left ---- */

TEST(left_task_cancelled, "a task that is left is cancelled, and has ended when cora_run returns",
     "test_runners.RunTests.test_asyncio_run_cancels_hanging_tasks")
{
    begin();
    struct notes notes = { "" };
    cora_future left;
    cora_value value = cora_run(cora_coroutine(leave_task, struct job, .step = wait_and_note,
                                               .task = &left, .notes = &notes, .number = 123),
                                .loop_factory = make_loop);
    CHECK_INT(cora_as_int(value), 123);
    CHECK_TEXT(notes.text, "left");
    CHECK(cora_done(left));
    CHECK_REAL(passed(), 0, LATE);
    CHECK_INT(reports.count, 0);
    end();
}

static cora_next answer_spam(cora_coro self)
{
    CHECK(cora_error_is(cora_caught(self), CORA_ECANCELLED));
    return cora_raise(self, cora_error(CORA_EVALUE, "spam"));
}

static cora_next wait_and_answer_spam(cora_coro self)
{
    return cora_try(self, cora_sleep(1000), answer_spam);
}

TEST(left_task_fails, "a left task that answers its cancellation with an error is reported, once",
     "test_runners.RunTests.test_asyncio_run_reports_hanging_tasks_errors")
{
    begin();
    cora_future left;
    cora_value value = cora_run(cora_coroutine(leave_task, struct job, .number = 123, .task = &left,
                                               .step = wait_and_answer_spam),
                                .loop_factory = make_loop);
    CHECK_INT(cora_as_int(value), 123);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "unhandled exception during asyncio.run() shutdown");
    CHECK_TEXT(reports.error, "ValueError: spam");
    CHECK(cora_same(reports.future, left));
    CHECK_TEXT(reports.place.function, "leave_task");
    end();
}

static cora_next answer_slowly(cora_coro self)
{
    CHECK(cora_error_is(cora_caught(self), CORA_ECANCELLED));
    return wait_and_note(self);
}

static cora_next refuse_to_end(cora_coro self)
{
    JOB(self)->seconds = 5;
    return cora_try(self, cora_sleep(1000), answer_slowly);
}

TEST(left_task_refuses, "a left task that goes on all the same is waited for, and its value is "
                        "nobody's")
{
    begin();
    struct notes notes = { "" };
    cora_future left;
    cora_value value = cora_run(cora_coroutine(leave_task, struct job, .number = 123, .task = &left,
                                               .notes = &notes, .step = refuse_to_end),
                                .loop_factory = make_loop);
    CHECK_INT(cora_as_int(value), 123);
    CHECK_REAL(passed(), 5, LATE);
    CHECK_TEXT(notes.text, "left");
    CHECK_INT(reports.count, 0);
    end();
}

static cora_next leave_three(cora_coro self)
{
    struct job *job = JOB(self);
    static const char *const names[] = { "one", "two", "three" };
    for (int i = 0; i < 3; i++)
        cora_spawn(cora_running_loop(), cora_coroutine(wait_and_note, struct job, .seconds = 10 - i,
                                                       .notes = job->notes, .name = names[i]));
    return cora_await(self, cora_sleep(0), give_number);
}

TEST(left_tasks_in_order, "left tasks are cancelled in the order of their creation")
{
    begin();
    struct notes notes = { "" };
    cora_run(cora_coroutine(leave_three, struct job, .notes = &notes));
    CHECK_TEXT(notes.text, "one two three");
    end();
}

static cora_next leave_unstarted(cora_coro self)
{
    struct job *job = JOB(self);
    cora_spawn(cora_running_loop(), cora_coroutine(wait_and_note, struct job, .notes = job->notes,
                                                   .name = "left", .seconds = 1000));
    return cora_return(self, 5);
}

TEST(left_task_of_the_last_tick, "a task made with the last breath begins, and is cancelled then")
{
    begin();
    struct notes notes = { "" };
    cora_run(cora_coroutine(leave_unstarted, struct job, .notes = &notes),
             .loop_factory = make_loop);
    CHECK_TEXT(notes.text, "left");
    CHECK_INT(reports.count, 0);
    end();
}

static cora_next start_another(cora_coro self)
{
    cora_spawn(cora_running_loop(), cora_coroutine_owning(wait_long, drop_job, struct job,
                                                          .counter = JOB(self)->counter));
    return cora_raise(self, cora_caught(self));
}

static cora_next wait_and_start_another(cora_coro self)
{
    return cora_try(self, cora_sleep(1000), start_another);
}

static cora_next leave_starting(cora_coro self)
{
    cora_spawn(cora_running_loop(),
               cora_coroutine(wait_and_start_another, struct job, .counter = JOB(self)->counter));
    return cora_await(self, cora_sleep(0), give_number);
}

TEST(task_made_in_shutdown, "a task that is made while the others end is not waited for: it is "
                            "destroyed with the loop, and reported")
{
    begin();
    int drops = 0;
    cora_run(cora_coroutine(leave_starting, struct job, .counter = &drops),
             .loop_factory = make_loop);
    CHECK_INT(drops, 1);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Task was destroyed but it is pending!");
    end();
}

static cora_next look_at_loops(cora_coro self)
{
    struct job *job = JOB(self);
    *job->loop = cora_running_loop();
    CHECK(cora_same(cora_current_loop(), *job->loop));
    CHECK(!cora_is_closed(*job->loop));
    add_note(job->notes, "task");
    return cora_go_on(self);
}

static cora_next wait_and_look(cora_coro self)
{
    cora_finally(self, look_at_loops);
    return cora_await(self, cora_sleep(1000), cora_return_nothing);
}

struct noting {
    struct notes *notes;
};

static void note_drop(void *pointer)
{
    struct noting *noting = pointer;
    add_note(noting->notes, cora_is_null(cora_current_loop()) ? "closed" : "too early");
}

static const cora_type noting_type = { "noting", note_drop, NULL, 0 };

static cora_next leave_looking(cora_coro self)
{
    struct job *job = JOB(self);
    static struct noting noting;
    noting.notes = job->notes;
    cora_loop loop = cora_running_loop();
    cora_spawn(loop,
               cora_coroutine(wait_and_look, struct job, .loop = job->loop, .notes = job->notes));
    cora_call_later(loop, 1000, cora_partial(nothing, cora_own(&noting, &noting_type)));
    return cora_await(self, cora_sleep(0), give_number);
}

TEST(shutdown_order, "first the tasks end, then the current loop is unset, then the loop is closed")
{
    begin();
    struct notes notes = { "" };
    cora_loop loop = { 0 };
    cora_run(cora_coroutine(leave_looking, struct job, .notes = &notes, .loop = &loop));
    CHECK_TEXT(notes.text, "task closed");
    CHECK(cora_is_closed(loop));
    end();
}

static cora_next stop_in_shutdown(cora_coro self)
{
    cora_stop(cora_running_loop());
    return cora_await(self, cora_sleep(5), cora_return_nothing);
}

static cora_next wait_and_stop(cora_coro self)
{
    return cora_try(self, cora_sleep(1000), stop_in_shutdown);
}

TEST(shutdown_fails, "closing a runner gives what has failed, and closes the loop all the same")
{
    begin();
    cora_future left;
    cora_runner runner = cora_runner_new(NULL);
    cora_loop loop = cora_runner_loop(runner);
    collect_reports(loop, &reports);
    cora_runner_run(runner,
                    cora_coroutine(leave_task, struct job, .task = &left, .step = wait_and_stop));
    CHECK_INT(cora_runner_close(runner), CORA_ERUNTIME);
    CHECK_TEXT(cora_error_message(cora_last_error()),
               "Event loop stopped before Future completed.");
    CHECK(cora_is_closed(loop));
    end();
}

static cora_next wait_and_exit(cora_coro self)
{
    return cora_try(self, cora_sleep(1000), exit_program);
}

TEST(shutdown_exits, "SystemExit that a left task answers with is the code of the close")
{
    begin();
    cora_future left;
    cora_runner runner =
        cora_runner_new(&(struct cora_runner_options){ .loop_factory = make_loop });
    cora_value value =
        cora_runner_run(runner, cora_coroutine(leave_task, struct job, .task = &left, .number = 123,
                                               .step = wait_and_exit));
    CHECK_INT(cora_as_int(value), 123);
    CHECK_INT(cora_runner_close(runner), CORA_ESYSTEMEXIT);
    CHECK(cora_is_closed(made));
    end();
}

TEST(run_shutdown_exits, "and the outcome of cora_run, in the place of the value")
{
    begin();
    cora_future left;
    cora_value outcome = cora_run(
        cora_coroutine(leave_task, struct job, .task = &left, .number = 123, .step = wait_and_exit),
        .loop_factory = make_loop);
    CHECK_TEXT(text_of(outcome), "SystemExit: 3");
    CHECK(cora_is_closed(made));
    end();
}

/* ---- runners ---- */

TEST(runner_run, "a runner's run gives the value; closed, the runner has no loop any more",
     "test_runners.RunnerTests.test_run")
{
    begin();
    cora_runner runner = cora_runner_new(NULL);
    cora_loop loop = cora_runner_loop(runner);
    CHECK_TEXT(text_of(cora_runner_run(runner, cora_sleep_result(1, cora_text("done")))),
               "\"done\"");
    CHECK(!cora_is_closed(loop));
    CHECK_INT(cora_runner_close(runner), 0);
    CHECK(cora_is_null(cora_runner_loop(runner)));
    CHECK_TEXT(text_of(cora_last_error()), "RuntimeError: Runner is closed");
    CHECK(cora_is_closed(loop));
    end();
}

TEST(runner_same_loop, "a runner runs one thing after the other in one loop, the one that it tells")
{
    begin();
    cora_loop first, second;
    cora_runner runner = cora_runner_new(NULL);
    cora_runner_run(runner, cora_coroutine(tell_loop, struct job, .loop = &first));
    cora_runner_run(runner, cora_coroutine(tell_loop, struct job, .loop = &second));
    CHECK(cora_same(first, second));
    CHECK(cora_same(first, cora_runner_loop(runner)));
    CHECK_INT(cora_runner_close(runner), 0);
    end();
}

TEST(runner_result_borrowed, "what a run gives is there until the runner's next run")
{
    begin();
    int drops = 0;
    cora_runner runner = cora_runner_new(NULL);
    cora_value value =
        cora_runner_run(runner, cora_coroutine(give_counted, struct job, .counter = &drops));
    CHECK(cora_as_pointer(value) == &drops);
    CHECK_INT(drops, 0);
    cora_runner_run(runner, cora_coroutine(cora_return_nothing));
    CHECK_INT(drops, 1);
    CHECK_INT(cora_runner_close(runner), 0);
    CHECK_INT(drops, 1);
    end();
}

TEST(runner_custom_factory, "a runner's loop is what its factory made",
     "test_runners.RunnerTests.test_custom_factory")
{
    begin();
    cora_runner runner =
        cora_runner_new(&(struct cora_runner_options){ .loop_factory = make_loop });
    CHECK_INT(makings, 0);
    cora_loop loop = cora_runner_loop(runner);
    CHECK(cora_same(loop, made));
    cora_runner_run(runner, cora_coroutine(cora_return_nothing));
    CHECK_INT(makings, 1);
    CHECK_INT(cora_runner_close(runner), 0);
    CHECK(cora_is_closed(made));
    end();
}

/* The same for the loop of a runner. */
static bool debug_of_runner(char *variable, int debug)
{
    char *only[2] = { variable, NULL }, **outer = environ;
    cora_runner runner = cora_runner_new(&(struct cora_runner_options){ .debug = debug });
    environ = only;
    bool is = cora_get_debug(cora_runner_loop(runner));
    environ = outer;
    CHECK_INT(cora_runner_close(runner), 0);
    return is;
}

TEST(runner_non_debug, "with -1 the loop of a runner is not in debug mode",
     "test_runners.RunnerTests.test_non_debug")
{
    begin();
    CHECK(!debug_of_runner(debug_on, -1));
    CHECK(!debug_of_runner(debug_off, 0));
    end();
}

TEST(runner_debug, "with 1 it is", "test_runners.RunnerTests.test_debug")
{
    begin();
    CHECK(debug_of_runner(debug_off, 1));
    CHECK(debug_of_runner(debug_on, 0));
    end();
}

TEST(runner_null_coroutine, "a run of a null coroutine is an error, and the runner can go on",
     "test_runners.RunnerTests.test_run_non_coro")
{
    begin();
    cora_runner runner = cora_runner_new(NULL);
    cora_step none = NULL;
    CHECK(cora_is_error(cora_runner_run(runner, (cora_coro){ 0 })));
    CHECK(cora_is_error(cora_runner_run(runner, cora_coroutine(none))));
    CHECK_INT(cora_as_int(cora_runner_run(runner, cora_sleep_result(1, cora_int(5)))), 5);
    CHECK_INT(cora_runner_close(runner), 0);
    end();
}

TEST(runner_run_twice, "a coroutine that has run already is refused: RuntimeError")
{
    begin();
    cora_runner runner = cora_runner_new(NULL);
    cora_coro coro = cora_coroutine(give_number, struct job, .number = 6);
    CHECK_INT(cora_as_int(cora_runner_run(runner, coro)), 6);
    CHECK_INT(cora_error_code(cora_runner_run(runner, coro)), CORA_ERUNTIME);
    CHECK_INT(cora_runner_close(runner), 0);
    end();
}

TEST(runner_future, "a run of a future gives its value", "test_runners.RunnerTests.test_run_future")
{
    begin();
    cora_runner runner = cora_runner_new(NULL);
    cora_future future = cora_future_new(cora_runner_loop(runner));
    cora_set_result(future, cora_text("done"));
    CHECK_TEXT(cora_as_text(cora_runner_run(runner, future)), "done");
    CHECK_INT(cora_runner_close(runner), 0);
    end();
}

TEST(runner_foreign_future, "a run of a pending future of another loop is a RuntimeError, in the "
                            "runner's loop")
{
    begin();
    cora_loop foreign = make_loop();
    cora_runner runner = cora_runner_new(NULL);
    cora_value outcome = cora_runner_run(runner, cora_future_new(foreign));
    CHECK_INT(cora_error_code(outcome), CORA_ERUNTIME);
    CHECK_INT(cora_runner_close(runner), 0);
    cora_loop_close(foreign);
    end();
}

TEST(runner_awaitable, "a run of an operation gives its value",
     "test_runners.RunnerTests.test_run_awaitable")
{
    begin();
    cora_runner runner = cora_runner_new(NULL);
    CHECK_TEXT(cora_as_text(cora_runner_run(runner, cora_sleep_result(1, cora_text("done")))),
               "done");
    CHECK_INT(cora_runner_close(runner), 0);
    end();
}

TEST(runner_operation_with_array, "what an operation borrows is copied: it starts in a later tick")
{
    begin();
    cora_runner runner = cora_runner_new(NULL);
    cora_future both[2];
    make_futures(cora_runner_loop(runner), both, 2);
    cora_set_result(both[0], cora_int(1));
    cora_set_result(both[1], cora_int(2));
    cora_value lists = cora_runner_run(runner, cora_wait(both, 2, INFINITY, CORA_ALL_COMPLETED));
    CHECK_INT(cora_list_size(cora_list_at(lists, 0)), 2);
    CHECK_INT(cora_runner_close(runner), 0);
    end();
}

TEST(runner_explicit_close, "a runner that was only asked for its loop closes it, too",
     "test_runners.RunnerTests.test_explicit_close")
{
    begin();
    cora_runner runner = cora_runner_new(NULL);
    cora_loop loop = cora_runner_loop(runner);
    CHECK(!cora_is_closed(loop));
    CHECK_INT(cora_runner_close(runner), 0);
    CHECK(cora_is_null(cora_runner_loop(runner)));
    CHECK_TEXT(text_of(cora_last_error()), "RuntimeError: Runner is closed");
    CHECK(cora_is_closed(loop));
    end();
}

TEST(runner_double_close, "closing a second time does nothing",
     "test_runners.RunnerTests.test_double_close")
{
    begin();
    cora_runner runner = cora_runner_new(NULL);
    cora_loop loop = cora_runner_loop(runner);
    CHECK_INT(cora_runner_close(runner), 0);
    CHECK(cora_is_closed(loop));
    CHECK_INT(cora_runner_close(runner), 0);
    CHECK(cora_is_closed(loop));
    end();
}

TEST(runner_never_ran, "a runner that never ran makes no loop, and closes without one")
{
    begin();
    cora_runner runner =
        cora_runner_new(&(struct cora_runner_options){ .loop_factory = make_loop });
    CHECK_INT(cora_runner_close(runner), 0);
    CHECK_INT(makings, 0);
    CHECK_INT(cora_runner_close(runner), 0);
    end();
}

TEST(runner_run_closed, "a closed runner runs nothing: a RuntimeError, and the coroutine is closed",
     "test_runners.RunnerTests.test_second_with_block_raises")
{
    begin();
    int drops = 0;
    cora_runner runner = cora_runner_new(NULL);
    cora_runner_run(runner, cora_coroutine(cora_return_nothing));
    CHECK_INT(cora_runner_close(runner), 0);
    cora_loop loop = { 0 };
    cora_coro coro =
        cora_coroutine_owning(tell_loop, drop_job, struct job, .loop = &loop, .counter = &drops);
    CHECK_TEXT(text_of(cora_runner_run(runner, coro)), "RuntimeError: Runner is closed");
    CHECK(cora_is_null(loop));
    CHECK_INT(drops, 1);
    end();
}

TEST(runner_stale_handle, "a closed runner's handle is stale also when another one was made since")
{
    begin();
    cora_runner first = cora_runner_new(NULL);
    CHECK_INT(cora_runner_close(first), 0);
    cora_runner second = cora_runner_new(NULL);
    cora_loop loop = cora_runner_loop(second);
    CHECK(!cora_same(first, second));
    CHECK(cora_is_null(cora_runner_loop(first)));
    CHECK_INT(cora_runner_close(first), 0);
    CHECK(!cora_is_closed(loop));
    CHECK_INT(cora_runner_close(second), 0);
    end();
}

TEST(runner_null_handle, "every call on a null runner is an error")
{
    begin();
    int drops = 0;
    cora_runner null = { 0 };
    CHECK(cora_is_null(cora_runner_loop(null)));
    CHECK(cora_is_error(cora_runner_run(
        null, cora_coroutine_owning(give_number, drop_job, struct job, .counter = &drops))));
    CHECK_INT(drops, 1);
    CHECK(cora_runner_close(null) < 0);
    end();
}

TEST(runner_keeps_tasks, "tasks that are left go on with the next run, and are cancelled only when "
                         "the runner is closed")
{
    begin();
    struct notes notes = { "" };
    cora_future left;
    cora_runner runner = cora_runner_new(NULL);
    cora_runner_run(runner, cora_coroutine(leave_task, struct job, .task = &left, .notes = &notes,
                                           .step = wait_and_note));
    CHECK(!cora_done(left));
    cora_runner_run(runner, cora_sleep(999));
    CHECK(!cora_done(left));
    CHECK_TEXT(notes.text, "");
    cora_runner_run(runner, cora_sleep(2));
    CHECK(cora_done(left));
    CHECK(!cora_cancelled(left));
    CHECK_TEXT(notes.text, "left");
    cora_release(left);
    CHECK_INT(cora_runner_close(runner), 0);
    end();
}

static cora_next run_same_runner(cora_coro self)
{
    struct job *job = JOB(self);
    cora_coro inner =
        cora_coroutine_owning(give_number, drop_job, struct job, .counter = job->counter);
    return cora_raise(self, cora_runner_run(job->runner, inner));
}

TEST(runner_recursive_run,
     "a run inside a run of the same runner is refused, and the coroutine "
     "closed",
     "test_runners.RunnerTests.test_recursive_run")
{
    begin();
    int drops = 0;
    cora_runner runner =
        cora_runner_new(&(struct cora_runner_options){ .loop_factory = make_loop });
    cora_value outcome = cora_runner_run(
        runner, cora_coroutine(run_same_runner, struct job, .runner = runner, .counter = &drops));
    CHECK_TEXT(text_of(outcome),
               "RuntimeError: Runner.run() cannot be called from a running event loop");
    CHECK_INT(drops, 1);
    CHECK_INT(cora_runner_close(runner), 0);
    CHECK_INT(reports.count, 0);
    end();
}

static cora_next close_own_runner(cora_coro self)
{
    return cora_return(self, cora_runner_close(JOB(self)->runner));
}

TEST(runner_close_inside,
     "a runner cannot be closed while its loop is running; nothing happens then")
{
    begin();
    cora_runner runner = cora_runner_new(NULL);
    cora_value code =
        cora_runner_run(runner, cora_coroutine(close_own_runner, struct job, .runner = runner));
    CHECK_INT(cora_as_int(code), CORA_ERUNTIME);
    CHECK_INT(cora_as_int(cora_runner_run(runner, cora_sleep_result(1, cora_int(5)))), 5);
    CHECK_INT(cora_runner_close(runner), 0);
    end();
}

static void *use_runner(void *given)
{
    cora_runner runner = *(cora_runner *)given;
    CHECK(cora_is_null(cora_runner_loop(runner)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EWRONGTHREAD);
    CHECK_INT(cora_error_code(cora_runner_run(runner, cora_sleep(1))), CORA_EWRONGTHREAD);
    CHECK_INT(cora_runner_close(runner), CORA_EWRONGTHREAD);
    return NULL;
}

static void in_a_thread(void *(*function)(void *), void *given)
{
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, function, given), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
}

TEST(runner_of_another_thread, "a runner is its thread's: in another one every call is refused")
{
    begin();
    cora_runner runner = cora_runner_new(NULL);
    in_a_thread(use_runner, &runner);
    CHECK_INT(cora_as_int(cora_runner_run(runner, cora_sleep_result(1, cora_int(5)))), 5);
    CHECK_INT(cora_runner_close(runner), 0);
    end();
}

/* ---- the current loop ---- */

TEST(runner_current_loop,
     "the loop that a runner made is the thread's current one between runs, too")
{
    begin();
    cora_runner runner = cora_runner_new(NULL);
    CHECK(cora_is_null(cora_current_loop()));
    cora_loop loop = cora_runner_loop(runner);
    CHECK(cora_same(cora_current_loop(), loop));
    cora_runner_run(runner, cora_coroutine(cora_return_nothing));
    CHECK(cora_same(cora_current_loop(), loop));
    CHECK_INT(cora_runner_close(runner), 0);
    CHECK(cora_is_null(cora_current_loop()));
    end();
}

TEST(runner_current_loop_once, "it is made the current one once: what the program sets later stays",
     "test_runners.RunnerTests.test_set_event_loop_called_once")
{
    begin();
    cora_runner runner = cora_runner_new(NULL);
    cora_runner_run(runner, cora_coroutine(cora_return_nothing));
    CHECK(!cora_is_null(cora_current_loop()));
    cora_set_current_loop((cora_loop){ 0 });
    cora_runner_run(runner, cora_coroutine(cora_return_nothing));
    CHECK(cora_is_null(cora_current_loop()));
    CHECK_INT(cora_runner_close(runner), 0);
    end();
}

TEST(runner_current_loop_of_factory, "the loop of a factory is not made the current one, and what "
                                     "is stays so")
{
    begin();
    cora_loop other = cora_loop_new(NULL);
    cora_set_current_loop(other);
    cora_run(cora_coroutine(cora_return_nothing), .loop_factory = make_loop);
    CHECK(cora_same(cora_current_loop(), other));
    cora_set_current_loop((cora_loop){ 0 });
    cora_loop_close(other);
    end();
}

/* ---- the context ---- */

static const cora_variable variable = { "variable", { &cora_type_int, { (uint64_t)-1 } } };

/* Sets the variable to the number, and returns what it was. */
static cora_next set_variable(cora_coro self)
{
    cora_value before = cora_hold(self, cora_context_get(&variable));
    CHECK_INT(cora_context_set(&variable, cora_int(JOB(self)->number)), 0);
    return cora_return(self, before);
}

static long long set_to(cora_runner runner, int number)
{
    return cora_as_int(
        cora_runner_run(runner, cora_coroutine(set_variable, struct job, .number = number)));
}

TEST(runner_keeps_context, "all runs of a runner are in one context: what one sets the next finds",
     "test_runners.RunnerTests.test_run_keeps_context")
{
    begin();
    cora_runner runner = cora_runner_new(NULL);
    CHECK_INT(set_to(runner, 1), -1);
    CHECK_INT(set_to(runner, 2), 1);
    CHECK_INT(set_to(runner, 3), 2);
    CHECK_INT(cora_as_int(cora_context_get(&variable)), -1);
    CHECK_INT(cora_runner_close(runner), 0);
    end();
}

static cora_next set_variable_later(cora_coro self)
{
    return cora_await(self, cora_sleep(1), set_variable);
}

TEST(runner_keeps_context_over_steps, "also what is set in a later step")
{
    begin();
    cora_runner runner = cora_runner_new(NULL);
    cora_runner_run(runner, cora_coroutine(set_variable_later, struct job, .number = 1));
    CHECK_INT(set_to(runner, 2), 1);
    CHECK_INT(cora_runner_close(runner), 0);
    end();
}

TEST(runner_copies_context, "that context is a copy, made when the loop is")
{
    begin();
    CHECK_INT(cora_context_set(&variable, cora_int(7)), 0);
    cora_runner runner = cora_runner_new(NULL);
    CHECK_INT(cora_context_set(&variable, cora_int(8)), 0);
    cora_runner_loop(runner);
    CHECK_INT(cora_context_set(&variable, cora_int(9)), 0);
    CHECK_INT(set_to(runner, 1), 8);
    CHECK_INT(cora_runner_close(runner), 0);
    end();
}

TEST(runner_context_option,
     "with the option context a run is in that one; the runner's stays as it "
     "is")
{
    begin();
    cora_runner runner = cora_runner_new(NULL);
    cora_value context = cora_copy(cora_copy_context());
    CHECK_INT(set_to(runner, 1), -1);
    cora_value before = cora_runner_run(
        runner, cora_coroutine(set_variable, struct job, .number = 5), .context = context);
    CHECK_INT(cora_as_int(before), -1);
    CHECK_INT(cora_as_int(cora_context_value(context, &variable)), 5);
    CHECK_INT(set_to(runner, 2), 1);
    CHECK_INT(cora_runner_close(runner), 0);
    cora_drop(context);
    end();
}

TEST(runner_no_context, "a context that is none is a TypeError, and the coroutine is closed")
{
    begin();
    int drops = 0;
    cora_runner runner = cora_runner_new(NULL);
    cora_value outcome = cora_runner_run(
        runner, cora_coroutine_owning(give_number, drop_job, struct job, .counter = &drops),
        .context = cora_int(5));
    CHECK_INT(cora_error_code(outcome), CORA_ETYPE);
    CHECK_INT(drops, 1);
    CHECK_INT(cora_runner_close(runner), 0);
    end();
}

/* ---- interrupts: real signals, in real time ---- */

#define SOON 0.005

static void send_interrupt(cora_args bound)
{
    (void)bound;
    kill(getpid(), SIGINT);
}

static void interrupt_soon(double seconds)
{
    CHECK(
        !cora_is_null(cora_call_later(cora_running_loop(), seconds, cora_partial(send_interrupt))));
}

static bool interrupts_are_default(void)
{
    struct sigaction now;
    CHECK_INT(sigaction(SIGINT, NULL, &now), 0);
    return now.sa_handler == SIG_DFL;
}

/* Waits for the interrupt; notes that it was cancelled, and passes that on. */
static cora_next note_cancelled(cora_coro self)
{
    struct job *job = JOB(self);
    CHECK(cora_error_is(cora_caught(self), CORA_ECANCELLED));
    add_note(job->notes, "cancelled");
    return cora_raise(self, cora_caught(self));
}

static cora_next sleep_for_ever(cora_coro self)
{
    if (!cora_is_nothing(cora_caught(self)))
        return note_cancelled(self);
    return cora_try(self, cora_sleep(0), sleep_for_ever);
}

static cora_next interrupted_sleeping(cora_coro self)
{
    interrupt_soon(SOON);
    return sleep_for_ever(self);
}

TEST(interrupt_sleeping,
     "SIGINT cancels the main task, also one that never rests; the run gives "
     "KeyboardInterrupt",
     "test_runners.RunnerTests.test_interrupt_call_soon")
{
    struct notes notes = { "" };
    cora_runner runner = cora_runner_new(NULL);
    cora_value outcome =
        cora_runner_run(runner, cora_coroutine(interrupted_sleeping, struct job, .notes = &notes));
    CHECK_INT(cora_error_code(outcome), CORA_EKEYBOARDINTERRUPT);
    CHECK_TEXT(notes.text, "cancelled");
    CHECK(interrupts_are_default());
    CHECK_INT(cora_runner_close(runner), 0);
}

static cora_next interrupted_waiting(cora_coro self)
{
    struct job *job = JOB(self);
    interrupt_soon(SOON);
    *job->task = cora_keep(cora_future_new(cora_running_loop()));
    return cora_try(self, *job->task, note_cancelled);
}

TEST(interrupt_waiting, "a future that it waits for is cancelled, too",
     "test_runners.RunnerTests.test_interrupt_wait")
{
    struct notes notes = { "" };
    cora_future future;
    cora_runner runner = cora_runner_new(NULL);
    cora_value outcome = cora_runner_run(
        runner, cora_coroutine(interrupted_waiting, struct job, .notes = &notes, .task = &future));
    CHECK_INT(cora_error_code(outcome), CORA_EKEYBOARDINTERRUPT);
    CHECK(cora_cancelled(future));
    CHECK_TEXT(notes.text, "cancelled");
    CHECK_INT(cora_release(future), 0);
    CHECK_INT(cora_runner_close(runner), 0);
}

static cora_next take_it_lightly(cora_coro self)
{
    CHECK(cora_error_is(cora_caught(self), CORA_ECANCELLED));
    return cora_try(self, cora_sleep(10), note_cancelled);
}

static cora_next cancel_and_interrupt(cora_coro self)
{
    CHECK(cora_cancel(*JOB(self)->task));
    kill(getpid(), SIGINT);
    return cora_return(self, cora_nothing());
}

static cora_next interrupted_and_cancelled(cora_coro self)
{
    struct job *job = JOB(self);
    cora_loop loop = cora_running_loop();
    *job->task = cora_current_task(loop);
    cora_spawn(loop, cora_coroutine(cancel_and_interrupt, struct job, .task = job->task));
    return cora_try(self, cora_sleep(10), take_it_lightly);
}

TEST(interrupt_cancelled_task,
     "if somebody else has cancelled the main task as well, Cancelled "
     "stays",
     "test_runners.RunnerTests.test_interrupt_cancelled_task")
{
    struct notes notes = { "" };
    cora_future task;
    cora_runner runner = cora_runner_new(NULL);
    cora_value outcome =
        cora_runner_run(runner, cora_coroutine(interrupted_and_cancelled, struct job, .task = &task,
                                               .notes = &notes));
    CHECK_INT(cora_error_code(outcome), CORA_ECANCELLED);
    CHECK_TEXT(notes.text, "cancelled");
    CHECK_INT(cora_runner_close(runner), 0);
}

static cora_next swallow(cora_coro self)
{
    CHECK(cora_error_is(cora_caught(self), CORA_ECANCELLED));
    return cora_return(self, "never mind");
}

static cora_next interrupted_swallowing(cora_coro self)
{
    interrupt_soon(SOON);
    return cora_try(self, cora_sleep(10), swallow);
}

TEST(interrupt_swallowed,
     "a main task that takes no notice of its cancellation gives its value; the "
     "interrupt is forgotten")
{
    cora_runner runner = cora_runner_new(NULL);
    for (int i = 0; i < 2; i++) {
        cora_value value = cora_runner_run(runner, cora_coroutine(interrupted_swallowing));
        CHECK_TEXT(cora_as_text(value), "never mind");
    }
    CHECK_INT(cora_runner_close(runner), 0);
}

static cora_next raise_other(cora_coro self)
{
    CHECK(cora_error_is(cora_caught(self), CORA_ECANCELLED));
    return cora_raise(self, cora_error(CORA_EVALUE, "spam"));
}

static cora_next interrupted_raising(cora_coro self)
{
    interrupt_soon(SOON);
    return cora_try(self, cora_sleep(10), raise_other);
}

TEST(interrupt_answered, "one that answers with another error gives that")
{
    CHECK_TEXT(text_of(cora_run(cora_coroutine(interrupted_raising))), "ValueError: spam");
}

/* The second one comes when the first was seen: else they may be one. */
static cora_next interrupted_again(cora_coro self)
{
    interrupt_soon(SOON);
    return take_it_lightly(self);
}

static cora_next interrupted_twice(cora_coro self)
{
    interrupt_soon(SOON);
    cora_finally(self, note_clean_up);
    return cora_try(self, cora_sleep(10), interrupted_again);
}

TEST(interrupt_twice,
     "the second SIGINT leaves the run with KeyboardInterrupt, though the task goes "
     "on; it is cancelled when the runner is closed")
{
    struct notes notes = { "" };
    cora_runner runner =
        cora_runner_new(&(struct cora_runner_options){ .loop_factory = make_loop });
    cora_value outcome =
        cora_runner_run(runner, cora_coroutine(interrupted_twice, struct job, .notes = &notes,
                                               .name = "cleaned up"));
    CHECK_INT(cora_error_code(outcome), CORA_EKEYBOARDINTERRUPT);
    CHECK_TEXT(notes.text, "");
    CHECK(interrupts_are_default());
    CHECK_INT(cora_list_size(cora_all_tasks(made)), 1);
    CHECK_INT(cora_runner_close(runner), 0);
    CHECK_TEXT(notes.text, "cancelled cleaned up");
    CHECK_INT(cora_live_coroutines(), 0);
}

TEST(interrupt_run, "cora_run gives KeyboardInterrupt, too, and has cleaned up then")
{
    struct notes notes = { "" };
    cora_value outcome = cora_run(cora_coroutine(interrupted_sleeping, struct job, .notes = &notes),
                                  .loop_factory = make_loop);
    CHECK_INT(cora_error_code(outcome), CORA_EKEYBOARDINTERRUPT);
    CHECK_TEXT(notes.text, "cancelled");
    CHECK(cora_is_closed(made));
    CHECK(interrupts_are_default());
    CHECK_INT(cora_live_coroutines(), 0);
}

static cora_next interrupted_at_the_end(cora_coro self)
{
    kill(getpid(), SIGINT);
    return cora_return(self, 7);
}

TEST(interrupt_at_the_end,
     "a SIGINT that comes in the last step of the main task is not lost: what "
     "that returns is dropped, and the run gives KeyboardInterrupt")
{
    cora_value outcome = cora_run(cora_coroutine(interrupted_at_the_end));
    CHECK_INT(cora_error_code(outcome), CORA_EKEYBOARDINTERRUPT);
}

static cora_next interrupted_with_others(cora_coro self)
{
    struct job *job = JOB(self);
    cora_spawn(cora_running_loop(), cora_coroutine(wait_and_note, struct job, .seconds = 10,
                                                   .notes = job->notes, .name = "other"));
    interrupt_soon(SOON);
    return cora_try(self, cora_sleep(10), note_cancelled);
}

TEST(interrupt_with_others, "SIGINT cancels the main task alone; the others are cancelled at the "
                            "close")
{
    struct notes notes = { "" };
    cora_value outcome =
        cora_run(cora_coroutine(interrupted_with_others, struct job, .notes = &notes));
    CHECK_INT(cora_error_code(outcome), CORA_EKEYBOARDINTERRUPT);
    CHECK_TEXT(notes.text, "cancelled other");
}

static cora_next look_at_action(cora_coro self)
{
    return cora_return(self, interrupts_are_default());
}

TEST(interrupts_while_running, "SIGINT is the runner's only while something runs")
{
    cora_runner runner = cora_runner_new(NULL);
    cora_runner_loop(runner);
    CHECK(interrupts_are_default());
    CHECK_INT(cora_as_int(cora_runner_run(runner, cora_coroutine(look_at_action))), false);
    CHECK(interrupts_are_default());
    CHECK_INT(cora_as_int(cora_runner_run(runner, cora_coroutine(look_at_action))), false);
    CHECK_INT(cora_runner_close(runner), 0);
    CHECK(interrupts_are_default());
}

static volatile sig_atomic_t own_interrupts;

static void on_own_interrupt(int number)
{
    (void)number;
    own_interrupts = own_interrupts + 1;
}

static cora_next interrupt_and_sleep(cora_coro self)
{
    kill(getpid(), SIGINT);
    return cora_await(self, cora_sleep_result(SOON, cora_int(5)), cora_return_got);
}

TEST(interrupt_handled_by_program, "a program that handles SIGINT itself does so in a run, too")
{
    struct sigaction own = { .sa_handler = on_own_interrupt }, now;
    CHECK_INT(sigaction(SIGINT, &own, NULL), 0);
    own_interrupts = 0;
    CHECK_INT(cora_as_int(cora_run(cora_coroutine(interrupt_and_sleep))), 5);
    CHECK_INT(own_interrupts, 1);
    CHECK_INT(sigaction(SIGINT, NULL, &now), 0);
    CHECK(now.sa_handler == on_own_interrupt);
    own.sa_handler = SIG_DFL;
    CHECK_INT(sigaction(SIGINT, &own, NULL), 0);
}

static cora_next handle_and_interrupt(cora_coro self)
{
    struct job *job = JOB(self);
    CHECK_INT(cora_add_signal_handler(cora_running_loop(), SIGINT,
                                      cora_partial(note, job->notes, "handled")),
              0);
    kill(getpid(), SIGINT);
    return cora_await(self, cora_sleep_result(4 * SOON, cora_int(5)), cora_return_got);
}

TEST(interrupt_handled_by_body,
     "the body may handle it otherwise, with a signal handler of the loop")
{
    struct notes notes = { "" };
    cora_value value = cora_run(cora_coroutine(handle_and_interrupt, struct job, .notes = &notes));
    CHECK_INT(cora_as_int(value), 5);
    CHECK_TEXT(notes.text, "handled");
    CHECK(interrupts_are_default());
}

static void *run_in_thread(void *given)
{
    cora_value value = cora_run(cora_coroutine(look_at_action));
    *(int *)given = (int)cora_as_int(value);
    return NULL;
}

TEST(interrupts_in_threads,
     "in another thread than the main one a runner leaves SIGINT alone, and "
     "works",
     "test_runners.RunnerTests.test_signal_install_not_supported_ok")
{
    int is_default = -1;
    in_a_thread(run_in_thread, &is_default);
    CHECK_INT(is_default, true);
}

TEST(interrupts_taken, "so it does if another loop has taken the signal")
{
    cora_loop other = cora_loop_new(NULL);
    int interrupts = 0;
    CHECK_INT(cora_add_signal_handler(other, SIGINT, cora_partial(count, &interrupts)), 0);
    CHECK_INT(cora_as_int(cora_run(cora_coroutine(interrupt_and_sleep))), 5);
    run_for(other, SOON);
    CHECK_INT(interrupts, 1);
    cora_loop_close(other);
}

/* ---- cora_shutdown ---- */

static void note_shut(cora_args bound, cora_future done)
{
    CHECK(cora_is_nothing(cora_result(done)));
    add_note(cora_arg(bound, 0, struct notes *), "shut");
}

static void spawn_waiting(cora_loop loop, struct notes *notes, const char *name)
{
    CHECK_INT(cora_spawn(loop, cora_coroutine(wait_and_note, struct job, .seconds = 1000,
                                              .notes = notes, .name = name)),
              0);
}

TEST(shutdown_callback, "cora_shutdown cancels all tasks of a loop, and calls back when they have "
                        "ended")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    spawn_waiting(loop, &notes, "one");
    spawn_waiting(loop, &notes, "two");
    tick(loop);
    cora_when_done(cora_shutdown(loop), cora_partial(note_shut, &notes));
    ticks(loop, 6);
    CHECK_TEXT(notes.text, "one two shut");
    CHECK_INT(cora_list_size(cora_all_tasks(loop)), 0);
    current_loop_end(loop);
    CHECK_INT(cora_live_coroutines(), 0);
}

static cora_next await_shutdown(cora_coro self)
{
    return cora_await(self, cora_shutdown(cora_running_loop()), give_number);
}

TEST(shutdown_awaited, "the task that awaits it is not cancelled, and goes on when the others have "
                       "ended")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    spawn_waiting(loop, &notes, "one");
    tick(loop);
    cora_value value =
        cora_run_until_complete(loop, cora_coroutine(await_shutdown, struct job, .number = 6));
    CHECK_INT(cora_as_int(value), 6);
    CHECK_TEXT(notes.text, "one");
    CHECK_REAL(cora_time(loop), START, LATE);
    virtual_loop_end(loop);
}

TEST(shutdown_of_none, "where there is nothing to cancel it ends at once, without a tick")
{
    cora_loop loop = virtual_loop_new();
    cora_future task =
        cora_create_task(loop, cora_coroutine(await_shutdown, struct job, .number = 6));
    tick(loop);
    CHECK_TEXT(outcome(task), "6");
    virtual_loop_end(loop);
}

TEST(shutdown_waits, "it waits for those that take their time to end")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_spawn(loop, cora_coroutine(refuse_to_end, struct job, .notes = &notes, .name = "slow"));
    tick(loop);
    cora_run_until_complete(loop, cora_coroutine(await_shutdown, struct job));
    CHECK_TEXT(notes.text, "slow");
    CHECK_REAL(cora_time(loop), START + 5, LATE);
    virtual_loop_end(loop);
}

TEST(shutdown_reports, "errors that tasks answer with are reported when all have ended, in order")
{
    cora_loop loop = virtual_loop_new();
    collect_reports(loop, &reports);
    cora_future first = cora_create_task(loop, cora_coroutine(wait_and_answer_spam));
    cora_future second = cora_create_task(loop, cora_coroutine(wait_and_answer_spam));
    tick(loop);
    CHECK(!cora_same(first, second));
    cora_run_until_complete(loop, cora_coroutine(await_shutdown, struct job));
    CHECK_INT(reports.count, 2);
    CHECK_TEXT(reports.message, "unhandled exception during asyncio.run() shutdown");
    CHECK(cora_same(reports.future, second));
    virtual_loop_end(loop);
    CHECK_INT(reports.count, 2);
}

TEST(shutdown_cancelled, "if cancelled, it ends with Cancelled when the tasks have ended")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    spawn_waiting(loop, &notes, "one");
    tick(loop);
    cora_future task =
        cora_create_task(loop, cora_coroutine(await_shutdown, struct job, .number = 6));
    tick(loop);
    CHECK(cora_cancel(task));
    ticks(loop, 6);
    CHECK(cora_cancelled(task));
    CHECK_TEXT(notes.text, "one");
    virtual_loop_end(loop);
}

static cora_next await_shutdown_of(cora_coro self)
{
    return cora_await(self, cora_shutdown(*JOB(self)->loop), cora_return_got);
}

TEST(shutdown_of_closed_loop, "of a loop that is closed, or null, it ends with an error")
{
    cora_loop loop = virtual_loop_new(), closed = cora_loop_new(NULL), null = { 0 };
    cora_loop_close(closed);
    cora_value outcome = cora_run_until_complete(
        loop, cora_coroutine(await_shutdown_of, struct job, .loop = &closed));
    CHECK(cora_is_error(outcome));
    outcome =
        cora_run_until_complete(loop, cora_coroutine(await_shutdown_of, struct job, .loop = &null));
    CHECK(cora_is_error(outcome));
    virtual_loop_end(loop);
}

/* ---- a guest that leaves its host ---- */

static struct ev_loop *host_new(void)
{
    const char *backend = getenv("CORA_BACKEND");
    unsigned flags = EVBACKEND_EPOLL;
    if (backend && strcmp(backend, "poll") == 0)
        flags = EVBACKEND_POLL;
    if (backend && strcmp(backend, "select") == 0)
        flags = EVBACKEND_SELECT;
    struct ev_loop *host = ev_loop_new(flags | EVFLAG_NOENV);
    CHECK(host != NULL);
    return host;
}

static void leave_host(cora_args bound, cora_future done)
{
    note_shut(bound, done);
    CHECK_INT(cora_loop_detach(cora_running_loop()), 0);
}

static void begin_to_leave(cora_args bound)
{
    cora_when_done(cora_shutdown(cora_running_loop()),
                   cora_partial(leave_host, cora_arg(bound, 0, struct notes *)));
}

TEST(guest_leaves,
     "a guest that shuts down, and detaches then, leaves no task behind; its host's run "
     "ends")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    struct notes notes = { "" };
    collect_reports(guest, &reports);
    spawn_waiting(guest, &notes, "one");
    spawn_waiting(guest, &notes, "two");
    cora_call_later(guest, 0.001, cora_partial(begin_to_leave, &notes));
    ev_run(host, 0);
    CHECK_TEXT(notes.text, "one two shut");
    CHECK(cora_is_closed(guest));
    CHECK_INT(reports.count, 0);
    CHECK_INT(cora_live_coroutines(), 0);
    ev_loop_destroy(host);
}

static cora_next detach_and_end(cora_coro self)
{
    struct job *job = JOB(self);
    CHECK_INT(cora_list_size(cora_all_tasks(*job->loop)), 1); /* its own */
    CHECK_INT(cora_loop_detach(*job->loop), 0);
    add_note(job->notes, "left");
    return cora_return(self, cora_nothing());
}

static cora_next shut_guest(cora_coro self)
{
    return cora_await(self, cora_shutdown(*JOB(self)->loop), detach_and_end);
}

TEST(guest_leaves_in_a_step, "a coroutine may do that as well; it is the last thing to run")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    struct notes notes = { "" };
    collect_reports(guest, &reports);
    spawn_waiting(guest, &notes, "one");
    cora_spawn(guest, cora_coroutine(shut_guest, struct job, .loop = &guest, .notes = &notes));
    ev_run(host, 0);
    CHECK_TEXT(notes.text, "one left");
    CHECK(cora_is_closed(guest));
    CHECK_INT(cora_live_coroutines(), 0);
    ev_loop_destroy(host);
}

static void run_as_guest(cora_args bound)
{
    cora_value outcome = cora_run(cora_sleep(1));
    *cora_arg(bound, 0, int *) = cora_error_code(outcome);
}

TEST(guest_runs_nothing, "in a guest's callback cora_run is refused as in any running loop")
{
    struct ev_loop *host = host_new();
    cora_loop guest = cora_loop_attach(host, NULL);
    int code = 0;
    cora_call_soon(guest, cora_partial(run_as_guest, &code));
    ev_run(host, 0);
    CHECK_INT(code, CORA_ERUNTIME);
    CHECK_INT(cora_loop_detach(guest), 0);
    ev_loop_destroy(host);
}

TEST(many_runs, "a second load of runs takes no more memory")
{
    long resident = 0;
    int load = harness_scale(200);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < load; i++)
            CHECK_INT(cora_as_int(cora_run(cora_sleep_result(0, cora_int(i)))), i);
        if (round == 1)
            resident = resident_bytes();
    }
    CHECK(resident_bytes() <= resident + 200000);
}
