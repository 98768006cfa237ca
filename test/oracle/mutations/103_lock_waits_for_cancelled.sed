# sync/lock.c: a waiter that was cancelled still keeps newcomers from an unlocked lock
/^static bool all_are_cancelled/,/^}/ s/return !waiter;/return !lock->waiters.first;/
