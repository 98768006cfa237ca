/*
 * How it works: a connector resolves its names, puts the addresses into the order in which they are
 * tried, and starts attempts: a socket each that connects, watched for writing. The next attempt
 * starts when the latest one fails, or, with a delay, when that is over. The first that succeeds
 * becomes the transport; when there is none left, the errors of all are the outcome.
 *
 *     made -> resolving (twice, with a local host) -> trying -> transport starts -> told
 *
 * It is an object, so that a handle of one that is over is harmless; its memory is its own, as it
 * outlives the object while the transport's connection_made runs.
 */
#include "connector.h"

#include "private_connector.h"
#include "private_resolver.h"
#include "timer.h"
#include "watcher.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct attempt {
    struct attempt *next;
    int socket;
    const struct addrinfo *address;
    size_t number; /* in the order of starting */
};

/* What has failed: errors are told in the order of the attempts. */
struct failure {
    size_t attempt;
    cora_value error; /* counted */
};

struct connector {
    struct starter starter; /* first: what the transport tells */
    uint64_t bits;
    struct loop *loop;
    const struct cora_place *place;
    struct cora_connect_options options; /* its texts are in this block */
    transport_maker make;                /* of a given descriptor; NULL: one is to be connected */
    int given;
    struct slot *factory; /* NULL: called */
    struct hook hook;
    bool started, cancelled;
    cora_lookup lookup;
    cora_value remote, local;      /* addresses, counted; or nothing */
    const struct addrinfo **order; /* of trying */
    size_t count, tried;
    struct attempt *attempts; /* that connect now, the latest first */
    cora_handle delay;
    struct failure *failures;
    size_t failure_count;
    bool lacks_memory;        /* for some of them */
    struct object *transport; /* made, and not started yet */
    cora_handle told;         /* its callback, queued with: */
    cora_transport made;      /* or null, if that is an error */
    char texts[];
};

static void connector_closed(void *memory);

static const struct cora_object_type connector_type = { "connector", sizeof(struct connector *),
                                                        connector_closed };

static struct connector *connector_get(uint64_t bits)
{
    struct connector **memory = cora_object_get(bits, &connector_type);
    return memory ? *memory : NULL;
}

