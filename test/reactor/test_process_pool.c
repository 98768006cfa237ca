/*
 * Pools of processes: a mill whose millers are processes.
 *
 * What tests and workers share is in memory that is mapped before a pool is made; gates are
 * semaphores there. A worker that a gate holds is running.
 */
#include "harness.h"

#include <cora.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define LONG_WAIT 20. /* seconds that no wait takes */

/* ---- what is shared ---- */

static struct shared {
    sem_t gate;        /* lets one that waits go on */
    sem_t arrived;     /* one waits at the gate */
    atomic_int worker; /* that has come to the gate */
    atomic_int done;   /* that went through the gate */
    atomic_int forks;  /* that a fork server may still make; negative: any number */
} * shared;

static void shared_open(void)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    CHECK_INT(sem_init(&shared->gate, 1, 0), 0);
    CHECK_INT(sem_init(&shared->arrived, 1, 0), 0);
    shared->forks = -1;
}

static void shared_close(void)
{
    munmap(shared, sizeof *shared);
    shared = NULL;
}

static void down(sem_t *semaphore)
{
    while (sem_wait(semaphore) < 0)
        CHECK_INT(errno, EINTR);
}

static void up(sem_t *semaphore, int times)
{
    while (times-- > 0)
        CHECK_INT(sem_post(semaphore), 0);
}

/* ---- work ---- */

static cora_value process(cora_args bound)
{
    (void)bound;
    return cora_int(getpid());
}

static cora_value add(cora_args bound)
{
    return cora_int(cora_arg_int(bound, 0) + cora_arg_int(bound, 1));
}

static cora_value echo(cora_args bound)
{
    return cora_arg_value(bound, 0);
}

static cora_value grind(cora_args bound)
{
    if (cora_arg_int(bound, 0) < 0)
        return cora_error(CORA_EVALUE, "no negative lattice");
    return cora_textf("%lld sacks", cora_arg_int(bound, 0));
}

/* Waits at the gate; its own number then. */
static cora_value wait_at_gate(cora_args bound)
{
    (void)bound;
    shared->worker = getpid();
    up(&shared->arrived, 1);
    down(&shared->gate);
    shared->done++;
    return cora_int(getpid());
}

enum end { BY_SEGV, BY_ABORT, BY_KILL, BY_EXIT, BY__EXIT };

static cora_value end(cora_args bound)
{
    switch ((enum end)cora_arg_int(bound, 0)) {
    case BY_SEGV:
        raise(SIGSEGV);
        break;
    case BY_ABORT:
        abort();
    case BY_KILL:
        raise(SIGKILL);
        break;
    case BY_EXIT:
        exit(3);
    case BY__EXIT:
        _exit(4);
    }
    return cora_nothing();
}

/* ---- helpers ---- */

static cora_executor mill_new(int workers)
{
    struct cora_process_pool_options options = { .max_workers = workers };
    cora_executor mill = cora_process_pool_new(&options);
    CHECK(!cora_is_null(mill));
    return mill;
}

static cora_thread_future submit(cora_executor mill, cora_work work)
{
    cora_thread_future future = cora_executor_submit(mill, work);
    CHECK(!cora_is_null(future));
    return future;
}

/* Waits for what comes, and releases the future: a temporary. */
static cora_value outcome(cora_thread_future future)
{
    cora_value value = cora_thread_future_result(future, LONG_WAIT);
    CHECK_INT(cora_thread_future_release(future), 0);
    return value;
}

static pid_t process_of(cora_executor mill)
{
    return (pid_t)cora_as_int(outcome(submit(mill, cora_partial(process))));
}

/* What a worker says that 2 and 3 are. */
static int sum_in(cora_executor mill)
{
    cora_value sum = outcome(submit(mill, cora_partial(add, 2, 3)));
    CHECK_TEXT(cora_error_message(sum), "");
    return (int)cora_as_int(sum);
}

static void check_broken(cora_value error, const char *says)
{
    CHECK_INT(cora_error_code(error), CORA_EBROKENPROCESSPOOL);
    if (!strstr(cora_error_message(error), says))
        CHECK_TEXT(cora_error_message(error), says);
}

static int count_threads(void)
{
    DIR *listing = opendir("/proc/self/task");
    int count = -2; /* . and .. */
    CHECK(listing != NULL);
    while (readdir(listing))
        count++;
    closedir(listing);
    return count;
}

/* No process of a pool's, and no thread of ours, is there. */
static void check_nobody(void)
{
    CHECK_INT(waitpid(-1, NULL, WNOHANG), -1);
    CHECK_INT(errno, ECHILD);
    if (!harness_sanitized())
        CHECK_INT(count_threads(), 1);
}

static void *no_thread(void *unused)
{
    return unused;
}

/* They end by themselves; what the last of the threads had is given back when another is joined. */
static void wait_for_nobody(void)
{
    siginfo_t info;
    pthread_t thread;
    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 ||
           (count_threads() > 1 && !harness_sanitized()))
        sched_yield();
    CHECK_INT(errno, ECHILD);
    CHECK_INT(pthread_create(&thread, NULL, no_thread, NULL), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
}

/* Shuts it down, and waits. */
static void mill_close(cora_executor mill)
{
    CHECK_INT(cora_executor_shutdown(mill), 0);
    check_nobody();
}

/* ---- the callback form ---- */

static void on_outcome(cora_args bound, cora_value value)
{
    *cora_arg(bound, 0, cora_value *) = cora_copy(value);
    cora_stop(cora_running_loop());
}

TEST(called_back, "a loop gives work to another process, and is called back with its outcome")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_executor mill = mill_new(1);
    cora_value sacks = cora_nothing();
    cora_handle handle = cora_call_in_executor(loop, mill, cora_partial(grind, 20),
                                               cora_partial(on_outcome, &sacks));
    CHECK(!cora_is_null(handle));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_TEXT(cora_as_text(sacks), "20 sacks");
    cora_drop(sacks);
    mill_close(mill);
    cora_loop_close(loop);
}

TEST(no_default_executor, "a pool of processes cannot be a loop's default executor: a TypeError",
     "test_base_events.BaseEventLoopTests.test_set_default_executor_error")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_executor mill = mill_new(1);
    CHECK_INT(cora_set_default_executor(loop, mill), CORA_ETYPE);
    mill_close(mill);
    cora_loop_close(loop);
}

/* ---- work and outcomes ---- */

TEST(other_process, "work is done in a process of its own")
{
    cora_executor mill = mill_new(1);
    pid_t worker = process_of(mill);
    CHECK(worker > 0 && worker != getpid());
    CHECK_INT(kill(worker, 0), 0);
    mill_close(mill);
    CHECK_INT(kill(worker, 0), -1);
}

