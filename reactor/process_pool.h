/*
 * process_pool.h: workers that are processes, for work that computes, or that may crash.
 *
 *     cora_executor mill = cora_process_pool_new(&(struct cora_process_pool_options){
 *         .max_workers = 2 });
 *     cora_call_in_executor(loop, mill, cora_partial(grind, "rye", 20), cora_partial(on_flour));
 *
 * A pool of processes is an executor (executor.h): work is submitted, cancelled and shut down as in
 * a pool of threads. Its function is called in another process, with copies of its arguments, and
 * its outcome is copied back:
 *
 *     submitted --> waiting --> moved to the workers --> running --> its outcome is told
 *                      '--cancelled
 *
 * Nothing, numbers, texts, bytes, lists and errors can be copied, of any size, lists in at most 64
 * lists. Work with an argument that cannot (a pointer, a handle) fails with a TypeError, and so
 * does work that gives one. At most max_workers + 1 are moved to the workers before one is free;
 * what is moved cannot be cancelled. An error that comes back and has no cause gets one: a text
 * that tells which function has failed, and in which process.
 *
 * Workers are copies of the program as it was when the pool was made: its memory is there, and the
 * functions that were loaded by then, but not its loops, which are closed, nor its threads; of its
 * descriptors only 0, 1 and 2. Signals have their default actions. What work changes there, stays
 * there. Work may run a loop of its own. Make the pool early: a lock of the program's that another
 * thread holds just then is held for ever in the workers (the C library's and Cora's own are safe),
 * and a worker's stack is as large as that of the thread that makes the pool.
 *
 * A worker that ends before it is told to (it crashes, exits, is killed) breaks the pool: all work
 * that it had been given fails with BrokenProcessPool, the other workers get SIGTERM, and submit
 * fails from then on. So does an initializer that gives an error.
 *
 * The workers' parent is a process of the pool's own, a child of the program, whose end the program
 * may learn from SIGCHLD and may wait for: the pool does not mind. When the program ends, so do all
 * of them, by SIGKILL. In a forked child of the program the pool is broken; a child that was forked
 * in a done-callback of such work ends when that returns.
 * asyncio: concurrent.futures.ProcessPoolExecutor.
 */
#ifndef CORA_PROCESS_POOL_H
#define CORA_PROCESS_POOL_H

#include "executor.h"

CORA_BEGIN

/* How a pool is made; NULL or zeros for the defaults. */
struct cora_process_pool_options {
    int max_workers;         /* 0: the processors that may be used */
    cora_work initializer;   /* each worker does it first, with the arguments as they are: pointers,
                              * too. None by default */
    int max_tasks_per_child; /* a worker ends after so many, and another one is started when it is
                              * needed. 0: no limit */
};

/*
 * A pool of processes. Forks their parent, and starts a thread that talks to them; the workers
 * themselves are started when work finds none idle. If one cannot be started, and there is no
 * other, the work that waits fails with the system's error.
 *
 * Null if it cannot: a MemoryError, the system's error, a ValueError for a negative number.
 * asyncio: ProcessPoolExecutor(max_workers, initializer, initargs, max_tasks_per_child).
 */
CORA_API cora_executor cora_process_pool_new(const struct cora_process_pool_options *options);

/*
 * Shuts the pool down without waiting, cancels what waits, and sends SIGTERM, or SIGKILL, to each
 * worker: what they are doing fails with BrokenProcessPool. Does nothing to a pool that is broken,
 * has no workers, or has ended. 0; CORA_ETYPE for an executor of another kind. asyncio:
 * terminate_workers, kill_workers. Any thread.
 */
CORA_API int cora_executor_terminate_workers(cora_executor executor);
CORA_API int cora_executor_kill_workers(cora_executor executor);

CORA_END
#endif
