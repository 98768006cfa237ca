# futures/task.c: a task that ends by Cancelled has failed instead of being cancelled
/^static void task_raised/,/^}/ s/cancelled ? FUTURE_CANCELLED : FUTURE_FAILED/FUTURE_FAILED/
