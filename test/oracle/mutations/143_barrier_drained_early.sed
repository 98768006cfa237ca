# sync/barrier.c: who comes while it drains comes in
/^static bool wait_goes_on/,/^}/ s/else if (barrier->state != FILLING)/else if (barrier->state == RESETTING)/
