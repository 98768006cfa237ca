/*
 * Child processes: how they are started, what is told of them and in what order, and how they end.
 * The children are the shell, cat and true; what a child sees of itself it writes.
 */
#include "child_helpers.h"

#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>

/* ---- a protocol that keeps what it is told ---- */

struct foreman {
    cora_process_transport process;
    char log[200];    /* the order: made, 1 (data), -1 (lost), exit, lost */
    char out[2][200]; /* what was written to 1 and 2 */
    size_t size[2];
    int made, exited, lost, dropped, pipe_lost[3], returncode;
    void (*act)(struct foreman *foreman); /* done when it is made */
};

static void note(struct foreman *foreman, const char *word)
{
    size_t length = strlen(foreman->log);
    snprintf(foreman->log + length, sizeof foreman->log - length, "%s%s", length ? " " : "", word);
}

static void on_made(void *self, cora_process_transport process)
{
    struct foreman *foreman = self;
    CHECK(cora_is_null(foreman->process) || cora_same(foreman->process, process));
    foreman->process = process;
    foreman->made++;
    note(foreman, "made");
    if (foreman->act)
        foreman->act(foreman);
}

static void on_data(void *self, cora_process_transport process, int fd, const void *bytes,
                    size_t size)
{
    struct foreman *foreman = self;
    char *out = foreman->out[fd - 1];
    CHECK(cora_same(foreman->process, process));
    CHECK(foreman->made == 1 && foreman->pipe_lost[fd] == 0 && size > 0);
    for (size_t i = 0; i < size && foreman->size[fd - 1] < sizeof foreman->out[0] - 1; i++)
        out[foreman->size[fd - 1]++] = ((const char *)bytes)[i];
}

static void on_pipe_lost(void *self, cora_process_transport process, int fd, cora_value error)
{
    struct foreman *foreman = self;
    CHECK(cora_same(foreman->process, process));
    (void)error;
    foreman->pipe_lost[fd]++;
}

static void on_exit_told(void *self, cora_process_transport process)
{
    struct foreman *foreman = self;
    CHECK_INT(foreman->made, 1);
    foreman->exited++;
    foreman->returncode = (int)cora_as_int(cora_process_transport_get_returncode(process));
    note(foreman, "exit");
}

static void on_lost(void *self, cora_process_transport process, cora_value error)
{
    struct foreman *foreman = self;
    CHECK(cora_same(foreman->process, process) && cora_is_nothing(error));
    foreman->lost++;
    note(foreman, "lost");
}

static void on_drop(void *self)
{
    struct foreman *foreman = self;
    foreman->dropped++;
}

static const struct cora_subprocess_protocol_type foreman_type = {
    .name = "Foreman",
    .connection_made = on_made,
    .pipe_data_received = on_data,
    .pipe_connection_lost = on_pipe_lost,
    .process_exited = on_exit_told,
    .connection_lost = on_lost,
    .drop = on_drop,
};

static cora_subprocess_protocol told_to(struct foreman *foreman)
{
    return (cora_subprocess_protocol){ &foreman_type, foreman };
}

static const struct cora_subprocess_options no_pipes = { .in = CORA_SUBPROCESS_INHERIT,
                                                         .out = CORA_SUBPROCESS_INHERIT,
                                                         .err = CORA_SUBPROCESS_INHERIT };

static void run_shell(cora_loop loop, struct foreman *foreman, const char *command,
                      const struct cora_subprocess_options *options)
{
    foreman->process = cora_subprocess_shell(loop, command, options, told_to(foreman));
    CHECK(!cora_is_null(foreman->process));
}

static void run_cat(cora_loop loop, struct foreman *foreman)
{
    foreman->process = cora_subprocess_exec(loop, cora_argv("cat"), NULL, told_to(foreman));
    CHECK(!cora_is_null(foreman->process));
    RUN_UNTIL(loop, foreman->made);
}

static cora_transport pipe_of(const struct foreman *foreman, int fd)
{
    return cora_process_transport_get_pipe_transport(foreman->process, fd);
}

static void tell(const struct foreman *foreman, const char *text)
{
    CHECK_INT(cora_transport_write(pipe_of(foreman, 0), text, strlen(text)), 0);
}

/* Runs a command to its end: what it has written to 1. */
static const char *output_of(const char *command, struct cora_subprocess_options options)
{
    static struct foreman foreman;
    cora_loop loop = cora_loop_new(NULL);
    foreman = (struct foreman){ 0 };
    options.in = CORA_SUBPROCESS_DEVNULL;
    options.err = CORA_SUBPROCESS_INHERIT;
    run_shell(loop, &foreman, command, &options);
    RUN_UNTIL(loop, foreman.lost);
    cora_loop_close(loop);
    return foreman.out[0];
}

/* ---- talking to a child ---- */

TEST(child_echoes, "what is written to a child's stdin it reads, and what it writes is told",
     "test_events.SubprocessTestsMixin.test_subprocess_exec")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    run_cat(loop, &foreman);
    CHECK_TEXT(foreman.log, "made");
    CHECK(cora_is_nothing(cora_process_transport_get_returncode(foreman.process)));
    tell(&foreman, "Python The Winner");
    RUN_UNTIL(loop, foreman.size[0] == 17);
    CHECK_TEXT(foreman.out[0], "Python The Winner");
    CHECK_INT(cora_process_transport_close(foreman.process), 0);
    RUN_UNTIL(loop, foreman.lost);
    CHECK_INT(foreman.returncode, -SIGKILL);
    CHECK(has_no_child());
    cora_loop_close(loop);
}

