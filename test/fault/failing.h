/*
 * failing.h (private): memory that runs out when a test says so. The linker puts our malloc,
 * realloc and mmap in the place of those that the library calls.
 *
 * - fail_allocation(k) lets the k-th allocation from now on fail, and no other; fail_allocations(k)
 *   that one and all after it, until let_all_succeed.
 * - Handles live in pools that are cut from mappings, and a pool has room long after the mapping
 *   was made; so mappings_refused lets every further mapping fail, and the tests fill the pools.
 */
#ifndef FAILING_H
#define FAILING_H

#include "harness.h"

#include <cora.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void *__real_malloc(size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_mmap(void *start, size_t size, int protection, int flags, int file, off_t offset);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_mmap(void *start, size_t size, int protection, int flags, int file, off_t offset);

static long left = -1; /* allocations until one fails; negative: none does */
static long allocated;
static bool lasting; /* once one has failed, all do */
static bool mappings_refused;
static long refused; /* mappings */

static bool fails_now(void)
{
    allocated++;
    if (left == 0 && lasting)
        return true;
    return left >= 0 && left-- == 0;
}

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fails_now() ? NULL : __real_realloc(memory, size);
}

void *__wrap_mmap(void *start, size_t size, int protection, int flags, int file, off_t offset)
{
    refused += mappings_refused;
    return mappings_refused || fails_now()
               ? MAP_FAILED
               : __real_mmap(start, size, protection, flags, file, offset);
}

static inline void fail_allocation(long number)
{
    lasting = false;
    allocated = 0;
    left = number;
}

static inline void fail_allocations(long number)
{
    fail_allocation(number);
    lasting = true;
}

static inline void let_all_succeed(void)
{
    left = -1;
}

/* ---- coroutines that count ---- */

struct worker {
    char padding[100]; /* too much to fit into the coroutine */
    int *drops;
};

static int made, dropped;

static void worker_drop(void *locals)
{
    ++*((struct worker *)locals)->drops;
}

static inline cora_coro new_worker(cora_step step)
{
    made++;
    return cora_coroutine_owning(step, worker_drop, struct worker, .drops = &dropped);
}

#endif
