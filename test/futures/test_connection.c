/*
 * Connections and servers as something to await: first a conversation in callbacks, and the same in
 * steps; what is cancelled, and when; what nobody awaits; the end of servers, and serving for ever.
 *
 * The other end is a plain socket of the loopback device. A name that ends in ".slow" is looked up
 * when the test opens the gate; a listener that is full keeps who connects waiting.
 */
#include "coroutines.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>

/* ---- the resolver as the library sees it ---- */

static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static bool gate_open;
static int at_gate;

int getaddrinfo(const char *restrict host, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict ret_list)
{
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&next = dlsym(RTLD_NEXT, "getaddrinfo");
    if (!host || !strstr(host, ".slow"))
        return next(host, service, hints, ret_list);
    pthread_mutex_lock(&gate_lock);
    at_gate++;
    pthread_cond_broadcast(&gate_moved);
    while (!gate_open)
        pthread_cond_wait(&gate_moved, &gate_lock);
    at_gate--;
    pthread_mutex_unlock(&gate_lock);
    return next("127.0.0.1", service, hints, ret_list);
}

static void gate_set(bool open)
{
    pthread_mutex_lock(&gate_lock);
    gate_open = open;
    pthread_cond_broadcast(&gate_moved);
    pthread_mutex_unlock(&gate_lock);
}

/* Waits until a thread is at the gate. */
static void gate_wait(void)
{
    pthread_mutex_lock(&gate_lock);
    while (at_gate == 0)
        pthread_cond_wait(&gate_moved, &gate_lock);
    pthread_mutex_unlock(&gate_lock);
}

/* ---- sockets ---- */

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int bound_new(void)
{
    struct sockaddr_in address = loopback(0);
    int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(bind(made, (struct sockaddr *)&address, sizeof address), 0);
    return made;
}

static int port_of(int descriptor)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    CHECK_INT(getsockname(descriptor, (struct sockaddr *)&address, &size), 0);
    return ntohs(address.sin_port);
}

static int listener_new(void)
{
    int made = bound_new();
    CHECK_INT(listen(made, 8), 0);
    return made;
}

static int client_new(int port)
{
    struct sockaddr_in address = loopback(port);
    int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(connect(made, (struct sockaddr *)&address, sizeof address), 0);
    return made;
}

/* A listener whose queue is full: who connects next is kept waiting. */
struct busy {
    int listener, client, port;
};

static struct busy busy_new(void)
{
    int bound = bound_new();
    CHECK_INT(listen(bound, 0), 0);
    return (struct busy){ bound, client_new(port_of(bound)), port_of(bound) };
}

static void busy_close(struct busy busy)
{
    close(busy.listener);
    close(busy.client);
}

static void put(int descriptor, const char *text)
{
    CHECK_INT(write(descriptor, text, strlen(text)), (ssize_t)strlen(text));
}

/* Whether the peer has closed. */
static bool peer_closed(int descriptor)
{
    char byte;
    return recv(descriptor, &byte, 1, 0) <= 0;
}

static bool is_open(int descriptor)
{
    return fcntl(descriptor, F_GETFD) >= 0;
}

/* ---- a guest: the protocol of a connection, and what is awaited ---- */

struct guest {
    struct notes notes; /* made, what was received, lost, ended, in order */
    cora_transport transport;
    int made, lost, dropped, ended;
    cora_future cancels_when_made;
    char text[300]; /* what the operation has ended with */
    int code;
    cora_value value; /* that it has ended with, if plain */
};

static void guest_made(void *self, cora_transport transport)
{
    struct guest *guest = self;
    add_note(&guest->notes, "made");
    guest->made++;
    guest->transport = transport;
    if (!cora_is_null(guest->cancels_when_made))
        CHECK(cora_cancel(guest->cancels_when_made));
}

static void guest_data(void *self, cora_transport transport, const void *bytes, size_t size)
{
    char text[100];
    (void)transport;
    snprintf(text, sizeof text, "%.*s", (int)size, (const char *)bytes);
    add_note(&((struct guest *)self)->notes, text);
}

static void guest_lost(void *self, cora_transport transport, cora_value error)
{
    struct guest *guest = self;
    (void)transport, (void)error;
    guest->lost++;
    add_note(&guest->notes, "lost");
}

static void guest_drop(void *self)
{
    ((struct guest *)self)->dropped++;
}

static const struct cora_protocol_type guest_type = { .name = "Guest",
                                                      .connection_made = guest_made,
                                                      .data_received = guest_data,
                                                      .connection_lost = guest_lost,
                                                      .drop = guest_drop };

/* A factory, bound to a guest. */
static cora_protocol welcome(cora_args bound)
{
    return (cora_protocol){ &guest_type, cora_arg(bound, 0, struct guest *) };
}

/* Bound to a guest: what has come of an operation. */
static void on_ended(cora_args bound, cora_future done)
{
    struct guest *guest = cora_arg(bound, 0, struct guest *);
    cora_value result = cora_result(done);
    guest->ended++;
    add_note(&guest->notes, "ended");
    cora_print(result, guest->text, sizeof guest->text);
    guest->code = cora_error_code(result);
    guest->value = cora_is_plain(result) ? result : cora_nothing();
}

static cora_future begin(cora_awaitable operation, struct guest *guest)
{
    cora_future future = cora_when_done(operation, cora_partial(on_ended, guest));
    CHECK(!cora_is_null(future));
    return future;
}

static cora_awaitable connecting(int port, struct guest *guest)
{
    return cora_create_connection(
        &(struct cora_connect_options){ .host = "127.0.0.1", .port = port },
        cora_partial(welcome, guest));
}

static cora_server server_new(cora_loop loop, struct guest *guest)
{
    cora_value made = cora_run_until_complete(
        loop, cora_create_server(&(struct cora_server_options){ .host = "127.0.0.1" },
                                 cora_partial(welcome, guest)));
    CHECK(!cora_is_error(made));
    return cora_as_server(made);
}

