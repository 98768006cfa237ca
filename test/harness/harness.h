/*
 * A small test harness: every test is a function with a sentence, run in a process of its own.
 *
 *     #include "harness.h"
 *
 *     TEST(call_soon_runs_once, "a call_soon callback runs exactly once, on the next tick",
 *          "test_events.EventLoopTestsMixin.test_call_soon")
 *     {
 *         CHECK_INT(runs, 1);
 *     }
 *
 * Link the file with harness.c, which has main(); the program prints TAP and exits 0 if no test
 * failed, else 1. A test fails when a CHECK does not hold, in whatever callback, thread or forked
 * process; when it crashes, takes longer than its limit, or ends its process itself; and when it
 * leaves behind an open descriptor, malloc'ed memory or a live object (harness_live_objects).
 *
 *     program                    runs all tests, in the order of the file
 *     program NAME               runs the tests whose name contains NAME
 *     program --list             lists them
 *     TEST_LIMIT=60 program      seconds of real time per test (default 10; 0 is no limit)
 *     TEST_IN_PROCESS=1 program  all tests in one process, for valgrind and debuggers: output is
 *                                not captured, descriptors and memory are not checked
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* TEST(name, "sentence", ids of the catalogue as strings...) { body }. */
#define TEST(name, ...) TEST_WITH_LIMIT(0, name, __VA_ARGS__)

/* The same for a test that needs more or less real time than the default. TEST_LIMIT only ever
 * raises such a limit. */
#define TEST_WITH_LIMIT(seconds, name, ...)                                                       \
    static void test_##name(void);                                                                \
    __attribute__((constructor)) static void harness_register_##name(void)                        \
    {                                                                                             \
        static const char *const words[] = {__VA_ARGS__, NULL};                                   \
        static struct harness_test test = {#name,    words,       __FILE__, __LINE__,             \
                                           (seconds), test_##name, NULL};                         \
        harness_register(&test);                                                                  \
    }                                                                                             \
    static void test_##name(void)

/* A check that does not hold reports its place and both values, and ends the test at once. Each
 * argument is evaluated once. */
#define CHECK(condition)                                                                          \
    ((condition) ? (void)0                                                                        \
                 : harness_fail(__FILE__, __LINE__, "CHECK(%s) does not hold", #condition))

#define CHECK_INT(actual, expected)                                                               \
    harness_check_int(__FILE__, __LINE__, #actual ", " #expected, (intmax_t)(actual),             \
                      (intmax_t)(expected))

/* Holds when the two differ by at most the tolerance; never for a NaN. */
#define CHECK_REAL(actual, expected, tolerance)                                                   \
    harness_check_real(__FILE__, __LINE__, #actual ", " #expected, (actual), (expected),          \
                       (tolerance))

/* Compares by content; NULL equals only NULL. */
#define CHECK_TEXT(actual, expected)                                                              \
    harness_check_text(__FILE__, __LINE__, #actual ", " #expected, (actual), (expected))

/* Ends the test as skipped, with a printf-like reason. */
#define SKIP(...) harness_skip(__VA_ARGS__)

/* Defined by an object of the program, or not at all: how many objects are alive in the code
 * under test. The number must be the same before and after a test. */
size_t harness_live_objects(void) __attribute__((weak));

/* Seconds of the monotonic clock, from the kernel itself: also true under a virtual clock. */
double harness_real_time(void);

/* Seconds of processor time that the process has taken: no other process changes it. */
double harness_processor_time(void);

/* Runs a function in a thread with a stack of 64 KiB; 256 under a sanitizer, whose frames are
 * larger, but not by so much that a chain would fit. */
void harness_in_small_stack(void *(*function)(void *unused));

/* How many threads the process has. */
int harness_threads(void);

/* Waits until this is the only thread: for those that nobody joins. A sanitizer may have one of its
 * own, so under one it waits for none. */
void harness_threads_end(void);

/* Whether the tests run in valgrind; TEST_IN_PROCESS=1 counts as such. */
bool harness_under_valgrind(void);

/* Whether a line of this file of the system's has the word: /etc/hosts and /etc/services are not
 * there in every container, and what is not in them is asked of other machines. */
bool harness_file_says(const char *file, const char *word);

/* Whether the harness was compiled with the address, thread or memory sanitizer. */
bool harness_sanitized(void);

/* How often a heavy loop should run: n; a tenth under a sanitizer, a fiftieth under valgrind, but
 * at least once; n also there with CORA_LONG=1. */
int harness_scale(int n);

/* What the macros above stand on. */
struct harness_test {
    const char *name;
    const char *const *words;  /* the sentence, then the ids, then NULL */
    const char *file;
    int line;
    double limit;              /* seconds; 0 is the default */
    void (*run)(void);
    struct harness_test *next; /* owned by the harness */
};

void harness_register(struct harness_test *test);
void harness_fail(const char *file, int line, const char *format, ...)
    __attribute__((noreturn, format(printf, 3, 4)));
void harness_skip(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void harness_check_int(const char *file, int line, const char *arguments, intmax_t actual,
                       intmax_t expected);
void harness_check_real(const char *file, int line, const char *arguments, double actual,
                        double expected, double tolerance);
void harness_check_text(const char *file, int line, const char *arguments, const char *actual,
                        const char *expected);

#ifdef __cplusplus
}
#endif

#endif
