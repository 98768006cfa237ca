/*
 * harbour.h (private): the scenes of the network, for the tests in which memory runs out and those
 * in which system calls fail: vessels, which are protocols, come and go, on connections over
 * loopback and on pairs of sockets. How a scene is played: stage.h. A program says what becomes of
 * a scene by defining NETWORK_SCENE(name, sentence, ...) before it includes this.
 *
 * Where a scene is called back it uses cora_listen, cora_connect and cora_resolve; where it is
 * awaited, what stands for these in futures/. All that is open is closed when a scene ends, and is
 * gone when the curtain has fallen: each vessel was lost once if it was made, and is dropped.
 */
#ifndef HARBOUR_H
#define HARBOUR_H

#include "calls.h"
#include "stage.h"

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/un.h>

enum which {
    NUMERIC,          /* how to connect */
    NAMED,            /* by a name, and from a name */
    SEVERAL,          /* the first address refuses */
    EYEBALLS,         /* the first address does not answer, and another is tried, too */
    GIVEN_SOCKET,     /* with a socket that is connected */
    BUFFERED,         /* how to talk: protocols with buffers of their own */
    HALF_CLOSED,      /* the client shuts its side down, and is answered then */
    PAUSED,           /* who receives is paused for a while */
    IN_DEBUG,         /* so that everything is told */
    LATER,            /* serves later */
    COROUTINES_SERVE, /* each connection by a coroutine, not by a callback */
    EXHAUSTED,        /* there is no descriptor for the first connection at first */
};

#define VESSELS 16

struct vessel {
    bool serves, made, lost;
    cora_transport transport;
    size_t total;      /* bytes received */
    char heard[40];    /* the first of them */
    char buffer[1000]; /* for the next */
    int paused, resumed;
};

/* What is in the harbour: made anew for each play. */
static struct harbour {
    cora_connector connectors[3];
    cora_server server;
    cora_stream_writer writers[4];
    size_t writer_count;
    cora_lookup lookups[4];
    int port;
    struct vessel *vessels[VESSELS];
    size_t count;
    int descriptors; /* open before */
    int own[4];      /* the test's own sockets, to be closed */
    size_t own_count;
    cora_transport transports[2];
    cora_future operation; /* what `through` waits for */
    bool loop_closes;      /* and then nothing is told any more */
    int answers, wanted;   /* by clients; wanted 0: one */
    cora_process_transport child;
    cora_process process;
    char texts[4][80]; /* what is told of something */
} harbour;

/* ---- was it told? ---- */

/* Whether an error is the one that a call has failed with. */
static bool tells_of_call(cora_value error)
{
    int code = cora_error_code(error);
    if (!calls_fail() || !faults.failed || !cora_is_error(error) || was_transient())
        return false;
    if (faults.which == GETADDRINFO || faults.which == GETNAMEINFO)
        return code == (faults.error == EAI_SYSTEM ? -EMFILE : CORA_EGAI);
    if (faults.which == SETSOCKOPT && code == CORA_EVALUE)
        return true; /* that this option is not there */
    if (faults.error == EAFNOSUPPORT && code == -EADDRNOTAVAIL)
        return true; /* that no address is left */
    if ((faults.error == EAFNOSUPPORT || faults.error == EADDRNOTAVAIL) && code == -ECONNREFUSED)
        return true; /* one of several is left out, and is not there then */
    if (code == -ECONNRESET && strstr(cora_error_message(error), "Connection lost"))
        return true; /* why it was, wait_closed tells */
    int failure = faults.error >= REFUSED_LATER ? faults.error - REFUSED_LATER : faults.error;
    return code == -failure || strstr(cora_error_message(error), strerror(failure));
}

/* Whether one of several errors was that there is no memory. */
static bool mentions_memory(cora_value error)
{
    return cora_is_error(error) && strstr(cora_error_message(error), "out of memory");
}

static bool tells(cora_value value)
{
    if (tells_of_memory(value) || mentions_memory(value) || tells_of_call(value))
        return true;
    cora_value list = cora_is_error(value) ? cora_exceptions(value) : value;
    for (size_t i = 0; list.type == &cora_type_list && i < cora_list_size(list); i++)
        if (tells(cora_list_at(list, i)))
            return true;
    return cora_is_error(value) && tells(cora_error_cause(value));
}

/* Somebody was told this. */
static void note(cora_value value)
{
    if (calls_fail() && faults.failed && was_transient() && cora_error_code(value) == -faults.error)
        harness_fail(__FILE__, __LINE__, "%s is told: %s", call_table[faults.which].name,
                     cora_error_message(value));
    on.out_of_memory |= tells(value);
}

/* A call has given this. */
static int noted(int code)
{
    if (code < 0)
        note(cora_last_error());
    return code;
}

/* ---- the scene's own future ---- */

/* Ends what the scene waits for. */
static void finish(cora_value value)
{
    note(value);
    if (cora_done(on.future))
        return;
    if (!cora_is_error(value) && cora_set_result(on.future, value) == 0)
        return;
    cora_value error = cora_is_error(value) ? value : cora_last_error();
    if (cora_set_exception(on.future, error) < 0)
        cora_cancel(on.future);
}

/*
 * A connection has ended too early: its other end was lost before it was made. In debug mode that
 * is told if it was for memory.
 */
static void cut_off(void)
{
    bool is_lost = faults.error == ECONNABORTED || faults.error == ENOTCONN;
    if (calls_fail() ? is_lost : on.scene->which != IN_DEBUG)
        on.out_of_memory = true;
    finish(cora_error(CORA_EEXCEPTION, "cut off"));
}

/* Whether this is how a connection ends that is cut off. */
static bool is_cut_off(cora_value error)
{
    return cora_error_code(error) == CORA_EINCOMPLETEREAD || cora_error_is(error, CORA_ECONNECTION);
}

/* ---- descriptors ---- */

static bool is_open(int descriptor)
{
    quiet();
    bool open = fcntl(descriptor, F_GETFD) >= 0;
    loud();
    return open;
}

static int open_descriptors(void)
{
    int count = 0;
    for (int i = 0; i < 100; i++)
        count += is_open(i);
    return count;
}

static void own_socket(int descriptor)
{
    CHECK(descriptor >= 0 && harbour.own_count < sizeof harbour.own / sizeof *harbour.own);
    harbour.own[harbour.own_count++] = descriptor;
}

/* A pipe with as little room as there can be, the test's own. */
static void chute_new(int ends[2])
{
    quiet();
    CHECK_INT(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    CHECK(fcntl(ends[1], F_SETPIPE_SZ, 4096) > 0);
    loud();
    own_socket(ends[0]);
    own_socket(ends[1]);
}

/* A pair of sockets with little room between them, the test's own. */
static void pair_new(int ends[2])
{
    int least = 1;
    quiet();
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    CHECK_INT(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &least, sizeof least), 0);
    loud();
    own_socket(ends[0]);
    own_socket(ends[1]);
}

/* Also reads what is there, as with select only room lets who sends go on. */
static void shut(int descriptor)
{
    char bytes[4096];
    quiet();
    shutdown(descriptor, SHUT_RDWR);
    while (read(descriptor, bytes, sizeof bytes) > 0)
        ;
    loud();
}

static int port_of(int descriptor)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    quiet();
    CHECK_INT(getsockname(descriptor, (struct sockaddr *)&address, &size), 0);
    loud();
    return ntohs(address.sin_port);
}

/* It is too late: the silent one can be written to. The others were tried long ago. */
static void lift_fog(cora_args bound)
{
    char bytes[4096];
    CHECK(unanswered < 0 || other_attempts > 0);
    quiet();
    while (read((int)cora_arg_int(bound, 0), bytes, sizeof bytes) > 0)
        ;
    loud();
}

/* Stands for who does not answer: nothing can be written to it, for long. 0 or a code. */
static int silent_new(void)
{
    static const char blanks[4096];
    int ends[2];
    pair_new(ends);
    for (size_t size = sizeof blanks; size > 0; size /= 2)
        while (write(ends[0], blanks, size) > 0)
            ;
    silent = ends[0];
    unanswered = -1;
    return cora_is_null(cora_call_later(on.loop, CURTAIN - 10, cora_partial(lift_fog, ends[1])))
               ? -1
               : 0;
}

/* ---- the harbour ---- */

/* The scene takes too long: time goes on, and the curtain falls. */
static void on_alarm(int signal)
{
    (void)signal;
    cora_virtual_clock_release();
}

