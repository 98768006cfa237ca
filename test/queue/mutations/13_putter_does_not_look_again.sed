# queue/queue.c: who was woken to put and finds no room ends with QueueFull
/^static enum cora_resumed put_resume/,/^}/ {
    s/cora_waiters_append(.*);/*ret_outcome = queue_error(handle, CORA_EQUEUEFULL, "");/
    s/return CORA_WAITS;/return CORA_ENDS;/
}
