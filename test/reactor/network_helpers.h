/*
 * network_helpers.h (private): what the tests of connections share.
 *
 * - pair_new and tcp_pair_new make two connected sockets; put, take, fill and drain play a peer.
 * - A struct keeper is a protocol that writes all that it is told into its log, in order, and can
 *   do one thing on one occasion. keeper_open makes a connection for it on one end of a pair.
 * - recv, send and sendmsg are those of the system, unless the calls on one descriptor are told to
 *   fail; they are also counted. This file is linked instead of them.
 * - A struct reports keeps what the exception handler was told: how often, and the last.
 */
#ifndef NETWORK_HELPERS_H
#define NETWORK_HELPERS_H

#include "harness.h"

#include <arpa/inet.h>
#include <cora.h>
#include <dlfcn.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- running ---- */

/* Exactly one tick, without waiting. */
static inline void run_tick(cora_loop loop)
{
    CHECK_INT(cora_stop(loop), 0);
    CHECK_INT(cora_run_forever(loop), 0);
}

static inline void run_ticks(cora_loop loop, int count)
{
    while (count-- > 0)
        run_tick(loop);
}

/* What comes over a network takes its time: the test's limit is the limit. */
#define RUN_UNTIL(loop, condition)                                                                 \
    while (!(condition))                                                                           \
    run_tick(loop)

/* A host's ev_loop for guests, with the back end that is asked for. */
static inline struct ev_loop *host_new(void)
{
    const char *backend = getenv("CORA_BACKEND");
    unsigned flags = EVBACKEND_EPOLL;
    if (backend && strcmp(backend, "poll") == 0)
        flags = EVBACKEND_POLL;
    if (backend && strcmp(backend, "select") == 0)
        flags = EVBACKEND_SELECT;
    struct ev_loop *host = ev_loop_new(flags | EVFLAG_NOENV);
    CHECK(host != NULL);
    return host;
}

/* ---- peers ---- */

/* The connection gets the near end, the test plays the far one. */
struct pair {
    int near, far;
};

static inline struct pair pair_new(void)
{
    int ends[2];
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    return (struct pair){ ends[0], ends[1] };
}

/* Over the loopback interface. */
static inline struct pair tcp_pair_new(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    struct sockaddr *at = (struct sockaddr *)(void *)&address;
    socklen_t size = sizeof address;
    int listening = socket(AF_INET, SOCK_STREAM, 0), far = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_INT(bind(listening, at, size), 0);
    CHECK_INT(listen(listening, 1), 0);
    CHECK_INT(getsockname(listening, at, &size), 0);
    CHECK_INT(connect(far, at, size), 0);
    int near = accept(listening, NULL, NULL);
    CHECK(near >= 0);
    close(listening);
    CHECK_INT(fcntl(far, F_SETFL, O_NONBLOCK), 0);
    return (struct pair){ near, far };
}

static inline void put(int descriptor, const char *text)
{
    CHECK_INT(write(descriptor, text, strlen(text)), strlen(text));
}

/* What has come by now, as a text: "" if nothing, "end" if the other side has shut down. */
static inline const char *take(int descriptor)
{
    static char text[200];
    ssize_t length = read(descriptor, text, sizeof text - 1);
    if (length == 0)
        return "end";
    text[length > 0 ? length : 0] = 0;
    return text;
}

/* Reads all that has come by now; how many bytes. */
static inline size_t drain(int descriptor)
{
    char block[4096];
    size_t size = 0;
    for (ssize_t length; (length = read(descriptor, block, sizeof block)) > 0;)
        size += (size_t)length;
    return size;
}

/* Ends a TCP connection with a reset. */
static inline void reset(int descriptor)
{
    struct linger linger = { .l_onoff = 1, .l_linger = 0 };
    CHECK_INT(setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
    close(descriptor);
}

/* The system keeps as little as it can of what is sent. */
static inline void make_narrow(int descriptor)
{
    int least = 1;
    CHECK_INT(setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &least, sizeof least), 0);
}

static inline bool is_open(int descriptor)
{
    return fcntl(descriptor, F_GETFD) >= 0;
}

/* ---- system calls that can be told to fail ---- */

