/*
 * Futures: a result that is not there yet, completed once; its callbacks run from the loop, in the
 * order added. Who keeps a future, and what becomes of it when nobody does.
 */
#include "helpers.h"

#include <errno.h>
#include <ev.h>
#include <pthread.h>
#include <sys/mman.h>

/* ---- completing and reading ---- */

TEST(result,
     "a future has no result until one is set; then it is done, not cancelled, and stays as it is",
     "test_futures.BaseFutureTests.test_result")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    CHECK(!cora_done(future));
    CHECK_INT(cora_error_code(cora_result(future)), CORA_EINVALIDSTATE);
    CHECK_INT(cora_error_code(cora_exception(future)), CORA_EINVALIDSTATE);
    CHECK_INT(cora_set_result(future, cora_int(42)), 0);
    CHECK(cora_done(future));
    CHECK(!cora_cancelled(future));
    CHECK_INT(cora_as_int(cora_result(future)), 42);
    CHECK(cora_is_nothing(cora_exception(future)));
    CHECK_INT(cora_set_result(future, cora_int(43)), CORA_EINVALIDSTATE);
    CHECK_INT(cora_set_exception(future, cora_error(CORA_EVALUE, "late")), CORA_EINVALIDSTATE);
    CHECK(!cora_cancel(future));
    CHECK(!cora_cancelled(future));
    CHECK_INT(cora_as_int(cora_result(future)), 42);
    cora_loop_close(loop);
}

TEST(exception, "a future that failed gives its error to whoever reads it, as result and exception")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    CHECK_INT(cora_set_exception(future, cora_error(-ENOENT, "config")), 0);
    CHECK(cora_done(future));
    CHECK(!cora_cancelled(future));
    CHECK_INT(cora_error_code(cora_result(future)), -ENOENT);
    CHECK_TEXT(cora_error_message(cora_exception(future)),
               "[Errno 2] No such file or directory: config");
    CHECK_INT(cora_set_result(future, cora_int(1)), CORA_EINVALIDSTATE);
    CHECK_INT(cora_set_exception(future, cora_error(CORA_EVALUE, "late")), CORA_EINVALIDSTATE);
    CHECK_INT(cora_error_code(cora_result(future)), -ENOENT);
    cora_loop_close(loop);
}

TEST(exception_of_a_kind, "a kind of error alone is an error without a message",
     "test_futures.BaseFutureTests.test_exception_class")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    CHECK_INT(cora_set_exception(future, cora_error(CORA_ERUNTIME, NULL)), 0);
    CHECK_INT(cora_error_code(cora_exception(future)), CORA_ERUNTIME);
    CHECK_TEXT(cora_error_message(cora_exception(future)), "");
    cora_loop_close(loop);
}

TEST(exception_that_is_none, "an exception that is no error is refused, and the future is pending")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    CHECK_INT(cora_set_exception(future, cora_int(5)), CORA_ETYPE);
    CHECK_INT(cora_set_exception(future, cora_nothing()), CORA_ETYPE);
    CHECK(!cora_done(future));
    CHECK_INT(cora_set_result(future, cora_nothing()), 0);
    CHECK_INT(cora_set_exception(future, cora_int(5)), CORA_EINVALIDSTATE);
    cora_loop_close(loop);
}

TEST(list_as_result, "a list that is the result comes out whole, not as its values",
     "test_futures.BaseFutureTests.test_future_stop_iteration_args")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    cora_value pair[2] = { cora_int(1), cora_int(2) };
    struct notes notes = { "" };
    cora_set_result(future, cora_list(pair, 2));
    CHECK_INT(cora_list_size(cora_result(future)), 2);
    cora_when_done(future, cora_partial(note_outcome, &notes));
    tick(loop);
    CHECK_TEXT(notes.text, "[1, 2]");
    cora_loop_close(loop);
}

TEST(error_as_result, "an error may be a result like any value: the future has not failed then")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future future = cora_future_new(loop);
    CHECK_INT(cora_set_result(future, cora_error(CORA_ELOOKUP, "a value")), 0);
    CHECK(cora_is_nothing(cora_exception(future)));
    CHECK_INT(cora_error_code(cora_result(future)), CORA_ELOOKUP);
    cora_loop_close(loop);
    CHECK_INT(reports.count, 0);
}

TEST(result_keeps_a_reference, "a future keeps its result, and drops it once, with itself")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    int drops = 0;
    cora_set_result(future, cora_own(&drops, &counted));
    cora_drop_temporaries();
    ticks(loop, 3);
    CHECK_INT(drops, 0);
    CHECK(cora_as_pointer(cora_result(future)) == &drops);
    CHECK_INT(cora_release(future), 0);
    tick(loop);
    CHECK_INT(drops, 1);
    cora_loop_close(loop);
    CHECK_INT(drops, 1);
}

TEST(refused_results_are_not_kept, "a result that is refused is dropped with the temporary")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    int drops = 0;
    cora_set_result(future, cora_int(1));
    CHECK_INT(cora_set_result(future, cora_own(&drops, &counted)), CORA_EINVALIDSTATE);
    cora_drop_temporaries();
    CHECK_INT(drops, 1);
    cora_loop_close(loop);
}

/* ---- cancelling ---- */

TEST(cancel,
     "a cancel is there at once: cancelled and done, Cancelled for readers, refused to completers, "
     "and a second one has nothing to cancel",
     "test_futures.BaseFutureTests.test_cancel")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    CHECK(cora_cancel(future));
    CHECK(cora_cancelled(future));
    CHECK(cora_done(future));
    CHECK_INT(cora_error_code(cora_result(future)), CORA_ECANCELLED);
    CHECK_INT(cora_error_code(cora_exception(future)), CORA_ECANCELLED);
    CHECK_INT(cora_set_result(future, cora_int(1)), CORA_EINVALIDSTATE);
    CHECK_INT(cora_set_exception(future, cora_error(CORA_EVALUE, "late")), CORA_EINVALIDSTATE);
    CHECK(!cora_cancel(future));
    cora_loop_close(loop);
}

TEST(cancel_message, "the message of a cancel is in the Cancelled error; without one there is none",
     "test_futures.BaseFutureTests.test_future_cancel_message_getter")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future silent = cora_future_new(loop), future = cora_future_new(loop);
    cora_cancel(silent);
    CHECK_TEXT(cora_error_message(cora_result(silent)), "");
    CHECK(cora_cancel_with(future, "the user is gone"));
    cora_value outcome = cora_run_until_complete(loop, future);
    CHECK_INT(cora_error_code(outcome), CORA_ECANCELLED);
    CHECK_TEXT(cora_error_message(outcome), "the user is gone");
    CHECK_TEXT(cora_error_message(cora_result(future)), "the user is gone");
    cora_loop_close(loop);
}

TEST(cancel_message_stays, "a cancel that comes too late does not change the message")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    cora_cancel_with(future, "first");
    CHECK(!cora_cancel_with(future, "second"));
    CHECK_TEXT(cora_error_message(cora_result(future)), "first");
    cora_loop_close(loop);
}

TEST(cancelled_error_set, "a future that failed with a Cancelled error was not cancelled itself")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    CHECK_INT(cora_set_exception(future, cora_error(CORA_ECANCELLED, "%s", "elsewhere")), 0);
    CHECK(!cora_cancelled(future));
    CHECK_INT(cora_error_code(cora_result(future)), CORA_ECANCELLED);
    CHECK_INT(cora_error_code(cora_exception(future)), CORA_ECANCELLED);
    cora_loop_close(loop);
}

/* ---- which loop ---- */

TEST(no_current_loop, "without a current loop no future is made, and the error says why",
     "test_futures.BaseFutureTests.test_constructor_without_loop")
{
    cora_future future = cora_future_new(cora_current_loop());
    CHECK(cora_is_null(future));
    CHECK_INT(cora_error_code(cora_result(future)), CORA_ESTALE);
    CHECK(cora_is_null(cora_current_loop()));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ERUNTIME);
    CHECK_TEXT(cora_error_message(cora_last_error()),
               "There is no current event loop in this thread");
}

static cora_future made;

static void make(cora_args bound)
{
    (void)bound;
    made = cora_future_new(cora_current_loop());
    CHECK(cora_same(cora_future_loop(made), cora_running_loop()));
}

TEST(running_loop, "in a callback the current loop is the one that runs it",
     "test_futures.BaseFutureTests.test_constructor_use_running_loop")
{
    cora_loop loop = cora_loop_new(NULL), other = cora_loop_new(NULL);
    cora_set_current_loop(other);
    run_in(loop, cora_partial(make));
    CHECK(cora_same(cora_future_loop(made), loop));
    cora_set_current_loop((cora_loop){ 0 });
    cora_loop_close(other);
    cora_loop_close(loop);
}

TEST(thread_loop, "outside of callbacks the current loop is the one that was set for the thread",
     "test_futures.BaseFutureTests.test_constructor_use_global_loop")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_set_current_loop(loop);
    cora_future future = cora_future_new(cora_current_loop());
    CHECK(cora_same(cora_future_loop(future), loop));
    cora_set_current_loop((cora_loop){ 0 });
    cora_loop_close(loop);
}

TEST(two_loops, "futures of two loops in one thread complete and call back independently")
{
    cora_loop one = cora_loop_new(NULL), two = cora_loop_new(NULL);
    cora_future first = cora_future_new(one), second = cora_future_new(two);
    struct notes notes = { "" };
    cora_add_done_callback(first, cora_partial(note_done, &notes, "one"));
    cora_add_done_callback(second, cora_partial(note_done, &notes, "two"));
    cora_set_result(second, cora_int(2));
    cora_set_result(first, cora_int(1));
    tick(one);
    CHECK_TEXT(notes.text, "one");
    cora_loop_close(one);
    CHECK_INT(cora_error_code(cora_result(first)), CORA_ESTALE);
    tick(two);
    CHECK_TEXT(notes.text, "one two");
    CHECK_INT(cora_as_int(cora_result(second)), 2);
    cora_loop_close(two);
}

static void complete_elsewhere(cora_args bound, cora_future done)
{
    cora_set_result(cora_arg_future(bound, 0), cora_result(done));
}

TEST(two_loops_chained,
     "a callback of one loop completes a future of another, which calls back there")
{
    cora_loop one = cora_loop_new(NULL), two = cora_loop_new(NULL);
    cora_future first = cora_future_new(one), second = cora_future_new(two);
    struct notes notes = { "" };
    cora_add_done_callback(first, cora_partial(complete_elsewhere, second));
    cora_add_done_callback(second, cora_partial(note_outcome, &notes));
    cora_set_result(first, cora_int(7));
    tick(one);
    CHECK(cora_done(second));
    CHECK_TEXT(notes.text, "");
    tick(two);
    CHECK_TEXT(notes.text, "7");
    cora_loop_close(one);
    cora_loop_close(two);
}

/* ---- null, stale and foreign handles ---- */

