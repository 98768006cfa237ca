# sync/lock.c: who was woken does not lock the lock
/^enum cora_resumed lock_resume/,/^}/ s/lock->locked = true;/(void)lock;/
