# sync/event.c: a set wakes who came last first
/^int cora_event_set/,/^}/ s/cora_waiters_wake(&event->waiters);/for (struct cora_waiter *waiter = event->waiters.last; waiter; waiter = waiter->previous)\n            cora_waiter_wake(waiter);/
