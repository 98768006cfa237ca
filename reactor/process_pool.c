/*
 * How it works: a thread of the pool's, the manager, does everything but to take what is submitted:
 * it moves work to the workers, starts them, reads outcomes and calls back. Others only change the
 * line of what waits and leave requests, and wake the manager through a descriptor. The manager
 * holds the lock but while it polls, encodes, or calls out.
 *
 * Each worker has a socket of its own: the manager writes one job and then reads one outcome, never
 * blocking, while the worker reads all of the job before it writes: so however large they are
 * nobody waits for each other. The workers are children of the fork server (fork_server.h), which
 * takes orders and tells ends.
 *
 *     free --ordered--> idle <--job, outcome--> busy        gone: its socket is closed, and the
 *       ^                 '----------+-----------'          fork server tells its end later
 *       '----told---- gone <---------'
 *
 * A worker that goes by itself breaks the pool when its end is told, as only that tells the reason.
 * Its end may be told before its socket ends: then what is left there is read first.
 */
#include "process_pool.h"

#include "fork_server.h"
#include "private_executor.h"
#include "value_codec.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

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

static struct work *work_of(struct job *job)
{
    return (struct work *)job;
}

static void line_clear(struct line *line)
{
    *line = (struct line){ NULL, &line->first, 0 };
}

static void line_put(struct line *line, struct work *work)
{
    work->job.next = NULL;
    *line->end = &work->job;
    line->end = &work->job.next;
    line->count++;
}

/* Takes what this link leads to; NULL if that is nothing. */
static struct work *line_take(struct line *line, struct job **link)
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

static void line_put_first(struct line *line, struct work *work)
{
    work->job.next = line->first;
    if (!line->first)
        line->end = &work->job.next;
    line->first = &work->job;
    line->count++;
}

/* ---- the pool: from here the lock is held, but where it is said ---- */

static void pool_wake(struct process_pool *pool)
{
    const uint64_t one = 1;
    if (pool->awake || pool->ended)
        return;
    pool->awake = true;
    while (write(pool->wakeup, &one, sizeof one) < 0 && errno == EINTR)
        continue;
}

static bool pool_is_broken(const struct process_pool *pool)
{
    return !cora_is_nothing(pool->broken);
}

/* ---- the ends of work ---- */

/* An error's cause, if it has none: where it comes from. Takes the reference over. */
static cora_value with_origin(cora_value error, const struct work *work, int64_t process)
{
    if (!cora_is_nothing(error_holds(error.as.counted)))
        return error;
    const char *message = cora_error_message(error);
    cora_value origin =
        cora_error(CORA_EEXCEPTION, "%s failed in the worker process %lld (%s:%d)", work_name(work),
                   (long long)process, work->callback.place->file, work->callback.place->line);
    struct cora_counted *told =
        error_new_text(cora_error_code(error), origin, message, strlen(message));
    if (!told)
        return error;
    cora_drop(error);
    return counted_value(told);
}

/* Takes the outcome over. */
static void pool_finish(struct process_pool *pool, struct work *work, cora_value outcome)
{
    pthread_mutex_unlock(&pool->lock);
    work_finish(work, outcome);
    pthread_mutex_lock(&pool->lock);
}

static void pool_fail(struct process_pool *pool, struct work *work, cora_value error)
{
    pool_finish(pool, work, cora_copy(error));
}

/* Whether work that has waited is to be done; if not, it is finished. */
static bool pool_begin(struct process_pool *pool, struct work *work)
{
    pthread_mutex_unlock(&pool->lock);
    bool begins = work_begins(work);
    pthread_mutex_lock(&pool->lock);
    if (!begins)
        pool_fail(pool, work, cancelled_error());
    return begins;
}

static struct work *first_of(struct line *line)
{
    return line_take(line, &line->first);
}

/* All that waits now, and all that was moved and is with no worker. */
static void fail_waiting(struct process_pool *pool, cora_value error)
{
    struct work *work;
    struct line waiting;
    line_clear(&waiting);
    while ((work = first_of(&pool->waiting)))
        line_put(&waiting, work);
    while ((work = first_of(&pool->moved)))
        pool_fail(pool, work, error);
    while ((work = first_of(&waiting)))
        if (pool_begin(pool, work))
            pool_fail(pool, work, error);
}

