/*
 * processes SECONDS CALLS SEED: random calls of child processes, with protocols and with streams,
 * to show that no sequence of them does harm.
 *
 * How it works: as fuzz/network. The children are commands of the shell that read, write, close
 * what they have, leave grandchildren behind, or do not end. Loops are our own, guests, or guests
 * of the default loop. Every callback acts, too.
 *
 * Each protocol has a record, which knows what may be called. At the end of an episode every record
 * was dropped, no child is left, not even unreaped, no descriptor is open, and no value is held.
 */
#include <cora.h>

#include <ev.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DEEPEST 3
#define CALLS_PER_EPISODE 400
#define TABLE 12

static uint64_t calls, callbacks;
static unsigned state, episode_seed, depth;
static cora_loop loop;
static struct ev_loop *host; /* NULL: the loop is one of our own */
static cora_process_transport transports[TABLE];
static cora_process processes[TABLE];
static cora_future futures[TABLE];

static unsigned below(unsigned limit)
{
    return (unsigned)(rand_r(&state) / 7) % limit;
}

static bool rarely(unsigned times)
{
    return below(times) == 0;
}

static void check(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "processes: %s; seed %u\n", what, episode_seed);
        abort();
    }
}

struct record {
    bool made, exited, lost, pipe_lost[3];
};
static size_t records;

static void act(void);

/* In every callback: what it does. */
static void acts(unsigned most)
{
    callbacks++;
    if (cora_is_closed(loop))
        return;
    for (unsigned i = below(most + 1); i > 0 && depth < DEEPEST; i--) {
        depth++;
        act();
        depth--;
    }
    if (rarely(100) && most > 1)
        cora_fail(cora_error(CORA_EVALUE, "in a callback"));
}

static struct record *told(struct record *record, bool first)
{
    check(record->made != first && !record->lost, "a callback out of turn");
    return record;
}

static void on_made(void *self, cora_process_transport transport)
{
    told(self, true)->made = true;
    transports[below(TABLE)] = transport;
    acts(2);
}

static void on_data(void *self, cora_process_transport transport, int fd, const void *bytes,
                    size_t size)
{
    (void)transport, (void)bytes;
    check(!told(self, false)->pipe_lost[fd] && size > 0, "data out of turn");
    acts(1);
}

static void on_pipe_lost(void *self, cora_process_transport transport, int fd, cora_value error)
{
    struct record *record = told(self, false);
    (void)transport, (void)error;
    check(!record->pipe_lost[fd], "a pipe is lost twice");
    record->pipe_lost[fd] = true;
    acts(2);
}

static void on_exit_told(void *self, cora_process_transport transport)
{
    struct record *record = told(self, false);
    (void)transport;
    check(!record->exited, "an exit is told twice");
    record->exited = true;
    acts(2);
}

static void on_lost(void *self, cora_process_transport transport, cora_value error)
{
    struct record *record = told(self, false);
    check(record->exited && cora_is_nothing(error), "lost before the exit");
    record->lost = true;
    if (rarely(2))
        cora_process_transport_close(transport);
    acts(2);
}

static void on_drop(void *self)
{
    records--;
    free(self);
    acts(1);
}

static const struct cora_subprocess_protocol_type type = { "Record",     on_made,      on_data,
                                                           on_pipe_lost, on_exit_told, on_lost,
                                                           NULL,         NULL,         on_drop };

static void on_done(cora_args bound, cora_future done)
{
    cora_value outcome = cora_cancelled(done) ? cora_nothing() : cora_result(done);
    (void)bound;
    if (outcome.type == &cora_type_process)
        processes[below(TABLE)] = cora_as_process(outcome);
    acts(2);
}

static void start(cora_awaitable awaitable)
{
    futures[below(TABLE)] = cora_when_done(awaitable, cora_partial(on_done));
}

static char crates[150000];
#define SOME_SIZE (rarely(4) ? below(sizeof crates) : below(50))

static void act_start(void)
{
    static const char *const commands[] = { "cat",
                                            "exit 3",
                                            "echo bread; echo fish >&2",
                                            "exec sleep 0.02",
                                            "exec sleep 50",
                                            "head -c 3",
                                            "head -c 200000 /dev/zero",
                                            "exec >&-; exec sleep 0.01",
                                            "kill -9 $$",
                                            "sleep 0.05 & exit 0",
                                            "exec 0<&-; sleep 0.01",
                                            "cat >/dev/null",
                                            "nothing/there" };
    static const int ends[] = { CORA_SUBPROCESS_PIPE, CORA_SUBPROCESS_PIPE,
                                CORA_SUBPROCESS_DEVNULL };
    const char *command = commands[below(13)];
    struct cora_subprocess_options options = { .in = ends[below(3)], .out = ends[below(3)] };
    options.err = rarely(3) ? CORA_SUBPROCESS_STDOUT : CORA_SUBPROCESS_DEVNULL;
    options.cwd = rarely(20) ? "/nowhere" : NULL;
    if (rarely(2)) {
        start(cora_create_subprocess_shell(command, &options, below(100)));
        return;
    }
    struct record *record = calloc(1, sizeof *record);
    records++;
    transports[below(TABLE)] =
        cora_subprocess_shell(loop, command, &options, (cora_subprocess_protocol){ &type, record });
}

