# queue/priority_queue.c: an item that is put goes up one step at most
/^static void priority_push/,/^}/ s/at > 0 \&\& goes_before/at >= queue->count - 1 \&\& at > 0 \&\& goes_before/
