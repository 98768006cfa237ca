/*
 * Pipes as transports: first a pipe as a program uses it, then what is accepted; read pipes, how
 * they read and end; write pipes, how they write, hear of their peer and end; terminals; and that
 * no SIGPIPE is raised. The other end is a plain descriptor that the test plays. What pipes share
 * with sockets is in test_transport.c.
 */
#include "network_helpers.h"

#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <termios.h>
#include <time.h>

/* ---- system calls that can be told to fail ---- */

/* Of one descriptor; of all others they do as always. */
static struct {
    int descriptor;
    int read_error, write_error; /* errno to fail with; 0: none */
    int most;                    /* this many bytes are taken at once; -1: as many as can be */
    bool is_old;                 /* a system that cannot be asked to raise no SIGPIPE */
    int reads, writes, masks;    /* how often it was called */
    size_t read_size, asked;     /* what was asked for last */
} calls = { .descriptor = -1, .most = -1 };

static void calls_on(int descriptor)
{
    memset(&calls, 0, sizeof calls);
    calls.descriptor = descriptor;
    calls.most = -1;
}

static void calls_end(void)
{
    calls_on(-1);
}

/* Nothing can be written by now, so that all is kept. */
static void stop_writes(int descriptor)
{
    calls_on(descriptor);
    calls.write_error = EAGAIN;
}

INSTEAD ssize_t read(int descriptor, void *bytes, size_t size)
{
    static ssize_t (*next)(int, void *, size_t);
    if (!next)
        next_definition("read", &next, sizeof next);
    if (descriptor != calls.descriptor)
        return next(descriptor, bytes, size);
    calls.reads++;
    calls.read_size = size;
    errno = calls.read_error;
    return calls.read_error ? -1 : next(descriptor, bytes, size);
}

/* Whether a write goes on, to so many bytes at most; else it returns this. */
static bool write_begins(int descriptor, size_t size, ssize_t *ret_written)
{
    if (descriptor != calls.descriptor)
        return true;
    calls.writes++;
    calls.asked = size;
    errno = calls.write_error;
    *ret_written = calls.write_error ? -1 : 0;
    return !calls.write_error && calls.most != 0;
}

/* The chunks that go; at most 64. */
static size_t chunks_fit(int descriptor, const struct iovec *chunks, size_t count,
                         struct iovec fitting[64])
{
    size_t used = 0, left = SIZE_MAX;
    if (descriptor == calls.descriptor && calls.most >= 0)
        left = (size_t)calls.most;
    for (; used < count && used < 64 && left > 0; used++) {
        fitting[used] = chunks[used];
        if (fitting[used].iov_len > left)
            fitting[used].iov_len = left;
        left -= fitting[used].iov_len;
    }
    return used;
}

static size_t chunks_size(const struct iovec *chunks, int count)
{
    size_t size = 0;
    while (count > 0)
        size += chunks[--count].iov_len;
    return size;
}

INSTEAD ssize_t writev(int descriptor, const struct iovec *chunks, int count)
{
    static ssize_t (*next)(int, const struct iovec *, int);
    struct iovec fitting[64];
    ssize_t written;
    if (!next)
        next_definition("writev", &next, sizeof next);
    if (!write_begins(descriptor, chunks_size(chunks, count), &written))
        return written;
    return next(descriptor, fitting, (int)chunks_fit(descriptor, chunks, (size_t)count, fitting));
}

INSTEAD ssize_t pwritev2(int descriptor, const struct iovec *chunks, int count, off_t offset,
                         int flags)
{
    static ssize_t (*next)(int, const struct iovec *, int, off_t, int);
    struct iovec fitting[64];
    ssize_t written;
    if (!next)
        next_definition("pwritev2", &next, sizeof next);
    if (descriptor == calls.descriptor && calls.is_old) {
        errno = EOPNOTSUPP;
        return -1;
    }
    if (!write_begins(descriptor, chunks_size(chunks, count), &written))
        return written;
    return next(descriptor, fitting, (int)chunks_fit(descriptor, chunks, (size_t)count, fitting),
                offset, flags);
}

INSTEAD int pthread_sigmask(int how, const sigset_t *set, sigset_t *before)
{
    static int (*next)(int, const sigset_t *, sigset_t *);
    if (!next)
        next_definition("pthread_sigmask", &next, sizeof next);
    calls.masks++;
    return next(how, set, before);
}

/* ---- pipes ---- */

/* The connection gets the near end, the test plays the far one. */
static struct pair read_pipe_new(void)
{
    int ends[2];
    CHECK_INT(pipe2(ends, O_NONBLOCK), 0);
    return (struct pair){ .near = ends[0], .far = ends[1] };
}

static struct pair write_pipe_new(void)
{
    int ends[2];
    CHECK_INT(pipe2(ends, O_NONBLOCK), 0);
    return (struct pair){ .near = ends[1], .far = ends[0] };
}

/* It has been told that it is made; the log begins after that. */
static void begin_log(cora_loop loop, struct keeper *keeper)
{
    CHECK(!cora_is_null(keeper->transport));
    keeper->loop = loop;
    run_tick(loop);
    CHECK_TEXT(keeper->log, "made");
    keeper->log[0] = 0;
}

static void reads_from(cora_loop loop, struct keeper *keeper, int descriptor)
{
    keeper->transport = cora_attach_read_pipe(loop, descriptor, cora_partial(keeper_new, keeper));
    begin_log(loop, keeper);
}

static void writes_to(cora_loop loop, struct keeper *keeper, int descriptor)
{
    keeper->transport = cora_attach_write_pipe(loop, descriptor, cora_partial(keeper_new, keeper));
    begin_log(loop, keeper);
}

static int write_text(cora_transport transport, const char *text)
{
    return cora_transport_write(transport, text, strlen(text));
}

/* What a transport prints, behind its descriptor and without the bracket. */
static const char *shown(cora_transport transport)
{
    static char text[200];
    cora_transport_print(transport, text, sizeof text);
    char *at = strstr(text, " fd=");
    if (!at || strstr(text, "closing"))
        return text;
    text[strlen(text) - 1] = 0;
    return strchr(at + 1, ' ') + 1;
}

/* ---- as a program uses them ---- */

struct listener {
    char heard[50];
    bool over;
};

static void hear(void *self, cora_transport transport, const void *bytes, size_t size)
{
    struct listener *listener = self;
    (void)transport;
    strncat(listener->heard, bytes, size);
}

static void hear_end(void *self, cora_transport transport, cora_value error)
{
    struct listener *listener = self;
    (void)transport, (void)error;
    listener->over = true;
}

static const struct cora_protocol_type listener_type = { .name = "Listener",
                                                         .data_received = hear,
                                                         .connection_lost = hear_end };
static const struct cora_protocol_type talker_type = { .name = "Talker" };

static cora_protocol listener_new(cora_args bound)
{
    return (cora_protocol){ &listener_type, cora_arg(bound, 0, struct listener *) };
}

static cora_protocol talker_new(cora_args bound)
{
    (void)bound;
    return (cora_protocol){ &talker_type, NULL };
}

