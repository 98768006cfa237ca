/*
 * Signals as callbacks: who may have one, when its handler runs, and what is left of the process's
 * own signal actions before and afterwards. A signal is raised by the test itself, so that nothing
 * waits, but where waking a blocked loop is the point.
 */
#include "harness.h"

#include <cora.h>
#include <errno.h>
#include <ev.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- helpers ---- */

static void run_tick(cora_loop loop)
{
    CHECK_INT(cora_stop(loop), 0);
    CHECK_INT(cora_run_forever(loop), 0);
}

static void count(cora_args bound)
{
    ++*cora_arg(bound, 0, int *);
}

static void count_and_stop(cora_args bound)
{
    count(bound);
    cora_stop(cora_running_loop());
}

/* Whether the process's action for this signal is the system's default. */
static bool is_default(int number)
{
    struct sigaction now;
    CHECK_INT(sigaction(number, NULL, &now), 0);
    return now.sa_handler == SIG_DFL;
}

static void foreign_handler(int number)
{
    (void)number;
}

static void count_drop(void *pointer)
{
    ++*(int *)pointer;
}

static const cora_type counted_drop = { "counted", count_drop, NULL, 0 };

/* ---- adding and removing ---- */

TEST(handler_runs_and_is_removed,
     "a handler runs when the signal comes; removed, the default is back",
     "test_events.EventLoopTestsMixin.test_add_signal_handler",
     "test_unix_events.SelectorEventLoopSignalTests.test_remove_signal_handler")
{
    cora_loop loop = cora_loop_new(NULL);
    int caught = 0;
    CHECK_INT(cora_add_signal_handler(loop, SIGKILL, cora_partial(count, &caught)), CORA_ERUNTIME);
    CHECK_INT(cora_remove_signal_handler(loop, SIGKILL), 0);
    CHECK_INT(cora_add_signal_handler(loop, SIGINT, cora_partial(count, &caught)), 0);
    kill(getpid(), SIGINT);
    CHECK_INT(caught, 0);
    run_tick(loop);
    CHECK_INT(caught, 1);
    CHECK_INT(cora_remove_signal_handler(loop, SIGINT), 1);
    CHECK(is_default(SIGINT));
    CHECK_INT(cora_remove_signal_handler(loop, SIGINT), 0);
    cora_loop_close(loop);
}

static void check_no_signal(cora_loop loop, int number)
{
    CHECK_INT(cora_add_signal_handler(loop, number, cora_partial(cora_keyboard_interrupt)),
              CORA_EVALUE);
    CHECK_INT(cora_remove_signal_handler(loop, number), CORA_EVALUE);
    CHECK_INT(cora_live(loop), 0);
}

TEST(numbers_out_of_range, "0, a negative number and one beyond the last signal are ValueErrors",
     "test_unix_events.SelectorEventLoopSignalTests.test_check_signal",
     "test_events.EventLoopTestsMixin.test_add_signal_handler")
{
    cora_loop loop = cora_loop_new(NULL);
    check_no_signal(loop, 0);
    check_no_signal(loop, -1);
    check_no_signal(loop, NSIG);
    check_no_signal(loop, 65);
    check_no_signal(loop, 1 << 30);
    cora_loop_close(loop);
}

TEST(uncatchable, "a signal that cannot be caught is a RuntimeError, and nothing is registered",
     "test_unix_events.SelectorEventLoopSignalTests.test_add_signal_handler_install_error3")
{
    static const int numbers[] = { SIGKILL, SIGSTOP, 32 /* the C library's own */ };
    cora_loop loop = cora_loop_new(NULL);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        CHECK_INT(cora_add_signal_handler(loop, numbers[i], cora_partial(cora_keyboard_interrupt)),
                  CORA_ERUNTIME);
        CHECK(strstr(cora_error_message(cora_last_error()), "cannot be caught") != NULL);
        CHECK_INT(cora_remove_signal_handler(loop, numbers[i]), 0);
    }
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}

/* From now on the kernel refuses to change a signal's action: for good, in this process. */
static void refuse_sigaction(void)
{
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigaction, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SIGUSR1, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof steps / sizeof *steps, steps };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        SKIP("this kernel has no seccomp filters");
}

