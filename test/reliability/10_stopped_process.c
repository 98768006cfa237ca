/*
 * Check 10: a process is stopped for three seconds and goes on: every timer that became due
 * meanwhile runs once, in order, and those that are not due yet wait.
 */
#include "harness.h"

#include <cora.h>

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TIMERS 300
#define STEP 0.01 /* seconds between them: the last is due when the process is still stopped */
#define LATER 4.0 /* due after it goes on */

static int runs[TIMERS + 1];
static int last = -1;

/* Arguments: number, and when it was to be. */
static void fire(cora_args bound)
{
    int number = (int)cora_arg_int(bound, 0);
    CHECK(cora_time((cora_loop){ 0 }) >= cora_arg_real(bound, 1));
    CHECK_INT(runs[number]++, 0);
    CHECK_INT(number, last + 1);
    last = number;
}

static void stop(cora_args bound)
{
    cora_stop(cora_arg_loop(bound, 0));
}

static void child(int ready)
{
    cora_loop loop = cora_loop_new(NULL);
    double now = cora_time(loop);
    for (int i = 0; i <= TIMERS; i++) {
        double when = now + (i < TIMERS ? i * STEP : LATER);
        CHECK(!cora_is_null(cora_call_at(loop, when, cora_partial(fire, i, when))));
    }
    cora_call_at(loop, now + LATER + 0.1, cora_partial(stop, loop));
    CHECK_INT(write(ready, "x", 1), 1);
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(last, TIMERS);
    CHECK_INT(cora_live(loop), 0);
    cora_loop_close(loop);
    _exit(0);
}

static void sleep_for(double seconds)
{
    struct timespec span = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };
    while (nanosleep(&span, &span) < 0)
        ;
}

TEST_WITH_LIMIT(60, stopped_process,
                "timers that became due while the process was stopped run once when it goes on")
{
    int ends[2], status = 0;
    char byte;
    CHECK_INT(pipe(ends), 0);
    pid_t process = fork();
    CHECK(process >= 0);
    if (process == 0)
        child(ends[1]);
    CHECK_INT(read(ends[0], &byte, 1), 1);
    sleep_for(0.2);
    CHECK_INT(kill(process, SIGSTOP), 0);
    sleep_for(3.0);
    CHECK_INT(kill(process, SIGCONT), 0);
    CHECK_INT(waitpid(process, &status, 0), process);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 0);
    close(ends[0]);
    close(ends[1]);
}
