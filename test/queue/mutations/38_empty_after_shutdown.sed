# queue/queue.c: a get after a shutdown tells that it is empty
/^static .*refuse_get/,/^}/ s/queue->is_shutdown/false/
