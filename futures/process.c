/*
 * How it works: a process is the protocol of its process transport, and has a stream for each pipe,
 * which it feeds as the stream's own connection would. Who waits for its end, or that it is made,
 * is in its list. When the child has ended and its outputs are at their ends the transport is
 * closed, as asyncio does, so that an input that a grandchild has open does not stay.
 *
 * What is to be started is copied into one block, the order, which the awaitable's value owns.
 */
#include "process.h"

#include "private_connection.h"
#include "private_coroutine.h"
#include "private_stream.h"
#include "reactor/private_connector.h"

#include "gather.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PIPES 3

struct process {
    cora_process_transport transport; /* stale when it is over */
    uint64_t streams[PIPES];          /* 0: no pipe */
    struct cora_waiters waiters;      /* for its start, and for its end */
    pid_t pid;
    int returncode;
    uint32_t waiting; /* operations that wait, also those that were woken */
    uint8_t outputs;  /* pipes 1 and 2 that are not at their end */
    bool made, exited, over;
    bool closed; /* by the program */
};
_Static_assert(sizeof(struct process) <= CORA_OBJECT_SIZE, "in an object");

static void process_closed(void *memory);

static const struct cora_object_type process_type = { "process", sizeof(struct process),
                                                      process_closed };

static struct process *process_get(cora_process handle)
{
    return cora_object_get(handle.bits, &process_type);
}

static struct process *process_find(uint64_t bits)
{
    struct object *object = object_find(bits, &process_type);
    return object ? (struct process *)(void *)object->memory : NULL;
}

/* ---- its life ---- */

/* With its loop, or because nobody needs it: then its streams are closed by now. */
static void process_closed(void *memory)
{
    struct process *process = memory;
    struct object *object = object_with(process);
    struct loop *loop = slot_owner(&object->slot);
    if (loop->debug && !process->closed && !process->exited) {
        struct cora_report report = { .message = "unclosed process", .place = object->place };
        loop_report(loop, &report);
    }
    cora_waiters_close(&process->waiters);
}

/* Gives it back when nobody needs it any more. */
static void process_leave(struct process *process)
{
    if (process->closed && process->over && process->waiting == 0)
        cora_object_close(object_with(process)->slot.bits, &process_type);
}

int cora_process_close(cora_process handle)
{
    struct process *process = process_get(handle);
    if (!process)
        return stale_code();
    if (process->closed)
        return 0;
    process->closed = true;
    for (int fd = 0; fd < PIPES; fd++)
        if (process->streams[fd] && stream_find(process->streams[fd]))
            stream_close(process->streams[fd]);
    if (!process->over)
        cora_process_transport_close(process->transport);
    process_leave(process);
    return 0;
}

/* ---- what the transport tells ---- */

static struct process *process_of(void *self)
{
    return process_find((uint64_t)(uintptr_t)self);
}

static void *stream_self(const struct process *process, int fd)
{
    return (void *)(uintptr_t)process->streams[fd];
}

static void on_made(void *self, cora_process_transport transport)
{
    struct process *process = process_of(self);
    if (!process)
        return;
    process->made = true;
    for (int fd = 0; fd < PIPES; fd++)
        if (process->streams[fd])
            stream_protocol_type.connection_made(
                stream_self(process, fd), cora_process_transport_get_pipe_transport(transport, fd));
    cora_waiters_wake(&process->waiters);
}

/* Without memory for it the reader has an error, as bytes are missing then. */
static void on_data(void *self, cora_process_transport transport, int fd, const void *bytes,
                    size_t size)
{
    struct process *process = process_of(self);
    struct stream *stream = process ? stream_find(process->streams[fd]) : NULL;
    if (!stream || stream_feed(stream, bytes, size) == 0)
        return;
    stream_set_error(stream, cora_last_error());
    cora_transport_abort(cora_process_transport_get_pipe_transport(transport, fd));
}

static void try_to_close(struct process *process)
{
    if (process->exited && process->outputs == 0)
        cora_process_transport_close(process->transport);
}

