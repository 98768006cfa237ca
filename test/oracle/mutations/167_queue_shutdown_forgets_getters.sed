# queue/queue.c: a shutdown does not wake those that wait for an item
s/^    cora_waiters_close(&queue->getters);/    (void)0;/; /^static void queue_close/,/^}/ s/(void)0;/cora_waiters_close(\&queue->getters);/
