/*
 * Children that the program has made by itself: when their end is told, by what, and who reaps
 * them. Those that Cora makes are in test_process_transport.c.
 */
#include "child_helpers.h"

#include <pthread.h>

/* ---- the usual way ---- */

TEST(exit_code_is_told,
     "the handler gets the exit status of its child, once, and the child is reaped",
     "test_unix_events.ChildWatcherTestsMixin.test_sigchld")
{
    cora_loop loop = cora_loop_new(NULL);
    struct clerk clerk = { 0 };
    struct child baker = child_new(12);
    CHECK_INT(cora_add_child_handler(loop, baker.pid, cora_partial(clerk_note, &clerk)), 0);
    run_ticks(loop, 3);
    CHECK_INT(clerk.calls, 0);
    child_go(baker);
    RUN_UNTIL(loop, clerk.calls > 0);
    CHECK_INT(clerk.code, 12);
    CHECK(has_no_child());
    run_ticks(loop, 3);
    CHECK_INT(clerk.calls, 1);
    cora_loop_close(loop);
}

TEST(signal_is_told_as_negative, "a child that a signal has ended has minus its number as code",
     "test_unix_events.ChildWatcherTestsMixin.test_sigchld_two_children")
{
    cora_loop loop = cora_loop_new(NULL);
    struct clerk first = { 0 }, second = { 0 };
    struct child baker = child_new(43), sailor = child_new(-SIGHUP);
    CHECK_INT(cora_add_child_handler(loop, baker.pid, cora_partial(clerk_note, &first)), 0);
    CHECK_INT(cora_add_child_handler(loop, sailor.pid, cora_partial(clerk_note, &second)), 0);
    child_go(baker);
    RUN_UNTIL(loop, first.calls > 0);
    CHECK_INT(second.calls, 0);
    child_go(sailor);
    RUN_UNTIL(loop, second.calls > 0);
    CHECK_INT(first.code, 43);
    CHECK_INT(second.code, -SIGHUP);
    cora_loop_close(loop);
}

TEST(two_ends_at_once, "two children that have ended before the loop looks are both told",
     "test_unix_events.ChildWatcherTestsMixin.test_sigchld_two_children_terminating_together")
{
    cora_loop loop = cora_loop_new(NULL);
    struct clerk first = { 0 }, second = { 0 };
    struct child baker = child_done(45), sailor = child_done(-SIGTERM);
    CHECK_INT(cora_add_child_handler(loop, baker.pid, cora_partial(clerk_note, &first)), 0);
    CHECK_INT(cora_add_child_handler(loop, sailor.pid, cora_partial(clerk_note, &second)), 0);
    RUN_UNTIL(loop, first.calls + second.calls == 2);
    CHECK_INT(first.code, 45);
    CHECK_INT(second.code, -SIGTERM);
    cora_loop_close(loop);
}

TEST(ended_before_watched, "a child that has ended before it is watched is told all the same",
     "test_unix_events.ChildWatcherTestsMixin.test_sigchld_race_condition")
{
    cora_loop loop = cora_loop_new(NULL);
    struct clerk clerk = { 0 };
    CHECK_INT(cora_add_child_handler(loop, child_done(50).pid, cora_partial(clerk_note, &clerk)),
              0);
    CHECK_INT(clerk.calls, 0);
    RUN_UNTIL(loop, clerk.calls > 0);
    CHECK_INT(clerk.code, 50);
    cora_loop_close(loop);
}

TEST(handler_is_replaced, "of two handlers for a child only the second is told",
     "test_unix_events.ChildWatcherTestsMixin.test_sigchld_replace_handler")
{
    cora_loop loop = cora_loop_new(NULL);
    struct clerk first = { 0 }, second = { 0 };
    struct child sailor = child_new(-SIGFPE);
    CHECK_INT(cora_add_child_handler(loop, sailor.pid, cora_partial(clerk_note, &first)), 0);
    CHECK_INT(cora_add_child_handler(loop, sailor.pid, cora_partial(clerk_note, &second)), 0);
    child_go(sailor);
    RUN_UNTIL(loop, second.calls > 0);
    CHECK_INT(second.code, -8);
    CHECK_INT(second.calls, 1);
    CHECK_INT(first.calls, 0);
    cora_loop_close(loop);
}

TEST(removed_handler_is_not_told,
     "a handler that was removed is not told, and the child not reaped",
     "test_unix_events.ChildWatcherTestsMixin.test_sigchld_remove_handler")
{
    cora_loop loop = cora_loop_new(NULL);
    struct clerk clerk = { 0 };
    struct child baker = child_done(1);
    CHECK_INT(cora_add_child_handler(loop, baker.pid, cora_partial(clerk_note, &clerk)), 0);
    CHECK(cora_remove_child_handler(loop, baker.pid));
    run_ticks(loop, 3);
    CHECK_INT(clerk.calls, 0);
    CHECK_INT(waitpid(baker.pid, NULL, 0), baker.pid);
    cora_loop_close(loop);
}

