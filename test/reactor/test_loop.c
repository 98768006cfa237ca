/*
 * The loop itself: made, run, stopped, closed; which loop runs and which is current; the order of a
 * tick; errors that leave the run; back ends; forks.
 */
#include "harness.h"

#include <cora.h>
#include <cora/virtual_clock.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const cora_loop no_loop = { 0 };

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
    (void)bound;
    cora_stop(cora_running_loop());
}

struct notes {
    char text[64];
    size_t length;
};

static void note(cora_args bound)
{
    struct notes *notes = cora_arg(bound, 0, struct notes *);
    if (notes->length < sizeof notes->text - 1)
        notes->text[notes->length++] = (char)cora_arg_int(bound, 1);
}

static void tick(cora_loop loop)
{
    CHECK_INT(cora_stop(loop), 0);
    CHECK_INT(cora_run_forever(loop), 0);
}

static int open_descriptors(void)
{
    int open = 0;
    for (int i = 0; i < 512; i++)
        open += fcntl(i, F_GETFD) >= 0;
    return open;
}

/* The error that the last call left, whose text has this in it. */
static void check_error(int code, const char *words)
{
    CHECK_INT(cora_error_code(cora_last_error()), code);
    if (!strstr(cora_error_message(cora_last_error()), words))
        CHECK_TEXT(cora_error_message(cora_last_error()), words);
}

/* ---- making and closing ---- */

TEST(loop_new, "a new loop is open, does not run, and can be closed without having run",
     "test_events.PolicyTests.test_new_event_loop")
{
    cora_loop loop = cora_loop_new(NULL);
    CHECK(!cora_is_null(loop));
    CHECK(!cora_is_closed(loop));
    CHECK(!cora_is_running(loop));
    CHECK(cora_loop_ev(loop) != NULL);
    CHECK_INT(cora_loop_close(loop), 0);
    CHECK(cora_is_closed(loop));
}

TEST(descriptors_are_given_back, "closing a loop closes the descriptors that it was made with",
     "test_events.EventLoopTestsMixin.test_internal_fds")
{
    int before = open_descriptors();
    cora_loop loop = cora_loop_new(NULL);
    tick(loop);
    CHECK(open_descriptors() > before);
    cora_loop_close(loop);
    CHECK_INT(open_descriptors(), before);
}

TEST(close_twice,
     "closing can be repeated; afterwards running and watching fail, removing reports false",
     "test_selector_events.BaseSelectorEventLoopTests.test_close")
{
    cora_loop loop = cora_loop_new(NULL);
    CHECK_INT(cora_loop_close(loop), 0);
    CHECK_INT(cora_loop_close(loop), 0);
    CHECK_INT(cora_run_forever(loop), CORA_ERUNTIME);
    check_error(CORA_ERUNTIME, "Event loop is closed");
    CHECK_INT(cora_add_reader(loop, 0, cora_partial(nothing)), CORA_ERUNTIME);
    CHECK_INT(cora_add_writer(loop, 1, cora_partial(nothing)), CORA_ERUNTIME);
    CHECK(!cora_remove_reader(loop, 0));
    CHECK(!cora_remove_writer(loop, 1));
}

static void close_running(cora_args bound)
{
    *cora_arg(bound, 0, int *) = cora_loop_close(cora_running_loop());
}

TEST(close_while_running, "a loop that runs cannot be closed, and runs on",
     "test_events.EventLoopTestsMixin.test_close_running_event_loop")
{
    cora_loop loop = cora_loop_new(NULL);
    int code = 0, runs = 0;
    cora_call_soon(loop, cora_partial(close_running, &code));
    cora_call_soon(loop, cora_partial(count, &runs));
    tick(loop);
    CHECK_INT(code, CORA_ERUNTIME);
    CHECK_INT(runs, 1);
    CHECK(!cora_is_closed(loop));
    cora_loop_close(loop);
}

TEST(close_in_a_run_by_hand,
     "a loop whose ev_loop the program runs by hand cannot be closed inside that, either")
{
    cora_loop loop = cora_loop_new(NULL);
    int code = 0;
    cora_call_soon(loop, cora_partial(close_running, &code));
    ev_run(cora_loop_ev(loop), EVRUN_NOWAIT);
    CHECK_INT(code, CORA_ERUNTIME);
    CHECK(!cora_is_closed(loop));
    cora_loop_close(loop);
}

