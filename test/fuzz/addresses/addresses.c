/*
 * addresses SECONDS CALLS SEED: random hosts, services and socket addresses, to show that no text
 * and no bytes do harm, and that the resolver says what the C library says.
 *
 * How it works: texts are valid ones (hosts, services) with a few mutations. A predicate of this
 * file's own says which are refused; of the others the C library's getaddrinfo is asked the same as
 * cora_resolve, and both lists or codes must be equal. A socket address is random bytes with a
 * likely family and size, in memory of just that size, so that the address sanitizer sees what is
 * read beyond; getnameinfo and inet_ntop are asked the same.
 *
 * Nothing goes to the network or to a file: hosts that are no literal addresses are asked for with
 * AI_NUMERICHOST, services that are no numbers with AI_NUMERICSERV. Look-ups are made in rounds of
 * one loop; some are given up, some rounds end with a close. Each callback must run once, or be
 * dropped; nothing may be left. The seed that a failure prints is that of its round.
 *
 * Time is real, as nothing waits. SECONDS and CALLS (0: no limit) end the run, whichever is first.
 */
#include <arpa/inet.h>
#include <cora.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/un.h>
#include <time.h>

#define IN_ROUND 64
#define TEXT_SIZE 1200 /* more than any name that is looked up */

static uint64_t round_seed, state, calls;

/* ---- chance ---- */

static uint64_t scramble(uint64_t number)
{
    number += 0x9e3779b97f4a7c15;
    number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9;
    number = (number ^ number >> 27) * 0x94d049bb133111eb;
    return number ^ number >> 31;
}

static unsigned below(unsigned limit)
{
    return (unsigned)(scramble(state++) % limit);
}

static bool rarely(unsigned one_in)
{
    return below(one_in) == 0;
}

__attribute__((noreturn, format(printf, 1, 2))) static void broken(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    fprintf(stderr, "\naddresses: ");
    vfprintf(stderr, format, values);
    va_end(values);
    fprintf(stderr, "\nthe seed of this round is %" PRIu64 "\n", round_seed);
    abort();
}

/* ---- texts ---- */

static const char *const hosts[] = {
    "127.0.0.1",
    "192.0.2.255",
    "0.0.0.0",
    "255.255.255.255",
    "::1",
    "::",
    "2001:db8::7",
    "fe80::1%1",
    "fe80::1%lo",
    "::ffff:10.0.0.1",
    "1:2:3:4:5:6:7:8",
    "ff02::1%4294967295",
    "harbour.example",
    "a.b.c.d.e.f",
    "bakery",
    "xn--bcker-gra.example",
    "example.org.",
    "127.1",
    "0x7f.1",
    "017700000001",
    "",
    ".",
    "1:2:3:4:5:6:1.2.3.4%2",
};

static const char *const services[] = { "80",       "0",          "65535",
                                        "65536",    "http",       "",
                                        "00000443", "4294967376", "18446744073709551616",
                                        "-1",       "domain-s" };

static char some_byte(void)
{
    static const char likely[] = "0123456789abcdefABCDEF.:%-_x \t\n*/[]";
    if (rarely(4))
        return (char)(1 + below(255));
    return likely[below(sizeof likely - 1)];
}

/* One change at a random place. */
static void mutate(char *text)
{
    size_t length = strlen(text), at = below((unsigned)length + 1);
    unsigned times = rarely(10) ? below(TEXT_SIZE) : 1 + below(3);
    switch (below(6)) {
    case 0: /* a byte more, or many of the same */
    case 1:
        if (length + times >= TEXT_SIZE)
            return;
        memmove(text + at + times, text + at, length - at + 1);
        memset(text + at, some_byte(), times);
        break;
    case 2: /* a byte less */
        if (at < length)
            memmove(text + at, text + at + 1, length - at);
        break;
    case 3: /* another one */
        if (at < length)
            text[at] = some_byte();
        break;
    case 4: /* cut */
        text[at] = '\0';
        break;
    default: /* the end of another one */
        snprintf(text + at, TEXT_SIZE - at, "%s", hosts[below(sizeof hosts / sizeof *hosts)]);
    }
}