TEST(through_a_pipe, "what is written to one end of a pipe is received at the other")
{
    cora_loop loop = cora_loop_new(NULL);
    struct listener listener = { .over = false };
    int ends[2];
    CHECK_INT(pipe2(ends, O_CLOEXEC), 0);
    cora_attach_read_pipe(loop, ends[0], cora_partial(listener_new, &listener));
    cora_transport out = cora_attach_write_pipe(loop, ends[1], cora_partial(talker_new));
    CHECK_INT(cora_transport_write(out, "two eggs, ", 10), 0);
    CHECK_INT(cora_transport_write(out, "a loaf", 6), 0);
    CHECK_INT(cora_transport_write_eof(out), 0);
    RUN_UNTIL(loop, listener.over);
    CHECK_TEXT(listener.heard, "two eggs, a loaf");
    CHECK(!is_open(ends[0]) && !is_open(ends[1]));
    cora_loop_close(loop);
}

/* ---- what is accepted ---- */

TEST(made_in_next_tick, "connection_made comes in the next tick, and before what is there already",
     "test_unix_events.UnixReadPipeTransportTests.test_ctor",
     "test_unix_events.UnixWritePipeTransportTests.test_ctor")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair in = read_pipe_new(), out = write_pipe_new();
    struct keeper reader = { 0 }, writer = { 0 };
    put(in.far, "mail");
    reader.transport = cora_attach_read_pipe(loop, in.near, cora_partial(keeper_new, &reader));
    writer.transport = cora_attach_write_pipe(loop, out.near, cora_partial(keeper_new, &writer));
    CHECK_TEXT(reader.log, "");
    CHECK_TEXT(writer.log, "");
    CHECK_TEXT(shown(reader.transport), "idle");
    run_tick(loop);
    CHECK_TEXT(reader.log, "made");
    CHECK_TEXT(writer.log, "made");
    CHECK_TEXT(shown(reader.transport), "polling");
    run_tick(loop);
    CHECK_TEXT(reader.log, "made data:mail");
    cora_loop_close(loop);
    close(in.far);
    close(out.far);
}

static void refuses(int descriptor, int code)
{
    cora_loop loop = cora_loop_new(NULL);
    struct keeper keeper = { 0 };
    CHECK(cora_is_null(cora_attach_read_pipe(loop, descriptor, cora_partial(keeper_new, &keeper))));
    CHECK_INT(cora_last_error_code(), code);
    CHECK(
        cora_is_null(cora_attach_write_pipe(loop, descriptor, cora_partial(keeper_new, &keeper))));
    CHECK_INT(cora_last_error_code(), code);
    CHECK_INT(keeper.dropped, 2);
    run_tick(loop);
    CHECK_TEXT(keeper.log, "");
    cora_loop_close(loop);
}

TEST(refuses_files, "a file is a ValueError, and stays the caller's, as it was")
{
    int file = open("/proc/self/exe", O_RDONLY);
    refuses(file, CORA_EVALUE);
    CHECK(!(fcntl(file, F_GETFL) & O_NONBLOCK));
    close(file);
}

TEST(refuses_folders, "a folder is a ValueError, and stays the caller's")
{
    int folder = open("/", O_RDONLY | O_DIRECTORY);
    refuses(folder, CORA_EVALUE);
    CHECK(is_open(folder));
    close(folder);
}

TEST(refuses_closed, "a descriptor that is not open is its error of the system's")
{
    refuses(900, -EBADF);
}

TEST(refuses_watched, "a descriptor that is watched already is a RuntimeError")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper reader = { 0 }, writer = { 0 };
    reads_from(loop, &reader, pair.near);
    CHECK(cora_is_null(cora_attach_write_pipe(loop, pair.near, cora_partial(keeper_new, &writer))));
    CHECK_INT(cora_last_error_code(), CORA_ERUNTIME);
    cora_loop_close(loop);
    close(pair.far);
}

static cora_protocol no_protocol(cora_args bound)
{
    (void)bound;
    cora_fail(cora_error(CORA_ELOOKUP, "no such berth"));
    return (cora_protocol){ 0 };
}

TEST(failing_factory, "the error of the factory is the error, and the pipe stays the caller's")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = read_pipe_new();
    CHECK(cora_is_null(cora_attach_read_pipe(loop, pair.near, cora_partial(no_protocol))));
    CHECK_INT(cora_last_error_code(), CORA_ELOOKUP);
    CHECK_INT(close(pair.near), 0);
    close(pair.far);
    cora_loop_close(loop);
}

TEST(pipes_get_ready, "a pipe is made non-blocking and is not inherited")
{
    cora_loop loop = cora_loop_new(NULL);
    struct keeper keeper = { 0 };
    int ends[2];
    CHECK_INT(pipe(ends), 0);
    reads_from(loop, &keeper, ends[0]);
    CHECK(fcntl(ends[0], F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(ends[0], F_GETFD) & FD_CLOEXEC);
    cora_loop_close(loop);
    close(ends[1]);
}

TEST(standard_input_stays, "standard input is inherited still, so that programs start with one")
{
    cora_loop loop = cora_loop_new(NULL);
    struct keeper keeper = { 0 };
    struct pair pair = read_pipe_new();
    int before = dup(STDIN_FILENO);
    CHECK_INT(dup2(pair.near, STDIN_FILENO), STDIN_FILENO);
    close(pair.near);
    reads_from(loop, &keeper, STDIN_FILENO);
    CHECK(fcntl(STDIN_FILENO, F_GETFL) & O_NONBLOCK);
    CHECK(!(fcntl(STDIN_FILENO, F_GETFD) & FD_CLOEXEC));
    put(pair.far, "mail");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "data:mail");
    cora_loop_close(loop);
    close(pair.far);
    CHECK_INT(dup2(before, STDIN_FILENO), STDIN_FILENO);
    close(before);
}

TEST(extra_info, "the extra info of a pipe is its descriptor, and nothing else is known",
     "test_events.EventLoopTestsMixin.test_read_pipe")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair in = read_pipe_new(), out = write_pipe_new();
    struct keeper reader = { 0 }, writer = { 0 };
    reads_from(loop, &reader, in.near);
    writes_to(loop, &writer, out.near);
    cora_value none = cora_nothing();
    CHECK_INT(cora_as_int(cora_transport_get_extra_info(reader.transport, "pipe", none)), in.near);
    CHECK_INT(cora_as_int(cora_transport_get_extra_info(writer.transport, "pipe", none)), out.near);
    CHECK(cora_is_nothing(cora_transport_get_extra_info(reader.transport, "socket", none)));
    CHECK(cora_is_nothing(cora_transport_get_extra_info(reader.transport, "peername", none)));
    cora_loop_close(loop);
    close(in.far);
    close(out.far);
}