TEST(null_future,
     "a null future is not done; reading it gives the error that made it null, and every other "
     "call is refused",
     "test_futures.BaseFutureTests.test_uninitialized")
{
    const cora_future null = { 0 };
    int drops = 0, runs = 0;
    char text[100];
    CHECK(cora_is_error(cora_result(null)));
    CHECK(cora_is_error(cora_exception(null)));
    CHECK(!cora_done(null));
    CHECK(!cora_cancelled(null));
    CHECK(!cora_cancel(null));
    CHECK(cora_set_result(null, cora_int(1)) < 0);
    CHECK(cora_set_exception(null, cora_error(CORA_EVALUE, "x")) < 0);
    CHECK(cora_add_done_callback(null,
                                 cora_partial(count_done, &runs, cora_own(&drops, &counted))) < 0);
    cora_drop_temporaries();
    CHECK_INT(drops, 1);
    CHECK_INT(cora_remove_done_callback(null, cora_partial(count_done, &runs)), 0);
    CHECK(cora_is_null(cora_keep(null)));
    CHECK(cora_release(null) < 0);
    CHECK(cora_future_print(null, text, sizeof text) > 0);
    CHECK(cora_is_null(cora_when_done(null, cora_partial(count_done, &runs))));
}

TEST(null_future_loop, "asked for its loop, a null future says that it could not be made",
     "test_futures.BaseFutureInheritanceTests.test_inherit_without_calling_super_init")
{
    CHECK(cora_is_null(cora_future_loop((cora_future){ 0 })));
    CHECK(cora_is_error(cora_last_error()));
}

TEST(null_future_error,
     "what could not be made for a closed loop says so at the end, when it is read")
{
    cora_loop loop = cora_loop_new(NULL);
    struct notes notes = { "" };
    cora_loop_close(loop);
    cora_future future = cora_future_new(loop);
    CHECK(cora_is_null(future));
    cora_add_done_callback(future, cora_partial(note_outcome, &notes));
    CHECK_INT(cora_error_code(cora_result(future)), CORA_ERUNTIME);
    CHECK_TEXT(cora_error_message(cora_result(future)), "Event loop is closed");
}

static void complete_made(cora_args bound)
{
    (void)bound;
    made = cora_future_new(cora_running_loop());
    cora_set_result(made, cora_int(5));
    CHECK_INT(cora_as_int(cora_result(made)), 5);
}

TEST(stale_future,
     "a stale handle counts as done, was not cancelled, and everything else is a StaleHandle")
{
    cora_loop loop = cora_loop_new(NULL);
    int drops = 0, runs = 0;
    char text[100];
    run_in(loop, cora_partial(complete_made));
    CHECK(cora_done(made));
    CHECK(!cora_cancelled(made));
    CHECK(!cora_cancel(made));
    CHECK_INT(cora_error_code(cora_result(made)), CORA_ESTALE);
    CHECK_INT(cora_error_code(cora_exception(made)), CORA_ESTALE);
    CHECK(cora_error_is(cora_result(made), CORA_ERUNTIME));
    CHECK_INT(cora_set_result(made, cora_int(6)), CORA_ESTALE);
    CHECK_INT(cora_set_exception(made, cora_error(CORA_EVALUE, "late")), CORA_ESTALE);
    CHECK_INT(
        cora_add_done_callback(made, cora_partial(count_done, &runs, cora_own(&drops, &counted))),
        CORA_ESTALE);
    cora_drop_temporaries();
    CHECK_INT(drops, 1);
    CHECK(cora_is_null(cora_when_done(made, cora_partial(count_done, &runs))));
    CHECK_INT(cora_remove_done_callback(made, cora_partial(count_done, &runs)), 0);
    CHECK(cora_is_null(cora_keep(made)));
    CHECK_INT(cora_release(made), CORA_ESTALE);
    CHECK(cora_is_null(cora_future_loop(made)));
    CHECK(cora_future_print(made, text, sizeof text) > 0);
    ticks(loop, 2);
    CHECK_INT(runs, 0);
    cora_loop_close(loop);
}

TEST(stale_after_close,
     "when a loop is closed, all its futures are stale, and callbacks are dropped")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future pending = cora_future_new(loop), done = cora_future_new(loop);
    int drops = 0, runs = 0;
    for (int i = 0; i < 3; i++)
        cora_add_done_callback(pending,
                               cora_partial(count_done, &runs, cora_own(&drops, &counted)));
    for (int i = 0; i < 3; i++)
        cora_add_done_callback(done, cora_partial(count_done, &runs, cora_own(&drops, &counted)));
    cora_set_result(done, cora_int(1));
    cora_add_done_callback(done, cora_partial(count_done, &runs, cora_own(&drops, &counted)));
    cora_drop_temporaries();
    CHECK_INT(drops, 0);
    cora_loop_close(loop);
    CHECK_INT(drops, 7);
    CHECK_INT(runs, 0);
    CHECK(cora_done(pending));
    CHECK(!cora_cancelled(pending));
    CHECK(!cora_cancel(pending));
    CHECK_INT(cora_error_code(cora_result(pending)), CORA_ESTALE);
    CHECK_INT(cora_error_code(cora_result(done)), CORA_ESTALE);
    CHECK_INT(cora_set_result(pending, cora_int(1)), CORA_ESTALE);
    CHECK_INT(cora_release(done), CORA_ESTALE);
}

TEST(stale_names_the_future, "the error of a stale handle says what became of the future")
{
    cora_loop loop = cora_loop_new(NULL);
    run_in(loop, cora_partial(complete_made));
    CHECK(strstr(cora_error_message(cora_result(made)), "nobody kept it"));
    cora_set_debug(loop, true);
    run_in(loop, cora_partial(complete_made));
    CHECK(strstr(cora_error_message(cora_result(made)), "made in complete_made ("));
    cora_loop_close(loop);
}

TEST(other_handles, "a handle with other bits is no future, and refused")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    cora_handle handle = cora_call_soon(loop, cora_partial(nothing));
    CHECK(cora_set_result((cora_future){ handle.bits }, cora_int(1)) < 0);
    CHECK(cora_set_result((cora_future){ loop.bits }, cora_int(1)) < 0);
    for (int i = -64; i < 64; i++) {
        cora_future made_up = { future.bits + (uint64_t)(int64_t)i };
        if (i != 0)
            CHECK(cora_set_result(made_up, cora_int(1)) < 0);
    }
    CHECK(!cora_done(future));
    cora_loop_close(loop);
}

struct visitor {
    cora_loop loop;
    cora_future future;
    int drops;
};

static void *visit(void *pointer)
{
    struct visitor *visitor = pointer;
    cora_future future = visitor->future;
    CHECK(!cora_done(future));
    CHECK(!cora_cancelled(future));
    CHECK(!cora_cancel(future));
    CHECK_INT(cora_error_code(cora_result(future)), CORA_EWRONGTHREAD);
    CHECK(cora_error_is(cora_exception(future), CORA_ERUNTIME));
    CHECK_INT(cora_set_result(future, cora_int(1)), CORA_EWRONGTHREAD);
    CHECK_INT(cora_set_exception(future, cora_error(CORA_EVALUE, "x")), CORA_EWRONGTHREAD);
    CHECK_INT(cora_add_done_callback(
                  future, cora_partial(nothing_done, cora_own(&visitor->drops, &counted))),
              CORA_EWRONGTHREAD);
    cora_drop_temporaries();
    CHECK_INT(visitor->drops, 1);
    CHECK_INT(cora_remove_done_callback(future, cora_partial(nothing_done)), 0);
    CHECK(cora_is_null(cora_keep(future)));
    CHECK_INT(cora_release(future), CORA_EWRONGTHREAD);
    CHECK(cora_is_null(cora_future_loop(future)));
    CHECK(cora_is_null(cora_future_new(visitor->loop)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EWRONGTHREAD);
    return NULL;
}

TEST(other_thread,
     "from another thread every call is refused with WrongThread, and changes nothing")
{
    struct visitor visitor = { .loop = cora_loop_new(NULL) };
    pthread_t thread;
    visitor.future = cora_future_new(visitor.loop);
    cora_add_done_callback(visitor.future, cora_partial(nothing_done));
    CHECK_INT(pthread_create(&thread, NULL, visit, &visitor), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(cora_remove_done_callback(visitor.future, cora_partial(nothing_done)), 1);
    CHECK_INT(cora_set_result(visitor.future, cora_int(1)), 0);
    cora_loop_close(visitor.loop);
}

/* ---- printing ---- */

static const char *printed(cora_future future)
{
    static char text[600];
    int length = cora_future_print(future, text, sizeof text);
    CHECK_INT(length, strlen(text));
    return text;
}

TEST(print, "a future prints its state, outcome and callbacks, the first and the last of many",
     "test_futures.BaseFutureTests.test_future_repr")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop), finished = cora_future_new(loop),
                failed = cora_future_new(loop);
    CHECK_TEXT(printed(future), "<Future pending>");
    cora_add_done_callback(future, cora_partial(nothing_done, 1, "x"));
    CHECK_TEXT(printed(future), "<Future pending cb=[nothing_done(1, \"x\")]>");
    cora_add_done_callback(future, cora_partial(count_done, 2));
    CHECK_TEXT(printed(future), "<Future pending cb=[nothing_done(1, \"x\"), count_done(2)]>");
    cora_add_done_callback(future, cora_partial(count_done, 3));
    CHECK_TEXT(printed(future),
               "<Future pending cb=[nothing_done(1, \"x\"), <1 more>, count_done(3)]>");
    for (int i = 4; i <= 10; i++)
        cora_add_done_callback(future, cora_partial(count_done, i));
    CHECK_TEXT(printed(future),
               "<Future pending cb=[nothing_done(1, \"x\"), <8 more>, count_done(10)]>");
    cora_cancel(future);
    CHECK_TEXT(printed(future), "<Future cancelled>");
    cora_set_result(finished, cora_int(4));
    CHECK_TEXT(printed(finished), "<Future finished result=4>");
    cora_set_exception(failed, cora_error(CORA_ERUNTIME, "no"));
    CHECK_TEXT(printed(failed), "<Future finished exception=RuntimeError: no>");
    cora_result(failed);
    cora_loop_close(loop);
}

TEST(print_removed, "only callbacks that are still registered are printed")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    for (int i = 1; i <= 3; i++)
        cora_add_done_callback(future, cora_partial(nothing_done, i));
    cora_remove_done_callback(future, cora_partial(nothing_done, 1));
    CHECK_TEXT(printed(future), "<Future pending cb=[nothing_done(2), nothing_done(3)]>");
    cora_remove_done_callback(future, cora_partial(nothing_done, 3));
    CHECK_TEXT(printed(future), "<Future pending cb=[nothing_done(2)]>");
    cora_loop_close(loop);
}

TEST(print_cut, "a text too long is cut, and the length is that of the whole")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    char text[10] = "";
    CHECK_INT(cora_future_print(future, text, sizeof text), strlen("<Future pending>"));
    CHECK_TEXT(text, "<Future p");
    CHECK_INT(cora_future_print(future, NULL, 0), strlen("<Future pending>"));
    cora_loop_close(loop);
}

