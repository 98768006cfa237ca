/* Awaiting coroutines one by one: each starts only when the one before it has ended. */
#include <cora.h>
#include <stdio.h>

struct trip { /* a leg has a port and its time, a voyage the rest */
    const char *port;
    double ms, cast_off, planned;
};

static cora_next moored(cora_coro self)
{
    printf("moored at %s\n", cora_locals(self, struct trip)->port);
    return cora_return(self, cora_locals(self, struct trip)->ms);
}

static cora_next leg(cora_coro self)
{
    printf("bound for %s\n", cora_locals(self, struct trip)->port);
    return cora_await(self, cora_sleep(cora_locals(self, struct trip)->ms / 1000), moored);
}

static cora_next at_mull(cora_coro self)
{
    struct trip *voyage = cora_locals(self, struct trip);
    double spent = cora_time(cora_running_loop()) - voyage->cast_off;
    printf("planned %g ms\n", voyage->planned + cora_as_real(cora_got(self)));
    printf("one after the other: %s\n", spent > 0.11 ? "yes" : "no");
    return cora_return_nothing(self);
}

static cora_next at_skye(cora_coro self)
{
    cora_locals(self, struct trip)->planned = cora_as_real(cora_got(self));
    return cora_await(self, cora_coroutine(leg, struct trip, .port = "Mull", .ms = 40), at_mull);
}

static cora_next voyage(cora_coro self)
{
    cora_locals(self, struct trip)->cast_off = cora_time(cora_running_loop());
    return cora_await(self, cora_coroutine(leg, struct trip, .port = "Skye", .ms = 80), at_skye);
}

int main(void)
{
    return cora_is_error(cora_run(cora_coroutine(voyage, struct trip)));
}
