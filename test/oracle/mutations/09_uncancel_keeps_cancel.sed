# futures/task.c: uncancel does not take back a cancel that was not delivered yet
/^unsigned cora_uncancel/,/^}/ s/== 0 && task->flags & TASK_MUST_CANCEL/== 0 \&\& false/
