/*
 * Writers of streams, and what a connection does to both ends of a stream: first a conversation in
 * callbacks, and the same in steps; writing; draining, while the peer reads and while it does not;
 * closing, and waiting for the end; a peer that ends, resets, or is faster than the reader; writers
 * that were closed, and handles of nothing; what is reported of one that nobody closed.
 *
 * The near end of a pair of sockets is the stream's, the test plays the far one; so a tick is
 * enough for what is sent to arrive.
 */
#include "coroutines.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>

#define MUCH ((size_t)4 << 20) /* more than the sockets take */

enum style {
    CALLBACKS,
    TASKS,
};

/* A test that is made with callbacks and with tasks. */
#define BOTH(name, ...)                                                                            \
    static void name(enum style style);                                                            \
    TEST(name##_callbacks, __VA_ARGS__)                                                            \
    {                                                                                              \
        name(CALLBACKS);                                                                           \
    }                                                                                              \
    TEST(name##_tasks, __VA_ARGS__)                                                                \
    {                                                                                              \
        name(TASKS);                                                                               \
    }                                                                                              \
    static void name(enum style style)

/* ---- a line between a stream and the test ---- */

struct line {
    cora_stream_reader reader;
    cora_stream_writer writer;
    int far;
};

/* Connects a stream with this limit, or the usual one for 0. */
static struct line line_new(cora_loop loop, size_t limit)
{
    int ends[2];
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    const struct cora_connect_options options = { .socket = ends[0] };
    struct cora_streams streams =
        cora_as_streams(cora_run_until_complete(loop, cora_open_connection(&options, limit)));
    CHECK(!cora_is_null(streams.writer));
    return (struct line){ streams.reader, streams.writer, ends[1] };
}

static void put(struct line line, const char *text)
{
    CHECK_INT(write(line.far, text, strlen(text)), (ssize_t)strlen(text));
}

/* What has arrived at the far end; until the next call. */
static const char *got(struct line line)
{
    static char text[1000];
    ssize_t size = read(line.far, text, sizeof text - 1);
    text[size > 0 ? size : 0] = '\0';
    return text;
}

/* Takes all that is at the far end now: how much. */
static size_t take_all(struct line line)
{
    static char bytes[65536];
    size_t all = 0;
    for (ssize_t size; (size = read(line.far, bytes, sizeof bytes)) > 0;)
        all += (size_t)size;
    return all;
}

/* Writes so much that the writer is to wait. */
static void stuff(struct line line)
{
    char *much = calloc(1, MUCH);
    CHECK(much);
    CHECK_INT(cora_stream_write(line.writer, much, MUCH), 0);
    free(much);
    CHECK(cora_transport_get_write_buffer_size(cora_stream_transport(line.writer)) > 65536);
}

/* Takes all that the writer has, and lets it know. */
static void unstuff(cora_loop loop, struct line line)
{
    for (size_t all = 0; all < MUCH;) {
        all += take_all(line);
        if (all < MUCH)
            tick(loop);
    }
}

/* Hangs up in good order, and then at once. */
static void hang_up(struct line line)
{
    CHECK_INT(close(line.far), 0);
}

/* Hangs up with something unread: the near end is reset. */
static void reset(struct line line)
{
    CHECK_INT(cora_stream_write(line.writer, "unread", 6), 0);
    hang_up(line);
}

static void line_close(cora_loop loop, struct line line)
{
    CHECK_INT(cora_stream_close(line.writer), 0);
    ticks(loop, 3);
    close(line.far);
}

/* Ends a test; what still waits is dropped with the loop, without a word. */
static void end_silently(cora_loop loop)
{
    struct reports reports;
    collect_reports(loop, &reports);
    cora_set_current_loop((cora_loop){ 0 });
    end(loop);
}

/* ---- what is awaited ---- */

/* Notes the word alone for nothing, "a=b\"text\"" for bytes, "a:ValueError" for an error. */
static void note_end(struct notes *notes, const char *word, cora_value outcome)
{
    char value[200], text[300];
    cora_print(outcome, value, sizeof value);
    if (cora_is_error(outcome))
        snprintf(text, sizeof text, "%s:%s", word, cora_error_name(cora_error_code(outcome)));
    else if (cora_is_nothing(outcome))
        snprintf(text, sizeof text, "%s", word);
    else
        snprintf(text, sizeof text, "%s=%s", word, value);
    add_note(notes, text);
}

/* Bound to notes and a word. */
static void note_ended(cora_args bound, cora_future done)
{
    note_end(cora_arg(bound, 0, struct notes *), cora_arg_text(bound, 1), cora_result(done));
}

struct awaiter {
    struct notes *notes;
    cora_awaitable what;
    const char *word;
};

static cora_next awaiter_tells(cora_coro self)
{
    struct awaiter *awaiter = cora_locals(self, struct awaiter);
    bool failed = !cora_is_nothing(cora_caught(self));
    note_end(awaiter->notes, awaiter->word, failed ? cora_caught(self) : cora_got(self));
    return failed ? cora_raise(self, cora_caught(self)) : cora_return(self, cora_got(self));
}

static cora_next awaiter_awaits(cora_coro self)
{
    return cora_try(self, cora_locals(self, struct awaiter)->what, awaiter_tells);
}

/* Begins to await this; a task begins in the next tick. The future is kept. */
static cora_future begin(enum style style, cora_loop loop, cora_awaitable what, struct notes *notes,
                         const char *word)
{
    if (style == CALLBACKS)
        return cora_keep(cora_when_done(what, cora_partial(note_ended, notes, word)));
    return cora_create_task(loop, cora_coroutine(awaiter_awaits, struct awaiter, .notes = notes,
                                                 .what = what, .word = word));
}

/* The same, and it waits by now. */
static cora_future begin_waiting(enum style style, cora_loop loop, cora_awaitable what,
                                 struct notes *notes, const char *word)
{
    cora_future future = begin(style, loop, what, notes, word);
    if (style == TASKS)
        tick(loop);
    return future;
}

/* What an awaitable comes to, as cora_print writes it; until the next call. */
static const char *end_of(cora_loop loop, cora_awaitable what)
{
    static char text[400];
    cora_print(cora_run_until_complete(loop, what), text, sizeof text);
    return text;
}

static const char *writer_text(cora_stream_writer writer)
{
    static char text[400];
    int length = cora_stream_writer_print(writer, text, sizeof text);
    CHECK_INT(length, strlen(text));
    return text;
}

/* ---- a conversation ---- */

struct guest {
    cora_stream_reader reader;
    cora_stream_writer writer;
    struct notes *notes;
};

static void on_closed(cora_args bound, cora_future done)
{
    CHECK(cora_is_nothing(cora_result(done)));
    add_note(cora_arg(bound, 0, struct guest *)->notes, "closed");
}

static void on_answer(cora_args bound, cora_future done)
{
    struct guest *guest = cora_arg(bound, 0, struct guest *);
    note_end(guest->notes, "answer", cora_result(done));
    CHECK_INT(cora_stream_close(guest->writer), 0);
    cora_when_done(cora_stream_wait_closed(guest->writer), cora_partial(on_closed, guest));
}

static void on_sent(cora_args bound, cora_future done)
{
    struct guest *guest = cora_arg(bound, 0, struct guest *);
    CHECK(cora_is_nothing(cora_result(done)));
    cora_when_done(cora_stream_readline(guest->reader), cora_partial(on_answer, guest));
}

static void on_connected(cora_args bound, cora_future done)
{
    struct guest *guest = cora_arg(bound, 0, struct guest *);
    struct cora_streams streams = cora_as_streams(cora_result(done));
    guest->reader = streams.reader;
    guest->writer = streams.writer;
    CHECK_INT(cora_stream_write(guest->writer, "a room\n", 7), 0);
    cora_when_done(cora_stream_drain(guest->writer), cora_partial(on_sent, guest));
}

TEST(callbacks, "callbacks connect, write, drain, read the answer, close and wait for the end")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct guest guest = { .notes = &notes };
    int ends[2];
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    const struct cora_connect_options options = { .socket = ends[0] };
    struct line line = { .far = ends[1] };
    cora_when_done(cora_open_connection(&options, 0), cora_partial(on_connected, &guest));
    ticks(loop, 5);
    CHECK_TEXT(got(line), "a room\n");
    CHECK_TEXT(notes.text, "");
    put(line, "room 7\n");
    ticks(loop, 6);
    CHECK_TEXT(notes.text, "answer=b\"room 7\\n\" closed");
    CHECK_TEXT(got(line), "");
    CHECK_INT(cora_live(loop), 0);
    hang_up(line);
    current_loop_end(loop);
}

static cora_next guest_is_closed(cora_coro self)
{
    CHECK(cora_is_nothing(cora_got(self)));
    return cora_return(self, "slept well");
}

static cora_next guest_has_read(cora_coro self)
{
    struct guest *guest = cora_locals(self, struct guest);
    note_end(guest->notes, "answer", cora_got(self));
    CHECK_INT(cora_stream_close(guest->writer), 0);
    return cora_await(self, cora_stream_wait_closed(guest->writer), guest_is_closed);
}

static cora_next guest_reads(cora_coro self)
{
    return cora_await(self, cora_stream_read(cora_locals(self, struct guest)->reader, -1),
                      guest_has_read);
}

static cora_next guest_writes(cora_coro self)
{
    struct guest *guest = cora_locals(self, struct guest);
    CHECK_INT(cora_stream_write(guest->writer, "a room\n", 7), 0);
    return cora_await(self, cora_stream_drain(guest->writer), guest_reads);
}

TEST(steps, "the same in steps: write, drain, read to the end, close, wait; nothing is reported",
     "test_streams.StreamTests.test_async_writer_api")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct reports reports;
    struct line line = line_new(loop, 0);
    collect_reports(loop, &reports);
    cora_future task = cora_create_task(
        loop, cora_coroutine(guest_writes, struct guest, line.reader, line.writer, &notes));
    ticks(loop, 2);
    CHECK_TEXT(got(line), "a room\n");
    put(line, "room 7");
    hang_up(line);
    ticks(loop, 6);
    CHECK_TEXT(outcome(task), "\"slept well\"");
    CHECK_TEXT(notes.text, "answer=b\"room 7\"");
    CHECK_INT(reports.count, 0);
    current_loop_end(loop);
}