static void set_alarm(int seconds)
{
    struct itimerval after = { .it_value = { .tv_sec = seconds } };
    CHECK_INT(setitimer(ITIMER_REAL, &after, NULL), 0);
}

/* Closes the test's own sockets, but for those that a connection has taken over, and closed. */
static void close_own_sockets(void)
{
    quiet();
    for (size_t i = 0; i < harbour.own_count; i++)
        if (is_open(harbour.own[i]))
            close(harbour.own[i]);
    loud();
}

/* Whether there is a child that is to be reaped; one that could not be waited for is nobody's. */
static bool has_child(void)
{
    siginfo_t info;
    quiet();
    if (calls_failed(WAITID) && !was_transient())
        waitpid(-1, NULL, 0);
    bool has = waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
    loud();
    return has;
}

static void look_at_harbour(void)
{
    CHECK(!has_child());
    if (on.scene->which == EXHAUSTED)
        let_all_calls_succeed();
    close_own_sockets();
    CHECK_INT(harbour.count, 0);
    CHECK_INT(open_descriptors(), harbour.descriptors);
    CHECK_INT(wrong_closes, 0);
}

/* Closing works, also what is closed, and without memory; of null the last error is told. */
#define MUST_CLOSE(close, handle) CHECK(close(handle) == 0 || cora_is_null(handle))

static cora_next close_harbour(cora_coro self)
{
    let_time_pass();
    set_alarm(0);
    for (size_t i = 0; i < 3; i++)
        cora_connector_cancel(harbour.connectors[i]);
    for (size_t i = 0; i < 4; i++)
        cora_lookup_cancel(harbour.lookups[i]);
    MUST_CLOSE(cora_server_abort_clients, harbour.server);
    MUST_CLOSE(cora_server_close, harbour.server);
    for (size_t i = 0; i < harbour.count; i++)
        MUST_CLOSE(cora_transport_abort, harbour.vessels[i]->transport);
    for (size_t i = 0; i < 2; i++)
        MUST_CLOSE(cora_transport_abort, harbour.transports[i]);
    for (size_t i = 0; i < harbour.writer_count; i++)
        MUST_CLOSE(cora_stream_close, harbour.writers[i]);
    MUST_CLOSE(cora_process_transport_close, harbour.child);
    MUST_CLOSE(cora_process_close, harbour.process);
    for (size_t i = 0; i < harbour.own_count; i++)
        shut(harbour.own[i]); /* who waits for it goes on */
    cora_cancel(harbour.operation);
    cora_cancel(on.futures[0]);
    cora_cancel(on.future); /* or nobody would complete it */
    silent = -1;
    return cora_go_on(self);
}

/* Makes what every scene needs: 0, or it is to end with the last error. */
static int open_harbour(cora_coro self)
{
    harbour = (struct harbour){ .descriptors = open_descriptors() };
    if (cora_finally(self, close_harbour) < 0)
        return -1;
    signal(SIGALRM, on_alarm);
    set_alarm(harness_sanitized() ? 20 : 10);
    hold_time();
    on.look = look_at_harbour;
    wrong_closes = 0;
    if (on.scene->which == EXHAUSTED)
        fail_call_of(ACCEPT, 0, 0);
    if (on.scene->which == IN_DEBUG)
        CHECK_INT(cora_set_debug(on.loop, true), 0);
    if (on.scene->which == EYEBALLS && silent_new() < 0)
        return -1;
    on.future = cora_future_new(on.loop);
    return cora_is_null(on.future) ? -1 : 0;
}

/* Ends with the error of a call. */
static cora_next fails(cora_coro self)
{
    return cora_raise(self, cora_last_error());
}

/* As `through`, but what it waits for ends with the scene at the latest. */
static cora_next await_through(cora_coro self, cora_awaitable what, cora_step step)
{
    if (!on.called)
        return cora_try(self, what, step);
    cora_future outcome = cora_future_new(on.loop);
    NEED(outcome);
    harbour.operation = cora_when_done(what, cora_partial(cora_copy_outcome, outcome));
    if (!cora_is_null(harbour.operation))
        return cora_try(self, outcome, step);
    cora_cancel(outcome); /* nobody would complete it */
    return fails(self);
}

static cora_next await_end(cora_coro self)
{
    return cora_try(self, on.future, end_so);
}

/* ---- vessels ---- */

static void vessel_made(void *self, cora_transport transport)
{
    struct vessel *vessel = self;
    CHECK(!vessel->made);
    vessel->made = true;
    vessel->transport = transport;
    if (vessel->serves)
        return;
    noted(cora_transport_write(transport, "ahoy\n", 5));
    if (on.scene->which == HALF_CLOSED)
        noted(cora_transport_write_eof(transport));
}

static void vessel_answer(struct vessel *vessel)
{
    struct iovec chunks[] = { { "wel", 3 }, { "come\n", 5 } };
    noted(cora_transport_writelines(vessel->transport, chunks, 2));
    noted(cora_transport_close(vessel->transport));
}

static void vessel_received(void *self, cora_transport transport, const void *bytes, size_t size)
{
    struct vessel *vessel = self;
    CHECK(vessel->made && !vessel->lost && cora_same(transport, vessel->transport));
    for (size_t i = 0; i < size && vessel->total + i < sizeof vessel->heard - 1; i++)
        vessel->heard[vessel->total + i] = ((const char *)bytes)[i];
    vessel->total += size;
    if (vessel->serves && on.scene->which != HALF_CLOSED && strcmp(vessel->heard, "ahoy\n") == 0)
        vessel_answer(vessel);
}

static void *vessel_buffer(void *self, cora_transport transport, size_t hint, size_t *ret_size)
{
    struct vessel *vessel = self;
    (void)transport, (void)hint;
    *ret_size = vessel->serves && vessel->total == 0 ? 3 : sizeof vessel->buffer;
    return vessel->buffer;
}

static void vessel_updated(void *self, cora_transport transport, size_t size)
{
    vessel_received(self, transport, ((struct vessel *)self)->buffer, size);
}

static bool vessel_ended(void *self, cora_transport transport)
{
    struct vessel *vessel = self;
    (void)transport;
    if (!vessel->serves || on.scene->which != HALF_CLOSED)
        return false;
    if (strcmp(vessel->heard, "ahoy\n") == 0)
        vessel_answer(vessel);
    return true;
}

static void vessel_lose(struct vessel *vessel, cora_value error)
{
    CHECK(vessel->made && !vessel->lost);
    vessel->lost = true;
    note(error);
}

static void vessel_lost(void *self, cora_transport transport, cora_value error)
{
    struct vessel *vessel = self;
    (void)transport;
    vessel_lose(vessel, error);
    if (vessel->serves)
        return;
    if (strcmp(vessel->heard, "welcome\n") == 0 && ++harbour.answers >= harbour.wanted)
        finish(cora_text(vessel->heard));
    else if (strcmp(vessel->heard, "welcome\n") == 0)
        return;
    else if (cora_is_error(error) && !is_cut_off(error))
        finish(error);
    else
        cut_off();
}

static void vessel_drop(void *self)
{
    struct vessel *vessel = self;
    CHECK(vessel->lost == vessel->made || harbour.loop_closes);
    for (size_t i = 0; i < harbour.count; i++) {
        if (harbour.vessels[i] != vessel)
            continue;
        harbour.vessels[i] = harbour.vessels[--harbour.count];
        free(vessel);
        dropped++;
        return;
    }
    harness_fail(__FILE__, __LINE__, "a vessel is dropped twice");
}

static const struct cora_protocol_type vessel_type = {
    .name = "Vessel",
    .connection_made = vessel_made,
    .data_received = vessel_received,
    .eof_received = vessel_ended,
    .connection_lost = vessel_lost,
    .drop = vessel_drop,
};

static const struct cora_protocol_type buffered_vessel_type = {
    .name = "BufferedVessel",
    .connection_made = vessel_made,
    .get_buffer = vessel_buffer,
    .buffer_updated = vessel_updated,
    .eof_received = vessel_ended,
    .connection_lost = vessel_lost,
    .drop = vessel_drop,
};

