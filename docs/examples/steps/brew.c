/* brew: a coroutine in two steps, which sleeps in between, and the program that runs it. */
#include <cora.h>

#include <stdio.h>

struct brew {
    int cups;
};

/* What comes after the await, with the same locals. */
static cora_next whistled(cora_coro self)
{
    struct brew *brew = cora_locals(self, struct brew);
    printf("kettle whistles\n");
    return cora_return(self, brew->cups * 250);
}

static cora_next brew(cora_coro self)
{
    struct brew *brew = cora_locals(self, struct brew);
    printf("kettle on for %d cups\n", brew->cups);
    return cora_await(self, cora_sleep(0.5), whistled);
}

int main(void)
{
    cora_value poured = cora_run(cora_coroutine(brew, struct brew, .cups = 3));
    if (cora_is_error(poured))
        return 1;
    printf("poured %lld ml\n", cora_as_int(poured));
    return 0;
}
