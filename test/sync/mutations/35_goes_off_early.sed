# futures/timeout.c: a time limit that was set later goes off at the first time, too
/^static int arm/,/^}/ s/^    disarm(timeout);/    timeout->handle = (cora_handle){ 0 };/