TEST(system_refuses,
     "an OSError from installing the handler is passed on, and nothing is registered",
     "test_unix_events.SelectorEventLoopSignalTests.test_add_signal_handler_install_error")
{
    if (harness_under_valgrind())
        SKIP("refuses system calls for good: needs a process of its own");
    cora_loop loop = cora_loop_new(NULL);
    refuse_sigaction();
    CHECK_INT(cora_add_signal_handler(loop, SIGUSR1, cora_partial(cora_keyboard_interrupt)),
              -EPERM);
    CHECK(cora_error_is(cora_last_error(), CORA_EOS));
    CHECK_INT(cora_live(loop), 0);
    CHECK_INT(cora_remove_signal_handler(loop, SIGUSR1), 0);
    cora_loop_close(loop);
}

TEST(handler_is_counted, "a handler is one live object of the loop until it is removed",
     "test_unix_events.SelectorEventLoopSignalTests.test_add_signal_handler")
{
    cora_loop loop = cora_loop_new(NULL);
    int drops = 0;
    cora_add_signal_handler(loop, SIGHUP,
                            cora_partial(cora_keyboard_interrupt, cora_own(&drops, &counted_drop)));
    run_tick(loop);
    CHECK_INT(cora_live(loop), 1);
    CHECK_INT(drops, 0);
    CHECK_INT(cora_remove_signal_handler(loop, SIGHUP), 1);
    CHECK_INT(cora_live(loop), 0);
    CHECK_INT(drops, 1);
    cora_loop_close(loop);
}

TEST(removing_one_keeps_others, "removing SIGINT restores its default; other handlers go on",
     "test_unix_events.SelectorEventLoopSignalTests.test_remove_signal_handler_2")
{
    cora_loop loop = cora_loop_new(NULL);
    int interrupts = 0, hangups = 0;
    cora_add_signal_handler(loop, SIGINT, cora_partial(count, &interrupts));
    cora_add_signal_handler(loop, SIGHUP, cora_partial(count, &hangups));
    CHECK_INT(cora_remove_signal_handler(loop, SIGINT), 1);
    CHECK(is_default(SIGINT));
    CHECK(!is_default(SIGHUP));
    raise(SIGHUP);
    run_tick(loop);
    CHECK_INT(hangups, 1);
    cora_loop_close(loop);
}

TEST(replaced, "a second handler of one loop takes the first one's place")
{
    cora_loop loop = cora_loop_new(NULL);
    int first = 0, second = 0, drops = 0;
    cora_add_signal_handler(loop, SIGUSR1,
                            cora_partial(count, &first, cora_own(&drops, &counted_drop)));
    CHECK_INT(cora_add_signal_handler(loop, SIGUSR1, cora_partial(count, &second)), 0);
    raise(SIGUSR1);
    run_tick(loop);
    CHECK_INT(first, 0);
    CHECK_INT(second, 1);
    CHECK_INT(drops, 1);
    CHECK_INT(cora_remove_signal_handler(loop, SIGUSR1), 1);
    cora_loop_close(loop);
}

TEST(close_removes_all, "closing the loop removes every handler and restores the defaults",
     "test_unix_events.SelectorEventLoopSignalTests.test_close")
{
    cora_loop loop = cora_loop_new(NULL);
    int caught = 0, drops = 0;
    cora_add_signal_handler(loop, SIGHUP,
                            cora_partial(count, &caught, cora_own(&drops, &counted_drop)));
    cora_add_signal_handler(loop, SIGUSR1,
                            cora_partial(count, &caught, cora_own(&drops, &counted_drop)));
    run_tick(loop);
    cora_loop_close(loop);
    CHECK(is_default(SIGHUP));
    CHECK(is_default(SIGUSR1));
    CHECK_INT(drops, 2);
    CHECK_INT(caught, 0);
}

TEST(closed_loop_refuses, "on a closed loop adding fails, and removing reports that there was none")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_loop_close(loop);
    CHECK_INT(cora_add_signal_handler(loop, SIGUSR1, cora_partial(cora_keyboard_interrupt)),
              CORA_ERUNTIME);
    CHECK_INT(cora_remove_signal_handler(loop, SIGUSR1), 0);
    CHECK(is_default(SIGUSR1));
}

/* ---- running ---- */

static void keep_arguments(cora_args bound)
{
    struct {
        int64_t number;
        char text[16];
    } *kept = cora_arg_pointer(bound, 0);
    kept->number = cora_arg_int(bound, 1);
    strcpy(kept->text, cora_arg_text(bound, 2));
}

