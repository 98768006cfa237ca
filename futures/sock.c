/*
 * How it works: an operation asks the system first. If that would block, its waiter registers the
 * socket's reader or writer, which wakes it; and when it resumes, a tick later, it asks again. So
 * one that is cancelled in between has taken nothing. Only sendall sends in the writer itself, as
 * often as there is room, and is woken when all is sent.
 *
 * The registration is bound to the waiter's memory, and does not outlive it: the waiter remembers
 * the handle of its own, and removes that when it is dropped, if it is still the one that is
 * registered. One that was replaced is gone already.
 */
#include "sock.h"

#include "private_future.h"

#include "reactor/private_resolver.h"
#include "reactor/private_watcher.h"
#include "reactor/watcher.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define RECV_SMALL 4096      /* so much is received on the stack */
#define RECV_MOST (1u << 20) /* and so much at once: who asks for more gets the rest next time */

/* What waits for a socket; its value is the socket's number. */
struct sock_wait {
    struct cora_waiter waiter;
    cora_handle own;     /* of the reader or writer that it registered; null: none */
    int event;           /* which of both: EV_READ, EV_WRITE */
    int failed;          /* sendall: the system's error, negative */
    size_t count;        /* the awaitable's: room */
    size_t sent;         /* sendall: of its bytes */
    cora_value argument; /* the awaitable's, counted: buffer, bytes or address */
};

static struct sock_wait *wait_of(struct cora_waiter *waiter)
{
    return (struct sock_wait *)waiter;
}

static int socket_of(cora_value value)
{
    return (int)value.as.integer;
}

/* ---- waiting ---- */

static void on_ready(cora_args bound)
{
    cora_waiter_wake(&cora_arg(bound, 0, struct sock_wait *)->waiter);
}

static bool sock_unwatch(cora_loop loop, int socket, int event)
{
    return event == EV_READ ? cora_remove_reader(loop, socket) : cora_remove_writer(loop, socket);
}

/*
 * What is registered already is removed first: its drop function may begin something with this
 * socket, which is older then.
 */
static int sock_watch(struct cora_waiter *waiter, const cora_awaitable *what, int event,
                      cora_callback_function function)
{
    struct sock_wait *wait = wait_of(waiter);
    struct loop *loop = future_loop(waiter->future);
    cora_loop handle = loop_handle(loop);
    int socket = socket_of(what->value);
    if (!value_keep(what->argument, &wait->argument))
        return fail_with(memory_error());
    wait->event = event;
    wait->count = what->count;
    sock_unwatch(handle, socket, event);
    cora_callback callback = cora_partial(function, wait);
    int code = event == EV_READ ? cora_add_reader(handle, socket, callback)
                                : cora_add_writer(handle, socket, callback);
    if (code == 0)
        wait->own = watcher_handle(loop, socket, event);
    return code;
}

/* In a loop that is closed nothing is registered. */
static void sock_drop(struct cora_waiter *waiter)
{
    struct sock_wait *wait = wait_of(waiter);
    struct loop *loop = waiter->gone ? NULL : future_loop(waiter->future);
    int socket = socket_of(waiter->value);
    if (loop && !cora_is_null(wait->own) &&
        cora_same(watcher_handle(loop, socket, wait->event), wait->own))
        sock_unwatch(loop_handle(loop), socket, wait->event);
    cora_drop(wait->argument);
}

static int start_reading(struct cora_waiter *waiter, const cora_awaitable *what)
{
    return sock_watch(waiter, what, EV_READ, on_ready);
}

/* Goes on with asking the system again, by this function. */
static enum cora_resumed ask_again(struct cora_waiter *waiter, bool cancelled,
                                   cora_value *ret_outcome,
                                   bool (*ask)(const cora_awaitable *what, cora_value *ret_outcome))
{
    const struct sock_wait *wait = wait_of(waiter);
    cora_awaitable what = { .value = waiter->value,
                            .count = wait->count,
                            .argument = wait->argument };
    if (cancelled)
        return CORA_ENDS_CANCELLED;
    return ask(&what, ret_outcome) ? CORA_ENDS : CORA_WAITS;
}

/* ---- asking the system ---- */

/* In debug mode: whether a call of the system's could block, and then the error. */
static bool is_refused(const cora_awaitable *what, cora_value *ret_outcome)
{
    if (!cora_get_debug(cora_current_loop()))
        return false;
    int flags = fcntl(socket_of(what->value), F_GETFL);
    if (flags < 0 || flags & O_NONBLOCK)
        return false; /* what is no descriptor at all the system tells */
    *ret_outcome = cora_error(CORA_EVALUE, "the socket must be non-blocking");
    return true;
}

/* Whether the system's answer is one: that it would block is none, an error is the outcome. */
static bool is_answer(int code, cora_value *ret_outcome)
{
    if (code == -EAGAIN || code == -EWOULDBLOCK)
        return false;
    if (code < 0)
        *ret_outcome = cora_error(code, NULL);
    return true;
}

