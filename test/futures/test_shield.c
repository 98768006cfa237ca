/*
 * Shield: whoever waits may be cancelled, and what is waited for runs on. An error that it then
 * fails with, and that nobody waits for any more, is reported once.
 */
#include "helpers.h"

#include <ev.h>
#include <math.h>

/* ---- helpers ---- */

static cora_value failure(const char *text)
{
    return cora_error(CORA_EVALUE, "%s", text);
}

/* ---- ends as the inner one does ---- */

static void answer(cora_args bound)
{
    cora_set_result(cora_arg_future(bound, 0), cora_text("the answer"));
}

TEST(answered, "a shield has the outcome of the query inside of it, a tick later")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_future query = cora_future_new(loop), shield = cora_shield(loop, query);
    CHECK(!cora_same(query, shield));
    cora_add_done_callback(shield, cora_partial(note_outcome, &notes));
    cora_call_later(loop, 1, cora_partial(answer, query));
    run_for(loop, 2);
    CHECK_TEXT(notes.text, "\"the answer\"");
    virtual_loop_end(loop);
}

TEST(ticks_of_a_shield, "it is done in the tick after the inner one, and calls back in the next")
{
    cora_loop loop = virtual_loop_new();
    int calls = 0;
    cora_future inner = cora_future_new(loop), outer = cora_shield(loop, inner);
    cora_add_done_callback(outer, cora_partial(count_done, &calls));
    cora_set_result(inner, cora_from(1));
    CHECK(!cora_done(outer));
    tick(loop);
    CHECK(cora_done(outer));
    CHECK_INT(calls, 0);
    tick(loop);
    CHECK_INT(calls, 1);
    virtual_loop_end(loop);
}

TEST(exception, "an error of the inner one is the outer one's, the very object, and counts as read",
     "test_tasks.BaseTaskTests.test_shield_exception")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future inner = cora_future_new(loop), outer = cora_shield(loop, inner);
    ticks(loop, 2);
    cora_value error = failure("wrong");
    cora_set_exception(inner, error);
    ticks(loop, 2);
    CHECK(cora_equal(cora_exception(outer), error));
    virtual_loop_end(loop);
    CHECK_INT(reports.count, 0);
}

TEST(inner_cancelled, "if the inner one is cancelled, so is the outer one, without its message",
     "test_tasks.BaseTaskTests.test_shield_cancel_inner")
{
    cora_loop loop = virtual_loop_new();
    cora_future inner = cora_future_new(loop), outer = cora_shield(loop, inner);
    CHECK(cora_cancel_with(inner, "inner"));
    CHECK(!cora_done(outer));
    ticks(loop, 2);
    CHECK(cora_cancelled(outer));
    CHECK_TEXT(outcome(outer), "CancelledError");
    CHECK_TEXT(outcome(inner), "CancelledError: inner");
    virtual_loop_end(loop);
}

TEST(done_already, "a future that is done comes back as it is",
     "test_tasks.BaseTaskTests.test_shield_shortcut")
{
    cora_loop loop = virtual_loop_new();
    cora_future inner[3];
    for (int i = 0; i < 3; i++)
        inner[i] = cora_future_new(loop);
    cora_set_result(inner[0], cora_from(42));
    cora_set_exception(inner[1], failure("wrong"));
    cora_cancel(inner[2]);
    for (int i = 0; i < 3; i++)
        CHECK(cora_same(cora_shield(loop, inner[i]), inner[i]));
    CHECK_INT(cora_live(loop), 3); /* no callbacks either */
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, cora_shield(loop, inner[0]))), 42);
    cora_exception(inner[1]);
    virtual_loop_end(loop);
}

/* ---- cancelled ---- */

TEST(outer_cancelled, "cancelling the outer one leaves the inner one alone",
     "test_tasks.BaseTaskTests.test_shield_cancel_outer")
{
    cora_loop loop = virtual_loop_new();
    cora_future inner = cora_future_new(loop), outer = cora_shield(loop, inner);
    CHECK(cora_cancel_with(outer, "enough"));
    CHECK(cora_cancelled(outer)); /* at once, as any future */
    CHECK_TEXT(outcome(outer), "CancelledError: enough");
    ticks(loop, 2);
    CHECK_TEXT(printed(outer), "<Future cancelled>");
    CHECK(!cora_done(inner));
    CHECK(!cora_cancel(outer));
    virtual_loop_end(loop);
}

