/* call_soon, call_later, call_at, loop.time: plain callbacks, cancelled handles, stop and close. */
#include <cora.h>

#include <stdio.h>
#include <string.h>

static void ring(cora_args bound)
{
    cora_loop loop = cora_arg_loop(bound, 0);
    const char *bell = cora_arg_text(bound, 1);
    printf("ring %s\n", bell);
    if (strcmp(bell, "soon one") == 0)
        cora_call_soon(loop, cora_partial(ring, loop, "soon, from inside"));
    if (strcmp(bell, "last") == 0)
        cora_stop(loop);
}

int main(void)
{
    cora_loop loop = cora_loop_new(NULL);
    double start = cora_time(loop);
    cora_call_later(loop, 0.12, cora_partial(ring, loop, "later 120"));
    cora_call_at(loop, start + 0.08, cora_partial(ring, loop, "at 80"));
    cora_call_later(loop, 0.04, cora_partial(ring, loop, "later 40"));
    cora_call_at(loop, start + 0.16, cora_partial(ring, loop, "last"));
    cora_handle silenced = cora_call_later(loop, 0.06, cora_partial(ring, loop, "silenced"));
    cora_call_soon(loop, cora_partial(ring, loop, "soon one"));
    cora_call_soon(loop, cora_partial(ring, loop, "soon two"));
    cora_handle_cancel(silenced);
    printf("handle cancelled: %s\n", cora_handle_cancelled(silenced) ? "yes" : "no");
    cora_run_forever(loop);
    printf("clock went on: %s\n", cora_time(loop) - start > 0.15 ? "yes" : "no");

    cora_call_soon(loop, cora_partial(ring, loop, "before stop takes hold"));
    cora_stop(loop);
    cora_run_forever(loop);
    cora_loop_close(loop);
    printf("closed: %s\n", cora_is_closed(loop) ? "yes" : "no");
    if (cora_is_null(cora_call_soon(loop, cora_partial(ring, loop, "too late"))))
        printf("%s\n", cora_error_name(cora_error_code(cora_last_error())));
    return 0;
}
