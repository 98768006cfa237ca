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
 * Only thread_pool_join waits for a run(). Any thread may call all of these.
 */
#ifndef CORA_THREAD_POOL_H
#define CORA_THREAD_POOL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct job {
    struct job *next, **link;      /* the pool's; link is NULL unless the job waits */
    void (*run)(struct job *job);  /* may take as long as it likes */
    void (*done)(struct job *job); /* tells, and may free the job: short, it may be waited for */
    bool tells_long;               /* its done() may take long, too: others take what waits */
};

struct thread_pool;

/* What an owner may want besides; all of it may be zero. */
struct thread_pool_options {
    bool numbered;    /* the threads' names are NAME_0, NAME_1, ... */
    bool calls_out;   /* done() runs code of the program's, so that a close does not wait for it */
    size_t most_jobs; /* that may wait for a thread; 0: any number */
    void *owner;
    bool (*begin)(void *owner); /* a thread's first work, as long as it likes. False: it ends,
                                 * without any job */
    /*
     * The pool was closed, and no thread will do anything more: the pool may be freed. The last
     * thing that the last thread does, or thread_pool_close. NULL: the pool frees itself.
     */
    void (*ended)(void *owner);
};

/* A pool of at most so many threads, none yet. Name and options are copied; the name is cut to what
 * threads may have. NULL without memory. */
struct thread_pool *thread_pool_new(unsigned most, const char *name,
                                    const struct thread_pool_options *options);

/*
 * Gives it a job. 0; -ESHUTDOWN if it is closed; -EBUSY if too many wait; or the system's error, as
 * -errno, if no thread is there and none can be started: then the job stays its owner's.
 */
int thread_pool_submit(struct thread_pool *pool, struct job *job);

/* Takes a job back that has not begun. Whether it had not. */
bool thread_pool_cancel(struct thread_pool *pool, struct job *job);

/* Takes all that wait: a list by next. */
struct job *thread_pool_take(struct thread_pool *pool);

/*
 * No job may be submitted any more; those that wait are still done. Waits for no run(): idle
 * threads have ended when this returns; the others end by themselves. May be called in a done().
 */
void thread_pool_close(struct thread_pool *pool);

/*
 * Closed: waits until all threads have ended; but not for itself, if this is one of them: then it
 * waits for none.
 */
void thread_pool_join(struct thread_pool *pool);

/* Ended: frees it, when its threads' ends are over. */
void thread_pool_free(struct thread_pool *pool);

/*
 * Around a fork, so that it finds no change half made. In the child, which has none of the threads,
 * the pool is as new, with no job, but for being closed: whether it is; then it has ended. If one
 * of its threads has forked, that is none of the pool's any more in the child: it ends as soon as
 * what it does there has returned.
 */
void thread_pool_before_fork(struct thread_pool *pool);
void thread_pool_after_fork(struct thread_pool *pool);
bool thread_pool_in_child(struct thread_pool *pool);

/* In a forked child: frees the pool. Its jobs stay as they are. */
void thread_pool_forget(struct thread_pool *pool);

/* Starts a thread of the library's, which blocks all signals. 0 or -errno. */
int thread_start(pthread_t *ret_thread, void *(*run)(void *own), void *own);

#endif
