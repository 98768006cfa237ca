/*
 * calls.h (private): system calls that fail when a test says so. The functions below stand in the
 * place of the C library's for all that is linked into the program, which is Cora and the test, but
 * not for libev or the C library itself.
 *
 * - fail_call(k, ways, lasting) lets the k-th call from now on fail in one of the ways that the
 *   real one may; lasting: and all later calls of the same function, in the same way, unless they
 *   would be made again for ever.
 * - fail_call_of(function, k, ways) counts only those of one function.
 * - What the test does for itself is between quiet() and loud(), and is not counted.
 *
 * A call that fails has done what the real one would have: an interrupted connect goes on, an
 * aborted connection is gone. A "short" one works, on a single byte.
 */
#ifndef CALLS_H
#define CALLS_H

#include "harness.h"

#include <cora/virtual_clock.h>
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum call {
    SOCKET,
    BIND,
    CONNECT,
    LISTEN,
    ACCEPT,
    SETSOCKOPT,
    GETSOCKOPT,
    GETSOCKNAME,
    GETPEERNAME,
    FCNTL,
    RECV,
    SEND,
    SENDMSG,
    SHUTDOWN,
    READ,
    WRITEV,
    PWRITEV2,
    FSTAT,
    PIPE2,
    OPEN,
    POSIX_SPAWNP,
    PIDFD_OPEN,
    WAITID,
    GETADDRINFO,
    GETNAMEINFO,
    PTHREAD_CREATE,
    CALLS,
};

#define SHORT (-1000)       /* a way of failing: a single byte goes */
#define REFUSED_LATER 10000 /* and another: SO_ERROR tells this error less */
#define WAYS 10

/* How each may fail: an errno, or an error of getaddrinfo's; 0: no more. */
static const struct {
    const char *name;
    int ways[WAYS];
} call_table[CALLS] = {
    [SOCKET] = { "socket", { EMFILE, ENFILE, ENOBUFS, EACCES, EAFNOSUPPORT } },
    [BIND] = { "bind", { EADDRINUSE, EACCES, EADDRNOTAVAIL, ENOMEM } },
    [CONNECT] = { "connect", { EINTR, ECONNREFUSED, ENETUNREACH, EADDRNOTAVAIL, EPERM } },
    [LISTEN] = { "listen", { EADDRINUSE, EPERM } },
    [ACCEPT] = { "accept4",
                 { EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED, EINTR, EAGAIN, EPERM } },
    [SETSOCKOPT] = { "setsockopt", { ENOPROTOOPT, ENOMEM, EPERM } },
    [GETSOCKOPT] = { "getsockopt", { EPERM, ENOBUFS, REFUSED_LATER + ECONNREFUSED } },
    [GETSOCKNAME] = { "getsockname", { ENOBUFS } },
    [GETPEERNAME] = { "getpeername", { ENOTCONN, ENOBUFS } },
    [FCNTL] = { "fcntl", { EBADF, EACCES } },
    [RECV] = { "recv", { EAGAIN, EINTR, SHORT, ECONNRESET, ETIMEDOUT, ENOMEM } },
    [SEND] = { "send", { EAGAIN, EINTR, SHORT, EPIPE, ECONNRESET, ENOBUFS, EPERM } },
    [SENDMSG] = { "sendmsg", { EAGAIN, EINTR, SHORT, EPIPE, ECONNRESET, ENOMEM } },
    [SHUTDOWN] = { "shutdown", { ENOTCONN } },
    [READ] = { "read", { EAGAIN, EINTR, SHORT, EIO, EISDIR } },
    [WRITEV] = { "writev", { EAGAIN, EINTR, SHORT, EPIPE, ENOSPC } },
    [PWRITEV2] = { "pwritev2", { EAGAIN, EINTR, SHORT, EPIPE, ENOSPC, EOPNOTSUPP } },
    [FSTAT] = { "fstat", { EOVERFLOW, EBADF } },
    [PIPE2] = { "pipe2", { EMFILE, ENFILE } },
    [OPEN] = { "open", { EMFILE, ENFILE, ENOENT } },
    [POSIX_SPAWNP] = { "posix_spawnp", { ENOENT, EACCES, EAGAIN, ENOMEM } },
    [PIDFD_OPEN] = { "pidfd_open", { EMFILE, ENFILE, ENOSYS, EPERM } },
    [WAITID] = { "waitid", { EINTR, EINVAL } },
    [GETADDRINFO] = { "getaddrinfo", { EAI_AGAIN, EAI_MEMORY, EAI_SYSTEM, EAI_FAIL } },
    [GETNAMEINFO] = { "getnameinfo", { EAI_AGAIN, EAI_MEMORY, EAI_SYSTEM } },
    [PTHREAD_CREATE] = { "pthread_create", { EAGAIN, EPERM } },
};

