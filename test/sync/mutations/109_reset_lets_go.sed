# sync/barrier.c: those that are inside at a reset go on as if all had come
/^static bool wait_goes_on/,/^}/ s/barrier->state == DRAINING$/barrier->state != BROKEN/