TEST(default_workers, "without options a pool has as many workers as there are processors")
{
    shared_open();
    cora_executor mill = cora_process_pool_new(NULL);
    cora_thread_future futures[64];
    cpu_set_t usable;
    CHECK_INT(sched_getaffinity(0, sizeof usable, &usable), 0);
    int processors = CPU_COUNT(&usable) < 60 ? CPU_COUNT(&usable) : 60;
    for (int i = 0; i < processors; i++)
        futures[i] = submit(mill, cora_partial(wait_at_gate));
    for (int i = 0; i < processors; i++)
        down(&shared->arrived);
    up(&shared->gate, processors);
    for (int i = 0; i < processors; i++)
        outcome(futures[i]);
    mill_close(mill);
    shared_close();
}

TEST(bad_options, "negative numbers among the options are a ValueError")
{
    struct cora_process_pool_options workers = { .max_workers = -1 };
    struct cora_process_pool_options tasks = { .max_tasks_per_child = -1 };
    CHECK(cora_is_null(cora_process_pool_new(&workers)));
    CHECK_INT(cora_last_error_code(), CORA_EVALUE);
    CHECK(cora_is_null(cora_process_pool_new(&tasks)));
    CHECK_INT(cora_last_error_code(), CORA_EVALUE);
}

TEST(values, "values of all kinds that can be copied go there and back")
{
    cora_executor mill = mill_new(1);
    cora_value parts[] = { cora_int(7),           cora_real(2.5), cora_text("rye"),
                           cora_bytes("a\0b", 3), cora_nothing(), cora_error(CORA_EKEY, "oats") };
    cora_value list = cora_list(parts, 5);
    CHECK(cora_equal(outcome(submit(mill, cora_partial(echo, list))), list));
    CHECK(cora_is_nothing(outcome(submit(mill, cora_partial(echo, parts[4])))));
    CHECK_INT(cora_error_code(outcome(submit(mill, cora_partial(echo, parts[5])))), CORA_EKEY);
    mill_close(mill);
}

TEST(error, "an error of work is its outcome, and harms nothing else",
     "test_concurrent_futures.ExecutorDeadlockTest.test_error_during_func_exec_on_worker")
{
    cora_executor mill = mill_new(1);
    cora_value error = outcome(submit(mill, cora_partial(grind, -1)));
    CHECK_INT(cora_error_code(error), CORA_EVALUE);
    CHECK_TEXT(cora_error_message(error), "no negative lattice");
    CHECK_TEXT(cora_as_text(outcome(submit(mill, cora_partial(grind, 1)))), "1 sacks");
    mill_close(mill);
}

TEST(error_origin, "an error's cause tells which function has failed, and in which process",
     "test_concurrent_futures.ProcessPoolExecutorTest.test_traceback")
{
    cora_executor mill = mill_new(1);
    char expected[60];
    snprintf(expected, sizeof expected, "grind failed in the worker process %d (",
             (int)process_of(mill));
    cora_value error = outcome(submit(mill, cora_partial(grind, -1)));
    CHECK(strstr(cora_error_message(cora_error_cause(error)), expected) != NULL);
    CHECK(strstr(cora_error_message(cora_error_cause(error)), __FILE__) != NULL);
    mill_close(mill);
}

static cora_value fail_for_a_reason(cora_args bound)
{
    (void)bound;
    return cora_error_from(cora_error(CORA_EKEY, "oats"), CORA_EVALUE, "no porridge");
}

TEST(error_cause, "an error that has a cause keeps it")
{
    cora_executor mill = mill_new(1);
    cora_value error = outcome(submit(mill, cora_partial(fail_for_a_reason)));
    CHECK_TEXT(cora_error_message(error), "no porridge");
    CHECK_TEXT(cora_error_message(cora_error_cause(error)), "oats");
    mill_close(mill);
}

static cora_value read_wrongly(cora_args bound)
{
    return cora_int(cora_arg_int(bound, 0));
}

TEST(failing, "work that fails with cora_fail has that as its outcome")
{
    cora_executor mill = mill_new(1);
    CHECK_INT(cora_error_code(outcome(submit(mill, cora_partial(read_wrongly, "rye")))),
              CORA_ETYPE);
    mill_close(mill);
}

static cora_value leave(cora_args bound)
{
    (void)bound;
    return cora_error(CORA_ESYSTEMEXIT, "enough");
}

TEST(system_exit, "work that gives SystemExit has it as its outcome, and the worker stays",
     "test_concurrent_futures.ExecutorDeadlockTest.test_exit_during_func_exec_on_worker")
{
    cora_executor mill = mill_new(1);
    pid_t worker = process_of(mill);
    CHECK_INT(cora_error_code(outcome(submit(mill, cora_partial(leave)))), CORA_ESYSTEMEXIT);
    CHECK_INT(process_of(mill), worker);
    mill_close(mill);
}

TEST(argument_refused, "work with an argument that cannot be copied fails alone",
     "test_concurrent_futures.ExecutorDeadlockTest.test_error_at_task_pickle")
{
    cora_executor mill = mill_new(1);
    cora_value error = outcome(submit(mill, cora_partial(echo, (void *)&mill)));
    CHECK_INT(cora_error_code(error), CORA_ETYPE);
    CHECK_TEXT(cora_error_message(error), "a value of type pointer cannot go to another process");
    CHECK_INT(sum_in(mill), 5);
    mill_close(mill);
    shared_close();
}

static cora_value give_pointer(cora_args bound)
{
    (void)bound;
    return cora_pointer(&shared);
}

TEST(outcome_refused, "work that gives what cannot be copied fails alone",
     "test_concurrent_futures.ExecutorDeadlockTest.test_error_during_result_pickle_on_worker")
{
    cora_executor mill = mill_new(1);
    CHECK_INT(cora_error_code(outcome(submit(mill, cora_partial(give_pointer)))), CORA_ETYPE);
    CHECK_INT(sum_in(mill), 5);
    mill_close(mill);
    shared_close();
}

static cora_value live_values(cora_args bound)
{
    (void)bound;
    return cora_int((int64_t)cora_live_values());
}

TEST(arguments_dropped, "a worker drops arguments and outcome as soon as the work is done",
     "test_concurrent_futures.ProcessPoolExecutorTest.test_ressources_gced_in_workers")
{
    cora_executor mill = mill_new(1);
    long long before = cora_as_int(outcome(submit(mill, cora_partial(live_values))));
    cora_value text = cora_text("rye"), list = cora_list(&text, 1);
    outcome(submit(mill, cora_partial(echo, list)));
    outcome(submit(mill, cora_partial(grind, -1)));
    CHECK(cora_as_int(outcome(submit(mill, cora_partial(live_values)))) <= before + 1);
    mill_close(mill);
}

TEST(large, "large arguments go there while large outcomes come back, in several workers at once")
{
    const size_t size = (size_t)(harness_sanitized() ? 4 : 16) << 20;
    cora_executor mill = mill_new(2);
    cora_thread_future futures[6];
    char *flour = malloc(size);
    memset(flour, 'f', size);
    for (int i = 0; i < 6; i++)
        futures[i] = submit(mill, cora_partial(echo, cora_bytes(flour, size)));
    for (int i = 0; i < 6; i++) {
        size_t come = 0;
        cora_value value = outcome(futures[i]);
        CHECK(memcmp(cora_as_bytes(value, &come), flour, size) == 0);
        CHECK_INT(come, size);
    }
    mill_close(mill);
    free(flour);
}

