# queue/queue.c: who came last is woken first
/^static .*void wake_next(/,/^}/ s/list->first/list->last/
