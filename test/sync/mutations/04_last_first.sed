# sync/lock.c: a release wakes who came last
/^int cora_lock_release/,/^}/ s/cora_waiter_wake(lock->waiters.first)/cora_waiter_wake(lock->waiters.last)/
