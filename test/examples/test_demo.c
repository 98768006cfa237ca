/*
 * The demo, run as a program: what it prints and how it ends, whatever it meets.
 *
 * Most tests are the server that it visits: they accept its connections one after the other and
 * answer as the path says. A page that is never answered holds the demo in the middle of its run.
 */
#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGUMENTS_MAX 40

/* ---- the demo ---- */

struct demo {
    pid_t process;
    int out, err; /* 0: files in memory */
    const char *arguments[ARGUMENTS_MAX];
    size_t count;
    int descriptors; /* its limit; 0: the usual one */
};

static char out[65536], err[65536]; /* what it printed */

static void add(struct demo *demo, const char *argument)
{
    CHECK(demo->count < ARGUMENTS_MAX - 2);
    demo->arguments[++demo->count] = argument;
}

/* Becomes the demo. */
static void demo_exec(struct demo *demo)
{
    char program[4096];
    const char *folder = getenv("OUT");
    snprintf(program, sizeof program, "%s/demo", folder ? folder : "build");
    demo->arguments[0] = program;
    dup2(demo->out, STDOUT_FILENO);
    dup2(demo->err, STDERR_FILENO);
    struct rlimit limit = { (rlim_t)demo->descriptors, (rlim_t)demo->descriptors };
    if (demo->descriptors)
        setrlimit(RLIMIT_NOFILE, &limit);
    execv(program, (char *const *)(uintptr_t)demo->arguments);
    perror(program);
    _exit(127);
}

static void demo_start(struct demo *demo)
{
    if (!demo->out)
        demo->out = memfd_create("out", MFD_CLOEXEC);
    if (!demo->err)
        demo->err = memfd_create("err", MFD_CLOEXEC);
    demo->process = fork();
    CHECK(demo->process >= 0);
    if (demo->process == 0)
        demo_exec(demo);
}

