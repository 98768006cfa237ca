# sync/barrier.c: the last one that comes lets nobody go
/^static bool barrier_enter/,/^}/ s/cora_waiters_wake(&barrier->waiters);/(void)0;/
/^static void barrier_leave/,/^}/ s/cora_waiters_wake(&barrier->waiters);/if (barrier->parties > 1)\n        &/
