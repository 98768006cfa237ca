/*
 * How it works: a loop is a slot like everything else, in a pool of the process, with the watchers
 * through which libev calls it: the check watcher of the tick, the idle watcher that keeps libev
 * from sleeping, an async watcher for other threads. None of them counts as a reason for libev to
 * go on, but the idle one, which is active exactly while there is something to run.
 *
 * A loop of our own and a guest differ only in who calls ev_run. cora_run_forever adds a reference
 * to libev's count, so that it also waits when nothing is watched.
 *
 * Closing first makes the handle useless (no thread owns the loop any more), so that drop functions
 * which run while everything is dropped find a closed loop; then everything is dropped; then, after
 * a tick if one is running, pools and slot go back.
 *
 * Forks are noticed without a system call: a page that the kernel empties in a child holds the
 * number of the process.
 */
#include "loop.h"

#include "fork.h"
#include "private.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

static pthread_mutex_t loops_lock = PTHREAD_MUTEX_INITIALIZER;
static struct pool loops_pool;   /* slots of loops, of no loop */
static uint32_t *process_number; /* in a page of its own; 0 in a child until it is set */
static uint32_t process_number_without_page;

/* ---- forks ---- */

/* This process's number, set when it is first needed here. The lock is held. */
static uint32_t process_learn(void)
{
    if (!process_number) {
        size_t size = (size_t)sysconf(_SC_PAGESIZE);
        void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page != MAP_FAILED && madvise(page, size, MADV_WIPEONFORK) == 0)
            process_number = page;
        else
            process_number = &process_number_without_page; /* then only cora_run_forever notices */
    }
    if (*process_number == 0)
        *process_number = (uint32_t)getpid();
    return *process_number;
}

bool loop_forked(const struct loop *loop)
{
    return __atomic_load_n(process_number, __ATOMIC_RELAXED) != loop->process;
}

/* A loop of the parent's that this child has not taken over: whoever held its lock is not here. */
static void shared_hold(struct slot *slot)
{
    struct loop *loop = (struct loop *)slot;
    loop->shared.held = !loop_forked(loop);
    if (loop->shared.held)
        pthread_mutex_lock(&loop->shared.lock);
}

static void shared_free(struct slot *slot)
{
    struct shared *shared = &((struct loop *)slot)->shared;
    if (shared->held)
        pthread_mutex_unlock(&shared->lock);
}

static void all_hold(void)
{
    pool_visit(&loops_pool, shared_hold);
}

static void all_free(void)
{
    pool_visit(&loops_pool, shared_free);
}

/* Another thread may be making or closing a loop, or calling one. */
struct fork_hooks loop_fork_hooks = { &loops_lock, all_hold, all_free, all_free,
                                      &chunk_fork_hooks };

/* ---- handles of loops ---- */

/* The loop of this handle if it is open, whoever's it is. */
static struct loop *loop_find_open(cora_loop handle)
{
    struct loop *loop = loop_find(handle);
    if (!loop || loop_bits(loop) != handle.bits)
        return NULL;
    return atomic_load_explicit(&loop->state, memory_order_relaxed) == LOOP_CLOSED ? NULL : loop;
}

/* 0 if this handle named a loop once; else the error of a null or foreign handle. */
static int check_loop(cora_loop handle)
{
    if (cora_is_null(handle))
        return fail(CORA_ESTALE, "the loop's handle is null: it could not be made");
    if (!loop_find(handle))
        return fail(CORA_ESTALE, "the handle is none of a loop");
    return 0;
}

struct loop *loop_get_slow(cora_loop handle)
{
    struct loop *loop = loop_find(handle);
    if (CORA_LIKELY(loop && loop_bits(loop) == handle.bits &&
                    atomic_load_explicit(&loop->thread, memory_order_relaxed) == &cora_thread))
        return loop;
    loop = loop_find_open(handle);
    if (check_loop(handle) < 0)
        return NULL;
    if (loop)
        fail(CORA_EWRONGTHREAD, "the loop belongs to another thread; from here only "
                                "cora_call_soon_threadsafe may be used");
    else
        fail(CORA_ERUNTIME, "Event loop is closed");
    return NULL;
}

/* ---- watchers that carry the loop ---- */

static void on_idle(struct ev_loop *ev, ev_idle *watcher, int events)
{
    (void)ev, (void)watcher, (void)events; /* that it is active is all */
}

