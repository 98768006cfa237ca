# queue/priority_queue.c: the heap looks at one child only
/^static cora_value priority_pop/,/^}/ s/if (child + 1 < count/if (false/
