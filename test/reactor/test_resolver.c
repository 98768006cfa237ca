/*
 * The resolver: addresses of names and names of addresses, told by callbacks.
 *
 * The library's calls of getaddrinfo come here first. Names of this file's own world, which end in
 * ".port", are answered here: those that begin with "slow" only when the gate is opened. All others
 * go to the system.
 */
#include "harness.h"

#include <arpa/inet.h>
#include <cora.h>
#include <dlfcn.h>
#include <errno.h>
#include <ev.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MANY 20

/* ---- the system as the library sees it ---- */

static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static bool gate_open;
static int asking, most_asking; /* in the gate: now, and ever */

static atomic_int asked_in_threads; /* calls of getaddrinfo, not in the process's first thread */
static atomic_bool signals_blocked; /* SIGUSR1, in the thread that called last */
static char asked_host[1100];       /* of the last of them */
static struct addrinfo asked_hints; /* of the last call, also in the first thread */

static int system_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                              struct addrinfo **ret_list)
{
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&next = dlsym(RTLD_NEXT, "getaddrinfo");
    return next(host, service, hints, ret_list);
}

static void gate_pass(void)
{
    pthread_mutex_lock(&gate_lock);
    if (++asking > most_asking)
        most_asking = asking;
    pthread_cond_broadcast(&gate_moved);
    while (!gate_open)
        pthread_cond_wait(&gate_moved, &gate_lock);
    asking--;
    pthread_mutex_unlock(&gate_lock);
}

static void gate_set(bool open)
{
    pthread_mutex_lock(&gate_lock);
    gate_open = open;
    pthread_cond_broadcast(&gate_moved);
    pthread_mutex_unlock(&gate_lock);
}

/* Waits until so many threads are in the gate. */
static void gate_wait(int count)
{
    pthread_mutex_lock(&gate_lock);
    while (asking < count)
        pthread_cond_wait(&gate_moved, &gate_lock);
    pthread_mutex_unlock(&gate_lock);
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), size = strlen(end);
    return length >= size && strcmp(text + length - size, end) == 0;
}

int getaddrinfo(const char *restrict host, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict ret_list)
{
    sigset_t mask;
    if (gettid() != getpid()) {
        atomic_fetch_add(&asked_in_threads, 1);
        pthread_sigmask(SIG_SETMASK, NULL, &mask);
        atomic_store(&signals_blocked, sigismember(&mask, SIGUSR1) == 1);
        pthread_mutex_lock(&gate_lock);
        snprintf(asked_host, sizeof asked_host, "%s", host ? host : "(null)");
        pthread_mutex_unlock(&gate_lock);
    }
    pthread_mutex_lock(&gate_lock);
    if (hints)
        asked_hints = *hints;
    pthread_mutex_unlock(&gate_lock);
    if (!host || !ends_with(host, ".port"))
        return system_getaddrinfo(host, service, hints, ret_list);
    if (strncmp(host, "slow", 4) == 0)
        gate_pass();
    if (strcmp(host, "fog.port") == 0)
        return EAI_AGAIN;
    if (strcmp(host, "unknown.port") == 0)
        return EAI_NONAME;
    if (strcmp(host, "wreck.port") == 0) {
        errno = EMFILE;
        return EAI_SYSTEM;
    }
    *ret_list = NULL;
    if (strcmp(host, "empty.port") == 0)
        return 0;
    return system_getaddrinfo("192.0.2.7", service, hints, ret_list);
}

/* Threads that cannot be started: not where a sanitizer is a part of the program itself. */
#if defined __clang__ && defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define THREADS_ALWAYS_START 1
#endif
#endif
static atomic_bool threads_refused;

#ifndef THREADS_ALWAYS_START
int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes,
                   void *(*run)(void *), void *restrict argument)
{
    int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (atomic_load(&threads_refused))
        return EAGAIN;
    *(void **)&next = dlsym(RTLD_NEXT, "pthread_create");
    return next(thread, attributes, run, argument);
}
#endif

/* Tests may share a process. */
static void fresh(void)
{
    gate_set(false);
    most_asking = 0;
    atomic_store(&asked_in_threads, 0);
    atomic_store(&threads_refused, false);
}

/* ---- helpers ---- */

/* What came of look-ups. */
struct answers {
    cora_value outcomes[2 * MANY]; /* references */
    int count, wanted;             /* the run stops when they are all there */
};

static void on_answer(cora_args bound, cora_value outcome)
{
    struct answers *answers = cora_arg(bound, 0, struct answers *);
    answers->outcomes[answers->count++] = cora_copy(outcome);
    if (answers->count == answers->wanted)
        cora_stop(cora_running_loop());
}

static void answers_drop(struct answers *answers)
{
    for (int i = 0; i < answers->count; i++)
        cora_drop(answers->outcomes[i]);
    answers->count = 0;
}

static cora_loop loop_new(void)
{
    cora_loop loop = cora_loop_new(NULL);
    CHECK(!cora_is_null(loop));
    return loop;
}

static void tick(cora_loop loop)
{
    CHECK_INT(cora_stop(loop), 0);
    CHECK_INT(cora_run_forever(loop), 0);
}

/* Runs until there are so many. */
static void run_for(cora_loop loop, struct answers *answers, int wanted)
{
    answers->wanted = wanted;
    if (answers->count < wanted)
        CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(answers->count, wanted);
}

static const struct addrinfo stream = { .ai_socktype = SOCK_STREAM };

/* The only outcome of a look-up: a reference. */
static cora_value resolve(const char *host, const char *service, const struct addrinfo *hints)
{
    cora_loop loop = loop_new();
    struct answers answers = { .count = 0 };
    cora_lookup lookup =
        cora_resolve(loop, host, service, hints, cora_partial(on_answer, &answers));
    CHECK(!cora_is_null(lookup));
    run_for(loop, &answers, 1);
    CHECK_INT(cora_loop_close(loop), 0);
    return answers.outcomes[0];
}

static const char *shown(const struct addrinfo *entry)
{
    static char text[100];
    char host[INET6_ADDRSTRLEN] = "?";
    CHECK(entry != NULL);
    if (entry->ai_family == AF_INET) {
        const struct sockaddr_in *address = (const struct sockaddr_in *)(void *)entry->ai_addr;
        inet_ntop(AF_INET, &address->sin_addr, host, sizeof host);
        snprintf(text, sizeof text, "%s %d", host, ntohs(address->sin_port));
    } else {
        const struct sockaddr_in6 *address = (const struct sockaddr_in6 *)(void *)entry->ai_addr;
        CHECK_INT(entry->ai_family, AF_INET6);
        inet_ntop(AF_INET6, &address->sin6_addr, host, sizeof host);
        snprintf(text, sizeof text, "%s %d %d", host, ntohs(address->sin6_port),
                 (int)address->sin6_scope_id);
    }
    return text;
}

