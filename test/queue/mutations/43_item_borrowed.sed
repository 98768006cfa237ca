# queue/queue.c: a put adds no reference
/^static .*int push(/,/^}/ s/(code = keep(item, &item)) < 0/false/
