/*
 * Making connections: which addresses are tried, when, and what becomes of them.
 *
 * The library's calls of getaddrinfo, socket, bind, connect and getsockopt come here first. The
 * names that end in ".quay" belong to this file: each letter of one is an address, a small one of
 * IPv4 and a capital of IPv6, so "ABa.quay" has three. At these addresses the tests themselves
 * answer, refuse, or keep silent, under the virtual clock. All others go to the system.
 */
#include "harness.h"

#include <arpa/inet.h>
#include <cora.h>
#include <cora/virtual_clock.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <math.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define START 1000.0 /* what the virtual clock shows first */
#define PORT 4711

/* ---- the system as the library sees it ---- */

/* What happens at an address when somebody connects to it. */
struct quay {
    int at_once; /* an error that connect gives; -1: it succeeds in the call; 0: it takes time */
    int error;   /* what SO_ERROR says when it is writable */
    int far;     /* the test's end; 0: nobody is there */
    int near;    /* the connector's */
    int port;
};

static struct quay quays[128]; /* by letter */
static char tried[300];        /* letters and when, from the first one on */
static double first_tried;
static int lookups;      /* of our names */
static int socket_error; /* of all sockets of this family */
static int socket_error_family;
static int bind_error; /* of all binds to this address */
static char bind_error_address[INET6_ADDRSTRLEN];
static struct {
    int family, type, protocol;
} made_socket; /* the last one */
static uint32_t tried_scope;

static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static bool gate_closed; /* look-ups of our names wait */
static int at_gate;

#define NEXT(name) (*(void **)&next = dlsym(RTLD_NEXT, name))

static int system_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                              struct addrinfo **ret_list)
{
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    NEXT("getaddrinfo");
    return next(host, service, hints, ret_list);
}

/* The address of a letter: 198.51.100.97 of "a", 2001:db8::41 of "A", one that needs a scope of
 * "Z"; of a digit, one of this machine. */
static void letter_address(char letter, char *buffer, size_t size)
{
    if (letter == '1' || letter == '2')
        snprintf(buffer, size, "127.0.0.%c", letter);
    else if (letter == '6')
        snprintf(buffer, size, "::1");
    else if (letter >= 'a')
        snprintf(buffer, size, "198.51.100.%d", letter);
    else if (letter == 'Z')
        snprintf(buffer, size, "fe80::5a");
    else
        snprintf(buffer, size, "2001:db8::%x", (unsigned)letter);
}

static void gate_pass(void)
{
    pthread_mutex_lock(&gate_lock);
    lookups++;
    at_gate++;
    pthread_cond_broadcast(&gate_moved);
    while (gate_closed)
        pthread_cond_wait(&gate_moved, &gate_lock);
    at_gate--;
    pthread_mutex_unlock(&gate_lock);
}

/* Closed: look-ups of our names wait until it is opened. */
static void gate_set(bool closed)
{
    pthread_mutex_lock(&gate_lock);
    gate_closed = closed;
    pthread_cond_broadcast(&gate_moved);
    pthread_mutex_unlock(&gate_lock);
}

static void gate_wait(void)
{
    pthread_mutex_lock(&gate_lock);
    while (at_gate == 0)
        pthread_cond_wait(&gate_moved, &gate_lock);
    pthread_mutex_unlock(&gate_lock);
}

int getaddrinfo(const char *restrict host, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict ret_list)
{
    const char *end = host ? strstr(host, ".quay") : NULL;
    struct addrinfo **last = ret_list;
    if (service && strcmp(service, "ferry") == 0)
        service = "80";
    if (service && strcmp(service, "smuggling") == 0)
        return EAI_SERVICE;
    if (!end)
        return system_getaddrinfo(host, service, hints, ret_list);
    gate_pass();
    *ret_list = NULL;
    if (strcmp(host, "unknown.quay") == 0)
        return EAI_NONAME;
    if (strcmp(host, "empty.quay") == 0)
        return 0;
    for (const char *letter = host; letter < end; letter++) {
        char address[INET6_ADDRSTRLEN];
        struct addrinfo numeric = *hints;
        letter_address(*letter, address, sizeof address);
        numeric.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
        numeric.ai_family = AF_UNSPEC;
        if (system_getaddrinfo(address, service, &numeric, last) == 0)
            last = &(*last)->ai_next;
    }
    return 0;
}

int socket(int family, int type, int protocol)
{
    int (*next)(int, int, int);
    NEXT("socket");
    if (socket_error && family == socket_error_family) {
        errno = socket_error;
        return -1;
    }
    made_socket.family = family;
    made_socket.type = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
    made_socket.protocol = protocol;
    return next(family, type, protocol);
}

static void address_text(const struct sockaddr *address, char *buffer, socklen_t size)
{
    buffer[0] = '\0';
    if (address->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr, buffer,
                  size);
    else if (address->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr,
                  buffer, size);
}

/* Under names of their own, as the C library declares theirs with another type of address. */
int our_bind(int descriptor, const struct sockaddr *address, socklen_t size) __asm__("bind");
int our_connect(int descriptor, const struct sockaddr *address, socklen_t size) __asm__("connect");

int our_bind(int descriptor, const struct sockaddr *address, socklen_t size)
{
    int (*next)(int, const struct sockaddr *, socklen_t);
    char text[INET6_ADDRSTRLEN];
    NEXT("bind");
    address_text(address, text, sizeof text);
    if (!bind_error || strcmp(text, bind_error_address) != 0)
        return next(descriptor, address, size);
    errno = bind_error;
    return -1;
}

/* The letter of an address of ours; 0 of others. */
static char letter_of(const struct sockaddr *address)
{
    char text[INET6_ADDRSTRLEN], ours[INET6_ADDRSTRLEN];
    address_text(address, text, sizeof text);
    for (char letter = 'A'; letter <= 'z'; letter++) {
        letter_address(letter, ours, sizeof ours);
        if (strcmp(text, ours) == 0)
            return letter;
    }
    return 0;
}

/* Writes until not a byte more fits. */
static void fill(int descriptor)
{
    static const char blanks[4096];
    for (size_t size = sizeof blanks; size > 0; size /= 2)
        while (write(descriptor, blanks, size) > 0)
            ;
}

static bool drained_to_end(int descriptor)
{
    char bytes[4096];
    ssize_t count;
    while ((count = read(descriptor, bytes, sizeof bytes)) > 0)
        ;
    return count == 0;
}

