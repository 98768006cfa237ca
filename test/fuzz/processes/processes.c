/*
 * processes SECONDS CALLS SEED: random calls of child processes, with protocols and with streams,
 * and of handlers of children, to show that no sequence of them does harm.
 *
 * How it works: as fuzz/network. The children are commands of the shell that read, write, close
 * what they have, leave grandchildren behind, or do not end; a few are made by the program. Loops
 * are our own, guests, or guests of the default loop; now and then the kernel has no pidfd, and a
 * child is reaped by somebody else. Every callback acts, too.
 *
 * Each protocol has a record, which knows what may be called. At the end of an episode every record
 * was dropped, no child is left, not even unreaped, no descriptor is open, and no value is held.
 *
 *     FUZZ_TRACE=1    tells every call
 */
#include <cora.h>

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <ev.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DEEPEST 3
#define CALLS_PER_EPISODE 400
#define TABLE 12

static uint64_t state, episode_seed, calls, callbacks;
static unsigned depth;
static bool tracing, no_pidfd;
static cora_loop loop;
static struct ev_loop *host; /* NULL: the loop is one of our own */
static cora_process_transport transports[TABLE];
static cora_process processes[TABLE];
static cora_future futures[TABLE];
static pid_t pids[TABLE]; /* of our own children; 0: none */

/* In the system's place. */
int pidfd_open(pid_t pid, unsigned flags);
int pidfd_open(pid_t pid, unsigned flags)
{
    static int (*real)(pid_t, unsigned);
    void *symbol = real ? NULL : dlsym(RTLD_NEXT, "pidfd_open");
    if (symbol)
        memcpy(&real, &symbol, sizeof real);
    errno = ENOSYS;
    return no_pidfd ? -1 : real(pid, flags);
}

/* ---- chance ---- */

static uint64_t random_bits(void)
{
    state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t x = state;
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static unsigned below(unsigned limit)
{
    return (unsigned)(random_bits() % limit);
}

static bool rarely(unsigned times)
{
    return below(times) == 0;
}

__attribute__((noreturn)) static void broken(const char *what)
{
    fprintf(stderr, "processes: %s; seed %" PRIu64 "\n", what, episode_seed);
    abort();
}

static void trace(const char *what)
{
    calls++;
    if (tracing)
        fprintf(stderr, "%*s%s\n", (int)depth * 2, "", what);
}

/* ---- protocols ---- */

struct record {
    bool made, exited, lost, dropped, paused, pipe_lost[3];
};

static size_t records;

static void act(void);

/* In every callback: what it does. */
static void acts(unsigned most)
{
    callbacks++;
    for (unsigned i = below(most + 1); i > 0 && depth < DEEPEST; i--) {
        depth++;
        act();
        depth--;
    }
    if (rarely(100) && most > 1)
        cora_fail(cora_error(CORA_EVALUE, "in a callback"));
}

static struct record *told(void *self, bool first)
{
    struct record *record = self;
    if (record->made == first || record->lost || record->dropped)
        broken("a callback out of turn");
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
    (void)transport;
    if (told(self, false)->pipe_lost[fd] || size == 0 || !bytes)
        broken("data out of turn");
    acts(1);
}

static void on_pipe_lost(void *self, cora_process_transport transport, int fd, cora_value error)
{
    struct record *record = told(self, false);
    (void)error;
    if (record->pipe_lost[fd] ||
        !cora_is_null(cora_process_transport_get_pipe_transport(transport, fd)))
        broken("a pipe is lost twice");
    record->pipe_lost[fd] = true;
    acts(2);
}

static void on_exit_told(void *self, cora_process_transport transport)
{
    struct record *record = told(self, false);
    if (record->exited || cora_is_nothing(cora_process_transport_get_returncode(transport)))
        broken("an exit out of turn");
    record->exited = true;
    acts(2);
}

static void on_lost(void *self, cora_process_transport transport, cora_value error)
{
    struct record *record = told(self, false);
    if (!record->exited || !cora_is_nothing(error))
        broken("lost out of turn");
    record->lost = true;
    if (rarely(2))
        cora_process_transport_close(transport);
    acts(2);
}

static void on_flow(void *self, cora_process_transport transport)
{
    struct record *record = told(self, false);
    (void)transport;
    record->paused = !record->paused;
    acts(1);
}

static void on_drop(void *self)
{
    struct record *record = self;
    if (record->dropped)
        broken("dropped twice");
    record->dropped = true;
    records--;
    acts(1);
    free(record);
}

static const struct cora_subprocess_protocol_type type = {
    .name = "Record",
    .connection_made = on_made,
    .pipe_data_received = on_data,
    .pipe_connection_lost = on_pipe_lost,
    .process_exited = on_exit_told,
    .connection_lost = on_lost,
    .pause_writing = on_flow,
    .resume_writing = on_flow,
    .drop = on_drop,
};

/* ---- calls ---- */

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

static const char *some_command(void)
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
                                            "nothing/there",
                                            ":" };
    return commands[below(sizeof commands / sizeof *commands)];
}

