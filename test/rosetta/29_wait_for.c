/* wait_for: a time limit that cancels what is too slow and passes on what is in time. */
#include <cora.h>

#include <math.h>
#include <stdio.h>

struct ferry {
    const char *name;
    int ms;
};

static cora_next crossed(cora_coro self)
{
    const char *name = cora_locals(self, struct ferry)->name;
    if (!cora_is_error(cora_caught(self)))
        return cora_return(self, cora_textf("%s landed", name));
    printf("%s turned back\n", name);
    return cora_raise(self, cora_caught(self));
}

static cora_next ferry(cora_coro self)
{
    return cora_try(self, cora_sleep(cora_locals(self, struct ferry)->ms / 1000.0), crossed);
}

static cora_next berth_waited(cora_coro self)
{
    cora_future berth = *cora_locals(self, cora_future);
    cora_coro skua = cora_coroutine(ferry, struct ferry, "skua", 40);
    if (cora_error_is(cora_caught(self), CORA_ETIMEOUT))
        printf("bare future cancelled: %s\n", cora_cancelled(berth) ? "yes" : "no");
    return cora_await(self, cora_wait_for(skua, INFINITY), cora_return_got);
}

static cora_next tern_waited(cora_coro self)
{
    cora_future *late = cora_locals(self, cora_future);
    printf("limit reached: %s\n", cora_error_name(cora_error_code(cora_caught(self))));
    printf("tern cancelled: %s\n", cora_cancelled(*late) ? "yes" : "no");
    *late = cora_future_new(cora_running_loop());
    return cora_try(self, cora_wait_for(*late, 0.04), berth_waited);
}

static cora_next gull_landed(cora_coro self)
{
    cora_future *late = cora_locals(self, cora_future);
    cora_coro tern = cora_coroutine(ferry, struct ferry, "tern", 3600000);
    printf("%s\n", cora_as_text(cora_got(self)));
    *late = cora_create_task(cora_running_loop(), tern);
    return cora_try(self, cora_wait_for(*late, 0.06), tern_waited);
}

static cora_next quay(cora_coro self)
{
    cora_coro gull = cora_coroutine(ferry, struct ferry, "gull", 40);
    return cora_await(self, cora_wait_for(gull, 2), gull_landed);
}

int main(void)
{
    cora_value last = cora_run(cora_coroutine(quay, cora_future));
    printf("%s\n", cora_as_text(last));
    return cora_is_error(last);
}
