# sync/event.c: who waits for an event that is closed is taken out of its list, but not woken
/^static void event_close/,/^}/ s/cora_waiters_close(&event->waiters);/while (event->waiters.first)\n        cora_waiters_remove(event->waiters.first);/