TEST(print_debug, "in debug mode a future also prints where it was created",
     "test_futures.BaseFutureTests.test_future_source_traceback")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    char expected[200];
    collect_reports(loop, &reports);
    cora_set_debug(loop, true);
    int line = __LINE__ + 1;
    cora_future future = cora_future_new(loop);
    snprintf(expected, sizeof expected, "<Future pending created at %s:%d>", __FILE__, line);
    CHECK_TEXT(printed(future), expected);
    cora_set_exception(future, cora_error(CORA_EVALUE, "unread"));
    cora_loop_close(loop);
    CHECK_TEXT(reports.place.file, __FILE__);
    CHECK_TEXT(reports.place.function, __func__);
    CHECK_INT(reports.place.line, line);
}

/* ---- done-callbacks: when and in which order ---- */

TEST(callbacks_on_result,
     "set_result runs no callback; the next tick runs them, in the order added",
     "test_futures.BaseFutureDoneCallbackTests.test_callbacks_invoked_on_set_result")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    struct notes notes = { "" };
    cora_add_done_callback(future, cora_partial(note_done, &notes, "ping"));
    cora_add_done_callback(future, cora_partial(note_done, &notes, "pong"));
    tick(loop);
    cora_set_result(future, cora_text("ball"));
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "ping pong");
    ticks(loop, 3);
    CHECK_TEXT(notes.text, "ping pong");
    cora_loop_close(loop);
}

TEST(callbacks_on_exception, "a callback of a future that failed can read its error",
     "test_futures.BaseFutureDoneCallbackTests.test_callbacks_invoked_on_set_exception")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    struct notes notes = { "" };
    cora_add_done_callback(future, cora_partial(note_outcome, &notes));
    cora_set_exception(future, cora_error(CORA_EVALUE, "bad"));
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "ValueError: bad");
    CHECK_INT(cora_error_code(cora_exception(future)), CORA_EVALUE);
    cora_loop_close(loop);
}

TEST(callbacks_on_cancel, "a cancel calls back in the next tick, with a future that is cancelled")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    struct notes notes = { "" };
    cora_add_done_callback(future, cora_partial(note_outcome, &notes));
    cora_add_done_callback(future, cora_partial(note_done, &notes, "and"));
    cora_cancel_with(future, "enough");
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "CancelledError: enough and");
    cora_loop_close(loop);
}

TEST(callback_of_a_done_future, "a callback that is added to a done future runs in the next tick")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    struct notes notes = { "" };
    cora_set_result(future, cora_int(3));
    cora_add_done_callback(future, cora_partial(note_outcome, &notes));
    cora_add_done_callback(future, cora_partial(note_done, &notes, "b"));
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "3 b");
    cora_add_done_callback(future, cora_partial(note_done, &notes, "c"));
    CHECK_TEXT(notes.text, "3 b");
    tick(loop);
    CHECK_TEXT(notes.text, "3 b c");
    cora_loop_close(loop);
}

static void add_another(cora_args bound, cora_future done)
{
    note_done(bound, done);
    cora_add_done_callback(done,
                           cora_partial(note_done, cora_arg(bound, 0, struct notes *), "another"));
}

TEST(callback_added_by_a_callback,
     "a callback that a callback adds to its future runs in the tick after, behind the others")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    struct notes notes = { "" };
    cora_add_done_callback(future, cora_partial(add_another, &notes, "first"));
    cora_add_done_callback(future, cora_partial(note_done, &notes, "second"));
    cora_set_result(future, cora_int(1));
    tick(loop);
    CHECK_TEXT(notes.text, "first second");
    tick(loop);
    CHECK_TEXT(notes.text, "first second another");
    cora_loop_close(loop);
}

TEST(order_in_the_queue,
     "callbacks join the ready queue where their futures were completed, all of one together")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future one = cora_future_new(loop), two = cora_future_new(loop);
    struct notes notes = { "" };
    cora_add_done_callback(one, cora_partial(note_done, &notes, "1a"));
    cora_add_done_callback(two, cora_partial(note_done, &notes, "2a"));
    cora_add_done_callback(one, cora_partial(note_done, &notes, "1b"));
    cora_add_done_callback(two, cora_partial(note_done, &notes, "2b"));
    cora_call_soon(loop, cora_partial(note, &notes, "before"));
    cora_set_result(two, cora_int(2));
    cora_call_soon(loop, cora_partial(note, &notes, "between"));
    cora_cancel(one);
    cora_call_soon(loop, cora_partial(note, &notes, "after"));
    cora_add_done_callback(two, cora_partial(note_done, &notes, "2c"));
    tick(loop);
    CHECK_TEXT(notes.text, "before 2a 2b between 1a 1b after 2c");
    cora_loop_close(loop);
}

TEST(order_with_threadsafe,
     "callbacks keep their order with what call_soon_threadsafe has queued before them")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future plain = cora_future_new(loop), counted_result = cora_future_new(loop),
                cancelled = cora_future_new(loop), done = cora_future_new(loop);
    struct notes notes = { "" };
    cora_set_result(done, cora_int(1));
    cora_add_done_callback(plain, cora_partial(note_done, &notes, "2"));
    cora_add_done_callback(counted_result, cora_partial(note_done, &notes, "4"));
    cora_add_done_callback(cancelled, cora_partial(note_done, &notes, "6"));
    cora_call_soon_threadsafe(loop, cora_partial(note, &notes, "1"));
    cora_set_result(plain, cora_int(1));
    cora_call_soon_threadsafe(loop, cora_partial(note, &notes, "3"));
    cora_set_result(counted_result, cora_text("x"));
    cora_call_soon_threadsafe(loop, cora_partial(note, &notes, "5"));
    cora_cancel(cancelled);
    cora_call_soon_threadsafe(loop, cora_partial(note, &notes, "7"));
    cora_add_done_callback(done, cora_partial(note_done, &notes, "8"));
    cora_call_soon_threadsafe(loop, cora_partial(note, &notes, "9"));
    tick(loop);
    CHECK_TEXT(notes.text, "1 2 3 4 5 6 7 8 9");
    cora_loop_close(loop);
}

static void complete_argument(cora_args bound)
{
    cora_set_result(cora_arg_future(bound, 0), cora_int(1));
}

TEST(completed_in_a_callback, "a future that is completed in a callback calls back a tick later")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    struct notes notes = { "" };
    cora_add_done_callback(future, cora_partial(note_done, &notes, "done"));
    cora_call_soon(loop, cora_partial(complete_argument, future));
    tick(loop);
    CHECK(cora_done(future));
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "done");
    cora_loop_close(loop);
}

TEST(same_callback_twice, "a callback that was added twice runs twice")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    int runs = 0;
    for (int i = 0; i < 3; i++)
        cora_add_done_callback(future, cora_partial(count_done, &runs));
    cora_set_result(future, cora_nothing());
    tick(loop);
    CHECK_INT(runs, 3);
    cora_loop_close(loop);
}

struct chain {
    cora_loop loop;
    int left;
};

static void next_link(cora_args bound, cora_future done)
{
    struct chain *chain = cora_arg(bound, 0, struct chain *);
    (void)done;
    if (chain->left-- == 0) {
        cora_stop(chain->loop);
        return;
    }
    cora_future next = cora_future_new(chain->loop);
    cora_add_done_callback(next, cora_partial(next_link, chain));
    cora_set_result(next, cora_int(1));
}

TEST(long_chain, "a chain of a million callbacks needs neither stack nor memory")
{
    struct chain chain = { .loop = cora_loop_new(NULL), .left = harness_scale(1000000) };
    cora_future first = cora_future_new(chain.loop);
    cora_add_done_callback(first, cora_partial(next_link, &chain));
    cora_set_result(first, cora_int(1));
    CHECK_INT(cora_run_forever(chain.loop), 0);
    CHECK_INT(chain.left, -1);
    CHECK_INT(cora_live(chain.loop), 1);
    cora_loop_close(chain.loop);
}

static void check_order(cora_args bound, cora_future done)
{
    int *next = cora_arg(bound, 0, int *);
    (void)done;
    CHECK_INT(cora_arg_int(bound, 1), *next);
    ++*next;
}

TEST(many_callbacks, "a hundred thousand callbacks of one future run in the order added")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    int next = 0, callbacks = harness_scale(100000);
    for (int i = 0; i < callbacks; i++)
        cora_add_done_callback(future, cora_partial(check_order, &next, i));
    cora_set_result(future, cora_int(1));
    tick(loop);
    CHECK_INT(next, callbacks);
    cora_loop_close(loop);
}

/* ---- done-callbacks: their arguments ---- */

static void check_arguments(cora_args bound, cora_future done)
{
    CHECK(cora_done(done));
    for (size_t i = 0; i < bound.count; i++)
        CHECK_INT(cora_arg_int(bound, i), i + 1);
    made = done;
}

static void check_no_arguments(cora_args bound, cora_future done)
{
    CHECK_INT(bound.count, 0);
    made = done;
}

TEST(arguments, "a callback gets its bound arguments, none to eight, and the future last")
{
    cora_loop loop = cora_loop_new(NULL);
    for (int round = 0; round < 3; round++) { /* the first callback, a further one, a late one */
        cora_future future = cora_future_new(loop);
        if (round == 1)
            cora_add_done_callback(future, cora_partial(nothing_done));
        if (round == 2)
            cora_set_result(future, cora_nothing());
        cora_add_done_callback(future, cora_partial(check_no_arguments));
        cora_add_done_callback(future, cora_partial(check_arguments, 1));
        cora_add_done_callback(future, cora_partial(check_arguments, 1, 2));
        cora_add_done_callback(future, cora_partial(check_arguments, 1, 2, 3));
        cora_add_done_callback(future, cora_partial(check_arguments, 1, 2, 3, 4));
        cora_add_done_callback(future, cora_partial(check_arguments, 1, 2, 3, 4, 5));
        cora_add_done_callback(future, cora_partial(check_arguments, 1, 2, 3, 4, 5, 6));
        cora_add_done_callback(future, cora_partial(check_arguments, 1, 2, 3, 4, 5, 6, 7));
        cora_add_done_callback(future, cora_partial(check_arguments, 1, 2, 3, 4, 5, 6, 7, 8));
        if (round < 2)
            cora_set_result(future, cora_nothing());
        made = (cora_future){ 0 };
        tick(loop);
        CHECK(cora_same(made, future));
    }
    cora_loop_close(loop);
}

static void check_eight(cora_args bound, cora_future done)
{
    CHECK_INT(bound.count, 8);
    CHECK_TEXT(cora_arg_text(bound, 0), "one");
    CHECK_INT(*cora_arg(bound, 7, int *), 0); /* dropped only afterwards */
    cora_as_int(cora_result(done));
}

