# queue/priority_queue.c: of equal items the last comes first
/^static bool goes_before/,/^}/ s/one->number < other->number/one->number > other->number/