TEST(many_loops_one_after_the_other,
     "loops made and closed leave nothing, and an old handle never names a new loop")
{
    cora_loop first = cora_loop_new(NULL);
    int before = open_descriptors();
    cora_loop_close(first);
    for (int i = 0; i < harness_scale(300); i++) {
        cora_loop loop = cora_loop_new(NULL);
        CHECK(!cora_same(loop, first));
        CHECK(cora_is_closed(first));
        CHECK(cora_is_null(cora_call_soon(first, cora_partial(nothing))));
        CHECK_INT(open_descriptors(), before);
        cora_loop_close(loop);
    }
}

/* Everything that a loop's handle can be given to fails with this code. */
static void check_every_call_fails(cora_loop loop, int code)
{
    CHECK_INT(cora_run_forever(loop), code);
    CHECK_INT(cora_stop(loop), code);
    CHECK(cora_is_null(cora_call_soon(loop, cora_partial(nothing))));
    CHECK_INT(cora_error_code(cora_last_error()), code);
    CHECK(cora_is_null(cora_call_soon_threadsafe(loop, cora_partial(nothing))));
    CHECK_INT(cora_error_code(cora_last_error()), code);
    CHECK(cora_is_null(cora_call_later(loop, 1, cora_partial(nothing))));
    CHECK_INT(cora_error_code(cora_last_error()), code);
    CHECK(cora_is_null(cora_call_at(loop, 1, cora_partial(nothing))));
    CHECK_INT(cora_error_code(cora_last_error()), code);
    CHECK_INT(cora_add_reader(loop, 0, cora_partial(nothing)), code);
    CHECK_INT(cora_add_writer(loop, 0, cora_partial(nothing)), code);
    CHECK_INT(cora_add_signal_handler(loop, SIGUSR1, cora_partial(nothing)), code);
    CHECK_INT(cora_reset_exception_handler(loop), code);
    CHECK_INT(cora_reserve(loop, 10, 10), code);
    CHECK_INT(cora_set_debug(loop, true), code);
    CHECK_INT(cora_set_slow_callback_duration(loop, 1), code);
    CHECK_INT(cora_after_fork(loop), code);
    CHECK(cora_loop_ev(loop) == NULL);
    CHECK(!cora_get_debug(loop));
    CHECK(!cora_is_running(loop));
    CHECK(cora_is_closed(loop));
    CHECK_INT(cora_live(loop), 0);
}

TEST(null_loop, "every call on the null handle fails with a StaleHandle error")
{
    check_every_call_fails(no_loop, CORA_ESTALE);
    CHECK_INT(cora_loop_close(no_loop), CORA_ESTALE);
    CHECK_INT(cora_loop_detach(no_loop), CORA_ESTALE);
}

TEST(closed_loop, "every call on a closed loop fails with a RuntimeError")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_loop_close(loop);
    check_every_call_fails(loop, CORA_ERUNTIME);
}

static void close_other(cora_args bound)
{
    CHECK_INT(cora_loop_close(cora_arg_loop(bound, 0)), 0);
}

TEST(close_another_in_a_callback, "a callback may make and close other loops")
{
    cora_loop loop = cora_loop_new(NULL), other = cora_loop_new(NULL);
    int runs = 0;
    cora_call_soon(other, cora_partial(count, &runs));
    cora_call_soon(loop, cora_partial(close_other, other));
    tick(loop);
    CHECK(cora_is_closed(other));
    CHECK_INT(runs, 0);
    cora_loop_close(loop);
}

/* ---- running and stopping ---- */

static void on_prepare(struct ev_loop *ev, ev_prepare *watcher, int events)
{
    (void)ev, (void)events;
    ++*(int *)watcher->data;
}

static void count_polls(struct ev_loop *ev, ev_prepare *watcher, int *polls)
{
    ev_prepare_init(watcher, on_prepare);
    watcher->data = polls;
    ev_prepare_start(ev, watcher);
}

TEST(stop_before_run, "a stop before the run lets it poll once, without waiting, and return",
     "test_base_events.BaseEventLoopTests.test_run_forever_pre_stopped")
{
    cora_virtual_clock_start(1000);
    cora_loop loop = cora_loop_new(NULL);
    ev_prepare watcher;
    int polls = 0, runs = 0;
    count_polls(cora_loop_ev(loop), &watcher, &polls);
    cora_call_later(loop, 10, cora_partial(count, &runs));
    cora_stop(loop);
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(polls, 1);
    CHECK_INT(cora_virtual_clock_jumps(), 0);
    CHECK_INT(runs, 0);
    ev_prepare_stop(cora_loop_ev(loop), &watcher);
    cora_loop_close(loop);
    cora_virtual_clock_stop();
}

