/*
 * How it works: a runner is a slot in a pool of the process. Running makes a task, in the runner's
 * context, and runs the loop until that is done; a signal handler of the loop's stands for
 * Python's. Shutting down is a coroutine like a program's own.
 */
#include "runner.h"

#include "private_coroutine.h"
#include "run.h"
#include "run_in_executor.h"

#include "reactor/context.h"
#include "reactor/fork.h"
#include "reactor/signal.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#define THREAD_JOIN_TIMEOUT 300. /* seconds, as asyncio's */

struct runner {
    struct slot slot;
    struct cora_runner_options options;
    cora_loop loop;                  /* null: not made yet */
    cora_value context;              /* counted */
    bool is_current;                 /* the loop was made the thread's current one */
    cora_future task;                /* what runs now, or null */
    unsigned interrupts;             /* SIGINTs since that began */
    _Atomic(struct thread *) thread; /* whose it is */
};

static pthread_mutex_t runners_lock = PTHREAD_MUTEX_INITIALIZER;
static struct pool runners_pool;
static struct fork_hooks runners_fork_hooks = { .lock = &runners_lock };

/* ---- shutdown ---- */

struct shutdown {
    cora_loop loop;
    cora_value tasks; /* a list, counted by cora_hold */
};

/* The tasks have ended: an error of one is reported. */
static cora_next shutdown_over(cora_coro self)
{
    struct shutdown *shutdown = cora_locals(self, struct shutdown);
    struct loop *loop = loop_get(shutdown->loop);
    for (size_t i = 0; loop && loop->ev && i < cora_list_size(shutdown->tasks); i++) {
        cora_future task = cora_as_future(cora_list_at(shutdown->tasks, i));
        struct future *future = future_find(task);
        if (!future || future_phase(future) != FUTURE_FAILED)
            continue;
        char text[600];
        cora_future_print(task, text, sizeof text);
        struct cora_report report = { .message =
                                          "unhandled exception during asyncio.run() shutdown",
                                      .exception = future_read(future),
                                      .future = task,
                                      .object = text,
                                      .place = future->place };
        loop_report(loop, &report);
    }
    return cora_return_nothing(self);
}

/* Cancels all but the own task, and waits for them. */
static cora_next shutdown_begin(cora_coro self)
{
    struct shutdown *shutdown = cora_locals(self, struct shutdown);
    cora_future own = cora_current_task(shutdown->loop);
    cora_value all = cora_hold(self, cora_all_tasks(shutdown->loop));
    if (cora_is_error(all))
        return cora_raise(self, all);
    size_t size = cora_list_size(all), count = 0;
    cora_future *tasks = size > 0 ? block_get(size * sizeof *tasks) : NULL;
    cora_value *values = tasks ? block_get(size * sizeof *values) : NULL;
    if (!values) {
        if (tasks)
            block_put(tasks, size * sizeof *tasks);
        return size > 0 ? cora_raise(self, memory_error()) : cora_return_nothing(self);
    }
    for (size_t i = 0; i < size; i++) {
        cora_future task = cora_as_future(cora_list_at(all, i));
        if (cora_same(task, own))
            continue;
        cora_cancel(task);
        values[count] = cora_from_future(task);
        tasks[count++] = task;
    }
    shutdown->tasks = cora_hold(self, cora_list(values, count));
    block_put(values, size * sizeof *values);
    cora_future over = { 0 };
    if (count > 0)
        over = cora_gather(shutdown->loop, tasks, count, .return_exceptions = true);
    block_put(tasks, size * sizeof *tasks);
    if (count == 0)
        return cora_return_nothing(self);
    return cora_await(self, over, shutdown_over);
}

cora_awaitable cora_shutdown(cora_loop loop)
{
    return cora_awaitable_of_coro(
        cora_coroutine(shutdown_begin, struct shutdown, .loop = loop, .tasks = { NULL, { 0 } }));
}

/* ---- runners ---- */

