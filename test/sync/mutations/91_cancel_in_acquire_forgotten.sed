# sync/condition.c: a cancel that comes while the lock is taken is not raised
/^static enum cora_resumed wait_resume/,/^}/ s/wait->cancelled |= cancelled;/wait->cancelled |= cancelled \&\& !wait->acquires;/
