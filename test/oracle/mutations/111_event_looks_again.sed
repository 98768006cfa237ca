# sync/event.c: who was woken waits again if the event is unset by then
/^static enum cora_resumed wait_resume/,/^}/ s/^    bool closed = .*/&\n    if (!closed \&\& !cancelled \&\& !event_get(cora_as_event(waiter->value))->set)\n        return CORA_WAITS;/
