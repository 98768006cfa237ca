/*
 * process_transport.h: a child process, its pipes, and its end.
 *
 *     static void on_output(void *self, cora_process_transport process, int fd,
 *                           const void *bytes, size_t size)
 *     ...
 *     static const struct cora_subprocess_protocol_type clerk_type = {
 *         .name = "Clerk", .pipe_data_received = on_output, .process_exited = on_exit,
 *     };
 *
 *     cora_subprocess_exec(loop, cora_argv("sort", "-r"), NULL,
 *                          (cora_subprocess_protocol){ &clerk_type, clerk });
 *
 *                       .--> pipe_data_received*, then pipe_connection_lost, for each pipe --.
 *     connection_made --+                                                                    |
 *                       '--> process_exited --------------------------------------------------+
 *                                                                         connection_lost <--'
 *
 * Descriptors 0, 1 and 2 of the child are pipes to us, unless the options say something else; ours
 * are not inherited by any child. In what order pipes and exit are told is the system's matter, but
 * connection_lost comes when all of them were. asyncio: SubprocessTransport, SubprocessProtocol;
 * with streams: futures/process.h.
 */
#ifndef CORA_PROCESS_TRANSPORT_H
#define CORA_PROCESS_TRANSPORT_H

#include "transport.h"

#include <sys/types.h>

CORA_BEGIN

/* ---- how a child is started ---- */

/* What a standard descriptor of the child is; any number above 0: this descriptor of ours. */
enum {
    CORA_SUBPROCESS_DEFAULT = 0,  /* a pipe; with streams: inherited */
    CORA_SUBPROCESS_PIPE = -1,    /* to us */
    CORA_SUBPROCESS_STDOUT = -2,  /* only of err: the same as out */
    CORA_SUBPROCESS_DEVNULL = -3, /* nothing to read, and what is written vanishes */
    CORA_SUBPROCESS_INHERIT = -4, /* what this process has there */
};

#define CORA_SUBPROCESS_NEW_GROUP (-1)

/*
 * All zeros, or NULL: a program that is looked for in this process's PATH, in its directory, with
 * its environment, and with pipes. Texts and arrays are borrowed during the call. asyncio: the
 * keyword arguments of subprocess.Popen.
 */
struct cora_subprocess_options {
    int in, out, err;       /* its standard descriptors 0, 1 and 2 */
    const char *executable; /* the file, if it is not the first argument; instead of /bin/sh */
    const char *cwd;        /* its directory */
    const char *const *env; /* its environment: "NAME=value", ..., NULL */
    const int *pass_fds;    /* of ours, that it has under the same numbers */
    size_t pass_fd_count;
    bool inherit_fds;       /* also all others that are not close-on-exec (close_fds=False) */
    bool start_new_session; /* it leads a session of its own */
    bool keep_signals;      /* blocked and ignored ones as they are (restore_signals=False) */
    int process_group;      /* it is in this one; CORA_SUBPROCESS_NEW_GROUP: one of its own */
};

/* Arguments, the program first: an array of texts with its end. */
#define cora_argv(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* ---- what is told ---- */

/*
 * Static: it must outlive the processes. Every callback may be NULL, and then does nothing. All but
 * the two of flow control are called by the loop; each may close, kill or free anything. One that
 * fails (cora_fail) is reported, and the others are called all the same.
 */
struct cora_subprocess_protocol_type {
    const char *name; /* in reports */

    /* It runs, its pipes are there. Before any other callback, in the next tick. */
    void (*connection_made)(void *self, cora_process_transport transport);

    /* What it has written to its descriptor 1 or 2: borrowed until it returns; never 0 bytes. */
    void (*pipe_data_received)(void *self, cora_process_transport transport, int fd,
                               const void *bytes, size_t size);

    /* A pipe is over, with an error or nothing. Once for each. */
    void (*pipe_connection_lost)(void *self, cora_process_transport transport, int fd,
                                 cora_value error);

