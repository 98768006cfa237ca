/*
 * network SECONDS CALLS SEED: random calls of transports, servers, connectors, look-ups, streams
 * and socket operations, on real sockets and pipes, to show that no sequence of them does harm.
 *
 * How it works: an episode has a loop, of its own or a guest of a raw ev_loop, and ends with the
 * loop closed with everything live. What is made goes into tables of handles, from which calls take
 * at random: live ones, stale ones, null ones, and now and then one of another kind. Every callback
 * acts, too. The other ends of some connections are plain sockets, which send, read nothing, shut
 * down, or reset at random.
 *
 * Each protocol has a record, which knows what may be called: connection_made once and first,
 * connection_lost once and last, pause and resume in turn, drop once, and nothing afterwards. At
 * the end of an episode every record was dropped, no descriptor is left open, and no value is held.
 *
 *     FUZZ_TRACE=1    tells every call
 */
#include <cora.h>

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DEEPEST 4
#define CALLS_PER_EPISODE 3000
#define TABLE 24

static uint64_t state, episode_seed;
static uint64_t calls, callbacks;
static unsigned depth;
static bool tracing;
static cora_loop loop;
static struct ev_loop *host; /* NULL: the loop is one of our own */

/* In the system's place: a name is an address at once, so that no other machine is asked. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret_list)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
    struct addrinfo numeric = hints ? *hints : (struct addrinfo){ 0 };
    memcpy(&real, &symbol, sizeof real);
    numeric.ai_flags |= AI_NUMERICHOST;
    return real(name && strcmp(name, "localhost") == 0 ? "127.0.0.1" : name, service, &numeric,
                ret_list);
}

/* ---- chance ---- */