TEST(eight_arguments_first, "also the first callback of a future may have eight counted arguments")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    int drops = 0;
    cora_add_done_callback(future, cora_partial(check_eight, "one", cora_textf("%d", 2), 3, 4.0,
                                                "five", future, loop, cora_own(&drops, &counted)));
    cora_set_result(future, cora_int(1));
    tick(loop);
    CHECK_INT(drops, 1);
    cora_loop_close(loop);
}

TEST(arguments_are_dropped_once,
     "bound arguments are dropped once: when called, first or further, early or late")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    int drops[4] = { 0 };
    for (int i = 0; i < 3; i++)
        cora_add_done_callback(future, cora_partial(nothing_done, cora_own(&drops[i], &counted)));
    cora_set_result(future, cora_int(1));
    cora_add_done_callback(future, cora_partial(nothing_done, cora_own(&drops[3], &counted)));
    cora_drop_temporaries();
    CHECK_INT(drops[0] + drops[1] + drops[2] + drops[3], 0);
    tick(loop);
    for (int i = 0; i < 4; i++)
        CHECK_INT(drops[i], 1);
    cora_loop_close(loop);
    for (int i = 0; i < 4; i++)
        CHECK_INT(drops[i], 1);
}

TEST(removed_arguments_are_dropped,
     "the arguments of a removed callback are dropped in the removal")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    int drops[3] = { 0 };
    for (int i = 0; i < 3; i++)
        cora_add_done_callback(future, cora_partial(nothing_done, cora_own(&drops[i], &counted)));
    cora_value second = cora_own(&drops[1], &counted);
    CHECK_INT(cora_remove_done_callback(future, cora_partial(nothing_done, second)), 0);
    cora_drop_temporaries();
    drops[1] = 0; /* that was another value around the same pointer */
    cora_add_done_callback(future,
                           cora_partial(nothing_done, &drops, cora_own(&drops[1], &counted)));
    cora_drop_temporaries();
    CHECK_INT(cora_remove_done_callback(future, cora_partial(nothing_done, &drops)), 0);
    CHECK_INT(drops[0] + drops[1] + drops[2], 0);
    cora_loop_close(loop);
    CHECK_INT(drops[0], 1);
    CHECK_INT(drops[1], 2);
    CHECK_INT(drops[2], 1);
}

TEST(arguments_removed_once, "removed once, by the very value, and called no more")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    int drops[2] = { 0 };
    cora_value values[2] = { cora_copy(cora_own(&drops[0], &counted)),
                             cora_copy(cora_own(&drops[1], &counted)) };
    for (int i = 0; i < 2; i++)
        cora_add_done_callback(future, cora_partial(nothing_done, values[i]));
    for (int i = 0; i < 2; i++)
        CHECK_INT(cora_remove_done_callback(future, cora_partial(nothing_done, values[i])), 1);
    cora_drop_temporaries();
    CHECK_INT(drops[0] + drops[1], 0); /* these references are the test's own */
    cora_drop(values[0]);
    cora_drop(values[1]);
    CHECK_INT(drops[0], 1);
    CHECK_INT(drops[1], 1);
    cora_set_result(future, cora_int(1));
    tick(loop);
    cora_loop_close(loop);
    CHECK_INT(drops[0], 1);
}

TEST(null_function, "a callback without a function is refused, and its arguments are dropped")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    cora_done_function none = NULL;
    int drops = 0;
    CHECK_INT(cora_add_done_callback(future, cora_partial(none, cora_own(&drops, &counted))),
              CORA_ETYPE);
    CHECK_INT(cora_add_done_callback(future, cora_partial(none)), CORA_ETYPE);
    cora_drop_temporaries();
    CHECK_INT(drops, 1);
    cora_set_result(future, cora_int(1));
    CHECK_INT(cora_add_done_callback(future, cora_partial(none, 1)), CORA_ETYPE);
    tick(loop);
    cora_loop_close(loop);
}

/* ---- done-callbacks: removing ---- */

TEST(remove_first, "a removed first callback does not run; removing it again is no harm",
     "test_futures.BaseFutureDoneCallbackTests.test_callbacks_remove_first_callback")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    struct notes notes = { "" };
    cora_add_done_callback(future, cora_partial(note_done, &notes, "1"));
    cora_add_done_callback(future, cora_partial(note_done, &notes, "2"));
    cora_add_done_callback(future, cora_partial(note_done, &notes, "3"));
    CHECK_INT(cora_remove_done_callback(future, cora_partial(note_done, &notes, "1")), 1);
    CHECK_INT(cora_remove_done_callback(future, cora_partial(note_done, &notes, "1")), 0);
    tick(loop);
    CHECK_TEXT(notes.text, "");
    cora_set_result(future, cora_text("foo"));
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "2 3");
    CHECK_TEXT(cora_as_text(cora_result(future)), "foo");
    cora_loop_close(loop);
}

TEST(remove_first_and_second, "of three callbacks the first two can be removed: the third runs",
     "test_futures.BaseFutureDoneCallbackTests.test_callbacks_remove_first_and_second_callback")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    struct notes notes = { "" };
    cora_add_done_callback(future, cora_partial(note_done, &notes, "1"));
    cora_add_done_callback(future, cora_partial(note_done, &notes, "2"));
    cora_add_done_callback(future, cora_partial(note_done, &notes, "3"));
    CHECK_INT(cora_remove_done_callback(future, cora_partial(note_done, &notes, "1")), 1);
    CHECK_INT(cora_remove_done_callback(future, cora_partial(note_done, &notes, "2")), 1);
    CHECK_INT(cora_remove_done_callback(future, cora_partial(note_done, &notes, "1")), 0);
    cora_set_result(future, cora_text("foo"));
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "3");
    cora_loop_close(loop);
}

TEST(remove_third, "of three callbacks the last can be removed: the others run in their order",
     "test_futures.BaseFutureDoneCallbackTests.test_callbacks_remove_third_callback")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    struct notes notes = { "" };
    cora_add_done_callback(future, cora_partial(note_done, &notes, "1"));
    cora_add_done_callback(future, cora_partial(note_done, &notes, "2"));
    cora_add_done_callback(future, cora_partial(note_done, &notes, "3"));
    CHECK_INT(cora_remove_done_callback(future, cora_partial(note_done, &notes, "3")), 1);
    CHECK_INT(cora_remove_done_callback(future, cora_partial(note_done, &notes, "3")), 0);
    cora_set_result(future, cora_text("foo"));
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "1 2");
    cora_loop_close(loop);
}

TEST(remove_equal, "a removal finds callbacks by function and arguments: numbers, texts, bytes and "
                   "lists by content, handles and pointers by identity")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop), other = cora_future_new(loop);
    cora_value items[2] = { cora_int(1), cora_text("x") };
    char text[] = "www.example.org", same[] = "www.example.org";
    int a = 0, b = 0;
    cora_add_done_callback(future, cora_partial(nothing_done, 3));
    cora_add_done_callback(future, cora_partial(nothing_done, text));
    cora_add_done_callback(future, cora_partial(nothing_done, cora_bytes("\0\1", 2)));
    cora_add_done_callback(future, cora_partial(nothing_done, cora_list(items, 2)));
    cora_add_done_callback(future, cora_partial(nothing_done, other, loop));
    cora_add_done_callback(future, cora_partial(nothing_done, &a));
    text[0] = 'x'; /* the text was copied */
    CHECK_INT(cora_remove_done_callback(future, cora_partial(nothing_done, 4)), 0);
    CHECK_INT(cora_remove_done_callback(future, cora_partial(nothing_done, 3, 3)), 0);
    CHECK_INT(cora_remove_done_callback(future, cora_partial(nothing_done)), 0);
    CHECK_INT(cora_remove_done_callback(future, cora_partial(count_done, 3)), 0);
    CHECK_INT(cora_remove_done_callback(future, cora_partial(nothing_done, 3.0)), 1);
    CHECK_INT(cora_remove_done_callback(future, cora_partial(nothing_done, text)), 0);
    CHECK_INT(cora_remove_done_callback(future, cora_partial(nothing_done, same)), 1);
    CHECK_INT(cora_remove_done_callback(future, cora_partial(nothing_done, cora_bytes("\0\2", 2))),
              0);
    CHECK_INT(cora_remove_done_callback(future, cora_partial(nothing_done, cora_bytes("\0\1", 2))),
              1);
    CHECK_INT(cora_remove_done_callback(future, cora_partial(nothing_done, cora_list(items, 1))),
              0);
    CHECK_INT(cora_remove_done_callback(future, cora_partial(nothing_done, cora_list(items, 2))),
              1);
    CHECK_INT(cora_remove_done_callback(future, cora_partial(nothing_done, future, loop)), 0);
    CHECK_INT(cora_remove_done_callback(future, cora_partial(nothing_done, other, loop)), 1);
    CHECK_INT(cora_remove_done_callback(future, cora_partial(nothing_done, &b)), 0);
    CHECK_INT(cora_remove_done_callback(future, cora_partial(nothing_done, &a)), 1);
    CHECK_TEXT(printed(future), "<Future pending>");
    cora_loop_close(loop);
}

TEST(remove_all_equal, "a removal takes all equal callbacks, says how many, and leaves the rest "
                       "in their order")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    struct notes notes = { "" };
    const char *words[] = { "a", "b", "a", "c", "a", "d", "a" };
    for (size_t i = 0; i < 7; i++)
        cora_add_done_callback(future, cora_partial(note_done, &notes, words[i]));
    CHECK_INT(cora_remove_done_callback(future, cora_partial(note_done, &notes, "a")), 4);
    cora_add_done_callback(future, cora_partial(note_done, &notes, "a"));
    cora_set_result(future, cora_int(1));
    tick(loop);
    CHECK_TEXT(notes.text, "b c d a");
    cora_loop_close(loop);
}

static void remove_next(cora_args bound, cora_future done)
{
    struct notes *notes = cora_arg(bound, 0, struct notes *);
    CHECK_INT(cora_remove_done_callback(done, cora_partial(note_done, notes, "next")), 0);
    add_note(notes, "remover");
}

TEST(remove_too_late, "once a future is done, nothing can be removed: an earlier callback of the "
                      "same completion does not stop a later one")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    struct notes notes = { "" };
    cora_add_done_callback(future, cora_partial(remove_next, &notes));
    cora_add_done_callback(future, cora_partial(note_done, &notes, "next"));
    cora_set_result(future, cora_int(1));
    CHECK_INT(cora_remove_done_callback(future, cora_partial(note_done, &notes, "next")), 0);
    tick(loop);
    CHECK_TEXT(notes.text, "remover next");
    cora_loop_close(loop);
}

/* ---- done-callbacks that fail ---- */

TEST(failing_callback,
     "a failing callback is reported with its arguments and future, and the next ones run")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    struct reports reports;
    struct notes notes = { "" };
    collect_reports(loop, &reports);
    cora_add_done_callback(future, cora_partial(note_done, &notes, "a"));
    int line = __LINE__ + 1;
    cora_add_done_callback(future, cora_partial(failing_done, 1, "x"));
    cora_add_done_callback(future, cora_partial(note_done, &notes, "b"));
    cora_set_result(future, cora_int(4));
    tick(loop);
    CHECK_TEXT(notes.text, "a b");
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Exception in callback failing_done(1, \"x\")");
    CHECK_TEXT(reports.error, "ValueError: wrong");
    CHECK(cora_same(reports.future, future));
    CHECK_INT(reports.place.line, line);
    cora_loop_close(loop);
}

