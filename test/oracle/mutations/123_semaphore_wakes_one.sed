# sync/semaphore.c: who has a unit wakes one other, however many units there are
/^static enum cora_resumed acquire_resume/,/^}/ { s/^    while (semaphore/    if (semaphore/; s/^        continue;/        (void)0;/; }
