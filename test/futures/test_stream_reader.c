/*
 * Readers of streams, fed by hand: each kind of read when all is there and when it must wait;
 * separators, in every way in which they may arrive in pieces; limits to the byte; the end, and
 * errors; the gap between a feed and the run of the read that it woke, in which it may be cancelled
 * or another may read; readers that are closed, of other loops and threads; sizes at the edges.
 *
 * What holds for callbacks and for tasks alike is told once (BOTH) and tested with each; what holds
 * for every kind of read, with each of those (readings).
 */
#include "coroutines.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

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

/* ---- feeding, reading, and what came of it ---- */

static void feed(cora_stream_reader reader, const char *text)
{
    CHECK_INT(cora_stream_feed_data(reader, text, strlen(text)), 0);
}

/* One that has this in it. */
static cora_stream_reader reader_with(cora_loop loop, size_t limit, const char *text)
{
    cora_stream_reader reader = cora_stream_reader_new(loop, limit);
    CHECK(!cora_is_null(reader));
    feed(reader, text);
    return reader;
}

/* A reader as cora_stream_reader_print writes it; until the next call. */
static const char *reader_text(cora_stream_reader reader)
{
    static char text[1000];
    int length = cora_stream_reader_print(reader, text, sizeof text);
    CHECK_INT(length, strlen(text));
    return text;
}

/* What an awaitable comes to, as cora_print writes it; until the next call. */
static const char *read_of(cora_loop loop, cora_awaitable what)
{
    static char text[400];
    cora_print(cora_run_until_complete(loop, what), text, sizeof text);
    return text;
}

/* All that is in it, which ends it. */
static const char *rest_of(cora_loop loop, cora_stream_reader reader)
{
    CHECK_INT(cora_stream_feed_eof(reader), 0);
    return read_of(loop, cora_stream_read(reader, -1));
}

/* Notes "a=b\"text\"", or "a:ValueError" for an error. */
static void note_read(struct notes *notes, const char *word, cora_value outcome)
{
    char value[200], text[300];
    cora_print(outcome, value, sizeof value);
    if (cora_is_error(outcome))
        snprintf(text, sizeof text, "%s:%s", word, cora_error_name(cora_error_code(outcome)));
    else
        snprintf(text, sizeof text, "%s=%s", word, value);
    add_note(notes, text);
}

/* Bound to notes and a word. */
static void note_has_read(cora_args bound, cora_future done)
{
    note_read(cora_arg(bound, 0, struct notes *), cora_arg_text(bound, 1), cora_result(done));
}

struct clerk {
    struct notes *notes;
    cora_awaitable what;
    const char *word;
};

static cora_next clerk_tells(cora_coro self)
{
    struct clerk *clerk = cora_locals(self, struct clerk);
    bool failed = !cora_is_nothing(cora_caught(self));
    note_read(clerk->notes, clerk->word, failed ? cora_caught(self) : cora_got(self));
    return failed ? cora_raise(self, cora_caught(self)) : cora_return(self, cora_got(self));
}

static void clerk_drop(void *locals)
{
    cora_drop(((struct clerk *)locals)->what.argument);
}

static cora_next clerk_reads(cora_coro self)
{
    return cora_try(self, cora_locals(self, struct clerk)->what, clerk_tells);
}

/* Begins a read, and waits until it waits. The future is kept: it can be read later. */
static cora_future begin(enum style style, cora_loop loop, cora_awaitable what, struct notes *notes,
                         const char *word)
{
    cora_future future;
    if (style == CALLBACKS)
        return cora_keep(cora_when_done(what, cora_partial(note_has_read, notes, word)));
    what.argument = cora_copy(what.argument); /* the task begins a tick later */
    future =
        cora_create_task(loop, cora_coroutine_owning(clerk_reads, clerk_drop, struct clerk,
                                                     .notes = notes, .what = what, .word = word));
    tick(loop);
    return future;
}

/* Ends a test; what still waits is dropped with the loop, without a word. */
static void end_silently(cora_loop loop)
{
    struct reports reports;
    collect_reports(loop, &reports);
    cora_set_current_loop((cora_loop){ 0 });
    end(loop);
}

/* ---- each kind of read ---- */

/* A kind of read, with what it must be fed in two pieces, and what it gives then. */
struct reading {
    const char *name;
    cora_awaitable (*read)(cora_stream_reader reader);
    const char *first, *second, *gives;
    const char *at_end;   /* what it gives when the end comes instead of the second */
    const char *at_start; /* and when nothing was fed at all */
};

static cora_awaitable read_any(cora_stream_reader reader)
{
    return cora_stream_read(reader, 100);
}

static cora_awaitable read_all(cora_stream_reader reader)
{
    return cora_stream_read(reader, -1);
}

static cora_awaitable read_five(cora_stream_reader reader)
{
    return cora_stream_readexactly(reader, 5);
}

static cora_awaitable read_line(cora_stream_reader reader)
{
    return cora_stream_readline(reader);
}

static cora_awaitable read_next_line(cora_stream_reader reader)
{
    return cora_stream_next_line(reader);
}

static cora_awaitable read_until_stop(cora_stream_reader reader)
{
    return cora_stream_readuntil(reader, cora_static("STOP"));
}

static cora_awaitable read_until_any(cora_stream_reader reader)
{
    const cora_value separators[] = { cora_static("STOP"), cora_static("!") };
    return cora_stream_readuntil(reader, cora_list(separators, 2));
}

#define INCOMPLETE(bytes, total)                                                                   \
    "IncompleteReadError: " bytes " bytes read on a total of " total " expected bytes"

static const struct reading readings[] = {
    { "read", read_any, "", "abcde", "b\"abcde\"", NULL, "b\"\"" },
    { "readexactly", read_five, "abc", "de", "b\"abcde\"", INCOMPLETE("3", "5"),
      INCOMPLETE("0", "5") },
    { "readline", read_line, "ab", "c\n", "b\"abc\\n\"", "b\"ab\"", "b\"\"" },
    { "next_line", read_next_line, "ab", "c\n", "b\"abc\\n\"", "b\"ab\"", "StopAsyncIteration" },
    { "readuntil", read_until_stop, "abST", "OP", "b\"abSTOP\"", INCOMPLETE("4", "undefined"),
      INCOMPLETE("0", "undefined") },
    { "readuntil of several", read_until_any, "abST", "OP", "b\"abSTOP\"",
      INCOMPLETE("4", "undefined"), INCOMPLETE("0", "undefined") },
};

#define READINGS (sizeof readings / sizeof *readings)

/* ---- as a program uses them ---- */

struct office {
    cora_stream_reader reader;
    struct notes notes;
};

static void on_line(cora_args bound, cora_future done)
{
    struct office *office = cora_arg(bound, 0, struct office *);
    size_t size = 0;
    const char *line = cora_as_bytes(cora_result(done), &size);
    if (size == 0) {
        add_note(&office->notes, "over");
        return;
    }
    char text[40];
    snprintf(text, sizeof text, "[%.*s]", (int)(size - (line[size - 1] == '\n')), line);
    add_note(&office->notes, text);
    cora_when_done(cora_stream_readline(office->reader), cora_partial(on_line, office));
}

TEST(callbacks, "callbacks read line by line what arrives, until the end")
{
    cora_loop loop = current_loop_new();
    struct office office = { .reader = cora_stream_reader_new(loop, CORA_STREAM_LIMIT) };
    cora_when_done(cora_stream_readline(office.reader), cora_partial(on_line, &office));
    feed(office.reader, "two letters\none pa");
    ticks(loop, 5);
    CHECK_TEXT(office.notes.text, "[two letters]");
    feed(office.reader, "rcel\na card");
    CHECK_INT(cora_stream_feed_eof(office.reader), 0);
    ticks(loop, 5);
    CHECK_TEXT(office.notes.text, "[two letters] [one parcel] [a card] over");
    CHECK_INT(cora_stream_reader_close(office.reader), 0);
    tick(loop);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

struct lines {
    cora_stream_reader reader;
    struct notes *notes;
};

static cora_next next_line(cora_coro self);

static cora_next got_line(cora_coro self)
{
    struct lines *lines = cora_locals(self, struct lines);
    if (cora_error_code(cora_caught(self)) == CORA_ESTOPASYNCITERATION)
        return cora_return(self, "over");
    note_read(lines->notes, "line", cora_got(self));
    return next_line(self);
}

static cora_next next_line(cora_coro self)
{
    return cora_try(self, cora_stream_next_line(cora_locals(self, struct lines)->reader), got_line);
}

TEST(all_lines, "a loop over all lines gives each with its newline, the last as it is, then ends",
     "test_pep492.StreamReaderTests.test_readline")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = reader_with(loop, 100, "line1\nline2\nline3");
    CHECK_INT(cora_stream_feed_eof(reader), 0);
    CHECK_TEXT(ran(loop, cora_coroutine(next_line, struct lines, reader, &notes)), "\"over\"");
    CHECK_TEXT(notes.text, "line=b\"line1\\n\" line=b\"line2\\n\" line=b\"line3\"");
    end(loop);
}

/* ---- making one ---- */

