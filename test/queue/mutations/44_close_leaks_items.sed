# queue/queue.c: what is in a queue that is closed is never dropped
/ queue_free(struct/,/^}/ s/drop_items(queue);/free(queue->entries);/
