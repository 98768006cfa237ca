/*
 * How it works: a question is what getaddrinfo or getnameinfo is asked, and what it says. One that
 * cannot block (numeric host, numeric service) is answered at once. Any other is copied into a
 * query, which a thread answers. A look-up is the object in the loop that somebody waits for.
 *
 *     lookup_start --> question --> answered at once --------------------------> queued, called
 *                         |                                                         ^
 *                         +--> query: asked --> answered, its letter is sent -------+
 *                                  |
 *                                  +--> dropped: its look-up was given up
 *
 * A query has the letter in it that says that it is answered: so an answer that is there needs no
 * memory to arrive. It belongs to the threads while it is asked and to the loop's thread when it is
 * answered; the one lock of the resolver guards that change. An answered query that was given up is
 * freed when its letter arrives.
 *
 * The pool of threads is there while there are queries: whoever frees the last one closes it. So a
 * process where nothing is being looked up has no thread of the resolver's, and a thread that is
 * stuck in a look-up that was given up still counts.
 *
 * The handle of a look-up is good until its callback is called, so that a callback whose look-up
 * was cancelled never runs: its end, a turn, is queued behind the callback.
 *
 * A fork waits for the lock. The child has no threads: what was asked is lost, and asked again by
 * cora_after_fork.
 */
#include "resolver.h"

#include "fork.h"
#include "object.h"
#include "private_resolver.h"
#include "thread_pool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#define THREADS_MAX 4
#define HOST_MAX 253 /* bytes of a name, without a dot at its end */
#define LABEL_MAX 63
#define SERVICE_MAX 255
#define PORT_MAX 65535

/* ---- the values of an outcome ---- */

static void addresses_drop(void *pointer)
{
    freeaddrinfo(pointer);
}

static int addresses_print(const void *pointer, char *buffer, size_t size)
{
    const struct addrinfo *first = pointer;
    char host[INET6_ADDRSTRLEN] = "?";
    size_t more = 0;
    if (first->ai_family == AF_INET)
        inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)first->ai_addr)->sin_addr, host,
                  sizeof host);
    else if (first->ai_family == AF_INET6)
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)(void *)first->ai_addr)->sin6_addr, host,
                  sizeof host);
    for (const struct addrinfo *next = first->ai_next; next; next = next->ai_next)
        more++;
    return snprintf(buffer, size, more ? "<addresses %s and %zu more>" : "<addresses %s>", host,
                    more);
}

const cora_type cora_type_addresses = { "addresses", addresses_drop, addresses_print, KIND_OWN };

const struct addrinfo *cora_as_addresses(cora_value value)
{
    if (value.type == &cora_type_addresses)
        return cora_as_pointer(value);
    cora_as_slow(value, &cora_type_addresses); /* says what it is instead */
    return NULL;
}

static cora_value from_inet(const struct sockaddr_in *address)
{
    char host[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &address->sin_addr, host, sizeof host);
    cora_value parts[] = { cora_text(host), cora_int(ntohs(address->sin_port)) };
    return cora_is_error(parts[0]) ? parts[0] : cora_list(parts, 2);
}

static cora_value from_inet6(const struct sockaddr_in6 *address)
{
    char host[INET6_ADDRSTRLEN];
    inet_ntop(AF_INET6, &address->sin6_addr, host, sizeof host);
    cora_value parts[] = { cora_text(host), cora_int(ntohs(address->sin6_port)),
                           cora_int(ntohl(address->sin6_flowinfo)),
                           cora_int(address->sin6_scope_id) };
    return cora_is_error(parts[0]) ? parts[0] : cora_list(parts, 4);
}

/* A path; the bytes of a name in the abstract namespace, which begins with a zero, as in Python. */
static cora_value from_unix(const char *path, size_t size)
{
    if (size > 0 && !path[0])
        return cora_bytes(path, size);
    return cora_textf("%.*s", (int)strnlen(path, size), path);
}

cora_value cora_from_address(const struct sockaddr *address, socklen_t size)
{
    const size_t path = offsetof(struct sockaddr_un, sun_path);
    struct sockaddr_storage copy = { .ss_family = AF_UNSPEC };
    if (!address || size < sizeof copy.ss_family || size > sizeof copy)
        return cora_nothing();
    memcpy(&copy, address, size);
    if (copy.ss_family == AF_INET && size >= sizeof(struct sockaddr_in))
        return from_inet((struct sockaddr_in *)&copy);
    if (copy.ss_family == AF_INET6 && size >= sizeof(struct sockaddr_in6))
        return from_inet6((struct sockaddr_in6 *)&copy);
    if (copy.ss_family == AF_UNIX && size >= path)
        return from_unix((const char *)&copy + path, size - path);
    return cora_nothing();
}