TEST(limit, "a limit of 0 is a ValueError, the smallest is 1, the largest SIZE_MAX",
     "test_streams.StreamTests.test_invalid_limit")
{
    cora_loop loop = virtual_loop_new();
    CHECK(cora_is_null(cora_stream_reader_new(loop, 0)));
    CHECK_INT(cora_last_error_code(), CORA_EVALUE);
    CHECK_TEXT(cora_error_message(cora_last_error()), "Limit cannot be <= 0");
    CHECK_TEXT(read_of(loop, cora_stream_readline(reader_with(loop, 1, "a\n"))), "b\"a\\n\"");
    CHECK_TEXT(read_of(loop, cora_stream_readline(reader_with(loop, SIZE_MAX, "a\n"))),
               "b\"a\\n\"");
    end(loop);
}

TEST(no_loop, "without a loop there is no reader",
     "test_streams.StreamTests.test_streamreader_constructor_without_loop")
{
    CHECK(cora_is_null(cora_stream_reader_new((cora_loop){ 0 }, 10)));
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME) ||
          cora_error_is(cora_last_error(), CORA_EMEMORY));
}

static void make_in_loop(cora_args bound)
{
    *cora_arg(bound, 0, cora_stream_reader *) = cora_stream_reader_new(cora_running_loop(), 10);
}

TEST(running_loop, "a reader made in a callback for the running loop is of that loop",
     "test_streams.StreamTests.test_streamreader_constructor_use_running_loop")
{
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = { 0 };
    size_t before = cora_live(loop);
    run_in(loop, cora_partial(make_in_loop, &reader));
    CHECK_INT(cora_live(loop), before + 1);
    CHECK_TEXT(rest_of(loop, reader), "b\"\"");
    end(loop);
}

TEST(repr, "a fresh reader prints its name alone", "test_streams.StreamTests.test___repr__")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(reader_text(cora_stream_reader_new(loop, CORA_STREAM_LIMIT)), "<StreamReader>");
    end(loop);
}

TEST(repr_limit, "a reader prints its limit if that is not the usual one",
     "test_streams.StreamTests.test___repr__nondefault_limit")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(reader_text(cora_stream_reader_new(loop, 123)), "<StreamReader limit=123>");
    end(loop);
}

TEST(repr_eof, "a reader prints that the end was fed", "test_streams.StreamTests.test___repr__eof")
{
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = cora_stream_reader_new(loop, CORA_STREAM_LIMIT);
    CHECK_INT(cora_stream_feed_eof(reader), 0);
    CHECK_TEXT(reader_text(reader), "<StreamReader eof>");
    end(loop);
}

TEST(repr_data, "a reader prints how many bytes are in it",
     "test_streams.StreamTests.test___repr__data")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(reader_text(reader_with(loop, CORA_STREAM_LIMIT, "data")), "<StreamReader 4 bytes>");
    end(loop);
}

TEST(repr_exception, "a reader prints the error that was set",
     "test_streams.StreamTests.test___repr__exception")
{
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = cora_stream_reader_new(loop, CORA_STREAM_LIMIT);
    CHECK_INT(cora_stream_set_exception(reader, cora_error(-ECONNRESET, NULL)), 0);
    CHECK_TEXT(reader_text(reader), "<StreamReader exception=ConnectionResetError: [Errno 104] "
                                    "Connection reset by peer>");
    end(loop);
}

TEST(repr_cut, "the printed form is cut to the room that there is, and tells its whole length")
{
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = reader_with(loop, 7, "data");
    char text[32], whole[] = "<StreamReader 4 bytes eof limit=7>";
    CHECK_INT(cora_stream_feed_eof(reader), 0);
    for (size_t room = 0; room <= sizeof text; room++) {
        memset(text, '#', sizeof text);
        CHECK_INT(cora_stream_reader_print(reader, text, room), strlen(whole));
        if (room > 0)
            CHECK(strncmp(text, whole, room - 1) == 0 && text[room - 1] == '\0');
    }
    CHECK_INT(cora_stream_reader_print(reader, NULL, 0), strlen(whole));
    end(loop);
}

/* ---- feeding ---- */

TEST(feed_nothing, "feeding no bytes changes nothing, and wakes no read",
     "test_streams.StreamTests.test_feed_empty_data")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = cora_stream_reader_new(loop, 10);
    begin(CALLBACKS, loop, cora_stream_read(reader, 5), &notes, "read");
    feed(reader, "");
    CHECK_INT(cora_stream_feed_data(reader, NULL, 0), 0);
    ticks(loop, 3);
    CHECK_TEXT(notes.text, "");
    CHECK_TEXT(reader_text(reader), "<StreamReader limit=10 waiter=<read pending>>");
    end_silently(loop);
}

TEST(feed_some, "bytes that nobody waits for are kept as they are, with zeros in them, too",
     "test_streams.StreamTests.test_feed_nonempty_data")
{
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = cora_stream_reader_new(loop, 10);
    CHECK_INT(cora_stream_feed_data(reader, "da\0ta", 5), 0);
    CHECK_TEXT(rest_of(loop, reader), "b\"da\\x00ta\"");
    end(loop);
}

TEST(feed_copies, "what was fed is a copy: the program's bytes may change")
{
    cora_loop loop = virtual_loop_new();
    char bytes[] = "stamp";
    cora_stream_reader reader = reader_with(loop, 10, bytes);
    memset(bytes, '-', 5);
    CHECK_TEXT(rest_of(loop, reader), "b\"stamp\"");
    end(loop);
}

TEST(feed_after_end, "bytes after the end are a RuntimeError, and are not kept")
{
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = reader_with(loop, 10, "ab");
    CHECK_INT(cora_stream_feed_eof(reader), 0);
    CHECK_INT(cora_stream_feed_data(reader, "cd", 2), CORA_ERUNTIME);
    CHECK(says(cora_last_error(), "feed_data after feed_eof"));
    CHECK_INT(cora_stream_feed_eof(reader), 0);
    CHECK_TEXT(rest_of(loop, reader), "b\"ab\"");
    end(loop);
}

TEST(feed_too_much, "more bytes than there can be are a MemoryError, what is there stays")
{
    static const size_t sizes[] = { SIZE_MAX,  SIZE_MAX - 1, SIZE_MAX - 31,   SIZE_MAX / 2,
                                    INT64_MAX, SIZE_MAX / 4, SIZE_MAX / 8 + 1 };
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = reader_with(loop, 10, "ab"), empty = reader_with(loop, 10, "");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        CHECK_INT(cora_stream_feed_data(reader, "", sizes[i]), CORA_EMEMORY);
        CHECK_INT(cora_stream_feed_data(empty, "", sizes[i]), CORA_EMEMORY);
    }
    CHECK_TEXT(rest_of(loop, reader), "b\"ab\"");
    CHECK_TEXT(rest_of(loop, empty), "b\"\"");
    end(loop);
}

/* ---- read ---- */

BOTH(read_zero, "a read of 0 bytes gives none at once, and takes none",
     "test_streams.StreamTests.test_read_zero")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = reader_with(loop, 10, "ab");
    begin(style, loop, cora_stream_read(reader, 0), &notes, "none");
    begin(style, loop, cora_stream_read(cora_stream_reader_new(loop, 1), 0), &notes, "empty");
    tick(loop);
    CHECK_TEXT(notes.text, "none=b\"\" empty=b\"\"");
    CHECK_TEXT(rest_of(loop, reader), "b\"ab\"");
    end_silently(loop);
}

BOTH(read_waits,
     "a read of an empty reader waits, and ends with what comes first, and nothing stays",
     "test_streams.StreamTests.test_read")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = cora_stream_reader_new(loop, 100);
    begin(style, loop, cora_stream_read(reader, 30), &notes, "read");
    ticks(loop, 3);
    CHECK_TEXT(notes.text, "");
    feed(reader, "eighteen bytes in.");
    tick(loop);
    CHECK_TEXT(notes.text, "read=b\"eighteen bytes in.\"");
    CHECK_TEXT(reader_text(reader), "<StreamReader limit=100>");
    end_silently(loop);
}

TEST(read_pieces, "a read takes no more than was asked for, across the feeds",
     "test_streams.StreamTests.test_read_line_breaks")
{
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = reader_with(loop, 100, "line1");
    feed(reader, "line2");
    CHECK_TEXT(read_of(loop, cora_stream_read(reader, 5)), "b\"line1\"");
    CHECK_TEXT(read_of(loop, cora_stream_read(reader, 2)), "b\"li\"");
    CHECK_TEXT(rest_of(loop, reader), "b\"ne2\"");
    end(loop);
}

BOTH(read_end, "a read that waits when the end is fed gives 0 bytes, and so do all later ones",
     "test_streams.StreamTests.test_read_eof")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = cora_stream_reader_new(loop, 100);
    begin(style, loop, cora_stream_read(reader, 1024), &notes, "first");
    CHECK_INT(cora_stream_feed_eof(reader), 0);
    tick(loop);
    begin(style, loop, cora_stream_read(reader, 1024), &notes, "second");
    tick(loop);
    CHECK_TEXT(notes.text, "first=b\"\" second=b\"\"");
    end_silently(loop);
}

BOTH(read_until_end, "a read of all waits for the end, and gives all that came, joined",
     "test_streams.StreamTests.test_read_until_eof")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = cora_stream_reader_new(loop, 3);
    begin(style, loop, cora_stream_read(reader, -1), &notes, "all");
    feed(reader, "chunk1 ");
    ticks(loop, 2);
    feed(reader, "chunk2");
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "");
    CHECK_INT(cora_stream_feed_eof(reader), 0);
    tick(loop);
    CHECK_TEXT(notes.text, "all=b\"chunk1 chunk2\"");
    CHECK_TEXT(reader_text(reader), "<StreamReader eof limit=3>");
    end_silently(loop);
}