static struct runner *runner_get(cora_runner handle)
{
    struct slot *slot = slot_at(handle.bits);
    if (cora_is_null(handle)) {
        fail(CORA_EMEMORY, "the runner is null: it could not be made");
        return NULL;
    }
    if (!slot || slot->bits != handle.bits || slot_state(slot) == SLOT_FREE ||
        slot->kind != SLOT_RUNNER) {
        fail(CORA_ERUNTIME, "Runner is closed");
        return NULL;
    }
    struct runner *runner = (struct runner *)slot;
    if (atomic_load_explicit(&runner->thread, memory_order_relaxed) != &cora_thread) {
        fail(CORA_EWRONGTHREAD, "the runner belongs to another thread");
        return NULL;
    }
    return runner;
}

cora_runner cora_runner_new(const struct cora_runner_options *options)
{
    fork_hooks_add(&runners_fork_hooks);
    pthread_mutex_lock(&runners_lock);
    if (!runners_pool.slot_size)
        pool_init(&runners_pool, NULL, SLOT_RUNNER, (sizeof(struct runner) + 15) & ~(size_t)15);
    struct runner *runner = (struct runner *)pool_take(&runners_pool);
    pthread_mutex_unlock(&runners_lock);
    if (!runner) {
        fail_with(memory_error());
        return (cora_runner){ 0 };
    }
    memset((char *)runner + sizeof runner->slot, 0, sizeof *runner - sizeof runner->slot);
    if (options)
        runner->options = *options;
    atomic_store(&runner->thread, &cora_thread);
    return (cora_runner){ runner->slot.bits };
}

/* Makes its loop, if it has none yet. */
static int runner_start(struct runner *runner)
{
    if (!cora_is_null(runner->loop))
        return 0;
    cora_value context = cora_copy(cora_copy_context());
    if (cora_is_error(context))
        return fail_with(memory_error());
    cora_loop loop =
        runner->options.loop_factory ? runner->options.loop_factory() : cora_loop_new(NULL);
    if (cora_is_null(loop)) {
        cora_drop(context);
        return cora_last_error_code();
    }
    runner->loop = loop;
    runner->context = context;
    if (!runner->options.loop_factory) {
        cora_set_current_loop(loop);
        runner->is_current = true;
    }
    if (runner->options.debug)
        cora_set_debug(loop, runner->options.debug > 0);
    return 0;
}

cora_loop cora_runner_loop(cora_runner handle)
{
    struct runner *runner = runner_get(handle);
    return runner && runner_start(runner) == 0 ? runner->loop : (cora_loop){ 0 };
}

/* The first SIGINT cancels the main task, a second leaves the run. */
static void on_interrupt(cora_args bound)
{
    struct runner *runner = cora_arg(bound, 0, struct runner *);
    if (++runner->interrupts == 1 && !cora_done(runner->task))
        cora_cancel(runner->task);
    else
        cora_keyboard_interrupt(bound);
}

/* As in Python: only in the main thread, and if nobody else handles it. */
static bool take_interrupts(struct runner *runner)
{
    struct sigaction now;
    if (getpid() != (pid_t)syscall(SYS_gettid) || sigaction(SIGINT, NULL, &now) < 0 ||
        now.sa_handler != SIG_DFL)
        return false;
    return cora_add_signal_handler(runner->loop, SIGINT, cora_partial(on_interrupt, runner)) == 0;
}

/* Cancelled by SIGINT alone, or it came too late to be seen by a tick: that is an interrupt. */
static cora_value interrupted(struct runner *runner, cora_value outcome, bool takes)
{
    struct loop *loop = loop_get(runner->loop);
    bool late = takes && loop && loop_has_signal(loop);
    if (!late && (runner->interrupts == 0 || !cora_cancelled(runner->task) ||
                  cora_uncancel(runner->task) > 0))
        return outcome;
    cora_value error = cora_error(CORA_EKEYBOARDINTERRUPT, NULL);
    fail_with(error);
    return error;
}

