# sync/condition.c: who waits for a condition that is closed is taken out of its list, but not woken
/^static void condition_close/,/^}/ s/cora_waiters_close(&condition->waiters);/while (condition->waiters.first)\n        cora_waiters_remove(condition->waiters.first);/
