/*
 * Readers and writers: when they run, in which order, and what becomes of them when they are
 * replaced, removed, or their descriptor is closed. run_tick() lets the loop do exactly one tick,
 * so that "does not run" can be checked without waiting.
 */
#include "harness.h"

#include <cora.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#define BEYOND_SELECT (FD_SETSIZE + 76)

/* ---- helpers ---- */

/* A connected pair: the loop watches the near end, the test plays the far one. */
struct pair {
    int near, far;
};

static struct pair pair_new(void)
{
    int ends[2];
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    return (struct pair){ ends[0], ends[1] };
}

static void pair_close(struct pair pair)
{
    close(pair.near);
    close(pair.far);
}

static void put(int descriptor, const char *text)
{
    CHECK_INT(write(descriptor, text, strlen(text)), (ssize_t)strlen(text));
}

/* Writes until the peer must read first. */
static void fill(int descriptor)
{
    static const char block[4096];
    while (write(descriptor, block, sizeof block) > 0)
        ;
}

static void drain(int descriptor)
{
    char block[4096];
    while (read(descriptor, block, sizeof block) > 0)
        ;
}

static void run_tick(cora_loop loop)
{
    CHECK_INT(cora_stop(loop), 0);
    CHECK_INT(cora_run_forever(loop), 0);
}

static bool backend_is(const char *name)
{
    const char *backend = getenv("CORA_BACKEND");
    return strcmp(backend && *backend ? backend : "epoll", name) == 0;
}

/* A text that grows by a letter with each callback. */
struct trace {
    char text[64];
    size_t length;
};

static void note(cora_args bound)
{
    struct trace *trace = cora_arg(bound, 0, struct trace *);
    if (trace->length < sizeof trace->text - 1)
        trace->text[trace->length++] = (char)cora_arg_int(bound, 1);
}

/* What the exception handler was told. */
struct reports {
    int count;
    char exception[200];
    cora_handle handle;
};

static void keep_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    struct reports *reports = cora_arg(bound, 0, struct reports *);
    (void)loop;
    reports->count++;
    reports->handle = report->handle;
    cora_print(report->exception, reports->exception, sizeof reports->exception);
}

static void count_drop(void *pointer)
{
    ++*(int *)pointer;
}

static const cora_type counted_drop = { "counted", count_drop, NULL, 0 };

static void touch(cora_args bound)
{
    (void)bound;
}

/* ---- when they run ---- */

struct reading {
    cora_loop loop;
    int descriptor;
    char text[16];
    bool ended;
    bool removed;
};

static void on_readable(cora_args bound)
{
    struct reading *reading = cora_arg(bound, 0, struct reading *);
    char block[8];
    ssize_t length = read(reading->descriptor, block, sizeof block - 1);
    if (length > 0) {
        block[length] = 0;
        strcat(reading->text, block);
        return;
    }
    reading->ended = true;
    reading->removed = cora_remove_reader(reading->loop, reading->descriptor);
}

TEST(reader_sees_data_as_it_comes, "a reader sees each piece as it is sent, then the end",
     "test_events.EventLoopTestsMixin.test_reader_callback")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct reading reading = { .loop = loop, .descriptor = pair.near };
    CHECK_INT(cora_add_reader(loop, pair.near, cora_partial(on_readable, &reading)), 0);
    put(pair.far, "abc");
    run_tick(loop);
    CHECK_TEXT(reading.text, "abc");
    put(pair.far, "def");
    run_tick(loop);
    CHECK_TEXT(reading.text, "abcdef");
    CHECK(!reading.ended);
    shutdown(pair.far, SHUT_WR);
    run_tick(loop);
    CHECK(reading.ended);
    CHECK(reading.removed);
    pair_close(pair);
    cora_loop_close(loop);
}

TEST(writer_runs_when_writable, "a writer runs when the socket takes data; it is removed once",
     "test_events.EventLoopTestsMixin.test_writer_callback")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    CHECK_INT(cora_add_writer(loop, pair.near, cora_partial(note, &trace, 'w')), 0);
    run_tick(loop);
    CHECK_TEXT(trace.text, "w");
    CHECK(cora_remove_writer(loop, pair.near));
    CHECK(!cora_remove_writer(loop, pair.near));
    run_tick(loop);
    CHECK_TEXT(trace.text, "w");
    pair_close(pair);
    cora_loop_close(loop);
}

