/*
 * outcome.h (private): who is told what has come of a connection, a server or a look-up: a callback
 * of the program's, which is queued, or a function of the library's own, which is called.
 */
#ifndef CORA_OUTCOME_H
#define CORA_OUTCOME_H

#include "private.h"

/* Whom to tell, once. All zeros: nobody. */
struct hook {
    union {
        struct slot *slot;            /* a stored outcome callback, in no list */
        struct cora_counted *context; /* a function's variables, counted; NULL: none are set */
    } as;
    void (*function)(void *owner, cora_value outcome); /* runs inside the telling; NULL: the slot */
    void *owner;
};

/* A function of the library's, to run in the current context. */
struct hook hook_function(void (*function)(void *owner, cora_value outcome), void *owner);

/* Stores a callback. False without memory, and the error is set. */
bool hook_store(struct loop *loop, struct hook *hook, cora_outcome_callback callback);

/*
 * Tells the outcome, and forgets whom; adds a reference. The handle of the callback that is queued
 * now; null if it is none.
 */
cora_handle hook_tell(struct loop *loop, struct hook *hook, cora_value outcome);

/* Makes it the outcome of a stored callback; adds a reference. */
void outcome_store(struct slot *slot, cora_value outcome);

/* Forgets whom, and drops the callback; also while the loop is closing. */
void hook_drop(struct loop *loop, struct hook *hook);

#endif
