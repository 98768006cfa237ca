# sync/semaphore.c: a release wakes all that wait
/^int cora_semaphore_release/,/^}/ s/wake_next(semaphore);/while (wake_next(semaphore))\n        continue;/
