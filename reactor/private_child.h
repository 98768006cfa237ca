/*
 * private_child.h (private): children of a loop: started, watched until they have ended, signalled.
 */
#ifndef CORA_PRIVATE_CHILD_H
#define CORA_PRIVATE_CHILD_H

#include "child.h"
#include "outcome.h"
#include "process_transport.h"

/* What the child gets as its descriptors 0, 1 and 2, besides one of ours. */
#define SPAWN_INHERIT (-1)   /* what this process has there */
#define SPAWN_TO_STDOUT (-2) /* of 2: the same as its 1 */

/*
 * spawn.c: starts a program, in the way that the options say but for the standard descriptors,
 * which are given. 0 or a code: what it could not do is told with the file's name.
 */
int spawn(const char *const *arguments, const struct cora_subprocess_options *options,
          const int standard[3], pid_t *ret_pid);

/*
 * Watches a child that we have made: its handle; 0, and the error is set. The hook is told its
 * return code, as a callback of the loop's; then the handle is stale. If the loop is closed before,
 * the child is killed and reaped.
 */
uint64_t child_watch(struct loop *loop, pid_t pid, struct hook hook,
                     const struct cora_place *place);

/* Nobody wants to know any more: it is killed, and reaped when it has ended. */
void child_abandon(uint64_t child);

/* Sends a signal, which does not reap it; one that has ended takes it silently. 0 or a code. */
int child_signal(uint64_t child, int number);

/* Whether it has not ended yet; also if that was not told yet. */
bool child_runs(uint64_t child);

/* Ends a child that is not watched: kills and reaps it. */
void child_end_now(pid_t pid);

#endif