/* ---- workers ---- */

/* Closes the socket: the worker ends when it has nothing more to do. */
static void worker_close(struct worker *worker, enum worker_state state)
{
    shutdown(worker->socket, SHUT_RDWR); /* another child of the program may have a copy */
    close(worker->socket);
    free(worker->out);
    free(worker->in);
    worker->socket = -1;
    worker->out = worker->in = NULL;
    worker->in_got = 0;
    worker->state = state;
}

/* A new one. 0 or -errno. */
static int worker_start(struct process_pool *pool, struct worker *worker)
{
    int ends[2], code = fork_server_pair(ends);
    if (code < 0)
        return code;
    code = fork_server_order(pool->control, (unsigned)(worker - pool->workers), ends[1]);
    close(ends[1]);
    if (code < 0) {
        close(ends[0]);
        return code;
    }
    *worker = (struct worker){ .state = WORKER_IDLE, .socket = ends[0] };
    return 0;
}

/* An idle one, or a new one; NULL if there is none, and perhaps a code why. */
static struct worker *worker_find(struct process_pool *pool, int *ret_code)
{
    struct worker *unused = NULL;
    for (unsigned i = 0; i < pool->workers_max; i++) {
        struct worker *worker = &pool->workers[i];
        if (worker->state == WORKER_IDLE)
            return worker;
        if (worker->state == WORKER_FREE && !unused)
            unused = worker;
    }
    if (!unused || pool->hindered)
        return NULL;
    *ret_code = worker_start(pool, unused);
    pool->hindered = *ret_code < 0;
    return pool->hindered ? NULL : unused;
}

static bool any_worker(const struct process_pool *pool)
{
    for (unsigned i = 0; i < pool->workers_max; i++)
        if (pool->workers[i].state != WORKER_FREE)
            return true;
    return false;
}

static void fork_server_lost(struct process_pool *pool);

/* Sends a signal to one worker, or to all; if that cannot be, they end with the fork server. */
static void workers_signal(struct process_pool *pool, unsigned worker, int number)
{
    if (fork_server_signal(pool->control, worker, number) < 0)
        fork_server_lost(pool);
}

static void worker_lost(struct process_pool *pool, struct worker *worker)
{
    worker_close(worker, WORKER_LOST);
    workers_signal(pool, (unsigned)(worker - pool->workers), SIGKILL);
}

