/* Cancelling one gather group: its members get CancelledError, the other group runs to its end. */
#include <cora.h>

#include <stdio.h>

struct shift {
    const char *name;
    int ms;
};

static cora_next shift_over(cora_coro self)
{
    const char *name = cora_locals(self, struct shift)->name;
    bool cancelled = cora_error_is(cora_caught(self), CORA_ECANCELLED);
    printf("%s %s\n", name, cancelled ? "is sent home" : "clocks out");
    return cancelled ? cora_raise(self, cora_caught(self)) : cora_return(self, name);
}

static cora_next shift(cora_coro self)
{
    printf("%s clocks in\n", cora_locals(self, struct shift)->name);
    return cora_try(self, cora_sleep(cora_locals(self, struct shift)->ms / 1000.0), shift_over);
}

static cora_future group(struct shift one, struct shift other)
{
    cora_coro both[] = { cora_coroutine(shift, struct shift, one.name, one.ms),
                         cora_coroutine(shift, struct shift, other.name, other.ms) };
    return cora_gather(cora_running_loop(), both, 2);
}

static void cancel(cora_args bound)
{
    cora_cancel(cora_arg_future(bound, 0));
}

static cora_next raised(cora_coro self)
{
    printf("outer gather raises %s\n", cora_error_name(cora_error_code(cora_caught(self))));
    return cora_return_nothing(self);
}

static cora_next groups_over(cora_coro self)
{
    cora_value bakery = cora_list_at(cora_got(self), 0), laundry = cora_list_at(cora_got(self), 1);
    printf("group outcome: %s %s\n", cora_as_text(cora_list_at(bakery, 0)),
           cora_as_text(cora_list_at(bakery, 1)));
    printf("group outcome: %s\n", cora_error_name(cora_error_code(laundry)));
    cora_future early = group((struct shift){ "Eli", 40 }, (struct shift){ "Fay", 70 });
    printf("cancelled before it began: %s\n", cora_cancel(early) ? "yes" : "no");
    cora_coro gus = cora_coroutine(shift, struct shift, "Gus", 40);
    cora_awaitable both[] = { cora_awaitable_of(early), cora_awaitable_of(gus) };
    return cora_try(self, cora_gather(cora_running_loop(), both, 2), raised);
}

static cora_next working_day(cora_coro self)
{
    cora_future both[] = { group((struct shift){ "Ana", 80 }, (struct shift){ "Ben", 110 }),
                           group((struct shift){ "Cho", 140 }, (struct shift){ "Dee", 170 }) };
    cora_call_later(cora_running_loop(), 0.04, cora_partial(cancel, both[1]));
    return cora_await(self, cora_gather(cora_running_loop(), both, 2, .return_exceptions = true),
                      groups_over);
}

int main(void)
{
    return cora_is_error(cora_run(cora_coroutine(working_day)));
}