int check_stream_socket(int descriptor)
{
    int type = 0;
    socklen_t size = sizeof type;
    if (getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
        return fail(-errno, "descriptor %d", descriptor);
    if (type != SOCK_STREAM)
        return fail(CORA_EVALUE, "A Stream Socket was expected, got descriptor %d", descriptor);
    int code = descriptor_prepare(descriptor);
    return code < 0 ? fail(code, "descriptor %d", descriptor) : 0;
}

/* ---- making and ending ---- */

static int check_options(const struct cora_connect_options *options)
{
    bool is_named = options->host || options->port || options->service;
    if (options->socket && (is_named || options->local_host || options->local_port))
        return fail(CORA_EVALUE, "host/port and sock can not be specified at the same time");
    if (options->socket)
        return check_stream_socket(options->socket);
    if (!is_named)
        return fail(CORA_EVALUE, "host and port was not specified and no sock specified");
    if (options->port && options->service)
        return fail(CORA_EVALUE, "both a port and a service");
    if (options->port < 0 || options->port > UINT16_MAX || options->local_port < 0 ||
        options->local_port > UINT16_MAX)
        return fail(CORA_EVALUE, "port must be 0-65535");
    if (!(options->happy_eyeballs_delay >= 0) || options->interleave < 0)
        return fail(CORA_EVALUE, "a negative happy_eyeballs_delay or interleave");
    return 0;
}

/* Of a socket, which may be of any family. */
static struct object *socket_transport_new(struct loop *loop, int socket, cora_protocol protocol,
                                           struct starter *starter, const struct cora_place *place)
{
    return tcp_transport_new(loop, socket, protocol, starter, NULL, NULL, 0, place);
}

static struct connector *make_connector(struct loop *loop,
                                        const struct cora_connect_options *options,
                                        cora_protocol_factory factory)
{
    size_t size = sizeof(struct connector) + text_size(options->host) +
                  text_size(options->service) + text_size(options->local_host);
    struct connector *connector = malloc(size);
    if (!connector) {
        fail_with(memory_error());
        return NULL;
    }
    struct texts texts = { connector->texts };
    *connector =
        (struct connector){ .loop = loop, .options = *options, .place = factory.partial->place };
    connector->options.host = text_copy(&texts, options->host);
    connector->options.service = text_copy(&texts, options->service);
    connector->options.local_host = text_copy(&texts, options->local_host);
    connector->factory = handle_new_persistent(loop, factory.partial);
    if (connector->factory)
        connector->bits = cora_object_new_at(loop_handle(loop), &connector_type, connector->place);
    if (!connector->bits) {
        if (connector->factory)
            handle_remove(loop, connector->factory);
        free(connector);
        return NULL;
    }
    *(struct connector **)cora_object_get(connector->bits, &connector_type) = connector;
    return connector;
}

uint64_t connector_new_given(struct loop *loop, int descriptor, transport_maker make,
                             cora_protocol_factory factory)
{
    struct connector *connector =
        make_connector(loop, &(struct cora_connect_options){ 0 }, factory);
    if (!connector)
        return 0;
    connector->make = make;
    connector->given = descriptor;
    return connector->bits;
}

uint64_t connector_new(struct loop *loop, const struct cora_connect_options *options,
                       cora_protocol_factory factory)
{
    if (check_options(options) < 0)
        return 0;
    if (options->socket)
        return connector_new_given(loop, options->socket, socket_transport_new, factory);
    struct connector *connector = make_connector(loop, options, factory);
    return connector ? connector->bits : 0;
}

/* No more of it is going on but what is its outcome. */
static void stop_trying(struct connector *connector)
{
    struct loop *loop = connector->loop;
    if (connector->lookup.bits)
        cora_lookup_cancel(connector->lookup);
    cancel_quietly(connector->delay);
    connector->delay = (cora_handle){ 0 };
    connector->lookup = (cora_lookup){ 0 };
    for (struct attempt *attempt = connector->attempts, *next; attempt; attempt = next) {
        next = attempt->next;
        if (loop->ev)
            cora_remove_writer(loop_handle(loop), attempt->socket);
        close(attempt->socket);
        block_put(attempt, sizeof *attempt);
    }
    connector->attempts = NULL;
}

/* Its memory is given back first: what is dropped then may do anything. */
static void connector_free(struct connector *connector)
{
    struct connector last = *connector;
    struct loop *loop = last.loop;
    connector->factory = NULL;
    connector->hook = (struct hook){ 0 };
    stop_trying(connector);
    if (!connector->starter.starting)
        free(connector);
    for (size_t i = 0; i < last.failure_count; i++)
        cora_drop(last.failures[i].error);
    free(last.failures);
    free(last.order);
    cora_drop(last.remote);
    cora_drop(last.local);
    hook_drop(loop, &last.hook);
    if (last.factory && loop->ev)
        handle_remove(loop, last.factory);
}

static void connector_closed(void *memory)
{
    struct connector *connector = *(struct connector **)memory;
    connector->cancelled = true;
    connector_free(connector);
}

bool cora_connector_cancel(cora_connector handle)
{
    struct connector *connector = connector_get(handle.bits);
    if (!connector)
        return false;
    struct loop *loop = connector->loop;
    struct object *transport = connector->transport;
    cora_handle told = connector->told;
    cora_transport made = connector->made;
    bool cancels = true;
    connector->transport = NULL;
    loop_hold(loop);
    if (transport)
        transport_force_close(loop, transport_in(transport), cora_nothing());
    cora_object_close(handle.bits, &connector_type);
    if (!cora_is_null(told))
        cancels = cancel_quietly(told); /* false in the callback itself */
    if (cancels && !cora_is_null(made))
        cora_transport_abort(made);
    loop_unhold(loop);
    return cancels;
}

/* Its callback has been called. */
static void on_called(cora_args bound)
{
    uint64_t bits = cora_as_object(cora_arg_value(bound, 0));
    if (object_find(bits, &connector_type)) /* else it was cancelled in its callback */
        cora_object_close(bits, &connector_type);
}

/* Tells its outcome. It can be cancelled until that was called. */
static void connector_end(struct connector *connector, cora_value outcome)
{
    struct loop *loop = connector->loop;
    uint64_t bits = connector->bits;
    stop_trying(connector);
    connector->told = hook_tell(loop, &connector->hook, outcome);
    if (outcome.type == &cora_type_transport)
        connector->made = cora_as_transport(outcome);
    if (cora_is_null(connector->told) ||
        cora_is_null(
            cora_call_soon(loop_handle(loop), cora_partial(on_called, cora_from_object(bits)))))
        cora_object_close(bits, &connector_type);
}

/* ---- errors ---- */

static void add_error(struct connector *connector, size_t attempt, cora_value error)
{
    size_t at = connector->failure_count;
    struct failure *failures = realloc(connector->failures, (at + 1) * sizeof *connector->failures);
    cora_value kept = cora_nothing();
    if (!failures) {
        connector->lacks_memory = true; /* the errors that there are will do */
        return;
    }
    connector->failures = failures;
    if (!value_keep(error, &kept))
        kept = memory_error();
    for (; at > 0 && failures[at - 1].attempt > attempt; at--)
        failures[at] = failures[at - 1];
    failures[at] = (struct failure){ attempt, kept };
    connector->failure_count++;
}

/* All that failed as a group; a MemoryError if there is no memory for that. */
static cora_value errors_group(const struct connector *connector)
{
    size_t count = connector->failure_count;
    cora_value *errors = malloc(count * sizeof *errors);
    if (!errors)
        return memory_error();
    for (size_t i = 0; i < count; i++)
        errors[i] = connector->failures[i].error;
    cora_value group = cora_exception_group(errors, count, "create_connection failed");
    free(errors);
    return group;
}

/* All that failed as one error. */
static cora_value errors_outcome(const struct connector *connector)
{
    size_t count = connector->failure_count;
    const struct failure *failures = connector->failures;
    if (connector->lacks_memory)
        return memory_error();
    if (count == 0)
        return cora_error(CORA_ETIMEOUT, "create_connection failed");
    if (connector->options.all_errors)
        return errors_group(connector);
    bool equal = true;
    for (size_t i = 1; i < count; i++)
        equal &= strcmp(cora_error_message(failures[0].error),
                        cora_error_message(failures[i].error)) == 0;
    if (equal)
        return failures[0].error;
    char text[1000];
    size_t length = 0;
    for (size_t i = 0; i < count && length < sizeof text; i++)
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%s", i ? ", " : "",
                                   cora_error_message(failures[i].error));
    return cora_error(CORA_EOS, "Multiple exceptions: %s", text);
}

