# futures/task.c: a wake-up that is queued already wins over a cancel
s/task->flags & (TASK_MUST_CANCEL | TASK_ERROR)/task->flags \& TASK_ERROR/
