# sync/semaphore.c: a waiter that was cancelled still keeps newcomers from a unit
/^static bool is_locked/,/^}/ s/return semaphore->value == 0 || waiter;/return semaphore->value == 0 || semaphore->waiters.first;/
