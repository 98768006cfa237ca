# queue/priority_queue.c: items have no numbers
/^static void priority_push/,/^}/ s/queue->number++/queue->number/
