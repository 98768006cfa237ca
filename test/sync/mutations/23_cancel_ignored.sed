# sync/event.c: who is woken and cancelled ends with true
/^static enum cora_resumed wait_resume/,/^}/ s/if (cancelled)/if (cancelled \&\& cora_waiter_state(waiter) == CORA_WAITER_CANCELLED)/
