# queue/queue.c: a getter that is cancelled wakes another though it was not woken
/^static enum cora_resumed get_resume/,/^}/ s/cora_waiter_was_woken(waiter)/true/
