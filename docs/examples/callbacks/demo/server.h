/*
 * server.h: a web server on 127.0.0.1, in the same loop, so that there is something to crawl.
 *
 * It has 200 pages, always the same ones. The first word of the path says how a page behaves; the
 * front page "/" links to others, and these on, until all were found:
 *
 *     quick, slow      a page with links, now or after a while
 *     new              a page that only redirects lead to
 *     moved, far       a redirect: to a new page; to the next that redirects
 *     lost             404
 *     flaky            503 twice, then a page
 *     hang             never an answer
 *     reset            the connection is reset
 *     drip             a byte from time to time, for ever
 *     endless          as many bytes as the visitor takes
 */
#ifndef DEMO_SERVER_H
#define DEMO_SERVER_H

#include <cora.h>

#define SERVER_PAGES 200

struct server;

/* Listens on a port that the system chooses. NULL if it cannot, and errno says why. */
struct server *server_start(cora_loop loop);
int server_port(const struct server *server);

/* How a visit of this page ends if it is crawled as it should be: "ok", "not found", ... */
const char *server_meaning(const char *path);

/* Closes the port and all visits, and frees the server. NULL is fine. */
void server_stop(struct server *server);

#endif
