/*
 * How it works: every connection is a visit: it reads the request up to its empty line, lets a
 * timer pass, which takes no time for most paths, writes head and body, and is closed. The server
 * lists its visits only to close those that are left when it stops.
 */
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_MAX 4096
#define PAGE_MAX 100000000
#define ACCEPT_AGAIN 0.05 /* seconds until it looks for a free descriptor again */

const char *const server_paths[] = {
    "/bytes/0",      "/bytes/1",       "/bytes/10",      "/bytes/100",     "/bytes/1000",
    "/bytes/2000",   "/bytes/4000",    "/bytes/8000",    "/bytes/16000",   "/bytes/32000",
    "/bytes/64000",  "/bytes/128000",  "/bytes/256000",  "/bytes/512000",  "/bytes/1000000",
    "/slow/50",      "/slow/100",      "/slow/150",      "/slow/200",      "/slow/250",
    "/slow/300",     "/slow/350",      "/slow/400",      "/slow/450",      "/slow/500",
    "/no/such/page", "/broken/status", "/broken/length", "/bytes/2000000", "/bytes/4000000",
    "/slow/10",      "/slow/20",       "/slow/30",       "/slow/40",       "/bytes/12345",
    "/bytes/123456", NULL,
};

struct visit {
    struct server *server;
    struct visit *next, **place; /* in the server's list */
    int socket;
    cora_handle later;
    size_t size;            /* of the text */
    size_t body;            /* bytes that follow it */
    size_t sent;            /* of both together */
    char text[REQUEST_MAX]; /* the request, then the head of the answer; ends with a NUL */
};

struct server {
    cora_loop loop;
    int socket;
    cora_handle later;
    struct visit *visits;
};

/* ---- a visit's end and beginning ---- */

static void visit_close(struct visit *visit)
{
    cora_loop loop = visit->server->loop;
    cora_handle_cancel(visit->later);
    cora_remove_reader(loop, visit->socket);
    cora_remove_writer(loop, visit->socket);
    close(visit->socket);
    *visit->place = visit->next;
    if (visit->next)
        visit->next->place = visit->place;
    free(visit);
}

/* Takes over the socket; NULL without memory. */
static struct visit *visit_new(struct server *server, int socket)
{
    struct visit *visit = calloc(1, sizeof *visit);
    if (!visit) {
        close(socket);
        return NULL;
    }
    visit->server = server;
    visit->socket = socket;
    visit->next = server->visits;
    visit->place = &server->visits;
    if (visit->next)
        visit->next->place = &visit->next;
    server->visits = visit;
    return visit;
}

/* ---- answering ---- */