/* Puts one end of a pair in the place of the connector's socket. */
static void quay_meets(struct quay *quay, int descriptor)
{
    int ends[2], size = 4096;
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    CHECK_INT(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    CHECK_INT(dup3(ends[0], descriptor, O_CLOEXEC), descriptor);
    close(ends[0]);
    if (quay->far)
        close(quay->far);
    quay->far = ends[1];
    quay->near = descriptor;
}

int our_connect(int descriptor, const struct sockaddr *address, socklen_t size)
{
    int (*next)(int, const struct sockaddr *, socklen_t);
    NEXT("connect");
    char letter = letter_of(address);
    size_t length = strlen(tried);
    if (address->sa_family == AF_INET6)
        tried_scope = ((const struct sockaddr_in6 *)(const void *)address)->sin6_scope_id;
    if (!letter)
        return next(descriptor, address, size);
    struct quay *quay = &quays[(int)letter];
    if (length == 0)
        first_tried = cora_virtual_clock_now();
    snprintf(tried + length, sizeof tried - length, "%s%c:%.2f", length ? " " : "", letter,
             cora_virtual_clock_now() - first_tried);
    quay->port = ntohs(((const struct sockaddr_in *)(const void *)address)->sin_port);
    bool takes_time = quay->at_once == 0 || quay->at_once == EINTR;
    if (takes_time || quay->at_once < 0)
        quay_meets(quay, descriptor);
    if (quay->at_once < 0)
        return 0;
    if (takes_time)
        fill(descriptor);
    errno = quay->at_once ? quay->at_once : EINPROGRESS;
    return -1;
}

int getsockopt(int descriptor, int level, int name, void *restrict value, socklen_t *restrict size)
{
    int (*next)(int, int, int, void *, socklen_t *);
    NEXT("getsockopt");
    int code = next(descriptor, level, name, value, size);
    for (char letter = 'A'; name == SO_ERROR && letter <= 'z'; letter++)
        if (quays[(int)letter].far && quays[(int)letter].near == descriptor)
            *(int *)value = quays[(int)letter].error;
    return code;
}

/* ---- what the tests do at an address ---- */

static void refuses(const char *letters, int error)
{
    for (; *letters; letters++)
        quays[(int)*letters].at_once = error;
}

static void answer(char letter, int error)
{
    quays[(int)letter].error = error;
    drained_to_end(quays[(int)letter].far);
}

/* Bound to a letter and an error, or 0. */
static void on_answer(cora_args bound)
{
    answer((char)cora_arg_int(bound, 0), (int)cora_arg_int(bound, 1));
}

static void answers_at(cora_loop loop, char letter, double seconds, int error)
{
    cora_call_later(loop, seconds, cora_partial(on_answer, (int)letter, error));
}

/* Whether who connected there has closed that again. */
static bool has_left(char letter)
{
    struct pollfd poll_of = { .fd = quays[(int)letter].far, .events = POLLRDHUP };
    CHECK(quays[(int)letter].far > 0);
    poll(&poll_of, 1, 0);
    return poll_of.revents & (POLLRDHUP | POLLHUP);
}

/* ---- a voyage: a connection that is made, and what its program is told ---- */

struct voyage {
    char notes[300]; /* factory, made, data, lost, told; in the order in which they came */
    char text[900];  /* the outcome, as cora_print writes it */
    int code;        /* of the outcome, if that is an error */
    int errors;      /* in its group */
    int told;
    int dropped; /* bound arguments */
    int protocols_dropped;
    cora_connector connector;
    cora_transport transport; /* of the outcome */
    cora_transport made;
    bool cancels_in_factory, cancels_when_made, cancels_when_told, fails_in_factory, makes_none;
    bool notes_flag;    /* the variable, wherever it is called */
    bool was_cancelled; /* what that cancel gave */
};

static void jot(struct voyage *voyage, const char *word)
{
    size_t length = strlen(voyage->notes);
    snprintf(voyage->notes + length, sizeof voyage->notes - length, "%s%s", length ? " " : "",
             word);
}

static const cora_variable flag = { "flag", { 0 } };

static void jot_flag(struct voyage *voyage)
{
    cora_value name = cora_context_get(&flag);
    if (voyage->notes_flag)
        jot(voyage, cora_is_nothing(name) ? "none" : cora_as_text(name));
}

static void cancel_voyage(struct voyage *voyage)
{
    voyage->was_cancelled = cora_connector_cancel(voyage->connector);
}

static void boat_made(void *self, cora_transport transport)
{
    struct voyage *voyage = self;
    jot(voyage, "made");
    jot_flag(voyage);
    voyage->made = transport;
    if (voyage->cancels_when_made)
        cancel_voyage(voyage);
}

static void boat_data(void *self, cora_transport transport, const void *bytes, size_t size)
{
    char text[100];
    (void)transport;
    snprintf(text, sizeof text, "%.*s", (int)size, (const char *)bytes);
    jot(self, text);
}

static void boat_lost(void *self, cora_transport transport, cora_value error)
{
    (void)transport;
    jot(self, cora_is_nothing(error) ? "lost" : cora_error_name(cora_error_code(error)));
}

static void boat_drop(void *self)
{
    ((struct voyage *)self)->protocols_dropped++;
}

static const struct cora_protocol_type boat = { .name = "Boat",
                                                .connection_made = boat_made,
                                                .data_received = boat_data,
                                                .connection_lost = boat_lost,
                                                .drop = boat_drop };

static cora_protocol boat_new(cora_args bound)
{
    struct voyage *voyage = cora_arg(bound, 0, struct voyage *);
    jot(voyage, "factory");
    jot_flag(voyage);
    if (voyage->cancels_in_factory)
        cancel_voyage(voyage);
    if (voyage->fails_in_factory)
        cora_fail(cora_error(CORA_EVALUE, "no timber"));
    if (voyage->makes_none)
        return (cora_protocol){ 0 };
    return (cora_protocol){ &boat, voyage };
}

static void on_told(cora_args bound, cora_value outcome)
{
    struct voyage *voyage = cora_arg(bound, 0, struct voyage *);
    jot(voyage, "told");
    jot_flag(voyage);
    voyage->told++;
    cora_print(outcome, voyage->text, sizeof voyage->text);
    voyage->code = cora_error_code(outcome);
    voyage->errors = (int)cora_list_size(cora_exceptions(outcome));
    if (!cora_is_error(outcome))
        voyage->transport = cora_as_transport(outcome);
    if (voyage->cancels_when_told)
        cancel_voyage(voyage);
    cora_stop(cora_running_loop());
}

static void count_drop(void *pointer)
{
    ++*(int *)pointer;
}

static const cora_type counted = { "counted", count_drop, NULL, 0 };

/* Begins a voyage; both callbacks are bound to something that counts its drop. */
static void depart(cora_loop loop, struct voyage *voyage,
                   const struct cora_connect_options *options)
{
    voyage->connector = cora_connect(
        loop, options, cora_partial(boat_new, voyage, cora_own(&voyage->dropped, &counted)),
        cora_partial(on_told, voyage, cora_own(&voyage->dropped, &counted)));
    cora_drop_temporaries();
}

/* ---- running ---- */

static cora_loop loop_new(void)
{
    cora_virtual_clock_start(START);
    return cora_loop_new(NULL);
}

/* Closes the loop, and the tests' ends. */
static void end(cora_loop loop)
{
    cora_loop_close(loop);
    cora_virtual_clock_stop();
    for (char letter = 'A'; letter <= 'z'; letter++)
        if (quays[(int)letter].far)
            close(quays[(int)letter].far);
    memset(quays, 0, sizeof quays);
    tried[0] = '\0';
    socket_error = bind_error = lookups = 0;
}

static void tick(cora_loop loop)
{
    cora_stop(loop);
    CHECK_INT(cora_run_forever(loop), 0);
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

/* Connects, and runs until it is told what has come of it. */
static void sail(cora_loop loop, struct voyage *voyage, const struct cora_connect_options *options)
{
    depart(loop, voyage, options);
    CHECK(!cora_is_null(voyage->connector));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(voyage->told, 1);
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
    struct voyage voyage = { 0 };
    cora_loop another;
    gate_set(false);
    while (count_threads() > 1 && !harness_sanitized() && !harness_under_valgrind())
        sched_yield();
    end(loop);
    another = loop_new();
    sail(another, &voyage, &(struct cora_connect_options){ .host = "empty.quay", .port = PORT });
    end(another);
}

/* Runs until the names are looked up, which takes no time of the clock that would matter. */
static void run_until_tried(cora_loop loop)
{
    while (!tried[0])
        tick(loop);
}

/* What a connection to this host comes to. */
static const char *came(const struct cora_connect_options *options)
{
    static struct voyage voyage;
    cora_loop loop = loop_new();
    voyage = (struct voyage){ 0 };
    sail(loop, &voyage, options);
    CHECK_INT(voyage.dropped, 2);
    end(loop);
    return voyage.text;
}

/* What is given as an error, in the very call. */
static int refused(const struct cora_connect_options *options)
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    depart(loop, &voyage, options);
    CHECK(cora_is_null(voyage.connector));
    CHECK_INT(voyage.dropped, 2);
    tick(loop);
    CHECK_TEXT(voyage.notes, "");
    end(loop);
    return cora_last_error_code();
}

/* ---- sockets of the system's ---- */

static int listener_new(int family, int *ret_port)
{
    struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    struct sockaddr_in four = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = family == AF_INET ? sizeof four : sizeof six;
    struct sockaddr *address =
        family == AF_INET ? (struct sockaddr *)&four : (struct sockaddr *)&six;
    int made = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (made < 0 || bind(made, address, size) < 0)
        SKIP("no %s here: %s", family == AF_INET ? "IPv4" : "IPv6", strerror(errno));
    CHECK_INT(listen(made, 8), 0);
    CHECK_INT(getsockname(made, address, &size), 0);
    *ret_port = ntohs(family == AF_INET ? four.sin_port : six.sin6_port);
    return made;
}

/* A port of 127.0.0.1 where nobody listens: it is bound, so that nobody else comes. */
static int dead_port(int *ret_port)
{
    struct sockaddr_in four = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof four;
    int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(bind(made, (struct sockaddr *)&four, size), 0);
    CHECK_INT(getsockname(made, (struct sockaddr *)&four, &size), 0);
    *ret_port = ntohs(four.sin_port);
    return made;
}

static void put(int descriptor, const char *text)
{
    CHECK_INT(write(descriptor, text, strlen(text)), (ssize_t)strlen(text));
}

/* What comes next from a blocking socket. */
static const char *take(int descriptor)
{
    static char text[200];
    ssize_t length = read(descriptor, text, sizeof text - 1);
    text[length > 0 ? length : 0] = '\0';
    return text;
}

/* ---- a connection ---- */

TEST(connect,
     "a connection is made: its protocol knows it first, then the callback, then data comes",
     "test_events.EventLoopTestsMixin.test_create_connection")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    int port, listener = listener_new(AF_INET, &port);
    depart(loop, &voyage, &(struct cora_connect_options){ .host = "127.0.0.1", .port = port });
    int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    put(peer, "ahoy");
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_TEXT(voyage.notes, "factory made told");
    CHECK(cora_same(voyage.transport, voyage.made));
    CHECK_INT(
        cora_list_size(cora_transport_get_extra_info(voyage.made, "sockname", cora_nothing())), 2);
    while (!strstr(voyage.notes, "ahoy"))
        tick(loop);
    cora_transport_close(voyage.transport);
    while (!strstr(voyage.notes, "lost"))
        tick(loop);
    CHECK_TEXT(voyage.notes, "factory made told ahoy lost");
    CHECK_TEXT(take(peer), "");
    close(peer);
    close(listener);
    end(loop);
}

