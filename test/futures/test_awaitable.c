/*
 * Operations as something to wait for: cora_when_done starts one now and calls back, and
 * cora_ensure_future starts it a tick later. cora_sleep stands for all operations here.
 */
#include "helpers.h"

#include <ev.h>
#include <math.h>

/* ---- cora_when_done ---- */

TEST(when_done, "when_done starts an operation now and calls back with its outcome")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_future future = cora_when_done(cora_sleep_result(0.5, cora_text("awake")),
                                        cora_partial(note_outcome, &notes));
    CHECK(!cora_is_null(future));
    CHECK(!cora_done(future));
    run_for(loop, 0.4);
    CHECK_TEXT(notes.text, "");
    run_for(loop, 0.2);
    CHECK_TEXT(notes.text, "\"awake\"");
    current_loop_end(loop);
}

static cora_future started;

static void start_nap(cora_args bound)
{
    struct notes *notes = cora_arg(bound, 0, struct notes *);
    started = cora_when_done(cora_sleep(0), cora_partial(note_done, notes, "awake"));
    add_note(notes, "started");
}

TEST(when_done_in_a_callback, "in a callback the operation starts in the running loop")
{
    cora_loop loop = virtual_loop_new(), other = cora_loop_new(NULL);
    struct notes notes = { "" };
    cora_set_current_loop(other);
    run_in(loop, cora_partial(start_nap, &notes));
    CHECK(cora_same(cora_future_loop(started), loop));
    tick(other);
    CHECK_TEXT(notes.text, "started");
    tick(loop);
    CHECK_TEXT(notes.text, "started awake");
    cora_set_current_loop((cora_loop){ 0 });
    cora_loop_close(other);
    virtual_loop_end(loop);
}

TEST(when_done_takes_a_tick,
     "the callback of an operation that needs a tick runs in that tick, where an awaiting task "
     "would go on")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_call_soon(loop, cora_partial(note, &notes, "before"));
    cora_when_done(cora_sleep(0), cora_partial(note_done, &notes, "awake"));
    cora_call_soon(loop, cora_partial(note, &notes, "after"));
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "before awake after");
    current_loop_end(loop);
}

static void set_then_note(cora_args bound)
{
    cora_set_result(cora_arg_future(bound, 0), cora_int(1));
}

TEST(when_done_of_a_future,
     "of a future when_done is add_done_callback: of one that is completed by a callback queued "
     "before, it calls back in the second tick; of one that is done, in the first")
{
    cora_loop loop = virtual_loop_new(); /* and no current loop is needed */
    cora_future future = cora_future_new(loop);
    struct notes notes = { "" };
    cora_call_soon(loop, cora_partial(set_then_note, future));
    CHECK(cora_same(cora_when_done(future, cora_partial(note_outcome, &notes)), future));
    tick(loop);
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "1");
    CHECK(cora_same(cora_when_done(future, cora_partial(note_done, &notes, "late")), future));
    CHECK_TEXT(notes.text, "1");
    tick(loop);
    CHECK_TEXT(notes.text, "1 late");
    virtual_loop_end(loop);
}

TEST(when_done_removed, "the callback of when_done can be removed: the operation goes on unheard")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_future removed =
        cora_when_done(cora_sleep(0.1), cora_partial(note_done, &notes, "removed"));
    cora_future future = cora_when_done(cora_future_new(loop), cora_partial(note_outcome, &notes));
    CHECK_INT(cora_remove_done_callback(removed, cora_partial(note_done, &notes, "removed")), 1);
    CHECK_INT(cora_remove_done_callback(future, cora_partial(note_outcome, &notes)), 1);
    CHECK(!cora_done(removed));
    run_for(loop, 1);
    CHECK(cora_done(removed));
    CHECK_TEXT(notes.text, "");
    current_loop_end(loop);
}

