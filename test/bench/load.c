/* Drives a server of W7 or W8 and measures it from outside.
 *
 *   load echo PHASE SUBJECT BYTES CONNECTIONS REQUESTS SERVER...   processor time of an echo
 *   load lone PHASE SUBJECT BYTES CONNECTIONS REQUESTS SERVER...   one that speaks among idle ones
 *   load http PHASE SUBJECT 0 CONNECTIONS REQUESTS SERVER...       the same of an HTTP request
 *   load idle PHASE SUBJECT BYTES CONNECTIONS 0 SERVER...          memory of an idle connection
 *   load wrk PHASE SUBJECT SECONDS CONNECTIONS REQUESTS SERVER...  HTTP requests by wrk
 *
 * How it works: the server is a child that prints its port and its process.  Requests go in rounds:
 * one on each connection, then all answers are read.  So the server finds the same work in each
 * poll, whichever subject it is, and no more than one request a connection is ever on its way.
 * Before the measured rounds come as many for warming up; in the first of them each answer is
 * compared.  A result line has the form of bench.c's: phase, subject, n, ns or bytes for each,
 * calls to malloc for each.  The latter are counted if BENCH_PRELOAD names the library that does.
 *
 * Both processes stay on one core, since waking another one is slow and varies on virtual machines,
 * and both run as batch jobs: who is woken waits until the other has nothing to do.  So a round is
 * one burst of requests and one of answers, and the scheduler makes no difference between subjects.
 *
 * The time is the processor clock of the server's process, of all its threads, in nanoseconds; it
 * is the sum of user and system time that getrusage tells.  What the kernel does for a send up to
 * the peer's socket is in it, for the answers here and for the requests there.
 *
 * In the end the server is killed first, and then its connections are reset: it never sees them
 * close, and no port stays taken. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE 60   /* seconds until an answer must have come, under valgrind, too */
#define LARGEST 65536 /* bytes of a request or an answer */
#define SPARE 100     /* descriptors that a server needs for itself */
#define GROUP 50      /* connections that are opened before they are used: no queue overflows */
#define CLK_PROCESS(pid) ((~(clockid_t)(pid)) * 8 + 2) /* as clock_getcpuclockid makes it */

static const char *phase, *subject;

/* The server. */
static struct {
    pid_t child; /* it, or what runs it; 0 when there is none */
    pid_t pid;
    int port;
    atomic_ulong *allocations; /* shared with it; NULL when nobody counts */
} server;

/* The connections. */
static struct {
    size_t count; /* those that are open */
    int *sockets;
    size_t *received; /* bytes of the answer, for each */
    int epoll;
    char request[LARGEST];
    size_t request_size;
    char answer[LARGEST]; /* what is expected */
    size_t answer_size;   /* 0 until the first HTTP answer told */
} load;

static void kill_server(void)
{
    if (server.child == 0)
        return;
    if (server.pid != 0)
        kill(server.pid, SIGTERM);
    else
        kill(server.child, SIGKILL);
    waitpid(server.child, NULL, 0);
    server.child = 0;
}

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", subject, what);
    kill_server();
    exit(2);
}

static _Noreturn void fail_errno(const char *what)
{
    char text[200];

    snprintf(text, sizeof text, "%s: %s", what, strerror(errno));
    fail(text);
}

static double number(const char *text, double least)
{
    char *end;
    double value = strtod(text, &end);

    if (*end != '\0' || value < least)
        fail("a number is wrong");
    return value;
}

/* The place to run, which children inherit. */

/* Raises the limit of descriptors.  Returns whether so many connections can be open. */
static bool can_open(size_t connections)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur >= connections + SPARE;
}

/* The last core the process may use; the first one often serves the machine's interrupts. */
static void stay_on_one_core(void)
{
    struct sched_param none = { 0 };
    cpu_set_t cores, one;
    size_t core = CPU_SETSIZE - 1;

    sched_getaffinity(0, sizeof cores, &cores);
    while (core > 0 && !CPU_ISSET(core, &cores))
        core--;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    sched_setaffinity(0, sizeof one, &one);
    sched_setscheduler(0, SCHED_BATCH, &none);
}

