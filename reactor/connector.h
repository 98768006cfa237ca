/*
 * connector.h: makes connections.
 *
 *     static void on_connected(cora_args bound, cora_value outcome)     // a transport, or an error
 *     ...
 *     cora_connect(loop, &(struct cora_connect_options){ .host = "example.org", .port = 80 },
 *                  cora_partial(hello_new), cora_partial(on_connected));
 *
 * The name is resolved, and its addresses are tried in that order, or, with a delay between them,
 * at the same time ("happy eyeballs", RFC 8305): the first that answers is the connection, the
 * others are closed. The factory makes the protocol, whose connection_made comes before the
 * callback, and what is received after it. asyncio: loop.create_connection; as a
 * future: futures/connection.h.
 */
#ifndef CORA_CONNECTOR_H
#define CORA_CONNECTOR_H

#include "transport.h"

CORA_BEGIN

/* All zeros but host and port, or but socket. Texts are borrowed during the call. */
struct cora_connect_options {
    const char *host;       /* a name, or a numeric address */
    int port;               /* 1 to 65535 */
    const char *service;    /* instead of the port: "http", "80" */
    int family;             /* AF_INET, AF_INET6; 0: any */
    int flags;              /* AI_... for the resolver */
    const char *local_host; /* whence to connect; NULL: the system chooses */
    int local_port;         /* 0: the system chooses */
    double
        happy_eyeballs_delay; /* seconds until the next address is tried, too; 0: when it failed */
    int interleave;           /* this many of the first family, then in turns; 0: 1 with a delay */
    bool all_errors;          /* an ExceptionGroup of all that failed, instead of one error */
    int socket;               /* instead of all that: a connected stream socket; not 0 */
};

/* A connection that is being made; its handle is stale when its callback was called. */
typedef struct cora_connector {
    uint64_t bits;
} cora_connector;

/*
 * Begins to connect. Null if it cannot: as cora_call_soon, a ValueError for contradicting options;
 * the callback is dropped then. Whatever fails later is its outcome: an OSError for each address, a
 * combined one if they differ; the error of the factory. With a given socket the factory is called
 * in this very call; the connection takes the socket over, and if there is none it stays yours.
 */
CORA_API cora_connector cora_connect(cora_loop loop, const struct cora_connect_options *options,
                                     cora_protocol_factory factory, cora_outcome_callback callback);

/*
 * Gives up: sockets are closed, the callback is dropped. Whether there was something to give up;
 * after connection_made the connection is aborted.
 */
CORA_API bool cora_connector_cancel(cora_connector connector);

/*
 * A connection of a socket that was accepted, or connected, elsewhere: a stream socket, taken over,
 * made non-blocking. Its connection_made comes in the next tick. Null if it cannot be: as
 * cora_connect, and then the socket is yours still. asyncio: loop.connect_accepted_socket.
 */
CORA_API cora_transport cora_connect_accepted_socket(cora_loop loop, int socket,
                                                     cora_protocol_factory factory);

CORA_END
#endif
