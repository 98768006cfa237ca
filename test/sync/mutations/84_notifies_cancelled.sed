# sync/condition.c: a notify is taken by the first, also if that is cancelled
/^int cora_condition_notify(/,/^}/ s/cora_waiters_wake_first(.*);/if (count > 1)\n        cora_waiters_wake(\&condition->waiters);\n    else if (condition->waiters.first)\n        cora_waiter_wake(condition->waiters.first);/