static void text_like(char *text, const char *const *valid, size_t count)
{
    strcpy(text, valid[below((unsigned)count)]);
    for (unsigned left = rarely(3) ? 0 : 1 + below(4); left > 0; left--)
        mutate(text);
}

/* A name of labels around the longest that is allowed. */
static void long_text(char *text)
{
    size_t length = 240 + below(30), label = 55 + below(12);
    memset(text, 'q', length);
    for (size_t i = label; i < length; i += label + 1)
        text[i] = '.';
    text[length] = '\0';
}

/* ---- what is refused ---- */

static bool is_printable(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x21 || (unsigned char)*text > 0x7e)
            return false;
    return true;
}

static bool is_number(const char *text)
{
    for (; *text; text++)
        if (*text < '0' || *text > '9')
            return false;
    return true;
}

/* Whether a host that is not empty cannot be one: by its dots alone, from the last to the first. */
static bool is_bad_host(const char *host)
{
    size_t length = strlen(host), end = length;
    if (host[length - 1] == '.')
        end = --length;
    if (length > 253 || length == 0 || !is_printable(host))
        return true;
    for (size_t i = length; i-- > 0;) {
        if (host[i] != '.')
            continue;
        if (end - i - 1 == 0 || end - i - 1 > 63)
            return true;
        end = i;
    }
    return end == 0 || end > 63;
}

static bool is_bad_service(const char *service)
{
    uint64_t port = 0;
    if (is_number(service))
        for (const char *digit = service; *digit; digit++)
            if ((port = port * 10 + (uint64_t)(*digit - '0')) > 65535)
                return true;
    return strlen(service) > 255 || !is_printable(service) || *service == '-' || *service == '+';
}

/* An address as inet_pton knows it; IPv6 also with something behind a percent sign. */
static bool is_literal(const char *host)
{
    char copy[TEXT_SIZE];
    struct in6_addr address;
    strcpy(copy, host);
    if (inet_pton(AF_INET, copy, &address) == 1)
        return true;
    char *scope = strchr(copy, '%');
    if (scope)
        *scope = '\0';
    return inet_pton(AF_INET6, copy, &address) == 1;
}

/* ---- look-ups ---- */

/* One of a round, and what must come of it. */
struct asked {
    cora_lookup lookup;
    char host[TEXT_SIZE], service[TEXT_SIZE];
    int code;              /* 0, CORA_EGAI or CORA_EVALUE */
    int system_code;       /* the C library's */
    struct addrinfo *list; /* what the C library says, or NULL */
    cora_value name;       /* a reference: what it must be, of an address */
    int told, dropped;
    bool cancelled;
};

static struct asked round_of[IN_ROUND];

static void asked_drop(void *pointer)
{
    ((struct asked *)pointer)->dropped++;
}

static const cora_type type_asked = { "asked", asked_drop, NULL, 0 };

static void check_entry(const struct asked *asked, const struct addrinfo *is,
                        const struct addrinfo *expected)
{
    if (is->ai_family != expected->ai_family || is->ai_socktype != expected->ai_socktype ||
        is->ai_protocol != expected->ai_protocol || is->ai_addrlen != expected->ai_addrlen ||
        memcmp(is->ai_addr, expected->ai_addr, is->ai_addrlen) != 0)
        broken("another entry for \"%s\" \"%s\"", asked->host, asked->service);
    if (!is->ai_canonname != !expected->ai_canonname ||
        (is->ai_canonname && strcmp(is->ai_canonname, expected->ai_canonname) != 0))
        broken("another canonical name for \"%s\"", asked->host);
}

static void check_addresses(const struct asked *asked, cora_value outcome)
{
    const struct addrinfo *is = cora_as_addresses(outcome), *expected = asked->list;
    char text[100];
    if (!is)
        broken("no addresses for \"%s\" \"%s\"", asked->host, asked->service);
    for (; is && expected; is = is->ai_next, expected = expected->ai_next)
        check_entry(asked, is, expected);
    if (is || expected)
        broken("a list of another length for \"%s\" \"%s\"", asked->host, asked->service);
    cora_print(outcome, text, sizeof text);
}

