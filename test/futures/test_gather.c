/*
 * Gather: one future for many. First what comes out of it, then cancelling it or its members, then
 * operations among the members, then who keeps what, and misuse in the moments that are easily
 * forgotten. Last what it costs: a gather of a million is as cheap for each as one of a thousand,
 * and gathers of gathers may be a hundred thousand deep.
 */
#include "helpers.h"

#include <ev.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

/* ---- helpers ---- */

static cora_value failure(const char *text)
{
    return cora_error(CORA_EEXCEPTION, "%s", text);
}

/* Completes the future that is bound to it with the integer behind it. */
static void arrive(cora_args bound)
{
    CHECK_INT(cora_set_result(cora_arg_future(bound, 0), cora_from(cora_arg_int(bound, 1))), 0);
}

/* ---- results ---- */

TEST(results, "a gather of three pages is done with the last of them, and has all in a list")
{
    cora_loop loop = virtual_loop_new();
    cora_future pages[3];
    make_futures(loop, pages, 3);
    for (int i = 0; i < 3; i++)
        cora_call_later(loop, 3 - i, cora_partial(arrive, pages[i], 10 * i));
    cora_value list = cora_run_until_complete(loop, cora_gather(loop, pages, 3));
    CHECK_REAL(cora_time(loop), START + 3, LATE);
    CHECK_INT(cora_list_size(list), 3);
    for (int i = 0; i < 3; i++)
        CHECK_INT(cora_as_int(cora_list_at(list, (size_t)i)), 10 * i);
    virtual_loop_end(loop);
}

/* b, then a, then c; the gather is done with the last. */
static void check_success(cora_loop loop, cora_future *f, cora_future all)
{
    int calls = 0;
    cora_add_done_callback(all, cora_partial(count_done, &calls));
    cora_set_result(f[1], cora_from(1));
    cora_set_result(f[0], cora_from(2));
    ticks(loop, 6);
    CHECK(!cora_done(all));
    CHECK_INT(calls, 0);
    cora_set_result(f[2], cora_from(3));
    ticks(loop, 6);
    CHECK_INT(calls, 1);
    CHECK_TEXT(outcome(all), "[2, 1, 3]");
}

TEST(success, "the results are in the order of the arguments, whatever completes first",
     "test_tasks.FutureGatherTests.test_success")
{
    cora_loop loop = virtual_loop_new();
    cora_future f[3];
    make_futures(loop, f, 3);
    check_success(loop, f, cora_gather(loop, f, 3));
    make_futures(loop, f, 3);
    check_success(loop, f, cora_gather(loop, f, 3, .return_exceptions = false));
    virtual_loop_end(loop);
}

TEST(success_with_exceptions, "return_exceptions changes nothing where all succeed",
     "test_tasks.FutureGatherTests.test_result_exception_success")
{
    cora_loop loop = virtual_loop_new();
    cora_future f[3];
    make_futures(loop, f, 3);
    check_success(loop, f, cora_gather(loop, f, 3, .return_exceptions = true));
    virtual_loop_end(loop);
}

TEST(one_exception,
     "the first that fails ends it with that very error; what the others do later changes nothing",
     "test_tasks.FutureGatherTests.test_one_exception")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future f[5];
    int calls = 0;
    make_futures(loop, f, 5);
    cora_future all = cora_gather(loop, f, 5);
    cora_value error = failure("b");
    cora_add_done_callback(all, cora_partial(count_done, &calls));
    cora_set_result(f[0], cora_from(1));
    cora_set_exception(f[1], error);
    ticks(loop, 6);
    CHECK(cora_equal(cora_exception(all), error)); /* errors: the same object */
    CHECK_INT(calls, 1);
    CHECK_INT(cora_set_result(f[2], cora_from(3)), 0);
    CHECK(cora_cancel(f[3]));
    CHECK_INT(cora_set_exception(f[4], failure("e")), 0);
    ticks(loop, 6);
    CHECK(cora_equal(cora_exception(all), error));
    CHECK_INT(calls, 1);
    virtual_loop_end(loop);
    CHECK_INT(reports.count, 0); /* the late error counts as read */
}

TEST(return_exceptions, "with return_exceptions errors are values of the list, the very objects",
     "test_tasks.FutureGatherTests.test_return_exceptions")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future f[4];
    int calls = 0;
    make_futures(loop, f, 4);
    cora_future all = cora_gather(loop, f, 4, .return_exceptions = true);
    cora_add_done_callback(all, cora_partial(count_done, &calls));
    cora_value first = cora_copy(failure("c")), second = cora_copy(failure("d"));
    cora_set_result(f[1], cora_from(1));
    cora_set_exception(f[2], first);
    cora_set_result(f[0], cora_from(3));
    ticks(loop, 6);
    CHECK(!cora_done(all));
    cora_set_exception(f[3], second);
    ticks(loop, 6);
    CHECK_INT(calls, 1);
    CHECK_TEXT(outcome(all), "[3, 1, Exception: c, Exception: d]");
    CHECK(cora_equal(cora_list_at(cora_result(all), 2), first));
    CHECK(cora_equal(cora_list_at(cora_result(all), 3), second));
    cora_drop(first);
    cora_drop(second);
    virtual_loop_end(loop);
    CHECK_INT(reports.count, 0);
}

TEST(one_cancellation,
     "a member that is cancelled fails the gather with a Cancelled error; it is not cancelled",
     "test_tasks.FutureGatherTests.test_one_cancellation")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future f[5];
    int calls = 0;
    make_futures(loop, f, 5);
    cora_future all = cora_gather(loop, f, 5);
    cora_add_done_callback(all, cora_partial(count_done, &calls));
    cora_set_result(f[0], cora_from(1));
    cora_cancel(f[1]);
    ticks(loop, 6);
    CHECK_INT(calls, 1);
    CHECK(cora_done(all));
    CHECK(!cora_cancelled(all));
    CHECK(is_error(all, CORA_ECANCELLED));
    CHECK_INT(cora_set_result(f[2], cora_from(3)), 0);
    CHECK(cora_cancel(f[3]));
    CHECK_INT(cora_set_exception(f[4], failure("e")), 0);
    ticks(loop, 6);
    CHECK_INT(calls, 1);
    virtual_loop_end(loop);
    CHECK_INT(reports.count, 0);
}

TEST(cancellation_message, "the error has the message that the member was cancelled with")
{
    cora_loop loop = virtual_loop_new();
    cora_future f[2];
    make_futures(loop, f, 2);
    cora_future one = cora_gather(loop, f, 2);
    cora_future other = cora_gather(loop, f, 2, .return_exceptions = true);
    cora_cancel_with(f[1], "no time");
    tick(loop);
    CHECK_TEXT(outcome(one), "CancelledError: no time");
    cora_cancel(f[0]);
    tick(loop);
    CHECK_TEXT(outcome(other), "[CancelledError, CancelledError: no time]");
    virtual_loop_end(loop);
}

