# queue/queue.c: who waits to get from a queue that is closed is taken out of its list, but not woken
/^static void queue_close/,/^}/ s/cora_waiters_close(&queue->getters);/while (queue->getters.first)\n        cora_waiters_remove(queue->getters.first);/
