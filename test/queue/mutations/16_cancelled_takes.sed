# queue/queue.c: who was woken to get and is cancelled takes the item with it
/^static enum cora_resumed get_resume/,/^}/ s/^    if (cancelled) {/&\n        if (queue \&\& cora_waiter_was_woken(waiter) \&\& queue->count > 0)\n            pop(queue);/
