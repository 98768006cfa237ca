# sync/semaphore.c: who waits for a semaphore that is closed is taken out of its list, but not woken
/^static void semaphore_close/,/^}/ s/cora_waiters_close(&semaphore->waiters);/while (semaphore->waiters.first)\n        cora_waiters_remove(semaphore->waiters.first);/
