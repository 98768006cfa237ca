/* Times the life of short processes: start, load, first callback, end.
 *
 * How it works: `spawn PHASE SUBJECT K PROGRAM [ARGUMENT...]` runs the program K times, each from
 * posix_spawn until waitpid has its status, and prints one line: PHASE, subject, K, median ns,
 * "-" for the allocations that it does not count, and minimum ns, separated by tabs. */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static double now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* Runs the program once.  Returns its ns, or -1 if it did not exit with 0. */
static double run_once(char **command)
{
    pid_t child;
    int status;
    double started = now_ns();

    if (posix_spawnp(&child, command[0], NULL, NULL, command, environ) != 0)
        return -1.0;
    if (waitpid(child, &status, 0) != child || status != 0)
        return -1.0;
    return now_ns() - started;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

int main(int argc, char **argv)
{
    size_t count = argc > 4 ? strtoul(argv[3], NULL, 10) : 0;
    double *times = calloc(count + 1, sizeof *times);

    if (count == 0 || times == NULL) {
        fprintf(stderr, "usage: spawn PHASE SUBJECT K PROGRAM [ARGUMENT...]\n");
        free(times);
        return 2;
    }
    run_once(argv + 4); /* brings the files into memory */
    for (size_t i = 0; i < count; i++) {
        times[i] = run_once(argv + 4);
        if (times[i] < 0.0) {
            fprintf(stderr, "spawn: %s fails\n", argv[4]);
            free(times);
            return 2;
        }
    }
    qsort(times, count, sizeof *times, compare);
    printf("%s\t%s\t%zu\t%.0f\t-\t%.0f\n", argv[1], argv[2], count, times[count / 2], times[0]);
    free(times);
    return 0;
}
