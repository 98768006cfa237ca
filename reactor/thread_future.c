/*
 * How it works: one lock and one condition for all thread futures of the process. Whoever completes
 * one that somebody waits for wakes all who wait, and each looks again: those who wait are few, and
 * what else a thread does for a piece of work costs more.
 *
 * A future is a slot in a pool of the process, with the work in it that an executor does for it. It
 * is given back when its references are: those that were kept, one of the work, and one of whoever
 * calls its callbacks. What it holds is dropped without the lock, as drop functions may do
 * anything.
 */
#include "private_thread_future.h"

#include "exception_handler.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

struct thread_future {
    struct slot slot;
    enum thread_future_state state;
    unsigned references;
    unsigned watchers; /* threads that wait for it */
    const struct cora_place *place;
    cora_value outcome;               /* counted, when it is finished */
    struct thread_done *first, **end; /* callbacks */
    cora_executor executor;           /* whom its work was given to; null: none */
    bool has_work;
    struct work work;
};

/* A callback of the program's. */
struct program_done {
    struct thread_done done;
    struct ready_slot stored;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_once_t once;
    struct pool pool;
} futures = { .lock = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT };

/* Waiting is by the monotonic clock. */
static void condition_init(void)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&futures.changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

static void futures_init(void)
{
    condition_init();
    pool_init(&futures.pool, NULL, SLOT_THREAD_FUTURE,
              (sizeof(struct thread_future) + 15) & ~(size_t)15);
}

void thread_futures_prepare(void)
{
    pthread_once(&futures.once, futures_init);
}

static void futures_lock(void)
{
    executors_prepare_forks();
    thread_futures_prepare();
    pthread_mutex_lock(&futures.lock);
}

static void futures_unlock(void)
{
    pthread_mutex_unlock(&futures.lock);
}

void thread_futures_before_fork(void)
{
    thread_futures_prepare();
    pthread_mutex_lock(&futures.lock);
}

void thread_futures_after_fork(void)
{
    futures_unlock();
}

/* Those who waited are not in the child: the condition would wait for them. */
void thread_futures_in_child(void)
{
    condition_init();
    futures_unlock();
}

static bool is_done(const struct thread_future *future)
{
    return future->state >= THREAD_FUTURE_CANCELLED;
}

/* ---- finding and keeping ---- */

/* The future of this handle; NULL if it is stale. The lock is held. */
static struct thread_future *future_at(cora_thread_future handle)
{
    struct slot *slot = slot_at(handle.bits);
    if (!slot || slot->kind != SLOT_THREAD_FUTURE || slot->bits != handle.bits ||
        slot->state == SLOT_FREE)
        return NULL;
    return (struct thread_future *)slot;
}

/* Says why there is none; the lock is not held. */
static int refuse(cora_thread_future handle)
{
    if (!cora_is_null(handle))
        return fail(CORA_ESTALE, "the thread future is stale: it was released");
    if (cora_is_error(cora_last_error()))
        return cora_last_error_code(); /* why it could not be made */
    return fail(CORA_EMEMORY, "the thread future is null: it could not be made");
}

/* The same, locked; NULL, the error is set, and nothing is locked. */
static struct thread_future *future_lock(cora_thread_future handle)
{
    futures_lock();
    struct thread_future *future = future_at(handle);
    if (future)
        return future;
    futures_unlock();
    refuse(handle);
    return NULL;
}

/* Gives a reference back, and the lock, which is held. */
static void future_leave(struct thread_future *future)
{
    if (--future->references > 0) {
        futures_unlock();
        return;
    }
    cora_value outcome = future->outcome;
    struct thread_done *list = future->first;
    pool_give(&futures.pool, &future->slot);
    futures_unlock();
    while (list) { /* of one that nobody will complete */
        struct thread_done *done = list;
        list = done->next;
        done->call(done, NULL);
    }
    cora_drop(outcome);
}

static struct thread_future *future_new(const struct cora_place *place)
{
    futures_lock();
    struct thread_future *future = (struct thread_future *)pool_take(&futures.pool);
    if (future) {
        memset(&future->slot + 1, 0, sizeof *future - sizeof future->slot);
        future->references = 1;
        future->place = place;
        future->end = &future->first;
    }
    futures_unlock();
    if (!future)
        fail_with(memory_error());
    return future;
}

cora_thread_future cora_thread_future_new_at(const struct cora_place *place)
{
    struct thread_future *future = future_new(place);
    return (cora_thread_future){ future ? future->slot.bits : 0 };
}

cora_thread_future cora_thread_future_keep(cora_thread_future handle)
{
    struct thread_future *future = future_lock(handle);
    if (!future)
        return (cora_thread_future){ 0 };
    future->references++;
    futures_unlock();
    return handle;
}

