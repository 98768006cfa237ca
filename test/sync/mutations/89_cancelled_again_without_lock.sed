# sync/condition.c: who is cancelled while it takes the lock ends without it
/^static enum cora_resumed wait_resume/,/^}/ s/if (how == CORA_ENDS_CANCELLED)/if (how == CORA_ENDS_CANCELLED \&\& wait->acquires)\n        return wait_ends(wait, ret_outcome);\n    &/
