# futures/future.c: a future that fails with a Cancelled error counts as cancelled
/^int cora_set_exception/,/^}/ s/return complete(future, FUTURE_FAILED, error);/return complete(future, cora_error_is(error, CORA_ECANCELLED) ? FUTURE_CANCELLED : FUTURE_FAILED, error);/
