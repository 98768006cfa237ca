/*
 * How it works: a pool takes slots from its free list, last in first out, as those are still in the
 * cache; then from the part of its newest chunk that was never used, which need not be touched
 * before. A chunk is made for one kind and keeps that kind for ever, so that generations stay where
 * they are.
 *
 * Cancelled slots stay in state SLOT_CANCELLED when they are put on the free list: a handle then
 * reads "cancelled" until the slot is taken again, and handle_get (handle.c) treats both states as
 * stale but for that question. After a mass cancellation the list of such slots would lead all over
 * the memory, a cache miss for each that is taken; so only the first of a tick are listed, and the
 * others are swept up in the order of memory when no slot is free. Sweeping starts when it finds
 * one in eight. Generations never wrap: a slot that has used all of them is left out for ever.
 */
#include "slot.h"

#include "fork.h"
#include "private_value.h"

#include <pthread.h>
#include <string.h>

#define KEPT_MAX 4096 /* slots that debug mode keeps from reuse, by kind */

struct chunk_entry cora_chunks[CHUNK_LIMIT];

static pthread_mutex_t chunk_lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t chunk_count;
static struct chunk *spare_chunks[SLOT_KINDS]; /* of loops that were closed */

void pool_init(struct pool *pool, struct loop *owner, enum slot_kind kind, size_t slot_size)
{
    *pool = (struct pool){ .owner = owner, .kind = kind, .slot_size = (uint32_t)slot_size };
}

/* A chunk for this pool's kind, numbered. */
static struct chunk *chunk_new(const struct pool *pool)
{
    pthread_mutex_lock(&chunk_lock);
    struct chunk *chunk = spare_chunks[pool->kind];
    if (chunk) {
        spare_chunks[pool->kind] = chunk->next;
    } else if (chunk_count + 1 < CHUNK_LIMIT && (chunk = chunk_map())) {
        chunk->number = ++chunk_count;
        chunk->slot_size = pool->slot_size;
        chunk->used = CHUNK_HEAD;
        atomic_store_explicit(&cora_chunks[chunk->number].chunk, chunk, memory_order_release);
    }
    pthread_mutex_unlock(&chunk_lock);
    return chunk;
}

/* Another thread may be taking a chunk. */
struct fork_hooks chunk_fork_hooks = { .lock = &chunk_lock };

static struct slot *chunk_slot(struct chunk *chunk, size_t offset)
{
    return (struct slot *)(void *)((char *)chunk + offset);
}

/* Adds a chunk, with the slots in it that an earlier loop has used. */
static bool pool_grow(struct pool *pool)
{
    struct chunk *chunk = chunk_new(pool);
    if (!chunk)
        return false;
    for (size_t offset = CHUNK_HEAD; offset < chunk->used; offset += chunk->slot_size) {
        struct slot *slot = chunk_slot(chunk, offset);
        slot->next = pool->free;
        pool->free = slot;
    }
    pool->room += (chunk_end(pool->kind) - CHUNK_HEAD) / pool->slot_size;
    atomic_store_explicit(&cora_chunks[chunk->number].owner, pool->owner, memory_order_relaxed);
    chunk->next = pool->chunks;
    pool->chunks = chunk;
    return true;
}

/* Puts the next slot of the newest chunk that was never used on the free list. */
static bool pool_fresh(struct pool *pool)
{
    struct chunk *chunk = pool->chunks;
    if (!chunk || chunk->used + pool->slot_size > chunk_end(pool->kind))
        return false;
    struct slot *slot = chunk_slot(chunk, chunk->used);
    chunk->used += pool->slot_size;
    slot->bits = (uint64_t)chunk->number << 12 | ((uintptr_t)slot & (CHUNK_SIZE - 1)) / 16;
    slot->kind = (uint8_t)pool->kind;
    slot->next = pool->free;
    pool->free = slot;
    return true;
}

/* Puts the scattered slots of one chunk on the free list, in the order of memory. */
static void chunk_sweep(struct pool *pool, struct chunk *chunk)
{
    struct slot **end = &pool->free;
    for (size_t offset = CHUNK_HEAD; offset < chunk->used; offset += chunk->slot_size) {
        struct slot *slot = chunk_slot(chunk, offset);
        if (slot->state != SLOT_CANCELLED || slot->next != slot)
            continue;
        *end = slot;
        end = &slot->next;
        pool->scattered--;
    }
    *end = NULL;
}

/* Sweeps chunk by chunk, so that what is found is still in the cache when it is taken. */
static void pool_sweep(struct pool *pool)
{
    if (!pool->sweep && pool->scattered < pool->room / 8)
        return; /* too few to be worth the way */
    if (!pool->sweep)
        pool->sweep = pool->chunks;
    for (; pool->sweep && !pool->free; pool->sweep = pool->sweep->next)
        chunk_sweep(pool, pool->sweep);
}

struct slot *pool_take_slow(struct pool *pool)
{
    for (;;) {
        if (!pool->free && pool->scattered > 0)
            pool_sweep(pool);
        if (!pool->free && !pool_fresh(pool) && !pool_grow(pool))
            return NULL;
        struct slot *slot = pool_take_fast(pool);
        if (slot)
            return slot;
        if (pool->free) /* it has used all generations */
            pool->free = pool->free->next;
    }
}

bool pool_reserve(struct pool *pool, size_t count)
{
    size_t ready = 0;
    for (struct slot *slot = pool->free; slot && ready < count; slot = slot->next)
        ready++;
    while (ready < count) {
        if (pool_fresh(pool))
            ready++;
        else if (!pool_grow(pool))
            return false;
    }
    return true;
}

void pool_give_kept(struct pool *pool, struct slot *slot)
{
    slot->state = SLOT_FREE;
    slot->next = NULL;
    if (pool->kept)
        pool->kept_last->next = slot;
    else
        pool->kept = slot;
    pool->kept_last = slot;
    pool->live--;
    if (++pool->kept_count <= KEPT_MAX)
        return;
    pool->kept_count--;
    slot = pool->kept;
    pool->kept = slot->next;
    slot->next = pool->free;
    pool->free = slot;
}

void pool_visit(struct pool *pool, void (*visit)(struct slot *slot))
{
    for (struct chunk *chunk = pool->chunks; chunk; chunk = chunk->next)
        for (size_t offset = CHUNK_HEAD; offset < chunk->used; offset += chunk->slot_size) {
            struct slot *slot = chunk_slot(chunk, offset);
            if (slot->state != SLOT_FREE && slot->state != SLOT_CANCELLED)
                visit(slot);
        }
}

/* Frees a slot of a closed loop: no handle names it any more, whoever's the chunk becomes. */
static void slot_forget(struct slot *slot)
{
    slot->state = SLOT_FREE;
    if (slot->bits >> 32 != UINT32_MAX)
        __atomic_store_n(&slot->bits, slot->bits + GENERATION_STEP, __ATOMIC_RELAXED);
}

void pool_release(struct pool *pool)
{
    for (struct chunk *chunk = pool->chunks, *next; chunk; chunk = next) {
        next = chunk->next;
        for (size_t offset = CHUNK_HEAD; offset < chunk->used; offset += chunk->slot_size)
            slot_forget(chunk_slot(chunk, offset));
        atomic_store_explicit(&cora_chunks[chunk->number].owner, NULL, memory_order_relaxed);
        pthread_mutex_lock(&chunk_lock);
        chunk->next = spare_chunks[pool->kind];
        spare_chunks[pool->kind] = chunk;
        pthread_mutex_unlock(&chunk_lock);
    }
    pool_init(pool, pool->owner, (enum slot_kind)pool->kind, pool->slot_size);
}
