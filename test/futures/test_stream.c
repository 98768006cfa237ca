/*
 * Connecting and serving with streams: a bakery, whose customers ask for bread in lines. First all
 * in callbacks, then with a coroutine for each customer; handlers that fail, are cancelled, or
 * forget their customer; limits; cancelling, and closing the loop at every tick.
 *
 * Readers and writers have tests of their own; here it is about where they come from.
 */
#include "coroutines.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

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

static int client_new(int port)
{
    struct sockaddr_in address = loopback(port);
    int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(connect(made, (struct sockaddr *)&address, sizeof address), 0);
    return made;
}

static void put(int descriptor, const char *text)
{
    CHECK_INT(write(descriptor, text, strlen(text)), (ssize_t)strlen(text));
}

/* Whether the peer has closed; waits for the kernel only. */
static bool peer_closed(int descriptor)
{
    char byte;
    return recv(descriptor, &byte, 1, MSG_DONTWAIT) == 0;
}

static void run_until(cora_loop loop, const int *flag)
{
    while (!*flag)
        tick(loop);
}

/* ---- what is awaited ---- */

/* What an operation has ended with. */
struct end_of {
    int ended, code;
    char text[300];
    struct cora_streams streams;
    cora_server server;
};

static void on_end(cora_args bound, cora_future done)
{
    struct end_of *end_of = cora_arg(bound, 0, struct end_of *);
    cora_value result = cora_result(done);
    end_of->ended++;
    end_of->code = cora_error_code(result);
    cora_print(result, end_of->text, sizeof end_of->text);
    if (result.type == &cora_type_stream_writer)
        end_of->streams = cora_as_streams(result);
    if (result.type == &cora_type_server)
        end_of->server = cora_as_server(result);
}

static cora_future begin(cora_awaitable operation, struct end_of *end_of)
{
    cora_future future = cora_when_done(operation, cora_partial(on_end, end_of));
    CHECK(!cora_is_null(future));
    return future;
}

static cora_awaitable opening(int port)
{
    return cora_open_connection(&(struct cora_connect_options){ .host = "127.0.0.1", .port = port },
                                0);
}

static struct cora_streams streams_new(cora_loop loop, int port)
{
    struct cora_streams streams = cora_as_streams(cora_run_until_complete(loop, opening(port)));
    CHECK(!cora_is_null(streams.writer));
    return streams;
}

static const struct cora_server_options here = { .host = "127.0.0.1" };

static cora_server server_of(cora_loop loop, cora_awaitable server)
{
    cora_value made = cora_run_until_complete(loop, server);
    CHECK(!cora_is_error(made));
    return cora_as_server(made);
}

