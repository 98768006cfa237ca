/*
 * A hundred futures on a hand-made loop: a callback on each, wait for all, then read the results.
 * What delivers a letter is an operation, a sleep with a result, where Python has a coroutine.
 */
#include <cora.h>

#include <math.h>
#include <stdio.h>

struct ledger {
    int stamped;
};

static void stamp(cora_args bound, cora_future letter)
{
    (void)letter;
    cora_arg(bound, 0, struct ledger *)->stamped++;
}

int main(void)
{
    struct ledger ledger = { 0 };
    cora_future letters[100];
    cora_loop loop = cora_loop_new(NULL);
    double began = cora_time(loop);
    for (int house = 0; house < 100; house++) {
        letters[house] = cora_ensure_future(loop, cora_sleep_result(0.05, cora_int(house * 3)));
        cora_add_done_callback(letters[house], cora_partial(stamp, &ledger));
    }
    printf("stamped before the loop runs: %d\n", ledger.stamped);
    cora_run_until_complete(loop, cora_wait(letters, 100, INFINITY, CORA_ALL_COMPLETED));
    printf("stamped after: %d\n", ledger.stamped);
    long long answers[100], sum = 0;
    for (int house = 0; house < 100; house++)
        sum += answers[house] = cora_as_int(cora_result(letters[house]));
    printf("first %lld, last %lld, sum %lld\n", answers[0], answers[99], sum);
    printf("concurrent: %s\n", cora_time(loop) - began < 2.5 ? "yes" : "no");
    cora_loop_close(loop);
    return 0;
}
