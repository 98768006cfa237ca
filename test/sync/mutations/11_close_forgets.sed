# sync/lock.c: who waits for a lock that is closed is taken out of its list, but not woken
/^static void lock_close/,/^}/ s/cora_waiters_close(&lock->waiters);/while (lock->waiters.first)\n        cora_waiters_remove(lock->waiters.first);/