/* What an operation comes to, as cora_print writes it. */
static const char *came(cora_loop loop, cora_awaitable operation)
{
    static char text[400];
    cora_print(cora_run_until_complete(loop, operation), text, sizeof text);
    return text;
}

static int count_threads(void)
{
    DIR *listing = opendir("/proc/self/task");
    int count = -2; /* . and .. */
    CHECK(listing != NULL);
    while (readdir(listing))
        count++;
    closedir(listing);
    return count;
}

/* Ends a test that has given up a look-up: the C library gives back what its thread had. */
static void end_with_threads(cora_loop loop)
{
    gate_set(true);
    while (count_threads() > 1 && !harness_sanitized() && !harness_under_valgrind())
        sched_yield();
    CHECK(!cora_is_error(cora_run_until_complete(loop, cora_getaddrinfo("next.slow", "80", NULL))));
    gate_set(false);
    current_loop_end(loop);
}

/* ---- a conversation ---- */

/* A cafe: a server and a client of it in one loop. */
struct cafe {
    struct guest inside, outside; /* the protocols of the two ends */
    cora_server server;
    struct notes notes;
};

static void on_cafe_connected(cora_args bound, cora_future done)
{
    struct cafe *cafe = cora_arg(bound, 0, struct cafe *);
    cora_transport transport = cora_as_transport(cora_result(done));
    CHECK(cora_same(transport, cafe->outside.transport));
    CHECK_INT(cora_transport_write(transport, "coffee", 6), 0);
    CHECK_INT(cora_transport_close(transport), 0);
}

static void on_cafe_closed(cora_args bound, cora_future done)
{
    struct cafe *cafe = cora_arg(bound, 0, struct cafe *);
    CHECK(cora_is_nothing(cora_result(done)));
    add_note(&cafe->notes, "closed");
    cora_stop(cora_running_loop());
}

static void on_cafe_open(cora_args bound, cora_future done)
{
    struct cafe *cafe = cora_arg(bound, 0, struct cafe *);
    cafe->server = cora_as_server(cora_result(done));
    add_note(&cafe->notes, "open");
    cora_when_done(connecting(cora_server_port(cafe->server), &cafe->outside),
                   cora_partial(on_cafe_connected, cafe));
    cora_when_done(cora_server_wait_closed(cafe->server), cora_partial(on_cafe_closed, cafe));
}

/* The cafe closes when its guest is there. */
static void on_cafe_guest(void *self, cora_transport transport)
{
    guest_made(self, transport);
    CHECK_INT(cora_server_close(cora_as_server(((struct guest *)self)->value)), 0);
}

static const struct cora_protocol_type last_guest_type = { .name = "LastGuest",
                                                           .connection_made = on_cafe_guest,
                                                           .data_received = guest_data,
                                                           .connection_lost = guest_lost };

static cora_protocol welcome_last(cora_args bound)
{
    struct cafe *cafe = cora_arg(bound, 0, struct cafe *);
    cafe->inside.value = cora_from_server(cafe->server);
    return (cora_protocol){ &last_guest_type, &cafe->inside };
}

TEST(callbacks, "callbacks open a server, connect to it, write, close, and wait for the end")
{
    cora_loop loop = cora_loop_new(NULL);
    struct cafe cafe = { .server = { 0 } };
    cora_set_current_loop(loop);
    cora_when_done(cora_create_server(&(struct cora_server_options){ .host = "127.0.0.1" },
                                      cora_partial(welcome_last, &cafe)),
                   cora_partial(on_cafe_open, &cafe));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_TEXT(cafe.notes.text, "open closed");
    CHECK_TEXT(cafe.inside.notes.text, "made coffee lost");
    CHECK_TEXT(cafe.outside.notes.text, "made lost");
    cora_set_current_loop((cora_loop){ 0 });
    cora_loop_close(loop);
}

static cora_next cafe_is_closed(cora_coro self)
{
    return cora_return(self, "slept");
}

static cora_next cafe_connected(cora_coro self)
{
    struct cafe *cafe = *cora_locals(self, struct cafe *);
    cora_transport transport = cora_as_transport(cora_got(self));
    CHECK_TEXT(cafe->outside.notes.text, "made");
    CHECK_INT(cora_transport_write(transport, "tea", 3), 0);
    CHECK_INT(cora_transport_close(transport), 0);
    return cora_await(self, cora_server_wait_closed(cafe->server), cafe_is_closed);
}

static cora_next cafe_open(cora_coro self)
{
    struct cafe *cafe = *cora_locals(self, struct cafe *);
    cafe->server = cora_as_server(cora_got(self));
    return cora_await(self, connecting(cora_server_port(cafe->server), &cafe->outside),
                      cafe_connected);
}

static cora_next cafe_opens(cora_coro self)
{
    return cora_await(
        self,
        cora_create_server(&(struct cora_server_options){ .host = "127.0.0.1" },
                           cora_partial(welcome_last, *cora_locals(self, struct cafe *))),
        cafe_open);
}

TEST(steps, "the same in steps: a server, a connection, the end of both")
{
    cora_loop loop = cora_loop_new(NULL);
    struct cafe cafe = { .server = { 0 } };
    cora_set_current_loop(loop);
    struct cafe *place = &cafe;
    cora_value slept = cora_run_until_complete(
        loop, cora_create_task(loop, cora_coroutine(cafe_opens, struct cafe *, place)));
    CHECK_TEXT(cora_as_text(slept), "slept");
    CHECK_TEXT(cafe.inside.notes.text, "made tea lost");
    cora_set_current_loop((cora_loop){ 0 });
    cora_loop_close(loop);
}

/* ---- connections ---- */

TEST(connection_order, "connection_made comes first, then who awaits goes on, then data is told")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 };
    int listener = listener_new();
    begin(connecting(port_of(listener), &guest), &guest);
    int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    put(peer, "hello");
    while (!strstr(guest.notes.text, "hello"))
        tick(loop);
    CHECK_TEXT(guest.notes.text, "made ended hello");
    CHECK(cora_same(cora_as_transport(guest.value), guest.transport));
    close(peer);
    close(listener);
    current_loop_end(loop);
}

