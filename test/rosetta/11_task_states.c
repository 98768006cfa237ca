/* A coroutine object does nothing until scheduled; its task is pending first and finished after. */
#include <cora.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *state(cora_future task)
{
    if (cora_cancelled(task))
        return "cancelled";
    return cora_done(task) ? "finished" : "pending";
}

static const char *name(cora_value error)
{
    return cora_error_name(cora_error_code(error));
}

static cora_next sprout(cora_coro self)
{
    const char *seed = *cora_locals(self, const char *);
    if (strcmp(seed, "pebble") == 0)
        return cora_raise(self, cora_error(CORA_ELOOKUP, "no such seed"));
    return cora_return(self, cora_textf("%s sprouts", seed));
}

static cora_next sow(cora_coro self)
{
    printf("sowing %s\n", *cora_locals(self, const char *));
    return cora_await(self, cora_sleep(0.03), sprout);
}

int main(void)
{
    cora_loop loop = cora_loop_new(NULL);
    cora_coro bed = cora_coroutine(sow, const char *, "barley");
    printf("coroutine made, nothing sown\n");
    cora_future crop = cora_create_task(loop, bed);
    printf("%s\n", state(crop));
    cora_value result = cora_result(crop);
    if (cora_error_is(result, CORA_EINVALIDSTATE))
        printf("result asked too soon: %s\n", name(result));
    cora_run_until_complete(loop, crop);
    printf("%s with %s\n", state(crop), cora_as_text(cora_result(crop)));

    cora_future dud = cora_create_task(loop, cora_coroutine(sow, const char *, "pebble"));
    cora_run_until_complete(loop, cora_wait(&dud, 1, INFINITY, CORA_ALL_COMPLETED));
    printf("%s with %s\n", state(dud), name(cora_exception(dud)));
    result = cora_result(dud);
    if (cora_error_is(result, CORA_ELOOKUP))
        printf("result raises: %s\n", cora_error_message(result));
    cora_future idle = cora_create_task(loop, cora_coroutine(sow, const char *, "clover"));
    cora_cancel(idle);
    cora_run_until_complete(loop, cora_wait(&idle, 1, INFINITY, CORA_ALL_COMPLETED));
    printf("%s\n", state(idle));
    cora_loop_close(loop);
    return 0;
}