/* Ends a test whose connections are over: the server was the last thing. */
static void end_bakery(cora_loop loop, cora_server server)
{
    CHECK_INT(cora_server_close(server), 0);
    CHECK(cora_is_nothing(cora_run_until_complete(loop, cora_server_wait_closed(server))));
    ticks(loop, 3);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

/* ---- in callbacks ---- */

struct bakery {
    struct notes notes;
    cora_server server;
    cora_stream_reader reader; /* the customer's */
    cora_stream_writer writer;
    int closed;
};

static struct bakery *bakery_of(cora_args bound)
{
    return cora_arg(bound, 0, struct bakery *);
}

static void on_order(cora_args bound, cora_future done)
{
    cora_stream_writer writer = cora_arg_stream_writer(bound, 0);
    size_t size = 0;
    const char *order = cora_as_bytes(cora_result(done), &size);
    CHECK_INT(cora_stream_writef(writer, "here: %.*s", (int)size, order), 0);
    CHECK_INT(cora_stream_close(writer), 0);
}

static void bake(cora_args bound, cora_stream_reader reader, cora_stream_writer writer)
{
    (void)bound;
    cora_when_done(cora_stream_readline(reader), cora_partial(on_order, writer));
}

static void on_closed(cora_args bound, cora_future done)
{
    CHECK(cora_is_nothing(cora_result(done)));
    add_note(&bakery_of(bound)->notes, "closed");
    bakery_of(bound)->closed++;
}

static void on_left(cora_args bound, cora_future done)
{
    struct bakery *bakery = bakery_of(bound);
    CHECK(cora_is_nothing(cora_result(done)));
    add_note(&bakery->notes, "left");
    CHECK_INT(cora_server_close(bakery->server), 0);
    cora_when_done(cora_server_wait_closed(bakery->server), cora_partial(on_closed, bakery));
}

static void on_bread(cora_args bound, cora_future done)
{
    struct bakery *bakery = bakery_of(bound);
    note_outcome(bound, done);
    CHECK_INT(cora_stream_close(bakery->writer), 0);
    cora_when_done(cora_stream_wait_closed(bakery->writer), cora_partial(on_left, bakery));
}

static void on_entered(cora_args bound, cora_future done)
{
    struct bakery *bakery = bakery_of(bound);
    struct cora_streams streams = cora_as_streams(cora_result(done));
    bakery->writer = streams.writer;
    CHECK_INT(cora_stream_write(streams.writer, "rye\n", 4), 0);
    cora_when_done(cora_stream_read(streams.reader, -1), cora_partial(on_bread, bakery));
}

static void on_open(cora_args bound, cora_future done)
{
    struct bakery *bakery = bakery_of(bound);
    bakery->server = cora_as_server(cora_result(done));
    cora_when_done(opening(cora_server_port(bakery->server)), cora_partial(on_entered, bakery));
}

TEST(callbacks, "callbacks serve a customer: a line comes, an answer goes, and all is closed",
     "test_streams.StreamTests.test_start_server")
{
    cora_loop loop = current_loop_new();
    struct bakery bakery = { .closed = 0 };
    struct reports reports;
    collect_reports(loop, &reports);
    cora_when_done(cora_start_server(&here, 0, cora_partial(bake)), cora_partial(on_open, &bakery));
    run_until(loop, &bakery.closed);
    CHECK_TEXT(bakery.notes.text, "b\"here: rye\\n\" left closed");
    CHECK_INT(reports.count, 0);
    ticks(loop, 3);
    CHECK_INT(cora_live(loop), 0);
    current_loop_end(loop);
}

/* ---- with a coroutine for each customer ---- */

/* What the locals of a baker are. */
struct baker {
    cora_stream_reader reader;
    cora_stream_writer writer;
    struct bakery *bakery;
    cora_future cancels; /* when there is an order */
};

#define BAKER(self) cora_locals(self, struct baker)

static cora_next baker_is_done(cora_coro self)
{
    add_note(&BAKER(self)->bakery->notes, "served");
    return cora_return_nothing(self);
}

static cora_next baker_has_baked(cora_coro self)
{
    CHECK_INT(cora_stream_close(BAKER(self)->writer), 0);
    return cora_await(self, cora_stream_wait_closed(BAKER(self)->writer), baker_is_done);
}

static cora_next baker_bakes(cora_coro self)
{
    size_t size = 0;
    const char *order = cora_as_bytes(cora_got(self), &size);
    if (!cora_is_null(BAKER(self)->cancels))
        CHECK(cora_cancel(BAKER(self)->cancels));
    CHECK_INT(cora_stream_writef(BAKER(self)->writer, "here: %.*s", (int)size, order), 0);
    return cora_await(self, cora_stream_drain(BAKER(self)->writer), baker_has_baked);
}

static cora_next baker_listens(cora_coro self)
{
    return cora_await(self, cora_stream_readline(BAKER(self)->reader), baker_bakes);
}

/* Bound to a bakery. */
static cora_coro bake_in_steps(cora_args bound, cora_stream_reader reader,
                               cora_stream_writer writer)
{
    return cora_coroutine(baker_listens, struct baker, .reader = reader, .writer = writer,
                          .bakery = bakery_of(bound));
}

struct customer {
    struct bakery *bakery;
    struct cora_streams streams;
};

#define CUSTOMER(self) cora_locals(self, struct customer)

static cora_next customer_is_home(cora_coro self)
{
    return cora_return(self, "fed");
}

static cora_next customer_leaves(cora_coro self)
{
    char text[100];
    cora_print(cora_got(self), text, sizeof text);
    add_note(&CUSTOMER(self)->bakery->notes, text);
    CHECK_INT(cora_stream_close(CUSTOMER(self)->streams.writer), 0);
    return cora_await(self, cora_stream_wait_closed(CUSTOMER(self)->streams.writer),
                      customer_is_home);
}

static cora_next customer_orders(cora_coro self)
{
    CUSTOMER(self)->streams = cora_as_streams(cora_got(self));
    CHECK_INT(cora_stream_write(CUSTOMER(self)->streams.writer, "bun\n", 4), 0);
    return cora_await(self, cora_stream_readline(CUSTOMER(self)->streams.reader), customer_leaves);
}

static cora_next customer_enters(cora_coro self)
{
    return cora_await(self, opening(cora_server_port(CUSTOMER(self)->bakery->server)),
                      customer_orders);
}

/* A customer of a bakery is served, in steps. */
static void serve_in_steps(const struct cora_server_options *options)
{
    cora_loop loop = current_loop_new();
    struct bakery bakery = { .closed = 0 };
    struct reports reports;
    collect_reports(loop, &reports);
    bakery.server =
        server_of(loop, cora_start_server(options, 0, cora_partial(bake_in_steps, &bakery)));
    cora_value fed = cora_run_until_complete(
        loop, cora_create_task(
                  loop, cora_coroutine(customer_enters, struct customer, .bakery = &bakery)));
    CHECK_TEXT(cora_as_text(fed), "fed");
    while (!strstr(bakery.notes.text, "served"))
        tick(loop);
    CHECK(strstr(bakery.notes.text, "b\"here: bun\\n\""));
    CHECK_INT(reports.count, 0);
    end_bakery(loop, bakery.server);
}

TEST(steps, "the same in steps, where a task serves each customer",
     "test_streams.StreamTests.test_start_server")
{
    serve_in_steps(&here);
}

TEST(steps_of_socket, "a bound socket may be given instead of a host",
     "test_streams.StreamTests.test_start_server")
{
    serve_in_steps(&(struct cora_server_options){ .socket = bound_new() });
}

static cora_coro bake_and_cancel(cora_args bound, cora_stream_reader reader,
                                 cora_stream_writer writer)
{
    return cora_coroutine(baker_listens, struct baker, reader, writer, bakery_of(bound),
                          *cora_arg(bound, 1, cora_future *));
}

TEST(forever, "a stream server serves for ever until that is cancelled, by a customer's task, too",
     "test_server.BaseStartServer.test_start_server_1")
{
    cora_loop loop = current_loop_new();
    struct bakery bakery = { .closed = 0 };
    struct end_of serving = { .ended = 0 }, waiting = { .ended = 0 };
    cora_future forever = { 0 };
    char order[5 * 1024 + 2];
    memset(order, '1', sizeof order);
    strcpy(order + sizeof order - 2, "\n");
    const struct cora_server_options later = { .host = "127.0.0.1", .start_later = true };
    cora_server server = server_of(
        loop, cora_start_server(&later, 0, cora_partial(bake_and_cancel, &bakery, &forever)));
    CHECK(!cora_server_is_serving(server));
    forever = begin(cora_server_serve_forever(server), &serving);
    CHECK(cora_server_is_serving(server));
    begin(cora_server_wait_closed(server), &waiting);
    int client = client_new(cora_server_port(server));
    put(client, order);
    run_until(loop, &serving.ended);
    CHECK_INT(serving.code, CORA_ECANCELLED);
    CHECK_TEXT(bakery.notes.text, "served");
    CHECK_INT(cora_server_socket(server, 0), -1);
    CHECK(!cora_server_is_serving(server));
    ticks(loop, 2);
    CHECK_TEXT(waiting.text, "None");
    cora_value again = cora_run_until_complete(loop, cora_server_serve_forever(server));
    CHECK(cora_error_is(again, CORA_ERUNTIME));
    CHECK(says(again, "is closed"));
    close(client);
    current_loop_end(loop);
}

TEST(many, "thirty customers at once are each served")
{
    cora_loop loop = current_loop_new();
    struct bakery bakery = { .closed = 0 };
    cora_awaitable customers[30];
    bakery.server =
        server_of(loop, cora_start_server(&here, 0, cora_partial(bake_in_steps, &bakery)));
    for (int i = 0; i < 30; i++)
        customers[i] =
            cora_awaitable_of(cora_coroutine(customer_enters, struct customer, .bakery = &bakery));
    cora_value fed = cora_run_until_complete(loop, cora_gather(loop, customers, 30));
    CHECK_INT(cora_list_size(fed), 30);
    for (size_t i = 0; i < 30; i++)
        CHECK_TEXT(cora_as_text(cora_list_at(fed, i)), "fed");
    end_bakery(loop, bakery.server);
}

/* ---- handlers that fail, are cancelled, or forget ---- */

struct kitchen {
    int came, drops;
    cora_stream_reader reader;
    cora_stream_writer writer;
    cora_future waits; /* what its tasks wait for, or null */
    cora_transport transport;
};

static void kitchen_meets(struct kitchen *kitchen, cora_stream_reader reader,
                          cora_stream_writer writer)
{
    kitchen->came++;
    kitchen->reader = reader;
    kitchen->writer = writer;
    kitchen->transport = cora_stream_transport(writer);
}

static cora_next burns(cora_coro self)
{
    return cora_raise(self, cora_error(CORA_EVALUE, "burnt"));
}

/* Waits for the kitchen's future, then ends as that. */
static cora_next kitchen_waits(cora_coro self)
{
    struct kitchen *kitchen = *cora_locals(self, struct kitchen *);
    if (cora_is_null(kitchen->waits))
        return burns(self);
    return cora_await(self, kitchen->waits, cora_return_got);
}

static cora_coro cook(cora_args bound, cora_stream_reader reader, cora_stream_writer writer)
{
    struct kitchen *kitchen = cora_arg(bound, 0, struct kitchen *);
    kitchen_meets(kitchen, reader, writer);
    return cora_coroutine(kitchen_waits, struct kitchen *, kitchen);
}

static void keep_transport(cora_args bound, cora_loop loop, const struct cora_report *report)
{
    take_report(bound, loop, report);
    *cora_arg(bound, 1, cora_transport *) = report->transport;
}

TEST(task_fails, "a task that fails is reported once, with its transport, which is closed",
     "test_streams.StreamTests.test_unhandled_exceptions",
     "test_streams.StreamTests.test_unhandled_exception")
{
    cora_loop loop = current_loop_new();
    struct kitchen kitchen = { .came = 0 };
    struct reports reports = { .count = 0 };
    cora_transport reported = { 0 };
    cora_server server = server_of(loop, cora_start_server(&here, 0, cora_partial(cook, &kitchen)));
    cora_set_exception_handler(loop, cora_partial(keep_transport, &reports, &reported));
    int client = client_new(cora_server_port(server));
    run_until(loop, &kitchen.came);
    ticks(loop, 4);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.message, "Unhandled exception in client_connected_cb");
    CHECK_TEXT(reports.error, "ValueError: burnt");
    CHECK(cora_same(reported, kitchen.transport));
    CHECK(peer_closed(client));
    CHECK_INT(cora_server_clients(server), 0);
    cora_stream_close(kitchen.writer);
    close(client);
    end_bakery(loop, server);
}

