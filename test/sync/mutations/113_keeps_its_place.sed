# sync/barrier.c: who is woken in vain keeps its place
/^static enum cora_resumed wait_resume/,/^}/ s/^    cora_waiters_remove(waiter);/    if (barrier \&\& !cancelled \&\& wait->inside \&\& barrier->state == FILLING)\n        return CORA_WAITS;\n&/
