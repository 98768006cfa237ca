# sync/semaphore.c: a unit that is given to a waiter is still there for others
/^static bool wake_next/,/^}/ s/semaphore->value -= .*;/(void)0;/