TEST(cancellations_in_the_list,
     "with return_exceptions cancelled members are Cancelled errors in the list",
     "test_tasks.FutureGatherTests.test_result_exception_one_cancellation")
{
    cora_loop loop = virtual_loop_new();
    cora_future f[6];
    int calls = 0;
    make_futures(loop, f, 6);
    cora_future all = cora_gather(loop, f, 6, .return_exceptions = true);
    cora_add_done_callback(all, cora_partial(count_done, &calls));
    cora_set_result(f[0], cora_from(1));
    cora_set_exception(f[1], failure("b"));
    cora_cancel(f[2]);
    ticks(loop, 6);
    CHECK(!cora_done(all));
    cora_set_result(f[3], cora_from(3));
    cora_cancel(f[4]);
    cora_set_exception(f[5], failure("f"));
    cora_run_until_complete(loop, all);
    CHECK_TEXT(outcome(all), "[1, Exception: b, CancelledError, 3, CancelledError, Exception: f]");
    CHECK_INT(calls, 1);
    virtual_loop_end(loop);
}

TEST(ends_a_tick_later, "it is done in the tick after its last member, and calls back in the next")
{
    cora_loop loop = virtual_loop_new();
    cora_future f[2];
    int calls = 0;
    make_futures(loop, f, 2);
    cora_future all = cora_gather(loop, f, 2);
    cora_add_done_callback(all, cora_partial(count_done, &calls));
    cora_set_result(f[0], cora_from(1));
    cora_set_result(f[1], cora_from(2));
    CHECK(!cora_done(all));
    tick(loop);
    CHECK(cora_done(all));
    CHECK_INT(calls, 0);
    tick(loop);
    CHECK_INT(calls, 1);
    virtual_loop_end(loop);
}

TEST(order_of_callbacks, "it takes part in the order of a member's done-callbacks")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future f = cora_future_new(loop);
    cora_add_done_callback(f, cora_partial(note_done, &notes, "before"));
    cora_future all = cora_gather(loop, &f, 1);
    cora_add_done_callback(f, cora_partial(note_done, &notes, "after"));
    cora_add_done_callback(all, cora_partial(note_done, &notes, "all"));
    cora_set_result(f, cora_from(1));
    cora_call_soon(loop, cora_partial(note, &notes, "soon"));
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "before after soon all");
    virtual_loop_end(loop);
}

/* ---- none, and such that are done ---- */

TEST(empty, "a gather of nothing is done at once, with an empty list")
{
    cora_loop loop = virtual_loop_new();
    const cora_future *none = NULL;
    cora_future all = cora_gather(loop, none, 0);
    CHECK(cora_done(all));
    CHECK_TEXT(outcome(all), "[]");
    const cora_awaitable *nothing_to_do = NULL;
    CHECK_TEXT(outcome(cora_gather(loop, nothing_to_do, 0, .return_exceptions = true)), "[]");
    CHECK(!cora_cancel(all));
    virtual_loop_end(loop);
}

TEST(empty_without_loop,
     "without a running or current loop it is null, and the error says that there is none",
     "test_tasks.FutureGatherTests.test_constructor_empty_sequence_without_loop")
{
    const cora_future *none = NULL;
    cora_loop loop = cora_current_loop();
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ERUNTIME);
    CHECK(strstr(cora_error_message(cora_last_error()), "no current event loop") != NULL);
    cora_future all = cora_gather(loop, none, 0);
    CHECK(cora_is_null(all));
    CHECK(!cora_done(all));
    CHECK(is_error(all, CORA_ERUNTIME));
}

TEST(empty_with_current_loop, "with a loop that is only set for the thread it belongs to that",
     "test_tasks.FutureGatherTests.test_constructor_empty_sequence_use_global_loop")
{
    cora_loop loop = virtual_loop_new();
    const cora_future *none = NULL;
    cora_set_current_loop(loop);
    cora_future all = cora_gather(cora_current_loop(), none, 0);
    CHECK(cora_same(cora_future_loop(all), loop));
    CHECK(cora_done(all));
    CHECK_TEXT(outcome(all), "[]");
    cora_set_current_loop((cora_loop){ 0 });
    virtual_loop_end(loop);
}

TEST(all_done, "a gather of such that are done is done at once, too")
{
    cora_loop loop = virtual_loop_new();
    cora_future f[2];
    make_futures(loop, f, 2);
    cora_set_result(f[0], cora_text("a"));
    cora_set_result(f[1], cora_text("b"));
    cora_future all = cora_gather(loop, f, 2);
    CHECK(cora_done(all));
    CHECK_TEXT(outcome(all), "[\"a\", \"b\"]");
    int calls = 0;
    cora_add_done_callback(all, cora_partial(count_done, &calls));
    CHECK_INT(calls, 0); /* yet the callback is queued, as always */
    tick(loop);
    CHECK_INT(calls, 1);
    virtual_loop_end(loop);
}

TEST(done_with_errors, "of several that have failed already the first in the array ends it at once")
{
    cora_loop loop = virtual_loop_new();
    cora_future f[4];
    make_futures(loop, f, 4);
    cora_set_result(f[0], cora_from(0));
    cora_set_exception(f[3], failure("d"));
    cora_set_exception(f[2], failure("c"));
    cora_future all = cora_gather(loop, f, 4);
    CHECK(cora_done(all));
    CHECK_TEXT(outcome(all), "Exception: c");
    CHECK_INT(cora_set_result(f[1], cora_from(1)), 0);
    cora_result(f[3]);
    tick(loop);
    cora_future tolerant = cora_gather(loop, f, 4, .return_exceptions = true);
    CHECK(cora_done(tolerant));
    CHECK_TEXT(outcome(tolerant), "[0, 1, Exception: c, Exception: d]");
    virtual_loop_end(loop);
}

TEST(errors_of_done_inputs_count_as_read,
     "of several that have failed already, those whose error it does not give count as read, too")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future f[3];
    make_futures(loop, f, 3);
    cora_cancel(f[0]);
    cora_set_exception(f[1], failure("b"));
    cora_set_exception(f[2], failure("c"));
    cora_future all = cora_gather(loop, f, 3);
    CHECK(is_error(all, CORA_ECANCELLED));
    virtual_loop_end(loop);
    CHECK_INT(reports.count, 0);
}

TEST(done_and_pending, "what is done already is counted, and the others are waited for")
{
    cora_loop loop = virtual_loop_new();
    cora_future f[3];
    make_futures(loop, f, 3);
    cora_set_result(f[1], cora_from(1));
    cora_future all = cora_gather(loop, f, 3);
    ticks(loop, 3);
    CHECK(!cora_done(all));
    cora_set_result(f[2], cora_from(2));
    ticks(loop, 3);
    CHECK(!cora_done(all));
    cora_set_result(f[0], cora_from(0));
    tick(loop);
    CHECK_TEXT(outcome(all), "[0, 1, 2]");
    virtual_loop_end(loop);
}

/* ---- the same one twice ---- */