    /* It has ended: cora_process_transport_get_returncode. Once. */
    void (*process_exited)(void *self, cora_process_transport transport);

    /* It has ended, and all pipes are over. The last callback. The error is always nothing. */
    void (*connection_lost)(void *self, cora_process_transport transport, cora_value error);

    /* More is waiting to be written to its descriptor 0 than the pipe's high-water mark; no more
     * than the low one. */
    void (*pause_writing)(void *self, cora_process_transport transport);
    void (*resume_writing)(void *self, cora_process_transport transport);

    /* The process lets go of self: after connection_lost, or without it if the process could not be
     * started, or the loop is closed. Exactly once. */
    void (*drop)(void *self);
};

typedef struct cora_subprocess_protocol {
    const struct cora_subprocess_protocol_type *type;
    void *self;
} cora_subprocess_protocol;

/* ---- its life ---- */

/*
 * Starts a program with these arguments, the first of which is its name; or a command of the shell.
 * The protocol is taken over, whether it works or not. Null if it does not, and nothing is left:
 * the system's error with the file's name (-ENOENT: FileNotFoundError), a ValueError for options
 * that contradict each other, as cora_call_soon. The process is yours to close, at the latest with
 * its loop. asyncio: loop.subprocess_exec, subprocess_shell.
 */
#define cora_subprocess_exec(...)                                                                  \
    cora_subprocess_exec_at(CORA_PLACE("cora_subprocess_exec"), __VA_ARGS__)
#define cora_subprocess_shell(...)                                                                 \
    cora_subprocess_shell_at(CORA_PLACE("cora_subprocess_shell"), __VA_ARGS__)
CORA_API cora_process_transport cora_subprocess_exec_at(
    const struct cora_place *place, cora_loop loop, const char *const *arguments,
    const struct cora_subprocess_options *options, cora_subprocess_protocol protocol);
CORA_API cora_process_transport cora_subprocess_shell_at(
    const struct cora_place *place, cora_loop loop, const char *command,
    const struct cora_subprocess_options *options, cora_subprocess_protocol protocol);

/*
 * Kills it if it runs still, and closes its pipes. What is told after that comes as always; when
 * connection_lost was, the handle is stale. If it was already, it is stale at once. 0, also for one
 * that is stale; CORA_EWRONGTHREAD, CORA_ETYPE. Closing the loop does the same, but tells nothing.
 */
CORA_API int cora_process_transport_close(cora_process_transport transport);

/* Whether it was closed. */
CORA_API bool cora_process_transport_is_closing(cora_process_transport transport);

/* Its number; 0 of one that is stale. */
CORA_API pid_t cora_process_transport_get_pid(cora_process_transport transport);

/*
 * Nothing while it runs, as far as the loop has noticed; then its exit status, or minus the number
 * of the signal that ended it; 255 if somebody else has reaped it, which is reported.
 */
CORA_API cora_value cora_process_transport_get_returncode(cora_process_transport transport);

/*
 * Its pipe 0, to be written to, 1 or 2, to be paused, resumed or closed; its protocol is not to be
 * replaced. Null before connection_made, when that pipe is over, and if there is none.
 */
CORA_API cora_transport cora_process_transport_get_pipe_transport(cora_process_transport transport,
                                                                  int fd);

/*
 * Sends it a signal; SIGTERM; SIGKILL. 0, also if it has ended and the loop has not noticed; -ESRCH
 * (ProcessLookupError) if it has; -EPERM, -EINVAL.
 */
CORA_API int cora_process_transport_send_signal(cora_process_transport transport, int number);
CORA_API int cora_process_transport_terminate(cora_process_transport transport);
CORA_API int cora_process_transport_kill(cora_process_transport transport);

/* Writes it for a person to read: <SubprocessTransport pid=7 running stdout=<...>>. As snprintf. */
CORA_API int cora_process_transport_print(cora_process_transport transport, char *buffer,
                                          size_t size);

CORA_END
#endif
