# sync/condition.c: a waiter that is cancelled passes nothing on
/^static enum cora_resumed wait_ends/,/^}/ s/cora_waiters_wake_first(&condition->waiters, 1);/(void)0;/