static void on_pipe_lost(void *self, cora_process_transport transport, int fd, cora_value error)
{
    struct process *process = process_of(self);
    (void)transport;
    if (!process)
        return;
    stream_protocol_type.connection_lost(stream_self(process, fd), (cora_transport){ 0 }, error);
    process->outputs = (uint8_t)(process->outputs - (fd != STDIN_FILENO));
    try_to_close(process);
}

static void on_exited(void *self, cora_process_transport transport)
{
    struct process *process = process_of(self);
    if (!process)
        return;
    process->exited = true;
    process->returncode = (int)cora_as_int(cora_process_transport_get_returncode(transport));
    cora_waiters_wake(&process->waiters);
    try_to_close(process);
}

static void on_lost(void *self, cora_process_transport transport, cora_value error)
{
    struct process *process = process_of(self);
    (void)transport, (void)error;
    if (!process)
        return;
    process->over = true;
    process_leave(process);
}

static void on_pause_writing(void *self, cora_process_transport transport)
{
    const struct process *process = process_of(self);
    (void)transport;
    if (process)
        stream_protocol_type.pause_writing(stream_self(process, 0), (cora_transport){ 0 });
}

static void on_resume_writing(void *self, cora_process_transport transport)
{
    const struct process *process = process_of(self);
    (void)transport;
    if (process)
        stream_protocol_type.resume_writing(stream_self(process, 0), (cora_transport){ 0 });
}

static const struct cora_subprocess_protocol_type process_protocol = {
    .name = "SubprocessStreamProtocol",
    .connection_made = on_made,
    .pipe_data_received = on_data,
    .pipe_connection_lost = on_pipe_lost,
    .process_exited = on_exited,
    .connection_lost = on_lost,
    .pause_writing = on_pause_writing,
    .resume_writing = on_resume_writing,
};

/* ---- what is to be started ---- */

/* All that it points to is in the block. */
struct order {
    cora_loop loop;
    const struct cora_place *place;
    const char *const *arguments;
    struct cora_subprocess_options options;
    size_t limit;
    bool taken;
    const char *words[];
};

static void order_drop(void *order)
{
    free(order);
}

static int order_print(const void *pointer, char *buffer, size_t size)
{
    const struct order *order = pointer;
    const char *program = order->arguments[0] ? order->arguments[0] : "";
    return snprintf(buffer, size, "<subprocess %s>", program);
}

static const cora_type order_type = { "subprocess", order_drop, order_print, 0 };

static size_t words_count(const char *const *words)
{
    size_t count = 0;
    while (words && words[count])
        count++;
    return words ? count + 1 : 0;
}

static size_t words_size(const char *const *words)
{
    size_t size = 0;
    for (; words && *words; words++)
        size += text_size(*words);
    return size;
}

/* Copies them into this place; NULL stays NULL. */
static const char *const *words_copy(struct texts *texts, const char **place,
                                     const char *const *words)
{
    const char **next = place;
    if (!words)
        return NULL;
    for (; *words; words++)
        *next++ = text_copy(texts, *words);
    *next = NULL;
    return place;
}

/* What a stream's process has where the options say nothing: what we have. */
static int or_inherit(int what)
{
    return what == CORA_SUBPROCESS_DEFAULT ? CORA_SUBPROCESS_INHERIT : what;
}

static struct order *order_new(const char *const *arguments,
                               const struct cora_subprocess_options *options)
{
    size_t argument_count = words_count(arguments), env_count = words_count(options->env);
    size_t word_count = argument_count + env_count;
    size_t passed = options->pass_fd_count * sizeof(int);
    size_t texts_size = words_size(arguments) + words_size(options->env) +
                        text_size(options->executable) + text_size(options->cwd);
    struct order *order =
        malloc(sizeof *order + word_count * sizeof *order->words + passed + texts_size);
    if (!order)
        return NULL;
    char *after_words = (char *)(order->words + word_count);
    struct texts texts = { after_words + passed };
    *order = (struct order){ .options = *options };
    order->arguments = words_copy(&texts, order->words, arguments);
    order->options.env = words_copy(&texts, order->words + argument_count, options->env);
    order->options.executable = text_copy(&texts, options->executable);
    order->options.cwd = text_copy(&texts, options->cwd);
    if (passed > 0)
        order->options.pass_fds = memcpy(after_words, options->pass_fds, passed);
    order->options.in = or_inherit(options->in);
    order->options.out = or_inherit(options->out);
    order->options.err = or_inherit(options->err);
    return order;
}

