# queue/queue.c: a get waits behind others though there is an item
/^static inline bool get_ends/,/^}/ s/queue->count > 0/queue->count > 0 \&\& !queue->getters.first/
