# sync/barrier.c: who is cancelled wakes nobody, other than asyncio's condition
/^static enum cora_resumed wait_resume/,/^}/ s/cora_waiters_wake_first(&barrier->waiters, 1);.*/(void)0;/