TEST(removing_tells_whether, "removing is true once, and does not touch other children",
     "test_unix_events.ChildWatcherTestsMixin.test_remove_child_handler")
{
    cora_loop loop = cora_loop_new(NULL);
    struct clerk clerk = { 0 };
    struct child baker = child_new(1), sailor = child_new(2);
    CHECK_INT(cora_add_child_handler(loop, baker.pid, cora_partial(clerk_note, &clerk)), 0);
    CHECK_INT(cora_add_child_handler(loop, sailor.pid, cora_partial(clerk_note, &clerk)), 0);
    CHECK(cora_remove_child_handler(loop, baker.pid));
    CHECK(!cora_remove_child_handler(loop, baker.pid));
    child_go(baker);
    child_go(sailor);
    RUN_UNTIL(loop, clerk.calls > 0);
    CHECK_INT(clerk.code, 2);
    CHECK_INT(waitpid(baker.pid, NULL, 0), baker.pid);
    cora_loop_close(loop);
}

/* ---- what others do ---- */

TEST(other_children_are_not_touched, "children of other parts of the program stay theirs",
     "test_unix_events.ChildWatcherTestsMixin.test_sigchld_unknown_pid_during_registration")
{
    cora_loop loop = cora_loop_new(NULL);
    struct clerk clerk = { 0 };
    struct child stranger = child_done(9), baker = child_done(5);
    CHECK_INT(cora_add_child_handler(loop, baker.pid, cora_partial(clerk_note, &clerk)), 0);
    RUN_UNTIL(loop, clerk.calls > 0);
    CHECK_INT(clerk.code, 5);
    int status;
    CHECK_INT(waitpid(stranger.pid, &status, 0), stranger.pid);
    CHECK_INT(WEXITSTATUS(status), 9);
    cora_loop_close(loop);
}

TEST(no_handler_of_sigchld, "watching a child installs no handler for SIGCHLD",
     "test_unix_events.ChildWatcherTestsMixin.test_set_loop")
{
    cora_loop loop = cora_loop_new(NULL);
    struct clerk clerk = { 0 };
    struct sigaction action;
    CHECK_INT(cora_add_child_handler(loop, child_done(0).pid, cora_partial(clerk_note, &clerk)), 0);
    CHECK_INT(sigaction(SIGCHLD, NULL, &action), 0);
    CHECK(action.sa_handler == SIG_DFL);
    RUN_UNTIL(loop, clerk.calls > 0);
    cora_loop_close(loop);
}

/* Kernels before 6.15 forget how a child has ended when it is reaped. */
static bool known_after_reaping(int code, int expected)
{
    return code == expected || code == 255;
}

TEST(reaped_elsewhere, "a child that somebody else has reaped is told, and reported",
     "test_unix_events.ChildWatcherTestsMixin.test_sigchld_child_reaped_elsewhere")
{
    cora_loop loop = cora_loop_new(NULL);
    struct clerk clerk = { 0 };
    struct reports reports = { 0 };
    struct child baker = child_new(58);
    reports_to(loop, &reports);
    CHECK_INT(cora_add_child_handler(loop, baker.pid, cora_partial(clerk_note, &clerk)), 0);
    child_go(baker);
    CHECK_INT(waitpid(baker.pid, NULL, 0), baker.pid);
    RUN_UNTIL(loop, clerk.calls > 0);
    CHECK(known_after_reaping(clerk.code, 58));
    CHECK_INT(reports.count, clerk.code == 255);
    cora_loop_close(loop);
}

TEST(reaped_without_pidfd, "without a pidfd the code of a child that somebody else reaped is 255")
{
    cora_loop loop = cora_loop_new(NULL);
    struct clerk clerk = { 0 };
    struct reports reports = { 0 };
    struct child baker = child_new(58);
    char expected[120];
    reports_to(loop, &reports);
    pidfd_open_error = ENOSYS;
    CHECK_INT(cora_add_child_handler(loop, baker.pid, cora_partial(clerk_note, &clerk)), 0);
    child_go(baker);
    waitpid(baker.pid, NULL, 0);
    RUN_UNTIL(loop, clerk.calls > 0);
    CHECK_INT(clerk.code, 255);
    snprintf(expected, sizeof expected,
             "child process pid %d exit status already read: will report returncode 255",
             (int)baker.pid);
    CHECK_TEXT(reports.message, expected);
    cora_loop_close(loop);
}

