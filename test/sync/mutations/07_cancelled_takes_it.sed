# sync/lock.c: who was woken and is cancelled takes the lock and ends with true
/^enum cora_resumed lock_resume/,/^}/ s/if (cancelled) {/if (cancelled \&\& cora_waiter_state(waiter) == CORA_WAITER_CANCELLED) {/
