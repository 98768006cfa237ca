# queue/queue.c: a put makes it fuller than it may be
/^static bool is_full/,/^}/ s/>= queue->maxsize/> queue->maxsize/
