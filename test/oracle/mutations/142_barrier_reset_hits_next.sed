# sync/barrier.c: a reset also ends those that wait for the next round
/^static bool wait_goes_on/,/^}/ s/^    if (barrier->state == BROKEN)/    if (barrier->state == BROKEN || barrier->state == RESETTING)/
