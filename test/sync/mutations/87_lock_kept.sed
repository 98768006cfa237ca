# sync/condition.c: a wait does not give the lock back
/^static int wait_start/,/^}/ s/return cora_lock_release(condition->lock);/return 0;/
