/*
 * The pool of threads beneath the resolver, which is private: what its owners cannot show alone.
 */
#include "harness.h"

#include "reactor/thread_pool.h"

#include <pthread.h>
#include <sched.h>

/* A job that tells who has run it, and stays in its run() until the gate is opened. */
struct errand {
    struct job job;
    pthread_t runner;
    int order;                  /* the how-manieth to be done; 0: not yet */
    struct thread_pool *closes; /* closed in its done() */
    bool lingers;               /* stays in its done() until the gate is opened */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static bool gate_open;
static int running, lingering, done;

/* Waits for the gate, counted meanwhile. The lock is held. */
static void gate_pass(int *count)
{
    ++*count;
    pthread_cond_broadcast(&moved);
    while (!gate_open)
        pthread_cond_wait(&moved, &lock);
    --*count;
}

static void errand_run(struct job *job)
{
    struct errand *errand = (struct errand *)job;
    pthread_mutex_lock(&lock);
    errand->runner = pthread_self();
    gate_pass(&running);
    pthread_mutex_unlock(&lock);
}

static void quick_run(struct job *job)
{
    (void)job;
}

static void errand_done(struct job *job)
{
    struct errand *errand = (struct errand *)job;
    if (errand->closes)
        thread_pool_close(errand->closes);
    pthread_mutex_lock(&lock);
    if (errand->lingers)
        gate_pass(&lingering);
    errand->order = ++done;
    pthread_cond_broadcast(&moved);
    pthread_mutex_unlock(&lock);
}

static struct errand errand_new(void)
{
    return (struct errand){ .job = { .run = errand_run, .done = errand_done } };
}

static void gate_set(bool open)
{
    pthread_mutex_lock(&lock);
    gate_open = open;
    pthread_cond_broadcast(&moved);
    pthread_mutex_unlock(&lock);
}

static void wait_for(const int *count, int least)
{
    pthread_mutex_lock(&lock);
    while (*count < least)
        pthread_cond_wait(&moved, &lock);
    pthread_mutex_unlock(&lock);
}

/* Tests may share a process. */
static void fresh(void)
{
    gate_set(false);
    done = 0;
}

TEST(idle_first, "an idle thread is taken before a new one is started")
{
    fresh();
    struct thread_pool *pool = thread_pool_new(4, "ferry", NULL);
    struct errand errands[3] = { errand_new(), errand_new(), errand_new() };
    gate_set(true);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(thread_pool_submit(pool, &errands[i].job), 0);
        wait_for(&done, i + 1);
    }
    CHECK(pthread_equal(errands[0].runner, errands[1].runner));
    CHECK(pthread_equal(errands[0].runner, errands[2].runner));
    thread_pool_close(pool);
}

TEST(in_order, "jobs that wait for a thread are done first in, first out")
{
    fresh();
    struct thread_pool *pool = thread_pool_new(1, "ferry", NULL);
    struct errand errands[5];
    for (int i = 0; i < 5; i++) {
        errands[i] = errand_new();
        CHECK_INT(thread_pool_submit(pool, &errands[i].job), 0);
    }
    gate_set(true);
    wait_for(&done, 5);
    for (int i = 0; i < 5; i++)
        CHECK_INT(errands[i].order, i + 1);
    thread_pool_close(pool);
}

TEST(cancel, "a job can be taken back while it waits, from anywhere in the queue, and no later")
{
    fresh();
    struct thread_pool *pool = thread_pool_new(1, "ferry", NULL);
    struct errand errands[5];
    for (int i = 0; i < 5; i++) {
        errands[i] = errand_new();
        CHECK_INT(thread_pool_submit(pool, &errands[i].job), 0);
    }
    wait_for(&running, 1);
    CHECK(!thread_pool_cancel(pool, &errands[0].job));
    CHECK(thread_pool_cancel(pool, &errands[2].job));
    CHECK(thread_pool_cancel(pool, &errands[4].job));
    CHECK(!thread_pool_cancel(pool, &errands[4].job));
    CHECK_INT(thread_pool_submit(pool, &errands[2].job), 0);
    gate_set(true);
    wait_for(&done, 4);
    CHECK(!thread_pool_cancel(pool, &errands[1].job));
    CHECK_INT(errands[1].order, 2);
    CHECK_INT(errands[3].order, 3);
    CHECK_INT(errands[2].order, 4);
    CHECK_INT(errands[4].order, 0);
    thread_pool_close(pool);
}

TEST(close_unused, "a pool that had no job is closed")
{
    fresh();
    thread_pool_close(thread_pool_new(4, "a name that is longer than a thread's may be", NULL));
}

TEST(close_busy, "a close does not wait for a job that runs")
{
    fresh();
    struct thread_pool *pool = thread_pool_new(2, "ferry", NULL);
    struct errand errands[2] = { errand_new(), errand_new() };
    for (int i = 0; i < 2; i++)
        CHECK_INT(thread_pool_submit(pool, &errands[i].job), 0);
    wait_for(&running, 2);
    thread_pool_close(pool);
    CHECK_INT(done, 0);
    gate_set(true);
    wait_for(&done, 2);
    harness_threads_end();
}

TEST(close_waiting, "when a pool is closed the jobs that wait for a thread are still done")
{
    fresh();
    struct thread_pool *pool = thread_pool_new(2, "ferry", NULL);
    struct errand errands[4];
    for (int i = 0; i < 4; i++) {
        errands[i] = errand_new();
        CHECK_INT(thread_pool_submit(pool, &errands[i].job), 0);
    }
    wait_for(&running, 2);
    thread_pool_close(pool);
    gate_set(true);
    wait_for(&done, 4);
    harness_threads_end();
}

TEST(close_between, "a close does not wait for a thread that is to go on with a job that waits")
{
    fresh();
    struct thread_pool *pool = thread_pool_new(1, "ferry", NULL);
    struct errand quick = { .job = { .run = quick_run, .done = errand_done }, .lingers = true };
    struct errand slow = errand_new();
    CHECK_INT(thread_pool_submit(pool, &quick.job), 0);
    wait_for(&lingering, 1);
    CHECK_INT(thread_pool_submit(pool, &slow.job), 0);
    thread_pool_close(pool);
    CHECK_INT(done, 0);
    gate_set(true);
    wait_for(&done, 2);
    harness_threads_end();
}

TEST(close_inside, "a pool is closed in the done() of one of its own jobs")
{
    fresh();
    struct thread_pool *pool = thread_pool_new(2, "ferry", NULL);
    struct errand errand = errand_new();
    errand.closes = pool;
    gate_set(true);
    CHECK_INT(thread_pool_submit(pool, &errand.job), 0);
    wait_for(&done, 1);
    harness_threads_end();
}
