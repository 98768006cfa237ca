# sync/lock.c: a newcomer takes a lock that is unlocked while somebody waits
/^static bool lock_take/,/^}/ s/lock->locked || !all_are_cancelled(lock)/lock->locked/