/* ---- what is in a worker ---- */

static cora_value descriptors(cora_args bound)
{
    char text[400] = "";
    DIR *listing = opendir("/proc/self/fd");
    (void)bound;
    for (struct dirent *entry; (entry = readdir(listing));)
        if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(listing)) {
            strncat(text, " ", sizeof text - strlen(text) - 1);
            strncat(text, entry->d_name, sizeof text - strlen(text) - 1);
        }
    closedir(listing);
    return cora_text(text);
}

TEST(no_descriptors, "of the program's descriptors a worker has 0, 1 and 2, and one of the pool's")
{
    int opened[2], more[2];
    CHECK_INT(pipe(opened), 0); /* without CLOEXEC */
    CHECK(dup2(opened[0], 200) == 200);
    cora_loop loop = cora_loop_new(NULL);
    cora_executor other = mill_new(1), mill = mill_new(2);
    outcome(submit(other, cora_partial(process)));
    CHECK_INT(pipe(more), 0);
    CHECK_TEXT(cora_as_text(outcome(submit(mill, cora_partial(descriptors)))), " 0 1 2 3");
    CHECK_TEXT(cora_as_text(outcome(submit(other, cora_partial(descriptors)))), " 0 1 2 3");
    CHECK_INT(cora_executor_shutdown(other), 0);
    mill_close(mill);
    cora_loop_close(loop);
    for (int i = 0; i < 2; i++) {
        close(opened[i]);
        close(more[i]);
    }
    close(200);
}

static cora_loop program_loop;

static void ring(cora_args bound)
{
    (void)bound;
}

static cora_value use_programs_loop(cora_args bound)
{
    cora_value codes[] = {
        cora_int(cora_run_forever(program_loop)),
        cora_int(cora_after_fork(program_loop)),
        cora_int(cora_is_null(cora_call_soon(program_loop, cora_partial(ring)))),
        cora_int(cora_is_null(cora_call_soon_threadsafe(program_loop, cora_partial(ring)))),
        cora_int(cora_is_closed(program_loop)),
        cora_int(cora_loop_close(program_loop)),
        cora_int(cora_is_null(cora_running_loop())),
        cora_int(cora_is_null(cora_current_loop())),
    };
    (void)bound;
    return cora_list(codes, sizeof codes / sizeof *codes);
}

static void make_mill(cora_args bound)
{
    cora_executor *mill = cora_arg(bound, 0, cora_executor *);
    cora_set_current_loop(program_loop);
    *mill = mill_new(1);
    cora_stop(program_loop);
}

TEST(no_loops, "a program's loop is closed in a worker, also if the pool is made while it runs")
{
    cora_executor mill = { 0 };
    program_loop = cora_loop_new(NULL);
    cora_call_soon(program_loop, cora_partial(make_mill, &mill));
    CHECK_INT(cora_run_forever(program_loop), 0);
    cora_value codes = outcome(submit(mill, cora_partial(use_programs_loop)));
    const long long expected[] = { CORA_ERUNTIME, CORA_ERUNTIME, 1, 1, 1, 0, 1, 1 };
    for (size_t i = 0; i < 8; i++)
        CHECK_INT(cora_as_int(cora_list_at(codes, i)), expected[i]);
    cora_set_current_loop((cora_loop){ 0 });
    mill_close(mill);
    CHECK(!cora_is_closed(program_loop));
    cora_loop_close(program_loop);
}

static void stop_soon(cora_args bound)
{
    ++*cora_arg(bound, 0, int *);
    cora_stop(cora_running_loop());
}

static cora_value run_loop(cora_args bound)
{
    int ran = 0;
    cora_loop loop = cora_loop_new(NULL);
    (void)bound;
    cora_call_later(loop, 0.001, cora_partial(stop_soon, &ran));
    int code = cora_run_forever(loop);
    cora_loop_close(loop);
    return cora_int(code < 0 ? code : ran);
}

static void make_mill_in_loop(cora_args bound)
{
    *cora_arg(bound, 0, cora_executor *) = mill_new(1);
    cora_stop(cora_running_loop());
}

TEST(own_loop, "work makes a loop and runs it, and its outcome comes to the program's loop",
     "test_events.GetEventLoopTestsMixin.test_get_event_loop_new_process")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_executor mill = { 0 };
    cora_value ran = cora_nothing();
    cora_call_soon(loop, cora_partial(make_mill_in_loop, &mill));
    CHECK_INT(cora_run_forever(loop), 0);
    for (int i = 0; i < 2; i++) {
        cora_call_in_executor(loop, mill, cora_partial(run_loop), cora_partial(on_outcome, &ran));
        CHECK_INT(cora_run_forever(loop), 0);
        CHECK_INT(cora_as_int(ran), 1);
    }
    mill_close(mill);
    cora_loop_close(loop);
}

static cora_value signals_usual(cora_args bound)
{
    sigset_t blocked;
    (void)bound;
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    for (int number = 1; number < 32; number++) {
        struct sigaction action;
        if (sigismember(&blocked, number) ||
            (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL))
            return cora_int(number);
    }
    return cora_int(0);
}

static void on_signal(int number)
{
    (void)number;
}

