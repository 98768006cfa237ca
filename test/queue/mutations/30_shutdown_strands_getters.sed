# queue/queue.c: a shutdown wakes nobody that waits to get
/ cora_queue_shutdown(/,/^}/ s/cora_waiters_close(&queue->getters);/(void)0;/
