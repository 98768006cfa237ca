# futures/task_group.c: a group that is being aborted takes tasks
s/return group->aborting ? .* : NULL;/return NULL;/
