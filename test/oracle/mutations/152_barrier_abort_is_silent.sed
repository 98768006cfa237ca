# sync/barrier.c: those inside sleep through an abort and a reset
/^static int set_state/,/^}/ s/cora_waiters_wake(&barrier->waiters);/(void)0;/