/* A server that answers one request with a page, and hangs up. */
static void on_request(cora_args bound, cora_future done)
{
    cora_stream_writer writer = cora_arg_stream_writer(bound, 0);
    CHECK(cora_equal(cora_result(done), cora_bytes("GET / HTTP/1.0\r\n", 16)));
    CHECK_INT(
        cora_stream_writef(writer, "HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s", 4, "Bed."),
        0);
    CHECK_INT(cora_stream_close(writer), 0);
}

static void serve_page(cora_args bound, cora_stream_reader reader, cora_stream_writer writer)
{
    (void)bound;
    cora_when_done(cora_stream_readline(reader), cora_partial(on_request, writer));
}

TEST(open_connection,
     "a connection to a server of this machine: a status line, then the rest to the end",
     "test_streams.StreamTests.test_open_connection")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    cora_set_current_loop(loop);
    collect_reports(loop, &reports);
    const struct cora_server_options listen = { .host = "127.0.0.1" };
    cora_server server = cora_as_server(
        cora_run_until_complete(loop, cora_start_server(&listen, 0, cora_partial(serve_page))));
    const struct cora_connect_options options = { .host = "127.0.0.1",
                                                  .port = cora_server_port(server) };
    struct cora_streams streams =
        cora_as_streams(cora_run_until_complete(loop, cora_open_connection(&options, 0)));
    CHECK_INT(cora_stream_write(streams.writer, "GET / HTTP/1.0\r\n", 16), 0);
    CHECK_TEXT(end_of(loop, cora_stream_readline(streams.reader)), "b\"HTTP/1.0 200 OK\\x0d\\n\"");
    CHECK_TEXT(end_of(loop, cora_stream_read(streams.reader, -1)),
               "b\"Content-Length: 4\\x0d\\n\\x0d\\nBed.\"");
    CHECK_INT(cora_stream_close(streams.writer), 0);
    CHECK_TEXT(end_of(loop, cora_stream_wait_closed(streams.writer)), "None");
    CHECK_INT(cora_server_close(server), 0);
    CHECK_TEXT(end_of(loop, cora_server_wait_closed(server)), "None");
    CHECK_INT(reports.count, 0);
    cora_set_current_loop((cora_loop){ 0 });
    cora_loop_close(loop);
}

TEST(no_loop, "without a loop nothing connects",
     "test_streams.StreamTests.test_streamreaderprotocol_constructor_without_loop")
{
    const struct cora_connect_options options = { .host = "127.0.0.1", .port = 9 };
    struct notes notes = { "" };
    CHECK(cora_is_null(cora_when_done(cora_open_connection(&options, 0),
                                      cora_partial(note_ended, &notes, "connected"))));
    CHECK_INT(cora_last_error_code(), CORA_ERUNTIME);
}

static void connect_in_loop(cora_args bound)
{
    const struct cora_connect_options options = { .socket = (int)cora_arg_int(bound, 0) };
    cora_when_done(cora_open_connection(&options, 0),
                   cora_partial(note_ended, cora_arg(bound, 1, struct notes *), "connected"));
}

TEST(running_loop, "a connection that is opened in a callback is of the running loop",
     "test_streams.StreamTests.test_streamreaderprotocol_constructor_use_running_loop")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    int ends[2];
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    cora_call_soon(loop, cora_partial(connect_in_loop, ends[0], &notes));
    ticks(loop, 5);
    CHECK(strncmp(notes.text, "connected=", 10) == 0);
    close(ends[1]);
    end(loop);
}

/* ---- writing ---- */