TEST(two_words, "two writes are answered one after the other, by a child that runs on",
     "test_events.SubprocessTestsMixin.test_subprocess_interactive")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    run_cat(loop, &foreman);
    tell(&foreman, "bread ");
    RUN_UNTIL(loop, foreman.size[0] == 6);
    tell(&foreman, "and fish");
    RUN_UNTIL(loop, foreman.size[0] == 14);
    CHECK_TEXT(foreman.out[0], "bread and fish");
    CHECK_INT(foreman.exited, 0);
    cora_process_transport_close(foreman.process);
    RUN_UNTIL(loop, foreman.lost);
    CHECK_INT(foreman.returncode, -SIGKILL);
    cora_loop_close(loop);
}

TEST(shell_command, "a command of the shell: its output, and the loss of each pipe before the end",
     "test_events.SubprocessTestsMixin.test_subprocess_shell")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    run_shell(loop, &foreman, "echo Python", NULL);
    RUN_UNTIL(loop, foreman.made);
    cora_transport_close(pipe_of(&foreman, 0));
    RUN_UNTIL(loop, foreman.lost);
    CHECK_INT(foreman.returncode, 0);
    CHECK_TEXT(foreman.out[0], "Python\n");
    CHECK_TEXT(foreman.out[1], "");
    for (int fd = 0; fd < 3; fd++)
        CHECK_INT(foreman.pipe_lost[fd], 1);
    CHECK_TEXT(foreman.log, "made exit lost");
    cora_loop_close(loop);
}

TEST(both_outputs, "what is written to stdout and to stderr is kept apart",
     "test_events.SubprocessTestsMixin.test_subprocess_stderr")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    run_shell(loop, &foreman, "echo OUT:bread; echo ERR:fish >&2", NULL);
    RUN_UNTIL(loop, foreman.lost);
    CHECK_TEXT(foreman.out[0], "OUT:bread\n");
    CHECK_TEXT(foreman.out[1], "ERR:fish\n");
    CHECK_INT(foreman.returncode, 0);
    cora_loop_close(loop);
}

TEST(merged_outputs, "stderr sent to stdout: one pipe gets both, in order",
     "test_events.SubprocessTestsMixin.test_subprocess_stderr_redirect_to_stdout")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    run_shell(loop, &foreman, "echo bread; echo fish >&2; echo salt",
              &(struct cora_subprocess_options){ .err = CORA_SUBPROCESS_STDOUT });
    RUN_UNTIL(loop, foreman.made);
    CHECK(!cora_is_null(pipe_of(&foreman, 1)));
    CHECK(cora_is_null(pipe_of(&foreman, 2)));
    RUN_UNTIL(loop, foreman.lost);
    CHECK_TEXT(foreman.out[0], "bread\nfish\nsalt\n");
    CHECK_INT(foreman.pipe_lost[2], 0);
    cora_loop_close(loop);
}

TEST(one_loss_for_each_pipe, "each pipe is told its data, then its loss, once; the exit once",
     "test_subprocess.SubprocessMixin.test_subprocess_protocol_events")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    run_shell(loop, &foreman, "printf stdout; printf stderr >&2",
              &(struct cora_subprocess_options){ .in = CORA_SUBPROCESS_DEVNULL });
    RUN_UNTIL(loop, foreman.lost);
    run_ticks(loop, 3);
    CHECK_TEXT(foreman.out[0], "stdout");
    CHECK_TEXT(foreman.out[1], "stderr");
    CHECK_INT(foreman.pipe_lost[0], 0);
    CHECK_INT(foreman.pipe_lost[1], 1);
    CHECK_INT(foreman.pipe_lost[2], 1);
    CHECK_INT(foreman.exited, 1);
    CHECK_INT(foreman.lost, 1);
    CHECK_INT(foreman.dropped, 1);
    cora_loop_close(loop);
}

TEST(grandchild_has_the_pipe, "an exit is told at once, the end when nobody has the pipe any more")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    run_shell(loop, &foreman, "exec 3<&0; (read word <&3; echo late) & exit 3", NULL);
    RUN_UNTIL(loop, foreman.exited);
    CHECK_INT(foreman.returncode, 3);
    CHECK_INT(foreman.lost, 0);
    cora_process_transport_close(foreman.process);
    RUN_UNTIL(loop, foreman.lost);
    cora_loop_close(loop);
}

TEST(input_can_be_opened_again, "a child may open its stdin through /dev/stdin: it is a pipe",
     "test_subprocess.SubprocessMixin.test_devstdin_input")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    run_shell(loop, &foreman, "cat /dev/stdin", NULL);
    RUN_UNTIL(loop, foreman.made);
    tell(&foreman, "abc");
    cora_transport_write_eof(pipe_of(&foreman, 0));
    RUN_UNTIL(loop, foreman.lost);
    CHECK_TEXT(foreman.out[0], "abc");
    cora_loop_close(loop);
}

struct flow {
    int paused, resumed;
};

static void on_pause(void *self, cora_process_transport process)
{
    (void)process;
    ((struct flow *)self)->paused++;
}

static void on_resume(void *self, cora_process_transport process)
{
    (void)process;
    ((struct flow *)self)->resumed++;
}

TEST(flow_control, "a child that does not read its stdin makes its protocol pause, and resume")
{
    static const struct cora_subprocess_protocol_type flow_type = { .name = "Flow",
                                                                    .pause_writing = on_pause,
                                                                    .resume_writing = on_resume };
    static char crates[300000];
    cora_loop loop = cora_loop_new(NULL);
    struct flow flow = { 0 };
    cora_process_transport process = cora_subprocess_shell(
        loop, "read word; cat >/dev/null", NULL, (cora_subprocess_protocol){ &flow_type, &flow });
    run_ticks(loop, 2);
    cora_transport in = cora_process_transport_get_pipe_transport(process, 0);
    CHECK_INT(cora_transport_write(in, crates, sizeof crates), 0);
    CHECK_INT(flow.paused, 1);
    CHECK_INT(flow.resumed, 0);
    CHECK_INT(cora_transport_write(in, "\n", 1), 0);
    RUN_UNTIL(loop, flow.resumed == 1);
    cora_loop_close(loop);
}