TEST(read_limit, "the limit does not cap a read", "test_streams.StreamTests.test_read_limit")
{
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = reader_with(loop, 3, "chunk");
    CHECK_TEXT(read_of(loop, cora_stream_read(reader, 5)), "b\"chunk\"");
    CHECK_TEXT(reader_text(reader), "<StreamReader limit=3>");
    end(loop);
}

TEST(read_sizes, "any size may be asked for: less than 0 is all, the largest what is there")
{
    cora_loop loop = virtual_loop_new();
    static const int64_t sizes[] = { INT64_MIN, -2, -1, INT64_MAX, INT64_MAX - 1, 0x100000000 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        cora_stream_reader reader = reader_with(loop, 3, "chunk");
        CHECK_INT(cora_stream_feed_eof(reader), 0);
        CHECK_TEXT(read_of(loop, cora_stream_read(reader, sizes[i])), "b\"chunk\"");
    }
    end(loop);
}

TEST(at_eof, "a reader is at its end when the end was fed and all is read",
     "test_streams.StreamTests.test_at_eof")
{
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = cora_stream_reader_new(loop, 10);
    CHECK(!cora_stream_at_eof(reader));
    feed(reader, "data\n");
    CHECK(!cora_stream_at_eof(reader));
    CHECK_INT(cora_stream_feed_eof(reader), 0);
    CHECK(!cora_stream_at_eof(reader));
    CHECK_TEXT(read_of(loop, cora_stream_read(reader, 4)), "b\"data\"");
    CHECK(!cora_stream_at_eof(reader));
    CHECK_TEXT(read_of(loop, cora_stream_read(reader, 4)), "b\"\\n\"");
    CHECK(cora_stream_at_eof(reader));
    end(loop);
}

/* ---- readexactly ---- */

TEST(exactly_nothing, "exactly 0 bytes are none; less than 0 is a ValueError; nothing is taken",
     "test_streams.StreamTests.test_readexactly_zero_or_less")
{
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = reader_with(loop, 10, "line\n");
    static const int64_t negative[] = { -1, INT64_MIN };
    CHECK_TEXT(read_of(loop, cora_stream_readexactly(reader, 0)), "b\"\"");
    for (size_t i = 0; i < 2; i++)
        CHECK_TEXT(read_of(loop, cora_stream_readexactly(reader, negative[i])),
                   "ValueError: readexactly size can not be less than zero");
    CHECK_TEXT(rest_of(loop, reader), "b\"line\\n\"");
    end(loop);
}

BOTH(exactly, "exactly so many bytes are waited for, what is more stays",
     "test_streams.StreamTests.test_readexactly")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = cora_stream_reader_new(loop, 100);
    begin(style, loop, cora_stream_readexactly(reader, 12), &notes, "twelve");
    for (int i = 0; i < 3; i++) {
        CHECK_TEXT(notes.text, "");
        feed(reader, i < 2 ? "five " : "parcel");
        tick(loop);
    }
    CHECK_TEXT(notes.text, "twelve=b\"five five pa\"");
    CHECK_TEXT(rest_of(loop, reader), "b\"rcel\"");
    end_silently(loop);
}

TEST(exactly_limit, "the limit does not cap readexactly",
     "test_streams.StreamTests.test_readexactly_limit")
{
    cora_loop loop = virtual_loop_new();
    CHECK_TEXT(read_of(loop, cora_stream_readexactly(reader_with(loop, 3, "chunk"), 5)),
               "b\"chunk\"");
    end(loop);
}

BOTH(exactly_end,
     "when the end comes first, the error has what there was, and how many were wanted",
     "test_streams.StreamTests.test_readexactly_eof")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = cora_stream_reader_new(loop, 100);
    cora_future read = begin(style, loop, cora_stream_readexactly(reader, 12), &notes, "twelve");
    feed(reader, "parcel");
    tick(loop);
    CHECK_INT(cora_stream_feed_eof(reader), 0);
    tick(loop);
    CHECK_TEXT(notes.text, "twelve:IncompleteReadError");
    cora_value error = cora_exception(read);
    CHECK_TEXT(cora_error_message(error), "6 bytes read on a total of 12 expected bytes");
    CHECK(cora_equal(cora_incomplete_partial(error), cora_bytes("parcel", 6)));
    CHECK_INT(cora_as_int(cora_incomplete_expected(error)), 12);
    CHECK(cora_stream_at_eof(reader));
    end_silently(loop);
}

TEST(exactly_most,
     "exactly the largest number of bytes waits until the end, and that is in the error")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = cora_stream_reader_new(loop, 100);
    cora_future read =
        begin(CALLBACKS, loop, cora_stream_readexactly(reader, INT64_MAX), &notes, "most");
    feed(reader, "parcel");
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "");
    CHECK_INT(cora_stream_feed_eof(reader), 0);
    tick(loop);
    CHECK(cora_as_int(cora_incomplete_expected(cora_exception(read))) == INT64_MAX);
    end_silently(loop);
}

TEST(exactly_exception, "an error that was set fails readexactly though enough is there",
     "test_streams.StreamTests.test_readexactly_exception")
{
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = reader_with(loop, 100, "line\n");
    CHECK_TEXT(read_of(loop, cora_stream_readexactly(reader, 2)), "b\"li\"");
    CHECK_INT(cora_stream_set_exception(reader, spilled()), 0);
    CHECK_TEXT(read_of(loop, cora_stream_readexactly(reader, 2)), "ValueError: spilled");
    end(loop);
}

/* ---- readline ---- */

BOTH(readline, "a line comes over several feeds, what follows it stays",
     "test_streams.StreamTests.test_readline")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = reader_with(loop, 100, "chunk1 ");
    begin(style, loop, cora_stream_readline(reader), &notes, "line");
    feed(reader, "chunk2 ");
    tick(loop);
    feed(reader, "chunk3 ");
    CHECK_TEXT(notes.text, "");
    feed(reader, "\n chunk4");
    tick(loop);
    CHECK_TEXT(notes.text, "line=b\"chunk1 chunk2 chunk3 \\n\"");
    CHECK_TEXT(rest_of(loop, reader), "b\" chunk4\"");
    end_silently(loop);
}

TEST(readline_at_once, "lines that are there are read one after the other",
     "test_streams.StreamTests.test_readline_nolimit_nowait")
{
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = reader_with(loop, 100, "line1\nline2\n\nline3");
    CHECK_TEXT(read_of(loop, cora_stream_readline(reader)), "b\"line1\\n\"");
    CHECK_TEXT(read_of(loop, cora_stream_readline(reader)), "b\"line2\\n\"");
    CHECK_TEXT(read_of(loop, cora_stream_readline(reader)), "b\"\\n\"");
    CHECK_TEXT(rest_of(loop, reader), "b\"line3\"");
    end(loop);
}

TEST(readline_limit_there,
     "a line longer than the limit is a ValueError, and is dropped; the whole "
     "buffer, if its newline is not there",
     "test_streams.StreamTests.test_readline_limit_with_existing_data")
{
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = reader_with(loop, 3, "line1\nline2\n");
    CHECK_TEXT(read_of(loop, cora_stream_readline(reader)),
               "ValueError: Separator is found, but chunk is longer than limit");
    CHECK_TEXT(reader_text(reader), "<StreamReader 6 bytes limit=3>");
    CHECK_TEXT(rest_of(loop, reader), "b\"line2\\n\"");
    reader = reader_with(loop, 3, "line1");
    CHECK_TEXT(read_of(loop, cora_stream_readline(reader)),
               "ValueError: Separator is not found, and chunk exceed the limit");
    CHECK_TEXT(reader_text(reader), "<StreamReader limit=3>");
    end(loop);
}

