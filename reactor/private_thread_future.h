/*
 * private_thread_future.h (private): thread futures from inside: callbacks that need no memory, and
 * waiting for several.
 */
#ifndef CORA_PRIVATE_THREAD_FUTURE_H
#define CORA_PRIVATE_THREAD_FUTURE_H

#include "private_executor.h"
#include "thread_future.h"

enum thread_future_state {
    THREAD_FUTURE_PENDING,
    THREAD_FUTURE_RUNNING,
    THREAD_FUTURE_CANCELLED, /* this and all after: done */
    THREAD_FUTURE_NOTIFIED,  /* cancelled, and those who wait for several know */
    THREAD_FUTURE_FINISHED,
};

/* A done-callback: a part of a structure of whoever adds it. */
struct thread_done {
    struct thread_done *next;
    /* Called once, in any thread; NULL: the future was given back, and will never be done. */
    void (*call)(struct thread_done *done, const cora_thread_future *future);
};

/* Adds it; called in here if the future is done. False if that is stale, and the error is set. */
bool thread_future_add(cora_thread_future future, struct thread_done *done);

/* Takes it back, if it was not called and will not be: whether it was there. */
bool thread_future_remove(cora_thread_future future, struct thread_done *done);

enum thread_wait {
    THREAD_WAIT_ALL,
    THREAD_WAIT_FIRST,
    THREAD_WAIT_FAILURE,
};

/* Waits until enough of them are over, or for so long. How many are. */
size_t thread_futures_wait(const cora_thread_future *futures, size_t count, double timeout,
                           enum thread_wait wait);

/* Sets up what all of them need: no fork finds that half done. Then around a fork. */
void thread_futures_prepare(void);
void thread_futures_before_fork(void);
void thread_futures_after_fork(void);
void thread_futures_in_child(void);

#endif
