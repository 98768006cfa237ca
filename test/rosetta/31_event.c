/* Event: set wakes every waiter in turn; a waiter woken just before the end gets its line out. */
#include <cora.h>

#include <math.h>
#include <stdio.h>

struct sailor {
    const char *name;
    cora_event wind;
    int ms;
};

static cora_next slept(cora_coro self)
{
    const char *name = cora_locals(self, struct sailor)->name;
    printf("%s %s\n", name, cora_is_error(cora_caught(self)) ? "left ashore" : "hoists sail");
    return cora_return_nothing(self);
}

static cora_next wind_felt(cora_coro self)
{
    const struct sailor *sailor = cora_locals(self, struct sailor);
    printf("%s feels wind\n", sailor->name);
    if (sailor->ms == 0)
        return cora_return_nothing(self);
    return cora_try(self, cora_sleep(sailor->ms / 1000.0), slept);
}

static cora_next sailor(cora_coro self)
{
    const struct sailor *sailor = cora_locals(self, struct sailor);
    printf("%s looks out\n", sailor->name);
    return cora_await(self, cora_event_wait(sailor->wind), wind_felt);
}

/* The last thing that happens before the run ends. */
static void last_gust(cora_args bound)
{
    cora_event_set(cora_arg_event(bound, 0));
    printf("ending with 2 not waited for\n");
}

int main(void)
{
    cora_runner runner = cora_runner_new(NULL);
    cora_loop loop = cora_runner_loop(runner);
    cora_event wind = cora_event_new(loop);
    cora_future crew[] = {
        cora_create_task(loop, cora_coroutine(sailor, struct sailor, "Ada", wind, 40)),
        cora_create_task(loop, cora_coroutine(sailor, struct sailor, "Bo", wind, 40)),
    };
    cora_runner_run(runner, cora_sleep(0.04));
    printf("blowing: %s\n", cora_event_is_set(wind) ? "yes" : "no");
    cora_event_set(wind);
    printf("blowing: %s\n", cora_event_is_set(wind) ? "yes" : "no");
    cora_runner_run(runner, cora_wait(crew, 2, INFINITY, CORA_ALL_COMPLETED));
    cora_runner_run(runner, cora_coroutine(sailor, struct sailor, "Cy", wind, 0));

    cora_event_clear(wind);
    printf("calm again: %s\n", cora_event_is_set(wind) ? "no" : "yes");
    cora_spawn(loop, cora_coroutine(sailor, struct sailor, "Di", wind, 0));
    cora_spawn(loop, cora_coroutine(sailor, struct sailor, "Ed", wind, 4000));
    cora_call_later(loop, 0.04, cora_partial(last_gust, wind));
    cora_runner_run(runner, cora_sleep(0.04));
    return cora_runner_close(runner) < 0;
}