/* A line is fed in one piece, or with its newline in a second. */
BOTH(readline_limit_later,
     "bytes before the newline count: as many as the limit may be, whenever "
     "they come",
     "test_streams.StreamTests.test_readline_limit")
{
    static const struct {
        const char *first, *second, *gives, *stays;
    } cases[] = {
        { "sixxxx", "\nrest", "line=b\"sixxxx\\n\"", "b\"rest\"" },
        { "sevenxx", "\nrest", "line=b\"sevenxx\\n\"", "b\"rest\"" },
        { "eightxxx", "\nrest", "line:ValueError", "b\"\\nrest\"" },
        { "", "sevenxx\nrest", "line=b\"sevenxx\\n\"", "b\"rest\"" },
        { "", "eightxxx\nrest", "line:ValueError", "b\"rest\"" },
        { "four", "four\nrest", "line:ValueError", "b\"rest\"" },
        { "", "eightxxx", "line:ValueError", "b\"\"" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cora_loop loop = current_loop_new();
        struct notes notes = { "" };
        cora_stream_reader reader = cora_stream_reader_new(loop, 7);
        begin(style, loop, cora_stream_readline(reader), &notes, "line");
        feed(reader, cases[i].first);
        tick(loop);
        feed(reader, cases[i].second);
        tick(loop);
        CHECK_TEXT(notes.text, cases[i].gives);
        CHECK_TEXT(rest_of(loop, reader), cases[i].stays);
        end_silently(loop);
    }
}

TEST(readline_end, "what has no newline when the end comes is the last line",
     "test_streams.StreamTests.test_readline_eof")
{
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = reader_with(loop, 100, "some data");
    CHECK_INT(cora_stream_feed_eof(reader), 0);
    CHECK_TEXT(read_of(loop, cora_stream_readline(reader)), "b\"some data\"");
    CHECK(cora_stream_at_eof(reader));
    end(loop);
}

TEST(readline_empty_end, "a line at the end of an empty reader is 0 bytes",
     "test_streams.StreamTests.test_readline_empty_eof")
{
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = cora_stream_reader_new(loop, 100);
    CHECK_INT(cora_stream_feed_eof(reader), 0);
    CHECK_TEXT(read_of(loop, cora_stream_readline(reader)), "b\"\"");
    end(loop);
}

TEST(readline_then_read, "a line and then bytes are one behind the other",
     "test_streams.StreamTests.test_readline_read_byte_count")
{
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = reader_with(loop, 100, "line1\nline2\nline3\n");
    CHECK_TEXT(read_of(loop, cora_stream_readline(reader)), "b\"line1\\n\"");
    CHECK_TEXT(read_of(loop, cora_stream_read(reader, 7)), "b\"line2\\nl\"");
    CHECK_TEXT(rest_of(loop, reader), "b\"ine3\\n\"");
    end(loop);
}

TEST(readline_exception,
     "an error that was set fails the next line; what was read before stays read",
     "test_streams.StreamTests.test_readline_exception")
{
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = reader_with(loop, 100, "line\n");
    CHECK_TEXT(read_of(loop, cora_stream_readline(reader)), "b\"line\\n\"");
    CHECK_INT(cora_stream_set_exception(reader, spilled()), 0);
    CHECK_TEXT(read_of(loop, cora_stream_readline(reader)), "ValueError: spilled");
    CHECK_TEXT(reader_text(reader), "<StreamReader limit=100 exception=ValueError: spilled>");
    end(loop);
}

/* ---- readuntil ---- */

TEST(no_separator, "no separator, and an empty one, alone or among others, are ValueErrors",
     "test_streams.StreamTests.test_readuntil_separator")
{
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = reader_with(loop, 100, "data");
    const cora_value empty[] = { cora_static("x"), cora_static("") };
    CHECK_TEXT(read_of(loop, cora_stream_readuntil(reader, cora_static(""))),
               "ValueError: Separator should be at least one-byte string");
    CHECK_TEXT(read_of(loop, cora_stream_readuntil(reader, cora_list(NULL, 0))),
               "ValueError: Separator should contain at least one element");
    CHECK_TEXT(read_of(loop, cora_stream_readuntil(reader, cora_list(empty, 2))),
               "ValueError: Separator should be at least one-byte string");
    CHECK_TEXT(rest_of(loop, reader), "b\"data\"");
    end(loop);
}

TEST(wrong_separator,
     "a separator that is neither text nor bytes is a TypeError, and fails no callback")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct reports reports;
    cora_stream_reader reader = reader_with(loop, 100, "data");
    const cora_value mixed[] = { cora_static("x"), cora_int(3) };
    const cora_value list[] = { cora_list(mixed, 1) };
    const cora_value wrong[] = { cora_nothing(), cora_int(10), cora_list(mixed, 2),
                                 cora_list(list, 1) };
    collect_reports(loop, &reports);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        begin(CALLBACKS, loop, cora_stream_readuntil(reader, wrong[i]), &notes, "a");
    tick(loop);
    CHECK_TEXT(notes.text, "a:TypeError a:TypeError a:TypeError a:TypeError");
    CHECK_INT(reports.count, 0);
    current_loop_end(loop);
}

BOTH(until, "all through the separator is read, what follows it stays",
     "test_streams.StreamTests.test_readuntil_multi_chunks")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = reader_with(loop, 100, "lineAAA");
    begin(style, loop, cora_stream_readuntil(reader, cora_static("AAA")), &notes, "a");
    begin(style, loop, cora_stream_readuntil(reader, cora_static("AAA")), &notes, "b");
    feed(reader, "lineAAAxxx");
    tick(loop);
    CHECK_TEXT(notes.text, "a=b\"lineAAA\" b=b\"lineAAA\"");
    CHECK_TEXT(rest_of(loop, reader), "b\"xxx\"");
    end_silently(loop);
}

TEST(until_kinds, "a separator may be a text of any kind, or bytes with zeros in them")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    char chars[] = "12";
    const cora_value separators[] = { cora_static("12"), cora_chars(chars), cora_text("12"),
                                      cora_bytes("\0\1", 2) };
    for (size_t i = 0; i < 4; i++) {
        cora_stream_reader reader = cora_stream_reader_new(loop, 100);
        CHECK_INT(cora_stream_feed_data(reader, "ab12\0\1cd", 8), 0);
        begin(CALLBACKS, loop, cora_stream_readuntil(reader, separators[i]), &notes, "");
    }
    tick(loop);
    CHECK_TEXT(notes.text, "=b\"ab12\" =b\"ab12\" =b\"ab12\" =b\"ab12\\x00\\x01\"");
    current_loop_end(loop);
}

BOTH(until_keeps, "a separator is copied when the read begins to wait")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    char separator[] = "STOP";
    cora_stream_reader reader = cora_stream_reader_new(loop, 100);
    begin(style, loop, cora_stream_readuntil(reader, cora_chars(separator)), &notes, "read");
    memset(separator, '-', 4);
    cora_drop_temporaries();
    feed(reader, "ab--STOPcd");
    tick(loop);
    CHECK_TEXT(notes.text, "read=b\"ab--STOP\"");
    end_silently(loop);
}

/* Feeds a text in pieces that end there, and looks what a read has come to. */
static void check_pieces(enum style style, const char *text, size_t one, size_t two,
                         cora_value separator, const char *gives)
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = cora_stream_reader_new(loop, 100);
    begin(style, loop, cora_stream_readuntil(reader, separator), &notes, "");
    CHECK_INT(cora_stream_feed_data(reader, text, one), 0);
    tick(loop);
    CHECK_INT(cora_stream_feed_data(reader, text + one, two - one), 0);
    tick(loop);
    CHECK_INT(cora_stream_feed_data(reader, text + two, strlen(text) - two), 0);
    tick(loop);
    CHECK_TEXT(notes.text, gives);
    end_silently(loop);
}

