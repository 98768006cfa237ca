# sync/condition.c: notify needs no lock
s/int code = check(condition, "notify");/int code = condition ? 0 : check(condition, "notify");/
