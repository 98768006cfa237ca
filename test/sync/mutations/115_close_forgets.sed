# sync/barrier.c: who waits at a barrier that is closed is taken out of its list, but not woken
/^static void barrier_close/,/^}/ s/cora_waiters_close(&barrier->waiters);/while (barrier->waiters.first)\n        cora_waiters_remove(barrier->waiters.first);/
