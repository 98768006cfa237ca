# futures/timeout.c: a time limit that was closed goes off
/^static void timeout_close/,/^}/ s/disarm(memory);/(void)memory;/
