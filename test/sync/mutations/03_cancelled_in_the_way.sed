# sync/lock.c: those that are cancelled and did not run yet keep a newcomer from a free lock
/^static bool all_are_cancelled/,/^}/ s/waiter && cora_waiter_state(waiter) == CORA_WAITER_CANCELLED/false/
