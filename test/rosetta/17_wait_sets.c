/*
 * cora_wait tells what is done and what is pending, by three rules of return; gather gives a list.
 *
 * Python's coroutine is here a sleep, and a callback that completes the loaf's future. A future has
 * no name, so the tray knows which is whose. Cora has no ArithmeticError: the name is the text of
 * an error of the program's own.
 */
#include <cora.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRAYS 3

struct tray {
    const char *loaf;
    double seconds;
    cora_future baked;
};

static void on_baked(cora_args bound, cora_future slept)
{
    const struct tray *tray = cora_arg(bound, 0, struct tray *);
    (void)slept;
    if (strcmp(tray->loaf, "scone") == 0)
        cora_set_exception(tray->baked, cora_error(CORA_EEXCEPTION, "ArithmeticError"));
    else
        cora_set_result(tray->baked, cora_static(tray->loaf));
}

static void oven(cora_loop loop, struct tray *trays, cora_future *ret_baked)
{
    for (int i = 0; i < TRAYS; i++) {
        ret_baked[i] = trays[i].baked = cora_future_new(loop);
        cora_future bell = cora_ensure_future(loop, cora_sleep(trays[i].seconds));
        cora_add_done_callback(bell, cora_partial(on_baked, &trays[i]));
    }
}

static int by_name(const void *one, const void *other)
{
    return strcmp(*(const char *const *)one, *(const char *const *)other);
}

/* The names of these futures' loaves, sorted. */
static void print_group(const struct tray *trays, cora_value group)
{
    const char *names[TRAYS];
    size_t count = cora_list_size(group);
    for (size_t i = 0; i < count; i++)
        for (int tray = 0; tray < TRAYS; tray++)
            if (cora_same(cora_as_future(cora_list_at(group, i)), trays[tray].baked))
                names[i] = trays[tray].loaf;
    qsort(names, count, sizeof names[0], by_name);
    for (size_t i = 0; i < count; i++)
        printf(" %s", names[i]);
    if (count == 0)
        printf(" none");
}

static void tally(const char *label, const struct tray *trays, cora_value waited)
{
    printf("%s: done", label);
    print_group(trays, cora_list_at(waited, 0));
    printf("; pending");
    print_group(trays, cora_list_at(waited, 1));
    printf("\n");
}

int main(void)
{
    struct tray first[TRAYS] = { { "rye", .seconds = 0.16 },
                                 { "oat", .seconds = 0.04 },
                                 { "spelt", .seconds = 0.26 } };
    struct tray second[TRAYS] = { { "bun", .seconds = 0.05 },
                                  { "scone", .seconds = 0.11 },
                                  { "pie", .seconds = 0.2 } };
    cora_future trays[TRAYS], pending[TRAYS];
    cora_loop loop = cora_loop_new(NULL);

    oven(loop, first, trays);
    cora_value waited =
        cora_run_until_complete(loop, cora_wait(trays, TRAYS, 0.1, CORA_ALL_COMPLETED));
    tally("after 100 ms", first, waited);
    size_t count = cora_list_size(cora_list_at(waited, 1));
    for (size_t i = 0; i < count; i++)
        pending[i] = cora_as_future(cora_list_at(cora_list_at(waited, 1), i));
    waited =
        cora_run_until_complete(loop, cora_wait(pending, count, INFINITY, CORA_FIRST_COMPLETED));
    tally("first completed", first, waited);
    waited = cora_run_until_complete(loop, cora_wait(trays, TRAYS, INFINITY, CORA_ALL_COMPLETED));
    tally("all completed", first, waited);
    printf("results by tray:");
    for (int i = 0; i < TRAYS; i++)
        printf(" %s", cora_as_text(cora_result(trays[i])));
    printf("\n");

    oven(loop, second, trays);
    waited = cora_run_until_complete(loop, cora_wait(trays, TRAYS, INFINITY, CORA_FIRST_EXCEPTION));
    tally("first exception", second, waited);
    cora_future all = cora_gather(loop, trays, TRAYS, .return_exceptions = true);
    cora_value listed = cora_run_until_complete(loop, all);
    printf("gather:");
    for (size_t i = 0; i < cora_list_size(listed); i++) {
        cora_value item = cora_list_at(listed, i);
        printf(" %s", cora_is_error(item) ? cora_error_message(item) : cora_as_text(item));
    }
    printf("\n");
    cora_loop_close(loop);
    return 0;
}