TEST(result_afterwards, "a result that the inner one then has is told to nobody",
     "test_tasks.BaseTaskTests.test_shield_cancel_outer_result")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future inner = cora_future_new(loop), outer = cora_shield(loop, inner);
    cora_cancel(outer);
    ticks(loop, 2);
    cora_set_result(inner, cora_from(1));
    ticks(loop, 2);
    CHECK(cora_cancelled(outer));
    virtual_loop_end(loop);
    CHECK_INT(reports.count, 0);
}

TEST(error_afterwards, "an error that the inner one then has is reported once, and counts as read",
     "test_tasks.BaseTaskTests.test_shield_cancel_outer_exception")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future inner = cora_future_new(loop), outer = cora_shield(loop, inner);
    cora_cancel(outer);
    ticks(loop, 2);
    CHECK_INT(reports.count, 0);
    cora_set_exception(inner, failure("late"));
    CHECK_INT(reports.count, 0);
    ticks(loop, 2);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "ValueError exception in shielded future");
    CHECK_TEXT(reports.error, "ValueError: late");
    CHECK_TEXT(reports.object, "<Future finished exception=ValueError: late>");
    CHECK(cora_same(reports.future, inner));
    CHECK_TEXT(reports.place.function, __func__);
    virtual_loop_end(loop);
    CHECK_INT(reports.count, 1);
}

TEST(cancelled_afterwards, "the cancellation of the inner one is no error to report")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future inner = cora_future_new(loop), outer = cora_shield(loop, inner);
    cora_cancel(outer);
    tick(loop);
    cora_cancel(inner);
    ticks(loop, 2);
    virtual_loop_end(loop);
    CHECK_INT(reports.count, 0);
}

TEST(one_report_for_many, "however many shields were cancelled, the error is reported once",
     "test_tasks.BaseTaskTests.test_shield_duplicate_log_once")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future inner = cora_future_new(loop), others[10];
    for (int i = 0; i < 2; i++) { /* one after the other */
        cora_cancel(cora_shield(loop, inner));
        ticks(loop, 2);
    }
    for (int i = 0; i < 10; i++)
        others[i] = cora_shield(loop, inner);
    for (int i = 0; i < 10; i++) /* and at once */
        cora_cancel(others[i]);
    ticks(loop, 2);
    cora_set_exception(inner, failure("late"));
    ticks(loop, 2);
    CHECK_INT(reports.count, 1);
    virtual_loop_end(loop);
    CHECK_INT(reports.count, 1);
}

TEST(one_of_two, "of two shields one may be cancelled, and the other ends with the inner one")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    for (int failing = 0; failing < 2; failing++) {
        cora_future inner = cora_future_new(loop);
        cora_future one = cora_shield(loop, inner), other = cora_shield(loop, inner);
        cora_cancel(one);
        tick(loop);
        if (failing)
            cora_set_exception(inner, failure("late"));
        else
            cora_set_result(inner, cora_from(7));
        ticks(loop, 2);
        CHECK(cora_cancelled(one));
        CHECK_TEXT(outcome(other), failing ? "ValueError: late" : "7");
        CHECK_INT(reports.count, failing); /* as in asyncio, though the other one has it */
    }
    virtual_loop_end(loop);
    CHECK_INT(reports.count, 1);
}

/* ---- both in the same tick ---- */

TEST(result_in_the_same_tick, "an outer one that was cancelled in the tick of the result stays so")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    for (int inner_first = 0; inner_first < 2; inner_first++) {
        cora_future inner = cora_future_new(loop), outer = cora_shield(loop, inner);
        if (inner_first)
            cora_set_result(inner, cora_from(1));
        CHECK(cora_cancel(outer));
        if (!inner_first)
            cora_set_result(inner, cora_from(1));
        ticks(loop, 3);
        CHECK(cora_cancelled(outer));
        CHECK_TEXT(outcome(inner), "1");
    }
    virtual_loop_end(loop);
    CHECK_INT(reports.count, 0);
}

