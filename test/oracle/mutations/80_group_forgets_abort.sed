# futures/task_group.c: the tasks of a group run on when one of them fails
/^static void group_task_done/,/^}/ s/group_abort(handle, group);/group->aborting = true;/
