/*
 * How it works: one lock, one queue of jobs, one stack of workers that sleep, each at a semaphore
 * of its own. A new thread is started only when more jobs wait than workers are idle; a worker is
 * woken only if fewer look for a job already than jobs wait, and it is the one that has worked
 * last. Not by a condition: one of glibc before 2.41 may keep a signal from who waits (its bug
 * 25847), and a job would wait with it.
 *
 * A worker is idle as soon as its job's run() has returned: what remains, done() and the end of the
 * thread, is short, or marked. So a close can tell which threads it may join without waiting for
 * the world: the idle ones that are in nobody else's code. Threads that nobody has joined are
 * joined by whoever frees the pool; if that is the last of them, it detaches itself. References
 * count the threads and the owner; the last one ends the pool.
 *
 * Worker threads block all signals, so that handlers run where the program expects them.
 */
#include "thread_pool.h"

#include <errno.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_SIZE 16 /* of a thread, the end included */

struct worker {
    pthread_t thread;
    struct thread_pool *pool;
    struct job *job; /* that it runs; NULL: idle */
    bool calls;      /* it is in a begin(), or a done(), that may take long */
    bool joined;     /* or somebody does that now */
    sem_t woken;
    struct worker *next_asleep;
};

struct thread_pool {
    pthread_mutex_t lock;
    pthread_cond_t gone;      /* a thread was joined */
    struct job *first, **end; /* the jobs that wait */
    size_t waiting;           /* how many */
    unsigned most, count;     /* workers that may be, and those that were started */
    unsigned idle;            /* workers that are not in a run(), and have not ended */
    unsigned looking;         /* those that look for a job very soon, and before they sleep */
    struct worker *asleep;    /* those that wait to be woken, the last one first */
    unsigned joined;          /* workers whose threads are over */
    unsigned references;      /* threads that have not ended, and the owner until it closes it */
    bool closed;
    struct thread_pool_options options;
    char name[NAME_SIZE];
    struct worker workers[]; /* so many as may be */
};

/* What this thread is. Not found by the thread's number: that is another's after the end. */
static _Thread_local const struct worker *own_worker;

struct thread_pool *thread_pool_new(unsigned most, const char *name,
                                    const struct thread_pool_options *options)
{
    struct thread_pool *pool = malloc(sizeof *pool + most * sizeof *pool->workers);
    if (!pool)
        return NULL;
    *pool = (struct thread_pool){ .most = most, .references = 1 };
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->gone, NULL);
    pool->end = &pool->first;
    if (options)
        pool->options = *options;
    snprintf(pool->name, NAME_SIZE, "%.*s", NAME_SIZE - 1, name);
    return pool;
}

void thread_pool_forget(struct thread_pool *pool)
{
    free(pool); /* lock and conditions as they were in the parent: nobody is there to want them */
}

/* ---- the queue; the lock is held ---- */

static void queue_put(struct thread_pool *pool, struct job *job)
{
    job->next = NULL;
    job->link = pool->end;
    *pool->end = job;
    pool->end = &job->next;
    pool->waiting++;
}

/* Takes a job that waits. */
static struct job *queue_take(struct thread_pool *pool, struct job *job)
{
    *job->link = job->next;
    if (job->next)
        job->next->link = job->link;
    else
        pool->end = job->link;
    job->link = NULL;
    pool->waiting--;
    return job;
}

/* Takes all of them: a list. */
static struct job *queue_take_all(struct thread_pool *pool)
{
    struct job *list = pool->first;
    for (struct job *job = list; job; job = job->next)
        job->link = NULL;
    pool->first = NULL;
    pool->end = &pool->first;
    pool->waiting = 0;
    return list;
}

/* ---- the ends of threads ---- */

static bool is_own(const struct worker *worker)
{
    return worker == own_worker;
}

/* Joins those of the others that nobody has joined: the idle ones only, or all. The lock is held.
 */
static void workers_join(struct thread_pool *pool, bool all)
{
    for (unsigned i = 0; i < pool->count; i++) {
        struct worker *worker = &pool->workers[i];
        if (worker->joined || is_own(worker) || ((worker->job || worker->calls) && !all))
            continue;
        worker->joined = true;
        pthread_mutex_unlock(&pool->lock);
        pthread_join(worker->thread, NULL);
        pthread_mutex_lock(&pool->lock);
        pool->joined++;
        pthread_cond_broadcast(&pool->gone);
    }
}

