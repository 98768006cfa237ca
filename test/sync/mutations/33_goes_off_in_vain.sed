# futures/timeout.c: a time limit does not cancel its task
/^static void expire/,/^}/ s/cora_cancel(timeout->task);/(void)0;/
