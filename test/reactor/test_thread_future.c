/*
 * Thread futures: results that any thread may wait for, complete and cancel.
 */
#include "harness.h"

#include <cora.h>

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* What a callback has seen. */
struct seen {
    int times;
    pthread_t thread;
    char text[100];
};

static void on_done(cora_args bound, cora_thread_future done)
{
    struct seen *seen = cora_arg(bound, 0, struct seen *);
    seen->times++;
    seen->thread = pthread_self();
    CHECK(cora_thread_future_done(done));
    cora_print(cora_thread_future_result(done, 0), seen->text, sizeof seen->text);
}

static bool is_error(cora_thread_future future, int code)
{
    return cora_error_code(cora_thread_future_exception(future, 0)) == code;
}

static const char *printed(cora_thread_future future)
{
    static char text[200];
    cora_thread_future_print(future, text, sizeof text);
    return text;
}

/* What another thread does with a future. */
struct deed {
    pthread_t thread;
    cora_thread_future future;
    void (*act)(cora_thread_future future);
};

static void *deed_run(void *argument)
{
    struct deed *deed = argument;
    deed->act(deed->future);
    return NULL;
}

static struct deed *deed_start(cora_thread_future future, void (*act)(cora_thread_future future))
{
    static struct deed deed;
    deed = (struct deed){ .future = future, .act = act };
    CHECK_INT(pthread_create(&deed.thread, NULL, deed_run, &deed), 0);
    return &deed;
}

static void deed_end(struct deed *deed)
{
    CHECK_INT(pthread_join(deed->thread, NULL), 0);
}

static void give_result(cora_thread_future future)
{
    cora_thread_future_set_result(future, cora_text("docked"));
}

static void give_error(cora_thread_future future)
{
    cora_thread_future_set_exception(future, cora_error(CORA_EOS, "adrift"));
}

static void cancel(cora_thread_future future)
{
    cora_thread_future_cancel(future);
}

TEST(callback_result, "a done-callback runs when the result is set, in the thread that sets it",
     "test_concurrent_futures.FutureTests.test_done_callback_with_result")
{
    struct seen seen = { 0 };
    cora_thread_future ferry = cora_thread_future_new();
    CHECK_INT(cora_thread_future_add_done_callback(ferry, cora_partial(on_done, &seen)), 0);
    struct deed *deed = deed_start(ferry, give_result);
    pthread_t thread = deed->thread;
    deed_end(deed);
    CHECK_INT(seen.times, 1);
    CHECK(pthread_equal(seen.thread, thread));
    CHECK_TEXT(seen.text, "\"docked\"");
    CHECK_INT(cora_thread_future_release(ferry), 0);
}

TEST(callback_error, "a done-callback sees the error that is set",
     "test_concurrent_futures.FutureTests.test_done_callback_with_exception")
{
    struct seen seen = { 0 };
    cora_thread_future ferry = cora_thread_future_new();
    cora_thread_future_add_done_callback(ferry, cora_partial(on_done, &seen));
    give_error(ferry);
    CHECK_INT(seen.times, 1);
    CHECK(strstr(seen.text, "adrift") != NULL);
    cora_thread_future_release(ferry);
}

TEST(callback_cancel, "a done-callback runs inside the cancel, and sees the future cancelled",
     "test_concurrent_futures.FutureTests.test_done_callback_with_cancel")
{
    struct seen seen = { 0 };
    cora_thread_future ferry = cora_thread_future_new();
    cora_thread_future_add_done_callback(ferry, cora_partial(on_done, &seen));
    CHECK(cora_thread_future_cancel(ferry));
    CHECK_INT(seen.times, 1);
    CHECK(cora_thread_future_cancelled(ferry));
    cora_thread_future_release(ferry);
}

static void fails(cora_args bound, cora_thread_future done)
{
    (void)bound, (void)done;
    cora_fail(cora_error(CORA_EVALUE, "overboard"));
}

TEST(callback_fails, "a callback that fails is reported, and those behind it run all the same",
     "test_concurrent_futures.FutureTests.test_done_callback_raises")
{
    struct seen seen = { 0 };
    cora_thread_future ferry = cora_thread_future_new();
    cora_thread_future_add_done_callback(ferry, cora_partial(fails));
    cora_thread_future_add_done_callback(ferry, cora_partial(on_done, &seen));
    give_result(ferry);
    CHECK_INT(seen.times, 1);
    cora_thread_future_release(ferry);
}

TEST(callback_order, "done-callbacks run in the order in which they were added")
{
    struct seen first = { 0 }, second = { 0 };
    cora_thread_future ferry = cora_thread_future_new();
    cora_thread_future_add_done_callback(ferry, cora_partial(on_done, &first));
    cora_thread_future_add_done_callback(ferry, cora_partial(on_done, &second));
    give_result(ferry);
    CHECK_INT(first.times + second.times, 2);
    cora_thread_future_release(ferry);
}