/* Of one descriptor; those on others do as always. */
struct faults {
    int descriptor;
    int recv_error, send_error; /* errno to fail with; 0: none */
    ssize_t send_most;          /* this many bytes are taken at once; -1: as many as can be */
    int recvs, sends, sendmsgs; /* how often it was called */
    size_t recv_size;           /* what was asked for last */
    size_t chunks;              /* of the last sendmsg */
};

static struct faults faults = { .descriptor = -1, .send_most = -1 };

/* From now on the calls on this descriptor are counted; -1: on none. */
static inline void faults_on(int descriptor)
{
    faults = (struct faults){ .descriptor = descriptor, .send_most = -1 };
}

static inline void faults_end(void)
{
    faults_on(-1);
}

static inline void next_definition(const char *name, void *ret_function, size_t size)
{
    void *symbol = dlsym(RTLD_NEXT, name);
    CHECK(symbol != NULL);
    memcpy(ret_function, &symbol, size);
}

#define INSTEAD __attribute__((visibility("default")))

INSTEAD ssize_t recv(int descriptor, void *bytes, size_t size, int flags)
{
    static ssize_t (*next)(int, void *, size_t, int);
    if (!next)
        next_definition("recv", &next, sizeof next);
    if (descriptor != faults.descriptor)
        return next(descriptor, bytes, size, flags);
    faults.recvs++;
    faults.recv_size = size;
    errno = faults.recv_error;
    return faults.recv_error ? -1 : next(descriptor, bytes, size, flags);
}

INSTEAD ssize_t send(int descriptor, const void *bytes, size_t size, int flags)
{
    static ssize_t (*next)(int, const void *, size_t, int);
    if (!next)
        next_definition("send", &next, sizeof next);
    if (descriptor != faults.descriptor)
        return next(descriptor, bytes, size, flags);
    faults.sends++;
    errno = faults.send_error;
    if (faults.send_error)
        return -1;
    if (faults.send_most == 0)
        return 0;
    if (faults.send_most > 0 && size > (size_t)faults.send_most)
        size = (size_t)faults.send_most;
    return next(descriptor, bytes, size, flags);
}

INSTEAD ssize_t sendmsg(int descriptor, const struct msghdr *message, int flags)
{
    static ssize_t (*next)(int, const struct msghdr *, int);
    if (!next)
        next_definition("sendmsg", &next, sizeof next);
    if (descriptor != faults.descriptor)
        return next(descriptor, message, flags);
    faults.sendmsgs++;
    faults.chunks = message->msg_iovlen;
    errno = faults.send_error;
    if (faults.send_error)
        return -1;
    if (faults.send_most < 0)
        return next(descriptor, message, flags);
    struct iovec chunks[64];
    struct msghdr less = *message;
    size_t count = 0, left = (size_t)faults.send_most;
    for (; count < message->msg_iovlen && count < 64 && left > 0; count++) {
        chunks[count] = message->msg_iov[count];
        if (chunks[count].iov_len > left)
            chunks[count].iov_len = left;
        left -= chunks[count].iov_len;
    }
    less.msg_iov = chunks;
    less.msg_iovlen = count;
    return count == 0 ? 0 : next(descriptor, &less, flags);
}

/* ---- the exception handler ---- */

struct reports {
    int count;
    char message[200], exception[200], protocol[40], object[200];
    int code; /* the exception's; 0: none */
    cora_transport transport;
};

static inline void keep_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    struct reports *reports = cora_arg(bound, 0, struct reports *);
    (void)loop;
    reports->count++;
    reports->code = cora_error_code(report->exception);
    reports->transport = report->transport;
    snprintf(reports->message, sizeof reports->message, "%s", report->message);
    snprintf(reports->protocol, sizeof reports->protocol, "%s",
             report->protocol ? report->protocol : "");
    snprintf(reports->object, sizeof reports->object, "%s", report->object ? report->object : "");
    cora_print(report->exception, reports->exception, sizeof reports->exception);
}

static inline void reports_to(cora_loop loop, struct reports *reports)
{
    CHECK_INT(cora_set_exception_handler(loop, cora_partial(keep_report, reports)), 0);
}

/* ---- a protocol that keeps a log ---- */

