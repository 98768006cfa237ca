/*
 * Wait: some of many futures. What is expected of it is written as letters: "ac|b" says that of
 * three futures a and c are in the list of the done ones, and b in that of the pending ones.
 */
#include "helpers.h"

#include <ev.h>
#include <math.h>
#include <stdlib.h>

#define NEVER ((double)INFINITY)

/* ---- helpers ---- */

static cora_value failure(const char *text)
{
    return cora_error(CORA_EEXCEPTION, "%s", text);
}

/* The letters of what is in a list: a is the first of these futures. Those of others are '?'. */
static size_t letters(cora_value list, const cora_future *futures, size_t count, char *ret_text)
{
    size_t size = cora_list_size(list);
    for (size_t i = 0; i < size; i++) {
        ret_text[i] = '?';
        for (size_t j = 0; j < count; j++)
            if (cora_same(cora_as_future(cora_list_at(list, i)), futures[j]))
                ret_text[i] = (char)('a' + j);
    }
    return size;
}

/* "done|pending"; overwritten by the next call. */
static const char *split(cora_value result, const cora_future *futures, size_t count)
{
    static char text[100];
    if (cora_is_error(result)) {
        cora_print(result, text, sizeof text);
        return text;
    }
    CHECK_INT(cora_list_size(result), 2);
    size_t length = letters(cora_list_at(result, 0), futures, count, text);
    text[length++] = '|';
    length += letters(cora_list_at(result, 1), futures, count, text + length);
    text[length] = 0;
    return text;
}

/* What a waiter's callback is bound to, and writes: "done|pending", or its error. */
struct waited {
    const cora_future *futures;
    size_t count;
    int calls;
    char text[100];
};

static void note_split(cora_args bound, cora_future done)
{
    struct waited *waited = cora_arg(bound, 0, struct waited *);
    CHECK(cora_done(done));
    waited->calls++;
    snprintf(waited->text, sizeof waited->text, "%s",
             split(cora_result(done), waited->futures, waited->count));
}

/* Complete the future that is bound to them. */
static void finish(cora_args bound)
{
    CHECK_INT(cora_set_result(cora_arg_future(bound, 0), cora_nothing()), 0);
}

static void fail_it(cora_args bound)
{
    CHECK_INT(cora_set_exception(cora_arg_future(bound, 0), failure("failed")), 0);
}

static void cancel_it(cora_args bound)
{
    CHECK(cora_cancel(cora_arg_future(bound, 0)));
}

/* ---- the three rules ---- */

TEST(first_of_three, "a callback gets the future of the wait, with what is done and what is not")
{
    cora_loop loop = current_loop_new();
    cora_future pages[3];
    struct waited waited = { .futures = pages, .count = 3 };
    make_futures(loop, pages, 3);
    for (int i = 0; i < 3; i++)
        cora_call_later(loop, 3 - i, cora_partial(finish, pages[i]));
    cora_when_done(cora_wait(pages, 3, 2.5, CORA_FIRST_COMPLETED),
                   cora_partial(note_split, &waited));
    run_for(loop, 1.5);
    CHECK_TEXT(waited.text, "c|ab");
    run_for(loop, 5);
    CHECK_INT(waited.calls, 1);
    current_loop_end(loop);
}

TEST(first_completed, "FIRST_COMPLETED: the first ends it; the other goes on, for a later wait",
     "test_tasks.BaseTaskTests.test_wait_first_completed")
{
    cora_loop loop = current_loop_new();
    cora_future f[2] = { cora_ensure_future(loop, cora_sleep(10)),
                         cora_ensure_future(loop, cora_sleep(0.1)) };
    cora_future both[2] = { f[1], f[0] };
    cora_value result =
        cora_run_until_complete(loop, cora_wait(both, 2, NEVER, CORA_FIRST_COMPLETED));
    CHECK_TEXT(split(result, f, 2), "b|a");
    CHECK(!cora_done(f[0]));
    CHECK(cora_is_nothing(cora_result(f[1])));
    CHECK_REAL(cora_time(loop), START + 0.1, LATE);
    result = cora_run_until_complete(loop, cora_wait(f, 1, NEVER, CORA_ALL_COMPLETED));
    CHECK_TEXT(split(result, f, 2), "a|");
    CHECK_REAL(cora_time(loop), START + 10, LATE);
    current_loop_end(loop);
}

TEST(first_exception, "FIRST_EXCEPTION: the first that fails ends it, not one that succeeds before",
     "test_tasks.BaseTaskTests.test_wait_first_exception_in_wait")
{
    cora_loop loop = current_loop_new();
    cora_future f[3];
    make_futures(loop, f, 3);
    cora_call_later(loop, 10, cora_partial(finish, f[0]));
    cora_call_later(loop, 0.01, cora_partial(fail_it, f[1]));
    cora_call_later(loop, 0.005, cora_partial(finish, f[2]));
    cora_value result = cora_run_until_complete(loop, cora_wait(f, 3, NEVER, CORA_FIRST_EXCEPTION));
    CHECK_TEXT(split(result, f, 3), "bc|a");
    CHECK_REAL(cora_time(loop), START + 0.01, LATE);
    current_loop_end(loop);
}

