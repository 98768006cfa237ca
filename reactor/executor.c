/*
 * How it works: an executor is a slot in a pool of the process, with a table for what kind it is.
 * References keep it: one until it is shut down, one until its workers have ended, and one of each
 * call that is in it. They are atomic, and are only taken under the lock, which guards the list of
 * all and the slots; so the last one, which frees the pool, is given back without it.
 *
 * Work for a loop is an errand: the work, the letter that brings its outcome, and the slot of the
 * callback that is to be told, which is what its handle names. While it is away it belongs to the
 * executor, but for that slot, which is the loop's. The errand is freed in the loop's thread, when
 * its letter arrives or a cancel takes it back; by the worker, when the loop is closed. So a job
 * needs one block, which comes from the thread's cache and goes there again.
 *
 * Around a fork all executors are locked. The child makes their pools new; work that was lost by
 * that is finished, as an error, when the child's own locks are good again and somebody asks:
 * cora_after_fork for what is its loop's, and the first call that asks for what is no loop's.
 */
#include "executor.h"

#include "exception_handler.h"
#include "fork.h"
#include "outcome.h"
#include "private_thread_future.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#define WORKERS_MOST 32 /* of a pool whose owner does not say */
#define WORKERS_MORE 4  /* than processors */

struct executor {
    struct slot slot;
    const struct executor_kind *kind;
    void *pool; /* the kind's */
    atomic_uint references;
    bool is_shut;                  /* under the lock, as all that follows */
    bool has_ended;                /* only the ends of its workers remain */
    bool ends;                     /* in a forked child: it has, and that is not told yet */
    struct errand *watchers;       /* to be told when it has ended */
    struct work *given;            /* to it, the end not told */
    struct executor *next, **link; /* in the list of all */
};

static struct {
    pthread_mutex_t lock;
    struct pool pool;
    struct executor *first;
    struct work *lost;   /* in a forked child */
    atomic_uint leaving; /* work whose end is being made known: begins under the lock */
} executors = { .lock = PTHREAD_MUTEX_INITIALIZER };

atomic_bool any_work_lost;

/* What this thread does for a pool of threads. */
static _Thread_local struct work *own_work;

/* ---- work ---- */

/* Puts it into a list. The lock is held. */
static void given_put(struct work **list, struct work *work)
{
    work->next_given = *list;
    work->link_given = list;
    if (work->next_given)
        work->next_given->link_given = &work->next_given;
    *list = work;
}

/* Takes it out of its list, if it is in one. The lock is held. */
static void given_take(struct work *work)
{
    if (!work->link_given)
        return;
    *work->link_given = work->next_given;
    if (work->next_given)
        work->next_given->link_given = work->link_given;
    work->link_given = NULL;
}

void work_leave(struct work *work)
{
    pthread_mutex_lock(&executors.lock);
    given_take(work);
    atomic_fetch_add_explicit(&executors.leaving, 1, memory_order_relaxed);
    pthread_mutex_unlock(&executors.lock);
}

void work_left(void)
{
    atomic_fetch_sub_explicit(&executors.leaving, 1, memory_order_release);
}

/* It was not given after all, or is taken back. */
static void work_return(struct work *work)
{
    pthread_mutex_lock(&executors.lock);
    given_take(work);
    pthread_mutex_unlock(&executors.lock);
}

/* Without a context: a worker has another one. */
bool work_init(struct work *work, cora_work what)
{
    *work = (struct work){ .slot = { .kind = SLOT_READY } };
    if (!what.partial->function) {
        fail(CORA_ETYPE, "the work %s is NULL", what.partial->place->name);
        return false;
    }
    struct cora_counted *context = cora_thread.context;
    cora_thread.context = NULL;
    bool stored = callback_store(&work->slot, &work->callback, what.partial);
    cora_thread.context = context;
    if (!stored)
        work->slot.flags = work->slot.count = 0; /* nothing is held */
    return stored;
}

