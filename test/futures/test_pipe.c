/*
 * Pipes as something to await: a chute between two rooms of a bakery. First a conversation in
 * callbacks, and the same in steps on streams; then what is refused, cancelled, or awaited by
 * nobody. What pipes do as transports is in test_pipe_transport.c.
 */
#include "coroutines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>

struct chute {
    int in, out;
};

static struct chute chute_new(void)
{
    int ends[2];
    CHECK_INT(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    return (struct chute){ ends[0], ends[1] };
}

static bool is_open(int descriptor)
{
    return fcntl(descriptor, F_GETFD) >= 0;
}

/* Whether nobody has the other end of what this one reads from. */
static bool writer_gone(int descriptor)
{
    char byte;
    return read(descriptor, &byte, 1) == 0;
}

/* ---- a baker: the protocol of a pipe, and what has come of an operation ---- */

struct baker {
    struct notes notes;
    int lost, dropped, ended, code;
    cora_transport transport; /* that an operation has ended with */
    cora_future cancels_when_made;
};

static void baker_made(void *self, cora_transport transport)
{
    struct baker *baker = self;
    add_note(&baker->notes, "made");
    (void)transport;
    if (!cora_is_null(baker->cancels_when_made))
        CHECK(cora_cancel(baker->cancels_when_made));
}

static void baker_data(void *self, cora_transport transport, const void *bytes, size_t size)
{
    char text[100];
    (void)transport;
    snprintf(text, sizeof text, "%.*s", (int)size, (const char *)bytes);
    add_note(&((struct baker *)self)->notes, text);
}

static void baker_lost(void *self, cora_transport transport, cora_value error)
{
    struct baker *baker = self;
    (void)transport, (void)error;
    baker->lost++;
    add_note(&baker->notes, "lost");
}

static void baker_drop(void *self)
{
    ((struct baker *)self)->dropped++;
}

static const struct cora_protocol_type baker_type = { .name = "Baker",
                                                      .connection_made = baker_made,
                                                      .data_received = baker_data,
                                                      .connection_lost = baker_lost,
                                                      .drop = baker_drop };

/* A factory, bound to a baker. */
static cora_protocol baker_new(cora_args bound)
{
    return (cora_protocol){ &baker_type, cora_arg(bound, 0, struct baker *) };
}

static void on_ended(cora_args bound, cora_future done)
{
    struct baker *baker = cora_arg(bound, 0, struct baker *);
    cora_value result = cora_result(done);
    baker->ended++;
    add_note(&baker->notes, "ended");
    baker->code = cora_error_code(result);
    if (result.type == &cora_type_transport)
        baker->transport = cora_as_transport(result);
}

static cora_future begin(cora_awaitable operation, struct baker *baker)
{
    cora_future future = cora_when_done(operation, cora_partial(on_ended, baker));
    CHECK(!cora_is_null(future));
    return future;
}

static void run_until(cora_loop loop, const int *flag)
{
    while (!*flag)
        tick(loop);
}

/* ---- in callbacks ---- */

static void on_chute_open(cora_args bound, cora_future done)
{
    cora_transport transport = cora_as_transport(cora_result(done));
    (void)bound;
    CHECK_INT(cora_transport_write(transport, "six-loaves", 10), 0);
    CHECK_INT(cora_transport_write_eof(transport), 0);
}

TEST(callbacks, "callbacks connect to both ends of a pipe, write to it, and read what was written")
{
    cora_loop loop = current_loop_new();
    struct chute chute = chute_new();
    struct baker above = { .lost = 0 }, below = { .lost = 0 };
    begin(cora_connect_read_pipe(chute.in, cora_partial(baker_new, &below)), &below);
    cora_when_done(cora_connect_write_pipe(chute.out, cora_partial(baker_new, &above)),
                   cora_partial(on_chute_open));
    run_until(loop, &below.lost);
    CHECK_TEXT(below.notes.text, "made ended six-loaves lost");
    CHECK_TEXT(above.notes.text, "made lost");
    CHECK_INT(above.dropped, 1);
    current_loop_end(loop);
}

/* ---- in steps, on streams ---- */

struct rooms {
    struct chute chute;
    struct cora_streams below, above;
    char heard[100];
};

#define ROOMS(self) (*cora_locals(self, struct rooms *))

static cora_next hear_line(cora_coro self);

static cora_next heard_line(cora_coro self)
{
    struct rooms *rooms = ROOMS(self);
    size_t size;
    const char *line = cora_as_bytes(cora_got(self), &size);
    strncat(rooms->heard, line, size);
    if (size > 0)
        return hear_line(self);
    CHECK_INT(cora_stream_reader_close(rooms->below.reader), 0);
    return cora_return(self, "heard");
}

static cora_next hear_line(cora_coro self)
{
    return cora_await(self, cora_stream_readline(ROOMS(self)->below.reader), heard_line);
}

static cora_next drained(cora_coro self)
{
    CHECK_INT(cora_stream_close(ROOMS(self)->above.writer), 0);
    return hear_line(self);
}

static cora_next above_open(cora_coro self)
{
    struct rooms *rooms = ROOMS(self);
    rooms->above = cora_as_streams(cora_got(self));
    CHECK_INT(cora_stream_write(rooms->above.writer, "six loaves\ntwo cakes\n", 21), 0);
    return cora_await(self, cora_stream_drain(rooms->above.writer), drained);
}

static cora_next below_open(cora_coro self)
{
    struct rooms *rooms = ROOMS(self);
    rooms->below = cora_as_streams(cora_got(self));
    return cora_await(self, cora_open_write_pipe(rooms->chute.out), above_open);
}

static cora_next open_below(cora_coro self)
{
    return cora_await(self, cora_open_read_pipe(ROOMS(self)->chute.in, 0), below_open);
}

TEST(steps, "steps open both ends of a pipe as streams, write lines and read them")
{
    cora_loop loop = current_loop_new();
    struct rooms rooms = { .chute = chute_new() }, *place = &rooms;
    cora_value ended =
        cora_run_until_complete(loop, cora_coroutine(open_below, struct rooms *, place));
    CHECK_TEXT(cora_as_text(ended), "heard");
    CHECK_TEXT(rooms.heard, "six loaves\ntwo cakes\n");
    ticks(loop, 3);
    CHECK(!is_open(rooms.chute.in) && !is_open(rooms.chute.out));
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

static struct cora_streams opened(cora_loop loop, cora_awaitable opening)
{
    return cora_as_streams(cora_run_until_complete(loop, opening));
}

TEST(reads_all_of_a_child,
     "a reader with a limit of 1 reads all that a child writes before it ends",
     "test_streams.StreamTests.test_read_all_from_pipe_reader")
{
    cora_loop loop = current_loop_new();
    struct chute chute = chute_new();
    char text[50];
    pid_t child = fork();
    if (child == 0)
        _exit(write(chute.out, "cake", 4) == 4 ? 0 : 1);
    close(chute.out);
    struct cora_streams streams = opened(loop, cora_open_read_pipe(chute.in, 1));
    cora_value all = cora_run_until_complete(loop, cora_stream_read(streams.reader, -1));
    cora_print(all, text, sizeof text);
    CHECK_TEXT(text, "b\"cake\"");
    CHECK_INT(cora_stream_close(streams.writer), 0);
    CHECK_INT(waitpid(child, NULL, 0), child);
    current_loop_end(loop);
}

TEST(drain_of_broken_pipe, "a drain that waits when the reader goes is a BrokenPipeError")
{
    cora_loop loop = current_loop_new();
    struct chute chute = chute_new();
    struct baker baker = { .lost = 0 };
    static char flour[200000];
    struct cora_streams streams = opened(loop, cora_open_write_pipe(chute.out));
    CHECK_INT(cora_stream_write(streams.writer, flour, sizeof flour), 0);
    begin(cora_stream_drain(streams.writer), &baker);
    tick(loop);
    CHECK_INT(baker.ended, 0);
    close(chute.in);
    run_until(loop, &baker.ended);
    CHECK_INT(baker.code, -EPIPE);
    CHECK(cora_stream_is_closing(streams.writer));
    CHECK_INT(cora_stream_close(streams.writer), 0);
    current_loop_end(loop);
}

TEST(streams_go_one_way, "the writer of a pipe that is read from cannot write")
{
    cora_loop loop = current_loop_new();
    struct chute chute = chute_new();
    struct cora_streams streams = opened(loop, cora_open_read_pipe(chute.in, 0));
    CHECK_INT(cora_stream_write(streams.writer, "cake", 4), CORA_ERUNTIME);
    CHECK(!cora_stream_can_write_eof(streams.writer));
    CHECK_INT(cora_stream_close(streams.writer), 0);
    ticks(loop, 2);
    CHECK(!is_open(chute.in));
    close(chute.out);
    current_loop_end(loop);
}

/* ---- what is refused ---- */

TEST(refuses_files, "a file is a ValueError when it is awaited, and stays the caller's")
{
    cora_loop loop = current_loop_new();
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    struct baker baker = { .lost = 0 };
    cora_awaitable refused[4];
    for (int i = 0; i < 4; i++) {
        refused[0] = cora_connect_read_pipe(file, cora_partial(baker_new, &baker));
        refused[1] = cora_connect_write_pipe(file, cora_partial(baker_new, &baker));
        refused[2] = cora_open_read_pipe(file, 0);
        refused[3] = cora_open_write_pipe(file);
        CHECK(cora_error_is(cora_run_until_complete(loop, refused[i]), CORA_EVALUE));
    }
    CHECK_INT(baker.dropped, 2);
    CHECK_INT(close(file), 0);
    cora_drop_temporaries();
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

TEST(never_awaited, "a pipe that nobody awaits stays the caller's, and its factory is not called")
{
    cora_loop loop = current_loop_new();
    struct chute chute = chute_new();
    int drops = 0;
    cora_value counting = cora_own(&drops, &counted);
    (void)cora_connect_read_pipe(chute.in, cora_partial(baker_new, counting));
    (void)cora_connect_write_pipe(chute.out, cora_partial(baker_new, counting));
    (void)cora_open_read_pipe(chute.in, 0);
    (void)cora_open_write_pipe(chute.out);
    tick(loop);
    cora_drop_temporaries();
    CHECK_INT(drops, 1);
    CHECK_INT(cora_live(loop), 0);
    CHECK_INT(close(chute.in), 0);
    CHECK_INT(close(chute.out), 0);
    current_loop_end(loop);
}

TEST(no_loop, "a pipe without a loop ends with a RuntimeError")
{
    struct chute chute = chute_new();
    cora_awaitable nowhere = cora_open_read_pipe(chute.in, 0);
    cora_loop loop = current_loop_new();
    CHECK(cora_error_is(cora_run_until_complete(loop, nowhere), CORA_ERUNTIME));
    close(chute.in);
    close(chute.out);
    current_loop_end(loop);
}

/* ---- cancelling ---- */

TEST(cancel_before_made, "one that is cancelled before connection_made closes the pipe")
{
    cora_loop loop = current_loop_new();
    struct chute chute = chute_new();
    struct baker baker = { .lost = 0 };
    cora_future future =
        begin(cora_connect_write_pipe(chute.out, cora_partial(baker_new, &baker)), &baker);
    CHECK(cora_cancel(future));
    ticks(loop, 3);
    CHECK_INT(baker.code, CORA_ECANCELLED);
    CHECK_TEXT(baker.notes.text, "made ended lost");
    CHECK(writer_gone(chute.in));
    close(chute.in);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

TEST(cancel_when_made, "one that is cancelled in connection_made closes the pipe")
{
    cora_loop loop = current_loop_new();
    struct chute chute = chute_new();
    struct baker baker = { .lost = 0 };
    baker.cancels_when_made =
        begin(cora_connect_write_pipe(chute.out, cora_partial(baker_new, &baker)), &baker);
    ticks(loop, 3);
    CHECK_INT(baker.code, CORA_ECANCELLED);
    CHECK_INT(baker.lost, 1);
    CHECK(writer_gone(chute.in));
    close(chute.in);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

TEST(cancel_streams, "a stream over a pipe that is cancelled at any tick closes it, or is there")
{
    for (int ticks_before = 0; ticks_before < 4; ticks_before++) {
        cora_loop loop = current_loop_new();
        struct chute chute = chute_new();
        struct baker baker = { .lost = 0 };
        cora_future future = begin(cora_open_write_pipe(chute.out), &baker);
        ticks(loop, ticks_before);
        bool cancelled = cora_cancel(future);
        ticks(loop, 4);
        CHECK_INT(baker.ended, 1);
        CHECK_INT(baker.code, cancelled ? CORA_ECANCELLED : 0);
        CHECK_INT(is_open(chute.out), !cancelled);
        close(chute.in);
        current_loop_end(loop);
    }
}

TEST(loop_closed, "a loop that is closed while pipes are awaited leaves nothing")
{
    for (int ticks_before = 0; ticks_before < 3; ticks_before++) {
        cora_loop loop = current_loop_new();
        struct chute chute = chute_new();
        struct baker baker = { .lost = 0 };
        begin(cora_connect_read_pipe(chute.in, cora_partial(baker_new, &baker)), &baker);
        begin(cora_open_write_pipe(chute.out), &baker);
        ticks(loop, ticks_before);
        current_loop_end(loop);
        CHECK(!is_open(chute.in) && !is_open(chute.out));
        CHECK_INT(baker.dropped, 1);
    }
}
