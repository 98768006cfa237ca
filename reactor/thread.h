/*
 * thread.h (private): what Cora knows of each thread: whose callback runs, in which context, and
 * what is to be done when it has returned.
 *
 * A thread is identified by the address of its record, so that "is this the loop's thread?" is one
 * atomic read and a comparison.
 */
#ifndef CORA_THREAD_H
#define CORA_THREAD_H

#include "error.h"
#include "memory.h"

/* Equals no handle, not even the null one. */
#define NO_LOOP_RUNS UINT64_MAX

/* Values that are kept for a while when there is no memory to make them temporaries. */
#define LATER 4

struct step_run;
struct coroutine;
struct future;

struct thread {
    struct loop *running;             /* the loop that runs in this thread, innermost */
    uint64_t running_bits;            /* its handle while it is open; NO_LOOP_RUNS */
    struct cora_counted *context;     /* the current context's variables, counted; NULL: none set */
    struct cora_counted *holder;      /* the context value that the callback runs in, or NULL */
    struct cora_counted *temporaries; /* values to drop when the running callback has returned */
    cora_value failure;               /* what the running callback failed with, counted */
    bool attention;             /* a temporary, failure or context is there: look when it returns */
    bool registered;            /* the clean-up at the thread's end is arranged */
    unsigned depth;             /* callbacks' batches running, one inside the other */
    struct step_run *run;       /* the coroutine's step that runs (futures/), or NULL */
    struct step_run *outer_run; /* the same further out, around a nested tick; or NULL */
    struct coroutine *made;     /* coroutines made and given to nobody yet, the last first */
    void (*sweep)(struct loop *loop);    /* closes what is left of those */
    void (*hold)(struct future *future); /* lets the coroutine whose step runs hold it */
    struct slot *coroutines;             /* free slots of coroutines */
    unsigned coroutines_free;
    size_t coroutines_live;  /* made less given back, by this thread */
    cora_loop current;       /* cora_set_current_loop */
    cora_value last_error;   /* counted */
    cora_value later[LATER]; /* to be temporaries, for which there was no memory; counted */
    struct block_cache blocks;
};

/*
 * Initial-exec: the library is linked at start-up in nearly every program, and the record is small
 * enough for the room that the system keeps for libraries loaded later.
 */
extern _Thread_local struct thread cora_thread __attribute__((tls_model("initial-exec")));

/* Arranges thread_end for the thread's end. 0, or -1 without memory. */
int thread_register(void);

/* Drops what a thread still holds: temporaries, its last error, its context, free blocks. */
void thread_end(void);

/* In a child that is to share nothing: forgets it without dropping it. */
void thread_forget(void);

/* Drops the temporaries that were made since the list was this. */
void thread_drop_temporaries(void);

/* Closes the coroutines that were made and given to nobody; reports them to this loop's handler. */
static inline void thread_sweep(struct loop *loop)
{
    if (CORA_UNLIKELY(cora_thread.made != NULL))
        cora_thread.sweep(loop);
}

#endif
