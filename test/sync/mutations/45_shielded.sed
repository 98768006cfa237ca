# futures/wait_for.c: what is waited for is not cancelled when the time is over
s/return cora_await(self, waiting->stored.what, cora_return_got);/return cora_await(self, cora_shield(cora_current_loop(), waiting->stored.what), cora_return_got);/
s/^#include "wait_for.h"/&\n#include "shield.h"/
