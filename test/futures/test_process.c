/*
 * Child processes with streams: starting, talking, waiting and cancelling; first in callbacks, then
 * in steps. The children are the shell and cat. The clock is the real one, as children are real.
 */
#include "coroutines.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#define PIPE CORA_SUBPROCESS_PIPE
#define DEVNULL CORA_SUBPROCESS_DEVNULL

static cora_loop begin(void)
{
    cora_loop loop = cora_loop_new(NULL);
    cora_set_current_loop(loop);
    return loop;
}

/* All that a test has closed is gone, and no child is left. */
static void finish(cora_loop loop)
{
    siginfo_t info;
    cora_drop_temporaries();
    for (int i = 0; i < 1000 && cora_live(loop) > 0; i++)
        run_for(loop, 0.001);
    CHECK_INT(cora_live(loop), 0);
    CHECK(waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD);
    cora_set_current_loop((cora_loop){ 0 });
    cora_loop_close(loop);
}

static cora_awaitable shell(const char *command, int in, int out, int err)
{
    return cora_create_subprocess_shell(
        command, &(struct cora_subprocess_options){ .in = in, .out = out, .err = err }, 0);
}

/* Starts one. */
static cora_process started(cora_loop loop, cora_awaitable creation)
{
    cora_process process = cora_as_process(cora_run_until_complete(loop, creation));
    CHECK(!cora_is_null(process));
    return process;
}

/* What something ends with, as it is printed. */
static const char *ends(cora_loop loop, cora_awaitable what)
{
    static char text[400];
    cora_print(cora_run_until_complete(loop, what), text, sizeof text);
    return text;
}

static const char *wait_for_end(cora_loop loop, cora_process process)
{
    return ends(loop, cora_process_wait(process));
}

/* ---- in callbacks ---- */

struct sorting {
    cora_process sort;
    char text[200];
    int returncode;
};

static void on_sorted(cora_args bound, cora_future done)
{
    struct sorting *sorting = cora_arg(bound, 0, struct sorting *);
    cora_print(cora_result(done), sorting->text, sizeof sorting->text);
    sorting->returncode = (int)cora_as_int(cora_process_returncode(sorting->sort));
    cora_process_close(sorting->sort);
    cora_stop(cora_running_loop());
}

static void on_started(cora_args bound, cora_future done)
{
    struct sorting *sorting = cora_arg(bound, 0, struct sorting *);
    sorting->sort = cora_as_process(cora_result(done));
    CHECK(!cora_is_null(
        cora_when_done(cora_process_communicate(sorting->sort, cora_text("bread\nsalt\nfish\n")),
                       cora_partial(on_sorted, sorting))));
}

TEST(callbacks, "callbacks start a program, feed it, get its output, and its return code")
{
    cora_loop loop = begin();
    struct sorting sorting = { .returncode = -1 };
    CHECK(!cora_is_null(cora_when_done(
        cora_create_subprocess_exec(cora_argv("sort", "-r"),
                                    &(struct cora_subprocess_options){ .in = PIPE, .out = PIPE },
                                    0),
        cora_partial(on_started, &sorting))));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_TEXT(sorting.text, "[b\"salt\\nfish\\nbread\\n\", None]");
    CHECK_INT(sorting.returncode, 0);
    finish(loop);
}

/* ---- in steps ---- */

struct echo {
    cora_process cat;
};

static cora_next echo_ended(cora_coro self)
{
    cora_value got = cora_got(self);
    cora_process_close(cora_locals(self, struct echo)->cat);
    return cora_return(self, got);
}

static cora_next echo_read(cora_coro self)
{
    cora_value got = cora_got(self);
    CHECK(cora_equal(got, cora_bytes("crates", 6)));
    return cora_await(self, cora_process_wait(cora_locals(self, struct echo)->cat), echo_ended);
}

static cora_next echo_drained(cora_coro self)
{
    cora_process cat = cora_locals(self, struct echo)->cat;
    cora_stream_close(cora_process_stdin(cat));
    return cora_await(self, cora_stream_read(cora_process_stdout(cat), -1), echo_read);
}

