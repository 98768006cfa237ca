/*
 * How it works
 *
 * Constructors register the tests. main() forks one child per test, in a process group of its
 * own, with its output going to a memory file; the parent waits for SIGCHLD or the time limit,
 * kills what is left of the group, and prints the line of TAP. Both share one page, the outcome:
 * a process of the test that fails, however deep in callbacks or forks, writes its message there
 * and ends. A test has passed only if its process says so there and then exits with 0, so that
 * an exit() in a test, or a sanitizer that objects at exit, is a failure.
 *
 * The parent uses only raw clocks and sigtimedwait(), so a program that links a virtual clock is
 * still stopped in real time.
 *
 * Memory is compared in bytes outstanding. glibc counts as outstanding what sits in the caches of
 * a thread, so the program first starts itself again with these caches switched off.
 *
 * Linux and glibc only, as mallinfo2 and /proc are.
 */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <math.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef __has_feature
#define __has_feature(feature) 0
#endif

#define DEFAULT_LIMIT 10.0 /* seconds */

/* How much slower than a child a test under valgrind may be before the alarm ends it. */
#define SLOWER_IN_PROCESS 50

#define TUNABLES                                                                                   \
    "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1:glibc.pthread.stack_cache_size=0"

enum state { RUNNING, PASSED, FAILED, SKIPPED };

/* What the processes of one test tell the parent; in memory that all of them share. */
struct outcome {
    _Atomic enum state state;
    _Atomic size_t length; /* of the text; may pass the end, what does not fit is lost */
    char text[8192];       /* messages, each with its newline; or the reason for skipping */
};

/* What must be the same before and after a test. */
struct belongings {
    size_t memory;
    size_t objects;
    struct rlimit descriptor_limit; /* a test may lower it; looking at descriptors needs one */
    int descriptor_count;
    int descriptors[1024];
};

static struct harness_test *tests;
static struct outcome *outcome;
static FILE *tap;             /* where the results go, never mixed with a test's output */
static pid_t test_process;    /* the process that runs the test; 0: none runs */
static jmp_buf end_of_test;   /* used only when tests run in this process */
static pthread_t main_thread; /* the one that may jump there */

/* The order of constructors is the compiler's choice, so a file is sorted by its lines. */
void harness_register(struct harness_test *test)
{
    struct harness_test **at = &tests;

    while (*at && (strcmp((*at)->file, test->file) != 0 || (*at)->line < test->line))
        at = &(*at)->next;
    test->next = *at;
    *at = test;
}

