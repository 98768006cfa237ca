# queue/queue.c: who waits to put, was woken and is cancelled wakes the next, though it is full
/^static enum cora_resumed put_resume/,/^}/ s/ \&\& !is_full(queue)//