TEST(no_exception, "if none fails FIRST_EXCEPTION waits for all; a cancelled one has not failed")
{
    cora_loop loop = current_loop_new();
    cora_future f[3];
    make_futures(loop, f, 3);
    cora_call_later(loop, 1, cora_partial(cancel_it, f[0]));
    cora_call_later(loop, 2, cora_partial(finish, f[1]));
    cora_call_later(loop, 3, cora_partial(cancel_it, f[2]));
    cora_value result = cora_run_until_complete(loop, cora_wait(f, 3, NEVER, CORA_FIRST_EXCEPTION));
    CHECK_TEXT(split(result, f, 3), "abc|");
    CHECK_REAL(cora_time(loop), START + 3, LATE);
    current_loop_end(loop);
}

TEST(failed_before, "one that has failed or is done before ends it at once, in two ticks")
{
    cora_loop loop = current_loop_new();
    cora_future f[2];
    struct waited waited = { .futures = f, .count = 2 };
    make_futures(loop, f, 2);
    cora_set_exception(f[1], failure("b"));
    cora_when_done(cora_wait(f, 2, NEVER, CORA_FIRST_EXCEPTION), cora_partial(note_split, &waited));
    ticks(loop, 2);
    CHECK_TEXT(waited.text, "b|a");
    waited.text[0] = 0;
    cora_when_done(cora_wait(f, 2, NEVER, CORA_FIRST_COMPLETED), cora_partial(note_split, &waited));
    ticks(loop, 2);
    CHECK_TEXT(waited.text, "b|a");
    current_loop_end(loop);
}

TEST(all_completed, "ALL_COMPLETED: it never fails because of them, also the second time",
     "test_tasks.BaseTaskTests.test_wait_with_exception")
{
    cora_loop loop = current_loop_new();
    cora_future f[2] = { cora_ensure_future(loop, cora_sleep(0.1)), cora_future_new(loop) };
    cora_future both[2] = { f[1], f[0] };
    cora_call_later(loop, 0.15, cora_partial(fail_it, f[1]));
    cora_value result =
        cora_run_until_complete(loop, cora_wait(both, 2, NEVER, CORA_ALL_COMPLETED));
    CHECK_TEXT(split(result, f, 2), "ba|");
    CHECK(is_error(f[1], CORA_EEXCEPTION));
    CHECK(cora_is_nothing(cora_exception(f[0])));
    double now = cora_time(loop);
    CHECK_REAL(now, START + 0.15, LATE);
    result = cora_run_until_complete(loop, cora_wait(both, 2, NEVER, CORA_ALL_COMPLETED));
    CHECK_TEXT(split(result, f, 2), "ba|");
    CHECK_REAL(cora_time(loop), now, 1e-4);
    current_loop_end(loop);
}

TEST(cancelled_inputs, "a cancelled one counts as done, and ends FIRST_COMPLETED")
{
    cora_loop loop = current_loop_new();
    cora_future f[2];
    struct waited waited = { .futures = f, .count = 2 };
    make_futures(loop, f, 2);
    cora_when_done(cora_wait(f, 2, NEVER, CORA_FIRST_COMPLETED), cora_partial(note_split, &waited));
    cora_cancel(f[1]);
    ticks(loop, 2);
    CHECK_TEXT(waited.text, "b|a");
    current_loop_end(loop);
}

/* ---- time ---- */

TEST(timeout, "a time-out is no error: what is done by then, and the others run on",
     "test_tasks.BaseTaskTests.test_wait_with_timeout")
{
    cora_loop loop = current_loop_new();
    cora_future f[2] = { cora_ensure_future(loop, cora_sleep(0.1)),
                         cora_ensure_future(loop, cora_sleep(0.15)) };
    cora_future both[2] = { f[1], f[0] };
    cora_value result = cora_run_until_complete(loop, cora_wait(both, 2, 0.11, CORA_ALL_COMPLETED));
    CHECK_TEXT(split(result, f, 2), "a|b");
    CHECK_REAL(cora_time(loop), START + 0.11, LATE);
    run_for(loop, 1);
    CHECK(cora_done(f[1]));
    CHECK(!cora_cancelled(f[1]));
    current_loop_end(loop);
}

TEST(timeout_at_once,
     "what is done at the very time of the time-out, but was armed before, is done",
     "test_tasks.BaseTaskTests.test_wait_concurrent_complete")
{
    cora_loop loop = current_loop_new();
    cora_future f[2] = { cora_ensure_future(loop, cora_sleep(0.1)),
                         cora_ensure_future(loop, cora_sleep(0.15)) };
    cora_future both[2] = { f[1], f[0] };
    cora_value result = cora_run_until_complete(loop, cora_wait(both, 2, 0.1, CORA_ALL_COMPLETED));
    CHECK_TEXT(split(result, f, 2), "a|b");
    CHECK_REAL(cora_time(loop), START + 0.1, LATE);
    current_loop_end(loop);
}