/* Threads of the resolver's look at it, too. */
static struct {
    atomic_bool armed;
    atomic_int quiet;
    atomic_int only;  /* of this function; CALLS: of all */
    atomic_long left; /* calls until one fails */
    atomic_int ways;  /* which of its ways it fails in */
    atomic_bool lasting;
    atomic_bool failed; /* one has */
    atomic_int which;   /* that */
    atomic_int error;   /* so */
} faults;

static atomic_int wrong_closes; /* of what is no descriptor */

static inline void quiet(void)
{
    faults.quiet++;
}

static inline void loud(void)
{
    faults.quiet--;
}

static inline void fail_call(long number, int ways, bool lasting)
{
    faults.only = CALLS;
    faults.ways = ways;
    faults.lasting = lasting;
    faults.error = 0;
    faults.left = number;
    faults.failed = false;
    faults.armed = true;
}

static inline void fail_call_of(enum call function, long number, int ways)
{
    fail_call(number, ways, false);
    faults.only = (int)function;
}

static inline void let_all_calls_succeed(void)
{
    faults.armed = false;
    faults.failed = false;
}

/* Whether it is the test's matter that calls fail, one after the other. */
static inline bool calls_fail(void)
{
    return faults.armed && faults.only == CALLS;
}

/* How many ways of failing a function has. */
static inline int ways_of(enum call call)
{
    int count = 0;
    while (count < WAYS && call_table[call].ways[count] != 0)
        count++;
    return count;
}

/* Whether it has failed in a way that concerns nobody: the program calls again, or another one. */
static inline bool was_transient(void)
{
    int error = faults.error;
    if (faults.which == PIDFD_OPEN)
        return error == ENOSYS || error == EPERM;
    if (faults.which == POSIX_SPAWNP)
        return false;
    return error == EINTR || error == SHORT || error == ECONNABORTED || error == EOPNOTSUPP ||
           (error == EAGAIN && faults.which != PTHREAD_CREATE && faults.which != POSIX_SPAWNP);
}

/* How this call fails: as its table says, errno is set; 0: it does not. */
static int failure_of(enum call call)
{
    if (!faults.armed || faults.quiet > 0)
        return 0;
    if (faults.only != CALLS && faults.only != (int)call)
        return 0;
    bool again = faults.lasting && faults.failed && faults.which == (int)call && !was_transient();
    if (!again) {
        if (faults.failed || faults.left-- != 0)
            return 0;
        faults.which = (int)call;
        faults.error = call_table[call].ways[faults.ways % ways_of(call)];
        faults.failed = true;
    }
    if (getenv("STAGE"))
        fprintf(stderr, "%s fails: %d\n", call_table[call].name, faults.error);
    errno = faults.error;
    return faults.error;
}

/* Whether it is a call of this function that has failed. */
static inline bool calls_failed(enum call call)
{
    return faults.failed && faults.only == CALLS && faults.which == (int)call;
}

#define NEXT(name)                                                                                 \
    do {                                                                                           \
        void *symbol = dlsym(RTLD_NEXT, name);                                                     \
        memcpy(&next, &symbol, sizeof next);                                                       \
    } while (0)

/* ---- the time: it stands still while the system or a thread has something to do ---- */

static bool time_held;

static inline void hold_time(void)
{
    if (!time_held)
        cora_virtual_clock_hold();
    time_held = true;
}

static inline void let_time_pass(void)
{
    if (time_held)
        cora_virtual_clock_release();
    time_held = false;
}

/* ---- the calls ---- */

/*
 * An address where nobody answers until it is too late: 127.0.0.8. In the place of a socket that
 * connects to it comes the silent one, which cannot be written to until its peer reads.
 */