TEST(duplicates, "the same future in several places is waited for once, and is at each in the list")
{
    cora_loop loop = virtual_loop_new();
    cora_future a = cora_future_new(loop), b = cora_future_new(loop);
    cora_future items[] = { a, b, a, a, b };
    char text[200];
    cora_future all = cora_gather(loop, items, 5);
    cora_future_print(a, text, sizeof text);
    CHECK(strchr(text, ',') == NULL); /* one done-callback */
    cora_set_result(a, cora_text("a"));
    ticks(loop, 3);
    CHECK(!cora_done(all));
    cora_set_result(b, cora_text("b"));
    tick(loop);
    CHECK_TEXT(outcome(all), "[\"a\", \"b\", \"a\", \"a\", \"b\"]");
    virtual_loop_end(loop);
}

TEST(done_duplicates, "so are those that are done already, alone or beside pending ones")
{
    cora_loop loop = virtual_loop_new();
    cora_future a = cora_future_new(loop), b = cora_future_new(loop);
    cora_set_result(a, cora_text("a"));
    CHECK_TEXT(outcome(cora_gather(loop, ((cora_future[]){ a, a }), 2)), "[\"a\", \"a\"]");
    cora_future all = cora_gather(loop, ((cora_future[]){ a, b, a, b }), 4);
    CHECK(!cora_done(all));
    cora_set_exception(b, failure("b"));
    cora_future tolerant =
        cora_gather(loop, ((cora_future[]){ b, b, a }), 3, .return_exceptions = true);
    CHECK_TEXT(outcome(tolerant), "[Exception: b, Exception: b, \"a\"]");
    tick(loop);
    CHECK_TEXT(outcome(all), "Exception: b");
    virtual_loop_end(loop);
}

TEST(members_of_many, "a future may be in many gathers, and have other callbacks between them")
{
    cora_loop loop = virtual_loop_new();
    cora_future f[2], all[20];
    int calls = 0;
    make_futures(loop, f, 2);
    for (int i = 0; i < 20; i++) {
        all[i] = cora_gather(loop, ((cora_future[]){ f[0], f[1], f[0] }), 3,
                             .return_exceptions = i % 2 == 1);
        cora_add_done_callback(f[i % 2], cora_partial(count_done, &calls));
    }
    cora_set_result(f[0], cora_from(1));
    cora_set_exception(f[1], failure("b"));
    ticks(loop, 2);
    CHECK_INT(calls, 20);
    for (int i = 0; i < 20; i++)
        CHECK_TEXT(outcome(all[i]), i % 2 ? "[1, Exception: b, 1]" : "Exception: b");
    virtual_loop_end(loop);
}

/* ---- wrong arguments ---- */

TEST(heterogenous_futures, "futures of two loops, or of another loop than named, are a ValueError",
     "test_tasks.FutureGatherTests.test_constructor_heterogenous_futures")
{
    cora_loop one = virtual_loop_new(), other = cora_loop_new(NULL);
    cora_future f[2] = { cora_future_new(one), cora_future_new(other) };
    char text[100];
    CHECK(cora_is_null(cora_gather(one, f, 2)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EVALUE);
    CHECK(cora_is_null(cora_gather(other, f, 2)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EVALUE);
    CHECK(cora_is_null(cora_gather(other, f, 1)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EVALUE);
    cora_future_print(f[0], text, sizeof text);
    CHECK_TEXT(text, "<Future pending>"); /* nothing was registered */
    cora_loop_close(other);
    virtual_loop_end(one);
}

TEST(useless_handles,
     "stale and null members, and a stale or null loop, are refused; none is touched")
{
    cora_loop loop = virtual_loop_new(), closed = cora_loop_new(NULL);
    cora_future f[2] = { cora_future_new(loop), cora_future_new(closed) };
    char text[100];
    cora_loop_close(closed);
    CHECK(cora_is_null(cora_gather(loop, f, 2)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ESTALE);
    CHECK(cora_is_null(cora_gather(closed, f, 1)));
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
    CHECK(cora_is_null(cora_gather((cora_loop){ 0 }, f, 1)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ESTALE);
    f[1] = (cora_future){ 0 };
    cora_future all = cora_gather(loop, f, 2);
    CHECK(cora_is_null(all));
    CHECK(cora_is_error(cora_result(all)));
    CHECK(!cora_cancel(all));
    f[1] = (cora_future){ f[0].bits + 1 };
    CHECK(cora_is_null(cora_gather(loop, f, 2)));
    cora_future_print(f[0], text, sizeof text);
    CHECK_TEXT(text, "<Future pending>");
    virtual_loop_end(loop);
}

static void *gather_here(void *argument)
{
    cora_future *f = argument;
    CHECK(cora_is_null(cora_gather(cora_future_loop(f[0]), f, 1)));
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
    return NULL;
}

TEST(other_threads, "another thread's call is refused")
{
    cora_loop loop = virtual_loop_new();
    cora_future f = cora_future_new(loop);
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, gather_here, &f), 0);
    pthread_join(thread, NULL);
    virtual_loop_end(loop);
}

TEST(printed, "it tells that it is a gather, and what has become of it")
{
    cora_loop loop = virtual_loop_new();
    cora_future f = cora_future_new(loop);
    cora_future all = cora_gather(loop, &f, 1);
    char text[200];
    cora_future_print(all, text, sizeof text);
    CHECK_TEXT(text, "<_GatheringFuture pending>");
    cora_set_result(f, cora_from(7));
    tick(loop);
    cora_future_print(all, text, sizeof text);
    CHECK_TEXT(text, "<_GatheringFuture finished result=[7]>");
    virtual_loop_end(loop);
}

TEST(report_names_the_gather, "an error that nobody reads is reported as a gather's")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future f = cora_future_new(loop);
    cora_future all = cora_gather(loop, &f, 1);
    cora_set_exception(f, failure("lost"));
    tick(loop);
    CHECK_INT(reports.count, 0);
    cora_release(all);
    tick(loop);
    CHECK_INT(reports.count, 1); /* the member's error is the gather's: read */
    CHECK_TEXT(reports.message, "_GatheringFuture exception was never retrieved");
    CHECK_TEXT(reports.error, "Exception: lost");
    CHECK(cora_same(reports.future, all));
    CHECK_TEXT(reports.place.function, __func__);
    virtual_loop_end(loop);
    CHECK_INT(reports.count, 1);
}

/* ---- cancelling ---- */

TEST(cancel,
     "cancelling it cancels each member; it then fails with Cancelled, and is not cancelled")
{
    cora_loop loop = virtual_loop_new();
    cora_future f[3];
    make_futures(loop, f, 3);
    cora_future all = cora_gather(loop, f, 3);
    cora_set_result(f[1], cora_from(1));
    CHECK(cora_cancel_with(all, "enough"));
    CHECK(cora_cancelled(f[0]));
    CHECK(!cora_cancelled(f[1]));
    CHECK(cora_cancelled(f[2]));
    CHECK(!cora_done(all));   /* but in the next tick */
    CHECK(!cora_cancel(all)); /* there is nothing left to cancel */
    tick(loop);
    CHECK(cora_done(all));
    CHECK(!cora_cancelled(all));
    CHECK_TEXT(outcome(all), "CancelledError: enough");
    CHECK(!cora_cancel(all));
    virtual_loop_end(loop);
}

TEST(cancel_with_exceptions, "return_exceptions does not make a list of it when it is cancelled")
{
    cora_loop loop = virtual_loop_new();
    cora_future f[3];
    make_futures(loop, f, 3);
    cora_future all = cora_gather(loop, f, 3, .return_exceptions = true);
    cora_set_exception(f[0], failure("a"));
    CHECK(cora_cancel_with(all, "enough"));
    tick(loop);
    CHECK(!cora_cancelled(all));
    CHECK_TEXT(outcome(all), "CancelledError: enough");
    virtual_loop_end(loop);
}

TEST(message_of_the_last, "with return_exceptions the error is what the last member says")
{
    cora_loop loop = virtual_loop_new();
    cora_future f[2];
    make_futures(loop, f, 2);
    cora_future all = cora_gather(loop, f, 2, .return_exceptions = true);
    cora_set_result(f[1], cora_from(1)); /* which was not cancelled: no message */
    CHECK(cora_cancel_with(all, "enough"));
    tick(loop);
    CHECK_TEXT(outcome(all), "CancelledError");
    CHECK(!cora_cancelled(all));
    virtual_loop_end(loop);
}

TEST(order_of_cancels, "the members are cancelled in the order of the array")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future f[3];
    make_futures(loop, f, 3);
    cora_add_done_callback(f[2], cora_partial(note_done, &notes, "first"));
    cora_add_done_callback(f[0], cora_partial(note_done, &notes, "second"));
    cora_add_done_callback(f[1], cora_partial(note_done, &notes, "third"));
    cora_future all = cora_gather(loop, ((cora_future[]){ f[2], f[0], f[2], f[1] }), 4);
    CHECK(cora_cancel(all));
    tick(loop);
    CHECK_TEXT(notes.text, "first second third");
    CHECK(is_error(all, CORA_ECANCELLED));
    virtual_loop_end(loop);
}

TEST(cancel_too_late,
     "when all members are done and only their callbacks are pending, there is nothing to cancel")
{
    cora_loop loop = virtual_loop_new();
    cora_future f[2];
    make_futures(loop, f, 2);
    cora_future all = cora_gather(loop, f, 2);
    cora_set_result(f[0], cora_from(1));
    cora_set_result(f[1], cora_from(2));
    CHECK(!cora_done(all));
    CHECK(!cora_cancel(all));
    tick(loop);
    CHECK_TEXT(outcome(all), "[1, 2]");
    virtual_loop_end(loop);
}

/* Cancels the future that is bound to it, and notes whether that did anything. */
static void cancel_done(cora_args bound, cora_future done)
{
    (void)done;
    *cora_arg(bound, 1, int *) = cora_cancel(cora_arg_future(bound, 0));
}

TEST(cancelled_by_a_member, "a member's done-callback may cancel the gather, before it has counted")
{
    cora_loop loop = virtual_loop_new();
    cora_future f[3], all, late;
    int cancelled = -1, too_late = -1;
    make_futures(loop, f, 3);
    cora_future to_come = cora_future_new(loop);
    all = cora_gather(loop, ((cora_future[]){ f[0], f[1] }), 2);
    cora_add_done_callback(f[0], cora_partial(cancel_done, all, &cancelled));
    late = cora_gather(loop, &f[2], 1);
    cora_add_done_callback(to_come, cora_partial(cancel_done, late, &too_late));
    cora_set_result(f[0], cora_from(1));
    cora_set_result(to_come, cora_from(1)); /* its callback runs while f[2]'s is pending */
    cora_set_result(f[2], cora_from(1));
    tick(loop);
    CHECK_INT(cancelled, 1);
    CHECK_INT(too_late, 0);
    CHECK_TEXT(outcome(late), "[1]");
    tick(loop);
    CHECK(is_error(all, CORA_ECANCELLED));
    virtual_loop_end(loop);
}

TEST(cancel_of_a_failed_gather_is_no_reading,
     "cancelling one that has failed does nothing: its error is still to be read")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future f = cora_future_new(loop);
    cora_future all = cora_gather(loop, &f, 1);
    cora_set_exception(f, failure("lost"));
    tick(loop);
    CHECK(!cora_cancel(all));
    virtual_loop_end(loop);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.error, "Exception: lost");
}