TEST(error_in_the_same_tick,
     "an error in that tick is left to be reported as any that nobody reads")
{
    for (int inner_first = 0; inner_first < 2; inner_first++) {
        cora_loop loop = virtual_loop_new();
        struct reports reports;
        collect_reports(loop, &reports);
        cora_future inner = cora_future_new(loop), outer = cora_shield(loop, inner);
        if (inner_first)
            cora_set_exception(inner, failure("late"));
        CHECK(cora_cancel(outer));
        if (!inner_first)
            cora_set_exception(inner, failure("late"));
        ticks(loop, 3);
        CHECK(cora_cancelled(outer));
        CHECK_INT(reports.count, 0);
        virtual_loop_end(loop);
        CHECK_INT(reports.count, 1);
        CHECK_TEXT(reports.message, "Future exception was never retrieved");
        CHECK_TEXT(reports.error, "ValueError: late");
    }
}

TEST(both_cancelled, "both may be cancelled in one tick")
{
    cora_loop loop = virtual_loop_new();
    cora_future inner = cora_future_new(loop), outer = cora_shield(loop, inner);
    CHECK(cora_cancel_with(inner, "inner"));
    CHECK(cora_cancel_with(outer, "outer"));
    ticks(loop, 3);
    CHECK_TEXT(outcome(inner), "CancelledError: inner");
    CHECK_TEXT(outcome(outer), "CancelledError: outer");
    virtual_loop_end(loop);
}

/* ---- with others ---- */

TEST(shielded_gather, "a shield around a gather keeps a cancel from its members",
     "test_tasks.BaseTaskTests.test_shield_gather")
{
    cora_loop loop = virtual_loop_new();
    cora_future child[2] = { cora_future_new(loop), cora_future_new(loop) };
    cora_future all = cora_gather(loop, child, 2), outer = cora_shield(loop, all);
    CHECK(cora_cancel(outer));
    ticks(loop, 2);
    CHECK(cora_cancelled(outer));
    CHECK(!cora_done(child[0]));
    CHECK(!cora_done(child[1]));
    cora_set_result(child[0], cora_from(1));
    cora_set_result(child[1], cora_from(2));
    ticks(loop, 2);
    CHECK_TEXT(outcome(all), "[1, 2]");
    virtual_loop_end(loop);
}

TEST(gathered_shields, "a gather of shields that is cancelled fails, and what is shielded goes on",
     "test_tasks.BaseTaskTests.test_gather_shield")
{
    cora_loop loop = virtual_loop_new();
    cora_future child[2] = { cora_future_new(loop), cora_future_new(loop) };
    cora_future shields[2] = { cora_shield(loop, child[0]), cora_shield(loop, child[1]) };
    cora_future all = cora_gather(loop, shields, 2);
    CHECK(cora_cancel(all));
    ticks(loop, 2);
    CHECK(!cora_cancelled(all));
    CHECK(is_error(all, CORA_ECANCELLED));
    CHECK(cora_cancelled(shields[0]));
    CHECK(cora_cancelled(shields[1]));
    CHECK(!cora_done(child[0]));
    CHECK(!cora_done(child[1]));
    CHECK_INT(cora_set_result(child[0], cora_from(1)), 0);
    CHECK_INT(cora_set_result(child[1], cora_from(2)), 0);
    ticks(loop, 2);
    virtual_loop_end(loop);
}

TEST(shielded_shield, "a shield in a shield: the innermost has nothing to do with either")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future inner = cora_future_new(loop), middle = cora_shield(loop, inner);
    cora_future outer = cora_shield(loop, middle);
    cora_cancel(outer);
    tick(loop);
    CHECK(!cora_done(middle));
    cora_set_exception(inner, failure("late"));
    ticks(loop, 3);
    CHECK_INT(reports.count, 1); /* the middle one has the error, and nobody waits for it */
    CHECK(cora_same(reports.future, middle));
    virtual_loop_end(loop);
    CHECK_INT(reports.count, 1);
}

TEST(completed_from_outside,
     "the outer one may be completed by somebody else; the inner one goes on")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future inner = cora_future_new(loop), outer = cora_shield(loop, inner);
    CHECK_INT(cora_set_result(outer, cora_from(1)), 0);
    tick(loop);
    cora_set_result(inner, cora_from(2));
    ticks(loop, 2);
    CHECK_TEXT(outcome(outer), "1");
    CHECK_INT(reports.count, 0);

    inner = cora_future_new(loop), outer = cora_shield(loop, inner);
    CHECK_INT(cora_set_result(outer, cora_from(1)), 0);
    cora_set_result(inner, cora_from(2)); /* in the same tick: it cannot take that any more */
    ticks(loop, 2);
    CHECK_TEXT(outcome(outer), "1");
    CHECK_INT(reports.count, 1);
    CHECK_INT(reports.code, CORA_EINVALIDSTATE);
    virtual_loop_end(loop);
}