static int silent = -1;
static int unanswered = -1; /* the socket's number */
static int other_attempts;  /* meanwhile */

int socket(int family, int type, int protocol)
{
    int (*next)(int, int, int);
    NEXT("socket");
    other_attempts += unanswered >= 0;
    return failure_of(SOCKET) ? -1 : next(family, type, protocol);
}

/* Under names of their own, as the C library declares theirs with another type of address. */
int our_bind(int descriptor, const struct sockaddr *address, socklen_t size) __asm__("bind");
int our_connect(int descriptor, const struct sockaddr *address, socklen_t size) __asm__("connect");
int our_accept(int descriptor, struct sockaddr *address, socklen_t *size,
               int flags) __asm__("accept4");
int our_getsockname(int descriptor, struct sockaddr *address,
                    socklen_t *size) __asm__("getsockname");
int our_getpeername(int descriptor, struct sockaddr *address,
                    socklen_t *size) __asm__("getpeername");

int our_bind(int descriptor, const struct sockaddr *address, socklen_t size)
{
    int (*next)(int, const struct sockaddr *, socklen_t);
    NEXT("bind");
    return failure_of(BIND) ? -1 : next(descriptor, address, size);
}

static bool is_silent(const struct sockaddr *address)
{
    const struct sockaddr_in *inet = (const void *)address;
    return silent >= 0 && inet->sin_family == AF_INET &&
           inet->sin_addr.s_addr == htonl(INADDR_LOOPBACK + 7);
}

int our_connect(int descriptor, const struct sockaddr *address, socklen_t size)
{
    int (*next)(int, const struct sockaddr *, socklen_t);
    NEXT("connect");
    int failure = failure_of(CONNECT);
    if (failure && failure != EINTR)
        return -1;
    if (is_silent(address)) {
        dup3(silent, descriptor, O_CLOEXEC);
        unanswered = descriptor;
        other_attempts = 0;
        let_time_pass();
        errno = failure ? failure : EINPROGRESS;
        return -1;
    }
    if (silent >= 0)
        hold_time();
    int code = next(descriptor, address, size);
    if (!failure || (code < 0 && errno != EINPROGRESS))
        return code;
    errno = failure;
    return -1;
}

int listen(int descriptor, int backlog)
{
    int (*next)(int, int);
    NEXT("listen");
    return failure_of(LISTEN) ? -1 : next(descriptor, backlog);
}

int our_accept(int descriptor, struct sockaddr *address, socklen_t *size, int flags)
{
    int (*next)(int, struct sockaddr *, socklen_t *, int);
    static int waits = -1; /* for the time when this one accepts again */
    NEXT("accept4");
    if (descriptor == waits) {
        hold_time();
        waits = -1;
    }
    int failure = failure_of(ACCEPT);
    if (!failure)
        return next(descriptor, address, size, flags);
    if (failure == ECONNABORTED) {
        quiet();
        close(next(descriptor, address, size, flags));
        loud();
    }
    if (failure == EMFILE || failure == ENFILE || failure == ENOBUFS || failure == ENOMEM) {
        waits = time_held ? descriptor : waits;
        let_time_pass();
    }
    errno = failure;
    return -1;
}

int setsockopt(int descriptor, int level, int name, const void *value, socklen_t size)
{
    int (*next)(int, int, int, const void *, socklen_t);
    NEXT("setsockopt");
    return failure_of(SETSOCKOPT) ? -1 : next(descriptor, level, name, value, size);
}

int getsockopt(int descriptor, int level, int name, void *restrict value, socklen_t *restrict size)
{
    int (*next)(int, int, int, void *, socklen_t *);
    NEXT("getsockopt");
    int failure = failure_of(GETSOCKOPT);
    if (failure && failure < REFUSED_LATER)
        return -1;
    int code = next(descriptor, level, name, value, size);
    if (failure && name == SO_ERROR)
        *(int *)value = failure - REFUSED_LATER;
    else if (descriptor == unanswered && name == SO_ERROR)
        *(int *)value = ETIMEDOUT;
    return code;
}

int our_getsockname(int descriptor, struct sockaddr *address, socklen_t *size)
{
    int (*next)(int, struct sockaddr *, socklen_t *);
    NEXT("getsockname");
    return failure_of(GETSOCKNAME) ? -1 : next(descriptor, address, size);
}

