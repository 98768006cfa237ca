# futures/wait_for.c: without time, what is done already takes a tick
/^static cora_next cancel_now/,/^}/ s/if (cora_done(future))/if (false)/
