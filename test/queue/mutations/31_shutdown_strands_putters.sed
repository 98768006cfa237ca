# queue/queue.c: a shutdown wakes nobody that waits to put
/ cora_queue_shutdown(/,/^}/ s/cora_waiters_close(&queue->putters);/(void)0;/
