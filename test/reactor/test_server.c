/*
 * Serving: a post office that listens, and its clerks, who are the protocols of its connections.
 *
 * The clients are plain sockets of the loopback device, which the kernel connects without the loop.
 * The library's calls of getaddrinfo, accept4, bind and setsockopt come here first, so that they
 * can fail when a test wants that.
 */
#include "harness.h"

#include <arpa/inet.h>
#include <cora.h>
#include <cora/virtual_clock.h>
#include <dlfcn.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define START 1000.0 /* what the virtual clock shows first */

/* ---- the system as the library sees it ---- */

static int accept_error;  /* of all calls, until it is 0 */
static int accept_errors; /* only of so many calls; 0: of all */
static int accepts;       /* calls */
static int bind_error;    /* of all binds to this address */
static char bind_error_address[INET6_ADDRSTRLEN];
static int option_error; /* of this option */
static int option_error_name;
static int socket_error; /* of this family */
static int socket_error_family;
static char asked_host[100]; /* of getaddrinfo; (null) */
static int asked_flags;

#define NEXT(name) (*(void **)&next = dlsym(RTLD_NEXT, name))

int getaddrinfo(const char *restrict host, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict ret_list)
{
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    NEXT("getaddrinfo");
    snprintf(asked_host, sizeof asked_host, "%s", host ? host : "(null)");
    asked_flags = hints ? hints->ai_flags : 0;
    *ret_list = NULL;
    if (host && strcmp(host, "empty.office") == 0)
        return 0;
    if (host && strcmp(host, "unknown.office") == 0)
        return EAI_NONAME;
    if (host && strcmp(host, "main.office") == 0)
        host = "127.0.0.1";
    return next(host, service, hints, ret_list);
}

int socket(int family, int type, int protocol)
{
    int (*next)(int, int, int);
    NEXT("socket");
    if (socket_error && family == socket_error_family) {
        errno = socket_error;
        return -1;
    }
    return next(family, type, protocol);
}

int setsockopt(int descriptor, int level, int name, const void *value, socklen_t size)
{
    int (*next)(int, int, int, const void *, socklen_t);
    NEXT("setsockopt");
    if (option_error && name == option_error_name && level == SOL_SOCKET) {
        errno = option_error;
        return -1;
    }
    return next(descriptor, level, name, value, size);
}

/* Under names of their own, as the C library declares theirs with another type of address. */
int our_bind(int descriptor, const struct sockaddr *address, socklen_t size) __asm__("bind");
int our_accept4(int descriptor, struct sockaddr *address, socklen_t *size,
                int flags) __asm__("accept4");

int our_bind(int descriptor, const struct sockaddr *address, socklen_t size)
{
    int (*next)(int, const struct sockaddr *, socklen_t);
    char text[INET6_ADDRSTRLEN] = "";
    NEXT("bind");
    if (address->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr, text,
                  sizeof text);
    if (!bind_error || strcmp(text, bind_error_address) != 0)
        return next(descriptor, address, size);
    errno = bind_error;
    return -1;
}

int our_accept4(int descriptor, struct sockaddr *address, socklen_t *size, int flags)
{
    int (*next)(int, struct sockaddr *, socklen_t *, int);
    NEXT("accept4");
    accepts++;
    if (!accept_error)
        return next(descriptor, address, size, flags);
    errno = accept_error;
    if (accept_errors > 0 && --accept_errors == 0)
        accept_error = 0;
    return -1;
}

/* ---- an office ---- */

/* What is done in one of its callbacks. */
enum deed {
    NOTHING,
    CLOSE, /* the server */
    STOP,  /* serving */
    CLOSE_CLIENTS,
    ABORT_CLIENTS,
    FAIL,
    INTERRUPT,
    MAKE_NONE, /* in the factory */
    WRITE_MUCH,
};

struct office {
    cora_server server; /* of cora_listen, also before the callback */
    cora_server served; /* of the outcome */
    char text[600];     /* the outcome, as cora_print writes it */
    int code;           /* of the outcome, if that is an error */
    int told;
    int factories, made, lost, protocols_dropped;
    int dropped; /* bound arguments */
    int errors;  /* connections that were lost with an error */
    char received[200];
    char district[20];   /* the variable that the factory has seen last */
    cora_transport last; /* connection */
    size_t clients_when_lost;
    enum deed when_told, in_factory, when_made, when_data, when_lost;
    int reports;
    char message[200], report_error[200]; /* of the last report */
    enum deed when_reported;
};

static void act(struct office *office, enum deed deed)
{
    static const char letters[1 << 20];
    switch (deed) {
    case CLOSE:
        CHECK_INT(cora_server_close(office->server), 0);
        break;
    case STOP:
        CHECK_INT(cora_server_stop_serving(office->server), 0);
        break;
    case CLOSE_CLIENTS:
        CHECK_INT(cora_server_close_clients(office->server), 0);
        break;
    case ABORT_CLIENTS:
        CHECK_INT(cora_server_abort_clients(office->server), 0);
        break;
    case FAIL:
        cora_fail(cora_error(CORA_EVALUE, "out of stamps"));
        break;
    case INTERRUPT:
        cora_fail(cora_error(CORA_EKEYBOARDINTERRUPT, NULL));
        break;
    case WRITE_MUCH:
        while (cora_transport_get_write_buffer_size(office->last) == 0)
            CHECK_INT(cora_transport_write(office->last, letters, sizeof letters), 0);
        break;
    case NOTHING:
    case MAKE_NONE:
        break;
    }
}

static void clerk_made(void *self, cora_transport transport)
{
    struct office *office = self;
    office->made++;
    office->last = transport;
    act(office, office->when_made);
}

static void clerk_data(void *self, cora_transport transport, const void *bytes, size_t size)
{
    struct office *office = self;
    size_t length = strlen(office->received);
    (void)transport;
    snprintf(office->received + length, sizeof office->received - length, "%.*s", (int)size,
             (const char *)bytes);
    act(office, office->when_data);
}

static void clerk_lost(void *self, cora_transport transport, cora_value error)
{
    struct office *office = self;
    (void)transport;
    office->lost++;
    office->errors += cora_is_error(error);
    office->clients_when_lost = cora_server_clients(office->server);
    act(office, office->when_lost);
}

static void clerk_drop(void *self)
{
    ((struct office *)self)->protocols_dropped++;
}

static const struct cora_protocol_type clerk = { .name = "Clerk",
                                                 .connection_made = clerk_made,
                                                 .data_received = clerk_data,
                                                 .connection_lost = clerk_lost,
                                                 .drop = clerk_drop };

static const cora_variable district = { "district", { 0 } };

static cora_protocol clerk_new(cora_args bound)
{
    struct office *office = cora_arg(bound, 0, struct office *);
    cora_value name = cora_context_get(&district);
    snprintf(office->district, sizeof office->district, "%s",
             cora_is_nothing(name) ? "" : cora_as_text(name));
    office->factories++;
    act(office, office->in_factory);
    if (office->in_factory == MAKE_NONE)
        return (cora_protocol){ 0 };
    return (cora_protocol){ &clerk, office };
}

static void on_listening(cora_args bound, cora_value outcome)
{
    struct office *office = cora_arg(bound, 0, struct office *);
    office->told++;
    cora_print(outcome, office->text, sizeof office->text);
    office->code = cora_error_code(outcome);
    if (!cora_is_error(outcome))
        office->served = cora_as_server(outcome);
    act(office, office->when_told);
    cora_stop(cora_running_loop());
}

static void on_report(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    struct office *office = cora_arg(bound, 0, struct office *);
    (void)loop;
    office->reports++;
    snprintf(office->message, sizeof office->message, "%s", report->message);
    cora_print(report->exception, office->report_error, sizeof office->report_error);
    act(office, office->when_reported);
}

static void count_drop(void *pointer)
{
    ++*(int *)pointer;
}

static const cora_type counted = { "counted", count_drop, NULL, 0 };

/* Begins to listen; both callbacks are bound to something that counts its drop. */
static void open_up(cora_loop loop, struct office *office,
                    const struct cora_server_options *options)
{
    cora_set_exception_handler(loop, cora_partial(on_report, office));
    office->server = cora_listen(
        loop, options, cora_partial(clerk_new, office, cora_own(&office->dropped, &counted)),
        cora_partial(on_listening, office, cora_own(&office->dropped, &counted)));
    cora_drop_temporaries();
}