TEST(task_cancelled, "a task that is cancelled is not reported; its connection is closed",
     "test_streams.StreamTests.test_unhandled_cancel")
{
    cora_loop loop = current_loop_new();
    struct kitchen kitchen = { .waits = cora_future_new(loop) };
    struct reports reports;
    cora_server server = server_of(loop, cora_start_server(&here, 0, cora_partial(cook, &kitchen)));
    collect_reports(loop, &reports);
    int client = client_new(cora_server_port(server));
    run_until(loop, &kitchen.came);
    ticks(loop, 2);
    CHECK(!peer_closed(client));
    CHECK(cora_cancel(kitchen.waits));
    ticks(loop, 5);
    CHECK_INT(reports.count, 0);
    CHECK(peer_closed(client));
    cora_stream_close(kitchen.writer);
    cora_release(kitchen.waits);
    close(client);
    end_bakery(loop, server);
}

/* What is alive when this many customers have come and gone who were served by failing tasks. */
static size_t live_after(int customers, bool is_cancelled)
{
    cora_loop loop = current_loop_new();
    struct kitchen kitchen = { .came = 0 };
    struct reports reports;
    cora_server server = server_of(loop, cora_start_server(&here, 0, cora_partial(cook, &kitchen)));
    collect_reports(loop, &reports);
    for (int i = 0; i < customers; i++) {
        if (is_cancelled)
            kitchen.waits = cora_future_new(loop);
        int client = client_new(cora_server_port(server)), came = kitchen.came;
        put(client, "bread that nobody reads");
        while (kitchen.came == came)
            tick(loop);
        if (is_cancelled)
            CHECK(cora_cancel(kitchen.waits));
        ticks(loop, 6);
        CHECK(recv(client, &(char){ 0 }, 1, MSG_DONTWAIT) <= 0); /* the end, or a reset */
        cora_release(kitchen.waits);
        close(client);
    }
    size_t live = cora_live(loop);
    current_loop_end(loop);
    return live;
}

