# futures/task.c: a task that starts at once sets the context variables of who makes it
/drive_in_context/,/^}/ s/^    scope_leave(scope, run->task);/    if (!(run->task->flags \& TASK_EAGER))\n        scope_leave(scope, run->task);/