TEST(connected_socket, "a socket that sock_connect has connected may be given to create_connection",
     "test_sock_lowlevel.BaseSockTestsMixin.test_create_connection_sock")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 };
    int listener = listener_new();
    int made = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = loopback(port_of(listener));
    CHECK_TEXT(came(loop, cora_sock_connect(made, (struct sockaddr *)&address, sizeof address)),
               "None");
    cora_value transport = cora_run_until_complete(
        loop, cora_create_connection(&(struct cora_connect_options){ .socket = made },
                                     cora_partial(welcome, &guest)));
    CHECK_INT(cora_transport_socket(cora_as_transport(transport)), made);
    int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    put(peer, "hello");
    while (!strstr(guest.notes.text, "hello"))
        tick(loop);
    CHECK_TEXT(guest.notes.text, "made hello");
    close(peer);
    close(listener);
    current_loop_end(loop);
}

TEST(refused, "a connection that is refused ends with that error")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 };
    int bound = bound_new();
    CHECK(strstr(came(loop, connecting(port_of(bound), &guest)),
                 "ConnectionRefusedError: [Errno 111] Connection refused: Connect call failed"));
    CHECK_TEXT(guest.notes.text, "");
    close(bound);
    current_loop_end(loop);
}

TEST(bad_options, "options that contradict each other are an outcome",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_connection_host_port_sock",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_server_host_port_sock")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 };
    CHECK_TEXT(
        came(loop, cora_create_connection(&(struct cora_connect_options){ .port = 1, .socket = 1 },
                                          cora_partial(welcome, &guest))),
        "ValueError: host/port and sock can not be specified at the same time");
    CHECK_TEXT(
        came(loop, cora_create_server(&(struct cora_server_options){ .port = 1, .socket = 1 },
                                      cora_partial(welcome, &guest))),
        "ValueError: host/port and sock can not be specified at the same time");
    current_loop_end(loop);
}

TEST(no_loop, "what is made without a loop ends with a RuntimeError")
{
    cora_loop loop = virtual_loop_new();
    struct guest guest = { .made = 0 };
    const struct cora_server_options listen = { .port = 80 };
    CHECK(cora_error_is(cora_run_until_complete(loop, connecting(80, &guest)), CORA_ERUNTIME));
    CHECK(cora_error_is(
        cora_run_until_complete(loop, cora_create_server(&listen, cora_partial(welcome, &guest))),
        CORA_ERUNTIME));
    CHECK(cora_error_is(cora_run_until_complete(loop, cora_getaddrinfo("127.0.0.1", "80", NULL)),
                        CORA_ERUNTIME));
    virtual_loop_end(loop);
}

TEST(other_loop, "what was made for one loop cannot be awaited in another")
{
    cora_loop loop = current_loop_new(), other = cora_loop_new(NULL);
    struct guest guest = { .made = 0 };
    const struct cora_server_options listen = { .port = 80 };
    CHECK_TEXT(came(other, connecting(80, &guest)),
               "RuntimeError: the create_connection is bound to a different event loop");
    CHECK_TEXT(came(other, cora_create_server(&listen, cora_partial(welcome, &guest))),
               "RuntimeError: the create_server is bound to a different event loop");
    CHECK_TEXT(came(other, cora_getaddrinfo("127.0.0.1", "80", NULL)),
               "RuntimeError: the getaddrinfo is bound to a different event loop");
    cora_drop_temporaries();
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(other);
    current_loop_end(loop);
}

TEST(options_copied, "texts of the options may be gone when it is awaited")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 };
    int listener = listener_new();
    char host[] = "127.0.0.1", service[10], local[] = "127.0.0.1";
    snprintf(service, sizeof service, "%d", port_of(listener));
    cora_awaitable connection = cora_create_connection(
        &(struct cora_connect_options){ .host = host, .service = service, .local_host = local },
        cora_partial(welcome, &guest));
    memset(host, 'x', sizeof host - 1);
    memset(service, 'x', sizeof service - 1);
    memset(local, 'x', sizeof local - 1);
    CHECK(!cora_is_error(cora_run_until_complete(loop, connection)));
    CHECK_INT(guest.made, 1);
    close(listener);
    current_loop_end(loop);
}

TEST(together, "connections that are gathered are all made")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 };
    int listener = listener_new();
    cora_awaitable items[5];
    for (int i = 0; i < 5; i++)
        items[i] = connecting(port_of(listener), &guest);
    cora_value transports = cora_run_until_complete(loop, cora_gather(loop, items, 5));
    CHECK_INT(cora_list_size(transports), 5);
    for (size_t i = 0; i < 5; i++)
        CHECK(!cora_transport_is_closing(cora_as_transport(cora_list_at(transports, i))));
    CHECK_INT(guest.made, 5);
    close(listener);
    current_loop_end(loop);
}

TEST(awaited_twice, "what was awaited once cannot be awaited again")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 }, again = { .made = 0 };
    int listener = listener_new();
    cora_awaitable connection = connecting(port_of(listener), &guest);
    begin(connection, &guest);
    begin(connection, &again);
    while (!guest.ended || !again.ended)
        tick(loop);
    CHECK_INT(guest.code, 0);
    CHECK_INT(again.code, CORA_ERUNTIME);
    CHECK_INT(guest.made, 1);
    close(listener);
    current_loop_end(loop);
}

/* ---- cancelling ---- */

TEST(cancel_before, "one that is cancelled before it starts makes nothing")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 };
    int listener = listener_new();
    cora_future future = cora_ensure_future(loop, connecting(port_of(listener), &guest));
    CHECK(cora_cancel(future));
    ticks(loop, 3);
    CHECK(cora_cancelled(future));
    CHECK_TEXT(guest.notes.text, "");
    cora_release(future);
    CHECK_INT(cora_live(loop), 0);
    close(listener);
    current_loop_end(loop);
}

