/* Queue: three workers share the jobs, join waits for the last task_done, then they are cancelled.
 */
#include <cora.h>

#include <stdio.h>

struct loom {
    const char *name;
    cora_queue orders;
    int ms;
};

static cora_next loom(cora_coro self);

static cora_next wove(cora_coro self)
{
    const struct loom *at = cora_locals(self, struct loom);
    cora_queue_task_done(at->orders);
    printf("%s wove for %d ms\n", at->name, at->ms);
    return loom(self);
}

static cora_next got_order(cora_coro self)
{
    struct loom *at = cora_locals(self, struct loom);
    at->ms = (int)cora_as_int(cora_got(self));
    return cora_await(self, cora_sleep(at->ms / 1000.0), wove);
}

static cora_next loom(cora_coro self)
{
    return cora_await(self, cora_queue_get(cora_locals(self, struct loom)->orders), got_order);
}

static const char *error_name(cora_value error)
{
    return cora_error_name(cora_error_code(error));
}

static void weave(cora_loop loop)
{
    static const char *const names[] = { "jade", "opal", "ruby" };
    static const int jobs[] = { 40, 80, 120, 120, 120, 120 };
    cora_queue orders = cora_queue_new(loop, 0);
    int sum = 0;
    for (int i = 0; i < 6; sum += jobs[i++])
        cora_queue_put_nowait(orders, cora_from(jobs[i]));
    printf("queued %zu, empty: %s\n", cora_queue_qsize(orders),
           cora_queue_empty(orders) ? "yes" : "no");

    cora_future looms[3];
    for (int i = 0; i < 3; i++)
        looms[i] = cora_create_task(loop, cora_coroutine(loom, struct loom, names[i], orders, 0));
    double began = cora_time(loop);
    cora_run_until_complete(loop, cora_queue_join(orders));
    double spent = cora_time(loop) - began;
    for (int i = 0; i < 3; i++)
        cora_cancel(looms[i]);
    cora_value endings =
        cora_run_until_complete(loop, cora_gather(loop, looms, 3, .return_exceptions = true));
    printf("looms:");
    for (size_t i = 0; i < 3; i++)
        printf(" %s", error_name(cora_list_at(endings, i)));
    printf("\nordered %d ms, empty: %s\n", sum, cora_queue_empty(orders) ? "yes" : "no");
    printf("three at once: %s\n", spent < 0.5 ? "yes" : "no");
}

static void fill(cora_loop loop)
{
    cora_queue shelf = cora_queue_new(loop, 1);
    cora_run_until_complete(loop, cora_queue_put(shelf, cora_from("rug")));
    printf("shelf: %s\n", cora_error_name(cora_queue_put_nowait(shelf, cora_from("quilt"))));
    cora_future waiting = cora_create_task(loop, cora_queue_put(shelf, cora_from("shawl")));
    cora_run_until_complete(loop, cora_sleep(0.03));
    printf("second put done: %s\n", cora_done(waiting) ? "yes" : "no");
    printf("taken: %s", cora_as_text(cora_run_until_complete(loop, cora_queue_get(shelf))));
    printf(" %s\n", cora_as_text(cora_run_until_complete(loop, cora_queue_get(shelf))));
    printf("shelf: %s\n", error_name(cora_queue_get_nowait(shelf)));
}

int main(void)
{
    cora_loop loop = cora_loop_new(NULL);
    weave(loop);
    fill(loop);
    cora_loop_close(loop);
    return 0;
}
