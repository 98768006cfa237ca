# futures/task_group.c: the error of a group's body is the first of all
/^static cora_value group_error/,/^}/ { s/errors\[count++\] = last;/errors[0] = last;/; s/^    size_t count = 0,/    size_t count = !cora_is_nothing(last),/; }
