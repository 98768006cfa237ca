/*
 * Futures: a result that is not there yet, completed once. Completing, cancelling and reading;
 * which loop a future is of; handles that name none; printing; copying an outcome. The callbacks
 * are in test_done_callback.c, and who keeps a future is in test_keeping.c.
 */
#include "helpers.h"

#include <errno.h>
#include <pthread.h>

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

TEST(copy_outcome_to_stale,
     "a destination that was given back is left alone, and an error is nobody's: reported")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    collect_reports(loop, &reports);
    run_in(loop, cora_partial(complete_made));
    cora_future from = cora_future_new(loop);
    cora_add_done_callback(from, cora_partial(cora_copy_outcome, made));
    cora_set_exception(from, cora_error(CORA_ELOOKUP, "lost"));
    tick(loop);
    CHECK_INT(reports.count, 0);
    cora_loop_close(loop);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.error, "LookupError: lost");
}

TEST(copy_outcome_misused,
     "copy_outcome fails its callback when its argument is no future, or when "
     "the destination stands for an operation")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future from = cora_future_new(loop), sleep = cora_ensure_future(loop, cora_sleep(5));
    cora_add_done_callback(from, cora_partial(cora_copy_outcome));
    cora_set_result(from, cora_int(1));
    tick(loop);
    CHECK_INT(reports.count, 1);
    CHECK_INT(reports.code, CORA_ETYPE);
    cora_add_done_callback(from, cora_partial(cora_copy_outcome, 5));
    tick(loop);
    CHECK_INT(reports.count, 2);
    CHECK_INT(reports.code, CORA_ETYPE);
    cora_add_done_callback(from, cora_partial(cora_copy_outcome, sleep));
    tick(loop);
    CHECK_INT(reports.count, 3);
    CHECK_INT(reports.code, CORA_ERUNTIME);
    CHECK(!cora_done(sleep));
    cora_loop_close(loop);
}
