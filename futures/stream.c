/*
 * How it works: a connection's protocol is a stream (stream_protocol.c); what is awaited is that of
 * connection.c. A stream server's factory makes the stream and gives it whom to serve it, which
 * stream_connected calls when the connection is made.
 */
#include "stream.h"

#include "private_connection.h"
#include "private_stream.h"
#include "reactor/private_connector.h"
#include "task.h"

#include <stdlib.h>

static const struct cora_operation open_connection = REQUEST_OPERATION("open_connection");
static const struct cora_operation open_read_pipe = REQUEST_OPERATION("open_read_pipe");
static const struct cora_operation open_write_pipe = REQUEST_OPERATION("open_write_pipe");
static const struct cora_operation start_server = REQUEST_OPERATION("start_server");

/* ---- clients ---- */

static cora_protocol given_stream(cora_args bound)
{
    return stream_protocol(cora_as_object(cora_arg_value(bound, 0)));
}

static void stream_give_up(const struct request *request)
{
    struct stream *stream = request->stream ? stream_find(request->stream) : NULL;
    if (stream)
        stream->closed = true; /* by the library: nobody forgot it */
    connector_give_up(request);
    if (request->stream && stream_find(request->stream))
        cora_object_close(request->stream, &stream_type);
}

/* What is to be connected: these options, or else a pipe. */
struct opening {
    const struct cora_operation *operation;
    const struct cora_connect_options *options;
    transport_maker make;
    int pipe;
};

static cora_awaitable open_stream(const struct cora_place *place, const struct opening *opening,
                                  size_t limit)
{
    struct loop *loop = request_loop();
    struct request request = { .start = connector_start, .give_up = stream_give_up };
    if (loop) {
        request.loop = loop_handle(loop);
        request.stream = stream_new(request.loop, limit ? limit : CORA_STREAM_LIMIT, place);
    }
    if (request.stream) {
        cora_protocol_factory factory =
            cora_partial(given_stream, cora_from_object(request.stream));
        factory.partial->place = place;
        request.bits = opening->make
                           ? connector_new_given(loop, opening->pipe, opening->make, factory)
                           : connector_new(loop, opening->options, factory);
    }
    if (request.stream && !request.bits)
        cora_object_close(request.stream, &stream_type);
    return request_awaitable(opening->operation, &request);
}

cora_awaitable cora_open_connection_at(const struct cora_place *place,
                                       const struct cora_connect_options *options, size_t limit)
{
    struct opening opening = { .operation = &open_connection, .options = options };
    return open_stream(place, &opening, limit);
}

cora_awaitable cora_open_read_pipe_at(const struct cora_place *place, int pipe, size_t limit)
{
    struct opening opening = { &open_read_pipe, NULL, read_pipe_transport_new, pipe };
    return open_stream(place, &opening, limit);
}

cora_awaitable cora_open_write_pipe_at(const struct cora_place *place, int pipe)
{
    struct opening opening = { &open_write_pipe, NULL, write_pipe_transport_new, pipe };
    return open_stream(place, &opening, CORA_STREAM_LIMIT);
}

struct cora_streams cora_as_streams(cora_value value)
{
    uint64_t bits = cora_as_stream_writer(value).bits;
    return (struct cora_streams){ { bits }, { bits } };
}

/* ---- servers ---- */

/* Who serves a server's connections: owned by its factory's argument, and by streams until then. */
struct stream_server {
    cora_handle client; /* the stored callback */
    size_t limit;
    bool is_coroutine;
};

static void stream_server_drop(void *pointer)
{
    struct stream_server *server = pointer;
    struct slot *slot = slot_at(server->client.bits);
    struct loop *loop = owner_of(server->client.bits);
    if (loop && atomic_load_explicit(&loop->thread, memory_order_relaxed) == &cora_thread &&
        slot_is(slot, server->client.bits) && slot->state == SLOT_WAITING)
        handle_remove(loop, slot);
    free(server);
}

