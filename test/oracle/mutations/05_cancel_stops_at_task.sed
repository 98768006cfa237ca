# futures/task.c: a cancel is not passed to what the task awaits
/^static struct future \*task_next_child/,/^}/ s/if (position > 0 ||/if (true ||/
