# futures/task.c: a task made while a task factory runs is not made by it
s/^    if (factory) {/    if (factory \&\& factory->state == SLOT_WAITING) {/
