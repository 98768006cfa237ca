# queue/queue.c: a queue gives the last item first
/^static cora_value fifo_pop/,/^}/ {
    s/queue->first = .*;/(void)0;/
    s/\[queue->first\]/[(queue->first + queue->count - 1) \& (queue->room - 1)]/
}