TEST(printed, "pipes print what they wait for")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair in = read_pipe_new(), out = write_pipe_new();
    struct keeper reader = { 0 }, writer = { 0 };
    char text[100], expected[100];
    reads_from(loop, &reader, in.near);
    writes_to(loop, &writer, out.near);
    cora_transport_print(reader.transport, text, sizeof text);
    snprintf(expected, sizeof expected, "<ReadPipeTransport fd=%d polling>", in.near);
    CHECK_TEXT(text, expected);
    cora_transport_print(writer.transport, text, sizeof text);
    snprintf(expected, sizeof expected, "<WritePipeTransport fd=%d idle bufsize=0>", out.near);
    CHECK_TEXT(text, expected);
    CHECK_INT(cora_transport_close(reader.transport), 0);
    cora_transport_print(reader.transport, text, sizeof text);
    snprintf(expected, sizeof expected, "<ReadPipeTransport closing fd=%d>", in.near);
    CHECK_TEXT(text, expected);
    cora_loop_close(loop);
    close(in.far);
    close(out.far);
}

TEST(loop_closed_with_pipes, "pipes go with their loop, without connection_lost; they still print",
     "test_events.EventLoopTestsMixin.test_unclosed_pipe_transport")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair in = read_pipe_new(), out = write_pipe_new();
    struct keeper reader = { 0 }, writer = { 0 };
    char text[100];
    reads_from(loop, &reader, in.near);
    writes_to(loop, &writer, out.near);
    stop_writes(out.near);
    CHECK_INT(write_text(writer.transport, "crates"), 0);
    calls_end();
    cora_loop_close(loop);
    CHECK_TEXT(reader.log, "");
    CHECK_TEXT(writer.log, "");
    CHECK_INT(reader.dropped, 1);
    CHECK_INT(writer.dropped, 1);
    CHECK(!is_open(in.near) && !is_open(out.near));
    CHECK(cora_transport_print(reader.transport, text, sizeof text) > 0);
    CHECK(cora_transport_print(writer.transport, text, sizeof text) > 0);
    close(in.far);
    close(out.far);
}

/* ---- read pipes ---- */

TEST(read_pipe, "bytes are received as they come; the end is told, then connection_lost",
     "test_events.EventLoopTestsMixin.test_read_pipe")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = read_pipe_new();
    struct keeper keeper = { 0 };
    reads_from(loop, &keeper, pair.near);
    put(pair.far, "1");
    RUN_UNTIL(loop, keeper.received == 1);
    put(pair.far, "2345");
    RUN_UNTIL(loop, keeper.received == 5);
    close(pair.far);
    RUN_UNTIL(loop, keeper.lost);
    CHECK_TEXT(keeper.log, "data:1 data:2345 eof lost");
    CHECK_INT(keeper.dropped, 1);
    CHECK(!is_open(pair.near));
    cora_loop_close(loop);
}

TEST(reads_much, "one read asks for 256 KiB",
     "test_unix_events.UnixReadPipeTransportTests.test__read_ready")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = read_pipe_new();
    struct keeper keeper = { 0 };
    static char block[200000];
    CHECK(fcntl(pair.far, F_SETPIPE_SZ, 1 << 18) >= 0);
    reads_from(loop, &keeper, pair.near);
    calls_on(pair.near);
    CHECK_INT(write(pair.far, block, sizeof block), sizeof block);
    run_tick(loop);
    CHECK_INT(calls.reads, 1);
    CHECK_INT(calls.read_size, 256 * 1024);
    CHECK_TEXT(keeper.log, "data:200000");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(end_in_next_tick,
     "the end stops the reading at once; the two last callbacks come a tick later",
     "test_unix_events.UnixReadPipeTransportTests.test__read_ready_eof")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = read_pipe_new();
    struct keeper keeper = { 0 };
    reads_from(loop, &keeper, pair.near);
    close(pair.far);
    run_tick(loop);
    CHECK_TEXT(keeper.log, "");
    CHECK(cora_transport_is_closing(keeper.transport));
    CHECK(!cora_transport_is_reading(keeper.transport));
    note_soon(&keeper);
    run_tick(loop);
    CHECK_TEXT(keeper.log, "eof lost soon");
    cora_loop_close(loop);
}

TEST(end_cannot_be_kept_open,
     "a protocol that would stay open at the end loses its pipe all the same",
     "test_unix_events.UnixReadPipeTransportTests.test__read_ready_eof")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = read_pipe_new();
    struct keeper keeper = { .keeps_open = true };
    reads_from(loop, &keeper, pair.near);
    close(pair.far);
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "eof lost");
    cora_loop_close(loop);
}

TEST(closed_at_the_end, "closing in eof_received changes nothing")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = read_pipe_new();
    struct keeper keeper = { .when = ENDED, .act = abort_own };
    reads_from(loop, &keeper, pair.near);
    close(pair.far);
    run_ticks(loop, 3);
    CHECK_TEXT(keeper.log, "eof lost");
    cora_loop_close(loop);
}

static void detach_own(struct keeper *keeper)
{
    CHECK_INT(cora_loop_detach(keeper->loop), 0);
}

TEST(detached_at_the_end, "a guest that is detached in eof_received is told nothing more")
{
    struct ev_loop *host = host_new();
    cora_loop loop = cora_loop_attach(host, NULL);
    struct pair pair = read_pipe_new();
    struct keeper keeper = { .loop = loop, .when = ENDED, .act = detach_own };
    keeper.transport = cora_attach_read_pipe(loop, pair.near, cora_partial(keeper_new, &keeper));
    close(pair.far);
    ev_run(host, 0);
    CHECK_TEXT(keeper.log, "made eof");
    CHECK_INT(keeper.dropped, 1);
    CHECK(!is_open(pair.near));
    ev_loop_destroy(host);
}

TEST(failing_at_the_end, "an eof_received that fails is reported, and connection_lost follows")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = read_pipe_new();
    struct keeper keeper = { 0 };
    struct reports reports = { 0 };
    reports_to(loop, &reports);
    reads_from(loop, &keeper, pair.near);
    keeper_will_fail(&keeper, ENDED, CORA_ELOOKUP);
    close(pair.far);
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "eof lost");
    CHECK_TEXT(reports.message, "Exception in callback eof_received()");
    CHECK_INT(reports.count, 1);
    cora_loop_close(loop);
}

TEST(interrupted_at_the_end, "a run that ends in eof_received leaves connection_lost to the next")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = read_pipe_new();
    struct keeper keeper = { 0 };
    reads_from(loop, &keeper, pair.near);
    keeper_will_fail(&keeper, ENDED, CORA_ESYSTEMEXIT);
    close(pair.far);
    run_tick(loop);
    CHECK_INT(cora_stop(loop), 0);
    CHECK_INT(cora_run_forever(loop), CORA_ESYSTEMEXIT);
    CHECK_TEXT(keeper.log, "eof");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "eof lost");
    cora_loop_close(loop);
}