TEST(further_callbacks,
     "callbacks that are added to an operation's future run a tick after that of when_done, as "
     "those of a task run a tick after its end")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_future future = cora_when_done(cora_sleep(0), cora_partial(note_done, &notes, "awake"));
    cora_add_done_callback(future, cora_partial(note_done, &notes, "1"));
    cora_add_done_callback(future, cora_partial(note_done, &notes, "2"));
    tick(loop);
    CHECK_TEXT(notes.text, "awake");
    CHECK(cora_done(future));
    tick(loop);
    CHECK_TEXT(notes.text, "awake 1 2");
    current_loop_end(loop);
}

TEST(further_callback_alone, "also when the callback of when_done was removed")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_future future = cora_when_done(cora_sleep(0), cora_partial(note_done, &notes, "awake"));
    cora_remove_done_callback(future, cora_partial(note_done, &notes, "awake"));
    cora_add_done_callback(future, cora_partial(note_done, &notes, "1"));
    tick(loop);
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "1");
    current_loop_end(loop);
}

static void note_and_listen(cora_args bound, cora_future done)
{
    struct notes *notes = cora_arg(bound, 0, struct notes *);
    add_note(notes, "awake");
    cora_add_done_callback(done, cora_partial(note_done, notes, "late"));
}

TEST(callback_added_by_its_callback,
     "the callback of when_done may add another: it runs a tick later")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_future future = cora_when_done(cora_sleep(0), cora_partial(note_and_listen, &notes));
    tick(loop);
    CHECK_TEXT(notes.text, "awake");
    tick(loop);
    CHECK_TEXT(notes.text, "awake late");
    CHECK_INT(cora_error_code(cora_result(future)), CORA_ESTALE);
    current_loop_end(loop);
}

TEST(given_back, "the future behind an operation is given back when its callbacks have run, also "
                 "in main(), unless it is kept")
{
    cora_loop loop = current_loop_new();
    cora_future forgotten = cora_when_done(cora_sleep(0), cora_partial(nothing_done));
    cora_future kept =
        cora_keep(cora_when_done(cora_sleep_result(0, cora_int(4)), cora_partial(nothing_done)));
    CHECK_INT(cora_live(loop), 2);
    tick(loop);
    CHECK_INT(cora_error_code(cora_result(forgotten)), CORA_ESTALE);
    CHECK_INT(cora_as_int(cora_result(kept)), 4);
    CHECK_INT(cora_live(loop), 1);
    cora_release(kept);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

TEST(cancelled, "cancelling the future cancels the operation: the callback gets Cancelled in the "
                "next tick")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_future future = cora_when_done(cora_sleep(5), cora_partial(note_outcome, &notes));
    tick(loop);
    CHECK(cora_cancel_with(future, "no time"));
    CHECK(!cora_done(future));
    CHECK(!cora_cancelled(future));
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "CancelledError: no time");
    CHECK_INT(cora_live(loop), 0);
    CHECK(!cora_cancel(future));
    current_loop_end(loop);
}

TEST(cancelled_twice, "of several cancels the last one's message is read, and each says true",
     "test_futures.BaseFutureTests.test_future_cancel_message_setter")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_future future = cora_when_done(cora_sleep(5), cora_partial(note_outcome, &notes));
    CHECK(cora_cancel_with(future, "first"));
    CHECK(cora_cancel_with(future, "second"));
    tick(loop);
    CHECK_TEXT(notes.text, "CancelledError: second");
    current_loop_end(loop);
}

TEST(cancelled_message_withdrawn, "a cancel without a message takes that of an earlier one away")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_future future = cora_when_done(cora_sleep(5), cora_partial(note_outcome, &notes));
    CHECK(cora_cancel_with(future, "first"));
    CHECK(cora_cancel(future));
    tick(loop);
    CHECK_TEXT(notes.text, "CancelledError");
    current_loop_end(loop);
}

static void check_cancelled(cora_args bound, cora_future done)
{
    CHECK(cora_done(done));
    CHECK(cora_cancelled(done));
    ++*cora_arg(bound, 0, int *);
}

