# futures/operation.c: who was cancelled can be woken, and takes the wake-up with it
/^bool cora_waiter_wake/,/^}/ s/return false;/return waiter->woken = true;/
