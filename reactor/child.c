/*
 * How it works: a child's record is in a list of its loop's, and holds what tells its end: a pidfd,
 * which is watched as any descriptor; libev's own watcher in the default loop, which reaps all
 * children, ours too; or a thread that waits for it, where the kernel has no pidfd. Each of them
 * queues one callback, which reaps the child if nobody has, and tells.
 *
 * The pid of a child stays its own until it is reaped, and we are who does that, or libev in our
 * own thread, which tells at once: so a signal never meets a stranger. Should somebody else reap
 * it, a pidfd still knows; but not if that was before we have one.
 *
 * A forked process inherits the records, but the children are its siblings.
 */
#include "child.h"

#include "private_child.h"
#include "private_object.h"
#include "thread_pool.h"
#include "watcher.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REAPED_ELSEWHERE 255 /* asyncio's number */
#define KILL_PATIENCE 1.0    /* seconds that a closing loop waits for the ends of killed children */

struct child {
    struct child *next, **link; /* of the loop's */
    uint64_t bits;
    struct loop *loop;
    const struct cora_place *place;
    struct hook hook; /* who is told */
    struct hook turn; /* what is queued when it has ended; told: it is */
    uint32_t process; /* whose child it is */
    pid_t pid;
    int pidfd;                /* -1: none */
    struct thread_pool *pool; /* of the one thread that waits for it; NULL: none does */
    bool owned;               /* we have made it, and end it */
    bool reaped;              /* by somebody else: its number may be another's by now */
    ev_child watcher;         /* in a default loop; its data is this */
};

static void child_closed(void *memory);

static const struct cora_object_type child_type = { "child", sizeof(struct child *), child_closed };

static struct child *child_get(uint64_t bits)
{
    struct child **memory = bits ? cora_object_get(bits, &child_type) : NULL;
    return memory ? *memory : NULL;
}

static struct child *child_find(const struct loop *loop, pid_t pid)
{
    struct child *child = loop->children;
    while (child && child->pid != pid)
        child = child->next;
    return child;
}

/* Whether libev has reaped it, also if it has not told us yet: others are told first. */
static bool is_reaped(struct child *child)
{
    return child->reaped || ev_is_pending(&child->watcher);
}

/* Whether its number is its own: a child of this very process, which nobody has reaped. */
static bool is_ours(struct child *child)
{
    return !is_reaped(child) && child->process == (uint32_t)getpid();
}

/* ---- asking the system ---- */

/*
 * The return code of the child if it has ended: then it is reaped, unless the options say WNOWAIT.
 * 1: it has; 0: not yet; or the system's error.
 */
static int child_wait(const struct child *child, int options, int *ret_code)
{
    siginfo_t info = { 0 };
    bool by_descriptor = child->pidfd >= 0;
    int code;
    do
        code = waitid(by_descriptor ? P_PIDFD : P_PID,
                      (id_t)(by_descriptor ? child->pidfd : child->pid), &info,
                      WEXITED | WNOHANG | options);
    while (code < 0 && errno == EINTR);
    if (code < 0)
        return -errno;
    if (info.si_pid == 0)
        return 0;
    *ret_code = info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
    return 1;
}

static int code_of_status(int status)
{
    return WIFEXITED(status)     ? WEXITSTATUS(status)
           : WIFSIGNALED(status) ? -WTERMSIG(status)
                                 : status;
}

/* The kernel's answer to PIDFD_GET_INFO, by name only in newer headers than ours. */
struct pidfd_answer {
    uint64_t mask, cgroup;
    uint32_t ids[11];
    int32_t status;
};
#define PIDFD_ASK _IOWR(0xFF, 11, struct pidfd_answer)
#define PIDFD_ASK_EXIT 8u

/* How a child has ended that somebody else has reaped; false where the kernel does not tell. */
static bool ask_pidfd(int pidfd, int *ret_code)
{
    struct pidfd_answer answer = { .mask = PIDFD_ASK_EXIT };
    if (pidfd < 0 || ioctl(pidfd, PIDFD_ASK, &answer) < 0 || !(answer.mask & PIDFD_ASK_EXIT))
        return false;
    *ret_code = code_of_status(answer.status);
    return true;
}