int our_getpeername(int descriptor, struct sockaddr *address, socklen_t *size)
{
    int (*next)(int, struct sockaddr *, socklen_t *);
    NEXT("getpeername");
    return failure_of(GETPEERNAME) ? -1 : next(descriptor, address, size);
}

/* What tells of a child's end: if it were closed, who waits for that would wait for ever. */
static int vigil = -1;

int fcntl(int descriptor, int command, ...)
{
    int (*next)(int, int, ...);
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    NEXT("fcntl");
    int failure = descriptor == vigil && command == F_GETFD ? 0 : failure_of(FCNTL);
    if (failure == EACCES && (command == F_GETFD || command == F_GETFL))
        faults.error = errno = EBADF; /* asking is always allowed */
    return failure ? -1 : next(descriptor, command, argument);
}

ssize_t recv(int descriptor, void *bytes, size_t size, int flags)
{
    ssize_t (*next)(int, void *, size_t, int);
    NEXT("recv");
    int failure = failure_of(RECV);
    if (failure && failure != SHORT)
        return -1;
    return next(descriptor, bytes, failure && size > 1 ? 1 : size, flags);
}

ssize_t send(int descriptor, const void *bytes, size_t size, int flags)
{
    ssize_t (*next)(int, const void *, size_t, int);
    NEXT("send");
    int failure = failure_of(SEND);
    if (failure && failure != SHORT)
        return -1;
    return next(descriptor, bytes, failure && size > 1 ? 1 : size, flags);
}

ssize_t sendmsg(int descriptor, const struct msghdr *message, int flags)
{
    ssize_t (*next)(int, const struct msghdr *, int);
    NEXT("sendmsg");
    int failure = failure_of(SENDMSG);
    if (failure && failure != SHORT)
        return -1;
    struct iovec first = message->msg_iov[0];
    struct msghdr less = *message;
    if (failure && first.iov_len > 0) {
        first.iov_len = 1;
        less.msg_iov = &first;
        less.msg_iovlen = 1;
    }
    return next(descriptor, &less, flags);
}

/* That it is not connected a socket says when its peer has reset it. */
int shutdown(int descriptor, int how)
{
    int (*next)(int, int);
    NEXT("shutdown");
    int failure = failure_of(SHUTDOWN);
    int code = next(descriptor, failure ? SHUT_RDWR : how);
    if (!failure)
        return code;
    errno = failure;
    return -1;
}

ssize_t read(int descriptor, void *bytes, size_t size)
{
    ssize_t (*next)(int, void *, size_t);
    NEXT("read");
    int failure = failure_of(READ);
    if (failure && failure != SHORT)
        return -1;
    return next(descriptor, bytes, failure && size > 1 ? 1 : size);
}

/* The first byte alone, for a short one. */
static inline const struct iovec *cut(bool is_short, const struct iovec *chunks, int *count,
                                      struct iovec *first)
{
    if (!is_short || chunks->iov_len == 0)
        return chunks;
    *count = 1;
    *first = (struct iovec){ chunks->iov_base, 1 };
    return first;
}

ssize_t writev(int descriptor, const struct iovec *chunks, int count)
{
    ssize_t (*next)(int, const struct iovec *, int);
    struct iovec first;
    NEXT("writev");
    int failure = failure_of(WRITEV);
    if (failure && failure != SHORT)
        return -1;
    chunks = cut(failure, chunks, &count, &first);
    return next(descriptor, chunks, count);
}

ssize_t pwritev2(int descriptor, const struct iovec *chunks, int count, off_t offset, int flags)
{
    ssize_t (*next)(int, const struct iovec *, int, off_t, int);
    struct iovec first;
    NEXT("pwritev2");
    int failure = failure_of(PWRITEV2);
    if (failure && failure != SHORT)
        return -1;
    chunks = cut(failure, chunks, &count, &first);
    return next(descriptor, chunks, count, offset, flags);
}

int pipe2(int ends[2], int flags)
{
    int (*next)(int[2], int);
    NEXT("pipe2");
    return failure_of(PIPE2) ? -1 : next(ends, flags);
}

