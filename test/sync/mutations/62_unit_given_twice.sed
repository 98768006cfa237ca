# sync/semaphore.c: a release wakes one, and the unit is there for others, too
/^static bool wake_next/,/^}/ s/semaphore->value -= woken;/(void)0;/