TEST(write_at_once, "what is written is sent in the very call, if the peer takes it")
{
    cora_loop loop = current_loop_new();
    struct line line = line_new(loop, 0);
    CHECK_INT(cora_stream_write(line.writer, "one ", 4), 0);
    CHECK_INT(cora_stream_write(line.writer, "", 0), 0);
    CHECK_INT(cora_stream_write(line.writer, "two", 3), 0);
    CHECK_TEXT(got(line), "one two");
    line_close(loop, line);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

TEST(writelines, "pieces are written one behind the other")
{
    cora_loop loop = current_loop_new();
    struct line line = line_new(loop, 0);
    char one[] = "one ", two[] = "two ", three[] = "three";
    const struct iovec pieces[] = { { one, 4 }, { two, 4 }, { NULL, 0 }, { three, 5 } };
    CHECK_INT(cora_stream_writelines(line.writer, pieces, 4), 0);
    CHECK_INT(cora_stream_writelines(line.writer, NULL, 0), 0);
    CHECK_TEXT(got(line), "one two three");
    line_close(loop, line);
    current_loop_end(loop);
}

TEST(writef, "a printed text is written whole, of any length, and without its terminating zero")
{
    static const int lengths[] = { 0, 1, 509, 510, 511, 512, 513, 5000 };
    cora_loop loop = current_loop_new();
    struct line line = line_new(loop, 0);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        CHECK_INT(cora_stream_writef(line.writer, "%*d", lengths[i], 7), 0);
        CHECK_INT(take_all(line), lengths[i] > 0 ? lengths[i] : 1);
    }
    CHECK_INT(cora_stream_writef(line.writer, "%s is %d", "Ann", 7), 0);
    CHECK_TEXT(got(line), "Ann is 7");
    line_close(loop, line);
    current_loop_end(loop);
}

TEST(write_eof,
     "after write_eof the peer sees the end, and can still be read; writing is a RuntimeError")
{
    cora_loop loop = current_loop_new();
    struct line line = line_new(loop, 0);
    char byte;
    CHECK(cora_stream_can_write_eof(line.writer));
    CHECK_INT(cora_stream_write(line.writer, "last", 4), 0);
    CHECK_INT(cora_stream_write_eof(line.writer), 0);
    CHECK_INT(cora_stream_write_eof(line.writer), 0);
    CHECK_TEXT(got(line), "last");
    CHECK_INT(read(line.far, &byte, 1), 0);
    CHECK_INT(cora_stream_write(line.writer, "x", 1), CORA_ERUNTIME);
    put(line, "answer");
    CHECK_TEXT(end_of(loop, cora_stream_read(line.reader, 10)), "b\"answer\"");
    line_close(loop, line);
    current_loop_end(loop);
}

TEST(what_it_is, "a writer tells its transport and what is known of it, and prints it")
{
    cora_loop loop = current_loop_new();
    struct line line = line_new(loop, 0);
    cora_transport transport = cora_stream_transport(line.writer);
    int number = cora_transport_socket(transport);
    char expected[200];
    CHECK(number >= 0);
    CHECK_INT(cora_as_int(cora_stream_get_extra_info(line.writer, "socket", cora_nothing())),
              number);
    CHECK_TEXT(
        cora_as_text(cora_stream_get_extra_info(line.writer, "cipher", cora_static("unknown"))),
        "unknown");
    snprintf(expected, sizeof expected,
             "<StreamWriter transport=<Transport fd=%d read=polling write=<idle, bufsize=0>>>",
             number);
    CHECK_TEXT(writer_text(line.writer), expected);
    line_close(loop, line);
    CHECK(cora_is_null(cora_stream_transport(line.writer)));
    CHECK_INT(cora_as_int(cora_stream_get_extra_info(line.writer, "socket", cora_int(-1))), -1);
    CHECK(!cora_stream_can_write_eof(line.writer));
    CHECK(strncmp(writer_text(line.writer), "<StreamWriter #", 15) == 0);
    current_loop_end(loop);
}

/* ---- drain ---- */

TEST(drain_at_once, "a drain need not wait while little is to be sent: the callback runs next tick")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct line line = line_new(loop, 0);
    begin(CALLBACKS, loop, cora_stream_drain(line.writer), &notes, "drained");
    cora_call_soon(loop, cora_partial(note, &notes, "soon"));
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "drained soon");
    line_close(loop, line);
    current_loop_end(loop);
}

static cora_next drained_in_same_tick(cora_coro self)
{
    add_note(cora_locals(self, struct guest)->notes, "drained");
    return cora_return_nothing(self);
}

static cora_next drain_without_waiting(cora_coro self)
{
    struct guest *guest = cora_locals(self, struct guest);
    cora_call_soon(cora_running_loop(), cora_partial(note, guest->notes, "next tick"));
    return cora_await(self, cora_stream_drain(guest->writer), drained_in_same_tick);
}

TEST(drain_without_a_tick, "a step that drains goes on in the same tick")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct line line = line_new(loop, 0);
    cora_run_until_complete(loop, cora_coroutine(drain_without_waiting, struct guest, line.reader,
                                                 line.writer, &notes));
    CHECK_TEXT(notes.text, "drained next tick");
    line_close(loop, line);
    current_loop_end(loop);
}

BOTH(drain_waits, "when much is to be sent a drain waits until the peer has taken most of it")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct line line = line_new(loop, 0);
    stuff(line);
    begin_waiting(style, loop, cora_stream_drain(line.writer), &notes, "drained");
    ticks(loop, 5);
    CHECK_TEXT(notes.text, "");
    unstuff(loop, line);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "drained");
    line_close(loop, line);
    end_silently(loop);
}

BOTH(multiple_drain, "any number of drains may wait: all are woken together, in their order",
     "test_streams.StreamTests.test_multiple_drain")
{
    static const char *const words[] = { "0", "1", "2", "3", "4", "5", "6", "7", "8", "9" };
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct line line = line_new(loop, 0);
    stuff(line);
    for (int i = 0; i < 10; i++)
        begin(style, loop, cora_stream_drain(line.writer), &notes, words[i]);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "");
    unstuff(loop, line);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "0 1 2 3 4 5 6 7 8 9");
    line_close(loop, line);
    end_silently(loop);
}

BOTH(drain_marks, "a drain waits until the low-water mark, not for an empty buffer")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct line line = line_new(loop, 0);
    cora_transport transport = cora_stream_transport(line.writer);
    stuff(line);
    size_t waiting = cora_transport_get_write_buffer_size(transport);
    CHECK_INT(cora_transport_set_write_buffer_limits(transport, waiting - 1, waiting - 1), 0);
    begin_waiting(style, loop, cora_stream_drain(line.writer), &notes, "drained");
    CHECK_TEXT(notes.text, "");
    CHECK(take_all(line) > 0);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "drained");
    CHECK(cora_transport_get_write_buffer_size(transport) > 0);
    CHECK_INT(cora_transport_abort(transport), 0);
    line_close(loop, line);
    end_silently(loop);
}

BOTH(drain_cancelled, "a drain that is cancelled leaves the others waiting")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct line line = line_new(loop, 0);
    stuff(line);
    begin_waiting(style, loop, cora_stream_drain(line.writer), &notes, "a");
    CHECK(cora_cancel(begin_waiting(style, loop, cora_stream_drain(line.writer), &notes, "b")));
    begin_waiting(style, loop, cora_stream_drain(line.writer), &notes, "c");
    tick(loop);
    CHECK_TEXT(notes.text, "b:CancelledError");
    unstuff(loop, line);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "b:CancelledError a c");
    line_close(loop, line);
    end_silently(loop);
}

TEST(drain_cancelled_in_gap, "so does one that is cancelled after it was woken")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct line line = line_new(loop, 0);
    cora_transport transport = cora_stream_transport(line.writer);
    stuff(line);
    cora_future a = begin(CALLBACKS, loop, cora_stream_drain(line.writer), &notes, "a");
    begin(CALLBACKS, loop, cora_stream_drain(line.writer), &notes, "b");
    CHECK_INT(cora_transport_abort(transport), 0);
    tick(loop); /* connection_lost, which wakes both */
    CHECK_TEXT(notes.text, "");
    CHECK(cora_cancel(a));
    tick(loop);
    CHECK_TEXT(notes.text, "a:CancelledError b");
    line_close(loop, line);
    end_silently(loop);
}

