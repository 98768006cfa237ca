/*
 * laundry: three machines wash what comes over one counter, each a basket at a time.
 *
 * The counter is a queue with room for two baskets; who brings more waits until a machine has taken
 * one. When all baskets are washed, the machines, which would wait for ever, are switched off.
 */
#include <cora.h>

#include <stdio.h>

/* ---- a machine: takes a basket, washes it, and so on ---- */

struct machine {
    const char *name;
    cora_queue counter;
    int ms; /* what its basket takes */
};

static cora_next machine(cora_coro self);

static cora_next washed(cora_coro self)
{
    const struct machine *at = cora_locals(self, struct machine);
    printf("the %s machine has washed for %d ms\n", at->name, at->ms);
    cora_queue_task_done(at->counter);
    return machine(self);
}

static cora_next loaded(cora_coro self)
{
    struct machine *at = cora_locals(self, struct machine);
    at->ms = (int)cora_as_int(cora_got(self));
    return cora_await(self, cora_sleep(at->ms / 1000.0), washed);
}

static cora_next machine(cora_coro self)
{
    return cora_await(self, cora_queue_get(cora_locals(self, struct machine)->counter), loaded);
}

/* ---- a day, to be read from its last function upwards ---- */

struct day {
    cora_queue counter;
    cora_future machines[3];
    int brought;
};

static cora_next switched_off(cora_coro self)
{
    char text[100];
    cora_print(cora_got(self), text, sizeof text);
    printf("switched off: %s\n", text);
    return cora_return_nothing(self);
}

static cora_next all_washed(cora_coro self)
{
    struct day *day = cora_locals(self, struct day);
    printf("all %d are washed\n", day->brought);
    for (int i = 0; i < 3; i++)
        cora_cancel(day->machines[i]);
    return cora_await(self,
                      cora_gather(cora_running_loop(), day->machines, 3, .return_exceptions = true),
                      switched_off);
}

static cora_next bring(cora_coro self)
{
    static const int baskets[] = { 50, 100, 150, 150, 150, 150 };
    struct day *day = cora_locals(self, struct day);
    if (day->brought == 6)
        return cora_await(self, cora_queue_join(day->counter), all_washed);
    cora_value basket = cora_from(baskets[day->brought++]);
    printf("basket %d comes, %zu are waiting\n", day->brought, cora_queue_qsize(day->counter));
    return cora_await(self, cora_queue_put(day->counter, basket), bring);
}

static cora_next day(cora_coro self)
{
    static const char *const names[] = { "red", "green", "blue" };
    cora_loop loop = cora_running_loop();
    struct day *day = cora_locals(self, struct day);
    day->counter = cora_queue_new(loop, 2);
    for (int i = 0; i < 3; i++) {
        cora_coro next = cora_coroutine(machine, struct machine, names[i], day->counter, 0);
        day->machines[i] = cora_create_task(loop, next);
    }
    return bring(self);
}

int main(void)
{
    return cora_is_error(cora_run(cora_coroutine(day, struct day)));
}
