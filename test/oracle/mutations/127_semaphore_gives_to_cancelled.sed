# sync/semaphore.c: a unit is given to the first, also if that was cancelled
/^static bool wake_next/,/^}/ s/cora_waiters_wake_first(&semaphore->waiters, 1) > 0;/semaphore->waiters.first \&\& (cora_waiter_wake(semaphore->waiters.first), true);/
