/*
 * private_lock.h (private): taking a lock with a waiter of another operation's, as a condition
 * does.
 *
 * Both take it, and end: with true, or with an error if it was closed. Or they wait: the waiter is
 * in the lock's list, and when it goes on it calls lock_resume.
 */
#ifndef CORA_PRIVATE_LOCK_H
#define CORA_PRIVATE_LOCK_H

#include "lock.h"

/* Its loop; null, and the error is set, if it is closed. */
cora_loop lock_loop(cora_lock lock);

enum cora_resumed lock_acquire(cora_lock lock, struct cora_waiter *waiter, cora_value *ret_outcome);
enum cora_resumed lock_resume(cora_lock lock, struct cora_waiter *waiter, bool cancelled,
                              cora_value *ret_outcome);

#endif
