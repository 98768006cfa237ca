# sync/lock.c: who was woken and is cancelled does not wake the next
/^static enum cora_resumed acquire_resume/,/^}/ s/cora_waiter_wake(lock->waiters.first);/(void)0;/