/* ---- trying ---- */

static void try_next(struct connector *connector);

/* Becomes the transport: the factory's error is the outcome. Takes the socket over. */
static void connected(struct connector *connector, int socket, const struct addrinfo *address)
{
    struct loop *loop = connector->loop;
    uint64_t bits = connector->bits;
    struct slot *factory = connector->factory;
    stop_trying(connector);
    connector->factory = NULL;
    cora_protocol protocol = factory_call(loop, factory);
    if (loop->ev)
        handle_remove(loop, factory);
    if (!loop->ev || connector_get(bits) != connector) { /* cancelled in the factory */
        protocol_drop(protocol);
        close(socket);
        return;
    }
    connector->transport =
        protocol.type ? tcp_transport_new(loop, socket, protocol, &connector->starter, NULL,
                                          address ? address->ai_addr : NULL,
                                          address ? address->ai_addrlen : 0, connector->place)
                      : NULL;
    if (connector->transport)
        return;
    cora_value error = cora_temporary(cora_copy(cora_last_error()));
    protocol_drop(protocol);
    close(socket);
    if (loop->ev && connector_get(bits) == connector)
        connector_end(connector, error);
}

static void on_started(struct starter *starter, struct loop *loop, struct object *transport)
{
    struct connector *connector = (struct connector *)starter;
    starter->starting = false;
    if (connector->cancelled) {
        free(connector);
        return;
    }
    connector->transport = NULL;
    connector_end(connector, cora_from_transport((cora_transport){ transport->slot.bits }));
    (void)loop;
}

