# futures/operation.c: a waiter that was cancelled counts among those that are notified
/cora_waiters_wake_first(/,/^}/ s/woken += cora_waiter_wake(waiter);/woken++, cora_waiter_wake(waiter);/
