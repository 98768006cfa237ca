# sync/condition.c: who is cancelled notifies all others
/^static enum cora_resumed wait_ends/,/^}/ s/, 1);/, SIZE_MAX);/