static void on_probe(struct ev_loop *ev, ev_timer *watcher, int events)
{
    (void)ev, (void)watcher, (void)events; /* repeats, far away again */
}

static void on_async(struct ev_loop *ev, ev_async *watcher, int events)
{
    (void)ev, (void)watcher, (void)events; /* the tick takes what is waiting */
}

static void on_fork(struct ev_loop *ev, ev_fork *watcher, int events)
{
    struct loop *loop = watcher->data;
    (void)ev, (void)events;
    cora_after_fork(loop_handle(loop));
}

static void loop_close(struct loop *loop);

static void on_cleanup(struct ev_loop *ev, ev_cleanup *watcher, int events)
{
    struct loop *loop = watcher->data;
    (void)ev, (void)events;
    loop_close(loop); /* libev lets watchers be stopped until it has called all of these */
}

void loop_start_idle(struct loop *loop)
{
    if (!loop->ev)
        return;
    loop->idle_active = loop->awake = true;
    ev_idle_start(loop->ev, &loop->idle);
}

static void watchers_start(struct loop *loop)
{
    struct ev_loop *ev = loop->ev;
    ev_check_init(&loop->check, on_check);
    ev_idle_init(&loop->idle, on_idle);
    ev_prepare_init(&loop->prepare, on_prepare);
    ev_async_init(&loop->async, on_async);
    ev_fork_init(&loop->fork, on_fork);
    ev_cleanup_init(&loop->cleanup, on_cleanup);
    ev_timer_init(&loop->probe, on_probe, PROBE_DISTANCE, PROBE_DISTANCE);
    ev_set_priority(&loop->check, EV_MINPRI);
    ev_set_priority(&loop->idle, EV_MINPRI);
    ev_set_priority(&loop->prepare, EV_MINPRI);
    ev_set_priority(&loop->async, EV_MINPRI);
    ev_set_priority(&loop->probe, EV_MINPRI);
    loop->check.data = loop->prepare.data = loop->fork.data = loop->cleanup.data = loop;
    ev_check_start(ev, &loop->check);
    ev_async_start(ev, &loop->async);
    ev_fork_start(ev, &loop->fork);
    ev_timer_start(ev, &loop->probe);
    for (int i = 0; i < 4; i++)
        ev_unref(ev);
    ev_cleanup_start(ev, &loop->cleanup); /* holds no reference by itself */
}

static void watchers_stop(struct loop *loop)
{
    struct ev_loop *ev = loop->ev;
    for (; loop->awaited > 0; loop->awaited--)
        ev_unref(ev);
    ev_idle_stop(ev, &loop->idle);
    ev_prepare_stop(ev, &loop->prepare);
    for (int i = 0; i < 4; i++)
        ev_ref(ev);
    ev_check_stop(ev, &loop->check);
    ev_async_stop(ev, &loop->async);
    ev_fork_stop(ev, &loop->fork);
    ev_timer_stop(ev, &loop->probe);
    ev_cleanup_stop(ev, &loop->cleanup);
}

/* ---- making ---- */

/* A loop's slot, zeroed but for its head, lock and condition, which live as long as the process. */
static struct loop *loop_alloc(void)
{
    pthread_mutex_lock(&loops_lock);
    if (!loops_pool.slot_size)
        pool_init(&loops_pool, NULL, SLOT_LOOP, (sizeof(struct loop) + 63) & ~(size_t)63);
    struct loop *loop = (struct loop *)pool_take(&loops_pool);
    if (loop) {
        size_t head = offsetof(struct loop, ev), tail = offsetof(struct loop, shared);
        memset((char *)loop + head, 0, tail - head);
        if (loop->slot.bits >> 32 == 1) {
            pthread_mutex_init(&loop->shared.lock, NULL);
            pthread_cond_init(&loop->shared.finished, NULL);
        }
        loop->process = process_learn();
    }
    pthread_mutex_unlock(&loops_lock);
    if (!loop)
        fail_with(memory_error());
    return loop;
}

static void loop_free(struct loop *loop)
{
    pthread_mutex_lock(&loops_lock);
    pool_give(&loops_pool, &loop->slot);
    pthread_mutex_unlock(&loops_lock);
}