TEST(drain_closing, "a drain of a connection that is closing gives the loop a turn before it looks")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct line line = line_new(loop, 0);
    CHECK_INT(cora_stream_close(line.writer), 0);
    begin(CALLBACKS, loop, cora_stream_drain(line.writer), &notes, "a");
    tick(loop);
    CHECK_TEXT(notes.text, "a:ConnectionResetError");
    begin(CALLBACKS, loop, cora_stream_drain(line.writer), &notes, "b");
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "a:ConnectionResetError b:ConnectionResetError");
    hang_up(line);
    end_silently(loop);
}

BOTH(drain_closing_stuffed,
     "closing with much to be sent: a drain waits, and ends well when that is sent")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct line line = line_new(loop, 0);
    stuff(line);
    CHECK_INT(cora_stream_close(line.writer), 0);
    begin(style, loop, cora_stream_drain(line.writer), &notes, "drained");
    ticks(loop, 5);
    CHECK_TEXT(notes.text, "");
    unstuff(loop, line);
    ticks(loop, 3);
    CHECK_TEXT(notes.text, "drained");
    hang_up(line);
    end_silently(loop);
}

static cora_next drained_or_failed(cora_coro self)
{
    note_end(cora_locals(self, struct guest)->notes, "drained", cora_caught(self));
    return cora_return_nothing(self);
}

static cora_next try_drain(cora_coro self)
{
    struct guest *guest = cora_locals(self, struct guest);
    cora_call_soon(cora_running_loop(), cora_partial(note, guest->notes, "next tick"));
    return cora_try(self, cora_stream_drain(guest->writer), drained_or_failed);
}

TEST(drain_closing_ticks,
     "a step that drains a closing writer, a lost or a stale one, gives the loop a "
     "turn")
{
    for (int how = 0; how < 3; how++) {
        cora_loop loop = current_loop_new();
        struct notes notes = { "" };
        struct line line = line_new(loop, 0);
        if (how == 1)
            CHECK_INT(cora_transport_abort(cora_stream_transport(line.writer)), 0);
        else
            CHECK_INT(cora_stream_close(line.writer), 0);
        if (how > 0)
            ticks(loop, 4);
        cora_run_until_complete(
            loop, cora_coroutine(try_drain, struct guest, line.reader, line.writer, &notes));
        CHECK_TEXT(notes.text, "next tick drained:ConnectionResetError");
        line_close(loop, line);
        end_silently(loop);
    }
}

TEST(drain_closing_little, "closing with little to be sent: a drain ends well after its turn")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct line line = line_new(loop, 0);
    cora_transport transport = cora_stream_transport(line.writer);
    CHECK_INT(cora_transport_set_write_buffer_limits(transport, 2 * MUCH, MUCH), 0);
    stuff(line);
    CHECK_INT(cora_stream_close(line.writer), 0);
    begin(CALLBACKS, loop, cora_stream_drain(line.writer), &notes, "drained");
    CHECK_TEXT(notes.text, "");
    tick(loop);
    CHECK_TEXT(notes.text, "drained");
    CHECK_INT(cora_transport_abort(transport), 0);
    ticks(loop, 3);
    hang_up(line);
    end_silently(loop);
}

BOTH(drain_lost, "a drain that waits when the connection is reset fails with that")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct line line = line_new(loop, 0);
    stuff(line);
    begin_waiting(style, loop, cora_stream_drain(line.writer), &notes, "drained");
    hang_up(line);
    ticks(loop, 4);
    CHECK(strcmp(notes.text, "drained:ConnectionResetError") == 0 ||
          strcmp(notes.text, "drained:BrokenPipeError") == 0);
    CHECK_INT(cora_stream_close(line.writer), 0);
    ticks(loop, 2);
    end_silently(loop);
}

BOTH(drain_aborted,
     "one that waits when the connection is aborted here ends with nothing; the next one "
     "fails")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct line line = line_new(loop, 0);
    stuff(line);
    begin_waiting(style, loop, cora_stream_drain(line.writer), &notes, "a");
    CHECK_INT(cora_transport_abort(cora_stream_transport(line.writer)), 0);
    ticks(loop, 2);
    begin_waiting(style, loop, cora_stream_drain(line.writer), &notes, "b");
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "a b:ConnectionResetError");
    line_close(loop, line);
    end_silently(loop);
}

/* Whom the connection tells, to be told something that did not happen. */
static cora_protocol protocol_of(struct line line)
{
    return cora_transport_get_protocol(cora_stream_transport(line.writer));
}

TEST(drain_resumed_and_lost,
     "a drain that resuming has woken ends well though the connection is lost before it runs")
{
    static const struct cora_protocol_type deaf = { .name = "Deaf" };
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct line line = line_new(loop, 0);
    cora_transport transport = cora_stream_transport(line.writer);
    cora_protocol stream = protocol_of(line);
    stream.type->pause_writing(stream.self, transport);
    begin(CALLBACKS, loop, cora_stream_drain(line.writer), &notes, "a");
    stream.type->resume_writing(stream.self, transport);
    stream.type->pause_writing(stream.self, transport);
    begin(CALLBACKS, loop, cora_stream_drain(line.writer), &notes, "b");
    CHECK_INT(cora_transport_set_protocol(transport, (cora_protocol){ &deaf, NULL }), 0);
    stream.type->connection_lost(stream.self, transport, spilled());
    tick(loop);
    CHECK_TEXT(notes.text, "a b:ValueError");
    CHECK_INT(cora_transport_abort(transport), 0);
    line_close(loop, line);
    end_silently(loop);
}

TEST(drain_resumed_and_paused, "and though writing is paused again")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct line line = line_new(loop, 0);
    cora_transport transport = cora_stream_transport(line.writer);
    cora_protocol stream = protocol_of(line);
    stream.type->pause_writing(stream.self, transport);
    begin(CALLBACKS, loop, cora_stream_drain(line.writer), &notes, "drained");
    stream.type->resume_writing(stream.self, transport);
    stream.type->pause_writing(stream.self, transport);
    tick(loop);
    CHECK_TEXT(notes.text, "drained");
    line_close(loop, line);
    end_silently(loop);
}

TEST(drain_resumed_and_cancelled, "one that is cancelled after resuming has woken it is cancelled")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct line line = line_new(loop, 0);
    cora_transport transport = cora_stream_transport(line.writer);
    cora_protocol stream = protocol_of(line);
    stream.type->pause_writing(stream.self, transport);
    cora_future a = begin(CALLBACKS, loop, cora_stream_drain(line.writer), &notes, "a");
    begin(CALLBACKS, loop, cora_stream_drain(line.writer), &notes, "b");
    stream.type->resume_writing(stream.self, transport);
    CHECK(cora_cancel(a));
    tick(loop);
    CHECK_TEXT(notes.text, "a:CancelledError b");
    line_close(loop, line);
    end_silently(loop);
}

BOTH(drain_exception,
     "a drain fails with the error that the reader has, however little is to be sent")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct line line = line_new(loop, 0);
    CHECK_INT(cora_stream_set_exception(line.reader, spilled()), 0);
    begin(style, loop, cora_stream_drain(line.writer), &notes, "drained");
    tick(loop);
    CHECK_TEXT(notes.text, "drained:ValueError");
    line_close(loop, line);
    end_silently(loop);
}

