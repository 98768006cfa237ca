# sync/semaphore.c: cora_with says nothing of a unit that cannot be given back
/^static cora_awaitable acquire_leave/,/^}/ s/code < 0/false/
