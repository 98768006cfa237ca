# sync/lock.c: who is cancelled leaves the list only after it has passed on the lock
/^enum cora_resumed lock_resume/,/^}/ {
    /^    cora_waiters_remove(waiter);/d
    s/return CORA_ENDS_CANCELLED;/return cora_waiters_remove(waiter), CORA_ENDS_CANCELLED;/
    s/^    return CORA_ENDS;/    cora_waiters_remove(waiter);\n    return CORA_ENDS;/
}
