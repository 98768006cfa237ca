/*
 * How it works: kinds of transports that only read, or only write. A write pipe is watched for
 * being readable: it never is, so that this is how the system tells that nobody reads any more.
 *
 * Writing to a pipe without readers raises SIGPIPE, which ends a process that does not expect it.
 * That is not to be changed for the whole process here. Systems since Linux 6.18 can be asked for a
 * write that raises none. On older ones the signal is blocked in this thread meanwhile, and taken
 * away when it came; one that the program has blocked and that waits for it already stays.
 * Terminals raise none.
 */
#include "pipe_transport.h"

#include "private_connector.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x100
#endif

/* ---- reading ---- */

static ssize_t pipe_read(int descriptor, void *bytes, size_t size)
{
    return read(descriptor, bytes, size);
}

/* Both are told in the next tick: there is no way back to the other side. */
static void pipe_ended(struct loop *loop, struct transport *transport)
{
    transport->flags |= TRANSPORT_AT_END;
    transport_force_close(loop, transport, cora_nothing());
}

static void pipe_read_failed(struct loop *loop, struct transport *transport, int error)
{
    cora_value reason = cora_error(-error, NULL);
    if (error != EIO)
        transport_report(loop, transport, "Fatal read error on pipe transport", reason);
    if (loop->ev)
        transport_force_close(loop, transport, reason);
}

static const struct transport_kind read_pipe = {
    .name = "read pipe transport",
    .shown = "ReadPipeTransport",
    .descriptor = "pipe",
    .ways = READS_ONLY,
    .read = pipe_read,
    .ended = pipe_ended,
    .read_failed = pipe_read_failed,
};

/* ---- writing without SIGPIPE ---- */

static atomic_bool system_is_old; /* it knows no RWF_NOSIGNAL */

static bool is_pending(int signal)
{
    sigset_t pending;
    return sigpending(&pending) == 0 && sigismember(&pending, signal) == 1;
}

/* With the signal blocked. One that was not blocked before can be none but this write's. */
static ssize_t writev_blocking_signal(int descriptor, const struct iovec *chunks, size_t count)
{
    sigset_t broken_pipe, before;
    struct timespec no_time = { 0 };
    sigemptyset(&broken_pipe);
    sigaddset(&broken_pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &broken_pipe, &before);
    bool was_blocked = sigismember(&before, SIGPIPE) == 1;
    bool is_others = was_blocked && is_pending(SIGPIPE);
    ssize_t written = writev(descriptor, chunks, (int)count);
    int error = errno;
    if (written < 0 && error == EPIPE && !is_others)
        while (sigtimedwait(&broken_pipe, NULL, &no_time) < 0 && errno == EINTR)
            ;
    if (!was_blocked)
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return written;
}

static ssize_t fifo_writev(int descriptor, const struct iovec *chunks, size_t count)
{
    if (atomic_load_explicit(&system_is_old, memory_order_relaxed))
        return writev_blocking_signal(descriptor, chunks, count);
    ssize_t written = pwritev2(descriptor, chunks, (int)count, -1, RWF_NOSIGNAL);
    if (written >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS && errno != EPERM))
        return written;
    atomic_store_explicit(&system_is_old, true, memory_order_relaxed);
    return writev_blocking_signal(descriptor, chunks, count);
}

static ssize_t fifo_write(int descriptor, const void *bytes, size_t size)
{
    struct iovec chunk = { (void *)(uintptr_t)bytes, size };
    return fifo_writev(descriptor, &chunk, 1);
}

static ssize_t device_write(int descriptor, const void *bytes, size_t size)
{
    return write(descriptor, bytes, size);
}

static ssize_t device_writev(int descriptor, const struct iovec *chunks, size_t count)
{
    return writev(descriptor, chunks, (int)count);
}

/* The other side is gone. */
static void pipe_readable(struct loop *loop, struct transport *transport)
{
    bool loses = transport_buffered(transport) > 0;
    transport_force_close(loop, transport, loses ? cora_error(-EPIPE, NULL) : cora_nothing());
}

#define WRITE_PIPE                                                                                 \
    .name = "write pipe transport", .shown = "WritePipeTransport", .descriptor = "pipe",           \
    .too_late = "pipe closed by peer or os.write(pipe, data) raised exception.",                   \
    .ways = WRITES_ONLY

static const struct transport_kind fifo = {
    WRITE_PIPE,
    .write = fifo_write,
    .writev = fifo_writev,
    .readable = pipe_readable,
};

static const struct transport_kind device = {
    WRITE_PIPE,
    .write = device_write,
    .writev = device_writev,
};

/* ---- making one ---- */

/* What this descriptor is, as a file's mode; 0, and the error is set. */
static mode_t pipe_mode(int descriptor)
{
    struct stat status;
    if (fstat(descriptor, &status) < 0) {
        fail(-errno, "descriptor %d", descriptor);
        return 0;
    }
    mode_t mode = status.st_mode & S_IFMT;
    if (S_ISFIFO(mode) || S_ISSOCK(mode) || S_ISCHR(mode))
        return mode;
    fail(CORA_EVALUE,
         "Pipe transport is for pipes, sockets and character devices only: "
         "descriptor %d is none",
         descriptor);
    return 0;
}

static struct object *pipe_transport_new(struct loop *loop, const struct transport_kind *kind,
                                         int descriptor, cora_protocol protocol,
                                         struct starter *starter, const struct cora_place *place)
{
    int code = descriptor_prepare(descriptor);
    if (code == 0)
        return transport_new(loop, kind, descriptor, protocol, starter, place);
    fail(code, "descriptor %d", descriptor);
    return NULL;
}

struct object *read_pipe_transport_new(struct loop *loop, int descriptor, cora_protocol protocol,
                                       struct starter *starter, const struct cora_place *place)
{
    if (pipe_mode(descriptor) == 0)
        return NULL;
    return pipe_transport_new(loop, &read_pipe, descriptor, protocol, starter, place);
}

struct object *write_pipe_transport_new(struct loop *loop, int descriptor, cora_protocol protocol,
                                        struct starter *starter, const struct cora_place *place)
{
    mode_t mode = pipe_mode(descriptor);
    if (mode == 0)
        return NULL;
    return pipe_transport_new(loop, S_ISCHR(mode) ? &device : &fifo, descriptor, protocol, starter,
                              place);
}

cora_transport cora_attach_read_pipe(cora_loop loop, int pipe, cora_protocol_factory factory)
{
    return attach_given(loop, pipe, read_pipe_transport_new, factory);
}

cora_transport cora_attach_write_pipe(cora_loop loop, int pipe, cora_protocol_factory factory)
{
    return attach_given(loop, pipe, write_pipe_transport_new, factory);
}
