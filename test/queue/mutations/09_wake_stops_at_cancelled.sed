# queue/queue.c: a wake-up is taken by one that is cancelled
/^static .*void wake_next(/,/^}/ s/waiter = cora_waiter_wake(waiter) ? NULL : list->first;/cora_waiter_wake(waiter);\n        waiter = NULL;/
