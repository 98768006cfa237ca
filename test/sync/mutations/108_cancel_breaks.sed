# sync/barrier.c: who is cancelled inside breaks the barrier, as in threading
/^static enum cora_resumed wait_resume/,/^}/ s/if (wait->inside)/if (wait->inside \&\& (barrier->state = BROKEN))/