TEST(literal_at_once, "an address in digits needs no look-up: connecting begins in the very call",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_connection_ip_addr")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    depart(loop, &voyage, &(struct cora_connect_options){ .host = "198.51.100.97", .port = PORT });
    CHECK_TEXT(tried, "a:0.00");
    CHECK_INT(quays['a'].port, PORT);
    CHECK_INT(made_socket.family, AF_INET);
    CHECK_INT(made_socket.type, SOCK_STREAM);
    CHECK_INT(made_socket.protocol, IPPROTO_TCP);
    CHECK_INT(lookups, 0);
    end(loop);
}

TEST(literal_ipv6, "an address of IPv6 gets a socket of that family",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_connection_ip_addr")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    depart(loop, &voyage, &(struct cora_connect_options){ .host = "2001:db8::41", .port = PORT });
    CHECK_TEXT(tried, "A:0.00");
    CHECK_INT(quays['A'].port, PORT);
    CHECK_INT(made_socket.family, AF_INET6);
    CHECK_INT(made_socket.type, SOCK_STREAM);
    end(loop);
}

TEST(scope, "the scope behind an address of IPv6 gets as far as connect",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_connection_ipv6_scope")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    depart(loop, &voyage, &(struct cora_connect_options){ .host = "fe80::5a%lo", .port = PORT });
    CHECK_TEXT(tried, "Z:0.00");
    CHECK_INT(tried_scope, if_nametoindex("lo"));
    end(loop);
}

TEST(service, "a service is looked up: its port is where it connects to",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_connection_service_name")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    quays['a'].at_once = -1;
    sail(loop, &voyage,
         &(struct cora_connect_options){ .host = "198.51.100.97", .service = "ferry" });
    CHECK_INT(quays['a'].port, 80);
    end(loop);
}

TEST(service_unknown, "a service that nobody knows is an OSError",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_connection_service_name")
{
    CHECK_TEXT(
        came(&(struct cora_connect_options){ .host = "198.51.100.97", .service = "smuggling" }),
        "gaierror: [Errno -8] Servname not supported for ai_socktype");
    CHECK(cora_error_is(cora_error(CORA_EGAI, NULL), CORA_EOS));
}

TEST(named, "a name is looked up, and its address connected to")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    quays['a'].at_once = -1;
    sail(loop, &voyage, &(struct cora_connect_options){ .host = "a.quay", .port = PORT });
    CHECK_TEXT(voyage.notes, "factory made told");
    CHECK_INT(lookups, 1);
    end(loop);
}

TEST(variables,
     "factory, connection_made and callback see the variables of who connects, also when "
     "a name was looked up")
{
    const char *const hosts[] = { "198.51.100.97", "a.quay" };
    for (int i = 0; i < 2; i++) {
        cora_loop loop = loop_new();
        struct voyage voyage = { .notes_flag = true };
        quays['a'].at_once = -1;
        CHECK_INT(cora_context_set(&flag, cora_static("blue")), 0);
        depart(loop, &voyage, &(struct cora_connect_options){ .host = hosts[i], .port = PORT });
        CHECK_INT(cora_context_set(&flag, cora_nothing()), 0);
        CHECK_INT(cora_run_forever(loop), 0);
        CHECK_TEXT(voyage.notes, "factory blue made blue told blue");
        end(loop);
    }
}

TEST(variables_of_slow_answers, "they see them when the peer takes its time, too")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { .notes_flag = true };
    CHECK_INT(cora_context_set(&flag, cora_static("blue")), 0);
    depart(loop, &voyage,
           &(struct cora_connect_options){
               .host = "Aa.quay", .port = PORT, .happy_eyeballs_delay = 0.3 });
    CHECK_INT(cora_context_set(&flag, cora_nothing()), 0);
    run_until_tried(loop);
    run_for(loop, 0.35);
    answer('a', 0);
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_TEXT(voyage.notes, "factory blue made blue told blue");
    end(loop);
}

TEST(slow_answer, "a connection that takes time is made when the peer answers")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    depart(loop, &voyage, &(struct cora_connect_options){ .host = "198.51.100.97", .port = PORT });
    run_for(loop, 7);
    CHECK_TEXT(voyage.notes, "");
    answer('a', 0);
    run_for(loop, 1);
    CHECK_TEXT(voyage.notes, "factory made told");
    end(loop);
}

TEST(spurious, "a socket that is writable before it is connected is waited for again")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    depart(loop, &voyage, &(struct cora_connect_options){ .host = "198.51.100.97", .port = PORT });
    answer('a', EINPROGRESS);
    tick(loop);
    tick(loop);
    CHECK_TEXT(voyage.notes, "");
    answer('a', 0);
    run_for(loop, 1);
    CHECK_TEXT(voyage.notes, "factory made told");
    end(loop);
}

TEST(interrupted, "a connect that a signal interrupts goes on")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    quays['a'].at_once = EINTR;
    depart(loop, &voyage, &(struct cora_connect_options){ .host = "198.51.100.97", .port = PORT });
    run_for(loop, 1);
    CHECK_TEXT(voyage.notes, "");
    answer('a', 0);
    run_for(loop, 1);
    CHECK_TEXT(voyage.notes, "factory made told");
    end(loop);
}

TEST(nodelay, "a TCP connection has TCP_NODELAY on",
     "test_base_events.TestSelectorUtils.test_set_nodelay")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    int value = 0, port, listener = listener_new(AF_INET, &port);
    socklen_t size = sizeof value;
    sail(loop, &voyage, &(struct cora_connect_options){ .host = "127.0.0.1", .port = port });
    CHECK_INT(getsockopt(cora_transport_socket(voyage.transport), IPPROTO_TCP, TCP_NODELAY, &value,
                         &size),
              0);
    CHECK_INT(value, 1);
    close(listener);
    end(loop);
}

TEST(not_inherited, "the socket of a connection is not inherited, and does not block")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    int port, listener = listener_new(AF_INET, &port);
    sail(loop, &voyage, &(struct cora_connect_options){ .host = "127.0.0.1", .port = port });
    int descriptor = cora_transport_socket(voyage.transport);
    CHECK(fcntl(descriptor, F_GETFD) & FD_CLOEXEC);
    CHECK(fcntl(descriptor, F_GETFL) & O_NONBLOCK);
    close(listener);
    end(loop);
}

TEST(last_error, "connecting, and giving up, leave the last error alone when they work")
{
    cora_loop loop = loop_new();
    struct voyage made = { 0 }, given_up = { 0 };
    cora_value before = cora_error(CORA_EKEY, "lost at sea");
    cora_set_last_error(before);
    quays['a'].at_once = -1;
    sail(loop, &made, &(struct cora_connect_options){ .host = "a.quay", .port = PORT });
    CHECK_INT(cora_last_error_code(), CORA_EKEY);
    depart(loop, &given_up,
           &(struct cora_connect_options){ .host = "198.51.100.98", .port = PORT });
    CHECK_INT(cora_last_error_code(), CORA_EKEY);
    CHECK(cora_connector_cancel(given_up.connector));
    CHECK_INT(cora_last_error_code(), CORA_EKEY);
    end(loop);
}

