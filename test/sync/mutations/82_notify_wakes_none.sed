# sync/condition.c: a notify wakes nobody
/^int cora_condition_notify(/,/^}/ s/cora_waiters_wake_first(.*);/(void)count;/
