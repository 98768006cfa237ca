# futures/task_group.c: a group cancels its tasks from the last to the first
/^static void group_abort/,/^}/ { s/note = group->tasks.first/note = group->tasks.last/; s/next = note->next/next = note->previous/; }
