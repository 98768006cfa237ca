# sync/lock.c: a release wakes all that wait
/int cora_lock_release(/,/^}/ s/cora_waiter_wake(lock->waiters.first);/cora_waiters_wake(\&lock->waiters);/