/* for ever: write, drain */
static cora_next write_for_ever(cora_coro self)
{
    struct guest *guest = cora_locals(self, struct guest);
    cora_stream_write(guest->writer, "foo\n", 4);
    return cora_await(self, cora_stream_drain(guest->writer), write_for_ever);
}

TEST(drain_raises, "who writes and drains for ever ends with an error when the peer has hung up",
     "test_streams.StreamTests.test_drain_raises")
{
    cora_loop loop = current_loop_new();
    struct line line = line_new(loop, 0);
    hang_up(line);
    cora_value error = cora_run_until_complete(
        loop, cora_coroutine(write_for_ever, struct guest, line.reader, line.writer, NULL));
    CHECK(cora_error_is(error, CORA_ECONNECTION));
    CHECK_INT(cora_stream_close(line.writer), 0);
    ticks(loop, 2);
    current_loop_end(loop);
}

/* ---- closing ---- */

TEST(close_at_once, "a writer is closing as soon as it was closed; then its end can be waited for",
     "test_streams.StreamTests.test_wait_closed_on_close")
{
    cora_loop loop = current_loop_new();
    struct line line = line_new(loop, 0);
    put(line, "status\nheaders\n");
    CHECK_TEXT(end_of(loop, cora_stream_readline(line.reader)), "b\"status\\n\"");
    CHECK_TEXT(end_of(loop, cora_stream_read(line.reader, 8)), "b\"headers\\n\"");
    CHECK(!cora_stream_is_closing(line.writer));
    CHECK_INT(cora_stream_close(line.writer), 0);
    CHECK(cora_stream_is_closing(line.writer));
    CHECK_TEXT(end_of(loop, cora_stream_wait_closed(line.writer)), "None");
    hang_up(line);
    current_loop_end(loop);
}

TEST(close_unread, "the end comes though there is something that nobody has read",
     "test_streams.StreamTests.test_wait_closed_on_close_with_unread_data")
{
    cora_loop loop = current_loop_new();
    struct line line = line_new(loop, 0);
    put(line, "status\nheaders\n");
    CHECK_TEXT(end_of(loop, cora_stream_readline(line.reader)), "b\"status\\n\"");
    CHECK_INT(cora_stream_close(line.writer), 0);
    CHECK_TEXT(end_of(loop, cora_stream_wait_closed(line.writer)), "None");
    hang_up(line);
    ticks(loop, 2);
    CHECK_INT(cora_stream_feed_eof(line.reader), CORA_ESTALE);
    current_loop_end(loop);
}

TEST(close_ends_reader, "closing the writer is the end for the reader",
     "test_streams.StreamTests.test_eof_feed_when_closing_writer")
{
    cora_loop loop = current_loop_new();
    struct line line = line_new(loop, 0);
    CHECK_INT(cora_stream_close(line.writer), 0);
    CHECK_TEXT(end_of(loop, cora_stream_wait_closed(line.writer)), "None");
    CHECK(cora_stream_at_eof(line.reader));
    CHECK_TEXT(end_of(loop, cora_stream_read(line.reader, -1)), "b\"\"");
    hang_up(line);
    current_loop_end(loop);
}

BOTH(close_while_reading, "a read that waits when the writer is closed ends with 0 bytes")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct line line = line_new(loop, 0);
    begin_waiting(style, loop, cora_stream_read(line.reader, 10), &notes, "read");
    CHECK_INT(cora_stream_close(line.writer), 0);
    ticks(loop, 3);
    CHECK_TEXT(notes.text, "read=b\"\"");
    hang_up(line);
    end_silently(loop);
}

TEST(close_sends, "what was written before it is closed is sent")
{
    cora_loop loop = current_loop_new();
    struct line line = line_new(loop, 0);
    stuff(line);
    CHECK_INT(cora_stream_close(line.writer), 0);
    size_t all = 0;
    for (int i = 0; i < 1000 && all < MUCH; i++) {
        all += take_all(line);
        tick(loop);
    }
    CHECK_INT(all, MUCH);
    char byte;
    ticks(loop, 3);
    CHECK_INT(read(line.far, &byte, 1), 0);
    CHECK_INT(cora_live(loop), 0);
    hang_up(line);
    current_loop_end(loop);
}

BOTH(write_after_close,
     "writing after closing does nothing; a drain then is a ConnectionResetError",
     "test_streams.StreamTests.test_async_writer_api_exception_after_close")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct line line = line_new(loop, 0);
    char text[] = "data";
    const struct iovec piece = { text, 4 };
    CHECK_INT(cora_stream_close(line.writer), 0);
    CHECK_INT(cora_stream_write(line.writer, "data", 4), 0);
    begin(style, loop, cora_stream_drain(line.writer), &notes, "drained");
    ticks(loop, 4);
    CHECK_TEXT(notes.text, "drained:ConnectionResetError");
    CHECK_INT(cora_stream_write(line.writer, "data", 4), 0);
    CHECK_INT(cora_stream_writef(line.writer, "%s", "data"), 0);
    CHECK_INT(cora_stream_writelines(line.writer, &piece, 1), 0);
    CHECK_INT(cora_stream_write_eof(line.writer), 0);
    CHECK_TEXT(got(line), "");
    hang_up(line);
    end_silently(loop);
}

BOTH(wait_closed,
     "any number may wait for the end; one that is cancelled does not disturb the others")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct line line = line_new(loop, 0);
    begin_waiting(style, loop, cora_stream_wait_closed(line.writer), &notes, "a");
    CHECK(
        cora_cancel(begin_waiting(style, loop, cora_stream_wait_closed(line.writer), &notes, "b")));
    begin_waiting(style, loop, cora_stream_wait_closed(line.writer), &notes, "c");
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "b:CancelledError");
    CHECK_INT(cora_stream_close(line.writer), 0);
    tick(loop);
    CHECK_TEXT(notes.text, "b:CancelledError");
    tick(loop);
    CHECK_TEXT(notes.text, "b:CancelledError a c");
    hang_up(line);
    end_silently(loop);
}

TEST(wait_closed_cancelled_in_gap, "one that is cancelled after it was woken is cancelled")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct line line = line_new(loop, 0);
    cora_future wait =
        begin(CALLBACKS, loop, cora_stream_wait_closed(line.writer), &notes, "closed");
    CHECK_INT(cora_stream_close(line.writer), 0);
    tick(loop);
    CHECK(cora_cancel(wait));
    tick(loop);
    CHECK_TEXT(notes.text, "closed:CancelledError");
    cora_release(wait);
    ticks(loop, 2);
    CHECK_INT(cora_live(loop), 0);
    hang_up(line);
    current_loop_end(loop);
}

TEST(end_order, "at the end the read is woken first, then who waits for it, then drains")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct line line = line_new(loop, 0);
    stuff(line);
    begin(CALLBACKS, loop, cora_stream_drain(line.writer), &notes, "drain");
    begin(CALLBACKS, loop, cora_stream_wait_closed(line.writer), &notes, "closed");
    begin(CALLBACKS, loop, cora_stream_read(line.reader, 1), &notes, "read");
    CHECK_INT(cora_transport_abort(cora_stream_transport(line.writer)), 0);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "read=b\"\" closed drain");
    line_close(loop, line);
    end_silently(loop);
}