static cora_value runner_run(struct runner *runner, cora_awaitable what, cora_value context,
                             const struct cora_place *place)
{
    struct cora_task_options options = { .context = context };
    cora_future task = task_of_any(runner->loop, what, &options, place);
    if (cora_is_null(task))
        return error_again(cora_last_error());
    runner->task = cora_keep(task);
    runner->interrupts = 0;
    bool takes = take_interrupts(runner);
    cora_value outcome = cora_run_until_complete(runner->loop, task);
    outcome = interrupted(runner, outcome, takes);
    if (takes)
        cora_remove_signal_handler(runner->loop, SIGINT);
    cora_release(task);
    runner->task = (cora_future){ 0 };
    return outcome;
}

cora_value cora_runner_run_at(cora_runner handle, cora_awaitable what,
                              const struct cora_runner_run_options *options,
                              const struct cora_place *place)
{
    struct runner *runner = runner_get(handle);
    int code = runner ? 0 : cora_last_error_code();
    if (code == 0 && cora_thread.running)
        code = fail(CORA_ERUNTIME, "Runner.run() cannot be called from a running event loop");
    if (code < 0 || (code = runner_start(runner)) < 0) {
        awaitable_close(what);
        return error_again(cora_last_error());
    }
    bool chosen = options && !cora_is_nothing(options->context);
    return runner_run(runner, what, chosen ? options->context : runner->context, place);
}

/* The default executor's work is waited for, but not for ever. */
static void end_executor(cora_loop handle, cora_value *outcome)
{
    struct loop *loop = loop_get(handle);
    if (!loop || cora_is_null(loop->default_executor))
        return;
    cora_value ended = cora_run_until_complete(
        handle, cora_shutdown_default_executor(handle, THREAD_JOIN_TIMEOUT));
    if (cora_is_error(*outcome) || !cora_is_error(ended))
        return;
    cora_drop(*outcome);
    *outcome = cora_copy(ended);
}

int cora_runner_close(cora_runner handle)
{
    struct runner *runner = runner_get(handle);
    int code = runner ? 0 : cora_last_error_code();
    if (!runner)
        return code == CORA_ERUNTIME ? 0 : code; /* a second time */
    if (!cora_is_null(runner->loop) && cora_is_running(runner->loop))
        return fail(CORA_ERUNTIME, "Cannot close a runner while its loop is running");
    cora_value outcome = cora_nothing(), context = runner->context;
    cora_loop loop = runner->loop;
    bool is_current = runner->is_current;
    pthread_mutex_lock(&runners_lock);
    pool_give(&runners_pool, &runner->slot);
    pthread_mutex_unlock(&runners_lock);
    if (cora_is_null(loop))
        return 0;
    outcome = cora_copy(cora_run_until_complete(loop, cora_shutdown(loop)));
    end_executor(loop, &outcome);
    if (is_current)
        cora_set_current_loop((cora_loop){ 0 });
    cora_loop_close(loop);
    cora_drop(context);
    code = cora_is_error(outcome) ? fail_with(outcome) : 0;
    cora_drop(outcome);
    return code;
}

cora_value cora_run_at(cora_awaitable what, const struct cora_runner_options *options,
                       const struct cora_place *place)
{
    if (cora_thread.running) {
        fail(CORA_ERUNTIME, "asyncio.run() cannot be called from a running event loop");
        awaitable_close(what);
        return error_again(cora_last_error());
    }
    cora_runner runner = cora_runner_new(options);
    cora_value outcome = cora_copy(cora_runner_run_at(runner, what, NULL, place));
    if (cora_runner_close(runner) < 0 && !cora_is_null(runner)) {
        cora_drop(outcome);
        outcome = cora_copy(cora_last_error());
    }
    cora_temporary(outcome); /* the loop's memory is gone: it is the thread's */
    return outcome;
}
