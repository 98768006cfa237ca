/*
 * How it works: a server resolves its hosts one after the other, binds a socket to each address
 * that it has not yet, and watches them for reading. When one is readable it accepts so many
 * connections as its backlog, and one; each gets a protocol from the factory, and a transport. The
 * transports are in a list of the server's, until their connection_lost has returned.
 *
 * Its memory is its own, not the object's: transports refer to it until the last one is over.
 */
#include "server.h"

#include "private_connector.h"
#include "private_resolver.h"
#include "timer.h"
#include "watcher.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BACKLOG 100
#define RETRY_SECONDS 1.0 /* after descriptors have run out */

struct listener {
    int socket;
    cora_handle retry; /* when it accepts again, after descriptors had run out; or null */
};

enum server_state {
    SERVER_MADE,
    SERVER_STARTED, /* resolves and binds, or could not: what is said of serving is only noted */
    SERVER_BOUND,
    SERVER_SERVING,
    SERVER_CLOSED, /* has connections still */
    SERVER_GONE,   /* its object is closed: it is freed with its last connection */
};

struct server {
    uint64_t bits;
    struct loop *loop;
    const struct cora_place *place;
    struct cora_server_options options; /* its texts are in this block */
    struct slot *factory;               /* NULL: the loop is closed */
    struct hook hook;                   /* whom to tell that it listens */
    cora_handle told;                   /* its callback, once it is queued */
    cora_lookup lookup;
    size_t resolved; /* hosts */
    struct listener *listeners;
    size_t count;
    enum server_state state;
    struct transport *clients; /* the last one first */
    size_t client_count;
    struct server_waiters waiters;
    const char *hosts[]; /* and then the texts */
};

static void server_closed(void *memory);

static const struct cora_object_type server_type = { "server", sizeof(struct server *),
                                                     server_closed };

static struct server *server_get(cora_server handle)
{
    struct server **memory = cora_object_get(handle.bits, &server_type);
    return memory ? *memory : NULL;
}

/* ---- making and ending ---- */

static int check_options(const struct cora_server_options *options)
{
    bool is_named = options->host || options->host_count || options->port || options->service;
    if (options->socket && is_named)
        return fail(CORA_EVALUE, "host/port and sock can not be specified at the same time");
    if (options->socket)
        return check_stream_socket(options->socket);
    if (!is_named)
        return fail(CORA_EVALUE, "Neither host/port nor sock were specified");
    if (options->host && options->host_count)
        return fail(CORA_EVALUE, "both a host and several hosts");
    if (options->port && options->service)
        return fail(CORA_EVALUE, "both a port and a service");
    if (options->port < 0 || options->port > UINT16_MAX)
        return fail(CORA_EVALUE, "port must be 0-65535");
    return options->backlog < 0 ? fail(CORA_EVALUE, "a negative backlog") : 0;
}