TEST(many, "fifty connections at once are each made and told once")
{
    cora_loop loop = loop_new();
    static struct voyage voyages[50];
    int told = 0, port, listener = listener_new(AF_INET, &port);
    for (int i = 0; i < 50; i++) {
        depart(loop, &voyages[i],
               &(struct cora_connect_options){ .host = "127.0.0.1", .port = port });
        close(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
    }
    while (told < 50) {
        tick(loop);
        told = 0;
        for (int i = 0; i < 50; i++)
            told += voyages[i].told;
    }
    for (int i = 0; i < 50; i++)
        CHECK_INT(voyages[i].told, 1);
    close(listener);
    end(loop);
}

/* ---- what may be asked for ---- */

TEST(socket_and_host, "a host, port or local address together with a socket is a ValueError",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_connection_host_port_sock")
{
    CHECK_INT(refused(&(struct cora_connect_options){ .host = "a.quay", .port = 1, .socket = 1 }),
              CORA_EVALUE);
    CHECK_INT(refused(&(struct cora_connect_options){ .port = 1, .socket = 1 }), CORA_EVALUE);
    CHECK_INT(refused(&(struct cora_connect_options){ .service = "80", .socket = 1 }), CORA_EVALUE);
    CHECK_INT(refused(&(struct cora_connect_options){ .local_port = 1, .socket = 1 }), CORA_EVALUE);
    CHECK_INT(refused(&(struct cora_connect_options){ .local_host = "::1", .socket = 1 }),
              CORA_EVALUE);
}

TEST(nothing_given, "neither a host nor a socket is a ValueError")
{
    CHECK_INT(refused(&(struct cora_connect_options){ 0 }), CORA_EVALUE);
    CHECK_INT(refused(&(struct cora_connect_options){ .local_port = 7 }), CORA_EVALUE);
}

TEST(bad_numbers, "ports, delays and interleaves that cannot be are ValueErrors")
{
    CHECK_INT(refused(&(struct cora_connect_options){ .host = "a.quay", .port = 65536 }),
              CORA_EVALUE);
    CHECK_INT(refused(&(struct cora_connect_options){ .host = "a.quay", .port = -1 }), CORA_EVALUE);
    CHECK_INT(
        refused(&(struct cora_connect_options){ .host = "a.quay", .port = 1, .local_port = 65536 }),
        CORA_EVALUE);
    CHECK_INT(
        refused(&(struct cora_connect_options){ .host = "a.quay", .port = 1, .service = "80" }),
        CORA_EVALUE);
    CHECK_INT(refused(&(struct cora_connect_options){
                  .host = "a.quay", .port = 1, .happy_eyeballs_delay = -1 }),
              CORA_EVALUE);
    CHECK_INT(refused(&(struct cora_connect_options){
                  .host = "a.quay", .port = 1, .happy_eyeballs_delay = NAN }),
              CORA_EVALUE);
    CHECK_INT(
        refused(&(struct cora_connect_options){ .host = "a.quay", .port = 1, .interleave = -1 }),
        CORA_EVALUE);
}

TEST(datagram_socket, "a datagram socket is a ValueError, and stays the caller's",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_connection_wrong_sock")
{
    int made = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK_INT(refused(&(struct cora_connect_options){ .socket = made }), CORA_EVALUE);
    CHECK_INT(close(made), 0);
}

TEST(no_socket, "a descriptor that is no socket is an OSError")
{
    CHECK_INT(refused(&(struct cora_connect_options){ .socket = 60000 }), -EBADF);
}

TEST(no_loop, "without a loop, or on a closed one, nothing begins")
{
    struct voyage voyage = { 0 };
    struct cora_connect_options options = { .host = "198.51.100.97", .port = PORT };
    cora_loop loop = loop_new();
    depart((cora_loop){ 0 }, &voyage, &options);
    CHECK(cora_is_null(voyage.connector));
    CHECK_INT(cora_last_error_code(), CORA_ESTALE);
    end(loop);
    depart(loop, &voyage, &options);
    CHECK(cora_is_null(voyage.connector));
    CHECK_INT(cora_last_error_code(), CORA_ERUNTIME);
    CHECK_INT(voyage.dropped, 4);
}

TEST(given_socket, "a socket that is connected already becomes a connection")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    int ends[2];
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    put(ends[1], "cargo");
    sail(loop, &voyage, &(struct cora_connect_options){ .socket = ends[0] });
    CHECK_INT(cora_transport_socket(voyage.transport), ends[0]);
    CHECK(fcntl(ends[0], F_GETFL) & O_NONBLOCK);
    run_for(loop, 1);
    CHECK_TEXT(voyage.notes, "factory made told cargo");
    close(ends[1]);
    end(loop);
}

TEST(given_socket_factory_fails, "when the factory fails, a given socket stays the caller's")
{
    int ends[2];
    cora_loop loop = loop_new();
    struct voyage voyage = { .fails_in_factory = true };
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    depart(loop, &voyage, &(struct cora_connect_options){ .socket = ends[0] });
    CHECK(cora_is_null(voyage.connector));
    CHECK_INT(cora_last_error_code(), CORA_EVALUE);
    CHECK_INT(voyage.dropped, 2);
    CHECK_INT(voyage.protocols_dropped, 1);
    CHECK_INT(close(ends[0]), 0);
    close(ends[1]);
    end(loop);
}

/* ---- what goes wrong ---- */

TEST(refused_once, "the error of the only address is the outcome, with the address in its words",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_connection_connect_err")
{
    refuses("a", ECONNREFUSED);
    CHECK_TEXT(came(&(struct cora_connect_options){ .host = "a.quay", .port = PORT }),
               "ConnectionRefusedError: [Errno 111] Connection refused: "
               "Connect call failed ('198.51.100.97', 4711)");
}

TEST(refused_ipv6, "an address of IPv6 is told with its four parts")
{
    refuses("A", ECONNREFUSED);
    CHECK_TEXT(came(&(struct cora_connect_options){ .host = "A.quay", .port = PORT }),
               "ConnectionRefusedError: [Errno 111] Connection refused: "
               "Connect call failed ('2001:db8::41', 4711, 0, 0)");
}

TEST(refused_later, "a connect that fails while it is waited for has the same words")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    answers_at(loop, 'a', 2, EHOSTUNREACH);
    sail(loop, &voyage, &(struct cora_connect_options){ .host = "198.51.100.97", .port = PORT });
    CHECK_TEXT(voyage.text, "OSError: [Errno 113] No route to host: "
                            "Connect call failed ('198.51.100.97', 4711)");
    CHECK_TEXT(voyage.notes, "told");
    CHECK(has_left('a'));
    end(loop);
}

TEST(really_refused, "at a port where nobody listens the outcome is a ConnectionRefusedError")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    int port, bound = dead_port(&port);
    sail(loop, &voyage, &(struct cora_connect_options){ .host = "127.0.0.1", .port = port });
    CHECK_INT(voyage.code, -ECONNREFUSED);
    CHECK_TEXT(voyage.notes, "told");
    close(bound);
    end(loop);
}

TEST(timed_out, "a connect that timed out is a TimeoutError, and its socket is closed",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_connection_timeout")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    answers_at(loop, 'a', 127, ETIMEDOUT);
    sail(loop, &voyage, &(struct cora_connect_options){ .host = "198.51.100.97", .port = PORT });
    CHECK_INT(voyage.code, -ETIMEDOUT);
    CHECK(cora_error_is(cora_error(voyage.code, NULL), CORA_ETIMEOUT));
    CHECK(has_left('a'));
    end(loop);
}

TEST(two_errors, "when all addresses fail differently, one error tells them all, in their order",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_connection_multiple")
{
    refuses("a", ECONNREFUSED);
    refuses("b", EHOSTUNREACH);
    CHECK_TEXT(came(&(struct cora_connect_options){ .host = "ab.quay", .port = PORT }),
               "OSError: Multiple exceptions: [Errno 111] Connection refused: "
               "Connect call failed ('198.51.100.97', 4711), [Errno 113] No route to host: "
               "Connect call failed ('198.51.100.98', 4711)");
}

TEST(equal_errors, "when all addresses fail with the same words, the first error is the outcome")
{
    refuses("a", ECONNREFUSED);
    CHECK_TEXT(came(&(struct cora_connect_options){ .host = "aaa.quay", .port = PORT }),
               "ConnectionRefusedError: [Errno 111] Connection refused: "
               "Connect call failed ('198.51.100.97', 4711)");
}

TEST(all_errors, "with all_errors the outcome is a group of them, of one error, too",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_connection_multiple",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_connection_connect_err")
{
    struct cora_connect_options options = { .host = "ab.quay", .port = PORT, .all_errors = true };
    cora_loop loop = loop_new();
    struct voyage two = { 0 }, one = { 0 };
    refuses("ab", ECONNREFUSED);
    sail(loop, &two, &options);
    CHECK_INT(two.code, CORA_EEXCEPTIONGROUP);
    CHECK_INT(two.errors, 2);
    options.host = "a.quay";
    sail(loop, &one, &options);
    CHECK_INT(one.code, CORA_EEXCEPTIONGROUP);
    CHECK_INT(one.errors, 1);
    CHECK(strstr(one.text, "create_connection failed") != NULL);
    end(loop);
}

TEST(second_address, "when the first address fails the next is tried, and nobody hears of it")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    refuses("a", ECONNREFUSED);
    quays['b'].at_once = -1;
    sail(loop, &voyage, &(struct cora_connect_options){ .host = "ab.quay", .port = PORT });
    CHECK_TEXT(voyage.notes, "factory made told");
    CHECK_TEXT(tried, "a:0.00 b:0.00");
    end(loop);
}

TEST(no_addresses, "a name without addresses is an OSError",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_connection_no_getaddrinfo")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    sail(loop, &voyage, &(struct cora_connect_options){ .host = "empty.quay", .port = PORT });
    CHECK(cora_error_is(cora_error(voyage.code, NULL), CORA_EOS));
    CHECK(strstr(voyage.text, "returned empty list") != NULL);
    end(loop);
}

TEST(unknown_name, "the resolver's error is the outcome")
{
    CHECK_TEXT(came(&(struct cora_connect_options){ .host = "unknown.quay", .port = PORT }),
               "gaierror: [Errno -2] Name or service not known");
}

TEST(name_that_cannot_be, "what cannot be a name is told as an outcome, too")
{
    CHECK_TEXT(came(&(struct cora_connect_options){ .host = "two words", .port = PORT }),
               "ValueError: byte 0x20 at 3 of the host: only printable ASCII can be looked up");
}

TEST(no_sockets, "when there can be no socket that is the outcome")
{
    socket_error = EMFILE;
    socket_error_family = AF_INET;
    CHECK(strstr(came(&(struct cora_connect_options){ .host = "a.quay", .port = PORT }),
                 "OSError: [Errno 24] Too many open files") != NULL);
}

TEST(family_missing, "a family that the machine does not have is passed over")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    socket_error = EAFNOSUPPORT;
    socket_error_family = AF_INET6;
    quays['a'].at_once = -1;
    sail(loop, &voyage, &(struct cora_connect_options){ .host = "Aa.quay", .port = PORT });
    CHECK_TEXT(voyage.notes, "factory made told");
    CHECK_TEXT(tried, "a:0.00");
    end(loop);
}

