# queue/queue.c: a shutdown at once drops the items twice
/ cora_queue_shutdown(/,/^}/ s/drop_items(queue);/for (size_t i = 0; i < queue->count; i++)\n            cora_drop(*item_at(queue, i));\n        drop_items(queue);/
