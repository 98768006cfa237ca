/*
 * How it works: a process is an object that three pipe transports and a watched child tell. Its
 * pipes have protocols of ours, whose self is the pipe's record in the object, which stays until
 * the last of them is over. All is made in one call; connection_made is queued behind the starts of
 * the pipes, and so comes before anything that they have to tell, and the child.
 *
 *     STARTING --made--> RUNNING --child and pipes are over--> ENDING --told--> OVER
 *
 * The object is given back when it is over and closed. While the protocol runs its self is not
 * dropped, even if it closes the loop.
 */
#include "process_transport.h"

#include "private_child.h"
#include "private_object.h"
#include "private_transport.h"
#include "ready.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define PIPES 3

enum pipe_state { PIPE_NONE, PIPE_OPEN, PIPE_LOST };

struct process_pipe {
    cora_transport transport; /* null unless it is open */
    uint8_t fd;               /* of the child: its index, too */
    uint8_t state;            /* enum pipe_state */
};

enum process_state { STARTING, RUNNING, ENDING, OVER };

struct subprocess {
    cora_subprocess_protocol protocol; /* type NULL: it has let go */
    struct process_pipe pipes[PIPES];
    uint64_t child; /* stale when it has ended */
    pid_t pid;
    int returncode;
    uint8_t state;     /* enum process_state */
    bool exited, told; /* has ended; and process_exited was called */
    bool closed;       /* by the program */
    bool held;         /* its protocol runs */
    bool gone;         /* with its loop, meanwhile */
};
_Static_assert(sizeof(struct subprocess) <= CORA_OBJECT_SIZE, "in an object");

static void process_closed(void *memory);

static const struct cora_object_type process_type = { "process transport",
                                                      sizeof(struct subprocess), process_closed };

static struct subprocess *process_get(cora_process_transport handle)
{
    return cora_object_get(handle.bits, &process_type);
}

static cora_process_transport process_handle(const struct subprocess *process)
{
    return (cora_process_transport){ object_with(process)->slot.bits };
}

static struct subprocess *process_of(struct process_pipe *pipe)
{
    struct process_pipe *first = pipe - pipe->fd;
    return (struct subprocess *)(void *)((char *)first - offsetof(struct subprocess, pipes));
}

/* ---- calling the protocol ---- */

static void protocol_release(struct subprocess *process)
{
    cora_subprocess_protocol protocol = process->protocol;
    process->protocol = (cora_subprocess_protocol){ 0 };
    if (protocol.type && protocol.type->drop)
        protocol.type->drop(protocol.self);
}

static void process_closed(void *memory)
{
    struct subprocess *process = memory;
    process->gone = true;
    if (!process->held)
        protocol_release(process);
}

/* Around a callback, also inside another one. */
static bool hold(struct subprocess *process)
{
    bool before = process->held;
    process->held = true;
    return before;
}

/* Whether the process goes on. When nothing of the protocol runs any more, what is over ends. */
static bool unhold(struct subprocess *process, bool before)
{
    bool goes_on = !process->gone && process->state != OVER;
    if (!before && !goes_on)
        protocol_release(process); /* drop may close it, too */
    process->held = before;
    if (!before && process->state == OVER && !process->gone && process->closed)
        cora_object_close(process_handle(process).bits, &process_type);
    return goes_on;
}

/* A callback that the loop calls has returned: what it has failed with is reported. */
static void callback_returned(struct subprocess *process, const char *callback)
{
    struct loop *loop = slot_owner(&object_with(process)->slot);
    cora_value failure = take_failure(loop);
    if (!cora_is_nothing(failure) && loop->ev) {
        char message[80], text[200];
        snprintf(message, sizeof message, "Exception in callback %s()", callback);
        cora_process_transport_print(process_handle(process), text, sizeof text);
        struct cora_report report = { .message = message,
                                      .exception = failure,
                                      .protocol = process->protocol.type->name,
                                      .object = text,
                                      .place = object_with(process)->place };
        loop_report(loop, &report);
    }
    cora_drop(failure);
}

