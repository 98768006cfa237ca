/*
 * operation.h: how to write an operation of one's own, to be awaited as Cora's are.
 *
 * An operation is a static table of functions. It need not wait, or it waits in a list until
 * somebody wakes it; then it runs in the next tick, looks how things are by then, and ends, or
 * waits again. In the gap between being woken and running it may be cancelled: then it passes on
 * what it was woken for. sync/lock.c is the model:
 *
 *     static bool acquire_now(const cora_awaitable *what, cora_value *ret_outcome);
 *     static int acquire_start(struct cora_waiter *waiter, const cora_awaitable *what);
 *     static enum cora_resumed acquire_resume(struct cora_waiter *waiter, bool cancelled,
 *                                             cora_value *ret_outcome);
 *
 *     static const struct cora_operation acquire = {
 *         .name = "acquire",
 *         .now = acquire_now,
 *         .start = acquire_start,
 *         .resume = acquire_resume,
 *     };
 *
 *     cora_awaitable cora_lock_acquire(cora_lock lock)
 *     {
 *         return (cora_awaitable){ .operation = &acquire, .value = cora_from(lock) };
 *     }
 *
 * The ticks are those of asyncio's: a waiter stands for the future that a coroutine of asyncio's
 * primitives makes and awaits.
 */
#ifndef CORA_OPERATION_H
#define CORA_OPERATION_H

#include "awaitable.h"

CORA_BEGIN

/* Those that wait for one thing, in the order in which they came. All zeros: nobody. */
struct cora_waiters {
    struct cora_waiter *first, *last;
};

/* An operation that waits. It is given back when it has ended, and is in no list by then. */
struct cora_waiter {
    struct cora_waiter *next, *previous;
    struct cora_waiters *list; /* that it is in; NULL: none */
    cora_value value; /* the awaitable's: a number or handle; anything counted only during start */
    const struct cora_operation *operation; /* private, as is what follows */
    void *future;
    bool woken;
    bool busy;  /* one of its functions runs; meanwhile: */
    bool again; /* it was woken */
    bool gone;  /* its loop was closed */
};

/* How an operation goes on. */
enum cora_resumed {
    CORA_ENDS,           /* with *ret_outcome: a value, or an error; cancelled with Cancelled */
    CORA_ENDS_CANCELLED, /* with the Cancelled error of who cancelled it */
    CORA_WAITS,          /* again: it is in a list, or will be woken otherwise */
};

struct cora_operation {
    const char *name; /* as it is printed: <acquire pending> */

    /*
     * Whether it need not wait, and then its outcome, a value or an error, borrowed. Called first,
     * in the very call that starts it. NULL: it always waits.
     */
    bool (*now)(const cora_awaitable *what, cora_value *ret_outcome);

    /*
     * Begins to wait: puts the waiter into a list. 0, or a code: the thread's last error. Called
     * right after now: nothing of the program's has run in between. This and resume may be NULL
     * only if it never waits.
     */
    int (*start)(struct cora_waiter *waiter, const cora_awaitable *what);

    /*
     * Goes on, a tick after it was woken or cancelled; or both, and then it is cancelled. The
     * waiter may be in its list still: cora_waiters_remove. Its outcome is borrowed, too; what it
     * fails with (cora_fail) is the outcome.
     */
    enum cora_resumed (*resume)(struct cora_waiter *waiter, bool cancelled,
                                cora_value *ret_outcome);

    /* A waiter with fields of its own: the size of a struct that begins with it. 0: has none. */
    size_t size;

    /* Gives back what those fields hold; last, also if start has failed. NULL: nothing. */
    void (*drop)(struct cora_waiter *waiter);

    /*
     * What ends that which it has begun (cora_with): gets the awaitable's value (not what it has
     * ended with), and the error that the coroutine ends with, or nothing. What this awaitable
     * fails with is then the outcome. NULL: it begins nothing.
     */
    cora_awaitable (*leave)(cora_value entered, cora_value error);

    const void *own; /* Cora's own, private: NULL */
};

/* Puts a waiter at the end of a list; takes it out of the one that it is in, if it is in one. */
CORA_API void cora_waiters_append(struct cora_waiters *list, struct cora_waiter *waiter);
CORA_API void cora_waiters_remove(struct cora_waiter *waiter);

enum cora_waiter_state {
    CORA_WAITER_WAITING,
    CORA_WAITER_WOKEN,     /* and did not run yet */
    CORA_WAITER_CANCELLED, /* without being woken, and did not run yet */
};
CORA_API enum cora_waiter_state cora_waiter_state(const struct cora_waiter *waiter);

/*
 * Wakes one that waits: it resumes in the next tick. Whether it did; it stays in its list. Of one
 * whose own function runs it is noted, and gives false: it goes on if it waits again.
 */
CORA_API bool cora_waiter_wake(struct cora_waiter *waiter);

/* In a resume function: whether it was woken; also if it was cancelled after that. */
static inline bool cora_waiter_was_woken(const struct cora_waiter *waiter)
{
    return waiter->woken;
}

/*
 * Wakes the first so many that wait, and gives how many they were; all that wait, in their order.
 * cora_waiters_close also takes them out: what has such a list calls it before its memory is gone
 * (object.h: in its close function).
 */
CORA_API size_t cora_waiters_wake_first(struct cora_waiters *list, size_t count);
CORA_API void cora_waiters_wake(struct cora_waiters *list);
CORA_API void cora_waiters_close(struct cora_waiters *list);

/* How many they are, also those that were woken, or cancelled, and did not run yet. */
CORA_API size_t cora_waiters_count(const struct cora_waiters *list);

/* Writes how many they are for a person to read: ", waiters:2", or nothing. As snprintf. */
CORA_API int cora_waiters_print(const struct cora_waiters *list, char *buffer, size_t size);

/* Something to await that has this outcome already: a value, or an error; borrowed until then. */
CORA_API cora_awaitable cora_ready(cora_value outcome);

CORA_END
#endif
