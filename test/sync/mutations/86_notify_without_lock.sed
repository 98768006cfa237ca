# sync/condition.c: a notify needs no lock
/^int cora_condition_notify(/,/^}/ s/check(condition, "notify")/condition ? 0 : CORA_ESTALE/