double harness_real_time(void)
{
    struct timespec now;

    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double harness_processor_time(void)
{
    struct timespec now;

    syscall(SYS_clock_gettime, CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void harness_in_small_stack(void *(*function)(void *unused))
{
    size_t size = harness_sanitized() ? 262144 : 65536;
    pthread_attr_t attributes;
    pthread_t thread;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, size);
    CHECK_INT(pthread_create(&thread, &attributes, function, NULL), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attributes);
}

static bool in_process(void)
{
    const char *set = getenv("TEST_IN_PROCESS");

    return set && strcmp(set, "1") == 0;
}

bool harness_file_says(const char *file, const char *word)
{
    char line[1000];
    bool says = false;
    FILE *lines = fopen(file, "re");
    while (lines && !says && fgets(line, sizeof line, lines))
        says = line[0] != '#' && strstr(line, word);
    if (lines)
        fclose(lines);
    return says;
}

bool harness_under_valgrind(void)
{
    const char *preloaded = getenv("LD_PRELOAD");

    return in_process() || (preloaded && strstr(preloaded, "vgpreload"));
}

bool harness_sanitized(void)
{
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    return true;
#else
    return __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||
           __has_feature(memory_sanitizer);
#endif
}

int harness_threads(void)
{
    DIR *listing = opendir("/proc/self/task");
    int count = -2; /* . and .. */

    CHECK(listing != NULL);
    while (readdir(listing))
        count++;
    closedir(listing);
    return count;
}

static void *end_at_once(void *unused)
{
    return unused;
}

/* The C library gives back what the last of them had when another one is joined. */
void harness_threads_end(void)
{
    pthread_t thread;

    while (harness_threads() > 1 && !harness_sanitized())
        sched_yield();
    CHECK_INT(pthread_create(&thread, NULL, end_at_once, NULL), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
}

int harness_scale(int n)
{
    int scaled = harness_under_valgrind() ? n / 50 : harness_sanitized() ? n / 10 : n;

    if (getenv("CORA_LONG"))
        return n;
    return scaled > 0 ? scaled : 1;
}

static void __attribute__((format(printf, 1, 0))) add_message(const char *format, va_list values)
{
    char line[2048];
    int wanted = vsnprintf(line, sizeof line, format, values);

    if (wanted < 0)
        return;
    size_t length = (size_t)wanted < sizeof line ? (size_t)wanted : sizeof line - 1;
    size_t start = atomic_fetch_add(&outcome->length, length);
    if (start + length < sizeof outcome->text)
        memcpy(outcome->text + start, line, length);
}

static void __attribute__((format(printf, 1, 2))) complain(const char *format, ...)
{
    va_list values;

    va_start(values, format);
    add_message(format, values);
    va_end(values);
    atomic_store(&outcome->state, FAILED);
}

/* A process of the test simply ends, without the reports that a sanitizer makes at exit. When all
 * tests share this process there is only the jump, which no other thread may take. */
static void __attribute__((noreturn)) end_test(int code)
{
    fflush(stdout);
    if (!in_process() || getpid() != test_process)
        _exit(code);
    if (pthread_equal(pthread_self(), main_thread))
        longjmp(end_of_test, 1);
    fprintf(tap, "Bail out! a test ended in another thread\n# %s", outcome->text);
    fflush(tap);
    _exit(1);
}

void harness_fail(const char *file, int line, const char *format, ...)
{
    char message[1800];
    va_list values;

    va_start(values, format);
    vsnprintf(message, sizeof message, format, values);
    va_end(values);
    complain("%s:%d: %s\n", file, line, message);
    end_test(1);
}

void harness_skip(const char *format, ...)
{
    va_list values;

    va_start(values, format);
    add_message(format, values);
    va_end(values);
    atomic_store(&outcome->state, SKIPPED);
    end_test(0);
}

void harness_check_int(const char *file, int line, const char *arguments, intmax_t actual,
                       intmax_t expected)
{
    if (actual != expected)
        harness_fail(file, line, "CHECK_INT(%s)\n  is       %jd\n  expected %jd", arguments, actual,
                     expected);
}

void harness_check_real(const char *file, int line, const char *arguments, double actual,
                        double expected, double tolerance)
{
    if (!(fabs(actual - expected) <= tolerance))
        harness_fail(file, line, "CHECK_REAL(%s)\n  is       %.17g\n  expected %.17g +- %g",
                     arguments, actual, expected, tolerance);
}

static const char *quote(const char *text, char *room, size_t size)
{
    if (!text)
        return "NULL";
    snprintf(room, size, "\"%s\"", text);
    return room;
}

void harness_check_text(const char *file, int line, const char *arguments, const char *actual,
                        const char *expected)
{
    char is[800], wanted[800];

    if (actual == expected || (actual && expected && strcmp(actual, expected) == 0))
        return;
    harness_fail(file, line, "CHECK_TEXT(%s)\n  is       %s\n  expected %s", arguments,
                 quote(actual, is, sizeof is), quote(expected, wanted, sizeof wanted));
}

/* Whether the bytes outstanding mean anything: in a plain program that was started again. */
static bool memory_is_exact(void)
{
    const char *tunables = getenv("GLIBC_TUNABLES");

    return !harness_sanitized() && !harness_under_valgrind() && tunables &&
           strstr(tunables, TUNABLES);
}

static size_t outstanding_memory(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

static bool owned_before(const struct belongings *before, int descriptor)
{
    for (int i = 0; i < before->descriptor_count; i++)
        if (before->descriptors[i] == descriptor)
            return true;
    return false;
}

/* The next descriptor of the listing, without that of the listing itself; -1 at the end. */
static int next_descriptor(DIR *listing)
{
    struct dirent *entry;

    while ((entry = readdir(listing))) {
        int descriptor = entry->d_name[0] == '.' ? -1 : atoi(entry->d_name);
        if (descriptor >= 0 && descriptor != dirfd(listing))
            return descriptor;
    }
    return -1;
}

static void take_stock(struct belongings *ret_before)
{
    struct belongings *b = ret_before;
    DIR *listing = opendir("/proc/self/fd");
    int room = sizeof b->descriptors / sizeof *b->descriptors;

    /* First, as it may give back what is only kept at hand. */
    b->objects = harness_live_objects ? harness_live_objects() : 0;
    b->descriptor_count = 0;
    getrlimit(RLIMIT_NOFILE, &b->descriptor_limit);
    for (int fd; listing && b->descriptor_count < room && (fd = next_descriptor(listing)) >= 0;)
        b->descriptors[b->descriptor_count++] = fd;
    if (listing)
        closedir(listing);
    b->memory = outstanding_memory();
}

static void compare_objects(size_t before)
{
    size_t now = harness_live_objects ? harness_live_objects() : 0;

    if (now > before)
        complain("%zu objects left alive\n", now - before);
    else if (now < before)
        complain("%zu objects fewer alive than before the test\n", before - now);
}

static void name_leaked_descriptor(int descriptor)
{
    char link[64], target[256];

    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, target, sizeof target - 1);
    target[length > 0 ? length : 0] = '\0';
    complain("descriptor %d left open: %s\n", descriptor, target);
}

/* As far as the test has left it possible. */
static void restore_descriptor_limit(rlim_t soft)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = soft < limit.rlim_max ? soft : limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void compare_descriptors(const struct belongings *before)
{
    restore_descriptor_limit(before->descriptor_limit.rlim_cur);
    DIR *listing = opendir("/proc/self/fd");
    if (!listing) {
        complain("/proc/self/fd cannot be read: %s\n", strerror(errno));
        return;
    }
    for (int fd; (fd = next_descriptor(listing)) >= 0;)
        if (!owned_before(before, fd))
            name_leaked_descriptor(fd);
    closedir(listing);
    for (int i = 0; i < before->descriptor_count; i++)
        if (fcntl(before->descriptors[i], F_GETFD) < 0)
            complain("descriptor %d, not the test's own, was closed\n", before->descriptors[i]);
}

/* Threads that nobody joins may end a little later than what they did: they have two seconds. */
static void await_threads(void)
{
    time_t began = time(NULL);
    pthread_t thread;

    while (harness_threads() > 1 && time(NULL) - began < 3)
        sched_yield();
    if (pthread_create(&thread, NULL, end_at_once, NULL) == 0)
        pthread_join(thread, NULL);
}

/* The objects first: asking may give back memory that is only kept at hand. */
static void compare_belongings(const struct belongings *before)
{
    compare_objects(before->objects);
    if (memory_is_exact() && outstanding_memory() > before->memory)
        await_threads();
    size_t memory = outstanding_memory();
    if (memory_is_exact() && memory > before->memory)
        complain("%zu bytes of memory left behind\n", memory - before->memory);
    compare_descriptors(before);
}

static void point_stdio_at(int output)
{
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);

    dup2(nothing, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    if (nothing > STDERR_FILENO)
        close(nothing);
    close(output);
}

static void run_body(const struct harness_test *test)
{
    test->run();
    if (getpid() != test_process)
        harness_fail(test->file, test->line, "a forked process came back from the test");
}

/* Another process of the test may have failed before. */
static bool pass(void)
{
    enum state running = RUNNING;

    return atomic_compare_exchange_strong(&outcome->state, &running, PASSED);
}

/* What a shell in the background ignores, tests send. */
static void signals_as_usual(void)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
}

/* The life of a child: become a process of its own, run the test, compare, and leave through
 * exit(), where LeakSanitizer runs. */
static void __attribute__((noreturn))
run_in_child(const struct harness_test *test, int output, const sigset_t *mask)
{
    static struct belongings before;

    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signals_as_usual();
    sigprocmask(SIG_SETMASK, mask, NULL);
    point_stdio_at(output);
    test_process = getpid();

    take_stock(&before);
    run_body(test);
    fflush(stdout);
    compare_belongings(&before);
    if (!pass())
        _exit(1);
    exit(0);
}

static double limit_of(const struct harness_test *test)
{
    const char *set = getenv("TEST_LIMIT");
    double usual = set ? atof(set) : DEFAULT_LIMIT;
    bool raised = test->limit <= 0 || (set && (usual <= 0 || usual > test->limit));

    return raised ? usual : test->limit;
}

/* Whether the child has ended; it stays a zombie, so that its group's number is not reused. */
static bool has_ended(pid_t child)
{
    siginfo_t info = { .si_pid = 0 };

    return waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid != 0;
}

/* Waits for the child, at most so many seconds of real time; SIGCHLD is blocked. */
static bool ends_in_time(pid_t child, double seconds)
{
    double deadline = seconds > 0 ? harness_real_time() + seconds : INFINITY;
    sigset_t changed;

    sigemptyset(&changed);
    sigaddset(&changed, SIGCHLD);
    while (!has_ended(child)) {
        double left = deadline - harness_real_time();
        if (left <= 0)
            return false;
        left = left < 1000 ? left : 1000;
        struct timespec wait = { (time_t)left, (long)((left - (double)(time_t)left) * 1e9) };
        sigtimedwait(&changed, NULL, &wait);
    }
    return true;
}

static void judge(int status, bool in_time, double limit)
{
    enum state state = atomic_load(&outcome->state);

    if (!in_time)
        complain("still running after %g s, killed\n", limit);
    else if (WIFSIGNALED(status))
        complain("killed by SIG%s (%s)\n", sigabbrev_np(WTERMSIG(status)),
                 strsignal(WTERMSIG(status)));
    else if (state == RUNNING)
        complain("the test ended its process itself, with exit code %d\n", WEXITSTATUS(status));
    else if (state != FAILED && WEXITSTATUS(status) != 0)
        complain("exit code %d after the last line of the test\n", WEXITSTATUS(status));
}

static void run_in_process_of_its_own(const struct harness_test *test, int output)
{
    sigset_t blocked, mask;
    int status = 0;

    fflush(NULL);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGCHLD);
    sigprocmask(SIG_BLOCK, &blocked, &mask);
    pid_t child = fork();
    if (child == 0)
        run_in_child(test, output, &mask);
    if (child < 0) {
        complain("fork: %s\n", strerror(errno));
        sigprocmask(SIG_SETMASK, &mask, NULL);
        return;
    }
    test_process = child;
    setpgid(child, child);
    bool in_time = ends_in_time(child, limit_of(test));
    kill(-child, SIGKILL);
    waitpid(child, &status, 0);
    test_process = 0;
    sigprocmask(SIG_SETMASK, &mask, NULL);
    judge(status, in_time, limit_of(test));
}

/* The alarm is for a test that hangs in valgrind; one that uses SIGALRM itself loses it. */
static void run_in_this_process(const struct harness_test *test)
{
    size_t objects = harness_live_objects ? harness_live_objects() : 0;

    test_process = getpid();
    signals_as_usual();
    if (setjmp(end_of_test) == 0) {
        alarm(limit_of(test) > 0 ? (unsigned)(limit_of(test) * SLOWER_IN_PROCESS) : 0);
        run_body(test);
        compare_objects(objects);
        pass();
    }
    alarm(0);
    test_process = 0;
}

static void print_as_comments(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (i == 0 || text[i - 1] == '\n')
            fputs("# ", tap);
        fputc(text[i], tap);
    }
    if (length > 0 && text[length - 1] != '\n')
        fputc('\n', tap);
}

