/*
 * A pool of processes when memory runs out or system calls fail: everything that is given to it
 * ends once, in the right way or with an error that tells; nothing is left behind.
 *
 * Each allocation and each system call of the program's side fails in turn, in each of its ways,
 * alone and with all later ones. The functions below stand in the place of the C library's for all
 * that is linked into the program; in its children they do not fail, unless a test says so.
 */
#include "harness.h"

#include <cora.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- what fails ---- */

enum call {
    ALLOCATE,
    SOCKETPAIR,
    EVENTFD,
    FORK,
    PTHREAD_CREATE,
    SENDMSG,
    SEND,
    RECV,
    WAITPID,
    CALLS,
};

#define WAYS 5
#define MESSAGE_SIZE 12 /* of what the fork server tells */
#define SHORT (-1)      /* a byte goes */

static const struct {
    const char *name;
    int ways[WAYS]; /* 0: no more */
} call_table[CALLS] = {
    [ALLOCATE] = { "malloc", { ENOMEM } },
    [SOCKETPAIR] = { "socketpair", { EMFILE, ENFILE, ENOMEM } },
    [EVENTFD] = { "eventfd", { EMFILE, ENFILE, ENOMEM } },
    [FORK] = { "fork", { EAGAIN, ENOMEM } },
    [PTHREAD_CREATE] = { "pthread_create", { EAGAIN } },
    [SENDMSG] = { "sendmsg", { EINTR, ENOBUFS, ETOOMANYREFS, EPIPE } },
    [SEND] = { "send", { EINTR, SHORT, EAGAIN, ENOBUFS, EPIPE } },
    [RECV] = { "recv", { EINTR, SHORT, EAGAIN, ECONNRESET } },
    [WAITPID] = { "waitpid", { EINTR } },
};

static struct {
    pid_t program; /* only there; 0: nowhere */
    atomic_int only;
    atomic_long left; /* calls until one fails */
    atomic_int way;
    atomic_bool lasting, failed;
    atomic_int which, error;
} faults;

/* Each allocation in a child does this first, if it is not NULL: whether the allocation fails. */
static bool (*child_allocates)(void);

static bool corrupts; /* work, on its way to a worker */

/* Whether the call is made again, and nobody is told. */
static bool is_transient(enum call call, int error)
{
    if (call == FORK || call == PTHREAD_CREATE)
        return false;
    return error == EINTR || error == SHORT || error == EAGAIN ||
           (call == SEND && error == ENOBUFS);
}

/* 0, or how this call fails. */
static int failure_of(enum call call)
{
    if (faults.program == 0 || getpid() != faults.program)
        return 0;
    bool again = faults.lasting && faults.failed && faults.which == (int)call;
    if (!again) {
        if (faults.failed || (faults.only != CALLS && faults.only != (int)call))
            return 0;
        if (faults.left-- != 0)
            return 0;
        int count = 0;
        while (count < WAYS && call_table[call].ways[count] != 0)
            count++;
        faults.which = (int)call;
        faults.error = call_table[call].ways[faults.way % count];
        faults.failed = true;
    }
    errno = faults.error == SHORT ? 0 : faults.error;
    return faults.error;
}

