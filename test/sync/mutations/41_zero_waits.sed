# futures/wait_for.c: without time, what is not done is not cancelled
/^static cora_next cancel_now/,/^}/ s/cora_cancel(future);/(void)0;/
