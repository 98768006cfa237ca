# futures/wait_for.c: without time, what is cancelled need not have ended
/^static cora_next cancel_now/,/^}/ s/return cora_await(self, waiting->waiter, ended);/return ended ? cora_raise(self, cora_error(CORA_ETIMEOUT, NULL)) : cora_return_nothing(self);/
