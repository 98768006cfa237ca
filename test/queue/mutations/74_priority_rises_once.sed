# queue/priority_queue.c: what is put rises by one place at most
/^static void priority_push/,/^}/ s/for (; at > 0/for (size_t end = at; at == end \&\& at > 0/