/* ---- its exit, and its end ---- */

static void on_next_run(cora_args bound);

/* Whether what is next to be told waits for the next run, as this one ends. */
static bool waits_for_run(struct subprocess *process)
{
    struct loop *loop = slot_owner(&object_with(process)->slot);
    return loop->interrupted &&
           !cora_is_null(cora_call_soon(loop_handle(loop),
                                        cora_partial(on_next_run, process_handle(process))));
}

static void tell_exit(struct subprocess *process)
{
    process->told = true;
    if (process->protocol.type->process_exited)
        process->protocol.type->process_exited(process->protocol.self, process_handle(process));
    callback_returned(process, "process_exited");
}

static void tell_end(struct subprocess *process)
{
    process->state = ENDING;
    if (process->protocol.type->connection_lost)
        process->protocol.type->connection_lost(process->protocol.self, process_handle(process),
                                                cora_nothing());
    callback_returned(process, "connection_lost");
    process->state = OVER;
}

static bool has_open_pipe(const struct subprocess *process)
{
    for (int fd = 0; fd < PIPES; fd++)
        if (process->pipes[fd].state == PIPE_OPEN)
            return true;
    return false;
}

/* Tells the exit, and when there is nothing more to come the end. */
static void process_go_on(struct subprocess *process)
{
    if (process->state != RUNNING || !process->exited || waits_for_run(process))
        return;
    bool before = hold(process);
    if (!process->told)
        tell_exit(process);
    if (!process->gone && process->state == RUNNING && !has_open_pipe(process) &&
        !waits_for_run(process))
        tell_end(process);
    unhold(process, before);
}

static void on_next_run(cora_args bound)
{
    struct subprocess *process = process_get(cora_arg_process_transport(bound, 0));
    if (process)
        process_go_on(process);
}

/* A thread may notice it before the process is made: then it is told after that. */
static void on_exit_noticed(void *owner, cora_value returncode)
{
    struct subprocess *process = owner;
    process->exited = true;
    process->returncode = (int)cora_as_int(returncode);
    process_go_on(process);
}

static void on_made(cora_args bound)
{
    struct subprocess *process = process_get(cora_arg_process_transport(bound, 0));
    if (!process)
        return;
    process->state = RUNNING;
    bool before = hold(process);
    if (process->protocol.type->connection_made)
        process->protocol.type->connection_made(process->protocol.self, process_handle(process));
    callback_returned(process, "connection_made");
    if (unhold(process, before))
        process_go_on(process);
}

/* ---- what the pipes tell ---- */

static void pipe_data_received(void *self, cora_transport transport, const void *bytes, size_t size)
{
    struct process_pipe *pipe = self;
    struct subprocess *process = process_of(pipe);
    (void)transport;
    bool before = hold(process);
    if (process->protocol.type->pipe_data_received)
        process->protocol.type->pipe_data_received(process->protocol.self, process_handle(process),
                                                   pipe->fd, bytes, size);
    unhold(process, before);
}

static void pipe_connection_lost(void *self, cora_transport transport, cora_value error)
{
    struct process_pipe *pipe = self;
    struct subprocess *process = process_of(pipe);
    (void)transport;
    pipe->state = PIPE_LOST;
    pipe->transport = (cora_transport){ 0 };
    bool before = hold(process);
    if (process->protocol.type->pipe_connection_lost)
        process->protocol.type->pipe_connection_lost(process->protocol.self,
                                                     process_handle(process), pipe->fd, error);
    callback_returned(process, "pipe_connection_lost");
    if (unhold(process, before))
        process_go_on(process);
}

static void pipe_flow(struct subprocess *process,
                      void (*callback)(void *self, cora_process_transport transport))
{
    bool before = hold(process);
    if (callback)
        callback(process->protocol.self, process_handle(process));
    unhold(process, before);
}

static void pipe_pause_writing(void *self, cora_transport transport)
{
    struct subprocess *process = process_of(self);
    (void)transport;
    pipe_flow(process, process->protocol.type->pause_writing);
}

