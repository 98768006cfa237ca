/*
 * Forked processes: what a child may do with the loop that it inherits, and that the parent never
 * notices. A child checks for itself and tells by its exit code.
 */
#include "harness.h"

#include <cora.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
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

static void stop(cora_args bound)
{
    cora_stop(cora_arg_loop(bound, 0));
}

static void touch(cora_args bound)
{
    (void)bound;
}

struct pair {
    int near, far;
};

static struct pair pair_new(void)
{
    int ends[2];
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    return (struct pair){ ends[0], ends[1] };
}

static void pair_close(struct pair pair)
{
    close(pair.near);
    close(pair.far);
}

static void put(int descriptor)
{
    CHECK_INT(write(descriptor, "x", 1), 1);
}

/* Waits for a child. A CHECK that fails in it has been told to the harness already. */
static int exit_code(pid_t child)
{
    int status = 0;
    CHECK_INT(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- a child that says nothing ---- */

TEST(run_is_refused, "in a child, a run without cora_after_fork is a RuntimeError")
{
    cora_loop loop = cora_loop_new(NULL);
    int counted = 0;
    cora_call_soon(loop, cora_partial(count, &counted));
    pid_t child = fork();
    if (child == 0) {
        CHECK_INT(cora_run_forever(loop), CORA_ERUNTIME);
        CHECK(strstr(cora_error_message(cora_last_error()), "cora_after_fork") != NULL);
        CHECK_INT(counted, 0);
        _exit(0);
    }
    CHECK_INT(exit_code(child), 0);
    run_tick(loop);
    CHECK_INT(counted, 1);
    cora_loop_close(loop);
}

static void fork_and_keep(cora_args bound)
{
    pid_t *child = cora_arg(bound, 0, pid_t *);
    *child = fork();
    if (*child != 0)
        cora_stop(cora_running_loop());
}

TEST(run_ends_in_child, "a run that forked inside a callback ends in the child with a RuntimeError")
{
    cora_loop loop = cora_loop_new(NULL);
    pid_t child = -1;
    cora_call_soon(loop, cora_partial(fork_and_keep, &child));
    int code = cora_run_forever(loop);
    if (child == 0) {
        CHECK_INT(code, CORA_ERUNTIME);
        CHECK(!cora_is_running(loop));
        CHECK_INT(cora_run_forever(loop), CORA_ERUNTIME);
        _exit(0);
    }
    CHECK_INT(code, 0);
    CHECK_INT(exit_code(child), 0);
    run_tick(loop);
    cora_loop_close(loop);
}

TEST(child_closes,
     "a child may close the loop that it inherited; the parent's descriptors stay polled")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    int counted = 0;
    cora_add_reader(loop, pair.near, cora_partial(count, &counted));
    run_tick(loop);
    pid_t child = fork();
    if (child == 0) {
        CHECK_INT(cora_loop_close(loop), 0);
        _exit(0);
    }
    CHECK_INT(exit_code(child), 0);
    put(pair.far);
    run_tick(loop);
    CHECK_INT(counted, 1);
    pair_close(pair);
    cora_loop_close(loop);
}

TEST(child_makes_its_own, "a child may make a loop of its own beside the one that it inherited",
     "test_unix_events.TestFork.test_fork_asyncio_run")
{
    cora_loop loop = cora_loop_new(NULL);
    int counted = 0;
    cora_call_soon(loop, cora_partial(count, &counted));
    pid_t child = fork();
    if (child == 0) {
        cora_loop own = cora_loop_new(NULL);
        cora_call_soon(own, cora_partial(count, &counted));
        run_tick(own);
        CHECK_INT(counted, 1);
        CHECK_INT(cora_run_forever(loop), CORA_ERUNTIME);
        cora_loop_close(own);
        _exit(0);
    }
    CHECK_INT(exit_code(child), 0);
    run_tick(loop);
    CHECK_INT(counted, 1);
    cora_loop_close(loop);
}

TEST(signal_to_child, "a signal to a child does not reach the parent's handler, whose loop goes on",
     "test_unix_events.TestFork.test_fork_signal_handling")
{
    cora_loop loop = cora_loop_new(NULL);
    int counted = 0, timers = 0;
    CHECK_INT(cora_add_signal_handler(loop, SIGTERM, cora_partial(count, &counted)), 0);
    pid_t child = fork();
    if (child == 0) {
        raise(SIGTERM);
        _exit(0);
    }
    CHECK_INT(exit_code(child), 0);
    cora_call_later(loop, 0.001, cora_partial(count, &timers));
    cora_call_later(loop, 0.002, cora_partial(stop, loop));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(counted, 0);
    CHECK_INT(timers, 1);
    raise(SIGTERM);
    run_tick(loop);
    CHECK_INT(counted, 1);
    cora_loop_close(loop);
}

/* ---- a child that calls cora_after_fork ---- */

TEST(child_serves,
     "after cora_after_fork timers, descriptors and queued callbacks go on in the child")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new();
    int soon = 0, timers = 0, reads = 0;
    cora_add_reader(loop, pair.near, cora_partial(count, &reads));
    cora_call_later(loop, 0.001, cora_partial(count, &timers));
    cora_call_later(loop, 0.002, cora_partial(stop, loop));
    cora_call_soon(loop, cora_partial(count, &soon));
    pid_t child = fork();
    if (child == 0) {
        CHECK_INT(cora_after_fork(loop), 0);
        put(pair.far);
        CHECK_INT(cora_run_forever(loop), 0);
        CHECK_INT(soon, 1);
        CHECK_INT(timers, 1);
        CHECK(reads > 0);
        _exit(0);
    }
    CHECK_INT(exit_code(child), 0);
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(soon, 1);
    CHECK_INT(timers, 1);
    CHECK(reads > 0);
    pair_close(pair);
    cora_loop_close(loop);
}

