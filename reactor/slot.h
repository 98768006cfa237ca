/*
 * slot.h (private): slots, the pools they come from, and the handles that name them.
 *
 * A slot is the memory of one object: a head, then what its kind adds. Each loop has a pool for
 * each kind, made of chunks that belong to the loop while it lives and go to the next one
 * afterwards; they stay mapped for ever, so that looking at an old handle never faults.
 *
 * A handle is generation and index: the index says which chunk and how far in units of 16 bytes,
 * the generation is counted up each time the slot is taken. The slot holds the bits of the handle
 * that names it now, so that one comparison tells whether a handle is good. A free slot keeps bits
 * and state until it is taken again.
 *
 *     handle: | generation 32 | chunk 20 | unit 12 |
 */
#ifndef CORA_SLOT_H
#define CORA_SLOT_H

#include "memory.h"
#include "value.h"

#include <stdatomic.h>

struct loop;

enum slot_kind {
    SLOT_LOOP,
    SLOT_READY,    /* call_soon, and one reader, writer or signal handler */
    SLOT_TIMER,    /* call_later, call_at */
    SLOT_SHARED,   /* call_soon_threadsafe */
    SLOT_LETTER,   /* what another thread has sent, in no pool */
    SLOT_RUNNER,   /* a runner, of no loop (futures/) */
    SLOT_EXECUTOR, /* an executor, and a thread future, of no loop */
    SLOT_THREAD_FUTURE,
    SLOT_OBJECT,    /* a lock, a time limit, ...: object.h */
    SLOT_COROUTINE, /* a coroutine, of no loop; its work is in futures/, as that of those below */
    SLOT_DONE,      /* a further done-callback of a future */
    SLOT_FUTURE,    /* a future, with its first done-callback */
    SLOT_TASK,      /* a future that drives a coroutine */
    SLOT_KINDS,
};

enum slot_state {
    SLOT_FREE,
    SLOT_WAITING,   /* registered: in libev's timers, or waiting for its event */
    SLOT_QUEUED,    /* in a list of the loop's: it will run */
    SLOT_RUNNING,   /* its callback runs */
    SLOT_CANCELLED, /* will not run; in a list, or free at the end of the tick */
};

/* The head of a slot. */
struct slot {
    uint64_t bits; /* the handle's; a free slot's last one's */
    uint8_t kind;
    uint8_t state;
    uint8_t flags; /* what callback_store says: CALLBACK_... */
    uint8_t count; /* bound arguments */
    union {
        uint32_t order;  /* a timer's order of arming */
        uint32_t future; /* a future's phase and marks */
        uint32_t size;   /* of a coroutine's locals */
        uint32_t events; /* an object's: why it is queued */
    } as;
    struct slot *next; /* in the list that it is in */
};

/*
 * The head of a chunk. Heads lie at the same place in their chunks, so that many of them would
 * share few sets of the processor's cache; what is asked often is in cora_chunks instead.
 */
struct chunk {
    struct chunk *next;
    uint32_t number;
    uint32_t slot_size;
    uint32_t used; /* bytes that hold slots taken at least once */
};

#define CHUNK_HEAD ((size_t)64)

/* A timer's callback lies this far behind its slot: in the other half of the chunk. */
#define TIMER_COLD (CHUNK_SIZE / 2)

/* Where the slots of a chunk end. */
static inline size_t chunk_end(uint32_t kind)
{
    return kind == SLOT_TIMER ? TIMER_COLD : CHUNK_SIZE;
}

/* The slots of one kind of one loop. */
struct pool {
    struct slot *free;
    struct slot *cancelled, *cancelled_last; /* free at the end of the tick */
    size_t cancelled_count;
    size_t scattered;    /* cancelled ones in no list, to be swept up when no other is free */
    struct chunk *sweep; /* the next chunk to sweep; NULL: the first */
    size_t room;         /* slots in all chunks */
    struct slot *kept, *kept_last; /* debug mode: not to be taken for a while */
    size_t kept_count;
    struct chunk *chunks; /* the newest first; only it has room that was never used */
    size_t live;
    struct loop *owner;
    uint32_t slot_size;
    uint32_t kind;
};

void pool_init(struct pool *pool, struct loop *owner, enum slot_kind kind, size_t slot_size);

/* Gives the chunks to other loops. Every slot must be free. */
void pool_release(struct pool *pool);

/* A slot of a new generation, in state SLOT_WAITING; NULL without memory. */
struct slot *pool_take_slow(struct pool *pool);

/* Makes sure that this many more slots can be taken. False without memory. */
bool pool_reserve(struct pool *pool, size_t count);

/* Calls visit for every slot in use, in the order of memory. It may give the slot back. */
void pool_visit(struct pool *pool, void (*visit)(struct slot *slot));

/* The chunks by number. Number 0 is never given, so that the null handle finds nothing. */
#define CHUNK_LIMIT (1u << 18)
struct chunk_entry {
    _Atomic(struct chunk *) chunk;
    _Atomic(struct loop *) owner; /* NULL: in nobody's pool */
};
extern struct chunk_entry cora_chunks[CHUNK_LIMIT];