/* Writes what the socket takes of the head, or else of the body, which has no content. */
static void on_writable(cora_args bound)
{
    static const char blank[16384];
    struct visit *visit = cora_arg(bound, 0, struct visit *);
    bool in_head = visit->sent < visit->size;
    size_t left = visit->size + (in_head ? 0 : visit->body) - visit->sent;
    ssize_t sent = send(visit->socket, in_head ? visit->text + visit->sent : blank,
                        left < sizeof blank ? left : sizeof blank, MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (sent >= 0)
        visit->sent += (size_t)sent;
    if (sent < 0 || visit->sent == visit->size + visit->body)
        visit_close(visit);
}

/* From now on the visit writes. */
static void on_answer(cora_args bound)
{
    struct visit *visit = cora_arg(bound, 0, struct visit *);
    visit->size = (size_t)snprintf(visit->text, sizeof visit->text,
                                   "%s\r\nContent-Length: %lld\r\nConnection: close\r\n\r\n",
                                   cora_arg_text(bound, 1), (long long)cora_arg_int(bound, 2));
    visit->body = (size_t)cora_arg_int(bound, 3);
    if (cora_add_writer(visit->server->loop, visit->socket, cora_partial(on_writable, visit)) < 0)
        visit_close(visit);
}

/* Answers after this delay with a head that promises so much, and a body of so many bytes. */
static void visit_answer(struct visit *visit, double delay, const char *status, size_t promised,
                         size_t body)
{
    visit->later = cora_call_later(visit->server->loop, delay,
                                   cora_partial(on_answer, visit, status, promised, body));
    if (cora_is_null(visit->later))
        visit_close(visit);
}

static void visit_route(struct visit *visit, const char *path)
{
    size_t number = 0;
    if (sscanf(path, "/bytes/%zu", &number) == 1 && number <= PAGE_MAX)
        visit_answer(visit, 0, "HTTP/1.1 200 OK", number, number);
    else if (sscanf(path, "/slow/%zu", &number) == 1)
        visit_answer(visit, (double)number / 1000, "HTTP/1.1 200 OK", 100, 100);
    else if (strcmp(path, "/broken/status") == 0)
        visit_answer(visit, 0, "Who is there?", 100, 100);
    else if (strcmp(path, "/broken/length") == 0)
        visit_answer(visit, 0, "HTTP/1.1 200 OK", 1000, 600);
    else
        visit_answer(visit, 0, "HTTP/1.1 404 Not Found", 30, 30);
}

/* ---- the request ---- */

/* Collects the request; with its empty line it is complete. */
static void on_readable(cora_args bound)
{
    struct visit *visit = cora_arg(bound, 0, struct visit *);
    size_t room = sizeof visit->text - 1 - visit->size;
    ssize_t size = recv(visit->socket, visit->text + visit->size, room, 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size <= 0) { /* the visitor has gone, or there is no room left */
        visit_close(visit);
        return;
    }
    visit->size += (size_t)size;
    if (!strstr(visit->text, "\r\n\r\n"))
        return;
    char path[1024] = "";
    sscanf(visit->text, "GET %1023s", path);
    cora_remove_reader(visit->server->loop, visit->socket);
    visit_route(visit, path);
}

/* ---- the port ---- */

static void on_accept_again(cora_args bound);

/* Accepts one visitor. Without a descriptor for it both wait, instead of asking in every tick. */
static void on_visitor(cora_args bound)
{
    struct server *server = cora_arg(bound, 0, struct server *);
    int socket = accept4(server->socket, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (socket < 0 && (errno == EMFILE || errno == ENFILE)) {
        cora_remove_reader(server->loop, server->socket);
        server->later =
            cora_call_later(server->loop, ACCEPT_AGAIN, cora_partial(on_accept_again, server));
    }
    if (socket < 0)
        return;
    struct visit *visit = visit_new(server, socket);
    if (visit && cora_add_reader(server->loop, socket, cora_partial(on_readable, visit)) < 0)
        visit_close(visit);
}

static void on_accept_again(cora_args bound)
{
    struct server *server = cora_arg(bound, 0, struct server *);
    cora_add_reader(server->loop, server->socket, cora_partial(on_visitor, server));
}

/* Whether the socket listens on a port of the loopback. */
static bool listen_anywhere(int socket)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    return socket >= 0 && bind(socket, (struct sockaddr *)&address, sizeof address) == 0 &&
           listen(socket, SOMAXCONN) == 0;
}

struct server *server_start(cora_loop loop)
{
    struct server *server = calloc(1, sizeof *server);
    if (!server)
        return NULL;
    server->loop = loop;
    server->socket = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listen_anywhere(server->socket) &&
        cora_add_reader(loop, server->socket, cora_partial(on_visitor, server)) == 0)
        return server;
    server_stop(server);
    return NULL;
}

int server_port(const struct server *server)
{
    struct sockaddr_in address = { 0 };
    socklen_t size = sizeof address;
    getsockname(server->socket, (struct sockaddr *)&address, &size);
    return ntohs(address.sin_port);
}

void server_stop(struct server *server)
{
    if (!server)
        return;
    while (server->visits)
        visit_close(server->visits);
    cora_handle_cancel(server->later);
    cora_remove_reader(server->loop, server->socket);
    if (server->socket >= 0)
        close(server->socket);
    free(server);
}
