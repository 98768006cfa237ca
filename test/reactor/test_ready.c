/*
 * Callbacks for the next tick: order, cancelling, what happens to their arguments, and how often
 * the loop polls between them.
 */
#include "harness.h"

#include <cora.h>
#include <cora/virtual_clock.h>
#include <ev.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void count(cora_args bound)
{
    ++*cora_arg(bound, 0, int *);
}

static void nothing(cora_args bound)
{
    (void)bound;
}

static void stop(cora_args bound)
{
    cora_stop(cora_arg_loop(bound, 0));
}

/* Letters in the order in which callbacks ran. */
struct notes {
    char text[64];
    size_t length;
};

static void add_note(struct notes *notes, int64_t letter)
{
    if (notes->length < sizeof notes->text - 1)
        notes->text[notes->length++] = (char)letter;
}

static void note(cora_args bound)
{
    add_note(cora_arg(bound, 0, struct notes *), cora_arg_int(bound, 1));
}

/* An owned pointer that counts how often it is dropped. */
static void count_drop(void *pointer)
{
    ++*(int *)pointer;
}

static const cora_type counted = { "counted", count_drop, NULL, 0 };

static void tick(cora_loop loop)
{
    cora_stop(loop);
    CHECK_INT(cora_run_forever(loop), 0);
}

/* In main() a value made here lives until the next run: of any loop. */
static void forget_temporaries(void)
{
    cora_loop other = cora_loop_new(NULL);
    tick(other);
    cora_loop_close(other);
}

/* ---- once, in order, in the next tick ---- */

static void add_both(cora_args bound)
{
    int *sum = cora_arg(bound, 0, int *);
    *sum = *sum * 100 + (int)cora_arg_int(bound, 1);
}

TEST(call_soon_runs_once,
     "a call_soon callback runs exactly once, on the next tick, with both of its arguments",
     "test_events.EventLoopTestsMixin.test_call_soon")
{
    cora_loop loop = cora_loop_new(NULL);
    int sum = 0;
    cora_call_soon(loop, cora_partial(add_both, &sum, 7));
    CHECK_INT(sum, 0);
    tick(loop);
    CHECK_INT(sum, 7);
    tick(loop);
    CHECK_INT(sum, 7);
    cora_loop_close(loop);
}

TEST(call_soon_gives_handle, "call_soon gives a handle of what is queued, which has no time",
     "test_base_events.BaseEventLoopTests.test_call_soon")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_handle handle = cora_call_soon(loop, cora_partial(nothing));
    CHECK(!cora_is_null(handle));
    CHECK_INT(cora_live(loop), 1);
    CHECK(isnan(cora_handle_when(handle)));
    tick(loop);
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}

static void in_order(cora_args bound)
{
    int *next = cora_arg(bound, 0, int *);
    CHECK_INT(cora_arg_int(bound, 1), *next);
    ++*next;
}

TEST(call_soon_is_first_in_first_out, "callbacks run in the order in which they were queued")
{
    cora_loop loop = cora_loop_new(NULL);
    int next = 0, all = harness_scale(100000);
    for (int i = 0; i < all; i++)
        cora_call_soon(loop, cora_partial(in_order, &next, i));
    tick(loop);
    CHECK_INT(next, all);
    cora_loop_close(loop);
}

static void note_and_queue_another(cora_args bound)
{
    note(bound);
    cora_call_soon(cora_running_loop(),
                   cora_partial(note, cora_arg(bound, 0, struct notes *), 'c'));
}

TEST(tick_runs_a_snapshot, "what a callback queues does not run in its tick, but in the next",
     "test_base_events.BaseEventLoopTests.test__run_once_schedule_handle")
{
    cora_loop loop = cora_loop_new(NULL);
    struct notes notes = { "", 0 };
    cora_call_soon(loop, cora_partial(note_and_queue_another, &notes, 'a'));
    cora_call_soon(loop, cora_partial(note, &notes, 'b'));
    tick(loop);
    CHECK_TEXT(notes.text, "ab");
    CHECK_INT(cora_live(loop), 1);
    tick(loop);
    CHECK_TEXT(notes.text, "abc");
    cora_loop_close(loop);
}

TEST(queued_before_is_first, "what waits from an earlier tick runs before what is queued now")
{
    cora_loop loop = cora_loop_new(NULL);
    struct notes notes = { "", 0 };
    cora_call_soon(loop, cora_partial(note_and_queue_another, &notes, 'a'));
    tick(loop);
    cora_call_soon(loop, cora_partial(note, &notes, 'd'));
    tick(loop);
    CHECK_TEXT(notes.text, "acd");
    cora_loop_close(loop);
}

