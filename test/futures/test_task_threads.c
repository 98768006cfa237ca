/*
 * Coroutines and threads: a loop may be run in another thread than its tasks were made in; a
 * coroutine object itself belongs to the thread that made it.
 */
#include "helpers.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

struct pause {
    cora_value text;
    int *drops;
};

static void pause_drop(void *locals)
{
    ++*((struct pause *)locals)->drops;
}

static cora_next paused(cora_coro self)
{
    struct pause *pause = cora_locals(self, struct pause);
    return cora_return(self, pause->text);
}

static cora_next nested(cora_coro self)
{
    struct pause *pause = cora_locals(self, struct pause);
    pause->text = cora_hold(self, cora_textf("from %s", "a thread"));
    return cora_await(self, cora_sleep(0.001), paused);
}

static cora_next passed_on(cora_coro self)
{
    return cora_return(self, cora_got(self));
}

static cora_next outer(cora_coro self)
{
    struct pause *pause = cora_locals(self, struct pause);
    return cora_await(
        self, cora_coroutine_owning(nested, pause_drop, struct pause, .drops = pause->drops),
        passed_on);
}

struct job {
    cora_loop loop;
    cora_future task;
    char text[40];
};

static void *run_job(void *argument)
{
    struct job *job = argument;
    const char *text = cora_as_text(cora_run_until_complete(job->loop, job->task));
    snprintf(job->text, sizeof job->text, "%s", text);
    return NULL;
}

TEST(run_elsewhere, "a loop runs the tasks that another thread has made, nested coroutines too")
{
    struct job job = { .loop = cora_loop_new(NULL) };
    int drops = 0;
    pthread_t thread;
    job.task =
        cora_create_task(job.loop, cora_coroutine_owning(outer, pause_drop, struct pause,
                                                         .text = cora_nothing(), .drops = &drops));
    CHECK_INT(pthread_create(&thread, NULL, run_job, &job), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_TEXT(job.text, "from a thread");
    CHECK_INT(drops, 2);
    cora_run_until_complete(job.loop, cora_sleep(0)); /* this thread's again */
    cora_loop_close(job.loop);
}

static cora_next naps(cora_coro self)
{
    return cora_await(self, cora_sleep(0.001), cora_return_nothing);
}

/* Ends a coroutine of another thread's, and has never had one of its own. */
static void *end_it(void *argument)
{
    struct job *job = argument;
    cora_run_until_complete(job->loop, job->task);
    cora_loop_close(job->loop);
    return NULL;
}

static void *make_it(void *argument)
{
    struct job *job = argument;
    job->loop = cora_loop_new(NULL);
    job->task = cora_create_task(job->loop, cora_coroutine(naps));
    return NULL;
}

TEST(ends_elsewhere, "a coroutine may be made in one thread, end in another, and both threads end")
{
    struct job mine = { .loop = cora_loop_new(NULL) }, theirs = { 0 };
    pthread_t thread;
    mine.task = cora_create_task(mine.loop, cora_coroutine(naps));
    CHECK_INT(pthread_create(&thread, NULL, end_it, &mine), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK(cora_is_closed(mine.loop));
    CHECK_INT(pthread_create(&thread, NULL, make_it, &theirs), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    end_it(&theirs);
    CHECK(cora_is_closed(theirs.loop));
}

struct visit {
    cora_coro coro;
    cora_loop loop;
    int locals, send, create;
    enum cora_coro_state state;
};

static void *visit(void *argument)
{
    struct visit *visit = argument;
    visit->loop = cora_loop_new(NULL);
    visit->locals = cora_locals(visit->coro, struct pause) != NULL;
    visit->send = cora_send(visit->coro, cora_nothing(), NULL);
    cora_create_task(visit->loop, visit->coro);
    visit->create = cora_error_code(cora_last_error());
    visit->state = cora_coro_state(visit->coro);
    cora_loop_close(visit->loop);
    return NULL;
}

TEST(foreign_coroutine, "a coroutine of another thread is refused with WrongThread, and unharmed")
{
    int drops = 0;
    struct visit other = { .coro = cora_coroutine_owning(outer, pause_drop, struct pause,
                                                         .drops = &drops) };
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, visit, &other), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(other.locals, 0);
    CHECK_INT(other.send, CORA_EWRONGTHREAD);
    CHECK_INT(other.create, CORA_EWRONGTHREAD);
    CHECK_INT(other.state, CORA_CORO_CLOSED);
    CHECK_INT(cora_coro_state(other.coro), CORA_CORO_CREATED);
    CHECK_INT(cora_coro_close(other.coro), 0);
    CHECK_INT(drops, 1);
}

static void *many(void *argument)
{
    int *drops = argument;
    for (int i = 0; i < 300; i++)
        cora_coro_close(cora_coroutine_owning(outer, pause_drop, struct pause, .drops = drops));
    return NULL;
}

TEST(threads_that_end, "the coroutines of threads that have ended leave their memory to others")
{
    int drops = 0, rounds = harness_scale(200);
    long before = 0;
    for (int i = 0; i < rounds; i++) {
        pthread_t thread;
        CHECK_INT(pthread_create(&thread, NULL, many, &drops), 0);
        CHECK_INT(pthread_join(thread, NULL), 0);
        if (i == 2)
            before = resident_bytes();
    }
    CHECK_INT(drops, 300 * rounds);
    CHECK(resident_bytes() - before <= 1 << 20);
}

static void *forget(void *argument)
{
    cora_coroutine_owning(outer, pause_drop, struct pause, .drops = argument);
    return NULL;
}

TEST(forgotten_at_the_end, "a coroutine that a thread gave to nobody is dropped when that ends")
{
    int drops = 0;
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, forget, &drops), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(drops, 1);
}

static void *run_many(void *argument)
{
    int *count = argument, drops = 0;
    for (int i = 0; i < harness_scale(200); i++)
        *count += cora_is_error(
            cora_run(cora_coroutine_owning(outer, pause_drop, struct pause, .drops = &drops)));
    return NULL;
}

TEST(side_by_side, "many threads run coroutines, each in loops of its own")
{
    pthread_t threads[4];
    int failed[4] = { 0 };
    for (int i = 0; i < 4; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, run_many, &failed[i]), 0);
    for (int i = 0; i < 4; i++) {
        CHECK_INT(pthread_join(threads[i], NULL), 0);
        CHECK_INT(failed[i], 0);
    }
}

