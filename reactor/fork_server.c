/*
 * How it works: orders and reports are messages of a fixed size on a stream. Between fork and fork
 * the server waits for orders, for the end of a child, and for the end of the program, which it
 * sees twice: the control socket ends, and, as a copy of that may be held by another child of the
 * program's, a descriptor of the program's process becomes readable.
 *
 * The server never blocks in telling its reports, so that the program may block in ordering. It
 * needs no memory of its own: the table of its children was made by the program before the fork.
 *
 * A worker is told by the kernel when the server has ended, by SIGKILL. Its socket is descriptor 3.
 *
 * The library's locks are free in the child (fork.h), and what they guard is whole; its loops are
 * closed there, and executors forget what was given to them.
 */
#include "fork_server.h"

#include "private_executor.h"
#include "value_codec.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOCKET_IN_CHILD 3 /* the server's control, a worker's jobs */

struct order {
    uint32_t worker;
    int32_t signal; /* 0: a worker is ordered, and its socket comes along */
};

enum child_state {
    CHILD_NONE,
    CHILD_RUNS,
    CHILD_ENDED, /* and that is not told yet */
};

struct child {
    enum child_state state;
    pid_t process; /* 0: it could not be forked */
    int status;
};

/* The server's own, in its process. */
struct server {
    const struct fork_server_plan *plan;
    struct child *children; /* by number */
    int signals, program;   /* descriptors: ends of children; the program's process, -1: none */
};

/* ---- the program's side ---- */

/* The same descriptor, or its copy beyond the standard ones. -1 and errno if it cannot be. */
static int beyond_standard(int descriptor)
{
    if (descriptor > STDERR_FILENO)
        return descriptor;
    int copy = fcntl(descriptor, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int error = errno;
    close(descriptor);
    errno = error;
    return copy;
}

int fork_server_pair(int ret_ends[2])
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    for (int i = 0; i < 2; i++) {
        ends[i] = beyond_standard(ends[i]);
        if (ends[i] < 0) {
            int error = errno;
            close(ends[1 - i]);
            return -error;
        }
    }
    ret_ends[0] = ends[0];
    ret_ends[1] = ends[1];
    return 0;
}

