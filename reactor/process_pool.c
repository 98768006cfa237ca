/*
 * How it works: what waits is in a line under a lock. Who submits, cancels or shuts down changes
 * that, or leaves a request, and wakes the pool's manager through a descriptor; that does the rest
 * (process_manager.c). The manager's end is the pool's: references count it and the executor, and
 * the last frees the pool.
 *
 * A child of the program has neither manager nor workers: there the pool is broken.
 */
#include "process_pool.h"

#include "private_process_pool.h"
#include "private_thread_future.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- under the lock ---- */

static void pool_wake(struct process_pool *pool)
{
    const uint64_t one = 1;
    if (pool->awake || pool->ended)
        return;
    pool->awake = true;
    while (write(pool->wakeup, &one, sizeof one) < 0 && errno == EINTR)
        continue;
}

void pool_tell(struct process_pool *pool)
{
    if (!pool->shut || pool->told)
        return;
    pool->told = true;
    pthread_mutex_unlock(&pool->lock);
    executor_ended(pool->executor);
    pthread_mutex_lock(&pool->lock);
}

void pool_leave(struct process_pool *pool)
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

/* ---- the kind of executor ---- */

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
        code = executor_shut_error();
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
    bool joins = !pool->joined;
    pthread_t manager = pool->manager;
    pool->joined = true;
    pthread_mutex_unlock(&pool->lock); /* the thread's end may want locks that a fork holds */
    if (joins)
        pthread_join(manager, NULL);
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
static bool pool_in_child(void *own)
{
    struct process_pool *pool = own;
    manager_forget(pool);
    pthread_cond_init(&pool->over, NULL);
    line_clear(&pool->waiting);
    for (unsigned i = 0; !pool->ended && i < pool->workers_max; i++) {
        struct worker *worker = &pool->workers[i];
        if (worker->socket >= 0)
            close(worker->socket);
        free(worker->out);
        free(worker->in);
    }
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
    pool->told = pool->shut;
    pthread_mutex_unlock(&pool->lock);
    return pool->shut;
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

/* Starts the manager. 0 or -errno. */
static int pool_start(struct process_pool *pool)
{
    pool->references++;
    int code = thread_start(&pool->manager, manager_run, pool);
    if (code < 0)
        pool->references--;
    return code;
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
        pool_new(options->max_workers ? (unsigned)options->max_workers : processors_usable());
    if (!pool)
        return none;
    pool->tasks_max = options->max_tasks_per_child;
    thread_futures_prepare();
    int code = executors_prepare_forks() == 0 ? pool_fork(pool, options->initializer) : -ENOMEM;
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
