/*
 * Memory runs out: a program of coroutines, tasks, generators and runners, repeated with the first
 * allocation failing, then the second, and so on, until it needs no more.
 */
#include "failing.h"

/* ---- the program ---- */

static cora_next over(cora_coro self)
{
    return cora_return(self, cora_textf("over %d", 3));
}

static cora_next clean(cora_coro self)
{
    return cora_go_on(self);
}

static cora_next waited(cora_coro self)
{
    cora_value error = cora_caught(self);
    return cora_is_error(error) ? cora_raise(self, error) : cora_return(self, cora_text("waited"));
}

/* Holds a value and futures, waits for these, and has something to clean up. */
static cora_next worker(cora_coro self)
{
    cora_future futures[9];
    cora_finally(self, clean);
    cora_hold(self, cora_text("held"));
    for (int i = 0; i < 9; i++)
        futures[i] = cora_future_new(cora_running_loop());
    for (int i = 0; i < 9; i++)
        cora_set_result(futures[i], cora_text("result"));
    return cora_try(self, cora_wait(futures, 9, 1, CORA_ALL_COMPLETED), waited);
}

static cora_next rested(cora_coro self)
{
    return cora_await(self, cora_sleep_result(0.0005, cora_text("rest")), over);
}

static cora_next nests(cora_coro self)
{
    return cora_await(self, new_worker(worker), rested);
}

static cora_next begin(cora_coro self)
{
    cora_loop loop = cora_running_loop();
    cora_coro coros[3] = { new_worker(nests), new_worker(worker), cora_coroutine(nests) };
    cora_create_task(loop, new_worker(nests), .name = "named");
    cora_spawn(loop, cora_sleep(0.0005));
    cora_cancel_with(cora_create_task(loop, cora_sleep(5)), "not needed");
    return cora_try(self, cora_gather(loop, coros, 3, .return_exceptions = true), over);
}

static cora_next second(cora_coro self)
{
    return cora_yield(self, 2, over);
}

static cora_next first(cora_coro self)
{
    return cora_yield(self, "one", second);
}

static void drive_generator(void)
{
    cora_coro generator = cora_generator(first);
    cora_value value;
    cora_send(generator, cora_nothing(), &value);
    cora_send(generator, cora_nothing(), &value);
    cora_coro_close(generator);
}

static void ignore(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)bound, (void)loop, (void)report;
}

static cora_loop quiet_loop(void)
{
    cora_loop loop = cora_loop_new(NULL);
    if (!cora_is_null(loop) && cora_set_exception_handler(loop, cora_partial(ignore)) == 0)
        return loop;
    cora_loop_close(loop);
    return (cora_loop){ 0 };
}

static void program(void)
{
    cora_loop loop = quiet_loop();
    if (cora_is_null(loop))
        return;
    cora_run_until_complete(loop, cora_coroutine(begin));
    drive_generator();
    cora_loop_close(loop);
    struct cora_runner_options options = { .loop_factory = quiet_loop };
    cora_runner runner = cora_runner_new(&options);
    cora_runner_run(runner, cora_coroutine(begin));
    cora_runner_close(runner);
}

/* In a thread of its own, so that no block that was given back before is at hand. */
static void *program_in_thread(void *coroutines)
{
    program();
    let_all_succeed();
    *(size_t *)coroutines = cora_live_coroutines();
    return NULL;
}

TEST_WITH_LIMIT(60, every_allocation_fails, "whichever allocation fails, nothing is lost or leaked")
{
    size_t values = cora_live_values(), coroutines = 0;
    for (long failing = 0;; failing++) {
        pthread_t thread;
        made = dropped = 0;
        fail_allocation(failing);
        CHECK_INT(pthread_create(&thread, NULL, program_in_thread, &coroutines), 0);
        CHECK_INT(pthread_join(thread, NULL), 0);
        CHECK_INT(dropped, made);
        CHECK_INT(coroutines, 0);
        CHECK_INT(cora_live_values(), values);
        if (allocated > failing)
            continue;
        CHECK(failing > 50);
        return;
    }
}