/* What the test printed, the first part of it. */
static void print_output(int output)
{
    static char text[1 << 16];
    ssize_t length = pread(output, text, sizeof text, 0);

    if (length <= 0)
        return;
    fputs("# its output:\n", tap);
    print_as_comments(text, (size_t)length);
    if ((size_t)length == sizeof text)
        fputs("# ... and more\n", tap);
}

/* An id ends at its first blank: some rows of the catalogue name their originals after it. */
static void print_title(const struct harness_test *test)
{
    fprintf(tap, "%s: %s", test->name, test->words[0]);
    for (int i = 1; test->words[i]; i++)
        fprintf(tap, "%s%.*s", i == 1 ? " {" : " ", (int)strcspn(test->words[i], " "),
                test->words[i]);
    if (test->words[1])
        fputc('}', tap);
}

static void print_result(const struct harness_test *test, int number, int output)
{
    enum state state = atomic_load(&outcome->state);

    fprintf(tap, "%s %d - ", state == FAILED ? "not ok" : "ok", number);
    print_title(test);
    if (state == SKIPPED)
        fprintf(tap, " # SKIP %s", outcome->text);
    fputc('\n', tap);
    if (state == FAILED) {
        print_as_comments(outcome->text, strlen(outcome->text));
        if (output >= 0)
            print_output(output);
    }
    fflush(tap);
}

