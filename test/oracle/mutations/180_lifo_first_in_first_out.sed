# queue/lifo_queue.c: the first item comes out first
/^static cora_value lifo_pop/,/^}/ s/^    return .*/    cora_value *items = (cora_value *)(void *)queue->entries, item = items[0];\n    for (size_t i = 1; i < queue->count; i++)\n        items[i - 1] = items[i];\n    queue->count--;\n    return item;/