static void check_error(const struct asked *asked, cora_value outcome)
{
    char expected[200];
    snprintf(expected, sizeof expected, "[Errno %d] %s", asked->system_code,
             gai_strerror(asked->system_code));
    if (cora_error_code(outcome) != asked->code)
        broken("\"%s\" \"%s\" is %s (%s), and should be %s", asked->host, asked->service,
               cora_error_name(cora_error_code(outcome)), cora_error_message(outcome),
               cora_error_name(asked->code));
    if (asked->code == CORA_EGAI && strcmp(cora_error_message(outcome), expected) != 0)
        broken("\"%s\" \"%s\" says \"%s\", and should say \"%s\"", asked->host, asked->service,
               cora_error_message(outcome), expected);
}

static void on_told(cora_args bound, cora_value outcome)
{
    struct asked *asked = cora_arg(bound, 0, struct asked *);
    if (asked->told++ || asked->cancelled)
        broken("\"%s\" \"%s\" is told again, or was given up", asked->host, asked->service);
    if (asked->code != 0 || cora_is_error(outcome))
        check_error(asked, outcome);
    else if (cora_is_nothing(asked->name))
        check_addresses(asked, outcome);
    else if (!cora_equal(outcome, asked->name))
        broken("another name");
}

static struct addrinfo some_hints(void)
{
    static const int families[] = { AF_UNSPEC, AF_UNSPEC, AF_INET, AF_INET6, AF_UNIX, -7 };
    static const int types[] = { 0, SOCK_STREAM, SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, 77 };
    static const int protocols[] = { 0, 0, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP };
    static const int flags[] = { AI_PASSIVE,           AI_CANONNAME,  AI_V4MAPPED,
                                 AI_V4MAPPED | AI_ALL, AI_ADDRCONFIG, 0x8000000 };
    struct addrinfo hints = { .ai_family = families[below(6)],
                              .ai_socktype = types[below(6)],
                              .ai_protocol = protocols[below(5)] };
    while (rarely(2))
        hints.ai_flags |= flags[below(rarely(10) ? 6 : 5)];
    return hints;
}

/* What asyncio does about the hints of a literal address (resolver.c), said once more. */
static struct addrinfo hints_for_system(const char *host, struct addrinfo hints)
{
    bool usual = hints.ai_protocol == 0 || hints.ai_protocol == IPPROTO_TCP ||
                 hints.ai_protocol == IPPROTO_UDP;
    if (host && is_literal(host) && usual && hints.ai_socktype == SOCK_STREAM)
        hints.ai_protocol = IPPROTO_TCP;
    else if (host && is_literal(host) && usual && hints.ai_socktype == SOCK_DGRAM)
        hints.ai_protocol = IPPROTO_UDP;
    else
        return hints;
    hints.ai_flags &= ~AI_ADDRCONFIG;
    return hints;
}

/* What must come of it: asks the C library. */
static void expect(struct asked *asked, const char *host, const char *service,
                   struct addrinfo hints)
{
    asked->code = CORA_EGAI;
    asked->system_code = EAI_NONAME;
    if (host && !*host)
        return;
    asked->code = CORA_EVALUE;
    if ((host && is_bad_host(host)) || (service && is_bad_service(service)))
        return;
    hints = hints_for_system(host, hints);
    if (host)
        hints.ai_flags |= AI_NUMERICHOST;
    if (service)
        hints.ai_flags |= AI_NUMERICSERV;
    asked->system_code =
        getaddrinfo(host, service && !*service ? "0" : service, &hints, &asked->list);
    asked->code = asked->system_code == 0 ? 0 : CORA_EGAI;
}