TEST(task_fails_stream, "of a task that fails the stream is gone with its connection")
{
    CHECK_INT(live_after(5, false), live_after(0, false));
}

TEST(task_cancelled_stream, "of a task that is cancelled the stream is gone with its connection")
{
    CHECK_INT(live_after(5, true), live_after(0, true));
}

TEST(task_ends, "a task that ends leaves its connection open: who serves closes")
{
    cora_loop loop = current_loop_new();
    struct kitchen kitchen = { .waits = cora_future_new(loop) };
    cora_server server = server_of(loop, cora_start_server(&here, 0, cora_partial(cook, &kitchen)));
    int client = client_new(cora_server_port(server));
    run_until(loop, &kitchen.came);
    CHECK_INT(cora_set_result(kitchen.waits, cora_nothing()), 0);
    ticks(loop, 5);
    CHECK(!peer_closed(client));
    CHECK_INT(cora_stream_write(kitchen.writer, "pie", 3), 0);
    char text[4] = "";
    CHECK_INT(read(client, text, 3), 3);
    CHECK_TEXT(text, "pie");
    CHECK_INT(cora_stream_close(kitchen.writer), 0);
    cora_release(kitchen.waits);
    close(client);
    end_bakery(loop, server);
}

static void cook_at_once(cora_args bound, cora_stream_reader reader, cora_stream_writer writer)
{
    kitchen_meets(cora_arg(bound, 0, struct kitchen *), reader, writer);
    cora_fail(cora_error(CORA_EVALUE, "burnt"));
}

TEST(callback_fails, "a callback that fails is reported once")
{
    cora_loop loop = current_loop_new();
    struct kitchen kitchen = { .came = 0 };
    struct reports reports;
    cora_server server =
        server_of(loop, cora_start_server(&here, 0, cora_partial(cook_at_once, &kitchen)));
    collect_reports(loop, &reports);
    int client = client_new(cora_server_port(server));
    run_until(loop, &kitchen.came);
    ticks(loop, 3);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.error, "ValueError: burnt");
    CHECK_INT(cora_stream_close(kitchen.writer), 0);
    close(client);
    end_bakery(loop, server);
}

static cora_coro cook_nothing(cora_args bound, cora_stream_reader reader, cora_stream_writer writer)
{
    kitchen_meets(cora_arg(bound, 0, struct kitchen *), reader, writer);
    return (cora_coro){ 0 };
}

TEST(no_coroutine, "a client coroutine that makes none is reported once")
{
    cora_loop loop = current_loop_new();
    struct kitchen kitchen = { .came = 0 };
    struct reports reports;
    cora_server server =
        server_of(loop, cora_start_server(&here, 0, cora_partial(cook_nothing, &kitchen)));
    collect_reports(loop, &reports);
    int client = client_new(cora_server_port(server));
    run_until(loop, &kitchen.came);
    ticks(loop, 3);
    CHECK_INT(reports.count, 1);
    CHECK_INT(cora_stream_close(kitchen.writer), 0);
    close(client);
    end_bakery(loop, server);
}

static cora_coro cook_nothing_failing(cora_args bound, cora_stream_reader reader,
                                      cora_stream_writer writer)
{
    cora_fail(cora_error(CORA_EVALUE, "burnt"));
    return cook_nothing(bound, reader, writer);
}

