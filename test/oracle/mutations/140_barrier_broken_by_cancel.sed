# sync/barrier.c: one that is cancelled inside breaks it
/^static enum cora_resumed wait_resume/,/^}/ s/^            barrier_leave(barrier);/            barrier->state = BROKEN, barrier_leave(barrier);/