/* The first address of a look-up: "host port", of IPv6 "host port scope". */
static const char *first_of(const char *host, const char *service, const struct addrinfo *hints)
{
    cora_value outcome = resolve(host, service, hints);
    CHECK_TEXT(cora_error_message(outcome), "");
    const char *text = shown(cora_as_addresses(outcome));
    cora_drop(outcome);
    return text;
}

static int length_of(cora_value outcome)
{
    int length = 0;
    for (const struct addrinfo *next = cora_as_addresses(outcome); next; next = next->ai_next)
        length++;
    return length;
}

/* Checks that a look-up fails so, and drops what it said. */
static void check_failure(cora_value outcome, int code, const char *message)
{
    CHECK(cora_is_error(outcome));
    CHECK_INT(cora_error_code(outcome), code);
    if (message)
        CHECK_TEXT(cora_error_message(outcome), message);
    cora_drop(outcome);
}

static void count_drop(void *pointer)
{
    atomic_fetch_add((atomic_int *)pointer, 1);
}

static const cora_type counted = { "counted", count_drop, NULL, 0 };

/* ---- as a program uses it ---- */

struct visit {
    char text[100];
    int visits;
};

static void on_resolved(cora_args bound, cora_value outcome)
{
    struct visit *visit = cora_arg(bound, 0, struct visit *);
    const struct addrinfo *first = cora_as_addresses(outcome);
    snprintf(visit->text, sizeof visit->text, "%s for the %s: %s", cora_arg_text(bound, 2),
             cora_arg_text(bound, 1), shown(first));
    visit->visits++;
    cora_stop(cora_running_loop());
}

TEST(resolve, "the callback of a look-up gets its bound arguments and the addresses, once")
{
    fresh();
    cora_loop loop = loop_new();
    struct visit visit = { .visits = 0 };
    cora_lookup lookup = cora_resolve(loop, "harbour.port", "80", &stream,
                                      cora_partial(on_resolved, &visit, "ferry", "berth"));
    CHECK(!cora_is_null(lookup));
    CHECK_INT(visit.visits, 0);
    CHECK_INT(cora_run_forever(loop), 0);
    tick(loop);
    CHECK_INT(visit.visits, 1);
    CHECK_TEXT(visit.text, "berth for the ferry: 192.0.2.7 80");
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}

TEST(localhost, "a name of the system's own is found by the system")
{
    if (!harness_file_says("/etc/hosts", "localhost"))
        SKIP("this system does not know localhost by itself");
    fresh();
    cora_value outcome = resolve("localhost", "7", &(struct addrinfo){ .ai_family = AF_INET });
    CHECK_TEXT(shown(cora_as_addresses(outcome)), "127.0.0.1 7");
    CHECK_INT(atomic_load(&asked_in_threads), 1);
    cora_drop(outcome);
}

TEST(kept, "addresses that are kept outlive their look-up and its loop")
{
    fresh();
    cora_value outcome = resolve("harbour.port", "80", &stream);
    char text[60];
    cora_print(outcome, text, sizeof text);
    CHECK_TEXT(text, "<addresses 192.0.2.7>");
    cora_drop(outcome);
}

TEST(as_addresses, "what is no value of addresses reads as NULL, and that is a TypeError")
{
    fresh();
    atomic_int drops = 0;
    CHECK(cora_as_addresses(cora_int(3)) == NULL);
    CHECK_INT(cora_last_error_code(), CORA_ETYPE);
    CHECK(cora_as_addresses(cora_own(&drops, &counted)) == NULL);
    CHECK_INT(cora_last_error_code(), CORA_ETYPE);
    cora_drop_temporaries();
}

/* ---- literal addresses ---- */

static void check_literal(const char *host, const char *service, int type, const char *expected)
{
    const struct addrinfo hints = { .ai_socktype = type };
    cora_value outcome = resolve(host, service, &hints);
    const struct addrinfo *entry = cora_as_addresses(outcome);
    CHECK_TEXT(shown(entry), expected);
    CHECK_INT(entry->ai_socktype, type);
    CHECK_INT(entry->ai_protocol, type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP);
    CHECK(entry->ai_next == NULL);
    CHECK_INT(atomic_load(&asked_in_threads), 0);
    cora_drop(outcome);
}

TEST(literal,
     "a literal address of streams or datagrams has the protocol of its type, and no thread",
     "test_base_events.BaseEventTests.test_ipaddr_info")
{
    fresh();
    check_literal("1.2.3.4", "1", SOCK_STREAM, "1.2.3.4 1");
    check_literal("1.2.3.4", "1", SOCK_DGRAM, "1.2.3.4 1");
    check_literal("::3", "1", SOCK_STREAM, "::3 1 0");
    check_literal("::3", "65535", SOCK_DGRAM, "::3 65535 0");
    check_literal("::ffff:1.2.3.4", "0", SOCK_STREAM, "::ffff:1.2.3.4 0 0");
}

TEST(literal_protocol, "of a literal address the type decides the protocol, not the hint",
     "test_base_events.BaseEventTests.test_ipaddr_info")
{
    fresh();
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_UDP };
    cora_value outcome = resolve("1.2.3.4", "1", &hints);
    CHECK_INT(cora_as_addresses(outcome)->ai_protocol, IPPROTO_TCP);
    cora_drop(outcome);
}

TEST(literal_configured, "for a literal address it does not matter which families the machine has",
     "test_base_events.BaseEventTests.test_ipaddr_info")
{
    fresh();
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
    cora_drop(resolve("::3", "1", &hints));
    CHECK_INT(asked_hints.ai_flags & AI_ADDRCONFIG, 0);
}

TEST(literal_protocol_other, "another protocol than TCP and UDP is asked for as it is",
     "test_base_events.BaseEventTests.test_ipaddr_info")
{
    fresh();
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_ICMP };
    check_failure(resolve("1.2.3.4", "1", &hints), CORA_EGAI, NULL);
}