/* Writes as much of the job as the socket takes. */
static void worker_write(struct worker *worker)
{
    ssize_t sent;
    do
        sent = send(worker->socket, worker->out + worker->out_sent,
                    worker->out_size - worker->out_sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    bool works = sent >= 0 || errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM;
    if (!works)
        shutdown(worker->socket, SHUT_WR); /* reading finds the end, and what comes before it */
    worker->out_sent += sent > 0 ? (size_t)sent : 0;
    if (!works || worker->out_sent == worker->out_size) {
        free(worker->out);
        worker->out = NULL;
    }
}

/* Its encoded job, with the head. 0; or a code, and the error is set. */
static int job_encode(const struct work *work, char **ret_bytes, size_t *ret_size)
{
    struct job_head head = { .magic = WIRE_MAGIC };
    cora_args bound = work_args(work);
    int code = values_encode(bound.values, bound.count, sizeof head, ret_bytes, ret_size);
    if (code < 0)
        return code;
    head.size = *ret_size - sizeof head;
    head.function = (work_function)work->callback.function;
    memcpy(*ret_bytes, &head, sizeof head);
    return 0;
}

/* ---- breaking ---- */

/* The pool is of no more use: what it was given fails with this error, taken over. */
static void pool_break(struct process_pool *pool, cora_value error)
{
    if (pool_is_broken(pool)) {
        cora_drop(error);
        return;
    }
    pool->broken = error;
    for (unsigned i = 0; i < pool->workers_max; i++) {
        struct worker *worker = &pool->workers[i];
        struct work *work = worker->work;
        if (worker->state == WORKER_IDLE || worker->state == WORKER_BUSY)
            worker_close(worker, WORKER_LEAVES);
        worker->work = NULL;
        if (work)
            pool_fail(pool, work, error);
    }
    fail_waiting(pool, error);
    workers_signal(pool, EVERY_WORKER, SIGTERM);
}

#define ABRUPTLY                                                                                   \
    "A process in the process pool was terminated abruptly while the future was running or "       \
    "pending"

/* Because a worker has ended: its status as waitpid's. */
static void pool_break_for_end(struct process_pool *pool, pid_t process, int status)
{
    int number = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
    cora_value error = WIFSIGNALED(status)
                           ? cora_error(CORA_EBROKENPROCESSPOOL,
                                        ABRUPTLY ": worker %d was killed by signal %d (%s)",
                                        (int)process, number, strsignal(number))
                           : cora_error(CORA_EBROKENPROCESSPOOL,
                                        ABRUPTLY ": worker %d has ended with exit status %d",
                                        (int)process, number);
    pool_break(pool, cora_copy(error));
}

static void pool_break_for_error(struct process_pool *pool, const char *what, cora_value cause)
{
    pool_break(pool, cora_copy(cora_error_from(cause, CORA_EBROKENPROCESSPOOL, "%s: %s: %s", what,
                                               cora_error_name(cora_error_code(cause)),
                                               cora_error_message(cause))));
}

/* Without the fork server there are no workers, either. */
static void fork_server_lost(struct process_pool *pool)
{
    cora_value error = cora_error(CORA_EBROKENPROCESSPOOL,
                                  ABRUPTLY ": the parent process of the workers has ended");
    pool_break(pool, cora_copy(error));
    for (unsigned i = 0; i < pool->workers_max; i++)
        pool->workers[i].state = WORKER_FREE;
}

/* ---- outcomes ---- */

/* The worker has done its work. The outcome is taken over. */
static void worker_finish(struct process_pool *pool, struct worker *worker, cora_value outcome)
{
    struct work *work = worker->work;
    if (cora_is_error(outcome))
        outcome = with_origin(outcome, work, worker->head.process);
    free(worker->in);
    worker->in = NULL;
    worker->in_got = 0;
    worker->work = NULL;
    worker->state = WORKER_IDLE;
    pool->hindered = false;
    if (pool->tasks_max > 0 && worker->jobs >= pool->tasks_max)
        worker_close(worker, WORKER_LEAVES);
    pool_finish(pool, work, outcome);
}

/* All of an outcome is there. */
static void worker_outcome(struct process_pool *pool, struct worker *worker)
{
    enum outcome_kind kind = (enum outcome_kind)worker->head.kind;
    cora_value outcome = memory_error();
    int code = 1;
    if (kind != OUTCOME_NO_MEMORY && worker->in)
        code = values_decode(worker->in, (size_t)worker->head.size, &outcome, 1);
    if (code == CORA_EMEMORY)
        code = 1;
    if (code != 1) {
        pool_break_for_error(pool, "what came from a worker cannot be read", cora_last_error());
    } else if (kind == OUTCOME_OF_INITIALIZER || kind == OUTCOME_OF_DECODING) {
        pool_break_for_error(pool,
                             kind == OUTCOME_OF_DECODING ? "a worker cannot read what was sent"
                                                         : "the initializer has failed",
                             outcome);
        cora_drop(outcome);
    } else {
        worker_finish(pool, worker, outcome);
    }
}

/* Whether an outcome may begin so. */
static bool head_is_valid(const struct worker *worker)
{
    const struct outcome_head *head = &worker->head;
    bool of_job = head->kind == OUTCOME_OF_JOB || head->kind == OUTCOME_NO_MEMORY;
    return head->magic == WIRE_MAGIC && head->kind >= OUTCOME_OF_JOB &&
           head->kind <= OUTCOME_OF_DECODING && head->size <= SIZE_MAX / 2 &&
           (head->size > 0 || head->kind != OUTCOME_OF_JOB) &&
           (!of_job || (worker->work && !worker->out));
}

/* Reads on. False when there is nothing to be read now, or ever. */
static bool worker_read(struct process_pool *pool, struct worker *worker)
{
    char unwanted[4096], *to = (char *)&worker->head + worker->in_got;
    size_t room = sizeof worker->head - worker->in_got, in_body = 0;
    if (worker->in_got >= sizeof worker->head) {
        in_body = worker->in_got - sizeof worker->head;
        room = (size_t)worker->head.size - in_body;
        to = worker->in ? worker->in + in_body : unwanted;
        if (!worker->in && room > sizeof unwanted)
            room = sizeof unwanted;
    }
    ssize_t got = recv(worker->socket, to, room, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR)
        return true;
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            worker_lost(pool, worker);
        return false;
    }
    worker->in_got += (size_t)got;
    if (worker->in_got == sizeof worker->head && in_body == 0) {
        if (!head_is_valid(worker)) {
            pool_break_for_error(pool, "what came from a worker cannot be read",
                                 cora_error(CORA_EVALUE, "it is no outcome"));
            return false;
        }
        if (worker->head.size > 0)
            worker->in = malloc((size_t)worker->head.size);
    }
    if (worker->in_got < sizeof worker->head ||
        worker->in_got - sizeof worker->head < worker->head.size)
        return true;
    worker_outcome(pool, worker);
    return false;
}

