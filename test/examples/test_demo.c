/*
 * The demo, run as a program: what it prints and how it ends, whatever it meets.
 *
 * Most tests are the site that it crawls: they accept its connections one after the other and
 * answer as the path says. A page that is never answered holds the demo in the middle of its run.
 * The pages of its own server are known from that server's source.
 */
#include "harness.h"

#include "docs/examples/callbacks/demo/server.c"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define ARGUMENTS_MAX 40
#ifndef PROGRAM
#define PROGRAM "demo"
#endif

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
    snprintf(program, sizeof program, "%s/" PROGRAM, folder ? folder : "build");
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

/* ---- the site ---- */

struct site {
    int socket;
    char url[64]; /* without a path */
};

static struct site site_open(int listening)
{
    struct site site = { .socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    CHECK_INT(bind(site.socket, (struct sockaddr *)&address, size), 0);
    if (listening)
        CHECK_INT(listen(site.socket, 100), 0);
    CHECK_INT(getsockname(site.socket, (struct sockaddr *)&address, &size), 0);
    snprintf(site.url, sizeof site.url, "http://127.0.0.1:%d", ntohs(address.sin_port));
    return site;
}

/* Starts the demo at this page of the site. */
static void demo_start_at(struct demo *demo, const struct site *site, const char *path)
{
    char url[200];
    snprintf(url, sizeof url, "%s%s", site->url, path);
    add(demo, url);
    demo_start(demo);
    demo->count--; /* the text ends with this function */
}

/* The next visitor, and what it asks for. */
static int site_accept(struct site *site, char path[100])
{
    char request[4096] = "";
    size_t size = 0;
    int visitor = accept4(site->socket, NULL, NULL, SOCK_CLOEXEC);
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

/* Answers with this status, fields (each with its line's end) and HTML. */
static void answer_with(int visitor, const char *status, const char *fields, const char *html)
{
    char text[1000];
    int size = snprintf(text, sizeof text, "HTTP/1.1 %s\r\nContent-Type: text/html\r\n%s\r\n%s",
                        status, fields, html);
    answer(visitor, text, (size_t)size);
}

static void answer_fine(int visitor)
{
    answer_with(visitor, "200 OK", "Content-Length: 5\r\n", "hello");
}

static void reset(int visitor)
{
    struct linger at_once = { .l_onoff = 1 };
    setsockopt(visitor, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(visitor);
}

/* ---- its own server ---- */

/* A line of the table by outcome; false for another line. */
static bool read_outcome(const char *line, char ret_outcome[20], int *ret_pages)
{
    double seconds;
    if (strlen(line) < 19 || sscanf(line + 18, "%d %*d %*d %lf s", ret_pages, &seconds) != 2)
        return false;
    snprintf(ret_outcome, 20, "%.18s", line);
    for (size_t size = 18; size > 0 && ret_outcome[size - 1] == ' '; size--)
        ret_outcome[size - 1] = '\0';
    return true;
}

/* How many pages the server means to end so. */
static int pages_meant(const char *outcome)
{
    size_t pages = 0;
    for (size_t i = 0; i < KINDS; i++)
        pages += strcmp(kinds[i].meaning, outcome) == 0 ? kinds[i].pages : 0;
    return (int)pages;
}

TEST(own_server, "without a URL it crawls its own server, whose 200 pages end as they are meant to")
{
    struct demo demo = { .count = 0 };
    CHECK_INT(demo_run(&demo), 0);
    CHECK_TEXT(err, "");
    int pages = 0, all = 0, most = 0, retries = 0, failed = 0;
    double waited = 0, seconds = 0, memory = 0;
    char outcome[20], *rest, *line = strtok_r(out, "\n", &rest);
    CHECK_TEXT(line, "outcome             pages  tries      bytes    waited");
    while (read_outcome(line = strtok_r(NULL, "\n", &rest), outcome, &pages)) {
        CHECK_INT(pages, pages_meant(outcome));
        all += pages;
    }
    CHECK_INT(all, SERVER_PAGES);
    CHECK_TEXT(line, "200 of 200 pages ended as their server meant it");
    CHECK_INT(sscanf(strtok_r(NULL, "\n", &rest),
                     "waited %lf s in %lf s, most in flight %d, %d retries, peak memory %lf MB",
                     &waited, &seconds, &most, &retries, &memory),
              5);
    CHECK(waited > seconds);
    CHECK_INT(most, 20);
    CHECK(retries >= 2 * (pages_meant("timed out") + pages_meant("reset") + 12));
    CHECK(memory > 1);
    line = strtok_r(NULL, "\n", &rest);
    CHECK_INT(sscanf(line, "200 of 200 pages, %d failed, %*d bytes, %*f s, handles left", &failed),
              1);
    CHECK_INT(failed, 200 - pages_meant("ok") - pages_meant("redirected"));
    CHECK(strstr(line, "handles left 0"));
    CHECK(!strtok_r(NULL, "\n", &rest));
}

TEST(workers, "with --workers its links are looked for in other processes, and all ends the same")
{
    struct demo demo = { .count = 0 };
    add(&demo, "--workers=2");
    CHECK_INT(demo_run(&demo), 0);
    CHECK_TEXT(err, "");
    CHECK(strstr(out, "\n200 of 200 pages ended as their server meant it\n"));
    CHECK(ends_in("handles left 0\n"));
}

TEST(page_list, "--pages lists the pages, each once; with a concurrency of 1 in the order found")
{
    struct demo demo = { .count = 0 };
    bool seen[SERVER_PAGES] = { false };
    int rows = 0;
    add(&demo, "--pages");
    add(&demo, "--concurrency=1");
    add(&demo, "--limit=40");
    CHECK_INT(demo_run(&demo), 0);
    CHECK(strstr(out, "most in flight 1, 0 retries, "));
    CHECK(strstr(out, "\n40 of 40 pages (the limit), 0 failed, "));
    CHECK(ends_in("handles left 0\n"));
    char *rest, *line = strtok_r(out, "\n", &rest);
    for (; strstr(line, "http://"); line = strtok_r(NULL, "\n", &rest), rows++) {
        char path[100];
        size_t page = 0;
        CHECK_INT(sscanf(line, " 200 %*d bytes %*f ms http://127.0.0.1:%*[0-9]%99s", path), 1);
        CHECK(page_find(path, &page));
        CHECK(!seen[page]);
        CHECK(rows > 0 || page == 0);
        seen[page] = true;
    }
    CHECK_INT(rows, 40);
}

TEST(not_as_meant, "exit status 1 if a page of its own server ends as it is not meant to")
{
    struct demo demo = { .count = 0 };
    add(&demo, "--size=300");
    CHECK_INT(demo_run(&demo), 1);
    CHECK(strstr(out, "/quick/1: too large, not ok\n"));
    CHECK(strstr(out, "\n1 of 200 pages ended as their server meant it\n"));
    CHECK(ends_in("handles left 0\n"));
}

TEST(few_descriptors, "pages for which no descriptor is left say so, and the run still ends")
{
    struct demo demo = { .descriptors = 12 };
    if (harness_under_valgrind())
        SKIP("valgrind keeps the limit to itself");
    add(&demo, "--pages");
    CHECK_INT(demo_run(&demo), 1);
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
static int answer_hostile(struct site *site)
{
    char path[100] = "";
    int visitor = site_accept(site, path);
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
    struct site site = site_open(1);
    struct demo demo = { .count = 0 };
    char urls[HOSTILE][100];
    add(&demo, "--timeout=0.5");
    add(&demo, "--retries=0");
    for (size_t i = 0; i < HOSTILE; i++) {
        snprintf(urls[i], sizeof urls[i], "%s%s", site.url, hostile[i].path);
        add(&demo, urls[i]);
    }
    demo_start(&demo);
    int silent = -1;
    for (size_t i = 0; i < HOSTILE; i++) {
        int visitor = answer_hostile(&site);
        silent = visitor >= 0 ? visitor : silent;
    }
    CHECK_INT(demo_end(&demo), 0);
    close(silent);
    close(site.socket);
    for (size_t i = 0; i < HOSTILE; i++) {
        struct row row = row_of(hostile[i].path);
        CHECK_TEXT(row.reason, hostile[i].reason);
        CHECK_TEXT(row.url, urls[i]);
    }
    CHECK(ends_in("handles left 0\n"));
}

TEST(refused_port, "a port where nobody listens is an outcome: Connection refused")
{
    struct site site = site_open(0);
    struct demo demo = { .count = 0 };
    demo_start_at(&demo, &site, "/refused");
    CHECK_INT(demo_end(&demo), 0);
    close(site.socket);
    CHECK_TEXT(row_of("/refused").reason, "Connection refused");
    CHECK(ends_in("handles left 0\n"));
}

TEST(no_name, "a host that cannot be a name is an outcome of one clear line")
{
    struct demo demo = { .count = 0 };
    add(&demo, "http://port..harbour/");
    CHECK_INT(demo_run(&demo), 0);
    CHECK(strstr(row_of("http://port..harbour/").reason, "label of 0 bytes"));
    CHECK(ends_in("handles left 0\n"));
}

/* Runs the demo on one URL that is answered; its row. */
static struct row fetch_fine(struct site *site, const char *url)
{
    struct demo demo = { .count = 0 };
    char path[100];
    add(&demo, url);
    demo_start(&demo);
    answer_fine(site_accept(site, path));
    CHECK_INT(demo_end(&demo), 0);
    CHECK(ends_in("handles left 0\n"));
    return row_of(url);
}

TEST(host_name, "a host may be a name, which is looked up")
{
    if (!harness_file_says("/etc/hosts", "localhost"))
        SKIP("this system does not know localhost by itself");
    struct site site = site_open(1);
    char url[100];
    snprintf(url, sizeof url, "http://localhost:%s/", strrchr(site.url, ':') + 1);
    struct row row = fetch_fine(&site, url);
    close(site.socket);
    CHECK_TEXT(row.status, "200");
    CHECK_INT(row.bytes, 5);
}

TEST(ipv6, "an IPv6 address is given in brackets")
{
    struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    socklen_t size = sizeof address;
    struct site site = { .socket = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    if (site.socket < 0 || bind(site.socket, (struct sockaddr *)&address, size) < 0)
        SKIP("no IPv6 here");
    CHECK_INT(listen(site.socket, 1), 0);
    CHECK_INT(getsockname(site.socket, (struct sockaddr *)&address, &size), 0);
    char url[100];
    snprintf(url, sizeof url, "http://[::1]:%d/", ntohs(address.sin6_port));
    struct row row = fetch_fine(&site, url);
    close(site.socket);
    CHECK_TEXT(row.status, "200");
}

/* ---- crawling ---- */

/* The demo is to end with this status, and the site to have no more visitors. */
static void check_end(struct demo *demo, struct site *site, int status)
{
    struct pollfd more = { .fd = site->socket, .events = POLLIN };
    CHECK_INT(demo_end(demo), status);
    CHECK_INT(poll(&more, 1, 0), 0);
    close(site->socket);
    CHECK(ends_in("handles left 0\n"));
    CHECK_TEXT(err, "");
}

/* The next visitor asks for this path. */
static int accept_for(struct site *site, const char *expected)
{
    char path[100];
    int visitor = site_accept(site, path);
    CHECK_TEXT(path, expected);
    return visitor;
}

TEST(each_once, "each page is visited once, however it is linked to, and on its own host only")
{
    struct site site = site_open(1);
    struct demo demo = { .count = 0 };
    add(&demo, "--concurrency=1");
    demo_start_at(&demo, &site, "/");
    answer_with(accept_for(&site, "/"), "200 OK", "",
                "<a href=/a/b>b</a> <A class='x' HREF = \"moved\">c</A> <a href='/a/../a/./b#top'>"
                "<a href='http://127.0.0.2/else'><a href='https://127.0.0.1/'><a href='mailto:x'>"
                "<!-- <a href='/comment'> --> <a href=''> <a href=\"?q=1&amp;r=2\">");
    answer_with(accept_for(&site, "/a/b"), "200 OK", "", "<a href=c> <a href=/moved> <a href=.>");
    answer_with(accept_for(&site, "/moved"), "301 Moved", "Location: /a/c\r\n", "<a href=/no>");
    answer_with(accept_for(&site, "/?q=1&r=2"), "404 Not Found", "", "<a href=/no>");
    answer_with(accept_for(&site, "/a/c"), "200 OK", "", "<a href='//127.0.0.1/other/port'>");
    answer_with(accept_for(&site, "/a/"), "500 Broken", "Location: /no\r\n", "");
    for (int i = 0; i < 2; i++)
        answer_with(accept_for(&site, "/a/"), "500 Broken", "Location: /no\r\n", "");
    check_end(&demo, &site, 0);
    CHECK(strstr(out, "6 of 6 pages, 2 failed, "));
    CHECK_TEXT(row_of("/moved").reason, "redirected");
    CHECK_TEXT(row_of("/a/c").reason, "");
    CHECK_TEXT(row_of("/a/").reason, "HTTP error");
    CHECK_TEXT(row_of("/?q=1&r=2").reason, "not found");
}

TEST(retries, "a page that fails is tried again: one row, and the number of retries")
{
    struct site site = site_open(1);
    struct demo demo = { .count = 0 };
    add(&demo, "--backoff=0.01");
    add(&demo, "--retries=3");
    demo_start_at(&demo, &site, "/flaky");
    answer_with(accept_for(&site, "/flaky"), "503 Not Now", "", "");
    reset(accept_for(&site, "/flaky"));
    answer_fine(accept_for(&site, "/flaky"));
    check_end(&demo, &site, 0);
    CHECK_TEXT(row_of("/flaky").status, "200");
    CHECK(row_of("/flaky").milliseconds >= 30);
    CHECK(strstr(out, ", 2 retries, "));
    CHECK(strstr(out, "1 of 1 pages, 0 failed, 5 bytes, "));
}

TEST(no_retry, "what would be the same again is not tried again")
{
    struct site site = site_open(1);
    struct demo demo = { .count = 0 };
    demo_start_at(&demo, &site, "/");
    answer(accept_for(&site, "/"), "hello", 5);
    check_end(&demo, &site, 0);
    CHECK(strstr(out, ", 0 retries, "));
}

TEST(redirects, "five redirects are followed one after the other, the sixth is not")
{
    struct site site = site_open(1);
    struct demo demo = { .count = 0 };
    char path[100], location[100];
    demo_start_at(&demo, &site, "/0");
    for (int i = 0; i <= 5; i++) {
        int visitor = site_accept(&site, path);
        CHECK_INT(atoi(path + 1), i);
        snprintf(location, sizeof location, "Location: %d\r\n", i + 1);
        answer_with(visitor, "302 Found", location, "");
    }
    check_end(&demo, &site, 0);
    CHECK_TEXT(row_of("/4").reason, "redirected");
    CHECK_TEXT(row_of("/5").reason, "too many redirects");
}

TEST(redirect_circle, "redirects in a circle end where a page is known")
{
    struct site site = site_open(1);
    struct demo demo = { .count = 0 };
    demo_start_at(&demo, &site, "/a");
    answer_with(accept_for(&site, "/a"), "302 Found", "Location: /b\r\n", "");
    answer_with(accept_for(&site, "/b"), "302 Found", "Location: /a\r\n", "");
    check_end(&demo, &site, 0);
    CHECK(strstr(out, "2 of 2 pages, 0 failed, "));
}

TEST(size_limit, "a page that never ends is given up when it is larger than the limit")
{
    struct site site = site_open(1);
    struct demo demo = { .count = 0 };
    static char page[100000] = "HTTP/1.1 200 OK\r\n\r\n";
    memset(page + strlen(page), 'x', sizeof page - strlen(page));
    add(&demo, "--size=10000");
    demo_start_at(&demo, &site, "/endless");
    int visitor = accept_for(&site, "/endless");
    while (send(visitor, page, sizeof page, MSG_NOSIGNAL) > 0)
        ;
    close(visitor);
    check_end(&demo, &site, 0);
    CHECK_TEXT(row_of("/endless").reason, "larger than the limit");
}

TEST(kept_open, "a page is complete when its promised length is there, though nobody closes")
{
    struct site site = site_open(1);
    struct demo demo = { .count = 0 };
    static const char page[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    demo_start_at(&demo, &site, "/open");
    int visitor = accept_for(&site, "/open");
    CHECK_INT(send(visitor, page, strlen(page), MSG_NOSIGNAL), strlen(page));
    check_end(&demo, &site, 0);
    close(visitor);
    CHECK_INT(row_of("/open").bytes, 5);
}

TEST(concurrency, "so many pages are fetched at a time; each that ends lets the next one start")
{
    struct site site = site_open(1);
    struct demo demo = { .count = 0 };
    add(&demo, "--concurrency=2");
    demo_start_at(&demo, &site, "/");
    answer_with(accept_for(&site, "/"), "200 OK", "", "<a href=1> <a href=2> <a href=3>");
    int first = accept_for(&site, "/1"), second = accept_for(&site, "/2");
    struct pollfd third = { .fd = site.socket, .events = POLLIN };
    CHECK_INT(poll(&third, 1, 0), 0);
    answer_fine(first);
    answer_fine(accept_for(&site, "/3"));
    answer_fine(second);
    check_end(&demo, &site, 0);
    CHECK(strstr(out, ", most in flight 2, "));
    CHECK(strstr(out, "4 of 4 pages, 0 failed, "));
}

TEST(idle_turns, "there may be more turns than pages: what waits for another page ends, too")
{
    struct site site = site_open(1);
    struct demo demo = { .count = 0 };
    add(&demo, "--concurrency=1000");
    demo_start_at(&demo, &site, "/");
    answer_fine(accept_for(&site, "/"));
    check_end(&demo, &site, 0);
    CHECK(strstr(out, ", most in flight 1, "));
}

TEST(limit, "so many pages are visited in all, and the summary says that there are more")
{
    struct site site = site_open(1);
    struct demo demo = { .count = 0 };
    add(&demo, "--limit=2");
    demo_start_at(&demo, &site, "/");
    answer_with(accept_for(&site, "/"), "200 OK", "", "<a href=1> <a href=2> <a href=3>");
    answer_fine(accept_for(&site, "/1"));
    check_end(&demo, &site, 0);
    CHECK(strstr(out, "2 of 2 pages (the limit), 0 failed, "));
}

/* ---- Ctrl-C, arguments, terminal ---- */

TEST(interrupt, "Ctrl-C ends it with status 130, after the table so far and a clean summary")
{
    struct site site = site_open(1);
    struct demo demo = { .count = 0 };
    add(&demo, "--concurrency=1");
    demo_start_at(&demo, &site, "/first");
    answer_with(accept_for(&site, "/first"), "200 OK", "", "<a href=second> <a href=third>");
    int visitor = accept_for(&site, "/second");
    kill(demo.process, SIGINT);
    check_end(&demo, &site, 130);
    close(visitor);
    CHECK_TEXT(row_of("/first").status, "200");
    CHECK_TEXT(row_of("/second").reason, "cancelled");
    CHECK(!strstr(out, "/third"));
    CHECK(strstr(out, "interrupted: 2 of 3 pages, 1 failed, "));
}

TEST(interrupted_pause, "Ctrl-C in the pause before a retry ends that, too")
{
    struct site site = site_open(1);
    struct demo demo = { .count = 0 };
    add(&demo, "--concurrency=2");
    add(&demo, "--backoff=1000");
    demo_start_at(&demo, &site, "/");
    answer_with(accept_for(&site, "/"), "200 OK", "", "<a href=flaky> <a href=1> <a href=2>");
    int flaky = accept_for(&site, "/flaky"), fine = accept_for(&site, "/1");
    reset(flaky);
    answer_fine(fine);
    int visitor = accept_for(&site, "/2"); /* by now the other one pauses, or is about to */
    kill(demo.process, SIGINT);
    check_end(&demo, &site, 130);
    close(visitor);
    CHECK_TEXT(row_of("/2").reason, "cancelled");
    CHECK(strstr(out, "interrupted: 4 of 4 pages, 2 failed, "));
}

TEST(bad_arguments, "a bad argument is one clear line on stderr, and exit status 2")
{
    const char *bad[] = {
        "--what",
        "--concurrency",
        "--concurrency=0",
        "--concurrency=x",
        "--concurrency=-1",
        "--concurrency=",
        "--concurrency=1e9",
        "--timeout=0",
        "--timeout=nan",
        "--timeout=1s",
        "--timeout=inf",
        "--help=me",
        "--limit=0",
        "--size=-1",
        "--retries=101",
        "--backoff=x",
        "--pages=3",
        "https://host/",
        "host",
        "",
        "http://",
        "http://host:0/",
        "http://host/a b",
        "http://host/\r\nA: b",
        "http://user@host/",
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
    const char *options[] = { "concurrency N", "limit N", "size N", "timeout S", "retries N",
                              "backoff S",     "pages",   "help",   "workers N" };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        CHECK(strstr(out, options[i]));
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

TEST(interrupt_own_server, "Ctrl-C while its own server has visitors leaves nothing, either")
{
    struct demo demo = { .count = 0 };
    int terminal = terminal_open(&demo.err);
    demo_start(&demo);
    terminal_read_until(terminal, "of 200 pages, ");
    kill(demo.process, SIGINT);
    CHECK_INT(demo_end(&demo), 130);
    close(terminal);
    CHECK(strstr(out, "\ninterrupted: "));
    CHECK(ends_in("handles left 0\n"));
}

TEST(progress, "on a terminal a line tells the progress, overwrites itself, and is gone at the end")
{
    struct site site = site_open(1);
    struct demo demo = { .count = 0 };
    int terminal = terminal_open(&demo.err);
    demo_start_at(&demo, &site, "/");
    int visitor = accept_for(&site, "/");
    terminal_read_until(terminal, "\r\033[K0 of 1 pages, 1 in flight");
    answer_with(visitor, "200 OK", "", "<a href=2> <a href=3>");
    visitor = accept_for(&site, "/2");
    int other = accept_for(&site, "/3");
    terminal_read_until(terminal, "\r\033[K1 of 3 pages, 2 in flight");
    answer_fine(visitor);
    answer_fine(other);
    int status = 0;
    CHECK_INT(waitpid(demo.process, &status, 0), demo.process);
    terminal_read_until(terminal, "\r\033[K");
    CHECK_INT(status, 0);
    read_all(demo.out, out, sizeof out);
    close(demo.err);
    close(terminal);
    close(site.socket);
    CHECK(ends_in("handles left 0\n"));
}
