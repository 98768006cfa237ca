/*
 * How it works: callbacks from other threads have slots and a queue of their own, under a lock. The
 * first into the empty queue wakes the loop; the loop takes the whole queue at once, in the tick or
 * when its own thread queues something, so that the order is that of queueing.
 *
 * The loop says which slot it runs before it looks at the slot's state, and a canceller changes
 * the state, from QUEUED to CANCELLED, before it looks at what the loop runs: one of them sees the
 * other. If both do, the loop does not run the callback, and the canceller waits for the loop to go
 * on, and then finds the state unchanged. Cancellers hold the lock, so that the slot is not taken
 * anew meanwhile. Arguments are dropped by the loop's thread in each case. Who asks while the
 * callback runs waits for its end, which is told with the start of the next one: one atomic
 * exchange for each.
 *
 * Letters go the same way; they belong to who has sent them.
 */
#include "private.h"

#include <sched.h>

static enum slot_state state_of(const struct slot *slot)
{
    return (enum slot_state)__atomic_load_n(&slot->state, __ATOMIC_SEQ_CST);
}

static void set_state(struct slot *slot, enum slot_state state)
{
    __atomic_store_n(&slot->state, (uint8_t)state, __ATOMIC_RELEASE);
}

/* Changes the state from QUEUED to CANCELLED; false if it was another already. */
static bool cancel_queued(struct slot *slot)
{
    uint8_t queued = SLOT_QUEUED;
    return __atomic_compare_exchange_n(&slot->state, &queued, (uint8_t)SLOT_CANCELLED, false,
                                       __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE);
}

void shared_init(struct loop *loop)
{
    struct shared *shared = &loop->shared;
    pool_init(&shared->pool, loop, SLOT_SHARED, sizeof(struct ready_slot));
    queue_clear(&shared->queue);
    queue_clear(&shared->used);
    shared->used_count = 0;
    atomic_store(&shared->waiting, false);
    atomic_store(&shared->running, NULL);
    shared->open = true;
}

/*
 * Queues a slot, unlocks, and wakes the loop. It is not woken while the lock is held: on one
 * processor it would run at once, want the lock, and have to wait again. A closing loop waits for
 * those who are waking it.
 */
static inline void shared_queue(struct loop *loop, struct slot *slot)
{
    struct shared *shared = &loop->shared;
    bool wakes = !shared->queue.head && loop->ev;
    queue_append(&shared->queue, slot);
    atomic_store_explicit(&shared->waiting, true, memory_order_release);
    if (wakes)
        atomic_fetch_add_explicit(&shared->waking, 1, memory_order_relaxed);
    pthread_mutex_unlock(&shared->lock);
    if (!wakes)
        return;
    ev_async_send(loop->ev, &loop->async);
    atomic_fetch_sub_explicit(&shared->waking, 1, memory_order_release);
}

/* Locks what is shared of an open loop; NULL, and nothing is locked, if it is closed. */
static inline struct loop *shared_lock(cora_loop handle)
{
    struct loop *loop = loop_find(handle);
    if (CORA_UNLIKELY(!loop || loop_bits(loop) != handle.bits))
        return NULL; /* a made-up handle does not lead to the lock */
    pthread_mutex_lock(&loop->shared.lock);
    if (CORA_LIKELY(loop->shared.open && loop_bits(loop) == handle.bits))
        return loop;
    pthread_mutex_unlock(&loop->shared.lock);
    return NULL;
}

bool letter_send(cora_loop handle, struct letter *letter)
{
    struct loop *loop = shared_lock(handle);
    if (!loop)
        return false;
    shared_queue(loop, &letter->slot);
    return true;
}

/* The whole of call_soon_threadsafe; cora_call_soon_threadsafe is its usual case. */
static cora_handle call_soon_threadsafe_slow(cora_loop handle, cora_callback callback)
{
    cora_handle added = { 0 };
    if (!loop_find(handle)) {
        fail(CORA_ESTALE, "call_soon_threadsafe: the handle is none of a loop");
        return added;
    }
    cora_value last = cora_copy(cora_last_error()); /* not to be dropped under the lock */
    struct loop *loop = shared_lock(handle);
    struct slot *slot = loop ? handle_new(&loop->shared.pool, callback.partial) : NULL;
    if (slot) {
        set_state(slot, SLOT_QUEUED);
        added.bits = slot->bits;
        shared_queue(loop, slot);
    } else if (loop) {
        pthread_mutex_unlock(&loop->shared.lock);
    } else {
        fail(CORA_ERUNTIME, "Event loop is closed");
    }
    cora_drop(last);
    return added;
}

cora_handle cora_call_soon_threadsafe(cora_loop handle, cora_callback callback)
{
    struct loop *loop = partial_is_plain(callback.partial) ? shared_lock(handle) : NULL;
    if (CORA_UNLIKELY(!loop))
        return call_soon_threadsafe_slow(handle, callback);
    struct slot *slot = pool_take_fast(&loop->shared.pool);
    if (CORA_UNLIKELY(!slot)) {
        pthread_mutex_unlock(&loop->shared.lock);
        return call_soon_threadsafe_slow(handle, callback);
    }
    callback_store_plain(slot, &((struct ready_slot *)slot)->callback, callback.partial);
    set_state(slot, SLOT_QUEUED);
    cora_handle added = { slot->bits };
    shared_queue(loop, slot);
    return added;
}

