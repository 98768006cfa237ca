/* Semaphore: at most so many at a time, the others are let in by turns, first come first served. */
#include <cora.h>

#include <stdio.h>

struct cart {
    int number, ms;
    cora_semaphore toll;
};

static int on_bridge, most;

static cora_next crossed(cora_coro self)
{
    printf("cart %d rolls off\n", cora_locals(self, struct cart)->number);
    on_bridge--;
    return cora_return_nothing(self);
}

static cora_next cross(cora_coro self)
{
    const struct cart *cart = cora_locals(self, struct cart);
    if (++on_bridge > most)
        most = on_bridge;
    printf("cart %d rolls on\n", cart->number);
    return cora_await(self, cora_sleep(cart->ms / 1000.0), crossed);
}

static cora_next cart(cora_coro self)
{
    return cora_with(self, cora_semaphore_acquire(cora_locals(self, struct cart)->toll), cross);
}

static const char *room(cora_semaphore toll)
{
    return cora_semaphore_locked(toll) ? "no" : "yes";
}

int main(void)
{
    static const int loads[] = { 60, 110, 100, 100, 100 };
    cora_loop loop = cora_loop_new(NULL);
    cora_semaphore toll = cora_semaphore_new(loop, 2);
    cora_coro carts[5];
    for (int i = 0; i < 5; i++)
        carts[i] = cora_coroutine(cart, struct cart, i + 1, loads[i], toll);
    cora_run_until_complete(loop, cora_gather(loop, carts, 5));
    printf("most on the bridge: %d, left: %d\n", most, on_bridge);
    printf("room for one: %s\n", room(toll));
    cora_run_until_complete(loop, cora_semaphore_acquire(toll));
    cora_run_until_complete(loop, cora_semaphore_acquire(toll));
    printf("room once both are taken: %s\n", room(toll));
    cora_semaphore_release(toll);
    printf("room after a release: %s\n", room(toll));
    cora_loop_close(loop);
    return 0;
}