TEST(nested, "gathers of gathers give lists of lists, and pass a cancel down to every leaf")
{
    cora_loop loop = virtual_loop_new();
    cora_future f[4];
    make_futures(loop, f, 4);
    cora_future halves[3] = { cora_gather(loop, f, 2), cora_gather(loop, f + 2, 2), f[3] };
    cora_future all = cora_gather(loop, halves, 3);
    for (int i = 0; i < 4; i++)
        cora_set_result(f[i], cora_from(i));
    cora_run_until_complete(loop, all);
    CHECK_TEXT(outcome(all), "[[0, 1], [2, 3], 3]");

    make_futures(loop, f, 4);
    cora_future more[3] = { cora_gather(loop, f, 2),
                            cora_gather(loop, f + 2, 2, .return_exceptions = true), f[3] };
    all = cora_gather(loop, more, 3);
    cora_set_result(f[0], cora_from(0));
    CHECK(cora_cancel_with(all, "down"));
    for (int i = 1; i < 4; i++) {
        CHECK(cora_cancelled(f[i]));
        CHECK_TEXT(outcome(f[i]), "CancelledError: down");
    }
    ticks(loop, 2);
    CHECK_TEXT(outcome(all), "CancelledError: down");
    CHECK_TEXT(outcome(more[1]), "CancelledError: down");
    CHECK(!cora_cancelled(more[0]));
    virtual_loop_end(loop);
}

TEST(nested_and_done, "a gather whose members are all gathers that are as good as done cannot be")
{
    cora_loop loop = virtual_loop_new();
    cora_future f[2];
    make_futures(loop, f, 2);
    cora_future one = cora_gather(loop, f, 2);
    cora_future all = cora_gather(loop, ((cora_future[]){ one, one, f[0] }), 3);
    cora_set_result(f[0], cora_from(1));
    cora_set_result(f[1], cora_from(2));
    CHECK(!cora_cancel(all));
    ticks(loop, 2);
    CHECK_TEXT(outcome(all), "[[1, 2], [1, 2], 1]");
    virtual_loop_end(loop);
}

TEST(diamonds, "a cancel comes to a gather on several ways, and to each leaf in the end")
{
    cora_loop loop = virtual_loop_new();
    cora_future layer[3], next[3];
    make_futures(loop, layer, 3);
    cora_future leaves[3] = { layer[0], layer[1], layer[2] };
    for (int depth = 0; depth < 6; depth++) {
        for (int i = 0; i < 3; i++)
            next[i] = cora_gather(loop, layer, 3, .return_exceptions = depth % 2 == 0);
        memcpy(layer, next, sizeof layer);
    }
    cora_set_result(leaves[1], cora_from(1));
    CHECK(cora_cancel(layer[2]));
    CHECK(cora_cancelled(leaves[0]));
    CHECK(cora_cancelled(leaves[2]));
    ticks(loop, 8);
    for (int i = 0; i < 3; i++)
        CHECK(cora_done(layer[i]));
    CHECK(is_error(layer[2], CORA_ECANCELLED));
    cora_exception(layer[0]);
    cora_exception(layer[1]);
    virtual_loop_end(loop);
}

