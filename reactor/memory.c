/*
 * How it works: chunks are cut from mappings, which are never given back: checking an old handle must be
 * safe for ever, and a second run of the same load adds no memory. Each mapping is twice as large as
 * the one before, up to a limit, and the large ones ask for huge pages: a million timers in small ones
 * would miss the processor's address cache at each step.
 *
 * Blocks are kept in free lists by size class, one set for each thread. A block may be freed in another
 * thread than it came from (a value that was sent to a loop), so a thread with too many passes a batch
 * on to a common list, from which threads with none take one before they cut a chunk. Only batches
 * take the lock.
 */
#include "memory.h"

#include "thread.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define FIRST_MAPPING ((size_t)1 << 20)
#define LARGEST_MAPPING ((size_t)32 << 20)
#define HUGE_PAGE ((size_t)2 << 20)
#define SMALLEST_BLOCK ((size_t)32)
#define LARGEST_BLOCK (SMALLEST_BLOCK << (BLOCK_CLASSES - 1))
#define BATCH 32

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif

/* A free block. In the common list, the first of a batch leads to the next batch. */
struct block {
    struct block *next;
    struct block *next_batch;
};

static pthread_mutex_t memory_lock = PTHREAD_MUTEX_INITIALIZER;
static char *mapping_next, *mapping_end; /* what is left of the last mapping */
static size_t mapping_size = FIRST_MAPPING;           /* of the next one */
static struct block *common_batches[BLOCK_CLASSES];   /* batches of BATCH blocks or fewer */
static char *cut_next[BLOCK_CLASSES], *cut_end[BLOCK_CLASSES]; /* the chunk being cut, by class */

#ifdef WITH_ASAN
void __lsan_register_root_region(const void *start, size_t size);
#endif

/* Maps memory of this size and alignment, or NULL. */
static char *map_aligned(size_t size, size_t alignment)
{
    char *start = mmap(NULL, size + alignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                       -1, 0);
    if (start == MAP_FAILED)
        return NULL;
    size_t lead = (alignment - (uintptr_t)start % alignment) % alignment;
    if (lead > 0)
        munmap(start, lead);
    if (lead < alignment)
        munmap(start + lead + size, alignment - lead);
    return start + lead;
}

/* Maps the next piece. The lock is held. */
static int mapping_grow(void)
{
    bool huge = mapping_size >= HUGE_PAGE;
    char *start = map_aligned(mapping_size, huge ? HUGE_PAGE : CHUNK_SIZE);
    if (!start)
        return -1;
    if (huge)
        madvise(start, mapping_size, MADV_HUGEPAGE); /* if it can: a matter of speed alone */
    mapping_next = start;
    mapping_end = start + mapping_size;
#ifdef WITH_ASAN
    __lsan_register_root_region(start, mapping_size); /* slots lead to malloc's memory */
#endif
    if (mapping_size < LARGEST_MAPPING)
        mapping_size *= 2;
    return 0;
}

/* The lock is held. */
static void *chunk_cut(void)
{
    if (mapping_next == mapping_end && mapping_grow() < 0)
        return NULL;
    char *chunk = mapping_next;
    mapping_next += CHUNK_SIZE;
    return chunk;
}

void *chunk_map(void)
{
    pthread_mutex_lock(&memory_lock);
    void *chunk = chunk_cut();
    pthread_mutex_unlock(&memory_lock);
    return chunk;
}

static unsigned block_class(size_t size)
{
    unsigned class = 0;
    for (size_t room = SMALLEST_BLOCK; room < size; room *= 2)
        class++;
    return class;
}

/* A batch from the common list, or cut from a chunk. The lock is held. NULL without memory. */
static struct block *batch_take(unsigned class, unsigned *ret_count)
{
    struct block *batch = common_batches[class];
    unsigned count = 0;
    if (batch) {
        common_batches[class] = batch->next_batch;
        for (struct block *b = batch; b; b = b->next)
            count++;
        *ret_count = count;
        return batch;
    }
    size_t size = SMALLEST_BLOCK << class;
    if (cut_next[class] == cut_end[class]) {
        char *chunk = chunk_cut();
        if (!chunk)
            return NULL;
        cut_next[class] = chunk;
        cut_end[class] = chunk + CHUNK_SIZE;
    }
    while (count < BATCH && cut_next[class] < cut_end[class]) {
        struct block *block = (struct block *)(void *)cut_next[class];
        cut_next[class] += size;
        block->next = batch;
        batch = block;
        count++;
    }
    *ret_count = count;
    return batch;
}

static void *block_refill(struct block_cache *cache, unsigned class)
{
    if (thread_register() < 0)
        return NULL;
    pthread_mutex_lock(&memory_lock);
    unsigned count = 0;
    struct block *batch = batch_take(class, &count);
    pthread_mutex_unlock(&memory_lock);
    if (!batch)
        return NULL;
    cache->blocks[class] = batch->next;
    cache->counts[class] = count - 1;
    return batch;
}

void *block_get(size_t size)
{
    if (size > LARGEST_BLOCK)
        return malloc(size);
    unsigned class = block_class(size);
    struct block_cache *cache = &cora_thread.blocks;
    struct block *block = cache->blocks[class];
    if (!block)
        return block_refill(cache, class);
    cache->blocks[class] = block->next;
    cache->counts[class]--;
    return block;
}

/* Passes this many blocks of a thread on to the others. */
static void batch_give(struct block_cache *cache, unsigned class, unsigned count)
{
    struct block *batch = cache->blocks[class], *last = batch;
    for (unsigned i = 1; i < count; i++)
        last = last->next;
    cache->blocks[class] = last->next;
    cache->counts[class] -= count;
    last->next = NULL;
    pthread_mutex_lock(&memory_lock);
    batch->next_batch = common_batches[class];
    common_batches[class] = batch;
    pthread_mutex_unlock(&memory_lock);
}

void block_put(void *memory, size_t size)
{
    if (size > LARGEST_BLOCK) {
        free(memory);
        return;
    }
    unsigned class = block_class(size);
    struct block_cache *cache = &cora_thread.blocks;
    struct block *block = memory;
    block->next = cache->blocks[class];
    cache->blocks[class] = block;
    if (++cache->counts[class] > 2 * BATCH)
        batch_give(cache, class, BATCH);
}

void block_cache_flush(struct block_cache *cache)
{
    for (unsigned class = 0; class < BLOCK_CLASSES; class ++)
        while (cache->counts[class] > 0)
            batch_give(cache, class, cache->counts[class] < BATCH ? cache->counts[class] : BATCH);
}
