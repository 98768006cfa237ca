# sync/barrier.c: those that wait for the next round fail at a reset
/^static bool wait_goes_on/,/^}/ s/if (barrier->state == BROKEN)/if (barrier->state == BROKEN || barrier->state == RESETTING)/