TEST(read_would_block, "a read that would block is not an error, and tells nothing",
     "test_unix_events.UnixReadPipeTransportTests.test__read_ready_blocked")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = read_pipe_new();
    struct keeper keeper = { 0 };
    reads_from(loop, &keeper, pair.near);
    put(pair.far, "mail");
    calls_on(pair.near);
    calls.read_error = EAGAIN;
    run_tick(loop);
    calls.read_error = EINTR;
    run_tick(loop);
    CHECK_INT(calls.reads, 2);
    CHECK_TEXT(keeper.log, "");
    calls_end();
    run_tick(loop);
    CHECK_TEXT(keeper.log, "data:mail");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(read_fails, "an error of a read is reported, and ends the pipe with it in the next tick",
     "test_unix_events.UnixReadPipeTransportTests.test__read_ready_error",
     "test_unix_events.UnixReadPipeTransportTests.test__close",
     "test_unix_events.UnixReadPipeTransportTests.test__call_connection_lost_with_err")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = read_pipe_new();
    struct keeper keeper = { 0 };
    struct reports reports = { 0 };
    reports_to(loop, &reports);
    reads_from(loop, &keeper, pair.near);
    put(pair.far, "mail");
    calls_on(pair.near);
    calls.read_error = EISDIR;
    run_tick(loop);
    CHECK_TEXT(keeper.log, "");
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Fatal read error on pipe transport");
    CHECK_INT(reports.code, -EISDIR);
    CHECK(cora_same(reports.transport, keeper.transport));
    CHECK(cora_transport_is_closing(keeper.transport));
    run_tick(loop);
    CHECK_TEXT(keeper.log, "lost:IsADirectoryError");
    CHECK_INT(calls.reads, 1);
    CHECK_INT(keeper.dropped, 1);
    CHECK(!is_open(pair.near));
    cora_loop_close(loop);
    close(pair.far);
}

TEST(read_fails_by_eio, "an EIO ends the pipe with that error, and is not reported",
     "test_unix_events.UnixReadPipeTransportTests.test__read_ready_error")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = read_pipe_new();
    struct keeper keeper = { 0 };
    struct reports reports = { 0 };
    reports_to(loop, &reports);
    reads_from(loop, &keeper, pair.near);
    put(pair.far, "mail");
    calls_on(pair.near);
    calls.read_error = EIO;
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "lost:OSError");
    CHECK_INT(reports.count, 0);
    cora_loop_close(loop);
    close(pair.far);
}

static void detach_on_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)bound, (void)report;
    CHECK_INT(cora_loop_detach(loop), 0);
}

TEST(detached_in_report, "detaching a guest while an error of a read is reported is safe")
{
    struct ev_loop *host = host_new();
    cora_loop loop = cora_loop_attach(host, NULL);
    struct pair pair = read_pipe_new();
    struct keeper keeper = { .loop = loop };
    CHECK_INT(cora_set_exception_handler(loop, cora_partial(detach_on_report)), 0);
    keeper.transport = cora_attach_read_pipe(loop, pair.near, cora_partial(keeper_new, &keeper));
    put(pair.far, "mail");
    calls_on(pair.near);
    calls.read_error = EISDIR;
    ev_run(host, 0);
    calls_end();
    CHECK_TEXT(keeper.log, "made");
    CHECK_INT(keeper.dropped, 1);
    ev_loop_destroy(host);
    close(pair.far);
}

TEST(failing_data, "a data_received that fails is reported, and reading goes on")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = read_pipe_new();
    struct keeper keeper = { 0 };
    struct reports reports = { 0 };
    reports_to(loop, &reports);
    reads_from(loop, &keeper, pair.near);
    keeper_will_fail(&keeper, DATA, CORA_ELOOKUP);
    put(pair.far, "mail");
    run_tick(loop);
    CHECK_TEXT(reports.message, "Exception in callback data_received()");
    CHECK_INT(reports.code, CORA_ELOOKUP);
    put(pair.far, "more");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "data:mail data:more");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(buffered_protocol, "a pipe can be read into the protocol's own buffer")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = read_pipe_new();
    char buffer[3];
    struct keeper keeper = { .buffer = buffer, .buffer_size = sizeof buffer };
    reads_from(loop, &keeper, pair.near);
    put(pair.far, "mail");
    close(pair.far);
    run_ticks(loop, 4);
    CHECK_TEXT(keeper.log, "get:0 got:mai get:0 got:l get:0 eof lost");
    cora_loop_close(loop);
}

TEST(pauses, "pausing stops the polling at once, and nothing is received until it is resumed",
     "test_unix_events.UnixReadPipeTransportTests.test_pause_reading",
     "test_unix_events.UnixReadPipeTransportTests.test_resume_reading")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = read_pipe_new();
    struct keeper keeper = { 0 };
    reads_from(loop, &keeper, pair.near);
    put(pair.far, "mail");
    CHECK_INT(cora_transport_pause_reading(keeper.transport), 0);
    CHECK_TEXT(shown(keeper.transport), "idle");
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "");
    CHECK_INT(cora_transport_resume_reading(keeper.transport), 0);
    CHECK_TEXT(shown(keeper.transport), "polling");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "data:mail");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(pauses_twice, "pausing a paused pipe and resuming one that reads does nothing",
     "test_unix_events.UnixReadPipeTransportTests.test_pause_reading_on_paused_pipe",
     "test_unix_events.UnixReadPipeTransportTests.test_resume_reading_on_paused_pipe")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = read_pipe_new();
    struct keeper keeper = { 0 };
    reads_from(loop, &keeper, pair.near);
    CHECK_INT(cora_transport_resume_reading(keeper.transport), 0);
    CHECK_INT(cora_transport_pause_reading(keeper.transport), 0);
    CHECK_INT(cora_transport_pause_reading(keeper.transport), 0);
    CHECK(!cora_transport_is_reading(keeper.transport));
    CHECK_INT(cora_transport_resume_reading(keeper.transport), 0);
    CHECK(cora_transport_is_reading(keeper.transport));
    cora_loop_close(loop);
    close(pair.far);
}

TEST(pauses_when_closed, "pausing and resuming a pipe that is closing does nothing",
     "test_unix_events.UnixReadPipeTransportTests.test_pause_reading_on_closed_pipe",
     "test_unix_events.UnixReadPipeTransportTests.test_resume_reading_on_closed_pipe")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = read_pipe_new();
    struct keeper keeper = { 0 };
    reads_from(loop, &keeper, pair.near);
    close_own(&keeper);
    CHECK_INT(cora_transport_pause_reading(keeper.transport), 0);
    CHECK_INT(cora_transport_resume_reading(keeper.transport), 0);
    put(pair.far, "mail");
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "lost");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(paused_at_the_end, "a pipe whose peer is gone keeps still while it is paused")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = read_pipe_new();
    struct keeper keeper = { 0 };
    reads_from(loop, &keeper, pair.near);
    put(pair.far, "mail");
    CHECK_INT(cora_transport_pause_reading(keeper.transport), 0);
    close(pair.far);
    run_ticks(loop, 3);
    CHECK_TEXT(keeper.log, "");
    CHECK_INT(cora_transport_resume_reading(keeper.transport), 0);
    run_ticks(loop, 3);
    CHECK_TEXT(keeper.log, "data:mail eof lost");
    cora_loop_close(loop);
}

