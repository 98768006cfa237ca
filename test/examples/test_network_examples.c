/*
 * The servers among the examples, run as programs: echo in both styles, chat, socks5; and the two
 * crawlers side by side. The tests are their peers, on real sockets that block.
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
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- programs ---- */

struct program {
    pid_t process;
    int out; /* the other end of its standard output */
    int port;
};

/* Becomes the program; what it complains of goes to a file. */
static void become(const char *name, const char *one, const char *two, int out, int err)
{
    char path[4096];
    const char *folder = getenv("OUT");
    const char *arguments[] = { path, one, one ? two : NULL, NULL };
    snprintf(path, sizeof path, "%s/%s", folder ? folder : "build", name);
    dup2(out, STDOUT_FILENO);
    if (err >= 0)
        dup2(err, STDERR_FILENO);
    execv(path, (char *const *)(uintptr_t)arguments);
    perror(path);
    _exit(127);
}

/* Starts a server on a port that the system chooses, and waits until it listens. */
static struct program server_start(const char *name, const char *seconds)
{
    struct program program = { 0 };
    int pipes[2];
    char line[200];
    size_t size = 0;
    CHECK_INT(pipe2(pipes, O_CLOEXEC), 0);
    program.process = fork();
    CHECK(program.process >= 0);
    if (program.process == 0)
        become(name, "0", seconds, pipes[1], -1);
    close(pipes[1]);
    program.out = pipes[0];
    do
        CHECK_INT(read(program.out, line + size, 1), 1);
    while (line[size++] != '\n');
    line[size] = '\0';
    CHECK_INT(sscanf(line, "listening on 127.0.0.1:%d\n", &program.port), 1);
    return program;
}

