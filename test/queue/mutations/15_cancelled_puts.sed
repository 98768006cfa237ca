# queue/queue.c: who waits to put and is cancelled puts its item all the same
/^static enum cora_resumed put_resume/,/^}/ s/^    if (cancelled) {/&\n        if (queue \&\& !is_full(queue))\n            push(handle, queue, \&((struct put *)waiter)->item);/
