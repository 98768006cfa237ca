# sync/lock.c: a release hands the lock over: it stays locked while somebody waits
/^int cora_lock_release/,/^}/ s/lock->locked = false;/lock->locked = lock->waiters.first != NULL;/
