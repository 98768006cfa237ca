# sync/event.c: who waits for an event that is closed ends with true
/^static enum cora_resumed wait_resume/,/^}/ s/closed ? cora_last_error() : cora_int(true)/cora_int(true)/