/* NULL, and the factory has failed. */
static struct vessel *vessel_build(bool serves)
{
    struct vessel *vessel = malloc(sizeof *vessel);
    if (!vessel) {
        on.out_of_memory = true;
        cora_fail(cora_error(CORA_EMEMORY, NULL));
        return NULL;
    }
    CHECK(harbour.count < VESSELS);
    *vessel = (struct vessel){ .serves = serves };
    harbour.vessels[harbour.count++] = vessel;
    made++;
    return vessel;
}

/* Bound to whether it serves. */
static cora_protocol vessel_new(cora_args bound)
{
    struct vessel *vessel = vessel_build(cora_arg_int(bound, 0));
    if (!vessel)
        return (cora_protocol){ 0 };
    return (cora_protocol){ on.scene->which == BUFFERED ? &buffered_vessel_type : &vessel_type,
                            vessel };
}

/* ---- a letter: a server, a client, and one answer ---- */

static struct cora_connect_options route(void)
{
    static const char *const hosts[] = {
        [NAMED] = "lighthouse.harbour", [SEVERAL] = "piers.harbour", [EYEBALLS] = "fog.harbour"
    };
    size_t which = (size_t)on.scene->which;
    const char *host = which <= EYEBALLS ? hosts[which] : NULL;
    return (struct cora_connect_options){ .host = host ? host : "127.0.0.1",
                                          .port = harbour.port,
                                          .local_host = which == NAMED ? "quay.harbour" : NULL,
                                          .happy_eyeballs_delay = which == EYEBALLS ? 0.25 : 0 };
}

static const struct cora_server_options at_pier = { .host = "127.0.0.1", .keep_alive = true };

static void keep_server(cora_value outcome)
{
    harbour.server = cora_as_server(outcome);
    harbour.port = port_of(cora_server_socket(harbour.server, 0));
}

static void on_connected(cora_args bound, cora_value outcome)
{
    (void)bound;
    if (cora_is_error(outcome))
        finish(outcome);
}

static void on_listening(cora_args bound, cora_value outcome)
{
    (void)bound;
    if (cora_is_error(outcome)) {
        finish(outcome);
        return;
    }
    keep_server(outcome);
    struct cora_connect_options options = route();
    harbour.connectors[0] = cora_connect(on.loop, &options, cora_partial(vessel_new, false),
                                         cora_partial(on_connected));
    if (cora_is_null(harbour.connectors[0]))
        finish(cora_last_error());
}

static cora_next met(cora_coro self)
{
    cora_value error = cora_caught(self);
    note(error);
    return cora_is_error(error) ? cora_raise(self, error) : await_end(self);
}

static cora_next listens(cora_coro self)
{
    cora_value error = cora_caught(self);
    if (cora_is_error(error))
        return cora_raise(self, error);
    keep_server(cora_got(self));
    struct cora_connect_options options = route();
    return cora_try(self, cora_create_connection(&options, cora_partial(vessel_new, false)), met);
}

static cora_next sends_letter(cora_coro self)
{
    if (open_harbour(self) < 0)
        return fails(self);
    if (!on.called)
        return cora_try(self, cora_create_server(&at_pier, cora_partial(vessel_new, true)),
                        listens);
    harbour.server =
        cora_listen(on.loop, &at_pier, cora_partial(vessel_new, true), cora_partial(on_listening));
    NEED(harbour.server);
    return await_end(self);
}

NETWORK_SCENE(letter_is_answered, "a connection is made, used and closed, or it is told why not",
              sends_letter, "\"welcome\\n\"")
NETWORK_SCENE(letter_by_name_is_answered, "the same by a name, from an address of its own",
              sends_letter, "\"welcome\\n\"", .which = NAMED)
NETWORK_SCENE(letter_to_second_pier_is_answered, "the same when the first address refuses",
              sends_letter, "\"welcome\\n\"", .which = SEVERAL)
NETWORK_SCENE(letter_through_fog_is_answered,
              "the same when the first address does not answer, with happy eyeballs", sends_letter,
              "\"welcome\\n\"", .which = EYEBALLS)
NETWORK_SCENE(letter_in_buffers_is_answered, "the same with buffers of the protocols' own",
              sends_letter, "\"welcome\\n\"", .which = BUFFERED)
NETWORK_SCENE(letter_is_answered_after_its_end, "the same with one side that is shut down first",
              sends_letter, "\"welcome\\n\"", .which = HALF_CLOSED)
NETWORK_SCENE(letter_is_answered_in_debug_mode, "in debug mode all is told that goes wrong",
              sends_letter, "\"welcome\\n\"", .which = IN_DEBUG)

/* ---- nobody is there ---- */

static cora_next was_refused(cora_coro self)
{
    cora_value error = cora_caught(self);
    note(error);
    if (strstr(cora_error_message(error), "Connect call failed"))
        return cora_return(self, cora_static("refused"));
    return end_so(self);
}

static void on_refused(cora_args bound, cora_value outcome)
{
    (void)bound;
    finish(outcome);
}

/* A port where nobody listens, as long as a socket that does not is bound to it. */
static int port_of_nobody(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    quiet();
    int bound = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    own_socket(bound);
    CHECK_INT(bind(bound, (struct sockaddr *)&address, sizeof address), 0);
    loud();
    return port_of(bound);
}

static cora_next sails_to_reefs(cora_coro self)
{
    if (open_harbour(self) < 0)
        return fails(self);
    struct cora_connect_options options = { .host = "reefs.harbour", .port = port_of_nobody() };
    if (!on.called)
        return cora_try(self, cora_create_connection(&options, cora_partial(vessel_new, false)),
                        was_refused);
    harbour.connectors[0] =
        cora_connect(on.loop, &options, cora_partial(vessel_new, false), cora_partial(on_refused));
    NEED(harbour.connectors[0]);
    return cora_try(self, on.future, was_refused);
}

NETWORK_SCENE(all_piers_refuse, "when all addresses refuse the error says why", sails_to_reefs,
              "\"refused\"")

static cora_next refused_by_all(cora_coro self)
{
    cora_value error = cora_caught(self);
    note(error);
    for (size_t i = 0; i < cora_list_size(cora_exceptions(error)); i++)
        if (cora_error_code(cora_list_at(cora_exceptions(error), i)) != -ECONNREFUSED)
            return cora_return(self, cora_static("something else"));
    return cora_list_size(cora_exceptions(error)) == 2
               ? cora_return(self, cora_static("refused twice"))
               : end_so(self);
}

static cora_next sails_to_all_reefs(cora_coro self)
{
    if (open_harbour(self) < 0)
        return fails(self);
    struct cora_connect_options options = { .host = "reefs.harbour",
                                            .port = port_of_nobody(),
                                            .all_errors = true };
    return await_through(self, cora_create_connection(&options, cora_partial(vessel_new, false)),
                         refused_by_all);
}

NETWORK_SCENE(all_piers_refuse_with_all_errors, "all errors are told, or why not",
              sails_to_all_reefs, "\"refused twice\"")

/* ---- a server at two addresses, and three clients ---- */

static const char *const piers[] = { "127.0.0.1", "127.0.0.2", "127.0.0.1" };

/* Begins to connect to each, in turns. */
static void three_sail(void)
{
    int ports[2] = { 0, 0 };
    harbour.wanted = 3;
    for (size_t i = 0; i < 2; i++) {
        if (cora_server_socket(harbour.server, i) < 0) {
            finish(cora_error(-ECONNREFUSED, "one address is left out"));
            return;
        }
        ports[i] = port_of(cora_server_socket(harbour.server, i));
    }
    CHECK_INT(cora_server_socket(harbour.server, 2), -1);
    for (size_t i = 0; i < 3; i++) {
        struct cora_connect_options options = { .host = piers[i], .port = ports[i % 2] };
        harbour.connectors[i] = cora_connect(on.loop, &options, cora_partial(vessel_new, false),
                                             cora_partial(on_connected));
        if (cora_is_null(harbour.connectors[i])) {
            finish(cora_last_error());
            return;
        }
    }
}

static void on_piers(cora_args bound, cora_value outcome)
{
    (void)bound;
    if (!cora_is_error(outcome))
        harbour.server = cora_as_server(outcome);
    if (cora_is_error(outcome))
        finish(outcome);
    else if (on.scene->which == LATER && cora_server_start_serving(harbour.server) < 0)
        finish(cora_last_error());
    else
        three_sail();
}

static cora_next piers_listen(cora_coro self)
{
    cora_value error = cora_caught(self);
    if (cora_is_error(error))
        return cora_raise(self, error);
    harbour.server = cora_as_server(cora_got(self));
    if (on.scene->which == LATER && cora_server_start_serving(harbour.server) < 0)
        return fails(self);
    three_sail();
    return await_end(self);
}

