# sync/lock.c: who is cancelled leaves the lock locked
/^enum cora_resumed lock_resume/,/^}/ s/^    if (cancelled) {/&\n        if (lock)\n            lock->locked = true;/