TEST(reader_is_for_reading_only, "a reader runs when there is data, not when there is room",
     "test_selector_events.BaseSelectorEventLoopTests.test_add_reader",
     "test_selector_events.BaseSelectorEventLoopTests.test_process_events_read")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    cora_add_reader(loop, pair.near, cora_partial(note, &trace, 'r'));
    run_tick(loop);
    CHECK_TEXT(trace.text, "");
    put(pair.far, "x");
    run_tick(loop);
    CHECK_TEXT(trace.text, "r");
    pair_close(pair);
    cora_loop_close(loop);
}

TEST(writer_is_for_writing_only, "a writer runs when there is room, not when there is data",
     "test_selector_events.BaseSelectorEventLoopTests.test_add_writer",
     "test_selector_events.BaseSelectorEventLoopTests.test_process_events_write")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    fill(pair.near);
    put(pair.far, "x");
    cora_add_writer(loop, pair.near, cora_partial(note, &trace, 'w'));
    run_tick(loop);
    CHECK_TEXT(trace.text, "");
    drain(pair.far);
    run_tick(loop);
    CHECK_TEXT(trace.text, "w");
    pair_close(pair);
    cora_loop_close(loop);
}

TEST(level_triggered, "a reader runs in every tick while what it was told of is not read")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    cora_add_reader(loop, pair.near, cora_partial(note, &trace, 'r'));
    put(pair.far, "x");
    for (int i = 0; i < 3; i++)
        run_tick(loop);
    CHECK_TEXT(trace.text, "rrr");
    drain(pair.near);
    run_tick(loop);
    CHECK_TEXT(trace.text, "rrr");
    pair_close(pair);
    cora_loop_close(loop);
}

static void remove_reader(cora_args bound)
{
    cora_remove_reader(cora_arg_loop(bound, 0), (int)cora_arg_int(bound, 1));
}

static void note_and_remove_soon(cora_args bound)
{
    cora_loop loop = cora_running_loop();
    note(bound);
    cora_call_soon(loop, cora_partial(remove_reader, loop, cora_arg_int(bound, 2)));
}

static void stop(cora_args bound)
{
    cora_stop(cora_arg_loop(bound, 0));
}

TEST(once_over_two_runs, "a reader that was due when the loop stopped runs once over two runs",
     "test_base_events.BaseEventLoopTests.test_single_selecter_event_callback_after_stopping")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    cora_add_reader(loop, pair.near, cora_partial(note_and_remove_soon, &trace, 'r', pair.near));
    put(pair.far, "x");
    for (int i = 0; i < 2; i++) {
        cora_call_soon(loop, cora_partial(stop, loop));
        CHECK_INT(cora_run_forever(loop), 0);
        CHECK_TEXT(trace.text, "r");
    }
    pair_close(pair);
    cora_loop_close(loop);
}

TEST(interrupted_tick_keeps_reader, "a reader left over from an interrupted tick runs once, later")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    cora_add_reader(loop, pair.near, cora_partial(note, &trace, 'r'));
    put(pair.far, "x");
    cora_call_soon(loop, cora_partial(cora_keyboard_interrupt));
    CHECK_INT(cora_run_forever(loop), CORA_EKEYBOARDINTERRUPT);
    CHECK_TEXT(trace.text, "");
    run_tick(loop);
    CHECK_TEXT(trace.text, "r");
    pair_close(pair);
    cora_loop_close(loop);
}

TEST(regular_file_is_always_ready, "a regular file is readable and writable in every tick")
{
    cora_loop loop = cora_loop_new(NULL);
    struct trace trace = { .length = 0 };
    FILE *file = tmpfile();
    CHECK(file != NULL);
    int number = fileno(file);
    CHECK_INT(cora_add_reader(loop, number, cora_partial(note, &trace, 'r')), 0);
    CHECK_INT(cora_add_writer(loop, number, cora_partial(note, &trace, 'w')), 0);
    run_tick(loop);
    run_tick(loop);
    CHECK_TEXT(trace.text, "rwrw");
    CHECK(cora_remove_reader(loop, number));
    CHECK(cora_remove_writer(loop, number));
    fclose(file);
    cora_loop_close(loop);
}

/* ---- order ---- */

TEST(reader_before_writer, "of one descriptor the reader runs before the writer")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    put(pair.far, "x");
    cora_add_writer(loop, pair.near, cora_partial(note, &trace, 'w'));
    cora_add_reader(loop, pair.near, cora_partial(note, &trace, 'r'));
    run_tick(loop);
    CHECK_TEXT(trace.text, "rw");
    pair_close(pair);
    cora_loop_close(loop);
}

