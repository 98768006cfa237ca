/* Nested coroutines: two outer ones at a time start inner ones and pass their results up. */
#include <cora.h>
#include <stdio.h>

static int running; /* the list's length */

struct bee {
    int hive, number, ms;
};

static cora_next bee(cora_coro self)
{
    struct bee *bee = cora_locals(self, struct bee);
    cora_value honey = cora_int(bee->hive * 100 + bee->number);
    running++;
    return cora_await(self, cora_sleep_result(bee->ms / 1000.0, honey), cora_return_got);
}

static cora_next waited(cora_coro self)
{
    cora_value done = cora_list_at(cora_got(self), 0), honey[3];
    printf("hive %d: done %zu, pending %zu\n", *cora_locals(self, int), cora_list_size(done),
           cora_list_size(cora_list_at(cora_got(self), 1)));
    for (size_t i = 0; i < 3; i++)
        honey[i] = cora_result(cora_as_future(cora_list_at(done, i)));
    return cora_return(self, cora_list(honey, 3));
}

static cora_next send_out(cora_coro self)
{
    cora_loop loop = cora_running_loop();
    int number = *cora_locals(self, int);
    cora_future bees[3];
    printf("hive %d sends out its bees\n", number);
    for (int i = 0; i < 3; i++)
        bees[i] = cora_create_task(loop, cora_coroutine(bee, struct bee, number, i, 120 - 30 * i));
    if (number == 1)
        return cora_await(self, cora_wait(bees, 3, 9, CORA_ALL_COMPLETED), waited);
    return cora_await(self, cora_gather(loop, bees, 3), cora_return_got);
}

static cora_next hive(cora_coro self)
{
    return cora_await(self, cora_sleep(0.05 + *cora_locals(self, int) * 0.04), send_out);
}

static cora_next home(cora_coro self)
{
    double spent = cora_time(cora_running_loop()) - *cora_locals(self, double);
    for (size_t i = 0; i < 6; i++) {
        cora_value honey = cora_list_at(cora_list_at(cora_got(self), i / 3), i % 3);
        printf("%s %lld%s", i % 3 ? "" : "honey:", cora_as_int(honey), i % 3 < 2 ? "" : "\n");
    }
    printf("bees out: %d\n", running);
    printf("hives side by side: %s\n", spent < 0.42 ? "yes" : "no");
    return cora_return_nothing(self);
}

static cora_next meadow(cora_coro self)
{
    cora_coro hives[] = { cora_coroutine(hive, int, 1), cora_coroutine(hive, int, 2) };
    *cora_locals(self, double) = cora_time(cora_running_loop());
    return cora_await(self, cora_gather(cora_running_loop(), hives, 2), home);
}

int main(void)
{
    return cora_is_error(cora_run(cora_coroutine(meadow, double)));
}
