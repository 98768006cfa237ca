/*
 * How it works: what is asked for is made at once, as a connector or server that does nothing yet,
 * and is owned by the awaitable's value; so options and bound arguments are copied where they are
 * good, and are given back if nobody awaits. The operation starts it, and is told its outcome.
 */
#include "connection.h"

#include "private_connection.h"

#include "reactor/private_connector.h"
#include "reactor/private_resolver.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- what is made, and not started ---- */

static void request_drop(void *pointer)
{
    struct request *request = pointer;
    request->give_up(request);
    free(request);
}

static int request_print(const void *pointer, char *buffer, size_t size)
{
    (void)pointer;
    return snprintf(buffer, size, "<request>");
}

static const cora_type request_type = { "request", request_drop, request_print, 0 };

cora_awaitable request_awaitable(const struct cora_operation *operation,
                                 const struct request *request)
{
    struct request *made = request->bits ? malloc(sizeof *made) : NULL;
    if (!request->bits)
        return cora_ready(cora_temporary(cora_copy(cora_last_error())));
    if (!made) {
        request->give_up(request);
        return cora_ready(memory_error());
    }
    *made = *request;
    cora_value value = cora_own(made, &request_type);
    if (cora_is_error(value))
        return cora_ready(value);
    return (cora_awaitable){ .operation = operation, .value = value };
}

/* ---- the operation: starts it, and waits until it is told ---- */

static void on_told(void *owner, cora_value outcome)
{
    struct request_waiter *waiter = owner;
    waiter->request.told = true;
    if (!value_keep(outcome, &waiter->outcome))
        waiter->outcome = memory_error();
    cora_waiter_wake(&waiter->waiter);
}

int request_start(struct cora_waiter *base, const cora_awaitable *what)
{
    struct request_waiter *waiter = (struct request_waiter *)base;
    struct request *request = cora_as_pointer(what->value);
    if (!cora_same(request->loop, cora_current_loop()))
        return fail(CORA_ERUNTIME, "the %s is bound to a different event loop",
                    what->operation->name);
    if (!request->bits)
        return fail(CORA_ERUNTIME, "cannot reuse already awaited %s", what->operation->name);
    waiter->request = *request;
    request->bits = request->stream = 0; /* it is the waiter's */
    return waiter->request.start(waiter->request.bits,
                                 (struct hook){ .function = on_told, .owner = waiter });
}

enum cora_resumed request_resume(struct cora_waiter *base, bool cancelled, cora_value *ret_outcome)
{
    struct request_waiter *waiter = (struct request_waiter *)base;
    cora_value outcome = waiter->outcome;
    if (cancelled && outcome.type == &cora_type_transport)
        cora_transport_close(cora_as_transport(outcome));
    if (cancelled && outcome.type == &cora_type_server)
        cora_server_close(cora_as_server(outcome));
    if (cancelled)
        return CORA_ENDS_CANCELLED;
    if (outcome.type == &cora_type_transport && waiter->request.stream) {
        outcome = cora_from_stream_writer((cora_stream_writer){ waiter->request.stream });
        waiter->request.stream = 0;
    }
    *ret_outcome = outcome;
    return CORA_ENDS;
}

void request_end(struct cora_waiter *base)
{
    struct request_waiter *waiter = (struct request_waiter *)base;
    cora_value outcome = waiter->outcome;
    waiter->outcome = cora_nothing();
    if (waiter->request.give_up)
        waiter->request.give_up(&waiter->request);
    cora_drop(outcome);
}

static const struct cora_operation create_connection = REQUEST_OPERATION("create_connection");
static const struct cora_operation connect_read_pipe = REQUEST_OPERATION("connect_read_pipe");
static const struct cora_operation connect_write_pipe = REQUEST_OPERATION("connect_write_pipe");
static const struct cora_operation create_server = REQUEST_OPERATION("create_server");
static const struct cora_operation getaddrinfo_operation = REQUEST_OPERATION("getaddrinfo");
static const struct cora_operation getnameinfo_operation = REQUEST_OPERATION("getnameinfo");

/* ---- connections and servers ---- */

void connector_give_up(const struct request *request)
{
    if (request->bits && !request->told)
        cora_connector_cancel((cora_connector){ request->bits });
}

void server_give_up(const struct request *request)
{
    if (request->bits && !request->told)
        cora_server_close((cora_server){ request->bits });
}