TEST(order_is_the_back_ends, "descriptors run in the order in which the back end reports them")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pairs[3] = { pair_new(), pair_new(), pair_new() };
    struct trace trace = { .length = 0 };
    cora_add_reader(loop, pairs[1].near, cora_partial(note, &trace, 'b'));
    cora_add_reader(loop, pairs[0].near, cora_partial(note, &trace, 'a'));
    cora_add_reader(loop, pairs[2].near, cora_partial(note, &trace, 'c'));
    run_tick(loop);
    put(pairs[2].far, "x");
    put(pairs[0].far, "x");
    put(pairs[1].far, "x");
    run_tick(loop);
    /* epoll: as they became ready; poll: as they were added; select: by number. */
    CHECK_TEXT(trace.text, backend_is("epoll") ? "cab" : backend_is("poll") ? "bac" : "abc");
    for (int i = 0; i < 3; i++)
        pair_close(pairs[i]);
    cora_loop_close(loop);
}

TEST(after_earlier_call_soon, "what call_soon queued before the poll runs before descriptors")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    put(pair.far, "x");
    cora_add_reader(loop, pair.near, cora_partial(note, &trace, 'r'));
    cora_call_soon(loop, cora_partial(note, &trace, 's'));
    run_tick(loop);
    CHECK_TEXT(trace.text, "sr");
    pair_close(pair);
    cora_loop_close(loop);
}

static void note_and_watch(cora_args bound)
{
    struct trace *trace = cora_arg(bound, 0, struct trace *);
    note(bound);
    cora_add_reader(cora_running_loop(), (int)cora_arg_int(bound, 2),
                    cora_partial(note, trace, 'r'));
}

TEST(added_in_a_callback, "a reader that is added in a callback runs in the next tick, not in this")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    put(pair.far, "x");
    cora_call_soon(loop, cora_partial(note_and_watch, &trace, 's', pair.near));
    run_tick(loop);
    CHECK_TEXT(trace.text, "s");
    run_tick(loop);
    CHECK_TEXT(trace.text, "sr");
    pair_close(pair);
    cora_loop_close(loop);
}

/* ---- replacing ---- */

TEST(reader_replaces_reader, "a second reader takes the first one's place; the writer stays",
     "test_selector_events.BaseSelectorEventLoopTests.test_add_reader_existing")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    int drops = 0;
    put(pair.far, "x");
    cora_add_reader(loop, pair.near,
                    cora_partial(note, &trace, 'o', cora_own(&drops, &counted_drop)));
    cora_add_writer(loop, pair.near, cora_partial(note, &trace, 'w'));
    CHECK_INT(cora_add_reader(loop, pair.near, cora_partial(note, &trace, 'n')), 0);
    run_tick(loop);
    CHECK_TEXT(trace.text, "nw");
    CHECK_INT(drops, 1);
    CHECK_INT(cora_live(loop), 2);
    pair_close(pair);
    cora_loop_close(loop);
}

TEST(writer_replaces_writer, "a second writer takes the first one's place; the reader stays",
     "test_selector_events.BaseSelectorEventLoopTests.test_add_writer_existing")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    put(pair.far, "x");
    cora_add_writer(loop, pair.near, cora_partial(note, &trace, 'o'));
    cora_add_reader(loop, pair.near, cora_partial(note, &trace, 'r'));
    CHECK_INT(cora_add_writer(loop, pair.near, cora_partial(note, &trace, 'n')), 0);
    run_tick(loop);
    CHECK_TEXT(trace.text, "rn");
    pair_close(pair);
    cora_loop_close(loop);
}

TEST(reader_beside_writer, "a reader added where only a writer is lets both be polled",
     "test_selector_events.BaseSelectorEventLoopTests.test_add_reader_existing_writer")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    cora_add_writer(loop, pair.near, cora_partial(note, &trace, 'w'));
    run_tick(loop);
    cora_add_reader(loop, pair.near, cora_partial(note, &trace, 'r'));
    run_tick(loop);
    CHECK_TEXT(trace.text, "ww");
    put(pair.far, "x");
    run_tick(loop);
    CHECK_TEXT(trace.text, "wwrw");
    pair_close(pair);
    cora_loop_close(loop);
}

