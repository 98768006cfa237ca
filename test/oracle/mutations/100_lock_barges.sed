# sync/lock.c: an unlocked lock is free for who comes, though somebody waits
s/lock->locked || !all_are_cancelled(lock)/lock->locked/
