# queue/queue.c: a shutdown at once does not wake those that wait for all to be done with
/ cora_queue_shutdown(/,/^}/ s/cora_waiters_wake(&queue->joiners);/(void)0;/
