# queue/queue.c: who was woken to get and is cancelled ends with the item
/^static enum cora_resumed get_resume/,/^}/ s/^    cora_waiters_remove(waiter);/&\n    cancelled = cancelled \&\& !cora_waiter_was_woken(waiter);/