TEST(timer_is_taken_back, "when it ends before its time, its timer is gone")
{
    cora_loop loop = current_loop_new();
    cora_future f = cora_future_new(loop);
    struct waited waited = { .futures = &f, .count = 1 };
    cora_future waiter = cora_when_done(cora_wait(&f, 1, 1000, CORA_ALL_COMPLETED),
                                        cora_partial(note_split, &waited));
    CHECK_INT(cora_live(loop), 3);
    cora_set_result(f, cora_nothing());
    tick(loop);
    CHECK(!cora_done(waiter));
    CHECK_INT(cora_live(loop), 2); /* already in the tick that woke it */
    tick(loop);
    CHECK_TEXT(waited.text, "a|");
    CHECK_REAL(cora_time(loop), START, LATE);
    current_loop_end(loop);
}

TEST(two_ticks, "it takes two ticks, also if all are done, and if there is no time at all")
{
    cora_loop loop = current_loop_new();
    const double timeouts[] = { NEVER, 0, -1, (double)-INFINITY, 1 };
    for (size_t i = 0; i < 5; i++) {
        cora_future f[2];
        struct waited waited = { .futures = f, .count = 2 };
        make_futures(loop, f, 2);
        cora_set_result(f[0], cora_nothing());
        if (timeouts[i] > 0)
            cora_set_result(f[1], cora_nothing());
        cora_when_done(cora_wait(f, 2, timeouts[i], CORA_ALL_COMPLETED),
                       cora_partial(note_split, &waited));
        tick(loop);
        CHECK_INT(waited.calls, 0);
        tick(loop);
        CHECK_INT(waited.calls, 1);
        CHECK_TEXT(waited.text, timeouts[i] > 0 ? "ab|" : "a|b");
    }
    current_loop_end(loop);
}

TEST(ticks_of_a_future, "as a future of its own it starts a tick later and calls back a tick later")
{
    cora_loop loop = current_loop_new();
    cora_future f = cora_future_new(loop);
    int calls = 0;
    cora_set_result(f, cora_nothing());
    cora_future waiter = cora_ensure_future(loop, cora_wait(&f, 1, NEVER, CORA_ALL_COMPLETED));
    cora_add_done_callback(waiter, cora_partial(count_done, &calls));
    ticks(loop, 2);
    CHECK(!cora_done(waiter));
    tick(loop);
    CHECK(cora_done(waiter));
    CHECK_INT(calls, 0);
    tick(loop);
    CHECK_INT(calls, 1);
    current_loop_end(loop);
}

/* ---- the two lists ---- */

TEST(order_of_the_array, "the lists are in the order of the array, not of completion")
{
    cora_loop loop = current_loop_new();
    cora_future f[6];
    struct waited waited = { .futures = f, .count = 6 };
    make_futures(loop, f, 6);
    cora_future items[6] = { f[5], f[2], f[0], f[4], f[1], f[3] };
    cora_when_done(cora_wait(items, 6, 1, CORA_ALL_COMPLETED), cora_partial(note_split, &waited));
    cora_set_result(f[0], cora_nothing());
    cora_set_result(f[5], cora_nothing());
    tick(loop);
    cora_cancel(f[4]);
    run_for(loop, 2);
    CHECK_TEXT(waited.text, "fae|cbd");
    current_loop_end(loop);
}

TEST(duplicates, "a future that is in the array twice is in the list once, and is waited for once")
{
    cora_loop loop = current_loop_new();
    cora_future f[2];
    struct waited waited = { .futures = f, .count = 2 };
    make_futures(loop, f, 2);
    cora_set_result(f[1], cora_nothing());
    cora_future items[6] = { f[0], f[1], f[0], f[1], f[1], f[0] };
    cora_when_done(cora_wait(items, 6, NEVER, CORA_ALL_COMPLETED),
                   cora_partial(note_split, &waited));
    char text[200];
    cora_future_print(f[0], text, sizeof text);
    CHECK(strchr(text, ',') == NULL); /* one done-callback */
    ticks(loop, 3);
    CHECK_INT(waited.calls, 0);
    cora_set_result(f[0], cora_nothing());
    ticks(loop, 2);
    CHECK_TEXT(waited.text, "ab|");
    current_loop_end(loop);
}

TEST(done_by_then, "done is what is done when it resumes, which may be more than what woke it")
{
    cora_loop loop = current_loop_new();
    cora_future f[4];
    struct waited waited = { .futures = f, .count = 4 };
    make_futures(loop, f, 4);
    cora_when_done(cora_wait(f, 4, NEVER, CORA_FIRST_COMPLETED), cora_partial(note_split, &waited));
    cora_set_result(f[1], cora_nothing());
    tick(loop); /* it is woken, and has not resumed */
    CHECK_INT(waited.calls, 0);
    cora_set_result(f[0], cora_nothing());
    cora_set_exception(f[3], failure("d"));
    tick(loop);
    CHECK_TEXT(waited.text, "abd|c");
    current_loop_end(loop);
}

TEST(done_after_the_timeout, "this goes for a time-out, too")
{
    cora_loop loop = current_loop_new();
    cora_future f[2];
    struct waited waited = { .futures = f, .count = 2 };
    make_futures(loop, f, 2);
    cora_when_done(cora_wait(f, 2, 0, CORA_ALL_COMPLETED), cora_partial(note_split, &waited));
    tick(loop);
    cora_set_result(f[1], cora_nothing());
    tick(loop);
    CHECK_TEXT(waited.text, "b|a");
    current_loop_end(loop);
}

