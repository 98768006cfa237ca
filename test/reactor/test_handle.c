/*
 * Handles of scheduled callbacks: what they tell while their callback waits, and that a handle
 * whose callback is gone is stale for ever, whatever has taken its place.
 */
#include "harness.h"

#include <cora.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_ring(cora_args bound)
{
    (void)bound;
}

static void count(cora_args bound)
{
    ++*cora_arg(bound, 0, int *);
}

static void tick(cora_loop loop)
{
    cora_stop(loop);
    CHECK_INT(cora_run_forever(loop), 0);
}

static void count_drop(void *pointer)
{
    ++*(int *)pointer;
}

static const cora_type counted = { "counted", count_drop, NULL, 0 };

static cora_loop debug_loop(void)
{
    return cora_loop_new(&(struct cora_loop_options){ .debug = true });
}

/* Every call on this handle says that there is nothing. */
static void check_gone(cora_handle handle)
{
    CHECK(!cora_handle_cancel(handle));
    CHECK(!cora_handle_cancelled(handle));
    CHECK(isnan(cora_handle_when(handle)));
}

/* ---- cancelled ---- */

TEST(handle_cancelled, "a new handle reads not cancelled, after a cancel it reads cancelled",
     "test_events.HandleTests.test_handle")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_handle handle = cora_call_soon(loop, cora_partial(on_ring));
    CHECK(!cora_handle_cancelled(handle));
    CHECK(cora_handle_cancel(handle));
    CHECK(cora_handle_cancelled(handle));
    cora_loop_close(loop);
}

TEST(cancel_twice,
     "a second cancel changes nothing: it returns false, and the handle reads cancelled")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_handle handles[2] = { cora_call_soon(loop, cora_partial(on_ring)),
                               cora_call_later(loop, 10, cora_partial(on_ring)) };
    for (int i = 0; i < 2; i++) {
        CHECK(cora_handle_cancel(handles[i]));
        CHECK(!cora_handle_cancel(handles[i]));
        CHECK(cora_handle_cancelled(handles[i]));
    }
    cora_loop_close(loop);
}

struct asked {
    cora_handle handle;
    bool cancelled;
};

static void ask(cora_args bound)
{
    struct asked *asked = cora_arg(bound, 0, struct asked *);
    asked->cancelled = cora_handle_cancelled(asked->handle);
}

static void cancel_it(cora_args bound)
{
    CHECK(cora_handle_cancel(cora_arg(bound, 0, struct asked *)->handle));
}

TEST(cancelled_until_the_end_of_the_tick,
     "a handle reads cancelled until the end of the tick after the cancel, also where the "
     "cancelled callback was met before")
{
    cora_loop loop = cora_loop_new(NULL);
    struct asked soon = { { 0 }, false }, timer = { { 0 }, false };
    timer.handle = cora_call_later(loop, 10, cora_partial(on_ring));
    cora_call_soon(loop, cora_partial(cancel_it, &soon));
    cora_call_soon(loop, cora_partial(cancel_it, &timer));
    soon.handle = cora_call_soon(loop, cora_partial(on_ring));
    cora_call_soon(loop, cora_partial(on_ring));
    cora_call_soon(loop, cora_partial(ask, &soon));
    cora_call_soon(loop, cora_partial(ask, &timer));
    tick(loop);
    CHECK(soon.cancelled);
    CHECK(timer.cancelled);
    cora_loop_close(loop);
}

TEST(handle_of_what_has_run,
     "a handle whose callback has run is stale: nothing to cancel, not cancelled, no time")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_handle soon = cora_call_soon(loop, cora_partial(on_ring));
    cora_handle timer = cora_call_later(loop, 0, cora_partial(on_ring));
    tick(loop);
    check_gone(soon);
    check_gone(timer);
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ESTALE);
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
    cora_loop_close(loop);
}

/* ---- stale and null ---- */

TEST(null_handle, "every call on the null handle fails, and says that it is null")
{
    const cora_handle none = { 0 };
    char text[64];
    check_gone(none);
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ESTALE);
    CHECK(strstr(cora_error_message(cora_last_error()), "null"));
    CHECK_INT(cora_handle_print(none, text, sizeof text), 11);
    CHECK_TEXT(text, "<Handle #0>");
}

