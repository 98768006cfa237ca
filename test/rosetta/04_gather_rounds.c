/* gather: three coroutines with loops of their own take turns, and the results come as a list. */
#include <cora.h>

#include <stdio.h>

struct account {
    const char *name;
    long long years, year, grains; /* year and grains begin with 1 */
};

static cora_next compound(cora_coro self)
{
    struct account *at = cora_locals(self, struct account);
    at->grains *= at->year++;
    if (at->year > at->years) {
        printf("%s: closes with %lld\n", at->name, at->grains);
        return cora_return(self, at->grains);
    }
    printf("%s: year %lld, %lld grains\n", at->name, at->year, at->grains);
    return cora_await(self, cora_sleep(0.04), compound);
}

static cora_next closed(cora_coro self)
{
    cora_value yields = cora_got(self);
    printf("in the order asked:");
    for (size_t i = 0; i < cora_list_size(yields); i++)
        printf(" %lld", cora_as_int(cora_list_at(yields, i)));
    printf("\n");
    return cora_return_nothing(self);
}

static cora_next granary(cora_coro self)
{
    cora_coro accounts[] = { cora_coroutine(compound, struct account, "barley", 3, 1, 1),
                             cora_coroutine(compound, struct account, "millet", 4, 1, 1),
                             cora_coroutine(compound, struct account, "rye", 2, 1, 1) };
    return cora_await(self, cora_gather(cora_running_loop(), accounts, 3), closed);
}

int main(void)
{
    return cora_is_error(cora_run(cora_coroutine(granary)));
}
