# futures/task.c: the timer of a sleep wakes the task a tick too early
/^static void task_slept(cora_args bound)$/ {
    i\
static void task_resume(struct loop *loop, struct future *future);\

}
/^static void task_slept/,/^}/ s/future_wake(/task_resume(/