TEST(stop_completes_the_tick,
     "a stop inside a tick lets it complete, and keeps for the next run what was queued meanwhile")
{
    cora_loop loop = cora_loop_new(NULL);
    struct notes notes = { "", 0 };
    cora_call_soon(loop, cora_partial(note, &notes, 'a'));
    cora_call_soon(loop, cora_partial(stop));
    cora_call_soon(loop, cora_partial(note, &notes, 'b'));
    cora_call_later(loop, 0, cora_partial(note, &notes, 'c'));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_TEXT(notes.text, "abc");
    cora_call_soon(loop, cora_partial(note, &notes, 'd'));
    CHECK_TEXT(notes.text, "abc");
    tick(loop);
    CHECK_TEXT(notes.text, "abcd");
    cora_loop_close(loop);
}

TEST(stop_is_forgotten, "a stop ends one run, and several stops in a run are as one")
{
    cora_virtual_clock_start(1000);
    cora_loop loop = cora_loop_new(NULL);
    cora_call_soon(loop, cora_partial(stop));
    cora_call_soon(loop, cora_partial(stop));
    CHECK_INT(cora_run_forever(loop), 0);
    cora_call_later(loop, 5, cora_partial(stop));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK(cora_time(loop) >= 1005);
    cora_loop_close(loop);
    cora_virtual_clock_stop();
}

static void on_raw_timer(struct ev_loop *ev, ev_timer *watcher, int events)
{
    (void)ev, (void)events;
    CHECK_INT(cora_stop(*(cora_loop *)watcher->data), 0);
}

TEST(stop_by_a_watcher, "a watcher of the program's own may stop the loop")
{
    cora_virtual_clock_start(1000);
    cora_loop loop = cora_loop_new(NULL);
    ev_timer watcher;
    ev_timer_init(&watcher, on_raw_timer, 3., 0.);
    watcher.data = &loop;
    ev_timer_start(cora_loop_ev(loop), &watcher);
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK(cora_time(loop) >= 1003);
    cora_loop_close(loop);
    cora_virtual_clock_stop();
}

static void check_running(cora_args bound)
{
    cora_loop loop = cora_arg_loop(bound, 0);
    CHECK(cora_is_running(loop));
    CHECK(cora_same(cora_running_loop(), loop));
}

static void run_this_one(cora_args bound)
{
    CHECK_INT(cora_run_forever(cora_arg_loop(bound, 0)), CORA_ERUNTIME);
    check_error(CORA_ERUNTIME, "This event loop is already running");
    CHECK(cora_same(cora_running_loop(), cora_arg_loop(bound, 0)));
}

TEST(run_inside_itself, "running a loop that runs is refused, and it runs on")
{
    cora_loop loop = cora_loop_new(NULL);
    int runs = 0;
    cora_call_soon(loop, cora_partial(run_this_one, loop));
    cora_call_soon(loop, cora_partial(count, &runs));
    tick(loop);
    CHECK_INT(runs, 1);
    cora_loop_close(loop);
}

static void run_another(cora_args bound)
{
    CHECK_INT(cora_run_forever(cora_arg_loop(bound, 0)), CORA_ERUNTIME);
    check_error(CORA_ERUNTIME, "while another loop is running");
}

TEST(run_inside_another, "running a second loop inside a running one fails",
     "test_base_events.RunningLoopTests.test_running_loop_within_a_loop")
{
    cora_loop loop = cora_loop_new(NULL), other = cora_loop_new(NULL);
    int runs = 0;
    cora_call_soon(other, cora_partial(count, &runs));
    cora_call_soon(loop, cora_partial(run_another, other));
    tick(loop);
    CHECK_INT(runs, 0);
    tick(other);
    CHECK_INT(runs, 1);
    cora_loop_close(other);
    cora_loop_close(loop);
}

TEST(still_running_after_a_refusal,
     "after the attempt to run a second loop the first is still the running one",
     "test_events.GetEventLoopTestsMixin.test_get_running_loop_already_running")
{
    cora_loop loop = cora_loop_new(NULL), other = cora_loop_new(NULL);
    cora_call_soon(loop, cora_partial(run_another, other));
    cora_call_soon(loop, cora_partial(check_running, loop));
    tick(loop);
    CHECK(!cora_is_running(loop));
    CHECK(!cora_is_running(other));
    cora_loop_close(other);
    cora_loop_close(loop);
}