TEST(literal_untyped, "a literal address without a type has an entry for each, and no thread",
     "test_base_events.BaseEventTests.test_ipaddr_info")
{
    fresh();
    cora_value outcome = resolve("1.2.3.4", "1", NULL);
    CHECK(length_of(outcome) > 1);
    CHECK_INT(atomic_load(&asked_in_threads), 0);
    cora_drop(outcome);
}

TEST(literal_family, "a literal address of another family than asked for is a gaierror",
     "test_base_events.BaseEventTests.test_ipaddr_info")
{
    fresh();
    const struct addrinfo inet = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM };
    const struct addrinfo inet6 = { .ai_family = AF_INET6, .ai_socktype = SOCK_STREAM };
    check_failure(resolve("::3", "1", &inet), CORA_EGAI,
                  "[Errno -9] Address family for hostname not supported");
    check_failure(resolve("1.2.3.4", "1", &inet6), CORA_EGAI,
                  "[Errno -9] Address family for hostname not supported");
    CHECK_INT(atomic_load(&asked_in_threads), 0);
}

TEST(literal_scope, "the scope of a literal address, by number or by name, is in its scope id",
     "test_base_events.BaseEventTests.test_ipaddr_info")
{
    fresh();
    CHECK_TEXT(first_of("fe80::1%1", "80", &stream), "fe80::1 80 1");
    if (if_nametoindex("lo") == 1)
        CHECK_TEXT(first_of("fe80::1%lo", "80", &stream), "fe80::1 80 1");
    check_failure(resolve("fe80::1%nowhere", "80", &stream), CORA_EGAI,
                  "[Errno -2] Name or service not known");
    CHECK_INT(atomic_load(&asked_in_threads), 0);
}

TEST(literal_next_tick, "a literal address is told in the next tick, never in the call")
{
    fresh();
    cora_loop loop = loop_new();
    struct answers answers = { .wanted = 0 };
    cora_resolve(loop, "1.2.3.4", "1", NULL, cora_partial(on_answer, &answers));
    CHECK_INT(answers.count, 0);
    tick(loop);
    CHECK_INT(answers.count, 1);
    answers_drop(&answers);
    cora_loop_close(loop);
}

TEST(numeric_flag, "with AI_NUMERICHOST a name is no address, and no thread is started for it")
{
    fresh();
    const struct addrinfo hints = { .ai_flags = AI_NUMERICHOST };
    check_failure(resolve("harbour.example", "80", &hints), CORA_EGAI,
                  "[Errno -2] Name or service not known");
    CHECK_INT(atomic_load(&asked_in_threads), 0);
}

TEST(v4_mapped, "flags are for the resolver: AI_V4MAPPED gives an IPv4 address as IPv6")
{
    fresh();
    const struct addrinfo hints = { .ai_family = AF_INET6,
                                    .ai_socktype = SOCK_STREAM,
                                    .ai_flags = AI_V4MAPPED };
    CHECK_TEXT(first_of("1.2.3.4", "80", &hints), "::ffff:1.2.3.4 80 0");
}

/* ---- services ---- */

TEST(ports, "no service and an empty one are port 0, digits are a number",
     "test_base_events.BaseEventTests.test_port_parameter_types")
{
    fresh();
    CHECK_TEXT(first_of("1.2.3.4", NULL, &stream), "1.2.3.4 0");
    CHECK_TEXT(first_of("1.2.3.4", "", &stream), "1.2.3.4 0");
    CHECK_TEXT(first_of("1.2.3.4", "1", &stream), "1.2.3.4 1");
    CHECK_TEXT(first_of("1.2.3.4", "0000000080", &stream), "1.2.3.4 80");
    CHECK_INT(atomic_load(&asked_in_threads), 0);
}

TEST(service_name, "the name of a service is looked up in a thread")
{
    if (!harness_file_says("/etc/services", "http"))
        SKIP("this system knows no names of services");
    fresh();
    CHECK_TEXT(first_of("1.2.3.4", "http", &stream), "1.2.3.4 80");
    CHECK_INT(atomic_load(&asked_in_threads), 1);
}

TEST(service_unknown, "an unknown service is a gaierror, which is an OSError")
{
    fresh();
    cora_value outcome = resolve("1.2.3.4", "fishmonger", &stream);
    CHECK(cora_error_is(outcome, CORA_EOS));
    check_failure(outcome, CORA_EGAI, "[Errno -8] Servname not supported for ai_socktype");
}

TEST(service_malformed, "what cannot be a service is a ValueError, never a part of it")
{
    fresh();
    char long_one[300];
    memset(long_one, 'x', sizeof long_one);
    long_one[256] = '\0';
    const char *const malformed[] = { "65536",
                                      "70000",
                                      "4294967376",
                                      "99999999999999999999",
                                      "-1",
                                      "+80",
                                      " 80",
                                      "80 ",
                                      "ht\ttp",
                                      "b\xc3\xa4"
                                      "cker",
                                      "\x7f",
                                      long_one };
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        check_failure(resolve("1.2.3.4", malformed[i], NULL), CORA_EVALUE, NULL);
        check_failure(resolve("harbour.port", malformed[i], NULL), CORA_EVALUE, NULL);
    }
    CHECK_INT(atomic_load(&asked_in_threads), 0);
}

TEST(service_too_large, "the error of a port that is too large says what is allowed")
{
    fresh();
    check_failure(resolve("1.2.3.4", "65536", NULL), CORA_EVALUE,
                  "port 65536: it must be 0 to 65535");
}

/* ---- no host ---- */

TEST(no_host, "no host is this machine, with AI_PASSIVE all of its addresses, and needs no thread")
{
    fresh();
    const struct addrinfo here = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM };
    const struct addrinfo any = { .ai_family = AF_INET,
                                  .ai_socktype = SOCK_STREAM,
                                  .ai_flags = AI_PASSIVE };
    CHECK_TEXT(first_of(NULL, "80", &here), "127.0.0.1 80");
    CHECK_TEXT(first_of(NULL, "80", &any), "0.0.0.0 80");
    CHECK_TEXT(first_of(NULL, "", &any), "0.0.0.0 0");
    CHECK_INT(atomic_load(&asked_in_threads), 0);
}

TEST(neither, "neither host nor service is a gaierror")
{
    fresh();
    check_failure(resolve(NULL, NULL, NULL), CORA_EGAI, "[Errno -2] Name or service not known");
}

/* ---- names ---- */

