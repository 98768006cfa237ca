# sync/barrier.c: the last one that leaves does not open the barrier again
/^static void barrier_leave/,/^}/ s/barrier->state != BROKEN/false/