/* ---- the running and the current loop ---- */

TEST(no_current_loop, "asking for a current loop when none was set fails, and makes none",
     "test_events.PolicyTests.test_get_event_loop_does_not_call_set_event_loop")
{
    for (int i = 0; i < 2; i++) {
        CHECK(cora_is_null(cora_current_loop()));
        check_error(CORA_ERUNTIME, "no current event loop");
    }
}

TEST(current_loop_replaced, "the thread's current loop can be set and replaced",
     "test_events.PolicyTests.test_set_event_loop")
{
    cora_loop old = cora_loop_new(NULL), new = cora_loop_new(NULL);
    cora_set_current_loop(old);
    CHECK(cora_same(cora_current_loop(), old));
    cora_set_current_loop(new);
    CHECK(cora_same(cora_current_loop(), new));
    cora_set_current_loop(no_loop);
    cora_loop_close(old);
    cora_loop_close(new);
}

TEST(current_loop_forgotten, "with the current loop set to null, asking for it fails",
     "test_events.PolicyTests.test_get_event_loop_after_set_none")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_set_current_loop(loop);
    cora_set_current_loop(no_loop);
    CHECK(cora_is_null(cora_current_loop()));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ERUNTIME);
    cora_loop_close(loop);
}

static void check_current(cora_args bound)
{
    CHECK(cora_same(cora_running_loop(), cora_arg_loop(bound, 0)));
    CHECK(cora_same(cora_current_loop(), cora_arg_loop(bound, 0)));
    cora_set_current_loop(no_loop);
    CHECK(cora_same(cora_current_loop(), cora_arg_loop(bound, 0)));
    ++*cora_arg(bound, 1, int *);
}

TEST(running_loop_in_a_callback,
     "inside a callback its loop is the running one, whatever was set; outside there is none",
     "test_events.GetEventLoopTestsMixin.test_get_event_loop_returns_running_loop")
{
    cora_loop loop = cora_loop_new(NULL), other = cora_loop_new(NULL);
    int runs = 0;
    CHECK(cora_is_null(cora_running_loop()));
    check_error(CORA_ERUNTIME, "no running event loop");
    cora_set_current_loop(other);
    cora_call_soon(loop, cora_partial(check_current, loop, &runs));
    tick(loop);
    CHECK_INT(runs, 1);
    CHECK(cora_is_null(cora_running_loop()));
    cora_loop_close(loop);
    cora_loop_close(other);
}

TEST(running_loop_before_current,
     "the running loop wins over the one that was set; without either it is an error",
     "test_events.GetEventLoopTestsMixin.test_get_event_loop_returns_running_loop2")
{
    cora_loop loop = cora_loop_new(NULL);
    int runs = 0;
    CHECK(cora_is_null(cora_current_loop()));
    cora_call_soon(loop, cora_partial(check_current, loop, &runs));
    tick(loop);
    CHECK_INT(runs, 1);
    CHECK(cora_is_null(cora_current_loop()));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ERUNTIME);
    cora_loop_close(loop);
}

/* ---- driven by a host ---- */

TEST(ticks_of_a_host,
     "a host drives single ticks of its guest: ten of them poll ten times and run a queued "
     "callback once, in which the guest is running and current",
     "test_base_events.BaseEventLoopTests.test_custom_run_forever_integration")
{
    struct ev_loop *host = ev_loop_new(EVFLAG_AUTO);
    cora_loop guest = cora_loop_attach(host, NULL);
    ev_prepare watcher;
    int polls = 0, runs = 0;
    count_polls(host, &watcher, &polls);
    cora_call_soon(guest, cora_partial(check_current, guest, &runs));
    CHECK(!cora_is_running(guest));
    for (int i = 0; i < 10; i++)
        ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(polls, 10);
    CHECK_INT(runs, 1);
    CHECK(!cora_is_running(guest));
    CHECK(cora_is_null(cora_running_loop()));
    CHECK_INT(cora_loop_detach(guest), 0);
    ev_prepare_stop(host, &watcher);
    ev_loop_destroy(host);
}

struct nested {
    cora_loop outer, inner;
    struct ev_loop *inner_host;
    int runs;
};

static void detach_outer(cora_args bound)
{
    CHECK_INT(cora_loop_detach(cora_arg(bound, 0, struct nested *)->outer), 0);
}