enum occasion {
    NEVER,
    MADE,
    DATA,
    ENDED,
    LOST,
    PAUSED,
    RESUMED,
    GET_BUFFER,
    UPDATED,
    DROPPED,
};

struct keeper {
    cora_transport transport;
    char log[800];
    bool keeps_open;                    /* what it answers to the end of the peer's */
    enum occasion when;                 /* on this occasion, once, */
    void (*act)(struct keeper *keeper); /* it does this, or NULL; */
    int fails;                          /* and fails with this code; 0: does not */
    struct keeper *other;               /* for what it does */
    cora_loop loop;
    cora_connector connector;
    cora_server server;
    int made, lost, dropped;
    size_t received;
    char *buffer; /* what get_buffer gives */
    size_t buffer_size;
};

/* Adds a word to the log. */
static inline __attribute__((format(printf, 2, 3))) void keeper_note(struct keeper *keeper,
                                                                     const char *format, ...)
{
    char word[80];
    size_t length = strlen(keeper->log);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(word, sizeof word, format, arguments);
    va_end(arguments);
    snprintf(keeper->log + length, sizeof keeper->log - length, "%s%s", length ? " " : "", word);
}

static inline void keeper_act(struct keeper *keeper, enum occasion occasion)
{
    if (keeper->when != occasion)
        return;
    int fails = keeper->fails;
    keeper->when = NEVER;
    if (fails)
        cora_fail(cora_error(fails, "the crane broke"));
    if (keeper->act)
        keeper->act(keeper);
}

/* What it does next: on an occasion it does this, or fails with a code. */
static inline void keeper_will(struct keeper *keeper, enum occasion when,
                               void (*act)(struct keeper *keeper))
{
    keeper->when = when;
    keeper->act = act;
    keeper->fails = 0;
}

static inline void keeper_will_fail(struct keeper *keeper, enum occasion when, int code)
{
    keeper->when = when;
    keeper->act = NULL;
    keeper->fails = code;
}

static inline void keeper_note_bytes(struct keeper *keeper, const char *word, const void *bytes,
                                     size_t size)
{
    keeper->received += size;
    if (size <= 16)
        keeper_note(keeper, "%s:%.*s", word, (int)size, (const char *)bytes);
    else
        keeper_note(keeper, "%s:%zu", word, size);
}

static inline void keeper_made(void *self, cora_transport transport)
{
    struct keeper *keeper = self;
    keeper->made++;
    keeper->transport = transport;
    keeper_note(keeper, "made");
    keeper_act(keeper, MADE);
}

static inline void keeper_data(void *self, cora_transport transport, const void *bytes, size_t size)
{
    struct keeper *keeper = self;
    CHECK(cora_same(keeper->transport, transport));
    keeper_note_bytes(keeper, "data", bytes, size);
    keeper_act(keeper, DATA);
}

static inline bool keeper_eof(void *self, cora_transport transport)
{
    struct keeper *keeper = self;
    CHECK(cora_same(keeper->transport, transport));
    keeper_note(keeper, "eof");
    bool keeps_open = keeper->keeps_open;
    keeper_act(keeper, ENDED);
    return keeps_open;
}

static inline void keeper_lost(void *self, cora_transport transport, cora_value error)
{
    struct keeper *keeper = self;
    CHECK(cora_same(keeper->transport, transport));
    keeper->lost++;
    if (cora_is_nothing(error))
        keeper_note(keeper, "lost");
    else
        keeper_note(keeper, "lost:%s", cora_error_name(cora_error_code(error)));
    keeper_act(keeper, LOST);
}

static inline void keeper_paused(void *self, cora_transport transport)
{
    struct keeper *keeper = self;
    CHECK(cora_same(keeper->transport, transport));
    keeper_note(keeper, "pause");
    keeper_act(keeper, PAUSED);
}

static inline void keeper_resumed(void *self, cora_transport transport)
{
    struct keeper *keeper = self;
    CHECK(cora_same(keeper->transport, transport));
    keeper_note(keeper, "resume");
    keeper_act(keeper, RESUMED);
}