static struct cora_subprocess_options some_options(void)
{
    static const int ends[] = { CORA_SUBPROCESS_PIPE, CORA_SUBPROCESS_PIPE, CORA_SUBPROCESS_PIPE,
                                CORA_SUBPROCESS_DEVNULL };
    struct cora_subprocess_options options = { .in = ends[below(4)],
                                               .out = ends[below(4)],
                                               .start_new_session = rarely(5) };
    options.err = rarely(3) ? CORA_SUBPROCESS_STDOUT : CORA_SUBPROCESS_DEVNULL;
    if (rarely(20))
        options.cwd = "/nowhere";
    return options;
}

static char crates[150000];

static size_t some_size(void)
{
    return rarely(4) ? below(sizeof crates) : below(50);
}

static void act_start(void)
{
    struct cora_subprocess_options options = some_options();
    const char *command = some_command();
    no_pidfd = rarely(8);
    if (rarely(2)) {
        trace("create_subprocess");
        start(cora_create_subprocess_shell(command, &options, below(100)));
        return;
    }
    struct record *record = calloc(1, sizeof *record);
    trace("subprocess");
    records++;
    cora_process_transport made =
        rarely(9) ? cora_subprocess_exec(loop, cora_argv("true"), &options,
                                         (cora_subprocess_protocol){ &type, record })
                  : cora_subprocess_shell(loop, command, &options,
                                          (cora_subprocess_protocol){ &type, record });
    transports[below(TABLE)] = made;
}

static void act_transport(void)
{
    cora_process_transport transport = transports[below(TABLE)];
    cora_transport pipe = cora_process_transport_get_pipe_transport(transport, (int)below(4) - 1);
    static const int numbers[] = { 0, SIGTERM, SIGKILL, SIGSTOP, SIGCONT, 99 };
    char text[300];
    trace("transport");
    switch (below(10)) {
    case 0:
        cora_process_transport_close(transport);
        break;
    case 1:
        cora_process_transport_send_signal(transport, numbers[below(6)]);
        break;
    case 2:
        cora_process_transport_print(transport, text, below(sizeof text));
        break;
    case 3:
        cora_transport_close(pipe);
        break;
    case 4:
        cora_transport_abort(pipe);
        break;
    case 5:
        cora_transport_pause_reading(pipe);
        break;
    case 6:
        cora_transport_resume_reading(pipe);
        break;
    default:
        cora_transport_write(pipe, crates, some_size());
    }
}

static void act_process(void)
{
    cora_process process = processes[below(TABLE)];
    trace("process");
    switch (below(9)) {
    case 0:
        cora_process_close(process);
        break;
    case 1:
        cora_process_send_signal(process, rarely(2) ? SIGTERM : SIGKILL);
        break;
    case 2:
        start(cora_process_wait(process));
        break;
    case 3:
        start(cora_process_communicate(process, cora_bytes(crates, some_size())));
        break;
    case 4:
        start(cora_stream_read(cora_process_stdout(process), (int64_t)below(50) - 1));
        break;
    case 5:
        start(cora_stream_drain(cora_process_stdin(process)));
        break;
    case 6:
        cora_stream_close(cora_process_stdin(process));
        break;
    case 7:
        cora_stream_reader_close(cora_process_stdout(process));
        break;
    default:
        cora_stream_write(cora_process_stdin(process), crates, some_size());
    }
}

static void on_child(cora_args bound, cora_value returncode)
{
    if (cora_is_nothing(returncode))
        broken("no return code");
    pids[cora_as_int(cora_arg_value(bound, 0))] = 0; /* it is reaped */
    acts(2);
}

static void act_child(void)
{
    unsigned at = below(TABLE);
    trace("child");
    if (!pids[at] && (pids[at] = fork()) == 0) {
        usleep(below(3) * 1000);
        _exit(3);
    }
    no_pidfd = rarely(8);
    if (rarely(8) && !host && pids[at] > 0)
        waitpid(pids[at], NULL, WNOHANG);
    else if (rarely(4))
        cora_remove_child_handler(loop, pids[at]);
    else
        cora_add_child_handler(loop, pids[at], cora_partial(on_child, at));
}