TEST(failing_first_callback, "also the first callback of a future, and its only one, may fail")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future one = cora_future_new(loop), two = cora_future_new(loop);
    struct reports reports;
    int drops = 0;
    collect_reports(loop, &reports);
    cora_add_done_callback(one, cora_partial(failing_done));
    cora_add_done_callback(two, cora_partial(failing_done, 1, cora_own(&drops, &counted), 3));
    cora_set_result(one, cora_int(1));
    cora_set_result(two, cora_int(1));
    tick(loop);
    CHECK_INT(reports.count, 2);
    CHECK(cora_same(reports.future, two));
    CHECK_INT(drops, 1);
    CHECK_INT(cora_as_int(cora_result(one)), 1);
    cora_loop_close(loop);
}

static void remove_itself_and_fail(cora_args bound, cora_future done)
{
    int *drops = cora_arg(bound, 0, int *);
    cora_remove_done_callback(
        done, cora_partial(remove_itself_and_fail, drops, cora_arg_value(bound, 1)));
    CHECK_INT(*drops, 0);
    cora_fail(cora_error(CORA_ERUNTIME, "evil"));
}

TEST(removes_itself_and_fails,
     "a callback that removes itself, then fails, keeps its arguments until it is reported",
     "test_futures.BaseFutureDoneCallbackTests."
     "test_use_after_free_on_fut_callback_0_with_evil__getattribute__")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    collect_reports(loop, &reports);
    for (int further = 0; further < 2; further++) {
        cora_future future = cora_future_new(loop);
        int drops = 0;
        if (further)
            cora_add_done_callback(future, cora_partial(nothing_done));
        cora_add_done_callback(
            future, cora_partial(remove_itself_and_fail, &drops, cora_own(&drops, &counted)));
        CHECK_INT(cora_set_result(future, cora_int(1)), 0);
        tick(loop);
        CHECK_INT(drops, 1);
        CHECK_INT(reports.count, further + 1);
    }
    cora_loop_close(loop);
}

/* ---- contexts ---- */

static const cora_variable request = { "request", { NULL, { 0 } } };

static void take_request(cora_args bound, cora_future done)
{
    int *requests = cora_arg(bound, 0, int *);
    (void)done;
    *requests = *requests * 10 + (int)cora_as_int(cora_context_get(&request));
}

static void set_request(cora_args bound, cora_future done)
{
    (void)done;
    cora_context_set(&request, cora_arg_value(bound, 0));
}

TEST(context_is_copied,
     "each callback runs in a copy of the context that was current when it was added")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    int requests = 0;
    for (int i = 1; i <= 3; i++) {
        cora_context_set(&request, cora_int(i));
        cora_add_done_callback(future, cora_partial(take_request, &requests));
    }
    cora_context_set(&request, cora_int(8));
    cora_set_result(future, cora_int(1));
    cora_context_set(&request, cora_int(4));
    cora_add_done_callback(future, cora_partial(take_request, &requests));
    cora_context_set(&request, cora_int(9));
    tick(loop);
    CHECK_INT(requests, 1234);
    cora_loop_close(loop);
}

TEST(context_is_its_own,
     "what a callback sets reaches neither the next one, nor who completes the future")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    int requests = 0;
    cora_context_set(&request, cora_int(1));
    cora_add_done_callback(future, cora_partial(set_request, 7));
    cora_add_done_callback(future, cora_partial(take_request, &requests));
    cora_set_result(future, cora_int(1));
    tick(loop);
    CHECK_INT(requests, 1);
    CHECK_INT(cora_as_int(cora_context_get(&request)), 1);
    cora_loop_close(loop);
}

TEST(context_of_choice,
     "callbacks in a context of the program's choice share it: the next sees what one sets")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_context_set(&request, cora_int(1));
    cora_value context = cora_copy(cora_copy_context());
    for (int late = 0; late < 2; late++) {
        cora_future future = cora_future_new(loop);
        int requests = 0;
        if (late)
            cora_set_result(future, cora_int(1));
        cora_add_done_callback(future, cora_in_context(context, cora_partial(set_request, 5)));
        cora_add_done_callback(future,
                               cora_in_context(context, cora_partial(take_request, &requests)));
        cora_add_done_callback(future, cora_partial(take_request, &requests));
        if (!late)
            cora_set_result(future, cora_int(1));
        tick(loop);
        CHECK_INT(requests, 51);
        CHECK_INT(cora_as_int(cora_context_value(context, &request)), 5);
    }
    cora_drop(context);
    cora_loop_close(loop);
}

TEST(context_is_not_compared, "a removal looks at function and arguments, not at the context")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    cora_value context = cora_copy_context();
    cora_add_done_callback(future, cora_in_context(context, cora_partial(nothing_done, 1)));
    cora_context_set(&request, cora_int(3));
    cora_add_done_callback(future, cora_partial(nothing_done, 1));
    CHECK_INT(cora_remove_done_callback(future, cora_partial(nothing_done, 1)), 2);
    cora_loop_close(loop);
}

static void set_bar_and_fail(cora_args bound)
{
    (void)bound;
    cora_context_set(&request, cora_static("bar"));
    cora_fail(cora_error(CORA_EVALUE, "wrong"));
}

static void set_bar_and_fail_done(cora_args bound, cora_future done)
{
    (void)done;
    set_bar_and_fail(bound);
}

static void report_request(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)loop, (void)report;
    add_note(cora_arg(bound, 0, struct notes *), cora_as_text(cora_context_get(&request)));
}

TEST(context_of_the_report, "the exception handler runs in the context of the callback that failed",
     "test_futures2.FutureTests.test_handle_exc_handler_correct_context")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    struct notes notes = { "" };
    cora_context_set(&request, cora_static("foo"));
    cora_set_exception_handler(loop, cora_partial(report_request, &notes));
    cora_call_soon(loop, cora_partial(set_bar_and_fail));
    tick(loop);
    CHECK_TEXT(notes.text, "bar");
    cora_add_done_callback(future, cora_partial(set_bar_and_fail_done));
    cora_add_done_callback(future, cora_partial(failing_done));
    cora_set_result(future, cora_int(1));
    tick(loop);
    CHECK_TEXT(notes.text, "bar bar foo");
    cora_loop_close(loop);
}

/* ---- chaining ---- */

TEST(copy_outcome, "copy_outcome passes on results, errors and cancellations")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    cora_future from[3], to[3];
    collect_reports(loop, &reports);
    for (int i = 0; i < 3; i++) {
        from[i] = cora_future_new(loop);
        to[i] = cora_future_new(loop);
        cora_add_done_callback(from[i], cora_partial(cora_copy_outcome, to[i]));
    }
    cora_set_result(from[0], cora_text("page"));
    cora_set_exception(from[1], cora_error(CORA_ELOOKUP, "lost"));
    cora_cancel(from[2]);
    tick(loop);
    CHECK_TEXT(cora_as_text(cora_result(to[0])), "page");
    CHECK(!cora_cancelled(to[1]));
    CHECK_TEXT(cora_error_message(cora_exception(to[1])), "lost");
    CHECK(cora_cancelled(to[2]));
    cora_loop_close(loop);
    CHECK_INT(reports.count, 0);
}

TEST(
    copy_outcome_to_cancelled,
    "copy_outcome leaves a cancelled destination as it is, and an error is then nobody's: reported")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    cora_future from[3], to[3];
    collect_reports(loop, &reports);
    for (int i = 0; i < 3; i++) {
        from[i] = cora_future_new(loop);
        to[i] = cora_future_new(loop);
        cora_add_done_callback(from[i], cora_partial(cora_copy_outcome, to[i]));
        cora_cancel_with(to[i], "gone");
    }
    cora_set_result(from[0], cora_text("page"));
    cora_set_exception(from[1], cora_error(CORA_ELOOKUP, "lost"));
    cora_cancel(from[2]);
    tick(loop);
    for (int i = 0; i < 3; i++)
        CHECK_TEXT(cora_error_message(cora_result(to[i])), "gone");
    CHECK_INT(reports.count, 0);
    cora_loop_close(loop);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.error, "LookupError: lost");
}

TEST(copy_outcome_to_finished,
     "onto a finished destination nothing is copied: the callback fails, and the error is unread")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    cora_future from = cora_future_new(loop), to = cora_future_new(loop);
    collect_reports(loop, &reports);
    cora_add_done_callback(from, cora_partial(cora_copy_outcome, to));
    cora_set_result(to, cora_int(1));
    cora_set_exception(from, cora_error(CORA_ELOOKUP, "lost"));
    tick(loop);
    CHECK_INT(reports.count, 1);
    CHECK_INT(reports.code, CORA_EINVALIDSTATE);
    CHECK_INT(cora_as_int(cora_result(to)), 1);
    cora_loop_close(loop);
    CHECK_INT(reports.count, 2);
    CHECK_TEXT(reports.error, "LookupError: lost");
}

TEST(copy_outcome_misused, "copy_outcome without a future, or with a stale one, fails the callback")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    collect_reports(loop, &reports);
    run_in(loop, cora_partial(complete_made));
    cora_future from = cora_future_new(loop);
    cora_add_done_callback(from, cora_partial(cora_copy_outcome));
    cora_set_result(from, cora_int(1));
    tick(loop);
    CHECK_INT(reports.count, 1);
    CHECK_INT(reports.code, CORA_ETYPE);
    cora_add_done_callback(from, cora_partial(cora_copy_outcome, 5));
    tick(loop);
    CHECK_INT(reports.count, 2);
    CHECK_INT(reports.code, CORA_ETYPE);
    cora_add_done_callback(from, cora_partial(cora_copy_outcome, made));
    tick(loop);
    CHECK_INT(reports.count, 3);
    CHECK_INT(reports.code, CORA_ESTALE);
    cora_loop_close(loop);
}

/* ---- errors that nobody read ---- */

/* Makes a future in a callback, as most are, and fails it. */
static void fail_made(cora_args bound)
{
    (void)bound;
    made = cora_future_new(cora_running_loop());
    cora_set_exception(made, cora_error(CORA_EVALUE, "unread"));
}

TEST(unread_is_reported,
     "an error that nobody read is reported once, with the place of creation, when its future is "
     "given back",
     "test_futures.BaseFutureTests.test_future_exception_never_retrieved")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    collect_reports(loop, &reports);
    run_in(loop, cora_partial(fail_made));
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Future exception was never retrieved");
    CHECK_TEXT(reports.error, "ValueError: unread");
    CHECK_TEXT(reports.object, "<Future finished exception=ValueError: unread>");
    CHECK_TEXT(reports.place.function, "fail_made");
    CHECK_TEXT(reports.place.file, __FILE__);
    CHECK(cora_same(reports.future, made));
    ticks(loop, 2);
    cora_loop_close(loop);
    CHECK_INT(reports.count, 1);
}

