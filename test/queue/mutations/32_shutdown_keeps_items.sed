# queue/queue.c: a shutdown at once keeps the items
/ cora_queue_shutdown(/,/^}/ s/drop_items(queue);/(void)0;/