static void note_and_replace(cora_args bound)
{
    struct trace *trace = cora_arg(bound, 0, struct trace *);
    note(bound);
    cora_add_reader(cora_running_loop(), (int)cora_arg_int(bound, 2),
                    cora_partial(note, trace, 'n'));
}

TEST(replaced_while_queued, "a reader that is replaced after it was queued does not run any more")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    put(pair.far, "x");
    cora_add_reader(loop, pair.near, cora_partial(note, &trace, 'o'));
    cora_call_soon(loop, cora_partial(note_and_replace, &trace, 's', pair.near));
    run_tick(loop);
    CHECK_TEXT(trace.text, "s");
    run_tick(loop);
    CHECK_TEXT(trace.text, "sn");
    pair_close(pair);
    cora_loop_close(loop);
}

TEST(replaces_itself, "a reader may replace itself; its arguments live until it returns")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    int drops = 0;
    put(pair.far, "x");
    cora_add_reader(
        loop, pair.near,
        cora_partial(note_and_replace, &trace, 'o', pair.near, cora_own(&drops, &counted_drop)));
    run_tick(loop);
    CHECK_TEXT(trace.text, "o");
    CHECK_INT(drops, 1);
    run_tick(loop);
    CHECK_TEXT(trace.text, "on");
    pair_close(pair);
    cora_loop_close(loop);
}

/* ---- removing ---- */

TEST(remove_reader_drops_descriptor, "with its reader removed, a descriptor is not polled any more",
     "test_selector_events.BaseSelectorEventLoopTests.test_remove_reader")
{
    struct ev_loop *host = ev_loop_new(EVFLAG_AUTO);
    cora_loop loop = cora_loop_attach(host, NULL);
    struct pair pair = pair_new();
    CHECK(!cora_remove_reader(loop, pair.near));
    cora_add_reader(loop, pair.near, cora_partial(touch));
    CHECK_INT(ev_run(host, EVRUN_NOWAIT), 1);
    CHECK(cora_remove_reader(loop, pair.near));
    CHECK_INT(ev_run(host, EVRUN_NOWAIT), 0);
    pair_close(pair);
    ev_loop_destroy(host);
}

TEST(remove_writer_drops_descriptor, "with its writer removed, a descriptor is not polled any more",
     "test_selector_events.BaseSelectorEventLoopTests.test_remove_writer")
{
    struct ev_loop *host = ev_loop_new(EVFLAG_AUTO);
    cora_loop loop = cora_loop_attach(host, NULL);
    struct pair pair = pair_new();
    CHECK(!cora_remove_writer(loop, pair.near));
    cora_add_writer(loop, pair.near, cora_partial(touch));
    CHECK_INT(ev_run(host, EVRUN_NOWAIT), 1);
    CHECK(cora_remove_writer(loop, pair.near));
    CHECK_INT(ev_run(host, EVRUN_NOWAIT), 0);
    pair_close(pair);
    ev_loop_destroy(host);
}

TEST(remove_reader_keeps_writer, "removing the reader keeps the writer",
     "test_selector_events.BaseSelectorEventLoopTests.test_remove_reader_read_write")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    put(pair.far, "x");
    cora_add_reader(loop, pair.near, cora_partial(note, &trace, 'r'));
    cora_add_writer(loop, pair.near, cora_partial(note, &trace, 'w'));
    CHECK(cora_remove_reader(loop, pair.near));
    run_tick(loop);
    CHECK_TEXT(trace.text, "w");
    pair_close(pair);
    cora_loop_close(loop);
}

TEST(remove_writer_keeps_reader, "removing the writer keeps the reader",
     "test_selector_events.BaseSelectorEventLoopTests.test_remove_writer_read_write")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    put(pair.far, "x");
    cora_add_reader(loop, pair.near, cora_partial(note, &trace, 'r'));
    cora_add_writer(loop, pair.near, cora_partial(note, &trace, 'w'));
    CHECK(cora_remove_writer(loop, pair.near));
    run_tick(loop);
    CHECK_TEXT(trace.text, "r");
    pair_close(pair);
    cora_loop_close(loop);
}

TEST(remove_unknown, "removing what was never added reports false, whatever the number",
     "test_selector_events.BaseSelectorEventLoopTests.test_remove_writer_unknown")
{
    cora_loop loop = cora_loop_new(NULL);
    CHECK(!cora_remove_writer(loop, 1));
    CHECK(!cora_remove_reader(loop, 1));
    CHECK(!cora_remove_writer(loop, 1 << 30));
    CHECK(!cora_remove_reader(loop, 1 << 30));
    cora_loop_close(loop);
}