/* ---- questions ---- */

struct question {
    void (*ask)(struct question *question);
    bool blocks;   /* it reads files or asks servers */
    bool has_host; /* else NULL */
    bool has_service;
    struct addrinfo hints;
    struct addrinfo *result;
    union {
        struct sockaddr any;
        struct sockaddr_storage room;
        char bytes[sizeof(struct sockaddr_storage) + 1]; /* so that a path has an end */
    } address;
    socklen_t size;  /* of the address */
    int flags;       /* NI_... */
    int code, error; /* what was returned, and errno */
    char host[NI_MAXHOST], service[SERVICE_MAX + 1];
};

static void ask_addresses(struct question *question)
{
    question->code = getaddrinfo(question->has_host ? question->host : NULL,
                                 question->has_service ? question->service : NULL, &question->hints,
                                 &question->result);
    question->error = errno;
}

static void ask_name(struct question *question)
{
    question->code =
        getnameinfo(&question->address.any, question->size, question->host, sizeof question->host,
                    question->service, sizeof question->service, question->flags);
    question->error = errno;
}

/* The error of a code of getaddrinfo's, in CPython's words. */
static cora_value resolver_error(int code, int error)
{
    if (code == EAI_SYSTEM && error > 0)
        return cora_error(-error, NULL);
    return cora_error(CORA_EGAI, "[Errno %d] %s", code, gai_strerror(code));
}

/* The value of an answer; takes over the result. */
static cora_value answer_value(struct question *question)
{
    struct addrinfo *result = question->result;
    question->result = NULL;
    if (question->code)
        return resolver_error(question->code, question->error);
    if (result)
        return cora_own(result, &cora_type_addresses);
    if (question->ask == ask_addresses)
        return cora_error(
            CORA_EOS, "getaddrinfo(%s%s%s) returned empty list", question->has_host ? "'" : "",
            question->has_host ? question->host : "None", question->has_host ? "'" : "");
    cora_value parts[] = { cora_text(question->host), cora_text(question->service) };
    for (size_t i = 0; i < 2; i++)
        if (cora_is_error(parts[i]))
            return parts[i];
    return cora_list(parts, 2);
}

/* Nothing, or the error of a text with bytes that no name has. */
static cora_value check_bytes(const char *text, const char *what)
{
    for (size_t i = 0; text[i]; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return cora_error(CORA_EVALUE,
                              "byte 0x%02x at %zu of the %s: only printable ASCII can be looked up",
                              (unsigned char)text[i], i, what);
    return cora_nothing();
}

/* Nothing, or the error of what cannot be a name: it is refused, never cut. */
static cora_value check_host(const char *host)
{
    size_t length = strlen(host);
    if (length == 0)
        return resolver_error(EAI_NONAME, 0);
    if (length - (host[length - 1] == '.') > HOST_MAX)
        return cora_error(CORA_EVALUE, "a host of %zu bytes: a name has at most %d", length,
                          HOST_MAX);
    for (const char *label = host; *label;) {
        size_t size = strcspn(label, ".");
        if (size == 0 || size > LABEL_MAX)
            return cora_error(CORA_EVALUE, "a label of %zu bytes in \"%s\": it has 1 to %d", size,
                              host, LABEL_MAX);
        label += size + (label[size] == '.');
    }
    return check_bytes(host, "host");
}

static bool is_number(const char *text)
{
    return text[strspn(text, "0123456789")] == '\0';
}

static cora_value check_service(const char *service)
{
    const char *digits = service + strspn(service, "0");
    if (strlen(service) > SERVICE_MAX)
        return cora_error(CORA_EVALUE, "a service of %zu bytes: it has at most %d", strlen(service),
                          SERVICE_MAX);
    if (is_number(service) && (strlen(digits) > 5 || atoi(digits) > PORT_MAX))
        return cora_error(CORA_EVALUE, "port %s: it must be 0 to %d", service, PORT_MAX);
    if (*service == '-' || *service == '+')
        return cora_error(CORA_EVALUE, "service \"%s\" is neither a number nor a name", service);
    return check_bytes(service, "service");
}

/* Whether it is an address in the usual form, of IPv6 also with a scope: "fe80::1%eth0". */
static bool is_literal(const char *host)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr ignored;
    size_t length = strcspn(host, "%");
    if (inet_pton(AF_INET, host, &ignored) == 1)
        return true;
    if (length >= sizeof address)
        return false;
    memcpy(address, host, length);
    address[length] = '\0';
    return inet_pton(AF_INET6, address, &ignored) == 1;
}