/* ---- how it ends ---- */

TEST(exit_code, "without pipes a child's exit status is told",
     "test_events.SubprocessTestsMixin.test_subprocess_exitcode")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    run_shell(loop, &foreman, "exit 7", &no_pipes);
    RUN_UNTIL(loop, foreman.lost);
    CHECK_INT(foreman.returncode, 7);
    CHECK_INT(cora_as_int(cora_process_transport_get_returncode(foreman.process)), 7);
    cora_loop_close(loop);
}

TEST(closed_after_its_end,
     "without pipes there is no transport for them; closing at the end is good",
     "test_events.SubprocessTestsMixin.test_subprocess_close_after_finish")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    run_shell(loop, &foreman, "exit 7", &no_pipes);
    RUN_UNTIL(loop, foreman.made);
    for (int fd = -1; fd < 4; fd++)
        CHECK(cora_is_null(pipe_of(&foreman, fd)));
    RUN_UNTIL(loop, foreman.lost);
    CHECK_INT(cora_process_transport_close(foreman.process), 0);
    CHECK_INT(cora_process_transport_close(foreman.process), 0);
    CHECK_INT(cora_process_transport_get_pid(foreman.process), 0);
    cora_loop_close(loop);
}

TEST(exits_at_once, "one that has exited at once is told made, exit and lost, in this order",
     "test_subprocess.SubprocessTransportTests.test_proc_exited")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    siginfo_t info;
    run_shell(loop, &foreman, "exit 6", &no_pipes);
    pid_t pid = cora_process_transport_get_pid(foreman.process);
    CHECK_INT(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    CHECK_TEXT(foreman.log, "");
    RUN_UNTIL(loop, foreman.lost);
    CHECK_TEXT(foreman.log, "made exit lost");
    CHECK_INT(cora_as_int(cora_process_transport_get_returncode(foreman.process)), 6);
    CHECK_INT(cora_process_transport_get_pid(foreman.process), pid);
    CHECK_INT(cora_process_transport_send_signal(foreman.process, SIGTERM), -ESRCH);
    CHECK_INT(cora_process_transport_terminate(foreman.process), -ESRCH);
    CHECK_INT(cora_process_transport_kill(foreman.process), -ESRCH);
    CHECK(!cora_process_transport_is_closing(foreman.process));
    CHECK_INT(cora_process_transport_close(foreman.process), 0);
    cora_loop_close(loop);
}

static void kill_it(struct foreman *foreman)
{
    CHECK_INT(cora_process_transport_kill(foreman->process), 0);
}

TEST(killed, "a child that is killed has minus SIGKILL as return code",
     "test_events.SubprocessTestsMixin.test_subprocess_kill")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { .act = kill_it };
    run_cat(loop, &foreman);
    RUN_UNTIL(loop, foreman.lost);
    CHECK_INT(foreman.returncode, -SIGKILL);
    cora_loop_close(loop);
}

static void terminate_it(struct foreman *foreman)
{
    CHECK_INT(cora_process_transport_terminate(foreman->process), 0);
}

TEST(terminated, "a child that is terminated has minus SIGTERM as return code",
     "test_events.SubprocessTestsMixin.test_subprocess_terminate")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { .act = terminate_it };
    run_cat(loop, &foreman);
    RUN_UNTIL(loop, foreman.lost);
    CHECK_INT(foreman.returncode, -SIGTERM);
    cora_loop_close(loop);
}

static void hang_it_up(struct foreman *foreman)
{
    CHECK_INT(cora_process_transport_send_signal(foreman->process, SIGHUP), 0);
}

TEST(signalled, "a signal that is sent ends a child that has its default action",
     "test_events.SubprocessTestsMixin.test_subprocess_send_signal")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { .act = hang_it_up };
    signal(SIGHUP, SIG_DFL);
    run_cat(loop, &foreman);
    RUN_UNTIL(loop, foreman.lost);
    CHECK_INT(foreman.returncode, -SIGHUP);
    cora_loop_close(loop);
}

TEST(signal_when_it_has_ended, "a signal to one whose end is not noticed yet is no error")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    siginfo_t info;
    run_shell(loop, &foreman, "exit 6", &no_pipes);
    pid_t pid = cora_process_transport_get_pid(foreman.process);
    CHECK_INT(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    CHECK_INT(cora_process_transport_kill(foreman.process), 0);
    CHECK_INT(cora_process_transport_send_signal(foreman.process, 12345), -EINVAL);
    RUN_UNTIL(loop, foreman.lost);
    CHECK_INT(foreman.returncode, 6);
    cora_loop_close(loop);
}

TEST(closing_kills, "closing one that runs kills it; then its end is told as always",
     "test_subprocess.SubprocessMixin.test_close_kill_running")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    run_cat(loop, &foreman);
    CHECK_INT(cora_process_transport_close(foreman.process), 0);
    CHECK(cora_process_transport_is_closing(foreman.process));
    CHECK_INT(foreman.lost, 0);
    RUN_UNTIL(loop, foreman.lost);
    CHECK_INT(foreman.returncode, -SIGKILL);
    CHECK_INT(cora_error_code(cora_process_transport_get_returncode(foreman.process)), CORA_ESTALE);
    cora_loop_close(loop);
}

TEST(closing_does_not_kill_the_dead, "closing one that has ended unnoticed sends no signal",
     "test_subprocess.SubprocessMixin.test_close_dont_kill_finished")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    siginfo_t info;
    run_shell(loop, &foreman, "exit 4", NULL);
    pid_t pid = cora_process_transport_get_pid(foreman.process);
    CHECK_INT(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    CHECK_INT(cora_process_transport_close(foreman.process), 0);
    RUN_UNTIL(loop, foreman.lost);
    CHECK_INT(foreman.returncode, 4);
    cora_loop_close(loop);
}