static void note_and_remove(cora_args bound)
{
    cora_loop loop = cora_running_loop();
    note(bound);
    for (size_t i = 2; i < bound.count; i++)
        cora_remove_reader(loop, (int)cora_arg_int(bound, i));
}

TEST(removes_itself, "a reader may remove itself and does not run again")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    put(pair.far, "x");
    cora_add_reader(loop, pair.near, cora_partial(note_and_remove, &trace, 'r', pair.near));
    run_tick(loop);
    run_tick(loop);
    CHECK_TEXT(trace.text, "r");
    CHECK_INT(cora_live(loop), 0);
    pair_close(pair);
    cora_loop_close(loop);
}

/* Two readers, ready in the same tick; whichever runs removes itself, the other one, or both. */
static size_t runs_with_removal(bool self, bool other, int ticks)
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair one = pair_new(), two = pair_new();
    struct trace trace = { .length = 0 };
    put(one.far, "x");
    put(two.far, "x");
    cora_add_reader(
        loop, one.near,
        cora_partial(note_and_remove, &trace, '1', self ? one.near : -1, other ? two.near : -1));
    cora_add_reader(
        loop, two.near,
        cora_partial(note_and_remove, &trace, '2', self ? two.near : -1, other ? one.near : -1));
    for (int i = 0; i < ticks; i++)
        run_tick(loop);
    pair_close(one);
    pair_close(two);
    cora_loop_close(loop);
    return trace.length;
}

TEST(removes_another, "a reader may remove another one that is ready in the same tick")
{
    CHECK_INT(runs_with_removal(false, true, 1), 1);
    CHECK_INT(runs_with_removal(false, true, 2), 2);
}

TEST(removes_both, "a reader may remove itself and another one that is ready in the same tick")
{
    CHECK_INT(runs_with_removal(true, true, 1), 1);
    CHECK_INT(runs_with_removal(true, true, 2), 1);
}

static void note_and_remove_writer(cora_args bound)
{
    note(bound);
    cora_remove_writer(cora_running_loop(), (int)cora_arg_int(bound, 2));
}

TEST(reader_removes_writer, "a reader may remove the writer of its descriptor, queued behind it")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    put(pair.far, "x");
    cora_add_reader(loop, pair.near, cora_partial(note_and_remove_writer, &trace, 'r', pair.near));
    cora_add_writer(loop, pair.near, cora_partial(note, &trace, 'w'));
    run_tick(loop);
    CHECK_TEXT(trace.text, "r");
    pair_close(pair);
    cora_loop_close(loop);
}

TEST(drops_once, "bound arguments are dropped once, when the reader is removed")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    int drops = 0;
    put(pair.far, "x");
    cora_add_reader(loop, pair.near, cora_partial(touch, cora_own(&drops, &counted_drop)));
    run_tick(loop);
    run_tick(loop);
    CHECK_INT(drops, 0);
    cora_remove_reader(loop, pair.near);
    CHECK_INT(drops, 1);
    run_tick(loop);
    cora_loop_close(loop);
    CHECK_INT(drops, 1);
    pair_close(pair);
}

/* ---- a handle of a reader: the exception handler is told one ---- */

static void note_and_fail(cora_args bound)
{
    note(bound);
    cora_fail(cora_error(CORA_EVALUE, "no"));
}

TEST(failing_reader_stays, "a reader that fails is reported each time, and stays")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    struct reports reports = { .count = 0 };
    cora_set_exception_handler(loop, cora_partial(keep_report, &reports));
    put(pair.far, "x");
    cora_add_reader(loop, pair.near, cora_partial(note_and_fail, &trace, 'r'));
    run_tick(loop);
    run_tick(loop);
    CHECK_TEXT(trace.text, "rr");
    CHECK_INT(reports.count, 2);
    CHECK_TEXT(reports.exception, "ValueError: no");
    pair_close(pair);
    cora_loop_close(loop);
}