static void run_inner_host(cora_args bound)
{
    struct nested *nested = cora_arg(bound, 0, struct nested *);
    cora_call_soon(nested->inner, cora_partial(detach_outer, nested));
    ev_run(nested->inner_host, EVRUN_NOWAIT);
    CHECK(cora_is_closed(nested->outer));
    CHECK(cora_is_null(cora_call_soon(nested->outer, cora_partial(nothing))));
    CHECK(cora_is_null(cora_call_later(nested->outer, 1, cora_partial(nothing))));
    CHECK_INT(cora_stop(nested->outer), CORA_ERUNTIME);
    CHECK(cora_loop_ev(nested->outer) == NULL);
    nested->runs++;
}

TEST(detached_by_a_nested_loop,
     "a guest that a nested loop's callback detaches is closed for the rest of its own callback")
{
    struct ev_loop *hosts[2] = { ev_loop_new(EVFLAG_AUTO), ev_loop_new(EVFLAG_AUTO) };
    struct nested nested = { cora_loop_attach(hosts[0], NULL), cora_loop_attach(hosts[1], NULL),
                             hosts[1], 0 };
    cora_call_soon(nested.outer, cora_partial(run_inner_host, &nested));
    ev_run(hosts[0], EVRUN_NOWAIT);
    CHECK_INT(nested.runs, 1);
    cora_loop_detach(nested.inner);
    ev_loop_destroy(hosts[0]);
    ev_loop_destroy(hosts[1]);
}

/* ---- the order of a tick ---- */

TEST(order_of_a_tick,
     "a tick runs earlier call_soon, then descriptors, then timers by deadline, then signals")
{
    cora_loop loop = cora_loop_new(NULL);
    struct notes notes = { "", 0 };
    int ends[2];
    CHECK_INT(pipe(ends), 0);
    CHECK_INT(write(ends[1], "x", 1), 1);
    cora_add_signal_handler(loop, SIGUSR1, cora_partial(note, &notes, 'f'));
    cora_call_later(loop, 0, cora_partial(note, &notes, 'e'));
    cora_call_later(loop, -1, cora_partial(note, &notes, 'd'));
    cora_add_reader(loop, ends[0], cora_partial(note, &notes, 'c'));
    cora_call_soon(loop, cora_partial(note, &notes, 'a'));
    cora_call_soon_threadsafe(loop, cora_partial(note, &notes, 'b'));
    raise(SIGUSR1);
    tick(loop);
    CHECK_TEXT(notes.text, "abcdef");
    cora_remove_reader(loop, ends[0]);
    cora_remove_signal_handler(loop, SIGUSR1);
    close(ends[0]);
    close(ends[1]);
    cora_loop_close(loop);
}

/* ---- errors that leave the run ---- */

static void fail_with(cora_args bound)
{
    cora_fail(cora_error((int)cora_arg_int(bound, 0), "enough"));
}

static void check_fatal(int code)
{
    cora_loop loop = cora_loop_new(NULL);
    struct notes notes = { "", 0 };
    cora_call_soon(loop, cora_partial(note, &notes, 'a'));
    cora_call_soon(loop, cora_partial(fail_with, code));
    cora_call_soon(loop, cora_partial(note, &notes, 'b'));
    cora_call_later(loop, 0, cora_partial(note, &notes, 'c'));
    CHECK_INT(cora_run_forever(loop), code);
    CHECK_INT(cora_error_code(cora_last_error()), code);
    CHECK_TEXT(cora_error_message(cora_last_error()), "enough");
    CHECK_TEXT(notes.text, "a");
    CHECK(!cora_is_running(loop));
    CHECK(cora_is_null(cora_running_loop()));
    cora_call_soon(loop, cora_partial(note, &notes, 'd'));
    tick(loop);
    CHECK_TEXT(notes.text, "abcd");
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}

TEST(keyboard_interrupt_leaves_the_run, "a KeyboardInterrupt leaves the run at once; the rest of "
                                        "the tick waits for the next run, in its order")
{
    check_fatal(CORA_EKEYBOARDINTERRUPT);
}

TEST(system_exit_leaves_the_run, "a SystemExit leaves the run as a KeyboardInterrupt does")
{
    check_fatal(CORA_ESYSTEMEXIT);
}