/* ---- completed by somebody else ---- */

TEST(completed_from_outside, "it may be completed as any future; its members go on for themselves")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future f[3];
    make_futures(loop, f, 3);
    cora_future all = cora_gather(loop, f, 3);
    CHECK_INT(cora_set_result(all, cora_text("mine")), 0);
    CHECK_INT(cora_set_result(all, cora_text("again")), CORA_EINVALIDSTATE);
    CHECK(!cora_cancel(all));
    CHECK(!cora_done(f[0]));
    cora_set_result(f[0], cora_from(1));
    cora_set_exception(f[1], failure("b"));
    cora_cancel(f[2]);
    ticks(loop, 3);
    CHECK_TEXT(outcome(all), "\"mine\"");
    cora_future failed = cora_gather(loop, ((cora_future[]){ cora_future_new(loop) }), 1);
    CHECK_INT(cora_set_exception(failed, failure("mine")), 0);
    CHECK_TEXT(outcome(failed), "Exception: mine");
    virtual_loop_end(loop);
    CHECK_INT(reports.count, 0); /* what failed later counts as read */
}

TEST(completed_from_outside_in_the_same_tick,
     "a member that failed in the same tick before counts as read, too")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    for (int i = 0; i < 2; i++) {
        cora_future f[2];
        make_futures(loop, f, 2);
        cora_future all = cora_gather(loop, f, 2, .return_exceptions = i == 1);
        cora_set_exception(f[0], failure("a"));
        CHECK_INT(cora_set_result(all, cora_from(1)), 0);
        tick(loop);
        cora_cancel(f[1]);
        tick(loop);
    }
    virtual_loop_end(loop);
    CHECK_INT(reports.count, 0);
}

/* ---- operations ---- */

TEST(operations, "operations start in the next tick and run beside each other")
{
    cora_loop loop = virtual_loop_new();
    cora_awaitable naps[3] = { cora_sleep_result(3, cora_text("c")), cora_sleep(1),
                               cora_sleep_result(2, cora_text("b")) };
    cora_future all = cora_gather(loop, naps, 3);
    CHECK_INT(cora_live(loop), 4); /* no timer yet */
    cora_run_until_complete(loop, all);
    CHECK_REAL(cora_time(loop), START + 3, LATE);
    CHECK_TEXT(outcome(all), "[\"c\", None, \"b\"]");
    virtual_loop_end(loop);
}

TEST(ticks_of_operations, "a gather of an operation that needs one tick is done in the third")
{
    cora_loop loop = virtual_loop_new();
    cora_awaitable nap = cora_sleep(0);
    cora_future all = cora_gather(loop, &nap, 1);
    ticks(loop, 2);
    CHECK(!cora_done(all));
    tick(loop);
    CHECK(cora_done(all));
    virtual_loop_end(loop);
}

TEST(failing_operations, "an operation's own error ends it, or is in the list; the others go on")
{
    cora_loop loop = virtual_loop_new();
    cora_awaitable naps[2] = { cora_sleep_result(1, cora_from(1)), cora_sleep((double)NAN) };
    cora_future all = cora_gather(loop, naps, 2);
    cora_future tolerant = cora_gather(loop, naps, 2, .return_exceptions = true);
    cora_run_until_complete(loop, all);
    CHECK(is_error(all, CORA_EVALUE));
    CHECK_REAL(cora_time(loop), START, LATE);
    cora_value list = cora_run_until_complete(loop, tolerant);
    CHECK_REAL(cora_time(loop), START + 1, LATE);
    CHECK_INT(cora_as_int(cora_list_at(list, 0)), 1);
    CHECK(cora_error_is(cora_list_at(list, 1), CORA_EVALUE));
    virtual_loop_end(loop);
}

TEST(mixed, "futures and operations may be in one array; what it borrows is copied")
{
    cora_loop loop = virtual_loop_new();
    cora_future page = cora_future_new(loop), other = cora_future_new(loop);
    cora_future waited[2] = { page, other };
    cora_awaitable items[3] = { cora_awaitable_of(page), cora_sleep(1),
                                cora_wait(waited, 2, 2, CORA_FIRST_COMPLETED) };
    cora_future all = cora_gather(loop, items, 3);
    memset(items, 0, sizeof items);
    memset(waited, 0, sizeof waited);
    cora_call_later(loop, 0.5, cora_partial(arrive, page, 5));
    cora_value list = cora_run_until_complete(loop, all);
    CHECK_INT(cora_as_int(cora_list_at(list, 0)), 5);
    cora_value done = cora_list_at(cora_list_at(list, 2), 0);
    CHECK_INT(cora_list_size(done), 1);
    CHECK(cora_same(cora_as_future(cora_list_at(done, 0)), page));
    virtual_loop_end(loop);
}

TEST(stale_among_operations, "a member that is refused is found before any operation is started")
{
    cora_loop loop = virtual_loop_new();
    cora_awaitable items[2] = { cora_sleep(1), cora_awaitable_of((cora_future){ 12345 }) };
    CHECK(cora_is_null(cora_gather(loop, items, 2)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ESTALE);
    CHECK_INT(cora_live(loop), 0);
    virtual_loop_end(loop);
}

TEST(cancelled_before_the_start, "operations that are cancelled before they start never start")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_awaitable naps[2] = { cora_sleep(1), cora_sleep_result(2, cora_text("late")) };
    cora_future all = cora_gather(loop, naps, 2);
    cora_add_done_callback(all, cora_partial(note_outcome, &notes));
    CHECK(cora_cancel_with(all, "no need"));
    CHECK(cora_cancel_with(all, "at all")); /* they are not done yet: the latest message counts */
    ticks(loop, 2);
    CHECK(cora_done(all));
    CHECK_REAL(cora_time(loop), START, LATE);
    tick(loop);
    CHECK_TEXT(notes.text, "CancelledError: at all");
    CHECK(!cora_cancelled(all));
    virtual_loop_end(loop);
}

TEST(cancelled_at_work, "operations at work end with the tick after, their timers are taken back")
{
    cora_loop loop = virtual_loop_new();
    cora_awaitable naps[2] = { cora_sleep(1000), cora_sleep(2000) };
    cora_future all = cora_gather(loop, naps, 2);
    run_for(loop, 10);
    CHECK_INT(cora_live(loop), 5);
    CHECK(cora_cancel(all));
    cora_run_until_complete(loop, all);
    CHECK(is_error(all, CORA_ECANCELLED));
    CHECK_REAL(cora_time(loop), START + 10, 2 * LATE);
    ticks(loop, 2);
    CHECK_INT(cora_live(loop), 0);
    virtual_loop_end(loop);
}

TEST(operations_without_loop, "without a loop a gather of operations is null, and nothing starts",
     "test_tasks.CoroutineGatherTests.test_constructor_without_loop")
{
    cora_awaitable naps[2] = { cora_sleep(0), cora_sleep(0) };
    cora_loop loop = cora_current_loop();
    CHECK(strstr(cora_error_message(cora_last_error()), "no current event loop") != NULL);
    CHECK(cora_is_null(cora_gather(loop, naps, 2)));
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
}