TEST(cancelled_handle_removes_reader, "cancelling the handle of a reader removes the reader",
     "test_selector_events.BaseSelectorEventLoopTests.test_process_events_read_cancelled")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    struct reports reports = { .count = 0 };
    cora_set_exception_handler(loop, cora_partial(keep_report, &reports));
    put(pair.far, "x");
    cora_add_reader(loop, pair.near, cora_partial(note_and_fail, &trace, 'r'));
    run_tick(loop);
    CHECK(cora_handle_cancel(reports.handle));
    run_tick(loop);
    CHECK_TEXT(trace.text, "r");
    CHECK(!cora_remove_reader(loop, pair.near));
    CHECK_INT(cora_add_reader(loop, pair.near, cora_partial(note, &trace, 'n')), 0);
    run_tick(loop);
    CHECK_TEXT(trace.text, "rn");
    pair_close(pair);
    cora_loop_close(loop);
}

static void cancel_reported(cora_args bound)
{
    cora_handle_cancel(cora_arg(bound, 0, struct reports *)->handle);
}

TEST(cancelled_while_queued, "a reader whose handle is cancelled while it is queued is removed")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    struct reports reports = { .count = 0 };
    cora_set_exception_handler(loop, cora_partial(keep_report, &reports));
    put(pair.far, "x");
    cora_add_reader(loop, pair.near, cora_partial(note_and_fail, &trace, 'r'));
    run_tick(loop);
    cora_call_soon(loop, cora_partial(cancel_reported, &reports));
    run_tick(loop);
    CHECK_TEXT(trace.text, "r");
    cora_call_soon(loop, cora_partial(note, &trace, 's'));
    run_tick(loop);
    CHECK_TEXT(trace.text, "rs");
    CHECK(!cora_remove_reader(loop, pair.near));
    pair_close(pair);
    cora_loop_close(loop);
}

/* ---- what cannot be watched ---- */

TEST(negative_descriptor, "a negative descriptor is a ValueError for all four",
     "test_unix_events.TestFunctional.test_add_reader_invalid_argument")
{
    cora_loop loop = cora_loop_new(NULL);
    CHECK_INT(cora_add_reader(loop, -1, cora_partial(touch)), CORA_EVALUE);
    CHECK_INT(cora_add_writer(loop, -1, cora_partial(touch)), CORA_EVALUE);
    CHECK(!cora_remove_reader(loop, -2));
    CHECK_TEXT(cora_error_message(cora_last_error()), "Invalid file descriptor: -2");
    CHECK(!cora_remove_writer(loop, -3));
    CHECK_TEXT(cora_error_message(cora_last_error()), "Invalid file descriptor: -3");
    CHECK(cora_error_is(cora_last_error(), CORA_EVALUE));
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}

TEST(closed_descriptor_is_refused, "a closed descriptor is refused with EBADF")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    pair_close(pair);
    CHECK_INT(cora_add_reader(loop, pair.near, cora_partial(touch)), -EBADF);
    CHECK_INT(cora_add_writer(loop, pair.near, cora_partial(touch)), -EBADF);
    CHECK(cora_error_is(cora_last_error(), CORA_EOS));
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}

TEST(add_after_close, "on a closed loop add_reader and add_writer fail",
     "test_events.EventLoopTestsMixin.test_add_fds_after_closing")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    cora_loop_close(loop);
    CHECK_INT(cora_add_reader(loop, pair.near, cora_partial(touch)), CORA_ERUNTIME);
    CHECK_TEXT(cora_error_message(cora_last_error()), "Event loop is closed");
    CHECK_INT(cora_add_writer(loop, pair.near, cora_partial(touch)), CORA_ERUNTIME);
    pair_close(pair);
}

TEST(remove_after_close, "on a closed loop remove_reader and remove_writer report false",
     "test_events.EventLoopTestsMixin.test_remove_fds_after_closing")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    cora_add_reader(loop, pair.near, cora_partial(touch));
    cora_add_writer(loop, pair.near, cora_partial(touch));
    cora_loop_close(loop);
    CHECK(!cora_remove_reader(loop, pair.near));
    CHECK(!cora_remove_writer(loop, pair.near));
    pair_close(pair);
}

TEST(close_drops_readers, "closing the loop drops readers and writers without running them")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    int drops = 0;
    put(pair.far, "x");
    cora_add_reader(loop, pair.near, cora_partial(touch, cora_own(&drops, &counted_drop)));
    cora_add_writer(loop, pair.near, cora_partial(touch, cora_own(&drops, &counted_drop)));
    run_tick(loop);
    cora_loop_close(loop);
    CHECK_INT(drops, 2);
    pair_close(pair);
}

