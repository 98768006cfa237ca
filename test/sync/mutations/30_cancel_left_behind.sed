# futures/timeout.c: leaving does not take back the cancel that the time limit has asked for
/^static cora_value leave/,/^}/ s/cora_uncancel(timeout->task)/cora_cancelling(timeout->task) - 1/