TEST(waiting_fails, "an error of the system when a child is reaped is reported, and told as 255",
     "test_unix_events.ChildWatcherTestsMixin.test_sigchld_unhandled_exception")
{
    cora_loop loop = cora_loop_new(NULL);
    struct clerk clerk = { 0 };
    struct reports reports = { 0 };
    struct child baker = child_done(3);
    reports_to(loop, &reports);
    CHECK_INT(cora_add_child_handler(loop, baker.pid, cora_partial(clerk_note, &clerk)), 0);
    waitid_error = EINVAL;
    RUN_UNTIL(loop, clerk.calls > 0);
    waitid_error = 0;
    CHECK_INT(clerk.code, 255);
    CHECK_INT(reports.code, -EINVAL);
    CHECK_INT(waitpid(baker.pid, NULL, 0), baker.pid);
    cora_loop_close(loop);
}

/* ---- loops ---- */

TEST(told_by_another_loop, "a child that ended while no loop watched it is told when one does",
     "test_unix_events.ChildWatcherTestsMixin.test_set_loop_race_condition")
{
    cora_loop day = cora_loop_new(NULL), night = cora_loop_new(NULL);
    struct clerk clerk = { 0 };
    struct child baker = child_new(60);
    CHECK_INT(cora_add_child_handler(day, baker.pid, cora_partial(clerk_note, &clerk)), 0);
    CHECK(cora_remove_child_handler(day, baker.pid));
    child_go(baker);
    run_ticks(day, 3);
    CHECK_INT(cora_add_child_handler(night, baker.pid, cora_partial(clerk_note, &clerk)), 0);
    RUN_UNTIL(night, clerk.calls > 0);
    CHECK_INT(clerk.code, 60);
    cora_loop_close(day);
    cora_loop_close(night);
}

static void count_drop(void *count)
{
    ++*(int *)count;
}

static void never_told(cora_args bound, cora_value returncode)
{
    (void)bound, (void)returncode;
    CHECK(false);
}

TEST(loop_is_closed, "closing the loop drops the handlers, and leaves the children alone",
     "test_unix_events.ChildWatcherTestsMixin.test_close")
{
    static const cora_type ticket = { "ticket", count_drop, NULL, 0 };
    cora_loop loop = cora_loop_new(NULL);
    struct child baker = child_new(2);
    int drops = 0, status;
    CHECK_INT(cora_add_child_handler(loop, baker.pid,
                                     cora_partial(never_told, cora_own(&drops, &ticket))),
              0);
    cora_drop_temporaries();
    CHECK_INT(cora_loop_close(loop), 0);
    CHECK_INT(drops, 1);
    child_go(baker);
    CHECK_INT(waitpid(baker.pid, &status, 0), baker.pid);
    CHECK_INT(WEXITSTATUS(status), 2);
}

TEST(told_by_a_thread, "where the kernel has no pidfd a thread waits for the child")
{
    cora_loop loop = cora_loop_new(NULL);
    struct clerk clerk = { 0 };
    struct child baker = child_new(12);
    pidfd_open_error = ENOSYS;
    CHECK_INT(cora_add_child_handler(loop, baker.pid, cora_partial(clerk_note, &clerk)), 0);
    run_ticks(loop, 2);
    child_go(baker);
    RUN_UNTIL(loop, clerk.calls > 0);
    CHECK_INT(clerk.code, 12);
    CHECK(has_no_child());
    cora_loop_close(loop);
}

TEST(guest_in_default_loop, "in a guest of the default loop, which reaps all children, libev tells")
{
    struct ev_loop *host = ev_default_loop(EVFLAG_NOENV);
    cora_loop loop = cora_loop_attach(host, NULL);
    struct clerk baked = { 0 }, sailed = { 0 };
    struct child baker = child_new(12), sailor = child_new(-SIGKILL);
    CHECK_INT(cora_add_child_handler(loop, baker.pid, cora_partial(clerk_note, &baked)), 0);
    CHECK_INT(cora_add_child_handler(loop, sailor.pid, cora_partial(clerk_note, &sailed)), 0);
    child_go(baker);
    child_go(sailor);
    while (baked.calls + sailed.calls < 2)
        ev_run(host, EVRUN_ONCE);
    CHECK_INT(baked.code, 12);
    CHECK_INT(sailed.code, -SIGKILL);
    cora_loop_detach(loop);
    ev_loop_destroy(host);
}

TEST(guest_lets_its_host_end, "a guest keeps its host's loop going while a child is watched")
{
    struct ev_loop *host = host_new();
    cora_loop loop = cora_loop_attach(host, NULL);
    struct clerk clerk = { 0 };
    struct child baker = child_new(4);
    CHECK_INT(cora_add_child_handler(loop, baker.pid, cora_partial(clerk_note, &clerk)), 0);
    child_go(baker);
    ev_run(host, 0);
    CHECK_INT(clerk.calls, 1);
    cora_loop_detach(loop);
    ev_loop_destroy(host);
}

