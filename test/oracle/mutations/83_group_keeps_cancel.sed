# futures/task_group.c: a group does not take back the cancel of its parent
s/cora_uncancel(parent) == 0)/cora_cancelling(parent) == 1)/
