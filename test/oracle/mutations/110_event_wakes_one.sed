# sync/event.c: setting an event wakes the first that waits only
/int cora_event_set(/,/^}/ s/cora_waiters_wake(&event->waiters);/event->waiters.first ? (void)cora_waiter_wake(event->waiters.first) : (void)0;/
