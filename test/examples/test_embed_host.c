/* The example of a libev program that takes Cora in: all of its own watchers go on as before. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static char printed[65536];

/* Runs the example with these arguments. Its exit status; what it says is in printed. */
static int run_example(const char *arguments)
{
    const char *out = getenv("OUT");
    char command[4096];
    snprintf(command, sizeof command, "exec '%s/examples/embed_host' %s", out ? out : "build",
             arguments);
    FILE *pipe = popen(command, "r");
    CHECK(pipe);
    printed[fread(printed, 1, sizeof printed - 1, pipe)] = '\0';
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Where this line is. */
static const char *line(const char *text)
{
    char whole[200];
    snprintf(whole, sizeof whole, "%s\n", text);
    for (const char *at = printed; (at = strstr(at, whole)); at++) {
        if (at == printed || at[-1] == '\n')
            return at;
    }
    printf("no line \"%s\" in:\n%s", text, printed);
    return NULL;
}

TEST(host_watchers, "all of the host's watchers fire while Cora is its guest")
{
    CHECK_INT(run_example(""), 0);
    CHECK(line("host: beat 1"));
    CHECK(line("host: beat 5"));
    CHECK(line("host: signal 10"));
    CHECK(line("host: child ended with 7"));
    CHECK(line("host: idle 1"));
    CHECK(line("host: idle 3"));
}

TEST(guest_callbacks, "what the host's watchers give to Cora runs, each after its watcher")
{
    CHECK_INT(run_example(""), 0);
    CHECK(line("host: beat 1") < line("cora: after beat 1"));
    CHECK(line("cora: after beat 1") < line("host: beat 2"));
    CHECK(line("host: beat 5") < line("cora: after beat 5"));
    CHECK(line("host: signal 10") < line("cora: some time after signal 10"));
    CHECK(line("host: child ended with 7") < line("cora: letter L"));
}

TEST(host_ends, "the host's ev_run returns when only Cora's own watchers are left")
{
    CHECK_INT(run_example(""), 0);
    CHECK_TEXT(line("host: ev_run returned"), "host: ev_run returned\nlive 0\n");
}

TEST_WITH_LIMIT(60, many_callbacks, "a million callbacks in a host leave nothing behind")
{
    CHECK_INT(run_example("--many 1000000"), 0);
    CHECK_TEXT(printed, "ran 1000000\nhost: ev_run returned\nlive 0\n");
}

TEST(many_of_none, "a guest without any callback does not keep its host")
{
    CHECK_INT(run_example("--many 0"), 0);
    CHECK_TEXT(printed, "ran 0\nhost: ev_run returned\nlive 0\n");
}
