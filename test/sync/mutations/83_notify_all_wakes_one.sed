# sync/condition.c: notify_all wakes the first only
/^int cora_condition_notify_all/,/^}/ s/SIZE_MAX/1/
