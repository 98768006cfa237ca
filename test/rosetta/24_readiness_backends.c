/* select, poll and epoll tell the same story of one descriptor; epoll's edge; select's limit. */
#include <cora.h>

#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static cora_loop hub;
static size_t seen;
static const char *seen_tag; /* a static text: it outlives the callback that it is bound to */

/* The turn in which something is ready is the last one of the run. */
static void notice(cora_args bound)
{
    seen++;
    seen_tag = cora_arg_text(bound, 0);
    cora_stop(hub);
}

static void give_up(cora_args bound)
{
    (void)bound;
    cora_stop(hub);
}

/* How many readiness callbacks one turn of the loop has; it waits 20 ms for the first. */
static size_t ready(void)
{
    cora_handle limit = cora_call_later(hub, 0.02, cora_partial(give_up));
    seen = 0;
    cora_run_forever(hub);
    cora_handle_cancel(limit);
    return seen;
}

static void level(const char *name)
{
    int near_far[2];
    char letter[16];
    socketpair(AF_UNIX, SOCK_STREAM, 0, near_far);
    int near = near_far[0], far = near_far[1];
    hub = cora_loop_new(&(struct cora_loop_options){ .backend = name });
    cora_add_reader(hub, near, cora_partial(notice, cora_static("inbox")));
    printf("%s: %zu", name, ready());
    send(far, "ping", 4, 0);
    printf(" %zu", ready());
    printf(" %zu", ready());
    const char *tag = seen_tag;
    recv(near, letter, sizeof letter, 0);
    printf(" %zu", ready());
    cora_add_reader(hub, near, cora_partial(notice, cora_static("both ways")));
    cora_add_writer(hub, near, cora_partial(notice, cora_static("both ways")));
    printf(" %zu", ready());
    cora_remove_reader(hub, near);
    cora_remove_writer(hub, near);
    printf(" tag %s, still registered %zu\n", tag, cora_live(hub));
    cora_loop_close(hub);
    close(near);
    close(far);
}

/* A reactor's promise is the level, so that the edge is asked of epoll itself. */
static void edge(void)
{
    int near_far[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, near_far);
    int watch = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = { .events = EPOLLIN | EPOLLET };
    epoll_ctl(watch, EPOLL_CTL_ADD, near_far[0], &event);
    send(near_far[1], "a", 1, 0);
    printf("edge: %d", epoll_wait(watch, &event, 1, 20));
    printf(" %d", epoll_wait(watch, &event, 1, 20));
    send(near_far[1], "b", 1, 0);
    printf(" %d\n", epoll_wait(watch, &event, 1, 20));
    close(watch);
    close(near_far[0]);
    close(near_far[1]);
}

/* 1024 is not open: select refuses the number unseen, poll finds that it is closed. */
static void high(void)
{
    hub = cora_loop_new(&(struct cora_loop_options){ .backend = "select" });
    if (cora_add_reader(hub, 1024, cora_partial(notice, cora_static("never"))) == CORA_EVALUE)
        printf("descriptor 1024: too high for select\n");
    cora_loop_close(hub);
    struct pollfd closed = { .fd = 1024, .events = POLLIN };
    printf("descriptor 1024: poll answers %d\n", poll(&closed, 1, 0));
}

int main(void)
{
    level("select");
    level("poll");
    level("epoll");
    edge();
    high();
    return 0;
}
