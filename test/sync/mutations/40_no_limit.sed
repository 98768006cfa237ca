# futures/wait_for.c: wait_for has no time limit
/^static cora_next begin/,/^}/ s/return cora_with(.*/return cora_is_null(limit) ? cora_return_nothing(self) : limited(self);/