/* The server's process. */

/* Makes the count that the server's library writes, and tells children where it is. */
static void share_allocations(void)
{
    char text[16];

    int descriptor = memfd_create("allocations", 0);
    if (descriptor < 0 || ftruncate(descriptor, sizeof *server.allocations) != 0)
        fail_errno("memfd_create");
    server.allocations =
        mmap(NULL, sizeof *server.allocations, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (server.allocations == MAP_FAILED)
        fail_errno("mmap");
    snprintf(text, sizeof text, "%d", descriptor);
    setenv("BENCH_ALLOCATIONS", text, 1);
}

static void start_server(char **command)
{
    const char *library = getenv("BENCH_PRELOAD");
    int pipes[2];
    char line[64];

    if (library != NULL)
        share_allocations();
    if (pipe(pipes) != 0)
        fail_errno("pipe");
    server.child = fork();
    if (server.child < 0)
        fail_errno("fork");
    if (server.child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (library != NULL)
            setenv("LD_PRELOAD", library, 1);
        dup2(pipes[1], STDOUT_FILENO);
        close(pipes[0]);
        close(pipes[1]);
        execvp(command[0], command);
        perror(command[0]);
        _exit(2);
    }
    close(pipes[1]);
    FILE *output = fdopen(pipes[0], "r");
    if (output == NULL || fgets(line, sizeof line, output) == NULL ||
        sscanf(line, "%d %d", &server.port, &server.pid) != 2)
        fail("the server does not start");
    fclose(output);
}

static double server_seconds(void)
{
    struct timespec time;

    if (clock_gettime(CLK_PROCESS(server.pid), &time) != 0)
        fail_errno("the server's clock");
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Its resident memory in bytes.  The sum over its mappings is exact; the figure in its status may
 * be off by some hundred kilobytes. */
static size_t server_memory(void)
{
    char path[64], line[128];
    size_t kib = 0;

    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)server.pid);
    FILE *status = fopen(path, "r");
    if (status == NULL)
        fail_errno(path);
    while (fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, "Rss:", 4) == 0)
            kib = strtoul(line + 4, NULL, 10);
    fclose(status);
    return kib * 1024;
}

/* Requests and answers. */

static void prepare_echo(size_t bytes)
{
    if (bytes == 0 || bytes > LARGEST)
        fail("a number is wrong");
    for (size_t i = 0; i < bytes; i++)
        load.request[i] = (char)('a' + i % 26);
    memcpy(load.answer, load.request, bytes);
    load.request_size = load.answer_size = bytes;
}

static void prepare_http(void)
{
    int size = snprintf(load.request, sizeof load.request,
                        "GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", server.port);
    load.request_size = (size_t)size;
}

/* The whole size of an HTTP answer, once its header is there; before, 0. */
static size_t http_size(char *text)
{
    char *body = strstr(text, "\r\n\r\n");
    char *length = strcasestr(text, "Content-Length:");

    if (strncmp(text, "HTTP/1.1 200 ", 13) != 0)
        fail("the server does not answer 200");
    if (body == NULL)
        return 0;
    if (length == NULL || length > body)
        fail("an answer without its length");
    return (size_t)(body + 4 - text) + strtoul(length + 15, NULL, 10);
}

/* Asks once for a page and so learns how long it is: all have the same length. */
static void learn_answer(int descriptor)
{
    size_t size = 0;

    while (load.answer_size == 0 || size < load.answer_size) {
        ssize_t got = recv(descriptor, load.answer + size, sizeof load.answer - 1 - size, 0);
        if (got <= 0)
            fail("no answer to the first request");
        size += (size_t)got;
        load.answer[size] = '\0';
        load.answer_size = http_size(load.answer);
    }
}

static void send_request(size_t i)
{
    ssize_t sent =
        send(load.sockets[i], load.request, load.request_size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent != (ssize_t)load.request_size)
        fail_errno("a request does not go out");
    load.received[i] = 0;
}