void thread_pool_join(struct thread_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    bool inside = false;
    for (unsigned i = 0; i < pool->count; i++)
        inside |= is_own(&pool->workers[i]);
    if (!inside)
        workers_join(pool, true);
    while (!inside && pool->joined < pool->count)
        pthread_cond_wait(&pool->gone, &pool->lock); /* somebody else joins them */
    pthread_mutex_unlock(&pool->lock);
}

void thread_pool_free(struct thread_pool *pool)
{
    pthread_mutex_lock(&pool->lock); /* the last thread may hold it still */
    workers_join(pool, true);
    for (unsigned i = 0; i < pool->count; i++)
        if (is_own(&pool->workers[i]))
            pthread_detach(pool->workers[i].thread);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->count; i++)
        sem_destroy(&pool->workers[i].woken);
    pthread_cond_destroy(&pool->gone);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

/* Gives a reference back, and the lock, which is held. */
static void pool_leave(struct thread_pool *pool)
{
    bool last = --pool->references == 0;
    struct thread_pool_options options = pool->options;
    pthread_mutex_unlock(&pool->lock);
    if (last && options.ended)
        options.ended(options.owner);
    else if (last)
        thread_pool_free(pool);
}

/* ---- workers ---- */

/*
 * One job, from the queue to its end. The lock is held before and after. False, and it is not, in a
 * process that was forked meanwhile: the pool there has nothing to do with this thread.
 */
static bool worker_do(struct worker *worker, struct job *job)
{
    struct thread_pool *pool = worker->pool;
    worker->job = job;
    pool->idle--;
    pool->looking--;
    pthread_mutex_unlock(&pool->lock);
    job->run(job);
    if (own_worker != worker) {
        job->done(job);
        return false;
    }
    pthread_mutex_lock(&pool->lock);
    bool looks = !job->tells_long;
    worker->job = NULL;
    worker->calls = !looks || pool->options.calls_out;
    pool->idle++;
    pool->looking += looks;
    pthread_mutex_unlock(&pool->lock);
    job->done(job);
    if (own_worker != worker)
        return false;
    pthread_mutex_lock(&pool->lock);
    pool->looking += !looks;
    worker->calls = false;
    return true;
}

/*
 * Waits for a job, or the pool's end. The lock is held before and after. When nothing is done any
 * more, who has just got a result is let run first: if it has the next job by then, and there is
 * one processor for both, there is neither a sleep nor a wake-up.
 */
static void worker_sleep(struct worker *worker)
{
    struct thread_pool *pool = worker->pool;
    worker->next_asleep = pool->asleep;
    pool->asleep = worker;
    pool->looking--;
    bool all_idle = pool->looking == 0 && pool->idle == pool->count;
    pthread_mutex_unlock(&pool->lock);
    if (all_idle)
        sched_yield();
    while (sem_wait(&worker->woken) != 0)
        continue; /* a signal that the program has unblocked here */
    pthread_mutex_lock(&pool->lock);
}

/* Takes one that sleeps, to be woken by its semaphore; NULL if none does. The lock is held. */
static struct worker *sleeper_take(struct thread_pool *pool)
{
    struct worker *worker = pool->asleep;
    if (!worker)
        return NULL;
    pool->asleep = worker->next_asleep;
    pool->looking++;
    return worker;
}

static void worker_name(const struct worker *worker)
{
    struct thread_pool *pool = worker->pool;
    char name[2 * NAME_SIZE], number[NAME_SIZE] = ""; /* the number is not cut */
    if (pool->options.numbered)
        snprintf(number, sizeof number, "_%u", (unsigned)(worker - pool->workers));
    int room = NAME_SIZE - 1 - (int)strlen(number);
    snprintf(name, sizeof name, "%.*s%s", room, pool->name, number);
    pthread_setname_np(pthread_self(), name);
}

/*
 * A worker that is woken does not take the processor from who has woken it, where there is no other
 * one: so a loop that gives several pieces of work is not interrupted by each. What a worker starts
 * is scheduled as usual. It is no harm if the system refuses.
 */
static void worker_be_modest(void)
{
    struct sched_param none = { 0 };
    sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &none);
}