static void read_all(int file, char *text, size_t size)
{
    ssize_t length = pread(file, text, size - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    close(file);
}

/* Waits for its end. Its exit status; what it printed is in out and err. */
static int demo_end(struct demo *demo)
{
    int status = 0;
    CHECK_INT(waitpid(demo->process, &status, 0), demo->process);
    read_all(demo->out, out, sizeof out);
    read_all(demo->err, err, sizeof err);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int demo_run(struct demo *demo)
{
    demo_start(demo);
    return demo_end(demo);
}

/* Whether the output ends in this. */
static bool ends_in(const char *text)
{
    size_t size = strlen(out), length = strlen(text);
    return size >= length && strcmp(out + size - length, text) == 0;
}

/* A line of the table. */
struct row {
    char status[10];
    long long bytes;
    double milliseconds;
    char url[200];
    char reason[200]; /* "" if there is none */
};

/* The row of the URL that ends in this path. */
static struct row row_of(const char *path)
{
    struct row row = { .bytes = 0 };
    char text[sizeof out], *rest;
    memcpy(text, out, sizeof out);
    bool found = false;
    for (char *line = strtok_r(text, "\n", &rest); line && !found;) {
        row = (struct row){ .bytes = 0 };
        int read = sscanf(line, "%9s %lld bytes %lf ms %199s %199[^\n]", row.status, &row.bytes,
                          &row.milliseconds, row.url, row.reason);
        const char *at = read >= 4 ? strstr(row.url, path) : NULL;
        found = at && at[strlen(path)] == '\0';
        line = strtok_r(NULL, "\n", &rest);
    }
    if (!found)
        printf("no row of %s in:\n%s", path, out);
    CHECK(found);
    return row;
}

/* ---- the server ---- */

struct server {
    int socket;
    char url[64]; /* without a path */
};

static struct server server_open(int listening)
{
    struct server server = { .socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    CHECK_INT(bind(server.socket, (struct sockaddr *)&address, size), 0);
    if (listening)
        CHECK_INT(listen(server.socket, 100), 0);
    CHECK_INT(getsockname(server.socket, (struct sockaddr *)&address, &size), 0);
    snprintf(server.url, sizeof server.url, "http://127.0.0.1:%d", ntohs(address.sin_port));
    return server;
}

/* The next visitor, and what it asks for. */
static int server_accept(struct server *server, char path[100])
{
    char request[4096] = "";
    size_t size = 0;
    int visitor = accept4(server->socket, NULL, NULL, SOCK_CLOEXEC);
    CHECK(visitor >= 0);
    while (!strstr(request, "\r\n\r\n")) {
        ssize_t more = recv(visitor, request + size, sizeof request - 1 - size, 0);
        CHECK(more > 0);
        size += (size_t)more;
    }
    CHECK(strstr(request, "\r\nConnection: close\r\n"));
    CHECK_INT(sscanf(request, "GET %99s HTTP/1.1\r\n", path), 1);
    return visitor;
}

/* Sends what the visitor takes, and closes. */
static void answer(int visitor, const char *bytes, size_t size)
{
    for (ssize_t sent; size > 0; bytes += sent, size -= (size_t)sent) {
        sent = send(visitor, bytes, size, MSG_NOSIGNAL);
        if (sent < 0)
            break;
    }
    close(visitor);
}

static void answer_fine(int visitor)
{
    static const char page[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    answer(visitor, page, strlen(page));
}

static void reset(int visitor)
{
    struct linger at_once = { .l_onoff = 1 };
    setsockopt(visitor, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(visitor);
}

/* ---- its own server ---- */

/* Checks the row of one of the demo's own pages: the path says what was to come. */
static void check_own_row(const char *path, const struct row *row)
{
    long long number = 0;
    if (sscanf(path, "/bytes/%lld", &number) == 1) {
        CHECK_INT(row->bytes, number);
    } else if (sscanf(path, "/slow/%lld", &number) == 1) {
        CHECK_INT(row->bytes, 100);
        CHECK(row->milliseconds >= (double)number);
    } else if (strcmp(path, "/broken/status") == 0) {
        CHECK_TEXT(row->reason, "no status line");
        CHECK_TEXT(row->status, "-");
        return;
    } else if (strcmp(path, "/broken/length") == 0) {
        CHECK_TEXT(row->reason, "the body is shorter than promised");
        return;
    } else {
        CHECK_TEXT(path, "/no/such/page");
        CHECK_TEXT(row->status, "404");
        return;
    }
    CHECK_TEXT(row->status, "200");
    CHECK_TEXT(row->reason, "");
}

TEST(own_server, "without a URL it fetches dozens of pages of its own server, each in a line")
{
    struct demo demo = { .count = 0 };
    CHECK_INT(demo_run(&demo), 0);
    CHECK_TEXT(err, "");
    int rows = 0;
    char *rest, *line = strtok_r(out, "\n", &rest);
    for (; strstr(line, "http://"); line = strtok_r(NULL, "\n", &rest), rows++) {
        struct row row = { .bytes = 0 };
        int read = sscanf(line, "%9s %lld bytes %lf ms http://127.0.0.1:%*[0-9]%199s %199[^\n]",
                          row.status, &row.bytes, &row.milliseconds, row.url, row.reason);
        CHECK(read >= 4);
        check_own_row(row.url, &row);
    }
    CHECK(rows >= 24);
    int done = 0, all = 0, failed = 0, left = -1;
    CHECK_INT(sscanf(line, "%d of %d pages, %d failed, %*d bytes, %*f s, handles left %d", &done,
                     &all, &failed, &left), 4);
    CHECK_INT(done, rows);
    CHECK_INT(all, rows);
    CHECK_INT(failed, 2);
    CHECK_INT(left, 0);
    CHECK(!strtok_r(NULL, "\n", &rest));
}

TEST(few_descriptors, "a page for which no descriptor is left says so, and the run still ends")
{
    struct demo demo = { .descriptors = 12 };
    if (harness_under_valgrind())
        SKIP("valgrind keeps the limit to itself");
    add(&demo, "--timeout=0.5");
    CHECK_INT(demo_run(&demo), 0);
    CHECK(strstr(out, "Too many open files\n"));
    CHECK(ends_in("handles left 0\n"));
}

/* ---- what comes from elsewhere ---- */

#define OK "HTTP/1.1 200 OK\r\n"
#define LITERAL(text) text, sizeof(text) - 1

static const struct {
    const char *path;
    const char *bytes;
    size_t size;
    const char *reason;
} hostile[] = {
    { "/fine", LITERAL(OK "\r\nhello"), "" },
    { "/nothing", LITERAL(""), "closed without an answer" },
    { "/junk", LITERAL("\x16\x03\x01\0\0hello"), "no status line" },
    { "/version", LITERAL("HTTP/2 200 OK\r\n\r\n"), "no status line" },
    { "/cut", LITERAL(OK "A: b"), "closed within the header" },
    { "/nul", LITERAL(OK "A: b\0c\r\n\r\n"), "a NUL in the header" },
    { "/name", LITERAL(OK " folded\r\n\r\n"), "a header line without a name" },
    { "/short", LITERAL(OK "Content-Length: 9\r\n\r\nhello"), "the body is shorter than promised" },
    { "/long", LITERAL(OK "Content-Length: 2\r\n\r\nhello"), "the body is longer than promised" },
    { "/word", LITERAL(OK "Content-Length: ten\r\n\r\n"), "Content-Length is not a number" },
    { "/twice", LITERAL(OK "Content-Length: 1\r\nContent-Length: 2\r\n\r\na"),
      "Content-Length is there twice" },
    { "/chunked", LITERAL(OK "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
      "Transfer-Encoding is not supported" },
    { "/interim", LITERAL("HTTP/1.1 100 Continue\r\n\r\n"),
      "an interim response is not supported" },
    { "/large", NULL, 0, "the header is larger than 64 KiB" },
    { "/reset", NULL, 0, "Connection reset by peer" },
    { "/silent", NULL, 0, "timed out" },
};

#define HOSTILE (sizeof hostile / sizeof hostile[0])

/* A head of 70 KiB that does not end. */
static void answer_large(int visitor)
{
    static char head[70000];
    size_t size = (size_t)sprintf(head, OK);
    while (size < sizeof head - 40)
        size += (size_t)sprintf(head + size, "Name: %024d\r\n", 0);
    answer(visitor, head, size);
}

/* Answers one visitor as its path says; one that gets no answer is returned, else -1. */
static int answer_hostile(struct server *server)
{
    char path[100] = "";
    int visitor = server_accept(server, path);
    if (strcmp(path, "/silent") == 0)
        return visitor;
    if (strcmp(path, "/large") == 0)
        answer_large(visitor);
    else if (strcmp(path, "/reset") == 0)
        reset(visitor);
    for (size_t i = 0; i < HOSTILE; i++) {
        if (hostile[i].bytes && strcmp(path, hostile[i].path) == 0)
            answer(visitor, hostile[i].bytes, hostile[i].size);
    }
    return -1;
}

TEST(hostile_server, "whatever a server answers is an outcome in the table")
{
    struct server server = server_open(1);
    struct demo demo = { .count = 0 };
    char urls[HOSTILE][100];
    add(&demo, "--timeout=0.5");
    for (size_t i = 0; i < HOSTILE; i++) {
        snprintf(urls[i], sizeof urls[i], "%s%s", server.url, hostile[i].path);
        add(&demo, urls[i]);
    }
    demo_start(&demo);
    int silent = -1;
    for (size_t i = 0; i < HOSTILE; i++) {
        int visitor = answer_hostile(&server);
        silent = visitor >= 0 ? visitor : silent;
    }
    CHECK_INT(demo_end(&demo), 0);
    close(silent);
    close(server.socket);
    for (size_t i = 0; i < HOSTILE; i++) {
        struct row row = row_of(hostile[i].path);
        CHECK_TEXT(row.reason, hostile[i].reason);
        CHECK_TEXT(row.url, urls[i]);
    }
    CHECK(ends_in("handles left 0\n"));
}

TEST(refused_port, "a port where nobody listens is an outcome: Connection refused")
{
    struct server server = server_open(0);
    struct demo demo = { .count = 0 };
    add(&demo, server.url);
    CHECK_INT(demo_run(&demo), 0);
    close(server.socket);
    CHECK_TEXT(row_of(server.url).reason, "Connection refused");
    CHECK(ends_in("handles left 0\n"));
}

TEST(host_name, "a name that is no address is an outcome of one clear line")
{
    struct demo demo = { .count = 0 };
    add(&demo, "http://www.example.org/");
    CHECK_INT(demo_run(&demo), 0);
    CHECK_TEXT(row_of("http://www.example.org/").reason,
               "host names come with a later version: give a numeric address or localhost");
    CHECK(ends_in("handles left 0\n"));
}

/* Runs the demo on one URL that is answered; its row. */
static struct row fetch_fine(struct server *server, const char *url)
{
    struct demo demo = { .count = 0 };
    char path[100];
    add(&demo, url);
    demo_start(&demo);
    answer_fine(server_accept(server, path));
    CHECK_INT(demo_end(&demo), 0);
    CHECK(ends_in("handles left 0\n"));
    return row_of(url);
}

TEST(localhost, "localhost is a name that it knows")
{
    struct server server = server_open(1);
    char url[100];
    snprintf(url, sizeof url, "http://localhost:%s/", strrchr(server.url, ':') + 1);
    struct row row = fetch_fine(&server, url);
    close(server.socket);
    CHECK_TEXT(row.status, "200");
    CHECK_INT(row.bytes, 5);
}

TEST(ipv6, "an IPv6 address is given in brackets")
{
    struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    socklen_t size = sizeof address;
    struct server server = { .socket = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    if (server.socket < 0 || bind(server.socket, (struct sockaddr *)&address, size) < 0)
        SKIP("no IPv6 here");
    CHECK_INT(listen(server.socket, 1), 0);
    CHECK_INT(getsockname(server.socket, (struct sockaddr *)&address, &size), 0);
    char url[100];
    snprintf(url, sizeof url, "http://[::1]:%d/", ntohs(address.sin6_port));
    struct row row = fetch_fine(&server, url);
    close(server.socket);
    CHECK_TEXT(row.status, "200");
}

TEST(concurrency, "so many pages are fetched at a time; each that ends lets the next one start")
{
    struct server server = server_open(1);
    struct demo demo = { .count = 0 };
    char path[100];
    int visitors[3];
    add(&demo, "--concurrency=2");
    for (int i = 0; i < 3; i++)
        add(&demo, server.url);
    demo_start(&demo);
    visitors[0] = server_accept(&server, path);
    visitors[1] = server_accept(&server, path);
    struct pollfd third = { .fd = server.socket, .events = POLLIN };
    CHECK_INT(poll(&third, 1, 0), 0);
    answer_fine(visitors[0]);
    visitors[2] = server_accept(&server, path);
    answer_fine(visitors[1]);
    answer_fine(visitors[2]);
    CHECK_INT(demo_end(&demo), 0);
    close(server.socket);
    CHECK(strstr(out, "3 of 3 pages, 0 failed, 15 bytes, "));
    CHECK(ends_in("handles left 0\n"));
}

/* ---- Ctrl-C, arguments, terminal ---- */

TEST(interrupt, "Ctrl-C ends it with status 130, after the table so far and a clean summary")
{
    struct server server = server_open(1);
    struct demo demo = { .count = 0 };
    char first[100], second[100], path[100];
    snprintf(first, sizeof first, "%s/first", server.url);
    snprintf(second, sizeof second, "%s/second", server.url);
    add(&demo, "--concurrency=1");
    add(&demo, first);
    add(&demo, second);
    demo_start(&demo);
    answer_fine(server_accept(&server, path));
    int visitor = server_accept(&server, path);
    kill(demo.process, SIGINT);
    CHECK_INT(demo_end(&demo), 130);
    close(visitor);
    close(server.socket);
    CHECK_TEXT(row_of("/first").status, "200");
    CHECK(!strstr(out, "/second"));
    CHECK(strstr(out, "interrupted: 1 of 2 pages, 0 failed, 5 bytes, "));
    CHECK(ends_in("handles left 0\n"));
    CHECK_TEXT(err, "");
}

TEST(bad_arguments, "a bad argument is one clear line on stderr, and exit status 2")
{
    const char *bad[] = {
        "--what",           "--concurrency",    "--concurrency=0",     "--concurrency=x",
        "--concurrency=-1", "--concurrency=",   "--concurrency=1e9",   "--timeout=0",
        "--timeout=nan",    "--timeout=1s",     "--timeout=inf",       "--help=me",
        "https://host/",    "host",             "",                    "http://",
        "http://host:0/",   "http://host/a b",  "http://host/\r\nA: b", "http://user@host/",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct demo demo = { .count = 0 };
        add(&demo, bad[i]);
        CHECK_INT(demo_run(&demo), 2);
        CHECK_TEXT(out, "");
        CHECK(strlen(err) > 10);
        CHECK_INT(strcspn(err, "\n"), strlen(err) - 1);
    }
}

TEST(full_disk, "a table that cannot be written is a failure: exit status 1")
{
    struct demo demo = { .count = 0 };
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (full < 0)
        SKIP("no /dev/full here");
    demo.out = full;
    add(&demo, "http://host/");
    CHECK_INT(demo_run(&demo), 1);
    CHECK_TEXT(err, "demo: No space left on device\n");
}

TEST(help, "--help prints the options and ends with 0")
{
    struct demo demo = { .count = 0 };
    add(&demo, "--help");
    CHECK_INT(demo_run(&demo), 0);
    CHECK(strstr(out, "Usage: demo [options] [http://URL ...]\n"));
    CHECK(strstr(out, "--concurrency N"));
    CHECK(strstr(out, "--timeout S"));
}

/* A new terminal; its other end is what the demo writes to. */
static int terminal_open(int *ret_other)
{
    int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    char name[100];
    if (terminal < 0 || grantpt(terminal) < 0 || unlockpt(terminal) < 0)
        SKIP("no pseudo-terminal here");
    CHECK_INT(ptsname_r(terminal, name, sizeof name), 0);
    *ret_other = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK(*ret_other >= 0);
    return terminal;
}

/* Reads from the terminal up to this text; into err. */
static void terminal_read_until(int terminal, const char *text)
{
    size_t size = 0;
    for (err[0] = '\0'; !strstr(err, text); err[size] = '\0') {
        ssize_t more = read(terminal, err + size, sizeof err - 1 - size);
        CHECK(more > 0);
        size += (size_t)more;
    }
}

TEST(progress, "on a terminal a line tells the progress, overwrites itself, and is gone at the end")
{
    struct server server = server_open(1);
    struct demo demo = { .count = 0 };
    char path[100];
    int terminal = terminal_open(&demo.err);
    add(&demo, "--concurrency=1");
    add(&demo, server.url);
    add(&demo, server.url);
    demo_start(&demo);
    int visitor = server_accept(&server, path);
    terminal_read_until(terminal, "\r\033[K0 of 2 pages, 0 bytes");
    answer_fine(visitor);
    visitor = server_accept(&server, path);
    terminal_read_until(terminal, "\r\033[K1 of 2 pages, 5 bytes");
    answer_fine(visitor);
    int status = 0;
    CHECK_INT(waitpid(demo.process, &status, 0), demo.process);
    terminal_read_until(terminal, "\r\033[K");
    CHECK_INT(status, 0);
    read_all(demo.out, out, sizeof out);
    close(demo.err);
    close(terminal);
    close(server.socket);
    CHECK(ends_in("handles left 0\n"));
}
