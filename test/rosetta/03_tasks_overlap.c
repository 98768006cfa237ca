/* create_task: both coroutines get under way at the first await, whichever is awaited first. */
#include <cora.h>

#include <stdio.h>

static struct {
    int afloat, most;
} fleet;

struct leg {
    const char *port;
    int ms;
};

static cora_next moored(cora_coro self)
{
    printf("moored at %s\n", cora_locals(self, struct leg)->port);
    fleet.afloat--;
    return cora_return(self, cora_locals(self, struct leg)->ms);
}

static cora_next leg(cora_coro self)
{
    if (++fleet.afloat > fleet.most)
        fleet.most = fleet.afloat;
    printf("bound for %s\n", cora_locals(self, struct leg)->port);
    return cora_await(self, cora_sleep(cora_locals(self, struct leg)->ms / 1000.0), moored);
}

static cora_next fast_moored(cora_coro self)
{
    printf("Skye took %lld ms\n", cora_as_int(cora_got(self)));
    printf("most afloat together: %d\n", fleet.most);
    return cora_return_nothing(self);
}

static cora_next slow_moored(cora_coro self)
{
    cora_future fast = *cora_locals(self, cora_future);
    printf("Mull took %lld ms, Skye was home already: %s\n", cora_as_int(cora_got(self)),
           cora_done(fast) ? "yes" : "no");
    return cora_await(self, fast, fast_moored);
}

static cora_next voyage(cora_coro self)
{
    cora_loop loop = cora_running_loop();
    cora_future slow = cora_create_task(loop, cora_coroutine(leg, struct leg, "Mull", 90));
    cora_future fast = cora_create_task(loop, cora_coroutine(leg, struct leg, "Skye", 40));
    *cora_locals(self, cora_future) = fast;
    printf("two legs booked, %d afloat\n", fleet.afloat);
    return cora_await(self, slow, slow_moored);
}

int main(void)
{
    return cora_is_error(cora_run(cora_coroutine(voyage, cora_future)));
}