/* ---- what the fork server tells ---- */

/* A worker was not forked after all. */
static void worker_not_started(struct process_pool *pool, struct worker *worker, int code)
{
    struct work *work = worker->work;
    if (worker->socket >= 0)
        worker_close(worker, WORKER_FREE);
    *worker = (struct worker){ .state = WORKER_FREE, .socket = -1 };
    pool->hindered = true;
    if (work)
        line_put_first(&pool->moved, work);
    if (!any_worker(pool))
        fail_waiting(pool, cora_error(code, "a worker process cannot be started"));
}

static void worker_ended(struct process_pool *pool, const struct fork_server_report *report)
{
    struct worker *worker = &pool->workers[report->worker];
    bool by_itself = worker->state != WORKER_LEAVES;
    while (worker->socket >= 0 && worker_read(pool, worker))
        continue;
    if (worker->socket >= 0)
        worker_close(worker, WORKER_LOST);
    by_itself = by_itself && worker->state != WORKER_LEAVES;
    worker->state = WORKER_FREE;
    pool->hindered = false; /* the work that waits may have waited for this one */
    if (by_itself)
        pool_break_for_end(pool, report->process, report->status);
}

static void reports_take(struct process_pool *pool)
{
    struct fork_server_report report;
    int code;
    while ((code = fork_server_read(pool->control, &report)) > 0) {
        struct worker *worker = &pool->workers[report.worker];
        if (report.process == 0 && worker->state != WORKER_LEAVES)
            worker_not_started(pool, worker, -report.status);
        else
            worker_ended(pool, &report);
    }
    if (code < 0)
        fork_server_lost(pool);
}

/* ---- the manager ---- */

/* Moves what waits to the workers' line, as much as may be there. */
static void work_move(struct process_pool *pool)
{
    struct work *work;
    while (pool->moved.count <= pool->workers_max && (work = first_of(&pool->waiting)))
        if (pool_begin(pool, work))
            line_put(&pool->moved, work);
}

/* Gives the first that was moved to a worker. False if there is none, of the one or the other. */
static bool work_give(struct process_pool *pool)
{
    char *bytes;
    size_t size;
    int code = 0;
    if (!pool->moved.first)
        return false;
    struct worker *worker = worker_find(pool, &code);
    if (code == -EPIPE)
        fork_server_lost(pool);
    else if (code < 0 && !any_worker(pool))
        fail_waiting(pool, cora_error(code, "a worker process cannot be started"));
    if (!worker)
        return false;
    worker->work = first_of(&pool->moved);
    pthread_mutex_unlock(&pool->lock);
    code = job_encode(worker->work, &bytes, &size);
    pthread_mutex_lock(&pool->lock);
    if (code < 0) {
        struct work *work = worker->work;
        worker->work = NULL;
        pool_fail(pool, work, cora_last_error());
        return true;
    }
    worker->state = WORKER_BUSY;
    worker->jobs++;
    worker->out = bytes;
    worker->out_size = size;
    worker->out_sent = 0;
    worker_write(worker);
    return true;
}

static bool any_work(const struct process_pool *pool)
{
    for (unsigned i = 0; i < pool->workers_max; i++)
        if (pool->workers[i].work)
            return true;
    return pool->moved.first;
}

