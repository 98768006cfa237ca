# queue/queue.c: the last item comes out first
/^static cora_value fifo_pop/,/^}/ { s/\[queue->first\];/[(queue->first + queue->count - 1) \& (queue->room - 1)];/; /queue->first = /d; }