TEST(closed_before_it_is_made, "closing in the same tick tells made and the rest all the same")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    foreman.process = cora_subprocess_exec(loop, cora_argv("cat"), NULL, told_to(&foreman));
    CHECK_INT(cora_process_transport_close(foreman.process), 0);
    RUN_UNTIL(loop, foreman.lost);
    CHECK_TEXT(foreman.log, "made exit lost");
    CHECK_INT(foreman.returncode, -SIGKILL);
    cora_loop_close(loop);
}

TEST(loop_is_closed, "closing the loop kills and reaps the child, and tells nothing")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    run_cat(loop, &foreman);
    cora_loop_close(loop);
    CHECK_TEXT(foreman.log, "made");
    CHECK_INT(foreman.dropped, 1);
    CHECK(has_no_child());
    CHECK_INT(cora_process_transport_kill(foreman.process), CORA_ESTALE);
}

static void on_alarm(int number)
{
    (void)number;
}

TEST(closing_is_interrupted,
     "signals while a loop is closed do not keep it from reaping its children")
{
    const int period = harness_under_valgrind() ? 20000 : 50;
    const struct itimerval often = { { 0, period }, { 0, period } }, never = { { 0, 0 }, { 0, 0 } };
    struct sigaction action = { .sa_handler = on_alarm };
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foremen[20] = { 0 };
    for (int i = 0; i < 20; i++)
        run_cat(loop, &foremen[i]);
    sigaction(SIGALRM, &action, NULL);
    CHECK_INT(setitimer(ITIMER_REAL, &often, NULL), 0);
    cora_loop_close(loop);
    CHECK_INT(setitimer(ITIMER_REAL, &never, NULL), 0);
    CHECK(has_no_child());
}

TEST(silent_protocol, "a protocol may leave out all of its callbacks",
     "test_protocols.ProtocolsAbsTests.test_subprocess_protocol")
{
    static const struct cora_subprocess_protocol_type silent_type = { .name = "Silent" };
    cora_loop loop = cora_loop_new(NULL);
    cora_process_transport process =
        cora_subprocess_shell(loop, "cat; echo bread; echo fish >&2", NULL,
                              (cora_subprocess_protocol){ &silent_type, NULL });
    run_ticks(loop, 2);
    cora_transport_write_eof(cora_process_transport_get_pipe_transport(process, 0));
    RUN_UNTIL(loop, !cora_is_nothing(cora_process_transport_get_returncode(process)));
    CHECK_INT(cora_as_int(cora_process_transport_get_returncode(process)), 0);
    cora_loop_close(loop);
}

static void close_its_loop(struct foreman *foreman)
{
    cora_loop_detach(cora_running_loop());
    CHECK_INT(foreman->dropped, 0);
}

TEST(callback_closes_the_loop,
     "a callback may close its loop: self is dropped when it has returned")
{
    struct ev_loop *host = host_new();
    cora_loop loop = cora_loop_attach(host, NULL);
    struct foreman foreman = { .act = close_its_loop };
    foreman.process = cora_subprocess_exec(loop, cora_argv("cat"), NULL, told_to(&foreman));
    ev_run(host, 0);
    CHECK_TEXT(foreman.log, "made");
    CHECK_INT(foreman.dropped, 1);
    CHECK(has_no_child());
    ev_loop_destroy(host);
}

TEST(guest_in_default_loop,
     "in a guest of the default loop a child is told, killed and reaped, too")
{
    struct ev_loop *host = ev_default_loop(EVFLAG_NOENV);
    cora_loop loop = cora_loop_attach(host, NULL);
    struct foreman foreman = { 0 }, other = { 0 };
    run_shell(loop, &foreman, "echo bread; exit 5", NULL);
    other.process = cora_subprocess_exec(loop, cora_argv("cat"), NULL, told_to(&other));
    while (!foreman.lost || !other.made)
        ev_run(host, EVRUN_ONCE);
    CHECK_INT(foreman.returncode, 5);
    CHECK_TEXT(foreman.out[0], "bread\n");
    cora_process_transport_close(other.process);
    while (!other.lost)
        ev_run(host, EVRUN_ONCE);
    CHECK_INT(other.returncode, -SIGKILL);
    CHECK(has_no_child());
    cora_loop_detach(loop);
    ev_loop_destroy(host);
}

static int kills; /* also by the harness */

INSTEAD int kill(pid_t pid, int number)
{
    kills++;
    return (int)syscall(SYS_kill, pid, number);
}

static struct foreman watched;

static void on_any_child(struct ev_loop *host, ev_child *watcher, int events)
{
    (void)host, (void)events;
    CHECK_INT(watcher->rpid, cora_process_transport_get_pid(watched.process));
    CHECK_INT(watched.exited, 0);
    CHECK_INT(cora_process_transport_kill(watched.process), 0);
    CHECK_INT(cora_process_transport_close(watched.process), 0);
    CHECK_INT(kills, 0);
}

TEST(reaped_and_not_told_yet, "once libev has reaped a child no signal is sent to its number")
{
    struct ev_loop *host = ev_default_loop(EVFLAG_NOENV);
    cora_loop loop = cora_loop_attach(host, NULL);
    ev_child any;
    ev_child_init(&any, on_any_child, 0, 0);
    ev_child_start(host, &any);
    run_shell(loop, &watched, "exit 5", &no_pipes);
    kills = 0;
    while (!watched.lost)
        ev_run(host, EVRUN_ONCE);
    CHECK_INT(watched.returncode, 5);
    ev_child_stop(host, &any);
    cora_loop_detach(loop);
    ev_loop_destroy(host);
}

