# futures/timeout.c: a limit that is over ends with Cancelled instead of TimeoutError
/^static cora_value leave/,/^}/ s/return cora_error_from(.*/return error;/
