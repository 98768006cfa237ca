# sync/lock.c: who waits for a lock that is closed ends with true
/^enum cora_resumed lock_resume/,/^}/ s/lock ? cora_int(true) : cora_last_error()/cora_int(true)/