static cora_next echo_started(cora_coro self)
{
    struct echo *echo = cora_locals(self, struct echo);
    echo->cat = cora_as_process(cora_got(self));
    CHECK_INT(cora_stream_write(cora_process_stdin(echo->cat), "crates", 6), 0);
    return cora_await(self, cora_stream_drain(cora_process_stdin(echo->cat)), echo_drained);
}

static cora_next echo_begin(cora_coro self)
{
    return cora_await(self, shell("cat", PIPE, PIPE, 0), echo_started);
}

TEST(steps, "a coroutine writes to a child, drains, closes, reads the same back, and waits",
     "test_subprocess.SubprocessMixin.test_stdin_stdout")
{
    cora_loop loop = begin();
    CHECK_TEXT(ran(loop, cora_coroutine(echo_begin, struct echo)), "0");
    finish(loop);
}

/* ---- waiting ---- */

TEST(shell_exit_code, "the end of a child without pipes is awaited",
     "test_subprocess.SubprocessMixin.test_shell")
{
    cora_loop loop = begin();
    cora_process process = started(loop, cora_create_subprocess_shell("exit 7", NULL, 0));
    CHECK(cora_is_null(cora_process_stdin(process)));
    CHECK(cora_is_null(cora_process_stdout(process)));
    CHECK(cora_is_null(cora_process_stderr(process)));
    CHECK_TEXT(wait_for_end(loop, process), "7");
    CHECK_INT(cora_as_int(cora_process_returncode(process)), 7);
    cora_process_close(process);
    finish(loop);
}

static void many_waits(cora_loop loop, cora_process process)
{
    cora_awaitable waits[10];
    for (int i = 0; i < 10; i++)
        waits[i] = cora_process_wait(process);
    cora_value codes = cora_run_until_complete(loop, cora_gather(loop, waits, 10));
    CHECK_INT(cora_list_size(codes), 10);
    for (size_t i = 0; i < 10; i++)
        CHECK_INT(cora_as_int(cora_list_at(codes, i)), 42);
}

TEST(ten_waits, "any number may wait, before the end and after it",
     "test_subprocess.SubprocessMixin.test_subprocess_concurrent_wait")
{
    cora_loop loop = begin();
    cora_process process = started(loop, shell("exit 42", 0, 0, 0));
    many_waits(loop, process);
    many_waits(loop, process);
    cora_process_close(process);
    finish(loop);
}

TEST(killed, "a child that is killed ends with minus SIGKILL",
     "test_subprocess.SubprocessMixin.test_kill")
{
    cora_loop loop = begin();
    cora_process process = started(loop, shell("read word", PIPE, 0, 0));
    CHECK(cora_is_nothing(cora_process_returncode(process)));
    CHECK_INT(cora_process_kill(process), 0);
    CHECK_TEXT(wait_for_end(loop, process), "-9");
    CHECK_INT(cora_process_kill(process), -ESRCH);
    cora_process_close(process);
    finish(loop);
}

TEST(killed_with_a_grandchild,
     "wait ends with the child, also while a grandchild has its pipe open",
     "test_subprocess.SubprocessMixin.test_kill_issue43884")
{
    cora_loop loop = begin();
    const int passed[] = { 9 };
    int order[2];
    CHECK_INT(pipe2(order, O_CLOEXEC), 0);
    CHECK_INT(dup3(order[0], 9, O_CLOEXEC), 9);
    cora_process process =
        started(loop, cora_create_subprocess_shell(
                          "(read word; echo late) <&9 & echo early; read word",
                          &(struct cora_subprocess_options){
                              .in = PIPE, .out = PIPE, .pass_fds = passed, .pass_fd_count = 1 },
                          0));
    cora_stream_reader out = cora_process_stdout(process);
    CHECK_TEXT(ends(loop, cora_stream_readline(out)), "b\"early\\n\"");
    cora_process_kill(process);
    CHECK_TEXT(wait_for_end(loop, process), "-9");
    CHECK_INT(write(order[1], "go\n", 3), 3);
    CHECK_TEXT(ends(loop, cora_stream_read(out, -1)), "b\"late\\n\"");
    cora_process_close(process);
    close(order[0]);
    close(order[1]);
    close(9);
    finish(loop);
}

