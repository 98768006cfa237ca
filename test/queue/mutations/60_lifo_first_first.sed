# queue/lifo_queue.c: a LIFO queue gives the first item first
/^static cora_value lifo_pop/,/^}/ s/return .*;/cora_value *items = (cora_value *)(void *)queue->entries, first = items[0];\n    queue->count--;\n    for (size_t i = 0; i < queue->count; i++)\n        items[i] = items[i + 1];\n    return first;/
