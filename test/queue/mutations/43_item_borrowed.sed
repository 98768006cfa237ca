# queue/queue.c: a put adds no reference
/^static int push/,/^}/ s/cora_value kept = cora_copy(item);/cora_value kept = item;/