TEST(signals_reset, "in a worker no signal is blocked, and all have their default action")
{
    sigset_t some, before;
    sigemptyset(&some);
    sigaddset(&some, SIGUSR2);
    sigprocmask(SIG_BLOCK, &some, &before);
    signal(SIGUSR1, on_signal);
    signal(SIGPIPE, SIG_IGN);
    cora_executor mill = mill_new(1);
    CHECK_INT(cora_as_int(outcome(submit(mill, cora_partial(signals_usual)))), 0);
    mill_close(mill);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static cora_value greet(cora_args bound)
{
    (void)bound;
    printf("the miller greets; ");
    return cora_nothing();
}

TEST(output, "what work prints is written when it ends, and what the program has not yet, once")
{
    char text[100] = "";
    int ends[2], usual = dup(STDOUT_FILENO);
    CHECK_INT(pipe(ends), 0);
    fflush(stdout);
    dup2(ends[1], STDOUT_FILENO);
    printf("so does the baker");
    cora_executor mill = mill_new(1);
    outcome(submit(mill, cora_partial(greet)));
    mill_close(mill);
    fflush(stdout);
    dup2(usual, STDOUT_FILENO);
    CHECK(read(ends[0], text, sizeof text - 1) > 0);
    CHECK_TEXT(text, "the miller greets; so does the baker");
    close(usual);
    close(ends[0]);
    close(ends[1]);
}

/* ---- initializers ---- */

static long long sharpened;

static cora_value sharpen(cora_args bound)
{
    sharpened += *cora_arg(bound, 0, int *);
    return cora_nothing();
}

static cora_value sharpness(cora_args bound)
{
    (void)bound;
    return cora_int(sharpened);
}

TEST(initializer,
     "an initializer runs once in each worker, before any work, with pointers if wanted")
{
    int edge = 5;
    struct cora_process_pool_options options = { .max_workers = 1,
                                                 .initializer = cora_partial(sharpen, &edge) };
    cora_executor mill = cora_process_pool_new(&options);
    for (int i = 0; i < 3; i++)
        CHECK_INT(cora_as_int(outcome(submit(mill, cora_partial(sharpness)))), 5);
    CHECK_INT(sharpened, 0);
    mill_close(mill);
}

static cora_value refuse_to_begin(cora_args bound)
{
    (void)bound;
    return cora_error(CORA_EKEY, "the millstone");
}

TEST(initializer_fails, "a pool whose initializer fails is broken, and leaves nothing behind",
     "test_concurrent_futures.FailingInitializerResourcesTest.test_spawn")
{
    struct cora_process_pool_options options = { .max_workers = 2,
                                                 .initializer = cora_partial(refuse_to_begin) };
    cora_executor mill = cora_process_pool_new(&options);
    cora_thread_future futures[3];
    int count = 0;
    futures[count++] = submit(mill, cora_partial(add, 1, 2));
    while (count < 3 &&
           !cora_is_null(futures[count] = cora_executor_submit(mill, cora_partial(add, 1, 2))))
        count++;
    for (int i = 0; i < count; i++) {
        cora_value error = outcome(futures[i]);
        check_broken(error, "the initializer has failed: KeyError: the millstone");
        CHECK_INT(cora_error_code(cora_error_cause(error)), CORA_EKEY);
    }
    CHECK(cora_is_null(cora_executor_submit(mill, cora_partial(add, 1, 2))));
    CHECK_INT(cora_last_error_code(), CORA_EBROKENPROCESSPOOL);
    mill_close(mill);
}

/* ---- how many workers ---- */

/* How many children the pool's fork server has, by the system's lists; at least so many. */
static int count_workers(pid_t worker)
{
    char path[80], line[400];
    int parent = 0, count = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)worker);
    FILE *file = fopen(path, "r");
    CHECK(file && fgets(line, sizeof line, file));
    CHECK_INT(sscanf(strrchr(line, ')'), ") %*c %d", &parent), 1);
    fclose(file);
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", parent, parent);
    if (!(file = fopen(path, "r")))
        SKIP("the system does not list children");
    for (int child; fscanf(file, "%d", &child) == 1;)
        count++;
    fclose(file);
    return count;
}

TEST(on_demand, "three pieces of work that block have three workers, which are reaped in the end",
     "test_concurrent_futures.ProcessPoolShutdownTest.test_processes_terminate")
{
    shared_open();
    cora_executor mill = mill_new(4);
    cora_thread_future futures[3];
    pid_t workers[3];
    for (int i = 0; i < 3; i++)
        futures[i] = submit(mill, cora_partial(wait_at_gate));
    for (int i = 0; i < 3; i++)
        down(&shared->arrived);
    up(&shared->gate, 3);
    for (int i = 0; i < 3; i++)
        workers[i] = (pid_t)cora_as_int(outcome(futures[i]));
    CHECK(workers[0] != workers[1] && workers[1] != workers[2] && workers[2] != workers[0]);
    CHECK_INT(count_workers(workers[0]), 3);
    mill_close(mill);
    for (int i = 0; i < 3; i++)
        CHECK_INT(kill(workers[i], 0), -1);
    shared_close();
}

TEST(saturation, "much work that blocks starts no more workers than there may be",
     "test_concurrent_futures.ProcessPoolExecutorTest.test_saturation")
{
    shared_open();
    cora_executor mill = mill_new(3);
    cora_thread_future futures[45];
    for (int i = 0; i < 45; i++)
        futures[i] = submit(mill, cora_partial(wait_at_gate));
    for (int i = 0; i < 3; i++)
        down(&shared->arrived);
    CHECK_INT(shared->done, 0);
    up(&shared->gate, 1); /* another one comes to it */
    down(&shared->arrived);
    CHECK_INT(count_workers(shared->worker), 3);
    up(&shared->gate, 44);
    for (int i = 0; i < 45; i++)
        outcome(futures[i]);
    CHECK_INT(shared->done, 45);
    mill_close(mill);
    shared_close();
}

TEST(reuse_one, "work that comes one after the other is done by one worker",
     "test_concurrent_futures.ProcessPoolExecutorTest.test_idle_process_reuse_one")
{
    cora_executor mill = mill_new(4);
    pid_t worker = process_of(mill);
    for (int i = 0; i < 5; i++)
        CHECK_INT(process_of(mill), worker);
    CHECK_INT(count_workers(worker), 1);
    mill_close(mill);
}

TEST(reuse_multiple, "work that comes in bursts has no more workers than a burst needs",
     "test_concurrent_futures.ProcessPoolExecutorTest.test_idle_process_reuse_multiple")
{
    shared_open();
    cora_executor mill = mill_new(8);
    pid_t worker = 0;
    for (int burst = 0; burst < 3; burst++) {
        cora_thread_future futures[2];
        for (int i = 0; i < 2; i++)
            futures[i] = submit(mill, cora_partial(wait_at_gate));
        for (int i = 0; i < 2; i++)
            down(&shared->arrived);
        up(&shared->gate, 2);
        for (int i = 0; i < 2; i++)
            worker = (pid_t)cora_as_int(outcome(futures[i]));
    }
    CHECK_INT(count_workers(worker), 2);
    mill_close(mill);
    shared_close();
}

TEST(tasks_per_child, "a worker that has done as many as it may is replaced by another one",
     "test_concurrent_futures.ProcessPoolExecutorTest.test_max_tasks_per_child")
{
    struct cora_process_pool_options options = { .max_workers = 1, .max_tasks_per_child = 3 };
    cora_executor mill = cora_process_pool_new(&options);
    pid_t first = process_of(mill);
    CHECK_INT(process_of(mill), first);
    CHECK_INT(process_of(mill), first);
    pid_t second = process_of(mill);
    CHECK(second != first);
    CHECK_INT(kill(first, 0), -1); /* its place is taken when it has been reaped */
    CHECK_INT(process_of(mill), second);
    mill_close(mill);
}

TEST(tasks_per_child_shutdown,
     "with one piece of work for each worker all is done, also in a "
     "shutdown",
     "test_concurrent_futures.ProcessPoolExecutorTest.test_max_tasks_early_shutdown")
{
    struct cora_process_pool_options options = { .max_workers = 3, .max_tasks_per_child = 1 };
    cora_executor mill = cora_process_pool_new(&options);
    cora_thread_future futures[6];
    for (int i = 0; i < 6; i++)
        futures[i] = submit(mill, cora_partial(add, i, 10));
    mill_close(mill);
    for (int i = 0; i < 6; i++)
        CHECK_INT(cora_as_int(outcome(futures[i])), i + 10);
}

