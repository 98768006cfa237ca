# futures/task.c: a task that is cancelled in its last step has its value all the same
/^static void task_returned/,/^}/ s/!(task->flags & TASK_MUST_CANCEL)/true/