/* ---- arguments ---- */

static void check_eight(cora_args bound)
{
    CHECK_INT(bound.count, 8);
    CHECK_INT(cora_arg_int(bound, 0), -1);
    CHECK_REAL(cora_arg_real(bound, 1), 2.5, 0);
    CHECK_TEXT(cora_arg_text(bound, 2), "three");
    CHECK(cora_arg_pointer(bound, 3) == bound.values[3].as.pointer);
    CHECK(cora_same(cora_arg_loop(bound, 4), cora_running_loop()));
    CHECK(cora_is_null(cora_arg_handle(bound, 5)));
    CHECK_INT(cora_arg_int(bound, 6), 1);
    ++*cora_arg(bound, 7, int *);
}

TEST(eight_arguments, "a callback is bound to up to eight arguments of any type")
{
    cora_loop loop = cora_loop_new(NULL);
    const cora_handle none = { 0 };
    int runs = 0;
    cora_call_soon(loop,
                   cora_partial(check_eight, -1, 2.5, "three", &loop, loop, none, true, &runs));
    tick(loop);
    CHECK_INT(runs, 1);
    cora_loop_close(loop);
}

static void check_text(cora_args bound)
{
    CHECK_TEXT(cora_arg_text(bound, 0), "as it was");
}

TEST(texts_are_copied, "a char pointer among the arguments is copied when the callback is queued")
{
    cora_loop loop = cora_loop_new(NULL);
    char text[] = "as it was";
    cora_call_soon(loop, cora_partial(check_text, text));
    strcpy(text, "changed");
    tick(loop);
    cora_loop_close(loop);
}

static void check_kept(cora_args bound)
{
    CHECK_INT(*(int *)cora_arg_pointer(bound, 0), 0);
}

TEST(arguments_are_dropped_after_the_call,
     "an owned argument lives through the call, and is dropped exactly once when it has returned")
{
    cora_loop loop = cora_loop_new(NULL);
    int drops = 0;
    cora_call_soon(loop, cora_partial(check_kept, cora_own(&drops, &counted)));
    tick(loop);
    CHECK_INT(drops, 1);
    tick(loop);
    cora_loop_close(loop);
    CHECK_INT(drops, 1);
}

TEST(many_arguments_are_dropped_once,
     "owned arguments beyond those that fit into a handle are dropped exactly once, too")
{
    cora_loop loop = cora_loop_new(NULL);
    int drops[3] = { 0, 0, 0 };
    cora_call_soon(loop, cora_partial(nothing, cora_own(&drops[0], &counted), 1, 2, 3,
                                      cora_own(&drops[1], &counted)));
    cora_handle cancelled =
        cora_call_soon(loop, cora_partial(nothing, 1, 2, 3, cora_own(&drops[2], &counted)));
    cora_handle_cancel(cancelled);
    tick(loop);
    cora_loop_close(loop);
    CHECK_INT(drops[0], 1);
    CHECK_INT(drops[1], 1);
    CHECK_INT(drops[2], 1);
}

TEST(cancel_drops_arguments_at_once, "cancelling drops the arguments inside the call, exactly once")
{
    cora_loop loop = cora_loop_new(NULL);
    int drops = 0;
    cora_handle handle = cora_call_soon(loop, cora_partial(nothing, cora_own(&drops, &counted)));
    forget_temporaries();
    CHECK_INT(drops, 0);
    CHECK(cora_handle_cancel(handle));
    CHECK_INT(drops, 1);
    tick(loop);
    cora_loop_close(loop);
    CHECK_INT(drops, 1);
}

TEST(close_drops_arguments,
     "closing the loop drops what is queued without running it, exactly once")
{
    cora_loop loop = cora_loop_new(NULL);
    int drops = 0, runs = 0;
    for (int i = 0; i < 3; i++)
        cora_call_soon(loop, cora_partial(count, &runs, cora_own(&drops, &counted)));
    forget_temporaries();
    cora_loop_close(loop);
    CHECK_INT(drops, 3);
    CHECK_INT(runs, 0);
}