/* ---- running ---- */

static cora_loop loop_new(void)
{
    cora_virtual_clock_start(START);
    return cora_loop_new(NULL);
}

/* The system is as it was again. */
static void system_mend(void)
{
    accept_error = accept_errors = accepts = 0;
    bind_error = option_error = socket_error = 0;
}

static void end(cora_loop loop)
{
    cora_loop_close(loop);
    cora_virtual_clock_stop();
    system_mend();
}

static void tick(cora_loop loop)
{
    cora_stop(loop);
    CHECK_INT(cora_run_forever(loop), 0);
}

static void ticks(cora_loop loop, int count)
{
    while (count-- > 0)
        tick(loop);
}

static void on_stop(cora_args bound)
{
    (void)bound;
    cora_stop(cora_running_loop());
}

static void run_for(cora_loop loop, double seconds)
{
    cora_call_later(loop, seconds, cora_partial(on_stop));
    CHECK_INT(cora_run_forever(loop), 0);
}

/* Listens, and runs until it is told what has come of it. */
static void listens(cora_loop loop, struct office *office,
                    const struct cora_server_options *options)
{
    open_up(loop, office, options);
    CHECK(!cora_is_null(office->server));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(office->told, 1);
}

/* The same at a port of 127.0.0.1. */
static void opens(cora_loop loop, struct office *office)
{
    listens(loop, office, &(struct cora_server_options){ .host = "127.0.0.1" });
    CHECK_TEXT(office->text[0] == '<' ? "" : office->text, "");
    CHECK(cora_same(office->server, office->served));
}

/* What is given as an error, in the very call. */
static int refused(const struct cora_server_options *options)
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    open_up(loop, &office, options);
    CHECK(cora_is_null(office.server));
    CHECK_INT(office.dropped, 2);
    tick(loop);
    CHECK_INT(office.told, 0);
    end(loop);
    return cora_last_error_code();
}

/* ---- clients ---- */

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

/* A client that is connected, as the kernel sees it; -1 and errno. */
static int client_try(int port)
{
    struct sockaddr_in address = loopback(port);
    int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(made >= 0);
    if (connect(made, (struct sockaddr *)&address, sizeof address) == 0)
        return made;
    int error = errno;
    close(made);
    errno = error;
    return -1;
}

static int client_new(int port)
{
    int made = client_try(port);
    CHECK(made >= 0);
    return made;
}

/* The same over IPv6. */
static int client_six(int port)
{
    struct sockaddr_in6 address = { .sin6_family = AF_INET6,
                                    .sin6_port = htons((uint16_t)port),
                                    .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int made = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(made >= 0);
    CHECK_INT(connect(made, (struct sockaddr *)&address, sizeof address), 0);
    return made;
}

static void need_ipv6(void)
{
    struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int made = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int code = made < 0 ? -1 : bind(made, (struct sockaddr *)&address, sizeof address);
    if (made >= 0)
        close(made);
    if (code < 0)
        SKIP("no IPv6 here: %s", strerror(errno));
}

/* A socket that is bound to 127.0.0.1, and does not listen. */
static int bound_new(void)
{
    struct sockaddr_in address = loopback(0);
    int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(bind(made, (struct sockaddr *)&address, sizeof address), 0);
    return made;
}

static int port_of(int descriptor)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    CHECK_INT(getsockname(descriptor, (struct sockaddr *)&address, &size), 0);
    return ntohs(((struct sockaddr_in *)&address)->sin_port); /* of IPv6 at the same place */
}

static int option_of(int descriptor, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof value;
    CHECK_INT(getsockopt(descriptor, level, name, &value, &size), 0);
    return value;
}

static void put(int descriptor, const char *text)
{
    CHECK_INT(write(descriptor, text, strlen(text)), (ssize_t)strlen(text));
}

/* Whether the peer has closed, in good order or not. */
static bool peer_closed(int descriptor)
{
    char byte;
    return recv(descriptor, &byte, 1, 0) <= 0;
}

/* ---- a server ---- */

TEST(serve,
     "a server makes a protocol for each client, who is known by name, and reads what it sends",
     "test_events.EventLoopTestsMixin.test_create_server")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    opens(loop, &office);
    CHECK(cora_server_socket(office.server, 0) >= 0);
    CHECK_INT(cora_server_socket(office.server, 1), -1);
    int client = client_new(cora_server_port(office.server));
    put(client, "abc");
    while (!office.received[0])
        tick(loop);
    CHECK_INT(office.made, 1);
    CHECK_TEXT(office.received, "abc");
    cora_value own = cora_transport_get_extra_info(office.last, "sockname", cora_nothing());
    CHECK_TEXT(cora_as_text(cora_list_at(own, 0)), "127.0.0.1");
    CHECK_INT(cora_as_int(cora_list_at(own, 1)), cora_server_port(office.server));
    cora_value peer = cora_transport_get_extra_info(office.last, "peername", cora_nothing());
    CHECK_TEXT(cora_as_text(cora_list_at(peer, 0)), "127.0.0.1");
    CHECK_INT(cora_as_int(cora_list_at(peer, 1)), port_of(client));
    cora_transport_close(office.last);
    ticks(loop, 2);
    CHECK_INT(office.lost, 1);
    CHECK(peer_closed(client));
    close(client);
    end(loop);
}

TEST(given_socket, "a bound socket is listened to as it is",
     "test_events.EventLoopTestsMixin.test_create_server_sock")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    int bound = bound_new(), port = port_of(bound);
    listens(loop, &office, &(struct cora_server_options){ .socket = bound });
    CHECK_INT(cora_server_socket(office.server, 0), bound);
    CHECK_INT(cora_server_port(office.server), port);
    int client = client_new(port);
    ticks(loop, 2);
    CHECK_INT(office.made, 1);
    close(client);
    end(loop);
}

TEST(given_nonblocking, "a stream socket that does not block is one, too",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_server_stream_bittype")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    int made = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = loopback(0);
    CHECK_INT(bind(made, (struct sockaddr *)&address, sizeof address), 0);
    listens(loop, &office, &(struct cora_server_options){ .socket = made });
    CHECK_INT(cora_server_socket(office.server, 0), made);
    end(loop);
}

TEST(ipv6, "a server at ::1 has a socket, and closes as any other",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_server_ipv6")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    need_ipv6();
    listens(loop, &office, &(struct cora_server_options){ .host = "::1" });
    CHECK(cora_server_socket(office.server, 0) >= 0);
    int client = client_six(cora_server_port(office.server));
    ticks(loop, 2);
    CHECK_INT(office.made, 1);
    close(client);
    CHECK_INT(cora_server_close(office.server), 0);
    CHECK_INT(cora_server_socket(office.server, 0), -1);
    end(loop);
}

TEST(several_hosts, "each of several hosts is bound, one that is named twice once",
     "test_events.EventLoopTestsMixin.test_create_server_multiple_hosts_ipv4")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    const char *const hosts[] = { "127.0.0.1", "127.0.0.2", "127.0.0.1" };
    listens(loop, &office, &(struct cora_server_options){ .hosts = hosts, .host_count = 3 });
    CHECK(cora_server_socket(office.server, 1) >= 0);
    CHECK_INT(cora_server_socket(office.server, 2), -1);
    int client = client_new(cora_server_port(office.server));
    ticks(loop, 2);
    CHECK_INT(office.made, 1);
    close(client);
    end(loop);
}

TEST(several_hosts_ipv6, "an address of IPv6 that is named twice is bound once",
     "test_events.EventLoopTestsMixin.test_create_server_multiple_hosts_ipv6")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    const char *const hosts[] = { "::1", "::1", "0:0:0:0:0:0:0:1" };
    need_ipv6();
    listens(loop, &office, &(struct cora_server_options){ .hosts = hosts, .host_count = 3 });
    CHECK(cora_server_socket(office.server, 0) >= 0);
    CHECK_INT(cora_server_socket(office.server, 1), -1);
    end(loop);
}

