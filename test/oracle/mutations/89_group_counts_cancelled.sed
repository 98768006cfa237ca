# futures/task_group.c: a task of a group that is cancelled is a failure
/^static void group_task_done/,/^}/ s/cora_cancelled(task) || //
