# queue/queue.c: an item can be put after a shutdown
/^static bool put_now/,/^}/ s/queue->is_shutdown/false/
/^int cora_queue_put_nowait/,/^}/ s/queue->is_shutdown/false/