static cora_next opens_piers(cora_coro self)
{
    if (open_harbour(self) < 0)
        return fails(self);
    struct cora_server_options options = {
        .hosts = piers, .host_count = 3, .reuse_port = true, .start_later = on.scene->which == LATER
    };
    if (!on.called)
        return cora_try(self, cora_create_server(&options, cora_partial(vessel_new, true)),
                        piers_listen);
    harbour.server =
        cora_listen(on.loop, &options, cora_partial(vessel_new, true), cora_partial(on_piers));
    NEED(harbour.server);
    return await_end(self);
}

NETWORK_SCENE(three_are_accepted, "a server has all its addresses, and accepts all, or tells",
              opens_piers, "\"welcome\\n\"")
NETWORK_SCENE(three_are_accepted_later, "the same of one that serves later", opens_piers,
              "\"welcome\\n\"", .which = LATER)

/* ---- freight: more than fits in between ---- */

#define CARGO 24000

/* The byte at this place of what is sent. */
static char cargo_at(size_t at)
{
    return (char)(at * 7 % 251);
}

static const char *cargo(void)
{
    static char bytes[CARGO];
    for (size_t i = 0; i < CARGO; i++)
        bytes[i] = cargo_at(i);
    return bytes;
}

static void sender_made(void *self, cora_transport transport)
{
    struct vessel *vessel = self;
    char *bytes = (char *)(uintptr_t)cargo();
    struct iovec chunks[] = { { bytes + 8000, 5000 },
                              { bytes + 13000, 1 },
                              { bytes + 13001, 4999 } };
    CHECK(!vessel->made);
    vessel->made = true;
    vessel->transport = transport;
    CHECK_INT(cora_transport_set_write_buffer_limits(transport, 10000, 2000), 0);
    noted(cora_transport_write(transport, bytes, 8000));
    noted(cora_transport_writelines(transport, chunks, 3));
    noted(cora_transport_write(transport, bytes + 18000, 6000));
    noted(cora_transport_write_eof(transport));
}

static void sender_paused(void *self, cora_transport transport)
{
    struct vessel *vessel = self;
    (void)transport;
    CHECK_INT(vessel->paused++, vessel->resumed);
}

static void sender_resumed(void *self, cora_transport transport)
{
    struct vessel *vessel = self;
    (void)transport;
    CHECK_INT(++vessel->resumed, vessel->paused);
}

static void sender_lost(void *self, cora_transport transport, cora_value error)
{
    struct vessel *vessel = self;
    (void)transport;
    vessel_lose(vessel, error);
    snprintf(harbour.texts[0], sizeof harbour.texts[0], "%d pauses, %d resumes", vessel->paused,
             vessel->resumed);
    if (cora_is_error(error))
        finish(error);
    else if (++harbour.answers == 2)
        finish(cora_text(harbour.texts[0]));
}

static void resume_reading(cora_args bound)
{
    int code = cora_transport_resume_reading(cora_arg_transport(bound, 0));
    CHECK(code == 0 || code == CORA_ESTALE);
}

static void receiver_made(void *self, cora_transport transport)
{
    struct vessel *vessel = self;
    CHECK(!vessel->made);
    vessel->made = true;
    vessel->transport = transport;
    if (on.scene->which != PAUSED)
        return;
    CHECK_INT(cora_transport_pause_reading(transport), 0);
    if (cora_is_null(cora_call_soon(on.loop, cora_partial(resume_reading, transport)))) {
        note(cora_last_error());
        CHECK_INT(cora_transport_resume_reading(transport), 0);
    }
}

/* What comes is a beginning of what was sent, whatever fails. */
static void receiver_received(void *self, cora_transport transport, const void *bytes, size_t size)
{
    struct vessel *vessel = self;
    (void)transport;
    CHECK(vessel->made && !vessel->lost && vessel->total + size <= CARGO);
    for (size_t i = 0; i < size; i++)
        if (((const char *)bytes)[i] != cargo_at(vessel->total + i))
            harness_fail(__FILE__, __LINE__, "the byte at %zu is another", vessel->total + i);
    vessel->total += size;
}

static void receiver_updated(void *self, cora_transport transport, size_t size)
{
    receiver_received(self, transport, ((struct vessel *)self)->buffer, size);
}

static void receiver_lost(void *self, cora_transport transport, cora_value error)
{
    struct vessel *vessel = self;
    (void)transport;
    vessel_lose(vessel, error);
    if (cora_is_error(error))
        finish(error);
    else if (vessel->total < CARGO)
        cut_off();
    else if (++harbour.answers == 2)
        finish(cora_text(harbour.texts[0]));
}

static const struct cora_protocol_type sender_type = {
    .name = "Sender",
    .connection_made = sender_made,
    .connection_lost = sender_lost,
    .pause_writing = sender_paused,
    .resume_writing = sender_resumed,
    .drop = vessel_drop,
};

static const struct cora_protocol_type receiver_type = {
    .name = "Receiver",
    .connection_made = receiver_made,
    .data_received = receiver_received,
    .connection_lost = receiver_lost,
    .drop = vessel_drop,
};

static const struct cora_protocol_type buffered_receiver_type = {
    .name = "BufferedReceiver",
    .connection_made = receiver_made,
    .get_buffer = vessel_buffer,
    .buffer_updated = receiver_updated,
    .connection_lost = receiver_lost,
    .drop = vessel_drop,
};

static cora_protocol sender_new(cora_args bound)
{
    (void)bound;
    struct vessel *vessel = vessel_build(false);
    return (cora_protocol){ vessel ? &sender_type : NULL, vessel };
}

static cora_protocol receiver_new(cora_args bound)
{
    (void)bound;
    struct vessel *vessel = vessel_build(true);
    if (!vessel)
        return (cora_protocol){ 0 };
    return (cora_protocol){ on.scene->which == BUFFERED ? &buffered_receiver_type : &receiver_type,
                            vessel };
}

/* On two sockets of the test's own: what was not taken over is the test's still. */
static cora_next carries_freight(cora_coro self)
{
    int ends[2];
    if (open_harbour(self) < 0)
        return fails(self);
    pair_new(ends);
    harbour.transports[0] =
        cora_connect_accepted_socket(on.loop, ends[1], cora_partial(receiver_new));
    if (cora_is_null(harbour.transports[0])) {
        CHECK(is_open(ends[1]));
        return fails(self);
    }
    struct cora_connect_options options = { .socket = ends[0] };
    if (on.scene->which != GIVEN_SOCKET) {
        harbour.transports[1] =
            cora_connect_accepted_socket(on.loop, ends[0], cora_partial(sender_new));
        NEED(harbour.transports[1]);
    } else if (on.called) {
        harbour.connectors[0] =
            cora_connect(on.loop, &options, cora_partial(sender_new), cora_partial(on_connected));
        NEED(harbour.connectors[0]);
    } else {
        return cora_try(self, cora_create_connection(&options, cora_partial(sender_new)), met);
    }
    return await_end(self);
}

NETWORK_SCENE(freight_is_carried, "all that is written arrives, or the connection ends with why",
              carries_freight, "\"1 pauses, 1 resumes\"")
NETWORK_SCENE(freight_is_carried_into_buffers, "the same into a buffer of the protocol's own",
              carries_freight, "\"1 pauses, 1 resumes\"", .which = BUFFERED)
NETWORK_SCENE(freight_is_carried_after_a_pause, "the same to one that is paused", carries_freight,
              "\"1 pauses, 1 resumes\"", .which = PAUSED)
NETWORK_SCENE(freight_is_carried_on_given_socket, "the same with a socket that was connected",
              carries_freight, "\"1 pauses, 1 resumes\"", .which = GIVEN_SOCKET)

/* ---- freight down a chute: a pipe ---- */

static int chute[2];

static cora_next receiver_met(cora_coro self)
{
    cora_value error = cora_caught(self);
    note(error);
    if (cora_is_error(error))
        return cora_raise(self, error);
    harbour.transports[0] = cora_as_transport(cora_got(self));
    return cora_try(self, cora_connect_write_pipe(chute[1], cora_partial(sender_new)), met);
}

