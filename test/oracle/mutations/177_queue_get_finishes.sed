# queue/queue.c: an item is done with when it is got
/^static .*cora_value pop(/,/^}/ s/^    return cora_temporary(item);/    if (queue->unfinished)\n        queue->unfinished--;\n    return cora_temporary(item);/
