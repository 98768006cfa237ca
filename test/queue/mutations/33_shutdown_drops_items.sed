# queue/queue.c: any shutdown drops the items
/ cora_queue_shutdown(/,/^}/ s/^    if (immediate)$/    if (true)/