/* ---- its end ---- */

/* The thread that waits for it ends when it may: at once if it has told, or with the child. */
static void thread_release(struct child *child)
{
    loop_awaited(child->loop);
    if (child->process == (uint32_t)getpid())
        thread_pool_close(child->pool);
    else
        thread_pool_forget(child->pool);
    child->pool = NULL;
}

/* Does not watch it any more. */
static void child_unwatch(struct child *child)
{
    struct loop *loop = child->loop;
    if (loop->ev && ev_is_active(&child->watcher))
        ev_child_stop(loop->ev, &child->watcher);
    if (child->pool)
        thread_release(child);
    if (child->pidfd < 0)
        return;
    if (loop->ev)
        cora_remove_reader(loop_handle(loop), child->pidfd);
    close(child->pidfd);
    child->pidfd = -1;
}

static void child_closed(void *memory)
{
    struct child *child = *(struct child **)memory;
    struct loop *loop = child->loop;
    struct hook hook = child->hook, turn = child->turn;
    child_unwatch(child);
    *child->link = child->next;
    if (child->next)
        child->next->link = child->link;
    free(child);
    hook_drop(loop, &turn);
    hook_drop(loop, &hook);
}

/* It is over: who wants to know is told, after a report if there is something to be said. */
static void child_tell(struct child *child, int code, const char *message, int error)
{
    struct loop *loop = child->loop;
    struct hook hook = child->hook;
    const struct cora_place *place = child->place;
    child->hook = (struct hook){ 0 };
    loop_hold(loop);
    cora_object_close(child->bits, &child_type);
    if (message)
        report_plain(loop, message, error ? cora_error(error, NULL) : cora_nothing(), place);
    if (loop->ev)
        hook_tell(loop, &hook, cora_int(code));
    else
        hook_drop(loop, &hook);
    loop_unhold(loop);
}

/* Nobody knows how it has ended. */
static __attribute__((cold)) void child_lost(struct child *child, int error)
{
    char message[120];
    if (error == -ECHILD)
        snprintf(message, sizeof message,
                 "child process pid %d exit status already read: will report returncode %d",
                 (int)child->pid, REAPED_ELSEWHERE);
    else
        snprintf(message, sizeof message,
                 "child process pid %d cannot be waited for: will report returncode %d",
                 (int)child->pid, REAPED_ELSEWHERE);
    child_tell(child, REAPED_ELSEWHERE, message, error == -ECHILD ? 0 : error);
}

/* It seems to have ended; after a fork it is our sibling, of whom we do not know. */
static void child_look(struct child *child)
{
    bool is_sibling = child->process != child->loop->process;
    int code = 0, found = is_sibling ? -ECHILD : child_wait(child, 0, &code);
    if (found == -ECHILD && ask_pidfd(child->pidfd, &code))
        found = 1;
    if (found > 0)
        child_tell(child, code, NULL, 0);
    else if (found < 0)
        child_lost(child, found);
}

/* Its turn: after a fork, or when somebody has reaped it; libev tells how it has ended. */
static void on_turn(cora_args bound, cora_value status)
{
    struct child *child = child_get(cora_as_object(cora_arg_value(bound, 0)));
    if (!child)
        return;
    if (!child->reaped)
        child_look(child);
    else if (cora_is_nothing(status))
        child_lost(child, -ECHILD);
    else
        child_tell(child, code_of_status((int)cora_as_int(status)), NULL, 0);
}

/* ---- by a pidfd ---- */

static void on_ended(cora_args bound)
{
    struct child *child = child_get(cora_as_object(cora_arg_value(bound, 0)));
    if (child)
        child_look(child);
}

static int watch_pidfd(struct child *child)
{
    return cora_add_reader(loop_handle(child->loop), child->pidfd,
                           cora_partial(on_ended, cora_from_object(child->bits)));
}

/* ---- by libev ---- */

static void on_child(struct ev_loop *ev, ev_child *watcher, int events)
{
    struct child *child = watcher->data;
    (void)events;
    ev_child_stop(ev, watcher);
    child->reaped = true;
    hook_tell(child->loop, &child->turn, cora_int(watcher->rstatus));
}

