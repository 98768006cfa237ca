# queue/queue.c: all that wait are woken at once
/^static .*void wake_next(/,/^}/ s/waiter = cora_waiter_wake(waiter) ? NULL : list->first;/cora_waiter_wake(waiter);\n        waiter = list->first;/
