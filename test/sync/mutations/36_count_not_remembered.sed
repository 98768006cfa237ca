# futures/timeout.c: a task that was cancelled before it entered the limit ends with Cancelled
/^static int enter/,/^}/ s/timeout->cancelling = .*;/timeout->cancelling = 0;/