static void *nothing_to_do(void *unused)
{
    return unused;
}

/* A number that grows with each thread. */
static long threads(void)
{
    struct stat tasks;
    CHECK_INT(stat("/proc/self/task", &tasks), 0);
    return (long)tasks.st_nlink;
}

TEST(without_pidfd, "where the kernel has no pidfd, a closed loop has reaped its child as well")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 }, other = { 0 };
    long before = threads();
    pidfd_open_error = ENOSYS;
    run_shell(loop, &foreman, "exit 5", NULL);
    run_cat(loop, &other);
    RUN_UNTIL(loop, foreman.lost);
    CHECK_INT(foreman.returncode, 5);
    cora_loop_close(loop);
    CHECK(has_no_child());
    while (threads() > before)
        sched_yield();
    pthread_t thread; /* whose end gives back what is left of the other's */
    CHECK_INT(pthread_create(&thread, NULL, nothing_to_do, NULL), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
}

TEST(reaped_at_once, "a child that is reaped by others before it can be watched is told with 255")
{
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports = { 0 };
    struct foreman foreman = { 0 };
    reports_to(loop, &reports);
    pidfd_open_error = ESRCH;
    run_shell(loop, &foreman, "echo bread", NULL);
    CHECK_INT(waitpid(cora_process_transport_get_pid(foreman.process), NULL, 0),
              cora_process_transport_get_pid(foreman.process));
    CHECK_INT(cora_process_transport_kill(foreman.process), 0);
    RUN_UNTIL(loop, foreman.lost);
    CHECK_TEXT(foreman.out[0], "bread\n");
    CHECK_INT(foreman.returncode, 255);
    CHECK_INT(reports.count, 1);
    cora_loop_close(loop);
}

TEST(told_too_late, "a child whose thread has told its end to a loop that is closed then is reaped")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    pidfd_open_error = ENOSYS;
    foreman.process = cora_subprocess_exec(loop, cora_argv("cat"), NULL, told_to(&foreman));
    size_t live = cora_live(loop);
    CHECK_INT(cora_process_transport_kill(foreman.process), 0);
    while (cora_live(loop) == live)
        sched_yield();
    cora_loop_close(loop);
    CHECK(has_no_child());
}

TEST(forked_process, "a forked process can start a child from its own loop",
     "test_unix_events.TestFork.test_fork_asyncio_subprocess")
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        cora_loop loop = cora_loop_new(NULL);
        struct foreman foreman = { 0 };
        run_shell(loop, &foreman, "exit 0", NULL);
        RUN_UNTIL(loop, foreman.lost);
        CHECK_INT(foreman.returncode, 0);
        cora_loop_close(loop);
        _exit(0);
    }
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(status, 0);
}

TEST(fork_leaves_siblings_alone, "a forked process that closes the loop does not kill the children")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    int status;
    run_cat(loop, &foreman);
    pid_t pid = fork();
    if (pid == 0) {
        CHECK_INT(cora_process_transport_kill(foreman.process), -ESRCH);
        CHECK_INT(cora_after_fork(loop), 0);
        RUN_UNTIL(loop, foreman.exited);
        CHECK_INT(foreman.returncode, 255);
        cora_loop_close(loop);
        _exit(0);
    }
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(status, 0);
    tell(&foreman, "still here");
    RUN_UNTIL(loop, foreman.size[0] == 10);
    cora_loop_close(loop);
}

/* ---- callbacks that fail ---- */

static char complaints[400];

static void keep_complaint(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    size_t length = strlen(complaints);
    (void)bound, (void)loop;
    snprintf(complaints + length, sizeof complaints - length, "%s\n", report->message);
}

static void complain(const char *callback)
{
    cora_fail(cora_error(CORA_EVALUE, "%s", callback));
}

static void made_fails(void *self, cora_process_transport process)
{
    on_made(self, process);
    complain("made");
}

static void data_fails(void *self, cora_process_transport process, int fd, const void *bytes,
                       size_t size)
{
    on_data(self, process, fd, bytes, size);
    complain("data");
}

static void pipe_loss_fails(void *self, cora_process_transport process, int fd, cora_value error)
{
    on_pipe_lost(self, process, fd, error);
    complain("pipe");
}

static void exit_fails(void *self, cora_process_transport process)
{
    on_exit_told(self, process);
    complain("exit");
}

static void loss_fails(void *self, cora_process_transport process, cora_value error)
{
    on_lost(self, process, error);
    complain("lost");
}

static bool complained(const char *callback)
{
    char message[80];
    snprintf(message, sizeof message, "Exception in callback %s()\n", callback);
    return strstr(complaints, message);
}

TEST(failing_callbacks, "each callback that fails is reported, and the others are called")
{
    static const struct cora_subprocess_protocol_type failing_type = {
        .name = "Failing",
        .connection_made = made_fails,
        .pipe_data_received = data_fails,
        .pipe_connection_lost = pipe_loss_fails,
        .process_exited = exit_fails,
        .connection_lost = loss_fails,
    };
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    CHECK_INT(cora_set_exception_handler(loop, cora_partial(keep_complaint)), 0);
    cora_subprocess_shell(loop, "echo bread",
                          &(struct cora_subprocess_options){ .in = -3, .err = -3 },
                          (cora_subprocess_protocol){ &failing_type, &foreman });
    RUN_UNTIL(loop, foreman.lost);
    CHECK_TEXT(foreman.log, "made exit lost");
    CHECK(complained("connection_made") && complained("data_received"));
    CHECK(complained("pipe_connection_lost"));
    CHECK(complained("process_exited") && complained("connection_lost"));
    cora_loop_close(loop);
}

