/* Done-callbacks: called with the future, in order of adding, removable, never called at once. */
#include <cora.h>

#include <stdio.h>

static cora_next weighed(cora_coro self)
{
    return cora_return(self, *cora_locals(self, int));
}

static cora_next weigh(cora_coro self)
{
    return cora_await(self, cora_sleep(0.03), weighed);
}

static void net(cora_args bound, cora_future future)
{
    (void)bound;
    printf("net weight %lld\n", cora_as_int(cora_result(future)) - 15);
}

static void never(cora_args bound, cora_future future)
{
    (void)bound, (void)future;
    printf("this line must not appear\n");
}

static void itself(cora_args bound, cora_future future)
{
    printf("the task itself: %s\n", cora_same(cora_arg_future(bound, 0), future) ? "yes" : "no");
}

static void late(cora_args bound, cora_future future)
{
    (void)bound;
    printf("late callback sees %lld\n", cora_as_int(cora_result(future)));
}

int main(void)
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future crate = cora_create_task(loop, cora_coroutine(weigh, int, 115));
    cora_add_done_callback(crate, cora_partial(net));
    cora_add_done_callback(crate, cora_partial(never));
    cora_add_done_callback(crate, cora_partial(itself, crate));
    cora_add_done_callback(crate, cora_partial(never));
    printf("removed: %zu\n", cora_remove_done_callback(crate, cora_partial(never)));
    printf("removed again: %zu\n", cora_remove_done_callback(crate, cora_partial(never)));
    printf("returned %lld\n", cora_as_int(cora_run_until_complete(loop, crate)));

    cora_add_done_callback(crate, cora_partial(late));
    printf("added to a finished task, not run yet\n");
    cora_run_until_complete(loop, cora_sleep(0));
    printf("loop turned once more\n");
    cora_loop_close(loop);
    return 0;
}
