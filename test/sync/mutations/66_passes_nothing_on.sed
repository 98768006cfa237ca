# sync/semaphore.c: who was woken wakes nobody, though there is a unit
/^static enum cora_resumed acquire_resume/,/^}/ s/while (semaphore \&\&/while (false \&\&/