static void ask_addresses(cora_loop loop, struct asked *asked)
{
    const char *host = asked->host, *service = asked->service;
    struct addrinfo hints = some_hints();
    if (rarely(20))
        long_text(asked->host);
    else
        text_like(asked->host, hosts, sizeof hosts / sizeof *hosts);
    text_like(asked->service, services, sizeof services / sizeof *services);
    if (rarely(10))
        host = NULL;
    if (rarely(10))
        service = NULL;
    if (host && (rarely(4) || !is_literal(host)))
        hints.ai_flags |= AI_NUMERICHOST;
    if (service && (rarely(4) || !is_number(service)))
        hints.ai_flags |= AI_NUMERICSERV;
    expect(asked, host, service, hints);
    asked->lookup = cora_resolve(loop, host, service, &hints,
                                 cora_partial(on_told, asked, cora_own(asked, &type_asked)));
}

/* ---- socket addresses ---- */

/* Random bytes with a likely family, in memory of its own size. */
static struct sockaddr *some_address(socklen_t *ret_size)
{
    static const sa_family_t families[] = { AF_INET, AF_INET6, AF_UNIX, AF_UNSPEC, AF_MAX };
    static const unsigned sizes[] = { sizeof(struct sockaddr_in), sizeof(struct sockaddr_in6),
                                      sizeof(struct sockaddr_un), 2, 8 };
    unsigned which = below(5);
    sa_family_t family = rarely(10) ? (sa_family_t)below(65536) : families[which];
    *ret_size = rarely(3) ? below(sizeof(struct sockaddr_storage) + 8) : sizes[which];
    char *bytes = malloc(*ret_size ? *ret_size : 1);
    if (!bytes)
        broken("no memory");
    bool zeros = rarely(3);
    for (size_t i = 0; i < *ret_size; i++)
        bytes[i] = zeros ? 0 : (char)below(256);
    if (*ret_size >= sizeof family)
        memcpy(bytes, &family, sizeof family);
    return (struct sockaddr *)(void *)bytes;
}

/* What an address must read as; of local sockets only the kind. */
static void check_from_address(const struct sockaddr *address, socklen_t size)
{
    char host[INET6_ADDRSTRLEN];
    cora_value value = cora_from_address(address, size);
    sa_family_t family = AF_UNSPEC;
    struct sockaddr_in6 copy;
    if (size >= sizeof family)
        memcpy(&family, address, sizeof family);
    bool large = size > sizeof(struct sockaddr_storage);
    if (!large && family == AF_INET && size >= sizeof(struct sockaddr_in)) {
        memcpy(&copy, address, sizeof(struct sockaddr_in));
        inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)&copy)->sin_addr, host, sizeof host);
        if (cora_list_size(value) != 2)
            broken("an IPv4 address has %zu parts", cora_list_size(value));
    } else if (!large && family == AF_INET6 && size >= sizeof copy) {
        memcpy(&copy, address, sizeof copy);
        inet_ntop(AF_INET6, &copy.sin6_addr, host, sizeof host);
        if (cora_list_size(value) != 4 ||
            cora_as_int(cora_list_at(value, 2)) != ntohl(copy.sin6_flowinfo) ||
            cora_as_int(cora_list_at(value, 3)) != copy.sin6_scope_id)
            broken("an IPv6 address with other parts");
    } else if (!large && family == AF_UNIX && size >= offsetof(struct sockaddr_un, sun_path)) {
        size_t length = 0;
        cora_as_bytes(value, &length);
        if (length > size - offsetof(struct sockaddr_un, sun_path))
            broken("a path that is longer than its address");
        return;
    } else {
        if (!cora_is_nothing(value))
            broken("something for family %d, %u bytes", family, size);
        return;
    }
    if (strcmp(cora_as_text(cora_list_at(value, 0)), host) != 0 ||
        cora_as_int(cora_list_at(value, 1)) != ntohs(copy.sin6_port))
        broken("another text than %s", host);
}