/* Its exit status. */
static int server_end(struct program *program, int number)
{
    int status = 0;
    kill(program->process, number);
    CHECK_INT(waitpid(program->process, &status, 0), program->process);
    close(program->out);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Runs a program to its end; its exit status, and what it printed and complained of. */
static int run(const char *name, const char *one, const char *two, char *ret_out, char *ret_err,
               size_t size)
{
    int status = 0,
        files[] = { memfd_create("out", MFD_CLOEXEC), memfd_create("err", MFD_CLOEXEC) };
    char *texts[] = { ret_out, ret_err };
    pid_t process = fork();
    if (process == 0)
        become(name, one, two, files[0], files[1]);
    CHECK_INT(waitpid(process, &status, 0), process);
    for (int i = 0; i < 2; i++) {
        ssize_t length = pread(files[i], texts[i], size - 1, 0);
        texts[i][length > 0 ? length : 0] = '\0';
        close(files[i]);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- peers ---- */

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int connect_to(const struct program *program)
{
    struct sockaddr_in address = loopback(program->port);
    int peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(connect(peer, (struct sockaddr *)&address, sizeof address), 0);
    return peer;
}

/* A listening socket, and its port. */
static int listen_here(int *ret_port)
{
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(bind(listening, (struct sockaddr *)&address, size), 0);
    CHECK_INT(listen(listening, 10), 0);
    CHECK_INT(getsockname(listening, (struct sockaddr *)&address, &size), 0);
    *ret_port = ntohs(address.sin_port);
    return listening;
}

static void say(int peer, const void *bytes, size_t size)
{
    CHECK_INT(send(peer, bytes, size, MSG_NOSIGNAL), size);
}

static void say_text(int peer, const char *text)
{
    say(peer, text, strlen(text));
}

/* The next bytes are these. */
static void hear(int peer, const void *bytes, size_t size)
{
    char got[1000] = "";
    CHECK(size < sizeof got);
    CHECK_INT(recv(peer, got, size, MSG_WAITALL), size);
    if (memcmp(got, bytes, size) != 0)
        CHECK_TEXT(got, bytes);
}

static void hear_text(int peer, const char *text)
{
    hear(peer, text, strlen(text));
}

/* It is closed by the other side, and nothing else comes before. */
static void hear_end(int peer)
{
    char byte;
    CHECK_INT(recv(peer, &byte, 1, 0), 0);
    close(peer);
}

/* Writes without reading until nothing goes out for a while; how much went out: not without end. */
static size_t fill(int peer)
{
    static const char bytes[65536];
    const size_t most = (size_t)64 << 20;
    struct pollfd room = { .fd = peer, .events = POLLOUT };
    size_t size = 0;
    while (size < most && poll(&room, 1, 300) == 1) {
        ssize_t sent = send(peer, bytes, sizeof bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
            break;
        size += sent > 0 ? (size_t)sent : 0;
    }
    CHECK(size < most);
    return size;
}

/* Reads so much. */
static void drain(int peer, size_t size)
{
    static char bytes[65536];
    for (ssize_t got; size > 0; size -= (size_t)got) {
        got = recv(peer, bytes, size < sizeof bytes ? size : sizeof bytes, 0);
        CHECK(got > 0);
    }
}

/* ---- what all of them do ---- */

static const char *const servers[] = { "examples/callbacks/echo", "examples/steps/echo",
                                       "examples/callbacks/chat", "examples/callbacks/socks5" };
#define SERVERS (sizeof servers / sizeof servers[0])

TEST(help, "--help tells the arguments; a bad one is told on stderr, with exit status 2")
{
    char out[4096], err[4096];
    for (size_t i = 0; i < SERVERS; i++) {
        static const char *const bad[] = { "x", "-1", "65536", "1x" };
        CHECK_INT(run(servers[i], "--help", NULL, out, err, sizeof out), 0);
        CHECK_INT(strncmp(out, "Usage: ", 7), 0);
        CHECK_TEXT(err, "");
        for (size_t j = 0; j < sizeof bad / sizeof bad[0]; j++) {
            CHECK_INT(run(servers[i], bad[j], NULL, out, err, sizeof out), 2);
            CHECK_INT(strncmp(err, "Usage: ", 7), 0);
            CHECK_TEXT(out, "");
        }
        CHECK_INT(run(servers[i], "0", i < 2 ? "1" : "0", out, err, sizeof out), 2);
    }
}

TEST(port_in_use, "a port that is taken is told in one line, with exit status 1")
{
    char out[4096], err[4096], text[10];
    int port, listening = listen_here(&port);
    snprintf(text, sizeof text, "%d", port);
    for (size_t i = 0; i < SERVERS; i++) {
        CHECK_INT(run(servers[i], text, NULL, out, err, sizeof out), 1);
        CHECK(strstr(err, "ddress already in use"));
        CHECK_INT(strcspn(err, "\n"), strlen(err) - 1);
    }
    close(listening);
}

TEST(signals, "SIGINT and SIGTERM close the connections and the port, with exit status 0")
{
    for (size_t i = 0; i < SERVERS; i++) {
        for (int number = SIGINT; number <= SIGTERM; number += SIGTERM - SIGINT) {
            struct program program = server_start(servers[i], NULL);
            struct sockaddr_in address = loopback(program.port);
            int peer = connect_to(&program);
            CHECK_INT(server_end(&program, number), 0);
            close(peer);
            peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            CHECK(connect(peer, (struct sockaddr *)&address, sizeof address) < 0);
            close(peer);
        }
    }
}

TEST(signal_and_mute, "a peer who does not read cannot keep a server from ending")
{
    for (int i = 0; i < 2; i++) {
        struct program program = server_start(servers[i], NULL);
        int peer = connect_to(&program);
        fill(peer);
        CHECK_INT(server_end(&program, SIGTERM), 0);
        close(peer);
    }
}

/* ---- echo ---- */

TEST(echo, "what is said comes back, up to the last byte, and then the end")
{
    for (int i = 0; i < 2; i++) {
        struct program program = server_start(servers[i], NULL);
        int one = connect_to(&program), other = connect_to(&program);
        say_text(one, "ahoy");
        say_text(other, "hello");
        hear_text(other, "hello");
        hear_text(one, "ahoy");
        say_text(one, "bye");
        shutdown(one, SHUT_WR);
        hear_text(one, "bye");
        hear_end(one);
        close(other);
        CHECK_INT(server_end(&program, SIGTERM), 0);
    }
}

TEST(echo_back_pressure, "who does not read is not read from; when he does, nothing is lost")
{
    for (int i = 0; i < 2; i++) {
        struct program program = server_start(servers[i], NULL);
        int peer = connect_to(&program);
        size_t size = fill(peer);
        shutdown(peer, SHUT_WR);
        drain(peer, size);
        hear_end(peer);
        CHECK_INT(server_end(&program, SIGTERM), 0);
    }
}

/* ---- chat ---- */

/* The next guest; those before are told that he comes. */
static int guest_come(const struct program *program, const int *guests, int count)
{
    char text[50];
    int guest = connect_to(program);
    snprintf(text, sizeof text, "guest %d comes\n", count + 1);
    for (int i = 0; i < count; i++)
        hear_text(guests[i], text);
    return guest;
}

TEST(chat, "a line is sent to all others, when it is complete; and that somebody comes or leaves")
{
    struct program program = server_start("examples/callbacks/chat", NULL);
    int guests[3];
    for (int i = 0; i < 3; i++)
        guests[i] = guest_come(&program, guests, i);
    say_text(guests[1], "good ");
    say_text(guests[2], "hello\n");
    hear_text(guests[0], "guest 3: hello\n");
    hear_text(guests[1], "guest 3: hello\n");
    say_text(guests[1], "day\nall\nof y");
    hear_text(guests[0], "guest 2: good day\nguest 2: all\n");
    hear_text(guests[2], "guest 2: good day\nguest 2: all\n");
    close(guests[1]);
    hear_text(guests[0], "guest 2 leaves\n");
    hear_text(guests[2], "guest 2 leaves\n");
    close(guests[0]);
    close(guests[2]);
    CHECK_INT(server_end(&program, SIGTERM), 0);
}

TEST(chat_long_line, "who says too much in one line is told so, and has to leave")
{
    struct program program = server_start("examples/callbacks/chat", NULL);
    char line[1001];
    int guest = connect_to(&program), other = guest_come(&program, &guest, 1);
    memset(line, 'a', sizeof line);
    say(other, line, sizeof line);
    hear_text(other, "(that line is too long)\n");
    hear_end(other);
    hear_text(guest, "guest 2 leaves\n");
    close(guest);
    CHECK_INT(server_end(&program, SIGTERM), 0);
}

/* Says lines until the guest who does not read has no room any more, and some more. */
static void chatter(int guest, int listener, int lines)
{
    char line[900], heard[950];
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    int size = snprintf(heard, sizeof heard, "guest 1: %.*s", (int)sizeof line, line);
    for (int i = 0; i < lines; i++) {
        say(guest, line, sizeof line);
        hear(listener, heard, (size_t)size);
    }
}

/* A socket with little room. */
static int guest_small(const struct program *program)
{
    struct sockaddr_in address = loopback(program->port);
    int guest = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), room = 1;
    setsockopt(guest, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    CHECK_INT(connect(guest, (struct sockaddr *)&address, sizeof address), 0);
    return guest;
}

TEST(chat_missed, "a guest who does not read misses lines, holds up nobody, and is told how many")
{
    struct program program = server_start("examples/callbacks/chat", NULL);
    int guests[2] = { connect_to(&program) };
    guests[1] = guest_come(&program, guests, 1);
    int silent = guest_small(&program);
    hear_text(guests[0], "guest 3 comes\n");
    hear_text(guests[1], "guest 3 comes\n");
    chatter(guests[0], guests[1], 10000);
    char line[1000] = "";
    FILE *file = fdopen(silent, "r");
    size_t heard = 0, missed = 0;
    while (missed == 0 && fgets(line, sizeof line, file))
        heard += sscanf(line, "(you missed %zu lines)", &missed) != 1;
    CHECK_INT(heard + missed, 10000);
    fclose(file);
    close(guests[0]);
    close(guests[1]);
    CHECK_INT(server_end(&program, SIGTERM), 0);
}

TEST(chat_dropped, "a guest who does not read for longer than the others' patience is dropped")
{
    struct program program = server_start("examples/callbacks/chat", "0.1");
    int guests[2] = { connect_to(&program) };
    guests[1] = guest_come(&program, guests, 1);
    int silent = guest_small(&program);
    hear_text(guests[0], "guest 3 comes\n");
    hear_text(guests[1], "guest 3 comes\n");
    char line[900];
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    struct pollfd told = { .fd = guests[0], .events = POLLIN };
    while (poll(&told, 1, 0) == 0) { /* guest 1 hears nothing before guest 3 leaves */
        char heard[sizeof line + 9];
        say(guests[0], line, sizeof line);
        CHECK(recv(guests[1], heard, sizeof heard, MSG_WAITALL) > 0);
    }
    hear_text(guests[0], "guest 3 leaves\n");
    for (int i = 0; i < 2; i++)
        close(guests[i]);
    close(silent);
    CHECK_INT(server_end(&program, SIGTERM), 0);
}

/* ---- socks5 ---- */

/* A visitor who may ask. */
static int visitor_greet(const struct program *program)
{
    int visitor = connect_to(program);
    say(visitor, "\5\2\0\2", 4);
    hear(visitor, "\5\0", 2);
    return visitor;
}

/* Asks for a connection to an address of this type, or a name with its size in front. */
static void ask(int visitor, char command, char type, const char *address, size_t size, int port)
{
    char request[300] = { 5, command, 0, type };
    memcpy(request + 4, address, size);
    request[4 + size] = (char)(port >> 8);
    request[5 + size] = (char)port;
    say(visitor, request, 6 + size);
}

static void hear_reply(int visitor, char reply)
{
    char expected[10] = { 5, reply, 0, 1 }, got[10] = "";
    CHECK_INT(recv(visitor, got, sizeof got, MSG_WAITALL), sizeof got);
    CHECK_INT(got[1], reply);
    CHECK_INT(memcmp(got, expected, sizeof got), 0);
}

/* The target's side of a connection that was asked for. */
static int target_accept(int listening)
{
    int target = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    CHECK(target >= 0);
    return target;
}

TEST(socks5_ipv4, "two are connected by an IPv4 address; each ends his side when he likes")
{
    struct program program = server_start("examples/callbacks/socks5", NULL);
    int port, listening = listen_here(&port), visitor = visitor_greet(&program);
    ask(visitor, 1, 1, "\x7f\0\0\1", 4, port);
    int target = target_accept(listening);
    hear_reply(visitor, 0);
    say_text(visitor, "ahoy");
    hear_text(target, "ahoy");
    shutdown(visitor, SHUT_WR);
    char byte;
    CHECK_INT(recv(target, &byte, 1, 0), 0);
    say_text(target, "fair wind");
    hear_text(visitor, "fair wind");
    close(target);
    hear_end(visitor);
    close(listening);
    CHECK_INT(server_end(&program, SIGTERM), 0);
}

TEST(socks5_name, "by a name; what is said before the answer is kept for the target")
{
    if (!harness_file_says("/etc/hosts", "localhost"))
        SKIP("this system does not know localhost by itself");
    struct program program = server_start("examples/callbacks/socks5", NULL);
    int port, listening = listen_here(&port), visitor = visitor_greet(&program);
    char request[] = "\5\1\0\3\11localhost..in a hurry";
    request[14] = (char)(port >> 8);
    request[15] = (char)port;
    say(visitor, request, sizeof request - 1);
    int target = target_accept(listening);
    hear_reply(visitor, 0);
    hear_text(target, "in a hurry");
    close(visitor);
    hear_end(target);
    close(listening);
    CHECK_INT(server_end(&program, SIGTERM), 0);
}

TEST(socks5_ipv6, "by an IPv6 address")
{
    struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    socklen_t size = sizeof address;
    int listening = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listening < 0 || bind(listening, (struct sockaddr *)&address, size) < 0)
        SKIP("no IPv6 here");
    CHECK_INT(listen(listening, 1), 0);
    CHECK_INT(getsockname(listening, (struct sockaddr *)&address, &size), 0);
    struct program program = server_start("examples/callbacks/socks5", NULL);
    int visitor = visitor_greet(&program);
    ask(visitor, 1, 4, (const char *)&address.sin6_addr, 16, ntohs(address.sin6_port));
    int target = target_accept(listening);
    hear_reply(visitor, 0);
    say_text(target, "ahoy");
    hear_text(visitor, "ahoy");
    close(target);
    hear_end(visitor);
    close(listening);
    CHECK_INT(server_end(&program, SIGTERM), 0);
}

TEST(socks5_refusals, "what it does not do is refused with the right number, and then the end")
{
    struct program program = server_start("examples/callbacks/socks5", NULL);
    int port, listening = listen_here(&port);
    close(listening);
    static const struct {
        char command, type, reply;
        const char *address;
        size_t size;
    } refusals[] = {
        { 2, 1, 7, "\x7f\0\0\1", 4 },    /* BIND */
        { 3, 3, 7, "\11localhost", 10 }, /* UDP ASSOCIATE */
        { 1, 2, 8, "harbour", 7 },       /* no such type */
        { 1, 1, 5, "\x7f\0\0\1", 4 },    /* nobody listens */
        { 1, 3, 1, "\3a\0b", 4 },        /* no name */
        { 1, 3, 4, "\0", 1 },            /* none at all */
        { 1, 3, 1, "\5a..b.", 6 },
    };
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        int visitor = visitor_greet(&program);
        ask(visitor, refusals[i].command, refusals[i].type, refusals[i].address, refusals[i].size,
            port);
        hear_reply(visitor, refusals[i].reply);
        hear_end(visitor);
    }
    int visitor = connect_to(&program);
    say(visitor, "\5\1\2", 3); /* with a password only */
    hear(visitor, "\5\xff", 2);
    hear_end(visitor);
    CHECK_INT(server_end(&program, SIGTERM), 0);
}

TEST(socks5_other_version, "who speaks another version is hung up on")
{
    struct program program = server_start("examples/callbacks/socks5", NULL);
    int visitor = connect_to(&program);
    say(visitor, "\4\1", 2);
    hear_end(visitor);
    CHECK_INT(server_end(&program, SIGTERM), 0);
}

TEST(socks5_idle, "who is idle for too long is cut off: before the request, and when connected")
{
    struct program program = server_start("examples/callbacks/socks5", "0.2");
    int port, listening = listen_here(&port), silent = connect_to(&program);
    int visitor = visitor_greet(&program);
    ask(visitor, 1, 1, "\x7f\0\0\1", 4, port);
    int target = target_accept(listening);
    hear_reply(visitor, 0);
    hear_end(silent);
    hear_end(visitor);
    hear_end(target);
    close(listening);
    CHECK_INT(server_end(&program, SIGTERM), 0);
}

TEST(socks5_back_pressure, "a target that does not read slows its visitor down; nothing is lost")
{
    struct program program = server_start("examples/callbacks/socks5", NULL);
    int port, listening = listen_here(&port), visitor = visitor_greet(&program);
    ask(visitor, 1, 1, "\x7f\0\0\1", 4, port);
    int target = target_accept(listening);
    hear_reply(visitor, 0);
    size_t size = fill(visitor);
    shutdown(visitor, SHUT_WR);
    drain(target, size);
    size = fill(target);
    close(target);
    drain(visitor, size);
    hear_end(visitor);
    close(listening);
    CHECK_INT(server_end(&program, SIGTERM), 0);
}

/* A web server with one page, for one visitor. */
static void serve_page(int listening)
{
    char request[4096];
    static const char page[] = "HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nlow tide\n";
    int visitor = target_accept(listening);
    CHECK(recv(visitor, request, sizeof request, 0) > 0);
    say_text(visitor, page);
    close(visitor);
}

TEST(socks5_curl, "curl fetches a page through it, and lets it resolve the name")
{
    if (system("curl --version >/dev/null 2>&1") != 0)
        SKIP("no curl here");
    if (!harness_file_says("/etc/hosts", "localhost"))
        SKIP("this system does not know localhost by itself");
    struct program program = server_start("examples/callbacks/socks5", NULL);
    int port, listening = listen_here(&port);
    char command[200], page[100] = "";
    snprintf(command, sizeof command,
             "curl -sS -m 5 --noproxy '' --socks5-hostname 127.0.0.1:%d http://localhost:%d/ 2>&1",
             program.port, port);
    FILE *curl = popen(command, "re");
    CHECK(curl);
    serve_page(listening);
    page[fread(page, 1, sizeof page - 1, curl)] = '\0';
    CHECK_INT(pclose(curl), 0);
    CHECK_TEXT(page, "low tide\n");
    close(listening);
    CHECK_INT(server_end(&program, SIGTERM), 0);
}

/* ---- the crawlers ---- */

/* Leaves of what a crawler printed that which does not depend on the time. */
static void timeless(char *text)
{
    char *to = text, *rest, *line = strtok_r(text, "\n", &rest);
    for (; line; line = strtok_r(NULL, "\n", &rest)) {
        size_t size = strstr(line, " bytes, ") ? strcspn(line, ".") : strlen(line);
        if (strncmp(line, "waited ", 7) == 0)
            continue;
        if (size > 48 && strcmp(line + size - 2, " s") == 0)
            size = 46; /* how long a row of the table has waited */
        memmove(to, line, size);
        to += size;
        *to++ = '\n';
    }
    *to = '\0';
}

TEST(crawlers, "the crawler in callbacks and the one in steps find and count the same pages")
{
    static char out[2][65536], err[65536];
    CHECK_INT(run("demo", NULL, NULL, out[0], err, sizeof err), 0);
    CHECK_TEXT(err, "");
    CHECK_INT(run("demo_steps", NULL, NULL, out[1], err, sizeof err), 0);
    CHECK_TEXT(err, "");
    timeless(out[0]);
    timeless(out[1]);
    CHECK(strstr(out[0], "\nok                    142    166    1092634 "));
    CHECK_TEXT(out[1], out[0]);
}