TEST(cancel_lookup, "one that is cancelled during the look-up ends so in the next tick")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 };
    cora_future future = begin(
        cora_create_connection(&(struct cora_connect_options){ .host = "inn.slow", .port = 80 },
                               cora_partial(welcome, &guest)),
        &guest);
    gate_wait();
    CHECK(cora_cancel(future));
    ticks(loop, 2);
    CHECK_INT(guest.code, CORA_ECANCELLED);
    CHECK_TEXT(guest.notes.text, "ended");
    CHECK_INT(cora_live(loop), 0);
    end_with_threads(loop);
}

TEST(cancel_connecting, "one that is cancelled while it connects closes its socket")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 };
    struct busy busy = busy_new();
    cora_future future = begin(connecting(busy.port, &guest), &guest);
    ticks(loop, 3);
    CHECK_TEXT(guest.notes.text, "");
    CHECK(cora_cancel(future));
    ticks(loop, 2);
    CHECK_INT(guest.code, CORA_ECANCELLED);
    CHECK_INT(cora_live(loop), 0);
    busy_close(busy);
    current_loop_end(loop);
}

TEST(wait_for, "a connection that takes too long ends with a TimeoutError, and leaves nothing")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 };
    struct busy busy = busy_new();
    begin(cora_awaitable_of(cora_wait_for(connecting(busy.port, &guest), 2.5)), &guest);
    run_for(loop, 3);
    CHECK_INT(guest.code, CORA_ETIMEOUT);
    CHECK_INT(guest.made, 0);
    CHECK_INT(cora_live(loop), 0);
    busy_close(busy);
    current_loop_end(loop);
}

TEST(cancel_given_socket,
     "one of a given socket that is cancelled before connection_made closes it")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 };
    int listener = listener_new(), made = client_new(port_of(listener));
    int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    cora_future future =
        begin(cora_create_connection(&(struct cora_connect_options){ .socket = made },
                                     cora_partial(welcome, &guest)),
              &guest);
    CHECK(cora_cancel(future));
    ticks(loop, 4);
    CHECK_INT(guest.code, CORA_ECANCELLED);
    CHECK_INT(guest.dropped, 1);
    CHECK(peer_closed(peer));
    CHECK_INT(cora_live(loop), 0);
    close(peer);
    close(listener);
    current_loop_end(loop);
}

TEST(cancel_when_made,
     "one that is cancelled in connection_made ends so, and its connection is lost")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 };
    int listener = listener_new();
    guest.cancels_when_made = begin(connecting(port_of(listener), &guest), &guest);
    int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    while (!guest.lost || !guest.ended)
        tick(loop);
    CHECK_INT(guest.code, CORA_ECANCELLED);
    CHECK(peer_closed(peer));
    CHECK_INT(guest.dropped, 1);
    ticks(loop, 2);
    CHECK_INT(cora_live(loop), 0);
    close(peer);
    close(listener);
    current_loop_end(loop);
}

TEST(cancel_in_gap, "one that is cancelled after connection_made, before it goes on, is closed")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 };
    int listener = listener_new();
    cora_future future = begin(connecting(port_of(listener), &guest), &guest);
    int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    while (!guest.made)
        tick(loop);
    CHECK_INT(guest.ended, 0);
    CHECK(cora_cancel(future));
    while (!guest.lost || !guest.ended)
        tick(loop);
    CHECK_INT(guest.code, CORA_ECANCELLED);
    CHECK(peer_closed(peer));
    close(peer);
    close(listener);
    current_loop_end(loop);
}

TEST(cancel_server_lookup, "a server that is cancelled during the look-up never listens")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 };
    cora_future future =
        begin(cora_create_server(&(struct cora_server_options){ .host = "inn.slow" },
                                 cora_partial(welcome, &guest)),
              &guest);
    gate_wait();
    CHECK(cora_cancel(future));
    ticks(loop, 2);
    CHECK_INT(guest.code, CORA_ECANCELLED);
    CHECK_INT(cora_live(loop), 0);
    end_with_threads(loop);
}

TEST(cancel_server, "a server that is cancelled at any tick before it is there does not listen")
{
    for (int late = 0; late < 6; late++) {
        cora_loop loop = current_loop_new();
        struct guest guest = { .made = 0 };
        int bound = bound_new();
        cora_future future =
            begin(cora_create_server(&(struct cora_server_options){ .socket = bound },
                                     cora_partial(welcome, &guest)),
                  &guest);
        ticks(loop, late);
        bool was_pending = !guest.ended;
        CHECK_INT(cora_cancel(future), was_pending);
        ticks(loop, 3);
        if (was_pending) {
            CHECK_INT(guest.code, CORA_ECANCELLED);
            CHECK(!is_open(bound));
            CHECK_INT(cora_live(loop), 0);
        } else {
            CHECK(cora_server_is_serving(cora_as_server(guest.value)));
        }
        CHECK(late > 0 || was_pending);
        CHECK(late < 5 || !was_pending);
        current_loop_end(loop);
    }
}

TEST(cancel_getaddrinfo, "a look-up that is cancelled ends so in the next tick")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 };
    cora_future future = begin(cora_getaddrinfo("inn.slow", "80", NULL), &guest);
    gate_wait();
    CHECK(cora_cancel(future));
    ticks(loop, 2);
    CHECK_INT(guest.code, CORA_ECANCELLED);
    CHECK_INT(cora_live(loop), 0);
    end_with_threads(loop);
}

/* ---- never awaited ---- */

static void serve_nobody(cora_args bound, cora_stream_reader reader, cora_stream_writer writer)
{
    (void)bound, (void)reader, (void)writer;
}

static cora_coro serve_in_steps(cora_args bound, cora_stream_reader reader,
                                cora_stream_writer writer)
{
    (void)bound, (void)reader, (void)writer;
    return (cora_coro){ 0 };
}