BOTH(until_pieces,
     "a separator is found however it is cut into three pieces, also behind a false "
     "start",
     "test_streams.StreamTests.test_readuntil_multi_chunks_1")
{
    static const struct {
        const char *text, *separator, *gives;
    } cases[] = {
        { "QWERTYaaaaAbb", "aaaA", "=b\"QWERTYaaaaA\"" },
        { "aaa", "aaa", "=b\"aaa\"" },
        { "abababaab", "abaab", "=b\"abababaab\"" },
        { "a\r\r\nb\n", "\r\n", "=b\"a\\x0d\\x0d\\n\"" },
        { "Xaaaaab", "aab", "=b\"Xaaaaab\"" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t one = 0; one <= strlen(cases[i].text); one++)
            for (size_t two = one; two <= strlen(cases[i].text); two++)
                check_pieces(style, cases[i].text, one, two, cora_static(cases[i].separator),
                             cases[i].gives);
}

BOTH(until_several_pieces, "of several separators the first to end is found, however they are cut")
{
    static const struct {
        const char *text, *separators[3], *gives;
    } cases[] = {
        { "..STOP", { "STOP", "TOP", "--------" }, "=b\"..STOP\"" },
        { "ab\r\ncd", { "\r\n", "\n", "\n\n" }, "=b\"ab\\x0d\\n\"" },
        { "xAAAAb", { "AAAAAA", "AAAA", "bb" }, "=b\"xAAAA\"" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t one = 0; one <= strlen(cases[i].text); one++)
            for (size_t two = one; two <= strlen(cases[i].text); two++) {
                const cora_value separators[] = { cora_static(cases[i].separators[0]),
                                                  cora_static(cases[i].separators[1]),
                                                  cora_static(cases[i].separators[2]) };
                check_pieces(style, cases[i].text, one, two, cora_list(separators, 3),
                             cases[i].gives);
            }
}

/* Two separators, in either order. */
static cora_value two(const char *one, const char *other, bool turned)
{
    const cora_value separators[] = { cora_static(turned ? other : one),
                                      cora_static(turned ? one : other) };
    return cora_list(separators, 2);
}

TEST(until_several, "of several separators the one counts that ends first, in any order of them",
     "test_streams.StreamTests.test_readuntil_multi_separator")
{
    cora_loop loop = virtual_loop_new();
    for (int turned = 0; turned < 2; turned++) {
        cora_stream_reader reader = reader_with(loop, 100, "ABCDEFG\nAnother\r\nline\rx");
        CHECK_TEXT(read_of(loop, cora_stream_readuntil(reader, two("DEF", "BCDE", turned))),
                   "b\"ABCDE\"");
        CHECK_TEXT(read_of(loop, cora_stream_readuntil(reader, two("\r", "\n", turned))),
                   "b\"FG\\n\"");
        CHECK_TEXT(read_of(loop, cora_stream_readuntil(reader, two("\r", "\n", turned))),
                   "b\"Another\\x0d\"");
        CHECK_TEXT(read_of(loop, cora_stream_readuntil(reader, two("\n", "\r\n", turned))),
                   "b\"\\n\"");
        CHECK_TEXT(read_of(loop, cora_stream_readuntil(reader, two("\r", "\n", turned))),
                   "b\"line\\x0d\"");
        CHECK_TEXT(rest_of(loop, reader), "b\"x\"");
    }
    end(loop);
}

TEST(until_several_limit,
     "of two that end there the shorter counts: where it begins is compared with "
     "the limit",
     "test_streams.StreamTests.test_readuntil_multi_separator_limit")
{
    cora_loop loop = virtual_loop_new();
    for (int turned = 0; turned < 2; turned++) {
        cora_stream_reader reader = reader_with(loop, 3, "some dataA");
        cora_value error = cora_run_until_complete(
            loop, cora_stream_readuntil(reader, two("A", "ome dataA", turned)));
        CHECK_INT(cora_error_code(error), CORA_ELIMITOVERRUN);
        CHECK(says(error, "is found"));
        CHECK_INT(cora_overrun_consumed(error), 9);
        CHECK_TEXT(rest_of(loop, reader), "b\"some dataA\"");
    }
    end(loop);
}

BOTH(until_several_later,
     "more bytes than the shortest separator but less than the longest do no harm",
     "test_streams.StreamTests.test_readuntil_multi_separator_negative_offset")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = reader_with(loop, 100, "data");
    begin(style, loop, cora_stream_readuntil(reader, two("A", "long sep", false)), &notes, "read");
    CHECK_TEXT(notes.text, "");
    feed(reader, "Z");
    tick(loop);
    CHECK_TEXT(notes.text, "");
    feed(reader, "Aaaa");
    tick(loop);
    CHECK_TEXT(notes.text, "read=b\"dataZA\"");
    CHECK_TEXT(rest_of(loop, reader), "b\"aaa\"");
    end_silently(loop);
}

BOTH(until_limit,
     "too long without a separator, and then with it: both are LimitOverrunErrors, and "
     "nothing is taken",
     "test_streams.StreamTests.test_readuntil_limit_found_sep")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = reader_with(loop, 3, "some dataAA");
    cora_awaitable until = cora_stream_readuntil(reader, cora_static("AAA"));
    cora_future one = begin(style, loop, until, &notes, "one");
    tick(loop);
    CHECK(says(cora_exception(one), "not found"));
    CHECK_INT(cora_overrun_consumed(cora_exception(one)), 9);
    CHECK_TEXT(reader_text(reader), "<StreamReader 11 bytes limit=3>");
    feed(reader, "A");
    cora_future other = begin(style, loop, until, &notes, "other");
    tick(loop);
    CHECK(says(cora_exception(other), "is found"));
    CHECK_INT(cora_overrun_consumed(cora_exception(other)), 9);
    CHECK_TEXT(notes.text, "one:LimitOverrunError other:LimitOverrunError");
    CHECK_TEXT(rest_of(loop, reader), "b\"some dataAAA\"");
    end_silently(loop);
}

TEST(until_limit_edge, "a separator may begin right at the limit, or be searched for until there")
{
    static const struct {
        const char *text, *gives;
    } cases[] = {
        { "abAAA", "b\"abAAA\"" },
        { "abcAAA", "b\"abcAAA\"" },
        { "abcdAAA", "LimitOverrunError: Separator is found, but chunk is longer than limit" },
        { "abcAA", NULL },
        { "abcdeA", "LimitOverrunError: Separator is not found, and chunk exceed the limit" },
        { "abcdAA", "LimitOverrunError: Separator is not found, and chunk exceed the limit" },
        { "abcdef", "LimitOverrunError: Separator is not found, and chunk exceed the limit" },
        { "abcde", NULL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cora_loop loop = current_loop_new();
        cora_stream_reader reader = reader_with(loop, 3, cases[i].text);
        cora_awaitable until = cora_stream_readuntil(reader, cora_static("AAA"));
        struct notes notes = { "" };
        if (cases[i].gives) {
            CHECK_TEXT(read_of(loop, until), cases[i].gives);
        } else {
            begin(CALLBACKS, loop, until, &notes, "");
            ticks(loop, 2);
            CHECK_TEXT(notes.text, "");
        }
        end_silently(loop);
    }
}

TEST(until_end, "the error of an early end has all that there was, and asked for no number")
{
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = reader_with(loop, 100, "some dataAA");
    CHECK_INT(cora_stream_feed_eof(reader), 0);
    cora_value error =
        cora_run_until_complete(loop, cora_stream_readuntil(reader, cora_static("AAA")));
    CHECK_TEXT(cora_error_message(error), "11 bytes read on a total of undefined expected bytes");
    CHECK(cora_equal(cora_incomplete_partial(error), cora_bytes("some dataAA", 11)));
    CHECK(cora_is_nothing(cora_incomplete_expected(error)));
    CHECK(cora_stream_at_eof(reader));
    end(loop);
}

TEST(until_at_end, "a separator that the last bytes complete is found though the end was fed")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = reader_with(loop, 100, "dataA");
    begin(CALLBACKS, loop, cora_stream_readuntil(reader, cora_static("AAA")), &notes, "read");
    feed(reader, "AA");
    CHECK_INT(cora_stream_feed_eof(reader), 0);
    tick(loop);
    CHECK_TEXT(notes.text, "read=b\"dataAAA\"");
    current_loop_end(loop);
}

/* ---- errors that are set ---- */

TEST(exception, "a reader tells the error that was set, and nothing before",
     "test_streams.StreamTests.test_exception")
{
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = cora_stream_reader_new(loop, 10);
    CHECK(cora_is_nothing(cora_stream_exception(reader)));
    cora_value error = spilled();
    CHECK_INT(cora_stream_set_exception(reader, error), 0);
    CHECK(cora_equal(cora_stream_exception(reader), error));
    end(loop);
}

BOTH(exception_wakes, "an error wakes the read that waits, of every kind, and fails it",
     "test_streams.StreamTests.test_exception_waiter")
{
    for (size_t i = 0; i < READINGS; i++) {
        cora_loop loop = current_loop_new();
        struct notes notes = { "" };
        cora_stream_reader reader = reader_with(loop, 100, readings[i].first);
        begin(style, loop, readings[i].read(reader), &notes, "read");
        CHECK_INT(cora_stream_set_exception(reader, spilled()), 0);
        CHECK_TEXT(notes.text, "");
        tick(loop);
        CHECK_TEXT(notes.text, "read:ValueError");
        end_silently(loop);
    }
}

BOTH(exception_cancel, "an error that is set when the read that waits is cancelled finds nobody",
     "test_streams.StreamTests.test_exception_cancel")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = cora_stream_reader_new(loop, 10);
    CHECK(cora_cancel(begin(style, loop, cora_stream_readline(reader), &notes, "line")));
    tick(loop);
    CHECK_INT(cora_stream_set_exception(reader, spilled()), 0);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "line:CancelledError");
    end_silently(loop);
}

BOTH(exception_first, "every read fails with the error that was set, before it looks what is there")
{
    for (size_t i = 0; i < READINGS; i++) {
        cora_loop loop = current_loop_new();
        struct notes notes = { "" };
        cora_stream_reader reader = reader_with(loop, 100, "abcde\nSTOP");
        CHECK_INT(cora_stream_set_exception(reader, spilled()), 0);
        CHECK_INT(cora_stream_feed_eof(reader), 0);
        begin(style, loop, readings[i].read(reader), &notes, "read");
        begin(style, loop, cora_stream_read(reader, 0), &notes, "none");
        tick(loop);
        CHECK_TEXT(notes.text, "read:ValueError none:ValueError");
        end_silently(loop);
    }
}

TEST(exception_replaced,
     "an error replaces the one before; a read that was woken fails with that one")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = cora_stream_reader_new(loop, 100);
    begin(CALLBACKS, loop, cora_stream_readline(reader), &notes, "woken");
    CHECK_INT(cora_stream_set_exception(reader, spilled()), 0);
    CHECK_INT(cora_stream_set_exception(reader, cora_error(CORA_ELOOKUP, NULL)), 0);
    begin(CALLBACKS, loop, cora_stream_readline(reader), &notes, "later");
    tick(loop);
    CHECK_TEXT(notes.text, "woken:ValueError later:LookupError");
    current_loop_end(loop);
}

TEST(exception_after_bytes, "a read that bytes have woken takes them though an error was set "
                            "meanwhile; if it would wait again it fails with that")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader one = cora_stream_reader_new(loop, 100);
    cora_stream_reader other = cora_stream_reader_new(loop, 100);
    begin(CALLBACKS, loop, cora_stream_readexactly(one, 2), &notes, "enough");
    begin(CALLBACKS, loop, cora_stream_readexactly(other, 3), &notes, "too few");
    feed(one, "ab");
    feed(other, "ab");
    CHECK_INT(cora_stream_set_exception(one, spilled()), 0);
    CHECK_INT(cora_stream_set_exception(other, spilled()), 0);
    tick(loop);
    CHECK_TEXT(notes.text, "enough=b\"ab\" too few:ValueError");
    current_loop_end(loop);
}

