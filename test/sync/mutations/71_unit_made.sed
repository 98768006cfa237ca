# sync/semaphore.c: who is cancelled gives a unit back that it was never given
/^static enum cora_resumed acquire_resume/,/^}/ s/cancelled \&\& cora_waiter_was_woken(waiter)/cancelled/