TEST(handles_of_a_closed_loop,
     "closing a loop makes its handles stale, also when a new loop takes its memory")
{
    cora_loop first = cora_loop_new(NULL);
    int runs = 0;
    cora_handle soon = cora_call_soon(first, cora_partial(on_ring));
    cora_handle timer = cora_call_later(first, 0, cora_partial(on_ring));
    cora_handle cancelled = cora_call_soon(first, cora_partial(on_ring));
    cora_handle_cancel(cancelled);
    cora_loop_close(first);
    check_gone(soon);
    check_gone(timer);
    check_gone(cancelled);
    cora_loop second = cora_loop_new(NULL);
    for (int i = 0; i < 10; i++) {
        cora_call_soon(second, cora_partial(count, &runs));
        cora_call_later(second, 0, cora_partial(count, &runs));
    }
    check_gone(soon);
    check_gone(timer);
    check_gone(cancelled);
    tick(second);
    CHECK_INT(runs, 20);
    cora_loop_close(second);
}

TEST(handles_of_two_loops, "a handle names its loop's callback, whichever loop is asked")
{
    cora_loop one = cora_loop_new(NULL), other = cora_loop_new(NULL);
    int runs = 0;
    cora_handle of_one = cora_call_soon(one, cora_partial(count, &runs));
    cora_handle of_other = cora_call_soon(other, cora_partial(count, &runs));
    CHECK(!cora_same(of_one, of_other));
    CHECK(cora_handle_cancel(of_one));
    CHECK(!cora_handle_cancelled(of_other));
    tick(one);
    CHECK_INT(runs, 0);
    tick(other);
    CHECK_INT(runs, 1);
    cora_loop_close(one);
    cora_loop_close(other);
}

TEST(stale_handles_hit_nobody, "after a million callbacks scheduled and cancelled, no stale handle "
                               "touches what has taken its place")
{
    enum { BATCH = 1000, KEPT = 10000 };
    cora_loop loop = cora_loop_new(NULL);
    cora_handle *kept = calloc(KEPT, sizeof *kept), batch[BATCH];
    size_t kept_count = 0;
    int runs = 0, batches = harness_scale(1000);
    for (int i = 0; i < batches; i++) {
        for (int j = 0; j < BATCH; j++)
            batch[j] = j % 2 ? cora_call_soon(loop, cora_partial(count, &runs))
                             : cora_call_later(loop, 100 - j % 3, cora_partial(count, &runs));
        for (int j = 0; j < BATCH; j++)
            CHECK(cora_handle_cancel(batch[j]));
        for (int j = 0; j < BATCH && kept_count < KEPT; j += 101)
            kept[kept_count++] = batch[j];
        tick(loop);
    }
    CHECK_INT(runs, 0);
    CHECK_INT(cora_live(loop), 0);
    for (int j = 0; j < BATCH; j++)
        j % 2 ? cora_call_soon(loop, cora_partial(count, &runs))
              : cora_call_later(loop, 0, cora_partial(count, &runs));
    for (size_t i = 0; i < kept_count; i++)
        check_gone(kept[i]);
    tick(loop);
    CHECK_INT(runs, BATCH);
    free(kept);
    cora_loop_close(loop);
}

/* ---- for a person to read ---- */

TEST(handle_print, "a handle prints its callback with its arguments; a timer its time, too")
{
    cora_loop loop = cora_loop_new(NULL);
    char text[100];
    cora_handle_print(cora_call_soon(loop, cora_partial(on_ring, "bell", 3)), text, sizeof text);
    CHECK_TEXT(text, "<Handle on_ring(\"bell\", 3)>");
    cora_handle_print(cora_call_soon(loop, cora_partial(on_ring)), text, sizeof text);
    CHECK_TEXT(text, "<Handle on_ring()>");
    cora_handle_print(cora_call_at(loop, 12.345, cora_partial(on_ring, 3)), text, sizeof text);
    CHECK_TEXT(text, "<TimerHandle when=12.345 on_ring(3)>");
    cora_loop_close(loop);
}

