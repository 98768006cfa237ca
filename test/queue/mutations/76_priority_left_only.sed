# queue/priority_queue.c: what sinks looks at the left of two only
/^static cora_value priority_pop/,/^}/ s/child + 1 < count \&\& goes_before/false \&\& goes_before/