static void workers_dismiss(struct process_pool *pool)
{
    for (unsigned i = 0; i < pool->workers_max; i++)
        if (pool->workers[i].state == WORKER_IDLE)
            worker_close(&pool->workers[i], WORKER_LEAVES);
}

static void requests_take(struct process_pool *pool)
{
    uint64_t count;
    if (pool->awake) {
        pool->awake = read(pool->wakeup, &count, sizeof count) < 0;
        pool->hindered = false;
    }
    for (struct work *work; pool->cancels && (work = first_of(&pool->waiting));)
        pool_fail(pool, work, cancelled_error());
    if (pool->signal != 0)
        workers_signal(pool, EVERY_WORKER, pool->signal);
    pool->signal = 0;
}

/* Tells that all has ended, once. */
static void pool_tell(struct process_pool *pool)
{
    if (!pool->shut || pool->told)
        return;
    pool->told = true;
    pthread_mutex_unlock(&pool->lock);
    executor_ended(pool->executor);
    pthread_mutex_lock(&pool->lock);
}

/* Does all that can be done without waiting. Whether there will be more to do. */
static bool manager_turn(struct process_pool *pool)
{
    requests_take(pool);
    if (pool_is_broken(pool))
        fail_waiting(pool, pool->broken);
    do
        work_move(pool);
    while (work_give(pool));
    bool over = (pool->shut || pool_is_broken(pool)) && !pool->waiting.first && !any_work(pool);
    if (over)
        workers_dismiss(pool);
    return !over || any_worker(pool);
}

/* Waits, without the lock. False if it was for nothing. */
static bool manager_poll(struct process_pool *pool)
{
    struct pollfd *polled = pool->polled;
    nfds_t count = 2; /* about as many as are open: poll refuses more than may be */
    polled[0] = (struct pollfd){ pool->control, POLLIN, 0 };
    polled[1] = (struct pollfd){ pool->wakeup, POLLIN, 0 };
    for (unsigned i = 0; i < pool->workers_max; i++) {
        const struct worker *worker = &pool->workers[i];
        short events = worker->out ? POLLIN | POLLOUT : POLLIN;
        polled[2 + i] = (struct pollfd){ worker->socket, events, 0 };
        if (worker->socket >= 0)
            count = 3 + (nfds_t)i;
    }
    pthread_mutex_unlock(&pool->lock);
    cora_drop_temporaries();
    int ready = poll(polled, count, -1);
    pthread_mutex_lock(&pool->lock);
    return ready > 0;
}

/* What has come from the workers, then from their parent. */
static void manager_read(struct process_pool *pool)
{
    struct pollfd *polled = pool->polled;
    for (unsigned i = 0; i < pool->workers_max; i++) {
        struct worker *worker = &pool->workers[i];
        if (polled[2 + i].revents & POLLOUT && worker->out)
            worker_write(worker);
        if (polled[2 + i].revents & ~POLLOUT)
            while (worker->socket >= 0 && worker_read(pool, worker))
                continue;
    }
    if (polled[0].revents)
        reports_take(pool);
}

static void pool_leave(struct process_pool *pool);

static void *manager_run(void *own)
{
    struct process_pool *pool = own;
    pthread_setname_np(pthread_self(), "cora-processes");
    pthread_mutex_lock(&pool->lock);
    while (manager_turn(pool))
        if (manager_poll(pool))
            manager_read(pool);
    fork_server_end(pool->fork_server, pool->control);
    pool->control = -1; /* a fork may look */
    pool_tell(pool);
    pool->ended = true;
    close(pool->wakeup);
    pthread_cond_broadcast(&pool->over);
    pool_leave(pool);
    return NULL;
}

/* ---- the kind of executor ---- */

/* Gives a reference back, and the lock, which is held. */
static void pool_leave(struct process_pool *pool)
{
    bool last = --pool->references == 0;
    pthread_mutex_unlock(&pool->lock);
    if (!last)
        return;
    cora_drop(pool->broken);
    pthread_cond_destroy(&pool->over);
    pthread_mutex_destroy(&pool->lock);
    free(pool->polled);
    free(pool);
}

