/*
 * visits: a server that is open for a while: each visitor has a task in a group, and a time limit
 * ends them all.
 *
 * The limit cancels the task that accepts; leaving the group, that cancels the visits and waits for
 * them; each visit closes its socket. Whatever ends the server, nobody is forgotten. The visitors
 * are sockets of main(), which have written before it opens, and read after it has closed.
 */
#include <cora.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- waiting for a descriptor, in callbacks ---- */

static void on_ready(cora_args bound)
{
    cora_set_result(cora_arg_future(bound, 0), cora_nothing());
}

/* It is ready, or nobody waits any more. */
static void stop_reading(cora_args bound, cora_future done)
{
    (void)done;
    cora_remove_reader(cora_running_loop(), (int)cora_arg_int(bound, 0));
}

static cora_future readable(int fd)
{
    cora_loop loop = cora_running_loop();
    cora_future ready = cora_future_new(loop);
    int code = cora_add_reader(loop, fd, cora_partial(on_ready, ready));
    if (code < 0)
        cora_set_exception(ready, cora_last_error());
    else
        cora_add_done_callback(ready, cora_partial(stop_reading, fd));
    return ready;
}

static cora_value system_error(void)
{
    return cora_error(-errno, "%s", strerror(errno));
}

/* ---- a visit: what it says is repeated, until it hangs up or the server closes ---- */

struct visit {
    int fd;
};

static void hang_up(void *locals)
{
    close(((struct visit *)locals)->fd);
}

static cora_next hear(cora_coro self);

static cora_next repeat(cora_coro self)
{
    char text[100];
    const struct visit *visit = cora_locals(self, struct visit);
    ssize_t size = recv(visit->fd, text, sizeof text, MSG_DONTWAIT);
    if (size <= 0)
        return size < 0 ? cora_raise(self, system_error()) : cora_return_nothing(self);
    printf("heard %.*s\n", (int)size, text);
    if (send(visit->fd, text, (size_t)size, MSG_NOSIGNAL) < 0)
        return cora_raise(self, system_error());
    return hear(self);
}

static cora_next hear(cora_coro self)
{
    return cora_await(self, readable(cora_locals(self, struct visit)->fd), repeat);
}

/* ---- the server ---- */

struct server {
    int fd;
    double seconds;
    cora_task_group visits;
};

static cora_next welcome(cora_coro self);

static cora_next knocked(cora_coro self)
{
    const struct server *server = cora_locals(self, struct server);
    int fd = accept(server->fd, NULL, NULL);
    if (fd < 0)
        return cora_raise(self, system_error());
    printf("a visitor, %zu are here\n", cora_task_group_size(server->visits));
    cora_task_group_spawn(server->visits,
                          cora_coroutine_owning(hear, hang_up, struct visit, .fd = fd));
    return welcome(self);
}

static cora_next welcome(cora_coro self)
{
    return cora_await(self, readable(cora_locals(self, struct server)->fd), knocked);
}

static cora_next open_doors(cora_coro self)
{
    struct server *server = cora_locals(self, struct server);
    server->visits = cora_task_group_new(cora_running_loop());
    return cora_with(self, cora_task_group_enter(server->visits), welcome);
}

static cora_next serve(cora_coro self)
{
    double seconds = cora_locals(self, struct server)->seconds;
    cora_timeout limit = cora_timeout_new(cora_running_loop(), seconds);
    return cora_with(self, cora_timeout_enter(limit), open_doors);
}

/* ---- the visitors ---- */

static int visitor(const struct sockaddr_in *address, const char *text)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 ||
        send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
        perror("visitor");
    return fd;
}

static void read_answer(int fd)
{
    char text[100];
    ssize_t size = recv(fd, text, sizeof text, MSG_WAITALL);
    printf("the answer was \"%.*s\"\n", size > 0 ? (int)size : 0, text);
    close(fd);
}

int main(void)
{
    static const char *const texts[] = { "hello", "", "good day" };
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) } };
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0), visitors[3];
    if (bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 8) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0) {
        perror("visits");
        return 1;
    }
    for (int i = 0; i < 3; i++)
        visitors[i] = visitor(&address, texts[i]);
    cora_value end = cora_run(cora_coroutine(serve, struct server, .fd = fd, .seconds = 0.3));
    printf("closed: %s\n", cora_error_name(cora_error_code(end)));
    for (int i = 0; i < 3; i++)
        read_answer(visitors[i]);
    close(fd);
    return 0;
}
