# sync/event.c: to wait for an event that is set waits
/^static bool wait_now/,/^}/ s/return !event || event->set;/return !event;/