TEST(refused_when_closed,
     "a closed loop refuses call_soon with a RuntimeError, and the arguments are dropped")
{
    cora_loop loop = cora_loop_new(NULL);
    int drops = 0;
    cora_loop_close(loop);
    CHECK(cora_is_null(cora_call_soon(loop, cora_partial(nothing, cora_own(&drops, &counted)))));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ERUNTIME);
    CHECK_TEXT(cora_error_message(cora_last_error()), "Event loop is closed");
    forget_temporaries();
    CHECK_INT(drops, 1);
}

TEST(refused_without_loop,
     "call_soon on the null handle gives a StaleHandle error and the null handle")
{
    const cora_loop none = { 0 };
    CHECK(cora_is_null(cora_call_soon(none, cora_partial(nothing))));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ESTALE);
}

TEST(one_value_in_many_callbacks,
     "a value that was given to several callbacks is dropped with the last of them")
{
    cora_loop loop = cora_loop_new(NULL);
    int drops = 0;
    cora_value shared = cora_own(&drops, &counted);
    cora_handle last = { 0 };
    for (int i = 0; i < 5; i++)
        last = cora_call_soon(loop, cora_partial(check_kept, shared));
    cora_handle_cancel(last);
    tick(loop);
    CHECK_INT(drops, 1);
    cora_loop_close(loop);
}

/* ---- cancelling ---- */

TEST(cancelled_does_not_run, "a cancelled callback does not run; those around it do")
{
    cora_loop loop = cora_loop_new(NULL);
    struct notes notes = { "", 0 };
    cora_call_soon(loop, cora_partial(note, &notes, 'a'));
    cora_handle cancelled = cora_call_soon(loop, cora_partial(note, &notes, 'b'));
    cora_call_soon(loop, cora_partial(note, &notes, 'c'));
    CHECK(cora_handle_cancel(cancelled));
    tick(loop);
    CHECK_TEXT(notes.text, "ac");
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}

static void cancel(cora_args bound)
{
    cora_handle handle = *cora_arg(bound, 0, cora_handle *);
    *cora_arg(bound, 1, int *) += cora_handle_cancel(handle) ? 1 : 100;
}

TEST(cancel_of_a_sibling,
     "a callback may cancel a later one of the same tick, which then does not run")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_handle later = { 0 };
    int cancelled = 0, runs = 0;
    cora_call_soon(loop, cora_partial(cancel, &later, &cancelled));
    later = cora_call_soon(loop, cora_partial(count, &runs));
    tick(loop);
    CHECK_INT(cancelled, 1);
    CHECK_INT(runs, 0);
    cora_loop_close(loop);
}

TEST(cancel_of_the_last_sibling,
     "the tick ends well when its last callback was cancelled meanwhile")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_handle later = { 0 };
    int cancelled = 0, runs = 0;
    cora_call_soon(loop, cora_partial(cancel, &later, &cancelled));
    cora_call_soon(loop, cora_partial(count, &runs));
    later = cora_call_soon(loop, cora_partial(count, &runs));
    tick(loop);
    CHECK_INT(runs, 1);
    cora_call_soon(loop, cora_partial(count, &runs));
    tick(loop);
    CHECK_INT(runs, 2);
    cora_loop_close(loop);
}

TEST(cancel_of_itself, "a running callback is too late to cancel: false, and it goes on")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_handle self = { 0 };
    int cancelled = 0;
    self = cora_call_soon(loop, cora_partial(cancel, &self, &cancelled));
    tick(loop);
    CHECK_INT(cancelled, 100);
    cora_loop_close(loop);
}

/* ---- drop functions that come back into the API ---- */

struct visitor {
    cora_loop loop;
    cora_handle self, other;
    int drops, runs;
    bool cancelled_self, cancelled_other, queued;
    int closed;
};

static void visit(void *pointer)
{
    struct visitor *visitor = pointer;
    visitor->drops++;
    visitor->cancelled_self = cora_handle_cancel(visitor->self);
    visitor->cancelled_other = cora_handle_cancel(visitor->other);
    visitor->queued =
        !cora_is_null(cora_call_soon(visitor->loop, cora_partial(count, &visitor->runs)));
    visitor->closed = cora_loop_close(visitor->loop);
}

static const cora_type visiting = { "visiting", visit, NULL, 0 };