TEST(stays_until_closed,
     "a connection that is lost can be asked for its end until the writer is closed")
{
    cora_loop loop = current_loop_new();
    struct line line = line_new(loop, 0);
    CHECK_INT(cora_transport_abort(cora_stream_transport(line.writer)), 0);
    ticks(loop, 20);
    CHECK_INT(cora_stream_feed_eof(line.reader), 0);
    CHECK_TEXT(end_of(loop, cora_stream_wait_closed(line.writer)), "None");
    CHECK_INT(cora_live(loop), 1);
    line_close(loop, line);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

TEST(stale, "a writer that was closed and is over counts as closed, and does nothing")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct line line = line_new(loop, 0);
    line_close(loop, line);
    CHECK_INT(cora_stream_feed_eof(line.reader), CORA_ESTALE);
    cora_set_last_error(cora_error(CORA_ELOOKUP, "earlier"));
    CHECK(cora_stream_is_closing(line.writer));
    CHECK_INT(cora_stream_close(line.writer), 0);
    CHECK_INT(cora_stream_write(line.writer, "x", 1), 0);
    CHECK_INT(cora_stream_write_eof(line.writer), 0);
    CHECK_INT(cora_last_error_code(), CORA_ELOOKUP);
    begin(CALLBACKS, loop, cora_stream_wait_closed(line.writer), &notes, "closed");
    begin(CALLBACKS, loop, cora_stream_drain(line.writer), &notes, "drained");
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "closed drained:ConnectionResetError");
    end_silently(loop);
}

TEST(drain_in_other_run, "a drain of a writer whose loop is closed is a ConnectionResetError, too")
{
    cora_loop loop = current_loop_new(), other;
    struct line line = line_new(loop, 0);
    cora_loop_close(loop);
    other = cora_loop_new(NULL);
    cora_set_current_loop(other);
    CHECK_TEXT(end_of(other, cora_stream_drain(line.writer)),
               "ConnectionResetError: [Errno 104] Connection reset by peer: Connection lost");
    CHECK_TEXT(end_of(other, cora_stream_wait_closed(line.writer)), "None");
    hang_up(line);
    current_loop_end(other);
}

TEST(null_handle, "every call fails with the null writer, and tells why")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_writer null = { 0 };
    cora_set_last_error(cora_error(CORA_EMEMORY, "no stamps"));
    CHECK_INT(cora_stream_write(null, "x", 1), CORA_EMEMORY);
    CHECK_INT(cora_stream_writelines(null, NULL, 0), CORA_EMEMORY);
    CHECK_INT(cora_stream_writef(null, "x"), CORA_EMEMORY);
    CHECK_INT(cora_stream_write_eof(null), CORA_EMEMORY);
    CHECK_INT(cora_stream_close(null), CORA_EMEMORY);
    CHECK(cora_stream_is_closing(null));
    begin(CALLBACKS, loop, cora_stream_drain(null), &notes, "a");
    begin(CALLBACKS, loop, cora_stream_wait_closed(null), &notes, "b");
    tick(loop);
    CHECK_TEXT(notes.text, "a:MemoryError b:MemoryError");
    end_silently(loop);
}

struct stamp {
    int value;
};

static const struct cora_object_type stamp_type = { "stamp", sizeof(struct stamp), NULL };

TEST(other_object, "the handle of something else is a TypeError")
{
    cora_loop loop = current_loop_new();
    cora_stream_writer wrong = { cora_object_new(loop, &stamp_type) };
    struct notes notes = { "" };
    CHECK_INT(cora_stream_write(wrong, "x", 1), CORA_ETYPE);
    CHECK_INT(cora_stream_close(wrong), CORA_ETYPE);
    begin(CALLBACKS, loop, cora_stream_drain(wrong), &notes, "a");
    begin(CALLBACKS, loop, cora_stream_wait_closed(wrong), &notes, "b");
    tick(loop);
    CHECK_TEXT(notes.text, "a:TypeError b:TypeError");
    CHECK_INT(cora_object_close(wrong.bits, &stamp_type), 0);
    end_silently(loop);
}

static void *use_elsewhere(void *argument)
{
    cora_stream_writer writer = *(cora_stream_writer *)argument;
    CHECK_INT(cora_stream_write(writer, "x", 1), CORA_EWRONGTHREAD);
    CHECK_INT(cora_stream_close(writer), CORA_EWRONGTHREAD);
    return NULL;
}

TEST(other_thread, "another thread can do nothing with a writer")
{
    cora_loop loop = current_loop_new();
    struct line line = line_new(loop, 0);
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, use_elsewhere, &line.writer), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_TEXT(got(line), "");
    line_close(loop, line);
    current_loop_end(loop);
}

TEST(hand_fed,
     "a reader that is fed by hand has nothing to be written to: it is closed when that is")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = cora_stream_reader_new(loop, 10);
    cora_stream_writer writer = { reader.bits };
    CHECK(!cora_stream_is_closing(writer));
    begin(CALLBACKS, loop, cora_stream_wait_closed(writer), &notes, "closed");
    tick(loop);
    CHECK_TEXT(notes.text, "");
    CHECK_INT(cora_stream_close(writer), 0);
    CHECK(cora_stream_is_closing(writer));
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "closed");
    end_silently(loop);
}

/* ---- what the peer does ---- */

TEST(peer_ends, "a peer that sends nothing more can still be written to")
{
    cora_loop loop = current_loop_new();
    struct line line = line_new(loop, 0);
    put(line, "last");
    CHECK_INT(shutdown(line.far, SHUT_WR), 0);
    CHECK_TEXT(end_of(loop, cora_stream_read(line.reader, -1)), "b\"last\"");
    CHECK(cora_stream_at_eof(line.reader));
    CHECK(!cora_stream_is_closing(line.writer));
    CHECK_INT(cora_stream_write(line.writer, "answer", 6), 0);
    CHECK_TEXT(got(line), "answer");
    line_close(loop, line);
    current_loop_end(loop);
}

BOTH(peer_resets,
     "a reset fails the read that waits and all later ones, and who waits for the end; it is "
     "not reported")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct reports reports;
    struct line line = line_new(loop, 0);
    collect_reports(loop, &reports);
    begin_waiting(style, loop, cora_stream_read(line.reader, 10), &notes, "read");
    begin_waiting(style, loop, cora_stream_wait_closed(line.writer), &notes, "closed");
    reset(line);
    ticks(loop, 4);
    CHECK_TEXT(notes.text, "read:ConnectionResetError closed:ConnectionResetError");
    CHECK_INT(cora_error_code(cora_stream_exception(line.reader)), -ECONNRESET);
    begin(style, loop, cora_stream_readline(line.reader), &notes, "later");
    begin(style, loop, cora_stream_wait_closed(line.writer), &notes, "again");
    ticks(loop, 2);
    CHECK(strstr(notes.text, "later:ConnectionResetError again:ConnectionResetError"));
    CHECK_INT(cora_stream_close(line.writer), 0);
    ticks(loop, 2);
    CHECK_INT(reports.count, 0);
    end_silently(loop);
}

TEST(peer_resets_silently,
     "a reset that nobody asks for is not reported, and nothing is left of it")
{
    cora_loop loop = current_loop_new();
    struct reports reports;
    struct line line = line_new(loop, 0);
    collect_reports(loop, &reports);
    reset(line);
    ticks(loop, 3);
    CHECK_INT(cora_stream_close(line.writer), 0);
    ticks(loop, 2);
    CHECK_INT(cora_live(loop), 0);
    CHECK_INT(reports.count, 0);
    current_loop_end(loop);
}