/* ---- the operation that starts it ---- */

struct create_waiter {
    struct cora_waiter waiter;
    uint64_t process; /* 0: none */
    bool cancelled;   /* it is killed, and its end is waited for */
    bool given;       /* it is the program's now */
};

/* A stream for each pipe that is asked for. False without memory, and the error is set. */
static bool make_streams(struct process *process, const struct order *order)
{
    const int asked[PIPES] = { order->options.in, order->options.out, order->options.err };
    for (int fd = 0; fd < PIPES; fd++) {
        if (asked[fd] != CORA_SUBPROCESS_PIPE)
            continue;
        process->streams[fd] = stream_new(order->loop, order->limit, order->place);
        if (!process->streams[fd])
            return false;
        process->outputs = (uint8_t)(process->outputs + (fd != STDIN_FILENO));
    }
    return true;
}

/* It could not be started: nobody has its handles. */
static void process_undo(struct process *process)
{
    process->closed = true;
    for (int fd = 0; fd < PIPES; fd++)
        if (process->streams[fd])
            cora_object_close(process->streams[fd], &stream_type);
    cora_object_close(object_with(process)->slot.bits, &process_type);
}

static int process_start(struct process *process, const struct order *order)
{
    uint64_t bits = object_with(process)->slot.bits;
    cora_subprocess_protocol protocol = { &process_protocol, (void *)(uintptr_t)bits };
    if (!make_streams(process, order))
        return cora_last_error_code();
    process->transport = cora_subprocess_exec_at(order->place, order->loop, order->arguments,
                                                 &order->options, protocol);
    if (cora_is_null(process->transport))
        return cora_last_error_code();
    process->pid = cora_process_transport_get_pid(process->transport);
    return 0;
}

static int create_start(struct cora_waiter *base, const cora_awaitable *what)
{
    struct create_waiter *waiter = (struct create_waiter *)base;
    struct order *order = cora_as_pointer(what->value);
    if (!cora_same(order->loop, cora_current_loop()))
        return fail(CORA_ERUNTIME, "the subprocess is bound to a different event loop");
    if (order->taken)
        return fail(CORA_ERUNTIME, "cannot reuse already awaited create_subprocess");
    order->taken = true;
    uint64_t bits = cora_object_new_at(order->loop, &process_type, order->place);
    if (!bits)
        return cora_last_error_code();
    struct process *process = process_find(bits);
    int code = process_start(process, order);
    if (code < 0) {
        process_undo(process);
        return code;
    }
    waiter->process = bits;
    process->waiting++;
    cora_waiters_append(&process->waiters, base);
    return 0;
}

static enum cora_resumed create_resume(struct cora_waiter *base, bool cancelled,
                                       cora_value *ret_outcome)
{
    struct create_waiter *waiter = (struct create_waiter *)base;
    struct process *process = process_find(waiter->process);
    if (!process || (waiter->cancelled && (cancelled || process->exited)))
        return CORA_ENDS_CANCELLED;
    if (cancelled) {
        waiter->cancelled = true;
        cora_process_close((cora_process){ waiter->process });
        return process->exited ? CORA_ENDS_CANCELLED : CORA_WAITS;
    }
    if (!process->made || waiter->cancelled)
        return CORA_WAITS;
    waiter->given = true;
    *ret_outcome = cora_from_process((cora_process){ waiter->process });
    return CORA_ENDS;
}

static void create_drop(struct cora_waiter *base)
{
    struct create_waiter *waiter = (struct create_waiter *)base;
    struct process *process = waiter->process ? process_find(waiter->process) : NULL;
    if (!process)
        return;
    process->waiting--;
    if (!waiter->given)
        cora_process_close((cora_process){ waiter->process });
    if (process_find(waiter->process))
        process_leave(process);
}

static const struct cora_operation create_subprocess = {
    .name = "create_subprocess",
    .start = create_start,
    .resume = create_resume,
    .size = sizeof(struct create_waiter),
    .drop = create_drop,
};

