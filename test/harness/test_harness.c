/*
 * Proves that the harness has teeth. The samples are tests that fail, each in its own way; they
 * exist only in a process that has SAMPLES set. The tests proper run this very program with it
 * and look at the TAP and at the exit code.
 */
#include "harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef __has_feature
#define __has_feature(feature) 0
#endif

/* A test that is there only for the tests proper. */
#define SAMPLE_WITH_LIMIT(seconds, name, ...)                                                     \
    static void sample_##name(void);                                                              \
    __attribute__((constructor)) static void register_sample_##name(void)                         \
    {                                                                                             \
        static const char *const words[] = {__VA_ARGS__, NULL};                                   \
        static struct harness_test test = {"sample_" #name, words,     __FILE__,                  \
                                           __LINE__,        (seconds), sample_##name, NULL};      \
        if (getenv("SAMPLES"))                                                                    \
            harness_register(&test);                                                              \
    }                                                                                             \
    static void sample_##name(void)
#define SAMPLE(name, ...) SAMPLE_WITH_LIMIT(0, name, __VA_ARGS__)

static size_t live_objects;

size_t harness_live_objects(void)
{
    return live_objects;
}

/* What a run of samples gave. */
struct run {
    char output[1 << 14];
    int code;
};

static void __attribute__((noreturn)) become_samples(const char *name, const char *mode,
                                                     int output)
{
    char program[4096];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);

    program[length > 0 ? length : 0] = '\0';
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    setenv("SAMPLES", "1", 1);
    unsetenv("TEST_LIMIT");
    setenv("TEST_IN_PROCESS", mode, 1);
    execl(program, program, name, (char *)NULL);
    _exit(127);
}

