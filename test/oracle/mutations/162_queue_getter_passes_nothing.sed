# queue/queue.c: a getter that is cancelled after it was woken does not wake the next
/^static enum cora_resumed get_resume/,/^}/ s/wake_next(&queue->getters);/(void)0;/
