# sync/event.c: a set wakes nobody
/^int cora_event_set/,/^}/ s/cora_waiters_wake(&event->waiters);/(void)0;/