static inline struct chunk_entry *chunk_entry(uint64_t bits)
{
    return &cora_chunks[((uint32_t)bits >> 12) & (CHUNK_LIMIT - 1)];
}

/* The loop whose pool a handle's slot is in, now; NULL if none. */
static inline struct loop *owner_of(uint64_t bits)
{
    return atomic_load_explicit(&chunk_entry(bits)->owner, memory_order_relaxed);
}

/* The slot that a handle names, whatever is in it now; NULL if there never was one. */
static inline struct slot *slot_at(uint64_t bits)
{
    struct chunk *chunk = atomic_load_explicit(&chunk_entry(bits)->chunk, memory_order_acquire);
    if (CORA_UNLIKELY(!chunk))
        return NULL;
    return (struct slot *)(void *)((char *)chunk + (bits & 0xfff) * 16);
}

/* Whether these are its handle's bits, also of a shared slot, which other threads may take anew. */
static inline bool slot_is(const struct slot *slot, uint64_t bits)
{
    return __atomic_load_n(&slot->bits, __ATOMIC_RELAXED) == bits;
}

/* The state, also of a shared slot, which other threads may cancel meanwhile. */
static inline enum slot_state slot_state(const struct slot *slot)
{
    return (enum slot_state)__atomic_load_n(&slot->state, __ATOMIC_RELAXED);
}

static inline struct loop *slot_owner(const struct slot *slot)
{
    return owner_of(__atomic_load_n(&slot->bits, __ATOMIC_RELAXED));
}

#define GENERATION_STEP ((uint64_t)1 << 32)

/*
 * Under ASan what is behind the head of a free slot cannot be read, so that a late use is found
 * where it happens: of futures and what is built like them.
 */
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define SLOTS_HIDE 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SLOTS_HIDE 1
#endif

#ifdef SLOTS_HIDE
#include <sanitizer/asan_interface.h>
static inline void slot_hide(struct slot *slot, size_t size)
{
    ASAN_POISON_MEMORY_REGION(slot + 1, size - sizeof *slot);
}
static inline void slot_show(struct slot *slot, size_t size)
{
    ASAN_UNPOISON_MEMORY_REGION(slot + 1, size - sizeof *slot);
}
#else
static inline void slot_hide(struct slot *slot, size_t size)
{
    (void)slot, (void)size;
}
static inline void slot_show(struct slot *slot, size_t size)
{
    (void)slot, (void)size;
}
#endif

static inline bool pool_hides(const struct pool *pool)
{
    return pool->kind >= SLOT_OBJECT && pool->kind != SLOT_COROUTINE;
}

/*
 * The usual case of pool_take: a slot that was used before; NULL if there is none at hand, or it
 * has used all generations.
 */
static inline struct slot *pool_take_fast(struct pool *pool)
{
    struct slot *slot = pool->free;
    uint64_t bits;
    if (CORA_UNLIKELY(!slot || __builtin_add_overflow(slot->bits, GENERATION_STEP, &bits)))
        return NULL;
    pool->free = slot->next;
    pool->live++;
    if (pool_hides(pool))
        slot_show(slot, pool->slot_size);
    __atomic_store_n(&slot->bits, bits, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->state, SLOT_WAITING, __ATOMIC_RELAXED); /* stale handles look */
    return slot;
}

static inline struct slot *pool_take(struct pool *pool)
{
    struct slot *slot = pool_take_fast(pool);
    return CORA_LIKELY(slot != NULL) ? slot : pool_take_slow(pool);
}

static inline void pool_give(struct pool *pool, struct slot *slot)
{
    slot->state = SLOT_FREE;
    if (pool_hides(pool))
        slot_hide(slot, pool->slot_size);
    slot->next = pool->free;
    pool->free = slot;
    pool->live--;
}

/* Cancelled slots of a tick that are listed; more are scattered. */
#define LISTED_MAX 1024

/*
 * Gives back a slot that was cancelled just now: readable as such until it is taken again, which
 * for the listed ones is after the tick.
 */
static inline void pool_give_cancelled(struct pool *pool, struct slot *slot)
{
    slot->state = SLOT_CANCELLED;
    pool->live--;
    if (pool->cancelled_count == LISTED_MAX) {
        slot->next = slot; /* the mark of being in no list */
        pool->scattered++;
        return;
    }
    slot->next = pool->cancelled;
    if (!pool->cancelled)
        pool->cancelled_last = slot;
    pool->cancelled = slot;
    pool->cancelled_count++;
}

/* Gives back a slot in debug mode: not to be taken before many others. */
void pool_give_kept(struct pool *pool, struct slot *slot);

/* The tick ends: what was cancelled in it becomes free. */
static inline void pool_settle(struct pool *pool)
{
    if (CORA_UNLIKELY(pool->cancelled != NULL)) {
        pool->cancelled_last->next = pool->free;
        pool->free = pool->cancelled;
        pool->cancelled = NULL;
        pool->cancelled_count = 0;
    }
}

#endif