/*
 * asyncio asks nobody about a literal address of streams or datagrams: the protocol is what belongs
 * to the type, and it does not matter which families the machine has.
 */
static void hints_for_literal(struct addrinfo *hints)
{
    if (hints->ai_protocol != 0 && hints->ai_protocol != IPPROTO_TCP &&
        hints->ai_protocol != IPPROTO_UDP)
        return;
    if (hints->ai_socktype != SOCK_STREAM && hints->ai_socktype != SOCK_DGRAM)
        return;
    hints->ai_protocol = hints->ai_socktype == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
    hints->ai_flags &= ~AI_ADDRCONFIG;
}

/* Makes the question. Nothing, or the error of what need not be asked. */
static cora_value question_of_addresses(struct question *question, const char *host,
                                        const char *service, const struct addrinfo *hints)
{
    cora_value error = host ? check_host(host) : cora_nothing();
    if (cora_is_nothing(error) && service)
        error = check_service(service);
    if (!cora_is_nothing(error))
        return error;
    *question = (struct question){ .ask = ask_addresses,
                                   .has_host = host != NULL,
                                   .has_service = service != NULL };
    if (hints) {
        question->hints.ai_flags = hints->ai_flags;
        question->hints.ai_family = hints->ai_family;
        question->hints.ai_socktype = hints->ai_socktype;
        question->hints.ai_protocol = hints->ai_protocol;
    }
    int *flags = &question->hints.ai_flags;
    if (host) {
        strcpy(question->host, host); /* its length is checked */
        if (is_literal(host)) {
            hints_for_literal(&question->hints);
            *flags |= AI_NUMERICHOST;
        }
    }
    if (service) {
        strcpy(question->service, *service ? service : "0");
        if (is_number(service))
            *flags |= AI_NUMERICSERV;
    }
    question->blocks =
        (host && !(*flags & AI_NUMERICHOST)) || (service && !(*flags & AI_NUMERICSERV));
    return cora_nothing();
}

static cora_value question_of_name(struct question *question, const struct sockaddr *address,
                                   socklen_t size, int flags)
{
    *question = (struct question){ .ask = ask_name, .size = size, .flags = flags };
    if (!address || size < sizeof address->sa_family || size > sizeof question->address.room)
        return cora_error(CORA_EVALUE, "%zu bytes are no socket address", (size_t)size);
    memcpy(&question->address, address, size);
    const int numeric = NI_NUMERICHOST | NI_NUMERICSERV;
    question->blocks = (flags & numeric) != numeric;
    return cora_nothing();
}

/* ---- queries: questions that threads ask ---- */

enum query_state {
    QUERY_ASKED,    /* the question is a thread's */
    QUERY_ANSWERED, /* its letter is sent: all of it is the loop's thread's, and freed there */
    QUERY_UNSENT,   /* the loop was closed before */
    QUERY_DROPPED,  /* given up while a thread asked, which frees it */
    QUERY_LOST,     /* was asked by a thread of the parent process */
};

struct query {
    struct job job;
    struct query *next, **link; /* in the list of all; under the lock */
    enum query_state state;     /* under the lock */
    struct letter letter;       /* says that it is answered */
    cora_loop loop;
    uint64_t lookup; /* who wants the answer: the loop's thread's; 0: nobody */
    struct question question;
};

/* The resolver of this process. */
static struct {
    pthread_mutex_t lock;
    struct query *queries;
    struct thread_pool *pool; /* there while there are queries; NULL also in a child */
} resolver = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Takes it out of the list; gives the pool to be closed if it was the last. The lock is held. */
static struct thread_pool *query_unlist(struct query *query)
{
    struct thread_pool *unused = NULL;
    *query->link = query->next;
    if (query->next)
        query->next->link = query->link;
    if (!resolver.queries) {
        unused = resolver.pool;
        resolver.pool = NULL;
    }
    return unused;
}

