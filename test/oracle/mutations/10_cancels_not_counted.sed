# futures/task.c: a second cancel is not counted
s/^    task->cancelling++;/    task->cancelling = 1;/