TEST(cancelled_future_reads_so,
     "the future of a cancelled operation is cancelled for its callbacks")
{
    cora_loop loop = current_loop_new();
    int runs = 0;
    cora_future future = cora_when_done(cora_sleep(5), cora_partial(check_cancelled, &runs));
    cora_add_done_callback(future, cora_partial(check_cancelled, &runs));
    cora_cancel(future);
    ticks(loop, 2);
    CHECK_INT(runs, 2);
    current_loop_end(loop);
}

TEST(completed_by_the_operation_only,
     "the result of an operation's future is the operation's to set")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_future future = cora_when_done(cora_sleep(0), cora_partial(note_outcome, &notes));
    cora_future later = cora_ensure_future(loop, cora_sleep_result(0, cora_int(2)));
    CHECK_INT(cora_set_result(future, cora_int(1)), CORA_ERUNTIME);
    CHECK_INT(cora_set_exception(future, cora_error(CORA_EVALUE, "x")), CORA_ERUNTIME);
    CHECK_INT(cora_set_result(later, cora_text("x")), CORA_ERUNTIME);
    ticks(loop, 3);
    CHECK_TEXT(notes.text, "None");
    CHECK_INT(cora_as_int(cora_result(later)), 2);
    current_loop_end(loop);
}

TEST(failing_callback,
     "a callback of when_done that fails is reported with its arguments and future")
{
    cora_loop loop = current_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future future = cora_when_done(cora_sleep(0), cora_partial(failing_done, 5, "x"));
    tick(loop);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Exception in callback failing_done(5, \"x\")");
    CHECK(cora_same(reports.future, future));
    current_loop_end(loop);
}

TEST(print, "an operation's future prints the operation's name")
{
    cora_loop loop = current_loop_new();
    char text[200];
    cora_future future = cora_when_done(cora_sleep(0), cora_partial(nothing_done, 5));
    cora_future later = cora_ensure_future(loop, cora_sleep_result(0, cora_int(2)));
    cora_future_print(future, text, sizeof text);
    CHECK_TEXT(text, "<sleep pending cb=[nothing_done(5)]>");
    ticks(loop, 3);
    cora_future_print(later, text, sizeof text);
    CHECK_TEXT(text, "<sleep finished result=2>");
    current_loop_end(loop);
}

static const cora_variable request = { "request", { NULL, { 0 } } };

static void take_request(cora_args bound, cora_future done)
{
    (void)done;
    *cora_arg(bound, 0, int *) = (int)cora_as_int(cora_context_get(&request));
}

TEST(context, "the callback runs in a copy of the context in which the operation was started")
{
    cora_loop loop = current_loop_new();
    int seen = 0;
    cora_context_set(&request, cora_int(1));
    cora_when_done(cora_sleep(0), cora_partial(take_request, &seen));
    cora_context_set(&request, cora_int(2));
    tick(loop);
    CHECK_INT(seen, 1);
    current_loop_end(loop);
}

/* ---- cora_when_done that cannot ---- */

TEST(no_current_loop,
     "without a running or current loop nothing starts, and the arguments are dropped")
{
    int drops = 0;
    CHECK(cora_is_null(
        cora_when_done(cora_sleep(0), cora_partial(nothing_done, cora_own(&drops, &counted)))));
    CHECK_TEXT(cora_error_message(cora_last_error()),
               "There is no current event loop in this thread");
    cora_drop_temporaries();
    CHECK_INT(drops, 1);
}

TEST(closed_loop, "in a closed loop nothing starts, and the arguments are dropped")
{
    cora_loop loop = current_loop_new();
    int drops = 0;
    cora_loop_close(loop);
    CHECK(cora_is_null(
        cora_when_done(cora_sleep(0), cora_partial(nothing_done, cora_own(&drops, &counted)))));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ERUNTIME);
    CHECK(cora_is_null(cora_ensure_future(loop, cora_sleep_result(1, cora_own(&drops, &counted)))));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ERUNTIME);
    cora_drop_temporaries();
    CHECK_INT(drops, 2);
    current_loop_end(loop);
}

