# queue/queue.c: an item is done with when it is got
/^static cora_value pop/,/^}/ s/^    if (queue->putters.first)/    if (queue->unfinished)\n        queue->unfinished--;\n    if (queue->putters.first)/
