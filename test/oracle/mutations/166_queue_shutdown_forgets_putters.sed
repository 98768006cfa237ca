# queue/queue.c: a shutdown does not wake those that wait to put
s/^    cora_waiters_close(&queue->putters);/    (void)0;/; /^static void queue_close/,/^}/ s/(void)0;/cora_waiters_close(\&queue->putters);/