/* ---- recv ---- */

/* How many bytes came, or a negative errno. Nothing is asked for no bytes. */
static ssize_t receive(int socket, void *buffer, size_t size)
{
    ssize_t received = 0;
    do
        received = size > 0 ? recv(socket, buffer, size, MSG_DONTWAIT) : 0;
    while (received < 0 && errno == EINTR);
    return received < 0 ? -errno : received;
}

static bool recv_ask(const cora_awaitable *what, cora_value *ret_outcome)
{
    char small[RECV_SMALL];
    size_t size = what->count < RECV_MOST ? what->count : RECV_MOST;
    char *memory = size <= sizeof small ? small : malloc(size);
    if (!memory) {
        *ret_outcome = memory_error();
        return true;
    }
    ssize_t received = receive(socket_of(what->value), memory, size);
    if (received >= 0)
        *ret_outcome = cora_bytes(memory, (size_t)received);
    if (memory != small)
        free(memory);
    return received >= 0 || is_answer((int)received, ret_outcome);
}

static bool recv_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    return is_refused(what, ret_outcome) || recv_ask(what, ret_outcome);
}

static enum cora_resumed recv_resume(struct cora_waiter *waiter, bool cancelled,
                                     cora_value *ret_outcome)
{
    return ask_again(waiter, cancelled, ret_outcome, recv_ask);
}

cora_awaitable cora_sock_recv(int socket, size_t size)
{
    static const struct cora_operation operation = {
        .name = "sock_recv",
        .now = recv_now,
        .start = start_reading,
        .resume = recv_resume,
        .size = sizeof(struct sock_wait),
        .drop = sock_drop,
    };
    return (cora_awaitable){ .operation = &operation, .value = cora_int(socket), .count = size };
}

/* ---- recv_into ---- */

static bool recv_into_ask(const cora_awaitable *what, cora_value *ret_outcome)
{
    ssize_t received = receive(socket_of(what->value), what->argument.as.pointer, what->count);
    if (received >= 0)
        *ret_outcome = cora_int(received);
    return received >= 0 || is_answer((int)received, ret_outcome);
}

static bool recv_into_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    return is_refused(what, ret_outcome) || recv_into_ask(what, ret_outcome);
}

static enum cora_resumed recv_into_resume(struct cora_waiter *waiter, bool cancelled,
                                          cora_value *ret_outcome)
{
    return ask_again(waiter, cancelled, ret_outcome, recv_into_ask);
}

cora_awaitable cora_sock_recv_into(int socket, void *buffer, size_t size)
{
    static const struct cora_operation operation = {
        .name = "sock_recv_into",
        .now = recv_into_now,
        .start = start_reading,
        .resume = recv_into_resume,
        .size = sizeof(struct sock_wait),
        .drop = sock_drop,
    };
    return (cora_awaitable){ .operation = &operation,
                             .value = cora_int(socket),
                             .count = size,
                             .argument = cora_pointer(buffer) };
}

/* ---- sendall ---- */

/* The argument: what is to be sent. Immutable, but for what now tells start, just after it. */
struct parcel {
    size_t size;
    size_t sent;
    char bytes[];
};

static const cora_type parcel_type = { "bytes to send", free, NULL, 0 };

static cora_value parcel_new(const void *bytes, size_t size)
{
    struct parcel *parcel = NULL;
    if (size <= PTRDIFF_MAX - sizeof *parcel)
        parcel = malloc(sizeof *parcel + size);
    if (!parcel)
        return memory_error();
    parcel->size = size;
    if (size > 0)
        memcpy(parcel->bytes, bytes, size);
    return cora_own(parcel, &parcel_type);
}

/* Sends what there is room for. 0, or a negative errno; that there is no room is none. */
static int send_some(int socket, const struct parcel *parcel, size_t *sent)
{
    ssize_t more;
    do
        more =
            send(socket, parcel->bytes + *sent, parcel->size - *sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (more < 0 && errno == EINTR);
    if (more < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
    *sent += (size_t)more;
    return 0;
}

static bool sendall_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    if (is_refused(what, ret_outcome))
        return true;
    if (cora_is_error(what->argument)) {
        *ret_outcome = what->argument; /* there was no memory for it */
        return true;
    }
    struct parcel *parcel = cora_as_pointer(what->argument);
    parcel->sent = 0;
    int code = send_some(socket_of(what->value), parcel, &parcel->sent);
    return (code < 0 && is_answer(code, ret_outcome)) || parcel->sent == parcel->size;
}

static void on_writable(cora_args bound)
{
    struct sock_wait *wait = cora_arg(bound, 0, struct sock_wait *);
    if (cora_waiter_state(&wait->waiter) != CORA_WAITER_WAITING)
        return;
    const struct parcel *parcel = cora_as_pointer(wait->argument);
    wait->failed = send_some(socket_of(wait->waiter.value), parcel, &wait->sent);
    if (wait->failed < 0 || wait->sent == parcel->size)
        cora_waiter_wake(&wait->waiter);
}

static int sendall_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    const struct parcel *parcel = cora_as_pointer(what->argument);
    wait_of(waiter)->sent = parcel->sent;
    return sock_watch(waiter, what, EV_WRITE, on_writable);
}

