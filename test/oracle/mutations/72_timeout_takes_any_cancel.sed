# futures/timeout.c: a limit that is over takes a cancel by somebody else for its own
s/<= timeout->cancelling \&\&/< 1000 \&\&/