TEST(unread_in_debug_mode, "in debug mode the report's object tells the place of creation, too",
     "test_futures.BaseFutureTests.test_future_exception_never_retrieved_debug")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    collect_reports(loop, &reports);
    cora_set_debug(loop, true);
    run_in(loop, cora_partial(fail_made));
    ticks(loop, 2);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Future exception was never retrieved");
    CHECK(strstr(reports.object, "exception=ValueError: unread created at "));
    CHECK(strstr(reports.object, __FILE__));
    cora_loop_close(loop);
    CHECK_INT(reports.count, 1);
}

/* What a run writes to stderr, where the default handler reports to. */
static const char *standard_error(cora_loop loop, cora_callback callback)
{
    static char text[2000];
    int file = memfd_create("stderr", MFD_CLOEXEC), outer = dup(STDERR_FILENO);
    memset(text, 0, sizeof text);
    dup2(file, STDERR_FILENO);
    run_in(loop, callback);
    fflush(stderr);
    dup2(outer, STDERR_FILENO);
    CHECK(pread(file, text, sizeof text - 1, 0) >= 0);
    close(outer);
    close(file);
    return text;
}

TEST(unread_without_handler, "without a handler an unread error is written to stderr",
     "test_futures.BaseFutureTests.test_tb_logger_exception_unretrieved")
{
    cora_loop loop = cora_loop_new(NULL);
    const char *text = standard_error(loop, cora_partial(fail_made));
    CHECK_INT(strncmp(text, "Future exception was never retrieved\n", 37), 0);
    CHECK(strstr(text, "\n  exception: ValueError: unread\n"));
    CHECK(strstr(text, "\n  created: in fail_made ("));
    cora_loop_close(loop);
}

static void abandon(cora_args bound)
{
    (void)bound;
    made = cora_future_new(cora_running_loop());
}

TEST(pending_is_not_reported, "a future that nobody completes is nothing to report",
     "test_futures.BaseFutureTests.test_tb_logger_abandoned")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    collect_reports(loop, &reports);
    run_in(loop, cora_partial(abandon));
    ticks(loop, 2);
    CHECK_INT(cora_live(loop), 1);
    cora_loop_close(loop);
    CHECK_INT(reports.count, 0);
}

static void fail_and_cancel(cora_args bound)
{
    fail_made(bound);
    CHECK(!cora_cancel(made));
}

TEST(cancelled_is_not_reported, "who cancels a future that failed already does not want its error",
     "test_futures.BaseFutureTests.test_tb_logger_not_called_after_cancel",
     "test_futures.BaseFutureTests.test_log_traceback")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    collect_reports(loop, &reports);
    run_in(loop, cora_partial(fail_and_cancel));
    cora_loop_close(loop);
    CHECK_INT(reports.count, 0);
}

static void set_without_reading(cora_args bound)
{
    (void)bound;
    cora_set_result(cora_future_new(cora_running_loop()), cora_int(42));
}

TEST(values_are_not_reported, "a value that nobody reads is nothing to report",
     "test_futures.BaseFutureTests.test_tb_logger_result_unretrieved")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    collect_reports(loop, &reports);
    run_in(loop, cora_partial(set_without_reading));
    cora_loop_close(loop);
    CHECK_INT(reports.count, 0);
}

TEST(read_values_are_not_reported, "a value that was read is nothing to report",
     "test_futures.BaseFutureTests.test_tb_logger_result_retrieved")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    collect_reports(loop, &reports);
    run_in(loop, cora_partial(complete_made));
    cora_loop_close(loop);
    CHECK_INT(reports.count, 0);
}

static void fail_and_read_exception(cora_args bound)
{
    fail_made(bound);
    CHECK_INT(cora_error_code(cora_exception(made)), CORA_EVALUE);
}

TEST(read_as_exception, "an error that was read through cora_exception is not reported",
     "test_futures.BaseFutureTests.test_tb_logger_exception_retrieved")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    collect_reports(loop, &reports);
    run_in(loop, cora_partial(fail_and_read_exception));
    cora_loop_close(loop);
    CHECK_INT(reports.count, 0);
}

static void fail_and_read_result(cora_args bound)
{
    fail_made(bound);
    CHECK_INT(cora_error_code(cora_result(made)), CORA_EVALUE);
}

TEST(read_as_result, "an error that was read through cora_result is not reported",
     "test_futures.BaseFutureTests.test_tb_logger_exception_result_retrieved")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    collect_reports(loop, &reports);
    run_in(loop, cora_partial(fail_and_read_result));
    cora_loop_close(loop);
    CHECK_INT(reports.count, 0);
}

TEST(asking_is_not_reading, "done, cancelled, printing and a callback that does not look leave an "
                            "error unread")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    struct reports reports;
    collect_reports(loop, &reports);
    cora_add_done_callback(future, cora_partial(nothing_done));
    cora_set_exception(future, cora_error(CORA_EVALUE, "unread"));
    CHECK(cora_done(future));
    CHECK(!cora_cancelled(future));
    printed(future);
    tick(loop);
    CHECK_INT(reports.count, 0);
    cora_loop_close(loop);
    CHECK_INT(reports.count, 1);
    CHECK(cora_same(reports.future, future));
}

TEST(unread_at_release, "the error of a future of main() is reported in the run after its release")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    struct reports reports;
    collect_reports(loop, &reports);
    cora_set_exception(future, cora_error(CORA_EVALUE, "unread"));
    ticks(loop, 3);
    CHECK_INT(reports.count, 0);
    cora_release(future);
    CHECK_INT(reports.count, 0);
    tick(loop);
    CHECK_INT(reports.count, 1);
    cora_loop_close(loop);
    CHECK_INT(reports.count, 1);
}

static void note_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)loop;
    add_note(cora_arg(bound, 0, struct notes *), cora_error_message(report->exception));
}

static void fail_two(cora_args bound)
{
    struct notes *notes = cora_arg(bound, 0, struct notes *);
    cora_future future = cora_future_new(cora_running_loop());
    cora_set_exception(cora_future_new(cora_running_loop()), cora_error(CORA_EVALUE, "silent"));
    cora_add_done_callback(future, cora_partial(note_done, notes, "callback"));
    cora_set_exception(future, cora_error(CORA_EVALUE, "heard"));
    add_note(notes, "end");
}

TEST(unread_after_callbacks,
     "the report comes when the callback that failed the future has returned, or when the future's "
     "callbacks have run")
{
    cora_loop loop = cora_loop_new(NULL);
    struct notes notes = { "" };
    cora_set_exception_handler(loop, cora_partial(note_report, &notes));
    run_in(loop, cora_partial(fail_two, &notes));
    CHECK_TEXT(notes.text, "end silent");
    tick(loop);
    CHECK_TEXT(notes.text, "end silent callback heard");
    cora_loop_close(loop);
}

static void keep_reported(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)loop;
    ++*cora_arg(bound, 0, int *);
    CHECK(!cora_is_null(cora_keep(report->future)));
    CHECK_INT(cora_error_code(cora_result(report->future)), CORA_EVALUE);
}

TEST(reported_future_is_kept, "the handler may read the future of a report, and keep it")
{
    cora_loop loop = cora_loop_new(NULL);
    int reports = 0;
    cora_set_exception_handler(loop, cora_partial(keep_reported, &reports));
    run_in(loop, cora_partial(fail_made));
    CHECK_INT(reports, 1);
    ticks(loop, 2);
    CHECK_INT(cora_error_code(cora_result(made)), CORA_EVALUE);
    CHECK_INT(cora_release(made), 0);
    tick(loop);
    CHECK_INT(cora_error_code(cora_result(made)), CORA_ESTALE);
    CHECK_INT(reports, 1);
    cora_loop_close(loop);
}

static void listen_to_reported(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)loop;
    cora_add_done_callback(report->future,
                           cora_partial(note_outcome, cora_arg(bound, 0, struct notes *)));
}

TEST(reported_future_calls_back, "the handler may add a callback to the future of a report")
{
    cora_loop loop = cora_loop_new(NULL);
    struct notes notes = { "" };
    cora_set_exception_handler(loop, cora_partial(listen_to_reported, &notes));
    run_in(loop, cora_partial(fail_made));
    tick(loop);
    CHECK_TEXT(notes.text, "ValueError: unread");
    CHECK_INT(cora_error_code(cora_result(made)), CORA_ESTALE);
    cora_loop_close(loop);
}

/* ---- who keeps a future ---- */

static void check_stale(cora_args bound)
{
    (void)bound;
    CHECK_INT(cora_error_code(cora_result(made)), CORA_ESTALE);
}

static void make_and_complete(cora_args bound)
{
    complete_made(bound);
    cora_call_soon(cora_running_loop(), cora_partial(check_stale));
    CHECK_INT(cora_as_int(cora_result(made)), 5);
}

TEST(made_in_a_callback, "a future that a callback makes and completes is its own until it returns")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_call_soon(loop, cora_partial(make_and_complete));
    cora_call_soon(loop, cora_partial(check_stale));
    ticks(loop, 2);
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}

static void make_with_callbacks(cora_args bound)
{
    struct notes *notes = cora_arg(bound, 0, struct notes *);
    made = cora_future_new(cora_running_loop());
    cora_add_done_callback(made, cora_partial(note_outcome, notes));
    cora_add_done_callback(made, cora_partial(note_outcome, notes));
}

TEST(until_the_callbacks_have_run,
     "a future that a callback made is there until its callbacks have "
     "run")
{
    cora_loop loop = cora_loop_new(NULL);
    struct notes notes = { "" };
    run_in(loop, cora_partial(make_with_callbacks, &notes));
    ticks(loop, 5);
    cora_set_result(made, cora_int(6));
    CHECK_INT(cora_as_int(cora_result(made)), 6);
    tick(loop);
    CHECK_TEXT(notes.text, "6 6");
    CHECK_INT(cora_error_code(cora_result(made)), CORA_ESTALE);
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}

static void complete_and_listen_late(cora_args bound)
{
    complete_made(bound);
    cora_add_done_callback(made, cora_partial(note_outcome, cora_arg(bound, 0, struct notes *)));
}

/* Makes one future, in whatever kind of callback this is called in. */
static void make_one(cora_args bound)
{
    cora_future *future = cora_arg(bound, 0, cora_future *);
    *future = cora_future_new(cora_running_loop());
    cora_set_result(*future, cora_textf("page %d", 1));
    CHECK_TEXT(cora_as_text(cora_result(*future)), "page 1");
}

static void make_one_done(cora_args bound, cora_future done)
{
    (void)done;
    make_one(bound);
}

static void make_one_in_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)loop, (void)report;
    make_one(bound);
}

static void make_one_dropped(void *pointer)
{
    cora_future *future = pointer;
    *future = cora_future_new(cora_running_loop());
    cora_set_result(*future, cora_int(1));
}

static const cora_type making = { "making", make_one_dropped, NULL, 0 };

