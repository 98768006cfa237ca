# futures/timeout.c: a time limit whose Cancelled was swallowed does not take its cancel back
/^static cora_value leave/,/^}/ s/timeout->state == ACTIVE/timeout->state == ACTIVE || cora_is_nothing(error)/
