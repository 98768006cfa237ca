/*
 * How it works: chunks are cut from mappings, which are never given back: checking an old handle
 * must be safe for ever, and a second run of the same load adds no memory. Each mapping is twice as
 * large as the one before, up to a limit, and the large ones ask for huge pages: a million timers
 * in small ones would miss the processor's address cache at each step. A small one takes one system
 * call: a program's start waits for it.
 *
 * A thread keeps a few free blocks of each size, so that a steady state needs no malloc; it gives
 * the rest back. So a block may be freed in another thread than it came from: a value sent to a
 * loop.
 */
#include "memory.h"

#include "thread.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define FIRST_MAPPING ((size_t)1 << 20)
#define LARGEST_MAPPING ((size_t)32 << 20)
#define HUGE_MAPPING ((size_t)8 << 20) /* from here on huge pages are worth what they waste */
#define HUGE_PAGE ((size_t)2 << 20)
#define SMALLEST_BLOCK ((size_t)32)
#define BLOCK_SHIFT (8 * sizeof(unsigned long) - 5) /* less those of the smallest */
#define LARGEST_BLOCK (SMALLEST_BLOCK << (BLOCK_CLASSES - 1))

/* Bytes of free blocks of a size that a thread keeps; none where the address sanitizer watches over
 * them. */
#ifdef __SANITIZE_ADDRESS__
#define CACHED_MAX 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CACHED_MAX 0
#endif
#endif
#ifndef CACHED_MAX
#define CACHED_MAX ((size_t)1 << 20)
#endif

/* A free block. */
struct block {
    struct block *next;
};

static char *mapping_next, *mapping_end;    /* what is left of the last mapping */
static size_t mapping_size = FIRST_MAPPING; /* of the next one */

/* There in a program with the leak sanitizer: slots lead to malloc's memory. */
__attribute__((weak)) void __lsan_register_root_region(const void *start, size_t size);

/* Maps the next piece, aligned to chunks, and a large one to huge pages. */
static int mapping_grow(void)
{
    bool huge = mapping_size >= HUGE_MAPPING;
    size_t size = mapping_size, alignment = huge ? HUGE_PAGE : CHUNK_SIZE, lead;
    char *start =
        mmap(NULL, size + alignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        return -1;
    lead = alignment - (uintptr_t)start % alignment;
    mapping_next = start + lead;
    mapping_end = mapping_next + size;
    if (huge) { /* else what lies around it is less than giving it back is worth */
        munmap(start, lead);
        if (lead < alignment)
            munmap(mapping_end, alignment - lead);
        madvise(mapping_next, size, MADV_HUGEPAGE); /* if it can: a matter of speed alone */
    }
    if (__lsan_register_root_region)
        __lsan_register_root_region(mapping_next, size);
    if (size < LARGEST_MAPPING)
        mapping_size = 2 * size;
    return 0;
}

void *chunk_map(void)
{
    if (mapping_next == mapping_end && mapping_grow() < 0)
        return NULL;
    mapping_next += CHUNK_SIZE;
    return mapping_next - CHUNK_SIZE;
}

static inline unsigned block_class(size_t size)
{
    return size <= SMALLEST_BLOCK ? 0 : BLOCK_SHIFT - (unsigned)__builtin_clzl(size - 1);
}

void *block_get(size_t size)
{
    if (size > LARGEST_BLOCK)
        return malloc(size);
    unsigned class = block_class(size);
    struct block_cache *cache = &cora_thread.blocks;
    struct block *block = cache->blocks[class];
    if (!block)
        return thread_register() < 0 ? NULL : malloc(SMALLEST_BLOCK << class);
    cache->blocks[class] = block->next;
    cache->counts[class]--;
    return block;
}

/* Whether a thread keeps another free block of this class. */
static inline bool cache_has_room(const struct block_cache *cache, unsigned class)
{
    size_t bytes = cache->counts[class] * (SMALLEST_BLOCK << class);
    return bytes + 1 <= CACHED_MAX && cora_thread.registered;
}

void block_put(void *memory, size_t size)
{
    unsigned class = size > LARGEST_BLOCK ? 0 : block_class(size);
    struct block_cache *cache = &cora_thread.blocks;
    struct block *block = memory;
    if (size > LARGEST_BLOCK || !cache_has_room(cache, class)) {
        free(memory);
        return;
    }
    block->next = cache->blocks[class];
    cache->blocks[class] = block;
    cache->counts[class]++;
}

void block_cache_flush(struct block_cache *cache)
{
    for (unsigned class = 0; class < BLOCK_CLASSES; class ++) {
        struct block *block;
        while ((block = cache->blocks[class])) {
            cache->blocks[class] = block->next;
            free(block);
        }
        cache->counts[class] = 0;
    }
}
