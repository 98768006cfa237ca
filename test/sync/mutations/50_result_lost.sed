# futures/operation.c: an operation that was woken is not told of a cancel: what it got is lost
/^static void waiter_resume/,/^}/ s/bool cancelled = /&!waiter->woken \&\& /
