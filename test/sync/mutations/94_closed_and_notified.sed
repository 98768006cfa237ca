# sync/condition.c: who waits for a condition that is closed ends with true
/^static enum cora_resumed wait_ends/,/^}/ s/if (!condition)/if (false)/
