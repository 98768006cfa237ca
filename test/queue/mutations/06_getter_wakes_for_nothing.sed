# queue/queue.c: who waits to get, was woken and is cancelled wakes the next, though there is no item
/^static enum cora_resumed get_resume/,/^}/ s/ \&\& queue->count > 0//