TEST(factory_fails, "the factory's error is the outcome, and the socket is closed")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { .fails_in_factory = true };
    quays['a'].at_once = -1;
    sail(loop, &voyage, &(struct cora_connect_options){ .host = "a.quay", .port = PORT });
    CHECK_TEXT(voyage.text, "ValueError: no timber");
    CHECK_TEXT(voyage.notes, "factory told");
    CHECK(has_left('a'));
    CHECK_INT(voyage.protocols_dropped, 1);
    end(loop);
}

TEST(factory_makes_none, "a factory that makes nothing is a RuntimeError that names it")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { .makes_none = true };
    quays['a'].at_once = -1;
    sail(loop, &voyage, &(struct cora_connect_options){ .host = "a.quay", .port = PORT });
    CHECK_TEXT(voyage.text, "RuntimeError: the factory boat_new made no protocol");
    CHECK(has_left('a'));
    end(loop);
}

TEST(factory_once, "the factory is called once, however many addresses are tried")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    refuses("abc", ECONNREFUSED);
    quays['d'].at_once = -1;
    sail(loop, &voyage, &(struct cora_connect_options){ .host = "abcd.quay", .port = PORT });
    CHECK_TEXT(voyage.notes, "factory made told");
    end(loop);
}

/* ---- where it connects from ---- */

/* One that nobody uses, and that the system gives to nobody meanwhile: below those it chooses. */
static int free_port_find(void)
{
    for (int i = 0; i < 1000; i++) {
        int port = 12000 + ((int)getpid() * 7 + i) % 16000;
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
        int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int code = bind(probe, (struct sockaddr *)&address, sizeof address);
        close(probe);
        if (code == 0)
            return port;
    }
    return 0;
}

TEST(local_address, "a local address and port are the socket's own name",
     "test_events.EventLoopTestsMixin.test_create_connection_local_addr")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    int port, free_port = free_port_find(), listener = listener_new(AF_INET, &port);
    sail(loop, &voyage,
         &(struct cora_connect_options){ .host = "127.0.0.1",
                                         .port = port,
                                         .local_host = "127.0.0.1",
                                         .local_port = free_port });
    cora_value name = cora_transport_get_extra_info(voyage.transport, "sockname", cora_nothing());
    CHECK_TEXT(cora_as_text(cora_list_at(name, 0)), "127.0.0.1");
    CHECK_INT(cora_as_int(cora_list_at(name, 1)), free_port);
    close(listener);
    end(loop);
}

TEST(local_port_alone, "a local port alone is bound at any address")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    int port, free_port = free_port_find(), listener = listener_new(AF_INET, &port);
    sail(loop, &voyage,
         &(struct cora_connect_options){
             .host = "127.0.0.1", .port = port, .local_port = free_port });
    cora_value name = cora_transport_get_extra_info(voyage.transport, "sockname", cora_nothing());
    CHECK_INT(cora_as_int(cora_list_at(name, 1)), free_port);
    close(listener);
    end(loop);
}

TEST(local_other_family, "of the local addresses only those of the remote one's family are bound",
     "test_events.EventLoopTestsMixin."
     "test_create_connection_local_addr_skip_different_family")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    refuses("a", ECONNREFUSED);
    sail(loop, &voyage,
         &(struct cora_connect_options){ .host = "a.quay", .port = PORT, .local_host = "61.quay" });
    CHECK_TEXT(voyage.text, "ConnectionRefusedError: [Errno 111] Connection refused: "
                            "Connect call failed ('198.51.100.97', 4711)");
    end(loop);
}

TEST(local_no_match, "no local address of any remote one's family is an OSError that says so",
     "test_events.EventLoopTestsMixin.test_create_connection_local_addr_nomatch_family")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    sail(loop, &voyage,
         &(struct cora_connect_options){ .host = "a.quay", .port = PORT, .local_host = "6.quay" });
    CHECK_TEXT(voyage.text, "OSError: no matching local address with family=2 found");
    CHECK_TEXT(tried, "");
    end(loop);
}

TEST(local_in_use, "a local address in use is an error that names it",
     "test_events.EventLoopTestsMixin.test_create_connection_local_addr_in_use")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    int port, listener = listener_new(AF_INET, &port);
    char address[60];
    sail(loop, &voyage,
         &(struct cora_connect_options){
             .host = "127.0.0.1", .port = port, .local_host = "127.0.0.1", .local_port = port });
    snprintf(address, sizeof address, "bind on address ('127.0.0.1', %d)", port);
    CHECK_INT(voyage.code, -EADDRINUSE);
    CHECK(strstr(voyage.text, address) != NULL);
    close(listener);
    end(loop);
}

TEST(local_second, "a local address that cannot be bound is passed over for the next one")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    bind_error = EADDRINUSE;
    strcpy(bind_error_address, "127.0.0.1");
    quays['a'].at_once = -1;
    sail(loop, &voyage,
         &(struct cora_connect_options){ .host = "a.quay", .port = PORT, .local_host = "12.quay" });
    CHECK_TEXT(voyage.notes, "factory made told");
    end(loop);
}