static int pool_submit(void *own, struct work *work)
{
    struct process_pool *pool = own;
    int code = 0;
    pthread_mutex_lock(&pool->lock);
    cora_value broken = cora_copy(pool->broken);
    bool shut = pool->shut;
    if (!shut && !pool_is_broken(pool)) {
        line_put(&pool->waiting, work);
        pool_wake(pool);
    }
    pthread_mutex_unlock(&pool->lock);
    if (!cora_is_nothing(broken)) /* not under the lock: it drops an error */
        code = fail_with(broken);
    else if (shut)
        code = fail(CORA_ERUNTIME, "cannot schedule new futures after shutdown");
    cora_drop(broken);
    return code;
}

static bool pool_cancel(void *own, struct work *work)
{
    struct process_pool *pool = own;
    struct job **link;
    pthread_mutex_lock(&pool->lock);
    for (link = &pool->waiting.first; *link && *link != &work->job;)
        link = &(*link)->next;
    bool found = line_take(&pool->waiting, link);
    pthread_mutex_unlock(&pool->lock);
    return found;
}

static void pool_shutdown(void *own, bool cancel)
{
    struct process_pool *pool = own;
    pthread_mutex_lock(&pool->lock);
    pool->shut = true;
    pool->cancels = pool->cancels || cancel;
    if (pool->ended)
        pool_tell(pool);
    else
        pool_wake(pool);
    pthread_mutex_unlock(&pool->lock);
}

static void pool_join(void *own)
{
    struct process_pool *pool = own;
    pthread_mutex_lock(&pool->lock);
    if (!pool->joined && pthread_equal(pool->manager, pthread_self())) {
        pthread_mutex_unlock(&pool->lock);
        return;
    }
    while (!pool->ended)
        pthread_cond_wait(&pool->over, &pool->lock);
    if (!pool->joined)
        pthread_join(pool->manager, NULL); /* it has nothing more to do with the lock */
    pool->joined = true;
    pthread_mutex_unlock(&pool->lock);
}

static void pool_free(void *own)
{
    struct process_pool *pool = own;
    pool_join(pool);
    pthread_mutex_lock(&pool->lock);
    if (!pool->joined)
        pthread_detach(pool->manager); /* which is here just now */
    pool->joined = true;
    pool_leave(pool);
}

static void pool_before_fork(void *own)
{
    pthread_mutex_lock(&((struct process_pool *)own)->lock);
}

static void pool_after_fork(void *own)
{
    pthread_mutex_unlock(&((struct process_pool *)own)->lock);
}

/* The processes are the parent's, and there is no manager. The lock is held. */
static struct job *pool_in_child(void *own)
{
    struct process_pool *pool = own;
    struct line lost = pool->waiting;
    if (!lost.first)
        line_clear(&lost);
    pthread_cond_init(&pool->over, NULL);
    for (unsigned i = 0; !pool->ended && i < pool->workers_max; i++) {
        struct worker *worker = &pool->workers[i];
        if (worker->work)
            line_put(&lost, worker->work);
        if (worker->state != WORKER_FREE && worker->socket >= 0)
            close(worker->socket);
    }
    *lost.end = pool->ended ? NULL : pool->moved.first;
    line_clear(&pool->waiting);
    if (!pool->ended) {
        if (pool->control >= 0)
            close(pool->control);
        close(pool->wakeup);
        pool->references--; /* the manager's */
    }
    if (!pool_is_broken(pool))
        pool->broken = cora_copy(
            cora_error(CORA_EBROKENPROCESSPOOL, "the pool belongs to the parent of this process"));
    pool->ended = pool->joined = true;
    pthread_mutex_unlock(&pool->lock);
    return lost.first;
}

static const struct executor_kind process_pool_kind = {
    .name = "ProcessPoolExecutor",
    .submit = pool_submit,
    .cancel = pool_cancel,
    .shutdown = pool_shutdown,
    .join = pool_join,
    .free = pool_free,
    .before_fork = pool_before_fork,
    .after_fork = pool_after_fork,
    .in_child = pool_in_child,
    .broken = CORA_EBROKENPROCESSPOOL,
};

/* ---- making ---- */

static unsigned processors(void)
{
    cpu_set_t usable;
    if (sched_getaffinity(0, sizeof usable, &usable) == 0)
        return (unsigned)CPU_COUNT(&usable);
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (unsigned)count : 1;
}

