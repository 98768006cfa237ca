# queue/queue.c: items that a shutdown drops are not done with
/int cora_queue_shutdown(/,/^}/ s/queue->unfinished -= .*;/(void)0;/
