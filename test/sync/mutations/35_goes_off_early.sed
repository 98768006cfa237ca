# futures/timeout.c: a time limit that was set later goes off at the first time, too
/^int cora_timeout_reschedule/,/^}/ s/disarm(timeout);/timeout->handle = (cora_handle){ 0 };/