static const cora_type stream_server_type = { "stream server", stream_server_drop, NULL, 0 };

/* The factory: bound to the stream server. */
static cora_protocol served_stream(cora_args bound)
{
    cora_value owner = cora_arg_value(bound, 0);
    struct stream_server *server = cora_as_pointer(owner);
    uint64_t bits = stream_new(cora_running_loop(), server->limit,
                               slot_callback(slot_at(server->client.bits))->place);
    if (!bits)
        return (cora_protocol){ 0 };
    stream_find(bits)->server = cora_copy(owner).as.counted;
    return stream_protocol(bits);
}

void stream_server_release(void *server)
{
    counted_drop(server);
}

/* Who serves a connection has failed, or could not begin: reports it, and closes the connection. */
static void serving_failed(cora_stream_writer writer, cora_future task, cora_value error)
{
    if (!cora_error_is(error, CORA_ECANCELLED)) {
        struct cora_report report = { .message = "Unhandled exception in client_connected_cb",
                                      .exception = error,
                                      .future = task,
                                      .transport = cora_stream_transport(writer) };
        cora_call_exception_handler(cora_running_loop(), &report);
    }
    cora_stream_close(writer);
}

/* A task that served has ended. */
static void on_served(cora_args bound, cora_future task)
{
    cora_value error = cora_exception(task);
    if (cora_is_error(error))
        serving_failed(cora_arg_stream_writer(bound, 0), task, error);
}

/* Serves a connection by a coroutine, as a task. */
static void serve_by_task(cora_coro coro, cora_stream_writer writer)
{
    cora_future task = cora_create_task(cora_running_loop(), coro);
    if (!cora_is_null(task) && cora_add_done_callback(task, cora_partial(on_served, writer)) == 0)
        return;
    cora_value error = cora_temporary(cora_copy(cora_last_error()));
    if (!cora_is_null(task))
        cora_cancel(task);
    if (cora_is_nothing(cora_thread.failure))
        serving_failed(writer, task, error);
    else
        cora_stream_close(writer); /* what made no coroutine has failed: that is reported */
}

void stream_connected(struct stream *stream, uint64_t bits)
{
    struct cora_counted *owner = stream->server;
    stream->server = NULL;
    struct stream_server *server = cora_as_pointer(counted_value(owner));
    struct loop *loop = slot_owner(&object_with(stream)->slot);
    struct slot *slot = slot_at(server->client.bits);
    struct callback *callback = slot_callback(slot);
    cora_args bound = callback_args(slot, callback);
    cora_stream_reader reader = { bits };
    cora_stream_writer writer = { bits };
    stored_enter(slot);
    if (server->is_coroutine)
        serve_by_task(((cora_client_coroutine_function)callback->function)(bound, reader, writer),
                      writer);
    else
        ((cora_client_function)callback->function)(bound, reader, writer);
    stored_leave(loop, slot);
    counted_drop(owner);
}

cora_awaitable cora_start_server(const struct cora_server_options *options, size_t limit,
                                 cora_client_callback client)
{
    struct loop *loop = request_loop();
    struct request request = { .start = server_start, .give_up = server_give_up };
    struct stream_server *server = loop ? malloc(sizeof *server) : NULL;
    struct slot *slot = server ? handle_new_persistent(loop, client.partial) : NULL;
    if (loop && !server)
        fail_with(memory_error());
    if (!slot) {
        free(server);
        return request_awaitable(&start_server, &request);
    }
    *server = (struct stream_server){ { slot->bits },
                                      limit ? limit : CORA_STREAM_LIMIT,
                                      client.makes_coroutine };
    cora_value owner = cora_own(server, &stream_server_type);
    request.loop = loop_handle(loop);
    cora_protocol_factory factory = cora_partial(served_stream, owner);
    factory.partial->place = client.partial->place;
    if (cora_is_error(owner))
        fail_with(owner);
    else
        request.bits = server_new(loop, options, factory);
    return request_awaitable(&start_server, &request);
}
