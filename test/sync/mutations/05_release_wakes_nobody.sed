# sync/lock.c: a release wakes nobody
/^int cora_lock_release/,/^}/ s/cora_waiter_wake(lock->waiters.first);/(void)0;/