TEST(failing_last_callbacks, "if the last two callbacks fail in one tick, both are reported")
{
    static const struct cora_subprocess_protocol_type failing_type = {
        .name = "Failing", .process_exited = exit_fails, .connection_lost = loss_fails
    };
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { .made = 1 };
    CHECK_INT(cora_set_exception_handler(loop, cora_partial(keep_complaint)), 0);
    foreman.process = cora_subprocess_shell(loop, "exit 0", &no_pipes,
                                            (cora_subprocess_protocol){ &failing_type, &foreman });
    RUN_UNTIL(loop, foreman.lost);
    CHECK(complained("process_exited") && complained("connection_lost"));
    cora_loop_close(loop);
}

static void exit_ends_run(void *self, cora_process_transport process)
{
    on_exit_told(self, process);
    cora_fail(cora_error(CORA_ESYSTEMEXIT, "enough"));
}

TEST(run_ends_in_exit, "a run that ends in process_exited leaves connection_lost to the next")
{
    static const struct cora_subprocess_protocol_type leaving_type = {
        .name = "Leaving", .process_exited = exit_ends_run, .connection_lost = on_lost
    };
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { .made = 1 };
    foreman.process = cora_subprocess_shell(loop, "exit 0", &no_pipes,
                                            (cora_subprocess_protocol){ &leaving_type, &foreman });
    CHECK_INT(cora_run_forever(loop), CORA_ESYSTEMEXIT);
    CHECK_TEXT(foreman.log, "exit");
    run_tick(loop);
    CHECK_TEXT(foreman.log, "exit lost");
    cora_loop_close(loop);
}

static struct ev_loop *host_to_run;

static void run_to_the_end(void *self, cora_process_transport process)
{
    struct foreman *foreman = self;
    cora_process_transport_kill(process);
    while (!foreman->lost)
        ev_run(host_to_run, EVRUN_ONCE);
    cora_process_transport_close(process);
    CHECK_INT(foreman->dropped, 0);
}

TEST(over_inside_a_callback,
     "self is not dropped while a callback runs the loop to the child's end")
{
    static const struct cora_subprocess_protocol_type runner_type = {
        .name = "Runner",
        .connection_made = on_made,
        .process_exited = on_exit_told,
        .connection_lost = on_lost,
        .pause_writing = run_to_the_end,
        .drop = on_drop,
    };
    static const char crates[200000];
    cora_loop loop = cora_loop_attach(host_to_run = host_new(), NULL);
    struct foreman foreman = { 0 };
    foreman.process = cora_subprocess_exec(loop, cora_argv("sleep", "60"), NULL,
                                           (cora_subprocess_protocol){ &runner_type, &foreman });
    while (!foreman.made)
        ev_run(host_to_run, EVRUN_ONCE);
    CHECK_INT(cora_transport_write(pipe_of(&foreman, 0), crates, sizeof crates), 0);
    CHECK_INT(foreman.dropped, 1);
    cora_loop_detach(loop);
    ev_loop_destroy(host_to_run);
}

/* ---- how it is started ---- */

TEST(no_such_program, "a program that is not there is an error with its name, and leaves nothing",
     "test_subprocess.SubprocessMixin.test_popen_error")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    foreman.process =
        cora_subprocess_exec(loop, cora_argv("no-such-ferry"), &no_pipes, told_to(&foreman));
    CHECK(cora_is_null(foreman.process));
    CHECK_INT(cora_last_error_code(), -ENOENT);
    CHECK_TEXT(cora_error_name(cora_last_error_code()), "FileNotFoundError");
    CHECK(strstr(cora_error_message(cora_last_error()), "no-such-ferry") != NULL);
    CHECK_INT(foreman.dropped, 1);
    CHECK(has_no_child());
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}

static int next_descriptor(void)
{
    int next = dup(2);
    close(next);
    return next;
}

TEST(start_fails_with_pipes, "when a start fails both ends of all pipes are closed",
     "test_subprocess.SubprocessMixin.test_popen_error_with_stdin_pipe")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    int before = next_descriptor();
    CHECK(cora_is_null(
        cora_subprocess_exec(loop, cora_argv("no-such-ferry"), NULL, told_to(&foreman))));
    CHECK_INT(cora_last_error_code(), -ENOENT);
    CHECK_INT(next_descriptor(), before);
    cora_loop_close(loop);
}

TEST(no_such_directory, "a directory that is not there is the error, not the program")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    CHECK(cora_is_null(cora_subprocess_exec(
        loop, cora_argv("true"), &(struct cora_subprocess_options){ .cwd = "/no/such/quay" },
        told_to(&foreman))));
    CHECK_INT(cora_last_error_code(), -ENOENT);
    CHECK(strstr(cora_error_message(cora_last_error()), "/no/such/quay") != NULL);
    cora_loop_close(loop);
}

TEST(cannot_be_watched, "a child that cannot be watched is an error, and is killed and reaped")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    int before = next_descriptor();
    pidfd_open_error = EMFILE;
    CHECK(cora_is_null(cora_subprocess_exec(loop, cora_argv("cat"), NULL, told_to(&foreman))));
    CHECK_INT(cora_last_error_code(), -EMFILE);
    CHECK(has_no_child());
    CHECK_INT(foreman.dropped, 1);
    CHECK_INT(next_descriptor(), before);
    cora_loop_close(loop);
}

static int refused(const char *const *arguments, struct cora_subprocess_options options)
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    CHECK(cora_is_null(cora_subprocess_exec(loop, arguments, &options, told_to(&foreman))));
    CHECK_INT(foreman.dropped, 1);
    cora_loop_close(loop);
    return cora_last_error_code();
}