static void run_in_mode(const char *name, const char *mode, struct run *ret_run)
{
    int ends[2], status;
    size_t length = 0;

    CHECK_INT(pipe2(ends, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0)
        become_samples(name, mode, ends[1]);
    close(ends[1]);
    for (ssize_t n = 1; n > 0; length += (size_t)n) {
        n = read(ends[0], ret_run->output + length, sizeof ret_run->output - 1 - length);
        n = n > 0 ? n : 0;
    }
    ret_run->output[length] = '\0';
    close(ends[0]);
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    ret_run->code = WEXITSTATUS(status);
}

/* Runs the samples whose names contain this one. */
static struct run *run_samples(const char *name)
{
    static struct run run;

    run_in_mode(name, "0", &run);
    return &run;
}

static void check_says(const struct run *run, const char *text)
{
    if (!strstr(run->output, text))
        harness_fail(__FILE__, __LINE__, "not said: %s\n%s", text, run->output);
}

static void check_fails(const char *sample, const char *saying)
{
    struct run *run = run_samples(sample);

    check_says(run, "1..1\nnot ok 1 - sample_");
    check_says(run, saying);
    CHECK_INT(run->code, 1);
}

/* What passes, is skipped, and is asked for. */

SAMPLE(passes, "a sentence", "module.Class.one", "module.Class.two (with its originals)")
{
    CHECK(1 == 1);
    CHECK_INT(2, 2);
    CHECK_REAL(0.5, 0.6, 0.2);
    CHECK_TEXT("a", "a");
    CHECK_TEXT(NULL, NULL);
}

TEST(pass_is_ok, "a passing test is an ok line with its sentence and ids, and exit code 0")
{
    struct run *run = run_samples("sample_passes");

    check_says(run, "TAP version 13\n1..1\n"
                    "ok 1 - sample_passes: a sentence {module.Class.one module.Class.two}\n");
    CHECK_INT(run->code, 0);
}

SAMPLE(skips, "a sentence", "module.Class.one")
{
    SKIP("no %s here", "network");
}

TEST(skip_is_ok_with_a_reason, "a skipped test is an ok line with SKIP and the reason")
{
    struct run *run = run_samples("sample_skips");

    check_says(run, "ok 1 - sample_skips: a sentence {module.Class.one} # SKIP no network here\n");
    CHECK_INT(run->code, 0);
}

TEST(unknown_name_runs_nothing, "a name that no test has gives an empty plan")
{
    struct run *run = run_samples("no_such_test");

    check_says(run, "1..0\n");
    CHECK_INT(run->code, 0);
}

TEST(list_names_tests_in_order, "--list gives name and sentence, in the order of the file")
{
    struct run *run = run_samples("--list");
    const char *first = strstr(run->output, "sample_passes: a sentence {module.Class.one ");
    const char *second = strstr(run->output, "sample_skips: a sentence");
    const char *third = strstr(run->output, "sample_false_check: ");

    CHECK(first && second && third && first < second && second < third);
}

/* Checks that do not hold. */

SAMPLE(false_check, "CHECK")
{
    puts("said before");
    CHECK(1 + 1 == 3);
    puts("said after");
}

TEST(false_check_ends_the_test, "a CHECK that does not hold ends the test and shows its output")
{
    struct run *run = run_samples("sample_false_check");

    check_says(run, "test_harness.c:");
    check_says(run, "CHECK(1 + 1 == 3) does not hold\n# its output:\n# said before\n");
    CHECK(!strstr(run->output, "said after"));
    CHECK_INT(run->code, 1);
}

SAMPLE(false_int, "CHECK_INT")
{
    CHECK_INT(2 + 2, 5);
}

TEST(false_int_shows_both, "CHECK_INT shows expression and both values")
{
    check_fails("sample_false_int", "CHECK_INT(2 + 2, 5)\n#   is       4\n#   expected 5\n");
}

SAMPLE(false_real, "CHECK_REAL")
{
    CHECK_REAL(0.0 / 0.0, 1, 1000);
}

TEST(false_real_shows_both, "CHECK_REAL shows both values, and a NaN equals nothing")
{
    check_fails("sample_false_real", "nan\n#   expected 1 +- 1000\n");
}

SAMPLE(false_text, "CHECK_TEXT")
{
    CHECK_TEXT("one", NULL);
}

TEST(false_text_shows_both, "CHECK_TEXT shows both texts")
{
    check_fails("sample_false_text", "is       \"one\"\n#   expected NULL\n");
}

static int compare_badly(const void *a, const void *b)
{
    CHECK(a == b);
    return 0;
}

SAMPLE(false_in_callback, "CHECK in a callback")
{
    int numbers[] = {2, 1};

    qsort(numbers, 2, sizeof *numbers, compare_badly);
}

TEST(false_check_in_callback, "a CHECK in a callback of a library ends the test")
{
    check_fails("sample_false_in_callback", "CHECK(a == b) does not hold\n");
}

static void *check_badly(void *data)
{
    CHECK(data);
    return NULL;
}

SAMPLE(false_in_thread, "CHECK in a thread")
{
    pthread_t thread;

    pthread_create(&thread, NULL, check_badly, NULL);
    pthread_join(thread, NULL);
}

TEST(false_check_in_thread, "a CHECK in another thread ends the test")
{
    check_fails("sample_false_in_thread", "CHECK(data) does not hold\n");
}

SAMPLE(false_in_fork, "CHECK in a forked process")
{
    pid_t child = fork();

    CHECK(child != 0);
    waitpid(child, NULL, 0);
}

TEST(false_check_in_fork, "a CHECK in a process that the test forked fails the test")
{
    check_fails("sample_false_in_fork", "CHECK(child != 0) does not hold\n");
}

/* Tests that end otherwise than by returning. */

SAMPLE(crashes, "a crash")
{
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    abort();
}

TEST(crash_is_named, "a crash is a failure that names the signal")
{
    check_fails("sample_crashes", "# killed by SIGABRT (Aborted)\n");
}

SAMPLE(exits, "exit(0) in the test")
{
    exit(0);
}

TEST(exit_is_a_failure, "a test that ends its process has failed")
{
    check_fails("sample_exits", "the test ended its process itself, with exit code 0\n");
}

static void leave_badly(void)
{
    _exit(23);
}

SAMPLE(fails_at_exit, "exit code of a sanitizer")
{
    atexit(leave_badly);
}

TEST(exit_code_counts, "an exit code other than 0 after the test is a failure")
{
    check_fails("sample_fails_at_exit", "exit code 23 after the last line of the test\n");
}

SAMPLE(comes_back_twice, "a forked process returns from the test")
{
    pid_t child = fork();

    if (child > 0)
        waitpid(child, NULL, 0);
}

TEST(forked_process_must_not_return, "a forked process that returns from the test fails it")
{
    check_fails("sample_comes_back_twice", "a forked process came back from the test\n");
}

SAMPLE_WITH_LIMIT(0.2, hangs, "a hang, with a child that ignores the usual signals")
{
    signal(SIGTERM, SIG_IGN);
    fork();
    for (;;)
        pause();
}

TEST(hang_is_ended, "a test is killed at its time limit, in real time")
{
    double start = harness_real_time();

    check_fails("sample_hangs", "still running after 0.2 s, killed\n");
    CHECK(harness_real_time() - start < 5);
}

/* The child keeps the pipe open for as long as it lives. */
SAMPLE(leaves_child, "a test that leaves a child behind")
{
    if (fork() == 0)
        for (;;)
            pause();
}

TEST(stray_child_is_killed, "a process that a test leaves behind is killed")
{
    struct run *run = run_samples("sample_leaves_child");

    check_says(run, "\nok 1 - sample_leaves_child");
    CHECK_INT(run->code, 0);
}

/* Tests that leave something behind. */

SAMPLE(leaks_descriptor, "a descriptor left open")
{
    CHECK(open("/dev/null", O_RDONLY) >= 0);
}

TEST(leaked_descriptor_is_named, "a descriptor left open is named with its target")
{
    check_fails("sample_leaks_descriptor", "left open: /dev/null\n");
}

SAMPLE(leaks_scarce_descriptor, "a descriptor left open, and none to be had")
{
    int descriptor = open("/dev/null", O_RDONLY);

    CHECK(setrlimit(RLIMIT_NOFILE, &(struct rlimit){(rlim_t)descriptor, 4096}) == 0);
}

TEST(leaked_descriptor_is_named_when_none_is_left,
     "a descriptor left open is named though the test has lowered the limit")
{
    check_fails("sample_leaks_scarce_descriptor", "left open: /dev/null\n");
}

SAMPLE(closes_descriptor, "a descriptor closed that is not the test's own")
{
    close(STDIN_FILENO);
}

TEST(closed_descriptor_is_named, "a descriptor of others that the test closed is named")
{
    check_fails("sample_closes_descriptor", "descriptor 0, not the test's own, was closed\n");
}

static void *volatile lost;

SAMPLE(leaks_memory, "memory left behind")
{
    lost = malloc(1000);
    lost = NULL;
}

TEST(leaked_memory_is_counted, "memory left behind is a failure that tells how much")
{
#if defined __SANITIZE_THREAD__
    SKIP("the thread sanitizer does not look for leaks");
#endif
    if (__has_feature(thread_sanitizer) || __has_feature(memory_sanitizer))
        SKIP("this sanitizer does not look for leaks");
    if (harness_sanitized())
        check_fails("sample_leaks_memory", "LeakSanitizer");
    else
        check_fails("sample_leaks_memory", "1008 bytes of memory left behind\n");
}

SAMPLE(leaks_much_memory, "memory left behind that has a mapping of its own")
{
    lost = malloc(10000000);
    lost = NULL;
}

TEST(leaked_mapping_is_counted, "large memory left behind is counted too")
{
    if (harness_sanitized())
        SKIP("a sanitizer has its own malloc");
    check_fails("sample_leaks_much_memory", " bytes of memory left behind\n");
}

static void *allocate_and_free(void *data)
{
    free(lost);
    lost = malloc(5000);
    free(lost);
    lost = NULL;
    return data;
}

SAMPLE(uses_much, "all kinds of use that leave nothing behind")
{
    pthread_t threads[8];
    FILE *file = fopen("/proc/self/stat", "r");
    char line[100];

    CHECK(file && fgets(line, sizeof line, file));
    fclose(file);
    for (size_t size = 1; size < 100000; size += size / 2 + 1)
        free(malloc(size));
    for (int i = 0; i < 8; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, i == 0 ? allocate_and_free : check_badly, line),
                  0);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    printf("%s %g\n", strerror(12345), 1e300);
}

