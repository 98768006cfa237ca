/*
 * Check 14: two threads complete one thread future at the same time, a hundred thousand times, by a
 * result, an error or a cancel: one of them wins, each time, and its callback runs once.
 */
#include "harness.h"

#include <cora.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define RACES 100000

static struct {
    _Atomic uint64_t future; /* of this race; 0: it is over */
    atomic_int wins, calls;
    atomic_bool ended;
} race;

/* Completes it in one of three ways. Whether that has won. */
static bool complete(cora_thread_future future, int way)
{
    if (way == 0)
        return cora_thread_future_set_result(future, cora_int(1)) == 0;
    if (way == 1)
        return cora_thread_future_set_exception(future, cora_error(CORA_EVALUE, NULL)) == 0;
    return cora_thread_future_cancel(future); /* the rival cancels none */
}

static void on_done(cora_args bound, cora_thread_future done)
{
    (void)bound, (void)done;
    atomic_fetch_add(&race.calls, 1);
}

static void *rival(void *unused)
{
    uint64_t last = 0;
    for (int way = 0; !atomic_load(&race.ended);) {
        uint64_t bits = atomic_load(&race.future);
        if (bits == last || !bits) {
            sched_yield();
            continue;
        }
        last = bits;
        if (complete((cora_thread_future){ bits }, way))
            atomic_fetch_add(&race.wins, 1);
        way = (way + 1) % 2;
        atomic_store(&race.future, 0);
        cora_drop_temporaries();
    }
    return unused;
}

TEST_WITH_LIMIT(60, one_winner, "of two threads that complete a future, one wins, each time")
{
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, rival, NULL), 0);
    for (int i = 0; i < RACES; i++) {
        cora_thread_future future = cora_thread_future_new();
        cora_thread_future_add_done_callback(future, cora_partial(on_done));
        atomic_store(&race.wins, 0);
        atomic_store(&race.calls, 0);
        atomic_store(&race.future, future.bits);
        bool won = complete(future, i % 3);
        while (atomic_load(&race.future))
            sched_yield();
        CHECK_INT(won + atomic_load(&race.wins), 1);
        CHECK_INT(atomic_load(&race.calls), 1);
        cora_thread_future_release(future);
        cora_drop_temporaries();
    }
    atomic_store(&race.ended, true);
    CHECK_INT(pthread_join(thread, NULL), 0);
}

static void *canceller(void *argument)
{
    cora_thread_future_cancel(*(cora_thread_future *)argument);
    return NULL;
}

static cora_value give(cora_args bound)
{
    atomic_fetch_add((atomic_int *)cora_arg_pointer(bound, 0), 1);
    return cora_int(1);
}

TEST_WITH_LIMIT(60, cancel_or_run,
                "work that is cancelled while a worker takes it is done, or cancelled")
{
    cora_executor pool = cora_thread_pool_new(NULL);
    for (int i = 0; i < harness_scale(3000); i++) {
        pthread_t thread;
        atomic_int done = 0;
        cora_thread_future future = cora_executor_submit(pool, cora_partial(give, &done));
        CHECK_INT(pthread_create(&thread, NULL, canceller, &future), 0);
        cora_value outcome = cora_thread_future_result(future, 10);
        CHECK_INT(pthread_join(thread, NULL), 0);
        CHECK_INT(done, !cora_is_error(outcome));
        CHECK_INT(cora_thread_future_cancelled(future), cora_is_error(outcome));
        cora_thread_future_release(future);
        cora_drop_temporaries();
    }
    cora_executor_shutdown(pool);
}
