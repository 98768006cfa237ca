/*
 * Check 34: five hundred children, up to a hundred of them at a time, each with pipes for its input
 * and output: every status and every output is told, once; afterwards there is no zombie, and the
 * same descriptors are open as before. First in callbacks, then with streams in steps; then each is
 * closed while it does something else.
 *
 * A child reads its number, says it, and ends with it as its status; with a number that ends in 7
 * it kills itself.
 */
#include "harness.h"

#include <cora.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define AT_ONCE 100

static const char *const script = "read n; echo ferry $n; case $n in *7) kill -9 $$;; esac; "
                                  "exit $((n % 200))";

static int count; /* of children */

static int status_of(int number)
{
    return number % 10 == 7 ? -SIGKILL : number % 200;
}

/* ---- what is left ---- */

/* Numbers of descriptors that are open; those of a test are below 1000. */
static void open_descriptors(char open[1000])
{
    for (int i = 0; i < 1000; i++)
        open[i] = fcntl(i, F_GETFD) >= 0;
}

static void check_nothing_left(const char before[1000])
{
    char after[1000];
    open_descriptors(after);
    for (int i = 0; i < 1000; i++)
        if (before[i] != after[i])
            harness_fail(__FILE__, __LINE__, "descriptor %d is %s", i,
                         after[i] ? "open" : "closed");
    CHECK_INT(waitpid(-1, NULL, WNOHANG), -1);
    CHECK_INT(errno, ECHILD);
}

/* ---- in callbacks ---- */

struct ferry {
    int number;
    char output[40];
    int made, exits, losses, pipes_lost;
};

static struct ferry *ferries;
static int started, ended;

static void start_next(cora_loop loop);

static void ferry_made(void *self, cora_process_transport transport)
{
    struct ferry *ferry = self;
    char text[20];
    int size = snprintf(text, sizeof text, "%d\n", ferry->number);
    cora_transport in = cora_process_transport_get_pipe_transport(transport, 0);
    ferry->made++;
    CHECK_INT(cora_transport_write(in, text, (size_t)size), 0);
}

static void ferry_says(void *self, cora_process_transport transport, int fd, const void *bytes,
                       size_t size)
{
    struct ferry *ferry = self;
    (void)transport;
    CHECK_INT(fd, 1);
    CHECK(strlen(ferry->output) + size < sizeof ferry->output);
    strncat(ferry->output, bytes, size);
}

static void ferry_pipe_lost(void *self, cora_process_transport transport, int fd, cora_value error)
{
    (void)transport, (void)fd, (void)error;
    ((struct ferry *)self)->pipes_lost++;
}

static void ferry_exited(void *self, cora_process_transport transport)
{
    (void)transport;
    ((struct ferry *)self)->exits++;
}

static void ferry_lost(void *self, cora_process_transport transport, cora_value error)
{
    struct ferry *ferry = self;
    char expected[40];
    snprintf(expected, sizeof expected, "ferry %d\n", ferry->number);
    CHECK(cora_is_nothing(error));
    CHECK_TEXT(ferry->output, expected);
    CHECK_INT(cora_as_int(cora_process_transport_get_returncode(transport)),
              status_of(ferry->number));
    ferry->losses++;
    ended++;
    CHECK_INT(cora_process_transport_close(transport), 0);
    start_next(cora_running_loop());
}

static const struct cora_subprocess_protocol_type ferry_type = {
    .name = "Ferry",
    .connection_made = ferry_made,
    .pipe_data_received = ferry_says,
    .pipe_connection_lost = ferry_pipe_lost,
    .process_exited = ferry_exited,
    .connection_lost = ferry_lost,
};

static cora_process_transport start_ferry(cora_loop loop, int number)
{
    struct cora_subprocess_options options = { .err = CORA_SUBPROCESS_INHERIT };
    cora_subprocess_protocol protocol = { &ferry_type, &ferries[number] };
    ferries[number].number = number;
    cora_process_transport made =
        cora_subprocess_exec(loop, cora_argv("/bin/sh", "-c", script), &options, protocol);
    CHECK(!cora_is_null(made));
    return made;
}

static void start_next(cora_loop loop)
{
    if (started < count)
        start_ferry(loop, started++);
    else if (ended == count)
        cora_stop(loop);
}

static void begin(void)
{
    count = harness_under_valgrind() ? 20 : 500;
    started = ended = 0;
    ferries = calloc((size_t)count, sizeof *ferries);
    CHECK(ferries != NULL);
}