static cora_next sends_down(cora_coro self)
{
    if (open_harbour(self) < 0)
        return fails(self);
    chute_new(chute);
    if (!on.called)
        return cora_try(self, cora_connect_read_pipe(chute[0], cora_partial(receiver_new)),
                        receiver_met);
    harbour.transports[0] = cora_attach_read_pipe(on.loop, chute[0], cora_partial(receiver_new));
    if (cora_is_null(harbour.transports[0])) {
        CHECK(is_open(chute[0]));
        return fails(self);
    }
    harbour.transports[1] = cora_attach_write_pipe(on.loop, chute[1], cora_partial(sender_new));
    NEED(harbour.transports[1]);
    return await_end(self);
}

NETWORK_SCENE(freight_goes_down_a_pipe,
              "all that is written to a pipe arrives, or it ends with why", sends_down,
              "\"1 pauses, 1 resumes\"")
NETWORK_SCENE(freight_goes_down_into_buffers, "the same into a buffer of the protocol's own",
              sends_down, "\"1 pauses, 1 resumes\"", .which = BUFFERED)

/* ---- look-ups ---- */

static void keep_text(size_t at, cora_value outcome)
{
    note(outcome);
    cora_print(outcome, harbour.texts[at], sizeof harbour.texts[at]);
    if (++harbour.answers == 4)
        finish(cora_textf("%s, %s, %s, %s", harbour.texts[0], harbour.texts[1], harbour.texts[2],
                          harbour.texts[3]));
}

static void on_found(cora_args bound, cora_value outcome)
{
    keep_text((size_t)cora_arg_int(bound, 0), outcome);
}

static const struct addrinfo of_streams = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM };

static struct sockaddr_in lighthouse(void)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons(80),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static cora_next looks_up(cora_coro self)
{
    struct sockaddr_in address = lighthouse();
    const struct sockaddr *at = (const struct sockaddr *)&address;
    if (open_harbour(self) < 0)
        return fails(self);
    cora_lookup *lookups = harbour.lookups;
    lookups[0] =
        cora_resolve(on.loop, "piers.harbour", "80", &of_streams, cora_partial(on_found, 0));
    NEED(lookups[0]);
    lookups[1] = cora_resolve(on.loop, "127.0.0.1", "80", &of_streams, cora_partial(on_found, 1));
    NEED(lookups[1]);
    lookups[2] = cora_resolve_address(on.loop, at, sizeof address, NI_NUMERICSERV,
                                      cora_partial(on_found, 2));
    NEED(lookups[2]);
    lookups[3] = cora_resolve_address(on.loop, at, sizeof address, NI_NUMERICHOST | NI_NUMERICSERV,
                                      cora_partial(on_found, 3));
    NEED(lookups[3]);
    return await_end(self);
}

/* As it is printed as a text. */
#define FOUND_TEXT                                                                                 \
    "\"<addresses 127.0.0.9 and 1 more>, <addresses 127.0.0.1>, [\\\"lighthouse.harbour\\\", "     \
    "\\\"80\\\"], [\\\"127.0.0.1\\\", \\\"80\\\"]\""

NETWORK_SCENE(names_are_looked_up, "who looks up hears what was found, or why not", looks_up,
              FOUND_TEXT)

static cora_next look_next_up(cora_coro self);

static cora_next looked_up(cora_coro self)
{
    cora_value error = cora_caught(self);
    note(error);
    if (cora_is_error(error))
        return cora_raise(self, error);
    cora_print(cora_got(self), harbour.texts[harbour.answers], sizeof *harbour.texts);
    if (++harbour.answers < 4)
        return look_next_up(self);
    return cora_return(self, cora_textf("%s, %s, %s, %s", harbour.texts[0], harbour.texts[1],
                                        harbour.texts[2], harbour.texts[3]));
}

static cora_next look_next_up(cora_coro self)
{
    struct sockaddr_in address = lighthouse();
    const struct sockaddr *at = (const struct sockaddr *)&address;
    switch (harbour.answers) {
    case 0:
        return await_through(self, cora_getaddrinfo("piers.harbour", "80", &of_streams), looked_up);
    case 1:
        return await_through(self, cora_getaddrinfo("127.0.0.1", "80", &of_streams), looked_up);
    case 2:
        return await_through(self, cora_getnameinfo(at, sizeof address, NI_NUMERICSERV), looked_up);
    default:
        return await_through(
            self, cora_getnameinfo(at, sizeof address, NI_NUMERICHOST | NI_NUMERICSERV), looked_up);
    }
}

static cora_next awaits_lookups(cora_coro self)
{
    return open_harbour(self) < 0 ? fails(self) : look_next_up(self);
}

NETWORK_SCENE(lookups_are_awaited, "the same for those who await it", awaits_lookups, FOUND_TEXT)

/* ---- serving for ever ---- */

static cora_next server_ended(cora_coro self)
{
    cora_value error = cora_caught(self);
    return cora_is_error(error) ? cora_raise(self, error)
                                : cora_return(self, cora_static("served"));
}

static cora_next task_ended(cora_coro self)
{
    cora_value error = cora_caught(self);
    note(error);
    if (!cora_error_is(error, CORA_ECANCELLED))
        return end_so(self);
    return await_through(self, cora_server_wait_closed(harbour.server), server_ended);
}

/* Its client may be there still: what is cancelled waits for it. */
static cora_next letter_answered(cora_coro self)
{
    cora_value error = cora_caught(self);
    note(error);
    cora_cancel(on.futures[0]);
    return cora_is_error(error) ? cora_raise(self, error)
                                : cora_try(self, on.futures[0], task_ended);
}

static cora_next client_met(cora_coro self)
{
    cora_value error = cora_caught(self);
    note(error);
    return cora_is_error(error) ? cora_raise(self, error)
                                : cora_try(self, on.future, letter_answered);
}

static cora_next forever_listens(cora_coro self)
{
    cora_value error = cora_caught(self);
    if (cora_is_error(error))
        return cora_raise(self, error);
    keep_server(cora_got(self));
    on.futures[0] = cora_create_task(on.loop, cora_server_serve_forever(harbour.server));
    NEED(on.futures[0]);
    struct cora_connect_options options = route();
    return cora_try(self, cora_create_connection(&options, cora_partial(vessel_new, false)),
                    client_met);
}

static cora_next serves_for_ever(cora_coro self)
{
    if (open_harbour(self) < 0)
        return fails(self);
    return cora_try(self, cora_create_server(&at_pier, cora_partial(vessel_new, true)),
                    forever_listens);
}

NETWORK_SCENE(server_serves_for_ever, "a server serves until that is cancelled, and is over then",
              serves_for_ever, "\"served\"")

/* ---- lines: readers and writers ---- */

static void keep_writer(cora_stream_writer writer)
{
    CHECK(harbour.writer_count < sizeof harbour.writers / sizeof *harbour.writers);
    harbour.writers[harbour.writer_count++] = writer;
}

/* Who visits ends the scene; who serves only tells. */
static void leave(cora_stream_writer writer, bool visits, cora_value outcome)
{
    note(outcome);
    MUST_CLOSE(cora_stream_close, writer);
    if (visits && is_cut_off(outcome))
        cut_off();
    else if (visits)
        finish(outcome);
}

static void then(cora_stream_writer writer, bool visits, cora_awaitable what,
                 cora_done_callback callback)
{
    if (cora_is_null(cora_when_done(what, callback)))
        leave(writer, visits, cora_last_error());
}

/* Whether it is an error: then it has left. */
static bool has_left(cora_stream_writer writer, bool visits, cora_value outcome)
{
    if (cora_is_error(outcome))
        leave(writer, visits, outcome);
    return cora_is_error(outcome);
}

static void on_guest_gone(cora_args bound, cora_future done)
{
    (void)bound;
    note(cora_result(done));
}

static void on_guest_told(cora_args bound, cora_future done)
{
    cora_stream_writer writer = cora_arg_stream_writer(bound, 0);
    if (has_left(writer, false, cora_result(done)))
        return;
    MUST_CLOSE(cora_stream_close, writer);
    then(writer, false, cora_stream_wait_closed(writer), cora_partial(on_guest_gone));
}

static void on_guest_heard(cora_args bound, cora_future done)
{
    cora_stream_writer writer = cora_arg_stream_writer(bound, 0);
    cora_value line = cora_result(done);
    size_t size;
    if (has_left(writer, false, line))
        return;
    const char *bytes = cora_as_bytes(line, &size);
    noted(cora_stream_writef(writer, "heard: %.*s", (int)size, bytes));
    then(writer, false, cora_stream_drain(writer), cora_partial(on_guest_told, writer));
}