/* libev aborts when it cannot make its wake-up descriptor: looks whether one can be had. */
static int check_spare_descriptor(void)
{
    int spare = eventfd(0, EFD_CLOEXEC);
    if (spare < 0)
        return fail(-errno, "a loop needs a descriptor to be woken by");
    close(spare);
    return 0;
}

static int check_version(void)
{
    if (ev_version_major() == EV_VERSION_MAJOR && ev_version_minor() >= EV_VERSION_MINOR)
        return 0;
    return fail(CORA_ERUNTIME, "compiled for libev %d.%d, but running with %d.%d", EV_VERSION_MAJOR,
                EV_VERSION_MINOR, ev_version_major(), ev_version_minor());
}

static void queues_clear(struct loop *loop)
{
    queue_clear(&loop->ready);
    queue_clear(&loop->collected_descriptors);
    queue_clear(&loop->collected_timers);
    queue_clear(&loop->collected_signals);
    queue_clear(&loop->due);
    queue_clear(&loop->garbage);
}

/* Becomes a loop on this ev_loop, which belongs to the host or is the loop's own. */
static cora_loop loop_start(struct loop *loop, struct ev_loop *ev, bool guest,
                            const struct cora_loop_options *options)
{
    loop->ev = ev;
    loop->guest = guest;
    loop->debug = options && options->debug;
    loop->poll_every_tick = options && options->poll_every_tick;
    loop->is_select = ev_backend(ev) == EVBACKEND_SELECT;
    loop->earliest = INFINITY;
    loop->slow_callback_duration = 0.1;
    pool_init(&loop->handles, loop, SLOT_READY, (sizeof(struct ready_slot) + 15) & ~(size_t)15);
    pool_init(&loop->timers, loop, SLOT_TIMER, sizeof(struct timer_slot));
    queues_clear(loop);
    watchers_start(loop);
    pthread_mutex_lock(&loop->shared.lock);
    shared_init(loop);
    atomic_store(&loop->state, LOOP_IDLE);
    atomic_store(&loop->thread, &cora_thread);
    pthread_mutex_unlock(&loop->shared.lock);
    return loop_handle(loop);
}

/* The names of the back ends that libev knows, for an error's text. */
static const struct {
    const char *name;
    unsigned flag;
    bool ours;
} backends[] = {
    { "select", EVBACKEND_SELECT, true },      { "poll", EVBACKEND_POLL, true },
    { "epoll", EVBACKEND_EPOLL, true },        { "kqueue", EVBACKEND_KQUEUE, false },
    { "devpoll", EVBACKEND_DEVPOLL, false },   { "port", EVBACKEND_PORT, false },
    { "linuxaio", EVBACKEND_LINUXAIO, false }, { "io_uring", EVBACKEND_IOURING, false },
};

#define BACKEND_COUNT (sizeof backends / sizeof backends[0])

/* libev's flag of a back end by name, or 0 and a ValueError. */
static unsigned backend_flag(const char *name)
{
    char supported[120] = "";
    unsigned known = ev_supported_backends();
    for (size_t i = 0; i < BACKEND_COUNT; i++) {
        if (backends[i].ours && known & backends[i].flag && strcmp(name, backends[i].name) == 0)
            return backends[i].flag;
        if (known & backends[i].flag) {
            strcat(supported, *supported ? ", " : "");
            strcat(supported, backends[i].name);
        }
    }
    fail(CORA_EVALUE, "back end \"%s\" is none of select, poll and epoll (this libev supports %s)",
         name, supported);
    return 0;
}

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

cora_loop cora_loop_new(const struct cora_loop_options *options)
{
    const cora_loop none = { 0 };
    const char *name = options && options->backend ? options->backend : environment("CORA_BACKEND");
    unsigned backend = backend_flag(name ? name : "epoll");
    if (!backend || check_version() < 0)
        return none;
    struct loop *loop = loop_alloc();
    if (!loop)
        return none;
    struct ev_loop *ev = ev_loop_new(backend | EVFLAG_NOENV | EVFLAG_NOSIGMASK);
    if (!ev || check_spare_descriptor() < 0) {
        if (!ev)
            fail(errno ? -errno : -EMFILE, "libev could not make a loop");
        else
            ev_loop_destroy(ev);
        loop_free(loop);
        return none;
    }
    cora_loop handle = loop_start(loop, ev, false, options);
    const char *debug = environment("CORA_DEBUG");
    if (debug && strcmp(debug, "0") != 0)
        loop->debug = true;
    return handle;
}