/* Takes what is there of an answer.  Returns true when it is all there. */
static bool take_answer(size_t i, bool compare)
{
    static char buffer[LARGEST];
    size_t had = load.received[i];
    ssize_t got = recv(load.sockets[i], buffer + had, load.answer_size - had + (compare ? 1 : 0),
                       MSG_DONTWAIT);

    if (got < 0 && errno == EAGAIN)
        return false;
    if (got <= 0)
        fail("the server hung up");
    if (compare && memcmp(buffer + had, load.answer + had, (size_t)got) != 0)
        fail("a wrong answer");
    load.received[i] = had + (size_t)got;
    return load.received[i] >= load.answer_size;
}

/* One request on each connection from the first to before the last, and all their answers. */
static void run_round(size_t first, size_t last, bool compare)
{
    static struct epoll_event events[1024];
    size_t waiting = last - first;

    for (size_t i = first; i < last; i++)
        send_request(i);
    while (waiting > 0) {
        int count = epoll_wait(load.epoll, events, 1024, PATIENCE * 1000);
        if (count == 0)
            fail("the server does not answer");
        for (int i = 0; i < count; i++)
            waiting -= take_answer(events[i].data.u64, compare);
    }
}

static void run_rounds(size_t first, size_t last, size_t rounds)
{
    while (rounds-- > 0)
        run_round(first, last, false);
}

static void open_one(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)server.port) };
    struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.u64 = load.count };
    struct linger reset = { .l_onoff = 1 };
    int one = 1;
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (descriptor < 0 || connect(descriptor, (struct sockaddr *)&address, sizeof address) != 0)
        fail_errno("connect");
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (load.answer_size == 0) {
        load.sockets[0] = descriptor;
        send_request(0);
        learn_answer(descriptor);
    }
    if (epoll_ctl(load.epoll, EPOLL_CTL_ADD, descriptor, &event) != 0)
        fail_errno("epoll_ctl");
    load.sockets[load.count++] = descriptor;
}

/* Opens connections up to so many, each of which sends one request: then the server has it. */
static void open_connections(size_t count)
{
    while (load.count < count) {
        size_t first = load.count;
        while (load.count < count && load.count - first < GROUP)
            open_one();
        run_round(first, load.count, load.request_size == load.answer_size);
    }
}

/* Ends all connections in good order; the server closes its side, too. */
static void hang_up(void)
{
    struct timeval patience = { .tv_sec = PATIENCE };
    char byte;

    for (size_t i = 0; i < load.count; i++)
        shutdown(load.sockets[i], SHUT_WR);
    for (; load.count > 0; load.count--) {
        int descriptor = load.sockets[load.count - 1];
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (recv(descriptor, &byte, 1, 0) != 0)
            fail("the server does not hang up");
        close(descriptor);
    }
}

static void reset_connections(void)
{
    while (load.count > 0)
        close(load.sockets[--load.count]);
}

/* Servers live with connections that come and go: one that never saw any go may use its memory in
 * another way.  (The C library stops to map each large piece by itself when it got one back whole,
 * as it does at the end of a connection: asyncio takes a third of the time from then on.) */
static void come_and_go(size_t connections)
{
    open_connections(connections < GROUP ? connections : GROUP);
    hang_up();
}

static void *array(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (memory == NULL)
        fail("out of memory");
    return memory;
}

/* The measures. */

static void print_line(const char *suffix, size_t n, double each, double allocations)
{
    printf("%s%s\t%s\t%zu\t%.3f\t", phase, suffix, subject, n, each);
    if (server.allocations == NULL)
        printf("-\n");
    else
        printf("%.4f\n", allocations);
}

static unsigned long allocations_now(void)
{
    return server.allocations == NULL ? 0 : atomic_load(server.allocations);
}

