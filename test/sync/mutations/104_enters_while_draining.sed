# sync/barrier.c: a newcomer comes in while the others leave
/^static bool wait_goes_on/,/^}/ s/barrier->state != FILLING/barrier->state == RESETTING/