static inline void *keeper_get_buffer(void *self, cora_transport transport, size_t size_hint,
                                      size_t *ret_size)
{
    struct keeper *keeper = self;
    CHECK(cora_same(keeper->transport, transport));
    keeper_note(keeper, "get:%zu", size_hint);
    keeper_act(keeper, GET_BUFFER);
    *ret_size = keeper->buffer_size;
    return keeper->buffer;
}

static inline void keeper_updated(void *self, cora_transport transport, size_t size)
{
    struct keeper *keeper = self;
    CHECK(cora_same(keeper->transport, transport));
    keeper_note_bytes(keeper, "got", keeper->buffer, size);
    keeper_act(keeper, UPDATED);
}

static inline void keeper_drop(void *self)
{
    struct keeper *keeper = self;
    keeper->dropped++;
    keeper_act(keeper, DROPPED);
}

static const struct cora_protocol_type keeper_type = {
    .name = "Keeper",
    .connection_made = keeper_made,
    .data_received = keeper_data,
    .eof_received = keeper_eof,
    .connection_lost = keeper_lost,
    .pause_writing = keeper_paused,
    .resume_writing = keeper_resumed,
    .drop = keeper_drop,
};

/* The same with a buffer of its own. */
static const struct cora_protocol_type buffered_keeper_type = {
    .name = "BufferedKeeper",
    .connection_made = keeper_made,
    .get_buffer = keeper_get_buffer,
    .buffer_updated = keeper_updated,
    .eof_received = keeper_eof,
    .connection_lost = keeper_lost,
    .pause_writing = keeper_paused,
    .resume_writing = keeper_resumed,
    .drop = keeper_drop,
};

/* Of the keeper's kind: with a buffer if it has one. */
static inline cora_protocol keeper_new(cora_args bound)
{
    struct keeper *keeper = cora_arg(bound, 0, struct keeper *);
    return (cora_protocol){ keeper->buffer ? &buffered_keeper_type : &keeper_type, keeper };
}

/* A connection on this socket; the keeper is told in the next tick. */
static inline void keeper_connect(cora_loop loop, struct keeper *keeper, int socket)
{
    keeper->loop = loop;
    keeper->transport =
        cora_connect_accepted_socket(loop, socket, cora_partial(keeper_new, keeper));
    CHECK(!cora_is_null(keeper->transport));
}

/* The same, and it has been told; the log begins after that. */
static inline void keeper_open(cora_loop loop, struct keeper *keeper, int socket)
{
    keeper_connect(loop, keeper, socket);
    run_tick(loop);
    CHECK_TEXT(keeper->log, "made");
    keeper->log[0] = 0;
}

/*
 * What a transport waits for, as it prints it behind its descriptor, without the last bracket; the
 * whole if it is closing. Until the next call.
 */
static inline const char *state_of(cora_transport transport)
{
    static char text[200];
    int length = cora_transport_print(transport, text, sizeof text);
    CHECK_INT(length, strlen(text));
    char *state = strstr(text, " read=");
    if (!state)
        return text;
    text[length - 1] = 0;
    return state + 1;
}

/* ---- things that keepers do ---- */

static inline void close_own(struct keeper *keeper)
{
    CHECK_INT(cora_transport_close(keeper->transport), 0);
}

static inline void abort_own(struct keeper *keeper)
{
    CHECK_INT(cora_transport_abort(keeper->transport), 0);
}

static inline void close_other(struct keeper *keeper)
{
    CHECK_INT(cora_transport_close(keeper->other->transport), 0);
}

static inline void abort_other(struct keeper *keeper)
{
    CHECK_INT(cora_transport_abort(keeper->other->transport), 0);
}

static inline void pause_own(struct keeper *keeper)
{
    CHECK_INT(cora_transport_pause_reading(keeper->transport), 0);
}

/* Adds a word to a keeper's log, as a callback of the loop's. */
static inline void note_word(cora_args bound)
{
    keeper_note(cora_arg(bound, 0, struct keeper *), "%s", cora_arg_text(bound, 1));
}

/* Queues a word behind all that is queued now. */
static inline void note_soon(struct keeper *keeper)
{
    CHECK(!cora_is_null(cora_call_soon(keeper->loop, cora_partial(note_word, keeper, "soon"))));
}

#endif