static void check_early(int workers, int count)
{
    struct cora_process_pool_options options = { .max_workers = workers, .max_tasks_per_child = 1 };
    cora_executor mill = cora_process_pool_new(&options);
    cora_thread_future futures[3];
    for (int i = 0; i < count; i++)
        futures[i] = submit(mill, cora_partial(grind, i == 1 ? -1 : i));
    CHECK_INT(cora_executor_shutdown(mill, .no_wait = true), 0);
    for (int i = 0; i < count; i++)
        CHECK_INT(cora_error_code(outcome(futures[i])), i == 1 ? CORA_EVALUE : 0);
    wait_for_nobody();
}

TEST(tasks_per_child_no_wait,
     "workers of one piece of work, of which one fails, end by themselves after a shutdown",
     "test_concurrent_futures.ProcessPoolShutdownTest.test_shutdown_gh_132969_case_1",
     "test_concurrent_futures.ProcessPoolShutdownTest.test_shutdown_gh_132969_case_2")
{
    check_early(2, 3);
    check_early(4, 3);
}

/* ---- cancelling ---- */

TEST(cancel_waiting, "work that waits is cancelled; what was moved to the workers is not",
     "test_concurrent_futures.ExecutorDeadlockTest.test_gh105829_should_not_deadlock_if_wakeup_"
     "pipe_full")
{
    shared_open();
    cora_executor mill = mill_new(2);
    cora_thread_future futures[100];
    int cancelled = 0;
    for (int i = 0; i < 100; i++)
        futures[i] = submit(mill, cora_partial(wait_at_gate));
    for (int i = 0; i < 2; i++)
        down(&shared->arrived);
    while (!cora_thread_future_running(futures[4])) /* two, and two and one more */
        sched_yield();
    for (int i = 0; i < 100; i++)
        cancelled += cora_thread_future_cancel(futures[i]);
    CHECK_INT(cancelled, 95);
    up(&shared->gate, 5);
    for (int i = 0; i < 100; i++)
        CHECK_INT(cora_error_code(outcome(futures[i])), i < 5 ? 0 : CORA_ECANCELLED);
    CHECK_INT(shared->done, 5);
    mill_close(mill);
    shared_close();
}

TEST(cancel_running, "a callback that is cancelled is not called; work that has begun goes on")
{
    shared_open();
    cora_loop loop = cora_loop_new(NULL);
    cora_executor mill = mill_new(1);
    cora_value value = cora_nothing();
    cora_handle handle = cora_call_in_executor(loop, mill, cora_partial(wait_at_gate),
                                               cora_partial(on_outcome, &value));
    down(&shared->arrived);
    CHECK(cora_handle_cancel(handle));
    up(&shared->gate, 1);
    mill_close(mill);
    CHECK_INT(shared->done, 1);
    cora_stop(loop);
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK(cora_is_nothing(value));
    cora_loop_close(loop);
    shared_close();
}

/* ---- shutting down ---- */

TEST(shutdown_waits, "a shutdown waits for all work, and then for the processes",
     "test_concurrent_futures.ProcessPoolShutdownTest.test_context_manager_shutdown")
{
    cora_executor mill = mill_new(2);
    cora_thread_future futures[20];
    for (int i = 0; i < 20; i++)
        futures[i] = submit(mill, cora_partial(add, i, 1));
    mill_close(mill);
    for (int i = 0; i < 20; i++) {
        CHECK(cora_thread_future_done(futures[i]));
        CHECK_INT(cora_as_int(outcome(futures[i])), i + 1);
    }
    CHECK(cora_is_null(cora_executor_submit(mill, cora_partial(add, 1, 2))));
    CHECK_INT(cora_last_error_code(), CORA_ERUNTIME);
}

TEST(shutdown_no_wait, "after a shutdown that does not wait all work is done, and all workers end",
     "test_concurrent_futures.ProcessPoolShutdownTest.test_shutdown_no_wait",
     "test_concurrent_futures.ProcessPoolShutdownTest.test_del_shutdown")
{
    shared_open();
    cora_executor mill = mill_new(2);
    cora_thread_future futures[5];
    for (int i = 0; i < 5; i++)
        futures[i] = submit(mill, cora_partial(wait_at_gate));
    CHECK_INT(cora_executor_shutdown(mill, .no_wait = true), 0);
    CHECK(cora_is_null(cora_executor_submit(mill, cora_partial(add, 1, 2))));
    CHECK_INT(shared->done, 0);
    up(&shared->gate, 5);
    for (int i = 0; i < 5; i++)
        CHECK(cora_as_int(outcome(futures[i])) > 0);
    wait_for_nobody();
    shared_close();
}

TEST(shutdown_cancels, "a shutdown cancels what waits, if asked to")
{
    shared_open();
    cora_executor mill = mill_new(1);
    cora_thread_future futures[10];
    for (int i = 0; i < 10; i++)
        futures[i] = submit(mill, cora_partial(wait_at_gate));
    down(&shared->arrived);
    while (!cora_thread_future_running(futures[2]))
        sched_yield();
    CHECK_INT(cora_executor_shutdown(mill, .no_wait = true, .cancel_futures = true), 0);
    up(&shared->gate, 3);
    for (int i = 0; i < 10; i++)
        CHECK_INT(cora_error_code(outcome(futures[i])), i < 3 ? 0 : CORA_ECANCELLED);
    wait_for_nobody();
    shared_close();
}

TEST(shutdown_unused, "a pool that had no work is shut down")
{
    mill_close(mill_new(4));
}

TEST(shutdown_refused_argument, "work that cannot be copied fails also when the pool is shut down",
     "test_concurrent_futures.ExecutorDeadlockTest.test_shutdown_deadlock_pickle")
{
    cora_executor mill = mill_new(2);
    cora_thread_future future = submit(mill, cora_partial(echo, (void *)&mill));
    CHECK_INT(cora_executor_shutdown(mill, .no_wait = true), 0);
    CHECK_INT(cora_error_code(outcome(future)), CORA_ETYPE);
    wait_for_nobody();
}

TEST(loop_closed, "a loop is closed while its work is in a worker, and the pool goes on")
{
    shared_open();
    cora_loop loop = cora_loop_new(NULL);
    cora_executor mill = mill_new(1);
    cora_value value = cora_nothing();
    cora_call_in_executor(loop, mill, cora_partial(wait_at_gate), cora_partial(on_outcome, &value));
    down(&shared->arrived);
    CHECK_INT(cora_loop_close(loop), 0);
    up(&shared->gate, 1);
    CHECK_INT(sum_in(mill), 5);
    mill_close(mill);
    shared_close();
}

/* ---- breaking ---- */

/* A worker ends so, while other work runs and waits. */
static void check_end(enum end how, const char *says)
{
    shared_open();
    cora_executor mill = mill_new(2);
    cora_thread_future futures[10];
    futures[0] = submit(mill, cora_partial(wait_at_gate));
    down(&shared->arrived);
    futures[1] = submit(mill, cora_partial(end, (int)how));
    int count = 2;
    while (count < 10 &&
           !cora_is_null(futures[count] = cora_executor_submit(mill, cora_partial(wait_at_gate))))
        count++;
    for (int i = 0; i < count; i++)
        check_broken(outcome(futures[i]), says);
    CHECK(cora_is_null(cora_executor_submit(mill, cora_partial(add, 1, 2))));
    CHECK_INT(cora_last_error_code(), CORA_EBROKENPROCESSPOOL);
    mill_close(mill);
    CHECK_INT(shared->done, 0);
    shared_close();
}