void work_take_context(struct work *work)
{
    if (!cora_thread.context)
        return;
    work->callback.context = cora_thread.context;
    counted_keep(cora_thread.context);
    work->slot.flags |= CALLBACK_CONTEXT | CALLBACK_DROPS;
}

void work_drop(struct work *work)
{
    callback_drop(&work->slot, &work->callback);
}

/* Drops what the work has left behind in a thread without a loop. */
static void thread_settle(void)
{
    if (CORA_LIKELY(!cora_thread.attention))
        return;
    struct cora_counted *variables = cora_thread.context;
    cora_thread.context = NULL;
    if (variables)
        counted_drop(variables);
    if (cora_thread.depth == 0)
        thread_drop_temporaries();
    cora_thread.attention = false;
}

cora_value work_call(struct work *work)
{
    struct thread *thread = &cora_thread;
    struct cora_counted *variables =
        work->slot.flags & CALLBACK_CONTEXT ? work->callback.context : NULL;
    cora_value outcome, kept;
    if (variables) {
        counted_keep(variables);
        thread->attention = true;
    }
    thread->context = variables;
    thread->depth++;
    outcome = ((cora_work_function)work->callback.function)(work_args(work));
    thread->depth--;
    cora_value failure = thread->failure;
    thread->failure = cora_nothing();
    if (!cora_is_nothing(failure))
        outcome = failure;
    if (!value_keep(outcome, &kept))
        kept = cora_copy(memory_error());
    cora_drop(failure);
    thread_settle();
    return kept;
}

/* ---- executors ---- */

cora_executor executor_new(const struct executor_kind *kind, void *pool,
                           struct executor **ret_executor)
{
    const cora_executor none = { 0 };
    bool prepared = executors_prepare_forks() == 0;
    pthread_mutex_lock(&executors.lock);
    if (!executors.pool.slot_size)
        pool_init(&executors.pool, NULL, SLOT_EXECUTOR,
                  (sizeof(struct executor) + 15) & ~(size_t)15);
    struct executor *executor = prepared ? (struct executor *)pool_take(&executors.pool) : NULL;
    if (executor) {
        memset(&executor->slot + 1, 0, sizeof *executor - sizeof executor->slot);
        executor->kind = kind;
        executor->pool = pool;
        atomic_init(&executor->references, 2); /* until the shutdown, and until it has ended */
        executor->next = executors.first;
        executor->link = &executors.first;
        if (executor->next)
            executor->next->link = &executor->next;
        executors.first = executor;
        *ret_executor = executor;
    }
    pthread_mutex_unlock(&executors.lock);
    if (!executor)
        fail_with(memory_error());
    return executor ? (cora_executor){ executor->slot.bits } : none;
}

/* The executor of this handle, with one reference more; NULL if it is stale. The lock is held. */
static struct executor *executor_at(cora_executor handle)
{
    struct slot *slot = slot_at(handle.bits);
    if (!slot || slot->kind != SLOT_EXECUTOR || !slot_is(slot, handle.bits) ||
        slot_state(slot) == SLOT_FREE)
        return NULL;
    struct executor *executor = (struct executor *)slot;
    unsigned references = atomic_load_explicit(&executor->references, memory_order_relaxed);
    while (references > 0) /* else somebody is about to free it */
        if (atomic_compare_exchange_weak(&executor->references, &references, references + 1))
            return executor;
    return NULL;
}

static struct executor *executor_find(cora_executor handle)
{
    pthread_mutex_lock(&executors.lock);
    struct executor *executor = executor_at(handle);
    pthread_mutex_unlock(&executors.lock);
    return executor;
}

void executor_leave(struct executor *executor)
{
    if (atomic_fetch_sub_explicit(&executor->references, 1, memory_order_acq_rel) > 1)
        return;
    const struct executor_kind *kind = executor->kind;
    void *pool = executor->pool;
    pthread_mutex_lock(&executors.lock);
    *executor->link = executor->next;
    if (executor->next)
        executor->next->link = executor->link;
    pool_give(&executors.pool, &executor->slot);
    pthread_mutex_unlock(&executors.lock);
    kind->free(pool);
}

