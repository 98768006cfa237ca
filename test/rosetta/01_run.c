/* cora_run: no loop is made beforehand; the coroutine's return value, or its error, comes out. */
#include <cora.h>

#include <stdio.h>

struct brew {
    int cups;
};

static cora_next whistled(cora_coro self)
{
    printf("kettle whistles\n");
    return cora_return(self, cora_locals(self, struct brew)->cups * 250);
}

static cora_next brew(cora_coro self)
{
    printf("kettle on for %d cups\n", cora_locals(self, struct brew)->cups);
    return cora_await(self, cora_sleep(0.03), whistled);
}

static cora_next spilt(cora_coro self)
{
    return cora_raise(self, cora_error(CORA_EVALUE, "the lid was loose"));
}

static cora_next spill(cora_coro self)
{
    return cora_await(self, cora_sleep(0.02), spilt);
}

int main(void)
{
    cora_value poured = cora_run(cora_coroutine(brew, struct brew, .cups = 3));
    printf("poured %lld ml\n", cora_as_int(poured));
    cora_value mishap = cora_run(cora_coroutine(spill));
    if (cora_error_is(mishap, CORA_EVALUE))
        printf("%s: %s\n", cora_error_name(cora_error_code(mishap)), cora_error_message(mishap));
    return 0;
}
