/*
 * How it works: the manager moves work to the workers, starts them, reads outcomes and calls back.
 * It holds the lock but while it polls, encodes, or calls out; so whoever else has the lock finds
 * all in order, but for work that is just being told its end.
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
#include "private_process_pool.h"

#include "value_codec.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* What this thread manages; NULL in a child that was forked in it. */
static _Thread_local const struct process_pool *managed;

void manager_forget(const struct process_pool *pool)
{
    if (managed == pool)
        managed = NULL;
}

/* From here the lock is held, but where it is said. */

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

/*
 * Takes the outcome over. A callback that forks and returns in the child, too, returns to a manager
 * of another process's workers: as the end of any thread of a child, that is the child's end.
 */
static void pool_finish(struct process_pool *pool, struct work *work, cora_value outcome)
{
    pthread_mutex_unlock(&pool->lock);
    work_finish(work, outcome);
    if (managed != pool)
        exit(EXIT_SUCCESS);
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

void *manager_run(void *own)
{
    struct process_pool *pool = own;
    managed = pool;
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
