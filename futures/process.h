/*
 * process.h: child processes with streams.
 *
 *     cora_when_done(cora_create_subprocess_exec(cora_argv("sort", "-r"),
 *                        &(struct cora_subprocess_options){
 *                            .in = CORA_SUBPROCESS_PIPE, .out = CORA_SUBPROCESS_PIPE }, 0),
 *                    cora_partial(on_started, "ferries"));               // callback style
 *     ...
 *     cora_process sort = cora_as_process(cora_result(future));
 *     cora_when_done(cora_process_communicate(sort, cora_text(names)), cora_partial(on_sorted,
 * sort));
 *
 *     return cora_await(self, cora_process_wait(sort), ended);           // in a step
 *
 * Descriptors 0, 1 and 2 of the child are those of this process, unless the options say something
 * else: for a pipe there is a stream. Yours to close, also when it has ended: it is what asyncio
 * does when nobody holds a process any more. asyncio: create_subprocess_exec and _shell, Process.
 */
#ifndef CORA_PROCESS_H
#define CORA_PROCESS_H

#include <cora/operation.h>
#include <cora/process_transport.h>
#include <cora/stream_reader.h>
#include <cora/stream_writer.h>

CORA_BEGIN

/*
 * Starts a program with these arguments, the first of which is its name, or a command of the shell,
 * and ends with a process (cora_as_process). What can go wrong is as of cora_subprocess_exec. The
 * limit is that of the readers; 0: CORA_STREAM_LIMIT. All that is given is copied in this very
 * call; the loop is the one that runs, or the thread's current one. If cancelled: the child is
 * killed, and it ends when that is reaped; at once if it is cancelled again. asyncio:
 * create_subprocess_exec, create_subprocess_shell.
 */
#define cora_create_subprocess_exec(...)                                                           \
    cora_create_subprocess_exec_at(CORA_PLACE("cora_create_subprocess_exec"), __VA_ARGS__)
#define cora_create_subprocess_shell(...)                                                          \
    cora_create_subprocess_shell_at(CORA_PLACE("cora_create_subprocess_shell"), __VA_ARGS__)
CORA_API cora_awaitable
cora_create_subprocess_exec_at(const struct cora_place *place, const char *const *arguments,
                               const struct cora_subprocess_options *options, size_t limit);
CORA_API cora_awaitable
cora_create_subprocess_shell_at(const struct cora_place *place, const char *command,
                                const struct cora_subprocess_options *options, size_t limit);

/* Its number; 0 of one that is stale. */
CORA_API pid_t cora_process_pid(cora_process process);

/* As cora_process_transport_get_returncode: nothing while it runs, or an integer. */
CORA_API cora_value cora_process_returncode(cora_process process);

/* What is written to its descriptor 0, read from its 1 and 2; null if that is no pipe. */
CORA_API cora_stream_writer cora_process_stdin(cora_process process);
CORA_API cora_stream_reader cora_process_stdout(cora_process process);
CORA_API cora_stream_reader cora_process_stderr(cora_process process);

/*
 * Ends with its return code when it has ended, at once if it has; whatever is to be read from its
 * pipes still can be. A child that waits to write more than a pipe holds does not end: then
 * communicate is better. If cancelled: nothing else happens. Any number may wait. asyncio: wait.
 */
CORA_API extern const struct cora_operation cora_process_wait_operation;

static inline cora_awaitable cora_process_wait(cora_process process)
{
    cora_awaitable wait = {
        &cora_process_wait_operation, cora_from_process(process), 0, 0, 0, cora_nothing()
    };
    return wait;
}

/*
 * Writes a text, bytes, or nothing to its stdin, and closes that; reads stdout and stderr to their
 * ends; waits for it. Ends with a list of the two outputs: bytes, or nothing for what is no pipe.
 * That it does not read all of the input is no error, nor that the process is closed meanwhile:
 * what was read until then is the output. If cancelled: the child runs on. A coroutine. asyncio:
 * communicate.
 */
#define cora_process_communicate(...)                                                              \
    cora_process_communicate_at(CORA_PLACE("cora_process_communicate"), __VA_ARGS__)
CORA_API cora_awaitable cora_process_communicate_at(const struct cora_place *place,
                                                    cora_process process, cora_value input);

/* As cora_process_transport_send_signal, terminate, kill. */
CORA_API int cora_process_send_signal(cora_process process, int number);
CORA_API int cora_process_terminate(cora_process process);
CORA_API int cora_process_kill(cora_process process);

/*
 * Kills it if it runs still, and closes its streams. The handle is stale when the child is reaped,
 * its pipes are over, and nobody waits for it; at once if that is so. 0, also for one that is
 * stale; CORA_EWRONGTHREAD, CORA_ETYPE.
 */
CORA_API int cora_process_close(cora_process process);

/* Writes it for a person to read: <Process 1234>. As snprintf. */
CORA_API int cora_process_print(cora_process process, char *buffer, size_t size);

CORA_END
#endif
