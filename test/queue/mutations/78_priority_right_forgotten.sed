# queue/priority_queue.c: what sinks overlooks the last of all
/^static cora_value priority_pop/,/^}/ s/child + 1 < count/child + 2 < count/
