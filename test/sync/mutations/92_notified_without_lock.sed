# sync/condition.c: who is notified goes on without the lock
/^static enum cora_resumed wait_resume/,/^}/ s/how = lock_acquire(.*);/how = CORA_ENDS;\n        *ret_outcome = cora_int(true);/