int cora_thread_future_release(cora_thread_future handle)
{
    struct thread_future *future = future_lock(handle);
    if (!future)
        return cora_last_error_code();
    future_leave(future);
    return 0;
}

/* ---- completing ---- */

/* The future is done: those who wait are told. The lock is held, and is given; a reference, too. */
static void future_tell(struct thread_future *future)
{
    if (future->watchers > 0)
        pthread_cond_broadcast(&futures.changed);
    struct thread_done *list = future->first;
    cora_thread_future handle = { future->slot.bits };
    future->first = NULL;
    future->end = &future->first;
    futures_unlock();
    while (list) {
        struct thread_done *done = list;
        list = done->next;
        done->call(done, &handle);
    }
    futures_lock();
    future_leave(future);
}

/* Finishes it with this counted value, unless it is done. 0 or a code. A reference is the caller's.
 */
static int finish(cora_thread_future handle, cora_value outcome)
{
    struct thread_future *future = future_lock(handle);
    if (!future) {
        cora_drop(outcome);
        return cora_last_error_code();
    }
    if (is_done(future)) {
        futures_unlock();
        cora_drop(outcome);
        return fail(CORA_EINVALIDSTATE, "the thread future is finished or cancelled already");
    }
    future->state = THREAD_FUTURE_FINISHED;
    future->outcome = outcome;
    future->references++;
    future_tell(future);
    return 0;
}

int cora_thread_future_set_result(cora_thread_future handle, cora_value result)
{
    cora_value kept;
    if (!value_keep(result, &kept))
        return fail_with(memory_error());
    return finish(handle, kept);
}

int cora_thread_future_set_exception(cora_thread_future handle, cora_value error)
{
    if (!cora_is_error(error))
        return fail(CORA_ETYPE, "an exception that is no error");
    return finish(handle, cora_copy(error));
}

bool cora_thread_future_set_running_or_notify_cancel(cora_thread_future handle)
{
    struct thread_future *future = future_lock(handle);
    if (!future)
        return false;
    enum thread_future_state before = future->state;
    if (before == THREAD_FUTURE_PENDING) {
        future->state = THREAD_FUTURE_RUNNING;
    } else if (before == THREAD_FUTURE_CANCELLED) {
        future->state = THREAD_FUTURE_NOTIFIED;
        if (future->watchers > 0)
            pthread_cond_broadcast(&futures.changed);
    }
    futures_unlock();
    if (before != THREAD_FUTURE_PENDING && before != THREAD_FUTURE_CANCELLED)
        fail(CORA_ERUNTIME, "Future in unexpected state");
    return before == THREAD_FUTURE_PENDING;
}

bool cora_thread_future_cancel(cora_thread_future handle)
{
    struct thread_future *future = future_lock(handle);
    if (!future)
        return false;
    bool pending = future->state == THREAD_FUTURE_PENDING, has_work = future->has_work;
    bool cancelled = pending || (is_done(future) && future->state != THREAD_FUTURE_FINISHED);
    if (!pending) {
        futures_unlock();
        return cancelled;
    }
    future->state = THREAD_FUTURE_CANCELLED;
    future->references += 2;
    cora_executor executor = future->executor;
    future_tell(future);
    if (has_work && executor_take_back(executor, &future->work))
        future->work.done(&future->work);
    futures_lock();
    future_leave(future);
    return true;
}

/* ---- asking ---- */

/* Its state; finished for one that is stale. */
static enum thread_future_state state_of(cora_thread_future handle)
{
    lost_work_settle();
    enum thread_future_state state =
        cora_is_null(handle) ? THREAD_FUTURE_PENDING : THREAD_FUTURE_FINISHED;
    futures_lock();
    struct thread_future *future = future_at(handle);
    if (future)
        state = future->state;
    futures_unlock();
    return state;
}

bool cora_thread_future_running(cora_thread_future handle)
{
    return state_of(handle) == THREAD_FUTURE_RUNNING;
}

bool cora_thread_future_cancelled(cora_thread_future handle)
{
    enum thread_future_state state = state_of(handle);
    return state == THREAD_FUTURE_CANCELLED || state == THREAD_FUTURE_NOTIFIED;
}

bool cora_thread_future_done(cora_thread_future handle)
{
    return state_of(handle) >= THREAD_FUTURE_CANCELLED;
}

