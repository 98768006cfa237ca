# queue/priority_queue.c: what sinks goes down by one place at most
/^static cora_value priority_pop/,/^}/ s/^        at = child;/        at = child;\n        break;/
