# futures/task.c: a task begins without the context variables of who makes it
s/^\( *\)task->context = cora_thread.context;/\1task->context = NULL;/
