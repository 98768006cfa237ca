# sync/semaphore.c: a release wakes who came last
/^static bool wake_next/,/^}/ s/cora_waiters_wake_first(.*) > 0/semaphore->waiters.last \&\& cora_waiter_wake(semaphore->waiters.last)/
