# sync/condition.c: a cancel is forgotten while the lock is taken
/^static enum cora_resumed wait_resume/,/^}/ s/wait->cancelled |= cancelled;/wait->cancelled = cancelled;/