/* A pipe of a transport that is lost is null, and refused. */
static void act_transport(void)
{
    static int (*const calls_of_pipes[])(
        cora_transport) = { cora_transport_close, cora_transport_abort,
                            cora_transport_pause_reading, cora_transport_resume_reading };
    static const int numbers[] = { 0, SIGTERM, SIGKILL, SIGSTOP, SIGCONT, 99 };
    cora_process_transport transport = transports[below(TABLE)];
    cora_transport pipe = cora_process_transport_get_pipe_transport(transport, (int)below(4) - 1);
    if (rarely(8))
        cora_process_transport_close(transport);
    else if (rarely(8))
        cora_process_transport_send_signal(transport, numbers[below(6)]);
    else if (rarely(2))
        calls_of_pipes[below(4)](pipe);
    else
        cora_transport_write(pipe, crates, SOME_SIZE);
}

static void act_process(void)
{
    cora_process process = processes[below(TABLE)];
    cora_stream_writer writer = cora_process_stdin(process);
    cora_stream_reader reader = cora_process_stdout(process);
    if (rarely(9))
        cora_process_close(process);
    else if (rarely(8))
        cora_process_send_signal(process, rarely(2) ? SIGTERM : SIGKILL);
    else if (rarely(7))
        start(cora_process_wait(process));
    else if (rarely(5))
        start(cora_process_communicate(process, cora_bytes(crates, SOME_SIZE)));
    else if (rarely(4))
        start(rarely(2) ? cora_stream_drain(writer) : cora_stream_read(reader, (int)below(50) - 1));
    else if (rarely(4))
        rarely(2) ? cora_stream_close(writer) : cora_stream_reader_close(reader);
    else
        cora_stream_write(writer, crates, SOME_SIZE);
}

static void act(void)
{
    calls++;
    if (rarely(20))
        cora_cancel(futures[below(TABLE)]);
    else if (rarely(200) && depth > 0 && host)
        cora_loop_detach(loop);
    else
        rarely(5) ? act_start() : rarely(2) ? act_transport() : act_process();
}

static void on_report(cora_args bound, cora_loop from, const struct cora_report *report)
{
    (void)bound, (void)from, (void)report;
    acts(1);
}

static void episode(void)
{
    static const char *const backends[] = { NULL, "epoll", "poll", "select" };
    struct cora_loop_options options = { .backend = backends[below(4)], .debug = rarely(9) };
    struct ev_loop *default_loop = ev_default_loop(EVFLAG_NOENV);
    int lowest = dup(0);
    close(lowest);
    size_t live = cora_live_values();
    bool is_default = rarely(4);
    host = is_default ? default_loop : rarely(3) ? ev_loop_new(EVFLAG_AUTO) : NULL;
    loop = host ? cora_loop_attach(host, NULL) : cora_loop_new(&options);
    cora_set_current_loop(loop);
    cora_set_exception_handler(loop, cora_partial(on_report));
    memset(transports, 0, sizeof transports);
    memset(processes, 0, sizeof processes);
    memset(futures, 0, sizeof futures);
    for (uint64_t until = calls + CALLS_PER_EPISODE; calls < until && !cora_is_closed(loop);) {
        for (unsigned i = below(8); i > 0 && !cora_is_closed(loop); i--)
            act();
        usleep(rarely(3) ? below(4) * 1000 : 0);
        for (unsigned i = 1 + below(4); i > 0; i--)
            host ? ev_run(host, EVRUN_NOWAIT) : (cora_stop(loop), cora_run_forever(loop));
    }
    depth = DEEPEST; /* drop functions do nothing more */
    host ? cora_loop_detach(loop) : cora_loop_close(loop);
    siginfo_t info; /* they have ended, if not in a thread's or libev's time */
    for (int i = 0; waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0; i++) {
        check(i < 3000, "a child is left");
        usleep(is_default && ev_run(host, EVRUN_NOWAIT) ? 2000 : 1000);
    }
    depth = 0;
    if (host && !is_default)
        ev_loop_destroy(host);
    cora_drop_temporaries();
    cora_set_last_error(cora_nothing());
    check(records == 0, "a protocol was not dropped");
    check(is_default || dup(0) == lowest, "a descriptor is open");
    close(lowest);
    check(cora_live_values() <= live, "a value is held");
}

int main(int argc, char **argv)
{
    time_t end = time(NULL) + (argc > 1 ? (time_t)atof(argv[1]) : 1);
    uint64_t most = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    unsigned seed = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0, episodes = 0;
    if (seed == 0)
        seed = (unsigned)time(NULL) * 1000003u + (unsigned)getpid();
    do {
        episode_seed = state = seed;
        alarm(60); /* an episode takes about a second */
        episode();
        seed = (unsigned)rand_r(&state);
        episodes++;
    } while (time(NULL) < end && (most == 0 || calls < most));
    printf("processes: %" PRIu64 " calls, %" PRIu64 " callbacks, %u episodes\n", calls, callbacks,
           episodes);
    return 0;
}
