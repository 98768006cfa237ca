# sync/condition.c: who is cancelled ends without the lock
/^static enum cora_resumed wait_resume/,/^}/ s/^    if (wait->acquires)/    if (cancelled) {\n        if (wait->acquires)\n            lock_resume(wait->lock, waiter, true, ret_outcome);\n        cora_waiters_remove(waiter);\n        return wait_ends(wait, ret_outcome);\n    }\n&/
