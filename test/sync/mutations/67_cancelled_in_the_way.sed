# sync/semaphore.c: those that are cancelled and did not run yet keep a newcomer from a unit
/^static bool is_locked/,/^}/ s/waiter \&\& cora_waiter_state(waiter) == CORA_WAITER_CANCELLED/false/