static void gather_in_callback(cora_args bound)
{
    cora_awaitable naps[2] = { cora_sleep_result(1, cora_text("a")),
                               cora_sleep_result(2, cora_text("b")) };
    cora_future all = cora_gather(cora_running_loop(), naps, 2);
    CHECK(cora_same(cora_future_loop(all), cora_running_loop()));
    cora_add_done_callback(all, cora_partial(note_outcome, cora_arg(bound, 0, struct notes *)));
}

TEST(operations_in_a_callback, "in a callback the gather is of the running loop",
     "test_tasks.CoroutineGatherTests.test_constructor_use_running_loop")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_call_soon(loop, cora_partial(gather_in_callback, &notes));
    run_for(loop, 3);
    CHECK_TEXT(notes.text, "[\"a\", \"b\"]");
    CHECK_INT(cora_live(loop), 0); /* nobody has kept anything */
    virtual_loop_end(loop);
}

TEST(operations_with_current_loop, "with a loop that is set for the thread it is of that",
     "test_tasks.CoroutineGatherTests.test_constructor_use_global_loop")
{
    cora_loop loop = virtual_loop_new();
    cora_awaitable naps[2] = { cora_sleep_result(1, cora_text("a")),
                               cora_sleep_result(2, cora_text("b")) };
    cora_set_current_loop(loop);
    cora_future all = cora_gather(cora_current_loop(), naps, 2);
    CHECK(cora_same(cora_future_loop(all), loop));
    cora_run_until_complete(loop, all);
    CHECK_TEXT(outcome(all), "[\"a\", \"b\"]");
    cora_set_current_loop((cora_loop){ 0 });
    virtual_loop_end(loop);
}

TEST(duplicate_operations,
     "the future of an operation counts once; the same description given twice is two operations",
     "test_tasks.CoroutineGatherTests.test_duplicate_coroutines")
{
    cora_loop loop = virtual_loop_new();
    cora_future c = cora_ensure_future(loop, cora_sleep_result(0, cora_text("abc")));
    cora_future d = cora_ensure_future(loop, cora_sleep_result(0, cora_text("def")));
    cora_future all = cora_gather(loop, ((cora_future[]){ c, c, d, c }), 4);
    CHECK_INT(cora_live(loop), 3);
    cora_run_until_complete(loop, all);
    CHECK_TEXT(outcome(all), "[\"abc\", \"abc\", \"def\", \"abc\"]");
    cora_awaitable nap = cora_sleep_result(0, cora_text("abc"));
    size_t before = cora_live(loop);
    all = cora_gather(loop, ((cora_awaitable[]){ nap, nap }), 2);
    CHECK_INT(cora_live(loop), before + 3);
    cora_run_until_complete(loop, all);
    CHECK_TEXT(outcome(all), "[\"abc\", \"abc\"]");
    virtual_loop_end(loop);
}

/* ---- who keeps what ---- */

struct kept {
    cora_future f[3], all;
    int calls, drops;
};

static void make_three(cora_args bound)
{
    struct kept *kept = cora_arg(bound, 0, struct kept *);
    make_futures(cora_running_loop(), kept->f, 3);
    kept->all = cora_gather(cora_running_loop(), kept->f, 3, .return_exceptions = true);
}

static void complete_three(cora_args bound)
{
    struct kept *kept = cora_arg(bound, 0, struct kept *);
    cora_set_result(kept->f[0], cora_own(&kept->drops, &counted));
    cora_set_exception(kept->f[1], failure("b"));
    cora_cancel(kept->f[2]);
}

static void read_three(cora_args bound, cora_future done)
{
    struct kept *kept = cora_arg(bound, 0, struct kept *);
    kept->calls++;
    CHECK(cora_same(done, kept->all));
    CHECK_INT(cora_list_size(cora_result(done)), 3);
    for (int i = 0; i < 3; i++) {
        CHECK(cora_done(kept->f[i]));
        CHECK(!is_error(kept->f[i], CORA_ESTALE));
    }
    CHECK_TEXT(outcome(kept->f[1]), "Exception: b");
}

TEST(keeps_its_members, "what it was made of stays readable as long as itself, and goes with it")
{
    cora_loop loop = virtual_loop_new();
    struct kept kept = { .calls = 0 };
    run_in(loop, cora_partial(make_three, &kept));
    CHECK_INT(cora_add_done_callback(kept.all, cora_partial(read_three, &kept)), 0);
    run_in(loop, cora_partial(complete_three, &kept));
    ticks(loop, 2);
    CHECK_INT(kept.calls, 1);
    CHECK_INT(kept.drops, 1);
    CHECK_INT(cora_live(loop), 0);
    CHECK(is_error(kept.all, CORA_ESTALE));
    CHECK(is_error(kept.f[0], CORA_ESTALE));
    virtual_loop_end(loop);
}

static void keep_all(cora_args bound)
{
    make_three(bound);
    cora_keep(cora_arg(bound, 0, struct kept *)->all);
}

TEST(kept, "a gather that is kept keeps them until it is released")
{
    cora_loop loop = virtual_loop_new();
    struct kept kept = { .calls = 0 };
    run_in(loop, cora_partial(keep_all, &kept));
    run_in(loop, cora_partial(complete_three, &kept));
    ticks(loop, 5);
    CHECK_TEXT(outcome(kept.f[1]), "Exception: b");
    CHECK_INT(cora_live(loop), 4);
    CHECK_INT(cora_release(kept.all), 0);
    tick(loop);
    CHECK_INT(cora_live(loop), 0);
    CHECK_INT(kept.drops, 1);
    CHECK(is_error(kept.f[1], CORA_ESTALE));
    virtual_loop_end(loop);
}

TEST(forgotten, "a gather that nobody has looks after itself: it is given back when it is done")
{
    cora_loop loop = virtual_loop_new();
    struct kept kept = { .calls = 0 };
    run_in(loop, cora_partial(make_three, &kept));
    run_in(loop, cora_partial(complete_three, &kept));
    ticks(loop, 2);
    CHECK_INT(cora_live(loop), 0);
    CHECK_INT(kept.drops, 1);
    virtual_loop_end(loop);
}

/* ---- misuse ---- */

/* The loop of the test, a guest in a host where it is to be detached in the middle. */
static struct {
    cora_loop loop;
    cora_future f[4], all, other;
    int calls, drops;
} stage;

static void guest_on_stage(struct ev_loop **ret_host)
{
    *ret_host = ev_loop_new(EVFLAG_NOENV);
    CHECK(*ret_host != NULL);
    memset(&stage, 0, sizeof stage);
    stage.loop = cora_loop_attach(*ret_host, NULL);
    make_futures(stage.loop, stage.f, 4);
}

static void check_detached(struct ev_loop *host)
{
    CHECK(cora_is_closed(stage.loop));
    for (int i = 0; i < 4; i++)
        CHECK(is_error(stage.f[i], CORA_ESTALE));
    CHECK(!cora_cancel(stage.all));
    CHECK(cora_done(stage.all));
    CHECK(is_error(stage.all, CORA_ESTALE));
    CHECK_INT(ev_run(host, EVRUN_NOWAIT), 0);
    ev_loop_destroy(host);
}