/* A reader on a high number, with this back end. Returns what add_reader did. */
static int watch_high(const char *backend, struct trace *trace)
{
    const struct cora_loop_options options = { .backend = backend };
    struct rlimit before, raised;
    getrlimit(RLIMIT_NOFILE, &before);
    if (before.rlim_max <= BEYOND_SELECT)
        SKIP("not allowed to have %d descriptors", BEYOND_SELECT);
    raised = before;
    if (raised.rlim_cur <= BEYOND_SELECT)
        raised.rlim_cur = BEYOND_SELECT + 1;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &raised), 0);
    cora_loop loop = cora_loop_new(&options);
    struct pair pair = pair_new();
    int high = dup2(pair.near, BEYOND_SELECT);
    CHECK_INT(high, BEYOND_SELECT);
    put(pair.far, "x");
    int code = cora_add_reader(loop, high, cora_partial(note, trace, 'r'));
    run_tick(loop);
    CHECK(cora_remove_reader(loop, high) == (code == 0));
    close(high);
    pair_close(pair);
    cora_loop_close(loop);
    setrlimit(RLIMIT_NOFILE, &before);
    return code;
}

TEST(select_refuses_high_numbers, "select refuses a descriptor beyond FD_SETSIZE with a ValueError")
{
    struct trace trace = { .length = 0 };
    CHECK_INT(watch_high("select", &trace), CORA_EVALUE);
    CHECK_TEXT(trace.text, "");
}

TEST(poll_takes_high_numbers, "poll watches a descriptor beyond FD_SETSIZE")
{
    struct trace trace = { .length = 0 };
    CHECK_INT(watch_high("poll", &trace), 0);
    CHECK_TEXT(trace.text, "r");
}

TEST(epoll_takes_high_numbers, "epoll watches a descriptor beyond FD_SETSIZE")
{
    struct trace trace = { .length = 0 };
    CHECK_INT(watch_high("epoll", &trace), 0);
    CHECK_TEXT(trace.text, "r");
}

/* ---- descriptors that are closed while they are watched ---- */

TEST(closed_before_the_poll, "a descriptor closed before it was polled is reported and forgotten")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new(), other = pair_new();
    struct trace trace = { .length = 0 };
    struct reports reports = { .count = 0 };
    cora_set_exception_handler(loop, cora_partial(keep_report, &reports));
    cora_add_reader(loop, pair.near, cora_partial(note, &trace, 'r'));
    cora_add_writer(loop, pair.near, cora_partial(note, &trace, 'w'));
    cora_add_writer(loop, other.near, cora_partial(note, &trace, 'o'));
    pair_close(pair);
    run_tick(loop);
    CHECK_INT(reports.count, 1);
    CHECK(strstr(reports.exception, "OSError: [Errno 9] Bad file descriptor") != NULL);
    CHECK_TEXT(trace.text, "o");
    CHECK(!cora_remove_reader(loop, pair.near));
    CHECK(!cora_remove_writer(loop, pair.near));
    pair_close(other);
    cora_loop_close(loop);
}

static void watch_and_close(cora_args bound)
{
    struct trace *trace = cora_arg(bound, 0, struct trace *);
    int number = (int)cora_arg_int(bound, 1);
    cora_add_reader(cora_running_loop(), number, cora_partial(note, trace, 'r'));
    close(number);
}

TEST(closed_in_the_same_tick, "a descriptor added and closed in one callback is reported")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    struct reports reports = { .count = 0 };
    cora_set_exception_handler(loop, cora_partial(keep_report, &reports));
    size_t before = cora_live(loop);
    cora_call_soon(loop, cora_partial(watch_and_close, &trace, pair.near));
    run_tick(loop);
    run_tick(loop);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(trace.text, "");
    CHECK_INT(cora_live(loop), before);
    close(pair.far);
    cora_loop_close(loop);
}

TEST(closed_under_select, "a descriptor closed while select watches it is reported and forgotten")
{
    const struct cora_loop_options options = { .backend = "select" };
    cora_loop loop = cora_loop_new(&options);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    struct reports reports = { .count = 0 };
    cora_set_exception_handler(loop, cora_partial(keep_report, &reports));
    cora_add_reader(loop, pair.near, cora_partial(note, &trace, 'r'));
    run_tick(loop);
    pair_close(pair);
    run_tick(loop);
    CHECK_INT(reports.count, 1);
    CHECK(!cora_remove_reader(loop, pair.near));
    cora_loop_close(loop);
}

