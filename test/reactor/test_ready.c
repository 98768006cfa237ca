/* Callbacks for the next tick: order, cancelling, what happens to their arguments. */
#include "harness.h"

#include <cora.h>

static void count(cora_args bound)
{
    ++*cora_arg(bound, 0, int *);
}

static void stop(cora_args bound)
{
    cora_stop(cora_arg_loop(bound, 0));
}

TEST(call_soon_runs_once, "a call_soon callback runs exactly once, on the next tick",
     "test_events.EventLoopTestsMixin.test_call_soon")
{
    cora_loop loop = cora_loop_new(NULL);
    int counted = 0;
    cora_call_soon(loop, cora_partial(count, &counted));
    CHECK_INT(counted, 0);
    cora_call_soon(loop, cora_partial(stop, loop));
    CHECK_INT(cora_run_forever(loop), 0);
    CHECK_INT(counted, 1);
    cora_loop_close(loop);
}