TEST(options_are_checked, "options that contradict each other start nothing",
     "test_events.SubprocessTestsMixin.test_subprocess_exec_invalid_args",
     "test_base_events.BaseEventLoopTests.test_subprocess_exec_invalid_args")
{
    const char *const ok[] = { "true", NULL }, *const none[] = { NULL };
    struct cora_subprocess_options fine = { 0 };
    CHECK_INT(refused(none, fine), CORA_EVALUE);
    CHECK_INT(refused(NULL, fine), CORA_EVALUE);
    CHECK_INT(refused(ok, (struct cora_subprocess_options){ .in = CORA_SUBPROCESS_STDOUT }),
              CORA_EVALUE);
    CHECK_INT(refused(ok, (struct cora_subprocess_options){ .out = CORA_SUBPROCESS_STDOUT }),
              CORA_EVALUE);
    CHECK_INT(refused(ok, (struct cora_subprocess_options){ .err = -5 }), CORA_EVALUE);
    CHECK_INT(refused(ok, (struct cora_subprocess_options){ .process_group = -2 }), CORA_EVALUE);
    CHECK_INT(refused(ok, (struct cora_subprocess_options){ .pass_fds = (const int[]){ -1 },
                                                            .pass_fd_count = 1 }),
              CORA_EVALUE);
    CHECK_INT(refused(ok, (struct cora_subprocess_options){ .start_new_session = true,
                                                            .process_group = 1 }),
              CORA_EVALUE);
    CHECK_INT(refused(ok, (struct cora_subprocess_options){ .out = 9999 }), -EBADF);
}

TEST(shell_wants_a_command, "a shell without a command is refused",
     "test_events.SubprocessTestsMixin.test_subprocess_shell_invalid_args",
     "test_base_events.BaseEventLoopTests.test_subprocess_shell_invalid_args")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    CHECK(cora_is_null(cora_subprocess_shell(loop, NULL, NULL, told_to(&foreman))));
    CHECK_INT(cora_last_error_code(), CORA_EVALUE);
    CHECK_INT(foreman.dropped, 1);
    cora_loop_close(loop);
}

TEST(closed_loop, "in a closed loop nothing is started")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    cora_loop_close(loop);
    CHECK(cora_is_null(cora_subprocess_shell(loop, "true", NULL, told_to(&foreman))));
    CHECK_INT(cora_last_error_code(), CORA_ERUNTIME);
    CHECK_INT(foreman.dropped, 1);
}

TEST(directory, "a child begins in the directory that is asked for")
{
    CHECK_TEXT(output_of("pwd", (struct cora_subprocess_options){ .cwd = "/" }), "/\n");
}

TEST(environment, "a child has the environment that is given, and no other")
{
    const char *const env[] = { "HARBOUR=north quay", NULL };
    char south[] = "HARBOUR=south quay", low[] = "TIDE=low", *ours[] = { south, low, NULL };
    char **before = environ;
    environ = ours;
    CHECK_TEXT(output_of("echo $HARBOUR,$TIDE", (struct cora_subprocess_options){ .env = env }),
               "north quay,\n");
    CHECK_TEXT(output_of("echo $HARBOUR,$TIDE", (struct cora_subprocess_options){ 0 }),
               "south quay,low\n");
    environ = before;
}

TEST(executable, "the file may be another than the first argument, which is the program's name")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    foreman.process = cora_subprocess_exec(
        loop, cora_argv("baker", "-c", "echo $0"),
        &(struct cora_subprocess_options){ .executable = "/bin/sh" }, told_to(&foreman));
    RUN_UNTIL(loop, foreman.lost);
    CHECK_TEXT(foreman.out[0], "baker\n");
    cora_loop_close(loop);
}

TEST(new_session, "a child in a session of its own is told as any other",
     "test_events.SubprocessTestsMixin.test_subprocess_wait_no_same_group")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    struct cora_subprocess_options options = no_pipes;
    options.start_new_session = true;
    options.in = CORA_SUBPROCESS_PIPE;
    run_shell(loop, &foreman, "read word; exit 7", &options);
    RUN_UNTIL(loop, foreman.made);
    pid_t pid = cora_process_transport_get_pid(foreman.process);
    CHECK_INT(getsid(pid), pid);
    tell(&foreman, "go\n");
    RUN_UNTIL(loop, foreman.lost);
    CHECK_INT(foreman.returncode, 7);
    cora_loop_close(loop);
}

TEST(process_group, "a child may lead a process group, and another join it")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman first = { 0 }, second = { 0 };
    run_shell(loop, &first, "read word",
              &(struct cora_subprocess_options){ .process_group = CORA_SUBPROCESS_NEW_GROUP });
    pid_t group = cora_process_transport_get_pid(first.process);
    run_shell(loop, &second, "read word",
              &(struct cora_subprocess_options){ .process_group = group });
    CHECK_INT(getpgid(group), group);
    CHECK_INT(getpgid(cora_process_transport_get_pid(second.process)), group);
    cora_loop_close(loop);
}

/* A line of what the system says of a child: a set of signals, but for those of the C library. */
static unsigned long signals_of_child(const char *line, bool keep)
{
    char command[80];
    snprintf(command, sizeof command, "grep %s /proc/self/status | tail -c 9", line);
    struct cora_subprocess_options options = { .keep_signals = keep };
    return strtoul(output_of(command, options), NULL, 16) & 0x7fffffff;
}

TEST(signals_are_restored, "a child has no signal blocked, and SIGPIPE ends it; unless it is asked")
{
    sigset_t all, before;
    unsigned long pipe_bit = 1ul << (SIGPIPE - 1), usr1_bit = 1ul << (SIGUSR1 - 1);
    sigemptyset(&all);
    sigaddset(&all, SIGUSR1);
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    CHECK_INT(signals_of_child("SigBlk", false), 0);
    CHECK_INT(signals_of_child("SigIgn", false) & pipe_bit, 0);
    CHECK_INT(signals_of_child("SigBlk", true), usr1_bit);
    CHECK_INT(signals_of_child("SigIgn", true) & pipe_bit, pipe_bit);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    signal(SIGPIPE, SIG_DFL);
}