TEST(any_futures, "it waits for whatever is a future: operations, gathers, other waits")
{
    cora_loop loop = current_loop_new();
    cora_future plain = cora_future_new(loop);
    cora_future f[4] = { cora_ensure_future(loop, cora_sleep(1)), cora_gather(loop, &plain, 1),
                         cora_ensure_future(loop, cora_wait(&plain, 1, 2, CORA_ALL_COMPLETED)),
                         cora_shield(loop, plain) };
    cora_value result = cora_run_until_complete(loop, cora_wait(f, 4, 3, CORA_ALL_COMPLETED));
    CHECK_TEXT(split(result, f, 4), "ac|bd");
    CHECK_TEXT(split(cora_result(f[2]), &plain, 1), "|a");
    cora_set_result(plain, cora_nothing());
    result = cora_run_until_complete(loop, cora_wait(f, 4, 3, CORA_ALL_COMPLETED));
    CHECK_TEXT(split(result, f, 4), "abcd|");
    current_loop_end(loop);
}

/* ---- errors count as read, or do not ---- */

/* Waits for all with this rule while the first fails, the second is cancelled: how many reports? */
static int reports_of(enum cora_return_when rule, bool first_is_last)
{
    cora_loop loop = current_loop_new();
    struct reports reports;
    cora_future f[2];
    collect_reports(loop, &reports);
    make_futures(loop, f, 2);
    cora_future waiter = cora_ensure_future(loop, cora_wait(f, 2, NEVER, rule));
    tick(loop);
    if (first_is_last) {
        cora_cancel(f[1]);
        tick(loop);
    }
    cora_set_exception(f[0], failure("a"));
    cora_run_until_complete(loop, waiter);
    CHECK(!cora_is_error(cora_result(waiter)));
    cora_cancel(f[1]);
    current_loop_end(loop);
    return reports.count;
}

TEST(errors_that_ended_it,
     "an error that ended FIRST_EXCEPTION counts as read; the last one's does "
     "not, as nobody has looked at it")
{
    CHECK_INT(reports_of(CORA_FIRST_EXCEPTION, false), 0);
    CHECK_INT(reports_of(CORA_FIRST_EXCEPTION, true), 1);
}

TEST(errors_not_looked_at, "with the other rules errors are for the caller to read")
{
    CHECK_INT(reports_of(CORA_FIRST_COMPLETED, false), 1);
    CHECK_INT(reports_of(CORA_ALL_COMPLETED, true), 1);
}

TEST(first_exception_reads_the_late_one_too,
     "FIRST_EXCEPTION looks at one that fails between its wake-up and its resumption, too")
{
    cora_loop loop = current_loop_new();
    struct reports reports;
    cora_future f[3];
    struct waited waited = { .futures = f, .count = 3 };
    collect_reports(loop, &reports);
    make_futures(loop, f, 3);
    cora_when_done(cora_wait(f, 3, NEVER, CORA_FIRST_EXCEPTION), cora_partial(note_split, &waited));
    cora_set_exception(f[0], failure("a"));
    cora_call_soon(loop, cora_partial(fail_it, f[1]));
    ticks(loop, 3);
    CHECK_TEXT(waited.text, "ab|c");
    current_loop_end(loop);
    CHECK_INT(reports.count, 0);
}

static void fail_two(const cora_future *f)
{
    cora_set_exception(f[1], failure("b"));
    cora_set_exception(f[2], failure("c"));
}

static void fail_two_later(cora_args bound)
{
    fail_two(cora_arg(bound, 0, cora_future *));
}

TEST(late_ones, "late ones are looked at however the wait has ended, and hold it until then")
{
    cora_loop loop = current_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    for (int i = 0; i < 4; i++) {
        cora_future f[4];
        struct waited waited = { .futures = f, .count = 4 };
        make_futures(loop, f, 4);
        double timeout = i == 2 ? 0 : NEVER;
        cora_future waiter = cora_when_done(cora_wait(f, 4, timeout, CORA_FIRST_EXCEPTION),
                                            cora_partial(note_split, &waited));
        if (i == 0)
            cora_set_exception(f[0], failure("a"));
        if (i == 1 || i == 3) {
            cora_cancel(waiter);
            fail_two(f);
        } else {
            cora_call_later(loop, 0, cora_partial(fail_two_later, f));
        }
        if (i == 3)
            cora_set_result(f[0], cora_nothing());
        ticks(loop, 3);
        CHECK_INT(waited.calls, 1);
        CHECK(is_error(waiter, CORA_ESTALE));
    }
    current_loop_end(loop);
    CHECK_INT(reports.count, 0);
}

/* ---- cancelling ---- */

TEST(cancel, "a cancelled wait ends with Cancelled in the next tick; its futures are left alone")
{
    cora_loop loop = current_loop_new();
    cora_future f[2];
    struct waited waited = { .futures = f, .count = 2 };
    char text[200];
    make_futures(loop, f, 2);
    cora_future waiter = cora_when_done(cora_wait(f, 2, 1000, CORA_ALL_COMPLETED),
                                        cora_partial(note_split, &waited));
    cora_set_result(f[0], cora_nothing());
    tick(loop);
    CHECK(cora_cancel_with(waiter, "too long"));
    CHECK(!cora_done(waiter));
    CHECK(cora_cancel_with(waiter, "far too long"));
    tick(loop);
    CHECK_TEXT(waited.text, "CancelledError: far too long");
    CHECK(!cora_done(f[1]));
    cora_future_print(f[1], text, sizeof text);
    CHECK_TEXT(text, "<Future pending>");
    cora_set_result(f[1], cora_nothing());
    ticks(loop, 3);
    CHECK_INT(waited.calls, 1);
    CHECK_INT(cora_live(loop), 2); /* the two of main(): neither timer nor waiter */
    current_loop_end(loop);
}

