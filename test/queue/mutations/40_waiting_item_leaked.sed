# queue/queue.c: an item that waited to be put is never dropped by who waited
/^static void put_drop/,/^}/ s/cora_drop(.*);/(void)waiter;/