TEST(cancelled_handle_print, "after a cancel the text only says cancelled",
     "test_events.HandleTests.test_handle_repr")
{
    cora_loop loop = cora_loop_new(NULL);
    char text[100];
    cora_handle soon = cora_call_soon(loop, cora_partial(on_ring, "bell"));
    cora_handle timer = cora_call_at(loop, 1e9, cora_partial(on_ring, "bell"));
    cora_handle_print(soon, text, sizeof text);
    CHECK_TEXT(text, "<Handle on_ring(\"bell\")>");
    cora_handle_cancel(soon);
    cora_handle_cancel(timer);
    cora_handle_print(soon, text, sizeof text);
    CHECK_TEXT(text, "<Handle cancelled>");
    cora_handle_print(timer, text, sizeof text);
    CHECK_TEXT(text, "<TimerHandle cancelled>");
    cora_loop_close(loop);
}

TEST(print_is_cut, "a handle's text is cut to the buffer, and its whole length is returned")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_handle handle = cora_call_soon(loop, cora_partial(on_ring, 12345));
    char text[12];
    CHECK_INT(cora_handle_print(handle, text, sizeof text), 23);
    CHECK_TEXT(text, "<Handle on_");
    CHECK_INT(cora_handle_print(handle, NULL, 0), 23);
    cora_loop_close(loop);
}

TEST(stale_handle_print, "a stale handle prints as a number, as nobody knows its callback any more")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_handle handle = cora_call_soon(loop, cora_partial(on_ring));
    char text[64];
    tick(loop);
    cora_handle_print(handle, text, sizeof text);
    CHECK_INT(strncmp(text, "<Handle #", 9), 0);
    cora_loop_close(loop);
}

static void print_itself(cora_args bound)
{
    cora_handle_print(*cora_arg(bound, 0, cora_handle *), cora_arg(bound, 1, char *), 100);
}

TEST(running_handle_print, "a running callback's handle prints it")
{
    cora_loop loop = cora_loop_new(NULL);
    char room[100] = "", *text = room;
    cora_handle self = { 0 };
    cora_value bound[2] = { cora_pointer(&self), cora_pointer(text) };
    self = cora_call_soon(loop, cora_partial(print_itself, bound[0], bound[1]));
    tick(loop);
    CHECK_INT(strncmp(text, "<Handle print_itself(", 21), 0);
    cora_loop_close(loop);
}

/* ---- debug mode ---- */

TEST(debug_handle_print,
     "in debug mode the text also says where the handle was created, and keeps callback and "
     "arguments after a cancel; a second cancel changes nothing",
     "test_events.HandleTests.test_handle_repr_debug")
{
    cora_loop loop = debug_loop();
    char text[300], expected[300];
    cora_handle handle = cora_call_soon(loop, cora_partial(on_ring, "bell", 3));
    int line = __LINE__ - 1;
    cora_handle_print(handle, text, sizeof text);
    snprintf(expected, sizeof expected, "<Handle on_ring(\"bell\", 3) created at %s:%d>", __FILE__,
             line);
    CHECK_TEXT(text, expected);
    snprintf(expected, sizeof expected, "<Handle cancelled on_ring(\"bell\", 3) created at %s:%d>",
             __FILE__, line);
    cora_handle_cancel(handle);
    cora_handle_print(handle, text, sizeof text);
    CHECK_TEXT(text, expected);
    cora_handle_cancel(handle);
    cora_handle_print(handle, text, sizeof text);
    CHECK_TEXT(text, expected);
    cora_loop_close(loop);
}

TEST(debug_timer_print,
     "in debug mode a timer also says where it was created, and keeps its callback after a cancel",
     "test_events.TimerTests.test_timer_repr_debug")
{
    cora_loop loop = debug_loop();
    char text[300], expected[300];
    cora_handle timer = cora_call_at(loop, 1e9, cora_partial(on_ring));
    int line = __LINE__ - 1;
    cora_handle_print(timer, text, sizeof text);
    snprintf(expected, sizeof expected, "<TimerHandle when=1000000000 on_ring() created at %s:%d>",
             __FILE__, line);
    CHECK_TEXT(text, expected);
    cora_handle_cancel(timer);
    cora_handle_print(timer, text, sizeof text);
    snprintf(expected, sizeof expected,
             "<TimerHandle cancelled when=1000000000 on_ring() created at %s:%d>", __FILE__, line);
    CHECK_TEXT(text, expected);
    cora_loop_close(loop);
}

