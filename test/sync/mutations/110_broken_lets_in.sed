# sync/barrier.c: who comes to a broken barrier waits
/^static bool wait_goes_on/,/^}/ s/if (barrier->state == BROKEN)/if (false)/
