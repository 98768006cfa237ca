# sync/condition.c: a waiter that is cancelled ends well when it has the lock
s/return wait->cancelled ? CORA_ENDS_CANCELLED : CORA_ENDS;/return CORA_ENDS;/