/* Runs one test and prints its line; whether it did not fail. */
static bool run_test(const struct harness_test *test, int number)
{
    int output = -1;

    memset(outcome, 0, sizeof *outcome);
    if (in_process()) {
        run_in_this_process(test);
    } else {
        output = memfd_create("output", MFD_CLOEXEC);
        run_in_process_of_its_own(test, output);
    }
    print_result(test, number, output);
    if (output >= 0)
        close(output);
    return atomic_load(&outcome->state) != FAILED;
}

static bool is_wanted(const struct harness_test *test, const char *name)
{
    return !name || strstr(test->name, name);
}

static int run_tests(const char *name)
{
    double start = harness_real_time();
    int count = 0, number = 0, failed = 0;

    for (struct harness_test *t = tests; t; t = t->next)
        count += is_wanted(t, name);
    fprintf(tap, "TAP version 13\n1..%d\n", count);
    for (struct harness_test *t = tests; t; t = t->next)
        if (is_wanted(t, name) && !run_test(t, ++number))
            failed++;
    fprintf(tap, "# took %.3f s\n", harness_real_time() - start);
    fflush(tap);
    return failed ? 1 : 0;
}

static int list_tests(void)
{
    for (struct harness_test *t = tests; t; t = t->next) {
        print_title(t);
        fputc('\n', tap);
    }
    return 0;
}

