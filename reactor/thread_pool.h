/*
 * thread_pool.h (private): threads that do what would block a loop.
 *
 * A job is a part of a structure of its owner's, so that submitting needs no memory. Threads are
 * started when a job finds none idle, up to a limit; more jobs wait, first in, first out.
 *
 *     submitted --> waiting --> run() --> done() --> its owner's
 *                      |
 *                      +--> cancelled: its owner's
 *
 * Nothing here ever waits for a run(). Any thread may call all of these.
 */
#ifndef CORA_THREAD_POOL_H
#define CORA_THREAD_POOL_H

#include <stdbool.h>

struct job {
    struct job *next;              /* the pool's while the job waits */
    void (*run)(struct job *job);  /* may take as long as it likes */
    void (*done)(struct job *job); /* tells, and may free the job: short, it may be waited for */
};

struct thread_pool;

/* A pool of at most so many threads, none yet. The name, borrowed, is cut to what threads may have.
 * NULL without memory. */
struct thread_pool *thread_pool_new(unsigned most, const char *name);

/*
 * Gives it a job. 0; or the system's error, as -errno, if no thread is there and none can be
 * started: then the job stays its owner's.
 */
int thread_pool_submit(struct thread_pool *pool, struct job *job);

/* Takes a job back that has not begun. Whether it had not. */
bool thread_pool_cancel(struct thread_pool *pool, struct job *job);

/*
 * No job may be submitted any more; those that wait are still done. Idle threads have ended when
 * this returns; the others end by themselves, and the last frees the pool. May be called in a
 * done().
 */
void thread_pool_close(struct thread_pool *pool);

/* In a forked child, which has none of the threads: frees the pool. Its jobs stay as they are. */
void thread_pool_forget(struct thread_pool *pool);

#endif
