/* Prints the sizes that docs/limits.md publishes; asserts those that performance rests on. */
#include "futures/private_coroutine.h"

#include <stdio.h>

_Static_assert(sizeof(cora_value) == 16, "a value goes in two registers");
_Static_assert(sizeof(struct ready_slot) == 80, "a callback with two arguments");
_Static_assert(sizeof(struct timer_slot) == 64, "a timer's hot half is a cache line");
_Static_assert(sizeof(struct future) == 128, "a future with its first done-callback");
_Static_assert(sizeof(struct coroutine) == 128, "a coroutine with 40 bytes of locals");
_Static_assert(sizeof(struct task) == 192, "a task is a future and a cache line more");

_Static_assert(CORA_OBJECT_SIZE == 88, "an object is two cache lines: reactor/object.c");
_Static_assert(sizeof(struct cora_waiter) <= 64, "a waiter is a block of 64");
_Static_assert(sizeof(struct extra) <= 64, "what a coroutine holds is a block of 64");

static void row(const char *what, size_t size)
{
    printf("%-52s %6zu bytes\n", what, size);
}

int main(void)
{
    row("value", sizeof(cora_value));
    row("handle", sizeof(cora_handle));
    row("callback of call_soon, reader, writer, signal", sizeof(struct ready_slot));
    row("timer, with its callback", 2 * sizeof(struct timer_slot));
    row("future, with its first done-callback", sizeof(struct future));
    row("each further done-callback", (sizeof(struct done_slot) + 15) & ~(size_t)15);
    row("coroutine, with 40 bytes of locals", sizeof(struct coroutine));
    row("task, without its coroutine", sizeof(struct task));
    row("lock, semaphore, queue, time limit: an object", 128);
    row("what waits at one, besides its future", sizeof(struct cora_waiter));
    row("what cora_with has entered", sizeof(struct extra));
    row("awaitable", sizeof(cora_awaitable));
    row("loop", sizeof(struct loop));
    return 0;
}
