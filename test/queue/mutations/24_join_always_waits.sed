# queue/queue.c: to wait for all to be done with waits though it is
/^static bool join_now/,/^}/ s/return !queue || queue->unfinished == 0;/return !queue;/