TEST(hints, "a thread is asked for the family, type, protocol and flags of the hints")
{
    fresh();
    const struct addrinfo hints = { .ai_family = AF_INET,
                                    .ai_socktype = SOCK_DGRAM,
                                    .ai_protocol = IPPROTO_UDP,
                                    .ai_flags = AI_CANONNAME };
    cora_drop(resolve("harbour.port", "80", &hints));
    CHECK_INT(asked_hints.ai_family, AF_INET);
    CHECK_INT(asked_hints.ai_socktype, SOCK_DGRAM);
    CHECK_INT(asked_hints.ai_protocol, IPPROTO_UDP);
    CHECK(asked_hints.ai_flags & AI_CANONNAME);
}

TEST(unknown, "an unknown name is a gaierror in the resolver's own words")
{
    fresh();
    cora_value outcome = resolve("unknown.port", "80", NULL);
    CHECK(cora_error_is(outcome, CORA_EOS));
    check_failure(outcome, CORA_EGAI, "[Errno -2] Name or service not known");
}

TEST(again, "a server of names that does not answer is a gaierror")
{
    fresh();
    check_failure(resolve("fog.port", "80", NULL), CORA_EGAI,
                  "[Errno -3] Temporary failure in name resolution");
}

TEST(system_error, "a failing system call is that system's error")
{
    fresh();
    check_failure(resolve("wreck.port", "80", NULL), -EMFILE, "[Errno 24] Too many open files");
}

TEST(empty_list, "a name without any address is an OSError")
{
    fresh();
    check_failure(resolve("empty.port", "80", NULL), CORA_EOS,
                  "getaddrinfo('empty.port') returned empty list");
}

/* A name of so many bytes, all labels of which have at most so many. */
static const char *name_of(size_t size, size_t label)
{
    static char name[600];
    memset(name, 'a', size);
    for (size_t i = label; i < size - 1; i += label + 1)
        name[i] = '.';
    name[size] = '\0';
    return name;
}

static const char *ending(const char *name, const char *end)
{
    static char text[700];
    snprintf(text, sizeof text, "%s%s", name, end);
    return text;
}

TEST(long_names, "a name of 253 bytes, and a label of 63, is asked for as it is")
{
    fresh();
    const char *longest = ending(name_of(248, 63), ".port");
    CHECK_INT(strlen(longest), 253);
    cora_drop(resolve(longest, "80", NULL));
    CHECK_TEXT(asked_host, longest);
    const char *rooted = ending(name_of(253, 50), ".");
    cora_drop(resolve(rooted, "80", &(struct addrinfo){ .ai_flags = AI_NUMERICHOST }));
}

TEST(malformed, "what cannot be a name is a ValueError, never cut, and nobody is asked")
{
    fresh();
    const char *const malformed[] = {
        ".",         "..",         ".port",       "a..port",
        "harbour..", " ",          "the harbour", "harbour.port\n",
        "har\rbour", "\x01",       "\x7f.port",   "b\xc3\xbchne.port",
        "\xff",      "127.0.0.1 ", "127.0.0.1\t",
    };
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++)
        check_failure(resolve(malformed[i], "80", NULL), CORA_EVALUE, NULL);
    CHECK_INT(atomic_load(&asked_in_threads), 0);
}

TEST(too_long, "a longer name, and one with a longer label, is a ValueError")
{
    fresh();
    check_failure(resolve(name_of(254, 63), "80", NULL), CORA_EVALUE,
                  "a host of 254 bytes: a name has at most 253");
    check_failure(resolve(ending(name_of(254, 63), "."), "80", NULL), CORA_EVALUE, NULL);
    check_failure(resolve(name_of(500, 63), "80", NULL), CORA_EVALUE, NULL);
    check_failure(resolve(name_of(64, 64), "80", NULL), CORA_EVALUE, NULL);
    check_failure(resolve(ending(name_of(64, 64), ".port"), "80", NULL), CORA_EVALUE, NULL);
    CHECK_INT(atomic_load(&asked_in_threads), 0);
}

TEST(empty_name, "an empty name is not known, and nobody is asked")
{
    fresh();
    check_failure(resolve("", "80", NULL), CORA_EGAI, "[Errno -2] Name or service not known");
    CHECK_INT(atomic_load(&asked_in_threads), 0);
}

/* ---- giving up ---- */

TEST(cancel_queued, "a look-up can be given up until its callback is called")
{
    fresh();
    cora_loop loop = loop_new();
    struct answers answers = { .wanted = 0 };
    atomic_int drops = 0;
    cora_lookup lookup = cora_resolve(
        loop, "1.2.3.4", "1", NULL, cora_partial(on_answer, &answers, cora_own(&drops, &counted)));
    cora_drop_temporaries();
    cora_set_last_error(cora_error(CORA_EEXCEPTION, "of something else"));
    CHECK(cora_lookup_cancel(lookup));
    CHECK_INT(atomic_load(&drops), 1);
    tick(loop);
    tick(loop);
    CHECK_INT(answers.count, 0);
    CHECK_INT(cora_last_error_code(), CORA_EEXCEPTION);
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}

struct sibling {
    cora_lookup lookup;
    int calls, cancelled;
};

static void on_cancel_sibling(cora_args bound, cora_value outcome)
{
    struct sibling *sibling = cora_arg(bound, 0, struct sibling *);
    (void)outcome;
    sibling->calls++;
    sibling->cancelled += cora_lookup_cancel(sibling->lookup);
}

TEST(cancel_sibling, "a callback gives up a look-up whose callback is queued behind it")
{
    fresh();
    cora_loop loop = loop_new();
    struct sibling sibling = { .calls = 0 };
    cora_resolve(loop, "1.2.3.4", "1", NULL, cora_partial(on_cancel_sibling, &sibling));
    sibling.lookup =
        cora_resolve(loop, "1.2.3.5", "1", NULL, cora_partial(on_cancel_sibling, &sibling));
    tick(loop);
    tick(loop);
    CHECK_INT(sibling.calls, 1);
    CHECK_INT(sibling.cancelled, 1);
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}

TEST(cancel_own, "a callback cannot give up its own look-up any more")
{
    fresh();
    cora_loop loop = loop_new();
    struct sibling own = { .calls = 0 };
    own.lookup = cora_resolve(loop, "1.2.3.4", "1", NULL, cora_partial(on_cancel_sibling, &own));
    tick(loop);
    CHECK_INT(own.calls, 1);
    CHECK_INT(own.cancelled, 0);
    CHECK_INT(cora_last_error_code(), CORA_EINVALIDSTATE);
    cora_loop_close(loop);
}

