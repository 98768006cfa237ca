# sync/condition.c: a waiter that is cancelled ends without the lock
/^static enum cora_resumed wait_resume/,/^}/ s/if (how == CORA_ENDS_CANCELLED) {/if (!cancelled) {/
