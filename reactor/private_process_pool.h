/*
 * private_process_pool.h (private): a pool of processes, as its two parts see it: what is an
 * executor (process_pool.c), and the manager, a thread that talks to the workers
 * (process_manager.c).
 */
#ifndef CORA_PRIVATE_PROCESS_POOL_H
#define CORA_PRIVATE_PROCESS_POOL_H

#include "fork_server.h"
#include "private_executor.h"

#include <poll.h>

enum worker_state {
    WORKER_FREE, /* there is none */
    WORKER_IDLE,
    WORKER_BUSY,
    WORKER_LEAVES, /* it was told to end */
    WORKER_LOST,   /* it has ended, or has closed its socket, by itself */
};

struct worker {
    enum worker_state state;
    int socket;                /* -1: none */
    int jobs;                  /* that it has been given */
    struct work *work;         /* what it does, or did when it was lost */
    char *out;                 /* the job's bytes, the head included; NULL: none, or sent */
    size_t out_size, out_sent; /* of them */
    struct outcome_head head;  /* as far as it has come */
    char *in;                  /* the outcome's bytes; NULL: none, or no memory for them */
    size_t in_got;             /* of the head and the bytes */
};

/* Work that waits, first in, first out. */
struct line {
    struct job *first, **end;
    unsigned count;
};

struct process_pool {
    struct executor *executor; /* whose it is */
    pthread_t manager;
    unsigned workers_max;
    int tasks_max;       /* of a worker; 0: any */
    int control, wakeup; /* descriptors, the manager's and who wakes it */
    pid_t fork_server;

    pthread_mutex_t lock; /* for all of the following */
    pthread_cond_t over;  /* ended or joined has changed */
    struct line waiting;  /* can be cancelled */
    cora_value broken;    /* an error, counted; nothing: it is not */
    int signal;           /* to be sent to all workers; 0: none */
    bool shut;            /* nothing more is submitted */
    bool cancels;         /* what waits is to be cancelled */
    bool awake;           /* wakeup is written, and not read */
    bool told;            /* executor_ended was called */
    bool ended;           /* the manager does nothing more */
    bool joined;          /* and is gone, or is nobody's to wait for */
    unsigned references;  /* the executor's, the manager's */

    /* The manager's own, but for a fork. */
    struct line moved; /* to the workers: cannot be cancelled; workers_max + 1 at most */
    bool hindered;     /* a worker could not be started: not tried again until something changes */
    struct pollfd *polled;
    struct worker workers[];
};

/* ---- lines of work ---- */

static inline struct work *work_of(struct job *job)
{
    return (struct work *)job;
}

static inline void line_clear(struct line *line)
{
    *line = (struct line){ NULL, &line->first, 0 };
}

static inline void line_put(struct line *line, struct work *work)
{
    work->job.next = NULL;
    *line->end = &work->job;
    line->end = &work->job.next;
    line->count++;
}

/* Takes what this link leads to; NULL if that is nothing. */
static inline struct work *line_take(struct line *line, struct job **link)
{
    struct job *job = *link;
    if (!job)
        return NULL;
    *link = job->next;
    if (!job->next)
        line->end = link;
    line->count--;
    return work_of(job);
}

static inline void line_put_first(struct line *line, struct work *work)
{
    work->job.next = line->first;
    if (!line->first)
        line->end = &work->job.next;
    line->first = &work->job;
    line->count++;
}

static inline struct work *first_of(struct line *line)
{
    return line_take(line, &line->first);
}

/* ---- the pool: its lock is held, and held again afterwards ---- */

static inline bool pool_is_broken(const struct process_pool *pool)
{
    return !cora_is_nothing(pool->broken);
}

/* Tells that all has ended, once, if it is shut down. */
void pool_tell(struct process_pool *pool);

/* Gives a reference back, and the lock. */
void pool_leave(struct process_pool *pool);

/* In a forked child: it has no manager, even if that has forked. */
void manager_forget(const struct process_pool *pool);

/* The manager's thread, from its beginning to its end, with a pool; the lock is not held. */
void *manager_run(void *pool);

#endif
