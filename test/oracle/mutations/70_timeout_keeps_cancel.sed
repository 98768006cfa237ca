# futures/timeout.c: a limit that is over does not take its cancel back
s/cora_uncancel(timeout->task) <= /cora_cancelling(timeout->task) - 1 <= /
