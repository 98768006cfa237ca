/*
 * helpers.h (private): what the tests of futures/ share.
 *
 * - tick and ticks run the loop so many times; run_in runs one callback in a tick of its own.
 * - A struct notes collects what ran, in order: note and note_done write a word into it.
 * - A struct reports keeps what the loop's exception handler was told: how often, and the last.
 * - cora_own(&number, &counted) is a value that counts up the number when it is dropped.
 * - resident_bytes tells whether a second run of the same load takes more memory.
 * - virtual_loop_new makes a loop under the virtual clock, at START; virtual_loop_end closes it.
 *   current_loop_new also makes it the thread's current one.
 * - outcome and printed tell what is in a future, and what it is.
 */
#ifndef HELPERS_H
#define HELPERS_H

#include "harness.h"

#include <cora.h>
#include <cora/virtual_clock.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- running ---- */

/* One tick: what is queued now runs. */
static inline void tick(cora_loop loop)
{
    cora_stop(loop);
    CHECK_INT(cora_run_forever(loop), 0);
}

static inline void ticks(cora_loop loop, int count)
{
    while (count-- > 0)
        tick(loop);
}

/* Runs a callback in a tick of its own, as far as nothing else is queued. */
static inline void run_in(cora_loop loop, cora_callback callback)
{
    CHECK(!cora_is_null(cora_call_soon(loop, callback)));
    tick(loop);
}

static inline void stop(cora_args bound)
{
    (void)bound;
    cora_stop(cora_running_loop());
}

/* Runs everything that is due within so many seconds. */
static inline void run_for(cora_loop loop, double seconds)
{
    cora_call_later(loop, seconds, cora_partial(stop));
    CHECK_INT(cora_run_forever(loop), 0);
}

#define START 1000.0 /* what the virtual clock shows first */
#define LATE 0.0021  /* seconds that a back end may be late by */

static inline cora_loop virtual_loop_new(void)
{
    cora_virtual_clock_start(START);
    return cora_loop_new(NULL);
}

static inline void virtual_loop_end(cora_loop loop)
{
    cora_loop_close(loop);
    cora_virtual_clock_stop();
}

/* The same as the thread's current loop, so that operations can be started outside of a run. */
static inline cora_loop current_loop_new(void)
{
    cora_loop loop = virtual_loop_new();
    cora_set_current_loop(loop);
    return loop;
}

static inline void current_loop_end(cora_loop loop)
{
    cora_set_current_loop((cora_loop){ 0 });
    virtual_loop_end(loop);
}

/* ---- futures ---- */

static inline void make_futures(cora_loop loop, cora_future *ret_futures, int count)
{
    for (int i = 0; i < count; i++)
        ret_futures[i] = cora_future_new(loop);
}

static inline bool is_error(cora_future future, int code)
{
    return cora_error_is(cora_exception(future), code);
}

/* A future's outcome as cora_print writes it; until the next call. */
static inline const char *outcome(cora_future future)
{
    static char text[400];
    cora_print(cora_result(future), text, sizeof text);
    return text;
}

/* A future as cora_future_print writes it; until the next call. */
static inline const char *printed(cora_future future)
{
    static char text[600];
    int length = cora_future_print(future, text, sizeof text);
    CHECK_INT(length, strlen(text));
    return text;
}

/* ---- what ran ---- */

/* Words, with a blank between them. */
struct notes {
    char text[1000];
};

static inline void add_note(struct notes *notes, const char *word)
{
    size_t length = strlen(notes->text);
    snprintf(notes->text + length, sizeof notes->text - length, "%s%s", length ? " " : "", word);
}

/* Callbacks bound to a struct notes * and a word. */
static inline void note(cora_args bound)
{
    add_note(cora_arg(bound, 0, struct notes *), cora_arg_text(bound, 1));
}

static inline void note_done(cora_args bound, cora_future done)
{
    CHECK(cora_done(done));
    add_note(cora_arg(bound, 0, struct notes *), cora_arg_text(bound, 1));
}

/* Bound to a struct notes * alone: writes the outcome, as cora_print does. */
static inline void note_outcome(cora_args bound, cora_future done)
{
    char text[200];
    cora_print(cora_result(done), text, sizeof text);
    add_note(cora_arg(bound, 0, struct notes *), text);
}

/* Bound to an int *. */
static inline void count(cora_args bound)
{
    ++*cora_arg(bound, 0, int *);
}

static inline void count_done(cora_args bound, cora_future done)
{
    CHECK(cora_done(done));
    ++*cora_arg(bound, 0, int *);
}

static inline void nothing(cora_args bound)
{
    (void)bound;
}

static inline void nothing_done(cora_args bound, cora_future done)
{
    (void)bound, (void)done;
}

/* A failing callback of each kind. */
static inline void failing(cora_args bound)
{
    (void)bound;
    cora_fail(cora_error(CORA_EVALUE, "wrong"));
}

static inline void failing_done(cora_args bound, cora_future done)
{
    (void)bound, (void)done;
    cora_fail(cora_error(CORA_EVALUE, "wrong"));
}

/* ---- values that tell when they are dropped ---- */

static inline void count_drop(void *pointer)
{
    ++*(int *)pointer;
}

static const cora_type counted = { "counted", count_drop, NULL, 0 };

/* ---- memory ---- */

/* What the process has in memory now; 0 where that says nothing: under sanitizers and valgrind. */
static inline long resident_bytes(void)
{
    long size = 0, resident = 0;
    FILE *file =
        harness_sanitized() || harness_under_valgrind() ? NULL : fopen("/proc/self/statm", "r");
    if (!file)
        return 0;
    CHECK_INT(fscanf(file, "%ld %ld", &size, &resident), 2);
    fclose(file);
    return resident * sysconf(_SC_PAGESIZE);
}

/* ---- reports ---- */

struct reports {
    int count;
    int code;                                   /* of the last one's error */
    char message[200], error[200], object[400]; /* of the last one */
    cora_future future;
    struct cora_place place; /* where it was created; zeros if that is not known */
};

static inline void take_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    struct reports *reports = cora_arg(bound, 0, struct reports *);
    (void)loop;
    reports->count++;
    reports->code = cora_error_code(report->exception);
    reports->future = report->future;
    snprintf(reports->message, sizeof reports->message, "%s", report->message);
    snprintf(reports->object, sizeof reports->object, "%s", report->object ? report->object : "");
    cora_print(report->exception, reports->error, sizeof reports->error);
    reports->place = report->place ? *report->place : (struct cora_place){ 0 };
}

static inline void collect_reports(cora_loop loop, struct reports *reports)
{
    memset(reports, 0, sizeof *reports);
    CHECK_INT(cora_set_exception_handler(loop, cora_partial(take_report, reports)), 0);
}

#endif