/* Its first work: whether there is to be more. False, too, in a process forked meanwhile. */
static bool worker_begin(struct worker *worker)
{
    struct thread_pool *pool = worker->pool;
    if (!pool->options.begin)
        return true;
    bool begins = pool->options.begin(pool->options.owner);
    if (own_worker != worker)
        return false;
    pthread_mutex_lock(&pool->lock);
    worker->calls = false;
    pool->looking++;
    pthread_mutex_unlock(&pool->lock);
    return begins;
}

static void *worker_run(void *own)
{
    struct worker *worker = own;
    struct thread_pool *pool = worker->pool;
    own_worker = worker;
    worker_name(worker);
    worker_be_modest();
    bool goes_on = worker_begin(worker);
    if (own_worker != worker)
        return NULL;
    pthread_mutex_lock(&pool->lock);
    while (goes_on && (pool->first || !pool->closed)) {
        if (!pool->first)
            worker_sleep(worker);
        else if (!worker_do(worker, queue_take(pool, pool->first)))
            return NULL;
    }
    pool->idle--;
    pool->looking--;
    pool_leave(pool);
    return NULL;
}

int thread_start(pthread_t *ret_thread, void *(*run)(void *own), void *own)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(ret_thread, NULL, run, own);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -error;
}

/* Starts one more, idle. 0 or the system's error. The lock is held. */
static int worker_start(struct thread_pool *pool)
{
    struct worker *worker = &pool->workers[pool->count];
    *worker = (struct worker){ .pool = pool, .calls = pool->options.begin };
    sem_init(&worker->woken, 0, 0);
    int code = thread_start(&worker->thread, worker_run, worker);
    if (code < 0)
        return code;
    pool->count++;
    pool->idle++;
    pool->looking += !worker->calls;
    pool->references++;
    return 0;
}

int thread_pool_submit(struct thread_pool *pool, struct job *job)
{
    struct worker *sleeper = NULL;
    pthread_mutex_lock(&pool->lock);
    int code = pool->closed ? -ESHUTDOWN : 0;
    if (code == 0 && pool->waiting >= pool->idle && pool->count < pool->most)
        code = worker_start(pool);
    if (code != -ESHUTDOWN && pool->count > 0)
        code = 0; /* without a new thread it waits for one of the others */
    if (code == 0 && pool->options.most_jobs > 0 &&
        pool->waiting >= pool->idle + pool->options.most_jobs)
        code = -EBUSY;
    if (code == 0) {
        queue_put(pool, job);
        sleeper = pool->waiting > pool->looking ? sleeper_take(pool) : NULL;
    }
    pthread_mutex_unlock(&pool->lock);
    if (sleeper)
        sem_post(&sleeper->woken);
    return code;
}

bool thread_pool_cancel(struct thread_pool *pool, struct job *job)
{
    pthread_mutex_lock(&pool->lock);
    bool waits = job->link;
    if (waits)
        queue_take(pool, job);
    pthread_mutex_unlock(&pool->lock);
    return waits;
}

struct job *thread_pool_take(struct thread_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    struct job *list = queue_take_all(pool);
    pthread_mutex_unlock(&pool->lock);
    return list;
}

/* ---- the end ---- */

void thread_pool_close(struct thread_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    bool again = pool->closed;
    pool->closed = true;
    for (struct worker *sleeper; (sleeper = sleeper_take(pool));)
        sem_post(&sleeper->woken);
    if (!pool->first) /* else an idle worker may be about to take a job */
        workers_join(pool, false);
    if (again)
        pthread_mutex_unlock(&pool->lock);
    else
        pool_leave(pool);
}

/* ---- forks ---- */

void thread_pool_before_fork(struct thread_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
}

void thread_pool_after_fork(struct thread_pool *pool)
{
    pthread_mutex_unlock(&pool->lock);
}

bool thread_pool_in_child(struct thread_pool *pool)
{
    queue_take_all(pool);
    if (own_worker && own_worker->pool == pool)
        own_worker = NULL;
    pool->count = pool->idle = pool->looking = pool->joined = 0;
    pool->asleep = NULL;
    pool->references = !pool->closed;
    pthread_cond_init(&pool->gone, NULL); /* it would wait for those who waited in the parent */
    bool closed = pool->closed;
    pthread_mutex_unlock(&pool->lock);
    return closed;
}