TEST(never_awaited, "what nobody awaits drops its arguments, and leaves nothing")
{
    cora_loop loop = current_loop_new();
    struct cora_connect_options connect = { .host = "127.0.0.1", .port = 80 };
    struct cora_server_options listen = { .host = "127.0.0.1" };
    struct sockaddr_in address = loopback(80);
    int drops = 0;
    cora_value counting = cora_own(&drops, &counted);
    (void)cora_create_connection(&connect, cora_partial(welcome, counting));
    (void)cora_create_server(&listen, cora_partial(welcome, counting));
    (void)cora_open_connection(&connect, 0);
    (void)cora_start_server(&listen, 0, cora_partial(serve_nobody, counting));
    (void)cora_start_server(&listen, 0, cora_partial(serve_in_steps, counting));
    (void)cora_getaddrinfo("127.0.0.1", "80", NULL);
    (void)cora_getnameinfo((struct sockaddr *)&address, sizeof address, 0);
    tick(loop);
    cora_drop_temporaries();
    CHECK_INT(drops, 1);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

TEST(never_awaited_socket, "a given socket that nobody awaits a connection of stays the caller's")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 };
    int listener = listener_new(), made = client_new(port_of(listener));
    (void)cora_create_connection(&(struct cora_connect_options){ .socket = made },
                                 cora_partial(welcome, &guest));
    (void)cora_open_connection(&(struct cora_connect_options){ .socket = made }, 0);
    tick(loop);
    CHECK(is_open(made));
    CHECK_TEXT(guest.notes.text, "");
    close(made);
    close(listener);
    current_loop_end(loop);
}

TEST(never_awaited_server_socket, "so does one of a server that nobody awaits")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 };
    int bound = bound_new();
    (void)cora_create_server(&(struct cora_server_options){ .socket = bound },
                             cora_partial(welcome, &guest));
    (void)cora_start_server(&(struct cora_server_options){ .socket = bound }, 0,
                            cora_partial(serve_nobody));
    tick(loop);
    CHECK(is_open(bound));
    close(bound);
    current_loop_end(loop);
}

/* Makes something to await in a loop that is closed then, and awaits it in another one. */
static void outlives(cora_awaitable (*make)(struct guest *guest))
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 };
    cora_awaitable made = make(&guest);
    current_loop_end(loop);
    cora_loop other = current_loop_new();
    CHECK(cora_error_is(cora_run_until_complete(other, made), CORA_ERUNTIME));
    CHECK_TEXT(guest.notes.text, "");
    current_loop_end(other);
}

static cora_awaitable make_connection(struct guest *guest)
{
    return connecting(80, guest);
}

static cora_awaitable make_server(struct guest *guest)
{
    return cora_create_server(&(struct cora_server_options){ .port = 80 },
                              cora_partial(welcome, guest));
}

static cora_awaitable make_streams(struct guest *guest)
{
    (void)guest;
    return cora_open_connection(&(struct cora_connect_options){ .port = 80 }, 0);
}

static cora_awaitable make_stream_server(struct guest *guest)
{
    return cora_start_server(&(struct cora_server_options){ .port = 80 }, 0,
                             cora_partial(serve_nobody, guest));
}

static cora_awaitable make_lookup(struct guest *guest)
{
    (void)guest;
    return cora_getaddrinfo("127.0.0.1", "80", NULL);
}

TEST(outlives_loop, "what nobody awaits may outlive its loop; then it is an error")
{
    outlives(make_connection);
    outlives(make_server);
    outlives(make_streams);
    outlives(make_stream_server);
    outlives(make_lookup);
}

/* ---- closing the loop while it is awaited ---- */

TEST(loop_closed, "a loop that is closed while connections and servers are awaited leaves nothing")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 };
    struct busy busy = busy_new();
    int listener = listener_new();
    begin(connecting(busy.port, &guest), &guest);
    begin(cora_create_server(&(struct cora_server_options){ .host = "127.0.0.1" },
                             cora_partial(welcome, &guest)),
          &guest);
    begin(cora_open_connection(
              &(struct cora_connect_options){ .host = "127.0.0.1", .port = busy.port }, 0),
          &guest);
    begin(connecting(port_of(listener), &guest), &guest);
    current_loop_end(loop);
    CHECK_TEXT(guest.notes.text, "");
    close(listener);
    busy_close(busy);
}

TEST(loop_closed_lookup, "also during look-ups")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 };
    begin(cora_create_connection(&(struct cora_connect_options){ .host = "inn.slow", .port = 80 },
                                 cora_partial(welcome, &guest)),
          &guest);
    begin(cora_getaddrinfo("inn.slow", "80", NULL), &guest);
    gate_wait();
    current_loop_end(loop);
    CHECK_INT(guest.ended, 0);
    end_with_threads(current_loop_new());
}

TEST(loop_closed_gap, "also between connection_made and the callback")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 };
    int listener = listener_new();
    begin(connecting(port_of(listener), &guest), &guest);
    while (!guest.made)
        tick(loop);
    current_loop_end(loop);
    CHECK_TEXT(guest.notes.text, "made");
    CHECK_INT(guest.dropped, 1);
    close(listener);
}

TEST(loop_closed_server, "also while the end of a server is waited for, and it serves for ever")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 };
    cora_server server = server_new(loop, &guest);
    int client = client_new(cora_server_port(server));
    begin(cora_server_wait_closed(server), &guest);
    begin(cora_server_serve_forever(server), &guest);
    ticks(loop, 3);
    current_loop_end(loop);
    CHECK_TEXT(guest.notes.text, "made");
    CHECK_INT(guest.dropped, 1);
    close(client);
}

/* ---- the end of servers ---- */

