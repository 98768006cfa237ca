/*
 * The supervisor among the examples, run as a program: what it shows of its commands, when it
 * starts them again, and how it ends.
 */
#include "harness.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct program {
    pid_t process;
    FILE *out; /* the other end of its standard output */
};

/* Runs it with these arguments; NULL: no more. */
static struct program supervise(const char *const *arguments)
{
    char path[4096];
    const char *folder = getenv("OUT"), *words[10] = { path };
    int ends[2];
    for (int i = 0; arguments[i]; i++)
        words[i + 1] = arguments[i];
    snprintf(path, sizeof path, "%s/examples/callbacks/supervisor", folder ? folder : "build");
    CHECK_INT(pipe2(ends, O_CLOEXEC), 0);
    struct program program = { .process = fork(), .out = fdopen(ends[0], "r") };
    if (program.process == 0) {
        dup2(ends[1], STDOUT_FILENO);
        execv(path, (char *const *)(uintptr_t)words);
        perror(path);
        _exit(127);
    }
    close(ends[1]);
    return program;
}

#define SUPERVISE(...) supervise((const char *const[]){ __VA_ARGS__, NULL })

/* The next line that it shows; "" at the end. */
static const char *next_line(const struct program *program)
{
    static char line[2000];
    if (!fgets(line, sizeof line, program->out))
        return "";
    line[strcspn(line, "\n")] = 0;
    return line;
}

static void wait_for_line(const struct program *program, const char *wanted)
{
    const char *line;
    do {
        line = next_line(program);
        CHECK(*line);
    } while (strcmp(line, wanted) != 0);
}

/* Nothing more comes, and this is its exit status. */
static int end_of(const struct program *program)
{
    int status;
    CHECK_TEXT(next_line(program), "");
    fclose(program->out);
    CHECK_INT(waitpid(program->process, &status, 0), program->process);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(lines, "each line of a command is shown with its number, also one without its end")
{
    struct program program = SUPERVISE("echo bread; echo fish >&2; printf salt");
    wait_for_line(&program, "1: salt");
    CHECK_TEXT(next_line(&program), "1: ended with 0");
    CHECK_INT(end_of(&program), 0);
}

TEST(long_lines, "a line is cut only where it is longer than the longest that is shown")
{
    struct program program =
        SUPERVISE("printf %01000d 0; echo; printf %01001d 0; echo; echo bread");
    CHECK_INT(strlen(next_line(&program)), strlen("1: ") + 1000);
    CHECK_INT(strlen(next_line(&program)), strlen("1: ") + 1000);
    CHECK_TEXT(next_line(&program), "1: 0");
    CHECK_TEXT(next_line(&program), "1: bread");
    CHECK_TEXT(next_line(&program), "1: ended with 0");
    CHECK_INT(end_of(&program), 0);
}

TEST(both_outputs, "what a command complains of is shown as well")
{
    struct program program = SUPERVISE("echo fish >&2");
    CHECK_TEXT(next_line(&program), "1: fish");
    CHECK_TEXT(next_line(&program), "1: ended with 0");
    CHECK_INT(end_of(&program), 0);
}

TEST(back_off, "a command that fails is started again, after a pause that doubles")
{
    struct program program = SUPERVISE("-b", "0.001", "exit 3");
    CHECK_TEXT(next_line(&program), "1: ended with 3");
    CHECK_TEXT(next_line(&program), "1: again in 0.001 seconds");
    CHECK_TEXT(next_line(&program), "1: ended with 3");
    CHECK_TEXT(next_line(&program), "1: again in 0.002 seconds");
    CHECK_TEXT(next_line(&program), "1: ended with 3");
    CHECK_TEXT(next_line(&program), "1: again in 0.004 seconds");
    kill(program.process, SIGTERM);
    while (*next_line(&program))
        ;
    CHECK_INT(end_of(&program), 0);
}

TEST(orderly_end, "SIGTERM asks all commands to end, and drops those that wait for their next time")
{
    struct program program = SUPERVISE(
        "-b", "1000", "trap 'echo closing; exit 0' TERM; echo open; while :; do sleep 0.01; done",
        "echo failed; exit 1");
    bool open = false, waits = false;
    while (!open || !waits) {
        const char *line = next_line(&program);
        CHECK(*line);
        open |= strcmp(line, "1: open") == 0;
        waits |= strcmp(line, "2: again in 1000 seconds") == 0;
    }
    kill(program.process, SIGTERM);
    CHECK_TEXT(next_line(&program), "1: closing");
    CHECK_TEXT(next_line(&program), "1: ended with 0");
    CHECK_INT(end_of(&program), 0);
}

TEST(grace, "a command that does not end when it is asked is killed")
{
    struct program program = SUPERVISE("-g", "0.01", "trap '' TERM; echo deaf; exec sleep 1000");
    CHECK_TEXT(next_line(&program), "1: deaf");
    kill(program.process, SIGINT);
    CHECK_TEXT(next_line(&program), "1: ended by signal 9");
    CHECK_INT(end_of(&program), 0);
}

TEST(usage, "-h tells how to call it")
{
    struct program program = SUPERVISE("-h");
    CHECK(strncmp(next_line(&program), "Usage: supervisor", 17) == 0);
    CHECK_INT(end_of(&program), 0);
}