TEST(no_coroutine_for_failing, "one that fails and makes none is reported once, with its error")
{
    cora_loop loop = current_loop_new();
    struct kitchen kitchen = { .came = 0 };
    struct reports reports;
    cora_server server =
        server_of(loop, cora_start_server(&here, 0, cora_partial(cook_nothing_failing, &kitchen)));
    collect_reports(loop, &reports);
    int client = client_new(cora_server_port(server));
    run_until(loop, &kitchen.came);
    ticks(loop, 3);
    CHECK_INT(reports.count, 1);
    CHECK_TEXT(reports.error, "ValueError: burnt");
    CHECK(peer_closed(client));
    close(client);
    end_bakery(loop, server);
}

static cora_coro cook_failing(cora_args bound, cora_stream_reader reader, cora_stream_writer writer)
{
    cora_fail(cora_error(CORA_EVALUE, "burnt"));
    return cook(bound, reader, writer);
}

TEST(coroutine_factory_fails,
     "what makes the coroutine may fail: that is reported, no task is lost")
{
    cora_loop loop = current_loop_new();
    struct kitchen kitchen = { .waits = cora_future_new(loop) };
    struct reports reports;
    cora_server server =
        server_of(loop, cora_start_server(&here, 0, cora_partial(cook_failing, &kitchen)));
    collect_reports(loop, &reports);
    int client = client_new(cora_server_port(server));
    run_until(loop, &kitchen.came);
    ticks(loop, 3);
    CHECK(reports.count >= 1);
    CHECK_TEXT(reports.error, "ValueError: burnt");
    CHECK_INT(cora_set_result(kitchen.waits, cora_nothing()), 0);
    ticks(loop, 3);
    cora_stream_close(kitchen.writer);
    cora_release(kitchen.waits);
    close(client);
    end_bakery(loop, server);
}

TEST(no_task_closes, "where there can be no task the connection is closed, and the stream is gone")
{
    cora_loop loop = current_loop_new();
    struct kitchen kitchen = { .came = 0 };
    struct reports reports = { .count = 0 };
    cora_transport reported = { 0 };
    cora_server server =
        server_of(loop, cora_start_server(&here, 0, cora_partial(cook_nothing, &kitchen)));
    cora_set_exception_handler(loop, cora_partial(keep_transport, &reports, &reported));
    int client = client_new(cora_server_port(server));
    run_until(loop, &kitchen.came);
    ticks(loop, 3);
    CHECK_INT(reports.count, 1);
    CHECK(cora_same(reported, kitchen.transport));
    CHECK(peer_closed(client));
    CHECK_INT(cora_server_clients(server), 0);
    close(client);
    end_bakery(loop, server);
}

static void keep(cora_args bound, cora_stream_reader reader, cora_stream_writer writer)
{
    kitchen_meets(cora_arg(bound, 0, struct kitchen *), reader, writer);
}

TEST(transport_is_there, "in the handler the connection has its transport and its names")
{
    cora_loop loop = current_loop_new();
    struct kitchen kitchen = { .came = 0 };
    cora_server server = server_of(loop, cora_start_server(&here, 0, cora_partial(keep, &kitchen)));
    int client = client_new(cora_server_port(server));
    run_until(loop, &kitchen.came);
    CHECK(!cora_is_null(kitchen.transport));
    cora_value peer = cora_stream_get_extra_info(kitchen.writer, "peername", cora_nothing());
    CHECK_INT(cora_as_int(cora_list_at(peer, 1)), port_of(client));
    CHECK_INT(cora_stream_close(kitchen.writer), 0);
    close(client);
    end_bakery(loop, server);
}

TEST(arguments, "what the handler is bound to comes with each connection, and is dropped once")
{
    cora_loop loop = current_loop_new();
    struct kitchen kitchen = { .came = 0 };
    cora_server server = server_of(
        loop, cora_start_server(&here, 0,
                                cora_partial(keep, &kitchen, cora_own(&kitchen.drops, &counted))));
    int first = client_new(cora_server_port(server)), second = client_new(cora_server_port(server));
    while (kitchen.came < 2)
        tick(loop);
    cora_drop_temporaries();
    CHECK_INT(kitchen.drops, 0);
    CHECK_INT(cora_server_close(server), 0);
    CHECK_INT(cora_server_abort_clients(server), 0);
    ticks(loop, 3);
    cora_drop_temporaries();
    CHECK_INT(kitchen.drops, 1);
    close(first);
    close(second);
    current_loop_end(loop);
}

TEST(closed_before_made, "a connection that was accepted when the server is closed is served still")
{
    cora_loop loop = current_loop_new();
    struct kitchen kitchen = { .came = 0 };
    struct end_of waiting = { .ended = 0 };
    cora_server server = server_of(
        loop, cora_start_server(&here, 0,
                                cora_partial(keep, &kitchen, cora_own(&kitchen.drops, &counted))));
    int client = client_new(cora_server_port(server));
    while (cora_server_clients(server) == 0)
        tick(loop);
    CHECK_INT(kitchen.came, 0);
    CHECK_INT(cora_server_close(server), 0);
    begin(cora_server_wait_closed(server), &waiting);
    ticks(loop, 3);
    CHECK_INT(kitchen.came, 1);
    CHECK_INT(waiting.ended, 0);
    CHECK_INT(cora_stream_close(kitchen.writer), 0);
    ticks(loop, 4);
    CHECK_TEXT(waiting.text, "None");
    cora_drop_temporaries();
    CHECK_INT(kitchen.drops, 1);
    CHECK_INT(cora_live(loop), 0);
    close(client);
    current_loop_end(loop);
}

