# queue/queue.c: a put adds no reference
/^static .*int push(/,/^}/ s/!cora_is_plain(.item)/false/
