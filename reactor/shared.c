/*
 * How it works: callbacks from other threads have slots and a queue of their own, under a lock. The
 * first into the empty queue wakes the loop; the loop takes the whole queue at once, in the tick or
 * when its own thread queues something, so that the order is that of queueing.
 *
 * A shared slot's generation, state, flags and count are one atomic word, so that any thread may look
 * at it and cancel it: the loop claims a slot by changing QUEUED to RUNNING, a canceller by changing it
 * to CANCELLED, and one of them wins. Arguments are dropped by the loop's thread in both cases.
 * Who asks while the callback runs waits for the loop to announce that it has returned.
 */
#include "private.h"

#include <string.h>

/* The first word of a slot's head. */
union word {
    struct {
        uint32_t generation;
        uint8_t kind, state, flags, count;
    } head;
    uint64_t bits;
};

static union word word_read(const struct slot *slot)
{
    union word word;
    word.bits = __atomic_load_n((const uint64_t *)(const void *)slot, __ATOMIC_ACQUIRE);
    return word;
}

static void word_write(struct slot *slot, union word word)
{
    __atomic_store_n((uint64_t *)(void *)slot, word.bits, __ATOMIC_RELEASE);
}

/* Changes the state if nothing else has changed the word. */
static bool word_change(struct slot *slot, union word from, enum slot_state state)
{
    union word to = from;
    to.head.state = (uint8_t)state;
    return __atomic_compare_exchange_n((uint64_t *)(void *)slot, &from.bits, to.bits, false,
                                       __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

void shared_init(struct loop *loop)
{
    struct shared *shared = &loop->shared;
    pool_init(&shared->pool, loop, SLOT_SHARED, sizeof(struct ready_slot));
    shared->queue = shared->used = (struct queue){ NULL, NULL };
    atomic_store(&shared->waiting, false);
    shared->open = true;
}

/* A slot for a new callback, its word not yet written. The lock is held. */
static struct slot *shared_slot(struct pool *pool)
{
    struct slot *slot = pool->free;
    while (slot && word_read(slot).head.generation == UINT32_MAX)
        slot = slot->next; /* retired */
    if (!slot && !pool_reserve(pool, 1))
        return NULL;
    slot = slot ? slot : pool->free;
    pool->free = slot->next;
    pool->live++;
    return slot;
}

/* The part of call_soon_threadsafe under the lock. */
static cora_handle shared_add(struct loop *loop, const struct cora_partial *partial)
{
    struct shared *shared = &loop->shared;
    struct slot *slot = shared_slot(&shared->pool);
    if (!slot) {
        fail_with(memory_error());
        return (cora_handle){ 0 };
    }
    struct slot head = { 0 };
    if (!callback_store(&head, &((struct ready_slot *)slot)->callback, partial)) {
        slot->next = shared->pool.free;
        shared->pool.free = slot;
        shared->pool.live--;
        return (cora_handle){ 0 };
    }
    union word word = { .head = { word_read(slot).head.generation + 1, SLOT_SHARED, SLOT_QUEUED,
                                  head.flags, head.count } };
    word_write(slot, word);
    cora_handle handle = { (uint64_t)word.head.generation << 32 | (uint32_t)slot_bits(slot) };
    bool first = !shared->queue.head;
    queue_append(&shared->queue, slot);
    atomic_store_explicit(&shared->waiting, true, memory_order_release);
    if (first && loop->ev)
        ev_async_send(loop->ev, &loop->async);
    return handle;
}

cora_handle cora_call_soon_threadsafe(cora_loop handle, cora_callback callback)
{
    cora_handle added = { 0 };
    struct loop *loop = loop_find(handle);
    if (!loop) {
        fail(CORA_ESTALE, "call_soon_threadsafe: the handle is none of a loop");
        return added;
    }
    pthread_mutex_lock(&loop->shared.lock);
    bool open = loop->shared.open &&
                atomic_load_explicit(&loop->generation, memory_order_relaxed) ==
                    generation_of(handle.bits);
    if (open)
        added = shared_add(loop, callback.partial);
    pthread_mutex_unlock(&loop->shared.lock);
    if (!open)
        fail(CORA_ERUNTIME, "Event loop is closed");
    return added;
}

/* Moves what other threads queued behind the ready queue, and gives the pool back what has run. */
void shared_take(struct loop *loop)
{
    struct shared *shared = &loop->shared;
    pthread_mutex_lock(&shared->lock);
    struct queue queue = shared->queue;
    shared->queue.head = NULL;
    atomic_store_explicit(&shared->waiting, false, memory_order_relaxed);
    for (struct slot *slot = shared->used.head, *next; slot; slot = next) {
        next = slot->next;
        slot->next = shared->pool.free;
        shared->pool.free = slot;
        shared->pool.live--;
    }
    shared->used.head = NULL;
    pthread_mutex_unlock(&shared->lock);
    if (!queue.head)
        return;
    queue_join(&loop->ready, &queue);
    loop_wake(loop);
}

/* Drops function and arguments; the slot's own word stays as it is. */
static void shared_forget(struct slot *slot)
{
    union word word = word_read(slot);
    struct slot head = { .flags = word.head.flags, .count = word.head.count };
    callback_drop(&head, &((struct ready_slot *)slot)->callback);
}

void shared_run(struct loop *loop, struct slot *slot)
{
    struct shared *shared = &loop->shared;
    union word word = word_read(slot);
    bool runs = word.head.state == SLOT_QUEUED && word_change(slot, word, SLOT_RUNNING);
    if (runs)
        slot_run(loop, slot);
    shared_forget(slot);
    word.head.state = runs ? SLOT_FREE : SLOT_CANCELLED;
    word_write(slot, word);
    if (atomic_load(&shared->waiters) > 0) {
        pthread_mutex_lock(&shared->lock);
        pthread_cond_broadcast(&shared->finished);
        pthread_mutex_unlock(&shared->lock);
    }
    queue_append(&shared->used, slot);
}

/* The loop is closed: what is queued is dropped. */
void shared_drop(struct loop *loop)
{
    struct shared *shared = &loop->shared;
    pthread_mutex_lock(&shared->lock);
    shared->open = false;
    struct queue queue = shared->queue;
    shared->queue.head = NULL;
    atomic_store_explicit(&shared->waiting, false, memory_order_relaxed);
    pthread_cond_broadcast(&shared->finished);
    pthread_mutex_unlock(&shared->lock);
    for (struct slot *slot = queue.head, *next; slot; slot = next) {
        next = slot->next;
        union word word = word_read(slot);
        while (word.head.state == SLOT_QUEUED && !word_change(slot, word, SLOT_CANCELLED))
            word = word_read(slot);
        shared_forget(slot);
    }
}

/* Waits until a shared callback that another thread runs has returned. */
static void shared_wait(struct slot *slot, cora_handle handle)
{
    struct loop *loop = slot_owner(slot);
    if (!loop || atomic_load_explicit(&loop->thread, memory_order_relaxed) == &cora_thread)
        return;
    struct shared *shared = &loop->shared;
    atomic_fetch_add(&shared->waiters, 1);
    pthread_mutex_lock(&shared->lock);
    for (;;) {
        union word word = word_read(slot);
        if (!shared->open || word.head.generation != generation_of(handle.bits) ||
            word.head.state != SLOT_RUNNING)
            break;
        pthread_cond_wait(&shared->finished, &shared->lock);
    }
    pthread_mutex_unlock(&shared->lock);
    atomic_fetch_sub(&shared->waiters, 1);
}

bool shared_cancel(cora_handle handle)
{
    struct slot *slot = slot_at(handle.bits);
    union word word = word_read(slot);
    while (word.head.generation == generation_of(handle.bits) && word.head.state == SLOT_QUEUED) {
        if (word_change(slot, word, SLOT_CANCELLED))
            return true; /* the loop drops its arguments when it meets the slot */
        word = word_read(slot);
    }
    if (word.head.generation == generation_of(handle.bits) && word.head.state == SLOT_RUNNING)
        shared_wait(slot, handle);
    fail(CORA_ESTALE, "the handle is stale: its callback has run or was cancelled");
    return false;
}

bool shared_cancelled(cora_handle handle)
{
    struct slot *slot = slot_at(handle.bits);
    union word word = word_read(slot);
    if (word.head.generation != generation_of(handle.bits))
        return false;
    if (word.head.state == SLOT_RUNNING)
        shared_wait(slot, handle);
    return word.head.state == SLOT_CANCELLED;
}
