/*
 * How it works: every connection is a visit: it reads the request up to its empty line, may let a
 * timer pass, writes head and body, and is closed. The server keeps a list of its visits only to
 * close those that are left when it stops.
 */
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_MAX 4096
#define PAGE_MAX 100000000
#define ACCEPT_AGAIN 0.05 /* seconds to wait for a descriptor when there is none left */

const char *const server_paths[] = {
    "/bytes/0",      "/bytes/1",      "/bytes/10",      "/bytes/100",    "/bytes/1000",
    "/bytes/2000",   "/bytes/4000",   "/bytes/8000",    "/bytes/16000",  "/bytes/32000",
    "/bytes/64000",  "/bytes/128000", "/bytes/256000",  "/bytes/512000", "/bytes/1000000",
    "/bytes/2000000", "/slow/50",     "/slow/100",      "/slow/150",     "/slow/200",
    "/slow/250",     "/slow/300",     "/slow/350",      "/slow/400",     "/slow/450",
    "/slow/500",     "/no/such/page", "/broken/status", "/broken/length", "/bytes/123",
    "/bytes/1234",   "/bytes/12345",  "/bytes/123456",  "/bytes/1234567", "/slow/10",
    "/slow/20",      NULL,
};

struct visit {
    struct server *server;
    struct visit *next, **place; /* in the server's list */
    int socket;
    cora_handle later;
    size_t size; /* of what is in text */
    size_t sent; /* of head and body together */
    size_t body; /* bytes that follow the head */
    char text[REQUEST_MAX]; /* the request, then the head of the answer */
};

struct server {
    cora_loop loop;
    int socket;
    cora_handle later; /* accepts again */
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

/* Writes as much as the socket takes: the rest of the head, or else the next piece of the body. */
static void on_writable(cora_args bound)
{
    static const char filler[16384];
    struct visit *visit = cora_arg(bound, 0, struct visit *);
    const char *from = visit->text + visit->sent;
    size_t all = visit->size + visit->body, size = visit->size - visit->sent;
    if (visit->sent >= visit->size) {
        from = filler;
        size = all - visit->sent < sizeof filler ? all - visit->sent : sizeof filler;
    }
    ssize_t sent = send(visit->socket, from, size, MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (sent >= 0)
        visit->sent += (size_t)sent;
    if (sent < 0 || visit->sent == all)
        visit_close(visit);
}

/* From now on the visit writes: a head that promises this much, and a body of so many bytes. */
static void visit_answer(struct visit *visit, const char *status, size_t promised, size_t body)
{
    visit->size = (size_t)snprintf(visit->text, sizeof visit->text,
                                   "%s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
                                   status, promised);
    visit->body = body;
    if (cora_add_writer(visit->server->loop, visit->socket, cora_partial(on_writable, visit)) < 0)
        visit_close(visit);
}

static void on_later(cora_args bound)
{
    size_t size = (size_t)cora_arg_int(bound, 1);
    visit_answer(cora_arg(bound, 0, struct visit *), "HTTP/1.1 200 OK", size, size);
}

/* The same after some time. */
static void visit_answer_later(struct visit *visit, double seconds, size_t size)
{
    cora_loop loop = visit->server->loop;
    visit->later = cora_call_later(loop, seconds, cora_partial(on_later, visit, size));
    if (cora_is_null(visit->later))
        visit_close(visit);
}

static void visit_route(struct visit *visit, const char *path)
{
    size_t number = 0;
    if (sscanf(path, "/bytes/%zu", &number) == 1 && number <= PAGE_MAX)
        visit_answer(visit, "HTTP/1.1 200 OK", number, number);
    else if (sscanf(path, "/slow/%zu", &number) == 1)
        visit_answer_later(visit, (double)number / 1000, 100);
    else if (strcmp(path, "/broken/status") == 0)
        visit_answer(visit, "Who is there?", 100, 100);
    else if (strcmp(path, "/broken/length") == 0)
        visit_answer(visit, "HTTP/1.1 200 OK", 1000, 600);
    else
        visit_answer(visit, "HTTP/1.1 404 Not Found", 30, 30);
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

/* Accepts one visitor. Without a descriptor for him he waits, and so do we, without spinning. */
static void on_visitor(cora_args bound)
{
    struct server *server = cora_arg(bound, 0, struct server *);
    int socket = accept4(server->socket, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (socket < 0 && (errno == EMFILE || errno == ENFILE)) {
        server->later =
            cora_call_later(server->loop, ACCEPT_AGAIN, cora_partial(on_accept_again, server));
        cora_remove_reader(server->loop, server->socket);
    }
    if (socket < 0)
        return;
    struct visit *visit = visit_new(server, socket);
    if (visit && cora_add_reader(server->loop, socket, cora_partial(on_readable, visit)) < 0)
        visit_close(visit);
}

static int server_accept(struct server *server)
{
    return cora_add_reader(server->loop, server->socket, cora_partial(on_visitor, server));
}

static void on_accept_again(cora_args bound)
{
    server_accept(cora_arg(bound, 0, struct server *));
}

/* A port of the loopback that listens. -1 if there is none, and errno says why. */
static int listen_anywhere(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int port = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (port >= 0 && bind(port, (struct sockaddr *)&address, sizeof address) == 0 &&
        listen(port, SOMAXCONN) == 0)
        return port;
    if (port >= 0)
        close(port);
    return -1;
}

struct server *server_start(cora_loop loop)
{
    struct server *server = calloc(1, sizeof *server);
    if (!server)
        return NULL;
    server->loop = loop;
    server->socket = listen_anywhere();
    if (server->socket >= 0 && server_accept(server) == 0)
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
    if (server->socket >= 0) {
        cora_remove_reader(server->loop, server->socket);
        close(server->socket);
    }
    free(server);
}
