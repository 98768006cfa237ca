# queue/priority_queue.c: the item that goes after all others comes first
/^static bool goes_before/,/^}/ s/order < 0/order > 0/
