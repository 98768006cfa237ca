# futures/task.c: a task that is to start at once starts in the next tick
/^static bool starts_now/,/^}/ s/options->eager_start > 0/false/