TEST(cancel_late, "when its callback was called the handle of a look-up is stale")
{
    fresh();
    cora_loop loop = loop_new();
    struct answers answers = { .wanted = 0 };
    cora_lookup lookup =
        cora_resolve(loop, "1.2.3.4", "1", NULL, cora_partial(on_answer, &answers));
    tick(loop);
    CHECK_INT(answers.count, 1);
    CHECK(!cora_lookup_cancel(lookup));
    CHECK_INT(cora_last_error_code(), CORA_ESTALE);
    answers_drop(&answers);
    cora_loop_close(loop);
}

TEST(cancel_null, "there is nothing to give up in the null handle")
{
    fresh();
    CHECK(!cora_lookup_cancel((cora_lookup){ 0 }));
}

TEST(cancel_asking, "a look-up that a thread is busy with is given up at once, its answer dropped")
{
    fresh();
    cora_loop loop = loop_new();
    struct answers answers = { .count = 0 };
    atomic_int drops = 0;
    cora_lookup lookup =
        cora_resolve(loop, "slow.port", "80", &stream,
                     cora_partial(on_answer, &answers, cora_own(&drops, &counted)));
    cora_drop_temporaries();
    gate_wait(1);
    CHECK(cora_lookup_cancel(lookup));
    CHECK_INT(atomic_load(&drops), 1);
    CHECK_INT(cora_live(loop), 0);
    CHECK(!cora_lookup_cancel(lookup));
    gate_set(true);
    harness_threads_end();
    CHECK_INT(answers.count, 0);
    cora_loop_close(loop);
}

TEST(cancel_waiting, "a look-up that waits for a thread and is given up is never asked")
{
    fresh();
    cora_loop loop = loop_new();
    struct answers answers = { .count = 0 };
    for (int i = 0; i < 4; i++)
        cora_resolve(loop, "slow.port", "80", &stream, cora_partial(on_answer, &answers));
    gate_wait(4);
    cora_lookup lookup =
        cora_resolve(loop, "slow.port", "80", &stream, cora_partial(on_answer, &answers));
    CHECK(cora_lookup_cancel(lookup));
    gate_set(true);
    run_for(loop, &answers, 4);
    CHECK_INT(atomic_load(&asked_in_threads), 4);
    answers_drop(&answers);
    cora_loop_close(loop);
}

/* ---- threads ---- */

static void on_count(cora_args bound)
{
    ++*cora_arg(bound, 0, int *);
}

TEST(many, "at most four threads look up names; others wait, and the loop goes on meanwhile")
{
    fresh();
    cora_loop loop = loop_new();
    struct answers slow = { .count = 0 }, numeric = { .count = 0 };
    int ticks = 0;
    for (int i = 0; i < MANY; i++)
        cora_resolve(loop, "slow.port", "80", &stream, cora_partial(on_answer, &slow));
    gate_wait(4);
    for (int i = 0; i < 10; i++) {
        cora_call_soon(loop, cora_partial(on_count, &ticks));
        cora_resolve(loop, "1.2.3.4", "80", &stream, cora_partial(on_answer, &numeric));
        tick(loop);
    }
    CHECK_INT(ticks, 10);
    CHECK_INT(numeric.count, 10);
    CHECK_INT(slow.count, 0);
    CHECK_INT(atomic_load(&asked_in_threads), 4);
    gate_set(true);
    run_for(loop, &slow, MANY);
    for (int i = 0; i < MANY; i++)
        CHECK_INT(length_of(slow.outcomes[i]), 1);
    CHECK_INT(most_asking, 4);
    CHECK_INT(atomic_load(&asked_in_threads), MANY);
    answers_drop(&slow);
    answers_drop(&numeric);
    cora_loop_close(loop);
}

TEST(no_thread_left, "when nothing is looked up any more there is no thread of the resolver's")
{
    fresh();
    int before = harness_threads();
    cora_loop loop = loop_new();
    struct answers answers = { .count = 0 };
    cora_resolve(loop, "slow.port", "80", &stream, cora_partial(on_answer, &answers));
    cora_resolve(loop, "slower.port", "80", &stream, cora_partial(on_answer, &answers));
    gate_wait(2);
    CHECK_INT(harness_threads(), before + 2);
    gate_set(true);
    run_for(loop, &answers, 2);
    if (!harness_under_valgrind())
        CHECK_INT(harness_threads(), before);
    answers_drop(&answers);
    cora_loop_close(loop);
}

TEST(one_thread, "look-ups one after the other need one thread while another is being asked for")
{
    fresh();
    cora_loop loop = loop_new();
    struct answers slow = { .count = 0 }, quick = { .count = 0 };
    cora_resolve(loop, "slow.port", "80", &stream, cora_partial(on_answer, &slow));
    gate_wait(1);
    int before = harness_threads();
    for (int i = 1; i <= 5; i++) {
        cora_resolve(loop, "harbour.port", "80", &stream, cora_partial(on_answer, &quick));
        run_for(loop, &quick, i);
    }
    CHECK_INT(harness_threads(), before + 1);
    gate_set(true);
    run_for(loop, &slow, 1);
    answers_drop(&slow);
    answers_drop(&quick);
    cora_loop_close(loop);
}

TEST(signals, "the resolver's threads leave signals to the program's")
{
    fresh();
    cora_drop(resolve("harbour.port", "80", &stream));
    CHECK(atomic_load(&signals_blocked));
}

TEST(no_thread_at_all,
     "when no thread can be started a look-up cannot begin, and drops its callback")
{
    fresh();
#ifdef THREADS_ALWAYS_START
    SKIP("the sanitizer's pthread_create is in the program itself");
#endif
    cora_loop loop = loop_new();
    struct answers answers = { .count = 0 };
    atomic_int drops = 0;
    atomic_store(&threads_refused, true);
    cora_lookup lookup =
        cora_resolve(loop, "harbour.port", "80", &stream,
                     cora_partial(on_answer, &answers, cora_own(&drops, &counted)));
    CHECK(cora_is_null(lookup));
    CHECK_INT(cora_last_error_code(), -EAGAIN);
    cora_drop_temporaries();
    CHECK_INT(atomic_load(&drops), 1);
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}

