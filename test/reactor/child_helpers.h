/*
 * child_helpers.h (private): what the tests of child processes share.
 *
 * - A struct clerk is told the return codes of children, and counts.
 * - child_new forks a child that ends so when it is told to (child_go), or at once (child_done).
 * - pidfd_open and waitid are those of the system, unless they are told to fail. This file is
 *   linked instead of them.
 */
#ifndef CHILD_HELPERS_H
#define CHILD_HELPERS_H

#include "network_helpers.h"

#include <signal.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

/* ---- system calls that can be told to fail ---- */

static int pidfd_open_error, waitid_error;

static int (*next_pidfd_open)(pid_t, unsigned);
static int (*next_waitid)(idtype_t, id_t, siginfo_t *, int);

/* Before there are threads. */
__attribute__((constructor)) static void find_next_definitions(void)
{
    next_definition("pidfd_open", &next_pidfd_open, sizeof next_pidfd_open);
    next_definition("waitid", &next_waitid, sizeof next_waitid);
}

INSTEAD int pidfd_open(pid_t pid, unsigned flags)
{
    errno = pidfd_open_error;
    return pidfd_open_error ? -1 : next_pidfd_open(pid, flags);
}

INSTEAD int waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
    errno = waitid_error;
    return waitid_error ? -1 : next_waitid(type, id, info, options);
}

/* ---- children ---- */

struct child {
    pid_t pid;
    int order; /* a byte lets the child go */
};

/* Waits to be told, then exits with this code; or, less than 0, dies by the signal. */
static inline struct child child_new(int code)
{
    int ends[2];
    char byte;
    CHECK_INT(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        close(ends[1]);
        while (read(ends[0], &byte, 1) < 0)
            ;
        if (code < 0)
            signal(-code, SIG_DFL), raise(-code);
        _exit(code);
    }
    close(ends[0]);
    return (struct child){ pid, ends[1] };
}

static inline void child_go(struct child child)
{
    put(child.order, "!");
    close(child.order);
}

/* Has ended, and was not reaped. */
static inline struct child child_done(int code)
{
    struct child child = child_new(code);
    siginfo_t info;
    child_go(child);
    CHECK_INT(waitid(P_PID, (id_t)child.pid, &info, WEXITED | WNOWAIT), 0);
    return child;
}

/* Whether there is no child of ours, not even one that was not reaped. */
static inline bool has_no_child(void)
{
    siginfo_t info;
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD;
}

/* ---- who is told ---- */

struct clerk {
    int calls, code;
};

static inline void clerk_note(cora_args bound, cora_value returncode)
{
    struct clerk *clerk = cora_arg(bound, 0, struct clerk *);
    clerk->calls++;
    clerk->code = (int)cora_as_int(returncode);
}

#endif
