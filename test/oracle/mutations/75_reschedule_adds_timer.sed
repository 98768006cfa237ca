# futures/timeout.c: the old time of a limit that was set anew still counts
/^static int arm/,/^}/ s/^    disarm(timeout);//
