# sync/event.c: a set wakes the first only
/^int cora_event_set/,/^}/ s/cora_waiters_wake(&event->waiters);/if (event->waiters.first)\n            cora_waiter_wake(event->waiters.first);/
