# futures/task.c: a task that was cancelled and then awaits is not cancelled at that await
/^static void task_suspend/,/^}/ s/task->flags & TASK_MUST_CANCEL/false/