TEST(debug_cancel_drops_at_once,
     "in debug mode, too, a cancel drops the arguments inside the call, once")
{
    cora_loop loop = debug_loop();
    int drops[3] = { 0, 0, 0 };
    cora_handle handles[3];
    handles[0] = cora_call_soon(loop, cora_partial(on_ring, cora_own(&drops[0], &counted)));
    handles[1] =
        cora_call_later(loop, 0, cora_partial(on_ring, 1, 2, cora_own(&drops[1], &counted)));
    handles[2] = cora_call_later(loop, 9, cora_partial(on_ring, cora_own(&drops[2], &counted)));
    cora_loop other = cora_loop_new(NULL);
    tick(other); /* forgets the temporaries of main() */
    cora_loop_close(other);
    for (int i = 0; i < 3; i++) {
        CHECK(cora_handle_cancel(handles[i]));
        CHECK_INT(drops[i], 1);
    }
    tick(loop);
    cora_loop_close(loop);
    CHECK_INT(drops[0] + drops[1] + drops[2], 3);
}

TEST(debug_cancels_leave_nothing,
     "in debug mode cancelled handles leave nothing alive, met by a tick or closed before")
{
    cora_loop loop = debug_loop();
    size_t before = cora_live_values();
    for (int i = 0; i < 3; i++) {
        cora_handle_cancel(cora_call_soon(loop, cora_partial(on_ring, i)));
        cora_handle_cancel(cora_call_later(loop, 0, cora_partial(on_ring, i)));
        cora_handle_cancel(cora_call_later(loop, 9, cora_partial(on_ring, i)));
    }
    tick(loop);
    CHECK_INT(cora_live_values(), before);
    cora_handle_cancel(cora_call_soon(loop, cora_partial(on_ring, 3)));
    cora_handle_cancel(cora_call_later(loop, 0, cora_partial(on_ring, 3)));
    cora_handle_cancel(cora_call_later(loop, 9, cora_partial(on_ring, 3)));
    cora_loop_close(loop);
    CHECK_INT(cora_live_values(), before);
}

struct closer {
    cora_loop loop;
    int drops;
};

static void drop_and_close(void *pointer)
{
    struct closer *closer = pointer;
    closer->drops++;
    cora_loop_close(closer->loop);
}

static const cora_type closing = { "closing", drop_and_close, NULL, 0 };

TEST(debug_cancel_closes,
     "in debug mode, too, a drop function that runs in a cancel may close the idle loop")
{
    struct closer closer = { debug_loop(), 0 };
    cora_handle handle =
        cora_call_later(closer.loop, 9, cora_partial(on_ring, cora_own(&closer, &closing)));
    cora_loop other = cora_loop_new(NULL);
    tick(other);
    cora_loop_close(other);
    CHECK(cora_handle_cancel(handle));
    CHECK_INT(closer.drops, 1);
    CHECK(cora_is_closed(closer.loop));
}

TEST(debug_stale_use_names_the_place,
     "in debug mode the use of a stale handle names the callback and the place where it was "
     "scheduled, also after many others")
{
    cora_loop loop = debug_loop();
    char place[200];
    int runs = 0;
    cora_handle handle = cora_call_soon(loop, cora_partial(on_ring));
    snprintf(place, sizeof place, "%s:%d", __FILE__, __LINE__ - 1);
    for (int i = 0; i < 3000; i++)
        cora_call_soon(loop, cora_partial(count, &runs));
    tick(loop);
    CHECK(!cora_handle_cancel(handle));
    CHECK_INT(cora_error_code(cora_last_error()), CORA_ESTALE);
    CHECK(strstr(cora_error_message(cora_last_error()), "on_ring"));
    CHECK(strstr(cora_error_message(cora_last_error()), place));
    cora_loop_close(loop);
}
