# sync/barrier.c: an abort breaks it only if somebody is inside
s/set_state(barrier, BROKEN, BROKEN)/set_state(barrier, FILLING, BROKEN)/
