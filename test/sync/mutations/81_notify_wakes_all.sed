# sync/condition.c: a notify of one wakes all
/^int cora_condition_notify(/,/^}/ s/waiters, count)/waiters, SIZE_MAX)/
