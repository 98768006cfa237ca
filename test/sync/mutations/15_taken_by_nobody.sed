# sync/lock.c: who was woken does not lock the lock
/^static enum cora_resumed acquire_resume/,/^}/ s/lock->locked = true;/(void)lock;/