/* The memory of one, with no process and no thread yet. NULL and the error. */
static struct process_pool *pool_new(unsigned workers)
{
    struct process_pool *pool = malloc(sizeof *pool + workers * sizeof *pool->workers);
    struct pollfd *polled = malloc((workers + (size_t)2) * sizeof *polled);
    if (!pool || !polled) {
        free(pool);
        free(polled);
        fail_with(memory_error());
        return NULL;
    }
    *pool = (struct process_pool){ .workers_max = workers, .references = 1, .polled = polled };
    for (unsigned i = 0; i < workers; i++)
        pool->workers[i] = (struct worker){ .socket = -1 };
    line_clear(&pool->waiting);
    line_clear(&pool->moved);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->over, NULL);
    return pool;
}

/* Its parent of workers, and how the manager is woken. 0 or -errno. */
static int pool_fork(struct process_pool *pool, cora_work initializer)
{
    struct fork_server_plan plan = { .workers = pool->workers_max };
    if (initializer.partial) {
        plan.initializer = (work_function)initializer.partial->function;
        plan.initializer_args =
            (cora_args){ initializer.partial->arguments, initializer.partial->count };
    }
    pool->wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pool->wakeup < 0)
        return -errno;
    int code = fork_server_start(&plan, &pool->fork_server, &pool->control);
    if (code < 0)
        close(pool->wakeup);
    return code;
}

/* Starts the manager, which blocks all signals. 0 or -errno. */
static int pool_start(struct process_pool *pool)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pool->references++;
    int error = pthread_create(&pool->manager, NULL, manager_run, pool);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error)
        pool->references--;
    return -error;
}

/* Takes back what pool_fork has made; there is no manager. */
static void pool_unfork(struct process_pool *pool)
{
    fork_server_end(pool->fork_server, pool->control);
    close(pool->wakeup);
    pool->ended = pool->joined = true;
}

static int check_options(const struct cora_process_pool_options *options)
{
    if (options->max_workers < 0)
        return fail(CORA_EVALUE, "max_workers must be greater than 0");
    if (options->max_tasks_per_child < 0)
        return fail(CORA_EVALUE, "max_tasks_per_child must be >= 1");
    return 0;
}

cora_executor cora_process_pool_new(const struct cora_process_pool_options *given)
{
    const cora_executor none = { 0 };
    const struct cora_process_pool_options usual = { 0 }, *options = given ? given : &usual;
    if (check_options(options) < 0)
        return none;
    struct process_pool *pool =
        pool_new(options->max_workers ? (unsigned)options->max_workers : processors());
    if (!pool)
        return none;
    pool->tasks_max = options->max_tasks_per_child;
    int code = pool_fork(pool, options->initializer);
    if (code < 0) {
        pool->joined = pool->ended = true;
        pool_free(pool);
        fail(code, "the parent of the pool's processes cannot be started");
        return none;
    }
    cora_executor handle = executor_new(&process_pool_kind, pool, &pool->executor);
    if (cora_is_null(handle)) {
        pool_unfork(pool);
        pool_free(pool);
        return none;
    }
    code = pool_start(pool);
    if (code < 0) {
        pool_unfork(pool);
        cora_executor_shutdown(handle);
        fail(code, "can't start new thread");
        return none;
    }
    return handle;
}

/* ---- ending by force ---- */

static int force(cora_executor handle, int number)
{
    struct executor *executor;
    struct process_pool *pool = executor_enter(handle, &process_pool_kind, &executor);
    if (!pool) /* one that has ended has no workers */
        return cora_is_null(handle) || cora_last_error_code() == CORA_ETYPE ? cora_last_error_code()
                                                                            : 0;
    cora_executor_shutdown(handle, .no_wait = true, .cancel_futures = true);
    pthread_mutex_lock(&pool->lock);
    pool->signal = number;
    pool_wake(pool);
    pthread_mutex_unlock(&pool->lock);
    executor_leave(executor);
    return 0;
}

int cora_executor_terminate_workers(cora_executor executor)
{
    return force(executor, SIGTERM);
}

int cora_executor_kill_workers(cora_executor executor)
{
    return force(executor, SIGKILL);
}
