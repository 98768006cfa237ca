# queue/queue.c: a get waits behind others though there is an item
/^static bool get_now/,/^}/ s/queue->count > 0/queue->count > 0 \&\& !queue->getters.first/