static enum cora_resumed sendall_resume(struct cora_waiter *waiter, bool cancelled,
                                        cora_value *ret_outcome)
{
    int failed = wait_of(waiter)->failed;
    if (cancelled)
        return CORA_ENDS_CANCELLED;
    *ret_outcome = failed < 0 ? cora_error(failed, NULL) : cora_nothing();
    return CORA_ENDS;
}

cora_awaitable cora_sock_sendall(int socket, const void *bytes, size_t size)
{
    static const struct cora_operation operation = {
        .name = "sock_sendall",
        .now = sendall_now,
        .start = sendall_start,
        .resume = sendall_resume,
        .size = sizeof(struct sock_wait),
        .drop = sock_drop,
    };
    return (cora_awaitable){ .operation = &operation,
                             .value = cora_int(socket),
                             .argument = parcel_new(bytes, size) };
}

/* ---- connect ---- */

static cora_value connect_error(int code, cora_value address)
{
    char text[120];
    struct sockaddr_storage storage = { 0 };
    size_t size;
    const void *bytes = cora_as_bytes(address, &size);
    memcpy(&storage, bytes, size < sizeof storage ? size : sizeof storage);
    address_print((struct sockaddr *)&storage, (socklen_t)size, text, sizeof text);
    return cora_error(code, "Connect call failed%s%s", *text ? " " : "", text);
}

/*
 * Interrupted, it goes on in the background, as one that was begun before does. EAGAIN is no
 * reason to wait: with it the system has begun nothing.
 */
static bool connect_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    if (is_refused(what, ret_outcome))
        return true;
    *ret_outcome = what->argument;
    if (cora_is_error(what->argument))
        return true; /* there was no memory for it */
    size_t size;
    const void *address = cora_as_bytes(what->argument, &size);
    int code = connect(socket_of(what->value), address, (socklen_t)size) < 0 ? -errno : 0;
    if (code == -EINPROGRESS || code == -EALREADY || code == -EINTR)
        return false;
    *ret_outcome = code < 0 ? connect_error(code, what->argument) : cora_nothing();
    return true;
}

static int connect_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    return sock_watch(waiter, what, EV_WRITE, on_ready);
}

/* What has come of it the system tells once, so a cancelled one does not ask. */
static enum cora_resumed connect_resume(struct cora_waiter *waiter, bool cancelled,
                                        cora_value *ret_outcome)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (cancelled)
        return CORA_ENDS_CANCELLED;
    if (getsockopt(socket_of(waiter->value), SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (error != 0)
        *ret_outcome = connect_error(-error, wait_of(waiter)->argument);
    return CORA_ENDS;
}

cora_awaitable cora_sock_connect(int socket, const struct sockaddr *address, socklen_t size)
{
    static const struct cora_operation operation = {
        .name = "sock_connect",
        .now = connect_now,
        .start = connect_start,
        .resume = connect_resume,
        .size = sizeof(struct sock_wait),
        .drop = sock_drop,
    };
    return (cora_awaitable){ .operation = &operation,
                             .value = cora_int(socket),
                             .argument = cora_bytes(address, size) };
}

/* ---- accept ---- */

static bool accept_ask(const cora_awaitable *what, cora_value *ret_outcome)
{
    struct sockaddr_storage address;
    socklen_t size;
    int accepted;
    do {
        size = sizeof address;
        accepted = accept4(socket_of(what->value), (struct sockaddr *)&address, &size,
                           SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (accepted < 0 && errno == EINTR);
    if (accepted < 0)
        return is_answer(-errno, ret_outcome);
    cora_value connection[] = { cora_int(accepted),
                                cora_from_address((struct sockaddr *)&address, size) };
    *ret_outcome = cora_is_error(connection[1]) ? connection[1] : cora_list(connection, 2);
    if (cora_is_error(*ret_outcome))
        close(accepted); /* there was no memory to tell of it */
    return true;
}

static bool accept_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    return is_refused(what, ret_outcome) || accept_ask(what, ret_outcome);
}

static enum cora_resumed accept_resume(struct cora_waiter *waiter, bool cancelled,
                                       cora_value *ret_outcome)
{
    return ask_again(waiter, cancelled, ret_outcome, accept_ask);
}

cora_awaitable cora_sock_accept(int socket)
{
    static const struct cora_operation operation = {
        .name = "sock_accept",
        .now = accept_now,
        .start = start_reading,
        .resume = accept_resume,
        .size = sizeof(struct sock_wait),
        .drop = sock_drop,
    };
    return (cora_awaitable){ .operation = &operation, .value = cora_int(socket) };
}
