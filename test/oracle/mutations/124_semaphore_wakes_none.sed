# sync/semaphore.c: who runs does not wake others though there are units
/^static enum cora_resumed acquire_resume/,/^}/ s/wake_next(semaphore)/false/