TEST(cancelled_in_the_gap, "cancelled when it is woken and has not resumed, it ends with Cancelled")
{
    cora_loop loop = current_loop_new();
    cora_future f = cora_future_new(loop);
    struct waited waited = { .futures = &f, .count = 1 };
    cora_future waiter = cora_when_done(cora_wait(&f, 1, NEVER, CORA_ALL_COMPLETED),
                                        cora_partial(note_split, &waited));
    cora_set_result(f, cora_nothing());
    tick(loop);
    CHECK(cora_cancel(waiter));
    tick(loop);
    CHECK_TEXT(waited.text, "CancelledError");
    CHECK(!cora_cancel(waiter));
    current_loop_end(loop);
}

TEST(cancelled_before_the_start, "cancelled before it starts, it never looks at its arguments")
{
    cora_loop loop = current_loop_new();
    cora_future f = cora_future_new(loop);
    cora_future waiter = cora_ensure_future(loop, cora_wait(&f, 1, NEVER, CORA_ALL_COMPLETED));
    cora_future wrong = cora_ensure_future(loop, cora_wait(&f, 0, NEVER, CORA_ALL_COMPLETED));
    CHECK(cora_cancel(waiter));
    CHECK(cora_cancel(wrong));
    tick(loop);
    CHECK(cora_cancelled(waiter));
    CHECK(cora_cancelled(wrong));
    CHECK(!cora_done(f));
    current_loop_end(loop);
}

TEST(completed_from_outside, "nobody but the wait itself completes its future")
{
    cora_loop loop = current_loop_new();
    cora_future f = cora_future_new(loop);
    cora_future waiter = cora_ensure_future(loop, cora_wait(&f, 1, NEVER, CORA_ALL_COMPLETED));
    CHECK_INT(cora_set_result(waiter, cora_nothing()), CORA_ERUNTIME);
    tick(loop);
    CHECK_INT(cora_set_exception(waiter, failure("mine")), CORA_ERUNTIME);
    cora_set_result(f, cora_nothing());
    cora_run_until_complete(loop, waiter);
    CHECK_TEXT(split(cora_result(waiter), &f, 1), "a|");
    current_loop_end(loop);
}

/* ---- the array ---- */

TEST(array_of_a_started_wait, "once it is started the array is the caller's again",
     "test_tasks.BaseTaskTests.test_wait_with_iterator_of_tasks")
{
    cora_loop loop = current_loop_new();
    cora_future f[2] = { cora_ensure_future(loop, cora_sleep(0.1)),
                         cora_ensure_future(loop, cora_sleep(0.15)) };
    struct waited waited = { .futures = f, .count = 2 };
    cora_future *items = malloc(2 * sizeof *items);
    items[0] = f[1];
    items[1] = f[0];
    cora_when_done(cora_wait(items, 2, NEVER, CORA_ALL_COMPLETED),
                   cora_partial(note_split, &waited));
    free(items);
    run_for(loop, 1);
    CHECK_TEXT(waited.text, "ba|");
    current_loop_end(loop);
}

TEST(array_of_a_later_wait, "so it is once the wait is given to whatever starts it later")
{
    cora_loop loop = current_loop_new();
    cora_future f[3], waiters[3];
    make_futures(loop, f, 3);
    cora_future *items = malloc(3 * sizeof *items);
    memcpy(items, f, sizeof f);
    cora_awaitable wait = cora_wait(items, 3, 1, CORA_ALL_COMPLETED);
    waiters[0] = cora_ensure_future(loop, wait);
    waiters[1] = cora_gather(loop, &wait, 1);
    waiters[2] = cora_shield(loop, wait);
    free(items);
    cora_set_result(f[2], cora_nothing());
    run_for(loop, 2);
    CHECK_TEXT(split(cora_result(waiters[0]), f, 3), "c|ab");
    CHECK_TEXT(split(cora_list_at(cora_result(waiters[1]), 0), f, 3), "c|ab");
    CHECK_TEXT(split(cora_result(waiters[2]), f, 3), "c|ab");
    current_loop_end(loop);
}

TEST(ten_operations, "ten operations that were just made are waited for",
     "test_tasks.BaseTaskTests.test_wait_generator")
{
    cora_loop loop = current_loop_new();
    cora_future f[10];
    for (int i = 0; i < 10; i++)
        f[i] = cora_ensure_future(loop, cora_sleep(0));
    cora_value result = cora_run_until_complete(loop, cora_wait(f, 10, NEVER, CORA_ALL_COMPLETED));
    CHECK_TEXT(split(result, f, 10), "abcdefghij|");
    current_loop_end(loop);
}

/* ---- wrong arguments: they are its outcome ---- */