TEST(drop_function_after_a_call, "a drop function that runs after the call may cancel others and "
                                 "queue, not itself and not close")
{
    struct visitor visitor = { .loop = cora_loop_new(NULL) };
    cora_loop loop = visitor.loop;
    int runs = 0;
    visitor.self = cora_call_soon(loop, cora_partial(nothing, cora_own(&visitor, &visiting)));
    visitor.other = cora_call_soon(loop, cora_partial(count, &runs));
    tick(loop);
    CHECK_INT(visitor.drops, 1);
    CHECK(!visitor.cancelled_self);
    CHECK(visitor.cancelled_other);
    CHECK(visitor.queued);
    CHECK_INT(visitor.closed, CORA_ERUNTIME);
    CHECK_INT(runs, 0);
    tick(loop);
    CHECK_INT(visitor.runs, 1);
    cora_loop_close(loop);
}

TEST(drop_function_in_a_close, "a drop function that runs while its loop is closed finds it closed")
{
    struct visitor visitor = { .loop = cora_loop_new(NULL) };
    cora_loop loop = visitor.loop;
    visitor.self = cora_call_soon(loop, cora_partial(nothing, cora_own(&visitor, &visiting)));
    visitor.other = cora_call_soon(loop, cora_partial(nothing));
    forget_temporaries();
    CHECK_INT(cora_loop_close(loop), 0);
    CHECK_INT(visitor.drops, 1);
    CHECK(!visitor.cancelled_self);
    CHECK(!visitor.cancelled_other);
    CHECK(!visitor.queued);
    CHECK_INT(visitor.closed, 0);
}

TEST(drop_function_in_a_cancel_closes,
     "a drop function that runs in a cancel may close the idle loop")
{
    struct visitor visitor = { .loop = cora_loop_new(NULL) };
    visitor.self =
        cora_call_soon(visitor.loop, cora_partial(nothing, cora_own(&visitor, &visiting)));
    visitor.other = cora_call_soon(visitor.loop, cora_partial(nothing));
    forget_temporaries();
    CHECK(cora_handle_cancel(visitor.self));
    CHECK_INT(visitor.drops, 1);
    CHECK(!visitor.cancelled_self);
    CHECK(visitor.cancelled_other);
    CHECK_INT(visitor.closed, 0);
    CHECK(cora_is_closed(visitor.loop));
}

struct reports {
    int count;
    cora_handle handle;
    int code;
};

static void take_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    struct reports *reports = cora_arg(bound, 0, struct reports *);
    (void)loop;
    reports->count++;
    reports->handle = report->handle;
    reports->code = cora_error_code(report->exception);
}

static void drop_and_fail(void *pointer)
{
    ++*(int *)pointer;
    cora_fail(cora_error(CORA_EVALUE, "cannot be dropped"));
}

static const cora_type failing = { "failing", drop_and_fail, NULL, 0 };

TEST(failing_drop_function_blames_nobody,
     "a drop function that fails after its callback is reported once, and not as the failure of "
     "the next callback")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports = { 0, { 0 }, 0 };
    int drops = 0;
    cora_set_exception_handler(loop, cora_partial(take_report, &reports));
    cora_call_soon(loop, cora_partial(nothing, cora_own(&drops, &failing)));
    cora_handle next = cora_call_soon(loop, cora_partial(nothing));
    tick(loop);
    CHECK_INT(drops, 1);
    CHECK_INT(reports.count, 1);
    CHECK_INT(reports.code, CORA_EVALUE);
    CHECK(!cora_same(reports.handle, next));
    cora_loop_close(loop);
}

TEST(failing_drop_function_at_the_end,
     "a drop function that fails at the end of a tick is reported, and leaves nothing behind")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports = { 0, { 0 }, 0 };
    int drops = 0;
    cora_set_exception_handler(loop, cora_partial(take_report, &reports));
    cora_call_soon(loop, cora_partial(nothing, cora_own(&drops, &failing)));
    tick(loop);
    CHECK_INT(reports.count, 1);
    tick(loop);
    cora_loop_close(loop);
    CHECK_INT(reports.count, 1);
}

static const cora_variable variable = { "variable", { NULL, { 0 } } };

static void drop_and_set(void *pointer)
{
    ++*(int *)pointer;
    cora_context_set(&variable, cora_text("of the drop function"));
}

static const cora_type setting = { "setting", drop_and_set, NULL, 0 };

static void check_variable_unset(cora_args bound)
{
    CHECK(cora_is_nothing(cora_context_get(&variable)));
    ++*cora_arg(bound, 0, int *);
}

