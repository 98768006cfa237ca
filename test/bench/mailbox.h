/* Calls on their way from any thread to the loop's.
 *
 * A mutex guards one growing array; the loop swaps it for an empty one and runs the calls with the
 * mutex free.  Only the call that finds the mailbox empty may have to wake the loop, and only
 * this wake-up differs between the subjects: eventfd, ev_async, uv_async, event_active. */
#ifndef CORA_BENCH_MAILBOX_H
#define CORA_BENCH_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include "bench.h"
#include "ring.h"

struct mailbox_page {
    struct call *calls;
    size_t count;
    size_t size;
};

struct mailbox {
    pthread_mutex_t mutex;
    struct mailbox_page filling; /* guarded by the mutex */
    struct mailbox_page running; /* the loop's thread's own */
};

/* Makes room for n calls, so that no round pays for growth. */
static inline void mailbox_open(struct mailbox *box, size_t n)
{
    pthread_mutex_init(&box->mutex, NULL);
    box->filling = (struct mailbox_page){ bench_array(n, sizeof(struct call)), 0, n };
    box->running = (struct mailbox_page){ bench_array(n, sizeof(struct call)), 0, n };
}

/* Puts a call in.  Any thread.  Returns whether the box was empty: wake the loop then. */
static inline bool mailbox_put(struct mailbox *box, void (*function)(void *), void *argument)
{
    pthread_mutex_lock(&box->mutex);
    struct mailbox_page *page = &box->filling;
    if (page->count == page->size)
        bench_fail("mailbox full");
    page->calls[page->count++] = (struct call){ function, argument };
    bool was_empty = page->count == 1;
    pthread_mutex_unlock(&box->mutex);
    return was_empty;
}

/* Says whether no call waits.  Any thread. */
static inline bool mailbox_is_empty(struct mailbox *box)
{
    pthread_mutex_lock(&box->mutex);
    bool is_empty = box->filling.count == 0;
    pthread_mutex_unlock(&box->mutex);
    return is_empty;
}

/* Runs all calls put in before now, on the loop's thread. */
static inline void mailbox_run(struct mailbox *box)
{
    pthread_mutex_lock(&box->mutex);
    struct mailbox_page page = box->filling;
    box->filling = box->running;
    box->running = page;
    pthread_mutex_unlock(&box->mutex);

    for (size_t i = 0; i < page.count; i++)
        page.calls[i].function(page.calls[i].argument);
    box->running.count = 0;
}

static inline void mailbox_close(struct mailbox *box)
{
    free(box->filling.calls);
    free(box->running.calls);
    pthread_mutex_destroy(&box->mutex);
}

#endif