static void pipe_resume_writing(void *self, cora_transport transport)
{
    struct subprocess *process = process_of(self);
    (void)transport;
    pipe_flow(process, process->protocol.type->resume_writing);
}

static const struct cora_protocol_type input_type = {
    .name = "WriteSubprocessPipeProto",
    .connection_lost = pipe_connection_lost,
    .pause_writing = pipe_pause_writing,
    .resume_writing = pipe_resume_writing,
};

static const struct cora_protocol_type output_type = {
    .name = "ReadSubprocessPipeProto",
    .data_received = pipe_data_received,
    .connection_lost = pipe_connection_lost,
};

/* ---- starting: the descriptors ---- */

/* Of the child's standard descriptors: ours, and what the child gets. -1: none. */
struct ends {
    int near[PIPES], far[PIPES];
    bool far_is_ours[PIPES];
};

static void ends_close_far(struct ends *ends)
{
    for (int fd = 0; fd < PIPES; fd++)
        if (ends->far_is_ours[fd])
            close(ends->far[fd]);
}

static void ends_close_near(struct ends *ends)
{
    for (int fd = 0; fd < PIPES; fd++)
        if (ends->near[fd] >= 0)
            close(ends->near[fd]);
}

static int check_standard(int fd, int what)
{
    if (what < CORA_SUBPROCESS_INHERIT || (what == CORA_SUBPROCESS_STDOUT && fd != STDERR_FILENO))
        return fail(CORA_EVALUE, "%d cannot be descriptor %d of a child process", what, fd);
    return 0;
}

static int open_pipe(struct ends *ends, int fd)
{
    int pair[2];
    if (pipe2(pair, O_CLOEXEC) < 0)
        return fail(-errno, "a pipe for descriptor %d of a child process", fd);
    ends->near[fd] = pair[fd == STDIN_FILENO];
    ends->far[fd] = pair[fd != STDIN_FILENO];
    ends->far_is_ours[fd] = true;
    return 0;
}

static int open_standard(struct ends *ends, int fd, int what)
{
    switch (what) {
    case CORA_SUBPROCESS_DEFAULT:
    case CORA_SUBPROCESS_PIPE:
        return open_pipe(ends, fd);
    case CORA_SUBPROCESS_INHERIT:
        return 0;
    case CORA_SUBPROCESS_STDOUT:
        ends->far[fd] = SPAWN_TO_STDOUT;
        return 0;
    case CORA_SUBPROCESS_DEVNULL:
        ends->far[fd] = open("/dev/null", O_RDWR | O_CLOEXEC);
        ends->far_is_ours[fd] = ends->far[fd] >= 0;
        return ends->far[fd] < 0 ? fail(-errno, "/dev/null") : 0;
    default:
        ends->far[fd] = what;
        return 0;
    }
}

/* Opens what the options ask for. 0, or a code and nothing is open. */
static int ends_open(struct ends *ends, const struct cora_subprocess_options *options)
{
    int asked[PIPES] = { options->in, options->out, options->err }, code = 0;
    *ends = (struct ends){ .near = { -1, -1, -1 },
                           .far = { SPAWN_INHERIT, SPAWN_INHERIT, SPAWN_INHERIT } };
    for (int fd = 0; fd < PIPES && code == 0; fd++)
        code = check_standard(fd, asked[fd]);
    for (int fd = 0; fd < PIPES && code == 0; fd++)
        code = open_standard(ends, fd, asked[fd]);
    if (code == 0)
        return 0;
    ends_close_near(ends);
    ends_close_far(ends);
    return code;
}

/* ---- starting: the process ---- */

static int check_options(const char *const *arguments,
                         const struct cora_subprocess_options *options)
{
    if (!arguments || !arguments[0])
        return fail(CORA_EVALUE, "there is no program to be started");
    for (size_t i = 0; i < options->pass_fd_count; i++)
        if (options->pass_fds[i] < 0)
            return fail(CORA_EVALUE, "%d cannot be passed to a child process",
                        options->pass_fds[i]);
    if (options->process_group < CORA_SUBPROCESS_NEW_GROUP)
        return fail(CORA_EVALUE, "%d is no process group", options->process_group);
    if (options->start_new_session && options->process_group)
        return fail(CORA_EVALUE, "a leader of a session has a group of its own");
    return 0;
}

