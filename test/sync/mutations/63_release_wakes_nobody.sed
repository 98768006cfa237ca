# sync/semaphore.c: a release wakes nobody
/^int cora_semaphore_release/,/^}/ s/wake_next(semaphore);/(void)0;/
