# sync/lock.c: a waiter that is cancelled after it was woken does not wake the next
/^static enum cora_resumed acquire_resume/,/^}/ s/^            cora_waiter_wake(lock->waiters.first);/            (void)0;/
