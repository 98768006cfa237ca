/*
 * executors SECONDS CALLS SEED: random calls of pools of threads and of processes, thread futures
 * and work for loops, from several threads, their work and callbacks, to show that none does harm.
 *
 * How it works: in an episode threads with a loop each act on the same tables of handles, and close
 * their loops with work on its way. Each piece of work has a note, that it and who is told are
 * bound to: it runs and is told once at most, and the note is dropped once. Now and then somebody
 * forks: all thread futures must be done in the child. At the end nothing is left. What happens
 * depends on the system's scheduling, too: a seed is no promise.
 *
 * The address sanitizer's allocator is of no use after a fork beside other threads: with it nobody
 * forks, and the only pool of processes is made before the threads.
 */
#include <cora.h>
#include <dirent.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS 3
#define ACTS 150 /* of a thread in an episode */
#define DEEPEST 3
#define EXECUTORS 6
#define FUTURES 24

static _Thread_local uint64_t state;
static _Thread_local unsigned depth;
static _Thread_local cora_loop loop; /* null in workers */
static _Thread_local cora_handle told[8];
static atomic_ullong executors[EXECUTORS], futures[FUTURES], calls, episode_seed;
static atomic_int notes;
static pid_t program;
static FILE *said;

static unsigned below(unsigned limit)
{
    if (state == 0)
        state = (uint64_t)pthread_self() ^ episode_seed;
    state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (unsigned)(state >> 33) % limit;
}

static bool rarely(unsigned times)
{
    return below(times) == 0;
}

#ifdef __SANITIZE_ADDRESS__
#define FORKS false
#else
#define FORKS true
#endif

__attribute__((noreturn)) static void broken(const char *what, int number)
{
    fprintf(said, "executors: %s: %d; seed %llu\n", what, number, episode_seed);
    abort();
}

struct note {
    atomic_int runs, tells;
};

static void note_drop(void *pointer)
{
    struct note *note = pointer;
    if (note->runs > 1 || note->tells > 1)
        broken("work runs or is told again", note->runs);
    if (getpid() == program)
        atomic_fetch_sub(&notes, 1);
    free(note);
}

static const cora_type note_type = { .name = "note", .drop = note_drop };

static void act(void);

static void act_inside(void)
{
    if (depth >= DEEPEST || getpid() != program)
        return;
    depth++;
    for (unsigned i = below(4); i > 0; i--)
        act();
    depth--;
}

static cora_value do_work(cora_args bound)
{
    if (bound.count > 0 && cora_arg_value(bound, 0).type == &note_type)
        ((struct note *)cora_arg_pointer(bound, 0))->runs++;
    if (getpid() != program) /* a worker that is a process */
        return rarely(40) ? (_exit(3), cora_nothing()) : cora_textf("%d", getpid());
    if (rarely(4))
        usleep(below(2000));
    act_inside();
    return rarely(5) ? cora_error(CORA_EVALUE, "as it happens") : cora_text("done");
}

static void on_told(cora_args bound, cora_value outcome)
{
    (void)outcome;
    ((struct note *)cora_arg_pointer(bound, 0))->tells++;
    act_inside();
}

static void on_done(cora_args bound, cora_thread_future future)
{
    on_told(bound, cora_from_thread_future(future));
}

static cora_value note_new(void)
{
    struct note *note = calloc(1, sizeof *note);
    atomic_fetch_add(&notes, 1);
    return cora_own(note, &note_type);
}

static void executor_put(cora_executor executor)
{
    cora_executor old = { atomic_exchange(&executors[below(EXECUTORS)], executor.bits) };
    if (!cora_is_null(old))
        cora_executor_shutdown(old, .no_wait = true, .cancel_futures = rarely(2));
}

static void make_threads(void)
{
    struct cora_thread_pool_options options = { .max_workers = 1 + (int)below(3),
                                                .max_waiting = rarely(4) ? 3 : 0 };
    options.initializer = rarely(3) ? cora_partial(do_work) : options.initializer;
    executor_put(cora_thread_pool_new(&options));
}

static void make_processes(void)
{
    executor_put(cora_process_pool_new(&(struct cora_process_pool_options){
        .max_workers = 1 + (int)below(2), .max_tasks_per_child = rarely(3) ? 2 : 0 }));
}

static void submit(cora_executor executor)
{
    cora_value note = note_new();
    cora_work work = rarely(3) ? cora_partial(do_work, 1) : cora_partial(do_work, note);
    cora_thread_future future = cora_executor_submit(executor, work), old;
    if (!cora_is_null(future) && rarely(2))
        cora_thread_future_add_done_callback(future, cora_partial(on_done, note));
    old.bits = atomic_exchange(&futures[below(FUTURES)], future.bits);
    if (!cora_is_null(old))
        cora_thread_future_release(old);
}