cora_loop cora_loop_attach(struct ev_loop *host, const struct cora_loop_options *options)
{
    const cora_loop none = { 0 };
    if (!host || (options && options->backend)) {
        fail(CORA_EVALUE,
             host ? "a guest's back end is its host's" : "there is no host to attach to");
        return none;
    }
    if (check_version() < 0 || check_spare_descriptor() < 0)
        return none;
    struct loop *loop = loop_alloc();
    return loop ? loop_start(loop, host, true, options) : none;
}

/* ---- running ---- */

void loop_fail(struct loop *loop, cora_value error)
{
    cora_value old = loop->fatal;
    loop->fatal = cora_copy(error);
    loop->interrupted = true;
    loop->skips_left = 0;
    cora_drop(old);
}

static int refuse_guest(const struct loop *loop)
{
    if (loop->guest)
        return fail(CORA_ERUNTIME, "the loop belongs to its host, who runs and stops it");
    return 0;
}

/* Why this thread may not run the loop now; 0 if it may. */
static int run_check(const struct loop *loop)
{
    if (!loop)
        return fail(CORA_ERUNTIME, "Event loop is closed");
    if (refuse_guest(loop) < 0)
        return CORA_ERUNTIME;
    if (atomic_load(&loop->state) == LOOP_RUNNING)
        return fail(CORA_ERUNTIME, "This event loop is already running");
    if (cora_thread.running)
        return fail(CORA_ERUNTIME, "Cannot run the event loop while another loop is running");
    if (loop->process != (uint32_t)getpid())
        return fail(CORA_ERUNTIME, "the process has forked: call cora_after_fork in the child "
                                   "before its loop runs");
    return 0;
}

int loop_enter(cora_loop handle, struct loop **ret_loop)
{
    int code = check_loop(handle), state = LOOP_IDLE;
    struct loop *loop = loop_find_open(handle);
    if (code < 0 || (code = run_check(loop)) < 0)
        return code;
    if (!atomic_compare_exchange_strong(&loop->state, &state, LOOP_RUNNING))
        return fail(CORA_ERUNTIME, "This event loop is already running");
    atomic_store(&loop->thread, &cora_thread);
    *ret_loop = loop;
    return 0;
}

void loop_refuse(struct loop *loop)
{
    atomic_store(&loop->state, LOOP_IDLE);
}

int loop_leave(struct loop *loop)
{
    cora_value fatal = loop->fatal;
    loop->fatal = cora_nothing();
    loop->stopping = loop->interrupted = false;
    atomic_store(&loop->state, LOOP_IDLE);
    if (cora_is_nothing(fatal))
        return 0;
    int code = fail_with(fatal);
    cora_drop(fatal);
    return code;
}

void loop_run(struct loop *loop)
{
    cora_thread.running = loop;
    cora_thread.running_bits = loop->slot.bits;
    ev_ref(loop->ev);
    ev_run(loop->ev, 0);
    ev_unref(loop->ev);
    cora_thread.running = NULL;
    cora_thread.running_bits = NO_LOOP_RUNS;
}

bool loop_has_signal(struct loop *loop)
{
    loop->in_tick = true; /* so that the iteration only collects */
    ev_run(loop->ev, EVRUN_NOWAIT);
    loop->in_tick = false;
    loop->awake = false;
    loop_wake(loop); /* it may have taken the idle watcher away */
    return loop->collected_signals.head != NULL;
}

int cora_run_forever(cora_loop handle)
{
    struct loop *loop;
    int code = loop_enter(handle, &loop);
    if (code < 0)
        return code;
    loop_run(loop);
    return loop_leave(loop);
}

int cora_stop(cora_loop handle)
{
    struct loop *loop = loop_get(handle);
    if (!loop)
        return cora_last_error_code();
    if (refuse_guest(loop) < 0)
        return CORA_ERUNTIME;
    loop->stopping = true;
    loop->skips_left = 0;
    loop_wake(loop);
    return 0;
}

static void loop_forget(struct slot *slot)
{
    struct loop *loop = (struct loop *)slot;
    atomic_store(&loop->state, LOOP_CLOSED);
    atomic_store(&loop->thread, NULL);
    loop->ev = NULL;
    loop->shared.open = false;
}