int executor_shut_error(void)
{
    return fail(CORA_ERUNTIME, "cannot schedule new futures after shutdown");
}

/* Why there is none. The error's code. */
static int refuse(cora_executor handle)
{
    if (!cora_is_null(handle))
        return executor_shut_error();
    if (cora_is_error(cora_last_error()))
        return cora_last_error_code(); /* why it could not be made */
    return fail(CORA_EMEMORY, "the executor is null: it could not be made");
}

void *executor_enter(cora_executor handle, const struct executor_kind *kind,
                     struct executor **ret_executor)
{
    struct executor *executor = executor_find(handle);
    if (!executor) {
        refuse(handle);
        return NULL;
    }
    if (executor->kind == kind) {
        *ret_executor = executor;
        return executor->pool;
    }
    fail(CORA_ETYPE, "a %s was expected, got a %s", kind->name, executor->kind->name);
    executor_leave(executor);
    return NULL;
}

int executor_give(cora_executor handle, struct work *work)
{
    pthread_mutex_lock(&executors.lock);
    struct executor *executor = executor_at(handle);
    bool takes = executor && !executor->is_shut;
    if (takes) {
        work->broken = executor->kind->broken;
        given_put(&executor->given, work);
    }
    pthread_mutex_unlock(&executors.lock);
    int code = takes ? executor->kind->submit(executor->pool, work) : refuse(handle);
    if (takes && code < 0)
        work_return(work);
    if (executor)
        executor_leave(executor);
    return code;
}

bool executor_take_back(cora_executor handle, struct work *work)
{
    struct executor *executor = executor_find(handle);
    if (!executor)
        return false;
    bool taken = executor->kind->cancel(executor->pool, work);
    if (taken)
        work_return(work);
    executor_leave(executor);
    return taken;
}

/* ---- errands: work for a loop ---- */

struct errand {
    struct work work; /* first */
    struct letter letter;
    cora_loop loop;
    struct slot *told;        /* the callback's; the loop's thread's; NULL: nobody is told */
    cora_executor executor;   /* that has it */
    struct executor *watched; /* whose end it waits for instead: a reference; NULL: none */
    struct errand *next;      /* of those */
};

static struct errand *errand_with(struct letter *letter)
{
    return (struct errand *)(void *)((char *)letter - offsetof(struct errand, letter));
}

/* Its slot is dealt with. Drop functions may run in it. */
static void errand_free(struct errand *errand)
{
    struct errand freed = *errand;
    block_put(errand, sizeof *errand);
    if (freed.watched)
        executor_leave(freed.watched);
    work_drop(&freed.work);
    cora_drop(freed.work.outcome);
}

static void on_arrived(struct loop *loop, struct letter *letter)
{
    struct errand *errand = errand_with(letter);
    struct slot *slot = loop ? errand->told : NULL;
    cora_value outcome = errand->work.outcome;
    errand->work.outcome = cora_nothing();
    if (slot) {
        slot->flags &= (uint8_t)~CALLBACK_AWAY;
        slot->state = SLOT_RUNNING;
        outcome_store(slot, outcome);
        loop_awaited(loop);
    }
    cora_drop(outcome);
    errand_free(errand);
    if (!slot)
        return;
    tick_settle(loop); /* what a drop function fails with is not the callback's failure */
    if (loop->ev)
        slot_run(loop, slot, slot_callback(slot));
    callback_drop(slot, slot_callback(slot));
    if (loop->ev)
        handle_free(loop, slot);
}

/* Sends the outcome to the loop, if it is there still. */
static void errand_done(struct work *work)
{
    struct errand *errand = (struct errand *)work;
    work_leave(work);
    bool sent = letter_send(errand->loop, &errand->letter);
    work_left();
    if (!sent)
        errand_free(errand);
}

/* It waits for the end of an executor no longer. Whether it did. */
static bool errand_unwatch(struct errand *errand)
{
    pthread_mutex_lock(&executors.lock);
    struct errand **link = &errand->watched->watchers;
    while (*link && *link != errand)
        link = &(*link)->next;
    bool waited = *link;
    if (waited)
        *link = errand->next;
    pthread_mutex_unlock(&executors.lock);
    return waited;
}