TEST(exception_then_bytes,
     "a read that an error has woken fails with it though bytes came meanwhile")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = cora_stream_reader_new(loop, 100);
    begin(CALLBACKS, loop, cora_stream_read(reader, 5), &notes, "read");
    CHECK_INT(cora_stream_set_exception(reader, spilled()), 0);
    feed(reader, "ab");
    tick(loop);
    CHECK_TEXT(notes.text, "read:ValueError");
    CHECK_TEXT(reader_text(reader),
               "<StreamReader 2 bytes limit=100 exception=ValueError: spilled>");
    current_loop_end(loop);
}

TEST(exception_all,
     "a read of all that bytes have woken fails with an error set meanwhile, and takes "
     "nothing")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = cora_stream_reader_new(loop, 100);
    begin(CALLBACKS, loop, cora_stream_read(reader, -1), &notes, "all");
    feed(reader, "ab");
    CHECK_INT(cora_stream_feed_eof(reader), 0);
    CHECK_INT(cora_stream_set_exception(reader, spilled()), 0);
    tick(loop);
    CHECK_TEXT(notes.text, "all:ValueError");
    CHECK(!cora_stream_at_eof(reader));
    current_loop_end(loop);
}

TEST(exception_type, "only an error can be set: all else is a TypeError")
{
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = cora_stream_reader_new(loop, 100);
    CHECK_INT(cora_stream_set_exception(reader, cora_nothing()), CORA_ETYPE);
    CHECK_INT(cora_stream_set_exception(reader, cora_int(5)), CORA_ETYPE);
    CHECK(cora_is_nothing(cora_stream_exception(reader)));
    end(loop);
}

TEST(exception_dropped,
     "what an error holds is dropped once, when it was replaced or the reader is "
     "closed")
{
    cora_loop loop = virtual_loop_new();
    int drops[2] = { 0, 0 };
    cora_stream_reader reader = cora_stream_reader_new(loop, 100);
    for (int i = 0; i < 2; i++)
        CHECK_INT(cora_stream_set_exception(
                      reader, cora_error_from(cora_own(&drops[i], &counted), CORA_EVALUE, NULL)),
                  0);
    cora_drop_temporaries();
    CHECK_INT(drops[0], 1);
    CHECK_INT(drops[1], 0);
    CHECK_INT(cora_stream_reader_close(reader), 0);
    tick(loop);
    CHECK_INT(drops[0], 1);
    CHECK_INT(drops[1], 1);
    end(loop);
}

/* ---- ticks, and the gap between a feed and the run of the read ---- */

BOTH(ticks_of_reads,
     "every kind of read waits for all it needs, and ends in the tick after it came")
{
    for (size_t i = 0; i < READINGS; i++) {
        cora_loop loop = current_loop_new();
        struct notes notes = { "" };
        cora_stream_reader reader = cora_stream_reader_new(loop, 100);
        char expected[100];
        snprintf(expected, sizeof expected, "read=%s", readings[i].gives);
        begin(style, loop, readings[i].read(reader), &notes, "read");
        feed(reader, readings[i].first);
        ticks(loop, 2);
        feed(reader, readings[i].second);
        CHECK_TEXT(notes.text, "");
        tick(loop);
        CHECK_TEXT(notes.text, expected);
        CHECK_TEXT(reader_text(reader), "<StreamReader limit=100>");
        end_silently(loop);
    }
}

TEST(taken_at_once, "what is there is taken in the very call; the callback runs next tick")
{
    for (size_t i = 0; i < READINGS; i++) {
        cora_loop loop = current_loop_new();
        struct notes notes = { "" };
        cora_stream_reader reader = reader_with(loop, 100, readings[i].first);
        feed(reader, readings[i].second);
        begin(CALLBACKS, loop, readings[i].read(reader), &notes, "read");
        CHECK_TEXT(reader_text(reader), "<StreamReader limit=100>");
        CHECK_TEXT(notes.text, "");
        tick(loop);
        CHECK(strstr(notes.text, readings[i].gives));
        current_loop_end(loop);
    }
}

static cora_next read_in_same_tick(cora_coro self)
{
    struct lines *lines = cora_locals(self, struct lines);
    note_read(lines->notes, "read", cora_got(self));
    return cora_return_nothing(self);
}

static cora_next read_without_waiting(cora_coro self)
{
    struct lines *lines = cora_locals(self, struct lines);
    cora_call_soon(cora_running_loop(), cora_partial(note, lines->notes, "next tick"));
    return cora_await(self, cora_stream_readline(lines->reader), read_in_same_tick);
}

TEST(without_a_tick, "a step that awaits what is there goes on in the same tick")
{
    cora_loop loop = virtual_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = reader_with(loop, 100, "a\n");
    cora_run_until_complete(loop,
                            cora_coroutine(read_without_waiting, struct lines, reader, &notes));
    CHECK_TEXT(notes.text, "read=b\"a\\n\" next tick");
    end(loop);
}

BOTH(the_end, "the end ends the read that waits, of every kind, with what is there")
{
    for (size_t i = 0; i < READINGS; i++) {
        for (int fed = 0; fed < 2; fed++) {
            const char *gives = fed ? readings[i].at_end : readings[i].at_start;
            if (!gives)
                continue;
            cora_loop loop = current_loop_new();
            struct notes notes = { "" };
            cora_stream_reader reader = reader_with(loop, 100, fed ? readings[i].first : "");
            cora_future read = begin(style, loop, readings[i].read(reader), &notes, "read");
            CHECK_INT(cora_stream_feed_eof(reader), 0);
            tick(loop);
            CHECK_TEXT(outcome(read), gives);
            CHECK(cora_stream_at_eof(reader));
            end_silently(loop);
        }
    }
}

BOTH(cancelled_waiting, "a read that is cancelled has taken nothing, and the next one may wait")
{
    for (size_t i = 0; i < READINGS; i++) {
        cora_loop loop = current_loop_new();
        struct notes notes = { "" };
        cora_stream_reader reader = reader_with(loop, 100, readings[i].first);
        CHECK(cora_cancel(begin(style, loop, readings[i].read(reader), &notes, "a")));
        tick(loop);
        CHECK_TEXT(notes.text, "a:CancelledError");
        begin(style, loop, readings[i].read(reader), &notes, "b");
        feed(reader, readings[i].second);
        tick(loop);
        CHECK(strstr(notes.text, readings[i].gives));
        end_silently(loop);
    }
}

BOTH(cancelled_in_gap, "a read that is cancelled after it was woken loses nothing, of any kind")
{
    for (size_t i = 0; i < READINGS; i++) {
        cora_loop loop = current_loop_new();
        struct notes notes = { "" };
        cora_stream_reader reader = reader_with(loop, 100, readings[i].first);
        cora_future read = begin(style, loop, readings[i].read(reader), &notes, "a");
        feed(reader, readings[i].second);
        CHECK(cora_cancel(read));
        tick(loop);
        CHECK_TEXT(notes.text, "a:CancelledError");
        CHECK_TEXT(read_of(loop, readings[i].read(reader)), readings[i].gives);
        end_silently(loop);
    }
}

BOTH(cancelled_all, "a read of all that is cancelled leaves what has come meanwhile")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = cora_stream_reader_new(loop, 2);
    cora_future read = begin(style, loop, cora_stream_read(reader, -1), &notes, "all");
    feed(reader, "abc");
    tick(loop);
    feed(reader, "def");
    CHECK(cora_cancel(read));
    tick(loop);
    CHECK_TEXT(notes.text, "all:CancelledError");
    CHECK_TEXT(rest_of(loop, reader), "b\"abcdef\"");
    end_silently(loop);
}

TEST(cancel_message, "a read that is cancelled with a message ends with it")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_future read =
        begin(CALLBACKS, loop, cora_stream_readline(cora_stream_reader_new(loop, 9)), &notes, "a");
    cora_cancel_with(read, "closing time");
    tick(loop);
    CHECK_TEXT(outcome(read), "CancelledError: closing time");
    current_loop_end(loop);
}

BOTH(second_read,
     "a second read is a RuntimeError while one waits, of whatever kinds they are; the "
     "first is not disturbed")
{
    for (size_t i = 0; i < READINGS; i++) {
        for (size_t k = 0; k < READINGS; k++) {
            cora_loop loop = current_loop_new();
            struct notes notes = { "" };
            cora_stream_reader reader = reader_with(loop, 100, readings[i].first);
            begin(style, loop, readings[i].read(reader), &notes, "a");
            if (readings[k].read == read_any && *readings[i].first) {
                end_silently(loop);
                continue; /* it need not wait: next test */
            }
            cora_future second = begin(style, loop, readings[k].read(reader), &notes, "b");
            tick(loop);
            CHECK_TEXT(notes.text, "b:RuntimeError");
            CHECK(says(cora_exception(second), "called while another coroutine is already waiting "
                                               "for incoming data"));
            CHECK(says(cora_exception(second), "made in"));
            feed(reader, readings[i].second);
            tick(loop);
            CHECK(strstr(notes.text, readings[i].gives));
            end_silently(loop);
        }
    }
}