void loops_forget(void)
{
    if (process_number)
        *process_number = 0;
    pool_visit(&loops_pool, loop_forget);
    pool_init(&loops_pool, NULL, SLOT_LOOP, loops_pool.slot_size);
    thread_forget();
}

_Atomic(after_fork_function) after_fork_of_executors;

int cora_after_fork(cora_loop handle)
{
    struct loop *loop = loop_find_open(handle);
    if (!loop)
        return check_loop(handle) < 0 ? CORA_ESTALE : fail(CORA_ERUNTIME, "Event loop is closed");
    pthread_mutex_lock(&loops_lock);
    uint32_t process = process_learn();
    if (process != (uint32_t)getpid())
        *process_number = process = (uint32_t)getpid();
    bool again = loop->process == process; /* the parent, or a second call */
    if (!again)
        pthread_mutex_init(&loop->shared.lock, NULL); /* whoever held it is not in this process */
    loop->process = process;
    pthread_mutex_unlock(&loops_lock);
    if (again)
        return 0;
    loop->fork_reported = false;
    pthread_cond_init(&loop->shared.finished, NULL);
    atomic_store(&loop->shared.waking, 0);
    atomic_store(&loop->shared.waiters, 0);
    if (atomic_load(&loop->thread) != &cora_thread) /* what ran there does not go on here */
        atomic_store(&loop->shared.running, NULL);
    atomic_store(&loop->thread, &cora_thread);
    if (!loop->guest)
        ev_loop_fork(loop->ev);
    shared_take(loop); /* who has queued it may not have come to wake the loop */
    if (loop->lookups_after_fork)
        loop->lookups_after_fork(loop);
    if (loop->child_layer)
        loop->child_layer->after_fork(loop);
    after_fork_function executors_after_fork = atomic_load(&after_fork_of_executors);
    if (executors_after_fork)
        executors_after_fork(handle);
    return 0;
}

/* ---- closing ---- */

static void handle_drop(struct slot *slot)
{
    bool running = slot->state == SLOT_RUNNING;
    slot->state = SLOT_CANCELLED;
    if (!running)
        callback_drop(slot, slot_callback(slot));
}

void loop_finish_close(struct loop *loop)
{
    pool_release(&loop->handles);
    pool_release(&loop->timers);
    pool_release(&loop->futures);
    pool_release(&loop->done_callbacks);
    pool_release(&loop->tasks);
    pool_release(&loop->objects);
    pthread_mutex_lock(&loop->shared.lock);
    pool_release(&loop->shared.pool);
    pthread_mutex_unlock(&loop->shared.lock);
    cora_value fatal = loop->fatal;
    loop->fatal = cora_nothing();
    loop_free(loop);
    cora_drop(fatal);
}

/*
 * First all that concerns libev, and then, when the loop is closed for everybody, what drop
 * functions may run for: one of them may destroy the host's loop, or make another.
 */
static void loop_close(struct loop *loop)
{
    loop_hold(loop);
    atomic_store(&loop->state, LOOP_CLOSED);
    atomic_store(&loop->thread, NULL);
    loop->awake = loop->interrupted = true;
    loop->skips_left = 0;
    if (cora_thread.running == loop)
        cora_thread.running_bits = NO_LOOP_RUNS;
    struct slot *shared = shared_close(loop);
    watchers_close(loop);
    signals_close(loop);
    if (loop->child_layer)
        loop->child_layer->stop(loop);
    timers_close(loop);
    watchers_stop(loop);
    if (!loop->guest)
        ev_loop_destroy(loop->ev);
    loop->ev = NULL;

    struct slot *lists[] = { shared, loop->ready.head, loop->due.head,
                             loop->collected_timers.head };
    queues_clear(loop);
    if (loop->future_layer)
        loop->future_layer->close(loop);
    if (loop->executor_layer)
        loop->executor_layer->close(loop);
    if (loop->objects_close)
        loop->objects_close(loop);
    if (loop->transport_layer)
        loop->transport_layer->close(loop);
    loop->exception_handler = loop->task_factory = NULL;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        list_drop(lists[i]);
    pool_visit(&loop->timers, handle_drop);
    pool_visit(&loop->handles, handle_drop);
    loop_unhold(loop);
}