/* A callback is cancelled: its errand, if it came back by that, to be freed last. */
static struct errand *errand_recall(struct loop *loop, struct slot *slot)
{
    struct errand *errand = (struct errand *)slot->next;
    errand->told = NULL;
    slot->flags &= (uint8_t)~CALLBACK_AWAY;
    loop_awaited(loop);
    bool back = errand->watched ? errand_unwatch(errand)
                                : executor_take_back(errand->executor, &errand->work);
    return back ? errand : NULL;
}

static const struct executor_layer executor_layer;

/* An errand with its slot, for this loop; NULL, and the error is set. */
static struct errand *errand_new(struct loop *loop, cora_outcome_callback callback)
{
    struct hook hook;
    struct errand *errand = block_get(sizeof *errand);
    if (!errand) {
        fail_with(memory_error());
        return NULL;
    }
    if (!hook_store(loop, &hook, callback)) {
        block_put(errand, sizeof *errand);
        return NULL;
    }
    *errand = (struct errand){ .loop = loop_handle(loop), .told = hook.as.slot };
    loop_await(loop);
    letter_init(&errand->letter, on_arrived);
    hook.as.slot->next = (struct slot *)errand;
    hook.as.slot->flags |= CALLBACK_AWAY;
    loop->executor_layer = &executor_layer;
    return errand;
}

/* It could not be given to anybody. */
static cora_handle errand_undo(struct loop *loop, struct errand *errand)
{
    struct slot *slot = errand->told;
    loop_awaited(loop);
    slot->flags &= (uint8_t)~CALLBACK_AWAY;
    errand_free(errand);
    if (loop->ev)
        handle_remove(loop, slot);
    return (cora_handle){ 0 };
}

static cora_executor default_executor(struct loop *loop);

cora_handle call_in_executor(struct loop *loop, cora_executor executor, cora_work work,
                             bool in_context, cora_outcome_callback callback)
{
    const cora_handle none = { 0 };
    if (cora_is_null(executor) && cora_is_null(executor = default_executor(loop)))
        return none;
    struct errand *errand = errand_new(loop, callback);
    if (!errand)
        return none;
    cora_handle told = { errand->told->bits };
    bool stored = work_init(&errand->work, work);
    errand->executor = executor;
    errand->work.done = errand_done;
    if (stored && in_context)
        work_take_context(&errand->work);
    if (stored && executor_give(executor, &errand->work) == 0)
        return told;
    return errand_undo(loop, errand);
}

cora_handle cora_call_in_executor(cora_loop handle, cora_executor executor, cora_work work,
                                  cora_outcome_callback callback)
{
    struct loop *loop = loop_get(handle);
    if (!loop)
        return (cora_handle){ 0 };
    return call_in_executor(loop, executor, work, false, callback);
}

/* ---- the end of an executor ---- */

/* Tells those who wait for the end; the lock is not held. */
static void watchers_tell(struct errand *list)
{
    while (list) {
        struct errand *errand = list;
        list = errand->next;
        work_finish(&errand->work, cora_nothing());
    }
}

void executor_ended(struct executor *executor)
{
    pthread_mutex_lock(&executors.lock);
    struct errand *watchers = executor->watchers;
    executor->watchers = NULL;
    executor->has_ended = true;
    pthread_mutex_unlock(&executors.lock);
    watchers_tell(watchers);
    executor_leave(executor);
}

cora_handle executor_call_when_ended(struct loop *loop, cora_executor handle,
                                     cora_outcome_callback callback)
{
    struct errand *errand = errand_new(loop, callback);
    if (!errand)
        return (cora_handle){ 0 };
    cora_handle told = { errand->told->bits };
    errand->work.done = errand_done;
    pthread_mutex_lock(&executors.lock);
    struct executor *executor = executor_at(handle);
    bool waits = executor && !executor->has_ended;
    errand->watched = executor;
    if (waits) {
        errand->next = executor->watchers;
        executor->watchers = errand;
    }
    pthread_mutex_unlock(&executors.lock);
    if (!waits)
        work_finish(&errand->work, cora_nothing());
    return told;
}

