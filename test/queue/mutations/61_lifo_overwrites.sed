# queue/lifo_queue.c: a LIFO queue loses the item before the last
/^static void lifo_push/,/^}/ s/\[queue->count++\]/[queue->count++ ? queue->count - 2 : 0]/
