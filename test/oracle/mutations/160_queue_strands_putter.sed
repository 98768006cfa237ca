# queue/queue.c: who takes an item wakes nobody that waits to put
/^static .*cora_value pop(/,/^}/ s/wake_next(&queue->putters);/(void)0;/