int cora_executor_shutdown_at(cora_executor handle, const struct cora_shutdown_options *options)
{
    lost_work_settle();
    pthread_mutex_lock(&executors.lock);
    struct executor *executor = executor_at(handle);
    bool again = executor && executor->is_shut;
    if (executor)
        executor->is_shut = true;
    pthread_mutex_unlock(&executors.lock);
    if (!executor)
        return cora_is_null(handle) ? refuse(handle) : 0;
    executor->kind->shutdown(executor->pool, options->cancel_futures);
    if (!options->no_wait)
        executor->kind->join(executor->pool);
    if (!again)
        executor_leave(executor);
    executor_leave(executor);
    return 0;
}

/* ---- pools of threads ---- */

struct threads {
    struct thread_pool *pool;
    struct executor *executor;
    struct work initializer; /* no function: none */
    atomic_bool is_broken;
};

static int broken_error(void)
{
    return fail(CORA_EBROKENTHREADPOOL, "A thread initializer failed, the thread pool is not "
                                        "usable anymore");
}

static struct work *work_of(struct job *job)
{
    return (struct work *)job;
}

static void thread_run(struct job *job)
{
    struct work *work = work_of(job);
    own_work = work;
    work->outcome = work_begins(work) ? work_call(work) : cora_copy(cancelled_error());
    own_work = NULL;
}

static void thread_done(struct job *job)
{
    struct work *work = work_of(job);
    work_finish(work, work->outcome);
    thread_settle();
}

/* Finishes all of a list with this error; callbacks may set another one meanwhile. */
static void finish_all(struct job *list, cora_value error)
{
    cora_value kept = cora_copy(error);
    while (list) {
        struct work *work = work_of(list);
        list = list->next;
        work_finish(work, cora_copy(kept));
    }
    cora_drop(kept);
}

/* A thread begins. If its initializer fails, the pool is of no use any more. */
static bool threads_begin(void *owner)
{
    struct threads *threads = owner;
    if (!threads->initializer.callback.function)
        return true;
    cora_value outcome = work_call(&threads->initializer);
    bool failed = cora_is_error(outcome);
    if (failed) {
        report_plain(NULL, "Exception in initializer:", outcome,
                     threads->initializer.callback.place);
        atomic_store(&threads->is_broken, true);
        broken_error();
        finish_all(thread_pool_take(threads->pool), cora_last_error());
    }
    cora_drop(outcome);
    thread_settle();
    return !failed;
}

static void threads_ended(void *owner)
{
    executor_ended(((struct threads *)owner)->executor);
}

static int threads_submit(void *pool, struct work *work)
{
    struct threads *threads = pool;
    if (atomic_load(&threads->is_broken))
        return broken_error();
    work->job.run = thread_run;
    work->job.done = thread_done;
    int code = thread_pool_submit(threads->pool, &work->job);
    if (code == -ESHUTDOWN)
        return executor_shut_error();
    if (code == -EBUSY)
        return fail(CORA_EQUEUEFULL, "so much work waits for the pool already as may");
    if (code < 0)
        return fail(code, "can't start new thread");
    if (atomic_load(&threads->is_broken)) /* just now: nobody may be there to take it */
        finish_all(thread_pool_take(threads->pool), (broken_error(), cora_last_error()));
    return 0;
}

static bool threads_cancel(void *pool, struct work *work)
{
    return thread_pool_cancel(((struct threads *)pool)->pool, &work->job);
}

static void threads_shutdown(void *pool, bool cancel)
{
    struct threads *threads = pool;
    if (cancel)
        finish_all(thread_pool_take(threads->pool), cancelled_error());
    thread_pool_close(threads->pool);
}

static void threads_join(void *pool)
{
    thread_pool_join(((struct threads *)pool)->pool);
}