/* Its memory, with copies of the texts; NULL, and the error is set. */
static struct server *server_alloc(const struct cora_server_options *options)
{
    const char *const *hosts = options->host_count ? options->hosts : &options->host;
    size_t count = options->host_count ? options->host_count : 1;
    size_t size = sizeof(struct server) + count * sizeof(char *) + text_size(options->service);
    if (count > UINT32_MAX) {
        fail(CORA_EVALUE, "%zu hosts", count);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        size += text_size(hosts[i]);
    struct server *server = malloc(size);
    if (!server) {
        fail_with(memory_error());
        return NULL;
    }
    *server = (struct server){ .options = *options };
    struct texts texts = { (char *)&server->hosts[count] };
    for (size_t i = 0; i < count; i++)
        server->hosts[i] = text_copy(&texts, hosts[i]);
    server->options.service = text_copy(&texts, options->service);
    server->options.host_count = count;
    if (!server->options.backlog)
        server->options.backlog = BACKLOG;
    return server;
}

uint64_t server_new(struct loop *loop, const struct cora_server_options *options,
                    cora_protocol_factory factory)
{
    struct server *server = check_options(options) < 0 ? NULL : server_alloc(options);
    if (!server)
        return 0;
    server->loop = loop;
    server->place = factory.partial->place;
    server->factory = handle_new_persistent(loop, factory.partial);
    if (server->factory)
        server->bits = cora_object_new_at(loop_handle(loop), &server_type, server->place);
    if (!server->bits) {
        if (server->factory)
            handle_remove(loop, server->factory);
        free(server);
        return 0;
    }
    *(struct server **)cora_object_get(server->bits, &server_type) = server;
    return server->bits;
}

/* Removing a reader drops its variables, which may do anything: also close the server. */
static void stop_serving(struct server *server)
{
    uint64_t bits = server->bits;
    struct loop *loop = server->loop;
    if (server->state == SERVER_SERVING)
        server->state = SERVER_BOUND;
    for (size_t i = 0; object_find(bits, &server_type) && i < server->count; i++) {
        cora_handle retry = server->listeners[i].retry;
        server->listeners[i].retry = (cora_handle){ 0 };
        cancel_quietly(retry);
        cora_remove_reader(loop_handle(loop), server->listeners[i].socket);
    }
}

/* What a server gives up when it is closed: taken out of it first. */
struct given_up {
    struct listener *listeners;
    size_t count;
    cora_lookup lookup;
    struct hook hook;
    cora_handle told;
};

static struct given_up give_up(struct server *server)
{
    struct given_up given = { server->listeners, server->count, server->lookup, server->hook,
                              server->told };
    server->listeners = NULL;
    server->count = 0;
    server->lookup = (cora_lookup){ 0 };
    server->hook = (struct hook){ 0 };
    server->told = (cora_handle){ 0 };
    return given;
}

/* Closes and drops it. The server is not looked at: what runs here may do anything. */
static void release(struct loop *loop, struct given_up given)
{
    for (size_t i = 0; i < given.count; i++) {
        if (loop->ev) {
            cancel_quietly(given.listeners[i].retry);
            cora_remove_reader(loop_handle(loop), given.listeners[i].socket);
        }
        close(given.listeners[i].socket);
    }
    free(given.listeners);
    if (given.lookup.bits)
        cora_lookup_cancel(given.lookup);
    cancel_quietly(given.told); /* if it was not called yet */
    hook_drop(loop, &given.hook);
}

/* The object is closed: all is given back but what connections need. */
static void server_closed(void *memory)
{
    struct server *server = *(struct server **)memory;
    struct slot *factory = server->factory;
    struct loop *loop = server->loop;
    struct given_up given = give_up(server);
    server->state = SERVER_GONE;
    server->factory = NULL;
    if (server->waiters.wake)
        server->waiters.wake(&server->waiters, true);
    if (server->client_count == 0)
        free(server);
    release(loop, given);
    if (factory && loop->ev)
        handle_remove(loop, factory);
}

int cora_server_close(cora_server handle)
{
    struct server *server = server_get(handle);
    if (!server)
        return stale_code();
    if (server->state == SERVER_CLOSED)
        return 0;
    struct loop *loop = server->loop;
    struct given_up given = give_up(server);
    server->state = SERVER_CLOSED;
    loop_hold(loop);
    if (server->waiters.wake)
        server->waiters.wake(&server->waiters, false);
    if (server->client_count == 0)
        cora_object_close(handle.bits, &server_type);
    release(loop, given);
    loop_unhold(loop);
    return 0;
}

/* The callback of one that could not listen has been called. */
static void on_called(cora_args bound)
{
    cora_server server = cora_arg_server(bound, 0);
    if (object_find(server.bits, &server_type)) /* else it was closed in its callback */
        cora_server_close(server);
}

/* ---- connections ---- */

void server_attach(struct server *server, struct transport *transport)
{
    transport->server = server;
    transport->previous = NULL;
    transport->next = server->clients;
    if (server->clients)
        server->clients->previous = transport;
    server->clients = transport;
    server->client_count++;
}

void server_detach(struct loop *loop, struct server *server, struct transport *transport)
{
    if (transport->next)
        transport->next->previous = transport->previous;
    if (transport->previous)
        transport->previous->next = transport->next;
    else
        server->clients = transport->next;
    if (--server->client_count > 0)
        return;
    if (server->state == SERVER_GONE)
        free(server);
    else if (server->state == SERVER_CLOSED && loop->ev)
        cora_object_close(server->bits, &server_type);
}

static int end_clients(cora_server handle, bool abort)
{
    struct server *server = server_get(handle);
    if (!server)
        return stale_code();
    for (struct transport *client = server->clients; client; client = client->next) {
        if (abort)
            transport_force_close(server->loop, client, cora_nothing());
        else
            transport_close(server->loop, client);
    }
    return 0;
}

int cora_server_close_clients(cora_server server)
{
    return end_clients(server, false);
}

int cora_server_abort_clients(cora_server server)
{
    return end_clients(server, true);
}

/* ---- accepting ---- */

static void on_acceptable(cora_args bound);
static void on_retry(cora_args bound);

/* Watches a listening socket. 0 or a code. */
static int listener_watch(struct server *server, struct listener *listener)
{
    return cora_add_reader(
        loop_handle(server->loop), listener->socket,
        cora_partial(on_acceptable, (cora_server){ server->bits }, listener->socket));
}

static struct listener *listener_find(struct server *server, int socket)
{
    for (size_t i = 0; i < server->count; i++)
        if (server->listeners[i].socket == socket)
            return &server->listeners[i];
    return NULL;
}

/* Descriptors or memory have run out: tells it, and tries again in a while. */
static void accept_later(struct server *server, struct listener *listener, int error)
{
    struct loop *loop = server->loop;
    const struct cora_place *place = server->place;
    listener->retry =
        cora_call_later(loop_handle(loop), RETRY_SECONDS,
                        cora_partial(on_retry, (cora_server){ server->bits }, listener->socket));
    if (!cora_is_null(listener->retry)) /* else the next turn tries */
        cora_remove_reader(loop_handle(loop), listener->socket);
    if (loop->ev)
        report_plain(loop, "socket.accept() out of system resource",
                     cora_error(-error, "socket.accept()"), place);
}

static void on_retry(cora_args bound)
{
    struct server *server = server_get(cora_arg_server(bound, 0));
    struct listener *listener = server ? listener_find(server, (int)cora_arg_int(bound, 1)) : NULL;
    if (!listener)
        return;
    listener->retry = (cora_handle){ 0 };
    if (server->state == SERVER_SERVING && listener_watch(server, listener) < 0)
        accept_later(server, listener, ENOMEM);
}

/* A connection gets its protocol and transport, or is closed. */
static void accepted(struct server *server, int socket, const struct sockaddr *peer, socklen_t size)
{
    struct loop *loop = server->loop;
    cora_server handle = { server->bits };
    cora_protocol protocol = factory_call(loop, server->factory);
    bool is_there = loop->ev && server_get(handle) == server && server->state != SERVER_CLOSED;
    if (is_there && protocol.type &&
        tcp_transport_new(loop, socket, protocol, NULL, server, peer, size, server->place))
        return;
    cora_value error = cora_temporary(cora_copy(cora_last_error()));
    protocol_drop(protocol);
    close(socket);
    if (is_there && loop->debug)
        report_plain(loop, "Error on transport creation for incoming connection", error,
                     server->place);
}

static bool is_exhausted(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void on_acceptable(cora_args bound)
{
    cora_server handle = cora_arg_server(bound, 0);
    int listening = (int)cora_arg_int(bound, 1);
    struct server *server = server_get(handle);
    int backlog = server ? server->options.backlog : -1;
    for (int i = 0; i <= backlog; i++) {
        struct sockaddr_storage peer;
        socklen_t size = sizeof peer;
        struct sockaddr *address = (struct sockaddr *)(void *)&peer;
        int socket = accept4(listening, address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (socket < 0 && errno == ECONNABORTED)
            continue;
        if (socket < 0) {
            int error = errno;
            if (is_exhausted(error))
                accept_later(server, listener_find(server, listening), error);
            else if (!would_block(error))
                cora_fail(cora_error(-error, "socket.accept()"));
            return;
        }
        accepted(server, socket, address, size);
        if (server_get(handle) != server || server->state != SERVER_SERVING ||
            server->loop->interrupted)
            return; /* closed in the factory; or the run ends there */
    }
}

int cora_server_start_serving(cora_server handle)
{
    struct server *server = server_get(handle);
    if (!server)
        return cora_last_error_code();
    if (server->state == SERVER_CLOSED)
        return fail(CORA_ERUNTIME, "the server is closed");
    if (server->state == SERVER_SERVING)
        return 0;
    if (server->state < SERVER_BOUND) {
        server->options.start_later = false;
        return 0;
    }
    for (size_t i = 0; i < server->count; i++) {
        struct listener *listener = &server->listeners[i];
        int code = listen(listener->socket, server->options.backlog) < 0
                       ? fail(-errno, "listen")
                       : listener_watch(server, listener);
        if (code < 0) {
            stop_serving(server);
            return code;
        }
    }
    server->state = SERVER_SERVING;
    return 0;
}

int cora_server_stop_serving(cora_server handle)
{
    struct server *server = server_get(handle);
    if (!server)
        return cora_last_error_code();
    if (server->state < SERVER_BOUND)
        server->options.start_later = true;
    stop_serving(server);
    return 0;
}

/* ---- binding ---- */

/* Adds a bound socket, which it takes over. 0 or a code. */
static int listener_add(struct server *server, int socket)
{
    struct listener *listeners =
        realloc(server->listeners, (server->count + 1) * sizeof *listeners);
    if (!listeners)
        return fail_with(memory_error());
    server->listeners = listeners;
    listeners[server->count++] = (struct listener){ .socket = socket };
    return 0;
}

static int set_option(int socket, int level, int name)
{
    int one = 1;
    return setsockopt(socket, level, name, &one, sizeof one) < 0 ? -errno : 0;
}

static int set_options(const struct server *server, int socket, int family)
{
    const struct cora_server_options *options = &server->options;
    int code = options->no_reuse_address ? 0 : set_option(socket, SOL_SOCKET, SO_REUSEADDR);
    if (code == 0 && options->reuse_port && set_option(socket, SOL_SOCKET, SO_REUSEPORT) < 0)
        return fail(CORA_EVALUE, "reuse_port not supported by this system");
    if (code == 0 && options->keep_alive)
        code = set_option(socket, SOL_SOCKET, SO_KEEPALIVE);
    if (code == 0 && family == AF_INET6)
        code = set_option(socket, IPPROTO_IPV6, IPV6_V6ONLY);
    return code < 0 ? fail(code, "setsockopt") : 0;
}

/* Whether two addresses are the same; port 0 has become another one in that which is bound. */
static bool is_same(const struct sockaddr *bound, const struct sockaddr *other)
{
    if (bound->sa_family != other->sa_family)
        return false;
    if (bound->sa_family == AF_INET) {
        const struct sockaddr_in *one = (const void *)bound, *two = (const void *)other;
        return one->sin_addr.s_addr == two->sin_addr.s_addr &&
               (two->sin_port == 0 || one->sin_port == two->sin_port);
    }
    const struct sockaddr_in6 *one = (const void *)bound, *two = (const void *)other;
    return bound->sa_family == AF_INET6 && one->sin6_scope_id == two->sin6_scope_id &&
           memcmp(&one->sin6_addr, &two->sin6_addr, sizeof one->sin6_addr) == 0 &&
           (two->sin6_port == 0 || one->sin6_port == two->sin6_port);
}

/* Whether there is a socket for an address already: 1 or 0, or a code. */
static int is_bound(const struct server *server, const struct addrinfo *address)
{
    for (size_t i = 0; i < server->count; i++) {
        struct sockaddr_storage bound;
        socklen_t size = sizeof bound;
        struct sockaddr *at = (struct sockaddr *)(void *)&bound;
        if (getsockname(server->listeners[i].socket, at, &size) < 0)
            return fail(-errno, "getsockname");
        if (is_same(at, address->ai_addr))
            return 1;
    }
    return 0;
}

/* Binds a socket to one address; families and addresses that are not there are left out. */
static int bind_address(struct server *server, const struct addrinfo *address)
{
    int made = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
                      address->ai_protocol);
    if (made < 0)
        return errno == EAFNOSUPPORT || errno == EPROTONOSUPPORT ? 0 : fail(-errno, "socket");
    int code = set_options(server, made, address->ai_family);
    if (code == 0 && bind(made, address->ai_addr, address->ai_addrlen) < 0) {
        char text[120];
        code = -errno;
        address_print(address->ai_addr, address->ai_addrlen, text, sizeof text);
        if (code == -EADDRNOTAVAIL) {
            close(made);
            return 0;
        }
        fail(code, "error while attempting to bind on address %s", text);
    }
    if (code == 0)
        code = listener_add(server, made);
    if (code < 0)
        close(made);
    return code;
}

/* ---- starting ---- */

/* It listens, or does not: tells whom it concerns. */
static void server_tell(struct server *server, int code)
{
    cora_server handle = { server->bits };
    struct loop *loop = server->loop;
    server->state = SERVER_BOUND;
    if (code == 0 && server->count == 0)
        code = fail(-EADDRNOTAVAIL, "could not bind on any address of %s",
                    server->hosts[0] && *server->hosts[0] ? server->hosts[0] : "this machine");
    if (code == 0 && !server->options.start_later)
        code = cora_server_start_serving(handle);
    cora_value outcome =
        code < 0 ? cora_temporary(cora_copy(cora_last_error())) : cora_from_server(handle);
    cora_handle told = hook_tell(loop, &server->hook, outcome);
    server->told = told;
    if (code == 0)
        return;
    server->state = SERVER_STARTED;
    if (cora_is_null(told) ||
        cora_is_null(cora_call_soon(loop_handle(loop), cora_partial(on_called, handle)))) {
        server->told = (cora_handle){ 0 }; /* it is called, without memory, too */
        cora_server_close(handle);
        return;
    }
    struct given_up given = give_up(server);
    server->told = told; /* it is called still */
    given.told = (cora_handle){ 0 };
    release(loop, given);
}

static int resolve_next(struct server *server);

static void on_host(void *owner, cora_value outcome)
{
    struct server *server = owner;
    int code = 0;
    server->lookup = (cora_lookup){ 0 };
    if (cora_is_error(outcome))
        code = fail_with(outcome);
    for (const struct addrinfo *address = code < 0 ? NULL : cora_as_addresses(outcome);
         address && code == 0; address = address->ai_next) {
        int bound = is_bound(server, address);
        code = bound == 0 ? bind_address(server, address) : bound < 0 ? bound : 0;
    }
    server->resolved++;
    bool more = code == 0 && server->resolved < server->options.host_count;
    if (more)
        code = resolve_next(server);
    if (!more || code < 0)
        server_tell(server, code);
}

/* Looks the next host up. 0 or a code. */
static int resolve_next(struct server *server)
{
    char number[8];
    const char *host = server->hosts[server->resolved];
    snprintf(number, sizeof number, "%d", server->options.port);
    struct addrinfo hints = { .ai_family = server->options.family,
                              .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_PASSIVE };
    struct hook hook = hook_function(on_host, server);
    server->lookup =
        lookup_start(server->loop, host && *host ? host : NULL,
                     server->options.service ? server->options.service : number, &hints, hook);
    if (server->lookup.bits)
        return 0;
    int code = cora_last_error_code();
    hook_drop(server->loop, &hook);
    return code;
}

static void on_soon(cora_args bound)
{
    struct server *server = server_get(cora_arg_server(bound, 0));
    if (server && server->state != SERVER_CLOSED)
        server_tell(server, 0);
}

int server_start(uint64_t bits, struct hook hook)
{
    struct server *server = server_get((cora_server){ bits });
    if (!server)
        return cora_last_error_code();
    if (server->state != SERVER_MADE)
        return fail(CORA_ERUNTIME, "cannot create a server twice");
    server->state = SERVER_STARTED;
    int socket = server->options.socket, code;
    if (!socket)
        code = resolve_next(server);
    else if (cora_is_null(cora_call_soon(loop_handle(server->loop),
                                         cora_partial(on_soon, (cora_server){ bits }))))
        code = cora_last_error_code();
    else
        code = listener_add(server, socket);
    if (code == 0)
        server->hook = hook;
    else
        cora_server_close((cora_server){ bits });
    return code;
}

cora_server cora_listen(cora_loop handle, const struct cora_server_options *options,
                        cora_protocol_factory factory, cora_outcome_callback callback)
{
    struct loop *loop = loop_get(handle);
    struct hook hook;
    cora_server made = { loop ? server_new(loop, options, factory) : 0 };
    if (!made.bits)
        return made;
    bool started = hook_store(loop, &hook, callback);
    if (started && server_start(made.bits, hook) < 0) {
        hook_drop(loop, &hook);
        started = false;
    }
    if (started)
        return made;
    cora_value error = cora_copy(cora_last_error());
    cora_server_close(made);
    fail_with(error);
    cora_drop(error);
    return (cora_server){ 0 };
}

/* ---- questions ---- */

struct server_waiters *server_waiters(cora_server handle)
{
    struct server *server = server_get(handle);
    return server ? &server->waiters : NULL;
}

bool cora_server_is_serving(cora_server handle)
{
    struct server *server = server_get(handle);
    return server && server->state == SERVER_SERVING;
}

size_t cora_server_clients(cora_server handle)
{
    struct server *server = server_get(handle);
    return server ? server->client_count : 0;
}

int cora_server_socket(cora_server handle, size_t index)
{
    struct server *server = server_get(handle);
    return server && index < server->count ? server->listeners[index].socket : -1;
}

/* The address of a listening socket, as a value. */
static cora_value listener_address(const struct listener *listener)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    struct sockaddr *at = (struct sockaddr *)(void *)&address;
    return getsockname(listener->socket, at, &size) < 0 ? cora_nothing()
                                                        : cora_from_address(at, size);
}

int cora_server_port(cora_server handle)
{
    struct server *server = server_get(handle);
    cora_value address =
        server && server->count ? listener_address(&server->listeners[0]) : cora_nothing();
    return address.type == &cora_type_list ? (int)cora_as_int(cora_list_at(address, 1)) : 0;
}

cora_loop cora_server_loop(cora_server server)
{
    return cora_object_loop(server.bits, &server_type);
}

int cora_server_print(cora_server handle, char *buffer, size_t size)
{
    struct server *server = server_get(handle);
    char sockets[400] = "";
    size_t length = 0;
    if (!server)
        return snprintf(buffer, size, "<Server closed>");
    for (size_t i = 0; i < server->count && length < sizeof sockets; i++) {
        cora_value address = listener_address(&server->listeners[i]);
        bool has_port = address.type == &cora_type_list;
        cora_value host = has_port ? cora_list_at(address, 0) : address;
        char port[24] = "";
        if (has_port)
            snprintf(port, sizeof port, ":%lld", cora_as_int(cora_list_at(address, 1)));
        length +=
            (size_t)snprintf(sockets + length, sizeof sockets - length, "%s%s%s", i ? ", " : "",
                             cora_is_nothing(host) ? "?" : cora_as_text(host), port);
    }
    return snprintf(buffer, size, "<Server sockets=[%s] clients=%zu>", sockets,
                    server->client_count);
}