TEST(both_families, "without a host both families are bound, each on its own, at the same port",
     "test_events.EventLoopTestsMixin.test_create_server_dual_stack")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    need_ipv6();
    int bound = bound_new(), port = port_of(bound);
    close(bound);
    listens(loop, &office, &(struct cora_server_options){ .port = port });
    CHECK_INT(cora_server_socket(office.server, 2), -1);
    for (size_t i = 0; i < 2; i++)
        CHECK_INT(port_of(cora_server_socket(office.server, i)), port);
    int four = client_new(port), six = client_six(port);
    ticks(loop, 2);
    CHECK_INT(office.made, 2);
    close(four);
    close(six);
    end(loop);
}

TEST(ipv6_only, "a socket of IPv6 takes no clients of IPv4")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    need_ipv6();
    listens(loop, &office, &(struct cora_server_options){ .host = "::" });
    CHECK_INT(option_of(cora_server_socket(office.server, 0), IPPROTO_IPV6, IPV6_V6ONLY), 1);
    CHECK_INT(client_try(cora_server_port(office.server)), -1);
    CHECK_INT(errno, ECONNREFUSED);
    end(loop);
}

TEST(empty_host, "an empty host is all addresses of this machine",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_server_empty_host")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    listens(loop, &office, &(struct cora_server_options){ .host = "", .family = AF_INET });
    CHECK_TEXT(asked_host, "(null)");
    CHECK(asked_flags & AI_PASSIVE);
    cora_value name;
    int client = client_new(cora_server_port(office.server));
    ticks(loop, 2);
    CHECK_INT(office.made, 1);
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    CHECK_INT(getsockname(cora_server_socket(office.server, 0), (struct sockaddr *)&address, &size),
              0);
    name = cora_from_address((struct sockaddr *)&address, size);
    CHECK_TEXT(cora_as_text(cora_list_at(name, 0)), "0.0.0.0");
    close(client);
    end(loop);
}

TEST(family, "with a family only its addresses are bound")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    listens(loop, &office, &(struct cora_server_options){ .host = "", .family = AF_INET });
    CHECK_INT(option_of(cora_server_socket(office.server, 0), SOL_SOCKET, SO_DOMAIN), AF_INET);
    CHECK_INT(cora_server_socket(office.server, 1), -1);
    end(loop);
}

TEST(named_host, "a name is looked up by a thread")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    listens(loop, &office, &(struct cora_server_options){ .host = "main.office" });
    int client = client_new(cora_server_port(office.server));
    ticks(loop, 2);
    CHECK_INT(office.made, 1);
    close(client);
    end(loop);
}

TEST(variables, "factories see the variables of who listens, also when a name was looked up")
{
    const char *const hosts[] = { "127.0.0.1", "main.office" };
    for (int i = 0; i < 2; i++) {
        cora_loop loop = loop_new();
        struct office office = { .told = 0 };
        CHECK_INT(cora_context_set(&district, cora_static("north")), 0);
        open_up(loop, &office, &(struct cora_server_options){ .host = hosts[i] });
        CHECK_INT(cora_context_set(&district, cora_nothing()), 0);
        CHECK_INT(cora_run_forever(loop), 0);
        int client = client_new(cora_server_port(office.server));
        ticks(loop, 2);
        CHECK_TEXT(office.district, "north");
        close(client);
        end(loop);
    }
}

TEST(reuse_port, "SO_REUSEPORT is on when it is asked for, else off",
     "test_events.EventLoopTestsMixin.test_create_server_reuse_port")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 }, sharing = { .told = 0 };
    opens(loop, &office);
    CHECK_INT(option_of(cora_server_socket(office.server, 0), SOL_SOCKET, SO_REUSEPORT), 0);
    listens(loop, &sharing,
            &(struct cora_server_options){ .host = "127.0.0.1", .reuse_port = true });
    CHECK_INT(option_of(cora_server_socket(sharing.server, 0), SOL_SOCKET, SO_REUSEPORT), 1);
    end(loop);
}

TEST(reuse_address, "SO_REUSEADDR is on, unless it is not wanted")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 }, other = { .told = 0 };
    opens(loop, &office);
    CHECK_INT(option_of(cora_server_socket(office.server, 0), SOL_SOCKET, SO_REUSEADDR), 1);
    listens(loop, &other,
            &(struct cora_server_options){ .host = "127.0.0.1", .no_reuse_address = true });
    CHECK_INT(option_of(cora_server_socket(other.server, 0), SOL_SOCKET, SO_REUSEADDR), 0);
    end(loop);
}

TEST(keep_alive, "with keep_alive it is on in the connections")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    listens(loop, &office,
            &(struct cora_server_options){ .host = "127.0.0.1", .keep_alive = true });
    int client = client_new(cora_server_port(office.server));
    ticks(loop, 2);
    CHECK_INT(option_of(cora_transport_socket(office.last), SOL_SOCKET, SO_KEEPALIVE), 1);
    close(client);
    end(loop);
}

TEST(nodelay, "an accepted connection has TCP_NODELAY on, does not block, and is not inherited",
     "test_base_events.TestSelectorUtils.test_set_nodelay")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    opens(loop, &office);
    int client = client_new(cora_server_port(office.server));
    ticks(loop, 2);
    int accepted = cora_transport_socket(office.last);
    CHECK_INT(option_of(client, IPPROTO_TCP, TCP_NODELAY), 0);
    CHECK_INT(option_of(accepted, IPPROTO_TCP, TCP_NODELAY), 1);
    CHECK(fcntl(accepted, F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(accepted, F_GETFD) & FD_CLOEXEC);
    close(client);
    end(loop);
}

TEST(listening_socket, "a listening socket can be asked, and duplicated, and is not inherited",
     "test_events.EventLoopTestsMixin.test_create_server_trsock")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    opens(loop, &office);
    int listening = cora_server_socket(office.server, 0);
    int copy = fcntl(listening, F_DUPFD_CLOEXEC, 0);
    CHECK(fcntl(listening, F_GETFD) & FD_CLOEXEC);
    CHECK(fcntl(listening, F_GETFL) & O_NONBLOCK);
    CHECK_INT(option_of(copy, SOL_SOCKET, SO_ACCEPTCONN), 1);
    CHECK_INT(port_of(copy), cora_server_port(office.server));
    close(copy);
    end(loop);
}

TEST(print, "a server prints its addresses, and how many connections it has")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    char text[100], expected[100];
    opens(loop, &office);
    int port = cora_server_port(office.server), client = client_new(port);
    ticks(loop, 2);
    snprintf(expected, sizeof expected, "<Server sockets=[127.0.0.1:%d] clients=1>", port);
    CHECK_INT(cora_server_print(office.server, text, sizeof text), (int)strlen(expected));
    CHECK_TEXT(text, expected);
    close(client);
    end(loop);
}

/* Bound to an office, whose text gets what the server prints. */
static void ask_and_print(cora_args bound)
{
    struct office *office = cora_arg(bound, 0, struct office *);
    CHECK_INT(cora_server_port(office->server), 0);
    CHECK(cora_server_print(office->server, office->text, sizeof office->text) > 0);
}

TEST(print_local, "a server of a local socket has no port, and prints its path")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char folder[] = "/tmp/officeXXXXXX";
    int bound = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(mkdtemp(folder) != NULL);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/counter", folder);
    CHECK_INT(bind(bound, (struct sockaddr *)&address, sizeof address), 0);
    unlink(address.sun_path);
    rmdir(folder);
    listens(loop, &office, &(struct cora_server_options){ .socket = bound });
    cora_set_last_error(cora_error(CORA_EKEY, "no such box"));
    cora_call_soon(loop, cora_partial(ask_and_print, &office));
    tick(loop);
    CHECK_INT(cora_last_error_code(), CORA_EKEY);
    CHECK_INT(office.reports, 0);
    CHECK(strstr(office.text, "/counter]"));
    end(loop);
}

TEST(loop_of, "a server tells its loop", "test_events.TestServer.test_get_loop")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    opens(loop, &office);
    CHECK(cora_same(cora_server_loop(office.server), loop));
    CHECK_INT(cora_server_close(office.server), 0);
    CHECK(cora_is_null(cora_server_loop(office.server)));
    end(loop);
}