static uint64_t random_bits(void)
{
    state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t x = state;
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static unsigned below(unsigned limit)
{
    return (unsigned)(random_bits() % limit);
}

static bool rarely(unsigned times)
{
    return below(times) == 0;
}

__attribute__((noreturn, format(printf, 1, 2))) static void broken(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "network: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "; seed %" PRIu64 "\n", episode_seed);
    va_end(arguments);
    abort();
}

static void trace(const char *what)
{
    calls++;
    if (tracing)
        fprintf(stderr, "%*s%s\n", (int)depth * 2, "", what);
}

/* ---- tables ---- */

enum kind { TRANSPORT, SERVER, CONNECTOR, LOOKUP, STREAM, FUTURE, KINDS };

static uint64_t handles[KINDS][TABLE];
static int peers[TABLE]; /* plain sockets; -1: none */

static void add(enum kind kind, uint64_t bits)
{
    if (bits)
        handles[kind][below(TABLE)] = bits;
}

static uint64_t pick(enum kind kind)
{
    if (rarely(40))
        return rarely(2) ? 0 : random_bits();
    if (rarely(30))
        kind = (enum kind)below(KINDS);
    return handles[kind][below(TABLE)];
}

static int pick_peer(void)
{
    return peers[below(TABLE)];
}

static void add_peer(int descriptor)
{
    int *place = &peers[below(TABLE)], old = *place;
    *place = descriptor;
    if (old < 0)
        return;
    cora_remove_reader(loop, old);
    cora_remove_writer(loop, old);
    close(old);
}

/* ---- protocols ---- */

struct record {
    bool made, lost, paused, dropped, acts;
    size_t asked; /* of get_buffer */
    char buffer[64];
};

static size_t records;

static void act(void);

static void acts(unsigned most)
{
    callbacks++;
    if (depth >= DEEPEST)
        return;
    depth++;
    for (unsigned i = below(most + 1); i > 0; i--)
        act();
    depth--;
}

static struct record *record_of(void *self, const char *what)
{
    struct record *record = self;
    if (record->dropped || record->lost)
        broken("%s after the end", what);
    if (!record->made && strcmp(what, "connection_made") != 0 && strstr(what, "writing") == NULL)
        broken("%s before connection_made", what);
    return record;
}

static void maybe_fail(void)
{
    if (rarely(30))
        cora_fail(cora_error(rarely(2) ? CORA_EVALUE : -EPIPE, "as it happens"));
}

static void on_made(void *self, cora_transport transport)
{
    struct record *record = record_of(self, "connection_made");
    if (record->made)
        broken("connection_made twice");
    record->made = true;
    add(TRANSPORT, transport.bits);
    if (rarely(8))
        cora_transport_set_write_buffer_limits(transport, below(2000), 0);
    acts(3);
    maybe_fail();
}

static void on_data(void *self, cora_transport transport, const void *bytes, size_t size)
{
    record_of(self, "data_received");
    if (size == 0)
        broken("data_received of nothing");
    char last = ((const char *)bytes)[size - 1];
    if (rarely(2))
        cora_transport_write(transport, bytes, size < 5000 ? size : 5000);
    acts(2);
    if (size > 1 && ((const char *)bytes)[size - 1] != last)
        broken("bytes change while they are borrowed");
    maybe_fail();
}

static void *on_buffer(void *self, cora_transport transport, size_t hint, size_t *ret_size)
{
    struct record *record = record_of(self, "get_buffer");
    (void)transport, (void)hint;
    if (rarely(4))
        acts(2);
    if (record->dropped)
        return NULL;
    *ret_size = record->asked = rarely(50) ? 0 : 1 + below(sizeof record->buffer);
    return record->buffer;
}

static void on_updated(void *self, cora_transport transport, size_t size)
{
    struct record *record = record_of(self, "buffer_updated");
    (void)transport;
    if (size == 0 || size > record->asked)
        broken("buffer_updated(%zu) of %zu", size, record->asked);
    acts(2);
    maybe_fail();
}

static bool on_eof(void *self, cora_transport transport)
{
    record_of(self, "eof_received");
    (void)transport;
    acts(2);
    maybe_fail();
    return rarely(2);
}

static void on_lost(void *self, cora_transport transport, cora_value error)
{
    struct record *record = record_of(self, "connection_lost");
    (void)error;
    if (!cora_transport_is_closing(transport))
        broken("connection_lost of one that is not closing");
    acts(2);
    record->lost = true;
    maybe_fail();
}

static void on_pause(void *self, cora_transport transport)
{
    struct record *record = record_of(self, "pause_writing");
    (void)transport;
    if (record->paused)
        broken("pause_writing twice");
    record->paused = true;
    acts(2);
    maybe_fail();
}

static void on_resume(void *self, cora_transport transport)
{
    struct record *record = record_of(self, "resume_writing");
    (void)transport;
    if (!record->paused)
        broken("resume_writing before pause_writing");
    record->paused = false;
    acts(2);
    maybe_fail();
}

static void on_drop(void *self)
{
    struct record *record = self;
    if (record->dropped)
        broken("dropped twice");
    record->dropped = true;
    records--;
    if (rarely(3))
        acts(1);
    free(record);
}

static const struct cora_protocol_type plain_type = {
    .name = "Plain",
    .connection_made = on_made,
    .data_received = on_data,
    .eof_received = on_eof,
    .connection_lost = on_lost,
    .pause_writing = on_pause,
    .resume_writing = on_resume,
    .drop = on_drop,
};
static const struct cora_protocol_type buffered_type = {
    .name = "Buffered",
    .connection_made = on_made,
    .get_buffer = on_buffer,
    .buffer_updated = on_updated,
    .eof_received = on_eof,
    .connection_lost = on_lost,
    .pause_writing = on_pause,
    .resume_writing = on_resume,
    .drop = on_drop,
};

static cora_protocol record_protocol(void)
{
    struct record *record = calloc(1, sizeof *record);
    if (!record)
        return (cora_protocol){ 0 };
    records++;
    return (cora_protocol){ rarely(3) ? &buffered_type : &plain_type, record };
}

static cora_protocol factory(cora_args bound)
{
    (void)bound;
    if (rarely(3))
        acts(2);
    if (rarely(20))
        return (cora_protocol){ 0 };
    maybe_fail();
    return record_protocol();
}

/* ---- callbacks of everything else ---- */

static void look_at(cora_value outcome)
{
    char text[300];
    if (outcome.type == &cora_type_transport)
        add(TRANSPORT, cora_as_transport(outcome).bits);
    else if (outcome.type == &cora_type_server)
        add(SERVER, cora_as_server(outcome).bits);
    else if (outcome.type == &cora_type_stream_writer)
        add(STREAM, cora_as_stream_writer(outcome).bits);
    cora_print(outcome, text, sizeof text);
}

static void on_outcome(cora_args bound, cora_value outcome)
{
    (void)bound;
    look_at(outcome);
    acts(2);
    maybe_fail();
}

static void on_done(cora_args bound, cora_future done)
{
    (void)bound;
    look_at(cora_result(done));
    acts(2);
}

static void on_client(cora_args bound, cora_stream_reader reader, cora_stream_writer writer)
{
    (void)bound, (void)reader;
    add(STREAM, writer.bits);
    acts(3);
    maybe_fail();
}

struct guest {
    cora_stream_reader reader;
    cora_stream_writer writer;
};

static cora_next guest_read(cora_coro self);

static cora_next guest_got(cora_coro self)
{
    struct guest *guest = cora_locals(self, struct guest);
    cora_value got = cora_got(self);
    size_t size = 0;
    const void *bytes = cora_is_nothing(cora_caught(self)) ? cora_as_bytes(got, &size) : NULL;
    acts(2);
    if (size == 0 || rarely(6)) {
        if (!rarely(4))
            cora_stream_close(guest->writer);
        return rarely(5) ? cora_raise(self, cora_error(CORA_EVALUE, "a guest"))
                         : cora_return(self, 1);
    }
    cora_stream_write(guest->writer, bytes, size < 3000 ? size : 3000);
    return cora_try(self, cora_stream_drain(guest->writer), guest_read);
}

static cora_next guest_read(cora_coro self)
{
    struct guest *guest = cora_locals(self, struct guest);
    return cora_try(self, cora_stream_read(guest->reader, 1 + below(100)), guest_got);
}

static cora_coro on_guest(cora_args bound, cora_stream_reader reader, cora_stream_writer writer)
{
    (void)bound;
    add(STREAM, writer.bits);
    acts(2);
    return cora_coroutine(guest_read, struct guest, .reader = reader, .writer = writer);
}

/* Starts an operation in some way, or not at all. */
static void start(cora_awaitable what)
{
    cora_future made = { 0 };
    switch (below(4)) {
    case 0:
    case 1:
        made = cora_when_done(what, cora_partial(on_done));
        break;
    case 2:
        made = cora_ensure_future(loop, what);
        break;
    default:
        break;
    }
    add(FUTURE, made.bits);
}

/* ---- acts ---- */

static char bytes_to_send[70000];

static size_t some_size(void)
{
    return rarely(20) ? sizeof bytes_to_send - 4 - below(10) : below(rarely(4) ? 5000 : 60);
}

static cora_transport some_transport(void)
{
    return (cora_transport){ pick(TRANSPORT) };
}

static cora_server some_server(void)
{
    return (cora_server){ pick(SERVER) };
}

static void act_transport(void)
{
    cora_transport transport = some_transport();
    char text[200];
    struct iovec chunks[3];
    size_t low, high;
    for (size_t i = 0; i < 3; i++)
        chunks[i] = (struct iovec){ bytes_to_send + i, some_size() };
    switch (below(16)) {
    case 0:
        trace("close");
        cora_transport_close(transport);
        break;
    case 1:
        trace("abort");
        if (rarely(2))
            cora_transport_abort(transport);
        break;
    case 2:
        trace("pause_reading");
        cora_transport_pause_reading(transport);
        break;
    case 3:
    case 4:
        trace("resume_reading");
        cora_transport_resume_reading(transport);
        break;
    case 5:
        trace("write_eof");
        cora_transport_write_eof(transport);
        break;
    case 6:
        trace("limits");
        cora_transport_set_write_buffer_limits(transport, rarely(4) ? CORA_LIMIT_NONE : below(3000),
                                               rarely(3) ? CORA_LIMIT_NONE : below(1000));
        cora_transport_get_write_buffer_limits(transport, &low, &high);
        break;
    case 7:
        trace("writelines");
        cora_transport_writelines(transport, chunks, below(4));
        break;
    case 8:
        trace("extra_info");
        cora_transport_get_extra_info(transport, rarely(2) ? "peername" : "sockname",
                                      cora_nothing());
        cora_transport_print(transport, text, below(sizeof text));
        break;
    case 9:
        trace("ask");
        cora_transport_is_reading(transport);
        cora_transport_get_write_buffer_size(transport);
        cora_transport_can_write_eof(transport);
        cora_transport_loop(transport);
        break;
    case 10:
        trace("watch a transport's descriptor");
        if (cora_transport_socket(transport) >= 0 &&
            cora_remove_reader(loop, cora_transport_socket(transport)))
            broken("the reader of a transport was removed");
        break;
    default:
        trace("write");
        cora_transport_write(transport, bytes_to_send, some_size());
    }
}

static int some_port(void)
{
    int port = cora_server_port(some_server());
    return port ? port : rarely(3) ? 1 : 0;
}

static struct cora_connect_options connect_options(void)
{
    static const char *const hosts[] = { "127.0.0.1", "127.0.0.1", "127.0.0.2", "::1",
                                         "no..name",  "a b",       "localhost" };
    struct cora_connect_options options = { .host = hosts[below(6 + rarely(40))],
                                            .port = some_port(),
                                            .happy_eyeballs_delay = rarely(3) ? 0.01 : 0,
                                            .interleave = (int)below(3),
                                            .all_errors = rarely(2) };
    if (rarely(10))
        options.local_host = "127.0.0.1";
    return options;
}

static struct cora_server_options server_options(void)
{
    struct cora_server_options options = { .host = rarely(8) ? "::1" : "127.0.0.1",
                                           .backlog = (int)below(4),
                                           .reuse_port = rarely(4),
                                           .start_later = rarely(6) };
    if (rarely(20))
        options.port = some_port();
    return options;
}

static bool pair(int ends[2])
{
    int small = 2000;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
        return false;
    for (int i = 0; i < 2 && rarely(2); i++)
        setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    return true;
}

/* Two ends that are connected: from the second to the first. */
static bool one_way(int ends[2])
{
    if (rarely(3))
        return pair(ends);
    if (pipe2(ends, O_CLOEXEC | (rarely(2) ? O_NONBLOCK : 0)) < 0)
        return false;
    if (rarely(2))
        fcntl(ends[1], F_SETPIPE_SZ, 4096);
    return true;
}

static void act_pipe(void)
{
    int ends[2], reads = (int)below(2);
    if (!one_way(ends))
        return;
    trace(reads ? "attach_read_pipe" : "attach_write_pipe");
    int own = ends[!reads], peer = ends[reads];
    fcntl(peer, F_SETFL, O_NONBLOCK);
    add_peer(peer);
    cora_transport made = reads ? cora_attach_read_pipe(loop, own, cora_partial(factory, 1))
                                : cora_attach_write_pipe(loop, own, cora_partial(factory, 1));
    if (cora_is_null(made))
        close(own);
    else
        add(TRANSPORT, made.bits);
}

static void act_connect(void)
{
    struct cora_connect_options options = connect_options();
    int ends[2];
    switch (below(4)) {
    case 0:
        trace("connect_accepted_socket");
        if (!pair(ends))
            return;
        add_peer(ends[1]);
        cora_transport made = cora_connect_accepted_socket(loop, ends[0], cora_partial(factory, 1));
        if (cora_is_null(made))
            close(ends[0]);
        else
            add(TRANSPORT, made.bits);
        return;
    case 1:
        trace("connect");
        add(CONNECTOR,
            cora_connect(loop, &options, cora_partial(factory), cora_partial(on_outcome, 1)).bits);
        return;
    case 2:
        trace("create_connection");
        start(cora_create_connection(&options, cora_partial(factory)));
        return;
    default:
        trace("open_connection");
        start(cora_open_connection(&options, below(200)));
    }
}

static void act_serve(void)
{
    struct cora_server_options options = server_options();
    switch (below(4)) {
    case 0:
        trace("listen");
        add(SERVER,
            cora_listen(loop, &options, cora_partial(factory), cora_partial(on_outcome, "x")).bits);
        return;
    case 1:
        trace("create_server");
        start(cora_create_server(&options, cora_partial(factory)));
        return;
    case 2:
        trace("start_server");
        start(cora_start_server(&options, below(100), cora_partial(on_client, 3)));
        return;
    default:
        trace("start_server with coroutines");
        start(cora_start_server(&options, 0, cora_partial(on_guest)));
    }
}

static void act_server(void)
{
    cora_server server = some_server();
    char text[200];
    switch (below(10)) {
    case 0:
        trace("server_close");
        cora_server_close(server);
        break;
    case 1:
        trace("close_clients");
        cora_server_close_clients(server);
        break;
    case 2:
        trace("abort_clients");
        cora_server_abort_clients(server);
        break;
    case 3:
        trace("stop_serving");
        cora_server_stop_serving(server);
        break;
    case 4:
        trace("serve_forever");
        start(cora_server_serve_forever(server));
        break;
    case 5:
    case 6:
        trace("server_wait_closed");
        start(cora_server_wait_closed(server));
        break;
    case 7:
        trace("ask a server");
        cora_server_print(server, text, below(sizeof text));
        cora_server_clients(server);
        cora_server_is_serving(server);
        cora_server_socket(server, below(3));
        cora_server_loop(server);
        break;
    default:
        trace("start_serving");
        cora_server_start_serving(server);
    }
}

static void act_stream(void)
{
    uint64_t bits = pick(STREAM);
    cora_stream_reader reader = { bits };
    cora_stream_writer writer = { bits };
    char text[200];
    cora_value ends[2] = { cora_static("ab"), cora_static("\n") };
    switch (below(18)) {
    case 0:
        trace("stream close");
        cora_stream_close(writer);
        break;
    case 1:
        trace("stream read");
        start(cora_stream_read(reader, (int64_t)below(100) - 1));
        break;
    case 2:
        trace("readline");
        start(rarely(2) ? cora_stream_readline(reader) : cora_stream_next_line(reader));
        break;
    case 3:
        trace("readexactly");
        start(cora_stream_readexactly(reader, (int64_t)below(300) - 1));
        break;
    case 4:
        trace("readuntil");
        start(cora_stream_readuntil(reader, rarely(2) ? cora_list(ends, 2) : cora_text("bc")));
        break;
    case 5:
    case 6:
        trace("drain");
        start(cora_stream_drain(writer));
        break;
    case 7:
        trace("wait_closed");
        start(cora_stream_wait_closed(writer));
        break;
    case 8:
        trace("feed");
        cora_stream_feed_data(reader, "some\nbytes", below(11));
        break;
    case 9:
        trace("feed_eof");
        if (rarely(3))
            cora_stream_feed_eof(reader);
        else if (rarely(3))
            cora_stream_set_exception(reader, cora_error(CORA_EVALUE, "fed"));
        break;
    case 10:
        trace("reader_new");
        add(STREAM, cora_stream_reader_new(loop, below(50)).bits);
        break;
    case 11:
        trace("reader_close");
        if (rarely(3))
            cora_stream_reader_close(reader);
        break;
    case 12:
        trace("ask a stream");
        cora_stream_at_eof(reader);
        cora_stream_exception(reader);
        cora_stream_is_closing(writer);
        cora_stream_get_extra_info(writer, "peername", cora_nothing());
        cora_stream_reader_print(reader, text, below(sizeof text));
        cora_stream_writer_print(writer, text, below(sizeof text));
        break;
    case 13:
        trace("stream write_eof");
        cora_stream_write_eof(writer);
        break;
    case 14:
        trace("stream transport");
        add(TRANSPORT, cora_stream_transport(writer).bits);
        break;
    default:
        trace("stream write");
        cora_stream_write(writer, bytes_to_send, some_size());
    }
}

static char into[64];

static void act_peer(void)
{
    struct linger reset = { 1, 0 };
    int peer = pick_peer(), ends[2];
    char text[8000];
    ssize_t done = 0;
    if (peer < 0)
        return;
    switch (below(12)) {
    case 0:
        trace("peer closes");
        add_peer(-1);
        break;
    case 1:
        trace("peer resets");
        setsockopt(peer, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        break;
    case 2:
        trace("peer shuts down");
        shutdown(peer, rarely(2) ? SHUT_WR : SHUT_RDWR);
        break;
    case 3:
        trace("sock_recv");
        start(cora_sock_recv(peer, 1 + below(50)));
        break;
    case 4:
        trace("sock_sendall");
        start(cora_sock_sendall(peer, bytes_to_send, some_size()));
        break;
    case 5:
        trace("sock_recv_into"); /* sock_accept would give a socket, perhaps to nobody */
        start(cora_sock_recv_into(peer, into, 1 + below(sizeof into)));
        break;
    case 6:
        trace("a new pair");
        if (pair(ends)) {
            add_peer(ends[0]);
            add_peer(ends[1]);
        }
        break;
    case 7:
    case 8:
        trace("peer sends");
        signal(SIGPIPE, SIG_IGN); /* of its own; the library raises none */
        done = write(peer, bytes_to_send, some_size());
        signal(SIGPIPE, SIG_DFL);
        break;
    default:
        trace("peer receives");
        done = read(peer, text, 1 + below(sizeof text));
    }
    if (done < 0 && errno == EFAULT)
        broken("a peer");
}

static void act_lookup(void)
{
    static const char *const hosts[] = { "127.0.0.1", "::1", "", "x y", "12.7.0.1", "fe80::1%1" };
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM };
    trace("look up");
    if (rarely(2))
        add(LOOKUP, cora_resolve(loop, hosts[below(5)], rarely(5) ? "http" : "80", &hints,
                                 cora_partial(on_outcome))
                        .bits);
    else if (rarely(2))
        start(cora_getaddrinfo(hosts[below(5)], "81", &hints));
    else
        cora_lookup_cancel((cora_lookup){ pick(LOOKUP) });
}

static void act_cancel(void)
{
    trace("cancel");
    if (rarely(3))
        cora_connector_cancel((cora_connector){ pick(CONNECTOR) });
    else
        cora_cancel((cora_future){ pick(FUTURE) });
}

static void act_set_protocol(void)
{
    cora_transport transport = some_transport();
    cora_protocol old = cora_transport_get_protocol(transport);
    trace("set_protocol");
    if (old.type != &plain_type && old.type != &buffered_type)
        return; /* a stream's, or none */
    cora_protocol next = { old.type == &plain_type ? &buffered_type : &plain_type, old.self };
    cora_transport_set_protocol(transport, next);
}

static void on_nothing(cora_args bound)
{
    (void)bound;
    acts(2);
}

static void act(void)
{
    static void (*const table[])(
        void) = { act_transport, act_transport, act_transport, act_connect, act_pipe,
                  act_serve,     act_server,    act_stream,    act_stream,  act_stream,
                  act_peer,      act_peer,      act_lookup,    act_cancel,  act_set_protocol };
    if (rarely(30)) {
        cora_call_soon(loop, cora_partial(on_nothing));
        return;
    }
    if (rarely(300) && depth > 0 && host) {
        trace("detach in a callback");
        cora_loop_detach(loop);
        return;
    }
    table[below(sizeof table / sizeof *table)]();
}

/* ---- episodes ---- */

static void on_stop(cora_args bound)
{
    (void)bound;
    cora_stop(loop);
}

static void run_a_little(void)
{
    trace("run");
    if (host) {
        ev_run(host, EVRUN_NOWAIT);
        return;
    }
    for (unsigned i = 1 + below(4); i > 0; i--) {
        cora_call_soon(loop, cora_partial(on_stop));
        cora_run_forever(loop);
    }
}

static void on_report(cora_args bound, cora_loop from, const struct cora_report *report)
{
    char text[200];
    (void)bound, (void)from;
    cora_print(report->exception, text, sizeof text);
    if (tracing)
        fprintf(stderr, "report: %s: %s\n", report->message ? report->message : "", text);
    if (rarely(10))
        acts(1);
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (directory && readdir(directory))
        count++;
    if (directory)
        closedir(directory);
    return count;
}

/* What is open, for who looks for a leak. */
static void tell_descriptors(void)
{
    for (int i = 0; i < 1000; i++) {
        char name[40], link[200];
        snprintf(name, sizeof name, "/proc/self/fd/%d", i);
        ssize_t length = readlink(name, link, sizeof link - 1);
        if (length > 0)
            fprintf(stderr, "descriptor %d: %.*s\n", i, (int)length, link);
    }
}

static void episode(void)
{
    unsigned before = open_descriptors();
    size_t live = cora_live_values();
    static const char *const backends[] = { NULL, "epoll", "poll", "select" };
    host = rarely(3) ? ev_loop_new(EVFLAG_AUTO) : NULL;
    loop = host ? cora_loop_attach(host, NULL)
                : cora_loop_new(&(struct cora_loop_options){ .debug = rarely(4),
                                                             .backend = backends[below(4)] });
    if (cora_is_null(loop))
        broken("no loop: %s", cora_error_message(cora_last_error()));
    cora_set_current_loop(loop);
    cora_set_exception_handler(loop, cora_partial(on_report));
    memset(handles, 0, sizeof handles);
    for (size_t i = 0; i < TABLE; i++)
        peers[i] = -1;
    uint64_t until = calls + CALLS_PER_EPISODE;
    while (calls < until && !cora_is_closed(loop)) {
        for (unsigned i = below(12); i > 0; i--)
            act();
        run_a_little();
    }
    if (host)
        cora_loop_detach(loop);
    else
        cora_loop_close(loop);
    if (host)
        ev_loop_destroy(host);
    for (size_t i = 0; i < TABLE; i++) /* drop functions may have made some */
        if (peers[i] >= 0)
            close(peers[i]);
    cora_drop_temporaries();
    cora_set_last_error(cora_nothing());
    if (records)
        broken("%zu protocols were not dropped", records);
    for (time_t patience = time(NULL) + 10; open_descriptors() != before && time(NULL) < patience;)
        sched_yield(); /* a thread of the resolver's reads a file of the system's */
    if (open_descriptors() != before)
        tell_descriptors();
    if (open_descriptors() != before)
        broken("%u descriptors are open, %u were", open_descriptors(), before);
    if (cora_live_values() > live)
        broken("%zu values are held, %zu were", cora_live_values(), live);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 1;
    uint64_t most = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    struct timespec now, began;
    clock_gettime(CLOCK_MONOTONIC, &began);
    tracing = getenv("FUZZ_TRACE") != NULL;
    signal(SIGPIPE, SIG_DFL);
    for (size_t i = 0; i < sizeof bytes_to_send; i++)
        bytes_to_send[i] = "abc\ndefg"[i % 8];
    if (seed == 0)
        seed = (uint64_t)began.tv_nsec * 1000003u + (uint64_t)getpid();
    unsigned episodes = 0;
    do {
        episode_seed = state = seed;
        alarm(60); /* an episode takes less than a second */
        episode();
        seed = random_bits();
        episodes++;
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((double)(now.tv_sec - began.tv_sec) < seconds && (most == 0 || calls < most));
    printf("network: %" PRIu64 " calls, %" PRIu64 " callbacks, %u episodes\n", calls, callbacks,
           episodes);
    return 0;
}
