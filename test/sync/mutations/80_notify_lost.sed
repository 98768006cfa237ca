# sync/condition.c: who was notified and is cancelled does not notify another
/^static enum cora_resumed wait_ends/,/^}/ s/cora_waiters_wake_first(&condition->waiters, 1);/(void)0;/
