# sync/semaphore.c: a newcomer takes a unit while somebody waits
/^static bool acquire_now/,/^}/ s/is_locked(semaphore)/semaphore->value == 0/
