# queue/queue.c: who puts an item wakes nobody that waits for one
/^static .*int push(/,/^}/ s/wake_next(&queue->getters);/(void)0;/
