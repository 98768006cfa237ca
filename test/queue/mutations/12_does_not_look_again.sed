# queue/queue.c: who was woken to get and finds nothing ends with QueueEmpty
/^static enum cora_resumed get_resume/,/^}/ {
    s/cora_waiters_append(.*);/*ret_outcome = queue_error(handle, CORA_EQUEUEEMPTY, "");/
    s/return CORA_WAITS;/return CORA_ENDS;/
}
