# futures/wait_for.c: wait_for without any time does not see that a gather was cancelled
/^static cora_next ended/,/^}/ s/cora_error_code([^=]*) == CORA_ECANCELLED/cora_cancelled(future)/