TEST(last_error, "listening, serving and closing leave the last error alone when they work")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    cora_set_last_error(cora_error(CORA_EKEY, "no such box"));
    opens(loop, &office);
    int client = client_new(cora_server_port(office.server));
    ticks(loop, 2);
    CHECK_INT(cora_server_close(office.server), 0);
    CHECK_INT(cora_last_error_code(), CORA_EKEY);
    CHECK_INT(cora_server_abort_clients(office.server), 0);
    ticks(loop, 2);
    CHECK_INT(cora_last_error_code(), CORA_EKEY);
    close(client);
    end(loop);
}

/* ---- what may be asked for ---- */

TEST(socket_and_host, "a host or port together with a socket is a ValueError",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_server_host_port_sock")
{
    const char *const hosts[] = { "127.0.0.1" };
    CHECK_INT(refused(&(struct cora_server_options){ .host = "", .socket = 1 }), CORA_EVALUE);
    CHECK_INT(refused(&(struct cora_server_options){ .port = 1, .socket = 1 }), CORA_EVALUE);
    CHECK_INT(refused(&(struct cora_server_options){ .service = "1", .socket = 1 }), CORA_EVALUE);
    CHECK_INT(
        refused(&(struct cora_server_options){ .hosts = hosts, .host_count = 1, .socket = 1 }),
        CORA_EVALUE);
}

TEST(nothing_given, "neither a host nor a port nor a socket is a ValueError",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_server_no_host_port_sock")
{
    CHECK_INT(refused(&(struct cora_server_options){ .backlog = 7 }), CORA_EVALUE);
}

TEST(bad_options, "ports and backlogs that cannot be, and what contradicts itself, are ValueErrors")
{
    const char *const hosts[] = { "127.0.0.1" };
    CHECK_INT(refused(&(struct cora_server_options){ .port = -1 }), CORA_EVALUE);
    CHECK_INT(refused(&(struct cora_server_options){ .port = 65536 }), CORA_EVALUE);
    CHECK_INT(refused(&(struct cora_server_options){ .port = 1, .backlog = -1 }), CORA_EVALUE);
    CHECK_INT(refused(&(struct cora_server_options){ .port = 1, .service = "1" }), CORA_EVALUE);
    CHECK_INT(refused(&(struct cora_server_options){ .host = "", .hosts = hosts, .host_count = 1 }),
              CORA_EVALUE);
}

TEST(datagram_socket, "a datagram socket is a ValueError, and stays the caller's",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_server_wrong_sock")
{
    int made = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK_INT(refused(&(struct cora_server_options){ .socket = made }), CORA_EVALUE);
    CHECK_INT(close(made), 0);
}

TEST(no_loop, "without a loop, or on a closed one, nothing listens")
{
    struct office office = { .told = 0 };
    struct cora_server_options options = { .host = "127.0.0.1" };
    cora_loop loop = loop_new();
    office.server = cora_listen((cora_loop){ 0 }, &options, cora_partial(clerk_new, &office),
                                cora_partial(on_listening, &office));
    CHECK(cora_is_null(office.server));
    CHECK_INT(cora_last_error_code(), CORA_ESTALE);
    end(loop);
    office.server = cora_listen(loop, &options, cora_partial(clerk_new, &office),
                                cora_partial(on_listening, &office));
    CHECK(cora_is_null(office.server));
    CHECK_INT(cora_last_error_code(), CORA_ERUNTIME);
}

/* ---- what goes wrong ---- */

TEST(address_in_use, "a second server at the same address is told that it is in use",
     "test_events.EventLoopTestsMixin.test_create_server_addr_in_use")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 }, second = { .told = 0 };
    char expected[200];
    opens(loop, &office);
    int port = cora_server_port(office.server);
    listens(loop, &second, &(struct cora_server_options){ .host = "127.0.0.1", .port = port });
    snprintf(expected, sizeof expected,
             "OSError: [Errno 98] Address already in use: "
             "error while attempting to bind on address ('127.0.0.1', %d)",
             port);
    CHECK_TEXT(second.text, expected);
    CHECK_INT(second.code, -EADDRINUSE);
    CHECK_INT(second.dropped, 2);
    end(loop);
}

TEST(cannot_bind, "when one address cannot be bound, that is told, and all sockets are closed",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_server_cant_bind")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    const char *const hosts[] = { "127.0.0.1", "127.0.0.2", "127.0.0.3" };
    bind_error = EACCES;
    strcpy(bind_error_address, "127.0.0.2");
    listens(loop, &office,
            &(struct cora_server_options){ .hosts = hosts, .host_count = 3, .port = 80 + 4000 });
    CHECK_TEXT(office.text, "PermissionError: [Errno 13] Permission denied: "
                            "error while attempting to bind on address ('127.0.0.2', 4080)");
    CHECK_INT(client_try(4080), -1);
    end(loop);
}

TEST(address_missing, "an address that is not this machine's is left out")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    const char *const hosts[] = { "203.0.113.9", "127.0.0.1" };
    listens(loop, &office, &(struct cora_server_options){ .hosts = hosts, .host_count = 2 });
    CHECK_INT(office.code, 0);
    CHECK(cora_server_socket(office.server, 0) >= 0);
    CHECK_INT(cora_server_socket(office.server, 1), -1);
    end(loop);
}

TEST(all_addresses_missing, "when no address can be bound, that is an OSError that says so")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    listens(loop, &office, &(struct cora_server_options){ .host = "203.0.113.9", .port = 4080 });
    CHECK(cora_error_is(cora_error(office.code, NULL), CORA_EOS));
    CHECK(strstr(office.text, "could not bind on any address") != NULL);
    end(loop);
}

TEST(family_missing, "a family that the machine does not have is left out")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    const char *const hosts[] = { "::1", "127.0.0.1" };
    socket_error = EAFNOSUPPORT;
    socket_error_family = AF_INET6;
    listens(loop, &office, &(struct cora_server_options){ .hosts = hosts, .host_count = 2 });
    CHECK_INT(office.code, 0);
    CHECK_INT(cora_server_socket(office.server, 1), -1);
    end(loop);
}

TEST(no_addresses, "a host without addresses is an OSError",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_server_no_getaddrinfo")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    listens(loop, &office, &(struct cora_server_options){ .host = "empty.office", .port = 4080 });
    CHECK(cora_error_is(cora_error(office.code, NULL), CORA_EOS));
    CHECK(strstr(office.text, "returned empty list") != NULL);
    end(loop);
}

TEST(second_host_unknown, "when the second host is unknown the first one's socket is closed")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    const char *const hosts[] = { "127.0.0.1", "unknown.office" };
    listens(loop, &office,
            &(struct cora_server_options){ .hosts = hosts, .host_count = 2, .port = 4080 });
    CHECK_TEXT(office.text, "gaierror: [Errno -2] Name or service not known");
    CHECK_INT(client_try(4080), -1);
    CHECK_INT(office.dropped, 2);
    end(loop);
}

TEST(no_reuse_port_here, "reuse_port where the system cannot do that is a ValueError",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_server_nosoreuseport",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_server_soreuseport_only_defined")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    option_error = ENOPROTOOPT;
    option_error_name = SO_REUSEPORT;
    listens(loop, &office,
            &(struct cora_server_options){ .host = "127.0.0.1", .reuse_port = true });
    CHECK_INT(office.code, CORA_EVALUE);
    CHECK(strstr(office.text, "reuse_port not supported") != NULL);
    end(loop);
}

TEST(option_fails, "an option that fails is told, and the socket is closed")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    option_error = EACCES;
    option_error_name = SO_REUSEADDR;
    listens(loop, &office, &(struct cora_server_options){ .host = "127.0.0.1" });
    CHECK_INT(office.code, -EACCES);
    end(loop);
}

/* ---- accepting ---- */

/* A socket that listens already, with these clients waiting. */
static int crowd_new(int *clients, int count)
{
    int bound = bound_new();
    CHECK_INT(listen(bound, 2 * count), 0);
    for (int i = 0; i < count; i++)
        clients[i] = client_new(port_of(bound));
    return bound;
}

static void close_all(const int *descriptors, int count)
{
    for (int i = 0; i < count; i++)
        close(descriptors[i]);
}