/* In the child all must come to its end. */
static void fork_here(void)
{
    int status = 0;
    pid_t child = fork();
    if (child > 0 && (waitpid(child, &status, 0) != child || status != 0))
        broken("a forked child ends", status);
    if (child != 0)
        return;
    alarm(30);
    if (!cora_is_null(loop) && depth == 0 && cora_after_fork(loop) < 0)
        broken("a loop in a child", cora_last_error_code());
    for (size_t i = 0; i < FUTURES; i++) {
        cora_thread_future future = { futures[i] };
        if (cora_error_is(cora_thread_future_result(future, 5), CORA_ETIMEOUT))
            broken("not done in a child", (int)i);
    }
    _exit(0);
}

static void act(void)
{
    cora_executor executor = { executors[below(EXECUTORS)] };
    cora_thread_future future = { futures[below(FUTURES)] };
    unsigned choice = below(100);
    atomic_fetch_add(&calls, 1);
    if (choice < 4)
        make_threads();
    else if (choice < 5 && FORKS)
        make_processes();
    else if (choice < 40)
        submit(executor);
    else if (choice < 60 && !cora_is_null(loop))
        told[below(8)] = cora_call_in_executor(loop, executor, cora_partial(do_work, note_new()),
                                               cora_partial(on_told, note_new()));
    else if (choice < 67)
        cora_thread_future_cancel(future);
    else if (choice < 74)
        cora_thread_future_add_done_callback(future, cora_partial(on_done, note_new()));
    else if (choice < 81)
        cora_handle_cancel(told[below(8)]);
    else if (choice < 92)
        cora_thread_future_result(future, depth == 0 && rarely(4) ? 0.002 : 0);
    else if (choice < 94)
        cora_executor_shutdown(executor, .no_wait = depth > 0 || rarely(2),
                               .cancel_futures = rarely(2));
    else if (choice < 95)
        rarely(2) ? cora_executor_kill_workers(executor)
                  : cora_executor_terminate_workers(executor);
    else if (choice < 96 && FORKS && depth == 0 && rarely(3))
        fork_here();
    else
        sched_yield();
    if (depth == 0)
        cora_drop_temporaries();
}

static void stop(cora_args bound)
{
    cora_stop(cora_arg_loop(bound, 0));
}

static void *run_thread(void *seed)
{
    state = (uint64_t)(uintptr_t)seed;
    loop = cora_loop_new(NULL);
    memset(told, 0, sizeof told);
    for (unsigned i = 0; i < ACTS; i++) {
        act();
        if (rarely(10) && cora_call_later(loop, 0.001 * below(3), cora_partial(stop, loop)).bits)
            cora_run_forever(loop);
    }
    cora_loop_close(loop);
    loop = (cora_loop){ 0 };
    cora_drop_temporaries();
    return NULL;
}

static unsigned entries(const char *folder)
{
    DIR *listing = opendir(folder);
    unsigned count = 0;
    while (listing && readdir(listing))
        count++;
    closedir(listing);
    return count;
}

static void episode(void)
{
    static unsigned descriptors;
    pthread_t threads[THREADS];
    unsigned open = 0, tasks = entries("/proc/self/task");
    make_processes();
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, run_thread, (void *)((uintptr_t)episode_seed + i));
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    time_t patience = time(NULL) + 30;
    for (bool over = false; !over;) {
        for (size_t i = 0; i < EXECUTORS; i++)
            executor_put((cora_executor){ 0 });
        for (size_t i = 0; i < FUTURES; i++) {
            cora_thread_future future = { atomic_exchange(&futures[i], 0) };
            if (!cora_is_null(future))
                cora_thread_future_release(future);
        }
        open = entries("/proc/self/fd");
        over = notes == 0 && waitpid(-1, NULL, WNOHANG) < 0 &&
               (descriptors == 0 || open <= descriptors) &&
               (FORKS || entries("/proc/self/task") <= tasks);
        if (!over && time(NULL) > patience)
            broken("notes, descriptors, processes or threads are left", notes);
        cora_drop_temporaries(); /* of callbacks in here */
        sched_yield();
    }
    descriptors = open;
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 1;
    uint64_t most = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    struct timespec now, began;
    clock_gettime(CLOCK_MONOTONIC, &began);
    unsigned episodes = 0;
    program = getpid();
    said = stderr;
    stderr = fopen("/dev/null", "w"); /* what failing initializers are reported to */
    episode_seed = seed ? seed : (uint64_t)began.tv_nsec * 1000003u + (uint64_t)program;
    do {
        alarm(120); /* an episode takes a second or two */
        episode();
        episode_seed = episode_seed * UINT64_C(6364136223846793005) + 1442695040888963407;
        episodes++;
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((double)(now.tv_sec - began.tv_sec) < seconds && (most == 0 || calls < most));
    printf("executors: %" PRIu64 " calls, %u episodes\n", (uint64_t)calls, episodes);
    return 0;
}
