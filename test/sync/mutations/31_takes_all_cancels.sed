# futures/timeout.c: a time limit takes a cancel of somebody else's for its own
/^static cora_value leave/,/^}/ s/cora_uncancel(timeout->task) <= timeout->cancelling/cora_uncancel(timeout->task) < 1000/