static void serve(cora_args bound, cora_stream_reader reader, cora_stream_writer writer)
{
    (void)bound;
    keep_writer(writer);
    then(writer, false, cora_stream_readline(reader), cora_partial(on_guest_heard, writer));
}

static void on_visit_over(cora_args bound, cora_future done)
{
    (void)bound;
    cora_value outcome = cora_result(done);
    finish(cora_is_error(outcome) ? outcome : cora_text(harbour.texts[0]));
}

static void on_rest(cora_args bound, cora_future done)
{
    cora_stream_writer writer = cora_arg_stream_writer(bound, 0);
    if (has_left(writer, true, cora_result(done)))
        return;
    MUST_CLOSE(cora_stream_close, writer);
    then(writer, true, cora_stream_wait_closed(writer), cora_partial(on_visit_over));
}

static void keep_line(cora_value line)
{
    size_t size;
    const char *bytes = cora_as_bytes(line, &size);
    snprintf(harbour.texts[0], sizeof harbour.texts[0], "%.*s", (int)size, bytes);
}

static void on_reply(cora_args bound, cora_future done)
{
    cora_stream_reader reader = cora_arg_stream_reader(bound, 0);
    cora_stream_writer writer = cora_arg_stream_writer(bound, 1);
    if (has_left(writer, true, cora_result(done)))
        return;
    keep_line(cora_result(done));
    then(writer, true, cora_stream_read(reader, -1), cora_partial(on_rest, writer));
}

static void on_opened(cora_args bound, cora_future done)
{
    (void)bound;
    cora_value outcome = cora_result(done);
    if (cora_is_error(outcome)) {
        finish(outcome);
        return;
    }
    struct cora_streams streams = cora_as_streams(outcome);
    keep_writer(streams.writer);
    noted(cora_stream_writef(streams.writer, "ahoy %d\n", 1));
    then(streams.writer, true, cora_stream_readuntil(streams.reader, cora_static("\n")),
         cora_partial(on_reply, streams.reader, streams.writer));
}

/* ---- the same with coroutines ---- */

static cora_next close_guest(cora_coro self)
{
    MUST_CLOSE(cora_stream_close, cora_locals(self, struct cora_streams)->writer);
    return cora_go_on(self);
}

/* Lets the writer be closed in any case. 0 or a code. */
static int close_finally(cora_coro self)
{
    int code = noted(cora_finally(self, close_guest));
    if (code < 0)
        MUST_CLOSE(cora_stream_close, cora_locals(self, struct cora_streams)->writer);
    return code;
}

static cora_next guest_told(cora_coro self)
{
    cora_stream_writer writer = cora_locals(self, struct cora_streams)->writer;
    MUST_CLOSE(cora_stream_close, writer);
    return cora_await(self, cora_stream_wait_closed(writer), cora_return_nothing);
}

static cora_next guest_heard(cora_coro self)
{
    cora_stream_writer writer = cora_locals(self, struct cora_streams)->writer;
    size_t size;
    const char *bytes = cora_as_bytes(cora_got(self), &size);
    if (noted(cora_stream_writef(writer, "heard: %.*s", (int)size, bytes)) < 0)
        return fails(self);
    return cora_await(self, cora_stream_drain(writer), guest_told);
}

static cora_next guest_served(cora_coro self)
{
    cora_stream_reader reader = cora_locals(self, struct cora_streams)->reader;
    return close_finally(self) < 0 ? fails(self)
                                   : cora_await(self, cora_stream_readline(reader), guest_heard);
}

/* A coroutine that does so for this connection; if there is none the connection is closed. */
static cora_coro serve_with(cora_step step, cora_stream_reader reader, cora_stream_writer writer)
{
    keep_writer(writer);
    cora_coro coro = cora_coroutine(step, struct cora_streams, reader, writer);
    if (cora_is_null(coro))
        leave(writer, false, cora_last_error());
    return coro;
}

static cora_coro serve_guest(cora_args bound, cora_stream_reader reader, cora_stream_writer writer)
{
    (void)bound;
    return serve_with(guest_served, reader, writer);
}

static cora_next visit_over(cora_coro self)
{
    return cora_return(self, cora_text(harbour.texts[0]));
}

static cora_next visit_rest(cora_coro self)
{
    cora_stream_writer writer = cora_locals(self, struct cora_streams)->writer;
    MUST_CLOSE(cora_stream_close, writer);
    return cora_await(self, cora_stream_wait_closed(writer), visit_over);
}

static cora_next visit_reply(cora_coro self)
{
    cora_stream_reader reader = cora_locals(self, struct cora_streams)->reader;
    keep_line(cora_got(self));
    return cora_await(self, cora_stream_read(reader, -1), visit_rest);
}

static cora_next visit_opened(cora_coro self)
{
    struct cora_streams *streams = cora_locals(self, struct cora_streams);
    *streams = cora_as_streams(cora_got(self));
    keep_writer(streams->writer);
    if (close_finally(self) < 0 || noted(cora_stream_writef(streams->writer, "ahoy %d\n", 1)) < 0)
        return fails(self);
    return cora_await(self, cora_stream_readuntil(streams->reader, cora_static("\n")), visit_reply);
}

static cora_next visits(cora_coro self)
{
    struct cora_connect_options options = route();
    return cora_await(self, cora_open_connection(&options, 0), visit_opened);
}

static cora_next visited(cora_coro self)
{
    cora_value error = cora_caught(self);
    note(error);
    if (is_cut_off(error))
        cut_off();
    return end_so(self);
}

static cora_next lines_listen(cora_coro self)
{
    cora_value error = cora_caught(self);
    if (cora_is_error(error))
        return cora_raise(self, error);
    keep_server(cora_got(self));
    struct cora_connect_options options = route();
    if (!on.called)
        return cora_try(self, cora_coroutine(visits, struct cora_streams), visited);
    harbour.operation = cora_when_done(cora_open_connection(&options, 0), cora_partial(on_opened));
    NEED(harbour.operation);
    return cora_try(self, on.future, visited);
}

static cora_next exchanges_lines(cora_coro self)
{
    if (open_harbour(self) < 0)
        return fails(self);
    if (on.scene->which == COROUTINES_SERVE)
        return cora_try(self, cora_start_server(&at_pier, 0, cora_partial(serve_guest)),
                        lines_listen);
    return cora_try(self, cora_start_server(&at_pier, 0, cora_partial(serve)), lines_listen);
}

NETWORK_SCENE(lines_are_exchanged, "readers and writers do all, or one of them is told why not",
              exchanges_lines, "\"heard: ahoy 1\\n\"")
NETWORK_SCENE(lines_are_exchanged_with_coroutines, "the same of coroutines that serve",
              exchanges_lines, "\"heard: ahoy 1\\n\"", .which = COROUTINES_SERVE)

/* ---- freight by streams: writers that wait, and a reader that is paused ---- */

static cora_next landed(cora_coro self)
{
    struct cora_streams *streams = cora_locals(self, struct cora_streams);
    size_t size;
    const char *bytes = cora_as_bytes(cora_got(self), &size);
    CHECK_INT(size, CARGO);
    CHECK(memcmp(bytes, cargo(), CARGO) == 0);
    if (noted(cora_stream_write(streams->writer, "landed\n", 7)) < 0)
        return fails(self);
    return cora_await(self, cora_stream_drain(streams->writer), guest_told);
}

static cora_next lands(cora_coro self)
{
    cora_stream_reader reader = cora_locals(self, struct cora_streams)->reader;
    return close_finally(self) < 0
               ? fails(self)
               : cora_await(self, cora_stream_readexactly(reader, CARGO), landed);
}

static cora_coro serve_quay(cora_args bound, cora_stream_reader reader, cora_stream_writer writer)
{
    (void)bound;
    return serve_with(lands, reader, writer);
}

static cora_next landed_line(cora_coro self)
{
    cora_value error = cora_caught(self);
    note(error);
    if (is_cut_off(error) || cora_error_code(error) == CORA_ESTOPASYNCITERATION)
        cut_off();
    if (cora_is_error(error))
        return cora_raise(self, error);
    keep_line(cora_got(self));
    return cora_return(self, cora_text(harbour.texts[0]));
}