TEST(local_and_remote_errors, "errors of binding and of connecting are all told, in their order",
     "test_base_events.BaseEventLoopWithSelectorTests."
     "test_create_connection_multiple_errors_local_addr")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    bind_error = EADDRINUSE;
    strcpy(bind_error_address, "127.0.0.1");
    refuses("ab", ECONNREFUSED);
    sail(
        loop, &voyage,
        &(struct cora_connect_options){ .host = "ab.quay", .port = PORT, .local_host = "12.quay" });
    CHECK_TEXT(voyage.text,
               "OSError: Multiple exceptions: "
               "[Errno 98] Address already in use: "
               "error while attempting to bind on address ('127.0.0.1', 0), "
               "[Errno 111] Connection refused: Connect call failed ('198.51.100.97', 4711), "
               "[Errno 98] Address already in use: "
               "error while attempting to bind on address ('127.0.0.1', 0), "
               "[Errno 111] Connection refused: Connect call failed ('198.51.100.98', 4711)");
    end(loop);
}

TEST(local_no_addresses, "a local name without addresses is an OSError",
     "test_base_events.BaseEventLoopWithSelectorTests.test_create_connection_no_local_addr")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    sail(loop, &voyage,
         &(struct cora_connect_options){
             .host = "a.quay", .port = PORT, .local_host = "empty.quay" });
    CHECK(cora_error_is(cora_error(voyage.code, NULL), CORA_EOS));
    CHECK(strstr(voyage.text, "returned empty list") != NULL);
    CHECK_TEXT(tried, "");
    end(loop);
}

/* ---- happy eyeballs ---- */

/* The order in which silent addresses are tried, and when, within a minute. */
static const char *order(const char *host, double delay, int interleave)
{
    static char result[sizeof tried];
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    if (delay == 0)
        refuses("abcdABCD", ECONNREFUSED);
    depart(
        loop, &voyage,
        &(struct cora_connect_options){
            .host = host, .port = PORT, .happy_eyeballs_delay = delay, .interleave = interleave });
    run_until_tried(loop);
    run_for(loop, 60);
    CHECK_INT(voyage.told, delay == 0);
    strcpy(result, tried);
    end(loop);
    return result;
}

TEST(order_plain, "without a delay addresses are tried in the resolver's order")
{
    CHECK_TEXT(order("ABab.quay", 0, 0), "A:0.00 B:0.00 a:0.00 b:0.00");
}

TEST(order_delay, "with a delay the families take turns, one address each delay")
{
    CHECK_TEXT(order("ABab.quay", 0.25, 0), "A:0.00 a:0.25 B:0.50 b:0.75");
}

TEST(order_first_family, "the first family is that of the resolver's first address")
{
    CHECK_TEXT(order("abAB.quay", 0.25, 0), "a:0.00 A:0.25 b:0.50 B:0.75");
}

TEST(order_interleave, "interleave alone puts the families in turns")
{
    CHECK_TEXT(order("ABab.quay", 0, 1), "A:0.00 a:0.00 B:0.00 b:0.00");
}

TEST(order_interleave_two, "with interleave 2 the first family has one address more to begin with")
{
    CHECK_TEXT(order("ABCab.quay", 0.25, 2), "A:0.00 B:0.25 a:0.50 C:0.75 b:1.00");
}

TEST(order_interleave_three, "with interleave 3 it has two more")
{
    CHECK_TEXT(order("ABCDab.quay", 0.25, 3), "A:0.00 B:0.25 C:0.50 a:0.75 D:1.00 b:1.25");
}

TEST(order_interleave_large, "an interleave beyond its addresses takes all of them first")
{
    CHECK_TEXT(order("AaBb.quay", 0.25, 9), "A:0.00 B:0.25 a:0.50 b:0.75");
}

TEST(order_uneven, "when one family has no more the other one goes on")
{
    CHECK_TEXT(order("aABC.quay", 0.25, 1), "a:0.00 A:0.25 B:0.50 C:0.75");
}

TEST(race_second_wins, "an address that answers wins over an earlier one that is silent")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    quays['a'].at_once = -1;
    sail(loop, &voyage,
         &(struct cora_connect_options){
             .host = "Aa.quay", .port = PORT, .happy_eyeballs_delay = 0.3 });
    CHECK_TEXT(tried, "A:0.00 a:0.30");
    CHECK_TEXT(voyage.notes, "factory made told");
    CHECK(has_left('A'));
    CHECK(!has_left('a'));
    end(loop);
}

TEST(race_one_family, "addresses of one family race, too")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    quays['b'].at_once = -1;
    sail(loop, &voyage,
         &(struct cora_connect_options){
             .host = "ab.quay", .port = PORT, .happy_eyeballs_delay = 0.3 });
    CHECK_TEXT(tried, "a:0.00 b:0.30");
    CHECK(has_left('a'));
    end(loop);
}

TEST(race_first_in_time, "an address that answers within the delay is the only one tried")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    depart(loop, &voyage,
           &(struct cora_connect_options){
               .host = "Aa.quay", .port = PORT, .happy_eyeballs_delay = 0.3 });
    run_until_tried(loop);
    answers_at(loop, 'A', 0.2, 0);
    run_for(loop, 5);
    CHECK_TEXT(tried, "A:0.00");
    CHECK_TEXT(voyage.notes, "factory made told");
    end(loop);
}

TEST(race_first_late, "the first address may win after all of them were tried")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    depart(loop, &voyage,
           &(struct cora_connect_options){
               .host = "Aab.quay", .port = PORT, .happy_eyeballs_delay = 0.3 });
    run_until_tried(loop);
    answers_at(loop, 'A', 2, 0);
    run_for(loop, 5);
    CHECK_TEXT(tried, "A:0.00 a:0.30 b:0.60");
    CHECK_TEXT(voyage.notes, "factory made told");
    CHECK(has_left('a'));
    CHECK(has_left('b'));
    CHECK(!has_left('A'));
    end(loop);
}

TEST(race_failure_goes_on, "when the latest one fails the next is tried at once")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    depart(loop, &voyage,
           &(struct cora_connect_options){
               .host = "Aab.quay", .port = PORT, .happy_eyeballs_delay = 0.3 });
    run_until_tried(loop);
    answers_at(loop, 'A', 0.1, ECONNREFUSED);
    run_for(loop, 5);
    CHECK_TEXT(tried, "A:0.00 a:0.10 b:0.40");
    end(loop);
}

TEST(race_old_failure_waits, "when one that is not the latest fails the delay still counts")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    depart(loop, &voyage,
           &(struct cora_connect_options){
               .host = "Aab.quay", .port = PORT, .happy_eyeballs_delay = 0.3 });
    run_until_tried(loop);
    answers_at(loop, 'A', 0.4, ECONNREFUSED);
    run_for(loop, 5);
    CHECK_TEXT(tried, "A:0.00 a:0.30 b:0.60");
    end(loop);
}

TEST(race_refused_at_once, "one that is refused at once takes no delay")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    refuses("Aa", ECONNREFUSED);
    quays['b'].at_once = -1;
    sail(loop, &voyage,
         &(struct cora_connect_options){
             .host = "Aab.quay", .port = PORT, .happy_eyeballs_delay = 0.3 });
    CHECK_TEXT(tried, "A:0.00 a:0.00 b:0.00");
    end(loop);
}

TEST(race_two_at_once, "of two that answer in the same moment one is the connection, one is closed")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    depart(loop, &voyage,
           &(struct cora_connect_options){
               .host = "Aa.quay", .port = PORT, .happy_eyeballs_delay = 0.3 });
    run_until_tried(loop);
    run_for(loop, 0.35);
    CHECK(strchr(tried, 'a'));
    answer('A', 0);
    answer('a', 0);
    run_for(loop, 5);
    CHECK_TEXT(voyage.notes, "factory made told");
    CHECK_INT(has_left('A') + has_left('a'), 1);
    end(loop);
}

TEST(race_all_fail, "when all fail, their errors come in the order of the addresses")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    depart(loop, &voyage,
           &(struct cora_connect_options){
               .host = "ab.quay", .port = PORT, .happy_eyeballs_delay = 0.3 });
    run_until_tried(loop);
    run_for(loop, 0.35);
    CHECK(strchr(tried, 'b'));
    answer('b', EHOSTUNREACH);
    run_for(loop, 1);
    CHECK_INT(voyage.told, 0);
    answer('a', ECONNREFUSED);
    run_for(loop, 1);
    CHECK_TEXT(voyage.text,
               "OSError: Multiple exceptions: [Errno 111] Connection refused: "
               "Connect call failed ('198.51.100.97', 4711), [Errno 113] No route to host: "
               "Connect call failed ('198.51.100.98', 4711)");
    end(loop);
}

