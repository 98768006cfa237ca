/*
 * memory.h (private): where Cora's memory comes from.
 *
 * Chunks are aligned pieces of address space that stay mapped while the process lives; slots
 * (slot.h) live in them. Blocks are small pieces of any size for values and overlong argument
 * lists; any thread may free them. Nothing else allocates but a loop's table of descriptors,
 * queues for their items, and what is made for each server, connector and look-up.
 */
#ifndef CORA_MEMORY_H
#define CORA_MEMORY_H

#include <stddef.h>

#define CHUNK_SIZE ((size_t)65536)

/* The sizes of blocks: 32 to 4096 bytes by powers of two; larger ones are malloc's own. */
#define BLOCK_CLASSES 8

/* Free blocks that a thread keeps at hand. */
struct block_cache {
    struct block *blocks[BLOCK_CLASSES];
    unsigned counts[BLOCK_CLASSES];
};

/* A zeroed chunk aligned to its size, or NULL. One thread at a time: who calls it has a lock. */
void *chunk_map(void);

/* A block of at least this size, not zeroed, or NULL; and back, with the size it was asked for. */
void *block_get(size_t size);
void block_put(void *block, size_t size);

/* Gives a thread's free blocks back; called when the thread ends. */
void block_cache_flush(struct block_cache *cache);

#endif
