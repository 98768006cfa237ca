# futures/task_group.c: a group whose parent was cancelled ends without an error
/^static cora_value verdict/,/^}/ s/return leaving->cancelled;/return cora_nothing();/