TEST(nothing_else_is_inherited,
     "a child has its three descriptors, and none else that we have open")
{
    int leaks = open("/dev/null", O_RDWR);
    const char *listed =
        output_of("ls -v /proc/$$/fd; exit 0", (struct cora_subprocess_options){ 0 });
    CHECK_TEXT(listed, "0\n1\n2\n");
    close(leaks);
}

TEST(passed_descriptors, "a child has the descriptors that are passed, under their numbers")
{
    int pair[2], high;
    char expected[40];
    CHECK_INT(pipe2(pair, O_CLOEXEC), 0);
    high = fcntl(pair[1], F_DUPFD_CLOEXEC, 70);
    const int passed[] = { high, pair[0] };
    snprintf(expected, sizeof expected, "0\n1\n2\n%d\n%d\n", pair[0], high);
    const char *listed =
        output_of("ls -v /proc/$$/fd; echo bread >/dev/fd/70",
                  (struct cora_subprocess_options){ .pass_fds = passed, .pass_fd_count = 2 });
    CHECK_TEXT(listed, expected);
    CHECK_TEXT(take(pair[0]), "bread\n");
    CHECK(fcntl(high, F_GETFD) & FD_CLOEXEC);
    close(pair[0]);
    close(pair[1]);
    close(high);
}

TEST(our_ends_are_not_inherited, "other children do not have our ends of pipes, whatever is asked",
     "test_subprocess.SubprocessMixin.test_stdin_not_inheritable")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman first = { 0 }, second = { 0 };
    struct cora_subprocess_options all = { .inherit_fds = true };
    run_shell(loop, &first, "cat", &all);
    run_shell(loop, &second, "cat", &all);
    RUN_UNTIL(loop, first.made && second.made);
    cora_transport_write_eof(pipe_of(&first, 0));
    RUN_UNTIL(loop, first.lost);
    CHECK_INT(first.returncode, 0);
    cora_loop_close(loop);
}

TEST(given_descriptors, "standard descriptors may be of ours, and stay ours")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    int pair[2];
    CHECK_INT(pipe2(pair, O_CLOEXEC | O_NONBLOCK), 0);
    run_shell(loop, &foreman, "echo bread",
              &(struct cora_subprocess_options){ .out = pair[1], .err = pair[1] });
    RUN_UNTIL(loop, foreman.lost);
    CHECK_TEXT(take(pair[0]), "bread\n");
    CHECK(is_open(pair[1]));
    close(pair[0]);
    close(pair[1]);
    cora_loop_close(loop);
}

TEST(descriptors_in_each_others_way, "stdout and stderr of ours may change places in the child")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    int out[2], err[2], saved[2] = { dup(1), dup(2) };
    CHECK_INT(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
    CHECK_INT(pipe2(err, O_CLOEXEC | O_NONBLOCK), 0);
    dup2(out[1], 1);
    dup2(err[1], 2);
    run_shell(loop, &foreman, "echo bread; echo fish >&2",
              &(struct cora_subprocess_options){ .out = 2, .err = 1 });
    RUN_UNTIL(loop, foreman.lost);
    dup2(saved[0], 1);
    dup2(saved[1], 2);
    CHECK_TEXT(take(err[0]), "bread\n");
    CHECK_TEXT(take(out[0]), "fish\n");
    for (int i = 0; i < 2; i++) {
        close(out[i]);
        close(err[i]);
        close(saved[i]);
    }
    cora_loop_close(loop);
}

TEST(low_numbers_are_free, "a program without standard descriptors of its own can start children")
{
    struct foreman foreman = { 0 };
    int saved[3];
    for (int fd = 0; fd < 3; fd++) {
        saved[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 10);
        close(fd);
    }
    cora_loop loop = cora_loop_new(NULL);
    run_shell(loop, &foreman, "cat; echo fish >&2", NULL);
    RUN_UNTIL(loop, foreman.made);
    tell(&foreman, "bread");
    cora_transport_write_eof(pipe_of(&foreman, 0));
    RUN_UNTIL(loop, foreman.lost);
    cora_loop_close(loop);
    for (int fd = 0; fd < 3; fd++) {
        dup2(saved[fd], fd);
        close(saved[fd]);
    }
    CHECK_TEXT(foreman.out[0], "bread");
    CHECK_TEXT(foreman.out[1], "fish\n");
}

/* ---- looking at one ---- */

TEST(print, "a process is printed with its number, its state and its pipes",
     "test_subprocess.SubprocessTransportTests.test_subprocess_repr")
{
    cora_loop loop = cora_loop_new(NULL);
    struct foreman foreman = { 0 };
    char text[300], expected[60];
    run_shell(loop, &foreman, "read word; exit 5",
              &(struct cora_subprocess_options){ .out = CORA_SUBPROCESS_DEVNULL,
                                                 .err = CORA_SUBPROCESS_DEVNULL });
    RUN_UNTIL(loop, foreman.made);
    int pid = (int)cora_process_transport_get_pid(foreman.process);
    cora_process_transport_print(foreman.process, text, sizeof text);
    snprintf(expected, sizeof expected, "<SubprocessTransport pid=%d running stdin=<", pid);
    CHECK(strncmp(text, expected, strlen(expected)) == 0);
    tell(&foreman, "go\n");
    RUN_UNTIL(loop, foreman.lost);
    cora_process_transport_print(foreman.process, text, sizeof text);
    snprintf(expected, sizeof expected, "<SubprocessTransport pid=%d returncode=5>", pid);
    CHECK_TEXT(text, expected);
    cora_process_transport_close(foreman.process);
    cora_process_transport_print(foreman.process, text, sizeof text);
    CHECK_TEXT(text, "<SubprocessTransport stale>");
    cora_loop_close(loop);
}