static void threads_free(void *pool)
{
    struct threads *threads = pool;
    thread_pool_free(threads->pool);
    work_drop(&threads->initializer);
    free(threads);
}

static void threads_before_fork(void *pool)
{
    thread_pool_before_fork(((struct threads *)pool)->pool);
}

static void threads_after_fork(void *pool)
{
    thread_pool_after_fork(((struct threads *)pool)->pool);
}

static bool threads_in_child(void *pool)
{
    return thread_pool_in_child(((struct threads *)pool)->pool);
}

static const struct executor_kind threads_kind = {
    .name = "ThreadPoolExecutor",
    .submit = threads_submit,
    .cancel = threads_cancel,
    .shutdown = threads_shutdown,
    .join = threads_join,
    .free = threads_free,
    .before_fork = threads_before_fork,
    .after_fork = threads_after_fork,
    .in_child = threads_in_child,
    .broken = CORA_EBROKENTHREADPOOL,
};

unsigned processors_usable(void)
{
    cpu_set_t usable;
    if (sched_getaffinity(0, sizeof usable, &usable) == 0)
        return (unsigned)CPU_COUNT(&usable);
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (unsigned)count : 1;
}

static unsigned workers_usual(void)
{
    unsigned wanted = processors_usable() + WORKERS_MORE;
    return wanted < WORKERS_MOST ? wanted : WORKERS_MOST;
}

/* The pool beneath, with its initializer; false without memory, and the error is set. */
static bool threads_init(struct threads *threads, const struct cora_thread_pool_options *given)
{
    struct thread_pool_options options = { .numbered = true,
                                           .calls_out = true,
                                           .most_jobs = given->max_waiting,
                                           .owner = threads,
                                           .begin = threads_begin,
                                           .ended = threads_ended };
    unsigned most = given->max_workers ? (unsigned)given->max_workers : workers_usual();
    const char *name = given->thread_name_prefix ? given->thread_name_prefix : "cora-pool";
    *threads = (struct threads){ 0 };
    if (given->initializer.partial && !work_init(&threads->initializer, given->initializer))
        return false;
    threads->pool = thread_pool_new(most, name, &options);
    if (threads->pool)
        return true;
    work_drop(&threads->initializer);
    fail_with(memory_error());
    return false;
}

cora_executor cora_thread_pool_new(const struct cora_thread_pool_options *options)
{
    const cora_executor none = { 0 };
    const struct cora_thread_pool_options usual = { 0 };
    if (options && options->max_workers < 0) {
        fail(CORA_EVALUE, "max_workers must be greater than 0");
        return none;
    }
    struct threads *threads = malloc(sizeof *threads);
    if (!threads) {
        fail_with(memory_error());
        return none;
    }
    if (!threads_init(threads, options ? options : &usual)) {
        free(threads);
        return none;
    }
    cora_executor handle = executor_new(&threads_kind, threads, &threads->executor);
    if (cora_is_null(handle))
        threads_free(threads);
    return handle;
}

/* ---- a loop's default executor ---- */

static void default_shutdown(struct loop *loop)
{
    cora_executor executor = loop->default_executor;
    loop->default_executor = (cora_executor){ 0 };
    if (!cora_is_null(executor))
        cora_executor_shutdown_at(executor, &(struct cora_shutdown_options){ .no_wait = true });
}

/* Made when it is first needed. Null, and the error is set. */
static cora_executor default_executor(struct loop *loop)
{
    const struct cora_thread_pool_options options = { .thread_name_prefix = "asyncio" };
    if (loop->default_is_shut) {
        fail(CORA_ERUNTIME, "Executor shutdown has been called");
        return (cora_executor){ 0 };
    }
    if (cora_is_null(loop->default_executor)) {
        loop->default_executor = cora_thread_pool_new(&options);
        loop->executor_layer = &executor_layer;
    }
    return loop->default_executor;
}