TEST(wait_closed, "wait_closed waits while the server is open, and while it has connections",
     "test_server.TestServer2.test_wait_closed_basic")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 }, first = { .made = 0 }, second = { .made = 0 },
                 third = { .made = 0 }, late = { .made = 0 };
    cora_server server = server_new(loop, &guest);
    begin(cora_server_wait_closed(server), &first);
    ticks(loop, 2);
    CHECK_INT(first.ended, 0);
    int client = client_new(cora_server_port(server));
    begin(cora_server_wait_closed(server), &second);
    ticks(loop, 3);
    CHECK_INT(first.ended + second.ended, 0);
    CHECK_INT(cora_server_close(server), 0);
    begin(cora_server_wait_closed(server), &third);
    ticks(loop, 3);
    CHECK_INT(first.ended + second.ended + third.ended, 0);
    close(client);
    while (!guest.lost)
        tick(loop);
    ticks(loop, 2);
    CHECK_TEXT(first.text, "None");
    CHECK_TEXT(second.text, "None");
    CHECK_TEXT(third.text, "None");
    begin(cora_server_wait_closed(server), &late);
    tick(loop);
    CHECK_TEXT(late.text, "None");
    current_loop_end(loop);
}

struct evening {
    cora_server server;
};

static cora_next goes_home(cora_coro self)
{
    return cora_return(self, "home");
}

static cora_next awaits_end(cora_coro self)
{
    return cora_await(self, cora_server_wait_closed(cora_locals(self, struct evening)->server),
                      goes_home);
}

TEST(wait_closed_without_a_tick, "a step that waits for the end of a closed server goes on at once")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 };
    cora_server server = server_new(loop, &guest);
    CHECK_INT(cora_server_close(server), 0);
    cora_future task = cora_create_task(loop, cora_coroutine(awaits_end, struct evening, server));
    tick(loop);
    CHECK_TEXT(outcome(task), "\"home\"");
    current_loop_end(loop);
}

static void on_close_server(cora_args bound)
{
    CHECK_INT(cora_server_close(cora_arg_server(bound, 0)), 0);
}

static void on_close_transport(cora_args bound)
{
    CHECK_INT(cora_transport_close(cora_arg_transport(bound, 0)), 0);
}

TEST(wait_closed_race, "who waited before there was a client is woken when both are closed in turn",
     "test_server.TestServer2.test_wait_closed_race")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 }, outside = { .made = 0 }, waiting = { .made = 0 };
    cora_server server = server_new(loop, &guest);
    begin(cora_server_wait_closed(server), &waiting);
    tick(loop);
    cora_transport transport = cora_as_transport(
        cora_run_until_complete(loop, connecting(cora_server_port(server), &outside)));
    while (!guest.made)
        tick(loop);
    cora_call_soon(loop, cora_partial(on_close_server, server));
    cora_call_soon(loop, cora_partial(on_close_transport, transport));
    CHECK(cora_is_nothing(cora_run_until_complete(loop, cora_server_wait_closed(server))));
    ticks(loop, 2);
    CHECK_INT(waiting.ended, 1);
    current_loop_end(loop);
}

TEST(close_clients, "close_clients ends who waits for a closed server within two ticks",
     "test_server.TestServer2.test_close_clients")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 }, waiting = { .made = 0 };
    cora_server server = server_new(loop, &guest);
    int client = client_new(cora_server_port(server));
    begin(cora_server_wait_closed(server), &waiting);
    while (!guest.made)
        tick(loop);
    CHECK_INT(waiting.ended, 0);
    CHECK_INT(cora_server_close(server), 0);
    CHECK_INT(cora_server_close_clients(server), 0);
    ticks(loop, 3); /* connection_lost, then the waiter, then its callback */
    CHECK_INT(waiting.ended, 1);
    CHECK_INT(guest.lost, 1);
    close(client);
    current_loop_end(loop);
}

TEST(abort_clients, "abort_clients does so, too, with a peer that does not read",
     "test_server.TestServer2.test_abort_clients")
{
    static const char letters[1 << 20];
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 }, waiting = { .made = 0 };
    cora_server server = server_new(loop, &guest);
    int client = client_new(cora_server_port(server));
    begin(cora_server_wait_closed(server), &waiting);
    while (!guest.made)
        tick(loop);
    while (cora_transport_get_write_buffer_size(guest.transport) == 0)
        CHECK_INT(cora_transport_write(guest.transport, letters, sizeof letters), 0);
    tick(loop);
    CHECK_INT(waiting.ended, 0);
    CHECK_INT(cora_server_close(server), 0);
    CHECK_INT(cora_server_abort_clients(server), 0);
    ticks(loop, 3);
    CHECK_INT(waiting.ended, 1);
    close(client);
    current_loop_end(loop);
}

TEST(wait_closed_cancelled, "a wait for the end that is cancelled leaves the server and the others")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 }, first = { .made = 0 }, second = { .made = 0 };
    cora_server server = server_new(loop, &guest);
    cora_future future = begin(cora_server_wait_closed(server), &first);
    begin(cora_server_wait_closed(server), &second);
    tick(loop);
    CHECK(cora_cancel(future));
    ticks(loop, 2);
    CHECK_INT(first.code, CORA_ECANCELLED);
    CHECK(cora_server_is_serving(server));
    CHECK_INT(second.ended, 0);
    CHECK_INT(cora_server_close(server), 0);
    ticks(loop, 2);
    CHECK_TEXT(second.text, "None");
    current_loop_end(loop);
}

TEST(wait_closed_null, "the end of nothing, or of something else, is an error")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 };
    cora_server server = server_new(loop, &guest);
    int client = client_new(cora_server_port(server));
    while (!guest.made)
        tick(loop);
    cora_server other = { guest.transport.bits };
    CHECK(cora_error_is(cora_run_until_complete(loop, cora_server_wait_closed((cora_server){ 0 })),
                        CORA_EMEMORY));
    CHECK(cora_error_is(cora_run_until_complete(loop, cora_server_wait_closed(other)), CORA_ETYPE));
    CHECK(
        cora_error_is(cora_run_until_complete(loop, cora_server_serve_forever(other)), CORA_ETYPE));
    close(client);
    current_loop_end(loop);
}

TEST(loop_of, "a server is of the loop that it was made in; close and wait_closed work",
     "test_events.TestServer.test_get_loop")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 };
    cora_server server = server_new(loop, &guest);
    CHECK(cora_same(cora_server_loop(server), loop));
    CHECK_INT(cora_server_close(server), 0);
    CHECK(cora_is_nothing(cora_run_until_complete(loop, cora_server_wait_closed(server))));
    current_loop_end(loop);
}