TEST(closed_disturbs_nobody, "others are served on when a watched descriptor is closed")
{
    if (backend_is("poll"))
        SKIP("libev aborts when poll meets a closed descriptor");
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new(), other = pair_new();
    struct trace trace = { .length = 0 };
    struct reports reports = { .count = 0 };
    cora_set_exception_handler(loop, cora_partial(keep_report, &reports));
    cora_add_reader(loop, pair.near, cora_partial(note, &trace, 'r'));
    cora_add_reader(loop, other.near, cora_partial(note_and_remove, &trace, 'o', other.near));
    run_tick(loop);
    pair_close(pair);
    put(other.far, "x");
    run_tick(loop);
    run_tick(loop); /* select tells of nothing else when it meets a closed descriptor */
    CHECK_TEXT(trace.text, "o");
    pair_close(other);
    cora_loop_close(loop);
}

static void close_and_note(cora_args bound)
{
    note(bound);
    cora_remove_reader(cora_running_loop(), (int)cora_arg_int(bound, 2));
    close((int)cora_arg_int(bound, 2));
}

TEST(removed_then_closed,
     "a reader may remove itself and close its descriptor; nothing is reported")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    struct reports reports = { .count = 0 };
    cora_set_exception_handler(loop, cora_partial(keep_report, &reports));
    put(pair.far, "x");
    cora_add_reader(loop, pair.near, cora_partial(close_and_note, &trace, 'r', pair.near));
    run_tick(loop);
    run_tick(loop);
    CHECK_TEXT(trace.text, "r");
    CHECK_INT(reports.count, 0);
    close(pair.far);
    cora_loop_close(loop);
}

TEST(added_and_removed_then_closed, "what was removed before the poll may be closed, too")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct reports reports = { .count = 0 };
    cora_set_exception_handler(loop, cora_partial(keep_report, &reports));
    cora_add_reader(loop, pair.near, cora_partial(touch));
    cora_remove_reader(loop, pair.near);
    cora_add_writer(loop, pair.near, cora_partial(touch));
    cora_remove_writer(loop, pair.near);
    pair_close(pair);
    run_tick(loop);
    CHECK_INT(reports.count, 0);
    cora_loop_close(loop);
}

/* Puts a new pair's near end in the place of an old number that is closed. */
static struct pair pair_at(int number)
{
    struct pair pair = pair_new();
    if (pair.near == number)
        return pair;
    if (pair.far == number) {
        pair.far = pair.near;
        pair.near = number;
        return pair;
    }
    CHECK_INT(dup2(pair.near, number), number);
    close(pair.near);
    pair.near = number;
    return pair;
}

TEST(number_used_again, "a number that was removed, closed and used again is watched anew")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    cora_add_reader(loop, pair.near, cora_partial(note, &trace, 'o'));
    run_tick(loop);
    cora_remove_reader(loop, pair.near);
    pair_close(pair);
    pair = pair_at(pair.near);
    CHECK_INT(cora_add_reader(loop, pair.near, cora_partial(note, &trace, 'n')), 0);
    put(pair.far, "x");
    run_tick(loop);
    CHECK_TEXT(trace.text, "n");
    pair_close(pair);
    cora_loop_close(loop);
}

TEST(number_used_again_removed_late, "removing a reader after its number was used again is safe")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    cora_add_reader(loop, pair.near, cora_partial(note, &trace, 'o'));
    run_tick(loop);
    pair_close(pair);
    pair = pair_at(pair.near);
    CHECK(cora_remove_reader(loop, pair.near));
    CHECK_INT(cora_add_reader(loop, pair.near, cora_partial(note, &trace, 'n')), 0);
    put(pair.far, "x");
    run_tick(loop);
    CHECK_TEXT(trace.text, "n");
    pair_close(pair);
    cora_loop_close(loop);
}

TEST(number_used_again_unremoved, "a reader of a number used again works though none was removed")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct trace trace = { .length = 0 };
    cora_add_reader(loop, pair.near, cora_partial(note, &trace, 'o'));
    run_tick(loop);
    pair_close(pair);
    pair = pair_at(pair.near);
    CHECK_INT(cora_add_reader(loop, pair.near, cora_partial(note, &trace, 'n')), 0);
    put(pair.far, "x");
    run_tick(loop);
    CHECK_TEXT(trace.text, "n");
    pair_close(pair);
    cora_loop_close(loop);
}
