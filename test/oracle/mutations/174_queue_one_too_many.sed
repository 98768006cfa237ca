# queue/queue.c: one more fits in than should
s/queue->count >= queue->maxsize/queue->count > queue->maxsize/