static void on_nothing(cora_args bound)
{
    (void)bound;
    acts(2);
}

static void act(void)
{
    static void (*const table[])(void) = { act_start,   act_transport, act_transport, act_transport,
                                           act_process, act_process,   act_process,   act_child };
    if (rarely(20))
        cora_cancel(futures[below(TABLE)]);
    else if (rarely(30))
        cora_call_soon(loop, cora_partial(on_nothing));
    else if (rarely(200) && depth > 0 && host)
        cora_loop_detach(loop);
    else
        table[below(sizeof table / sizeof *table)]();
}

/* ---- episodes ---- */

static void on_stop(cora_args bound)
{
    (void)bound;
    cora_stop(loop);
}

static void run_a_little(void)
{
    if (rarely(3))
        usleep(below(4) * 1000);
    for (unsigned i = 1 + below(4); i > 0; i--) {
        cora_handle stop = host ? (cora_handle){ 0 } : cora_call_soon(loop, cora_partial(on_stop));
        if (host)
            ev_run(host, EVRUN_NOWAIT);
        else if (!cora_is_null(stop))
            cora_run_forever(loop);
    }
}

static void on_report(cora_args bound, cora_loop from, const struct cora_report *report)
{
    (void)bound, (void)from;
    if (tracing)
        fprintf(stderr, "report: %s\n", report->message);
    acts(1);
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (directory && readdir(directory))
        count++;
    if (directory)
        closedir(directory);
    return count;
}

/* Our own children end by themselves; the loop's have ended, if not in a thread's or libev's time.
 */
static void reap_all(bool is_default)
{
    for (size_t i = 0; i < TABLE; i++)
        if (pids[i] > 0)
            waitpid(pids[i], NULL, 0);
    siginfo_t info;
    for (int patience = 0; waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0; patience++) {
        if (is_default)
            ev_run(host, EVRUN_NOWAIT);
        if (patience == 3000)
            broken("a child is left");
        usleep(1000);
    }
}

static void episode(void)
{
    static const char *const backends[] = { NULL, "epoll", "poll", "select" };
    bool is_default = rarely(4);
    host = is_default ? ev_default_loop(EVFLAG_NOENV) : rarely(3) ? ev_loop_new(EVFLAG_AUTO) : NULL;
    unsigned before = open_descriptors();
    size_t live = cora_live_values();
    loop = host ? cora_loop_attach(host, NULL)
                : cora_loop_new(&(struct cora_loop_options){ .backend = backends[below(4)],
                                                             .debug = rarely(4) });
    cora_set_current_loop(loop);
    cora_set_exception_handler(loop, cora_partial(on_report));
    memset(transports, 0, sizeof transports);
    memset(processes, 0, sizeof processes);
    memset(futures, 0, sizeof futures);
    memset(pids, 0, sizeof pids);
    for (uint64_t until = calls + CALLS_PER_EPISODE; calls < until && !cora_is_closed(loop);) {
        for (unsigned i = below(8); i > 0; i--)
            act();
        run_a_little();
    }
    depth = DEEPEST;
    if (host)
        cora_loop_detach(loop);
    else
        cora_loop_close(loop);
    reap_all(is_default);
    depth = 0;
    if (is_default)
        before += open_descriptors() > before; /* libev's own, for signals */
    else if (host)
        ev_loop_destroy(host), before -= open_descriptors() < before;
    cora_drop_temporaries();
    cora_set_last_error(cora_nothing());
    if (records)
        broken("a protocol was not dropped");
    if (open_descriptors() > before)
        broken("a descriptor is open");
    if (cora_live_values() > live)
        broken("a value is held");
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 1;
    uint64_t most = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    struct timespec now, began;
    unsigned episodes = 0;
    clock_gettime(CLOCK_MONOTONIC, &began);
    tracing = getenv("FUZZ_TRACE") != NULL;
    if (seed == 0)
        seed = (uint64_t)began.tv_nsec * 1000003u + (uint64_t)getpid();
    do {
        episode_seed = state = seed;
        alarm(60); /* an episode takes about a second */
        episode();
        seed = random_bits();
        episodes++;
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((double)(now.tv_sec - began.tv_sec) < seconds && (most == 0 || calls < most));
    printf("processes: %" PRIu64 " calls, %" PRIu64 " callbacks, %u episodes\n", calls, callbacks,
           episodes);
    return 0;
}