/* Adds a callback to one that is done in this way. */
static void add_late(void (*complete)(cora_thread_future future), const char *text)
{
    struct seen seen = { 0 };
    cora_thread_future ferry = cora_thread_future_new();
    complete(ferry);
    CHECK_INT(cora_thread_future_add_done_callback(ferry, cora_partial(on_done, &seen)), 0);
    CHECK_INT(seen.times, 1);
    CHECK(strstr(seen.text, text) != NULL);
    cora_thread_future_release(ferry);
}

TEST(callback_late, "a callback that is added to a finished future runs at once, in the call",
     "test_concurrent_futures.FutureTests.test_done_callback_already_successful")
{
    add_late(give_result, "docked");
}

TEST(callback_late_error, "a callback that is added to a failed future runs at once, in the call",
     "test_concurrent_futures.FutureTests.test_done_callback_already_failed")
{
    add_late(give_error, "adrift");
}

TEST(callback_late_cancel, "a callback that is added to a cancelled future runs at once",
     "test_concurrent_futures.FutureTests.test_done_callback_already_cancelled")
{
    add_late(cancel, "Cancelled");
}

TEST(print, "the printed form tells the state, and what it has finished with",
     "test_concurrent_futures.FutureTests.test_repr")
{
    cora_thread_future ferry = cora_thread_future_new(), other = cora_thread_future_new();
    CHECK_TEXT(printed(ferry), "<ThreadFuture pending>");
    cora_thread_future_set_running_or_notify_cancel(ferry);
    CHECK_TEXT(printed(ferry), "<ThreadFuture running>");
    give_result(ferry);
    CHECK_TEXT(printed(ferry), "<ThreadFuture finished result=\"docked\">");
    cora_thread_future_release(ferry);
    CHECK_TEXT(printed(ferry), "<ThreadFuture stale>");
    cora_thread_future_cancel(other);
    CHECK_TEXT(printed(other), "<ThreadFuture cancelled>");
    cora_thread_future_release(other);
}

TEST(cancel, "a pending future is cancelled, also twice; one that runs or is finished is not",
     "test_concurrent_futures.FutureTests.test_cancel")
{
    cora_thread_future ferry = cora_thread_future_new(), other = cora_thread_future_new();
    CHECK(cora_thread_future_cancel(ferry));
    CHECK(cora_thread_future_cancel(ferry));
    CHECK(!cora_thread_future_set_running_or_notify_cancel(ferry));
    CHECK(cora_thread_future_cancel(ferry));
    CHECK(is_error(ferry, CORA_ECANCELLED));
    CHECK(cora_thread_future_set_running_or_notify_cancel(other));
    CHECK(!cora_thread_future_cancel(other));
    CHECK(cora_thread_future_running(other));
    give_result(other);
    CHECK(!cora_thread_future_cancel(other));
    CHECK_TEXT(cora_as_text(cora_thread_future_result(other, 0)), "docked");
    cora_thread_future_release(ferry);
    cora_thread_future_release(other);
}

TEST(states, "a future is done when it is finished or cancelled, and running only in between",
     "test_concurrent_futures.FutureTests.test_done",
     "test_concurrent_futures.FutureTests.test_running")
{
    cora_thread_future ferry = cora_thread_future_new(), other = cora_thread_future_new();
    CHECK(!cora_thread_future_done(ferry) && !cora_thread_future_running(ferry));
    cora_thread_future_set_running_or_notify_cancel(ferry);
    CHECK(!cora_thread_future_done(ferry) && cora_thread_future_running(ferry));
    give_result(ferry);
    CHECK(cora_thread_future_done(ferry) && !cora_thread_future_running(ferry));
    cora_thread_future_cancel(other);
    CHECK(cora_thread_future_done(other) && !cora_thread_future_running(other));
    cora_thread_future_release(ferry);
    cora_thread_future_release(other);
}

TEST(result_now, "a result that is asked for without waiting is there, or is a TimeoutError",
     "test_concurrent_futures.FutureTests.test_result_with_timeout")
{
    cora_thread_future ferry = cora_thread_future_new(), other = cora_thread_future_new();
    CHECK(is_error(ferry, CORA_ETIMEOUT));
    cora_thread_future_set_running_or_notify_cancel(ferry);
    CHECK(is_error(ferry, CORA_ETIMEOUT));
    give_error(ferry);
    CHECK(is_error(ferry, CORA_EOS));
    CHECK(is_error(other, CORA_ETIMEOUT));
    cora_thread_future_cancel(other);
    CHECK(is_error(other, CORA_ECANCELLED));
    CHECK_INT(cora_error_code(cora_thread_future_result(other, (double)NAN)), CORA_EVALUE);
    cora_thread_future_release(ferry);
    cora_thread_future_release(other);
}

TEST(result_waits, "who waits for a result wakes when another thread sets it",
     "test_concurrent_futures.FutureTests.test_result_with_success")
{
    cora_thread_future ferry = cora_thread_future_new();
    struct deed *deed = deed_start(ferry, give_result);
    CHECK_TEXT(cora_as_text(cora_thread_future_result(ferry, INFINITY)), "docked");
    deed_end(deed);
    cora_thread_future_release(ferry);
}