TEST(made_in_any_callback,
     "what a timer, a reader, a done-callback, one from another thread, an exception handler or a "
     "drop function in a tick makes and completes is given back in that tick")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop), one[6] = { { 0 } };
    int ends[2];
    CHECK_INT(pipe(ends), 0);
    CHECK_INT(write(ends[1], "x", 1), 1);
    cora_call_later(loop, 0, cora_partial(make_one, &one[0]));
    cora_add_reader(loop, ends[0], cora_partial(make_one, &one[1]));
    cora_add_done_callback(future, cora_partial(make_one_done, &one[2]));
    cora_set_result(future, cora_int(1));
    cora_call_soon_threadsafe(loop, cora_partial(make_one, &one[3]));
    cora_set_exception_handler(loop, cora_partial(make_one_in_report, &one[4]));
    cora_call_soon(loop, cora_partial(failing));
    cora_call_soon(loop, cora_partial(nothing, cora_own(&one[5], &making)));
    cora_drop_temporaries();
    tick(loop);
    cora_remove_reader(loop, ends[0]);
    for (int i = 0; i < 6; i++) {
        CHECK(!cora_is_null(one[i]));
        CHECK_INT(cora_error_code(cora_result(one[i])), CORA_ESTALE);
    }
    CHECK_INT(cora_live(loop), 1);
    close(ends[0]);
    close(ends[1]);
    cora_loop_close(loop);
}

TEST(late_callbacks_keep_it, "a callback that is added to a done future keeps it until it has run")
{
    cora_loop loop = cora_loop_new(NULL);
    struct notes notes = { "" };
    run_in(loop, cora_partial(complete_and_listen_late, &notes));
    CHECK_INT(cora_as_int(cora_result(made)), 5);
    tick(loop);
    CHECK_TEXT(notes.text, "5");
    CHECK_INT(cora_error_code(cora_result(made)), CORA_ESTALE);
    cora_loop_close(loop);
}

static void remove_and_check(cora_args bound)
{
    CHECK_INT(cora_remove_done_callback(
                  made, cora_partial(note_outcome, cora_arg(bound, 0, struct notes *))),
              2);
    cora_set_result(made, cora_int(1));
    CHECK_INT(cora_as_int(cora_result(made)), 1);
}

TEST(without_callbacks, "a future whose callbacks were all removed goes with the callback that "
                        "completes it")
{
    cora_loop loop = cora_loop_new(NULL);
    struct notes notes = { "" };
    run_in(loop, cora_partial(make_with_callbacks, &notes));
    run_in(loop, cora_partial(remove_and_check, &notes));
    CHECK_INT(cora_error_code(cora_result(made)), CORA_ESTALE);
    CHECK_TEXT(notes.text, "");
    cora_loop_close(loop);
}

static void keep_made(cora_args bound)
{
    complete_made(bound);
    CHECK(cora_same(cora_keep(made), made));
    CHECK(cora_same(cora_keep(made), made));
}

static void release_made(cora_args bound)
{
    (void)bound;
    CHECK_INT(cora_release(made), 0);
    CHECK_INT(cora_as_int(cora_result(made)), 5);
}

TEST(keep, "a kept future stays until it was released as often, and the callback has returned")
{
    cora_loop loop = cora_loop_new(NULL);
    run_in(loop, cora_partial(keep_made));
    ticks(loop, 3);
    CHECK_INT(cora_as_int(cora_result(made)), 5);
    run_in(loop, cora_partial(release_made));
    CHECK_INT(cora_as_int(cora_result(made)), 5);
    CHECK_INT(cora_live(loop), 1);
    run_in(loop, cora_partial(release_made));
    CHECK_INT(cora_error_code(cora_result(made)), CORA_ESTALE);
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}

TEST(released_outside, "a release outside of callbacks leaves the future until the next run begins")
{
    cora_loop loop = cora_loop_new(NULL);
    run_in(loop, cora_partial(keep_made));
    CHECK_INT(cora_release(made), 0);
    CHECK_INT(cora_release(made), 0);
    CHECK_INT(cora_as_int(cora_result(made)), 5);
    CHECK_INT(cora_live(loop), 0);
    run_in(loop, cora_partial(check_stale));
    cora_loop_close(loop);
}

static void read_and_release(cora_args bound)
{
    int *drops = cora_arg(bound, 0, int *);
    CHECK(cora_as_pointer(cora_result(made)) == drops);
    CHECK_INT(cora_release(made), 0);
    CHECK_INT(*drops, 0);
}

TEST(read_in_a_callback, "what a callback has read stays until it returns, also after the release")
{
    cora_loop loop = cora_loop_new(NULL);
    int drops = 0;
    made = cora_future_new(loop);
    cora_set_result(made, cora_own(&drops, &counted));
    cora_drop_temporaries();
    run_in(loop, cora_partial(read_and_release, &drops));
    CHECK_INT(drops, 1);
    cora_loop_close(loop);
}

TEST(kept_again, "a future that was released can be kept again until it is given back")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    cora_set_result(future, cora_int(3));
    for (int i = 0; i < 3; i++) {
        CHECK_INT(cora_release(future), 0);
        CHECK(cora_same(cora_keep(future), future));
        tick(loop);
        CHECK_INT(cora_as_int(cora_result(future)), 3);
    }
    cora_loop_close(loop);
}

TEST(pending_released, "a pending future that is released stays until it is done")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    int runs = 0;
    CHECK_INT(cora_release(future), 0);
    ticks(loop, 3);
    CHECK(!cora_done(future));
    cora_add_done_callback(future, cora_partial(count_done, &runs));
    CHECK_INT(cora_set_result(future, cora_int(3)), 0);
    CHECK_INT(cora_as_int(cora_result(future)), 3);
    tick(loop);
    CHECK_INT(runs, 1);
    CHECK_INT(cora_error_code(cora_result(future)), CORA_ESTALE);
    cora_loop_close(loop);
}

TEST(released_too_often, "a release without a keep is reported, refused, and does nothing")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    collect_reports(loop, &reports);
    int line = __LINE__ + 1;
    cora_future future = cora_future_new(loop);
    CHECK_INT(cora_release(future), 0);
    CHECK_INT(reports.count, 0);
    CHECK_INT(cora_release(future), CORA_ERUNTIME);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.error, "RuntimeError: cora_release without a cora_keep");
    CHECK_INT(reports.place.line, line);
    CHECK(!cora_done(future));
    cora_keep(future);
    cora_set_result(future, cora_int(1));
    ticks(loop, 2);
    CHECK_INT(cora_as_int(cora_result(future)), 1);
    CHECK_INT(reports.count, 1);
    cora_loop_close(loop);
}

TEST(made_in_main, "a future that main() makes is there until it is released, run after run")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    int runs = 0;
    cora_add_done_callback(future, cora_partial(count_done, &runs));
    cora_call_soon(loop, cora_partial(complete_argument, future));
    ticks(loop, 10);
    CHECK_INT(runs, 1);
    CHECK_INT(cora_as_int(cora_result(future)), 1);
    CHECK_INT(cora_live(loop), 1);
    cora_release(future);
    tick(loop);
    CHECK_INT(cora_error_code(cora_result(future)), CORA_ESTALE);
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}

TEST(read_in_main, "what main() has read stays until its next run, whatever becomes of the future")
{
    cora_loop loop = cora_loop_new(NULL), other = cora_loop_new(NULL);
    cora_future released = cora_future_new(loop), closed = cora_future_new(loop),
                failed = cora_future_new(loop);
    cora_set_result(released, cora_textf("page %d", 1));
    cora_set_result(closed, cora_textf("page %d", 2));
    cora_set_exception(failed, cora_error(CORA_EVALUE, "page %d", 3));
    cora_drop_temporaries();
    const char *one = cora_as_text(cora_result(released)), *two = cora_as_text(cora_result(closed));
    cora_value three = cora_result(failed);
    cora_release(released);
    CHECK_TEXT(one, "page 1");
    cora_loop_close(loop);
    CHECK_TEXT(one, "page 1");
    CHECK_TEXT(two, "page 2");
    CHECK_TEXT(cora_error_message(three), "page 3");
    CHECK(cora_live_values() > 0);
    tick(other);
    cora_loop_close(other);
}

TEST(kept_read_in_main, "also what was kept, or has callbacks that have not run, when the loop is "
                        "closed")
{
    for (int kept = 0; kept < 2; kept++) {
        cora_loop loop = cora_loop_new(NULL);
        int drops = 0;
        run_in(loop, cora_partial(abandon)); /* made in a callback */
        if (kept)
            cora_keep(made);
        else
            cora_add_done_callback(made, cora_partial(nothing_done));
        cora_set_result(made, cora_own(&drops, &counted));
        cora_drop_temporaries();
        CHECK(cora_as_pointer(cora_result(made)) == &drops);
        cora_loop_close(loop);
        CHECK_INT(drops, 0);
        cora_drop_temporaries();
        CHECK_INT(drops, 1);
    }
}

TEST(temporaries_after_close, "cora_drop_temporaries drops what main() has read from a closed loop")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future future = cora_future_new(loop);
    int drops = 0;
    cora_set_result(future, cora_own(&drops, &counted));
    cora_drop_temporaries();
    cora_loop_close(loop);
    CHECK_INT(drops, 0);
    cora_drop_temporaries();
    CHECK_INT(drops, 1);
}

/* ---- a host's own callbacks ---- */

struct host {
    struct ev_loop *ev;
    cora_loop guest;
    ev_timer timer;
    int rounds, left, runs;
};

static void host_start(struct host *host, void (*callback)(struct ev_loop *, ev_timer *, int))
{
    host->ev = ev_loop_new(EVFLAG_NOENV);
    host->guest = cora_loop_attach(host->ev, NULL);
    ev_timer_init(&host->timer, callback, 0, 0);
    host->timer.data = host;
}

static void host_run(struct host *host)
{
    ev_timer_set(&host->timer, 0, 0);
    ev_timer_start(host->ev, &host->timer);
    ev_run(host->ev, 0);
}

static void host_end(struct host *host)
{
    cora_loop_detach(host->guest);
    ev_loop_destroy(host->ev);
}

/* One more iteration, in which nothing happens. */
static void run_host_once_more(struct host *host)
{
    ev_run(host->ev, EVRUN_NOWAIT);
}

static void host_completes(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct host *host = timer->data;
    (void)ev, (void)events;
    made = cora_future_new(host->guest);
    cora_set_result(made, cora_textf("page %d", ++host->rounds));
    CHECK_INT(strncmp(cora_as_text(cora_result(made)), "page ", 5), 0);
    cora_call_soon(host->guest, cora_partial(check_stale));
}

TEST(made_in_a_hosts_callback,
     "a future that a host's own callback makes is there until that callback has returned")
{
    struct host host = { .rounds = 0 };
    host_start(&host, host_completes);
    for (int i = 1; i <= 3; i++) {
        host_run(&host);
        CHECK_INT(host.rounds, i);
        CHECK_INT(cora_error_code(cora_result(made)), CORA_ESTALE);
        CHECK_INT(cora_live(host.guest), 0);
    }
    host_end(&host);
}