/* The loop that a new thing belongs to; NULL, and the error is set. */
struct loop *request_loop(void)
{
    cora_loop loop = cora_current_loop();
    return cora_is_null(loop) ? NULL : loop_get(loop);
}

cora_awaitable cora_create_connection(const struct cora_connect_options *options,
                                      cora_protocol_factory factory)
{
    struct loop *loop = request_loop();
    struct request request = { .start = connector_start, .give_up = connector_give_up };
    if (loop) {
        request.loop = loop_handle(loop);
        request.bits = connector_new(loop, options, factory);
    }
    return request_awaitable(&create_connection, &request);
}

static cora_awaitable connect_pipe(const struct cora_operation *operation, int pipe,
                                   transport_maker make, cora_protocol_factory factory)
{
    struct loop *loop = request_loop();
    struct request request = { .start = connector_start, .give_up = connector_give_up };
    if (loop) {
        request.loop = loop_handle(loop);
        request.bits = connector_new_given(loop, pipe, make, factory);
    }
    return request_awaitable(operation, &request);
}

cora_awaitable cora_connect_read_pipe(int pipe, cora_protocol_factory factory)
{
    return connect_pipe(&connect_read_pipe, pipe, read_pipe_transport_new, factory);
}

cora_awaitable cora_connect_write_pipe(int pipe, cora_protocol_factory factory)
{
    return connect_pipe(&connect_write_pipe, pipe, write_pipe_transport_new, factory);
}

cora_awaitable cora_create_server(const struct cora_server_options *options,
                                  cora_protocol_factory factory)
{
    struct loop *loop = request_loop();
    struct request request = { .start = server_start, .give_up = server_give_up };
    if (loop) {
        request.loop = loop_handle(loop);
        request.bits = server_new(loop, options, factory);
    }
    return request_awaitable(&create_server, &request);
}

/* ---- look-ups ---- */

/* What is to be looked up: the request's bits are its address. */
struct question {
    const char *host, *service;
    struct addrinfo hints;
    struct sockaddr_storage address;
    socklen_t size;
    int flags;
    cora_lookup lookup; /* once it is started */
    char texts[];
};

static struct question *question_of(uint64_t bits)
{
    return (struct question *)(uintptr_t)bits;
}

static void question_give_up(const struct request *request)
{
    struct question *question = question_of(request->bits);
    if (question && question->lookup.bits && !request->told)
        cora_lookup_cancel(question->lookup);
    free(question);
}

static int start_getaddrinfo(uint64_t bits, struct hook hook)
{
    struct question *question = question_of(bits);
    question->lookup = lookup_start(loop_get(cora_current_loop()), question->host,
                                    question->service, &question->hints, hook);
    return question->lookup.bits ? 0 : cora_last_error_code();
}

static int start_getnameinfo(uint64_t bits, struct hook hook)
{
    struct question *question = question_of(bits);
    const struct sockaddr *address = (const void *)&question->address;
    question->lookup = lookup_start_name(loop_get(cora_current_loop()), address, question->size,
                                         question->flags, hook);
    return question->lookup.bits ? 0 : cora_last_error_code();
}

static cora_awaitable ask(const struct cora_operation *operation, struct question *question,
                          int (*start)(uint64_t bits, struct hook hook))
{
    struct loop *loop = question ? request_loop() : NULL;
    struct request request = { .start = start, .give_up = question_give_up };
    if (!question)
        fail_with(memory_error());
    else if (!loop)
        free(question);
    if (loop) {
        request.loop = loop_handle(loop);
        request.bits = (uintptr_t)question;
    }
    return request_awaitable(operation, &request);
}

cora_awaitable cora_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints)
{
    struct question *question = malloc(sizeof *question + text_size(host) + text_size(service));
    if (question) {
        struct texts texts = { question->texts };
        *question = (struct question){ .host = text_copy(&texts, host),
                                       .service = text_copy(&texts, service) };
        if (hints)
            question->hints = (struct addrinfo){ .ai_family = hints->ai_family,
                                                 .ai_socktype = hints->ai_socktype,
                                                 .ai_protocol = hints->ai_protocol,
                                                 .ai_flags = hints->ai_flags };
    }
    return ask(&getaddrinfo_operation, question, start_getaddrinfo);
}

