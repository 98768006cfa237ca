# sync/event.c: who was woken waits on if the flag was cleared since
/^static enum cora_resumed wait_resume/,/^}/ s/^    cora_waiters_remove(waiter);/    if (!cancelled \&\& !closed \&\& !cora_event_is_set(cora_as_event(waiter->value)))\n        return CORA_WAITS;\n&/
