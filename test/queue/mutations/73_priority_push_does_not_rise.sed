# queue/priority_queue.c: what is put stays at the end
/^static void priority_push/,/^}/ s/at > 0 \&\& goes_before/false \&\& goes_before/