cora_awaitable cora_getnameinfo(const struct sockaddr *address, socklen_t size, int flags)
{
    struct question *question = malloc(sizeof *question);
    if (size > sizeof question->address) {
        free(question);
        return cora_ready(
            cora_error(CORA_EVALUE, "an address of %u bytes is too large", (unsigned)size));
    }
    if (question) {
        *question = (struct question){ .size = size, .flags = flags };
        if (size > 0)
            memcpy(&question->address, address, size);
    }
    return ask(&getnameinfo_operation, question, start_getnameinfo);
}

/* ---- the end of servers ---- */

static struct cora_waiters *list_of(void **place)
{
    return (struct cora_waiters *)(void *)place;
}
_Static_assert(sizeof(struct cora_waiters) == 2 * sizeof(void *), "a list of waiters");

static void wake_waiters(struct server_waiters *waiters, bool over)
{
    cora_waiters_wake(list_of(waiters->forever));
    if (!over)
        return;
    cora_waiters_close(list_of(waiters->forever));
    cora_waiters_close(list_of(waiters->closed));
}

/* The lists of a server that is not over; NULL: it is, or an error of the handle is set. */
static struct server_waiters *waiters_of(cora_server server)
{
    struct server_waiters *waiters = server_waiters(server);
    if (waiters)
        waiters->wake = wake_waiters;
    return waiters;
}

static bool wait_closed_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    cora_value before = cora_copy(cora_last_error());
    bool waits = waiters_of(cora_as_server(what->value));
    bool is_over = !waits && cora_last_error_code() == CORA_ESTALE && what->value.as.handle;
    if (is_over)
        fail_with(before);
    cora_drop(before);
    *ret_outcome = waits || is_over ? cora_nothing() : cora_last_error();
    return !waits;
}

static int wait_closed_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    cora_waiters_append(list_of(waiters_of(cora_as_server(what->value))->closed), waiter);
    return 0;
}

static enum cora_resumed wait_closed_resume(struct cora_waiter *waiter, bool cancelled,
                                            cora_value *ret_outcome)
{
    cora_waiters_remove(waiter);
    *ret_outcome = cora_nothing();
    return cancelled ? CORA_ENDS_CANCELLED : CORA_ENDS;
}

const struct cora_operation cora_server_wait_closed_operation = {
    .name = "wait_closed",
    .now = wait_closed_now,
    .start = wait_closed_start,
    .resume = wait_closed_resume,
};

/* ---- serving for ever ---- */

struct forever_waiter {
    struct cora_waiter waiter;
    bool closing; /* the server is closed: waits for its last connection */
};

static bool forever_now(const cora_awaitable *what, cora_value *ret_outcome)
{
    cora_server server = cora_as_server(what->value);
    struct server_waiters *waiters = waiters_of(server);
    int code = waiters ? 0 : cora_last_error_code();
    if (waiters && list_of(waiters->forever)->first)
        code = fail(CORA_ERUNTIME, "the server is already being awaited on serve_forever()");
    if (code == 0)
        code = cora_server_start_serving(server);
    if (code == CORA_ESTALE)
        code = fail(CORA_ERUNTIME, "the server is closed");
    *ret_outcome = cora_last_error();
    return code < 0;
}

static int forever_start(struct cora_waiter *waiter, const cora_awaitable *what)
{
    cora_waiters_append(list_of(waiters_of(cora_as_server(what->value))->forever), waiter);
    return 0;
}

static enum cora_resumed forever_resume(struct cora_waiter *base, bool cancelled,
                                        cora_value *ret_outcome)
{
    struct forever_waiter *waiter = (struct forever_waiter *)base;
    cora_server server = { base->value.as.handle };
    struct server_waiters *waiters;
    (void)cancelled, (void)ret_outcome;
    cora_waiters_remove(base);
    if (!waiter->closing) {
        waiter->closing = true;
        cora_server_close(server);
        if ((waiters = waiters_of(server))) {
            cora_waiters_append(list_of(waiters->closed), base);
            return CORA_WAITS;
        }
    }
    return CORA_ENDS_CANCELLED; /* with the message of who has cancelled it, if anybody has */
}

static const struct cora_operation serve_forever = {
    .name = "serve_forever",
    .now = forever_now,
    .start = forever_start,
    .resume = forever_resume,
    .size = sizeof(struct forever_waiter),
};

cora_awaitable cora_server_serve_forever(cora_server server)
{
    return (cora_awaitable){ .operation = &serve_forever, .value = cora_from_server(server) };
}
