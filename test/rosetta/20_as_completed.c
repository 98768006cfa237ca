/* as_completed: results are met in the order they finish, whatever the order they were asked in. */
#include <cora.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

struct runner {
    const char *name;
    int ms;
};

static cora_next run_over(cora_coro self)
{
    const char *name = cora_locals(self, struct runner)->name;
    if (strcmp(name, "hare") == 0)
        return cora_raise(self, cora_error(CORA_ERUNTIME, "hare fell asleep"));
    return cora_return(self, name);
}

static cora_next runner(cora_coro self)
{
    return cora_await(self, cora_sleep(cora_locals(self, struct runner)->ms / 1000.0), run_over);
}

int main(void)
{
    int place = 0;
    cora_loop loop = cora_loop_new(NULL);
    cora_coro field[] = { cora_coroutine(runner, struct runner, "snail", 160),
                          cora_coroutine(runner, struct runner, "tortoise", 40),
                          cora_coroutine(runner, struct runner, "hare", 120),
                          cora_coroutine(runner, struct runner, "goose", 80) };
    cora_completions arrivals = cora_as_completed(loop, field, 4, INFINITY);
    while (cora_completions_left(arrivals) > 0) {
        cora_value at = cora_run_until_complete(loop, cora_completions_result(arrivals));
        const char *what = cora_is_error(at) ? cora_error_message(at) : cora_as_text(at);
        printf("%d: %s\n", ++place, what);
    }

    cora_coro slow[] = { cora_coroutine(runner, struct runner, "mole", 30),
                         cora_coroutine(runner, struct runner, "sloth", 5000) };
    cora_future tasks[] = { cora_create_task(loop, slow[0]), cora_create_task(loop, slow[1]) };
    arrivals = cora_as_completed(loop, tasks, 2, 0.09);
    while (cora_completions_left(arrivals) > 0) {
        cora_value at = cora_run_until_complete(loop, cora_completions_result(arrivals));
        bool error = cora_is_error(at);
        printf("again: %s\n", error ? cora_error_name(cora_error_code(at)) : cora_as_text(at));
    }
    cora_cancel(tasks[1]);
    cora_run_until_complete(loop, cora_sleep(0));
    cora_loop_close(loop);
    return 0;
}