TEST(signalled, "a signal ends a child that has told that it is ready",
     "test_subprocess.SubprocessMixin.test_send_signal")
{
    cora_loop loop = begin();
    signal(SIGHUP, SIG_DFL);
    cora_process process = started(loop, shell("echo sleeping; read word", PIPE, PIPE, 0));
    CHECK_TEXT(ends(loop, cora_stream_readline(cora_process_stdout(process))), "b\"sleeping\\n\"");
    CHECK_INT(cora_process_send_signal(process, SIGHUP), 0);
    CHECK_TEXT(wait_for_end(loop, process), "-1");
    cora_process_close(process);
    finish(loop);
}

TEST(wait_is_cancelled, "cancelling a wait leaves the child, and other waits, alone")
{
    cora_loop loop = begin();
    cora_process process = started(loop, shell("read word; exit 2", PIPE, 0, 0));
    cora_future wait = cora_ensure_future(loop, cora_process_wait(process));
    tick(loop);
    CHECK(cora_cancel(wait));
    tick(loop);
    CHECK(cora_cancelled(wait));
    cora_release(wait);
    cora_stream_write(cora_process_stdin(process), "go\n", 3);
    CHECK_TEXT(wait_for_end(loop, process), "2");
    cora_process_close(process);
    finish(loop);
}

TEST(closed_while_waited_for, "closing kills; who waits is told, and then the handle is stale")
{
    cora_loop loop = begin();
    cora_process process = started(loop, shell("read word", PIPE, PIPE, 0));
    CHECK_INT(cora_process_close(process), 0);
    CHECK_INT(cora_process_close(process), 0);
    CHECK_TEXT(wait_for_end(loop, process), "-9");
    run_for(loop, 0.001);
    while (cora_process_pid(process))
        tick(loop);
    CHECK_INT(cora_error_code(cora_process_returncode(process)), CORA_ESTALE);
    CHECK(strncmp(wait_for_end(loop, process), "StaleHandle", 11) == 0);
    CHECK_INT(cora_process_close(process), 0);
    finish(loop);
}

/* ---- communicating ---- */

TEST(broken_pipe, "a drain fails when the child ends without reading; waiting still works",
     "test_subprocess.SubprocessMixin.test_stdin_broken_pipe")
{
    static char crates[1 << 20];
    cora_loop loop = begin();
    cora_process process = started(loop, shell("exec sleep 0.01", PIPE, 0, 0));
    cora_stream_write(cora_process_stdin(process), crates, sizeof crates);
    cora_value error =
        cora_run_until_complete(loop, cora_stream_drain(cora_process_stdin(process)));
    CHECK_INT(cora_error_code(error), -EPIPE);
    CHECK_TEXT(wait_for_end(loop, process), "0");
    cora_process_close(process);
    finish(loop);
}

TEST(communicate_with_a_broken_pipe, "that the child does not read all of the input is no error",
     "test_subprocess.SubprocessMixin.test_communicate_ignore_broken_pipe")
{
    static char crates[1 << 20];
    cora_loop loop = begin();
    cora_process process = started(loop, shell("exec sleep 0.01", PIPE, 0, 0));
    CHECK_TEXT(ends(loop, cora_process_communicate(process, cora_bytes(crates, sizeof crates))),
               "[None, None]");
    CHECK_TEXT(wait_for_end(loop, process), "0");
    cora_process_close(process);
    finish(loop);
}

static size_t bytes_of(cora_value bytes)
{
    size_t size = 0;
    cora_as_bytes(bytes, &size);
    return size;
}

TEST(long_output, "more output than twice the limit pauses the pipe, and all of it is collected",
     "test_subprocess.SubprocessMixin.test_pause_reading")
{
    cora_loop loop = begin();
    cora_process process = started(
        loop, cora_create_subprocess_shell("head -c 100000 /dev/zero",
                                           &(struct cora_subprocess_options){ .out = PIPE }, 10));
    cora_transport pipe =
        cora_stream_transport((cora_stream_writer){ cora_process_stdout(process).bits });
    while (cora_transport_is_reading(pipe))
        tick(loop);
    cora_value both =
        cora_run_until_complete(loop, cora_process_communicate(process, cora_nothing()));
    CHECK_INT(bytes_of(cora_list_at(both, 0)), 100000);
    cora_process_close(process);
    finish(loop);
}