/* What was made outside of callbacks, and given to nobody, is reported to this loop's handler. */
static void sweep_outside(cora_loop handle)
{
    struct loop *loop = cora_thread.depth == 0 && cora_thread.made ? loop_get(handle) : NULL;
    if (!loop)
        return;
    loop_hold(loop);
    thread_sweep(loop);
    loop_unhold(loop);
}

static int loop_end(cora_loop handle, bool detach)
{
    int code = check_loop(handle);
    if (code < 0)
        return code;
    sweep_outside(handle);
    struct loop *loop = loop_find_open(handle);
    if (!loop)
        return 0;
    if (!loop_get(handle))
        return CORA_EWRONGTHREAD; /* its memory must not be looked at from here */
    if (detach && !loop->guest)
        return fail(CORA_ERUNTIME, "the loop is no guest: close it with cora_loop_close");
    if (!detach && loop->guest)
        return fail(CORA_ERUNTIME, "the loop belongs to its host: leave it with cora_loop_detach");
    if (!detach && (atomic_load(&loop->state) == LOOP_RUNNING ||
                    ev_depth(loop->ev) > 0)) /* run by hand, with ev_run */
        return fail(CORA_ERUNTIME, "Cannot close a running event loop");
    loop_close(loop);
    return 0;
}

int cora_loop_close(cora_loop handle)
{
    return loop_end(handle, false);
}

int cora_loop_detach(cora_loop handle)
{
    return loop_end(handle, true);
}

/* ---- questions and settings ---- */

bool cora_is_running(cora_loop handle)
{
    struct loop *loop = loop_find_open(handle);
    return loop && atomic_load(&loop->state) == LOOP_RUNNING;
}

bool cora_is_closed(cora_loop handle)
{
    return !loop_find_open(handle);
}

struct ev_loop *cora_loop_ev(cora_loop handle)
{
    struct loop *loop = loop_get(handle);
    return loop ? loop->ev : NULL;
}

cora_loop cora_running_loop(void)
{
    if (cora_thread.running)
        return loop_handle(cora_thread.running);
    fail(CORA_ERUNTIME, "no running event loop");
    return (cora_loop){ 0 };
}

cora_loop cora_current_loop(void)
{
    if (cora_thread.running)
        return loop_handle(cora_thread.running);
    if (cora_is_null(cora_thread.current))
        fail(CORA_ERUNTIME, "There is no current event loop in this thread");
    return cora_thread.current;
}

void cora_set_current_loop(cora_loop loop)
{
    cora_thread.current = loop;
}

size_t cora_live(cora_loop handle)
{
    struct loop *loop = cora_is_closed(handle) ? NULL : loop_get(handle);
    if (!loop)
        return 0;
    pthread_mutex_lock(&loop->shared.lock);
    size_t shared = loop->shared.pool.live - loop->shared.used_count;
    pthread_mutex_unlock(&loop->shared.lock);
    return loop->handles.live + loop->timers.live + shared - (loop->exception_handler != NULL) -
           (loop->task_factory != NULL) + loop->futures.live + loop->tasks.live +
           loop->objects.live + loop->done_callbacks.live - loop->garbage_count;
}

int cora_reserve(cora_loop handle, size_t descriptors, size_t timers)
{
    struct loop *loop = loop_get(handle);
    if (!loop)
        return cora_last_error_code();
    int code = watchers_reserve(loop, descriptors);
    return code < 0 ? code : timers_reserve(loop, timers);
}

int cora_set_debug(cora_loop handle, bool debug)
{
    struct loop *loop = loop_get(handle);
    if (!loop)
        return cora_last_error_code();
    loop->debug = debug;
    return 0;
}

bool cora_get_debug(cora_loop handle)
{
    struct loop *loop = loop_get(handle);
    return loop && loop->debug;
}

int cora_set_slow_callback_duration(cora_loop handle, double seconds)
{
    struct loop *loop = loop_get(handle);
    if (!loop)
        return cora_last_error_code();
    if (!(seconds >= 0))
        return fail(CORA_EVALUE, "the slow callback duration must be 0 or more seconds");
    loop->slow_callback_duration = seconds;
    return 0;
}

double cora_get_slow_callback_duration(cora_loop handle)
{
    struct loop *loop = loop_get(handle);
    return loop ? loop->slow_callback_duration : 0;
}