/* When that many seconds have passed; far away for more than that takes. */
static struct timespec time_after(double seconds)
{
    struct timespec when;
    clock_gettime(CLOCK_MONOTONIC, &when);
    if (seconds > 1e9)
        seconds = 1e9;
    time_t whole = (time_t)seconds;
    long nanoseconds = when.tv_nsec + (long)((seconds - (double)whole) * 1e9);
    when.tv_sec += whole + nanoseconds / 1000000000;
    when.tv_nsec = nanoseconds % 1000000000;
    return when;
}

/* Waits for a change until then. False if the time is over. The lock is held. */
static bool futures_wait(double timeout, const struct timespec *until)
{
    if (!(timeout > 0))
        return false;
    if (isinf(timeout))
        return pthread_cond_wait(&futures.changed, &futures.lock) == 0;
    return pthread_cond_timedwait(&futures.changed, &futures.lock, until) != ETIMEDOUT;
}

/* A time-out that is none. */
static bool is_no_time(double timeout)
{
    if (!isnan(timeout))
        return false;
    fail(CORA_EVALUE, "a time-out that is not a number");
    return true;
}

/* Its value or error when it is done within that time; an error otherwise. */
static cora_value outcome_within(cora_thread_future handle, double timeout)
{
    if (is_no_time(timeout))
        return error_again(cora_last_error());
    lost_work_settle();
    struct thread_future *future = future_lock(handle);
    if (!future)
        return error_again(cora_last_error());
    struct timespec until = time_after(timeout > 0 ? timeout : 0);
    future->references++;
    future->watchers++;
    bool more = true;
    while (!is_done(future) && more)
        more = futures_wait(timeout, &until);
    future->watchers--;
    enum thread_future_state state = future->state;
    cora_value outcome = cora_nothing();
    if (state == THREAD_FUTURE_FINISHED)
        outcome = cora_copy(future->outcome);
    future_leave(future);
    if (state == THREAD_FUTURE_FINISHED)
        return cora_temporary(outcome);
    return cora_error(state >= THREAD_FUTURE_CANCELLED ? CORA_ECANCELLED : CORA_ETIMEOUT, NULL);
}

cora_value cora_thread_future_result(cora_thread_future handle, double timeout)
{
    return outcome_within(handle, timeout);
}

cora_value cora_thread_future_exception(cora_thread_future handle, double timeout)
{
    cora_value outcome = outcome_within(handle, timeout);
    return cora_is_error(outcome) ? outcome : cora_nothing();
}

/* Whether it counts as done for who waits for several. The lock is held. */
static bool is_over(cora_thread_future handle, bool *ret_failed)
{
    const struct thread_future *future = future_at(handle);
    if (!future)
        return true;
    *ret_failed |= future->state == THREAD_FUTURE_FINISHED && cora_is_error(future->outcome);
    return future->state >= THREAD_FUTURE_NOTIFIED;
}

static void watch_all(const cora_thread_future *handles, size_t count, int change)
{
    for (size_t i = 0; i < count; i++) {
        struct thread_future *future = future_at(handles[i]);
        if (future && change > 0)
            future->watchers++;
        else if (future && future->watchers > 0)
            future->watchers--; /* one that was made meanwhile in this place has another handle */
    }
}

size_t thread_futures_wait(const cora_thread_future *handles, size_t count, double timeout,
                           enum thread_wait wait)
{
    lost_work_settle();
    struct timespec until = time_after(timeout > 0 ? timeout : 0);
    size_t over = 0;
    bool more = true;
    futures_lock();
    watch_all(handles, count, +1);
    for (;;) {
        bool failed = false;
        over = 0;
        for (size_t i = 0; i < count; i++)
            over += is_over(handles[i], &failed);
        if (over == count || (over > 0 && wait == THREAD_WAIT_FIRST) ||
            (failed && wait == THREAD_WAIT_FAILURE) || !more)
            break;
        more = futures_wait(timeout, &until);
    }
    watch_all(handles, count, -1);
    futures_unlock();
    return over;
}

int cora_thread_future_print(cora_thread_future handle, char *buffer, size_t size)
{
    static const char *const names[] = { "pending", "running", "cancelled", "cancelled",
                                         "finished" };
    char text[200] = "";
    futures_lock();
    struct thread_future *future = future_at(handle);
    const char *name = future ? names[future->state] : "stale";
    cora_value outcome = future ? cora_copy(future->outcome) : cora_nothing();
    bool finished = future && future->state == THREAD_FUTURE_FINISHED;
    futures_unlock();
    int length =
        finished ? snprintf(text, sizeof text, cora_is_error(outcome) ? " exception=" : " result=")
                 : 0;
    if (finished)
        cora_print(outcome, text + length, sizeof text - (size_t)length);
    cora_drop(outcome);
    return snprintf(buffer, size, "<ThreadFuture %s%s>", name, text);
}

