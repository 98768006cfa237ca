# sync/condition.c: a notify wakes who came last
/^int cora_condition_notify(/,/^}/ s/cora_waiters_wake_first(.*);/if (count > 1)\n        cora_waiters_wake(\&condition->waiters);\n    else if (condition->waiters.last)\n        cora_waiter_wake(condition->waiters.last);/
