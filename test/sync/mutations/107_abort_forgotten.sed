# sync/barrier.c: the last one that leaves a broken barrier repairs it
/^static void barrier_leave/,/^}/ s/if (barrier->state != BROKEN)/if (true)/