TEST(closes_reading, "closing ends a read pipe with nothing, in the next tick; twice is as once",
     "test_unix_events.UnixReadPipeTransportTests.test_close",
     "test_unix_events.UnixReadPipeTransportTests.test_close_already_closing",
     "test_unix_events.UnixReadPipeTransportTests.test__call_connection_lost")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = read_pipe_new();
    struct keeper keeper = { 0 };
    reads_from(loop, &keeper, pair.near);
    close_own(&keeper);
    close_own(&keeper);
    CHECK_TEXT(keeper.log, "");
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "lost");
    CHECK_INT(keeper.dropped, 1);
    CHECK(!is_open(pair.near));
    CHECK(cora_is_null(cora_transport_loop(keeper.transport)));
    cora_loop_close(loop);
    close(pair.far);
}

TEST(reads_only, "writing to a read pipe is a RuntimeError, and it has no end of writing")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { 0 };
    reads_from(loop, &keeper, pair.near);
    CHECK_INT(write_text(keeper.transport, "crates"), CORA_ERUNTIME);
    CHECK_TEXT(cora_error_message(cora_last_error()), "a read pipe transport cannot be written to");
    CHECK_INT(cora_transport_writelines(keeper.transport, &(struct iovec){ NULL, 0 }, 1),
              CORA_ERUNTIME);
    CHECK_INT(cora_transport_write_eof(keeper.transport), CORA_ERUNTIME);
    CHECK(!cora_transport_can_write_eof(keeper.transport));
    CHECK_INT(cora_transport_get_write_buffer_size(keeper.transport), 0);
    CHECK_TEXT(take(pair.far), "");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(many_pipes_end, "pipes of which all ends come at once are each told once")
{
    enum { PIPES = 20 };
    cora_loop loop = cora_loop_new(NULL);
    struct pair pairs[PIPES];
    struct keeper keepers[PIPES] = { 0 };
    for (int i = 0; i < PIPES; i++) {
        pairs[i] = read_pipe_new();
        reads_from(loop, &keepers[i], pairs[i].near);
    }
    for (int i = 0; i < PIPES; i++)
        close(pairs[i].far);
    run_ticks(loop, 3);
    for (int i = 0; i < PIPES; i++)
        CHECK_TEXT(keepers[i].log, "eof lost");
    cora_loop_close(loop);
}

/* ---- write pipes ---- */

TEST(write_pipe, "what is written arrives; when the reader is gone the pipe is lost",
     "test_events.EventLoopTestsMixin.test_write_pipe")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = write_pipe_new();
    struct keeper keeper = { 0 };
    writes_to(loop, &keeper, pair.near);
    CHECK_INT(write_text(keeper.transport, "1"), 0);
    CHECK_TEXT(take(pair.far), "1");
    CHECK_INT(write_text(keeper.transport, "2345"), 0);
    CHECK_TEXT(take(pair.far), "2345");
    close(pair.far);
    RUN_UNTIL(loop, keeper.lost);
    CHECK_TEXT(keeper.log, "lost");
    CHECK_INT(cora_transport_close(keeper.transport), 0);
    cora_loop_close(loop);
}

TEST(peer_leaves_idle_pipe, "a write pipe hears without writing that its reader is gone",
     "test_unix_events.UnixWritePipeTransportTests.test__read_ready")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = write_pipe_new();
    struct keeper keeper = { 0 };
    writes_to(loop, &keeper, pair.near);
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "");
    close(pair.far);
    run_tick(loop);
    CHECK(cora_transport_is_closing(keeper.transport));
    CHECK_TEXT(keeper.log, "");
    run_tick(loop);
    CHECK_TEXT(keeper.log, "lost");
    cora_loop_close(loop);
}

TEST(peer_leaves_before_all_is_sent, "it is a BrokenPipeError if something waits to be sent",
     "test_unix_events.UnixWritePipeTransportTests.test__read_ready",
     "test_unix_events.UnixWritePipeTransportTests.test__call_connection_lost_with_err")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = write_pipe_new();
    struct keeper keeper = { 0 };
    struct reports reports = { 0 };
    reports_to(loop, &reports);
    writes_to(loop, &keeper, pair.near);
    stop_writes(pair.near);
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    close(pair.far);
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "lost:BrokenPipeError");
    CHECK_INT(calls.writes, 1);
    CHECK_INT(reports.count, 0);
    CHECK_INT(keeper.dropped, 1);
    CHECK(!is_open(pair.near));
    cora_loop_close(loop);
}

TEST(peer_leaves_closing_pipe, "also if the pipe is closing, and sends the rest",
     "test_unix_events.UnixWritePipeTransportTests.test_write_eof_pending")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = write_pipe_new();
    struct keeper keeper = { 0 };
    writes_to(loop, &keeper, pair.near);
    stop_writes(pair.near);
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    CHECK_INT(cora_transport_write_eof(keeper.transport), 0);
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "");
    close(pair.far);
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "lost:BrokenPipeError");
    cora_loop_close(loop);
}

TEST(peer_of_socket_leaves, "a write pipe on a socket hears that its peer has closed",
     "test_events.EventLoopTestsMixin.test_write_pipe_disconnect_on_close")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    struct keeper keeper = { 0 };
    writes_to(loop, &keeper, pair.near);
    CHECK_INT(write_text(keeper.transport, "1"), 0);
    CHECK_TEXT(take(pair.far), "1");
    close(pair.far);
    RUN_UNTIL(loop, keeper.lost);
    CHECK_TEXT(keeper.log, "lost");
    cora_loop_close(loop);
}

TEST(peer_leaves_in_connection_made,
     "a reader that goes before connection_made is heard of after it")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = write_pipe_new();
    struct keeper keeper = { 0 };
    keeper.transport = cora_attach_write_pipe(loop, pair.near, cora_partial(keeper_new, &keeper));
    close(pair.far);
    run_ticks(loop, 4);
    CHECK_TEXT(keeper.log, "made lost");
    cora_loop_close(loop);
}

