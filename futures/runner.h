/*
 * runner.h: runs a coroutine in a loop made for it: how a program begins.
 *
 *     int main(void)
 *     {
 *         cora_value poured = cora_run(cora_coroutine(brew, struct brew, .cups = 3));
 *         return cora_is_error(poured);
 *     }
 *
 * A runner makes its loop when it is first needed, runs one thing after the other in it, all in one
 * context, and when it is closed cancels the tasks that are left, lets them end, and closes the
 * loop. While it runs something in the main thread, the first SIGINT cancels its main task, and the
 * second leaves the run with KeyboardInterrupt. asyncio: run, Runner.
 */
#ifndef CORA_RUNNER_H
#define CORA_RUNNER_H

#include "task.h"

CORA_BEGIN

/* A runner; its handle is stale when it is closed. */
typedef struct cora_runner {
    uint64_t bits;
} cora_runner;

struct cora_runner_options {
    cora_loop (*loop_factory)(void); /* NULL: cora_loop_new, which is made the thread's current */
    int debug;                       /* 1: debug mode; -1: not; 0: as the loop is made */
    bool cora_unused;
};

/*
 * Makes a loop, runs this in a task of it until it is done, closes the loop as cora_runner_close
 * does, and gives the outcome: value or error, a temporary. A RuntimeError while a loop is running
 * in this thread, and then the coroutine is closed; KeyboardInterrupt after SIGINT, if the task
 * took its cancellation. Options: .loop_factory, .debug. asyncio: run.
 */
#define cora_run(...) CORA_RUN(__VA_ARGS__, .cora_unused = false)
CORA_API cora_value cora_run_at(cora_awaitable awaitable, const struct cora_runner_options *options,
                                const struct cora_place *place);

/* A runner; NULL for the default options. Null without memory. asyncio: Runner. */
CORA_API cora_runner cora_runner_new(const struct cora_runner_options *options);

struct cora_runner_run_options {
    cora_value context; /* run in this one instead of the runner's */
    bool cora_unused;
};

/*
 * Runs this in the runner's loop until it is done, and gives the outcome, borrowed until the next
 * run. A RuntimeError while a loop is running in this thread, and for a runner that is closed; a
 * coroutine that cannot be run is closed. Options: .context. asyncio: Runner.run.
 */
#define cora_runner_run(runner, ...) CORA_RUNNER_RUN(runner, __VA_ARGS__, .cora_unused = false)
CORA_API cora_value cora_runner_run_at(cora_runner runner, cora_awaitable awaitable,
                                       const struct cora_runner_run_options *options,
                                       const struct cora_place *place);

/* Its loop, made if need be; null and a RuntimeError if it is closed. asyncio: get_loop. */
CORA_API cora_loop cora_runner_loop(cora_runner runner);

/*
 * Ends it: cora_shutdown, then the loop's default executor is shut down, and waited for as long as
 * 300 seconds; then the loop is closed, also if that failed. Nothing if it never made a
 * loop, or is closed. 0, or the code of what failed, which is done all the same; CORA_ERUNTIME
 * while its loop is running, and then nothing is. asyncio: Runner.close.
 */
CORA_API int cora_runner_close(cora_runner runner);

/*
 * Cancels every task of the loop but the one that awaits this, and ends when they have, with
 * nothing; an error that one of them answered with is reported: "unhandled exception during
 * asyncio.run() shutdown". What a guest awaits before it leaves its host (cora_loop_detach). It is
 * a coroutine: to be given to somebody in the callback that made it.
 */
CORA_API cora_awaitable cora_shutdown(cora_loop loop);

CORA_END

#ifndef __cplusplus
#define CORA_RUN(awaitable, ...)                                                                   \
    cora_run_at(cora_awaitable_of(awaitable), &(struct cora_runner_options){ __VA_ARGS__ },        \
                CORA_PLACE("cora_run"))
#define CORA_RUNNER_RUN(runner, awaitable, ...)                                                    \
    cora_runner_run_at(runner, cora_awaitable_of(awaitable),                                       \
                       &(struct cora_runner_run_options){ __VA_ARGS__ },                           \
                       CORA_PLACE("cora_runner_run"))
#else
/* C++: the options are a struct of the caller's */
#undef cora_run
#undef cora_runner_run
template <class Awaitable>
static inline cora_value cora_run(Awaitable awaitable,
                                  const cora_runner_options &options = cora_runner_options())
{
    return cora_run_at(cora_awaitable_of(awaitable), &options, CORA_PLACE("cora_run"));
}
template <class Awaitable>
static inline cora_value
cora_runner_run(cora_runner runner, Awaitable awaitable,
                const cora_runner_run_options &options = cora_runner_run_options())
{
    return cora_runner_run_at(runner, cora_awaitable_of(awaitable), &options,
                              CORA_PLACE("cora_runner_run"));
}
#endif

#endif