static void host_runs_inside(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct host *host = timer->data;
    (void)events;
    made = cora_future_new(host->guest);
    cora_set_result(made, cora_int(5));
    cora_call_soon(host->guest, cora_partial(nothing));
    ev_run(ev, EVRUN_NOWAIT);
    CHECK_INT(cora_as_int(cora_result(made)), 5);
    host->rounds++;
}

TEST(host_runs_inside, "also if that callback runs the loop itself")
{
    struct host host = { .rounds = 0 };
    host_start(&host, host_runs_inside);
    host_run(&host);
    CHECK_INT(host.rounds, 1);
    run_host_once_more(&host);
    CHECK_INT(cora_error_code(cora_result(made)), CORA_ESTALE);
    host_end(&host);
}

static void host_keeps(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct host *host = timer->data;
    (void)ev, (void)events;
    if (host->rounds++ == 0) {
        made = cora_keep(cora_future_new(host->guest));
        cora_add_done_callback(made, cora_partial(count_done, &host->runs));
        cora_set_result(made, cora_int(5));
        return;
    }
    CHECK_INT(host->runs, 1);
    CHECK_INT(cora_release(made), 0);
    CHECK_INT(cora_as_int(cora_result(made)), 5);
    cora_call_soon(host->guest, cora_partial(check_stale));
}

TEST(kept_by_a_host, "a future that a host's callback keeps is there for its next callback")
{
    struct host host = { .rounds = 0 };
    host_start(&host, host_keeps);
    host_run(&host);
    CHECK_INT(cora_as_int(cora_result(made)), 5);
    host_run(&host);
    CHECK_INT(host.rounds, 2);
    CHECK_INT(cora_live(host.guest), 0);
    host_end(&host);
}

static void host_fails(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct host *host = timer->data;
    (void)ev, (void)events;
    cora_set_exception(cora_future_new(host->guest), cora_error(CORA_EVALUE, "unread"));
    host->rounds++;
}

TEST(unread_in_a_hosts_callback, "an error of a future that a host's callback forgets is reported")
{
    struct host host = { .rounds = 0 };
    struct reports reports;
    host_start(&host, host_fails);
    collect_reports(host.guest, &reports);
    host_run(&host);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.place.function, "host_fails");
    host_end(&host);
    CHECK_INT(reports.count, 1);
}

static void fail_in_another(cora_args bound)
{
    made = cora_future_new(cora_arg_loop(bound, 0));
    cora_set_exception(made, cora_error(CORA_EVALUE, "unread"));
}

TEST(made_for_another_guest,
     "a future that a guest's callback makes for another guest of the same host is given back, and "
     "its error reported, without anything else to wake that one")
{
    for (int swapped = 0; swapped < 2; swapped++) {
        struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
        cora_loop guests[2] = { cora_loop_attach(host, NULL), cora_loop_attach(host, NULL) };
        struct reports reports;
        collect_reports(guests[swapped], &reports);
        cora_call_soon(guests[!swapped], cora_partial(fail_in_another, guests[swapped]));
        ev_run(host, 0);
        CHECK_INT(reports.count, 1);
        CHECK_INT(cora_error_code(cora_result(made)), CORA_ESTALE);
        cora_loop_detach(guests[0]);
        cora_loop_detach(guests[1]);
        ev_loop_destroy(host);
    }
}

TEST(made_before_the_host_runs,
     "what is made for a guest before its host runs is held, as in main()")
{
    struct host host = { .rounds = 0 };
    host_start(&host, host_completes);
    cora_future future = cora_future_new(host.guest);
    cora_set_result(future, cora_int(1));
    host_run(&host);
    CHECK_INT(cora_as_int(cora_result(future)), 1);
    CHECK_INT(cora_live(host.guest), 1);
    cora_release(future);
    host_run(&host);
    CHECK_INT(cora_error_code(cora_result(future)), CORA_ESTALE);
    host_end(&host);
}

/* A thousand futures that complete at once, of three kinds. */
static void host_makes_thousand(struct ev_loop *ev, ev_timer *timer, int events)
{
    struct host *host = timer->data;
    (void)events;
    for (int i = 0; i < 1000; i++) {
        cora_future future = cora_future_new(host->guest);
        for (int j = 0; j < i % 3; j++)
            cora_add_done_callback(future, cora_partial(count_done, &host->runs));
        if (i % 4)
            cora_set_result(future, cora_int(i));
        else
            cora_set_result(future, cora_textf("page %d", i));
    }
    if (--host->left > 0) {
        ev_timer_set(timer, 0, 0);
        ev_timer_start(ev, timer);
    }
}

TEST_WITH_LIMIT(60, million_in_a_hosts_callback,
                "a million futures that a host's callbacks make, complete and forget are all given "
                "back, and a second million takes no memory")
{
    struct host host = { .left = harness_scale(1000) };
    int rounds = host.left;
    host_start(&host, host_makes_thousand);
    size_t live = cora_live(host.guest);
    host_run(&host);
    CHECK_INT(host.runs, rounds * 999);
    CHECK_INT(cora_live(host.guest), live);
    long bytes = resident_bytes();
    host.left = rounds;
    host_run(&host);
    CHECK_INT(host.runs, rounds * 1998);
    CHECK_INT(cora_live(host.guest), live);
    CHECK(resident_bytes() <= bytes + 64 * 1024);
    host_end(&host);
}

static void forget_thousand(cora_args bound)
{
    struct chain *chain = cora_arg(bound, 0, struct chain *);
    for (int i = 0; i < 1000; i++)
        cora_set_result(cora_future_new(chain->loop), cora_int(i));
    if (--chain->left > 0)
        cora_call_soon(chain->loop, cora_partial(forget_thousand, chain));
    else
        cora_stop(chain->loop);
}

TEST_WITH_LIMIT(60, million_in_callbacks,
                "a million futures that callbacks make, complete and forget leave nothing behind")
{
    struct chain chain = { .loop = cora_loop_new(NULL) };
    long bytes = 0;
    for (int round = 0; round < 2; round++) {
        chain.left = harness_scale(1000);
        cora_call_soon(chain.loop, cora_partial(forget_thousand, &chain));
        CHECK_INT(cora_run_forever(chain.loop), 0);
        CHECK_INT(cora_live(chain.loop), 0);
        CHECK(round == 0 || resident_bytes() <= bytes + 64 * 1024);
        bytes = resident_bytes();
    }
    cora_loop_close(chain.loop);
}

/* ---- detaching in the middle ---- */

static void detach_in_callback(cora_args bound, cora_future done)
{
    (void)done;
    CHECK_INT(cora_loop_detach(cora_running_loop()), 0);
    CHECK(cora_done(done));
    CHECK_INT(cora_error_code(cora_result(done)), CORA_ESTALE);
    CHECK_INT(*cora_arg(bound, 0, int *), 0);
    CHECK_TEXT(cora_arg_text(bound, 1), "still there");
}

TEST(
    detached_in_a_callback,
    "a done-callback may detach its guest: its arguments live until it returns, and the others are "
    "dropped without a call")
{
    for (int before = 0; before < 2; before++) {
        struct host host = { .rounds = 0 };
        int drops[3] = { 0 }, runs = 0;
        host_start(&host, host_completes);
        cora_future future = cora_future_new(host.guest);
        if (before)
            cora_add_done_callback(
                future, cora_partial(nothing_done, "before", cora_own(&drops[0], &counted)));
        cora_add_done_callback(future, cora_partial(detach_in_callback, &drops[1], "still there",
                                                    cora_own(&drops[1], &counted)));
        cora_add_done_callback(future,
                               cora_partial(count_done, &runs, cora_own(&drops[2], &counted)));
        cora_set_result(future, cora_text("result"));
        ev_run(host.ev, EVRUN_NOWAIT);
        CHECK(cora_is_closed(host.guest));
        CHECK_INT(drops[0], before);
        CHECK_INT(drops[1], 1);
        CHECK_INT(drops[2], 1);
        CHECK_INT(runs, 0);
        host_end(&host);
    }
}

static void read_and_detach(cora_args bound, cora_future done)
{
    int *drops = cora_arg(bound, 0, int *);
    cora_future other = cora_arg_future(bound, 1);
    CHECK(cora_as_pointer(cora_result(done)) == drops);
    CHECK(cora_as_pointer(cora_result(other)) == drops);
    CHECK_INT(cora_loop_detach(cora_running_loop()), 0);
    CHECK_INT(*drops, 0);
}

TEST(read_before_detaching,
     "what a callback has read stays until it returns, also when it detaches the guest meanwhile")
{
    struct host host = { .rounds = 0 };
    int drops = 0;
    host_start(&host, host_completes);
    cora_future future = cora_future_new(host.guest), other = cora_future_new(host.guest);
    cora_add_done_callback(future, cora_partial(read_and_detach, &drops, other));
    cora_set_result(future, cora_own(&drops, &counted));
    cora_set_result(other, cora_own(&drops, &counted));
    cora_drop_temporaries();
    ev_run(host.ev, EVRUN_NOWAIT);
    CHECK_INT(drops, 2);
    host_end(&host);
}

static void detach_in_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    CHECK_INT(cora_loop_detach(loop), 0);
    CHECK_INT(cora_error_code(report->exception), CORA_EVALUE);
    ++*cora_arg(bound, 0, int *);
}

TEST(detached_in_a_report, "the handler that is told of an unread error may detach the guest")
{
    struct host host = { .rounds = 0 };
    int reports = 0;
    host_start(&host, host_fails);
    cora_set_exception_handler(host.guest, cora_partial(detach_in_report, &reports));
    cora_call_soon(host.guest, cora_partial(fail_made));
    cora_call_soon(host.guest, cora_partial(fail_made));
    ev_run(host.ev, EVRUN_NOWAIT);
    CHECK_INT(reports, 1);
    CHECK(cora_is_closed(host.guest));
    host_end(&host);
}

static void try_everything(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    ++*cora_arg(bound, 0, int *);
    CHECK(cora_done(report->future));
    CHECK(!cora_cancel(report->future));
    CHECK(cora_is_null(cora_keep(report->future)));
    CHECK_INT(cora_add_done_callback(report->future, cora_partial(nothing_done)), CORA_ESTALE);
    CHECK(cora_is_null(cora_future_new(loop)));
    CHECK_INT(cora_error_code(report->exception), CORA_EVALUE);
}

TEST(reported_in_a_close,
     "a handler that is told of unread errors while the loop is closed finds the futures stale")
{
    cora_loop loop = cora_loop_new(NULL);
    int reports = 0;
    cora_set_exception_handler(loop, cora_partial(try_everything, &reports));
    for (int i = 0; i < 3; i++)
        cora_set_exception(cora_future_new(loop), cora_error(CORA_EVALUE, "%d", i));
    CHECK_INT(cora_loop_close(loop), 0);
    CHECK_INT(reports, 3);
}
