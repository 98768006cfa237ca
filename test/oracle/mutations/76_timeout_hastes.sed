# futures/timeout.c: a limit that is over when it is entered cancels at once
/^static int arm/,/^}/ s/armed = cora_call_soon(timeout->loop, callback);/expire((cora_args){ (const cora_value[]){ cora_from(handle) }, 1 }), armed = cora_call_soon(timeout->loop, cora_partial(expire, (cora_timeout){ 0 }));/
