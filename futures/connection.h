/*
 * connection.h: connections, servers and addresses as something to await.
 *
 *     cora_when_done(cora_create_connection(&(struct cora_connect_options){
 *                        .host = "example.org", .port = 80 }, cora_partial(hello_new)),
 *                    cora_partial(on_connected));                            // callback style
 *
 *     return cora_await(self, cora_create_server(&options, cora_partial(echo_new)), listening);
 *
 * Options and bound arguments are copied in the very call; the loop is the one that runs, or the
 * thread's current one (cora_set_current_loop). What is wrong with them is the outcome. Such an
 * awaitable is a temporary, as values are: await it before the running callback returns, in main()
 * before the next run. The same without futures: connector.h, pipe_transport.h, server.h,
 * resolver.h.
 */
#ifndef CORA_CONNECTION_H
#define CORA_CONNECTION_H

#include <cora/connector.h>
#include <cora/operation.h>
#include <cora/pipe_transport.h>
#include <cora/resolver.h>
#include <cora/server.h>

CORA_BEGIN

/*
 * Ends with a transport (cora_as_transport), when its connection_made has been called. If
 * cancelled: what has been made of it is closed. asyncio: loop.create_connection.
 */
CORA_API cora_awaitable cora_create_connection(const struct cora_connect_options *options,
                                               cora_protocol_factory factory);

/*
 * As cora_attach_read_pipe, cora_attach_write_pipe: ends with a transport, when its connection_made
 * has been called. The descriptor is taken over when it is awaited, and stays yours if that fails.
 * If cancelled: it is closed. asyncio: loop.connect_read_pipe, loop.connect_write_pipe.
 */
CORA_API cora_awaitable cora_connect_read_pipe(int pipe, cora_protocol_factory factory);
CORA_API cora_awaitable cora_connect_write_pipe(int pipe, cora_protocol_factory factory);

/*
 * Ends with a server (cora_as_server). If cancelled: nothing listens. asyncio: loop.create_server.
 */
CORA_API cora_awaitable cora_create_server(const struct cora_server_options *options,
                                           cora_protocol_factory factory);

/*
 * Ends with nothing when the server is closed and its last connection is over; at once if it is. If
 * cancelled: nothing else happens. asyncio: Server.wait_closed.
 */
CORA_API extern const struct cora_operation cora_server_wait_closed_operation;

static inline cora_awaitable cora_server_wait_closed(cora_server server)
{
    cora_awaitable wait = {
        &cora_server_wait_closed_operation, cora_from_server(server), 0, 0, 0, cora_nothing()
    };
    return wait;
}

/*
 * Accepts until it is cancelled: then the server is closed, and it ends, still cancelled, when the
 * last connection is over. A RuntimeError if it is closed, or another serves for ever. asyncio:
 * Server.serve_forever.
 */
CORA_API cora_awaitable cora_server_serve_forever(cora_server server);

/* As cora_resolve: ends with addresses (cora_as_addresses). asyncio: loop.getaddrinfo. */
CORA_API cora_awaitable cora_getaddrinfo(const char *host, const char *service,
                                         const struct addrinfo *hints);

/* As cora_resolve_address: ends with a list of two texts. asyncio: loop.getnameinfo. */
CORA_API cora_awaitable cora_getnameinfo(const struct sockaddr *address, socklen_t size, int flags);

CORA_END
#endif
