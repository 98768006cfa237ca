# sync/condition.c: notify wakes all, however many it should
s/cora_waiters_wake_first(&condition->waiters, count);/cora_waiters_wake(\&condition->waiters);/
