# sync/event.c: to wait for an event that is set takes a tick
s/return !event || event->set;/return !event;/; /^static int wait_start/,/^}/ s/^    return 0;/    if (event->set)\n        cora_waiter_wake(waiter);\n    return 0;/