static void query_free(struct query *query)
{
    pthread_mutex_lock(&resolver.lock);
    struct thread_pool *unused = query_unlist(query);
    pthread_mutex_unlock(&resolver.lock);
    if (query->question.result)
        freeaddrinfo(query->question.result);
    free(query);
    if (unused)
        thread_pool_close(unused);
}

static struct query *query_of(struct job *job)
{
    return (struct query *)job;
}

static void query_run(struct job *job)
{
    struct question *question = &query_of(job)->question;
    question->ask(question);
}

static void query_done(struct job *job)
{
    struct query *query = query_of(job);
    pthread_mutex_lock(&resolver.lock);
    bool dropped = query->state == QUERY_DROPPED;
    if (!dropped)
        query->state = letter_send(query->loop, &query->letter) ? QUERY_ANSWERED : QUERY_UNSENT;
    pthread_mutex_unlock(&resolver.lock);
    if (dropped)
        query_free(query);
}

/* Gives it to a thread: 0, or the error is set. The lock is held. */
static int query_submit(struct query *query)
{
    if (!resolver.pool)
        resolver.pool = thread_pool_new(THREADS_MAX, "cora-resolver", NULL);
    if (!resolver.pool)
        return -ENOMEM;
    query->state = QUERY_ASKED;
    return thread_pool_submit(resolver.pool, &query->job);
}

/* The error of what query_submit says. */
static cora_value submit_error(int code)
{
    if (code == -ENOMEM)
        return memory_error();
    return cora_error(code, "no thread can be started to look up names");
}

/* ---- forks ---- */

static void fork_child(void)
{
    if (resolver.pool)
        thread_pool_forget(resolver.pool);
    resolver.pool = NULL;
    for (struct query *query = resolver.queries, *next; query; query = next) {
        next = query->next;
        if (query->state == QUERY_ASKED)
            query->state = QUERY_LOST;
        if (query->state != QUERY_DROPPED)
            continue;
        query_unlist(query);
        free(query); /* what its thread had got by then is not reached any more */
    }
}

static struct fork_hooks fork_hooks = { .lock = &resolver.lock, .child = fork_child };

/* ---- look-ups ---- */

/* An object's memory; all of it is the loop's thread's. */
struct lookup {
    struct loop *loop;
    struct hook hook;    /* whom to tell; empty when that is done */
    struct hook turn;    /* ends the look-up when its callback was called; empty when queued */
    cora_handle told;    /* the callback in the queue, or null */
    cora_handle turning; /* the turn in the queue, or null */
    struct query *query; /* NULL: nothing is asked */
};

/* No answer is wanted any more. */
static void query_drop(struct loop *loop, struct query *query)
{
    pthread_mutex_lock(&resolver.lock);
    bool sent = query->state == QUERY_ANSWERED;
    bool asking = query->state == QUERY_ASKED && !thread_pool_cancel(resolver.pool, &query->job);
    if (asking)
        query->state = QUERY_DROPPED;
    if (sent)
        query->lookup = 0; /* it is freed when its letter arrives */
    pthread_mutex_unlock(&resolver.lock);
    loop_awaited(loop);
    if (!asking && !sent)
        query_free(query);
}

/* Works on a copy, as a drop function of the program's may do anything: those run last. */
static void lookup_close(void *memory)
{
    struct lookup *lookup = memory, closed = *lookup;
    *lookup = (struct lookup){ .loop = closed.loop };
    if (closed.query)
        query_drop(closed.loop, closed.query);
    if (closed.loop->ev && closed.turning.bits)
        cora_handle_cancel(closed.turning);
    hook_drop(closed.loop, &closed.turn);
    if (closed.loop->ev && closed.told.bits)
        cora_handle_cancel(closed.told);
    hook_drop(closed.loop, &closed.hook);
}

static const struct cora_object_type lookup_type = { "lookup", sizeof(struct lookup),
                                                     lookup_close };

static struct lookup *lookup_get(uint64_t bits)
{
    return cora_object_get(bits, &lookup_type);
}