cora_awaitable cora_create_subprocess_exec_at(const struct cora_place *place,
                                              const char *const *arguments,
                                              const struct cora_subprocess_options *options,
                                              size_t limit)
{
    static const struct cora_subprocess_options defaults = { 0 };
    const char *const nothing[] = { NULL };
    struct loop *loop = request_loop();
    if (!loop)
        return cora_ready(cora_temporary(cora_copy(cora_last_error())));
    struct order *order = order_new(arguments ? arguments : nothing, options ? options : &defaults);
    if (!order)
        return cora_ready(memory_error());
    order->loop = loop_handle(loop);
    order->place = place;
    order->limit = limit ? limit : CORA_STREAM_LIMIT;
    cora_value value = cora_own(order, &order_type);
    if (cora_is_error(value))
        return cora_ready(value);
    return (cora_awaitable){ .operation = &create_subprocess, .value = value };
}

cora_awaitable cora_create_subprocess_shell_at(const struct cora_place *place, const char *command,
                                               const struct cora_subprocess_options *options,
                                               size_t limit)
{
    const char *shell = options && options->executable ? options->executable : "/bin/sh";
    const char *const words[] = { shell, "-c", command, NULL };
    return cora_create_subprocess_exec_at(place, command ? words : NULL, options, limit);
}

/* ---- questions and signals ---- */

pid_t cora_process_pid(cora_process handle)
{
    const struct process *process = process_get(handle);
    return process ? process->pid : 0;
}

cora_value cora_process_returncode(cora_process handle)
{
    const struct process *process = process_get(handle);
    if (!process)
        return cora_last_error();
    return process->exited ? cora_int(process->returncode) : cora_nothing();
}

static uint64_t stream_of(cora_process handle, int fd)
{
    const struct process *process = process_get(handle);
    return process ? process->streams[fd] : 0;
}

cora_stream_writer cora_process_stdin(cora_process process)
{
    return (cora_stream_writer){ stream_of(process, STDIN_FILENO) };
}

cora_stream_reader cora_process_stdout(cora_process process)
{
    return (cora_stream_reader){ stream_of(process, STDOUT_FILENO) };
}

cora_stream_reader cora_process_stderr(cora_process process)
{
    return (cora_stream_reader){ stream_of(process, STDERR_FILENO) };
}

int cora_process_send_signal(cora_process handle, int number)
{
    const struct process *process = process_get(handle);
    if (!process)
        return cora_last_error_code();
    if (process->exited)
        return fail(-ESRCH, "process %d has ended", (int)process->pid);
    return cora_process_transport_send_signal(process->transport, number);
}

int cora_process_terminate(cora_process process)
{
    return cora_process_send_signal(process, SIGTERM);
}

int cora_process_kill(cora_process process)
{
    return cora_process_send_signal(process, SIGKILL);
}

int cora_process_print(cora_process handle, char *buffer, size_t size)
{
    const struct process *process = process_get(handle);
    return process ? snprintf(buffer, size, "<Process %d>", (int)process->pid)
                   : snprintf(buffer, size, "<Process stale>");
}

/* ---- waiting for its end ---- */

static bool wait_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    const struct process *process = process_get(cora_as_process(what->value));
    if (process && !process->exited)
        return false;
    *ret_outcome = process ? cora_int(process->returncode) : cora_last_error();
    return true;
}

static int wait_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    struct process *process = process_find(what->value.as.handle);
    process->waiting++;
    cora_waiters_append(&process->waiters, waiter);
    return 0;
}

static enum cora_resumed wait_resume(struct cora_waiter *waiter, bool cancelled,
                                     cora_value *ret_outcome)
{
    const struct process *process = process_find(waiter->value.as.handle);
    if (cancelled || !process)
        return CORA_ENDS_CANCELLED;
    if (!process->exited)
        return CORA_WAITS;
    *ret_outcome = cora_int(process->returncode);
    return CORA_ENDS;
}

static void wait_drop(struct cora_waiter *waiter)
{
    struct process *process = process_find(waiter->value.as.handle);
    if (!process)
        return;
    process->waiting--;
    process_leave(process);
}

