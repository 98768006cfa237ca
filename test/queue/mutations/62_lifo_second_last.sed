# queue/lifo_queue.c: a LIFO queue gives the item before the last first
/^static cora_value lifo_pop/,/^}/ s/return .*;/cora_value *items = (cora_value *)(void *)queue->entries;\n    size_t at = queue->count > 1 ? queue->count - 2 : 0;\n    cora_value item = items[at];\n    items[at] = items[--queue->count];\n    return item;/