/* ---- operations ---- */

TEST(operation, "an operation inside starts in the next tick")
{
    cora_loop loop = virtual_loop_new();
    cora_future outer = cora_shield(loop, cora_sleep_result(1, cora_text("awake")));
    CHECK_INT(cora_live(loop), 2); /* no timer yet */
    cora_run_until_complete(loop, outer);
    CHECK_TEXT(outcome(outer), "\"awake\"");
    CHECK_REAL(cora_time(loop), START + 1, LATE);
    virtual_loop_end(loop);
}

TEST(ticks_of_an_operation, "one that needs one tick is done behind a shield in the third")
{
    cora_loop loop = virtual_loop_new();
    cora_future outer = cora_shield(loop, cora_sleep(0));
    ticks(loop, 2);
    CHECK(!cora_done(outer));
    tick(loop);
    CHECK(cora_done(outer));
    virtual_loop_end(loop);
}

TEST(operation_runs_on, "cancelled before or after it has started, the operation runs to its end")
{
    cora_loop loop = virtual_loop_new();
    for (int started = 0; started < 2; started++) {
        cora_future outer = cora_shield(loop, cora_sleep(1));
        ticks(loop, started);
        CHECK(cora_cancel(outer));
        CHECK(cora_cancelled(outer));
        cora_release(outer);
        ticks(loop, 2);
        CHECK_INT(cora_live(loop), 2); /* the operation and its timer */
        run_for(loop, 2);
        CHECK_INT(cora_live(loop), 0);
    }
    virtual_loop_end(loop);
}

TEST(failing_operation,
     "an operation's own error is the outer one's; cancelled in the very tick in "
     "which it fails, that is lost, and reported as such")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    collect_reports(loop, &reports);
    cora_future outer = cora_shield(loop, cora_sleep((double)NAN));
    cora_run_until_complete(loop, outer);
    CHECK(is_error(outer, CORA_EVALUE));
    outer = cora_shield(loop, cora_wait(NULL, 0, 1, CORA_ALL_COMPLETED));
    cora_cancel(outer);
    ticks(loop, 4);
    CHECK_INT(reports.count, 1);
    CHECK(strstr(reports.message, "exception was never retrieved") != NULL);
    CHECK_INT(reports.code, CORA_EVALUE);
    virtual_loop_end(loop);
    CHECK_INT(reports.count, 1);
}

TEST(operation_without_loop, "without a running or current loop it is null, and nothing starts",
     "test_tasks.BaseTaskTests.test_shield_coroutine_without_loop")
{
    cora_loop loop = cora_current_loop();
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ERUNTIME);
    CHECK(strstr(cora_error_message(cora_last_error()), "no current event loop") != NULL);
    CHECK(cora_is_null(cora_shield(loop, cora_sleep(0))));
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
}

TEST(operation_with_current_loop, "with a loop that is set for the thread it is of that",
     "test_tasks.BaseTaskTests.test_shield_coroutine_use_global_loop")
{
    cora_loop loop = virtual_loop_new();
    cora_set_current_loop(loop);
    cora_future outer = cora_shield(cora_current_loop(), cora_sleep_result(0, cora_from(42)));
    CHECK(cora_same(cora_future_loop(outer), loop));
    CHECK_INT(cora_as_int(cora_run_until_complete(loop, outer)), 42);
    cora_set_current_loop((cora_loop){ 0 });
    virtual_loop_end(loop);
}

