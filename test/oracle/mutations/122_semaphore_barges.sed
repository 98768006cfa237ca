# sync/semaphore.c: a unit is free for who comes, though somebody waits
s/return semaphore->value == 0 || waiter;/return semaphore->value == 0;/
