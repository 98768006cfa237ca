/*
 * server.h: listens for connections, and makes a protocol for each.
 *
 *     static void on_listening(cora_args bound, cora_value outcome)     // a server, or an error
 *     ...
 *     cora_listen(loop, &(struct cora_server_options){ .host = "127.0.0.1", .port = 8080 },
 *                 cora_partial(echo_new), cora_partial(on_listening));
 *
 *     listening --stop_serving <-> start_serving--> serving --close--> closed --last client--> over
 *
 * A host may have several addresses; there is a socket for each. When descriptors run out it is
 * reported, and accepting goes on after a second. Closing a server leaves its connections alone.
 * asyncio: loop.create_server, Server; as a future: futures/connection.h.
 */
#ifndef CORA_SERVER_H
#define CORA_SERVER_H

#include "transport.h"

CORA_BEGIN

/* All zeros but a host, port or service, or a socket. Texts are borrowed during the call. */
struct cora_server_options {
    const char *host;         /* a name or address; NULL or "": all addresses of this machine */
    const char *const *hosts; /* or several, equal ones count once */
    size_t host_count;
    int port;              /* 0: the system chooses one, for each address another */
    const char *service;   /* instead of the port: "http", "80" */
    int family;            /* AF_INET, AF_INET6; 0: any */
    int backlog;           /* 0: 100; also how many are accepted in one turn, and one */
    bool no_reuse_address; /* do without SO_REUSEADDR */
    bool reuse_port;       /* SO_REUSEPORT: several processes share the port */
    bool keep_alive;       /* SO_KEEPALIVE on connections */
    bool start_later;      /* does not accept before cora_server_start_serving */
    int socket;            /* instead of host and port: a bound stream socket; not 0 */
};

/*
 * Begins to listen: names are resolved first. The server, usable from then on, or an error is what
 * the callback gets; until then the server may be closed, and the callback is dropped. Null as
 * cora_connect; a given socket is yours still then, else it is the server's.
 */
CORA_API cora_server cora_listen(cora_loop loop, const struct cora_server_options *options,
                                 cora_protocol_factory factory, cora_outcome_callback callback);

/* Begins to accept; pauses that. Twice is as once. 0; CORA_ERUNTIME if it is closed. */
CORA_API int cora_server_start_serving(cora_server server);
CORA_API int cora_server_stop_serving(cora_server server);
CORA_API bool cora_server_is_serving(cora_server server);

/*
 * Closes its sockets at once; the connections go on. 0 or a code. The handle is stale when it is
 * closed and its last connection is over. asyncio: Server.close.
 */
CORA_API int cora_server_close(cora_server server);

/*
 * Closes its connections, or aborts them; the server stays as it is. 0 or a code. asyncio:
 * Server.close_clients, abort_clients.
 */
CORA_API int cora_server_close_clients(cora_server server);
CORA_API int cora_server_abort_clients(cora_server server);

/* How many connections it has, from their making to the end of connection_lost. */
CORA_API size_t cora_server_clients(cora_server server);

/* Its listening sockets: a descriptor, -1 behind the last. The server's: not to be closed. */
CORA_API int cora_server_socket(cora_server server, size_t index);

/* The port of its first socket; 0 if it has none. */
CORA_API int cora_server_port(cora_server server);

/* Its loop; null of one that is stale. */
CORA_API cora_loop cora_server_loop(cora_server server);

/* Writes it for a person to read: <Server sockets=[127.0.0.1:8080] clients=2>. */
CORA_API int cora_server_print(cora_server server, char *buffer, size_t size);

CORA_END
#endif