/* ---- serving for ever ---- */

static cora_server later_new(cora_loop loop, struct guest *guest)
{
    return cora_as_server(cora_run_until_complete(
        loop, cora_create_server(
                  &(struct cora_server_options){ .host = "127.0.0.1", .start_later = true },
                  cora_partial(welcome, guest))));
}

TEST(forever, "serve_forever starts a server; cancelled, it closes it, and ends cancelled")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 }, serving = { .made = 0 };
    cora_server server = later_new(loop, &guest);
    CHECK(!cora_server_is_serving(server));
    cora_future future = begin(cora_server_serve_forever(server), &serving);
    CHECK(cora_server_is_serving(server));
    int client = client_new(cora_server_port(server));
    while (!guest.made)
        tick(loop);
    close(client);
    while (!guest.lost)
        tick(loop);
    CHECK_INT(serving.ended, 0);
    CHECK(cora_cancel(future));
    ticks(loop, 3);
    CHECK_INT(serving.code, CORA_ECANCELLED);
    CHECK_INT(cora_server_socket(server, 0), -1);
    CHECK(!cora_server_is_serving(server));
    CHECK(strstr(came(loop, cora_server_serve_forever(server)), "RuntimeError: "));
    CHECK(strstr(came(loop, cora_server_serve_forever(server)), "is closed"));
    current_loop_end(loop);
}

TEST(forever_waits, "a cancelled serve_forever ends when the last connection is over")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 }, serving = { .made = 0 };
    cora_server server = server_new(loop, &guest);
    int client = client_new(cora_server_port(server));
    cora_future future = begin(cora_server_serve_forever(server), &serving);
    while (!guest.made)
        tick(loop);
    CHECK(cora_cancel(future));
    ticks(loop, 4);
    CHECK_INT(serving.ended, 0);
    CHECK_INT(cora_server_socket(server, 0), -1);
    close(client);
    while (!guest.lost)
        tick(loop);
    ticks(loop, 2);
    CHECK_INT(serving.code, CORA_ECANCELLED);
    current_loop_end(loop);
}

TEST(forever_waits_with_message,
     "the message of who cancels serve_forever is there when the last connection is over")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 }, serving = { .made = 0 };
    cora_server server = server_new(loop, &guest);
    int client = client_new(cora_server_port(server));
    cora_future future = begin(cora_server_serve_forever(server), &serving);
    while (!guest.made)
        tick(loop);
    CHECK(cora_cancel_with(future, "closing time"));
    ticks(loop, 4);
    CHECK_INT(serving.ended, 0);
    close(client);
    while (!guest.lost)
        tick(loop);
    ticks(loop, 2);
    CHECK_TEXT(serving.text, "CancelledError: closing time");
    current_loop_end(loop);
}

TEST(forever_cancelled_twice, "cancelled again while it waits for connections it ends at once")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 }, serving = { .made = 0 };
    cora_server server = server_new(loop, &guest);
    int client = client_new(cora_server_port(server));
    cora_future future = begin(cora_server_serve_forever(server), &serving);
    while (!guest.made)
        tick(loop);
    CHECK(cora_cancel(future));
    ticks(loop, 2);
    CHECK(cora_cancel(future));
    ticks(loop, 2);
    CHECK_INT(serving.code, CORA_ECANCELLED);
    CHECK_INT(guest.lost, 0);
    close(client);
    current_loop_end(loop);
}

TEST(forever_twice, "a second serve_forever is a RuntimeError; the first one goes on")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 }, serving = { .made = 0 };
    cora_server server = server_new(loop, &guest);
    begin(cora_server_serve_forever(server), &serving);
    CHECK(strstr(came(loop, cora_server_serve_forever(server)),
                 "is already being awaited on serve_forever()"));
    CHECK_INT(serving.ended, 0);
    CHECK(cora_server_is_serving(server));
    current_loop_end(loop);
}

TEST(forever_closed, "closing the server ends serve_forever with Cancelled")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 }, serving = { .made = 0 };
    cora_server server = server_new(loop, &guest);
    begin(cora_server_serve_forever(server), &serving);
    tick(loop);
    CHECK_INT(cora_server_close(server), 0);
    ticks(loop, 3);
    CHECK_INT(serving.code, CORA_ECANCELLED);
    current_loop_end(loop);
}

TEST(forever_closed_with_clients, "then, too, it waits for the last connection")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 }, serving = { .made = 0 };
    cora_server server = server_new(loop, &guest);
    int client = client_new(cora_server_port(server));
    begin(cora_server_serve_forever(server), &serving);
    while (!guest.made)
        tick(loop);
    CHECK_INT(cora_server_close(server), 0);
    ticks(loop, 4);
    CHECK_INT(serving.ended, 0);
    close(client);
    while (!guest.lost)
        tick(loop);
    ticks(loop, 2);
    CHECK_INT(serving.code, CORA_ECANCELLED);
    current_loop_end(loop);
}

TEST(forever_closed_and_cancelled, "closed and cancelled in the same tick it ends once, cancelled")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 }, serving = { .made = 0 };
    cora_server server = server_new(loop, &guest);
    cora_future future = begin(cora_server_serve_forever(server), &serving);
    tick(loop);
    CHECK_INT(cora_server_close(server), 0);
    CHECK(cora_cancel(future));
    ticks(loop, 3);
    CHECK_INT(serving.ended, 1);
    CHECK_INT(serving.code, CORA_ECANCELLED);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

TEST(forever_null, "serving with nothing for ever is an error")
{
    cora_loop loop = current_loop_new();
    CHECK(cora_is_error(
        cora_run_until_complete(loop, cora_server_serve_forever((cora_server){ 0 }))));
    current_loop_end(loop);
}

/* ---- addresses ---- */

