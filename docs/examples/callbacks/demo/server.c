/*
 * How it works: every connection is a visit. It collects the request up to its empty line, and then
 * the kind of the page answers: with a text and as much filling behind it as it likes, or with
 * nothing. The reader stays, to see the visitor leave. The server lists its visits only to close
 * those that are left when it stops.
 */
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_MAX 4096
#define FOR_EVER (SIZE_MAX / 2) /* bytes of filling */
#define DRIP_PAUSE 0.02         /* seconds from byte to byte */
#define ACCEPT_AGAIN 0.05       /* seconds until it looks for a free descriptor again */

struct visit {
    struct server *server;
    LIST_ENTRY(visit) others;
    int socket;
    cora_handle later;
    bool answered;          /* the request is complete */
    size_t size;            /* of the text */
    size_t filling;         /* bytes that follow it */
    size_t sent;            /* of both together */
    char text[REQUEST_MAX]; /* the request, then the answer's beginning; ends with a NUL */
};

struct server {
    cora_loop loop;
    int socket;
    cora_handle later;
    LIST_HEAD(, visit) visits;
    int asked[SERVER_PAGES]; /* how often, if flaky */
    char filling[16384];     /* spaces */
};

/* ---- the pages ---- */

enum behaviour { ANSWER, SLOW, MOVED, NEXT, LOST, FLAKY, HANG, RESET, DRIP, ENDLESS };

/* The pages are numbered through all kinds; those of the first have the links to the others. */
static const struct kind {
    const char *name;
    size_t pages;
    size_t linked; /* the first so many; others are found by a redirect */
    enum behaviour behaviour;
    const char *meaning;
} kinds[] = {
    { "quick", 100, 100, ANSWER, "ok" },      { "slow", 20, 20, SLOW, "ok" },
    { "moved", 20, 20, MOVED, "redirected" }, { "new", 10, 0, ANSWER, "ok" },
    { "far", 5, 1, NEXT, "redirected" },      { "farther", 1, 0, NEXT, "too many redirects" },
    { "lost", 10, 10, LOST, "not found" },    { "flaky", 12, 12, FLAKY, "ok" },
    { "hang", 6, 6, HANG, "timed out" },      { "reset", 6, 6, RESET, "reset" },
    { "drip", 5, 5, DRIP, "timed out" },      { "endless", 5, 5, ENDLESS, "too large" },
};

#define KINDS (sizeof kinds / sizeof kinds[0])
#define LINKING 100 /* pages of the first kind */
#define PATH_SIZE 32
#define FIRST_NEW 140 /* the number of /new/0 */

/* The page of this path, and its kind; NULL if there is none. */
static const struct kind *page_find(const char *path, size_t *ret_page)
{
    char name[16] = "quick";
    size_t number = 0, before = 0;
    if (strcmp(path, "/") != 0 && sscanf(path, "/%15[a-z]/%zu", name, &number) != 2)
        return NULL;
    for (const struct kind *kind = kinds; kind < kinds + KINDS; before += kind++->pages) {
        if (strcmp(kind->name, name) == 0 && number < kind->pages) {
            *ret_page = before + number;
            return kind;
        }
    }
    return NULL;
}

/* The path of this page; whether it is linked to. */
static bool page_path(size_t page, char ret_path[PATH_SIZE])
{
    const struct kind *kind = kinds;
    size_t number = page;
    for (; number >= kind->pages; kind++)
        number -= kind->pages;
    snprintf(ret_path, PATH_SIZE, "/%s/%zu", kind->name, number);
    if (page == 0)
        strcpy(ret_path, "/");
    return number < kind->linked;
}

const char *server_meaning(const char *path)
{
    size_t page;
    const struct kind *kind = page_find(path, &page);
    return kind ? kind->meaning : "not found";
}

/* ---- sending ---- */

static void visit_close(struct visit *visit)
{
    cora_loop loop = visit->server->loop;
    cora_handle_cancel(visit->later);
    cora_remove_reader(loop, visit->socket);
    cora_remove_writer(loop, visit->socket);
    close(visit->socket);
    LIST_REMOVE(visit, others);
    free(visit);
}