TEST(close_clients, "close_clients is the end for a handler that reads")
{
    cora_loop loop = current_loop_new();
    struct kitchen kitchen = { .came = 0 };
    struct end_of reading = { .ended = 0 };
    cora_server server = server_of(loop, cora_start_server(&here, 0, cora_partial(keep, &kitchen)));
    int client = client_new(cora_server_port(server));
    run_until(loop, &kitchen.came);
    begin(cora_stream_read(kitchen.reader, -1), &reading);
    CHECK_INT(cora_server_close_clients(server), 0);
    ticks(loop, 4);
    CHECK_TEXT(reading.text, "b\"\"");
    CHECK(peer_closed(client));
    CHECK_INT(cora_stream_close(kitchen.writer), 0);
    close(client);
    end_bakery(loop, server);
}

static void close_and_keep(cora_args bound, cora_stream_reader reader, cora_stream_writer writer)
{
    keep(bound, reader, writer);
    CHECK_INT(cora_server_close(*cora_arg(bound, 1, cora_server *)), 0);
}

TEST(handler_closes_server, "a handler may close its server; its connection goes on")
{
    cora_loop loop = current_loop_new();
    struct kitchen kitchen = { .came = 0 };
    struct end_of reading = { .ended = 0 };
    cora_server server = { 0 };
    server = server_of(
        loop, cora_start_server(&here, 0, cora_partial(close_and_keep, &kitchen, &server)));
    int client = client_new(cora_server_port(server));
    run_until(loop, &kitchen.came);
    CHECK_INT(cora_server_socket(server, 0), -1);
    begin(cora_stream_readline(kitchen.reader), &reading);
    put(client, "more\n");
    run_until(loop, &reading.ended);
    CHECK_TEXT(reading.text, "b\"more\\n\"");
    CHECK_INT(cora_stream_close(kitchen.writer), 0);
    close(client);
    end_bakery(loop, server);
}

static void abort_all(cora_args bound, cora_stream_reader reader, cora_stream_writer writer)
{
    keep(bound, reader, writer);
    CHECK_INT(cora_server_abort_clients(*cora_arg(bound, 1, cora_server *)), 0);
}

TEST(handler_aborts, "a handler may abort all connections, its own, too")
{
    cora_loop loop = current_loop_new();
    struct kitchen kitchen = { .came = 0 };
    cora_server server = { 0 };
    server =
        server_of(loop, cora_start_server(&here, 0, cora_partial(abort_all, &kitchen, &server)));
    int client = client_new(cora_server_port(server));
    run_until(loop, &kitchen.came);
    ticks(loop, 3);
    CHECK_INT(cora_server_clients(server), 0);
    CHECK_INT(cora_stream_close(kitchen.writer), 0);
    close(client);
    end_bakery(loop, server);
}

/* ---- limits, options, errors ---- */

TEST(limit, "the limit is that of the readers, at both ends; 0 is the usual one")
{
    cora_loop loop = current_loop_new();
    struct kitchen kitchen = { .came = 0 };
    char text[100];
    cora_server server = server_of(loop, cora_start_server(&here, 5, cora_partial(keep, &kitchen)));
    const struct cora_connect_options options = { .host = "127.0.0.1",
                                                  .port = cora_server_port(server) };
    struct cora_streams small =
        cora_as_streams(cora_run_until_complete(loop, cora_open_connection(&options, 7)));
    run_until(loop, &kitchen.came);
    cora_stream_reader_print(kitchen.reader, text, sizeof text);
    CHECK(strstr(text, "limit=5"));
    cora_stream_reader_print(small.reader, text, sizeof text);
    CHECK(strstr(text, "limit=7"));
    CHECK_INT(cora_stream_close(kitchen.writer), 0);
    CHECK_INT(cora_stream_close(small.writer), 0);
    ticks(loop, 5);
    struct cora_streams usual = streams_new(loop, cora_server_port(server));
    cora_stream_reader_print(usual.reader, text, sizeof text);
    CHECK(!strstr(text, "limit="));
    CHECK_INT(cora_stream_close(usual.writer), 0);
    ticks(loop, 3);
    CHECK_INT(cora_stream_close(kitchen.writer), 0);
    ticks(loop, 3);
    end_bakery(loop, server);
}

TEST(refused, "a connection that is refused ends with that error, and leaves no stream")
{
    cora_loop loop = current_loop_new();
    struct end_of end_of = { .ended = 0 };
    int bound = bound_new();
    begin(opening(port_of(bound)), &end_of);
    run_until(loop, &end_of.ended);
    CHECK_INT(end_of.code, -ECONNREFUSED);
    ticks(loop, 2);
    CHECK_INT(cora_live(loop), 0);
    close(bound);
    current_loop_end(loop);
}