/* On all connections, or on the one in the middle while the others say nothing. */
static void measure_requests(size_t connections, size_t requests, bool lone)
{
    size_t first = lone ? connections / 2 : 0;
    size_t last = lone ? first + 1 : connections;
    size_t rounds = (requests + last - first - 1) / (last - first);

    come_and_go(connections);
    open_connections(connections);
    run_rounds(first, last, rounds);

    double started = server_seconds();
    unsigned long allocations = allocations_now();
    run_rounds(first, last, rounds);
    double n = (double)(rounds * (last - first));
    print_line("", rounds * (last - first), (server_seconds() - started) * 1e9 / n,
               (double)(allocations_now() - allocations) / n);
}

/* Each connection has echoed once and then waits.  What the server takes once, for its first
 * connections, does not count. */
static void measure_memory(size_t connections)
{
    size_t before = connections / 20;

    come_and_go(connections);
    open_connections(before);
    size_t memory = server_memory();
    open_connections(connections);
    server.allocations = NULL;
    print_line("", connections, (double)(server_memory() - memory) / (double)(connections - before),
               0.0);
}

/* Runs wrk, which inherits the core.  Returns its number of requests and how many it does a
 * second. */
static size_t run_wrk(size_t connections, size_t seconds, double *ret_rate)
{
    char command[200], line[200];
    size_t requests = 0;

    snprintf(command, sizeof command, "wrk -t1 -c%zu -d%zus http://127.0.0.1:%d/ 2>&1", connections,
             seconds, server.port);
    FILE *output = popen(command, "r");
    if (output == NULL)
        fail_errno("popen");
    *ret_rate = 0.0;
    while (fgets(line, sizeof line, output) != NULL) {
        sscanf(line, " %zu requests in", &requests);
        sscanf(line, "Requests/sec: %lf", ret_rate);
        if (strstr(line, "Non-2xx") != NULL || strstr(line, "Socket errors") != NULL)
            fail(line);
    }
    if (pclose(output) != 0 || requests == 0 || *ret_rate <= 0.0)
        fail("wrk fails");
    return requests;
}

/* wrk opens connections of its own, so the calls to malloc are counted before, with ours. */
static void measure_wrk(size_t connections, size_t seconds, size_t requests)
{
    size_t rounds = (requests + connections - 1) / connections;
    double rate;

    come_and_go(connections);
    open_connections(connections);
    run_rounds(0, load.count, rounds);
    unsigned long allocations = allocations_now();
    run_rounds(0, load.count, rounds);
    allocations = allocations_now() - allocations;
    hang_up();

    double started = server_seconds();
    size_t done = run_wrk(connections, seconds, &rate);
    print_line("", done, (server_seconds() - started) * 1e9 / (double)done,
               (double)allocations / (double)(rounds * connections));
    server.allocations = NULL;
    print_line(".rate", done, rate, 0.0);
}

int main(int argc, char **argv)
{
    if (argc < 8) {
        fprintf(stderr,
                "usage: load echo|lone|http|idle|wrk PHASE SUBJECT BYTES|SECONDS CONNECTIONS "
                "REQUESTS SERVER...\n");
        return 2;
    }
    phase = argv[2];
    subject = argv[3];
    size_t size = (size_t)number(argv[4], 0);
    size_t connections = (size_t)number(argv[5], 1);
    size_t requests = (size_t)number(argv[6], 0);

    if (!can_open(connections))
        fail("too few descriptors (ulimit -n)");
    stay_on_one_core();
    start_server(argv + 7);
    load.sockets = array(connections, sizeof *load.sockets);
    load.received = array(connections, sizeof *load.received);
    load.epoll = epoll_create1(EPOLL_CLOEXEC);

    if (strcmp(argv[1], "echo") == 0) {
        prepare_echo(size);
        measure_requests(connections, requests, false);
    } else if (strcmp(argv[1], "lone") == 0) {
        prepare_echo(size);
        measure_requests(connections, requests, true);
    } else if (strcmp(argv[1], "http") == 0) {
        prepare_http();
        measure_requests(connections, requests, false);
    } else if (strcmp(argv[1], "idle") == 0) {
        prepare_echo(size);
        measure_memory(connections);
    } else {
        prepare_http();
        measure_wrk(connections, size, requests);
    }
    kill_server();
    reset_connections();
    return 0;
}