TEST(crash, "work that crashes breaks the pool: all that runs and waits fails, and submit too",
     "test_concurrent_futures.ExecutorDeadlockTest.test_crash_during_func_exec_on_worker",
     "test_concurrent_futures.ProcessPoolExecutorTest.test_killed_child")
{
    check_end(BY_SEGV, "was killed by signal 11 (Segmentation fault)");
    check_end(BY_ABORT, "was killed by signal 6 (Aborted)");
    check_end(BY_KILL, "was killed by signal 9 (Killed)");
}

TEST(exit, "work that ends its process breaks the pool")
{
    check_end(BY_EXIT, "has ended with exit status 3");
    check_end(BY__EXIT, "has ended with exit status 4");
}

TEST(idle_killed, "a worker that is killed while it has nothing to do breaks the pool")
{
    cora_executor mill = mill_new(1);
    CHECK_INT(kill(process_of(mill), SIGKILL), 0);
    cora_thread_future future = { 0 };
    while (!cora_is_null(future = cora_executor_submit(mill, cora_partial(add, 1, 2)))) {
        cora_value value = outcome(future);
        if (cora_is_error(value))
            check_broken(value, "was killed by signal 9 (Killed)");
    }
    CHECK_INT(cora_last_error_code(), CORA_EBROKENPROCESSPOOL);
    mill_close(mill);
}

TEST(crash_in_shutdown, "a worker that crashes while a shutdown waits for it does not hinder that",
     "test_concurrent_futures.ExecutorDeadlockTest.test_shutdown_deadlock")
{
    cora_executor mill = mill_new(2);
    cora_thread_future future = submit(mill, cora_partial(end, (int)BY_KILL));
    mill_close(mill);
    check_broken(outcome(future), "was killed by signal 9");
}

static cora_value end_of_text(cora_args bound)
{
    (void)bound;
    raise(SIGKILL);
    return cora_nothing();
}

TEST(crash_big_data, "workers that die while large arguments are on their way break the pool",
     "test_concurrent_futures.ExecutorDeadlockTest.test_crash_big_data")
{
    const size_t size = 4 << 20;
    cora_executor mill = mill_new(2);
    cora_thread_future futures[10];
    char *flour = calloc(1, size);
    int count = 0;
    while (count < 10 &&
           !cora_is_null(futures[count] = cora_executor_submit(
                             mill, cora_partial(end_of_text, cora_bytes(flour, size)))))
        count++;
    for (int i = 0; i < count; i++)
        check_broken(outcome(futures[i]), "was killed by signal 9");
    mill_close(mill);
    free(flour);
}

static cora_value close_and_wait(cora_args bound)
{
    (void)bound;
    close(3);
    while (pause() < 0)
        continue;
    return cora_nothing();
}

TEST(closes_socket, "a worker that closes the pool's descriptor is ended, and the pool is broken")
{
    cora_executor mill = mill_new(1);
    check_broken(outcome(submit(mill, cora_partial(close_and_wait))), "was killed by signal 9");
    mill_close(mill);
}

/* Writes this in the place of an outcome. */
static cora_value write_rubbish(cora_args bound)
{
    size_t size;
    const void *bytes = cora_as_bytes(cora_arg_value(bound, 0), &size);
    CHECK_INT(send(3, bytes, size, 0), size);
    return cora_nothing();
}

TEST(rubbish, "what is no outcome breaks the pool",
     "test_concurrent_futures.ExecutorDeadlockTest.test_error_during_result_unpickle_in_result_"
     "handler")
{
    const char nothing[32] = { 0 };
    const char head[33] = "CORA\1\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"; /* and no value */
    cora_value rubbish[] = { cora_bytes(nothing, 32), cora_bytes(head, 25) };
    for (int i = 0; i < 2; i++) {
        cora_executor mill = mill_new(1);
        check_broken(outcome(submit(mill, cora_partial(write_rubbish, rubbish[i]))),
                     "what came from a worker cannot be read");
        mill_close(mill);
    }
}

static cora_value start_daemon(cora_args bound)
{
    (void)bound;
    if (fork() == 0) {
        pause();
        _exit(0);
    }
    raise(SIGKILL);
    return cora_nothing();
}

TEST(child_of_worker, "a worker's end is noticed also when a child of it holds its descriptors")
{
    cora_executor mill = mill_new(1);
    check_broken(outcome(submit(mill, cora_partial(start_daemon))), "was killed by signal 9");
    mill_close(mill);
}

static pid_t parent_of(pid_t process)
{
    char path[80], line[400];
    int parent = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)process);
    FILE *file = fopen(path, "r");
    CHECK(file && fgets(line, sizeof line, file));
    CHECK_INT(sscanf(strrchr(line, ')'), ") %*c %d", &parent), 1);
    fclose(file);
    return parent;
}

TEST(parent_killed, "when the workers' parent is killed the pool is broken, and they end, too")
{
    shared_open();
    cora_executor mill = mill_new(1);
    pid_t worker = process_of(mill), parent = parent_of(worker);
    cora_thread_future future = submit(mill, cora_partial(wait_at_gate));
    down(&shared->arrived);
    CHECK_INT(parent_of(parent), getpid());
    CHECK_INT(kill(parent, SIGKILL), 0);
    check_broken(outcome(future), "the parent process of the workers has ended");
    mill_close(mill);
    shared_close();
}

TEST(parent_killed_idle, "so it is when nothing was to be done")
{
    cora_executor mill = mill_new(1);
    CHECK_INT(kill(parent_of(process_of(mill)), SIGKILL), 0);
    cora_thread_future future = { 0 };
    while (!cora_is_null(future = cora_executor_submit(mill, cora_partial(add, 1, 2)))) {
        cora_value value = outcome(future);
        if (cora_is_error(value))
            CHECK_INT(cora_error_code(value), CORA_EBROKENPROCESSPOOL);
    }
    CHECK_INT(cora_last_error_code(), CORA_EBROKENPROCESSPOOL);
    mill_close(mill);
}

/* ---- workers that cannot be started ---- */

/* The library's fork: in the fork server it may be let fail. */
pid_t fork(void)
{
    static pid_t (*next)(void);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "fork");
    int forks = shared ? atomic_load(&shared->forks) : -1;
    if (forks == 0) {
        errno = EAGAIN;
        return -1;
    }
    if (forks > 0)
        shared->forks--;
    return next();
}

TEST(no_worker, "work for which no worker can be started fails, and the next may succeed",
     "test_concurrent_futures.ProcessPoolExecutorTest.test_python_finalization_error")
{
    shared_open();
    cora_executor mill = mill_new(2);
    cora_thread_future futures[5];
    shared->forks = 0;
    for (int i = 0; i < 5; i++)
        futures[i] = submit(mill, cora_partial(add, i, 1));
    for (int i = 0; i < 5; i++)
        CHECK_INT(cora_error_code(outcome(futures[i])), -EAGAIN);
    shared->forks = -1;
    CHECK_INT(sum_in(mill), 5);
    mill_close(mill);
    shared_close();
}