TEST(second_read_names, "the error of a second read names it as asyncio does")
{
    static const char *const names[] = { "read()",      "readexactly()", "readuntil()",
                                         "readuntil()", "readuntil()",   "readuntil()" };
    for (size_t i = 0; i < READINGS; i++) {
        cora_loop loop = current_loop_new();
        struct notes notes = { "" };
        cora_stream_reader reader = cora_stream_reader_new(loop, 100);
        begin(CALLBACKS, loop, cora_stream_read(reader, 1), &notes, "a");
        cora_future second = begin(CALLBACKS, loop, readings[i].read(reader), &notes, "b");
        tick(loop);
        CHECK(strncmp(cora_error_message(cora_exception(second)), names[i], strlen(names[i])) == 0);
        end_silently(loop);
    }
}

TEST(second_need_not_wait, "while one waits for more, another takes what is there")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = reader_with(loop, 100, "abc");
    begin(CALLBACKS, loop, cora_stream_readexactly(reader, 5), &notes, "five");
    begin(CALLBACKS, loop, cora_stream_read(reader, 2), &notes, "two");
    tick(loop);
    CHECK_TEXT(notes.text, "two=b\"ab\"");
    feed(reader, "defgh");
    tick(loop);
    CHECK_TEXT(notes.text, "two=b\"ab\" five=b\"cdefg\"");
    end_silently(loop);
}

TEST(second_while_cancelled, "one that was cancelled still counts until it has run, as in asyncio")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = cora_stream_reader_new(loop, 100);
    CHECK(cora_cancel(begin(CALLBACKS, loop, cora_stream_read(reader, 5), &notes, "a")));
    begin(CALLBACKS, loop, cora_stream_read(reader, 5), &notes, "b");
    tick(loop);
    CHECK_TEXT(notes.text, "a:CancelledError b:RuntimeError");
    begin(CALLBACKS, loop, cora_stream_read(reader, 5), &notes, "c");
    feed(reader, "x");
    tick(loop);
    CHECK_TEXT(notes.text, "a:CancelledError b:RuntimeError c=b\"x\"");
    current_loop_end(loop);
}

TEST(taken_in_gap,
     "what another has taken before it runs is gone: the read that was woken waits again")
{
    for (size_t i = 0; i < READINGS; i++) {
        cora_loop loop = current_loop_new();
        struct notes notes = { "" };
        cora_stream_reader reader = reader_with(loop, 100, readings[i].first);
        char expected[100];
        if (readings[i].read == read_all)
            continue;
        snprintf(expected, sizeof expected, "b=%s", readings[i].gives);
        begin(CALLBACKS, loop, readings[i].read(reader), &notes, "a");
        feed(reader, readings[i].second);
        begin(CALLBACKS, loop, readings[i].read(reader), &notes, "b");
        ticks(loop, 2);
        CHECK_TEXT(notes.text, expected);
        feed(reader, readings[i].first);
        feed(reader, readings[i].second);
        tick(loop);
        CHECK(strstr(notes.text, "a="));
        current_loop_end(loop);
    }
}

TEST(moved_in_gap, "a search begins anew when another read has taken what it had seen")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = reader_with(loop, 100, "12345");
    begin(CALLBACKS, loop, cora_stream_readuntil(reader, cora_static("ab")), &notes, "until");
    feed(reader, "ab");
    begin(CALLBACKS, loop, cora_stream_read(reader, 5), &notes, "read");
    tick(loop);
    CHECK_TEXT(notes.text, "until=b\"ab\" read=b\"12345\"");
    current_loop_end(loop);
}

TEST(moved_while_waiting, "and so it does when that was while it waited")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = reader_with(loop, 100, "12345");
    begin(CALLBACKS, loop, cora_stream_readline(reader), &notes, "line");
    begin(CALLBACKS, loop, cora_stream_read(reader, 5), &notes, "read");
    feed(reader, "\n678");
    tick(loop);
    CHECK_TEXT(notes.text, "read=b\"12345\" line=b\"\\n\"");
    current_loop_end(loop);
}

TEST(waits_in_gap,
     "one that begins to wait in the gap is not forgotten; the woken one that would wait, "
     "too, gets the RuntimeError")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = cora_stream_reader_new(loop, 100);
    begin(CALLBACKS, loop, cora_stream_readexactly(reader, 5), &notes, "five");
    feed(reader, "ab");
    begin(CALLBACKS, loop, cora_stream_readexactly(reader, 4), &notes, "four");
    tick(loop);
    CHECK_TEXT(notes.text, "five:RuntimeError");
    feed(reader, "cd");
    tick(loop);
    CHECK_TEXT(notes.text, "five:RuntimeError four=b\"abcd\"");
    current_loop_end(loop);
}

TEST(not_started, "a read does nothing before it is started, and nothing if it is cancelled before")
{
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = reader_with(loop, 100, "abc\n");
    cora_awaitable read = cora_stream_readline(reader);
    cora_future later = cora_ensure_future(loop, read);
    CHECK_TEXT(reader_text(reader), "<StreamReader 4 bytes limit=100>");
    CHECK(cora_cancel(later));
    ticks(loop, 2);
    CHECK(cora_cancelled(later));
    CHECK_TEXT(read_of(loop, read), "b\"abc\\n\"");
    end(loop);
}

/* ---- in callbacks ---- */

static void feed_and_end(cora_args bound, cora_future done)
{
    cora_stream_reader reader = cora_arg_stream_reader(bound, 0);
    CHECK(!cora_is_error(cora_result(done)));
    CHECK_INT(cora_stream_feed_data(reader, "more", 4), 0);
    CHECK_INT(cora_stream_feed_eof(reader), 0);
    CHECK_INT(cora_stream_reader_close(reader), 0);
}

TEST(acts_in_callback, "what a read calls back may feed, end and close its reader")
{
    cora_loop loop = current_loop_new();
    cora_stream_reader reader = cora_stream_reader_new(loop, 100);
    cora_when_done(cora_stream_read(reader, 5), cora_partial(feed_and_end, reader));
    feed(reader, "x");
    ticks(loop, 3);
    CHECK_INT(cora_stream_feed_data(reader, "y", 1), CORA_ESTALE);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

/* ---- readers that are closed, and handles of nothing ---- */

/* How a closed reader, or one with nothing in it and at its end, reads. */
static void check_closed(cora_loop loop, cora_stream_reader reader)
{
    for (size_t i = 0; i < READINGS; i++)
        CHECK_TEXT(read_of(loop, readings[i].read(reader)), readings[i].at_start);
    CHECK_TEXT(read_of(loop, cora_stream_read(reader, -1)), "b\"\"");
    CHECK_TEXT(read_of(loop, cora_stream_read(reader, 0)), "b\"\"");
    CHECK_TEXT(read_of(loop, cora_stream_readexactly(reader, 0)), "b\"\"");
    CHECK_TEXT(read_of(loop, cora_stream_readexactly(reader, -1)),
               "ValueError: readexactly size can not be less than zero");
    CHECK_TEXT(read_of(loop, cora_stream_readuntil(reader, cora_static(""))),
               "ValueError: Separator should be at least one-byte string");
    CHECK(cora_stream_at_eof(reader));
}

TEST(stale, "a reader that was closed reads as at its end, for ever; it cannot be fed")
{
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = reader_with(loop, 100, "unread");
    CHECK_INT(cora_stream_reader_close(reader), 0);
    tick(loop);
    CHECK_INT(cora_live(loop), 0);
    check_closed(loop, reader);
    CHECK(cora_is_nothing(cora_stream_exception(reader)));
    CHECK_INT(cora_stream_reader_close(reader), 0);
    CHECK_INT(cora_stream_feed_data(reader, "x", 1), CORA_ESTALE);
    CHECK_INT(cora_stream_feed_eof(reader), CORA_ESTALE);
    CHECK_INT(cora_stream_set_exception(reader, spilled()), CORA_ESTALE);
    CHECK(strncmp(reader_text(reader), "<StreamReader #", 15) == 0);
    check_closed(loop, reader);
    end(loop);
}

TEST(stale_leaves_last_error, "reading from a closed reader is no failure: the last error stays")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = cora_stream_reader_new(loop, 100);
    CHECK_INT(cora_stream_reader_close(reader), 0);
    tick(loop);
    cora_set_last_error(cora_error(CORA_ELOOKUP, "earlier"));
    begin(CALLBACKS, loop, cora_stream_read(reader, 5), &notes, "read");
    CHECK(cora_stream_at_eof(reader));
    CHECK_INT(cora_stream_reader_close(reader), 0);
    CHECK_INT(cora_last_error_code(), CORA_ELOOKUP);
    tick(loop);
    CHECK_TEXT(notes.text, "read=b\"\"");
    current_loop_end(loop);
}

TEST(closed_until_next_tick,
     "what was fed before a reader was closed can be read until the next tick")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = reader_with(loop, 100, "abc");
    CHECK_INT(cora_stream_reader_close(reader), 0);
    CHECK_INT(cora_stream_reader_close(reader), 0);
    CHECK_INT(cora_stream_feed_data(reader, "x", 1), CORA_ERUNTIME);
    cora_when_done(cora_stream_read(reader, -1), cora_partial(note_has_read, &notes, "read"));
    tick(loop);
    CHECK_TEXT(notes.text, "read=b\"abc\"");
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

