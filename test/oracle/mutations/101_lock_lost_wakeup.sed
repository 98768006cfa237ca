# sync/lock.c: a waiter that is cancelled after it was woken does not wake the next
/^enum cora_resumed lock_resume/,/^}/ s/^            cora_waiter_wake(lock->waiters.first);/            (void)0;/
