# sync/condition.c: a wait for something does not look before it waits
/^cora_awaitable cora_condition_wait_for_at/i\
static cora_next waits(cora_coro self)\
{\
    struct wait_for *wait = cora_locals(self, struct wait_for);\
    return cora_await(self, cora_condition_wait(wait->condition), look);\
}\

s/cora_coro_new(CORA_COROUTINE, look,/cora_coro_new(CORA_COROUTINE, waits,/