TEST(writes_nothing, "writing no bytes makes no system call, and keeps nothing",
     "test_unix_events.UnixWritePipeTransportTests.test_write_no_data")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = write_pipe_new();
    struct keeper keeper = { 0 };
    writes_to(loop, &keeper, pair.near);
    calls_on(pair.near);
    CHECK_INT(cora_transport_write(keeper.transport, "", 0), 0);
    CHECK_INT(calls.writes, 0);
    CHECK_TEXT(shown(keeper.transport), "idle bufsize=0");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(writes_partly, "what a write has left over is kept, and sent when it can be",
     "test_unix_events.UnixWritePipeTransportTests.test_write_partial",
     "test_unix_events.UnixWritePipeTransportTests.test__write_ready_partial")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = write_pipe_new();
    struct keeper keeper = { 0 };
    writes_to(loop, &keeper, pair.near);
    calls_on(pair.near);
    calls.most = 2;
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    CHECK_TEXT(shown(keeper.transport), "polling bufsize=4");
    run_tick(loop);
    CHECK_TEXT(shown(keeper.transport), "polling bufsize=2");
    run_tick(loop);
    CHECK_TEXT(shown(keeper.transport), "idle bufsize=0");
    CHECK_TEXT(take(pair.far), "crates");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(keeps_order, "while something is kept, a write only adds to it",
     "test_unix_events.UnixWritePipeTransportTests.test_write_buffer")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = write_pipe_new();
    struct keeper keeper = { 0 };
    writes_to(loop, &keeper, pair.near);
    stop_writes(pair.near);
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    CHECK_INT(write_text(keeper.transport, " of tea"), 0);
    CHECK_INT(calls.writes, 1);
    CHECK_TEXT(shown(keeper.transport), "polling bufsize=13");
    calls_end();
    run_tick(loop);
    CHECK_TEXT(take(pair.far), "crates of tea");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(write_would_block, "a write that would block keeps all of it, and polls",
     "test_unix_events.UnixWritePipeTransportTests.test_write_again")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = write_pipe_new();
    struct keeper keeper = { 0 };
    static char block[4096];
    writes_to(loop, &keeper, pair.near);
    while (write(pair.near, block, sizeof block) > 0)
        ;
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    CHECK_TEXT(shown(keeper.transport), "polling bufsize=6");
    run_ticks(loop, 2);
    CHECK_TEXT(shown(keeper.transport), "polling bufsize=6");
    drain(pair.far);
    run_tick(loop);
    CHECK_TEXT(shown(keeper.transport), "idle bufsize=0");
    CHECK_TEXT(take(pair.far), "crates");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(flushes_nothing, "a flush of which no byte goes keeps everything",
     "test_unix_events.UnixWritePipeTransportTests.test__write_ready_empty")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = write_pipe_new();
    struct keeper keeper = { 0 };
    writes_to(loop, &keeper, pair.near);
    stop_writes(pair.near);
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    calls.write_error = 0;
    calls.most = 0;
    run_tick(loop);
    CHECK_INT(calls.writes, 2);
    CHECK_TEXT(shown(keeper.transport), "polling bufsize=6");
    calls_end();
    cora_loop_close(loop);
    close(pair.far);
}

TEST(writes_lines, "pieces are written in one call")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = write_pipe_new();
    struct keeper keeper = { 0 };
    struct iovec pieces[] = { { (char[]){ 't', 'e', 'a' }, 3 }, { (char[]){ '4', '2' }, 2 } };
    writes_to(loop, &keeper, pair.near);
    calls_on(pair.near);
    CHECK_INT(cora_transport_writelines(keeper.transport, pieces, 2), 0);
    CHECK_INT(calls.writes, 1);
    CHECK_TEXT(take(pair.far), "tea42");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(write_fails, "a write that fails ends the pipe with its error; later ones are dropped",
     "test_unix_events.UnixWritePipeTransportTests.test_write_err")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = write_pipe_new();
    struct keeper keeper = { 0 };
    struct reports reports = { 0 };
    reports_to(loop, &reports);
    writes_to(loop, &keeper, pair.near);
    calls_on(pair.near);
    calls.write_error = ENOSPC;
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    CHECK(cora_transport_is_closing(keeper.transport));
    for (int i = 0; i < 4; i++)
        CHECK_INT(write_text(keeper.transport, "crates"), 0);
    CHECK_INT(reports.count, 0);
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "pipe closed by peer or os.write(pipe, data) raised exception.");
    CHECK_INT(calls.writes, 1);
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "lost:OSError");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(dropped_after_peer, "what is written after the peer has closed is dropped",
     "test_unix_events.UnixWritePipeTransportTests.test_write_close")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = write_pipe_new();
    struct keeper keeper = { 0 };
    writes_to(loop, &keeper, pair.near);
    close(pair.far);
    run_tick(loop);
    calls_on(pair.near);
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    CHECK_INT(calls.writes, 0);
    CHECK_INT(cora_transport_get_write_buffer_size(keeper.transport), 0);
    run_tick(loop);
    CHECK_TEXT(keeper.log, "lost");
    cora_loop_close(loop);
}

TEST(flush_fails, "a flush that fails drops the rest and ends the pipe, without a report",
     "test_unix_events.UnixWritePipeTransportTests.test__write_ready_err")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = write_pipe_new();
    struct keeper keeper = { 0 };
    struct reports reports = { 0 };
    reports_to(loop, &reports);
    writes_to(loop, &keeper, pair.near);
    stop_writes(pair.near);
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    calls.write_error = ENOSPC;
    run_tick(loop);
    CHECK(cora_transport_is_closing(keeper.transport));
    CHECK_INT(cora_transport_get_write_buffer_size(keeper.transport), 0);
    run_tick(loop);
    CHECK_TEXT(keeper.log, "lost:OSError");
    CHECK_INT(reports.count, 0);
    CHECK_INT(calls.writes, 2);
    cora_loop_close(loop);
    close(pair.far);
}

TEST(flow_control, "too much that is kept pauses the writing; when it is sent that is resumed")
{
    calls_end();
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = write_pipe_new();
    struct keeper keeper = { 0 };
    static char block[200000];
    writes_to(loop, &keeper, pair.near);
    CHECK_INT(cora_transport_write(keeper.transport, block, sizeof block), 0);
    CHECK_TEXT(keeper.log, "pause");
    size_t arrived = 0;
    while (arrived < sizeof block) {
        arrived += drain(pair.far);
        run_tick(loop);
    }
    CHECK_TEXT(keeper.log, "pause resume");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(closes_writing, "closing, or the end of writing, ends a pipe that has nothing to send",
     "test_unix_events.UnixWritePipeTransportTests.test_close",
     "test_unix_events.UnixWritePipeTransportTests.test_write_eof",
     "test_unix_events.UnixWritePipeTransportTests.test__call_connection_lost")
{
    for (int i = 0; i < 2; i++) {
        cora_loop loop = cora_loop_new(NULL);
        struct pair pair = write_pipe_new();
        struct keeper keeper = { 0 };
        writes_to(loop, &keeper, pair.near);
        CHECK_INT(i == 0 ? cora_transport_close(keeper.transport)
                         : cora_transport_write_eof(keeper.transport),
                  0);
        CHECK(cora_transport_is_closing(keeper.transport));
        CHECK_TEXT(keeper.log, "");
        run_tick(loop);
        CHECK_TEXT(keeper.log, "lost");
        CHECK_INT(keeper.dropped, 1);
        CHECK(!is_open(pair.near));
        CHECK_TEXT(take(pair.far), "end");
        cora_loop_close(loop);
        close(pair.far);
    }
}

TEST(closing_sends_the_rest, "closing first sends what is kept, then connection_lost is told",
     "test_unix_events.UnixWritePipeTransportTests.test_write_eof_pending",
     "test_unix_events.UnixWritePipeTransportTests.test__write_ready_closing")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = write_pipe_new();
    struct keeper keeper = { 0 };
    writes_to(loop, &keeper, pair.near);
    stop_writes(pair.near);
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    close_own(&keeper);
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "");
    calls_end();
    run_tick(loop);
    CHECK_TEXT(keeper.log, "lost");
    CHECK(!is_open(pair.near));
    CHECK_TEXT(take(pair.far), "crates");
    CHECK_TEXT(take(pair.far), "end");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(closing_twice, "closing, ending and closing again one that sends the rest changes nothing",
     "test_unix_events.UnixWritePipeTransportTests.test_close_closing",
     "test_unix_events.UnixWritePipeTransportTests.test_close")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = write_pipe_new();
    struct keeper keeper = { 0 };
    writes_to(loop, &keeper, pair.near);
    stop_writes(pair.near);
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    close_own(&keeper);
    CHECK_INT(cora_transport_write_eof(keeper.transport), 0);
    close_own(&keeper);
    calls_end();
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "lost");
    CHECK_TEXT(take(pair.far), "crates");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(dropped_while_closing, "what is written while a pipe sends the rest is dropped")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = write_pipe_new();
    struct keeper keeper = { 0 };
    writes_to(loop, &keeper, pair.near);
    stop_writes(pair.near);
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    close_own(&keeper);
    CHECK_INT(write_text(keeper.transport, "more"), 0);
    CHECK_INT(cora_transport_get_write_buffer_size(keeper.transport), 6);
    calls_end();
    run_tick(loop);
    CHECK_TEXT(keeper.log, "lost");
    CHECK_TEXT(take(pair.far), "crates");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(aborts, "aborting drops what is kept, and ends the pipe with nothing",
     "test_unix_events.UnixWritePipeTransportTests.test_abort")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = write_pipe_new();
    struct keeper keeper = { 0 };
    writes_to(loop, &keeper, pair.near);
    stop_writes(pair.near);
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    abort_own(&keeper);
    calls_end();
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "lost");
    CHECK_TEXT(take(pair.far), "end");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(can_write_eof, "a write pipe can end its writing: that is closing it",
     "test_unix_events.UnixWritePipeTransportTests.test_can_write_eof")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = write_pipe_new();
    struct keeper keeper = { 0 };
    writes_to(loop, &keeper, pair.near);
    CHECK(cora_transport_can_write_eof(keeper.transport));
    cora_loop_close(loop);
    close(pair.far);
}

