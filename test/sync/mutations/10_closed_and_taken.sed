# sync/lock.c: who waits for a lock that is closed ends with true
/^static enum cora_resumed acquire_resume/,/^}/ s/lock ? cora_int(true) : cora_last_error()/cora_int(true)/