/* ---- forks ---- */

static atomic_bool enough;

static void *run_until_enough(void *argument)
{
    while (!enough)
        run_many(argument);
    return NULL;
}

/* In a worker. */
static cora_value run_there(cora_args bound)
{
    int drops = 0;
    (void)bound;
    return cora_run(cora_coroutine_owning(outer, pause_drop, struct pause, .drops = &drops));
}

TEST(workers, "a worker runs coroutines, though other threads made such when it was forked")
{
    pthread_t threads[2];
    int failed[2] = { 0 };
    enough = false;
    for (int i = 0; i < 2; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, run_until_enough, &failed[i]), 0);
    for (int i = 0; i < harness_scale(30); i++) {
        struct cora_process_pool_options one = { .max_workers = 1 };
        cora_executor mill = cora_process_pool_new(&one);
        cora_thread_future future = cora_executor_submit(mill, cora_partial(run_there));
        CHECK_TEXT(cora_as_text(cora_thread_future_result(future, 20)), "from a thread");
        CHECK_INT(cora_thread_future_release(future), 0);
        CHECK_INT(cora_executor_shutdown(mill), 0);
    }
    enough = true;
    for (int i = 0; i < 2; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
}

struct calls {
    cora_loop loop;
    atomic_int made, run, since_tick;
};

static void run_call(cora_args bound)
{
    atomic_fetch_add(&cora_arg(bound, 0, struct calls *)->run, 1);
}

static void *call_until_enough(void *argument)
{
    struct calls *calls = argument;
    while (!enough) {
        if (++calls->since_tick > 1000) {
            sched_yield();
            continue;
        }
        cora_handle handle = cora_call_soon_threadsafe(calls->loop, cora_partial(run_call, calls));
        if (++calls->made % 2 && cora_handle_cancel(handle))
            calls->made--;
    }
    return NULL;
}

/* In a forked child: what was queued runs, a call more, and coroutines in a loop of their own. */
static int use_in_child(struct calls *calls)
{
    int drops = 0;
    if (cora_after_fork(calls->loop) < 0)
        return 1;
    tick(calls->loop);
    int before = calls->run;
    cora_call_soon_threadsafe(calls->loop, cora_partial(run_call, calls));
    tick(calls->loop);
    if (calls->run != before + 1)
        return 2;
    cora_value outcome =
        cora_run(cora_coroutine_owning(outer, pause_drop, struct pause, .drops = &drops));
    return strcmp(cora_as_text(outcome), "from a thread") == 0 ? 0 : 3;
}

