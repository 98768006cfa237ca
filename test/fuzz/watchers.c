/*
 * How it works: each seat has some pipes, which are watched in both directions and closed at any
 * time; and there are two signals, which are raised while somebody handles them.
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

/* A reader or writer: takes what is there, mostly, so that it is not ready for ever. */
static void on_ready(cora_args bound)
{
    char bytes[64];
    int descriptor = (int)CALL(cora_arg_int(bound, 1));
    if (!rarely(4) && read(descriptor, bytes, sizeof bytes) < 0 && errno == EFAULT)
        broken("read");
    on_call(bound);
}

/* ---- descriptors ---- */

static int pick_descriptor(struct seat *seat)
{
    static const int odd[] = { -1, INT_MIN, INT_MAX, 1000000, FD_SETSIZE, FD_SETSIZE - 1 };
    int descriptor = seat->pipes[below(PIPES)][below(2)];
    return rarely(30) ? odd[below(sizeof odd / sizeof odd[0])] : descriptor;
}

static void use_watch(struct job *job, cora_callback callback)
{
    job->code = job->writer ? CALL(cora_add_writer(job->loop, job->number, callback))
                            : CALL(cora_add_reader(job->loop, job->number, callback));
    if (job->code == 0 && job->number < 0)
        broken("descriptor %d is watched", job->number);
}

void act_watch(void)
{
    if (calm)
        return;
    struct seat *seat = pick_seat();
    struct job job = { .loop = rarely(20) ? pick_loop() : seat->loop,
                       .number = pick_descriptor(seat),
                       .writer = rarely(2) };
    if (rarely(4)) {
        offer(&job, 0, use_watch);
        return;
    }
    cora_value token = token_value(token_new(0));
    use_watch(&job, in_some_context(cora_partial(on_ready, token, job.number)));
}

void act_unwatch(void)
{
    struct seat *seat = pick_seat();
    cora_loop loop = rarely(20) ? pick_loop() : seat->loop;
    if (rarely(2))
        CALL(cora_remove_reader(loop, pick_descriptor(seat)));
    else
        CALL(cora_remove_writer(loop, pick_descriptor(seat)));
}

void act_transfer(void)
{
    char bytes[8] = "bytes";
    int descriptor = pick_seat()->pipes[below(PIPES)][below(2)];
    ssize_t done =
        rarely(2) ? write(descriptor, bytes, sizeof bytes) : read(descriptor, bytes, sizeof bytes);
    if (done < 0 && errno == EFAULT)
        broken("a transfer");
}

static void pipe_open(int ends[2])
{
    int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    int failed =
        rarely(2) ? pipe2(ends, O_NONBLOCK | O_CLOEXEC) : socketpair(AF_UNIX, type, 0, ends);
    if (failed)
        broken("no pipe: %s", strerror(errno));
}

/*
 * libev gives up on a closed descriptor that is watched where it cannot miss it: with poll, and
 * when the watchers of another guest change. So only some loops forget to remove, which have no
 * guests.
 */
static bool may_forget(const struct seat *seat)
{
    struct ev_loop *ev = cora_loop_ev(seat->loop);
    return seat->forgets && ev && ev_backend(ev) != EVBACKEND_POLL;
}

static void unwatch_everywhere(int descriptor, bool sloppy)
{
    for (unsigned i = 0; i < SEATS; i++) {
        if (sloppy && may_forget(&seats[i]))
            continue;
        CALL(cora_remove_reader(seats[i].loop, descriptor));
        CALL(cora_remove_writer(seats[i].loop, descriptor));
    }
}

/* Closes a pair. A sloppy program forgets to remove its readers and writers first. */
void pipe_close(int ends[2], bool sloppy)
{
    for (int i = 0; i < 2; i++) {
        int descriptor = ends[i];
        if (descriptor < 0)
            continue;
        ends[i] = -1; /* what a drop function adds now it adds to no pair */
        unwatch_everywhere(descriptor, sloppy);
        close(descriptor);
    }
}

void act_pipe(void)
{
    struct seat *seat = pick_seat();
    int *ends = seat->pipes[below(PIPES)];
    if (ends[0] < 0 && ends[1] < 0)
        pipe_open(ends);
    else
        pipe_close(ends, rarely(3));
}

/* ---- signals ---- */

static int pick_signal(void)
{
    static const int odd[] = { 0, -1, SIGKILL, SIGSTOP, 65, 1000, INT_MAX, INT_MIN };
    if (rarely(10))
        return odd[below(sizeof odd / sizeof odd[0])];
    return rarely(2) ? SIGUSR1 : SIGUSR2;
}

static void use_signal(struct job *job, cora_callback callback)
{
    int code = CALL(cora_add_signal_handler(job->loop, job->number, callback));
    if (code == 0 && job->number != SIGUSR1 && job->number != SIGUSR2)
        broken("signal %d has a handler", job->number);
}

void act_signal(void)
{
    if (calm)
        return;
    struct job job = { .loop = pick_loop(), .number = pick_signal() };
    struct sigaction now;
    switch (below(3)) {
    case 0:
        offer(&job, 0, use_signal);
        break;
    case 1:
        CALL(cora_remove_signal_handler(job.loop, job.number));
        break;
    default:
        job.number = rarely(2) ? SIGUSR1 : SIGUSR2;
        if (sigaction(job.number, NULL, &now) == 0 && now.sa_handler != SIG_DFL)
            raise(job.number);
        break;
    }
}
