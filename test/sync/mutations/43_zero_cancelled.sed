# futures/wait_for.c: without time, the Cancelled of what was cancelled is raised
/^static cora_next ended/,/^}/ s/if (cora_error_code(error) == CORA_ECANCELLED)/if (false)/