TEST(slow_reader, "what a child wrote before it ended is read completely after its end",
     "test_subprocess.SubprocessMixin.test_read_stdout_after_process_exit")
{
    cora_loop loop = begin();
    cora_process process =
        started(loop, cora_create_subprocess_shell("head -c 262144 /dev/zero",
                                                   &(struct cora_subprocess_options){ .out = PIPE },
                                                   65536));
    cora_stream_reader out = cora_process_stdout(process);
    size_t total = 0, size;
    do {
        size = bytes_of(cora_run_until_complete(loop, cora_stream_read(out, 1024)));
        total += size;
        if (total == 8192)
            run_for(loop, 0.002);
    } while (size > 0);
    CHECK_INT(total, 262144);
    CHECK_TEXT(wait_for_end(loop, process), "0");
    cora_process_close(process);
    finish(loop);
}

TEST(tiny_limit, "a reader with a limit of one byte gets all that a child has written",
     "test_streams.StreamTests.test_read_all_from_pipe_reader")
{
    cora_loop loop = begin();
    cora_process process =
        started(loop, cora_create_subprocess_shell(
                          "printf data", &(struct cora_subprocess_options){ .out = PIPE }, 1));
    CHECK_TEXT(ends(loop, cora_stream_read(cora_process_stdout(process), -1)), "b\"data\"");
    wait_for_end(loop, process);
    cora_process_close(process);
    finish(loop);
}

static const char *talk(const char *command, int in, int out, int err, const char *input)
{
    static char text[400];
    cora_loop loop = begin();
    cora_process process = started(loop, shell(command, in, out, err));
    cora_value given = input ? cora_text(input) : cora_nothing();
    cora_print(cora_run_until_complete(loop, cora_process_communicate(process, given)), text,
               sizeof text);
    cora_process_close(process);
    finish(loop);
    return text;
}

TEST(empty_input, "communicating with empty input closes stdin",
     "test_subprocess.SubprocessMixin.test_empty_input")
{
    CHECK_TEXT(talk("wc -c", PIPE, PIPE, 0, ""), "[b\"0\\n\", None]");
}

TEST(no_input, "communicating without input closes stdin, too",
     "test_subprocess.SubprocessMixin.test_communicate_none_input")
{
    CHECK_TEXT(talk("wc -c", PIPE, PIPE, 0, NULL), "[b\"0\\n\", None]");
}

TEST(devnull_input, "from the null device a child reads nothing",
     "test_subprocess.SubprocessMixin.test_devnull_input")
{
    CHECK_TEXT(talk("wc -c", DEVNULL, PIPE, 0, NULL), "[b\"0\\n\", None]");
}

TEST(devnull_output, "what goes to the null device is not collected",
     "test_subprocess.SubprocessMixin.test_devnull_output")
{
    CHECK_TEXT(talk("echo bread", 0, DEVNULL, PIPE, NULL), "[None, b\"\"]");
}

TEST(devnull_error, "what goes from stderr to the null device is not collected",
     "test_subprocess.SubprocessMixin.test_devnull_error")
{
    CHECK_TEXT(talk("echo bread >&2", 0, PIPE, DEVNULL, NULL), "[b\"\", None]");
}

TEST(both_outputs, "both outputs are collected, each for itself")
{
    CHECK_TEXT(talk("cat; echo fish >&2", PIPE, PIPE, PIPE, "bread"), "[b\"bread\", b\"fish\\n\"]");
}

TEST(environment, "a shell has the environment that is given; a second wait ends at once",
     "test_subprocess.SubprocessMixin.test_create_subprocess_env_shell")
{
    cora_loop loop = begin();
    const char *const env[] = { "FOO=bar", NULL };
    cora_process process =
        started(loop, cora_create_subprocess_shell(
                          "printf \"$FOO\"",
                          &(struct cora_subprocess_options){ .out = PIPE, .env = env }, 0));
    CHECK_TEXT(ends(loop, cora_process_communicate(process, cora_nothing())), "[b\"bar\", None]");
    CHECK_INT(cora_as_int(cora_process_returncode(process)), 0);
    CHECK_TEXT(wait_for_end(loop, process), "0");
    cora_process_close(process);
    finish(loop);
}