TEST(fewer_workers, "work waits for the workers that are there if no more can be started")
{
    shared_open();
    cora_executor mill = mill_new(3);
    cora_thread_future futures[10];
    shared->forks = 1;
    for (int i = 0; i < 10; i++)
        futures[i] = submit(mill, cora_partial(wait_at_gate));
    up(&shared->gate, 10);
    pid_t worker = (pid_t)cora_as_int(outcome(futures[0]));
    for (int i = 1; i < 10; i++)
        CHECK_INT(cora_as_int(outcome(futures[i])), worker);
    mill_close(mill);
    shared_close();
}

TEST(no_parent, "a pool whose processes' parent cannot be forked is null")
{
    shared_open();
    shared->forks = 0;
    CHECK(cora_is_null(cora_process_pool_new(NULL)));
    CHECK_INT(cora_last_error_code(), -EAGAIN);
    shared_close();
}

/* ---- ending by force ---- */

/* Two run, three more are moved, the rest waits. */
static void check_force(int (*force)(cora_executor executor), const char *says)
{
    shared_open();
    cora_executor mill = mill_new(2);
    cora_thread_future futures[10];
    for (int i = 0; i < 10; i++)
        futures[i] = submit(mill, cora_partial(wait_at_gate));
    for (int i = 0; i < 2; i++)
        down(&shared->arrived);
    while (!cora_thread_future_running(futures[4]))
        sched_yield();
    CHECK_INT(force(mill), 0);
    CHECK(cora_is_null(cora_executor_submit(mill, cora_partial(add, 1, 2))));
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
    for (int i = 0; i < 5; i++)
        check_broken(outcome(futures[i]), says);
    for (int i = 5; i < 10; i++)
        CHECK_INT(cora_error_code(outcome(futures[i])), CORA_ECANCELLED);
    wait_for_nobody();
    shared_close();
}

TEST(terminate_workers, "terminate_workers sends SIGTERM to all workers, and shuts the pool down",
     "test_concurrent_futures.ProcessPoolExecutorTest.test_terminate_workers",
     "test_concurrent_futures.ProcessPoolExecutorTest.test_force_shutdown_workers_stops_pool")
{
    check_force(cora_executor_terminate_workers, "was killed by signal 15 (Terminated)");
}

TEST(kill_workers, "kill_workers sends SIGKILL to all workers, and shuts the pool down")
{
    check_force(cora_executor_kill_workers, "was killed by signal 9 (Killed)");
}

TEST(force_unused, "a pool without workers is shut down by terminate_workers and kill_workers",
     "test_concurrent_futures.ProcessPoolExecutorTest."
     "test_force_shutdown_workers_not_started_yet")
{
    for (int i = 0; i < 2; i++) {
        cora_executor mill = mill_new(2);
        CHECK_INT((i ? cora_executor_kill_workers : cora_executor_terminate_workers)(mill), 0);
        CHECK(cora_is_null(cora_executor_submit(mill, cora_partial(add, 1, 2))));
        wait_for_nobody();
        CHECK_INT(cora_executor_kill_workers(mill), 0);
    }
}

TEST(force_broken, "terminate_workers and kill_workers do no harm to a pool that is broken",
     "test_concurrent_futures.ProcessPoolExecutorTest."
     "test_force_shutdown_workers_dead_workers")
{
    cora_executor mill = mill_new(2);
    check_broken(outcome(submit(mill, cora_partial(end, (int)BY__EXIT))), "status 4");
    CHECK_INT(cora_executor_terminate_workers(mill), 0);
    CHECK_INT(cora_executor_kill_workers(mill), 0);
    wait_for_nobody();
}

static cora_value ignore_sigterm(cora_args bound)
{
    (void)bound;
    signal(SIGTERM, SIG_IGN);
    up(&shared->arrived, 1);
    while (pause() < 0)
        continue;
    return cora_nothing();
}

TEST(force_stubborn, "a worker that ignores SIGTERM in a broken pool is ended by kill_workers")
{
    shared_open();
    cora_executor mill = mill_new(2);
    cora_thread_future stubborn = submit(mill, cora_partial(ignore_sigterm));
    down(&shared->arrived);
    check_broken(outcome(submit(mill, cora_partial(end, (int)BY__EXIT))), "status 4");
    check_broken(outcome(stubborn), "status 4");
    CHECK_INT(cora_executor_kill_workers(mill), 0);
    wait_for_nobody();
    shared_close();
}

TEST(force_other_kind, "terminate_workers and kill_workers of a pool of threads are a TypeError")
{
    cora_executor bakery = cora_thread_pool_new(NULL);
    CHECK_INT(cora_executor_terminate_workers(bakery), CORA_ETYPE);
    CHECK_INT(cora_executor_kill_workers(bakery), CORA_ETYPE);
    mill_close(bakery);
}

/* ---- the program and its processes ---- */

static void *wait_for_children(void *unused)
{
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        continue;
    return unused;
}

