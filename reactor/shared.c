/*
 * How it works: callbacks from other threads have slots and a queue of their own, under a lock. The
 * first into the empty queue wakes the loop; the loop takes the whole queue at once, in the tick or
 * when its own thread queues something, so that the order is that of queueing.
 *
 * A shared slot's state is changed by atomic exchange only: the loop claims a slot by changing
 * QUEUED to RUNNING, a canceller, who holds the lock so that the slot is not taken anew meanwhile,
 * by changing it to CANCELLED, and one of them wins. Arguments are dropped by the loop's thread in
 * both cases. Who asks while the callback runs waits for the loop to announce that it has returned.
 *
 * Letters go the same way; they belong to who has sent them.
 */
#include "private.h"

#include <sched.h>

/*
 * Sequentially consistent: the loop writes the state and then looks for waiters, a waiter counts
 * itself and then looks at the state, and one of them must see the other.
 */
static enum slot_state state_of(const struct slot *slot)
{
    return (enum slot_state)__atomic_load_n(&slot->state, __ATOMIC_SEQ_CST);
}

static void set_state(struct slot *slot, enum slot_state state)
{
    __atomic_store_n(&slot->state, (uint8_t)state, __ATOMIC_SEQ_CST);
}

/* Changes the state from QUEUED; false if it was another already. */
static bool claim(struct slot *slot, enum slot_state state)
{
    uint8_t queued = SLOT_QUEUED;
    return __atomic_compare_exchange_n(&slot->state, &queued, (uint8_t)state, false,
                                       __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

void shared_init(struct loop *loop)
{
    struct shared *shared = &loop->shared;
    pool_init(&shared->pool, loop, SLOT_SHARED, sizeof(struct ready_slot));
    queue_clear(&shared->queue);
    queue_clear(&shared->used);
    shared->used_count = 0;
    atomic_store(&shared->waiting, false);
    shared->open = true;
}

/*
 * Queues a slot, unlocks, and wakes the loop. It is not woken while the lock is held: on one
 * processor it would run at once, want the lock, and have to wait again. A closing loop waits for
 * those who are waking it.
 */
static void shared_queue(struct loop *loop, struct slot *slot)
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

/* The part of call_soon_threadsafe under the lock, which is given. */
static cora_handle shared_add(struct loop *loop, const struct cora_partial *partial)
{
    struct slot *slot = handle_new(&loop->shared.pool, partial);
    if (!slot) {
        pthread_mutex_unlock(&loop->shared.lock);
        return (cora_handle){ 0 };
    }
    set_state(slot, SLOT_QUEUED);
    cora_handle handle = { slot->bits };
    shared_queue(loop, slot);
    return handle;
}

/* Locks what is shared of an open loop; NULL, and nothing is locked, if it is closed. */
static struct loop *shared_lock(cora_loop handle)
{
    struct loop *loop = loop_find(handle);
    if (!loop || loop_bits(loop) != handle.bits) /* a made-up handle does not lead to the lock */
        return NULL;
    pthread_mutex_lock(&loop->shared.lock);
    if (loop->shared.open && loop_bits(loop) == handle.bits)
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

cora_handle cora_call_soon_threadsafe(cora_loop handle, cora_callback callback)
{
    cora_handle added = { 0 };
    if (!loop_find(handle)) {
        fail(CORA_ESTALE, "call_soon_threadsafe: the handle is none of a loop");
        return added;
    }
    cora_value last = cora_copy(cora_last_error()); /* not to be dropped under the lock */
    struct loop *loop = shared_lock(handle);
    if (loop) {
        added = shared_add(loop, callback.partial);
    } else {
        fail(CORA_ERUNTIME, "Event loop is closed");
    }
    cora_drop(last);
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
    if (shared->used.head) {
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

void shared_run(struct loop *loop, struct slot *slot)
{
    struct shared *shared = &loop->shared;
    bool runs = claim(slot, SLOT_RUNNING);
    if (runs)
        slot_run(loop, slot);
    callback_drop(slot, slot_callback(slot));
    if (runs)
        set_state(slot, SLOT_FREE);
    if (atomic_load(&shared->waiters) > 0) {
        pthread_mutex_lock(&shared->lock);
        pthread_cond_broadcast(&shared->finished);
        pthread_mutex_unlock(&shared->lock);
    }
    queue_append(&shared->used, slot);
    shared->used_count++;
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
            claim(list, SLOT_CANCELLED); /* other threads may still ask */
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

/* Waits until a shared callback that another thread runs has returned. The lock is held. */
static void shared_wait(struct loop *loop, struct slot *slot, cora_handle handle)
{
    struct shared *shared = &loop->shared;
    if (atomic_load_explicit(&loop->thread, memory_order_relaxed) == &cora_thread)
        return;
    atomic_fetch_add(&shared->waiters, 1);
    while (shared->open && slot_is(slot, handle.bits) && state_of(slot) == SLOT_RUNNING)
        pthread_cond_wait(&shared->finished, &shared->lock);
    atomic_fetch_sub(&shared->waiters, 1);
}

/* Whether the callback could be cancelled, or whether it is; one that runs is waited for. */
static bool shared_ask(cora_handle handle, bool cancel)
{
    struct slot *slot = slot_at(handle.bits);
    struct loop *loop = owner_of(handle.bits);
    if (!loop)
        return false;
    pthread_mutex_lock(&loop->shared.lock);
    bool cancelled = cancel && slot_is(slot, handle.bits) && claim(slot, SLOT_CANCELLED);
    if (!cancelled && slot_is(slot, handle.bits))
        shared_wait(loop, slot, handle);
    if (!cancel)
        cancelled = slot_is(slot, handle.bits) && state_of(slot) == SLOT_CANCELLED;
    pthread_mutex_unlock(&loop->shared.lock);
    return cancelled;
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
