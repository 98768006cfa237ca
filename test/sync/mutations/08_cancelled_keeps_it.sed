# sync/lock.c: who is cancelled leaves the lock locked
/^static enum cora_resumed acquire_resume/,/^}/ s/^    if (cancelled) {/&\n        if (lock)\n            lock->locked = true;/
