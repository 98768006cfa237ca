# futures/timeout.c: a limit that is over when it is entered cancels at once
/^static int arm/,/^}/ s/timeout->handle = cora_call_soon(timeout->loop, callback);/expire((cora_args){ (const cora_value[]){ cora_from(handle) }, 1 });/