TEST(bad_options, "options that cannot be are an outcome, and leave nothing")
{
    cora_loop loop = current_loop_new();
    struct kitchen kitchen = { .came = 0 };
    struct end_of end_of = { .ended = 0 };
    int datagram = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    begin(cora_open_connection(&(struct cora_connect_options){ .socket = datagram }, 0), &end_of);
    tick(loop);
    CHECK_INT(end_of.code, CORA_EVALUE);
    begin(cora_start_server(&(struct cora_server_options){ .socket = datagram }, 0,
                            cora_partial(keep, &kitchen, cora_own(&kitchen.drops, &counted))),
          &end_of);
    tick(loop);
    CHECK_INT(end_of.ended, 2);
    CHECK_INT(end_of.code, CORA_EVALUE);
    cora_drop_temporaries();
    CHECK_INT(kitchen.drops, 1);
    CHECK_INT(cora_live(loop), 0);
    CHECK_INT(close(datagram), 0);
    current_loop_end(loop);
}

TEST(cannot_listen, "a server that cannot listen ends with that error, and leaves nothing")
{
    cora_loop loop = current_loop_new();
    struct kitchen kitchen = { .came = 0 };
    struct end_of end_of = { .ended = 0 };
    int bound = bound_new();
    CHECK_INT(listen(bound, 1), 0);
    const struct cora_server_options there = { .host = "127.0.0.1", .port = port_of(bound) };
    begin(cora_start_server(&there, 0,
                            cora_partial(keep, &kitchen, cora_own(&kitchen.drops, &counted))),
          &end_of);
    run_until(loop, &end_of.ended);
    CHECK_INT(end_of.code, -EADDRINUSE);
    ticks(loop, 2);
    cora_drop_temporaries();
    CHECK_INT(kitchen.drops, 1);
    CHECK_INT(cora_live(loop), 0);
    close(bound);
    current_loop_end(loop);
}

TEST(as_streams, "what is no pair of streams gives null handles and a TypeError")
{
    struct cora_streams streams = cora_as_streams(cora_int(7));
    CHECK(cora_is_null(streams.reader));
    CHECK(cora_is_null(streams.writer));
    CHECK_INT(cora_last_error_code(), CORA_ETYPE);
}

/* ---- giving up ---- */

/* Opens a connection, and cancels that so many ticks later. Whether it was open by then. */
static bool cancels_after(int late)
{
    cora_loop loop = current_loop_new();
    struct end_of end_of = { .ended = 0 };
    int listener = bound_new();
    CHECK_INT(listen(listener, 1), 0);
    cora_future future = begin(opening(port_of(listener)), &end_of);
    int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    ticks(loop, late);
    bool was_open = end_of.ended;
    CHECK_INT(cora_cancel(future), !was_open);
    ticks(loop, 4);
    CHECK_INT(end_of.ended, 1);
    CHECK_INT(end_of.code, was_open ? 0 : CORA_ECANCELLED);
    CHECK_INT(peer_closed(peer), !was_open);
    if (was_open)
        CHECK_INT(cora_stream_close(end_of.streams.writer), 0);
    ticks(loop, 4);
    CHECK_INT(cora_live(loop), 0);
    close(peer);
    close(listener);
    current_loop_end(loop);
    return was_open;
}

TEST(cancel_open, "a connection that is cancelled at any tick before it is open is closed")
{
    CHECK(!cancels_after(0));
    for (int late = 1; late < 8; late++)
        (void)cancels_after(late);
    CHECK(cancels_after(8));
}

TEST(cancel_server,
     "a stream server that is cancelled at any tick before it listens leaves nothing")
{
    for (int late = 0; late < 6; late++) {
        cora_loop loop = current_loop_new();
        struct kitchen kitchen = { .came = 0 };
        struct end_of end_of = { .ended = 0 };
        cora_future future =
            begin(cora_start_server(
                      &here, 0, cora_partial(cook, &kitchen, cora_own(&kitchen.drops, &counted))),
                  &end_of);
        ticks(loop, late);
        bool was_there = end_of.ended;
        CHECK_INT(cora_cancel(future), !was_there);
        ticks(loop, 3);
        CHECK_INT(end_of.code, was_there ? 0 : CORA_ECANCELLED);
        if (was_there)
            CHECK_INT(cora_server_close(end_of.server), 0);
        ticks(loop, 3);
        cora_drop_temporaries();
        CHECK_INT(kitchen.drops, 1);
        CHECK_INT(cora_live(loop), 0);
        CHECK(late > 0 || !was_there);
        current_loop_end(loop);
    }
}

/* ---- closing the loop ---- */

/* Closes the loop so many ticks into a conversation, and looks that nothing is left. */
static bool closes_after(int late, bool in_steps)
{
    cora_loop loop = current_loop_new();
    struct bakery bakery = { .closed = 0 };
    struct reports reports;
    int drops = 0;
    collect_reports(loop, &reports);
    cora_value counting = cora_own(&drops, &counted);
    cora_awaitable server =
        in_steps ? cora_start_server(&here, 0, cora_partial(bake_in_steps, &bakery, counting))
                 : cora_start_server(&here, 0, cora_partial(bake, &bakery, counting));
    cora_when_done(server, cora_partial(on_open, &bakery));
    ticks(loop, late);
    current_loop_end(loop);
    cora_drop_temporaries();
    CHECK_INT(drops, 1);
    CHECK_INT(cora_live_coroutines(), 0);
    return bakery.closed;
}

