# queue/queue.c: who waits to put and is cancelled wakes the next, though it was not woken
/^static enum cora_resumed put_resume/,/^}/ s/ \&\& cora_waiter_was_woken(waiter)//