/* Binds a socket to the first local address that it can have. 0, or -1 and errors are added. */
static int bind_local(struct connector *connector, int socket, const struct addrinfo *address)
{
    size_t number = connector->tried;
    bool any = false;
    for (const struct addrinfo *local = cora_as_addresses(connector->local); local;
         local = local->ai_next) {
        if (local->ai_family != address->ai_family)
            continue;
        any = true;
        if (bind(socket, local->ai_addr, local->ai_addrlen) == 0)
            return 0;
        char text[120];
        int error = errno;
        address_print(local->ai_addr, local->ai_addrlen, text, sizeof text);
        add_error(connector, number,
                  cora_error(-error, "error while attempting to bind on address %s", text));
    }
    if (!any)
        add_error(connector, number,
                  cora_error(CORA_EOS, "no matching local address with family=%d found",
                             address->ai_family));
    return -1;
}

static void on_writable(cora_args bound);

/* Begins to connect. Whether it goes on; else its errors are added. Ends with the socket. */
static bool attempt_begin(struct connector *connector, const struct addrinfo *address,
                          bool *ret_connected, int *ret_socket)
{
    char text[120];
    size_t number = connector->tried;
    int made = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
                      address->ai_protocol);
    if (made < 0) {
        add_error(connector, number, cora_error(-errno, "socket"));
        return false;
    }
    if (!cora_is_nothing(connector->local) && bind_local(connector, made, address) < 0) {
        close(made);
        return false;
    }
    *ret_socket = made;
    *ret_connected = connect(made, address->ai_addr, address->ai_addrlen) == 0;
    int error = errno;
    if (*ret_connected)
        return true;
    if (error != EINPROGRESS && error != EINTR) {
        address_print(address->ai_addr, address->ai_addrlen, text, sizeof text);
        add_error(connector, number, cora_error(-error, "Connect call failed %s", text));
        close(made);
        return false;
    }
    struct attempt *attempt = block_get(sizeof *attempt);
    if (!attempt ||
        cora_add_writer(loop_handle(connector->loop), made,
                        cora_partial(on_writable, cora_from_object(connector->bits), made)) < 0) {
        add_error(connector, number, attempt ? cora_last_error() : memory_error());
        if (attempt)
            block_put(attempt, sizeof *attempt);
        close(made);
        return false;
    }
    *attempt = (struct attempt){ connector->attempts, made, address, number };
    connector->attempts = attempt;
    return true;
}

/* The delay after the latest attempt is over. */
static void on_delay(cora_args bound)
{
    struct connector *connector = connector_get(cora_as_object(cora_arg_value(bound, 0)));
    if (connector)
        try_next(connector);
}

/* Starts the next attempt that gets as far as connecting. */
static void try_next(struct connector *connector)
{
    cancel_quietly(connector->delay);
    connector->delay = (cora_handle){ 0 };
    while (connector->tried < connector->count) {
        const struct addrinfo *address = connector->order[connector->tried++];
        bool is_connected = false;
        int socket = -1;
        if (!attempt_begin(connector, address, &is_connected, &socket))
            continue;
        if (is_connected) {
            connected(connector, socket, address);
            return;
        }
        if (!(connector->options.happy_eyeballs_delay > 0) || connector->tried == connector->count)
            return;
        connector->delay =
            cora_call_later(loop_handle(connector->loop), connector->options.happy_eyeballs_delay,
                            cora_partial(on_delay, cora_from_object(connector->bits)));
        if (!cora_is_null(connector->delay))
            return;
    } /* without memory for a delay there is none */
    if (!connector->attempts)
        connector_end(connector, errors_outcome(connector));
}