/* Sends at most this much of the text, or of the filling behind it; closes when all is sent. */
static void visit_send(struct visit *visit, size_t most)
{
    bool in_text = visit->sent < visit->size;
    size_t left = visit->size + (in_text ? 0 : visit->filling) - visit->sent;
    ssize_t sent = send(visit->socket, in_text ? visit->text + visit->sent : visit->server->filling,
                        left < most ? left : most, MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (sent >= 0)
        visit->sent += (size_t)sent;
    if (sent < 0 || visit->sent == visit->size + visit->filling)
        visit_close(visit);
}

static void on_writable(cora_args bound)
{
    struct visit *visit = cora_arg(bound, 0, struct visit *);
    visit_send(visit, sizeof visit->server->filling);
}

/* What it is to send: a head with these fields, a body, and so much filling. */
static void visit_prepare(struct visit *visit, const char *status, const char *fields,
                          const char *body, size_t filling)
{
    visit->filling = filling;
    visit->size = (size_t)snprintf(visit->text, sizeof visit->text,
                                   "HTTP/1.1 %s\r\n"
                                   "Content-Type: text/html\r\n"
                                   "Connection: close\r\n"
                                   "%s\r\n%s",
                                   status, fields, body);
}

/* Sends it from now on. */
static void visit_answer(struct visit *visit, const char *status, const char *fields,
                         const char *body, size_t filling)
{
    visit_prepare(visit, status, fields, body, filling);
    if (cora_add_writer(visit->server->loop, visit->socket, cora_partial(on_writable, visit)) < 0)
        visit_close(visit);
}

/* ---- answers ---- */

/* Adds a link to a page if it is one to be linked. */
static void link_add(char *html, size_t page)
{
    char path[PATH_SIZE];
    if (page_path(page, path))
        sprintf(html + strlen(html), "<li><a href=\"%s\">%s</a>\n", path, path);
}

/* Each page of the first kind links to three of its own kind and to one of the others. */
static void answer_page(struct visit *visit, size_t page)
{
    char html[1024], length[64];
    size_t filling = page * 100;
    sprintf(html, "<!DOCTYPE html><title>page %zu</title>\n<ul>\n", page);
    link_add(html, 0);
    for (size_t i = 1; i <= 3; i++)
        link_add(html, (3 * page + i) % LINKING);
    if (page < LINKING)
        link_add(html, LINKING + page);
    sprintf(length, "Content-Length: %zu\r\n", strlen(html) + filling);
    visit_answer(visit, "200 OK", length, html, filling);
}

static void on_slow(cora_args bound)
{
    answer_page(cora_arg(bound, 0, struct visit *), (size_t)cora_arg_int(bound, 1));
}

/* Redirects to this page. */
static void answer_moved(struct visit *visit, size_t page)
{
    char path[PATH_SIZE], location[PATH_SIZE + 20];
    page_path(page, path);
    sprintf(location, "Location: %s\r\n", path);
    visit_answer(visit, "302 Found", location, "", 0);
}

static void answer_reset(struct visit *visit)
{
    struct linger at_once = { .l_onoff = 1 };
    setsockopt(visit->socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    visit_close(visit);
}

static void on_drip(cora_args bound)
{
    struct visit *visit = cora_arg(bound, 0, struct visit *);
    visit->later = cora_call_later(visit->server->loop, DRIP_PAUSE, cora_partial(on_drip, visit));
    visit_send(visit, 1);
}

/* Answers as this kind of page does; the slow ones and those that drip do it by a timer. */
static void visit_behave(struct visit *visit, enum behaviour behaviour, size_t page)
{
    cora_loop loop = visit->server->loop;
    switch (behaviour) {
    case ANSWER:
        answer_page(visit, page);
        break;
    case SLOW:
        visit->later = cora_call_later(loop, 0.1 + (double)(page % 20) / 100,
                                       cora_partial(on_slow, visit, page));
        break;
    case MOVED:
        answer_moved(visit, FIRST_NEW + page % 10); /* two to the same */
        break;
    case NEXT:
        answer_moved(visit, page + 1);
        break;
    case LOST:
        visit_answer(visit, "404 Not Found", "", "no such page\n", 0);
        break;
    case FLAKY:
        if (++visit->server->asked[page] % 3 == 0)
            answer_page(visit, page);
        else
            visit_answer(visit, "503 Service Unavailable", "", "not now\n", 0);
        break;
    case RESET:
        answer_reset(visit);
        break;
    case DRIP:
        visit_prepare(visit, "200 OK", "", "", FOR_EVER);
        visit->later = cora_call_soon(loop, cora_partial(on_drip, visit));
        break;
    case ENDLESS:
        visit_answer(visit, "200 OK", "", "", FOR_EVER);
        break;
    case HANG:
        break;
    }
}

/* ---- the request ---- */

/* Takes the path out of the request, and answers. */
static void visit_route(struct visit *visit)
{
    char path[1024] = "";
    size_t page = 0;
    sscanf(visit->text, "GET %1023s", path);
    const struct kind *kind = page_find(path, &page);
    visit->answered = true;
    visit_behave(visit, kind ? kind->behaviour : LOST, page);
}

/* Collects the request, and later sees the visitor leave. */
static void on_readable(cora_args bound)
{
    struct visit *visit = cora_arg(bound, 0, struct visit *);
    char bytes[REQUEST_MAX];
    ssize_t size = recv(visit->socket, bytes, sizeof bytes - 1 - visit->size, 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size <= 0 || visit->answered) { /* left, too large, or not as we know it */
        visit_close(visit);
        return;
    }
    memcpy(visit->text + visit->size, bytes, (size_t)size);
    visit->size += (size_t)size;
    if (strstr(visit->text, "\r\n\r\n"))
        visit_route(visit);
}

/* ---- the port ---- */

/* Takes over the socket of a visitor. */
static void visit_start(struct server *server, int socket)
{
    struct visit *visit = calloc(1, sizeof *visit);
    if (!visit) {
        close(socket);
        return;
    }
    visit->server = server;
    visit->socket = socket;
    LIST_INSERT_HEAD(&server->visits, visit, others);
    if (cora_add_reader(server->loop, socket, cora_partial(on_readable, visit)) < 0)
        visit_close(visit);
}

static void on_accept_again(cora_args bound);

/* Accepts one visitor. Without a descriptor for it both wait, instead of asking in every tick. */
static void on_visitor(cora_args bound)
{
    struct server *server = cora_arg(bound, 0, struct server *);
    int socket = accept4(server->socket, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (socket >= 0) {
        visit_start(server, socket);
    } else if (errno == EMFILE || errno == ENFILE) {
        cora_remove_reader(server->loop, server->socket);
        server->later =
            cora_call_later(server->loop, ACCEPT_AGAIN, cora_partial(on_accept_again, server));
    }
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
    memset(server->filling, ' ', sizeof server->filling);
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
    while (!LIST_EMPTY(&server->visits))
        visit_close(LIST_FIRST(&server->visits));
    cora_handle_cancel(server->later);
    cora_remove_reader(server->loop, server->socket);
    if (server->socket >= 0)
        close(server->socket);
    free(server);
}