TEST(accept_batch, "in one turn as many connections are accepted as the backlog, and one",
     "test_selector_events.BaseSelectorEventLoopTests.test_accept_connection_multiple")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    int clients[10], crowd = crowd_new(clients, 10);
    listens(loop, &office, &(struct cora_server_options){ .socket = crowd, .backlog = 3 });
    size_t before = cora_server_clients(office.server), now;
    while ((now = cora_server_clients(office.server)) == before)
        tick(loop);
    CHECK_INT(now - before, 4);
    tick(loop);
    CHECK_INT(cora_server_clients(office.server), before + 8);
    ticks(loop, 2);
    CHECK_INT(cora_server_clients(office.server), 10);
    close_all(clients, 10);
    end(loop);
}

TEST(accept_default, "the backlog is 100 unless another one is asked for")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    int clients[110], crowd = crowd_new(clients, 110);
    listens(loop, &office, &(struct cora_server_options){ .socket = crowd });
    while (cora_server_clients(office.server) == 0)
        tick(loop);
    CHECK_INT(cora_server_clients(office.server), 101);
    close_all(clients, 110);
    end(loop);
}

TEST(accept_most, "the backlog may be as large as an int: all who wait are accepted in one turn")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    int clients[3], crowd = crowd_new(clients, 3);
    listens(loop, &office, &(struct cora_server_options){ .socket = crowd, .backlog = INT_MAX });
    ticks(loop, 3);
    CHECK_INT(cora_server_clients(office.server), 3);
    close_all(clients, 3);
    end(loop);
}

TEST(accept_order, "connections are accepted in the order of the clients")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    char expected[20] = "";
    int clients[9], crowd = crowd_new(clients, 9);
    for (int i = 0; i < 9; i++) {
        char digit[2] = { (char)('1' + i), 0 };
        put(clients[i], digit);
        strcat(expected, digit);
    }
    listens(loop, &office, &(struct cora_server_options){ .socket = crowd });
    while (strlen(office.received) < 9)
        tick(loop);
    CHECK_TEXT(office.received, expected);
    close_all(clients, 9);
    end(loop);
}

TEST(accept_blocks, "an accept that would block ends the turn quietly; the server goes on",
     "test_base_events.BaseEventLoopWithSelectorTests.test_accept_connection_retry")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    opens(loop, &office);
    accept_error = EAGAIN;
    accept_errors = 1;
    int client = client_new(cora_server_port(office.server));
    tick(loop);
    CHECK_INT(accepts, 1);
    CHECK_INT(cora_server_clients(office.server), 0);
    CHECK_INT(office.reports, 0);
    CHECK(cora_server_is_serving(office.server));
    ticks(loop, 2);
    CHECK_INT(office.made, 1);
    close(client);
    end(loop);
}

TEST(accept_aborted, "a connection that was aborted is skipped, and the turn goes on",
     "test_selector_events.BaseSelectorEventLoopTests."
     "test_accept_connection_skip_connectionabortederror")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    opens(loop, &office);
    accept_error = ECONNABORTED;
    accept_errors = 2;
    int client = client_new(cora_server_port(office.server));
    tick(loop);
    CHECK_INT(cora_server_clients(office.server), 1);
    CHECK_INT(accepts, 4); /* two aborted, one accepted, one that finds nobody */
    CHECK_INT(office.reports, 0);
    close(client);
    end(loop);
}

TEST(accept_exhausted, "out of descriptors: reported, not polled, and tried again after a second",
     "test_base_events.BaseEventLoopWithSelectorTests.test_accept_connection_exception")
{
    const int errors[] = { EMFILE, ENFILE, ENOBUFS, ENOMEM };
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    opens(loop, &office);
    int client = client_new(cora_server_port(office.server));
    for (int i = 0; i < 4; i++) {
        accept_error = errors[i];
        run_for(loop, i == 0 ? 0.5 : 1);
        CHECK_INT(accepts, i + 1);
        CHECK_INT(office.reports, i + 1);
        CHECK_TEXT(office.message, "socket.accept() out of system resource");
    }
    accept_error = 0;
    run_for(loop, 0.45);
    CHECK_INT(office.made, 0);
    run_for(loop, 0.1);
    CHECK_INT(office.made, 1);
    CHECK(cora_server_is_serving(office.server));
    close(client);
    end(loop);
}

TEST(accept_really_exhausted,
     "when descriptors have run out, clients are served once there are some")
{
    if (harness_under_valgrind())
        SKIP("valgrind accepts, and closes what is beyond the limit");
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    struct rlimit limit, tight;
    int taken[100], count = 0;
    opens(loop, &office);
    int client = client_new(cora_server_port(office.server));
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &limit), 0);
    tight = limit;
    tight.rlim_cur = (rlim_t)client + 2;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &tight), 0);
    while (count < 100 && (taken[count] = fcntl(client, F_DUPFD_CLOEXEC, 0)) >= 0)
        count++;
    run_for(loop, 2.5);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
    close_all(taken, count);
    CHECK_INT(office.reports, 3);
    CHECK_TEXT(office.report_error, "OSError: [Errno 24] Too many open files: socket.accept()");
    run_for(loop, 1);
    CHECK_INT(office.made, 1);
    CHECK_INT(office.reports, 3);
    close(client);
    end(loop);
}

TEST(accept_exhausted_close, "a server may be closed while it waits for descriptors")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    opens(loop, &office);
    size_t live = cora_live(loop);
    accept_error = EMFILE;
    int client = client_new(cora_server_port(office.server));
    tick(loop);
    CHECK_INT(cora_server_close(office.server), 0);
    CHECK(cora_live(loop) < live);
    run_for(loop, 3);
    CHECK_INT(accepts, 1);
    CHECK_INT(cora_live(loop), 0);
    close(client);
    end(loop);
}

TEST(accept_exhausted_closed_by_report, "a server may be closed by who gets the report")
{
    cora_loop loop = loop_new();
    struct office office = { .when_reported = CLOSE };
    opens(loop, &office);
    accept_error = EMFILE;
    int client = client_new(cora_server_port(office.server));
    tick(loop);
    CHECK_INT(office.reports, 1);
    run_for(loop, 3);
    CHECK_INT(accepts, 1);
    CHECK_INT(cora_live(loop), 0);
    close(client);
    end(loop);
}

TEST(accept_exhausted_restart, "stopping and starting again does not wait for the second")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    opens(loop, &office);
    accept_error = EMFILE;
    accept_errors = 1;
    int client = client_new(cora_server_port(office.server));
    tick(loop);
    CHECK_INT(cora_server_stop_serving(office.server), 0);
    CHECK_INT(cora_server_start_serving(office.server), 0);
    ticks(loop, 3);
    CHECK_INT(office.made, 1);
    run_for(loop, 3);
    CHECK_INT(office.reports, 1);
    close(client);
    end(loop);
}

TEST(accept_other_error, "another error of accept is reported, and the server goes on")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    opens(loop, &office);
    accept_error = EPERM;
    accept_errors = 1;
    int client = client_new(cora_server_port(office.server));
    tick(loop);
    CHECK_INT(office.reports, 1);
    CHECK(strncmp(office.message, "Exception in callback", 21) == 0);
    ticks(loop, 2);
    CHECK_INT(office.made, 1);
    close(client);
    end(loop);
}

TEST(factory_fails,
     "a factory that fails closes that connection, and is reported in debug mode only")
{
    cora_loop loop = loop_new();
    struct office office = { .in_factory = FAIL };
    opens(loop, &office);
    int client = client_new(cora_server_port(office.server));
    ticks(loop, 2);
    CHECK(peer_closed(client));
    CHECK_INT(office.reports, 0);
    cora_set_debug(loop, true);
    int second = client_new(cora_server_port(office.server));
    ticks(loop, 2);
    CHECK(peer_closed(second));
    CHECK_INT(office.reports, 1);
    CHECK_TEXT(office.message, "Error on transport creation for incoming connection");
    CHECK_TEXT(office.report_error, "ValueError: out of stamps");
    CHECK_INT(office.made, 0);
    CHECK_INT(office.protocols_dropped, 2);
    CHECK_INT(cora_server_clients(office.server), 0);
    close(client);
    close(second);
    end(loop);
}

