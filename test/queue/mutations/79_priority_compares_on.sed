# queue/priority_queue.c: a queue that has compared cannot be used any more
/^static bool goes_before/,/^}/ s/queue->compares = false;/(void)0;/
