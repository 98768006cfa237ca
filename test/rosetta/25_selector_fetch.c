/* Callbacks on descriptors, no coroutines: a page server and three visitors share one loop. */
#include <cora.h>

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct visit {
    const char *path;
    int sock;
    size_t size, reads;
    char data[8192];
};

static cora_loop hub;
static size_t pages;

static void answer(cora_args bound)
{
    int guest = (int)cora_arg_int(bound, 0);
    char request[4096] = "", path[100] = "", body[8000] = "", head[100];
    recv(guest, request, sizeof request - 1, 0);
    sscanf(request, "%*s %99s", path);
    size_t size = 0;
    for (int i = 0; i < 300; i++)
        size += (size_t)sprintf(body + size, "page %s\n", path);
    sprintf(head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", size);
    send(guest, head, strlen(head), 0);
    send(guest, body, size, 0);
    cora_remove_reader(hub, guest);
    close(guest);
}

static void greet(cora_args bound)
{
    int guest = accept((int)cora_arg_int(bound, 0), NULL, NULL);
    cora_add_reader(hub, guest, cora_partial(answer, guest));
}

static void arrived(cora_args bound)
{
    struct visit *visit = cora_arg(bound, 0, struct visit *);
    ssize_t size = recv(visit->sock, visit->data + visit->size, 1024, 0);
    if (size > 0) {
        visit->size += (size_t)size;
        visit->reads++;
        return;
    }
    cora_remove_reader(hub, visit->sock);
    close(visit->sock);
    if (++pages == 3)
        cora_stop(hub);
}

static void connected(cora_args bound)
{
    struct visit *visit = cora_arg(bound, 0, struct visit *);
    char request[200];
    cora_remove_writer(hub, visit->sock);
    sprintf(request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", visit->path);
    send(visit->sock, request, strlen(request), 0);
    cora_add_reader(hub, visit->sock, cora_partial(arrived, visit));
}

static void visit_start(struct visit *visit, const struct sockaddr_in *address)
{
    visit->sock = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    connect(visit->sock, (const struct sockaddr *)address, sizeof *address);
    cora_add_writer(hub, visit->sock, cora_partial(connected, visit));
}

static void report(const struct visit *visit)
{
    const char *body = strstr(visit->data, "\r\n\r\n") + 4;
    size_t lines = 0;
    for (const char *at = body; (at = strstr(at, visit->path)); at += strlen(visit->path))
        lines++;
    printf("%s: %.*s, %zu lines, %zu bytes, %s reads\n", visit->path,
           (int)strcspn(visit->data, "\r"), visit->data, lines, strlen(body),
           visit->reads > 2 ? "several" : "few");
}

static int by_path(const void *one, const void *other)
{
    return strcmp(((const struct visit *)one)->path, ((const struct visit *)other)->path);
}

int main(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    static struct visit visits[3] = { { .path = "/tea" }, { .path = "/" }, { .path = "/coffee" } };
    hub = cora_loop_new(NULL);
    int door = socket(AF_INET, SOCK_STREAM, 0);
    bind(door, (struct sockaddr *)&address, size);
    listen(door, 8);
    getsockname(door, (struct sockaddr *)&address, &size);
    cora_add_reader(hub, door, cora_partial(greet, door));
    for (size_t i = 0; i < 3; i++)
        visit_start(&visits[i], &address);
    cora_run_forever(hub);
    cora_remove_reader(hub, door);
    close(door);
    qsort(visits, 3, sizeof visits[0], by_path);
    for (size_t i = 0; i < 3; i++)
        report(&visits[i]);
    printf("still registered: %zu\n", cora_live(hub));
    cora_loop_close(hub);
    return 0;
}