TEST(factory_makes_none,
     "a factory that makes nothing closes that connection, and the server goes on")
{
    cora_loop loop = loop_new();
    struct office office = { .in_factory = MAKE_NONE };
    opens(loop, &office);
    cora_set_debug(loop, true);
    int client = client_new(cora_server_port(office.server));
    ticks(loop, 2);
    CHECK(peer_closed(client));
    CHECK_TEXT(office.report_error, "RuntimeError: the factory clerk_new made no protocol");
    office.in_factory = NOTHING;
    int second = client_new(cora_server_port(office.server));
    ticks(loop, 2);
    CHECK_INT(office.made, 1);
    close(client);
    close(second);
    end(loop);
}

/* ---- starting and stopping ---- */

TEST(start_later, "with start_later nobody is let in before serving is started")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    listens(loop, &office,
            &(struct cora_server_options){ .host = "127.0.0.1", .start_later = true });
    CHECK(!cora_server_is_serving(office.server));
    CHECK_INT(client_try(cora_server_port(office.server)), -1);
    CHECK_INT(errno, ECONNREFUSED);
    CHECK_INT(cora_server_start_serving(office.server), 0);
    CHECK(cora_server_is_serving(office.server));
    int client = client_new(cora_server_port(office.server));
    ticks(loop, 2);
    CHECK_INT(office.made, 1);
    close(client);
    end(loop);
}

TEST(stop_serving, "clients wait while serving is stopped, and are served when it goes on")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    opens(loop, &office);
    CHECK_INT(cora_server_stop_serving(office.server), 0);
    CHECK(!cora_server_is_serving(office.server));
    int client = client_new(cora_server_port(office.server));
    run_for(loop, 5);
    CHECK_INT(office.factories, 0);
    CHECK_INT(cora_server_start_serving(office.server), 0);
    ticks(loop, 2);
    CHECK_INT(office.made, 1);
    close(client);
    end(loop);
}

TEST(start_twice, "starting and stopping twice is as once")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    opens(loop, &office);
    CHECK_INT(cora_server_start_serving(office.server), 0);
    CHECK_INT(cora_server_stop_serving(office.server), 0);
    CHECK_INT(cora_server_stop_serving(office.server), 0);
    CHECK(!cora_server_is_serving(office.server));
    end(loop);
}

TEST(start_before, "serving that is started before the server listens begins when it listens")
{
    for (int later = 0; later < 2; later++) {
        cora_loop loop = loop_new();
        struct office office = { .told = 0 };
        open_up(loop, &office,
                &(struct cora_server_options){ .host = "127.0.0.1", .start_later = later });
        CHECK_INT(cora_server_start_serving(office.server), 0);
        CHECK_INT(cora_run_forever(loop), 0);
        CHECK(cora_server_is_serving(office.server));
        int client = client_new(cora_server_port(office.server));
        ticks(loop, 2);
        CHECK_INT(office.made, 1);
        close(client);
        end(loop);
    }
}

TEST(stop_before, "serving that is stopped before the server listens does not begin")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    open_up(loop, &office, &(struct cora_server_options){ .host = "127.0.0.1" });
    CHECK_INT(cora_server_stop_serving(office.server), 0);
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(office.code, 0);
    CHECK(!cora_server_is_serving(office.server));
    CHECK_INT(client_try(cora_server_port(office.server)), -1);
    CHECK_INT(errno, ECONNREFUSED);
    end(loop);
}

TEST(interrupt_in_factory,
     "an interrupt in the factory leaves the run; clients behind it are accepted in the next")
{
    cora_loop loop = loop_new();
    struct office office = { .in_factory = INTERRUPT };
    int clients[3], crowd = crowd_new(clients, 3);
    open_up(loop, &office, &(struct cora_server_options){ .socket = crowd });
    int code = 0;
    while (code == 0)
        code = cora_run_forever(loop);
    CHECK_INT(code, CORA_EKEYBOARDINTERRUPT);
    CHECK_INT(office.factories, 1);
    office.in_factory = NOTHING;
    ticks(loop, 4);
    CHECK_INT(office.factories, 3);
    CHECK_INT(office.made, 2);
    close_all(clients, 3);
    end(loop);
}

TEST(stop_in_factory, "a server that is stopped in the factory accepts no more in that turn")
{
    cora_loop loop = loop_new();
    struct office office = { .in_factory = STOP };
    int clients[5], crowd = crowd_new(clients, 5);
    listens(loop, &office, &(struct cora_server_options){ .socket = crowd });
    run_for(loop, 1);
    CHECK_INT(office.made, 1);
    close_all(clients, 5);
    end(loop);
}

/* ---- closing ---- */

TEST(close, "a closed server's port refuses clients; its connections go on",
     "test_events.EventLoopTestsMixin.test_server_close")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    opens(loop, &office);
    int port = cora_server_port(office.server), client = client_new(port);
    ticks(loop, 2);
    CHECK_INT(cora_server_close(office.server), 0);
    CHECK_INT(client_try(port), -1);
    CHECK_INT(errno, ECONNREFUSED);
    put(client, "still here");
    while (!office.received[0])
        tick(loop);
    CHECK_TEXT(office.received, "still here");
    CHECK_INT(office.lost, 0);
    close(client);
    end(loop);
}

TEST(close_unserved, "clients that were not accepted yet when the server is closed are refused")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    opens(loop, &office);
    int client = client_new(cora_server_port(office.server));
    CHECK_INT(cora_server_close(office.server), 0);
    ticks(loop, 3);
    CHECK_INT(office.factories, 0);
    CHECK(peer_closed(client));
    close(client);
    end(loop);
}

TEST(close_stale, "a closed server without connections is stale at once")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    opens(loop, &office);
    CHECK_INT(cora_server_close(office.server), 0);
    CHECK_INT(office.dropped, 2);
    CHECK_INT(cora_live(loop), 0);
    CHECK(cora_server_start_serving(office.server) < 0);
    CHECK(cora_error_is(cora_last_error(), CORA_ERUNTIME));
    CHECK(cora_server_stop_serving(office.server) < 0);
    CHECK_INT(cora_server_close(office.server), 0);
    CHECK_INT(cora_server_close_clients(office.server), 0);
    CHECK_INT(cora_server_abort_clients(office.server), 0);
    CHECK(!cora_server_is_serving(office.server));
    CHECK_INT(cora_server_clients(office.server), 0);
    CHECK_INT(cora_server_socket(office.server, 0), -1);
    CHECK_INT(cora_server_port(office.server), 0);
    end(loop);
}

TEST(close_with_clients, "a closed server with connections is there until the last one is over")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    opens(loop, &office);
    int one = client_new(cora_server_port(office.server));
    int two = client_new(cora_server_port(office.server));
    ticks(loop, 2);
    CHECK_INT(cora_server_close(office.server), 0);
    CHECK_INT(cora_server_start_serving(office.server), CORA_ERUNTIME);
    CHECK_INT(cora_server_clients(office.server), 2);
    CHECK(cora_same(cora_server_loop(office.server), loop));
    close(one);
    while (office.lost < 1)
        tick(loop);
    CHECK_INT(cora_server_clients(office.server), 1);
    close(two);
    while (office.lost < 2)
        tick(loop);
    CHECK(cora_is_null(cora_server_loop(office.server)));
    CHECK_INT(office.dropped, 2);
    end(loop);
}

TEST(clients_count, "a connection counts from its making to the end of connection_lost")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    opens(loop, &office);
    int client = client_new(cora_server_port(office.server));
    tick(loop);
    CHECK_INT(office.made, 0);
    CHECK_INT(cora_server_clients(office.server), 1);
    close(client);
    while (!office.lost)
        tick(loop);
    CHECK_INT(office.clients_when_lost, 1);
    CHECK_INT(cora_server_clients(office.server), 0);
    end(loop);
}

TEST(close_told, "a server may be closed in the callback that gets it")
{
    cora_loop loop = loop_new();
    struct office office = { .when_told = CLOSE };
    listens(loop, &office, &(struct cora_server_options){ .host = "127.0.0.1" });
    CHECK(cora_is_null(cora_server_loop(office.server)));
    CHECK_INT(cora_live(loop), 0);
    end(loop);
}