TEST(rest_of_the_tick_can_be_cancelled,
     "what waits after a fatal error can be cancelled, and a close drops it")
{
    cora_loop loop = cora_loop_new(NULL);
    int runs = 0;
    cora_call_soon(loop, cora_partial(cora_keyboard_interrupt));
    cora_handle first = cora_call_soon(loop, cora_partial(count, &runs));
    cora_call_soon(loop, cora_partial(count, &runs));
    cora_call_soon_threadsafe(loop, cora_partial(count, &runs, "a text"));
    CHECK_INT(cora_run_forever(loop), CORA_EKEYBOARDINTERRUPT);
    CHECK(cora_handle_cancel(first));
    CHECK_INT(cora_loop_close(loop), 0);
    CHECK_INT(runs, 0);
}

static void stop_and_interrupt(cora_args bound)
{
    stop(bound);
    cora_keyboard_interrupt(bound);
}

TEST(fatal_error_takes_the_stop, "a run that a fatal error leaves takes an earlier stop with it")
{
    cora_virtual_clock_start(1000);
    cora_loop loop = cora_loop_new(NULL);
    cora_call_soon(loop, cora_partial(stop_and_interrupt));
    CHECK_INT(cora_run_forever(loop), CORA_EKEYBOARDINTERRUPT);
    cora_call_later(loop, 5, cora_partial(stop));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK(cora_time(loop) >= 1005);
    cora_loop_close(loop);
    cora_virtual_clock_stop();
}

static void drop_and_interrupt(void *pointer)
{
    ++*(int *)pointer;
    cora_fail(cora_error(CORA_EKEYBOARDINTERRUPT, "while dropping"));
}

static const cora_type interrupting = { "interrupting", drop_and_interrupt, NULL, 0 };

TEST(fatal_error_in_a_drop_function, "a KeyboardInterrupt in a drop function leaves the run, too")
{
    cora_loop loop = cora_loop_new(NULL);
    int drops = 0, runs = 0;
    cora_call_soon(loop, cora_partial(nothing, cora_own(&drops, &interrupting)));
    cora_call_soon(loop, cora_partial(count, &runs));
    cora_stop(loop);
    CHECK_INT(cora_run_forever(loop), CORA_EKEYBOARDINTERRUPT);
    CHECK_INT(drops, 1);
    CHECK_INT(runs, 0);
    tick(loop);
    CHECK_INT(runs, 1);
    cora_loop_close(loop);
}

/* ---- counting and reserving ---- */

static void take_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)bound, (void)loop, (void)report;
}

TEST(live, "cora_live counts callbacks, timers, readers, writers and signal handlers, nothing else")
{
    cora_loop loop = cora_loop_new(NULL);
    int ends[2];
    CHECK_INT(pipe(ends), 0);
    CHECK_INT(cora_live(loop), 0);
    cora_set_exception_handler(loop, cora_partial(take_report));
    CHECK_INT(cora_live(loop), 0);
    cora_call_soon(loop, cora_partial(nothing));
    CHECK_INT(cora_live(loop), 1);
    cora_handle timer = cora_call_later(loop, 100, cora_partial(nothing));
    CHECK_INT(cora_live(loop), 2);
    cora_call_soon_threadsafe(loop, cora_partial(nothing));
    CHECK_INT(cora_live(loop), 3);
    cora_add_reader(loop, ends[0], cora_partial(nothing));
    cora_add_writer(loop, ends[1], cora_partial(nothing));
    CHECK_INT(cora_live(loop), 5);
    cora_add_signal_handler(loop, SIGUSR1, cora_partial(nothing));
    CHECK_INT(cora_live(loop), 6);
    tick(loop);
    CHECK_INT(cora_live(loop), 4);
    cora_remove_reader(loop, ends[0]);
    cora_remove_writer(loop, ends[1]);
    cora_remove_signal_handler(loop, SIGUSR1);
    cora_handle_cancel(timer);
    CHECK_INT(cora_live(loop), 0);
    close(ends[0]);
    close(ends[1]);
    cora_loop_close(loop);
}

TEST(reserve,
     "cora_reserve makes room and schedules nothing; timers and descriptors work as before")
{
    cora_virtual_clock_start(1000);
    cora_loop loop = cora_loop_new(NULL);
    int ends[2], runs = 0;
    CHECK_INT(cora_reserve(loop, 1000, 5000), 0);
    CHECK_INT(cora_reserve(loop, 0, 0), 0);
    CHECK_INT(cora_live(loop), 0);
    tick(loop);
    CHECK_INT(pipe(ends), 0);
    CHECK_INT(write(ends[1], "x", 1), 1);
    cora_add_reader(loop, ends[0], cora_partial(count, &runs));
    for (int i = 0; i < 5000; i++)
        cora_call_later(loop, i / 5000.0, cora_partial(nothing));
    tick(loop);
    CHECK_INT(runs, 1);
    cora_remove_reader(loop, ends[0]);
    cora_call_later(loop, 2, cora_partial(stop));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(cora_live(loop), 0);
    close(ends[0]);
    close(ends[1]);
    cora_loop_close(loop);
    cora_virtual_clock_stop();
}