TEST(writes_only, "pausing and resuming a write pipe is a RuntimeError, and it never reads")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = write_pipe_new();
    struct keeper keeper = { 0 };
    writes_to(loop, &keeper, pair.near);
    CHECK_INT(cora_transport_pause_reading(keeper.transport), CORA_ERUNTIME);
    CHECK_TEXT(cora_error_message(cora_last_error()), "a write pipe transport cannot be read from");
    CHECK_INT(cora_transport_resume_reading(keeper.transport), CORA_ERUNTIME);
    CHECK(!cora_transport_is_reading(keeper.transport));
    cora_loop_close(loop);
    close(pair.far);
}

static void close_in_made(struct keeper *keeper)
{
    CHECK_INT(write_text(keeper->transport, "crates"), 0);
    close_own(keeper);
}

TEST(closed_when_made,
     "writing and closing in connection_made: it is sent, connection_lost follows")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = write_pipe_new();
    struct keeper keeper = { .when = MADE, .act = close_in_made };
    keeper.transport = cora_attach_write_pipe(loop, pair.near, cora_partial(keeper_new, &keeper));
    stop_writes(pair.near);
    run_ticks(loop, 3);
    CHECK_TEXT(keeper.log, "made");
    calls_end();
    run_tick(loop);
    CHECK_TEXT(keeper.log, "made lost");
    CHECK_TEXT(take(pair.far), "crates");
    cora_loop_close(loop);
    close(pair.far);
}

/* ---- named pipes, terminals and other devices ---- */

TEST(named_pipe, "a named pipe is read and written as any other")
{
    cora_loop loop = cora_loop_new(NULL);
    struct keeper reader = { 0 }, writer = { 0 };
    char folder[] = "/tmp/pier.XXXXXX", path[50];
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/fifo", folder);
    CHECK_INT(mkfifo(path, 0600), 0);
    int in = open(path, O_RDONLY | O_NONBLOCK), out = open(path, O_WRONLY | O_NONBLOCK);
    CHECK(in >= 0 && out >= 0);
    unlink(path);
    rmdir(folder);
    reads_from(loop, &reader, in);
    writes_to(loop, &writer, out);
    CHECK_INT(write_text(writer.transport, "mail"), 0);
    close_own(&writer);
    RUN_UNTIL(loop, reader.lost);
    CHECK_TEXT(reader.log, "data:mail eof lost");
    cora_loop_close(loop);
}

/* The master, and its terminal in raw mode. */
static struct pair terminal_new(void)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0)
        SKIP("no pseudo-terminals here");
    CHECK_INT(grantpt(master), 0);
    CHECK_INT(unlockpt(master), 0);
    int terminal = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    CHECK(terminal >= 0);
    return (struct pair){ .near = master, .far = terminal };
}

TEST(reads_terminal, "a pseudo-terminal's output is read; when all have closed it, it is lost",
     "test_events.EventLoopTestsMixin.test_read_pty_output")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = terminal_new();
    struct keeper keeper = { 0 };
    struct reports reports = { 0 };
    reports_to(loop, &reports);
    reads_from(loop, &keeper, pair.near);
    put(pair.far, "1");
    RUN_UNTIL(loop, keeper.received == 1);
    put(pair.far, "2345");
    RUN_UNTIL(loop, keeper.received == 5);
    close(pair.far);
    RUN_UNTIL(loop, keeper.lost);
    CHECK_TEXT(keeper.log, "data:1 data:2345 lost:OSError");
    CHECK_INT(reports.count, 0);
    cora_loop_close(loop);
}

TEST(writes_terminal, "what is written to a terminal arrives at its master; then it is closed",
     "test_events.EventLoopTestsMixin.test_write_pty")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = terminal_new();
    struct keeper keeper = { 0 };
    writes_to(loop, &keeper, pair.far);
    CHECK_INT(write_text(keeper.transport, "1"), 0);
    CHECK_TEXT(take(pair.near), "1");
    CHECK_INT(write_text(keeper.transport, "2345"), 0);
    CHECK_TEXT(take(pair.near), "2345");
    close_own(&keeper);
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "lost");
    CHECK(!is_open(pair.far));
    cora_loop_close(loop);
    close(pair.near);
}

static void make_raw(int terminal)
{
    struct termios settings;
    CHECK_INT(tcgetattr(terminal, &settings), 0);
    cfmakeraw(&settings);
    CHECK_INT(tcsetattr(terminal, TCSANOW, &settings), 0);
}

TEST(both_ways_of_terminal,
     "a terminal is read and written by two transports, each with its own end",
     "test_events.EventLoopTestsMixin.test_bidirectional_pty")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = terminal_new();
    struct keeper reader = { 0 }, writer = { 0 };
    make_raw(pair.far);
    reads_from(loop, &reader, pair.far);
    writes_to(loop, &writer, fcntl(pair.far, F_DUPFD_CLOEXEC, 0));
    CHECK_INT(write_text(writer.transport, "1"), 0);
    CHECK_TEXT(take(pair.near), "1");
    put(pair.near, "a");
    RUN_UNTIL(loop, reader.received == 1);
    CHECK_INT(write_text(writer.transport, "2345"), 0);
    CHECK_TEXT(take(pair.near), "2345");
    put(pair.near, "bcd");
    RUN_UNTIL(loop, reader.received == 4);
    close_own(&reader);
    RUN_UNTIL(loop, reader.lost);
    CHECK_TEXT(writer.log, "");
    CHECK_INT(write_text(writer.transport, "6"), 0);
    CHECK_TEXT(take(pair.near), "6");
    close_own(&writer);
    RUN_UNTIL(loop, writer.lost);
    CHECK_TEXT(reader.log, "data:a data:bcd lost");
    CHECK_TEXT(writer.log, "lost");
    cora_loop_close(loop);
    close(pair.near);
}

