/*
 * memory.c: memory that runs out at random.
 *
 * In some episodes one of the next allocations of the library's fails, again and again. That needs
 * a program that is linked with --wrap=malloc; without it there is always memory.
 */
#include "steps.h"

void *__wrap_malloc(size_t size);
void *__real_malloc(size_t size) __attribute__((weak));

static long left = -1; /* allocations until one fails; negative: none does */
static bool scarce;

void *__wrap_malloc(size_t size)
{
    if (left >= 0 && left-- == 0) {
        trace("  no memory");
        return NULL;
    }
    return __real_malloc ? __real_malloc(size) : NULL;
}

void memory_begin(bool is_scarce)
{
    scarce = is_scarce;
    left = -1;
}

void memory_runs_out(void)
{
    if (scarce && rarely(20))
        left = below(8);
}

long memory_hold(void)
{
    long before = left;
    left = -1;
    return before;
}

void memory_release(long before)
{
    left = before;
}
