# queue/queue.c: a join that was woken waits on if there is something new to do
/^static enum cora_resumed join_resume/,/^}/ s/^    return cancelled/    if (is_there \&\& !cancelled \&\& queue_get(cora_as_queue(waiter->value))->unfinished) {\n        cora_waiters_append(\&queue_get(cora_as_queue(waiter->value))->joiners, waiter);\n        return CORA_WAITS;\n    }\n    return cancelled/
