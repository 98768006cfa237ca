# sync/lock.c: a lock that is released stays locked if somebody waits
s/^    lock->locked = false;/    lock->locked = lock->waiters.first != NULL;/