/* One piece after the other, each when there is room. */
static cora_next loads(cora_coro self)
{
    cora_value error = cora_caught(self);
    note(error);
    if (is_cut_off(error))
        cut_off();
    if (cora_is_error(error))
        return cora_raise(self, error);
    if (on.counter == 3) {
        noted(cora_stream_write_eof(harbour.writers[0]));
        cora_stream_reader reader = { harbour.writers[0].bits };
        return await_through(self, cora_stream_next_line(reader), landed_line);
    }
    if (noted(cora_stream_write(harbour.writers[0], cargo() + on.counter++ * 8000, 8000)) < 0)
        return fails(self);
    return await_through(self, cora_stream_drain(harbour.writers[0]), loads);
}

static cora_next freighter_opened(cora_coro self)
{
    cora_value error = cora_caught(self);
    note(error);
    if (cora_is_error(error))
        return cora_raise(self, error);
    cora_stream_writer writer = cora_as_streams(cora_got(self)).writer;
    if (harbour.writer_count > 0) /* the other one was there first */
        harbour.writers[harbour.writer_count++] = harbour.writers[0];
    else
        harbour.writer_count = 1;
    harbour.writers[0] = writer;
    CHECK_INT(cora_transport_set_write_buffer_limits(cora_stream_transport(writer), 4000, 1000), 0);
    return loads(self);
}

/* A server of local sockets, as these pass things on at once. */
static int local_listener(struct sockaddr_un *address, socklen_t *size)
{
    quiet();
    int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *address = (struct sockaddr_un){ .sun_family = AF_UNIX };
    CHECK_INT(bind(listening, (struct sockaddr *)address, sizeof(sa_family_t)), 0);
    *size = sizeof *address;
    CHECK_INT(getsockname(listening, (struct sockaddr *)address, size), 0);
    loud();
    own_socket(listening);
    return listening;
}

static struct sockaddr_un local;
static socklen_t local_size;

static cora_next quay_listens(cora_coro self)
{
    cora_value error = cora_caught(self);
    if (cora_is_error(error))
        return cora_raise(self, error);
    harbour.server = cora_as_server(cora_got(self));
    int least = 1;
    quiet();
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    own_socket(client);
    CHECK_INT(setsockopt(client, SOL_SOCKET, SO_SNDBUF, &least, sizeof least), 0);
    CHECK_INT(connect(client, (struct sockaddr *)&local, local_size), 0);
    loud();
    struct cora_connect_options options = { .socket = client };
    return cora_try(self, cora_open_connection(&options, 0), freighter_opened);
}

static cora_next streams_freight(cora_coro self)
{
    if (open_harbour(self) < 0)
        return fails(self);
    struct cora_server_options options = { .socket = local_listener(&local, &local_size) };
    return cora_try(self, cora_start_server(&options, 3000, cora_partial(serve_quay)),
                    quay_listens);
}

NETWORK_SCENE(freight_is_streamed, "writers that wait for room go on, or are told why not",
              streams_freight, "\"landed\\n\"")

/* ---- an errand: a child that repeats what it is told ---- */

static struct clerk {
    bool made, exited, lost;
    size_t total;
    char heard[40];
    int pipes_lost;
} clerk;

static const struct cora_subprocess_options two_pipes = { .in = CORA_SUBPROCESS_PIPE,
                                                          .out = CORA_SUBPROCESS_PIPE,
                                                          .err = CORA_SUBPROCESS_DEVNULL };

static void clerk_made(void *self, cora_process_transport transport)
{
    cora_transport in = cora_process_transport_get_pipe_transport(transport, 0);
    (void)self;
    CHECK(!clerk.made);
    clerk.made = true;
    noted(cora_transport_write(in, "ahoy\n", 5));
    noted(cora_transport_write_eof(in));
}

static void clerk_hears(void *self, cora_process_transport transport, int fd, const void *bytes,
                        size_t size)
{
    (void)self, (void)transport;
    CHECK(clerk.made && !clerk.lost && fd == 1 && clerk.total + size < sizeof clerk.heard);
    memcpy(clerk.heard + clerk.total, bytes, size);
    clerk.total += size;
}

static void clerk_pipe_lost(void *self, cora_process_transport transport, int fd, cora_value error)
{
    (void)self, (void)transport, (void)fd;
    CHECK(clerk.made && !clerk.lost && ++clerk.pipes_lost <= 2);
    note(error);
}

static void clerk_exited(void *self, cora_process_transport transport)
{
    (void)self, (void)transport;
    CHECK(clerk.made && !clerk.lost && !clerk.exited);
    clerk.exited = true;
}

static void clerk_lost(void *self, cora_process_transport transport, cora_value error)
{
    cora_value code = cora_process_transport_get_returncode(transport);
    (void)self;
    CHECK(clerk.exited && clerk.pipes_lost == 2 && !clerk.lost && cora_is_nothing(error));
    clerk.lost = true;
    finish(cora_textf("%.4s %lld", clerk.heard, cora_as_int(code)));
}

static const struct cora_subprocess_protocol_type clerk_type = {
    .name = "Clerk",
    .connection_made = clerk_made,
    .pipe_data_received = clerk_hears,
    .pipe_connection_lost = clerk_pipe_lost,
    .process_exited = clerk_exited,
    .connection_lost = clerk_lost,
};

static cora_next errand_done(cora_coro self)
{
    cora_value error = cora_caught(self);
    note(error);
    if (cora_is_error(error))
        return cora_raise(self, error);
    size_t size;
    const char *text = cora_as_bytes(cora_list_at(cora_got(self), 0), &size);
    if (size < 5 && (calls_failed(WRITEV) || calls_failed(PWRITEV2)) && !was_transient())
        on.out_of_memory = true; /* that it does not read is no error */
    return cora_return(self, cora_textf("%.*s %lld", size < 4 ? (int)size : 4, text,
                                        cora_as_int(cora_process_returncode(harbour.process))));
}

static cora_next errand_started(cora_coro self)
{
    cora_value error = cora_caught(self);
    note(error);
    if (cora_is_error(error))
        return cora_raise(self, error);
    harbour.process = cora_as_process(cora_got(self));
    return cora_try(self, cora_process_communicate(harbour.process, cora_static("ahoy\n")),
                    errand_done);
}

/* Runs the loop, whose time stands still, until the child is reaped. */
static void settle_children(void)
{
    while (has_child() || cora_process_pid(harbour.process) ||
           cora_process_transport_get_pid(harbour.child)) {
        cora_stop(on.loop);
        CHECK_INT(cora_run_forever(on.loop), 0);
    }
}

static cora_next sends_clerk(cora_coro self)
{
    clerk = (struct clerk){ .total = 0 };
    if (open_harbour(self) < 0)
        return fails(self);
    on.settle = settle_children;
    if (!on.called)
        return cora_try(self, cora_create_subprocess_exec(cora_argv("cat"), &two_pipes, 0),
                        errand_started);
    harbour.child = cora_subprocess_exec(on.loop, cora_argv("cat"), &two_pipes,
                                         (cora_subprocess_protocol){ &clerk_type, NULL });
    NEED(harbour.child);
    return await_end(self);
}

NETWORK_SCENE(child_does_its_errand, "a child is started, heard and reaped, or it is told why not",
              sends_clerk, "\"ahoy 0\"")

/* ---- streams over a pipe ---- */

#define PARCEL 3000 /* bytes, fewer than a pipe has room for */

static cora_next parcel_arrived(cora_coro self)
{
    cora_value error = cora_caught(self);
    note(error);
    if (cora_is_error(error))
        return cora_raise(self, error);
    size_t size;
    const char *bytes = cora_as_bytes(cora_got(self), &size);
    CHECK(size <= PARCEL && memcmp(bytes, cargo(), size) == 0);
    if (size < PARCEL && !was_transient()) /* the writer has failed, and nobody waits for it */
        on.out_of_memory = true;
    return cora_return(self, (int)size);
}

static cora_next chute_top_open(cora_coro self)
{
    cora_value error = cora_caught(self);
    note(error);
    if (cora_is_error(error))
        return cora_raise(self, error);
    cora_stream_writer top = cora_as_streams(cora_got(self)).writer;
    cora_stream_reader bottom = { harbour.writers[0].bits };
    harbour.writers[harbour.writer_count++] = top;
    noted(cora_stream_write(top, cargo(), PARCEL));
    noted(cora_stream_write_eof(top));
    return await_through(self, cora_stream_read(bottom, -1), parcel_arrived);
}

