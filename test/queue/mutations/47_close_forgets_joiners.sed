# queue/queue.c: who waits for all to be done with in a queue that is closed is not woken
/^static void queue_close/,/^}/ s/cora_waiters_close(&queue->joiners);/while (queue->joiners.first)\n        cora_waiters_remove(queue->joiners.first);/