/* Without success the run goes on, only without a comparison of memory. */
static void start_again_with_plain_memory(char **arguments)
{
    const char *tunables = getenv("GLIBC_TUNABLES");
    char joined[1024];

    if (harness_sanitized() || harness_under_valgrind() || memory_is_exact())
        return;
    int length = snprintf(joined, sizeof joined, "%s%s" TUNABLES, tunables ? tunables : "",
                          tunables ? ":" : "");
    if (length < 0 || (size_t)length >= sizeof joined)
        return;
    setenv("GLIBC_TUNABLES", joined, 1);
    execv("/proc/self/exe", arguments);
    unsetenv("GLIBC_TUNABLES");
}

static void *leave_thread(void *nothing)
{
    pthread_exit(nothing);
}

/* Does once what makes the C library allocate for good, so that no test is blamed for it. It
 * keeps the text of the last unknown error; here the longest. */
static void warm_up(void)
{
    struct addrinfo *found = NULL;
    time_t epoch = 0;
    pthread_t thread;
    char text[64];

    snprintf(text, sizeof text, "%g %s %s", 0.5, strerror(INT_MIN), strsignal(SIGSEGV));
    strftime(text, sizeof text, "%H", localtime(&epoch));
    if (getaddrinfo("localhost", NULL, NULL, &found) == 0)
        freeaddrinfo(found);
    if (pthread_create(&thread, NULL, leave_thread, NULL) == 0)
        pthread_join(thread, NULL);
}

static void die_with_the_test(int signal_number)
{
    if (test_process > 0)
        kill(-test_process, SIGKILL);
    _exit(128 + signal_number);
}

/* The TAP keeps the standard output; what tests print in this process goes to standard error. */
static void open_tap(void)
{
    static char buffer[BUFSIZ];

    setvbuf(stdout, buffer, _IOLBF, sizeof buffer);
    tap = stdout;
    if (!in_process())
        return;
    tap = fdopen(dup(STDOUT_FILENO), "w");
    dup2(STDERR_FILENO, STDOUT_FILENO);
}

int main(int count, char **arguments)
{
    const char *wanted = count > 1 ? arguments[1] : NULL;

    if (count > 2 || (wanted && wanted[0] == '-' && strcmp(wanted, "--list") != 0)) {
        fprintf(stderr, "usage: %s [--list | NAME]\n", arguments[0]);
        return 2;
    }
    start_again_with_plain_memory(arguments);
    open_tap();
    if (wanted && strcmp(wanted, "--list") == 0)
        return list_tests();

    outcome =
        mmap(NULL, sizeof *outcome, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (outcome == MAP_FAILED || !tap) {
        perror(arguments[0]);
        return 2;
    }
    main_thread = pthread_self();
    signal(SIGCHLD, SIG_DFL);
    if (!in_process()) {
        signal(SIGINT, die_with_the_test);
        signal(SIGTERM, die_with_the_test);
        signal(SIGHUP, die_with_the_test);
        warm_up();
    }
    return run_tests(wanted);
}