TEST(race_last_fails_first_wins, "when the last one fails an earlier one may win still")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    depart(loop, &voyage,
           &(struct cora_connect_options){
               .host = "ab.quay", .port = PORT, .happy_eyeballs_delay = 0.3 });
    run_until_tried(loop);
    run_for(loop, 0.35);
    CHECK(strchr(tried, 'b'));
    answer('b', ECONNREFUSED);
    run_for(loop, 1);
    answer('a', 0);
    run_for(loop, 1);
    CHECK_TEXT(voyage.notes, "factory made told");
    end(loop);
}

TEST(race_leaves_no_timer, "nothing is left of a race that is over, but the connection")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    quays['a'].at_once = -1;
    sail(loop, &voyage,
         &(struct cora_connect_options){
             .host = "AaBb.quay", .port = PORT, .happy_eyeballs_delay = 0.3 });
    cora_transport_abort(voyage.transport);
    tick(loop);
    tick(loop);
    CHECK_INT(cora_live(loop), 0);
    end(loop);
}

/* ---- giving up ---- */

TEST(cancel_lookup, "one that is given up during the look-up tells nothing")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    gate_set(true);
    depart(loop, &voyage, &(struct cora_connect_options){ .host = "a.quay", .port = PORT });
    gate_wait();
    CHECK(cora_connector_cancel(voyage.connector));
    CHECK(!cora_connector_cancel(voyage.connector));
    CHECK_INT(voyage.dropped, 2);
    gate_set(false);
    run_for(loop, 1);
    CHECK_TEXT(voyage.notes, "");
    CHECK_TEXT(tried, "");
    CHECK_INT(cora_live(loop), 0);
    end_with_threads(loop);
}

TEST(cancel_connecting, "one that is given up while it connects closes its sockets at once")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    depart(loop, &voyage,
           &(struct cora_connect_options){
               .host = "Aa.quay", .port = PORT, .happy_eyeballs_delay = 0.3 });
    run_until_tried(loop);
    run_for(loop, 0.35);
    CHECK(strchr(tried, 'a'));
    CHECK(cora_connector_cancel(voyage.connector));
    CHECK(has_left('A'));
    CHECK(has_left('a'));
    CHECK_INT(voyage.dropped, 2);
    run_for(loop, 1);
    CHECK_TEXT(voyage.notes, "");
    CHECK_INT(cora_live(loop), 0);
    end(loop);
}

TEST(cancel_during_delay, "one that is given up during a delay tries no more")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    depart(loop, &voyage,
           &(struct cora_connect_options){
               .host = "Aa.quay", .port = PORT, .happy_eyeballs_delay = 0.3 });
    run_until_tried(loop);
    CHECK(cora_connector_cancel(voyage.connector));
    run_for(loop, 5);
    CHECK_TEXT(tried, "A:0.00");
    CHECK_INT(cora_live(loop), 0);
    end(loop);
}

TEST(cancel_connected, "one that is given up before connection_made: there never is a connection")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    quays['a'].at_once = -1;
    depart(loop, &voyage, &(struct cora_connect_options){ .host = "198.51.100.97", .port = PORT });
    CHECK_TEXT(voyage.notes, "factory");
    CHECK(cora_connector_cancel(voyage.connector));
    run_for(loop, 1);
    CHECK(has_left('a'));
    CHECK_INT(voyage.told, 0);
    CHECK_INT(voyage.dropped, 2);
    CHECK_INT(voyage.protocols_dropped, 1);
    CHECK_INT(cora_live(loop), 0);
    end(loop);
}

TEST(cancel_in_factory, "one that is given up in the factory closes its socket")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { .cancels_in_factory = true };
    depart(loop, &voyage, &(struct cora_connect_options){ .host = "a.quay", .port = PORT });
    run_until_tried(loop);
    answer('a', 0);
    run_for(loop, 1);
    CHECK(voyage.was_cancelled);
    CHECK_TEXT(voyage.notes, "factory");
    CHECK(has_left('a'));
    CHECK_INT(voyage.dropped, 2);
    CHECK_INT(voyage.protocols_dropped, 1);
    CHECK_INT(cora_live(loop), 0);
    end(loop);
}

TEST(cancel_when_made, "one that is given up in connection_made aborts, and tells nobody else")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { .cancels_when_made = true };
    quays['a'].at_once = -1;
    depart(loop, &voyage, &(struct cora_connect_options){ .host = "a.quay", .port = PORT });
    while (!strstr(voyage.notes, "made"))
        tick(loop);
    run_for(loop, 1);
    CHECK(voyage.was_cancelled);
    CHECK_TEXT(voyage.notes, "factory made lost");
    CHECK(has_left('a'));
    CHECK_INT(voyage.dropped, 2);
    CHECK_INT(cora_live(loop), 0);
    end(loop);
}

/* Bound to a voyage. */
static void on_cancel(cora_args bound)
{
    cancel_voyage(cora_arg(bound, 0, struct voyage *));
}

TEST(cancel_between, "after connection_made, before the callback, it can be given up still")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    quays['a'].at_once = -1;
    depart(loop, &voyage, &(struct cora_connect_options){ .host = "198.51.100.97", .port = PORT });
    tick(loop);
    CHECK_TEXT(voyage.notes, "factory made");
    cancel_voyage(&voyage);
    run_for(loop, 1);
    CHECK(voyage.was_cancelled);
    CHECK_TEXT(voyage.notes, "factory made lost");
    CHECK(has_left('a'));
    CHECK_INT(voyage.dropped, 2);
    end(loop);
}

TEST(cancel_failed,
     "one that has failed, and has not told it yet, tells nothing when it is given up")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    refuses("a", ECONNREFUSED);
    depart(loop, &voyage, &(struct cora_connect_options){ .host = "198.51.100.97", .port = PORT });
    CHECK(!cora_is_null(voyage.connector));
    CHECK(cora_connector_cancel(voyage.connector));
    run_for(loop, 1);
    CHECK_TEXT(voyage.notes, "");
    CHECK_INT(voyage.dropped, 2);
    end(loop);
}

TEST(cancel_told, "when the callback was called there is nothing to give up: the connection stays")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { .cancels_when_told = true };
    quays['a'].at_once = -1;
    sail(loop, &voyage, &(struct cora_connect_options){ .host = "a.quay", .port = PORT });
    CHECK(!voyage.was_cancelled);
    CHECK(!cora_connector_cancel(voyage.connector));
    run_for(loop, 1);
    CHECK(!cora_transport_is_closing(voyage.transport));
    CHECK(!has_left('a'));
    end(loop);
}

TEST(cancel_in_tick, "given up by another callback of the tick in which it would connect")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    depart(loop, &voyage, &(struct cora_connect_options){ .host = "198.51.100.97", .port = PORT });
    answer('a', 0);
    cora_call_soon(loop, cora_partial(on_cancel, &voyage));
    run_for(loop, 1);
    CHECK(voyage.was_cancelled);
    CHECK_TEXT(voyage.notes, "");
    CHECK(has_left('a'));
    end(loop);
}

TEST(cancel_in_used_memory, "connectors are given back also where connections were before")
{
    static struct voyage first[50], second[200];
    struct cora_connect_options options = { .host = "198.51.100.97", .port = PORT };
    cora_loop loop = loop_new();
    quays['a'].at_once = -1;
    for (int i = 0; i < 50; i++)
        depart(loop, &first[i], &options);
    end(loop); /* the connections were to start in the next tick */
    loop = loop_new();
    refuses("a", EHOSTUNREACH);
    for (int i = 0; i < 200; i++)
        depart(loop, &second[i], &options);
    for (int i = 0; i < 200; i++)
        CHECK(cora_connector_cancel(second[i].connector));
    tick(loop);
    CHECK_INT(cora_live(loop), 0);
    end(loop);
}

/* A value whose drop runs one tick of a loop, or takes a guest from its host; once. */
struct stowaway {
    cora_loop runs, leaves;
};

static void stowaway_acts(void *pointer)
{
    struct stowaway *stowaway = pointer, now = *stowaway;
    *stowaway = (struct stowaway){ 0 };
    if (!cora_is_null(now.runs))
        tick(now.runs);
    if (!cora_is_null(now.leaves))
        CHECK_INT(cora_loop_detach(now.leaves), 0);
}