/* The look-up has ended: its callback was called, or its function is to be. */
static void on_turn(cora_args bound, cora_value outcome)
{
    uint64_t bits = (uint64_t)cora_arg_int(bound, 0);
    struct lookup *lookup = lookup_get(bits);
    if (!lookup)
        return;
    struct loop *loop = lookup->loop;
    struct hook hook = lookup->hook;
    lookup->hook = (struct hook){ 0 };
    lookup->told = lookup->turning = (cora_handle){ 0 };
    cora_object_close(bits, &lookup_type);
    hook_tell(loop, &hook, outcome);
}

/* Lets the outcome be told in the next tick. */
static void lookup_tell(struct lookup *lookup, cora_value outcome)
{
    struct loop *loop = lookup->loop;
    if (!lookup->hook.function && lookup->hook.as.slot) {
        lookup->told.bits = lookup->hook.as.slot->bits;
        hook_tell(loop, &lookup->hook, outcome);
        outcome = cora_nothing();
    }
    lookup->turning.bits = lookup->turn.as.slot->bits;
    hook_tell(loop, &lookup->turn, outcome);
}

/* The letter has come. A function is called in this tick, as asyncio's future would be done. */
static void on_arrived(struct loop *arrives, struct letter *letter)
{
    struct query *query = (struct query *)(void *)((char *)letter - offsetof(struct query, letter));
    uint64_t bits = query->lookup;
    struct lookup *lookup = arrives && bits ? lookup_get(bits) : NULL;
    if (!lookup) {
        query_free(query);
        return;
    }
    lookup->query = NULL;
    loop_awaited(lookup->loop);
    cora_value outcome = answer_value(&query->question);
    query_free(query);
    if (!lookup->hook.function) {
        lookup_tell(lookup, outcome);
        return;
    }
    struct loop *loop = lookup->loop;
    struct hook hook = lookup->hook;
    lookup->hook = (struct hook){ 0 };
    cora_object_close(bits, &lookup_type);
    hook_tell(loop, &hook, outcome);
}

/* In a child: what the parent's threads were asking is asked again. */
static void lookups_after_fork(struct loop *loop)
{
    for (;;) {
        int code = 0;
        pthread_mutex_lock(&resolver.lock);
        struct query *query = resolver.queries;
        while (query && (!cora_same(query->loop, loop_handle(loop)) || query->state != QUERY_LOST))
            query = query->next;
        if (query) {
            if (query->question.result)
                freeaddrinfo(query->question.result);
            query->question.result = NULL;
            code = query_submit(query);
        }
        pthread_mutex_unlock(&resolver.lock);
        if (!query)
            return;
        if (code == 0)
            continue;
        struct lookup *lookup = lookup_get(query->lookup);
        lookup->query = NULL;
        loop_awaited(loop);
        query_free(query);
        lookup_tell(lookup, submit_error(code));
    }
}

/* Lets a thread ask. 0, or a code and the error is set. */
static int lookup_ask(struct lookup *lookup, uint64_t bits, const struct question *question)
{
    struct loop *loop = lookup->loop;
    fork_hooks_add(&fork_hooks);
    struct query *query = forks_prepare() == 0 ? malloc(sizeof *query) : NULL;
    if (!query)
        return fail_with(memory_error());
    *query = (struct query){ .job = { .run = query_run, .done = query_done },
                             .loop = loop_handle(loop),
                             .lookup = bits,
                             .question = *question };
    letter_init(&query->letter, on_arrived);
    pthread_mutex_lock(&resolver.lock);
    query->next = resolver.queries;
    query->link = &resolver.queries;
    if (query->next)
        query->next->link = &query->next;
    resolver.queries = query;
    int code = query_submit(query);
    pthread_mutex_unlock(&resolver.lock);
    if (code < 0) {
        query_free(query);
        return fail_with(submit_error(code));
    }
    lookup->query = query;
    loop_await(loop);
    loop->lookups_after_fork = lookups_after_fork;
    return 0;
}

/* The outcome if it is known without a thread; else nothing. */
static cora_value answer_now(cora_value known, struct question *question)
{
    if (!cora_is_nothing(known) || question->blocks)
        return known;
    question->ask(question);
    return answer_value(question);
}