TEST(drop_function_sets_a_variable,
     "what a drop function sets after its callback is seen by no other callback, and left nowhere")
{
    cora_loop loop = cora_loop_new(NULL);
    int drops = 0, runs = 0;
    cora_call_soon(loop, cora_partial(nothing, cora_own(&drops, &setting)));
    cora_call_soon(loop, cora_partial(check_variable_unset, &runs));
    cora_call_soon(loop, cora_partial(nothing, cora_own(&drops, &setting)));
    tick(loop);
    CHECK(cora_is_nothing(cora_context_get(&variable)));
    CHECK_INT(drops, 2);
    CHECK_INT(runs, 1);
    cora_loop_close(loop);
}

static void drop_and_run_a_loop(void *pointer)
{
    cora_loop inner = cora_loop_new(NULL);
    cora_stop(inner);
    *(int *)pointer = cora_run_forever(inner);
    cora_loop_close(inner);
}

static const cora_type running = { "running", drop_and_run_a_loop, NULL, 0 };

TEST(drop_function_runs_a_loop,
     "a drop function may not run a second loop inside a tick; outside of one it may")
{
    cora_loop loop = cora_loop_new(NULL);
    int inside = 1, outside = 1;
    cora_call_soon(loop, cora_partial(nothing, cora_own(&inside, &running)));
    tick(loop);
    CHECK_INT(inside, CORA_ERUNTIME);
    cora_handle handle = cora_call_soon(loop, cora_partial(nothing, cora_own(&outside, &running)));
    forget_temporaries();
    cora_handle_cancel(handle);
    CHECK_INT(outside, 0);
    cora_loop_close(loop);
}

/* ---- how often the loop polls ---- */

/* A callback that queues itself, and who counts polls between its runs. */
struct chain {
    cora_loop loop;
    ev_prepare poll;
    int links, runs, polls;
    int runs_at_poll, longest; /* ticks in a row without a poll */
    double seconds;            /* what each run takes */
    int arm_at, armed, fired;  /* a timer of no delay, by runs */
    int pipe[2], written, read;
};

static void on_poll(struct ev_loop *ev, ev_prepare *watcher, int events)
{
    struct chain *chain = watcher->data;
    (void)ev, (void)events;
    if (chain->runs - chain->runs_at_poll > chain->longest)
        chain->longest = chain->runs - chain->runs_at_poll;
    chain->runs_at_poll = chain->runs;
    chain->polls++;
}

static void on_due(cora_args bound)
{
    struct chain *chain = cora_arg(bound, 0, struct chain *);
    chain->fired = chain->runs;
}

static void link_run(cora_args bound)
{
    struct chain *chain = cora_arg(bound, 0, struct chain *);
    chain->runs++;
    cora_virtual_clock_advance(chain->seconds);
    if (chain->runs == chain->arm_at) {
        chain->armed = chain->runs;
        cora_call_later(chain->loop, 0, cora_partial(on_due, chain));
    }
    if (chain->runs == chain->written)
        CHECK_INT(write(chain->pipe[1], "x", 1), 1);
    if (chain->runs < chain->links)
        cora_call_soon(chain->loop, cora_partial(link_run, chain));
    else
        cora_stop(chain->loop);
}

static void chain_start(struct chain *chain, int links, bool poll_every_tick)
{
    struct cora_loop_options options = { .poll_every_tick = poll_every_tick };
    memset(chain, 0, sizeof *chain);
    cora_virtual_clock_start(1000.0);
    chain->loop = cora_loop_new(&options);
    chain->links = links;
    chain->runs_at_poll = 0;
    ev_prepare_init(&chain->poll, on_poll);
    chain->poll.data = chain;
    ev_prepare_start(cora_loop_ev(chain->loop), &chain->poll);
    cora_call_soon(chain->loop, cora_partial(link_run, chain));
}

static void chain_end(struct chain *chain)
{
    ev_prepare_stop(cora_loop_ev(chain->loop), &chain->poll);
    cora_loop_close(chain->loop);
    cora_virtual_clock_stop();
}

TEST(polls_are_skipped_within_a_bound, "a chain of quick callbacks, one in a tick, skips polls, "
                                       "but never runs more than 64 ticks in a row without one")
{
    struct chain chain;
    chain_start(&chain, 6400, false);
    CHECK_INT(cora_run_forever(chain.loop), 0);
    CHECK_INT(chain.runs, 6400);
    CHECK(chain.longest <= 64);
    CHECK(chain.longest > 1);
    CHECK(chain.polls >= 100);
    chain_end(&chain);
}

TEST(poll_every_tick_skips_none, "with poll_every_tick there is one poll before every tick")
{
    struct chain chain;
    chain_start(&chain, 1000, true);
    CHECK_INT(cora_run_forever(chain.loop), 0);
    CHECK_INT(chain.longest, 1);
    CHECK_INT(chain.polls, 1000);
    chain_end(&chain);
}

