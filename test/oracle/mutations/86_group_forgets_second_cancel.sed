# futures/task_group.c: a cancel of the parent by somebody else is forgotten when a task fails
s/if (cora_cancelling(parent) > 0)/if (false)/