TEST(exception_stays,
     "an error that was set before the end stays what reads fail with; the end is in "
     "good order")
{
    cora_loop loop = current_loop_new();
    struct line line = line_new(loop, 0);
    CHECK_INT(cora_stream_set_exception(line.reader, spilled()), 0);
    CHECK_INT(cora_transport_abort(cora_stream_transport(line.writer)), 0);
    CHECK_TEXT(end_of(loop, cora_stream_wait_closed(line.writer)), "None");
    CHECK_TEXT(end_of(loop, cora_stream_read(line.reader, 1)), "ValueError: spilled");
    line_close(loop, line);
    current_loop_end(loop);
}

/* ---- a reader that is slower than its peer ---- */

static bool is_reading(struct line line)
{
    return cora_transport_is_reading(cora_stream_transport(line.writer));
}

TEST(reading_pauses,
     "a connection is paused at more than twice the limit, and goes on at the limit")
{
    cora_loop loop = current_loop_new();
    struct line line = line_new(loop, 3);
    put(line, "123456");
    ticks(loop, 2);
    CHECK(is_reading(line));
    put(line, "7");
    ticks(loop, 2);
    CHECK(!is_reading(line));
    CHECK_TEXT(end_of(loop, cora_stream_read(line.reader, 3)), "b\"123\"");
    CHECK(!is_reading(line));
    CHECK_TEXT(end_of(loop, cora_stream_read(line.reader, 1)), "b\"4\"");
    CHECK(is_reading(line));
    line_close(loop, line);
    current_loop_end(loop);
}

TEST(reading_paused, "while it is paused nothing arrives; then all of it does")
{
    cora_loop loop = current_loop_new();
    struct line line = line_new(loop, 1);
    char text[200];
    put(line, "abc");
    ticks(loop, 2);
    put(line, "def");
    ticks(loop, 3);
    cora_stream_reader_print(line.reader, text, sizeof text);
    CHECK(strstr(text, "<StreamReader 3 bytes limit=1 transport=<Transport"));
    CHECK(strstr(text, " paused>"));
    CHECK_TEXT(end_of(loop, cora_stream_readexactly(line.reader, 6)), "b\"abcdef\"");
    line_close(loop, line);
    current_loop_end(loop);
}

BOTH(reading_resumes,
     "a read that must wait lets a paused connection go on, of whatever kind it is")
{
    for (int kind = 0; kind < 4; kind++) {
        cora_loop loop = current_loop_new();
        struct notes notes = { "" };
        struct line line = line_new(loop, 2);
        cora_awaitable reads[] = { cora_stream_readexactly(line.reader, 20),
                                   cora_stream_read(line.reader, -1),
                                   cora_stream_readexactly(line.reader, 6),
                                   cora_stream_readexactly(line.reader, 11) };
        put(line, "12345");
        ticks(loop, 2);
        CHECK(!is_reading(line));
        begin_waiting(style, loop, reads[kind], &notes, "read");
        CHECK(is_reading(line));
        put(line, "1234567890");
        ticks(loop, 3);
        put(line, "12345");
        CHECK_INT(shutdown(line.far, SHUT_WR), 0);
        ticks(loop, 4);
        CHECK(strncmp(notes.text, "read=b\"123451", 13) == 0);
        line_close(loop, line);
        end_silently(loop);
    }
}

TEST(line_too_long, "a line that is too long is dropped, and the connection goes on")
{
    cora_loop loop = current_loop_new();
    struct line line = line_new(loop, 4);
    put(line, "123456789");
    ticks(loop, 2);
    CHECK(!is_reading(line));
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, cora_stream_readline(line.reader))),
              CORA_EVALUE);
    CHECK(is_reading(line));
    line_close(loop, line);
    current_loop_end(loop);
}

TEST(overrun_stays_paused, "a LimitOverrunError takes nothing, and the connection stays paused")
{
    cora_loop loop = current_loop_new();
    struct line line = line_new(loop, 4);
    put(line, "123456789");
    ticks(loop, 2);
    CHECK_INT(cora_error_code(cora_run_until_complete(
                  loop, cora_stream_readuntil(line.reader, cora_static("x")))),
              CORA_ELIMITOVERRUN);
    CHECK(!is_reading(line));
    line_close(loop, line);
    current_loop_end(loop);
}

TEST(feed_beside_connection,
     "bytes behind an end that was fed by hand are an error, which ends the "
     "connection")
{
    cora_loop loop = current_loop_new();
    struct reports reports;
    struct line line = line_new(loop, 0);
    collect_reports(loop, &reports);
    CHECK_INT(cora_stream_feed_eof(line.reader), 0);
    put(line, "late");
    ticks(loop, 3);
    CHECK_INT(reports.count, 1);
    CHECK_INT(reports.code, CORA_ERUNTIME);
    CHECK(cora_stream_is_closing(line.writer));
    line_close(loop, line);
    current_loop_end(loop);
}

/* ---- closing in the middle of things ---- */

static void close_writer(cora_args bound, cora_future done)
{
    CHECK_INT(cora_stream_close(cora_arg_stream_writer(bound, 0)), 0);
    cora_result(done);
}

TEST(closes_in_callback,
     "what a read, a drain or a wait for the end calls back may close the writer")
{
    cora_loop loop = current_loop_new();
    for (int i = 0; i < 3; i++) {
        struct line line = line_new(loop, 0);
        cora_awaitable what[] = { cora_stream_read(line.reader, 4), cora_stream_drain(line.writer),
                                  cora_stream_wait_closed(line.writer) };
        cora_when_done(what[i], cora_partial(close_writer, line.writer));
        put(line, "data");
        ticks(loop, 2);
        if (i == 2)
            CHECK_INT(cora_transport_abort(cora_stream_transport(line.writer)), 0);
        ticks(loop, 4);
        CHECK_INT(cora_live(loop), 0);
        hang_up(line);
    }
    current_loop_end(loop);
}

static void leave_host(cora_args bound, cora_future done)
{
    add_note(cora_arg(bound, 0, struct notes *), "left");
    cora_result(done);
    CHECK_INT(cora_loop_detach(cora_running_loop()), 0);
}

TEST(leaves_in_callback, "a guest may leave its host in what a read or a drain calls back")
{
    for (int i = 0; i < 2; i++) {
        struct ev_loop *host = ev_loop_new(0);
        struct notes notes = { "" };
        int ends[2];
        CHECK(host);
        cora_loop loop = cora_loop_attach(host, NULL);
        CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
        cora_set_current_loop(loop);
        const struct cora_connect_options options = { .socket = ends[0] };
        cora_future connected = cora_keep(
            cora_when_done(cora_open_connection(&options, 0), cora_partial(nothing_done)));
        for (int k = 0; k < 10 && !cora_done(connected); k++)
            ev_run(host, EVRUN_NOWAIT);
        struct cora_streams streams = cora_as_streams(cora_result(connected));
        struct line line = { streams.reader, streams.writer, ends[1] };
        cora_when_done(i == 0 ? cora_stream_read(line.reader, 4) : cora_stream_drain(line.writer),
                       cora_partial(leave_host, &notes));
        cora_when_done(cora_stream_wait_closed(line.writer), cora_partial(nothing_done));
        put(line, "data");
        for (int k = 0; k < 10; k++)
            ev_run(host, EVRUN_NOWAIT);
        CHECK_TEXT(notes.text, "left");
        CHECK(cora_stream_is_closing(line.writer));
        CHECK_INT(cora_stream_write(line.writer, "x", 1), 0);
        hang_up(line);
        cora_set_current_loop((cora_loop){ 0 });
        ev_loop_destroy(host);
    }
}

