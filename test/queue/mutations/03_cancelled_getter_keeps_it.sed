# queue/queue.c: who waits to get, was woken and is cancelled does not wake the next
/^static enum cora_resumed get_resume/,/^}/ s/wake_next(&queue->getters);/(void)0;/