static void detach_done(cora_args bound, cora_future done)
{
    (void)bound, (void)done;
    stage.calls++;
    CHECK_INT(cora_loop_detach(stage.loop), 0);
}

TEST(detached_by_a_member, "a member's done-callback may detach the guest, before it is counted")
{
    struct ev_loop *host;
    guest_on_stage(&host);
    cora_add_done_callback(stage.f[0], cora_partial(detach_done));
    stage.all = cora_gather(stage.loop, stage.f, 4);
    cora_add_done_callback(stage.all, cora_partial(count_done, &stage.calls));
    cora_set_result(stage.f[0], cora_own(&stage.drops, &counted));
    cora_set_exception(stage.f[1], failure("b"));
    ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(stage.calls, 1);
    CHECK_INT(stage.drops, 1);
    check_detached(host);
}

TEST(detached_by_its_callback, "its own done-callback may, while its members wait to be given back")
{
    struct ev_loop *host;
    guest_on_stage(&host);
    stage.all = cora_gather(stage.loop, stage.f, 4, .return_exceptions = true);
    stage.other = cora_gather(stage.loop, &stage.all, 1);
    cora_add_done_callback(stage.all, cora_partial(detach_done));
    for (int i = 0; i < 4; i++)
        cora_set_result(stage.f[i], cora_own(&stage.drops, &counted));
    ev_run(host, EVRUN_NOWAIT);
    ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(stage.calls, 1);
    ev_run(host, EVRUN_NOWAIT);
    cora_drop_temporaries();
    CHECK_INT(stage.drops, 4);
    check_detached(host);
}

static void detach_drop(void *unused)
{
    (void)unused;
    stage.drops++;
    cora_loop_detach(stage.loop);
}

static const cora_type detacher = { "detacher", detach_drop, NULL, 0 };

static void gather_and_forget(cora_args bound)
{
    (void)bound;
    make_futures(stage.loop, stage.f, 4);
    stage.all = cora_gather(stage.loop, stage.f, 4);
    stage.other = cora_gather(stage.loop, stage.f + 1, 3);
}

/* The first fails, so that the gather has no list: the results are dropped with the members. */
static void complete_with_detacher(cora_args bound)
{
    (void)bound;
    cora_set_exception(stage.f[0], failure("a"));
    cora_set_result(stage.f[1], cora_own(&stage, &detacher));
    cora_set_result(stage.f[2], cora_own(&stage, &detacher));
    cora_set_exception(stage.f[3], failure("d"));
}

TEST(detached_by_a_result, "a result's drop function may, in the middle of giving the members back")
{
    struct ev_loop *host;
    struct reports reports;
    guest_on_stage(&host);
    collect_reports(stage.loop, &reports);
    cora_call_soon(stage.loop, cora_partial(gather_and_forget));
    ev_run(host, EVRUN_NOWAIT);
    cora_call_soon(stage.loop, cora_partial(complete_with_detacher));
    for (int i = 0; i < 5; i++)
        ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(stage.drops, 2);
    check_detached(host);
}

TEST(detached_by_an_argument, "a bound argument's drop function may, when the callback is removed")
{
    struct ev_loop *host;
    guest_on_stage(&host);
    stage.all = cora_gather(stage.loop, stage.f, 4);
    cora_value argument = cora_own(&stage, &detacher);
    cora_add_done_callback(stage.all, cora_partial(count_done, argument));
    cora_add_done_callback(stage.all, cora_partial(count_done, argument));
    CHECK_INT(cora_remove_done_callback(stage.all, cora_partial(count_done, argument)), 2);
    cora_drop_temporaries();
    CHECK_INT(stage.drops, 1);
    CHECK_INT(stage.calls, 0);
    check_detached(host);
}

/* Touches everything on the stage. */
static void meddle_drop(void *unused)
{
    (void)unused;
    stage.drops++;
    cora_cancel(stage.other);
    cora_set_result(stage.f[2], cora_from(2));
    cora_set_exception(stage.f[3], failure("meddled"));
    cora_cancel(stage.all);
    cora_add_done_callback(stage.all, cora_partial(count_done, &stage.calls));
    cora_exception(cora_gather(stage.loop, stage.f, 4));
}

static const cora_type meddler = { "meddler", meddle_drop, NULL, 0 };

static void complete_with_meddler(cora_args bound)
{
    (void)bound;
    cora_set_result(stage.f[0], cora_own(&stage, &meddler));
    cora_add_done_callback(stage.f[1], cora_partial(nothing_done, cora_own(&stage, &meddler)));
    cora_cancel(stage.f[1]);
}

TEST(meddlers, "drop functions may complete and cancel what is being given back and counted")
{
    struct ev_loop *host;
    struct reports reports;
    guest_on_stage(&host);
    collect_reports(stage.loop, &reports);
    cora_call_soon(stage.loop, cora_partial(gather_and_forget));
    ev_run(host, EVRUN_NOWAIT);
    cora_call_soon(stage.loop, cora_partial(complete_with_meddler));
    for (int i = 0; i < 5; i++)
        ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(stage.drops, 2);
    CHECK(is_error(stage.all, CORA_ESTALE));
    cora_loop_detach(stage.loop);
    ev_loop_destroy(host);
}

/* Reports of errors that nobody has read come while futures are given back. */
static void meddle_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)bound, (void)loop;
    stage.calls++;
    if (stage.calls == 1)
        CHECK(cora_same(cora_keep(report->future), report->future));
    else
        cora_loop_detach(stage.loop);
}

static void fail_all(cora_args bound)
{
    (void)bound;
    for (int i = 0; i < 4; i++)
        cora_set_exception(stage.f[i], failure("lost"));
}

TEST(reported, "who is told of an error may keep that future after all, or detach the guest")
{
    struct ev_loop *host;
    guest_on_stage(&host);
    cora_set_exception_handler(stage.loop, cora_partial(meddle_report));
    cora_call_soon(stage.loop, cora_partial(gather_and_forget));
    ev_run(host, EVRUN_NOWAIT);
    cora_call_soon(stage.loop, cora_partial(fail_all));
    ev_run(host, EVRUN_NOWAIT);
    ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(stage.calls, 2); /* both gathers; their members' errors are read */
    check_detached(host);
}

TEST(closed_with_everything,
     "closing a loop drops gathers in every state, and leaves nothing behind")
{
    cora_loop loop = virtual_loop_new();
    int drops = 0;
    cora_future f[6];
    cora_awaitable items[3] = { cora_sleep(1), cora_sleep_result(2, cora_own(&drops, &counted)),
                                cora_wait(f, 3, 5, CORA_ALL_COMPLETED) };
    make_futures(loop, f, 6);
    cora_future started = cora_gather(loop, items, 3);
    ticks(loop, 2);
    cora_future waiting = cora_gather(loop, items, 3);
    cora_future all = cora_gather(loop, f, 6);
    cora_add_done_callback(all, cora_partial(nothing_done, cora_own(&drops, &counted)));
    cora_future tolerant = cora_gather(loop, ((cora_future[]){ all, started, waiting, all, f[0] }),
                                       5, .return_exceptions = true);
    cora_set_result(f[0], cora_own(&drops, &counted));
    CHECK(cora_cancel(waiting));
    cora_future done = cora_gather(loop, f, 1);
    CHECK(cora_done(done));
    CHECK(!cora_done(tolerant));
    virtual_loop_end(loop);
    cora_drop_temporaries();
    CHECK_INT(drops, 3);
    CHECK(is_error(all, CORA_ESTALE));
    CHECK(cora_done(tolerant));
}

