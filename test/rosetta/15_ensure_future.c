/* ensure_future: a coroutine is wrapped in a new task, a future or task comes back unchanged. */
#include <cora.h>

#include <stdio.h>

static const char *yes(bool flag)
{
    return flag ? "yes" : "no";
}

static cora_next knitted(cora_coro self)
{
    return cora_return(self, *cora_locals(self, int) * 12);
}

static cora_next knit(cora_coro self)
{
    return cora_await(self, cora_sleep(0.03), knitted);
}

static void set_result(cora_args bound)
{
    cora_set_result(cora_arg_future(bound, 0), cora_arg_value(bound, 1));
}

static void set_exception(cora_args bound)
{
    cora_set_exception(cora_arg_future(bound, 0), cora_arg_value(bound, 1));
}

static cora_next refused(cora_coro self)
{
    if (cora_error_is(cora_caught(self), CORA_EOS))
        printf("refused: %s\n", cora_error_message(cora_caught(self)));
    cora_future dropped = cora_future_new(cora_running_loop());
    bool cancelled = cora_cancel(dropped);
    printf("future cancelled: %s %s\n", yes(cancelled), yes(cora_cancelled(dropped)));
    return cora_return_nothing(self);
}

static cora_next ordered(cora_coro self)
{
    cora_loop loop = cora_running_loop();
    printf("order says %s\n", cora_as_text(cora_got(self)));
    int code = cora_set_result(*cora_locals(self, cora_future), cora_static("red wool"));
    if (code == CORA_EINVALIDSTATE)
        printf("second result: %s\n", cora_error_name(code));

    cora_future order = cora_future_new(loop);
    cora_value error = cora_error(CORA_EOS, "shop is shut");
    cora_call_soon(loop, cora_partial(set_exception, order, error));
    return cora_try(self, order, refused);
}

static cora_next stitched(cora_coro self)
{
    cora_future order = *cora_locals(self, cora_future);
    printf("stitches: %lld\n", cora_as_int(cora_got(self)));

    cora_call_later(cora_running_loop(), 0.03, cora_partial(set_result, order, "blue wool"));
    return cora_await(self, order, ordered);
}

static cora_next workshop(cora_coro self)
{
    cora_loop loop = cora_running_loop();
    cora_future order = *cora_locals(self, cora_future) = cora_future_new(loop);
    printf("future unchanged: %s\n", yes(cora_same(cora_ensure_future(loop, order), order)));
    cora_future scarf = cora_ensure_future(loop, cora_coroutine(knit, int, 5));
    printf("coroutine became a task: %s\n", yes(cora_is_task(scarf)));
    printf("a task is a future: %s\n", yes(cora_from(scarf).type == &cora_type_future));
    printf("task unchanged: %s\n", yes(cora_same(cora_ensure_future(loop, scarf), scarf)));
    return cora_await(self, scarf, stitched);
}

int main(void)
{
    return cora_is_error(cora_run(cora_coroutine(workshop, cora_future)));
}
