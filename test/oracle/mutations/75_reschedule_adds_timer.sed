# futures/timeout.c: the old time of a limit that was set anew still counts
/^int cora_timeout_reschedule/,/^}/ s/^    disarm(timeout);//
