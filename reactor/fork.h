/*
 * fork.h (private): what a fork of a process with threads wants of the library's locks.
 *
 * Nothing is registered with the system by a loop alone: a process that uses executors or looks up
 * names is told of forks (pthread_atfork), and then all locks of the library are held over the
 * fork, so that a child finds them free and what they guard whole.
 */
#ifndef CORA_FORK_H
#define CORA_FORK_H

#include <pthread.h>

/* What one part does around a fork. A function may be NULL: the lock is all. */
struct fork_hooks {
    pthread_mutex_t *lock;   /* taken first, and given back last */
    void (*before)(void);    /* takes what else is to be held */
    void (*parent)(void);    /* gives that back */
    void (*child)(void);     /* the same in the child, whose only thread this is */
    struct fork_hooks *next; /* whose locks are taken after these */
};

/* The reactor's own: signals, then loops, then chunks, which anybody may want. */
extern struct fork_hooks signal_fork_hooks, loop_fork_hooks, chunk_fork_hooks;

/* Adds static hooks before all others, once. With no lock held, and before theirs is taken. */
void fork_hooks_add(struct fork_hooks *hooks);

/* Has forks told to the library. 0, or an error number: there is no memory for that. */
int forks_prepare(void);

#endif