TEST(reserve_again, "room may be reserved again and again, also while timers are armed")
{
    cora_virtual_clock_start(1000);
    cora_loop loop = cora_loop_new(NULL);
    int runs = 0;
    cora_call_later(loop, 1, cora_partial(count, &runs));
    for (size_t i = 0; i < 10; i++)
        CHECK_INT(cora_reserve(loop, 10 * i, 100 * i), 0);
    cora_call_later(loop, 2, cora_partial(stop));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(runs, 1);
    cora_loop_close(loop);
    cora_virtual_clock_stop();
}

/* ---- back ends ---- */

static const struct {
    const char *name;
    unsigned flag;
} backends[] = {
    { "select", EVBACKEND_SELECT },
    { "poll", EVBACKEND_POLL },
    { "epoll", EVBACKEND_EPOLL },
};

TEST(backend_by_name, "a loop has the back end that its options name")
{
    for (size_t i = 0; i < 3; i++) {
        struct cora_loop_options options = { .backend = backends[i].name };
        cora_loop loop = cora_loop_new(&options);
        int runs = 0;
        CHECK_INT(ev_backend(cora_loop_ev(loop)), backends[i].flag);
        cora_call_later(loop, 0.001, cora_partial(stop));
        cora_call_soon(loop, cora_partial(count, &runs));
        CHECK_INT(cora_run_forever(loop), 0);
        CHECK_INT(runs, 1);
        cora_loop_close(loop);
    }
}

TEST(unknown_backend, "another back end is a ValueError, whose text says what there is")
{
    const char *const names[] = { "kqueue", "nonsense", "", "EPOLL", "io_uring" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct cora_loop_options options = { .backend = names[i] };
        CHECK(cora_is_null(cora_loop_new(&options)));
        check_error(CORA_EVALUE, names[i]);
        for (size_t j = 0; j < 3; j++)
            check_error(CORA_EVALUE, backends[j].name);
        check_error(CORA_EVALUE, "this libev supports");
    }
}

/*
 * Until environment_restore this variable, or nothing, is all of the environment. Without setenv,
 * which allocates for good.
 */
static char **outer_environment;

static void environment_set(const char *name, const char *value)
{
    static char text[64], *only[2];
    snprintf(text, sizeof text, "%s=%s", name, value ? value : "");
    only[0] = value ? text : NULL;
    outer_environment = environ;
    environ = only;
}

static void environment_restore(void)
{
    environ = outer_environment;
}

static unsigned backend_of(const struct cora_loop_options *options)
{
    cora_loop loop = cora_loop_new(options);
    unsigned backend = cora_is_null(loop) ? 0 : ev_backend(cora_loop_ev(loop));
    cora_loop_close(loop);
    return backend;
}

TEST(backend_by_environment,
     "CORA_BACKEND names the back end of loops whose options name none; without both it is epoll")
{
    struct cora_loop_options options = { .backend = "poll" };
    for (size_t i = 0; i < 3; i++) {
        environment_set("CORA_BACKEND", backends[i].name);
        CHECK_INT(backend_of(NULL), backends[i].flag);
        CHECK_INT(backend_of(&options), EVBACKEND_POLL);
        environment_restore();
    }
    const char *const unset[] = { NULL, "" };
    for (int i = 0; i < 2; i++) {
        environment_set("CORA_BACKEND", unset[i]);
        CHECK_INT(backend_of(NULL), EVBACKEND_EPOLL);
        environment_restore();
    }
}

TEST(unknown_backend_by_environment, "an unknown name in CORA_BACKEND is a ValueError, not ignored")
{
    environment_set("CORA_BACKEND", "nonsense");
    CHECK(cora_is_null(cora_loop_new(NULL)));
    check_error(CORA_EVALUE, "nonsense");
    environment_restore();
}

TEST(libev_environment, "libev's own variables do not touch a loop of ours")
{
    environment_set("LIBEV_FLAGS", "1");
    struct cora_loop_options options = { .backend = "poll" };
    CHECK_INT(backend_of(&options), EVBACKEND_POLL);
    environment_restore();
}

