/*
 * How it works: one lock, one queue of jobs, one condition for idle workers to wait on. A new
 * thread is started only when more jobs wait than workers are idle.
 *
 * A worker is idle as soon as its job's run() has returned: what remains, done() and the end of the
 * thread, is short. So a close can tell which threads it may join without waiting for the world:
 * the idle ones. Those in a run() are detached, as is the one that calls it. References count the
 * workers and the owner; the last frees the pool.
 *
 * Worker threads block all signals, so that handlers run where the program expects them.
 */
#include "thread_pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#define NAME_SIZE 16 /* of a thread, the end included */

struct worker {
    pthread_t thread;
    struct thread_pool *pool;
    bool idle;    /* not in a run() */
    bool joining; /* the pool's close waits for its end */
};

struct thread_pool {
    pthread_mutex_t lock;
    pthread_cond_t something; /* there is a job, or the pool was closed */
    struct job *first, **end; /* the jobs that wait */
    unsigned waiting;         /* how many */
    unsigned most, count;     /* workers that may be, and those that are */
    unsigned idle;            /* workers that are not in a run() */
    unsigned references;      /* threads that have not ended, and the owner while it is open */
    bool closed;
    char name[NAME_SIZE];
    struct worker workers[]; /* so many as may be */
};

struct thread_pool *thread_pool_new(unsigned most, const char *name)
{
    struct thread_pool *pool = malloc(sizeof *pool + most * sizeof *pool->workers);
    if (!pool)
        return NULL;
    *pool = (struct thread_pool){ .most = most, .references = 1 };
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->something, NULL);
    pool->end = &pool->first;
    for (size_t i = 0; i < NAME_SIZE - 1 && name[i]; i++)
        pool->name[i] = name[i];
    return pool;
}

void thread_pool_forget(struct thread_pool *pool)
{
    free(pool); /* lock and condition as they were in the parent: nobody is there to want them */
}

/* Gives a reference back, and the lock, which is held. */
static void pool_leave(struct thread_pool *pool)
{
    bool last = --pool->references == 0;
    pthread_mutex_unlock(&pool->lock);
    if (!last)
        return;
    pthread_cond_destroy(&pool->something);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

/* ---- the queue; the lock is held ---- */

static void queue_put(struct thread_pool *pool, struct job *job)
{
    job->next = NULL;
    *pool->end = job;
    pool->end = &job->next;
    pool->waiting++;
}

/* Takes the job that this link leads to. */
static struct job *queue_take(struct thread_pool *pool, struct job **link)
{
    struct job *job = *link;
    *link = job->next;
    if (!job->next)
        pool->end = link;
    pool->waiting--;
    return job;
}

static bool queue_remove(struct thread_pool *pool, struct job *job)
{
    for (struct job **link = &pool->first; *link; link = &(*link)->next)
        if (*link == job)
            return queue_take(pool, link);
    return false;
}

/* ---- workers ---- */

/* One job, from the queue to its end. The lock is held before and after. */
static void worker_do(struct worker *worker, struct job *job)
{
    struct thread_pool *pool = worker->pool;
    worker->idle = false;
    pool->idle--;
    pthread_mutex_unlock(&pool->lock);
    job->run(job);
    pthread_mutex_lock(&pool->lock);
    worker->idle = true;
    pool->idle++;
    pthread_mutex_unlock(&pool->lock);
    job->done(job);
    pthread_mutex_lock(&pool->lock);
}

static void *worker_run(void *own)
{
    struct worker *worker = own;
    struct thread_pool *pool = worker->pool;
    pthread_setname_np(pthread_self(), pool->name);
    pthread_mutex_lock(&pool->lock);
    while (pool->first || !pool->closed) {
        if (pool->first)
            worker_do(worker, queue_take(pool, &pool->first));
        else
            pthread_cond_wait(&pool->something, &pool->lock);
    }
    pool_leave(pool);
    return NULL;
}

/* Starts one more, idle. 0 or the system's error. The lock is held. */
static int worker_start(struct thread_pool *pool)
{
    struct worker *worker = &pool->workers[pool->count];
    sigset_t all, before;
    *worker = (struct worker){ .pool = pool, .idle = true };
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&worker->thread, NULL, worker_run, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error)
        return -error;
    pool->count++;
    pool->idle++;
    pool->references++;
    return 0;
}

int thread_pool_submit(struct thread_pool *pool, struct job *job)
{
    pthread_mutex_lock(&pool->lock);
    int code = 0;
    if (pool->waiting >= pool->idle && pool->count < pool->most)
        code = worker_start(pool);
    if (pool->count > 0) {
        code = 0; /* without a new thread it waits for one of the others */
        queue_put(pool, job);
        pthread_cond_signal(&pool->something);
    }
    pthread_mutex_unlock(&pool->lock);
    return code;
}

bool thread_pool_cancel(struct thread_pool *pool, struct job *job)
{
    pthread_mutex_lock(&pool->lock);
    bool found = queue_remove(pool, job);
    pthread_mutex_unlock(&pool->lock);
    return found;
}

void thread_pool_close(struct thread_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->closed = true;
    bool at_rest = !pool->first; /* else an idle worker may be about to take a job */
    for (unsigned i = 0; i < pool->count; i++) {
        struct worker *worker = &pool->workers[i];
        worker->joining = at_rest && worker->idle && !pthread_equal(worker->thread, pthread_self());
        if (!worker->joining)
            pthread_detach(worker->thread);
    }
    pthread_cond_broadcast(&pool->something);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->count; i++)
        if (pool->workers[i].joining)
            pthread_join(pool->workers[i].thread, NULL);
    pthread_mutex_lock(&pool->lock);
    pool_leave(pool);
}