TEST(no_further_thread, "when no further thread can be started a look-up waits for the others")
{
    fresh();
#ifdef THREADS_ALWAYS_START
    SKIP("the sanitizer's pthread_create is in the program itself");
#endif
    cora_loop loop = loop_new();
    struct answers answers = { .count = 0 };
    cora_resolve(loop, "slow.port", "80", &stream, cora_partial(on_answer, &answers));
    gate_wait(1);
    atomic_store(&threads_refused, true);
    CHECK(!cora_is_null(
        cora_resolve(loop, "slow.port", "80", &stream, cora_partial(on_answer, &answers))));
    gate_set(true);
    run_for(loop, &answers, 2);
    CHECK_INT(most_asking, 1);
    answers_drop(&answers);
    cora_loop_close(loop);
}

/* A loop of its own in a thread. */
static void *look_up_there(void *unused)
{
    cora_loop loop = cora_loop_new(NULL);
    struct answers answers = { .count = 0 };
    for (int i = 0; i < MANY; i++)
        cora_resolve(loop, i % 2 ? "harbour.port" : "unknown.port", "80", &stream,
                     cora_partial(on_answer, &answers));
    run_for(loop, &answers, MANY);
    int failed = 0;
    for (int i = 0; i < MANY; i++)
        failed += cora_is_error(answers.outcomes[i]);
    CHECK_INT(failed, MANY / 2);
    answers_drop(&answers);
    CHECK_INT(cora_loop_close(loop), 0);
    return unused;
}

TEST(two_loops, "loops in several threads look up names at the same time, each gets its own")
{
    fresh();
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, look_up_there, NULL), 0);
    for (int i = 0; i < 2; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    CHECK_INT(atomic_load(&asked_in_threads), 2 * MANY);
}

static void *trespass(void *argument)
{
    struct sibling *other = argument;
    CHECK(!cora_lookup_cancel(other->lookup));
    CHECK_INT(cora_last_error_code(), CORA_EWRONGTHREAD);
    return NULL;
}