static void ask_name(cora_loop loop, struct asked *asked)
{
    socklen_t size;
    struct sockaddr *address = some_address(&size);
    char room[sizeof(struct sockaddr_storage) + 8] = { 0 };
    int flags = NI_NUMERICHOST | NI_NUMERICSERV;
    if (rarely(4))
        flags |= rarely(2) ? NI_DGRAM : NI_NAMEREQD;
    check_from_address(address, size);
    asked->code = CORA_EVALUE;
    if (size >= sizeof address->sa_family && size <= sizeof(struct sockaddr_storage)) {
        memcpy(room, address, size);
        asked->system_code = getnameinfo((struct sockaddr *)(void *)room, size, asked->host,
                                         NI_MAXHOST, asked->service, 256, flags);
        asked->code = asked->system_code == 0 ? 0 : CORA_EGAI;
        const cora_value parts[] = { cora_text(asked->host), cora_text(asked->service) };
        asked->name = cora_copy(cora_list(parts, 2));
    }
    asked->lookup = cora_resolve_address(
        loop, address, size, flags, cora_partial(on_told, asked, cora_own(asked, &type_asked)));
    free(address);
}

/* ---- rounds ---- */

static void tick(cora_loop loop)
{
    cora_stop(loop);
    if (cora_run_forever(loop) < 0)
        broken("the loop does not run: %s", cora_error_message(cora_last_error()));
}

static void check_end(struct asked *asked, bool closed)
{
    if (asked->dropped != 1)
        broken("an argument was dropped %d times", asked->dropped);
    if (asked->told != !asked->cancelled && !closed)
        broken("\"%s\" \"%s\" was told %d times", asked->host, asked->service, asked->told);
    if (cora_lookup_cancel(asked->lookup))
        broken("a look-up is given up after its end");
    if (asked->list)
        freeaddrinfo(asked->list);
    cora_drop(asked->name);
}

static void round_run(void)
{
    bool closes = rarely(20);
    cora_loop loop = cora_loop_new(NULL);
    if (cora_is_null(loop))
        broken("no loop: %s", cora_error_message(cora_last_error()));
    for (unsigned i = 0; i < IN_ROUND; i++, calls++) {
        struct asked *asked = &round_of[i];
        *asked = (struct asked){ .told = 0 };
        if (rarely(3))
            ask_name(loop, asked);
        else
            ask_addresses(loop, asked);
        if (!asked->lookup.bits)
            broken("no look-up: %s", cora_error_message(cora_last_error()));
        struct asked *other = &round_of[below(i + 1)];
        if (rarely(8) && cora_lookup_cancel(other->lookup))
            other->cancelled = true;
        if (rarely(16))
            tick(loop);
    }
    for (int ticks = 0; ticks < 2 && !closes; ticks++)
        tick(loop);
    if (!closes && cora_live(loop) != 0)
        broken("%zu things are left in the loop", cora_live(loop));
    cora_loop_close(loop);
    cora_drop_temporaries();
    for (unsigned i = 0; i < IN_ROUND; i++)
        check_end(&round_of[i], closes);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static uint64_t number_of(int count, char **arguments, int index)
{
    return count > index ? strtoull(arguments[index], NULL, 10) : 0;
}

int main(int count, char **arguments)
{
    double end = now() + (count > 1 ? strtod(arguments[1], NULL) : 10);
    uint64_t most = number_of(count, arguments, 2), seed = number_of(count, arguments, 3);
    if (seed == 0 && getrandom(&seed, sizeof seed, 0) != sizeof seed)
        return 1;
    seed >>= number_of(count, arguments, 3) ? 0 : 20; /* one that is easily typed */
    round_seed = seed;
    cora_set_last_error(cora_nothing());
    size_t values = 0;
    for (uint64_t rounds = 0; now() < end && (most == 0 || calls < most); rounds++) {
        state = scramble(round_seed);
        round_run();
        cora_lookup_cancel((cora_lookup){ 0 }); /* the last error is one of the same size */
        if (rounds > 0 && cora_live_values() != values)
            broken("%zu values instead of %zu", cora_live_values(), values);
        values = cora_live_values();
        round_seed++;
    }
    printf("%" PRIu64 " look-ups, seed %" PRIu64 ", no report\n", calls, seed);
    return 0;
}
