# sync/barrier.c: who is cancelled inside is counted on
/^static enum cora_resumed wait_resume/,/^}/ s/if (wait->inside)/if (false)/