/* ---- what it costs ---- */

/* Gathers of each other around one future, so deep; made in a callback: nobody holds them. */
struct tower {
    cora_future bottom, top;
    int depth, calls;
    bool return_exceptions;
};

static void stop_done(cora_args bound, cora_future done)
{
    count_done(bound, done);
    cora_exception(done);
    cora_stop(cora_running_loop());
}

static void tower_build(cora_args bound)
{
    struct tower *tower = cora_arg(bound, 0, struct tower *);
    tower->bottom = tower->top = cora_future_new(cora_running_loop());
    for (int i = 0; i < tower->depth; i++)
        tower->top = cora_gather(cora_running_loop(), &tower->top, 1,
                                 .return_exceptions = tower->return_exceptions);
    cora_add_done_callback(tower->top, cora_partial(stop_done, &tower->calls));
}

static void tower_start(struct tower *tower, cora_loop loop, bool return_exceptions)
{
    *tower =
        (struct tower){ .depth = harness_scale(100000), .return_exceptions = return_exceptions };
    run_in(loop, cora_partial(tower_build, tower));
}

static void *cancel_towers(void *unused)
{
    for (int i = 0; i < 2; i++) {
        cora_loop loop = cora_loop_new(NULL);
        struct tower tower;
        tower_start(&tower, loop, i == 1);
        CHECK(cora_cancel(tower.top));
        CHECK(cora_cancelled(tower.bottom));
        CHECK_INT(cora_add_done_callback(tower.top, cora_partial(stop_done, &tower.calls)), 0);
        CHECK_INT(cora_run_forever(loop), 0);
        ticks(loop, 2);
        CHECK_INT(tower.calls, 2);
        CHECK_INT(cora_live(loop), 0);
        CHECK_INT(cora_loop_close(loop), 0);
    }
    return unused;
}

TEST(deep_cancel, "a hundred thousand gathers of each other are cancelled in a stack of 64 KiB")
{
    harness_in_small_stack(cancel_towers);
}

static void *complete_tower(void *unused)
{
    cora_loop loop = cora_loop_new(NULL);
    struct tower tower;
    tower_start(&tower, loop, false);
    cora_keep(tower.top);
    cora_set_result(tower.bottom, cora_from(7));
    CHECK_INT(cora_run_forever(loop), 0);
    cora_value value = cora_result(tower.top);
    for (int i = 0; i < tower.depth; i++)
        value = cora_list_at(value, 0);
    CHECK_INT(cora_as_int(value), 7);
    cora_release(tower.top);
    ticks(loop, 2);
    CHECK_INT(cora_live(loop), 0);
    CHECK_INT(cora_loop_close(loop), 0);
    return unused;
}

TEST(deep_results, "and completed, which makes as many lists in each other")
{
    harness_in_small_stack(complete_tower);
}

static void *close_towers(void *unused)
{
    for (int i = 0; i < 2; i++) {
        cora_loop loop = cora_loop_new(NULL);
        struct tower tower;
        tower_start(&tower, loop, false);
        if (i == 1) /* it is only on its way up */
            cora_set_result(tower.bottom, cora_from(7));
        ticks(loop, 100);
        CHECK_INT(cora_loop_close(loop), 0);
        CHECK_INT(tower.calls, 0);
    }
    return unused;
}

TEST(deep_close, "and closed with their loop before they are done")
{
    harness_in_small_stack(close_towers);
}

static void *drop_tower(void *unused)
{
    cora_loop loop = cora_loop_new(NULL);
    struct tower tower;
    tower_start(&tower, loop, false);
    cora_keep(tower.top);
    cora_set_result(tower.bottom, cora_from(7));
    CHECK_INT(cora_run_forever(loop), 0);
    cora_value list = cora_copy(cora_result(tower.top));
    CHECK_INT(cora_loop_close(loop), 0);
    cora_drop(list);
    cora_drop_temporaries();
    return unused;
}

TEST(deep_results_are_dropped_without_recursion,
     "who keeps the outermost of those lists drops the others with it, in the same small stack")
{
    harness_in_small_stack(drop_tower);
}

enum way { COMPLETE, CANCEL, CANCEL_MEMBERS, DUPLICATES, WAYS };

/* Seconds that a gather of so many takes, from making it to its end. */
static double cost_once(enum way way, int count)
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future *f = malloc((size_t)count * sizeof *f);
    CHECK(f != NULL);
    make_futures(loop, f, way == DUPLICATES ? 2 : count);
    for (int i = 2; i < count && way == DUPLICATES; i++)
        f[i] = f[i % 2];
    double before = harness_processor_time();
    cora_future all =
        cora_gather(loop, f, (size_t)count, .return_exceptions = way == CANCEL_MEMBERS);
    if (way == CANCEL)
        CHECK(cora_cancel(all));
    for (int i = 0; i < count && way == CANCEL_MEMBERS; i++)
        CHECK(cora_cancel(f[i]));
    for (int i = 0; i < (way == DUPLICATES ? 2 : count) && (way == COMPLETE || way == DUPLICATES);
         i++)
        CHECK_INT(cora_set_result(f[i], cora_from(i)), 0);
    cora_run_until_complete(loop, all);
    CHECK(cora_done(all));
    cora_exception(all);
    CHECK_INT(cora_loop_close(loop), 0);
    double seconds = harness_processor_time() - before;
    free(f);
    return seconds;
}

static double cost(enum way way, int count, int times)
{
    double least = cost_once(way, count);
    while (--times > 0) {
        double again = cost_once(way, count);
        least = again < least ? again : least;
    }
    return least;
}

/*
 * Ten times as many take ten times as long and a bit, up to thirty times where the fewer ones fit
 * into the cache. With a square in it it would be a hundred, and more than the test's time.
 */
static void check_linear(enum way way)
{
    if (harness_sanitized() || harness_under_valgrind())
        SKIP("the time is measured without sanitizers and valgrind only");
    double few = cost(way, 100000, 5), many = cost(way, 1000000, 2);
    if (many > 80 * few)
        harness_fail(__FILE__, __LINE__, "100000 take %g s, 1000000 take %g s", few, many);
}

TEST_WITH_LIMIT(60, linear, "a gather of a million takes about ten times as long as of 100,000")
{
    check_linear(COMPLETE);
}

TEST_WITH_LIMIT(60, linear_cancel, "so does its cancel")
{
    check_linear(CANCEL);
}

TEST_WITH_LIMIT(60, linear_members, "so does the cancel of its members one by one")
{
    check_linear(CANCEL_MEMBERS);
}

TEST_WITH_LIMIT(60, linear_duplicates, "so does one of two futures that are in it again and again")
{
    check_linear(DUPLICATES);
}