/* The error's code that this wait ends with. */
static int code_of(cora_loop loop, cora_awaitable wait)
{
    int code = cora_error_code(cora_run_until_complete(loop, wait));
    struct waited waited = { .count = 0 };
    CHECK(!cora_is_null(cora_when_done(wait, cora_partial(note_split, &waited))));
    CHECK_INT(waited.calls, 0); /* never inside the call */
    tick(loop);
    CHECK_INT(waited.calls, 1);
    CHECK(strncmp(waited.text, cora_error_name(code), strlen(cora_error_name(code))) == 0);
    return code;
}

TEST(wrong_arguments, "no futures, a rule or a time that is none are a ValueError")
{
    cora_loop loop = current_loop_new();
    cora_future f = cora_future_new(loop);
    enum cora_return_when no_rule = (enum cora_return_when)7;
    CHECK_INT(code_of(loop, cora_wait(&f, 0, NEVER, CORA_ALL_COMPLETED)), CORA_EVALUE);
    CHECK_INT(code_of(loop, cora_wait(NULL, 0, 0, CORA_FIRST_COMPLETED)), CORA_EVALUE);
    CHECK_INT(code_of(loop, cora_wait(&f, 1, NEVER, no_rule)), CORA_EVALUE);
    CHECK_INT(code_of(loop, cora_wait(&f, 0, NEVER, no_rule)), CORA_EVALUE);
    CHECK_INT(code_of(loop, cora_wait(&f, 1, (double)NAN, CORA_ALL_COMPLETED)), CORA_EVALUE);
    CHECK_INT(cora_live(loop), 1);
    current_loop_end(loop);
}

TEST(wrong_futures, "futures of another loop are a ValueError, useless handles a StaleHandle")
{
    cora_loop loop = current_loop_new(), other = cora_loop_new(NULL);
    char text[100];
    cora_future f[2] = { cora_future_new(loop), cora_future_new(other) };
    CHECK_INT(code_of(loop, cora_wait(f, 2, NEVER, CORA_FIRST_COMPLETED)), CORA_EVALUE);
    cora_loop_close(other);
    CHECK_INT(code_of(loop, cora_wait(f, 2, NEVER, CORA_FIRST_COMPLETED)), CORA_ESTALE);
    f[1] = (cora_future){ f[0].bits + 1 };
    CHECK_INT(code_of(loop, cora_wait(f, 2, NEVER, CORA_FIRST_COMPLETED)), CORA_ESTALE);
    f[1] = (cora_future){ 0 };
    CHECK(code_of(loop, cora_wait(f, 2, NEVER, CORA_FIRST_COMPLETED)) < 0);
    cora_future_print(f[0], text, sizeof text);
    CHECK_TEXT(text, "<Future pending>"); /* nothing was registered */
    current_loop_end(loop);
}

TEST(without_loop, "without a loop it cannot be started")
{
    cora_future f = { 0 };
    CHECK(cora_is_null(
        cora_when_done(cora_wait(&f, 1, 1, CORA_ALL_COMPLETED), cora_partial(nothing_done))));
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
}

TEST(never_started, "a wait that is given to nobody does nothing and holds nothing")
{
    cora_loop loop = current_loop_new();
    cora_future f = cora_future_new(loop);
    cora_awaitable wait = cora_wait(&f, 1, 1, CORA_ALL_COMPLETED);
    CHECK_INT(cora_live(loop), 1);
    CHECK(wait.operation != NULL);
    current_loop_end(loop);
}

/* ---- who keeps what ---- */

static struct {
    cora_loop loop;
    cora_future f[3], waiter, other;
    int calls, drops;
} stage;

static void stage_new(void)
{
    memset(&stage, 0, sizeof stage);
    stage.loop = current_loop_new();
}

static void wait_for_three(cora_args bound)
{
    (void)bound;
    make_futures(stage.loop, stage.f, 3);
    stage.waiter = cora_ensure_future(stage.loop, cora_wait(stage.f, 3, NEVER, CORA_ALL_COMPLETED));
}

static void complete_three(cora_args bound)
{
    (void)bound;
    cora_set_result(stage.f[0], cora_own(&stage.drops, &counted));
    cora_set_exception(stage.f[1], failure("b"));
    cora_cancel(stage.f[2]);
}

static void read_three(cora_args bound, cora_future done)
{
    (void)bound;
    stage.calls++;
    CHECK_TEXT(split(cora_result(done), stage.f, 3), "abc|");
    CHECK(!cora_is_error(cora_result(stage.f[0])));
    CHECK(is_error(stage.f[1], CORA_EEXCEPTION));
    CHECK(cora_cancelled(stage.f[2]));
}

TEST(keeps_its_futures, "what it waited for can be read while its own future can, and goes with it")
{
    stage_new();
    run_in(stage.loop, cora_partial(wait_for_three));
    CHECK_INT(cora_add_done_callback(stage.waiter, cora_partial(read_three)), 0);
    CHECK(!cora_is_null(cora_keep(stage.waiter)));
    tick(stage.loop);
    run_in(stage.loop, cora_partial(complete_three));
    ticks(stage.loop, 6);
    CHECK_INT(stage.calls, 1);
    CHECK_INT(stage.drops, 0);
    CHECK_INT(cora_live(stage.loop), 4);
    CHECK_INT(cora_release(stage.waiter), 0);
    tick(stage.loop);
    CHECK_INT(stage.drops, 1);
    CHECK_INT(cora_live(stage.loop), 0);
    CHECK(is_error(stage.f[0], CORA_ESTALE));
    CHECK(is_error(stage.waiter, CORA_ESTALE));
    current_loop_end(stage.loop);
}