static void *run_default_loop(void *stopper)
{
    ev_run(ev_default_loop(EVFLAG_NOENV), 0);
    return stopper;
}

static void on_stop(struct ev_loop *host, ev_async *watcher, int events)
{
    (void)watcher, (void)events;
    ev_break(host, EVBREAK_ALL);
}

TEST(beside_a_default_loop,
     "beside a default loop of another thread, which may reap first, all is told")
{
    struct ev_loop *host = ev_default_loop(EVFLAG_NOENV);
    cora_loop loop = cora_loop_new(NULL);
    struct reports reports = { 0 };
    ev_async stopper;
    pthread_t thread;
    reports_to(loop, &reports);
    ev_async_init(&stopper, on_stop);
    ev_async_start(host, &stopper);
    CHECK_INT(pthread_create(&thread, NULL, run_default_loop, NULL), 0);
    for (int i = 0; i < 20; i++) {
        struct clerk clerk = { 0 };
        struct child baker = child_new(i);
        CHECK_INT(cora_add_child_handler(loop, baker.pid, cora_partial(clerk_note, &clerk)), 0);
        child_go(baker);
        RUN_UNTIL(loop, clerk.calls > 0);
        CHECK(known_after_reaping(clerk.code, i));
    }
    ev_async_send(host, &stopper);
    pthread_join(thread, NULL);
    cora_loop_close(loop);
    ev_loop_destroy(host);
}

/* ---- forks ---- */

TEST(forked_process_has_no_part,
     "in a forked process the children are others': they are told as 255")
{
    cora_loop loop = cora_loop_new(NULL);
    struct clerk clerk = { 0 };
    struct reports reports = { 0 };
    struct child baker = child_new(6);
    int status;
    reports_to(loop, &reports);
    CHECK_INT(cora_add_child_handler(loop, baker.pid, cora_partial(clerk_note, &clerk)), 0);
    pid_t fork_pid = fork();
    if (fork_pid == 0) {
        CHECK_INT(cora_after_fork(loop), 0);
        CHECK_INT(clerk.calls, 0);
        RUN_UNTIL(loop, clerk.calls > 0);
        CHECK_INT(clerk.code, 255);
        CHECK_INT(reports.count, 1);
        cora_loop_close(loop);
        _exit(0);
    }
    CHECK_INT(waitpid(fork_pid, &status, 0), fork_pid);
    CHECK_INT(status, 0);
    child_go(baker);
    RUN_UNTIL(loop, clerk.calls > 0);
    CHECK_INT(clerk.code, 6);
    cora_loop_close(loop);
}

/* ---- what is refused ---- */

TEST(no_such_process, "watching what is no process is an error")
{
    cora_loop loop = cora_loop_new(NULL);
    struct clerk clerk = { 0 };
    struct child baker = child_done(0);
    waitpid(baker.pid, NULL, 0);
    CHECK_INT(cora_add_child_handler(loop, baker.pid, cora_partial(clerk_note, &clerk)), -ESRCH);
    CHECK_INT(cora_add_child_handler(loop, -1, cora_partial(clerk_note, &clerk)), CORA_EVALUE);
    CHECK(!cora_remove_child_handler(loop, baker.pid));
    cora_loop_close(loop);
}

TEST(no_descriptor_left, "without a descriptor for it watching fails, and the child is not touched")
{
    cora_loop loop = cora_loop_new(NULL);
    struct clerk clerk = { 0 };
    struct child baker = child_done(0);
    pidfd_open_error = EMFILE;
    CHECK_INT(cora_add_child_handler(loop, baker.pid, cora_partial(clerk_note, &clerk)), -EMFILE);
    CHECK_INT(waitpid(baker.pid, NULL, 0), baker.pid);
    cora_loop_close(loop);
}

static void close_the_loop(cora_args bound, cora_value returncode)
{
    (void)returncode;
    CHECK_INT(cora_loop_detach(cora_arg_loop(bound, 0)), 0);
}

TEST(handler_closes_the_loop, "a handler may close its loop, with other children to be told")
{
    struct ev_loop *host = host_new();
    cora_loop loop = cora_loop_attach(host, NULL);
    struct child baker = child_done(1), sailor = child_done(2);
    CHECK_INT(cora_add_child_handler(loop, baker.pid, cora_partial(close_the_loop, loop)), 0);
    CHECK_INT(cora_add_child_handler(loop, sailor.pid, cora_partial(close_the_loop, loop)), 0);
    ev_run(host, 0);
    CHECK(cora_is_closed(loop));
    ev_loop_destroy(host);
    while (waitpid(-1, NULL, 0) > 0)
        ;
}
