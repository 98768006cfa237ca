/*
 * gather: three callbacks that call themselves again take turns, and the results come as a list.
 * Python's coroutine with a loop in it is here a record and the callback of its sleep.
 */
#include <cora.h>

#include <stdio.h>

struct account {
    const char *name;
    int years, year;
    long long grains;
    cora_future closed;
};

static void compound(struct account *account);

static void on_new_year(cora_args bound, cora_future slept)
{
    struct account *account = cora_arg(bound, 0, struct account *);
    (void)slept;
    account->grains *= account->year++;
    compound(account);
}

static void compound(struct account *account)
{
    if (account->year <= account->years) {
        printf("%s: year %d, %lld grains\n", account->name, account->year, account->grains);
        cora_when_done(cora_sleep(0.04), cora_partial(on_new_year, account));
        return;
    }
    printf("%s: closes with %lld\n", account->name, account->grains);
    cora_set_result(account->closed, cora_int(account->grains));
}

static void open_account(cora_args bound)
{
    compound(cora_arg(bound, 0, struct account *));
}

int main(void)
{
    struct account accounts[] = { { "barley", .years = 3 },
                                  { "millet", .years = 4 },
                                  { "rye", .years = 2 } };
    cora_future closed[3];
    cora_loop loop = cora_loop_new(NULL);
    for (int i = 0; i < 3; i++) {
        closed[i] = accounts[i].closed = cora_future_new(loop);
        accounts[i].year = 2;
        accounts[i].grains = 1;
        cora_call_soon(loop, cora_partial(open_account, &accounts[i]));
    }
    cora_value yields = cora_run_until_complete(loop, cora_gather(loop, closed, 3));
    printf("in the order asked:");
    for (size_t i = 0; i < cora_list_size(yields); i++)
        printf(" %lld", cora_as_int(cora_list_at(yields, i)));
    printf("\n");
    cora_loop_close(loop);
    return 0;
}
