/*
 * ensure_future: an operation gets a future of its own, a future comes back unchanged.
 *
 * There are no tasks yet. The Python coroutine only sleeps and returns, so it is told as an
 * operation, and in the three lines that say "task" that means the future behind it, which is a
 * task in miniature: a new one, which starts in the next tick. With tasks it becomes a coroutine.
 */
#include <cora.h>

#include <stdio.h>
#include <string.h>

static const char *yes(bool flag)
{
    return flag ? "yes" : "no";
}

/* Whether what runs behind this future has been made for an operation. */
static bool is_operation(cora_future future)
{
    char text[100];
    cora_future_print(future, text, sizeof text);
    return strncmp(text, "<sleep pending", strlen("<sleep pending")) == 0;
}

static cora_awaitable knit(int rows)
{
    return cora_sleep_result(0.03, cora_int(rows * 12));
}

static void give(cora_args bound)
{
    cora_set_result(cora_arg_future(bound, 0), cora_arg_value(bound, 1));
}

static void refuse(cora_args bound)
{
    cora_set_exception(cora_arg_future(bound, 0), cora_arg_value(bound, 1));
}

int main(void)
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future order = cora_future_new(loop);
    printf("future unchanged: %s\n", yes(cora_same(cora_ensure_future(loop, order), order)));
    cora_future scarf = cora_ensure_future(loop, knit(5));
    printf("coroutine became a task: %s\n", yes(is_operation(scarf)));
    printf("a task is a future: %s\n", yes(cora_from(scarf).type == &cora_type_future));
    printf("task unchanged: %s\n", yes(cora_same(cora_ensure_future(loop, scarf), scarf)));
    printf("stitches: %lld\n", cora_as_int(cora_run_until_complete(loop, scarf)));

    cora_call_later(loop, 0.03, cora_partial(give, order, "blue wool"));
    printf("order says %s\n", cora_as_text(cora_run_until_complete(loop, order)));
    int code = cora_set_result(order, cora_static("red wool"));
    if (code < 0)
        printf("second result: %s\n", cora_error_name(code));

    cora_future refused = cora_future_new(loop);
    cora_call_soon(loop, cora_partial(refuse, refused, cora_error(CORA_EOS, "shop is shut")));
    cora_value error = cora_run_until_complete(loop, refused);
    if (cora_error_is(error, CORA_EOS))
        printf("refused: %s\n", cora_error_message(error));
    cora_future dropped = cora_future_new(loop);
    bool cancelled = cora_cancel(dropped);
    printf("future cancelled: %s %s\n", yes(cancelled), yes(cora_cancelled(dropped)));
    cora_loop_close(loop);
    return 0;
}