int open(const char *path, int flags, ...)
{
    int (*next)(const char *, int, ...);
    va_list arguments;
    va_start(arguments, flags);
    int mode = flags & O_CREAT ? va_arg(arguments, int) : 0;
    va_end(arguments);
    NEXT("open");
    return failure_of(OPEN) ? -1 : next(path, flags, mode);
}

int posix_spawnp(pid_t *restrict ret_child, const char *restrict file,
                 const posix_spawn_file_actions_t *restrict actions,
                 const posix_spawnattr_t *restrict attributes, char *const *restrict arguments,
                 char *const *restrict environment)
{
    int (*next)(pid_t *, const char *, const posix_spawn_file_actions_t *,
                const posix_spawnattr_t *, char *const *, char *const *);
    NEXT("posix_spawnp");
    int failure = failure_of(POSIX_SPAWNP);
    return failure ? failure : next(ret_child, file, actions, attributes, arguments, environment);
}

int pidfd_open(pid_t child, unsigned flags)
{
    int (*next)(pid_t, unsigned);
    NEXT("pidfd_open");
    return vigil = failure_of(PIDFD_OPEN) ? -1 : next(child, flags);
}

int waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
    int (*next)(idtype_t, id_t, siginfo_t *, int);
    NEXT("waitid");
    return failure_of(WAITID) ? -1 : next(type, id, info, options);
}

int fstat(int descriptor, struct stat *status)
{
    int (*next)(int, struct stat *);
    NEXT("fstat");
    return failure_of(FSTAT) ? -1 : next(descriptor, status);
}

/* Does not fail, but tells of what was not open. */
int close(int descriptor)
{
    int (*next)(int);
    NEXT("close");
    if (descriptor == unanswered)
        unanswered = -1;
    else if (unanswered >= 0)
        let_time_pass(); /* only the silent one is waited for */
    int code = next(descriptor);
    if (code < 0 && faults.quiet == 0)
        wrong_closes++;
    return code;
}

int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes,
                   void *(*run)(void *), void *restrict argument)
{
    int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    NEXT("pthread_create");
    int failure = failure_of(PTHREAD_CREATE);
    return failure ? failure : next(thread, attributes, run, argument);
}

/* ---- names: those that end in ".harbour" are known here ---- */

static const struct {
    const char *name;
    const char *addresses[3];
} name_table[] = {
    { "lighthouse.harbour", { "127.0.0.1" } },          { "quay.harbour", { "127.0.0.3" } },
    { "piers.harbour", { "127.0.0.9", "127.0.0.1" } }, /* at the first one nobody listens */
    { "fog.harbour", { "127.0.0.8", "127.0.0.1" } },   /* and here nobody answers */
    { "reefs.harbour", { "127.0.0.9", "127.0.0.10" } },
};

int getaddrinfo(const char *restrict host, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict ret_list)
{
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    NEXT("getaddrinfo");
    int failure = failure_of(GETADDRINFO);
    if (failure) {
        errno = EMFILE; /* what EAI_SYSTEM stands for */
        return failure;
    }
    struct addrinfo numeric = hints ? *hints : (struct addrinfo){ 0 }, **last = ret_list;
    numeric.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    for (size_t i = 0; host && i < sizeof name_table / sizeof *name_table; i++) {
        if (strcmp(host, name_table[i].name) != 0)
            continue;
        for (size_t at = 0; name_table[i].addresses[at]; at++) {
            int code = next(name_table[i].addresses[at], service, &numeric, last);
            CHECK_INT(code, 0);
            while (*last)
                last = &(*last)->ai_next;
        }
        return 0;
    }
    return next(host, service, hints, ret_list);
}

int getnameinfo(const struct sockaddr *restrict address, socklen_t size, char *restrict host,
                socklen_t host_size, char *restrict service, socklen_t service_size, int flags)
{
    int (*next)(const struct sockaddr *, socklen_t, char *, socklen_t, char *, socklen_t, int);
    NEXT("getnameinfo");
    int failure = failure_of(GETNAMEINFO);
    if (failure) {
        errno = EMFILE;
        return failure;
    }
    int code = next(address, size, host, host_size, service, service_size,
                    flags | NI_NUMERICHOST | NI_NUMERICSERV);
    if (code == 0 && !(flags & NI_NUMERICHOST))
        snprintf(host, host_size, "lighthouse.harbour");
    return code;
}

#endif