TEST(getaddrinfo, "getaddrinfo ends with addresses")
{
    cora_loop loop = current_loop_new();
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    cora_value addresses =
        cora_run_until_complete(loop, cora_getaddrinfo("127.0.0.1", "4711", &hints));
    const struct addrinfo *first = cora_as_addresses(addresses);
    CHECK(first != NULL);
    CHECK_INT(first->ai_family, AF_INET);
    CHECK_INT(ntohs(((struct sockaddr_in *)(void *)first->ai_addr)->sin_port), 4711);
    current_loop_end(loop);
}

TEST(getaddrinfo_in_thread, "a name is looked up by a thread, and the loop waits for that")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_set_current_loop(loop);
    gate_set(true);
    CHECK(
        cora_as_addresses(cora_run_until_complete(loop, cora_getaddrinfo("inn.slow", NULL, NULL))));
    gate_set(false);
    cora_set_current_loop((cora_loop){ 0 });
    cora_loop_close(loop);
}

TEST(getnameinfo, "getnameinfo ends with a host and a service")
{
    cora_loop loop = current_loop_new();
    struct sockaddr_in address = loopback(4711);
    cora_value parts =
        cora_run_until_complete(loop, cora_getnameinfo((struct sockaddr *)&address, sizeof address,
                                                       NI_NUMERICHOST | NI_NUMERICSERV));
    CHECK_TEXT(cora_as_text(cora_list_at(parts, 0)), "127.0.0.1");
    CHECK_TEXT(cora_as_text(cora_list_at(parts, 1)), "4711");
    current_loop_end(loop);
}

TEST(getnameinfo_wrong, "an address that is too large to be one is a ValueError")
{
    cora_loop loop = current_loop_new();
    struct sockaddr_storage address = { .ss_family = AF_INET };
    CHECK(cora_error_is(
        cora_run_until_complete(loop, cora_getnameinfo((struct sockaddr *)&address, 4000, 0)),
        CORA_EVALUE));
    CHECK(cora_error_is(
        cora_run_until_complete(loop, cora_getnameinfo((struct sockaddr *)&address, 0, 0)),
        CORA_EVALUE));
    current_loop_end(loop);
}

TEST(getnameinfo_null, "an address of no bytes may be null: that is a ValueError, too")
{
    cora_loop loop = current_loop_new();
    CHECK(cora_error_is(cora_run_until_complete(loop, cora_getnameinfo(NULL, 0, 0)), CORA_EVALUE));
    current_loop_end(loop);
}

/* ---- the last error ---- */

TEST(last_error_of_addresses, "look-ups that work leave the last error alone")
{
    cora_loop loop = current_loop_new();
    struct sockaddr_in address = loopback(4711);
    cora_set_last_error(cora_error(CORA_EKEY, "no such guest"));
    cora_run_until_complete(loop, cora_getaddrinfo("127.0.0.1", "80", NULL));
    CHECK_INT(cora_last_error_code(), CORA_EKEY);
    cora_run_until_complete(loop, cora_getnameinfo((struct sockaddr *)&address, sizeof address,
                                                   NI_NUMERICHOST | NI_NUMERICSERV));
    CHECK_INT(cora_last_error_code(), CORA_EKEY);
    (void)cora_getaddrinfo("127.0.0.1", "80", NULL); /* never awaited */
    cora_drop_temporaries();
    CHECK_INT(cora_last_error_code(), CORA_EKEY);
    current_loop_end(loop);
}

TEST(last_error_in_thread, "so does a look-up by a thread")
{
    cora_loop loop = cora_loop_new(NULL);
    cora_set_current_loop(loop);
    gate_set(true);
    cora_set_last_error(cora_error(CORA_EKEY, "no such guest"));
    cora_run_until_complete(loop, cora_getaddrinfo("inn.slow", NULL, NULL));
    CHECK_INT(cora_last_error_code(), CORA_EKEY);
    gate_set(false);
    cora_set_current_loop((cora_loop){ 0 });
    cora_loop_close(loop);
}

TEST(last_error_of_servers, "connecting, serving, closing and waiting for the end leave it alone")
{
    cora_loop loop = current_loop_new();
    struct guest guest = { .made = 0 }, outside = { .made = 0 };
    cora_set_last_error(cora_error(CORA_EKEY, "no such guest"));
    cora_server server = server_new(loop, &guest);
    CHECK_INT(cora_last_error_code(), CORA_EKEY);
    cora_run_until_complete(loop, connecting(cora_server_port(server), &outside));
    CHECK_INT(cora_last_error_code(), CORA_EKEY);
    cora_transport_close(outside.transport);
    while (!guest.lost)
        tick(loop);
    CHECK_INT(cora_server_close(server), 0);
    CHECK_INT(cora_last_error_code(), CORA_EKEY);
    CHECK(cora_is_nothing(cora_run_until_complete(loop, cora_server_wait_closed(server))));
    CHECK_INT(cora_last_error_code(), CORA_EKEY);
    current_loop_end(loop);
}

/* ---- as a guest ---- */

TEST(guest, "a guest awaits a server and a connection while its host runs")
{
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    cora_loop loop = cora_loop_attach(host, NULL);
    struct guest guest = { .made = 0 }, outside = { .made = 0 };
    cora_set_current_loop(loop);
    begin(cora_create_server(&(struct cora_server_options){ .host = "127.0.0.1" },
                             cora_partial(welcome, &guest)),
          &guest);
    while (!guest.ended)
        ev_run(host, EVRUN_ONCE);
    cora_server server = cora_as_server(guest.value);
    begin(connecting(cora_server_port(server), &outside), &outside);
    while (!outside.ended || !guest.made)
        ev_run(host, EVRUN_ONCE);
    CHECK_INT(cora_server_close(server), 0);
    CHECK_INT(cora_transport_close(outside.transport), 0);
    ev_run(host, 0);
    CHECK_INT(guest.lost, 1);
    CHECK_INT(outside.lost, 1);
    cora_set_current_loop((cora_loop){ 0 });
    CHECK_INT(cora_loop_detach(loop), 0);
    ev_loop_destroy(host);
}