TEST(clean_use_passes, "memory, files and threads that were given back are no failure")
{
    struct run *run = run_samples("sample_uses_much");

    check_says(run, "\nok 1 - sample_uses_much");
    CHECK_INT(run->code, 0);
}

SAMPLE(leaks_objects, "objects left alive")
{
    live_objects += 3;
}

TEST(live_objects_are_counted, "objects left alive are a failure that tells how many")
{
    check_fails("sample_leaks_objects", "# 3 objects left alive\n");
}

/* All tests in one process. */

TEST(in_process_goes_on_after_a_failure,
     "in one process a failed or skipped test ends, and the next one runs")
{
    struct run run;

    run_in_mode("sample_false_", "1", &run);
    check_says(&run, "TAP version 13\n1..7\nnot ok 1 - sample_false_check");
    check_says(&run, "\nnot ok 2 - sample_false_int: CHECK_INT\n# ");
    CHECK_INT(run.code, 1);
    run_in_mode("sample_skips", "1", &run);
    check_says(&run, "{module.Class.one} # SKIP no network here\n");
    CHECK_INT(run.code, 0);
}

/* What tests may ask. */

TEST(scale_is_at_least_one, "harness_scale() gives at least 1 and at most n")
{
    CHECK_INT(harness_scale(1), 1);
    CHECK(harness_scale(1000) <= 1000 && harness_scale(1000) >= 20);
    CHECK(harness_sanitized() || harness_under_valgrind() || harness_scale(1000) == 1000);
}
