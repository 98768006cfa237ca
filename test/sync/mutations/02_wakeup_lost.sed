# sync/lock.c: who was woken and is cancelled does not wake the next
/^enum cora_resumed lock_resume/,/^}/ s/cora_waiter_wake(lock->waiters.first);/(void)0;/
