# queue/queue.c: a putter that is cancelled after it was woken does not wake the next
/^static enum cora_resumed put_resume/,/^}/ s/wake_next(&queue->putters);/(void)0;/