/* Starts the program, and watches it. 0, or a code: then it does not run. */
static int process_spawn(struct loop *loop, struct subprocess *process,
                         const char *const *arguments,
                         const struct cora_subprocess_options *options, const int standard[PIPES],
                         const struct cora_place *place)
{
    int code = spawn(arguments, options, standard, &process->pid);
    if (code < 0)
        return code;
    struct hook hook = hook_function(on_exit_noticed, process);
    process->child = child_watch(loop, process->pid, hook, place);
    if (process->child)
        return 0;
    code = cora_last_error_code();
    hook_drop(loop, &hook);
    child_end_now(process->pid);
    return code;
}

/* Makes transports of our ends, which they take over. 0 or a code. */
static int process_connect(struct loop *loop, struct subprocess *process, struct ends *ends,
                           const struct cora_place *place)
{
    for (int fd = 0; fd < PIPES; fd++) {
        struct process_pipe *pipe = &process->pipes[fd];
        pipe->fd = (uint8_t)fd;
        if (ends->near[fd] < 0)
            continue;
        struct object *made =
            fd == STDIN_FILENO
                ? write_pipe_transport_new(loop, ends->near[fd],
                                           (cora_protocol){ &input_type, pipe }, NULL, place)
                : read_pipe_transport_new(loop, ends->near[fd],
                                          (cora_protocol){ &output_type, pipe }, NULL, place);
        if (!made)
            return cora_last_error_code();
        ends->near[fd] = -1;
        pipe->state = PIPE_OPEN;
        pipe->transport = (cora_transport){ made->slot.bits };
    }
    return cora_is_null(
               cora_call_soon(loop_handle(loop), cora_partial(on_made, process_handle(process))))
               ? cora_last_error_code()
               : 0;
}

/* Ends what is there of a process that could not be made. */
static void process_undo(struct loop *loop, struct subprocess *process)
{
    static const struct cora_protocol_type nobody = { .name = "nobody" };
    for (int fd = 0; fd < PIPES; fd++) {
        uint64_t bits = process->pipes[fd].transport.bits;
        if (!bits)
            continue;
        struct transport *pipe = transport_in(object_of(slot_at(bits)));
        pipe->protocol = (cora_protocol){ &nobody, NULL };
        transport_force_close(loop, pipe, cora_nothing());
    }
    child_abandon(process->child);
}

/* 0, or a code and the object is as it was, but for what is to be dropped. */
static int process_start(struct loop *loop, struct subprocess *process,
                         const char *const *arguments,
                         const struct cora_subprocess_options *options,
                         const struct cora_place *place)
{
    struct ends ends;
    int code = check_options(arguments, options);
    if (code == 0)
        code = ends_open(&ends, options);
    if (code < 0)
        return code;
    code = process_spawn(loop, process, arguments, options, ends.far, place);
    ends_close_far(&ends);
    if (code == 0 && (code = process_connect(loop, process, &ends, place)) < 0)
        process_undo(loop, process);
    ends_close_near(&ends);
    return code;
}

cora_process_transport cora_subprocess_exec_at(const struct cora_place *place, cora_loop handle,
                                               const char *const *arguments,
                                               const struct cora_subprocess_options *options,
                                               cora_subprocess_protocol protocol)
{
    static const struct cora_subprocess_options defaults = { 0 };
    static const struct cora_subprocess_protocol_type silent = { .name = "nobody" };
    uint64_t bits = cora_object_new_at(handle, &process_type, place);
    if (!bits) {
        cora_value error = cora_temporary(cora_copy(cora_last_error()));
        if (protocol.type && protocol.type->drop)
            protocol.type->drop(protocol.self);
        fail_with(error);
        return (cora_process_transport){ 0 };
    }
    struct subprocess *process = process_get((cora_process_transport){ bits });
    struct loop *loop = slot_owner(&object_with(process)->slot);
    process->protocol = protocol.type ? protocol : (cora_subprocess_protocol){ &silent, NULL };
    if (process_start(loop, process, arguments, options ? options : &defaults, place) == 0)
        return (cora_process_transport){ bits };
    cora_value error = cora_temporary(cora_copy(cora_last_error()));
    cora_object_close(bits, &process_type); /* drop may do anything */
    fail_with(error);
    return (cora_process_transport){ 0 };
}

