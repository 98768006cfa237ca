# futures/task_group.c: a task that fails does not cancel the parent
/^static void group_task_done/,/^}/ s/cora_cancel(group->parent);/(void)0;/