void *__real_malloc(size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_mmap(void *start, size_t size, int protection, int flags, int file, off_t offset);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_mmap(void *start, size_t size, int protection, int flags, int file, off_t offset);

void *__wrap_malloc(size_t size)
{
    if (child_allocates && faults.program != 0 && getpid() != faults.program && child_allocates())
        return NULL;
    return failure_of(ALLOCATE) ? NULL : __real_malloc(size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return failure_of(ALLOCATE) ? NULL : __real_realloc(memory, size);
}

void *__wrap_mmap(void *start, size_t size, int protection, int flags, int file, off_t offset)
{
    return failure_of(ALLOCATE) ? MAP_FAILED
                                : __real_mmap(start, size, protection, flags, file, offset);
}

#define NEXT(name)                                                                                 \
    do {                                                                                           \
        void *symbol = dlsym(RTLD_NEXT, name);                                                     \
        memcpy(&next, &symbol, sizeof next);                                                       \
    } while (0)

int socketpair(int family, int type, int protocol, int ret_ends[2])
{
    int (*next)(int, int, int, int *);
    NEXT("socketpair");
    return failure_of(SOCKETPAIR) ? -1 : next(family, type, protocol, ret_ends);
}

int eventfd(unsigned count, int flags)
{
    int (*next)(unsigned, int);
    NEXT("eventfd");
    return failure_of(EVENTFD) ? -1 : next(count, flags);
}

pid_t fork(void)
{
    pid_t (*next)(void);
    NEXT("fork");
    return failure_of(FORK) ? -1 : next();
}

int pthread_create(pthread_t *restrict ret_thread, const pthread_attr_t *restrict attributes,
                   void *(*run)(void *), void *restrict own)
{
    int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    NEXT("pthread_create");
    int error = failure_of(PTHREAD_CREATE);
    return error ? error : next(ret_thread, attributes, run, own);
}

ssize_t sendmsg(int descriptor, const struct msghdr *message, int flags)
{
    ssize_t (*next)(int, const struct msghdr *, int);
    NEXT("sendmsg");
    return failure_of(SENDMSG) ? -1 : next(descriptor, message, flags);
}

ssize_t send(int descriptor, const void *bytes, size_t size, int flags)
{
    ssize_t (*next)(int, const void *, size_t, int);
    NEXT("send");
    int error = failure_of(SEND);
    if (error && error != SHORT)
        return -1;
    if (corrupts && size > 100) {
        char changed[1000];
        memcpy(changed, bytes, size);
        memset(changed + size - 50, 0xff, 50);
        return next(descriptor, changed, size, flags);
    }
    return next(descriptor, bytes, error && size > 0 ? 1 : size, flags);
}

/* A short one is for streams of bytes, not for the messages of the fork server. */
ssize_t recv(int descriptor, void *bytes, size_t size, int flags)
{
    ssize_t (*next)(int, void *, size_t, int);
    NEXT("recv");
    int error = failure_of(RECV);
    if (error && error != SHORT)
        return -1;
    return next(descriptor, bytes, error && size > MESSAGE_SIZE ? 1 : size, flags);
}

pid_t waitpid(pid_t process, int *ret_status, int options)
{
    pid_t (*next)(pid_t, int *, int);
    NEXT("waitpid");
    return failure_of(WAITPID) ? -1 : next(process, ret_status, options);
}

/* ---- the scene ---- */

static cora_value grind(cora_args bound)
{
    if (cora_arg_int(bound, 1) < 0)
        return cora_error(CORA_EVALUE, "no %s", cora_arg_text(bound, 0));
    return cora_textf("%lld sacks of %s", cora_arg_int(bound, 1), cora_arg_text(bound, 0));
}

static cora_value sharpen(cora_args bound)
{
    (void)bound;
    return cora_nothing();
}

/* Whether it is as it should be; else it must tell of the fault. */
static void check_outcome(cora_value outcome, const char *expected)
{
    char text[400];
    cora_print(outcome, text, sizeof text);
    if (strcmp(text, expected) == 0)
        return;
    int code = cora_error_code(outcome);
    bool told = code == CORA_EMEMORY || code == CORA_EBROKENPROCESSPOOL || code == -faults.error;
    if (!faults.failed || !told || is_transient((enum call)faults.which, faults.error))
        harness_fail(__FILE__, __LINE__, "%s fails with %d (%s%s): %s, not %s",
                     call_table[faults.which].name, faults.error, faults.failed ? "once" : "never",
                     faults.lasting ? ", then always" : "", text, expected);
}

static void on_outcome(cora_args bound, cora_value outcome)
{
    check_outcome(outcome, "\"7 sacks of rye\"");
    cora_stop(cora_as_loop(cora_arg_value(bound, 0)));
}

static void in_loop(cora_executor mill)
{
    cora_loop loop = cora_loop_new(NULL);
    if (cora_is_null(loop)) {
        check_outcome(cora_last_error(), "");
        return;
    }
    cora_handle handle = cora_call_in_executor(loop, mill, cora_partial(grind, "rye", 7),
                                               cora_partial(on_outcome, loop));
    if (cora_is_null(handle))
        check_outcome(cora_last_error(), "");
    else
        CHECK_INT(cora_run_forever(loop), 0);
    cora_loop_close(loop);
}

#define JOBS 4

static void play(void)
{
    static const char *const expected[JOBS] = { "\"0 sacks of rye\"", "ValueError: no rye",
                                                "\"2 sacks of rye\"", "\"3 sacks of rye\"" };
    struct cora_process_pool_options options = { .max_workers = 2,
                                                 .max_tasks_per_child = 2,
                                                 .initializer = cora_partial(sharpen) };
    cora_thread_future futures[JOBS];
    cora_executor mill = cora_process_pool_new(&options);
    if (cora_is_null(mill)) {
        check_outcome(cora_last_error(), "");
        return;
    }
    for (int i = 0; i < JOBS; i++) {
        futures[i] = cora_executor_submit(mill, cora_partial(grind, "rye", i == 1 ? -1 : i));
        if (cora_is_null(futures[i]))
            check_outcome(cora_last_error(), "");
    }
    for (int i = 0; i < JOBS; i++)
        if (!cora_is_null(futures[i])) {
            check_outcome(cora_thread_future_result(futures[i], 20), expected[i]);
            CHECK_INT(cora_thread_future_release(futures[i]), 0);
        }
    in_loop(mill);
    CHECK_INT(cora_executor_shutdown(mill), 0);
}

/* ---- plays ---- */

/* In a thread of its own, which has no free memory at hand, and gives all back. */
static void *play_in_thread(void *unused)
{
    faults.program = getpid();
    play();
    faults.program = 0;
    return unused;
}

static int lowest_free_descriptor(void)
{
    int descriptor = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
    close(descriptor);
    return descriptor;
}

/* Plays it with this call failing. Whether there was such a call. */
static bool play_once(enum call only, long number, int way, bool lasting)
{
    pthread_t thread;
    int descriptor = lowest_free_descriptor();
    size_t live = cora_live_values();
    faults.only = (int)only;
    faults.left = number;
    faults.way = way;
    faults.lasting = lasting;
    faults.failed = false;
    faults.error = 0;
    CHECK_INT(pthread_create(&thread, NULL, play_in_thread, NULL), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(waitpid(-1, NULL, WNOHANG), -1);
    CHECK_INT(errno, ECHILD);
    CHECK_INT(lowest_free_descriptor(), descriptor);
    CHECK_INT(cora_live_values(), live);
    return faults.failed;
}

/* All of them, one after the other. */
static void play_all(enum call call)
{
    play_once(call, 1000000, 0, false); /* what is made once in a process is there then */
    for (int way = 0; way < WAYS && call_table[call].ways[way] != 0; way++) {
        long number = 0;
        bool lasts = !is_transient(call, call_table[call].ways[way]);
        while (play_once(call, number, way, false)) {
            if (lasts)
                play_once(call, number, way, true);
            CHECK(++number < 1000);
        }
        CHECK(number > 0);
    }
}

TEST_WITH_LIMIT(60, memory, "each allocation fails")
{
    play_all(ALLOCATE);
}

TEST_WITH_LIMIT(60, descriptors, "no socket and no descriptor can be made")
{
    play_all(SOCKETPAIR);
    play_all(EVENTFD);
}

TEST_WITH_LIMIT(60, processes, "no process and no thread can be started")
{
    play_all(FORK);
    play_all(PTHREAD_CREATE);
}

TEST_WITH_LIMIT(60, orders, "the workers' parent cannot be told what to do")
{
    play_all(SENDMSG);
}

TEST_WITH_LIMIT(60, sending, "work cannot be sent to a worker")
{
    play_all(SEND);
}

TEST_WITH_LIMIT(60, receiving, "what comes from a worker or from their parent cannot be read")
{
    play_all(RECV);
}

TEST_WITH_LIMIT(60, waiting, "waiting is interrupted")
{
    play_all(WAITPID);
}

/* ---- workers that end while they read or write values ---- */

static atomic_int *countdown; /* shared: allocations in workers until one of them ends so */
static int how_ends;          /* a signal; less than 0: an exit status; NOT_AT_ALL */

#define NOT_AT_ALL 0 /* the allocation fails */

static bool end_when_counted(void)
{
    if ((*countdown)-- != 0)
        return false;
    if (how_ends < 0)
        _exit(-how_ends);
    if (how_ends > 0)
        raise(how_ends);
    return true;
}

static cora_value echo(cora_args bound)
{
    return cora_arg_value(bound, 0);
}

/* Each allocation of a worker is its last; among them those for the work and for its outcome. */
static void end_in_each(int how)
{
    countdown =
        mmap(NULL, sizeof *countdown, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    how_ends = how;
    faults.program = getpid();
    faults.failed = true; /* nothing else */
    faults.lasting = false;
    child_allocates = end_when_counted;
    for (int number = 0, code = -1; code != 0 || number < 3; number++) {
        struct cora_process_pool_options options = { .max_workers = 1 };
        cora_value text = cora_text("rye"), list = cora_list(&text, 1);
        *countdown = number;
        cora_executor mill = cora_process_pool_new(&options);
        cora_thread_future future = cora_executor_submit(mill, cora_partial(echo, list));
        cora_value outcome = cora_thread_future_result(future, 20);
        code = cora_error_code(outcome);
        if (code != 0)
            CHECK_INT(code, how == NOT_AT_ALL ? CORA_EMEMORY : CORA_EBROKENPROCESSPOOL);
        else
            CHECK(cora_equal(outcome, list));
        cora_thread_future_release(future);
        if (how == NOT_AT_ALL) {
            *countdown = -1;
            future = cora_executor_submit(mill, cora_partial(echo, list));
            CHECK(cora_equal(cora_thread_future_result(future, 20), list));
            cora_thread_future_release(future);
        }
        CHECK_INT(cora_executor_shutdown(mill), 0);
    }
    child_allocates = NULL;
    faults.program = 0;
    munmap(countdown, sizeof *countdown);
}

TEST_WITH_LIMIT(60, crash_in_codec,
                "a worker that crashes while it reads work or writes an outcome breaks the pool",
                "test_concurrent_futures.ExecutorDeadlockTest.test_crash_at_task_unpickle",
                "test_concurrent_futures.ExecutorDeadlockTest.test_crash_during_result_pickle_on_"
                "worker")
{
    end_in_each(SIGSEGV);
}

TEST_WITH_LIMIT(60, exit_in_codec,
                "a worker that exits while it reads work or writes an outcome breaks the pool",
                "test_concurrent_futures.ExecutorDeadlockTest.test_exit_at_task_unpickle")
{
    end_in_each(-3);
}

TEST_WITH_LIMIT(60, no_memory_in_worker,
                "work fails with a MemoryError if its worker has no memory, which goes on")
{
    end_in_each(NOT_AT_ALL);
}

TEST(corrupted, "work that cannot be read by its worker breaks the pool",
     "test_concurrent_futures.ExecutorDeadlockTest.test_error_at_task_unpickle")
{
    struct cora_process_pool_options options = { .max_workers = 1 };
    cora_value parts[] = { cora_text("a sack of rye of the last harvest but one"),
                           cora_text("and another one"), cora_text("of oats, as a present") };
    cora_executor mill = cora_process_pool_new(&options);
    corrupts = true;
    cora_thread_future future = cora_executor_submit(mill, cora_partial(echo, cora_list(parts, 3)));
    cora_value outcome = cora_thread_future_result(future, 20);
    corrupts = false;
    CHECK_INT(cora_error_code(outcome), CORA_EBROKENPROCESSPOOL);
    CHECK(strstr(cora_error_message(outcome), "a worker cannot read what was sent: ValueError"));
    cora_thread_future_release(future);
    CHECK_INT(cora_executor_shutdown(mill), 0);
}