/* An object with all that telling needs; null without memory. */
static cora_lookup lookup_new(struct loop *loop, const struct hook *hook)
{
    const struct cora_place *place = !hook->function && hook->as.slot
                                         ? slot_callback(hook->as.slot)->place
                                         : CORA_PLACE("lookup_start");
    cora_lookup handle = { cora_object_new_at(loop_handle(loop), &lookup_type, place) };
    struct lookup *lookup = handle.bits ? lookup_get(handle.bits) : NULL;
    if (!lookup)
        return handle;
    lookup->loop = loop;
    if (hook_store(loop, &lookup->turn, cora_partial(on_turn, (long long)handle.bits)))
        return handle;
    cora_object_close(handle.bits, &lookup_type);
    return (cora_lookup){ 0 };
}

/* Begins a look-up, whose outcome is known already or wants to be asked for. */
static cora_lookup lookup_begin(struct loop *loop, struct hook hook, cora_value known,
                                struct question *question)
{
    cora_value outcome = answer_now(known, question);
    cora_lookup handle = lookup_new(loop, &hook);
    struct lookup *lookup = handle.bits ? lookup_get(handle.bits) : NULL;
    if (!lookup)
        return handle;
    if (cora_is_nothing(outcome) && lookup_ask(lookup, handle.bits, question) < 0) {
        cora_object_close(handle.bits, &lookup_type);
        return (cora_lookup){ 0 };
    }
    lookup->hook = hook;
    if (!cora_is_nothing(outcome))
        lookup_tell(lookup, outcome);
    return handle;
}

cora_value lookup_now(const char *host, const char *service, const struct addrinfo *hints)
{
    struct question question;
    cora_value known = question_of_addresses(&question, host, service, hints);
    return answer_now(known, &question);
}

cora_lookup lookup_start(struct loop *loop, const char *host, const char *service,
                         const struct addrinfo *hints, struct hook hook)
{
    struct question question;
    cora_value known = question_of_addresses(&question, host, service, hints);
    return lookup_begin(loop, hook, known, &question);
}

cora_lookup lookup_start_name(struct loop *loop, const struct sockaddr *address, socklen_t size,
                              int flags, struct hook hook)
{
    struct question question;
    cora_value known = question_of_name(&question, address, size, flags);
    return lookup_begin(loop, hook, known, &question);
}

cora_lookup cora_resolve(cora_loop handle, const char *host, const char *service,
                         const struct addrinfo *hints, cora_outcome_callback callback)
{
    struct hook hook;
    cora_lookup lookup = { 0 };
    struct loop *loop = loop_get(handle);
    if (!loop || !hook_store(loop, &hook, callback))
        return lookup;
    lookup = lookup_start(loop, host, service, hints, hook);
    if (!lookup.bits)
        hook_drop(loop, &hook);
    return lookup;
}

cora_lookup cora_resolve_address(cora_loop handle, const struct sockaddr *address, socklen_t size,
                                 int flags, cora_outcome_callback callback)
{
    struct hook hook;
    cora_lookup lookup = { 0 };
    struct loop *loop = loop_get(handle);
    if (!loop || !hook_store(loop, &hook, callback))
        return lookup;
    lookup = lookup_start_name(loop, address, size, flags, hook);
    if (!lookup.bits)
        hook_drop(loop, &hook);
    return lookup;
}

bool cora_lookup_cancel(cora_lookup handle)
{
    struct lookup *lookup = lookup_get(handle.bits);
    if (!lookup)
        return false;
    struct slot *told = lookup->told.bits ? slot_at(lookup->told.bits) : NULL;
    if (told && (!slot_is(told, lookup->told.bits) || slot_state(told) != SLOT_QUEUED)) {
        fail(CORA_EINVALIDSTATE, "the look-up has ended: its callback was called");
        return false;
    }
    return cora_object_close(handle.bits, &lookup_type) == 0;
}

void address_print(const struct sockaddr *address, socklen_t size, char *buffer, size_t room)
{
    cora_value list = cora_from_address(address, size);
    *buffer = 0;
    if (cora_is_nothing(list))
        return;
    if (list.type != &cora_type_list) {
        cora_print(list, buffer, room);
        return;
    }
    int length = snprintf(buffer, room, "('%s'", cora_as_text(cora_list_at(list, 0)));
    for (size_t i = 1; i < cora_list_size(list) && (size_t)length < room; i++)
        length += snprintf(buffer + length, room - (size_t)length, ", %lld",
                           cora_as_int(cora_list_at(list, i)));
    if ((size_t)length < room)
        snprintf(buffer + length, room - (size_t)length, ")");
}