TEST(two_callbacks_in_a_tick_skip_none, "no poll is skipped after a tick of two callbacks")
{
    struct chain chain;
    chain_start(&chain, 1000, false);
    cora_call_soon(chain.loop, cora_partial(link_run, &chain));
    CHECK_INT(cora_run_forever(chain.loop), 0);
    CHECK_INT(chain.longest, 2);
    chain_end(&chain);
}

TEST(slow_chains_poll, "a chain whose callbacks take 50 microseconds polls again after eight "
                       "ticks, as 100 microseconds have passed by then")
{
    struct chain chain;
    chain_start(&chain, 640, false);
    chain.seconds = 50e-6;
    CHECK_INT(cora_run_forever(chain.loop), 0);
    CHECK(chain.longest <= 9);
    chain_end(&chain);
}

TEST(zero_delay_in_a_chain, "a timer of no delay fires in the next tick, however busy the loop is")
{
    struct chain chain;
    for (int arm_at = 1; arm_at < 70; arm_at++) {
        chain_start(&chain, 200, false);
        chain.arm_at = arm_at;
        CHECK_INT(cora_run_forever(chain.loop), 0);
        CHECK_INT(chain.fired, chain.armed + 1);
        chain_end(&chain);
    }
}

TEST(timer_in_a_chain, "a timer whose time comes while polls are skipped fires within 64 ticks")
{
    struct chain chain;
    chain_start(&chain, 10000, false);
    chain.seconds = 1e-6;
    cora_call_later(chain.loop, 1e-3, cora_partial(on_due, &chain));
    CHECK_INT(cora_run_forever(chain.loop), 0);
    CHECK(chain.fired >= 900);
    CHECK(chain.fired <= 1064);
    chain_end(&chain);
}

static void on_readable(cora_args bound)
{
    struct chain *chain = cora_arg(bound, 0, struct chain *);
    chain->read = chain->runs;
    cora_remove_reader(chain->loop, chain->pipe[0]);
}

TEST(descriptor_in_a_chain,
     "a descriptor that becomes readable in a chain is served within 64 ticks")
{
    struct chain chain;
    chain_start(&chain, 1000, false);
    chain.written = 500;
    CHECK_INT(pipe(chain.pipe), 0);
    cora_add_reader(chain.loop, chain.pipe[0], cora_partial(on_readable, &chain));
    CHECK_INT(cora_run_forever(chain.loop), 0);
    CHECK(chain.read >= 500);
    CHECK(chain.read <= 565);
    close(chain.pipe[0]);
    close(chain.pipe[1]);
    chain_end(&chain);
}

static void stop_in_the_chain(cora_args bound)
{
    struct chain *chain = cora_arg(bound, 0, struct chain *);
    cora_stop(chain->loop);
    cora_call_soon(chain->loop, cora_partial(link_run, chain));
}

TEST(stop_in_a_chain, "a stop inside a chain ends the run with that very tick")
{
    struct chain chain;
    chain_start(&chain, 1, false);
    CHECK_INT(cora_run_forever(chain.loop), 0);
    CHECK_INT(chain.runs, 1);
    cora_call_soon(chain.loop, cora_partial(stop_in_the_chain, &chain));
    CHECK_INT(cora_run_forever(chain.loop), 0);
    CHECK_INT(chain.runs, 1);
    CHECK_INT(cora_live(chain.loop), 1);
    chain_end(&chain);
}

/* ---- callbacks without a function ---- */

TEST(no_function,
     "in debug mode a callback without a function is refused with a TypeError when it is queued",
     "test_base_events.BaseEventLoopTests.test_call_soon_non_callable")
{
    cora_loop loop = cora_loop_new(&(struct cora_loop_options){ .debug = true });
    cora_callback_function missing = NULL;
    CHECK(cora_is_null(cora_call_soon(loop, cora_partial(missing))));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ETYPE);
    cora_loop_close(loop);
}

TEST(stop_as_a_callback, "call_soon(stop) and a run make exactly one tick")
{
    cora_loop loop = cora_loop_new(NULL);
    struct notes notes = { "", 0 };
    cora_call_soon(loop, cora_partial(stop, loop));
    cora_call_soon(loop, cora_partial(note_and_queue_another, &notes, 'a'));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_TEXT(notes.text, "a");
    cora_loop_close(loop);
}
