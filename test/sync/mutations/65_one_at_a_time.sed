# sync/semaphore.c: who was woken wakes one other, though there are more units
/^static enum cora_resumed acquire_resume/,/^}/ s/while (semaphore \&\&/if (semaphore \&\&/
/^static enum cora_resumed acquire_resume/,/^}/ s/        continue;/        (void)0;/
