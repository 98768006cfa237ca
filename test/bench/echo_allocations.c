/* Counts the calls to malloc of a server, from outside of it.
 *
 * How it works: load.c loads this library into the server before all others, so that it stands in
 * front of the C library as bench.c does in programs that end by themselves.  The count is in
 * memory that both share: its descriptor is in the environment.  Calls that come before the library
 * is set up go to a count that nobody reads. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

#define STAND_IN __attribute__((visibility("default")))

static atomic_ulong early;
static atomic_ulong *allocations = &early;

__attribute__((constructor)) static void share_count(void)
{
    const char *descriptor = getenv("BENCH_ALLOCATIONS");

    if (descriptor == NULL)
        return;
    void *shared =
        mmap(NULL, sizeof *allocations, PROT_READ | PROT_WRITE, MAP_SHARED, atoi(descriptor), 0);
    if (shared != MAP_FAILED)
        allocations = shared;
}

static void count_allocation(void)
{
    atomic_fetch_add_explicit(allocations, 1, memory_order_relaxed);
}

STAND_IN void *malloc(size_t size)
{
    count_allocation();
    return __libc_malloc(size);
}

STAND_IN void *calloc(size_t count, size_t size)
{
    count_allocation();
    return __libc_calloc(count, size);
}

STAND_IN void *realloc(void *memory, size_t size)
{
    count_allocation();
    return __libc_realloc(memory, size);
}

STAND_IN void *aligned_alloc(size_t alignment, size_t size)
{
    count_allocation();
    return __libc_memalign(alignment, size);
}

STAND_IN int posix_memalign(void **ret_memory, size_t alignment, size_t size)
{
    count_allocation();
    void *memory = __libc_memalign(alignment, size);
    if (memory == NULL)
        return ENOMEM;
    *ret_memory = memory;
    return 0;
}