TEST(closed_with_loop,
     "a loop is closed with streams that hold bytes, and with all kinds of waiting at "
     "them")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct line lines[3];
    struct reports reports;
    collect_reports(loop, &reports);
    for (int i = 0; i < 3; i++) {
        lines[i] = line_new(loop, 0);
        stuff(lines[i]);
        begin(CALLBACKS, loop, cora_stream_drain(lines[i].writer), &notes, "drain");
        begin(CALLBACKS, loop, cora_stream_wait_closed(lines[i].writer), &notes, "closed");
        put(lines[i], "unread");
        ticks(loop, 2);
        begin(CALLBACKS, loop, cora_stream_readline(lines[i].reader), &notes, "line");
        if (i == 1)
            cora_stream_close(lines[i].writer);
        if (i == 2)
            cora_transport_abort(cora_stream_transport(lines[i].writer));
        if (i == 2)
            tick(loop);
    }
    current_loop_end(loop);
    for (int i = 0; i < 3; i++)
        hang_up(lines[i]);
    CHECK_TEXT(notes.text, "");
    CHECK_INT(reports.count, 0);
}

/* ---- one that nobody closed ---- */

TEST(unclosed,
     "in debug mode a writer that nobody has closed is reported once, with its place, when its "
     "loop is closed",
     "test_streams.StreamTests.test_unclosed_resource_warnings")
{
    cora_loop loop = current_loop_new();
    struct reports reports;
    CHECK_INT(cora_set_debug(loop, true), 0);
    struct line line = line_new(loop, 0), closed = line_new(loop, 0);
    line_close(loop, closed);
    collect_reports(loop, &reports);
    ticks(loop, 3);
    CHECK_INT(reports.count, 0);
    current_loop_end(loop);
    CHECK_INT(reports.count, 1);
    CHECK(strstr(reports.message, "unclosed"));
    CHECK(reports.place.file);
    hang_up(line);
}

TEST(unclosed_without_debug, "without debug mode it is not reported")
{
    cora_loop loop = current_loop_new();
    struct reports reports;
    struct line line = line_new(loop, 0);
    collect_reports(loop, &reports);
    current_loop_end(loop);
    CHECK_INT(reports.count, 0);
    hang_up(line);
}

TEST(unclosed_lost,
     "one whose connection is over, or is closing, is not reported, and none fed by hand")
{
    cora_loop loop = current_loop_new();
    struct reports reports;
    CHECK_INT(cora_set_debug(loop, true), 0);
    struct line lost = line_new(loop, 0), closing = line_new(loop, 0);
    CHECK(!cora_is_null(cora_stream_reader_new(loop, 10)));
    collect_reports(loop, &reports);
    CHECK_INT(cora_transport_abort(cora_stream_transport(lost.writer)), 0);
    ticks(loop, 2);
    CHECK_INT(cora_stream_close(closing.writer), 0);
    current_loop_end(loop);
    CHECK_INT(reports.count, 0);
    hang_up(lost);
    hang_up(closing);
}

static void forget(cora_args bound, cora_stream_reader reader, cora_stream_writer writer)
{
    (void)reader, (void)writer;
    ++*cora_arg(bound, 0, int *);
    cora_stop(cora_running_loop());
}

TEST(unclosed_server,
     "so is one of a server, whose client callback has forgotten it; nothing else is "
     "reported",
     "test_streams.StreamTests.test_unclosed_server_resource_warnings")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports;
    int served = 0;
    cora_set_current_loop(loop);
    CHECK_INT(cora_set_debug(loop, true), 0);
    collect_reports(loop, &reports);
    const struct cora_server_options listen = { .host = "127.0.0.1" };
    cora_server server = cora_as_server(cora_run_until_complete(
        loop, cora_start_server(&listen, 0, cora_partial(forget, &served))));
    const struct cora_connect_options options = { .host = "127.0.0.1",
                                                  .port = cora_server_port(server) };
    struct notes notes = { "" };
    cora_when_done(cora_open_connection(&options, 0), cora_partial(note_ended, &notes, ""));
    CHECK_INT(cora_run_forever(loop), 0);
    ticks(loop, 5);
    CHECK_INT(served, 1);
    CHECK_INT(reports.count, 0);
    cora_set_current_loop((cora_loop){ 0 });
    cora_loop_close(loop);
    CHECK_INT(reports.count, 2); /* the client's, too */
    CHECK(strstr(reports.message, "unclosed"));
}

/* ---- much ---- */

struct flood {
    cora_stream_reader reader;
    cora_stream_writer writer;
    size_t written, read, most;
};

static cora_next flood_writes(cora_coro self)
{
    static char bytes[50000];
    struct flood *flood = *cora_locals(self, struct flood *);
    if (flood->written >= 100 * sizeof bytes) {
        CHECK_INT(cora_stream_write_eof(flood->writer), 0);
        return cora_return_nothing(self);
    }
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(flood->written++ % 251);
    CHECK_INT(cora_stream_write(flood->writer, bytes, sizeof bytes), 0);
    size_t kept = cora_transport_get_write_buffer_size(cora_stream_transport(flood->writer));
    flood->most = kept > flood->most ? kept : flood->most;
    return cora_await(self, cora_stream_drain(flood->writer), flood_writes);
}

static cora_next flood_reads(cora_coro self);

static cora_next flood_has_read(cora_coro self)
{
    struct flood *flood = *cora_locals(self, struct flood *);
    size_t size = 0;
    const char *bytes = cora_as_bytes(cora_got(self), &size);
    for (size_t i = 0; i < size; i++)
        CHECK(bytes[i] == (char)(flood->read++ % 251));
    return size > 0 ? flood_reads(self) : cora_return_nothing(self);
}

static cora_next flood_reads(cora_coro self)
{
    struct flood *flood = *cora_locals(self, struct flood *);
    return cora_await(self, cora_stream_read(flood->reader, 7000), flood_has_read);
}

TEST(flood,
     "who drains keeps no more than the high-water mark and one piece; all bytes come in order")
{
    cora_loop loop = current_loop_new();
    struct line near = line_new(loop, 1000);
    const struct cora_connect_options options = { .socket = near.far };
    struct cora_streams far =
        cora_as_streams(cora_run_until_complete(loop, cora_open_connection(&options, 1000)));
    struct flood flood = { .reader = far.reader, .writer = near.writer }, *it = &flood;
    typedef struct flood *flood_pointer;
    cora_future tasks[] = {
        cora_create_task(loop, cora_coroutine(flood_writes, flood_pointer, it)),
        cora_create_task(loop, cora_coroutine(flood_reads, flood_pointer, it)),
    };
    cora_run_until_complete(loop, cora_gather(loop, tasks, 2));
    CHECK_INT(flood.read, flood.written);
    CHECK(flood.most <= 65536 + 50000);
    CHECK_INT(cora_stream_close(near.writer), 0);
    CHECK_INT(cora_stream_close(far.writer), 0);
    ticks(loop, 3);
    end_silently(loop);
}
