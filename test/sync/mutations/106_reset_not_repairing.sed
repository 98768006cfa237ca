# sync/barrier.c: a reset with nobody inside leaves a broken barrier broken
/^static int set_state/,/^}/ s/barrier->state = /if (with_nobody != FILLING || barrier->state != BROKEN || barrier->inside > 0)\n        &/
