/*
 * Check 35: four blocked workers and a thousand jobs, some of them cancelled, then a shutdown: the
 * queue is bounded, no job is lost or done twice, and the loop goes on meanwhile: 99 of 100 of its
 * timers are in time by 20 ms.
 */
#include "harness.h"

#include <cora.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define WORKERS 4
#define JOBS 1000
#define BEATS 200
#define BEAT 0.002
#define LATE 0.02

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static bool gate_is_open;

static struct job {
    atomic_int done; /* how often it was */
    int told;
    bool cancelled;
    cora_handle handle;
} jobs[WORKERS + JOBS];

static cora_value block(cora_args bound)
{
    struct job *job = cora_arg_pointer(bound, 0);
    pthread_mutex_lock(&lock);
    while (!gate_is_open)
        pthread_cond_wait(&moved, &lock);
    pthread_mutex_unlock(&lock);
    atomic_fetch_add(&job->done, 1);
    return cora_nothing();
}

static cora_value work(cora_args bound)
{
    struct job *job = cora_arg_pointer(bound, 0);
    atomic_fetch_add(&job->done, 1);
    return cora_nothing();
}

static void on_told(cora_args bound, cora_value outcome)
{
    CHECK(!cora_is_error(outcome));
    ((struct job *)cora_arg_pointer(bound, 0))->told++;
}

/* ---- the loop goes on ---- */

static struct beat {
    cora_loop loop;
    double due;
    int count, late;
    cora_executor pool;
} beat;

static void on_beat(cora_args bound)
{
    (void)bound;
    double now = cora_time(beat.loop);
    beat.late += now - beat.due > LATE;
    if (++beat.count == BEATS / 2) {
        pthread_mutex_lock(&lock);
        gate_is_open = true;
        pthread_cond_broadcast(&moved);
        pthread_mutex_unlock(&lock);
        cora_executor_shutdown(beat.pool, .no_wait = true);
    }
    if (beat.count == BEATS) {
        cora_stop(beat.loop);
        return;
    }
    beat.due = now + BEAT;
    cora_call_at(beat.loop, beat.due, cora_partial(on_beat));
}

static cora_handle submit(int index, cora_work what)
{
    return cora_call_in_executor(beat.loop, beat.pool, what, cora_partial(on_told, &jobs[index]));
}

TEST_WITH_LIMIT(20, executor, "blocked workers and a thousand jobs: none is lost, or done twice")
{
    beat.loop = cora_loop_new(NULL);
    beat.pool = cora_thread_pool_new(
        &(struct cora_thread_pool_options){ .max_workers = WORKERS, .max_waiting = JOBS });
    for (int i = 0; i < WORKERS; i++)
        CHECK(!cora_is_null(submit(i, cora_partial(block, &jobs[i]))));
    for (int i = WORKERS; i < WORKERS + JOBS; i++) {
        jobs[i].handle = submit(i, cora_partial(work, &jobs[i]));
        CHECK(!cora_is_null(jobs[i].handle));
    }
    /* A few places may be left: workers that have not taken their first job yet. */
    int more = 0;
    while (more <= WORKERS && !cora_is_null(submit(0, cora_partial(work, &jobs[0]))))
        more++;
    CHECK(more <= WORKERS);
    CHECK_INT(cora_last_error_code(), CORA_EQUEUEFULL);
    for (int i = WORKERS; i < WORKERS + JOBS; i += 3) {
        jobs[i].cancelled = cora_handle_cancel(jobs[i].handle);
        CHECK(jobs[i].cancelled);
    }
    beat.due = cora_time(beat.loop) + BEAT;
    cora_call_at(beat.loop, beat.due, cora_partial(on_beat));
    CHECK_INT(cora_run_forever(beat.loop), 0);
    cora_executor_shutdown(beat.pool);
    cora_stop(beat.loop);
    CHECK_INT(cora_run_forever(beat.loop), 0);
    for (int i = WORKERS; i < WORKERS + JOBS; i++) {
        CHECK_INT(jobs[i].done, !jobs[i].cancelled);
        CHECK_INT(jobs[i].told, !jobs[i].cancelled);
    }
    CHECK_INT(jobs[0].done, 1 + more);
    CHECK_INT(cora_live(beat.loop), 0);
    CHECK(beat.late <= BEATS / 100);
    harness_threads_end();
    cora_loop_close(beat.loop);
}

/* ---- storms ---- */

static atomic_int made, ended, dropped;

static void crumb_drop(void *pointer)
{
    (void)pointer;
    atomic_fetch_add(&dropped, 1);
}

static const cora_type crumb = { "crumb", crumb_drop, NULL, 0 };

static cora_value toss(cora_args bound)
{
    (void)bound;
    atomic_fetch_add(&made, 1);
    return cora_own(&made, &crumb);
}

static void on_end(cora_args bound, cora_thread_future done)
{
    (void)bound, (void)done;
    atomic_fetch_add(&ended, 1);
}

struct storm {
    pthread_t thread;
    cora_executor pool;
    unsigned seed;
    int submitted;
};

/* Submits until it is refused, and cancels every other one. */
static void *storm_run(void *argument)
{
    struct storm *storm = argument;
    for (;;) {
        cora_thread_future future = cora_executor_submit(storm->pool, cora_partial(toss));
        if (cora_is_null(future))
            return NULL;
        storm->submitted++;
        cora_thread_future_add_done_callback(future, cora_partial(on_end));
        if (rand_r(&storm->seed) % 2)
            cora_thread_future_cancel(future);
        cora_thread_future_release(future);
    }
}

static void *turns(void *argument)
{
    cora_executor_shutdown(*(cora_executor *)argument, .cancel_futures = true);
    return NULL;
}

TEST_WITH_LIMIT(30, storm,
                "pools that are shut down by two threads in a storm of submits and cancels "
                "lose nothing")
{
    for (int round = 0; round < harness_scale(100); round++) {
        struct storm storms[3];
        pthread_t thread;
        int submitted = 0;
        cora_executor pool =
            cora_thread_pool_new(&(struct cora_thread_pool_options){ .max_workers = 4 });
        made = ended = dropped = 0;
        for (int i = 0; i < 3; i++) {
            storms[i] = (struct storm){ .pool = pool, .seed = (unsigned)(round * 3 + i) };
            CHECK_INT(pthread_create(&storms[i].thread, NULL, storm_run, &storms[i]), 0);
        }
        CHECK_INT(pthread_create(&thread, NULL, turns, &pool), 0);
        cora_executor_shutdown(pool);
        CHECK_INT(pthread_join(thread, NULL), 0);
        for (int i = 0; i < 3; i++) {
            CHECK_INT(pthread_join(storms[i].thread, NULL), 0);
            submitted += storms[i].submitted;
        }
        harness_threads_end();
        CHECK_INT(ended, submitted);
        CHECK_INT(dropped, made);
    }
}
