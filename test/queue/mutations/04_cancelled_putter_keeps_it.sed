# queue/queue.c: who waits to put, was woken and is cancelled does not wake the next
/^static enum cora_resumed put_resume/,/^}/ s/wake_next(&queue->putters);/(void)0;/
