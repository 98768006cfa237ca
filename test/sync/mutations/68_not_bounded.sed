# sync/semaphore.c: a bounded one can be released more often than it was taken
/^int cora_semaphore_release/,/^}/ s/semaphore->value >= semaphore->most/false/