struct crier {
    cora_process process;
    int number;
};

static cora_next cried(cora_coro self)
{
    const struct crier *crier = cora_locals(self, struct crier);
    cora_value out = cora_list_at(cora_got(self), 0);
    char expected[20];
    snprintf(expected, sizeof expected, "news %d\n", crier->number);
    CHECK(cora_equal(out, cora_bytes(expected, strlen(expected))));
    cora_process_close(crier->process);
    return cora_return(self, 1);
}

static cora_next crier_started(cora_coro self)
{
    struct crier *crier = cora_locals(self, struct crier);
    crier->process = cora_as_process(cora_got(self));
    return cora_await(self, cora_process_communicate(crier->process, cora_nothing()), cried);
}

static cora_next cry(cora_coro self)
{
    char command[40];
    snprintf(command, sizeof command, "echo news %d", cora_locals(self, struct crier)->number);
    return cora_await(self, shell(command, 0, PIPE, 0), crier_started);
}

TEST(ten_at_once, "ten children at once: each output is complete",
     "test_subprocess.SubprocessMixin.test_subprocess_communicate_stdout")
{
    cora_loop loop = begin();
    cora_coro criers[10];
    for (int i = 0; i < 10; i++)
        criers[i] = cora_coroutine(cry, struct crier, { 0 }, i);
    CHECK_TEXT(ends(loop, cora_awaitable_of(cora_gather(loop, criers, 10))),
               "[1, 1, 1, 1, 1, 1, 1, 1, 1, 1]");
    finish(loop);
}

TEST(communicate_is_cancelled, "cancelling communicate leaves the child running")
{
    cora_loop loop = begin();
    cora_process process = started(loop, shell("read word; echo $word", PIPE, PIPE, 0));
    cora_future talk = cora_ensure_future(loop, cora_process_communicate(process, cora_nothing()));
    CHECK(cora_cancel(talk));
    cora_run_until_complete(loop, talk);
    CHECK(cora_cancelled(talk));
    cora_release(talk);
    CHECK_INT(cora_stream_write(cora_process_stdin(process), "salt\n", 5), 0);
    CHECK_TEXT(ends(loop, cora_stream_readline(cora_process_stdout(process))), "b\"salt\\n\"");
    CHECK_TEXT(wait_for_end(loop, process), "0");
    cora_process_close(process);
    finish(loop);
}

TEST(closed_while_communicating,
     "a process that has ended, and is closed in the middle, gives what was read until then")
{
    cora_loop loop = begin();
    cora_process process = started(loop, shell("sleep 60 & echo $!", DEVNULL, PIPE, DEVNULL));
    cora_future talk = cora_ensure_future(loop, cora_process_communicate(process, cora_nothing()));
    ends(loop, cora_process_wait(process));
    cora_process_close(process);
    cora_value outputs = cora_run_until_complete(loop, talk);
    size_t size;
    pid_t grandchild = (pid_t)atoi(cora_as_bytes(cora_list_at(outputs, 0), &size));
    CHECK(size > 1 && grandchild > 1);
    CHECK_INT(kill(grandchild, SIGKILL), 0);
    cora_release(talk);
    finish(loop);
}

/* ---- creation ---- */

TEST(no_such_program, "a program that is not there is the outcome")
{
    cora_loop loop = begin();
    cora_value outcome = cora_run_until_complete(
        loop, cora_create_subprocess_exec(cora_argv("no-such-ferry"),
                                          &(struct cora_subprocess_options){ .in = PIPE }, 0));
    CHECK_INT(cora_error_code(outcome), -ENOENT);
    finish(loop);
}