TEST(forgotten, "without anybody who keeps it it is given back after its callback")
{
    stage_new();
    run_in(stage.loop, cora_partial(wait_for_three));
    tick(stage.loop);
    run_in(stage.loop, cora_partial(complete_three));
    ticks(stage.loop, 3);
    CHECK_INT(stage.drops, 1);
    CHECK_INT(cora_live(stage.loop), 0);
    current_loop_end(stage.loop);
}

static void read_pending(cora_args bound, cora_future done)
{
    (void)bound;
    stage.calls++;
    cora_value pending = cora_list_at(cora_result(done), 1);
    CHECK_INT(cora_list_size(pending), 2);
    for (size_t i = 0; i < 2; i++)
        CHECK(cora_cancel(cora_as_future(cora_list_at(pending, i))));
}

static void wait_for_first(cora_args bound)
{
    (void)bound;
    make_futures(stage.loop, stage.f, 3);
    cora_when_done(cora_wait(stage.f, 3, 5, CORA_FIRST_COMPLETED), cora_partial(read_pending));
    cora_set_result(stage.f[1], cora_own(&stage.drops, &counted));
}

TEST(cancel_the_others, "the callback may cancel those that are pending; then all are given back")
{
    stage_new();
    run_in(stage.loop, cora_partial(wait_for_first));
    ticks(stage.loop, 4);
    CHECK_INT(stage.calls, 1);
    CHECK_INT(stage.drops, 1);
    CHECK_INT(cora_live(stage.loop), 0);
    current_loop_end(stage.loop);
}

/* ---- misuse ---- */

static struct ev_loop *guest_on_stage(void)
{
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    CHECK(host != NULL);
    memset(&stage, 0, sizeof stage);
    stage.loop = cora_loop_attach(host, NULL);
    cora_set_current_loop(stage.loop);
    return host;
}

static void check_detached(struct ev_loop *host)
{
    CHECK(cora_is_closed(stage.loop));
    for (int i = 0; i < 3; i++)
        CHECK(is_error(stage.f[i], CORA_ESTALE));
    CHECK(!cora_cancel(stage.waiter));
    CHECK(is_error(stage.waiter, CORA_ESTALE));
    CHECK_INT(ev_run(host, EVRUN_NOWAIT), 0);
    ev_loop_destroy(host);
    cora_set_current_loop((cora_loop){ 0 });
}

static void detach_done(cora_args bound, cora_future done)
{
    (void)bound, (void)done;
    stage.calls++;
    CHECK_INT(cora_loop_detach(stage.loop), 0);
}

TEST(detached_by_an_input, "the done-callback of what is waited for may detach the guest")
{
    struct ev_loop *host = guest_on_stage();
    make_futures(stage.loop, stage.f, 3);
    cora_add_done_callback(stage.f[1], cora_partial(detach_done));
    stage.waiter = cora_when_done(cora_wait(stage.f, 3, 10, CORA_FIRST_COMPLETED),
                                  cora_partial(count_done, &stage.calls));
    cora_set_result(stage.f[0], cora_nothing());
    cora_set_result(stage.f[1], cora_own(&stage.drops, &counted));
    ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(stage.calls, 1);
    cora_drop_temporaries();
    CHECK_INT(stage.drops, 1);
    check_detached(host);
}

TEST(detached_by_its_callback, "so may its own callback, which runs where the wait resumes")
{
    struct ev_loop *host = guest_on_stage();
    make_futures(stage.loop, stage.f, 3);
    stage.waiter =
        cora_when_done(cora_wait(stage.f, 3, 10, CORA_FIRST_COMPLETED), cora_partial(detach_done));
    stage.other =
        cora_ensure_future(stage.loop, cora_wait(&stage.waiter, 1, 10, CORA_ALL_COMPLETED));
    cora_set_result(stage.f[0], cora_nothing());
    for (int i = 0; i < 3; i++)
        ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(stage.calls, 1);
    CHECK(is_error(stage.other, CORA_ESTALE));
    check_detached(host);
}

static void detach_drop(void *unused)
{
    (void)unused;
    stage.drops++;
    cora_loop_detach(stage.loop);
}

static const cora_type detacher = { "detacher", detach_drop, NULL, 0 };

TEST(detached_by_an_argument, "so may the drop function of what its callback is bound to")
{
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        struct ev_loop *host = guest_on_stage();
        make_futures(stage.loop, stage.f, 3);
        stage.waiter =
            cora_when_done(cora_wait(stage.f, 3, 10, CORA_FIRST_COMPLETED),
                           cora_partial(count_done, &stage.calls, cora_own(&stage, &detacher)));
        cora_drop_temporaries();
        if (cancelled)
            CHECK(cora_cancel(stage.waiter));
        else
            cora_set_result(stage.f[0], cora_nothing());
        for (int i = 0; i < 3; i++)
            ev_run(host, EVRUN_NOWAIT);
        CHECK_INT(stage.calls, 1);
        CHECK_INT(stage.drops, 1);
        check_detached(host);
    }
}