TEST(handler_gets_arguments, "what is bound at registration is passed to the handler",
     "test_events.EventLoopTestsMixin.test_signal_handling_args")
{
    cora_loop loop = cora_loop_new(NULL);
    struct {
        int64_t number;
        char text[16];
    } kept = { 0, "" };
    cora_add_signal_handler(loop, SIGALRM, cora_partial(keep_arguments, &kept, 42, "caught"));
    raise(SIGALRM);
    run_tick(loop);
    CHECK_INT(kept.number, 42);
    CHECK_TEXT(kept.text, "caught");
    cora_loop_close(loop);
}

TEST(wakes_a_blocked_loop, "a signal that comes while the loop is blocked in the poll wakes it",
     "test_events.EventLoopTestsMixin.test_signal_handling_while_selecting")
{
    cora_loop loop = cora_loop_new(NULL);
    const struct itimerval soon = { .it_value = { 0, 10000 } };
    int caught = 0;
    cora_add_signal_handler(loop, SIGALRM, cora_partial(count_and_stop, &caught));
    CHECK_INT(setitimer(ITIMER_REAL, &soon, NULL), 0);
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(caught, 1);
    cora_loop_close(loop);
}

TEST(burst_coalesces, "signals that come in a burst are delivered as one, and the next one again")
{
    cora_loop loop = cora_loop_new(NULL);
    int caught = 0;
    cora_add_signal_handler(loop, SIGUSR1, cora_partial(count, &caught));
    for (int i = 0; i < 5; i++)
        raise(SIGUSR1);
    run_tick(loop);
    CHECK_INT(caught, 1);
    raise(SIGUSR1);
    run_tick(loop);
    CHECK_INT(caught, 2);
    cora_loop_close(loop);
}

static void raise_and_remove(cora_args bound)
{
    int number = (int)cora_arg_int(bound, 0);
    raise(number);
    CHECK_INT(cora_remove_signal_handler(cora_running_loop(), number), 1);
}

TEST(no_handler_any_more, "a signal whose handler was removed before its tick is ignored",
     "test_unix_events.SelectorEventLoopSignalTests.test_handle_signal_no_handler")
{
    cora_loop loop = cora_loop_new(NULL);
    int caught = 0;
    cora_add_signal_handler(loop, SIGUSR1, cora_partial(count, &caught));
    cora_call_soon(loop, cora_partial(raise_and_remove, SIGUSR1));
    run_tick(loop);
    run_tick(loop);
    CHECK_INT(caught, 0);
    cora_loop_close(loop);
}

static void count_and_remove(cora_args bound)
{
    count(bound);
    for (size_t i = 1; i < bound.count; i++)
        cora_remove_signal_handler(cora_running_loop(), (int)cora_arg_int(bound, i));
}

TEST(removed_while_queued, "a handler that is removed after it was queued does not run any more")
{
    cora_loop loop = cora_loop_new(NULL);
    int removing = 0;
    cora_add_signal_handler(loop, SIGUSR1,
                            cora_partial(count_and_remove, &removing, SIGUSR1, SIGUSR2));
    cora_add_signal_handler(loop, SIGUSR2,
                            cora_partial(count_and_remove, &removing, SIGUSR1, SIGUSR2));
    raise(SIGUSR1);
    raise(SIGUSR2);
    run_tick(loop);
    run_tick(loop);
    CHECK_INT(removing, 1);
    CHECK_INT(cora_live(loop), 0);
    CHECK(is_default(SIGUSR1));
    CHECK(is_default(SIGUSR2));
    cora_loop_close(loop);
}

static void count_and_fail(cora_args bound)
{
    count(bound);
    cora_fail(cora_error(CORA_EVALUE, "no"));
}

static void keep_handle(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    (void)loop;
    *cora_arg(bound, 0, cora_handle *) = report->handle;
}

TEST(cancelled_handle_removes_handler, "cancelling the handle of a signal handler removes it",
     "test_unix_events.SelectorEventLoopSignalTests.test_handle_signal_cancelled_handler")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_handle reported = { 0 };
    int caught = 0;
    cora_set_exception_handler(loop, cora_partial(keep_handle, &reported));
    cora_add_signal_handler(loop, SIGUSR1, cora_partial(count_and_fail, &caught));
    raise(SIGUSR1);
    run_tick(loop);
    CHECK(cora_handle_cancel(reported));
    if (!is_default(SIGUSR1))
        raise(SIGUSR1); /* removed when this one comes, if not at once */
    run_tick(loop);
    CHECK_INT(caught, 1);
    CHECK_INT(cora_remove_signal_handler(loop, SIGUSR1), 0);
    CHECK(is_default(SIGUSR1));
    cora_loop_close(loop);
}