TEST(bad_arguments, "what is wrong with the arguments is the outcome")
{
    cora_loop loop = begin();
    CHECK(strncmp(ends(loop, cora_create_subprocess_exec(NULL, NULL, 0)), "ValueError", 10) == 0);
    CHECK(strncmp(ends(loop, cora_create_subprocess_shell(NULL, NULL, 0)), "ValueError", 10) == 0);
    CHECK(strncmp(ends(loop, shell("true", CORA_SUBPROCESS_STDOUT, 0, 0)), "ValueError", 10) == 0);
    finish(loop);
}

TEST(all_is_copied, "what is given may be gone when the creation is awaited")
{
    cora_loop loop = begin();
    char program[] = "sh", flag[] = "-c", command[] = "echo $QUAY; pwd; echo passed >/dev/fd/9";
    char quay[] = "QUAY=north", cwd[] = "/";
    int ends_of_pipe[2], passed[] = { 9 };
    char heard[20] = "";
    CHECK_INT(pipe2(ends_of_pipe, O_CLOEXEC), 0);
    CHECK_INT(dup3(ends_of_pipe[1], 9, O_CLOEXEC), 9);
    const char *arguments[] = { program, flag, command, NULL }, *env[] = { quay, NULL };
    struct cora_subprocess_options options = {
        .out = PIPE, .env = env, .cwd = cwd, .pass_fds = passed, .pass_fd_count = 1
    };
    cora_awaitable creation = cora_create_subprocess_exec(arguments, &options, 0);
    memset(program, 'x', sizeof program);
    memset(command, 'x', sizeof command);
    memset(quay, 'x', sizeof quay);
    memset(cwd, 'x', sizeof cwd);
    passed[0] = -1;
    arguments[0] = env[0] = NULL;
    options = (struct cora_subprocess_options){ 0 };
    cora_process process = started(loop, creation);
    CHECK_TEXT(ends(loop, cora_process_communicate(process, cora_nothing())),
               "[b\"north\\n/\\n\", None]");
    CHECK_INT(read(ends_of_pipe[0], heard, sizeof heard - 1), 7);
    CHECK_TEXT(heard, "passed\n");
    cora_process_close(process);
    close(ends_of_pipe[0]);
    close(ends_of_pipe[1]);
    close(9);
    finish(loop);
}

TEST(never_awaited, "a creation that nobody awaits starts nothing")
{
    cora_loop loop = begin();
    shell("exit 1", PIPE, PIPE, PIPE);
    finish(loop);
}

TEST(awaited_twice, "a creation cannot be awaited again")
{
    cora_loop loop = begin();
    cora_awaitable creation = shell("exit 1", 0, 0, 0);
    cora_value kept = cora_copy(creation.value);
    cora_process process = started(loop, creation);
    CHECK(strncmp(ends(loop, creation), "RuntimeError", 12) == 0);
    cora_drop(kept);
    wait_for_end(loop, process);
    cora_process_close(process);
    finish(loop);
}

/* Cancels a creation after so many ticks: whether it was in time. Nothing may be left. */
static bool cancelled_after(int ticks_before, int in, int out, int err)
{
    cora_loop loop = begin();
    cora_future creation = cora_ensure_future(loop, shell("read word", in, out, err));
    ticks(loop, ticks_before);
    bool in_time = cora_cancel(creation);
    cora_value outcome = cora_run_until_complete(loop, creation);
    CHECK_INT(cora_cancelled(creation), in_time);
    if (!in_time)
        cora_process_close(cora_as_process(outcome));
    cora_release(creation);
    finish(loop);
    return in_time;
}

static void cancel_at_every_tick(int in, int out, int err)
{
    int at = 0;
    while (cancelled_after(at, in, out, err))
        at++;
    CHECK(at >= 2);
}

TEST(cancelled_with_an_output, "a creation that is cancelled ends so when its child is reaped",
     "test_subprocess.SubprocessMixin.test_subprocess_read_pipe_cancelled")
{
    cancel_at_every_tick(0, 0, PIPE);
}

TEST(cancelled_with_an_input, "the same with a pipe for its stdin",
     "test_subprocess.SubprocessMixin.test_subprocess_write_pipe_cancelled")
{
    cancel_at_every_tick(PIPE, 0, 0);
}