TEST(no_function, "without a function nothing starts")
{
    cora_loop loop = current_loop_new();
    cora_done_function none = NULL;
    int drops = 0;
    CHECK(cora_is_null(cora_when_done(cora_sleep_result(0, cora_own(&drops, &counted)),
                                      cora_partial(none, cora_own(&drops, &counted)))));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
    cora_drop_temporaries();
    CHECK_INT(drops, 2);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

TEST(bad_operation,
     "what is wrong with an operation is its outcome: told in a callback as any other")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_future future =
        cora_when_done(cora_sleep((double)NAN), cora_partial(note_outcome, &notes));
    CHECK(!cora_is_null(future));
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "ValueError: Invalid delay: NaN (not a number)");
    current_loop_end(loop);
}

TEST(zeros, "an awaitable of zeros is neither future nor operation: a TypeError")
{
    cora_loop loop = current_loop_new();
    cora_awaitable zeros = { 0 };
    int drops = 0;
    CHECK(cora_is_null(
        cora_when_done(zeros, cora_partial(nothing_done, cora_own(&drops, &counted)))));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
    CHECK(cora_is_null(cora_ensure_future(loop, zeros)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, zeros)), CORA_ETYPE);
    cora_drop_temporaries();
    CHECK_INT(drops, 1);
    current_loop_end(loop);
}

/* ---- cora_ensure_future ---- */

TEST(ensure_future_of_a_future, "a future of this loop is its own future")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_future_new(loop);
    CHECK(cora_same(cora_ensure_future(loop, future), future));
    cora_set_result(future, cora_int(1));
    CHECK(cora_same(cora_ensure_future(loop, future), future));
    virtual_loop_end(loop);
}

TEST(ensure_future_of_another_loop, "a future of another loop is refused with a ValueError",
     "test_tasks.BaseTaskTests.test_ensure_future_error_msg")
{
    cora_loop loop = cora_loop_new(NULL), other = cora_loop_new(NULL);
    cora_future future = cora_future_new(other);
    CHECK(cora_is_null(cora_ensure_future(loop, future)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EVALUE);
    CHECK(strstr(cora_error_message(cora_last_error()),
                 "The future belongs to a different loop than the one specified as the loop "
                 "argument"));
    cora_loop_close(other);
    CHECK(cora_is_null(cora_ensure_future(loop, future)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ESTALE);
    CHECK(cora_is_null(cora_ensure_future(loop, (cora_future){ 0 })));
    cora_loop_close(loop);
}

TEST(
    ensure_future_starts_later,
    "ensure_future starts the operation in the next tick, and its callbacks run the tick after its "
    "end, as a task's")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future future = cora_ensure_future(loop, cora_sleep(0));
    cora_add_done_callback(future, cora_partial(note_done, &notes, "done"));
    CHECK(!cora_done(future));
    tick(loop); /* starts */
    CHECK(!cora_done(future));
    tick(loop); /* ends */
    CHECK(cora_done(future));
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "done");
    virtual_loop_end(loop);
}

TEST(ensure_future_counts_from_its_start, "a sleep's time counts from its start, not from the call")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_ensure_future(loop, cora_sleep(1));
    CHECK_INT(cora_live(loop), 1);
    cora_virtual_clock_advance(5);
    tick(loop);
    CHECK_INT(cora_live(loop), 2); /* and its timer */
    double started_at = cora_time(loop);
    cora_run_until_complete(loop, future);
    CHECK_REAL(cora_time(loop), started_at + 1, LATE);
    virtual_loop_end(loop);
}

