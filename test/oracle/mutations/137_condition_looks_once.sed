# sync/condition.c: a wait for something ends when it is notified, though it is not there
/^static cora_next look/i\
static cora_next notified(cora_coro self)\
{\
    return cora_return(self, true);\
}\

s/cora_condition_wait(wait->condition), look)/cora_condition_wait(wait->condition), notified)/