TEST(close_untold, "a server that is closed before its callback is called tells nothing")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    open_up(loop, &office, &(struct cora_server_options){ .host = "127.0.0.1" });
    CHECK_INT(cora_server_close(office.server), 0);
    CHECK_INT(office.dropped, 2);
    run_for(loop, 1);
    CHECK_INT(office.told, 0);
    CHECK_INT(cora_live(loop), 0);
    end(loop);
}

TEST(close_between, "also when it listens already, and the callback is queued")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    open_up(loop, &office, &(struct cora_server_options){ .host = "127.0.0.1" });
    while (!cora_server_is_serving(office.server)) {
        CHECK_INT(office.told, 0);
        tick(loop);
    }
    CHECK_INT(office.told, 0);
    CHECK_INT(cora_server_close(office.server), 0);
    run_for(loop, 1);
    CHECK_INT(office.told, 0);
    end(loop);
}

TEST(close_failed,
     "one that could not listen, and has not told that yet, tells nothing when closed")
{
    for (int late = 0; late < 4; late++) {
        cora_loop loop = loop_new();
        struct office office = { .told = 0 };
        int bound = bound_new();
        CHECK_INT(listen(bound, 1), 0);
        open_up(loop, &office,
                &(struct cora_server_options){ .host = "127.0.0.1", .port = port_of(bound) });
        for (int i = 0; i < late && !office.told; i++)
            tick(loop);
        int told = office.told;
        CHECK_INT(cora_server_close(office.server), 0);
        run_for(loop, 1);
        CHECK_INT(office.told, told);
        CHECK(late > 0 || !told);
        CHECK(late < 3 || told);
        CHECK_INT(office.dropped, 2);
        CHECK_INT(cora_live(loop), 0);
        close(bound);
        end(loop);
    }
}

/* A value whose drop runs a loop, or closes it; once. */
struct burglar {
    cora_loop runs, closes;
};

static void burglar_acts(void *pointer)
{
    struct burglar *burglar = pointer, now = *burglar;
    *burglar = (struct burglar){ { 0 }, { 0 } };
    if (!cora_is_null(now.runs))
        ticks(now.runs, 3);
    if (!cora_is_null(now.closes))
        CHECK_INT(cora_loop_close(now.closes), 0);
}

static const cora_type hidden = { "burglar", burglar_acts, NULL, 0 };

/* Closes a server that listens, before its callback, which is bound to a burglar, is called. */
static void close_with(cora_loop loop, struct office *office, struct burglar *burglar, bool runs)
{
    office->server = cora_listen(loop, &(struct cora_server_options){ .host = "127.0.0.1" },
                                 cora_partial(clerk_new, office),
                                 cora_partial(on_listening, office, cora_own(burglar, &hidden)));
    cora_drop_temporaries();
    while (!cora_server_is_serving(office->server))
        tick(loop);
    CHECK_INT(office->told, 0);
    *burglar = (struct burglar){ .runs = runs ? loop : (cora_loop){ 0 },
                                 .closes = runs ? (cora_loop){ 0 } : loop };
    CHECK_INT(cora_server_close(office->server), 0);
    CHECK(cora_is_null(burglar->runs) && cora_is_null(burglar->closes));
    CHECK_INT(office->told, 0);
}

TEST(close_closes_loop, "what is dropped when a server is closed may close the loop")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    struct burglar burglar = { { 0 }, { 0 } };
    close_with(loop, &office, &burglar, false);
    CHECK(cora_is_closed(loop));
    end((cora_loop){ 0 });
}

TEST(close_runs_loop, "what is dropped when a server is closed may run the loop")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    struct burglar burglar = { { 0 }, { 0 } };
    close_with(loop, &office, &burglar, true);
    CHECK_INT(cora_server_socket(office.server, 0), -1);
    CHECK_INT(cora_live(loop), 0);
    end(loop);
}

TEST(close_given, "a server of a given socket that is closed at once closes that")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    int bound = bound_new();
    open_up(loop, &office, &(struct cora_server_options){ .socket = bound });
    CHECK_INT(cora_server_close(office.server), 0);
    CHECK_INT(fcntl(bound, F_GETFD), -1);
    run_for(loop, 1);
    CHECK_INT(office.told, 0);
    end(loop);
}

TEST(close_in_factory, "a server that is closed in the factory: that connection is closed, too")
{
    cora_loop loop = loop_new();
    struct office office = { .in_factory = CLOSE };
    int clients[3], crowd = crowd_new(clients, 3);
    listens(loop, &office, &(struct cora_server_options){ .socket = crowd });
    run_for(loop, 1);
    CHECK_INT(office.factories, 1);
    CHECK_INT(office.made, 0);
    CHECK_INT(office.protocols_dropped, 1);
    for (int i = 0; i < 3; i++)
        CHECK(peer_closed(clients[i]));
    CHECK_INT(cora_live(loop), 0);
    close_all(clients, 3);
    end(loop);
}

TEST(close_when_made, "a server that is closed in connection_made: the connection goes on")
{
    cora_loop loop = loop_new();
    struct office office = { .when_made = CLOSE };
    opens(loop, &office);
    int client = client_new(cora_server_port(office.server));
    put(client, "parcel");
    while (!office.received[0])
        tick(loop);
    CHECK_INT(cora_server_clients(office.server), 1);
    close(client);
    while (!office.lost)
        tick(loop);
    CHECK_INT(cora_live(loop), 0);
    end(loop);
}

TEST(close_when_data, "a server that is closed in data_received: the connection goes on")
{
    cora_loop loop = loop_new();
    struct office office = { .when_data = CLOSE };
    opens(loop, &office);
    int client = client_new(cora_server_port(office.server));
    put(client, "one ");
    while (!office.received[0])
        tick(loop);
    put(client, "two");
    while (strlen(office.received) < 5)
        tick(loop);
    CHECK_TEXT(office.received, "one two");
    close(client);
    end(loop);
}

TEST(close_when_lost, "a server may be closed in the last connection's connection_lost")
{
    cora_loop loop = loop_new();
    struct office office = { .when_lost = CLOSE };
    opens(loop, &office);
    int client = client_new(cora_server_port(office.server));
    ticks(loop, 2);
    close(client);
    while (!office.lost)
        tick(loop);
    CHECK(cora_is_null(cora_server_loop(office.server)));
    CHECK_INT(office.protocols_dropped, 1);
    CHECK_INT(cora_live(loop), 0);
    end(loop);
}

TEST(close_clients, "close_clients closes the connections when what they wrote is sent")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    opens(loop, &office);
    int one = client_new(cora_server_port(office.server));
    int two = client_new(cora_server_port(office.server));
    ticks(loop, 2);
    CHECK_INT(cora_server_close(office.server), 0);
    CHECK_INT(cora_server_close_clients(office.server), 0);
    CHECK_INT(office.lost, 0);
    ticks(loop, 2);
    CHECK_INT(office.lost, 2);
    CHECK(peer_closed(one));
    CHECK(peer_closed(two));
    CHECK(cora_is_null(cora_server_loop(office.server)));
    close(one);
    close(two);
    end(loop);
}

TEST(close_clients_serving, "close_clients of a server that is open leaves it open")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    opens(loop, &office);
    int one = client_new(cora_server_port(office.server));
    ticks(loop, 2);
    CHECK_INT(cora_server_close_clients(office.server), 0);
    ticks(loop, 2);
    CHECK_INT(office.lost, 1);
    int two = client_new(cora_server_port(office.server));
    ticks(loop, 2);
    CHECK_INT(office.made, 2);
    close(one);
    close(two);
    end(loop);
}

TEST(close_clients_buffered, "close_clients sends what was written first")
{
    cora_loop loop = loop_new();
    struct office office = { .when_made = WRITE_MUCH };
    opens(loop, &office);
    int client = client_new(cora_server_port(office.server));
    ticks(loop, 2);
    CHECK_INT(cora_server_close_clients(office.server), 0);
    ticks(loop, 4);
    CHECK_INT(office.lost, 0);
    CHECK(cora_transport_is_closing(office.last));
    char bytes[65536];
    size_t got = 0;
    ssize_t count;
    while ((count = recv(client, bytes, sizeof bytes, office.lost ? 0 : MSG_DONTWAIT)) != 0) {
        got += count > 0 ? (size_t)count : 0;
        tick(loop);
    }
    CHECK_INT(got % (1 << 20), 0);
    CHECK_INT(office.errors, 0);
    CHECK_INT(office.lost, 1);
    close(client);
    end(loop);
}