TEST(typed_at_terminal, "a terminal that is written to does not count as gone when one types at it")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = terminal_new();
    struct keeper keeper = { 0 };
    writes_to(loop, &keeper, pair.far);
    put(pair.near, "who is there?\n");
    run_ticks(loop, 3);
    CHECK_TEXT(keeper.log, "");
    CHECK(!cora_transport_is_closing(keeper.transport));
    cora_loop_close(loop);
    close(pair.near);
}

TEST(hung_up_terminal, "a terminal whose master is gone is lost with the next write")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = terminal_new();
    struct keeper keeper = { 0 };
    writes_to(loop, &keeper, pair.far);
    close(pair.near);
    run_ticks(loop, 2);
    CHECK_TEXT(keeper.log, "");
    CHECK_INT(write_text(keeper.transport, "anybody?"), 0);
    run_tick(loop);
    CHECK_TEXT(keeper.log, "lost:OSError");
    cora_loop_close(loop);
}

TEST(null_device, "the null device takes all, and reading it is at the end at once")
{
    cora_loop loop = cora_loop_new(NULL);
    struct keeper reader = { 0 }, writer = { 0 };
    reads_from(loop, &reader, open("/dev/null", O_RDONLY | O_CLOEXEC));
    writes_to(loop, &writer, open("/dev/null", O_WRONLY | O_CLOEXEC));
    CHECK_INT(write_text(writer.transport, "crates"), 0);
    CHECK_TEXT(shown(writer.transport), "idle bufsize=0");
    RUN_UNTIL(loop, reader.lost);
    CHECK_TEXT(reader.log, "eof lost");
    cora_loop_close(loop);
}

/* ---- SIGPIPE ---- */

static int broken_pipes; /* how often the signal has come */

static void on_broken_pipe(int signal)
{
    (void)signal;
    broken_pipes++;
}

/* Writes to a pipe that nobody reads any more: the error that it ends with. */
static void write_to_nobody(bool is_old)
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = write_pipe_new();
    struct keeper keeper = { 0 };
    writes_to(loop, &keeper, pair.near);
    close(pair.far);
    calls_on(pair.near);
    calls.is_old = is_old;
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    calls_end();
    run_tick(loop);
    CHECK_TEXT(keeper.log, "lost:BrokenPipeError");
    cora_loop_close(loop);
}

static bool pipe_signal_is(int (*which)(sigset_t *set))
{
    sigset_t set;
    CHECK_INT(which(&set), 0);
    return sigismember(&set, SIGPIPE) == 1;
}

static int get_mask(sigset_t *set)
{
    return pthread_sigmask(SIG_BLOCK, NULL, set);
}

TEST(no_signal, "a write that nobody reads is a BrokenPipeError, and raises no SIGPIPE")
{
    CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    write_to_nobody(false);
    CHECK(!pipe_signal_is(get_mask));
}

TEST(no_signal_on_old_systems, "also on a system that cannot be asked for that")
{
    CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    write_to_nobody(true);
    CHECK(!pipe_signal_is(get_mask));
    CHECK(!pipe_signal_is(sigpending));
}

TEST(no_signal_on_sockets, "and a socket that is written to as a pipe raises none either")
{
    for (int is_old = 0; is_old < 2; is_old++) {
        cora_loop loop = cora_loop_new(NULL);
        struct pair pair = pair_new();
        struct keeper keeper = { 0 };
        CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
        writes_to(loop, &keeper, pair.near);
        close(pair.far);
        calls_on(pair.near);
        calls.is_old = is_old;
        CHECK_INT(write_text(keeper.transport, "crates"), 0);
        run_tick(loop);
        CHECK_TEXT(keeper.log, "lost:BrokenPipeError");
        cora_loop_close(loop);
    }
}

TEST(handler_is_not_called, "a program's own handler of SIGPIPE stays, and is not called")
{
    for (int is_old = 0; is_old < 2; is_old++) {
        struct sigaction ours = { .sa_handler = on_broken_pipe }, now;
        CHECK_INT(sigaction(SIGPIPE, &ours, NULL), 0);
        write_to_nobody(is_old);
        CHECK_INT(broken_pipes, 0);
        CHECK_INT(sigaction(SIGPIPE, NULL, &now), 0);
        CHECK(now.sa_handler == on_broken_pipe);
    }
}

TEST(ignored_signal, "a program that ignores SIGPIPE is told the same")
{
    CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    write_to_nobody(true);
    CHECK(!pipe_signal_is(sigpending));
}

static void block_signal(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    CHECK_INT(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
}

TEST(blocked_signal, "a program that blocks SIGPIPE finds none that waits")
{
    for (int is_old = 0; is_old < 2; is_old++) {
        block_signal();
        write_to_nobody(is_old);
        CHECK(!pipe_signal_is(sigpending));
        CHECK(pipe_signal_is(get_mask));
    }
}

TEST(waiting_signal, "a SIGPIPE of the program's own that waits is not taken away")
{
    for (int is_old = 0; is_old < 2; is_old++) {
        block_signal();
        CHECK_INT(raise(SIGPIPE), 0);
        write_to_nobody(is_old);
        CHECK(pipe_signal_is(sigpending));
    }
}

TEST(old_system_is_remembered, "an old system is asked once, then each write blocks the signal")
{
    if (harness_under_valgrind())
        SKIP("what the system knows is remembered in the process that runs all tests");
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = write_pipe_new();
    struct keeper keeper = { 0 };
    writes_to(loop, &keeper, pair.near);
    calls_on(pair.near);
    calls.is_old = true;
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    calls.is_old = false;
    CHECK_INT(calls.masks, 2);
    CHECK_INT(write_text(keeper.transport, " of tea"), 0);
    CHECK_INT(calls.masks, 4);
    CHECK_TEXT(take(pair.far), "crates of tea");
    cora_loop_close(loop);
    close(pair.far);
}

TEST(new_system_needs_one_call, "on a new system a write is one system call")
{
    if (harness_under_valgrind())
        SKIP("what the system knows is remembered in the process that runs all tests");
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = write_pipe_new();
    struct keeper keeper = { 0 };
    struct iovec none = { "", 0 };
    ssize_t asked = pwritev2(pair.near, &none, 1, -1, 0x100);
    writes_to(loop, &keeper, pair.near);
    calls_on(pair.near);
    CHECK_INT(write_text(keeper.transport, "crates"), 0);
    bool is_new = asked == 0;
    int masks = calls.masks, writes = calls.writes;
    calls_end();
    cora_loop_close(loop);
    close(pair.far);
    if (!is_new)
        SKIP("this system is an old one");
    CHECK_INT(masks, 0);
    CHECK_INT(writes, 1);
}
