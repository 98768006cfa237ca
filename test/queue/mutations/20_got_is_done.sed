# queue/queue.c: an item that was got counts as done with
/^static .*cora_value pop(/,/^}/ s/^{/&\n    queue->unfinished--;/