static int watch_in_default_loop(struct child *child)
{
    int code;
    if (child_wait(child, WNOWAIT, &code) == -ECHILD)
        return fail(-ESRCH, "child process %d", (int)child->pid);
    ev_child_init(&child->watcher, on_child, child->pid, 0);
    child->watcher.data = child;
    ev_child_start(child->loop->ev, &child->watcher);
    return 0;
}

/* ---- by a thread: it waits, and leaves the reaping to the loop ---- */

struct vigil {
    struct job job;
    cora_loop loop;
    uint64_t child;
    pid_t pid;
    bool owned;
};

static void vigil_run(struct job *job)
{
    const struct vigil *vigil = (struct vigil *)job;
    siginfo_t info;
    while (waitid(P_PID, (id_t)vigil->pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
        ;
}

static void vigil_done(struct job *job)
{
    struct vigil *vigil = (struct vigil *)job;
    const struct timespec moment = { .tv_nsec = 10000000 };
    siginfo_t info;
    while (cora_is_null(cora_call_soon_threadsafe(
        vigil->loop, cora_partial(on_ended, cora_from_object(vigil->child))))) {
        if (cora_last_error_code() != CORA_EMEMORY) { /* its loop is closed */
            if (vigil->owned)
                waitid(P_PID, (id_t)vigil->pid, &info, WEXITED | WNOHANG);
            break;
        }
        nanosleep(&moment, NULL);
    }
    free(vigil);
}

static int watch_by_thread(struct child *child)
{
    struct vigil *vigil = malloc(sizeof *vigil);
    struct thread_pool *pool = vigil ? thread_pool_new(1, "cora-child", NULL) : NULL;
    if (!pool) {
        free(vigil);
        return fail_with(memory_error());
    }
    *vigil = (struct vigil){ .job = { .run = vigil_run, .done = vigil_done },
                             .loop = loop_handle(child->loop),
                             .child = child->bits,
                             .pid = child->pid,
                             .owned = child->owned };
    int code = thread_pool_submit(pool, &vigil->job);
    if (code < 0) {
        thread_pool_close(pool);
        free(vigil);
        return fail(code, "no thread can be started to wait for a child process");
    }
    child->pool = pool;
    loop_await(child->loop);
    return 0;
}

/* ---- watching ---- */

static int child_send(const struct child *child, int number)
{
    return child->pidfd >= 0 ? pidfd_send_signal(child->pidfd, number, NULL, 0)
                             : kill(child->pid, number);
}

/* Kills one that we have made. */
static void child_kill(struct child *child)
{
    int code;
    if (child->owned && is_ours(child) && child_wait(child, WNOWAIT, &code) == 0)
        child_send(child, SIGKILL);
}

/*
 * Reaps one that was killed, which is gone soon, or had ended before. One that is not gone at the
 * deadline stays, or is the thread's to be reaped; in a default loop all are libev's.
 */
static void child_reap(struct child *child, double deadline)
{
    struct pollfd ended = { .fd = child->pidfd, .events = POLLIN };
    double left;
    int code;
    if (!child->owned || !is_ours(child) || ev_is_active(&child->watcher))
        return;
    while (child_wait(child, 0, &code) == 0 && (left = deadline - clock_now()) > 0)
        poll(&ended, 1, child->pidfd >= 0 ? (int)(left * 1000) : 1);
}

/* The loop is being closed, libev's part of it is there still. All are killed before one is waited
 * for: it takes as long as the slowest. */
static void children_stop(struct loop *loop)
{
    double deadline = clock_now() + KILL_PATIENCE;
    for (struct child *child = loop->children; child; child = child->next)
        child_kill(child);
    for (struct child *child = loop->children; child; child = child->next) {
        child_reap(child, deadline);
        child_unwatch(child);
    }
}

/* In a child of this process: the others are not its own, and that is told in the next tick. */
static void children_after_fork(struct loop *loop)
{
    for (struct child *child = loop->children; child; child = child->next) {
        child_unwatch(child);
        hook_tell(loop, &child->turn, cora_nothing());
    }
}

static const struct child_layer child_layer = { children_stop, children_after_fork };

static int child_begin(struct child *child)
{
    if (ev_is_default_loop(child->loop->ev))
        return watch_in_default_loop(child);
    child->pidfd = pidfd_open(child->pid, 0);
    if (child->pidfd >= 0)
        return watch_pidfd(child);
    if (errno == ENOSYS || errno == EPERM)
        return watch_by_thread(child);
    if (errno == ESRCH && child->owned) { /* it was there: SIGCHLD is ignored, or all are reaped */
        child->reaped = true;
        hook_tell(child->loop, &child->turn, cora_nothing());
        return 0;
    }
    return fail(-errno, "child process %d", (int)child->pid);
}

/* A new record, watched; NULL, and the error is set. The hook is the caller's until it is there. */
static struct child *child_new(struct loop *loop, pid_t pid, bool owned,
                               const struct cora_place *place)
{
    loop->child_layer = &child_layer;
    struct child *child = malloc(sizeof *child);
    if (!child) {
        fail_with(memory_error());
        return NULL;
    }
    *child = (struct child){ .next = loop->children,
                             .link = &loop->children,
                             .bits = cora_object_new_at(loop_handle(loop), &child_type, place),
                             .loop = loop,
                             .place = place,
                             .process = loop->process,
                             .pid = pid,
                             .pidfd = -1,
                             .owned = owned };
    if (!child->bits) {
        free(child);
        return NULL;
    }
    *(struct child **)cora_object_get(child->bits, &child_type) = child;
    if (child->next)
        child->next->link = &child->next;
    loop->children = child;
    if (hook_store(loop, &child->turn, cora_partial(on_turn, cora_from_object(child->bits))) &&
        child_begin(child) == 0)
        return child;
    cora_object_close(child->bits, &child_type);
    return NULL;
}

uint64_t child_watch(struct loop *loop, pid_t pid, struct hook hook, const struct cora_place *place)
{
    struct child *child = child_new(loop, pid, true, place);
    if (!child)
        return 0;
    child->hook = hook;
    return child->bits;
}

void child_abandon(uint64_t bits)
{
    struct child *child = child_get(bits);
    if (!child)
        return;
    struct hook hook = child->hook;
    child->hook = (struct hook){ 0 };
    child_signal(bits, SIGKILL);
    hook_drop(child->loop, &hook);
}

void child_end_now(pid_t pid)
{
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

int child_signal(uint64_t bits, int number)
{
    struct child *child = child_get(bits);
    if (child && is_reaped(child))
        return 0; /* and that is told soon */
    if (!child || !is_ours(child))
        return fail(-ESRCH, "the process has ended");
    if (child_send(child, number) < 0 && errno != ESRCH)
        return fail(-errno, "signal %d to process %d", number, (int)child->pid);
    return 0;
}

bool child_runs(uint64_t bits)
{
    struct child *child = child_get(bits);
    int code;
    return child && is_ours(child) && child_wait(child, WNOWAIT, &code) == 0;
}

/* ---- for children that others have made ---- */

int cora_add_child_handler(cora_loop handle, pid_t pid, cora_outcome_callback callback)
{
    struct loop *loop = loop_get(handle);
    struct hook hook;
    if (!loop)
        return cora_last_error_code();
    if (pid <= 0)
        return fail(CORA_EVALUE, "%d is no process", (int)pid);
    struct child *child = child_find(loop, pid);
    if (child && child->owned)
        return fail(CORA_ERUNTIME, "child process %d belongs to a transport", (int)pid);
    if (!hook_store(loop, &hook, callback))
        return cora_last_error_code();
    if (!child)
        child = child_new(loop, pid, false, callback.partial->place);
    int code = child ? 0 : cora_last_error_code();
    struct hook old = child ? child->hook : hook;
    if (child)
        child->hook = hook;
    hook_drop(loop, &old);
    return code;
}

bool cora_remove_child_handler(cora_loop handle, pid_t pid)
{
    struct loop *loop = loop_get(handle);
    struct child *child = loop ? child_find(loop, pid) : NULL;
    return child && !child->owned && cora_object_close(child->bits, &child_type) == 0;
}
