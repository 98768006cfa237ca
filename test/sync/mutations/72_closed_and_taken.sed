# sync/semaphore.c: who waits for a semaphore that is closed ends with true
/^static enum cora_resumed acquire_resume/,/^}/ s/semaphore ? cora_int(true) : cora_last_error()/cora_int(true)/
