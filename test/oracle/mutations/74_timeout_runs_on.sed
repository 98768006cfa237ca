# futures/timeout.c: a limit that was left in time cancels all the same
/^static cora_value leave/,/^}/ s/^    disarm(timeout);//
