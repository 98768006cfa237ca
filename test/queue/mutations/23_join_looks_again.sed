# queue/queue.c: who was woken as all was done with waits on if something was put since
/^static enum cora_resumed join_resume/,/^}/ s/^    cora_waiters_remove(waiter);/&\n    struct queue *queue = queue_get(cora_as_queue(waiter->value));\n    if (!cancelled \&\& queue \&\& queue->unfinished > 0) {\n        cora_waiters_append(\&queue->joiners, waiter);\n        return CORA_WAITS;\n    }/