static void complete_with_detacher(cora_args bound)
{
    (void)bound;
    for (int i = 0; i < 3; i++)
        cora_set_result(stage.f[i], cora_own(&stage, &detacher));
}

TEST(detached_by_a_result, "so may a result's, in the middle of giving back what was waited for")
{
    struct ev_loop *host = guest_on_stage();
    cora_call_soon(stage.loop, cora_partial(wait_for_three));
    ev_run(host, EVRUN_NOWAIT);
    ev_run(host, EVRUN_NOWAIT);
    cora_call_soon(stage.loop, cora_partial(complete_with_detacher));
    for (int i = 0; i < 5; i++)
        ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(stage.drops, 3);
    check_detached(host);
}

/* Removes what is not the meddler's, and completes the others. */
static void meddle_done(cora_args bound, cora_future done)
{
    (void)bound, (void)done;
    stage.calls++;
    cora_cancel(stage.f[1]);
    cora_cancel(stage.waiter);
    cora_set_result(stage.f[2], cora_nothing());
    cora_remove_done_callback(stage.waiter, cora_partial(nothing_done));
    cora_release(stage.f[0]);
    cora_release(stage.waiter);
}

TEST(meddlers, "callbacks may complete, cancel and release what is being counted")
{
    struct ev_loop *host = guest_on_stage();
    make_futures(stage.loop, stage.f, 3);
    cora_add_done_callback(stage.f[0], cora_partial(meddle_done));
    stage.waiter = cora_ensure_future(stage.loop, cora_wait(stage.f, 3, 10, CORA_FIRST_EXCEPTION));
    ev_run(host, EVRUN_NOWAIT);
    cora_add_done_callback(stage.waiter, cora_partial(nothing_done));
    cora_add_done_callback(stage.waiter, cora_partial(count_done, &stage.calls));
    cora_add_done_callback(stage.f[1], cora_partial(meddle_done));
    cora_set_result(stage.f[0], cora_nothing());
    for (int i = 0; i < 5; i++)
        ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(stage.calls, 3);
    CHECK_INT(cora_loop_detach(stage.loop), 0);
    check_detached(host);
}

TEST(closed_with_everything, "closing a loop drops waits in every state, and leaves nothing behind")
{
    cora_loop loop = current_loop_new();
    int drops = 0, calls = 0;
    cora_future f[4];
    make_futures(loop, f, 4);
    cora_awaitable wait = cora_wait(f, 4, 10, CORA_FIRST_COMPLETED);
    cora_future waiting =
        cora_when_done(wait, cora_partial(count_done, &calls, cora_own(&drops, &counted)));
    cora_future second = cora_ensure_future(loop, wait);
    tick(loop);
    cora_set_result(f[0], cora_own(&drops, &counted));
    tick(loop); /* both are woken */
    cora_future cancelled = cora_ensure_future(loop, wait);
    cora_cancel(cancelled);
    cora_future not_started = cora_ensure_future(loop, wait);
    current_loop_end(loop);
    cora_drop_temporaries();
    CHECK_INT(drops, 2);
    CHECK_INT(calls, 0);
    CHECK(cora_done(waiting) && cora_done(second) && cora_done(cancelled));
    CHECK(is_error(not_started, CORA_ESTALE));
}

/* ---- what it costs ---- */

/* Seconds that a wait for so many takes: it ends with the first, or with all. */
static double cost_once(enum cora_return_when rule, int count)
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future *f = malloc((size_t)count * sizeof *f);
    CHECK(f != NULL);
    make_futures(loop, f, count);
    double before = harness_processor_time();
    cora_future waiter = cora_ensure_future(loop, cora_wait(f, (size_t)count, 1000, rule));
    tick(loop);
    for (int i = 0; i < (rule == CORA_ALL_COMPLETED ? count : 1); i++)
        CHECK_INT(cora_set_result(f[i], cora_from(i)), 0);
    cora_value result = cora_run_until_complete(loop, waiter);
    CHECK_INT(cora_list_size(cora_list_at(result, 0)) + cora_list_size(cora_list_at(result, 1)),
              count);
    CHECK_INT(cora_loop_close(loop), 0);
    cora_drop_temporaries();
    double seconds = harness_processor_time() - before;
    free(f);
    return seconds;
}

static double cost(enum cora_return_when rule, int count, int times)
{
    double least = cost_once(rule, count);
    while (--times > 0) {
        double again = cost_once(rule, count);
        least = again < least ? again : least;
    }
    return least;
}

TEST_WITH_LIMIT(60, linear, "a wait for a million takes about ten times as long as for 100,000")
{
    if (harness_sanitized() || harness_under_valgrind())
        SKIP("the time is measured without sanitizers and valgrind only");
    const enum cora_return_when rules[] = { CORA_ALL_COMPLETED, CORA_FIRST_COMPLETED };
    for (int i = 0; i < 2; i++) {
        double few = cost(rules[i], 100000, 5), many = cost(rules[i], 1000000, 2);
        if (many > 80 * few) /* up to thirty, by the cache; with a square in it, a hundred */
            harness_fail(__FILE__, __LINE__, "100000 take %g s, 1000000 take %g s", few, many);
    }
}