TEST(keyboard_interrupt, "SIGINT with cora_keyboard_interrupt leaves the run; the loop runs again")
{
    cora_loop loop = cora_loop_new(NULL);
    int later = 0;
    CHECK_INT(cora_add_signal_handler(loop, SIGINT, cora_partial(cora_keyboard_interrupt)), 0);
    raise(SIGINT);
    CHECK_INT(cora_run_forever(loop), CORA_EKEYBOARDINTERRUPT);
    CHECK(cora_error_is(cora_last_error(), CORA_EKEYBOARDINTERRUPT));
    cora_call_soon(loop, cora_partial(count_and_stop, &later));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(later, 1);
    cora_loop_close(loop);
}

TEST(removed_is_the_system_s, "after removal the signal does what it did before: SIGTERM ends")
{
    pid_t child = fork();
    if (child == 0) {
        cora_loop loop = cora_loop_new(NULL);
        cora_add_signal_handler(loop, SIGTERM, cora_partial(cora_keyboard_interrupt));
        cora_remove_signal_handler(loop, SIGTERM);
        raise(SIGTERM);
        _exit(1);
    }
    int status = 0;
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

/* ---- one loop at a time ---- */

TEST(second_loop_is_refused, "a signal that another loop has is refused, instead of libev's abort",
     "test_unix_events.SelectorEventLoopSignalTests.test_add_signal_handler_setup_error")
{
    cora_loop one = cora_loop_new(NULL), two = cora_loop_new(NULL);
    int first = 0, second = 0;
    CHECK_INT(cora_add_signal_handler(one, SIGUSR1, cora_partial(count, &first)), 0);
    CHECK_INT(cora_add_signal_handler(two, SIGUSR1, cora_partial(count, &second)), CORA_ERUNTIME);
    CHECK_INT(cora_remove_signal_handler(two, SIGUSR1), 0);
    raise(SIGUSR1);
    run_tick(one);
    CHECK_INT(first, 1);
    cora_remove_signal_handler(one, SIGUSR1);
    CHECK_INT(cora_add_signal_handler(two, SIGUSR1, cora_partial(count, &second)), 0);
    raise(SIGUSR1);
    run_tick(two);
    CHECK_INT(second, 1);
    cora_loop_close(one);
    cora_loop_close(two);
}

TEST(closed_loop_gives_signal_back, "a signal of a loop that was closed may go to another")
{
    cora_loop one = cora_loop_new(NULL), two = cora_loop_new(NULL);
    int caught = 0;
    cora_add_signal_handler(one, SIGUSR1, cora_partial(cora_keyboard_interrupt));
    cora_loop_close(one);
    CHECK_INT(cora_add_signal_handler(two, SIGUSR1, cora_partial(count, &caught)), 0);
    raise(SIGUSR1);
    run_tick(two);
    CHECK_INT(caught, 1);
    cora_loop_close(two);
}

TEST(foreign_handler_is_left_alone, "a signal that the program handles itself is refused and kept")
{
    cora_loop loop = cora_loop_new(NULL);
    struct sigaction action = { .sa_handler = foreign_handler }, now;
    sigaction(SIGUSR1, &action, NULL);
    CHECK_INT(cora_add_signal_handler(loop, SIGUSR1, cora_partial(cora_keyboard_interrupt)),
              CORA_ERUNTIME);
    CHECK_INT(cora_live(loop), 0);
    sigaction(SIGUSR1, NULL, &now);
    CHECK(now.sa_handler == foreign_handler);
    signal(SIGUSR1, SIG_DFL);
    CHECK_INT(cora_add_signal_handler(loop, SIGUSR1, cora_partial(cora_keyboard_interrupt)), 0);
    cora_loop_close(loop);
}

TEST(ignored_signal_is_taken, "a signal that the process ignores may be handled")
{
    cora_loop loop = cora_loop_new(NULL);
    int caught = 0;
    signal(SIGUSR1, SIG_IGN);
    CHECK_INT(cora_add_signal_handler(loop, SIGUSR1, cora_partial(count, &caught)), 0);
    raise(SIGUSR1);
    run_tick(loop);
    CHECK_INT(caught, 1);
    cora_loop_close(loop);
}

TEST(child_signal_without_default_loop,
     "SIGCHLD is a signal as others; the child is left to wait for")
{
    cora_loop loop = cora_loop_new(NULL);
    int caught = 0, status = 0;
    CHECK_INT(cora_add_signal_handler(loop, SIGCHLD, cora_partial(count_and_stop, &caught)), 0);
    pid_t child = fork();
    if (child == 0)
        _exit(7);
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(caught, 1);
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(WEXITSTATUS(status), 7);
    cora_loop_close(loop);
}

/* What is said of SIGCHLD holds only where no test before this made libev's default loop. */
TEST(child_signal_of_default_loop, "SIGCHLD is refused while libev's default loop has it")
{
    struct ev_loop *host = ev_default_loop(0);
    cora_loop loop = cora_loop_new(NULL);
    CHECK(!is_default(SIGCHLD));
    CHECK_INT(cora_add_signal_handler(loop, SIGCHLD, cora_partial(cora_keyboard_interrupt)),
              CORA_ERUNTIME);
    CHECK(!is_default(SIGCHLD));
    cora_loop_close(loop);
    ev_loop_destroy(host);
}

TEST(child_signal_as_guest, "a guest of the default loop gets SIGCHLD beside libev's own watcher")
{
    struct ev_loop *host = ev_default_loop(0);
    cora_loop loop = cora_loop_attach(host, NULL);
    int caught = 0;
    CHECK_INT(cora_add_signal_handler(loop, SIGCHLD, cora_partial(count, &caught)), 0);
    raise(SIGCHLD);
    ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(caught, 1);
    CHECK_INT(cora_remove_signal_handler(loop, SIGCHLD), 1);
    CHECK(!is_default(SIGCHLD)); /* it is the host's again */
    cora_loop_detach(loop);
    ev_loop_destroy(host);
}

TEST(two_guests_share_a_signal, "two guests of one ev_loop may both handle a signal")
{
    struct ev_loop *host = ev_loop_new(EVFLAG_AUTO);
    cora_loop one = cora_loop_attach(host, NULL), two = cora_loop_attach(host, NULL);
    int first = 0, second = 0;
    CHECK_INT(cora_add_signal_handler(one, SIGUSR1, cora_partial(count, &first)), 0);
    CHECK_INT(cora_add_signal_handler(two, SIGUSR1, cora_partial(count, &second)), 0);
    raise(SIGUSR1);
    ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(first, 1);
    CHECK_INT(second, 1);
    CHECK_INT(cora_remove_signal_handler(one, SIGUSR1), 1);
    CHECK(!is_default(SIGUSR1));
    raise(SIGUSR1);
    ev_run(host, EVRUN_NOWAIT);
    CHECK_INT(first, 1);
    CHECK_INT(second, 2);
    cora_loop_detach(two);
    CHECK(is_default(SIGUSR1));
    ev_loop_destroy(host);
}

TEST(destroyed_host_gives_signal_back, "a host that is destroyed leaves no handler of its guest's")
{
    struct ev_loop *host = ev_loop_new(EVFLAG_AUTO);
    cora_loop guest = cora_loop_attach(host, NULL);
    int caught = 0;
    CHECK_INT(cora_add_signal_handler(guest, SIGUSR1, cora_partial(cora_keyboard_interrupt)), 0);
    ev_loop_destroy(host);
    CHECK(is_default(SIGUSR1));
    cora_loop other = cora_loop_new(NULL);
    CHECK_INT(cora_add_signal_handler(other, SIGUSR1, cora_partial(count, &caught)), 0);
    raise(SIGUSR1);
    run_tick(other);
    CHECK_INT(caught, 1);
    cora_loop_close(other);
}

/* ---- the signal mask ---- */

TEST(mask_is_left_alone, "a loop of our own does not change which signals the thread blocks")
{
    cora_loop loop = cora_loop_new(NULL);
    int caught = 0;
    sigset_t blocked, before, now;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    cora_add_signal_handler(loop, SIGUSR1, cora_partial(count, &caught));
    run_tick(loop);
    sigprocmask(SIG_SETMASK, NULL, &now);
    CHECK(sigismember(&now, SIGUSR1));
    raise(SIGUSR1);
    run_tick(loop);
    CHECK_INT(caught, 0);
    sigprocmask(SIG_SETMASK, &before, NULL);
    run_tick(loop);
    CHECK_INT(caught, 1);
    cora_loop_close(loop);
}
