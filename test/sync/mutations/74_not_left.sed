# sync/semaphore.c: cora_with does not give the unit back
/^static cora_awaitable acquire_leave/,/^}/ s/int code = .*;/int code = 0;\n    (void)entered;/
