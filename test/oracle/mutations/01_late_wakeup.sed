# futures/task.c: what a task awaited wakes it a tick too late
/^static void task_wakeup(cora_args bound, cora_future done)$/,/^}/ {
    /^{/a\
    if (bound.count == 1) {\
        cora_future task = { bound.values[0].as.handle };\
        cora_add_done_callback(done, cora_partial(task_wakeup, task, 1));\
        return;\
    }
}