BOTH(closed_while_waiting, "closing ends the read that waits, of every kind, as the end does")
{
    for (size_t i = 0; i < READINGS; i++) {
        cora_loop loop = current_loop_new();
        struct notes notes = { "" };
        cora_stream_reader reader = reader_with(loop, 100, readings[i].first);
        const char *gives = readings[i].at_end ? readings[i].at_end : readings[i].at_start;
        cora_future read = begin(style, loop, readings[i].read(reader), &notes, "read");
        CHECK_INT(cora_stream_reader_close(reader), 0);
        ticks(loop, 3);
        CHECK_TEXT(outcome(read), gives);
        CHECK_INT(cora_stream_feed_eof(reader), CORA_ESTALE);
        end_silently(loop);
    }
}

BOTH(closed_in_gap,
     "a read that was woken gets its bytes though the reader is closed before it runs")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    cora_stream_reader reader = cora_stream_reader_new(loop, 100);
    begin(style, loop, cora_stream_readline(reader), &notes, "line");
    CHECK_INT(cora_stream_feed_data(reader, "abc\nrest", 8), 0);
    CHECK_INT(cora_stream_reader_close(reader), 0);
    ticks(loop, 2);
    CHECK_TEXT(notes.text, "line=b\"abc\\n\"");
    end_silently(loop);
}

BOTH(closed_and_cancelled, "a reader that is closed and whose read is cancelled is given back")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    size_t before = cora_live(loop);
    cora_stream_reader reader = cora_stream_reader_new(loop, 100);
    cora_future read = begin(style, loop, cora_stream_readline(reader), &notes, "line");
    CHECK_INT(cora_stream_reader_close(reader), 0);
    CHECK(cora_cancel(read));
    ticks(loop, 3);
    CHECK_TEXT(notes.text, "line:CancelledError");
    cora_release(read);
    tick(loop);
    CHECK_INT(cora_live(loop), before);
    end_silently(loop);
}

TEST(closed_with_loop,
     "a loop is closed with readers that hold bytes and errors, and with reads that "
     "wait, were woken, or were cancelled")
{
    cora_loop loop = current_loop_new();
    struct notes notes = { "" };
    struct reports reports;
    collect_reports(loop, &reports);
    for (int state = 0; state < 5; state++) {
        cora_stream_reader reader = reader_with(loop, 100, "abc");
        cora_awaitable until = cora_stream_readuntil(reader, cora_textf("STOP%d", state));
        cora_future read = begin(CALLBACKS, loop, until, &notes, "read");
        if (state == 1)
            feed(reader, "STOP1");
        if (state == 2)
            cora_cancel(read);
        if (state == 3)
            cora_stream_set_exception(reader, spilled());
        if (state == 4)
            cora_stream_reader_close(reader);
    }
    current_loop_end(loop);
    CHECK_TEXT(notes.text, "");
    CHECK_INT(reports.count, 0);
}

TEST(closed_loop, "a reader of a loop that is closed is closed, too")
{
    cora_loop loop = virtual_loop_new(), other;
    cora_stream_reader reader = reader_with(loop, 100, "abc");
    cora_loop_close(loop);
    other = cora_loop_new(NULL);
    check_closed(other, reader);
    CHECK_INT(cora_stream_reader_close(reader), 0);
    end(other);
}

TEST(null_handle, "every call fails with the null reader, and tells why")
{
    cora_loop loop = current_loop_new();
    cora_stream_reader null = { 0 };
    cora_set_last_error(cora_error(CORA_EMEMORY, "no stamps"));
    CHECK_INT(cora_stream_feed_data(null, "x", 1), CORA_EMEMORY);
    CHECK_INT(cora_stream_feed_eof(null), CORA_EMEMORY);
    CHECK_INT(cora_stream_set_exception(null, spilled()), CORA_EMEMORY);
    CHECK_INT(cora_stream_reader_close(null), CORA_EMEMORY);
    for (size_t i = 0; i < READINGS; i++) {
        struct notes notes = { "" };
        begin(CALLBACKS, loop, readings[i].read(null), &notes, "read");
        tick(loop);
        CHECK_TEXT(notes.text, "read:MemoryError");
    }
    end_silently(loop);
}

struct stamp {
    int value;
};

static const struct cora_object_type stamp_type = { "stamp", sizeof(struct stamp), NULL };

TEST(other_object, "the handle of something else is a TypeError")
{
    cora_loop loop = current_loop_new();
    cora_stream_reader wrong = { cora_object_new(loop, &stamp_type) };
    struct notes notes = { "" };
    CHECK_INT(cora_stream_feed_data(wrong, "x", 1), CORA_ETYPE);
    CHECK_INT(cora_stream_reader_close(wrong), CORA_ETYPE);
    begin(CALLBACKS, loop, cora_stream_read(wrong, 1), &notes, "read");
    tick(loop);
    CHECK_TEXT(notes.text, "read:TypeError");
    CHECK_INT(cora_object_close(wrong.bits, &stamp_type), 0);
    end_silently(loop);
}

TEST(other_loop,
     "a read that must wait in another loop is a RuntimeError, one that need not is none")
{
    cora_loop loop = virtual_loop_new(), other = cora_loop_new(NULL);
    cora_stream_reader reader = reader_with(loop, 100, "ab");
    CHECK_TEXT(read_of(other, cora_stream_read(reader, 2)), "b\"ab\"");
    cora_value error = cora_run_until_complete(other, cora_stream_read(reader, 2));
    CHECK_INT(cora_error_code(error), CORA_ERUNTIME);
    CHECK(says(error, "is bound to a different event loop"));
    CHECK_INT(cora_stream_reader_close(reader), 0);
    tick(loop);
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(other);
    end(loop);
}

static void *use_elsewhere(void *argument)
{
    cora_stream_reader reader = *(cora_stream_reader *)argument;
    cora_loop loop = cora_loop_new(NULL);
    CHECK_INT(cora_stream_feed_data(reader, "x", 1), CORA_EWRONGTHREAD);
    CHECK_INT(cora_stream_feed_eof(reader), CORA_EWRONGTHREAD);
    CHECK_INT(cora_stream_reader_close(reader), CORA_EWRONGTHREAD);
    CHECK_INT(cora_error_code(cora_run_until_complete(loop, cora_stream_read(reader, 1))),
              CORA_EWRONGTHREAD);
    cora_loop_close(loop);
    return NULL;
}

TEST(other_thread, "another thread can do nothing with a reader")
{
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = reader_with(loop, 100, "ab");
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, use_elsewhere, &reader), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_TEXT(rest_of(loop, reader), "b\"ab\"");
    end(loop);
}

/* ---- much ---- */

struct dice {
    uint64_t state;
};

static unsigned roll(struct dice *dice, unsigned sides)
{
    dice->state = dice->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)((dice->state >> 33) % sides);
}

TEST(all_bytes_in_order,
     "bytes come out as they went in, through buffers that grow, move and empty")
{
    cora_loop loop = virtual_loop_new();
    cora_stream_reader reader = cora_stream_reader_new(loop, CORA_STREAM_LIMIT);
    struct dice dice = { 7 };
    unsigned char bytes[5000], fed = 0, read = 0;
    size_t there = 0;
    for (int i = harness_scale(20000); i > 0; i--) {
        size_t size = roll(&dice, roll(&dice, 4) ? 40 : sizeof bytes);
        bool feeds = there < 60000 && roll(&dice, 2);
        for (size_t k = 0; feeds && k < size; k++)
            bytes[k] = fed++;
        if (feeds) {
            CHECK_INT(cora_stream_feed_data(reader, bytes, size), 0);
            there += size;
        } else if (size <= there) {
            size_t got = 0;
            const unsigned char *came = cora_as_bytes(
                cora_run_until_complete(loop, cora_stream_readexactly(reader, (int64_t)size)),
                &got);
            CHECK_INT(got, size);
            for (size_t k = 0; k < size; k++)
                CHECK(came[k] == read++);
            there -= size;
        }
    }
    CHECK_INT(cora_stream_reader_close(reader), 0);
    tick(loop);
    end(loop);
}

TEST(no_rescan,
     "a search goes on where it was: a separator that comes byte by byte takes no square time")
{
    cora_loop loop = current_loop_new();
    cora_stream_reader reader = cora_stream_reader_new(loop, SIZE_MAX);
    struct notes notes = { "" };
    int count = harness_scale(200000);
    double before = harness_processor_time();
    cora_future read =
        begin(CALLBACKS, loop, cora_stream_readuntil(reader, cora_static("ab")), &notes, "");
    for (int i = 0; i < count; i++) {
        feed(reader, "a");
        tick(loop);
    }
    feed(reader, "b");
    tick(loop);
    size_t size = 0;
    cora_as_bytes(cora_result(read), &size);
    CHECK_INT(size, count + 1);
    CHECK(harness_processor_time() - before < 2);
    end_silently(loop);
}

TEST(gives_memory_back,
     "readers that were full and are empty again hold nothing: a second run of the same takes no "
     "more memory")
{
    cora_loop loop = virtual_loop_new();
    size_t size = (size_t)8 << 20;
    char *much = calloc(1, size);
    long first = 0;
    CHECK(much);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 10; i++) {
            cora_stream_reader reader = cora_stream_reader_new(loop, CORA_STREAM_LIMIT);
            CHECK_INT(cora_stream_feed_data(reader, much, size), 0);
            cora_run_until_complete(loop, cora_stream_read(reader, (int64_t)size));
            tick(loop);
        }
        first = round == 0 ? resident_bytes() : first;
    }
    CHECK(resident_bytes() - first < (long)size);
    free(much);
    end(loop);
}