TEST_WITH_LIMIT(60, told_once, "500 children: 500 statuses and outputs, no zombie, no descriptor")
{
    char before[1000];
    open_descriptors(before);
    begin();
    cora_loop loop = cora_loop_new(NULL);
    while (started < AT_ONCE && started < count)
        start_next(loop);
    CHECK_INT(cora_run_forever(loop), 0);
    for (int i = 0; i < count; i++) {
        CHECK_INT(ferries[i].made, 1);
        CHECK_INT(ferries[i].exits, 1);
        CHECK_INT(ferries[i].pipes_lost, 2);
        CHECK_INT(ferries[i].losses, 1);
    }
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
    check_nothing_left(before);
    free(ferries);
}

/* ---- in steps ---- */

struct crew {
    int number;
    cora_process process;
};

static cora_next crew_ended(cora_coro self)
{
    struct crew *crew = cora_locals(self, struct crew);
    char expected[40];
    size_t size;
    const char *text = cora_as_bytes(cora_list_at(cora_got(self), 0), &size);
    snprintf(expected, sizeof expected, "ferry %d\n", crew->number);
    CHECK_INT(size, strlen(expected));
    CHECK(memcmp(text, expected, size) == 0);
    CHECK_INT(cora_as_int(cora_process_returncode(crew->process)), status_of(crew->number));
    CHECK_INT(cora_process_close(crew->process), 0);
    ended++;
    return cora_return_nothing(self);
}

static cora_next crew_started(cora_coro self)
{
    struct crew *crew = cora_locals(self, struct crew);
    crew->process = cora_as_process(cora_got(self));
    return cora_await(self,
                      cora_process_communicate(crew->process, cora_textf("%d\n", crew->number)),
                      crew_ended);
}

static cora_next crew_starts(cora_coro self)
{
    struct cora_subprocess_options pipes = { .in = CORA_SUBPROCESS_PIPE,
                                             .out = CORA_SUBPROCESS_PIPE };
    return cora_await(self,
                      cora_create_subprocess_exec(cora_argv("/bin/sh", "-c", script), &pipes, 0),
                      crew_started);
}

TEST_WITH_LIMIT(60, communicated, "the same with streams, a hundred at a time")
{
    char before[1000];
    open_descriptors(before);
    begin();
    cora_loop loop = cora_loop_new(NULL);
    while (started < count) {
        cora_coro crews[AT_ONCE];
        size_t some = 0;
        while (some < AT_ONCE && started < count)
            crews[some++] = cora_coroutine(crew_starts, struct crew, .number = started++);
        cora_value all = cora_run_until_complete(loop, cora_gather(loop, crews, some));
        CHECK(!cora_is_error(all));
    }
    CHECK_INT(ended, count);
    cora_loop_close(loop);
    check_nothing_left(before);
    free(ferries);
}

/* ---- closed in the middle ---- */

static int dropped;

static void ferry_dropped(void *self)
{
    (void)self;
    dropped++;
}

static const struct cora_subprocess_protocol_type sunk_type = { .name = "Sunk",
                                                                .connection_made = ferry_made,
                                                                .drop = ferry_dropped };

TEST_WITH_LIMIT(60, closed, "500 children that are closed, or whose loop is, are all reaped")
{
    char before[1000];
    open_descriptors(before);
    begin();
    cora_loop loop = cora_loop_new(NULL);
    cora_process_transport afloat[AT_ONCE] = { 0 };
    for (int i = 0; i < count; i++) {
        cora_process_transport *place = &afloat[i % AT_ONCE];
        CHECK_INT(cora_is_null(*place) ? 0 : cora_process_transport_close(*place), 0);
        struct cora_subprocess_options options = { .err = CORA_SUBPROCESS_INHERIT };
        *place = cora_subprocess_exec(loop, cora_argv("/bin/sh", "-c", script), &options,
                                      (cora_subprocess_protocol){ &sunk_type, &ferries[i] });
        CHECK(!cora_is_null(*place));
        for (int ticks = i % 4; ticks > 0; ticks--) {
            cora_stop(loop);
            CHECK_INT(cora_run_forever(loop), 0);
        }
    }
    cora_loop_close(loop);
    CHECK_INT(dropped, count);
    check_nothing_left(before);
    free(ferries);
}
