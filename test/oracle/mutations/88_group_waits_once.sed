# futures/task_group.c: the second cancel of who leaves a group ends the waiting
/^static cora_next woken/,/^}/ s/cora_is_error(caught) \&\& cora_error_code(caught) != CORA_ECANCELLED/cora_is_error(caught)/