/* ---- callbacks ---- */

bool thread_future_add(cora_thread_future handle, struct thread_done *done)
{
    lost_work_settle();
    struct thread_future *future = future_lock(handle);
    if (!future)
        return false;
    done->next = NULL;
    bool over = is_done(future);
    if (!over) {
        *future->end = done;
        future->end = &done->next;
    }
    futures_unlock();
    if (over)
        done->call(done, &handle);
    return true;
}

bool thread_future_remove(cora_thread_future handle, struct thread_done *done)
{
    bool found = false;
    futures_lock();
    struct thread_future *future = future_at(handle);
    for (struct thread_done **link = future ? &future->first : NULL; link && *link && !found;) {
        found = *link == done;
        if (found && !(*link = done->next))
            future->end = link;
        else
            link = &(*link)->next;
    }
    futures_unlock();
    return found;
}

/* Calls it, unless it is to be dropped only. What it fails with is reported: it has no loop. */
static void program_call(struct thread_done *done, const cora_thread_future *future)
{
    struct program_done *program = (struct program_done *)done;
    struct slot *slot = &program->stored.slot;
    struct callback *callback = &program->stored.callback;
    if (future) {
        cora_value outer = cora_thread.failure;
        cora_thread.failure = cora_nothing();
        cora_thread.depth++;
        ((cora_thread_done_function)callback->function)(callback_args(slot, callback), *future);
        cora_thread.depth--;
        cora_value failure = cora_thread.failure;
        cora_thread.failure = outer;
        if (!cora_is_nothing(failure))
            report_callback(NULL, slot, failure);
        cora_drop(failure);
    }
    callback_drop(slot, callback);
    block_put(program, sizeof *program);
}

int cora_thread_future_add_done_callback(cora_thread_future handle,
                                         cora_thread_done_callback callback)
{
    struct program_done *program = block_get(sizeof *program);
    if (!program)
        return fail_with(memory_error());
    *program = (struct program_done){ .done.call = program_call };
    struct slot *slot = &program->stored.slot;
    slot->kind = SLOT_READY;
    struct cora_counted *context = cora_thread.context;
    cora_thread.context = NULL; /* it runs in none */
    bool stored = callback_store(slot, &program->stored.callback, callback.partial);
    cora_thread.context = context;
    if (stored && thread_future_add(handle, &program->done))
        return 0;
    if (stored)
        callback_drop(slot, &program->stored.callback);
    block_put(program, sizeof *program);
    return cora_last_error_code();
}

/* ---- work of an executor ---- */

static struct thread_future *future_of_work(struct work *work)
{
    return (struct thread_future *)(void *)((char *)work - offsetof(struct thread_future, work));
}

static bool future_begins(struct work *work)
{
    cora_thread_future handle = { future_of_work(work)->slot.bits };
    return cora_thread_future_set_running_or_notify_cancel(handle);
}

/* Its work is over: it is finished, unless it was cancelled. */
static void future_work_done(struct work *work)
{
    struct thread_future *future = future_of_work(work);
    cora_value outcome = work->outcome;
    work->outcome = cora_nothing();
    work_drop(work);
    work_leave(work);
    futures_lock();
    bool cancelled = cora_error_code(outcome) == CORA_ECANCELLED, was_done = is_done(future);
    future->has_work = false;
    if (!was_done) {
        future->state = cancelled ? THREAD_FUTURE_NOTIFIED : THREAD_FUTURE_FINISHED;
        future->outcome = outcome;
    } else if (future->state == THREAD_FUTURE_CANCELLED) {
        future->state = THREAD_FUTURE_NOTIFIED;
    }
    work_left();
    if (!was_done) {
        future_tell(future);
        return;
    }
    if (future->watchers > 0)
        pthread_cond_broadcast(&futures.changed);
    future_leave(future);
    cora_drop(outcome);
}

cora_thread_future cora_executor_submit(cora_executor executor, cora_work what)
{
    const cora_thread_future none = { 0 };
    struct thread_future *future = future_new(what.partial->place);
    if (!future)
        return none;
    cora_thread_future handle = { future->slot.bits };
    struct work *work = &future->work;
    if (!work_init(work, what)) {
        cora_thread_future_release(handle);
        return none;
    }
    work->begins = future_begins;
    work->done = future_work_done;
    work->job.tells_long = true; /* it calls the program's callbacks */
    futures_lock();
    future->references++;
    future->has_work = true;
    future->executor = executor;
    futures_unlock();
    if (executor_give(executor, work) == 0)
        return handle;
    work_drop(work);
    futures_lock();
    future->references--;
    future->has_work = false;
    future_leave(future);
    return none;
}