TEST(loop_closed, "a loop that is closed at any tick of a conversation in callbacks leaves nothing")
{
    int late = 0;
    while (!closes_after(late, false))
        CHECK(++late < 200);
    CHECK(late > 8);
}

TEST(loop_closed_steps, "a loop that is closed at any tick of one in steps leaves nothing")
{
    int late = 0;
    while (!closes_after(late, true))
        CHECK(++late < 200);
    CHECK(late > 8);
}

/* ---- as a guest ---- */

TEST(guest, "a guest serves with streams while its host runs")
{
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    cora_loop loop = cora_loop_attach(host, NULL);
    struct bakery bakery = { .closed = 0 };
    cora_set_current_loop(loop);
    cora_when_done(cora_start_server(&here, 0, cora_partial(bake)), cora_partial(on_open, &bakery));
    ev_run(host, 0);
    CHECK_TEXT(bakery.notes.text, "b\"here: rye\\n\" left closed");
    CHECK_INT(cora_live(loop), 0);
    cora_set_current_loop((cora_loop){ 0 });
    CHECK_INT(cora_loop_detach(loop), 0);
    ev_loop_destroy(host);
}

static void detach_and_keep(cora_args bound, cora_stream_reader reader, cora_stream_writer writer)
{
    keep(bound, reader, writer);
    CHECK_INT(cora_loop_detach(cora_running_loop()), 0);
}

TEST(guest_leaves, "a guest may leave its host in a handler")
{
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    cora_loop loop = cora_loop_attach(host, NULL);
    struct kitchen kitchen = { .came = 0 };
    struct end_of end_of = { .ended = 0 };
    cora_set_current_loop(loop);
    begin(
        cora_start_server(
            &here, 0, cora_partial(detach_and_keep, &kitchen, cora_own(&kitchen.drops, &counted))),
        &end_of);
    cora_drop_temporaries();
    while (!end_of.ended)
        ev_run(host, EVRUN_ONCE);
    int client = client_new(cora_server_port(end_of.server));
    ev_run(host, 0);
    CHECK_INT(kitchen.came, 1);
    CHECK_INT(kitchen.drops, 1);
    CHECK(peer_closed(client));
    cora_set_current_loop((cora_loop){ 0 });
    close(client);
    ev_loop_destroy(host);
}

#define RECIPE "the recipe, which is too long to be kept in a plain word"

static void read_when_detached(cora_args bound)
{
    struct kitchen *kitchen = cora_arg(bound, 0, struct kitchen *);
    CHECK_INT(cora_loop_detach(cora_running_loop()), 0);
    CHECK_INT(kitchen->drops, 0);
    CHECK_TEXT(cora_arg_text(bound, 2), RECIPE);
}

static void detach_and_read(cora_args bound, cora_stream_reader reader, cora_stream_writer writer)
{
    keep(bound, reader, writer);
    read_when_detached(bound);
}

static cora_coro detach_and_cook(cora_args bound, cora_stream_reader reader,
                                 cora_stream_writer writer)
{
    keep(bound, reader, writer);
    read_when_detached(bound);
    return (cora_coro){ 0 };
}

/* A client comes to a guest whose handler leaves the host. */
static void leaves_in(cora_awaitable (*start)(struct kitchen *kitchen))
{
    struct ev_loop *host = ev_loop_new(EVFLAG_NOENV);
    cora_loop loop = cora_loop_attach(host, NULL);
    struct kitchen kitchen = { .came = 0 };
    struct end_of end_of = { .ended = 0 };
    cora_set_current_loop(loop);
    begin(start(&kitchen), &end_of);
    cora_drop_temporaries();
    while (!end_of.ended)
        ev_run(host, EVRUN_ONCE);
    int client = client_new(cora_server_port(end_of.server));
    ev_run(host, 0);
    CHECK_INT(kitchen.came, 1);
    CHECK_INT(kitchen.drops, 1);
    cora_set_current_loop((cora_loop){ 0 });
    close(client);
    ev_loop_destroy(host);
}

static cora_awaitable start_detach_and_read(struct kitchen *kitchen)
{
    return cora_start_server(
        &here, 0,
        cora_partial(detach_and_read, kitchen, cora_own(&kitchen->drops, &counted), RECIPE));
}

static cora_awaitable start_detach_and_cook(struct kitchen *kitchen)
{
    return cora_start_server(
        &here, 0,
        cora_partial(detach_and_cook, kitchen, cora_own(&kitchen->drops, &counted), RECIPE));
}

TEST(guest_leaves_and_reads, "what a handler is bound to can be read when it has left the host")
{
    leaves_in(start_detach_and_read);
}

TEST(guest_leaves_and_cooks, "so it can in a handler that makes a coroutine")
{
    leaves_in(start_detach_and_cook);
}
