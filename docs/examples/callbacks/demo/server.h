/*
 * server.h: a small web server on 127.0.0.1, in the same loop, so that there is something to fetch.
 *
 * The path says what the visitor gets:
 *
 *     /bytes/N          a page of N bytes
 *     /slow/N           a small page, after N milliseconds
 *     /broken/status    an answer that is not HTTP
 *     /broken/length    a page shorter than its Content-Length
 *     anything else     404
 */
#ifndef DEMO_SERVER_H
#define DEMO_SERVER_H

#include <cora.h>

/* Paths to visit, ended by NULL. */
extern const char *const server_paths[];

struct server;

/* Listens on a port that the system chooses. NULL if it cannot, and errno says why. */
struct server *server_start(cora_loop loop);
int server_port(const struct server *server);

/* Closes the port and all visits, and frees the server. NULL is fine. */
void server_stop(struct server *server);

#endif
