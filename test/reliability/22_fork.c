/*
 * Check 22: a callback forks while ten thousand messages are on their way. The parent gets all of
 * them; a child that calls cora_after_fork serves with the same loop; one that does not gets an
 * error.
 */
#include "harness.h"

#include <cora.h>

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PINGS 100

static cora_loop loop;
static int messages[2]; /* one byte for each message */
static int service[2];  /* the parent's end, the serving child's end */
static int sent, received, wanted;
static int pongs;
static pid_t parent, server, stranger;
static cora_handle next_fork; /* the stranger's */

/* ---- the messages ---- */

static void send_message(cora_args bound)
{
    (void)bound;
    if (getpid() != parent)
        return;
    CHECK_INT(write(messages[1], "m", 1), 1);
    if (++sent < wanted)
        cora_call_soon(loop, cora_partial(send_message));
}

static void stop_when_complete(void)
{
    if (received == wanted && pongs == PINGS)
        cora_stop(loop);
}

static void on_message(cora_args bound)
{
    char byte;
    (void)bound;
    CHECK_INT(read(messages[0], &byte, 1), 1);
    received++;
    stop_when_complete();
}

/* ---- the service ---- */

/* In the child: answers until the parent closes its end. */
static void serve(cora_args bound)
{
    char byte;
    (void)bound;
    if (read(service[1], &byte, 1) != 1) {
        cora_stop(loop);
        return;
    }
    CHECK_INT(write(service[1], "p", 1), 1);
}

static void on_pong(cora_args bound)
{
    char byte;
    (void)bound;
    CHECK_INT(read(service[0], &byte, 1), 1);
    if (++pongs < PINGS)
        CHECK_INT(write(service[0], "p", 1), 1);
    stop_when_complete();
}

/* ---- the forks ---- */

static void fork_server(cora_args bound)
{
    (void)bound;
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, service), 0);
    server = fork();
    if (server == 0) {
        CHECK_INT(cora_after_fork(loop), 0);
        CHECK(cora_remove_reader(loop, messages[0])); /* these are the parent's */
        CHECK(cora_handle_cancel(next_fork));
        close(service[0]);
        CHECK_INT(cora_add_reader(loop, service[1], cora_partial(serve)), 0);
        return;
    }
    CHECK(server > 0);
    close(service[1]);
    CHECK_INT(cora_add_reader(loop, service[0], cora_partial(on_pong)), 0);
    CHECK_INT(write(service[0], "p", 1), 1);
}

/* Its child does nothing at all. */
static void fork_stranger(cora_args bound)
{
    (void)bound;
    stranger = fork();
    CHECK(stranger >= 0);
}

/* Both children come here, out of the run that they were forked in. */
static void child_end(int code)
{
    if (stranger == 0) {
        CHECK_INT(code, CORA_ERUNTIME);
        CHECK_INT(cora_run_forever(loop), CORA_ERUNTIME);
        _exit(2);
    }
    CHECK_INT(code, 0);
    _exit(1);
}

static int exit_code(pid_t process)
{
    int status = 0;
    CHECK_INT(waitpid(process, &status, 0), process);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_WITH_LIMIT(60, fork, "a child serves after cora_after_fork, one without it gets an error, and "
                          "the parent loses none of ten thousand messages")
{
    parent = getpid();
    wanted = harness_scale(10000);
    server = stranger = -1;
    CHECK_INT(pipe(messages), 0);
    loop = cora_loop_new(NULL);
    CHECK_INT(cora_add_reader(loop, messages[0], cora_partial(on_message)), 0);
    cora_call_soon(loop, cora_partial(send_message));
    cora_call_later(loop, 0.002, cora_partial(fork_server));
    next_fork = cora_call_later(loop, 0.004, cora_partial(fork_stranger));
    int code = cora_run_forever(loop);
    if (getpid() != parent)
        child_end(code);
    CHECK_INT(code, 0);
    CHECK_INT(received, wanted);
    CHECK_INT(pongs, PINGS);
    cora_remove_reader(loop, service[0]);
    close(service[0]); /* ends the server */
    CHECK_INT(exit_code(server), 1);
    CHECK_INT(exit_code(stranger), 2);
    cora_loop_close(loop);
    close(messages[0]);
    close(messages[1]);
}