TEST(child_polls_for_itself, "what the child adds and removes does not touch the parent's poll")
{
    cora_loop loop = cora_loop_new(NULL);
    struct pair pair = pair_new(), other = pair_new();
    int counted = 0, children = 0;
    cora_add_reader(loop, pair.near, cora_partial(count, &counted));
    run_tick(loop);
    pid_t child = fork();
    if (child == 0) {
        CHECK_INT(cora_after_fork(loop), 0);
        CHECK(cora_remove_reader(loop, pair.near));
        cora_add_writer(loop, other.near, cora_partial(count, &children));
        run_tick(loop);
        CHECK_INT(children, 1);
        CHECK_INT(cora_loop_close(loop), 0);
        _exit(0);
    }
    CHECK_INT(exit_code(child), 0);
    put(pair.far);
    run_tick(loop);
    CHECK_INT(counted, 1);
    CHECK_INT(children, 0);
    pair_close(pair);
    pair_close(other);
    cora_loop_close(loop);
}

static void *queue_from_thread(void *argument)
{
    cora_loop *loop = argument;
    cora_call_soon_threadsafe(*loop, cora_partial(stop, *loop));
    return NULL;
}

TEST(thread_safe_queue_is_kept, "what was queued from any thread before the fork runs in both")
{
    cora_loop loop = cora_loop_new(NULL);
    int counted = 0;
    cora_call_soon_threadsafe(loop, cora_partial(count, &counted));
    pid_t child = fork();
    if (child == 0) {
        CHECK_INT(cora_after_fork(loop), 0);
        run_tick(loop);
        CHECK_INT(counted, 1);
        _exit(0);
    }
    CHECK_INT(exit_code(child), 0);
    run_tick(loop);
    CHECK_INT(counted, 1);
    cora_loop_close(loop);
}

TEST(child_is_woken, "in the child another thread wakes the loop, as in the parent")
{
    cora_loop loop = cora_loop_new(NULL);
    run_tick(loop);
    pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        CHECK_INT(cora_after_fork(loop), 0);
        CHECK_INT(pthread_create(&thread, NULL, queue_from_thread, &loop), 0);
        CHECK_INT(cora_run_forever(loop), 0);
        pthread_join(thread, NULL);
        _exit(0);
    }
    CHECK_INT(exit_code(child), 0);
    cora_loop_close(loop);
}

static void fork_and_go_on(cora_args bound)
{
    pid_t *child = cora_arg(bound, 0, pid_t *);
    cora_loop loop = cora_running_loop();
    *child = fork();
    if (*child == 0)
        CHECK_INT(cora_after_fork(loop), 0);
    cora_call_soon(loop, cora_partial(count, cora_arg(bound, 1, int *)));
    cora_call_later(loop, 0.001, cora_partial(stop, loop));
}

TEST(fork_in_a_callback,
     "cora_after_fork inside the callback that forked lets the run go on in the child")
{
    cora_loop loop = cora_loop_new(NULL);
    pid_t child = -1;
    int counted = 0;
    cora_call_soon(loop, cora_partial(fork_and_go_on, &child, &counted));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(counted, 1);
    if (child == 0)
        _exit(0);
    CHECK_INT(exit_code(child), 0);
    cora_loop_close(loop);
}

TEST(grandchild, "each generation calls cora_after_fork for itself")
{
    cora_loop loop = cora_loop_new(NULL);
    pid_t child = fork();
    if (child == 0) {
        CHECK_INT(cora_after_fork(loop), 0);
        pid_t grandchild = fork();
        if (grandchild == 0) {
            CHECK_INT(cora_run_forever(loop), CORA_ERUNTIME);
            CHECK_INT(cora_after_fork(loop), 0);
            run_tick(loop);
            _exit(0);
        }
        CHECK_INT(exit_code(grandchild), 0);
        run_tick(loop);
        _exit(0);
    }
    CHECK_INT(exit_code(child), 0);
    cora_loop_close(loop);
}

TEST(two_loops, "cora_after_fork is for one loop: each that the child uses wants its own")
{
    cora_loop one = cora_loop_new(NULL), two = cora_loop_new(NULL);
    pid_t child = fork();
    if (child == 0) {
        CHECK_INT(cora_after_fork(one), 0);
        run_tick(one);
        CHECK_INT(cora_run_forever(two), CORA_ERUNTIME);
        CHECK_INT(cora_after_fork(two), 0);
        run_tick(two);
        _exit(0);
    }
    CHECK_INT(exit_code(child), 0);
    cora_loop_close(one);
    cora_loop_close(two);
}

TEST(in_the_parent, "in a process that did not fork cora_after_fork does nothing")
{
    cora_loop loop = cora_loop_new(NULL);
    int counted = 0;
    CHECK_INT(cora_after_fork(loop), 0);
    cora_call_soon(loop, cora_partial(count, &counted));
    run_tick(loop);
    CHECK_INT(counted, 1);
    cora_loop_close(loop);
}

TEST(closed_or_null, "cora_after_fork of a closed loop is a RuntimeError, of no loop a StaleHandle")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_call_soon(loop, cora_partial(touch));
    cora_loop_close(loop);
    CHECK_INT(cora_after_fork(loop), CORA_ERUNTIME);
    CHECK_INT(cora_after_fork((cora_loop){ 0 }), CORA_ESTALE);
}