/* Moves what other threads queued behind the ready queue, and gives the pool back what has run. */
void shared_take(struct loop *loop)
{
    struct shared *shared = &loop->shared;
    if (!shared->used.head && !shared_waiting(loop))
        return;
    pthread_mutex_lock(&shared->lock);
    queue_join(&loop->ready, &shared->queue);
    atomic_store_explicit(&shared->waiting, false, memory_order_relaxed);
    if (shared->used.head && atomic_load(&shared->waiters) == 0) {
        *shared->used.end = shared->pool.free;
        shared->pool.free = shared->used.head;
        shared->pool.live -= shared->used_count;
        shared->used_count = 0;
        queue_clear(&shared->used);
    }
    pthread_mutex_unlock(&shared->lock);
    if (loop->ready.head)
        loop_wake(loop);
}

/* Tells other threads what runs from now on, and so that what ran before has returned. */
static inline void shared_tell(struct shared *shared, struct slot *running)
{
    atomic_store(&shared->running, running);
    if (CORA_LIKELY(atomic_load(&shared->waiters) == 0))
        return;
    pthread_mutex_lock(&shared->lock);
    pthread_cond_broadcast(&shared->finished);
    pthread_mutex_unlock(&shared->lock);
}

void shared_rest(struct loop *loop)
{
    if (atomic_load_explicit(&loop->shared.running, memory_order_relaxed))
        shared_tell(&loop->shared, NULL);
}

void shared_run(struct loop *loop, struct slot *slot)
{
    struct shared *shared = &loop->shared;
    struct slot *next = slot->next;
    shared_tell(shared, slot);
    struct callback *callback = &((struct ready_slot *)slot)->callback;
    bool runs = state_of(slot) == SLOT_QUEUED;
    if (CORA_LIKELY(runs))
        slot_run(loop, slot, callback);
    else
        shared_tell(shared, NULL);
    callback_drop(slot, callback);
    if (CORA_LIKELY(runs))
        set_state(slot, SLOT_FREE);
    if (!next || next->kind != SLOT_SHARED || cora_thread.attention)
        shared_tell(shared, NULL);
    queue_append(&shared->used, slot);
    shared->used_count++;
    tick_settle(loop);
}

/* Drops letters and shared slots of a list, and cancelled ones; the others are dropped with their
 * pools. */
void list_drop(struct slot *list)
{
    for (struct slot *next; list; list = next) {
        next = list->next;
        if (list->kind == SLOT_LETTER) {
            struct letter *letter = (struct letter *)list;
            letter->arrived(NULL, letter);
            continue;
        }
        if (list->kind == SLOT_SHARED)
            cancel_queued(list); /* other threads may still ask */
        if (state_of(list) == SLOT_CANCELLED)
            callback_drop(list, slot_callback(list));
    }
}

/* Takes no more. Returns what was queued. */
struct slot *shared_close(struct loop *loop)
{
    struct shared *shared = &loop->shared;
    pthread_mutex_lock(&shared->lock);
    shared->open = false;
    struct slot *list = shared->queue.head;
    queue_clear(&shared->queue);
    atomic_store_explicit(&shared->waiting, false, memory_order_relaxed);
    pthread_cond_broadcast(&shared->finished);
    pthread_mutex_unlock(&shared->lock);
    while (atomic_load_explicit(&shared->waking, memory_order_acquire) > 0)
        sched_yield();
    return list;
}

static bool shared_runs(struct shared *shared, const struct slot *slot)
{
    return atomic_load(&shared->running) == slot;
}

/*
 * Waits until a shared callback that another thread runs has returned. False if the loop was closed
 * before: then it runs still. The lock is held.
 */
static bool shared_wait(struct loop *loop, struct slot *slot, cora_handle handle)
{
    struct shared *shared = &loop->shared;
    bool runs;
    atomic_fetch_add(&shared->waiters, 1);
    while ((runs = slot_is(slot, handle.bits) && shared_runs(shared, slot)) && shared->open)
        pthread_cond_wait(&shared->finished, &shared->lock);
    atomic_fetch_sub(&shared->waiters, 1);
    return !runs;
}

/* Whether the callback could be cancelled, or whether it is; one that runs is waited for. */
static bool shared_ask(cora_handle handle, bool cancel)
{
    struct slot *slot = slot_at(handle.bits);
    struct loop *loop = owner_of(handle.bits);
    if (!loop)
        return false;
    struct shared *shared = &loop->shared;
    pthread_mutex_lock(&shared->lock);
    bool runs = shared_runs(shared, slot);
    bool own = runs && atomic_load_explicit(&loop->thread, memory_order_relaxed) == &cora_thread;
    bool asks = slot_is(slot, handle.bits) && !own;
    bool changed = asks && cancel && !runs && cancel_queued(slot);
    bool cancelled = asks && shared_wait(loop, slot, handle) && slot_is(slot, handle.bits) &&
                     state_of(slot) == SLOT_CANCELLED;
    pthread_mutex_unlock(&shared->lock);
    return cancelled && (changed || !cancel);
}

bool shared_cancel(cora_handle handle)
{
    bool cancelled = shared_ask(handle, true);
    if (!cancelled)
        fail(CORA_ESTALE, "the handle is stale: its callback has run or was cancelled");
    return cancelled;
}

bool shared_cancelled(cora_handle handle)
{
    return shared_ask(handle, false);
}
