/*
 * A small HTTP/1.1 server on a protocol: keep-alive, GET and HEAD, and bodies of any size that it
 * makes while they are sent, so that a slow or vanished reader costs no memory.
 *
 *     serve_pages     prints its port; ends at SIGTERM, and prints what it has done
 *
 *     /               13 bytes
 *     /bytes/N        N bytes: those that `yes | head -c N` prints
 *     anything else   a 404
 *
 * Requests of one connection are answered in turn: while a body is being sent nothing is read.
 */
#include <cora.h>

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_MAX 16384 /* bytes of a request, and of others behind it that wait */
#define PIECE 65536

static const char greeting[] = "Hello, ferry\n";
static char yes[PIECE];
static unsigned long connections, requests;

/* A connection. */
struct visit {
    cora_transport transport;
    bool paused;             /* enough is waiting to be sent */
    bool closes;             /* after the answer that is being sent */
    bool is_yes;             /* what the body is made of */
    unsigned long long left; /* bytes of the body that are to be sent */
    size_t size;
    char head[HEAD_MAX + 1]; /* what was read and not answered yet */
};

/* ---- answers ---- */

/* Sends of the body what may be sent now. Whether that is all of it. */
static bool send_body(struct visit *visit)
{
    while (visit->left > 0 && !visit->paused && !cora_transport_is_closing(visit->transport)) {
        size_t size = visit->left < PIECE ? (size_t)visit->left : PIECE;
        visit->left -= size;
        cora_transport_write(visit->transport, visit->is_yes ? yes : greeting, size);
    }
    return visit->left == 0;
}

static void send_head(struct visit *visit, const char *status, unsigned long long length)
{
    char head[256];
    int size = snprintf(head, sizeof head,
                        "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %llu\r\n%s\r\n",
                        status, length, visit->closes ? "Connection: close\r\n" : "");
    cora_transport_write(visit->transport, head, (size_t)size);
}

static void refuse(struct visit *visit, const char *status)
{
    visit->closes = true;
    send_head(visit, status, 0);
}

/* Whether a line of the head begins with these words, in letters of any case. */
static bool has_line(const char *head, const char *line)
{
    char text[64];
    snprintf(text, sizeof text, "\r\n%s\r\n", line);
    return strcasestr(head, text) != NULL;
}

/* The head is complete, and a text. */
static void answer(struct visit *visit, const char *head)
{
    char method[8], path[256], version[16];
    char *end = NULL;
    requests++;
    visit->closes = has_line(head, "Connection: close");
    if (sscanf(head, "%7s %255s %15s", method, path, version) != 3 ||
        strncmp(version, "HTTP/1.", 7) != 0) {
        refuse(visit, "400 Bad Request");
        return;
    }
    visit->closes |= version[7] == '0' && !has_line(head, "Connection: keep-alive");
    bool is_head = strcmp(method, "HEAD") == 0;
    if (!is_head && strcmp(method, "GET") != 0) {
        refuse(visit, "405 Method Not Allowed");
        return;
    }
    unsigned long long length = sizeof greeting - 1;
    visit->is_yes = strncmp(path, "/bytes/", 7) == 0;
    if (visit->is_yes)
        length = strtoull(path + 7, &end, 10);
    if (visit->is_yes ? end == path + 7 || *end : strcmp(path, "/") != 0) {
        send_head(visit, "404 Not Found", 0);
        return;
    }
    send_head(visit, "200 OK", length);
    visit->left = is_head ? 0 : length;
}

/* Answers one request after the other, as far as they are there and the client takes answers. */
static void serve(struct visit *visit)
{
    while (send_body(visit)) {
        char *end;
        if (visit->closes) {
            cora_transport_close(visit->transport);
            return;
        }
        visit->head[visit->size] = '\0';
        if (!(end = strstr(visit->head, "\r\n\r\n")))
            break;
        end[2] = '\0';
        answer(visit, visit->head);
        visit->size -= (size_t)(end + 4 - visit->head);
        memmove(visit->head, end + 4, visit->size);
    }
    if (visit->left > 0)
        cora_transport_pause_reading(visit->transport);
    else
        cora_transport_resume_reading(visit->transport);
}

/* ---- the protocol ---- */

static void visit_made(void *self, cora_transport transport)
{
    struct visit *visit = self;
    visit->transport = transport;
    connections++;
}

static void visit_received(void *self, cora_transport transport, const void *bytes, size_t size)
{
    struct visit *visit = self;
    (void)transport;
    if (size > HEAD_MAX - visit->size || memchr(bytes, '\0', size)) {
        refuse(visit, "431 Request Header Fields Too Large");
        cora_transport_close(visit->transport);
        return;
    }
    memcpy(visit->head + visit->size, bytes, size);
    visit->size += size;
    serve(visit);
}

static void visit_paused(void *self, cora_transport transport)
{
    struct visit *visit = self;
    (void)transport;
    visit->paused = true;
}

static void visit_resumed(void *self, cora_transport transport)
{
    struct visit *visit = self;
    visit->paused = false;
    if (!cora_transport_is_closing(transport))
        serve(visit);
}

static const struct cora_protocol_type visit_type = { .name = "Visit",
                                                      .connection_made = visit_made,
                                                      .data_received = visit_received,
                                                      .pause_writing = visit_paused,
                                                      .resume_writing = visit_resumed,
                                                      .drop = free };

static cora_protocol make_visit(cora_args bound)
{
    struct visit *visit = calloc(1, sizeof *visit);
    (void)bound;
    return (cora_protocol){ visit ? &visit_type : NULL, visit };
}

/* ---- the server ---- */

static void on_listening(cora_args bound, cora_value outcome)
{
    if (cora_is_error(outcome)) {
        fprintf(stderr, "serve_pages: %s\n", cora_error_message(outcome));
        cora_stop(cora_arg_loop(bound, 0));
        return;
    }
    printf("%d\n", cora_server_port(cora_as_server(outcome)));
    fflush(stdout);
}

static void on_signal(cora_args bound)
{
    cora_stop(cora_arg_loop(bound, 0));
}

int main(void)
{
    for (size_t i = 0; i < sizeof yes; i += 2)
        memcpy(yes + i, "y\n", 2);
    cora_loop loop = cora_loop_new(NULL);
    cora_add_signal_handler(loop, SIGTERM, cora_partial(on_signal, loop));
    cora_listen(loop, &(struct cora_server_options){ .host = "127.0.0.1", .backlog = 1024 },
                cora_partial(make_visit), cora_partial(on_listening, loop));
    cora_run_forever(loop);
    cora_loop_close(loop);
    printf("%lu connections, %lu requests\n", connections, requests);
    return 0;
}