TEST(reaped_by_program, "a program that waits for all of its children does not disturb a pool")
{
    pthread_t thread;
    cora_executor mill = mill_new(1);
    pid_t parent = parent_of(process_of(mill));
    CHECK_INT(pthread_create(&thread, NULL, wait_for_children, NULL), 0);
    CHECK_INT(sum_in(mill), 5);
    CHECK_INT(kill(parent, SIGKILL), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    mill_close(mill);
}

TEST(sigchld_ignored, "a program that ignores SIGCHLD may have a pool")
{
    signal(SIGCHLD, SIG_IGN);
    cora_executor mill = mill_new(1);
    CHECK_INT(sum_in(mill), 5);
    mill_close(mill);
    signal(SIGCHLD, SIG_DFL);
}

/* Waits until a process has gone that is not ours to wait for. */
static void wait_until_gone(pid_t process)
{
    char path[80], line[400], state = 'R';
    snprintf(path, sizeof path, "/proc/%d/stat", (int)process);
    for (FILE *file; state != 'Z' && (file = fopen(path, "r"));) { /* or nobody reaps it */
        if (fgets(line, sizeof line, file))
            sscanf(strrchr(line, ')'), ") %c", &state);
        fclose(file);
        sched_yield();
    }
}

TEST(program_dies, "when the program is killed its workers and their parent end, busy ones too")
{
    int ends[2];
    pid_t processes[2];
    shared_open();
    CHECK_INT(pipe(ends), 0);
    pid_t program = fork();
    if (program == 0) {
        cora_executor mill = mill_new(2);
        processes[0] = process_of(mill);
        processes[1] = parent_of(processes[0]);
        submit(mill, cora_partial(wait_at_gate));
        down(&shared->arrived);
        CHECK_INT(write(ends[1], processes, sizeof processes), sizeof processes);
        raise(SIGKILL);
    }
    CHECK_INT(read(ends[0], processes, sizeof processes), sizeof processes);
    CHECK_INT(waitpid(program, NULL, 0), program);
    wait_until_gone(processes[0]);
    wait_until_gone(processes[1]);
    close(ends[0]);
    close(ends[1]);
    shared_close();
}

TEST(program_dies_with_child, "so they do when a child of the program holds its descriptors")
{
    int ends[2];
    pid_t processes[3];
    CHECK_INT(pipe(ends), 0);
    pid_t program = fork();
    if (program == 0) {
        cora_executor mill = mill_new(1);
        processes[0] = process_of(mill);
        processes[1] = parent_of(processes[0]);
        processes[2] = fork();
        if (processes[2] == 0) {
            pause();
            _exit(0);
        }
        CHECK_INT(write(ends[1], processes, sizeof processes), sizeof processes);
        raise(SIGKILL);
    }
    CHECK_INT(read(ends[0], processes, sizeof processes), sizeof processes);
    CHECK_INT(waitpid(program, NULL, 0), program);
    wait_until_gone(processes[0]);
    wait_until_gone(processes[1]);
    CHECK_INT(kill(processes[2], SIGKILL), 0);
    close(ends[0]);
    close(ends[1]);
}

TEST(forked_program, "in a forked child of the program the pool is broken, and the parent's works")
{
    shared_open();
    cora_loop loop = cora_loop_new(NULL);
    cora_executor mill = mill_new(1);
    cora_thread_future future = submit(mill, cora_partial(wait_at_gate));
    cora_value value = cora_nothing();
    cora_call_in_executor(loop, mill, cora_partial(wait_at_gate), cora_partial(on_outcome, &value));
    down(&shared->arrived);
    pid_t child = fork();
    if (child == 0) {
        CHECK_INT(cora_after_fork(loop), 0);
        CHECK_INT(cora_error_code(outcome(future)), CORA_EBROKENPROCESSPOOL);
        CHECK_INT(cora_run_forever(loop), 0);
        CHECK_INT(cora_error_code(value), CORA_EBROKENPROCESSPOOL);
        CHECK(cora_is_null(cora_executor_submit(mill, cora_partial(add, 1, 2))));
        CHECK_INT(cora_last_error_code(), CORA_EBROKENPROCESSPOOL);
        CHECK_INT(cora_executor_kill_workers(mill), 0);
        CHECK_INT(cora_executor_shutdown(mill), 0);
        if (!harness_sanitized()) { /* the thread sanitizer wants no threads there */
            cora_executor own = mill_new(1);
            CHECK_INT(sum_in(own), 5);
            mill_close(own);
        }
        _exit(0);
    }
    int status = 0;
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
    up(&shared->gate, 2);
    CHECK(cora_as_int(outcome(future)) > 0);
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK(cora_as_int(value) > 0);
    mill_close(mill);
    cora_loop_close(loop);
    shared_close();
}

/* ---- threads ---- */

static cora_executor common_mill;

static void *submit_many(void *unused)
{
    cora_thread_future futures[50];
    for (int i = 0; i < 50; i++)
        futures[i] = submit(common_mill, cora_partial(add, i, 1));
    for (int i = 0; i < 50; i++)
        CHECK_INT(cora_as_int(outcome(futures[i])), i + 1);
    return unused;
}

static void *own_mill(void *unused)
{
    for (int i = 0; i < 3; i++) {
        cora_executor mill = mill_new(2);
        CHECK_INT(sum_in(mill), 5);
        CHECK_INT(cora_executor_shutdown(mill), 0);
    }
    return unused;
}

static void in_threads(void *(*function)(void *unused))
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, function, NULL), 0);
    for (int i = 0; i < 4; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
}

TEST(many_threads, "several threads give work to one pool")
{
    common_mill = mill_new(2);
    in_threads(submit_many);
    mill_close(common_mill);
}

TEST(pools_in_threads, "several threads make pools of their own")
{
    in_threads(own_mill);
    check_nobody();
}

static cora_value nothing(cora_args bound)
{
    (void)bound;
    return cora_nothing();
}

static atomic_bool enough;

static void *submit_to_threads(void *own)
{
    cora_executor *bakery = own;
    while (!enough)
        cora_thread_future_release(submit(*bakery, cora_partial(nothing)));
    return NULL;
}

TEST(made_while_busy, "pools that are made while other threads give work to a pool of threads work",
     "test_concurrent_futures.ThreadPoolExecutorTest.test_hang_global_shutdown_lock")
{
    pthread_t thread;
    cora_executor bakery = cora_thread_pool_new(NULL);
    enough = false;
    CHECK_INT(pthread_create(&thread, NULL, submit_to_threads, &bakery), 0);
    for (int i = 0; i < 20; i++) {
        cora_executor mill = mill_new(1);
        CHECK_INT(cora_as_int(outcome(submit(mill, cora_partial(run_loop)))), 1);
        CHECK_INT(cora_executor_shutdown(mill), 0);
    }
    enough = true;
    CHECK_INT(pthread_join(thread, NULL), 0);
    mill_close(bakery);
}

static cora_value fork_and_exit(cora_args bound)
{
    int status = -1;
    (void)bound;
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    CHECK_INT(waitpid(child, &status, 0), child);
    return cora_int(status);
}

TEST(fork_in_thread, "a process that is forked in a thread of a pool ends as it likes",
     "test_concurrent_futures.ThreadPoolExecutorTest.test_process_fork_from_a_threadpool")
{
    cora_executor bakery = cora_thread_pool_new(NULL);
    CHECK_INT(cora_as_int(outcome(submit(bakery, cora_partial(fork_and_exit)))), 0);
    mill_close(bakery);
}

static void fork_and_return(cora_args bound, cora_thread_future future)
{
    (void)future;
    pid_t child = fork();
    if (child > 0) {
        *cora_arg(bound, 0, pid_t *) = child;
        return;
    }
    alarm(5);
    for (int i = 0; i < 5; i++) /* where the pool's descriptors were */
        dup((int)cora_arg_int(bound, 1));
}

TEST(fork_in_callback,
     "a process that a done-callback forks ends when that returns, and touches nothing")
{
    pid_t child = 0;
    int status, line[2];
    char byte = 0;
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, line), 0);
    shared_open();
    cora_executor mill = mill_new(1);
    cora_thread_future works[5];
    for (int i = 0; i < 5; i++)
        if (i == 0)
            works[i] = submit(mill, cora_partial(wait_at_gate));
        else
            works[i] = submit(mill, cora_partial(add, i, 2));
    cora_thread_future_add_done_callback(works[0], cora_partial(fork_and_return, &child, line[0]));
    up(&shared->gate, 1);
    CHECK(cora_as_int(outcome(works[0])) > 0);
    for (int i = 1; i < 5; i++)
        CHECK_INT(cora_as_int(outcome(works[i])), i + 2);
    CHECK(child > 0);
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
    CHECK_INT(send(line[0], "!", 1, MSG_NOSIGNAL), 1);
    CHECK_INT(read(line[1], &byte, 1), 1);
    CHECK_INT(sum_in(mill), 5);
    close(line[0]);
    close(line[1]);
    mill_close(mill);
    shared_close();
}
