# sync/barrier.c: a reset with nobody inside waits for somebody to leave
s/set_state(barrier, FILLING, RESETTING)/set_state(barrier, RESETTING, RESETTING)/