const struct cora_operation cora_process_wait_operation = {
    .name = "wait",
    .now = wait_now,
    .start = wait_start,
    .resume = wait_resume,
    .drop = wait_drop,
};

/* ---- communicate: three coroutines at once, then the end ---- */

struct talk {
    cora_process process;
    cora_value input; /* kept by the coroutine */
    cora_value outputs[2];
    bool reads[2], feeds;
};

struct feed {
    cora_stream_writer stdin_writer;
    cora_value input; /* kept by who communicates */
};

static cora_next fed(cora_coro self)
{
    cora_value error = cora_caught(self);
    int code = cora_error_code(error);
    if (cora_is_error(error) && code != -EPIPE && code != -ECONNRESET)
        return cora_raise(self, error);
    cora_stream_close(cora_locals(self, struct feed)->stdin_writer);
    return cora_return_nothing(self);
}

static cora_next feed(cora_coro self)
{
    const struct feed *feed = cora_locals(self, struct feed);
    const char *bytes;
    size_t size;
    if (!cora_is_nothing(feed->input)) {
        bytes = cora_as_bytes(feed->input, &size);
        if (cora_stream_write(feed->stdin_writer, bytes, size) < 0)
            return cora_raise(self, cora_last_error());
    }
    return cora_try(self, cora_stream_drain(feed->stdin_writer), fed);
}

static cora_next read_all(cora_coro self)
{
    const cora_stream_reader *reader = cora_locals(self, cora_stream_reader);
    return cora_await(self, cora_stream_read(*reader, -1), cora_return_got);
}

static cora_next talked(cora_coro self)
{
    struct talk *talk = cora_locals(self, struct talk);
    cora_value outputs = cora_list(talk->outputs, 2);
    return cora_is_error(outputs) ? cora_raise(self, outputs) : cora_return(self, outputs);
}

static cora_next gathered(cora_coro self)
{
    struct talk *talk = cora_locals(self, struct talk);
    cora_value all = cora_hold(self, cora_got(self));
    size_t at = talk->feeds;
    if (cora_is_error(all))
        return cora_raise(self, all);
    for (int i = 0; i < 2; i++)
        if (talk->reads[i])
            talk->outputs[i] = cora_list_at(all, at++);
    if (!process_find(talk->process.bits))
        return talked(self); /* closed meanwhile: it has ended, as its pipes have */
    return cora_await(self, cora_process_wait(talk->process), talked);
}

static cora_next communicate(cora_coro self)
{
    struct talk *talk = cora_locals(self, struct talk);
    const struct process *process = process_get(talk->process);
    cora_coro parts[PIPES];
    size_t count = 0;
    if (!process)
        return cora_raise(self, cora_last_error());
    talk->feeds = process->streams[STDIN_FILENO];
    if (talk->feeds)
        parts[count++] =
            cora_coroutine(feed, struct feed, { process->streams[STDIN_FILENO] }, talk->input);
    for (int i = 0; i < 2; i++) {
        talk->reads[i] = process->streams[i + 1];
        if (talk->reads[i])
            parts[count++] = cora_coroutine(read_all, cora_stream_reader, process->streams[i + 1]);
    }
    if (count == 0)
        return cora_await(self, cora_process_wait(talk->process), talked);
    cora_future all = cora_gather(cora_running_loop(), parts, count);
    if (!cora_is_null(all))
        return cora_await(self, all, gathered);
    cora_value error = cora_temporary(cora_copy(cora_last_error()));
    for (size_t i = 0; i < count; i++)
        cora_coro_close(parts[i]); /* out of memory: what is no task yet never begins */
    return cora_raise(self, error);
}

cora_awaitable cora_process_communicate_at(const struct cora_place *place, cora_process process,
                                           cora_value input)
{
    struct talk talk = { .process = process };
    cora_coro coro = cora_coro_new(CORA_COROUTINE, communicate, &talk, sizeof talk, NULL, place);
    if (cora_is_null(coro))
        return cora_awaitable_of(coro);
    cora_value kept = cora_hold(coro, input);
    if (cora_is_error(kept)) {
        cora_coro_close(coro);
        return cora_ready(kept);
    }
    cora_locals(coro, struct talk)->input = kept;
    return cora_awaitable_of(coro);
}