static cora_next chute_bottom_open(cora_coro self)
{
    cora_value error = cora_caught(self);
    note(error);
    if (cora_is_error(error))
        return cora_raise(self, error);
    harbour.writers[harbour.writer_count++] = cora_as_streams(cora_got(self)).writer;
    return await_through(self, cora_open_write_pipe(chute[1]), chute_top_open);
}

static cora_next sends_parcel(cora_coro self)
{
    if (open_harbour(self) < 0)
        return fails(self);
    chute_new(chute);
    return await_through(self, cora_open_read_pipe(chute[0], 0), chute_bottom_open);
}

NETWORK_SCENE(parcel_goes_down_a_pipe, "streams over a pipe do all, or are told why not",
              sends_parcel, "3000")

/* ---- sockets of the program's own ---- */

/* Whatever becomes of it, the other side does not wait for ever. */
static cora_next shut_near(cora_coro self)
{
    shut(harbour.own[0]);
    return cora_go_on(self);
}

static cora_next shut_far(cora_coro self)
{
    shut(harbour.own[1]);
    return cora_go_on(self);
}

static cora_next sends_all(cora_coro self)
{
    if (noted(cora_finally(self, shut_near)) == 0)
        return cora_await(self, cora_sock_sendall(harbour.own[0], cargo(), CARGO),
                          cora_return_nothing);
    shut(harbour.own[0]);
    return fails(self);
}

static char hold_of_ship[5000];

static cora_next receives_more(cora_coro self);

static cora_next received_into(cora_coro self)
{
    size_t size = (size_t)cora_as_int(cora_got(self));
    CHECK(on.counter + (int)size <= CARGO);
    CHECK(memcmp(hold_of_ship, cargo() + on.counter, size) == 0);
    on.counter += (int)size;
    return size == 0 ? cora_return(self, on.counter) : receives_more(self);
}

static cora_next received(cora_coro self)
{
    size_t size;
    const void *bytes = cora_as_bytes(cora_got(self), &size);
    CHECK(on.counter + (int)size <= CARGO);
    CHECK(memcmp(bytes, cargo() + on.counter, size) == 0);
    on.counter += (int)size;
    if (size == 0)
        return cora_return(self, on.counter);
    return cora_await(self, cora_sock_recv_into(harbour.own[1], hold_of_ship, sizeof hold_of_ship),
                      received_into);
}

static cora_next receives_more(cora_coro self)
{
    return cora_await(self, cora_sock_recv(harbour.own[1], 5000), received);
}

static cora_next receives_all(cora_coro self)
{
    if (noted(cora_finally(self, shut_far)) == 0)
        return receives_more(self);
    shut(harbour.own[1]);
    return fails(self);
}

static cora_next uses_sockets(cora_coro self)
{
    int ends[2];
    if (open_harbour(self) < 0)
        return fails(self);
    pair_new(ends);
    cora_coro coros[2] = { new_worker(sends_all), new_worker(receives_all) };
    on.futures[0] = cora_gather(on.loop, coros, 2, .return_exceptions = true);
    NEED(on.futures[0]);
    return await_through(self, cora_awaitable_of(on.futures[0]), end_so);
}

NETWORK_SCENE(sockets_send_and_receive, "operations on sockets do all, or are told why not",
              uses_sockets, "[None, 24000]")

static cora_next socket_accepted(cora_coro self)
{
    cora_value error = cora_caught(self);
    if (cora_error_code(error) == -ECONNABORTED)
        return cora_return(self, cora_static("accepted")); /* but it is gone, and that is told */
    note(error);
    if (cora_is_error(error))
        return cora_raise(self, error);
    own_socket((int)cora_as_int(cora_list_at(cora_got(self), 0)));
    return cora_return(self, cora_static("accepted"));
}

static cora_next socket_connected(cora_coro self)
{
    cora_value error = cora_caught(self);
    note(error);
    if (cora_is_error(error))
        return cora_raise(self, error);
    return await_through(self, cora_sock_accept(harbour.own[0]), socket_accepted);
}

/* To a socket of the test's own, which listens. */
static cora_next connects_socket(cora_coro self)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    struct sockaddr *at = (struct sockaddr *)&address;
    if (open_harbour(self) < 0)
        return fails(self);
    quiet();
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    own_socket(listening);
    own_socket(client);
    CHECK_INT(bind(listening, at, size), 0);
    CHECK_INT(listen(listening, 1), 0);
    CHECK_INT(getsockname(listening, at, &size), 0);
    loud();
    return await_through(self, cora_sock_connect(client, at, size), socket_connected);
}

NETWORK_SCENE(sockets_connect_and_accept, "a socket that was accepted is told, or closed",
              connects_socket, "\"accepted\"")

/* ---- the loop is closed in the middle ---- */

static void on_quay(cora_args bound, cora_future done)
{
    (void)bound;
    cora_server server = cora_as_server(cora_result(done));
    if (cora_server_socket(server, 0) < 0)
        return;
    struct cora_connect_options options = { .host = "127.0.0.1",
                                            .port = port_of(cora_server_socket(server, 0)) };
    noted(cora_is_null(cora_when_done(cora_open_connection(&options, 0), cora_partial(on_opened))));
}

/* A bit of everything; what cannot be begun is left out. */
static void begin_all(void)
{
    int ends[2];
    pair_new(ends);
    harbour.server =
        cora_listen(on.loop, &at_pier, cora_partial(vessel_new, true), cora_partial(on_listening));
    cora_connect_accepted_socket(on.loop, ends[0], cora_partial(sender_new));
    cora_connect_accepted_socket(on.loop, ends[1], cora_partial(receiver_new));
    cora_when_done(cora_start_server(&at_pier, 0, cora_partial(serve_guest)),
                   cora_partial(on_quay));
    cora_resolve(on.loop, "piers.harbour", "80", NULL, cora_partial(on_found, 0));
    cora_when_done(cora_getaddrinfo("lighthouse.harbour", "80", NULL), cora_partial(on_rest));
}

/* When the loop is closed, and what fails: an allocation and all later ones, or a call. */
struct short_play {
    int ticks;
    long failing;
    bool fails_calls;
    bool failed; /* something has */
};

static void *play_short_in_thread(void *argument)
{
    static const struct scene scene = { .which = NUMERIC };
    struct short_play *play = argument;
    on = (struct stage){ .scene = &scene };
    harbour = (struct harbour){ .descriptors = open_descriptors() };
    on.loop = cora_loop_new(NULL);
    cora_set_current_loop(on.loop);
    CHECK_INT(cora_set_exception_handler(on.loop, cora_partial(take_report)), 0);
    if (play->fails_calls)
        fail_call(play->failing, 0, false);
    else
        fail_allocations(play->failing);
    begin_all();
    for (int i = 0; i < play->ticks; i++) {
        cora_stop(on.loop);
        CHECK_INT(cora_run_forever(on.loop), 0);
    }
    harbour.loop_closes = true;
    CHECK_INT(cora_loop_close(on.loop), 0);
    play->failed = play->fails_calls ? faults.failed : allocated > play->failing;
    let_all_succeed();
    let_all_calls_succeed();
    cora_set_current_loop((cora_loop){ 0 });
    look_at_harbour();
    CHECK_INT(cora_live_coroutines(), 0);
    return NULL;
}

/* Whether something has failed. */
static bool play_short(int ticks, long failing, bool fails_calls)
{
    struct short_play play = { ticks, failing, fails_calls, false };
    pthread_t thread;
    made = dropped = 0;
    CHECK_INT(pthread_create(&thread, NULL, play_short_in_thread, &play), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(dropped, made);
    return play.failed;
}

static size_t thread_count(void)
{
    size_t count = 0;
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    for (struct dirent *entry; (entry = readdir(tasks));)
        count += entry->d_name[0] != '.';
    closedir(tasks);
    return count;
}

/* Closes it after so many ticks with each allocation, or call, failing in turn. */
static void close_in_the_middle(bool fails_calls)
{
    size_t values = cora_live_values(), threads = thread_count();
    int most = harness_sanitized() || harness_under_valgrind() ? 6 : 16;
    for (int ticks = 0; ticks < most; ticks++)
        for (long failing = 0; play_short(ticks, failing, fails_calls); failing++)
            ;
    while (thread_count() > threads) /* a look-up that was given up may be under way still */
        sched_yield();
    CHECK_INT(cora_live_values(), values);
}

#endif