TEST(wrong_arguments, "stale, null and another loop's futures, and useless loops, are refused")
{
    cora_loop loop = virtual_loop_new(), other = cora_loop_new(NULL);
    cora_future future = cora_future_new(other), mine = cora_future_new(loop);
    CHECK(cora_is_null(cora_shield(loop, future)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_EVALUE);
    CHECK_TEXT(printed(future), "<Future pending>"); /* nothing was registered */
    cora_loop_close(other);
    CHECK(cora_is_null(cora_shield(loop, future)));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ESTALE);
    CHECK(cora_is_null(cora_shield(loop, ((cora_future){ mine.bits + 1 }))));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ESTALE);
    CHECK(cora_is_null(cora_shield(other, mine)));
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
    CHECK(cora_is_null(cora_shield(((cora_loop){ 0 }), mine)));
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
    cora_future none = cora_shield(loop, ((cora_future){ 0 }));
    CHECK(cora_is_null(none));
    CHECK(cora_is_error(cora_result(none)));
    CHECK_TEXT(printed(mine), "<Future pending>");
    virtual_loop_end(loop);
}

/* ---- who keeps what ---- */

static struct {
    cora_loop loop;
    cora_future inner, outer, other;
    int calls, drops;
} stage;

static void stage_new(void)
{
    memset(&stage, 0, sizeof stage);
    stage.loop = virtual_loop_new();
}

static void make_shield(cora_args bound)
{
    (void)bound;
    stage.inner = cora_future_new(cora_running_loop());
    stage.outer = cora_shield(cora_running_loop(), stage.inner);
}

static void complete_inner(cora_args bound)
{
    (void)bound;
    cora_set_result(stage.inner, cora_own(&stage.drops, &counted));
}

static void fail_inner(cora_args bound)
{
    (void)bound;
    cora_set_exception(stage.inner, failure("lost"));
}

TEST(forgotten, "nobody needs to keep either of them: they are given back when they are done")
{
    stage_new();
    run_in(stage.loop, cora_partial(make_shield));
    CHECK_INT(cora_live(stage.loop), 2);
    run_in(stage.loop, cora_partial(complete_inner));
    ticks(stage.loop, 2);
    CHECK_INT(stage.drops, 1);
    CHECK_INT(cora_live(stage.loop), 0);
    CHECK(is_error(stage.outer, CORA_ESTALE));
    virtual_loop_end(stage.loop);
}

TEST(kept, "an outer one that is kept has the result, and lets the inner one go")
{
    stage_new();
    run_in(stage.loop, cora_partial(make_shield));
    cora_keep(stage.outer);
    run_in(stage.loop, cora_partial(complete_inner));
    ticks(stage.loop, 3);
    CHECK(is_error(stage.inner, CORA_ESTALE));
    CHECK_INT(stage.drops, 0);
    CHECK(cora_as_pointer(cora_result(stage.outer)) == &stage.drops);
    cora_release(stage.outer);
    tick(stage.loop);
    CHECK_INT(stage.drops, 1);
    CHECK_INT(cora_live(stage.loop), 0);
    virtual_loop_end(stage.loop);
}

TEST(lost_error, "an error that nobody reads is reported once, as that of the outer one")
{
    struct reports reports;
    stage_new();
    collect_reports(stage.loop, &reports);
    run_in(stage.loop, cora_partial(make_shield));
    run_in(stage.loop, cora_partial(fail_inner));
    ticks(stage.loop, 3);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Future exception was never retrieved");
    CHECK(cora_same(reports.future, stage.outer));
    CHECK_INT(cora_live(stage.loop), 0);
    virtual_loop_end(stage.loop);
    CHECK_INT(reports.count, 1);
}

/* ---- misuse ---- */

static struct ev_loop *guest_on_stage(void)
{
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    CHECK(host != NULL);
    memset(&stage, 0, sizeof stage);
    stage.loop = cora_loop_attach(host, NULL);
    stage.inner = cora_future_new(stage.loop);
    stage.outer = cora_shield(stage.loop, stage.inner);
    return host;
}

static void check_detached(struct ev_loop *host)
{
    CHECK(cora_is_closed(stage.loop));
    CHECK(is_error(stage.inner, CORA_ESTALE));
    CHECK(is_error(stage.outer, CORA_ESTALE));
    CHECK(!cora_cancel(stage.outer));
    CHECK_INT(ev_run(host, EVRUN_NOWAIT), 0);
    ev_loop_destroy(host);
}

static void detach_done(cora_args bound, cora_future done)
{
    (void)bound, (void)done;
    stage.calls++;
    CHECK_INT(cora_loop_detach(stage.loop), 0);
}