static const cora_type hidden = { "stowaway", stowaway_acts, NULL, 0 };

/* Begins a voyage whose callback is bound to a stowaway. */
static void depart_with(cora_loop loop, struct voyage *voyage, struct stowaway *stowaway,
                        const struct cora_connect_options *options)
{
    voyage->connector = cora_connect(loop, options, cora_partial(boat_new, voyage),
                                     cora_partial(on_told, voyage, cora_own(stowaway, &hidden)));
    CHECK(!cora_is_null(voyage->connector));
    cora_drop_temporaries();
}

TEST(cancel_runs, "what is dropped when one is given up may run the loop: there is no connection")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    struct stowaway stowaway = { { 0 }, { 0 } };
    quays['a'].at_once = -1;
    depart_with(loop, &voyage, &stowaway,
                &(struct cora_connect_options){ .host = "198.51.100.97", .port = PORT });
    CHECK_TEXT(voyage.notes, "factory");
    stowaway.runs = loop;
    CHECK(cora_connector_cancel(voyage.connector));
    CHECK(cora_is_null(stowaway.runs));
    run_for(loop, 1);
    CHECK_INT(voyage.told, 0);
    CHECK(has_left('a'));
    CHECK_INT(voyage.protocols_dropped, 1);
    CHECK_INT(cora_live(loop), 0);
    end(loop);
}

TEST(cancel_leaves, "what is dropped when one is given up may take the guest from its host")
{
    for (int answered = 0; answered < 2; answered++) {
        struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
        cora_loop loop = cora_loop_attach(host, NULL);
        struct voyage voyage = { 0 };
        struct stowaway stowaway = { { 0 }, { 0 } };
        quays['a'].at_once = answered ? -1 : 0;
        depart_with(loop, &voyage, &stowaway,
                    &(struct cora_connect_options){ .host = "198.51.100.97", .port = PORT });
        stowaway.leaves = loop;
        CHECK(cora_connector_cancel(voyage.connector));
        CHECK(cora_is_null(stowaway.leaves));
        ev_run(host, EVRUN_NOWAIT);
        CHECK_INT(voyage.told, 0);
        CHECK_INT(voyage.protocols_dropped, answered);
        CHECK(has_left('a'));
        ev_loop_destroy(host);
        end((cora_loop){ 0 });
    }
}

TEST(cancel_null, "there is nothing to give up of null, and of another's handle")
{
    CHECK(!cora_connector_cancel((cora_connector){ 0 }));
    CHECK(!cora_connector_cancel((cora_connector){ 12345 }));
}

/* ---- closing the loop ---- */

TEST(close_lookup, "a loop that is closed during a look-up drops everything")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    gate_set(true);
    depart(loop, &voyage, &(struct cora_connect_options){ .host = "a.quay", .port = PORT });
    gate_wait();
    cora_loop_close(loop);
    CHECK_INT(voyage.dropped, 2);
    CHECK(!cora_connector_cancel(voyage.connector));
    end_with_threads(loop);
}

TEST(close_connecting, "a loop that is closed during a race closes all sockets")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    depart(loop, &voyage,
           &(struct cora_connect_options){
               .host = "AaB.quay", .port = PORT, .happy_eyeballs_delay = 0.3 });
    run_until_tried(loop);
    run_for(loop, 0.35);
    CHECK(strchr(tried, 'a'));
    cora_loop_close(loop);
    CHECK_INT(voyage.dropped, 2);
    CHECK(has_left('A'));
    CHECK(has_left('a'));
    end(loop);
}

TEST(close_connected, "a loop that is closed before connection_made drops the protocol")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    quays['a'].at_once = -1;
    depart(loop, &voyage, &(struct cora_connect_options){ .host = "198.51.100.97", .port = PORT });
    cora_loop_close(loop);
    CHECK_TEXT(voyage.notes, "factory");
    CHECK_INT(voyage.dropped, 2);
    CHECK_INT(voyage.protocols_dropped, 1);
    CHECK(has_left('a'));
    end(loop);
}

TEST(close_made, "a loop that is closed before the callback drops that, and the connection")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    quays['a'].at_once = -1;
    depart(loop, &voyage, &(struct cora_connect_options){ .host = "198.51.100.97", .port = PORT });
    tick(loop);
    cora_loop_close(loop);
    CHECK_TEXT(voyage.notes, "factory made");
    CHECK_INT(voyage.dropped, 2);
    CHECK_INT(voyage.protocols_dropped, 1);
    CHECK(has_left('a'));
    end(loop);
}

/* ---- sockets that were accepted elsewhere ---- */

TEST(accepted_socket,
     "a socket accepted elsewhere becomes a connection, which answers what it reads",
     "test_events.EventLoopTestsMixin.test_connect_accepted_socket")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    int port, listener = listener_new(AF_INET, &port), peer = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    CHECK_INT(connect(peer, (struct sockaddr *)&address, sizeof address), 0);
    cora_transport transport = cora_connect_accepted_socket(
        loop, accept4(listener, NULL, NULL, SOCK_CLOEXEC), cora_partial(boat_new, &voyage));
    CHECK_TEXT(voyage.notes, "factory");
    tick(loop);
    CHECK_TEXT(voyage.notes, "factory made");
    CHECK(cora_same(transport, voyage.made));
    put(peer, "who");
    while (!strstr(voyage.notes, "who"))
        tick(loop);
    CHECK_INT(cora_transport_write(transport, "me", 2), 0);
    CHECK_TEXT(take(peer), "me");
    close(peer);
    while (!strstr(voyage.notes, "lost"))
        tick(loop);
    CHECK_INT(voyage.protocols_dropped, 1);
    close(listener);
    end(loop);
}

TEST(accepted_peername, "a connection of an accepted socket knows its peer")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    int port, listener = listener_new(AF_INET, &port), peer = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    CHECK_INT(connect(peer, (struct sockaddr *)&address, sizeof address), 0);
    CHECK_INT(getsockname(peer, (struct sockaddr *)&address, &size), 0);
    cora_transport transport = cora_connect_accepted_socket(
        loop, accept4(listener, NULL, NULL, SOCK_CLOEXEC), cora_partial(boat_new, &voyage));
    cora_value name = cora_transport_get_extra_info(transport, "peername", cora_nothing());
    CHECK_INT(cora_as_int(cora_list_at(name, 1)), ntohs(address.sin_port));
    close(peer);
    close(listener);
    end(loop);
}

TEST(accepted_datagram, "a datagram socket is refused, and stays the caller's")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { 0 };
    int made = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(cora_is_null(cora_connect_accepted_socket(loop, made, cora_partial(boat_new, &voyage))));
    CHECK_INT(cora_last_error_code(), CORA_EVALUE);
    CHECK_TEXT(voyage.notes, "");
    CHECK_INT(close(made), 0);
    end(loop);
}

TEST(accepted_factory_fails, "when the factory fails the socket stays the caller's")
{
    cora_loop loop = loop_new();
    struct voyage voyage = { .fails_in_factory = true };
    int ends[2];
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    CHECK(
        cora_is_null(cora_connect_accepted_socket(loop, ends[0], cora_partial(boat_new, &voyage))));
    CHECK_INT(cora_last_error_code(), CORA_EVALUE);
    CHECK_INT(voyage.protocols_dropped, 1);
    CHECK_INT(close(ends[0]), 0);
    close(ends[1]);
    CHECK_INT(cora_live(loop), 0);
    end(loop);
}

/* ---- as a guest ---- */

TEST(guest, "a guest connects while its host runs, and lets it end when there is nothing to do")
{
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    cora_loop loop = cora_loop_attach(host, NULL);
    struct voyage voyage = { 0 };
    refuses("a", ECONNREFUSED);
    quays['b'].at_once = -1;
    depart(loop, &voyage, &(struct cora_connect_options){ .host = "ab.quay", .port = PORT });
    while (!voyage.made.bits)
        ev_run(host, EVRUN_ONCE);
    cora_transport_close(voyage.made);
    ev_run(host, 0);
    CHECK_TEXT(voyage.notes, "factory made told lost");
    CHECK_INT(cora_loop_detach(loop), 0);
    ev_loop_destroy(host);
    end((cora_loop){ 0 });
}
