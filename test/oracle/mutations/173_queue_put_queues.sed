# queue/queue.c: a put waits behind others though there is room
/^static inline bool put_ends/,/^}/ s/is_full(queue)/is_full(queue) || queue->putters.first/
