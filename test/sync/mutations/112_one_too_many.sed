# sync/barrier.c: it waits for one more than it is for
/^static bool barrier_enter/,/^}/ s/barrier->inside < barrier->parties/barrier->inside <= barrier->parties/
/^static bool wait_now/,/^}/ s/barrier->inside + 1 < barrier->parties/barrier->inside < barrier->parties/
