/*
 * Check 16: four threads queue a million callbacks in a loop that sleeps in between: all of them
 * run, each thread's in order, and none waits for a wake-up that was lost.
 *
 * A lost wake-up shows as a gap: nothing is delivered though something was queued, until libev
 * wakes by itself after a minute. How long the machine itself keeps threads waiting is measured
 * beside it.
 */
#include "harness.h"

#include <cora.h>

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#define THREADS 4
#define AHEAD 1000 /* a thread waits when so many of its callbacks have not run */
#define LONGEST_GAP 1.0

struct producer {
    pthread_t thread;
    cora_loop loop;
    int wanted;
    atomic_int queued, arrived;
};

static struct producer producers[THREADS];
static int unfinished;
static double last_arrival, longest_gap; /* the loop's thread's */

static bool anything_outstanding(void)
{
    for (int i = 0; i < THREADS; i++)
        if (atomic_load(&producers[i].queued) > atomic_load(&producers[i].arrived))
            return true;
    return false;
}

static void arrive(cora_args bound)
{
    struct producer *producer = cora_arg(bound, 0, struct producer *);
    double now = cora_time(producer->loop);
    CHECK_INT(cora_arg_int(bound, 1), atomic_load(&producer->arrived));
    if (now - last_arrival > longest_gap)
        longest_gap = now - last_arrival;
    last_arrival = now;
    if (atomic_fetch_add(&producer->arrived, 1) + 1 == producer->wanted && --unfinished == 0)
        cora_stop(producer->loop);
}

static void pause_for(long nanoseconds)
{
    struct timespec span = { 0, nanoseconds };
    nanosleep(&span, NULL);
}

static void *produce(void *argument)
{
    struct producer *producer = argument;
    for (int i = 0; i < producer->wanted; i++) {
        while (i - atomic_load(&producer->arrived) >= AHEAD)
            pause_for(20000);
        atomic_store(&producer->queued, i);
        cora_handle handle =
            cora_call_soon_threadsafe(producer->loop, cora_partial(arrive, producer, i));
        CHECK(!cora_is_null(handle));
        if (i % 5000 == 0)
            pause_for(1000000); /* lets the loop fall asleep */
    }
    return NULL;
}

/* Sleeps a millisecond at a time, and sees how long that takes at worst. */
static atomic_bool watching;
static double worst_sleep;

static void *watch_machine(void *unused)
{
    while (atomic_load(&watching)) {
        double before = cora_time((cora_loop){ 0 });
        pause_for(1000000);
        double took = cora_time((cora_loop){ 0 }) - before;
        worst_sleep = took > worst_sleep ? took : worst_sleep;
    }
    return unused;
}

TEST_WITH_LIMIT(60, threadsafe_queue,
                "a million callbacks from four threads all run, in order, without a lost wake-up")
{
    cora_loop loop = cora_loop_new(NULL);
    pthread_t watcher;
    unfinished = THREADS;
    last_arrival = cora_time(loop);
    atomic_store(&watching, true);
    CHECK_INT(pthread_create(&watcher, NULL, watch_machine, NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        producers[i].loop = loop;
        producers[i].wanted = harness_scale(1000000) / THREADS;
        CHECK_INT(pthread_create(&producers[i].thread, NULL, produce, &producers[i]), 0);
    }
    CHECK_INT(cora_run_forever(loop), 0);
    atomic_store(&watching, false);
    for (int i = 0; i < THREADS; i++)
        CHECK_INT(pthread_join(producers[i].thread, NULL), 0);
    CHECK_INT(pthread_join(watcher, NULL), 0);
    CHECK(!anything_outstanding());
    CHECK(longest_gap <= LONGEST_GAP + worst_sleep);
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}

/* ---- one at a time: each callback needs a wake-up of its own ---- */

static atomic_int delivered;

static void deliver(cora_args bound)
{
    (void)bound;
    atomic_fetch_add(&delivered, 1);
}

static void stop(cora_args bound)
{
    cora_stop(cora_arg_loop(bound, 0));
}

struct pinger {
    cora_loop loop;
    int count;
    double slowest;
};

static void *ping(void *argument)
{
    struct pinger *pinger = argument;
    for (int i = 0; i < pinger->count; i++) {
        double before = cora_time(pinger->loop);
        cora_call_soon_threadsafe(pinger->loop, cora_partial(deliver));
        while (atomic_load(&delivered) == i)
            pause_for(1000);
        double took = cora_time(pinger->loop) - before;
        pinger->slowest = took > pinger->slowest ? took : pinger->slowest;
    }
    cora_call_soon_threadsafe(pinger->loop, cora_partial(stop, pinger->loop));
    return NULL;
}

TEST_WITH_LIMIT(60, wakes_each_time, "a loop that sleeps wakes for each of ten thousand callbacks")
{
    struct pinger pinger = { .loop = cora_loop_new(NULL), .count = harness_scale(10000) };
    pthread_t thread, watcher;
    atomic_store(&watching, true);
    CHECK_INT(pthread_create(&watcher, NULL, watch_machine, NULL), 0);
    CHECK_INT(pthread_create(&thread, NULL, ping, &pinger), 0);
    CHECK_INT(cora_run_forever(pinger.loop), 0);
    atomic_store(&watching, false);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(pthread_join(watcher, NULL), 0);
    CHECK_INT(atomic_load(&delivered), pinger.count);
    CHECK(pinger.slowest <= LONGEST_GAP + worst_sleep);
    cora_loop_close(pinger.loop);
}