TEST(cancelled_before_its_start, "an operation that is cancelled before its start never starts")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    int drops = 0;
    cora_future future = cora_ensure_future(loop, cora_sleep_result(1, cora_own(&drops, &counted)));
    cora_add_done_callback(future, cora_partial(note_outcome, &notes));
    cora_drop_temporaries();
    CHECK(cora_cancel_with(future, "changed my mind"));
    CHECK(cora_cancel_with(future, "really"));
    CHECK(!cora_done(future));
    CHECK_INT(drops, 0);
    tick(loop);
    CHECK(cora_cancelled(future));
    CHECK_INT(cora_live(loop), 1); /* no timer */
    CHECK_INT(drops, 1);
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "CancelledError: really");
    CHECK(!cora_cancel(future));
    virtual_loop_end(loop);
    CHECK_INT(drops, 1);
}

static void ensure_and_forget(cora_args bound)
{
    started = cora_ensure_future(cora_running_loop(), cora_sleep_result(0, cora_int(5)));
    if (cora_arg_int(bound, 0))
        cora_keep(started);
}

TEST(ensured_in_a_callback,
     "an operation that a callback forgets runs on, and is given back at its "
     "end unless it is kept")
{
    cora_loop loop = virtual_loop_new();
    run_in(loop, cora_partial(ensure_and_forget, false));
    CHECK_INT(cora_live(loop), 1);
    ticks(loop, 2);
    CHECK_INT(cora_error_code(cora_result(started)), CORA_ESTALE);
    CHECK_INT(cora_live(loop), 0);
    run_in(loop, cora_partial(ensure_and_forget, true));
    ticks(loop, 2);
    CHECK_INT(cora_as_int(cora_result(started)), 5);
    virtual_loop_end(loop);
}

TEST(ensured_in_main, "an operation that main() starts so is held until it is released")
{
    cora_loop loop = virtual_loop_new();
    cora_future future = cora_ensure_future(loop, cora_sleep_result(0, cora_int(5)));
    ticks(loop, 5);
    CHECK_INT(cora_as_int(cora_result(future)), 5);
    CHECK_INT(cora_release(future), 0);
    tick(loop);
    CHECK_INT(cora_error_code(cora_result(future)), CORA_ESTALE);
    virtual_loop_end(loop);
}

static void ensure_bad(cora_args bound)
{
    (void)bound;
    cora_ensure_future(cora_running_loop(), cora_sleep((double)NAN));
}

TEST(unread_error, "an operation's error that nobody reads is reported, with the place of its call")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    run_in(loop, cora_partial(ensure_bad));
    CHECK_INT(reports.count, 0);
    tick(loop);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Future exception was never retrieved");
    CHECK_TEXT(reports.place.function, "ensure_bad");
    CHECK_INT(reports.code, CORA_EVALUE);
    virtual_loop_end(loop);
    CHECK_INT(reports.count, 1);
}

TEST(unread_error_of_when_done, "a callback that does not look leaves an operation's error unread")
{
    cora_loop loop = current_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_when_done(cora_sleep((double)NAN), cora_partial(nothing_done));
    tick(loop);
    CHECK_INT(reports.count, 1);
    current_loop_end(loop);
}

/* ---- closing ---- */

TEST(closed_meanwhile, "operations in every state are dropped with their loop, callbacks uncalled")
{
    cora_loop loop = current_loop_new();
    int drops = 0, runs = 0;
    cora_future futures[4] = {
        cora_ensure_future(loop, cora_sleep_result(0, cora_own(&drops, &counted))),
        cora_ensure_future(loop, cora_sleep_result(1, cora_own(&drops, &counted))),
        cora_when_done(cora_sleep_result(0, cora_own(&drops, &counted)),
                       cora_partial(count_done, &runs, cora_own(&drops, &counted))),
        cora_when_done(cora_sleep_result(1, cora_own(&drops, &counted)),
                       cora_partial(count_done, &runs, cora_own(&drops, &counted))),
    };
    cora_cancel(futures[1]);
    cora_cancel_with(futures[3], "message");
    cora_drop_temporaries();
    CHECK_INT(drops, 0);
    current_loop_end(loop);
    CHECK_INT(drops, 6);
    CHECK_INT(runs, 0);
    for (int i = 0; i < 4; i++)
        CHECK_INT(cora_error_code(cora_result(futures[i])), CORA_ESTALE);
}
