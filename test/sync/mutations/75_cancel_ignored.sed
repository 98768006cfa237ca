# sync/semaphore.c: who was woken and is cancelled keeps the unit and ends with true
/^static enum cora_resumed acquire_resume/,/^}/ s/^    struct semaphore \*semaphore/    cancelled = cancelled \&\& !cora_waiter_was_woken(waiter);\n&/
