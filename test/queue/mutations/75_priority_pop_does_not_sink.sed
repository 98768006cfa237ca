# queue/priority_queue.c: what takes the place of the first stays there
/^static cora_value priority_pop/,/^}/ s/child < count; child = /false; child = /