static int order_send(int control, const struct order *order, int socket)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } extra = { .head = { .cmsg_len = CMSG_LEN(sizeof(int)),
                          .cmsg_level = SOL_SOCKET,
                          .cmsg_type = SCM_RIGHTS } };
    struct iovec part = { (void *)(uintptr_t)order, sizeof *order };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    ssize_t sent;
    if (socket >= 0) {
        memcpy(CMSG_DATA(&extra.head), &socket, sizeof socket);
        message.msg_control = &extra;
        message.msg_controllen = sizeof extra.room;
    }
    do
        sent = sendmsg(control, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

int fork_server_order(int control, unsigned worker, int socket)
{
    struct order order = { worker, 0 };
    return order_send(control, &order, socket);
}

int fork_server_signal(int control, unsigned worker, int signal)
{
    struct order order = { worker, signal };
    return order_send(control, &order, -1);
}

int fork_server_read(int control, struct fork_server_report *ret_report)
{
    ssize_t size = recv(control, ret_report, sizeof *ret_report, MSG_DONTWAIT);
    if (size == (ssize_t)sizeof *ret_report)
        return 1;
    return size < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

void fork_server_end(pid_t process, int control)
{
    shutdown(control, SHUT_RDWR); /* another child of the program may have a copy */
    close(control);
    while (waitpid(process, NULL, 0) < 0 && errno == EINTR)
        continue; /* another may have waited: then there is none */
}

/* ---- a worker ---- */

/* Reads all of it; false at the end of the stream. With NULL for bytes it only reads. */
static bool read_all(char *bytes, uint64_t size)
{
    char unwanted[4096];
    while (size > 0) {
        size_t room = bytes || size < sizeof unwanted ? (size_t)size : sizeof unwanted;
        ssize_t got = read(SOCKET_IN_CHILD, bytes ? bytes : unwanted, room);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        size -= (uint64_t)got;
        bytes = bytes ? bytes + got : NULL;
    }
    return true;
}

static void write_all(const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(SOCKET_IN_CHILD, bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            _exit(0); /* the pool has no more use for this process */
        bytes += sent;
        size -= (size_t)sent;
    }
}

/* Tells an outcome, or the error of one that cannot be told. */
static void tell(enum outcome_kind kind, cora_value outcome)
{
    struct outcome_head head = { WIRE_MAGIC, kind, 0, getpid() };
    char *bytes = NULL;
    size_t size = sizeof head;
    if (values_encode(&outcome, 1, sizeof head, &bytes, &size) < 0) {
        cora_value error = cora_copy(cora_last_error());
        if (values_encode(&error, 1, sizeof head, &bytes, &size) < 0)
            head.kind = kind == OUTCOME_OF_JOB ? OUTCOME_NO_MEMORY : kind;
        cora_drop(error);
    }
    head.size = size - sizeof head;
    if (bytes)
        memcpy(bytes, &head, sizeof head);
    write_all(bytes ? bytes : (const char *)&head, size);
    free(bytes);
}

/* Its value or error, counted. */
static cora_value call(work_function function, const cora_value *values, size_t count)
{
    struct work work = { .slot = { .flags = CALLBACK_ARRAY, .count = (uint8_t)count } };
    work.callback.function = (cora_function)function;
    work.callback.arguments.array = (cora_value *)(uintptr_t)values;
    cora_value outcome = work_call(&work);
    fflush(stdout); /* the process may end without doing so */
    return outcome;
}

/* Runs a job of these encoded arguments. */
static void job_run(work_function function, const char *bytes, size_t size)
{
    cora_value values[CORA_ARGUMENTS_MAX], outcome;
    int count = values_decode(bytes, size, values, CORA_ARGUMENTS_MAX);
    if (count == CORA_EMEMORY) {
        tell(OUTCOME_OF_JOB, memory_error());
        return;
    }
    if (count < 0) {
        tell(OUTCOME_OF_DECODING, cora_last_error());
        _exit(1);
    }
    outcome = call(function, values, (size_t)count);
    tell(OUTCOME_OF_JOB, outcome);
    cora_drop(outcome);
    while (count > 0)
        cora_drop(values[--count]);
}

static void initialize(const struct fork_server_plan *plan)
{
    if (!plan->initializer)
        return;
    cora_value outcome =
        call(plan->initializer, plan->initializer_args.values, plan->initializer_args.count);
    if (cora_is_error(outcome)) {
        tell(OUTCOME_OF_INITIALIZER, outcome);
        _exit(1);
    }
    cora_drop(outcome);
}

_Noreturn static void worker_run(const struct fork_server_plan *plan)
{
    struct job_head head;
    initialize(plan);
    while (read_all((char *)&head, sizeof head)) {
        char *bytes = malloc(head.size > 0 ? (size_t)head.size : 1);
        if (!read_all(bytes, head.size))
            break;
        if (bytes)
            job_run(head.function, bytes, (size_t)head.size);
        else
            tell(OUTCOME_OF_JOB, memory_error());
        free(bytes);
    }
    _exit(0);
}

/* ---- the server ---- */

/* For a kernel that cannot close ranges. */
static void close_listed(int first)
{
    DIR *listing = opendir("/proc/self/fd");
    struct dirent *entry;
    long limit = sysconf(_SC_OPEN_MAX);
    if (!listing) {
        for (int descriptor = first; descriptor < limit; descriptor++)
            close(descriptor);
        return;
    }
    while ((entry = readdir(listing))) {
        int descriptor = atoi(entry->d_name); /* 0 for . and .. */
        if (descriptor >= first && descriptor != dirfd(listing))
            close(descriptor);
    }
    closedir(listing);
}

/* Keeps the standard descriptors and this one, which gets the number of the child's socket. */
static void close_others(int kept)
{
    if (kept != SOCKET_IN_CHILD && dup3(kept, SOCKET_IN_CHILD, O_CLOEXEC) < 0)
        _exit(1);
#ifdef SYS_close_range
    if (syscall(SYS_close_range, SOCKET_IN_CHILD + 1, ~0u, 0) == 0)
        return;
#endif
    close_listed(SOCKET_IN_CHILD + 1);
}

static void signals_reset(void)
{
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL); /* of those that have none it fails */
}

/* In the child of the server: what a worker does not share with it. */
_Noreturn static void worker_begin(const struct server *server, pid_t parent, int socket)
{
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    close_others(socket);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    worker_run(server->plan);
}

static void order_worker(struct server *server, uint32_t number, int socket)
{
    pid_t parent = getpid(), process = fork();
    if (process == 0)
        worker_begin(server, parent, socket);
    struct child child = { CHILD_RUNS, process, 0 };
    if (process < 0)
        child = (struct child){ CHILD_ENDED, 0, errno };
    server->children[number] = child;
    close(socket);
}

static void order_signal(const struct server *server, const struct order *order)
{
    for (uint32_t i = 0; i < server->plan->workers; i++) {
        const struct child *child = &server->children[i];
        if (child->state == CHILD_RUNS && (order->worker == i || order->worker == EVERY_WORKER))
            kill(child->process, order->signal); /* not reaped: it is nobody else's number */
    }
}

/* Takes one order. The server ends when there are no more. */
static void order_take(struct server *server)
{
    struct order order;
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } extra;
    struct iovec part = { &order, sizeof order };
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &extra, .msg_controllen = sizeof extra
    };
    ssize_t size = recvmsg(SOCKET_IN_CHILD, &message, MSG_CMSG_CLOEXEC);
    if (size < 0 && errno == EINTR)
        return;
    if (size != (ssize_t)sizeof order)
        _exit(0); /* and so do the workers */
    struct cmsghdr *with = CMSG_FIRSTHDR(&message);
    int socket = -1;
    if (with)
        memcpy(&socket, CMSG_DATA(with), sizeof socket);
    if (order.signal != 0)
        order_signal(server, &order);
    else if (socket >= 0)
        order_worker(server, order.worker, socket);
    else /* its descriptor has been lost: there is no room for it here */
        server->children[order.worker] = (struct child){ CHILD_ENDED, 0, EMFILE };
}