TEST(few_descriptors, "with too few descriptors left a loop is refused with an OSError, never the "
                      "process aborted, and nothing stays open")
{
    struct rlimit limit, before;
    int refused = 0, made = 0, first = dup(0), open = open_descriptors() - 1;
    close(first);
    getrlimit(RLIMIT_NOFILE, &before);
    limit = before;
    for (rlim_t spare = 0; spare < 8; spare++) {
        limit.rlim_cur = (rlim_t)first + spare;
        CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
        cora_loop loop = cora_loop_new(NULL);
        if (cora_is_null(loop)) {
            CHECK(cora_error_is(cora_last_error(), CORA_EOS));
            CHECK_INT(cora_error_code(cora_last_error()), -EMFILE);
            refused++;
        } else {
            tick(loop);
            cora_loop_close(loop);
            made++;
        }
        CHECK_INT(open_descriptors(), open);
    }
    setrlimit(RLIMIT_NOFILE, &before);
    CHECK(refused > 0);
    CHECK(made > 0);
}

/* ---- time ---- */

TEST(time,
     "the loop's time is a reading of the monotonic clock, also inside a callback that takes long")
{
    cora_virtual_clock_start(1234.5);
    cora_loop loop = cora_loop_new(NULL);
    CHECK_REAL(cora_time(loop), 1234.5, 1e-9);
    cora_virtual_clock_advance(2);
    CHECK_REAL(cora_time(loop), 1236.5, 1e-9);
    cora_virtual_clock_step_wall(86400);
    CHECK_REAL(cora_time(loop), 1236.5, 1e-9);
    cora_loop_close(loop);
    cora_virtual_clock_stop();
}

/* ---- forks ---- */

/* Whether the child ended well. */
static void check_child(pid_t child)
{
    int status = 0;
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 0);
}

TEST(fork_without_after_fork, "in a forked child running the loop is refused; the parent's goes on")
{
    cora_loop loop = cora_loop_new(NULL);
    int runs = 0;
    cora_call_soon(loop, cora_partial(count, &runs));
    pid_t child = fork();
    if (child == 0) {
        CHECK_INT(cora_run_forever(loop), CORA_ERUNTIME);
        check_error(CORA_ERUNTIME, "cora_after_fork");
        CHECK_INT(runs, 0);
        cora_loop_close(loop);
        _exit(0);
    }
    check_child(child);
    tick(loop);
    CHECK_INT(runs, 1);
    cora_loop_close(loop);
}

TEST(fork_with_after_fork, "after cora_after_fork the child has the loop with all that was "
                           "scheduled, and so has the parent")
{
    cora_virtual_clock_start(1000);
    cora_loop loop = cora_loop_new(NULL);
    struct notes notes = { "", 0 };
    cora_call_soon(loop, cora_partial(note, &notes, 'a'));
    cora_call_soon_threadsafe(loop, cora_partial(note, &notes, 'b'));
    cora_call_later(loop, 1, cora_partial(note, &notes, 'c'));
    cora_call_later(loop, 2, cora_partial(stop));
    pid_t child = fork();
    if (child == 0)
        CHECK_INT(cora_after_fork(loop), 0);
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_TEXT(notes.text, "abc");
    CHECK_INT(cora_after_fork(loop), 0);
    cora_loop_close(loop);
    if (child == 0)
        _exit(0);
    check_child(child);
    cora_virtual_clock_stop();
}

static void fork_here(cora_args bound)
{
    *cora_arg(bound, 0, pid_t *) = fork();
}

TEST(fork_in_a_callback,
     "a run that forks inside a callback ends in the child, and goes on in the parent")
{
    cora_loop loop = cora_loop_new(NULL);
    pid_t child = -1;
    int runs = 0;
    cora_call_soon(loop, cora_partial(fork_here, &child));
    cora_call_later(loop, 0.001, cora_partial(count, &runs));
    cora_call_later(loop, 0.002, cora_partial(stop));
    int code = cora_run_forever(loop);
    if (child == 0) {
        CHECK_INT(code, CORA_ERUNTIME);
        check_error(CORA_ERUNTIME, "cora_after_fork");
        CHECK_INT(runs, 0);
        CHECK_INT(cora_after_fork(loop), 0);
        CHECK_INT(cora_run_forever(loop), 0);
        CHECK_INT(runs, 1);
        cora_loop_close(loop);
        _exit(0);
    }
    CHECK_INT(code, 0);
    CHECK_INT(runs, 1);
    check_child(child);
    cora_loop_close(loop);
}
