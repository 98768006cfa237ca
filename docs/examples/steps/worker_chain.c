/*
 * worker_chain: when callbacks become many: an order goes through several stages, told in steps.
 *
 * It asks for price and credit side by side, reserves, and lets the bank pay; it is undone if that
 * fails, and always closed. Each coroutine reads from the bottom up: a step above who awaits it.
 */
#include <cora.h>

#include <stdio.h>
#include <string.h>

/* ---- the stages: each answers after a while, or fails ---- */

static cora_next price_found(cora_coro self)
{
    return cora_return(self, *cora_locals(self, int) * 30);
}

static cora_next find_price(cora_coro self)
{
    return cora_await(self, cora_sleep(0.02), price_found);
}

static cora_next credit_found(cora_coro self)
{
    const char *customer = *cora_locals(self, const char *);
    if (strcmp(customer, "Zoe") == 0)
        return cora_raise(self, cora_error(CORA_ELOOKUP, "nobody knows %s", customer));
    return cora_return(self, 100);
}

static cora_next find_credit(cora_coro self)
{
    return cora_await(self, cora_sleep(0.04), credit_found);
}

static cora_next bank_answered(cora_coro self)
{
    if (strcmp(*cora_locals(self, const char *), "Max") == 0)
        return cora_raise(self, cora_error(CORA_ETIMEOUT, "the bank does not answer"));
    return cora_return_nothing(self);
}

static cora_next pay(cora_coro self)
{
    return cora_await(self, cora_sleep(0.03), bank_answered);
}

/* ---- an order ---- */

struct order {
    const char *customer;
    int teapots, *shelf;
    cora_value failure; /* of the bank */
};

/* Runs last, whatever the outcome. */
static cora_next close_order(cora_coro self)
{
    printf("  closed the order of %s\n", cora_locals(self, struct order)->customer);
    return cora_go_on(self);
}

static cora_next put_back(cora_coro self)
{
    struct order *order = cora_locals(self, struct order);
    *order->shelf += order->teapots;
    printf("  put back, %d on the shelf\n", *order->shelf);
    return cora_raise(self, order->failure);
}

static cora_next paid(cora_coro self)
{
    struct order *order = cora_locals(self, struct order);
    if (cora_is_error(cora_caught(self))) {
        order->failure = cora_hold(self, cora_caught(self));
        return cora_await(self, cora_sleep(0.01), put_back);
    }
    return cora_return(self, cora_textf("%d teapots are on their way", order->teapots));
}

/* Both answers are there, in the order in which they were asked for. */
static cora_next quoted(cora_coro self)
{
    struct order *order = cora_locals(self, struct order);
    long long price = cora_as_int(cora_list_at(cora_got(self), 0));
    long long credit = cora_as_int(cora_list_at(cora_got(self), 1));
    if (price > credit)
        return cora_raise(self, cora_error(CORA_EVALUE, "%lld is more than %lld", price, credit));
    *order->shelf -= order->teapots;
    printf("  reserved for %lld, %d on the shelf\n", price, *order->shelf);
    return cora_try(self, cora_coroutine(pay, const char *, order->customer), paid);
}

static cora_next serve(cora_coro self)
{
    cora_loop loop = cora_running_loop();
    struct order *order = cora_locals(self, struct order);
    printf("%s wants %d teapots\n", order->customer, order->teapots);
    cora_finally(self, close_order);
    cora_future asked[] = {
        cora_create_task(loop, cora_coroutine(find_price, int, order->teapots)),
        cora_create_task(loop, cora_coroutine(find_credit, const char *, order->customer)),
    };
    return cora_await(self, cora_gather(loop, asked, 2), quoted);
}

int main(void)
{
    static const struct order orders[] = { { .customer = "Ann", .teapots = 2 },
                                           { .customer = "Zoe", .teapots = 2 },
                                           { .customer = "Max", .teapots = 3 },
                                           { .customer = "Ann", .teapots = 4 } };
    int shelf = 6;
    cora_runner worker = cora_runner_new(NULL);
    for (const struct order *at = orders; at < orders + 4; at++) {
        cora_coro served = cora_coroutine(serve, struct order, .customer = at->customer,
                                          .teapots = at->teapots, .shelf = &shelf);
        cora_value answer = cora_runner_run(worker, served);
        printf("  %s\n", cora_is_error(answer) ? cora_error_message(answer) : cora_as_text(answer));
    }
    return cora_runner_close(worker) < 0;
}