TEST(other_thread, "from another thread a look-up cannot be given up")
{
    fresh();
    cora_loop loop = loop_new();
    struct answers answers = { .count = 0 };
    struct sibling other = { .calls = 0 };
    pthread_t thread;
    other.lookup =
        cora_resolve(loop, "slow.port", "80", &stream, cora_partial(on_answer, &answers));
    CHECK_INT(pthread_create(&thread, NULL, trespass, &other), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    gate_set(true);
    run_for(loop, &answers, 1);
    answers_drop(&answers);
    cora_loop_close(loop);
}

/* ---- the end of a loop ---- */

TEST(closed_queued, "a closed loop's outcome is not told, and its callback is dropped")
{
    fresh();
    cora_loop loop = loop_new();
    struct answers answers = { .count = 0 };
    atomic_int drops = 0;
    cora_lookup lookup = cora_resolve(
        loop, "1.2.3.4", "1", NULL, cora_partial(on_answer, &answers, cora_own(&drops, &counted)));
    cora_loop_close(loop);
    cora_drop_temporaries();
    CHECK_INT(atomic_load(&drops), 1);
    CHECK_INT(answers.count, 0);
    CHECK(!cora_lookup_cancel(lookup));
}

TEST(closed_asking, "a loop is closed while threads look up names for it, and never waits for them")
{
    fresh();
    cora_loop loop = loop_new();
    struct answers answers = { .count = 0 };
    atomic_int drops = 0;
    for (int i = 0; i < 6; i++)
        cora_resolve(loop, "slow.port", "80", &stream,
                     cora_partial(on_answer, &answers, cora_own(&drops, &counted)));
    gate_wait(4);
    CHECK_INT(cora_loop_close(loop), 0);
    cora_drop_temporaries();
    CHECK_INT(atomic_load(&drops), 6);
    gate_set(true);
    harness_threads_end();
    CHECK_INT(answers.count, 0);
    CHECK_INT(atomic_load(&asked_in_threads), 4);
}

TEST(closed_stuck,
     "threads that are stuck for a closed loop still count as threads of the resolver")
{
    fresh();
    cora_loop loop = loop_new();
    struct answers answers = { .count = 0 };
    for (int i = 0; i < 4; i++)
        cora_resolve(loop, "slow.port", "80", &stream, cora_partial(on_answer, &answers));
    gate_wait(4);
    cora_loop_close(loop);
    loop = loop_new();
    for (int i = 0; i < 4; i++)
        cora_resolve(loop, "slow.port", "80", &stream, cora_partial(on_answer, &answers));
    tick(loop);
    CHECK_INT(atomic_load(&asked_in_threads), 4);
    gate_set(true);
    run_for(loop, &answers, 4);
    CHECK_INT(most_asking, 4);
    answers_drop(&answers);
    harness_threads_end();
    cora_loop_close(loop);
}

/*
 * A loop with a look-up whose answer is there, and which has not run since: with a single thread
 * that goes from one to the next, the first is answered when the second is told.
 */
static cora_loop loop_with_answer(struct answers *answers, cora_lookup *ret_lookup)
{
    cora_loop loop = loop_new(), other = loop_new();
    struct answers seen = { .count = 0 };
    cora_resolve(other, "slow.port", "80", &stream, cora_partial(on_answer, &seen));
    gate_wait(1);
    atomic_store(&threads_refused, true);
    *ret_lookup =
        cora_resolve(loop, "harbour.port", "80", &stream, cora_partial(on_answer, answers));
    cora_resolve(other, "harbour.port", "80", &stream, cora_partial(on_answer, &seen));
    gate_set(true);
    run_for(other, &seen, 2);
    answers_drop(&seen);
    cora_loop_close(other);
    return loop;
}

TEST(closed_answered, "a loop is closed when an answer is there that it has not seen")
{
    fresh();
    struct answers unseen = { .count = 0 };
    cora_lookup lookup;
    cora_loop loop = loop_with_answer(&unseen, &lookup);
    CHECK_INT(cora_loop_close(loop), 0);
    CHECK_INT(unseen.count, 0);
}

TEST(cancel_answered, "a look-up is given up when its answer is there and was not seen")
{
    fresh();
    struct answers unseen = { .count = 0 };
    cora_lookup lookup;
    cora_loop loop = loop_with_answer(&unseen, &lookup);
    cora_set_last_error(cora_error(CORA_EEXCEPTION, "of something else"));
    CHECK(cora_lookup_cancel(lookup));
    tick(loop);
    tick(loop);
    CHECK_INT(unseen.count, 0);
    CHECK_INT(cora_last_error_code(), CORA_EEXCEPTION);
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
}

TEST(closed_refused, "a closed loop looks nothing up, nor does the null handle")
{
    fresh();
    cora_loop loop = loop_new();
    struct answers answers = { .count = 0 };
    cora_loop_close(loop);
    CHECK(
        cora_is_null(cora_resolve(loop, "1.2.3.4", "80", NULL, cora_partial(on_answer, &answers))));
    CHECK_INT(cora_last_error_code(), CORA_ERUNTIME);
    CHECK(cora_is_null(
        cora_resolve((cora_loop){ 0 }, "1.2.3.4", "80", NULL, cora_partial(on_answer, &answers))));
    CHECK_INT(cora_last_error_code(), CORA_ESTALE);
}

static void leave(void *pointer)
{
    cora_loop loop = { *(uint64_t *)pointer };
    CHECK_INT(cora_loop_detach(loop), 0);
}

static const cora_type leaving = { "leaving", leave, NULL, 0 };

TEST(closed_by_drop, "what a cancelled look-up drops may close the loop")
{
    fresh();
    struct ev_loop *host = ev_loop_new(0);
    cora_loop loop = cora_loop_attach(host, NULL);
    struct answers answers = { .count = 0 };
    uint64_t bits = loop.bits;
    cora_lookup lookup = cora_resolve(loop, "1.2.3.4", "1", NULL,
                                      cora_partial(on_answer, &answers, cora_own(&bits, &leaving)));
    cora_drop_temporaries();
    CHECK(cora_lookup_cancel(lookup));
    CHECK(cora_is_closed(loop));
    ev_loop_destroy(host);
}

static void on_detach(cora_args bound, cora_value outcome)
{
    (void)outcome;
    CHECK_INT(cora_loop_detach(cora_arg_loop(bound, 0)), 0);
}

TEST(guest, "a guest's look-up keeps its host's loop alive until it is told, and it may leave then")
{
    fresh();
    struct ev_loop *host = ev_loop_new(0);
    cora_loop loop = cora_loop_attach(host, NULL);
    cora_resolve(loop, "harbour.port", "80", &stream, cora_partial(on_detach, loop));
    ev_run(host, 0);
    CHECK(cora_is_closed(loop));
    ev_loop_destroy(host);
}

TEST(debug, "look-ups work in debug mode, too, told, failed and cancelled")
{
    fresh();
    cora_loop loop = loop_new();
    struct answers answers = { .count = 0 };
    CHECK_INT(cora_set_debug(loop, true), 0);
    cora_lookup lookup =
        cora_resolve(loop, "1.2.3.4", "1", NULL, cora_partial(on_answer, &answers));
    cora_resolve(loop, "harbour.port", "80", NULL, cora_partial(on_answer, &answers));
    cora_resolve(loop, "unknown.port", "80", NULL, cora_partial(on_answer, &answers));
    CHECK(cora_lookup_cancel(lookup));
    run_for(loop, &answers, 2);
    answers_drop(&answers);
    cora_loop_close(loop);
}

/* ---- forks ---- */

static void fork_or_skip(void)
{
#if defined __SANITIZE_THREAD__
    SKIP("the thread sanitizer starts no thread in a forked process");
#elif defined __has_feature
#if __has_feature(thread_sanitizer)
    SKIP("the thread sanitizer starts no thread in a forked process");
#endif
#endif
}

/* In a child: a copy of the gate, with nobody in it. */
static void gate_inherited(void)
{
    pthread_mutex_init(&gate_lock, NULL);
    pthread_cond_init(&gate_moved, NULL);
    asking = 0;
}

static int exit_code(pid_t child)
{
    int status = 0;
    CHECK_INT(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(fork_idle, "a child looks up names in threads of its own")
{
    fresh();
    fork_or_skip();
    cora_loop loop = loop_new();
    struct answers answers = { .count = 0 };
    cora_resolve(loop, "harbour.port", "80", &stream, cora_partial(on_answer, &answers));
    run_for(loop, &answers, 1);
    answers_drop(&answers);
    pid_t child = fork();
    if (child == 0) {
        CHECK_INT(cora_after_fork(loop), 0);
        cora_resolve(loop, "harbour.port", "80", &stream, cora_partial(on_answer, &answers));
        run_for(loop, &answers, 1);
        _exit(0);
    }
    CHECK_INT(exit_code(child), 0);
    cora_loop_close(loop);
}

TEST(fork_asking, "what was being looked up at a fork is told in both processes, once")
{
    fresh();
    fork_or_skip();
    cora_loop loop = loop_new();
    struct answers answers = { .count = 0 };
    for (int i = 0; i < 6; i++)
        cora_resolve(loop, "slow.port", "80", &stream, cora_partial(on_answer, &answers));
    cora_lookup dropped =
        cora_resolve(loop, "slow.port", "80", &stream, cora_partial(on_answer, &answers));
    gate_wait(4);
    pid_t child = fork();
    if (child == 0) {
        gate_inherited();
        gate_set(true);
        CHECK_INT(cora_after_fork(loop), 0);
        CHECK(cora_lookup_cancel(dropped));
        run_for(loop, &answers, 6);
        tick(loop);
        CHECK_INT(answers.count, 6);
        answers_drop(&answers);
        CHECK_INT(cora_live(loop), 0);
        CHECK_INT(cora_loop_close(loop), 0);
        harness_threads_end(); /* the one that had the dropped one may close the pool */
        _exit(0);
    }
    CHECK_INT(exit_code(child), 0);
    gate_set(true);
    run_for(loop, &answers, 7);
    answers_drop(&answers);
    cora_loop_close(loop);
}

TEST(fork_closed, "a child closes the loop it has inherited, look-ups and all")
{
    fresh();
    fork_or_skip();
    cora_loop loop = loop_new();
    struct answers answers = { .count = 0 };
    for (int i = 0; i < 6; i++)
        cora_resolve(loop, "slow.port", "80", &stream, cora_partial(on_answer, &answers));
    gate_wait(4);
    pid_t child = fork();
    if (child == 0) {
        CHECK_INT(cora_loop_close(loop), 0);
        _exit(0);
    }
    CHECK_INT(exit_code(child), 0);
    gate_set(true);
    run_for(loop, &answers, 6);
    answers_drop(&answers);
    cora_loop_close(loop);
}

/* ---- names of addresses ---- */

/* The outcome of asking for the name of an address: a reference. */
static cora_value name_address(const void *address, size_t size, int flags)
{
    cora_loop loop = loop_new();
    struct answers answers = { .count = 0 };
    CHECK(!cora_is_null(cora_resolve_address(loop, address, (socklen_t)size, flags,
                                             cora_partial(on_answer, &answers))));
    run_for(loop, &answers, 1);
    CHECK_INT(cora_loop_close(loop), 0);
    return answers.outcomes[0];
}

static struct sockaddr_in inet_address(const char *host, int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    CHECK_INT(inet_pton(AF_INET, host, &address.sin_addr), 1);
    return address;
}

static struct sockaddr_in6 inet6_address(const char *host, int port, uint32_t scope)
{
    struct sockaddr_in6 address = { .sin6_family = AF_INET6,
                                    .sin6_port = htons((uint16_t)port),
                                    .sin6_flowinfo = htonl(5),
                                    .sin6_scope_id = scope };
    CHECK_INT(inet_pton(AF_INET6, host, &address.sin6_addr), 1);
    return address;
}

static void check_value(cora_value value, const char *expected)
{
    char text[200];
    cora_print(value, text, sizeof text);
    CHECK_TEXT(text, expected);
}

TEST(numeric_name, "the numeric name of an address is a list of two texts, in the next tick")
{
    fresh();
    struct sockaddr_in address = inet_address("192.0.2.7", 80);
    int flags = NI_NUMERICHOST | NI_NUMERICSERV;
    cora_loop loop = loop_new();
    struct answers answers = { .wanted = 0 };
    cora_resolve_address(loop, (struct sockaddr *)&address, sizeof address, flags,
                         cora_partial(on_answer, &answers));
    CHECK_INT(answers.count, 0);
    tick(loop);
    CHECK_INT(answers.count, 1);
    check_value(answers.outcomes[0], "[\"192.0.2.7\", \"80\"]");
    answers_drop(&answers);
    cora_loop_close(loop);
}

TEST(named_service, "the name of a port comes from a thread")
{
    if (!harness_file_says("/etc/services", "http"))
        SKIP("this system knows no names of services");
    fresh();
    struct sockaddr_in address = inet_address("192.0.2.7", 80);
    cora_value outcome = name_address(&address, sizeof address, NI_NUMERICHOST);
    check_value(outcome, "[\"192.0.2.7\", \"http\"]");
    cora_drop(outcome);
}

TEST(name_family, "an address of an unknown family has no name: a gaierror")
{
    fresh();
    struct sockaddr_in address = inet_address("192.0.2.7", 80);
    address.sin_family = AF_MAX;
    check_failure(name_address(&address, sizeof address, NI_NUMERICHOST | NI_NUMERICSERV),
                  CORA_EGAI, "[Errno -6] ai_family not supported");
}

TEST(name_size, "what is too short or too long for an address is a ValueError")
{
    fresh();
    char room[2 * sizeof(struct sockaddr_storage)] = { 0 };
    check_failure(name_address(room, 1, 0), CORA_EVALUE, "1 bytes are no socket address");
    check_failure(name_address(room, 0, 0), CORA_EVALUE, NULL);
    check_failure(name_address(NULL, 16, 0), CORA_EVALUE, NULL);
    check_failure(name_address(room, sizeof(struct sockaddr_storage) + 1, 0), CORA_EVALUE, NULL);
}

TEST(name_cancel, "asking for a name is given up as any look-up")
{
    fresh();
    struct sockaddr_in address = inet_address("192.0.2.7", 80);
    cora_loop loop = loop_new();
    struct answers answers = { .wanted = 0 };
    cora_lookup lookup =
        cora_resolve_address(loop, (struct sockaddr *)&address, sizeof address,
                             NI_NUMERICHOST | NI_NUMERICSERV, cora_partial(on_answer, &answers));
    CHECK(cora_lookup_cancel(lookup));
    tick(loop);
    CHECK_INT(answers.count, 0);
    cora_loop_close(loop);
}

/* ---- addresses as values ---- */

TEST(from_inet, "an IPv4 address is a list of its text and its port")
{
    fresh();
    struct sockaddr_in address = inet_address("192.0.2.7", 65535);
    check_value(cora_from_address((struct sockaddr *)&address, sizeof address),
                "[\"192.0.2.7\", 65535]");
}

TEST(from_inet6, "an IPv6 address has flow and scope, too")
{
    fresh();
    struct sockaddr_in6 address = inet6_address("fe80::1", 80, 3);
    check_value(cora_from_address((struct sockaddr *)&address, sizeof address),
                "[\"fe80::1\", 80, 5, 3]");
}

TEST(from_unix, "the address of a local socket is its path")
{
    fresh();
    struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/run/ferry" };
    check_value(cora_from_address((struct sockaddr *)&address, sizeof address), "\"/run/ferry\"");
    check_value(
        cora_from_address((struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path)),
        "\"\"");
}

TEST(from_unix_full, "a path that fills its address, without a zero, is not read beyond its end")
{
    fresh();
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    memset(address.sun_path, 'q', sizeof address.sun_path);
    cora_value path = cora_from_address((struct sockaddr *)&address, sizeof address);
    CHECK_INT(strlen(cora_as_text(path)), sizeof address.sun_path);
}

TEST(from_unix_abstract, "a name in the abstract namespace is bytes, as in Python")
{
    fresh();
    struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "\0ferry" };
    size_t size = 0;
    cora_value name =
        cora_from_address((struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + 6);
    CHECK(memcmp(cora_as_bytes(name, &size), "\0ferry", 6) == 0);
    CHECK_INT(size, 6);
    CHECK(name.type == &cora_type_bytes);
}

TEST(from_nothing, "what is no address of a known family is nothing")
{
    fresh();
    struct sockaddr_in inet = inet_address("192.0.2.7", 80);
    struct sockaddr_in6 inet6 = inet6_address("::1", 80, 0);
    CHECK(cora_is_nothing(cora_from_address(NULL, 16)));
    CHECK(cora_is_nothing(cora_from_address((struct sockaddr *)&inet, 1)));
    CHECK(cora_is_nothing(cora_from_address((struct sockaddr *)&inet, sizeof inet - 1)));
    CHECK(cora_is_nothing(cora_from_address((struct sockaddr *)&inet6, sizeof inet6 - 1)));
    inet.sin_family = AF_MAX;
    CHECK(cora_is_nothing(cora_from_address((struct sockaddr *)&inet, sizeof inet)));
}