/* Processes that have executors are told of forks. */
TEST_WITH_LIMIT(60, forked_among_threads,
                "a forked child runs loops, coroutines and what was queued, whatever other threads "
                "were in the middle of, where there is an executor")
{
    if (harness_under_valgrind())
        SKIP("valgrind looks for leaks where a forked process ends, too");
    struct calls calls = { .loop = cora_loop_new(NULL) };
    cora_executor pool = cora_thread_pool_new(NULL);
    pthread_t threads[2];
    int failed = 0;
    enough = false;
    if (harness_sanitized()) /* the thread sanitizer's pthread_once does not go on in a child */
        run_many(&failed);
    CHECK_INT(pthread_create(&threads[0], NULL, run_until_enough, &failed), 0);
    CHECK_INT(pthread_create(&threads[1], NULL, call_until_enough, &calls), 0);
    for (int i = 0; i < harness_scale(200); i++) {
        int status = -1;
        pid_t child = fork();
        if (child == 0) {
            alarm(20);
            _exit(use_in_child(&calls));
        }
        CHECK_INT(waitpid(child, &status, 0), child);
        CHECK_INT(status, 0);
        tick(calls.loop);
        calls.since_tick = 0;
    }
    enough = true;
    for (int i = 0; i < 2; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    tick(calls.loop);
    CHECK_INT(calls.run, calls.made);
    CHECK_INT(cora_executor_shutdown(pool), 0);
    cora_loop_close(calls.loop);
}

/* The manager of a process pool ends, having made a coroutine. */
struct manager {
    cora_executor mill;
    pthread_t owner; /* of the pool */
    atomic_bool is_prepared;
    pthread_key_t key;
    sem_t ends, forked;
};
static struct manager manager;

static void slow_end(void *unused)
{
    struct timespec until;
    (void)unused;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++; /* if the fork waits for the end of this thread */
    sem_post(&manager.ends);
    sem_timedwait(&manager.forked, &until);
}

static cora_value nothing_there(cora_args bound)
{
    (void)bound;
    return cora_nothing();
}

/* In the manager's thread, unless the work has ended already. */
static void on_ground(cora_args bound, cora_thread_future future)
{
    (void)bound, (void)future;
    if (pthread_equal(pthread_self(), manager.owner))
        return;
    pthread_setspecific(manager.key, &manager);
    cora_coro_close(cora_coroutine_owning(outer, NULL, struct pause, .drops = NULL));
    manager.is_prepared = true;
}

static void *shut_mill(void *unused)
{
    cora_executor_shutdown(manager.mill);
    return unused;
}

TEST(fork_while_joined, "a fork does not wait for a manager's end, which waits for what it holds")
{
    pthread_t thread;
    int status;
    struct cora_process_pool_options one = { .max_workers = 1 };
    sem_init(&manager.ends, 0, 0);
    sem_init(&manager.forked, 0, 0);
    CHECK_INT(pthread_key_create(&manager.key, slow_end), 0);
    manager.mill = cora_process_pool_new(&one);
    manager.owner = pthread_self();
    while (!manager.is_prepared) {
        cora_thread_future future = cora_executor_submit(manager.mill, cora_partial(nothing_there));
        CHECK_INT(cora_thread_future_add_done_callback(future, cora_partial(on_ground)), 0);
        cora_thread_future_result(future, 20);
        CHECK_INT(cora_thread_future_release(future), 0);
    }
    CHECK_INT(pthread_create(&thread, NULL, shut_mill, NULL), 0);
    while (sem_wait(&manager.ends) != 0)
        continue;
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    sem_post(&manager.forked);
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(pthread_key_delete(manager.key), 0);
}

static cora_next fork_inside(cora_coro self)
{
    cora_loop loop = cora_running_loop();
    int status = -1;
    CHECK(!cora_is_null(cora_current_task(loop)));
    pid_t child = fork();
    if (child == 0) {
        CHECK(cora_is_null(cora_current_task(loop)));
        CHECK_INT(cora_after_fork(loop), 0);
        CHECK(!cora_is_null(cora_current_task(loop)));
        _exit(0);
    }
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK(!cora_is_null(cora_current_task(loop)));
    return cora_return(self, status);
}

TEST(fork_in_a_task,
     "in a child that is forked in a task no task is current before cora_after_fork",
     "test_unix_events.TestFork.test_fork_not_share_current_task")
{
    cora_loop loop = cora_loop_new(NULL);
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, cora_coroutine(fork_inside))), 0);
    cora_loop_close(loop);
}
