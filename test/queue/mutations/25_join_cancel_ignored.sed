# queue/queue.c: who was woken as all was done with, and is cancelled, ends as if it was not
/^static enum cora_resumed join_resume/,/^}/ s/return cancelled ?/return cancelled \&\& !cora_waiter_was_woken(waiter) ?/
