# futures/timeout.c: a limit that is entered with a cancel pending never becomes a TimeoutError
s/<= timeout->cancelling \&\&/== 0 \&\&/