int cora_set_default_executor(cora_loop handle, cora_executor handed)
{
    struct executor *executor;
    struct loop *loop = loop_get(handle);
    if (!loop || !executor_enter(handed, &threads_kind, &executor))
        return cora_last_error_code();
    pthread_mutex_lock(&executors.lock);
    bool is_shut = executor->is_shut;
    pthread_mutex_unlock(&executors.lock);
    executor_leave(executor);
    if (is_shut)
        return refuse(handed);
    loop->default_executor = handed;
    loop->executor_layer = &executor_layer;
    return 0;
}

/* ---- forks ---- */

/* Nobody is about to make an end known, and nobody begins. */
static void fork_prepare(void)
{
    while (atomic_load_explicit(&executors.leaving, memory_order_acquire) > 0)
        sched_yield();
    for (struct executor *executor = executors.first; executor; executor = executor->next)
        if (executor->kind->before_fork)
            executor->kind->before_fork(executor->pool);
    thread_futures_before_fork();
}

static void fork_parent(void)
{
    thread_futures_after_fork();
    for (struct executor *executor = executors.first; executor; executor = executor->next)
        if (executor->kind->after_fork)
            executor->kind->after_fork(executor->pool);
}

/* What it was given is lost, but what this very thread does: that goes on. */
static void given_lose(struct executor *executor)
{
    struct work *list = executor->given;
    executor->given = NULL;
    for (struct work *work = list, *next; work; work = next) {
        next = work->next_given;
        given_put(work == own_work ? &executor->given : &executors.lost, work);
    }
}

static void fork_child(void)
{
    thread_futures_in_child();
    for (struct executor *executor = executors.first; executor; executor = executor->next) {
        bool is_shut = executor->kind->in_child && executor->kind->in_child(executor->pool);
        executor->ends = is_shut && !executor->has_ended;
        given_lose(executor);
    }
    atomic_store(&any_work_lost, executors.lost != NULL);
}

void executors_forget(void)
{
    executors.lost = NULL;
    atomic_store(&any_work_lost, false);
    own_work = NULL;
}

int executors_prepare_forks(void)
{
    static struct fork_hooks hooks = { &executors.lock, fork_prepare, fork_parent, fork_child,
                                       NULL };
    static atomic_bool prepared;
    if (CORA_LIKELY(atomic_load_explicit(&prepared, memory_order_acquire)))
        return 0;
    fork_hooks_add(&hooks);
    atomic_store(&after_fork_of_executors, lost_work_finish);
    int code = forks_prepare();
    atomic_store(&prepared, code == 0);
    return code;
}

/* Whether it is to be finished for this loop, or for none. */
static bool is_loops(const struct work *work, cora_loop loop)
{
    const struct errand *errand = (const struct errand *)work;
    return work->done != errand_done || cora_same(errand->loop, loop);
}

/* Takes some of what was lost, not another loop's; NULL: there is none. */
static struct work *lost_take(cora_loop loop)
{
    pthread_mutex_lock(&executors.lock);
    struct work *work = executors.lost;
    while (work && !is_loops(work, loop))
        work = work->next_given;
    if (work)
        given_take(work);
    atomic_store(&any_work_lost, executors.lost != NULL);
    pthread_mutex_unlock(&executors.lock);
    return work;
}

/* Takes one whose end is to be told, which nobody else will; NULL: there is none. */
static struct executor *ended_take(void)
{
    pthread_mutex_lock(&executors.lock);
    struct executor *executor = executors.first;
    while (executor && !executor->ends)
        executor = executor->next;
    if (executor)
        executor->ends = false;
    pthread_mutex_unlock(&executors.lock);
    return executor;
}

void lost_work_finish(cora_loop loop)
{
    struct executor *executor;
    struct work *work;
    while ((work = lost_take(loop)))
        work_finish(
            work, cora_copy(cora_error(work->broken,
                                       "the process has forked: the worker is not in the child")));
    while (!cora_is_null(loop) && (executor = ended_take()))
        executor_ended(executor);
}

static const struct executor_layer executor_layer = {
    .recall = errand_recall,
    .free = errand_free,
    .close = default_shutdown,
};