TEST(detached_by_a_callback, "callbacks of the inner and of the outer one may detach the guest")
{
    for (int outer = 0; outer < 2; outer++)
        for (int cancelled = 0; cancelled < 2; cancelled++) {
            struct ev_loop *host = guest_on_stage();
            cora_add_done_callback(outer ? stage.outer : stage.inner, cora_partial(detach_done));
            if (cancelled)
                cora_cancel(stage.outer);
            if (!cancelled || !outer)
                cora_set_result(stage.inner, cora_own(&stage.drops, &counted));
            for (int i = 0; i < 3; i++)
                ev_run(host, EVRUN_NOWAIT);
            CHECK_INT(stage.calls, 1);
            cora_drop_temporaries();
            CHECK_INT(stage.drops, !cancelled || !outer);
            check_detached(host);
        }
}

static void detach_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)bound;
    stage.calls++;
    CHECK_TEXT(report->message, "ValueError exception in shielded future");
    CHECK_INT(cora_loop_detach(loop), 0);
}

TEST(detached_by_the_handler, "so may the handler that is told of a late error")
{
    struct ev_loop *host = guest_on_stage();
    cora_set_exception_handler(stage.loop, cora_partial(detach_report));
    cora_cancel(stage.outer);
    ev_run(host, EVRUN_NOWAIT);
    cora_set_exception(stage.inner, failure("late"));
    ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(stage.calls, 1);
    check_detached(host);
}

static void detach_drop(void *unused)
{
    (void)unused;
    stage.drops++;
    cora_loop_detach(stage.loop);
}

static const cora_type detacher = { "detacher", detach_drop, NULL, 0 };

static void complete_with_detacher(cora_args bound)
{
    (void)bound;
    cora_set_result(stage.inner, cora_own(&stage, &detacher));
    cora_release(stage.inner);
    cora_release(stage.outer);
}

TEST(detached_by_a_result, "so may the drop function of the result that both of them have")
{
    struct ev_loop *host = guest_on_stage();
    cora_call_soon(stage.loop, cora_partial(complete_with_detacher));
    for (int i = 0; i < 4; i++)
        ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(stage.drops, 1);
    check_detached(host);
}

TEST(closed_with_everything, "closing a loop drops shields in every state, and reports nothing")
{
    cora_loop loop = virtual_loop_new();
    struct reports reports;
    int drops = 0, calls = 0;
    collect_reports(loop, &reports);
    cora_future inner = cora_future_new(loop), outer[4];
    for (int i = 0; i < 4; i++)
        outer[i] = cora_shield(loop, inner);
    cora_add_done_callback(outer[0], cora_partial(count_done, &calls, cora_own(&drops, &counted)));
    cora_cancel(outer[1]);
    tick(loop);
    cora_cancel(outer[2]);
    cora_future operation = cora_shield(loop, cora_sleep_result(1, cora_own(&drops, &counted)));
    tick(loop);
    cora_set_result(inner, cora_own(&drops, &counted));
    cora_future not_started = cora_shield(loop, cora_sleep(1));
    virtual_loop_end(loop);
    cora_drop_temporaries();
    CHECK_INT(drops, 3);
    CHECK_INT(calls, 0);
    CHECK_INT(reports.count, 0);
    CHECK(is_error(outer[0], CORA_ESTALE));
    CHECK(cora_done(operation) && cora_done(not_started));
}

/* ---- deep ---- */

static cora_future deep_build(cora_loop loop, cora_future inner, int depth)
{
    while (depth-- > 0)
        inner = cora_shield(loop, inner);
    return inner;
}

static void *run_deep(void *unused)
{
    int depth = harness_scale(100000);
    for (int i = 0; i < 3; i++) {
        cora_loop loop = cora_loop_new(NULL);
        cora_future inner = cora_future_new(loop), outer = deep_build(loop, inner, depth);
        if (i == 0)
            cora_set_result(inner, cora_from(7));
        else if (i == 1)
            cora_cancel(inner);
        if (i < 2) {
            cora_run_until_complete(loop, outer);
            CHECK_TEXT(outcome(outer), i == 0 ? "7" : "CancelledError");
        }
        CHECK_INT(cora_loop_close(loop), 0);
    }
    return unused;
}

TEST(deep, "a hundred thousand shields of each other are completed, cancelled and closed in 64 KiB")
{
    harness_in_small_stack(run_deep);
}