cora_process_transport cora_subprocess_shell_at(const struct cora_place *place, cora_loop loop,
                                                const char *command,
                                                const struct cora_subprocess_options *options,
                                                cora_subprocess_protocol protocol)
{
    const char *shell = options && options->executable ? options->executable : "/bin/sh";
    const char *const words[] = { shell, "-c", command, NULL };
    const char *const nothing[] = { NULL };
    return cora_subprocess_exec_at(place, loop, command ? words : nothing, options, protocol);
}

/* ---- its life ---- */

int cora_process_transport_close(cora_process_transport handle)
{
    struct subprocess *process = process_get(handle);
    if (!process)
        return stale_code();
    if (process->state == OVER && !process->held)
        return cora_object_close(handle.bits, &process_type);
    if (process->closed)
        return 0;
    process->closed = true;
    for (int fd = 0; fd < PIPES; fd++)
        if (process->pipes[fd].state == PIPE_OPEN)
            cora_transport_close(process->pipes[fd].transport);
    if (!process->exited && child_runs(process->child))
        child_signal(process->child, SIGKILL);
    return 0;
}

bool cora_process_transport_is_closing(cora_process_transport handle)
{
    const struct subprocess *process = process_get(handle);
    return !process || process->closed;
}

pid_t cora_process_transport_get_pid(cora_process_transport handle)
{
    const struct subprocess *process = process_get(handle);
    return process ? process->pid : 0;
}

cora_value cora_process_transport_get_returncode(cora_process_transport handle)
{
    const struct subprocess *process = process_get(handle);
    if (!process)
        return cora_last_error();
    return process->exited ? cora_int(process->returncode) : cora_nothing();
}

cora_transport cora_process_transport_get_pipe_transport(cora_process_transport handle, int fd)
{
    const struct subprocess *process = process_get(handle);
    if (!process || process->state == STARTING || fd < 0 || fd >= PIPES)
        return (cora_transport){ 0 };
    return process->pipes[fd].transport;
}

int cora_process_transport_send_signal(cora_process_transport handle, int number)
{
    const struct subprocess *process = process_get(handle);
    if (!process)
        return cora_last_error_code();
    if (process->exited)
        return fail(-ESRCH, "process %d has ended", (int)process->pid);
    return child_signal(process->child, number);
}

int cora_process_transport_terminate(cora_process_transport handle)
{
    return cora_process_transport_send_signal(handle, SIGTERM);
}

int cora_process_transport_kill(cora_process_transport handle)
{
    return cora_process_transport_send_signal(handle, SIGKILL);
}

/* ---- printing ---- */

int cora_process_transport_print(cora_process_transport handle, char *buffer, size_t size)
{
    static const char *const names[PIPES] = { "stdin", "stdout", "stderr" };
    const struct subprocess *process = process_get(handle);
    if (!process)
        return snprintf(buffer, size, "<SubprocessTransport stale>");
    char pipes[400] = "", state[40] = "running", text[100];
    size_t length = 0;
    if (process->exited)
        snprintf(state, sizeof state, "returncode=%d", process->returncode);
    for (int fd = 0; fd < PIPES; fd++) {
        if (process->pipes[fd].state != PIPE_OPEN)
            continue;
        cora_transport_print(process->pipes[fd].transport, text, sizeof text);
        length +=
            (size_t)snprintf(pipes + length, sizeof pipes - length, " %s=%s", names[fd], text);
    }
    return snprintf(buffer, size, "<SubprocessTransport%s pid=%d %s%s>",
                    process->closed ? " closed" : "", (int)process->pid, state, pipes);
}