static void children_reap(struct server *server)
{
    struct signalfd_siginfo noted;
    pid_t process;
    int status;
    while (read(server->signals, &noted, sizeof noted) > 0)
        continue;
    while ((process = waitpid(-1, &status, WNOHANG)) > 0)
        for (uint32_t i = 0; i < server->plan->workers; i++)
            if (server->children[i].state == CHILD_RUNS && server->children[i].process == process)
                server->children[i] = (struct child){ CHILD_ENDED, process, status };
}

/* Whether all reports could be told. */
static bool children_report(struct server *server)
{
    for (uint32_t i = 0; i < server->plan->workers; i++) {
        struct child *child = &server->children[i];
        if (child->state != CHILD_ENDED)
            continue;
        struct fork_server_report report = { i, child->process, child->status };
        if (send(SOCKET_IN_CHILD, &report, sizeof report, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            return false;
        child->state = CHILD_NONE;
    }
    return true;
}

_Noreturn static void server_run(struct server *server)
{
    struct pollfd polled[] = { { SOCKET_IN_CHILD, POLLIN, 0 },
                               { server->signals, POLLIN, 0 },
                               { server->program, POLLIN, 0 } };
    for (;;) {
        polled[0].events = children_report(server) ? POLLIN : POLLIN | POLLOUT;
        if (poll(polled, 3, -1) < 0)
            continue;
        if (polled[2].revents)
            _exit(0);
        if (polled[1].revents)
            children_reap(server);
        if (polled[0].revents & ~POLLOUT)
            order_take(server);
    }
}

/* In the child of the program. */
_Noreturn static void server_begin(struct server *server, pid_t program, int control)
{
    sigset_t ended;
    executors_forget();
    loops_forget();
    __fpurge(stdout); /* what the program has not written yet is the program's to write */
    signals_reset();
    close_others(control);
    sigemptyset(&ended);
    sigaddset(&ended, SIGCHLD);
    server->signals = signalfd(-1, &ended, SFD_CLOEXEC | SFD_NONBLOCK);
    server->program = -1;
#ifdef SYS_pidfd_open
    server->program = (int)syscall(SYS_pidfd_open, program, 0);
#endif
    if (server->signals < 0)
        _exit(1);
    server_run(server);
}

/* Forks with all signals blocked in the child. */
static pid_t fork_safely(void)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t process = fork();
    int error = errno;
    if (process != 0)
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return process;
}

int fork_server_start(const struct fork_server_plan *plan, pid_t *ret_process, int *ret_control)
{
    int ends[2];
    struct server server = { .plan = plan };
    server.children = calloc(plan->workers, sizeof *server.children);
    if (!server.children)
        return -ENOMEM;
    int code = fork_server_pair(ends);
    if (code == 0) {
        pid_t program = getpid(), process = fork_safely();
        if (process == 0)
            server_begin(&server, program, ends[1]);
        code = process < 0 ? -errno : 0;
        close(ends[1]);
        if (process < 0)
            close(ends[0]);
        *ret_process = process;
        *ret_control = ends[0];
    }
    free(server.children);
    return code;
}
