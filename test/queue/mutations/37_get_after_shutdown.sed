# queue/queue.c: what is left after a shutdown cannot be got
/^static inline bool get_ends/,/^}/ s/queue->count > 0/& \&\& !queue->is_shutdown/
/^cora_value cora_queue_get_nowait/,/^}/ s/queue->count > 0/& \&\& !queue->is_shutdown/