TEST(abort_clients, "abort_clients ends connections whose peer does not read within two ticks")
{
    cora_loop loop = loop_new();
    struct office office = { .when_made = WRITE_MUCH };
    opens(loop, &office);
    int client = client_new(cora_server_port(office.server));
    ticks(loop, 2);
    CHECK(cora_transport_get_write_buffer_size(office.last) > 0);
    CHECK_INT(cora_server_close(office.server), 0);
    CHECK_INT(cora_server_abort_clients(office.server), 0);
    ticks(loop, 2);
    CHECK_INT(office.lost, 1);
    CHECK_INT(office.errors, 0);
    CHECK(cora_is_null(cora_server_loop(office.server)));
    close(client);
    end(loop);
}

TEST(abort_when_lost, "the other connections may be aborted in one's connection_lost")
{
    cora_loop loop = loop_new();
    struct office office = { .when_lost = ABORT_CLIENTS };
    opens(loop, &office);
    int clients[4];
    for (int i = 0; i < 4; i++)
        clients[i] = client_new(cora_server_port(office.server));
    ticks(loop, 2);
    CHECK_INT(office.made, 4);
    close(clients[0]);
    run_for(loop, 1);
    CHECK_INT(office.lost, 4);
    CHECK_INT(office.protocols_dropped, 4);
    CHECK_INT(cora_server_clients(office.server), 0);
    close_all(clients + 1, 3);
    end(loop);
}

TEST(abort_when_made, "connections may be aborted in connection_made, their own, too")
{
    cora_loop loop = loop_new();
    struct office office = { .when_made = ABORT_CLIENTS };
    int clients[3], crowd = crowd_new(clients, 3);
    listens(loop, &office, &(struct cora_server_options){ .socket = crowd });
    run_for(loop, 1);
    CHECK_INT(office.lost, office.made);
    CHECK_INT(office.protocols_dropped, 3);
    CHECK_INT(cora_server_clients(office.server), 0);
    close_all(clients, 3);
    end(loop);
}

TEST(close_clients_in_factory, "connections may be closed in the factory of another one")
{
    cora_loop loop = loop_new();
    struct office office = { .in_factory = CLOSE_CLIENTS };
    int clients[3], crowd = crowd_new(clients, 3);
    listens(loop, &office, &(struct cora_server_options){ .socket = crowd });
    run_for(loop, 1);
    CHECK_INT(office.factories, 3);
    CHECK_INT(cora_server_clients(office.server), 1);
    close_all(clients, 3);
    end(loop);
}

/* ---- handles that name no server ---- */

TEST(null_server, "every call on the null handle is refused, or answers that there is nothing")
{
    cora_server none = { 0 };
    char text[100];
    CHECK(cora_server_start_serving(none) < 0);
    CHECK(cora_server_stop_serving(none) < 0);
    CHECK(!cora_server_is_serving(none));
    CHECK_INT(cora_server_clients(none), 0);
    CHECK_INT(cora_server_socket(none, 0), -1);
    CHECK_INT(cora_server_port(none), 0);
    CHECK(cora_is_null(cora_server_loop(none)));
    CHECK(cora_server_print(none, text, sizeof text) > 0);
}

TEST(other_handle, "a handle of something else is a TypeError")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    opens(loop, &office);
    int client = client_new(cora_server_port(office.server));
    ticks(loop, 2);
    CHECK_INT(cora_server_close((cora_server){ office.last.bits }), CORA_ETYPE);
    CHECK_INT(cora_transport_close((cora_transport){ office.server.bits }), CORA_ETYPE);
    close(client);
    end(loop);
}

/* ---- closing the loop ---- */

TEST(loop_closed_resolving, "a loop that is closed before it listens drops everything")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    open_up(loop, &office, &(struct cora_server_options){ .host = "127.0.0.1" });
    cora_loop_close(loop);
    CHECK_INT(office.dropped, 2);
    CHECK_INT(office.told, 0);
    end(loop);
}

TEST(loop_closed_untold,
     "a loop that is closed before the callback drops it, and closes the server")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    open_up(loop, &office, &(struct cora_server_options){ .host = "127.0.0.1" });
    while (!cora_server_is_serving(office.server))
        tick(loop);
    cora_loop_close(loop);
    CHECK_INT(office.dropped, 2);
    CHECK_INT(office.told, 0);
    end(loop);
}

TEST(loop_closed_given, "a given socket is closed with the loop")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    open_up(loop, &office, &(struct cora_server_options){ .socket = bound_new() });
    cora_loop_close(loop);
    CHECK_INT(office.dropped, 2);
    end(loop);
}

TEST(loop_closed_serving, "a loop that is closed while serving closes connections without a word")
{
    cora_loop loop = loop_new();
    struct office office = { .when_lost = FAIL };
    opens(loop, &office);
    int one = client_new(cora_server_port(office.server));
    ticks(loop, 2);
    int two = client_new(cora_server_port(office.server));
    tick(loop);
    cora_loop_close(loop);
    CHECK_INT(office.made, 1);
    CHECK_INT(office.lost, 0);
    CHECK_INT(office.protocols_dropped, 2);
    CHECK_INT(office.dropped, 2);
    CHECK(peer_closed(one));
    CHECK(peer_closed(two));
    CHECK(!cora_server_is_serving(office.server));
    close(one);
    close(two);
    end(loop);
}

TEST(loop_closed_closing,
     "a loop that is closed after the server, before its clients, leaves nothing")
{
    cora_loop loop = loop_new();
    struct office office = { .when_made = WRITE_MUCH };
    opens(loop, &office);
    int client = client_new(cora_server_port(office.server));
    ticks(loop, 2);
    CHECK_INT(cora_server_close(office.server), 0);
    CHECK_INT(cora_server_close_clients(office.server), 0);
    cora_loop_close(loop);
    CHECK_INT(office.dropped, 2);
    CHECK_INT(office.protocols_dropped, 1);
    close(client);
    end(loop);
}

TEST(loop_closed_exhausted,
     "a loop that is closed while a server waits for descriptors leaves nothing")
{
    cora_loop loop = loop_new();
    struct office office = { .told = 0 };
    opens(loop, &office);
    accept_error = EMFILE;
    int client = client_new(cora_server_port(office.server));
    tick(loop);
    cora_loop_close(loop);
    CHECK_INT(office.dropped, 2);
    close(client);
    end(loop);
}

/* ---- as a guest ---- */

TEST(guest, "a guest serves while its host runs; when its server is closed the host may end")
{
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    cora_loop loop = cora_loop_attach(host, NULL);
    struct office office = { .when_told = NOTHING };
    open_up(loop, &office, &(struct cora_server_options){ .host = "127.0.0.1" });
    while (!office.told)
        ev_run(host, EVRUN_ONCE);
    int client = client_new(cora_server_port(office.server));
    put(client, "telegram");
    while (!office.received[0])
        ev_run(host, EVRUN_ONCE);
    CHECK_TEXT(office.received, "telegram");
    CHECK_INT(cora_server_close(office.server), 0);
    CHECK_INT(cora_transport_close(office.last), 0);
    ev_run(host, 0);
    CHECK_INT(office.lost, 1);
    CHECK_INT(cora_loop_detach(loop), 0);
    ev_loop_destroy(host);
    close(client);
}

TEST(guest_detach, "a guest that leaves its host takes its server and connections along")
{
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    cora_loop loop = cora_loop_attach(host, NULL);
    struct office office = { .told = 0 };
    open_up(loop, &office, &(struct cora_server_options){ .host = "127.0.0.1" });
    while (!office.told)
        ev_run(host, EVRUN_ONCE);
    int client = client_new(cora_server_port(office.server));
    while (!office.made)
        ev_run(host, EVRUN_ONCE);
    CHECK_INT(cora_loop_detach(loop), 0);
    CHECK_INT(office.dropped, 2);
    CHECK_INT(office.protocols_dropped, 1);
    CHECK(peer_closed(client));
    ev_run(host, 0);
    ev_loop_destroy(host);
    close(client);
}