TEST(cancelled_with_all_pipes, "the same with all three pipes",
     "test_subprocess.SubprocessMixin.test_subprocess_read_write_pipe_cancelled")
{
    cancel_at_every_tick(PIPE, PIPE, PIPE);
}

TEST(creation_in_time, "a creation may have a time limit")
{
    cora_loop loop = begin();
    cora_process process = started(loop, cora_wait_for(shell("exit 3", 0, 0, 0), 10));
    CHECK_TEXT(wait_for_end(loop, process), "3");
    cora_process_close(process);
    finish(loop);
}

TEST(loop_closed_at_every_tick, "a loop that is closed at any tick leaves no child")
{
    for (int at = 0; at < 12; at++) {
        siginfo_t info;
        cora_loop loop = begin();
        struct sorting sorting = { .returncode = -1 };
        cora_when_done(shell("sort", PIPE, PIPE, PIPE), cora_partial(on_started, &sorting));
        ticks(loop, at);
        cora_set_current_loop((cora_loop){ 0 });
        cora_loop_close(loop);
        CHECK(waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD);
    }
}

/* ---- threads and forks ---- */

static void *run_in_thread(void *unused)
{
    CHECK_TEXT(talk("echo bread; exit 5", 0, PIPE, 0, NULL), "[b\"bread\\n\", None]");
    return unused;
}

TEST(second_thread, "a loop of a second thread starts children while the main thread's loop runs",
     "test_subprocess.GenericWatcherTests.test_create_subprocess_with_pidfd")
{
    cora_loop loop = begin();
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, run_in_thread, NULL), 0);
    run_for(loop, 0.01);
    CHECK_INT(pthread_join(thread, NULL), 0);
    finish(loop);
}

static cora_next fork_and_ask(cora_coro self)
{
    int status;
    cora_loop loop = cora_running_loop();
    CHECK(!cora_is_null(cora_current_task(loop)));
    pid_t pid = fork();
    if (pid == 0) {
        CHECK(cora_is_null(cora_current_task(loop)));
        _exit(0);
    }
    CHECK_INT(waitpid(pid, &status, 0), pid);
    return cora_return(self, status);
}

TEST(fork_has_no_task, "a process forked in a task has no current task",
     "test_unix_events.TestFork.test_fork_not_share_current_task")
{
    cora_loop loop = begin();
    CHECK_TEXT(ran(loop, cora_coroutine(fork_and_ask)), "0");
    finish(loop);
}

static cora_next fork_and_run(cora_coro self)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        /* A loop of its own, in a thread of its own: this one belongs to the parent's run. */
        pthread_t thread;
        CHECK_INT(pthread_create(&thread, NULL, run_in_thread, NULL), 0);
        CHECK_INT(pthread_join(thread, NULL), 0);
        _exit(0);
    }
    CHECK_INT(waitpid(pid, &status, 0), pid);
    return cora_return(self, status);
}

TEST(fork_in_a_step, "a process forked in a step runs a loop of its own, and children in it",
     "test_unix_events.TestFork.test_fork_asyncio_run")
{
    cora_loop loop = begin();
    CHECK_TEXT(ran(loop, cora_coroutine(fork_and_run)), "0");
    finish(loop);
}

TEST(print, "a process is printed with its number")
{
    cora_loop loop = begin();
    char text[60], expected[60];
    cora_process process = started(loop, shell("exit 0", 0, 0, 0));
    snprintf(expected, sizeof expected, "<Process %d>", (int)cora_process_pid(process));
    cora_process_print(process, text, sizeof text);
    CHECK_TEXT(text, expected);
    wait_for_end(loop, process);
    cora_process_close(process);
    finish(loop);
}

TEST(unclosed, "in debug mode a loop that is closed tells of a process that was not")
{
    cora_loop loop = cora_loop_new(&(struct cora_loop_options){ .debug = true });
    struct reports reports;
    cora_set_current_loop(loop);
    collect_reports(loop, &reports);
    started(loop, shell("read word", PIPE, 0, 0));
    cora_set_current_loop((cora_loop){ 0 });
    cora_loop_close(loop);
    CHECK_INT(reports.count, 2);
}
