/* How it works: bench_main finds the workload and runs its round twice; bench_end prints only in
 * the second.  Allocations are counted by standing in front of the C library: a program that
 * defines and exports malloc gets the calls of all its libraries too.  The stand-ins forward to
 * glibc's own entry points and count while a phase runs.  Another C library than glibc would need
 * dlsym; the peers' figures come from Linux with glibc, so that step is not taken.
 *
 * Time is CLOCK_MONOTONIC of the whole phase: the wall clock, because W11 is about waiting.  A
 * busy machine lengthens it, so the driver runs the subjects in turn and takes medians.  W6 sleeps
 * by itself and takes the clock of the process instead.
 *
 * Memory is what the kernel has given, as for the peers in other languages: the growth of the
 * resident set up to its high-water mark, which Linux resets on request. */
#include "bench.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *bench_subject;
static bool measured;        /* the second round, whose phases are printed */
static double phase_start;   /* seconds, CLOCK_MONOTONIC */
static double cpu_start;     /* seconds, CLOCK_PROCESS_CPUTIME_ID */
static size_t memory_start;  /* bytes; 0 where memory is not measured */
static atomic_bool counting; /* a phase runs */
static atomic_ulong allocations;

/* Counting. */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

#define STAND_IN __attribute__((visibility("default"))) /* also for shared libraries */

static void count_allocation(void)
{
    if (atomic_load_explicit(&counting, memory_order_relaxed))
        atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
}

STAND_IN void *malloc(size_t size)
{
    count_allocation();
    return __libc_malloc(size);
}

STAND_IN void *calloc(size_t count, size_t size)
{
    count_allocation();
    return __libc_calloc(count, size);
}

STAND_IN void *realloc(void *memory, size_t size)
{
    count_allocation();
    return __libc_realloc(memory, size);
}

STAND_IN void *aligned_alloc(size_t alignment, size_t size)
{
    count_allocation();
    return __libc_memalign(alignment, size);
}

STAND_IN int posix_memalign(void **ret_memory, size_t alignment, size_t size)
{
    count_allocation();
    void *memory = __libc_memalign(alignment, size);
    if (memory == NULL)
        return ENOMEM;
    *ret_memory = memory;
    return 0;
}

/* Running and measuring. */

static double now(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

void bench_begin(void)
{
    atomic_store(&allocations, 0);
    atomic_store(&counting, true);
    cpu_start = now(CLOCK_PROCESS_CPUTIME_ID);
    phase_start = now(CLOCK_MONOTONIC);
}

static void print_phase(const char *phase, size_t operations, double seconds)
{
    atomic_store(&counting, false);
    if (!measured)
        return;
    printf("%s\t%s\t%zu\t%.3f\t%.4f\n", phase, bench_subject, operations,
           seconds * 1e9 / (double)operations,
           (double)atomic_load(&allocations) / (double)operations);
}

void bench_end(const char *phase, size_t operations)
{
    print_phase(phase, operations, now(CLOCK_MONOTONIC) - phase_start);
}

void bench_end_cpu(const char *phase, size_t operations)
{
    print_phase(phase, operations, now(CLOCK_PROCESS_CPUTIME_ID) - cpu_start);
}

_Noreturn void bench_fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", bench_subject, what);
    exit(2);
}

void *bench_array(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL)
        bench_fail("out of memory");
    return memory;
}

/* Memory. */

