/* What all benchmark programs in C have in common.
 *
 * A program is one subject: our library, a peer, or the limit (the same work written by hand).
 * It offers a table of workloads and calls bench_main, which runs each workload's round twice in
 * one loop: the first round warms up memory, caches and the loop's own arrays, the second is
 * measured.  A round brackets each of its phases with bench_begin and bench_end; nothing outside
 * the brackets is timed or counted.  The parameters (deadlines, order of cancellation, how the
 * other thread sends) come from here, so that they are the same for every subject. */
#ifndef CORA_BENCH_H
#define CORA_BENCH_H

#include <stdbool.h>
#include <stddef.h>

/* Callbacks in flight in W1b, and futures in W2b, where W1a and W2a have one. */
#define BENCH_TICK 1000

/* W4: small gathers are repeated until so many children are done. */
#define BENCH_CHILDREN 200000

/* W6: how long each sleeper sleeps, in seconds. */
#define BENCH_NAP 1

/* W9a: how many items are in the queue at most. */
#define BENCH_QUEUE 100

/* W9c: how many tasks want the lock, all the time. */
#define BENCH_LOCKERS 100

/* The steps of one workload.  Any of setup and close may be NULL. */
struct bench_workload {
    const char *name;
    void (*setup)(size_t n); /* makes the loop and what n operations need */
    void (*round)(size_t n); /* does the n operations; called twice, W12's once */
    void (*close)(void);
};

/* Runs `PROGRAM WORKLOAD N` from a table that ends with a NULL name.  Prints for each phase
 * WORKLOAD, subject, n, ns per operation and allocations per operation, separated by tabs.
 * Returns the exit status: 0, or 2 for a wrong command line. */
int bench_main(int argc, char **argv, const char *subject, const struct bench_workload *table);

/* Starts the clock and the counter of allocations.  Any thread, one phase at a time. */
void bench_begin(void);

/* Stops both; in the measured round prints the phase's line for that many operations. */
void bench_end(const char *phase, size_t operations);

/* The same for a phase that mostly sleeps: its time is the processor time of the process. */
void bench_end_cpu(const char *phase, size_t operations);

/* Around a round: by how much the resident memory grew at its peak, as a line of bytes for each of
 * `count`.  Only in the first round: after it, pools hold the memory that the second one needs. */
void bench_memory_begin(void);
void bench_memory_end(const char *phase, size_t count);

/* Says what broke and exits with status 2. */
_Noreturn void bench_fail(const char *what);

/* Returns `count` zeroed elements of `size` bytes; never NULL.  The caller frees them. */
void *bench_array(size_t count, size_t size);

/* A random permutation of 0..n-1, the same for all subjects; the caller frees it. */
size_t *bench_order(size_t n);

/* How many gathers of n futures a round of W4 makes, at least one. */
static inline size_t bench_gathers(size_t n)
{
    return n < BENCH_CHILDREN ? BENCH_CHILDREN / n : 1;
}

/* W5: which timers to start, which to cancel in which order, and when all are due. */
struct bench_timers {
    size_t n;
    size_t cancelled; /* the first so many of `order` are cancelled, the others fire */
    double *delay;    /* of timer i: 1 to 2 seconds from its start */
    size_t *order;    /* a random permutation of 0..n-1 */
};

/* Makes a plan with a fixed seed: the same for all subjects. */
void bench_timers_plan(struct bench_timers *plan, size_t n);

/* Sleeps until all timers started before are due, outside of a phase. */
void bench_timers_sleep(void);

/* Fails unless exactly the timers that were not cancelled have fired. */
void bench_timers_check(const struct bench_timers *plan, size_t fired);

void bench_timers_free(struct bench_timers *plan);

/* W10: so many worker threads, and pieces of work in flight in W10b, where W10a has one. */
#define BENCH_WORKERS 4
#define BENCH_IN_FLIGHT 64

/* Moves the calling thread, and those it starts, to the first core the process may use; and back.
 * W10 and W11 are about threads that wake each other. */
void bench_core_stay(void);
void bench_core_leave(void);

/* W11: another thread calls send(i) n times as fast as it can, and then one at a time, each
 * after the answer to the one before.  W11.bulk is the time from the first call until all have
 * run on the loop, W11.latency a round trip: send, the loop wakes and runs the callback, its
 * answer wakes the sender.  Both threads share one core: waking another core costs ten times
 * as much on a virtual machine and varies, and two cores fighting for a mutex vary by a factor
 * of two between runs of one program. */

/* Starts the sending thread.  send: makes the loop call bench_received once; i counts from 0 to
 * n - 1 in each phase. */
void bench_sender_start(size_t n, void (*send)(size_t i));

/* Takes one call on the loop's thread.  Returns true when it was the last of the round: the
 * subject then stops its loop. */
bool bench_received(void);

/* Waits for the sending thread to end. */
void bench_sender_join(void);

#endif
