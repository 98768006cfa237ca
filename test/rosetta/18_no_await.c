/* A coroutine that never awaits runs straight through, while the others give way and end later. */
#include <cora.h>

#include <math.h>
#include <stdio.h>

static cora_next surface(cora_coro self)
{
    printf("%s surfaces\n", *cora_locals(self, const char *));
    return cora_return_nothing(self);
}

static cora_next swimmer(cora_coro self)
{
    printf("%s dives\n", *cora_locals(self, const char *));
    return cora_await(self, cora_sleep(0.05), surface);
}

static cora_next stone(cora_coro self)
{
    printf("%s drops\n", *cora_locals(self, const char *));
    printf("%s lies still\n", *cora_locals(self, const char *));
    return cora_return_nothing(self);
}

static void pool(cora_loop loop, cora_future *ret_tasks)
{
    ret_tasks[0] = cora_create_task(loop, cora_coroutine(swimmer, const char *, "otter"));
    ret_tasks[1] = cora_create_task(loop, cora_coroutine(stone, const char *, "slate"));
    ret_tasks[2] = cora_create_task(loop, cora_coroutine(swimmer, const char *, "heron"));
}

int main(void)
{
    cora_loop loop = cora_loop_new(NULL);
    cora_future who[3];
    printf("-- wait\n");
    pool(loop, who);
    cora_value waited =
        cora_run_until_complete(loop, cora_wait(who, 3, INFINITY, CORA_ALL_COMPLETED));
    printf("done %zu, pending %zu\n", cora_list_size(cora_list_at(waited, 0)),
           cora_list_size(cora_list_at(waited, 1)));
    printf("-- gather\n");
    pool(loop, who);
    cora_value answers = cora_run_until_complete(loop, cora_gather(loop, who, 3));
    cora_value nothing = cora_list((cora_value[3]){ 0 }, 3);
    printf("answers %zu, all empty: %s\n", cora_list_size(answers),
           cora_equal(answers, nothing) ? "yes" : "no");
    cora_loop_close(loop);
    return 0;
}