/* A line of /proc/self/status, "VmHWM:     1234 kB", in bytes. */
static size_t memory_now(const char *name)
{
    FILE *status = fopen("/proc/self/status", "r");
    char line[128];
    size_t kib = 0;

    if (status == NULL)
        bench_fail("cannot read /proc/self/status");
    while (fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            kib = strtoul(line + strlen(name) + 1, NULL, 10);
    fclose(status);
    return kib * 1024;
}

/* Makes the resident set the high-water mark.  Some containers do not let a process do so. */
static bool reset_high_water(void)
{
    FILE *control = fopen("/proc/self/clear_refs", "w");

    return control != NULL && fputs("5", control) >= 0 && fclose(control) == 0;
}

void bench_memory_begin(void)
{
    if (!measured && reset_high_water())
        memory_start = memory_now("VmRSS");
}

void bench_memory_end(const char *phase, size_t count)
{
    if (measured || memory_start == 0)
        return;
    size_t peak = memory_now("VmHWM");
    printf("%s\t%s\t%zu\t%.1f\t-\n", phase, bench_subject, count,
           (double)(peak - memory_start) / (double)count);
}

/* Running. */

static void run_workload(const struct bench_workload *workload, size_t n)
{
    if (workload->setup != NULL)
        workload->setup(n);
    workload->round(n);
    measured = true;
    workload->round(n);
    if (workload->close != NULL)
        workload->close();
}

/* W12 is the life of the whole process up to its first callback, timed from outside. */
static void run_cold(const struct bench_workload *workload)
{
    if (workload->setup != NULL)
        workload->setup(1);
    workload->round(1);
}

int bench_main(int argc, char **argv, const char *subject, const struct bench_workload *table)
{
    bench_subject = subject;
    size_t n = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
    if (n == 0) {
        fprintf(stderr, "usage: %s WORKLOAD N\n", subject);
        return 2;
    }
    while (table->name != NULL && strcmp(table->name, argv[1]) != 0)
        table++;
    if (table->name == NULL) {
        fprintf(stderr, "%s: no workload %s\n", subject, argv[1]);
        return 2;
    }
    if (strcmp(table->name, "W12") == 0)
        run_cold(table);
    else
        run_workload(table, n);
    return 0;
}

/* Random plans. */

/* splitmix64: every subject draws the same numbers. */
static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

size_t *bench_order(size_t n)
{
    uint64_t state = 20240229;
    size_t *order = bench_array(n, sizeof *order);

    for (size_t i = 0; i < n; i++) {
        size_t j = (size_t)(draw(&state) % (i + 1));
        order[i] = order[j];
        order[j] = i;
    }
    return order;
}

/* W5: timers. */

void bench_timers_plan(struct bench_timers *plan, size_t n)
{
    uint64_t state = 20240229;

    plan->n = n;
    plan->cancelled = n / 10 * 9;
    plan->delay = bench_array(n, sizeof *plan->delay);
    plan->order = bench_array(n, sizeof *plan->order);
    for (size_t i = 0; i < n; i++) {
        plan->delay[i] = 1.0 + (double)(draw(&state) >> 11) * 0x1p-53;
        size_t j = (size_t)(draw(&state) % (i + 1));
        plan->order[i] = plan->order[j];
        plan->order[j] = i;
    }
}

/* The longest delay is 2 s, from whichever clock a loop counts; one may round up to 1 ms. */
void bench_timers_sleep(void)
{
    struct timespec time = { .tv_sec = 2, .tv_nsec = 100000000 };

    while (nanosleep(&time, &time) != 0 && errno == EINTR)
        continue;
}

void bench_timers_check(const struct bench_timers *plan, size_t fired)
{
    if (fired != plan->n - plan->cancelled)
        bench_fail("a wrong number of timers fired");
}

void bench_timers_free(struct bench_timers *plan)
{
    free(plan->delay);
    free(plan->order);
}

/* W11: the other thread. */

static struct {
    pthread_t thread;
    void (*send)(size_t i);
    size_t bulk;    /* calls of the first phase */
    size_t single;  /* calls of the second, one at a time */
    size_t arrived; /* of both phases; only the loop's thread touches it */
    sem_t answer;   /* posted when all of the bulk, or one single call, has run */
} sender;

static cpu_set_t cores; /* where the process may run outside of W10 and W11 */

static void wait_for_answer(void)
{
    while (sem_wait(&sender.answer) != 0)
        continue;
}

static void *send_all(void *unused)
{
    bench_begin();
    for (size_t i = 0; i < sender.bulk; i++)
        sender.send(i);
    wait_for_answer();

    bench_begin();
    for (size_t i = 0; i < sender.single; i++) {
        sender.send(i);
        wait_for_answer();
    }
    return unused;
}

void bench_core_stay(void)
{
    cpu_set_t one;
    size_t core = 0;

    sched_getaffinity(0, sizeof cores, &cores);
    while (!CPU_ISSET(core, &cores))
        core++;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    sched_setaffinity(0, sizeof one, &one);
}

void bench_core_leave(void)
{
    sched_setaffinity(0, sizeof cores, &cores);
}

void bench_sender_start(size_t n, void (*send)(size_t i))
{
    sender.send = send;
    sender.bulk = n;
    sender.single = n / 50 + 1;
    sender.arrived = 0;
    sem_init(&sender.answer, 0, 0);
    bench_core_stay();
    if (pthread_create(&sender.thread, NULL, send_all, NULL) != 0)
        bench_fail("cannot start a thread");
}

bool bench_received(void)
{
    size_t arrived = ++sender.arrived;
    size_t all = sender.bulk + sender.single;

    if (arrived < sender.bulk)
        return false;
    if (arrived == sender.bulk)
        bench_end("W11.bulk", sender.bulk);
    if (arrived == all)
        bench_end("W11.latency", sender.single);
    sem_post(&sender.answer);
    return arrived == all;
}

void bench_sender_join(void)
{
    pthread_join(sender.thread, NULL);
    bench_core_leave();
    sem_destroy(&sender.answer);
}
