/*
 * Done-callbacks: they run from the loop, never inside of the call that completes the future or
 * adds them; in the order added; with their bound arguments, in their context. Removing, and
 * failing.
 */
#include "helpers.h"

/* ---- when, and in which order ---- */

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

/* ---- their arguments ---- */

static cora_future called_with;

static void check_arguments(cora_args bound, cora_future done)
{
    CHECK(cora_done(done));
    for (size_t i = 0; i < bound.count; i++)
        CHECK_INT(cora_arg_int(bound, i), i + 1);
    called_with = done;
}

static void check_no_arguments(cora_args bound, cora_future done)
{
    CHECK_INT(bound.count, 0);
    called_with = done;
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
        called_with = (cora_future){ 0 };
        tick(loop);
        CHECK(cora_same(called_with, future));
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
    cora_value values[3];
    for (int i = 0; i < 3; i++) {
        values[i] = cora_copy(cora_own(&drops[i], &counted));
        cora_add_done_callback(future, cora_partial(nothing_done, i, values[i]));
    }
    cora_drop_temporaries();
    for (int i = 0; i < 3; i++) {
        CHECK_INT(cora_remove_done_callback(future, cora_partial(nothing_done, i, values[i])), 1);
        cora_drop(values[i]); /* the last reference, as the callback has none any more */
        CHECK_INT(drops[i], 1);
    }
    cora_set_result(future, cora_int(1));
    tick(loop);
    cora_loop_close(loop);
    CHECK_INT(drops[0] + drops[1] + drops[2], 3);
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

/* ---- removing ---- */

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

/* ---- failing ---- */

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
