# queue/queue.c: who waits to get and is cancelled wakes the next, though it was not woken
/^static enum cora_resumed get_resume/,/^}/ s/ \&\& cora_waiter_was_woken(waiter)//
