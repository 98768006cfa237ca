# queue/queue.c: a put waits behind others though there is room
/^static bool put_now/,/^}/ s/is_full(queue)/(is_full(queue) || queue->putters.first)/