TEST(result_waits_cancel, "who waits for a result wakes when another thread cancels",
     "test_concurrent_futures.FutureTests.test_result_with_cancel")
{
    cora_thread_future ferry = cora_thread_future_new();
    struct deed *deed = deed_start(ferry, cancel);
    CHECK_INT(cora_error_code(cora_thread_future_result(ferry, 5)), CORA_ECANCELLED);
    deed_end(deed);
    cora_thread_future_release(ferry);
}

TEST(exception_waits, "who waits for an exception wakes when another thread sets one",
     "test_concurrent_futures.FutureTests.test_exception_with_success")
{
    cora_thread_future ferry = cora_thread_future_new();
    struct deed *deed = deed_start(ferry, give_error);
    CHECK_INT(cora_error_code(cora_thread_future_exception(ferry, INFINITY)), CORA_EOS);
    deed_end(deed);
    cora_thread_future_release(ferry);
}

TEST(timeout, "who waits in vain gets a TimeoutError when the time is over, and not before")
{
    cora_thread_future ferry = cora_thread_future_new();
    double before = harness_real_time();
    CHECK_INT(cora_error_code(cora_thread_future_result(ferry, 0.02)), CORA_ETIMEOUT);
    CHECK(harness_real_time() - before >= 0.02);
    cora_thread_future_release(ferry);
}

TEST(result_twice, "a second result is an InvalidStateError, and the first stays",
     "test_concurrent_futures.FutureTests.test_multiple_set_result")
{
    cora_thread_future ferry = cora_thread_future_new();
    CHECK_INT(cora_thread_future_set_result(ferry, cora_int(1)), 0);
    CHECK_INT(cora_thread_future_set_result(ferry, cora_int(2)), CORA_EINVALIDSTATE);
    CHECK_INT(cora_as_int(cora_thread_future_result(ferry, 0)), 1);
    cora_thread_future_release(ferry);
}

TEST(exception_twice, "a second error is an InvalidStateError, and the first stays",
     "test_concurrent_futures.FutureTests.test_multiple_set_exception")
{
    cora_thread_future ferry = cora_thread_future_new();
    CHECK_INT(cora_thread_future_set_exception(ferry, cora_int(1)), CORA_ETYPE);
    CHECK_INT(cora_thread_future_set_exception(ferry, cora_error(CORA_EOS, NULL)), 0);
    CHECK_INT(cora_thread_future_set_exception(ferry, cora_error(CORA_EVALUE, NULL)),
              CORA_EINVALIDSTATE);
    CHECK(is_error(ferry, CORA_EOS));
    cora_thread_future_release(ferry);
}

TEST(begins_twice, "work that is begun a second time is a RuntimeError")
{
    cora_thread_future ferry = cora_thread_future_new();
    CHECK(cora_thread_future_set_running_or_notify_cancel(ferry));
    CHECK(!cora_thread_future_set_running_or_notify_cancel(ferry));
    CHECK_INT(cora_last_error_code(), CORA_ERUNTIME);
    cora_thread_future_release(ferry);
}

TEST(stale, "a future that was released is stale: it counts as done, and reading it is an error")
{
    cora_thread_future ferry = cora_thread_future_new();
    CHECK(cora_same(cora_thread_future_keep(ferry), ferry));
    CHECK_INT(cora_thread_future_release(ferry), 0);
    CHECK(!cora_thread_future_done(ferry));
    CHECK_INT(cora_thread_future_release(ferry), 0);
    CHECK(cora_thread_future_done(ferry));
    CHECK(!cora_thread_future_cancel(ferry));
    CHECK_INT(cora_error_code(cora_thread_future_result(ferry, 0)), CORA_ESTALE);
    CHECK_INT(cora_thread_future_set_result(ferry, cora_int(1)), CORA_ESTALE);
    CHECK_INT(cora_thread_future_release(ferry), CORA_ESTALE);
    CHECK(cora_is_null(cora_thread_future_keep(ferry)));
}

static void count_drop(void *pointer)
{
    ++*(int *)pointer;
}

static const cora_type counted = { "counted", count_drop, NULL, 0 };

TEST(dropped, "callbacks of a future that is never done, and its result, are dropped once")
{
    int dropped = 0;
    struct seen seen = { 0 };
    cora_thread_future ferry = cora_thread_future_new(), other = cora_thread_future_new();
    cora_thread_future_add_done_callback(
        ferry, cora_partial(on_done, &seen, cora_own(&dropped, &counted)));
    cora_thread_future_set_result(other, cora_own(&dropped, &counted));
    cora_drop_temporaries();
    CHECK_INT(dropped, 0);
    cora_thread_future_release(ferry);
    cora_thread_future_release(other);
    CHECK_INT(dropped, 2);
    CHECK_INT(seen.times, 0);
}

static void release_it(cora_args bound, cora_thread_future done)
{
    (void)bound;
    cora_thread_future_release(done);
    CHECK(cora_thread_future_done(done));
}

TEST(release_inside, "a callback may release its future")
{
    cora_thread_future ferry = cora_thread_future_new();
    cora_thread_future_add_done_callback(ferry, cora_partial(release_it));
    give_result(ferry);
    CHECK_INT(cora_thread_future_release(ferry), CORA_ESTALE);
}