/* An attempt has connected, or failed. */
static void on_writable(cora_args bound)
{
    struct connector *connector = connector_get(cora_as_object(cora_arg_value(bound, 0)));
    int socket = (int)cora_arg_int(bound, 1), error = 0;
    socklen_t size = sizeof error;
    struct attempt **place = connector ? &connector->attempts : NULL;
    while (place && *place && (*place)->socket != socket)
        place = &(*place)->next;
    if (!place || !*place)
        return;
    struct attempt *attempt = *place, done = *attempt;
    bool is_latest = attempt == connector->attempts;
    if (getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (error == EINPROGRESS || error == EAGAIN)
        return;
    *place = attempt->next;
    block_put(attempt, sizeof *attempt);
    cora_remove_writer(loop_handle(connector->loop), socket);
    if (error == 0) {
        connected(connector, socket, done.address);
        return;
    }
    char text[120];
    address_print(done.address->ai_addr, done.address->ai_addrlen, text, sizeof text);
    add_error(connector, done.number, cora_error(-error, "Connect call failed %s", text));
    close(socket);
    if (is_latest || (connector->tried == connector->count && !connector->attempts))
        try_next(connector);
}

/* ---- the order of trying ---- */

static const struct addrinfo *next_of_family(const struct addrinfo *address, int family)
{
    while (address && address->ai_family != family)
        address = address->ai_next;
    return address;
}

#define FAMILIES 8

/* Families in turns, the first one with a start of some addresses. False without memory. */
static bool make_order(struct connector *connector)
{
    const struct addrinfo *all = cora_as_addresses(connector->remote), *heads[FAMILIES];
    int families[FAMILIES], interleave = connector->options.interleave;
    size_t count = 0, kinds = 0;
    if (interleave == 0 && connector->options.happy_eyeballs_delay > 0)
        interleave = 1;
    for (const struct addrinfo *address = all; address; address = address->ai_next) {
        size_t kind = 0;
        while (kind < kinds && families[kind] != address->ai_family)
            kind++;
        if (kind == kinds && kinds < FAMILIES) {
            families[kinds] = address->ai_family;
            heads[kinds++] = address;
        }
        count++;
    }
    connector->order = malloc((count ? count : 1) * sizeof *connector->order);
    if (!connector->order)
        return false;
    if (interleave == 0) {
        for (const struct addrinfo *address = all; address; address = address->ai_next)
            connector->order[connector->count++] = address;
        return true;
    }
    for (int i = 1; i < interleave && heads[0]; i++) {
        connector->order[connector->count++] = heads[0];
        heads[0] = next_of_family(heads[0]->ai_next, families[0]);
    }
    for (bool any = true; any;) {
        any = false;
        for (size_t kind = 0; kind < kinds; kind++) {
            if (!heads[kind])
                continue;
            any = true;
            connector->order[connector->count++] = heads[kind];
            heads[kind] = next_of_family(heads[kind]->ai_next, families[kind]);
        }
    }
    return true;
}

/* ---- resolving ---- */

static void on_local(void *owner, cora_value outcome);

/* Looks one of its names up; an address that is a number is told at once. 0 or a code. */
static int look_up(struct connector *connector, const char *host, const char *service, int port,
                   int flags, void (*then)(void *owner, cora_value outcome))
{
    char number[8];
    snprintf(number, sizeof number, "%d", port);
    struct addrinfo hints = { .ai_family = connector->options.family,
                              .ai_socktype = SOCK_STREAM,
                              .ai_flags = flags };
    cora_value now = lookup_now(host, service ? service : number, &hints);
    if (!cora_is_nothing(now)) {
        then(connector, now);
        return 0;
    }
    struct hook hook = hook_function(then, connector);
    connector->lookup =
        lookup_start(connector->loop, host, service ? service : number, &hints, hook);
    if (connector->lookup.bits)
        return 0;
    int code = cora_last_error_code();
    hook_drop(connector->loop, &hook);
    return code;
}

static void start_trying(struct connector *connector)
{
    if (!make_order(connector))
        connector_end(connector, memory_error());
    else
        try_next(connector);
}

static void on_remote(void *owner, cora_value outcome)
{
    struct connector *connector = owner;
    const struct cora_connect_options *options = &connector->options;
    connector->lookup = (cora_lookup){ 0 };
    if (cora_is_error(outcome))
        connector_end(connector, outcome);
    else if (!value_keep(outcome, &connector->remote))
        connector_end(connector, memory_error());
    else if (!options->local_host && !options->local_port)
        start_trying(connector);
    else if (look_up(connector, options->local_host, NULL, options->local_port,
                     options->local_host ? options->flags : options->flags | AI_PASSIVE,
                     on_local) < 0)
        connector_end(connector, cora_last_error());
}

static void on_local(void *owner, cora_value outcome)
{
    struct connector *connector = owner;
    connector->lookup = (cora_lookup){ 0 };
    if (cora_is_error(outcome))
        connector_end(connector, outcome);
    else if (!value_keep(outcome, &connector->local))
        connector_end(connector, memory_error());
    else
        start_trying(connector);
}

/* ---- starting ---- */

/* With what is connected already. */
static int start_with_given(struct connector *connector)
{
    struct slot *factory = connector->factory;
    struct loop *loop = connector->loop;
    uint64_t bits = connector->bits;
    connector->factory = NULL;
    cora_protocol protocol = factory_call(loop, factory);
    if (loop->ev)
        handle_remove(loop, factory);
    if (!loop->ev || connector_get(bits) != connector) {
        protocol_drop(protocol);
        return fail(CORA_ESTALE, "the connector was closed");
    }
    if (protocol.type)
        connector->transport = connector->make(loop, connector->given, protocol,
                                               &connector->starter, connector->place);
    if (connector->transport)
        return 0;
    int code = cora_last_error_code();
    protocol_drop(protocol);
    return code;
}

int connector_start(uint64_t bits, struct hook hook)
{
    struct connector *connector = connector_get(bits);
    if (!connector)
        return cora_last_error_code();
    if (connector->started)
        return fail(CORA_ERUNTIME, "cannot connect twice");
    struct loop *loop = connector->loop;
    int code = 0;
    connector->started = true;
    connector->starter.started = on_started;
    connector->hook = hook;
    loop_hold(loop);
    if (connector->make)
        code = start_with_given(connector);
    else
        code = look_up(connector, connector->options.host, connector->options.service,
                       connector->options.port, connector->options.flags, on_remote);
    if (code < 0 && connector_get(bits) == connector) {
        connector->hook = (struct hook){ 0 };
        cora_object_close(bits, &connector_type);
    }
    loop_unhold(loop);
    return code;
}

cora_connector cora_connect(cora_loop handle, const struct cora_connect_options *options,
                            cora_protocol_factory factory, cora_outcome_callback callback)
{
    struct loop *loop = loop_get(handle);
    struct hook hook;
    cora_connector made = { loop ? connector_new(loop, options, factory) : 0 };
    if (!made.bits)
        return made;
    bool started = hook_store(loop, &hook, callback);
    if (started && connector_start(made.bits, hook) < 0) {
        hook_drop(loop, &hook);
        started = false;
    }
    if (started)
        return made;
    cora_value error = cora_copy(cora_last_error());
    cora_object_close(made.bits, &connector_type);
    fail_with(error);
    cora_drop(error);
    return (cora_connector){ 0 };
}

cora_transport cora_connect_accepted_socket(cora_loop loop, int socket,
                                            cora_protocol_factory factory)
{
    if (!loop_get(loop) || check_stream_socket(socket) < 0)
        return (cora_transport){ 0 };
    return attach_given(loop, socket, socket_transport_new, factory);
}

cora_transport attach_given(cora_loop handle, int descriptor, transport_maker make,
                            cora_protocol_factory factory)
{
    cora_transport made = { 0 };
    struct loop *loop = loop_get(handle);
    if (!loop)
        return made;
    struct slot *slot = handle_new_persistent(loop, factory.partial);
    if (!slot)
        return made;
    loop_hold(loop);
    cora_protocol protocol = factory_call(loop, slot);
    struct object *object = loop->ev && protocol.type
                                ? make(loop, descriptor, protocol, NULL, factory.partial->place)
                                : NULL;
    if (!loop->ev)
        fail(CORA_ERUNTIME, "Event loop is closed");
    cora_value error = object ? cora_nothing() : cora_copy(cora_last_error());
    if (object)
        made.bits = object->slot.bits;
    else
        protocol_drop(protocol);
    if (loop->ev)
        handle_remove(loop, slot);
    if (cora_is_error(error)) /* whatever has run since */
        fail_with(error);
    cora_drop(error);
    loop_unhold(loop);
    return made;
}
