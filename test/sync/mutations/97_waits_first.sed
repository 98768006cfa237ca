# sync/condition.c: wait_for waits before it looks at its predicate
s/coro_new(CORA_COROUTINE, look,/coro_new(CORA_COROUTINE, wait_first,/
/^cora_awaitable cora_condition_wait_for_at/i static cora_next wait_first(cora_coro self)\n{\n    return cora_await(self, cora_condition_wait(cora_locals(self, struct wait_for)->condition), look);\n}\n
